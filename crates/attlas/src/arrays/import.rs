//! Attention arrays made elsewhere become a recording like any other, after checks.

use std::collections::BTreeMap;

use super::axes::{Axes, Axis};
use super::names::{self, Name, Said};
use super::{Array, ArrayData, Precision, findings};
use crate::attention::Shape;
use crate::printable::counted;
use crate::recording::limits::{MAX_HEADS, MAX_LAYERS, MAX_TEXTS, MAX_TOKENS, at_most};
use crate::recording::{Method, expect, wrong_number_of_tokens};
use crate::{Buffer, Error, Item, Kind, Layer, PatchGrid, Provenance, Recording, Token, TokenRole, Tokens, Writer};

/// What the caller knows about the arrays.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The kind of the arrays whose name does not say it.
    pub kind: Option<Kind>,
    /// What the axes of every array are; told from their number when `None`.
    pub axes: Option<Axes>,
    /// The position of the first row of decoder self-attention among the tokens, where the maps hold later rows alone;
    /// when `None`, the last row is the last token's.
    pub query_offset: Option<usize>,
    /// The source tokens, those of each text or the same for all; taken from an array `source_tokens`, else numbered.
    pub source_tokens: Option<Vec<Tokens>>,
    /// The target tokens, likewise; taken from an array `target_tokens`, else numbered.
    pub target_tokens: Option<Vec<Tokens>>,
    /// How the source tokens lie in an image, where they are patches of one.
    pub image: Option<ImageGrid>,
    /// Whether rows that sum to more than 1 are taken all the same; the recording's notes say so.
    pub allow_unnormalised: bool,
    /// Where the arrays come from, for the provenance.
    pub origin: String,
}

/// Patches of an image of which nothing else is known: row by row, after some tokens that have no place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageGrid {
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub columns: usize,
    /// Tokens before the first patch.
    pub first: usize,
}

/// What was made of arrays.
#[derive(Debug)]
pub struct Imported {
    /// The recording.
    pub recording: Recording,
    /// How axes, kinds and rows were read.
    pub readings: Vec<Reading>,
}

/// How something was read that could have been meant otherwise: a sentence without its full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The axes of an array: `[3, 6, 6] read as 3 heads × 6 queries × 6 keys`.
    Axes(String),
    /// The kind of self-attention.
    Kind(String),
    /// Which tokens the rows of a decoder are.
    Rows(String),
}

/// A recording of dense weights: [`import_telling`] without how the arrays were read.
///
/// # Errors
/// As [`import_telling`].
pub fn import(arrays: BTreeMap<String, Array>, options: &ImportOptions) -> Result<Recording, Error> {
    Ok(import_telling(arrays, options)?.recording)
}

