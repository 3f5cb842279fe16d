//! A WAV file, prepared for a speech model.
#![no_main]

use attlas_fuzz::{model_that_reads, with_file};
use attlas_model::Model;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static MODEL: Model = model_that_reads(
        "whisper",
        r#"{"feature_size": 8, "sampling_rate": 4480, "chunk_length": 1, "hop_length": 160, "n_fft": 400}"#,
    );
}

fuzz_target!(|bytes: &[u8]| {
    with_file("sound.wav", bytes, |path| MODEL.with(|model| drop(model.sound_input(path, None))));
});
