//! Heads that are known to decide an answer: one that was planted is found by taking it away, and by most of what is computed without; those
//! that stand in for each other are not found one by one.

#![allow(clippy::print_stderr, reason = "how the heads rank is worth knowing when a test fails")]

mod common;

use attlas::{HeadId, Kind, Quantity, Recording};
use attlas_model::explain::knock_out::{Baseline, KindHead, Removal};
use attlas_model::explain::score::{Form, Metric, Score};
use attlas_model::{Input, Model, Next, Side};
use common::data;
use safetensors::SafeTensors;

const IDS: [u32; 7] = [5, 9, 21, 33, 8, 40, 12];

fn input(model: &Model, ids: &[u32]) -> Input {
    let target = model.tokens_from_ids(Side::Target, ids).expect("tokens");
    Input { target, ..Input::default() }
}

fn decoder(layer: usize, head: usize) -> KindHead {
    KindHead { kind: Kind::Decoder, head: HeadId { layer, head } }
}

/// The decoder of the golden cases, in which one head writes three times what it wrote, and all others a tenth.
fn loud(planted: HeadId) -> Model {
    let folder = data("explain").join("models/gpt2_tiny");
    let bytes = std::fs::read(folder.join("model.safetensors")).expect("a file");
    let file = SafeTensors::deserialize(&bytes).expect("tensors");
    let (d_model, d_head) = (32, 8);
    let mut n_changed = 0;
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, view) in file.tensors() {
        let mut bytes = view.data().to_vec();
        let layer = (0..3).find(|layer| name.ends_with(&format!("h.{layer}.attn.c_proj.weight")));
        if let Some(layer) = layer {
            n_changed += 1;
            // rows are what heads give, head by head
            for (head, rows) in bytes.chunks_exact_mut(d_head * d_model * 4).enumerate() {
                let factor = if planted == (HeadId { layer, head }) { 3.0 } else { 0.1 };
                for number in rows.chunks_exact_mut(4) {
                    let changed = factor * f32::from_le_bytes(number.try_into().expect("four bytes"));
                    number.copy_from_slice(&changed.to_le_bytes());
                }
            }
        }
        tensors.push((name, view.shape().to_vec(), bytes));
    }
    assert_eq!(n_changed, 3);
    let views = tensors.iter().map(|(name, shape, data)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), data);
        (name.clone(), view.expect("a tensor"))
    });
    let target = tempfile::tempdir().expect("a folder");
    let written = safetensors::serialize(views, None).expect("a file");
    std::fs::write(target.path().join("model.safetensors"), written).expect("written");
    std::fs::copy(folder.join("config.json"), target.path().join("config.json")).expect("copied");
    Model::load(target.path()).expect("a model")
}

/// What five attributions give each head. Shape of each `[heads]`.
fn attributed(model: &Model, input: &Input, baseline: &Baseline<'_>, score: Score) -> Vec<(&'static str, Vec<f64>)> {
    let heads = model.heads();
    let position = score.position.expect("a position");
    let sum = |recording: &Recording, quantity: Quantity, head: KindHead, row: usize| -> f64 {
        let layer = recording.layer_in(quantity, Kind::Decoder, head.head.layer).expect("a layer");
        let map = recording.map_of(&layer, 0, head.head.head).expect("a map");
        map.row(row).into_iter().map(f64::from).sum()
    };
    let mut recording = baseline.run.recording.clone();
    attlas_model::explain::keep_value_norms(model, &mut recording).expect("norms");
    let gradients = model.explained_maps(input, &score, Quantity::GradientWeight).expect("maps");
    let of_gradients = |head: &KindHead| {
        (0..input.target.len()).map(|row| sum(&gradients, Quantity::GradientWeight, *head, row)).sum::<f64>().abs()
    };
    let text = std::slice::from_ref(input);
    let slopes = model.head_importance(text, &|_, _| Ok(Metric::Score(score))).expect("slopes");
    let direct = baseline.direct(&score).expect("shares");
    vec![
        ("weight", heads.iter().map(|head| baseline.mean_weight(*head).expect("a map")).collect()),
        ("norm", heads.iter().map(|head| sum(&recording, Quantity::Norm, *head, position)).collect()),
        ("gradient × weight", heads.iter().map(of_gradients).collect()),
        ("slope", slopes.means()),
        ("direct", heads.iter().map(|head| direct.of(*head).expect("a share").abs()).collect()),
    ]
}

fn largest(heads: &[KindHead], sizes: &[f64]) -> KindHead {
    let place = (0..heads.len()).max_by(|a, b| sizes[*a].total_cmp(&sizes[*b])).expect("heads");
    heads[place]
}

#[test]
fn a_planted_head_is_found_first_by_ablation_and_by_three_attributions_of_five() {
    for planted in [decoder(2, 1), decoder(1, 2)] {
        let model = loud(planted.head);
        let text = input(&model, &IDS);
        let baseline = Baseline::of(&model, &text).expect("a run");
        let score = model.likeliest(&text, &baseline.unchanged.logits, None).expect("a score");
        let heads = model.heads();
        let metric = Metric::KullbackLeibler;
        let effects = baseline.effects(&heads, Removal::Zero, &metric, None, &mut |_| Next::Continue).expect("effects");
        assert_eq!(largest(&heads, &effects), planted, "{effects:?}");
        let mut n_found = 0;
        for (name, sizes) in attributed(&model, &text, &baseline, score) {
            let found = largest(&heads, &sizes);
            eprintln!("{planted}: {name} finds {found}");
            n_found += usize::from(found == planted);
        }
        assert!(n_found >= 3, "{planted} is found by {n_found} of five");
    }
}

#[test]
fn no_head_of_a_model_that_sorts_letters_is_needed_alone_and_its_first_layer_is() {
    let model = Model::load(&data("trained/gpt-nano-sort")).expect("a model");
    // B C C B C C: without an A among them the first of the sorted letters is a B
    let text = input(&model, &[1, 2, 2, 1, 2, 2]);
    let baseline = Baseline::of(&model, &text).expect("a run");
    let score = model.likeliest(&text, &baseline.unchanged.logits, None).expect("a score");
    assert_eq!(score.target, 1);
    let metric = Metric::Score(Score { form: Form::Probability, ..score });
    let heads = model.heads();
    let lost = |sets: &[Vec<KindHead>]| -> Vec<f64> {
        let effects = baseline.effects_together(sets, Removal::Zero, &metric, None, &mut |_| Next::Continue);
        effects.expect("effects").into_iter().map(|effect| -effect).collect()
    };
    let alone = lost(&heads.iter().map(|head| vec![*head]).collect::<Vec<_>>());
    let layers = lost(&(0..3).map(|layer| (0..3).map(|head| decoder(layer, head)).collect()).collect::<Vec<_>>());
    eprintln!("without one head {alone:?}, without one layer's {layers:?}");
    assert!(alone.iter().all(|lost| *lost < 0.05), "{alone:?}");
    assert!(layers[0] > 0.9 && layers[0] > layers[1] && layers[1] > layers[2], "{layers:?}");
}
