//! `attlas page`: recordings and texts as one file, with what stands beside them, and what is refused.

mod common;

use std::fs;
use std::path::Path;

use common::{Command, Finished, folder, recording};
use serde_json::Value;
use tempfile::TempDir;

/// Runs the command in a folder.
fn attlas(folder: &TempDir, words: &[&str]) -> Finished {
    Command::new(words).in_folder(folder).run()
}

/// What a page carries in one of its blocks.
fn data(folder: &TempDir, page: &str, which: &str) -> Value {
    let page = fs::read_to_string(folder.path().join(page)).expect("the page is there");
    let block = page.split(&format!("id=\"atlas-data{which}\">")).nth(1).expect("the block");
    serde_json::from_str(block.split('<').next().expect("its text")).expect("it is JSON")
}

#[test]
fn a_recording_becomes_the_page_that_the_main_job_writes() {
    let (folder, run) = recording("A red apple.");
    let page = attlas(&folder, &["page", &run, "-o", "page.html"]);
    assert!(page.succeeds().stdout.starts_with("page.html: 1 text; encoder 3 layers and 24 heads"), "{}", page.stdout);
    attlas(&folder, &[&run, "-o", "shown.html"]).succeeds();
    let read = |name: &str| fs::read(folder.path().join(name)).expect("the page is there");
    assert!(read("page.html") == read("shown.html"));
    attlas(&folder, &["page", &run, "-o", "again.html"]).succeeds();
    assert!(read("page.html") == read("again.html"), "the same input gives the same bytes");
}

#[test]
fn a_page_is_made_of_a_text_with_its_title_head_and_quantities() {
    let folder = folder();
    let title = "</title><script>alert(1)</script>";
    let words = [
        "page",
        "A red apple.",
        "--quantity",
        "norm,rollout",
        "--open",
        "encoder:L1H3",
        "--title",
        title,
        "-o",
        "a.html",
    ];
    attlas(&folder, &words).succeeds();
    let page = fs::read_to_string(folder.path().join("a.html")).expect("the page is there");
    assert!(!page.contains(title) && page.contains("<title>&lt;/title&gt;"));
    let data = data(&folder, "a.html", "");
    assert_eq!(data["title"], title);
    assert_eq!(data["open"], serde_json::json!({"kind": "encoder", "layer": 1, "head": 3}));
    let names: Vec<&str> =
        data["quantities"].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["weight", "norm", "rollout"]);
    assert!(data["layers"][0]["stored"][0]["groups"].is_array(), "queries and keys of a short text");
    assert_eq!(data["items"][0]["generated"], 1, "after the start token");
}

#[test]
fn a_page_of_two_recordings_carries_both_under_their_names() {
    let (folder, run) = recording("A red apple.");
    attlas(
        &folder,
        &["record", "A red apple.", "--knock-out", "L2H4", "--knock-out", "cross:L2H4", "-o", "without.safetensors"],
    );
    attlas(&folder, &["record", "A red apple.", "--knock-out", "cross:L2H4", "-o", "without.safetensors"]).succeeds();
    let both = attlas(&folder, &["page", &run, "without.safetensors", "-o", "both.html"]);
    assert_eq!(both.succeeds().stdout.matches("1 text; ").count(), 2, "{}", both.stdout);
    assert_eq!(data(&folder, "both.html", "")["title"], "run");
    assert_eq!(
        data(&folder, "both.html", "")["recording_place"],
        run.as_str(),
        "for the commands that the page copies"
    );
    let second = data(&folder, "both.html", "-1");
    assert_eq!(second["title"], "without");
    assert!(second["provenance"]["notes"].to_string().contains("L2H4"), "{second}");
}

