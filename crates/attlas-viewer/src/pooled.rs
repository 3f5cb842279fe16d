//! A recording too large for a page: each map becomes a map of tiles, each tile the weight in it, or other number, that is largest in
//! size.
//!
//! What comes out is a recording of dense weights whose tokens are stretches of the text, so the page draws it like any
//! other; it says that its cells are tiles.

use std::ops::Range;

use attlas::attention::Shape;
use attlas::{AttentionMap, Item, Layer, Recording, Token, TokenRole, Tokens, Weights};
use rayon::prelude::*;

use crate::bands::BAND;
use crate::escape::length_of;
use crate::payload::carried;

/// Tiles along an axis, the most first; the first that fits is taken.
const SIDES: [usize; 9] = [512, 384, 256, 192, 128, 96, 64, 48, 32];
/// Weights that are computed at most; more would take minutes.
const MAX_WEIGHTS: u64 = 1 << 33;
/// Letters of a stretch's label at most.
const LABEL: usize = 24;

/// A recording of tiles.
pub struct Pooled {
    pub recording: Recording,
    /// Source tokens in a tile at most.
    pub source: usize,
    /// Target tokens in a tile at most.
    pub target: usize,
    /// Source tokens, padding included.
    pub n_source: usize,
    /// Target tokens, padding included.
    pub n_target: usize,
}

/// The recording in as many tiles as `max_bytes` allow; `None` where even few do not fit, or there is too much to compute.
///
/// # Errors
/// When the recording's file cannot be read.
pub fn pool(recording: &Recording, max_bytes: u64) -> Result<Option<Pooled>, attlas::Error> {
    let carried = carried(recording);
    let cells = |side: usize| {
        let of_layer = |layer: &Layer| {
            let Shape { n_heads, n_queries, n_keys, .. } = layer.shape;
            let sizes = [recording.items.len(), n_heads, n_queries.min(side), n_keys.min(side)];
            sizes.into_iter().fold(1_u64, |cells, size| cells.saturating_mul(size as u64))
        };
        carried.iter().map(|layer| of_layer(layer)).fold(0_u64, u64::saturating_add)
    };
    if cells(usize::MAX) > MAX_WEIGHTS {
        return Ok(None);
    }
    let side = SIDES.into_iter().find(|side| length_of(cells(*side).saturating_mul(4)) <= max_bytes);
    let (Some(side), Some(first)) = (side, recording.items.first()) else { return Ok(None) };
    let tile = |tokens: &Tokens| tokens.len().div_ceil(side).max(1);
    let (source, target) = (tile(&first.source), tile(&first.target));
    let item = |item: &Item| Item {
        source: stretches(&item.source, side),
        target: stretches(&item.target, side),
        predicted: if target == 1 { item.predicted.clone() } else { Tokens::default() },
        image: item.image.clone().filter(|_| source == 1),
        unknown_words: if target == 1 { item.unknown_words.clone() } else { Vec::new() },
        ..Item::default()
    };
    let mut provenance = recording.provenance.clone();
    provenance.notes.push(format!(
        "the text is too long for a page of every weight: each cell is the largest weight of a tile of up to {} \
         tokens; pictures and exported arrays give the weights themselves",
        match (source, target) {
            (source, 1) => format!("{source} source"),
            (1, target) => format!("{target} target"),
            (source, target) => format!("{source} source and {target} target"),
        }
    ));
    let layers = carried.iter().map(|layer| pool_layer(recording, layer, side)).collect::<Result<Vec<_>, _>>()?;
    let items = recording.items.iter().map(item).collect();
    let (n_source, n_target) = (first.source.len(), first.target.len());
    Ok(Some(Pooled { recording: Recording { items, layers, provenance }, source, target, n_source, n_target }))
}

/// What falls into tile `tile` of `n_tiles` along an axis of `n`.
fn stretch(tile: usize, n: usize, n_tiles: usize) -> Range<usize> {
    (tile * n).div_ceil(n_tiles)..((tile + 1) * n).div_ceil(n_tiles)
}

