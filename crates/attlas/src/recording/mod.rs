//! A recording: everything one run says about its attention, as plain data.
//!
//! Models write it, analyses and pictures read it, neither sees the other. It is also the file format (`docs/format.md`).

mod check;
mod edits;
mod experts;
mod file;
mod layer;
pub(crate) mod limits;
mod lse;
mod stacks;
mod validate;

pub use check::{LayerCheck, ROW_SUM_TOLERANCE, complaint};
pub use edits::{Digest, Edit, HeadOutput, Heads, NewWeights, Which};
pub use experts::TokenExpert;
pub(crate) use file::{safetensors_header, write_f32};
pub use layer::{Factored, Layer, Trace, Traces, Weights};
pub use lse::{LseCheck, QueriesAndKeys};
pub(crate) use validate::{elements, expect, wrong_number_of_tokens};

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{AttentionMap, Error, HeadNumbers, Kind, PatchGrid, Quantity, TokenRole, Tokens};

/// The version of the file format this crate writes; it reads this one and older ones.
pub const FORMAT_VERSION: u32 = 2;

/// One run of a model over a batch of texts, or arrays brought from elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The texts of the batch.
    pub items: Vec<Item>,
    /// The layers, encoder before decoder before cross, each in the model's order.
    pub layers: Vec<Layer>,
    /// Where the recording comes from.
    pub provenance: Provenance,
}

/// One text of the batch, as tokens. All items have the same padded lengths.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Item {
    /// Tokens of the encoder; empty for a decoder-only model.
    #[serde(default)]
    pub source: Tokens,
    /// Tokens that the decoder read; empty for an encoder-only model.
    #[serde(default)]
    pub target: Tokens,
    /// For each decoder position, the token that follows it in the text or was generated after it: row `t` of a
    /// decoder map is the row that *reads* `target[t]` and *predicts* `predicted[t]`. Empty when unknown.
    #[serde(default)]
    pub predicted: Tokens,
    /// Where the source's tokens lie in an image, when they are patches of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PatchGrid>,
    /// Axes that are neither source nor target, by the names that layers call them: the tokens of a second tower, object
    /// queries, the stages of a pyramid.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub axes: BTreeMap<String, Tokens>,
    /// How patches lie in images along the other axes: along `target`, where a text has images in it, and along those of `axes`.
    /// Several images of an axis stand one after another.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grids: BTreeMap<String, Vec<PatchGrid>>,
    /// How many of the target's tokens were given; the others were generated. `None` when all were, or nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_prompt: Option<usize>,
    /// How many of the source's tokens hold the sound that was given; the others are silence, added to fill the length that
    /// the model listens to, and are looked at like any other. `None` when there is none, or no sound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_sound: Option<usize>,
    /// Words of what was generated that the model does not know: neither its training targets nor the source have them. Bytes of
    /// the target's text, rising; empty also where nobody knows what it knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_words: Vec<Range<usize>>,
    /// How many of the last predicted tokens were coming again and again when the generation was cut after them. `None` when it
    /// was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_repeated: Option<usize>,
    /// Words of the text that was found first and that the model does not know: the target is the best of a beam search
    /// without such words, in their place. Empty where nothing was replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub avoided_words: Vec<String>,
}

impl Item {
    /// What a reader of what was generated must know, one sentence each.
    pub fn remarks(&self) -> Vec<String> {
        let text = &self.target.text;
        let words: Vec<&str> = self.unknown_words.iter().filter_map(|span| text.get(span.clone())).collect();
        let unknown = words.iter().map(|word| format!("\"{word}\": no word the model knows"));
        let repeated = self.n_repeated.map(|n| {
            // the last predicted token is not read, and has no span: the text ends with it
            let real: Vec<_> = self.predicted.tokens.iter().filter(|token| token.role != TokenRole::Padding).collect();
            let before = real.iter().take(real.len().saturating_sub(n)).filter_map(|token| token.span.as_ref());
            let start = before.map(|span| span.end).max().unwrap_or(0);
            let words = text.get(start..).unwrap_or_default().trim();
            format!("cut after \"{words}\", which the model began to repeat")
        });
        unknown.chain(repeated).chain(self.remark_on_avoided()).collect()
    }

