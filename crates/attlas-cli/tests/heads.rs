//! `attlas heads`: scores of every head, and the questions that are asked of them.

mod common;

use std::fs;

use attlas::attention::Shape;
use attlas::{Buffer, Item, Kind, Layer, Provenance, Recording, Tokens};
use common::{Command, folder};
use serde_json::Value;
use tempfile::TempDir;

const TEXT: &str = "The cat sat on the mat.";

fn read(folder: &TempDir, name: &str) -> Vec<u8> {
    fs::read(folder.path().join(name)).expect("the file is there")
}

/// The rows that a call prints.
fn rows(words: &[&str]) -> Vec<Value> {
    let run = Command::new(words).run();
    serde_json::from_str(&run.succeeds().stdout).expect("an array of rows")
}

fn row<'a>(rows: &'a [Value], kind: &str, layer: u64, head: u64, measure: &str) -> &'a Value {
    let is_it = |row: &&Value| {
        (&row["kind"], &row["layer"], &row["head"], &row["measure"])
            == (&kind.into(), &layer.into(), &head.into(), &measure.into())
    };
    rows.iter().find(is_it).expect("the row is there")
}

#[test]
fn every_head_has_a_row_for_each_measure_and_the_table_says_the_same() {
    let rows = rows(&["heads", TEXT, "--json"]);
    let fields =
        ["kind", "layer", "head", "measure", "score", "baseline", "low", "high", "n_rows", "threshold", "named"];
    assert!(rows.iter().all(|row| fields.iter().all(|field| row.get(field).is_some())), "{:?}", rows[0]);
    let sink = row(&rows, "decoder", 0, 2, "sink");
    assert!(sink["named"] == true && sink["threshold"] == 0.3 && sink["n_rows"] == 9, "{sink}"); // the first query has no choice
    assert!(sink["low"].as_f64() > sink["baseline"].as_f64(), "{sink}");
    let rare = row(&rows, "encoder", 0, 0, "rare");
    assert!(rare["score"].is_null() && rare["named"] == false, "{rare}");
    assert_eq!(rare["absent"], "it needs counts of the tokens in a corpus");
    let number = format!("{:.2}", sink["score"].as_f64().expect("a number"));
    let table = Command::new(["heads", TEXT]).run();
    let line = table.succeeds().stdout.lines().find(|line| line.starts_with("decoder  L0H2")).expect("the head's line");
    assert!(line.contains("sink") && line.contains(&number), "{line}");
    let main = Command::new([TEXT, "--no-page"]).run();
    assert!(main.succeeds().stdout.contains(&format!("L0H2 {number}")), "{}", main.stdout);
}

#[test]
fn the_rows_are_written_as_parquet_csv_and_json_and_the_classes_as_page_and_picture() {
    let folder = folder();
    for name in ["a.parquet", "a.csv", "a.json", "a.html", "a.svg", "a.pdf", "a.png"] {
        Command::new(["heads", TEXT, "-o", name]).in_folder(&folder).run().succeeds();
    }
    assert!(read(&folder, "a.parquet").starts_with(b"PAR1") && read(&folder, "a.pdf").starts_with(b"%PDF"));
    let csv = String::from_utf8(read(&folder, "a.csv")).expect("UTF-8");
    let json: Vec<Value> = serde_json::from_slice(&read(&folder, "a.json")).expect("JSON");
    assert_eq!(csv.lines().count(), json.len() + 1);
    assert!(csv.starts_with("kind,layer,head,measure,"), "{}", &csv[..80]);
    let page = String::from_utf8(read(&folder, "a.html")).expect("UTF-8");
    assert!(page.contains("Content-Security-Policy") && page.contains("previous token"), "{}", &page[..200]);
}

#[test]
fn heads_are_ranked_by_one_measure_and_by_one_cell() {
    let ranked = rows(&["heads", TEXT, "--find", "previous", "--kind", "encoder", "--json"]);
    assert!(ranked.iter().all(|row| row["measure"] == "previous" && row["kind"] == "encoder"));
    assert!(ranked.is_sorted_by(|a, b| a["score"].as_f64() >= b["score"].as_f64()) && ranked.len() == 24);
    let cells = rows(&["heads", TEXT, "--query", "sat", "--key", "cat", "--kind", "encoder", "--json"]);
    assert!(cells.is_sorted_by(|a, b| a["score"].as_f64() >= b["score"].as_f64()) && cells.len() == 24);
    assert!((cells[0]["baseline"].as_f64().expect("a number") - 0.125).abs() < 1e-9, "eight tokens");
    let wrong = Command::new(["heads", TEXT, "--query", "dog", "--key", "cat", "--kind", "encoder"]).run();
    assert!(wrong.fails(2).contains("there is no such token; there are The cat sat"), "{}", wrong.stderr);
    let twice =
        Command::new(["heads", "the cat and the dog", "--query", "the", "--key", "cat", "--kind", "encoder"]).run();
    assert!(twice.fails(2).contains("the#2"), "{}", twice.stderr);
    let measure = Command::new(["heads", TEXT, "--find", "inductoin"]).run();
    assert!(measure.fails(2).contains("did you mean \"induction\"?"), "{}", measure.stderr);
}

