//! Every way to read a map gives the same weights: those of the dense softmax in f64.

use attlas::attention::{Inputs, Outputs, Shape, attend, reference};
use attlas::recording::QueriesAndKeys;
use attlas::{
    AttentionMap, Bias, Buffer, Factored, HeadId, Item, Kind, Layer, Mask, Numbers, Pooled, Pooling, Provenance,
    Recording, Scoring, Token, TokenRole, Tokens, Visibility,
};
use half::{bf16, f16};

/// What a map is made of.
struct Case {
    shape: Shape,
    scoring: Scoring,
    n_padding: usize,
    mask: Option<Mask>,
    /// Shape `[n_heads, n_keys]`.
    key_bias: Option<Vec<f32>>,
    /// The largest number in queries and keys.
    size: f32,
    /// How queries and keys are stored.
    store: fn(&[f32]) -> Numbers,
    /// How far a weight may be off.
    tolerance: f64,
}

impl Case {
    fn new(shape: Shape, scoring: Scoring, n_padding: usize) -> Case {
        let store = |numbers: &[f32]| numbers.to_vec().into();
        Case { shape, scoring, n_padding, mask: None, key_bias: None, size: 1.25, store, tolerance: 1e-6 }
    }
}

/// A recording of one cross-attention layer as a model makes it, and its dense weights in f64,
/// `[n_heads, n_queries, n_keys]`.
fn recorded(case: &Case) -> (Recording, Vec<f64>) {
    let Case { shape, scoring, n_padding, .. } = case;
    let shape = *shape;
    let number = |i: usize, seed: usize| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0;
    let numbers =
        |n: usize, seed: usize| (case.store)(&(0..n).map(|i| case.size * number(i, seed)).collect::<Vec<_>>());
    let queries = numbers(shape.n_heads * shape.n_queries * shape.d_head, 1);
    let keys = numbers(shape.n_kv_heads * shape.n_keys * shape.d_head, 2);
    let values = vec![0.0; shape.n_kv_heads * shape.n_keys * shape.d_value];
    let key_valid: Vec<bool> = (0..shape.n_keys).map(|key| key + n_padding < shape.n_keys).collect();
    let inputs = Inputs {
        queries: &queries.read_all().unwrap(),
        keys: &keys.read_all().unwrap(),
        values: &values,
        shape,
        scoring,
        key_valid: Some(&key_valid),
        mask: case.mask.as_ref().map(|mask| mask.of_item(0, &shape)),
        key_bias: case.key_bias.as_deref(),
    };
    let mut context = vec![0.0; shape.n_queries * shape.n_heads * shape.d_value];
    let mut lse = vec![0.0; shape.n_heads * shape.n_queries];
    attend(&inputs, &mut Outputs { context: &mut context, lse: &mut lse, pooled: None });

    let mut dense = Vec::new();
    let mut row = vec![0.0; shape.n_keys];
    for head in 0..shape.n_heads {
        for query in 0..shape.n_queries {
            let lse = reference::row_scores(&inputs, head, query, &mut row);
            dense.extend(row.iter().map(|score| if score.is_finite() { (score - lse).exp() } else { 0.0 }));
        }
    }

    let token = |role| Token { role, ..Token::labelled("x") };
    let source =
        (0..shape.n_keys).map(|key| if key_valid[key] { token(TokenRole::Text) } else { token(TokenRole::Padding) });
    let target = (0..shape.n_queries).map(|_| token(TokenRole::Text));
    let tokens = |tokens: Vec<Token>| Tokens { tokens, ..Tokens::default() };
    let weights = Factored {
        scoring: scoring.clone(),
        queries,
        keys,
        lse: lse.into_iter().map(f64::from).collect::<Vec<f64>>().into(),
        mask: case.mask.clone(),
        key_bias: case.key_bias.clone().map(Buffer::from),
    };
    let mut recording = Recording {
        items: vec![Item { source: tokens(source.collect()), target: tokens(target.collect()), ..Item::default() }],
        layers: vec![Layer::new(Kind::Cross, 3, shape, weights)],
        provenance: Provenance::default(),
    };
    recording.sharpen().unwrap();
    (recording, dense)
}

