//! A safetensors file, opened with care: the file is mapped, its header is checked, nothing is copied.
//!
//! The `safetensors` crate checks offsets, overlaps and sizes; added here is what it lets pass: a file that is
//! no regular file (a FIFO would hang), and a name that stands twice in the header.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::buffer::{Element, Memory};
use crate::{Buffer, Error, Numbers};

/// An open safetensors file.
#[derive(Clone)]
pub struct TensorFile {
    path: PathBuf,
    memory: Memory,
    tensors: BTreeMap<String, TensorEntry>,
    metadata: BTreeMap<String, String>,
}

impl fmt::Debug for TensorFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorFile").field("path", &self.path).field("tensors", &self.tensors).finish_non_exhaustive()
    }
}

/// Where a tensor lies and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// The data type.
    pub dtype: Dtype,
    /// The shape, outermost first.
    pub shape: Vec<usize>,
    bytes: Range<usize>,
}

impl TensorFile {
    /// Opens the file at `path` and checks its header; no tensor is read.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::File`] when it is no regular file or no valid safetensors file.
    pub fn open(path: &Path) -> Result<TensorFile, Error> {
        TensorFile::over(map_regular_file(path)?, path)
    }

    /// The safetensors file that lies in `memory`; errors call it `path`.
    ///
    /// # Errors
    /// [`Error::File`] when it is no valid safetensors file.
    pub fn over(memory: Memory, path: &Path) -> Result<TensorFile, Error> {
        let bad = |message: String| Error::File { path: path.to_path_buf(), message };
        let bytes = (*memory).as_ref();
        let (header_len, header) =
            SafeTensors::read_metadata(bytes).map_err(|error| bad(format!("not a safetensors file: {error}")))?;
        let data_start = 8 + header_len;
        if let Some(name) = first_duplicate(&bytes[8..data_start]) {
            return Err(bad(format!("tensor \"{name}\" stands twice in the header")));
        }
        let tensors = header
            .tensors()
            .into_iter()
            .map(|(name, info)| {
                let bytes = data_start + info.data_offsets.0..data_start + info.data_offsets.1;
                (name, TensorEntry { dtype: info.dtype, shape: info.shape.clone(), bytes })
            })
            .collect();
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        Ok(TensorFile { path: path.to_path_buf(), memory, tensors, metadata })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's size in bytes.
    pub fn n_bytes(&self) -> usize {
        self.bytes().len()
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        (*self.memory).as_ref()
    }

    /// The tensors by name, sorted.
    pub fn tensors(&self) -> &BTreeMap<String, TensorEntry> {
        &self.tensors
    }

    /// The header's `__metadata__`, sorted.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The bytes of a tensor of this file, little-endian.
    pub fn data(&self, entry: &TensorEntry) -> &[u8] {
        self.bytes().get(entry.bytes.clone()).unwrap_or_default()
    }

    /// The tensor `name` of numbers `T`, without copying.
    ///
    /// # Errors
    /// [`Error::File`] when it is missing, or has another dtype or shape.
    pub fn buffer<T: Element>(&self, name: &str, shape: &[usize]) -> Result<Buffer<T>, Error> {
        let entry = self.entry(name)?;
        if entry.dtype != T::DTYPE || entry.shape != shape {
            return Err(self.unexpected(name, entry, &format!("{:?}", T::DTYPE), shape));
        }
        Buffer::over(&self.memory, entry.bytes.clone())
            .ok_or_else(|| self.bad(format!("tensor \"{name}\" lies outside the file")))
    }

    /// The tensor `name` of 32-bit or 16-bit numbers, without copying or widening.
    ///
    /// # Errors
    /// As [`buffer`](Self::buffer).
    pub fn numbers(&self, name: &str, shape: &[usize]) -> Result<Numbers, Error> {
        match self.entry(name)?.dtype {
            Dtype::F32 => self.buffer(name, shape).map(Numbers::F32),
            Dtype::F16 => self.buffer(name, shape).map(Numbers::F16),
            Dtype::BF16 => self.buffer(name, shape).map(Numbers::Bf16),
            _ => Err(self.unexpected(name, self.entry(name)?, "F32, F16 or BF16", shape)),
        }
    }

    /// What and where the tensor `name` is.
    ///
    /// # Errors
    /// [`Error::File`] when it is missing.
    pub fn entry(&self, name: &str) -> Result<&TensorEntry, Error> {
        self.tensors.get(name).ok_or_else(|| self.bad(format!("tensor \"{name}\" is missing")))
    }

    fn unexpected(&self, name: &str, entry: &TensorEntry, dtype: &str, shape: &[usize]) -> Error {
        let TensorEntry { dtype: found_dtype, shape: found, .. } = entry;
        self.bad(format!("tensor \"{name}\" is {found_dtype:?} {found:?}, but {dtype} {shape:?} was expected"))
    }

    fn bad(&self, message: String) -> Error {
        Error::File { path: self.path.clone(), message }
    }
}

/// Maps the file at `path` for reading.
///
/// # Errors
/// [`Error::Io`] when it cannot be opened, [`Error::File`] when it is empty, a folder, a FIFO or a device.
#[allow(unsafe_code)]
pub fn map_regular_file(path: &Path) -> Result<Arc<Mmap>, Error> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let about = std::fs::metadata(path).map_err(io)?; // before opening: opening a FIFO would wait for its writer
    if !about.is_file() {
        let what = if about.is_dir() { "a folder" } else { "no regular file" };
        return Err(Error::File { path: path.to_path_buf(), message: format!("this is {what}, a file was expected") });
    }
    if about.len() == 0 {
        return Err(Error::File { path: path.to_path_buf(), message: "the file is empty".into() });
    }
    let file = std::fs::File::open(path).map_err(io)?;
    // SAFETY: the map is read-only and private to this process. A file that another process cuts short while it is
    // mapped would end this process with SIGBUS; attlas itself never writes in place (see `output`), and the
    // alternative, copying a recording of many gigabytes, is worse.
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    Ok(Arc::new(map))
}

