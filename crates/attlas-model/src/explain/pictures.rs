//! Explanations as pictures: methods × tokens, effects as layers × heads, the pairs of one head.

use attlas::figure::{Axis, ColorScale, Figure, Panel, Scale, Scales, grid, map};
use attlas::printable::counted;
use attlas::view::pictures::Looks;
use attlas::{Kind, Quantity};

use super::agreement::{Agreement, firsts};
use super::by_key::ByKey;
use super::edges::Edges;
use super::effects::Effects;
use super::side_by_side::{Explained, Place, UNSAID, short_title};
use super::states::States;
use super::way::Way;
use crate::{Error, Side};

/// The share of every token under every method, one panel for what the encoder reads and one for what the decoder reads; of long texts
/// in strips below each other.
///
/// # Errors
/// When the numbers are no map.
pub fn explained_picture(explained: &Explained, looks: &Looks) -> Result<Figure, Error> {
    let shares: Vec<Vec<f64>> = explained.attributions.iter().map(Explained::shares).collect();
    let seen = |side: Side| -> Vec<usize> {
        let of_side = |(_, place): &(usize, &Place)| place.side == side && place.is_seen;
        explained.places.iter().enumerate().filter(of_side).map(|(index, _)| index).collect()
    };
    let sides = [Side::Source, Side::Target].map(|side| (side.name(), seen(side)));
    let is_long = sides.iter().map(|(_, places)| places.len()).sum::<usize>() > STRIP;
    let mut panels = Vec::new();
    for (side, places) in &sides {
        for strip in strips(places, is_long) {
            let cells = shares.iter().flat_map(|shares| strip.iter().map(|place| shares[*place] as f32)).collect();
            let rows = Axis::labelled("method", explained.attributions.iter().map(short_title));
            let columns = Axis::labelled("token", strip.iter().map(|place| explained.places[*place].token.clone()));
            let title = match strip {
                [first, .., last] if strip.len() < places.len() => {
                    let position = |place: &usize| explained.places[*place].position;
                    format!("{side} {} to {}", position(first), position(last))
                }
                _ => (*side).to_owned(),
            };
            panels.push(Panel::new(title, cells, rows, columns)?.measuring(Quantity::Relevance));
        }
    }
    let scales = Scales::of(&panels, looks.scale.unwrap_or(Scale::Linear), looks.panel_scale);
    let scales = scales.called("share of the method's scores");
    let mut captions = vec![
        format!("What is explained: the {}, which is {:.4}.", explained.subject, explained.value),
        "Each row is divided by the sum of the sizes of its scores, over all panels. Hidden and left-out tokens are measured, the other methods are computed.".to_owned(),
    ];
    if shares.iter().flatten().any(|share| share.is_nan()) {
        captions.push(UNSAID.replace('–', "A grey cell"));
    }
    captions.extend(firsts(explained));
    captions.extend(explained.sums());
    let mut style = looks.of_several("Which tokens the prediction rests on, by method", captions);
    style.absent = Some("no score");
    let figure = grid(&panels, &scales, if is_long { 1 } else { panels.len() }, &style);
    let Some(agreement) = Agreement::of(explained) else { return Ok(figure) };
    let below = agreement.figure(&style)?;
    let width = figure.width.max(below.width);
    let mut whole = figure.with_strip_below(below.height, below.marks().to_vec());
    whole.width = width;
    whole.description = format!("{} {}", whole.description, below.description);
    Ok(whole)
}

/// Tokens that stand beside each other at most; more are dealt out to strips below each other.
const STRIP: usize = 48;

/// Places in strips that are as long as each other, to one token.
fn strips(places: &[usize], is_long: bool) -> impl Iterator<Item = &[usize]> {
    let n_strips = if is_long { places.len().div_ceil(STRIP) } else { usize::from(!places.is_empty()) };
    let start = move |strip: usize| strip * places.len() / n_strips;
    (0..n_strips).map(move |strip| &places[start(strip)..start(strip + 1)])
}

/// Every head's effect as a cell of layers × heads, one panel for each kind of attention.
///
/// # Errors
/// When heads were taken away together, or not whole layers were measured.
pub fn effects_picture(found: &Effects, looks: &Looks) -> Result<Figure, Error> {
    if found.effects.iter().any(|effect| effect.heads.len() != 1) {
        return Err(Error::Plan(
            "heads that are taken away together have one number, which is no picture; a table holds it".to_owned(),
        ));
    }
    let mut panels = Vec::new();
    for kind in Kind::ALL {
        panels.extend(panel(found, kind)?);
    }
    let scales = Scales::of(&panels, looks.scale.unwrap_or(Scale::Linear), looks.panel_scale);
    let scales = scales.called(found.way.words());
    let title = match found.way {
        Way::Direct => format!("What each head of {} writes for the target", found.model),
        Way::Patch => format!("What each head of {} carries over", found.model),
        Way::Gradient => format!("How much each head of {} matters, by slope", found.model),
        Way::Given => format!("What other weights of a head do to {}", found.model),
        Way::KnockOut(_) => format!("What {} loses without each head", found.model),
    };
    Ok(grid(&panels, &scales, panels.len().min(3), &looks.of_several(&title, captions(found))))
}

