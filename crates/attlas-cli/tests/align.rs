//! `attlas align`, the heads of `attlas evaluate`, and the head that a page opens with.

mod common;

use std::fs;
use std::path::Path;

use attlas::attention::Shape;
use attlas::{Item, Kind, Layer, Provenance, Recording, Tokens, Weights};
use common::{Command, Finished, folder};
use serde_json::Value;
use tempfile::TempDir;

const CAT: &str = "The cat sat on the mat.";

/// A call in a folder with pairs and gold: of `A red apple.`, `I am here.` and `The cat sleeps.`
fn align(folder: &TempDir, words: &[&str]) -> Finished {
    let pairs = "A red apple .\tUne pomme rouge .\nI am here.\tJe suis ici.\nThe cat sleeps .\tLe chat dort .\n";
    for (name, text) in [
        ("pairs.tsv", pairs),
        ("gold", "0-0 2-1 1-2 3p3\n0-0 1-1 2-2\n0-0 1-1 2-2 3-3\n"),
        ("turned", "1-1 2-3 3-2 4?4\n1-1 2-2 3-3\n1-1 2-2 3-3 4-4\n"),
        ("apple", "0-0 2-1 1-2 3p3\n"),
    ] {
        fs::write(folder.path().join(name), text).expect("it is written");
    }
    let words: Vec<&str> = ["align"].iter().chain(words).copied().collect();
    Command::new(words).in_folder(folder).run()
}

fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.succeeds().stdout).expect("one JSON object")
}

#[test]
fn what_is_to_be_known_of_a_generated_text_is_said_beside_its_links() {
    let folder = folder();
    let ghost = "The ghost haunted the old chapel.";
    let said = "\"honné\" was in the text found first";
    let alone = align(&folder, &[ghost]);
    alone.succeeds();
    assert!(alone.stderr.contains(&format!("attlas: {said}")), "{}", alone.stderr);
    Command::new(["record", CAT, ghost, "-o", "run.safetensors"]).in_folder(&folder).run().succeeds();
    let both = align(&folder, &["run.safetensors"]);
    both.succeeds();
    assert!(both.stderr.contains(&format!("attlas: text 1: {said}")), "{}", both.stderr);
}

#[test]
fn tokens_are_aligned_by_the_mean_of_a_layer_and_by_a_head() {
    let folder = folder();
    let mean = align(&folder, &[CAT, "--layer", "2", "--tokens"]);
    assert_eq!(mean.succeeds().stdout, "0-0 1-1 2-2 2-3 3-4 4-5 5-6 6-7 6-8\n");
    assert!(mean.stderr.contains("L2, mean of 8 heads, the row that predicts a word; tokens"), "{}", mean.stderr);
    assert!(mean.stderr.contains("The cat sat on the mat . → Le chat s"), "what the numbers count: {}", mean.stderr);
    let head = align(&folder, &[CAT, "--head", "L0H7", "--tokens"]);
    assert_eq!(head.succeeds().stdout, "5-0 0-1 2-2 2-3 6-4 3-5 4-6 6-7 6-8\n");
    Command::new(["record", CAT, "-o", "run.safetensors"]).in_folder(&folder).run().succeeds();
    let recorded = align(&folder, &["run.safetensors", "--layer", "0", "--head", "7", "--tokens"]);
    assert_eq!(recorded.succeeds().stdout, head.stdout, "a recording says the same");
}

#[test]
fn words_are_those_between_white_space_or_those_of_the_tokenizer() {
    let folder = folder();
    let target = ["--target", "Le chat s'assit sur le tapis."];
    let words = |how: &str| {
        let run = align(&folder, &[[CAT, "--words", how, "--format", "json"].as_slice(), &target].concat());
        let text = json(&run)["texts"][0].clone();
        (text["source"].as_array().expect("words").len(), text["target"][5].clone(), text["links"].clone())
    };
    let (n_source, last, links) = words("whitespace");
    assert_eq!((n_source, last), (6, "tapis.".into()));
    assert_eq!((&links[5]["source"], &links[5]["target"]), (&5.into(), &5.into()));
    assert!(links[5]["weight"].as_f64().expect("a weight") > 0.5);
    assert_eq!(words("model").0, 7, "mat and . apart");
}

