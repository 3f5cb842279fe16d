//! What a plan keeps and changes: by hand, against other paths through the same numbers, and against golden values.

mod common;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use attlas::recording::{Edit, HeadOutput, Heads, NewWeights, Which};
use attlas::{HeadId, Kind, Recording, Weights};
use attlas_model::weights::{Bytes, Checkpoint, Tensor};
use attlas_model::{
    Array, ConfigFile, Decoding, Error, Input, Keep, Model, Next, Pass, Progress, Run, RunOptions, Side, Site,
    mean_head_outputs,
};
use common::data;

const TEXT: [u32; 7] = [5, 9, 21, 33, 8, 40, 12];
const OTHER: [u32; 7] = [17, 6, 30, 11, 25, 7, 19];

fn family(name: &str) -> Model {
    Model::load(&data("families").join(name)).expect("a model")
}

/// A text for whichever sides the model has.
fn input(model: &Model, source: &[u32], target: &[u32]) -> Input {
    let tokens = |side: Side, ids: &[u32]| match model.has(side) {
        true => model.tokens_from_ids(side, ids).expect("tokens"),
        false => attlas::Tokens::default(),
    };
    Input { source: tokens(Side::Source, source), target: tokens(Side::Target, target), ..Input::default() }
}

fn keeping<const N: usize>(sites: [Site; N], edits: Vec<Edit<Array>>) -> RunOptions {
    RunOptions { pass: Pass { edits, ..Pass::keeping(sites) }, ..RunOptions::default() }
}

fn edited(edits: Vec<Edit<Array>>) -> RunOptions {
    keeping([Site::Attention, Site::Logits, Site::Stream], edits)
}

fn run(model: &Model, edits: Vec<Edit<Array>>) -> Run {
    model.run(&[input(model, &OTHER, &TEXT)], &edited(edits)).expect("a run")
}

fn one(kind: Kind, layer: usize, head: usize) -> Heads {
    Heads::one(kind, HeadId { layer, head })
}

fn zero(heads: Heads) -> Edit<Array> {
    Edit::HeadOutput { heads, to: HeadOutput::Zero }
}

fn logits(run: &Run) -> &[f32] {
    &run.logits.as_ref().expect("logits").values
}

fn map(recording: &Recording, kind: Kind, layer: usize, head: usize) -> Vec<Vec<f32>> {
    let map = recording.map(0, kind, layer, head).expect("a map");
    map.dense().chunks(map.n_keys()).map(<[f32]>::to_vec).collect()
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance, "{what}, place {place}: {found} instead of {expected}");
    }
}

/// The change of the logit of `target`, and of its difference to that of `foil`, at the last position.
fn deltas(run: &Run, base: &Run, target: usize, foil: usize) -> [f32; 2] {
    let of = |run: &Run| {
        let array = run.logits.as_ref().expect("logits");
        let row = &array.values[array.values.len() - array.shape[2]..];
        [row[target], row[target] - row[foil]]
    };
    let (edited, plain) = (of(run), of(base));
    [edited[0] - plain[0], edited[1] - plain[1]]
}

