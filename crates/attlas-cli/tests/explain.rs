//! `attlas explain`: methods side by side, as a table, JSON, files and pictures; and maps of gradients.

mod common;

use std::fs;
use std::path::Path;

use common::{Command, Finished, folder};
use serde_json::Value;

const APPLE: &str = "She gave him a red apple.";
/// What all methods are for an encoder-decoder, in the order of the table.
const METHODS: [&str; 13] = [
    "weight",
    "norm",
    "norm-sum",
    "alti",
    "gradient-attention",
    "relevance",
    "saliency",
    "input-gradient",
    "integrated-gradients",
    "attn-lrp",
    "cp-lrp",
    "hide",
    "leave-out",
];

fn family(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../attlas-model/tests/data/families").join(name);
    folder.display().to_string()
}

fn json(run: &Finished) -> Vec<Value> {
    serde_json::from_str(&run.succeeds().stdout).expect("a JSON array")
}

#[test]
fn every_method_scores_every_token_of_both_texts() {
    let rows = json(&Command::new(["explain", APPLE, "--position", "4", "--json"]).run());
    let side = |row: &Value, name: &str| row["side"] == name;
    for method in METHODS {
        let of_method: Vec<&Value> = rows.iter().filter(|row| row["method"] == method).collect();
        let source = of_method.iter().filter(|row| side(row, "source"));
        assert!(source.clone().any(|row| row["token"].as_str().is_some_and(|token| token.contains("red"))), "{method}");
        assert!(source.map(|row| row["score"].as_f64().expect("a score")).any(|score| score != 0.0), "{method}");
        let later = |row: &&&Value| side(row, "target") && row["position"].as_u64() > Some(4);
        let of_later: Vec<&Value> = of_method.iter().filter(later).map(|row| &row["score"]).collect();
        assert!(!of_later.is_empty() && of_later.iter().all(|score| score.is_null()), "{method} {of_later:?}");
    }
    assert_eq!(rows.len() % METHODS.len(), 0);
}

#[test]
fn the_table_says_what_was_explained_what_sums_to_what_and_who_agrees() {
    let run = Command::new(["explain", APPLE, "--position", "4"]).variable("COLUMNS", "120").run();
    let text = &run.succeeds().stdout;
    for part in [
        "AttnLRP",
        "rank correlation of each two methods",
        "Most is given to \"apple\" at source",
        "Farthest apart are",
        "Nearest to leaving out is",
        "Explained: the logit of",
        "after position 4",
        "integrated gradients: tokens sum to",
        "source\n",
        "target\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let narrow = Command::new(["explain", APPLE, "--position", "4"]).variable("COLUMNS", "60").run();
    assert!(narrow.succeeds().stdout.lines().all(|line| line.chars().count() <= 60), "{}", narrow.stdout);
}

#[test]
fn a_foil_changes_what_is_explained_and_files_have_what_json_has() {
    let (model, folder) = (family("gpt2"), folder());
    let words = ["explain", "--model", &model, "--target-ids", "5,9,7,11,4", "--target", "8"];
    let rows = |more: &[&str]| json(&Command::new(words.iter().chain(more)).in_folder(&folder).run());
    let plain = rows(&["--json", "--method", "saliency,leave-out"]);
    let against = rows(&["--json", "--method", "saliency,leave-out", "--foil", "6", "-o", "rows.json"]);
    assert_eq!((plain.len(), against.len()), (10, 10));
    assert_ne!(plain, against);
    let written: Vec<Value> = serde_json::from_slice(&fs::read(folder.path().join("rows.json")).unwrap()).unwrap();
    assert_eq!(written, against);
    for picture in ["a.svg", "b.svg"] {
        let run = Command::new(words.iter().chain(&["-o", picture])).in_folder(&folder).run();
        assert!(run.succeeds().stdout.contains(picture));
    }
    let pictures = ["a.svg", "b.svg"].map(|name| fs::read_to_string(folder.path().join(name)).unwrap());
    assert!(pictures[0] == pictures[1] && pictures[0].contains("AttnLRP") && pictures[0].contains("token 8"));
}

#[test]
fn hiding_says_nothing_of_the_explained_position_and_is_left_out_of_ranks_there() {
    let model = family("gpt2");
    let words = ["explain", "--model", &model, "--target-ids", "5,9,7,11,4,8", "--method", "hide,leave-out"];
    let rows = json(&Command::new(words.iter().chain(&["--json"])).run());
    let of = |method: &str, position: u64| {
        let is_meant = |row: &&Value| row["method"] == method && row["position"] == position;
        rows.iter().find(is_meant).expect("a row")["score"].clone()
    };
    assert!(of("hide", 5).is_null() && of("leave-out", 5).is_f64() && of("hide", 4).is_f64(), "{rows:?}");
    let printed = Command::new(words).run();
    let text = printed.succeeds().stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("nobody else looks at the explained position"), "{text}");
    let agreement = json(&Command::new(words.iter().chain(&["--agreement", "--json"])).run());
    assert!(agreement[0]["rank_correlation"].is_f64(), "{agreement:?}");
}

