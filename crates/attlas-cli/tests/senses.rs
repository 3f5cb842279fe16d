//! Images and sounds on the command line: recorded, drawn over the image, refused in a sentence.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Command, folder};
use tempfile::TempDir;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../attlas-model/tests/data").join(name)
}

/// A folder with a tiny model `model/`, an image `photo.png` and a sound `speech.wav`.
fn workplace(case: &str, preprocessor: &str) -> TempDir {
    let folder = folder();
    fs::create_dir(folder.path().join("model")).expect("a folder");
    for name in ["config.json", "model.safetensors"] {
        fs::copy(data("families").join(case).join(name), folder.path().join("model").join(name)).expect("a copy");
    }
    fs::write(folder.path().join("model/preprocessor_config.json"), preprocessor).expect("a file");
    fs::copy(data("senses/rgb.png"), folder.path().join("photo.png")).expect("a copy");
    fs::copy(data("senses/mono.wav"), folder.path().join("speech.wav")).expect("a copy");
    folder
}

const VIT: &str = r#"{"size": {"height": 12, "width": 12}}"#;
const WHISPER: &str = r#"{"feature_size": 8, "sampling_rate": 4480, "chunk_length": 1}"#;

#[test]
fn an_image_is_recorded_and_a_row_is_drawn_over_it() {
    let folder = workplace("vit", VIT);
    let run =
        Command::new(["record", "photo.png", "--model", "model", "-o", "run.safetensors"]).in_folder(&folder).run();
    assert!(run.succeeds().stdout.contains("1 text; encoder 2 layers and 8 heads"), "{}", run.stdout);
    for (query, output) in [("CLS", "cls.svg"), ("r1c2", "patch.pdf"), ("R0C0", "corner.png")] {
        let words = ["draw", "patches", "run.safetensors", "--image", "photo.png", "--layer", "0", "--head", "3"];
        Command::new(words.into_iter().chain(["--query", query, "-o", output])).in_folder(&folder).run().succeeds();
    }
    let svg = fs::read_to_string(folder.path().join("cls.svg")).expect("the picture");
    assert!(svg.contains("L0H3: what CLS looks at") && svg.contains("Tokens outside the image take"), "{svg}");
    // straight from the image
    let run =
        Command::new(["draw", "patches", "photo.png", "--model", "model", "-o", "mean.png"]).in_folder(&folder).run();
    run.succeeds();
}

#[test]
fn an_image_smaller_than_what_is_cut_out_of_its_middle_is_recorded_and_drawn_with_black_around_it() {
    let folder = workplace(
        "vit",
        r#"{"size": {"height": 6, "width": 8}, "do_center_crop": true, "crop_size": {"height": 12, "width": 12}}"#,
    );
    let record = ["record", "photo.png", "--model", "model", "-o", "run.safetensors"];
    Command::new(record).in_folder(&folder).run().succeeds();
    let draw = ["draw", "patches", "run.safetensors", "--image", "photo.png", "--query", "r1c1", "-o", "p.svg"];
    Command::new(draw).in_folder(&folder).run().succeeds();
    let svg = fs::read_to_string(folder.path().join("p.svg")).expect("the picture");
    assert!(svg.contains("what r1c1 looks at"), "{svg}");
    // an image that the model does not read is refused with the file that has it prepared so
    let larger = r#"{"size": {"height": 16, "width": 16}}"#;
    fs::write(folder.path().join("model/preprocessor_config.json"), larger).expect("a file");
    let refused = Command::new(record).in_folder(&folder).run();
    refused.fails(3);
    let words =
        ["photo.png: as ", "preprocessor_config.json has it prepared, the image has 3 colours and 16 × 16 pixels"];
    assert!(words.iter().all(|words| refused.stderr.contains(words)), "{}", refused.stderr);
}

