//! A model's config.json: every value is checked for type and range where it is read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::Activation;
use crate::Error;
use crate::weights::{parse_json, read_small_file};

/// The largest width, vocabulary or number of positions that is believed.
const MAX_SIZE: u64 = 1 << 24;

/// The deepest stack that is believed.
const MAX_LAYERS: usize = 4096;

/// The most heads of a layer and the widest head that are believed: each layer holds a few numbers for each of them.
const MAX_HEADS: usize = 4096;
const MAX_HEAD_WIDTH: usize = 4096;

/// The longest list of sizes that is believed: one for each stage or convolution.
const MAX_LIST: usize = 64;

/// The largest configuration that is read; those with 21,000 labels have 2 MB.
const MAX_BYTES: u64 = 16 << 20;

/// A configuration file, or an object inside one.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    path: PathBuf,
    root: Arc<Value>,
    /// The object: its JSON pointer, and what stands before its fields in messages.
    pointer: String,
    prefix: String,
    /// What the fields are called in the file, by their names here.
    names: Arc<BTreeMap<String, String>>,
    /// Fields, with what stands before them, that are taken to have another value.
    supposed: BTreeMap<String, Value>,
    /// The sizes and truth values that were read, by the names of their fields in messages.
    readings: Arc<Mutex<BTreeMap<String, Reading>>>,
}

/// A size or truth value as it was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reading {
    /// It stands in the file.
    Given(Value),
    /// It does not; this is the family's default.
    Assumed(Value),
    /// It does not, and need not.
    Unset,
}

impl ConfigFile {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// When it cannot be read or is no JSON object.
    pub fn open(path: &Path) -> Result<ConfigFile, Error> {
        ConfigFile::parse(path, &read_small_file(path, MAX_BYTES)?)
    }

