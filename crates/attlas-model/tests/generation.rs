//! Every family against what transformers computes: attention within 1e-5, logits within rtol 1e-5 + atol 2e-5, the
//! same generated ids. `data/families/README.md` says what the cases hold; `tools/reference/families.py` makes them.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use attlas::{Kind, Token, TokenRole, Tokens};
use attlas_model::{Decoding, Error, Input, Model, Run, RunOptions, Side};
use common::{Expected, arrays, check_maps, data, largest_excess};
use serde_json::Value;

/// Cases of a family that is read which are refused by a sentence; `families.rs` checks it.
const REFUSED: &[&str] = &["opt-350m"];

#[test]
fn generation_gives_the_ids_of_transformers_and_records_what_one_pass_records() {
    let only = std::env::var("ATTLAS_CASE").unwrap_or_default();
    let mut cases: Vec<_> = std::fs::read_dir(data("families")).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.is_dir() && path.to_string_lossy().contains(&only));
    cases.sort();
    assert!(!cases.is_empty());
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            check_case(case).err().map(|problem| format!("{}: {problem}", case.file_name().unwrap().to_string_lossy()))
        })
        .collect();
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn check_case(case: &Path) -> Result<(), String> {
    let about: Value = serde_json::from_slice(&std::fs::read(case.join("expected.json")).unwrap()).unwrap();
    let expected = arrays(&case.join("expected.safetensors"));
    let model = match Model::load(case) {
        Ok(model) => model,
        Err(Error::UnknownFamily { .. }) => return Ok(()),
        Err(_) if REFUSED.iter().any(|name| case.ends_with(name)) => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    for run in about["runs"].as_array().unwrap() {
        let run = run.as_str().unwrap();
        check_run(&model, run, &expected).map_err(|problem| format!("run {run}: {problem}"))?;
    }
    for generation in about["generations"].as_array().unwrap() {
        check_generation(&model, generation)
            .map_err(|problem| format!("{}: {problem}", generation["method"].as_str().unwrap_or_default()))?;
    }
    Ok(())
}

fn check_run(model: &Model, run: &str, expected: &BTreeMap<String, Expected>) -> Result<(), String> {
    let array = |name: &str| expected.get(&format!("{run}.{name}"));
    let inputs = inputs(model, &array);
    let options = RunOptions { logits: true, hidden: true, values: true, ..RunOptions::default() };
    let found = model.run(&inputs, &options).map_err(|error| error.to_string())?;
    let encoder_only = !model.has(Side::Target);
    for (name, maps) in expected.iter().filter(|(name, _)| name.starts_with(&format!("{run}.attentions."))) {
        let mut parts = name.rsplit('.');
        let layer = parts.next().unwrap().parse().unwrap();
        let kind = match parts.next().unwrap() {
            "encoder" => Kind::Encoder,
            "cross" => Kind::Cross,
            "self" if encoder_only => Kind::Encoder,
            _ => Kind::Decoder,
        };
        check_maps(&found.recording, kind, layer, maps)?;
    }
    check_logits(&found, &inputs, array("logits"), encoder_only)
}

fn check_logits(found: &Run, inputs: &[Input], expected: Option<&Expected>, encoder_only: bool) -> Result<(), String> {
    let Some(expected) = expected else { return Ok(()) };
    let logits = found.logits.as_ref().ok_or("no logits")?;
    // a discriminator's one logit per token has no axis of its own in transformers (ELECTRA)
    let shape = logits.shape.strip_suffix(&[1]).filter(|shape| *shape == expected.shape).unwrap_or(&logits.shape);
    if shape != expected.shape {
        return Err(format!("logits have shape {:?} instead of {:?}", logits.shape, expected.shape));
    }
    let width = *logits.shape.last().unwrap();
    let rows_per_item = if logits.shape.len() == 3 { logits.shape[1] } else { 1 };
    for (row, (found, wanted)) in logits.values.chunks(width).zip(expected.values.chunks(width)).enumerate() {
        let (item, place) = (row / rows_per_item, row % rows_per_item);
        let tokens = if encoder_only { &inputs[item].source } else { &inputs[item].target };
        let padding = rows_per_item > 1 && tokens.tokens.get(place).is_none_or(|t| t.role == TokenRole::Padding);
        if padding || wanted.iter().any(|logit| logit.is_nan()) {
            continue;
        }
        let (excess, column) = largest_excess(found, wanted, 1e-5);
        if excess > 2e-5 {
            let (found, wanted) = (found[column], wanted[column]);
            return Err(format!("logit {column} of text {item} place {place}: {found} instead of {wanted}"));
        }
    }
    Ok(())
}

/// The batch of a run, each text at its own length; what is shorter is padded by the model.
fn inputs<'a>(model: &Model, array: &impl Fn(&str) -> Option<&'a Expected>) -> Vec<Input> {
    let rows = |ids: Option<&Expected>, mask: Option<&Expected>| -> Vec<Tokens> {
        let Some(ids) = ids else { return Vec::new() };
        let n = ids.shape[1];
        let real = |place: usize| mask.is_none_or(|mask| mask.values[place] > 0.0);
        let row = |(item, row): (usize, &[u32])| Tokens {
            text: String::new(),
            tokens: row
                .iter()
                .enumerate()
                .filter(|(place, _)| real(item * n + place))
                .map(|(_, id)| Token { id: Some(*id), ..Token::labelled(id.to_string()) })
                .collect(),
        };
        ids.ids().chunks(n).enumerate().map(row).collect()
    };
    let first = rows(array("input_ids"), array("attention_mask"));
    let second = rows(array("decoder_input_ids"), array("decoder_attention_mask"));
    let types = array("token_type_ids").map(|types| (types.ids(), types.shape[1]));
    let input = |(item, tokens): (usize, &Tokens)| {
        let segments = types.as_ref().map_or(Vec::new(), |(types, n)| types[item * n..][..tokens.len()].to_vec());
        let tokens = tokens.clone();
        match (model.has(Side::Source), second.get(item)) {
            (false, _) => Input { target: tokens, ..Input::default() },
            (true, Some(target)) => Input { source: tokens, target: target.clone(), segments },
            (true, None) => Input { source: tokens, segments, ..Input::default() },
        }
    };
    first.iter().enumerate().map(input).collect()
}

