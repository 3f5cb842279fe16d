//! A safetensors file, opened with care: its header is checked, and a tensor is read when it is asked for.
//!
//! What a header must hold is in `safetensors_header`, what a file must be in `regular_file`.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::buffer::{Element, Memory};
use crate::regular_file::RegularFile;
use crate::safetensors_header::{self, Header, Problem, TensorInfo};
use crate::{Buffer, Error, Numbers, Stored};

/// An open safetensors file.
#[derive(Clone)]
pub struct TensorFile {
    path: PathBuf,
    bytes: Bytes,
    header: Header,
}

/// Where the file lies.
#[derive(Clone)]
enum Bytes {
    File(Arc<RegularFile>),
    Memory(Memory),
}

impl fmt::Debug for TensorFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorFile").field("path", &self.path).field("header", &self.header).finish_non_exhaustive()
    }
}

impl TensorFile {
    /// Opens the file at `path` and checks its header; no tensor is read.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::File`] when it is no regular file or no valid safetensors file.
    pub fn open(path: &Path) -> Result<TensorFile, Error> {
        let file = RegularFile::open(path)?;
        let part = |start: u64, bytes: &mut [u8]| file.read_at(start, bytes).map_err(io::Error::other);
        let header = safetensors_header::read(file.n_bytes(), part).map_err(|problem| at(path, problem))?;
        Ok(TensorFile { path: path.to_path_buf(), bytes: Bytes::File(Arc::new(file)), header })
    }

    /// The safetensors file that lies in `memory`; errors call it `path`.
    ///
    /// # Errors
    /// [`Error::File`] when it is no valid safetensors file.
    pub fn over(memory: Memory, path: &Path) -> Result<TensorFile, Error> {
        let all = (*memory).as_ref();
        let part = |start: u64, bytes: &mut [u8]| {
            bytes.copy_from_slice(&all[start as usize..][..bytes.len()]);
            Ok(())
        };
        let header = safetensors_header::read(all.len() as u64, part).map_err(|problem| at(path, problem))?;
        Ok(TensorFile { path: path.to_path_buf(), bytes: Bytes::Memory(memory), header })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors by name, sorted.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.header.tensors
    }

    /// The header's `__metadata__`, sorted.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.header.metadata
    }

    /// Fills `output` with the bytes from `start` on, counted from the beginning of the file.
    ///
    /// # Errors
    /// When they cannot be read, or lie behind the end.
    pub fn read_at(&self, start: u64, output: &mut [u8]) -> Result<(), Error> {
        match &self.bytes {
            Bytes::File(file) => file.read_at(start, output),
            Bytes::Memory(memory) => {
                let bytes = (**memory).as_ref().get(start as usize..).and_then(|bytes| bytes.get(..output.len()));
                output.copy_from_slice(bytes.ok_or_else(|| self.bad("bytes behind its end were asked for".into()))?);
                Ok(())
            }
        }
    }

    /// The tensor `name` of numbers `T`, without copying or reading it.
    ///
    /// # Errors
    /// [`Error::File`] when it is missing, or has another dtype or shape.
    pub fn stored<T: Element>(&self, name: &str, shape: &[usize]) -> Result<Stored<T>, Error> {
        let info = self.info(name)?;
        if info.dtype != T::DTYPE || info.shape != shape {
            return Err(self.unexpected(name, info, T::DTYPE, shape));
        }
        match &self.bytes {
            Bytes::File(file) => {
                let len = (info.bytes.end - info.bytes.start) as usize / size_of::<T>();
                Ok(Stored::in_file(file, info.bytes.start, len))
            }
            Bytes::Memory(memory) => Buffer::over(memory, info.bytes.start as usize..info.bytes.end as usize)
                .map(Stored::from)
                .ok_or_else(|| self.bad(format!("tensor \"{name}\" lies outside the file"))),
        }
    }

    /// The tensor `name` of numbers `T`, in memory.
    ///
    /// # Errors
    /// As [`stored`](Self::stored), and when it cannot be read.
    pub fn buffer<T: Element>(&self, name: &str, shape: &[usize]) -> Result<Buffer<T>, Error> {
        self.stored(name, shape)?.load()
    }

    /// The tensor `name` of 32-bit or 16-bit numbers, without copying or widening.
    ///
    /// # Errors
    /// As [`stored`](Self::stored).
    pub fn numbers(&self, name: &str, shape: &[usize]) -> Result<Numbers, Error> {
        let info = self.info(name)?;
        match info.dtype {
            "f32" => self.stored(name, shape).map(Numbers::F32),
            "f16" => self.stored(name, shape).map(Numbers::F16),
            "bf16" => self.stored(name, shape).map(Numbers::Bf16),
            _ => Err(self.unexpected(name, info, "f32, f16 or bf16", shape)),
        }
    }

    /// What and where the tensor `name` is.
    ///
    /// # Errors
    /// [`Error::File`] when it is missing.
    pub fn info(&self, name: &str) -> Result<&TensorInfo, Error> {
        self.header.tensors.get(name).ok_or_else(|| self.bad(format!("tensor \"{name}\" is missing")))
    }

    fn unexpected(&self, name: &str, info: &TensorInfo, dtype: &str, shape: &[usize]) -> Error {
        let TensorInfo { dtype: found_dtype, shape: found, .. } = info;
        self.bad(format!("tensor \"{name}\" is {found_dtype} {found:?}, but {dtype} {shape:?} was expected"))
    }

    fn bad(&self, message: String) -> Error {
        Error::File { path: self.path.clone(), message }
    }
}

/// What is wrong with the header of the file at `path`.
fn at(path: &Path, problem: Problem) -> Error {
    match problem {
        Problem::Io(source) => match source.downcast::<Error>() {
            Ok(error) => error,
            Err(source) => Error::Io { path: path.to_path_buf(), source },
        },
        other => Error::File { path: path.to_path_buf(), message: other.to_string() },
    }
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
        assert!(message(&file).contains("the tensor a is listed twice"), "{}", message(&file));
    }

    #[test]
    fn a_header_length_that_lies_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (length, said) in [
            (
                u64::MAX,
                "is no safetensors file: read as one, it says that its header has 18446744073709551615 bytes, but the file has 8",
            ),
            (
                5,
                "is cut short, or no safetensors file: read as one, it says that its header has 5 bytes, but the file has 8",
            ),
        ] {
            std::fs::write(file.path(), length.to_le_bytes()).unwrap();
            assert!(message(&file).contains(said), "{}", message(&file));
        }
    }

    #[test]
    fn an_empty_file_and_a_folder_are_refused() {
        assert!(message(&tempfile::NamedTempFile::new().unwrap()).ends_with("the file is empty"));
        let folder = tempfile::tempdir().unwrap();
        let error = TensorFile::open(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("is not a regular file"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_fifo_is_refused_and_does_not_hang() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let error = TensorFile::open(&path).unwrap_err().to_string();
        assert!(error.ends_with("is not a regular file"), "{error}");
    }

    #[test]
    fn a_tensor_of_another_shape_is_named_with_both_shapes() {
        let file = file_with(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &1.5f32.to_le_bytes());
        let tensors = TensorFile::open(file.path()).unwrap();
        assert_eq!(*tensors.buffer::<f32>("a", &[1]).unwrap(), [1.5]);
        let error = tensors.buffer::<f32>("a", &[2, 3]).unwrap_err().to_string();
        assert!(error.ends_with("tensor \"a\" is f32 [1], but f32 [2, 3] was expected"), "{error}");
    }
}
