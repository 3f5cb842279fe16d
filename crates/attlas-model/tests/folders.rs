//! Model folders as people have them, against what transformers computes of them.
//!
//! `data/folders/README.md` says what they are; others are the families' cases, changed here.

mod common;

use std::path::Path;

use attlas::{Kind, Recording};
use attlas_model::{Input, LoadOptions, Model, RunOptions, Side};
use common::{Expected, arrays, check_maps, data, refusal};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

/// "The cat sat on the mat." in the vocabulary of the fixtures.
const IDS: [u32; 7] = [288, 346, 351, 342, 352, 377, 16];

/// The row that `llama-compiled` has as layer 1, head 3, last query.
const ROW_OF_BASE: [f32; 7] = [0.1123, 0.1167, 0.2021, 0.1629, 0.1153, 0.1495, 0.1412];

/// A copy of a family's case, whose configuration is changed and whose tensors are renamed; `None` leaves one out.
fn changed(case: &str, config: impl Fn(&mut Value), name: impl Fn(&str) -> Option<String>) -> TempDir {
    let source = data("families").join(case);
    let folder = tempfile::tempdir().unwrap();
    let mut json: Value = serde_json::from_slice(&std::fs::read(source.join("config.json")).unwrap()).unwrap();
    config(&mut json);
    std::fs::write(folder.path().join("config.json"), json.to_string()).unwrap();
    let bytes = std::fs::read(source.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter().filter_map(|(old, view)| Some((name(&old)?, view)));
    let file = safetensors::serialize(tensors, None).unwrap();
    std::fs::write(folder.path().join("model.safetensors"), file).unwrap();
    folder
}

/// The recording of the first text of a case's padded batch, and how far its maps are from what transformers computed.
fn compared(folder: &Path, case: &str) -> Recording {
    let expected = arrays(&data("families").join(case).join("expected.safetensors"));
    let model = Model::load(folder).unwrap();
    let array = |name: &str| &expected[&format!("padded.{name}")];
    let [n_items, n] = array("input_ids").shape[..] else { panic!("two sizes") };
    let (ids, mask) = (array("input_ids").ids(), array("attention_mask").ids());
    let segments = expected.get("padded.token_type_ids").map(Expected::ids);
    let side = if model.has(Side::Source) { Side::Source } else { Side::Target };
    let input = |item: usize| {
        let places = || (item * n..(item + 1) * n).filter(|place| mask[*place] == 1);
        let of = |all: &Vec<u32>| places().map(|place| all[place]).collect::<Vec<u32>>();
        let tokens = model.tokens_from_ids(side, &of(&ids)).unwrap();
        match side {
            Side::Source => {
                Input { source: tokens, segments: segments.as_ref().map(of).unwrap_or_default(), ..Input::default() }
            }
            Side::Target => Input { target: tokens, ..Input::default() },
        }
    };
    let inputs: Vec<Input> = (0..n_items).map(input).collect();
    let run = model.run(&inputs, &RunOptions::default()).unwrap();
    let kind = if side == Side::Source { Kind::Encoder } else { Kind::Decoder };
    for layer in 0..2 {
        check_maps(&run.recording, kind, layer, array(&format!("attentions.self.{layer}"))).unwrap();
    }
    run.recording
}

/// Layer 1's last row of a decoder's head.
fn last_row(model: &Model, ids: &[u32], head: usize) -> Vec<f32> {
    let target = model.tokens_from_ids(Side::Target, ids).unwrap();
    let run = model.run(&[Input { target, ..Input::default() }], &RunOptions::default()).unwrap();
    run.recording.map(0, Kind::Decoder, 1, head).unwrap().row(ids.len() - 1)
}

fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let close = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 6e-5);
    assert!(close, "{found:?} instead of {expected:?}");
}

