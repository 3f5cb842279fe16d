//! What methods say of tokens, against the code of their authors (`tools/analysis/trim_gradients.py` says which), on tiny models
//! with random weights.

#![allow(clippy::print_stderr, reason = "how near the numbers are is worth knowing when a test fails")]

mod common;

use std::collections::BTreeMap;

use attlas::{Kind, Quantity};
use attlas_model::explain::score::{Form, Score};
use attlas_model::explain::{Attribution, Cost, IntegrationPath, Method, Moved};
use attlas_model::{Input, Model, Side};
use common::{Expected, arrays, data};
use serde_json::Value;

/// The stored values, and a model with the texts that they are of.
struct Golden {
    tensors: BTreeMap<String, Expected>,
    numbers: Value,
}

impl Golden {
    fn read() -> Golden {
        let folder = data("explain");
        let numbers = std::fs::read(folder.join("gradients.json")).expect("the numbers");
        Golden {
            tensors: arrays(&folder.join("gradients.safetensors")),
            numbers: serde_json::from_slice(&numbers).expect("JSON"),
        }
    }

    fn case(&self, model: &str) -> (Model, Input) {
        let ids = |name: &str| self.tensors.get(&format!("{model}.{name}")).map(Expected::ids);
        let model = load(model);
        let input = input(&model, &ids("input_ids").expect("ids"), ids("decoder_input_ids").as_deref());
        let segments = ids("token_type_ids").unwrap_or_default();
        (model, Input { segments, ..input })
    }

    fn number(&self, path: &[&str]) -> u32 {
        let value = path.iter().fold(&self.numbers, |value, name| &value[*name]);
        value.as_u64().unwrap_or_else(|| panic!("no number {path:?}")) as u32
    }

    fn check(&self, name: &str, found: &[f64], tolerance: f64) {
        close(name, found, &self.tensors[name].values, tolerance);
    }

    /// A row of a matrix.
    fn row(&self, name: &str, row: usize) -> &[f64] {
        let Expected { shape, values } = &self.tensors[name];
        let n = shape[shape.len() - 1];
        &values[row * n..][..n]
    }
}

fn load(name: &str) -> Model {
    Model::load(&data("explain/models").join(name)).expect("a model")
}

fn input(model: &Model, ids: &[u32], target: Option<&[u32]>) -> Input {
    let tokens = |side, ids: &[u32]| model.tokens_from_ids(side, ids).expect("tokens");
    match (model.has(Side::Source), target) {
        (true, Some(target)) => {
            Input { source: tokens(Side::Source, ids), target: tokens(Side::Target, target), ..Input::default() }
        }
        (true, None) => Input { source: tokens(Side::Source, ids), ..Input::default() },
        (false, _) => Input { target: tokens(Side::Target, ids), ..Input::default() },
    }
}

fn logit(position: usize, target: u32) -> Score {
    Score { item: 0, position: Some(position), target, foil: None, form: Form::Logit }
}

fn class(target: u32) -> Score {
    Score { item: 0, position: None, target, foil: None, form: Form::Logit }
}

/// Holds numbers to expected ones, relative to the largest of them.
#[track_caller]
fn close(name: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let worst = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f64::max);
    eprintln!("{name}: {worst:.1e} of {largest:.1e}");
    assert!(worst <= tolerance * largest, "{name}: off by {worst}\n{found:?}\n{expected:?}");
}

fn explain(model: &Model, input: &Input, score: &Score, method: Method) -> Attribution {
    model.explain(input, score, method).expect("an explanation")
}

/// The scores of the tokens, with the 1 that each position has for itself in the paper's matrices.
fn with_identity(mut scores: Vec<f64>, position: usize) -> Vec<f64> {
    scores[position] += 1.0;
    scores
}

#[test]
fn weights_and_norms_are_means_of_the_explained_row() {
    let (gpt2, text) = Golden::read().case("gpt2_tiny");
    let found = explain(&gpt2, &text, &logit(6, 3), Method::Weight);
    let pass = attlas_model::Pass::keeping([attlas_model::Site::Attention, attlas_model::Site::Values]);
    let options = attlas_model::RunOptions { pass, ..Default::default() };
    let mut recording = gpt2.run(std::slice::from_ref(&text), &options).expect("a run").recording;
    attlas_model::explain::keep_value_norms(&gpt2, &mut recording).expect("norms");
    for (method, quantity) in [(Method::Weight, Quantity::Weight), (Method::Norm, Quantity::Norm)] {
        let mut expected = vec![0.0; 11];
        for (layer, head) in (0..3).flat_map(|layer| (0..4).map(move |head| (layer, head))) {
            let layer = recording.layer_in(quantity, Kind::Decoder, layer).expect("a layer");
            let row = recording.map_of(&layer, 0, head).expect("a map").row(6);
            expected.iter_mut().zip(row).for_each(|(sum, weight)| *sum += f64::from(weight) / 12.0);
        }
        close(method.name(), &explain(&gpt2, &text, &found.score, method).target, &expected, 1e-6);
    }
    assert!((found.sum() - 1.0).abs() < 1e-5 && found.target[7..] == [0.0; 4], "{found:?}");
}

