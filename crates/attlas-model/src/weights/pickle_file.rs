//! PyTorch's files: a zip archive of a pickle and raw numbers (since 1.6), or the older row of pickles and numbers.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::pickle::{Machine, Value, View};
use super::stored_zip::{self, Entry};
use super::{Bytes, Checkpoint, Dtype, Tensor, open_weights, shards};
use crate::Error;

/// The largest pickle that is read: the names and shapes, not the numbers.
const MAX_PICKLE_BYTES: u64 = 64 << 20;
/// How many times as many bytes as the file has its tensors may name together: layers may share their weights.
const MAX_SHARING: u64 = 64;
/// Numbers that lie this near to one another are read together.
const NEAR: usize = 16;
/// How the older format begins: a pickle of its magic number.
const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// Where training scripts keep the weights inside a larger dictionary.
const NESTED: [&str; 4] = ["state_dict", "model_state_dict", "model", "module"];

/// Where the numbers of each storage start in the file, and how many bytes they take.
type Storages = HashMap<Rc<str>, (u64, usize)>;

/// A tensor's name and where its numbers lie.
type NamedView = (Rc<str>, Rc<View>);

/// The weights of a model folder, if it has PyTorch files: `pytorch_model.bin`, a sharded index, `model.pt` or `.pth`.
pub(super) fn open_folder(folder: &Path) -> Option<Result<Checkpoint, Error>> {
    let names = ["pytorch_model.bin", "model.pt", "model.pth", "model.bin", "checkpoint.pt"];
    if let Some(path) = names.iter().map(|name| folder.join(name)).find(|path| path.exists()) {
        return Some(open_file(&path).map(|tensors| Checkpoint::from_tensors(&path, tensors)));
    }
    let index = folder.join("pytorch_model.bin.index.json");
    index.exists().then(|| shards::open(&index, &[".bin", ".pt", ".pth"], open_file))
}

/// The tensors of one file.
pub(super) fn open_file(path: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    let (source, contents) = open(path, Source::named_views)?;
    source.state_dict(&contents)
}

/// What one file holds: its pickle's value, and where the numbers lie. `views` finds the tensors that are to be read.
pub(super) fn open(path: &Path, views: FindViews) -> Result<(Source, Contents), Error> {
    let (file, size) = open_weights(path)?;
    let source = Source { file, size, path: path.to_owned() };
    let start = source.read(0, size.min(LEGACY_MAGIC.len() as u64) as usize)?;
    let contents = if start.starts_with(b"PK\x03\x04") {
        source.zip()?
    } else if start == LEGACY_MAGIC {
        source.legacy(views)?
    } else {
        return Err(Error::file(path, "is not a file of torch.save: neither a zip archive nor its older format"));
    };
    Ok((source, contents))
}

/// Finds the tensors in a pickle's value.
pub(super) type FindViews = fn(&Source, &Machine, &Value) -> Result<Vec<Rc<View>>, Error>;

/// What a file holds.
pub(super) struct Contents {
    pub machine: Machine,
    /// What the pickle made.
    pub value: Value,
    storages: Storages,
}

/// An open file.
pub(super) struct Source {
    file: Arc<File>,
    size: u64,
    pub path: PathBuf,
}

