//! From a file to a recording: images through a vision model, sounds through a speech model.

mod common;

use std::path::{Path, PathBuf};

use attlas::{Kind, PatchGrid, TokenRole};
use attlas_model::{Array, Decoding, Model, Pass, RunOptions, Side, Site};
use common::data;
use tempfile::TempDir;

/// A family's checkpoint with a preprocessor_config.json.
fn with_preprocessor(case: &str, preprocessor: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["config.json", "model.safetensors", "generation_config.json"] {
        let source = data("families").join(case).join(name);
        if source.exists() {
            std::fs::copy(source, folder.path().join(name)).expect("a copy");
        }
    }
    std::fs::write(folder.path().join("preprocessor_config.json"), preprocessor).expect("a file");
    folder
}

fn sense(name: &str) -> PathBuf {
    data("senses").join(name)
}

const VIT: &str =
    r#"{"size": {"height": 12, "width": 12}, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}"#;

/// 28 frames of 8 mels, as the tiny checkpoint reads them.
const WHISPER: &str =
    r#"{"feature_size": 8, "sampling_rate": 4480, "chunk_length": 1, "hop_length": 160, "n_fft": 400}"#;

#[test]
fn a_processor_config_of_transformers_5_says_how_an_image_or_a_sound_is_prepared() {
    let inside = |case: &str, field: &str, preprocessor: &str| {
        let folder = with_preprocessor(case, preprocessor);
        std::fs::remove_file(folder.path().join("preprocessor_config.json")).expect("removed");
        let joint = format!("{{\"processor_class\": \"AnyProcessor\", \"{field}\": {preprocessor}}}");
        std::fs::write(folder.path().join("processor_config.json"), joint).expect("a file");
        folder
    };
    let pixels = |folder: &TempDir| {
        let model = Model::load(folder.path()).expect("a model");
        model.image_input(&sense("rgb.png")).expect("an image").features.expect("pixels").array.values.clone()
    };
    assert_eq!(pixels(&inside("deit", "image_processor", VIT)), pixels(&with_preprocessor("deit", VIT)));
    let sound = |folder: &TempDir| {
        let model = Model::load(folder.path()).expect("a model");
        model.sound_input(&sense("mono.wav"), None).expect("a sound").features.expect("frames").array.values.clone()
    };
    assert_eq!(sound(&inside("whisper", "feature_extractor", WHISPER)), sound(&with_preprocessor("whisper", WHISPER)));
}

#[test]
fn an_image_is_recorded_with_the_place_of_its_patches() {
    let folder = with_preprocessor("deit", VIT);
    let model = Model::load(folder.path()).expect("a model");
    assert!(model.reads_images() && !model.reads_sounds());
    let input = model.image_input(&sense("rgb.png")).expect("an image");
    let run = model
        .run(&[input], &RunOptions { pass: Pass::keeping([Site::Attention, Site::Logits]), ..RunOptions::default() })
        .expect("a run");
    let item = &run.recording.items[0];
    let labels: Vec<&str> = item.source.labels().collect();
    assert_eq!(labels, ["CLS", "DIST", "r0c0", "r0c1", "r0c2", "r1c0", "r1c1", "r1c2", "r2c0", "r2c1", "r2c2"]);
    assert_eq!(item.source.tokens[1].role, TokenRole::Special);
    let grid = PatchGrid { first: 2, rows: 3, columns: 3, size: Some([41, 31]), seen: Some([0, 0, 41, 31]) };
    assert_eq!(item.image, Some(grid));
    assert_eq!(run.logits.expect("logits").shape, [1, 3]);
    // and it survives the file
    let path = folder.path().join("run.safetensors");
    run.recording.save(&path).expect("it is saved");
    assert_eq!(attlas::Recording::open(&path).expect("it is opened").items, run.recording.items);
}

