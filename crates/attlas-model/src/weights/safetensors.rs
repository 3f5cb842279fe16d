//! Reads safetensors files: one, a sharded index, or bytes in memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use attlas::safetensors_header::{self, Problem, TensorInfo};

use super::stored_rows::StoredRows;
use super::{Bytes, Checkpoint, Dtype, Tensor, open_weights, shards};
use crate::Error;

/// The weights of a model folder.
pub(super) fn open_folder(folder: &Path) -> Result<Checkpoint, Error> {
    let whole = folder.join("model.safetensors");
    let index = folder.join("model.safetensors.index.json");
    if !whole.exists() && index.exists() {
        return shards::open(&index, &[".safetensors"], open_file);
    }
    let path = if whole.exists() { whole } else { only_model_file(folder)? };
    Ok(Checkpoint::from_tensors(&path, open_file(&path)?))
}

/// The tensors of one file.
pub(super) fn open_file(path: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    let (file, size) = open_weights(path)?;
    let part = |offset: u64, len: usize| Bytes::File { file: Arc::clone(&file), offset, len };
    tensors(path, size, &part, None)
}

/// What the name of a tensor ends with whose rows of int8 lie side by side, sixteen by sixteen: `NAME.strips`, bytes of shape
/// `[rows / 16, 4 · 16 + columns · 16]`, which are 16 factors (f32) and then, column by column, 16 numbers. So lie the weights
/// that are built into the programme.
const STRIPS: &str = ".strips";

/// The tensors of a file that is built into the programme.
pub(super) fn from_static(path: &Path, bytes: &'static [u8]) -> Result<BTreeMap<String, Tensor>, Error> {
    let part = |offset: u64, len: usize| Bytes::Static(&bytes[offset as usize..][..len]);
    tensors(path, bytes.len() as u64, &part, Some(bytes))
}

/// A matrix of int8 and its factors, of strips; `None` where these are none.
fn of_strips(strips: &Tensor, file: Option<&'static [u8]>) -> Option<[Tensor; 2]> {
    let &[n_strips, n_bytes] = strips.shape.as_slice() else { return None };
    let is_bytes = strips.dtype.name() == "u8" && n_bytes % 16 == 0;
    let d_in = (n_bytes / 16).checked_sub(4).filter(|_| is_bytes)?;
    let n_rows = 16 * n_strips;
    let rows = StoredRows::laid(strips.bytes.clone(), file);
    let of_rows = |n: usize, part: Range<usize>| {
        let rows = rows.clone();
        Bytes::made(n_rows * n, move || {
            let mut all = vec![0; n_rows * (d_in + 4)]; // [n_rows, d_in + 4]
            rows.read(d_in, 0..n_rows, &mut all)?;
            Ok(all.chunks_exact(d_in + 4).flat_map(|row| &row[part.clone()]).copied().collect())
        })
    };
    let tensor = |dtype, shape, bytes| Tensor { dtype, shape, bytes, path: Arc::clone(&strips.path) };
    let matrix = tensor(Dtype::I8, vec![n_rows, d_in], of_rows(d_in, 0..d_in).of_rows(rows.clone()));
    Some([matrix, tensor(Dtype::F32, vec![n_rows], of_rows(4, d_in..d_in + 4))])
}

