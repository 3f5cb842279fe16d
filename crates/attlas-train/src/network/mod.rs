//! The encoder-decoder of Vaswani et al. (2017) as operations on a [`Tape`].
//!
//! Every sublayer is one operation with a gradient written by hand: `LayerNorm(x + dropout(sublayer(x)))`. The tape walks
//! them backwards and sums the gradients of what several of them read (the memory).

mod attention_sublayer;
mod embedding;
mod feed_forward;
mod group;
mod tape;

use std::sync::Arc;

pub use attention_sublayer::{Sublayer, cross_attention, self_attention};
pub use embedding::embed;
pub use feed_forward::feed_forward;
pub use tape::{Activation, Gradients, Parameters, Tape, add};

use crate::Error;
use crate::architecture::{Architecture, Group};
use crate::batch::Batch;
use crate::kernels::attention::Mask;
use crate::kernels::dropout::Dropout;
use crate::kernels::linear;
use crate::kernels::softmax_cross_entropy::{self, Sums};

/// The parameters of a network, one variable per group of [`Architecture::groups`].
#[derive(Debug, Clone)]
pub struct Network {
    /// The sizes.
    pub architecture: Architecture,
    /// What each variable holds.
    pub groups: Arc<Vec<Group>>,
    /// The values; shapes `[groups[i].len()]`.
    pub variables: Vec<Vec<f32>>,
}

impl Network {
    /// A network that holds `values`, one flat vector per group.
    ///
    /// # Errors
    /// Sizes that make no model, or values of another size.
    pub fn new(architecture: Architecture, values: Vec<Vec<f32>>) -> Result<Network, Error> {
        architecture.check()?;
        let groups = architecture.groups();
        if values.len() != groups.len() {
            return Err(Error::Setting(format!("{} groups of parameters for {}", values.len(), groups.len())));
        }
        for (group, values) in groups.iter().zip(&values) {
            if values.len() != group.len() {
                return Err(Error::Setting(format!("{} values for {} parameters", values.len(), group.len())));
            }
        }
        Ok(Network { architecture, groups: Arc::new(groups), variables: values })
    }

    /// Where the groups of the stacks begin: after the embeddings and the output bias.
    fn first_layer(&self) -> usize {
        if self.architecture.tied { 2 } else { 4 }
    }

    /// The variable of the target embedding.
    fn target_embedding(&self) -> usize {
        usize::from(!self.architecture.tied)
    }

    /// The variable of the output projection's weight.
    fn output_weight(&self) -> usize {
        if self.architecture.tied { 0 } else { 2 }
    }

    /// The variable of the output projection's bias; all weights of embeddings and outputs come before it.
    fn output_bias(&self) -> usize {
        self.first_layer() - 1
    }

