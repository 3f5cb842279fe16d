//! The online softmax and the streaming kernel, on every instruction set this processor has, against the readable reference.

use attlas::attention::{Inputs, Instructions, Outputs, Shape, attend_with, online, reference};
use attlas::{Bias, Mask, Pooled, Pooling, Scoring, Visibility};

/// Numbers that are the same for the same seed.
struct Random(u64);

impl Random {
    /// In −1 .. 1.
    fn number(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    fn numbers(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.number()).collect()
    }

    fn below(&mut self, n: usize) -> usize {
        ((self.number() + 1.0) / 2.0 * n as f32) as usize % n.max(1)
    }
}

/// One attention call with everything it reads.
#[derive(Debug)]
struct Case {
    shape: Shape,
    scoring: Scoring,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    key_valid: Option<Vec<bool>>,
    mask: Option<Mask>,
    key_bias: Option<Vec<f32>>,
    pooling: Option<Pooling>,
}

/// What one attention call gives.
struct Given {
    context: Vec<f32>,
    lse: Vec<f32>,
    pooled: Vec<Pooled>,
}

impl Case {
    fn new(shape: Shape, scoring: Scoring, random: &mut Random) -> Case {
        let numbers = |n: usize, random: &mut Random| random.numbers(n).iter().map(|x| 2.0 * x).collect();
        Case {
            shape,
            scoring,
            queries: numbers(shape.n_heads * shape.n_queries * shape.d_head, random),
            keys: numbers(shape.n_kv_heads * shape.n_keys * shape.d_head, random),
            values: numbers(shape.n_kv_heads * shape.n_keys * shape.d_value, random),
            key_valid: None,
            mask: None,
            key_bias: None,
            pooling: None,
        }
    }

    fn square(n: usize, d: usize, visibility: Visibility, seed: u64) -> Case {
        let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: n, n_keys: n, d_head: d, d_value: d };
        Case::new(shape, Scoring::scaled_dot_product(d, visibility), &mut Random(seed))
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            queries: &self.queries,
            keys: &self.keys,
            values: &self.values,
            shape: self.shape,
            scoring: &self.scoring,
            key_valid: self.key_valid.as_deref(),
            mask: self.mask.as_ref().map(|mask| mask.of_item(0, &self.shape)),
            key_bias: self.key_bias.as_deref(),
        }
    }

    fn run(&self, attend: impl Fn(&Inputs<'_>, &mut Outputs<'_>)) -> Given {
        let shape = self.shape;
        let mut given = Given {
            context: vec![f32::NAN; shape.n_queries * shape.n_heads * shape.d_value],
            lse: vec![f32::NAN; shape.n_heads * shape.n_queries],
            pooled: Vec::new(),
        };
        let pooled = self.pooling.map(|pooling| (pooling, &mut given.pooled));
        attend(&self.inputs(), &mut Outputs { context: &mut given.context, lse: &mut given.lse, pooled });
        given
    }

    /// Holds the online softmax, and the kernel with every instruction set, against the reference.
    fn check(&self) {
        let wanted = self.run(reference::attend);
        self.agrees("online", &self.run(online::attend), &wanted);
        for instructions in Instructions::ALL.into_iter().filter(|choice| choice.available()) {
            let given = self.run(|inputs, outputs| attend_with(instructions, inputs, outputs));
            self.agrees(&format!("{instructions:?}"), &given, &wanted);
        }
    }

    fn agrees(&self, which: &str, given: &Given, wanted: &Given) {
        let about = || format!("{which} {:?} {:?} {:?}", self.shape, self.scoring, self.pooling);
        for (row, (given, wanted)) in given.lse.iter().zip(&wanted.lse).enumerate() {
            let close = given == wanted || (given - wanted).abs() <= 1e-6 * wanted.abs().max(1.0);
            assert!(close, "lse of row {row}: {given}, not {wanted}; {}", about());
        }
        for (slot, (given, wanted)) in given.context.iter().zip(&wanted.context).enumerate() {
            assert!((given - wanted).abs() <= 2e-6, "context {slot}: {given}, not {wanted}; {}", about());
        }
        assert_eq!(given.pooled.len(), wanted.pooled.len());
        for (head, (given, wanted)) in given.pooled.iter().zip(&wanted.pooled).enumerate() {
            self.check_pooled(head, given, wanted, &about());
        }
    }

    fn check_pooled(&self, head: usize, given: &Pooled, wanted: &Pooled, about: &str) {
        assert_eq!((given.rows, given.columns), (wanted.rows, wanted.columns));
        let mut scores = vec![0.0; self.shape.n_keys]; // [n_keys]
        for tile in 0..wanted.max.len() {
            assert!((given.max[tile] - wanted.max[tile]).abs() <= 1e-6, "max of tile {tile}; {about}");
            let cells = given.queries(tile / given.columns).len() as f64;
            assert!((given.sum[tile] - wanted.sum[tile]).abs() <= 1e-6 * cells, "sum of tile {tile}; {about}");
            // near ties may fall either way: the weight there must be the largest to rounding
            let (query, key) = given.argmax[tile];
            if given.max[tile] > 0.0 {
                let lse = reference::row_scores(&self.inputs(), head, query as usize, &mut scores);
                let weight = (scores[key as usize] - lse).exp();
                assert!((weight - f64::from(wanted.max[tile])).abs() <= 1e-6, "arg-max of tile {tile}; {about}");
                assert!(given.queries(tile / given.columns).contains(&(query as usize)), "{about}");
                assert!(given.keys(tile % given.columns).contains(&(key as usize)), "{about}");
            } else {
                assert_eq!(given.argmax[tile], wanted.argmax[tile], "arg-max of empty tile {tile}; {about}");
            }
        }
    }
}

