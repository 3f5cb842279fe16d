//! From named tensors to the generic Transformer: which names is all that a family has to say.

use std::sync::Arc;

use attlas::{Bias, Scoring};

use crate::Error;
use crate::config::{
    Architecture, Attention, Block, Directions, Embedding, FeedForward, Gating, Head, Norm, NormKind, Output,
    PositionBias, Positions, QkScope, Residual, Stack, Transform,
};
use crate::linear::Linear;
use crate::norm::NormWeights;
use crate::transformer::{
    AttentionWeights, BlockWeights, EmbeddingWeights, Expert, FeedForwardWeights, HeadWeights, Projections,
    StackWeights, Transformer,
};
use crate::weights::Checkpoint;

/// How a family names its tensors. A linear layer or norm is named without its ending: `.weight` and `.bias` are
/// added, or put in the place of a `*`.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// What the stacks' names may stand under; the first that fits is taken for all of them.
    pub prefixes: &'static [&'static str],
    /// The encoder's names.
    pub encoder: Option<StackNames>,
    /// The decoder's names.
    pub decoder: Option<StackNames>,
    /// The head's names, not under a prefix.
    pub head: HeadNames,
    /// How linear layers are stored.
    pub layout: Layout,
    /// Beginnings or endings of names that may be there and are not needed.
    pub ignored: &'static [&'static str],
    /// What other superfluous tensors mean.
    pub superfluous: Superfluous,
}

/// What a tensor means that the configuration does not ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Superfluous {
    /// The file does not belong to the configuration.
    Refused,
    /// Refused inside the layers; elsewhere (heads of other tasks) said in the notes.
    Noted,
}

/// How a linear layer's matrix is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[d_out, d_in]` (`nn.Linear`).
    OutIn,
    /// `[d_in, d_out]` (GPT-2's `Conv1D`).
    InOut,
}

/// The names of one stack, under the prefix.
#[derive(Debug, Clone, Copy)]
pub struct StackNames {
    /// The token table; the first that exists.
    pub tokens: &'static [&'static str],
    /// The position table.
    pub positions: &'static str,
    /// The table of segments.
    pub token_types: &'static str,
    /// The embedding's norm.
    pub embedding_norm: &'static str,
    /// From the table's width to `d_model`.
    pub embedding_projection: &'static str,
    /// What a layer's names stand under; `{}` is its index.
    pub layer: &'static str,
    /// Self-attention, under the layer.
    pub attention: AttentionNames,
    /// Cross-attention, under the layer.
    pub cross: AttentionNames,
    /// Feed-forward, under the layer.
    pub feed_forward: FeedForwardNames,
    /// The table of a bucketed bias, under the prefix.
    pub relative_bias: &'static str,
    /// The norm after the last layer.
    pub final_norm: &'static str,
}

/// The names of one attention layer.
#[derive(Debug, Clone, Copy)]
pub struct AttentionNames {
    /// The projections of queries, keys and values.
    pub projections: ProjectionNames,
    /// The output projection.
    pub output: &'static str,
    /// Its norm.
    pub norm: &'static str,
    /// The norm on its output (sandwich).
    pub post_norm: &'static str,
    /// The norm on queries.
    pub query_norm: &'static str,
    /// The norm on keys.
    pub key_norm: &'static str,
    /// The sinks, a whole name.
    pub sinks: &'static str,
    /// The factors on its output, a whole name (layer scale).
    pub layer_scale: &'static str,
}

