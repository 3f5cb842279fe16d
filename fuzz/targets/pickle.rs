//! A pytorch_model.bin: tensors, or an error.
#![no_main]

use attlas_fuzz::with_file;
use attlas_model::weights::Checkpoint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    with_file("pytorch_model.bin", bytes, |path| {
        let Ok(checkpoint) = Checkpoint::open(path.parent().expect("a folder")) else { return };
        for name in checkpoint.names() {
            let shape = checkpoint.get(name).expect("it is named").shape.clone();
            let _ = checkpoint.tensor(name, &shape);
        }
    });
});
