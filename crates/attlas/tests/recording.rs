//! Recordings: what is written is what is read, and what contradicts itself is refused.

mod common;

use std::sync::Arc;

use attlas::attention::Shape;
use attlas::recording::QueriesAndKeys;
use attlas::{
    Bias, Buffer, Error, Factored, Item, Kind, Layer, Mask, Provenance, Quantity, Recording, Scoring, TokenRole,
    Tokens, Trace, Visibility, Weights,
};

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
fn patches_may_begin_before_their_image_but_some_of_them_lie_on_it() {
    let checked = |seen: [i64; 4]| {
        let mut recording = common::everything();
        for item in &mut recording.items {
            item.image.as_mut().expect("an image").seen = Some(seen);
        }
        recording.validate().map_err(|error| error.to_string())
    };
    // an image of 64 × 48 pixels
    for seen in [[0, 8, 64, 32], [-16, 8, 96, 32], [63, 0, 1, 48], [-8, -8, 9, 9]] {
        assert_eq!(checked(seen), Ok(()));
    }
    for seen in [[64, 0, 8, 8], [-8, 0, 8, 8], [0, 0, 0, 8], [0, 0, 8, -1], [0, 0, i64::MAX, 8], [i64::MIN, 0, 8, 8]] {
        let message = checked(seen).expect_err("a refusal");
        assert!(message.contains(&format!("the patches cover {seen:?} of an image of [64, 48] pixels")), "{message}");
    }
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
    recording.layers[0].shape.d_head = 1 << 33;
    assert!(recording.validate().unwrap_err().to_string().contains("were expected"));
    recording.layers[0].shape.n_heads = 1 << 33;
    let message = recording.validate().unwrap_err().to_string();
    assert_eq!(message, "encoder layer 0 has 8589934592 heads, more than the limit of 65536");
}

/// A recording of `n_layers` layers and `n_items` texts of `n` tokens, each of which looks at itself.
fn of_sizes(n_layers: usize, n_items: usize, n: usize) -> Recording {
    let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: n, n_keys: n, d_head: 0, d_value: 0 };
    let looks_at_itself = |cell: usize| if (cell % (n * n)).is_multiple_of(n + 1) { 1.0 } else { 0.0 };
    let one: Buffer = (0..n_items * n * n).map(looks_at_itself).collect::<Vec<_>>().into();
    let layers = (0..n_layers).map(|index| Layer::new(Kind::Encoder, index, shape, one.clone())).collect();
    let source = Tokens::from_labels((0..n).map(|position| position.to_string()));
    let items = vec![Item { source, ..Item::default() }; n_items];
    Recording { items, layers, provenance: Provenance::default() }
}

#[test]
fn more_layers_texts_or_tokens_than_a_recording_may_have_are_refused_with_the_limit() {
    let message = |recording: Recording| recording.to_bytes().unwrap_err().to_string();
    assert_eq!(message(of_sizes(16_385, 1, 1)), "the recording has 16385 layers, more than the limit of 16384");
    assert_eq!(message(of_sizes(1, 65_537, 1)), "the recording has 65537 texts, more than the limit of 65536");
    assert_eq!(message(of_sizes(65, 65_536, 1)), "the recording has 4259840 maps, more than the limit of 4194304");
    let mut wide = of_sizes(1, 1, 1);
    wide.items[0].predicted = Tokens::from_labels(vec![""; 1 << 21]);
    assert_eq!(message(wide), "the recording has 2097153 tokens, more than the limit of 2097152");
}

#[test]
fn as_many_layers_as_there_may_be_are_written_and_read_in_a_moment() {
    let recording = of_sizes(16_384, 1, 1);
    let begin = std::time::Instant::now();
    let back = Recording::from_bytes(Arc::new(recording.to_bytes().unwrap())).unwrap();
    assert!(back.check().unwrap().iter().all(|check| check.passed()));
    assert!(
        begin.elapsed() < std::time::Duration::from_secs(60),
        "{:?}: the work grows with the square",
        begin.elapsed()
    );
}