#[test]
fn two_keys_weigh_as_worked_out_by_hand() {
    // scores 0 and ln 3: weights 1/4 and 3/4, lse ln 4
    let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: 1, n_keys: 2, d_head: 1, d_value: 2 };
    let case = Case {
        shape,
        scoring: Scoring::scaled_dot_product(1, Visibility::FULL),
        queries: vec![1.0],
        keys: vec![0.0, 3.0_f32.ln()],
        values: vec![4.0, 0.0, 0.0, 8.0],
        key_valid: None,
        mask: None,
        key_bias: None,
        pooling: Some(Pooling { rows: 1, columns: 2 }),
    };
    for instructions in Instructions::ALL {
        let given = case.run(|inputs, outputs| attend_with(instructions, inputs, outputs));
        assert!((given.context[0] - 1.0).abs() < 1e-6 && (given.context[1] - 6.0).abs() < 1e-6);
        assert!((given.lse[0] - 4.0_f32.ln()).abs() < 1e-6);
        assert!((given.pooled[0].sum[0] - 0.25).abs() < 1e-6 && (given.pooled[0].max[1] - 0.75).abs() < 1e-6);
        assert_eq!(given.pooled[0].argmax, [(0, 0), (0, 1)]);
    }
}

#[test]
fn a_sink_takes_its_share_as_worked_out_by_hand() {
    // one key and a sink, both with score 0: half of the weight goes nowhere
    let mut case = Case::square(1, 1, Visibility::FULL, 1);
    case.scoring.sinks = Some(vec![0.0]);
    (case.queries, case.keys, case.values) = (vec![0.0], vec![5.0], vec![3.0]);
    let given = case.run(attlas::attention::attend);
    assert!((given.context[0] - 1.5).abs() < 1e-6);
    assert!((given.lse[0] - 2.0_f32.ln()).abs() < 1e-6);
}

#[test]
fn a_query_that_sees_no_key_gets_context_zero_and_lse_minus_infinity() {
    let mut case = Case::square(5, 3, Visibility::CAUSAL, 2);
    case.key_valid = Some(vec![false, false, true, true, false]);
    case.pooling = Some(Pooling { rows: 5, columns: 5 });
    case.check();
    let given = case.run(attlas::attention::attend);
    assert_eq!(given.lse[1], f32::NEG_INFINITY);
    assert_eq!(given.context[..6], [0.0; 6]);
    assert_eq!(given.pooled[0].sum[..10], [0.0; 10]);
    case.key_valid = Some(vec![false; 5]);
    case.check();
}

