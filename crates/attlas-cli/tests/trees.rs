//! `attlas heads --trees`: trees and mentions held against the heads of the embedded translator.

mod common;

use std::fmt::Write;
use std::fs;

use common::{Command, Finished, folder};
use serde_json::Value;
use tempfile::TempDir;

/// Runs the command in a folder; `words` are separated by spaces.
fn attlas(folder: &TempDir, words: &str) -> Finished {
    Command::new(words.split(' ')).in_folder(folder).run()
}

/// Twelve sentences such as `The cat sees the dog.`: 24 articles, 12 subjects and 12 objects.
fn treebank() -> String {
    let mut file = String::new();
    for (index, nouns) in ["cat dog", "girl boy", "man woman", "bird fish"].repeat(3).iter().enumerate() {
        let (subject, object) = nouns.split_once(' ').expect("two nouns");
        writeln!(file, "# sent_id = s{index}\n# text = The {subject} sees the {object}.").expect("it is written");
        for (number, form, upos, head, relation, notes) in [
            (1, "The", "DET", 2, "det", "_"),
            (2, subject, "NOUN", 3, "nsubj", "_"),
            (3, "sees", "VERB", 0, "root", "_"),
            (4, "the", "DET", 5, "det", "_"),
            (5, object, "NOUN", 3, "obj", "SpaceAfter=No"),
            (6, ".", "PUNCT", 3, "punct", "_"),
        ] {
            writeln!(file, "{number}\t{form}\t_\t{upos}\t_\t_\t{head}\t{relation}\t_\t{notes}").expect("it is written");
        }
        file.push('\n');
    }
    file
}

/// A folder with the treebank as `trees.conllu`.
fn with_trees() -> TempDir {
    let folder = folder();
    fs::write(folder.path().join("trees.conllu"), treebank()).expect("it is written");
    folder
}

fn write(folder: &TempDir, name: &str, text: &str) {
    fs::write(folder.path().join(name), text).expect("it is written");
}

fn rows(run: &Finished) -> Vec<Value> {
    let rows: Value = serde_json::from_str(&run.succeeds().stdout).expect("JSON");
    rows.as_array().expect("rows").clone()
}

#[test]
fn every_head_has_a_row_for_each_relation_with_baseline_interval_and_words() {
    let folder = with_trees();
    let rows = rows(&attlas(&folder, "heads --trees trees.conllu --json"));
    let of = |relation: &str, direction: &str| -> Vec<&Value> {
        rows.iter().filter(|row| row["relation"] == relation && row["direction"] == direction).collect()
    };
    for direction in ["child-to-head", "head-to-child"] {
        let det = of("det", direction);
        assert_eq!(det.len(), 24, "3 layers of 8 heads");
        for row in det {
            assert_eq!((&row["kind"], &row["baseline"], &row["offset"]), (&"encoder".into(), &1.0.into(), &1.into()));
            assert_eq!((&row["n_rows"], &row["named"], &row["measure"]), (&24.into(), &false.into(), &"tree".into()));
            let number = |name: &str| row[name].as_f64().expect("a number");
            assert!(number("low") <= number("score") && number("score") <= number("high"), "{row}");
        }
    }
    // 60 words have a head; 24 of them one to the right, 12 each one to the right, two and three to the left
    assert_eq!(of("all", "child-to-head")[0]["baseline"], 0.6);
    let nsubj = of("nsubj", "child-to-head");
    assert_eq!((nsubj.len(), &nsubj[0]["score"]), (1, &Value::Null));
    assert!(nsubj[0]["absent"].as_str().expect("a reason").starts_with("12 words have this relation"));
    let phrases: Vec<&Value> = rows.iter().filter(|row| row["measure"] == "phrase").collect();
    assert_eq!(phrases.len(), 24);
}

#[test]
fn the_table_names_the_best_heads_of_each_relation_and_one_relation_lists_all() {
    let folder = with_trees();
    let run = attlas(&folder, "heads --trees trees.conllu");
    let table = &run.succeeds().stdout;
    assert!(table.starts_with("encoder self-attention, 12 sentences\n"), "{table}");
    let det = table.lines().find(|line| line.starts_with("det ")).expect("a line");
    let cells: Vec<&str> = det.split_whitespace().collect();
    assert_eq!(cells[..7], ["det", "child", "→", "head", "24", "+1", "1.00"], "{det}");
    assert!(table.contains("Fewer than 20 words, and no score: nsubj, obj, punct."), "{table}");
    let run = attlas(&folder, "heads --trees trees.conllu --relation det --direction head-to-child -o det.svg");
    let table = &run.succeeds().stdout;
    assert!(table.contains("det, head → child: 24 words; the best fixed offset, +1, finds 1.00"), "{table}");
    assert!(!table.contains("child → head:"), "{table}");
    assert_eq!(table.lines().filter(|line| line.starts_with('L')).count(), 24, "{table}");
    let picture = fs::read_to_string(folder.path().join("det.svg")).expect("a picture");
    assert!(picture.contains("encoder self-attention, det") && picture.contains("less that of the best fixed offset"));
}