#[test]
fn relevance_of_a_classifier_and_of_a_language_model_is_that_of_the_published_rules() {
    let golden = Golden::read();
    let (bert, text) = golden.case("bert_tiny");
    let score = class(golden.number(&["bert_class"]));
    let found = explain(&bert, &text, &score, Method::Relevance);
    close("bert", &with_identity(found.source, 0), golden.row("chefer.bert_tiny", 2 * 11), 1e-5);
    let (gpt2, text) = golden.case("gpt2_tiny");
    let score = logit(10, golden.number(&["gpt2_target"]));
    let found = explain(&gpt2, &text, &score, Method::Relevance);
    close("gpt2", &with_identity(found.target, 10), golden.row("chefer.gpt2_tiny_R", 10), 1e-5);
    let score = Score { foil: Some(golden.number(&["gpt2_foil"])), ..score };
    let found = explain(&gpt2, &text, &score, Method::Relevance);
    close(
        "gpt2, against a foil",
        &with_identity(found.target, 10),
        golden.row("chefer.gpt2_tiny_R_contrast", 10),
        1e-5,
    );
}

#[test]
fn relevance_through_cross_attention_holds_at_every_position() {
    let golden = Golden::read();
    let (model, text) = golden.case("bart_tiny");
    for case in ["bart_tiny_last", "bart_tiny_mid"] {
        let position = golden.number(&[case, "position"]) as usize;
        let score = logit(position, golden.number(&[case, "target"]));
        let found = explain(&model, &text, &score, Method::Relevance);
        close(case, &found.source, golden.row(&format!("chefer.{case}.safe_Rqi"), position), 1e-5);
        let target = with_identity(found.target, position);
        close(case, &target, golden.row(&format!("chefer.{case}.Rqq"), position), 1e-5);
    }
}

#[test]
fn maps_of_relevance_and_of_gradient_times_weight_have_the_published_numbers() {
    let golden = Golden::read();
    let (bert, text) = golden.case("bert_tiny");
    let score = class(golden.number(&["bert_class"]));
    let recording = bert.explained_maps(&text, &score, Quantity::Relevance).expect("maps");
    assert!(recording.layers.iter().all(|layer| layer.quantity == Quantity::Relevance && layer.shape.n_heads == 1));
    let mut found = Vec::new();
    for layer in 0..3 {
        let map = recording.map_of(&recording.layers[layer], 0, 0).expect("a map").dense();
        found.extend(map.iter().enumerate().map(|(place, value)| f64::from(*value) + f64::from(place % 12 == 0)));
    }
    golden.check("chefer.bert_tiny", &found, 1e-5);
    let (gpt2, gpt2_text) = golden.case("gpt2_tiny");
    let gpt2_score = logit(10, golden.number(&["gpt2_target"]));
    for (name, model, text, score) in [("bert", &bert, &text, score), ("gpt2", &gpt2, &gpt2_text, gpt2_score)] {
        let recording = model.explained_maps(text, &score, Quantity::GradientWeight).expect("maps");
        let layer = &recording.layers[1];
        let head = |head| recording.map_of(layer, 0, head).expect("a map").dense();
        let found: Vec<f64> = (0..4).flat_map(head).map(f64::from).collect();
        let [weights, gradients] =
            ["attn", "grad"].map(|part| &golden.tensors[&format!("products.{name}_tiny.{part}")].values);
        let expected: Vec<f64> = weights.iter().zip(gradients).map(|(a, g)| a * g).collect();
        close(name, &found, &expected, 1e-5);
        assert!(recording.check().expect("checks").iter().all(attlas::recording::LayerCheck::passed));
    }
    let error = bert.explained_maps(&text, &score, Quantity::Rollout).expect_err("a refusal");
    assert!(error.to_string().contains("rollout"), "{error}");
}

