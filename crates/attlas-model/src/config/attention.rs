//! What can differ between attention layers.

use std::sync::Arc;

use attlas::{Bias, Scoring, Visibility};
use half::bf16;

use super::{Disentangled, Norm};

/// One attention layer.
#[derive(Debug, Clone)]
pub struct Attention {
    /// Query heads.
    pub n_heads: usize,
    /// Key–value heads.
    pub n_kv_heads: usize,
    /// Width of a head's queries and keys.
    pub d_head: usize,
    /// Width of a head's values.
    pub d_value: usize,
    /// Factor on the dot product.
    pub scale: f32,
    /// `c · tanh(score / c)`.
    pub softcap: Option<f32>,
    /// Which keys a query may look at.
    pub visibility: Visibility,
    /// Sides of the squares of patches, in patches, whose patches see each other alone (Qwen2.5-VL).
    pub window: Option<usize>,
    /// Added to the score by relative position.
    pub bias: PositionBias,
    /// Added to the score by content and relative position.
    pub disentangled: Option<Disentangled>,
    /// Added to the score by more than content and one distance.
    pub added: Option<AddedScores>,
    /// Queries and keys turned by their position (Su et al. 2021).
    pub rotary: Option<Rotary>,
    /// Norms on queries and keys.
    pub qk_norm: Option<QkNorm>,
    /// Queries, keys and values come from narrower states.
    pub latent: Option<Latent>,
    /// Whether each column of what heads give is multiplied by the sigmoid of a number that the query's state says (Qwen 3 Next).
    pub gated: bool,
    /// Queries, keys and values are cut to ± this (OLMo).
    pub clip: Option<f32>,
    /// Whether each head has a learnt score that takes weight to nowhere (GPT-OSS).
    pub sinks: bool,
    /// Which projections have biases.
    pub biases: Biases,
}

/// Which projections of an attention layer have biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Biases {
    /// Query and value projection.
    pub query_value: bool,
    /// Key projection (Whisper has none there).
    pub key: bool,
    /// Output projection.
    pub output: bool,
}

impl Biases {
    /// All projections have biases.
    pub const ALL: Biases = Biases { query_value: true, key: true, output: true };
    /// No projection has.
    pub const NONE: Biases = Biases { query_value: false, key: false, output: false };
    /// Queries, keys and values have, the output has none (Qwen 2).
    pub const QKV: Biases = Biases { query_value: true, key: true, output: false };
    /// Only the output has (GPT-Neo).
    pub const OUTPUT: Biases = Biases { query_value: false, key: false, output: true };
}

/// A bias that depends on head and position.
#[derive(Debug, Clone, PartialEq)]
pub enum PositionBias {
    /// None.
    None,
    /// `slope[head] · (key − query)`. Shape `[n_heads]`.
    Alibi(Vec<f32>),
    /// `scale · slope[head] · key`, where slope, position of the key and their product are rounded to bf16: ALiBi of a
    /// model whose table is made in that type. The rounding makes it a bias of the key, no more one of the distance.
    /// Shape `[n_heads]`.
    AlibiInBf16(Vec<f32>),
    /// `−slope[head] · |key − query|`: ALiBi of encoders, whose keys stand on both sides.
    AlibiBothWays {
        /// Shape `[n_heads]`.
        slopes: Vec<f32>,
        /// The largest distance there is.
        reach: usize,
    },
    /// A learnt number per head and bucket of distances (Raffel et al. 2020); one table serves the whole stack.
    Buckets {
        /// Rows of the table.
        n_buckets: usize,
        /// Distances from here on share the last bucket.
        max_distance: usize,
        /// Whether later keys have buckets of their own.
        directions: Directions,
    },
}

