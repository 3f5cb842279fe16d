//! `attlas circuits`: what heads read and write, from the weights alone.

use std::io::Write;

use attlas::{HeadId, Kind};
use attlas_model::Model;
use attlas_model::explain::from_weights::{FromWeights, Question};
use attlas_model::explain::{Composition, Compositions, Copying};
use clap::Args;
use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};

use super::why::kind_of;
use crate::failure::{Failure, Outcome};
use crate::inputs::{KnockOut, ModelArguments, load_model, parse_knock_out};
use crate::progress::Progress;
use crate::terminal::{Terminal, print_json, printable, remark};

const EXAMPLES: &str = "\
Examples:
  attlas circuits --model DIR                      copying, and which heads read which
  attlas circuits --model DIR --head L5H1          partners of one head, its tokens
  attlas circuits --model DIR --head L5H1 --token \" cat\"
  attlas circuits --model DIR --json | jq .copying

No text is run: these are the weights' own tendencies, with each token's embedding alone in the
stream, without positions. What a head does in a text, `attlas heads` measures.";

/// Reads the kinds whose heads have circuits.
fn self_attention() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new([Kind::Encoder, Kind::Decoder].map(Kind::name)).try_map(|name| name.parse::<Kind>())
}

/// One of a composition's numbers.
type Column = fn(&Composition) -> f32;

/// `attlas circuits`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CircuitsArguments {
    /// One head: L5H1, or 5.1.
    #[arg(long, value_name = "HEAD", value_parser = parse_knock_out)]
    pub head: Option<KnockOut>,
    /// The stack whose self-attention is meant [default: the decoder, else the encoder].
    #[arg(long, value_parser = self_attention())]
    pub kind: Option<Kind>,
    /// With --head: pairs of this token alone, looked from and looked at: as text, as it is written in the vocabulary, or as an id.
    #[arg(long, value_name = "TOKEN", requires = "head")]
    pub token: Option<String>,
    /// Lines of each list.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub top: usize,
    /// Print one JSON object: {kind, chance, copying, compositions}, and with --head also {head, reads, writes}.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub model: ModelArguments,
}

/// Prints what the weights say.
pub fn run(arguments: &CircuitsArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let model = load_model(&arguments.model)?;
    let usual = model.usual_kind();
    let kind = match arguments.head {
        Some(head) => kind_of(head, arguments.kind.or(head.kind).or(Some(usual)), &model)?,
        None => arguments.kind.unwrap_or(usual),
    };
    let mut progress: Option<Progress> = None;
    let question = Question {
        kind,
        head: arguments.head.map(|head| head.id),
        token: arguments.token.as_deref(),
        n: arguments.top,
    };
    let found = model.from_weights(question, &mut |n| {
        progress.get_or_insert_with(|| Progress::new("band", n)).step();
    })?;
    drop(progress);
    match (arguments.json, found.head) {
        (true, _) => print_json(&found.json(&model), terminal)?,
        (false, None) => print_all(&found.compositions, &found.copying, arguments.top, terminal)?,
        (false, Some(head)) => print_head(&model, head, &found, arguments.top, terminal)?,
    }
    Ok(Outcome::Done)
}

fn quoted(model: &Model, id: u32) -> String {
    format!("\"{}\"", printable(&model.vocabulary_text(id)))
}

