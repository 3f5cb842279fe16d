//! Attention maps: recorded exactly, read piecewise, analysed and drawn.
//!
//! An attention map is not an n × n array. It is a *function* of queries, keys and one number per row:
//!
//! ```text
//! weight(q, k) = exp(score(q, k) − lse(q))
//! score(q, k)  = softcap(scale · Q[q]·K[k]) + bias(q, k),   −∞ where masked
//! ```
//!
//! A [`Recording`] keeps Q, K and the row's log-sum-exp; an [`AttentionMap`] answers for one head whatever
//! is asked of it: a row, a column, a tile, a pooled overview, or the whole map.
//!
//! Layers and heads count from 0 and are written `L3H7`. Rows are queries, columns are keys.

pub mod analysis;
pub mod arrays;
pub mod attention;
mod buffer;
mod error;
pub mod figure;
mod head;
mod map;
mod mask;
pub mod output;
mod pooled;
mod quantity;
pub mod recording;
pub mod regular_file;
pub mod safetensors_header;
mod scoring;
pub mod tensor_file;
mod tokens;

pub use buffer::{Buffer, Element, Memory, Numbers};
pub use error::{Error, Remedy};
pub use head::{HeadId, Kind};
pub use map::AttentionMap;
pub use mask::{Mask, MaskRow, MaskView};
pub use pooled::{Pooled, Pooling};
pub use quantity::Quantity;
pub use recording::{Factored, Item, Layer, Provenance, Recording, Trace, Traces, Weights, Writer};
pub use scoring::{Bias, Scoring, Visibility};
pub use tokens::{PatchGrid, Token, TokenRole, Tokens};
