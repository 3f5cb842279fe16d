//! `attlas import` of what people have: PyTorch's files, pieces of vocabularies, patches of images.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use attlas::{Grid, Kind, Recording, RowTokens};
use common::{Command, Finished, folder};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../attlas-model/tests/data").join(name)
}

/// A file of one array.
fn maps(folder: &TempDir, name: &str, shape: &[usize], weights: &[f32]) {
    let bytes: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes).expect("it fits");
    let file = safetensors::serialize(BTreeMap::from([(name, view)]), None).expect("it serialises");
    fs::write(folder.path().join("maps.safetensors"), file).expect("written");
}

fn import(folder: &TempDir, maps: &str, more: &[&str]) -> Finished {
    Command::new([&["import", maps, "-o", "run.safetensors"], more].concat()).in_folder(folder).run()
}

fn recording(folder: &TempDir) -> Recording {
    Recording::open(&folder.path().join("run.safetensors")).expect("a recording")
}

/// Tensors as the older format of `torch.save` holds them, and what the pickle makes of them: `%0` is the first, and so on.
fn torch_file(tensors: &[(&[u8], &[f32])], pickle: &[&[u8]]) -> Vec<u8> {
    let simple = |body: &[u8]| [b"\x80\x02".as_slice(), body, b"."].concat();
    let numbers = |sizes: &[u8]| {
        let items: Vec<u8> = sizes.iter().flat_map(|size| [b'K', *size]).collect();
        [b"(".as_slice(), &items, b"t"].concat()
    };
    let tensor = |index: usize| {
        let (shape, weights) = tensors[index];
        let strides: Vec<u8> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        let head = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0";
        let storage = [b'0' + index as u8, b'N', b'K', weights.len() as u8, b't', b'Q', b'K', 0];
        [head.as_slice(), &storage, &numbers(shape), &numbers(&strides), b"tR"].concat()
    };
    let made: Vec<u8> = pickle
        .iter()
        .flat_map(|part| match part {
            [b'%', index] => tensor(usize::from(index - b'0')),
            _ => part.to_vec(),
        })
        .collect();
    let keys: Vec<u8> =
        (0..tensors.len()).flat_map(|key| [b"X\x01\0\0\0".as_slice(), &[b'0' + key as u8]].concat()).collect();
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    file.extend(
        [simple(b"M\xe9\x03"), simple(b"}"), simple(&made), simple(&[b"(", keys.as_slice(), b"l"].concat())].concat(),
    );
    for (_, weights) in tensors {
        file.extend((weights.len() as u64).to_le_bytes());
        file.extend(weights.iter().flat_map(|weight| weight.to_le_bytes()));
    }
    file
}

#[test]
fn the_tuple_of_layers_that_torch_saved_is_read_with_its_texts() {
    let folder = folder();
    let layer = |weight: f32| [weight, 1.0 - weight, 0.5, 0.5, 0.25, 0.75, 1.0, 0.0];
    let shape: &[u8] = &[2, 1, 2, 2];
    let bytes = torch_file(&[(shape, &layer(0.9)), (shape, &layer(0.8))], &[b"%0", b"%1", b"\x86"]);
    fs::write(folder.path().join("attentions.pt"), bytes).expect("written");
    let run =
        import(&folder, "attentions.pt", &["--kind", "encoder", "--source-tokens", "a b", "--source-tokens", "c d"]);
    assert!(run.succeeds().stdout.contains("2 texts; encoder 2 layers and 2 heads"), "{}", run.stdout);
    let told =
        "layer.0 and 1 more, each [2, 1, 2, 2] read as 2 texts × 1 head × 2 queries × 2 keys; --axes says otherwise";
    assert!(run.stdout.contains(told), "{}", run.stdout);
    let recording = recording(&folder);
    assert_eq!(recording.map(0, Kind::Encoder, 1, 0).expect("a map").row(0), [0.8, 1.0 - 0.8]);
    assert_eq!(recording.map(1, Kind::Encoder, 0, 0).expect("a map").row(0), [0.25, 0.75]);
    assert!(recording.items[1].source.labels().eq(["c", "d"]));
    let limit = import(&folder, "attentions.pt", &["--kind", "encoder", "--max-bytes", "63"]);
    assert!(limit.fails(5).contains("attentions.pt: reading its tensors would need 64 bytes"), "{}", limit.stderr);
}

