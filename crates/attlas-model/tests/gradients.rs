//! The way back against PyTorch's autograd: gradients with respect to word rows, pixels, frames, hidden states, weights and
//! scores, for the tiny checkpoint of every family.
//!
//! `data/gradients/README.md` says what is differentiated; `tools/reference/gradients.py` makes the files.
//! `ATTLAS_CASE=bert` runs the cases whose name contains `bert`.

mod common;

use std::collections::BTreeMap;

use attlas::{Kind, TokenRole};
use attlas_model::config::Readout;
use attlas_model::{Array, Backward, Gradients, Input, Keep, Model, Parameter, Pass, Run, Side, Site};
use common::{Expected, arrays, data, largest_excess, reference};

/// Cases that have no gradient, and a part of the sentence that says so.
const REFUSED: &[(&str, &str)] = &[("deberta", "content")];

/// What a gradient may differ by, relative to its own size and to the largest of its array.
const TOLERANCE: f64 = 1e-4;

#[test]
fn every_familys_gradients_equal_autograd() {
    let only = std::env::var("ATTLAS_CASE").unwrap_or_default();
    let entries = std::fs::read_dir(data("gradients")).expect("the cases");
    let names =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".safetensors")?.to_owned()));
    let mut names: Vec<String> = names.filter(|name| name.contains(&only)).collect();
    names.sort();
    assert!(!names.is_empty());
    let problems = names.iter().flat_map(|name| {
        let problems = check_case(name).unwrap_or_else(|problem| vec![problem]);
        problems.into_iter().map(move |problem| format!("{name}: {problem}"))
    });
    let problems: Vec<String> = problems.collect();
    assert!(problems.is_empty(), "{} differences in {} cases:\n{}", problems.len(), names.len(), problems.join("\n"));
}

/// What is wrong with one case.
fn check_case(name: &str) -> Result<Vec<String>, String> {
    let folder = data("families").join(name);
    let model = Model::load(&folder).map_err(|error| error.to_string())?;
    let inputs = read_inputs(&model, &arrays(&folder.join("expected.safetensors")))?;
    let expected = arrays(&data("gradients").join(format!("{name}.safetensors")));
    let sites = [Site::Stream, Site::Attention, Site::Scores];
    let keep = sites.into_iter().map(|site| Keep { site, kind: None, layers: None }).collect();
    let options = Backward { keep, ..Backward::default() };
    let mut sum = 0.0; // S
    let mut score = |output: &Array| {
        let coefficients = coefficients(&model, &inputs, output);
        sum = output.values.iter().zip(&coefficients).map(|(value, by)| f64::from(*value) * f64::from(*by)).sum();
        Ok(coefficients)
    };
    let found = model.backward(&inputs, &Pass::keeping([Site::Logits]), &options, &mut score);
    let refusal = REFUSED.iter().find(|(part, _)| name.contains(part));
    let found = match (found, refusal) {
        (Ok(_), Some(_)) => return Err("there is a gradient where none was expected".to_owned()),
        (Err(error), Some((_, says))) if error.to_string().contains(says) => return Ok(Vec::new()),
        (found, _) => found.map_err(|error| error.to_string())?,
    };
    let mut problems = Vec::new();
    if (sum - expected["score"].values[0]).abs() > 1e-4 * (1.0 + sum.abs()) {
        problems.push(format!("S is {sum} instead of {}", expected["score"].values[0]));
    }
    for (name, expected) in expected.iter().filter(|(name, _)| *name != "score") {
        let result = check_gradient(&model, &found, name, expected);
        problems.extend(result.err().map(|problem| format!("{name}: {problem}")));
    }
    Ok(problems)
}

/// What was differentiated: of the padded batch the longest and the shortest text, or all images or sounds.
fn read_inputs(model: &Model, stored: &BTreeMap<String, Expected>) -> Result<Vec<Input>, String> {
    let is_there = |run: &&str| stored.keys().any(|name| name.starts_with(&format!("{run}.")));
    let run = ["padded", "images", "features"].into_iter().find(is_there).ok_or("no run")?;
    let mut inputs = reference::inputs(model, stored, run)?;
    if run == "padded" {
        inputs.remove(1);
    }
    Ok(inputs)
}