/// How queries, keys and values are stored.
#[derive(Debug, Clone, Copy)]
pub enum ProjectionNames {
    /// Three matrices.
    Separate {
        /// Queries.
        query: &'static str,
        /// Keys.
        key: &'static str,
        /// Values.
        value: &'static str,
    },
    /// One matrix: all queries, all keys, all values.
    Joint(&'static str),
    /// One matrix: for each key–value head its query heads, its key, its value (GPT-NeoX, BLOOM, Falcon).
    Grouped(&'static str),
}

/// The names of one feed-forward.
#[derive(Debug, Clone, Copy)]
pub struct FeedForwardNames {
    /// Into the hidden layer; when gated and `gate` is empty, the gate's rows come first in it.
    pub up: &'static str,
    /// The gate.
    pub gate: &'static str,
    /// Out of the hidden layer.
    pub down: &'static str,
    /// Its norm.
    pub norm: &'static str,
    /// The norm on its output (sandwich).
    pub post_norm: &'static str,
    /// The scores of the experts; `up` and `down` are whole names then (GPT-OSS).
    pub router: &'static str,
    /// The factors on its output, a whole name (layer scale).
    pub layer_scale: &'static str,
}

/// The names of the head.
#[derive(Debug, Clone, Copy)]
pub struct HeadNames {
    /// The dense layer before the output matrix.
    pub transform: &'static str,
    /// Its norm.
    pub transform_norm: &'static str,
    /// The output matrix, a whole name; when tied and absent, the token table.
    pub output: &'static str,
    /// The output's bias, a whole name; the first that exists.
    pub bias: &'static [&'static str],
}

impl StackNames {
    /// Nothing named; the start of a family's constant.
    pub const NONE: StackNames = StackNames {
        tokens: &[],
        positions: "",
        token_types: "",
        embedding_norm: "",
        embedding_projection: "",
        layer: "",
        attention: AttentionNames::NONE,
        cross: AttentionNames::NONE,
        feed_forward: FeedForwardNames::NONE,
        relative_bias: "",
        final_norm: "",
    };
}

impl AttentionNames {
    /// Nothing named; the start of a family's constant.
    pub const NONE: AttentionNames = AttentionNames {
        projections: ProjectionNames::Joint(""),
        output: "",
        norm: "",
        post_norm: "",
        query_norm: "",
        key_norm: "",
        sinks: "",
        layer_scale: "",
    };
}

impl FeedForwardNames {
    /// Nothing named; the start of a family's constant.
    pub const NONE: FeedForwardNames =
        FeedForwardNames { up: "", gate: "", down: "", norm: "", post_norm: "", router: "", layer_scale: "" };
}

impl HeadNames {
    /// Nothing named; the start of a family's constant.
    pub const NONE: HeadNames = HeadNames { transform: "", transform_norm: "", output: "", bias: &[] };
}

/// Loads a Transformer; returns it with remarks for the reader.
///
/// # Errors
/// When a tensor is missing, superfluous, of the wrong shape or type, or not finite.
pub fn load(
    architecture: Architecture,
    names: &Names,
    checkpoint: &Checkpoint,
) -> Result<(Transformer, Vec<String>), Error> {
    let loader = Loader { checkpoint, layout: names.layout, prefix: prefix(names, checkpoint) };
    let stack = |stack: &Option<Stack>, stack_names: &Option<StackNames>, d_source: usize| match (stack, stack_names) {
        (Some(stack), Some(names)) => loader.stack(stack, names, d_source).map(Some),
        _ => Ok(None),
    };
    let encoder = stack(&architecture.encoder, &names.encoder, 0)?;
    let d_source = architecture.encoder.as_ref().map_or(0, |stack| stack.d_model);
    let decoder = stack(&architecture.decoder, &names.decoder, d_source)?;
    let last = architecture.decoder.as_ref().or(architecture.encoder.as_ref());
    let table = decoder.as_ref().or(encoder.as_ref()).map(|stack| &stack.embedding.tokens);
    let head = match (last, table) {
        (Some(last), Some(table)) => loader.head(&architecture.head, &names.head, last, table)?,
        _ => HeadWeights::default(),
    };
    let notes = superfluous(names, &loader)?;
    Ok((Transformer { architecture, encoder, decoder, head }, notes))
}

/// The prefix under which the token table is found; the first one when none fits, so that the message names it.
fn prefix(names: &Names, checkpoint: &Checkpoint) -> &'static str {
    let stacks = [&names.encoder, &names.decoder];
    let tables = || stacks.into_iter().flatten().flat_map(|stack| stack.tokens.iter());
    let fits = |prefix: &&&'static str| tables().any(|table| checkpoint.contains(&format!("{prefix}{table}")));
    names.prefixes.iter().find(fits).or(names.prefixes.first()).copied().unwrap_or("")
}

