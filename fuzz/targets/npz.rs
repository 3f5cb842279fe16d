//! A NumPy archive, imported.
#![no_main]

use attlas_fuzz::{import, with_file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| with_file("maps.npz", bytes, import));
