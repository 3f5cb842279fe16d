//! Effects as pictures: layers × heads, and the pairs of one head.

use attlas::figure::{Axis, Figure, Panel, Scale, Scales, grid};
use attlas::{Kind, Quantity};

use super::measured::{Found, Way};
use crate::commands::draw::StyleArguments;
use crate::failure::Failure;
use crate::words::counted;

/// Every head's effect as a cell of layers × heads, one panel for each kind of attention; beside them, how meaningful the maps look.
pub fn figure(found: &Found, style: &StyleArguments) -> Result<Figure, Failure> {
    if found.effects.iter().any(|effect| effect.heads.len() != 1) {
        return Err(Failure::Usage("--together gives one number, which is no picture; -o FILE.json holds it".into()));
    }
    let mut panels = Vec::new();
    for kind in Kind::ALL {
        panels.extend(panel(found, kind)?);
    }
    let scales = Scales::of(&panels, style.scale.unwrap_or(Scale::Linear), style.panel_scale);
    let scales = scales.called(Quantity::Effect.words());
    let title = match found.way {
        Way::Direct => format!("What each head of {} writes for the target", found.model),
        Way::Patch => format!("What each head of {} carries over", found.model),
        Way::Gradient => format!("How much each head of {} matters, by slope", found.model),
        Way::KnockOut(_) => format!("What {} loses without each head", found.model),
    };
    let style = style.of_several(&title, captions(found));
    Ok(grid(&panels, &scales, panels.len().min(3), &style))
}

/// The heads of one kind, whole layers of them.
fn panel(found: &Found, kind: Kind) -> Result<Option<Panel>, Failure> {
    let effects = || found.effects.iter().filter_map(|effect| Some((effect.heads.first()?, effect)));
    let of_kind: Vec<_> = effects().filter(|(head, _)| head.kind == kind).collect();
    let Some(n_heads) = of_kind.iter().map(|(head, _)| head.head.head + 1).max() else { return Ok(None) };
    let mut layers: Vec<usize> = of_kind.iter().map(|(head, _)| head.head.layer).collect();
    layers.dedup();
    let mut cells = vec![f32::NAN; layers.len() * n_heads]; // [layers, heads]
    for (head, effect) in of_kind {
        if let Some(row) = layers.iter().position(|layer| *layer == head.head.layer) {
            cells[row * n_heads + head.head.head] = effect.effect as f32;
        }
    }
    if cells.iter().any(|cell| cell.is_nan()) {
        return Err(Failure::Usage(format!(
            "a picture shows whole layers, and --heads leaves out heads of {} layers that it names; name them as {}.*, or write a table",
            kind,
            layers.first().copied().unwrap_or(0)
        )));
    }
    let rows = Axis::labelled("layer", layers.iter().map(usize::to_string));
    let panel = Panel::new(kind.title(), cells, rows, Axis::counted("head", n_heads))?;
    Ok(Some(if found.way == Way::Gradient { panel } else { scaled_by(panel, found.metric) }))
}

/// The panel with a scale that suits its numbers: distances (kl, tvd, jsd) are never below 0, other effects have either sign.
pub fn scaled_by(panel: Panel, metric: &str) -> Panel {
    match metric {
        "kl" | "tvd" | "jsd" => panel,
        _ => panel.measuring(Quantity::Effect),
    }
}

fn captions(found: &Found) -> Vec<String> {
    let on = match found.n_texts {
        1 => counted(found.n_tokens, "token"),
        n => format!("mean over {} of {} together", counted(n, "text"), counted(found.n_tokens, "token")),
    };
    let what = match found.way {
        Way::Direct => format!("Share in the {}; {on}. {}.", found.measures, first_upper(&found.does)),
        Way::Gradient => format!(
            "Size of the slope of the {} ({:.4}); {on}. The change: {}.",
            found.measures, found.before, found.does
        ),
        _ => format!(
            "Effect: the {}, with the change less without ({:.4}); {on}. The change: {}.",
            found.measures, found.before, found.does
        ),
    };
    [vec![what, super::table::LIMITS.to_owned()], found.notes.clone()].concat()
}

fn first_upper(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