/// Refuses or notes the tensors that nobody read.
fn superfluous(names: &Names, loader: &Loader<'_>) -> Result<Vec<String>, Error> {
    let layers: Vec<String> = [&names.encoder, &names.decoder]
        .into_iter()
        .flatten()
        .filter_map(|stack| stack.layer.split("{}").next())
        .map(|start| format!("{}{start}", loader.prefix))
        .collect();
    let mut others = Vec::new();
    for name in loader.checkpoint.unused() {
        let known = |part: &&str| name.starts_with(*part) || name.ends_with(*part);
        if names.ignored.iter().any(known) {
            continue;
        }
        let in_layers = layers.iter().any(|start| !start.is_empty() && name.starts_with(start.as_str()));
        if in_layers || names.superfluous == Superfluous::Refused {
            let path = loader.checkpoint.get(&name).map_or(loader.checkpoint.path(), |tensor| &*tensor.path);
            return Err(Error::tensor(
                path,
                name,
                "is not part of the model that the configuration describes; do the two belong together?",
            ));
        }
        others.push(name);
    }
    let Some(first) = others.first() else { return Ok(Vec::new()) };
    Ok(vec![match others.len() {
        1 => format!("the weights hold a tensor that is not used: {first}"),
        n => format!("the weights hold {n} tensors that are not used, such as {first}"),
    }])
}

struct Loader<'a> {
    checkpoint: &'a Checkpoint,
    layout: Layout,
    prefix: &'static str,
}

/// A name with its ending: in the place of a `*`, or after a dot.
fn ended(name: &str, ending: &str) -> String {
    if name.contains('*') { name.replace('*', ending) } else { format!("{name}.{ending}") }
}