#[test]
fn dinov2_reads_images_of_any_size_and_names_its_registers() {
    let preparation =
        r#"{"size": {"shortest_edge": 16}, "do_center_crop": true, "crop_size": {"height": 8, "width": 20}}"#;
    let folder = with_preprocessor("dinov2-registers", preparation);
    let model = Model::load(folder.path()).expect("a model");
    let input = model.image_input(&sense("rgb.png")).expect("an image");
    let labels: Vec<String> = input.source.labels().take(6).map(str::to_owned).collect();
    assert_eq!(labels, ["CLS", "REG0", "REG1", "REG2", "r0c0", "r0c1"]);
    assert_eq!(input.source.len(), 4 + 2 * 5);
    let recording = model.run(&[input], &RunOptions::default()).expect("a run").recording;
    let grid = recording.items[0].image.clone().expect("a grid");
    assert_eq!([grid.rows, grid.columns], [2, 5]);
    // 31 × 41 pixels become 16 × 21, of which the middle 8 × 20 are left
    assert_eq!(grid.seen, Some([0, 8, 39, 15]));
    assert_eq!(recording.map(0, Kind::Encoder, 1, 3).expect("a map").n_keys(), 14);
}

#[test]
fn a_sound_is_transcribed_and_its_positions_are_times() {
    let folder = with_preprocessor("whisper", WHISPER);
    let model = Model::load(folder.path()).expect("a model");
    assert!(model.reads_sounds());
    let input = model.sound_input(&sense("mono.wav"), None).expect("a sound");
    assert_eq!(input.target.tokens.iter().map(|token| token.id).collect::<Vec<_>>(), [Some(3)]);
    let decoding = Decoding::Greedy { max_tokens: 5 };
    let run = model.run(&[input], &RunOptions { decoding, ..RunOptions::default() }).expect("a run");
    let item = &run.recording.items[0];
    assert_eq!(item.source.labels().take(3).collect::<Vec<_>>(), ["0.00s", "0.02s", "0.04s"]);
    assert_eq!(run.generated[0].tokens.len(), 5);
    assert_eq!(run.recording.kinds(), [Kind::Encoder, Kind::Decoder, Kind::Cross]);
    let notes = run.recording.provenance.notes.join("; ");
    assert!(notes.contains("lasts 1.2 s") || notes.contains("lasts 1.3 s"), "{notes}");
    assert!(notes.contains("resampled from 16000 to 4480"), "{notes}");
}

/// A tokenizer with Whisper's special tokens where the multilingual checkpoint has them, and a word.
fn whisper_tokenizer() -> String {
    let special = ["<|endoftext|>", "<|startoftranscript|>", "<|x|>", "<|de|>", "<|en|>", "<|fr|>"]
        .into_iter()
        .chain(["<|transcribe|>", "<|translate|>", "<|notimestamps|>"])
        .zip(2..);
    let added: Vec<String> =
        special.map(|(content, id)| format!(r#"{{"id": {id}, "content": "{content}", "special": true}}"#)).collect();
    format!(
        r#"{{"version": "1.0", "added_tokens": [{}], "pre_tokenizer": {{"type": "Whitespace"}},
            "model": {{"type": "WordLevel", "vocab": {{"<unk>": 0, "hello": 11}}, "unk_token": "<unk>"}}}}"#,
        added.join(", ")
    )
}

