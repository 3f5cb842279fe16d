//! A config.json over the weights of the family that it names: a model that runs, or an error.
#![no_main]

use std::collections::BTreeMap;
use std::path::PathBuf;

use attlas::Tokens;
use attlas_fuzz::{data, memory_folder};
use attlas_model::{Input, Model, RunOptions, Side};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

thread_local! {
    static FOLDERS: BTreeMap<String, tempfile::TempDir> = folders();
}

/// A folder with the weights of one small model per `model_type`.
fn folders() -> BTreeMap<String, tempfile::TempDir> {
    let mut folders = BTreeMap::new();
    for case in std::fs::read_dir(data("families")).expect("the families").flatten().map(|entry| entry.path()) {
        let Ok(config) = std::fs::read(case.join("config.json")) else { continue };
        let config: Value = serde_json::from_slice(&config).expect("JSON");
        let Some(family) = config["model_type"].as_str() else { continue };
        let folder = memory_folder();
        for file in std::fs::read_dir(&case).expect("a case").flatten().map(|entry| entry.path()) {
            let name = PathBuf::from(file.file_name().expect("a name"));
            if name.to_string_lossy().starts_with("model") {
                std::fs::copy(&file, folder.path().join(name)).expect("a copy");
            }
        }
        folders.entry(family.to_owned()).or_insert(folder);
    }
    folders
}

fn run(model: &Model) -> Option<()> {
    let tokens =
        |side| if model.has(side) { model.tokens_from_ids(side, &[1, 2, 3]).ok() } else { Some(Tokens::default()) };
    let input = Input { source: tokens(Side::Source)?, target: tokens(Side::Target)?, ..Input::default() };
    let run = model.run(&[input], &RunOptions::default()).ok()?;
    let _ = run.recording.check();
    Some(())
}

fuzz_target!(|bytes: &[u8]| {
    let named = serde_json::from_slice(bytes)
        .ok()
        .and_then(|config: Value| Some(config.get("model_type")?.as_str()?.to_owned()));
    FOLDERS.with(|folders| {
        let folder = folders.get(named.as_deref().unwrap_or("bert")).unwrap_or(&folders["bert"]);
        std::fs::write(folder.path().join("config.json"), bytes).expect("the input is written");
        if let Ok(model) = Model::load(folder.path()) {
            run(&model);
        }
    });
});