#[test]
fn ablations_and_hidden_edges_change_logits_as_golden_values_say() {
    let model = Model::load(&data("edits")).expect("a model");
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(data("edits").join("expected.json")).unwrap()).unwrap();
    let ids: Vec<u32> = expected["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    let number = |name: &str| expected[name].as_u64().unwrap() as usize;
    let (target, foil) = (number("target"), number("foil"));
    let text = input(&model, &[], &ids);
    let run = |edits: Vec<Edit<Array>>| {
        let options = keeping([Site::Logits, Site::HeadOutputs], edits);
        model.run(std::slice::from_ref(&text), &options).expect("a run")
    };
    let base = run(Vec::new());
    let check = |edit: Edit<Array>, expected: &serde_json::Value, what: &str| {
        let found = deltas(&run(vec![edit]), &base, target, foil);
        for (found, expected) in found.iter().zip(expected.as_array().unwrap()) {
            let expected = expected.as_f64().unwrap() as f32;
            assert!((found - expected).abs() < 1e-4, "{what}: {found} instead of {expected}");
        }
    };
    let last = |heads: Heads| Heads { queries: Which::These(vec![ids.len() - 1]), ..heads };
    for layer in 0..3 {
        for head in 0..4 {
            let heads = one(Kind::Decoder, layer, head);
            let name = format!("L{layer}H{head}");
            check(zero(heads.clone()), &expected["zero_z_delta"][layer][head], &format!("{name} zero"));
            let mean = mean_head_outputs(std::slice::from_ref(&base), &heads).expect("a mean");
            let mean = Edit::HeadOutput { heads: heads.clone(), to: HeadOutput::Mean(mean) };
            check(mean, &expected["mean_z_delta"][layer][head], &format!("{name} mean"));
            for key in 0..ids.len() {
                let edges = Edit::Edges { heads: last(heads.clone()), keys: Which::These(vec![key]) };
                let expected = &expected["knockout_lastq_perhead_delta"][layer][head][key];
                check(edges, expected, &format!("{name} without key {key}"));
            }
        }
        for key in 0..ids.len() {
            let edges = Edit::Edges { heads: last(Heads::all(Kind::Decoder, layer)), keys: Which::Range(key, key + 1) };
            let expected = &expected["knockout_lastq_allheads_delta"][layer][key];
            check(edges, expected, &format!("layer {layer} without key {key}"));
        }
    }
}

/// The same model with some of its numbers changed.
fn changed(folder: &Path, name: &str, change: impl Fn(&mut [f32])) -> Model {
    let stored = Checkpoint::open(folder).expect("weights");
    let mut tensors = BTreeMap::new();
    let names: Vec<String> = stored.names().map(str::to_owned).collect();
    for one in names {
        let tensor = stored.get(&one).expect("a tensor").clone();
        let tensor = if one == name {
            let mut values = stored.tensor(&one, &tensor.shape).expect("numbers").to_vec();
            change(&mut values);
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let len = bytes.len();
            Tensor { bytes: Bytes::Memory { bytes: Arc::new(bytes), offset: 0, len }, ..tensor }
        } else {
            tensor
        };
        tensors.insert(one, tensor);
    }
    let config = ConfigFile::open(&folder.join("config.json")).expect("a configuration");
    Model::from_parts(&config, None, &Checkpoint::from_tensors(folder, tensors)).expect("a model")
}

#[test]
fn a_zeroed_head_is_a_model_whose_output_projection_has_no_columns_for_it() {
    let plain = family("bart");
    let (layer, head) = (1, 2);
    let config = plain.transformer().architecture.attention(Kind::Cross)[layer];
    let (width, d_head) = (config.1.query_width(), config.1.d_head);
    let name = format!("model.decoder.layers.{layer}.encoder_attn.out_proj.weight");
    let without = changed(&data("families").join("bart"), &name, |weight| {
        weight.chunks_exact_mut(width).for_each(|row| row[head * d_head..][..d_head].fill(0.0));
    });
    let zeroed = run(&plain, vec![zero(one(Kind::Cross, layer, head))]);
    let expected = run(&without, Vec::new());
    assert_close(logits(&zeroed), logits(&expected), 1e-6, "logits");
    let moved = logits(&zeroed).iter().zip(logits(&run(&plain, Vec::new()))).any(|(a, b)| (a - b).abs() > 1e-3);
    assert!(moved, "the head did something");
}

#[test]
fn a_hidden_edge_leaves_the_softmax_without_that_key_and_other_rows_and_heads_alone() {
    // scores with a sink, with a relative bias, grouped, and joining content with distance
    for (name, kind) in [
        ("gpt2", Kind::Decoder),
        ("gpt-oss", Kind::Decoder),
        ("t5", Kind::Encoder),
        ("llama", Kind::Decoder),
        ("deberta-v2", Kind::Encoder),
    ] {
        let model = family(name);
        let plain = run(&model, Vec::new());
        let heads = Heads { queries: Which::These(vec![4, 5]), ..one(kind, 0, 1) };
        let hidden = run(&model, vec![Edit::Edges { heads, keys: Which::These(vec![1, 3]) }]);
        let layer = hidden.recording.layer(kind, 0).expect("the layer");
        assert!(matches!(layer.weights, Weights::Dense(_)), "{name} is recorded with what was used");
        // what a learned sink takes is not beside dense weights: rows may sum to less than 1
        assert!(hidden.recording.check().expect("sizes agree").iter().all(|check| check.passed()), "{name}");
        for head in 0..2 {
            let (before, after) = (map(&plain.recording, kind, 0, head), map(&hidden.recording, kind, 0, head));
            for (query, (before, after)) in before.iter().zip(&after).enumerate() {
                let is_edited = head == 1 && (query == 4 || query == 5);
                let hidden = if is_edited { before[1] + before[3] } else { 0.0 };
                let expected: Vec<f32> = before
                    .iter()
                    .enumerate()
                    .map(
                        |(key, weight)| if is_edited && (key == 1 || key == 3) { 0.0 } else { weight / (1.0 - hidden) },
                    )
                    .collect();
                assert_close(after, &expected, 2e-6, &format!("{name} head {head} row {query}"));
            }
        }
        assert_ne!(logits_or_stream(&plain, kind), logits_or_stream(&hidden, kind), "{name}: what follows changes");
    }
}

