//! What a head of a language model reads and writes, in tokens: its circuits from the embedding to scores and to logits.

use std::borrow::Cow;

use attlas::{HeadId, Kind};
use attlas_kernels::Onto;
use rayon::prelude::*;
use serde::Serialize;

use super::eigenvalues::{Complex, eigenvalues};
use super::knock_out::KindHead;
use super::matrices::{Matrices, Norms, fold, fold_written};
use super::parts::residual_of;
use crate::Error;
use crate::block::linear::Linear;
use crate::block::weights::{AttentionWeights, Projections};
use crate::config::{Attention, QkScope, Readout, Reads};
use crate::model::Model;

/// Source tokens whose pairs are looked at together.
const BAND: usize = 128;

/// How far a head copies: `Σ λ / Σ |λ|` of the eigenvalues of `W_U W_O W_V W_E`, in −1 ..= 1: 1 where it raises the logit of the very
/// token that it looks at, −1 where it lowers it (Elhage et al. 2021; > 0.5 is called copying).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Copying {
    /// The head.
    pub head: HeadId,
    /// The score; `None` where the head writes nothing, or its numbers are not finite.
    pub score: Option<f64>,
}

/// The copying scores of all self-attention heads of a model that predicts tokens, layer by layer.
///
/// # Errors
/// When the model has no readout of tokens that is linear in the residual stream.
pub fn copying(model: &Model, norms: Norms) -> Result<Vec<Copying>, Error> {
    let vocabulary = Vocabulary::of(model, norms)?;
    let layers = Matrices::of_stack(model, vocabulary.kind, norms)?;
    let through = vocabulary.through(); // [d_model, d_model]
    let of_head = |(layer, head): (usize, usize)| {
        let matrices = &layers[layer];
        let (d_head, d_model) = (matrices.d_head, matrices.d_model);
        // eigenvalues of A B are those of B A: a matrix as wide as the head instead of the vocabulary
        let writes = matrices.head(&matrices.output, head);
        let values = matrices.head(&matrices.values, matrices.kv_head(head));
        let mut mapped = vec![0.0; d_head * d_model]; // [d_head, d_model]
        through.forward_to(writes, &mut mapped, Onto::Replace);
        let mut circuit = vec![0.0; d_head * d_head]; // [d_head, d_head]
        Linear::new(values.to_vec(), None, d_head, d_model).forward_to(&mapped, &mut circuit, Onto::Replace);
        let circuit: Vec<f64> = circuit.into_iter().map(f64::from).collect();
        let score = eigenvalues(&circuit, d_head).and_then(|found| {
            let sizes: f64 = found.iter().copied().map(Complex::abs).sum();
            (sizes > 0.0).then(|| found.iter().map(|one| one.re).sum::<f64>() / sizes)
        });
        Copying { head: HeadId { layer, head }, score }
    };
    let heads: Vec<(usize, usize)> =
        layers.iter().enumerate().flat_map(|(layer, one)| (0..one.n_heads).map(move |head| (layer, head))).collect();
    Ok(heads.into_par_iter().map(of_head).collect())
}

/// Two tokens, and a number of the first looking at, or raising, the second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pair {
    /// The token looked from (of scores) or looked at (of logits).
    pub from: u32,
    /// The token looked at (of scores) or whose logit is raised.
    pub to: u32,
    /// The score, or the logit.
    pub value: f32,
}

/// What one head reads and writes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Circuit {
    /// The head.
    pub head: HeadId,
    /// Query and key tokens of the highest scores: what the score of the two would be if their embeddings alone stood in the stream, at one
    /// place, behind the layer's norm. The highest first.
    pub reads: Vec<Pair>,
    /// Tokens looked at and tokens whose logits they raise most, so that each token looked at stands once: `norm(e) W_V W_O W_Uᵀ`, behind
    /// the weights of a norm on what attention gives and of the final norm, up to their scales, less the mean over tokens looked at. The
    /// highest first.
    pub writes: Vec<Pair>,
}

