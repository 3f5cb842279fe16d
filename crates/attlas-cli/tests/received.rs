//! `attlas draw received`: what tokens and spans receive, as a table, JSON and a picture; and spans that do not fit.

mod common;

use std::fs;
use std::path::Path;

use common::{Command, Finished, folder, recording};
use serde_json::Value;
use tempfile::TempDir;

/// A `.npy` file of f32.
fn npy(folder: &TempDir, name: &str, shape: &str, numbers: &[f32]) {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    let header = format!("{header:<117}\n"); // 10 bytes before it, a multiple of 64 together
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    fs::write(folder.path().join(name), file).expect("a file");
}

/// Two texts of a decoder of two layers with two heads, `run.safetensors`: head `h` of layer `l` gives text `t`'s first token
/// `(1 + l + h + t)/8` of each later query's weight, and the rest to the token itself.
fn decoder(texts: &[&str]) -> TempDir {
    let folder = folder();
    let n = 4;
    let mut numbers = Vec::new(); // [2 layers, texts, 2 heads, n, n]
    for (layer, text, head) in
        (0..2).flat_map(|layer| (0..texts.len()).flat_map(move |text| (0..2).map(move |head| (layer, text, head))))
    {
        let first = (1 + layer + head + text) as f32 / 8.0;
        for (query, key) in (0..n * n).map(|cell| (cell / n, cell % n)) {
            numbers.push(match (query, key) {
                (0, 0) => 1.0,
                (_, 0) => first,
                _ if query == key => 1.0 - first,
                _ => 0.0,
            });
        }
    }
    npy(&folder, "maps.npy", &format!("2, {}, 2, {n}, {n}", texts.len()), &numbers);
    let tokens = texts.iter().flat_map(|text| ["--target-tokens", text]);
    let words = ["import", "maps.npy", "--kind", "decoder", "-o", "run.safetensors"];
    Command::new(words.into_iter().chain(tokens)).in_folder(&folder).run().succeeds();
    folder
}

fn received(folder: &TempDir, words: &[&str]) -> Finished {
    Command::new(["draw", "received", "run.safetensors"].into_iter().chain(words.iter().copied()))
        .in_folder(folder)
        .run()
}

fn rows(finished: &Finished) -> Vec<Value> {
    serde_json::from_str(&finished.succeeds().stdout).expect("an array of rows")
}

fn near(found: &Value, expected: f64) {
    assert!(found.as_f64().is_some_and(|found| (found - expected).abs() < 1e-5), "{found}, not {expected}");
}

#[test]
fn column_means_and_the_share_of_a_span_are_those_that_numpy_computes() {
    // array.mean(0) and array[:, 0:4].sum(1) of one head
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/received.json");
    let case: Value = serde_json::from_slice(&fs::read(data).expect("the case")).expect("it is JSON");
    let numbers = |name: &str| -> Vec<f64> {
        case[name].as_array().expect("numbers").iter().map(|number| number.as_f64().expect("a number")).collect()
    };
    let folder = folder();
    let weights: Vec<f32> = numbers("weights").iter().map(|weight| *weight as f32).collect(); // [8, 8]
    npy(&folder, "maps.npy", "1, 1, 8, 8", &weights);
    let words = ["import", "maps.npy", "--kind", "encoder", "-o", "run.safetensors"];
    Command::new(words).in_folder(&folder).run().succeeds();
    let rows = rows(&received(&folder, &["--layer", "0", "--head", "0", "--span", "0:4", "--json"]));
    let span = rows.iter().find(|row| row["span"] == "0:4").expect("the span");
    for (found, expected) in span["by_query"].as_array().expect("a number per query").iter().zip(numbers("span_0_4")) {
        near(found, expected);
    }
    near(&span["score"], numbers("span_0_4").iter().sum::<f64>() / 8.0);
    let tokens: Vec<&Value> = rows.iter().filter(|row| row.get("token").is_some()).collect();
    assert_eq!(tokens.len(), 8);
    for (row, expected) in tokens.iter().zip(numbers("received")) {
        near(&row["score"], expected);
        near(&row["baseline"], 0.125);
    }
}