/// A recording of dense weights, and how the arrays were read.
///
/// Arrays are named `encoder`, `decoder_self` and `decoder_cross`, or as transformers names its outputs:
/// `encoder_attentions`, `decoder_attentions`, `cross_attentions`, and `attentions` for self-attention, which is taken for a
/// decoder's when no query looks ahead. Their shape is `[layers, batch, heads, queries, keys]`,
/// `[layers, heads, queries, keys]`, `[heads, queries, keys]` or `[queries, keys]`; or `[batch, heads, queries, keys]` of one
/// layer, whose name ends with its number (`encoder.3`, `cross_attentions_0`). Arrays of other names have the kind that is
/// given, and where there are several, a number in their names says which layer each is.
///
/// # Errors
/// [`Error::BadWeights`] and [`Error::Unnormalised`] name the array, layer, head, row and value; [`Error::Inconsistent`] when
/// axes and tokens differ; [`Error::KindUnknown`] where nothing says a kind; [`Error::TooMany`] what no recording may have.
pub fn import_telling(mut arrays: BTreeMap<String, Array>, options: &ImportOptions) -> Result<Imported, Error> {
    let in_file = [take_labels(&mut arrays, "source_tokens"), take_labels(&mut arrays, "target_tokens")];
    let [source, target] =
        in_file.map(|rows| rows.map(|rows| rows.into_iter().map(Tokens::from_labels).collect::<Vec<_>>()));
    let (source, target) = (options.source_tokens.clone().or(source), options.target_tokens.clone().or(target));
    let tokens_say = match (&source, &target) {
        (Some(_), None) => Some(Kind::Encoder),
        (None, Some(_)) => Some(Kind::Decoder),
        (Some(_), Some(_)) => Some(Kind::Cross),
        (None, None) => None,
    };
    let mut indices = take_layer_indices(&mut arrays);
    let names = names::read(&arrays.keys().map(String::as_str).collect::<Vec<_>>())?;
    let mut readings = Readings::default();
    let mut found = Vec::new();
    let mut precision = Precision::Single;
    for ((name, array), said) in arrays.into_iter().zip(names) {
        precision = precision.max(array.precision);
        found.push(Maps::of(name, array, said, options.axes.as_ref(), &mut readings)?);
    }
    let kinds = Kinds { given: options.kind, tokens_say }.of(&found, &mut readings)?;
    let mut layers = Vec::new();
    let n_items = n_items(&found)?;
    for (maps, kind) in found.into_iter().zip(kinds) {
        layers.extend(maps.layers(kind, &mut indices));
        at_most(MAX_LAYERS, "layers", layers.len(), WHAT)?;
    }
    layers.sort_by_key(|layer| (layer.kind, layer.index));
    let rows = GeneratedRows::of(&layers, options.query_offset, &mut readings)?;
    let mut items = items(&layers, n_items, source.as_deref(), target.as_deref(), options.image)?;
    if let Some(rows) = rows {
        rows.name_axis(&mut layers, &mut items);
    }
    let provenance = Provenance {
        model: options.origin.clone(),
        writer: Writer::attlas(),
        method: Method::Imported,
        dtype: precision.dtype().to_owned(),
        ..Provenance::default()
    };
    let mut recording = Recording { items, layers, provenance };
    recording.validate()?;
    let mut notes = std::mem::take(&mut readings.notes);
    notes.extend(findings::mark_padding(&recording.layers, &mut recording.items)?);
    let checks = findings::Checks {
        tolerance: recording.provenance.row_sum_tolerance(),
        precision,
        allow_unnormalised: options.allow_unnormalised,
    };
    notes.extend(findings::check(&recording.layers, &recording.items, checks)?);
    recording.provenance.notes = notes;
    Ok(Imported { recording, readings: readings.all() })
}

/// What errors call what is made here.
const WHAT: &str = "the recording";

/// How the arrays were read: what the caller is told, and what the recording says.
#[derive(Debug, Default)]
struct Readings {
    /// How axes were read, with the first array that they were read so of, and how many were.
    axes: Vec<(String, String, usize)>,
    told: Vec<Reading>,
    notes: Vec<String>,
}

impl Readings {
    /// Tells how an array's axes were read, once for all that are alike.
    fn tell(&mut self, name: &str, shape: &[usize], axes: &Axes) {
        let reading = format!("{shape:?} read as {}", axes.told(shape));
        match self.axes.iter_mut().find(|(told, _, _)| *told == reading) {
            Some((_, _, n_arrays)) => *n_arrays += 1,
            None => self.axes.push((reading, name.to_owned(), 1)),
        }
        let is_mean = !axes.has(Axis::Heads) && (axes.has(Axis::Batch) || axes.has(Axis::Layers));
        let note =
            "the arrays have no axis of heads: head 0 is the mean of heads, as PyTorch's MultiheadAttention gives it";
        if is_mean && self.notes.is_empty() {
            self.notes.push(note.to_owned());
        }
    }

    /// All that the caller is told.
    fn all(self) -> Vec<Reading> {
        let axes = self.axes.into_iter().map(|(reading, name, n_arrays)| match (name.as_str(), n_arrays) {
            ("", _) => reading,
            (name, 1) => format!("{name} {reading}"),
            (name, n) => format!("{name} and {} more, each {reading}", n - 1),
        });
        axes.map(Reading::Axes).chain(self.told).collect()
    }
}

/// The maps of one array, in the order in which a recording holds them.
struct Maps {
    name: String,
    said: Name,
    n_layers: usize,
    n_items: usize,
    shape: Shape,
    /// Shape `[n_layers, n_items, heads, queries, keys]`.
    weights: Vec<f32>,
}

