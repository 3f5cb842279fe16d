//! Attention arrays made elsewhere become a recording like any other, after checks.

use std::collections::BTreeMap;

use super::{Array, ArrayData};
use crate::attention::Shape;
use crate::recording::{Method, ROW_SUM_TOLERANCE};
use crate::{Buffer, Error, HeadId, Item, Kind, Layer, Provenance, Recording, Tokens, Weights, Writer};

/// What the caller knows about the arrays.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The kind of arrays whose name does not say it (`.npy`, `arr_0` of `np.savez`).
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
/// [`Error::BadWeights`] names the array, layer, head, row and value; [`Error::Inconsistent`] when axes and tokens differ.
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
    let mut layers = Vec::new();
    let mut n_items = None;
    for (name, array) in arrays {
        let found = layers_of(&name, array, kind, &mut indices)?;
        for (items, layer) in found {
            if *n_items.get_or_insert(items) != items {
                let first = n_items.unwrap_or_default();
                return Err(Error::BadWeights(format!("array \"{name}\" has a batch of {items}, others of {first}")));
            }
            layers.push(layer);
        }
    }
    layers.sort_by_key(|layer| (layer.kind, layer.index));
    let n_items = n_items.ok_or_else(|| Error::BadWeights("the file holds no attention array".into()))?;
    let mut notes = Vec::new();
    for layer in &layers {
        notes.extend(check_weights(layer, options.allow_unnormalised)?);
    }
    let items = (0..n_items).map(|index| item(&layers, index, source.as_ref(), target.as_ref())).collect();
    let provenance = Provenance {
        model: options.origin.clone(),
        writer: Writer::attlas(),
        method: Method::Imported,
        notes,
        ..Provenance::default()
    };
    let recording = Recording { items, layers, provenance };
    recording.validate()?;
    Ok(recording)
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

fn item(layers: &[Layer], index: usize, source: Option<&Labels>, target: Option<&Labels>) -> Item {
    let tokens = |labels: Option<&Labels>, length: Option<usize>| match (labels, length) {
        (Some(labels), Some(_)) => {
            Tokens::from_labels(labels.get(index).or(labels.first()).cloned().unwrap_or_default())
        }
        (None, Some(n)) => Tokens::from_labels((0..n).map(|position| position.to_string())),
        (_, None) => Tokens::default(),
    };
    let length = |of: &dyn Fn(&Layer) -> Option<usize>| layers.iter().find_map(of);
    let n_source = length(&|layer| match layer.kind {
        Kind::Encoder | Kind::Cross => Some(layer.shape.n_keys),
        Kind::Decoder => None,
    });
    let n_target = length(&|layer| match layer.kind {
        Kind::Decoder | Kind::Cross => Some(layer.shape.n_queries),
        Kind::Encoder => None,
    });
    Item { source: tokens(source, n_source), target: tokens(target, n_target), ..Item::default() }
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
    unnamed: Option<Kind>,
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
    let shape = Shape { n_heads, n_kv_heads: n_heads, n_queries, n_keys, d_head: 0, d_value: 0 };
    let indices = match of_batch {
        Some(index) => vec![index],
        None => indices.remove(&kind).filter(|of_kind| of_kind.len() == n_layers).unwrap_or((0..n_layers).collect()),
    };
    let layers = weights
        .chunks_exact(n_items * n_heads * n_queries * n_keys)
        .zip(indices)
        .map(|(part, index)| (n_items, Layer::new(kind, index, shape, Buffer::from(part.to_vec()))));
    Ok(layers.collect())
}

/// The kind that an array's name says, and the layer when it is one layer of a batch.
fn kind_of(name: &str, unnamed: Option<Kind>) -> Option<(Kind, Option<usize>)> {
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
    (name.is_empty() || index.is_some()).then_some(())?;
    unnamed.map(|kind| (kind, index))
}

/// Refuses weights that are none; returns a note about rows that do not sum to 1.
fn check_weights(layer: &Layer, allow_unnormalised: bool) -> Result<Option<String>, Error> {
    let Weights::Dense(weights) = &layer.weights else { return Ok(None) };
    let (mut largest, mut smallest) = (0.0_f32, f32::INFINITY);
    for (row_index, row) in weights.chunks_exact(layer.shape.n_keys).enumerate() {
        let (head_index, query) = (row_index / layer.shape.n_queries, row_index % layer.shape.n_queries);
        let (text, head) = (head_index / layer.shape.n_heads, head_index % layer.shape.n_heads);
        let place = || {
            let id = HeadId { layer: layer.index, head };
            format!("{} {id} (layer {}, head {head}), text {text}, row {query}", layer.kind.array_name(), layer.index)
        };
        if let Some((key, weight)) = row.iter().enumerate().find(|(_, weight)| !weight.is_finite()) {
            return Err(Error::BadWeights(format!("{}, column {key}: the weight is {weight}, not finite", place())));
        }
        if let Some((key, weight)) = row.iter().enumerate().find(|(_, weight)| **weight < 0.0) {
            return Err(Error::BadWeights(format!(
                "{}, column {key}: the weight is {weight}, below 0; attention weights never are (are these scores before softmax?)",
                place()
            )));
        }
        let sum = row.iter().map(|weight| f64::from(*weight)).sum::<f64>() as f32;
        if sum > 1.0 + ROW_SUM_TOLERANCE && !allow_unnormalised {
            return Err(Error::Unnormalised { place: place(), sum });
        }
        largest = largest.max(sum);
        if sum > 0.0 {
            smallest = smallest.min(sum);
        }
    }
    let name = format!("{} layer {}", layer.kind, layer.index);
    Ok(if largest > 1.0 + ROW_SUM_TOLERANCE {
        Some(format!("{name}: rows are not normalised, they sum to up to {largest}"))
    } else if smallest < 1.0 - ROW_SUM_TOLERANCE {
        Some(format!("{name}: some rows sum to less than 1, down to {smallest}"))
    } else {
        None
    })
}