    /// What stood where this text stands now, in one sentence, each word once.
    fn remark_on_avoided(&self) -> Option<String> {
        let mut seen = BTreeSet::new();
        let words = self.avoided_words.iter().filter(|word| seen.insert(*word));
        let words: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
        let (last, others) = words.split_last()?;
        Some(match others {
            [] => format!(
                "{last} was in the text found first, no word the model knows: this is the best text found without it"
            ),
            _ => format!(
                "{} and {last} were in the text found first, no words the model knows: this is the best text found without them",
                others.join(", ")
            ),
        })
    }

    /// The source tokens that hold added silence; none where there is none.
    pub fn silence(&self) -> Range<usize> {
        let n = self.source.len();
        self.n_sound.unwrap_or(n)..n
    }

    /// How long a source token lasts, in seconds, where it is named by its time in a sound: `0.00s`, `0.02s`.
    pub fn token_seconds(&self) -> Option<f64> {
        let second = |text: &str| text.strip_suffix('s')?.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
        let [first, .., last] = &self.source.tokens[..] else { return None };
        let is_start = self.source.text.is_empty() && second(&first.text) == Some(0.0);
        let seconds = second(&last.text).filter(|seconds| is_start && *seconds > 0.0)?;
        // names are rounded to hundredths, and the last one least for its size
        Some(seconds / (self.source.len() - 1) as f64)
    }

    /// The images whose patches are target tokens, in their order.
    pub fn target_images(&self) -> &[PatchGrid] {
        self.grids.get(TARGET).map_or(&[], Vec::as_slice)
    }

    /// The tokens along the rows of a map.
    pub fn queries(&self, kind: Kind) -> &Tokens {
        match kind {
            Kind::Encoder => &self.source,
            Kind::Decoder | Kind::Cross => &self.target,
        }
    }

    /// The tokens along the columns of a map.
    pub fn keys(&self, kind: Kind) -> &Tokens {
        match kind {
            Kind::Encoder | Kind::Cross => &self.source,
            Kind::Decoder => &self.target,
        }
    }
}

/// What [`Item::grids`] calls the target.
pub const TARGET: &str = "target";

/// Where a recording comes from, and what was found when it was checked.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Provenance {
    /// The model's name or folder.
    pub model: String,
    /// The model's family, such as `vaswani` or `bert`; empty for arrays.
    #[serde(default)]
    pub family: String,
    /// SHA-256 of the weights file or the hub's revision; empty when unknown.
    #[serde(default)]
    pub revision: String,
    /// The data type the weights were stored in.
    #[serde(default)]
    pub dtype: String,
    /// Whether dropout was off.
    #[serde(default)]
    pub mode: Mode,
    /// The program that wrote the recording.
    #[serde(alias = "attlas_version", deserialize_with = "writer_or_version")]
    pub writer: Writer,
    /// How the weights were obtained.
    pub method: Method,
    /// How many beams were asked for where texts were generated by a search; `None` where none were, or nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beams: Option<usize>,
    /// Plain remarks a reader must know: cut text, unnormalised rows, tokens out of the training range.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What was changed in the run on purpose, in order; empty for a plain run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit<Digest>>,
}

impl Provenance {
    /// Whether the weights of a layer were changed in the run.
    pub fn reweighed(&self, layer: &Layer) -> bool {
        let is_meant = |edit: &Edit<Digest>| {
            edit.reweighed().is_some_and(|heads| (heads.kind, heads.layer) == (layer.kind, layer.index))
        };
        layer.quantity == Quantity::Weight && self.edits.iter().any(is_meant)
    }

    /// How far a row's sum may be from 1: [`ROW_SUM_TOLERANCE`], or what the number format of imported weights leaves open,
    /// 2⁻⁸ of bfloat16.
    pub fn row_sum_tolerance(&self) -> f32 {
        match (self.method, self.dtype.as_str()) {
            (Method::Imported, "bf16") => 1.0 / 256.0,
            _ => ROW_SUM_TOLERANCE,
        }
    }

    /// All that a reader of the recording must know, one sentence each: what pictures, tables and pages repeat.
    pub fn remarks(&self) -> Vec<String> {
        self.edits.iter().map(Edit::sentence).chain(self.notes.iter().cloned()).collect()
    }
}

/// A program that writes recordings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Writer {
    /// The program's name, such as `attlas`.
    pub name: String,
    /// Its version; empty when it has none.
    #[serde(default)]
    pub version: String,
}

impl Writer {
    /// This version of attlas.
    pub fn attlas() -> Writer {
        Writer { name: "attlas".into(), version: env!("CARGO_PKG_VERSION").into() }
    }
}

