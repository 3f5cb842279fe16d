//! Whether a recording agrees with itself: every array has the size its shape says, every axis its tokens.

use std::collections::BTreeSet;

use super::{Factored, TARGET};
use crate::attention::Shape;
use crate::{Bias, Error, Item, Kind, Layer, PatchGrid, Quantity, Recording, Scoring, Tokens, Weights};

/// The highest index of a layer; no model has more, and numbers near the end of the type would overflow.
const MAX_LAYER: usize = 1 << 20;
/// More elements than any array of a recording may have (2^40 f32 are 4 TiB).
const MAX_ELEMENTS: usize = 1 << 40;

/// Letters of the name of a stack or an axis at most.
const MAX_NAME: usize = 64;
/// The most pixels along a side of an image.
const MAX_PIXELS: usize = 1 << 20;

impl Recording {
    /// Checks sizes, without reading any weight: nothing panics on a recording that passed.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] names the first contradiction, [`Error::TooMany`] what is beyond a limit.
    pub fn validate(&self) -> Result<(), Error> {
        self.check_limits()?;
        let bad = |message: String| Err(Error::Inconsistent(message));
        if self.items.is_empty() {
            return bad("the recording has no text".into());
        }
        if self.layers.is_empty() {
            return bad("the recording has no attention layer".into());
        }
        for (index, item) in self.items.iter().enumerate() {
            check_item(item).or_else(|message| bad(format!("text {index}{message}")))?;
        }
        let (mut met, mut checked_masks) = (BTreeSet::new(), BTreeSet::new());
        for layer in &self.layers {
            if layer.index > MAX_LAYER {
                return bad(format!("{layer}: its index is beyond the limit of {MAX_LAYER}"));
            }
            if let Some(stack) = &layer.stack {
                check_name(stack).or_else(|message| bad(format!("layer {}, stack: {message}", layer.index)))?;
            }
            if !met.insert((layer.kind, &layer.stack, layer.index, layer.quantity as u8)) {
                return bad(format!("{layer} stands twice"));
            }
            check_layer(layer, self.items.len()).or_else(|message| bad(format!("{layer}: {message}")))?;
            let mask = layer.factored().and_then(|factored| factored.mask.as_ref());
            if let Some(mask) = mask.filter(|mask| checked_masks.insert((mask.identity(), layer.shape.sizes()))) {
                mask.check(self.items.len(), &layer.shape).or_else(|message| bad(format!("{layer}: {message}")))?;
            }
            check_axes(layer, &self.items).or_else(|message| bad(format!("{layer}: {message}")))?;
        }
        self.check_axis_names().or_else(bad)
    }

    /// Every named axis is that of some layer: another would be lost without a word.
    fn check_axis_names(&self) -> Result<(), String> {
        let named: BTreeSet<&String> =
            self.layers.iter().flat_map(|layer| [&layer.query_axis, &layer.key_axis]).flatten().collect();
        for (index, item) in self.items.iter().enumerate() {
            if let Some(axis) = item.axes.keys().find(|axis| !named.contains(axis)) {
                return Err(format!("text {index}, axes: no layer names the axis \"{axis}\""));
            }
        }
        Ok(())
    }
}

/// Each axis of the layer has as many tokens as it has rows or columns.
pub(super) fn check_axes(layer: &Layer, items: &[Item]) -> Result<(), String> {
    let sides = [("queries", layer.shape.n_queries, &layer.query_axis), ("keys", layer.shape.n_keys, &layer.key_axis)];
    for (index, item) in items.iter().enumerate() {
        for ((side, n, axis), tokens) in sides.iter().zip([layer.query_tokens(item), layer.key_tokens(item)]) {
            if let Some(name) = axis.as_ref().filter(|name| !item.axes.contains_key(*name)) {
                return Err(format!("its {side} are the axis \"{name}\", which text {index} does not have"));
            }
            if tokens.len() != *n {
                return Err(wrong_number_of_tokens(layer, (side, *n), axis.as_deref(), index, tokens.len()));
            }
        }
    }
    Ok(())
}

/// What is said where a side of a layer's maps, `queries` or `keys`, has another size than there are tokens in a text.
pub(crate) fn wrong_number_of_tokens(
    layer: &Layer,
    (side, n): (&str, usize),
    axis: Option<&str>,
    text: usize,
    given: usize,
) -> String {
    let hint = match (axis, layer.kind) {
        (Some(name), _) => format!("the axis is \"{name}\""),
        (None, Kind::Cross) => "were source and target exchanged?".into(),
        (None, _) => "were special tokens dropped, or padding left out?".into(),
    };
    format!("the map has {n} {side} but text {text} has {given} tokens there; {hint}")
}

