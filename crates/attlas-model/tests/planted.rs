//! A head that is known to decide an answer is found by taking it away, and by most of what is computed without: gpt-nano-sort, which
//! sorts six letters.

#![allow(clippy::print_stderr, reason = "how the heads rank is worth knowing when a test fails")]

mod common;

use attlas::{Kind, Quantity};
use attlas_model::explain::knock_out::{Baseline, KindHead, Removal};
use attlas_model::explain::score::{Form, Metric, Score};
use attlas_model::{Input, Model, Next, Side};
use common::data;

fn model() -> Model {
    Model::load(&data("trained/gpt-nano-sort")).expect("a model")
}

/// Letters, and those of the sorted ones that come before the one that is asked for.
fn input(model: &Model, ids: &[u32]) -> Input {
    let target = model.tokens_from_ids(Side::Target, ids).expect("tokens");
    Input { target, ..Input::default() }
}

#[test]
fn explore() {
    let model = model();
    for ids in [
        &[2, 1, 0, 1, 1, 2][..],
        &[0, 2, 2, 1, 2, 0],
        &[2, 1, 0, 1, 1, 2, 0],
        &[2, 1, 0, 1, 1, 2, 0, 1, 1],
        &[2, 1, 0, 1, 1, 2, 0, 1, 1, 1],
        &[1, 2, 2, 1, 2, 2],
        &[1, 2, 2, 1, 2, 2, 1],
        &[1, 2, 2, 1, 2, 2, 1, 1],
    ] {
        let input = input(&model, ids);
        let baseline = Baseline::of(&model, &input).expect("a run");
        let score = model.likeliest(&input, &baseline.unchanged.logits, None).expect("a score");
        let score = Score { form: Form::Probability, ..score };
        let metric = Metric::Score(score);
        let effects = baseline.effects(&model.heads(), Removal::Zero, &metric, None, &mut |_| Next::Continue).expect("effects");
        let means = baseline.effects(&model.heads(), Removal::Mean, &metric, None, &mut |_| Next::Continue).expect("effects");
        eprintln!("{ids:?} -> {} {:.4}", score.target, baseline.value(&metric).unwrap());
        eprintln!("  zero {:?}", effects.iter().map(|x| (x * 1000.0).round() / 1000.0).collect::<Vec<_>>());
        eprintln!("  mean {:?}", means.iter().map(|x| (x * 1000.0).round() / 1000.0).collect::<Vec<_>>());
        let rank = by_attribution(&model, &input, &baseline, Score { form: Form::Logit, ..score });
        for (name, sizes) in rank {
            eprintln!("  {name} {:?}", sizes.iter().map(|x| (x * 1000.0).round() / 1000.0).collect::<Vec<_>>());
        }
    }
}

/// What five attributions give each head, by size. Shape of each `[heads]`.
fn by_attribution(model: &Model, input: &Input, baseline: &Baseline<'_>, score: Score) -> Vec<(&'static str, Vec<f64>)> {
    let heads = model.heads();
    let position = score.position.expect("a position");
    let sharpest = heads.iter().map(|head| baseline.mean_weight(*head).expect("a map")).collect();
    let mut recording = baseline.run.recording.clone();
    attlas_model::explain::keep_value_norms(model, &mut recording).expect("norms");
    let of_row = |recording: &attlas::Recording, quantity: Quantity, KindHead { head, .. }: &KindHead, row: usize| -> f64 {
        let layer = recording.layer_in(quantity, Kind::Decoder, head.layer).expect("a layer");
        recording.map_of(&layer, 0, head.head).expect("a map").row(row).into_iter().map(f64::from).sum()
    };
    let norms = heads.iter().map(|head| of_row(&recording, Quantity::Norm, head, position)).collect();
    let gradients = model.explained_maps(input, &score, Quantity::GradientWeight).expect("maps");
    let of_gradients = |head: &KindHead| -> f64 {
        (0..input.target.len()).map(|row| of_row(&gradients, Quantity::GradientWeight, head, row)).sum::<f64>().abs()
    };
    let slopes = model.head_importance(std::slice::from_ref(input), &|_, _| Ok(Metric::Score(score))).expect("slopes");
    let direct = baseline.direct(&score).expect("shares");
    vec![
        ("weight", sharpest),
        ("norm", norms),
        ("gradient × weight", heads.iter().map(of_gradients).collect()),
        ("slope", slopes.means()),
        ("direct", heads.iter().map(|head| direct.of(*head).expect("a share").abs()).collect()),
    ]
}
