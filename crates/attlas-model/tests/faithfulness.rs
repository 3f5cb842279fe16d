//! Whether maps have to do with the output: against golden values, and on models whose heads are known.

#![allow(clippy::print_stderr, reason = "how near the numbers are is worth knowing when a test fails")]

mod common;

use attlas::recording::{Edit, Heads};
use attlas::{HeadId, Kind};
use attlas_model::explain::adversarial::Search;
use attlas_model::explain::knock_out::{Baseline, KindHead};
use attlas_model::{Array, Input, Model, Pass, RunOptions, Side, Site};
use common::data;
use common::measured::{Golden, assert_near, go_on, input, model, repeated, trained};

/// The classifier of the golden cases, with its segments.
fn bert(golden: &Golden) -> (Model, Input) {
    let model = model("bert_tiny");
    let mut input = input(&model, &golden.ids("bert_tiny_input_ids"), &[]);
    input.segments = golden.ids("bert_tiny_token_type_ids");
    (model, input)
}

#[test]
fn permuted_maps_move_the_output_as_other_programs_measured() {
    let golden = Golden::open();
    let (model, input) = bert(&golden);
    let baseline = Baseline::of(&model, &input).expect("a run");
    let n = input.source.len();
    let layer = 2;
    let maps: Vec<f32> =
        (0..4).flat_map(|head| baseline.run.recording.map(0, Kind::Encoder, layer, head).unwrap().dense()).collect();
    let expected = golden.tensor("perm_tvd");
    let found: Vec<f64> = golden
        .ids("perms")
        .chunks_exact(n)
        .map(|order| {
            let values = maps.chunks_exact(n).flat_map(|row| order.iter().map(|key| row[*key as usize])).collect();
            let given = Array { shape: vec![1, 4, n, n], values };
            baseline.moved_by(&Heads::all(Kind::Encoder, layer), &given).expect("a change")[0]
        })
        .collect();
    assert_near(&found, &expected, 1e-5, "total variation of permuted maps");
}

#[test]
fn erasing_by_a_ranking_gives_the_comprehensiveness_and_sufficiency_of_other_programs() {
    let golden = Golden::open();
    let (model, input) = bert(&golden);
    let baseline = Baseline::of(&model, &input).expect("a run");
    let ranking: Vec<Option<f64>> = golden.tensor("eraser_scores").into_iter().map(Some).collect();
    let score = model.likeliest(&input, &baseline.unchanged.logits, None).expect("a class");
    assert_eq!((score.position, score.target), (None, 1));
    let found = baseline.erased(Side::Source, &ranking, 6, &score).expect("numbers");
    let eraser = &golden.numbers["eraser"];
    let points = |name: &str| -> Vec<f64> {
        eraser[name].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    };
    assert_eq!(found.n_erased, [1, 1, 2, 3, 6]);
    assert_near(&found.comprehensiveness, &points("comprehensiveness_points"), 1e-5, "comprehensiveness");
    assert_near(&found.sufficiency, &points("sufficiency_points"), 1e-5, "sufficiency");
    let aopc = ["comprehensiveness_aopc", "sufficiency_aopc"].map(|name| eraser[name].as_f64().unwrap());
    assert_near(&found.aopc(), &aopc, 1e-5, "areas over the curves");
    let error = baseline.erased(Side::Source, &ranking[1..], 6, &score).unwrap_err().to_string();
    assert_eq!(error, "the ranking has 10 numbers for 11 tokens");
}

#[test]
fn a_map_that_the_output_needs_moves_it_and_one_that_it_does_not_says_so() {
    let model = trained("llama-induction");
    let input = repeated(&model);
    let baseline = Baseline::of(&model, &input).expect("a run");
    let head = |layer, head| KindHead { kind: Kind::Decoder, head: HeadId { layer, head } };
    let induction: Vec<KindHead> = (0..4).map(|place| head(1, place)).collect();
    let sets = [vec![head(0, 3)], vec![head(0, 1)], induction];
    let found = baseline.disturbed(&sets, &[1, 2, 3, 4, 5], &mut go_on).expect("numbers");
    for disturbed in &found {
        eprintln!("{:?} {} {}", disturbed.heads[0].head, disturbed.median(), disturbed.note());
    }
    assert!(found[0].median() > 0.1 && found[2].median() > 0.1);
    assert!(found[0].note().starts_with("Permuting this map moves the output by"));
    assert!(found[1].median() < found[0].median());
    // what is tried stays within the budget, and permuted maps differ from the model's own
    let kept = found[1].most_different(1.0).expect("a map");
    assert!(kept.of_maps > 0.05 && kept.of_maps <= std::f64::consts::LN_2, "{kept:?}");
    assert!(found[0].most_different(0.0).is_none());
}