impl Maps {
    fn of(
        name: String,
        array: Array,
        said: Name,
        given: Option<&Axes>,
        readings: &mut Readings,
    ) -> Result<Maps, Error> {
        let bad = |message: String| Err(Error::BadWeights(format!("{}: {message}", called(&name))));
        let (shape, ArrayData::Numbers(weights)) = (array.shape, array.data) else {
            return bad("floating-point numbers were expected".into());
        };
        if shape.contains(&0) {
            return bad(format!("shape {shape:?} has no weight"));
        }
        expect("it", weights.len(), &shape).or_else(bad_weights(&name))?;
        let axes = match given {
            Some(axes) if axes.len() != shape.len() => {
                return bad(format!("shape {shape:?} has {}, but {axes} are {}", axes_of(shape.len()), axes.len()));
            }
            Some(axes) => axes.clone(),
            None => match Axes::usual(shape.len(), said.layer.is_some()) {
                Some(axes) => axes,
                None => {
                    let expected = if said.layer.is_some() { "2 to 4 of one layer" } else { "2 to 5" };
                    return bad(format!("shape {shape:?} has {}, {expected} were expected", axes_of(shape.len())));
                }
            },
        };
        readings.tell(&name, &shape, &axes);
        let [n_layers, n_items, n_heads, n_queries, n_keys] = axes.sizes(&shape);
        at_most(MAX_LAYERS, "layers", n_layers, called(&name))?;
        at_most(MAX_TEXTS, "texts", n_items, called(&name))?;
        at_most(MAX_HEADS, "heads", n_heads, called(&name))?;
        if said.layer.is_some() && n_layers > 1 {
            return bad(format!("its name says one layer, but its axes ({axes}) have {n_layers}"));
        }
        let weights = axes.ordered(weights, &shape).or_else(bad_weights(&name))?;
        let shape = Shape { n_heads, n_kv_heads: n_heads, n_queries, n_keys, d_head: 0, d_value: 0 };
        Ok(Maps { name, said, n_layers, n_items, shape, weights })
    }

    /// Whether no query looks at a later token, and there are some it could look at.
    fn looks_causal(&self) -> bool {
        let Shape { n_queries, n_keys, .. } = self.shape;
        let Some(n_before) = n_keys.checked_sub(n_queries).filter(|_| n_keys > 1) else { return false };
        self.weights
            .chunks_exact(n_keys)
            .enumerate()
            .all(|(row, weights)| weights[n_before + row % n_queries + 1..].iter().all(|weight| *weight == 0.0))
    }

    /// The layers, with the indices that the file gives, or that their order does.
    fn layers(self, kind: Kind, indices: &mut BTreeMap<Kind, Vec<usize>>) -> impl Iterator<Item = Layer> {
        let Maps { said, n_layers, n_items, shape, weights, .. } = self;
        let indices = match said.layer {
            Some(index) => vec![index],
            None => {
                indices.remove(&kind).filter(|of_kind| of_kind.len() == n_layers).unwrap_or((0..n_layers).collect())
            }
        };
        let weights = Buffer::from(weights); // [layers, batch, heads, queries, keys]
        let size = n_items * shape.n_heads * shape.n_queries * shape.n_keys;
        let layer =
            move |(place, index)| Layer::new(kind, index, shape, weights.part(place * size..(place + 1) * size));
        indices.into_iter().enumerate().map(layer)
    }
}

/// What errors call an array: the one of a `.npy` file has no name.
fn called(name: &str) -> String {
    if name.is_empty() { "the array".into() } else { format!("array \"{name}\"") }
}

fn axes_of(n: usize) -> String {
    if n == 1 { "1 axis".into() } else { format!("{n} axes") }
}

fn bad_weights<T>(name: &str) -> impl FnOnce(String) -> Result<T, Error> {
    let name = called(name);
    move |message| Err(Error::BadWeights(format!("{name}: {message}")))
}

/// How many texts all arrays have.
fn n_items(found: &[Maps]) -> Result<usize, Error> {
    let Some(first) = found.first() else {
        return Err(Error::BadWeights("the file holds no attention array".into()));
    };
    match found.iter().find(|maps| maps.n_items != first.n_items) {
        None => Ok(first.n_items),
        Some(Maps { name, n_items, .. }) => {
            let (name, first) = (called(name), first.n_items);
            Err(Error::BadWeights(format!("{name} has a batch of {n_items}, others of {first}")))
        }
    }
}

/// What says the kind of arrays whose names do not.
struct Kinds {
    given: Option<Kind>,
    tokens_say: Option<Kind>,
}

impl Kinds {
    /// The kind of each array.
    fn of(&self, found: &[Maps], readings: &mut Readings) -> Result<Vec<Kind>, Error> {
        let kinds = found.iter().map(|maps| match (maps.said.said, self.given) {
            (Said::Kind(kind), _) => Ok(kind),
            (Said::SelfAttention, Some(kind)) => Ok(kind),
            (Said::SelfAttention, None) => Ok(self.of_self_attention(found, readings)),
            (Said::Nothing, given) => {
                given.or(self.tokens_say).ok_or_else(|| Error::KindUnknown { array: called(&maps.name) })
            }
        });
        let kinds: Vec<Kind> = kinds.collect::<Result<_, _>>()?;
        let named = found.iter().find_map(|maps| match maps.said.said {
            Said::Kind(kind) => Some((maps, kind)),
            _ => None,
        });
        if let (Some(given), Some((maps, kind))) = (self.given, named)
            && !kinds.contains(&given)
        {
            let array = called(&maps.name);
            return Err(Error::BadWeights(format!("{array} is {} by its name, not {}", kind.title(), given.title())));
        }
        Ok(kinds)
    }