#[test]
fn weights_without_an_output_matrix_give_maps_and_say_what_is_not_known() {
    let bare = |name: &str| name.strip_prefix("model.").map(str::to_owned);
    let folder = changed("qwen3", |config| config["tie_word_embeddings"] = json!(false), bare);
    let recording = compared(folder.path(), "qwen3");
    let note = "the weights hold no lm_head.weight: the maps need none, but what the model predicts is unknown";
    assert!(recording.provenance.notes.iter().any(|said| said == note), "{:?}", recording.provenance.notes);
    let headless = |name: &str| name.strip_prefix("bert.").map(str::to_owned);
    let folder = changed("bert", |_| (), headless);
    let recording = compared(folder.path(), "bert");
    let said = &recording.provenance.notes;
    assert!(said.iter().any(|said| said.starts_with("the weights hold no cls.predictions.transform")), "{said:?}");
}

#[test]
fn what_a_wrapper_wrote_before_every_name_is_taken_off() {
    assert_close(&last_row(&Model::load(&data("folders/llama-compiled")).unwrap(), &IDS, 3), &ROW_OF_BASE);
    let folder = changed("bert", |_| (), |name| Some(format!("module._orig_mod.{name}")));
    compared(folder.path(), "bert");
    let folder = changed("bert", |_| (), |name| Some(name.replace("cls.", "module.cls.")));
    let said = compared(folder.path(), "bert").provenance.notes;
    assert!(said.iter().any(|said| said.contains("module.cls.")), "only what is before every name: {said:?}");
}

#[test]
fn a_configuration_of_2019_says_its_family_by_its_class() {
    let without_type = |config: &mut Value| drop(config.as_object_mut().unwrap().remove("model_type"));
    let folder = changed("bert", without_type, |name| Some(name.to_owned()));
    compared(folder.path(), "bert");
    assert_eq!(Model::load(folder.path()).unwrap().family(), "bert");
    let folder = changed(
        "bert",
        |config| {
            without_type(config);
            config["architectures"] = json!(["BlipModel"]);
        },
        |name| Some(name.to_owned()),
    );
    assert_eq!(
        refusal(folder.path()),
        "DIR/config.json: model_type is missing; it names the family, such as \"bert\" or \"llama\", and \
         architectures, [\"BlipModel\"], does not say it"
    );
}

#[test]
fn the_text_of_a_model_that_sees_images_runs_alone_and_says_what_is_not_used() {
    let same = |name: &str| Some(name.to_owned());
    let said = |folder: &TempDir, case: &str| compared(folder.path(), case).provenance.notes;
    let notes = said(&changed("llava-tower", |_| (), same), "llava-tower");
    let note = "the weights hold 27 tensors of what images go through that are not used, such as multi_modal_projector.linear_1.bias";
    assert_eq!(notes, [note]);
    // a tensor that belongs to neither is said as of any model
    let odd = |name: &str| Some(name.replace("vision_tower.post_layernorm.bias", "other.bias"));
    let notes = said(&changed("llava-tower", |_| (), odd), "llava-tower");
    assert!(notes.iter().any(|said| said == "the weights hold a tensor that is not used: other.bias"), "{notes:?}");
    // a model without an output matrix, as its base class is saved
    let base = |config: &mut Value| config["architectures"] = json!(["Qwen3VLModel"]);
    let bare = |name: &str| name.strip_prefix("model.").map(str::to_owned);
    let folder = changed("qwen3-vl-tower", base, bare);
    let model = Model::load(folder.path()).unwrap();
    assert!(matches!(model.transformer().architecture.readout, attlas_model::config::Readout::None));
    compared(folder.path(), "qwen3-vl-tower");
}

#[test]
fn a_text_tower_that_is_not_known_is_refused_by_its_field() {
    let with =
        |change: &dyn Fn(&mut Value)| refusal(changed("llava-tower", change, |name| Some(name.to_owned())).path());
    let unknown = with(&|config| config["text_config"]["model_type"] = json!("rwkv"));
    let sentence = "DIR/config.json: text_config.model_type is \"rwkv\"; attlas knows no text model of that name";
    assert_eq!(unknown, sentence);
    let no_decoder = with(&|config| config["text_config"]["model_type"] = json!("bert"));
    assert!(no_decoder.contains("text_config.model_type is \"bert\"; attlas knows no text model"), "{no_decoder}");
    let wrong = with(&|config| config["text_config"]["num_key_value_heads"] = json!(3));
    assert!(wrong.contains("text_config.num_key_value_heads is 3, but num_attention_heads 4"), "{wrong}");
    // sizes that are left out are those of transformers' class, and said to be
    let assumed = with(&|config| drop(config["text_config"].as_object_mut().unwrap().remove("hidden_size")));
    assert!(assumed.contains("text_config.hidden_size is not in the file; 4096, the family's default"), "{assumed}");
}

