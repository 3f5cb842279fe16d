//! An output that is one of the inputs: refused, before anything is read.

use std::fs;
use std::path::{Path, PathBuf};

use super::model::ModelArguments;
use crate::failure::Failure;

/// What a model folder is read from beside `model*.safetensors`, by the ends of the names.
const MODEL_FILES: [&str; 7] =
    ["config.json", ".index.json", "tokenizer.json", ".gguf", ".bin", ".model", "vocab.json"];

/// Refuses an output that is one of the inputs, or that cannot be written where it is to be.
///
/// # Errors
/// [`Failure::Usage`] names the input, [`Failure::Output`] the place.
pub fn check_output<'a>(output: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    refuse_inputs(output, inputs)?;
    Ok(attlas::output::check_place(output)?)
}

/// Refuses an output that is the same file as an input, also where one is a link to the other.
///
/// An output that does not exist yet is nobody's input. Words that name no file, such as texts, are passed over.
///
/// # Errors
/// [`Failure::Usage`] names the input.
pub fn refuse_inputs<'a>(output: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    match inputs.into_iter().find(|input| is_same_file(output, input)) {
        None => Ok(()),
        Some(input) if input == output => Err(Failure::Usage(format!(
            "-o {}: this is the input, which would be lost; give the result another name",
            output.display()
        ))),
        Some(input) => Err(Failure::Usage(format!(
            "-o {}: this is the same file as the input {}, which would be lost; give the result another name",
            output.display(),
            input.display()
        ))),
    }
}

/// The files that a run reads of a local model, its adapter and its tokenizer: each a file itself, or its folder's weights
/// and descriptions.
pub fn model_files(model: &ModelArguments) -> Vec<PathBuf> {
    [&model.model, &model.adapter, &model.tokenizer].into_iter().flatten().flat_map(|place| files_in(place)).collect()
}

/// The files that are read of a model or tokenizer at `place`.
pub fn files_in(place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(place) else { return vec![place.to_path_buf()] };
    let is_read = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_weights =
            ["model", "adapter_model"].iter().any(|start| name.starts_with(start)) && name.ends_with(".safetensors");
        is_weights || MODEL_FILES.iter().any(|end| name.ends_with(end))
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_read).collect();
    files.sort();
    files
}

/// Whether two names lead to the same file.
fn is_same_file(a: &Path, b: &Path) -> bool {
    let is_same_place = matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b);
    is_same_place || is_hard_link(a, b)
}

/// Whether two names stand for the same bytes on the disk.
#[cfg(unix)]
fn is_hard_link(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((place(a), place(b)), (Ok(a), Ok(b)) if a == b)
}

/// Elsewhere they are not told apart.
#[cfg(not(unix))]
fn is_hard_link(_: &Path, _: &Path) -> bool {
    false
}