fn floats(numbers: &attlas::Numbers) -> Cow<'_, [f32]> {
    numbers.read_all().expect("numbers in memory")
}

fn values_of(layer: &attlas::Layer) -> Cow<'_, [f32]> {
    floats(layer.traces.get(attlas::Trace::Values).expect("values"))
}

/// The last hidden states of a stack.
fn logits_or_stream(run: &Run, kind: Kind) -> &[f32] {
    let mut of_kind = run.kept.iter().filter(|kept| kept.site == Site::Stream && kept.kind == kind);
    &of_kind.next_back().expect("hidden states").array.values
}

#[test]
fn uniform_weights_are_the_same_for_every_visible_key() {
    let model = family("gpt2");
    let edit = Edit::Weights { heads: one(Kind::Decoder, 1, 0), to: NewWeights::Uniform };
    let uniform = run(&model, vec![edit]);
    for (query, row) in map(&uniform.recording, Kind::Decoder, 1, 0).iter().enumerate() {
        let expected: Vec<f32> =
            (0..TEXT.len()).map(|key| if key <= query { 1.0 / (query + 1) as f32 } else { 0.0 }).collect();
        assert_close(row, &expected, 1e-6, &format!("row {query}"));
    }
}

#[test]
fn permuted_weights_are_the_same_numbers_elsewhere_and_the_same_seed_deals_the_same_way() {
    let model = family("gpt2");
    let permuted = |seed: u64| {
        let edit = Edit::Weights { heads: one(Kind::Decoder, 0, 3), to: NewWeights::Permuted { seed } };
        map(&run(&model, vec![edit]).recording, Kind::Decoder, 0, 3)
    };
    let plain = map(&run(&model, Vec::new()).recording, Kind::Decoder, 0, 3);
    let first = permuted(1);
    assert_eq!(first, permuted(1));
    assert_ne!(first, permuted(2));
    let sorted = |row: &[f32]| {
        let mut row = row.to_vec();
        row.sort_by(f32::total_cmp);
        row
    };
    for (query, (plain, permuted)) in plain.iter().zip(&first).enumerate() {
        assert_close(&sorted(permuted), &sorted(plain), 1e-6, "the numbers of a row");
        assert!(permuted[query + 1..].iter().all(|weight| *weight == 0.0), "nothing goes to keys that are not visible");
    }
    assert!((0..TEXT.len()).any(|query| (plain[query][0] - first[query][0]).abs() > 1e-3));
}

#[test]
fn given_weights_are_used_and_recorded_and_outputs_follow_from_them() {
    let model = family("llama");
    let heads = one(Kind::Decoder, 0, 3);
    let n = TEXT.len();
    // every query looks at key 0 alone: the output of the head is the value of key 0
    let values = (0..n * n).map(|place| if place % n == 0 { 1.0 } else { 0.0 }).collect();
    let given = Array { shape: vec![1, 1, n, n], values };
    let edit = Edit::Weights { heads, to: NewWeights::Given(given) };
    let options = keeping([Site::Attention, Site::Values, Site::HeadOutputs], vec![edit]);
    let run = model.run(&[input(&model, &[], &TEXT)], &options).expect("a run");
    assert!(map(&run.recording, Kind::Decoder, 0, 3).iter().all(|row| row[0] == 1.0 && row[1..] == vec![0.0; n - 1]));
    let layer = run.recording.layer(Kind::Decoder, 0).expect("the layer");
    let (shape, values) = (layer.shape, values_of(layer));
    let value = &values[shape.kv_head(3) * n * shape.d_value..][..shape.d_value];
    let outputs = run.kept(Site::HeadOutputs, Kind::Decoder, 0).expect("outputs");
    assert_eq!(outputs.shape, [1, shape.n_heads, n, shape.d_value]);
    for row in outputs.values[3 * n * shape.d_value..][..n * shape.d_value].chunks_exact(shape.d_value) {
        assert_close(row, value, 1e-6, "the head's output");
    }
}

