//! Effects in the terminal: the heads by what the output loses, beside how meaningful their maps look.

use std::io::Write;

use attlas::analysis::rank_correlation;
use attlas_model::explain::effects::{Effect, Effects};
use attlas_model::explain::knock_out::KindHead;
use attlas_model::explain::way::Way;

use crate::failure::Failure;
use crate::terminal::Terminal;

/// Heads that are printed at most; all are in `--json` and `-o`.
const MOST: usize = 24;

/// Prints the heads, the largest effect first.
pub fn print(found: &Effects, terminal: &mut Terminal) -> Result<(), Failure> {
    let ranked = found.ranked();
    let share = match found.way {
        Way::Patch => "  share",
        Way::Gradient => "  of its layer",
        _ => "",
    };
    let heading = format!("kind     head     {:>10}  largest weight{share}", found.metric);
    writeln!(terminal, "{}", terminal.bold(&heading))?;
    for effect in ranked.iter().take(MOST) {
        writeln!(terminal, "{}", line(effect))?;
    }
    if ranked.len() > MOST {
        let rest = format!("… {} more, none with an effect beyond {:+.4}", ranked.len() - MOST, ranked[MOST].effect);
        writeln!(terminal, "{}", terminal.dim(&rest))?;
    }
    print_others(found, terminal)?;
    let what = match found.way {
        Way::Direct => format!("Share in the {}", found.measures),
        Way::Gradient => format!(
            "Size of the slope of the {}, which is {:.4}: of the first order, while a head is still there; what is lost without it a knock-out \
             measures",
            found.measures, found.before
        ),
        _ => format!("Effect on the {}: with the change less without, which is {:.4}", found.measures, found.before),
    };
    let texts = if found.n_texts > 1 { format!(" Means over {} texts.", found.n_texts) } else { String::new() };
    let mut legend = vec![
        format!("{what}. The change to each head: {}.{texts}", found.does),
        "Largest weight: the mean over rows of the row's largest, how meaningful the map looks.".to_owned(),
    ];
    legend.extend(agreement(found));
    legend.extend(found.notes.clone());
    legend.push(found.way.limits().to_owned());
    terminal.notes(&legend)
}

/// What all that is no head writes, the largest first.
fn print_others(found: &Effects, terminal: &mut Terminal) -> Result<(), Failure> {
    let mut others = found.others.clone();
    others.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    for (component, share) in others.iter().take(MOST) {
        writeln!(terminal, "{:<26} {share:>+10.4}", component.to_string())?;
    }
    super::more(others.len(), MOST, terminal)
}

fn line(effect: &Effect) -> String {
    let weight = effect.mean_weight.map_or("–".to_owned(), |weight| format!("{weight:.3}"));
    let share = effect.share.map(|share| format!("{share:>+16.3}"));
    let share = share.or(effect.by_layer.map(|share| format!("{share:>23.3}"))).unwrap_or_default();
    let number = format!("{:>+10.4}", effect.effect);
    match effect.heads[..] {
        [head] => format!("{:<8} {:<8} {number}  {weight}{share}", head.kind.name(), head.head.to_string()),
        _ => format!(
            "{:<17} {number}  {weight}  {}",
            "together",
            effect.heads.iter().map(KindHead::to_string).collect::<Vec<_>>().join(" ")
        ),
    }
}

/// How far weights and effects rank the heads alike, and what the most meaningful map does.
fn agreement(found: &Effects) -> Option<String> {
    let of = |number: &dyn Fn(&Effect) -> f64| -> Vec<f64> { found.effects.iter().map(number).collect() };
    if found.effects.len() < 5 {
        return None; // ranks of fewer say nothing
    }
    let correlation = rank_correlation(&of(&|e| e.effect.abs()), &of(&|e| e.mean_weight.unwrap_or(f64::NAN)))?;
    let ranked = found.ranked();
    let weight = |effect: &Effect| effect.mean_weight.unwrap_or(0.0);
    let (place, best) = ranked.iter().enumerate().max_by(|(_, a), (_, b)| weight(a).total_cmp(&weight(b)))?;
    Some(format!(
        "Rank correlation of the two: {correlation:+.2}. The map with the largest weights is {}'s ({:.3}); by effect it is number {} \
         of {}.",
        best.heads.first().map(KindHead::to_string).unwrap_or_default(),
        weight(best),
        place + 1,
        ranked.len()
    ))
}