#[test]
fn every_length_around_the_block_sizes_agrees_with_the_reference() {
    for n in (1..=40).chain([47, 48, 49, 63, 64, 65, 95, 96, 97, 127, 128, 129, 191, 192, 193, 200, 385]) {
        for visibility in [Visibility::FULL, Visibility::CAUSAL] {
            let mut case = Case::square(n, 8 + n % 5, visibility, n as u64);
            case.pooling = Some(Pooling { rows: 7, columns: 5 });
            case.check();
        }
    }
}

#[test]
fn every_width_of_head_and_value_agrees_with_the_reference() {
    let mut random = Random(5);
    for (d_head, d_value) in [(1, 1), (2, 17), (3, 64), (16, 0), (31, 33), (64, 64), (65, 1), (128, 130), (256, 256)] {
        let shape = Shape { n_heads: 2, n_kv_heads: 1, n_queries: 33, n_keys: 70, d_head, d_value };
        Case::new(shape, Scoring::scaled_dot_product(d_head, Visibility::FULL), &mut random).check();
    }
}

#[test]
fn any_mixture_of_options_agrees_with_the_reference() {
    let mut random = Random(42);
    for _ in 0..120 {
        let n_kv_heads = 1 + random.below(3);
        let shape = Shape {
            n_heads: n_kv_heads * (1 + random.below(3)),
            n_kv_heads,
            n_queries: 1 + random.below(150),
            n_keys: 1 + random.below(300),
            d_head: 1 + random.below(40),
            d_value: 1 + random.below(40),
        };
        let scoring = any_scoring(&shape, &mut random);
        let mut case = Case::new(shape, scoring, &mut random);
        if random.below(2) == 0 {
            case.key_valid = Some((0..shape.n_keys).map(|_| random.below(4) > 0).collect());
        }
        case.mask = any_mask(&shape, &mut random);
        case.key_bias = (random.below(3) == 0).then(|| random.numbers(shape.n_heads * shape.n_keys));
        if random.below(2) == 0 {
            case.pooling = Some(Pooling { rows: 1 + random.below(170), columns: 1 + random.below(80) });
        }
        case.check();
    }
}

/// None, stretches of any length, or bits that may differ by head; some rows see nothing.
fn any_mask(shape: &Shape, random: &mut Random) -> Option<Mask> {
    let (n_queries, n_keys) = (shape.n_queries, shape.n_keys);
    let kind = random.below(4);
    if kind < 2 {
        let row = |random: &mut Random| {
            let mut edges: Vec<usize> = (0..2 * random.below(4)).map(|_| random.below(n_keys + 1)).collect();
            edges.sort();
            edges.chunks(2).map(|edge| edge[0]..edge[1]).collect::<Vec<_>>()
        };
        let rows: Vec<_> = (0..n_queries).map(|_| row(random)).collect();
        return Some(Mask::stretches(&rows)).filter(|_| kind == 0);
    }
    let n_heads = if random.below(2) == 0 { 1 } else { shape.n_heads };
    let seen: Vec<bool> = (0..n_heads * n_queries * n_keys).map(|_| random.below(3) > 0).collect();
    Some(Mask::from_dense(&seen, [1, n_heads, n_queries, n_keys])).filter(|_| kind == 2)
}

fn any_scoring(shape: &Shape, random: &mut Random) -> Scoring {
    let limit = |random: &mut Random| (random.below(2) == 0).then(|| random.below(110) as i64 - 20);
    let bias = match random.below(3) {
        0 => Bias::None,
        1 => Bias::Alibi { slopes: (0..shape.n_heads).map(|_| random.number().abs() / 64.0).collect() },
        _ => {
            let n_offsets = 1 + random.below(60);
            let first = random.below(60) as i64 - 50;
            Bias::Relative { first, table: random.numbers(shape.n_heads * n_offsets), n_offsets }
        }
    };
    Scoring {
        scale: f64::from(1.0 / (shape.d_head as f32).sqrt()),
        softcap: (random.below(3) == 0).then_some(3.0),
        visibility: Visibility { before: limit(random), after: limit(random) },
        bias,
        sinks: (random.below(3) == 0).then(|| random.numbers(shape.n_heads)),
        query_offset: if random.below(2) == 0 { 0 } else { random.below(60) },
    }
}

