//! One plan of a pass, as plain data: what is kept of it and what is changed in it.

use attlas::Kind;
use attlas::recording::{Digest, Edit};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A dense array of f32, row-major.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Array {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// The numbers, row-major: as many as the product of `shape`.
    pub values: Vec<f32>,
}

impl Array {
    /// What is written down of the numbers where they are too many to repeat.
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        self.values.iter().for_each(|value| hash.update(value.to_le_bytes()));
        Digest { shape: self.shape.clone(), sha256: hex(&hash.finalize()) }
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A place in the Transformer whose numbers can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Site {
    /// The attention of every head, as a recording.
    Attention,
    /// The value vectors, as a trace of the recording's layers; kept only together with [`Site::Attention`].
    Values,
    /// The logits of the readout; [`Run::logits`](crate::Run::logits) gives their shape.
    Logits,
    /// The residual stream that enters each layer, and after the last layer, final norm applied, what leaves the
    /// stack. Shape of each `[batch, n, d_model]`.
    Stream,
    /// The queries, rotary positions applied. Shape `[batch, n_heads, n_queries, d_head]`.
    Queries,
    /// The keys, rotary positions applied. Shape `[batch, n_kv_heads, n_keys, d_head]`.
    Keys,
    /// What heads give before the output projection, `Σ_k w(q, k) · V[k]`. Shape `[batch, n_heads, n_queries, d_value]`.
    HeadOutputs,
    /// The share of each expert in a token's feed-forward, 0 of those that it does not go through; of layers that have experts, under
    /// their stack's kind. Together with [`Site::Attention`] a trace of the recording's layers, too. Shape `[batch, n, n_experts]`.
    Router,
    /// The scores before the softmax, −∞ where a key is not visible. Shape `[batch, n_heads, n_queries, n_keys]`.
    Scores,
}

/// A site that is kept, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Keep {
    /// The site.
    pub site: Site,
    /// The kind of attention, or for the stream its stack's; every kind when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The layers, for sites that each layer has; every layer when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<usize>>,
}

/// What a pass keeps and changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pass {
    /// The sites that are kept, each with the kinds and layers it is kept at.
    pub keep: Vec<Keep>,
    /// What is changed. Changes of one site follow each other in this order; a change of weights comes before one of
    /// outputs, as in the pass itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit<Array>>,
}

impl Default for Pass {
    fn default() -> Pass {
        Pass::keeping([Site::Attention])
    }
}

impl Pass {
    /// Keeps these sites wherever they are, and changes nothing.
    pub fn keeping<const N: usize>(sites: [Site; N]) -> Pass {
        let keep = sites.into_iter().map(|site| Keep { site, kind: None, layers: None }).collect();
        Pass { keep, edits: Vec::new() }
    }

    /// SHA-256 of the plan, so that results can be found again by it.
    pub fn digest(&self) -> String {
        let edits: Vec<Edit<Digest>> = self.edits.iter().map(|edit| edit.map(Array::digest)).collect();
        // plain structs of numbers and names: they always have a JSON form
        let json = serde_json::to_vec(&(&self.keep, edits)).unwrap_or_default();
        hex(&Sha256::digest(json))
    }

    /// Whether a site is kept anywhere.
    pub(crate) fn keeps(&self, site: Site) -> bool {
        self.keep.iter().any(|keep| keep.site == site)
    }

    /// Whether a site is kept at a layer.
    pub(crate) fn keeps_at(&self, site: Site, kind: Kind, layer: usize) -> bool {
        let is_meant = |keep: &Keep| {
            keep.site == site
                && keep.kind.is_none_or(|wanted| wanted == kind)
                && keep.layers.as_ref().is_none_or(|layers| layers.contains(&layer))
        };
        self.keep.iter().any(is_meant)
    }

    /// Whether something is kept that only a pass over the whole text gives.
    pub(crate) fn needs_whole_pass(&self) -> bool {
        self.keep.iter().any(|keep| !matches!(keep.site, Site::Attention | Site::Values | Site::Logits))
    }

