//! What keys add to states, and along which paths: norms, contributions, rollout and flow, held to other implementations.

#![allow(clippy::print_stderr, reason = "how near the numbers are is worth knowing when a test fails")]

mod common;

use std::collections::BTreeMap;

use attlas::analysis::{flow, flows_into, rollout};
use attlas::recording::{Edit, HeadOutput, Heads, Which};
use attlas::{Head, HeadId, Kind, Layer, Quantity, Recording, View, ViewOptions, Weights};
use attlas_model::explain::{
    Asked, Composition, NormForm, Norms, Part, Reach, circuit, compositions, contributions, copying, keep_value_norms,
    mixing, summed_norms, traced, why,
};
use attlas_model::{Array, Decoding, Input, Model, Run, RunOptions, Side};
use common::{Expected, arrays, data, largest_excess};

const TOLERANCE: f64 = 1e-5;

type OfPair = fn(&Composition) -> f32;
type OfShares = fn(&attlas_model::explain::Shares) -> f64;

fn golden() -> BTreeMap<String, Expected> {
    arrays(&data("explain/paths.safetensors"))
}

fn model(name: &str) -> Model {
    Model::load(&data("explain/models").join(name)).expect("a model")
}

/// The text of the golden cases.
fn input(model: &Model, name: &str) -> Input {
    let golden = golden();
    let ids = |what: &str| golden.get(&format!("{name}_{what}")).map(Expected::ids);
    let tokens = |side: Side, ids: Option<Vec<u32>>| match ids {
        Some(ids) if model.has(side) => model.tokens_from_ids(side, &ids).expect("tokens"),
        _ => attlas::Tokens::default(),
    };
    let target = if model.has(Side::Source) { ids("decoder_input_ids") } else { ids("input_ids") };
    Input {
        source: tokens(Side::Source, ids("input_ids")),
        target: tokens(Side::Target, target),
        segments: ids("token_type_ids").unwrap_or_default(),
        ..Input::default()
    }
}

fn run(model: &Model, name: &str) -> Run {
    let options = RunOptions { decoding: Decoding::TeacherForcing, pass: traced() };
    model.run(&[input(model, name)], &options).expect("a run")
}

/// A layer's numbers, one head after the other.
fn numbers(recording: &Recording, layer: &Layer) -> Vec<f32> {
    (0..layer.shape.n_heads).flat_map(|head| recording.map_of(layer, 0, head).expect("a map").dense()).collect()
}

/// Holds layers, one after the other, to a golden array.
fn check(recording: &Recording, layers: &[Layer], name: &str) {
    let found: Vec<f32> = layers.iter().flat_map(|layer| numbers(recording, layer)).collect();
    let (excess, place) = largest_excess(&found, &golden()[name].values, 0.0);
    eprintln!("{name}: off by {excess:.1e} at most");
    assert!(excess <= TOLERANCE, "{name}: off by {excess} at {place}");
}

fn norms_of_heads(run: &mut Run, model: &Model, kind: Kind) -> Vec<Layer> {
    keep_value_norms(model, &mut run.recording).expect("norms");
    run.recording.layers_in(Quantity::Norm, kind).into_iter().map(|layer| layer.into_owned()).collect()
}

#[test]
fn norms_of_heads_are_those_of_kobayashis_class_and_take_one_number_per_key() {
    let model = model("bert_tiny");
    let mut run = run(&model, "bert_tiny");
    let layers = norms_of_heads(&mut run, &model, Kind::Encoder);
    assert!(layers.iter().all(|layer| matches!(layer.weights, Weights::Factored(_))), "nothing of size n × n");
    check(&run.recording, &layers, "k20_afx");
    let kept: Vec<f32> = run.recording.layers.iter().flat_map(norms_kept).collect();
    assert!(largest_excess(&kept, &golden()["k20_fx"].values, TOLERANCE).0 <= TOLERANCE);

    let model = self::model("gpt2_tiny");
    let mut run = self::run(&model, "gpt2_tiny");
    let layers = norms_of_heads(&mut run, &model, Kind::Decoder);
    check(&run.recording, &layers, "gpt2_afx");
}

