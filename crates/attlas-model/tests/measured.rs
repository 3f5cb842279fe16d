//! What is measured by changing a run: against golden values, against whole runs, and on models whose heads are known.

#![allow(clippy::print_stderr, reason = "how near the numbers are is worth knowing when a test fails")]

mod common;

use attlas::recording::{Edit, Which};
use attlas::{HeadId, Kind};
use attlas_model::explain::direct::Component;
use attlas_model::explain::knock_out::{Baseline, KindHead, Removal};
use attlas_model::explain::lens::Depth;
use attlas_model::explain::patch::Part;
use attlas_model::explain::score::{Form, Metric, Score};
use attlas_model::{Array, Input, Model, Next, Pass, RunOptions, Side, Site};
use common::data;
use common::measured::{Golden, NEAR, assert_near, bart, go_on, gpt2, input, metrics, model, repeated, trained};
use safetensors::SafeTensors;

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
        (Removal::Zero, "zero_z_delta"),
        (Removal::Mean, "mean_z_delta"),
        (Removal::PatternPreserving, "pattern_preserving_zero_delta"),
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
            let found = baseline.effects(&heads, Removal::Zero, metric, None, &mut go_on).expect("effects");
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
    let hybrid = Model::load(&data("families").join("jamba-dense")).expect("a model");
    let text = input(&hybrid, &[], &[5, 9, 21, 33, 8, 40]);
    for (model, input) in [gpt2(&golden), bart(&golden), (induction, repeated), (hybrid, text)] {
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

#[test]
fn without_its_induction_heads_a_model_no_longer_copies() {
    let model = trained("llama-induction");
    let input = repeated(&model);
    let baseline = Baseline::of(&model, &input).expect("a run");
    let heads = model.heads();
    let name = |head: &KindHead| head.head.to_string();
    let induction: Vec<KindHead> = heads.iter().filter(|head| head.head.layer == 1).copied().collect();
    let positions = 13..22; // in the second half: the token after each stands after its first occurrence, too
    let mut with_all_away = Vec::new();
    for position in positions {
        let target = input.target.tokens[position + 1].id.expect("an id");
        let metric =
            Metric::Score(Score { item: 0, position: Some(position), target, foil: None, form: Form::Probability });
        let before = baseline.value(&metric).expect("a number");
        let effects = baseline.effects(&heads, Removal::Zero, &metric, None, &mut go_on).expect("effects");
        let together = baseline
            .effects_together(std::slice::from_ref(&induction), Removal::Zero, &metric, None, &mut go_on)
            .expect("an effect");
        // one of two heads of layer 0 that look at the token before decides, now this one, now that one, and ablation finds it
        let largest = (0..heads.len()).min_by(|a, b| effects[*a].total_cmp(&effects[*b])).expect("heads");
        let rows: Vec<String> =
            heads.iter().zip(&effects).map(|(head, effect)| format!("{} {effect:+.4}", name(head))).collect();
        eprintln!("position {position}: {before:.5}, without layer 1 {:.4}; {}", before + together[0], rows.join(", "));
        assert!(["L0H2", "L0H3"].contains(&name(&heads[largest]).as_str()), "{position}: {effects:?}");
        assert!(before > 0.99 && effects[largest] < -0.95, "{position}: {before} {effects:?}");
        // the four induction heads stand in for each other: none decides alone
        assert!(effects[4..].iter().all(|effect| effect.abs() < 0.05), "{position}: {effects:?}");
        with_all_away.push(before + together[0]);
    }
    let mean = with_all_away.iter().sum::<f64>() / with_all_away.len() as f64;
    eprintln!("probability of the copy without layer 1, mean: {mean:.4}");
    assert!(mean < 0.1, "together they are the copy: {with_all_away:?}");
}

#[test]
fn the_shares_of_components_sum_to_the_logit_and_are_those_of_other_programs() {
    let golden = Golden::open();
    let (model, input) = gpt2(&golden);
    let baseline = Baseline::of(&model, &input).expect("a run");
    let position = Some(input.target.len() - 1);
    let score =
        Score { item: 0, position, target: golden.id("target"), foil: Some(golden.id("foil")), form: Form::Logit };
    let direct = baseline.direct(&score).expect("shares");
    eprintln!("sum {} logit {} error {:.1e}", direct.sum(), direct.logit, direct.error());
    assert!(direct.error() < 1e-4);
    let heads: Vec<f64> = model.heads().iter().map(|head| direct.of(*head).expect("a share")).collect();
    assert_near(&heads, &golden.tensor("dla_heads"), NEAR, "heads");
    let of = |wanted: &dyn Fn(&Component) -> bool| -> f64 {
        direct.parts.iter().filter(|(component, _)| wanted(component)).map(|(_, share)| share).sum()
    };
    let mut components = vec![of(&|component| *component == Component::Embedding)];
    for at in 0..3 {
        components.push(of(&|component| match component {
            Component::Head(head) => head.head.layer == at,
            Component::AttentionBias { layer, .. } => *layer == at,
            _ => false,
        }));
        components.push(of(&|component| *component == Component::FeedForward { layer: at }));
    }
    let expected = golden.tensor("dla_components"); // token, position, then attention and feed-forward of each layer
    let expected = [vec![expected[0] + expected[1]], expected[2..].to_vec()].concat();
    assert_near(&components, &expected, NEAR, "components");
    let constant = of(&|component| *component == Component::Constant);
    assert_near(&[constant], &golden.tensor("dla_const_ln_bias"), NEAR, "biases");
    let by_key: Vec<f64> =
        model.heads().iter().flat_map(|head| baseline.direct_by_key(&score, *head).expect("shares")).collect();
    assert_near(&by_key, &golden.tensor("dla_heads_by_source"), NEAR, "heads by key");
}

#[test]
fn components_sum_to_the_logit_in_every_family_whose_stream_is_a_sum_and_others_are_refused() {
    let ids = [5, 9, 21, 29, 8, 30, 12];
    let (mut n_summed, mut n_refused) = (0, 0);
    let mut folders: Vec<_> = std::fs::read_dir(data("families")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        let Ok(model) = Model::load(folder) else { continue };
        if model.reads_images() || model.reads_sounds() {
            continue;
        }
        let of = |side: Side| if model.has(side) { &ids[..] } else { &[] };
        let input = input(&model, of(Side::Source), of(Side::Target));
        let Ok(baseline) = Baseline::of(&model, &input) else { continue };
        let position = baseline.unchanged.rows[baseline.unchanged.rows.len() - 1];
        let Ok(score) = model.likeliest(&input, &baseline.unchanged.logits, position) else { continue };
        match baseline.direct(&score) {
            Ok(direct) => {
                n_summed += 1;
                let tolerance = 1e-4 * direct.logit.abs().max(1.0);
                assert!(direct.error() < tolerance, "{}: {} {}", folder.display(), direct.sum(), direct.logit);
            }
            Err(error) => {
                n_refused += 1;
                let message = error.to_string();
                let reasons = ["direct logit attribution is not defined for", "has no attention in layers"];
                assert!(reasons.iter().any(|reason| message.contains(reason)), "{message}");
            }
        }
    }
    eprintln!("{n_summed} summed, {n_refused} refused");
    assert!(n_summed >= 20 && n_refused >= 5, "{n_summed} {n_refused}");
}

#[test]
fn the_lens_reads_each_layer_as_other_programs_do_and_the_last_is_the_output() {
    let golden = Golden::open();
    let (model, input) = gpt2(&golden);
    let baseline = Baseline::of(&model, &input).expect("a run");
    let rows = baseline.unchanged.rows.clone();
    let expected = golden.tensor("logit_lens"); // [before 0, within 0, before 1, …, after 2][positions][tokens]
    let places = (0..3).flat_map(|layer| [(layer, Depth::Entering), (layer, Depth::AfterAttention)]);
    for (place, (layer, depth)) in places.chain([(3, Depth::Entering)]).enumerate() {
        let found = baseline.lens_logits(layer, depth, &rows).expect("logits");
        let found: Vec<f64> = found.values.iter().map(|logit| f64::from(*logit)).collect();
        let size = rows.len() * 60;
        assert_near(&found, &expected[place * size..][..size], 5e-5, &format!("layer {layer}, {depth:?}"));
    }
    let lens = baseline.lens(&rows, &[Depth::Entering, Depth::AfterAttention], 2, &[34]).expect("a lens");
    assert_eq!(lens.len(), 7 * rows.len());
    assert!(baseline.lens(&[], &[Depth::Entering], 2, &[]).expect("a lens").is_empty(), "no position, nothing to read");
    let last = lens.last().expect("rows");
    assert_eq!((last.layer, last.position, last.top.len()), (3, Some(10), 2));
    let target = model.likeliest(&input, &baseline.unchanged.logits, None).expect("a target").target;
    assert_eq!(last.top[0].0, target);
}

#[test]
fn hidden_states_behind_attention_are_read_wherever_norms_stand_and_refused_where_none_lie_there() {
    for (name, is_there) in [("olmo2", true), ("gemma2", true), ("bert", true), ("bart", true), ("gptj", false)] {
        let model = Model::load(&data("families").join(name)).expect("a model");
        let of = |side: Side| if model.has(side) { &[5, 9, 21, 33, 8][..] } else { &[] };
        let baseline = Baseline::of(&model, &input(&model, of(Side::Source), of(Side::Target))).expect("a run");
        let rows = baseline.unchanged.rows.clone();
        let found = baseline.lens_logits(0, Depth::AfterAttention, &rows);
        if !is_there {
            let message = found.unwrap_err().to_string();
            assert!(message.contains("attention and feed-forward read the same states"), "{message}");
            continue;
        }
        let entering = baseline.lens_logits(0, Depth::Entering, &rows).expect("logits");
        assert_ne!(found.expect("logits"), entering, "{name}");
    }
}

#[test]
fn a_part_of_another_run_moves_the_output_towards_that_runs() {
    let golden = Golden::open();
    let (model, text) = gpt2(&golden);
    let mut ids = golden.ids("gpt2_tiny_input_ids");
    ids[4] = 7;
    let other = input(&model, &[], &ids);
    let (baseline, other) = (Baseline::of(&model, &text).unwrap(), Baseline::of(&model, &other).unwrap());
    let metric = metrics(&golden, 10)[1];
    let stream = |layer, position| Part::Stream { stack: Kind::Decoder, layer, position };
    let patched = |parts: &[Part]| baseline.patched(&other, parts, &metric, &mut go_on).expect("effects");
    // all hidden states are the whole run; those before the changed token are the same in both
    let whole = patched(&[stream(0, None), stream(2, None), stream(3, None), stream(0, Some(4)), stream(2, Some(3))]);
    for (place, expected) in [1.0, 1.0, 1.0, 1.0, 0.0].into_iter().enumerate() {
        let share = whole[place].share.expect("the runs differ");
        assert!((share - expected).abs() < 1e-6, "{place}: {share}");
    }
    // to the output alone, a head of the last layer has the one way that it has anyway
    let heads = model.heads();
    let last: Vec<KindHead> = heads.iter().filter(|head| head.head.layer == 2).copied().collect();
    let direct = baseline.path_patched(&other, &last, None, &metric, &mut go_on).expect("effects");
    let parts: Vec<Part> = last.iter().map(|head| Part::Head(*head)).collect();
    assert_eq!(direct, patched(&parts));
    // a way to a head of the next layer is one of several; none leads back
    let to = KindHead { kind: Kind::Decoder, head: HeadId { layer: 1, head: 2 } };
    let through = baseline.path_patched(&other, &heads[..4], Some(to), &metric, &mut go_on).expect("effects");
    assert!(through.iter().any(|patched| patched.effect.abs() > 1e-4), "{through:?}");
    let error = baseline.path_patched(&other, &heads[3..5], Some(to), &metric, &mut go_on).unwrap_err();
    assert_eq!(error.to_string(), "decoder:L1H0 does not come before decoder:L1H2: no way leads back to it");
    let short = input(&model, &[], &ids[..5]);
    let short = Baseline::of(&model, &short).unwrap();
    let error = baseline.patched(&short, &parts, &metric, &mut go_on).unwrap_err().to_string();
    assert_eq!(
        error,
        "the text has 11 tokens and the other 5 tokens: parts of a run can be exchanged between texts of as many tokens alone"
    );
}

#[test]
fn the_mean_of_a_heads_output_over_texts_is_summed_run_by_run() {
    use attlas_model::explain::knock_out::keeping_head_outputs;
    use attlas_model::{HeadMeans, mean_head_outputs};
    let golden = Golden::open();
    let (model, text) = bart(&golden);
    let mut short = text.clone();
    short.target.tokens.truncate(3);
    let options = RunOptions { pass: keeping_head_outputs(), ..RunOptions::default() };
    let runs: Vec<_> =
        [text, short].iter().map(|text| model.run(std::slice::from_ref(text), &options).unwrap()).collect();
    let mut means = HeadMeans::default();
    runs.iter().for_each(|run| means.add(run).expect("outputs of heads"));
    for head in model.heads() {
        let expected = mean_head_outputs(&runs, &head.heads()).expect("a mean");
        assert_eq!(means.mean(head.kind, head.head).expect("a mean"), expected, "{head}");
    }
    let error = means.mean(Kind::Cross, HeadId { layer: 7, head: 0 }).unwrap_err().to_string();
    assert_eq!(error, "there is no row of L7H0 of cross-attention to take a mean over");
}

#[test]
fn the_pairs_of_a_head_are_as_many_as_the_runs_that_hide_them() {
    let golden = Golden::open();
    let (model, text) = gpt2(&golden);
    let baseline = Baseline::of(&model, &text).expect("a run");
    let pairs = baseline.edges(model.heads()[0], &Which::All).expect("pairs");
    assert_eq!(pairs.len(), 11 * 12 / 2 - 1, "a decoder's token sees itself and what is before it");
    let mut n_done = 0;
    let mut watch = |n: usize| {
        n_done = n;
        Next::Continue
    };
    let metric = Metric::KullbackLeibler;
    let effects = baseline.edge_effects(model.heads()[0], &Which::All, &metric, &mut watch).expect("effects");
    assert_eq!((effects.len(), n_done), (pairs.len(), pairs.len()));
}

#[test]
fn a_map_of_large_weights_and_no_values_is_found_by_its_weights_but_by_no_knock_out() {
    let golden = Golden::open();
    let (model, text) = gpt2(&golden);
    let baseline = Baseline::of(&model, &text).expect("a run");
    let sharp = |baseline: &Baseline<'_>| -> KindHead {
        let heads = baseline.model().heads();
        heads
            .into_iter()
            .max_by(|a, b| baseline.mean_weight(*a).unwrap().total_cmp(&baseline.mean_weight(*b).unwrap()))
            .unwrap()
    };
    let planted = sharp(&baseline);
    let silent = without_values(planted.head.layer, planted.head.head);
    let input = input(&silent, &[], &golden.ids("gpt2_tiny_input_ids"));
    let baseline = Baseline::of(&silent, &input).expect("a run");
    assert_eq!(sharp(&baseline), planted, "its map is as meaningful as before");
    for method in [Removal::Zero, Removal::Mean, Removal::Uniform, Removal::Permute { seed: 1 }] {
        let heads = silent.heads();
        let effects = baseline.effects(&heads, method, &Metric::KullbackLeibler, None, &mut go_on).expect("effects");
        for (head, effect) in heads.iter().zip(effects) {
            assert_eq!(*head == planted, effect < 1e-9, "{} {method:?}: {effect}", head.head);
        }
    }
    let note = baseline.disturbed(&[vec![planted]], &[1, 2, 3], &mut go_on).expect("numbers")[0].note();
    assert_eq!(
        note,
        "Permuting this map does not move the output (0.0 %, TVD, at most 0.0 %): what it looks at says nothing of this output."
    );
}

