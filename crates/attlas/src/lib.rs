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
//!
//! A [`View`] is a map as it is shown, and draws itself:
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use attlas::arrays::{Array, ImportOptions, import};
//! use attlas::{Head, Kind, Tokens, View};
//!
//! // weights computed elsewhere, [layers, heads, queries, keys]; `attlas_model` runs models and records them
//! let array = Array::numbers(vec![3, 5, 2, 2], [0.9, 0.1, 0.2, 0.8].repeat(3 * 5));
//! let tokens = |words: [&str; 2]| Some(vec![Tokens::from_labels(words)]);
//! let options = ImportOptions {
//!     source_tokens: tokens(["The", "cat"]),
//!     target_tokens: tokens(["Le", "chat"]),
//!     ..ImportOptions::default()
//! };
//! let recording = import(BTreeMap::from([("decoder_cross".to_owned(), array)]), &options)?;
//!
//! let view = View::of(&recording, Kind::Cross, 2, Head::One(4))?;
//! assert!(view.map().to_svg().contains("L2H4"));
//! # Ok::<(), attlas::Error>(())
//! ```

pub mod analysis;
pub mod arrays;
pub mod attention;
mod buffer;
pub mod conllu;
mod error;
pub mod figure;
mod grid;
mod head;
mod map;
mod mask;
pub mod output;
pub mod place;
mod pooled;
pub mod printable;
pub mod quantity;
pub mod recording;
pub mod regular_file;
pub mod safetensors_header;
mod scoring;
mod split_mix;
mod stored;
pub mod survey;
pub mod tensor_file;
mod tokens;
pub mod view;

pub use buffer::{Buffer, Element, Memory};
pub use error::{Error, Remedy};
pub use grid::{Grid, Hidden, RowTokens};
pub use head::{HeadId, Kind};
pub use map::{AttentionMap, HeadNumbers};
pub use mask::{Mask, MaskRow, MaskView};
pub use pooled::{Pooled, Pooling};
pub use quantity::Quantity;
pub use recording::{Factored, Item, Layer, Provenance, Recording, Trace, Traces, Weights, Writer};
pub use scoring::{Bias, Scoring, Visibility};
pub use split_mix::SplitMix64;
pub use stored::{Numbers, Stored};
pub use tokens::{PatchGrid, Token, TokenRole, Tokens};
pub use view::{Head, View, ViewOptions};
