//! Proteins: how they are cut into residues, and the contacts that their maps predict, against `predict_contacts` of
//! transformers (`tools/reference/contacts.py`).

mod common;

use attlas::analysis::Contacts;
use attlas::{Kind, TokenRole};
use attlas_model::{Input, Model, RunOptions, Tokenizer};
use common::{arrays, data};

/// The proteins of the reference, and a recording of all of them in one batch.
fn recorded() -> (Model, Vec<String>, attlas::Recording) {
    let proteins = std::fs::read(data("contacts").join("proteins.json")).expect("the proteins");
    let proteins: Vec<String> = serde_json::from_slice(&proteins).expect("texts");
    let model = Model::load(&data("families").join("esm")).expect("a model");
    let tokenizer = model.tokenizer().expect("the vocabulary").clone();
    let input = |protein: &String| Input {
        source: tokenizer.encode(protein, None).expect("tokens").tokens,
        ..Input::default()
    };
    let inputs: Vec<Input> = proteins.iter().map(input).collect();
    let recording = model.run(&inputs, &RunOptions::default()).expect("a run").recording;
    (model, proteins, recording)
}

#[test]
fn contacts_are_those_that_transformers_predicts() {
    let (model, proteins, recording) = recorded();
    let head = model.transformer().readout.contacts.as_ref().expect("a regression");
    let expected = arrays(&data("contacts").join("esm.safetensors"));
    for item in 0..proteins.len() {
        let found = Contacts::predicted(&recording, item, Kind::Encoder, &head.weight, head.bias).expect("contacts");
        let expected = &expected[&format!("{item}.contacts")];
        assert_eq!(expected.shape, [found.places.len(); 2], "{}", proteins[item]);
        for (place, (found, expected)) in found.numbers.iter().zip(&expected.values).enumerate() {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{} {place}: {found}, not {expected}", proteins[item]);
        }
    }
}

#[test]
fn tokens_that_were_added_are_left_out_and_a_mask_that_was_written_is_not() {
    let (_, proteins, recording) = recorded();
    let layer = recording.layer(Kind::Encoder, 1).expect("a layer");
    let masked = proteins.iter().position(|protein| protein.contains("<mask>")).expect("one with a mask");
    let found = Contacts::of_head(&recording, masked, layer, Some(2)).expect("contacts");
    let tokens = &recording.items[masked].source.tokens;
    let labels: String = found.places.iter().map(|place| tokens[*place].text.as_str()).collect();
    assert_eq!(labels, proteins[masked]);
    assert!(found.places.iter().any(|place| tokens[*place].role == TokenRole::Special));
    // what is corrected sums to nothing, along rows and in all
    let n = found.places.len();
    assert!(found.numbers.chunks_exact(n).all(|row| row.iter().sum::<f32>().abs() < 1e-5));
    let mean = Contacts::of_head(&recording, masked, layer, None).expect("contacts");
    assert_eq!(mean.places, found.places);
    assert!(Contacts::of_head(&recording, masked, layer, Some(4)).is_err());
    assert!(Contacts::of_head(&recording, 3, layer, Some(0)).is_err());
}

#[test]
fn a_regression_on_other_heads_than_the_recordings_is_refused() {
    let (_, _, recording) = recorded();
    let error = Contacts::predicted(&recording, 0, Kind::Encoder, &[0.0; 7], 0.0).expect_err("a refusal");
    assert!(error.to_string().contains("7 heads, but the recording has 8"), "{error}");
}

/// A folder with a vocab.txt and a tokenizer_config.json.
fn vocabulary(pieces: &str, settings: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("vocab.txt"), pieces.replace(' ', "\n")).expect("written");
    std::fs::write(folder.path().join("tokenizer_config.json"), settings).expect("written");
    folder
}

#[test]
fn a_vocabulary_of_residues_cuts_a_protein_without_spaces_as_one_with_spaces() {
    const PROTBERT: &str = "[PAD] [UNK] [CLS] [SEP] [MASK] L A G V E S I K R D T P N Q F Y M H C W X U B Z O";
    let ids = |folder: &tempfile::TempDir, text: &str| -> Vec<u32> {
        let encoded = Tokenizer::load(folder.path()).expect("a tokenizer").encode(text, None).expect("tokens");
        encoded.tokens.tokens.iter().filter_map(|token| token.id).collect()
    };
    let settings = r#"{"tokenizer_class": "BertTokenizer", "do_lower_case": false}"#;
    let folder = vocabulary(PROTBERT, settings);
    assert_eq!(ids(&folder, "M K T A J"), [2, 21, 12, 15, 6, 1, 3]);
    assert_eq!(ids(&folder, "MKTAJ"), [2, 21, 12, 15, 6, 1, 3]);
    assert_eq!(ids(&folder, "MK[MASK]T"), [2, 21, 12, 4, 15, 3]);
    // one piece of several letters, and words are words again
    let folder = vocabulary(&format!("{PROTBERT} MKT"), settings);
    assert_eq!(ids(&folder, "MKT MK"), [2, 30, 1, 3]);
}