impl Loader<'_> {
    fn stack(&self, stack: &Stack, names: &StackNames, d_source: usize) -> Result<StackWeights, Error> {
        let embedding = self.embedding(stack, names)?;
        let mut blocks: Vec<Arc<BlockWeights>> = Vec::with_capacity(stack.blocks.len());
        for (index, block) in stack.blocks.iter().enumerate() {
            let stored = stack.stored_as.as_ref().map_or(index, |stored| stored[index]);
            let earlier =
                stack.stored_as.as_ref().and_then(|all| all[..index].iter().position(|other| *other == stored));
            blocks.push(match earlier {
                Some(earlier) => Arc::clone(&blocks[earlier]),
                None => {
                    let layer = format!("{}{}", self.prefix, names.layer.replace("{}", &stored.to_string()));
                    Arc::new(self.block(stack, block, names, &layer, d_source)?)
                }
            });
        }
        let final_norm = match &stack.final_norm {
            Some(norm) => Some(self.norm(norm, &format!("{}{}", self.prefix, names.final_norm), stack.d_model)?),
            None => None,
        };
        Ok(StackWeights { embedding, blocks, final_norm })
    }

    fn embedding(&self, stack: &Stack, names: &StackNames) -> Result<EmbeddingWeights, Error> {
        let Embedding { n_tokens, width, positions, n_token_types, norm, .. } = &stack.embedding;
        let under = |name: &str| format!("{}{name}", self.prefix);
        let table = names.tokens.iter().map(|name| under(name)).find(|name| self.checkpoint.contains(name));
        let table = table.or_else(|| names.tokens.first().map(|name| under(name))).unwrap_or_default();
        let tokens = self.checkpoint.tensor(&table, &[*n_tokens, *width])?;
        let positions = match positions {
            Positions::Learned { n_rows, .. } => {
                Some(self.checkpoint.tensor(&under(names.positions), &[*n_rows, *width])?)
            }
            // a stored table is what the model was trained with: it is used where it lies
            Positions::Sinusoidal { .. } => self.stored_positions(&under(names.positions), *width)?,
            Positions::None => None,
        };
        let token_types = match n_token_types {
            0 => None,
            n => Some(self.checkpoint.tensor(&under(names.token_types), &[*n, *width])?),
        };
        let norm = match norm {
            Some(norm) => Some(self.norm(norm, &under(names.embedding_norm), *width)?),
            None => None,
        };
        let projection = if *width == stack.d_model {
            None
        } else {
            let name = under(names.embedding_projection);
            let has_bias = self.checkpoint.contains(&ended(&name, "bias"));
            Some(self.linear(&name, stack.d_model, *width, has_bias)?)
        };
        Ok(EmbeddingWeights { tokens, positions, token_types, norm, projection })
    }

    /// A stored table of sinusoidal positions, of any length, with or without a leading 1.
    fn stored_positions(&self, name: &str, width: usize) -> Result<Option<Arc<Vec<f32>>>, Error> {
        let Some(tensor) = self.checkpoint.get(name) else { return Ok(None) };
        match tensor.shape.as_slice() {
            [_, w] | [1, _, w] if *w == width => self.checkpoint.tensor(name, &tensor.shape.clone()).map(Some),
            shape => Err(Error::tensor(
                &tensor.path,
                name,
                format!("has shape {shape:?}, but the configuration asks for rows of {width} numbers"),
            )),
        }
    }

    fn block(
        &self,
        stack: &Stack,
        block: &Block,
        names: &StackNames,
        layer: &str,
        d_source: usize,
    ) -> Result<BlockWeights, Error> {
        let d_model = stack.d_model;
        let relative = format!("{}{}", self.prefix, names.relative_bias);
        let attention = AttentionPlace { layer, d_model, d_source: None, block, relative: &relative };
        let cross = AttentionPlace { d_source: Some(d_source), ..attention };
        let norm = |name: &str| self.norm(&block.norm, &format!("{layer}{name}"), d_model);
        Ok(BlockWeights {
            attention: self.attention(&block.attention, &names.attention, attention)?,
            cross: match &block.cross {
                Some(config) => Some(self.attention(config, &names.cross, cross)?),
                None => None,
            },
            feed_forward: self.feed_forward(block, &names.feed_forward, layer, d_model)?,
            feed_forward_norm: match block.residual {
                Residual::ParallelSharedNorm => None,
                _ => Some(norm(names.feed_forward.norm)?),
            },
            feed_forward_post_norm: match block.residual {
                Residual::Sandwich => Some(norm(names.feed_forward.post_norm)?),
                _ => None,
            },
        })
    }

    fn attention(
        &self,
        config: &Attention,
        names: &AttentionNames,
        place: AttentionPlace<'_>,
    ) -> Result<AttentionWeights, Error> {
        let AttentionPlace { layer, d_model, d_source, block, relative } = place;
        let under = |name: &str| format!("{layer}{name}");
        let mut output = self.linear(&under(names.output), d_model, config.query_width(), config.biases.output)?;
        if block.layer_scale {
            self.scale_rows(&mut output, &under(names.layer_scale))?;
        }
        let norm = if d_source.is_some() { Some(&block.norm) } else { block.attention_norm.as_ref() };
        let norm = match norm {
            Some(norm) => Some(self.norm(norm, &under(names.norm), d_model)?),
            None => None,
        };
        let post_norm = match block.residual {
            Residual::Sandwich => Some(self.norm(&block.norm, &under(names.post_norm), d_model)?),
            _ => None,
        };
        let qk = |name: &str, n_heads: usize| match &config.qk_norm {
            None => Ok(None),
            Some(qk) if qk.scope == QkScope::OwnHead => {
                self.norms_of_heads(&qk.norm, &under(name), n_heads, config.d_head).map(Some)
            }
            Some(qk) => {
                let width = if qk.scope == QkScope::All { n_heads * config.d_head } else { config.d_head };
                self.norm(&qk.norm, &under(name), width).map(Some)
            }
        };
        Ok(AttentionWeights {
            projections: self.projections(config, &names.projections, layer, d_model, d_source)?,
            output,
            norm,
            post_norm,
            query_norm: qk(names.query_norm, config.n_heads)?,
            key_norm: qk(names.key_norm, config.n_kv_heads)?,
            scoring: self.scoring(config, &under(names.sinks), relative)?,
        })
    }

    fn scoring(&self, config: &Attention, sinks: &str, relative: &str) -> Result<Scoring, Error> {
        let bias = match &config.bias {
            PositionBias::None => Bias::None,
            PositionBias::Alibi(slopes) => Bias::Alibi { slopes: slopes.clone() },
            PositionBias::Buckets { n_buckets, max_distance, directions } => {
                let table = self.checkpoint.tensor(&ended(relative, "weight"), &[*n_buckets, config.n_heads])?;
                bucketed_bias(&table, config.n_heads, *n_buckets, *max_distance, *directions)
            }
        };
        let sinks = match config.sinks {
            true => Some(self.checkpoint.tensor(sinks, &[config.n_heads])?.to_vec()),
            false => None,
        };
        Ok(Scoring {
            scale: config.scale,
            softcap: config.softcap,
            visibility: config.visibility,
            bias,
            sinks,
            query_offset: 0,
        })
    }

    /// Reads the projections into the one order that is computed with.
    fn projections(
        &self,
        config: &Attention,
        names: &ProjectionNames,
        layer: &str,
        d_model: usize,
        d_source: Option<usize>,
    ) -> Result<Projections, Error> {
        let (q, kv) = (config.query_width(), config.kv_width());
        let d_in = d_source.unwrap_or(d_model);
        let biases = config.biases;
        let under = |name: &str| format!("{layer}{name}");
        let joint = match names {
            ProjectionNames::Separate { query, key, value } => {
                let query = Part { name: under(query), d_out: q, bias: biases.query_value };
                let key = Part { name: under(key), d_out: kv, bias: biases.key };
                let value = Part { name: under(value), d_out: kv, bias: biases.query_value };
                if d_source.is_some() {
                    let query = self.stacked(&[query], d_model)?;
                    return Ok(Projections::Apart { query, key_value: self.stacked(&[key, value], d_in)? });
                }
                return self.stacked(&[query, key, value], d_in).map(Projections::Joint);
            }
            ProjectionNames::Joint(name) => self.linear(&under(name), q + 2 * kv, d_in, biases.query_value)?,
            ProjectionNames::Grouped(name) => {
                let stored = self.linear(&under(name), q + 2 * kv, d_in, biases.query_value)?;
                ungroup(&stored, config)
            }
        };
        match d_source {
            None => Ok(Projections::Joint(joint)),
            Some(_) => {
                let (query, key_value) = split_rows(&joint, q);
                Ok(Projections::Apart { query, key_value })
            }
        }
    }

    fn feed_forward(
        &self,
        block: &Block,
        names: &FeedForwardNames,
        layer: &str,
        d_model: usize,
    ) -> Result<FeedForwardWeights, Error> {
        let config = &block.feed_forward;
        let under = |name: &str| format!("{layer}{name}");
        if let Some(experts) = config.experts {
            let router = self.linear(&under(names.router), experts.n, d_model, true)?;
            let experts = self.experts(config, experts.n, &under(names.up), &under(names.down), d_model)?;
            return Ok(FeedForwardWeights { router: Some(router), experts });
        }
        let part = |name: &str, d_out: usize| Part { name: under(name), d_out, bias: config.biases };
        let up = match config.gating {
            Gating::None => self.stacked(&[part(names.up, config.d_hidden)], d_model)?,
            _ if names.gate.is_empty() => self.stacked(&[part(names.up, 2 * config.d_hidden)], d_model)?,
            _ => self.stacked(&[part(names.gate, config.d_hidden), part(names.up, config.d_hidden)], d_model)?,
        };
        let mut down = self.linear(&under(names.down), d_model, config.d_hidden, config.biases)?;
        if block.layer_scale {
            self.scale_rows(&mut down, &under(names.layer_scale))?;
        }
        Ok(FeedForwardWeights { router: None, experts: vec![Expert { up, down }] })
    }

    /// All experts of one layer, stored as `[n, d_in, d_out]` with gate and up columns taking turns (GPT-OSS).
    fn experts(
        &self,
        config: &FeedForward,
        n: usize,
        up_name: &str,
        down_name: &str,
        d_model: usize,
    ) -> Result<Vec<Expert>, Error> {
        let d_hidden = config.d_hidden;
        let up = self.checkpoint.tensor(up_name, &[n, d_model, 2 * d_hidden])?;
        let up_bias = self.checkpoint.tensor(&format!("{up_name}_bias"), &[n, 2 * d_hidden])?;
        let down = self.checkpoint.tensor(down_name, &[n, d_hidden, d_model])?;
        let down_bias = self.checkpoint.tensor(&format!("{down_name}_bias"), &[n, d_model])?;
        let experts = (0..n).map(|expert| {
            // rows 0, 2, 4, … are the gate's
            let column = |row: usize| if row < d_hidden { 2 * row } else { 2 * (row - d_hidden) + 1 };
            let stored = &up[expert * d_model * 2 * d_hidden..][..d_model * 2 * d_hidden];
            let bias = &up_bias[expert * 2 * d_hidden..][..2 * d_hidden];
            let mut weight = vec![0.0; stored.len()]; // [2 · d_hidden, d_model]
            for (row, values) in weight.chunks_mut(d_model).enumerate() {
                for (input, value) in values.iter_mut().enumerate() {
                    *value = stored[input * 2 * d_hidden + column(row)];
                }
            }
            let bias: Vec<f32> = (0..2 * d_hidden).map(|row| bias[column(row)]).collect();
            let down_stored = &down[expert * d_hidden * d_model..][..d_hidden * d_model];
            Expert {
                up: linear(weight, Some(bias), 2 * d_hidden, d_model),
                down: linear(
                    transposed(down_stored, d_hidden, d_model),
                    Some(down_bias[expert * d_model..][..d_model].to_vec()),
                    d_model,
                    d_hidden,
                ),
            }
        });
        Ok(experts.collect())
    }

    fn head(&self, head: &Head, names: &HeadNames, stack: &Stack, table: &Arc<Vec<f32>>) -> Result<HeadWeights, Error> {
        let transform = |transform: &Option<Transform>, d_in: usize| match transform {
            None => Ok(None),
            Some(config) => {
                let dense = self.linear(names.transform, config.width, d_in, config.bias)?;
                let norm = match &config.norm {
                    Some(norm) => Some(self.norm(norm, names.transform_norm, config.width)?),
                    None => None,
                };
                Ok(Some((dense, norm)))
            }
        };
        let first_bias = || names.bias.iter().find(|name| self.checkpoint.contains(name)).or(names.bias.first());
        let bias = |d_out: usize| match first_bias() {
            None => Ok(None),
            Some(name) => {
                let one_row = self.checkpoint.get(name).is_some_and(|tensor| tensor.shape == [1, d_out]);
                let shape: &[usize] = if one_row { &[1, d_out] } else { &[d_out] };
                self.checkpoint.tensor(name, shape).map(Some)
            }
        };
        match head {
            Head::None => Ok(HeadWeights::default()),
            Head::Tokens { n_tokens, transform: config, bias: has_bias, output, .. } => {
                let width = config.map_or(stack.d_model, |config| config.width);
                let fits = table.len() == n_tokens * width;
                let weight = match output {
                    // a tied matrix may be stored a second time; the table is what counts
                    Output::Tied => {
                        self.checkpoint.ignore(names.output);
                        Arc::clone(table)
                    }
                    Output::OwnOrTied if fits && !self.checkpoint.contains(names.output) => Arc::clone(table),
                    Output::Own | Output::OwnOrTied => self.checkpoint.tensor(names.output, &[*n_tokens, width])?,
                };
                let bias = if *has_bias { bias(*n_tokens)? } else { None };
                let output = Linear { weight, bias, d_in: width, d_out: *n_tokens };
                Ok(HeadWeights { transform: transform(config, stack.d_model)?, output: Some(output) })
            }
            Head::Classes { n, transform: config } => {
                let width = config.map_or(stack.d_model, |config| config.width);
                let weight = self.checkpoint.tensor(names.output, &[*n, width])?;
                let output = Linear { weight, bias: bias(*n)?, d_in: width, d_out: *n };
                Ok(HeadWeights { transform: transform(config, stack.d_model)?, output: Some(output) })
            }
        }
    }

    fn norm(&self, norm: &Norm, name: &str, width: usize) -> Result<NormWeights, Error> {
        let read = |ending: &str, old: &str| {
            let name_now = ended(name, ending);
            let name_old = ended(name, old);
            let old_only = !self.checkpoint.contains(&name_now) && self.checkpoint.contains(&name_old);
            self.checkpoint.tensor(if old_only { &name_old } else { &name_now }, &[width])
        };
        let weight = if norm.kind == NormKind::LayerPlain { Arc::default() } else { read("weight", "gamma")? };
        let bias = if norm.kind == NormKind::Layer { read("bias", "beta")? } else { Arc::default() };
        Ok(NormWeights { norm: *norm, weight, bias })
    }

    /// One norm per head, stored as `NAME.norms.H.weight`, side by side.
    fn norms_of_heads(&self, norm: &Norm, name: &str, n_heads: usize, d_head: usize) -> Result<NormWeights, Error> {
        let mut weight = Vec::with_capacity(n_heads); // [n_heads, d_head]
        let mut bias = Vec::with_capacity(n_heads); // [n_heads, d_head]
        for head in 0..n_heads {
            let one = self.norm(norm, &format!("{name}.norms.{head}"), d_head)?;
            weight.extend_from_slice(&one.weight);
            bias.extend_from_slice(&one.bias);
        }
        Ok(NormWeights { norm: *norm, weight: Arc::new(weight), bias: Arc::new(bias) })
    }

    fn linear(&self, name: &str, d_out: usize, d_in: usize, has_bias: bool) -> Result<Linear, Error> {
        self.stacked(&[Part { name: name.to_owned(), d_out, bias: has_bias }], d_in)
    }

    /// Several linear layers of the same input, one above the other.
    fn stacked(&self, parts: &[Part], d_in: usize) -> Result<Linear, Error> {
        // 1. everything is there in the right shape, before anything is allocated
        for part in parts {
            let name = ended(&part.name, "weight");
            let expected = self.stored_shape(part.d_out, d_in);
            match self.checkpoint.get(&name) {
                Some(tensor) if tensor.shape == expected => {}
                _ => {
                    self.checkpoint.tensor(&name, &expected)?;
                }
            }
        }
        // 2. the matrices
        let d_out: usize = parts.iter().map(|part| part.d_out).sum();
        let mut weight = vec![0.0; d_out * d_in]; // [d_out, d_in]
        let mut rest = weight.as_mut_slice();
        for part in parts {
            let (rows, later) = rest.split_at_mut(part.d_out * d_in);
            rest = later;
            let shape = self.stored_shape(part.d_out, d_in);
            self.checkpoint.read_into(&ended(&part.name, "weight"), &shape, rows)?;
            if self.layout == Layout::InOut {
                let stored = rows.to_vec();
                transpose(&stored, rows, d_in, part.d_out);
            }
        }
        // 3. the biases; a part without one gets zeros when another part has one
        let mut bias = vec![0.0; if parts.iter().any(|part| part.bias) { d_out } else { 0 }]; // [d_out]
        let mut start = 0;
        for part in parts {
            if part.bias {
                let slot = &mut bias[start..start + part.d_out];
                self.checkpoint.read_into(&ended(&part.name, "bias"), &[part.d_out], slot)?;
            }
            start += part.d_out;
        }
        Ok(linear(weight, (!bias.is_empty()).then_some(bias), d_out, d_in))
    }

    fn stored_shape(&self, d_out: usize, d_in: usize) -> [usize; 2] {
        match self.layout {
            Layout::OutIn => [d_out, d_in],
            Layout::InOut => [d_in, d_out],
        }
    }

    /// Multiplies a layer's output columns by learnt factors, once and for all.
    fn scale_rows(&self, linear: &mut Linear, name: &str) -> Result<(), Error> {
        let factors = self.checkpoint.tensor(name, &[linear.d_out])?;
        let mut weight = linear.weight.to_vec();
        for (row, factor) in weight.chunks_mut(linear.d_in).zip(factors.iter()) {
            row.iter_mut().for_each(|value| *value *= factor);
        }
        linear.weight = Arc::new(weight);
        if let Some(bias) = &mut linear.bias {
            *bias = Arc::new(bias.iter().zip(factors.iter()).map(|(value, factor)| value * factor).collect());
        }
        Ok(())
    }
}

