//! The encoder-decoder of Vaswani et al. (2017) as a graph that candle's autograd walks backwards.
//!
//! Every sublayer is one operation with a gradient written by hand: `LayerNorm(x + dropout(sublayer(x)))`. The framework
//! links them, sums the gradients of what several of them read (the memory, the residual stream) and orders the walk; the
//! gradients of parameters are added to an [`Accumulator`].

mod attention_sublayer;
mod embedding;
mod feed_forward;
mod loss;
mod storage;

use std::sync::Arc;

use candle_core::{Tensor, Var};

pub use attention_sublayer::{cross_attention, self_attention};
pub use embedding::embed;
pub use feed_forward::feed_forward;
pub use loss::{Loss, loss};
pub use storage::{Accumulator, with_slice};

use storage::Slot;

use crate::architecture::{Architecture, Group};
use crate::batch::Batch;
use crate::kernels::attention::Mask;
use crate::kernels::dropout::Dropout;
use crate::{Error, kernels};

/// The parameters of a network, one variable per group of [`Architecture::groups`].
#[derive(Debug, Clone)]
pub struct Network {
    /// The sizes.
    pub architecture: Architecture,
    /// What each variable holds.
    pub groups: Arc<Vec<Group>>,
    /// The values; shapes `[groups[i].len()]`.
    pub variables: Vec<Var>,
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
        let mut variables = Vec::with_capacity(groups.len());
        for (group, values) in groups.iter().zip(values) {
            if values.len() != group.len() {
                return Err(Error::Setting(format!("{} values for {} parameters", values.len(), group.len())));
            }
            variables.push(Var::from_vec(values, group.len(), &candle_core::Device::Cpu)?);
        }
        Ok(Network { architecture, groups: Arc::new(groups), variables })
    }

    /// The values of all groups, copied.
    ///
    /// # Errors
    /// None in practice: the variables are contiguous.
    pub fn values(&self) -> Result<Vec<Vec<f32>>, Error> {
        self.variables.iter().map(|variable| Ok(variable.as_tensor().to_vec1()?)).collect()
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

    /// The variable of the output projection's bias.
    fn output_bias(&self) -> usize {
        self.first_layer() - 1
    }

    /// The encoder's output. Shape `[n_source, d_model]`.
    ///
    /// # Errors
    /// The tensor library's.
    pub fn encode(&self, batch: &Arc<Batch>, pass: Pass<'_>) -> Result<Tensor, Error> {
        let sizes = &self.architecture;
        let mut x = embed(
            (self.variables[0].as_tensor(), pass.slot(0)),
            &batch.source,
            &batch.source_offsets,
            sizes.d_model,
            pass.dropout.at(SITE_SOURCE),
        )?;
        for layer in 0..sizes.num_layers {
            let group = self.first_layer() + 2 * layer;
            let parameters = |index: usize| (self.variables[group + index].as_tensor(), pass.slot(group + index));
            let site = |index: usize| pass.dropout.at((group + index) as u64);
            x = self_attention(&x, parameters(0), &batch.source_offsets, sizes.num_heads, Mask::Full, site(0))?;
            x = feed_forward(&x, parameters(1), sizes.d_ff, site(1))?;
        }
        Ok(x)
    }

    /// The decoder's output. Shape `[n_target, d_model]`.
    ///
    /// # Errors
    /// The tensor library's.
    pub fn decode(&self, batch: &Arc<Batch>, memory: &Tensor, pass: Pass<'_>) -> Result<Tensor, Error> {
        let sizes = &self.architecture;
        let target = self.target_embedding();
        let mut y = embed(
            (self.variables[target].as_tensor(), pass.slot(target)),
            &batch.target,
            &batch.target_offsets,
            sizes.d_model,
            pass.dropout.at(SITE_TARGET),
        )?;
        for layer in 0..sizes.num_layers {
            let group = self.first_layer() + 2 * sizes.num_layers + 3 * layer;
            let parameters = |index: usize| (self.variables[group + index].as_tensor(), pass.slot(group + index));
            let site = |index: usize| pass.dropout.at((group + index) as u64);
            y = self_attention(&y, parameters(0), &batch.target_offsets, sizes.num_heads, Mask::Causal, site(0))?;
            y = cross_attention(
                &y,
                memory,
                parameters(1),
                (&batch.target_offsets, &batch.source_offsets),
                sizes.num_heads,
                site(1),
            )?;
            y = feed_forward(&y, parameters(2), sizes.d_ff, site(2))?;
        }
        Ok(y)
    }

    /// The loss of a batch: `scale · Σ objective` as a tensor to walk back from, and its sums.
    ///
    /// # Errors
    /// The tensor library's.
    pub fn loss(&self, batch: &Arc<Batch>, pass: Pass<'_>, objective: Objective) -> Result<Loss, Error> {
        let memory = self.encode(batch, pass)?;
        let hidden = self.decode(batch, &memory, pass)?;
        let [weight, bias] = [self.output_weight(), self.output_bias()]
            .map(|variable| (self.variables[variable].as_tensor(), pass.slot(variable)));
        loss(&hidden, weight, bias, &batch.predicted, objective)
    }

    /// The logits of the last token of each sentence. Shape `[n_sentences, n_vocab]`.
    ///
    /// # Errors
    /// The tensor library's.
    pub fn last_logits(&self, batch: &Arc<Batch>, memory: &Tensor) -> Result<Vec<f32>, Error> {
        let d_model = self.architecture.d_model;
        let hidden = self.decode(batch, memory, Pass::FORWARD)?;
        let mut last = Vec::new(); // [n_sentences, d_model]
        with_slice(&hidden, |hidden| {
            for end in &batch.target_offsets[1..] {
                last.extend_from_slice(&hidden[(end - 1) * d_model..end * d_model]);
            }
        })?;
        let mut logits = Vec::new();
        with_slice(self.variables[self.output_weight()].as_tensor(), |weight| {
            with_slice(self.variables[self.output_bias()].as_tensor(), |bias| {
                logits = kernels::linear::forward(&last, weight, bias)
            })
        })??;
        Ok(logits)
    }
}

/// What goes with one pass through the network.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// Which values are set to 0.
    pub dropout: Dropout,
    /// Where gradients of parameters are summed; `None` where there is no way back.
    pub gradients: Option<&'a Accumulator>,
}

impl Pass<'_> {
    /// Without dropout and without a way back.
    pub const FORWARD: Pass<'static> = Pass { dropout: Dropout::OFF, gradients: None };

    /// The slot of a variable.
    fn slot(&self, variable: usize) -> Option<Slot> {
        self.gradients.map(|gradients| gradients.slot(variable))
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
    /// The factor of the sum over tokens; `None` when no gradient is wanted.
    pub scale: Option<f32>,
}