/// The message goes on after `text 3`.
fn check_item(item: &Item) -> Result<(), String> {
    let sides = [("source", &item.source), ("target", &item.target), ("predicted", &item.predicted)];
    let axes = item.axes.iter().map(|(name, tokens)| (name.as_str(), tokens));
    for (side, tokens) in sides.into_iter().chain(axes) {
        check_spans(tokens).map_err(|message| format!(", {side}: {message}"))?;
    }
    for name in item.axes.keys() {
        check_name(name).map_err(|message| format!(", axes: {message}"))?;
    }
    if let Some(n_prompt) = item.n_prompt.filter(|n_prompt| *n_prompt > item.target.len()) {
        let n_tokens = item.target.len();
        return Err(format!(": n_prompt is {n_prompt}, but the target has {n_tokens} tokens"));
    }
    if let Some(n_sound) = item.n_sound.filter(|n_sound| *n_sound > item.source.len()) {
        let n_tokens = item.source.len();
        return Err(format!(": n_sound is {n_sound}, but the source has {n_tokens} tokens"));
    }
    let length = item.target.text.len();
    if let Some(span) = item.unknown_words.iter().find(|span| span.start > span.end || span.end > length) {
        return Err(format!(": unknown_words has {span:?}, but the target's text has {length} bytes"));
    }
    if let Some(n) = item.n_repeated.filter(|n| *n > item.predicted.len()) {
        let n_tokens = item.predicted.len();
        return Err(format!(": n_repeated is {n}, but the text has {n_tokens} predicted tokens"));
    }
    if let Some(grid) = &item.image {
        let (n, given) = (grid.first.saturating_add(grid.n_patches()), item.source.len());
        if n != given {
            let PatchGrid { first, rows, columns, .. } = grid;
            return Err(format!(
                ": {first} tokens and {rows} × {columns} patches are {n} tokens, but there are {given}"
            ));
        }
    }
    let mut images = item.image.iter().chain(item.grids.values().flatten());
    images.try_for_each(check_seen).map_err(|message| format!(": {message}"))?;
    item.grids
        .iter()
        .try_for_each(|(axis, grids)| check_axis(item, axis, grids))
        .map_err(|message| format!(": {message}"))
}

/// The images of an axis stand one after another among its tokens.
fn check_axis(item: &Item, axis: &str, grids: &[PatchGrid]) -> Result<(), String> {
    let tokens = match (axis, item.axes.get(axis)) {
        (TARGET, None) => &item.target,
        (_, Some(tokens)) if axis != TARGET => tokens,
        _ => return Err(format!("grids has images of \"{axis}\", which is neither the target nor one of the axes")),
    };
    let mut end = 0;
    for grid in grids {
        let PatchGrid { first, rows, columns, .. } = grid;
        let next = first.saturating_add(grid.n_patches());
        if *first < end || next > tokens.len() {
            return Err(format!(
                "an image of {rows} × {columns} patches from token {first} on lies among tokens {end} to {} of \"{axis}\"",
                tokens.len()
            ));
        }
        end = next;
    }
    Ok(())
}