/// The tokens, cut into at most `side` stretches of neighbours.
fn stretches(tokens: &Tokens, side: usize) -> Tokens {
    let n = tokens.len();
    if n <= side {
        return tokens.clone();
    }
    let label = |tile: usize| {
        let stretch = stretch(tile, n, side);
        let part = &tokens.tokens[stretch.clone()];
        let all = |role: TokenRole| part.iter().all(|token| token.role == role);
        let role = match () {
            () if all(TokenRole::Padding) => TokenRole::Padding,
            () if all(TokenRole::Special) => TokenRole::Special,
            () => TokenRole::Text,
        };
        let words: String = part.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(" ");
        let short: String = words.chars().take(LABEL).collect();
        let more = if short.len() < words.len() { "…" } else { "" };
        Token { role, ..Token::labelled(format!("{}–{} {short}{more}", stretch.start, stretch.end - 1)) }
    };
    Tokens { text: tokens.text.clone(), tokens: (0..side).map(label).collect() }
}

fn pool_layer(recording: &Recording, layer: &Layer, side: usize) -> Result<Layer, attlas::Error> {
    let Shape { n_heads, n_queries, n_keys, .. } = layer.shape;
    let (rows, columns) = (n_queries.min(side), n_keys.min(side));
    let mut weights = vec![0.0; recording.items.len() * n_heads * rows * columns]; // [batch, n_heads, rows, columns]
    weights.par_chunks_mut(rows * columns).enumerate().try_for_each(|(place, tiles)| {
        pool_map(&recording.map_of(layer, place / n_heads, place % n_heads)?, rows, columns, tiles);
        Ok::<(), attlas::Error>(())
    })?;
    let shape = Shape { n_heads, n_kv_heads: n_heads, n_queries: rows, n_keys: columns, d_head: 0, d_value: 0 };
    let tiles = Layer::new(layer.kind, layer.index, shape, Weights::Dense(weights.into()));
    Ok(Layer { quantity: layer.quantity, ..tiles })
}

/// Fills `tiles` with the numbers of a map that are largest in size; padded queries are left out. Shape `[rows, columns]`.
fn pool_map(map: &AttentionMap<'_>, rows: usize, columns: usize, tiles: &mut [f32]) {
    let (n_queries, n_keys) = (map.n_queries(), map.n_keys());
    let queries = &map.query_tokens().tokens;
    let stretches: Vec<Range<usize>> = (0..columns).map(|column| stretch(column, n_keys, columns)).collect();
    let larger = |a: f32, b: f32| if b.abs() > a.abs() || b.is_nan() { b } else { a }; // what is no number stays
    let mut largest = vec![0.0; n_keys]; // [n_keys], of the queries of a row of tiles
    for start in (0..n_queries).step_by(BAND) {
        let band = start..(start + BAND).min(n_queries);
        let weights = map.tile(band.clone(), 0..n_keys); // [band, n_keys]
        for (query, weights) in band.zip(weights.chunks(n_keys)) {
            if queries[query].role != TokenRole::Padding {
                largest.iter_mut().zip(weights).for_each(|(largest, weight)| *largest = larger(*largest, *weight));
            }
            let row = query * rows / n_queries;
            if (query + 1) * rows / n_queries == row {
                continue;
            }
            for (cell, stretch) in tiles[row * columns..][..columns].iter_mut().zip(&stretches) {
                *cell = largest[stretch.clone()].iter().copied().fold(0.0, larger);
            }
            largest.fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use attlas::Kind;
    use attlas::recording::Provenance;

    use super::*;

    #[test]
    fn a_tile_of_what_is_no_number_is_none() {
        let n = 600;
        let mut weights = vec![0.001; n * n];
        weights[5 * n + 7] = f32::NAN;
        let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: n, n_keys: n, d_head: 1, d_value: 1 };
        let source = Tokens::from_labels((0..n).map(|place| place.to_string()));
        let recording = Recording {
            items: vec![Item { source, ..Item::default() }],
            layers: vec![Layer::new(Kind::Encoder, 0, shape, Weights::Dense(weights.into()))],
            provenance: Provenance::default(),
        };
        let tiles = pool(&recording, 2_000_000).unwrap().expect("they fit").recording;
        let Weights::Dense(tiles) = &tiles.layers[0].weights else { panic!("tiles are dense") };
        let tiles = tiles.read_all().unwrap();
        assert_eq!((tiles.len(), tiles.iter().filter(|tile| tile.is_nan()).count()), (512 * 512, 1));
    }
}
