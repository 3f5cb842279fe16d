//! A recording: everything one run says about its attention, as plain data.
//!
//! Models write it, analyses and pictures read it, neither sees the other. It is also the file format (`docs/format.md`).

mod check;
mod edits;
mod file;
mod validate;

pub use check::{LayerCheck, ROW_SUM_TOLERANCE};
pub use edits::{Digest, Edit, HeadOutput, Heads, NewWeights, Which};
pub(crate) use file::{write_f32, write_safetensors_header};
pub(crate) use validate::elements;

use serde::{Deserialize, Serialize};

use crate::attention::Shape;
use crate::{AttentionMap, Buffer, Error, Kind, PatchGrid, Scoring, Tokens};

/// The version of the file format this crate writes; it reads this one and older ones.
pub const FORMAT_VERSION: u32 = 1;

/// One run of a model over a batch of texts, or arrays brought from elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The texts of the batch.
    pub items: Vec<Item>,
    /// The attention layers, encoder before decoder before cross, each in the model's order.
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
}

impl Item {
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

/// One layer's attention over the whole batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The kind of attention.
    pub kind: Kind,
    /// The layer's true index in its stack of the model, counted from 0; not every layer of a hybrid model attends.
    pub index: usize,
    /// The sizes of one item's map; `n_queries` and `n_keys` are padded lengths.
    pub shape: Shape,
    /// The weights, or what they are computed from.
    pub weights: Weights,
    /// The value vectors, on request. Shape `[batch, n_kv_heads, n_keys, d_value]`.
    pub values: Option<Buffer>,
}

/// Attention weights: as a function, or as the dense array someone brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Weights {
    /// Weights as a function of queries, keys and one number per row.
    Factored {
        /// How scores are formed.
        scoring: Scoring,
        /// Rotary positions are already applied. Shape `[batch, n_heads, n_queries, d_head]`.
        queries: Buffer,
        /// Shape `[batch, n_kv_heads, n_keys, d_head]`.
        keys: Buffer,
        /// `ln Σ exp(score)`, sink included. Shape `[batch, n_heads, n_queries]`.
        lse: Buffer,
    },
    /// Dense weights. Shape `[batch, n_heads, n_queries, n_keys]`.
    Dense(Buffer),
}

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
    /// The version of attlas that made the recording.
    pub attlas_version: String,
    /// How the weights were obtained.
    pub method: Method,
    /// Plain remarks a reader must know: cut text, unnormalised rows, tokens out of the training range.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What was changed in the run on purpose, in order; empty for a plain run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit<Digest>>,
}

impl Provenance {
    /// All that a reader of the recording must know, one sentence each: what pictures, tables and pages repeat.
    pub fn remarks(&self) -> Vec<String> {
        self.edits.iter().map(Edit::sentence).chain(self.notes.iter().cloned()).collect()
    }
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
    /// Arrays made elsewhere.
    Imported,
}

impl Recording {
    /// The layers of one kind.
    pub fn layers_of(&self, kind: Kind) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(move |layer| layer.kind == kind)
    }

    /// The kinds that were recorded, in the order of a forward pass.
    pub fn kinds(&self) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| self.layers_of(*kind).next().is_some()).collect()
    }

    /// The layer with the true index `index`.
    ///
    /// # Errors
    /// [`Error::NoKind`] or [`Error::NoLayer`], which say what there is.
    pub fn layer(&self, kind: Kind, index: usize) -> Result<&Layer, Error> {
        if let Some(layer) = self.layers_of(kind).find(|layer| layer.index == index) {
            return Ok(layer);
        }
        let indices: Vec<usize> = self.layers_of(kind).map(|layer| layer.index).collect();
        if indices.is_empty() {
            let available: Vec<&str> = self.kinds().into_iter().map(Kind::name).collect();
            return Err(Error::NoKind { kind, available: available.join(", ") });
        }
        let consecutive = indices.windows(2).all(|pair| pair[1].checked_sub(pair[0]) == Some(1));
        let available = match indices.as_slice() {
            [only] => format!("the only one is {only}"),
            [first, .., last] if consecutive => format!("there are {first} to {last}"),
            _ => format!("there are {}", indices.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
        };
        Err(Error::NoLayer { kind, layer: index, available })
    }

    /// The map of one head for one item of the batch.
    ///
    /// # Errors
    /// When the kind, layer, head or item does not exist; the error says which do.
    pub fn map(&self, item: usize, kind: Kind, layer: usize, head: usize) -> Result<AttentionMap<'_>, Error> {
        let layer = self.layer(kind, layer)?;
        if head >= layer.shape.n_heads {
            let last = layer.shape.n_heads.saturating_sub(1);
            return Err(Error::NoHead { kind, layer: layer.index, head, last });
        }
        let tokens = self.items.get(item).ok_or(Error::NoItem { item, n_items: self.items.len() })?;
        Ok(AttentionMap::new(layer, item, tokens, head))
    }
}