#[test]
fn a_head_without_a_name_is_told_why_where_its_score_or_its_text_would_let_one_expect_it() {
    // one word of the dictionary: scores of 0 and 1
    let ranked = Command::new(["heads", TEXT, "--find", "alignment"]).run();
    let lines: Vec<&str> = ranked.succeeds().stdout.lines().filter(|line| line.starts_with("cross ")).collect();
    let (right, wrong): (Vec<&str>, Vec<&str>) = lines.into_iter().partition(|line| line.contains(" 1.00 1.00"));
    assert!(!right.is_empty() && right.iter().all(|line| line.contains(" 1      too few ")), "{}", ranked.stdout);
    assert!(!wrong.iter().any(|line| line.contains("too few")), "{}", ranked.stdout);
    let short = Command::new(["heads", "cat", "--kind", "encoder"]).run();
    let said = "encoder  all 24 have no name: 2 queries are too few, it takes 5";
    assert!(short.succeeds().stdout.lines().any(|line| line == said), "{}", short.stdout);
}

#[test]
fn heads_are_ranked_by_a_pattern_drawn_by_hand() {
    let folder = folder();
    // the token before, of eight
    let line = |query: usize| (0..8).map(|key| if key + 1 == query { "1" } else { "0" }).collect::<Vec<_>>().join(",");
    fs::write(folder.path().join("p.csv"), (0..8).map(line).collect::<Vec<_>>().join("\n")).expect("it is written");
    let like = Command::new(["heads", TEXT, "--like", "p.csv", "--kind", "encoder", "--json"]).in_folder(&folder).run();
    let like: Vec<Value> = serde_json::from_str(&like.succeeds().stdout).expect("rows");
    let previous = rows(&["heads", TEXT, "--find", "previous", "--kind", "encoder", "--json"]);
    assert_eq!((&like[0]["layer"], &like[0]["head"]), (&previous[0]["layer"], &previous[0]["head"]));
    // the measure counts the first query, which has no token before it, as 0
    let [like, previous] = [&like[0], &previous[0]].map(|row| row["score"].as_f64().expect("a number"));
    assert!((like * 7.0 / 8.0 - previous).abs() < 1e-6, "{like} {previous}");
    fs::write(folder.path().join("q.csv"), "1,0\n0,1\n").expect("it is written");
    let wrong = Command::new(["heads", TEXT, "--like", "q.csv"]).in_folder(&folder).run();
    assert!(wrong.fails(3).contains("2 queries × 2 keys, and the maps are 8 × 8 (encoder)"), "{}", wrong.stderr);
    for (text, why) in [
        ("1,x\n", "line 1: \"x\" is no number"),
        ("1,0\n1\n", "line 2 has 1 numbers"),
        ("0,0\n", "zeros"),
        ("", "empty"),
    ] {
        fs::write(folder.path().join("q.csv"), text).expect("it is written");
        let wrong = Command::new(["heads", TEXT, "--like", "q.csv"]).in_folder(&folder).run();
        assert!(wrong.fails(3).contains(why), "{}", wrong.stderr);
    }
}

#[test]
fn a_file_of_lines_is_measured_together_and_rare_tokens_by_its_own_counts() {
    let folder = folder();
    fs::write(folder.path().join("a.txt"), "The cat sat.\nA dog ran to the house.\n").expect("it is written");
    let words = ["heads", "a.txt", "--counts", "a.txt", "--kind", "encoder", "--json"];
    let run = Command::new(words).in_folder(&folder).run();
    let rows: Vec<Value> = serde_json::from_str(&run.succeeds().stdout).expect("rows");
    let own = row(&rows, "encoder", 0, 0, "self");
    let rare = row(&rows, "encoder", 0, 0, "rare");
    assert_eq!(
        own["n_rows"].as_u64().expect("a count"),
        rare["n_rows"].as_u64().expect("a count") + 2,
        "end tokens are left out"
    );
}