/// Where an attention layer stands.
#[derive(Clone, Copy)]
struct AttentionPlace<'a> {
    layer: &'a str,
    d_model: usize,
    d_source: Option<usize>,
    block: &'a Block,
    relative: &'a str,
}

/// One of several linear layers that are stacked.
struct Part {
    name: String,
    d_out: usize,
    bias: bool,
}

fn linear(weight: Vec<f32>, bias: Option<Vec<f32>>, d_out: usize, d_in: usize) -> Linear {
    Linear { weight: Arc::new(weight), bias: bias.map(Arc::new), d_in, d_out }
}

fn transposed(stored: &[f32], n_rows: usize, n_columns: usize) -> Vec<f32> {
    let mut output = vec![0.0; stored.len()]; // [n_columns, n_rows]
    transpose(stored, &mut output, n_rows, n_columns);
    output
}

/// `output[column][row] = stored[row][column]`, in squares that stay in the cache.
fn transpose(stored: &[f32], output: &mut [f32], n_rows: usize, n_columns: usize) {
    const SQUARE: usize = 32;
    for row_start in (0..n_rows).step_by(SQUARE) {
        for column_start in (0..n_columns).step_by(SQUARE) {
            for column in column_start..(column_start + SQUARE).min(n_columns) {
                for row in row_start..(row_start + SQUARE).min(n_rows) {
                    output[column * n_rows + row] = stored[row * n_columns + column];
                }
            }
        }
    }
}

