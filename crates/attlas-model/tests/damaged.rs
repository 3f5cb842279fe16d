//! Valid files of every kind damaged in seeded ways: a result or one sentence, within a budget of memory and time.

#[path = "../../attlas/tests/common/budget.rs"]
mod budget;
mod common;
#[path = "../../attlas/tests/common/damage.rs"]
mod damage;

use std::path::Path;

use attlas_model::weights::Checkpoint;
use attlas_model::{Input, Model, RunOptions, Tokenizer};
use budget::{alone, within};
use common::data;
use damage::Choices;
use serde_json::Value;
use tempfile::TempDir;

/// Changes made to each file.
const ROUNDS: usize = 400;
/// What reading one of them, of at most 60 kB, may take, and running what it holds.
const MOST_BYTES: usize = 8 << 20;

/// Reads the files one after another; how many were read and how many were refused.
fn read_all(
    name: &str,
    files: impl Iterator<Item = Vec<u8>>,
    read: impl Fn(&[u8]) -> Result<(), String>,
) -> [usize; 2] {
    let mut counts = [0; 2];
    for (n, file) in files.enumerate() {
        match within(MOST_BYTES, || format!("change {n} of {name}"), || read(&file)) {
            Ok(()) => counts[0] += 1,
            Err(message) => {
                assert!(!message.is_empty() && !message.contains('\n') && message.len() < 2000, "{message}");
                counts[1] += 1;
            }
        }
    }
    counts
}

/// Reads what lies at `path` once `bytes` are there.
fn at<'a, T, E: ToString>(
    path: &'a Path,
    read: impl Fn(&Path) -> Result<T, E> + 'a,
) -> impl Fn(&[u8]) -> Result<(), String> + 'a {
    move |bytes| {
        std::fs::write(path, bytes).map_err(|error| error.to_string())?;
        read(path).map(drop).map_err(|error| error.to_string())
    }
}

/// All tensors of the weights in a folder.
fn read_tensors(folder: &Path) -> Result<(), attlas_model::Error> {
    let checkpoint = Checkpoint::open(folder)?;
    for name in checkpoint.names() {
        let shape = checkpoint.get(name).expect("it is named").shape.clone();
        assert!(shape.iter().product::<usize>() < 1000, "{name} grew to {shape:?}");
        let _ = checkpoint.tensor(name, &shape);
    }
    Ok(())
}

#[test]
fn damaged_pickles_are_read_or_refused() {
    let _alone = alone();
    for (seed, name) in ["zip.bin", "legacy.bin", "nested.pt"].into_iter().enumerate() {
        let file = std::fs::read(data("weights").join(name)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pytorch_model.bin");
        let mut choices = Choices(seed as u64);
        let damaged = (0..2 * ROUNDS).map(|n| match n % 2 {
            0 => choices.damaged(&file),
            _ => choices.recounted(&file, file.len()),
        });
        let [read, refused] = read_all(name, damaged, at(&path, |_| read_tensors(folder.path())));
        assert!(read > 50 && refused > 50, "{name}: {read} read, {refused} refused");
    }
}

#[test]
fn damaged_gguf_files_are_models_or_refused() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let file = std::fs::read(data("weights/q8_0.gguf")).unwrap();
    let mut choices = Choices(4);
    let damaged = (0..2 * ROUNDS).map(|n| match n % 2 {
        0 => choices.damaged(&file),
        _ => choices.recounted(&file, 3000),
    });
    let run = |path: &Path| {
        let model = Model::load(path)?;
        model.run(&[model.input("the cat", None)?], &RunOptions::default())
    };
    let [read, refused] = read_all("q8_0.gguf", damaged, at(&path, run));
    assert!(read > 50 && refused > 50, "{read} read, {refused} refused");
}

#[test]
fn changed_tokenizers_cut_texts_or_are_refused() {
    let _alone = alone();
    let file = std::fs::read(data("tokenizers/json/tokenizer.json")).unwrap();
    let json: Value = serde_json::from_slice(&file).unwrap();
    let mut choices = Choices(5);
    let changed = (0..ROUNDS).map(|_| choices.changed_json(&json).into_bytes());
    let cut = |bytes: &[u8]| {
        let tokenizer = Tokenizer::from_json(bytes)?;
        tokenizer.encode(&"The cats, über 20  naïve \u{0} 猫. ".repeat(20), None).map(drop)
    };
    let [read, refused] = read_all("tokenizer.json", changed, |bytes| cut(bytes).map_err(|error| error.to_string()));
    assert!(read > 20 && refused > 50, "{read} read, {refused} refused");
}

/// A model of the fixtures, with this preprocessor_config.json.
fn model_that_reads(family: &str, preprocessor: &str) -> (TempDir, Model) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "generation_config.json", "model.safetensors"] {
        let _ = std::fs::copy(data("families").join(family).join(name), folder.path().join(name)); // not all have all
    }
    std::fs::write(folder.path().join("preprocessor_config.json"), preprocessor).unwrap();
    let model = Model::load(folder.path()).unwrap();
    (folder, model)
}

#[test]
fn damaged_images_are_seen_or_refused() {
    let _alone = alone();
    let preparation = r#"{"size": {"height": 12, "width": 12}}"#;
    let (folder, model) = model_that_reads("vit", preparation);
    let path = folder.path().join("image");
    for (seed, name) in ["rgb.png", "palette.png", "gray.jpg", "subsampled.jpg"].into_iter().enumerate() {
        let file = std::fs::read(data("senses").join(name)).unwrap();
        let mut choices = Choices(6 + seed as u64);
        let damaged = (0..ROUNDS).map(|n| match n % 2 {
            0 => choices.damaged(&file),
            _ => choices.recounted(&file, 700),
        });
        let [read, refused] = read_all(name, damaged, at(&path, |path| model.image_input(path)));
        assert!(read + refused == ROUNDS && refused > 50, "{name}: {read} read, {refused} refused");
    }
}

