//! Texts with images in them on the command line: recorded, drawn over the image, refused in a sentence.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Command, Finished, folder};
use tempfile::TempDir;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../attlas-model/tests/data").join(name)
}

const WORDS: [&str; 6] = ["what", "is", "this", "an", "apple", "?"];

/// A folder with a tiny model `model/` whose tokenizer knows a few words and the placeholder with the id 47, and `photo.png`.
fn workplace(case: &str, preprocessor: &str, placeholder: (&str, u32)) -> TempDir {
    let folder = folder();
    fs::create_dir(folder.path().join("model")).expect("a folder");
    for name in ["config.json", "model.safetensors", "generation_config.json"] {
        fs::copy(data("families").join(case).join(name), folder.path().join("model").join(name)).expect("a copy");
    }
    let words: Vec<String> = WORDS.iter().zip(4..).map(|(word, id)| format!("\"{word}\": {id}")).collect();
    let (content, id) = placeholder;
    let tokenizer = format!(
        r#"{{"version": "1.0", "added_tokens": [{{"id": {id}, "content": "{content}", "special": true}}],
            "pre_tokenizer": {{"type": "Whitespace"}},
            "model": {{"type": "WordLevel", "vocab": {{"<unk>": 3, {}, "{content}": {id}}}, "unk_token": "<unk>"}}}}"#,
        words.join(", ")
    );
    fs::write(folder.path().join("model/tokenizer.json"), tokenizer).expect("a file");
    fs::write(folder.path().join("model/preprocessor_config.json"), preprocessor).expect("a file");
    fs::copy(data("senses/rgb.png"), folder.path().join("photo.png")).expect("a copy");
    folder
}

const CLIP: &str = r#"{"size": {"shortest_edge": 6}, "do_center_crop": true, "crop_size": {"height": 6, "width": 6}}"#;

fn run(folder: &TempDir, words: &[&str]) -> Finished {
    Command::new(words.iter().copied()).in_folder(folder).run()
}

/// A refusal whose sentence has these words; remarks may stand before it.
trait Says {
    fn says(&self, code: i32, words: &str);
}

impl Says for Finished {
    fn says(&self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{}\n{}", self.command, self.stderr);
        let last = self.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("attlas: ") && last.contains(words), "{}", self.stderr);
    }
}

#[test]
fn a_text_is_recorded_with_an_image_and_what_a_word_looks_at_is_drawn_over_it() {
    let folder = workplace("llava", CLIP, ("<image>", 47));
    let text = "what is <image> this ?";
    let found = run(&folder, &["record", text, "--image", "photo.png", "--model", "model", "-o", "run.safetensors"]);
    found.succeeds();
    assert!(found.stdout.contains("encoder 3 layers and 6 heads, decoder 2 layers and 8 heads"), "{}", found.stdout);
    assert!(found.stderr.contains("reads what leaves layer 1 of the vision tower"), "{}", found.stderr);
    // a word's row over the image: 9 patches among the keys, 4 words outside
    let draw = ["draw", "patches", "run.safetensors", "--image", "photo.png", "--layer", "1", "--head", "2"];
    let draw = |more: &[&str]| run(&folder, &[&draw[..], more].concat());
    draw(&["--query", "this", "-o", "this.svg"]).succeeds();
    let svg = fs::read_to_string(folder.path().join("this.svg")).expect("the picture");
    assert!(svg.contains("L1H2: what this looks at") && svg.contains("Tokens outside the image take"), "{svg}");
    draw(&["-o", "last.png"]).succeeds();
    draw(&["--query", "r1c2", "-o", "patch.pdf"]).succeeds();
    draw(&["--query", "what", "-o", "p.svg"]).says(2, "--query what: stands before the image");
    draw(&["--query", "cat", "-o", "p.svg"]).says(2, "--query cat: there is no such token");
    draw(&["--image-number", "1", "-o", "p.svg"]).says(2, "--image-number 1: the text has 1 image");
    draw(&["--tower", "vision", "--image-number", "1", "-o", "p.svg"])
        .says(2, "--image-number 1: these maps are of 1 image");
    // the vision tower's own maps
    let tower = run(
        &folder,
        &[
            "draw",
            "patches",
            "run.safetensors",
            "--image",
            "photo.png",
            "--tower",
            "vision",
            "--query",
            "CLS",
            "-o",
            "cls.svg",
        ],
    );
    tower.succeeds();
    // what the image receives of the text
    let received = run(&folder, &["draw", "received", "run.safetensors", "--json"]);
    received.succeeds();
    assert!(received.stdout.contains("\"patches\""), "{}", received.stdout);
    // straight from the text
    let straight =
        ["draw", "patches", text, "--image", "photo.png", "--model", "model", "--query", "this", "-o", "again.svg"];
    run(&folder, &straight).succeeds();
    // a continuation is read behind the image
    let words =
        ["record", text, "--image", "photo.png", "--model", "model", "--max-tokens", "3", "-o", "more.safetensors"];
    run(&folder, &words).succeeds();
}

#[test]
fn placeholders_and_images_that_do_not_fit_are_told_in_a_sentence() {
    let folder = workplace("llava", CLIP, ("<image>", 47));
    let record =
        |words: &[&str]| run(&folder, &[&["record"], words, &["--model", "model", "-o", "run.safetensors"]].concat());
    let twice = ["--image", "photo.png", "--image", "photo.png"];
    record(&["what <image> is <image> ?", "--image", "photo.png"]).says(3, "1 image for a text with 2 placeholders");
    record(&[&["what <image> ?"], &twice[..]].concat()).says(3, "2 images for a text with 1 placeholder");
    record(&["what is this", "--image", "photo.png"]).says(3, "reads one where the text has <image> (token 47)");
    record(&["what <image> ?"]).says(2, "the text has 1 placeholder for images, and no image was given");
    record(&["what <image> ?", "--image", "absent.png"]).says(3, "absent.png: there is no such file (--image)");
    record(&[&["what <image> is <image> ?"], &twice[..]].concat()).succeeds();
    let second = ["draw", "patches", "run.safetensors", "--image", "photo.png", "--image-number", "1", "-o", "p.svg"];
    run(&folder, &second).succeeds();
    // a patch of the second image sees the first; one of the first stands before the second
    run(&folder, &[&second[..], &["--query", "r0c1#2"]].concat()).succeeds();
    let svg = fs::read_to_string(folder.path().join("p.svg")).expect("the picture");
    assert!(svg.contains("what r0c1#2 looks at"), "{svg}");
    run(&folder, &[&second[..], &["--query", "r0c1"]].concat()).says(2, "--query r0c1: stands before the image");
    record(&["what <image> ?", "this ?", "--image", "photo.png"]).says(2, "--image is for one text at a time");
    let embedded = ["record", "The cat.", "--image", "photo.png", "-o", "run.safetensors"];
    run(&folder, &embedded).says(3, "reads texts alone here, and --image gives it an image");
}
