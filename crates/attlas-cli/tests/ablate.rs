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
    assert_eq!(names.len(), 9, "{names:?}");
    for name in ["kind", "layer", "head", "method", "metric", "effect", "mean_weight", "model", "text"] {
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
    assert!(table.starts_with("kind,layer,head,method,metric,effect,mean_weight,model,text\n"), "{table}");
}

#[test]
fn direct_shares_of_heads_and_all_else_sum_to_the_logit() {
    let rows = json(&["ablate", "--method", "direct", "--target", "id:9", "--json"]);
    let rows = rows.as_array().expect("rows");
    let sum: f64 = rows.iter().filter_map(|row| row["effect"].as_f64()).sum();
    let printed = Command::new(model(&["ablate", "--method", "direct", "--target", "9"])).run().stdout;
    let words = printed.split_whitespace().collect::<Vec<_>>().join(" ");
    let own = words.split("the model's own number is ").nth(1).and_then(|rest| rest.split(' ').next());
    let own: f64 = own.expect("it is said").trim_end_matches(['.', ',']).parse().expect("a number");
    assert!((sum - own).abs() < 2e-4, "{sum} {own}");
    let names: Vec<&str> = rows.iter().filter_map(|row| row["component"].as_str()).collect();
    assert_eq!(names.iter().filter(|name| **name == "head").count(), 8);
    assert_eq!(names.iter().filter(|name| **name == "feed-forward").count(), 2);
    assert!(names.contains(&"embedding") && printed.contains("L1 feed-forward"), "{printed}");
    let folder = tempfile::tempdir().expect("a folder");
    for (method, words, not) in
        [("direct", "direct share", "measured effect"), ("gradient", "size of the slope", "measured effect")]
    {
        let path = folder.path().join("a.svg").display().to_string();
        assert_eq!(Command::new(model(&["ablate", "--method", method, "-o", &path])).run().code, Some(0));
        let svg = std::fs::read_to_string(&path).expect("a picture");
        assert!(svg.contains(words) && !svg.contains(not) && !svg.contains("An effect is about"), "{method}");
    }
}

#[test]
fn a_head_gets_weights_of_ones_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weights.csv").display().to_string();
    let n = REPEATED.split(',').count();
    let row = |query: usize| {
        let cell = |key: usize| if key <= query { (1.0 / (query + 1) as f64).to_string() } else { "0".to_owned() };
        (0..n).map(cell).collect::<Vec<String>>().join(",")
    };
    std::fs::write(&path, (0..n).map(row).collect::<Vec<String>>().join("\n")).expect("written");
    let words = ["ablate", "--target", "9", "--heads", "0.3", "--json"];
    let given = json(&[&words[..], &["--give", &path]].concat());
    let uniform = json(&[&words[..], &["--method", "uniform"]].concat());
    let effect = |rows: &Value| rows[0]["effect"].as_f64().expect("an effect");
    assert!((effect(&given) - effect(&uniform)).abs() < 1e-5, "{given} {uniform}");
    assert_eq!(given[0]["method"], "given");
    std::fs::write(&path, "1,0\n0.5,0.5\n").expect("written");
    refused(model(&[&words[..], &["--give", &path]].concat()), 3, "has 17 queries and 17 keys");
    std::fs::write(&path, "1,0\n0.5,x\n").expect("written");
    refused(model(&[&words[..], &["--give", &path]].concat()), 3, "line 2: \"x\" is no number");
}

#[test]
fn a_model_without_a_tokenizer_is_patched_by_ids_and_two_runs_that_are_one_are_said_to_be() {
    let patched = |ids: &str| {
        let words = ["ablate", "--method", "patch", "--target", "9", "--patch-from-ids", ids];
        Command::new(model(&words)).run()
    };
    let same = patched(REPEATED);
    assert!(same.stdout.replace('\n', " ").contains("The run on the other text gives the same"), "{same:?}");
    let other = patched(&REPEATED.replacen("9", "8", 1));
    assert!(other.code == Some(0) && !other.stdout.contains("gives the same"), "{other:?}");
}

