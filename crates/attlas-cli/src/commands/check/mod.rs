//! `attlas check`: whether maps have to do with the output, before anything is concluded from them.

mod card;

use std::path::{Path, PathBuf};

use attlas_model::Model;
use attlas_model::explain::asked::Predicted;
use attlas_model::explain::card::{Card, Question, n_runs};
use attlas_model::explain::faithfulness::NEGLIGIBLE;
use attlas_model::explain::knock_out::Baseline;
use clap::Args;

use self::card::Printed;
use crate::failure::{Failure, Outcome};
use crate::inputs::{ChosenHeads, ModelArguments, ONE_TEXT, SubjectArguments, load_model, read_utf8};
use crate::progress::Progress;
use crate::terminal::{Terminal, print_json, printable};

const EXAMPLES: &str = "\
Examples:
  attlas check \"The cat sat on the\" --model DIR      each map permuted and made uniform
  attlas check \"The cat sat on the\" --model DIR --heads 5.1,5.5 --together
  attlas check \"A red apple.\" --kind cross --json
  attlas check \"The cat sat on the\" --model DIR --heads 5.1 --adversarial
  attlas check run.safetensors --model DIR             the text of a recording
  attlas check \"The cat sat on the\" --model RUN/seed-0 --beside RUN/seed-1 --beside RUN/seed-2

Permuted: each row's weights dealt out anew among the keys that it may see, once for each of
--permutations. Where that does not move the output, what the map looks at says nothing of this
output; where it does, the map is no explanation by that alone (Jain and Wallace 2019; Wiegreffe
and Pinter 2019). TVD: half the sum of all changes of probabilities, mean over positions.

--adversarial seeks, by gradient, the map that differs most and keeps the output within --budget;
each step is a run and the way back. --beside says how far maps of other trainings are: a map that
is no farther is within what a seed decides.

Comprehensiveness: how much probability is lost when the highest ranked tokens are erased;
sufficiency: when all others are. The ranking is what the maps give each token, or the numbers of
--ranking; beside it stands that of a random order.";

/// `attlas check`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, mut_arg("material", |arg| arg.help(ONE_TEXT)))]
pub struct CheckArguments {
    #[command(flatten)]
    pub subject: SubjectArguments,
    #[command(flatten)]
    pub heads: ChosenHeads,
    /// Change the maps of all these heads at once.
    #[arg(long)]
    pub together: bool,
    /// Seek the most different map that keeps the output, by gradient, with so many steps for each map [default: 60].
    #[arg(long, value_name = "STEPS", num_args = 0..=1, require_equals = true, default_missing_value = "60", conflicts_with = "together", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub adversarial: Option<u16>,
    /// How often each map is permuted.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub permutations: u16,
    /// The output may move by this much, as total variation, where the most different map is sought that keeps it.
    #[arg(long, value_name = "SHARE", default_value_t = NEGLIGIBLE)]
    pub budget: f64,
    /// The position whose output the erasing is about, counted from 0 [default: the last of a decoder, the masked one].
    #[arg(long, value_name = "N")]
    pub position: Option<usize>,
    /// The token or class whose probability the erasing is about [default: the likeliest].
    #[arg(long, value_name = "TOKEN | CLASS")]
    pub target: Option<String>,
    /// A ranking of the tokens: a file with a number for each, one a line; an empty line for a token that always stays.
    #[arg(long, value_name = "FILE")]
    pub ranking: Option<PathBuf>,
    /// The token that stands in the place of an erased one [default: the mask token, else the unknown one, else padding].
    #[arg(long, value_name = "TOKEN")]
    pub erase_with: Option<String>,
    /// Another training of the same model; how far its output and maps are is the measure for the rest: what a seed decides. It
    /// is read as --model is, with the same --precision. Repeat for several.
    #[arg(long, visible_alias = "against", value_name = "DIR")]
    pub beside: Vec<PathBuf>,
    /// Print one object: model, n_tokens, budget, maps, all_uniform, erasing, beside.
    #[arg(long)]
    pub json: bool,
}

/// Changes the maps, erases tokens, and says what became of the output.
pub fn run(arguments: &CheckArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    if !(arguments.budget.is_finite() && (0.0..=1.0).contains(&arguments.budget)) {
        return Err(Failure::Usage(format!("--budget {}: a share from 0 to 1 was expected", arguments.budget)));
    }
    let model = load_model(&arguments.subject.model)?;
    let heads = arguments.heads.of(&model)?;
    let (input, outcome) = arguments.subject.one_input(&model, "maps are checked on one text")?;
    let ranking = arguments.ranking.as_deref().map(read_ranking).transpose()?;
    let words = arguments.ranking.as_deref().map(|path| format!("the numbers of {}", path.display()));
    let question = Question {
        heads,
        together: arguments.together,
        n_permutations: arguments.permutations,
        n_steps: arguments.adversarial,
        budget: arguments.budget,
        predicted: Predicted { target: arguments.target.as_deref(), foil: None, position: arguments.position },
        ranking: ranking.as_deref().zip(words.as_deref()),
        erase_with: arguments.erase_with.as_deref(),
    };
    let baseline = Baseline::of(&model, &input)?;
    let mut progress = Progress::new("changed run", n_runs(&question));
    let card = Card::of(&baseline, &question, &beside(arguments)?, &mut progress.watch())?;
    drop(progress);
    match arguments.json {
        true => print_json(&card.json(), terminal)?,
        false => Printed { card: &card, baseline: &baseline }.print(terminal)?,
    }
    Ok(outcome)
}

/// A number a line; nothing for a token that always stays.
fn read_ranking(path: &Path) -> Result<Vec<Option<f64>>, Failure> {
    let text = read_utf8(path)?;
    let number = |(line, text): (usize, &str)| match text.trim() {
        "" => Ok(None),
        text => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Some).ok_or_else(|| {
            Failure::Input(format!(
                "{}: line {} is \"{}\", and a number was expected",
                path.display(),
                line + 1,
                printable(text)
            ))
        }),
    };
    text.lines().enumerate().map(number).collect()
}

/// Other trainings; an adapter or a revision is of the first alone, and the folder tells apart what has one name.
fn beside(arguments: &CheckArguments) -> Result<Vec<(String, Model)>, Failure> {
    let of_folder = |folder: &PathBuf| {
        let own = arguments.subject.model.clone();
        let own = ModelArguments { model: Some(folder.clone()), adapter: None, revision: None, ..own };
        Ok((folder.display().to_string(), load_model(&own)?))
    };
    arguments.beside.iter().map(of_folder).collect()
}