#[test]
fn cross_attention_has_maps_of_relevance_too() {
    let golden = Golden::read();
    let (bart, text) = golden.case("bart_tiny");
    let recording = bart.explained_maps(&text, &logit(3, 42), Quantity::Relevance).expect("maps");
    let kinds: Vec<(Kind, usize)> = recording.layers.iter().map(|layer| (layer.kind, layer.index)).collect();
    let (encoder, decoder, cross) = (Kind::Encoder, Kind::Decoder, Kind::Cross);
    assert_eq!(kinds[..3], [(encoder, 0), (encoder, 1), (decoder, 0)]);
    assert_eq!(kinds[kinds.len() - 1], (cross, 2));
    let row = recording.map_of(&recording.layers[kinds.len() - 1], 0, 0).expect("a map").row(3);
    let row: Vec<f64> = row.into_iter().map(f64::from).collect();
    close("cross", &row, golden.row("chefer.bart_tiny_mid.safe_Rqi", 3), 1e-5);
}

#[test]
fn gradients_of_words_are_those_of_captum() {
    let golden = Golden::read();
    for (case, name) in
        [("bert", "bert_tiny"), ("gpt2", "gpt2_tiny"), ("bart_src", "bart_tiny"), ("bart_tgt", "bart_tiny")]
    {
        let (model, text) = golden.case(name);
        let score = match case {
            "bert" => class(golden.number(&["bert_class"])),
            "gpt2" => logit(10, golden.number(&["gpt2_target"])),
            _ => logit(7, golden.number(&["bart_target"])),
        };
        let (is_target, moved) = match case {
            "gpt2" => (true, Moved::Both),
            "bart_tgt" => (true, Moved::Target),
            "bart_src" => (false, Moved::Source),
            _ => (false, Moved::Both),
        };
        let side = |found: Attribution| if is_target { found.target } else { found.source };
        let by = |method| explain(&model, &text, &score, method);
        golden.check(&format!("gradients.{case}.score"), &[by(Method::Saliency).value], 2e-5);
        golden.check(&format!("gradients.{case}.l2"), &side(by(Method::Saliency)), 1e-5);
        golden.check(&format!("gradients.{case}.ixg_sum"), &side(by(Method::InputGradient)), 2e-5);
        golden.check(&format!("gradients.{case}.loo_zero"), &side(by(Method::LeaveOut)), 3e-5);
        let way = IntegrationPath { moved, ..IntegrationPath::default() };
        let found = model.integrated_gradients(&text, &score, way).expect("an explanation");
        let completeness = found.completeness.expect("a sum");
        assert!(completeness.holds(), "{case}: {completeness:?}");
        golden.check(&format!("gradients.{case}.ig_sum"), &side(found), 2e-5);
    }
}

#[test]
fn both_sides_of_an_encoder_decoder_share_a_score_out() {
    let golden = Golden::read();
    let (bart, text) = golden.case("bart_tiny");
    let found = explain(&bart, &text, &logit(7, golden.number(&["bart_target"])), Method::IntegratedGradients);
    let completeness = found.completeness.expect("a sum");
    assert_eq!((found.source.len(), found.target.len()), (11, 8));
    assert!(completeness.holds() && completeness.whole != 0.0, "{completeness:?}");
    let few = IntegrationPath { n_steps: 1, moved: Moved::Both };
    let rough = bart.integrated_gradients(&text, &found.score, few).expect("an explanation");
    assert!(!rough.completeness.expect("a sum").holds(), "one step is too few: {rough:?}");
}

#[test]
fn pixels_and_frames_are_explained_by_patch_and_by_time() {
    let families = data("families");
    for (name, run) in [("vit", "images"), ("dinov2-classifier", "images"), ("whisper", "features")] {
        let model = Model::load(&families.join(name)).expect("a model");
        let stored = arrays(&families.join(name).join("expected.safetensors"));
        let text = common::reference::inputs(&model, &stored, run).expect("inputs").swap_remove(0);
        let score = if name == "whisper" { logit(3, 7) } else { class(1) };
        let n = text.source.len();
        for method in Method::ALL.into_iter().filter(|method| (name, *method) != ("whisper", Method::Rollout)) {
            let found = explain(&model, &text, &score, method);
            assert_eq!((found.source.len(), found.target.len()), (n, text.target.len()), "{name} {method:?}");
            assert!(found.source.iter().any(|score| *score != 0.0), "{name} {method:?}: {found:?}");
            assert!(found.shares(&text).len() == n + text.target.len());
            if found.method == Method::IntegratedGradients {
                let completeness = found.completeness.expect("a sum");
                assert!(completeness.holds(), "{name}: {completeness:?}");
            }
            let reads_pixels = matches!(method.definition().cost, Cost::WayBack | Cost::Steps)
                && !matches!(method, Method::GradientAttention | Method::Relevance)
                || method == Method::LeaveOut;
            assert!(name == "whisper" || !reads_pixels || found.source[0] == 0.0, "CLS is no pixel: {found:?}");
        }
    }
}

