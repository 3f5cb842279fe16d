//! What is measured by changing a run: against golden values, against whole runs, and on models whose heads are known.

mod common;

use attlas::recording::{Edit, Which};
use attlas::{HeadId, Kind};
use attlas_model::explain::knock_out::{Baseline, KindHead, Method};
use attlas_model::explain::score::{Form, Metric, Score};
use attlas_model::{Array, Input, Model, Next, Pass, RunOptions, Side, Site};
use common::data;
use safetensors::SafeTensors;

/// The golden numbers, opened.
struct Golden {
    bytes: Vec<u8>,
    numbers: serde_json::Value,
}

impl Golden {
    fn open() -> Golden {
        let folder = data("explain");
        let numbers = serde_json::from_slice(&std::fs::read(folder.join("measured.json")).unwrap()).unwrap();
        Golden { bytes: std::fs::read(folder.join("measured.safetensors")).unwrap(), numbers }
    }

    fn tensor(&self, name: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).unwrap_or_else(|_| panic!("{name} is there"));
        assert_eq!(tensor.dtype(), safetensors::Dtype::F64, "{name}");
        tensor.data().chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
    }

    fn ids(&self, name: &str) -> Vec<u32> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).unwrap();
        tensor.data().chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()) as u32).collect()
    }

    fn id(&self, name: &str) -> u32 {
        self.numbers[name].as_u64().unwrap() as u32
    }
}

fn model(name: &str) -> Model {
    Model::load(&data("explain").join("models").join(name)).expect("a model")
}

fn trained(name: &str) -> Model {
    Model::load(&data("trained").join(name)).expect("a model")
}

fn input(model: &Model, source: &[u32], target: &[u32]) -> Input {
    let tokens = |side: Side, ids: &[u32]| match ids.is_empty() {
        true => attlas::Tokens::default(),
        false => model.tokens_from_ids(side, ids).expect("tokens"),
    };
    Input { source: tokens(Side::Source, source), target: tokens(Side::Target, target), ..Input::default() }
}

fn gpt2(golden: &Golden) -> (Model, Input) {
    let model = model("gpt2_tiny");
    let input = input(&model, &[], &golden.ids("gpt2_tiny_input_ids"));
    (model, input)
}

fn bart(golden: &Golden) -> (Model, Input) {
    let model = model("bart_tiny");
    let input = input(&model, &golden.ids("bart_tiny_input_ids"), &golden.ids("bart_tiny_decoder_input_ids"));
    (model, input)
}

fn go_on(_: usize) -> Next {
    Next::Continue
}

/// The four metrics of the golden cases, at the last position.
fn metrics(golden: &Golden, position: usize) -> [Metric; 4] {
    let (target, foil) = (golden.id("target"), golden.id("foil"));
    let score = |foil, form| Metric::Score(Score { item: 0, position: Some(position), target, foil, form });
    [score(None, Form::Logit), score(Some(foil), Form::Logit), Metric::Loss, score(None, Form::Probability)]
}

/// Holds numbers to golden ones; gives the largest difference.
fn assert_near(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f64::max);
    println!("{what}: off by {worst:.1e}");
    assert!(worst <= tolerance, "{what}: off by {worst:e}\n{found:?}\n{expected:?}");
}

/// f32 logits of up to 22 in these models: a difference of two of them is off by a few units in the last place of the larger.
const NEAR: f64 = 2e-5;

#[test]
fn knock_outs_have_the_effects_that_other_programs_measured() {
    let golden = Golden::open();
    let (model, input) = gpt2(&golden);
    let baseline = Baseline::of(&model, &input).expect("a run");
    let heads = model.heads();
    let metrics = metrics(&golden, input.target.len() - 1);
    let base: Vec<f64> = metrics.iter().map(|metric| baseline.value(metric).expect("a number")).collect();
    assert_near(&base, &golden.tensor("base"), NEAR, "unchanged");
    let cases = [
        (Method::Zero, "zero_z_delta"),
        (Method::Mean, "mean_z_delta"),
        (Method::PatternPreserving, "pattern_preserving_zero_delta"),
    ];
    for (method, name) in cases {
        let expected = golden.tensor(name); // [layers, heads, metrics]
        for (place, metric) in metrics.iter().enumerate() {
            let found = baseline.effects(&heads, method, metric, None, &mut go_on).expect("effects");
            let expected: Vec<f64> = expected.iter().skip(place).step_by(4).copied().collect();
            assert_near(&found, &expected, NEAR, &format!("{name}, {}", metric.name()));
        }
    }
}

#[test]
fn hidden_edges_have_the_effects_that_other_programs_measured() {
    let golden = Golden::open();
    let (model, input) = gpt2(&golden);
    let baseline = Baseline::of(&model, &input).expect("a run");
    let last = input.target.len() - 1;
    let expected = golden.tensor("knockout_lastq_perhead_delta"); // [layers, heads, keys, metrics]
    for (place, metric) in metrics(&golden, last).iter().enumerate() {
        let mut found = Vec::new();
        for head in model.heads() {
            let edges = baseline.edge_effects(head, &Which::These(vec![last]), metric, &mut go_on).expect("effects");
            assert!(edges.iter().enumerate().all(|(place, (query, key, _))| (*query, *key) == (last, place)));
            found.extend(edges.into_iter().map(|(_, _, effect)| effect));
        }
        let expected: Vec<f64> = expected.iter().skip(place).step_by(4).copied().collect();
        assert_near(&found, &expected, NEAR, &format!("edges, {}", metric.name()));
    }
}

