//! Back through a stack: final norm, blocks in reverse, embedding.

use attlas_kernels::Onto;

use super::embed::{self, EmbeddingGradient};
use super::{Back, Halt};
use crate::block::forward::{BlockRef, StackRef};
use crate::block::pass::{Progress, Site, Watch, tell};
use crate::block::state::{AttentionCall, Batch, LayerState, Source};

/// What goes back to what a stack read.
#[derive(Debug, Default)]
pub(crate) struct StackGradient {
    /// Of the rows of ids, or of features.
    pub embedding: EmbeddingGradient,
    /// Of the encoder's last hidden states; empty where there is none. Shape `[n_items · n_source, d_source]`.
    pub source: Vec<f32>,
}

impl StackRef<'_> {
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
        let (n_layers, d_model) = (config.blocks.len(), config.d_model);
        let mut d_source = vec![0.0; source.map_or(0, |source| source.hidden.len())]; // [n_items · n_source, d_source]
        back.workspace.begin_pass(0, batch.n, batch.lengths(0));
        self.leave(back, n_layers, batch, &mut gradient);
        let plan = back.plan;
        for (layer, stream) in hidden.iter().enumerate().take(n_layers).rev() {
            tell(watch, Progress::Block { stack: kind, layer, n_layers })?;
            let (n_items, n, valid) = (batch.n_items, batch.n, batch.valid);
            let call =
                AttentionCall { kind, index: layer, n_items, n, past: 0, valid, source, plan, onto: Onto::Replace };
            let block = BlockRef { config: &config.blocks[layer], weights: &weights.blocks[layer], d_model };
            if let Some(norm) = weights.final_norm.as_ref().filter(|_| layer + 1 == n_layers) {
                // what the final norm read is the one thing that was not kept
                let mut last = stream.to_vec();
                let (mut state, mut cross) = (LayerState::default(), LayerState::default());
                block.run(call, &mut state, &mut cross, &mut last, &mut back.workspace);
                norm.go_back(back.rules, &last, &mut gradient, d_model);
            }
            block.go_back(back, call, stream, &mut gradient, &mut d_source)?;
            if gradient.iter().any(|number| !number.is_finite()) {
                return Err(Halt::Block { stack: kind, layer });
            }
            self.leave(back, layer, batch, &mut gradient);
        }
        let embedding = embed::go_back(back, &config.embedding, &weights.embedding, batch, gradient);
        Ok(StackGradient { embedding, source: d_source })
    }

    /// Keeps the gradient of the hidden states that enter a layer, where it is wanted, and lets nothing through where they
    /// were given.
    fn leave(self, back: &mut Back<'_>, layer: usize, batch: Batch<'_>, gradient: &mut [f32]) {
        let d_model = self.config.d_model;
        back.keep(Site::Stream, self.kind, layer, &[batch.n_items, batch.n, d_model], || gradient.to_vec());
        back.plan.hold_stream(self.kind, layer, batch.n, gradient, d_model);
    }
}
