//! `attlas ablate --edges`: each pair of tokens of one head, hidden alone.

use std::io::Write;

use attlas::view::pictures::Looks;
use attlas::{Kind, Tokens};
use attlas_model::Model;
use attlas_model::explain::edges::{Edges, edges, n_edges};
use attlas_model::explain::knock_out::Baseline;
use attlas_model::explain::pictures::edges_picture;
use attlas_survey::table::edges_table;

use super::{AblateArguments, MethodName, more};
use crate::failure::{Failure, Outcome};
use crate::inputs::with_options;
use crate::progress::Progress;
use crate::terminal::{Terminal, printable};
use crate::words::counted;

/// Pairs that are printed at most.
const MOST: usize = 24;

/// Hides the pairs of one head one by one and says what the output loses with each.
pub fn run(arguments: &AblateArguments, model: &Model, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    if arguments.method != MethodName::Zero {
        return Err(Failure::Usage("--edges is a method of its own; leave --method out".into()));
    }
    let heads = arguments.heads.of(model)?;
    let [head] = heads[..] else {
        let n = counted(heads.len(), "head");
        return Err(Failure::Usage(format!(
            "--edges is about one head, and --heads names {n}; with its kind: cross:L2H4"
        )));
    };
    let (input, outcome) = arguments.subject.one_input(model, "--edges is about one text")?;
    arguments.score.check_position(model, &input)?;
    let baseline = Baseline::of(model, &input)?;
    let mut progress = Progress::new("pair", n_edges(&baseline, head)?);
    let found = edges(&baseline, head, arguments.score.asked(), &mut progress.watch()).map_err(with_options)?;
    let picture = |looks: &Looks| edges_picture(&found, looks);
    arguments.give(&edges_table(&found), picture, terminal, |terminal| print(&found, terminal))?;
    Ok(outcome)
}

/// The pairs of the largest effects.
fn print(found: &Edges, terminal: &mut Terminal) -> Result<(), Failure> {
    let mut ranked: Vec<_> = found.rows.iter().collect();
    ranked.sort_by(|a, b| b.2.abs().total_cmp(&a.2.abs()));
    writeln!(terminal, "{}", terminal.bold(&format!("{:>10}  weight  query → key", found.metric)))?;
    let label = |tokens: &Tokens, place: usize| {
        let text = tokens.tokens.get(place).map_or("", |token| token.text.as_str());
        format!("{place} {}", printable(text.trim()))
    };
    for (query, key, effect, weight) in ranked.iter().take(MOST) {
        let pair = format!("{} → {}", label(&found.queries, *query), label(&found.keys, *key));
        writeln!(terminal, "{effect:>+10.4}  {weight:.3}   {pair}")?;
    }
    more(ranked.len(), MOST, terminal)?;
    let rows = if found.head.kind == Kind::Cross { ", named by the token that it predicts" } else { "" };
    let legend = format!(
        "Effect on the {}: with the pair hidden from {} less without, which is {:.4}; the rest of the row shares the weight. {} pairs. A \
         query is the row of a map{rows}.",
        found.measures,
        found.head,
        found.before,
        found.rows.len()
    );
    terminal.notes([legend])
}
