//! A recording as the page carries it: a description for JSON, and its numbers as a block of bytes.
//!
//! `web/src/data.ts` reads it; the two are held together by the browser test.

use attlas::analysis::Standout;
use attlas::analysis::describe::CAPTION;
use attlas::recording::{Method, Mode};
use attlas::{AttentionMap, HeadId, Item, Kind, Layer, Provenance, Recording, Scoring};
use attlas::{Token, TokenRole, Tokens};
use serde::Serialize;

use crate::escape::length_of;
use crate::numbers::{FEW, Numbers, Stored};
use crate::page::Description as InWords;
use crate::pooled::Pooled;
use crate::rounded::BITS;
use crate::{Error, PageOptions};

/// The version of the description; `web/src/data.ts` refuses others.
const VERSION: u32 = 4;

/// The most cells of one map: 4,096 tokens by 4,096, which a browser computes and holds without trouble.
const MAX_CELLS: u64 = 1 << 24;
/// Queries whose weights are held at a time.
const BAND: usize = 96;

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
    layers: Vec<PageLayer<'a>>,
    standouts: Vec<PageStandout>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<PageWords<'a>>,
    open: PageHead,
    provenance: PageProvenance<'a>,
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

#[derive(Serialize)]
struct PageItem<'a> {
    source: PageTokens<'a>,
    target: PageTokens<'a>,
    predicted: Vec<PageToken<'a>>,
}

#[derive(Serialize)]
struct PageTokens<'a> {
    text: &'a str,
    tokens: Vec<PageToken<'a>>,
    n_padding: usize,
}

#[derive(Serialize)]
struct PageToken<'a> {
    text: &'a str,
    role: TokenRole,
    word: Option<usize>,
    position: usize,
    /// Whether it is silence that was added after a sound.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    silent: bool,
    /// At the first piece of a word that is cut from the text otherwise than its pieces read together: the word.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole: Option<String>,
}

#[derive(Serialize)]
struct PageLayer<'a> {
    kind: Kind,
    index: usize,
    n_heads: usize,
    n_kv_heads: usize,
    d_head: usize,
    scoring: Option<&'a Scoring>,
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

#[derive(Serialize)]
struct PageHead {
    kind: Kind,
    layer: usize,
    head: usize,
}

impl<'a> Payload<'a> {
    /// Checks the recording's sizes and the limit, then gathers.
    pub fn new(recording: &'a Recording, options: &'a PageOptions) -> Result<Payload<'a>, Error> {
        let mut numbers = Numbers::new(Payload::check(recording, options)?);
        let layers = carried(recording).map(|layer| page_layer(recording, layer, &mut numbers));
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        let numbers = numbers.finish();
        // how many bits numbers need is known now alone
        refuse_large(numbers.len() as u64, options)?;
        let description = describe(recording, options, layers, first_head(recording, options));
        Ok(Payload { description, numbers })
    }

    /// The description alone, of a recording whose numbers are asked for elsewhere.
    pub fn without_numbers(recording: &'a Recording, options: &'a PageOptions) -> Result<Payload<'a>, Error> {
        recording.validate()?;
        refuse_nothing(recording)?;
        let layers = carried(recording).map(|layer| PageLayer::new(layer, Vec::new())).collect();
        let open = chosen_head(recording, options).unwrap_or_else(|| first_of_all(recording));
        let description = describe(recording, options, layers, open);
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
    fn check(recording: &Recording, options: &PageOptions) -> Result<bool, Error> {
        recording.validate()?;
        refuse_nothing(recording)?;
        carried(recording).try_for_each(check_cells)?;
        let each = || carried(recording).flat_map(|layer| recording.items.iter().map(move |item| (layer, item)));
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

/// Refuses a recording of which there is nothing to show.
fn refuse_nothing(recording: &Recording) -> Result<(), Error> {
    if carried(recording).next().is_some() {
        return Ok(());
    }
    let message = "the page shows attention between all source and target tokens, and the recording has none; rows of \
                   some tokens, or of another axis, are shown in pictures alone";
    Err(Error::Recording(attlas::Error::Inconsistent(message.into())))
}

/// All that is said of a recording.
fn describe<'a>(
    recording: &'a Recording,
    options: &'a PageOptions,
    layers: Vec<PageLayer<'a>>,
    open: PageHead,
) -> Description<'a> {
    Description {
        version: VERSION,
        title: options.title.as_deref().unwrap_or(&recording.provenance.model),
        items: recording.items.iter().map(page_item).collect(),
        layers,
        standouts: by_excess(&options.standouts).into_iter().map(PageStandout::new).collect(),
        description: options.description.as_ref().map(PageWords::new),
        open,
        provenance: page_provenance(recording),
        pooled: None,
        failed: None,
    }
}

