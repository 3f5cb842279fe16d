//! Models that have attention in some layers only: those keep their numbers, the others are run, said, and refused where nothing
//! can be had of them.

mod common;

use attlas::recording::{Edit, HeadOutput, Heads, Which};
use attlas::{HeadId, Kind, Token, TokenRole};
use attlas_model::{Array, Backward, Error, Input, Keep, Model, Pass, Run, RunOptions, Side, Site, explain};
use common::data;
use serde_json::{Value, json};

const TEXT: [u32; 6] = [5, 9, 21, 33, 8, 40];

/// Each case with the layers that attend, and what the others are called.
const HYBRIDS: [(&str, &[usize], &str); 5] = [
    ("granite-hybrid", &[2], "layers 0 to 1 (Mamba-2)"),
    ("granite-hybrid-dense", &[1, 3], "layers 0, 2 (Mamba-2)"),
    ("jamba", &[1], "layers 0, 2 (Mamba)"),
    ("jamba-dense", &[1, 3], "layers 0, 2 (Mamba)"),
    ("qwen3-next", &[1], "layers 0, 2 (gated delta rule)"),
];

fn family(name: &str) -> Model {
    Model::load(&data("families").join(name)).expect("a model")
}

fn input(model: &Model, ids: &[u32]) -> Input {
    Input { target: model.tokens_from_ids(Side::Target, ids).expect("tokens"), ..Input::default() }
}

fn run(model: &Model, input: Input, pass: Pass) -> Result<Run, Error> {
    model.run(&[input], &RunOptions { pass, ..RunOptions::default() })
}

fn message<T>(result: Result<T, Error>) -> String {
    result.err().expect("a refusal").to_string()
}

#[test]
fn layers_keep_their_numbers_and_the_recording_says_which_have_no_attention() {
    for (name, layers, others) in HYBRIDS {
        let model = family(name);
        let found = run(&model, input(&model, &TEXT), Pass::default()).expect("a run").recording;
        let bytes = std::sync::Arc::new(found.to_bytes().expect("bytes"));
        let read = attlas::Recording::from_bytes(bytes).expect("a recording");
        let indices: Vec<usize> = read.layers_of(Kind::Decoder).map(|layer| layer.index).collect();
        assert_eq!(indices, layers, "{name}");
        assert!(read.check().expect("sizes agree").iter().all(|check| check.passed()), "{name}");
        let notes = &read.provenance.notes;
        assert!(notes.iter().any(|note| note.contains("no attention") && note.contains(others)), "{name}: {notes:?}");
        let heads: Vec<usize> = model.heads().iter().map(|head| head.head.layer).collect();
        assert!(layers.iter().all(|layer| heads.contains(layer)) && !heads.contains(&0), "{name}: {heads:?}");
    }
}

#[test]
fn padding_before_a_text_changes_nothing() {
    // neither counts positions, so that nothing but the states could differ
    for name in ["granite-hybrid", "jamba", "jamba-dense"] {
        let model = family(name);
        let keep = || Pass::keeping([Site::Logits, Site::Attention]);
        let alone = run(&model, input(&model, &TEXT), keep()).expect("a run");
        let mut padded = input(&model, &TEXT);
        let padding = Token { id: Some(0), role: TokenRole::Padding, ..Token::labelled("<pad>") };
        padded.target.tokens.splice(0..0, vec![padding; 3]);
        let padded = run(&model, padded, keep()).expect("a run");
        let logits = |run: &Run| run.logits.as_ref().expect("logits").values.clone();
        let (found, expected) = (logits(&padded), logits(&alone));
        let found = &found[found.len() - expected.len()..];
        let differs = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(differs < 1e-5, "{name}: {differs}");
    }
}

#[test]
fn a_text_has_the_logits_it_has_alone_in_a_batch_and_a_head_of_its_own_layer_can_be_taken_away() {
    for (name, layers, _) in HYBRIDS {
        let model = family(name);
        let options = |edits: Vec<Edit<Array>>| RunOptions {
            pass: Pass { edits, ..Pass::keeping([Site::Logits]) },
            ..RunOptions::default()
        };
        let inputs = [input(&model, &TEXT), input(&model, &TEXT[..3]), input(&model, &[7, 30, 30, 11, 6, 19])];
        let logits = |run: &Run| run.logits.as_ref().expect("logits").values.clone();
        let together = logits(&model.run(&inputs, &options(Vec::new())).expect("a run"));
        let alone = logits(&model.run(&inputs[2..], &options(Vec::new())).expect("a run"));
        assert_eq!(together[together.len() - alone.len()..], alone, "{name}");
        let heads = |layer: usize| Heads::one(Kind::Decoder, HeadId { layer, head: 0 });
        let away = |layer: usize| options(vec![Edit::HeadOutput { heads: heads(layer), to: HeadOutput::Zero }]);
        assert_ne!(logits(&model.run(&inputs[2..], &away(layers[0])).expect("a run")), alone, "{name}");
        let said = message(model.run(&inputs, &away(0)));
        assert!(said.contains("layer 0") && said.contains("has no attention"), "{name}: {said}");
    }
}