/// The heads of one kind, whole layers of them.
fn panel(found: &Effects, kind: Kind) -> Result<Option<Panel>, Error> {
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
        return Err(Error::Plan(format!(
            "a picture shows whole layers, and heads of {kind} layers are left out that were named; name all of a layer as {}.*, or make a table",
            layers.first().copied().unwrap_or(0)
        )));
    }
    let rows = Axis::labelled("layer", layers.iter().map(usize::to_string));
    let panel = Panel::new(kind.title(), cells, rows, Axis::counted("head", n_heads))?;
    Ok(Some(if found.way == Way::Gradient { panel } else { scaled_by(panel, found.metric) }))
}

/// Hidden states that were exchanged as layers × positions, one panel for each stack.
///
/// # Errors
/// When the numbers are no map.
pub fn states_picture(found: &States, looks: &Looks) -> Result<Figure, Error> {
    let mut panels = Vec::new();
    for stack in [Kind::Encoder, Kind::Decoder] {
        let effects = found.rows.iter().filter(|(place, _)| place.stack == stack);
        let cells: Vec<f32> = effects.map(|(_, patched)| patched.effect as f32).collect();
        let tokens = found.tokens(stack);
        if cells.is_empty() {
            continue;
        }
        let n_layers = cells.len() / tokens.len();
        let name = |layer: usize| if layer + 1 == n_layers { "end".to_owned() } else { layer.to_string() };
        let layers = Axis::labelled("layer that is entered", (0..n_layers).map(name));
        let panel = Panel::new(stack.name(), cells, layers, Axis::labelled("position", tokens.labels()))?;
        panels.push(scaled_by(panel, found.metric));
    }
    let scales = Scales::of(&panels, looks.scale.unwrap_or(Scale::Linear), looks.panel_scale);
    let style = looks.of_several("What hidden states of the other text carry over", found.notes());
    Ok(grid(&panels, &scales.called(Quantity::Effect.words()), panels.len(), &style))
}

/// What heads write by the token that they move it from, as heads × keys, one panel for each kind of attention.
///
/// # Errors
/// When the numbers are no map.
pub fn by_key_picture(found: &ByKey, looks: &Looks) -> Result<Figure, Error> {
    let mut panels = Vec::new();
    for (kind, keys) in &found.keys {
        let rows = || found.rows.iter().filter(|row| row.head.kind == *kind);
        let cells = rows().map(|row| row.share as f32).collect();
        let heads = rows().filter(|row| row.key == 0).map(|row| row.head.head.to_string());
        let (heads, keys) = (Axis::labelled("head", heads), Axis::labelled("key", keys.labels()));
        panels.push(Panel::new(kind.title(), cells, heads, keys)?.measuring(Quantity::Effect));
    }
    let scales = Scales::of(&panels, looks.scale.unwrap_or(Scale::Linear), looks.panel_scale);
    let style = looks.of_several("What heads write for the target, by the token that they move it from", found.notes());
    Ok(grid(&panels, &scales.called("direct share"), panels.len(), &style))
}

/// The panel with a scale that suits its numbers: distances (kl, tvd, jsd) are never below 0, other effects have either sign.
fn scaled_by(panel: Panel, metric: &str) -> Panel {
    match metric {
        "kl" | "tvd" | "jsd" => panel,
        _ => panel.measuring(Quantity::Effect),
    }
}

/// The effect of each pair of a head as a map.
///
/// # Errors
/// When the head's numbers are no map.
pub fn edges_picture(found: &Edges, looks: &Looks) -> Result<Figure, Error> {
    let n_keys = found.keys.len();
    let mut cells = vec![0.0; found.queries.len() * n_keys]; // [queries, keys]
    found.rows.iter().for_each(|(query, key, effect, _)| cells[query * n_keys + key] = *effect as f32);
    let rows = Axis::labelled("query", found.queries.labels());
    let name = found.head.to_string();
    let panel = Panel::new(name.clone(), cells, rows, Axis::labelled("key", found.keys.labels()))?;
    let panel = scaled_by(panel, found.metric);
    let captions = vec![
        format!("Effect on the {}: with one pair hidden less without, which is {:.4}.", found.measures, found.before),
        "The rest of the row shares the hidden weight. 0 where a pair is not seen anyway, or is all that its row sees."
            .to_owned(),
    ];
    let style = looks.of_several(&format!("{name}: what the output loses with each pair"), captions);
    let scale = ColorScale::of([&panel], looks.scale.unwrap_or_default()).called(Quantity::Effect.words());
    Ok(map(&panel, &scale, &style))
}

fn captions(found: &Effects) -> Vec<String> {
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
    [vec![what, found.way.limits().to_owned()], found.notes.clone()].concat()
}

fn first_upper(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