#[test]
fn edits_of_weights_compose_in_their_order() {
    let model = family("gpt2");
    let heads = one(Kind::Decoder, 0, 0);
    let uniform = Edit::Weights { heads: heads.clone(), to: NewWeights::Uniform };
    let hidden = Edit::Edges { heads, keys: Which::These(vec![0]) };
    // hidden first: uniform over what is left; hidden after: the same, for the rest shares the weight
    for edits in [vec![hidden.clone(), uniform.clone()], vec![uniform, hidden]] {
        let rows = map(&run(&model, edits).recording, Kind::Decoder, 0, 0);
        assert_close(&rows[3], &[0.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0, 0.0, 0.0], 1e-6, "row 3");
    }
}

#[test]
fn hidden_states_of_another_run_bring_all_that_follows() {
    let model = family("gpt2");
    let sites = [Site::Stream, Site::Logits];
    let text = |ids: &[u32]| input(&model, &[], ids);
    let other = model.run(&[text(&OTHER)], &keeping(sites, Vec::new())).expect("a run");
    let to = other.kept(Site::Stream, Kind::Decoder, 1).expect("hidden states").clone();
    let patch =
        |positions: Which, to: Array| Edit::Stream { stack: Kind::Decoder, layer: 1, positions, items: Which::All, to };
    let patched = model.run(&[text(&TEXT)], &keeping(sites, vec![patch(Which::All, to.clone())])).expect("a run");
    for layer in 1..=2 {
        let of = |run: &Run| run.kept(Site::Stream, Kind::Decoder, layer).expect("hidden states").clone();
        assert_eq!(of(&patched), of(&other), "layer {layer}");
    }
    assert_eq!(patched.logits, other.logits);
    // one position: those before it stay as they are in a causal model
    let plain = model.run(&[text(&TEXT)], &keeping(sites, Vec::new())).expect("a run");
    let d_model = to.shape[2];
    let at_4 = Array { shape: vec![1, 1, d_model], values: to.values[4 * d_model..][..d_model].to_vec() };
    let edits = vec![patch(Which::These(vec![4]), at_4)];
    let patched = model.run(&[text(&TEXT)], &keeping(sites, edits)).expect("a run");
    let n_logits = patched.logits.as_ref().expect("logits").shape[2];
    assert_eq!(logits(&patched)[..4 * n_logits], logits(&plain)[..4 * n_logits]);
    assert_ne!(logits(&patched)[4 * n_logits..], logits(&plain)[4 * n_logits..]);
}

#[test]
fn an_edit_of_one_text_leaves_the_bits_of_the_others_alone() {
    let model = family("bart");
    let batch = [input(&model, &OTHER, &TEXT), input(&model, &TEXT, &OTHER[..5]), input(&model, &OTHER[..4], &TEXT)];
    let second = |heads: Heads| Heads { items: Which::These(vec![1]), ..heads };
    let plain = model.run(&batch, &edited(Vec::new())).expect("a run");
    for edit in [
        zero(second(one(Kind::Cross, 0, 1))),
        Edit::Weights { heads: second(one(Kind::Encoder, 1, 2)), to: NewWeights::Uniform },
        Edit::Edges { heads: second(Heads::all(Kind::Decoder, 0)), keys: Which::These(vec![0]) },
    ] {
        let run = model.run(&batch, &edited(vec![edit])).expect("a run");
        let n = logits(&run).len() / 3;
        let item = |run: &Run, item: usize| logits(run)[item * n..][..n].to_vec();
        assert_eq!(item(&run, 0), item(&plain, 0));
        assert_eq!(item(&run, 2), item(&plain, 2));
        assert_ne!(item(&run, 1), item(&plain, 1));
    }
}