#[test]
fn the_steps_of_a_generation_become_rows_and_beams_are_refused() {
    let folder = folder();
    let prompt: (&[u8], &[f32]) = (&[1, 1, 2, 2], &[1.0, 0.0, 0.5, 0.5]);
    let step: (&[u8], &[f32]) = (&[1, 1, 1, 3], &[0.2, 0.3, 0.5]);
    let bytes = torch_file(&[prompt, step], &[b"%0", b"\x85", b"%1", b"\x85", b"\x86"]);
    fs::write(folder.path().join("steps.pt"), bytes).expect("written");
    let run = import(&folder, "steps.pt", &[]);
    assert!(run.succeeds().stdout.contains("1 text; decoder 1 layer and 1 head"), "{}", run.stdout);
    let rows = recording(&folder).map(0, Kind::Decoder, 0, 0).expect("a map").dense();
    assert_eq!(rows, [1.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.2, 0.3, 0.5]);
    let beams: (&[u8], &[f32]) = (&[2, 1, 2, 2], &[1.0, 0.0, 0.5, 0.5, 1.0, 0.0, 0.5, 0.5]);
    let next: (&[u8], &[f32]) = (&[2, 1, 1, 3], &[0.2, 0.3, 0.5, 0.3, 0.2, 0.5]);
    let bytes = torch_file(&[beams, next], &[b"%0", b"\x85", b"%1", b"\x85", b"\x86"]);
    fs::write(folder.path().join("beams.pt"), bytes).expect("written");
    let refused = import(&folder, "beams.pt", &[]);
    assert!(refused.fails(3).starts_with("beams.pt: two of the 2 texts of the first step are the same, as the beams"));
}

#[test]
fn a_dictionary_gives_its_attentions_and_what_is_left_out_is_said() {
    let folder = folder();
    let layer: (&[u8], &[f32]) = (&[1, 1, 1, 2], &[0.25, 0.75]);
    let name = |name: &str| [b"X".as_slice(), &(name.len() as u32).to_le_bytes(), name.as_bytes()].concat();
    let (cross, logits) = (name("cross_attentions"), name("logits"));
    let bytes = torch_file(&[layer, layer], &[b"}(", &cross, b"%0", b"\x85", &logits, b"%1", b"u"]);
    fs::write(folder.path().join("out.bin"), bytes).expect("written");
    let run = import(&folder, "out.bin", &[]);
    assert!(run.succeeds().stdout.contains("cross 1 layer and 1 head"), "{}", run.stdout);
    // with tokens of each text
    let two: (&[u8], &[f32]) = (&[2, 1, 1, 2], &[0.25, 0.75, 0.5, 0.5]);
    let (source, [a, b, c, d]) = (name("source_tokens"), ["a", "b", "c", "d"].map(name));
    let tokens = [b"(", a.as_slice(), &b, b"t(", &c, &d, b"t\x86"].concat();
    fs::write(
        folder.path().join("two.bin"),
        torch_file(&[two], &[b"}(", &cross, b"%0", b"\x85", &source, &tokens, b"u"]),
    )
    .expect("written");
    import(&folder, "two.bin", &[]).succeeds();
    assert!(recording(&folder).items[1].source.labels().eq(["c", "d"]));
    assert!(run.stderr.contains("left out, beside the attentions: logits"), "{}", run.stderr);
}

/// Weights of 7 tokens, the last of which is padding: of `un ##believ ##able !` between `[CLS]` and `[SEP]`.
fn padded() -> Vec<f32> {
    let row = [0.3, 0.05, 0.1, 0.15, 0.1, 0.3, 0.0];
    let other = [0.1, 0.3, 0.0, 0.0, 0.2, 0.4, 0.0];
    [row, other, row, row, row, row, row].concat()
}

