//! Back through a stack: final norm, blocks in reverse, embedding.

use super::block::{BlockDropout, BlockTape};
use super::embed::{self, EmbeddingGradient};
use super::{Back, Halt};
use crate::block::dropout::Dropout;
use crate::block::embed::embed as embed_forward;
use crate::block::forward::StackRef;
use crate::block::pass::{Plan, Progress, Site, Watch, tell};
use crate::block::state::{Batch, Source};
use crate::block::workspace::Workspace;

/// What goes back to what a stack read.
#[derive(Debug, Default)]
pub(crate) struct StackGradient {
    /// Of the rows of ids, or of features.
    pub embedding: EmbeddingGradient,
    /// Of the encoder's last hidden states; empty where there is none. Shape `[n_items · n_source, d_source]`.
    pub source: Vec<f32>,
}

/// Where dropout of a stack comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StackDropout {
    pub dropout: Dropout,
    /// The site of what enters its first block.
    pub embedding: u64,
    /// The site of its first sublayer; those after it follow.
    pub first: u64,
}

impl StackDropout {
    pub const OFF: StackDropout = StackDropout { dropout: Dropout::OFF, embedding: 0, first: 0 };
}

/// A stack and all that it computed.
pub(crate) struct StackTape<'a> {
    blocks: Vec<BlockTape<'a>>,
    dropout: StackDropout,
    /// What the final norm read; empty where there is none. Shape `[n, d_model]`.
    last: Vec<f32>,
}

impl<'a> StackRef<'a> {
    /// Computes the stack for its way back, keeping all of it; returns the last hidden states. Shape `[n_items · n, d_model]`.
    ///
    /// # Errors
    /// When a block has no attention.
    pub fn tape(
        self,
        batch: Batch<'a>,
        source: Option<Source<'a>>,
        plan: Plan<'a>,
        dropout: StackDropout,
        workspace: &mut Workspace,
    ) -> Result<(StackTape<'a>, Vec<f32>), Halt> {
        let StackRef { config, weights, .. } = self;
        let mut stream = vec![0.0; batch.n_items * batch.n * config.d_model]; // [n_items · n, d_model]
        embed_forward(&config.embedding, &weights.embedding, batch, 0, &mut stream, workspace);
        dropout.dropout.at(dropout.embedding).apply(&mut stream);
        self.begin_pass(batch, 0, workspace);
        let mut blocks = Vec::with_capacity(config.blocks.len());
        for layer in 0..config.blocks.len() {
            let (block, call) = self.call(layer, batch, source, plan, 0);
            let mut tape = block.tape(call, self.block_dropout(dropout, layer), stream, workspace)?;
            stream = tape.leave(workspace);
            blocks.push(tape);
        }
        let mut last = Vec::new();
        if let Some(norm) = &weights.final_norm {
            last.clone_from(&stream);
            norm.apply(&mut stream, config.d_model);
        }
        Ok((StackTape { blocks, dropout, last }, stream))
    }

    /// Goes back from the gradient of the last hidden states, shape `[n_items · n, d_model]`.
    ///
    /// # Errors
    /// When what comes back is not finite.
    pub fn tape_back(
        self,
        tape: StackTape<'_>,
        back: &mut Back<'_>,
        batch: Batch<'_>,
        source: Option<Source<'_>>,
        mut gradient: Vec<f32>,
    ) -> Result<StackGradient, Halt> {
        let mut d_source = self.begin_back(back, batch, source);
        if let Some(norm) = &self.weights.final_norm {
            let sums = back.sums.stack(self.kind).and_then(|sums| sums.final_norm.as_mut());
            norm.go_back(back.rules, &tape.last, &mut gradient, self.config.d_model, sums);
        }
        for (layer, block) in tape.blocks.into_iter().enumerate().rev() {
            self.block_back(back, &block, layer, &mut gradient, &mut d_source)?;
        }
        tape.dropout.dropout.at(tape.dropout.embedding).apply(&mut gradient);
        let StackRef { config, weights, kind } = self;
        let embedding = embed::go_back(back, &config.embedding, &weights.embedding, batch, kind, gradient);
        Ok(StackGradient { embedding, source: d_source })
    }

