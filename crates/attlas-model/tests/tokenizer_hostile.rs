//! Tokenizer files made to break the reader: each ends in one sentence that names the field.

use attlas_model::Tokenizer;
use serde_json::{Value, json};

/// A small tokenizer that works, to be spoiled in one place.
fn sound() -> Value {
    json!({
        "version": "1.0",
        "added_tokens": [{"id": 0, "content": "<unk>", "special": true}, {"id": 6, "content": "</s>", "special": true}],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [6], "tokens": ["</s>"]}}
        },
        "decoder": {"type": "Fuse"},
        "model": {
            "type": "BPE", "unk_token": "<unk>",
            "vocab": {"<unk>": 0, "a": 1, "b": 2, "c": 3, "ab": 4, "abc": 5},
            "merges": ["a b", ["ab", "c"]]
        }
    })
}

fn bytes(file: &Value) -> Vec<u8> {
    serde_json::to_vec(file).unwrap()
}

/// The sound tokenizer with the value at `pointer` replaced.
fn spoiled(pointer: &str, value: Value) -> Vec<u8> {
    let mut file = sound();
    *file.pointer_mut(pointer).unwrap() = value;
    bytes(&file)
}

/// The message of the error that `bytes` must give.
fn refusal(bytes: &[u8]) -> String {
    let message = Tokenizer::from_json(bytes).expect_err("a hostile file was accepted").to_string();
    assert!(message.starts_with("tokenizer.json: ") && message.len() < 400 && !message.contains('\n'), "{message}");
    message
}

/// Like `assert!(a.contains(b))`, showing what came.
fn says(message: &str, words: &str) {
    assert!(message.contains(words), "{message:?} does not say {words:?}");
}

#[test]
fn a_sound_file_is_read_and_cuts_text() {
    let tokenizer = Tokenizer::from_json(&bytes(&sound())).unwrap();
    let encoded = tokenizer.encode("abc ab?", None).unwrap();
    let ids: Vec<u32> = encoded.tokens.tokens.iter().filter_map(|token| token.id).collect();
    assert_eq!(ids, [5, 4, 0, 6]);
    assert_eq!(encoded.tokens.labels().collect::<Vec<_>>(), ["abc", "ab", "? <unk>", "</s>"]);
    assert_eq!(encoded.tokens.words(), [0..1, 1..2, 2..3, 3..4]);
    assert_eq!(tokenizer.vocab_size(), 7);
    assert_eq!(tokenizer.special_ids(), [0, 6]);
}

#[test]
fn bytes_that_are_no_tokenizer_are_refused() {
    let version = b"{\"version\":\"9\",\"model\":{\"vocab\":{}}}";
    for bytes in [&b""[..], b"{}", b"[]", b"nul", b"\xff\xfe", b"{\"model\": 3}", version] {
        refusal(bytes);
    }
    let nested = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    refusal(&[b"{\"normalizer\":", nested.as_slice(), b"}"].concat());
    let whole = bytes(&sound());
    for end in 0..whole.len() {
        refusal(&whole[..end]);
    }
}

#[test]
fn a_vocabulary_that_contradicts_itself_is_refused() {
    let vocab = |value| refusal(&spoiled("/model/vocab", value));
    says(&vocab(json!({"<unk>": 0, "a": 0, "b": 1})), "the id 0 twice");
    says(&vocab(json!({"<unk>": 0, "a": 4_000_000_000u32})), "the id 4000000000");
    says(&vocab(json!({"<unk>": -1})), "not a tokenizer");
    says(&vocab(json!({})), "model.vocab is empty");
    says(&vocab(json!({"<unk>": 0, "x".repeat(5000): 1})), "a piece of 5000 bytes");
    says(&vocab(json!({"a": 0})), "model.unk_token is \"<unk>\", which is not in model.vocab");
    says(&vocab(json!([["a", 0.5]])), "model.vocab has not the form that a BPE model needs");
    let twice = String::from_utf8(bytes(&sound())).unwrap().replace("\"c\":3", "\"c\":3,\"c\":7");
    says(&refusal(twice.as_bytes()), "names the piece \"c\" twice");
}

#[test]
fn merges_of_what_is_not_there_are_refused() {
    let merges = |value| refusal(&spoiled("/model/merges", value));
    says(&merges(json!(["a x"])), "model.merges Token `x` out of vocabulary");
    says(&merges(json!(["b a"])), "Token `ba` out of vocabulary");
    says(&merges(json!([["abc", "abc"]])), "model.merges[0] makes \"abcabc\", which is longer than any piece");
    says(&merges(json!(["a b c"])), "not a tokenizer");
    says(&merges(json!([["a", "b", "c"]])), "not a tokenizer");
    says(&merges(json!([["", "a"]])), "merges an empty piece");
    let mut file = sound();
    file["model"]["continuing_subword_prefix"] = json!("##################");
    says(&refusal(&bytes(&file)), "does not start with");
}

