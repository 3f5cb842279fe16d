//! A GGUF file as a whole model: one that runs, or an error.
#![no_main]

use attlas_fuzz::with_file;
use attlas_model::{Model, RunOptions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    with_file("model.gguf", bytes, |path| {
        let Ok(model) = Model::load(path) else { return };
        if let Ok(input) = model.input("the cat", None) {
            let _ = model.run(&[input], &RunOptions::default());
        }
    });
});
