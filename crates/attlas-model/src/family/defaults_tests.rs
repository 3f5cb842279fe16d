//! Numbers that a configuration leaves out are those of transformers' classes: read off `AutoConfig.for_model(…)`.

use std::path::Path;

use serde_json::{Value, json};

use super::of;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Block, Frequencies, Length, Stack};

/// `model_type`, `rms_norm_eps`, `rope_theta` and the window of the first layer.
const CLASSES: &[(&str, f32, f64, Option<i64>)] = &[
    ("llama", 1e-6, 10_000.0, None),
    ("mistral", 1e-6, 10_000.0, Some(4096)),
    ("ministral", 1e-6, 10_000.0, Some(4096)),
    ("qwen2", 1e-6, 10_000.0, None),
    ("qwen3", 1e-6, 10_000.0, None),
    ("olmo2", 1e-5, 10_000.0, None),
    ("olmo3", 1e-5, 500_000.0, Some(4096)),
    ("smollm3", 1e-6, 2_000_000.0, None),
    ("granite", 1e-6, 10_000.0, None),
    ("glm", 1.5625e-7, 10_000.0, None),
    ("glm4", 1.5625e-7, 10_000.0, None),
    ("seed_oss", 1e-6, 10_000.0, None),
    ("arcee", 1e-5, 10_000.0, None),
    ("helium", 1e-8, 100_000.0, None),
    ("hunyuan_v1_dense", 1e-5, 10_000.0, None),
    ("ernie4_5", 1e-5, 500_000.0, None),
    ("exaone4", 1e-5, 10_000.0, Some(4096)),
    ("mixtral", 1e-5, 1_000_000.0, None),
    ("qwen2_moe", 1e-6, 10_000.0, None),
    ("qwen3_moe", 1e-6, 10_000.0, None),
    ("qwen3_next", 1e-6, 10_000.0, None),
    ("olmoe", 1e-5, 10_000.0, None),
    ("phi3", 1e-5, 10_000.0, None),
    ("deepseek_v2", 1e-6, 10_000.0, None),
    ("deepseek_v3", 1e-6, 10_000.0, None),
    ("gemma3_text", 1e-6, 10_000.0, Some(4096)),
];

/// The same of the texts of models that see images.
const TEXTS: &[(&str, f32, f64)] = &[
    ("llava", 1e-6, 10_000.0),
    ("llava_onevision", 1e-6, 10_000.0),
    ("mistral3", 1e-6, 10_000.0),
    ("qwen2_vl", 1e-5, 1_000_000.0),
    ("qwen2_5_vl", 1e-5, 1_000_000.0),
    ("qwen3_vl", 1e-6, 500_000.0),
    ("gemma3", 1e-6, 10_000.0),
];

/// `model_type` and `max_position_embeddings`.
const POSITIONS: &[(&str, usize)] = &[
    ("llama", 2048),
    ("mistral", 131_072),
    ("ministral", 131_072),
    ("qwen2", 32_768),
    ("qwen3", 32_768),
    ("gemma", 8192),
    ("gemma2", 8192),
    ("gemma3_text", 131_072),
    ("phi", 2048),
    ("phi3", 4096),
    ("stablelm", 4096),
    ("olmo2", 2048),
    ("olmo3", 2048),
    ("smollm3", 32_768),
    ("granite", 2048),
    ("cohere", 8192),
    ("cohere2", 8192),
    ("glm", 131_072),
    ("glm4", 131_072),
    ("starcoder2", 4096),
    ("nemotron", 4096),
    ("exaone4", 2048),
    ("hunyuan_v1_dense", 2048),
    ("apertus", 65_536),
    ("seed_oss", 524_288),
    ("arcee", 4096),
    ("helium", 4096),
    ("ernie4_5", 131_072),
    ("gpt_oss", 131_072),
    ("mixtral", 131_072),
    ("qwen2_moe", 32_768),
    ("qwen3_moe", 32_768),
    ("olmoe", 4096),
    ("qwen3_next", 32_768),
    ("deepseek_v2", 2048),
    ("deepseek_v3", 4096),
    ("eurobert", 8192),
];

