//! Small trained models do what they are known to do.

use std::path::{Path, PathBuf};

use attlas::{Kind, Trace};
use attlas_model::{Decoding, Input, Model, Pass, Run, RunOptions, Side, Site};
use safetensors::SafeTensors;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/trained").join(name)
}

fn load(name: &str) -> Model {
    Model::load(&folder(name)).expect("the model loads")
}

fn read(model: &Model, ids: &[u32]) -> Run {
    let target = model.tokens_from_ids(Side::Target, ids).expect("ids of the vocabulary");
    let options =
        RunOptions { pass: Pass::keeping([Site::Attention, Site::Values, Site::Logits]), ..RunOptions::default() };
    model.run(&[Input { target, ..Input::default() }], &options).expect("a run")
}

fn largest(row: &[f32]) -> u32 {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).expect("a row") as u32
}

#[test]
fn stories_260k_tells_its_known_story() {
    let model = load("stories260K");
    let target = model.tokens_from_ids(Side::Target, &[1]).expect("the start token");
    let decoding = Decoding::Greedy { max_tokens: 60 };
    let run = model
        .run(&[Input { target, ..Input::default() }], &RunOptions { decoding, ..RunOptions::default() })
        .expect("a story");
    assert_eq!(
        run.generated[0].text.trim(),
        "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she \
         saw a big, red ball. She wanted to play with it, but it was too high"
    );
}

#[test]
fn gpt_nano_sorts_every_six_letters() {
    let model = load("gpt-nano-sort");
    for number in 0..3_u32.pow(6) {
        let letters: Vec<u32> = (0..6).map(|place| number / 3_u32.pow(place) % 3).collect();
        let mut sorted = letters.clone();
        sorted.sort_unstable();
        let ids: Vec<u32> = letters.iter().chain(&sorted[..5]).copied().collect();
        let logits = read(&model, &ids).logits.expect("logits");
        let found: Vec<u32> = logits.values.chunks(3).skip(5).map(largest).collect();
        assert_eq!(found, sorted, "{letters:?}");
    }
}

#[test]
fn gpt_nano_sort_has_its_published_queries_keys_weights_and_logits() {
    let model = load("gpt-nano-sort");
    let bytes = std::fs::read(folder("gpt-nano-sort").join("published.safetensors")).expect("the published values");
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let published = |name: &str| -> Vec<f32> {
        let data = file.tensor(name).expect("a tensor").data().to_vec();
        data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes"))).collect()
    };
    let near = |found: &[f32], expected: &[f32], what: &str| {
        assert_eq!(found.len(), expected.len(), "{what}");
        let worst = found.iter().zip(expected).map(|(x, y)| (x - y).abs() / (1.0 + y.abs())).fold(0.0, f32::max);
        assert!(worst < 2e-5, "{what}: off by {worst:e}");
    };
    let ids = published("ids"); // [3, 11]
    for item in 0..3 {
        let item_ids: Vec<u32> = ids[item * 11..][..11].iter().map(|id| *id as u32).collect();
        let run = read(&model, &item_ids);
        let layer = run.recording.layer(Kind::Decoder, 0).expect("layer 0");
        let factored = layer.factored().expect("factored weights");
        let size = 3 * 11 * 16;
        near(&factored.queries.read_all().unwrap(), &published("queries")[item * size..][..size], "queries");
        near(&factored.keys.read_all().unwrap(), &published("keys")[item * size..][..size], "keys");
        let values = layer.traces.get(Trace::Values).expect("values");
        near(&values.read_all().unwrap(), &published("values")[item * size..][..size], "values");
        for head in 0..3 {
            let map = run.recording.map(0, Kind::Decoder, 0, head).expect("a map");
            let start = (item * 3 + head) * 121;
            near(&map.dense(), &published("weights")[start..][..121], "weights");
        }
        near(&run.logits.expect("logits").values, &published("logits")[item * 33..][..33], "logits");
    }
}

#[test]
fn the_second_layer_of_llama_induction_looks_behind_the_earlier_occurrence() {
    let model = load("llama-induction");
    let once: Vec<u32> = (0..24).map(|i| (i * 37 + 11) % 90 + 3).collect();
    let run = read(&model, &[once.clone(), once].concat());
    let mean = |layer: usize, head: usize, queries: std::ops::Range<usize>, back: usize| -> f32 {
        let map = run.recording.map(0, Kind::Decoder, layer, head).expect("a map");
        let n = queries.len() as f32;
        queries.map(|query| map.row(query)[query - back]).sum::<f32>() / n
    };
    for head in 0..4 {
        let score = mean(1, head, 24..48, 23);
        assert!(score > 0.75, "L1H{head} gives {score} to the token after the earlier occurrence");
    }
    assert!(mean(0, 3, 1..48, 1) > 0.6, "L0H3 looks at the token before");
    assert!(mean(0, 3, 24..48, 23) < 0.05, "L0H3 is no induction head");
}
