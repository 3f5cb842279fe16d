//! Models that are none, and inputs that do not fit: one sentence each, nothing allocated on a file's word.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attlas_model::{Decoding, Input, Model, RunOptions, Side};
use common::{data, refusal};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Tensors by name: type, shape, bytes.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// A copy of the tiny model that a test may spoil.
struct Folder {
    folder: TempDir,
    config: Value,
    tensors: Tensors,
}

impl Folder {
    fn new() -> Folder {
        Folder::of(&data("vaswani/seed_tiny"))
    }

    fn of(source: &Path) -> Folder {
        let bytes = std::fs::read(source.join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let tensor = |view: TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        Folder {
            folder: tempfile::tempdir().unwrap(),
            config: serde_json::from_slice(&std::fs::read(source.join("config.json")).unwrap()).unwrap(),
            tensors: file.tensors().into_iter().map(|(name, view)| (name, tensor(view))).collect(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self) {
        std::fs::write(self.path("config.json"), self.config.to_string()).unwrap();
        self.write_weights("model.safetensors", |_| true);
    }

    fn write_weights(&self, file: &str, keep: impl Fn(&str) -> bool) {
        let views = self.tensors.iter().filter(|(name, _)| keep(name)).map(|(name, (dtype, shape, bytes))| {
            (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        std::fs::write(self.path(file), safetensors::serialize(views, None).unwrap()).unwrap();
    }

    /// The message of the refusal, the folder's own path left out.
    fn refusal(&self) -> String {
        refusal(self.folder.path())
    }

    /// The refusal of a folder whose configuration has another value.
    fn with(field: &str, value: Value) -> String {
        let mut folder = Folder::new();
        folder.config[field] = value;
        folder.write();
        folder.refusal()
    }
}

#[test]
fn a_folder_that_is_no_model_is_refused_by_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(refusal(folder.path()), "DIR: is no model: there is no config.json in it");
    std::fs::write(folder.path().join("config.json"), r#"{"src_vocab": 50, "tgt_vocab": 40}"#).unwrap();
    assert_eq!(
        refusal(folder.path()),
        "DIR: has no weights; attlas looks for model.safetensors, model.safetensors.index.json or pytorch_model.bin beside config.json"
    );
    let file = folder.path().join("config.json");
    assert!(refusal(&file).contains("is not a folder"));
    assert!(refusal(&folder.path().join("absent")).contains("No such file"));
}

#[test]
fn a_configuration_that_is_no_json_object_is_refused() {
    let folder = Folder::new();
    folder.write();
    for (text, part) in [("{", "is no JSON"), ("[1]", "must hold a JSON object"), ("", "is no JSON")] {
        std::fs::write(folder.path("config.json"), text).unwrap();
        assert!(folder.refusal().contains(part), "{text}: {}", folder.refusal());
    }
}

#[test]
fn heads_that_do_not_divide_the_width_are_refused_with_both_numbers() {
    assert_eq!(
        Folder::with("num_heads", json!(5)),
        "DIR/config.json: num_heads is 5, but d_model 32 is not divisible by it"
    );
}

#[test]
fn heads_too_many_or_too_wide_are_refused_before_each_of_4096_layers_has_numbers_for_them() {
    let refused = |changes: &[(&str, u64)]| {
        let mut folder = Folder::of(&data("families/llama"));
        folder.config.as_object_mut().unwrap().remove("head_dim");
        folder.config["num_hidden_layers"] = json!(4096);
        changes.iter().for_each(|(field, value)| folder.config[*field] = json!(value));
        folder.write();
        folder.refusal()
    };
    let wide = [("hidden_size", 1 << 24), ("num_attention_heads", 1), ("num_key_value_heads", 1)];
    let message = refused(&wide);
    assert!(
        message.contains("num_attention_heads is 1, so that hidden_size 16777216 makes heads of 16777216"),
        "{message}"
    );
    let many = [("hidden_size", 1 << 24), ("num_attention_heads", 1 << 23), ("num_key_value_heads", 1)];
    assert!(refused(&many).contains("num_attention_heads is 8388608; attlas reads up to 4096 heads a layer"));
    assert!(refused(&[("head_dim", 1 << 24)]).contains("head_dim is 16777216; attlas reads heads of up to 4096"));
}

#[test]
fn sizes_of_the_wrong_type_or_out_of_range_are_refused_before_anything_is_allocated() {
    for value in [json!(0), json!(-3), json!(1.5), json!("64"), json!([64]), json!(1u64 << 40), json!(true)] {
        let message = Folder::with("d_ff", value.clone());
        assert_eq!(message, format!("DIR/config.json: d_ff is {value}, but must be a whole number from 1 to 16777216"));
    }
    assert!(Folder::with("num_layers", json!(100_000)).contains("models of up to 4096 layers"));
    assert!(Folder::with("dropout", json!("x")).contains("dropout is \"x\", but must be a finite number"));
    assert!(Folder::with("src_vocab", Value::Null).contains("model_type is missing"));
    assert!(Folder::with("bos", json!(40)).contains("bos is 40, but must be a token id from 0 to 39"));
    assert!(Folder::with("post_norm", json!(false)).contains("post_norm is false; attlas supports only true"));
}

#[test]
fn an_enormous_size_is_refused_by_the_tensors_shape_and_not_by_the_allocator() {
    let message = Folder::with("d_ff", json!(1 << 24));
    assert!(
        message.contains("has shape [64, 32], but config.json asks for [16777216, 32] (d_ff is 16777216)"),
        "{message}"
    );
}

#[test]
fn a_convolution_of_positions_without_a_direction_is_refused_by_its_step() {
    let mut folder = Folder::of(&data("families/wav2vec2"));
    let name = "wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original1";
    // [16, 4, 4]: the third step of each kernel
    let (_, _, bytes) = folder.tensors.get_mut(name).expect("directions");
    bytes.chunks_exact_mut(16).for_each(|kernel| kernel[8..12].fill(0));
    folder.write();
    assert!(folder.refusal().contains(&format!("{name} has no direction at step 2 of its kernel")));
}

#[test]
fn code_and_places_that_a_configuration_names_are_not_gone_to() {
    let mut folder = Folder::new();
    let trace = folder.path("trace");
    let code = format!("open({:?}, 'w')\n", trace.display());
    std::fs::write(folder.path("modeling_other.py"), code).unwrap();
    folder.config["auto_map"] = json!({"AutoModel": "modeling_other.OtherModel", "AutoTokenizer": "modeling_other.T"});
    folder.config["_name_or_path"] = json!("../../other");
    folder.config["base_model"] = json!("https://127.0.0.1:9/model.safetensors");
    folder.write();
    Model::load(folder.folder.path()).unwrap();
    assert!(!trace.exists());
}

#[test]
fn a_message_that_quotes_a_file_stays_one_line_that_can_be_read() {
    let message = Folder::with("model_type", json!("long\n".repeat(10_000)));
    assert!(message.contains("\"long long ") && message.len() < 1200, "{message}");
    let message = Folder::with("d_ff", json!("x".repeat(100_000)));
    assert!(message.contains("d_ff is \"xxx") && message.ends_with("a whole number from 1 to 16777216"), "{message}");
}

#[test]
fn a_default_is_never_blamed_as_if_it_stood_in_the_file() {
    let without = |fields: &[&str]| {
        let mut folder = Folder::new();
        for field in fields {
            folder.config.as_object_mut().unwrap().remove(*field);
        }
        folder.config["num_heads"] = json!(5);
        folder.write();
        folder.refusal()
    };
    assert_eq!(
        without(&["d_model"]),
        "DIR/config.json: num_heads is 5, but d_model 512 is not divisible by it; d_model is not in the file; 512, the \
         family's default, was assumed"
    );
    let mut folder = Folder::new();
    folder.config.as_object_mut().unwrap().remove("num_heads");
    folder.config["d_model"] = json!(36);
    folder.write();
    assert_eq!(
        folder.refusal(),
        "DIR/config.json: num_heads is not in the file and was taken as 8, the family's default, but d_model 36 is not \
         divisible by it"
    );
    let mut folder = Folder::new();
    folder.config.as_object_mut().unwrap().remove("d_ff");
    folder.write();
    assert_eq!(
        folder.refusal(),
        "DIR/model.safetensors: tensor encoder_layers.0.ffn.ffn.0.weight has shape [64, 32], but config.json asks for \
         [2048, 32] (d_ff is not in the file; 2048, the family's default, was assumed)"
    );
}

#[test]
fn weights_packed_in_a_way_that_is_not_read_are_named_as_that() {
    let mut folder = Folder::new();
    for (settings, in_words) in [
        (json!({"quant_method": "gptq", "bits": 3}), "gptq (3 bits)"),
        (json!({"quant_method": "awq", "bits": 8}), "awq (8 bits)"),
        (json!({"quant_method": "quanto"}), "quanto"),
        (json!({"bits": 2}), "a method that it does not name (2 bits)"),
    ] {
        folder.config["quantization_config"] = settings;
        folder.write();
        assert_eq!(
            folder.refusal(),
            format!(
                "DIR/config.json: quantization_config says that the weights are quantised with {in_words}, which \
                 attlas does not read; take the unquantised checkpoint or a .gguf"
            )
        );
    }
}

#[test]
fn a_variant_of_a_packing_that_is_not_read_is_named_by_its_field() {
    let mut folder = Folder::new();
    for (settings, message) in [
        (json!({"quant_method": "awq", "bits": 4, "version": "gemv"}), "version is \"gemv\"; attlas reads gemm"),
        (
            json!({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}),
            "checkpoint_format is \"marlin\"; attlas reads gptq, gptq_v2",
        ),
        (
            json!({"quant_method": "gptq", "bits": 4, "dynamic": {"-:.*mlp.*": {}}}),
            "dynamic is {\"-:.*mlp.*\":{}}; attlas reads one way for all matrices",
        ),
        (
            json!({"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"}),
            "format is \"nvfp4-pack-quantized\"; attlas reads pack-quantized, int-quantized, float-quantized, \
             naive-quantized",
        ),
        (
            json!({"quant_method": "compressed-tensors", "format": "int-quantized",
                   "sparsity_config": {"format": "sparse-24-bitmask"}}),
            "sparsity_config.format is \"sparse-24-bitmask\"; attlas reads dense",
        ),
    ] {
        folder.config["quantization_config"] = settings;
        folder.write();
        assert_eq!(folder.refusal(), format!("DIR/config.json: quantization_config.{message}"));
    }
}

#[test]
fn a_pointer_of_git_lfs_in_the_place_of_a_file_is_named_as_that() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 100000\n";
    for name in ["model.safetensors", "config.json", "tokenizer.json", "vocab.txt"] {
        let folder = Folder::new();
        folder.write();
        std::fs::write(folder.path(name), pointer).unwrap();
        assert_eq!(
            folder.refusal(),
            format!("DIR/{name}: is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`")
        );
    }
    let folder = Folder::new();
    folder.write();
    std::fs::rename(folder.path("model.safetensors"), folder.path("x.safetensors")).unwrap();
    std::fs::write(folder.path("pytorch_model.bin"), pointer).unwrap();
    assert!(folder.refusal().starts_with("DIR/pytorch_model.bin: is a Git LFS pointer"), "{}", folder.refusal());
    std::fs::write(folder.path("m.gguf"), pointer).unwrap();
    assert!(refusal(&folder.path("m.gguf")).starts_with("DIR: is a Git LFS pointer"));
}

#[test]
fn a_byte_order_mark_before_json_is_passed_over_and_utf_16_is_named() {
    let folder = Folder::new();
    folder.write();
    let tokenizer = r#"{"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}"#;
    let config = folder.config.to_string();
    for (name, json) in
        [("config.json", config.as_str()), ("generation_config.json", "{}"), ("tokenizer.json", tokenizer)]
    {
        std::fs::write(folder.path(name), format!("\u{feff}{json}")).unwrap();
    }
    assert!(Model::load(folder.folder.path()).unwrap().tokenizer().is_some());
    let wide: Vec<u8> = format!("\u{feff}{config}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(folder.path("config.json"), wide).unwrap();
    assert_eq!(folder.refusal(), "DIR/config.json: is no JSON: it is in UTF-16; JSON is UTF-8");
}

#[test]
fn an_unknown_family_names_one_that_is_near() {
    for (model_type, nearest) in [("lama", "llama"), ("bert-like", "bert"), ("gpt3", "gpt2")] {
        let message = Folder::with("model_type", json!(model_type));
        assert!(message.contains(&format!("\"{model_type}\" is not supported")), "{message}");
        assert!(message.contains(&format!("was \"{nearest}\" meant?")), "{message}");
    }
    let message = Folder::with("model_type", json!("mamba"));
    assert_eq!(message, "DIR/config.json: model_type \"mamba\" is not supported");
}

#[test]
fn a_missing_tensor_is_named_with_the_shape_it_should_have() {
    let mut folder = Folder::new();
    folder.tensors.remove("encoder_layers.1.ffn.ffn.0.weight");
    folder.write();
    assert_eq!(
        folder.refusal(),
        "DIR/model.safetensors: tensor encoder_layers.1.ffn.ffn.0.weight is missing; config.json asks for it with \
         shape [64, 32] (d_ff is 64; d_model is 32)"
    );
}

#[test]
fn a_superfluous_tensor_is_named() {
    let mut folder = Folder::new();
    folder.config["num_layers"] = json!(2);
    folder.write();
    assert_eq!(
        folder.refusal(),
        "DIR/model.safetensors: tensor decoder_layers.2.cross_attn.mha.in_proj_bias is not part of the model that \
         config.json describes; do the two belong together? (num_layers is 2)"
    );
}

#[test]
fn a_tensor_of_another_shape_or_type_is_named_with_both() {
    let mut folder = Folder::new();
    folder.config["src_vocab"] = json!(51);
    folder.write();
    assert_eq!(
        folder.refusal(),
        "DIR/model.safetensors: tensor src_embed.weight has shape [50, 32], but config.json asks for [51, 32] \
         (src_vocab is 51)"
    );
    let mut folder = Folder::new();
    folder.tensors.get_mut("src_embed.weight").unwrap().0 = Dtype::I32;
    folder.write();
    let message = folder.refusal();
    assert!(message.contains("tensor src_embed.weight is stored as i32; attlas reads f32, f16"), "{message}");
}

#[test]
fn packed_experts_that_do_not_fit_are_refused_by_name() {
    const SCALES: &str = "model.layers.1.mlp.experts.down_proj_scales";
    let packed = || Folder::of(&data("families/gpt-oss-mxfp4"));
    let mut folder = packed();
    folder.tensors.get_mut(SCALES).unwrap().2[5] = 253;
    folder.write();
    let message = folder.refusal();
    assert!(message.contains(SCALES) && message.contains("holds 253 at place 5"), "{message}");
    let mut folder = packed();
    folder.tensors.remove(SCALES);
    folder.write();
    assert!(folder.refusal().contains(&format!("{SCALES} is missing")), "{}", folder.refusal());
    let mut folder = packed();
    folder.tensors.get_mut(SCALES).unwrap().0 = Dtype::I8;
    folder.write();
    assert!(folder.refusal().contains("is stored as i8; packed weights are u8"), "{}", folder.refusal());
    let mut folder = packed();
    folder.config["intermediate_size"] = json!(48);
    let bias = folder.tensors.get_mut("model.layers.0.mlp.experts.gate_up_proj_bias").unwrap();
    *bias = (Dtype::F32, vec![4, 96], vec![0; 4 * 96 * 4]);
    folder.write();
    let message = folder.refusal();
    assert!(message.contains("has shape [4, 64, 1, 16]") && message.contains("[4, 96, 1, 16]"), "{message}");
}

#[test]
fn weights_that_are_not_finite_are_refused_with_their_place() {
    for (value, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let mut folder = Folder::new();
        folder.tensors.get_mut("output_proj.bias").unwrap().2[12..16].copy_from_slice(&value.to_le_bytes());
        folder.write();
        assert_eq!(
            folder.refusal(),
            format!("DIR/model.safetensors: tensor output_proj.bias holds {name} at place 3; weights must be finite")
        );
    }
}

#[test]
fn truncated_and_lying_weight_files_are_refused() {
    let folder = Folder::new();
    folder.write();
    let path = folder.path("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let mut lying = whole.clone();
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    for (bytes, part) in [
        (&whole[..whole.len() - 100], "the file is truncated or damaged"),
        (&whole[..5], "fewer than a header needs"),
        (&whole[..0], "fewer than a header needs"),
        (&lying[..], "says that its header has 18446744073709551615 bytes"),
        (&[whole.as_slice(), b"more"].concat(), "but its tensors end at byte"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        assert!(folder.refusal().contains(part), "{part}: {}", folder.refusal());
    }
}

#[test]
fn a_header_with_the_same_name_twice_with_overlaps_or_gaps_is_refused() {
    let folder = Folder::new();
    folder.write();
    let header = |json: &str, data: usize| {
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(json.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        std::fs::write(folder.path("model.safetensors"), bytes).unwrap();
        folder.refusal()
    };
    let one = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    assert!(header(&format!(r#"{{"a":{one},"a":{one}}}"#), 4).contains("the tensor a is listed twice"));
    assert!(header(&format!(r#"{{"a":{one},"b":{one}}}"#), 4).contains("overlaps the tensor before it"));
    let late = r#"{"dtype":"F32","shape":[1],"data_offsets":[8,12]}"#;
    assert!(header(&format!(r#"{{"a":{one},"b":{late}}}"#), 12).contains("leaves a gap before it"));
    let huge = r#"{"dtype":"F32","shape":[18446744073709551615,18446744073709551615],"data_offsets":[0,4]}"#;
    assert!(header(&format!(r#"{{"a":{huge}}}"#), 4).contains("does not fit"));
    assert!(header(r#"{"a":7}"#, 0).contains("malformed safetensors header"));
    let message = header(r#"{"__metadata__":{"format":3}}"#, 0);
    assert!(message.contains("__metadata__.format is 3, but must be a text"), "{message}");
    assert!(header(r#"{"__metadata__":[]}"#, 0).contains("__metadata__ is [], but must be an object of texts"));
}

#[cfg(unix)]
#[test]
fn a_pipe_or_a_folder_in_the_place_of_a_file_is_refused_and_never_waited_for() {
    for name in ["config.json", "model.safetensors"] {
        let folder = Folder::new();
        folder.write();
        std::fs::remove_file(folder.path(name)).unwrap();
        let made = std::process::Command::new("mkfifo").arg(folder.path(name)).status().unwrap();
        assert!(made.success());
        assert_eq!(folder.refusal(), format!("DIR/{name}: is not a regular file"));
        std::fs::remove_file(folder.path(name)).unwrap();
        std::fs::create_dir(folder.path(name)).unwrap();
        assert_eq!(folder.refusal(), format!("DIR/{name}: is not a regular file"));
    }
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_to_itself_or_in_a_circle_is_an_error() {
    use std::os::unix::fs::symlink;

    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        let folder = Folder::new();
        folder.write();
        let _ = std::fs::remove_file(folder.path(name));
        symlink(folder.path(name), folder.path(name)).unwrap();
        // what is not there at all is told like what cannot be reached; a tokenizer may be absent
        match name {
            "tokenizer.json" => drop(Model::load(folder.folder.path())),
            _ => assert!(folder.refusal().contains("DIR"), "{}", folder.refusal()),
        }
        let _ = std::fs::remove_file(folder.path(name));
        symlink(folder.path("other"), folder.path(name)).unwrap();
        symlink(folder.path(name), folder.path("other")).unwrap();
        match name {
            "tokenizer.json" => drop(Model::load(folder.folder.path())),
            _ => assert!(folder.refusal().contains("DIR"), "{}", folder.refusal()),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let circle = folder.path().join("circle");
    symlink(&circle, &circle).unwrap();
    assert!(refusal(&circle).contains("Too many levels") || refusal(&circle).contains("loop"), "{}", refusal(&circle));
}

#[test]
fn a_tokenizer_with_more_ids_than_the_model_has_embeddings_is_noted_and_a_text_that_needs_one_is_refused() {
    let folder = Folder::new();
    folder.write();
    let vocabulary: serde_json::Map<String, Value> = (0..60).map(|id| (format!("w{id}"), json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w0"}
    });
    std::fs::write(folder.path("tokenizer.json"), tokenizer.to_string()).unwrap();
    let model = Model::load(folder.folder.path()).unwrap();
    let target = model.tokens_from_ids(Side::Target, &[1, 5]).unwrap();
    let run = |text: &str| {
        let source = model.source_tokens(text).unwrap();
        model.run(&[Input { source, target: target.clone(), ..Input::default() }], &RunOptions::default())
    };
    let notes = run("w3 w49").unwrap().recording.provenance.notes;
    let said = "the tokenizer has ids up to 59, but the model has 50 embeddings: texts with others are refused";
    assert!(notes.iter().any(|note| note == said), "{notes:?}");
    let message = run("w3 w50").expect_err("a refusal").to_string();
    assert!(
        message.starts_with("source token 1 (\"w50\") has id 50, but ") && message.ends_with("has ids 0 to 49"),
        "{message}"
    );
}

#[test]
fn sharded_weights_are_read_and_their_faults_are_named() {
    let folder = Folder::new();
    folder.write();
    std::fs::remove_file(folder.path("model.safetensors")).unwrap();
    let shard = |name: &str| if name.starts_with("encoder") { "a.safetensors" } else { "b.safetensors" };
    folder.write_weights("a.safetensors", |name| shard(name) == "a.safetensors");
    folder.write_weights("b.safetensors", |name| shard(name) == "b.safetensors");
    let index = |map: Value| {
        std::fs::write(folder.path("model.safetensors.index.json"), json!({"weight_map": map}).to_string()).unwrap();
    };
    let all: BTreeMap<&str, &str> = folder.tensors.keys().map(|name| (name.as_str(), shard(name))).collect();
    index(json!(all));
    Model::load(folder.folder.path()).unwrap();
    index(json!({"pe": "../b.safetensors"}));
    assert!(folder.refusal().contains("a shard is a *.safetensors file beside the index"));
    index(json!({"pe": "absent.safetensors"}));
    assert!(folder.refusal().contains("names the file \"absent.safetensors\", which is missing"));
    index(json!({"nothing": "b.safetensors"}));
    assert!(folder.refusal().contains("tensor nothing should be in b.safetensors, but is not there"));
    index(json!({"pe": 3}));
    assert!(folder.refusal().contains("weight_map.pe is 3; a shard is a *.safetensors file"), "{}", folder.refusal());
    index(json!({"pe": "a.safetensors", "output_proj.bias": "b.safetensors"}));
    assert!(folder.refusal().contains("tensor pe should be in a.safetensors, but is in b.safetensors"));
    folder.write_weights("c.safetensors", |name| name == "pe");
    index(json!({"output_proj.bias": "b.safetensors", "pe": "c.safetensors"}));
    assert!(
        folder.refusal().contains("tensor pe is also in DIR/b.safetensors; each tensor belongs in one file"),
        "{}",
        folder.refusal()
    );
}

#[test]
fn ids_and_lengths_that_do_not_fit_are_refused_with_their_limits() {
    let folder = Folder::new();
    folder.write();
    let model = Model::load(folder.folder.path()).unwrap();
    let tokens = |side, ids: &[u32]| model.tokens_from_ids(side, ids);
    assert!(tokens(Side::Source, &[49, 50]).unwrap_err().to_string().ends_with("has ids 0 to 49"));
    assert!(tokens(Side::Target, &[40]).unwrap_err().to_string().contains("target token 0 has id 40"));
    assert_eq!(tokens(Side::Source, &[]).unwrap_err().to_string(), "there are no source ids");
    let source = tokens(Side::Source, &[1, 2, 3]).unwrap();
    let run = |input: Input, decoding| {
        model.run(&[input], &RunOptions { decoding, ..RunOptions::default() }).unwrap_err().to_string()
    };
    let long = tokens(Side::Target, &[1; 65]).unwrap();
    let input = Input { source: source.clone(), target: long, ..Input::default() };
    assert!(run(input, Decoding::TeacherForcing).contains("has 65 target tokens, but"));
    let input = Input { source, ..Input::default() };
    assert!(run(input.clone(), Decoding::TeacherForcing).contains("give a target, or let the model generate one"));
    assert!(run(input, Decoding::Greedy { max_tokens: 5 }).contains("text 0 has no target tokens"));
    assert!(model.run(&[], &RunOptions::default()).unwrap_err().to_string().contains("there is no text"));
    assert!(model.source_tokens("text").unwrap_err().to_string().contains("has no tokenizer"));
    assert!(model.prompt_tokens("text").unwrap_err().to_string().contains("names no start token"));
}

#[test]
fn json_whose_small_values_would_take_a_hundred_times_its_bytes_is_refused_before_it_is_read() {
    let mut folder = Folder::new();
    folder.config["x"] = Value::Array(vec![json!({"a": 0}); 400_000]);
    folder.write();
    let message = folder.refusal();
    assert!(
        message.starts_with("DIR/config.json: has ") && message.contains("of JSON whose many small values"),
        "{message}"
    );
    // many labels are no such thing
    folder.config["x"] =
        json!((0..400_000).map(|n| (n.to_string(), json!("label"))).collect::<serde_json::Map<_, _>>());
    folder.write();
    Model::load(folder.folder.path()).unwrap();
}