fn norms_kept(layer: &Layer) -> Vec<f32> {
    let norms = layer.traces.get(attlas::Trace::ValueNorms).expect("norms");
    norms.read(0..norms.len()).expect("numbers").into_owned()
}

#[test]
fn every_piece_of_a_map_of_norms_is_the_same_numbers() {
    let model = model("gpt2_tiny");
    let mut run = run(&model, "gpt2_tiny");
    let layers = norms_of_heads(&mut run, &model, Kind::Decoder);
    let map = run.recording.map_of(&layers[1], 0, 2).expect("a map");
    let (n, dense) = (map.n_keys(), map.dense());
    assert_eq!(map.quantity(), Quantity::Norm);
    for at in 0..n {
        let row: Vec<f32> = dense[at * n..(at + 1) * n].to_vec();
        assert!(map.row(at).iter().zip(&row).all(|(a, b)| (a - b).abs() < 1e-6));
        let column = map.column(at);
        assert!(column.iter().enumerate().all(|(query, x)| (x - dense[query * n + at]).abs() < 1e-6));
    }
    let tile = map.tile(2..9, 1..6);
    assert!(tile.chunks(5).zip(2..).all(|(row, query)| row.iter().zip(1..).all(|(x, key)| {
        let key: usize = key;
        let query: usize = query;
        (x - dense[query * n + key]).abs() < 1e-6
    })));
    let pooled = map.pooled(attlas::Pooling { rows: 1, columns: 1 });
    let largest = dense.iter().copied().fold(0.0_f32, f32::max);
    assert!((pooled.max[0] - largest).abs() < 1e-6, "{} {largest}", pooled.max[0]);
}

#[test]
fn norms_of_layers_and_mixing_ratios_are_those_of_kobayashi() {
    let model = model("bert_tiny");
    let run = run(&model, "bert_tiny");
    for (form, name) in
        [(NormForm::Sum, "k21_sum_afx"), (NormForm::Residual, "k21_sum_afx_res"), (NormForm::LayerNorm, "k21_post_ln")]
    {
        let (layers, _) = summed_norms(&model, &run, Kind::Encoder, form).expect("norms");
        check(&run.recording, &layers, name);
    }
    let ratios = mixing(&model, &run, Kind::Encoder).expect("ratios");
    let columns: [(&str, OfShares); 3] = [
        ("k21_mix_attn", |shares| shares.attention),
        ("k21_mix_attnres", |shares| shares.residual),
        ("k21_mix_attnresln", |shares| shares.layer_norm),
    ];
    for (name, column) in columns {
        let found: Vec<f32> = ratios.iter().map(|ratio| column(&ratio.mixing) as f32).collect();
        let (excess, place) = largest_excess(&found, &golden()[name].values, 0.0);
        assert!(excess <= TOLERANCE, "{name}: off by {excess} at {place}");
    }

    let model = self::model("gpt2_tiny");
    let run = self::run(&model, "gpt2_tiny");
    let (sum, _) = summed_norms(&model, &run, Kind::Decoder, NormForm::Sum).expect("norms");
    check(&run.recording, &sum, "gpt2_sum_afx");
    let (residual, _) = summed_norms(&model, &run, Kind::Decoder, NormForm::Residual).expect("norms");
    check(&run.recording, &residual, "gpt2_sum_afx_res");
    let (behind, _) = summed_norms(&model, &run, Kind::Decoder, NormForm::LayerNorm).expect("norms");
    assert_eq!(behind, residual, "no norm comes after a pre-norm sublayer");
}