#[test]
fn pieces_make_words_and_special_tokens_can_be_hidden_as_in_recordings() {
    let pieces = [
        "[CLS] un ##believ ##able ! [SEP] [PAD]",
        "<s> Ġun believ able ! </s> <pad>",
        "<s> ▁un believ able ! </s> <pad>",
    ];
    for tokens in pieces {
        let folder = folder();
        maps(&folder, "encoder", &[1, 1, 7, 7], &padded());
        let run = import(&folder, "maps.safetensors", &["--source-tokens", tokens]);
        assert!(run.succeeds().stdout.contains("2 special tokens, 1 of padding recognised"), "{}", run.stdout);
        assert!(run.stderr.contains("1 token is padding, which no query looks at; left out"), "{}", run.stderr);
        let words = ["draw", "map", "run.safetensors", "--words", "--special", "hide", "-o", "map.svg"];
        Command::new(words).in_folder(&folder).run().succeeds();
        let svg = fs::read_to_string(folder.path().join("map.svg")).expect("the picture");
        assert!(svg.contains(">unbelievable<") && svg.contains(">!<"), "{tokens}: {svg}");
        assert!(!svg.contains("##") && !svg.contains("[SEP]") && !svg.contains("&lt;pad"), "{tokens}");
        assert!(svg.contains("2 special columns hidden"), "{tokens}");
        // a word gets the sum of its pieces' columns, and the mean of their rows
        let recording = recording(&folder);
        let map = recording.map(0, Kind::Encoder, 0, 0).expect("a map");
        let shown = Grid::of(&map, RowTokens::Read).words().hide_special().0.weights;
        let wanted = [0.3, 0.4 / 3.0, 0.3, 0.1];
        assert!(shown.iter().zip(wanted).all(|(got, want)| (got - want).abs() < 1e-6), "{shown:?}");
    }
}

#[test]
fn a_tokenizer_says_which_tokens_are_special_and_which_make_a_word() {
    let folder = folder();
    let tokenizer = r###"{"added_tokens": [{"id": 0, "content": "<turn>", "special": true, "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false}], "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "@@",
        "max_input_chars_per_word": 100, "vocab": {"<turn>": 0, "[UNK]": 1, "walk": 2, "@@ing": 3}}}"###;
    fs::create_dir(folder.path().join("tokenizer")).expect("a folder");
    fs::write(folder.path().join("tokenizer/tokenizer.json"), tokenizer).expect("written");
    maps(&folder, "encoder", &[3, 3], &[0.5, 0.25, 0.25, 0.5, 0.25, 0.25, 0.5, 0.25, 0.25]);
    let tokens = ["--tokenizer", "tokenizer", "--source-tokens", "<turn> walk @@ing"];
    import(&folder, "maps.safetensors", &tokens).succeeds();
    let source = &recording(&folder).items[0].source;
    assert!(source.labels().eq(["<turn>", "walk", "ing"]));
    let told: Vec<_> = source.tokens.iter().map(|token| (token.id, token.is_text(), token.word)).collect();
    assert_eq!(told, [(Some(0), false, None), (Some(2), true, Some(0)), (Some(3), true, Some(0))]);
    let other =
        import(&folder, "maps.safetensors", &["--tokenizer", "tokenizer", "--source-tokens", "<turn> run @@ing"]);
    assert!(other.succeeds().stderr.contains("does not have 1 token (the first is \"run\")"), "{}", other.stderr);
    let over = [
        "import",
        "maps.safetensors",
        "--tokenizer",
        "tokenizer",
        "--source-tokens",
        "a",
        "-o",
        "tokenizer/tokenizer.json",
    ];
    assert!(Command::new(over).in_folder(&folder).run().fails(2).contains("this is the input"));
    let idle = import(&folder, "maps.safetensors", &["--target-tokens", "a b c"]);
    assert!(idle.fails(2).starts_with("--target-tokens does nothing here: an encoder's tokens"), "{}", idle.stderr);
    let none = import(&folder, "maps.safetensors", &["--tokenizer", "tokenizer"]);
    assert!(none.fails(2).contains("there are no tokens for it"), "{}", none.stderr);
}

