//! A tokenizer.json: an error, or one that cuts texts and keeps their places.
#![no_main]

use attlas_model::Tokenizer;
use libfuzzer_sys::fuzz_target;

const TEXTS: [&str; 3] =
    ["The cats, über 20 naïve  tokens.\n", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "猫 👩\u{200d}💻 \u{0}"];

fuzz_target!(|bytes: &[u8]| {
    let Ok(tokenizer) = Tokenizer::from_json(bytes) else { return };
    for text in TEXTS {
        if let Ok(encoded) = tokenizer.encode(text, None) {
            encoded.tokens.words();
        }
    }
});