/// The adapter of the fixtures, whose adapter_config.json is changed.
fn adapter(change: impl Fn(&mut Value)) -> TempDir {
    let source = data("folders/lora");
    let folder = tempfile::tempdir().unwrap();
    let mut json: Value = serde_json::from_slice(&std::fs::read(source.join("adapter_config.json")).unwrap()).unwrap();
    change(&mut json);
    std::fs::write(folder.path().join("adapter_config.json"), json.to_string()).unwrap();
    std::fs::copy(source.join("adapter_model.safetensors"), folder.path().join("adapter_model.safetensors")).unwrap();
    folder
}

fn adapted(adapter: &Path) -> Result<Model, attlas_model::Error> {
    let options = LoadOptions { adapter: Some(adapter.to_owned()), ..LoadOptions::default() };
    Model::load_with(&data("folders/llama-compiled"), &options)
}

#[test]
fn an_adapter_is_added_to_the_model_that_is_given_and_said() {
    let model = adapted(&data("folders/lora")).unwrap();
    // what transformers computes after PEFT's merge_and_unload
    let merged = [0.1264, 0.1163, 0.1825, 0.2007, 0.1156, 0.1251, 0.1334];
    assert_close(&last_row(&model, &IDS, 3), &merged);
    let target = model.tokens_from_ids(Side::Target, &IDS).unwrap();
    let run = model.run(&[Input { target, ..Input::default() }], &RunOptions::default()).unwrap();
    let notes = run.recording.provenance.notes;
    let note = "a LoRA adapter (r 4, alpha 8) of meta-llama/Llama-3.2-1B was added to 4 matrices";
    assert!(notes.iter().any(|said| said.starts_with(note)), "{notes:?}");
    // ranks and alphas by module; 8/4 is 4/√4
    let patterns = adapter(|config| {
        config["alpha_pattern"] = json!({"layers.0.self_attn.q_proj": 8, "v_proj": 8, "layers.1.self_attn.q_proj": 8});
        config["lora_alpha"] = json!(1000);
        config["rank_pattern"] = json!({"q_proj": 4, "v_proj": 4});
        config["r"] = json!(64);
    });
    assert_close(&last_row(&adapted(patterns.path()).unwrap(), &IDS, 3), &merged);
    let root = adapter(|config| {
        config["use_rslora"] = json!(true);
        config["lora_alpha"] = json!(4);
    });
    assert_close(&last_row(&adapted(root.path()).unwrap(), &IDS, 3), &merged);
    let nothing = adapter(|config| config["lora_alpha"] = json!(0));
    assert_close(&last_row(&adapted(nothing.path()).unwrap(), &IDS, 3), &ROW_OF_BASE);
}

#[test]
fn an_adapter_alone_is_named_with_the_model_that_it_belongs_to() {
    let message = "DIR: is no model but a LoRA adapter (r 4, alpha 8) of meta-llama/Llama-3.2-1B; load that model and \
                   have the adapter added to it";
    assert_eq!(refusal(&data("folders/lora")), message);
    // also beside its base's configuration
    let folder = adapter(|_| ());
    std::fs::copy(data("folders/llama-compiled/config.json"), folder.path().join("config.json")).unwrap();
    assert_eq!(refusal(folder.path()), message);
    // beside weights of its own the model is whole, and it is said that more is there
    for file in ["model.safetensors", "tokenizer.json"] {
        let _ = std::fs::copy(data("folders/llama-compiled").join(file), folder.path().join(file));
    }
    let model = Model::load(folder.path()).unwrap();
    let target = model.tokens_from_ids(Side::Target, &IDS).unwrap();
    let run = model.run(&[Input { target, ..Input::default() }], &RunOptions::default()).unwrap();
    let notes = run.recording.provenance.notes;
    assert!(
        notes.iter().any(|note| note.contains("adapter beside the weights, too, which was not added")),
        "{notes:?}"
    );
    // a path in it is read as words only
    let folder = adapter(|config| config["base_model_name_or_path"] = json!("/etc"));
    assert!(refusal(folder.path()).contains("of /etc; load that model"));
}