#[test]
fn gold_gives_the_error_rates_of_every_head_in_both_rows() {
    let folder = folder();
    let scores = json(&align(&folder, &["--pairs", "pairs.tsv", "--gold", "gold", "--json", "--head", "L2H4"]));
    assert_eq!((&scores["n_texts"], &scores["n_sure"], &scores["n_possible"]), (&3.into(), &10.into(), &11.into()));
    let rows = scores["scores"].as_array().expect("rows");
    assert_eq!(rows.len(), 2 * (24 + 3), "heads and means, in two rows each");
    let of = |head: i64, rows_are: &str| {
        let is_it = |row: &&Value| row["layer"] == 2 && row["head"] == head && row["rows"] == rows_are;
        rows.iter().find(is_it).expect("the head is there")
    };
    assert_eq!((&of(4, "predicted")["error_rate"], &of(4, "predicted")["score"]), (&0.0.into(), &1.0.into()));
    assert!(of(4, "read")["error_rate"].as_f64() > Some(0.5), "{}", of(4, "read"));
    // the diagonal is right but for the crossing of red apple
    assert_eq!(of(4, "predicted")["baseline"], 0.8);
    assert_eq!(scores["chosen"]["n_links"], 11);
    let turned = ["--gold", "turned", "--gold-base", "1", "--gold-order", "target-source"];
    let table = align(
        &folder,
        &[["--pairs", "pairs.tsv", "-o", "links.pharaoh", "--head", "L2H4"].as_slice(), &turned].concat(),
    );
    assert!(table.succeeds().stdout.contains("row that predicts"), "{}", table.stdout);
    assert!(table.stdout.lines().all(|line| line.chars().count() <= 80), "{}", table.stdout);
    let links = fs::read_to_string(folder.path().join("links.pharaoh")).expect("it is written");
    assert_eq!(links, "0-0 2-1 1-2 3-3\n0-0 1-1 2-2\n0-0 1-1 2-2 3-3\n");
}

#[test]
fn gold_that_does_not_fit_is_refused_with_its_line() {
    let folder = folder();
    let refused = |gold: &str, more: &[&str]| {
        fs::write(folder.path().join("bad"), gold).expect("it is written");
        let words = [["--pairs", "pairs.tsv", "--gold", "bad"].as_slice(), more].concat();
        let run = align(&folder, &words);
        assert_eq!(run.code, Some(3), "{}", run.stderr);
        run.stderr
    };
    assert!(refused("0-0\n", &[]).contains("bad: 1 line for 3 texts"));
    let base = refused("1-1\n0-2\n\n", &["--gold-base", "1"]);
    assert!(base.contains("bad: line 2: \"0-2\" names word 0"), "{base}");
    let past = refused("4-4\n\n\n", &[]);
    assert!(
        past.contains("bad: line 1:") && past.contains("do its words count from 1") && past.contains("--gold-base 1"),
        "{past}"
    );
    assert!(refused("\n\n7-0\n", &[]).contains("line 3: the link of source word 7 and target word 0"));
    assert!(refused("\n\none\n", &[]).contains("bad: line 3: \"one\" is no link"));
}

#[test]
fn two_directions_are_combined() {
    let folder = folder();
    let links = |more: &[&str]| {
        let run = align(&folder, &[["--pairs", "pairs.tsv", "--head", "L0H7"].as_slice(), more].concat());
        run.succeeds().stdout.lines().map(|line| line.split_whitespace().count()).sum::<usize>()
    };
    let (plain, intersection, union) =
        (links(&[]), links(&["--symmetrise", "intersection"]), links(&["--symmetrise", "union"]));
    assert!(intersection < plain && plain < union, "{intersection} {plain} {union}");
    let grown = links(&["--symmetrise", "grow-diag-final-and"]);
    assert!(intersection <= grown && grown <= union, "{grown}");

    // the embedded model's folder stands in for one of the other direction
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../attlas-model/embedded");
    let reverse = ["--reverse", model.to_str().expect("a name"), "--reverse-head", "L2H4"];
    let run = align(&folder, &[["--pairs", "pairs.tsv", "--symmetrise", "intersection"].as_slice(), &reverse].concat());
    assert!(run.succeeds().stderr.contains("intersection with the other model's links"), "{}", run.stderr);
    assert!(
        align(&folder, &[["--pairs", "pairs.tsv"].as_slice(), &reverse].concat()).fails(2).contains("--symmetrise")
    );
    let tokens = [[CAT, "--symmetrise", "union", "--tokens"].as_slice(), &reverse].concat();
    assert!(align(&folder, &tokens).fails(2).contains("two models cut texts differently"));
}

