//! The index of weights that are spread over several files: which tensor is in which.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::{Checkpoint, Tensor, parse_json, read_small_file};
use crate::Error;

/// The largest index that is read; the largest models have about a hundred thousand tensors, 10 MB.
const MAX_INDEX_BYTES: u64 = 32 << 20;

/// All tensors of the files that an index names; `open` reads one file, whose name has one of the `endings`.
///
/// # Errors
/// An index that is none, names what is no file beside it, or is wrong about what is where.
pub(super) fn open(
    index: &Path,
    endings: &[&str],
    open: impl Fn(&Path) -> Result<BTreeMap<String, Tensor>, Error>,
) -> Result<Checkpoint, Error> {
    let map = weight_map(index, endings)?;
    let mut files: Vec<&str> = map.values().map(String::as_str).collect();
    files.sort_unstable();
    files.dedup();
    let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
    for file in files {
        let path = index.with_file_name(file);
        if !path.exists() {
            return Err(Error::file(index, format!("names the file {file:?}, which is missing")));
        }
        for (name, tensor) in open(&path)? {
            if let Some(other) = tensors.get(&name) {
                let message = format!("is also in {}; each tensor belongs in one file", other.path.display());
                return Err(Error::tensor(&path, name, message));
            }
            tensors.insert(name, tensor);
        }
    }
    for (name, file) in &map {
        let found = tensors.get(name).map(|tensor| tensor.path.file_name().unwrap_or_default().to_string_lossy());
        match found {
            Some(found) if found == file.as_str() => {}
            Some(found) => return Err(Error::tensor(index, name, format!("should be in {file}, but is in {found}"))),
            None => return Err(Error::tensor(index, name, format!("should be in {file}, but is not there"))),
        }
    }
    Ok(Checkpoint::from_tensors(index, tensors))
}

/// The name of each tensor's file.
fn weight_map(index: &Path, endings: &[&str]) -> Result<BTreeMap<String, String>, Error> {
    let mut json: Map<String, Value> =
        parse_json(index, &read_small_file(index, MAX_INDEX_BYTES)?, "is no index of shards")?;
    let map = match json.remove("weight_map") {
        Some(Value::Object(map)) => map,
        Some(_) => return Err(Error::config(index, "weight_map", "is not an object of tensors and their files")),
        None => return Err(Error::config(index, "weight_map", "is missing; it says which tensor is in which file")),
    };
    let file = |(tensor, file): (String, Value)| {
        // A name, never a path: an index chooses no file outside its folder.
        let is_plain = |file: &str| {
            !file.contains(['/', '\\']) && !file.starts_with('.') && endings.iter().any(|ending| file.ends_with(ending))
        };
        match file {
            Value::String(file) if is_plain(&file) => Ok((tensor, file)),
            other => Err(Error::config(
                index,
                format!("weight_map.{tensor}"),
                format!("is {other}; a shard is a *{} file beside the index", endings.join(" or *")),
            )),
        }
    };
    map.into_iter().map(file).collect()
}
