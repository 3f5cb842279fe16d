//! `attlas check`: whether maps have to do with the output, before anything is concluded from them.

use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::Kind;
use attlas_model::Model;
use attlas_model::explain::asked::Predicted;
use attlas_model::explain::card::{Beside, Card, Question, n_runs};
use attlas_model::explain::faithfulness::{Disturbed, NEGLIGIBLE, SHARES, percent};
use attlas_model::explain::knock_out::Baseline;
use attlas_model::explain::score::{Form, Score};
use clap::Args;

use crate::failure::{Failure, Outcome};
use crate::inputs::{HeadPattern, ModelArguments, ONE_TEXT, SubjectArguments, load_model, parse_kind, read_utf8};
use crate::progress::Progress;
use crate::terminal::{Terminal, print_json, printable, wrapped};
use crate::words::counted;

const EXAMPLES: &str = "\
Examples:
  attlas check \"The cat sat on the\" --model DIR      each map permuted and made uniform
  attlas check \"The cat sat on the\" --model DIR --heads 5.1,5.5 --together
  attlas check \"A red apple.\" --kind cross --json
  attlas check \"The cat sat on the\" --model RUN/seed-0 --beside RUN/seed-1 --beside RUN/seed-2

Permuted: each row's weights dealt out anew among the keys that it may see, once for each of
--permutations. Where that does not move the output, what the map looks at says nothing of this
output; where it does, the map is no explanation by that alone (Jain and Wallace 2019; Wiegreffe
and Pinter 2019). TVD: half the sum of all changes of probabilities, mean over positions.

Comprehensiveness: how much probability is lost when the highest ranked tokens are erased;
sufficiency: when all others are. The ranking is what the maps give each token, or the numbers of
--ranking; beside it stands that of a random order.";

/// `attlas check`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, mut_arg("material", |arg| arg.help(ONE_TEXT)))]
pub struct CheckArguments {
    #[command(flatten)]
    pub subject: SubjectArguments,
    /// Which heads: 4.11 or L4H11, 5.* for a layer, cross:2.* with their kind; separated by commas [default: all].
    #[arg(long, value_name = "HEADS", value_delimiter = ',')]
    pub heads: Vec<HeadPattern>,
    /// One kind of attention alone.
    #[arg(long, value_parser = parse_kind())]
    pub kind: Option<Kind>,
    /// Change the maps of all these heads at once.
    #[arg(long)]
    pub together: bool,
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
    /// Another training of the same model; how far its output and maps are is the measure for the rest. It is
    /// read as --model is, with the same --precision. Repeat for several.
    #[arg(long, value_name = "DIR")]
    pub beside: Vec<PathBuf>,
    /// Print one object: model, n_tokens, maps, erasing, beside.
    #[arg(long)]
    pub json: bool,
}

/// Changes the maps, erases tokens, and says what became of the output.
pub fn run(arguments: &CheckArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    if !(arguments.budget.is_finite() && (0.0..=1.0).contains(&arguments.budget)) {
        return Err(Failure::Usage(format!("--budget {}: a share from 0 to 1 was expected", arguments.budget)));
    }
    let model = load_model(&arguments.subject.model)?;
    let heads = model.heads_named(&arguments.heads, arguments.kind)?;
    let (inputs, _) = arguments.subject.inputs(&model)?;
    let [input] = &inputs[..] else {
        return Err(Failure::Usage(format!("maps are checked on one text, and there are {}", inputs.len())));
    };
    let ranking = arguments.ranking.as_deref().map(read_ranking).transpose()?;
    let words = arguments.ranking.as_deref().map(|path| format!("the numbers of {}", path.display()));
    let question = Question {
        heads,
        together: arguments.together,
        n_permutations: arguments.permutations,
        budget: arguments.budget,
        predicted: Predicted { target: arguments.target.as_deref(), foil: None, position: arguments.position },
        ranking: ranking.as_deref().zip(words.as_deref()),
        erase_with: arguments.erase_with.as_deref(),
    };
    let baseline = Baseline::of(&model, input)?;
    let mut progress = Progress::new("changed run", n_runs(&question));
    let card = Card::of(&baseline, &question, &beside(arguments)?, &mut progress.watch())?;
    drop(progress);
    match arguments.json {
        true => print_json(&card.json(), terminal)?,
        false => Printed { card: &card, baseline: &baseline }.print(terminal)?,
    }
    Ok(Outcome::Done)
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

/// Other trainings; an adapter or a revision is of the first alone.
fn beside(arguments: &CheckArguments) -> Result<Vec<Model>, Failure> {
    let of_folder = |folder: &PathBuf| {
        let own = arguments.subject.model.clone();
        load_model(&ModelArguments { model: Some(folder.clone()), adapter: None, revision: None, ..own })
    };
    arguments.beside.iter().map(of_folder).collect()
}

/// The card, to be printed.
struct Printed<'a> {
    card: &'a Card,
    baseline: &'a Baseline<'a>,
}

