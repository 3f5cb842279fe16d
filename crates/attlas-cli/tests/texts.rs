//! Texts as they come: several at once, from files, with marks and columns that are no text; and options that cannot act on them.

mod common;

use std::fs;
use std::path::Path;

use common::{Command, folder, recording};
use tempfile::TempDir;

/// Runs the command in a folder; `words` are separated by `|`.
fn attlas(folder: &TempDir, words: &str) -> common::Finished {
    Command::new(words.split('|')).in_folder(folder).run()
}

fn write(folder: &TempDir, name: &str, text: &str) {
    fs::write(folder.path().join(name), text).expect("it is written");
}

fn read(folder: &TempDir, name: &str) -> Vec<u8> {
    fs::read(folder.path().join(name)).expect("the file is there")
}

/// A folder of the model crate's test data.
fn model(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../attlas-model/tests/data").join(name);
    path.to_str().expect("a path of text").to_owned()
}

#[test]
fn a_mark_line_ends_and_further_columns_change_no_figure() {
    let folder = folder();
    write(&folder, "plain.tsv", "A cat.\tUn chat.\nI am here.\tJe suis là.\n");
    write(&folder, "marked.tsv", "\u{feff}A cat.\tUn chat.\r\nI am here.\tJe suis là.\r\n");
    write(&folder, "wide.tsv", "A cat.\tUn chat.\tCC-BY 2.0 #1\nI am here.\tJe suis là.\tCC-BY 2.0 #2\n");
    let figures = |name: &str| {
        let run = attlas(&folder, &format!("evaluate|--pairs|{name}|--json"));
        let mut figures: serde_json::Value = serde_json::from_str(&run.succeeds().stdout).expect("JSON");
        let n_wider = figures.as_object_mut().and_then(|object| object.remove("n_wider")).expect("a count");
        (figures, n_wider, run.stderr)
    };
    let plain = figures("plain.tsv");
    assert_eq!(figures("marked.tsv"), plain);
    let wide = figures("wide.tsv");
    assert_eq!((&wide.0, wide.1.as_u64()), (&plain.0, Some(2)));
    let said = "attlas: the first two columns are the pair; further columns of 2 lines were left out\n";
    assert_eq!(wide.2, said);
}

#[test]
fn what_must_be_known_of_a_text_is_said_by_every_command_that_runs_it() {
    let folder = folder();
    let said = |words: &str| attlas(&folder, words).succeeds().stderr.clone();
    let capitals = "is in capitals, of which";
    for command in [
        "tokens|A CAT.",
        "explain|A CAT.",
        "lens|A CAT.",
        "mixing|A CAT.",
        "why|A CAT.|--head|cross:L2H4|--query|0|--key|0",
        "ablate|A CAT.|--heads|encoder:0.0",
        "check|A CAT.",
        "draw|distance|A CAT.|-o|a.svg",
    ] {
        assert!(said(command).contains(capitals), "{command}");
        assert!(!said(&command.replace("A CAT.", "A cat.")).contains(capitals), "{command}");
    }
    let compared = said("compare|A CAT.|A DOG.");
    assert_eq!(compared.matches(capitals).count(), 1, "the same is said once: {compared}");
    assert!(said("compare|A cat.|A DOG.").contains("attlas: B: a text is in capitals"));
    write(&folder, "two.txt", "A cat.\nA DOG.\n");
    assert!(said("ablate|two.txt|--heads|encoder:0.0").contains("attlas: text 1: a text is in capitals"));
}

#[test]
fn advice_that_would_leave_nothing_is_not_given() {
    let folder = folder();
    write(&folder, "none.tsv", "no tab\nnor here\n");
    write(&folder, "some.tsv", "no tab\nA cat.\tUn chat.\n");
    assert!(!attlas(&folder, "evaluate|--pairs|none.tsv").fails(3).contains("--skip-bad"));
    assert!(attlas(&folder, "evaluate|--pairs|some.tsv").fails(3).contains("--skip-bad"));
    assert!(!attlas(&folder, "record|--pairs|some.tsv|-o|a.safetensors").fails(3).contains("--skip-bad"));
}