#[test]
fn a_long_text_is_drawn_in_strips_in_which_every_method_is_named() {
    let (model, folder) = (family("bloom"), folder());
    let ids = (0..60).map(|place| (5 + place % 20).to_string()).collect::<Vec<_>>().join(",");
    let methods = "weight,rollout,norm,norm-sum,saliency,input-gradient,attn-lrp,cp-lrp";
    let words = ["explain", "--model", &model, "--target-ids", &ids, "--method", methods, "-o", "a.svg"];
    Command::new(words).in_folder(&folder).run().succeeds();
    let svg = fs::read_to_string(folder.path().join("a.svg")).unwrap();
    assert!(svg.contains("target 0 to 29") && svg.contains("target 30 to 59"), "{svg}");
}

#[test]
fn methods_that_a_model_has_no_use_for_are_left_out_of_all_and_refused_alone() {
    let model = family("deberta-v3-classifier");
    let words = ["explain", "--model", &model, "--source-ids", "5,9,7,11,4", "--target", "1"];
    let run = Command::new(words.iter().chain(&["--json"])).run();
    let rows = json(&run);
    let mut found: Vec<&str> = rows.iter().filter_map(|row| row["method"].as_str()).collect();
    found.dedup();
    assert_eq!(found, ["weight", "rollout", "norm", "norm-sum", "alti", "hide", "leave-out"]);
    assert!(run.stderr.contains("left out: gradient-attention, relevance, saliency"), "{}", run.stderr);
    let alone = Command::new(words.iter().chain(&["--method", "saliency"])).run();
    assert!(alone.fails(3).contains("no gradients go back"), "{}", alone.stderr);
}

