//! From named tensors to the generic Transformer: which names is all that a family has to say.

mod backbone;
mod experts;
mod latent;
mod names;
mod ordered;
mod origin;
mod place;
mod readout;
mod reads;
mod rearrange;
mod recurrence;
#[cfg(test)]
mod stored_tests;

use std::sync::Arc;

use attlas::{Bias, Scoring};
use attlas_kernels::{Coded, Precision};

pub use names::{
    AttentionNames, BackboneNames, ExpertNames, FeedForwardNames, LatentNames, Layout, Names, ProjectionNames,
    ReadoutNames, RecurrenceNames, StackNames, Superfluous,
};
pub(crate) use origin::explained;
use place::{located, prefix, superfluous};
pub(crate) use reads::dense;
pub(crate) use rearrange::bucket;
use rearrange::{bucketed_bias, grouped_place, multiply_rows, scale, transpose};

use crate::Error;
use crate::block::linear::{Linear, Weight};
use crate::block::norm::NormWeights;
use crate::block::weights::{
    AttentionWeights, BlockWeights, EmbeddingWeights, Expert, FeedForwardWeights, Mixer, Projections, ReadoutWeights,
    StackWeights, Transformer,
};
use crate::config::{
    Architecture, Attention, Block, Embedding, Gating, Norm, PositionBias, Positions, Projected, QkScope, Readout,
    Residual, Stack, alibi_both_ways,
};
use crate::error::Clash;
use crate::weights::Checkpoint;
use crate::weights::stored_rows::StoredRows;

