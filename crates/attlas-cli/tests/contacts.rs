//! `attlas draw contacts`: pairs of residues as a table, JSON and a picture, by a model's regression or of one head.

mod common;

use std::fs;
use std::path::Path;

use common::{Command, Finished, folder};
use serde_json::Value;
use tempfile::TempDir;

const PROTEIN: &str = "MKTAYIAKQRQISFVKSHFSRQ";

fn family(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../attlas-model/tests/data/families").join(name);
    path.to_str().expect("a path of text").to_owned()
}

fn contacts(folder: &TempDir, words: &[&str]) -> Finished {
    Command::new(["draw", "contacts"].into_iter().chain(words.iter().copied())).in_folder(folder).run()
}

fn rows(finished: &Finished) -> Vec<Value> {
    serde_json::from_str(&finished.succeeds().stdout).expect("an array of rows")
}

#[test]
fn the_models_regression_gives_every_pair_a_probability_and_the_table_begins_with_the_largest() {
    let (folder, model) = (folder(), family("esm"));
    let rows = rows(&contacts(&folder, &[PROTEIN, "--model", &model, "--json"]));
    let n = PROTEIN.len();
    assert_eq!(rows.len(), (n - 6) * (n - 5) / 2);
    let probabilities: Vec<f64> = rows.iter().map(|row| row["probability"].as_f64().expect("a number")).collect();
    assert!(probabilities.is_sorted_by(|one, next| one >= next));
    assert!(probabilities.iter().all(|probability| (0.0..=1.0).contains(probability)));
    assert!(probabilities[0] - probabilities[probabilities.len() - 1] > 0.05, "not all alike");
    let (i, j) = (rows[0]["i"].as_u64().expect("a place"), rows[0]["j"].as_u64().expect("a place"));
    assert!(j - i >= 6 && rows[0]["apart"] == j - i);
    let letter = |place: u64| PROTEIN[place as usize - 1..].chars().next().expect("a letter").to_string();
    assert_eq!((rows[0]["token_i"].clone(), rows[0]["token_j"].clone()), (letter(i).into(), letter(j).into()));
    let table = contacts(&folder, &[PROTEIN, "--model", &model, "--top", "3"]);
    let table = &table.succeeds().stdout;
    assert!(table.starts_with("contacts, read off 8 heads: 22 residues\n"), "{table}");
    let first = format!(
        "{:<8}{:<8}{:>5}  {:.3}",
        letter(i) + &i.to_string(),
        letter(j) + &j.to_string(),
        j - i,
        probabilities[0]
    );
    assert_eq!(table.lines().nth(2), Some(first.as_str()), "{table}");
    assert_eq!(table.lines().filter(|line| line.contains("  0.")).count(), 3, "{table}");
}

#[test]
fn a_protein_without_two_residues_so_far_apart_is_said_to_have_no_pair() {
    let (folder, model) = (folder(), family("esm"));
    let run = contacts(&folder, &["MKTAY", "--model", &model]);
    let table = &run.succeeds().stdout;
    assert!(table.contains("No two of 5 residues are 6 or more apart; --apart 1 shows pairs of all."), "{table}");
    assert!(!table.contains("probability of a contact"), "{table}");
    assert!(rows(&contacts(&folder, &["MKTAY", "--model", &model, "--json"])).is_empty());
    assert_eq!(rows(&contacts(&folder, &["MKTAY", "--model", &model, "--json", "--apart", "1"])).len(), 10);
}

#[test]
fn a_recording_holds_no_regression_and_shows_one_head() {
    let (folder, model) = (folder(), family("esm"));
    Command::new(["record", PROTEIN, "--model", &model, "-o", "run.safetensors"]).in_folder(&folder).run().succeeds();
    let refusal = contacts(&folder, &["run.safetensors"]);
    let refusal = refusal.fails(2);
    assert!(refusal.contains("no regression is at hand") && refusal.contains("--head L5H3"), "{refusal}");
    let rows = rows(&contacts(&folder, &["run.safetensors", "--head", "L1H2", "--json", "--apart", "1"]));
    assert_eq!(rows.len(), 22 * 21 / 2);
    assert!(rows[0]["corrected"].as_f64().expect("a number") > 0.0);
    assert!(rows[rows.len() - 1]["corrected"].as_f64().expect("a number") < 0.0);
    let missing = contacts(&folder, &["run.safetensors", "--head", "L1H4"]);
    assert!(missing.fails(2).contains("has no head 4"));
}