#[test]
fn what_an_adapter_does_beside_low_rank_products_is_refused_by_name() {
    for (field, value, said) in [
        ("use_dora", json!(true), "use_dora is true"),
        ("modules_to_save", json!(["lm_head"]), "modules_to_save is [\"lm_head\"]"),
        ("bias", json!("all"), "bias is \"all\""),
        ("peft_type", json!("IA3"), "peft_type is \"IA3\""),
        ("init_lora_weights", json!("pissa"), "init_lora_weights is \"pissa\""),
        ("alpha_pattern", json!({"^.*q_proj$": 8}), "alpha_pattern has \"^.*q_proj$\""),
        (
            "alpha_pattern",
            json!({"q_proj": 8, "self_attn.q_proj": 9}),
            "alpha_pattern gives model.layers.0.self_attn.q_proj several",
        ),
        ("r", json!(5), "q_proj.lora_A.weight has shape [4, 32], but adapter_config.json says rank 5"),
        ("fan_in_fan_out", json!(true), "v_proj.weight has shape [16, 32], but the adapter was made for [32, 16]"),
    ] {
        let folder = adapter(|config| config[field] = value.clone());
        let message = adapted(folder.path()).expect_err("a refusal").to_string();
        assert!(message.contains(said) && !message.contains('\n'), "{message}");
    }
    let options = LoadOptions { adapter: Some(data("folders/lora")), ..LoadOptions::default() };
    let message = Model::load_with(&data("families/bert"), &options).expect_err("a refusal").to_string();
    assert!(message.contains("q_proj.lora_A.weight belongs to no matrix of the model"), "{message}");
    let message = adapted(&data("families/bert")).expect_err("a refusal").to_string();
    assert!(message.contains("is no adapter: there is no adapter_config.json in it"), "{message}");
}

#[test]
fn an_unmerged_checkpoint_is_named_as_that() {
    let unmerged = |name: &str| Some(format!("base_model.model.{}", name.replace("q_proj.", "q_proj.base_layer.")));
    let folder = changed("llama", |_| (), unmerged);
    let message = refusal(folder.path());
    assert!(message.contains("q_proj.base_layer.weight shows that this is an unmerged PEFT checkpoint"), "{message}");
}

/// A query's row in layer 1 of an encoder.
fn row(model: &Model, input: Input, head: usize, query: usize) -> Vec<f32> {
    let run = model.run(&[input], &RunOptions::default()).unwrap();
    run.recording.map(0, Kind::Encoder, 1, head).unwrap().row(query)
}

#[test]
fn an_encoder_that_was_saved_without_its_decoder_runs_alone() {
    let ids = [3, 41, 9, 4, 3, 43, 32, 3, 8, 32, 3, 23, 7, 3, 5, 9, 4, 29, 5, 13, 1];
    let expected = [
        0.1490, 0.0000, 0.0000, 0.0000, 0.1490, 0.0000, 0.0000, 0.1052, 0.0000, 0.0000, 0.1051, 0.0000, 0.0001, 0.2403,
        0.0000, 0.0000, 0.0000, 0.0001, 0.0000, 0.0000, 0.2511,
    ];
    let folder = data("folders/t5-encoder");
    let model = Model::load(&folder).unwrap();
    assert!(!model.has(Side::Target));
    let source = model.tokens_from_ids(Side::Source, &ids).unwrap();
    assert_close(&row(&model, Input { source, ..Input::default() }, 2, 12), &expected);
    // older configurations say that there are two stacks; the class says that there is one
    let older = tempfile::tempdir().unwrap();
    let mut config: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    config["is_encoder_decoder"] = json!(true);
    std::fs::write(older.path().join("config.json"), config.to_string()).unwrap();
    std::fs::copy(folder.join("model.safetensors"), older.path().join("model.safetensors")).unwrap();
    assert!(!Model::load(older.path()).unwrap().has(Side::Target));
}

