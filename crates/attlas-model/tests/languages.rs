//! Models with tags for languages, against transformers (`tools/reference/languages.py`).

mod common;

use std::path::PathBuf;

use attlas::Tokens;
use attlas_model::{Decoding, Input, Model, RunOptions, Side};
use common::data;
use serde_json::Value;
use tempfile::TempDir;

fn expected() -> Value {
    let bytes = std::fs::read(data("languages").join("expected.json")).expect("the expectations");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// The case's folder with its SentencePiece models.
fn folder(name: &str, case: &Value) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let entries = std::fs::read_dir(data("languages").join(name)).expect("the case");
    let files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    for file in files {
        std::fs::copy(&file, folder.path().join(file.file_name().expect("a name"))).expect("a copy");
    }
    for name in case["sentencepiece"].as_array().expect("names") {
        let path = folder.path().join(name.as_str().expect("a name"));
        std::fs::copy(data("tokenizers").join("fairseq.model"), path).expect("a copy");
    }
    folder
}

fn ids(tokens: &Tokens) -> Vec<u32> {
    tokens.tokens.iter().filter_map(|token| token.id).collect()
}

fn numbers(value: &Value) -> Vec<u32> {
    value.as_array().expect("ids").iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

#[test]
fn a_source_and_a_target_language_give_the_ids_of_transformers() {
    let expected = expected();
    for (name, case) in expected.as_object().expect("cases") {
        let text = |field: &str| case[field].as_str().expect("a text");
        let folder = folder(name, case);
        let mut model = Model::load(folder.path()).unwrap_or_else(|error| panic!("{name}: {error}"));
        model.set_languages(case["from"].as_str(), Some(text("to"))).unwrap_or_else(|error| panic!("{name}: {error}"));
        let input = model.input(text("source_text"), Some(text("target_text"))).expect("tokens");
        assert_eq!(ids(&input.source), numbers(&case["source"]), "{name}: source");
        let mut target = numbers(&case["target"]);
        if target.last().copied() == case["end"].as_u64().map(|end| end as u32) {
            target.pop(); // the end token, which attlas leaves to be predicted
        }
        assert_eq!(ids(&input.target), target, "{name}: target");
        let input: Input = model.input(text("source_text"), None).expect("tokens");
        let decoding = Decoding::Greedy { max_tokens: 6 };
        let options = RunOptions { decoding, ..RunOptions::default() };
        let run = model.run(std::slice::from_ref(&input), &options).expect("a run");
        let generated = [ids(&input.target), ids(&run.generated[0].tokens)].concat();
        assert_eq!(generated, numbers(&case["generated"]), "{name}: generated");
        assert!(run.recording.provenance.notes.iter().all(|note| !note.contains("none was chosen")), "{name}");
    }
}

#[test]
fn names_and_codes_mean_the_same_language_and_others_are_refused() {
    let expected = expected();
    let folder = folder("nllb", &expected["nllb"]);
    let model = Model::load(folder.path()).expect("a model");
    let source = |from: &str| -> Result<Vec<u32>, String> {
        let mut model = model.clone();
        model.set_languages(Some(from), None).map_err(|error| error.to_string())?;
        model.source_tokens("ten").map(|tokens| ids(&tokens)).map_err(|error| error.to_string())
    };
    let french = source("fra_Latn").expect("tokens");
    for name in ["fr", "fra", "French"] {
        assert_eq!(source(name).as_ref(), Ok(&french), "{name}");
    }
    assert_ne!(source("en").expect("tokens"), french);
    let problem = source("Chinese").expect_err("a refusal");
    assert!(problem.contains("zho_Hans, zho_Hant; name one"), "{problem}");
    // a recording says when the language was left to chance
    let input = model.input("ten", Some("ten")).expect("tokens");
    let notes = model.run(&[input], &RunOptions::default()).expect("a run").recording.provenance.notes;
    assert!(notes.iter().any(|note| note.contains("writes 5 languages and none was chosen")), "{notes:?}");
    let mut embedded = Model::embedded().expect("the embedded model");
    assert!(embedded.has(Side::Target));
    let problem = embedded.set_languages(None, Some("fr")).expect_err("a refusal").to_string();
    assert!(problem.contains("has no tags for languages, so \"fr\" cannot be chosen"), "{problem}");
}