#[test]
fn a_foil_goes_with_every_metric_of_one_token_and_rows_that_are_not_printed_are_counted() {
    let value = |more: &[&str]| {
        let rows = json(&[&["ablate", "--metric", "probability", "--heads", "0.3", "--json"][..], more].concat());
        rows[0]["effect"].as_f64().expect("an effect")
    };
    let [both, target, foil] =
        [&["--target", "9", "--foil", "4"][..], &["--target", "9"], &["--target", "4"]].map(value);
    assert!((both - (target - foil)).abs() < 1e-6, "{both} {target} {foil}");
    let edges = Command::new(model(&["ablate", "--heads", "0.3", "--edges"])).run();
    assert!(edges.stdout.contains("… 128 more"), "{}", edges.stdout);
    refused(model(&["ablate", "--target", "9", "--position", "-1"]), 2, "--position: \"-1\" was given; a number, 0 or");
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
    refused(model(&["ablate", "--method", "fast"]), 2, "pattern-preserving, patch, direct or gradient was expected");
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
    let together = ["ablate", "--method", "gradient", "--together"];
    refused(model(&together), 2, "slopes of heads have no sum");
    refused(model(&["ablate", "--method", "gradient", "--metric", "kl"]), 3, "its slope is 0");
    refused(model(&["ablate", "--by-key"]), 2, "--by-key is for --method direct");
    refused(model(&["ablate", "--method", "direct", "--by-key", "--metric", "logit"]), 2, "leave --metric out");
    refused(model(&["ablate", "--states"]), 2, "--patch-from");
    refused(model(&["ablate", "--target", ""]), 3, "an empty text names no token or class of llama-induction");
    refused(model(&["lens", "--position", "17"]), 3, "there is no position 17");
    refused(model(&["check", "--budget", "2"]), 2, "a share from 0 to 1");
}

#[test]
fn the_lens_reads_within_layers_where_that_is_asked_for() {
    let rows = json(&["lens", "--top", "1", "--after-attention", "--json"]);
    let rows = rows.as_array().expect("rows");
    let places: Vec<(u64, &str)> =
        rows.iter().map(|row| (row["layer"].as_u64().unwrap(), row["depth"].as_str().unwrap())).collect();
    let (entering, behind) = ("entering", "after_attention");
    assert_eq!(places, [(0, entering), (0, behind), (1, entering), (1, behind), (2, entering)]);
    let printed = Command::new(model(&["lens", "--after-attention"])).run();
    assert!(printed.stdout.contains("within 1 ") && printed.stdout.contains("behind its attention"), "{printed:?}");
}

#[test]
fn slopes_rank_all_heads_by_one_pass_and_those_of_a_layer_are_scaled_together() {
    let rows = json(&["ablate", "--method", "gradient", "--json"]);
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.len(), 8);
    assert!(rows.iter().all(|row| row["metric"] == "loss" && row["effect"].as_f64() >= Some(0.0)), "{rows:?}");
    for layer in rows.chunks(4) {
        let squares: f64 = layer.iter().map(|row| row["by_layer"].as_f64().unwrap().powi(2)).sum();
        assert!((squares - 1.0).abs() < 1e-9, "{layer:?}");
    }
    let printed = Command::new(model(&["ablate", "--method", "gradient"])).run();
    assert!(printed.stdout.contains("Size of the slope of the mean loss"), "{printed:?}");
}

#[test]
fn a_heads_shares_by_key_sum_to_what_it_writes() {
    let sum = |rows: &Value| rows.as_array().unwrap().iter().map(|row| row["effect"].as_f64().unwrap()).sum::<f64>();
    let words = ["ablate", "--method", "direct", "--target", "9", "--heads", "1.2", "--json"];
    let whole = json(&words);
    let by_key = json(&[&words[..], &["--by-key"]].concat());
    assert_eq!(by_key.as_array().map(Vec::len), Some(17), "one row for each key");
    assert!((sum(&by_key) - sum(&whole)).abs() < 1e-4, "{whole} {by_key}");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.svg").display().to_string();
    let drawn = Command::new(model(&["ablate", "--method", "direct", "--target", "9", "--by-key", "-o", &path])).run();
    assert_eq!(drawn.code, Some(0), "{drawn:?}");
    assert!(std::fs::read_to_string(&path).expect("a picture").contains("direct share"));
    let path = folder.path().join("keys.csv").display().to_string();
    let written = Command::new(model(&[&words[..], &["--by-key", "-o", &path]].concat())).run();
    assert_eq!(written.code, Some(0), "{written:?}");
    let table = std::fs::read_to_string(&path).expect("a table");
    assert_eq!(table.lines().next(), Some("kind,layer,head,key,token,method,metric,effect,weight"));
    assert_eq!((table.lines().count(), by_key[0]["metric"].as_str()), (18, Some("logit")));
}

