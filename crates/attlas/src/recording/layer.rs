//! One layer's attention over the batch: its weights or what they are computed from, and what is kept beside them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Item, TARGET};
use crate::attention::Shape;
use crate::{Buffer, Error, Kind, Mask, Numbers, PatchGrid, Quantity, Scoring, Stored, Tokens};

/// One layer's attention over the whole batch, or a map of the same form that stands beside it.
///
/// A layer is told from others by its kind, stack, index and quantity.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The kind of attention.
    pub kind: Kind,
    /// The stack of the model, where it has several of a kind: `vision`, `text`.
    pub stack: Option<String>,
    /// The layer's true index in its stack of the model, counted from 0; not every layer of a hybrid model attends.
    pub index: usize,
    /// What the numbers are; all but attention weights are dense.
    pub quantity: Quantity,
    /// The sizes of one item's map; `n_queries` and `n_keys` are padded lengths.
    pub shape: Shape,
    /// The axis of the items ([`Item::axes`]) that the rows are; that of the kind when `None`.
    pub query_axis: Option<String>,
    /// The axis of the items that the columns are; that of the kind when `None`.
    pub key_axis: Option<String>,
    /// The position of query 0 among the keys, where the numbers are dense; a rule's is in its [`Scoring`].
    pub query_offset: usize,
    /// The numbers, or what they are computed from.
    pub weights: Weights,
    /// What was kept beside the weights, on request.
    pub traces: Traces,
}

impl Layer {
    /// Attention weights on the axes of their kind, with nothing beside them.
    pub fn new(kind: Kind, index: usize, shape: Shape, weights: impl Into<Weights>) -> Layer {
        Layer {
            kind,
            stack: None,
            index,
            quantity: Quantity::Weight,
            shape,
            query_axis: None,
            key_axis: None,
            query_offset: 0,
            weights: weights.into(),
            traces: Traces::default(),
        }
    }

    /// The tokens along the rows of the layer's maps of `item`; none where the item lacks the axis.
    pub fn query_tokens<'a>(&self, item: &'a Item) -> &'a Tokens {
        match &self.query_axis {
            None => item.queries(self.kind),
            Some(name) => item.axes.get(name).unwrap_or(&NO_TOKENS),
        }
    }

    /// The tokens along the columns of the layer's maps of `item`; none where the item lacks the axis.
    pub fn key_tokens<'a>(&self, item: &'a Item) -> &'a Tokens {
        match &self.key_axis {
            None => item.keys(self.kind),
            Some(name) => item.axes.get(name).unwrap_or(&NO_TOKENS),
        }
    }

    /// The images whose patches are along the rows of the layer's maps of `item`.
    pub fn query_images<'a>(&self, item: &'a Item) -> &'a [PatchGrid] {
        images(&self.query_axis, self.kind != Kind::Encoder, item)
    }

    /// The images whose patches are along the columns of the layer's maps of `item`.
    pub fn key_images<'a>(&self, item: &'a Item) -> &'a [PatchGrid] {
        images(&self.key_axis, self.kind == Kind::Decoder, item)
    }

    /// The position of query 0 among the keys: 0 when both start together.
    pub fn first_position(&self) -> usize {
        self.factored().map_or(self.query_offset, |factored| factored.scoring.query_offset)
    }

    /// The layer of norms, weight × length of the value behind the head's output projection (Kobayashi et al. 2020), that
    /// a layer of weights which keeps [`Trace::ValueNorms`] is as well; `None` of any other.
    ///
    /// It shares all numbers with the layer of weights, and is made to be looked at: a recording keeps the weights.
    pub fn of_norms(&self) -> Option<Layer> {
        let norms = self.traces.get(Trace::ValueNorms).filter(|_| self.quantity == Quantity::Weight)?;
        let traces = [(Trace::ValueNorms, norms.clone())].into_iter().collect();
        Some(Layer { quantity: Quantity::Norm, traces, ..self.clone() })
    }

    /// Refuses a head that the layer does not have, and says which it has.
    pub(crate) fn check_head(&self, head: usize) -> Result<(), Error> {
        let last = self.shape.n_heads.saturating_sub(1);
        match head < self.shape.n_heads {
            true => Ok(()),
            false => Err(Error::NoHead { kind: self.kind, layer: self.index, head, last }),
        }
    }

    /// What the weights are computed from, where they are not dense.
    pub fn factored(&self) -> Option<&Factored> {
        match &self.weights {
            Weights::Factored(factored) => Some(factored),
            Weights::Dense(_) => None,
        }
    }
}

/// What an error calls the layer: `vision encoder layer 3`, `decoder layer 0 (norm of weight × value)`.
impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(stack) = &self.stack {
            write!(f, "{stack} ")?;
        }
        write!(f, "{} layer {}", self.kind, self.index)?;
        match self.quantity {
            Quantity::Weight => Ok(()),
            quantity => write!(f, " ({quantity})"),
        }
    }
}

static NO_TOKENS: Tokens = Tokens { text: String::new(), tokens: Vec::new() };