#[test]
fn the_language_that_is_spoken_and_the_one_that_is_written_can_be_chosen() {
    let folder = with_preprocessor("whisper-multilingual", WHISPER);
    std::fs::write(folder.path().join("tokenizer.json"), whisper_tokenizer()).expect("a file");
    let model = Model::load(folder.path()).expect("a model");
    assert_eq!(model.languages().collect::<Vec<_>>(), ["de", "en", "fr"]);
    let begins = |from: Option<&str>, to: Option<&str>, target: Option<&str>| -> Result<Vec<u32>, String> {
        let mut model = model.clone();
        model.set_languages(from, to).map_err(|error| error.to_string())?;
        let input = model.sound_input(&sense("mono.wav"), target).map_err(|error| error.to_string())?;
        Ok(input.target.tokens.iter().filter_map(|token| token.id).collect())
    };
    // start, language, task, no times
    assert_eq!(begins(Some("French"), None, None), Ok(vec![3, 7, 8, 10]));
    assert_eq!(begins(Some("fr"), Some("en"), None), Ok(vec![3, 7, 9, 10]));
    assert_eq!(begins(Some("fr"), Some("fr"), Some("hello")), Ok(vec![3, 7, 8, 10, 11]));
    let heard = begins(None, Some("English"), None).expect("tags");
    assert!((5..=7).contains(&heard[1]) && heard[2..] == [9, 10], "{heard:?}");
    let problem = begins(Some("fr"), Some("de"), None).expect_err("a refusal");
    assert!(problem.contains("writes the language that it hears, or English, and not \"de\""), "{problem}");
    let problem = begins(Some("Welsh"), None, None).expect_err("a refusal");
    assert!(problem.contains("knows no language \"Welsh\"; it knows de, en, fr"), "{problem}");
    // the English ones have the tags in their vocabulary and were never shown one
    let folder = with_preprocessor("whisper", WHISPER);
    std::fs::write(folder.path().join("tokenizer.json"), whisper_tokenizer()).expect("a file");
    let mut english = Model::load(folder.path()).expect("a model");
    let problem = english.set_languages(Some("fr"), None).expect_err("a refusal").to_string();
    assert!(problem.contains("has no tags for languages, so \"fr\" cannot be chosen"), "{problem}");
}

#[test]
fn tags_of_language_and_task_stand_before_a_transcript() {
    let folder = with_preprocessor("whisper", WHISPER);
    let settings = r#"{"decoder_start_token_id": 3, "eos_token_id": 2, "no_timestamps_token_id": 9,
        "lang_to_id": {"<|de|>": 5, "<|en|>": 6}, "task_to_id": {"transcribe": 7, "translate": 8}, "forced_decoder_ids": [[1, null], [2, 7]],
        "suppress_tokens": [13, 19], "begin_suppress_tokens": [2, 20]}"#;
    std::fs::write(folder.path().join("generation_config.json"), settings).expect("a file");
    let model = Model::load(folder.path()).expect("a model");
    let input = model.sound_input(&sense("mono.wav"), None).expect("a sound");
    let ids: Vec<u32> = input.target.tokens.iter().filter_map(|token| token.id).collect();
    assert_eq!([ids[0], ids[2], ids[3]], [3, 7, 9]);
    assert!(ids[1] == 5 || ids[1] == 6, "{ids:?}");
    // the language is the likelier of the two after the start token
    let start = model.tokens_from_ids(Side::Target, &[3]).expect("tokens");
    let options = RunOptions { pass: Pass::keeping([Site::Attention, Site::Logits]), ..RunOptions::default() };
    let first = attlas_model::Input { target: start, ..input.clone() };
    let logits = model.run(&[first], &options).expect("a run").logits.expect("logits").values;
    assert_eq!(ids[1] == 5, logits[5] >= logits[6]);
    // what is suppressed does not come
    let decoding = Decoding::Greedy { max_tokens: 9 };
    let generated =
        &model.run(&[input], &RunOptions { decoding, ..RunOptions::default() }).expect("a run").generated[0];
    let new: Vec<u32> = generated.tokens.tokens.iter().filter_map(|token| token.id).collect();
    assert!(!new.iter().any(|id| [13, 19].contains(id)) && ![2, 20].contains(&new[0]), "{new:?}");
}