#[test]
fn contributions_are_altis_through_a_layer_and_through_the_model() {
    for (name, kind, of_layer, of_model) in [
        ("bert_tiny", Kind::Encoder, "alti_layer_exact", "alti_rollout_exact"),
        ("gpt2_tiny", Kind::Decoder, "gpt2_alti_layer", "gpt2_alti_rollout"),
    ] {
        let model = model(name);
        let run = run(&model, name);
        for (reach, golden) in [(Reach::Layer, of_layer), (Reach::Model, of_model)] {
            let (layers, note) = contributions(&model, &run, reach).expect("contributions");
            assert!(layers.iter().all(|layer| (layer.kind, layer.quantity) == (kind, Quantity::Contribution)));
            assert!(note.contains("ALTI"));
            check(&run.recording, &layers, golden);
        }
    }
}

#[test]
fn contributions_of_an_encoder_decoder_are_those_of_alti_plus() {
    let model = model("bart_tiny");
    let run = run(&model, "bart_tiny");
    let of_kind = |layers: &[Layer], kind: Kind| -> Vec<f32> {
        let of_kind = layers.iter().filter(|layer| layer.kind == kind);
        of_kind.flat_map(|layer| numbers(&run.recording, layer)).collect()
    };
    let golden = golden();
    let (layers, _) = contributions(&model, &run, Reach::Layer).expect("contributions");
    let encoder = largest_excess(&of_kind(&layers, Kind::Encoder), &golden["bart_alti_enc"].values, TOLERANCE);
    assert!(encoder.0 <= TOLERANCE, "{encoder:?}");
    // the golden cross-attention has the residual as its last column, and self-attention its own row sums
    let (cross, own) = (&golden["bart_alti_cross"].values, &golden["bart_alti_self"].values);
    let source: Vec<f64> = cross.chunks(12).flat_map(|row| &row[..11]).copied().collect();
    let target: Vec<f64> =
        own.chunks(8).zip(cross.chunks(12)).flat_map(|(own, cross)| own.iter().map(|x| x * cross[11])).collect();
    for (kind, expected) in [(Kind::Cross, &source), (Kind::Decoder, &target)] {
        let (excess, place) = largest_excess(&of_kind(&layers, kind), expected, TOLERANCE);
        assert!(excess <= TOLERANCE, "{kind}: off by {excess} at {place}");
    }
    let (layers, _) = contributions(&model, &run, Reach::Model).expect("contributions");
    let total = &golden["bart_altiplus_total"].values; // [layers, 8, 11 + 8]
    let source: Vec<f64> = total.chunks(19).flat_map(|row| &row[..11]).copied().collect();
    let target: Vec<f64> = total.chunks(19).flat_map(|row| &row[11..]).copied().collect();
    for (kind, expected) in [(Kind::Cross, &source), (Kind::Decoder, &target)] {
        let (excess, place) = largest_excess(&of_kind(&layers, kind), expected, TOLERANCE);
        eprintln!("ALTI+ {kind}: off by {excess:.1e} at most");
        assert!(excess <= TOLERANCE, "{kind}: off by {excess} at {place}");
    }
}

#[test]
fn contributions_of_source_and_target_together_sum_to_one() {
    for name in ["bart_tiny", "gpt2_tiny", "bert_tiny"] {
        let model = model(name);
        let run = run(&model, name);
        let (layers, _) = contributions(&model, &run, Reach::Model).expect("contributions");
        let last =
            |kind: Kind| layers.iter().rfind(|layer| layer.kind == kind).map(|layer| numbers(&run.recording, layer));
        let (own, cross) = (last(if name == "bert_tiny" { Kind::Encoder } else { Kind::Decoder }), last(Kind::Cross));
        let own = own.expect("a map");
        let n = own.len().isqrt();
        for query in 0..n {
            let own: f32 = own[query * n..(query + 1) * n].iter().sum();
            let cross = cross
                .as_ref()
                .map_or(0.0, |cross| cross.chunks(cross.len() / n).nth(query).expect("a row").iter().sum::<f32>());
            assert!((own + cross - 1.0).abs() < 1e-5, "{name} row {query}: {own} + {cross}");
        }
    }
}

