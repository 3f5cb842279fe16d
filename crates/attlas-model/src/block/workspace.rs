//! Buffers that are used again from layer to layer and from step to step: fresh memory costs more than arithmetic here.

use attlas::Mask;

use super::rope::{PatchPlaces, Turns};
use crate::config::Rotary;

/// Buffers of a forward pass.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// Normalised input of a sublayer.
    pub normed: Vec<f32>,
    /// Output of a sublayer.
    pub sublayer: Vec<f32>,
    /// Queries, keys and values side by side.
    pub projected: Vec<f32>,
    /// Queries, head-major, when they are not kept.
    pub queries: Vec<f32>,
    /// Keys, head-major, when they are not kept.
    pub keys: Vec<f32>,
    /// Values, head-major, when they are not kept.
    pub values: Vec<f32>,
    /// Log-sum-exps, when they are not kept.
    pub lse: Vec<f32>,
    /// Heads side by side, before the output projection.
    pub context: Vec<f32>,
    /// Hidden layer of the feed-forward.
    pub hidden: Vec<f32>,
    /// Gate and up columns of a gated feed-forward.
    pub gated: Vec<f32>,
    /// What is added to hidden states for queries and keys; empty where nothing is. Shape `[n_items · n, d_model]`.
    pub added: Vec<f32>,
    turns: Vec<(Rotary, Turns)>,
    start: usize,
    n: usize,
    /// How long each text is in all. Shape `[n_items]`.
    lengths: Vec<usize>,
    places: PatchPlaces,
    /// Which patches see each other, by the side of their squares.
    squares: Vec<(usize, Mask)>,
}

impl Workspace {
    /// Forgets the sines and cosines of another pass.
    pub fn begin_pass(&mut self, start: usize, n: usize, lengths: Vec<usize>, places: PatchPlaces) {
        self.turns.clear();
        self.squares.clear();
        (self.start, self.n, self.lengths, self.places) = (start, n, lengths, places);
    }

    /// The place, in [`Workspace::turns`], of this pass's sines and cosines.
    pub fn find_turns(&mut self, rotary: &Rotary) -> usize {
        if let Some(found) = self.turns.iter().position(|(known, _)| known == rotary) {
            return found;
        }
        let turns = Turns::new(rotary, self.start, self.n, &self.lengths, &self.places);
        self.turns.push((rotary.clone(), turns));
        self.turns.len() - 1
    }

    /// Which patches of the pass see each other in a layer: those of a square of so many a side, and the rows before patches all. One for all
    /// layers that are alike.
    pub fn mask_of_squares(&mut self, side: usize) -> Mask {
        if let Some((_, mask)) = self.squares.iter().find(|(known, _)| *known == side) {
            return mask.clone();
        }
        let mask = self.places.mask_of_squares(side);
        self.squares.push((side, mask.clone()));
        mask
    }

    /// Sines and cosines found earlier.
    pub fn turns(&self, place: usize) -> &Turns {
        &self.turns[place].1
    }
}

/// The buffer with room for exactly `n` numbers; what they are is unspecified.
pub(crate) fn sized(buffer: &mut Vec<f32>, n: usize) -> &mut [f32] {
    if buffer.capacity() < n {
        *buffer = vec![0.0; n];
    } else {
        buffer.resize(n, 0.0);
    }
    buffer
}