#[test]
fn rollout_and_contributions_are_the_rows_of_the_explained_position_behind_the_last_layer() {
    let (gpt2, text) = Golden::read().case("gpt2_tiny");
    let run = |pass| {
        let options = attlas_model::RunOptions { pass, ..Default::default() };
        gpt2.run(std::slice::from_ref(&text), &options).expect("a run")
    };
    let row = |recording: &attlas::Recording, layer: &attlas::Layer| -> Vec<f64> {
        recording.map_of(layer, 0, 0).expect("a map").row(6).into_iter().map(f64::from).collect()
    };
    let recording = run(attlas_model::Pass::default()).recording;
    let layers = attlas::analysis::rollout(&recording, Kind::Decoder).expect("a rollout");
    let of = |method| explain(&gpt2, &text, &logit(6, 3), method).target;
    close("rollout", &of(Method::Rollout), &row(&recording, &layers[2]), 1e-6);
    let traced = run(attlas_model::explain::traced());
    let (layers, _) =
        attlas_model::explain::contributions(&gpt2, &traced, attlas_model::explain::Reach::Model).expect("shares");
    close("alti", &of(Method::Alti), &row(&traced.recording, &layers[2]), 1e-6);
    // what is written of an encoder-decoder: both sides together are the whole
    let (bart, text) = Golden::read().case("bart_tiny");
    let found = explain(&bart, &text, &logit(3, 5), Method::Alti);
    assert!((found.sum() - 1.0).abs() < 1e-5, "{found:?}");
    let refused = bart.explain(&text, &logit(3, 5), Method::Rollout).expect_err("a refusal");
    assert!(
        refused.to_string().starts_with("rollout is not defined for the decoder of an encoder-decoder"),
        "{refused}"
    );
}

#[test]
fn a_hidden_token_is_what_a_whole_run_loses_when_nobody_else_looks_at_it() {
    use attlas::recording::{Edit, Heads, Which};
    let (gpt2, text) = Golden::read().case("gpt2_tiny");
    let score = logit(6, 3);
    let found = explain(&gpt2, &text, &score, Method::Hide);
    let hidden = |token: usize| {
        let queries = Which::These((0..11).filter(|query| *query != token).collect());
        let edit = |layer| Edit::Edges {
            heads: Heads { queries: queries.clone(), ..Heads::all(Kind::Decoder, layer) },
            keys: Which::These(vec![token]),
        };
        let pass = attlas_model::Pass {
            edits: (0..3).map(edit).collect(),
            ..attlas_model::Pass::keeping([attlas_model::Site::Logits])
        };
        let options = attlas_model::RunOptions { pass, ..Default::default() };
        let run = gpt2.run(std::slice::from_ref(&text), &options).expect("a run");
        score.value(&run.logits.expect("logits")).expect("a value")
    };
    let expected: Vec<f64> = (0..6).map(|token| found.value - hidden(token)).collect();
    close("hidden", &found.target[..6], &expected, 1e-5);
    assert!(found.target[6].is_nan(), "the explained position is looked at by no other: {found:?}");
    assert!(found.target[7..].iter().all(|loss| *loss == 0.0), "{found:?}");
    assert!(found.target[..6].iter().all(|loss| *loss != 0.0), "{found:?}");
    // all that cross-attention sees stays
    let bart = load("bart_tiny");
    let found = explain(&bart, &input(&bart, &[5], Some(&[2, 7, 9])), &logit(2, 3), Method::Hide);
    assert!(found.source[0].is_nan() && found.target[2].is_nan() && found.target[1].is_finite(), "{found:?}");
}