/// Scores that are no function of queries, keys and one distance, and that are added to those that are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddedScores {
    /// A learnt number per head for each way from patch to patch, by rows and columns, and for each way from or to the one row before them
    /// (BEiT).
    Ways {
        /// Patches from top to bottom and from left to right.
        grid: [usize; 2],
        /// Whether all layers have one table.
        shared: bool,
    },
    /// A learnt number per head and bucket of distances, which all layers share, times a number that the query's hidden state gives
    /// (WavLM).
    Gated {
        /// Rows of the table.
        n_buckets: usize,
        /// Distances from here on share the last bucket.
        max_distance: usize,
    },
}

impl AddedScores {
    /// Rows of a table of ways over so many patches: by rows and columns, to the row before the patches, from it, and from it to itself.
    pub fn n_ways(grid: [usize; 2]) -> usize {
        grid.iter().map(|n| 2 * n - 1).product::<usize>() + 3
    }
}

/// Which directions a bucketed bias tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directions {
    /// Earlier and later keys (encoders).
    Both,
    /// Earlier keys only (causal decoders).
    Backward,
}

/// Queries, keys and values from narrower states, each behind a norm (multi-head latent attention, DeepSeek-AI 2024, §2.1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latent {
    /// Width of the state that queries come from; `None` where they come from the hidden state itself.
    pub query_width: Option<usize>,
    /// Width of the state that keys and values come from.
    pub key_value_width: usize,
    /// The last columns of a head's keys, which all heads share and which come from the hidden state itself.
    pub n_shared: usize,
    /// The norm on the narrower states.
    pub norm: Norm,
}

/// Rotary positions.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotary {
    /// The first column of a head that is turned.
    pub first_column: usize,
    /// How many columns of each head are turned; the others pass.
    pub n_columns: usize,
    /// Which columns form a pair.
    pub pairs: Pairs,
    /// How fast each pair turns.
    pub frequencies: Frequencies,
    /// How many pairs turn by each of a token's three positions, in time, from top to bottom and from left to right, where images
    /// stand among words (M-RoPE, Wang et al. 2024, §2.1); `None` where all turn by one.
    pub sections: Option<[usize; 3]>,
}

impl Rotary {
    /// Whether it is a patch's place in its image that turns, and not its position among all rows.
    pub fn is_by_place(&self) -> bool {
        matches!(self.frequencies, Frequencies::ByPlace { .. })
    }
}

/// Which two columns of a head turn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairs {
    /// Column `i` with column `i + n/2` (Llama as transformers stores it).
    Halves,
    /// Column `2i` with column `2i + 1` (GPT-J).
    Neighbours,
}

/// Angles per position, one per pair.
#[derive(Debug, Clone, PartialEq)]
pub enum Frequencies {
    /// The same at every length. Shape `[n_columns / 2]`.
    Fixed {
        /// Radians per position. Shape `[n_columns / 2]`.
        per_pair: Vec<f32>,
        /// Factor on sine and cosine.
        factor: f32,
    },
    /// Other frequencies once the text is longer than `threshold` tokens (Phi-3's long context).
    ByLength {
        /// Up to the threshold. Shape `[n_columns / 2]`.
        short: Vec<f32>,
        /// Beyond it. Shape `[n_columns / 2]`.
        long: Vec<f32>,
        /// The longest text, in tokens, that has the short frequencies.
        threshold: usize,
        /// Factor on sine and cosine.
        factor: f32,
    },
    /// By the place of a patch in its image: the angles of its row, then those of its column. Rows before the patches stay
    /// as they are (DINOv3).
    ByPlace {
        /// Radians for each unit of the scale. Shape `[n_columns / 4]`.
        per_axis: Vec<f32>,
        /// What a patch's row and column are counted in.
        scale: PlaceScale,
    },
    /// A table of sines and cosines for so many positions: the one that is stored, or else the one that the model's class makes,
    /// `10000^(−2i / n_columns)` without rounding (RoFormer).
    Table {
        /// Rows of the table.
        n_positions: usize,
        /// What is stored of it: of each position the sines of all pairs, then their cosines. Shape `[n_positions, n_columns]`.
        stored: Option<Arc<Vec<f32>>>,
    },
    /// Base grows with the text once it is longer than the model was trained for (NTK-aware).
    Dynamic {
        /// The base at training length.
        base: f64,
        /// How much longer than trained.
        factor: f64,
        /// Tokens it was trained for.
        threshold: usize,
    },
}