#[test]
fn an_encoder_decoders_three_kinds_of_heads_have_the_effects_that_other_programs_measured() {
    let golden = Golden::open();
    let (model, input) = bart(&golden);
    let baseline = Baseline::of(&model, &input).expect("a run");
    let (target, foil) = (golden.id("bart_target"), golden.id("bart_foil"));
    let score = |foil| {
        let position = Some(input.target.len() - 1);
        Metric::Score(Score { item: 0, position, target, foil, form: Form::Logit })
    };
    let heads = model.heads();
    let names = [
        (Kind::Encoder, "bart_zero_encoder_delta"),
        (Kind::Decoder, "bart_zero_decoder_self_delta"),
        (Kind::Cross, "bart_zero_decoder_cross_delta"),
    ];
    for (kind, name) in names {
        let heads: Vec<KindHead> = heads.iter().filter(|head| head.kind == kind).copied().collect();
        for (place, metric) in [score(None), score(Some(foil))].iter().enumerate() {
            let found = baseline.effects(&heads, Method::Zero, metric, None, &mut go_on).expect("effects");
            let expected: Vec<f64> = golden.tensor(name).iter().skip(place).step_by(2).copied().collect();
            assert_near(&found, &expected, NEAR, name);
        }
    }
}

/// The logits of a whole run with changes.
fn whole(model: &Model, input: &Input, edits: Vec<Edit<Array>>) -> Array {
    let options = RunOptions { pass: Pass { edits, ..Pass::keeping([Site::Logits]) }, ..RunOptions::default() };
    model.run(std::slice::from_ref(input), &options).expect("a run").logits.expect("logits")
}

#[test]
fn a_run_that_goes_on_from_a_layer_has_the_numbers_of_a_whole_run_bit_by_bit() {
    let golden = Golden::open();
    let induction = trained("llama-induction");
    let repeated = input(&induction, &[], &[3, 9, 14, 20, 7, 3, 9, 14]);
    for (model, input) in [gpt2(&golden), bart(&golden), (induction, repeated)] {
        let baseline = Baseline::of(&model, &input).expect("a run");
        let heads = model.heads();
        let edits = |place: usize| {
            use attlas::recording::{HeadOutput, NewWeights};
            let (head, form) = (heads[place / 4].heads(), place % 4);
            vec![match form {
                0 => Edit::HeadOutput { heads: head, to: HeadOutput::Zero },
                1 => Edit::Weights { heads: head, to: NewWeights::Uniform },
                2 => Edit::Weights { heads: head, to: NewWeights::Permuted { seed: 5 } },
                _ => Edit::Edges { heads: head, keys: Which::These(vec![0]) },
            }]
        };
        let rows: Vec<Option<usize>> = baseline.unchanged.rows.clone();
        let mut n = 0;
        let mut each = |place: usize, found: &Array| {
            assert_eq!(found.values, whole(&model, &input, edits(place)).values, "{:?}", edits(place));
            n += 1;
            Ok(())
        };
        baseline.outputs(&rows, 4 * heads.len(), &edits, &mut go_on, &mut each).expect("outputs");
        assert_eq!(n, 4 * heads.len());
    }
}

/// A text whose second half repeats its first: a model with induction heads knows each next token of it.
fn repeated(model: &Model) -> Input {
    let first: [u32; 12] = [11, 4, 27, 18, 33, 9, 41, 22, 6, 30, 15, 38];
    input(model, &[], &[first, first].concat())
}

#[test]
fn without_its_induction_heads_a_model_no_longer_copies() {
    let model = trained("llama-induction");
    let input = repeated(&model);
    let baseline = Baseline::of(&model, &input).expect("a run");
    let heads = model.heads();
    let position = 18; // in the second half: the token after it stands after the token's first occurrence
    let target = input.target.tokens[position + 1].id.expect("an id");
    let metric =
        Metric::Score(Score { item: 0, position: Some(position), target, foil: None, form: Form::Probability });
    let before = baseline.value(&metric).expect("a number");
    let effects = baseline.effects(&heads, Method::Zero, &metric, None, &mut go_on).expect("effects");
    for (head, effect) in heads.iter().zip(&effects) {
        println!("{} {effect:+.3} {:.3}", head.head, baseline.mean_weight(*head).unwrap());
    }
    println!("before {before}");
}

#[test]
fn what_is_not_there_is_refused_in_a_sentence() {
    let golden = Golden::open();
    let (model, input) = gpt2(&golden);
    let baseline = Baseline::of(&model, &input).expect("a run");
    let absent = KindHead { kind: Kind::Decoder, head: HeadId { layer: 3, head: 9 } };
    let error = baseline.effects(&[absent], Method::Zero, &Metric::Loss, None, &mut go_on).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no head L3H9 of decoder self-attention; gpt2_tiny has 3 decoder layers of 4 heads"
    );
    let stop = baseline.effects(&model.heads(), Method::Zero, &Metric::Loss, None, &mut |_| Next::Stop);
    assert_eq!(stop.unwrap_err().to_string(), "the run was stopped");
}
