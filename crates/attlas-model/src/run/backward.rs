//! A run and the way back: the gradient of a number that a model computes, with respect to what it computed it from.

use super::collect::Kept;
use super::input::Input;
use super::record::Run;
use crate::Error;
use crate::block::pass::{Array, Keep, Next, Pass, Progress, Site, Watch};
use crate::model::Model;
use attlas::Kind;

/// What is asked of the way back.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Backward {
    /// The sites whose gradients are kept, each with the kinds and layers it is kept at; a gradient has the shape of its
    /// site. [`Site::Attention`] stands for the weights themselves, `∂S/∂A`, shape `[batch, n_heads, n_queries, n_keys]`,
    /// and [`Site::Stream`] of layer 0 for the sum that enters the stack (words, positions and types, its norm applied).
    pub keep: Vec<Keep>,
    /// By which rules the numbers go back.
    pub rules: Rules,
    /// Rows that are read in the place of the table's, such as a step on the way from a baseline; positions and types are
    /// added to them as to any.
    pub words: Words,
}

/// By which rules numbers go back through a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Rules {
    /// By the chain rule: gradients.
    #[default]
    Gradient,
    /// Such that an input times what comes back is its relevance (Achtibat et al. 2024, AttnLRP): the divisor of a norm is
    /// held fixed, a non-linearity counts as `f(x) / x`, what comes back through a product of two is halved, and with it
    /// queries and keys get a quarter, values half.
    AttnLrp,
    /// The same with attention weights held fixed: nothing goes back through queries and keys, all through values (Ali et al.
    /// 2022, CP-LRP).
    CpLrp,
}

/// A row for each token that is read by its id: of the table of words as it is stored, before the factor on it, positions,
/// types and norm; or the gradient with respect to that row. `None` where a stack reads no ids, or nothing is given.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Words {
    /// What the encoder reads. Shape `[batch, n_source, width]`.
    pub source: Option<Array>,
    /// What the decoder reads. Shape `[batch, n_target, width]`.
    pub target: Option<Array>,
}

/// A run, and the gradients of a number `S` that its output gives.
#[derive(Debug, Clone)]
pub struct Gradients {
    /// The run, with what its plan keeps; its logits are there always, where the model has any.
    pub run: Run,
    /// `∂S/∂logits`, as it was given: of the last hidden states where the model has no readout.
    pub output: Array,
    /// `∂S/∂E[id]`, token by token.
    pub words: Words,
    /// `∂S/∂x` of the images or spectrograms that were read, shape `[batch, ..]`; `None` where the model reads texts.
    pub features: Option<Array>,
    /// The gradients with respect to the sites that were asked for: encoder, decoder, cross; each by layer.
    pub kept: Vec<Kept>,
}

impl Gradients {
    /// The gradient with respect to a site that was kept at a layer.
    pub fn of(&self, site: Site, kind: Kind, layer: usize) -> Option<&Array> {
        let found = self.kept.iter().find(|kept| (kept.site, kept.kind, kept.layer) == (site, kind, layer));
        found.map(|kept| &kept.array)
    }
}

/// Of a model's output (logits, with the shape of [`Run::logits`]; the last hidden states, `[batch, n, d_model]`, where
/// there is no readout), the gradient of the number that is explained with respect to it, of the same shape.
pub type Score<'s> = dyn FnMut(&Array) -> Result<Vec<f32>, Error> + 's;

impl Model {
    /// Runs the model over a batch of texts and goes back, from what `score` says of its output to what it read.
    ///
    /// Of the forward pass the hidden states between layers are held in memory, each block is computed once more on the way
    /// back; memory grows with the length of the texts, not with its square, unless gradients of weights or scores are kept. A
    /// backward pass takes about the time of three forward passes. The edits of `pass` hold on both ways: nothing goes back
    /// through an output, weight or hidden state that was given.
    ///
    /// # Errors
    /// As [`Model::run`]; when a gradient is asked for where there is none, given rows have another shape, `score` fails or gives
    /// another number of numbers; when a gradient is not finite; and for models whose scores join content and distance (DeBERTa).
    pub fn backward(
        &self,
        inputs: &[Input],
        pass: &Pass,
        options: &Backward,
        score: &mut Score<'_>,
    ) -> Result<Gradients, Error> {
        self.backward_watched(inputs, pass, options, score, &mut |_| Next::Continue)
    }

    /// The same, telling `watch` before each block, on both ways, where it is.
    ///
    /// # Errors
    /// As [`Model::backward`], and [`Error::Stopped`] when `watch` says so.
    pub fn backward_watched(
        &self,
        _inputs: &[Input],
        _pass: &Pass,
        _options: &Backward,
        _score: &mut Score<'_>,
        _watch: &mut dyn FnMut(Progress) -> Next,
    ) -> Result<Gradients, Error> {
        let _: Option<&Watch<'_>> = None;
        Err(Error::Unsupported(format!("{} has no backward pass", self.name())))
    }

    /// The rows of the tables of words that the model reads for these texts, padding included.
    ///
    /// # Errors
    /// When an input does not fit the model.
    pub fn words(&self, _inputs: &[Input]) -> Result<Words, Error> {
        Err(Error::Unsupported(format!("{} has no backward pass", self.name())))
    }
}