#[test]
fn what_cannot_be_explained_is_refused_in_a_sentence() {
    let message = |model: &Model, input: &Input, score: &Score, method| {
        model.explain(input, score, method).expect_err("a refusal").to_string()
    };
    let (gpt2, text) = Golden::read().case("gpt2_tiny");
    for method in Method::ALL {
        let far = message(&gpt2, &text, &logit(11, 3), method);
        assert_eq!(far, "there is no position 11 in a text of 11 tokens, which are counted from 0");
        let unknown = message(&gpt2, &text, &logit(10, 4_000), method);
        assert_eq!(unknown, "there is no token 4000; the model has 0 to 59");
    }
    let none = IntegrationPath { n_steps: 0, moved: Moved::Both };
    let error = gpt2.integrated_gradients(&text, &logit(10, 3), none).expect_err("a refusal");
    assert_eq!(error.to_string(), "a way has 1 to 10000 steps, not 0");
    let families = data("families");
    let layers = Model::load(&families.join("gpt2-layer-scaled")).expect("a model");
    let tokens = layers.tokens_from_ids(Side::Target, &[5, 6, 7]).expect("tokens");
    let text = Input { target: tokens, ..Input::default() };
    let refused = message(&layers, &text, &logit(2, 3), Method::Saliency);
    assert!(refused.ends_with("has no logits: its files hold only the layers"), "{refused}");
}

#[test]
fn where_no_gradient_goes_back_weights_and_leaving_out_still_answer() {
    let deberta = Model::load(&data("families").join("deberta-v3-classifier")).expect("a model");
    let text = input(&deberta, &[5, 9, 7, 11], None);
    let score = class(1);
    for method in Method::ALL {
        let found = deberta.explain(&text, &score, method);
        match method {
            _ if !matches!(method.definition().cost, Cost::WayBack | Cost::Steps) => {
                let found = found.expect("an explanation");
                assert!(found.source.len() == 4 && found.source.iter().any(|score| *score != 0.0), "{found:?}");
            }
            _ => {
                let message = found.expect_err("a refusal").to_string();
                assert!(message.contains("content") && message.contains("can be had"), "{message}");
            }
        }
    }
}

#[test]
fn relevance_by_rules_is_that_of_lxt() {
    let golden = Golden::read();
    for name in ["gpt2_tiny", "llama_tiny_gqa"] {
        let (model, text) = golden.case(name);
        let score = logit(10, golden.number(&[&format!("lrp.{name}")]));
        for (method, rules) in [(Method::AttnLrp, "attnLRP"), (Method::CpLrp, "cp_LRP")] {
            let found = explain(&model, &text, &score, method);
            golden.check(&format!("lrp.{name}.{rules}"), &found.target, 2e-5);
        }
    }
}

#[test]
fn relevance_through_values_alone_sums_to_a_logit_that_is_cut() {
    let gemma2 = Model::load(&data("families").join("gemma2")).expect("a model");
    let text = input(&gemma2, &[5, 9, 7, 11, 30], None);
    let mut largest = 0.0_f64;
    for target in 0..48 {
        let found = explain(&gemma2, &text, &logit(4, target), Method::CpLrp);
        let completeness = found.completeness.expect("a sum");
        assert!(completeness.error() <= 1e-4 * completeness.whole.abs() + 1e-6, "{target}: {completeness:?}");
        largest = largest.max(completeness.whole.abs());
    }
    // the chain rule would be off by two thirds of the square of logit ÷ cap, which is 5 here
    assert!((largest / 5.0).powi(2) > 5e-3, "with logits of up to {largest} the cap does not show");
}

#[test]
fn probabilities_are_explained_as_inseq_explains_them() {
    let golden = Golden::read();
    for name in ["gpt2_tiny", "bart_tiny"] {
        let model = load(name);
        let ids = |side: &str| -> Vec<u32> {
            let ids = golden.numbers[&format!("inseq.{name}")][side].as_array().expect("ids");
            ids.iter().map(|id| id.as_u64().expect("an id") as u32).collect()
        };
        let (source, target) = (ids("source"), ids("target"));
        let is_decoder = name == "gpt2_tiny";
        let n_given = if is_decoder { source.len() } else { 1 };
        for (step, position) in (n_given..target.len()).enumerate() {
            let text = match is_decoder {
                true => input(&model, &target[..position], None),
                false => input(&model, &source, Some(&target[..position])),
            };
            let form = Form::Probability;
            let score = Score { form, ..logit(position - 1, target[position]) };
            for (method, inseq) in [(Method::Saliency, "saliency"), (Method::InputGradient, "input_x_gradient")] {
                let found = explain(&model, &text, &score, method);
                let Expected { shape, values } = &golden.tensors[&format!("inseq.{name}.{inseq}")];
                let found = if is_decoder { found.target } else { found.source };
                let n = if is_decoder { position } else { source.len() };
                let expected: Vec<f64> = (0..n).map(|token| values[token * shape[1] + step]).collect();
                close(&format!("{name} {inseq} {step}"), &found, &expected, 1e-3);
            }
        }
    }
}
