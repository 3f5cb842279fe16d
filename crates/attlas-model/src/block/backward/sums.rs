//! Gradients of parameters. They have the type of the parameters: a Transformer whose numbers are sums of gradients.

use std::sync::Arc;

use attlas::{Bias, Kind, Scoring};
use attlas_kernels::{Matrix, Onto, Precision, Threads, multiply};

use crate::block::convolution::Convolution;
use crate::block::linear::{Linear, Weight};
use crate::block::norm::NormWeights;
use crate::block::weights::{
    AttentionWeights, BlockWeights, EmbeddingWeights, Expert, FeedForwardWeights, Mixer, MixtureWeights, PatchWeights,
    Projections, ReadWeights, ReadoutWeights, SharedExpert, StackWeights, Transformer,
};

/// Where gradients of parameters are summed; nowhere when they are not asked for.
pub(crate) struct Sums<'a>(pub Option<&'a mut Transformer>);

/// A sublayer of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The kind of attention in it, or for a feed-forward its stack's.
    pub kind: Kind,
    /// The block.
    pub layer: usize,
    pub part: Part,
}

/// What a sublayer computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Attention,
    FeedForward,
}

impl Sums<'_> {
    pub fn readout(&mut self) -> Option<&mut ReadoutWeights> {
        self.0.as_deref_mut().map(|sums| &mut sums.readout)
    }

    pub fn stack(&mut self, kind: Kind) -> Option<&mut StackWeights> {
        let sums = self.0.as_deref_mut()?;
        if kind == Kind::Encoder { sums.encoder.as_mut() } else { sums.decoder.as_mut() }
    }

    fn block(&mut self, kind: Kind, layer: usize) -> Option<&mut BlockWeights> {
        self.stack(kind)?.blocks.get_mut(layer).map(Arc::make_mut)
    }

    pub fn attention(&mut self, kind: Kind, layer: usize) -> Option<&mut AttentionWeights> {
        let block = self.block(kind, layer)?;
        if kind == Kind::Cross { block.cross.as_mut() } else { block.attention_mut() }
    }

    pub fn feed_forward(&mut self, kind: Kind, layer: usize) -> Option<&mut FeedForwardWeights> {
        self.block(kind, layer).map(|block| &mut block.feed_forward)
    }

    /// The norm of a sublayer, before it or after.
    pub fn norm(&mut self, place: Place) -> Option<&mut NormWeights> {
        match place.part {
            Part::Attention => self.attention(place.kind, place.layer)?.norm.as_mut(),
            Part::FeedForward => self.block(place.kind, place.layer)?.feed_forward_norm.as_mut(),
        }
    }

    /// The norm on what a sublayer gives, where there are two.
    pub fn post_norm(&mut self, place: Place) -> Option<&mut NormWeights> {
        match place.part {
            Part::Attention => self.attention(place.kind, place.layer)?.post_norm.as_mut(),
            Part::FeedForward => self.block(place.kind, place.layer)?.feed_forward_post_norm.as_mut(),
        }
    }
}

impl Weight {
    /// The numbers of a sum.
    pub(super) fn sums(&mut self) -> &mut [f32] {
        if !matches!(self, Weight::Rows(_)) {
            *self = Weight::Rows(Arc::new(self.rows().into_owned()));
        }
        match self {
            Weight::Rows(rows) => Arc::make_mut(rows).as_mut_slice(),
            _ => &mut [],
        }
    }

    fn zeros(&self) -> Weight {
        Weight::Rows(Arc::new(vec![0.0; self.len()]))
    }
}

impl Linear {
    /// Adds to sums of gradients: `∂S/∂W = ∂S/∂yᵀ · x`, and of the bias the sum over rows of `∂S/∂y`. Shapes `[n, d_in]` and
    /// `[n, d_out]`.
    pub(super) fn add_gradients(&mut self, input: &[f32], d_output: &[f32]) {
        let (d_in, d_out) = (self.d_in, self.d_out);
        let n = input.len() / d_in;
        let left = Matrix::new(d_output, n, d_out).transposed();
        multiply(left, Matrix::new(input, n, d_in), Onto::Add, Threads::All, self.weight.sums());
        if let Some(bias) = &mut self.bias {
            let bias = Arc::make_mut(bias);
            d_output.chunks_exact(d_out).for_each(|row| super::add(bias, row));
        }
    }

    pub(super) fn zeros(&self) -> Linear {
        let bias = self.bias.as_ref().map(|bias| Arc::new(vec![0.0; bias.len()]));
        Linear { weight: self.weight.zeros(), bias, precision: Precision::Exact, ..*self }
    }
}

impl Transformer {
    /// The same with 0 in the place of every learnt number: what gradients are added to. Where blocks or matrices share
    /// numbers, each gets sums of its own, and so does each offset of a table of relative positions. What distances meet where
    /// scores join both, numbers of ways from patch to patch and slopes of a learnt non-linearity stay as they are.
    pub fn zeros(&self) -> Transformer {
        let transform = self.readout.transform.as_ref();
        let readout = ReadoutWeights {
            transform: transform.map(|(dense, norm)| (dense.zeros(), norm.as_ref().map(NormWeights::zeros))),
            output: self.readout.output.as_ref().map(Linear::zeros),
            boxes: self.readout.boxes.iter().map(Linear::zeros).collect(),
            contacts: None,
        };
        Transformer {
            architecture: self.architecture.clone(),
            encoder: self.encoder.as_ref().map(StackWeights::zeros),
            decoder: self.decoder.as_ref().map(StackWeights::zeros),
            readout,
        }
    }
}