#[test]
fn object_queries_say_what_they_found_and_where_they_look() {
    let detr = r#"{"image_processor_type": "DetrImageProcessor", "size": {"shortest_edge": 18, "longest_edge": 60}}"#;
    let folder = workplace("detr", detr);
    let record = ["record", "photo.png", "--model", "model", "-o", "run.safetensors"];
    let run = Command::new(record).in_folder(&folder).run();
    assert!(
        run.succeeds().stdout.contains("1 text; encoder 2 layers and 4 heads, decoder 2 layers and 8 heads, cross 2")
    );
    assert!(run.stdout.contains("query  prob.  class"), "{}", run.stdout);
    assert!(run.stdout.lines().any(|line| line.starts_with("q3 ") && line.contains(" to ")), "{}", run.stdout);
    let draw = |query: &'static str| {
        let words = ["draw", "patches", "run.safetensors", "--image", "photo.png", "--layer", "1", "--head", "1"];
        Command::new(words.into_iter().chain(["--query", query, "-o", "look.svg"])).in_folder(&folder).run()
    };
    draw("3").succeeds();
    let svg = fs::read_to_string(folder.path().join("look.svg")).expect("the picture");
    assert!(svg.contains("L1H1: what q3 (LABEL_") && svg.contains("A map of 3 × 3 values"), "{svg}");
    draw("r0c1").succeeds();
    let svg = fs::read_to_string(folder.path().join("look.svg")).expect("the picture");
    assert!(svg.contains("what r0c1 looks at"), "{svg}");
    let there_are = "there are r0c0 to r2c2 of encoder attention, and 5 tokens, q0 to q4 of cross attention";
    assert!(draw("7").fails(2).ends_with(&format!("--query 7: {there_are}")));
    let words = ["draw", "patches", "run.safetensors", "--image", "photo.png", "--kind", "encoder", "--query", "q3"];
    let run = Command::new(words.into_iter().chain(["-o", "look.svg"])).in_folder(&folder).run();
    assert!(
        run.fails(2).ends_with("--query q3: is a query of cross attention, not of encoder attention: --kind cross")
    );
    let words = ["record", "photo.png", "--model", "model", "--target", "a cat", "-o", "other.safetensors"];
    let refused = Command::new(words).in_folder(&folder).run();
    assert!(refused.fails(2).contains("looks for objects and writes no text: leave out --target"));
}

#[test]
fn a_sound_is_recorded_with_its_transcript() {
    let folder = workplace("whisper", WHISPER);
    let words = ["record", "speech.wav", "--model", "model", "--max-tokens", "4", "-o", "run.safetensors"];
    let run = Command::new(words).in_folder(&folder).run();
    run.succeeds();
    assert!(
        run.stdout.contains("encoder 2 layers and 8 heads, decoder 2 layers and 8 heads, cross 2"),
        "{}",
        run.stdout
    );
    assert!(run.stderr.contains("resampled from 16000 to 4480"), "{}", run.stderr);
    // a spectrogram that the model does not read is refused by the file that asks for it
    let other = r#"{"feature_size": 9, "sampling_rate": 4480, "chunk_length": 1}"#;
    fs::write(folder.path().join("model/preprocessor_config.json"), other).expect("a file");
    let run = Command::new(words).in_folder(&folder).run();
    assert!(
        run.fails(3).contains("preprocessor_config.json: (feature_size, chunk_length, hop_length)"),
        "{}",
        run.stderr
    );
}

#[test]
fn the_silence_after_a_short_sound_is_left_out_of_pictures_with_its_mass_unless_it_is_asked_for() {
    let folder = workplace("whisper", WHISPER);
    // 0.25 s of 1 s, 4480 · 0.25 = 1120 samples, 320 to each of 14 columns: the sound is in the first 4
    let samples: Vec<u8> = (0..1120_i32).flat_map(|n| ((n * 7919 % 20_001 - 10_000) as i16).to_le_bytes()).collect();
    let n_bytes = samples.len() as u32;
    let header = [
        b"RIFF".as_slice(),
        &(36 + n_bytes).to_le_bytes(),
        b"WAVEfmt \x10\0\0\0\x01\0\x01\0",
        &4480_u32.to_le_bytes(),
        &8960_u32.to_le_bytes(),
        b"\x02\0\x10\0data",
        &n_bytes.to_le_bytes(),
    ];
    fs::write(folder.path().join("short.wav"), [header.concat(), samples].concat()).expect("a sound");
    let words = ["record", "short.wav", "--model", "model", "--max-tokens", "4", "-o", "run.safetensors"];
    Command::new(words).in_folder(&folder).run().succeeds();
    let drawn = |more: &[&str]| {
        let words = ["draw", "map", "run.safetensors", "--kind", "cross", "-o", "map.svg"];
        Command::new(words.iter().chain(more)).in_folder(&folder).run().succeeds();
        fs::read_to_string(folder.path().join("map.svg")).expect("the picture")
    };
    let cut = drawn(&[]);
    assert!(cut.contains("A map of 4 × 4 values"), "{cut}");
    assert!(cut.contains("10 columns of added silence, from 0.08s on, left out"), "{cut}");
    let whole = drawn(&["--silence", "show"]);
    assert!(whole.contains("A map of 4 × 14 values") && whole.contains("(0.08s)"), "{whole}");
    assert!(drawn(&["--columns", "2:6"]).contains("A map of 4 × 4 values"));
}

