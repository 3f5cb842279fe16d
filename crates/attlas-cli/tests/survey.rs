//! Surveys of small corpora by the command: what they hold, that they go on after any end, and that parts merge exactly.

mod common;

use std::fs;
use std::path::Path;
use std::process;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use common::{Command, folder};

/// Sixteen pairs for the embedded translator.
fn pairs() -> String {
    let (who, what) =
        (["The cat", "A woman", "My friend", "The old man"], ["sleeps", "is here", "eats bread", "sings"]);
    let (qui, quoi) =
        (["Le chat", "Une femme", "Mon ami", "Le vieil homme"], ["dort", "est ici", "mange du pain", "chante"]);
    let pair =
        |n: usize| format!("{} {}, you know.\t{} {}, tu sais.\n", who[n / 4], what[n % 4], qui[n / 4], quoi[n % 4]);
    (0..16).map(pair).collect()
}

/// A folder with those pairs.
fn corpus() -> TempDir {
    let folder = folder();
    fs::write(folder.path().join("pairs.tsv"), pairs()).expect("it is written");
    folder
}

/// The words of a survey of the pairs, in batches of few texts.
fn survey<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["survey", "pairs.tsv", "-o", output, "--window", "6", "--batch-tokens", "90", "--save-every", "0"];
    fixed.into_iter().chain(more.iter().copied()).collect()
}

