//! How a query's score for a key comes about: everything about a layer's attention except Q and K.

use serde::{Deserialize, Serialize};

/// The rule `score(q, k) = softcap(scale · Q[q]·K[k]) + bias(q, k)`, −∞ where not visible.
///
/// It is the same for all heads of a layer, up to the per-head numbers in [`Scoring::bias`] and [`Scoring::sinks`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scoring {
    /// Factor on the dot product; `1/√d_head` in Vaswani et al. (2017), 1 in T5.
    pub scale: f64,
    /// `c` of `c · tanh(x / c)`, applied to the scaled dot product (Gemma 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softcap: Option<f64>,
    /// Which keys a query may look at, by position.
    #[serde(default)]
    pub visibility: Visibility,
    /// Added to the score, by relative position.
    #[serde(default, skip_serializing_if = "Bias::is_none")]
    pub bias: Bias,
    /// A learned score per head that competes with the keys and takes weight to nowhere (GPT-OSS). Shape `[n_heads]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sinks: Option<Vec<f32>>,
    /// The position of query 0 among the keys: 0 when both start together.
    #[serde(default)]
    pub query_offset: usize,
}

/// Which keys a query at position `p` may look at: `p − before ≤ k ≤ p + after`. `None` is no limit.
///
/// Bounds may be negative: with `after: Some(-1)` a query does not see itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Visibility {
    /// How many positions back; a causal sliding window of `w` keys is `before: Some(w − 1)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// How many positions ahead; `Some(0)` is causal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
}

impl Visibility {
    /// Every key.
    pub const FULL: Visibility = Visibility { before: None, after: None };
    /// The query's own position and earlier ones.
    pub const CAUSAL: Visibility = Visibility { before: None, after: Some(0) };

    /// The visible keys of the query at position `position`, clipped to `n_keys`; may be empty.
    pub fn keys(self, position: usize, n_keys: usize) -> std::ops::Range<usize> {
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        let inside = |key: i64| usize::try_from(key).unwrap_or(0).min(n_keys);
        let start = self.before.map_or(0, |before| inside(position.saturating_sub(before)));
        let end = self.after.map_or(n_keys, |after| inside(position.saturating_add(after).saturating_add(1)));
        start..end.max(start)
    }
}

/// A number added to the score, depending on head and on `offset = k − (q + query_offset)` only.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", from = "WrittenBias")]
pub enum Bias {
    /// Nothing is added.
    #[default]
    None,
    /// `slope[head] · offset` (ALiBi, Press et al. 2022); slopes have shape `[n_heads]`.
    Alibi {
        /// Shape `[n_heads]`.
        slopes: Vec<f32>,
    },
    /// `table[head][offset − first]`, clamped to the table's ends (T5, MPNet): one number per head and offset.
    Relative {
        /// The offset of the table's first column.
        first: i64,
        /// Shape `[n_heads, n_offsets]`; in a file it is a tensor of its own.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        table: Vec<f32>,
        /// Columns of the table.
        n_offsets: usize,
    },
}

/// [`Bias`] as it is read: serde lets a variant without fields have any, but not one with an empty list of them.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum WrittenBias {
    None {},
    Alibi {
        slopes: Vec<f32>,
    },
    Relative {
        first: i64,
        #[serde(default)]
        table: Vec<f32>,
        n_offsets: usize,
    },
}

impl From<WrittenBias> for Bias {
    fn from(written: WrittenBias) -> Bias {
        match written {
            WrittenBias::None {} => Bias::None,
            WrittenBias::Alibi { slopes } => Bias::Alibi { slopes },
            WrittenBias::Relative { first, table, n_offsets } => Bias::Relative { first, table, n_offsets },
        }
    }
}

impl Bias {
    /// Whether nothing is added.
    pub fn is_none(&self) -> bool {
        matches!(self, Bias::None)
    }

    /// The bias of `head` for a key `offset` positions after the query.
    pub fn value(&self, head: usize, offset: i64) -> f32 {
        match self {
            Bias::None => 0.0,
            Bias::Alibi { slopes } => slopes[head] * offset as f32,
            Bias::Relative { first, table, n_offsets } => table[place(*first, *n_offsets, head, offset)],
        }
    }

    /// Where in the table the number of `head` for a key `offset` positions after the query stands; `None` without a table.
    pub fn place(&self, head: usize, offset: i64) -> Option<usize> {
        let Bias::Relative { first, n_offsets, .. } = self else { return None };
        Some(place(*first, *n_offsets, head, offset))
    }
}

/// A place in a table of shape `[n_heads, n_offsets]`.
fn place(first: i64, n_offsets: usize, head: usize, offset: i64) -> usize {
    head * n_offsets + (offset - first).clamp(0, n_offsets as i64 - 1) as usize
}

