//! All learnt numbers of a Transformer, by name.

use std::borrow::Cow;

use attlas::Bias;

use super::linear::{Linear, Weight};
use super::norm::NormWeights;
use super::recurrence::{DeltaWeights, Mamba2Weights, MambaWeights, RecurrenceWeights, RuleWeights};
use super::weights::{
    AttentionWeights, EmbeddingWeights, Expert, FeedForwardWeights, Mixer, Narrowed, Projections, QueryProjection,
    ReadWeights, SampleLayer, StackWeights, Transformer,
};

/// A matrix, a table, a bias or the factors of a norm.
#[derive(Debug)]
pub struct Parameter<'a> {
    /// Where it stands: `decoder.blocks.3.cross.output.weight`.
    pub name: String,
    /// Its numbers.
    pub numbers: Numbers<'a>,
}

/// The numbers of a parameter.
#[derive(Debug, Clone, Copy)]
pub enum Numbers<'a> {
    /// In the order in which products read them.
    Matrix(&'a Weight),
    /// One after the other.
    Plain(&'a [f32]),
}

impl<'a> Numbers<'a> {
    /// How many there are.
    pub fn len(self) -> usize {
        match self {
            Numbers::Matrix(weight) => weight.len(),
            Numbers::Plain(numbers) => numbers.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The numbers, rows one after the other.
    pub fn values(self) -> Cow<'a, [f32]> {
        match self {
            Numbers::Matrix(weight) => weight.rows(),
            Numbers::Plain(numbers) => Cow::Borrowed(numbers),
        }
    }
}

impl Transformer {
    /// All learnt numbers: encoder, decoder, readout. A block that layers share stands there once for each, a matrix that is
    /// also a table once for either, and a table of relative positions once for each layer, spread over the offsets: a number
    /// for every offset of a bucket. The rows that distances meet where scores join both ([`DistanceWeights`]) are made of
    /// others and not among them.
    ///
    /// [`DistanceWeights`]: super::weights::DistanceWeights
    pub fn parameters(&self) -> Vec<Parameter<'_>> {
        let mut found = Found(Vec::new());
        for (name, stack) in [("encoder", &self.encoder), ("decoder", &self.decoder)] {
            if let Some(stack) = stack {
                found.stack(name, stack);
            }
        }
        if let Some((dense, norm)) = &self.readout.transform {
            found.linear("readout.transform", dense);
            found.norm("readout.norm", norm.as_ref());
        }
        if let Some(output) = &self.readout.output {
            found.linear("readout.output", output);
        }
        found.0.retain(|parameter| !parameter.numbers.is_empty());
        found.0
    }
}

struct Found<'a>(Vec<Parameter<'a>>);

impl<'a> Found<'a> {
    fn plain(&mut self, name: String, numbers: &'a [f32]) {
        self.0.push(Parameter { name, numbers: Numbers::Plain(numbers) });
    }

    fn linear(&mut self, name: &str, linear: &'a Linear) {
        self.0.push(Parameter { name: format!("{name}.weight"), numbers: Numbers::Matrix(&linear.weight) });
        if let Some(bias) = &linear.bias {
            self.plain(format!("{name}.bias"), bias);
        }
    }

    fn norm(&mut self, name: &str, norm: Option<&'a NormWeights>) {
        if let Some(norm) = norm {
            self.plain(format!("{name}.weight"), &norm.weight);
            self.plain(format!("{name}.bias"), &norm.bias);
        }
    }

    fn stack(&mut self, name: &str, stack: &'a StackWeights) {
        self.embedding(&format!("{name}.embedding"), &stack.embedding);
        if let Some((convolution, norm)) = &stack.convolution {
            self.linear(&format!("{name}.convolution"), &convolution.linear);
            self.norm(&format!("{name}.convolution.norm"), Some(norm));
        }
        for (layer, block) in stack.blocks.iter().enumerate() {
            let under = |part: &str| format!("{name}.blocks.{layer}.{part}");
            match &block.mixer {
                Mixer::Attention(attention) => self.attention(&under("attention"), attention),
                Mixer::Recurrence(recurrence) => self.recurrence(&under("recurrence"), recurrence),
            }
            if let Some(cross) = &block.cross {
                self.attention(&under("cross"), cross);
            }
            match &block.feed_forward {
                FeedForwardWeights::Plain(expert) => self.expert(&under("feed_forward"), expert),
                FeedForwardWeights::Mixture(mixture) => {
                    self.linear(&under("feed_forward.router"), &mixture.router);
                    for (index, expert) in mixture.experts.iter().enumerate() {
                        self.expert(&under(&format!("feed_forward.experts.{index}")), expert);
                    }
                    if let Some(shared) = &mixture.shared {
                        if let Some(gate) = &shared.gate {
                            self.linear(&under("feed_forward.shared.gate"), gate);
                        }
                        self.expert(&under("feed_forward.shared"), &shared.expert);
                    }
                }
            }
            self.norm(&under("feed_forward.norm"), block.feed_forward_norm.as_ref());
            self.norm(&under("feed_forward.post_norm"), block.feed_forward_post_norm.as_ref());
        }
        self.norm(&format!("{name}.final_norm"), stack.final_norm.as_ref());
    }

