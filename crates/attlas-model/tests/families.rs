//! Every family against what transformers computes: attention of every head within 1e-5, logits and hidden states within
//! rtol 1e-5 + atol 2e-5, the same generated ids and beam scores, and step-by-step maps equal to one pass.
//!
//! `data/families/README.md` says what the cases hold; `tools/reference/families.py` makes them. `ATTLAS_CASE=bert` runs
//! the cases whose name contains `bert`.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attlas::{Kind, TokenRole, Tokens};
use attlas_model::family::{FAMILIES, table};
use attlas_model::{Array, Decoding, Input, LoadOptions, Look, Model, Pass, Run, RunOptions, Side, Site};
use common::{Expected, arrays, check_maps, data, largest_excess, reference};
use serde_json::Value;

/// Cases whose last hidden states transformers counts from after a projection that is part of attlas's readout.
const HIDDEN_AFTER_THE_READOUT: &[&str] = &["opt-350m"];

/// The folders of all cases.
fn cases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data("families")).expect("the cases");
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}

fn name(case: &Path) -> String {
    case.file_name().expect("a name").to_string_lossy().into_owned()
}

#[test]
fn every_family_equals_transformers() {
    let only = std::env::var("ATTLAS_CASE").unwrap_or_default();
    let cases: Vec<PathBuf> = cases().into_iter().filter(|case| name(case).contains(&only)).collect();
    assert!(!cases.is_empty());
    let problems = cases.iter().flat_map(|case| {
        let problems = check_case(case).unwrap_or_else(|problem| vec![problem]);
        problems.into_iter().map(|problem| format!("{}: {problem}", name(case)))
    });
    let problems: Vec<String> = problems.collect();
    assert!(problems.is_empty(), "{} differences in {} cases:\n{}", problems.len(), cases.len(), problems.join("\n"));
}

/// What is wrong with one case.
fn check_case(folder: &Path) -> Result<Vec<String>, String> {
    let about = std::fs::read(folder.join("expected.json")).map_err(|error| error.to_string())?;
    let about: Value = serde_json::from_slice(&about).map_err(|error| error.to_string())?;
    let expected = arrays(&folder.join("expected.safetensors"));
    if let Some((name, _)) = expected.iter().find(|(_, array)| array.values.iter().any(|value| !value.is_finite())) {
        return Err(format!("the reference {name} is not finite"));
    }
    let images = expected.keys().any(|name| name.contains(".image."));
    let options = LoadOptions { images, ..LoadOptions::default() };
    let model = Model::load_with(folder, &options).map_err(|error| error.to_string())?;
    let mut problems = Vec::new();
    for run in about["runs"].as_array().expect("runs").iter().filter_map(Value::as_str) {
        let case = Case { model: &model, name: name(folder), run, expected: &expected };
        let found = case.check().unwrap_or_else(|problem| vec![problem]);
        problems.extend(found.into_iter().map(|problem| format!("run {run}: {problem}")));
    }
    for generation in about["generations"].as_array().expect("generations") {
        if let Err(problem) = check_generation(&model, generation) {
            problems.push(format!("{}: {problem}", generation["method"].as_str().unwrap_or_default()));
        }
    }
    Ok(problems)
}

/// One run of one case.
struct Case<'a> {
    model: &'a Model,
    name: String,
    run: &'a str,
    expected: &'a BTreeMap<String, Expected>,
}