    /// A variable as an operation reads it.
    fn parameters(&self, variable: usize) -> Parameters<'_> {
        Parameters { values: &self.variables[variable], variable }
    }

    /// An attention sublayer between the sentences of a batch.
    fn sublayer<'a>(&self, (queries, keys): (&'a [usize], &'a [usize]), mask: Mask, dropout: Dropout) -> Sublayer<'a> {
        let Architecture { num_heads: n_heads, d_model, .. } = self.architecture;
        Sublayer { query_offsets: queries, key_offsets: keys, n_heads, d_model, mask, dropout }
    }

    /// The encoder's output. Shape `[n_source, d_model]`.
    pub fn encode<'a>(&'a self, batch: &'a Batch, tape: &mut Tape<'a>, dropout: Dropout) -> Activation {
        let Architecture { d_model, d_ff, num_layers, .. } = self.architecture;
        let offsets = batch.source_offsets.as_slice();
        let mut x = embed(tape, self.parameters(0), &batch.source, offsets, d_model, dropout.at(SITE_SOURCE));
        for layer in 0..num_layers {
            let group = self.first_layer() + 2 * layer;
            let site = |index: usize| dropout.at((group + index) as u64);
            let attention = self.sublayer((offsets, offsets), Mask::Full, site(0));
            x = self_attention(tape, &x, self.parameters(group), attention);
            x = feed_forward(tape, &x, self.parameters(group + 1), (d_model, d_ff), site(1));
        }
        x
    }

    /// The decoder's output. Shape `[n_target, d_model]`.
    pub fn decode<'a>(
        &'a self,
        batch: &'a Batch,
        memory: &Activation,
        tape: &mut Tape<'a>,
        dropout: Dropout,
    ) -> Activation {
        let Architecture { d_model, d_ff, num_layers, .. } = self.architecture;
        let offsets = batch.target_offsets.as_slice();
        let embedding = self.parameters(self.target_embedding());
        let mut y = embed(tape, embedding, &batch.target, offsets, d_model, dropout.at(SITE_TARGET));
        for layer in 0..num_layers {
            let group = self.first_layer() + 2 * num_layers + 3 * layer;
            let site = |index: usize| dropout.at((group + index) as u64);
            let attention = self.sublayer((offsets, offsets), Mask::Causal, site(0));
            y = self_attention(tape, &y, self.parameters(group), attention);
            let attention = self.sublayer((offsets, &batch.source_offsets), Mask::Full, site(1));
            y = cross_attention(tape, (&y, memory), self.parameters(group + 1), attention);
            y = feed_forward(tape, &y, self.parameters(group + 2), (d_model, d_ff), site(2));
        }
        y
    }

    /// The loss of a batch, without dropout and smoothing.
    pub fn loss(&self, batch: &Batch) -> Sums {
        let mut tape = Tape::off();
        let memory = self.encode(batch, &mut tape, Dropout::OFF);
        let hidden = self.decode(batch, &memory, &mut tape, Dropout::OFF);
        softmax_cross_entropy::forward(self.inputs_of_loss(&hidden), &batch.predicted, 0.0, None)
    }

    /// The loss of a batch; adds the gradients of `scale · Σ objective` to `sums`, one vector per variable.
    pub fn gradients(&self, batch: &Batch, dropout: Dropout, objective: Objective, sums: &mut [Vec<f32>]) -> Sums {
        let mut tape = Tape::recording();
        let memory = self.encode(batch, &mut tape, dropout);
        let hidden = self.decode(batch, &memory, &mut tape, dropout);
        let mut d_hidden = vec![0.0; hidden.values.len()]; // [n_target, d_model]
        let (weights, rest) = sums.split_at_mut(self.output_bias());
        let gradients = softmax_cross_entropy::Gradients {
            scale: objective.scale,
            hidden: &mut d_hidden,
            weight: &mut weights[self.output_weight()],
            bias: &mut rest[0],
        };
        let inputs = self.inputs_of_loss(&hidden);
        let loss = softmax_cross_entropy::forward(inputs, &batch.predicted, objective.smoothing, Some(gradients));
        tape.walk_back(&hidden, d_hidden, sums);
        loss
    }

    /// Hidden states, weight and bias of the output projection.
    fn inputs_of_loss<'a>(&'a self, hidden: &'a Activation) -> (&'a [f32], &'a [f32], &'a [f32]) {
        (&hidden.values, &self.variables[self.output_weight()], &self.variables[self.output_bias()])
    }

    /// The logits of the last token of each sentence. Shape `[n_sentences, n_vocab]`.
    pub fn last_logits(&self, batch: &Batch, memory: &Activation) -> Vec<f32> {
        let d_model = self.architecture.d_model;
        let hidden = self.decode(batch, memory, &mut Tape::off(), Dropout::OFF);
        let mut last = Vec::new(); // [n_sentences, d_model]
        for end in &batch.target_offsets[1..] {
            last.extend_from_slice(&hidden.values[(end - 1) * d_model..end * d_model]);
        }
        let (_, weight, bias) = self.inputs_of_loss(&hidden);
        linear::forward(&last, weight, bias)
    }
}

/// Dropout places that are no group of parameters.
const SITE_SOURCE: u64 = 1 << 32;
const SITE_TARGET: u64 = 2 << 32;

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    /// Label smoothing ε.
    pub smoothing: f32,
    /// The factor of the sum over tokens.
    pub scale: f32,
}
