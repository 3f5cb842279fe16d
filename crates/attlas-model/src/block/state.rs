//! What a pass reads and has seen, as plain data: the layers compute on it.

use std::io;

use attlas::{Kind, Mask, Numbers};
use attlas_kernels::Onto;

use super::dropout::Dropout;
use super::pass::Plan;
use super::recurrence::Carried;
use crate::config::Attention;

/// What a pass reads: the new tokens of each item, and which keys are not padding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch<'a> {
    /// Items.
    pub n_items: usize,
    /// New tokens of each item.
    pub n: usize,
    /// Empty where no ids are read. Shape `[n_items, n]`.
    pub ids: &'a [u32],
    /// Rows that are read in the place of those that the ids have in the table. Shape `[n_items, n, width]`.
    pub words: Option<&'a [f32]>,
    /// The three positions of each new token, where images stand among them. Shape `[n_items, n]`.
    pub positions: Option<&'a [[u32; 3]]>,
    /// What is read instead of ids.
    pub features: Option<FeatureBatch<'a>>,
    /// Segments; all 0 when `None`. Shape `[n_items, n]`.
    pub token_types: Option<&'a [u32]>,
    /// Which tokens so far are not padding, the new ones included; all when `None`. Shape `[n_items, past + n]`.
    pub valid: Option<&'a [bool]>,
    /// The texts that the one item is, where it is several.
    pub packing: Option<Packing<'a>>,
}

/// Texts one after the other in one item, without padding; each sees itself alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packing<'a> {
    /// Where texts begin, and where the last one ends. Shape `[n_texts + 1]`.
    pub starts: &'a [usize],
    /// The place of each token in its text. Shape `[n]`.
    pub positions: &'a [usize],
}

impl Batch<'_> {
    /// The position of a new token.
    pub fn position(&self, past: usize, step: usize) -> usize {
        self.packing.map_or(past + step, |packing| packing.positions[step])
    }

    /// How many positions the new tokens have.
    pub fn n_positions(&self) -> usize {
        self.packing.map_or(self.n, |packing| packing.positions.iter().max().map_or(0, |last| last + 1))
    }

    /// How many positions each item has, up to its last token that is not padding. Shape `[n_items]`.
    pub fn lengths(&self, past: usize) -> Vec<usize> {
        let all = past + self.n_positions();
        let Some(valid) = self.valid else { return vec![all; self.n_items] };
        let items = valid.chunks_exact(all);
        items.map(|valid| valid.iter().rposition(|valid| *valid).map_or(all, |last| last + 1)).collect()
    }
}

/// The encoder's result, as cross-attention reads it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// Shape `[n_items, n, d_source]`.
    pub hidden: &'a [f32],
    /// Tokens of each item.
    pub n: usize,
    /// What is added to the hidden states for keys; empty where nothing is. Shape `[n_items, n, d_source]`.
    pub places: &'a [f32],
    /// Which are not padding; all when `None`. Shape `[n_items, n]`.
    pub valid: Option<&'a [bool]>,
    /// The texts that the one item is, where it is several.
    pub packing: Option<Packing<'a>>,
}

/// What a stack has seen so far.
#[derive(Debug, Default)]
pub(crate) struct StackState {
    /// Positions so far.
    pub past: usize,
    /// Self-attention, one per block.
    pub attention: Vec<LayerState>,
    /// Cross-attention, one per block that has it.
    pub cross: Vec<LayerState>,
    /// The residual stream that enters each block, and what leaves the last; empty unless it is kept. Shape of each
    /// `[n_items · n, d_model]`.
    pub hidden: Vec<Vec<f32>>,
    /// The bytes of the queries and keys of one kind of attention from which on they go into files, layer by layer; they stay in memory when
    /// `None`.
    pub aside_from: Option<u64>,
}

impl StackState {
    /// Puts what a block leaves for the recording into a file, where all blocks together leave too much for memory.
    pub fn put_aside(&mut self, kind: Kind, index: usize, plan: Plan<'_>) {
        let Some(from) = self.aside_from else { return };
        let n_blocks = self.attention.len() as u64;
        for (kind, layer) in [(kind, &mut self.attention[index]), (Kind::Cross, &mut self.cross[index])] {
            let n_bytes = 4 * (layer.queries.len() + layer.keys.len()) as u64;
            let is_large = n_bytes > 0 && n_bytes * n_blocks >= from;
            if is_large && layer.dense.is_empty() && plan.only_records(kind, index) && layer.put_aside().is_err() {
                self.aside_from = None; // a folder that is full is not filled again by each layer
                return;
            }
        }
    }
}

/// Numbers that a model reads instead of ids, all items alike.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FeatureBatch<'a> {
    /// One item's sizes: `[n_channels, height, width]` of an image, `[n_mels, n_frames]` of a spectrogram, `[n_samples]` of a
    /// sound.
    pub shape: &'a [usize],
    /// Shape `[n_items, ..shape]`.
    pub values: &'a [f32],
}