impl Scoring {
    /// Plain scaled dot-product attention: `1/√d_head`, no bias, no cap, no sink.
    pub fn scaled_dot_product(d_head: usize, visibility: Visibility) -> Scoring {
        Scoring {
            scale: f64::from(1.0 / (d_head as f32).sqrt()), // as models compute it
            softcap: None,
            visibility,
            bias: Bias::None,
            sinks: None,
            query_offset: 0,
        }
    }

    /// The score of a visible key, from the plain dot product `Q[q]·K[k]`; a layer's bias per key comes on top.
    pub fn score(&self, head: usize, query: usize, key: usize, dot: f64) -> f64 {
        self.capped(dot) + f64::from(self.bias.value(head, key as i64 - (query + self.query_offset) as i64))
    }

    /// The score before its bias: `scale · dot`, cut to `cap · tanh(scale · dot / cap)` where there is a cap.
    pub fn capped(&self, dot: f64) -> f64 {
        let scaled = self.scale * dot;
        match self.softcap {
            Some(cap) => cap * (scaled / cap).tanh(),
            None => scaled,
        }
    }

    /// The derivative of [`capped`](Self::capped).
    pub fn slope(&self, dot: f64) -> f64 {
        match self.softcap {
            Some(cap) => self.scale * (1.0 - (self.scale * dot / cap).tanh().powi(2)),
            None => self.scale,
        }
    }

    /// `capped(dot) / dot`, which is the scale at 0.
    pub fn share(&self, dot: f64) -> f64 {
        if dot == 0.0 { self.scale } else { self.capped(dot) / dot }
    }

    /// The keys that `query` may look at, before padding is taken away.
    pub fn visible_keys(&self, query: usize, n_keys: usize) -> std::ops::Range<usize> {
        self.visibility.keys(query + self.query_offset, n_keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_causal_window_of_three_shows_a_query_itself_and_two_before() {
        let window = Visibility { before: Some(2), after: Some(0) };
        assert_eq!(window.keys(5, 10), 3..6);
        assert_eq!(window.keys(0, 10), 0..1);
        assert_eq!(Visibility::FULL.keys(5, 10), 0..10);
    }

    #[test]
    fn negative_bounds_keep_a_query_from_its_own_position() {
        let past = Visibility { before: None, after: Some(-1) };
        assert_eq!(past.keys(3, 10), 0..3);
        assert!(past.keys(0, 10).is_empty());
        let future = Visibility { before: Some(-2), after: None };
        assert_eq!(future.keys(3, 10), 5..10);
        assert!(future.keys(9, 10).is_empty());
        let extremes = Visibility { before: Some(i64::MIN), after: Some(i64::MAX) };
        assert!(extremes.keys(usize::MAX, 10).is_empty());
    }

    #[test]
    fn a_scores_slope_is_its_derivative_and_its_share_its_quotient_with_and_without_a_cap() {
        let plain = Scoring::scaled_dot_product(4, Visibility::FULL);
        for scoring in [Scoring { softcap: Some(0.7), ..plain.clone() }, plain] {
            for dot in [-9.0, -1.3, -1e-3, 0.0, 0.4, 5.0] {
                let derivative = (scoring.score(0, 0, 0, dot + 1e-6) - scoring.score(0, 0, 0, dot - 1e-6)) / 2e-6;
                assert!((scoring.slope(dot) - derivative).abs() < 1e-8, "{dot}");
                assert!((scoring.share(dot) * dot - scoring.score(0, 0, 0, dot)).abs() < 1e-15, "{dot}");
            }
            assert_eq!(scoring.share(0.0), scoring.slope(0.0));
        }
    }

    #[test]
    fn a_bias_with_a_field_that_no_rule_has_is_refused() {
        for written in [r#"{"type":"none","x":1}"#, r#"{"type":"alibi","slopes":[1.0],"x":1}"#] {
            assert!(serde_json::from_str::<Bias>(written).unwrap_err().to_string().contains("unknown field `x`"));
        }
        assert_eq!(serde_json::from_str::<Bias>(r#"{"type":"none"}"#).unwrap(), Bias::None);
    }

    #[test]
    fn a_relative_table_is_clamped_at_its_ends() {
        let bias = Bias::Relative { first: -1, table: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], n_offsets: 3 };
        assert_eq!(bias.value(0, -7), 1.0);
        assert_eq!(bias.value(1, 0), 5.0);
        assert_eq!(bias.value(1, 9), 6.0);
        assert_eq!([bias.place(1, 9), bias.place(0, -7), Bias::None.place(0, 0)], [Some(5), Some(0), None]);
    }
}
