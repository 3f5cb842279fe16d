//! What `torch.save` wrote, whatever its form: a tensor, or tuples, lists and dictionaries of tensors and texts.

use std::path::Path;
use std::rc::Rc;

use super::Tensor;
use super::pickle::{Machine, Value, View};
use super::pickle_file::{self, Contents, Source};
use crate::Error;

/// The most things that are taken out of one file; lists that share others could name more than any memory holds.
const MAX_THINGS: usize = 1 << 20;
/// The most bytes of texts and names that are taken out of one file, which may name each of them again and again.
const MAX_TEXT: usize = 64 << 20;
/// How deep lists may lie in one another.
const MAX_DEPTH: usize = 8;

/// One thing of a file.
#[derive(Debug, Clone)]
pub enum Saved {
    /// A tensor, not yet read.
    Tensor(Tensor),
    /// A text.
    Text(String),
    /// A tuple or list.
    List(Vec<Saved>),
    /// A dictionary, in its order; keys that are no texts are left out, with their values.
    Named(Vec<(String, Saved)>),
    /// A number, `None` and the like.
    Other,
}

/// What a file of `torch.save` holds, read with the machine that reads weights: no code of the file runs, and what is neither
/// tensor, text, number, tuple, list nor dictionary is refused by its name.
///
/// # Errors
/// A file that is absent or malformed, and one that holds more, or deeper lists, than the limits allow.
pub fn open_saved(path: &Path) -> Result<Saved, Error> {
    let (source, contents) = pickle_file::open(path, all_views)?;
    let mut taking = Taking { source: &source, contents: &contents, n_left: MAX_THINGS, text_left: MAX_TEXT };
    let saved = taking.take(&contents.value, 0)?;
    let mut tensors = Vec::new();
    saved.collect(&mut tensors);
    source.refuse_sharing(tensors.into_iter())?;
    Ok(saved)
}

impl Saved {
    /// All tensors, in order.
    fn collect<'a>(&'a self, tensors: &mut Vec<&'a Tensor>) {
        match self {
            Saved::Tensor(tensor) => tensors.push(tensor),
            Saved::List(items) => items.iter().for_each(|item| item.collect(tensors)),
            Saved::Named(entries) => entries.iter().for_each(|(_, item)| item.collect(tensors)),
            Saved::Text(_) | Saved::Other => {}
        }
    }
}

/// All tensors of a pickle, wherever they lie.
fn all_views(source: &Source, machine: &Machine, value: &Value) -> Result<Vec<Rc<View>>, Error> {
    let (mut views, mut left, mut n_left) = (Vec::new(), vec![(value, 0)], MAX_THINGS);
    while let Some((value, depth)) = left.pop() {
        n_left = check(source, n_left, depth)?;
        if let Value::Tensor(view) = value {
            views.push(Rc::clone(view));
        }
        let items = machine.list(value).unwrap_or_default();
        let values = machine.dict(value).unwrap_or_default().iter().map(|(_, value)| value);
        left.extend(items.iter().chain(values).map(|value| (value, depth + 1)));
    }
    Ok(views)
}

/// One thing less that may be taken, at a depth that is allowed.
fn check(source: &Source, n_left: usize, depth: usize) -> Result<usize, Error> {
    if depth > MAX_DEPTH {
        return source.refuse(format!("has lists more than {MAX_DEPTH} deep in one another"));
    }
    match n_left.checked_sub(1) {
        Some(n_left) => Ok(n_left),
        None => source.refuse(format!("holds more than {MAX_THINGS} things")),
    }
}

/// Values of the pickle machine on their way to things.
struct Taking<'a> {
    source: &'a Source,
    contents: &'a Contents,
    n_left: usize,
    /// Bytes of texts that may still be taken.
    text_left: usize,
}

impl Taking<'_> {
    fn text(&mut self, text: &str) -> Result<String, Error> {
        let Some(left) = self.text_left.checked_sub(text.len()) else {
            return self.source.refuse(format!("holds texts of more than {} MB together", MAX_TEXT >> 20));
        };
        self.text_left = left;
        Ok(text.to_owned())
    }

    fn take(&mut self, value: &Value, depth: usize) -> Result<Saved, Error> {
        self.n_left = check(self.source, self.n_left, depth)?;
        let machine = &self.contents.machine;
        if let Some(items) = machine.list(value) {
            return Ok(Saved::List(items.iter().map(|item| self.take(item, depth + 1)).collect::<Result<_, _>>()?));
        }
        if let Some(entries) = machine.dict(value) {
            let named = entries.iter().filter_map(|(key, value)| match key {
                Value::Text(name) => Some((name, value)),
                _ => None,
            });
            let taken = named.map(|(name, value)| Ok((self.text(name)?, self.take(value, depth + 1)?)));
            return Ok(Saved::Named(taken.collect::<Result<_, Error>>()?));
        }
        Ok(match value {
            Value::Tensor(view) => Saved::Tensor(
                self.source
                    .tensor(view, self.contents)
                    .map_err(|reason| Error::file(&self.source.path, format!("has a tensor that {reason}")))?,
            ),
            Value::Text(text) => Saved::Text(self.text(text)?),
            _ => Saved::Other,
        })
    }
}
