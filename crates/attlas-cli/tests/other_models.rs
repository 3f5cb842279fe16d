//! Models that are no translators: encoder-only and decoder-only ones, and encoder-decoders by ids. The small checkpoints
//! and what transformers computes from them lie with the model crate's tests.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Command, folder};
use safetensors::SafeTensors;
use tempfile::TempDir;

/// A checkpoint of random weights without a tokenizer.
fn family(name: &str) -> String {
    model(&format!("families/{name}"))
}

/// A folder of the model crate's test data.
fn model(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../attlas-model/tests/data").join(name);
    path.to_str().expect("a path of text").to_owned()
}

/// The kinds of a model, their arrays in an export, and how its fixture names them.
const ENCODER_ONLY: (&str, &str, &str) = ("encoder", "encoder", "self");
const DECODER_ONLY: (&str, &str, &str) = ("decoder", "decoder_self", "self");

/// What transformers computes from the first row of the run `padded`, which has no padding.
struct Expected(Vec<u8>);

impl Expected {
    fn of(name: &str) -> Expected {
        Expected(fs::read(PathBuf::from(family(name)).join("expected.safetensors")).expect("the fixture is there"))
    }

    /// The first row of `padded.{side}`, as `--source-ids` has it.
    fn ids(&self, side: &str) -> String {
        let tensors = SafeTensors::deserialize(&self.0).expect("safetensors");
        let tensor = tensors.tensor(&format!("padded.{side}")).expect("the ids are there");
        let ids = tensor.data().as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes).to_string());
        ids.take(tensor.shape()[1]).collect::<Vec<_>>().join(",")
    }

    /// The weights of the first text. Shape `[n_heads, n_queries, n_keys]`.
    fn weights(&self, kind: &str, layer: usize) -> Vec<f32> {
        let tensors = SafeTensors::deserialize(&self.0).expect("safetensors");
        let tensor = tensors.tensor(&format!("padded.attentions.{kind}.{layer}")).expect("the weights are there");
        let n: usize = tensor.shape()[1..].iter().product();
        numbers(tensor.data()).take(n).collect()
    }
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

/// Runs the model on the fixture's ids, exports, and compares every weight of these kinds.
fn recorded(name: &str, kinds: &[(&str, &str, &str)]) -> TempDir {
    let (folder, expected, model) = (folder(), Expected::of(name), family(name));
    let mut words = vec!["record".to_owned(), "--model".into(), model];
    let given: &[(&str, &str)] = match kinds {
        [DECODER_ONLY] => &[("--target-ids", "input_ids")],
        [ENCODER_ONLY] => &[("--source-ids", "input_ids")],
        _ => &[("--source-ids", "input_ids"), ("--target-ids", "decoder_input_ids")],
    };
    words.extend(given.iter().flat_map(|(option, side)| [(*option).to_owned(), expected.ids(side)]));
    words.extend(["-o".into(), "run.safetensors".into()]);
    Command::new(words).in_folder(&folder).run().succeeds();
    Command::new(["export", "run.safetensors", "-o", "w.safetensors"]).in_folder(&folder).run().succeeds();
    let export = fs::read(folder.path().join("w.safetensors")).expect("the export is there");
    let export = SafeTensors::deserialize(&export).expect("safetensors");
    assert_eq!(export.len(), kinds.len(), "{name}: one array for each kind");
    for (_, array, named) in kinds {
        let array = export.tensor(array).expect("the kind is exported");
        let wanted: Vec<f32> = (0..array.shape()[0]).flat_map(|layer| expected.weights(named, layer)).collect();
        let given: Vec<f32> = numbers(array.data()).collect();
        assert_eq!(given.len(), wanted.len(), "{name}: {:?}", array.shape());
        for (cell, (given, wanted)) in given.iter().zip(&wanted).enumerate() {
            assert!((given - wanted).abs() < 1e-5, "{name} {named}, cell {cell}: {given} {wanted}");
        }
    }
    folder
}

/// Draws every picture of the recording in `folder`; `kind` is the only one there is, or `None`.
fn draw_all(folder: &TempDir, kind: Option<&str>) {
    for picture in ["map", "lines", "heads", "layers", "overview"] {
        let file = format!("{picture}.svg");
        let words = ["draw", picture, "run.safetensors", "-o", &file];
        Command::new(words).in_folder(folder).run().succeeds();
        let svg = fs::read_to_string(folder.path().join(&file)).expect("the picture is there");
        if let Some(kind) = kind {
            assert!(svg.contains(&format!("{kind} self-attention")), "{picture}: {}", &svg[..300]);
        }
    }
}