#[test]
fn the_lines_of_a_file_are_texts_and_its_pairs_are_texts_with_targets() {
    let folder = folder();
    attlas(&folder, "record|A cat.|I am here.|-o|typed.safetensors").succeeds();
    write(&folder, "texts.txt", "\u{feff}A cat.\r\nI am here.\r\n\r\n");
    attlas(&folder, "record|--lines|texts.txt|-o|lines.safetensors").succeeds();
    assert!(read(&folder, "lines.safetensors") == read(&folder, "typed.safetensors"));
    let from_stdin = ["record", "--lines", "-", "-o", "stdin.safetensors"];
    let run = Command::new(from_stdin).in_folder(&folder).stdin(b"A cat.\n\nI am here.\n").run();
    assert_eq!((run.code, run.stderr.as_str()), (Some(1), "attlas: standard input: left out 1 empty line\n"));
    assert!(read(&folder, "stdin.safetensors") == read(&folder, "typed.safetensors"));

    let given = "record|A cat.|I am here.|--target|Un chat.|--target|Je suis là.|-o|given.safetensors";
    attlas(&folder, given).succeeds();
    write(&folder, "pairs.tsv", "A cat.\tUn chat.\tCC-BY\nI am here.\tJe suis là.\n");
    let run = attlas(&folder, "record|--pairs|pairs.tsv|-o|pairs.safetensors");
    assert!(run.succeeds().stderr.contains("further columns of 1 line were left out"), "{}", run.stderr);
    assert!(read(&folder, "pairs.safetensors") == read(&folder, "given.safetensors"));
}

#[test]
fn files_of_texts_that_cannot_be_used_are_refused() {
    let folder = folder();
    write(&folder, "empty.txt", "\n \n");
    let sentence = attlas(&folder, "record|--lines|empty.txt|-o|a.safetensors").fails(3).to_owned();
    assert_eq!(sentence, "empty.txt has no line with a word; a text is a line");
    assert!(attlas(&folder, "record|--lines|none.txt|-o|a.safetensors").fails(3).starts_with("none.txt: No such file"));
    write(&folder, "many.txt", &"The woman who lives next door is a doctor.\n".repeat(8));
    let sentence = attlas(&folder, "record|--lines|many.txt|--max-mb|0|-o|a.safetensors").fails(5).to_owned();
    assert!(sentence.starts_with("8 texts padded to 1") && sentence.ends_with("(--max-mb)"), "{sentence}");
    assert!(!folder.path().join("a.safetensors").exists());
    for words in ["record|A cat.|--lines|many.txt", "record|--pairs|many.txt|--target|Un chat."] {
        assert_eq!(attlas(&folder, &format!("{words}|-o|a.safetensors")).code, Some(2), "{words}");
    }
}

#[test]
fn the_name_of_a_file_in_the_place_of_a_text_is_asked_about() {
    let folder = folder();
    write(&folder, "notes.txt", "A cat.\n");
    let show = attlas(&folder, "notes.txt").fails(2).to_owned();
    assert!(show.contains("is the name of a file, not a text: `attlas record --lines notes.txt"), "{show}");
    let pairs = attlas(&folder, "pairs.tsv").fails(2).to_owned();
    assert!(pairs.contains("`attlas record --pairs pairs.tsv") && pairs.contains("--lines"), "{pairs}");
    for words in [
        "tokens|notes.txt",
        "draw|map|notes.txt|-o|a.svg",
        "record|A cat.|notes.txt|-o|a.safetensors",
        "A cat.|--target|notes.txt",
    ] {
        let sentence = attlas(&folder, words).fails(2).to_owned();
        assert!(sentence.contains("\"notes.txt\" is the name of a file"), "{words}: {sentence}");
    }
    let read = Command::new(["tokens", "-"]).in_folder(&folder).stdin("\u{feff}notes.txt".as_bytes()).run();
    assert!(!read.succeeds().stdout.contains('\u{feff}'), "{}", read.stdout);
    let missing = attlas(&folder, "explain|none.txt").fails(3).to_owned();
    assert!(missing.starts_with("none.txt: No such file"), "{missing}");
    fs::create_dir(folder.path().join("texts")).expect("made");
    for words in ["explain|texts", "ablate|texts", "why|texts|--head|0.0|--query|0|--key|0", "texts"] {
        let sentence = attlas(&folder, words).fails(2).to_owned();
        assert!(sentence.contains("\"texts\" is a folder, not a text"), "{words}: {sentence}");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2, "nothing was written");
}

