//! `attlas why TEXT --head L5H1 --query 7 --key 3`.

use std::io::Write;

use attlas::analysis::RowTokens;
use attlas::{Kind, Tokens};
use attlas_model::Model;
use attlas_model::explain::{Asked, Origin, Why, why};
use clap::Args;
use clap::builder::RangedU64ValueParser;

use crate::failure::{Failure, Outcome};
use crate::inputs::{KnockOut, ReadArguments, RunArguments, parse_kind, parse_knock_out, run_traced, token_of};
use crate::terminal::{Terminal, pad, print_json, printable};

const EXAMPLES: &str = "\
Examples:
  attlas why \"She gave him a red apple.\" --head cross:L2H4 --query pomme --key apple
  attlas why \"The cat sat.\" --model DIR --head L5H1 --query 3 --key 0
  attlas why \"The cat sat.\" --model DIR --head L5H1 --query 3 --key 0 --json | jq .parts

Parts sum to the score. Norms are taken with the variance that they had here, so a part is not
what would be missing if it were taken away: `attlas ablate` measures that.";

/// `attlas why`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct WhyArguments {
    #[command(flatten)]
    pub read: ReadArguments,
    /// The head: L5H1 or 5.1, or cross:L2H4 where several kinds of attention have it.
    #[arg(long, value_name = "HEAD", value_parser = parse_knock_out)]
    pub head: KnockOut,
    /// The kind of attention, where HEAD does not say it.
    #[arg(long, value_parser = parse_kind())]
    pub kind: Option<Kind>,
    /// The token that looks: as it names its row, the second of several as it#2, or its place counted from 0.
    #[arg(long, value_name = "TOKEN | N")]
    pub query: String,
    /// The token that is looked at, as --query.
    #[arg(long, value_name = "TOKEN | N")]
    pub key: String,
    /// Lines of each list.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub top: usize,
    /// Print one JSON object with all parts.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub run: RunArguments,
}

/// Takes the score apart and prints it.
pub fn run(arguments: &WhyArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let (model, run) = run_traced(&arguments.read, &arguments.run)?;
    let kind = kind_of(arguments.head, arguments.kind, &model)?;
    let head = arguments.head.id;
    let map = run.recording.map(0, kind, head.layer, head.head)?;
    let rows = RowTokens::usual(kind).of(&map);
    let query = token_of(rows, &arguments.query, "--query").map_err(Failure::Usage)?;
    let key = token_of(map.key_tokens(), &arguments.key, "--key").map_err(Failure::Usage)?;
    let found = why(&model, &run, Asked { item: 0, kind, head, query, key })?;
    let tokens = [label(rows, query), label(map.key_tokens(), key)];
    match arguments.json {
        true => print_json(&found.json(&tokens), terminal)?,
        false => print(&found, &tokens, arguments.top, terminal)?,
    }
    Ok(Outcome::Done)
}

/// The kind that is meant by `--head` and `--kind`.
pub fn kind_of(head: KnockOut, kind: Option<Kind>, model: &Model) -> Result<Kind, Failure> {
    if let (Some(one), Some(other)) = (head.kind, kind)
        && one != other
    {
        return Err(Failure::Usage(format!("--head says {one}, --kind {other}")));
    }
    KnockOut { kind: head.kind.or(kind), ..head }.kind_in(model)
}

fn label(tokens: &Tokens, place: usize) -> String {
    tokens.tokens.get(place).map_or(String::new(), |token| token.text.trim().to_owned())
}

fn print(found: &Why, [query, key]: &[String; 2], top: usize, terminal: &mut Terminal) -> Result<(), Failure> {
    let Asked { kind, head, query: at, key: of, .. } = found.asked;
    let heading =
        format!("{} {head}: {} (query {at}) looks at {} (key {of})", kind.title(), printable(query), printable(key));
    writeln!(terminal, "{}", terminal.bold(&heading))?;
    let (score, weight, mean) = (found.score, 100.0 * found.weight, found.mean_score);
    writeln!(
        terminal,
        "score {score:.3}, {weight:.1} % of the weight; the keys that it sees have {mean:.3} on average"
    )?;
    writeln!(terminal, "\n{}", terminal.bold("the score comes from"))?;
    let mut parts = found.parts.0.clone();
    parts.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    for (part, value) in parts {
        writeln!(terminal, "{value:9.3}  {}", part.words())?;
    }
    writeln!(terminal, "{score:9.3}  in all; the parts' sum is off by {:.0e}", found.error.abs())?;
    writeln!(terminal, "\n{}", terminal.bold("of q·k, what stands in the two states brings"))?;
    writeln!(terminal, "{}the key's side", pad("the query's side", 36))?;
    let line = |origin: Option<&Origin>| {
        origin.map_or(String::new(), |origin| format!("{:9.3}  {}", origin.value, origin.source))
    };
    for place in 0..top.min(found.queries.len().max(found.keys.len())) {
        let (one, other) = (line(found.queries.get(place)), line(found.keys.get(place)));
        writeln!(terminal, "{}{other}", pad(&one, 36))?;
    }
    writeln!(terminal, "\n{}", terminal.bold("what of the query meets what of the key"))?;
    for (one, other, value) in found.pairs.iter().take(top) {
        writeln!(terminal, "{value:9.3}  {one} × {other}")?;
    }
    let n_more = found.terms.len().saturating_sub(top);
    writeln!(terminal, "\n{}", terminal.bold("q·k term by term"))?;
    for term in found.terms.iter().take(top) {
        let columns: Vec<String> = term.columns.iter().map(usize::to_string).collect();
        let turned = match (term.unturned, term.wavelength) {
            (Some(unturned), Some(length)) => format!(", one turn in {length:.1} tokens; {unturned:.3} at one place"),
            _ => String::new(),
        };
        let what = if columns.len() > 1 { "columns" } else { "column" };
        writeln!(terminal, "{:9.3}  {what} {}{turned}", term.value, columns.join(" and "))?;
    }
    if n_more > 0 {
        let rest: f64 = found.terms.iter().skip(top).map(|term| term.value).sum();
        writeln!(terminal, "{rest:9.3}  {n_more} more")?;
    }
    let note = "Only what differs between keys moves weight. Parts are exact as a sum, with every norm's variance as it was; what would \
                be missing without one of them, a knock-out measures.";
    writeln!(terminal)?;
    terminal.notes([note])
}
