//! Which model it was, whatever folder its files lie in.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{Error, hex};

/// What a model, a tokenizer or an adapter is read from, by the ends of the names.
const ENDINGS: [&str; 7] = ["json", "txt", "model", "spm", "safetensors", "bin", "gguf"];

/// SHA-256 of all files that a model, its adapter and its tokenizer are read from, their names and bytes; `embedded` for the
/// embedded model. `places` are the folders or files of these three, in this order; none for the embedded model.
///
/// # Errors
/// [`Error::File`] when a file cannot be read.
pub fn fingerprint(places: &[&Path]) -> Result<String, Error> {
    if places.is_empty() {
        return Ok("embedded".to_owned());
    }
    let mut hash = Sha256::new();
    for place in places {
        for path in files_of(place) {
            hash.update(path.file_name().unwrap_or_default().as_encoded_bytes());
            hash.update([0]);
            let digest = digest(&path).map_err(|error| Error::file(&path, error))?;
            hash.update(digest);
        }
        hash.update([1]);
    }
    Ok(hex(&hash.finalize()))
}

/// SHA-256 of the counts of tokens by which some are rare, in hexadecimal. `counts` has shape `[vocabulary]`.
pub fn digest_of_counts(counts: &[u64]) -> String {
    let mut hash = Sha256::new();
    counts.iter().for_each(|count| hash.update(count.to_le_bytes()));
    hex(&hash.finalize())
}

/// The files of a folder, by name; where there are weights as safetensors, no others of another form.
fn files_of(place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(place) else { return vec![place.to_path_buf()] };
    let ends = |path: &Path, ending: &str| path.extension().is_some_and(|own| own == ending);
    let is_read = |path: &PathBuf| path.is_file() && ENDINGS.iter().any(|ending| ends(path, ending));
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_read).collect();
    if files.iter().any(|path| ends(path, "safetensors")) {
        files.retain(|path| !ends(path, "bin") && !ends(path, "gguf"));
    }
    files.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    files
}

fn digest(path: &Path) -> io::Result<[u8; 32]> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            n => hash.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_a_model_is_the_same_model_and_one_with_another_byte_is_not() {
        let of = |config: &str, notes: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            fs::write(folder.path().join("config.json"), config).expect("it is written");
            fs::write(folder.path().join("README.md"), notes).expect("it is written");
            fingerprint(&[folder.path()]).expect("files can be read")
        };
        assert_eq!(of("{}", "a"), of("{}", "b"), "what is no part of the model does not count");
        assert_ne!(of("{}", ""), of("{ }", ""));
        assert_eq!(fingerprint(&[]).expect("there is nothing to read"), "embedded");
    }
}