/// The first `n` rows and the others.
fn split_rows(joint: &Linear, n: usize) -> (Linear, Linear) {
    let (first, second) = joint.weight.split_at(n * joint.d_in);
    let bias = joint.bias.as_ref().map(|bias| bias.split_at(n));
    (
        linear(first.to_vec(), bias.map(|(b, _)| b.to_vec()), n, joint.d_in),
        linear(second.to_vec(), bias.map(|(_, b)| b.to_vec()), joint.d_out - n, joint.d_in),
    )
}

/// Rows grouped by key–value head, put in the order queries, keys, values.
fn ungroup(stored: &Linear, config: &Attention) -> Linear {
    let group = config.n_heads / config.n_kv_heads;
    let d = config.d_head;
    let source_row = |row: usize| {
        let (head, within) = (row / d, row % d);
        let place = if head < config.n_heads {
            head / group * (group + 2) + head % group
        } else if head < config.n_heads + config.n_kv_heads {
            (head - config.n_heads) * (group + 2) + group
        } else {
            (head - config.n_heads - config.n_kv_heads) * (group + 2) + group + 1
        };
        place * d + within
    };
    let weight = (0..stored.d_out).flat_map(|row| stored.weight[source_row(row) * stored.d_in..][..stored.d_in].iter());
    let bias = stored.bias.as_ref().map(|bias| (0..stored.d_out).map(|row| bias[source_row(row)]).collect());
    linear(weight.copied().collect(), bias, stored.d_out, stored.d_in)
}

