//! Sentence pairs as token ids, packed one after the other without padding.

use attlas_model::{PackedPair, PackedTexts};

/// A sentence pair as the network reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Source tokens and the end token.
    pub source: Vec<u32>,
    /// Target tokens, without start and end token.
    pub target: Vec<u32>,
}

/// The special tokens that frame a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Begins what the decoder reads.
    pub start: u32,
    /// Ends a source and what the decoder predicts.
    pub end: u32,
}

/// Several pairs, packed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Source ids of all sentences.
    pub source: PackedTexts,
    /// What the decoder reads: start token, then the target.
    pub target: PackedTexts,
    /// What it should predict: the target, then the end token. Shape `[n_target]`.
    pub predicted: Vec<u32>,
}

impl Batch {
    /// Packs `pairs`.
    pub fn pack<'a>(pairs: impl IntoIterator<Item = &'a Pair>, frame: Frame) -> Batch {
        let mut batch = Batch { source: PackedTexts::new(), target: PackedTexts::new(), predicted: Vec::new() };
        for pair in pairs {
            batch.source.push(pair.source.iter().copied());
            batch.target.push(std::iter::once(frame.start).chain(pair.target.iter().copied()));
            batch.predicted.extend_from_slice(&pair.target);
            batch.predicted.push(frame.end);
        }
        batch
    }

    /// What the two stacks read.
    pub fn texts(&self) -> PackedPair<'_> {
        PackedPair { source: Some(&self.source), target: Some(&self.target) }
    }

    /// How many target tokens are predicted.
    pub fn n_target(&self) -> usize {
        self.target.len()
    }
}
