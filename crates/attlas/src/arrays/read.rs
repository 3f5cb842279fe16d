//! Arrays out of files: `.npy`, `.npz` and safetensors, streamed into the memory in which they stay.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::elements::{Layout, Problem, Room, Type};
use super::{Array, EXPORT_KEY, ExportMetadata, extension, npy};
use crate::recording::limits::{MAX_LAYERS, MAX_TOKENS, at_most};
use crate::regular_file::RegularFile;
use crate::safetensors_header::TensorInfo;
use crate::tensor_file::TensorFile;
use crate::{Error, Remedy};

/// Bytes that one byte of a deflated entry becomes at most.
const MAX_INFLATION: u64 = 1032;

/// The arrays of a `.npy`, `.npz` or `.safetensors` file by name; the array of a `.npy` file has the name `""`.
///
/// # Errors
/// [`Error::Io`], [`Error::File`] (with the array's name), [`Error::Limit`] where they take more than `max_bytes`, and
/// [`Error::TooMany`].
pub fn read(path: &Path, max_bytes: u64) -> Result<BTreeMap<String, Array>, Error> {
    let mut room = Room::new(max_bytes);
    match extension(path).as_str() {
        "npy" => {
            let file = RegularFile::open(path)?;
            let array = npy::read(&mut BufReader::new(file.file()), file.n_bytes(), &mut room);
            Ok(BTreeMap::from([(String::new(), array.map_err(|problem| at(path, "", &room, problem))?)]))
        }
        "npz" => read_npz(path, &mut room),
        "safetensors" => read_safetensors(path, &mut room),
        other => Err(Error::File {
            path: path.to_path_buf(),
            message: format!("arrays are read from .npy, .npz and .safetensors files, not from \".{other}\""),
        }),
    }
}

/// The problem with an array of the file at `path`, as this crate's error.
fn at(path: &Path, array: &str, room: &Room, problem: Problem) -> Error {
    let array = if array.is_empty() { String::new() } else { format!("array \"{array}\"") };
    let colon = if array.is_empty() { "" } else { ": " };
    let bad = |message: String| Error::File { path: path.to_path_buf(), message: format!("{array}{colon}{message}") };
    match problem {
        Problem::Bad(message) => bad(message),
        Problem::Io(error) => error.downcast().unwrap_or_else(|error| bad(error.to_string())),
        Problem::NoRoom { needed } => Error::Limit {
            what: format!("{}: reading {}", path.display(), if array.is_empty() { "the array" } else { &array }),
            needed,
            limit: room.limit,
            remedy: Remedy::RaiseLimit,
        },
        Problem::TooManyTexts(n) => {
            let what = format!("{}{}{array}", path.display(), if array.is_empty() { "" } else { ": " });
            Error::TooMany { what, n, things: "tokens", limit: MAX_TOKENS }
        }
    }
}

fn read_npz(path: &Path, room: &mut Room) -> Result<BTreeMap<String, Array>, Error> {
    let bad = |message: String| Error::File { path: path.to_path_buf(), message };
    let file = RegularFile::open(path)?;
    let mut archive = zip::ZipArchive::new(BufReader::new(file.file()))
        .map_err(|error| bad(format!("not an .npz archive: {error}")))?;
    at_most(MAX_LAYERS, "arrays", archive.len(), path.display().to_string())?;
    let mut arrays = BTreeMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| bad(format!("entry {index}: {error}")))?;
        let name = entry.name().map_err(|error| bad(format!("entry {index}: {error}")))?.into_owned();
        let Some(name) = name.strip_suffix(".npy").map(str::to_string) else { continue };
        // the declared size is not believed
        let n_bytes = match entry.compression() {
            zip::CompressionMethod::Stored => entry.compressed_size(),
            _ => entry.compressed_size().saturating_mul(MAX_INFLATION),
        };
        let array = npy::read(&mut entry, n_bytes, room).map_err(|problem| at(path, &name, room, problem))?;
        // the end of an entry is where its checksum is compared
        match entry.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(bad(format!("array \"{name}\": bytes follow after its last element"))),
            Err(error) => return Err(at(path, &name, room, Problem::Io(error))),
        }
        if arrays.insert(name.clone(), array).is_some() {
            return Err(bad(format!("array \"{name}\" stands twice in the archive")));
        }
    }
    Ok(arrays)
}

fn read_safetensors(path: &Path, room: &mut Room) -> Result<BTreeMap<String, Array>, Error> {
    let file = TensorFile::open(path)?;
    let mut arrays = BTreeMap::new();
    at_most(MAX_LAYERS, "arrays", file.tensors().len(), path.display().to_string())?;
    for (name, info) in file.tensors() {
        let element = match info.dtype {
            "f64" => Type::F64,
            "f32" => Type::F32,
            "f16" => Type::F16,
            "bf16" => Type::Bf16,
            "i64" => Type::I64,
            other => {
                let message = format!("tensor \"{name}\" has dtype {other}; f64, f32, f16, bf16 and i64 are read");
                return Err(Error::File { path: path.to_path_buf(), message });
            }
        };
        let layout = Layout { element, is_big_endian: false, is_fortran: false, shape: info.shape.clone() };
        let mut source = TensorReader { file: &file, info, n_read: 0 };
        let array = layout.read(&mut source, u64::MAX, room).map_err(|problem| at(path, name, room, problem))?;
        arrays.insert(name.clone(), array);
    }
    if let Some(json) = file.metadata().get(EXPORT_KEY) {
        let about: ExportMetadata = serde_json::from_str(json).map_err(|error| Error::File {
            path: path.to_path_buf(),
            message: format!("the metadata \"{EXPORT_KEY}\" is damaged: {error}"),
        })?;
        let rows = || about.tokens.values().flatten();
        if about.tokens.values().any(|rows| rows.windows(2).any(|pair| pair[0].len() != pair[1].len())) {
            let message = format!("the metadata \"{EXPORT_KEY}\" has texts of different numbers of tokens");
            return Err(Error::File { path: path.to_path_buf(), message });
        }
        at_most(MAX_TOKENS, "tokens", rows().map(Vec::len).sum(), path.display().to_string())?;
        arrays.extend(about.arrays());
    }
    Ok(arrays)
}

/// A tensor's bytes from the first to the last.
struct TensorReader<'a> {
    file: &'a TensorFile,
    info: &'a TensorInfo,
    n_read: u64,
}

impl Read for TensorReader<'_> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let left = self.info.bytes.end - self.info.bytes.start - self.n_read;
        let n = output.len().min(left as usize);
        self.file.read_at(self.info.bytes.start + self.n_read, &mut output[..n]).map_err(io::Error::other)?;
        self.n_read += n as u64;
        Ok(n)
    }
}
