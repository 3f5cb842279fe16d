//! A recording as the page carries it: a description for JSON, and its numbers as a block of bytes.
//!
//! `web/src/data.ts` reads it; the two are held together by the browser test.

use std::borrow::Cow;

use attlas::analysis::Standout;
use attlas::analysis::describe::CAPTION;
use attlas::recording::{Method, Mode};
use attlas::{Item, Kind, Layer, Provenance, Quantity, Recording, Scoring};
use serde::Serialize;

use crate::beside::Beside;
use crate::effects::PageEffects;
use crate::escape::length_of;
use crate::items::{PageItem, kept, page_item};
use crate::numbers::{FEW, Numbers, Stored};
use crate::opening::{PageHead, by_excess, chosen_head, first_head, first_of_all};
use crate::page::Description as InWords;
use crate::pooled::Pooled;
use crate::rounded::BITS;
use crate::{Error, PageOptions};

/// The version of the description; `web/src/data.ts` refuses others.
const VERSION: u32 = 5;

/// The most cells of one map: 4,096 tokens by 4,096, which a browser computes and holds without trouble.
const MAX_CELLS: u64 = 1 << 24;
/// The most text that a page's numbers may be for queries and keys to stand beside weights that travel otherwise.
const MOST_WITH_QUERIES_AND_KEYS: u64 = 1_000_000;
/// What stands beside an item of which nothing else was given.
static NOTHING: Beside = Beside { picture: None, sound: None, tree: None };

/// What a page carries.
pub struct Payload<'a> {
    description: Description<'a>,
    /// The numbers, where the description says.
    pub numbers: Vec<u8>,
}

#[derive(Serialize)]
struct Description<'a> {
    version: u32,
    title: &'a str,
    items: Vec<PageItem<'a>>,
    layers: Vec<PageLayer>,
    /// What the layers' numbers are; empty where all are weights.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quantities: Vec<PageQuantity>,
    standouts: Vec<PageStandout>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<PageWords<'a>>,
    /// What the output loses with each head, where that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    effects: Option<PageEffects<'a>>,
    open: PageHead,
    provenance: PageProvenance<'a>,
    /// How the model is named where it is to be loaded again, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    model_place: Option<&'a str>,
    /// How the recording is named where it is to be opened again; absent of one that was made of a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    recording_place: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pooled: Option<PageTiles>,
    /// What of the recording fails its checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
}

#[derive(Serialize)]
struct PageProvenance<'a> {
    model: &'a str,
    family: &'a str,
    revision: &'a str,
    dtype: &'a str,
    mode: Mode,
    /// The program that wrote the recording, and its version.
    writer: String,
    method: Method,
    #[serde(skip_serializing_if = "Option::is_none")]
    beams: Option<usize>,
    notes: Vec<String>,
}

/// Tokens in a tile at most, where cells are tiles, and how many there are.
#[derive(Serialize)]
struct PageTiles {
    source: usize,
    target: usize,
    n_source: usize,
    n_target: usize,
}

/// What numbers are.
#[derive(Serialize)]
struct PageQuantity {
    name: &'static str,
    words: &'static str,
    unit: &'static str,
    signed: bool,
}

#[derive(Serialize)]
struct PageLayer {
    kind: Kind,
    index: usize,
    /// What the numbers are, where they are no weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<&'static str>,
    /// The power of ten in which numbers are shown, where it is not 1; see `numbers.rs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<f64>,
    n_heads: usize,
    n_kv_heads: usize,
    d_head: usize,
    scoring: Option<Scoring>,
    stored: Vec<Stored>,
}

/// What a head does, with all that its score is to be read beside.
#[derive(Serialize)]
struct PageStandout {
    kind: Kind,
    layer: usize,
    head: usize,
    name: &'static str,
    title: &'static str,
    says: &'static str,
    score: f64,
    interval: Option<(f64, f64)>,
    threshold: f64,
    baseline: Option<f64>,
    n: u64,
    /// What there are `n` of.
    over: &'static str,
    /// Whether more than half of the kind's heads do so.
    usual: bool,
}

