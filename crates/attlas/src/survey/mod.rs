//! What the heads of a model do over a corpus: sums by shard, which merge in any order to the same bytes, intervals from the
//! shards, and the texts in which a head does its thing most.

mod bootstrap;
mod examples;
mod packed;

use std::collections::BTreeMap;

use crate::analysis::{HeadSums, Measure, Score, Sums};
use crate::{Error, HeadId, Kind, Recording};

pub use bootstrap::{N_RESAMPLES, Resamples};
pub use examples::{Example, Examples, MAX_EXAMPLES, Place};
pub use packed::{packed_sums, unpacked_sums};

/// Shards that texts are dealt out to by their bytes, whatever file, machine or order they come in.
pub const N_SHARDS: usize = 64;
/// Shards with texts below which an interval says little.
pub const FEW_SHARDS: usize = 8;

/// The sums of one measure, by shard. Shape `[N_SHARDS]`.
pub type ShardSums = [Sums; N_SHARDS];

/// A text by its bytes: 128 bits of a cryptographic hash, so that equal texts have equal ones and no others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextId(pub u128);

impl TextId {
    /// The shard that the text belongs to, below [`N_SHARDS`].
    pub fn shard(self) -> usize {
        (self.0 >> (128 - N_SHARDS.ilog2())) as usize
    }
}

/// What was measured of one head under one measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// The kind of attention.
    pub kind: Kind,
    /// Layer and head.
    pub head: HeadId,
    /// The place of the measure in [`crate::analysis::MEASURES`].
    pub measure: usize,
    /// Which of the measure's variants.
    pub variant: usize,
}

/// The sums of a cell, and where its scores are highest.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// By shard.
    pub sums: Box<ShardSums>,
    /// The texts with the highest scores.
    pub examples: Examples,
}

/// What a corpus says of each head. Surveys of parts of a corpus merge, in any order, to that of the whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// Texts in each shard; one that comes twice counts twice.
    pub n_texts: [u64; N_SHARDS],
    /// Each head under each measure, in order.
    pub cells: BTreeMap<Cell, Found>,
}

impl Default for Survey {
    fn default() -> Survey {
        Survey { n_texts: [0; N_SHARDS], cells: BTreeMap::new() }
    }
}

impl Default for Found {
    fn default() -> Found {
        Found { sums: Box::new([Sums::default(); N_SHARDS]), examples: Examples::default() }
    }
}

impl Survey {
    /// Takes in what was measured of text `item` of a recording: `heads`, as [`crate::analysis::measure()`] gives it.
    ///
    /// # Errors
    /// When the map of an example cannot be read; never for a recording that was just made.
    pub fn take(
        &mut self,
        id: TextId,
        text: &str,
        recording: &Recording,
        item: usize,
        heads: &[HeadSums],
    ) -> Result<(), Error> {
        let shard = id.shard();
        self.n_texts[shard] += 1;
        for head in heads {
            for (measure, variants) in &head.sums {
                let measure_index = index_of(measure);
                for (variant, sums) in variants_of(variants).iter().enumerate() {
                    let cell = Cell { kind: head.kind, head: head.head, measure: measure_index, variant };
                    let found = self.cells.entry(cell).or_default();
                    found.sums[shard].merge(sums);
                    found.examples.consider(
                        id,
                        text,
                        sums,
                        || {
                            let map = recording.map(item, cell.kind, cell.head.layer, cell.head.head)?;
                            Ok(Place::of(&map, measure, variant))
                        },
                        measure,
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Takes in all that another survey has.
    pub fn merge(&mut self, other: Survey) {
        for (n, others) in self.n_texts.iter_mut().zip(other.n_texts) {
            *n = n.saturating_add(others);
        }
        for (cell, others) in other.cells {
            let found = self.cells.entry(cell).or_default();
            found.sums.iter_mut().zip(others.sums.iter()).for_each(|(sums, others)| sums.merge(others));
            found.examples.merge(others.examples);
        }
    }

    /// How many texts there are.
    pub fn n_all_texts(&self) -> u64 {
        self.n_texts.iter().fold(0, |sum: u64, n| sum.saturating_add(*n))
    }

    /// How many shards have texts.
    pub fn n_shards(&self) -> usize {
        self.n_texts.iter().filter(|n| **n > 0).count()
    }
}

impl Found {
    /// The sums of all shards together.
    pub fn total(&self) -> Sums {
        let mut total = Sums::default();
        self.sums.iter().for_each(|sums| total.merge(sums));
        total
    }

    /// What the cell scores under its measure, with the interval that `resamples` of the shards give, cut to the measure's
    /// range.
    pub fn score(&self, measure: &Measure, resamples: &Resamples) -> Option<Score> {
        let cut = |number: f64| number.clamp(measure.range.0, measure.range.1);
        let interval = resamples.interval(&self.sums).map(|(low, high)| (cut(low), cut(high)));
        Some(Score { interval, ..measure.score(&self.total())? })
    }
}

/// The place of a measure in the table.
fn index_of(measure: &Measure) -> usize {
    crate::analysis::MEASURES.iter().position(|known| known == measure).unwrap_or(usize::MAX)
}

/// The sums of a measure's variants.
fn variants_of(sums: &Sums) -> &[Sums] {
    std::slice::from_ref(sums)
}
