//! What the axes of an array are, and its numbers in the order in which a recording holds weights.

use std::fmt;
use std::str::FromStr;

/// What an axis of an array runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// The layers of a stack.
    Layers,
    /// The texts of a batch.
    Batch,
    /// The heads of a layer.
    Heads,
    /// The rows of a map.
    Queries,
    /// The columns of a map.
    Keys,
}

impl Axis {
    /// All axes, in the order in which weights are held, outermost first.
    pub const ALL: [Axis; 5] = [Axis::Layers, Axis::Batch, Axis::Heads, Axis::Queries, Axis::Keys];

    /// The name: `layers`, `batch`, `heads`, `queries`, `keys`.
    pub fn name(self) -> &'static str {
        match self {
            Axis::Layers => "layers",
            Axis::Batch => "batch",
            Axis::Heads => "heads",
            Axis::Queries => "queries",
            Axis::Keys => "keys",
        }
    }

    /// So many of what the axis runs over: `3 texts`, `1 query`.
    fn counted(self, n: usize) -> String {
        let (one, several) = match self {
            Axis::Layers => ("layer", "layers"),
            Axis::Batch => ("text", "texts"),
            Axis::Heads => ("head", "heads"),
            Axis::Queries => ("query", "queries"),
            Axis::Keys => ("key", "keys"),
        };
        format!("{n} {}", if n == 1 { one } else { several })
    }
}

/// The axes of an array, outermost first: each at most once, queries and keys among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axes(Vec<Axis>);

impl Axes {
    /// What the axes of an array are that nobody named: the last ones of layers, texts, heads, queries and keys, but layers
    /// before texts where there are four, unless the array is known to be one layer. `None` for fewer than 2 or more than 5.
    pub(super) fn usual(n_axes: usize, is_one_layer: bool) -> Option<Axes> {
        use Axis::{Batch, Heads, Keys, Layers, Queries};
        Some(Axes(match (n_axes, is_one_layer) {
            (2, _) => vec![Queries, Keys],
            (3, _) => vec![Heads, Queries, Keys],
            (4, false) => vec![Layers, Heads, Queries, Keys],
            (4, true) => vec![Batch, Heads, Queries, Keys],
            (5, false) => Axis::ALL.to_vec(),
            _ => return None,
        }))
    }

    /// How many axes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether `axis` is among them.
    pub fn has(&self, axis: Axis) -> bool {
        self.0.contains(&axis)
    }

    /// The sizes in the order of [`Axis::ALL`] of an array with these axes and this shape; 1 where there is no such axis.
    pub(super) fn sizes(&self, shape: &[usize]) -> [usize; 5] {
        Axis::ALL.map(|axis| self.0.iter().position(|own| *own == axis).map_or(1, |place| shape[place]))
    }

    /// How an array of this shape is read: `3 heads × 6 queries × 6 keys`.
    pub(super) fn told(&self, shape: &[usize]) -> String {
        let counted: Vec<String> = self.0.iter().zip(shape).map(|(axis, n)| axis.counted(*n)).collect();
        counted.join(" × ")
    }

    /// Numbers with these axes and this shape in the order of [`Axis::ALL`]; the same memory where they lie so already.
    ///
    /// Fails with the end of a sentence when there is no memory for both.
    pub(super) fn ordered(&self, numbers: Vec<f32>, shape: &[usize]) -> Result<Vec<f32>, String> {
        let mut steps = vec![1; shape.len()]; // from one index to the next along each axis
        for axis in (1..shape.len()).rev() {
            steps[axis - 1] = steps[axis] * shape[axis];
        }
        let place = |axis: Axis| self.0.iter().position(|own| *own == axis);
        let strides = Axis::ALL.map(|axis| place(axis).map_or(0, |place| steps[place]));
        let sizes = self.sizes(shape);
        let moving = sizes.iter().zip(strides).filter(|(size, _)| **size > 1).map(|(_, stride)| stride);
        if moving.is_sorted_by(|outer, inner| outer > inner) {
            return Ok(numbers);
        }
        let mut ordered = Vec::new();
        let n = numbers.len();
        ordered.try_reserve_exact(n).map_err(|_| format!("putting its {n} numbers in order needs more memory"))?;
        let [layers, texts, heads, queries, keys] = sizes;
        for map in 0..layers * texts * heads {
            let (layer, text, head) = (map / (texts * heads), map / heads % texts, map % heads);
            let first = layer * strides[0] + text * strides[1] + head * strides[2];
            for query in 0..queries {
                let row = first + query * strides[3];
                ordered.extend((0..keys).map(|key| numbers[row + key * strides[4]]));
            }
        }
        Ok(ordered)
    }
}

impl FromStr for Axes {
    type Err = String;

    fn from_str(text: &str) -> Result<Axes, String> {
        let mut axes = Vec::new();
        for name in text.split(',').map(str::trim) {
            let Some(axis) = Axis::ALL.into_iter().find(|axis| axis.name() == name) else {
                return Err(format!("{name:?} is no axis; there are layers, batch, heads, queries and keys"));
            };
            if axes.contains(&axis) {
                return Err(format!("{name} stands twice"));
            }
            axes.push(axis);
        }
        match [Axis::Queries, Axis::Keys].into_iter().find(|axis| !axes.contains(axis)) {
            Some(missing) => Err(format!("{} is missing; every array of maps has queries and keys", missing.name())),
            None => Ok(Axes(axes)),
        }
    }
}

impl fmt::Display for Axes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|axis| axis.name()).collect();
        f.write_str(&names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_names_each_once_with_queries_and_keys() {
        let axes: Axes = "batch, heads,queries,keys".parse().unwrap();
        assert_eq!(axes.to_string(), "batch, heads, queries, keys");
        assert_eq!(axes.told(&[3, 1, 6, 5]), "3 texts × 1 head × 6 queries × 5 keys");
        let refused = |text: &str| text.parse::<Axes>().unwrap_err();
        assert_eq!(refused("batch,rows,keys"), "\"rows\" is no axis; there are layers, batch, heads, queries and keys");
        assert_eq!(refused("heads,heads,queries,keys"), "heads stands twice");
        assert_eq!(refused("heads,keys"), "queries is missing; every array of maps has queries and keys");
    }

    #[test]
    fn numbers_are_put_in_the_order_of_a_recording() {
        let numbers: Vec<f32> = (0..24_u8).map(f32::from).collect();
        let ordered = |axes: &str, shape: &[usize]| axes.parse::<Axes>().unwrap().ordered(numbers.clone(), shape);
        let same = ordered("layers,batch,heads,queries,keys", &[2, 1, 3, 2, 2]).unwrap();
        assert_eq!(same, numbers);
        // [keys 4, queries 3, heads 2]: number = 6 key + 2 query + head
        let turned = ordered("keys,queries,heads", &[4, 3, 2]).unwrap();
        let at = |head: u8, query: u8, key: u8| f32::from(6 * key + 2 * query + head);
        let wanted = (0..24).map(|place: u8| at(place / 12, place / 4 % 3, place % 4));
        assert_eq!(turned, wanted.collect::<Vec<_>>());
        // [batch 3, layers 2, …]
        let turned = ordered("batch,layers,queries,keys", &[3, 2, 2, 2]).unwrap();
        let wanted = (0..24).map(|place: u8| f32::from(place / 4 % 3 * 8 + place / 12 * 4 + place % 4));
        assert_eq!(turned, wanted.collect::<Vec<_>>());
    }
}
