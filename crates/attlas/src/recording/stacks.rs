//! Several stacks in one recording.

use super::Recording;
use crate::{Error, Item, Kind, Layer};

impl Recording {
    /// Puts the layers of another recording of as many texts beside these, as a stack of their own: what they look at becomes an axis of
    /// the items, both called `name`. Notes that both have stand once.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when there are fewer or more texts, or the other recording has two sides or stacks itself.
    pub fn beside(mut self, name: &str, other: Recording) -> Result<Recording, Error> {
        let (n, n_other) = (self.items.len(), other.items.len());
        if n != n_other {
            let message = format!("a stack of {n_other} texts cannot stand beside {n} texts: there must be as many");
            return Err(Error::Inconsistent(message));
        }
        let is_plain = |layer: &Layer| layer.kind != Kind::Cross && layer.stack.is_none() && layer.query_axis.is_none();
        let is_one_sided = |item: &Item| item.source.is_empty() || item.target.is_empty();
        if !other.layers.iter().all(is_plain) || !other.items.iter().all(is_one_sided) {
            let message = format!("what is to be the stack \"{name}\" has two sides, or stacks of its own");
            return Err(Error::Inconsistent(message));
        }
        for (item, other) in self.items.iter_mut().zip(other.items) {
            let tokens = if other.target.is_empty() { other.source } else { other.target };
            item.axes.insert(name.to_owned(), tokens);
        }
        let own = |layer: Layer| {
            let [stack, query_axis, key_axis] = [(); 3].map(|()| Some(name.to_owned()));
            Layer { stack, query_axis, key_axis, ..layer }
        };
        self.layers.extend(other.layers.into_iter().map(own));
        let notes = &mut self.provenance.notes;
        other.provenance.notes.into_iter().for_each(|note| {
            if !notes.contains(&note) {
                notes.push(note);
            }
        });
        Ok(self)
    }
}