#[test]
fn normalisers_that_panic_hang_or_explode_in_the_library_are_refused() {
    let normalizer = |value| refusal(&spoiled("/normalizer", value));
    let replace = |pattern, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
    let charsmap = |text: &str| json!({"type": "Precompiled", "precompiled_charsmap": text});
    says(&normalizer(json!({"type": "Nonsense"})), "normalizer has the unknown type \"Nonsense\"");
    says(&normalizer(json!("NFC")), "normalizer is not an object");
    says(&normalizer(replace(json!({"String": ""}), "xxxx")), "an empty pattern");
    says(&normalizer(replace(json!({"String": "a"}), &"a".repeat(1 << 20))), "1048576 bytes");
    says(&normalizer(replace(json!({"Regex": "(a*)*(?!b)"}), "")), "exponential");
    says(&normalizer(json!({"type": "Sequence", "normalizers": vec![json!({"type": "NFC"}); 1000]})), "1000");
    says(&normalizer(charsmap("AAAA")), "charsmap that has 3 bytes");
    says(&normalizer(charsmap("////////////")), "says that its array has 4294967295 bytes");
    says(&normalizer(charsmap("BAAAAAAAAAAA")), "points to unit");
    says(&normalizer(charsmap("%%%%")), "not base64");
    let mut nested = json!({"type": "NFC"});
    for _ in 0..60 {
        nested = json!({"type": "Sequence", "normalizers": [nested]});
    }
    says(&normalizer(nested), "nests too much");
}

#[test]
fn pre_tokenizers_and_decoders_that_panic_in_the_library_are_refused() {
    let pre_tokenizer = |value| refusal(&spoiled("/pre_tokenizer", value));
    let split = |expression: &str| json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false});
    says(&pre_tokenizer(json!({"type": "FixedLength", "length": 0})), "not a positive number");
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let both = json!({"type": "Sequence", "pretokenizers": [bytes, {"type": "Sequence", "pretokenizers": [bytes]}]});
    says(&pre_tokenizer(both), "has 2 ByteLevel stages");
    says(&pre_tokenizer(split("(")), "pre_tokenizer");
    says(&pre_tokenizer(split("(?:a{1000}){1000}")), "pre_tokenizer");
    says(&pre_tokenizer(split(&"(".repeat(4000))), "nests");
    let strip = json!({"type": "Strip", "content": " ", "start": 0, "stop": 9});
    says(&refusal(&spoiled("/decoder", strip)), "stop");
}

#[test]
fn a_post_processor_that_adds_what_no_token_is_is_refused() {
    let at = |pointer: &str, value| refusal(&spoiled(pointer, value));
    says(&at("/post_processor/special_tokens", json!({})), "special_tokens does not describe");
    says(&at("/post_processor/special_tokens/<~1s>/ids", json!([99])), "the id 99, which no token has");
    says(&at("/post_processor/special_tokens/<~1s>/ids", json!([6, 6])), "2 ids and 1 texts");
    says(&at("/post_processor/single", json!([{"Sequence": {"id": "B", "type_id": 0}}])), "[\"A\"] are needed");
    let many = json!(vec![json!({"Sequence": {"id": "A", "type_id": 0}}); 10_000]);
    says(&at("/post_processor/single", many), "10000 pieces");
    let bert = json!({"type": "BertProcessing", "sep": ["[SEP]", 77], "cls": ["[CLS]", 1]});
    says(&at("/post_processor", bert), "\"sep\" with the id 77");
}

#[test]
fn added_tokens_that_mean_other_ids_than_they_get_are_refused() {
    let added = |value| refusal(&spoiled("/added_tokens", value));
    let shifted = json!([{"id": 0, "content": "<unk>"}, {"id": 6, "content": "</s>"}, {"id": 17, "content": "x"}]);
    says(&added(shifted), "gives \"x\" the id 17, but by its place in the vocabulary it is 7");
    says(&added(json!([{"id": 6, "content": ""}])), "added_tokens[0] has an empty content");
    says(&added(json!([{"id": 3_000_000_000u32, "content": "x"}])), "the id 3000000000");
}

#[test]
fn a_unigram_model_with_lying_numbers_is_refused() {
    let unigram = |mut model: Value| {
        model["type"] = json!("Unigram");
        refusal(&bytes(&json!({ "model": model })))
    };
    says(&unigram(json!({"vocab": [["a", -1.0]], "unk_id": 5})), "model.unk_id is 5");
    says(&unigram(json!({"vocab": [], "unk_id": 0})), "0 pieces");
    says(&unigram(json!({"vocab": [["a", -1.0], ["a", -2.0]], "unk_id": 0})), "twice");
    says(&unigram(json!({"vocab": [["x".repeat(2_000_000), -1.0]], "unk_id": 0})), "2000000 bytes");
    says(&unigram(json!({"vocab": [["a"]], "unk_id": 0})), "not a tokenizer");
}

#[test]
fn a_model_that_cuts_at_random_is_refused() {
    let mut file = sound();
    file["model"]["dropout"] = json!(0.5);
    says(&refusal(&bytes(&file)), "model.dropout is not 0");
}