    /// Parses the text of a configuration; `path` is the name used in messages.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn parse(path: &Path, json: &[u8]) -> Result<ConfigFile, Error> {
        let root: Value = parse_json(path, json, "is no JSON")?;
        if !root.is_object() {
            return Err(Error::file(path, "must hold a JSON object"));
        }
        Ok(ConfigFile {
            path: path.to_owned(),
            root: Arc::new(root),
            pointer: String::new(),
            prefix: String::new(),
            names: Arc::default(),
            supposed: BTreeMap::new(),
            readings: Arc::default(),
        })
    }

    /// The same, whose fields have other names in messages, and in the file where it has those.
    pub(crate) fn with_names(self, names: BTreeMap<String, String>) -> ConfigFile {
        ConfigFile { names: Arc::new(names), ..self }
    }

    /// The same, whose fields, the first of each pair, may stand in the file under another name.
    pub(crate) fn renamed(&self, names: &[(&str, &str)]) -> ConfigFile {
        let others = names.iter().filter(|(field, _)| !self.has(field));
        let mut all = (*self.names).clone();
        all.extend(others.map(|(field, name)| ((*field).to_owned(), (*name).to_owned())));
        self.clone().with_names(all)
    }

    /// The same as if a field, written with what stands before it, had this value.
    pub(crate) fn supposing(&self, field: &str, value: Value) -> ConfigFile {
        let mut supposed = self.supposed.clone();
        supposed.insert(field.to_owned(), value);
        ConfigFile { supposed, readings: Arc::default(), ..self.clone() }
    }

    /// The same with numbers for fields that are absent: what a family's class has where Llama's has another.
    pub(crate) fn defaulting(&self, numbers: &[(&str, f64)]) -> ConfigFile {
        let mut supposed = self.supposed.clone();
        for (field, number) in numbers.iter().filter(|(field, _)| !self.has(field)) {
            supposed.insert(format!("{}{field}", self.prefix), (*number).into());
        }
        ConfigFile { supposed, ..self.clone() }
    }

    /// The same with other values than the file has, for fields written with what stands before them: what a family's own code makes
    /// of it.
    pub(crate) fn with_values(&self, values: impl IntoIterator<Item = (String, Value)>) -> ConfigFile {
        let mut supposed = self.supposed.clone();
        supposed.extend(values);
        ConfigFile { supposed, ..self.clone() }
    }

    /// The sizes and truth values that were read so far, by their fields as messages name them.
    pub(crate) fn readings(&self) -> BTreeMap<String, Reading> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is said of a field: `vocab_size is 1000`.
    pub(crate) fn origin(&self, field: &str, reading: &Reading) -> String {
        let name = self.name(field);
        match reading {
            Reading::Given(value) => format!("{name} is {value}"),
            Reading::Assumed(value) => {
                format!("{name} is not in the file; {value}, the family's default, was assumed")
            }
            Reading::Unset => format!("{name} is not in the file"),
        }
    }

    /// The file, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the field is there and not null.
    pub fn has(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    /// Whether the field is there and null.
    pub fn is_null(&self, field: &str) -> bool {
        self.object().get(field).is_some_and(Value::is_null)
    }

    /// The raw value of a field; `None` when absent or null.
    pub fn get(&self, field: &str) -> Option<&Value> {
        let whole = format!("{}{field}", self.prefix);
        let name = self.names.get(&whole);
        let supposed = self.supposed.get(&whole).or_else(|| self.supposed.get(name?));
        let value = supposed.or_else(|| self.object().get(field)).or_else(|| self.object().get(name?));
        value.filter(|value| !value.is_null())
    }

    fn object(&self) -> &Value {
        self.root.pointer(&self.pointer).unwrap_or(&Value::Null)
    }

    /// The object inside a field.
    ///
    /// # Errors
    /// When it is there but no object.
    pub fn section(&self, field: &str) -> Result<Option<ConfigFile>, Error> {
        match self.get(field) {
            None => Ok(None),
            Some(value) if value.is_object() => Ok(Some(ConfigFile {
                pointer: format!("{}/{field}", self.pointer),
                prefix: format!("{}{field}.", self.prefix),
                ..self.clone()
            })),
            Some(value) => Err(self.error(field, format!("is {}, but must be an object", brief(value)))),
        }
    }

    /// A size of at least 1.
    ///
    /// # Errors
    /// When absent, no whole number, 0, negative or above the limit.
    pub fn size(&self, field: &str) -> Result<usize, Error> {
        let size = self.given_size(field)?.or_else(|| self.assumed_before(field));
        size.ok_or_else(|| self.error(field, "is missing; it must be a whole number above 0"))
    }

    /// Names the size that a field has where it is absent; one that is null stays so.
    pub(crate) fn assume(&self, field: &str, size: usize) {
        if !self.has(field) && !self.is_null(field) {
            self.assumed(field, size);
        }
    }

    /// A size of at least 1, or `default` when absent.
    ///
    /// # Errors
    /// As [`ConfigFile::size`], but for absence.
    pub fn size_or(&self, field: &str, default: usize) -> Result<usize, Error> {
        Ok(self.given_size(field)?.unwrap_or_else(|| self.assumed(field, default)))
    }

    /// Height and width: two sizes of at least 1, one for both, or `default` when absent.
    ///
    /// # Errors
    /// As [`ConfigFile::size`], but for absence.
    pub fn sides_or(&self, field: &str, default: usize) -> Result<[usize; 2], Error> {
        let Some(Value::Array(sides)) = self.get(field) else { return Ok([self.size_or(field, default)?; 2]) };
        let side = |value: &Value| value.as_u64().filter(|n| (1..=MAX_SIZE).contains(n)).map(|n| n as usize);
        match sides.iter().map(side).collect::<Option<Vec<usize>>>().as_deref() {
            Some([height, width]) => Ok([*height, *width]),
            _ => {
                let value = brief(&Value::Array(sides.clone()));
                let message =
                    format!("is {value}, but must be a whole number from 1 to {MAX_SIZE}, or two: height, width");
                Err(self.error(field, message))
            }
        }
    }

    /// A list of sizes from 1 to `limit`, 1 to 64 of them, or `default` when absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn sizes_or(&self, field: &str, default: &[usize], limit: usize) -> Result<Vec<usize>, Error> {
        let Some(value) = self.get(field) else { return Ok(default.to_vec()) };
        let size = |value: &Value| value.as_u64().map(|n| n as usize).filter(|n| (1..=limit).contains(n));
        let sizes = value.as_array().and_then(|values| values.iter().map(size).collect::<Option<Vec<usize>>>());
        sizes.filter(|sizes| (1..=MAX_LIST).contains(&sizes.len())).ok_or_else(|| {
            let must = format!("must be a list of 1 to {MAX_LIST} whole numbers from 1 to {limit}");
            self.error(field, format!("is {}, but {must}", brief(value)))
        })
    }

    /// A size of at least 1, where there is one.
    ///
    /// # Errors
    /// As [`ConfigFile::size`], but for absence.
    pub fn size_or_none(&self, field: &str) -> Result<Option<usize>, Error> {
        let size = self.given_size(field)?.or_else(|| self.assumed_before(field));
        if size.is_none() {
            self.note(field, Reading::Unset);
        }
        Ok(size)
    }

    /// A size of at least 1, where there is one; 0 and negative numbers count as none.
    ///
    /// # Errors
    /// When it is no whole number or above the limit.
    pub fn size_or_off(&self, field: &str) -> Result<Option<usize>, Error> {
        match self.get(field) {
            Some(value) if value.as_i64().is_some_and(|n| n <= 0) => {
                self.note(field, Reading::Given(value.clone()));
                Ok(None)
            }
            _ => self.size_or_none(field),
        }
    }

    fn given_size(&self, field: &str) -> Result<Option<usize>, Error> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match value.as_u64() {
            Some(n @ 1..=MAX_SIZE) => {
                self.note(field, Reading::Given(value.clone()));
                Ok(Some(n as usize))
            }
            _ => {
                Err(self.error(field, format!("is {}, but must be a whole number from 1 to {MAX_SIZE}", brief(value))))
            }
        }
    }

    /// A number of layers, or `default` when absent.
    ///
    /// # Errors
    /// When it is no whole number from 1 to 4096.
    pub fn layers_or(&self, field: &str, default: usize) -> Result<usize, Error> {
        match self.get(field).and_then(Value::as_u64) {
            Some(n) if n > MAX_LAYERS as u64 => {
                Err(self.error(field, format!("is {n}; attlas reads models of up to {MAX_LAYERS} layers")))
            }
            _ => self.size_or(field, default),
        }
    }

    /// A whole number from 0 on, or `default` when absent.
    ///
    /// # Errors
    /// When it is something else, or above the limit.
    pub fn count_or(&self, field: &str, default: usize) -> Result<usize, Error> {
        let Some(value) = self.get(field) else { return Ok(self.assumed(field, default)) };
        match value.as_u64() {
            Some(n @ 0..=MAX_SIZE) => {
                self.note(field, Reading::Given(value.clone()));
                Ok(n as usize)
            }
            _ => {
                Err(self.error(field, format!("is {}, but must be a whole number from 0 to {MAX_SIZE}", brief(value))))
            }
        }
    }

    /// A finite number, or `default` when absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn number_or(&self, field: &str, default: f64) -> Result<f64, Error> {
        let Some(value) = self.get(field) else { return Ok(default) };
        value
            .as_f64()
            .filter(|number| number.is_finite())
            .ok_or_else(|| self.error(field, format!("is {}, but must be a finite number", brief(value))))
    }

    /// A finite number above 0, or `default` when absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn positive_or(&self, field: &str, default: f64) -> Result<f64, Error> {
        let number = self.number_or(field, default)?;
        if number > 0.0 { Ok(number) } else { Err(self.error(field, format!("is {number}, but must be above 0"))) }
    }

    /// Whether a finite number, or `default` when absent, is above 0, where that decides about what there is.
    ///
    /// # Errors
    /// When it is something else.
    pub fn is_positive_or(&self, field: &str, default: f64) -> Result<bool, Error> {
        let number = self.number_or(field, default)?;
        let reading = match self.get(field) {
            Some(value) => Reading::Given(value.clone()),
            None => Reading::Assumed(default.into()),
        };
        self.note(field, reading);
        Ok(number > 0.0)
    }

    /// A truth value, or `default` when absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn flag_or(&self, field: &str, default: bool) -> Result<bool, Error> {
        let Some(value) = self.get(field) else {
            self.note(field, Reading::Assumed(default.into()));
            return Ok(default);
        };
        self.note(field, Reading::Given(value.clone()));
        let wrong = || self.error(field, format!("is {}, but must be true or false", brief(value)));
        value.as_bool().ok_or_else(wrong)
    }

    /// A text, where there is one.
    ///
    /// # Errors
    /// When it is something else.
    pub fn text(&self, field: &str) -> Result<Option<&str>, Error> {
        let Some(value) = self.get(field) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.error(field, format!("is {}, but must be a text", brief(value))))
    }

    /// A text, or `default` when absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn text_or<'a>(&'a self, field: &str, default: &'a str) -> Result<&'a str, Error> {
        Ok(self.text(field)?.unwrap_or(default))
    }

    /// A token id below `n_tokens`, where there is one; −1 counts as none.
    ///
    /// # Errors
    /// When it is something else.
    pub fn id(&self, field: &str, n_tokens: usize) -> Result<Option<u32>, Error> {
        Ok(self.ids(field, n_tokens)?.first().copied())
    }

    /// One token id or a list of them, each below `n_tokens`; empty when absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn ids(&self, field: &str, n_tokens: usize) -> Result<Vec<u32>, Error> {
        let one =
            |value: &Value| match value.as_i64() {
                Some(id) if id >= 0 && (id as u64) < n_tokens as u64 => Ok(id as u32),
                _ => Err(self
                    .error(field, format!("is {}, but must be a token id from 0 to {}", brief(value), n_tokens - 1))),
            };
        match self.get(field) {
            None => Ok(Vec::new()),
            Some(value) if value.as_i64() == Some(-1) => Ok(Vec::new()),
            Some(Value::Array(values)) => values.iter().map(one).collect(),
            Some(value) => Ok(vec![one(value)?]),
        }
    }

    /// The token ids that all fields of an object hold, in the order of the fields' names.
    ///
    /// # Errors
    /// When one holds something else.
    pub fn all_ids(&self, n_tokens: usize) -> Result<Vec<u32>, Error> {
        let fields = self.object().as_object().into_iter().flat_map(|object| object.keys());
        Ok(fields.map(|field| self.ids(field, n_tokens)).collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// A list of numbers, where there is one.
    ///
    /// # Errors
    /// When it is something else.
    pub fn numbers(&self, field: &str) -> Result<Option<Vec<f64>>, Error> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let numbers = value.as_array().and_then(|values| values.iter().map(Value::as_f64).collect());
        numbers.map(Some).ok_or_else(|| self.error(field, "must be a list of numbers"))
    }

    /// A list of texts, where there is one.
    ///
    /// # Errors
    /// When it is something else.
    pub fn texts(&self, field: &str) -> Result<Option<Vec<&str>>, Error> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let texts = value.as_array().and_then(|values| values.iter().map(Value::as_str).collect());
        texts.map(Some).ok_or_else(|| self.error(field, "must be a list of texts"))
    }

    /// A non-linearity by the name that transformers gives it, or `default` when absent.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn activation_or(&self, field: &str, default: &str) -> Result<Activation, Error> {
        let name = self.text_or(field, default)?;
        match name {
            "relu" => Ok(Activation::Relu),
            "relu2" => Ok(Activation::SquaredRelu),
            "gelu" | "gelu_python" => Ok(Activation::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" | "gelu_python_tanh" => Ok(Activation::GeluTanh),
            "quick_gelu" => Ok(Activation::QuickGelu),
            "silu" | "swish" => Ok(Activation::Silu),
            "tanh" => Ok(Activation::Tanh),
            "linear" => Ok(Activation::Identity),
            _ => Err(self.error(
                field,
                format!("is \"{name}\"; attlas knows relu, relu2, gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, silu, tanh and linear"),
            )),
        }
    }

    /// The width of a head: `width / n_heads`, which must divide.
    ///
    /// # Errors
    /// When it does not, the message names both fields; or when there are too many heads or too wide ones.
    pub fn head_width(
        &self,
        heads_field: &str,
        n_heads: usize,
        width_field: &str,
        width: usize,
    ) -> Result<usize, Error> {
        if n_heads > MAX_HEADS {
            return Err(self.error(heads_field, format!("is {n_heads}; attlas reads up to {MAX_HEADS} heads a layer")));
        }
        if !width.is_multiple_of(n_heads) {
            let message = format!("is {n_heads}, but {width_field} {width} is not divisible by it");
            return Err(self.error(heads_field, message));
        }
        match width / n_heads {
            d_head @ ..=MAX_HEAD_WIDTH => Ok(d_head),
            d_head => Err(self.error(
                heads_field,
                format!("is {n_heads}, so that {width_field} {width} makes heads of {d_head}; up to {MAX_HEAD_WIDTH} are read"),
            )),
        }
    }

    /// The width of a head that a field gives, or that of `n_heads` heads side by side.
    ///
    /// # Errors
    /// When it is no size, or there are too many heads or too wide ones.
    pub fn own_head_width(
        &self,
        field: &str,
        [heads_field, width_field]: [&str; 2],
        [n_heads, width]: [usize; 2],
    ) -> Result<usize, Error> {
        match self.size_or_none(field)? {
            Some(d_head @ ..=MAX_HEAD_WIDTH) if n_heads <= MAX_HEADS => Ok(d_head),
            Some(d_head) if d_head > MAX_HEAD_WIDTH => {
                Err(self.error(field, format!("is {d_head}; attlas reads heads of up to {MAX_HEAD_WIDTH}")))
            }
            Some(_) => {
                Err(self.error(heads_field, format!("is {n_heads}; attlas reads up to {MAX_HEADS} heads a layer")))
            }
            None => self.head_width(heads_field, n_heads, width_field, width),
        }
    }

    /// Refuses a value that the generic block cannot express.
    ///
    /// # Errors
    /// When the field is there and is not `expected`.
    pub fn must_be(&self, field: &str, expected: &Value) -> Result<(), Error> {
        match self.get(field) {
            Some(value) if value != expected => {
                Err(self.error(field, format!("is {}; attlas supports only {expected} for this family", brief(value))))
            }
            _ => Ok(()),
        }
    }

    /// An error about one of the fields. Of fields that it names and that are not in the file, it says that their values
    /// are the family's.
    pub fn error(&self, field: &str, message: impl Into<String>) -> Error {
        let field = format!("{}{field}", self.prefix);
        let mut message = message.into();
        let readings = self.readings();
        let assumed =
            |field: &str| readings.get(&self.name(field)).filter(|reading| matches!(reading, Reading::Assumed(_)));
        if let Some(Reading::Assumed(value)) = assumed(&field)
            && let Some(rest) = message.strip_prefix(&format!("is {value}"))
        {
            message = format!("is not in the file and was taken as {value}, the family's default{rest}");
        }
        let words: BTreeSet<String> = fields_in(&message).map(|word| format!("{}{word}", self.prefix)).collect();
        for other in words.iter().filter(|other| **other != field) {
            if let Some(reading) = assumed(other) {
                message = format!("{message}; {}", self.origin(other, reading));
            }
        }
        Error::config(&self.path, self.name(&field), self.named(&message))
    }

    /// What a field is called in messages.
    fn name(&self, field: &str) -> String {
        self.names.get(field).cloned().unwrap_or_else(|| field.to_owned())
    }

    /// A message with the fields' other names.
    fn named(&self, message: &str) -> String {
        let names: BTreeSet<&str> = fields_in(message).filter(|word| self.names.contains_key(*word)).collect();
        names.into_iter().fold(message.to_owned(), |message, field| message.replace(field, &self.name(field)))
    }

    /// The value of a field that is absent: the first default that was named for it, so that all who ask get the same.
    fn assumed(&self, field: &str, default: usize) -> usize {
        match self.note(field, Reading::Assumed(default.into())) {
            Reading::Assumed(first) => first.as_u64().map_or(default, |first| first as usize),
            _ => default,
        }
    }

    /// The size that was named for a field that is absent.
    fn assumed_before(&self, field: &str) -> Option<usize> {
        let readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        match readings.get(&format!("{}{field}", self.prefix)) {
            Some(Reading::Assumed(size)) if !self.has(field) => size.as_u64().map(|size| size as usize),
            _ => None,
        }
    }

    /// Notes what was read of a field; returns what was noted first.
    fn note(&self, field: &str, reading: Reading) -> Reading {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        readings.entry(self.name(&format!("{}{field}", self.prefix))).or_insert(reading).clone()
    }
}

/// The words of a sentence that may be fields.
fn fields_in(message: &str) -> impl Iterator<Item = &str> {
    message.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// A value as it is written in a message: whole, unless it is long.
fn brief(value: &Value) -> String {
    let (text, limit) = (value.to_string(), 100);
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