#[test]
fn an_encoder_only_model_is_recorded_described_exported_and_drawn() {
    let folder = recorded("distilbert", &[ENCODER_ONLY]);
    draw_all(&folder, Some("encoder"));
    let info = Command::new(["info", "run.safetensors"]).in_folder(&folder).run();
    let text = &info.succeeds().stdout;
    assert!(text.contains("distilbert") && text.contains("encoder") && text.contains("passed"), "{text}");
    assert!(!text.contains("decoder") && !text.contains("cross"), "{text}");
    assert!(text.contains("10 queries × 10 keys"), "{text}");
    let cross = Command::new(["draw", "map", "run.safetensors", "--kind", "cross", "-o", "a.svg"]);
    assert_eq!(cross.in_folder(&folder).run().fails(2), "the recording has no cross attention; it has encoder");
    let export = Command::new(["export", "run.safetensors", "--kind", "decoder", "-o", "a.npz"]);
    assert_eq!(export.in_folder(&folder).run().fails(2), "the recording has no decoder attention; it has encoder");
    let shown = Command::new(["run.safetensors"]).in_folder(&folder).run();
    assert!(shown.succeeds().stdout.contains("encoder self-attention"), "{}", shown.stdout);
}

#[test]
fn a_decoder_only_model_is_recorded_described_exported_and_drawn() {
    let folder = recorded("gpt2", &[DECODER_ONLY]);
    draw_all(&folder, Some("decoder"));
    let info = Command::new(["info", "run.safetensors"]).in_folder(&folder).run();
    let text = &info.succeeds().stdout;
    assert!(text.contains("gpt2") && text.contains("passed"), "{text}");
    let heads = Command::new(["heads", "run.safetensors", "--find", "previous"]).in_folder(&folder).run();
    assert!(heads.succeeds().stdout.contains("decoder  L1H3"), "{}", heads.stdout);
    assert!(!text.contains("encoder") && !text.contains("cross "), "{text}");
    let cross = Command::new(["draw", "lines", "run.safetensors", "--kind", "encoder", "-o", "a.svg"]);
    assert_eq!(cross.in_folder(&folder).run().fails(2), "the recording has no encoder attention; it has decoder");
}

#[test]
fn grouped_heads_of_a_decoder_are_exported_as_transformers_repeats_them() {
    draw_all(&recorded("llama", &[DECODER_ONLY]), Some("decoder"));
    draw_all(&recorded("gemma2", &[DECODER_ONLY]), Some("decoder"));
}

#[test]
fn an_encoder_decoder_with_relative_positions_is_recorded_by_ids_and_drawn() {
    let kinds = [
        ("encoder", "encoder", "encoder"),
        ("decoder", "decoder_self", "decoder"),
        ("cross", "decoder_cross", "cross"),
    ];
    let folder = recorded("t5", &kinds);
    draw_all(&folder, None);
    for (kind, ..) in kinds {
        let words = ["draw", "heads", "run.safetensors", "--kind", kind, "--layer", "1", "-o", "heads.png"];
        Command::new(words).in_folder(&folder).run().succeeds();
    }
}

#[test]
fn a_decoder_only_model_with_a_tokenizer_reads_and_continues_a_text() {
    let (folder, stories) = (folder(), model("trained/stories260K"));
    let read = Command::new(["Once upon a time", "--model", &stories]).in_folder(&folder).run();
    assert!(read.succeeds().stdout.contains("decoder self-attention"), "{}", read.stdout);
    assert!(folder.path().join("atlas.html").exists());
    let words = ["record", "Once upon a time", "--model", &stories, "--max-tokens", "8", "-o", "run.safetensors"];
    let run = Command::new(words).in_folder(&folder).run();
    let line = run.succeeds().stdout.lines().next().unwrap_or_default().to_owned();
    assert!(line.starts_with("Once upon a time") && line.len() > 20, "{line}");
    draw_all(&folder, Some("decoder"));
    let words = ["draw", "map", "Once upon a time", "--model", &stories, "--head", "0", "-o", "text.png"];
    Command::new(words).in_folder(&folder).run().succeeds();
}

#[test]
fn what_a_model_does_not_have_is_said() {
    let folder = folder();
    let fails = |words: &[&str], code: i32| {
        let run = Command::new(words.iter().copied().chain(["-o", "a.safetensors"])).in_folder(&folder).run();
        let sentence = run.fails(code).to_owned();
        assert!(!folder.path().join("a.safetensors").exists());
        sentence
    };
    let (bert, gpt2) = (family("bert"), family("gpt2"));
    let sentence = fails(&["record", "A red apple.", "--model", &bert], 3);
    assert!(sentence.contains("bert") && sentence.contains("tokenizer"), "{sentence}");
    let sentence = fails(&["record", "--model", &bert, "--target-ids", "1,2"], 3);
    assert!(sentence.contains("target") || sentence.contains("decoder"), "{sentence}");
    let sentence = fails(&["record", "--model", &gpt2, "--source-ids", "1,2"], 3);
    assert!(sentence.contains("source") || sentence.contains("encoder"), "{sentence}");
    let sentence = fails(&["record", "--model", &bert, "--source-ids", "5,48"], 3);
    assert!(sentence.contains("48"), "{sentence}");
    let ids = (0..41).map(|_| "5").collect::<Vec<_>>().join(",");
    let sentence = fails(&["record", "--model", &bert, "--source-ids", &ids], 3);
    assert!(sentence.contains("41") && sentence.contains("40"), "{sentence}");
}