impl Case<'_> {
    /// What is wrong with the run.
    fn check(&self) -> Result<Vec<String>, String> {
        let (inputs, looks) = match self.model.sees_images() {
            true => reference::inputs_with_images(self.model, self.expected, self.run)?,
            false => (reference::inputs(self.model, self.expected, self.run)?, Vec::new()),
        };
        let mut pass = Pass::keeping([Site::Attention, Site::Values, Site::Logits, Site::Stream]);
        if self.expected.keys().any(|name| name.contains(".router.")) {
            pass.keep.extend(Pass::keeping([Site::Router]).keep);
        }
        let options = RunOptions { pass, ..RunOptions::default() };
        let found = self.model.run(&inputs, &options).map_err(|error| error.to_string())?;
        let mut problems = Vec::new();
        let mut n_compared = 0;
        for (name, expected) in self.expected {
            let Some(name) = name.strip_prefix(self.run).and_then(|name| name.strip_prefix('.')) else { continue };
            let result = match name.split('.').collect::<Vec<_>>()[..] {
                ["attentions", kind, layer] => {
                    let layer = layer.parse().map_err(|_| format!("{name} names no layer"))?;
                    check_maps(&found.recording, self.kind(kind), layer, expected).map(|_| ())
                }
                ["seen", image, layer] => {
                    let number = |text: &str| text.parse::<usize>().map_err(|_| format!("{name} names no layer"));
                    let look = looks.get(number(image)?).ok_or("there is no such image")?;
                    check_maps(&look.run.recording, Kind::Encoder, number(layer)?, expected).map(|_| ())
                }
                ["hidden", kind] => self.check_hidden(self.kind(kind), expected, &found),
                ["router", layer] => {
                    let layer = layer.parse().map_err(|_| format!("{name} names no layer"))?;
                    let shares = found.kept(Site::Router, Kind::Decoder, layer).ok_or("there are none")?;
                    check_rows(expected, shares, Some((Kind::Decoder, &found)))
                }
                ["logits"] => self.check_logits(expected, &found),
                ["boxes"] => {
                    let values = found.objects.iter().flatten().flat_map(|object| object.area).collect();
                    check_rows(
                        expected,
                        &Array { shape: vec![found.objects.len(), found.objects[0].len(), 4], values },
                        None,
                    )
                }
                _ => continue,
            };
            n_compared += 1;
            problems.extend(result.err().map(|problem| format!("{name}: {problem}")));
        }
        let n_layers =
            found.recording.layers.len() + looks.iter().map(|look| look.run.recording.layers.len()).sum::<usize>();
        if n_compared < n_layers {
            problems.push(format!("only {n_compared} arrays were compared for {n_layers} layers"));
        }
        Ok(problems)
    }

    fn kind(&self, name: &str) -> Kind {
        match name {
            "encoder" => Kind::Encoder,
            "cross" => Kind::Cross,
            "self" if !self.model.has(Side::Target) => Kind::Encoder,
            _ => Kind::Decoder,
        }
    }

    fn check_logits(&self, expected: &Expected, found: &Run) -> Result<(), String> {
        let logits = found.logits.as_ref().ok_or("there are none")?;
        let by_position = logits.shape.len() == 3 || (logits.shape.len() == 2 && self.scores_positions());
        let side = if self.model.has(Side::Target) { Kind::Decoder } else { Kind::Encoder };
        check_rows(expected, logits, by_position.then_some((side, found)))
    }

    /// Whether the model has one score per position, and not per class.
    fn scores_positions(&self) -> bool {
        matches!(self.model.transformer().architecture.readout, attlas_model::config::Readout::Positions { .. })
    }

    fn check_hidden(&self, kind: Kind, expected: &Expected, found: &Run) -> Result<(), String> {
        if HIDDEN_AFTER_THE_READOUT.contains(&self.name.as_str()) {
            return Ok(());
        }
        let mut hidden = found.kept.iter().filter(|kept| (kept.site, kept.kind) == (Site::Stream, kind));
        check_rows(expected, &hidden.next_back().ok_or("there are none")?.array, Some((kind, found)))
    }
}

/// Compares arrays of one shape, relative 1e-5 plus absolute 2e-5; where positions are an axis, on those that are no
/// padding.
fn check_rows(expected: &Expected, found: &Array, positions: Option<(Kind, &Run)>) -> Result<(), String> {
    if found.shape != expected.shape {
        return Err(format!("has shape {:?} instead of {:?}", found.shape, expected.shape));
    }
    let n_rows = if positions.is_some() { found.shape[0] * found.shape[1] } else { found.shape[0] };
    let width = found.values.len() / n_rows;
    for row in 0..n_rows {
        if let Some((kind, run)) = positions {
            let tokens: &Tokens = run.recording.items[row / found.shape[1]].queries(kind);
            if tokens.tokens[row % found.shape[1]].role == TokenRole::Padding {
                continue;
            }
        }
        let (found, expected) = (&found.values[row * width..][..width], &expected.values[row * width..][..width]);
        let (excess, column) = largest_excess(found, expected, 1e-5);
        if excess > 2e-5 {
            return Err(format!("row {row} column {column}: {} instead of {}", found[column], expected[column]));
        }
    }
    Ok(())
}