/// One of the texts in words.
#[derive(Serialize)]
struct PageWords<'a> {
    item: usize,
    sentences: Vec<PageSentence<'a>>,
    caption: &'static str,
}

/// A sentence, and what there is to open.
#[derive(Serialize)]
struct PageSentence<'a> {
    text: &'a str,
    kind: Option<Kind>,
    layer: Option<usize>,
    head: Option<usize>,
}

impl<'a> Payload<'a> {
    /// Checks the recording's sizes and the limit, then gathers.
    pub fn new(recording: &'a Recording, options: &'a PageOptions) -> Result<Payload<'a>, Error> {
        let carried = carried(recording);
        let mut numbers = Numbers::new(Payload::check(recording, &carried, options)?);
        let layers = carried.iter().map(|layer| page_layer(recording, layer, &mut numbers));
        let mut layers = layers.collect::<Result<Vec<_>, _>>()?;
        add_queries_and_keys(recording, &carried, &mut layers, &mut numbers)?;
        let numbers = numbers.finish();
        // how many bits numbers need is known now alone
        refuse_large(numbers.len() as u64, options)?;
        let description = describe(recording, &carried, options, layers, first_head(recording, &carried, options))?;
        Ok(Payload { description, numbers })
    }

    /// The description alone, of a recording whose numbers are asked for elsewhere; no map is looked at.
    pub fn without_numbers(recording: &'a Recording, options: &'a PageOptions) -> Result<Payload<'a>, Error> {
        recording.validate()?;
        let carried = carried(recording);
        refuse_nothing(&carried)?;
        let layers = carried.iter().map(|layer| PageLayer::new(layer, Vec::new(), 1.0)).collect();
        let open = chosen_head(&carried, options).unwrap_or_else(|| first_of_all(&carried));
        let description = describe(recording, &carried, options, layers, open)?;
        Ok(Payload { description, numbers: Vec::new() })
    }

    /// A recording whose cells are tiles.
    pub fn of_tiles(pooled: &'a Pooled, options: &'a PageOptions) -> Result<Payload<'a>, Error> {
        let mut payload = Payload::new(&pooled.recording, options)?;
        payload.description.pooled = Some(PageTiles {
            source: pooled.source,
            target: pooled.target,
            n_source: pooled.n_source,
            n_target: pooled.n_target,
        });
        Ok(payload)
    }

    /// Lets the page say what of the recording fails its checks.
    pub fn say_failed(&mut self, complaint: Option<String>) {
        self.description.failed = complaint;
    }

    /// Whether there are many numbers; refuses what is beyond the limits in the fewest bits, too.
    fn check(recording: &Recording, carried: &[Cow<'_, Layer>], options: &PageOptions) -> Result<bool, Error> {
        recording.validate()?;
        refuse_nothing(carried)?;
        carried.iter().try_for_each(|layer| check_cells(layer))?;
        let each = || carried.iter().flat_map(|layer| recording.items.iter().map(move |item| (layer, item)));
        let sum = |a: u64, b: u64| a.saturating_add(b);
        let many = each().map(|(layer, item)| size(layer, item, false)).fold(0, sum) > FEW;
        refuse_large(each().map(|(layer, item)| size(layer, item, many)).fold(0, sum), options)?;
        Ok(many)
    }

    /// The description, as JSON that is not yet escaped for a page.
    pub fn json(&self) -> Result<String, Error> {
        serde_json::to_string(&self.description)
            .map_err(|error| Error::Recording(attlas::Error::Inconsistent(format!("the page's description: {error}"))))
    }
}