    /// Whether weights of a layer are changed.
    pub(crate) fn reweighs(&self, kind: Kind, layer: usize) -> bool {
        self.edits.iter().filter_map(Edit::reweighed).any(|heads| (heads.kind, heads.layer) == (kind, layer))
    }
}

/// The plan, as one of the passes of a run follows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// The whole plan.
    pub pass: &'a Pass,
    /// What else this pass is for.
    pub purpose: Purpose,
    /// The text that all items of the batch are of; each item its own when `None`.
    pub text: Option<usize>,
}

/// What a pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To keep what the plan says, of the whole text at once.
    Whole,
    /// To keep the attention that the plan says, step by step.
    RecordedSteps,
    /// To find the next token; nothing is kept.
    Steps,
}

/// What is kept of the parts of one attention layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Queries, with each row's log-sum-exp.
    pub queries: bool,
    /// Keys.
    pub keys: bool,
    /// Values.
    pub values: bool,
    /// Outputs of heads.
    pub outputs: bool,
    /// Shares of experts.
    pub router: bool,
    /// What a recorded layer is made of.
    pub recorded: bool,
}

impl Plan<'_> {
    /// The number, in the batch of the run, of the text that item `item` of this pass is of.
    pub fn text(&self, item: usize) -> usize {
        self.text.unwrap_or(item)
    }

    /// What is kept of one attention layer. Keys and values of a decoder's steps are kept for the next step.
    pub fn parts(&self, kind: Kind, layer: usize) -> Parts {
        let attention = self.purpose != Purpose::Steps && self.pass.keeps_at(Site::Attention, kind, layer);
        let values = attention && self.pass.keeps_at(Site::Values, kind, layer);
        let steps = self.purpose != Purpose::Whole && kind != Kind::Encoder;
        let whole = |site: Site| self.purpose == Purpose::Whole && self.pass.keeps_at(site, kind, layer);
        let scores = whole(Site::Scores);
        Parts {
            queries: attention || scores || whole(Site::Queries),
            keys: attention || scores || steps || whole(Site::Keys),
            values: values || steps,
            outputs: whole(Site::HeadOutputs),
            router: whole(Site::Router),
            recorded: attention,
        }
    }

    /// Whether the recording alone wants a layer's queries and keys.
    pub fn only_records(&self, kind: Kind, layer: usize) -> bool {
        let others = [Site::Queries, Site::Keys, Site::Scores];
        let is_recorded = self.purpose == Purpose::Whole && self.pass.keeps_at(Site::Attention, kind, layer);
        is_recorded
            && !self.pass.reweighs(kind, layer)
            && !others.into_iter().any(|site| self.pass.keeps_at(site, kind, layer))
    }

    /// Whether hidden states of a stack are kept.
    pub fn keeps_stream(&self, stack: Kind) -> bool {
        let is_meant = |keep: &Keep| keep.site == Site::Stream && keep.kind.is_none_or(|kind| kind == stack);
        self.purpose == Purpose::Whole && self.pass.keep.iter().any(is_meant)
    }
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A block of a stack is about to be computed.
    Block {
        /// The stack's kind of self-attention.
        stack: Kind,
        /// The block's index.
        layer: usize,
        /// How many the stack has.
        n_layers: usize,
    },
    /// A token was generated.
    Token {
        /// The text of the batch.
        item: usize,
        /// How many tokens there are now, the prompt left out.
        n_tokens: usize,
    },
}

/// What a callback answers to progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    Continue,
    /// Stop.
    Stop,
}

/// Whom a run tells where it is.
pub(crate) type Watch<'w> = dyn FnMut(Progress) -> Next + 'w;

/// A run that was stopped by its callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

/// Tells the callback, and stops if it says so.
pub(crate) fn tell(watch: &mut Watch<'_>, progress: Progress) -> Result<(), Stopped> {
    if watch(progress) == Next::Stop { Err(Stopped) } else { Ok(()) }
}