/// The writer; version 1 said `attlas_version` instead, a text.
fn writer_or_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Writer, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a writer with name and version")]
    enum Written {
        By(Writer),
        Version(String),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::By(writer) => writer,
        Written::Version(version) => Writer { name: "attlas".into(), version },
    })
}

/// Whether the model ran with dropout off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Dropout off.
    Eval,
    /// Dropout on: weights are scaled and partly zero.
    Train,
    /// Not known (imported arrays).
    #[default]
    Unknown,
}

/// How the weights were obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Target given (teacher forcing), or no target: one forward pass.
    #[default]
    Forward,
    /// Target generated greedily.
    Greedy,
    /// Target generated by beam search; the maps are those of the best beam.
    Beam,
    /// Target generated by drawing each token at random.
    Sample,
    /// Arrays made elsewhere.
    Imported,
}

impl Recording {
    /// All that a reader of one text's maps of a kind must know, one sentence each: what is to be known of the recording, and where
    /// rows are tokens that were generated, of these.
    pub fn remarks_on(&self, item: usize, kind: Kind) -> Vec<String> {
        let of_target = self.items.get(item).filter(|_| kind != Kind::Encoder).map(Item::remarks);
        self.provenance.remarks().into_iter().chain(of_target.unwrap_or_default()).collect()
    }

    /// The layers of attention weights of one kind; where the model has several stacks of that kind, those of the first.
    pub fn layers_of(&self, kind: Kind) -> impl Iterator<Item = &Layer> {
        self.stored(Quantity::Weight, kind)
    }