#[test]
fn a_row_of_json_says_map_token_score_baseline_interval_and_rows() {
    let folder = decoder(&["a b c d"]);
    let rows = rows(&received(&folder, &["--layer", "1", "--head", "0", "--json", "--span", "head=0:2"]));
    assert_eq!(rows.len(), 1 + 4);
    let [span, first, second, ..] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((&span["kind"], &span["layer"], &span["head"]), (&"decoder".into(), &1.into(), &0.into()));
    assert_eq!((&span["span"], &span["start"], &span["end"]), (&"head".into(), &0.into(), &2.into()));
    assert_eq!((&span["measure"], &span["n_rows"], &span["n_keys"]), (&"received".into(), &4.into(), &2.into()));
    // the first token: 1, then ¼ three times; the second: ¾ of its own row
    near(&first["score"], (1.0 + 0.75) / 4.0);
    near(&second["score"], 0.75 / 4.0);
    near(&second["score_where_seen"], 0.75 / 3.0);
    assert_eq!(second["n_where_seen"], 3);
    near(&second["baseline"], (0.5 + 1.0 / 3.0 + 0.25) / 4.0);
    near(&span["score"], (1.0 + 1.0 + 0.25 + 0.25) / 4.0);
    assert!(span["low"].as_f64() < span["score"].as_f64() && span["score"].as_f64() < span["high"].as_f64());
    assert_eq!(first["token"], "a");
}

#[test]
fn the_mean_over_heads_one_head_and_each_head_say_which_they_are() {
    let folder = decoder(&["a b c d"]);
    let heads = |words: &[&str]| -> Vec<String> {
        let rows = rows(&received(&folder, &[&["--json"], words].concat()));
        let first = rows.iter().filter(|row| row["start"] == 0);
        first.map(|row| format!("{}/{}", row["layer"], row["head"]).replace('"', "")).collect()
    };
    assert_eq!(heads(&[]), ["0/mean", "1/mean"]);
    assert_eq!(heads(&["--head", "1"]), ["0/1", "1/1"]);
    assert_eq!(heads(&["--head", "each"]), ["0/0", "0/1", "1/0", "1/1"]);
    let rows = rows(&received(&folder, &["--layer", "0", "--json"]));
    near(&rows[0]["score"], (1.0 + 3.0 * 0.1875) / 4.0); // the mean of ⅛ and ¼
}

#[test]
fn a_table_shows_spans_and_tokens_layer_by_layer_and_no_file_is_written() {
    let folder = decoder(&["a b c d"]);
    let run = received(&folder, &["--span", "rest=1:"]);
    run.succeeds();
    for part in
        ["decoder self-attention, mean over the heads of each layer: 4 queries", "uniform L0", "rest 1:4", "0 a"]
    {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    assert!(run.stdout.contains("0 a                    0.52    0.39    0.48"), "{}", run.stdout);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2, "maps and recording alone");
}

#[test]
fn the_table_of_one_map_says_what_each_query_gives_to_a_span() {
    let folder = decoder(&["a b c d"]);
    let run = received(&folder, &["--layer", "1", "--head", "0", "--span", "rest=1:", "--rows", "1:3"]);
    let queries = run.succeeds().stdout.split("query ").nth(1).expect("a part about queries");
    let lines: Vec<Vec<&str>> = queries.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[..3], [vec!["rest"], vec!["1", "b", "0.75"], vec!["2", "c", "0.75"]], "{}", run.stdout);
}

#[test]
fn texts_of_a_batch_stay_apart() {
    let folder = decoder(&["a b c d", "e f g h"]);
    let texts = |words: &[&str]| -> Vec<u64> {
        let rows = rows(&received(&folder, &[&["--json", "--layer", "0", "--head", "0"], words].concat()));
        let first = rows.iter().filter(|row| row["start"] == 0);
        first.map(|row| row["text"].as_u64().expect("a number")).collect()
    };
    assert_eq!((texts(&[]), texts(&["--text", "1"])), (vec![0, 1], vec![1]));
    let run = received(&folder, &[]);
    assert!(run.succeeds().stdout.contains("text 1 of 2, counted from 0: 4 queries"), "{}", run.stdout);
    received(&folder, &["-o", "picture.svg", "--text", "1"]).succeeds();
    let svg = fs::read_to_string(folder.path().join("picture.svg")).expect("the picture");
    assert!(svg.contains("text 1 of 2, counted from 0"), "{svg}");
    assert!(received(&folder, &["--text", "2"]).fails(2).contains("there is no text 2"));
}