#[test]
fn a_recording_whose_header_no_reader_takes_is_refused_when_it_is_written() {
    let mut recording = of_sizes(1, 1, 1);
    recording.provenance.notes = vec!["x".repeat(100_000_000)];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let error = recording.save(&path).unwrap_err();
    assert!(matches!(error, Error::TooMany { limit: 100_000_000, .. }), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_recording_cut_short_after_it_was_opened_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    common::translation().save(&path).unwrap();
    let recording = Recording::open(&path).unwrap();
    assert_eq!(recording, common::translation());
    let n_bytes = std::fs::metadata(&path).unwrap().len();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(n_bytes / 2).unwrap();
    let cut = format!("{}: was cut short while it was read", path.display());
    assert_eq!(recording.check().unwrap_err().to_string(), cut);
    assert_eq!(recording.save(&folder.path().join("copy.safetensors")).unwrap_err().to_string(), cut);
    let maps =
        attlas::arrays::export(&recording, &attlas::arrays::Selection::default(), &folder.path().join("maps.npz"));
    assert_eq!(maps.unwrap_err().to_string(), cut);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn a_file_that_is_no_recording_says_how_to_bring_arrays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    std::fs::write(&path, [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat()).unwrap();
    let message = Recording::open(&path).unwrap_err().to_string();
    assert!(message.ends_with("no attlas recording; attention arrays from elsewhere are imported first"), "{message}");
}

/// A file's metadata with something in it replaced, once.
fn with_text(recording: &Recording, old: &str, new: &str) -> Result<Recording, Error> {
    let file = recording.to_bytes().unwrap();
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&file[8..8 + length]).unwrap();
    let (old, new) = (old.replace('"', "\\\""), new.replace('"', "\\\""));
    assert!(header.contains(&old), "{old} is not in {header}");
    let header = header.replacen(&old, &new, 1);
    Recording::from_bytes(Arc::new(
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &file[8 + length..]].concat(),
    ))
}

#[test]
fn bytes_in_memory_are_what_a_file_holds_and_are_read_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let recording = common::everything();
    recording.save(&path).unwrap();
    let bytes = recording.to_bytes().unwrap();
    assert_eq!(bytes, std::fs::read(path).unwrap());
    assert_eq!(Recording::from_bytes(Arc::new(bytes)).unwrap(), recording);
    let message = Recording::from_bytes(Arc::new(b"no file")).unwrap_err().to_string();
    assert!(message.starts_with("recording in memory: "), "{message}");
}