/// Loads a Transformer; returns it with remarks for the reader.
///
/// # Errors
/// When a tensor is missing, superfluous, of the wrong shape or type, or not finite.
pub fn load(
    mut architecture: Architecture,
    names: &Names,
    checkpoint: &Checkpoint,
) -> Result<(Transformer, Vec<String>), Error> {
    let loader = Loader { checkpoint, layout: names.layout, prefix: prefix(names, checkpoint) };
    let readout_names = located(names.readout, checkpoint);
    let stack = |stack: &Option<Stack>, stack_names: &Option<StackNames>, d_source: usize| match (stack, stack_names) {
        (Some(stack), Some(names)) => loader.stack(stack, names, d_source).map(Some),
        _ => Ok(None),
    };
    let encoder = stack(&architecture.encoder, &names.encoder, 0)?;
    let d_source = architecture.encoder.as_ref().map_or(0, |stack| stack.d_model);
    let decoder = stack(&architecture.decoder, &names.decoder, d_source)?;
    for (stack, names) in [(&mut architecture.encoder, &names.encoder), (&mut architecture.decoder, &names.decoder)] {
        if let (Some(stack), Some(names)) = (stack, names) {
            loader.stored_frequencies(stack, names)?;
        }
    }
    let table = decoder.as_ref().or(encoder.as_ref()).map(|stack| &stack.embedding.tokens);
    let absent = loader.absent_readout(&architecture.readout, &readout_names, table.map_or(0, |table| table.len()));
    if absent.is_some() {
        architecture.readout = Readout::None;
    }
    let last = architecture.decoder.as_ref().or(architecture.encoder.as_ref());
    let mut readout = match (last, table) {
        (Some(last), Some(table)) => loader.readout(&architecture.readout, &readout_names, last, table)?,
        _ => ReadoutWeights::default(),
    };
    if let Some(encoder) = &architecture.encoder {
        readout.contacts = loader.contacts(&readout_names, encoder)?;
    }
    let mut notes = superfluous(names, &loader, architecture.decoder.as_ref().map_or(0, |stack| stack.blocks.len()))?;
    notes.extend(
        absent.map(|name| {
            format!("the weights hold no {name}: the maps need none, but what the model predicts is unknown")
        }),
    );
    let mut transformer = Transformer { architecture, encoder, decoder, readout };
    transformer.pack();
    Ok((transformer, notes))
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
        let distances = self.distances(stack, names)?;
        let mut blocks: Vec<Arc<BlockWeights>> = Vec::with_capacity(stack.blocks.len());
        for (index, block) in stack.blocks.iter().enumerate() {
            let stored = stack.stored_as.as_ref().map_or(index, |stored| stored[index]);
            let earlier =
                stack.stored_as.as_ref().and_then(|all| all[..index].iter().position(|other| *other == stored));
            blocks.push(match earlier {
                Some(earlier) => Arc::clone(&blocks[earlier]),
                None => {
                    let layer = format!("{}{}", self.prefix, names.layer.replace("{}", &stored.to_string()));
                    let mut block = self.block(stack, block, names, &layer, d_source, distances.as_deref())?;
                    // layers that form scores alike hold one table of distances
                    let before = blocks.iter().rev().find_map(|before| before.attention());
                    if let (Some(before), Some(own)) = (before, block.attention_mut())
                        && before.scoring == own.scoring
                    {
                        own.scoring = Arc::clone(&before.scoring);
                    }
                    block.pack();
                    Arc::new(block)
                }
            });
        }
        let final_norm = match &stack.final_norm {
            Some(norm) => Some(self.norm(norm, &format!("{}{}", self.prefix, names.final_norm), stack.d_model)?),
            None => None,
        };
        let convolution = self.side_convolution(stack, names)?;
        Ok(StackWeights { embedding, blocks, final_norm, convolution })
    }

    fn embedding(&self, stack: &Stack, names: &StackNames) -> Result<EmbeddingWeights, Error> {
        let Embedding { n_tokens, width, projected, positions, n_token_types, norm, .. } = &stack.embedding;
        let under = |name: &str| format!("{}{name}", self.prefix);
        let reads = self.reads(&stack.embedding, names)?;
        let tokens = match n_tokens {
            0 => Weight::default(),
            n => {
                let table = names.tokens.iter().map(|name| under(name)).find(|name| self.checkpoint.contains(name));
                let table = table.or_else(|| names.tokens.first().map(|name| under(name))).unwrap_or_default();
                self.table(&table, [*n, *width])?
            }
        };
        // what comes after a projection is as wide as the model
        let width_after = if projected == &Projected::Token { stack.d_model } else { *width };
        let positions = match positions {
            Positions::Learned { n_rows, .. } => {
                Some(self.checkpoint.tensor(&under(names.positions), &[*n_rows, width_after])?)
            }
            // a stored table is what the model was trained with: it is used where it lies
            Positions::Sinusoidal { .. } => self.stored_positions(&under(names.positions), width_after)?,
            Positions::None => None,
        };
        let token_types = match n_token_types {
            0 => None,
            n => Some(self.checkpoint.tensor(&under(names.token_types), &[*n, width_after])?),
        };
        let norm = match norm {
            Some(norm) => Some(self.norm(norm, &under(names.embedding_norm), width_after)?),
            None => None,
        };
        let projection = if *width == stack.d_model {
            None
        } else {
            let name = under(names.embedding_projection);
            let has_bias = self.checkpoint.contains(&ended(&name, "bias"));
            Some(self.linear(&name, stack.d_model, *width, has_bias)?)
        };
        let convolution = match &stack.embedding.convolution {
            Some(convolution) => Some(self.position_convolution(convolution, stack.d_model, names)?),
            None => None,
        };
        Ok(EmbeddingWeights { reads, tokens, positions, token_types, norm, projection, convolution })
    }

    /// A stored table of sinusoidal positions, of any length, with or without a leading 1.
    fn stored_positions(&self, name: &str, width: usize) -> Result<Option<Arc<Vec<f32>>>, Error> {
        let Some(tensor) = self.checkpoint.get(name) else { return Ok(None) };
        match tensor.shape.as_slice() {
            [_, w] | [1, _, w] if *w == width => self.checkpoint.tensor(name, &tensor.shape.clone()).map(Some),
            found => {
                let asked = vec![found.first().copied().unwrap_or(1), width];
                Err(Error::misfit(&tensor.path, name, Clash::Shape { found: found.to_vec(), asked }))
            }
        }
    }

    fn block(
        &self,
        stack: &Stack,
        block: &Block,
        names: &StackNames,
        layer: &str,
        d_source: usize,
        distances: Option<&[f32]>,
    ) -> Result<BlockWeights, Error> {
        let d_model = stack.d_model;
        let relative = format!("{}{}", self.prefix, names.relative_bias);
        let attention = AttentionPlace { layer, d_model, d_source: None, block, relative: &relative, distances };
        let cross = AttentionPlace { d_source: Some(d_source), ..attention };
        let norm = |name: &str| self.norm(&block.norm, &format!("{layer}{name}"), d_model);
        Ok(BlockWeights {
            mixer: match &block.recurrence {
                Some(config) => {
                    let norm = names.attention.norm;
                    let weights = self.recurrence(config, block, &names.recurrence, norm, layer, d_model)?;
                    Mixer::Recurrence(weights)
                }
                None => Mixer::Attention(self.attention(&block.attention, &names.attention, attention)?),
            },
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
        let AttentionPlace { layer, d_model, d_source, block, relative, distances } = place;
        let under = |name: &str| format!("{layer}{name}");
        let mut output = self.linear(&under(names.output), d_model, config.output_width(), config.biases.output)?;
        if block.layer_scale {
            self.scale_rows(&mut output, &under(names.layer_scale))?;
        }
        scale(&mut output, block.residual_factor);
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
        let (projections, gate) = match config.gated {
            true => self.gated(config, &names.projections, layer, d_model)?,
            false => (self.projections(config, &names.projections, layer, d_model, d_source)?, None),
        };
        Ok(AttentionWeights {
            distances: match (&config.disentangled, distances) {
                (Some(terms), Some(table)) => {
                    Some(self.distance_weights(config, terms, names, layer, &projections, table)?)
                }
                _ => None,
            },
            projections,
            output,
            gate,
            norm,
            post_norm,
            added: self.added(config, names, layer, relative)?,
            query_norm: qk(names.query_norm, config.n_heads)?,
            key_norm: qk(names.key_norm, config.n_kv_heads)?,
            scoring: Arc::new(self.scoring(config, &under(names.sinks), relative)?),
        })
    }

    fn scoring(&self, config: &Attention, sinks: &str, relative: &str) -> Result<Scoring, Error> {
        let bias = match &config.bias {
            PositionBias::None | PositionBias::AlibiInBf16(_) => Bias::None,
            PositionBias::Alibi(slopes) => Bias::Alibi { slopes: slopes.clone() },
            PositionBias::AlibiBothWays { slopes, reach } => alibi_both_ways(slopes, *reach),
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
            scale: f64::from(config.scale),
            softcap: config.softcap.map(f64::from),
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
        let (q, kv) = (config.query_width(), config.key_width());
        let d_in = d_source.unwrap_or(d_model);
        let biases = config.biases;
        let under = |name: &str| format!("{layer}{name}");
        let d_out = q + 2 * kv;
        let (name, config) = match names {
            ProjectionNames::Latent(names) => {
                return Ok(Projections::Latent(Box::new(self.latent(config, names, layer, d_model)?)));
            }
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
            ProjectionNames::Joint(name) if d_source.is_none() => {
                return self.linear(&under(name), d_out, d_in, biases.query_value).map(Projections::Joint);
            }
            ProjectionNames::Joint(name) => (name, None),
            ProjectionNames::Grouped(name) => (name, Some(config.clone())),
        };
        let place = Arc::new(move |row: usize| config.as_ref().map_or(row, |config| grouped_place(config, row)));
        let part = Part { name: under(name), d_out, bias: biases.query_value };
        let rows = |first: usize, n: usize| {
            let place = Arc::clone(&place);
            self.some_rows(&part, d_in, n, move |row| place(first + row))
        };
        match d_source {
            None => rows(0, d_out).map(Projections::Joint),
            Some(_) => Ok(Projections::Apart { query: rows(0, q)?, key_value: rows(q, 2 * kv)? }),
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
            return Ok(FeedForwardWeights::Mixture(self.mixture(block, experts, names, layer, d_model)?));
        }
        let part = |name: &str, d_out: usize| Part { name: under(name), d_out, bias: config.biases };
        let up = match config.gating {
            _ if !names.up_and_gate.is_empty() => {
                let n = config.d_hidden;
                self.some_rows(&part(names.up_and_gate, 2 * n), d_model, 2 * n, move |row| (row + n) % (2 * n))?
            }
            Gating::None | Gating::Xielu => self.stacked(&[part(names.up, config.d_hidden)], d_model)?,
            _ if names.gate.is_empty() => self.stacked(&[part(names.up, 2 * config.d_hidden)], d_model)?,
            _ => self.stacked(&[part(names.gate, config.d_hidden), part(names.up, config.d_hidden)], d_model)?,
        };
        let mut down =
            self.linear(&under(names.down), d_model, config.d_hidden, config.biases || config.output_bias)?;
        if block.layer_scale {
            self.scale_rows(&mut down, &under(names.layer_scale))?;
        }
        scale(&mut down, block.residual_factor);
        let xielu = match config.gating {
            Gating::Xielu => Some(self.xielu(&under(names.xielu))?),
            _ => None,
        };
        Ok(FeedForwardWeights::Plain(Expert { up, down, xielu }))
    }

    fn norm(&self, norm: &Norm, name: &str, width: usize) -> Result<NormWeights, Error> {
        let read = |ending: &str, old: &str| {
            let name_now = ended(name, ending);
            let name_old = ended(name, old);
            let old_only = !self.checkpoint.contains(&name_now) && self.checkpoint.contains(&name_old);
            self.checkpoint.tensor(if old_only { &name_old } else { &name_now }, &[width])
        };
        let weight = if norm.kind.has_weight() { read("weight", "gamma")? } else { Arc::default() };
        let bias = if norm.kind.has_bias() { read("bias", "beta")? } else { Arc::default() };
        Ok(NormWeights { norm: *norm, weight, bias })
    }

    /// One norm per head, side by side: stored one by one, where the name has a place for the head, or as rows of one tensor.
    fn norms_of_heads(&self, norm: &Norm, name: &str, n_heads: usize, d_head: usize) -> Result<NormWeights, Error> {
        if !name.contains("{}") {
            let weight = self.checkpoint.tensor(&ended(name, "weight"), &[n_heads, d_head])?;
            return Ok(NormWeights { norm: *norm, weight, bias: Arc::default() });
        }
        let mut weight = Vec::with_capacity(n_heads); // [n_heads, d_head]
        let mut bias = Vec::with_capacity(n_heads); // [n_heads, d_head]
        for head in 0..n_heads {
            let one = self.norm(norm, &name.replace("{}", &head.to_string()), d_head)?;
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
        // 2. the matrices, as they are stored or as numbers
        let d_out: usize = parts.iter().map(|part| part.d_out).sum();
        let stored: Vec<(String, usize)> = parts.iter().map(|part| (ended(&part.name, "weight"), part.d_out)).collect();
        let weight = match self.as_stored(&stored, d_in)? {
            Some(weight) => weight,
            None => Weight::Rows(Arc::new(self.as_numbers(parts, d_in)?)),
        };
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
        let bias = (!bias.is_empty()).then(|| Arc::new(bias));
        Ok(Linear { weight, bias, d_in, d_out, precision: Precision::Exact })
    }

    /// Matrices of the same input, one above the other, in the type of their file; `None` where one of them is not stored
    /// in a way that can stay. Each has a name and a number of rows.
    fn as_stored(&self, parts: &[(String, usize)], d_in: usize) -> Result<Option<Weight>, Error> {
        let mut sources = Vec::with_capacity(parts.len());
        for (name, n_rows) in parts {
            match self.stored_rows(name, *n_rows, d_in)? {
                Some(rows) => sources.push((rows, *n_rows, name.as_str())),
                None => return Ok(None),
            }
        }
        self.coded(&sources, d_in)
    }

    /// The rows of a matrix as they are stored, whichever of its sides comes first.
    fn stored_rows(&self, name: &str, n_rows: usize, d_in: usize) -> Result<Option<StoredRows>, Error> {
        let rows = self.checkpoint.stored_rows(name, &self.stored_shape(n_rows, d_in))?;
        match (self.layout, rows) {
            (Layout::InOut, Some(rows)) => rows.turned(n_rows).map_err(|source| self.io(name, source)),
            (_, rows) => Ok(rows),
        }
    }

    /// Rows, one above the other, read into memory in the type of their file; `None` where they do not fit together or a
    /// number is not finite.
    fn coded(&self, parts: &[(StoredRows, usize, &str)], d_in: usize) -> Result<Option<Weight>, Error> {
        let kind =
            |(rows, n_rows, _): &(StoredRows, usize, &str)| attlas_kernels::Part { code: rows.code, n_rows: *n_rows };
        let kinds: Vec<attlas_kernels::Part> = parts.iter().map(kind).collect();
        if !Coded::fits(&kinds, d_in) {
            return Ok(None);
        }
        let lie: Option<Vec<_>> = parts.iter().map(|(rows, ..)| rows.lies()).collect();
        let coded = match lie.as_deref() {
            Some(places @ [(bytes, _), ..]) => {
                let starts = places.iter().map(|(_, start)| *start);
                Some(Coded::laid(&kinds.iter().copied().zip(starts).collect::<Vec<_>>(), d_in, bytes))
            }
            _ => {
                let ready = |(rows, _, name): &(StoredRows, usize, &str)| rows.ready().map_err(|e| self.io(name, e));
                let ready = parts.iter().map(ready).collect::<Result<Vec<_>, _>>()?;
                Coded::read(&kinds, d_in, |part, rows, bytes| {
                    ready[part].read(d_in, rows, bytes).map_err(|source| self.io(parts[part].2, source))
                })?
            }
        };
        // what is not finite is found, and named, among the numbers
        let Some(coded) = coded else { return Ok(None) };
        parts.iter().for_each(|(_, _, name)| self.checkpoint.ignore(name));
        Ok(Some(Weight::Coded(Arc::new(coded))))
    }

    /// A failure to read a tensor.
    fn io(&self, name: &str, source: std::io::Error) -> Error {
        let path = self.checkpoint.get(name).map_or(self.checkpoint.path(), |tensor| &*tensor.path);
        let source = std::io::Error::new(source.kind(), format!("{name}: {source}"));
        Error::Io { path: path.to_path_buf(), source }
    }

    /// A table of rows, as it is stored or as numbers; shared by name where it is numbers.
    fn table(&self, name: &str, [n_rows, width]: [usize; 2]) -> Result<Weight, Error> {
        // a table's rows are those of its words, however the layers' matrices are stored
        let as_rows = Loader { layout: Layout::OutIn, ..*self };
        if let Some(weight) = as_rows.as_stored(&[(name.to_owned(), n_rows)], width)? {
            return Ok(weight);
        }
        self.checkpoint.tensor(name, &[n_rows, width]).map(Weight::Rows)
    }

    /// The same as numbers. Shape `[Σ d_out, d_in]`.
    fn as_numbers(&self, parts: &[Part], d_in: usize) -> Result<Vec<f32>, Error> {
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
        Ok(weight)
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
        multiply_rows(linear, &factors);
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
    /// The table of distances. Shape `[2 · span, d_model]`.
    distances: Option<&'a [f32]>,
}

/// One of several linear layers that are stacked.
struct Part {
    name: String,
    d_out: usize,
    bias: bool,
}