/// What a head reads and writes: the `n` highest pairs of tokens; `from` keeps to pairs of one token looked from, or looked at.
/// `step` is told after each band of tokens how many there are.
///
/// It looks at every pair of the vocabulary: `4 · n_tokens² · d_head` operations.
///
/// # Errors
/// When there is no such head, or no readout of tokens that is linear in the residual stream; [`Error::Unsupported`] where queries and
/// keys are normalised over all heads.
pub fn circuit(
    model: &Model,
    head: HeadId,
    from: Option<u32>,
    n: usize,
    step: &mut dyn FnMut(usize),
) -> Result<Circuit, Error> {
    let vocabulary = Vocabulary::of(model, Norms::Folded)?;
    let (config, weights) = vocabulary.attention(model, head)?;
    let sides = HeadSides::of(model, &vocabulary, config, weights, head)?;
    let sources: Vec<usize> = match from {
        Some(token) if (token as usize) < vocabulary.n_tokens => vec![token as usize],
        Some(token) => {
            return Err(Error::Plan(format!(
                "{} has tokens 0 to {}, not {token}",
                model.name(),
                vocabulary.n_tokens.saturating_sub(1)
            )));
        }
        None => (0..vocabulary.n_tokens).collect(),
    };
    let n_bands = 2 * sources.len().div_ceil(BAND);
    let most_of_source = if from.is_some() { n } else { usize::MAX };
    let reads =
        highest(&sides.queries, &sides.keys, &sources, sides.d_head, [n, most_of_source], &mut || step(n_bands));
    let most_of_source = if from.is_some() { n } else { 1 };
    let writes =
        highest(&sides.values, &sides.writes, &sources, sides.d_head, [n, most_of_source], &mut || step(n_bands));
    Ok(Circuit { head, reads, writes })
}

/// The highest products of rows of `sources` with `targets`: `n` of them, at most so many of a source.
/// Shapes `[n_tokens, d_head]`.
fn highest(
    sources: &[f32],
    targets: &[f32],
    rows: &[usize],
    d_head: usize,
    [n, most_of_source]: [usize; 2],
    told: &mut dyn FnMut(),
) -> Vec<Pair> {
    let n_targets = targets.len() / d_head.max(1);
    let linear = packed(targets, n_targets, d_head);
    let mut best: Vec<Pair> = Vec::new();
    for band in rows.chunks(BAND) {
        let input: Vec<f32> = band.iter().flat_map(|row| &sources[row * d_head..][..d_head]).copied().collect();
        let mut products = vec![0.0; band.len() * n_targets]; // [band, n_targets]
        linear.forward_to(&input, &mut products, Onto::Replace);
        let of_row = |(from, products): (&usize, &[f32])| {
            let mut pairs: Vec<Pair> = Vec::new();
            let keep = n.min(most_of_source);
            for (to, value) in products.iter().enumerate() {
                // a full list is only touched by what is higher than its least
                if pairs.len() < keep || pairs.last().is_some_and(|least| *value > least.value) {
                    let place = pairs.partition_point(|pair| pair.value >= *value);
                    pairs.insert(place, Pair { from: *from as u32, to: to as u32, value: *value });
                    pairs.truncate(keep);
                }
            }
            pairs
        };
        let found: Vec<Pair> =
            band.par_iter().zip(products.par_chunks_exact(n_targets.max(1))).flat_map_iter(of_row).collect();
        best.extend(found);
        best.sort_by(|a, b| b.value.total_cmp(&a.value).then(a.from.cmp(&b.from)).then(a.to.cmp(&b.to)));
        best.truncate(n);
        told();
    }
    best
}

fn packed(rows: &[f32], d_out: usize, d_in: usize) -> Linear {
    let mut linear = Linear::new(rows.to_vec(), None, d_out, d_in);
    linear.pack();
    linear
}

/// The tokens of a language model as it reads and writes them.
struct Vocabulary<'a> {
    /// The stack that reads and writes them.
    kind: Kind,
    n_tokens: usize,
    d_model: usize,
    /// Rows of the embedding, through its own norm and projection where norms are folded. Shape `[n_tokens, d_model]`.
    embedding: Vec<f32>,
    /// Rows of the readout, with the final norm folded in where norms are. Shape `[n_logits, d_model]`.
    unembedding: Cow<'a, [f32]>,
}