/// The layers that a page carries: attention weights of the first stack of each kind, between source and target tokens.
pub fn carried(recording: &Recording) -> impl Iterator<Item = &Layer> {
    let on_texts = |layer: &&Layer| layer.query_axis.is_none() && layer.key_axis.is_none();
    Kind::ALL.into_iter().flat_map(|kind| recording.layers_of(kind)).filter(on_texts)
}

fn page_provenance(recording: &Recording) -> PageProvenance<'_> {
    let Provenance { model, family, revision, dtype, mode, writer, method, .. } = &recording.provenance;
    let mut notes = recording.provenance.remarks();
    let n_left_out = recording.layers.len() - carried(recording).count();
    if n_left_out > 0 {
        notes.push(format!(
            "{n_left_out} of the {} layers are not on this page: it shows attention weights between source and target \
             tokens, of one stack of each kind",
            recording.layers.len()
        ));
    }
    let (mode, method) = (*mode, *method);
    let writer = format!("{} {}", writer.name, writer.version).trim().to_owned();
    PageProvenance { model, family, revision, dtype, mode, writer, method, notes }
}

/// Refuses more bytes than a page may carry.
fn refuse_large(bytes: u64, options: &PageOptions) -> Result<(), Error> {
    let (bytes, limit) = (length_of(bytes), options.max_bytes);
    if bytes > limit { Err(Error::TooLarge { bytes, limit }) } else { Ok(()) }
}

