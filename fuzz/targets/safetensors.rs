//! A safetensors file, as a file of tensors, and as arrays to import.
#![no_main]

use attlas::tensor_file::TensorFile;
use attlas_fuzz::{import, with_file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    with_file("maps.safetensors", bytes, |path| {
        if let Ok(file) = TensorFile::open(path) {
            for (name, entry) in file.tensors() {
                if let Ok(numbers) = file.numbers(name, &entry.shape) {
                    let _ = numbers.read_all();
                }
            }
        }
        import(path);
    });
});
