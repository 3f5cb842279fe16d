//! Sentence pairs as token ids, packed one after the other without padding.

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

/// Several pairs, packed: sentence `i` of the source is `source[source_offsets[i]..source_offsets[i + 1]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Source ids of all sentences. Shape `[n_source]`.
    pub source: Vec<u32>,
    /// Where sentences begin and end. Shape `[n_sentences + 1]`.
    pub source_offsets: Vec<usize>,
    /// What the decoder reads: start token, then the target. Shape `[n_target]`.
    pub target: Vec<u32>,
    /// What it should predict: the target, then the end token. Shape `[n_target]`.
    pub predicted: Vec<u32>,
    /// Where sentences begin and end. Shape `[n_sentences + 1]`.
    pub target_offsets: Vec<usize>,
}

impl Batch {
    /// Packs `pairs`.
    pub fn pack<'a>(pairs: impl IntoIterator<Item = &'a Pair>, frame: Frame) -> Batch {
        let mut batch = Batch { source_offsets: vec![0], target_offsets: vec![0], ..Batch::default() };
        for pair in pairs {
            batch.source.extend_from_slice(&pair.source);
            batch.source_offsets.push(batch.source.len());
            batch.target.push(frame.start);
            batch.target.extend_from_slice(&pair.target);
            batch.predicted.extend_from_slice(&pair.target);
            batch.predicted.push(frame.end);
            batch.target_offsets.push(batch.target.len());
        }
        batch
    }

    /// How many target tokens are predicted.
    pub fn n_target(&self) -> usize {
        self.target.len()
    }
}
