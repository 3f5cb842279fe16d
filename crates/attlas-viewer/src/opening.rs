//! The head that a page opens with.

use std::borrow::Cow;

use attlas::analysis::Standout;
use attlas::{AttentionMap, HeadId, Kind, Layer, Quantity, Recording};
use serde::Serialize;

use crate::PageOptions;
use crate::bands::bands;
use crate::items::kept;

/// A head to open.
#[derive(Serialize)]
pub struct PageHead {
    kind: Kind,
    layer: usize,
    head: usize,
    /// What the page shows first, where there are no weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<&'static str>,
}

/// The head that the page opens with: the one asked for, the one of the last kind that stands out most, or the sharpest.
pub fn first_head(recording: &Recording, carried: &[Cow<'_, Layer>], options: &PageOptions) -> PageHead {
    chosen_head(carried, options).unwrap_or_else(|| sharpest_head(recording, carried))
}

/// The first head of the last kind.
pub fn first_of_all(carried: &[Cow<'_, Layer>]) -> PageHead {
    let first = of_last_kind(carried).first().map(|layer| (layer.kind, layer.index));
    let (kind, layer) = first.unwrap_or((Kind::Encoder, 0));
    PageHead { kind, layer, head: 0, quantity: None }
}

/// The head that was asked for, or the one of the last kind that stands out most; of no weights, the first there is.
pub fn chosen_head(carried: &[Cow<'_, Layer>], options: &PageOptions) -> Option<PageHead> {
    if let Some(first) = carried.first().filter(|layer| layer.quantity != Quantity::Weight) {
        return Some(PageHead { kind: first.kind, layer: first.index, head: 0, quantity: Some(first.quantity.name()) });
    }
    let exists = |(kind, head): &(Kind, HeadId)| {
        let is_its = |layer: &&Layer| (layer.kind, layer.index) == (*kind, head.layer);
        weights(carried).find(is_its).is_some_and(|layer| head.head < layer.shape.n_heads)
    };
    let last_kind = of_last_kind(carried).first().map(|layer| layer.kind);
    let standouts = by_excess(&options.standouts).into_iter().map(|standout| (standout.kind, standout.head));
    let standing_out = || standouts.filter(exists).find(|(kind, _)| Some(*kind) == last_kind);
    let (kind, head) = options.open.filter(exists).or_else(standing_out)?;
    Some(PageHead { kind, layer: head.layer, head: head.head, quantity: None })
}

/// The layers of attention weights among those that a page carries.
fn weights<'a>(carried: &'a [Cow<'_, Layer>]) -> impl DoubleEndedIterator<Item = &'a Layer> {
    carried.iter().map(|layer| &**layer).filter(|layer| layer.quantity == Quantity::Weight)
}

/// Those of the last kind: a recording may have others, whose maps have an axis that the page does not show.
fn of_last_kind<'a>(carried: &'a [Cow<'_, Layer>]) -> Vec<&'a Layer> {
    let last = weights(carried).next_back().map(|layer| layer.kind);
    weights(carried).filter(|layer| Some(layer.kind) == last).collect()
}

/// What few heads do first, and of that what lies furthest over its baseline.
pub fn by_excess(standouts: &[Standout]) -> Vec<&Standout> {
    let mut sorted: Vec<&Standout> = standouts.iter().collect();
    sorted.sort_by(|a, b| a.is_usual().cmp(&b.is_usual()).then(b.excess().total_cmp(&a.excess())));
    sorted
}

/// The head of the last kind whose rows have the largest maxima on average, for the first text; the first of equals.
fn sharpest_head(recording: &Recording, carried: &[Cow<'_, Layer>]) -> PageHead {
    let (mut largest, mut sharpest) = (f64::NEG_INFINITY, first_of_all(carried));
    for layer in of_last_kind(carried) {
        for head in 0..layer.shape.n_heads {
            let sharpness = recording.map_of(layer, 0, head).map_or(f64::NEG_INFINITY, |map| sharpness(&map));
            if sharpness > largest {
                (largest, sharpest) =
                    (sharpness, PageHead { kind: layer.kind, layer: layer.index, head, quantity: None });
            }
        }
    }
    sharpest
}

/// The mean of the rows' largest weights, padding left out.
fn sharpness(map: &AttentionMap<'_>) -> f64 {
    let rows = kept(map.query_tokens());
    let mut sum = 0.0;
    for band in bands(&rows) {
        let weights = map.tile(band, 0..map.n_keys()); // [band, n_keys]
        let largest = |row: &[f32]| f64::from(row.iter().copied().fold(0.0, f32::max));
        sum += weights.chunks_exact(map.n_keys().max(1)).map(largest).sum::<f64>();
    }
    sum / rows.len().max(1) as f64
}
