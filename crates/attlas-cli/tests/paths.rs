//! `--quantity`, `attlas why`, `attlas circuits`, `attlas mixing`, `attlas experts`: what weights do not show, from the command line.

mod common;

use attlas::attention::Shape;
use attlas::{Buffer, Item, Kind, Layer, Provenance, Recording, Tokens};
use common::{Command, Finished, folder, recording};
use serde_json::Value;

const APPLE: &str = "She gave him a red apple.";

fn json(run: &Finished) -> Value {
    serde_json::from_str(&run.succeeds().stdout).expect("JSON")
}

/// A model without a tokenizer that reads and writes tokens.
fn gpt2() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../attlas-model/tests/data/explain/models/gpt2_tiny").to_owned()
}

#[test]
fn every_quantity_is_drawn_with_its_name_and_scale() {
    let folder = folder();
    for (quantity, kind, words) in [
        ("norm", "cross", "norm of weight × value"),
        ("norm-sum", "encoder", "norm of the sum over heads"),
        ("norm-residual", "decoder", "norm of the sum over heads, with residual"),
        ("norm-layernorm", "encoder", "behind the layer norm"),
        ("contribution", "cross", "contribution of the layer"),
        ("alti", "decoder", "contribution through the layers (ALTI)"),
        ("rollout", "encoder", "attention rollout"),
        ("flow", "encoder", "attention flow"),
    ] {
        let words_of = ["draw", "map", APPLE, "--kind", kind, "--quantity", quantity, "-o", "map.svg"];
        Command::new(words_of).in_folder(&folder).run().succeeds();
        let svg = std::fs::read_to_string(folder.path().join("map.svg")).expect("a picture");
        assert!(svg.contains(words), "{quantity}");
    }
}

#[test]
fn a_recording_keeps_norms_as_one_number_per_key_and_draws_them_without_the_model() {
    let folder = folder();
    let words = ["record", APPLE, "--quantity", "norm,alti,rollout", "-o", "run.safetensors"];
    let run = Command::new(words).in_folder(&folder).run();
    run.succeeds();
    assert!(run.stderr.contains("1 − 2^−3 = 0.875 whatever the model does"), "{}", run.stderr);
    let info = json(&Command::new(["info", "run.safetensors", "--json"]).in_folder(&folder).run());
    let layers = info["layers"].as_array().expect("layers");
    let of = |quantity: &str| layers.iter().filter(|layer| layer["quantity"] == quantity).count();
    assert_eq!([of("weight"), of("norm"), of("contribution"), of("rollout")], [9, 0, 9, 3]);
    let traces = |layer: &Value| layer["traces"].as_array().is_some_and(|traces| traces == &["value_norms"]);
    assert!(layers.iter().filter(|layer| layer["quantity"] == "weight").all(traces), "values were not asked for");
    for quantity in ["norm", "alti", "rollout", "flow"] {
        let words = ["draw", "map", "run.safetensors", "--kind", "encoder", "--quantity", quantity, "-o", "map.png"];
        Command::new(words).in_folder(&folder).run().succeeds();
    }
    let (folder, file) = recording(APPLE);
    let words = ["draw", "map", &file, "--quantity", "alti", "-o", "map.png"];
    let run = Command::new(words).in_folder(&folder).run();
    assert!(run.fails(3).contains("needs the model (`attlas record --quantity alti` keeps it)"));
}

#[test]
fn quantities_of_texts_of_different_lengths_pass_their_checks() {
    let folder = folder();
    for quantities in ["norm,alti,rollout", "norm-residual", "norm-layernorm,contribution"] {
        let words = ["record", APPLE, "A cat.", "--quantity", quantities, "-o", "run.safetensors"];
        Command::new(words).in_folder(&folder).run().succeeds();
    }
}

