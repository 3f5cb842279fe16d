//! Recordings made of seeded numbers, for tests of this crate.
#![allow(dead_code)] // each test binary uses a part

use attlas::attention::Shape;
use attlas::recording::{Digest, Edit, HeadOutput, Heads, NewWeights, QueriesAndKeys, Which};
use attlas::{
    Bias, Buffer, Item, Kind, Layer, Mask, Numbers as Floats, PatchGrid, Provenance, Quantity, Recording, Scoring,
    TokenRole, Tokens, Trace, Visibility, Weights, Writer,
};
use half::{bf16, f16};
use std::collections::BTreeMap;

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

/// A batch of two texts with everything that the document describes.
pub fn everything() -> Recording {
    let items = [0, 2].map(|n_padding| Item {
        source: tokens("s", 9, n_padding),
        target: Tokens { text: "t0 t1".to_owned(), ..tokens("t", 6, n_padding / 2) },
        predicted: tokens("p", 6, 0),
        axes: BTreeMap::from([("patches".to_owned(), tokens("r", 4, 0))]),
        n_prompt: Some(2),
        n_sound: Some(7),
        unknown_words: vec![0..2, 3..4],
        n_repeated: Some(2),
        avoided_words: vec!["t0t".to_owned()],
        image: Some(PatchGrid { first: 1, rows: 2, columns: 4, size: Some([64, 48]), seen: Some([0, 8, 64, 32]) }),
        grids: BTreeMap::from([(
            "target".to_owned(),
            vec![PatchGrid { first: 2, rows: 1, columns: 2, size: None, seen: None }],
        )]),
    });
    let mut items = items;
    items[0].source.text = "s0 s1".into();
    (items[0].source.tokens[0].id, items[0].source.tokens[0].span) = (Some(17), Some(0..2));
    let shape = |n_queries, n_keys, d_head, n_kv_heads| Shape {
        n_heads: 4,
        n_kv_heads,
        n_queries,
        n_keys,
        d_head,
        d_value: d_head,
    };
    let plain = |d_head, visibility| Scoring::scaled_dot_product(d_head, visibility);
    let window = Scoring { softcap: Some(2.5), ..plain(5, Visibility { before: Some(2), after: Some(1) }) };
    let table = (0..4 * 7).map(|number| (number % 5) as f32 / 3.0 - 0.7).collect();
    let relative =
        Scoring { scale: 1.0, bias: Bias::Relative { first: -3, table, n_offsets: 7 }, ..plain(3, Visibility::FULL) };
    let alibi = Scoring {
        bias: Bias::Alibi { slopes: vec![0.5, 0.25, 0.125, 0.0] },
        sinks: Some(vec![0.5, -1.0, 0.0, 2.0]),
        ..plain(8, Visibility::CAUSAL)
    };
    let moved = Scoring { query_offset: 3, ..plain(4, Visibility { before: Some(4), after: Some(0) }) };
    let causal = plain(4, Visibility::CAUSAL);
    let past = plain(4, Visibility { before: None, after: Some(-1) });
    let mut layers = vec![
        layer(Kind::Encoder, 0, shape(9, 9, 5, 4), window, &items, 1),
        layer(Kind::Encoder, 7, shape(9, 9, 3, 2), relative, &items, 2),
        layer(Kind::Decoder, 0, shape(6, 6, 8, 1), alibi.clone(), &items, 3),
        layer(Kind::Cross, 0, shape(6, 9, 4, 2), moved, &items, 4),
        layer(Kind::Cross, 1, shape(6, 9, 4, 4), causal.clone(), &items, 5),
        layer(Kind::Decoder, 1, shape(6, 6, 4, 4), past, &items, 6),
    ];
    // two layers that share a mask of stretches, one of them with a bias per key; a mask of bits for each text and head
    let packed = Mask::stretches(&[vec![0..1], vec![0..2], vec![2..3], vec![2..4], vec![0..1, 4..5], vec![]]);
    let tree: Vec<bool> = (0..2 * 4 * 36).map(|cell| cell * 7 % 5 < 3).collect();
    let tree = Mask::from_dense(&tree, [2, 4, 6, 6]);
    let key_bias = |n_items: usize| (0..n_items * 4 * 6).map(|i| (i % 7) as f32 / 2.0 - 1.0).collect::<Vec<f32>>();
    for (index, scoring, mask, bias) in [
        (2, causal.clone(), Some(packed.clone()), None),
        (3, alibi, Some(packed), Some(key_bias(2))),
        (4, causal, Some(tree), Some(key_bias(1))),
    ] {
        let of_size = layer(Kind::Decoder, index, shape(6, 6, 4, 2), plain(4, Visibility::FULL), &items, 9);
        let factored = of_size.factored().unwrap();
        let narrow =
            |numbers: &Floats| numbers.read_all().unwrap().iter().map(|x| f16::from_f32(*x)).collect::<Vec<_>>();
        let brain =
            |numbers: &Floats| numbers.read_all().unwrap().iter().map(|x| bf16::from_f32(*x)).collect::<Vec<_>>();
        let shape = if scoring.sinks.is_some() { Shape { d_head: 4, ..of_size.shape } } else { of_size.shape };
        let layer = QueriesAndKeys {
            kind: Kind::Decoder,
            index,
            shape,
            scoring,
            queries: Floats::F16(narrow(&factored.queries).into()),
            keys: Floats::Bf16(brain(&factored.keys).into()),
            mask,
            key_bias: bias.map(Buffer::from),
        };
        layers.push(layer.layer(&items).unwrap());
    }
    // a second tower over patches, and what stands beside weights
    let mut tower = layer(Kind::Encoder, 0, shape(9, 9, 2, 4), plain(2, Visibility::FULL), &items, 7);
    let of_patches = |item: &Item| Item { source: item.axes["patches"].clone(), ..Item::default() };
    let patches = items.each_ref().map(of_patches);
    let over_patches = layer(Kind::Encoder, 0, shape(4, 4, 2, 4), plain(2, Visibility::FULL), &patches, 8);
    (tower.shape, tower.weights, tower.traces) = (over_patches.shape, over_patches.weights, over_patches.traces);
    tower.stack = Some("vision".into());
    (tower.query_axis, tower.key_axis) = (Some("patches".into()), Some("patches".into()));
    layers.push(tower);
    let numbers = |n: usize| (0..n).map(|number| number as f32 / 100.0).collect::<Vec<f32>>();
    let mut norms = Layer::new(Kind::Encoder, 0, shape(9, 9, 0, 4), Weights::Dense(numbers(2 * 4 * 81).into()));
    norms.quantity = Quantity::Norm;
    layers.push(norms);
    let traces = &mut layers[0].traces;
    traces.insert(Trace::HeadOutputs, numbers(2 * 4 * 9 * 5));
    traces.insert(Trace::Stream, numbers(2 * 9 * 3));
    traces.insert(Trace::ValueNorms, numbers(2 * 4 * 9));

    let dense: Vec<f32> = (0..2 * 4 * 6 * 9).map(|number| (number % 10) as f32 / 90.0).collect();
    let shape = Shape { d_value: 2, ..shape(6, 9, 0, 4) };
    let mut with_values = Layer::new(Kind::Cross, 2, shape, Weights::Dense(dense.into()));
    with_values.query_offset = 3;
    with_values.traces.insert(Trace::Values, (0..2 * 4 * 9 * 2).map(|number| number as f32).collect::<Vec<_>>());
    layers.push(with_values);
    let writer = Writer { name: "attlas".into(), version: "0.1.0".into() };
    let provenance = Provenance {
        model: "seeded".into(),
        writer,
        beams: Some(4),
        notes: vec!["a note".into()],
        edits: edits(),
        ..Provenance::default()
    };
    Recording { items: items.to_vec(), layers, provenance }
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

/// Every form of edit.
fn edits() -> Vec<Edit<Digest>> {
    let digest = Digest { shape: vec![1, 2], sha256: "00ff".into() };
    let heads = Heads {
        heads: Which::These(vec![0]),
        queries: Which::Range(1, 2),
        items: Which::These(vec![0]),
        ..Heads::all(Kind::Encoder, 0)
    };
    let output = |to| Edit::HeadOutput { heads: heads.clone(), to };
    let weights = |to| Edit::Weights { heads: heads.clone(), to };
    vec![
        output(HeadOutput::Zero),
        output(HeadOutput::Mean(digest.clone())),
        output(HeadOutput::Given(digest.clone())),
        Edit::Edges { heads: heads.clone(), keys: Which::Range(0, 1) },
        weights(NewWeights::Uniform),
        weights(NewWeights::Permuted { seed: 1 }),
        weights(NewWeights::Given(digest.clone())),
        Edit::Stream {
            stack: Kind::Decoder,
            layer: 1,
            positions: Which::These(vec![0]),
            items: Which::Range(0, 1),
            to: digest,
        },
    ]
}