#[test]
fn turns_of_a_chat_are_spans_unless_a_span_takes_their_name() {
    let folder = decoder(&["<|im_start|> user Hi <|im_end|>"]);
    let names = |words: &[&str]| -> Vec<String> {
        let run = received(&folder, &[&["--json", "--layer", "0"], words].concat());
        rows(&run).iter().filter_map(|row| Some(format!("{}: {}", row.get("span")?.as_str()?, row["n_keys"]))).collect()
    };
    assert_eq!(names(&[]), ["special: 2", "text: 2", "user 1: 2"]);
    assert_eq!(names(&["--span", "user 1=2"]), ["user 1: 1", "special: 2", "text: 2"]);
}

#[test]
fn what_a_reader_must_know_of_the_run_is_said_beside_the_table() {
    let folder = folder();
    let words = ["draw", "received", "The cat [INST] sat.", "--kind", "encoder", "--knock-out", "encoder:L0H1"];
    let run = Command::new(words).in_folder(&folder).run();
    run.succeeds();
    for said in
        ["L0H1 of encoder self-attention was knocked out", "are unknown to", "holds [INST], but the model's tokenizer"]
    {
        assert!(run.stderr.contains(said), "{said}: {}", run.stderr);
    }
}

#[test]
fn an_image_has_its_patches_as_a_span() {
    let folder = folder();
    npy(&folder, "maps.npy", "1, 1, 5, 5", &[0.2; 25]);
    let words = ["import", "maps.npy", "--kind", "encoder", "--image-grid", "2x2+1", "-o", "run.safetensors"];
    Command::new(words).in_folder(&folder).run().succeeds();
    let rows = rows(&received(&folder, &["--json"]));
    let patches = rows.iter().find(|row| row["span"] == "patches").expect("patches");
    near(&patches["score"], 0.8);
    assert_eq!(patches["start"], Value::Null);
}

#[test]
fn pictures_are_drawn_in_every_format_and_json_may_come_with_one() {
    let (folder, name) = recording("A red apple.");
    for output in ["a.svg", "a.pdf", "a.png"] {
        let run = Command::new(["draw", "received", &name, "--kind", "encoder", "--span", "x=0:2", "-o", output]);
        assert_eq!(run.in_folder(&folder).run().succeeds().stdout, format!("{output}\n"));
    }
    let svg = fs::read_to_string(folder.path().join("a.svg")).expect("the picture");
    for part in ["received, mean of 3 maps", ">x</text>", ">special</text>", "every one of them read"] {
        assert!(svg.contains(part), "{part}: {svg}");
    }
    let run = received(&folder, &["--head", "each", "--json", "-o", "b.svg"]);
    assert!(rows(&run).len() > 24 && folder.path().join("b.svg").exists());
}

#[test]
fn spans_that_do_not_fit_are_refused_in_a_sentence() {
    let folder = decoder(&["a b c d"]);
    for (words, message) in [
        (&["--span", "0:5"][..], "--span 0:5: tokens 0:5 are outside the keys, which are 0:4"),
        (&["--span", "x=4:"], "--span x: tokens 4: are outside the keys, which are 0:4"),
        (&["--span", "3:1"], "its end must be after its start"),
        (&["--span", "2:2"], "its end must be after its start"),
        (&["--span", "x=0:1", "--span", "x=1:2"], "two spans are named \"x\""),
        (&["--span", "0:1", "--span", "0:1"], "two spans are named \"0:1\""),
        (&["--span", "sink=0:1"], "choose another name"),
        (&["--rows", "2:9"], "rows 2:9 are outside the decoder map, whose rows are 0:4"),
        (&["--head", "4"], "has no head 4"),
        (&["--layer", "7"], "there is no decoder layer 7"),
        (&["--kind", "cross"], "the recording has no cross attention"),
        (&["--scale", "log"], "--scale is for a picture"),
        (&["-o", "a.txt"], "pictures are .svg, .pdf or .png files"),
        (&["-o", "run.safetensors.svg/a.svg"], "run.safetensors.svg"),
    ] {
        let run = received(&folder, words);
        let code = if message == "run.safetensors.svg" { 4 } else { 2 };
        assert!(run.fails(code).contains(message), "{words:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{words:?}");
    }
}

