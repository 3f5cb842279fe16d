//! `attlas check`: whether maps have to do with the output, before anything is concluded from them.

use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::Kind;
use attlas_model::explain::faithfulness::{Disturbed, Erasure, NEGLIGIBLE, SHARES, percent};
use attlas_model::explain::knock_out::{Baseline, KindHead};
use attlas_model::explain::score::{Form, Score};
use attlas_model::{Model, Side};
use clap::Args;
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::inputs::{
    HeadPattern, ModelArguments, ONE_TEXT, SubjectArguments, heads_of_model, load_model, parse_kind, read_utf8,
};
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
    let heads = heads_of_model(&model, &arguments.heads, arguments.kind)?;
    let (inputs, _) = arguments.subject.inputs(&model)?;
    let [input] = &inputs[..] else {
        return Err(Failure::Usage(format!("maps are checked on one text, and there are {}", inputs.len())));
    };
    let baseline = Baseline::of(&model, input)?;
    let card = Card {
        baseline: &baseline,
        maps: disturbed(arguments, &baseline, &heads)?,
        erasing: erasing(arguments, &baseline, &heads)?,
        beside: beside(arguments, &baseline)?,
        budget: arguments.budget,
    };
    match arguments.json {
        true => print_json(&card.json(), terminal)?,
        false => card.print(terminal)?,
    }
    Ok(Outcome::Done)
}

/// The maps, changed.
fn disturbed(
    arguments: &CheckArguments,
    baseline: &Baseline<'_>,
    heads: &[KindHead],
) -> Result<Vec<Disturbed>, Failure> {
    let sets: Vec<Vec<KindHead>> = match arguments.together {
        true => vec![heads.to_vec()],
        false => heads.iter().map(|head| vec![*head]).collect(),
    };
    let seeds: Vec<u64> = (0..u64::from(arguments.permutations)).collect();
    let mut progress = Progress::new("changed run", sets.len() * (seeds.len() + 1));
    Ok(baseline.disturbed(&sets, &seeds, &mut progress.watch())?)
}

/// What erasing gave, and what it was about.
struct Erasing {
    /// What is ranked, in words.
    ranking: String,
    score: Score,
    with: u32,
    by_ranking: Erasure,
    at_random: Erasure,
}

/// Why nothing was erased, in words, where the model or text does not allow it.
fn erasing(
    arguments: &CheckArguments,
    baseline: &Baseline<'_>,
    heads: &[KindHead],
) -> Result<Result<Erasing, String>, Failure> {
    let model = baseline.model();
    // keys of one kind are ranked: cross-attention's source, else the only side's
    let kind = [Kind::Cross, Kind::Encoder, Kind::Decoder]
        .into_iter()
        .find(|kind| heads.iter().any(|head| head.kind == *kind));
    let Some(kind) = kind else { return Ok(Err("no head is chosen".to_owned())) };
    let side = if kind == Kind::Decoder { Side::Target } else { Side::Source };
    let is_asked = arguments.ranking.is_some() || arguments.target.is_some() || arguments.erase_with.is_some();
    if baseline.input.features.is_some() && side == Side::Source {
        return Ok(Err("images and sounds have no tokens to erase".to_owned()));
    }
    let score = match model.likeliest(&baseline.input, &baseline.unchanged.logits, arguments.position) {
        Ok(score) => score,
        Err(error) if is_asked || arguments.position.is_some() => return Err(error.into()),
        Err(error) => return Ok(Err(format!("{error} (--position)"))),
    };
    let target = arguments.target.as_deref().map(|name| model.target_named(name)).transpose()?;
    let score = Score { target: target.unwrap_or(score.target), ..score };
    let with = match &arguments.erase_with {
        Some(name) => Some(token_named(model, name)?),
        None => model.erasing_id(),
    };
    let Some(with) = with else {
        return Ok(Err(format!("{} names no token for erased ones (--erase-with)", model.name())));
    };
    let of_kind: Vec<KindHead> = heads.iter().filter(|head| head.kind == kind).copied().collect();
    let (ranking, words) = match &arguments.ranking {
        Some(path) => (read_ranking(path)?, format!("the numbers of {}", path.display())),
        None => (
            baseline.received(&of_kind)?,
            format!("what {} of {} give each token", counted(of_kind.len(), "head"), kind.title()),
        ),
    };
    if ranking.iter().all(Option::is_none) {
        return Ok(Err("the text has special tokens alone".to_owned()));
    }
    let mut random = attlas::SplitMix64::at(0, &[ranking.len()]);
    let shuffled: Vec<Option<f64>> = ranking.iter().map(|rank| rank.map(|_| random.below(1 << 30) as f64)).collect();
    let by_ranking = baseline.erased(side, &ranking, with, &score)?;
    let at_random = baseline.erased(side, &shuffled, with, &score)?;
    Ok(Ok(Erasing { ranking: words, score, with, by_ranking, at_random }))
}