    /// Goes back from the gradient of the last hidden states, shape `[n_items · n, d_model]`. `hidden` is the stream that
    /// entered each block, and what left the last, each of that shape.
    ///
    /// # Errors
    /// When `watch` says so before one of the blocks, or what comes back is not finite.
    pub fn go_back(
        self,
        back: &mut Back<'_>,
        batch: Batch<'_>,
        source: Option<Source<'_>>,
        hidden: &[&[f32]],
        mut gradient: Vec<f32>,
        watch: &mut Watch<'_>,
    ) -> Result<StackGradient, Halt> {
        let StackRef { config, weights, kind } = self;
        let n_layers = config.blocks.len();
        let mut d_source = self.begin_back(back, batch, source);
        self.leave(back, n_layers, batch, &mut gradient);
        for (layer, stream) in hidden.iter().enumerate().take(n_layers).rev() {
            tell(watch, Progress::Block { stack: kind, layer, n_layers })?;
            let (block, call) = self.call(layer, batch, source, back.plan, 0);
            let off = self.block_dropout(StackDropout::OFF, layer);
            let mut tape = block.tape(call, off, stream.to_vec(), &mut back.workspace)?;
            if let Some(norm) = weights.final_norm.as_ref().filter(|_| layer + 1 == n_layers) {
                // what the final norm read is the one thing that was not kept
                let last = tape.leave(&mut back.workspace);
                let sums = back.sums.stack(kind).and_then(|sums| sums.final_norm.as_mut());
                norm.go_back(back.rules, &last, &mut gradient, config.d_model, sums);
            }
            self.block_back(back, &tape, layer, &mut gradient, &mut d_source)?;
            self.leave(back, layer, batch, &mut gradient);
        }
        let embedding = embed::go_back(back, &config.embedding, &weights.embedding, batch, kind, gradient);
        Ok(StackGradient { embedding, source: d_source })
    }

    fn block_dropout(self, StackDropout { dropout, first, .. }: StackDropout, layer: usize) -> BlockDropout {
        BlockDropout { dropout, first: first + layer as u64 * self.n_sublayers() }
    }

    /// Sublayers of each block.
    pub fn n_sublayers(self) -> u64 {
        let has_cross = self.config.blocks.first().is_some_and(|block| block.cross.is_some());
        2 + u64::from(has_cross)
    }

    /// The gradient of the encoder's hidden states before anything was added to it.
    fn begin_back(self, back: &mut Back<'_>, batch: Batch<'_>, source: Option<Source<'_>>) -> Vec<f32> {
        self.begin_pass(batch, 0, &mut back.workspace);
        vec![0.0; source.map_or(0, |source| source.hidden.len())] // [n_items · n_source, d_source]
    }

    fn block_back(
        self,
        back: &mut Back<'_>,
        tape: &BlockTape<'_>,
        layer: usize,
        gradient: &mut [f32],
        d_source: &mut [f32],
    ) -> Result<(), Halt> {
        tape.go_back(back, gradient, d_source)?;
        if gradient.iter().any(|number| !number.is_finite()) {
            return Err(Halt::Block { stack: self.kind, layer });
        }
        Ok(())
    }

    /// Keeps the gradient of the hidden states that enter a layer, where it is wanted, and lets nothing through where they
    /// were given.
    fn leave(self, back: &mut Back<'_>, layer: usize, batch: Batch<'_>, gradient: &mut [f32]) {
        let d_model = self.config.d_model;
        back.keep(Site::Stream, self.kind, layer, &[batch.n_items, batch.n, d_model], || gradient.to_vec());
        back.plan.hold_stream(self.kind, layer, batch.n, gradient, d_model);
    }
}