impl Source {
    fn part(&self, offset: u64, len: usize) -> Bytes {
        Bytes::File { file: Arc::clone(&self.file), offset, len }
    }

    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; len];
        let io = |source| Error::Io { path: self.path.clone(), source };
        self.part(offset, len).read(0, &mut bytes).map_err(io)?;
        Ok(bytes)
    }

    pub fn refuse<T>(&self, message: impl Into<String>) -> Result<T, Error> {
        Err(Error::file(&self.path, message))
    }

    /// The archive: `NAME/data.pkl`, `NAME/data/KEY`, `NAME/byteorder`.
    fn zip(&self) -> Result<Contents, Error> {
        let entries = stored_zip::entries(&self.part(0, usize::try_from(self.size).unwrap_or(usize::MAX)))
            .map_err(|reason| Error::file(&self.path, reason))?;
        let find =
            |end: &str| entries.iter().find(|entry| entry.name.split_once('/').is_some_and(|(_, rest)| rest == end));
        let Some(pickle) = find("data.pkl") else {
            return self.refuse("is a zip archive without data.pkl; torch.save writes one");
        };
        if let Some(order) = find("byteorder")
            && (order.size > 16 || self.read(order.offset, order.size as usize)? != b"little")
        {
            return self.refuse("holds numbers in another byte order than little-endian");
        }
        if pickle.size > MAX_PICKLE_BYTES {
            return self.refuse(format!("has a pickle of {} bytes; {MAX_PICKLE_BYTES} are possible", pickle.size));
        }
        let mut machine = Machine::default();
        let bytes = self.read(pickle.offset, pickle.size as usize)?;
        let (value, _) = machine.run(&bytes).map_err(|reason| Error::file(&self.path, reason))?;
        let place = |entry: &Entry| Some((storage_key(entry)?, (entry.offset, entry.size as usize)));
        let storages = entries.iter().filter_map(place).collect();
        Ok(Contents { machine, value, storages })
    }

    /// Magic number, protocol, system; then the pickle, the keys of the storages, and each: its length and its numbers.
    fn legacy(&self, views: FindViews) -> Result<Contents, Error> {
        let head = self.read(0, self.size.min(MAX_PICKLE_BYTES) as usize)?;
        let mut at = LEGACY_MAGIC.len();
        let mut machine = Machine::default();
        let mut next = |machine: &mut Machine| -> Result<Value, Error> {
            let (value, n_bytes) = machine.run(&head[at..]).map_err(|reason| Error::file(&self.path, reason))?;
            at += n_bytes;
            Ok(value)
        };
        next(&mut machine)?; // protocol
        next(&mut machine)?; // system
        let value = next(&mut machine)?;
        let keys = next(&mut machine)?;
        let mut sizes = HashMap::new();
        for view in views(self, &machine, &value)? {
            sizes.insert(Rc::clone(&view.storage.key), view.storage.dtype.bits() / 8);
        }
        let mut offset = at as u64;
        let mut storages = Storages::new();
        for key in machine.list(&keys).unwrap_or_default() {
            let Value::Text(key) = key else {
                return self.refuse("has a storage whose key is no text");
            };
            if self.size - offset < 8 {
                return self.refuse(format!("ends at byte {} before its storage {key:?}", self.size));
            }
            let n_numbers = u64::from_le_bytes(self.read(offset, 8)?.try_into().unwrap_or_default());
            // A storage that no tensor uses has an unknown width; nothing after it could be found.
            let Some(width) = sizes.get(key) else {
                return self.refuse(format!("has a storage {key:?} that no tensor uses"));
            };
            let n_bytes = n_numbers.checked_mul(*width as u64).filter(|n_bytes| *n_bytes <= self.size - offset - 8);
            let Some(n_bytes) = n_bytes else {
                return self
                    .refuse(format!("says that its storage {key:?} has {n_numbers} numbers; the file is shorter"));
            };
            storages.insert(Rc::clone(key), (offset + 8, n_bytes as usize));
            offset += 8 + n_bytes;
        }
        Ok(Contents { machine, value, storages })
    }

    /// The tensors of a state dict.
    fn named_views(&self, machine: &Machine, value: &Value) -> Result<Vec<Rc<View>>, Error> {
        Ok(self.views(machine, value)?.into_iter().map(|(_, view)| view).collect())
    }

    /// The named tensors of a pickle: of the dictionary itself, or of the one that a training script put inside.
    fn views(&self, machine: &Machine, value: &Value) -> Result<Vec<NamedView>, Error> {
        let Some(mut entries) = machine.dict(value) else {
            return self.refuse("holds no dictionary of tensors");
        };
        let holds_tensors =
            |entries: &[(Value, Value)]| entries.iter().any(|(_, value)| matches!(value, Value::Tensor(_)));
        if !holds_tensors(entries) {
            let named = |name: &str| {
                let is_name = |key: &Value| matches!(key, Value::Text(text) if text.as_ref() == name);
                entries.iter().find(|(key, _)| is_name(key)).and_then(|(_, value)| machine.dict(value))
            };
            match NESTED.iter().filter_map(|name| named(name)).find(|inner| holds_tensors(inner)) {
                Some(inner) => entries = inner,
                None => return self.refuse("holds a dictionary without tensors"),
            }
        }
        let mut views = Vec::new();
        for (key, value) in entries {
            if let (Value::Text(name), Value::Tensor(view)) = (key, value) {
                views.push((Rc::clone(name), Rc::clone(view)));
            }
        }
        Ok(views)
    }

    fn state_dict(&self, contents: &Contents) -> Result<BTreeMap<String, Tensor>, Error> {
        let mut tensors = BTreeMap::new();
        for (name, view) in self.views(&contents.machine, &contents.value)? {
            let refuse = |reason: String| Error::tensor(&self.path, name.as_ref(), reason);
            let tensor = self.tensor(&view, contents).map_err(refuse)?;
            if tensors.insert(name.to_string(), tensor).is_some() {
                return Err(refuse("is there twice".to_owned()));
            }
        }
        self.refuse_sharing(tensors.values())?;
        Ok(tensors)
    }

    /// A tensor; fails with the end of a sentence about it.
    pub fn tensor(&self, view: &View, contents: &Contents) -> Result<Tensor, String> {
        let bytes = self.numbers(view, &contents.storages)?;
        // `i8` alone would be read with scales, which PyTorch does not store so.
        let dtype =
            if view.storage.dtype == Dtype::I8 { Dtype::Other { name: "i8", bits: 8 } } else { view.storage.dtype };
        Ok(Tensor { dtype, shape: view.shape.clone(), bytes, path: Arc::from(self.path.as_path()) })
    }

    /// Refuses tensors that share storages more often than any model's do.
    pub fn refuse_sharing<'a>(&self, tensors: impl ExactSizeIterator<Item = &'a Tensor>) -> Result<(), Error> {
        let n = tensors.len();
        let n_named = tensors.fold(0_u64, |n_bytes, tensor| n_bytes.saturating_add(tensor.bytes.len() as u64));
        let most = self.size.saturating_mul(MAX_SHARING);
        if n_named > most {
            return self.refuse(format!(
                "has {n} tensors that would take {n_named} bytes from its {}; tensors may share storages up to {most}",
                self.size
            ));
        }
        Ok(())
    }

    /// The bytes of a view, row after row: a part of the storage where it lies so, else gathered when they are read.
    fn numbers(&self, view: &View, storages: &Storages) -> Result<Bytes, String> {
        let storage = &view.storage;
        let width = storage.dtype.bits() / 8;
        let Some((start, n_bytes)) = storages.get(&storage.key) else {
            return Err(format!("lies in the storage {:?}, which the file lacks", storage.key));
        };
        if storage.n_numbers.checked_mul(width) != Some(*n_bytes) {
            let (n, key) = (storage.n_numbers, &storage.key);
            return Err(format!(
                "lies in the storage {key:?} of {n} numbers of {width} bytes, but the file has {n_bytes} bytes there"
            ));
        }
        let too_far = || {
            let (shape, strides, offset) = (&view.shape, &view.strides, view.offset);
            format!(
                "of shape {shape:?} with strides {strides:?} from {offset} reaches past its storage of {} numbers",
                storage.n_numbers
            )
        };
        let n_numbers = view.shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size)).ok_or_else(too_far)?;
        let steps = view.shape.iter().zip(&view.strides);
        let last = steps.clone().try_fold(view.offset, |last, (size, stride)| {
            last.checked_add(size.saturating_sub(1).checked_mul(*stride)?)
        });
        if n_numbers == 0 {
            return Ok(Bytes::Memory { bytes: Arc::default(), offset: 0, len: 0 });
        }
        // A view that repeats numbers could be larger than any memory.
        if last.is_none_or(|last| last >= storage.n_numbers) || n_numbers > storage.n_numbers {
            return Err(too_far());
        }
        let mut expected = 1;
        let in_rows = steps.rev().all(|(size, stride)| {
            let fits = *size == 1 || *stride == expected;
            expected *= size;
            fits
        });
        if in_rows {
            return Ok(self.part(start + (view.offset * width) as u64, n_numbers * width));
        }
        let gathered = Gathered {
            storage: self.part(*start, *n_bytes),
            width,
            first: view.offset,
            shape: view.shape.clone(),
            strides: view.strides.clone(),
        };
        Ok(Bytes::made(n_numbers * width, move || gathered.read()))
    }
}

