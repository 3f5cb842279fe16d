//! Every way to read a map gives the same weights: those of the dense softmax in f64.

use attlas::attention::{Inputs, Outputs, Shape, attend, reference};
use attlas::{
    AttentionMap, Bias, Buffer, HeadId, Item, Kind, Layer, Pooled, Pooling, Provenance, Recording, Scoring, Token,
    TokenRole, Tokens, Visibility, Weights,
};

/// A recording of one cross-attention layer, and its dense weights in f64, `[n_heads, n_queries, n_keys]`.
fn recorded(shape: Shape, scoring: &Scoring, n_padding: usize) -> (Recording, Vec<f64>) {
    let number = |i: usize, seed: usize| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0;
    let numbers = |n: usize, seed: usize| -> Vec<f32> { (0..n).map(|i| 1.25 * number(i, seed)).collect() };
    let queries = numbers(shape.n_heads * shape.n_queries * shape.d_head, 1);
    let keys = numbers(shape.n_kv_heads * shape.n_keys * shape.d_head, 2);
    let values = vec![0.0; shape.n_kv_heads * shape.n_keys * shape.d_value];
    let key_valid: Vec<bool> = (0..shape.n_keys).map(|key| key + n_padding < shape.n_keys).collect();
    let inputs =
        Inputs { queries: &queries, keys: &keys, values: &values, shape, scoring, key_valid: Some(&key_valid) };
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
    let weights = Weights::Factored {
        scoring: scoring.clone(),
        queries: Buffer::from(queries),
        keys: Buffer::from(keys),
        lse: Buffer::from(lse),
    };
    let recording = Recording {
        items: vec![Item { source: tokens(source.collect()), target: tokens(target.collect()), ..Item::default() }],
        layers: vec![Layer { kind: Kind::Cross, index: 3, shape, weights, values: None }],
        provenance: Provenance::default(),
    };
    (recording, dense)
}

fn cases() -> Vec<(Shape, Scoring, usize)> {
    let shape = |n_queries, n_keys, d_head| Shape { n_heads: 4, n_kv_heads: 2, n_queries, n_keys, d_head, d_value: 1 };
    let plain = |d_head, visibility| Scoring::scaled_dot_product(d_head, visibility);
    let rich = Scoring {
        softcap: Some(4.0),
        bias: Bias::Relative { first: -20, table: (0..160).map(|i| (i % 17) as f32 / 9.0).collect(), n_offsets: 40 },
        sinks: Some(vec![0.5, -1.0, 0.0, 2.0]),
        query_offset: 9,
        ..plain(24, Visibility { before: Some(50), after: Some(11) })
    };
    vec![
        (shape(6, 6, 64), plain(64, Visibility::FULL), 0),
        (shape(1, 40, 16), plain(16, Visibility::FULL), 3),
        (shape(200, 131, 33), plain(33, Visibility::CAUSAL), 20),
        (shape(90, 170, 24), rich, 5),
        (shape(9, 11, 3), plain(3, Visibility::FULL), 11), // nothing but padding
    ]
}

fn assert_close(given: &[f32], wanted: impl Iterator<Item = f64>, about: &str) {
    for (index, (given, wanted)) in given.iter().zip(wanted).enumerate() {
        assert!((f64::from(*given) - wanted).abs() <= 1e-6, "{about} {index}: {given}, not {wanted}");
    }
}

fn for_each_map(check: impl Fn(&AttentionMap<'_>, &[f64])) {
    for (shape, scoring, n_padding) in cases() {
        let (recording, dense) = recorded(shape, &scoring, n_padding);
        for head in 0..shape.n_heads {
            let map = recording.map(0, Kind::Cross, 3, head).unwrap();
            assert_eq!(map.id(), HeadId { layer: 3, head });
            check(&map, &dense[head * shape.n_queries * shape.n_keys..][..shape.n_queries * shape.n_keys]);
        }
    }
}

#[test]
fn the_whole_map_its_rows_and_its_columns_are_the_dense_softmax() {
    for_each_map(|map, dense| {
        let n_keys = map.n_keys();
        assert_close(&map.dense(), dense.iter().copied(), "whole map");
        for query in 0..map.n_queries() {
            assert_close(&map.row(query), dense[query * n_keys..].iter().copied(), "row");
        }
        for key in 0..n_keys {
            assert_close(&map.column(key), dense.iter().skip(key).step_by(n_keys).copied(), "column");
        }
    });
}

#[test]
fn tiles_anywhere_are_the_dense_softmax() {
    for_each_map(|map, dense| {
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
            assert_close(&tile, wanted.into_iter(), &format!("tile {rows:?} {columns:?} of {n_queries} × {n_keys}"));
        }
    });
}

#[test]
fn an_overview_is_that_of_the_dense_softmax() {
    for_each_map(|map, dense| {
        for pooling in [(1, 1), (3, 7), (64, 64), (1000, 1000)].map(|(rows, columns)| Pooling { rows, columns }) {
            let mut wanted = Pooled::empty(pooling, map.n_queries(), map.n_keys());
            for (index, weight) in dense.iter().enumerate() {
                wanted.add(index / map.n_keys(), index % map.n_keys(), *weight as f32);
            }
            let given = map.pooled(pooling);
            assert_close(&given.max, wanted.max.iter().map(|max| f64::from(*max)), "max");
            for (tile, (given, wanted)) in given.sum.iter().zip(&wanted.sum).enumerate() {
                assert!((given - wanted).abs() <= 1e-6 * wanted.max(1.0), "sum {tile}: {given}, not {wanted}");
            }
            for (given, largest) in given.argmax.iter().zip(&wanted.max) {
                let weight = dense[given.0 as usize * map.n_keys() + given.1 as usize];
                assert!((weight - f64::from(*largest)).abs() <= 1e-6, "arg-max {given:?}: {weight}, not {largest}");
            }
        }
    });
}

#[test]
fn an_overview_of_dense_weights_keeps_the_first_of_equals() {
    let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: 2, n_keys: 4, d_head: 0, d_value: 0 };
    let token = Token::labelled("x");
    let tokens = |n| Tokens { tokens: vec![token.clone(); n], ..Tokens::default() };
    let weights = Weights::Dense(Buffer::from(vec![0.25, 0.25, 0.1, 0.4, 0.25, 0.25, 0.4, 0.1]));
    let recording = Recording {
        items: vec![Item { source: tokens(4), target: tokens(2), ..Item::default() }],
        layers: vec![Layer { kind: Kind::Cross, index: 0, shape, weights, values: None }],
        provenance: Provenance::default(),
    };
    let pooled = recording.map(0, Kind::Cross, 0, 0).unwrap().pooled(Pooling { rows: 1, columns: 2 });
    assert_eq!(pooled.max, [0.25, 0.4]);
    assert_eq!(pooled.argmax, [(0, 0), (0, 3)]);
    assert!((pooled.sum[0] - 1.0).abs() < 1e-6 && (pooled.sum[1] - 1.0).abs() < 1e-6);
}