#[test]
fn rollout_and_flow_of_weights_that_fail_their_checks_say_so() {
    let folder = folder();
    let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: 2, n_keys: 2, d_head: 0, d_value: 0 };
    let recording = Recording {
        items: vec![Item { source: Tokens::from_labels(["a", "b"]), ..Item::default() }],
        layers: vec![Layer::new(Kind::Encoder, 0, shape, Buffer::from(vec![0.9, 0.1, 40.0, 0.9]))],
        provenance: Provenance::default(),
    };
    recording.save(&folder.path().join("run.safetensors")).expect("it is saved");
    for quantity in ["rollout", "flow"] {
        for words in [["draw", "layers", "run.safetensors"].as_slice(), &["export", "run.safetensors"]] {
            let output = if words[0] == "draw" { "out.svg" } else { "out.npz" };
            let more = ["--quantity", quantity, "-o", output];
            let run = Command::new(words.iter().chain(&more)).in_folder(&folder).run();
            assert!(run.fails(1).contains("fails its checks in encoder L0H0: 1 out of range"), "{}", run.stderr);
        }
    }
}

#[test]
fn a_recording_of_one_form_of_a_quantity_is_not_drawn_as_another() {
    let folder = folder();
    for (kept, other, found) in [
        ("norm", "norm-layernorm", "the recording keeps the norms of single heads (norm), not norm-layernorm"),
        ("norm-sum", "norm", "the recording keeps norm-sum, not norm,"),
        ("norm-sum", "norm-residual", "the recording keeps norm-sum, not norm-residual"),
        ("contribution", "alti", "the recording keeps contribution, not alti"),
    ] {
        let words = ["record", APPLE, "--quantity", kept, "-o", "run.safetensors"];
        Command::new(words).in_folder(&folder).run().succeeds();
        let draw = |quantity: &str, picture: &str| {
            let words = ["draw", "map", "run.safetensors", "--quantity", quantity, "-o", picture];
            Command::new(words).in_folder(&folder).run()
        };
        draw(kept, "kept.png").succeeds();
        let refused = draw(other, "other.png");
        assert!(refused.fails(3).contains(found), "{kept} {other}: {}", refused.stderr);
        assert!(!folder.path().join("other.png").exists());
    }
    let words = ["record", APPLE, "--quantity", "norm,norm-sum", "-o", "both.safetensors"];
    let both = Command::new(words).in_folder(&folder).run();
    assert!(both.fails(2).contains("norm and norm-sum are maps of the same layers"), "{}", both.stderr);
}

#[test]
fn a_check_of_weights_is_not_written_below_another_picture() {
    let folder = folder();
    let check = |quantity: &str| {
        let words = ["draw", "map", APPLE, "--kind", "encoder", "--quantity", quantity, "--check", "-o", "map.svg"];
        Command::new(words).in_folder(&folder).run()
    };
    for quantity in ["rollout", "alti", "norm-sum"] {
        let refused = check(quantity);
        assert!(refused.fails(2).contains("--check is about the weights of one layer"), "{}", refused.stderr);
    }
    assert!(!folder.path().join("map.svg").exists());
    check("norm").succeeds();
}

#[test]
fn what_is_not_defined_of_a_quantity_is_refused_in_a_sentence() {
    let folder = folder();
    let draw = |words: &[&str]| {
        let all = ["draw"].iter().chain(words).chain(&["-o", "map.png"]).copied();
        Command::new(all).in_folder(&folder).run()
    };
    let run = draw(&["map", APPLE, "--quantity", "rollout", "--kind", "cross"]);
    assert!(run.fails(3).contains("not defined for the decoder of an encoder-decoder"));
    let run = draw(&["map", APPLE, "--quantity", "rollout", "--kind", "encoder", "--head", "2"]);
    assert!(run.fails(2).contains("--head is about single heads, but rollout is of all heads"));
    let run = draw(&["heads", APPLE, "--quantity", "alti"]);
    assert!(run.fails(2).contains("`draw heads` is about single heads"));
    let long = "red ".repeat(80);
    let run = draw(&["map", &long, "--quantity", "flow", "--kind", "encoder"]);
    assert!(run.fails(5).contains("more than the limit of 64 (--flow-tokens)"));
    let run = draw(&["map", APPLE, "--flow-tokens", "80"]);
    assert!(run.fails(2).contains("--flow-tokens is for --quantity flow"));
    let run = draw(&["map", APPLE, "--quantity", "norm", "--knock-out", "cross:L2H4"]);
    assert!(run.fails(3).contains("head outputs were changed"));
    assert!(!folder.path().join("map.png").exists());
    let words = ["record", APPLE, "--quantity", "alti,contribution", "-o", "run.safetensors"];
    let run = Command::new(words).in_folder(&folder).run();
    assert!(run.fails(2).contains("record them apart"));
}