/// The generated ids, the score of beams, and the maps recorded step by step.
fn check_generation(model: &Model, generation: &Value) -> Result<(), String> {
    let ids = |name: &str| -> Vec<u32> {
        let ids = generation[name].as_array().into_iter().flatten();
        ids.map(|id| id.as_u64().expect("an id") as u32).collect()
    };
    let (prompt, expected) = (ids("prompt"), ids("ids"));
    let tokens = |side, ids: &[u32]| model.tokens_from_ids(side, ids).map_err(|error| error.to_string());
    let mut input = match generation["features"].as_array() {
        Some(rows) => features(model, rows)?,
        None if model.sees_images() => with_images(model, tokens(Side::Target, &prompt)?, &generation["images"])?,
        None if model.has(Side::Source) => Input { source: tokens(Side::Source, &prompt)?, ..Input::default() },
        None => Input { target: tokens(Side::Target, &prompt)?, ..Input::default() },
    };
    if model.has(Side::Source) {
        let start = if model.reads_sounds() { model.transcript_start(&input) } else { model.prompt_tokens("") };
        input.target = start.map_err(|error| error.to_string())?;
    }
    let max_tokens = generation["max_new_tokens"].as_u64().expect("a number") as usize;
    let decoding = match generation["method"].as_str() {
        Some("beam") => Decoding::Beam { width: generation["width"].as_u64().expect("a number") as usize, max_tokens },
        _ => Decoding::Greedy { max_tokens },
    };
    let options = RunOptions { decoding, ..RunOptions::default() };
    let run = model.run(std::slice::from_ref(&input), &options).map_err(|error| error.to_string())?;
    let new = &run.generated[0].tokens.tokens;
    let found: Vec<u32> = input.target.tokens.iter().chain(new).filter_map(|token| token.id).collect();
    if found != expected {
        return Err(format!("generated {found:?} instead of {expected:?}"));
    }
    if let Some(score) = generation["score"].as_f64()
        && (score - f64::from(run.generated[0].score)).abs() > 1e-4
    {
        return Err(format!("score {} instead of {score}", run.generated[0].score));
    }
    check_stitched(model, &input, &run)
}

/// A prompt with its images.
fn with_images(model: &Model, tokens: Tokens, images: &Value) -> Result<Input, String> {
    let images = images.as_array().into_iter().flatten().filter_map(Value::as_array);
    let look = |image: &Vec<Value>| {
        let Array { shape, values } = array(image);
        let values = values.into_iter().map(f64::from).collect();
        reference::look(model, &Expected { shape: shape[1..].to_vec(), values })
    };
    let looks: Vec<Look> = images.map(look).collect::<Result<_, String>>()?;
    model.with_images(tokens, &looks).map_err(|error| error.to_string())
}

/// An array of an input.
fn features(model: &Model, rows: &[Value]) -> Result<Input, String> {
    model.features_input(array(rows)).map_err(|error| error.to_string())
}

/// An array, axis by axis.
fn array(rows: &[Value]) -> Array {
    let (mut shape, mut values) = (Vec::new(), vec![Value::from(rows.to_vec())]);
    while let Some(Value::Array(first)) = values.first() {
        shape.push(first.len());
        values = values.iter().flat_map(|value| value.as_array().into_iter().flatten()).cloned().collect();
    }
    Array { shape, values: values.iter().map(|number| number.as_f64().expect("a number") as f32).collect() }
}

/// What was recorded step by step is what one pass over the same tokens records.
fn check_stitched(model: &Model, input: &Input, run: &Run) -> Result<(), String> {
    let item = &run.recording.items[0];
    let whole = Input { target: item.target.clone(), ..input.clone() };
    let again = model.run(&[whole], &RunOptions::default()).map_err(|error| error.to_string())?;
    for layer in &run.recording.layers {
        for head in 0..layer.shape.n_heads {
            let map = |recording: &attlas::Recording| -> Vec<f32> {
                recording.map(0, layer.kind, layer.index, head).expect("the head").dense()
            };
            let expected: Vec<f64> = map(&again.recording).into_iter().map(f64::from).collect();
            let (excess, _) = largest_excess(&map(&run.recording), &expected, 0.0);
            if excess > 1e-5 {
                return Err(format!("{} L{}H{head} differs by {excess} from one pass", layer.kind, layer.index));
            }
        }
    }
    Ok(())
}