    fn embedding(&mut self, name: &str, embedding: &'a EmbeddingWeights) {
        match &embedding.reads {
            ReadWeights::Tokens => {}
            ReadWeights::Patches(patches) => {
                self.linear(&format!("{name}.patches"), &patches.projection);
                self.plain(format!("{name}.leading"), &patches.leading);
                self.plain(format!("{name}.patches.positions"), &patches.positions);
            }
            ReadWeights::Grid(backbone) => {
                for (index, linear) in backbone.linears().into_iter().enumerate() {
                    self.linear(&format!("{name}.grid.{index}"), linear);
                }
            }
            ReadWeights::Frames(convolutions) => {
                for (index, convolution) in convolutions.iter().enumerate() {
                    self.linear(&format!("{name}.frames.{index}"), &convolution.linear);
                }
            }
            ReadWeights::Samples(layers) => {
                for (index, SampleLayer { convolution, norm }) in layers.iter().enumerate() {
                    self.linear(&format!("{name}.samples.{index}"), &convolution.linear);
                    self.norm(&format!("{name}.samples.{index}.norm"), norm.as_ref());
                }
            }
        }
        if let Some((convolution, norm)) = &embedding.convolution {
            for (index, group) in convolution.groups.iter().enumerate() {
                self.linear(&format!("{name}.convolution.{index}"), &group.linear);
            }
            self.norm(&format!("{name}.convolution.norm"), norm.as_ref());
        }
        self.0.push(Parameter { name: format!("{name}.tokens"), numbers: Numbers::Matrix(&embedding.tokens) });
        for (part, table) in [("positions", &embedding.positions), ("token_types", &embedding.token_types)] {
            if let Some(table) = table {
                self.plain(format!("{name}.{part}"), table);
            }
        }
        self.norm(&format!("{name}.norm"), embedding.norm.as_ref());
        if let Some(projection) = &embedding.projection {
            self.linear(&format!("{name}.projection"), projection);
        }
    }

    fn attention(&mut self, name: &str, attention: &'a AttentionWeights) {
        match &attention.projections {
            Projections::Joint(linear) => self.linear(&format!("{name}.query_key_value"), linear),
            Projections::Apart { query, key_value } => {
                self.linear(&format!("{name}.query"), query);
                self.linear(&format!("{name}.key_value"), key_value);
            }
            Projections::Latent(latent) => {
                match &latent.query {
                    QueryProjection::Plain(linear) => self.linear(&format!("{name}.query"), linear),
                    QueryProjection::Narrowed(narrowed) => self.narrowed(&format!("{name}.query"), narrowed),
                }
                self.narrowed(&format!("{name}.key_value"), &latent.key_value);
            }
        }
        self.linear(&format!("{name}.output"), &attention.output);
        if let Some(gate) = &attention.gate {
            self.linear(&format!("{name}.gate"), gate);
        }
        for (part, norm) in [
            ("norm", &attention.norm),
            ("post_norm", &attention.post_norm),
            ("query_norm", &attention.query_norm),
            ("key_norm", &attention.key_norm),
        ] {
            self.norm(&format!("{name}.{part}"), norm.as_ref());
        }
        if let Bias::Relative { table, .. } = &attention.scoring.bias {
            self.plain(format!("{name}.relative"), table);
        }
        if let Some(sinks) = &attention.scoring.sinks {
            self.plain(format!("{name}.sinks"), sinks);
        }
    }

    fn recurrence(&mut self, name: &str, recurrence: &'a RecurrenceWeights) {
        self.norm(&format!("{name}.norm"), recurrence.norm.as_ref());
        self.linear(&format!("{name}.into"), &recurrence.into);
        self.plain(format!("{name}.convolution.weight"), &recurrence.convolution.weight);
        if let Some(bias) = &recurrence.convolution.bias {
            self.plain(format!("{name}.convolution.bias"), bias);
        }
        match &recurrence.rule {
            RuleWeights::Mamba(MambaWeights { narrow, norms, steps, decay, skip, .. }) => {
                self.linear(&format!("{name}.narrow"), narrow);
                for (part, norm) in ["step_norm", "b_norm", "c_norm"].into_iter().zip(norms) {
                    self.norm(&format!("{name}.{part}"), Some(norm));
                }
                self.linear(&format!("{name}.steps"), steps);
                self.plain(format!("{name}.decay"), decay);
                self.plain(format!("{name}.skip"), skip);
            }
            RuleWeights::Mamba2(Mamba2Weights { step_bias, decay, skip, norm, .. }) => {
                self.plain(format!("{name}.step_bias"), step_bias);
                self.plain(format!("{name}.decay"), decay);
                self.plain(format!("{name}.skip"), skip);
                self.norm(&format!("{name}.gated_norm"), Some(norm));
            }
            RuleWeights::Delta(DeltaWeights { rates, step_bias, decay, norm, .. }) => {
                self.linear(&format!("{name}.rates"), rates);
                self.plain(format!("{name}.step_bias"), step_bias);
                self.plain(format!("{name}.decay"), decay);
                self.norm(&format!("{name}.gated_norm"), Some(norm));
            }
        }
        self.linear(&format!("{name}.output"), &recurrence.output);
    }

    fn narrowed(&mut self, name: &str, narrowed: &'a Narrowed) {
        self.linear(&format!("{name}.down"), &narrowed.down);
        self.norm(&format!("{name}.norm"), Some(&narrowed.norm));
        self.linear(&format!("{name}.up"), &narrowed.up);
    }

    fn expert(&mut self, name: &str, expert: &'a Expert) {
        self.linear(&format!("{name}.up"), &expert.up);
        self.linear(&format!("{name}.down"), &expert.down);
    }
}