impl<'a> Vocabulary<'a> {
    fn of(model: &'a Model, norms: Norms) -> Result<Vocabulary<'a>, Error> {
        let transformer = model.transformer();
        let architecture = &transformer.architecture;
        let kind = if architecture.decoder.is_some() { Kind::Decoder } else { Kind::Encoder };
        let (stack, weights) = match kind {
            Kind::Decoder => (&architecture.decoder, &transformer.decoder),
            _ => (&architecture.encoder, &transformer.encoder),
        };
        let unsupported =
            |why: &str| Error::Unsupported(format!("what heads write is told in tokens, and {} {why}", model.name()));
        let output = transformer.readout.output.as_ref();
        let (Some(stack), Some(weights), Some(output)) = (stack, weights, output) else {
            return Err(unsupported("has no output matrix"));
        };
        if !matches!(architecture.readout, Readout::Tokens { transform: None, .. }) {
            return Err(unsupported("has another layer between its last states and the logits, or predicts no tokens"));
        }
        if stack.embedding.reads != Reads::Tokens {
            return Err(unsupported("reads none"));
        }
        let n_tokens = stack.embedding.n_tokens;
        let mut rows = weights.embedding.tokens.rows().into_owned(); // [n_tokens, width]
        if norms == Norms::Folded {
            rows.iter_mut().for_each(|x| *x *= stack.embedding.scale);
            if let Some(norm) = &weights.embedding.norm {
                norm.apply(&mut rows, stack.embedding.width);
            }
        }
        let embedding = match &weights.embedding.projection {
            None => rows,
            Some(projection) => {
                let mut projected = vec![0.0; n_tokens * projection.d_out]; // [n_tokens, d_model]
                projection.forward_to(&rows, &mut projected, Onto::Replace);
                projected
            }
        };
        let mut unembedding = output.weight.rows();
        if let (Norms::Folded, Some(norm)) = (norms, &weights.final_norm) {
            fold(norm, unembedding.to_mut(), stack.d_model);
        }
        if output.d_in != stack.d_model {
            return Err(unsupported("has states of another width before its logits"));
        }
        Ok(Vocabulary { kind, n_tokens, d_model: stack.d_model, embedding, unembedding })
    }

    /// `W_Uᵀ W_E`, as rows that a head's output meets: from what it writes to what stands in the stream for the tokens that are raised.
    /// Shape `[d_model, d_model]`.
    fn through(&self) -> Linear {
        let d_model = self.d_model;
        let n = self.n_tokens.min(self.unembedding.len() / d_model.max(1));
        // a product over tokens: both tables with tokens along the inner axis
        let by_column = |rows: &[f32]| -> Vec<f32> {
            (0..d_model).flat_map(|column| (0..n).map(move |row| row * d_model + column)).map(|at| rows[at]).collect()
        };
        let mut sums = vec![0.0; d_model * d_model]; // [d_model of W_E, d_model of W_U]
        let of_output = Linear::new(by_column(&self.unembedding), None, d_model, n);
        of_output.forward_to(&by_column(&self.embedding), &mut sums, Onto::Replace);
        Linear::new(sums, None, d_model, d_model)
    }

    fn attention(&self, model: &'a Model, head: HeadId) -> Result<(&'a Attention, &'a AttentionWeights), Error> {
        model.check_head(KindHead { kind: self.kind, head })?;
        let stack = match self.kind {
            Kind::Decoder => &model.transformer().decoder,
            _ => &model.transformer().encoder,
        };
        let block = stack.as_ref().and_then(|stack| stack.blocks.get(head.layer));
        let config = model.transformer().architecture.attention_at(self.kind, head.layer);
        match (config, block.and_then(|block| block.attention())) {
            (Some(config), Some(_)) if config.gated => Err(Error::Unsupported(format!(
                "{} gates what heads give, by the query's state: weights alone do not say what they write",
                model.name()
            ))),
            (Some(config), Some(attention)) => Ok((config, attention)),
            _ => Err(Error::Plan(format!("layer {} of {} has no attention", head.layer, model.name()))),
        }
    }
}

/// Every token as one head reads and writes it.
struct HeadSides {
    d_head: usize,
    /// Scaled. Shape `[n_tokens, d_head]`.
    queries: Vec<f32>,
    /// Shape `[n_tokens, d_head]`.
    keys: Vec<f32>,
    /// Less their mean over tokens. Shape `[n_tokens, d_head]`.
    values: Vec<f32>,
    /// What each logit takes of a value. Shape `[n_logits, d_head]`.
    writes: Vec<f32>,
}

impl HeadSides {
    fn of(
        model: &Model,
        vocabulary: &Vocabulary<'_>,
        config: &Attention,
        weights: &AttentionWeights,
        head: HeadId,
    ) -> Result<HeadSides, Error> {
        let Projections::Joint(joint) = &weights.projections else {
            return Err(Error::Unsupported(format!(
                "{head} reads queries and keys from different states, or through a narrower one"
            )));
        };
        let mut input = vocabulary.embedding.clone(); // [n_tokens, d_model]
        let join = weights.join(residual_of(model, vocabulary.kind, head.layer));
        if let Some(norm) = join.before() {
            norm.apply(&mut input, vocabulary.d_model);
        }
        let (d_head, kv) = (config.d_head, config.shape(0, 0).kv_head(head.head));
        let rows = |start: usize| -> Vec<f32> { projected(joint, &input, start, d_head) };
        let mut queries = rows(head.head * d_head);
        let mut keys = rows(config.query_width() + kv * d_head);
        let mut values = rows(config.query_width() + config.key_width() + kv * d_head);
        if let Some(scope) = config.qk_norm.map(|norm| norm.scope) {
            let (Some(query_norm), Some(key_norm), QkScope::Head) = (&weights.query_norm, &weights.key_norm, scope)
            else {
                return Err(Error::Unsupported(format!(
                    "{} normalises queries and keys of several heads together: what one head reads is not told by tokens alone",
                    model.name()
                )));
            };
            query_norm.apply(&mut queries, d_head);
            key_norm.apply(&mut keys, d_head);
        }
        queries.iter_mut().for_each(|x| *x *= config.scale);
        centre(&mut values, d_head);
        let n_logits = vocabulary.unembedding.len() / vocabulary.d_model.max(1);
        let output = super::parts::output_of_head(&weights.output, head.head, d_head); // [d_model, d_head]
        let mut by_column = vec![0.0; output.len()]; // [d_head, d_model]
        for (place, x) in output.iter().enumerate() {
            by_column[place % d_head * vocabulary.d_model + place / d_head] = *x;
        }
        join.on_output().into_iter().for_each(|norm| fold_written(norm, &mut by_column, vocabulary.d_model));
        let mut writes = vec![0.0; n_logits * d_head]; // [n_logits, d_head]
        let linear = Linear::new(by_column, None, d_head, vocabulary.d_model);
        linear.forward_to(&vocabulary.unembedding, &mut writes, Onto::Replace);
        Ok(HeadSides { d_head, queries, keys, values, writes })
    }
}

/// Some columns of a projection of all tokens, its bias in them. Shape `[n_tokens, width]`.
fn projected(linear: &Linear, input: &[f32], start: usize, width: usize) -> Vec<f32> {
    let mut rows = vec![0.0; width * linear.d_in]; // [width, d_in]
    for (row, place) in rows.chunks_exact_mut(linear.d_in).zip(start..) {
        linear.weight.row(place, row);
    }
    let bias = linear.bias.as_ref().map(|bias| bias[start..start + width].to_vec());
    let mut output = vec![0.0; input.len() / linear.d_in * width]; // [n_tokens, width]
    Linear::new(rows, bias, width, linear.d_in).forward_to(input, &mut output, Onto::Replace);
    output
}

/// Takes the mean over rows away. Shape `[n, width]`.
fn centre(rows: &mut [f32], width: usize) {
    let n = (rows.len() / width.max(1)).max(1) as f64;
    let mut means = vec![0.0_f64; width];
    for row in rows.chunks_exact(width.max(1)) {
        means.iter_mut().zip(row).for_each(|(mean, x)| *mean += f64::from(*x) / n);
    }
    for row in rows.chunks_exact_mut(width.max(1)) {
        row.iter_mut().zip(&means).for_each(|(x, mean)| *x = (f64::from(*x) - mean) as f32);
    }
}
