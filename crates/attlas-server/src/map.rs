//! A map as it is asked for: of one head or the mean over a layer's, along two axes of places.

use std::ops::Range;
use std::sync::Arc;

use attlas::attention::Shape;
use attlas::{AttentionMap, Error, Factored, HeadNumbers, Layer};

use crate::library::Served;
use crate::places::Places;

/// What a question is about.
#[derive(Clone)]
pub struct Asked {
    pub recording: Arc<Served>,
    /// The place of the layer in [`Served::layers`].
    pub layer: usize,
    pub item: usize,
    /// The heads whose mean is meant.
    pub heads: Range<usize>,
    pub queries: Arc<Places>,
    pub keys: Arc<Places>,
}

/// The numbers of the heads of an [`Asked`]: in memory, or to be read of the file for the queries that are asked for.
pub enum Source {
    Memory(Vec<Arc<HeadNumbers>>),
    File,
}

/// The rows of the mean over some heads.
pub enum Rows<'a> {
    Maps(Vec<AttentionMap<'a>>),
    File(&'a Asked),
}

/// Multiplications of the maps of all heads of these layers, of so many texts.
pub fn n_multiplications<'a>(layers: impl IntoIterator<Item = &'a Layer>, n_items: usize) -> u64 {
    let of_layer = |layer: &Layer| {
        let Shape { n_heads, n_queries, n_keys, d_head, .. } = layer.shape;
        let sizes = [n_heads, n_queries, n_keys, d_head.max(1), n_items];
        sizes.into_iter().fold(1_u64, |product, n| product.saturating_mul(n as u64))
    };
    layers.into_iter().map(of_layer).fold(0, u64::saturating_add)
}

/// The bytes of a head's numbers in memory.
pub fn n_bytes(layer: &Layer) -> usize {
    let Shape { n_queries, n_keys, d_head, .. } = layer.shape;
    let numbers = match layer.factored() {
        Some(_) => (n_queries.saturating_add(n_keys)).saturating_mul(d_head).saturating_add(2 * n_queries),
        None => n_queries.saturating_mul(n_keys),
    };
    numbers.saturating_mul(4)
}

impl Asked {
    pub fn layer(&self) -> &Layer {
        &self.recording.layers[self.layer]
    }

    /// Multiplications that one number takes.
    pub fn n_multiplications(&self) -> u64 {
        let width = self.layer().factored().map_or(1, |_| self.layer().shape.d_head as u64);
        width.saturating_mul(self.heads.len() as u64).max(1)
    }

    /// The rows, of numbers that were read or are to be.
    ///
    /// # Errors
    /// When the numbers are not those of the heads.
    pub fn rows<'a>(&'a self, source: &'a Source) -> Result<Rows<'a>, Error> {
        let Source::Memory(numbers) = source else { return Ok(Rows::File(self)) };
        let map = |(head, numbers): (usize, &'a Arc<HeadNumbers>)| {
            self.recording.recording.map_over(self.layer(), self.item, head, numbers)
        };
        self.heads.clone().zip(numbers).map(map).collect::<Result<_, _>>().map(Rows::Maps)
    }

    /// What queries see.
    pub fn sight(&self) -> Sight<'_> {
        Sight { asked: self, factored: self.layer().factored(), n_keys: self.layer().shape.n_keys }
    }
}

impl Rows<'_> {
    /// The numbers of some queries, in rising order, over `keys`. Shape `[queries.len(), keys.len()]`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn of(&self, queries: &[usize], keys: Range<usize>) -> Result<Vec<f32>, Error> {
        match self {
            Rows::Maps(maps) => mean(maps.iter().map(|map| Ok(map.rows(queries, keys.clone())))),
            Rows::File(asked) => mean(asked.heads.clone().map(|head| {
                let layer = asked.layer();
                let n_keys = layer.shape.n_keys;
                let whole = asked.recording.recording.some_rows(layer, asked.item, head, queries)?;
                if keys == (0..n_keys) {
                    return Ok(whole);
                }
                Ok(whole.chunks(n_keys.max(1)).flat_map(|row| &row[keys.clone()]).copied().collect())
            })),
        }
    }

    /// The mean weight that learned sinks take of a query's row.
    pub fn sink(&self, query: usize) -> f32 {
        match self {
            Rows::Maps(maps) => maps.iter().map(|map| map.sink_mass(query)).sum::<f32>() / maps.len().max(1) as f32,
            Rows::File(_) => 0.0,
        }
    }
}

/// The mean of several heads' numbers; of one, its numbers.
fn mean(mut heads: impl Iterator<Item = Result<Vec<f32>, Error>>) -> Result<Vec<f32>, Error> {
    let Some(first) = heads.next().transpose()? else { return Ok(Vec::new()) };
    let Some(second) = heads.next().transpose()? else { return Ok(first) };
    let mut sums: Vec<f64> = first.into_iter().map(f64::from).collect();
    let mut n = 1;
    let mut add = |numbers: Vec<f32>| {
        sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += f64::from(number));
        n += 1;
    };
    add(second);
    heads.try_for_each(|numbers| numbers.map(&mut add))?;
    Ok(sums.into_iter().map(|sum| (sum / f64::from(n)) as f32).collect())
}

/// Which keys queries see, as far as rule and mask say it; those of brought arrays see all.
#[derive(Clone, Copy)]
pub struct Sight<'a> {
    asked: &'a Asked,
    factored: Option<&'a Factored>,
    n_keys: usize,
}

impl Sight<'_> {
    /// From the first key that a query sees to after the last.
    pub fn hull(&self, query: usize) -> Range<usize> {
        let Some(factored) = self.factored else { return 0..self.n_keys };
        factored.scoring.visible_keys(query, self.n_keys)
    }

    /// Whether the hull is not all that there is to know.
    pub fn is_masked(&self) -> bool {
        self.factored.is_some_and(|factored| factored.mask.is_some())
    }

    /// Whether a query sees a key, in one of the heads.
    pub fn sees(&self, query: usize, key: usize) -> bool {
        let Some(factored) = self.factored else { return true };
        let layer = self.asked.layer();
        let mask = factored.mask.as_ref().map(|mask| mask.of_item(self.asked.item, &layer.shape));
        self.hull(query).contains(&key)
            && mask.is_none_or(|mask| {
                self.asked.heads.clone().any(|head| mask.row(head, query).sees(key)) // masks may differ by head
            })
    }

    /// Marks the places of `keys` within `columns` that one of `queries` sees. Shape of `open`: `[columns.len()]`.
    pub fn mark(&self, queries: &[usize], keys: &Places, columns: &Range<usize>, open: &mut [bool]) {
        for &query in queries {
            let seen = keys.touching(self.hull(query));
            for column in seen.start.max(columns.start)..seen.end.min(columns.end) {
                let slot = &mut open[column - columns.start];
                *slot = *slot || !self.is_masked() || keys.tokens(column).iter().any(|key| self.sees(query, *key));
            }
        }
    }
}