    /// The kind of what transformers calls `attentions`.
    fn of_self_attention(&self, found: &[Maps], readings: &mut Readings) -> Kind {
        if let Some(kind) = self.tokens_say.filter(|kind| *kind != Kind::Cross) {
            return kind;
        }
        let mut maps = found.iter().filter(|maps| maps.said.said == Said::SelfAttention);
        let (kind, why) = match maps.all(Maps::looks_causal) {
            true => (Kind::Decoder, "no query looks at a later token"),
            false => (Kind::Encoder, "queries look at later tokens"),
        };
        let reading = Reading::Kind(format!("attentions read as {}: {why}", kind.title()));
        if !readings.told.contains(&reading) {
            readings.told.push(reading);
        }
        kind
    }
}

/// Rows of decoder self-attention that begin after the first token: those of tokens that were generated.
struct GeneratedRows {
    offset: usize,
    n_queries: usize,
}

/// The name of their axis.
const GENERATED: &str = "generated";

impl GeneratedRows {
    fn of(layers: &[Layer], given: Option<usize>, readings: &mut Readings) -> Result<Option<GeneratedRows>, Error> {
        let Some(layer) = layers.iter().find(|layer| layer.kind == Kind::Decoder) else {
            return match given {
                Some(_) => Err(Error::Inconsistent(
                    "an offset of the queries was given, but there is no decoder self-attention, of which alone rows can be \
                     left out"
                        .into(),
                )),
                None => Ok(None),
            };
        };
        let Shape { n_queries, n_keys, .. } = layer.shape;
        let offset = given.unwrap_or(n_keys.saturating_sub(n_queries));
        if given.is_some() && offset.checked_add(n_queries).is_none_or(|end| end > n_keys) {
            return Err(Error::Inconsistent(format!(
                "{layer}: {} from token {offset} on reach past its {n_keys} keys",
                counted(n_queries, "row")
            )));
        }
        if n_queries >= n_keys {
            return Ok(None);
        }
        let end = offset + n_queries - 1;
        readings.told.push(Reading::Rows(format!("rows are tokens {offset} to {end} of {n_keys} (counted from 0)")));
        Ok(Some(GeneratedRows { offset, n_queries }))
    }

    /// Gives decoder layers, and cross-attention with the same rows, an axis of their own.
    fn name_axis(self, layers: &mut [Layer], items: &mut [Item]) {
        let GeneratedRows { offset, n_queries } = self;
        for layer in layers.iter_mut().filter(|layer| layer.kind != Kind::Encoder && layer.shape.n_queries == n_queries)
        {
            layer.query_axis = Some(GENERATED.to_owned());
            if layer.kind == Kind::Decoder {
                layer.query_offset = offset;
            }
        }
        for item in items {
            let tokens = item.target.tokens.iter().skip(offset).take(n_queries).cloned().collect();
            item.axes.insert(GENERATED.to_owned(), Tokens { text: item.target.text.clone(), tokens });
        }
    }
}

/// Takes the labels that stand in a file beside its maps, such as its array `source_tokens`: a row for each text, or one.
pub fn take_labels(arrays: &mut BTreeMap<String, Array>, name: &str) -> Option<Vec<Vec<String>>> {
    let Array { shape, data: ArrayData::Text(labels), .. } = arrays.remove(name)? else { return None };
    let width = shape.last().copied().unwrap_or(1).max(1);
    Some(labels.chunks(width).map(<[String]>::to_vec).collect())
}

/// A side of the texts: the source or the target.
struct Side<'a> {
    /// A layer that has it, as the rows or the columns of its maps.
    layer: &'a Layer,
    /// `queries` or `keys`.
    axis: &'static str,
    n_tokens: usize,
    /// The tokens of each text, or those of all.
    given: Option<&'a [Tokens]>,
}

