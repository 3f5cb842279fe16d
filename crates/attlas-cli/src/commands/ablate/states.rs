//! `attlas ablate --method patch --states`: hidden states exchanged for those of another text's run, layer by layer and position by
//! position.

use std::io::Write;

use attlas::view::pictures::Looks;
use attlas_model::Model;
use attlas_model::explain::knock_out::Baseline;
use attlas_model::explain::patch::Patched;
use attlas_model::explain::pictures::states_picture;
use attlas_model::explain::states::{StatePlace, States, state_places, states};
use attlas_survey::table::states_table;

use super::{AblateArguments, MethodName, more};
use crate::failure::{Failure, Outcome};
use crate::inputs::with_options;
use crate::progress::Progress;
use crate::terminal::{Terminal, printable};

/// Places that are printed at most.
const MOST: usize = 24;

/// Exchanges the hidden states one place at a time and says how far the output moves towards the other text's.
pub fn run(arguments: &AblateArguments, model: &Model, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    if arguments.method != MethodName::Patch {
        return Err(Failure::Usage("--states is for --method patch".into()));
    }
    let (input, outcome) = arguments.subject.one_input(model, "--states is about one text")?;
    let Some(other) = arguments.other(model)? else {
        return Err(Failure::Usage(
            "--states needs --patch-from: the text whose run hidden states are taken from".into(),
        ));
    };
    arguments.score.check_position(model, &input)?;
    let baseline = Baseline::of(model, &input)?;
    let mut progress = Progress::new("changed run", state_places(&baseline)?.len());
    let found = states(&baseline, &other, arguments.score.asked(), &mut progress.watch()).map_err(with_options)?;
    let picture = |looks: &Looks| states_picture(&found, looks);
    arguments.give(&states_table(&found), picture, terminal, |terminal| print(&found, terminal))?;
    Ok(outcome)
}

fn print(found: &States, terminal: &mut Terminal) -> Result<(), Failure> {
    let mut ranked: Vec<&(StatePlace, Patched)> = found.rows.iter().collect();
    ranked.sort_by(|a, b| b.1.effect.abs().total_cmp(&a.1.effect.abs()));
    writeln!(terminal, "{}", terminal.bold(&format!("{:>10}    share  place", found.metric)))?;
    for (place, patched) in ranked.iter().take(MOST) {
        let share = patched.share.map_or("–".to_owned(), |share| format!("{share:+.3}"));
        let token = printable(found.token(*place).trim());
        let StatePlace { stack, layer, position } = place;
        let place = format!("{stack} layer {layer}, position {position} {token}");
        writeln!(terminal, "{:>+10.4} {share:>8}  {place}", patched.effect)?;
    }
    more(ranked.len(), MOST, terminal)?;
    terminal.notes(found.notes())
}
