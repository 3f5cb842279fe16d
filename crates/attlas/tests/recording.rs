//! Recordings: what is written is what is read, and what contradicts itself is refused.

mod common;

use attlas::attention::Shape;
use attlas::{Bias, Error, Factored, Kind, Recording, Scoring, TokenRole, Visibility, Weights};

fn factored(recording: &mut Recording, layer: usize) -> &mut Factored {
    match &mut recording.layers[layer].weights {
        Weights::Factored(factored) => factored,
        Weights::Dense(_) => panic!("it is dense"),
    }
}

#[test]
fn a_recording_read_back_equals_the_one_written_and_the_bytes_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
    let recording = common::translation();
    recording.save(&first).unwrap();
    let read = Recording::open(&first).unwrap();
    assert_eq!(read, recording);
    read.save(&second).unwrap();
    assert_eq!(std::fs::read(first).unwrap(), std::fs::read(second).unwrap());
}

#[test]
fn every_scoring_rule_survives_the_file_bit_for_bit() {
    let mut recording = common::translation();
    let rule = Scoring {
        scale: 0.1,
        softcap: Some(50.3),
        visibility: Visibility { before: Some(3), after: Some(1) },
        bias: Bias::Relative { first: -1, table: vec![0.1, -0.7, 1e-7, 3.0, 1.1, 2.3], n_offsets: 3 },
        sinks: Some(vec![0.3, -1.7]),
        query_offset: 2,
    };
    let shape = Shape { n_heads: 2, n_kv_heads: 1, n_queries: 7, n_keys: 7, d_head: 6, d_value: 6 };
    recording.layers[1] = common::layer(Kind::Encoder, 3, shape, rule, &recording.items, 9);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rule.safetensors");
    recording.save(&path).unwrap();
    assert_eq!(Recording::open(&path).unwrap(), recording);
}

#[test]
fn rows_and_sinks_of_a_recording_sum_to_one_and_padding_gets_nothing() {
    for check in common::translation().check().unwrap() {
        assert!(check.passed(), "{check:?}");
        assert!(check.max_row_error < 1e-5, "{check:?}");
    }
}

#[test]
fn a_padded_key_has_weight_zero() {
    let recording = common::translation();
    let map = recording.map(1, Kind::Cross, 0, 1).unwrap();
    assert_eq!(map.key_tokens().tokens[6].role, TokenRole::Padding);
    assert!(map.column(6).iter().all(|weight| *weight == 0.0));
    assert!(map.column(4).iter().all(|weight| *weight > 0.0));
}

#[test]
fn what_does_not_exist_is_answered_with_what_does() {
    let recording = common::translation();
    let message = |result: Result<attlas::AttentionMap<'_>, Error>| result.unwrap_err().to_string();
    assert_eq!(message(recording.map(0, Kind::Encoder, 1, 0)), "there is no encoder layer 1; there are 0, 3");
    assert_eq!(message(recording.map(0, Kind::Cross, 2, 0)), "there is no cross layer 2; the only one is 0");
    assert_eq!(message(recording.map(0, Kind::Cross, 0, 2)), "cross layer 0 has no head 2; its heads are 0 to 1");
    assert_eq!(
        message(recording.map(2, Kind::Cross, 0, 0)),
        "there is no text 2; the recording has 2 (counted from 0)"
    );
}

#[test]
fn a_newer_version_is_refused_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.safetensors");
    common::translation().save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(14).position(|window| window == br#"\"version\":2,"#).unwrap();
    let newer = [&bytes[..at], br#"\"version\":7,"#.as_slice(), &bytes[at + 14..]].concat();
    std::fs::write(&path, newer).unwrap();
    let message = Recording::open(&path).unwrap_err().to_string();
    assert!(message.contains("format version 7, newer than the 2 that this attlas reads"), "{message}");
}

#[test]
fn a_recording_that_contradicts_itself_is_refused() {
    let change = |change: &dyn Fn(&mut Recording)| {
        let mut recording = common::translation();
        change(&mut recording);
        recording.validate().unwrap_err().to_string()
    };
    assert_eq!(
        change(&|recording| drop(recording.items[0].target.tokens.pop())),
        "decoder layer 0: the map has 5 queries but text 0 has 4 tokens there; \
         were special tokens dropped, or padding left out?"
    );
    assert_eq!(
        change(&|recording| recording.layers[0].shape.n_kv_heads = 0),
        "encoder layer 0: the number of key-value heads is 0"
    );
    assert_eq!(
        change(&|recording| recording.layers[2].weights = Weights::Dense(vec![0.5; 3].into())),
        "decoder layer 0: weights has 3 numbers, but [2, 2, 5, 5] were expected"
    );
    assert_eq!(change(&|recording| recording.layers[1].index = 0), "encoder layer 0 stands twice");
    assert_eq!(change(&|recording| recording.items.clear()), "the recording has no text");
    assert_eq!(
        change(&|recording| recording.items[1].source.tokens[0].span = Some(3..9)),
        "text 1, source: token 0 covers bytes 3..9 of a text of 0 bytes"
    );
}

#[test]
fn a_query_offset_outside_the_keys_is_refused_by_name() {
    for (offset, said) in [(7, "7"), (1 << 33, "8589934592"), (usize::MAX, "18446744073709551615")] {
        let mut recording = common::translation();
        factored(&mut recording, 0).scoring.query_offset = offset;
        assert_eq!(
            recording.validate().unwrap_err().to_string(),
            format!("encoder layer 0: query_offset is {said}, but query 0 stands at one of the 7 keys")
        );
        assert!(recording.check().is_err() && recording.save(std::path::Path::new("never.safetensors")).is_err());
    }
}

#[test]
fn a_layer_index_that_no_model_has_is_refused() {
    let mut recording = common::translation();
    recording.layers[1].index = usize::MAX;
    let message = recording.validate().unwrap_err().to_string();
    assert_eq!(message, format!("encoder layer {}: its index is beyond the limit of 1048576", usize::MAX));
    let message = recording.map(0, Kind::Encoder, 5, 0).unwrap_err().to_string();
    assert_eq!(message, format!("there is no encoder layer 5; there are 0, {}", usize::MAX));
}

#[test]
fn sizes_that_would_overflow_are_refused_before_anything_is_allocated() {
    let mut recording = common::translation();
    recording.layers[0].shape.n_queries = usize::MAX / 2;
    assert!(recording.validate().unwrap_err().to_string().contains("beyond the limit"));
    recording.layers[0].shape.n_queries = 1 << 31;
    recording.layers[0].shape.n_heads = 1 << 33;
    recording.layers[0].shape.n_kv_heads = 1 << 33;
    assert!(recording.validate().unwrap_err().to_string().contains("were expected"));
}

#[test]
fn a_file_that_is_no_recording_says_how_to_bring_arrays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    std::fs::write(&path, [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat()).unwrap();
    let message = Recording::open(&path).unwrap_err().to_string();
    assert!(message.ends_with("no attlas recording: to bring attention arrays, use `attlas import`"), "{message}");
}