fn print_all(
    found: &Compositions,
    scores: &Result<Vec<Copying>, String>,
    top: usize,
    terminal: &mut Terminal,
) -> Result<(), Failure> {
    match scores {
        Err(why) => remark(why),
        Ok(scores) => {
            writeln!(terminal, "{}", terminal.bold("copying, Σλ ÷ Σ|λ|: 1 raises the token looked at, −1 lowers it"))?;
            let mut sorted: Vec<&Copying> = scores.iter().filter(|one| one.score.is_some()).collect();
            sorted.sort_by(|a, b| b.score.unwrap_or(0.0).total_cmp(&a.score.unwrap_or(0.0)));
            let n = sorted.len();
            for one in sorted.iter().take(top) {
                writeln!(terminal, "{:7.2}  {}", one.score.unwrap_or(0.0), one.head)?;
            }
            if n > top {
                let copies = sorted.iter().filter(|one| one.score > Some(0.5)).count();
                writeln!(terminal, "{:7}  {} more; {copies} of {n} over 0.5", "", n - top)?;
            }
        }
    }
    let columns: [(&str, Column); 3] = [
        ("query composition: who steers where a head looks from", |pair| pair.query),
        ("key composition: who steers what a head looks at", |pair| pair.key),
        ("value composition: whose output a head moves on", |pair| pair.value),
    ];
    for (title, column) in columns {
        writeln!(terminal, "\n{}", terminal.bold(title))?;
        print_pairs(&found.pairs, column, top, terminal)?;
    }
    print_note(found, terminal)
}

/// The pairs of the highest scores.
fn print_pairs(pairs: &[Composition], column: Column, top: usize, terminal: &mut Terminal) -> Result<(), Failure> {
    let mut sorted: Vec<&Composition> = pairs.iter().collect();
    sorted.sort_by(|a, b| column(b).total_cmp(&column(a)));
    for pair in sorted.into_iter().take(top) {
        writeln!(terminal, "{:7.3}  {} → {}", column(pair), pair.from, pair.to)?;
    }
    Ok(())
}

fn print_head(
    model: &Model,
    head: HeadId,
    whole: &FromWeights,
    top: usize,
    terminal: &mut Terminal,
) -> Result<(), Failure> {
    let found = &whole.compositions;
    writeln!(terminal, "{}", terminal.bold(&format!("{} {head}", found.kind.title())))?;
    let score = whole.copying.as_ref().ok().and_then(|scores| scores.iter().find(|one| one.head == head)?.score);
    if let Some(score) = score {
        writeln!(terminal, "copying {score:.2} (1 raises the token looked at, −1 lowers it)")?;
    }
    let columns: [(&str, Column); 3] =
        [("as queries", |pair| pair.query), ("as keys", |pair| pair.key), ("as values", |pair| pair.value)];
    for (title, column) in columns {
        let of = |is: &dyn Fn(&Composition) -> bool| found.pairs.iter().filter(|pair| is(pair)).copied().collect();
        let (into, from): (Vec<Composition>, Vec<Composition>) =
            (of(&|pair| pair.to == head), of(&|pair| pair.from == head));
        for (what, pairs) in [("what it reads of earlier heads", into), ("what it gives is read by later heads", from)]
        {
            if !pairs.is_empty() {
                writeln!(terminal, "\n{}", terminal.bold(&format!("{what}, {title}")))?;
                print_pairs(&pairs, column, top, terminal)?;
            }
        }
    }
    match &whole.circuit {
        None => {}
        Some(Err(why)) => remark(why),
        Some(Ok(circuit)) => {
            writeln!(terminal, "\n{}", terminal.bold("looks from … at … (score of the two embeddings, at one place)"))?;
            for pair in &circuit.reads {
                writeln!(terminal, "{:7.2}  {} → {}", pair.value, quoted(model, pair.from), quoted(model, pair.to))?;
            }
            writeln!(terminal, "\n{}", terminal.bold("looking at … raises … (logit, up to the final norm's scale)"))?;
            for pair in &circuit.writes {
                writeln!(terminal, "{:7.2}  {} → {}", pair.value, quoted(model, pair.from), quoted(model, pair.to))?;
            }
        }
    }
    print_note(found, terminal)
}

fn print_note(found: &Compositions, terminal: &mut Terminal) -> Result<(), Failure> {
    let note = format!(
        "Composition: ‖W_a W_b‖ ÷ (‖W_a‖ ‖W_b‖); matrices that have nothing to do with each other reach about {:.3}. From weights alone, \
         norms' weights folded in, biases and positions left out: what a head can do, not what it does in a text.",
        found.chance
    );
    writeln!(terminal)?;
    terminal.notes([note])
}