#[test]
fn what_does_not_fit_is_told_in_a_sentence() {
    let folder = workplace("vit", VIT);
    let fails = |words: &[&str], code: i32, part: &str| {
        let run = Command::new(words).in_folder(&folder).run();
        run.fails(code);
        assert!(run.stderr.contains(part), "{words:?}: {}", run.stderr);
    };
    fails(&["record", "photo.png", "-o", "run.safetensors"], 3, "photo.png is an image, but");
    fails(&["record", "The cat sat.", "--model", "model", "-o", "run.safetensors"], 3, "The cat sat.");
    fails(&["record", "speech.wav", "--model", "model", "-o", "run.safetensors"], 3, "PNG and JPEG");
    Command::new(["record", "photo.png", "--model", "model", "-o", "run.safetensors"])
        .in_folder(&folder)
        .run()
        .succeeds();
    let draw = ["draw", "patches", "run.safetensors", "-o", "p.png"];
    fails(&draw, 2, "--image FILE is needed");
    fails(&[&draw[..], &["--image", "photo.png", "--query", "r9c9"]].concat(), 2, "there are r0c0 to r2c2, and CLS");
    fails(&[&draw[..], &["--image", "photo.png", "--head", "9"]].concat(), 2, "9");
    fs::copy(data("senses/turned.jpg"), folder.path().join("other.jpg")).expect("a copy");
    fails(&[&draw[..], &["--image", "other.jpg"]].concat(), 3, "made of an image of 41 × 31");
    let (other, name) = common::recording("A red apple.");
    fs::copy(other.path().join(name), folder.path().join("text.safetensors")).expect("a copy");
    fails(&["draw", "patches", "text.safetensors", "--image", "photo.png", "-o", "p.png"], 3, "no patches of an image");
}

#[test]
fn the_list_of_models_says_what_is_tested_of_each() {
    let run = Command::new(["models"]).run();
    run.succeeds();
    let n_families = attlas_model::family::FAMILIES.len();
    assert_eq!(run.stdout.lines().filter(|line| line.trim_start().starts_with("tested: ")).count(), n_families);
    assert!(run.stdout.contains("tested: segments, masked LM; classifier, f16"), "{}", run.stdout);
}

/// A tokenizer of single letters between white space, whose ids are those of the tiny checkpoints.
fn letters(special: &[(u32, &str)], template: &str) -> String {
    let added: Vec<String> = special
        .iter()
        .map(|(id, content)| format!(r#"{{"id": {id}, "content": "{content}", "special": true}}"#))
        .collect();
    let named: String = special.iter().map(|(id, content)| format!("\"{content}\": {id}, ")).collect();
    let words: Vec<String> = ('a'..='z').zip(10..).map(|(letter, id)| format!("\"{letter}\": {id}")).collect();
    format!(
        r#"{{"version": "1.0", "added_tokens": [{}], "pre_tokenizer": {{"type": "WhitespaceSplit"}}, "post_processor": {template},
            "model": {{"type": "WordLevel", "vocab": {{"<unk>": 0, {named}{}}}, "unk_token": "<unk>"}}}}"#,
        added.join(", "),
        words.join(", ")
    )
}

#[test]
fn words_get_their_times_as_a_table_as_json_and_beside_the_spectrogram() {
    let folder = workplace("whisper", WHISPER);
    let tokenizer = letters(&[(2, "<|endoftext|>"), (3, "<|startoftranscript|>")], "null");
    fs::write(folder.path().join("model/tokenizer.json"), tokenizer).expect("a file");
    let words = ["times", "speech.wav", "--model", "model", "--target", "a b c d"];
    let run = Command::new(words).in_folder(&folder).run();
    run.succeeds();
    assert!(run.stderr.contains("medians over 7 frames"), "{}", run.stderr);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines.len(), 5, "{}", run.stdout);
    assert!(lines[0].ends_with("word") && lines[4].trim_end().ends_with('d'), "{}", run.stdout);
    let json = Command::new(words.into_iter().chain(["--json", "--head", "L1H2"])).in_folder(&folder).run();
    json.succeeds();
    let times: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(times["heads"], serde_json::json!(["L1H2"]));
    let second = |place: usize, end: &str| times["words"][place][end].as_f64().expect("a number");
    for place in 0..4 {
        assert!(second(place, "start") <= second(place, "end"), "{times}");
        assert!(place == 0 || second(place, "start") == second(place - 1, "end"), "{times}");
    }
    // of a recording, whose heads are named
    let words = ["record", "speech.wav", "--model", "model", "--target", "a b c d", "-o", "run.safetensors"];
    Command::new(words).in_folder(&folder).run().succeeds();
    let words = ["times", "run.safetensors", "--head", "L1H2", "--sound", "speech.wav", "--json", "-o", "times.svg"];
    let opened = Command::new(words).in_folder(&folder).run();
    opened.succeeds();
    assert_eq!(opened.stdout, json.stdout);
    let svg = fs::read_to_string(folder.path().join("times.svg")).expect("the picture");
    assert!(svg.contains("L1H2: when each word is spoken") && svg.contains("<image"), "{svg}");
    // another sound, longer or shorter than one of 0.16 s, of a model that reads 0.28 s at 16000 samples per second
    let sound = fs::read(folder.path().join("speech.wav")).expect("a file");
    let write = |name: &str, n_samples: usize| {
        let n_bytes = 2 * n_samples as u32;
        let size = (n_bytes + 36).to_le_bytes();
        let parts = [&sound[..4], &size, &sound[8..40], &n_bytes.to_le_bytes(), &sound[44..44 + n_bytes as usize]];
        fs::write(folder.path().join(name), parts.concat()).expect("a file");
    };
    fs::remove_file(folder.path().join("model/preprocessor_config.json")).expect("a file");
    write("part.wav", 2560);
    let words = ["record", "part.wav", "--model", "model", "--target", "a b c d", "-o", "part.safetensors"];
    Command::new(words).in_folder(&folder).run().succeeds();
    let draw = |sound: &str| {
        let words = ["times", "part.safetensors", "--head", "L1H2", "--sound", sound, "-o", "part.svg"];
        Command::new(words).in_folder(&folder).run()
    };
    draw("part.wav").succeeds();
    write("short.wav", 1600);
    for other in ["short.wav", "speech.wav"] {
        let run = draw(other);
        assert!(run.fails(3).contains("that were recorded: another sound?"), "{}", run.stderr);
    }
    // what has no times
    let run = Command::new(["times", "The cat sat."]).in_folder(&folder).run();
    run.fails(3);
    assert!(run.stderr.contains("reads no sounds"), "{}", run.stderr);
    let run = Command::new(["times", "run.safetensors", "--head", "L7H0"]).in_folder(&folder).run();
    assert!(!run.stderr.is_empty() && run.stdout.is_empty());
}