#[test]
fn a_picture_is_written_and_says_what_it_shows() {
    let (folder, model) = (folder(), family("esm"));
    contacts(&folder, &[PROTEIN, "--model", &model, "-o", "contacts.svg"]).succeeds();
    let picture = fs::read_to_string(folder.path().join("contacts.svg")).expect("a picture");
    assert!(picture.contains("probability of a contact"), "{picture:.2000}");
    contacts(&folder, &[PROTEIN, "--model", &model, "--head", "L0H1", "-o", "head.svg"]).succeeds();
    let picture = fs::read_to_string(folder.path().join("head.svg")).expect("a picture");
    assert!(picture.contains("less the average product"), "{picture:.2000}");
    let idle = contacts(&folder, &[PROTEIN, "--model", &model, "--dpi", "300"]);
    assert!(idle.fails(2).contains("--dpi is for a picture"));
}

#[test]
fn a_model_without_a_regression_and_an_attention_between_two_texts_are_refused() {
    let folder = folder();
    let refusal = contacts(&folder, &["The cat sat."]);
    assert!(refusal.fails(2).contains("no regression is at hand"));
    let refusal = contacts(&folder, &["The cat sat.", "--head", "cross:L0H0"]);
    assert!(refusal.fails(3).contains("between tokens of one text"), "{}", refusal.stderr);
    contacts(&folder, &["The cat sat.", "--head", "encoder:L0H0", "--apart", "1"]).succeeds();
}

#[test]
fn numbers_that_count_no_residues_are_said_to_and_labels_keep_place_and_token_apart() {
    let (folder, model) = (folder(), family("esm"));
    let run = contacts(&folder, &["MKTAYJjjjjIAKQRQI", "--model", &model, "--apart", "1", "--top", "99"]);
    let table = &run.succeeds().stdout;
    assert!(
        table.contains("heads: 13 tokens\n") && table.contains("6:Jjjjj <unk>  ") && table.contains("I7 "),
        "{table}"
    );
    assert!(
        run.stderr.contains("not in the vocabulary: 1 token") && run.stderr.contains("upper case"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("6:Jjjjj <unk> is no single letter"), "{}", run.stderr);
    // a mask hides a residue, and ids of special tokens are none
    let run = contacts(&folder, &["MKT<mask>YIAKQ", "--model", &model]);
    assert!(run.succeeds().stdout.contains("8 heads: 9 residues\n"), "{}", run.stdout);
    let ids = ["record", "--model", &model, "--source-ids", "0,20,15,32,19,12,5,15,2", "-o", "ids.safetensors"];
    Command::new(ids).in_folder(&folder).run().succeeds();
    let run = contacts(&folder, &["ids.safetensors", "--head", "L0H0", "--apart", "18446744073709551615"]);
    assert!(run.succeeds().stdout.contains("corrected: 7 residues\n"), "{}", run.stdout);
    // without a vocabulary nothing is known of ids
    for name in ["config.json", "model.safetensors"] {
        fs::copy(Path::new(&model).join(name), folder.path().join(name)).expect("a copy");
    }
    let ids = ["record", "--model", ".", "--source-ids", "0,20,15,19,12,5,15,2", "-o", "ids.safetensors"];
    Command::new(ids).in_folder(&folder).run().succeeds();
    let run = contacts(&folder, &["ids.safetensors", "--head", "L0H0", "--apart", "1"]);
    assert!(run.succeeds().stdout.contains("corrected: 8 tokens\n") && run.stdout.contains("2:20 "), "{}", run.stdout);
    assert!(run.stderr.contains("ids alone"), "{}", run.stderr);
}

#[test]
fn fasta_is_read_without_its_header_and_of_one_protein() {
    let (folder, model) = (folder(), family("esm"));
    let plain = contacts(&folder, &[PROTEIN, "--model", &model, "--json"]);
    let fasta = format!(">sp|P1| a protein\n{}\n{}\n", &PROTEIN[..10], &PROTEIN[10..]);
    let run = contacts(&folder, &[&fasta, "--model", &model, "--json"]);
    assert_eq!(run.succeeds().stdout, plain.succeeds().stdout);
    assert!(run.stderr.contains("header is left out"), "{}", run.stderr);
    let several = contacts(&folder, &[&format!("{fasta}>other\nMKT\n"), "--model", &model]);
    assert!(several.fails(3).contains("several proteins"), "{}", several.stderr);
    contacts(&folder, &[">alone", "--model", &model]).fails(3);
}