fn cases() -> Vec<Case> {
    let shape = |n_queries, n_keys, d_head| Shape { n_heads: 4, n_kv_heads: 2, n_queries, n_keys, d_head, d_value: 1 };
    let plain = |d_head, visibility| Scoring::scaled_dot_product(d_head, visibility);
    let rich = Scoring {
        softcap: Some(4.0),
        bias: Bias::Relative { first: -20, table: (0..160).map(|i| (i % 17) as f32 / 9.0).collect(), n_offsets: 40 },
        sinks: Some(vec![0.5, -1.0, 0.0, 2.0]),
        query_offset: 9,
        ..plain(24, Visibility { before: Some(50), after: Some(11) })
    };
    let stretches: Vec<_> = (0..90).map(|query| vec![0..query % 7, query..query + 60, 165..170]).collect();
    let bits: Vec<bool> = (0..4 * 70 * 83).map(|cell| cell * 31 % 7 < 4).collect();
    let key_bias = |n_keys: usize| (0..4 * n_keys).map(|i| (i % 13) as f32 / 3.0 - 2.0).collect::<Vec<f32>>();
    let large = |size| {
        let causal = Case::new(shape(70, 83, 33), plain(33, Visibility::CAUSAL), 3);
        Case { size, tolerance: 1e-5, ..causal }
    };
    vec![
        Case::new(shape(6, 6, 64), plain(64, Visibility::FULL), 0),
        Case::new(shape(1, 40, 16), plain(16, Visibility::FULL), 3),
        Case::new(shape(200, 131, 33), plain(33, Visibility::CAUSAL), 20),
        Case::new(shape(90, 170, 24), rich.clone(), 5),
        Case::new(shape(9, 11, 3), plain(3, Visibility::FULL), 11), // nothing but padding
        Case {
            mask: Some(Mask::stretches(&stretches)),
            key_bias: Some(key_bias(170)),
            ..Case::new(shape(90, 170, 24), rich, 5)
        },
        Case {
            mask: Some(Mask::from_dense(&bits, [1, 4, 70, 83])),
            store: |numbers| Numbers::F16(numbers.iter().map(|x| f16::from_f32(*x)).collect::<Vec<_>>().into()),
            ..Case::new(shape(70, 83, 20), plain(20, Visibility { before: None, after: Some(-2) }), 1)
        },
        Case {
            store: |numbers| Numbers::Bf16(numbers.iter().map(|x| bf16::from_f32(*x)).collect::<Vec<_>>().into()),
            key_bias: Some(key_bias(83)),
            ..large(11.0)
        },
        large(11.0),
        large(30.0),
    ]
}

fn assert_close(tolerance: f64, given: &[f32], wanted: impl Iterator<Item = f64>, about: &str) {
    for (index, (given, wanted)) in given.iter().zip(wanted).enumerate() {
        assert!((f64::from(*given) - wanted).abs() <= tolerance, "{about} {index}: {given}, not {wanted}");
    }
}

fn for_each_map(check: impl Fn(&AttentionMap<'_>, &[f64], f64)) {
    for case in cases() {
        let (shape, (recording, dense)) = (case.shape, recorded(&case));
        for head in 0..shape.n_heads {
            let map = recording.map(0, Kind::Cross, 3, head).unwrap();
            assert_eq!(map.id(), HeadId { layer: 3, head });
            let weights = &dense[head * shape.n_queries * shape.n_keys..][..shape.n_queries * shape.n_keys];
            check(&map, weights, case.tolerance);
        }
    }
}

#[test]
fn the_whole_map_its_rows_and_its_columns_are_the_dense_softmax() {
    for_each_map(|map, dense, tolerance| {
        let n_keys = map.n_keys();
        assert_close(tolerance, &map.dense(), dense.iter().copied(), "whole map");
        for query in 0..map.n_queries() {
            assert_close(tolerance, &map.row(query), dense[query * n_keys..].iter().copied(), "row");
        }
        for key in 0..n_keys {
            assert_close(tolerance, &map.column(key), dense.iter().skip(key).step_by(n_keys).copied(), "column");
        }
    });
}

#[test]
fn tiles_anywhere_are_the_dense_softmax() {
    for_each_map(|map, dense, tolerance| {
        let (n_queries, n_keys) = (map.n_queries(), map.n_keys());
        for (rows, columns) in [
            (0..n_queries, 0..n_keys),
            (n_queries / 3..n_queries, n_keys / 2..n_keys),
            (n_queries / 2..n_queries / 2 + 1, 1..n_keys - 1),
            (0..n_queries / 2, n_keys / 3..n_keys / 3 + 2),
            (0..0, 0..n_keys),
            (0..n_queries, 2..2),
        ] {
            let wanted: Vec<f64> =
                rows.clone().flat_map(|row| &dense[row * n_keys..][columns.clone()]).copied().collect();
            let tile = map.tile(rows.clone(), columns.clone());
            assert_eq!(tile.len(), wanted.len());
            assert_close(
                tolerance,
                &tile,
                wanted.into_iter(),
                &format!("tile {rows:?} {columns:?} of {n_queries} × {n_keys}"),
            );
        }
    });
}

#[test]
fn an_overview_is_that_of_the_dense_softmax() {
    for_each_map(|map, dense, tolerance| {
        for pooling in [(1, 1), (3, 7), (64, 64), (1000, 1000)].map(|(rows, columns)| Pooling { rows, columns }) {
            let mut wanted = Pooled::empty(pooling, map.n_queries(), map.n_keys());
            for (index, weight) in dense.iter().enumerate() {
                wanted.add(index / map.n_keys(), index % map.n_keys(), *weight as f32);
            }
            let given = map.pooled(pooling);
            assert_close(tolerance, &given.max, wanted.max.iter().map(|max| f64::from(*max)), "max");
            for (tile, (given, wanted)) in given.sum.iter().zip(&wanted.sum).enumerate() {
                assert!((given - wanted).abs() <= tolerance * wanted.max(1.0), "sum {tile}: {given}, not {wanted}");
            }
            for (given, largest) in given.argmax.iter().zip(&wanted.max) {
                let weight = dense[given.0 as usize * map.n_keys() + given.1 as usize];
                assert!(
                    (weight - f64::from(*largest)).abs() <= tolerance,
                    "arg-max {given:?}: {weight}, not {largest}"
                );
            }
        }
    });
}

#[test]
fn an_overview_of_dense_weights_keeps_the_first_of_equals() {
    let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: 2, n_keys: 4, d_head: 0, d_value: 0 };
    let token = Token::labelled("x");
    let tokens = |n| Tokens { tokens: vec![token.clone(); n], ..Tokens::default() };
    let weights = Buffer::from(vec![0.25, 0.25, 0.1, 0.4, 0.25, 0.25, 0.4, 0.1]);
    let recording = Recording {
        items: vec![Item { source: tokens(4), target: tokens(2), ..Item::default() }],
        layers: vec![Layer::new(Kind::Cross, 0, shape, weights)],
        provenance: Provenance::default(),
    };
    let pooled = recording.map(0, Kind::Cross, 0, 0).unwrap().pooled(Pooling { rows: 1, columns: 2 });
    assert_eq!(pooled.max, [0.25, 0.4]);
    assert_eq!(pooled.argmax, [(0, 0), (0, 3)]);
    assert!((pooled.sum[0] - 1.0).abs() < 1e-6 && (pooled.sum[1] - 1.0).abs() < 1e-6);
}