#[test]
fn rollout_and_flow_are_those_of_the_official_code() {
    let model = model("bert_tiny");
    let recording = run(&model, "bert_tiny").recording;
    check(&recording, &rollout(&recording, Kind::Encoder).expect("rollout"), "bert_tiny_rollout");
    let flows: Vec<Layer> = (0..3).map(|layer| flow(&recording, Kind::Encoder, layer, 64).expect("flow")).collect();
    check(&recording, &flows, "bert_tiny_flow");
    let model = self::model("gpt2_tiny");
    let recording = run(&model, "gpt2_tiny").recording;
    check(&recording, &rollout(&recording, Kind::Decoder).expect("rollout"), "gpt2_tiny_rollout");
    // the golden flows of causal maps are of the first eight tokens
    let golden = golden();
    for name in ["gpt2_tiny", "seed_tiny"] {
        let weights = &golden[&format!("{name}_flow_input_attn")];
        let [n_layers, n_heads, n, _] = weights.shape[..] else { panic!("four sizes") };
        let mixed: Vec<Vec<f64>> =
            weights.values.chunks(n_heads * n * n).map(|layer| augmented(layer, n_heads, n)).collect();
        let expected = &golden[&format!("{name}_flow_raw")].values;
        for layer in 0..n_layers {
            let found: Vec<f32> =
                (0..n).flat_map(|query| flows_into(&mixed[..=layer], query)).map(|x| x as f32).collect();
            let (excess, place) = largest_excess(&found, &expected[layer * n * n..(layer + 1) * n * n], TOLERANCE);
            assert!(excess <= TOLERANCE, "{name} layer {layer}: off by {excess} at {place}");
        }
    }
}

/// The mean of heads with the residual, rows divided by their sums.
fn augmented(heads: &[f64], n_heads: usize, n: usize) -> Vec<f64> {
    let mean = |cell: usize| heads.chunks(n * n).map(|head| head[cell]).sum::<f64>() / n_heads as f64;
    let mut mixed: Vec<f64> =
        (0..n * n).map(|cell| mean(cell) + if cell / n == cell % n { 1.0 } else { 0.0 }).collect();
    for row in mixed.chunks_mut(n) {
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|x| *x /= sum);
    }
    mixed
}

#[test]
fn the_decoder_of_an_encoder_decoder_has_no_rollout_and_the_sentence_gives_the_share_it_would_have() {
    let model = model("bart_tiny");
    let recording = run(&model, "bart_tiny").recording;
    for kind in [Kind::Decoder, Kind::Cross] {
        let message = rollout(&recording, kind).expect_err("refused").to_string();
        assert!(message.contains("1 − 2^−3 = 0.875 whatever the model does"), "{message}");
        assert!(flow(&recording, kind, 0, 64).is_err());
    }
    assert_eq!(rollout(&recording, Kind::Encoder).expect("rollout").len(), 2);
    let message = flow(&recording, Kind::Encoder, 1, 10).expect_err("refused").to_string();
    assert_eq!(message, "flow: text 0 has 11 tokens, more than the limit of 10");
}

#[test]
fn a_map_of_another_quantity_is_viewed_with_its_name() {
    let model = model("bert_tiny");
    let mut run = run(&model, "bert_tiny");
    let options = ViewOptions { quantity: Quantity::Norm, ..ViewOptions::default() };
    let view = |recording: &Recording, head: Head| View::with(recording, Kind::Encoder, 2, head, &options);
    assert!(view(&run.recording, Head::One(1)).is_err(), "no norms yet");
    keep_value_norms(&model, &mut run.recording).expect("norms");
    assert_eq!(
        view(&run.recording, Head::One(1)).expect("a view").heading(),
        "encoder self-attention L2H1: norm of weight × value"
    );
    let layers = rollout(&run.recording, Kind::Encoder).expect("rollout");
    run.recording.layers.extend(layers);
    let options = ViewOptions { quantity: Quantity::Rollout, ..ViewOptions::default() };
    let view = View::with(&run.recording, Kind::Encoder, 2, Head::Mean, &options).expect("a view");
    assert_eq!(view.heading(), "encoder self-attention L2: attention rollout");
    assert!(view.problem().is_none(), "{:?}", view.problem());
}