#[test]
fn overlapping_spans_are_measured_and_said_to_overlap() {
    let folder = decoder(&["a b c d"]);
    let run = received(&folder, &["--span", "x=0:2", "--span", "y=1:3"]);
    assert!(
        run.succeeds().stderr.contains("the spans x and y share tokens: their shares do not add up"),
        "{}",
        run.stderr
    );
}

#[test]
fn one_token_has_a_share_and_no_interval() {
    let folder = folder();
    npy(&folder, "maps.npy", "1, 1, 1, 1", &[1.0]);
    Command::new(["import", "maps.npy", "--kind", "decoder", "-o", "run.safetensors"])
        .in_folder(&folder)
        .run()
        .succeeds();
    let rows = rows(&received(&folder, &["--json"]));
    assert_eq!((&rows[0]["score"], &rows[0]["low"], &rows[0]["n_rows"]), (&1.0.into(), &Value::Null, &1.into()));
    received(&folder, &["-o", "one.png"]).succeeds();
}

#[test]
fn a_token_that_obeys_no_terminal_is_shown_and_written_inert() {
    let folder = decoder(&[r#"["a\u001b[31m","\u202eb","c","d"]"#]);
    let table = received(&folder, &[]);
    assert!(!table.succeeds().stdout.contains(['\u{1b}', '\u{202e}']), "{}", table.stdout);
    let json = received(&folder, &["--json"]);
    assert!(!json.stdout.contains(['\u{1b}', '\u{202e}']));
    assert!(rows(&json).iter().any(|row| row["token"] == "a\u{1b}[31m"));
}

#[test]
fn a_share_of_rows_that_are_no_numbers_is_absent_with_its_reason_and_the_checks_fail() {
    let folder = folder();
    npy(&folder, "maps.npy", "1, 1, 2, 2", &[0.25, 0.75, 0.5, 0.5]);
    Command::new(["import", "maps.npy", "--kind", "encoder", "-o", "run.safetensors"])
        .in_folder(&folder)
        .run()
        .succeeds();
    let path = folder.path().join("run.safetensors");
    let mut file = fs::read(&path).expect("the recording");
    let place = file.windows(4).position(|bytes| bytes == 0.75_f32.to_le_bytes()).expect("the weight");
    file[place..place + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, file).expect("a recording with a fault");

    let run = received(&folder, &["--json"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("encoder L0H0 fails its checks"), "{}", run.stderr);
    let rows: Vec<Value> = serde_json::from_str(&run.stdout).expect("an array of rows");
    // what no key gets, token 0, and token 1, whose column holds what is no number
    assert_eq!((&rows[0]["span"], &rows[0]["score"]), (&Value::from("nowhere"), &Value::Null));
    near(&rows[1]["score"], 0.375);
    assert_eq!((&rows[2]["score"], &rows[2]["low"]), (&Value::Null, &Value::Null));
    assert_eq!(rows[2]["absent"], "1 of 2 rows hold what is no finite number");
    let run = received(&folder, &["-o", "a.svg"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let svg = fs::read_to_string(folder.path().join("a.svg")).expect("the picture is written");
    assert!(svg.contains("fails its checks") && svg.contains("1 value is not a finite number"), "{svg}");
}

#[test]
fn the_picture_says_what_is_to_be_known_of_generated_tokens() {
    let folder = folder();
    let draw = |kind: &str| {
        let text = "The ghost haunted the old chapel.";
        Command::new(["draw", "received", text, "--kind", kind, "-o", "a.svg"]).in_folder(&folder).run().succeeds();
        fs::read_to_string(folder.path().join("a.svg")).expect("the picture is written")
    };
    assert!(draw("decoder").contains("found first"), "a text that took the place of another");
    assert!(!draw("encoder").contains("found first"), "its tokens were given");
}
