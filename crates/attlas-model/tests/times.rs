//! When each token of a transcript is spoken: what transformers finds, and words of a sound with their times.

mod common;

use attlas::analysis::spoken::{contrast, warp};
use attlas::{AttentionMap, Kind};
use attlas_model::{Model, RunOptions};
use common::{arrays, data, reference};
use serde_json::Value;

/// Frames over which the checkpoint's configuration takes a median.
const MEDIAN_WIDTH: usize = 7;

#[test]
fn tokens_are_spoken_when_transformers_finds_that_they_are() {
    let folder = data("families/whisper");
    let model = Model::load(&folder).expect("a model");
    assert_eq!(model.median_width(), MEDIAN_WIDTH);
    let inputs = reference::inputs(&model, &arrays(&folder.join("expected.safetensors")), "features").expect("inputs");
    let recording = model.run(&inputs, &RunOptions::default()).expect("a run").recording;
    let cases = std::fs::read(data("times/expected.json")).expect("the cases");
    let cases: Vec<Value> = serde_json::from_slice(&cases).expect("JSON");
    assert!(cases.len() >= 12);
    for case in &cases {
        let number = |value: &Value| value.as_u64().expect("a number") as usize;
        let maps: Vec<AttentionMap<'_>> = case["heads"]
            .as_array()
            .expect("heads")
            .iter()
            .map(|head| recording.map(number(&case["item"]), Kind::Cross, number(&head[0]), number(&head[1])))
            .collect::<Result<_, _>>()
            .expect("maps");
        let (first_row, n_frames) = (number(&case["first_row"]), number(&case["n_frames"]));
        let weights = contrast(&maps, first_row..maps[0].n_queries(), n_frames, MEDIAN_WIDTH).expect("weights");
        let expected: Vec<usize> = case["starts"].as_array().expect("starts").iter().map(number).collect();
        assert_eq!(warp(&weights, n_frames), expected, "{case}");
    }
}