#[test]
fn norms_of_a_run_with_changed_head_outputs_are_refused() {
    let model = model("bert_tiny");
    let heads = Heads::one(Kind::Encoder, HeadId { layer: 1, head: 2 });
    let mut options = RunOptions { decoding: Decoding::TeacherForcing, pass: traced() };
    options.pass.edits.push(Edit::HeadOutput { heads, to: HeadOutput::Zero });
    let mut run = model.run(&[input(&model, "bert_tiny")], &options).expect("a run");
    let message = keep_value_norms(&model, &mut run.recording).expect_err("refused").to_string();
    assert!(message.contains("L1H2"), "{message}");
    assert!(contributions(&model, &run, Reach::Layer).is_err());
    let plain = model.run(&[input(&model, "bert_tiny")], &RunOptions::default()).expect("a run");
    let message = contributions(&model, &plain, Reach::Layer).expect_err("refused").to_string();
    assert!(message.contains("kept no residual stream of encoder layer 0"), "{message}");
}

#[test]
fn compositions_and_copying_are_those_of_transformer_lens() {
    let model = model("gpt2_tiny");
    let found = compositions(&model, Kind::Decoder, Norms::LeftOut).expect("compositions");
    assert_eq!(found.pairs.len(), 3 * 16, "of each two layers");
    assert!((found.chance - 1.0 / 32.0_f32.sqrt()).abs() < 1e-6);
    let golden = golden();
    let columns: [(&str, OfPair); 3] = [
        ("composition_Q", |pair| pair.query),
        ("composition_K", |pair| pair.key),
        ("composition_V", |pair| pair.value),
    ];
    for (name, column) in columns {
        let expected = &golden[name].values; // [layers, heads, layers, heads]
        let mut worst = 0.0_f64;
        for pair in &found.pairs {
            let place = ((pair.from.layer * 4 + pair.from.head) * 3 + pair.to.layer) * 4 + pair.to.head;
            worst = worst.max((f64::from(column(pair)) - expected[place]).abs());
        }
        eprintln!("{name}: off by {worst:.1e} at most");
        assert!(worst <= TOLERANCE, "{name}: off by {worst}");
    }
    let found: Vec<f32> =
        copying(&model, Norms::LeftOut).expect("scores").iter().map(|one| one.score.expect("a score") as f32).collect();
    let (excess, place) = largest_excess(&found, &golden["OV_eig_copying"].values, TOLERANCE);
    eprintln!("OV_eig_copying: off by {excess:.1e} at most");
    assert!(excess <= TOLERANCE, "off by {excess} at {place}");
    let message = copying(&self::model("bert_tiny"), Norms::Folded).expect_err("a classifier").to_string();
    assert!(message.contains("predicts no tokens"), "{message}");
}

