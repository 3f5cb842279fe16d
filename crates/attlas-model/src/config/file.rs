//! A model's config.json: every value is checked for type and range where it is read.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Activation;
use crate::Error;
use crate::weights::{MAX_JSON_BYTES, read_small_file};

/// The largest width, vocabulary or number of positions that is believed.
const MAX_SIZE: u64 = 1 << 24;

/// The deepest stack that is believed.
const MAX_LAYERS: usize = 4096;

/// A configuration file, or an object inside one.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    path: PathBuf,
    prefix: String,
    value: Value,
}

impl ConfigFile {
    /// The widest head: tables of as many angles are made for each layer, before the weights are looked at.
    pub const MOST_HEAD_WIDTH: usize = 1 << 14;

    /// Reads `config.json`.
    ///
    /// # Errors
    /// When it cannot be read or is no JSON object.
    pub fn open(path: &Path) -> Result<ConfigFile, Error> {
        ConfigFile::parse(path, &read_small_file(path, MAX_JSON_BYTES)?)
    }

    /// Parses the text of a configuration; `path` is the name used in messages.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn parse(path: &Path, json: &[u8]) -> Result<ConfigFile, Error> {
        let value: Value =
            serde_json::from_slice(json).map_err(|error| Error::file(path, format!("is no JSON: {error}")))?;
        if !value.is_object() {
            return Err(Error::file(path, "must hold a JSON object"));
        }
        Ok(ConfigFile { path: path.to_owned(), prefix: String::new(), value })
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
        self.value.get(field).is_some_and(Value::is_null)
    }

    /// The raw value of a field; `None` when absent or null.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.value.get(field).filter(|value| !value.is_null())
    }

    /// The object inside a field.
    ///
    /// # Errors
    /// When it is there but no object.
    pub fn section(&self, field: &str) -> Result<Option<ConfigFile>, Error> {
        match self.get(field) {
            None => Ok(None),
            Some(value) if value.is_object() => Ok(Some(ConfigFile {
                path: self.path.clone(),
                prefix: format!("{}{field}.", self.prefix),
                value: value.clone(),
            })),
            Some(value) => Err(self.error(field, format!("is {value}, but must be an object"))),
        }
    }

    /// A size of at least 1.
    ///
    /// # Errors
    /// When absent, no whole number, 0, negative or above the limit.
    pub fn size(&self, field: &str) -> Result<usize, Error> {
        self.size_or_none(field)?.ok_or_else(|| self.error(field, "is missing; it must be a whole number above 0"))
    }

    /// A size of at least 1, or `default` when absent.
    ///
    /// # Errors
    /// As [`ConfigFile::size`], but for absence.
    pub fn size_or(&self, field: &str, default: usize) -> Result<usize, Error> {
        Ok(self.size_or_none(field)?.unwrap_or(default))
    }

    /// A size of at least 1, where there is one.
    ///
    /// # Errors
    /// As [`ConfigFile::size`], but for absence.
    pub fn size_or_none(&self, field: &str) -> Result<Option<usize>, Error> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match value.as_u64() {
            Some(n @ 1..=MAX_SIZE) => Ok(Some(n as usize)),
            _ => Err(self.error(field, format!("is {value}, but must be a whole number from 1 to {MAX_SIZE}"))),
        }
    }

    /// A number of layers, or `default` when absent.
    ///
    /// # Errors
    /// When it is no whole number from 1 to 4096.
    pub fn layers_or(&self, field: &str, default: usize) -> Result<usize, Error> {
        match self.size_or(field, default)? {
            n @ 1..=MAX_LAYERS => Ok(n),
            n => Err(self.error(field, format!("is {n}; attlas reads models of up to {MAX_LAYERS} layers"))),
        }
    }

    /// A whole number from 0 on, or `default` when absent.
    ///
    /// # Errors
    /// When it is something else, or above the limit.
    pub fn count_or(&self, field: &str, default: usize) -> Result<usize, Error> {
        let Some(value) = self.get(field) else { return Ok(default) };
        match value.as_u64() {
            Some(n @ 0..=MAX_SIZE) => Ok(n as usize),
            _ => Err(self.error(field, format!("is {value}, but must be a whole number from 0 to {MAX_SIZE}"))),
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
            .ok_or_else(|| self.error(field, format!("is {value}, but must be a finite number")))
    }

    /// A finite number above 0, or `default` when absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn positive_or(&self, field: &str, default: f64) -> Result<f64, Error> {
        let number = self.number_or(field, default)?;
        if number > 0.0 { Ok(number) } else { Err(self.error(field, format!("is {number}, but must be above 0"))) }
    }

    /// A truth value, or `default` when absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn flag_or(&self, field: &str, default: bool) -> Result<bool, Error> {
        let Some(value) = self.get(field) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.error(field, format!("is {value}, but must be true or false")))
    }

    /// A text, where there is one.
    ///
    /// # Errors
    /// When it is something else.
    pub fn text(&self, field: &str) -> Result<Option<&str>, Error> {
        let Some(value) = self.get(field) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.error(field, format!("is {value}, but must be a text")))
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
        let one = |value: &Value| match value.as_i64() {
            Some(id) if id >= 0 && (id as u64) < n_tokens as u64 => Ok(id as u32),
            _ => Err(self.error(field, format!("is {value}, but must be a token id from 0 to {}", n_tokens - 1))),
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
        let fields = self.value.as_object().into_iter().flat_map(|object| object.keys());
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
    /// When it does not, or the head is wider than [`ConfigFile::MOST_HEAD_WIDTH`]; the message names both fields.
    pub fn head_width(
        &self,
        heads_field: &str,
        n_heads: usize,
        width_field: &str,
        width: usize,
    ) -> Result<usize, Error> {
        if width.is_multiple_of(n_heads) && width / n_heads <= Self::MOST_HEAD_WIDTH {
            return Ok(width / n_heads);
        }
        if width.is_multiple_of(n_heads) {
            let (n, most) = (width / n_heads, Self::MOST_HEAD_WIDTH);
            return Err(self.error(
                width_field,
                format!(
                    "is {width}, which gives each of {n_heads} heads {n} numbers; attlas reads heads of up to {most}"
                ),
            ));
        }
        Err(self.error(heads_field, format!("is {n_heads}, but {width_field} {width} is not divisible by it")))
    }

    /// Refuses a value that the generic block cannot express.
    ///
    /// # Errors
    /// When the field is there and is not `expected`.
    pub fn must_be(&self, field: &str, expected: &Value) -> Result<(), Error> {
        match self.get(field) {
            Some(value) if value != expected => {
                Err(self.error(field, format!("is {value}; attlas supports only {expected} for this family")))
            }
            _ => Ok(()),
        }
    }

    /// An error about one of the fields.
    pub fn error(&self, field: &str, message: impl Into<String>) -> Error {
        Error::config(&self.path, format!("{}{field}", self.prefix), message)
    }
}
