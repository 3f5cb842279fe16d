//! Model folders that are none, through the command: one sentence with file, field and value, exit code 3, no output.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{Command, folder};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Tensors by name: type, shape, bytes.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// A copy, called `model`, of the tiny encoder-decoder of the model crate's tests, which a test may spoil.
struct Model {
    folder: TempDir,
    config: Value,
    tensors: Tensors,
}

impl Model {
    fn new() -> Model {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../attlas-model/tests/data/vaswani/seed_tiny");
        let bytes = fs::read(source.join("model.safetensors")).expect("the fixture is there");
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        let tensor = |view: TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        let folder = folder();
        fs::create_dir(folder.path().join("model")).expect("made");
        Model {
            folder,
            config: serde_json::from_slice(&fs::read(source.join("config.json")).expect("read")).expect("JSON"),
            tensors: file.tensors().into_iter().map(|(name, view)| (name, tensor(view))).collect(),
        }
    }

    fn spoiled(change: impl FnOnce(&mut Model)) -> Model {
        let mut model = Model::new();
        change(&mut model);
        model.write();
        model
    }

    fn write(&self) {
        fs::write(self.folder.path().join("model/config.json"), self.config.to_string()).expect("written");
        let views = self.tensors.iter().map(|(name, (dtype, shape, bytes))| {
            (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).expect("it fits"))
        });
        let file = safetensors::serialize(views, None).expect("it serialises");
        fs::write(self.folder.path().join("model/model.safetensors"), file).expect("written");
    }

    /// Records ids with the model.
    fn record(&self, ids: &[&str]) -> common::Finished {
        let words = ["record", "--model", "model", "-o", "run.safetensors"];
        Command::new(words.iter().chain(ids)).in_folder(&self.folder).run()
    }

    /// The sentence of the refusal; nothing is left beside the model.
    fn refusal(&self) -> String {
        let sentence = self.record(&["--source-ids", "3,4", "--target-ids", "1,5"]).fails(3).to_owned();
        let left = fs::read_dir(self.folder.path()).expect("readable").count();
        assert_eq!(left, 1, "only the model's folder is there");
        sentence
    }
}

#[test]
fn the_model_is_sound_before_it_is_spoiled() {
    Model::spoiled(|_| {}).record(&["--source-ids", "3,4", "--target-ids", "1,5"]).succeeds();
}

#[test]
fn heads_that_do_not_divide_d_model_are_named_with_both_numbers() {
    let model = Model::spoiled(|model| model.config["num_heads"] = json!(5));
    assert_eq!(model.refusal(), "model/config.json: num_heads is 5, but d_model 32 is not divisible by it");
}

#[test]
fn a_missing_an_extra_and_a_misshapen_tensor_are_named() {
    let missing = Model::spoiled(|model| drop(model.tensors.remove("encoder_layers.1.ffn.ffn.0.weight")));
    assert_eq!(
        missing.refusal(),
        "model/model.safetensors: tensor encoder_layers.1.ffn.ffn.0.weight is missing; config.json asks for it with \
         shape [64, 32] (d_ff is 64; d_model is 32)"
    );
    let extra = Model::spoiled(|model| {
        model.tensors.insert("extra.weight".into(), (Dtype::F32, vec![2], vec![0; 8]));
    });
    assert!(extra.refusal().starts_with("model/model.safetensors: tensor extra.weight is not part of the model"));
    let misshapen = Model::spoiled(|model| model.config["src_vocab"] = json!(51));
    assert_eq!(
        misshapen.refusal(),
        "model/model.safetensors: tensor src_embed.weight has shape [50, 32], but config.json asks for [51, 32] \
         (src_vocab is 51)"
    );
    let huge = Model::spoiled(|model| model.config["src_vocab"] = json!(16_777_216));
    assert!(huge.refusal().contains("has shape [50, 32], but config.json asks for [16777216, 32]"));
}