#[test]
fn an_oblong_image_and_one_of_a_single_channel_are_read() {
    for (case, file, n, begins) in [
        ("vit-oblong", "picture.png", 33, [0.0207, 0.0271, 0.0279, 0.0290, 0.0360]),
        ("vit-grey", "grey.png", 17, [0.0837, 0.0559, 0.0525, 0.0556, 0.0548]),
    ] {
        let folder = data("folders").join(case);
        let model = Model::load(&folder).unwrap();
        let row = row(&model, model.image_input(&folder.join(file)).unwrap(), 0, 0);
        assert_eq!(row.len(), n);
        assert_close(&row[..5], &begins);
    }
    let grey = Model::load(&data("folders/vit-grey")).unwrap();
    let message = grey.image_input(&data("folders/vit-oblong/picture.png")).expect_err("a refusal").to_string();
    assert!(message.contains("has colours, but vit-grey reads one channel"), "{message}");
    let message = grey.image_input(Path::new("a photo of a red apple")).expect_err("a refusal").to_string();
    assert_eq!(message, "a photo of a red apple: is no file; vit-grey reads images (PNG, JPEG) here, no texts");
}

#[test]
fn a_tokenizer_may_lie_elsewhere_and_one_with_more_ids_than_the_model_is_said() {
    let bare = data("folders/llama-compiled");
    let text = |model: &Model| model.input("the", None).map(|input| input.target.len());
    let model = Model::load(&bare).unwrap();
    assert!(text(&model).expect_err("a refusal").to_string().contains("has no tokenizer"));
    let words = tempfile::tempdir().unwrap();
    let with = |n: usize| {
        let vocabulary: String = (0..n).map(|id| if id == 7 { "the\n".into() } else { format!("[w{id}]\n") }).collect();
        std::fs::write(words.path().join("vocab.txt"), format!("[UNK]\n[CLS]\n[SEP]\n[PAD]\n[MASK]\n{vocabulary}"))
            .unwrap();
        let options = LoadOptions { tokenizer: Some(words.path().to_owned()), ..LoadOptions::default() };
        Model::load_with(&bare, &options)
    };
    let model = with(300).unwrap();
    assert!(text(&model).unwrap() >= 1);
    let model = with(500).unwrap();
    let run = model.run(&[model.input("the", None).unwrap()], &RunOptions::default()).unwrap();
    let notes = run.recording.provenance.notes;
    let said = "the tokenizer has ids up to 504, but the model has 400 embeddings: texts with others are refused";
    assert!(notes.iter().any(|note| note == said), "{notes:?}");
    let empty = tempfile::tempdir().unwrap();
    let options = LoadOptions { tokenizer: Some(empty.path().to_owned()), ..LoadOptions::default() };
    let message = Model::load_with(&bare, &options).expect_err("a refusal").to_string();
    assert!(message.contains("holds no tokenizer; attlas looks for tokenizer.json"), "{message}");
}

