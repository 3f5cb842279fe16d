//! Texts with images in them: what is refused and why, what a recording says, and that every way to run a text reads the same rows.
//! That maps, logits and generated ids are those of transformers is in `families.rs`.

mod common;

use attlas::{Kind, Recording, analysis};
use attlas_model::{Array, Backward, Input, LoadOptions, Look, Model, Next, Pass, RunOptions, Side, Site, Words};
use common::data;
use serde_json::{Value, json};
use tempfile::TempDir;

const IMAGES: LoadOptions = LoadOptions { adapter: None, tokenizer: None, tower: None, images: true };

fn model(case: &str) -> Model {
    Model::load_with(&data("families").join(case), &IMAGES).expect("a model")
}

/// An image of so many pixels.
fn look(model: &Model, height: usize, width: usize) -> Result<Look, String> {
    let values = (0..3 * height * width).map(|place| ((place * 7 % 23) as f32 - 11.0) / 11.0).collect();
    let tower = model.vision_tower().expect("a tower");
    let input = tower.features_input(Array { shape: vec![3, height, width], values });
    input.and_then(|input| model.look(input, &Pass::default())).map_err(|error| error.to_string())
}

/// Words, a placeholder, words.
fn input(model: &Model, ids: &[u32], looks: &[Look]) -> Result<Input, String> {
    let tokens = model.tokens_from_ids(Side::Target, ids).expect("tokens");
    model.with_images(tokens, looks).map_err(|error| error.to_string())
}

#[test]
fn a_model_that_was_loaded_without_images_reads_texts_alone() {
    for case in ["llava", "qwen2-vl"] {
        let blind = Model::load(&data("families").join(case)).expect("a model");
        assert!(!blind.sees_images() && blind.vision_tower().is_none() && blind.image_token().is_some(), "{case}");
        let tokens = blind.tokens_from_ids(Side::Target, &[5, 6]).expect("tokens");
        assert!(
            blind
                .with_images(tokens, &[])
                .is_err_and(|error| error.to_string().contains("reads no images among words"))
        );
    }
    let never = Model::load_with(&data("families").join("llama"), &IMAGES).expect("a model");
    assert!(!never.sees_images() && never.image_token().is_none());
}

#[test]
fn as_many_images_as_placeholders_are_wanted() {
    let model = model("llava");
    let one = look(&model, 6, 6).expect("a look");
    let none = input(&model, &[5, 47, 6], &[]).expect_err("a refusal");
    assert!(none.contains("0 images for a text with 1 placeholder") && none.contains("<image> (token 47)"), "{none}");
    let many = input(&model, &[5, 47, 6], &[one.clone(), one.clone()]).expect_err("a refusal");
    assert!(many.contains("2 images for a text with 1 placeholder"), "{many}");
    let nowhere = input(&model, &[5, 6], std::slice::from_ref(&one)).expect_err("a refusal");
    assert!(nowhere.contains("1 image for a text with 0 placeholders"), "{nowhere}");
    // rows of another model
    let other = look(&self::model("qwen2-vl"), 8, 8).expect("a look");
    let input = input(&model, &[5, 47, 6], &[other]).expect("an input");
    let error = model.run(&[input], &RunOptions::default()).expect_err("a refusal").to_string();
    assert!(error.contains("the images of input 0 do not fit its text"), "{error}");
}

#[test]
fn patches_that_cannot_be_merged_are_refused() {
    let problem = look(&model("qwen2-vl"), 6, 8).expect_err("a refusal");
    assert!(problem.contains("3 × 4 patches cannot be merged 2 by 2"), "{problem}");
}