#[test]
fn what_a_newer_rule_would_say_is_refused_and_not_passed_over() {
    let recording = common::translation();
    for (old, new, named) in [
        (r#""scoring":{"#, r#""scoring":{"logit_scale":2.0,"#, "logit_scale"),
        (r#""visibility":{"after""#, r#""visibility":{"stride":4,"after""#, "stride"),
        (r#""traces":["#, r#""rotation":3,"traces":["#, "rotation"),
    ] {
        let message = with_text(&recording, old, new).unwrap_err().to_string();
        assert!(message.contains(&format!("unknown field `{named}`")), "{message}");
    }
    assert!(with_text(&recording, r#""version":2,"#, r#""version":2,"editor":"later","#).is_ok());
    let message = with_text(&recording, r#""version":2,"#, r#""version":0,"#).unwrap_err().to_string();
    assert!(message.ends_with("format version 0; the first is 1"), "{message}");
}

#[test]
fn a_row_that_sees_keys_and_says_that_it_sees_none_fails_the_check() {
    let mut recording = common::translation();
    let factored = factored(&mut recording, 0);
    let mut lse = factored.lse.read_all().unwrap().into_owned();
    lse[3] = f64::NEG_INFINITY;
    factored.lse = lse.into();
    let check = &recording.check().unwrap()[0];
    assert!(!check.passed() && check.n_empty == 1, "{check:?}");
    let verified = recording.verify().unwrap();
    assert_eq!((verified[0].max_difference, verified[0].worst_row.unwrap().2), (f64::INFINITY, 3));
    assert!(verified[1].max_difference < 1e-12, "{verified:?}");
}

#[test]
fn a_row_that_sees_nothing_is_empty_and_a_sink_takes_all_of_it() {
    let mut recording = common::translation();
    for sinks in [None, Some(vec![0.5, -1.5])] {
        let rule = Scoring { sinks: sinks.clone(), ..Scoring::scaled_dot_product(6, Visibility::FULL) };
        let shape = recording.layers[2].shape;
        let sees = [vec![0..2], vec![], vec![1..4], vec![], vec![0..5]];
        let given = common::layer(Kind::Decoder, 0, shape, rule.clone(), &recording.items, 4);
        let Factored { queries, keys, .. } = given.factored().unwrap().clone();
        let mask = Some(Mask::stretches(&sees));
        let layer =
            QueriesAndKeys { kind: Kind::Decoder, index: 0, shape, scoring: rule, queries, keys, mask, key_bias: None };
        recording.layers[2] = layer.layer(&recording.items).unwrap();
        let wanted = sinks.map_or(f64::NEG_INFINITY, |sinks| f64::from(sinks[1]));
        assert_eq!(*recording.layers[2].factored().unwrap().lse.read(6..7).unwrap(), [wanted]);
        let map = recording.map(0, Kind::Decoder, 0, 1).unwrap();
        assert!(map.row(1).iter().all(|weight| *weight == 0.0));
        assert_eq!(map.sink_mass(1), if wanted.is_finite() { 1.0 } else { 0.0 });
        assert!(recording.check().unwrap().iter().all(|check| check.passed()));
    }
}

#[test]
fn verify_holds_head_outputs_to_weights_times_values() {
    let mut recording = common::translation();
    let (shape, layer) = (recording.layers[0].shape, &recording.layers[0]);
    let values = layer.traces.get(Trace::Values).unwrap().read_all().unwrap().to_vec();
    let mut outputs = Vec::new(); // [2 texts, 2 heads, 7, 6]
    for (item, head) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let map = recording.map(item, Kind::Encoder, 0, head).unwrap();
        for query in 0..7 {
            let row = map.row(query);
            let output =
                |column: usize| (0..7).map(|key| row[key] * values[(item * 7 + key) * 6 + column]).sum::<f32>();
            outputs.extend((0..6).map(output));
        }
    }
    assert_eq!(shape.d_value, 6);
    recording.layers[0].traces.insert(Trace::HeadOutputs, outputs.clone());
    assert!(recording.verify().unwrap()[0].max_output_difference.unwrap() < 1e-6);
    outputs[80] += 0.25;
    recording.layers[0].traces.insert(Trace::HeadOutputs, outputs);
    let found = recording.verify().unwrap()[0].max_output_difference.unwrap();
    assert!((found - 0.25).abs() < 1e-6, "{found}");
}

#[test]
fn checks_follow_the_quantity() {
    let mut recording = common::translation();
    let shape = recording.layers[0].shape;
    let numbers = |largest: f32| (0..2 * 2 * 49).map(|i| largest * (i % 5 - 2) as f32 / 2.0).collect::<Vec<f32>>();
    for quantity in Quantity::ALL {
        let mut layer = Layer::new(Kind::Encoder, 9, shape, Weights::Dense(numbers(3.0).into()));
        layer.quantity = quantity;
        recording.layers.push(layer);
        let check = recording.check().unwrap().pop().unwrap();
        assert_eq!(check.n_out_of_range == 0, quantity.is_signed(), "{check:?}");
        assert_eq!(check.max_row_error > 0.0, quantity.rows_sum_to_one(), "{check:?}");
        assert_eq!(recording.kinds(), Kind::ALL);
        assert_eq!(recording.layers_of(Kind::Encoder).count(), 3, "two of the translation, and the one of weights");
    }
    assert!(recording.validate().is_ok(), "layers of one index and another quantity stand side by side");
    recording.layers.last_mut().unwrap().traces.insert(Trace::Stream, numbers(1.0));
    assert!(recording.validate().unwrap_err().to_string().contains("traces stand beside attention weights"));
}

#[test]
fn stacks_and_axes_that_do_not_fit_are_refused_by_name() {
    let change = |change: &dyn Fn(&mut Recording)| {
        let mut recording = common::everything();
        change(&mut recording);
        recording.validate().unwrap_err().to_string()
    };
    let tower = common::everything().layers.iter().position(|layer| layer.stack.is_some()).unwrap();
    assert_eq!(
        change(&|recording| recording.layers[tower].query_axis = Some("pixels".into())),
        "vision encoder layer 0: its queries are the axis \"pixels\", which text 0 does not have"
    );
    assert_eq!(
        change(&|recording| drop(recording.items[1].axes.insert("words".into(), common::tokens("w", 2, 0)))),
        "text 1, axes: no layer names the axis \"words\""
    );
    assert_eq!(
        change(&|recording| drop(recording.items[1].axes.get_mut("patches").unwrap().tokens.pop())),
        "vision encoder layer 0: the map has 4 queries but text 1 has 3 tokens there; the axis is \"patches\""
    );
    assert_eq!(change(&|recording| recording.layers[tower].stack = None), "encoder layer 0 stands twice");
    assert!(
        change(&|recording| recording.layers[tower].stack = Some("a/b".into()))
            .contains("the name \"a/b\" is not 1 to 64")
    );
    assert_eq!(
        change(&|recording| recording.items[0].n_sound = Some(99)),
        "text 0: n_sound is 99, but the source has 9 tokens"
    );
    assert_eq!(
        change(&|recording| recording.items[0].n_prompt = Some(7)),
        "text 0: n_prompt is 7, but the target has 6 tokens"
    );
}

#[test]
fn a_mask_of_the_wrong_size_in_a_file_is_refused_by_tensor_and_shape_and_a_stretch_by_query() {
    let recording = common::everything();
    let message = with_text(&recording, r#""mask":"decoder.2.visible""#, r#""mask":"decoder.2.keys""#);
    assert!(message.unwrap_err().to_string().ends_with(
        "the mask \"decoder.2.keys\" of decoder layer 2 is bf16 [2, 2, 6, 4], but u32 [texts, 6, stretches, 2] or \
             u8 [texts, heads, 6, 1] was expected"
    ));
    let message =
        with_text(&recording, r#""mask":"decoder.2.visible""#, r#""mask":"nowhere""#).unwrap_err().to_string();
    assert!(message.ends_with("tensor \"nowhere\" is missing"), "{message}");
    let mut wrong = common::everything();
    let layer = wrong.layers.iter().position(|layer| layer.index == 2 && layer.kind == Kind::Decoder).unwrap();
    factored(&mut wrong, layer).mask = Some(Mask::stretches(&[vec![0..1], vec![0..9], vec![], vec![], vec![], vec![]]));
    let message = wrong.save(std::path::Path::new("never.safetensors")).unwrap_err().to_string();
    assert_eq!(
        message,
        "decoder layer 2: visible: query 1 sees keys 0 to 9 (not included); stretches rise, lie within the 6 keys, and those not used, 0 to 0, come last"
    );
    assert!(!std::path::Path::new("never.safetensors").exists());
}

#[test]
fn a_layer_that_does_not_fit_its_texts_is_refused_before_its_log_sum_exps_are_computed() {
    let recording = common::translation();
    let Factored { scoring, queries, keys, .. } = recording.layers[0].factored().unwrap().clone();
    let layer = |shape: Shape| {
        let (scoring, queries, keys) = (scoring.clone(), queries.clone(), keys.clone());
        let made =
            QueriesAndKeys { kind: Kind::Encoder, index: 0, shape, scoring, queries, keys, mask: None, key_bias: None };
        made.layer(&recording.items)
    };
    let shape = recording.layers[0].shape;
    assert_eq!(layer(shape).unwrap().factored(), recording.layers[0].factored());
    let message = layer(Shape { n_queries: 1 << 31, n_heads: 1 << 30, ..shape }).unwrap_err().to_string();
    assert!(message.contains("were expected"), "{message}");
    assert!(
        layer(Shape { d_head: 5, ..shape }).unwrap_err().to_string().starts_with("encoder layer 0: queries has 168")
    );
}

#[test]
fn words_that_were_avoided_are_said_in_one_sentence_each_once() {
    let remarks = |words: &[&str]| {
        let avoided_words = words.iter().map(|word| (*word).to_owned()).collect();
        Item { avoided_words, ..Item::default() }.remarks()
    };
    let said = "\"un\" was in the text found first, no word the model knows: this is the best text found without it";
    assert_eq!(remarks(&["un", "un"]), [said]);
    let said = "\"z\", \"y\" and \"x\" were in the text found first, no words the model knows: this is the best text found \
                without them";
    assert_eq!(remarks(&["z", "y", "x"]), [said]);
    assert!(remarks(&[]).is_empty());
}