#[test]
fn an_adapter_of_matrices_that_are_stored_turned_is_added_turned() {
    let case = data("families/gpt2-layer-scaled");
    let bytes = std::fs::read(case.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let name = file.names().into_iter().find(|name| name.ends_with("h.1.attn.c_attn.weight")).unwrap().to_owned();
    let view = file.tensor(&name).unwrap();
    let [d_in, d_out] = view.shape()[..] else { panic!("two sizes") };
    // one rank, by hand: W[input][output] += α/r · up[output] · down[input]
    let down: Vec<f32> = (0..d_in).map(|input| (input % 5) as f32 * 0.1 - 0.2).collect();
    let up: Vec<f32> = (0..d_out).map(|output| (output % 7) as f32 * 0.1 - 0.3).collect();
    let mut merged: Vec<f32> = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    for (place, value) in merged.iter_mut().enumerate() {
        *value += 0.5 * up[place % d_out] * down[place / d_out];
    }
    let bytes_of = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let (merged, down, up) = (bytes_of(&merged), bytes_of(&down), bytes_of(&up));
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(case.join("config.json"), folder.path().join("config.json")).unwrap();
    let tensors = file.tensors().into_iter().map(|(other, view)| {
        let data = if other == name { &merged } else { view.data() };
        (other, TensorView::new(Dtype::F32, view.shape().to_vec(), data).unwrap())
    });
    std::fs::write(folder.path().join("model.safetensors"), safetensors::serialize(tensors, None).unwrap()).unwrap();
    let adapter = tempfile::tempdir().unwrap();
    let config = json!({"peft_type": "LORA", "r": 1, "lora_alpha": 0.5, "fan_in_fan_out": true});
    std::fs::write(adapter.path().join("adapter_config.json"), config.to_string()).unwrap();
    let part = |ending: &str| format!("base_model.model.{}{ending}", name.strip_suffix("weight").unwrap());
    let parts = [
        (part("lora_A.weight"), TensorView::new(Dtype::F32, vec![1, d_in], &down).unwrap()),
        (part("lora_B.weight"), TensorView::new(Dtype::F32, vec![d_out, 1], &up).unwrap()),
    ];
    let file = safetensors::serialize(parts, None).unwrap();
    std::fs::write(adapter.path().join("adapter_model.safetensors"), file).unwrap();
    let options = LoadOptions { adapter: Some(adapter.path().to_owned()), ..LoadOptions::default() };
    let ids = [3, 7, 1, 12];
    let row = |model: &Model| last_row(model, &ids, 1);
    let (base, merged) = (Model::load(&case).unwrap(), Model::load(folder.path()).unwrap());
    assert_close(&row(&Model::load_with(&case, &options).unwrap()), &row(&merged));
    assert!(row(&base).iter().zip(row(&merged)).any(|(a, b)| (a - b).abs() > 1e-2), "the adapter does something");
}

/// Files of a family's case under a folder of sentence-transformers.
fn sentences(case: &str, place: &str, modules: &Value, settings: &Value) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join(place);
    std::fs::create_dir_all(&home).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(data("families").join(case).join(name), home.join(name)).unwrap();
    }
    std::fs::write(home.join("sentence_bert_config.json"), settings.to_string()).unwrap();
    std::fs::write(folder.path().join("modules.json"), modules.to_string()).unwrap();
    folder
}

fn module(kind: &str, path: &str) -> Value {
    json!({"idx": 0, "name": "0", "path": path, "type": kind})
}