#[test]
fn a_recording_knows_where_patches_stand_and_its_tower_stands_beside() {
    let model = model("qwen2-vl");
    let looks = [look(&model, 8, 12).expect("a look"), look(&model, 4, 4).expect("a look")];
    let input = input(&model, &[5, 44, 6, 7, 44, 8], &looks).expect("an input");
    let run = model.run(&[input], &RunOptions::default()).expect("a run");
    let [first, second] = looks;
    let both = run
        .recording
        .beside("vision", first.run.recording)
        .and_then(|both| both.beside("vision-2", second.run.recording));
    let bytes = both.expect("three stacks").to_bytes().expect("bytes");
    let mut read = Recording::from_bytes(std::sync::Arc::new(bytes)).expect("a recording");
    let alone = read.stack_alone("vision").expect("the tower");
    assert_eq!(alone.items[0].source.len(), 4 * 6);
    assert_eq!(read.drop_stacks(), ["vision", "vision-2"]);
    let item = &read.items[0];
    let labels: Vec<&str> = item.target.labels().collect();
    assert_eq!(labels, ["5", "r0c0", "r0c1", "r0c2", "r1c0", "r1c1", "r1c2", "6", "7", "r0c0#2", "8"]);
    let grids: Vec<_> = item.target_images().iter().map(|grid| (grid.first, grid.rows, grid.columns)).collect();
    assert_eq!(grids, [(1, 2, 3), (9, 1, 1)]);
    let spans = analysis::roles(item, read.layer(Kind::Decoder, 1).expect("a layer"));
    let spans: Vec<_> = spans.iter().map(|span| (span.name.as_str(), span.len())).collect();
    assert_eq!(spans, [("text", 4), ("patches", 7)]);
}

#[test]
fn rows_that_are_given_are_those_that_are_read_without() {
    for (case, ids, sides) in [("llava", [5, 47, 6, 9], [6, 6]), ("qwen2.5-vl", [5, 44, 6, 9], [12, 8])] {
        let model = model(case);
        let look = look(&model, sides[0], sides[1]).expect("a look");
        let inputs = [input(&model, &ids, std::slice::from_ref(&look)).expect("an input")];
        let words = model.words(&inputs).expect("rows");
        let rows = words.target.as_ref().expect("of the target");
        let width = rows.shape[2];
        assert_eq!(rows.values[width..][..look.rows.values.len()], look.rows.values, "{case}");
        let pass = Pass::keeping([Site::Attention, Site::Logits]);
        let plain = model.run(&inputs, &RunOptions { pass: pass.clone(), ..RunOptions::default() }).expect("a run");
        let given = model.run_words(&inputs, &words, &pass, &mut |_| Next::Continue).expect("a run");
        assert_eq!(plain.logits, given.logits, "{case}");
        assert_eq!(plain.recording.layers, given.recording.layers, "{case}");
        // without the image the words after it have other maps
        let mut other = look.clone();
        other.rows.values.iter_mut().for_each(|x| *x = -*x);
        let inputs = [input(&model, &ids, &[other]).expect("an input")];
        let other = model.run(&inputs, &RunOptions { pass, ..RunOptions::default() }).expect("a run");
        assert_ne!(plain.logits, other.logits, "{case}");
    }
}

/// Numbers between −1 and 1 that are the same every time.
fn coefficients(n: usize) -> Vec<f32> {
    (0..n).map(|place| ((place * 13 % 29) as f32 - 14.0) / 14.0).collect()
}

fn weighed(output: &Array) -> f64 {
    output.values.iter().zip(coefficients(output.values.len())).map(|(x, by)| f64::from(*x) * f64::from(by)).sum()
}

/// Holds gradients to central differences at some places of an array.
fn check(what: &str, gradient: &[f32], values: &[f32], score: &dyn Fn(Vec<f32>) -> f64) {
    const STEP: f32 = 4e-3;
    let largest = gradient.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    for place in (0..values.len()).step_by(values.len() / 7) {
        let moved = |by: f32| {
            let mut values = values.to_vec();
            values[place] += by;
            score(values)
        };
        let expected = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
        let difference = (f64::from(gradient[place]) - expected).abs();
        assert!(difference < 5e-3 * f64::from(largest), "{what} at {place}: {} and {expected}", gradient[place]);
    }
}