fn check_generation(model: &Model, generation: &Value) -> Result<(), String> {
    let ids = |name: &str| -> Vec<u32> {
        generation[name].as_array().into_iter().flatten().map(|id| id.as_u64().unwrap() as u32).collect()
    };
    let (prompt, wanted) = (ids("prompt"), ids("ids"));
    let tokens = |side, ids: &[u32]| model.tokens_from_ids(side, ids).map_err(|error| error.to_string());
    let input = if model.has(Side::Source) {
        let target = model.prompt_tokens("").map_err(|error| error.to_string())?;
        Input { source: tokens(Side::Source, &prompt)?, target, ..Input::default() }
    } else {
        Input { target: tokens(Side::Target, &prompt)?, ..Input::default() }
    };
    let max_tokens = generation["max_new_tokens"].as_u64().unwrap() as usize;
    let decoding = match generation["method"].as_str() {
        Some("beam") => Decoding::Beam { width: generation["width"].as_u64().unwrap() as usize, max_tokens },
        _ => Decoding::Greedy { max_tokens },
    };
    let run = model
        .run(std::slice::from_ref(&input), &RunOptions { decoding, ..RunOptions::default() })
        .map_err(|error| error.to_string())?;
    let new = &run.generated[0].tokens.tokens;
    let found: Vec<u32> = input.target.tokens.iter().chain(new).filter_map(|token| token.id).collect();
    if found != wanted {
        return Err(format!("generated {found:?} instead of {wanted:?}"));
    }
    if let Some(score) = generation["score"].as_f64()
        && (score - f64::from(run.generated[0].score)).abs() > 1e-4
    {
        return Err(format!("score {} instead of {score}", run.generated[0].score));
    }
    check_stitched(model, &input, &run)
}

/// What was recorded step by step is what one pass over the same tokens records.
fn check_stitched(model: &Model, input: &Input, run: &Run) -> Result<(), String> {
    let item = &run.recording.items[0];
    let whole = Input { target: item.target.clone(), ..input.clone() };
    let again = model.run(&[whole], &RunOptions::default()).map_err(|error| error.to_string())?;
    for layer in &run.recording.layers {
        for head in 0..layer.shape.n_heads {
            let map = |recording: &attlas::Recording| -> Vec<f32> {
                recording.map(0, layer.kind, layer.index, head).unwrap().dense()
            };
            let wanted: Vec<f64> = map(&again.recording).into_iter().map(f64::from).collect();
            let (excess, _) = largest_excess(&map(&run.recording), &wanted, 0.0);
            if excess > 1e-5 {
                return Err(format!("{} L{}H{head} differs by {excess} from one pass", layer.kind, layer.index));
            }
        }
    }
    Ok(())
}