#[test]
fn what_cannot_be_explained_is_refused_and_nothing_is_written() {
    let (model, folder) = (family("gpt2"), folder());
    let words = ["explain", "--model", &model, "--target-ids", "5,9,7"];
    for (more, code, message) in [
        (vec!["--target", "4000"], 3, "\"4000\" is not an id of"),
        (vec!["--position", "3"], 3, "no position 3"),
        (vec!["--metric", "kl"], 2, "one token or class"),
        (vec!["--method", "magic"], 2, "integrated-gradients"),
        (vec!["--target", "5", "--foil", "5"], 2, "the foil is the target itself"),
        (vec!["-o", "a.xlsx"], 2, "explanations are written as"),
        (vec!["--title", "x"], 2, "--title is for a picture"),
        (vec!["--target", ""], 3, "an empty text names no token or class of gpt2"),
        (vec!["--agreement"], 2, "--agreement is for --json and tables"),
        (vec!["--agreement", "--json"], 3, "over four tokens or more"),
    ] {
        let run = Command::new(words.iter().copied().chain(more.iter().copied())).in_folder(&folder).run();
        assert!(run.fails(code).contains(message), "{more:?}: {}", run.stderr);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn maps_of_gradients_are_recorded_and_drawn_like_any() {
    let folder = folder();
    let words =
        ["record", APPLE, "--quantity", "gradient-weight,relevance", "--position", "4", "-o", "run.safetensors"];
    Command::new(words).in_folder(&folder).run().succeeds();
    let recording = attlas::Recording::open(&folder.path().join("run.safetensors")).expect("a recording");
    for quantity in [attlas::Quantity::GradientWeight, attlas::Quantity::Relevance] {
        assert_eq!(recording.kinds_in(quantity), attlas::Kind::ALL, "{quantity}");
    }
    let notes = recording.provenance.notes.join("\n");
    assert!(notes.contains("relevance for the logit of") && notes.contains("after position 4"), "{notes}");
    for quantity in ["gradient-weight", "relevance"] {
        let words = ["draw", "map", "run.safetensors", "--kind", "cross", "--quantity", quantity, "-o", "a.svg"];
        Command::new(words).in_folder(&folder).run().succeeds();
    }
    let export = |quantity: &str, more: &[&str]| {
        let words = ["export", "run.safetensors", "--quantity", quantity, "--kind", "encoder", "-o", "maps.json"];
        Command::new(words.iter().chain(more)).in_folder(&folder).run()
    };
    for (quantity, name) in [("gradient-weight", "gradient_weight"), ("relevance", "relevance"), ("rollout", "rollout")]
    {
        export(quantity, &[]).succeeds();
        let text = fs::read_to_string(folder.path().join("maps.json")).expect("maps");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        let n_layers = value[format!("encoder_{name}")][name].as_array().map(Vec::len);
        assert_eq!(n_layers, Some(3), "{quantity}");
    }
    assert!(export("norm", &[]).fails(3).contains("`attlas record --quantity norm` keeps it"));
    assert!(
        export("relevance", &["--layer", "9"]).fails(2).contains("there is no encoder layer 9"),
        "nothing is written"
    );
    assert!(export("relevance", &["--flow-tokens", "9"]).fails(2).contains("--flow-tokens is for --quantity flow"));
    let idle = Command::new(["draw", "map", APPLE, "--position", "4", "-o", "b.svg"]).in_folder(&folder).run();
    assert!(idle.fails(2).contains("--position is for --quantity"), "{}", idle.stderr);
    let same =
        ["draw", "map", APPLE, "--quantity", "relevance", "--explain", "pomme", "--foil", "pomme", "-o", "d.svg"];
    let same = Command::new(same).in_folder(&folder).run();
    assert!(same.fails(2).contains("the foil is the target itself"), "{}", same.stderr);
    let other = ["draw", "map", "run.safetensors", "--quantity", "relevance", "--explain", "pomme", "-o", "d.svg"];
    let other = Command::new(other).in_folder(&folder).run();
    assert!(other.fails(2).contains("--explain is for running a model on a text"), "{}", other.stderr);
    assert!(!folder.path().join("d.svg").exists());
    let changed = ["draw", "map", APPLE, "--quantity", "relevance", "--knock-out", "cross:L2H4", "-o", "c.svg"];
    let changed = Command::new(changed).in_folder(&folder).run();
    assert!(changed.fails(2).contains("leave knocked-out heads out"), "{}", changed.stderr);
}

#[test]
fn scores_that_do_not_sum_to_what_they_should_say_so_wherever_they_are_written() {
    let folder = folder();
    let words = ["explain", "A cat.", "--position", "1", "--steps", "2", "--method", "integrated-gradients,cp-lrp"];
    let run = |more: &[&str]| Command::new(words.iter().chain(more)).in_folder(&folder).run();
    assert!(run(&[]).succeeds().stdout.contains("grad*"), "the column is marked");
    for file in ["a.svg", "a.csv"] {
        run(&["-o", file]).succeeds();
    }
    let svg = fs::read_to_string(folder.path().join("a.svg")).expect("a picture");
    assert!(svg.contains("grad*") && svg.contains("too curved"), "{svg}");
    let rows = json(&run(&["--json"]));
    let of =
        |rows: &[Value], name: &str| rows.iter().find(|row| row["method"] == name).expect("a row")["complete"].clone();
    assert_eq!((of(&rows, "integrated-gradients"), of(&rows, "cp-lrp")), (Value::Bool(false), Value::Null));
    let table = fs::read_to_string(folder.path().join("a.csv")).expect("a table");
    assert!(table.starts_with("method,side,position,token,score,complete\n") && table.contains(",false"), "{table}");
}

#[test]
fn more_steps_make_the_scores_of_integrated_gradients_complete() {
    let model = family("gpt2");
    let run = |steps: &str| {
        let words = ["explain", "--model", &model, "--target-ids", "5,9,7,11,4", "--json", "--steps", steps];
        Command::new(words.iter().chain(&["--method", "integrated-gradients"])).run()
    };
    let complete = |steps: &str| json(&run(steps))[0]["complete"].clone();
    assert_eq!((complete("1"), complete("50")), (Value::Bool(false), Value::Bool(true)));
    assert!(run("0").fails(2).contains("--steps"));
}

#[test]
fn a_masked_model_without_a_mask_says_which_option_names_the_position() {
    let run =
        Command::new(["explain", "--model", &family("bert"), "--source-ids", "5,9,7", "--method", "cp-lrp"]).run();
    let message = run.fails(3);
    assert!(message.contains("name the position that is meant, 0 to 2 (--position)"), "{message}");
}

#[test]
fn an_empty_line_that_was_left_out_is_told_by_the_code_of_every_command_about_one_text() {
    let folder = folder();
    fs::write(folder.path().join("text.txt"), "\nA red apple.\n").expect("written");
    for words in [
        &["explain", "text.txt", "--method", "weight"][..],
        &["lens", "text.txt"],
        &["check", "text.txt", "--heads", "cross:0.0", "--permutations", "1"],
        &["ablate", "text.txt", "--heads", "cross:0.0", "--edges"],
    ] {
        let run = Command::new(words).in_folder(&folder).run();
        assert_eq!(run.code, Some(1), "{words:?}: {}", run.stderr);
    }
}

#[test]
fn numbers_that_are_none_are_refused_with_the_layer_and_head_where_they_began() {
    let folder = folder();
    let model = folder.path().join("broken");
    fs::create_dir(&model).expect("a folder");
    for name in ["config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json"] {
        fs::copy(Path::new(&family("gpt2")).join(name), model.join(name)).expect("a copy");
    }
    // the values of L1H2 are beyond f32: its columns of the matrix are the last 16 of 48, 4 to a head
    let file = "model-00002-of-00002.safetensors";
    let mut bytes = fs::read(Path::new(&family("gpt2")).join(file)).expect("weights");
    let n = u64::from_le_bytes(bytes[..8].try_into().expect("a length")) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + n]).expect("a header");
    let start = header["transformer.h.1.attn.c_attn.weight"]["data_offsets"][0].as_u64().expect("a place") as usize;
    for row in 0..16 {
        let place = 8 + n + start + 4 * (row * 48 + 32 + 2 * 4);
        bytes[place..place + 4].copy_from_slice(&3e38_f32.to_le_bytes());
    }
    fs::write(model.join(file), bytes).expect("written");
    for words in
        [&["explain", "--method", "saliency"][..], &["explain"], &["ablate"], &["ablate", "--method", "gradient"]]
    {
        let more = ["--model", "broken", "--target-ids", "5,9,7,11"];
        let run = Command::new(words.iter().chain(&more)).in_folder(&folder).run();
        let message = run.fails(3);
        assert!(message.contains("first in its output, at L1H2 of decoder self-attention"), "{words:?}: {message}");
    }
    for quantity in ["alti", "norm-sum"] {
        let words =
            ["record", "--quantity", quantity, "-o", "a.safetensors", "--model", "broken", "--target-ids", "5,9,7,11"];
        let run = Command::new(words).in_folder(&folder).run();
        assert!(run.fails(3).contains("infinite or none (NaN)"), "{quantity}: {}", run.stderr);
    }
    assert!(!folder.path().join("a.safetensors").exists());
}