/// What one attention layer has seen so far, in the layout of a recording.
#[derive(Debug, Default)]
pub(crate) struct LayerState {
    /// Shape `[n_items, n_heads, n_queries, d_head]`.
    pub queries: Vec<f32>,
    /// Shape `[n_items, n_kv_heads, n_keys, d_head]`.
    pub keys: Vec<f32>,
    /// Queries and keys that lie in a file, in the place of those in memory.
    pub aside: Option<[Numbers; 2]>,
    /// Shape `[n_items, n_kv_heads, n_keys, d_value]`.
    pub values: Vec<f32>,
    /// Shape `[n_items, n_heads, n_queries]`.
    pub lse: Vec<f32>,
    /// Weights that are no function of queries and keys, when they are kept. Shape `[n_items, n_heads, n_queries, n_keys]`.
    pub dense: Vec<f32>,
    /// What heads gave before the output projection, when it is kept. Shape `[n_items, n_queries, n_heads, d_value]`.
    pub outputs: Vec<f32>,
    /// The share of each expert in each token's feed-forward, when it is kept. Shape `[n_items, n, n_experts]`.
    pub router: Vec<f32>,
    /// Experts of the block, where their shares are kept.
    pub n_experts: usize,
    /// The weights of packed texts before dropout, text by text and head by head, when there is a way back. Shape of each
    /// `[n_queries, n_keys]`.
    pub weights: Vec<f32>,
    /// Which keys each query may look at, where patches see those of their square alone.
    pub mask: Option<Mask>,
    /// What a layer without attention keeps of the tokens so far; such a layer has nothing else of this but experts.
    pub carried: Carried,
    /// Rows so far.
    pub n_queries: usize,
    /// Columns so far.
    pub n_keys: usize,
}

impl LayerState {
    /// Puts queries and keys into a file; what cannot be written stays in memory.
    fn put_aside(&mut self) -> io::Result<()> {
        self.aside = Some(Numbers::aside([&self.queries, &self.keys])?);
        (self.queries, self.keys) = (Vec::new(), Vec::new());
        Ok(())
    }

    /// Queries and keys, wherever they lie.
    pub fn take_queries_and_keys(&mut self) -> [Numbers; 2] {
        let in_memory = || [&mut self.queries, &mut self.keys].map(|numbers| std::mem::take(numbers).into());
        self.aside.take().unwrap_or_else(in_memory)
    }
}

/// Where and on what an attention layer runs.
#[derive(Clone, Copy)]
pub(crate) struct AttentionCall<'a> {
    pub kind: Kind,
    /// The layer's index.
    pub index: usize,
    pub n_items: usize,
    /// New positions of each item.
    pub n: usize,
    /// Positions before them; only for one item.
    pub past: usize,
    /// Which of the stack's tokens are not padding. Shape `[n_items, past + n]`.
    pub valid: Option<&'a [bool]>,
    pub source: Option<Source<'a>>,
    /// The texts that the one item is, where it is several.
    pub packing: Option<Packing<'a>>,
    /// Which weights are set to 0, of packed texts.
    pub dropout: Dropout,
    pub plan: Plan<'a>,
    /// What becomes of the numbers that the output holds before.
    pub onto: Onto,
}

impl<'a> AttentionCall<'a> {
    /// The position of a new token.
    pub fn position(&self, step: usize) -> usize {
        self.packing.map_or(step, |packing| packing.positions[step])
    }

    /// The texts of queries and of keys, where they are packed.
    pub fn packings(&self) -> Option<[Packing<'a>; 2]> {
        let keys = if self.kind == Kind::Cross { self.source.and_then(|source| source.packing) } else { self.packing };
        self.packing.zip(keys).map(|(queries, keys)| [queries, keys])
    }

    /// Which keys are not padding; all when `None`. Shape `[n_items, n_keys]`.
    pub fn valid_keys(&self) -> Option<&'a [bool]> {
        if self.kind == Kind::Cross { self.source.and_then(|source| source.valid) } else { self.valid }
    }

    /// The bias of each key, where there is one. Shape `[n_items, n_heads, n_keys]`, or of one item for all.
    pub fn key_bias(&self, config: &Attention, n_keys: usize) -> Option<Vec<f32>> {
        let starts = self.packings().map_or(&[][..], |[_, keys]| keys.starts);
        config.key_bias(self.valid_keys(), starts, n_keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pass;
    use crate::block::pass::Purpose;

    #[test]
    fn queries_and_keys_go_into_a_file_from_so_many_bytes_of_all_blocks_on() {
        let pass = Pass::default();
        let plan = Plan { pass: &pass, purpose: Purpose::Whole, text: None };
        for (from, is_aside) in [(Some(24), true), (Some(25), false), (None, false)] {
            let layer = || LayerState { queries: vec![1.0, 2.0], keys: vec![3.0], ..LayerState::default() };
            let cross = || LayerState::default();
            let (attention, cross) = (vec![layer(), layer()], vec![cross(), cross()]);
            let mut stack = StackState { attention, cross, aside_from: from, ..StackState::default() };
            stack.put_aside(Kind::Decoder, 1, plan);
            let layer = &mut stack.attention[1];
            assert_eq!((layer.aside.is_some(), layer.queries.is_empty()), (is_aside, is_aside), "{from:?}");
            let [queries, keys] = layer.take_queries_and_keys();
            assert_eq!((&*queries.read_all().unwrap(), &*keys.read_all().unwrap()), (&[1.0, 2.0][..], &[3.0][..]));
        }
    }
}
