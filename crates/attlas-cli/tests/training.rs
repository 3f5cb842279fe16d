//! `train`, `evaluate` and `film` as a user runs them, on a toy language.

mod common;

use std::fs;
use std::process;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Command, folder};
use tempfile::TempDir;

/// English numbers become French ones, in reverse order: English a b c is French c b a.
fn toy_pairs(n_pairs: usize) -> String {
    let english = ["one", "two", "three", "four", "five", "six"];
    let french = ["un", "deux", "trois", "quatre", "cinq", "six"];
    let mut text = String::new();
    for pair in 0..n_pairs {
        let digits: Vec<usize> = (0..1 + pair % 4).map(|place| (pair / 4 + 5 * place + pair * place) % 6).collect();
        let source: Vec<&str> = digits.iter().map(|digit| english[*digit]).collect();
        let target: Vec<&str> = digits.iter().rev().map(|digit| french[*digit]).collect();
        text.push_str(&format!("{}\t{}\n", source.join(" "), target.join(" ")));
    }
    text
}

fn toy() -> TempDir {
    let folder = folder();
    fs::write(folder.path().join("train.tsv"), toy_pairs(240)).expect("the pairs are written");
    fs::write(folder.path().join("valid.tsv"), toy_pairs(24)).expect("the pairs are written");
    folder
}

/// A run of a small model on one thread, so that it repeats bit for bit.
fn train<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["train", "--pairs", "train.tsv", "--valid", "valid.tsv", "-o", output, "--threads", "1"];
    words.extend(["--d-model", "16", "--heads", "2", "--d-ff", "32", "--layers", "1", "--vocabulary", "60"]);
    words.extend(["--max-len", "32", "--batch-tokens", "64", "--part-tokens", "24", "--learning-rate", "0.02"]);
    words.extend(["--warm-up", "4", "--average", "0.5", "--validate-every", "10", "--sample", "one two"]);
    words.extend(more);
    words
}

#[test]
fn a_training_is_evaluated_run_and_filmed() {
    let folder = toy();
    let run = Command::new(train("out", &["--tokens", "2000", "--film", "3"])).in_folder(&folder).run();
    run.succeeds();
    assert!(run.stderr.contains("validation loss"), "{}", run.stderr);
    assert!(
        run.stdout.contains("best validation loss") && run.stdout.contains("the budget is used up"),
        "{}",
        run.stdout
    );

    let words = ["evaluate", "--model", "out", "--pairs", "valid.tsv", "--json"];
    let run = Command::new(words).in_folder(&folder).run();
    let figures: serde_json::Value = serde_json::from_str(&run.succeeds().stdout).expect("one JSON object");
    let loss = figures["loss_per_token"].as_f64().expect("a loss");
    assert!((figures["perplexity"].as_f64().expect("a perplexity") - loss.exp()).abs() < 1e-9);
    assert_eq!(figures["n_pairs"], 24);
    for name in ["token_accuracy", "bleu", "exact", "alignment_accuracy", "n_tokens"] {
        assert!(!figures[name].is_null(), "{name} is missing: {figures}");
    }
    // the same weights as at the last validation, so the same loss
    let log = fs::read_to_string(folder.path().join("out/log.jsonl")).expect("the log is there");
    let best = log
        .lines()
        .filter_map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON")["validation"]["loss"].as_f64()
        })
        .fold(f64::INFINITY, f64::min);
    assert!((best - loss).abs() < 1e-4, "{best} while training, {loss} afterwards");

    let run = Command::new(["one two", "--model", "out", "--no-page"]).in_folder(&folder).run();
    run.succeeds();
    for (name, start) in [("film.html", "<!"), ("film.svg", "<svg"), ("film.gif", "GIF89a")] {
        let run = Command::new(["film", "out", "one two three", "-o", name]).in_folder(&folder).run();
        assert!(run.succeeds().stdout.starts_with(&format!("{name}: 3 frames of")), "{}", run.stdout);
        let bytes = fs::read(folder.path().join(name)).expect("the film is there");
        assert!(bytes.starts_with(start.as_bytes()), "{name}");
    }
    let page = fs::read_to_string(folder.path().join("film.html")).expect("the page is there");
    assert!(page.contains("\"curves\":{\"axis\":\"training step (square-root scale)\""), "the page has the curves");
    curves_are_drawn_and_told(&folder);
    a_checkpoint_that_writes_nothing_is_said(&folder);
}

