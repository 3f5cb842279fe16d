//! Recordings made of seeded numbers, for tests of this crate.
#![allow(dead_code)] // each test binary uses a part

use attlas::attention::Shape;
use attlas::recording::QueriesAndKeys;
use attlas::{Item, Kind, Layer, Provenance, Recording, Scoring, TokenRole, Tokens, Trace, Visibility, Writer};

/// A small generator of numbers in −1 .. 1 (SplitMix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub fn vector(&mut self, len: usize, size: f32) -> Vec<f32> {
        (0..len).map(|_| size * self.next()).collect()
    }
}

/// One layer of attention over `items`, computed from seeded queries, keys and values.
pub fn layer(kind: Kind, index: usize, shape: Shape, scoring: Scoring, items: &[Item], seed: u64) -> Layer {
    let mut numbers = Numbers(seed);
    let queries = numbers.vector(items.len() * shape.n_heads * shape.n_queries * shape.d_head, 3.0).into();
    let keys = numbers.vector(items.len() * shape.n_kv_heads * shape.n_keys * shape.d_head, 3.0).into();
    let values = numbers.vector(items.len() * shape.n_kv_heads * shape.n_keys * shape.d_value, 1.0);
    let layer = QueriesAndKeys { kind, index, shape, scoring, queries, keys, mask: None, key_bias: None };
    let mut layer = layer.layer(items).unwrap();
    layer.traces.insert(Trace::Values, values);
    layer
}

/// Tokens `a0 a1 …`, the last `n_padding` of them padding.
pub fn tokens(prefix: &str, n: usize, n_padding: usize) -> Tokens {
    let mut tokens = Tokens::from_labels((0..n).map(|index| format!("{prefix}{index}")));
    for token in &mut tokens.tokens[n - n_padding..] {
        token.role = TokenRole::Padding;
    }
    tokens
}

/// Two texts through an encoder-decoder: 2 heads, 7 source tokens (2 of them padding in the second text), 5 target tokens.
pub fn translation() -> Recording {
    let items = [0, 2].map(|n_padding| Item {
        source: tokens("s", 7, n_padding),
        target: tokens("t", 5, 0),
        ..Item::default()
    });
    let shape = |n_queries, n_keys| Shape { n_heads: 2, n_kv_heads: 1, n_queries, n_keys, d_head: 6, d_value: 6 };
    let scoring = |visibility| Scoring::scaled_dot_product(6, visibility);
    let layers = vec![
        layer(Kind::Encoder, 0, shape(7, 7), scoring(Visibility::FULL), &items, 1),
        layer(Kind::Encoder, 3, shape(7, 7), scoring(Visibility::FULL), &items, 2),
        layer(Kind::Decoder, 0, shape(5, 5), scoring(Visibility::CAUSAL), &items, 3),
        layer(Kind::Cross, 0, shape(5, 7), scoring(Visibility::FULL), &items, 4),
    ];
    let provenance = Provenance {
        model: "seeded".into(),
        writer: Writer { name: "attlas".into(), version: "0.1.0".into() },
        ..Provenance::default()
    };
    Recording { items: items.to_vec(), layers, provenance }
}