/// All that is said of a recording.
fn describe<'a>(
    recording: &'a Recording,
    carried: &[Cow<'_, Layer>],
    options: &'a PageOptions,
    layers: Vec<PageLayer>,
    open: PageHead,
) -> Result<Description<'a>, Error> {
    let is_carried = |kind: Kind| carried.iter().any(|layer| layer.kind == kind);
    let standouts = by_excess(&options.standouts).into_iter().filter(|standout| is_carried(standout.kind));
    let beside = |item: usize| options.beside.get(item).unwrap_or(&NOTHING);
    let items = recording.items.iter().enumerate();
    let items = items.map(|(place, item)| {
        page_item(item, beside(place))
            .map_err(|problem| attlas::Error::Inconsistent(format!("text {place}: {problem}")))
    });
    Ok(Description {
        version: VERSION,
        title: options.title.as_deref().unwrap_or(&recording.provenance.model),
        items: items.collect::<Result<_, _>>()?,
        layers,
        quantities: page_quantities(recording, carried),
        standouts: standouts.map(PageStandout::new).collect(),
        description: options.description.as_ref().map(|words| PageWords::new(words, is_carried)),
        effects: options.effects.as_ref().map(PageEffects::new),
        open,
        provenance: page_provenance(recording, carried, &options.remarks),
        model_place: options.model_place.as_deref(),
        recording_place: options.recording_place.as_deref(),
        pooled: None,
        failed: None,
    })
}

/// Refuses a recording of which there is nothing to show.
fn refuse_nothing(carried: &[Cow<'_, Layer>]) -> Result<(), Error> {
    if !carried.is_empty() {
        return Ok(());
    }
    let message = "the page shows maps between all source and target tokens, and the recording has none; \
                   rows of some tokens, or of another axis, are shown in pictures alone";
    Err(Error::Recording(attlas::Error::Inconsistent(message.into())))
}

/// The layers that a page carries: maps between source and target tokens, of the first stack of each kind; attention weights, then
/// the other quantities there are.
pub fn carried(recording: &Recording) -> Vec<Cow<'_, Layer>> {
    let of_quantity = |quantity| Kind::ALL.into_iter().flat_map(move |kind| recording.layers_in(quantity, kind));
    let on_texts = |layer: &Cow<'_, Layer>| layer.query_axis.is_none() && layer.key_axis.is_none();
    Quantity::ALL.into_iter().flat_map(of_quantity).filter(on_texts).collect()
}