/// Spoils the last checkpoint of the training in `out`, so that it ends each sentence before it begins.
fn a_checkpoint_that_writes_nothing_is_said(folder: &TempDir) {
    let path = folder.path().join("out/film/002/model.safetensors");
    let mut bytes = fs::read(&path).expect("a checkpoint");
    let (n_header, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("safetensors");
    let bias = header.info("output_proj.bias").expect("it is there");
    assert_eq!(bias.dtype, safetensors::Dtype::F16);
    let end_token = 8 + n_header + bias.data_offsets.0 + 2 * 2;
    bytes[end_token..end_token + 2].copy_from_slice(&0x5640_u16.to_le_bytes()); // 100
    fs::write(&path, bytes).expect("written");
    for more in [["-o", "film.html"].as_slice(), &["--curves", "-o", "c.svg"]] {
        let run = Command::new(["film", "out", "one two"].iter().chain(more)).in_folder(folder).run();
        assert!(run.fails(3).contains("writes nothing for \"one two\"; give the film a target"), "{}", run.stderr);
    }
    let run = Command::new(["compare", "one two", "--model", "out/film/002", "--other-model", "out"]);
    let run = run.in_folder(folder).run();
    assert!(run.fails(3).contains("A writes nothing") && run.stderr.contains("--target"), "{}", run.stderr);
}

/// Curves of the training in `out`: pictures, words, and tables with the same numbers.
fn curves_are_drawn_and_told(folder: &TempDir) {
    let film = |words: &[&str]| Command::new([&["film", "out"], words].concat()).in_folder(folder).run();
    let curves = ["--curves", "--pairs", "valid.tsv"];
    for (name, start) in [("c.svg", "<svg"), ("c.pdf", "%PDF"), ("c.png", "PNG")] {
        let run = film(&[&curves[..], &["--measure", "broad", "-o", name]].concat());
        let said = &run.succeeds().stdout;
        assert!(said.starts_with(&format!("{name}: curves over 3 checkpoints\n")), "{said}");
        assert!(said.contains("Measured on 24 texts (encoder "), "{said}");
        let bytes = fs::read(folder.path().join(name)).expect("the picture is there");
        assert!(String::from_utf8_lossy(&bytes[..8]).contains(start), "{name}");
    }
    let run = film(&[&curves[..], &["--json"]].concat());
    let rows: Vec<serde_json::Value> = serde_json::from_str(&run.succeeds().stdout).expect("a JSON array");
    for row in &rows {
        assert_eq!(row["score"].is_null(), row["absent"].is_string(), "{row}");
        let fields =
            ["step", "kind", "layer", "head", "measure", "baseline", "low", "high", "n_rows", "threshold", "named"];
        assert!(fields.iter().all(|field| row.get(field).is_some()), "{row}");
    }
    let of = |measure: &str| rows.iter().filter(|row| row["measure"] == measure).count();
    assert_eq!((of("previous"), of("alignment")), (3 * 6, 3 * 2), "three moments of two heads of each kind");
    // the dictionary knows two to six
    let mut aligned = rows.iter().filter(|row| row["measure"] == "alignment");
    assert!(aligned.all(|row| row["baseline"].is_f64() && row["n_rows"].as_u64() > Some(20)), "{rows:?}");

    film(&[&curves[..], &["-o", "c.csv"]].concat()).succeeds();
    let table = fs::read_to_string(folder.path().join("c.csv")).expect("the table is there");
    assert_eq!(table.lines().count(), 1 + rows.len());
    let absent = rows.iter().filter_map(|row| row["absent"].as_str()).find(|reason| reason.contains(','));
    let quoted = format!(",\"{}\"", absent.expect("a reason with a comma"));
    assert!(table.lines().any(|line| line.ends_with(&quoted)), "{quoted}");
    film(&[&curves[..], &["-o", "c.json"]].concat()).succeeds();
    let written = fs::read(folder.path().join("c.json")).expect("the table is there");
    assert_eq!(serde_json::from_slice::<Vec<serde_json::Value>>(&written).expect("a JSON array"), rows);
    let second = table.lines().nth(1).expect("a row").split(',').collect::<Vec<_>>();
    assert_eq!((second[1], second[6].parse::<f64>().ok()), ("\"encoder\"", rows[0]["score"].as_f64()));

    // the text alone, and lines that the last model translates
    fs::write(folder.path().join("lines.txt"), "one two\nthree\n").expect("the lines are written");
    assert!(film(&["one two three", "--curves", "-o", "c.svg"]).succeeds().stdout.contains("Measured on 1 text ("));
    let run = film(&["--curves", "--lines", "lines.txt", "--measure", "self", "-o", "c.svg"]);
    assert!(run.succeeds().stdout.contains("Measured on 2 texts ("), "{}", run.stdout);

    fs::write(folder.path().join("lines.txt"), "one two\n\nthree\n").expect("the lines are written");
    let run = film(&["one two", "--lines", "lines.txt", "-o", "f.html"]);
    assert_eq!(run.code, Some(1), "an empty line is left out, of a page's curves, too: {}", run.stderr);

    assert!(film(&["one", "--curves", "--head", "cross:L0H1", "-o", "c.svg"]).fails(2).contains("--head"));
    assert!(film(&["--curves", "-o", "c.svg"]).fails(2).contains("give TEXT, --pairs FILE.tsv or --lines FILE"));
    assert!(
        film(&["one", "--curves", "-o", "c.gif"])
            .fails(2)
            .contains("curves are written as .parquet, .csv, .json, .svg, .pdf or .png")
    );
    assert!(film(&["one", "--pairs", "valid.tsv", "-o", "c.gif"]).fails(2).contains("add --curves"));
    assert!(film(&["--curves", "--pairs", "valid.tsv", "-o", "valid.tsv"]).fails(2).contains("this is the input"));
}

#[test]
fn options_that_vary_the_text_are_those_of_the_run_and_needed_to_go_on() {
    let folder = toy();
    let names = ["bpe-dropout", "lower-case", "upper-case", "drop-stop", "swap-names", "join"];
    let options = names.iter().enumerate().map(|(index, name)| format!("--{name}=0.{}", index + 1));
    let options: Vec<String> = options.collect();
    let mut more = vec!["--tokens", "500"];
    more.extend(options.iter().map(String::as_str));
    Command::new(train("out", &more)).in_folder(&folder).run().succeeds();
    let checkpoint = fs::read(folder.path().join("out/checkpoint.safetensors")).expect("a checkpoint");
    let start = String::from_utf8_lossy(&checkpoint[..4000]).replace('\\', "");
    for (index, name) in names.iter().enumerate() {
        let field = format!("\"{}\":0.{}", name.replace('-', "_"), index + 1);
        assert!(start.contains(&field), "{field}: {start}");
    }
    let run = Command::new(train("out", &["--tokens", "500", "--resume"])).in_folder(&folder).run();
    let said = run.fails(3);
    assert!(said.contains("variation.bpe_dropout is 0.1 there and 0.0 here"), "{said}");
    let run = Command::new(train("other", &["--join", "2"])).in_folder(&folder).run();
    assert!(run.fails(2).contains("the share that is joined is 2; it must be between 0 and 1"));
}

#[test]
fn a_killed_training_goes_on_to_the_same_result() {
    let folder = toy();
    let budget = ["--tokens", "20000", "--checkpoint-every", "0", "--quiet"];
    Command::new(train("whole", &budget)).in_folder(&folder).run().succeeds();

    let mut child = started(&folder, train("parts", &budget));
    let checkpoint = folder.path().join("parts/checkpoint.safetensors");
    wait_until(|| checkpoint.exists());
    child.kill().expect("it is killed");
    child.wait().expect("it is gone");
    assert!(checkpoint.exists(), "a checkpoint was written before the kill");

    let resumed: Vec<&str> = budget.into_iter().chain(["--resume"]).collect();
    Command::new(train("parts", &resumed)).in_folder(&folder).run().succeeds();
    let model = |name: &str| fs::read(folder.path().join(name).join("model.safetensors")).expect("a model");
    assert!(model("parts") == model("whole"), "the resumed run ended elsewhere");
}

/// The command, running.
fn started(folder: &TempDir, words: Vec<&str>) -> process::Child {
    process::Command::new(env!("CARGO_BIN_EXE_attlas"))
        .args(words)
        .current_dir(folder.path())
        .stdout(process::Stdio::piped())
        .stderr(process::Stdio::null())
        .spawn()
        .expect("the command starts")
}

fn wait_until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() && began.elapsed() < Duration::from_secs(120) {
        sleep(Duration::from_millis(5));
    }
}

