//! `attlas ablate`, `attlas check` and `attlas lens`: what they print, write and refuse.

mod common;

use std::path::{Path, PathBuf};

use common::Command;
use serde_json::Value;

fn trained(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../attlas-model/tests/data/trained").join(name)
}

/// A sequence whose second half repeats its first, up to the token 9 that comes next.
const REPEATED: &str = "11,4,27,18,33,9,41,22,6,30,15,38,11,4,27,18,33";

fn model(words: &[&str]) -> Vec<String> {
    let folder = trained("llama-induction").display().to_string();
    let command = [words[0], "--model", &folder, "--target-ids", REPEATED];
    command.iter().chain(&words[1..]).map(|word| (*word).to_owned()).collect()
}

fn json(words: &[&str]) -> Value {
    let finished = Command::new(model(words)).run();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    serde_json::from_str(&finished.stdout).expect("JSON")
}

fn refused(words: Vec<String>, code: i32, part: &str) {
    let finished = Command::new(&words).run();
    assert_eq!(finished.code, Some(code), "{finished:?}");
    assert!(finished.stderr.contains(part), "{finished:?}");
    assert!(finished.stdout.is_empty(), "{finished:?}");
}

#[test]
fn the_head_that_decides_a_copy_comes_first_and_the_rows_have_their_names() {
    let rows = json(&["ablate", "--target", "9", "--json"]);
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.len(), 8);
    let names: Vec<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names.len(), 7, "{names:?}");
    for name in ["kind", "layer", "head", "method", "metric", "effect", "mean_weight"] {
        assert!(names.contains(&name), "{name}");
    }
    let effect = |row: &Value| row["effect"].as_f64().unwrap();
    let first = rows.iter().min_by(|a, b| effect(a).total_cmp(&effect(b))).unwrap();
    assert_eq!(
        (first["layer"].as_u64(), first["head"].as_u64(), first["metric"].as_str()),
        (Some(0), Some(3), Some("probability"))
    );
    let table = Command::new(model(&["ablate", "--target", "9"])).run();
    let lines: Vec<&str> = table.stdout.lines().collect();
    assert!(lines[1].starts_with("decoder  L0H3"), "{}", table.stdout);
    assert!(table.stdout.contains("Rank correlation of the two:"), "{}", table.stdout);
}

#[test]
fn heads_that_stand_in_for_each_other_are_taken_away_together() {
    let rows = json(&["ablate", "--target", "9", "--heads", "1.*", "--together", "--json"]);
    assert_eq!(rows[0]["heads"], "decoder:L1H0 decoder:L1H1 decoder:L1H2 decoder:L1H3");
    assert!(rows[0]["effect"].as_f64().unwrap() < -0.5, "{rows}");
}

#[test]
fn effects_are_drawn_and_written_as_tables() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["effects.svg", "effects.png", "effects.csv", "edges.svg"] {
        let path = folder.path().join(name).display().to_string();
        let words: Vec<&str> = match name {
            "edges.svg" => vec!["ablate", "--heads", "0.3", "--edges", "-o", &path],
            _ => vec!["ablate", "-o", &path],
        };
        let finished = Command::new(model(&words)).run();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert!(std::fs::metadata(&path).expect("a file").len() > 300, "{name}");
        if name.ends_with(".svg") {
            let svg = std::fs::read_to_string(&path).expect("a picture");
            assert!(svg.contains("measured effect") && !svg.contains(">−"), "a divergence has no negative side: {svg}");
        }
    }
    let table = std::fs::read_to_string(folder.path().join("effects.csv")).unwrap();
    assert!(table.starts_with("kind,layer,head,method,metric,effect,mean_weight\n"), "{table}");
}

#[test]
fn the_lens_ends_in_the_output() {
    let rows = json(&["lens", "--top", "1", "--target", "9", "--json"]);
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.len(), 6, "two layers and the output, each with the likeliest and the token asked for");
    let last = &rows[4];
    assert_eq!((last["layer"].as_u64(), last["rank"].as_u64(), last["id"].as_u64()), (Some(2), Some(1), Some(9)));
}

#[test]
fn a_card_says_which_maps_the_output_needs() {
    let card = json(&["check", "--permutations", "3", "--erase-with", "0", "--json"]);
    let maps = card["maps"].as_array().expect("maps");
    assert_eq!(maps.len(), 8);
    assert_eq!(maps[3]["permuted_tvd"].as_array().map(Vec::len), Some(3));
    assert!(maps[3]["median_tvd"].as_f64() > maps[1]["median_tvd"].as_f64());
    assert_eq!(card["erasing"]["shares"].as_array().map(Vec::len), Some(5));
    let folder = trained("llama-induction").display().to_string();
    let card = json(&["check", "--permutations", "1", "--heads", "0.3", "--beside", &folder, "--json"]);
    assert_eq!(card["beside"][0]["tvd"], 0.0, "a model is no distance from itself");
    let printed = Command::new(model(&["check", "--permutations", "3", "--heads", "0.3"])).run();
    assert!(printed.stdout.contains("Permuting this map moves the output by"), "{printed:?}");
}

