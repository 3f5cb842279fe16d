//! Every head of cross-attention, and every layer's mean, as an aligner: which one is right most often, and in which of its rows.

use std::collections::BTreeMap;

use super::word_map::overlap;
use super::{Reference, Tally, Unit, WordMap, hits};
use crate::analysis::Sums;
use crate::{AttentionMap, Error, HeadId, Kind, Recording, RowTokens};

/// The rows that may align, in the order of [`HeadScores`].
pub const ALIGNING_ROWS: [RowTokens; 2] = [RowTokens::Predicted, RowTokens::Read];

/// What the links of one head, or of a layer's mean, are worth in one of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Score {
    /// Its links, of target words, against the references.
    pub tally: Tally,
    /// Which target words with a sure link are linked rightly; the baseline is the diagonal. See [`hits`].
    pub hits: Sums,
    /// Links that both directions have.
    pub n_shared: u64,
    /// Links of the target words.
    pub n_by_target: u64,
    /// Links of the source words.
    pub n_by_source: u64,
}

impl Score {
    fn merge(&mut self, other: &Score) {
        self.tally.merge(&other.tally);
        self.hits.merge(&other.hits);
        self.n_shared += other.n_shared;
        self.n_by_target += other.n_by_target;
        self.n_by_source += other.n_by_source;
    }

    /// How far the links of the two directions are the same, in 0 ..= 1, as [`Links::overlap`](super::Links::overlap); `None` without
    /// links.
    pub fn overlap(&self) -> Option<f64> {
        overlap(self.n_shared, self.n_by_target + self.n_by_source)
    }
}

/// Which heads a score belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aligner {
    /// One head.
    Head(HeadId),
    /// The mean over the heads of a layer.
    MeanOf(usize),
}

/// The scores of all heads over texts: sums that merge in any order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeadScores {
    /// In the order of [`ALIGNING_ROWS`]; heads before means.
    pub of: BTreeMap<Aligner, [Score; 2]>,
}

impl HeadScores {
    /// Adds what the heads link in one text, held against its reference where there is one. A row of which the recording does
    /// not know what it predicts scores nothing.
    ///
    /// # Errors
    /// When the recording has no such text, its numbers cannot be read, or its words cannot be told; see [`WordMap::new`].
    pub fn add(
        &mut self,
        recording: &Recording,
        item: usize,
        unit: Unit,
        reference: Option<&Reference>,
    ) -> Result<(), Error> {
        for layer in recording.layers_of(Kind::Cross) {
            let maps = (0..layer.shape.n_heads).map(|head| recording.map_of(layer, item, head));
            let maps: Vec<AttentionMap<'_>> = maps.collect::<Result<_, _>>()?;
            let heads = maps.iter().map(|map| (Aligner::Head(map.id()), std::slice::from_ref(map)));
            for (aligner, maps) in heads.chain([(Aligner::MeanOf(layer.index), maps.as_slice())]) {
                let scores = self.of.entry(aligner).or_default();
                for (rows, score) in ALIGNING_ROWS.into_iter().zip(scores) {
                    match WordMap::new(maps, rows, unit) {
                        Ok(words) => score.merge(&score_of(&words, reference)),
                        Err(Error::PredictedUnknown) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(())
    }
}

fn score_of(words: &WordMap<'_>, reference: Option<&Reference>) -> Score {
    let links = words.links();
    let sizes = [words.source().len(), words.target().len()];
    Score {
        tally: reference.map_or(Tally::default(), |reference| Tally::of(&links.by_target, reference)),
        hits: reference.map_or(Sums::default(), |reference| hits(&links.by_target, reference, sizes)),
        n_shared: links.by_target.n_shared(&links.by_source) as u64,
        n_by_target: links.by_target.len() as u64,
        n_by_source: links.by_source.len() as u64,
    }
}