#[test]
fn what_goes_through_all_layers_is_refused_in_a_sentence() {
    for (name, layers, others) in HYBRIDS {
        let model = family(name);
        let text = input(&model, &TEXT);
        let said = message(model.backward(
            std::slice::from_ref(&text),
            &Pass::keeping([]),
            &Backward::default(),
            &mut |output| Ok(vec![1.0; output.values.len()]),
        ));
        assert!(said.contains(others) && said.contains("no gradients"), "{name}: {said}");
        let traced = run(&model, text.clone(), explain::traced()).expect("a run");
        let said = message(explain::contributions(&model, &traced, explain::Reach::Model));
        assert!(said.contains(others), "{name}: {said}");
        let said = attlas::analysis::rollout(&traced.recording, Kind::Decoder).expect_err("a refusal").to_string();
        assert!(said.contains("no weights of layer 0"), "{name}: {said}");
        let keep = Keep { site: Site::Scores, kind: Some(Kind::Decoder), layers: Some(vec![0]) };
        let said = message(run(&model, text, Pass { keep: vec![keep], ..Pass::keeping([]) }));
        let those: Vec<String> = layers.iter().map(usize::to_string).collect();
        assert!(said.contains("has no attention") && said.contains(&those.join(", ")), "{name}: {said}");
    }
    // a sublayer alone is defined, unless it gates what heads give
    let layer = |name: &str| {
        let model = family(name);
        let traced = run(&model, input(&model, &TEXT), explain::traced()).expect("a run");
        explain::contributions(&model, &traced, explain::Reach::Layer).map(|(layers, _)| layers.len())
    };
    assert_eq!(layer("jamba-dense").expect("contributions"), 2);
    assert!(message(layer("qwen3-next")).contains("gates what heads give"));
}

#[test]
fn experts_of_layers_without_attention_are_beside_the_recording_of_a_run() {
    for (name, recorded, beside) in [("granite-hybrid", &[2][..], &[0, 1][..]), ("jamba", &[], &[0, 2])] {
        let model = family(name);
        let pass = Pass::keeping([Site::Attention, Site::Router]);
        let run = run(&model, input(&model, &TEXT), pass).expect("a run");
        let layers = |mut all: Vec<usize>| {
            assert_eq!(all.iter().filter(|layer| **layer == all[0]).count(), 2 * TEXT.len(), "{name}: two a token");
            all.dedup();
            all
        };
        let found = run.recording.experts(0).expect("experts");
        if !recorded.is_empty() {
            assert_eq!(layers(found.iter().map(|one| one.layer).collect()), recorded, "{name}");
        }
        let found = run.experts_without_attention();
        assert!(found.iter().all(|(item, one)| *item == 0 && one.kind == Kind::Decoder), "{name}");
        assert_eq!(layers(found.iter().map(|(_, one)| one.layer).collect()), beside, "{name}");
    }
}

#[test]
fn hidden_states_that_enter_any_layer_can_be_exchanged() {
    let model = family("jamba");
    let keep = Pass::keeping([Site::Logits, Site::Stream]);
    let plain = run(&model, input(&model, &TEXT), keep.clone()).expect("a run");
    let states = &plain.kept(Site::Stream, Kind::Decoder, 2).expect("states").values;
    let to = Array { shape: vec![1, TEXT.len(), 12], values: states.clone() };
    let edit = Edit::Stream { stack: Kind::Decoder, layer: 2, positions: Which::All, items: Which::All, to };
    let other = input(&model, &[7, 30, 30, 11, 6, 19]);
    let patched = run(&model, other, Pass { edits: vec![edit], ..keep }).expect("a run");
    assert_eq!(patched.logits, plain.logits);
}

#[test]
fn configurations_that_cannot_be_are_refused_by_field() {
    let cases: &[(&str, &str, Value, &str)] = &[
        ("granite-hybrid", "layer_types", json!(["mamba", "rwkv", "attention"]), "rwkv"),
        ("granite-hybrid", "layer_types", json!(["mamba", "attention"]), "2 entries for 3 layers"),
        ("granite-hybrid", "layer_types", json!(["mamba", "mamba", "mamba"]), "no layer with attention"),
        ("granite-hybrid", "layer_types", Value::Null, "is missing"),
        ("granite-hybrid", "mamba_d_head", json!(5), "mamba_expand"),
        ("granite-hybrid", "mamba_n_groups", json!(3), "mamba_n_heads 4"),
        ("granite-hybrid", "mamba_d_state", json!(1_048_576), "up to 4096"),
        ("granite-hybrid", "mamba_expand", json!(8_388_608), "up to 16777216"),
        ("granite-hybrid", "position_embedding_type", json!("alibi"), "rope and nope"),
        ("granite-hybrid", "time_step_limit", json!([0.5, 0.1]), "two numbers"),
        ("granite-hybrid", "num_experts_per_tok", json!(9), "4 experts"),
        ("jamba", "attn_layer_offset", json!(3), "below attn_layer_period 3"),
        ("jamba", "expert_layer_offset", json!(2), "below expert_layer_period 2"),
        ("jamba", "mamba_d_conv", json!(5000), "up to 4096"),
        ("qwen3-next", "linear_num_value_heads", json!(3), "multiple of linear_num_key_heads 2"),
        ("qwen3-next", "linear_key_head_dim", json!(5000), "up to 4096"),
        (
            "qwen3-next",
            "layer_types",
            json!(["linear_attention", "linear_attention", "linear_attention"]),
            "no layer with attention",
        ),
        ("qwen3-next-dense", "full_attention_interval", json!(9), "no layer with attention"),
    ];
    for (name, field, value, words) in cases {
        let case = data("families").join(name);
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::copy(case.join("model.safetensors"), folder.path().join("model.safetensors")).expect("a copy");
        let text = std::fs::read_to_string(case.join("config.json")).expect("a configuration");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        config[*field] = value.clone();
        std::fs::write(folder.path().join("config.json"), config.to_string()).expect("written");
        let said = message(Model::load(folder.path()));
        assert!(said.contains(field) && said.contains(words), "{name} {field} {value}: {said}");
    }
}
