//! Whether a recording agrees with itself: every array has the size its shape says, every axis its tokens.

use crate::attention::Shape;
use crate::{Bias, Error, Kind, Layer, PatchGrid, Recording, Scoring, Tokens, Weights};

/// The highest index of a layer; no model has more, and numbers near the end of the type would overflow.
const MAX_LAYER: usize = 1 << 20;
/// More elements than any array of a recording may have (2^40 f32 are 4 TiB).
const MAX_ELEMENTS: usize = 1 << 40;

/// The most pixels along a side of an image.
const MAX_PIXELS: usize = 1 << 20;

impl Recording {
    /// Checks sizes, without reading any weight: nothing panics on a recording that passed.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] names the first contradiction.
    pub fn validate(&self) -> Result<(), Error> {
        let bad = |message: String| Err(Error::Inconsistent(message));
        if self.items.is_empty() {
            return bad("the recording has no text".into());
        }
        if self.layers.is_empty() {
            return bad("the recording has no attention layer".into());
        }
        for (index, item) in self.items.iter().enumerate() {
            for (side, tokens) in [("source", &item.source), ("target", &item.target), ("predicted", &item.predicted)] {
                check_spans(tokens).or_else(|message| bad(format!("text {index}, {side}: {message}")))?;
            }
            if let Some(grid) = &item.image {
                check_grid(grid, &item.source).or_else(|message| bad(format!("text {index}: {message}")))?;
            }
        }
        for (position, layer) in self.layers.iter().enumerate() {
            let name = format!("{} layer {}", layer.kind, layer.index);
            if layer.index > MAX_LAYER {
                return bad(format!("{name}: its index is beyond the limit of {MAX_LAYER}"));
            }
            if self.layers[..position].iter().any(|other| other.kind == layer.kind && other.index == layer.index) {
                return bad(format!("{name} stands twice"));
            }
            check_layer(layer, self.items.len()).or_else(|message| bad(format!("{name}: {message}")))?;
            self.check_axes(layer).or_else(|message| bad(format!("{name}: {message}")))?;
        }
        Ok(())
    }

    /// Each axis of the layer has as many tokens as it has rows or columns.
    fn check_axes(&self, layer: &Layer) -> Result<(), String> {
        for (index, item) in self.items.iter().enumerate() {
            let axes = [
                ("queries", layer.shape.n_queries, item.queries(layer.kind)),
                ("keys", layer.shape.n_keys, item.keys(layer.kind)),
            ];
            for (axis, n, tokens) in axes {
                if tokens.len() != n {
                    let hint = match layer.kind {
                        Kind::Encoder | Kind::Decoder => "were special tokens dropped, or padding left out?",
                        Kind::Cross => "were source and target exchanged?",
                    };
                    let given = tokens.len();
                    return Err(format!("the map has {n} {axis} but text {index} has {given} tokens there; {hint}"));
                }
            }
        }
        Ok(())
    }
}

fn check_spans(tokens: &Tokens) -> Result<(), String> {
    for (index, token) in tokens.tokens.iter().enumerate() {
        if let Some(span) = &token.span
            && (span.start > span.end || span.end > tokens.text.len())
        {
            let n_bytes = tokens.text.len();
            return Err(format!("token {index} covers bytes {span:?} of a text of {n_bytes} bytes"));
        }
    }
    Ok(())
}

fn check_grid(grid: &PatchGrid, source: &Tokens) -> Result<(), String> {
    let PatchGrid { first, rows, columns, size, seen: [left, top, width, height] } = grid;
    let n = first.saturating_add(grid.n_patches());
    if grid.n_patches() == 0 || n != source.len() {
        let given = source.len();
        return Err(format!("{first} tokens and {rows} × {columns} patches are {n} tokens, but there are {given}"));
    }
    let fits = |start: &usize, length: &usize, whole: usize| {
        *length > 0 && start.checked_add(*length).is_some_and(|end| end <= whole) && whole <= MAX_PIXELS
    };
    if !fits(left, width, size[0]) || !fits(top, height, size[1]) {
        return Err(format!("the patches cover {:?} of an image of {size:?} pixels", grid.seen));
    }
    Ok(())
}

fn check_layer(layer: &Layer, n_items: usize) -> Result<(), String> {
    let shape = layer.shape;
    let Shape { n_heads, n_kv_heads, n_queries, n_keys, d_head, d_value } = shape;
    for (name, size) in [("heads", n_heads), ("key-value heads", n_kv_heads), ("queries", n_queries), ("keys", n_keys)]
    {
        if size == 0 {
            return Err(format!("the number of {name} is 0"));
        }
    }
    if n_queries > u32::MAX as usize || n_keys > u32::MAX as usize {
        return Err(format!("a map of {n_queries} × {n_keys} is beyond the limit of 2^32 tokens"));
    }
    if !n_heads.is_multiple_of(n_kv_heads) {
        return Err(format!("{n_heads} heads cannot share {n_kv_heads} key-value heads evenly"));
    }
    if let Some(values) = &layer.values {
        expect("values", values.len(), &[n_items, n_kv_heads, n_keys, d_value])?;
    }
    match &layer.weights {
        Weights::Dense(weights) => expect("weights", weights.len(), &[n_items, n_heads, n_queries, n_keys]),
        Weights::Factored { scoring, queries, keys, lse } => {
            if d_head == 0 {
                return Err("the width of a head is 0".into());
            }
            expect("queries", queries.len(), &[n_items, n_heads, n_queries, d_head])?;
            expect("keys", keys.len(), &[n_items, n_kv_heads, n_keys, d_head])?;
            expect("lse", lse.len(), &[n_items, n_heads, n_queries])?;
            if scoring.query_offset >= n_keys {
                return Err(format!(
                    "query_offset is {}, but query 0 stands at one of the {n_keys} keys",
                    scoring.query_offset
                ));
            }
            check_scoring(scoring, n_heads)
        }
    }
}

fn check_scoring(scoring: &Scoring, n_heads: usize) -> Result<(), String> {
    if !scoring.scale.is_finite() {
        return Err(format!("scale is {}, a finite number was expected", scoring.scale));
    }
    if let Some(cap) = scoring.softcap
        && !(cap.is_finite() && cap > 0.0)
    {
        return Err(format!("softcap is {cap}, a positive number was expected"));
    }
    if let Some(sinks) = &scoring.sinks {
        expect("sinks", sinks.len(), &[n_heads])?;
    }
    match &scoring.bias {
        Bias::None => Ok(()),
        Bias::Alibi { slopes } => expect("slopes", slopes.len(), &[n_heads]),
        Bias::Relative { first, table, n_offsets } => {
            if *n_offsets == 0 || first.unsigned_abs() > 1 << 40 {
                return Err(format!("the bias table has {n_offsets} offsets from {first}"));
            }
            expect("bias table", table.len(), &[n_heads, *n_offsets])
        }
    }
}

/// Whether an array of `len` elements has the shape `shape`.
fn expect(name: &str, len: usize, shape: &[usize]) -> Result<(), String> {
    match elements(shape) {
        Some(n) if n == len => Ok(()),
        _ => Err(format!("{name} has {len} numbers, but {shape:?} were expected")),
    }
}

/// The number of elements of an array of shape `shape`, or `None` beyond any size that can be.
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size)).filter(|n| *n <= MAX_ELEMENTS)
}
