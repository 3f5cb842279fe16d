//! The network in training: parameters that change, and the generic Transformer that is made of them for each step.

use std::path::Path;
use std::sync::Arc;

use attlas::Scoring;
use attlas_kernels::Precision;
use attlas_model::config::{self, Norm};
use attlas_model::family::VASWANI;
use attlas_model::{
    AttentionWeights, BlockWeights, BothWays, ConfigFile, EmbeddingWeights, Expert, FeedForwardWeights, Linear, Mixer,
    NormWeights, Projections, ReadWeights, ReadoutWeights, StackWeights, Transformer, Weight,
};

use crate::Error;
use crate::architecture::{Architecture, Group};

/// The parameters of a network, one variable per group of [`Architecture::groups`].
#[derive(Debug, Clone)]
pub struct Network {
    /// The sizes.
    pub architecture: Architecture,
    /// What each variable holds.
    pub groups: Arc<Vec<Group>>,
    /// The values; shapes `[groups[i].len()]`.
    pub variables: Vec<Vec<f32>>,
    /// The sizes, as the family reads them.
    made_of: config::Architecture,
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
        let made_of = as_the_family_reads(&architecture)?;
        Ok(Network { architecture, groups: Arc::new(groups), variables: values, made_of })
    }

    /// The network as the generic Transformer, its matrices in the order in which products read them.
    pub fn transformer(&self) -> Transformer {
        let Architecture { d_model, tgt_vocab, tied, .. } = self.architecture;
        let table = |variable: usize| Weight::Rows(Arc::new(self.variables[variable].clone()));
        let source = table(0);
        let target = if tied { source.clone() } else { table(1) };
        let output_weight = if tied { 0 } else { 2 };
        let output = linear(&self.variables[output_weight], &self.variables[self.output_bias()], [tgt_vocab, d_model]);
        let stack = |tokens: Weight, config: &Option<config::Stack>, first: usize| {
            let blocks = config.iter().flat_map(|stack| &stack.blocks);
            let mut group = first;
            let block = |config: &config::Block| {
                let first = group;
                group += if config.cross.is_some() { 3 } else { 2 };
                Arc::new(self.block(config, first))
            };
            let blocks = blocks.map(block).collect();
            StackWeights { embedding: embedding(tokens), blocks, final_norm: None, convolution: None }
        };
        let config::Architecture { encoder, decoder, .. } = &self.made_of;
        Transformer {
            architecture: self.made_of.clone(),
            encoder: Some(stack(source, encoder, self.first_layer())),
            decoder: Some(stack(target, decoder, self.first_layer() + 2 * self.architecture.num_layers)),
            readout: ReadoutWeights { output: Some(output), ..ReadoutWeights::default() },
        }
    }

    /// What was summed in a [`Transformer::zeros`] of the network, as its variables lie.
    pub fn gather(&self, sums: &Transformer) -> Vec<Vec<f32>> {
        let mut all: Vec<Vec<f32>> = Vec::with_capacity(self.groups.len());
        let (encoder, decoder) = (sums.encoder.as_ref(), sums.decoder.as_ref());
        let tables = [encoder, decoder].into_iter().flatten().map(|stack| stack.embedding.tokens.rows());
        let output = sums.readout.output.as_ref();
        let matrices = tables.chain(output.map(|output| output.weight.rows()));
        for matrix in matrices {
            match all.first_mut().filter(|_| self.architecture.tied) {
                Some(sum) => add(sum, &matrix), // one matrix for all three
                None => all.push(matrix.into_owned()),
            }
        }
        all.push(output.map_or(Vec::new(), |output| bias_of(output).to_vec()));
        for block in [encoder, decoder].into_iter().flatten().flat_map(|stack| &stack.blocks) {
            all.extend(block.attention().map(gather_attention));
            all.extend(block.cross.as_ref().map(gather_attention));
            all.push(gather_feed_forward(block));
        }
        all
    }

    /// Where the groups of the stacks begin: after the embeddings and the output bias.
    fn first_layer(&self) -> usize {
        if self.architecture.tied { 2 } else { 4 }
    }

    /// The variable of the output projection's bias.
    fn output_bias(&self) -> usize {
        self.first_layer() - 1
    }

    /// A block, whose groups begin at `group`.
    fn block(&self, config: &config::Block, group: usize) -> BlockWeights {
        let n_attention = if config.cross.is_some() { 2 } else { 1 };
        let feed_forward = group + n_attention;
        let [up, up_bias, down, down_bias, norm_weight, norm_bias] = self.parts(feed_forward);
        let Architecture { d_model, d_ff, .. } = self.architecture;
        let expert = Expert {
            up: linear(up, up_bias, [d_ff, d_model]),
            down: linear(down, down_bias, [d_model, d_ff]),
            xielu: None,
        };
        BlockWeights {
            mixer: Mixer::Attention(self.attention(&config.attention, &config.norm, group, Reads::Itself)),
            cross: config.cross.as_ref().map(|cross| self.attention(cross, &config.norm, group + 1, Reads::Encoder)),
            feed_forward: FeedForwardWeights::Plain(expert),
            feed_forward_norm: Some(norm(&config.norm, norm_weight, norm_bias)),
            feed_forward_post_norm: None,
        }
    }

    fn attention(&self, config: &config::Attention, of: &Norm, group: usize, reads: Reads) -> AttentionWeights {
        let d = self.architecture.d_model;
        let [weight, bias, output, output_bias, norm_weight, norm_bias] = self.parts(group);
        let projections = if reads == Reads::Encoder {
            let ((query, key_value), (query_bias, key_value_bias)) = (weight.split_at(d * d), bias.split_at(d));
            Projections::Apart {
                query: linear(query, query_bias, [d, d]),
                key_value: linear(key_value, key_value_bias, [2 * d, d]),
            }
        } else {
            Projections::Joint(linear(weight, bias, [3 * d, d]))
        };
        AttentionWeights {
            projections,
            output: linear(output, output_bias, [d, d]),
            norm: Some(norm(of, norm_weight, norm_bias)),
            post_norm: None,
            gate: None,
            query_norm: None,
            key_norm: None,
            scoring: Arc::new(Scoring::scaled_dot_product(config.d_head, config.visibility)),
            distances: None,
            added: None,
        }
    }

    /// The six parameters of a sublayer.
    fn parts(&self, group: usize) -> [&[f32]; 6] {
        let mut parts = [[].as_slice(); 6];
        for (part, parameter) in parts.iter_mut().zip(&self.groups[group].parameters) {
            *part = &self.variables[group][parameter.range.clone()];
        }
        parts
    }
}