#[test]
fn generation_with_edits_is_one_pass_with_the_same_edits_over_what_it_generated() {
    let model = family("bart");
    let prompt =
        Input { target: model.tokens_from_ids(Side::Target, &[2]).expect("tokens"), ..input(&model, &TEXT, &[2]) };
    let edits = || {
        vec![
            zero(one(Kind::Cross, 0, 1)),
            Edit::Weights { heads: one(Kind::Decoder, 0, 2), to: NewWeights::Permuted { seed: 3 } },
            Edit::Edges { heads: one(Kind::Cross, 1, 0), keys: Which::Range(0, 2) },
            Edit::Weights { heads: one(Kind::Encoder, 0, 3), to: NewWeights::Uniform },
            zero(Heads { queries: Which::These(vec![2]), ..one(Kind::Decoder, 1, 0) }),
        ]
    };
    let mut texts = Vec::new();
    for decoding in [Decoding::Greedy { max_tokens: 8 }, Decoding::Beam { width: 3, max_tokens: 8 }] {
        let options = RunOptions { decoding, ..keeping([Site::Attention], edits()) };
        let generated = model.run(std::slice::from_ref(&prompt), &options).expect("a run");
        let item = &generated.recording.items[0];
        let whole = Input { source: item.source.clone(), target: item.target.clone(), ..Input::default() };
        let again = model.run(&[whole], &edited(edits())).expect("a run");
        assert_eq!(generated.recording.provenance.edits, again.recording.provenance.edits);
        for layer in &generated.recording.layers {
            for head in 0..layer.shape.n_heads {
                let of = |run: &Run| map(&run.recording, layer.kind, layer.index, head).concat();
                assert_close(&of(&generated), &of(&again), 1e-5, &format!("{} L{}H{head}", layer.kind, layer.index));
            }
        }
        if matches!(decoding, Decoding::Greedy { .. }) {
            let array = again.logits.as_ref().expect("logits");
            let best = |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).map(|id| id as u32);
            let predicted: Vec<Option<u32>> = array.values.chunks(array.shape[2]).map(best).collect();
            let ids: Vec<Option<u32>> = generated.generated[0].tokens.tokens.iter().map(|token| token.id).collect();
            assert_eq!(predicted[1..ids.len() - 1], ids[1..ids.len() - 1]); // first and last may be forced
        }
        texts.push(generated);
    }
    let plain = model
        .run(&[prompt], &RunOptions { decoding: Decoding::Greedy { max_tokens: 8 }, ..RunOptions::default() })
        .expect("a run");
    let logs = |run: &Run| run.generated[0].log_probabilities.clone();
    assert_ne!(logs(&plain), logs(&texts[0]), "the edits did something");
}

#[test]
fn a_run_can_be_watched_and_stopped() {
    let model = family("bart");
    let prompt = [input(&model, &TEXT, &[2])];
    let options = RunOptions { decoding: Decoding::Greedy { max_tokens: 8 }, ..RunOptions::default() };
    let mut seen = Vec::new();
    let mut watch = |progress: Progress| {
        seen.push(progress);
        if matches!(progress, Progress::Token { n_tokens: 3, .. }) { Next::Stop } else { Next::Continue }
    };
    let error = model.run_watched(&prompt, &options, &mut watch).expect_err("it is stopped");
    assert!(matches!(error, Error::Stopped) && error.to_string() == "the run was stopped", "{error}");
    assert_eq!(seen[0], Progress::Block { stack: Kind::Encoder, layer: 0, n_layers: 2 });
    assert_eq!(seen.last(), Some(&Progress::Token { item: 0, n_tokens: 3 }));
    let n_blocks =
        seen.iter().filter(|progress| matches!(progress, Progress::Block { stack: Kind::Decoder, .. })).count();
    assert_eq!(n_blocks, 3 * 3);
    let mut n_calls = 0;
    let mut watch = |progress: Progress| {
        n_calls += 1;
        let here = Progress::Block { stack: Kind::Decoder, layer: 1, n_layers: 3 };
        if progress == here { Next::Stop } else { Next::Continue }
    };
    let error = model.run_watched(&prompt, &RunOptions::default(), &mut watch).expect_err("it is stopped");
    assert!(matches!(error, Error::Stopped) && n_calls == 4);
}