#[test]
fn an_alignment_is_drawn_with_its_gold() {
    let folder = folder();
    let words = ["A red apple .", "--target", "Une pomme rouge .", "--head", "L2H4", "--gold", "apple"];
    align(&folder, &[words.as_slice(), &["-o", "apple.svg", "--words", "whitespace"]].concat()).succeeds();
    let svg = fs::read_to_string(folder.path().join("apple.svg")).expect("it is drawn");
    assert!(svg.contains("cross-attention L2H4") && svg.contains("solid outline: a sure link"), "{svg}");
    let batch = ["record", "One.", "Two.", "-o", "run.safetensors"];
    Command::new(batch).in_folder(&folder).run().succeeds();
    let two = align(&folder, &["run.safetensors", "-o", "two.png"]);
    assert!(two.fails(2).contains("--text N"), "{}", two.stderr);
    align(&folder, &["run.safetensors", "--text", "1", "-o", "two.png"]).succeeds();
    let own = align(&folder, &["--pairs", "pairs.tsv", "-o", "pairs.tsv"]);
    assert!(own.fails(2).contains("would be lost"), "{}", own.stderr);
}

#[test]
fn a_pair_that_is_too_long_is_left_out_and_its_line_is_empty() {
    let folder = folder();
    let long = format!("A cat.\tUn chat.\n{}\tUn mot.\nI am here.\tJe suis ici.\n", "word ".repeat(600));
    fs::write(folder.path().join("long.tsv"), long).expect("it is written");
    let run = align(&folder, &["--pairs", "long.tsv", "--head", "L2H4"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), "0-0 1-1\n\n0-0 1-1 2-2\n"), "{}", run.stderr);
    assert!(run.stderr.contains("left out: long.tsv: line 2: the pair has 60"), "{}", run.stderr);
    fs::write(folder.path().join("none.tsv"), "").expect("it is written");
    assert!(align(&folder, &["--pairs", "none.tsv"]).fails(3).contains("no sentence pair"));
    fs::write(folder.path().join("empty.tsv"), "A cat.\t \n").expect("it is written");
    assert!(align(&folder, &["--pairs", "empty.tsv"]).fails(3).contains("line 1"));
}

#[test]
fn heads_that_do_not_exist_or_are_half_said_are_refused() {
    let folder = folder();
    for (words, code, says) in [
        (["--head", "L2H8"].as_slice(), 2, "its heads are 0 to 7"),
        (&["--head", "L9H0"], 2, "there are 0 to 2"),
        (&["--head", "4"], 2, "of which layer"),
        (&["--head", "L2H4", "--layer", "2"], 2, "leave out --layer"),
        (&["--json", "--format", "tsv"], 2, "give one of the two"),
        (&["--gold", "apple", "--format", "tsv"], 2, "to --output alone"),
        (&["-o", "a.svg", "--dpi", "300"], 2, "has no pixels"),
        (&["-o", "a.xyz"], 2, "-o a.xyz: .pharaoh, .align, .links, .txt, .tsv or .json"),
    ] {
        let run = align(&folder, &[[CAT].as_slice(), words].concat());
        assert!(run.fails(code).contains(says), "{words:?}: {}", run.stderr);
    }
}

#[test]
fn a_reference_without_a_link_gives_no_rates() {
    let folder = folder();
    fs::write(folder.path().join("none.links"), "\n").expect("it is written");
    let words = ["A red apple.", "--target", "Une pomme rouge.", "--gold", "none.links"];
    let run = align(&folder, &words);
    assert!(
        run.succeeds().stdout.contains("the reference has no link at all, so there are no rates"),
        "{}",
        run.stdout
    );
    assert!(!run.stdout.contains("100.0"), "{}", run.stdout);
    let run = align(&folder, &[words.as_slice(), &["--json"]].concat());
    let object: serde_json::Value = serde_json::from_str(&run.succeeds().stdout).expect("JSON");
    assert!(object["absent"].is_string() && object["chosen"]["error_rate"].is_null(), "{object}");
    assert!(object["scores"].as_array().expect("rows").iter().all(|row| row["error_rate"].is_null()));
}