#[test]
fn weights_that_are_no_function_of_queries_and_keys_are_recorded_dense_said_and_limited() {
    let model = Model::load(&data("families").join("deberta-v3-classifier")).expect("a model");
    let input = |n: usize| Input {
        source: model.tokens_from_ids(Side::Source, &vec![5; n]).expect("tokens"),
        ..Input::default()
    };
    let options = RunOptions { pass: Pass::keeping([Site::Attention, Site::Values]), ..RunOptions::default() };
    let recording = model.run(&[input(4)], &options).expect("a run").recording;
    assert!(recording.layers.iter().all(|layer| matches!(layer.weights, attlas::Weights::Dense(_))));
    let has_values = |layer: &attlas::Layer| {
        layer
            .traces
            .get(attlas::Trace::Values)
            .is_some_and(|all| all.read_all().unwrap().iter().any(|value| *value != 0.0))
    };
    assert!(recording.layers.iter().all(has_values));
    assert!(
        recording.provenance.notes.iter().any(|note| note.contains("recorded dense")),
        "{:?}",
        recording.provenance
    );
    assert!(recording.check().expect("a check").iter().all(|check| check.max_row_error < 1e-5));
    let error = model.run(&[input(20_000)], &RunOptions::default()).expect_err("a refusal");
    assert!(matches!(error, attlas_model::Error::Limit(_)) && error.to_string().contains("20000 tokens"), "{error}");
}

#[test]
fn a_bias_of_each_key_is_in_the_recording_its_file_and_the_scores() {
    let model = Model::load(&data("families").join("falcon-rw-24-heads")).expect("a model");
    let input =
        |ids: &[u32]| Input { target: model.tokens_from_ids(Side::Target, ids).expect("tokens"), ..Input::default() };
    let inputs = [input(&[5, 9, 30, 7, 11, 40]), input(&[8, 6, 21])];
    let options = RunOptions { pass: Pass::keeping([Site::Attention, Site::Scores]), ..RunOptions::default() };
    let run = model.run(&inputs, &options).expect("a run");
    let scores = &run.kept(Site::Scores, Kind::Decoder, 0).expect("scores").values;
    let bytes = std::sync::Arc::new(run.recording.to_bytes().expect("bytes"));
    let read = attlas::Recording::from_bytes(bytes).expect("a recording");
    for (item, head) in [(0, 0), (0, 17), (1, 0), (1, 23)] {
        let weights = read.map(item, Kind::Decoder, 0, head).expect("a map").dense();
        for (query, weights) in weights.chunks_exact(6).enumerate().take(3) {
            let scores = &scores[((item * 24 + head) * 6 + query) * 6..][..=query];
            let sum: f64 = scores.iter().map(|score| f64::from(*score).exp()).sum();
            for (weight, score) in weights.iter().zip(scores) {
                assert!((f64::from(*weight) - f64::from(*score).exp() / sum).abs() < 1e-5, "text {item} head {head}");
            }
        }
    }
}

#[test]
fn a_generation_is_that_of_whole_passes_beyond_the_length_at_which_phi_3_changes_its_frequencies() {
    let model = Model::load(&data("families").join("phi3-longrope")).expect("a model");
    let input =
        |ids: &[u32]| Input { target: model.tokens_from_ids(Side::Target, ids).expect("tokens"), ..Input::default() };
    // 16 positions are what it was trained for
    let mut ids: Vec<u32> = (0..10).map(|place| 5 + place * 7 % 41).collect();
    for decoding in [Decoding::Greedy { max_tokens: 12 }, Decoding::Beam { width: 1, max_tokens: 12 }] {
        ids.truncate(10);
        let options = RunOptions { decoding, pass: Pass::keeping([Site::Attention]) };
        let run = model.run(&[input(&ids)], &options).expect("a run");
        let written = run.generated[0].tokens.tokens.iter().filter_map(|token| token.id).collect::<Vec<u32>>();
        assert!(ids.len() + written.len() > 18, "{written:?}");
        let options = RunOptions { pass: Pass::keeping([Site::Attention, Site::Logits]), ..RunOptions::default() };
        for (place, id) in written.iter().enumerate() {
            let whole = model.run(&[input(&ids)], &options).expect("a run");
            let logits = whole.logits.expect("they were kept");
            let last = &logits.values[logits.values.len() - logits.shape[2]..];
            let best = (0..last.len()).max_by(|a, b| last[*a].total_cmp(&last[*b])).expect("a logit");
            assert_eq!(best as u32, *id, "token {place}");
            ids.push(*id);
        }
        ids.pop();
        let whole = model.run(&[input(&ids)], &options).expect("a run");
        for layer in &whole.recording.layers {
            let map = |run: &Run| run.recording.map(0, layer.kind, layer.index, 0).expect("a map").dense();
            let worst = map(&run).iter().zip(map(&whole)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-5, "layer {}: off by {worst}", layer.index);
        }
    }
}