    /// The layers of one kind whose numbers are `quantity`, of its first stack. Norms that are not there as numbers are
    /// those weights whose layers keep [`Trace::ValueNorms`]: weight × norm, nothing of size n × n is held.
    pub fn layers_in(&self, quantity: Quantity, kind: Kind) -> Vec<Cow<'_, Layer>> {
        let stored: Vec<Cow<'_, Layer>> = self.stored(quantity, kind).map(Cow::Borrowed).collect();
        match quantity {
            Quantity::Norm if stored.is_empty() => {
                self.layers_of(kind).filter_map(Layer::of_norms).map(Cow::Owned).collect()
            }
            _ => stored,
        }
    }

    fn stored(&self, quantity: Quantity, kind: Kind) -> impl Iterator<Item = &Layer> {
        let meant = move |layer: &&Layer| layer.kind == kind && layer.quantity == quantity;
        let stack = self.layers.iter().find(meant).map(|layer| &layer.stack);
        self.layers.iter().filter(meant).filter(move |layer| Some(&layer.stack) == stack)
    }

    /// The kinds whose weights were recorded, in the order of a forward pass.
    pub fn kinds(&self) -> Vec<Kind> {
        self.kinds_in(Quantity::Weight)
    }

    /// The kinds that have layers of `quantity`, in the order of a forward pass.
    pub fn kinds_in(&self, quantity: Quantity) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| !self.layers_in(quantity, *kind).is_empty()).collect()
    }

    /// The layer of [`layers_of`](Self::layers_of) with the true index `index`.
    ///
    /// # Errors
    /// [`Error::NoKind`] or [`Error::NoLayer`], which say what there is.
    pub fn layer(&self, kind: Kind, index: usize) -> Result<&Layer, Error> {
        let found = self.layers_of(kind).find(|layer| layer.index == index);
        found.ok_or_else(|| self.no_layer(Quantity::Weight, kind, index))
    }

    /// The layer of [`layers_in`](Self::layers_in) with the true index `index`.
    ///
    /// # Errors
    /// [`Error::NoKind`] or [`Error::NoLayer`], which say what there is.
    pub fn layer_in(&self, quantity: Quantity, kind: Kind, index: usize) -> Result<Cow<'_, Layer>, Error> {
        let found = self.layers_in(quantity, kind).into_iter().find(|layer| layer.index == index);
        found.ok_or_else(|| self.no_layer(quantity, kind, index))
    }

    /// Why there is no such layer.
    fn no_layer(&self, quantity: Quantity, kind: Kind, index: usize) -> Error {
        let indices: Vec<usize> = self.layers_in(quantity, kind).iter().map(|layer| layer.index).collect();
        if indices.is_empty() {
            return Error::NoKind { kind, available: self.available() };
        }
        let consecutive = indices.windows(2).all(|pair| pair[1].checked_sub(pair[0]) == Some(1));
        let available = match indices.as_slice() {
            [only] => format!("the only one is {only}"),
            [first, .., last] if consecutive => format!("there are {first} to {last}"),
            _ => format!("there are {}", indices.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
        };
        Error::NoLayer { kind, layer: index, available }
    }

    /// The kinds of attention that were recorded, or what there is instead.
    pub(crate) fn available(&self) -> String {
        const MOST: usize = 3;
        let kinds: Vec<&str> = self.kinds().into_iter().map(Kind::name).collect();
        if !kinds.is_empty() {
            return kinds.join(", ");
        }
        let mut others: Vec<String> = self.layers.iter().take(MOST).map(Layer::to_string).collect();
        if self.layers.len() > MOST {
            others.push(format!("{} more layers that are no attention weights", self.layers.len() - MOST));
        }
        others.join(", ")
    }

    /// The map of one head for one item of the batch; what it is computed from is read here.
    ///
    /// # Errors
    /// When the kind, layer, head or item does not exist; the error says which do. When the file cannot be read.
    pub fn map(&self, item: usize, kind: Kind, layer: usize, head: usize) -> Result<AttentionMap<'_>, Error> {
        self.map_of(self.layer(kind, layer)?, item, head)
    }

    /// The map of one head of a layer of this recording, of whatever stack and quantity.
    ///
    /// # Errors
    /// When the head or item does not exist; the error says which do. When the file cannot be read.
    pub fn map_of<'a>(&'a self, layer: &'a Layer, item: usize, head: usize) -> Result<AttentionMap<'a>, Error> {
        self.rows_of(layer, item, head, 0..layer.shape.n_queries)
    }

    /// The map of a head whose numbers were read before, by [`AttentionMap::into_numbers`].
    ///
    /// # Errors
    /// When the head or item does not exist, or the numbers are those of a map of another size.
    pub fn map_over<'a>(
        &'a self,
        layer: &'a Layer,
        item: usize,
        head: usize,
        numbers: &'a HeadNumbers,
    ) -> Result<AttentionMap<'a>, Error> {
        AttentionMap::over(layer, item, self.tokens_for(layer, item, head)?, head, numbers)
    }

    /// The weights of some queries, in rising order, over all keys; of the queries no others are read.
    /// Shape `[queries.len(), n_keys]`.
    ///
    /// # Errors
    /// As [`map_of`](Self::map_of).
    ///
    /// # Panics
    /// When a query is outside the map.
    pub fn some_rows(&self, layer: &Layer, item: usize, head: usize, queries: &[usize]) -> Result<Vec<f32>, Error> {
        AttentionMap::rows_read(layer, item, self.tokens_for(layer, item, head)?, head, queries)
    }

    /// The weights of few queries over few keys; nothing else of the map is read. Shape `[queries.len(), keys.len()]`.
    ///
    /// # Errors
    /// As [`map_of`](Self::map_of), and when a range reaches outside the map.
    pub fn few_weights(
        &self,
        layer: &Layer,
        item: usize,
        head: usize,
        queries: Range<usize>,
        keys: Range<usize>,
    ) -> Result<Vec<f32>, Error> {
        let tokens = self.tokens_for(layer, item, head)?;
        for (axis, range, n) in [("rows", &queries, layer.shape.n_queries), ("columns", &keys, layer.shape.n_keys)] {
            if range.start >= range.end || range.end > n {
                return Err(Error::OutsideMap { axis, range: range.clone(), kind: layer.kind, n });
            }
        }
        AttentionMap::few_read(layer, item, tokens, head, queries, keys)
    }

    /// As [`map_of`](Self::map_of), but of a dense map only `rows` are read, and may be asked for.
    pub(crate) fn rows_of<'a>(
        &'a self,
        layer: &'a Layer,
        item: usize,
        head: usize,
        rows: Range<usize>,
    ) -> Result<AttentionMap<'a>, Error> {
        AttentionMap::new(layer, item, self.tokens_for(layer, item, head)?, head, rows)
    }

    /// The tokens of a text of which a layer has such a head.
    fn tokens_for(&self, layer: &Layer, item: usize, head: usize) -> Result<&Item, Error> {
        layer.check_head(head)?;
        self.items.get(item).ok_or(Error::NoItem { item, n_items: self.items.len() })
    }
}