/// Maps that are printed at most.
const MOST: usize = 24;

impl Printed<'_> {
    fn print(&self, terminal: &mut Terminal) -> Result<(), Failure> {
        writeln!(
            terminal,
            "{}",
            terminal.bold("map              permuted: median  largest  uniform  most different map kept")
        )?;
        let mut ranked: Vec<&Disturbed> = self.card.maps.iter().collect();
        ranked.sort_by(|a, b| b.median().total_cmp(&a.median()));
        for map in ranked.iter().take(MOST) {
            let kept = map
                .most_different(self.card.budget)
                .map_or("–".to_owned(), |moved| format!("{:.3} nats", moved.of_maps));
            let [median, largest, uniform] = [map.median(), map.largest(), map.uniform.tvd].map(percent);
            writeln!(terminal, "{:<24} {median:>8} {largest:>8} {uniform:>8}  {kept}", self.name(map))?;
        }
        if ranked.len() > MOST {
            let rest = format!(
                "… {} more, none moved by more than {} in the median",
                ranked.len() - MOST,
                percent(ranked[MOST].median())
            );
            writeln!(terminal, "{}", terminal.dim(&rest))?;
        }
        let n_idle = self.card.maps.iter().filter(|map| map.largest() < NEGLIGIBLE).count();
        let mut legend = vec![format!(
            "How far the output moves, as total variation. Kept: the maps farthest from the model's own, of those tried, that move it by {} \
             at most (ln 2 = 0.693 nats is as far as can be).",
            percent(self.card.budget)
        )];
        if let [one] = &self.card.maps[..] {
            legend.push(one.note());
        } else {
            let of = counted(self.card.maps.len(), "map");
            legend.push(match n_idle {
                0 => format!("Each of the {of} moves the output by 1 % or more when it is permuted."),
                n => format!("{n} of {of} can be permuted without moving the output by 1 %: what they look at says nothing of it."),
            });
        }
        self.print_lines(&legend, terminal)?;
        self.print_erasing(terminal)?;
        for Beside { name, tvd, of_maps } in &self.card.beside {
            let line = format!("beside {name}: output {} (TVD), maps {of_maps:.3} nats (JSD) apart", percent(*tvd));
            writeln!(terminal, "{}", printable(&line))?;
        }
        Ok(())
    }

    fn print_erasing(&self, terminal: &mut Terminal) -> Result<(), Failure> {
        let erasing = match &self.card.erasing {
            Ok(erasing) => erasing,
            Err(why) => {
                return self
                    .print_lines(&[format!("No token was erased: {why} (--position, --erase-with).")], terminal);
            }
        };
        writeln!(terminal)?;
        let shares: Vec<String> =
            SHARES.iter().map(|share| format!("{:>7}", format!("{:.0} %", 100.0 * share))).collect();
        writeln!(terminal, "{}", terminal.bold(&format!("erased                     {}     AOPC", shares.join(" "))))?;
        for (name, erasure) in [("by the ranking", &erasing.by_ranking), ("in random order", &erasing.at_random)] {
            let areas = erasure.aopc();
            for (what, points, area) in
                [("without", &erasure.comprehensiveness, areas[0]), ("alone", &erasure.sufficiency, areas[1])]
            {
                let points: Vec<String> = points.iter().map(|point| format!("{point:>+7.3}")).collect();
                let name = format!("{name}: {what}");
                writeln!(terminal, "{name:<26} {}  {area:>+7.3}", points.join(" "))?;
            }
        }
        let model = self.baseline.model();
        let legend = format!(
            "Lost of the {}: without the highest ranked share of tokens (comprehensiveness: large is faithful) and with it alone (sufficiency: near \
             0 is). Ranked by {}; {} in the place of each.",
            model.score_in_words(&Score { form: Form::Probability, ..erasing.score }, &self.baseline.input),
            erasing.ranking,
            model.target_text(Some(0), erasing.with)
        );
        self.print_lines(&[legend], terminal)
    }

    fn print_lines(&self, lines: &[String], terminal: &mut Terminal) -> Result<(), Failure> {
        let width = terminal.width;
        for line in lines.iter().flat_map(|line| wrapped(line, width)) {
            writeln!(terminal, "{}", terminal.dim(&printable(&line)))?;
        }
        Ok(())
    }

    fn name(&self, map: &Disturbed) -> String {
        match map.heads[..] {
            [head] => format!("{:<8} {}", head.kind.name(), head.head),
            _ => format!("{} together", counted(map.heads.len(), "map")),
        }
    }
}