/// Steps that the log tells of.
fn n_steps(folder: &TempDir, output: &str) -> usize {
    fs::read_to_string(folder.path().join(output).join("log.jsonl")).map_or(0, |log| log.lines().count())
}

#[test]
fn a_signal_to_end_leaves_a_checkpoint_and_nothing_half_written() {
    let folder = toy();
    let budget = ["--tokens", "20000", "--quiet"];
    Command::new(train("whole", &budget)).in_folder(&folder).run().succeeds();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let child = started(&folder, train(signal, &budget));
        wait_until(|| n_steps(&folder, signal) >= 2);
        let kill = format!("kill -{signal} {}", child.id());
        assert!(process::Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(code), "{signal}");
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(said.ends_with("stopped by a signal; --resume goes on\n"), "{said}");
        assert!(n_steps(&folder, signal) < n_steps(&folder, "whole"), "it ended before its budget");
        let left: Vec<_> = fs::read_dir(folder.path().join(signal))
            .expect("the folder is there")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .filter(|name| name.ends_with(".tmp"))
            .collect();
        assert!(left.is_empty(), "{left:?}");

        let resumed: Vec<&str> = budget.into_iter().chain(["--resume"]).collect();
        Command::new(train(signal, &resumed)).in_folder(&folder).run().succeeds();
        let model = |name: &str| fs::read(folder.path().join(name).join("model.safetensors")).expect("a model");
        assert!(model(signal) == model("whole"), "the resumed run ended elsewhere");
    }
}