#[test]
fn inputs_that_do_not_fit_are_told_in_a_sentence() {
    let vit = with_preprocessor("vit", VIT);
    let vision = Model::load(vit.path()).expect("a model");
    let error = |result: Result<attlas_model::Input, attlas_model::Error>| result.expect_err("a refusal").to_string();
    let text = error(vision.input("The cat sat.", None));
    assert!(text.contains("reads no text; give the path of an image"), "{text}");
    let ids = vision.tokens_from_ids(Side::Source, &[1, 2]).expect_err("a refusal").to_string();
    assert!(ids.contains("reads no text"), "{ids}");
    let sound = error(vision.sound_input(&sense("mono.wav"), None));
    assert!(sound.contains("reads no sounds"), "{sound}");
    let shape = error(vision.features_input(Array { shape: vec![3, 16, 16], values: vec![0.0; 768] }));
    assert!(shape.contains("16 × 16 pixels") && shape.contains("12 × 12"), "{shape}");
    let numbers = error(vision.features_input(Array { shape: vec![3, 12, 12], values: vec![0.0; 7] }));
    assert!(numbers.contains("7 numbers"), "{numbers}");
    // files that are none
    let wav = error(vision.image_input(&sense("mono.wav")));
    assert!(wav.contains("mono.wav") && wav.contains("PNG and JPEG"), "{wav}");
    let absent = error(vision.image_input(Path::new("absent.png")));
    assert!(absent.starts_with("absent.png"), "{absent}");
    let bare = Model::load(&data("families").join("vit")).expect("a model");
    let bare = error(bare.image_input(&sense("rgb.png")));
    assert!(bare.contains("preprocessor_config.json"), "{bare}");
    // a spectrogram of another size is refused before it is made
    let long = r#"{"feature_size": 1024, "sampling_rate": 192000, "chunk_length": 600, "hop_length": 16, "n_fft": 16}"#;
    let long = Model::load(with_preprocessor("whisper", long).path()).expect("a model");
    let long = error(long.sound_input(&sense("mono.wav"), None));
    assert!(long.contains("[1024, 7200000]") && long.contains("[8, 28]"), "{long}");
    let whisper = with_preprocessor("whisper", WHISPER);
    let speech = Model::load(whisper.path()).expect("a model");
    let picture = error(speech.sound_input(&sense("rgb.png"), None));
    assert!(picture.contains("no WAV file") && picture.contains("ffmpeg"), "{picture}");
}