fn architecture(config: &Value) -> Architecture {
    let config = ConfigFile::parse(Path::new("config.json"), config.to_string().as_bytes()).expect("a configuration");
    let (architecture, _) = (of(&config).expect("a family").read)(&config).unwrap_or_else(|error| panic!("{error}"));
    architecture
}

fn stack(config: Value) -> Stack {
    architecture(&config).decoder.expect("a decoder")
}

fn sizes(model_type: &str) -> Value {
    json!({
        "model_type": model_type, "vocab_size": 9, "hidden_size": 64, "intermediate_size": 8, "num_hidden_layers": 8,
        "num_attention_heads": 4, "num_key_value_heads": 4, "num_experts_per_tok": 2
    })
}

/// The base that the frequencies are powers of, from the second pair's.
fn base(block: &Block) -> f64 {
    let rotary = block.attention.rotary.as_ref().expect("rotary positions");
    let Frequencies::Fixed { per_pair, .. } = &rotary.frequencies else { panic!("fixed frequencies") };
    f64::from(per_pair[1]).powf(-(rotary.n_columns as f64) / 2.0)
}

fn check(what: &str, stack: &Stack, epsilon: f32, theta: f64) {
    let block = &stack.blocks[0];
    assert_eq!([block.norm.epsilon, stack.final_norm.expect("a norm").epsilon], [epsilon; 2], "{what}");
    assert!((base(block) / theta - 1.0).abs() < 1e-4, "{what}: {} instead of {theta}", base(block));
}

#[test]
fn what_a_configuration_leaves_out_is_what_its_class_has() {
    for (model_type, epsilon, theta, window) in CLASSES {
        let stack = stack(sizes(model_type));
        check(model_type, &stack, *epsilon, *theta);
        let before = stack.blocks[0].attention.visibility.before;
        assert_eq!(before.map(|before| before + 1), *window, "{model_type}");
    }
    for (model_type, epsilon, theta) in TEXTS {
        check(model_type, &stack(json!({"model_type": model_type, "text_config": {}})), *epsilon, *theta);
    }
}

#[test]
fn texts_are_as_long_as_the_class_has_them_where_a_configuration_does_not_say() {
    for (model_type, n) in POSITIONS {
        assert_eq!(architecture(&sizes(model_type)).length, Length::Noted(*n), "{model_type}");
    }
}

#[test]
fn a_window_of_null_is_none_and_one_that_is_absent_the_class_has() {
    for model_type in ["mistral", "ministral", "qwen2", "qwen3", "qwen2_moe", "qwen3_moe"] {
        let mut config = sizes(model_type);
        config["use_sliding_window"] = true.into();
        config["max_window_layers"] = 0.into();
        if model_type == "qwen2_moe" {
            config["max_window_layers"] = 8.into();
        }
        assert_eq!(stack(config.clone()).blocks[0].attention.visibility.before, Some(4095), "{model_type}");
        config["sliding_window"] = Value::Null;
        assert_eq!(stack(config).blocks[0].attention.visibility.before, None, "{model_type}");
    }
    // of layers with windows, the first 28 have none
    let mut config = sizes("qwen2");
    config["use_sliding_window"] = true.into();
    config["num_hidden_layers"] = 30.into();
    let windows: Vec<bool> =
        stack(config).blocks.iter().map(|block| block.attention.visibility.before.is_some()).collect();
    assert_eq!(windows, [vec![false; 28], vec![true; 2]].concat());
}

#[test]
fn experts_of_deepseek_are_those_of_either_class() {
    for (model_type, layer, d_hidden, n_shared) in [("deepseek_v2", 0, 1407, 2), ("deepseek_v3", 3, 2048, 1)] {
        let feed_forward = &stack(sizes(model_type)).blocks[layer].feed_forward;
        assert_eq!(feed_forward.d_hidden, d_hidden, "{model_type}");
        assert_eq!(
            feed_forward.experts.and_then(|experts| experts.d_shared),
            Some(n_shared * d_hidden),
            "{model_type}"
        );
    }
}
