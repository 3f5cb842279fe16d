//! Explanations as a picture: methods × tokens.

use attlas::Quantity;
use attlas::figure::{Axis, Figure, Panel, Scale, Scales, grid};

use super::agreement::{Agreement, firsts};
use super::explained::{Explained, Place, short_title};
use crate::commands::draw::StyleArguments;
use crate::failure::Failure;

/// The share of every token under every method, one panel for what the encoder reads and one for what the decoder reads.
pub fn figure(explained: &Explained, style: &StyleArguments) -> Result<Figure, Failure> {
    let shares: Vec<Vec<f64>> = explained.attributions.iter().map(Explained::shares).collect();
    let last = explained.attributions.first().and_then(|one| one.score.position); // tokens after it are not seen
    let mut panels = Vec::new();
    for side in ["source", "target"] {
        let is_seen = |place: &usize| {
            let Place { side: of, position, .. } = &explained.places[*place];
            *of == side && (side == "source" || last.is_none_or(|last| *position <= last))
        };
        let places: Vec<usize> = (0..explained.places.len()).filter(is_seen).collect();
        if places.is_empty() {
            continue;
        }
        let cells = shares.iter().flat_map(|shares| places.iter().map(|place| shares[*place] as f32)).collect();
        let rows = Axis::labelled("method", explained.attributions.iter().map(short_title));
        let columns = Axis::labelled("token", places.iter().map(|place| explained.places[*place].token.clone()));
        panels.push(Panel::new(side, cells, rows, columns)?.measuring(Quantity::Relevance));
    }
    let scales = Scales::of(&panels, style.scale.unwrap_or(Scale::Linear), style.panel_scale);
    let mut captions = vec![
        format!("What is explained: the {}, which is {:.4}.", explained.subject, explained.value),
        "Each row is divided by the sum of the sizes of its scores, over all panels. Hidden and left-out tokens are measured, the other methods are computed.".to_owned(),
    ];
    captions.extend(firsts(explained));
    captions.extend(explained.sums());
    let style = style.of_several("Which tokens the prediction rests on, by method", captions);
    let figure = grid(&panels, &scales, panels.len(), &style);
    let Some(agreement) = Agreement::of(explained) else { return Ok(figure) };
    let below = agreement.figure(&style)?;
    let width = figure.width.max(below.width);
    let mut whole = figure.with_strip_below(below.height, below.marks().to_vec());
    whole.width = width;
    whole.description = format!("{} {}", whole.description, below.description);
    Ok(whole)
}