#[test]
fn the_tree_of_a_text_stands_on_its_tokens() {
    let (folder, run) = recording("The girl is reading a book.");
    let words =
        ["The DET 2 det", "girl NOUN 4 nsubj", "is AUX 4 aux", "reading VERB 0 root", "a DET 6 det", "book NOUN 4 obj"];
    let row = |(place, word): (usize, &&str)| {
        let [form, class, head, relation] = word.split(' ').collect::<Vec<_>>()[..] else { panic!("{word}") };
        let notes = if form == "book" { "SpaceAfter=No" } else { "_" };
        format!("{}\t{form}\t_\t{class}\t_\t_\t{head}\t{relation}\t_\t{notes}\n", place + 1)
    };
    let rows: String = words.iter().enumerate().map(row).collect();
    let sentence = |text: &str| format!("# text = {text}\n{rows}7\t.\t_\tPUNCT\t_\t_\t4\tpunct\t_\t_\n\n");
    fs::write(folder.path().join("en.conllu"), sentence("The girl is reading a book.")).expect("written");
    attlas(&folder, &["page", &run, "--trees", "en.conllu", "-o", "tree.html"]).succeeds();
    let tree = data(&folder, "tree.html", "")["items"][0]["tree"].clone();
    assert_eq!((&tree["of"], &tree["words"][1]["head"]), (&"source".into(), &3.into()));
    assert_eq!((&tree["words"][5]["text"], &tree["words"][5]["relation"]), (&"book".into(), &"obj".into()));
    assert!(tree["words"][5]["tokens"].as_array().is_some_and(|tokens| !tokens.is_empty()));
    // the main job takes it, too
    attlas(&folder, &[&run, "--trees", "en.conllu", "-o", "main.html"]).succeeds();
    assert_eq!(data(&folder, "main.html", "")["items"][0]["tree"], tree);
    let other = sentence("The girl is reading a book.").replace("girl", "boy");
    fs::write(folder.path().join("other.conllu"), other).expect("written");
    let refused = attlas(&folder, &["page", &run, "--trees", "other.conllu", "-o", "no.html"]);
    assert_eq!(
        refused.fails(3),
        "other.conllu: none of its 1 sentence with a tree is the text of a recording, sign for sign"
    );
    let of_words = "1\tA\t_\t_\t_\t_\t_\t_\t_\t_\n\n";
    fs::write(folder.path().join("words.conllu"), format!("# text = A\n{of_words}")).expect("written");
    let refused = attlas(&folder, &["page", &run, "--trees", "words.conllu", "-o", "no.html"]);
    assert_eq!(refused.fails(3), "words.conllu: has no sentence with a tree");
    assert!(!folder.path().join("no.html").exists());
}