#[test]
fn the_parts_of_a_score_sum_to_it_in_what_why_prints() {
    let words = ["why", APPLE, "--head", "cross:L2H4", "--query", "pomme", "--key", "apple", "--json"];
    let found = json(&Command::new(words).run());
    let number = |value: &Value| value.as_f64().expect("a number");
    let sum = |list: &Value| list.as_array().expect("a list").iter().map(|one| number(&one["value"])).sum::<f64>();
    let score = number(&found["score"]);
    assert!((sum(&found["parts"]) - score).abs() < 1e-3, "{found}");
    for list in ["query_sources", "key_sources", "pairs", "terms"] {
        assert!((sum(&found[list]) - score).abs() < 1e-3, "{list}: no bias is added to scores here");
    }
    assert_eq!((&found["query"]["token"], &found["key"]["token"]), (&"pomme".into(), &"apple".into()));
    let weights =
        json(&Command::new(["heads", APPLE, "--query", "pomme", "--key", "apple", "--kind", "cross", "--json"]).run());
    let rows = weights.as_array().expect("rows");
    let row =
        rows.iter().find(|row| (row["layer"].as_u64(), row["head"].as_u64()) == (Some(2), Some(4))).expect("a row");
    assert!((number(&row["score"]) - number(&found["weight"])).abs() < 1e-5);
    let text = Command::new(["why", APPLE, "--head", "cross:2.4", "--query", "pomme", "--key", "apple"]).run();
    let text = &text.succeeds().stdout;
    for words in
        ["the score comes from", "content of both", "what of the query meets what of the key", "q·k term by term"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn why_refuses_what_is_not_there() {
    let why = |words: &[&str]| Command::new(["why", APPLE].iter().chain(words)).run();
    assert!(why(&["--head", "L9H0", "--query", "0", "--key", "0"]).fails(2).contains("has no head L9H0"));
    assert!(why(&["--head", "L2H4", "--query", "0", "--key", "0"]).fails(2).contains("say which: encoder:L2H4"));
    let run = why(&["--head", "encoder:L2H4", "--query", "banana", "--key", "0"]);
    assert!(run.fails(2).contains("--query banana: there is no such token"));
    let run = why(&["--head", "decoder:L2H4", "--query", "0", "--key", "3"]);
    assert!(run.fails(2).contains("does not see key 3"));
    let (folder, file) = recording(APPLE);
    assert!(why(&["--head", "encoder:2.*", "--query", "0", "--key", "0"]).fails(2).contains("means several heads"));
    let words = ["why", &file, "--head", "encoder:L0H0", "--query", "0", "--key", "0"];
    assert!(Command::new(words).in_folder(&folder).run().fails(2).contains("is a recording, and this needs the model"));
}

#[test]
fn circuits_give_copying_partners_and_tokens() {
    let model = gpt2();
    let found = json(&Command::new(["circuits", "--model", &model, "--json"]).run());
    assert_eq!(found["copying"].as_array().map(Vec::len), Some(12));
    assert_eq!(found["compositions"].as_array().map(Vec::len), Some(48));
    let found = json(&Command::new(["circuits", "--model", &model, "--head", "L1H2", "--top", "3", "--json"]).run());
    assert_eq!((found["reads"].as_array().map(Vec::len), found["writes"].as_array().map(Vec::len)), (Some(3), Some(3)));
    assert_eq!(found["compositions"].as_array().map(Vec::len), Some(8), "four earlier heads, four later ones");
    let text = Command::new(["circuits", "--model", &model, "--head", "L1H2"]).run();
    for words in ["copying", "what it reads of earlier heads, as queries", "looks from … at …", "looking at … raises …"]
    {
        assert!(text.succeeds().stdout.contains(words), "{words}: {}", text.stdout);
    }
    // also of a masked model, whose heads write no tokens
    let bert = concat!(env!("CARGO_MANIFEST_DIR"), "/../attlas-model/tests/data/families/bert").to_owned();
    for (model, head) in [(&model, "L7H0"), (&bert, "L7H0"), (&bert, "L0H99")] {
        let run = Command::new(["circuits", "--model", model, "--head", head]).run();
        assert!(run.fails(2).contains(&format!("there is no head {head} of")), "{}", run.stderr);
    }
    let run = Command::new(["circuits", "--head", "L0H0", "--token", "apple pie"]).run();
    assert!(run.fails(3).contains("\"apple pie\" is not a token of"), "{}", run.stderr);
    let of_token = |token: &str| {
        let words = ["circuits", "--model", &model, "--head", "1.2", "--token", token, "--json"];
        json(&Command::new(words).run())["reads"].as_array().expect("pairs").clone()
    };
    assert!(of_token("7").iter().all(|pair| pair["from"] == 7), "ids name tokens where there is no tokenizer");
    Command::new(["circuits", "--kind", "encoder"]).run().succeeds();
}

#[test]
fn mixing_ratios_are_shares() {
    let rows = json(&Command::new(["mixing", APPLE, "--kind", "encoder", "--json"]).run());
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.len(), 3 * 8);
    for row in rows {
        for name in ["attention", "residual", "layer_norm"] {
            assert!((0.0..=1.0).contains(&row[name].as_f64().expect("a share")), "{row}");
        }
    }
    let text = Command::new(["mixing", APPLE, "--kind", "encoder"]).run();
    assert!(text.succeeds().stdout.contains("percent of a token's state that others bring"), "{}", text.stdout);
}

#[test]
fn layers_without_attention_are_said_and_their_experts_shown() {
    let families = concat!(env!("CARGO_MANIFEST_DIR"), "/../attlas-model/tests/data/families/");
    let jamba = format!("{families}jamba");
    let ids = ["--model", &jamba, "--target-ids", "5,9,30,7"];
    let run = Command::new(["experts"].into_iter().chain(ids)).run();
    let (stdout, stderr) = (run.succeeds().stdout.clone(), &run.stderr);
    assert!(stdout.contains("L0") && stdout.contains("L2") && !stdout.contains("L1"), "{stdout}");
    assert!(stderr.contains("has no attention in layers 0, 2 (Mamba)"), "{stderr}");
    let folder = folder();
    let words = ["record", "-o", "run.safetensors"].into_iter().chain(ids);
    Command::new(words).in_folder(&folder).run().succeeds();
    let run = Command::new(["info", "run.safetensors"]).in_folder(&folder).run();
    let info = &run.succeeds().stdout;
    assert!(info.contains("layers 0, 2 (Mamba)") && info.contains("layers 1;"), "{info}");
    let page = Command::new(["page", "run.safetensors", "-o", "run.html"]).in_folder(&folder).run();
    page.succeeds();
    let page = std::fs::read_to_string(folder.path().join("run.html")).expect("a page");
    assert!(page.contains("has no attention in layers 0, 2 (Mamba)"));
    let none = Command::new(["draw", "layers", "run.safetensors", "--quantity", "rollout", "-o", "r.svg"]);
    let none = none.in_folder(&folder).run();
    assert!(none.fails(3).contains("no weights of layer 0"), "{}", none.stderr);
}

#[test]
fn experts_are_those_of_the_router_of_a_run_and_of_its_recording() {
    let families = concat!(env!("CARGO_MANIFEST_DIR"), "/../attlas-model/tests/data/families/");
    let mixtral = format!("{families}mixtral");
    let ids = ["--model", &mixtral, "--target-ids", "5,9,30,7"];
    let found = json(&Command::new(["experts", "--json"].into_iter().chain(ids)).run());
    let rows = found.as_array().expect("rows");
    assert_eq!(rows.len(), 2 * 4 * 2, "two layers, four tokens, two experts");
    for pair in rows.chunks_exact(2) {
        let share = |row: &Value| row["share"].as_f64().expect("a share");
        assert!((share(&pair[0]) + share(&pair[1]) - 1.0).abs() < 1e-6, "{pair:?}");
        assert!(share(&pair[0]) >= share(&pair[1]) && pair[0]["expert"] != pair[1]["expert"], "{pair:?}");
        assert_eq!((&pair[0]["query"], &pair[0]["layer"]), (&pair[1]["query"], &pair[1]["layer"]));
    }
    let folder = folder();
    let words = ["record", "--router", "-o", "run.safetensors"].into_iter().chain(ids);
    Command::new(words).in_folder(&folder).run().succeeds();
    let read = json(&Command::new(["experts", "run.safetensors", "--json"]).in_folder(&folder).run());
    assert_eq!(read, found);
    let run = Command::new(["experts", "run.safetensors", "--layer", "1"]).in_folder(&folder).run();
    let first = &rows[rows.len() / 2];
    let cell = format!("{}:{:.0}", first["expert"], 100.0 * first["share"].as_f64().expect("a share"));
    assert!(run.succeeds().stdout.contains(&cell) && !run.stdout.contains("L0"), "{}", run.stdout);
    let none = Command::new(["experts", "The cat sat."]).run();
    assert!(none.fails(3).contains("has no experts that tokens are sent to"), "{}", none.stderr);
    let (folder, file) = recording(APPLE);
    let none = Command::new(["experts", &file]).in_folder(&folder).run();
    assert!(none.fails(3).contains("`attlas record --router` keeps those of a mixture"), "{}", none.stderr);
}

#[test]
fn a_model_without_a_tokenizer_is_asked_by_ids() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../attlas-model/tests/data/families");
    let asked = |name: &str, words: &[&str]| {
        let model = folder.join(name).display().to_string();
        Command::new(words.iter().copied().chain(["--model", &model])).run()
    };
    let why = ["why", "--head", "L0H0", "--query", "3", "--key", "1", "--json"];
    let found: Value = json(&asked("gpt2", &[&why[..], &["--target-ids", "5,9,7,11"]].concat()));
    assert!(found["score"].is_number(), "{found}");
    let mixed = json(&asked("bart", &["mixing", "--source-ids", "5,9,7,2", "--max-tokens", "3", "--json"]));
    assert_eq!(mixed[0]["kind"], "cross", "{mixed}");
    let refused = asked("gpt2", &[&why[..], &["--source-ids", "5,9,7,11"]].concat());
    assert!(refused.fails(3).contains("has no encoder: what it reads is the target (--target-ids)"), "{refused:?}");
    let both = asked("gpt2", &["mixing", "some text", "--target-ids", "5,9"]);
    assert!(both.fails(2).contains("--target-ids"), "{both:?}");
    let none = asked("gpt2", &["mixing"]);
    assert!(none.fails(2).contains("TEXT"), "{none:?}");
}

#[test]
fn empty_lists_and_kinds_without_circuits_are_refused() {
    let why = ["why", "A cat.", "--head", "encoder:L0H0", "--query", "0", "--key", "0", "--top", "0"];
    assert!(Command::new(why).run().fails(2).contains("--top"));
    assert!(Command::new(["circuits", "--top", "0"]).run().fails(2).contains("--top"));
    assert!(Command::new(["circuits", "--kind", "cross"]).run().fails(2).contains("encoder or decoder was expected"));
}