/// The images along an axis of a name, along the target, or along the source.
fn images<'a>(axis: &Option<String>, is_target: bool, item: &'a Item) -> &'a [PatchGrid] {
    let name = axis.as_deref().or(is_target.then_some(TARGET));
    match name {
        Some(name) => item.grids.get(name).map_or(&[], Vec::as_slice),
        None => item.image.as_slice(),
    }
}

/// A layer's numbers: as a function, or as a dense array.
#[derive(Debug, Clone, PartialEq)]
pub enum Weights {
    /// Attention weights as a function of queries, keys and one number per row.
    Factored(Box<Factored>),
    /// Numbers of any [`Quantity`]. Shape `[batch, n_heads, n_queries, n_keys]`.
    Dense(Stored),
}

/// Attention weights as a function of queries, keys and one number per row.
#[derive(Debug, Clone, PartialEq)]
pub struct Factored {
    /// How scores are formed.
    pub scoring: Scoring,
    /// Rotary positions are already applied. Shape `[batch, n_heads, n_queries, d_head]`.
    pub queries: Numbers,
    /// Shape `[batch, n_kv_heads, n_keys, d_head]`.
    pub keys: Numbers,
    /// `ln Σ exp(score)`, sink included; −∞, or the sink where there is one, for a query that sees no key.
    /// Shape `[batch, n_heads, n_queries]`.
    pub lse: Stored<f64>,
    /// Which keys are seen of those that the scoring's band lets through; all when `None`.
    pub mask: Option<Mask>,
    /// Added to the scores of each key, the same for all queries. Shape `[batch or 1, n_heads, n_keys]`.
    pub key_bias: Option<Buffer>,
}

impl From<Factored> for Weights {
    fn from(factored: Factored) -> Weights {
        Weights::Factored(Box::new(factored))
    }
}

impl From<Buffer> for Weights {
    fn from(dense: Buffer) -> Weights {
        Weights::Dense(dense.into())
    }
}

/// What can be kept beside a layer's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trace {
    /// The value vectors. Shape `[batch, n_kv_heads, n_keys, d_value]`.
    Values,
    /// `Σ_k w(q, k) · V[k]`: what each head gives, before the output projection.
    /// Shape `[batch, n_heads, n_queries, d_value]`.
    HeadOutputs,
    /// The residual stream that the layer read. Shape `[batch, n_queries, width]`.
    Stream,
    /// `‖f(x_k)‖`, the length of each value vector after the head's output projection (Kobayashi et al. 2020).
    /// Shape `[batch, n_heads, n_keys]`.
    ValueNorms,
    /// The share of each expert in the feed-forward that follows on the layer, 0 of those that a token does not go through.
    /// Shape `[batch, n_queries, n_experts]`.
    Router,
}

impl Trace {
    /// All traces, in the order in which a file holds them.
    pub const ALL: [Trace; 5] = [Trace::Values, Trace::HeadOutputs, Trace::Stream, Trace::ValueNorms, Trace::Router];

    /// The name in files: `values`, `head_outputs`, `stream`, `value_norms`, `router`.
    pub fn name(self) -> &'static str {
        match self {
            Trace::Values => "values",
            Trace::HeadOutputs => "head_outputs",
            Trace::Stream => "stream",
            Trace::ValueNorms => "value_norms",
            Trace::Router => "router",
        }
    }

    /// The trace's shape in a layer of a batch of `n_items`; `width` is that of a [`Stream`](Trace::Stream), or
    /// the number of experts.
    pub fn shape(self, n_items: usize, shape: &Shape, width: usize) -> Vec<usize> {
        match self {
            Trace::Values => vec![n_items, shape.n_kv_heads, shape.n_keys, shape.d_value],
            Trace::HeadOutputs => vec![n_items, shape.n_heads, shape.n_queries, shape.d_value],
            Trace::Stream | Trace::Router => vec![n_items, shape.n_queries, width],
            Trace::ValueNorms => vec![n_items, shape.n_heads, shape.n_keys],
        }
    }
}

/// What was kept beside a layer's weights, by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Traces(BTreeMap<Trace, Numbers>);

impl Traces {
    /// The numbers of `trace`, where they were kept; its shape is said at [`Trace`].
    pub fn get(&self, trace: Trace) -> Option<&Numbers> {
        self.0.get(&trace)
    }

    /// Keeps the numbers of `trace`.
    pub fn insert(&mut self, trace: Trace, numbers: impl Into<Numbers>) {
        self.0.insert(trace, numbers.into());
    }

    /// All that was kept, in a file's order.
    pub fn iter(&self) -> impl Iterator<Item = (Trace, &Numbers)> {
        self.0.iter().map(|(trace, numbers)| (*trace, numbers))
    }

    /// Whether nothing was kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Trace, Numbers)> for Traces {
    fn from_iter<I: IntoIterator<Item = (Trace, Numbers)>>(traces: I) -> Traces {
        Traces(traces.into_iter().collect())
    }
}
