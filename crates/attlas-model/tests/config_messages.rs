//! Every number of every family's configuration, made wrong in turn: a refusal names the file and the field.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attlas_model::Model;
use common::data;
use serde_json::{Value, json};

/// One of so many wrong values is looked at; `ATTLAS_SEED` chooses others, `ATTLAS_SHARE=1` takes all.
const SHARE: u64 = 9;

/// Fields without which a file is one of another model, so that nothing says that they are missed.
const ANOTHER_WITHOUT: &[(&str, &str)] = &[("dnabert-2", "/alibi_starting_size")];

/// The cases whose weights are in one file.
fn cases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data("families")).expect("cases").map(|entry| entry.expect("an entry").path());
    let mut cases: Vec<PathBuf> = entries.filter(|case| case.join("model.safetensors").exists()).collect();
    cases.sort();
    cases
}

/// JSON pointers to the numbers inside a value.
fn numbers(value: &Value, prefix: &str, found: &mut Vec<String>) {
    for (field, value) in value.as_object().into_iter().flatten() {
        let pointer = format!("{prefix}/{field}");
        numbers(value, &pointer, found);
        if value.is_number() {
            found.push(pointer);
        }
    }
}

/// What a field is made; `None` takes it out.
fn wrong_values(value: &Value) -> Vec<Option<Value>> {
    let number = value.as_f64().unwrap_or(0.0);
    let whole = |number: f64| if value.is_f64() { json!(number) } else { json!(number as i64) };
    let values = [json!(0), json!(1), whole(number + 1.0), whole(number * 1000.0), json!(-1), json!("x"), Value::Null];
    values.into_iter().map(Some).chain([None]).collect()
}

fn with(config: &Value, pointer: &str, value: Option<Value>) -> Value {
    let mut spoilt = config.clone();
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    let object = spoilt.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
    match value {
        Some(value) => drop(object.insert(field.to_owned(), value)),
        None => drop(object.remove(field)),
    }
    spoilt
}

/// The folder of a case without its tokenizer, whose configuration may be spoilt.
fn folder(case: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy(case.join("model.safetensors"), folder.path().join("model.safetensors")).expect("a copy");
    folder
}

fn refusal(folder: &Path, config: &Value) -> Option<String> {
    std::fs::write(folder.join("config.json"), config.to_string()).expect("a file");
    Model::load(folder).err().map(|error| error.to_string())
}

/// Whether a message names the configuration's file, and the field or one that disagrees with it.
fn names(message: &str, pointer: &str, config: &Value) -> bool {
    let field = pointer.rsplit('/').next().expect("a field");
    let blamed = message.split_once("config.json: ").and_then(|(_, rest)| rest.split_once(' ')).map(|(first, _)| first);
    let is_other = |blamed: &str| config.pointer(&format!("/{}", blamed.replace('.', "/"))).is_some();
    message.contains("config.json") && (message.contains(field) || blamed.is_some_and(is_other))
}

#[test]
fn a_refusal_of_a_wrong_number_names_the_field_and_the_file() {
    let seed: u64 = std::env::var("ATTLAS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let share: u64 = std::env::var("ATTLAS_SHARE").ok().and_then(|share| share.parse().ok()).unwrap_or(SHARE);
    let (mut turn, mut n_refused, mut silent) = (seed, 0, BTreeMap::new());
    for case in cases() {
        let folder = folder(&case);
        let config: Value =
            serde_json::from_slice(&std::fs::read(case.join("config.json")).expect("config.json")).expect("JSON");
        let mut fields = Vec::new();
        numbers(&config, "", &mut fields);
        for pointer in &fields {
            for value in wrong_values(config.pointer(pointer).expect("the field")) {
                turn += 1;
                if !turn.is_multiple_of(share) {
                    continue;
                }
                let Some(message) = refusal(folder.path(), &with(&config, pointer, value.clone())) else { continue };
                n_refused += 1;
                let case = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let is_another = value.as_ref().is_none_or(Value::is_null)
                    && ANOTHER_WITHOUT.contains(&(case.as_str(), pointer.as_str()));
                if !is_another && !names(&message, pointer, &config) {
                    silent.insert(format!("{case}{pointer} = {value:?}"), message);
                }
            }
        }
    }
    assert!(n_refused > 100, "{n_refused} refusals");
    let first: Vec<String> = silent.iter().take(20).map(|(what, message)| format!("{what}: {message}")).collect();
    assert!(silent.is_empty(), "{} of {n_refused} refusals:\n{}", silent.len(), first.join("\n"));
}