#[test]
fn maps_with_a_sink_are_as_far_apart_as_their_rows_with_what_the_sink_takes() {
    use attlas::analysis::{Rows, divergence};
    use attlas::recording::NewWeights;
    let model = Model::load(&data("families").join("gpt-oss")).expect("a model");
    let input = input(&model, &[], &[5, 9, 21, 33, 8, 40, 12]);
    let baseline = Baseline::of(&model, &input).expect("a run");
    let head = KindHead { kind: Kind::Decoder, head: HeadId { layer: 1, head: 2 } };
    let found = baseline.disturbed(&[vec![head]], &[7], &mut go_on).expect("numbers").remove(0);
    // the rows of a run with that change, each with what is left to 1
    let rows = |edits: Vec<Edit<Array>>| -> Vec<Vec<f64>> {
        let options = RunOptions { pass: Pass { edits, ..Pass::keeping([Site::Attention]) }, ..RunOptions::default() };
        let run = model.run(std::slice::from_ref(&input), &options).expect("a run");
        let map = run.recording.map(0, head.kind, head.head.layer, head.head.head).expect("a map");
        Rows::of(&map).map(|row| {
            let mut weights: Vec<f64> = row.weights.iter().map(|weight| f64::from(*weight)).collect();
            weights.push((1.0 - weights.iter().sum::<f64>()).max(0.0));
            weights
        })
    };
    let before = rows(Vec::new());
    assert!(before.iter().all(|row| row.last().is_some_and(|rest| *rest > 1e-3)), "a sink takes something of each row");
    for (found, to) in [(found.permuted[0], NewWeights::Permuted { seed: 7 }), (found.uniform, NewWeights::Uniform)] {
        let after = rows(vec![Edit::Weights { heads: head.heads(), to }]);
        let expected = before.iter().zip(&after).map(|(p, q)| divergence(p, q)).sum::<f64>() / before.len() as f64;
        assert!((found.of_maps - expected).abs() < 1e-6, "{} {expected}", found.of_maps);
    }
    assert_eq!(baseline.beside(&model).expect("numbers").0.of_maps, 0.0, "a model is no distance from itself");
}

#[test]
fn the_search_by_gradient_finds_a_map_that_differs_more_than_a_permutation_and_keeps_the_output() {
    let golden = Golden::open();
    let (model, input) = bert(&golden);
    let baseline = Baseline::of(&model, &input).expect("a run");
    let head = KindHead { kind: Kind::Encoder, head: HeadId { layer: 2, head: 0 } };
    let search = Search { budget: 0.02, n_steps: 60, seed: 0 };
    let found = baseline.adversarial(head, None, search, &mut go_on).expect("a search").expect("a map");
    let tried = baseline.disturbed(&[vec![head]], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &mut go_on).expect("numbers");
    let kept = tried[0].most_different(0.02).map_or(0.0, |shift| shift.of_maps);
    eprintln!("by gradient {found:?}; permuted, of ten: {kept}");
    assert!(found.tvd <= 0.02 && found.of_maps > 0.1 && found.of_maps > kept, "{found:?} {kept}");
    let again = baseline.adversarial(head, None, search, &mut go_on).expect("a search");
    assert_eq!(again, Some(found), "the same again");
}

#[test]
fn the_search_by_gradient_is_never_weaker_than_the_permutations_before_it() {
    let golden = Golden::open();
    let (model, input) = bert(&golden);
    let baseline = Baseline::of(&model, &input).expect("a run");
    let sets: Vec<Vec<KindHead>> = model.heads().into_iter().map(|head| vec![head]).collect();
    let tried = baseline.disturbed(&sets, &[0, 1, 2], &mut go_on).expect("numbers");
    let search = Search { budget: 0.3, n_steps: 2, seed: 0 };
    let mut n_weaker_alone = 0;
    for tried in &tried {
        let Some(kept) = tried.most_different(search.budget) else { continue };
        let seek = |from| baseline.adversarial(tried.heads[0], from, search, &mut go_on).expect("a search");
        let found = seek(Some(tried)).expect("the best of those that were tried, at least");
        assert!(found.tvd <= search.budget && found.of_maps >= kept.of_maps, "{found:?} {kept:?}");
        n_weaker_alone += usize::from(seek(None).is_none_or(|alone| alone.of_maps < kept.of_maps));
    }
    assert!(n_weaker_alone > 0, "two steps from the model's own map find less");
}