#[test]
fn kept_sites_agree_with_the_recording() {
    let model = family("gemma2"); // grouped, capped, windowed
    let sites = [Site::Attention, Site::Values, Site::Queries, Site::Keys, Site::HeadOutputs, Site::Scores];
    let run = model.run(&[input(&model, &[], &TEXT)], &keeping(sites, Vec::new())).expect("a run");
    let n = TEXT.len();
    for layer in &run.recording.layers {
        let shape = layer.shape;
        let kept = |site: Site| run.kept(site, layer.kind, layer.index).expect("it was kept");
        let factored = layer.factored().expect("factored");
        assert_eq!(kept(Site::Queries).shape, [1, shape.n_heads, n, shape.d_head]);
        assert_eq!(kept(Site::Queries).values[..], floats(&factored.queries)[..]);
        assert_eq!(kept(Site::Keys).shape, [1, shape.n_kv_heads, n, shape.d_head]);
        assert_eq!(kept(Site::Keys).values[..], floats(&factored.keys)[..]);
        assert_eq!(kept(Site::Scores).shape, [1, shape.n_heads, n, n]);
        let values = values_of(layer);
        for head in 0..shape.n_heads {
            let rows = map(&run.recording, layer.kind, layer.index, head);
            for (query, row) in rows.iter().enumerate() {
                let scores = &kept(Site::Scores).values[(head * n + query) * n..][..n];
                let total: f32 = scores.iter().map(|score| score.exp()).sum();
                let softmax: Vec<f32> = scores.iter().map(|score| score.exp() / total).collect();
                assert_close(row, &softmax, 1e-5, "softmax of the scores");
                let mixed: Vec<f32> = (0..shape.d_value)
                    .map(|column| {
                        let value = |key: usize| values[(shape.kv_head(head) * n + key) * shape.d_value + column];
                        row.iter().enumerate().map(|(key, weight)| weight * value(key)).sum()
                    })
                    .collect();
                let start = (head * n + query) * shape.d_value;
                let output = &kept(Site::HeadOutputs).values[start..][..shape.d_value];
                assert_close(output, &mixed, 1e-5, "weights times values");
            }
        }
    }
    let keep = vec![Keep { site: Site::HeadOutputs, kind: Some(Kind::Decoder), layers: Some(vec![1]) }];
    let options = RunOptions { pass: Pass { keep, edits: Vec::new() }, ..RunOptions::default() };
    let run = model.run(&[input(&model, &[], &TEXT)], &options).expect("a run");
    let places: Vec<(Site, usize)> = run.kept.iter().map(|kept| (kept.site, kept.layer)).collect();
    assert_eq!((places, run.recording.layers.len()), (vec![(Site::HeadOutputs, 1)], 0));
}