#[test]
fn damaged_files_are_refused_and_never_panic() {
    let vit = with_preprocessor("vit", VIT);
    let vision = Model::load(vit.path()).expect("a model");
    let whisper = with_preprocessor("whisper", WHISPER);
    let speech = Model::load(whisper.path()).expect("a model");
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["rgb.png", "palette.png", "photo.jpg", "subsampled.jpg", "turned.jpg", "mono.wav", "stereo24.wav"] {
        let bytes = std::fs::read(sense(name)).expect("a file");
        let path = folder.path().join(name);
        let mut wounds: Vec<Vec<u8>> = (0..bytes.len().min(96)).map(|n| bytes[..n].to_vec()).collect();
        for place in 0..bytes.len().min(120) {
            for value in [0xff, bytes[place] ^ 0x55] {
                let mut wounded = bytes.clone();
                wounded[place] = value;
                wounds.push(wounded);
            }
        }
        for wounded in wounds {
            std::fs::write(&path, wounded).expect("a file");
            // a result or a sentence; which one depends on the wound
            let _ = if name.ends_with("wav") { speech.sound_input(&path, None) } else { vision.image_input(&path) };
        }
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_no_image_and_no_sound() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let vit = with_preprocessor("vit", VIT);
    let vision = Model::load(vit.path()).expect("a model");
    assert!(vision.image_input(&pipe).expect_err("a refusal").to_string().contains("not a regular file"));
    let whisper = with_preprocessor("whisper", WHISPER);
    let speech = Model::load(whisper.path()).expect("a model");
    assert!(speech.sound_input(&pipe, None).expect_err("a refusal").to_string().contains("not a regular file"));
}

#[test]
fn a_sound_is_read_sample_by_sample_with_mean_0_and_variance_1() {
    let folder = with_preprocessor("wav2vec2", r#"{"sampling_rate": 1000, "chunk_length": 1, "do_normalize": true}"#);
    let model = Model::load(folder.path()).expect("a model");
    assert!(model.reads_sounds() && !model.reads_images());
    let input = model.sound_input(&sense("mono.wav"), None).expect("a sound");
    let samples = &input.features.as_ref().expect("samples").array;
    assert_eq!(samples.shape, [1000]);
    let mean = samples.values.iter().sum::<f32>() / 1000.0;
    let variance = samples.values.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 1000.0;
    assert!(mean.abs() < 1e-4 && (variance - 1.0).abs() < 1e-2, "{mean} {variance}");
    // (1000 − 4) / 3 + 1 = 333 rows, of which (333 − 3) / 2 + 1 = 166 are left, 6 samples of 16,000 a second from one to the next
    let labels: Vec<&str> = input.source.labels().collect();
    assert_eq!((labels.len(), labels[100]), (166, "0.04s"));
    let error = |result: Result<attlas_model::Input, attlas_model::Error>| result.expect_err("a refusal").to_string();
    let short = error(model.features_input(Array { shape: vec![9], values: vec![0.0; 9] }));
    assert!(short.contains("9 samples, too few for one hidden state"), "{short}");
    let target = error(model.sound_input(&sense("mono.wav"), Some("hello")));
    assert!(target.contains("has no decoder"), "{target}");
    // nothing goes back through its convolutions, which is said
    let mut score = |output: &Array| Ok(vec![1.0; output.values.len()]);
    let found = model.backward(&[input], &Pass::default(), &attlas_model::Backward::default(), &mut score);
    let refusal = found.map(|_| ()).expect_err("a refusal").to_string();
    assert!(refusal.contains("has a convolution beside its layers"), "{refusal}");
}

#[test]
fn a_text_tower_is_chosen_beside_a_vision_tower_and_its_texts_are_filled_to_one_length() {
    let folder = with_preprocessor("siglip", VIT);
    std::fs::write(folder.path().join("tokenizer.json"), whisper_tokenizer()).expect("a file");
    let load = |tower| {
        let options = attlas_model::LoadOptions { tower, ..attlas_model::LoadOptions::default() };
        Model::load_with(folder.path(), &options)
    };
    let vision = load(None).expect("a model");
    assert!(vision.reads_images() && vision.has_text_tower());
    let text = load(Some(attlas_model::Tower::Text)).expect("a model");
    assert!(!text.reads_images() && !text.has_text_tower() && text.family() == "siglip_text");
    let input = text.input("hello hello", None).expect("tokens");
    let ids: Vec<u32> = input.source.tokens.iter().filter_map(|token| token.id).collect();
    assert_eq!(ids, [&[11, 11], &[1; 12][..]].concat());
    assert!(input.source.tokens[2..].iter().all(|token| token.role == TokenRole::Special));
    let recording = text.run(&[input], &RunOptions::default()).expect("a run").recording;
    assert_eq!(recording.map(0, Kind::Encoder, 0, 1).expect("a map").n_keys(), 14);
    let single = Model::load_with(
        &data("families").join("vit"),
        &attlas_model::LoadOptions { tower: Some(attlas_model::Tower::Text), ..attlas_model::LoadOptions::default() },
    );
    let refusal = single.expect_err("a refusal").to_string();
    assert!(refusal.contains("model_type is \"vit\", which has no two towers to choose from"), "{refusal}");
}

#[test]
fn a_picture_of_a_text_is_read_with_the_start_of_what_is_written() {
    let folder = with_preprocessor("trocr", VIT);
    let model = Model::load(folder.path()).expect("a model");
    let input = model.image_input(&sense("rgb.png")).expect("an image");
    assert_eq!(input.target.tokens.iter().map(|token| token.id).collect::<Vec<_>>(), [Some(2)]);
    let decoding = Decoding::Greedy { max_tokens: 4 };
    let run = model.run(&[input], &RunOptions { decoding, ..RunOptions::default() }).expect("a run");
    assert_eq!(run.recording.kinds(), [Kind::Encoder, Kind::Decoder, Kind::Cross]);
    assert!(run.recording.items[0].image.is_some() && !run.generated[0].tokens.is_empty());
}