#[test]
fn a_folder_of_sentence_transformers_holds_its_model_where_modules_json_says() {
    const TRANSFORMER: &str = "sentence_transformers.models.Transformer";
    let pooling = module("sentence_transformers.models.Pooling", "1_Pooling");
    let settings = json!({"max_seq_length": 8, "do_lower_case": true});
    // 1. in a folder of its own, beside the config.json of the first versions, which is none of a model
    let folder = sentences("bert", "0_Transformer", &json!([module(TRANSFORMER, "0_Transformer"), pooling]), &settings);
    std::fs::write(folder.path().join("config.json"), r#"{"__version__": "1.1.0"}"#).unwrap();
    let said = compared(folder.path(), "bert").provenance.notes;
    assert!(said.iter().any(|said| said.contains("has 10 tokens") && said.contains("cuts it to 8")), "{said:?}");
    assert!(said.iter().any(|said| said.contains("do_lower_case")), "{said:?}");
    // 2. at the root, also where the class comes with the weights
    for kind in [TRANSFORMER, "custom_st.Transformer"] {
        let folder = sentences("bert", "", &json!([module(kind, ""), pooling]), &json!({"max_seq_length": 512}));
        let said = compared(folder.path(), "bert").provenance.notes;
        assert!(!said.iter().any(|said| said.contains("sentence-transformers")), "{said:?}");
    }
    // 3. refused
    for (modules, problem) in [
        (json!([module(TRANSFORMER, "../elsewhere")]), "path is \"../elsewhere\", which is no folder inside this one"),
        (json!({"0": TRANSFORMER}), "is no list of modules"),
        (
            json!([module("sentence_transformers.models.BoW", "")]),
            "names no Transformer among its modules (sentence_tr",
        ),
    ] {
        let folder = sentences("bert", "0_Transformer", &modules, &settings);
        let message = refusal(folder.path());
        assert!(message.starts_with("DIR/modules.json: ") && message.contains(problem), "{message}");
    }
}

#[test]
fn nomic_and_gte_are_read_as_the_code_beside_their_weights_names_things() {
    let only = |config: &mut Value, fields: &[&str]| {
        let kept = config.as_object_mut().unwrap();
        kept.retain(|field, _| fields.contains(&field.as_str()));
    };
    let nomic = |config: &mut Value| {
        only(config, &["vocab_size", "type_vocab_size"]);
        for (field, value) in json!({
            "model_type": "nomic_bert", "architectures": ["NomicBertModel"], "activation_function": "swiglu", "causal": false,
            "layer_norm_epsilon": 1e-12, "max_trained_positions": 40, "mlp_fc1_bias": false, "n_embd": 24, "n_head": 4,
            "n_inner": 40, "n_layer": 2, "n_positions": 80, "prenorm": false, "qkv_proj_bias": false, "rotary_emb_base": 1000,
            "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": false, "rotary_emb_scale_base": null,
            "rotary_scaling_factor": 2, "use_rms_norm": false
        })
        .as_object()
        .unwrap()
        {
            config[field] = value.clone();
        }
    };
    let bare = |name: &str| name.strip_prefix("nomic_bert.").map(str::to_owned);
    compared(changed("nomic-bert", nomic, bare).path(), "nomic-bert");
    let of_experts = |config: &mut Value| {
        nomic(config);
        config["moe_every_n_layers"] = json!(2);
    };
    let message = refusal(changed("nomic-bert", of_experts, bare).path());
    assert!(message.contains("moe_every_n_layers is 2"), "{message}");
    // the frequencies of `ntk` are those that the case has in other words
    let gte = |config: &mut Value| {
        only(
            config,
            &[
                "vocab_size",
                "type_vocab_size",
                "hidden_size",
                "intermediate_size",
                "num_hidden_layers",
                "num_attention_heads",
            ],
        );
        for (field, value) in json!({
            "model_type": "new", "architectures": ["NewModel"], "position_embedding_type": "rope", "rope_theta": 10000,
            "rope_scaling": {"factor": 8.0, "type": "ntk"}, "pack_qkv": true, "layer_norm_type": "layer_norm", "pad_token_id": 0
        })
        .as_object()
        .unwrap()
        {
            config[field] = value.clone();
        }
    };
    let named = |name: &str| name.strip_prefix("gte.").map(|name| format!("new.{name}"));
    compared(changed("gte-classifier", gte, named).path(), "gte-classifier");
    let absolute = |config: &mut Value| {
        gte(config);
        config["position_embedding_type"] = json!("absolute");
    };
    let message = refusal(changed("gte-classifier", absolute, named).path());
    assert!(message.contains("position_embedding_type is \"absolute\""), "{message}");
}

#[test]
fn texts_of_one_length_are_filled_with_the_padding_that_the_tokenizer_names() {
    let folder = changed(
        "siglip-text",
        |config| drop(config.as_object_mut().unwrap().remove("pad_token_id")),
        |name| Some(name.to_owned()),
    );
    let tokenizer = json!({"version": "1.0", "added_tokens": [], "model": {
        "type": "WordLevel", "vocab": {"<pad>": 0, "</s>": 1, "<unk>": 2, "hello": 11}, "unk_token": "<unk>"
    }});
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let filling = || {
        let tokens = Model::load(folder.path()).unwrap().source_tokens("hello").unwrap().tokens;
        assert_eq!(tokens.len(), 14);
        tokens[1..].iter().map(|token| token.id.unwrap()).collect::<Vec<u32>>()
    };
    assert_eq!(filling(), [1; 13], "where nothing is named, the class's");
    for (piece, id) in [("<pad>", 0), ("</s>", 1)] {
        let config = json!({"pad_token": piece}).to_string();
        std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        assert_eq!(filling(), [id; 13], "{piece}");
    }
}