/// A bucketed table spread over offsets `key − query`; beyond its ends the last bucket goes on.
fn bucketed_bias(table: &[f32], n_heads: usize, n_buckets: usize, max_distance: usize, directions: Directions) -> Bias {
    let reach = max_distance as i64;
    let n_offsets = 2 * max_distance + 1;
    let mut spread = vec![0.0; n_heads * n_offsets]; // [n_heads, n_offsets]
    for (column, offset) in (-reach..=reach).enumerate() {
        let bucket = bucket(offset, n_buckets, max_distance, directions).min(n_buckets - 1);
        for head in 0..n_heads {
            spread[head * n_offsets + column] = table[bucket * n_heads + head];
        }
    }
    Bias::Relative { first: -reach, table: spread, n_offsets }
}

/// The bucket of an offset `key − query` (Raffel et al. 2020): exact up to half of the buckets, then logarithmic.
fn bucket(offset: i64, n_buckets: usize, max_distance: usize, directions: Directions) -> usize {
    let (n, start, distance) = match directions {
        Directions::Both => (n_buckets / 2, if offset > 0 { n_buckets / 2 } else { 0 }, offset.unsigned_abs() as usize),
        Directions::Backward => (n_buckets, 0, (-offset).max(0) as usize),
    };
    let exact = n / 2;
    if distance < exact || exact == 0 {
        return start + distance.min(n.saturating_sub(1));
    }
    let beyond = (distance as f32 / exact as f32).ln() / (max_distance as f64 / exact as f64).ln() as f32;
    let bucket = exact + (beyond * (n - exact) as f32) as usize;
    start + bucket.min(n - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_exact_near_and_logarithmic_far() {
        let both = |offset| bucket(offset, 32, 128, Directions::Both);
        assert_eq!([both(0), both(-1), both(-7), both(1), both(7)], [0, 1, 7, 17, 23]);
        assert_eq!([both(-8), both(-127), both(-128), both(-4000), both(500)], [8, 15, 15, 15, 31]);
        let backward = |offset| bucket(offset, 32, 128, Directions::Backward);
        assert_eq!([backward(3), backward(-3), backward(-16), backward(-1000)], [0, 3, 16, 31]);
    }

    #[test]
    fn grouped_rows_come_out_as_queries_keys_values() {
        let config = Attention { n_kv_heads: 1, ..Attention::plain(2, 1, attlas::Visibility::CAUSAL) };
        let stored = linear(vec![1.0, 2.0, 3.0, 4.0], None, 4, 1);
        assert_eq!(*ungroup(&stored, &config).weight, vec![1.0, 2.0, 3.0, 4.0]);
        let config = Attention { n_kv_heads: 2, ..config };
        let stored = linear(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], None, 6, 1);
        assert_eq!(*ungroup(&stored, &config).weight, vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