#[test]
fn the_tokens_of_a_corpus_are_counted_and_not_the_lines_that_hold_it() {
    let folder = folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("it is written");
    write("a.txt", "The cat sat.\nThe cat ran.\n");
    write("a.jsonl", "{\"id\": 7, \"text\": \"The cat sat.\"}\n{\"text\": \"The cat ran.\"}\n");
    let words = |verb: &str| {
        let word = |(id, form): (usize, &str)| format!("{id}\t{form}\t_\t_\t_\t_\t_\t_\t_\t_\n");
        [(1, "The"), (2, "cat"), (3, verb)].map(word).concat() + "4\t.\t_\t_\t_\t_\t_\t_\t_\t_\n\n"
    };
    let sentence = |verb: &str| format!("# text = The cat {verb}.\n{}", words(verb));
    write("a.conllu", &(sentence("sat") + &sentence("ran")));
    let rare = |file: &str| {
        let words = ["heads", TEXT, "--counts", file, "--kind", "encoder", "--json"];
        let run = Command::new(words).in_folder(&folder).run();
        let rows: Vec<Value> = serde_json::from_str(&run.succeeds().stdout).expect("rows");
        rows.into_iter().filter(|row| row["measure"] == "rare").collect::<Vec<_>>()
    };
    let of_lines = rare("a.txt");
    assert!(of_lines.len() == 24 && of_lines.iter().all(|row| row["score"].is_number()), "{of_lines:?}");
    assert_eq!(rare("a.jsonl"), of_lines);
    assert_eq!(rare("a.conllu"), of_lines);
    write("b.jsonl", "{\"text\": 7}\n");
    let wrong = Command::new(["heads", TEXT, "--counts", "b.jsonl"]).in_folder(&folder).run();
    assert!(wrong.fails(3).contains("b.jsonl: line 1 has a number in the field \"text\""), "{}", wrong.stderr);
    write("c.jsonl", "{\"words\": \"a\"}\n");
    let wrong = Command::new(["heads", TEXT, "--counts", "c.jsonl"]).in_folder(&folder).run();
    let said = "there is no field \"text\", but \"words\"; tokens are counted in the field or column text";
    assert!(wrong.fails(3).ends_with(said), "{}", wrong.stderr);
    write("empty.txt", "\n");
    let wrong = Command::new(["heads", TEXT, "--counts", "empty.txt"]).in_folder(&folder).run();
    assert!(wrong.fails(3).contains("empty.txt has no text whose tokens could be counted"), "{}", wrong.stderr);
}

#[test]
fn measures_are_defined_without_a_model() {
    let text = Command::new(["heads", "--measures"]).run();
    text.succeeds();
    for part in ["previous: mean weight one position back", "baseline", "Gu et al. 2025", "induction", "needs"] {
        assert!(text.stdout.contains(part), "{part} is missing in {}", text.stdout);
    }
    let value: Value =
        serde_json::from_str(&Command::new(["heads", "--measures", "--json"]).run().stdout).expect("JSON");
    assert!(value[0]["name"] == "previous" && value[0]["baseline"]["name"] == "uniform", "{value}");
}

#[test]
fn the_built_in_set_finds_duplicates_on_random_tokens_and_the_rest_on_sentences() {
    let rows = rows(&["heads", "--json"]);
    let induction = row(&rows, "decoder", 0, 0, "induction");
    // ten draws of 12, 14, … 30 tokens, each of which comes again
    assert_eq!(induction["n_rows"], (12..=30).step_by(2).sum::<u64>());
    assert!(row(&rows, "cross", 0, 0, "monotone")["n_rows"].as_u64().expect("a count") > 100);
    let odd = Command::new(["heads", "--max-tokens", "9"]).run();
    assert!(odd.fails(2).contains("the built-in set is run as it is"), "{}", odd.stderr);
}

#[test]
fn mentions_in_a_file_are_given_with_an_equals_sign() {
    let problem = Command::new(["heads", "--coref", "mentions.jsonl"]).run().fails(2).to_owned();
    assert!(problem.contains("--coref=mentions.jsonl"), "{problem}");
}

/// Writes a recording of one encoder head on five tokens that look at themselves, the last with this weight on the first; its name.
fn save_with(folder: &TempDir, of_last: f32) -> &'static str {
    let n = 5;
    let mut weights = vec![0.0; n * n]; // [n, n]
    (0..n).for_each(|query| weights[query * n + query] = 1.0);
    weights[(n - 1) * n] = of_last;
    let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: n, n_keys: n, d_head: 0, d_value: 0 };
    let recording = Recording {
        items: vec![Item { source: Tokens::from_labels(["a", "b", "c", "d", "e"]), ..Item::default() }],
        layers: vec![Layer::new(Kind::Encoder, 0, shape, Buffer::from(weights))],
        provenance: Provenance::default(),
    };
    recording.save(&folder.path().join("run.safetensors")).expect("it is written");
    "run.safetensors"
}

#[test]
fn a_question_about_a_map_that_fails_its_checks_is_answered_and_ends_with_1() {
    let folder = folder();
    let name = save_with(&folder, f32::NAN);
    fs::write(folder.path().join("p.csv"), "1,0,0,0,0\n".repeat(5)).expect("it is written");
    for asked in [["--query", "e", "--key", "a"].as_slice(), &["--like", "p.csv"]] {
        let run = Command::new([&["heads", name, "--json"], asked].concat()).in_folder(&folder).run();
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert!(run.stderr.contains("fails its checks"), "{}", run.stderr);
        let rows: Vec<Value> = serde_json::from_str(&run.stdout).expect("rows");
        assert_eq!(rows[0]["absent"], "some weights are no finite numbers");
    }
    let sound = save_with(&folder, 0.0);
    Command::new(["heads", sound, "--query", "e", "--key", "a"]).in_folder(&folder).run().succeeds();
}