#[test]
fn words_are_counted_in_each_text_by_itself() {
    let folder = folder();
    write(&folder, "texts.txt", &"The cat sat on the mat.\n".repeat(6));
    let run = attlas(&folder, "record|--lines|texts.txt|-o|run.safetensors");
    assert_eq!(run.succeeds().stderr, "");
    let info = attlas(&folder, "info|run.safetensors");
    assert!(!info.stdout.contains("pieces"), "{}", info.stdout);
}

#[test]
fn the_table_is_about_all_texts_and_about_one_when_asked() {
    let folder = folder();
    let texts = "record|The cat sat on the mat.|A red apple.|-o|run.safetensors";
    attlas(&folder, texts).succeeds();
    let all = attlas(&folder, "run.safetensors|--no-page").succeeds().stdout.replace('\n', " ");
    assert!(all.contains("text 0 of 2, counted from 0"), "{all}");
    assert!(all.contains("Measured on 2 texts together (each up to encoder 8 × 8"), "{all}");
    let one = attlas(&folder, "run.safetensors|--no-page|--text|1").succeeds().stdout.replace('\n', " ");
    assert!(one.contains("text 1 of 2, counted from 0") && one.contains("apple"), "{one}");
    assert!(one.contains("Measured on text 1 of 2 alone, counted from 0 (encoder 5 × 5"), "{one}");
    let alone = attlas(&folder, "A red apple.|--no-page").succeeds().stdout.replace('\n', " ");
    let table = |text: &str| {
        text[text.find("what stands out").expect("a table")..text.find("Measured").expect("how")].to_owned()
    };
    assert_eq!(table(&one), table(&alone), "padding beside a text changes nothing");
    assert!(attlas(&folder, "run.safetensors|--no-page|--text|2").fails(2).contains('2'));
}

#[test]
fn heads_info_and_export_take_one_text_of_a_batch() {
    let folder = folder();
    attlas(&folder, "record|The cat sat on the mat.|A red apple.|-o|run.safetensors").succeeds();
    let n_scores = |options: &str| {
        let run = attlas(&folder, &format!("heads|run.safetensors|--find|self|--kind|encoder|--json{options}"));
        let json: serde_json::Value = serde_json::from_str(&run.succeeds().stdout).expect("JSON");
        json[0]["n_rows"].as_u64().expect("a count")
    };
    assert_eq!([n_scores(""), n_scores("|--text|0"), n_scores("|--text|1")], [13, 8, 5]);
    let listed = attlas(&folder, "info|run.safetensors|--text|1").succeeds().stdout.clone();
    assert!(listed.contains("text 1") && !listed.contains("text 0"), "{listed}");
    assert_eq!(attlas(&folder, "info|run.safetensors|--text|2").code, Some(2));
    attlas(&folder, "export|run.safetensors|--text|1|--kind|cross|--layer|0|--head|0|-o|one.csv").succeeds();
    let csv = String::from_utf8(read(&folder, "one.csv")).expect("UTF-8");
    assert!(csv.lines().skip(1).all(|line| line.starts_with("1,cross,0,0,")) && csv.lines().count() > 9, "{csv}");
    assert_eq!(attlas(&folder, "export|run.safetensors|--text|2|-o|one.npz").code, Some(2));
}

