//! How long it takes to read a recorded map: a row, a column, a tile, an overview, everything.
//!
//! `cargo bench -p attlas --bench maps`; about ten seconds. Microseconds are the least of many runs, one head of 64.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use attlas::attention::{Inputs, Outputs, Shape, attend};
use attlas::{AttentionMap, Factored, Item, Kind, Layer, Pooling, Provenance, Recording, Scoring, Tokens, Visibility};

const D_HEAD: usize = 64;
/// Measuring goes on for so long.
const ENOUGH: Duration = Duration::from_millis(300);

fn main() {
    println!("{} threads, one head of {D_HEAD}, f32; microseconds", rayon::current_num_threads());
    println!(
        "{:>6} {:>9} {:>9} {:>12} {:>14} {:>14} {:>12}",
        "n", "row", "column", "tile 64 × 64", "pooled 64 × 64", "pooled 512²", "whole map"
    );
    for n in [64, 512, 2048, 8192] {
        let recording = recording(n);
        let Ok(map) = recording.map(0, Kind::Encoder, 0, 0) else { unreachable!("the recording has one head") };
        let middle = n / 2;
        let tile = |map: &AttentionMap<'_>| map.tile(middle - 32..middle + 32, middle - 32..middle + 32);
        let pooled = |side: usize| move |map: &AttentionMap<'_>| map.pooled(Pooling { rows: side, columns: side }).max;
        println!(
            "{n:>6} {:>9.1} {:>9.1} {:>12.1} {:>14.1} {:>14.1} {:>12.1}",
            least(&map, |map| map.row(middle)),
            least(&map, |map| map.column(middle)),
            least(&map, tile),
            least(&map, pooled(64)),
            least(&map, pooled(512)),
            least(&map, |map| map.dense()),
        );
    }
}

/// The least time of a reading, in microseconds.
fn least(map: &AttentionMap<'_>, read: impl Fn(&AttentionMap<'_>) -> Vec<f32>) -> f64 {
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while begin.elapsed() < ENOUGH || best == f64::INFINITY {
        let start = Instant::now();
        black_box(read(black_box(map)));
        best = best.min(start.elapsed().as_secs_f64() * 1e6);
    }
    best
}

/// A causal map of `n` tokens from seeded numbers.
fn recording(n: usize) -> Recording {
    let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: n, n_keys: n, d_head: D_HEAD, d_value: D_HEAD };
    let scoring = Scoring::scaled_dot_product(D_HEAD, Visibility::CAUSAL);
    let (queries, keys) = (numbers(n * D_HEAD, 1), numbers(n * D_HEAD, 2)); // [n, d_head]
    let mut context = vec![0.0; n * D_HEAD]; // [n, 1, d_head]
    let mut lse = vec![0.0; n]; // [1, n]
    let (key_valid, mask, key_bias) = (None, None, None);
    let inputs =
        Inputs { queries: &queries, keys: &keys, values: &keys, shape, scoring: &scoring, key_valid, mask, key_bias };
    attend(&inputs, &mut Outputs { context: &mut context, lse: &mut lse, pooled: None });
    let lse = lse.into_iter().map(f64::from).collect::<Vec<f64>>().into();
    let (queries, keys) = (queries.into(), keys.into());
    let weights = Factored { scoring, queries, keys, lse, mask: None, key_bias: None };
    let source = Tokens::from_labels((0..n).map(|place| place.to_string()));
    Recording {
        items: vec![Item { source, ..Item::default() }],
        layers: vec![Layer::new(Kind::Encoder, 0, shape, weights)],
        provenance: Provenance::default(),
    }
}

/// Numbers in −1 ..= 1, the same for the same seed.
fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}