/// What the place of a patch in its image is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceScale {
    /// From −1 to 1 across the image, at the patch's middle (DINOv3).
    Image,
    /// In patches, from 0 (Qwen2-VL).
    Patches,
}

/// Norms on queries and keys, before rotary positions or after them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QkNorm {
    /// Which norm it is, with its epsilon.
    pub norm: Norm,
    /// What is normalised together.
    pub scope: QkScope,
}

/// What a query–key norm normalises together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkScope {
    /// Each head, with the same weights (Qwen 3, Gemma 3).
    Head,
    /// Each head, with weights of its own (StableLM 2).
    OwnHead,
    /// All heads together (OLMo 2).
    All,
    /// Each head, with the same weights, after it was turned by its position (Hunyuan).
    Turned,
}

/// A bias that falls with the distance on both sides, up to the largest distance. Shape of `slopes`: `[n_heads]`.
pub(crate) fn alibi_both_ways(slopes: &[f32], reach: usize) -> Bias {
    let distances = || (0..=2 * reach).map(|column| column.abs_diff(reach) as f32);
    let table = slopes.iter().flat_map(|slope| distances().map(move |distance| -slope * distance)).collect();
    Bias::Relative { first: -i64::try_from(reach).unwrap_or(i64::MAX), table, n_offsets: 2 * reach + 1 }
}

impl Attention {
    /// Plain multi-head attention: `1/√d_head`, biases everywhere, nothing else.
    pub fn plain(n_heads: usize, d_head: usize, visibility: Visibility) -> Attention {
        Attention {
            n_heads,
            n_kv_heads: n_heads,
            d_head,
            d_value: d_head,
            scale: 1.0 / (d_head as f32).sqrt(),
            softcap: None,
            visibility,
            window: None,
            bias: PositionBias::None,
            disentangled: None,
            added: None,
            rotary: None,
            qk_norm: None,
            latent: None,
            gated: false,
            clip: None,
            sinks: false,
            biases: Biases::ALL,
        }
    }

    /// The bias of each key, where there is one. `valid` says which keys are not padding, which counts no position; `starts`
    /// where texts begin, each of which counts its positions from 0, where an item is several. Shape
    /// `[n_items, n_heads, n_keys]`, with one item for all where `valid` is `None`.
    pub(crate) fn key_bias(&self, valid: Option<&[bool]>, starts: &[usize], n_keys: usize) -> Option<Vec<f32>> {
        let PositionBias::AlibiInBf16(slopes) = &self.bias else { return None };
        let every = vec![true; n_keys]; // [n_keys]
        let rounded = |number: f32| bf16::from_f32(number).to_f32();
        let of_item = |valid: &[bool]| -> Vec<f32> {
            let mut next = 0_usize;
            let position = |(key, valid): (usize, &bool)| {
                next = if starts.contains(&key) { 0 } else { next };
                let position = if *valid { next } else { 0 };
                next += usize::from(*valid);
                rounded(position as f32)
            };
            let positions: Vec<f32> = valid.iter().enumerate().map(position).collect(); // [n_keys]
            let bias = |slope: f32| positions.iter().map(move |key| self.scale * rounded(slope * key));
            slopes.iter().flat_map(|slope| bias(rounded(*slope))).collect()
        };
        Some(valid.unwrap_or(&every).chunks_exact(n_keys.max(1)).flat_map(of_item).collect())
    }

    /// How scores are formed, for a recording of texts of at most `n_keys` tokens: no longer table than they need.
    pub(crate) fn recorded_scoring(&self, scoring: &Scoring, n_keys: usize) -> Scoring {
        match &self.bias {
            PositionBias::AlibiBothWays { slopes, reach } => {
                let bias = alibi_both_ways(slopes, n_keys.saturating_sub(1).min(*reach));
                Scoring { bias, ..scoring.clone() }
            }
            _ => scoring.clone(),
        }
    }