impl NormWeights {
    pub(super) fn zeros(&self) -> NormWeights {
        let zeros = |numbers: &Vec<f32>| Arc::new(vec![0.0; numbers.len()]);
        NormWeights { norm: self.norm, weight: zeros(&self.weight), bias: zeros(&self.bias) }
    }
}

impl Convolution {
    fn zeros(&self) -> Convolution {
        Convolution { linear: self.linear.zeros(), ..*self }
    }
}

impl StackWeights {
    fn zeros(&self) -> StackWeights {
        let convolution = self.convolution.as_ref();
        StackWeights {
            embedding: self.embedding.zeros(),
            blocks: self.blocks.iter().map(|block| Arc::new(block.zeros())).collect(),
            final_norm: self.final_norm.as_ref().map(NormWeights::zeros),
            convolution: convolution.map(|(convolution, norm)| (convolution.zeros(), norm.zeros())),
        }
    }
}

impl EmbeddingWeights {
    fn zeros(&self) -> EmbeddingWeights {
        let table = |table: &Option<Arc<Vec<f32>>>| table.as_ref().map(|table| Arc::new(vec![0.0; table.len()]));
        EmbeddingWeights {
            reads: match &self.reads {
                ReadWeights::Tokens => ReadWeights::Tokens,
                ReadWeights::Patches(patches) => ReadWeights::Patches(PatchWeights {
                    projection: patches.projection.zeros(),
                    leading: vec![0.0; patches.leading.len()],
                    positions: vec![0.0; patches.positions.len()],
                }),
                ReadWeights::Grid(backbone) => ReadWeights::Grid(backbone.clone()), // nothing goes back through it
                ReadWeights::Frames(both) => ReadWeights::Frames(both.each_ref().map(Convolution::zeros)),
                ReadWeights::Samples(layers) => ReadWeights::Samples(layers.clone()), // nothing goes back through them
            },
            tokens: self.tokens.zeros(),
            positions: table(&self.positions),
            token_types: table(&self.token_types),
            norm: self.norm.as_ref().map(NormWeights::zeros),
            projection: self.projection.as_ref().map(Linear::zeros),
            convolution: self.convolution.clone(),
        }
    }
}

impl BlockWeights {
    fn zeros(&self) -> BlockWeights {
        BlockWeights {
            mixer: match &self.mixer {
                Mixer::Attention(attention) => Mixer::Attention(attention.zeros()),
                Mixer::Recurrence(recurrence) => Mixer::Recurrence(recurrence.clone()), // nothing goes back through it
            },
            cross: self.cross.as_ref().map(AttentionWeights::zeros),
            feed_forward: match &self.feed_forward {
                FeedForwardWeights::Plain(expert) => FeedForwardWeights::Plain(expert.zeros()),
                FeedForwardWeights::Mixture(mixture) => FeedForwardWeights::Mixture(mixture.zeros()),
            },
            feed_forward_norm: self.feed_forward_norm.as_ref().map(NormWeights::zeros),
            feed_forward_post_norm: self.feed_forward_post_norm.as_ref().map(NormWeights::zeros),
        }
    }
}

impl MixtureWeights {
    fn zeros(&self) -> MixtureWeights {
        let shared = self.shared.as_ref();
        MixtureWeights {
            config: self.config,
            router: self.router.zeros(),
            correction: self.correction.clone(),
            experts: self.experts.iter().map(Expert::zeros).collect(),
            shared: shared.map(|shared| SharedExpert {
                expert: shared.expert.zeros(),
                gate: shared.gate.as_ref().map(Linear::zeros),
            }),
        }
    }
}

impl Expert {
    fn zeros(&self) -> Expert {
        Expert { up: self.up.zeros(), down: self.down.zeros(), xielu: self.xielu }
    }
}

impl AttentionWeights {
    fn zeros(&self) -> AttentionWeights {
        AttentionWeights {
            projections: match &self.projections {
                Projections::Joint(linear) => Projections::Joint(linear.zeros()),
                Projections::Apart { query, key_value } => {
                    Projections::Apart { query: query.zeros(), key_value: key_value.zeros() }
                }
                Projections::Latent(latent) => Projections::Latent(Box::new(latent.zeros())),
            },
            output: self.output.zeros(),
            norm: self.norm.as_ref().map(NormWeights::zeros),
            post_norm: self.post_norm.as_ref().map(NormWeights::zeros),
            gate: self.gate.clone(), // nothing goes back through it
            query_norm: self.query_norm.as_ref().map(NormWeights::zeros),
            key_norm: self.key_norm.as_ref().map(NormWeights::zeros),
            scoring: Arc::new(zeros_of(&self.scoring)),
            distances: self.distances.clone(),
            added: self.added.clone(),
        }
    }
}

/// A rule of scores whose learnt numbers, the table of relative positions and the sinks, are 0.
fn zeros_of(scoring: &Scoring) -> Scoring {
    let zeros = |numbers: &Vec<f32>| vec![0.0; numbers.len()];
    let bias = match &scoring.bias {
        Bias::Relative { first, table, n_offsets } => {
            Bias::Relative { first: *first, table: zeros(table), n_offsets: *n_offsets }
        }
        given => given.clone(),
    };
    Scoring { bias, sinks: scoring.sinks.as_ref().map(zeros), ..scoring.clone() }
}
