//! Recordings made by hand, and a small seeded generator.
#![allow(dead_code, reason = "each test binary uses its own part")]

use attlas::attention::{Inputs, Outputs, Shape, attend};
use attlas::{Bias, Item, Kind, Layer, Provenance, Recording, Scoring, Token, TokenRole, Tokens, Visibility, Weights};

/// SplitMix64: numbers that look random and are the same everywhere.
pub struct Random(pub u64);

impl Random {
    /// A number in −1 .. 1.
    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Numbers in −`size` .. `size`.
    pub fn numbers(&mut self, n: usize, size: f32) -> Vec<f32> {
        (0..n).map(|_| size * self.next()).collect()
    }
}

/// A layer with random queries and keys over a batch of `key_valid.len()` texts, its log-sum-exps computed by attlas.
pub fn factored(kind: Kind, index: usize, shape: Shape, scoring: Scoring, key_valid: &[Vec<bool>], seed: u64) -> Layer {
    let batch = key_valid.len();
    let mut random = Random(seed);
    let queries = random.numbers(batch * shape.n_heads * shape.n_queries * shape.d_head, 1.6);
    let keys = random.numbers(batch * shape.n_kv_heads * shape.n_keys * shape.d_head, 1.6);
    let values = vec![0.0; shape.n_kv_heads * shape.n_keys * shape.d_value];
    let mut lse = vec![0.0; batch * shape.n_heads * shape.n_queries]; // [batch, n_heads, n_queries]
    let mut context = vec![0.0; shape.n_queries * shape.n_heads * shape.d_value];
    for (item, lse) in lse.chunks_mut(shape.n_heads * shape.n_queries).enumerate() {
        let n_q = shape.n_heads * shape.n_queries * shape.d_head;
        let n_k = shape.n_kv_heads * shape.n_keys * shape.d_head;
        let inputs = Inputs {
            queries: &queries[item * n_q..][..n_q],
            keys: &keys[item * n_k..][..n_k],
            values: &values,
            shape,
            scoring: &scoring,
            key_valid: Some(&key_valid[item]),
        };
        attend(&inputs, &mut Outputs { context: &mut context, lse, pooled: None });
    }
    let weights = Weights::Factored { scoring, queries: queries.into(), keys: keys.into(), lse: lse.into() };
    Layer { kind, index, shape, weights, values: None }
}

/// Tokens with the given labels; `<…>` and `[…]` are special, `␀` is padding, a label with a leading `-` continues the
/// word before it.
pub fn tokens(text: &str, labels: &[&str]) -> Tokens {
    let mut word = 0;
    let token = |label: &&str| {
        let special = *label == "<s>" || *label == "</s>";
        let role = match *label {
            "␀" => TokenRole::Padding,
            _ if special => TokenRole::Special,
            _ => TokenRole::Text,
        };
        let continues = label.len() > 1 && label.starts_with('-');
        word += usize::from(!continues);
        let shown = if continues { &label[1..] } else { label };
        Token { role, word: (role == TokenRole::Text).then_some(word), ..Token::labelled(shown) }
    };
    Tokens { text: text.to_owned(), tokens: labels.iter().map(token).collect() }
}

/// Which tokens are not padding.
fn valid(tokens: &Tokens) -> Vec<bool> {
    tokens.tokens.iter().map(|token| token.role != TokenRole::Padding).collect()
}

/// The token that must stay text.
pub const HOSTILE: &str = "</script><script>alert(1)</script>";

/// An encoder-decoder recording of two texts with all that a layer can be: softcap, windows, ALiBi and relative biases,
/// sinks, grouped queries, padding on either side, layers with gaps between their indices, dense arrays, hostile text.
pub fn everything() -> Recording {
    let items = vec![
        Item {
            source: tokens("the unbelievable cat", &["the", "un", "-believ", "-able", "cat", HOSTILE, "</s>"]),
            target: tokens("le chat", &["<s>", "le", "chat", "\u{202e}abc", "<img src=x onerror=alert(2)>"]),
            predicted: tokens("", &["le", "chat", "\u{202e}abc", "<img src=x onerror=alert(2)>", "</s>"]),
            ..Item::default()
        },
        Item {
            source: tokens("שלום עולם", &["␀", "␀", "שלום", "עולם", "\n", "猫", "</s>"]),
            target: tokens("", &["<s>", "א", "ב", "␀", "␀"]),
            predicted: tokens("", &["א", "ב", "</s>", "␀", "␀"]),
            ..Item::default()
        },
    ];
    let shape = |n_heads, n_kv_heads, n_queries, n_keys, d_head| Shape {
        n_heads,
        n_kv_heads,
        n_queries,
        n_keys,
        d_head,
        d_value: 1,
    };
    let source_valid: Vec<_> = items.iter().map(|item| valid(&item.source)).collect();
    let target_valid: Vec<_> = items.iter().map(|item| valid(&item.target)).collect();
    let plain = |d_head, visibility| Scoring::scaled_dot_product(d_head, visibility);
    let capped = Scoring { softcap: Some(2.5), ..plain(3, Visibility { before: Some(2), after: Some(1) }) };
    let alibi = Scoring {
        bias: Bias::Alibi { slopes: vec![0.5, 0.25, 0.125, 0.0625] },
        sinks: Some(vec![0.5, -1.0, 0.0, 2.0]),
        ..plain(2, Visibility::CAUSAL)
    };
    let table = Random(9).numbers(4 * 5, 1.0);
    let relative =
        Scoring { bias: Bias::Relative { first: -2, table, n_offsets: 5 }, scale: 1.0, ..plain(2, Visibility::FULL) };
    let offset = Scoring { query_offset: 2, ..plain(2, Visibility { before: Some(3), after: Some(0) }) };
    let mut dense = Random(5).numbers(2 * 2 * 5 * 7, 0.5); // [2 items, 2 heads, 5, 7]
    dense.iter_mut().for_each(|weight| *weight = weight.abs() / 3.5);
    let layers = vec![
        factored(Kind::Encoder, 0, shape(4, 4, 7, 7, 3), capped, &source_valid, 1),
        factored(Kind::Encoder, 5, shape(4, 2, 7, 7, 2), relative, &source_valid, 2),
        factored(Kind::Decoder, 1, shape(4, 2, 5, 5, 2), alibi, &target_valid, 3),
        // wide heads: these travel as dense weights
        factored(Kind::Decoder, 2, shape(2, 2, 5, 5, 40), plain(40, Visibility::CAUSAL), &target_valid, 4),
        factored(Kind::Cross, 0, shape(4, 1, 5, 7, 2), offset, &source_valid, 6),
        Layer {
            kind: Kind::Cross,
            index: 3,
            shape: shape(2, 2, 5, 7, 1),
            weights: Weights::Dense(dense.into()),
            values: None,
        },
    ];
    let provenance = Provenance {
        model: format!("test {HOSTILE}"),
        attlas_version: "0.1.0".into(),
        notes: vec![format!("a note with {HOSTILE}")],
        ..Provenance::default()
    };
    Recording { items, layers, provenance }
}