/// What the layers' numbers are; nothing where all are weights.
fn page_quantities(recording: &Recording, carried: &[Cow<'_, Layer>]) -> Vec<PageQuantity> {
    let is_there = |quantity: &Quantity| carried.iter().any(|layer| layer.quantity == *quantity);
    let there: Vec<Quantity> = Quantity::ALL.into_iter().filter(is_there).collect();
    let quantity = |quantity: &Quantity| PageQuantity {
        name: quantity.name(),
        words: quantity.words_in(&recording.provenance.notes),
        unit: quantity.unit(),
        signed: quantity.is_signed(),
    };
    if there == [Quantity::Weight] { Vec::new() } else { there.iter().map(quantity).collect() }
}

/// Appends queries and keys of layers whose weights travel otherwise, for all of these or, where the page would not stay small, for
/// none.
fn add_queries_and_keys(
    recording: &Recording,
    carried: &[Cow<'_, Layer>],
    layers: &mut [PageLayer],
    numbers: &mut Numbers,
) -> Result<(), attlas::Error> {
    let before = numbers.len();
    let mut size = before as u64;
    for layer in carried.iter().filter(|layer| layer.quantity == Quantity::Weight && layer.factored().is_some()) {
        size = recording.items.iter().map(|item| factored_size(layer, item, true)).fold(size, u64::saturating_add);
    }
    if length_of(size) > MOST_WITH_QUERIES_AND_KEYS {
        return Ok(());
    }
    let mut all = Vec::new(); // [layers][items]
    for (layer, page_layer) in carried.iter().zip(&mut *layers) {
        let stored = page_layer.stored.iter().enumerate();
        let of_item = |(place, stored): (usize, &Stored)| match stored {
            Stored::Factored { .. } => Ok(None),
            _ if layer.quantity != Quantity::Weight => Ok(None),
            _ => numbers.push_beside(recording, layer, place),
        };
        all.push(stored.map(of_item).collect::<Result<Vec<_>, _>>()?);
    }
    if length_of(numbers.len() as u64) > MOST_WITH_QUERIES_AND_KEYS {
        numbers.truncate(before);
        return Ok(());
    }
    for (layer, of_layer) in layers.iter_mut().zip(all) {
        for (stored, found) in layer.stored.iter_mut().zip(of_layer) {
            if let Stored::Dense { groups, .. } | Stored::Coded { groups, .. } = stored {
                *groups = found;
            }
        }
    }
    Ok(())
}

fn page_provenance<'a>(recording: &'a Recording, carried: &[Cow<'_, Layer>], remarks: &[String]) -> PageProvenance<'a> {
    let Provenance { model, family, revision, dtype, mode, writer, method, beams, .. } = &recording.provenance;
    let mut notes = recording.provenance.remarks();
    notes.extend_from_slice(remarks);
    let is_stored = |layer: &&Cow<'_, Layer>| matches!(layer, Cow::Borrowed(_));
    let n_left_out = recording.layers.len() - carried.iter().filter(is_stored).count();
    if n_left_out > 0 {
        notes.push(format!(
            "{n_left_out} of the {} layers are not on this page: it shows maps between source and target tokens, of one stack \
             of each kind",
            recording.layers.len()
        ));
    }
    let (mode, method, beams) = (*mode, *method, *beams);
    let writer = format!("{} {}", writer.name, writer.version).trim().to_owned();
    PageProvenance { model, family, revision, dtype, mode, writer, method, beams, notes }
}

/// Refuses more bytes than a page may carry.
fn refuse_large(bytes: u64, options: &PageOptions) -> Result<(), Error> {
    let (bytes, limit) = (length_of(bytes), options.max_bytes);
    if bytes > limit { Err(Error::TooLarge { bytes, limit }) } else { Ok(()) }
}

impl<'a> PageWords<'a> {
    /// A sentence about maps that the page does not carry opens nothing.
    fn new(words: &'a InWords, is_carried: impl Fn(Kind) -> bool) -> PageWords<'a> {
        let sentences = words.sentences.iter().map(|one| match one.kind.filter(|kind| is_carried(*kind)) {
            None => PageSentence { text: &one.text, kind: None, layer: None, head: None },
            kind => PageSentence { text: &one.text, kind, layer: one.layer, head: one.head },
        });
        PageWords { item: words.item, sentences: sentences.collect(), caption: CAPTION }
    }
}

impl PageStandout {
    fn new(standout: &Standout) -> PageStandout {
        PageStandout {
            kind: standout.kind,
            layer: standout.head.layer,
            head: standout.head.head,
            name: standout.measure.name,
            title: standout.title(),
            says: standout.measure.says,
            score: standout.score.value,
            interval: standout.score.interval,
            threshold: standout.measure.threshold.unwrap_or(standout.measure.range.0),
            baseline: standout.score.baseline,
            n: standout.score.n,
            over: standout.measure.over,
            usual: standout.is_usual(),
        }
    }
}

/// Refuses maps that a browser cannot hold.
fn check_cells(layer: &Layer) -> Result<(), Error> {
    let (n_queries, n_keys) = (layer.shape.n_queries, layer.shape.n_keys);
    if (n_queries as u64).saturating_mul(n_keys as u64) > MAX_CELLS {
        let layer = format!("{} layer {}", layer.kind, layer.index);
        return Err(Error::MapTooLarge { layer, n_queries, n_keys, limit: MAX_CELLS });
    }
    Ok(())
}

/// How one item of a layer travels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Weights, 32-bit floats.
    Floats,
    /// The digits that are shown of weights.
    Digits,
    /// Queries and keys.
    Factored,
}

/// How one item of a layer travels, where there are `many` numbers in all or few: as weights, if they came so, the page's formula
/// cannot compute them, or they take less room than queries and keys.
pub fn storage(layer: &Layer, item: &Item, many: bool) -> Storage {
    let weights = if many { Storage::Digits } else { Storage::Floats };
    let Some(factored) = layer.factored().filter(|_| layer.quantity == Quantity::Weight) else { return weights };
    let masked = factored.mask.is_some() || factored.key_bias.is_some();
    let weights_bytes = if many { digits_size(layer, item) } else { n_weights(layer, item).saturating_mul(4) };
    if masked || weights_bytes <= factored_size(layer, item, many) { weights } else { Storage::Factored }
}

/// About the fewest bytes that one item of a layer takes; as f32 where there are few numbers, log-sum-exps left aside.
fn size(layer: &Layer, item: &Item, many: bool) -> u64 {
    match storage(layer, item, many) {
        Storage::Floats => n_weights(layer, item).saturating_mul(4),
        // a weight of 0 has one bit, and after the last of a row none
        Storage::Digits => n_weights(layer, item) / 16,
        Storage::Factored if many => factored_size(layer, item, many),
        Storage::Factored => factored_size(layer, item, many).saturating_mul(2),
    }
}

fn n_weights(layer: &Layer, item: &Item) -> u64 {
    let (n_queries, n_keys) = (kept(layer.query_tokens(item)).len() as u64, kept(layer.key_tokens(item)).len() as u64);
    n_queries.saturating_mul(n_keys).saturating_mul(layer.shape.n_heads as u64)
}

/// About the bytes that the digits of one item's weights take.
///
/// Weights of a row of `m` that are spread exponentially have an entropy of log2(e · 10,000 / m) bits to four digits after the point.
fn digits_size(layer: &Layer, item: &Item) -> u64 {
    let (queries, keys) = (kept(layer.query_tokens(item)), kept(layer.key_tokens(item)));
    let n_seen: u64 = match layer.factored() {
        Some(factored) => {
            let seen = |query: &usize| factored.scoring.visible_keys(*query, layer.shape.n_keys).len().min(keys.len());
            queries.iter().map(|query| seen(query) as u64).sum()
        }
        None => (queries.len() * keys.len()) as u64,
    };
    let mean = n_seen as f64 / queries.len().max(1) as f64;
    let bits = (std::f64::consts::E * 1e4 / mean.max(1.0)).log2().max(2.0);
    (n_seen as f64 * bits / 8.0 * layer.shape.n_heads as f64) as u64
}

/// The bytes of queries and keys: in the fewest bits with a step a row, or, where there are few, 16-bit.
fn factored_size(layer: &Layer, item: &Item, many: bool) -> u64 {
    let (n_queries, n_keys) = (kept(layer.query_tokens(item)).len() as u64, kept(layer.key_tokens(item)).len() as u64);
    let rows = (n_queries.saturating_mul(layer.shape.n_heads as u64))
        .saturating_add(n_keys.saturating_mul(layer.shape.n_kv_heads as u64));
    let (bits, step) = if many { (u64::from(*BITS.start()), 4) } else { (16, 0) };
    rows.saturating_mul((layer.shape.d_head as u64).saturating_mul(bits) / 8 + step)
}

fn page_layer(recording: &Recording, layer: &Layer, numbers: &mut Numbers) -> Result<PageLayer, attlas::Error> {
    let (stored, unit) = match layer.quantity {
        Quantity::Weight => {
            let items = 0..recording.items.len();
            (items.map(|item| numbers.store(recording, layer, item)).collect::<Result<Vec<_>, _>>()?, 1.0)
        }
        _ => numbers.store_others(recording, layer)?,
    };
    Ok(PageLayer::new(layer, stored, unit))
}

impl PageLayer {
    fn new(layer: &Layer, stored: Vec<Stored>, unit: f64) -> PageLayer {
        PageLayer {
            kind: layer.kind,
            index: layer.index,
            quantity: Some(layer.quantity).filter(|quantity| *quantity != Quantity::Weight).map(Quantity::name),
            unit: Some(unit).filter(|unit| *unit != 1.0),
            n_heads: layer.shape.n_heads,
            n_kv_heads: layer.shape.n_kv_heads,
            d_head: layer.shape.d_head,
            scoring: layer.factored().map(|factored| factored.scoring.clone()),
            stored,
        }
    }
}
