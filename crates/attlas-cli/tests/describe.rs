//! `attlas describe`: sentences whose numbers are those of the tables.

mod common;

use std::fs;

use common::{Command, Finished, folder, recording};
use serde_json::Value;

const APPLE: &str = "She gave him a red apple.";

fn json(run: &Finished) -> Vec<Value> {
    serde_json::from_str(&run.succeeds().stdout).expect("a JSON array")
}

#[test]
fn the_numbers_of_a_sentence_are_those_of_the_table_of_scores() {
    let (folder, file) = recording(APPLE);
    let sentences = json(&Command::new(["describe", &file, "--json"]).in_folder(&folder).run());
    let rows = json(&Command::new(["heads", &file, "--json"]).in_folder(&folder).run());
    let mut n_compared = 0;
    for sentence in sentences.iter().filter(|sentence| !sentence["head"].is_null()) {
        let is_same =
            |row: &&Value| ["kind", "layer", "head", "measure"].iter().all(|name| row[name] == sentence[name]);
        let row = rows.iter().find(is_same).unwrap_or_else(|| panic!("no row for {sentence}"));
        for number in sentence["numbers"].as_array().expect("numbers") {
            let name = number["name"].as_str().expect("a name");
            if ["score", "baseline", "low", "high", "n_rows"].contains(&name) {
                assert_eq!(number["value"].as_f64(), row[name].as_f64(), "{name} of {sentence}");
                n_compared += 1;
            }
        }
    }
    assert!((2..=10).contains(&sentences.len()) && n_compared >= 15, "{n_compared} numbers of {sentences:#?}");
}

#[test]
fn a_crossing_is_said_with_its_words_and_each_sentence_has_a_number() {
    let run = Command::new(["describe", APPLE]).run();
    let text = run.succeeds().stdout.replace("\n  ", " ");
    assert!(text.contains("“rouge” ← “red” crosses."), "{text}");
    assert!(text.contains("Attention is where a head looks, not why"), "{text}");
    let (sentences, caption) = text.split_once("\nMeasured on this text alone").expect("what it was measured on");
    assert!(caption.contains("encoder"), "{caption}");
    let mut lines = sentences.lines();
    assert_eq!(lines.next(), Some(APPLE), "the text comes first");
    assert!(
        lines.next().is_some_and(|line| line.contains("rouge") && line.ends_with('.')),
        "and what became of it: {text}"
    );
    assert!(lines.all(|line| line.contains(|sign: char| sign.is_ascii_digit())), "{sentences}");
}

#[test]
fn a_head_that_is_knocked_out_and_a_word_that_is_not_known_are_said() {
    let run = Command::new(["describe", APPLE, "--knock-out", "cross:L2H4"]).run();
    run.succeeds();
    assert!(run.stderr.contains("L2H4 of cross-attention was knocked out"), "{}", run.stderr);
    let run = Command::new(["describe", "She saw a 猫 there."]).run();
    run.succeeds();
    assert!(run.stderr.contains("unknown"), "{}", run.stderr);
}

#[test]
fn one_kind_alone_is_described() {
    let (folder, file) = recording(APPLE);
    let sentences = json(&Command::new(["describe", &file, "--kind", "decoder", "--json"]).in_folder(&folder).run());
    assert!(sentences.iter().all(|one| one["kind"].is_null() || one["kind"] == "decoder"), "{sentences:#?}");
    assert!(sentences.iter().any(|one| one["measure"] == "sink"), "{sentences:#?}");
}

#[test]
fn a_text_of_a_batch_is_chosen_and_one_that_is_not_there_is_refused() {
    let folder = folder();
    fs::write(folder.path().join("lines.txt"), format!("Hi.\n{APPLE}\n")).expect("a file");
    Command::new(["record", "--lines", "lines.txt", "-o", "run.safetensors"]).in_folder(&folder).run().succeeds();
    let alone = Command::new(["describe", APPLE]).run();
    let run = Command::new(["describe", "run.safetensors", "--text", "1"]).in_folder(&folder).run();
    let text = &run.succeeds().stdout;
    let first = |text: &str| text.split("Measured on").next().map(str::to_owned);
    assert_eq!(first(text), first(&alone.stdout), "padding takes no part");
    assert!(text.contains("Measured on text 1 of 2 alone"), "{text}");
    let run = Command::new(["describe", "run.safetensors", "--text", "2"]).in_folder(&folder).run();
    assert_eq!(run.fails(2), "there is no text 2; the recording has 2 (counted from 0)");
}

#[test]
fn a_text_too_short_for_a_name_says_so() {
    let text = Command::new(["describe", "Hi"]).run().succeeds().stdout.replace("\n  ", " ");
    assert!(text.contains("queries are too few to name any of 24 heads; it takes 5."), "{text}");
}

#[test]
fn the_terminal_prints_the_first_sentences_and_the_page_has_them_all() {
    let (folder, file) = recording(APPLE);
    let sentences = json(&Command::new(["describe", &file, "--json"]).in_folder(&folder).run());
    let run = Command::new([file.as_str(), "-o", "page.html"]).in_folder(&folder).run();
    let text = run.succeeds().stdout.replace("\n  ", " ");
    let page = fs::read_to_string(folder.path().join("page.html")).expect("the page");
    for (index, sentence) in sentences.iter().enumerate() {
        let sentence = sentence["sentence"].as_str().expect("a text");
        assert_eq!(text.contains(sentence), index < 3, "{sentence}\n{text}");
        let escaped = sentence.replace('<', "\\u003c").replace('>', "\\u003e").replace('"', "\\\"");
        assert!(page.contains(&escaped), "{sentence}");
    }
}
