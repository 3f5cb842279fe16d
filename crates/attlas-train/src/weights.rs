//! Parameters in safetensors files, under the names that the PyTorch class gives them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use attlas_model::weights::Checkpoint;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};

use crate::Error;
use crate::architecture::Group;
use crate::evaluate::model_error;
use crate::files::{read_limited, write_whole};

/// Larger weight files are refused.
const MAX_BYTES: u64 = 8 << 30;

/// Bytes before the header, which say how long it is.
const N_LENGTH: usize = 8;

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 4 bytes.
    F32,
    /// 2 bytes: enough to look at, and for the film.
    F16,
}

/// One tensor on its way into a file.
struct Stored<'a> {
    shape: &'a [usize],
    values: &'a [f32],
    precision: Precision,
}

impl Stored<'_> {
    /// The first value that would be no number in the file.
    fn not_finite(&self) -> Option<f32> {
        let is_finite = |value: f32| match self.precision {
            Precision::F32 => value.is_finite(),
            Precision::F16 => half::f16::from_f32(value).is_finite(),
        };
        self.values.iter().copied().find(|value| !is_finite(*value))
    }
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        match self.precision {
            Precision::F32 => Dtype::F32,
            Precision::F16 => Dtype::F16,
        }
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let bytes = match self.precision {
            Precision::F32 => self.values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Precision::F16 => self.values.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect(),
        };
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.values.len() * if self.precision == Precision::F32 { 4 } else { 2 }
    }
}

/// Several sets of parameters in one file, each under its prefix, with metadata.
///
/// # Errors
/// [`Error::Write`]; [`Error::NotFinite`] when a value is no number, or too large for the precision.
pub fn write(
    path: &Path,
    groups: &[Group],
    sets: &[(&str, &[Vec<f32>])],
    precision: Precision,
    metadata: &BTreeMap<&str, String>,
) -> Result<(), Error> {
    let mut tensors = Vec::new();
    for (prefix, values) in sets {
        for (group, values) in groups.iter().zip(values.iter()) {
            for parameter in &group.parameters {
                let stored = Stored { shape: &parameter.shape, values: &values[parameter.range.clone()], precision };
                let name = format!("{prefix}{}", parameter.name);
                if let Some(value) = stored.not_finite() {
                    return Err(Error::NotFinite { path: path.to_path_buf(), tensor: name, value });
                }
                tensors.push((name, stored));
            }
        }
    }
    let failed = |error: &dyn std::fmt::Display| Error::File { path: path.to_path_buf(), problem: error.to_string() };
    let bytes = safetensors::serialize(tensors, None).map_err(|error| failed(&error))?;
    let (n_header, _) = SafeTensors::read_metadata(&bytes).map_err(|error| failed(&error))?;
    let (header, numbers) = bytes[N_LENGTH..].split_at(n_header);
    let header = with_metadata(header, metadata).map_err(|error| failed(&error))?;
    write_whole(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        file.write_all(numbers)
    })
}

/// A file's header with metadata in their order. The library would write them in that of a hash table, another each time.
fn with_metadata(header: &[u8], metadata: &BTreeMap<&str, String>) -> serde_json::Result<String> {
    let tensors = String::from_utf8_lossy(header);
    let tensors = tensors.trim_end().trim_start_matches('{'); // its own brace closes
    let mut header = format!("{{\"__metadata__\":{},{tensors}", serde_json::to_string(metadata)?);
    let n_spaces = header.len().next_multiple_of(N_LENGTH) - header.len(); // numbers begin at multiples of 8
    header.extend(std::iter::repeat_n(' ', n_spaces));
    Ok(header)
}

/// The parameters of a model, one flat vector per group, stored in any way in which a model is run; `path` is its folder or
/// its one safetensors file.
///
/// # Errors
/// [`Error::Model`] names a tensor that is missing, of another shape or data type, or not finite.
pub fn of_model(path: &Path, groups: &[Group]) -> Result<Vec<Vec<f32>>, Error> {
    let opened = if path.is_dir() { Checkpoint::open(path) } else { Checkpoint::open_file(path) };
    let checkpoint = opened.map_err(model_error)?;
    let values = |group: &Group| -> Result<Vec<f32>, Error> {
        let mut values = vec![0.0; group.len()];
        for parameter in &group.parameters {
            let output = &mut values[parameter.range.clone()];
            checkpoint.read_into(&parameter.name, &parameter.shape, output).map_err(model_error)?;
        }
        Ok(values)
    };
    groups.iter().map(values).collect()
}

/// A weights file in memory.
#[derive(Debug)]
pub struct File {
    path: std::path::PathBuf,
    bytes: Vec<u8>,
}