fn bytes(folder: &TempDir, name: &str) -> Vec<u8> {
    fs::read(folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The command, running.
fn started(folder: &TempDir, words: &[&str]) -> process::Child {
    let silent = process::Stdio::null;
    let mut command = process::Command::new(env!("CARGO_BIN_EXE_attlas"));
    command.args(words).current_dir(folder.path()).stdout(silent()).stderr(process::Stdio::piped());
    command.spawn().expect("the command starts")
}

/// After how many texts a survey said that it goes on.
fn n_gone_on_after(stderr: &str) -> Option<u64> {
    stderr.split("going on after ").nth(1)?.split(' ').next()?.parse().ok()
}

/// The rows that `--json` prints.
fn rows(stdout: &str) -> Vec<Value> {
    match serde_json::from_str(stdout).expect("it is JSON") {
        Value::Array(rows) => rows,
        other => panic!("{other}"),
    }
}

#[test]
fn a_corpus_gives_a_row_for_each_head_and_measure_with_its_examples() {
    let folder = corpus();
    let json = Command::new(survey("a.parquet", &["--json"])).in_folder(&folder).run();
    let rows = rows(&json.succeeds().stdout);
    let previous: Vec<&Value> =
        rows.iter().filter(|row| row["measure"] == "previous" && row["kind"] == "encoder").collect();
    assert!(previous.len() >= 8 && previous.iter().all(|row| row["score"].as_f64().is_some()), "{previous:?}");
    for row in &previous {
        let [low, score, high] = ["low", "score", "high"].map(|name| row[name].as_f64().expect("a number"));
        assert!(low <= score && score <= high, "{row}");
        let examples = &row["examples"];
        let scores: Vec<f64> =
            examples.as_array().expect("examples").iter().map(|one| one["score"].as_f64().expect("a score")).collect();
        assert!(scores.len() == 5 && scores.is_sorted_by(|a, b| a >= b) && scores[0] >= score, "{row}");
        assert!(
            examples[0]["place"]["query_token"].is_string()
                && examples[0]["text"].as_str().is_some_and(|text| text.contains('\t'))
        );
    }
    let rare = rows.iter().find(|row| row["measure"] == "rare").expect("it is looked for");
    assert!(rare["score"].is_null() && rare["absent"].as_str().is_some_and(|why| why.contains("counts")), "{rare}");
    assert!(!folder.path().join("a.parquet.state").exists(), "the state is gone");

    let text = Command::new(survey("a.parquet", &[])).in_folder(&folder).run();
    assert!(text.succeeds().stdout.contains("on 16 texts in"), "{}", text.stdout);
}

#[test]
fn parts_merge_in_any_order_to_the_bytes_of_the_whole_whatever_their_batches() {
    let folder = corpus();
    Command::new(survey("whole.parquet", &[])).in_folder(&folder).run().succeeds();
    for (index, batch) in ["1/3", "2/3", "3/3"].into_iter().zip(["60", "1000000", "200"]) {
        let output = format!("{}.parquet", &index[..1]);
        let words =
            ["survey", "pairs.tsv", "-o", &output, "--shards", index, "--batch-tokens", batch, "--threads", "1"];
        Command::new(words).in_folder(&folder).run().succeeds();
    }
    for order in [["1.parquet", "2.parquet", "3.parquet"], ["3.parquet", "1.parquet", "2.parquet"]] {
        let words = ["survey", "merge"].into_iter().chain(order).chain(["-o", "merged.parquet"]);
        let merged = Command::new(words).in_folder(&folder).run();
        assert_eq!(merged.succeeds().stderr, "");
        assert!(bytes(&folder, "merged.parquet") == bytes(&folder, "whole.parquet"), "{order:?}");
    }
    // a merged survey merges on, and what overlaps is said
    let again =
        Command::new(["survey", "merge", "merged.parquet", "1.parquet", "-o", "more.csv"]).in_folder(&folder).run();
    assert!(
        again.succeeds().stderr.contains("has texts of pairs.tsv that an earlier survey has, too"),
        "{}",
        again.stderr
    );
    assert!(String::from_utf8(bytes(&folder, "more.csv")).expect("text").starts_with("kind,layer,head,measure,"));
    let twice = Command::new(["survey", "merge", "1.parquet", "1.parquet", "-o", "x.parquet"]).in_folder(&folder).run();
    assert_eq!(twice.fails(2), "1.parquet is given twice; its texts would count twice");
    let before = bytes(&folder, "1.parquet");
    let onto = Command::new(["survey", "merge", "1.parquet", "2.parquet", "-o", "1.parquet"]).in_folder(&folder).run();
    assert!(onto.fails(2).contains("-o 1.parquet: this is the input, which would be lost"), "{}", onto.stderr);
    assert!(bytes(&folder, "1.parquet") == before);
}

#[test]
fn a_survey_killed_at_twenty_random_moments_has_the_bytes_of_one_that_was_left_alone() {
    let folder = corpus();
    let began = Instant::now();
    Command::new(survey("whole.parquet", &["--threads", "1"])).in_folder(&folder).run().succeeds();
    let whole = began.elapsed();
    let mut random = 7_u64;
    let (mut n_kills, mut n_outputs, mut n_gone_on, mut n_before, mut n_advanced) = (0, 0, 0, 0, 0);
    while n_kills < 20 {
        let output = format!("{n_outputs}.parquet");
        let mut child = started(&folder, &survey(&output, &[]));
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        sleep(whole.mul_f64((random >> 33) as f64 / (1_u64 << 31) as f64));
        n_kills += u32::from(child.try_wait().expect("it can be asked").is_none());
        let _ = child.kill(); // one that is done cannot be killed
        let ended = child.wait_with_output().expect("it is gone");
        if let Some(n_texts) = n_gone_on_after(&String::from_utf8_lossy(&ended.stderr)) {
            assert!(n_texts >= n_before, "{n_texts} texts after {n_before}");
            n_advanced += u32::from(n_texts > n_before);
            (n_gone_on, n_before) = (n_gone_on + 1, n_texts);
        }
        if folder.path().join(&output).exists() && !folder.path().join(format!("{output}.state")).exists() {
            assert!(bytes(&folder, &output) == bytes(&folder, "whole.parquet"), "after {n_kills} kills");
            (n_outputs, n_before) = (n_outputs + 1, 0);
        }
    }
    let output = format!("{n_outputs}.parquet");
    Command::new(survey(&output, &[])).in_folder(&folder).run().succeeds();
    assert!(bytes(&folder, &output) == bytes(&folder, "whole.parquet"));
    assert!(n_gone_on > 3, "{n_gone_on} runs went on where another was killed");
    assert!(n_advanced > 3, "{n_advanced} of {n_gone_on} runs went on after more texts than the one before");
}

#[test]
fn a_signal_saves_the_state_and_only_the_same_survey_goes_on_from_it() {
    let folder = corpus();
    Command::new(survey("whole.parquet", &[])).in_folder(&folder).run().succeeds();
    let child = started(&folder, &survey("a.parquet", &[]));
    let state = folder.path().join("a.parquet.state");
    let began = Instant::now();
    while !state.exists() && began.elapsed() < Duration::from_secs(120) {
        sleep(Duration::from_millis(2));
    }
    let kill = format!("kill -INT {}", child.id());
    assert!(process::Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
    let ended = child.wait_with_output().expect("it ends");
    let said = String::from_utf8(ended.stderr).expect("UTF-8");
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("; the same command goes on from there"), "{said}");

    let with_other = Command::new(survey("a.parquet", &["--limit", "7"])).in_folder(&folder).run();
    let message = with_other.fails(3);
    assert!(
        message.contains("was begun with another --window, --batch-tokens, --limit or --shards; --restart"),
        "{message}"
    );
    let merged = Command::new(["survey", "merge", "a.parquet.state", "-o", "m.parquet"]).in_folder(&folder).run();
    assert!(merged.fails(3).contains("is a survey that is not done"));
    let gone_on = Command::new(survey("a.parquet", &[])).in_folder(&folder).run();
    assert!(gone_on.succeeds().stderr.contains("going on after"), "{}", gone_on.stderr);
    assert!(bytes(&folder, "a.parquet") == bytes(&folder, "whole.parquet"));
}

#[test]
fn a_survey_whose_output_cannot_be_written_goes_on_when_it_can() {
    let folder = corpus();
    Command::new(survey("whole.parquet", &[])).in_folder(&folder).run().succeeds();
    let child = started(&folder, &survey("a.parquet", &[]));
    let (output, state) = (folder.path().join("a.parquet"), folder.path().join("a.parquet.state"));
    let began = Instant::now();
    while !state.exists() && began.elapsed() < Duration::from_secs(120) {
        sleep(Duration::from_millis(2));
    }
    fs::create_dir(&output).expect("the survey is not done");
    fs::write(output.join("in the way"), "").expect("it is written");
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(4), "{}", String::from_utf8_lossy(&ended.stderr));
    fs::remove_dir_all(&output).expect("it is gone");
    let gone_on = Command::new(survey("a.parquet", &[])).in_folder(&folder).run();
    assert!(gone_on.succeeds().stderr.contains("going on after 16 texts"), "{}", gone_on.stderr);
    assert!(bytes(&folder, "a.parquet") == bytes(&folder, "whole.parquet"));
}

#[test]
fn of_one_text_no_head_is_named_whatever_its_measure() {
    let folder = corpus();
    let json = Command::new(survey("a.parquet", &["--limit", "1", "--json"])).in_folder(&folder).run();
    let rows = rows(&json.succeeds().stdout);
    let is_high = |row: &&Value| row["measure"] == "broad" && row["score"].as_f64() >= row["threshold"].as_f64();
    assert!(rows.iter().any(|row| is_high(&row)), "a head is broad on this text");
    assert!(rows.iter().all(|row| row["low"].is_null() && row["named"] == false));
    let text = Command::new(survey("a.parquet", &["--limit", "1"])).in_folder(&folder).run();
    assert!(
        text.succeeds().stdout.contains("No head is named: the texts are too few for intervals."),
        "{}",
        text.stdout
    );
    let said: Vec<String> = ["1/64", "2/64", "3/64", "4/64", "5/64", "6/64"]
        .map(|part| Command::new(survey("b.parquet", &["--shards", part])).in_folder(&folder).run())
        .map(|run| run.succeeds().stdout.clone())
        .into();
    let empty = said.iter().find(|said| said.contains("on 0 texts")).expect("most shards have none of sixteen texts");
    assert!(empty.contains("This part of the corpus has no texts, so nothing was measured."), "{empty}");
}

#[test]
fn batches_of_texts_of_many_lengths_leave_the_bytes_alone() {
    let folder = folder();
    let pair = |n: usize| format!("The cat{}.\tLe chat{}.\n", " sleeps".repeat(n), " dort".repeat(n));
    fs::write(folder.path().join("pairs.tsv"), [1, 9, 2, 90, 5, 30, 3].map(pair).concat()).expect("it is written");
    // at a precision that is had from matrix units, too: the way is chosen for a run, not for a number of rows
    for precision in ["exact", "high"] {
        for (name, tokens) in [("alone.parquet", "1"), ("together.parquet", "1000000")] {
            let words = ["survey", "pairs.tsv", "-o", name, "--batch-tokens", tokens, "--precision", precision];
            Command::new(words).in_folder(&folder).run().succeeds();
        }
        assert!(bytes(&folder, "alone.parquet") == bytes(&folder, "together.parquet"), "{precision}");
    }
}

#[test]
fn the_first_small_batch_is_saved_whatever_the_interval() {
    let folder = corpus();
    let words = |name| ["survey", "pairs.tsv", "-o", name, "--save-every", "3600"];
    Command::new(words("whole.parquet")).in_folder(&folder).run().succeeds();
    let mut child = started(&folder, &words("a.parquet"));
    let state = folder.path().join("a.parquet.state");
    let began = Instant::now();
    while !state.exists() && began.elapsed() < Duration::from_secs(120) {
        sleep(Duration::from_millis(2));
    }
    child.kill().expect("it is not done");
    child.wait().expect("it is gone");
    assert!(state.exists(), "it was killed before its end");
    let gone_on = Command::new(words("a.parquet")).in_folder(&folder).run();
    let said = &gone_on.succeeds().stderr;
    let n_done = n_gone_on_after(said).unwrap_or_else(|| panic!("{said}"));
    assert!((1..16).contains(&n_done), "{n_done} of 16 texts");
    assert!(bytes(&folder, "a.parquet") == bytes(&folder, "whole.parquet"));
}

#[test]
fn of_pairs_words_are_held_against_the_dictionary() {
    let folder = corpus();
    let alignment = |words: &[&str]| {
        let run = Command::new(words.iter().copied()).in_folder(&folder).run();
        let mut found = rows(&run.succeeds().stdout);
        found.retain(|row| row["measure"] == "alignment" && row["kind"] == "cross");
        found.sort_by_key(|row| (row["layer"].as_u64(), row["head"].as_u64()));
        found.iter().map(|row| (row["score"].as_f64(), row["n_rows"].as_u64())).collect::<Vec<_>>()
    };
    let of_survey = alignment(&survey("a.parquet", &["--json"]));
    assert!(!of_survey.is_empty() && of_survey.iter().all(|(score, _)| score.is_some()), "{of_survey:?}");
    assert_eq!(of_survey, alignment(&["heads", "pairs.tsv", "--json"]), "as attlas heads scores them");
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_no_survey() {
    let folder = corpus();
    let made = process::Command::new("mkfifo").arg(folder.path().join("a.parquet")).status().expect("it is there");
    assert!(made.success());
    let merged = Command::new(["survey", "merge", "a.parquet", "-o", "m.parquet"]).in_folder(&folder).run();
    assert_eq!(merged.fails(3), "a.parquet: is not a regular file");
}

#[test]
fn lines_json_and_trees_of_the_same_texts_score_the_same() {
    let folder = folder();
    let texts = ["The cat sleeps.", "A woman is here."];
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).expect("it is written");
    write("a.txt", texts.map(|text| format!("{text}\r\n\n")).concat());
    write("a.jsonl", texts.map(|text| format!("{{\"id\": 1, \"words\": \"{text}\"}}\n")).concat());
    let tree = |text: &str| {
        let words = text.trim_end_matches('.').split(' ').chain(["."]).enumerate();
        let line = |(n, word): (usize, &str)| {
            let space = if text.contains(&format!("{word}.")) { "SpaceAfter=No" } else { "_" };
            format!("{}\t{word}\t_\t_\t_\t_\t{n}\t{}\t_\t{space}\n", n + 1, if n == 0 { "root" } else { "dep" })
        };
        format!("# text = {text}\n{}\n", words.map(line).collect::<String>())
    };
    write("a.conllu", texts.map(tree).concat());
    let scores = |name: &str| {
        let field: &[&str] = if name.ends_with(".jsonl") { &["--field", "words"] } else { &[] };
        let words = ["survey", name, "-o", "a.json", "--max-tokens", "3"];
        Command::new(words.iter().chain(field).copied()).in_folder(&folder).run().succeeds();
        bytes(&folder, "a.json")
    };
    let of_lines = scores("a.txt");
    assert!(scores("a.jsonl") == of_lines && scores("a.conllu") == of_lines);
}

#[test]
fn texts_that_cannot_be_used_are_skipped_and_listed() {
    let folder = corpus();
    let mut all = pairs().into_bytes();
    all.extend_from_slice(b"no pair\n\nThe c\xffat.\tLe chat.\n");
    all.extend_from_slice(format!("{}\tLe chat.\n", "The cat ".repeat(40)).as_bytes());
    fs::write(folder.path().join("pairs.tsv"), all).expect("it is written");
    let run = Command::new(survey("a.parquet", &["--longest", "60"])).in_folder(&folder).run();
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let expected = [
        "skipped 3 texts:",
        "pairs.tsv, line 17: has no tab; a pair is SOURCE<tab>TARGET",
        "pairs.tsv, line 19: is not UTF-8: byte 5 is 0xff",
        "tokens, and texts of up to 60 are surveyed",
    ];
    for words in expected {
        assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
    }
}

#[test]
fn what_is_no_corpus_is_refused_in_a_sentence() {
    let folder = corpus();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).expect("it is written");
    write("empty.txt", b"\n \n");
    write("bad.txt", b"\xff\n");
    write("a.jsonl", b"{\"content\": \"A cat.\"}\n");
    write("a.txt.gz", b"x");
    write("a.parquet", b"PAR1");
    write("survey.csv", b"kind\n");
    let refused = |words: &[&str], code: i32| {
        let run = Command::new(["survey"].iter().chain(words)).in_folder(&folder).run();
        run.fails(code).to_owned()
    };
    let output = ["-o", "s.parquet"];
    let of = |name: &'static str, code: i32| refused(&[&[name], &output[..]].concat(), code);
    assert_eq!(of("empty.txt", 3), "there is no text to survey in empty.txt: they are empty");
    assert_eq!(
        of("bad.txt", 3),
        "there is no text to survey in bad.txt: bad.txt, line 1: is not UTF-8: byte 0 is 0xff"
    );
    assert_eq!(of("a.jsonl", 3), "a.jsonl, line 1: there is no field \"text\", but \"content\" (--field says which)");
    assert_eq!(of("a.txt.gz", 3), "a.txt.gz: is packed (.gz); unpack it first");
    let message = of("a.parquet", 3);
    assert!(message.starts_with("a.parquet: is no Parquet file: "), "{message}");
    assert!(of("absent.txt", 3).starts_with("absent.txt: "));
    assert!(of("-", 2).starts_with("a survey reads files"));
    assert_eq!(
        refused(&["pairs.tsv", "./pairs.tsv", "-o", "s.parquet"], 2),
        "pairs.tsv and ./pairs.tsv are the same file; its texts would count twice"
    );
    assert!(refused(&["pairs.tsv", "-o", "pairs.tsv"], 2).contains("pairs.tsv"));
    assert!(
        refused(&["pairs.tsv", "-o", "s.xlsx"], 2)
            .ends_with("a table is a .parquet, .csv or .json file; give it one of these endings")
    );
    assert!(refused(&["merge", "survey.csv", "-o", "s.parquet"], 3).starts_with("survey.csv: is not a survey: "));
    assert!(!Path::new(&folder.path().join("s.parquet")).exists());
}

#[test]
fn a_column_or_field_is_refused_where_no_file_has_any() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("t.txt"), "A cat.\n").expect("it is written");
    for option in ["--column", "--field"] {
        let run = Command::new(["survey", "t.txt", option, "text", "-o", "s.parquet"]).in_folder(&folder).run();
        let problem = run.fails(2).to_owned();
        assert!(problem.contains(option) && problem.contains("no file of the corpus has any"), "{problem}");
    }
}