#[test]
fn an_image_and_a_sound_stand_beside_their_tokens() {
    let data_of = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../attlas-model/tests/data").join(name);
    for (case, preprocessor, file, option) in [
        ("vit", r#"{"size": {"height": 12, "width": 12}}"#, "rgb.png", "--image"),
        ("whisper", r#"{"feature_size": 8, "sampling_rate": 4480, "chunk_length": 1}"#, "mono.wav", "--sound"),
    ] {
        let folder = folder();
        fs::create_dir(folder.path().join("model")).expect("a folder");
        for name in ["config.json", "model.safetensors"] {
            fs::copy(data_of("families").join(case).join(name), folder.path().join("model").join(name))
                .expect("a copy");
        }
        fs::write(folder.path().join("model/preprocessor_config.json"), preprocessor).expect("a file");
        fs::copy(data_of("senses").join(file), folder.path().join(file)).expect("a copy");
        let record = ["record", file, "--model", "model", "-o", "run.safetensors"];
        let more: &[&str] = if case == "whisper" { &["--max-tokens", "4"] } else { &[] };
        attlas(&folder, &[&record, more].concat()).succeeds();
        attlas(&folder, &["page", "run.safetensors", option, file, "-o", "page.html"]).succeeds();
        let item = data(&folder, "page.html", "")["items"][0].clone();
        if case == "vit" {
            assert!(item["image"]["src"].as_str().is_some_and(|src| src.starts_with("data:image/png;base64,")));
            attlas(&folder, &["page", "run.safetensors", "-o", "bare.html"]).succeeds();
            assert_eq!(data(&folder, "bare.html", "")["items"][0]["image"]["src"], "");
        } else {
            assert!(item["sound"]["n_frames"].as_u64().is_some_and(|n| n > 10), "{}", item["sound"]);
        }
        // straight from the file, which then is the picture
        attlas(&folder, &[&["page", file, "--model", "model", "-o", "straight.html"], more].concat()).succeeds();
        let straight = data(&folder, "straight.html", "");
        assert_eq!(straight["items"][0][&option[2..]], item[&option[2..]]);
        assert!(straight["recording_place"].is_null(), "it was made of a file that is no recording");
        assert_eq!(straight["model_place"], "model", "as the command named it, for the commands that the page copies");
        assert!(
            data(&folder, "page.html", "")["model_place"].is_null(),
            "a recording does not know where its model lies"
        );
        let refused = attlas(&folder, &["page", "run.safetensors", option, file, option, file, "-o", "no.html"]);
        let said = format!("{option} was given twice, but what was recorded are 1 {}\n", &option[2..]);
        assert!(refused.code == Some(2) && refused.stderr.ends_with(&said), "{}", refused.stderr);
    }
}

#[test]
fn effects_that_were_measured_stand_beside_the_heads_and_others_are_refused() {
    let (folder, run) = recording("A red apple.");
    let measured = attlas(&folder, &["ablate", "A red apple.", "--heads", "cross:2.4,cross:2.5", "-o", "effects.json"]);
    measured.succeeds();
    attlas(&folder, &["page", &run, "--effects", "effects.json", "-o", "page.html"]).succeeds();
    let carried = data(&folder, "page.html", "")["effects"].clone();
    let rows: Value =
        serde_json::from_slice(&fs::read(folder.path().join("effects.json")).expect("it is there")).expect("JSON");
    assert_eq!((&carried["method"], &carried["metric"]), (&"zero".into(), &"kl".into()));
    for (place, row) in rows.as_array().into_iter().flatten().enumerate() {
        for name in ["kind", "layer", "head", "effect", "mean_weight"] {
            assert_eq!(carried["heads"][place][name], row[name], "{name} of row {place}");
        }
    }
    assert_eq!(carried["heads"].as_array().map(Vec::len), Some(2));
    let no_recording = attlas(&folder, &["view", "--effects", "effects.json", "--no-open"]);
    assert!(no_recording.fails(2).starts_with("--effects is of a recording's heads, and no recording was given"));
    let row = r#"{"kind": "cross", "layer": 2, "head": 4, "method": "zero", "metric": "kl", "effect": 0.5}"#;
    for (rows, said) in [
        ("[]".to_owned(), "has no row"),
        ("{}".to_owned(), "is no array of rows with kind, layer, head, method, metric and effect"),
        (format!("[{row}, {row}]"), "row 1 has cross L2H4 a second time"),
        (format!("[{row}, {}]", row.replace("kl", "loss")), "row 1 has the loss of zero, and row 0 the kl of zero"),
        (format!("[{}]", row.replace("2,", "7,")), "row 0 is of another model: there is no cross layer 7"),
        (
            format!("[{}]", row.replace("4,", "8,")),
            "row 0 is of another model: cross layer 2 has 8 heads, and no head 8",
        ),
        (format!("[{}]", row.replace("\"head\"", "\"query\": 1, \"head\"")), "row 0 is of a pair of tokens"),
        (format!("[{}]", row.replace("\"cross\"", "null")), "row 0 is of no single head"),
        (format!("[{}]", row.replace("\"head\"", "\"text\": \"ab\", \"head\"")), "was measured on another text"),
        (format!("[{}]", row.replace("\"head\"", "\"model\": \"ab\", \"head\"")), "was measured on another model"),
    ] {
        fs::write(folder.path().join("other.json"), rows).expect("written");
        let refused = attlas(&folder, &["page", &run, "--effects", "other.json", "-o", "no.html"]);
        assert!(refused.fails(3).starts_with(&format!("other.json: {said}")), "{}", refused.stderr);
    }
    assert!(!folder.path().join("no.html").exists());
    fs::write(folder.path().join("none.json"), format!("[{}]", row.replace("0.5", "null"))).expect("written");
    let without = attlas(&folder, &["page", &run, "--effects", "none.json", "-o", "page.html"]);
    assert!(
        without.succeeds().stderr.contains("none.json: 1 of 1 head without an effect that is a number"),
        "{without:?}"
    );
    let other = attlas(&folder, &["ablate", "A green apple.", "--heads", "cross:2.4", "-o", "green.json"]);
    other.succeeds();
    let refused = attlas(&folder, &["page", &run, "--effects", "green.json", "-o", "no.html"]);
    assert!(refused.fails(3).starts_with("green.json: was measured on another text"), "{}", refused.stderr);
}

#[test]
fn a_page_given_for_a_recording_is_said_to_be_one() {
    let (folder, run) = recording("A red apple.");
    attlas(&folder, &["page", &run, "-o", "page.html"]).succeeds();
    let viewed = attlas(&folder, &["view", "page.html", "--no-open"]);
    assert_eq!(
        viewed.fails(3),
        "page.html: is a page, which a browser opens; `attlas view` shows recordings (.safetensors), folders of them, and texts"
    );
    let shown = attlas(&folder, &["page.html"]);
    assert!(
        shown
            .fails(2)
            .contains("not a text: a page opens in a browser, and the names of recordings end in .safetensors")
    );
    for words in [&["page", "page.html", "-o", "again.html"][..], &["draw", "map", "page.html", "-o", "a.svg"]] {
        let said = "page.html: is a page, which a browser opens; a recording (.safetensors) or a text is wanted here";
        assert_eq!(attlas(&folder, words).fails(3), said, "{words:?}");
    }
}

#[test]
fn what_cannot_be_a_page_is_refused_in_a_sentence_and_nothing_is_written() {
    let (folder, run) = recording("A red apple.");
    let fails = |words: &[&str], code: i32, said: &str| {
        let finished = attlas(&folder, words);
        assert!(finished.fails(code).contains(said), "{words:?}: {}", finished.stderr);
    };
    fails(&["page", &run, "-o", "page.pdf"], 2, "its name ends in .html or .htm");
    fails(&["page", &run, "-o", &run], 2, "which would be lost");
    fails(&["page", "missing.safetensors", "-o", "a.html"], 3, "missing.safetensors: No such file");
    fails(
        &["page", &run, "--open", "L2H4", "-o", "a.html"],
        2,
        "say which: encoder:L2H4 or decoder:L2H4 or cross:L2H4",
    );
    fails(
        &["page", &run, "--open", "cross:L9H0", "-o", "a.html"],
        2,
        "--open: there is no cross layer 9; there are 0 to 2",
    );
    fails(&["page", &run, "--open", "L0H99", "-o", "a.html"], 2, "--open: ");
    fails(&["page", &run, "--open", "L2H*", "-o", "a.html"], 2, "means several heads");
    fails(
        &["page", &run, "--max-page-mb", "0", "-o", "a.html"],
        5,
        "bytes of attention data, more than the limit of 0 bytes; ",
    );
    fails(&["page", &run, "--max-page-mb", "0", "-o", "a.html"], 5, "or raise the limit (--max-page-mb)");
    fails(&["page", &run, "--quantity", "norm", "-o", "a.html"], 3, "`attlas record --quantity norm` keeps it");
    fails(&["page", &run, "--model", "x", "-o", "a.html"], 2, "but run.safetensors is a recording");
    fails(&["page", &run, "--trees", "missing.conllu", "-o", "a.html"], 3, "missing.conllu: No such file");
    fails(
        &["page", &run, "--image", "photo.png", "-o", "a.html"],
        2,
        "--image was given once, but what was recorded are 0 images",
    );
    fails(&["page", &run, "--sound", "a.wav", "-o", "a.html"], 2, "but what was recorded are 0 sounds");
    fails(&["page", &run, "--title", " ", "-o", "a.html"], 3, "--title is empty");
    fails(
        &["A red apple.", "--no-page", "--trees", "a.conllu"],
        2,
        "--trees is about the page, and --no-page leaves it out",
    );
    assert!(attlas(&folder, &["page", "-o", "a.html"]).code == Some(2));
    fs::write(folder.path().join("cut.safetensors"), &fs::read(folder.path().join(&run)).expect("it is there")[..5000])
        .expect("written");
    fails(&["page", "cut.safetensors", "-o", "a.html"], 3, "cut.safetensors");
    assert!(!folder.path().join("a.html").exists());
}