impl<'a> Side<'a> {
    fn source(layers: &'a [Layer], given: Option<&'a [Tokens]>) -> Option<Side<'a>> {
        let layer = layers.iter().find(|layer| layer.kind != Kind::Decoder)?;
        let (axis, n_tokens) = match layer.kind {
            Kind::Encoder => ("queries", layer.shape.n_queries),
            _ => ("keys", layer.shape.n_keys),
        };
        Some(Side { layer, axis, n_tokens, given })
    }

    fn target(layers: &'a [Layer], given: Option<&'a [Tokens]>) -> Option<Side<'a>> {
        let layer = layers.iter().find(|layer| layer.kind != Kind::Encoder)?;
        let (axis, n_tokens) = match layer.kind {
            // of generated tokens there are fewer rows
            Kind::Decoder => ("keys", layer.shape.n_keys),
            _ => ("queries", layer.shape.n_queries),
        };
        Some(Side { layer, axis, n_tokens, given })
    }

    /// Refuses texts and tokens that are more or fewer than there are.
    fn check(&self, n_items: usize) -> Result<(), Error> {
        let Some(rows) = self.given else { return Ok(()) };
        if ![1, n_items].contains(&rows.len()) {
            let (n_rows, n_texts) = (counted(rows.len(), "row"), counted(n_items, "text"));
            let message = format!("{n_rows} of tokens for {n_texts}; one for each is needed, or one for all");
            return Err(Error::Inconsistent(message));
        }
        let wrong = rows.iter().enumerate().find(|(_, row)| row.len() != self.n_tokens);
        let Some((text, row)) = wrong else { return Ok(()) };
        let message = wrong_number_of_tokens(self.layer, (self.axis, self.n_tokens), None, text, row.len());
        Err(Error::Inconsistent(format!("{}: {message}", self.layer)))
    }

    /// The tokens of one text: those given, or else numbered.
    fn tokens(&self, text: usize) -> Tokens {
        match self.given {
            Some(rows) => rows.get(text).or(rows.first()).cloned().unwrap_or_default(),
            None => Tokens::from_labels((0..self.n_tokens).map(|position| position.to_string())),
        }
    }
}

/// The texts of a batch; their tokens are counted before any is made.
fn items(
    layers: &[Layer],
    n_items: usize,
    source: Option<&[Tokens]>,
    target: Option<&[Tokens]>,
    image: Option<ImageGrid>,
) -> Result<Vec<Item>, Error> {
    let sides = [Side::source(layers, source), Side::target(layers, target)];
    let n_tokens = sides.iter().flatten().map(|side| side.n_tokens.saturating_mul(n_items));
    at_most(MAX_TOKENS, "tokens", n_tokens.fold(0, usize::saturating_add), WHAT)?;
    sides.iter().flatten().try_for_each(|side| side.check(n_items))?;
    let grid = image.map(|image| patches(image, sides[0].as_ref())).transpose()?;
    let places = grid.as_ref().filter(|_| source.is_none()).map(place_tokens);
    let tokens = |side: &Option<Side<'_>>, text| side.as_ref().map_or(Tokens::default(), |side| side.tokens(text));
    let item = |text| Item {
        source: places.clone().unwrap_or_else(|| tokens(&sides[0], text)),
        target: tokens(&sides[1], text),
        image: grid.clone(),
        ..Item::default()
    };
    Ok((0..n_items).map(item).collect())
}

/// The grid in which the tokens of the source lie.
fn patches(image: ImageGrid, source: Option<&Side<'_>>) -> Result<PatchGrid, Error> {
    let ImageGrid { rows, columns, first } = image;
    let grid = PatchGrid { first, rows, columns, size: None, seen: None };
    let Some(Side { layer, axis, n_tokens: n, .. }) = source else {
        let message = "a grid of patches was given, but decoder self-attention has no tokens of a source";
        return Err(Error::Inconsistent(message.into()));
    };
    let n_tokens = first.saturating_add(grid.n_patches());
    if n_tokens != *n {
        return Err(Error::Inconsistent(format!(
            "{layer}: the map has {n} {axis}, but {rows} × {columns} patches and {} before them are {n_tokens}",
            counted(first, "token")
        )));
    }
    Ok(grid)
}

/// The names of places in an image: `CLS` and others before it, then `r0c0` and so on.
fn place_tokens(grid: &PatchGrid) -> Tokens {
    let before = |index: usize| if index == 0 { "CLS".to_owned() } else { format!("EXTRA{index}") };
    let before = (0..grid.first).map(|index| Token { role: TokenRole::Special, ..Token::labelled(before(index)) });
    let place = |place: usize| format!("r{}c{}", place / grid.columns, place % grid.columns);
    let patches = Tokens::from_labels((0..grid.n_patches()).map(place));
    Tokens { text: String::new(), tokens: before.chain(patches.tokens).collect() }
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