#[test]
fn two_rows_name_no_head() {
    let run = Command::new(["No.", "--no-page"]).run();
    let stdout = &run.succeeds().stdout;
    assert!(stdout.contains("No head stands out over its baseline on this text."), "{stdout}");
}

#[test]
fn rows_are_named_by_what_they_predict_or_the_recording_says_that_it_does_not_know() {
    let (folder, model) = (folder(), model("cut-characters"));
    attlas(&folder, &format!("record|The cat sat on the mat.|--model|{model}|-o|a.safetensors")).succeeds();
    let shown = attlas(&folder, "a.safetensors|--no-page|--label-rows|predicted").succeeds().stdout.clone();
    assert!(shown.contains("predicted target↓"), "{shown}");
    let rows: Vec<&str> = shown.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(rows.windows(6).any(|rows| rows == ["cat", "sat", "on", "the", "mat", "."]), "{shown}");

    attlas(&folder, "export|a.safetensors|-o|a.npz").succeeds();
    attlas(&folder, "import|a.npz|-o|brought.safetensors").succeeds();
    let words = "draw|map|brought.safetensors|--label-rows|predicted|-o|b.svg";
    let sentence = attlas(&folder, words).fails(2).to_owned();
    assert_eq!(sentence, "--label-rows predicted: this recording does not know what was predicted");
    let words = "draw|map|A red apple.|--kind|encoder|--label-rows|predicted|-o|b.svg";
    let sentence = attlas(&folder, words).fails(2).to_owned();
    assert_eq!(sentence, "--label-rows predicted: the rows of an encoder predict no token");
    assert!(!folder.path().join("b.svg").exists());
}

#[test]
fn options_with_nothing_to_act_on_say_so() {
    let (folder, run) = recording("The cat sat on the mat.");
    attlas(&folder, &format!("export|{run}|--kind|cross|-o|a.npz")).succeeds();
    attlas(&folder, "import|a.npz|--source-tokens|a b c d e f g h|-o|brought.safetensors");
    let words = format!("draw|map|{run}|--kind|encoder|--words|--special|hide|-o|a.svg");
    let stderr = attlas(&folder, &words).succeeds().stderr.clone();
    assert_eq!(stderr, "attlas: --words has nothing to merge: each token is a word of its own\n");
    let panel_scale = format!("draw|map|{run}|--panel-scale|own|-o|a.svg");
    assert!(attlas(&folder, &panel_scale).succeeds().stderr.contains("--panel-scale does nothing here"));
    let encoder_only = model("families/bert");
    for (words, said) in [
        (format!("record|--model|{encoder_only}|--source-ids|5,6|--max-tokens|3"), "--max-tokens is for generating"),
        (format!("record|--model|{encoder_only}|--source-ids|5,6|--beam|3"), "--beam is for generating"),
        ("record|--source-ids|5,6|--target-ids|1,5|--max-tokens|3".to_owned(), "all that the model reads is given"),
        (
            format!("record|--model|{encoder_only}|--source-ids|5,6|--revision|main"),
            "--revision main is for models of the hub",
        ),
        ("record|--source-ids|5,6|--target|Un chat.".to_owned(), "does not go together with"),
    ] {
        let words = format!("{words}|-o|a.safetensors");
        let run = attlas(&folder, &words);
        assert!(run.code == Some(2) && run.stderr.contains(said), "{words}: {}", run.stderr);
    }
    assert!(!folder.path().join("a.safetensors").exists());
}

