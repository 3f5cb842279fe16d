//! Recordings made by hand, and a small seeded generator.
#![allow(dead_code, reason = "each test binary uses its own part")]

use attlas::analysis::{HeadSums, measure_all};
use attlas::attention::Shape;
use attlas::recording::QueriesAndKeys;
use attlas::{
    Bias, Item, Kind, Layer, Provenance, Recording, Scoring, SplitMix64, Token, TokenRole, Tokens, Visibility, Weights,
    Writer,
};

/// Numbers that look random and are the same everywhere.
pub struct Random(SplitMix64);

impl Random {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Random {
        Random(SplitMix64::new(seed))
    }

    /// A number in −1 .. 1.
    pub fn next(&mut self) -> f32 {
        (self.0.number() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Numbers in −`size` .. `size`.
    pub fn numbers(&mut self, n: usize, size: f32) -> Vec<f32> {
        (0..n).map(|_| size * self.next()).collect()
    }
}

/// A layer with random queries and keys over `items`, its log-sum-exps computed by attlas.
pub fn factored(kind: Kind, index: usize, shape: Shape, scoring: Scoring, items: &[Item], seed: u64) -> Layer {
    let mut random = Random::new(seed);
    let queries = random.numbers(items.len() * shape.n_heads * shape.n_queries * shape.d_head, 1.6).into();
    let keys = random.numbers(items.len() * shape.n_kv_heads * shape.n_keys * shape.d_head, 1.6).into();
    let layer = QueriesAndKeys { kind, index, shape, scoring, queries, keys, mask: None, key_bias: None };
    layer.layer(items).unwrap()
}

/// The scores of an encoder's or decoder's heads on twelve tokens; of four neighbours the first looks one token back, the
/// second at all alike, the third at the first token, and the fourth at nothing in particular.
pub fn scored_heads(kind: Kind, n_layers: usize, n_heads: usize) -> Vec<HeadSums> {
    let n = 12;
    let shape = Shape { n_heads, n_kv_heads: n_heads, n_queries: n, n_keys: n, d_head: 0, d_value: 0 };
    let mut random = Random::new(7);
    let mut row = |head: usize, query: usize| -> Vec<f32> {
        let n_seen = if kind == Kind::Decoder { query + 1 } else { n };
        let raw = (0..n).map(|key| match head % 4 {
            _ if key >= n_seen => 0.0,
            0 => f32::from(u8::from(key == query.saturating_sub(1))),
            1 => 1.0,
            2 => f32::from(u8::from(key == 0)),
            _ => random.next().abs().powi(4),
        });
        let raw: Vec<f32> = raw.collect(); // [n]
        let sum: f32 = raw.iter().sum();
        raw.iter().map(|weight| weight / sum).collect()
    };
    let layer = |index: usize| {
        let rows = (0..n_heads).flat_map(|head| (0..n).map(move |query| (head, query)));
        let weights: Vec<f32> = rows.flat_map(|(head, query)| row(head, query)).collect(); // [n_heads, n, n]
        Layer::new(kind, index, shape, Weights::Dense(weights.into()))
    };
    let tokens = Tokens::from_labels((0..n).map(|place| format!("w{place}")));
    let items = vec![Item { source: tokens.clone(), target: tokens, ..Item::default() }];
    let recording = Recording { items, layers: (0..n_layers).map(layer).collect(), provenance: Provenance::default() };
    measure_all(&recording).unwrap()
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
    let plain = |d_head, visibility| Scoring::scaled_dot_product(d_head, visibility);
    let capped = Scoring { softcap: Some(2.5), ..plain(3, Visibility { before: Some(2), after: Some(1) }) };
    let alibi = Scoring {
        bias: Bias::Alibi { slopes: vec![0.5, 0.25, 0.125, 0.0625] },
        sinks: Some(vec![0.5, -1.0, 0.0, 2.0]),
        ..plain(2, Visibility::CAUSAL)
    };
    let table = Random::new(9).numbers(4 * 5, 1.0);
    let relative =
        Scoring { bias: Bias::Relative { first: -2, table, n_offsets: 5 }, scale: 1.0, ..plain(2, Visibility::FULL) };
    let offset = Scoring { query_offset: 2, ..plain(2, Visibility { before: Some(3), after: Some(0) }) };
    let mut dense = Random::new(5).numbers(2 * 2 * 5 * 7, 0.5); // [2 items, 2 heads, 5, 7]
    dense.iter_mut().for_each(|weight| *weight = weight.abs() / 3.5);
    let layers = vec![
        factored(Kind::Encoder, 0, shape(4, 4, 7, 7, 3), capped, &items, 1),
        factored(Kind::Encoder, 5, shape(4, 2, 7, 7, 2), relative, &items, 2),
        factored(Kind::Decoder, 1, shape(4, 2, 5, 5, 2), alibi, &items, 3),
        // wide heads: these travel as dense weights
        factored(Kind::Decoder, 2, shape(2, 2, 5, 5, 40), plain(40, Visibility::CAUSAL), &items, 4),
        factored(Kind::Cross, 0, shape(4, 1, 5, 7, 2), offset, &items, 6),
        Layer::new(Kind::Cross, 3, shape(2, 2, 5, 7, 1), Weights::Dense(dense.into())),
    ];
    let provenance = Provenance {
        model: format!("test {HOSTILE}"),
        writer: Writer { name: "attlas".into(), version: "0.1.0".into() },
        notes: vec![format!("a note with {HOSTILE}")],
        ..Provenance::default()
    };
    Recording { items, layers, provenance }
}

/// The bytes behind a page's text of them: every two signs are 13 bits, the first the lowest.
pub fn bytes_of(text: &str) -> Vec<u8> {
    let signs: Vec<u8> = (b'!'..=b'~').filter(|sign| !b"\"&<".contains(sign)).collect();
    let place = |sign: u8| signs.iter().position(|other| *other == sign).unwrap() as u64;
    let (mut rest, mut n_rest, mut bytes) = (0, 0, Vec::new());
    for pair in text.as_bytes().chunks_exact(2) {
        rest |= (place(pair[0]) + 91 * place(pair[1])) << n_rest;
        n_rest += 13;
        while n_rest >= 8 {
            bytes.push(rest as u8);
            (rest, n_rest) = (rest >> 8, n_rest - 8);
        }
    }
    bytes
}