/// A recording of one layer of one head without a known prediction, saved as `run.safetensors`.
fn imported(folder: &TempDir, kind: Kind, weights: Vec<f32>) {
    let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: 2, n_keys: 2, d_head: 0, d_value: 0 };
    let tokens = || Tokens::from_labels(["a", "b"]);
    let recording = Recording {
        items: vec![Item { source: tokens(), target: tokens(), ..Item::default() }],
        layers: vec![Layer::new(kind, 0, shape, Weights::Dense(weights.into()))],
        provenance: Provenance { mode: attlas::recording::Mode::Eval, ..Provenance::default() },
    };
    recording.save(&folder.path().join("run.safetensors")).expect("it is saved");
}

#[test]
fn recordings_that_cannot_be_aligned_say_why() {
    let folder = folder();
    imported(&folder, Kind::Encoder, vec![0.5; 4]);
    let problem = align(&folder, &["run.safetensors"]).fails(3).to_owned();
    assert!(
        problem.contains("run.safetensors has no cross-attention") && problem.contains("it has encoder"),
        "{problem}"
    );
    imported(&folder, Kind::Cross, vec![0.9, 0.1, f32::NAN, 0.3]);
    let problem = align(&folder, &["run.safetensors"]).fails(3).to_owned();
    assert!(
        problem.contains("does not say which token each row predicts") && problem.contains("(--rows read)"),
        "{problem}"
    );
    let run = align(&folder, &["run.safetensors", "--rows", "read"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), "0-0\n"), "{}", run.stderr);
    assert!(run.stderr.contains("text 0: 1 target word without a link"), "{}", run.stderr);
    let problem = align(&folder, &["run.safetensors", "--rows", "read", "--words", "whitespace"]).fails(3).to_owned();
    assert!(problem.contains("has no place in a text") && problem.contains("(--words model, --tokens)"), "{problem}");
    imported(&folder, Kind::Cross, vec![0.9, 0.1, 0.6, 0.9]);
    let run = align(&folder, &["run.safetensors", "--rows", "read"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), "0-0 1-1\n"), "{}", run.stderr);
    assert!(run.stderr.contains("fails its checks in cross L0H0: row sums off by up to 0."), "{}", run.stderr);
}

#[test]
fn evaluate_gives_the_probe_of_every_head_in_both_rows_the_best_first() {
    let folder = folder();
    align(&folder, &["--pairs", "pairs.tsv"]).succeeds();
    let run = Command::new(["evaluate", "--pairs", "pairs.tsv", "--json"]).in_folder(&folder).run();
    let heads = json(&run)["alignment_accuracy"]["heads"].as_array().expect("heads").clone();
    assert_eq!(heads.len(), 48);
    let scores: Vec<f64> = heads.iter().map(|head| head["score"].as_f64().expect("a score")).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores[0] == 1.0, "{scores:?}");
    let head = heads.iter().find(|head| head["layer"] == 2 && head["head"] == 4 && head["rows"] == "predicted");
    assert_eq!(head.expect("it is there")["score"], 1.0);
    let run = Command::new(["evaluate", "--pairs", "pairs.tsv"]).in_folder(&folder).run();
    assert!(run.succeeds().stdout.contains("and 12 more heads;"), "{}", run.stdout);
    assert!(run.stdout.lines().all(|line| line.chars().count() <= 80), "{}", run.stdout);
}

#[test]
fn without_a_word_of_the_dictionary_there_is_no_score() {
    let folder = folder();
    fs::write(folder.path().join("odd.tsv"), "Hm.\tBof.\n").expect("it is written");
    let run = Command::new(["evaluate", "--pairs", "odd.tsv", "--json"]).in_folder(&folder).run();
    let accuracy = json(&run)["alignment_accuracy"].clone();
    assert!(accuracy["diagonal"].is_null() && accuracy["heads"][0]["score"].is_null(), "{accuracy}");
    assert!(accuracy["heads"][0]["absent"].as_str().expect("a reason").contains("dictionary"), "{accuracy}");
}

#[test]
fn the_page_of_the_embedded_model_opens_on_a_head_that_aligns() {
    let folder = folder();
    Command::new([CAT, "-o", "page.html"]).in_folder(&folder).run().succeeds();
    let page = fs::read_to_string(folder.path().join("page.html")).expect("the page is written");
    let data = page.split("id=\"atlas-data\">").nth(1).and_then(|rest| rest.split("</script>").next()).expect("data");
    let data: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(data["open"], serde_json::json!({"kind": "cross", "layer": 2, "head": 4}));
}