/// Stages that make `aa` of each `a`, `n` times.
fn doubling(n: usize) -> Value {
    json!(vec![json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}); n])
}

#[test]
fn a_text_grows_to_a_few_times_its_length_and_no_further() {
    let with = |stages: Value| {
        let mut file = sound();
        file["normalizer"] = json!({"type": "Sequence", "normalizers": stages});
        Tokenizer::from_json(&bytes(&file)).unwrap()
    };
    // 16 letters become 4,096
    let grown = with(doubling(8)).encode(&"a".repeat(16), None).unwrap();
    assert_eq!(grown.tokens.len(), 4097);
    let refused = |tokenizer: &Tokenizer, text: &str| match tokenizer.encode(text, None).unwrap_err() {
        attlas_model::Error::Limit(message) => message,
        other => panic!("{other} is no limit"),
    };
    let message = refused(&with(doubling(20)), &"a".repeat(100));
    says(&message, "tokenizer.json: normalizer makes the text of 100 bytes too long");
    // what is between special tokens counts together, and so do empty matches and what is put before
    refused(&with(doubling(12)), &"</s>a".repeat(1000));
    refused(
        &with(json!([{"type": "Replace", "pattern": {"Regex": "x*"}, "content": "a".repeat(4000)}])),
        &"b".repeat(1000),
    );
    refused(&with(json!([{"type": "Prepend", "prepend": "a".repeat(4000)}])), &"</s>a".repeat(1000));
    // one text takes nothing from the next: each grows to half of the most, and is emptied
    let mut stages = doubling(19);
    let empty = json!({"type": "Replace", "pattern": {"String": "a"}, "content": ""});
    stages.as_array_mut().unwrap().push(empty);
    let tokenizer = with(stages);
    for _ in 0..3 {
        assert_eq!(tokenizer.encode("a", None).unwrap().tokens.len(), 1);
    }
    assert!(tokenizer.encode("aaa", None).is_err());
}

#[test]
fn joined_tokens_grow_no_further_either() {
    let mut file = sound();
    file["decoder"] = json!({"type": "Sequence", "decoders": doubling(24)});
    let tokenizer = Tokenizer::from_json(&bytes(&file)).unwrap();
    says(&tokenizer.decode(&[1; 10]).unwrap_err().to_string(), "decoder makes the text of 10 bytes too long");
}

#[test]
fn a_replacement_of_nothing_is_refused_where_the_library_would_lose_its_place_and_panic() {
    let replace = json!({"type": "Replace", "pattern": {"Regex": " {0,}"}, "content": " "});
    let both = json!({"type": "Sequence", "normalizers": [replace, {"type": "NFKC"}]});
    let tokenizer = Tokenizer::from_json(&spoiled("/normalizer", both)).unwrap();
    let error = tokenizer.encode("The cats, über 20 naïve  tokens.\n", None).unwrap_err().to_string();
    says(&error, "normalizer has a Replace that matches where there is nothing to replace");
}

#[test]
fn an_expression_that_takes_too_many_steps_is_named_and_never_cuts_otherwise() {
    let split = |expression: &str| json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false});
    let replace = |expression: &str| json!({"type": "Replace", "pattern": {"Regex": expression}, "content": "b"});
    let text = "a".repeat(20_000);
    for expression in ["(?:a*a*(?=b)|.)", "(a|a)*(?=b)", "a*b|a"] {
        for (field, stage) in [("pre_tokenizer", split(expression)), ("normalizer", replace(expression))] {
            let tokenizer = Tokenizer::from_json(&spoiled(&format!("/{field}"), stage)).unwrap();
            let error = tokenizer.encode(&text, None).unwrap_err();
            assert!(matches!(error, attlas_model::Error::Config { .. }), "{error}");
            says(&error.to_string(), &format!("tokenizer.json: {field} has the regular expression \"{expression}\""));
            says(&error.to_string(), "20000 bytes");
            assert!(tokenizer.encode("a ab", None).is_ok());
        }
    }
    let mut file = sound();
    file["decoder"] = json!({"type": "Sequence", "decoders": [{"type": "Fuse"}, replace("(a|a)*(?=b)")]});
    let tokenizer = Tokenizer::from_json(&bytes(&file)).unwrap();
    says(&tokenizer.decode(&[1; 60]).unwrap_err().to_string(), "decoder has the regular expression");
}

#[test]
fn a_text_or_an_added_token_beyond_the_limits_is_refused() {
    let mut file = sound();
    file["normalizer"] = json!({"type": "Sequence", "normalizers": doubling(24)});
    file["added_tokens"][1]["normalized"] = json!(true);
    file["added_tokens"][1]["content"] = json!("aaa");
    says(&refusal(&bytes(&file)), "added_tokens[1]");
    let tokenizer = Tokenizer::from_json(&bytes(&sound())).unwrap();
    says(&tokenizer.encode(&"a ".repeat(3 << 20), None).unwrap_err().to_string(), "6291456 bytes");
}
