//! Every value of every family's configuration, made wrong or left out in turn: a model that runs or one sentence, never a
//! panic, within a budget of memory and time.

#[path = "../../attlas/tests/common/budget.rs"]
mod budget;
mod common;

use std::path::{Path, PathBuf};

use attlas_model::config::Reads;
use attlas_model::family::FAMILIES;
use attlas_model::{Array, Input, Model, Pass, RunOptions, Side, Site};
use budget::{alone, within};
use common::data;
use serde_json::{Value, json};

/// What a model of at most 100 kB may take, and a run of it.
const MOST_BYTES: usize = 16 << 20;

/// A case of each family, with its weights linked into a folder whose configuration may be spoilt.
fn folders() -> Vec<(PathBuf, tempfile::TempDir, Value)> {
    let cases = FAMILIES.iter().filter_map(|family| family.tested.first()).map(|(case, _)| data("families").join(case));
    let folder = |case: PathBuf| {
        let folder = with_weights_of(&case);
        let config = std::fs::read(case.join("config.json")).expect("config.json");
        (case, folder, serde_json::from_slice(&config).expect("JSON"))
    };
    cases.map(folder).collect()
}

/// A folder with a case's weights alone.
fn with_weights_of(case: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(case).expect("a case").map(|entry| entry.expect("an entry").path()) {
        let name = entry.file_name().expect("a name").to_string_lossy().into_owned();
        if name.starts_with("model") {
            std::fs::copy(&entry, folder.path().join(name)).expect("a copy");
        }
    }
    folder
}

/// Values that no field should make anything of.
fn wrong_values() -> Vec<Value> {
    vec![
        json!(0),
        json!(-1),
        json!(1),
        json!(3),
        json!(0.5),
        json!(16_777_216),
        json!(1u64 << 62),
        json!(1e300),
        json!("x"),
        json!(""),
        json!(true),
        json!(false),
        json!([]),
        json!([0]),
        json!({}),
        Value::Null,
    ]
}

/// Paths to all values inside a value, as JSON pointers.
fn pointers(value: &Value, prefix: &str, found: &mut Vec<String>) {
    let Some(object) = value.as_object() else { return };
    for (field, value) in object {
        let pointer = format!("{prefix}/{field}");
        pointers(value, &pointer, found);
        found.push(pointer);
    }
}

/// Something to run the model on, if it can be run at all.
fn input(model: &Model) -> Option<Input> {
    let architecture = &model.transformer().architecture;
    let mut input = match architecture.encoder.as_ref().map(|stack| &stack.embedding.reads) {
        Some(Reads::Patches(patches)) => {
            let shape = vec![patches.n_channels, patches.grid[0] * patches.side, patches.grid[1] * patches.side];
            let n = shape.iter().product();
            model.features_input(Array { shape, values: vec![0.5; n] }).ok()?
        }
        Some(Reads::Grid(backbone)) => {
            let shape = vec![backbone.n_channels, 20, 30];
            let n = shape.iter().product();
            model.features_input(Array { shape, values: vec![0.5; n] }).ok()?
        }
        Some(Reads::Frames(frames)) => {
            let shape = vec![frames.n_mels, 2 * frames.n_positions];
            let n = shape.iter().product();
            model.features_input(Array { shape, values: vec![0.5; n] }).ok()?
        }
        Some(Reads::Samples(_)) => model
            .features_input(Array { shape: vec![100], values: (0..100).map(|i| (i as f32).sin()).collect() })
            .ok()?,
        Some(Reads::Tokens) => {
            Input { source: model.tokens_from_ids(Side::Source, &[5, 6, 7, 8, 9]).ok()?, ..Input::default() }
        }
        None => Input::default(),
    };
    if model.has(Side::Target) && input.target.is_empty() {
        input.target = model.tokens_from_ids(Side::Target, &[5, 6, 7, 8]).ok()?;
    }
    Some(input)
}