/// Masks of the field that a band cannot say, over 300 tokens: packed sequences, a prefix that all see, chunks, a tree.
fn masks_of_the_field(n: usize) -> [(&'static str, Visibility, Mask); 4] {
    let rows =
        |row: &dyn Fn(usize) -> Vec<std::ops::Range<usize>>| Mask::stretches(&(0..n).map(row).collect::<Vec<_>>());
    let lengths = [n / 3, n / 2, n - n / 3 - n / 2];
    let sequence = |query: usize| {
        let first = if query < lengths[0] {
            0
        } else if query < lengths[0] + lengths[1] {
            lengths[0]
        } else {
            lengths[0] + lengths[1]
        };
        vec![first..query + 1]
    };
    let prefix = |query: usize| vec![0..(query + 1).max(n / 4)];
    let chunk = |query: usize| vec![query / 17 * 17..(query / 17 * 17 + 17).min(n)];
    // each node sees its ancestors and itself: the parent of node i is (i − 1) / 2
    let ancestors = |mut node: usize| {
        let mut seen = vec![node..node + 1];
        while node > 0 {
            node = (node - 1) / 2;
            seen.insert(0, node..node + 1);
        }
        seen
    };
    [
        ("packed sequences", Visibility::CAUSAL, rows(&sequence)),
        ("a prefix", Visibility::FULL, rows(&prefix)),
        ("chunks", Visibility::CAUSAL, rows(&chunk)),
        ("a tree", Visibility::FULL, rows(&ancestors)),
    ]
}

#[test]
fn masks_that_no_band_can_say_agree_with_the_reference() {
    for n in [1, 5, 49, 300] {
        for (name, visibility, mask) in masks_of_the_field(n) {
            let mut case = Case::square(n, 9, visibility, n as u64);
            case.mask = Some(mask);
            case.pooling = Some(Pooling { rows: 7, columns: 5 });
            case.check();
            let lse = case.run(attlas::attention::attend).lse;
            assert!(lse.iter().all(|lse| lse.is_finite()), "{name} of {n}: every query sees itself");
        }
    }
}

#[test]
fn a_query_that_a_mask_shows_no_key_has_the_sink_as_its_lse_or_minus_infinity() {
    for sink in [None, Some(vec![-0.75])] {
        let mut case = Case::square(60, 3, Visibility::FULL, 2);
        case.mask = Some(Mask::stretches(&(0..60).map(|query| vec![0..query / 2]).collect::<Vec<_>>()));
        case.scoring.sinks = sink.clone();
        case.check();
        let lse = case.run(attlas::attention::attend).lse;
        assert_eq!(lse[..2], [sink.map_or(f32::NEG_INFINITY, |sink| sink[0]); 2]);
    }
}

#[test]
fn scores_too_large_for_exp_still_give_weights() {
    for factor in [30.0, -30.0] {
        let mut case = Case::square(70, 4, Visibility::FULL, 9);
        case.queries.iter_mut().for_each(|x| *x *= factor);
        let given = case.run(attlas::attention::attend);
        let wanted = case.run(reference::attend);
        for (given, wanted) in given.context.iter().zip(&wanted.context) {
            assert!((given - wanted).abs() < 1e-4, "{given} {wanted}");
        }
    }
}

#[test]
fn scores_that_rise_from_key_to_key_are_rescaled() {
    let mut case = Case::square(300, 2, Visibility::FULL, 10);
    case.queries = vec![1.0; 600];
    case.keys = (0..600).map(|i| (i / 2) as f32 / 4.0).collect();
    case.pooling = Some(Pooling { rows: 10, columns: 30 });
    let given = case.run(attlas::attention::attend);
    let wanted = case.run(reference::attend);
    for (given, wanted) in given.context.iter().zip(&wanted.context) {
        assert!((given - wanted).abs() < 2e-5, "{given} {wanted}");
    }
    for (given, wanted) in given.pooled[0].sum.iter().zip(&wanted.pooled[0].sum) {
        assert!((given - wanted).abs() < 1e-4, "{given} {wanted}");
    }
}

#[test]
fn a_score_that_is_not_a_number_is_not_hidden() {
    let mut case = Case::square(20, 4, Visibility::FULL, 11);
    case.keys[17] = f32::NAN;
    for instructions in Instructions::ALL {
        let given = case.run(|inputs, outputs| attend_with(instructions, inputs, outputs));
        assert!(given.lse.iter().all(|lse| lse.is_nan()));
        assert!(given.context.iter().all(|context| context.is_nan()));
    }
}

#[test]
fn a_query_none_of_whose_scores_is_a_number_is_not_taken_for_one_that_sees_no_key() {
    for sinks in [None, Some(vec![0.5])] {
        let mut case = Case::square(20, 4, Visibility::CAUSAL, 11);
        case.scoring.sinks = sinks;
        case.pooling = Some(Pooling { rows: 20, columns: 1 });
        case.queries[4 * 7] = f32::NAN;
        let check = |name: &str, given: &Given| {
            for query in 0..20 {
                let context = &given.context[4 * query..][..4];
                let are_none = [context[0], given.lse[query], given.pooled[0].sum[query] as f32].map(f32::is_nan);
                assert_eq!(are_none, [query == 7; 3], "{name}, query {query}: {context:?}, {}", given.lse[query]);
            }
        };
        check("reference", &case.run(reference::attend));
        check("online", &case.run(online::attend));
        for instructions in Instructions::ALL.into_iter().filter(|choice| choice.available()) {
            let given = case.run(|inputs, outputs| attend_with(instructions, inputs, outputs));
            check(&format!("{instructions:?}"), &given);
        }
    }
}

#[test]
fn parallel_runs_give_the_same_bytes_each_time() {
    let mut case = Case::square(700, 64, Visibility::CAUSAL, 12);
    case.pooling = Some(Pooling { rows: 9, columns: 9 });
    let first = case.run(attlas::attention::attend);
    for _ in 0..3 {
        let again = case.run(attlas::attention::attend);
        assert!(first.context == again.context && first.lse == again.lse && first.pooled == again.pooled);
    }
}

/// The named tensor of the reference file, as f64.
fn reference_tensor(file: &safetensors::SafeTensors<'_>, name: &str) -> Vec<f64> {
    let tensor = file.tensor(name).unwrap();
    match tensor.dtype() {
        safetensors::Dtype::F32 => {
            tensor.data().as_chunks::<4>().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect()
        }
        safetensors::Dtype::F64 => tensor.data().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        _ => tensor.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
    }
}

#[test]
fn planted_spikes_are_found_and_tiles_are_those_that_pytorch_computed() {
    // tools/reference/long_context.py
    let bytes = include_bytes!("data/long_context.safetensors");
    let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
    let tensor = |name| reference_tensor(&file, name);
    let f32s = |name| tensor(name).iter().map(|x| *x as f32).collect::<Vec<f32>>();
    let mut case = Case::square(320, 16, Visibility::CAUSAL, 1);
    (case.queries, case.keys) = (f32s("queries"), f32s("keys"));
    case.pooling = Some(Pooling { rows: 10, columns: 10 });
    for instructions in Instructions::ALL.into_iter().filter(|choice| choice.available()) {
        let given = case.run(|inputs, outputs| attend_with(instructions, inputs, outputs));
        for (given, wanted) in given.lse.iter().zip(tensor("lse")) {
            assert!((f64::from(*given) - wanted).abs() <= 1e-6 * wanted.abs().max(1.0), "lse {given}, not {wanted}");
        }
        let pooled = &given.pooled[0];
        for tile in 0..100 {
            assert!((f64::from(pooled.max[tile]) - tensor("tile_max")[tile]).abs() <= 1e-6, "max of tile {tile}");
            assert!((pooled.sum[tile] - tensor("tile_sum")[tile]).abs() <= 2e-6, "sum of tile {tile}");
        }
        for (spike, weight) in tensor("spikes").chunks(2).zip(tensor("spike_weights")) {
            let tile = spike[0] as usize / 32 * 10 + spike[1] as usize / 32;
            assert!(weight > 0.5 && f64::from(pooled.max[tile]) >= weight - 1e-6, "the spike at {spike:?}");
        }
        let found: Vec<f64> = pooled.argmax.iter().flat_map(|at| [f64::from(at.0), f64::from(at.1)]).collect();
        assert_eq!(found, tensor("tile_argmax"));
    }
}