/// What keys and values of an attention are made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// Its own stack's hidden states.
    Itself,
    /// The encoder's.
    Encoder,
}

/// The sizes as the family reads them from `config.json`: what the network computes is said there.
fn as_the_family_reads(sizes: &Architecture) -> Result<config::Architecture, Error> {
    let json = sizes.to_json().to_string();
    let read = ConfigFile::parse(Path::new("config.json"), json.as_bytes()).and_then(|file| (VASWANI.read)(&file));
    read.map(|(architecture, _)| architecture).map_err(|error| Error::Model(error.to_string()))
}

fn linear(weight: &[f32], bias: &[f32], [d_out, d_in]: [usize; 2]) -> Linear {
    let weight = Weight::BothWays(Arc::new(BothWays::new(weight, d_out, d_in)));
    Linear { weight, bias: Some(Arc::new(bias.to_vec())), d_in, d_out, precision: Precision::Exact }
}

fn norm(norm: &Norm, weight: &[f32], bias: &[f32]) -> NormWeights {
    NormWeights { norm: *norm, weight: Arc::new(weight.to_vec()), bias: Arc::new(bias.to_vec()) }
}

fn embedding(tokens: Weight) -> EmbeddingWeights {
    let reads = ReadWeights::Tokens;
    EmbeddingWeights {
        reads,
        tokens,
        positions: None,
        token_types: None,
        norm: None,
        projection: None,
        convolution: None,
    }
}

fn bias_of(linear: &Linear) -> &[f32] {
    linear.bias.as_ref().map_or(&[], |bias| bias)
}

fn gather_attention(sums: &AttentionWeights) -> Vec<f32> {
    let projections = sums.projections.linears();
    let mut all: Vec<f32> = Vec::new();
    projections.iter().for_each(|linear| all.extend_from_slice(&linear.weight.rows()));
    projections.iter().for_each(|linear| all.extend_from_slice(bias_of(linear)));
    gather_linear(&sums.output, &mut all);
    gather_norm(sums.norm.as_ref(), &mut all);
    all
}

fn gather_feed_forward(sums: &BlockWeights) -> Vec<f32> {
    let mut all = Vec::new();
    if let FeedForwardWeights::Plain(expert) = &sums.feed_forward {
        gather_linear(&expert.up, &mut all);
        gather_linear(&expert.down, &mut all);
    }
    gather_norm(sums.feed_forward_norm.as_ref(), &mut all);
    all
}

fn gather_linear(sums: &Linear, all: &mut Vec<f32>) {
    all.extend_from_slice(&sums.weight.rows());
    all.extend_from_slice(bias_of(sums));
}

fn gather_norm(sums: Option<&NormWeights>, all: &mut Vec<f32>) {
    if let Some(sums) = sums {
        all.extend_from_slice(&sums.weight);
        all.extend_from_slice(&sums.bias);
    }
}

/// `sum += values`.
pub fn add(sum: &mut [f32], values: &[f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}