#[test]
fn gradients_go_back_to_the_rows_of_images_and_through_the_windows_of_a_tower() {
    let model = model("qwen2.5-vl");
    let stop = &mut |_| Next::Continue;
    // 1. the text: three positions for each patch
    let look = look(&model, 12, 8).expect("a look");
    let inputs = [input(&model, &[5, 44, 6, 9], &[look]).expect("an input")];
    let words = model.words(&inputs).expect("rows");
    let options = Backward { words: words.clone(), ..Backward::default() };
    let pass = Pass::keeping([Site::Logits]);
    let back = model
        .backward(&inputs, &pass, &options, &mut |output| Ok(coefficients(output.values.len())))
        .expect("a way back");
    let rows = words.target.expect("of the target");
    let score = |values: Vec<f32>| {
        let words = Words { target: Some(Array { values, ..rows.clone() }), ..Words::default() };
        let run = model.run_words(&inputs, &words, &pass, &mut |_| Next::Continue).expect("a run");
        weighed(&run.logits.expect("logits"))
    };
    check("words", &back.words.target.expect("gradients").values, &rows.values, &score);
    // 2. the tower: patches that see their window alone
    let tower = model.vision_tower().expect("a tower");
    let pixels = coefficients(3 * 12 * 8);
    let seen = |values: Vec<f32>| [tower.features_input(Array { shape: vec![3, 12, 8], values }).expect("an image")];
    let back = tower
        .backward_watched(
            &seen(pixels.clone()),
            &Pass::keeping([]),
            &Backward::default(),
            &mut |output| Ok(coefficients(output.values.len())),
            stop,
        )
        .expect("a way back");
    let last = |values: Vec<f32>| {
        let options = RunOptions { pass: Pass::keeping([Site::Stream]), ..RunOptions::default() };
        let run = tower.run(&seen(values), &options).expect("a run");
        weighed(&run.kept.last().expect("hidden states").array)
    };
    check("pixels", &back.features.expect("gradients").values, &pixels, &last);
}

/// A case whose config.json is changed.
fn changed(case: &str, change: &dyn Fn(&mut Value)) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let from = data("families").join(case);
    std::fs::copy(from.join("model.safetensors"), folder.path().join("model.safetensors")).expect("a copy");
    let config = std::fs::read(from.join("config.json")).expect("a configuration");
    let mut config: Value = serde_json::from_slice(&config).expect("JSON");
    change(&mut config);
    std::fs::write(folder.path().join("config.json"), config.to_string()).expect("a file");
    folder
}

#[test]
fn what_images_cannot_go_through_is_refused_by_its_field() {
    let refused = |case: &str, change: &dyn Fn(&mut Value), says: &str| {
        let folder = changed(case, change);
        let error = Model::load_with(folder.path(), &IMAGES).expect_err(says).to_string();
        assert!(error.contains("config.json") && error.contains(says), "{error}\n{says}");
    };
    let at = |pointer: &'static str, value: Value| {
        move |config: &mut Value| {
            let (parent, field) = pointer.rsplit_once('/').expect("a field");
            config.pointer_mut(parent).expect("a section")[field] = value.clone();
        }
    };
    refused("llava", &at("/vision_config", Value::Null), "vision_config is missing");
    refused("llava", &at("/vision_config/model_type", json!("pixtral")), "vision_config.model_type is \"pixtral\"");
    refused("llava", &at("/vision_feature_layer", json!(-9)), "hidden states number [-9]");
    refused("llava", &at("/vision_feature_layer", json!(0.5)), "vision_feature_layer is [0.5]");
    refused("llava", &at("/vision_feature_select_strategy", json!("cls")), "vision_feature_select_strategy is \"cls\"");
    let first = at("/vision_feature_select_strategy", json!("default"));
    refused("llava-siglip", &first, "is \"default\", which leaves the first row out");
    refused("qwen2-vl", &at("/vision_config/spatial_merge_size", json!(99)), "spatial_merge_size is 99");
    refused("qwen2-vl", &at("/vision_config/temporal_patch_size", json!(99)), "temporal_patch_size is 99");
    refused(
        "qwen2-vl",
        &at("/vision_config/hidden_size", json!(31)),
        "vision_config.hidden_size is 31, but rows of words are 32",
    );
    refused("qwen2-vl", &at("/rope_scaling/mrope_section", json!([1, 1, 1])), "mrope_section is [1.0, 1.0, 1.0]");
    refused("qwen2-vl", &at("/rope_scaling", Value::Null), "has no mrope_section");
    refused(
        "qwen2.5-vl",
        &at("/vision_config/window_size", json!(2)),
        "window_size is 2 pixels, less than 2 patches of 2",
    );
    refused("qwen2.5-vl", &at("/vision_config/fullatt_block_indexes", json!([0.5])), "fullatt_block_indexes holds 0.5");
}