#[test]
fn what_a_plan_names_must_be_there_and_a_refusal_says_what_is() {
    let model = family("bart");
    let said = |edit: Edit<Array>| {
        model.run(&[input(&model, &OTHER, &TEXT)], &edited(vec![edit])).expect_err("a refusal").to_string()
    };
    let array = |shape: &[usize]| Array { shape: shape.to_vec(), values: vec![0.5; shape.iter().product()] };
    assert_eq!(said(zero(one(Kind::Cross, 7, 0))), "there is no cross layer 7; bart has 0 to 2");
    assert_eq!(said(zero(one(Kind::Cross, 1, 9))), "cross layer 1 has no head 9; there are heads 0 to 3");
    let heads = Heads { queries: Which::Range(3, 8), ..one(Kind::Cross, 1, 0) };
    assert_eq!(said(zero(heads)), "cross has no row 7; there are rows 0 to 6");
    let heads = Heads { items: Which::These(vec![1]), ..one(Kind::Cross, 1, 0) };
    assert_eq!(said(zero(heads)), "the batch has no text 1; the only text is 0");
    let heads = Heads { heads: Which::These(Vec::new()), ..one(Kind::Cross, 1, 0) };
    assert_eq!(said(zero(heads)), "no head of cross layer 1 is chosen");
    let edges = Edit::Edges { heads: one(Kind::Encoder, 0, 0), keys: Which::These(vec![70]) };
    assert_eq!(said(edges), "encoder has no column 70; there are columns 0 to 6");
    let mean = Edit::HeadOutput { heads: one(Kind::Encoder, 0, 0), to: HeadOutput::Mean(array(&[1, 3])) };
    assert!(said(mean).contains("shape [1, 3] and 3 numbers, but shape [1, 4] is needed"));
    let weights = Edit::Weights { heads: one(Kind::Encoder, 0, 0), to: NewWeights::Given(array(&[1, 1, 7, 7])) };
    assert!(said(weights).contains("row 0 of the given attention weights sums to 3.5"));
    let stream = |stack: Kind, layer: usize| Edit::Stream {
        stack,
        layer,
        positions: Which::All,
        items: Which::All,
        to: array(&[1, 7, 16]),
    };
    assert!(said(stream(Kind::Encoder, 3)).contains("hidden states enter layers 0 to 1 of the encoder"));
    assert!(said(stream(Kind::Cross, 0)).contains("no hidden states of its own"));
    let error = family("gpt2").run(&[input(&family("gpt2"), &[], &TEXT)], &edited(vec![zero(one(Kind::Cross, 0, 0))]));
    assert_eq!(error.expect_err("a refusal").to_string(), "gpt2 has no cross attention; it has decoder");
    let twice = Heads { heads: Which::These(vec![2, 2]), ..one(Kind::Cross, 1, 0) };
    assert_eq!(said(zero(twice)), "head 2 of cross layer 1 is chosen twice");
    // what cannot be known before a text is generated
    let generating = |edit: Edit<Array>| {
        let options = RunOptions { decoding: Decoding::Greedy { max_tokens: 4 }, ..edited(vec![edit]) };
        model.run(&[input(&model, &OTHER, &[2])], &options).expect_err("a refusal").to_string()
    };
    let weights = Edit::Weights { heads: one(Kind::Cross, 0, 0), to: NewWeights::Given(array(&[1, 1, 7, 7])) };
    assert!(generating(weights).contains("cannot be given while a text is generated"));
    assert!(generating(stream(Kind::Decoder, 1)).contains("cannot be given for all rows while a text is generated"));
}

#[test]
fn what_a_plan_keeps_must_be_somewhere() {
    let model = family("bart"); // 2 layers in the encoder, 3 in the decoder
    let kept = |site: Site, kind: Option<Kind>, layer: usize| {
        let pass = Pass { keep: vec![Keep { site, kind, layers: Some(vec![layer]) }], edits: Vec::new() };
        let run = model.run(&[input(&model, &OTHER, &TEXT)], &RunOptions { pass, ..RunOptions::default() });
        run.map(|run| (run.kept.len(), run.recording.layers.len())).map_err(|error| error.to_string())
    };
    assert_eq!(kept(Site::Stream, Some(Kind::Encoder), 2), Ok((1, 0)), "what leaves the encoder");
    assert!(kept(Site::Stream, Some(Kind::Encoder), 3).unwrap_err().starts_with("there is no encoder layer 2"));
    assert!(kept(Site::Stream, Some(Kind::Cross), 0).unwrap_err().contains("no hidden states of its own"));
    assert_eq!(kept(Site::Queries, None, 2), Ok((2, 0)), "decoder and cross have a layer 2");
    assert!(kept(Site::Queries, None, 9).unwrap_err().starts_with("there is no encoder layer 9"));
    assert!(kept(Site::Values, None, 0).unwrap_err().contains("the plan keeps no attention"));
    assert_eq!(kept(Site::Attention, Some(Kind::Cross), 1), Ok((0, 1)), "one layer alone is recorded");
}