#[test]
fn a_folder_is_held_by_one_training_and_a_killed_one_does_not_hold_it() {
    let folder = toy();
    let mut child = started(&folder, train("out", &["--tokens", "2000000000", "--quiet"]));
    wait_until(|| n_steps(&folder, "out") >= 1);
    let short = ["--tokens", "200", "--quiet"];
    for more in [vec![], vec!["--resume"]] {
        let words: Vec<&str> = short.into_iter().chain(more).collect();
        let run = Command::new(train("out", &words)).in_folder(&folder).run();
        assert!(run.fails(4).starts_with("out: another training is at work in this folder"), "{}", run.stderr);
    }
    child.kill().expect("it is killed");
    child.wait().expect("it is gone");
    let resumed: Vec<&str> = short.into_iter().chain(["--resume"]).collect();
    let run = Command::new(train("out", &resumed)).in_folder(&folder).run();
    assert!(run.fails(3).ends_with("begin the training anew (without --resume)"), "{}", run.stderr);
    Command::new(train("out", &short)).in_folder(&folder).run().succeeds();
}

#[test]
fn what_is_wrong_is_said_in_a_sentence_with_the_exit_code_of_its_sort() {
    let folder = toy();
    let run = |words: Vec<&str>| Command::new(words).in_folder(&folder).run();
    let missing = ["train", "--pairs", "none.tsv", "--valid", "valid.tsv", "-o", "out"];
    assert!(run(missing.to_vec()).fails(3).starts_with("none.tsv: cannot be read"));
    assert!(run(train("out", &["--dropout", "1"])).fails(2).starts_with("dropout is 1; it must be"));
    assert!(run(train("out", &["--memory-limit", "0"])).fails(5).contains("--memory-limit"));

    assert!(run(train("out", &["--film", "1000000"])).fails(5).ends_with("a training keeps 1000 at most (--film)"));
    let too_high = ["--learning-rate", "1e30", "--warm-up", "1", "--tokens", "300", "--batch-tokens", "4096"];
    // the words of `train` end with these; clap takes an option once
    let words = train("nan", &[]).into_iter().take_while(|word| *word != "--max-len");
    let words: Vec<&str> = words.chain(["--average", "0.5", "--quiet"]).chain(too_high).collect();
    let finished = run(words);
    let message = finished.fails(3);
    assert!(message.starts_with("step 1: the validation loss is NaN, nothing of it is kept"), "{message}");
    assert!(message.ends_with("(--learning-rate)"), "{message}");
    assert!(!folder.path().join("nan/model.safetensors").exists());

    fs::write(folder.path().join("bad.tsv"), format!("no tab\n{}", toy_pairs(24))).expect("the pairs are written");
    let words = vec!["evaluate", "--pairs", "bad.tsv"];
    let message = "bad.tsv, line 1: has no tab; a pair is SOURCE<tab>TARGET; 1 of 25 lines are no pairs (--skip-bad leaves them out)";
    assert_eq!(run(words).fails(3), message);

    assert!(run(vec!["film", "out", "one", "-o", "film.mp4"]).fails(2).contains(".html, .svg or .gif"));
    assert!(run(vec!["film", "out", "one", "-o", "film.svg", "--frames", "0"]).fails(2).contains("1 or larger"));
    let both = run(vec!["film", "out", "one", "--pairs", "p.tsv", "--curves", "--json"]);
    assert!(both.fails(2).contains("leave out TEXT or p.tsv"), "{}", both.stderr);
    assert!(run(vec!["film", "out", "one", "-o", "film.svg"]).fails(3).contains("train with --film 12"));
    assert!(!folder.path().join("film.svg").exists());
}

#[test]
fn bad_lines_are_skipped_and_counted_when_asked() {
    let folder = toy();
    fs::write(folder.path().join("train.tsv"), format!("no tab\n{}", toy_pairs(240))).expect("the pairs are written");
    let run = Command::new(train("out", &["--tokens", "200", "--quiet", "--skip-bad"])).in_folder(&folder).run();
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("left out 1 line that is no pair"), "{}", run.stderr);
}