#[test]
fn imported_patches_are_drawn_over_an_image() {
    let folder = folder();
    fs::copy(data("senses/rgb.png"), folder.path().join("photo.png")).expect("a copy");
    let draw = |query: &str| {
        let words = ["draw", "patches", "run.safetensors", "--image", "photo.png", "--query", query, "-o", "row.svg"];
        Command::new(words).in_folder(&folder).run()
    };
    maps(&folder, "maps", &[4, 4], &[[0.4, 0.3, 0.2, 0.1]; 4].concat());
    import(&folder, "maps.safetensors", &["--kind", "encoder", "--image-grid", "2x2"]).succeeds();
    draw("r1c0").succeeds();
    assert!(draw("r2c0").fails(2).ends_with("--query r2c0: there are r0c0 to r1c1"));
    // queries of a detector that look at the image
    maps(&folder, "maps", &[1, 2, 5], &[0.2; 10]);
    import(&folder, "maps.safetensors", &["--kind", "cross", "--image-grid", "2x2+1"]).succeeds();
    draw("1").succeeds();
    let with = |option: [&str; 2]| {
        let words = ["draw", "patches", "run.safetensors", "--image", "photo.png", "--query", "1", "-o", "row.svg"];
        Command::new([&words[..], &option].concat()).in_folder(&folder).run()
    };
    with(["--kind", "cross"]).succeeds();
    assert!(with(["--kind", "decoder"]).fails(2).starts_with("--kind decoder does nothing here"));
    assert!(with(["--silence", "show"]).fails(2).starts_with("--silence does nothing here"));
    let svg = fs::read_to_string(folder.path().join("row.svg")).expect("the picture");
    assert!(svg.contains("Tokens outside the image take 0.200"), "{svg}");
    assert!(draw("r0c0").fails(2).ends_with("--query r0c0: there are 2 tokens, 0 to 1"));
    let wrong = import(&folder, "maps.safetensors", &["--kind", "cross", "--image-grid", "2x2"]);
    assert!(wrong.fails(3).contains("the map has 5 keys, but 2 × 2 patches and 0 tokens before them are 4"));
}

#[test]
fn how_axes_rows_and_kinds_were_read_is_said_with_the_option_that_says_otherwise() {
    let folder = folder();
    maps(&folder, "attentions", &[1, 1, 2, 4], &[0.25, 0.25, 0.5, 0.0, 0.1, 0.2, 0.3, 0.4]);
    let run = import(&folder, "maps.safetensors", &[]);
    for told in [
        "attentions [1, 1, 2, 4] read as 1 layer × 1 head × 2 queries × 4 keys; --axes says otherwise",
        "attentions read as decoder self-attention: no query looks at a later token; --kind says otherwise",
        "rows are tokens 2 to 3 of 4 (counted from 0); --query-offset says otherwise",
    ] {
        assert!(run.succeeds().stdout.contains(told), "{told}: {}", run.stdout);
    }
    let more = ["--kind", "decoder", "--query-offset", "2", "--axes", "layers,heads,queries,keys"];
    let run = import(&folder, "maps.safetensors", &more);
    assert!(!run.succeeds().stdout.contains("says otherwise"), "{}", run.stdout);
    let swapped = [0.9, 0.8, 0.7, 0.1, 0.2, 0.3];
    maps(&folder, "decoder_cross", &[2, 3], &swapped);
    let refused = import(&folder, "maps.safetensors", &[]);
    assert!(refused.fails(3).contains("rows and columns are probably swapped (--axes names"), "{}", refused.stderr);
    import(&folder, "maps.safetensors", &["--axes", "keys,queries"]).succeeds();
    let row = recording(&folder).map(0, Kind::Cross, 0, 0).expect("a map").row(2);
    assert_eq!(row, [0.7, 0.3]);
    let wrong = import(&folder, "maps.safetensors", &["--axes", "rows,keys"]);
    assert!(wrong.fails(2).contains("\"rows\" is no axis"), "{}", wrong.stderr);
}

#[test]
fn maps_with_rows_of_zeros_are_imported_and_said_to_fail_by_the_exit_code_unless_that_is_allowed() {
    let folder = folder();
    maps(&folder, "encoder", &[1, 2, 2], &[0.5, 0.5, 0.0, 0.0]);
    let said = import(&folder, "maps.safetensors", &[]);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("the recording fails its checks in encoder L0H0"), "{}", said.stderr);
    assert_eq!(recording(&folder).layers.len(), 1, "it is written all the same");
    import(&folder, "maps.safetensors", &["--allow-unnormalised"]).succeeds();
}
