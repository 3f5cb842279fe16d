//! Attention arrays made elsewhere become a recording like any other, after checks.

use std::collections::BTreeMap;

use super::{Array, ArrayData, findings};
use crate::attention::Shape;
use crate::recording::limits::{MAX_HEADS, MAX_LAYERS, MAX_TEXTS, MAX_TOKENS, at_most};
use crate::recording::{Method, wrong_number_of_tokens};
use crate::{Buffer, Error, Item, Kind, Layer, Provenance, Recording, Tokens, Writer};

/// What the caller knows about the arrays.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The kind of arrays whose name does not say it: the only one of a file, or `arr_0`, `arr_1`, … of `np.savez`.
    pub kind: Option<Kind>,
    /// Labels of the source tokens; taken from an array `source_tokens`, else numbered.
    pub source_tokens: Option<Vec<String>>,
    /// Labels of the target tokens; taken from an array `target_tokens`, else numbered.
    pub target_tokens: Option<Vec<String>>,
    /// Whether rows that sum to more than 1 are taken all the same; the recording's notes say so.
    pub allow_unnormalised: bool,
    /// Where the arrays come from, for the provenance.
    pub origin: String,
}

/// A recording of dense weights.
///
/// Arrays are named `encoder`, `decoder_self` and `decoder_cross`, of shape `[layers, heads, queries, keys]`,
/// `[heads, queries, keys]` or `[queries, keys]`; or `encoder.3` for one layer of a batch, of shape
/// `[batch, heads, queries, keys]`, as are `arr_0`, `arr_1`, … when `kind` is given.
///
/// # Errors
/// [`Error::BadWeights`] names the array, layer, head, row and value; [`Error::Inconsistent`] when axes and tokens differ;
/// [`Error::TooMany`] what no recording may have.
pub fn import(mut arrays: BTreeMap<String, Array>, options: &ImportOptions) -> Result<Recording, Error> {
    let source = labels(options.source_tokens.as_ref(), arrays.remove("source_tokens"));
    let target = labels(options.target_tokens.as_ref(), arrays.remove("target_tokens"));
    let kind = options.kind.or(match (&source, &target) {
        (Some(_), None) => Some(Kind::Encoder),
        (None, Some(_)) => Some(Kind::Decoder),
        (Some(_), Some(_)) => Some(Kind::Cross),
        (None, None) => None,
    });
    let mut indices = take_layer_indices(&mut arrays);
    let unnamed = Unnamed { kind, is_only: arrays.len() == 1 };
    let mut layers = Vec::new();
    let mut n_items = None;
    for (name, array) in arrays {
        let found = layers_of(&name, array, unnamed, &mut indices)?;
        for (items, layer) in found {
            if *n_items.get_or_insert(items) != items {
                let first = n_items.unwrap_or_default();
                return Err(Error::BadWeights(format!("array \"{name}\" has a batch of {items}, others of {first}")));
            }
            layers.push(layer);
        }
        at_most(MAX_LAYERS, "layers", layers.len(), WHAT)?;
    }
    layers.sort_by_key(|layer| (layer.kind, layer.index));
    let n_items = n_items.ok_or_else(|| Error::BadWeights("the file holds no attention array".into()))?;
    let items = items(&layers, n_items, source.as_ref(), target.as_ref())?;
    let provenance = Provenance {
        model: options.origin.clone(),
        writer: Writer::attlas(),
        method: Method::Imported,
        ..Provenance::default()
    };
    let mut recording = Recording { items, layers, provenance };
    recording.validate()?;
    let mut notes: Vec<String> = findings::mark_padding(&recording.layers, &mut recording.items)?.into_iter().collect();
    notes.extend(findings::check(&recording.layers, &recording.items, options.allow_unnormalised)?);
    recording.provenance.notes = notes;
    Ok(recording)
}

/// What errors call what is made here.
const WHAT: &str = "the recording";

/// What is known of arrays whose name does not say their kind.
#[derive(Clone, Copy)]
struct Unnamed {
    kind: Option<Kind>,
    /// Whether the file has one array: then the kind is that one's.
    is_only: bool,
}

/// One row of labels per text, or one row for all texts.
type Labels = Vec<Vec<String>>;

fn labels(given: Option<&Vec<String>>, found: Option<Array>) -> Option<Labels> {
    match (given, found) {
        (Some(given), _) => Some(vec![given.clone()]),
        (None, Some(Array { shape, data: ArrayData::Text(labels) })) => {
            let width = shape.last().copied().unwrap_or(1).max(1);
            Some(labels.chunks(width).map(<[String]>::to_vec).collect())
        }
        _ => None,
    }
}

/// A side of the texts: the source or the target.
struct Side<'a> {
    /// A layer that has it, as the rows or the columns of its maps.
    layer: &'a Layer,
    /// `queries` or `keys`.
    axis: &'static str,
    n_tokens: usize,
    labels: Option<&'a Labels>,
}