/// A tenth of a second of PCM.
fn wav(n_channels: u16, bits: u16) -> Vec<u8> {
    let frame = n_channels * bits / 8;
    let sound: Vec<u8> = (0..1600 * u32::from(frame)).map(|n| (n * 37) as u8).collect();
    let rates = [16_000, 16_000 * u32::from(frame)].map(u32::to_le_bytes).concat();
    let format = [&[1, 0][..], &n_channels.to_le_bytes(), &rates, &frame.to_le_bytes(), &bits.to_le_bytes()].concat();
    let chunk = |name: &[u8], body: &[u8]| [name, &(body.len() as u32).to_le_bytes(), body].concat();
    let body = [b"WAVE".to_vec(), chunk(b"fmt ", &format), chunk(b"data", &sound)].concat();
    chunk(b"RIFF", &body)
}

#[test]
fn damaged_sounds_are_heard_or_refused() {
    let _alone = alone();
    let preparation =
        r#"{"feature_size": 8, "sampling_rate": 4480, "chunk_length": 1, "hop_length": 160, "n_fft": 400}"#;
    let (folder, model) = model_that_reads("whisper", preparation);
    let path = folder.path().join("sound.wav");
    for (seed, [n_channels, bits]) in [[1, 16], [2, 24]].into_iter().enumerate() {
        let (file, name) = (wav(n_channels, bits), &format!("{bits} bits"));
        let mut choices = Choices(10 + seed as u64);
        let damaged = (0..ROUNDS / 2).map(|n| match n % 4 {
            0 => choices.damaged(&file),
            _ => choices.recounted(&file, 64),
        });
        let [read, refused] = read_all(name, damaged, at(&path, |path| model.sound_input(path, None)));
        assert!(read > 10 && refused > 10, "{name}: {read} read, {refused} refused");
    }
}

#[test]
fn changed_configurations_run_or_are_refused() {
    let _alone = alone();
    for (seed, family) in ["bert", "gpt2", "llama", "t5", "deberta-v2", "gpt-oss-mxfp4"].into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(data("families").join(family)).unwrap().flatten() {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        let path = folder.path().join("config.json");
        let json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let mut choices = Choices(20 + seed as u64);
        let changed = (0..ROUNDS / 2).map(|_| choices.changed_json(&json).into_bytes());
        let run = |_: &Path| {
            let model = Model::load(folder.path())?;
            let ids =
                |side| if model.has(side) { model.tokens_from_ids(side, &[5, 6, 7]) } else { Ok(Default::default()) };
            let input = Input {
                source: ids(attlas_model::Side::Source)?,
                target: ids(attlas_model::Side::Target)?,
                ..Input::default()
            };
            model.run(&[input], &RunOptions::default())
        };
        let [read, refused] = read_all(family, changed, at(&path, run));
        assert!(read > 20 && refused > 20, "{family}: {read} read, {refused} refused");
    }
}

#[test]
fn a_picture_taller_than_any_is_refused_by_its_sides() {
    let _alone = alone();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 1, 1_000_000);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.write_header().unwrap().write_image_data(&vec![0; 1_000_000]).unwrap();
    let (folder, model) = model_that_reads("vit", r#"{"size": {"height": 12, "width": 12}}"#);
    let path = folder.path().join("tall.png");
    let counts = read_all("tall.png", [file].into_iter(), at(&path, |path| model.image_input(path)));
    assert_eq!(counts, [0, 1]);
}

/// A byte-pair tokenizer of single letters, with this normaliser and pre-tokeniser.
fn letters(normalizer: &Value, pre_tokenizer: &Value) -> Vec<u8> {
    let model = serde_json::json!({"type": "BPE", "unk_token": "a", "vocab": {"a": 0, "b": 1}, "merges": []});
    serde_json::json!({"version": "1.0", "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "model": model})
        .to_string()
        .into_bytes()
}

#[test]
fn a_text_that_a_normaliser_doubles_again_and_again_is_refused_by_its_growth() {
    let _alone = alone();
    let double = serde_json::json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
    let growing = serde_json::json!({"type": "Sequence", "normalizers": vec![double; 16]});
    let cut = |bytes: &[u8]| {
        let tokenizer = Tokenizer::from_json(bytes).map_err(|error| error.to_string())?;
        tokenizer.encode(&"a".repeat(100), None).map(drop).map_err(|error| error.to_string())
    };
    let file = letters(&growing, &Value::Null);
    // the library holds some 60 bytes for each byte of a text, of which there may be a million more
    let error = within(128 << 20, || "growing".into(), || cut(&file)).expect_err("it grows 65,536-fold");
    assert!(error.contains("normalizer makes the text of 100 bytes too long"), "{error}");
}

#[test]
fn a_pattern_that_tries_every_place_for_long_is_refused_or_quick() {
    let _alone = alone();
    let pattern = serde_json::json!({"Regex": "(?:a*a*(?=b)|.)"});
    let split = serde_json::json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false});
    let cut = |bytes: &[u8]| {
        let tokenizer = Tokenizer::from_json(bytes).map_err(|error| error.to_string())?;
        tokenizer.encode(&"a".repeat(20_000), None).map(drop).map_err(|error| error.to_string())
    };
    read_all("pattern", [letters(&Value::Null, &split)].into_iter(), cut);
}