/// The key of the storage that a zip entry holds.
fn storage_key(entry: &Entry) -> Option<Rc<str>> {
    entry.name.split_once('/')?.1.strip_prefix("data/").map(Rc::from)
}

/// A view that is not in rows (a transposed tensor, mostly).
struct Gathered {
    storage: Bytes,
    /// Bytes of a number.
    width: usize,
    /// The first number's place in the storage.
    first: usize,
    shape: Vec<usize>,
    /// Numbers from one index to the next along each axis.
    strides: Vec<usize>,
}

impl Gathered {
    /// The numbers, row after row. Shape `[shape, width]`.
    ///
    /// Reads what lies together along one axis at once, so that nothing beyond it is held but the rows.
    fn read(&self) -> std::io::Result<Vec<u8>> {
        let Gathered { width, shape, strides, .. } = self;
        let n_numbers: usize = shape.iter().product();
        let mut steps = vec![1; shape.len()]; // from one index to the next in the rows
        for axis in (1..shape.len()).rev() {
            steps[axis - 1] = steps[axis] * shape[axis];
        }
        // the axis along which numbers lie nearest, if they are near enough to be read together
        let near = (0..shape.len()).filter(|axis| shape[*axis] > 1 && strides[*axis] <= NEAR);
        let run = near.min_by_key(|axis| strides[*axis]);
        let (n_run, run_stride, run_step) = run.map_or((1, 1, 1), |axis| (shape[axis], strides[axis], steps[axis]));
        let mut stored = vec![0; ((n_run - 1) * run_stride + 1) * width];
        let mut rows = vec![0; n_numbers * width];
        let mut index = vec![0; shape.len()];
        for _ in 0..n_numbers / n_run {
            let dot = |by: &[usize]| index.iter().zip(by).map(|(at, by)| at * by).sum::<usize>();
            let (place, row) = (self.first + dot(strides), dot(&steps));
            self.storage.read(place * width, &mut stored)?;
            for at in 0..n_run {
                let number = &stored[at * run_stride * width..][..*width];
                rows[(row + at * run_step) * width..][..*width].copy_from_slice(number);
            }
            for axis in (0..shape.len()).rev().filter(|axis| Some(*axis) != run) {
                index[axis] += 1;
                if index[axis] < shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_gathered_row_after_row_whichever_axis_lies_nearest() {
        let stored: Vec<u8> = (0..4000_u16).flat_map(u16::to_le_bytes).collect();
        let len = stored.len();
        let storage = Bytes::Memory { bytes: Arc::new(stored), offset: 0, len };
        // transposed, every second column, an axis of one, nothing near, a repeated row, no axis at all
        for (shape, strides) in [
            (vec![5, 3], vec![1, 7]),
            (vec![4, 6], vec![20, 2]),
            (vec![3, 1, 4], vec![1, 900, 11]),
            (vec![3, 4, 2], vec![100, 1000, 20]),
            (vec![2, 3], vec![0, 5]),
            (vec![], vec![]),
        ] {
            let view = Gathered { storage: storage.clone(), width: 2, first: 9, shape, strides };
            let rows = view.read().unwrap();
            let found: Vec<usize> = rows.as_chunks::<2>().0.iter().map(|n| u16::from_le_bytes(*n).into()).collect();
            let mut expected = vec![9];
            for (size, stride) in view.shape.iter().zip(&view.strides) {
                expected = expected.iter().flat_map(|at| (0..*size).map(move |index| at + index * stride)).collect();
            }
            assert_eq!(found, expected, "{:?} {:?}", view.shape, view.strides);
        }
    }
}