/// Names of stacks and axes are parts of tensors' names.
fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    match !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(is_plain) {
        true => Ok(()),
        false => Err(format!(
            "the name {name:?} is not 1 to {MAX_NAME} letters (a to z), digits, \"_\" and \"-\"",
            name = name.chars().take(MAX_NAME).collect::<String>()
        )),
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

/// An image has patches, and they lie over it.
fn check_seen(grid: &PatchGrid) -> Result<(), String> {
    let PatchGrid { rows, columns, size, seen, .. } = grid;
    if grid.n_patches() == 0 {
        return Err(format!("an image of {rows} × {columns} patches has none"));
    }
    let (size, seen) = match (size, seen) {
        (Some(size), Some(seen)) => (size, seen),
        (None, None) => return Ok(()),
        _ => return Err("of size and seen, which say where the patches lie, there is one without the other".into()),
    };
    let [left, top, width, height] = seen;
    // black may stand around the image, but some of it is there
    let fits = |start: &i64, length: &i64, whole: usize| {
        let reach = -(MAX_PIXELS as i64)..=MAX_PIXELS as i64;
        let is_small = whole <= MAX_PIXELS && reach.contains(start) && reach.contains(length);
        is_small && *length > 0 && *start < whole as i64 && *start + *length > 0
    };
    if !fits(left, width, size[0]) || !fits(top, height, size[1]) {
        return Err(format!("the patches cover {seen:?} of an image of {size:?} pixels"));
    }
    Ok(())
}

pub(super) fn check_layer(layer: &Layer, n_items: usize) -> Result<(), String> {
    let shape = layer.shape;
    let Shape { n_heads, n_kv_heads, n_queries, n_keys, d_head, .. } = shape;
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
    check_traces(layer, n_items)?;
    let is_dense = matches!(layer.weights, Weights::Dense(_));
    if layer.query_offset >= n_keys || (layer.query_offset > 0 && !is_dense) {
        let offset = layer.query_offset;
        return Err(format!(
            "query_offset is {offset}, but query 0 stands at one of the {n_keys} keys of dense numbers"
        ));
    }
    match &layer.weights {
        Weights::Dense(weights) => expect("weights", weights.len(), &[n_items, n_heads, n_queries, n_keys]),
        Weights::Factored(_) if layer.quantity != Quantity::Weight => {
            Err("only attention weights are made of queries and keys; other quantities are dense".into())
        }
        Weights::Factored(_) if d_head == 0 => Err("the width of a head is 0".into()),
        Weights::Factored(factored) => {
            let Factored { scoring, queries, keys, lse, key_bias, mask: _ } = &**factored;
            expect("queries", queries.len(), &[n_items, n_heads, n_queries, d_head])?;
            expect("keys", keys.len(), &[n_items, n_kv_heads, n_keys, d_head])?;
            expect("lse", lse.len(), &[n_items, n_heads, n_queries])?;
            if scoring.query_offset >= n_keys {
                let offset = scoring.query_offset;
                return Err(format!("query_offset is {offset}, but query 0 stands at one of the {n_keys} keys"));
            }
            if let Some(bias) = key_bias.as_ref().filter(|bias| bias.len() != n_heads * n_keys) {
                expect("key_bias", bias.len(), &[n_items, n_heads, n_keys])?;
            }
            // a key that nobody may see is hidden by a mask, which says so
            check_finite("key_bias", key_bias.as_deref().unwrap_or_default())?;
            check_scoring(scoring, n_heads)
        }
    }
}

fn check_traces(layer: &Layer, n_items: usize) -> Result<(), String> {
    if layer.quantity != Quantity::Weight && !layer.traces.is_empty() {
        return Err("traces stand beside attention weights, not beside other quantities".into());
    }
    for (trace, numbers) in layer.traces.iter() {
        let rows = n_items.saturating_mul(layer.shape.n_queries).max(1);
        expect(trace.name(), numbers.len(), &trace.shape(n_items, &layer.shape, numbers.len() / rows))?;
    }
    Ok(())
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
        check_finite("sinks", sinks)?;
    }
    match &scoring.bias {
        Bias::None => Ok(()),
        Bias::Alibi { slopes } => {
            expect("slopes", slopes.len(), &[n_heads])?;
            check_finite("slopes", slopes)
        }
        Bias::Relative { first, table, n_offsets } => {
            if *n_offsets == 0 || first.unsigned_abs() > 1 << 40 {
                return Err(format!("the bias table has {n_offsets} offsets from {first}"));
            }
            expect("bias table", table.len(), &[n_heads, *n_offsets])
        }
    }
}

/// Numbers that stand in JSON, which has no infinity, or that would hide a key from a reader.
fn check_finite(name: &str, numbers: &[f32]) -> Result<(), String> {
    match numbers.iter().find(|number| !number.is_finite()) {
        Some(number) => Err(format!("{name} has a {number}, finite numbers were expected")),
        None => Ok(()),
    }
}

/// Whether an array of `len` elements has the shape `shape`.
pub(crate) fn expect(name: &str, len: usize, shape: &[usize]) -> Result<(), String> {
    match elements(shape) {
        Some(n) if n == len => Ok(()),
        _ => Err(format!("{name} has {len} numbers, but {shape:?} were expected")),
    }
}

/// The number of elements of an array of shape `shape`, or `None` beyond any size that can be.
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size)).filter(|n| *n <= MAX_ELEMENTS)
}