#[test]
fn a_tensor_of_another_type_and_one_that_holds_no_number_are_named() {
    let integers = Model::spoiled(|model| {
        model.tensors.get_mut("src_embed.weight").expect("it is there").0 = Dtype::I32;
    });
    assert!(
        integers
            .refusal()
            .starts_with("model/model.safetensors: tensor src_embed.weight is stored as i32; attlas reads")
    );
    let spoiled = Model::spoiled(|model| {
        let bytes = &mut model.tensors.get_mut("output_proj.bias").expect("it is there").2;
        bytes[12..16].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    assert_eq!(
        spoiled.refusal(),
        "model/model.safetensors: tensor output_proj.bias holds NaN at place 3; weights must be finite"
    );
}

#[test]
fn nothing_is_measured_of_a_run_whose_numbers_are_none() {
    let model = Model::spoiled(|model| {
        let bytes = &mut model.tensors.get_mut("encoder_layers.0.ffn.ffn.0.weight").expect("it is there").2;
        bytes.chunks_exact_mut(4).for_each(|weight| weight.copy_from_slice(&3e38_f32.to_le_bytes()));
    });
    let ids = ["--model", "model", "--source-ids", "3,4,7", "--target-ids", "1,5"];
    let pair = ["why", "--head", "encoder:L1H0", "--query", "0", "--key", "1"];
    for words in [&["mixing", "--kind", "encoder"][..], &pair, &["ablate"]] {
        let run = Command::new(words.iter().chain(&ids)).in_folder(&model.folder).run();
        let sentence = run.fails(3);
        assert!(sentence.starts_with("the run has numbers that are infinite or none (NaN)"), "{sentence}");
    }
}

#[test]
fn weights_cut_short_and_an_enormous_configuration_are_refused_by_their_size() {
    let model = Model::spoiled(|_| {});
    let path = model.folder.path().join("model/model.safetensors");
    let whole = fs::read(&path).expect("read");
    fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    let sentence = model.refusal();
    assert!(sentence.starts_with("model/model.safetensors: tensor "), "{sentence}");
    assert!(sentence.ends_with("which does not fit; the file is truncated or damaged"), "{sentence}");
    fs::write(&path, whole).expect("written");
    // a file of 200 MB that takes no room on the disk
    let config = fs::File::create(model.folder.path().join("model/config.json")).expect("created");
    config.set_len(200 << 20).expect("set");
    let run = model.record(&["--source-ids", "3", "--target-ids", "1"]);
    let sentence = run.fails(5);
    assert_eq!(sentence, "model/config.json: has 209715200 bytes; 16777216 are possible");
}

#[cfg(target_os = "linux")]
#[test]
fn a_model_whose_folders_name_is_no_text_is_read_all_the_same() {
    use std::os::unix::ffi::OsStrExt;

    let model = Model::spoiled(|_| {});
    let name = std::ffi::OsStr::from_bytes(b"mod\xffel");
    fs::rename(model.folder.path().join("model"), model.folder.path().join(name)).expect("renamed");
    let words = ["record", "-o", "run.safetensors", "--source-ids", "3,4", "--target-ids", "1,5", "--model"];
    let words = words.iter().map(std::ffi::OsStr::new).chain([name]);
    Command::new(words).in_folder(&model.folder).run().succeeds();
}

#[test]
fn ids_beyond_the_vocabulary_and_targets_beyond_the_positions_are_named() {
    let model = Model::spoiled(|_| {});
    let sentence = model.record(&["--source-ids", "3,50", "--target-ids", "1"]).fails(3).to_owned();
    assert!(sentence.contains("source token 1 has id 50"), "{sentence}");
    let sentence = model.record(&["--source-ids", "3", "--target-ids", "1,40"]).fails(3).to_owned();
    assert!(sentence.contains("target token 1 has id 40"), "{sentence}");
    let long = vec!["5"; 65].join(",");
    let sentence = model.record(&["--source-ids", "3", "--target-ids", &long]).fails(3).to_owned();
    assert!(sentence.contains("has 65 target tokens, but"), "{sentence}");
}

#[test]
fn a_text_for_a_model_without_a_tokenizer_says_so() {
    let model = Model::spoiled(|_| {});
    let sentence = model.record(&["A red apple."]).fails(3).to_owned();
    assert!(sentence.contains("has no tokenizer"), "{sentence}");
}

#[test]
fn a_tokenizer_that_is_none_is_named() {
    let model = Model::spoiled(|_| {});
    fs::write(model.folder.path().join("model/tokenizer.json"), "{\"model\": 7}").expect("written");
    let sentence = model.record(&["A red apple."]).fails(3).to_owned();
    assert!(sentence.starts_with("model/tokenizer.json: "), "{sentence}");
}