/// The golden cases' decoder with one head's values set to 0, weights and biases.
fn without_values(layer: usize, head: usize) -> Model {
    let folder = data("explain").join("models/gpt2_tiny");
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (d_model, d_head) = (32, 8);
    let names = [format!("h.{layer}.attn.c_attn.weight"), format!("h.{layer}.attn.c_attn.bias")];
    let mut n_changed = 0;
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let mut data = view.data().to_vec();
            if names.iter().any(|end| name.ends_with(end.as_str())) {
                n_changed += 1;
                // columns: queries, keys, values, each head by head
                for row in data.chunks_exact_mut(3 * d_model * 4) {
                    row[(2 * d_model + head * d_head) * 4..][..d_head * 4].fill(0);
                }
            }
            (name, view.shape().to_vec(), data)
        })
        .collect();
    assert_eq!(n_changed, 2);
    let views = tensors.iter().map(|(name, shape, data)| {
        (name.clone(), safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), data).unwrap())
    });
    let target = tempfile::tempdir().unwrap();
    std::fs::write(target.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    std::fs::copy(folder.join("config.json"), target.path().join("config.json")).unwrap();
    Model::load(target.path()).expect("a model")
}

#[test]
fn heads_are_as_important_by_the_slope_of_the_loss_as_other_programs_say() {
    let golden = Golden::open();
    let model = model("gpt2_tiny");
    let texts: Vec<Input> = golden.ids("michel_tokens").chunks_exact(11).map(|ids| input(&model, &[], ids)).collect();
    let found = model.head_importance(&texts, &|_, _| Ok(Metric::Loss)).expect("slopes");
    assert_near(&found.slopes.concat(), &golden.tensor("michel_signed_per_example"), 1e-5, "slopes of each text");
    assert_near(&found.means(), &golden.tensor("michel_I"), 1e-5, "importance");
    assert_near(&found.by_layer(), &golden.tensor("michel_I_l2_per_layer"), 1e-5, "importance by layer");
    let error = model.head_importance(&texts, &|_, _| Ok(Metric::KullbackLeibler)).unwrap_err().to_string();
    assert!(error.contains("its slope is 0"), "{error}");
}

#[test]
fn what_is_not_there_is_refused_in_a_sentence() {
    let golden = Golden::open();
    let (model, input) = gpt2(&golden);
    let baseline = Baseline::of(&model, &input).expect("a run");
    let absent = KindHead { kind: Kind::Decoder, head: HeadId { layer: 3, head: 9 } };
    let error = baseline.effects(&[absent], Removal::Zero, &Metric::Loss, None, &mut go_on).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no head L3H9 of decoder self-attention; gpt2_tiny has 3 decoder layers of 4 heads"
    );
    let stop = baseline.effects(&model.heads(), Removal::Zero, &Metric::Loss, None, &mut |_| Next::Stop);
    assert_eq!(stop.unwrap_err().to_string(), "the run was stopped");
}
