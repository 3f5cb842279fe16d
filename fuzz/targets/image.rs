//! A PNG or JPEG, prepared for a vision model.
#![no_main]

use attlas_fuzz::{model_that_reads, with_file};
use attlas_model::Model;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static MODEL: Model = model_that_reads(
        "vit",
        r#"{"size": {"height": 12, "width": 12}, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}"#,
    );
}

fuzz_target!(|bytes: &[u8]| {
    with_file("image", bytes, |path| MODEL.with(|model| drop(model.image_input(path))));
});
