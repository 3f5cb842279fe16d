//! A file of sentence pairs: refused by its line, or read and cut by a vocabulary learnt from it.
#![no_main]

use attlas_fuzz::with_file;
use attlas_train::data::{BadLines, encode, read_pairs};
use attlas_train::tokenizer::{frame, learn};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    with_file("pairs.tsv", bytes, |path| {
        let _ = read_pairs(path, BadLines::Refuse);
        let Ok(text) = read_pairs(path, BadLines::Skip) else { return };
        let Ok((tokenizer, _)) = learn(&text.pairs, 300) else { return };
        let frame = frame(&tokenizer).expect("a learnt vocabulary has the special tokens");
        let _ = encode(&tokenizer, &text.pairs, frame, 64);
    });
});