#[test]
fn an_adapter_is_added_by_its_option_and_is_no_model_alone() {
    let folder = folder();
    let (base, adapter) = (model("folders/llama-compiled"), model("folders/lora"));
    let record = |more: &[&str]| {
        let words = ["record", "--target-ids", "288,346,351", "-o", "run.safetensors"];
        Command::new(words.iter().chain(more)).in_folder(&folder).run()
    };
    let finished = record(&["--model", &base, "--adapter", &adapter]);
    let said = "a LoRA adapter (r 4, alpha 8) of meta-llama/Llama-3.2-1B was added to 4 matrices";
    assert!(finished.succeeds().stderr.contains(said), "{}", finished.stderr);
    let alone = record(&["--model", &adapter]);
    let refusal = alone.fails(3);
    assert!(refusal.contains("is no model but a LoRA adapter (r 4, alpha 8) of meta-llama/Llama-3.2-1B"), "{refusal}");
    assert!(refusal.ends_with("(--model BASE --adapter DIR)"), "{refusal}");
    let without = record(&["--adapter", &adapter]);
    assert!(without.fails(2).contains("--model"), "the model is given, never taken from the adapter");
}

#[test]
fn a_checkpoint_without_a_tokenizer_reads_texts_with_one_that_is_named() {
    let folder = folder();
    let model = family("llama");
    let words = ["record", "w3 w4", "--model", &model, "-o", "run.safetensors"];
    let bare = Command::new(words).in_folder(&folder).run();
    let refusal = bare.fails(3);
    assert!(refusal.contains("has no tokenizer") && refusal.contains("--tokenizer"), "{refusal}");
    fs::create_dir(folder.path().join("words")).expect("made");
    let vocabulary: Vec<String> = (0..48).map(|id| format!("\"w{id}\": {id}")).collect();
    let tokenizer = format!(
        r#"{{"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": {{"type": "Whitespace"}},
        "post_processor": null, "decoder": null,
        "model": {{"type": "WordLevel", "vocab": {{{}}}, "unk_token": "w0"}}}}"#,
        vocabulary.join(", ")
    );
    fs::write(folder.path().join("words/tokenizer.json"), tokenizer).expect("written");
    Command::new(words.iter().chain(&["--tokenizer", "words"])).in_folder(&folder).run().succeeds();
    assert!(folder.path().join("run.safetensors").exists());
    let lost = ["record", "w3", "--model", &model, "--tokenizer", "words", "-o", "words/tokenizer.json"];
    let lost = Command::new(lost).in_folder(&folder).run();
    assert!(lost.fails(2).contains("would be lost"), "{}", lost.stderr);
}

#[test]
fn a_precision_is_said_in_the_recording_and_an_unknown_one_is_refused_by_what_there_is() {
    let folder = folder();
    let base = model("folders/llama-compiled");
    let record = |more: &[&str], output: &str| {
        let words = ["record", "--target-ids", "288,346,351", "--model", &base, "-o", output];
        Command::new(words.iter().chain(more)).in_folder(&folder).run()
    };
    record(&[], "plain.safetensors").succeeds();
    record(&["--precision", "exact"], "exact.safetensors").succeeds();
    let bytes = |name: &str| fs::read(folder.path().join(name)).expect("written");
    assert!(bytes("plain.safetensors") == bytes("exact.safetensors"), "exact is what nothing said means");
    for precision in ["high", "fast", "fastest"] {
        let finished = record(&["--precision", precision], "run.safetensors");
        // where there is no AMX, that is what the note is about
        let said = format!("precision {precision}");
        assert!(finished.succeeds().stderr.contains(&said), "{}", finished.stderr);
        let info = Command::new(["info", "run.safetensors"]).in_folder(&folder).run();
        assert!(info.succeeds().stdout.contains(&said), "{}", info.stdout);
    }
    let refusal = record(&["--precision", "double"], "run.safetensors");
    assert!(refusal.fails(2).contains("there are exact, high, fast and fastest"), "{}", refusal.stderr);
}