#[test]
fn what_a_head_reads_is_the_score_of_two_tokens_and_what_it_writes_the_logit_that_one_raises() {
    // by hand, from the stored tensors: norm(e) W_Q + b_Q and norm(e) W_K + b_K of head 2 in layer 1
    let model = model("gpt2_tiny");
    let head = HeadId { layer: 1, head: 2 };
    let found = circuit(&model, head, None, 5, &mut |_| {}).expect("a circuit");
    let tensors = arrays(&data("explain/models/gpt2_tiny/model.safetensors"));
    let tensor = |name: &str| &tensors[&format!("transformer.{name}")].values;
    let (d, d_head) = (32, 8);
    let normed = |token: usize| -> Vec<f64> {
        let row = &tensor("wte.weight")[token * d..(token + 1) * d];
        let mean = row.iter().sum::<f64>() / d as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / d as f64;
        let (weight, bias) = (tensor("h.1.ln_1.weight"), tensor("h.1.ln_1.bias"));
        (0..d).map(|at| (row[at] - mean) / (variance + 1e-5).sqrt() * weight[at] + bias[at]).collect()
    };
    let projected = |token: usize, start: usize| -> Vec<f64> {
        let (x, weight, bias) = (normed(token), tensor("h.1.attn.c_attn.weight"), tensor("h.1.attn.c_attn.bias"));
        (0..d_head)
            .map(|at| bias[start + at] + (0..d).map(|row| x[row] * weight[row * 3 * d + start + at]).sum::<f64>())
            .collect()
    };
    let score = |query: usize, key: usize| {
        let (q, k) = (projected(query, 2 * d_head), projected(key, d + 2 * d_head));
        q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>() / (d_head as f64).sqrt()
    };
    let mut all: Vec<(f64, u32, u32)> = (0..60)
        .flat_map(|query| (0..60).map(move |key| (query, key)))
        .map(|(q, k)| (score(q, k), q as u32, k as u32))
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (pair, (value, from, to)) in found.reads.iter().zip(&all) {
        assert_eq!((pair.from, pair.to), (*from, *to));
        assert!((f64::from(pair.value) - value).abs() < 1e-4, "{pair:?} {value}");
    }
    // and (norm(e) W_V + b_V less its mean over tokens) W_O, read through the final norm's centring and weights
    let values: Vec<Vec<f64>> = (0..60).map(|token| projected(token, 2 * d + 2 * d_head)).collect();
    let mean: Vec<f64> = (0..d_head).map(|at| values.iter().map(|value| value[at]).sum::<f64>() / 60.0).collect();
    let output = tensor("h.1.attn.c_proj.weight"); // [heads · d_head, d]
    let written = |token: usize| -> Vec<f64> {
        let of_row = |at: usize, row: usize| (values[token][row] - mean[row]) * output[(2 * d_head + row) * d + at];
        (0..d).map(|at| (0..d_head).map(|row| of_row(at, row)).sum()).collect()
    };
    let read = |token: usize| -> Vec<f64> {
        let (row, weight) = (&tensor("wte.weight")[token * d..(token + 1) * d], tensor("ln_f.weight"));
        let weighed: Vec<f64> = row.iter().zip(weight).map(|(x, weight)| x * weight).collect();
        let mean = weighed.iter().sum::<f64>() / d as f64;
        weighed.into_iter().map(|x| x - mean).collect()
    };
    let logit = |from: usize, to: usize| written(from).iter().zip(read(to)).map(|(x, y)| x * y).sum::<f64>();
    let raised =
        |from: usize| (0..60).map(|to| (logit(from, to), from as u32, to as u32)).max_by(|a, b| a.0.total_cmp(&b.0));
    let mut all: Vec<(f64, u32, u32)> = (0..60).filter_map(raised).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (pair, (value, from, to)) in found.writes.iter().zip(&all) {
        assert_eq!((pair.from, pair.to), (*from, *to));
        assert!((f64::from(pair.value) - value).abs() < 1e-4, "{pair:?} {value}");
    }
    assert_eq!((found.reads.len(), found.writes.len()), (5, 5));
    let sources: std::collections::BTreeSet<u32> = found.writes.iter().map(|pair| pair.from).collect();
    assert_eq!(sources.len(), 5, "each token looked at once");
    let one = circuit(&model, head, Some(7), 3, &mut |_| {}).expect("a circuit");
    assert!(one.reads.iter().chain(&one.writes).all(|pair| pair.from == 7));
    let message = circuit(&model, HeadId { layer: 1, head: 9 }, None, 5, &mut |_| {}).expect_err("refused").to_string();
    assert_eq!(message, "there is no head L1H9 of decoder self-attention; gpt2_tiny has 3 decoder layers of 4 heads");
    assert!(circuit(&model, head, Some(60), 5, &mut |_| {}).is_err());
}

