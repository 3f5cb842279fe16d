//! Golden numbers of what is measured by changing a run, with the models and texts that they are of.

#![allow(clippy::print_stderr, reason = "how near the numbers are is worth knowing when a test fails")]

use attlas_model::explain::score::{Form, Metric, Score};
use attlas_model::{Input, Model, Next, Side};
use safetensors::SafeTensors;

use super::data;

/// The golden numbers, opened.
pub struct Golden {
    bytes: Vec<u8>,
    pub numbers: serde_json::Value,
}

impl Golden {
    pub fn open() -> Golden {
        let folder = data("explain");
        let numbers = serde_json::from_slice(&std::fs::read(folder.join("measured.json")).unwrap()).unwrap();
        Golden { bytes: std::fs::read(folder.join("measured.safetensors")).unwrap(), numbers }
    }

    pub fn tensor(&self, name: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).unwrap_or_else(|_| panic!("{name} is there"));
        assert_eq!(tensor.dtype(), safetensors::Dtype::F64, "{name}");
        tensor.data().chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
    }

    pub fn ids(&self, name: &str) -> Vec<u32> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).unwrap();
        tensor.data().chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()) as u32).collect()
    }

    pub fn id(&self, name: &str) -> u32 {
        self.numbers[name].as_u64().unwrap() as u32
    }
}

pub fn model(name: &str) -> Model {
    Model::load(&data("explain").join("models").join(name)).expect("a model")
}

pub fn trained(name: &str) -> Model {
    Model::load(&data("trained").join(name)).expect("a model")
}

pub fn input(model: &Model, source: &[u32], target: &[u32]) -> Input {
    let tokens = |side: Side, ids: &[u32]| match ids.is_empty() {
        true => attlas::Tokens::default(),
        false => model.tokens_from_ids(side, ids).expect("tokens"),
    };
    Input { source: tokens(Side::Source, source), target: tokens(Side::Target, target), ..Input::default() }
}

pub fn gpt2(golden: &Golden) -> (Model, Input) {
    let model = model("gpt2_tiny");
    let input = input(&model, &[], &golden.ids("gpt2_tiny_input_ids"));
    (model, input)
}

pub fn bart(golden: &Golden) -> (Model, Input) {
    let model = model("bart_tiny");
    let input = input(&model, &golden.ids("bart_tiny_input_ids"), &golden.ids("bart_tiny_decoder_input_ids"));
    (model, input)
}

pub fn go_on(_: usize) -> Next {
    Next::Continue
}

/// The four metrics of the golden cases, at the last position.
pub fn metrics(golden: &Golden, position: usize) -> [Metric; 4] {
    let (target, foil) = (golden.id("target"), golden.id("foil"));
    let score = |foil, form| Metric::Score(Score { item: 0, position: Some(position), target, foil, form });
    [score(None, Form::Logit), score(Some(foil), Form::Logit), Metric::Loss, score(None, Form::Probability)]
}

/// Holds numbers to golden ones; gives the largest difference.
pub fn assert_near(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f64::max);
    eprintln!("{what}: off by {worst:.1e}");
    assert!(worst <= tolerance, "{what}: off by {worst:e}\n{found:?}\n{expected:?}");
}

/// f32 logits of up to 22 in these models: a difference of two of them is off by a few units in the last place of the larger.
pub const NEAR: f64 = 2e-5;

/// A text whose second half repeats its first: a model with induction heads knows each next token of it.
pub fn repeated(model: &Model) -> Input {
    let first: [u32; 12] = [11, 4, 27, 18, 33, 9, 41, 22, 6, 30, 15, 38];
    input(model, &[], &[first, first].concat())
}