impl<'a> PageWords<'a> {
    fn new(words: &'a InWords) -> PageWords<'a> {
        let sentences = words.sentences.iter().map(|one| PageSentence {
            text: &one.text,
            kind: one.kind,
            layer: one.layer,
            head: one.head,
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

/// What few heads do first, and of that what lies furthest over its baseline.
fn by_excess(standouts: &[Standout]) -> Vec<&Standout> {
    let mut sorted: Vec<&Standout> = standouts.iter().collect();
    sorted.sort_by(|a, b| a.is_usual().cmp(&b.is_usual()).then(b.excess().total_cmp(&a.excess())));
    sorted
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

/// The indices of the tokens that are not padding.
pub fn kept(tokens: &Tokens) -> Vec<usize> {
    let kept = tokens.tokens.iter().enumerate().filter(|(_, token)| token.role != TokenRole::Padding);
    kept.map(|(index, _)| index).collect()
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
    let Some(factored) = layer.factored() else { return weights };
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

fn page_item(item: &Item) -> PageItem<'_> {
    let target = kept(&item.target);
    let known = item.predicted.len() == item.target.len();
    let mut source = page_tokens(&item.source);
    for token in &mut source.tokens {
        token.silent = item.silence().contains(&token.position);
    }
    PageItem {
        source,
        target: page_tokens(&item.target),
        predicted: if known { pick(&item.predicted, &target) } else { Vec::new() },
    }
}

fn page_tokens(tokens: &Tokens) -> PageTokens<'_> {
    let kept = kept(tokens);
    PageTokens { text: &tokens.text, n_padding: tokens.len() - kept.len(), tokens: pick(tokens, &kept) }
}

fn pick<'a>(tokens: &'a Tokens, positions: &[usize]) -> Vec<PageToken<'a>> {
    let picked: Vec<Token> = positions.iter().map(|position| tokens.tokens[*position].clone()).collect();
    let picked = Tokens { text: tokens.text.clone(), tokens: picked };
    let mut wholes = vec![None; positions.len()]; // [positions]
    for (word, merged) in picked.words().into_iter().zip(picked.merged().tokens) {
        let joined: String = picked.tokens[word.clone()].iter().map(|piece| piece.text.as_str()).collect();
        if merged.text != joined {
            wholes[word.start] = Some(merged.text);
        }
    }
    let token = |(position, whole): (&usize, Option<String>)| {
        let token = &tokens.tokens[*position];
        PageToken { text: &token.text, role: token.role, word: token.word, position: *position, silent: false, whole }
    };
    positions.iter().zip(wholes).map(token).collect()
}

fn page_layer<'a>(
    recording: &'a Recording,
    layer: &'a Layer,
    numbers: &mut Numbers,
) -> Result<PageLayer<'a>, attlas::Error> {
    let items = 0..recording.items.len();
    let stored = items.map(|item| numbers.store(recording, layer, item)).collect::<Result<Vec<_>, _>>()?;
    Ok(PageLayer::new(layer, stored))
}

impl<'a> PageLayer<'a> {
    fn new(layer: &'a Layer, stored: Vec<Stored>) -> PageLayer<'a> {
        PageLayer {
            kind: layer.kind,
            index: layer.index,
            n_heads: layer.shape.n_heads,
            n_kv_heads: layer.shape.n_kv_heads,
            d_head: layer.shape.d_head,
            scoring: layer.factored().map(|factored| &factored.scoring),
            stored,
        }
    }
}

/// The head that the page opens with: the one asked for, the one of the last kind that stands out most, or the sharpest.
fn first_head(recording: &Recording, options: &PageOptions) -> PageHead {
    chosen_head(recording, options).unwrap_or_else(|| {
        let (kind, head) = sharpest_head(recording);
        PageHead { kind, layer: head.layer, head: head.head }
    })
}

/// The first head of the last kind.
fn first_of_all(recording: &Recording) -> PageHead {
    let kind = recording.kinds().last().copied().unwrap_or(Kind::Encoder);
    let layer = recording.layers_of(kind).next().map_or(0, |layer| layer.index);
    PageHead { kind, layer, head: 0 }
}

/// The head that was asked for, or the one of the last kind that stands out most.
fn chosen_head(recording: &Recording, options: &PageOptions) -> Option<PageHead> {
    let exists = |(kind, head): &(Kind, HeadId)| {
        recording.layer(*kind, head.layer).is_ok_and(|layer| head.head < layer.shape.n_heads)
    };
    let last_kind = recording.kinds().last().copied();
    let standouts = by_excess(&options.standouts).into_iter().map(|standout| (standout.kind, standout.head));
    let standing_out = || standouts.filter(exists).find(|(kind, _)| Some(*kind) == last_kind);
    let (kind, head) = options.open.filter(exists).or_else(standing_out)?;
    Some(PageHead { kind, layer: head.layer, head: head.head })
}

/// The head of the last kind whose rows have the largest maxima on average, for the first text; the first of equals.
fn sharpest_head(recording: &Recording) -> (Kind, HeadId) {
    let kind = recording.kinds().last().copied().unwrap_or(Kind::Encoder);
    let mut sharpest = (f64::NEG_INFINITY, HeadId { layer: 0, head: 0 });
    for layer in recording.layers_of(kind) {
        for head in 0..layer.shape.n_heads {
            let sharpness = recording.map(0, kind, layer.index, head).map_or(f64::NEG_INFINITY, |map| sharpness(&map));
            if sharpness > sharpest.0 {
                sharpest = (sharpness, HeadId { layer: layer.index, head });
            }
        }
    }
    (kind, sharpest.1)
}

/// The mean of the rows' largest weights, padding left out.
fn sharpness(map: &AttentionMap<'_>) -> f64 {
    let rows = kept(map.query_tokens());
    let mut sum = 0.0;
    for band in rows.chunk_by(|a, b| a + 1 == *b).flat_map(|stretch| stretch.chunks(BAND)) {
        let weights = map.tile(band[0]..band[0] + band.len(), 0..map.n_keys()); // [band, n_keys]
        let largest = |row: &[f32]| f64::from(row.iter().copied().fold(0.0, f32::max));
        sum += weights.chunks_exact(map.n_keys()).map(largest).sum::<f64>();
    }
    sum / rows.len().max(1) as f64
}
