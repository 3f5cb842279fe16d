//! A training's checkpoint: one to go on from, or an error.
#![no_main]

use attlas_fuzz::with_file;
use attlas_train::checkpoint::{Position, load};
use attlas_train::weights::File;
use libfuzzer_sys::fuzz_target;

/// The run that is gone on with.
const SEED: &[u8] = include_bytes!("../seeds/checkpoint/checkpoint.safetensors");

thread_local! {
    static RUN: Position = {
        let mut run = None;
        with_file("seed.safetensors", SEED, |path| {
            let position = File::open(path).and_then(|file| file.metadata("position")).expect("a checkpoint");
            run = serde_json::from_str(&position).ok();
        });
        run.expect("a position")
    };
}

fuzz_target!(|bytes: &[u8]| {
    RUN.with(|run| {
        with_file("checkpoint.safetensors", bytes, |path| {
            let _ = load(path.parent().expect("a folder"), &run.recipe, run.data);
        });
    });
});