#[test]
fn a_mean_of_heads_stands_in_the_order_in_which_an_edit_names_them() {
    let model = family("llama");
    let options = keeping([Site::HeadOutputs], Vec::new());
    let base = model.run(&[input(&model, &[], &TEXT)], &options).expect("a run");
    let heads = |heads: Vec<usize>| Heads { heads: Which::These(heads), ..one(Kind::Decoder, 0, 0) };
    let mean = |chosen: &Heads| mean_head_outputs(std::slice::from_ref(&base), chosen).expect("a mean");
    let (one, three) = (mean(&heads(vec![1])), mean(&heads(vec![3])));
    assert_eq!(mean(&heads(vec![3, 1])).values, [three.values.clone(), one.values.clone()].concat());
    let edit = Edit::HeadOutput { heads: heads(vec![3, 1]), to: HeadOutput::Mean(mean(&heads(vec![3, 1]))) };
    let changed = model.run(&[input(&model, &[], &TEXT)], &keeping([Site::HeadOutputs], vec![edit])).expect("a run");
    let outputs = changed.kept(Site::HeadOutputs, Kind::Decoder, 0).expect("outputs");
    let width = outputs.shape[3];
    assert_eq!(outputs.values[3 * TEXT.len() * width..][..width], three.values, "head 3 has its own mean");
}

#[test]
fn given_weights_leave_padding_alone() {
    let model = family("bert");
    let (long, short) = (input(&model, &TEXT, &[]), input(&model, &TEXT[..4], &[]));
    let n = TEXT.len();
    let given = Array { shape: vec![2, 1, n, n], values: vec![1.0 / n as f32; 2 * n * n] };
    let edit = Edit::Weights { heads: one(Kind::Encoder, 0, 1), to: NewWeights::Given(given) };
    let run = model.run(&[long, short], &edited(vec![edit])).expect("a run");
    let row = run.recording.map(1, Kind::Encoder, 0, 1).expect("a map").row(0);
    assert!(row[..4].iter().all(|weight| *weight > 0.1) && row[4..] == [0.0; 3], "{row:?}");
    assert!(run.recording.check().expect("sizes agree").iter().all(|check| check.passed()));
}

#[test]
fn dense_scores_and_changed_weights_over_the_limit_are_refused() {
    let model = family("bloom"); // no limit of positions
    let long =
        [Input { target: model.tokens_from_ids(Side::Target, &vec![5; 20_000]).expect("tokens"), ..Input::default() }];
    let said = |options: RunOptions| model.run(&long, &options).expect_err("a refusal");
    let error = said(keeping([Site::Scores], Vec::new()));
    assert!(matches!(error, Error::Limit(_)) && error.to_string().contains("scores are kept dense"), "{error}");
    let edit = Edit::Weights { heads: one(Kind::Decoder, 0, 0), to: NewWeights::Uniform };
    let error = said(keeping([Site::Attention], vec![edit]));
    assert!(matches!(error, Error::Limit(_)) && error.to_string().contains("20000 tokens"), "{error}");
}

#[test]
fn a_recording_says_what_was_changed_also_when_it_is_read_again() {
    let model = family("gpt2");
    let n = TEXT.len();
    let mean = Array { shape: vec![1, 4], values: vec![0.25; 4] };
    let edits = vec![
        zero(one(Kind::Decoder, 1, 2)),
        Edit::HeadOutput { heads: one(Kind::Decoder, 0, 0), to: HeadOutput::Mean(mean.clone()) },
    ];
    let run = run(&model, edits);
    let remarks = run.recording.provenance.remarks();
    assert_eq!(remarks[0], "L1H2 of decoder self-attention was knocked out: its output was set to 0");
    let start = &mean.digest().sha256[..8];
    assert!(remarks[1].contains(&format!("shape [1, 4], SHA-256 {start}")), "{}", remarks[1]);
    let file = tempfile::NamedTempFile::new().expect("a file");
    run.recording.save(file.path()).expect("it is saved");
    let read = Recording::open(file.path()).expect("it is read");
    assert_eq!(read.provenance.remarks(), remarks);
    assert_eq!(map(&read, Kind::Decoder, 1, 2).len(), n);
}

#[test]
fn a_plan_is_plain_data_with_a_checksum_of_its_own() {
    let plan = |head: usize| Pass { edits: vec![zero(one(Kind::Decoder, 1, head))], ..Pass::default() };
    let json = serde_json::to_string(&plan(2)).expect("JSON");
    assert_eq!(serde_json::from_str::<Pass>(&json).expect("a plan"), plan(2));
    assert_eq!(plan(2).digest(), plan(2).digest());
    assert_ne!(plan(2).digest(), plan(1).digest());
}