fn load_and_run(folder: &Path) -> Result<(), String> {
    let model = Model::load(folder).map_err(|error| error.to_string())?;
    if let Some(input) = input(&model) {
        let options = RunOptions { pass: Pass::keeping([Site::Attention, Site::Logits]), ..RunOptions::default() };
        model.run(&[input], &options).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[test]
fn no_value_of_a_configuration_makes_a_family_panic() {
    let _alone = alone();
    let only = std::env::var("ATTLAS_CASE").unwrap_or_default();
    let mut n_refused = 0;
    for (case, folder, config) in folders() {
        if !case.to_string_lossy().contains(&only) {
            continue;
        }
        let mut fields = Vec::new();
        pointers(&config, "", &mut fields);
        for field in &fields {
            for value in wrong_values() {
                let mut spoilt = config.clone();
                *spoilt.pointer_mut(field).expect("the field") = value.clone();
                std::fs::write(folder.path().join("config.json"), spoilt.to_string()).expect("a file");
                let what = || format!("{}: {field} = {value}", case.display());
                let outcome = within(MOST_BYTES, what, || std::panic::catch_unwind(|| load_and_run(folder.path())));
                let outcome = outcome.unwrap_or_else(|_| panic!("{}", what()));
                if let Err(message) = outcome {
                    assert!(!message.contains('\n') && !message.is_empty(), "one sentence: {message}");
                    n_refused += 1;
                }
            }
        }
    }
    assert!(n_refused > 0);
}

#[test]
fn rotary_positions_that_would_turn_an_odd_number_of_columns_are_refused_by_field() {
    let _alone = alone();
    let cases = [
        (
            "gpt-neox",
            json!({"rope_parameters": {"partial_rotary_factor": 0.75}}),
            "rope_parameters.partial_rotary_factor is 0.75",
            3,
        ),
        ("gpt-neox-sequential", json!({"rotary_pct": 0.75}), "rotary_pct is 0.75", 3),
        ("gpt-neox-sequential", json!({"rotary_pct": null}), "rotary_pct is 0.25", 1),
        ("phi", json!({"rope_parameters": {"partial_rotary_factor": 0.4}}), "partial_rotary_factor is 0.4", 3),
        ("phi-qk-norm", json!({"partial_rotary_factor": 0.7}), "partial_rotary_factor is 0.7", 5),
        ("stablelm", json!({"rope_parameters": {"partial_rotary_factor": 0.4}}), "partial_rotary_factor is 0.4", 3),
        ("gptj", json!({"rotary_dim": 3}), "rotary_dim is 3", 3),
        ("llama", json!({"head_dim": 5}), "head_dim makes heads of 5", 5),
        ("gemma3-older-config", json!({"head_dim": 7}), "head_dim makes heads of 7", 7),
        ("falcon-7b", json!({"hidden_size": 12}), "hidden_size makes heads of 3", 3),
        ("modernbert", json!({"hidden_size": 12}), "hidden_size makes heads of 3", 3),
    ];
    for (case, changes, sentence, n_columns) in cases {
        let config = std::fs::read(data("families").join(case).join("config.json")).expect("config.json");
        let mut config: Value = serde_json::from_slice(&config).expect("JSON");
        for (field, value) in changes.as_object().expect("fields") {
            match value {
                Value::Object(inner) => {
                    inner.iter().for_each(|(field_within, value)| config[field][field_within] = value.clone())
                }
                _ => config[field] = value.clone(),
            }
        }
        let folder = with_weights_of(&data("families").join(case));
        std::fs::write(folder.path().join("config.json"), config.to_string()).expect("a file");
        let message = Model::load(folder.path()).expect_err(case).to_string();
        assert!(message.contains(sentence) && message.contains(&n_columns.to_string()), "{case}: {message}");
        assert!(message.contains("even"), "{case}: {message}");
    }
}

#[test]
fn sizes_of_convolutions_that_cannot_be_are_refused_by_field() {
    let _alone = alone();
    let case = data("families").join("wav2vec2-stable");
    let config = std::fs::read(case.join("config.json")).expect("config.json");
    let mut config: Value = serde_json::from_slice(&config).expect("JSON");
    let folder = with_weights_of(&case);
    let refused = |config: &Value| {
        std::fs::write(folder.path().join("config.json"), config.to_string()).expect("a file");
        Model::load(folder.path()).expect_err("a refusal").to_string()
    };
    for sizes in [json!([]), json!([0, 8]), json!([8, 8193]), json!("8"), json!([1.5])] {
        let mut config = config.clone();
        config["conv_dim"] = sizes.clone();
        let message = refused(&config);
        let said =
            format!("config.json: conv_dim is {sizes}, but must be a list of 1 to 64 whole numbers from 1 to 8192");
        assert!(message.contains(&said), "{message}");
    }
    config["conv_stride"] = json!([8192, 8192]);
    let message = refused(&config);
    assert!(
        message.contains("config.json: conv_stride is [8192, 8192], so a hidden state would be 67108864"),
        "{message}"
    );
}

#[test]
fn a_scaling_of_positions_without_its_factor_is_refused() {
    let _alone = alone();
    let from = data("families").join("llama-linear");
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(from.join("config.json")).expect("config.json")).expect("JSON");
    let section = config["rope_scaling"].as_object_mut().expect("a section");
    assert!(section.remove("factor").is_some());
    let folder = with_weights_of(&from);
    std::fs::write(folder.path().join("config.json"), config.to_string()).expect("a file");
    let message = Model::load(folder.path()).expect_err("a refusal").to_string();
    assert!(message.contains("rope_scaling.factor is missing; a linear scaling needs it"), "{message}");
}