#[test]
fn what_is_not_there_is_refused_in_a_sentence() {
    refused(
        model(&["ablate", "--heads", "7.1"]),
        2,
        "llama-induction has no such head (decoder: up to L1H3, counted from 0)",
    );
    refused(model(&["ablate", "--target", "abc"]), 3, "\"abc\" is not an id of llama-induction");
    refused(model(&["ablate", "--target", "9", "--position", "40"]), 3, "there is no position 40");
    refused(model(&["ablate", "--target", "9", "--foil", "9"]), 2, "the foil is the target itself");
    refused(model(&["ablate", "--metric", "logit-diff"]), 2, "needs a foil");
    refused(model(&["ablate", "--metric", "kl", "--target", "9"]), 2, "a target is for the metrics logit");
    refused(model(&["ablate", "--seed", "3"]), 2, "--seed is for --method permute");
    refused(model(&["ablate", "--method", "patch"]), 2, "--method patch needs --patch-from");
    refused(model(&["ablate", "--kind", "cross"]), 2, "llama-induction has no cross-attention");
    refused(model(&["ablate", "--method", "fast"]), 2, "pattern-preserving, patch or direct was expected");
    let title = ["ablate", "-o", "effects.csv", "--title", "Effects"];
    refused(model(&title), 2, "--title is for a picture, and -o effects.csv is a table");
    refused(model(&["ablate", "--title", "Effects"]), 2, "--title is for a picture, and -o names none");
    refused(model(&["ablate", "-o", "effects.xyz"]), 2, "effects are written as");
    refused(
        model(&["ablate", "--method", "patch", "--patch-from", "x", "--together"]),
        2,
        "--method patch exchanges one head at a time",
    );
    refused(
        model(&["ablate", "--method", "direct", "--metric", "loss"]),
        2,
        "direct attribution shares out a logit, and no loss",
    );
    refused(model(&["lens", "--position", "17"]), 3, "there is no position 17");
    refused(model(&["check", "--budget", "2"]), 2, "a share from 0 to 1");
}

/// Two texts for the model of stories, one a line.
fn stories(words: &[&str]) -> Vec<String> {
    let model = trained("stories260K").display().to_string();
    let command = [words[0], words[1], "--model", &model];
    command.iter().chain(&words[2..]).map(|word| (*word).to_owned()).collect()
}

#[test]
fn what_is_said_of_several_texts_holds_of_all_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("texts.txt");
    let lines = ["Once upon a time there was a little girl", "Tom had a big red"];
    std::fs::write(&path, lines.join("\n")).expect("written");
    let path = path.display().to_string();
    refused(stories(&["ablate", &path, "--metric", "logit"]), 2, "the logit of 2 texts needs a target");
    refused(stories(&["ablate", &path, "--method", "direct"]), 2, "the logit of 2 texts needs a target");
    let words = ["ablate", &path, "--method", "patch", "--patch-from", "x"];
    refused(stories(&words), 2, "patching is about one text, and there are 2");
    let printed = Command::new(stories(&["ablate", &path, "--method", "direct", "--target", "7"])).run();
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let text = printed.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("after each text's last position. "), "{text}");
    assert_eq!(text.matches("all components").count(), 1, "{text}");
    let printed = Command::new(stories(&["ablate", &path, "--heads", "0.*"])).run();
    let text = printed.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("mean over a text's positions") && text.contains("Means over 2 texts."), "{text}");
    // the effect is the mean of those of the texts
    let effects = |text: &str| -> Vec<f64> {
        let finished = Command::new(stories(&["ablate", text, "--target", "7", "--heads", "0.*", "--json"])).run();
        let rows: Value = serde_json::from_str(&finished.stdout).expect("JSON");
        rows.as_array().expect("rows").iter().map(|row| row["effect"].as_f64().expect("a number")).collect()
    };
    let (together, alone) = (effects(&path), lines.map(effects));
    for (head, mean) in together.iter().enumerate() {
        assert!((mean - (alone[0][head] + alone[1][head]) / 2.0).abs() < 1e-12, "head {head}");
    }
}

#[test]
fn another_training_is_read_as_the_first_one_is() {
    let folder = trained("llama-induction").display().to_string();
    let words =
        ["check", "--permutations", "1", "--heads", "0.3", "--precision", "fastest", "--beside", &folder, "--json"];
    assert_eq!(json(&words)["beside"][0]["tvd"], 0.0, "a model is no distance from itself, however exact");
    let words = ["check", "--permutations", "1", "--heads", "0.3", "--beside", "nobody/no-model"];
    refused(model(&words), 3, "nobody/no-model: is no folder and not in the hub's cache");
}

#[test]
fn pairs_that_are_no_runs_do_not_count_towards_the_limit() {
    let ids = vec!["7"; 370].join(",");
    let words = ["ablate", "--edges", "--target-ids", &ids, "--heads", "0.0"];
    let refusal = "68634 pairs of tokens are as many runs, and 65536 are possible";
    refused(stories(&words), 5, refusal);
}

#[test]
fn what_stands_below_the_help_is_not_wrapped_twice() {
    for command in ["ablate", "explain", "check", "lens", "why", "circuits"] {
        let help = Command::new([command, "--help"]).run();
        let below = help.stdout.split("Examples:\n").nth(1).expect("examples");
        assert!(below.lines().all(|line| line.chars().count() <= 98), "{command}: {below}");
    }
}