    /// One item's share of what [`key_bias`](Attention::key_bias) gave. Shape `[n_heads, n_keys]`.
    pub(crate) fn key_bias_of<'a>(&self, bias: &'a [f32], item: usize, n_keys: usize) -> Option<&'a [f32]> {
        bias.chunks_exact((self.n_heads * n_keys).max(1)).cycle().nth(item)
    }

    /// Why weights are no function of queries, keys and the scoring of a recording, where they are not.
    pub(crate) fn why_dense(&self) -> Option<&'static str> {
        match (self.disentangled, self.added) {
            (Some(_), _) => Some("scores content and distance together"),
            (None, Some(AddedScores::Ways { .. })) => {
                Some("adds a number to the score for each way from patch to patch")
            }
            (None, Some(AddedScores::Gated { .. })) => {
                Some("adds distances to the score that its content opens and shuts")
            }
            (None, None) => None,
        }
    }

    /// Why no gradients go back through the scores, where none do.
    pub(crate) fn why_no_gradients(&self) -> Option<&'static str> {
        // ways from patch to patch are numbers beside products
        self.why_dense().filter(|_| !matches!(self.added, Some(AddedScores::Ways { .. })))
    }

    /// Whether queries and keys are normalised after they were turned.
    pub(crate) fn is_normed_turned(&self) -> bool {
        self.qk_norm.is_some_and(|qk| qk.scope == QkScope::Turned)
    }

    /// Width of all query heads side by side.
    pub fn query_width(&self) -> usize {
        self.n_heads * self.d_head
    }

    /// Width of all key heads side by side.
    pub fn key_width(&self) -> usize {
        self.n_kv_heads * self.d_head
    }

    /// Width of all value heads side by side.
    pub fn value_width(&self) -> usize {
        self.n_kv_heads * self.d_value
    }

    /// Width of what all heads give, side by side.
    pub fn output_width(&self) -> usize {
        self.n_heads * self.d_value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alibi_in_bf16_rounds_slope_position_and_product() {
        // slopes of 24 heads; the values are those of build_alibi_tensor in transformers
        let slopes =
            |head: usize| 0.5_f32.powf(if head < 16 { (head + 1) as f32 / 2.0 } else { (head as f32 - 15.5) / 2.0 });
        let attention = Attention {
            bias: PositionBias::AlibiInBf16((0..24).map(slopes).collect()),
            scale: 1.0,
            ..Attention::plain(24, 2, Visibility::CAUSAL)
        };
        let bias = attention.key_bias(None, &[], 600).expect("a bias");
        let expected =
            [(0, 3, 2.125), (0, 257, 181.0), (0, 599, 424.0), (4, 333, 58.75), (16, 500, 420.0), (23, 599, 44.5)];
        for (head, key, value) in expected {
            assert_eq!(bias[head * 600 + key], value, "head {head} key {key}");
        }
    }

    #[test]
    fn padding_counts_no_position_in_alibi_and_each_text_of_several_counts_from_0() {
        let attention = Attention {
            bias: PositionBias::AlibiInBf16(vec![0.0625, 0.00390625]),
            scale: 1.0,
            ..Attention::plain(2, 2, Visibility::CAUSAL)
        };
        let valid = [true, false, true, true, false];
        let expected = [0.0, 0.0, 0.0625, 0.125, 0.0, 0.0, 0.0, 0.00390625, 0.0078125, 0.0];
        assert_eq!(attention.key_bias(Some(&valid), &[], 5).expect("a bias"), expected);
        let expected = [0.0, 0.0625, 0.0, 0.0625, 0.125, 0.0, 0.00390625, 0.0, 0.00390625, 0.0078125];
        assert_eq!(attention.key_bias(None, &[0, 2, 5], 5).expect("a bias"), expected);
    }
}