#[test]
fn the_score_of_a_pair_in_the_first_layer_parts_as_worked_out_from_the_stored_tensors() {
    let model = model("gpt2_tiny");
    let run = run(&model, "gpt2_tiny");
    let asked = Asked { item: 0, kind: Kind::Decoder, head: HeadId { layer: 0, head: 3 }, query: 6, key: 2 };
    let found = why(&model, &run, asked).expect("parts");
    let ids = golden()["gpt2_tiny_input_ids"].ids();
    let tensors = arrays(&data("explain/models/gpt2_tiny/model.safetensors"));
    let tensor = |name: &str| &tensors[&format!("transformer.{name}")].values;
    let (d, d_head) = (32, 8);
    let row = |name: &str, at: usize| tensor(name)[at * d..(at + 1) * d].to_vec();
    // the norm of the sum, as a linear map of token and position, and its bias
    let side = |place: usize, start: usize| -> [Vec<f64>; 3] {
        let (token, position) = (row("wte.weight", ids[place] as usize), row("wpe.weight", place));
        let state: Vec<f64> = token.iter().zip(&position).map(|(a, b)| a + b).collect();
        let mean = |x: &[f64]| x.iter().sum::<f64>() / d as f64;
        let deviation = (state.iter().map(|x| (x - mean(&state)).powi(2)).sum::<f64>() / d as f64 + 1e-5).sqrt();
        let (gain, bias) = (tensor("h.0.ln_1.weight"), tensor("h.0.ln_1.bias"));
        let linear = |x: &[f64]| -> Vec<f64> { (0..d).map(|at| (x[at] - mean(x)) / deviation * gain[at]).collect() };
        let (weight, offset) = (tensor("h.0.attn.c_attn.weight"), tensor("h.0.attn.c_attn.bias"));
        let project = |x: &[f64]| -> Vec<f64> {
            (0..d_head).map(|at| (0..d).map(|row| x[row] * weight[row * 3 * d + start + at]).sum()).collect()
        };
        let biases = project(bias).iter().zip(&offset[start..start + d_head]).map(|(a, b)| a + b).collect();
        [project(&linear(&token)), project(&linear(&position)), biases]
    };
    let (query, key) = (side(6, 3 * d_head), side(2, d + 3 * d_head));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / (d_head as f64).sqrt();
    let expected = [
        (Part::Content, product(&query[0], &key[0])),
        (Part::ContentPosition, product(&query[0], &key[1])),
        (Part::PositionContent, product(&query[1], &key[0])),
        (Part::PositionPosition, product(&query[1], &key[1])),
    ];
    for (part, value) in expected {
        let found = found.parts.0.iter().find(|(other, _)| *other == part).expect("the part").1;
        assert!((found - value).abs() < 1e-5, "{part:?}: {found} instead of {value}");
    }
    let whole: f64 = query.iter().flat_map(|a| key.iter().map(move |b| product(a, b))).sum();
    assert!((found.score - whole).abs() < 1e-5 && found.error.abs() < 1e-5, "{} {whole} {}", found.score, found.error);
    let weight = run.recording.map(0, Kind::Decoder, 0, 3).expect("a map").row(6)[2];
    assert!((found.weight - f64::from(weight)).abs() < 1e-6);
}