/// A token that the model reads.
fn token_named(model: &Model, name: &str) -> Result<u32, Failure> {
    let tokenizer = model.tokenizer();
    let found = tokenizer.and_then(|tokenizer| tokenizer.id(name)).or_else(|| name.parse().ok());
    found.ok_or_else(|| Failure::Input(format!("--erase-with {name}: {} has no such token", model.name())))
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

/// Other trainings, each with how far it is.
fn beside(arguments: &CheckArguments, baseline: &Baseline<'_>) -> Result<Vec<(String, f64, f64)>, Failure> {
    let of_folder = |folder: &PathBuf| {
        // an adapter or a revision is of the first training alone
        let own = arguments.subject.model.clone();
        let other = load_model(&ModelArguments { model: Some(folder.clone()), adapter: None, revision: None, ..own })?;
        let (moved, _) = baseline.beside(&other)?;
        Ok((other.name().to_owned(), moved.tvd, moved.of_maps))
    };
    arguments.beside.iter().map(of_folder).collect()
}

/// Everything that was found.
struct Card<'a> {
    baseline: &'a Baseline<'a>,
    maps: Vec<Disturbed>,
    erasing: Result<Erasing, String>,
    /// Name, total variation of the output, mean divergence of the maps.
    beside: Vec<(String, f64, f64)>,
    budget: f64,
}

/// Maps that are printed at most.
const MOST: usize = 24;

impl Card<'_> {
    fn print(&self, terminal: &mut Terminal) -> Result<(), Failure> {
        writeln!(
            terminal,
            "{}",
            terminal.bold("map              permuted: median  largest  uniform  most different map kept")
        )?;
        let mut ranked: Vec<&Disturbed> = self.maps.iter().collect();
        ranked.sort_by(|a, b| b.median().total_cmp(&a.median()));
        for map in ranked.iter().take(MOST) {
            let kept =
                map.most_different(self.budget).map_or("–".to_owned(), |moved| format!("{:.3} nats", moved.of_maps));
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
        let n_idle = self.maps.iter().filter(|map| map.largest() < NEGLIGIBLE).count();
        let mut legend = vec![format!(
            "How far the output moves, as total variation. Kept: the maps farthest from the model's own, of those tried, that move it by {} \
             at most (ln 2 = 0.693 nats is as far as can be).",
            percent(self.budget)
        )];
        if let [one] = &self.maps[..] {
            legend.push(one.note());
        } else {
            let of = counted(self.maps.len(), "map");
            legend.push(match n_idle {
                0 => format!("Each of the {of} moves the output by 1 % or more when it is permuted."),
                n => format!("{n} of {of} can be permuted without moving the output by 1 %: what they look at says nothing of it."),
            });
        }
        self.print_lines(&legend, terminal)?;
        self.print_erasing(terminal)?;
        for (name, tvd, of_maps) in &self.beside {
            let line = format!("beside {name}: output {} (TVD), maps {of_maps:.3} nats (JSD) apart", percent(*tvd));
            writeln!(terminal, "{}", printable(&line))?;
        }
        Ok(())
    }

    fn print_erasing(&self, terminal: &mut Terminal) -> Result<(), Failure> {
        let erasing = match &self.erasing {
            Ok(erasing) => erasing,
            Err(why) => return self.print_lines(&[format!("No token was erased: {why}.")], terminal),
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

    fn json(&self) -> Value {
        let map = |map: &Disturbed| {
            let kept = map.most_different(self.budget);
            let heads: Vec<Value> = map
                .heads
                .iter()
                .map(|head| json!({"kind": head.kind.name(), "layer": head.head.layer, "head": head.head.head}))
                .collect();
            json!({
                "heads": heads,
                "permuted_tvd": map.permuted.iter().map(|moved| moved.tvd).collect::<Vec<_>>(),
                "permuted_jsd": map.permuted.iter().map(|moved| moved.jsd).collect::<Vec<_>>(),
                "median_tvd": map.median(),
                "uniform_tvd": map.uniform.tvd,
                "uniform_jsd": map.uniform.jsd,
                "most_different_kept": kept.map(|moved| json!({"of_maps_jsd": moved.of_maps, "tvd": moved.tvd})),
                "note": map.note(),
            })
        };
        let erasure = |erasure: &Erasure| {
            let [comprehensiveness, sufficiency] = erasure.aopc();
            json!({
                "n_erased": erasure.n_erased, "comprehensiveness": erasure.comprehensiveness, "sufficiency": erasure.sufficiency,
                "comprehensiveness_aopc": comprehensiveness, "sufficiency_aopc": sufficiency,
            })
        };
        let erasing = match &self.erasing {
            Err(why) => json!({"absent": why}),
            Ok(erasing) => json!({
                "ranking": erasing.ranking, "position": erasing.score.position, "target": erasing.score.target,
                "erased_with": erasing.with, "shares": SHARES,
                "by_ranking": erasure(&erasing.by_ranking), "at_random": erasure(&erasing.at_random),
            }),
        };
        let beside =
            self.beside.iter().map(|(name, tvd, of_maps)| json!({"model": name, "tvd": tvd, "of_maps_jsd": of_maps}));
        json!({
            "model": self.baseline.model().name(),
            "n_tokens": self.baseline.input.source.len() + self.baseline.input.target.len(),
            "budget": self.budget,
            "maps": self.maps.iter().map(map).collect::<Vec<_>>(),
            "erasing": erasing,
            "beside": beside.collect::<Vec<_>>(),
        })
    }
}