#[test]
fn help_of_the_metric_lists_what_this_command_takes() {
    let help = Command::new(["explain", "--help"]).run().succeeds().stdout.clone();
    let metric = help.split("--metric").nth(1).and_then(|rest| rest.split("--target").next()).expect("its help");
    assert!(metric.contains("log-probability") && !metric.contains("kl") && !metric.contains("jsd"), "{metric}");
    assert!(!help.contains("one a line"), "one text is explained at a time");
}

#[test]
fn every_two_methods_are_ranked_against_each_other() {
    let model = family("gpt2");
    let words = ["explain", "--model", &model, "--target-ids", "5,9,7,11,4,30", "--method"];
    let rows = |more: &[&str]| json(&Command::new(words.iter().chain(more).chain(&["--json"])).run());
    let pairs = rows(&["weight,rollout,saliency,leave-out", "--agreement"]);
    let names: Vec<(&str, &str)> =
        pairs.iter().map(|row| (row["method"].as_str().unwrap(), row["other"].as_str().unwrap())).collect();
    assert_eq!(names.len(), 6, "{names:?}");
    assert_eq!((names[0], names[5]), (("weight", "rollout"), ("saliency", "leave-out")));
    // the sizes of the scores, ranked by the test itself
    let scores = |method: &str| -> Vec<f64> {
        rows(&[method]).iter().map(|row| row["score"].as_f64().expect("a score").abs()).collect()
    };
    let ranks = |scores: &[f64]| -> Vec<f64> {
        scores.iter().map(|one| scores.iter().filter(|other| *other < one).count() as f64).collect()
    };
    let (a, b) = (ranks(&scores("weight")), ranks(&scores("saliency")));
    let squares: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
    let expected = 1.0 - 6.0 * squares / (6.0 * 35.0);
    let found = pairs.iter().find(|row| row["method"] == "weight" && row["other"] == "saliency").expect("a pair");
    assert!((found["rank_correlation"].as_f64().expect("a number") - expected).abs() < 1e-9, "{found} {expected}");
    assert_eq!(found["n_tokens"], 6);
}