#[test]
fn a_text_has_the_maps_it_has_alone_where_rotary_frequencies_depend_on_its_length() {
    for case in ["llama-dynamic", "phi3-longrope"] {
        let model = Model::load(&data("families").join(case)).expect("a model");
        // 16 positions are what both were trained for
        let input = |n: u32| Input {
            target: model
                .tokens_from_ids(Side::Target, &(0..n).map(|place| 5 + place * 7 % 41).collect::<Vec<_>>())
                .expect("tokens"),
            ..Input::default()
        };
        let inputs = [input(5), input(30), input(21), input(16)];
        let options = RunOptions { pass: Pass::keeping([Site::Attention, Site::Logits]), ..RunOptions::default() };
        let together = model.run(&inputs, &options).expect("a run");
        for (item, input) in inputs.iter().enumerate() {
            let alone = model.run(std::slice::from_ref(input), &options).expect("a run");
            let n = input.target.len();
            for layer in &alone.recording.layers {
                for head in 0..layer.shape.n_heads {
                    let map = |run: &Run, item| {
                        run.recording.map(item, layer.kind, layer.index, head).expect("a map").dense()
                    };
                    let (found, expected) = (map(&together, item), map(&alone, 0));
                    for query in 0..n {
                        let expected: Vec<f64> = expected[query * n..][..n].iter().copied().map(f64::from).collect();
                        let (excess, key) = largest_excess(&found[query * 30..][..n], &expected, 0.0);
                        assert!(excess < 1e-6, "{case}: text {item} row {query} column {key} differs by {excess}");
                    }
                }
            }
        }
    }
}

#[test]
fn generation_ends_where_the_positions_end_and_says_so() {
    let model = Model::load(&data("families").join("opt")).expect("a model");
    let decoding = Decoding::Greedy { max_tokens: 100 };
    // 40 positions, of which 35 are taken; some texts come to an end of their own before
    let longest = (4..48).map(|id| {
        let target = model.tokens_from_ids(Side::Target, &[id; 35]).expect("tokens");
        let options = RunOptions { decoding, ..RunOptions::default() };
        model.run(&[Input { target, ..Input::default() }], &options).expect("a run")
    });
    let longest = longest.max_by_key(|run| run.generated[0].tokens.len()).expect("a run");
    assert_eq!(longest.generated[0].tokens.len(), 5);
    assert!(longest.recording.provenance.notes.iter().any(|note| note.contains("takes up the 40 positions")));
    let full = Input { target: model.tokens_from_ids(Side::Target, &[5; 40]).expect("tokens"), ..Input::default() };
    let run = model.run(std::slice::from_ref(&full), &RunOptions::default()).expect("a run");
    assert!(run.recording.provenance.notes.iter().any(|note| note.contains("takes up the 40 positions")));
    let error = model.run(&[full], &RunOptions { decoding, ..RunOptions::default() }).expect_err("a refusal");
    assert!(error.to_string().contains("as many as opt has positions"), "{error}");
}

#[test]
fn the_registry_names_every_case_that_is_tested() {
    let named: Vec<&str> = FAMILIES.iter().flat_map(|family| family.tested).map(|(case, _)| *case).collect();
    for case in cases() {
        assert!(named.contains(&name(&case).as_str()), "{} is in no family's `tested`", name(&case));
    }
    for case in named {
        assert!(data("families").join(case).is_dir(), "a family's `tested` names {case}, which is not there");
    }
}

#[test]
fn the_table_in_the_readme_is_the_registrys() {
    const START: &str = "<!-- models -->\n";
    const END: &str = "<!-- /models -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(&path).expect("README.md");
    let start = readme.find(START).expect("the start marker") + START.len();
    let end = readme.find(END).expect("the end marker");
    let table = table();
    if std::env::var_os("ATTLAS_ACCEPT").is_some() {
        std::fs::write(&path, format!("{}{table}{}", &readme[..start], &readme[end..])).expect("README.md is writable");
        return;
    }
    assert!(readme[start..end] == table, "run this test once with ATTLAS_ACCEPT=1; the table should be\n{table}");
}