#[test]
fn parts_of_a_score_sum_to_it_in_every_family_or_a_sentence_says_why_not() {
    let (mut n_parted, mut refused) = (0, Vec::new());
    let folders = std::fs::read_dir(data("families")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut folders: Vec<_> = folders.filter(|path| path.join("config.json").exists()).collect();
    folders.sort();
    for folder in folders {
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let Ok(model) = Model::load(&folder) else { continue };
        let tokens = |side: Side, ids: &[u32]| match model.has(side) {
            true => model.tokens_from_ids(side, ids),
            false => Ok(attlas::Tokens::default()),
        };
        let (Ok(source), Ok(target)) =
            (tokens(Side::Source, &[17, 6, 30, 11, 25, 7, 19]), tokens(Side::Target, &[5, 9, 21, 33, 8, 40, 12]))
        else {
            continue;
        };
        let options = RunOptions { decoding: Decoding::TeacherForcing, pass: traced() };
        let Ok(run) = model.run(&[Input { source, target, ..Input::default() }], &options) else { continue };
        for kind in run.recording.kinds() {
            let layer = run.recording.last_layer(kind).expect("a layer");
            let asked = Asked { item: 0, kind, head: HeadId { layer, head: 1 }, query: 5, key: 4 };
            match why(&model, &run, asked) {
                Ok(found) => {
                    let allowed = 2e-4 * (1.0 + found.score.abs());
                    assert!(found.error.abs() < allowed, "{name} {kind}: {} off by {}", found.score, found.error);
                    for side in [&found.queries, &found.keys] {
                        let product: f64 = found.terms.iter().map(|term| term.value).sum();
                        let sum: f64 = side.iter().map(|origin| origin.value).sum();
                        assert!((sum - product).abs() < allowed, "{name} {kind}: {sum} {product}");
                    }
                    n_parted += 1;
                }
                Err(error) => refused.push(format!("{name} {kind}: {error}")),
            }
        }
    }
    eprintln!("{n_parted} parted; refused:\n{}", refused.join("\n"));
    assert!(n_parted >= 40, "{n_parted}");
    let reasons = ["scores of", "convolution", "has no attention in layers", "gates what heads give"];
    assert!(refused.iter().all(|why| reasons.iter().any(|reason| why.contains(reason))), "{refused:?}");
}

#[test]
fn the_mean_score_counts_keys_whose_weight_is_too_small_for_a_number() {
    let model = model("gpt2_tiny");
    let mut run = run(&model, "gpt2_tiny");
    let asked = Asked { item: 0, kind: Kind::Decoder, head: HeadId { layer: 1, head: 2 }, query: 9, key: 9 };
    let usual = why(&model, &run, asked).expect("parts").mean_score;
    let layer = run.recording.layers.iter_mut().find(|layer| layer.index == 1).expect("a layer");
    let Weights::Factored(factored) = &mut layer.weights else { panic!("weights as queries and keys") };
    let queries: Vec<f32> = factored.queries.read_all().expect("queries").iter().map(|x| 4096.0 * x).collect();
    factored.queries = attlas::Buffer::from(queries).into();
    let steep = why(&model, &run, asked).expect("parts").mean_score;
    assert!((steep / usual - 4096.0).abs() < 1e-6, "{steep} {usual}");
}

#[test]
fn a_score_is_not_taken_apart_where_the_stream_was_changed() {
    let model = model("gpt2_tiny");
    let edit = Edit::Stream {
        stack: Kind::Decoder,
        layer: 1,
        positions: Which::These(vec![2]),
        items: Which::All,
        to: Array { shape: vec![1, 1, 32], values: vec![0.5; 32] },
    };
    let pass = attlas_model::Pass { edits: vec![edit], ..traced() };
    let options = RunOptions { decoding: Decoding::TeacherForcing, pass };
    let run = model.run(&[input(&model, "gpt2_tiny")], &options).expect("a run");
    let asked = Asked { item: 0, kind: Kind::Decoder, head: HeadId { layer: 1, head: 2 }, query: 9, key: 2 };
    let error = why(&model, &run, asked).expect_err("refused").to_string();
    assert!(error.contains("whose residual stream was changed"), "{error}");
}

#[test]
fn a_pair_that_is_not_there_or_not_seen_is_refused() {
    let model = model("gpt2_tiny");
    let run = run(&model, "gpt2_tiny");
    let head = HeadId { layer: 1, head: 2 };
    let refused = |asked: Asked| why(&model, &run, asked).expect_err("refused").to_string();
    let asked = Asked { item: 0, kind: Kind::Decoder, head, query: 3, key: 7 };
    assert!(refused(asked).contains("query 3 of decoder L1H2 does not see key 7"));
    assert!(refused(Asked { key: 11, ..asked }).contains("has 11 places along its key axis, and no place 11"));
    assert!(refused(Asked { head: HeadId { layer: 1, head: 4 }, ..asked }).contains("no head 4"));
    assert!(refused(Asked { kind: Kind::Cross, ..asked }).contains("no cross attention"));
    let plain = model.run(&[input(&model, "gpt2_tiny")], &RunOptions::default()).expect("a run");
    let error = why(&model, &plain, Asked { key: 1, ..asked }).expect_err("refused").to_string();
    assert!(error.contains("kept no residual stream"), "{error}");
}
