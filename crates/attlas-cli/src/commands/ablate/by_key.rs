//! `attlas ablate --method direct --by-key`: what heads write for the target, by the token that they move it from.

use std::io::Write;

use attlas::view::pictures::Looks;
use attlas_model::Model;
use attlas_model::explain::by_key::{ByKey, KeyShare, by_key, writing_heads};
use attlas_model::explain::knock_out::Baseline;
use attlas_model::explain::pictures::by_key_picture;
use attlas_survey::table::by_key_table;

use super::{AblateArguments, more};
use crate::failure::{Failure, Outcome};
use crate::inputs::{row_of, with_options};
use crate::terminal::{Terminal, printable};

/// Pairs of head and key that are printed at most.
const MOST: usize = 24;

/// Takes apart what each head writes.
pub fn run(arguments: &AblateArguments, model: &Model, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    if arguments.score.metric.is_some() {
        return Err(Failure::Usage(
            "--by-key shares out a logit, or with --foil the difference of two: leave --metric out".into(),
        ));
    }
    let (input, outcome) = arguments.subject.one_input(model, "--by-key is about one text")?;
    row_of(model, &input, arguments.score.position, "--position")?;
    let heads = match arguments.heads.heads.is_empty() && arguments.heads.kind.is_none() {
        true => writing_heads(model),
        false => arguments.heads.of(model)?,
    };
    let baseline = Baseline::of(model, &input)?;
    let found = by_key(&baseline, &heads, arguments.score.asked().predicted).map_err(with_options)?;
    let picture = |looks: &Looks| by_key_picture(&found, looks);
    arguments.give(&by_key_table(&found), picture, terminal, |terminal| print(&found, terminal))?;
    Ok(outcome)
}

fn print(found: &ByKey, terminal: &mut Terminal) -> Result<(), Failure> {
    let mut ranked: Vec<&KeyShare> = found.rows.iter().collect();
    ranked.sort_by(|a, b| b.share.abs().total_cmp(&a.share.abs()));
    writeln!(terminal, "{}", terminal.bold("     share  weight  head and token"))?;
    for row in ranked.iter().take(MOST) {
        let token = printable(found.token(row).trim());
        writeln!(terminal, "{:>+10.4}  {:>6.3}  {} ← {} {token}", row.share, row.weight, row.head, row.key)?;
    }
    more(ranked.len(), MOST, terminal)?;
    terminal.notes(found.notes())
}