/// The first name that stands twice in a safetensors header, if any.
fn first_duplicate(header: &[u8]) -> Option<String> {
    struct Names(Option<String>);

    impl<'de> Deserialize<'de> for Names {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
            struct NamesVisitor;
            impl<'de> Visitor<'de> for NamesVisitor {
                type Value = Names;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a map of tensors")
                }

                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                    let mut seen = std::collections::BTreeSet::new();
                    let mut duplicate = None;
                    while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                        if !seen.insert(name.clone()) {
                            duplicate.get_or_insert(name);
                        }
                    }
                    Ok(Names(duplicate))
                }
            }
            deserializer.deserialize_map(NamesVisitor)
        }
    }
    serde_json::from_slice::<Names>(header).ok().and_then(|names| names.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_with(header: &str, data: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    fn message(file: &tempfile::NamedTempFile) -> String {
        TensorFile::open(file.path()).unwrap_err().to_string()
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_by_name() {
        let entry = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
        let file = file_with(&format!(r#"{{"a":{entry},"a":{entry}}}"#), &[0; 4]);
        assert!(message(&file).ends_with("tensor \"a\" stands twice in the header"), "{}", message(&file));
    }

    #[test]
    fn a_header_length_that_lies_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), u64::MAX.to_le_bytes()).unwrap();
        assert!(message(&file).contains("not a safetensors file"), "{}", message(&file));
    }

    #[test]
    fn an_empty_file_and_a_folder_are_refused() {
        assert!(message(&tempfile::NamedTempFile::new().unwrap()).ends_with("the file is empty"));
        let folder = tempfile::tempdir().unwrap();
        let error = TensorFile::open(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("this is a folder, a file was expected"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_fifo_is_refused_and_does_not_hang() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let error = TensorFile::open(&path).unwrap_err().to_string();
        assert!(error.ends_with("this is no regular file, a file was expected"), "{error}");
    }

    #[test]
    fn a_tensor_of_another_shape_is_named_with_both_shapes() {
        let file = file_with(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &1.5f32.to_le_bytes());
        let tensors = TensorFile::open(file.path()).unwrap();
        assert_eq!(*tensors.buffer::<f32>("a", &[1]).unwrap(), [1.5]);
        let error = tensors.buffer::<f32>("a", &[2, 3]).unwrap_err().to_string();
        assert!(error.ends_with("tensor \"a\" is F32 [1], but F32 [2, 3] was expected"), "{error}");
    }
}