#[test]
fn hidden_states_carry_what_differs_from_its_token_to_the_end() {
    let (text, other) = ("Once upon a time there was a little girl", "Once upon a time there was a little boy");
    let words = ["ablate", text, "--method", "patch", "--patch-from", other, "--states"];
    let run = Command::new(stories(&[&words[..], &["--json"]].concat())).run();
    assert_eq!(run.code, Some(0), "{run:?}");
    let rows: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let rows = rows.as_array().expect("rows");
    let last_layer = rows.iter().filter_map(|row| row["layer"].as_u64()).max().expect("layers");
    let share = |row: &Value| row["share"].as_f64().expect("a share");
    let of = |layer: u64| rows.iter().filter(move |row| row["layer"].as_u64() == Some(layer));
    // what is read after the last token lies there at the end, and what is before the token that differs is the same in both
    assert!(of(0).take(5).all(|row| share(row).abs() < 1e-6), "{rows:?}");
    assert!(of(last_layer).map(share).sum::<f64>() > 0.99, "{rows:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("traced.svg").display().to_string();
    let drawn = Command::new(stories(&[&words[..], &["-o", &path]].concat())).run();
    assert!(drawn.stdout.contains("Everything exchanged:") && drawn.stdout.contains("traced.svg"), "{drawn:?}");
    assert!(std::fs::read_to_string(&path).expect("a picture").contains("layer that is entered"));
    let path = folder.path().join("traced.csv").display().to_string();
    let written = Command::new(stories(&[&words[..], &["-o", &path, "--json"]].concat())).run();
    assert_eq!(written.stdout, run.stdout, "the rows are printed as they are without a file");
    let table = std::fs::read_to_string(&path).expect("a table");
    assert_eq!(table.lines().next(), Some("stack,layer,position,token,method,metric,effect,share"));
    assert_eq!(table.lines().count(), rows.len() + 1);
}

#[test]
fn no_way_leads_back_from_a_head_to_one_before_it() {
    let (text, other) = ("Once upon a time there was a little girl", "Once upon a time there was a little boy");
    let patch = ["ablate", text, "--method", "patch", "--patch-from", other, "--receiver"];
    let back = [&patch[..], &["1.0", "--heads", "2.1"]].concat();
    refused(stories(&back), 2, "decoder:L2H1 does not come before decoder:L1H0: no way leads back to it");
    refused(stories(&[&patch[..], &["0.2"]].concat()), 2, "no head comes before --receiver decoder:L0H2");
    let run = Command::new(stories(&[&patch[..], &["1.0", "--json"]].concat())).run();
    let rows: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let rows = rows.as_array().expect("rows");
    assert!(!rows.is_empty() && rows.iter().all(|row| row["layer"] == 0), "those before it alone: {rows:?}");
}

#[test]
fn a_map_is_sought_by_gradient_and_held_against_other_trainings() {
    let folder = trained("llama-induction").display().to_string();
    let words = ["check", "--permutations", "2", "--heads", "0.1", "--erase-with", "0"];
    let more = ["--adversarial=30", "--budget", "0.05", "--beside", &folder, "--against", &folder];
    let card = json(&[&words[..], &more, &["--json"]].concat());
    let map = &card["maps"][0];
    let sought = &map["adversarial"];
    assert!(sought["tvd"].as_f64().expect("a map was found") <= 0.05, "{sought}");
    assert!(sought["of_maps_jsd"].as_f64() > Some(0.1), "{sought}");
    assert_eq!((map["beside_jsd"].as_f64(), card["beside"].as_array().map(Vec::len)), (Some(0.0), Some(2)));
    assert!(card["all_uniform"]["tvd"].as_f64().is_some());
    let printed = Command::new(model(&[&words[..], &more].concat())).run();
    for part in ["by gradient", "other trainings", "What a seed decides, over 2 trainings"] {
        assert!(printed.stdout.contains(part), "{part}: {}", printed.stdout);
    }
    let both = Command::new(model(&["check", "--heads", "0.1", "--adversarial=5", "--together"])).run();
    assert_eq!(both.code, Some(2), "{both:?}");
}

#[test]
fn a_masked_model_without_a_mask_says_which_option_names_the_position() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../attlas-model/tests/data/families/bert");
    let folder = folder.display().to_string();
    for method in ["gradient", "direct"] {
        let words = ["ablate", "--model", &folder, "--source-ids", "5,9,7", "--method", method].map(str::to_owned);
        refused(words.to_vec(), 3, "name the position that is meant, 0 to 2 (--position)");
    }
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
    assert_eq!(text.matches("All components").count(), 1, "{text}");
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

#[test]
fn a_classifiers_output_is_one_row_so_that_no_mean_over_positions_is_told() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../attlas-model/tests/data/families/deberta-v3-classifier");
    let folder = folder.display().to_string();
    let run = Command::new(["ablate", "--model", &folder, "--source-ids", "5,9,7", "--heads", "0.0"]).run();
    assert_eq!(run.code, Some(0), "{run:?}");
    let text = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("divergence from the unchanged output, in nats") && !text.contains("position"), "{text}");
}