/// sin(1 + i) of the i-th number of the output, 0 in rows of padding.
fn coefficients(model: &Model, inputs: &[Input], output: &Array) -> Vec<f32> {
    let width = output.values.len() / output.shape.iter().take(2).product::<usize>();
    let by_position =
        output.shape.len() == 3 || matches!(model.transformer().architecture.readout, Readout::Positions { .. });
    let real = |place: usize| {
        let (item, position) = (place / width / output.shape[1], place / width % output.shape[1]);
        let input = &inputs[item];
        let n = if model.has(Side::Target) { input.target.len() } else { input.source.len() };
        !by_position || position < n
    };
    (0..output.values.len()).map(|i| if real(i) { (1.0 + i as f64).sin() as f32 } else { 0.0 }).collect()
}

/// One gradient, by its name in the file.
fn check_gradient(model: &Model, found: &Gradients, name: &str, expected: &Expected) -> Result<(), String> {
    let kind = |name: &str| match name {
        "encoder" => Kind::Encoder,
        "cross" => Kind::Cross,
        "self" if !model.has(Side::Target) => Kind::Encoder,
        _ => Kind::Decoder,
    };
    let absent = || "there is none".to_owned();
    match name.split('.').collect::<Vec<_>>()[..] {
        ["d_features"] => check_rows(expected, found.features.as_ref().ok_or_else(absent)?, None),
        ["d_words", stack] => {
            let words = if kind(stack) == Kind::Encoder { &found.words.source } else { &found.words.target };
            check_rows(expected, words.as_ref().ok_or_else(absent)?, Some((kind(stack), &found.run)))
        }
        ["d_stream", stack, layer] => {
            let layer = layer.parse().map_err(|_| absent())?;
            let array = found.of(Site::Stream, kind(stack), layer).ok_or_else(absent)?;
            check_rows(expected, array, Some((kind(stack), &found.run)))
        }
        ["d_weights", name, _] => check_maps(expected, found.of(Site::Attention, kind(name), 0).ok_or_else(absent)?),
        ["d_scores", name, _] => check_maps(expected, found.of(Site::Scores, kind(name), 0).ok_or_else(absent)?),
        _ => Err("has a name that is not known".to_owned()),
    }
}

/// Compares rows of positions, those of padding left out; all numbers where there are none.
fn check_rows(expected: &Expected, found: &Array, positions: Option<(Kind, &Run)>) -> Result<(), String> {
    if found.shape != expected.shape {
        return Err(format!("has shape {:?} instead of {:?}", found.shape, expected.shape));
    }
    let Some((kind, run)) = positions else { return compare(&found.values, &expected.values) };
    let (n, width) = (found.shape[1], found.shape[2]);
    let real = |row: &usize| run.recording.items[row / n].queries(kind).tokens[row % n].role != TokenRole::Padding;
    let rows: Vec<usize> = (0..found.shape[0] * n).filter(real).collect();
    let found: Vec<f32> = rows.iter().flat_map(|row| &found.values[row * width..][..width]).copied().collect();
    let expected: Vec<f64> = rows.iter().flat_map(|row| &expected.values[row * width..][..width]).copied().collect();
    compare(&found, &expected)
}

/// Compares the cells that are seen.
fn check_maps(expected: &Expected, found: &Array) -> Result<(), String> {
    if found.shape != expected.shape {
        return Err(format!("has shape {:?} instead of {:?}", found.shape, expected.shape));
    }
    let cells = found.values.iter().zip(&expected.values).filter(|(_, expected)| **expected != 0.0);
    let (found, expected): (Vec<f32>, Vec<f64>) = cells.unzip();
    compare(&found, &expected)
}

fn compare(found: &[f32], expected: &[f64]) -> Result<(), String> {
    let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let (excess, place) = largest_excess(found, expected, TOLERANCE);
    if excess > TOLERANCE * largest {
        return Err(format!("number {place} is {} instead of {}", found[place], expected[place]));
    }
    Ok(())
}

