//! A recording's file: an error or a recording that answers everything.
#![no_main]

use attlas::Recording;
use attlas_fuzz::{read_everything, with_file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    with_file("run.safetensors", bytes, |path| {
        if let Ok(recording) = Recording::open(path) {
            read_everything(&recording);
        }
    });
});