/// The tensors of a file of `size` bytes; `part` gives a run of its bytes that lies inside it. `file` is all of it where it stays in
/// memory anyway.
fn tensors(
    path: &Path,
    size: u64,
    part: &dyn Fn(u64, usize) -> Bytes,
    file: Option<&'static [u8]>,
) -> Result<BTreeMap<String, Tensor>, Error> {
    let read = |offset: u64, bytes: &mut [u8]| part(offset, bytes.len()).read(0, bytes);
    let header = safetensors_header::read(size, read).map_err(|problem| match problem {
        Problem::Io(source) => Error::Io { path: path.to_owned(), source },
        Problem::File(message) => Error::file(path, message),
        Problem::Tensor { name, message } => Error::tensor(path, name, message),
    })?;
    let shared_path: Arc<Path> = Arc::from(path);
    let tensor = |(name, info): (String, TensorInfo)| {
        let bytes = part(info.bytes.start, (info.bytes.end - info.bytes.start) as usize);
        let tensor = Tensor { dtype: dtype(&info), shape: info.shape, bytes, path: Arc::clone(&shared_path) };
        (name, tensor)
    };
    let mut all = BTreeMap::new();
    for (name, tensor) in header.tensors.into_iter().map(tensor) {
        match name.strip_suffix(STRIPS).zip(of_strips(&tensor, file)) {
            Some((name, [matrix, scale])) => {
                all.insert(format!("{name}.scale"), scale);
                all.insert(name.to_owned(), matrix);
            }
            None => {
                all.insert(name, tensor);
            }
        }
    }
    Ok(all)
}

fn dtype(info: &TensorInfo) -> Dtype {
    match info.dtype {
        "f32" => Dtype::F32,
        "f16" => Dtype::F16,
        "bf16" => Dtype::BF16,
        "f64" => Dtype::F64,
        "i8" => Dtype::I8,
        name => Dtype::Other { name, bits: info.bits },
    }
}

/// The only `model*.safetensors` of a folder.
fn only_model_file(folder: &Path) -> Result<PathBuf, Error> {
    let io = |source| Error::Io { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        if let Some(text) = name.to_str()
            && text.starts_with("model")
            && text.ends_with(".safetensors")
        {
            found.push(text.to_owned());
        }
    }
    found.sort();
    match found.as_slice() {
        [only] => Ok(folder.join(only)),
        [] => Err(Error::file(
            folder,
            "has no weights; attlas looks for model.safetensors, model.safetensors.index.json or pytorch_model.bin \
             beside config.json",
        )),
        several => Err(Error::file(
            folder,
            format!("has several weight files ({}); name one model.safetensors", several.join(", ")),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_are_a_matrix_with_its_factors() {
        let (d_in, n_bytes) = (3, 16 * 7);
        let mut strips = Vec::new();
        for strip in 0..2u8 {
            (0..16u8).for_each(|row| strips.extend(f32::from(16 * strip + row + 1).to_le_bytes()));
            (0..3).for_each(|column| strips.extend((0..16).map(|row| 50 * strip + 3 * row + column)));
        }
        let header =
            format!(r#"{{"a.strips":{{"dtype":"U8","shape":[2,{n_bytes}],"data_offsets":[0,{}]}}}}"#, 2 * n_bytes);
        let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &strips].concat().leak();
        let checkpoint = Checkpoint::from_static(Path::new("embedded"), file).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.safetensors"), &*file).unwrap();
        for checkpoint in [&checkpoint, &Checkpoint::open(folder.path()).unwrap()] {
            let numbers = checkpoint.numbers("a", &[32, d_in]).unwrap();
            for (row, found) in numbers.chunks(d_in).enumerate() {
                let expected = [0, 1, 2].map(|column| ((50 * (row / 16) + 3 * (row % 16) + column) * (row + 1)) as f32);
                assert_eq!(found, expected, "row {row}");
            }
        }

        let rows = checkpoint.stored_rows("a", &[32, d_in]).unwrap().unwrap();
        let mut row = [0; 7];
        rows.ordered(|row| 31 - row).read(d_in, 1..2, &mut row).unwrap();
        assert_eq!(row, [92, 93, 94, 0, 0, 0xf8, 0x41]); // row 30 and 31.0
    }

    #[test]
    fn bytes_of_such_a_name_that_are_no_strips_stay_what_they_are() {
        let header = r#"{"a.strips":{"dtype":"U8","shape":[1,65],"data_offsets":[0,65]}}"#;
        let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 65]].concat().leak();
        let checkpoint = Checkpoint::from_static(Path::new("embedded"), file).unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a.strips"]);
    }
}