#[test]
fn what_a_query_sees_is_what_has_a_weight() {
    for case in cases() {
        let (recording, dense) = recorded(&case);
        let map = recording.map(0, Kind::Cross, 3, 0).unwrap();
        for (cell, weight) in dense[..map.n_queries() * map.n_keys()].iter().enumerate() {
            let (query, key) = (cell / map.n_keys(), cell % map.n_keys());
            assert!(map.sees(query, key) || *weight == 0.0, "{query} {key}");
            assert!(!map.sees(query, key) || *weight > 0.0 || case.size > 10.0, "{query} {key}");
            assert!(!map.sees(query, key) || map.visible_keys(query).contains(&key));
        }
    }
}

#[test]
fn scores_of_420_weigh_within_a_hundred_thousandth_although_neighbouring_f32_are_farther_apart() {
    let case = cases().into_iter().find(|case| case.size == 30.0).unwrap();
    let (recording, dense) = recorded(&case);
    let factored = recording.layers[0].factored().unwrap();
    let lse = factored.lse.read_all().unwrap();
    let largest = lse.iter().filter(|lse| lse.is_finite()).fold(0.0, |largest: f64, lse| largest.max(lse.abs()));
    assert!((420.0..5000.0).contains(&largest), "{largest}");
    assert!(lse.iter().any(|lse| f64::from(*lse as f32) != *lse), "f32 would have lost them");
    let shape = case.shape;
    let all: Vec<f32> = (0..4).flat_map(|head| recording.map(0, Kind::Cross, 3, head).unwrap().dense()).collect();
    assert_eq!(all.len(), 4 * shape.n_queries * shape.n_keys);
    assert_close(1e-5, &all, dense.into_iter(), "all heads");
}

#[test]
fn a_bias_that_hides_a_key_hides_it_where_scores_are_large_too() {
    // offsets −1, 0, 1: the key before a query is hidden by the table, the first score of most rows
    let table = vec![f32::NEG_INFINITY, 0.0, 0.5];
    let (n, d_head) = (9, 2);
    let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: n, n_keys: n, d_head, d_value: 1 };
    let scoring = Scoring {
        bias: Bias::Relative { first: -1, table, n_offsets: 3 },
        ..Scoring::scaled_dot_product(d_head, Visibility { before: Some(1), after: Some(1) })
    };
    let numbers: Vec<f32> = (0..n * d_head).map(|i| 20.0 + (i % 5) as f32).collect();
    let (queries, keys) = (numbers.clone().into(), numbers.into());
    let items = vec![Item { source: Tokens::from_labels(["t"; 9]), ..Item::default() }];
    let layer =
        QueriesAndKeys { kind: Kind::Encoder, index: 0, shape, scoring, queries, keys, mask: None, key_bias: None };
    let layers = vec![layer.layer(&items).expect("sizes agree")];
    let recording = Recording { items, layers, provenance: Provenance::default() };
    let dense = recording.map(0, Kind::Encoder, 0, 0).expect("a map").dense();
    for (query, row) in dense.chunks_exact(n).enumerate() {
        let sum: f32 = row.iter().sum();
        assert!((sum - 1.0).abs() < 1e-6 && (query == 0 || row[query - 1] == 0.0), "{query}: {row:?}");
    }
}