impl<'a> Side<'a> {
    fn source(layers: &'a [Layer], labels: Option<&'a Labels>) -> Option<Side<'a>> {
        let layer = layers.iter().find(|layer| layer.kind != Kind::Decoder)?;
        let (axis, n_tokens) = match layer.kind {
            Kind::Encoder => ("queries", layer.shape.n_queries),
            _ => ("keys", layer.shape.n_keys),
        };
        Some(Side { layer, axis, n_tokens, labels })
    }

    fn target(layers: &'a [Layer], labels: Option<&'a Labels>) -> Option<Side<'a>> {
        let layer = layers.iter().find(|layer| layer.kind != Kind::Encoder)?;
        Some(Side { layer, axis: "queries", n_tokens: layer.shape.n_queries, labels })
    }

    /// Refuses labels that are more or fewer than there are tokens.
    fn check(&self, n_items: usize) -> Result<(), Error> {
        let rows = self.labels.into_iter().flatten().take(n_items);
        let Some((text, row)) = rows.enumerate().find(|(_, row)| row.len() != self.n_tokens) else { return Ok(()) };
        let message = wrong_number_of_tokens(self.layer, (self.axis, self.n_tokens), None, text, row.len());
        Err(Error::Inconsistent(format!("{}: {message}", self.layer)))
    }

    /// The tokens of one text: with their labels, or else numbered.
    fn tokens(&self, text: usize) -> Tokens {
        match self.labels {
            Some(labels) => Tokens::from_labels(labels.get(text).or(labels.first()).cloned().unwrap_or_default()),
            None => Tokens::from_labels((0..self.n_tokens).map(|position| position.to_string())),
        }
    }
}

/// The texts of a batch; their tokens are counted before any is made.
fn items(
    layers: &[Layer],
    n_items: usize,
    source: Option<&Labels>,
    target: Option<&Labels>,
) -> Result<Vec<Item>, Error> {
    let sides = [Side::source(layers, source), Side::target(layers, target)];
    let n_tokens = sides.iter().flatten().map(|side| side.n_tokens.saturating_mul(n_items));
    at_most(MAX_TOKENS, "tokens", n_tokens.fold(0, usize::saturating_add), WHAT)?;
    sides.iter().flatten().try_for_each(|side| side.check(n_items))?;
    let tokens = |side: &Option<Side<'_>>, text| side.as_ref().map_or(Tokens::default(), |side| side.tokens(text));
    let item = |text| Item { source: tokens(&sides[0], text), target: tokens(&sides[1], text), ..Item::default() };
    Ok((0..n_items).map(item).collect())
}

/// The arrays `encoder_layers` … that an export of some layers carries.
fn take_layer_indices(arrays: &mut BTreeMap<String, Array>) -> BTreeMap<Kind, Vec<usize>> {
    let mut indices = BTreeMap::new();
    for kind in Kind::ALL {
        if let Some(array) = arrays.remove(&format!("{}_layers", kind.array_name()))
            && let ArrayData::Integers(values) = array.data
        {
            indices.insert(kind, values.iter().filter_map(|index| usize::try_from(*index).ok()).collect());
        }
    }
    indices
}

/// The layers in one array, each with the size of its batch.
fn layers_of(
    name: &str,
    array: Array,
    unnamed: Unnamed,
    indices: &mut BTreeMap<Kind, Vec<usize>>,
) -> Result<Vec<(usize, Layer)>, Error> {
    let bad = |message: String| Err(Error::BadWeights(format!("array \"{name}\": {message}")));
    let ArrayData::Numbers(weights) = array.data else {
        return bad("floating-point numbers were expected".into());
    };
    let Some((kind, of_batch)) = kind_of(name, unnamed) else {
        return Err(Error::KindUnknown { array: name.to_owned() });
    };
    if array.shape.contains(&0) {
        return bad(format!("shape {:?} has no weight", array.shape));
    }
    let (n_layers, n_items, n_heads, n_queries, n_keys) = match (array.shape.as_slice(), of_batch) {
        ([queries, keys], _) => (1, 1, 1, *queries, *keys),
        ([heads, queries, keys], _) => (1, 1, *heads, *queries, *keys),
        ([layers, heads, queries, keys], None) => (*layers, 1, *heads, *queries, *keys),
        ([batch, heads, queries, keys], Some(_)) => (1, *batch, *heads, *queries, *keys),
        (shape, _) => return bad(format!("shape {shape:?} has {} axes, 2 to 4 were expected", shape.len())),
    };
    let what = || format!("array \"{name}\"");
    at_most(MAX_LAYERS, "layers", n_layers, what())?;
    at_most(MAX_TEXTS, "texts", n_items, what())?;
    at_most(MAX_HEADS, "heads", n_heads, what())?;
    let shape = Shape { n_heads, n_kv_heads: n_heads, n_queries, n_keys, d_head: 0, d_value: 0 };
    let indices = match of_batch {
        Some(index) => vec![index],
        None => indices.remove(&kind).filter(|of_kind| of_kind.len() == n_layers).unwrap_or((0..n_layers).collect()),
    };
    let weights = Buffer::from(weights); // [layers, batch, heads, queries, keys]
    let size = n_items * n_heads * n_queries * n_keys;
    let layer = |(place, index): (usize, usize)| {
        (n_items, Layer::new(kind, index, shape, weights.part(place * size..(place + 1) * size)))
    };
    Ok(indices.into_iter().enumerate().map(layer).collect())
}

/// The kind that an array's name says, and the layer when it is one layer of a batch.
fn kind_of(name: &str, unnamed: Unnamed) -> Option<(Kind, Option<usize>)> {
    let named = |text: &str| Kind::ALL.into_iter().find(|kind| [kind.array_name(), kind.name()].contains(&text));
    if let Some(kind) = named(name) {
        return Some((kind, None));
    }
    if let Some((kind, index)) = name.split_once('.')
        && let (Some(kind), Ok(index)) = (named(kind), index.parse())
    {
        return Some((kind, Some(index)));
    }
    let index = name.strip_prefix("arr_").and_then(|index| index.parse().ok());
    (unnamed.is_only || index.is_some()).then_some(())?;
    unnamed.kind.map(|kind| (kind, index))
}