#[test]
fn the_towers_of_a_model_are_run_alone_and_both_in_one_recording() {
    let folder = workplace("clip", VIT);
    let template = r#"{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [2], "tokens": ["<s>"]}, "</s>": {"id": "</s>", "ids": [3], "tokens": ["</s>"]}}}"#;
    let tokenizer = letters(&[(2, "<s>"), (3, "</s>")], template);
    fs::write(folder.path().join("model/tokenizer.json"), tokenizer).expect("a file");
    let record = |source: &str, more: &[&str]| {
        let words = ["record", source, "--model", "model", "-o", "run.safetensors"];
        Command::new(words.into_iter().chain(more.iter().copied())).in_folder(&folder).run()
    };
    let run = record("a b c", &[]);
    run.fails(3);
    assert!(run.stderr.contains("--tower text chooses the one that reads texts"), "{}", run.stderr);
    let run = record("a b c", &["--tower", "text"]);
    assert!(run.succeeds().stdout.contains("decoder 1 layer and 2 heads"), "{}", run.stdout);
    let run = record("photo.png", &["--tower", "vision"]);
    assert!(run.succeeds().stdout.contains("encoder 2 layers and 8 heads"), "{}", run.stdout);
    let run = record("photo.png", &["--target", "a b c"]);
    assert!(run.succeeds().stdout.contains("encoder 2 layers and 8 heads"), "{}", run.stdout);
    let info = Command::new(["info", "run.safetensors"]).in_folder(&folder).run();
    assert!(info.succeeds().stdout.contains("text decoder"), "{}", info.stdout);
    let heads = |more: &[&str]| {
        Command::new(["heads", "run.safetensors"].into_iter().chain(more.iter().copied())).in_folder(&folder).run()
    };
    let run = heads(&[]);
    assert!(!run.succeeds().stdout.contains("decoder"), "{}", run.stdout);
    assert!(
        run.stderr.contains("the text tower's maps are in the recording, too; --tower text shows them"),
        "{}",
        run.stderr
    );
    let run = heads(&["--tower", "text"]);
    assert!(run.succeeds().stdout.contains("decoder") && run.stderr.is_empty(), "{} {}", run.stdout, run.stderr);
    let words = ["draw", "map", "run.safetensors", "--tower", "text", "--layer", "0", "--head", "1", "-o", "text.svg"];
    Command::new(words).in_folder(&folder).run().succeeds();
    let run = record("photo.png", &["--target", "a", "--target", "b"]);
    assert!(run.stderr.contains("2 targets for 1 text"), "{}", run.stderr);
    // a model of one tower has none to choose
    let folder = workplace("vit", VIT);
    let words = ["record", "photo.png", "--model", "model", "--tower", "text", "-o", "run.safetensors"];
    let run = Command::new(words).in_folder(&folder).run();
    run.fails(3);
    assert!(run.stderr.contains("model_type is \"vit\", which has no two towers"), "{}", run.stderr);
}