#[test]
fn the_rows_are_written_as_a_table_with_a_column_for_each_cell() {
    let folder = with_trees();
    let run = attlas(&folder, "heads --trees trees.conllu --json -o rows.json");
    let (printed, path) = (rows(&run), folder.path().join("rows.json"));
    let written: Vec<Value> = serde_json::from_slice(&fs::read(path).expect("a table")).expect("JSON");
    assert_eq!(printed.len(), written.len());
    for (printed, written) in printed.iter().zip(&written) {
        let cells = printed.as_object().expect("an object");
        cells.iter().for_each(|(name, cell)| assert_eq!(cell, &written[name], "{name} of {printed}"));
    }
    attlas(&folder, "heads --trees trees.conllu -o rows.csv").succeeds();
    let csv = fs::read_to_string(folder.path().join("rows.csv")).expect("a table");
    assert!(csv.starts_with("kind,layer,head,measure,relation,direction,score,baseline,offset,low,"), "{csv:.80}");
    assert_eq!(csv.lines().count(), printed.len() + 1);
    attlas(&folder, "heads --trees trees.conllu -o rows.parquet").succeeds();
    let wrong = attlas(&folder, "heads --trees trees.conllu -o rows.csv --title T");
    assert_eq!(wrong.fails(2), "--title is for a picture, and -o rows.csv is a table");
}

#[test]
fn trees_of_what_the_decoder_reads_have_sources_beside_them() {
    let folder = with_trees();
    write(&folder, "sources.txt", &"Le chat voit le chien.\n".repeat(12));
    let all = rows(&attlas(&folder, "heads --trees trees.conllu --sources sources.txt --json"));
    let all_words: Vec<&Value> = all.iter().filter(|row| row["relation"] == "all" && !row["score"].is_null()).collect();
    assert!(all_words.iter().all(|row| row["kind"] == "decoder"));
    // an article's noun comes after it: the decoder is asked for 24 words to the left, and 36 to the right
    let n =
        |direction: &str| all_words.iter().find(|row| row["direction"] == direction).expect("a row")["n_rows"].as_u64();
    assert_eq!((n("child-to-head"), n("head-to-child")), (Some(24), Some(36)));

    write(&folder, "few.txt", "Le chat.\nLe chien.\n");
    let run = attlas(&folder, "heads --trees trees.conllu --sources few.txt");
    assert!(run.fails(3).starts_with("few.txt ends before sentence s2;"), "{}", run.stderr);
    write(&folder, "many.txt", &"Le chat.\n".repeat(13));
    let run = attlas(&folder, "heads --trees trees.conllu --sources many.txt");
    assert!(run.fails(3).starts_with("many.txt goes on after the last sentence;"), "{}", run.stderr);
}