/// Parameters that are gradients: PyTorch's, read as the family reads its weights, and what was summed.
#[test]
fn gradients_of_parameters_equal_autograd() {
    let only = std::env::var("ATTLAS_CASE").unwrap_or_default();
    let entries = std::fs::read_dir(data("gradients/parameters")).expect("the cases");
    let names =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".safetensors")?.to_owned()));
    let mut names: Vec<String> = names.filter(|name| name.contains(&only)).collect();
    names.sort();
    assert!(!names.is_empty());
    let problems: Vec<String> = names
        .iter()
        .flat_map(|name| check_parameters(name).into_iter().map(move |problem| format!("{name}: {problem}")))
        .collect();
    assert!(problems.is_empty(), "{} differences in {} cases:\n{}", problems.len(), names.len(), problems.join("\n"));
}

/// What is wrong with the gradients of one case's parameters.
fn check_parameters(name: &str) -> Vec<String> {
    let folder = data("families").join(name);
    let model = Model::load(&folder).expect("a model");
    let inputs = read_inputs(&model, &arrays(&folder.join("expected.safetensors"))).expect("inputs");
    // 1. the gradients of PyTorch, in the place of the weights
    let expected = tempfile::tempdir().expect("a folder");
    std::fs::copy(folder.join("config.json"), expected.path().join("config.json")).expect("a configuration");
    let stored = data("gradients/parameters").join(format!("{name}.safetensors"));
    std::fs::copy(stored, expected.path().join("model.safetensors")).expect("gradients");
    let expected = Model::load(expected.path()).expect("gradients that stand as the weights do");
    // 2. our own
    let options = Backward { parameters: true, ..Backward::default() };
    let mut score = |output: &Array| Ok(coefficients(&model, &inputs, output));
    let found = model.backward(&inputs, &Pass::keeping([Site::Logits]), &options, &mut score).expect("gradients");
    let found = found.parameters.expect("gradients of parameters");
    // 3. a number that stands at several places has the sum of what is there
    let weights = model.transformer().parameters();
    let (expected, found) = (expected.transformer().parameters(), found.parameters());
    let names = |all: &[Parameter<'_>]| all.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&expected), names(&weights), "{name}");
    assert_eq!(names(&found), names(&weights), "{name}");
    let mut problems = Vec::new();
    for (place, (weight, expected)) in weights.iter().zip(&expected).enumerate() {
        let alike = (0..weights.len()).filter(|other| weights[*other].numbers.values() == weight.numbers.values());
        let mut sum = vec![0.0; weight.numbers.len()];
        for other in alike.filter(|other| *other == place || is_shared(&weight.name, &weights[*other].name)) {
            sum.iter_mut().zip(found[other].numbers.values().iter()).for_each(|(sum, number)| *sum += number);
        }
        if weight.name.ends_with(".relative") {
            sum = by_bucket(&weight.numbers.values(), &sum);
        }
        // learnt rows before patches are read as a token and its position in one: each of the two has the gradient of the row
        let share = if weight.name.ends_with("embedding.leading") { 0.5 } else { 1.0 };
        let expected: Vec<f64> = expected.numbers.values().iter().map(|number| share * f64::from(*number)).collect();
        problems.extend(compare(&sum, &expected).err().map(|problem| format!("{}: {problem}", weight.name)));
    }
    problems
}

/// Whether two parameters of the same numbers are one: tables and the readout's matrix, and the same part of two blocks.
fn is_shared(one: &str, other: &str) -> bool {
    let is_table = |name: &str| name.ends_with("embedding.tokens") || name == "readout.output.weight";
    let part = |name: &str| {
        let (stack, rest) = name.split_once(".blocks.")?;
        Some((stack.to_owned(), rest.split_once('.')?.1.to_owned()))
    };
    is_table(one) && is_table(other) || part(one).is_some_and(|found| Some(found) == part(other))
}

/// What was summed for the offsets of a bucket together, at each of them: those whose numbers in the table are the same.
fn by_bucket(table: &[f32], sums: &[f32]) -> Vec<f32> {
    let of_bucket = |number: f32| table.iter().zip(sums).filter(move |(other, _)| **other == number);
    table.iter().map(|number| of_bucket(*number).map(|(_, sum)| sum).sum()).collect()
}