impl File {
    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::File`].
    pub fn open(path: &Path) -> Result<File, Error> {
        let file = File { path: path.to_path_buf(), bytes: read_limited(path, MAX_BYTES)? };
        file.tensors()?;
        Ok(file)
    }

    fn problem(&self, problem: String) -> Error {
        Error::File { path: self.path.clone(), problem }
    }

    fn tensors(&self) -> Result<SafeTensors<'_>, Error> {
        SafeTensors::deserialize(&self.bytes).map_err(|error| self.problem(format!("no safetensors file: {error}")))
    }

    /// One text of the file's metadata.
    ///
    /// # Errors
    /// [`Error::File`] when it is not there.
    pub fn metadata(&self, key: &str) -> Result<String, Error> {
        let (_, metadata) =
            SafeTensors::read_metadata(&self.bytes).map_err(|error| self.problem(format!("no header: {error}")))?;
        let text = metadata.metadata().as_ref().and_then(|texts| texts.get(key)).cloned();
        text.ok_or_else(|| self.problem(format!("its metadata has no \"{key}\"; is it a checkpoint of a training?")))
    }

    /// Whether the file holds the other's tensors in half precision.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn is_rounded(&self, other: &File) -> Result<bool, Error> {
        let (these, others) = (self.tensors()?, other.tensors()?);
        let rounded = |(name, tensor): (&str, TensorView<'_>)| {
            let Ok(other) = others.tensor(name) else { return false };
            let halves = tensor.data().as_chunks::<2>().0;
            let floats = other.data().as_chunks::<4>().0;
            (tensor.dtype(), other.dtype()) == (Dtype::F16, Dtype::F32)
                && tensor.shape() == other.shape()
                && halves
                    .iter()
                    .zip(floats)
                    .all(|(half, float)| *half == half::f16::from_f32(f32::from_le_bytes(*float)).to_le_bytes())
        };
        Ok(these.len() == others.len() && these.iter().all(rounded))
    }

    /// The parameters under `prefix`, one flat vector per group.
    ///
    /// # Errors
    /// [`Error::File`] names a tensor that is missing, of another shape or data type, or not finite.
    pub fn values(&self, groups: &[Group], prefix: &str) -> Result<Vec<Vec<f32>>, Error> {
        let tensors = self.tensors()?;
        let mut all = Vec::with_capacity(groups.len());
        for group in groups {
            let mut values = Vec::with_capacity(group.len());
            for parameter in &group.parameters {
                let name = format!("{prefix}{}", parameter.name);
                let tensor =
                    tensors.tensor(&name).map_err(|_| self.problem(format!("the tensor {name} is missing")))?;
                if tensor.shape() != parameter.shape {
                    return Err(self.problem(format!(
                        "{name} has shape {:?}, but this configuration needs {:?}; is it a checkpoint of another configuration?",
                        tensor.shape(),
                        parameter.shape
                    )));
                }
                match tensor.dtype() {
                    Dtype::F32 => {
                        values.extend(tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
                    }
                    Dtype::F16 => values.extend(
                        tensor.data().as_chunks::<2>().0.iter().map(|bytes| half::f16::from_le_bytes(*bytes).to_f32()),
                    ),
                    other => return Err(self.problem(format!("{name} is {other:?}; F32 and F16 are read"))),
                }
                if let Some(bad) = values[parameter.range.clone()].iter().find(|value| !value.is_finite()) {
                    return Err(self.problem(format!("{name} holds {bad}")));
                }
            }
            all.push(values);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_stand_in_the_order_of_their_keys_before_numbers_that_are_aligned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let metadata = BTreeMap::from([("tokens", "77".to_string()), ("step", "3 \"é\"".to_string())]);
        let architecture = crate::Architecture { src_vocab: 5, tgt_vocab: 5, ..crate::Architecture::default() };
        let groups = architecture.groups();
        let values = crate::train::first_weights(&architecture, 1);
        write(&path, &groups, &[("", &values)], Precision::F16, &metadata).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let start = r#"{"__metadata__":{"step":"3 \"é\"","tokens":"77"},"#;
        assert!(bytes[N_LENGTH..].starts_with(start.as_bytes()));
        assert_eq!(u64::from_le_bytes(*bytes.first_chunk().unwrap()) % 8, 0);
        let file = File::open(&path).unwrap();
        assert_eq!((file.metadata("step").unwrap(), file.metadata("tokens").unwrap()), ("3 \"é\"".into(), "77".into()));
        let read = file.values(&groups, "").unwrap();
        assert_eq!(of_model(&path, &groups).unwrap(), read);
        assert_eq!(of_model(folder.path(), &groups).unwrap(), read);
        let rounded = |value: &f32| half::f16::from_f32(*value).to_f32();
        assert_eq!(read, values.iter().map(|group| group.iter().map(rounded).collect()).collect::<Vec<Vec<f32>>>());
    }
}