#[test]
fn the_sentences_of_a_text_are_texts_of_its_recording() {
    let folder = folder();
    let text = "The cat sat on the mat. Mr. Smith is a doctor.";
    let show = |words: &str| attlas(&folder, &format!("{text}|--no-page{words}"));
    let run = show("");
    assert!(run.succeeds().stdout.contains("text 0 of 2, counted from 0"), "{}", run.stdout);
    assert!(run.stderr.contains("the text was run sentence by sentence: 2 of them, each alone"), "{}", run.stderr);
    assert!(run.stderr.contains("--sentences together runs them as one text"), "{}", run.stderr);
    let together = show("|--sentences|together");
    assert!(
        !together.succeeds().stdout.contains(" of 2, counted") && together.stderr.is_empty(),
        "{}",
        together.stderr
    );
    assert!(!show("|--target|Le chat.").succeeds().stdout.contains(" of 2, counted"));
    assert!(show("|--target|Le chat.|--sentences|apart").fails(2).contains("--target gives one"));

    let n_items = |words: &str| {
        attlas(&folder, &format!("record|{words}|-o|run.safetensors")).succeeds();
        let info = attlas(&folder, "info|run.safetensors|--json");
        let info: serde_json::Value = serde_json::from_str(&info.succeeds().stdout).expect("JSON");
        info["items"].as_array().map(Vec::len)
    };
    assert_eq!(n_items(text), Some(2));
    assert_eq!(n_items(&format!("{text}|I am here. Look!")), Some(2), "of several texts each stays one");
    assert_eq!(n_items(&format!("{text}|I am here. Look!|--sentences|apart")), Some(4));
    attlas(&folder, &format!("page|{text}|-o|page.html")).succeeds();
    assert!(String::from_utf8(read(&folder, "page.html")).expect("UTF-8").contains("Mr. Smith is a doctor."));
}

#[test]
fn a_loop_that_is_cut_and_a_word_that_is_not_known_are_said_beside_the_output() {
    let (folder, model) = (folder(), model("languages/nllb"));
    for file in fs::read_dir(&model).expect("the model") {
        let file = file.expect("an entry").path();
        let name = file.file_name().expect("a name").to_str().expect("text").to_owned();
        fs::copy(&file, folder.path().join(name)).expect("a copy");
    }
    let words = attlas_model::KnownWords::of(["another"]).to_bytes();
    fs::write(folder.path().join(attlas_model::KNOWN_WORDS_FILE), words).expect("it is written");
    let show = |words: &str| attlas(&folder, &format!("the cat sat on the mat|--model|.|--no-page{words}"));
    let cut = show("|--loops|cut");
    assert!(cut.succeeds().stdout.contains(", which the model began to repeat\n"), "{}", cut.stdout);
    assert!(cut.stdout.contains(": no word the model knows\n"), "{}", cut.stdout);
    assert!(!show("").succeeds().stdout.contains("began to repeat"), "other models go on as other programs' do");
    assert!(show("|--loops|never").fails(2).contains("\"keep\" or \"cut\" was expected"));
    let json = show("|--loops|cut|--json");
    assert!(json.succeeds().stdout.starts_with('[') && json.stderr.contains("began to repeat"), "{}", json.stderr);

    let record = "record|the cat sat on the mat|--model|.|--loops|cut|-o|run.safetensors";
    assert!(attlas(&folder, record).succeeds().stderr.contains("no word the model knows"));
    let info = attlas(&folder, "info|run.safetensors|--json");
    let info: serde_json::Value = serde_json::from_str(&info.succeeds().stdout).expect("JSON");
    assert!(info["items"][0]["n_repeated"].is_u64() && info["items"][0]["unknown_words"].is_array(), "{info}");
    assert!(attlas(&folder, "info|run.safetensors").succeeds().stdout.contains("began to repeat"));
    attlas(&folder, "page|run.safetensors|-o|page.html").succeeds();
    let page = String::from_utf8(read(&folder, "page.html")).expect("UTF-8");
    assert!(page.contains("\"remarks\":[") && page.contains("\"new\":true"), "the page marks and says it");
}