#[test]
fn mentions_come_from_the_notes_of_the_trees_or_from_a_file() {
    let folder = folder();
    let word = |id, form, upos, head, notes| format!("{id}\t{form}\t_\t{upos}\t_\t_\t{head}\tdep\t_\t{notes}\n");
    let sentence = [
        word(1, "Tom", "PROPN", 2, "Entity=(e1)"),
        word(2, "saw", "VERB", 0, "_"),
        word(3, "Mary", "PROPN", 2, "Entity=(e2)"),
        word(4, "before", "SCONJ", 6, "_"),
        word(5, "he", "PRON", 6, "Entity=(e1)"),
        word(6, "left", "VERB", 2, "_"),
    ];
    write(&folder, "trees.conllu", &(sentence.concat() + "\n"));
    let of_trees = rows(&attlas(&folder, "heads --trees trees.conllu --coref --json"));
    let mentions: Vec<&Value> = of_trees.iter().filter(|row| row["measure"] == "coreference").collect();
    assert_eq!((mentions.len(), &mentions[0]["n_rows"]), (24, &1.into()));
    // Mary is nearer than Tom, so a head that always takes the farther is right
    assert_eq!(mentions[0]["baseline"], 1.0);

    let line = r#"{"text": "Tom saw Mary before he left", "mention": "he", "antecedent": "Tom", "distractor": "Mary"}"#;
    write(&folder, "mentions.jsonl", line);
    let of_file = rows(&attlas(&folder, "heads --coref=mentions.jsonl --json"));
    assert_eq!(of_file.iter().collect::<Vec<_>>(), mentions, "the same mentions, the same scores");
    let run = attlas(&folder, "heads --trees trees.conllu --coref");
    assert!(run.succeeds().stdout.contains("coreference: share of mentions"), "{}", run.stdout);
    assert!(run.stdout.contains("Other mentions: 2 have no antecedent in their sentence."), "{}", run.stdout);

    write(&folder, "bad.jsonl", &line.replace("\"he\"", "\"she\""));
    let run = attlas(&folder, "heads --coref=bad.jsonl");
    let wrong = "bad.jsonl, text 1: mention \"she\" does not stand in the text as a word";
    assert_eq!(run.fails(3), wrong);
    write(&folder, "no.conllu", &treebank());
    let no_mention = rows(&attlas(&folder, "heads --trees no.conllu --coref --json"));
    let absent = no_mention.iter().find(|row| row["measure"] == "coreference").expect("a row");
    assert_eq!(absent["absent"], "no word says Entity= in its notes");
}

#[test]
fn a_fault_in_a_file_is_told_with_line_and_sentence_before_the_model_runs() {
    let folder = with_trees();
    write(&folder, "bad.conllu", &(treebank() + &treebank().replace("The girl sees", "The girls see")));
    let run = attlas(&folder, "heads --trees bad.conllu");
    let at =
        "bad.conllu: line 122 (sentence s1): \"sees\" does not come next in the text, which goes on \"s see the boy.\"";
    assert_eq!(run.fails(3), at);
    write(&folder, "empty.conllu", "# nothing\n");
    assert_eq!(attlas(&folder, "heads --trees empty.conllu").fails(3), "empty.conllu: there is no sentence in it");
}

#[test]
fn a_sentence_without_a_tree_is_skipped_and_named() {
    let folder = folder();
    let without = "# sent_id = x1\n1\tHello\t_\t_\t_\t_\t_\t_\t_\t_\n\n";
    write(&folder, "trees.conllu", &(without.to_owned() + &treebank()));
    let run = attlas(&folder, "heads --trees trees.conllu");
    assert_eq!((run.code, run.stderr.as_str()), (Some(1), "attlas: skipped: sentence x1 has no tree\n"));
    write(&folder, "none.conllu", without);
    let run = attlas(&folder, "heads --trees none.conllu");
    assert_eq!(run.code, Some(3));
    assert!(run.stderr.ends_with("attlas: no sentence is left to measure\n"), "{}", run.stderr);
}

#[test]
fn a_wrong_call_is_told_in_a_sentence() {
    let folder = with_trees();
    let known = "--relation subj: the trees have no such relation; they have all, det, nsubj, obj, punct";
    assert_eq!(attlas(&folder, "heads --trees trees.conllu --relation subj").fails(2), known);
    let few = "nsubj has 12 words there; 20 or more say something";
    assert_eq!(attlas(&folder, "heads --trees trees.conllu --relation nsubj").fails(3), few);
    let idle = "--title is for a picture, and -o names none";
    assert_eq!(attlas(&folder, "heads --trees trees.conllu --title T").fails(2), idle);
    assert!(attlas(&folder, "heads --coref").fails(2).starts_with("--coref without a file takes the mentions"));
    assert!(attlas(&folder, "heads --trees trees.conllu -o trees.txt").fails(2).contains(".svg, .pdf or .png"));
    write(&folder, "trees.svg", &treebank());
    assert!(attlas(&folder, "heads --trees trees.svg -o trees.svg").fails(2).contains("this is the input"));
    assert!(attlas(&folder, "heads --coref=a.jsonl --relation det").fails(2).contains("--relation is about trees"));
    assert!(attlas(&folder, "heads --coref=a.jsonl -o a.svg").fails(2).contains("no trees were given"));
    let both = "heads --trees trees.conllu --sources trees.conllu --coref=a.jsonl";
    assert!(attlas(&folder, both).fails(2).contains("ask for one after the other"));
}
