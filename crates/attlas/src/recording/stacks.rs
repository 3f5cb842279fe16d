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
            if let Some(grid) = other.image {
                item.grids.insert(name.to_owned(), vec![grid]);
            }
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

    /// The layers of a stack that [`beside`](Self::beside) put here, as a recording of its own; `None` when there is none of that name.
    pub fn stack_alone(&self, name: &str) -> Option<Recording> {
        let is_own = |layer: &&Layer| is_beside(layer) && layer.stack.as_deref() == Some(name);
        let plain = |layer: &Layer| Layer { stack: None, query_axis: None, key_axis: None, ..layer.clone() };
        let layers: Vec<Layer> = self.layers.iter().filter(is_own).map(plain).collect();
        let kind = layers.first()?.kind;
        let item = |item: &Item| {
            let tokens = item.axes.get(name).cloned().unwrap_or_default();
            match kind {
                Kind::Decoder => Item { target: tokens, ..Item::default() },
                _ => {
                    let image = item.grids.get(name).and_then(|grids| grids.first()).cloned();
                    Item { source: tokens, image, ..Item::default() }
                }
            }
        };
        let items = self.items.iter().map(item).collect();
        Some(Recording { items, layers, provenance: self.provenance.clone() })
    }

    /// Takes the stacks that [`beside`](Self::beside) put here away; their names.
    pub fn drop_stacks(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        self.layers.retain(|layer| match &layer.stack {
            Some(name) if is_beside(layer) => {
                if !names.contains(name) {
                    names.push(name.clone());
                }
                false
            }
            _ => true,
        });
        for item in &mut self.items {
            for name in &names {
                item.axes.remove(name);
                item.grids.remove(name);
            }
        }
        names
    }
}

/// Whether a layer belongs to a stack that has an axis of the same name, and looks at that alone.
fn is_beside(layer: &Layer) -> bool {
    layer.stack.is_some() && layer.stack == layer.query_axis && layer.stack == layer.key_axis
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::Shape;
    use crate::{PatchGrid, Provenance, Token, Tokens, Weights};

    #[test]
    fn a_tower_of_images_takes_their_grid_along() {
        let grid = |first| PatchGrid { first, rows: 1, columns: 2, size: None, seen: None };
        let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: 3, n_keys: 3, d_head: 1, d_value: 1 };
        let layer = |kind| Layer::new(kind, 0, shape, Weights::Dense(vec![1.0 / 3.0; 9].into()));
        let tokens = || Tokens::from_labels(["a", "r0c0", "r0c1"]);
        let item = Item { source: tokens(), image: Some(grid(1)), ..Item::default() };
        let provenance = Provenance::default();
        let tower = Recording { items: vec![item], layers: vec![layer(Kind::Encoder)], provenance: provenance.clone() };
        let grids = [("target".to_owned(), vec![grid(1)])].into_iter().collect();
        let item = Item { target: tokens(), grids, ..Item::default() };
        let text = Recording { items: vec![item], layers: vec![layer(Kind::Decoder)], provenance };
        let mut both = text.clone().beside("vision", tower.clone()).unwrap();
        let [text_layer, tower_layer] = &both.layers[..] else { panic!("two layers") };
        assert_eq!(
            (text_layer.key_images(&both.items[0]), tower_layer.key_images(&both.items[0])),
            (&[grid(1)][..], &[grid(1)][..])
        );
        let read = |both: &Recording| Recording::from_bytes(std::sync::Arc::new(both.to_bytes().unwrap()));
        assert_eq!(read(&both).unwrap().items, both.items);
        assert_eq!(both.stack_alone("vision").unwrap().items, tower.items);
        for (axis, grids, says) in [
            ("nowhere", vec![grid(1)], "neither the target nor one of the axes"),
            ("target", vec![grid(2)], "from token 2 on lies among tokens 0 to 3"),
            ("target", vec![grid(0), grid(1)], "from token 1 on lies among tokens 2 to 3"),
        ] {
            let mut wrong = both.clone();
            wrong.items[0].grids.insert(axis.to_owned(), grids);
            let error = wrong.to_bytes().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert_eq!(both.drop_stacks(), ["vision"]);
        assert_eq!(both.items, text.items);
    }

    #[test]
    fn a_stack_that_was_put_beside_others_comes_out_as_it_went_in() {
        let recording = |kind: Kind, n: usize| {
            let tokens = Tokens { text: String::new(), tokens: vec![Token::labelled("a"); n] };
            let item = match kind {
                Kind::Decoder => Item { target: tokens, ..Item::default() },
                _ => Item { source: tokens, ..Item::default() },
            };
            let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: n, n_keys: n, d_head: 1, d_value: 1 };
            let layer = Layer::new(kind, 0, shape, Weights::Dense(vec![1.0 / n as f32; n * n].into()));
            Recording { items: vec![item], layers: vec![layer], provenance: Provenance::default() }
        };
        let seen = recording(Kind::Encoder, 3);
        for kind in [Kind::Encoder, Kind::Decoder] {
            let read = recording(kind, 2);
            let mut both = seen.clone().beside("text", read.clone()).unwrap();
            let alone = both.stack_alone("text").unwrap();
            assert_eq!((&alone.layers, &alone.items), (&read.layers, &read.items));
            assert!(both.stack_alone("vision").is_none() && seen.stack_alone("text").is_none());
            assert_eq!(both.drop_stacks(), ["text"]);
            assert_eq!((&both.layers, &both.items), (&seen.layers, &seen.items));
            assert!(both.drop_stacks().is_empty());
        }
    }
}
