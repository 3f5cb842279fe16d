//! Times the forward pass of a BERT-base or GPT-2-small shape with random weights, with and without recording, and beside it the
//! way back; and how long the embedded model takes to load and translate.
//!
//! `cargo run --release -p attlas-model --example speed -- [bert|gpt2] [N_TOKENS …]`

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use attlas::{Token, Tokens};
use attlas_model::weights::{Bytes, Checkpoint, Dtype, Tensor};
use attlas_model::{Backward, ConfigFile, Decoding, Error, Input, Model, Pass, RunOptions, Side};

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let family = arguments.first().map_or("bert", String::as_str);
    time_embedded()?;
    let model = model(family)?;
    let lengths: Vec<usize> = arguments.iter().skip(1).filter_map(|n| n.parse().ok()).collect();
    for n in if lengths.is_empty() { vec![128, 512] } else { lengths } {
        let input = input(&model, n);
        let time = |record: bool| -> Result<f64, Error> {
            let pass = if record { Pass::default() } else { Pass::keeping([]) };
            let options = RunOptions { pass, ..RunOptions::default() };
            let mut best = f64::INFINITY;
            for _ in 0..5 {
                let start = Instant::now();
                model.run(std::slice::from_ref(&input), &options)?;
                best = best.min(start.elapsed().as_secs_f64());
            }
            Ok(best)
        };
        let (plain, recorded) = (time(false)?, time(true)?);
        let both = time_backward(&model, &input)?;
        println!("{family}, {n} tokens:");
        println!("  forward                 {:8.1} ms", plain * 1e3);
        println!("  forward, recorded       {:8.1} ms", recorded * 1e3);
        println!("  forward and backward    {:8.1} ms", both * 1e3);
        println!(
            "  backward alone          {:8.1} ms, {:.2} times a forward pass",
            (both - plain) * 1e3,
            both / plain - 1.0
        );
    }
    Ok(())
}

/// Seconds of the fastest of a few gradients of one number of the output.
fn time_backward(model: &Model, input: &Input) -> Result<f64, Error> {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        let inputs = std::slice::from_ref(input);
        model.backward(inputs, &Pass::keeping([]), &Backward::default(), &mut |output| {
            let mut gradient = vec![0.0; output.values.len()];
            gradient[output.values.len() - 1] = 1.0;
            Ok(gradient)
        })?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn time_embedded() -> Result<(), Error> {
    let start = Instant::now();
    let model = Model::embedded()?;
    let loaded = start.elapsed();
    let input = model.input("The cat sat on the mat.", None)?;
    let options = RunOptions { decoding: Decoding::Greedy { max_tokens: 60 }, ..RunOptions::default() };
    let run = model.run(&[input], &options)?;
    println!("embedded: loaded in {loaded:.1?}, translated and recorded after {:.1?}", start.elapsed());
    println!("{}", run.generated[0].text);
    Ok(())
}

fn input(model: &Model, n: usize) -> Input {
    let token = |place: usize| Token { id: Some((place * 7919 % 30_000) as u32), ..Token::labelled("") };
    let tokens = Tokens { text: String::new(), tokens: (0..n).map(token).collect() };
    if model.has(Side::Source) {
        Input { source: tokens, ..Input::default() }
    } else {
        Input { target: tokens, ..Input::default() }
    }
}

/// A model of 12 layers, 12 heads, width 768, 4,096 positions.
fn model(family: &str) -> Result<Model, Error> {
    let mut tensors = BTreeMap::new();
    let mut add = |name: String, shape: &[usize]| {
        let n: usize = shape.iter().product();
        let is_gain =
            name.contains("LayerNorm.weight") || name.ends_with("ln_1.weight") || name.ends_with("ln_2.weight");
        let value = |place: usize| {
            let noise =
                ((place as u64).wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407) >> 40) as f32;
            if is_gain { 1.0 } else { (noise / (1 << 23) as f32 - 1.0) * 0.04 }
        };
        let bytes: Vec<u8> = (0..n).flat_map(|place| value(place).to_le_bytes()).collect();
        let tensor = Tensor {
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            bytes: Bytes::Memory { len: bytes.len(), bytes: Arc::new(bytes), offset: 0 },
            path: Arc::from(Path::new("random")),
        };
        tensors.insert(name, tensor);
    };
    let config = match family {
        "gpt2" => {
            add("wte.weight".to_owned(), &[50_257, 768]);
            add("wpe.weight".to_owned(), &[4096, 768]);
            for layer in 0..12 {
                for (name, d_in, d_out) in [
                    ("attn.c_attn", 768, 2304),
                    ("attn.c_proj", 768, 768),
                    ("mlp.c_fc", 768, 3072),
                    ("mlp.c_proj", 3072, 768),
                ] {
                    add(format!("h.{layer}.{name}.weight"), &[d_in, d_out]);
                    add(format!("h.{layer}.{name}.bias"), &[d_out]);
                }
                for norm in ["ln_1", "ln_2"] {
                    add(format!("h.{layer}.{norm}.weight"), &[768]);
                    add(format!("h.{layer}.{norm}.bias"), &[768]);
                }
            }
            add("ln_f.weight".to_owned(), &[768]);
            add("ln_f.bias".to_owned(), &[768]);
            r#"{"model_type": "gpt2", "vocab_size": 50257, "n_positions": 4096}"#
        }
        _ => {
            add("embeddings.word_embeddings.weight".to_owned(), &[30_522, 768]);
            add("embeddings.position_embeddings.weight".to_owned(), &[4096, 768]);
            add("embeddings.token_type_embeddings.weight".to_owned(), &[2, 768]);
            add("embeddings.LayerNorm.weight".to_owned(), &[768]);
            add("embeddings.LayerNorm.bias".to_owned(), &[768]);
            for layer in 0..12 {
                let under = |name: &str, end: &str| format!("encoder.layer.{layer}.{name}.{end}");
                for (name, d_in, d_out) in [
                    ("attention.self.query", 768, 768),
                    ("attention.self.key", 768, 768),
                    ("attention.self.value", 768, 768),
                    ("attention.output.dense", 768, 768),
                    ("intermediate.dense", 768, 3072),
                    ("output.dense", 3072, 768),
                ] {
                    add(under(name, "weight"), &[d_out, d_in]);
                    add(under(name, "bias"), &[d_out]);
                }
                for norm in ["attention.output.LayerNorm", "output.LayerNorm"] {
                    add(under(norm, "weight"), &[768]);
                    add(under(norm, "bias"), &[768]);
                }
            }
            r#"{"model_type": "bert", "vocab_size": 30522, "max_position_embeddings": 4096, "architectures": ["BertModel"]}"#
        }
    };
    let config = ConfigFile::parse(Path::new("config.json"), config.as_bytes())?;
    Model::from_parts(&config, None, &Checkpoint::from_tensors(Path::new("random"), tensors))
}
