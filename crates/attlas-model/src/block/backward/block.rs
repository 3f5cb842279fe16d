//! Back through one block: it is computed once more, and its sublayers are walked in reverse.

use attlas::Kind;
use attlas_kernels::Onto;

use super::attention::AttentionBack;
use super::{Back, Halt, add, feed_forward};
use crate::block::feed_forward::feed_forward as feed_forward_forward;
use crate::block::forward::{BlockRef, normalise_to};
use crate::block::join::Join;
use crate::block::state::{AttentionCall, LayerState};
use crate::block::weights::AttentionWeights;
use crate::block::workspace::Workspace;
use crate::config::{Attention, Residual};

/// A sublayer that was computed once more. Shapes `[n, d_model]`.
struct Tape<'a> {
    join: Join<'a>,
    /// What enters the sublayer.
    stream: Vec<f32>,
    /// What its function reads.
    input: Vec<f32>,
    /// What its function gives; empty where nothing that goes back depends on it.
    result: Vec<f32>,
}

impl<'a> Tape<'a> {
    /// Takes what the sublayer reads.
    fn new(join: Join<'a>, stream: Vec<f32>, d_model: usize) -> Tape<'a> {
        let mut input = vec![0.0; stream.len()]; // [n, d_model]
        normalise_to(join.before(), &stream, &mut input, d_model);
        Tape { join, stream, input, result: Vec::new() }
    }

    /// What leaves the sublayer; `result` is what its function gave.
    fn forward(&mut self, result: Vec<f32>, d_model: usize) -> Vec<f32> {
        let mut stream = self.stream.clone();
        match self.join {
            Join::Pre(_) => {
                add(&mut stream, &result);
                return stream;
            }
            Join::Post(norm) => norm.add_and_apply(&mut stream, &result, d_model),
            Join::OutputNorm(norm) | Join::Sandwich(_, norm) => {
                let mut normed = result.clone();
                norm.apply(&mut normed, d_model);
                add(&mut stream, &normed);
            }
        }
        self.result = result;
        stream
    }

    /// Takes the gradient of what leaves the sublayer to that of what enters it; `f` goes back through its function.
    fn go_back(
        &self,
        back: &mut Back<'_>,
        d_stream: &mut [f32],
        d_model: usize,
        f: impl FnOnce(&mut Back<'_>, &[f32], &[f32]) -> Result<Vec<f32>, Halt>,
    ) -> Result<(), Halt> {
        let rules = back.rules;
        let d_result = match self.join {
            Join::Pre(_) => None,
            Join::Post(norm) => {
                let mut sum = self.stream.clone();
                add(&mut sum, &self.result);
                norm.go_back(rules, &sum, d_stream, d_model);
                None
            }
            Join::OutputNorm(norm) | Join::Sandwich(_, norm) => {
                let mut d_result = d_stream.to_vec();
                norm.go_back(rules, &self.result, &mut d_result, d_model);
                Some(d_result)
            }
        };
        let mut d_input = f(back, &self.input, d_result.as_deref().unwrap_or(d_stream))?;
        if let Some(norm) = self.join.before() {
            norm.go_back(rules, &self.stream, &mut d_input, d_model);
        }
        add(d_stream, &d_input);
        Ok(())
    }
}

impl BlockRef<'_> {
    /// Takes the gradient of what leaves the block to that of what enters it, `stream`; `d_source` gets what goes back to the
    /// encoder's hidden states. Shapes `[n_items · n, d_model]`.
    ///
    /// # Errors
    /// When what comes back from an attention head is not finite.
    pub(super) fn go_back(
        self,
        back: &mut Back<'_>,
        call: AttentionCall<'_>,
        stream: &[f32],
        d_stream: &mut [f32],
        d_source: &mut [f32],
    ) -> Result<(), Halt> {
        let BlockRef { config, weights, d_model } = self;
        if matches!(config.residual, Residual::Parallel | Residual::ParallelSharedNorm) {
            return self.parallel_back(back, call, stream, d_stream);
        }
        // 1. once more: attention, cross-attention, and the feed-forward where a norm reads what it gives
        let attention = &weights.attention;
        let mut first = Tape::new(attention.join(config.residual), stream.to_vec(), d_model);
        let (looking, result) = attend(call, &config.attention, attention, &first.input, &mut back.workspace);
        let mut stream = first.forward(result, d_model);
        let mut second = None;
        if let (Some(cross_config), Some(cross)) = (&config.cross, &weights.cross) {
            let mut tape = Tape::new(cross.join(config.residual), stream, d_model);
            let call = AttentionCall { kind: Kind::Cross, ..call };
            let (looking, result) = attend(call, cross_config, cross, &tape.input, &mut back.workspace);
            stream = tape.forward(result, d_model);
            second = Some((tape, looking));
        }
        let mut last = Tape::new(weights.feed_forward_join(config.residual), stream, d_model);
        if !matches!(last.join, Join::Pre(_)) {
            let mut result = vec![0.0; last.input.len()]; // [n, d_model]
            let (config, weights) = (&config.feed_forward, &weights.feed_forward);
            feed_forward_forward(config, weights, &last.input, &mut result, Onto::Replace, &mut back.workspace);
            last.result = result;
        }
        // 2. in reverse
        last.go_back(back, d_stream, d_model, |back, input, d| Ok(self.feed_forward_back(back, input, d)))?;
        if let Some((tape, looking)) = second {
            tape.go_back(back, d_stream, d_model, |back, input, d| {
                let gradient = looking.go_back(back, input, d)?;
                add(d_source, &gradient.source.unwrap_or_default());
                Ok(gradient.input)
            })?;
        }
        first.go_back(back, d_stream, d_model, |back, input, d| Ok(looking.go_back(back, input, d)?.input))
    }

    /// Of `x + attention(norm(x)) + feed_forward(norm′(x))`.
    fn parallel_back(
        self,
        back: &mut Back<'_>,
        call: AttentionCall<'_>,
        stream: &[f32],
        d_stream: &mut [f32],
    ) -> Result<(), Halt> {
        let BlockRef { config, weights, d_model } = self;
        let mut input = vec![0.0; stream.len()]; // [n, d_model]
        let norm = weights.attention.norm.as_ref();
        normalise_to(norm, stream, &mut input, d_model);
        let (looking, _) = attend(call, &config.attention, &weights.attention, &input, &mut back.workspace);
        let mut d_input = looking.go_back(back, &input, d_stream)?.input;
        let d_other = match &weights.feed_forward_norm {
            Some(other) => {
                other.apply_to(stream, &mut input, d_model);
                let mut d_other = self.feed_forward_back(back, &input, d_stream);
                other.go_back(back.rules, stream, &mut d_other, d_model);
                Some(d_other)
            }
            None => {
                add(&mut d_input, &self.feed_forward_back(back, &input, d_stream));
                None
            }
        };
        if let Some(norm) = norm {
            norm.go_back(back.rules, stream, &mut d_input, d_model);
        }
        add(d_stream, &d_input);
        add(d_stream, &d_other.unwrap_or_default());
        Ok(())
    }

    fn feed_forward_back(self, back: &mut Back<'_>, input: &[f32], d_output: &[f32]) -> Vec<f32> {
        let (config, weights) = (&self.config.feed_forward, &self.weights.feed_forward);
        feed_forward::go_back(config, weights, back.rules, input, d_output, &mut back.workspace)
    }
}

/// Computes an attention layer once more. Shapes of `input` and of what it gives: `[n, d_model]`.
fn attend<'a>(
    call: AttentionCall<'a>,
    config: &'a Attention,
    weights: &'a AttentionWeights,
    input: &[f32],
    workspace: &mut Workspace,
) -> (AttentionBack<'a>, Vec<f32>) {
    let mut state = LayerState::default();
    let mut output = vec![0.0; input.len()]; // [n, d_model]
    call.run(config, weights, &mut state, input, &mut output, workspace);
    (AttentionBack { call, config, weights, state }, output)
}