#[test]
fn effects_of_heads_are_columns_where_they_are_asked_for_and_sum_to_what_heads_lose() {
    let model = family("gpt2");
    let words = ["explain", "--model", &model, "--target-ids", "5,9,7,11,4", "--target", "8", "--json"];
    let all = json(&Command::new(words).run());
    assert!(all.iter().all(|row| row["method"] != "head-effect"), "one run for each head is not part of all");
    let asked = json(&Command::new(words.iter().chain(&["--method", "all,head-effect"])).run());
    let sum: f64 =
        asked.iter().filter(|row| row["method"] == "head-effect").map(|row| row["score"].as_f64().unwrap()).sum();
    let words =
        ["ablate", "--model", &model, "--target-ids", "5,9,7,11,4", "--target", "8", "--metric", "logit", "--json"];
    let effects = json(&Command::new(words).run());
    let lost: f64 = effects.iter().map(|row| -row["effect"].as_f64().unwrap()).sum();
    assert!((sum - lost).abs() < 1e-4, "the rows of heads sum to 1: {sum} {lost}");
}

#[test]
fn the_text_of_a_recording_is_explained_by_the_model_that_made_it_and_by_no_other() {
    let folder = folder();
    let run = |words: &[&str]| Command::new(words).in_folder(&folder).run();
    run(&["record", "A red apple.", "-o", "run.safetensors"]).succeeds();
    let words = ["--position", "1", "--method", "weight,leave-out", "--json"];
    let of_text = json(&run(&[&["explain", "A red apple."][..], &words].concat()));
    let of_recording = json(&run(&[&["explain", "run.safetensors"][..], &words].concat()));
    assert_eq!(of_text, of_recording);
    let model = family("gpt2");
    let other = run(&["check", "run.safetensors", "--model", &model]);
    let message = other.fails(3);
    assert!(message.contains("run.safetensors: recorded with \"") && message.contains("(--model DIR)"), "{message}");
    run(&["record", "A red apple.", "--knock-out", "cross:L2H4", "-o", "changed.safetensors"]).succeeds();
    let changed = run(&["check", "changed.safetensors"]);
    assert!(changed.fails(3).contains("the run was changed on purpose"), "{}", changed.stderr);
    let both = run(&["explain", "run.safetensors", "--decoder-text", "Une pomme."]);
    assert!(both.fails(2).contains("a recording has what its decoder read"), "{}", both.stderr);
}
