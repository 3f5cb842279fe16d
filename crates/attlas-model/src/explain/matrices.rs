//! The matrices of a layer's heads: what each reads queries, keys and values from, and what it writes to.

use attlas::Kind;
use attlas::attention::Shape;

use crate::Error;
use crate::block::linear::Linear;
use crate::block::norm::NormWeights;
use crate::block::weights::{AttentionWeights, Projections};
use crate::config::{Attention, Residual};
use crate::model::Model;

/// Whether matrices are taken with the norms between them and the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Norms {
    /// What a norm does linearly, its centring and its weights, is part of the matrix that reads behind it, and where one stands on what
    /// attention gives, of the matrix that writes. Where norms come after the sum (post-norm models), matrices read the stream as it is.
    #[default]
    Folded,
    /// The matrices as they are stored.
    LeftOut,
}

/// The matrices of one layer's self-attention.
pub(super) struct Matrices {
    pub n_heads: usize,
    shape: Shape,
    pub d_head: usize,
    pub d_model: usize,
    /// Shape `[n_heads, d_head, d_model]`.
    pub queries: Vec<f32>,
    /// Shape `[n_kv_heads, d_head, d_model]`.
    pub keys: Vec<f32>,
    /// Shape `[n_kv_heads, d_head, d_model]`.
    pub values: Vec<f32>,
    /// Shape `[n_heads, d_head, d_model]`.
    pub output: Vec<f32>,
}

impl Matrices {
    /// Of every layer of a stack.
    pub fn of_stack(model: &Model, kind: Kind, norms: Norms) -> Result<Vec<Matrices>, Error> {
        let transformer = model.transformer();
        let (stack, weights) = match kind {
            Kind::Encoder => (&transformer.architecture.encoder, &transformer.encoder),
            _ => (&transformer.architecture.decoder, &transformer.decoder),
        };
        let (Some(stack), Some(weights)) = (stack, weights) else {
            return Err(Error::Plan(format!("{} has no {kind}", model.name())));
        };
        model.check_whole("what heads write is not followed through them")?;
        let blocks = stack.blocks.iter().zip(&weights.blocks);
        let attentions = blocks.filter_map(|(config, block)| Some((config, block.attention()?)));
        attentions
            .map(|(config, attention)| Matrices::of(model, &config.attention, attention, config.residual, norms))
            .collect()
    }

    fn of(
        model: &Model,
        config: &Attention,
        weights: &AttentionWeights,
        residual: Residual,
        norms: Norms,
    ) -> Result<Matrices, Error> {
        let join = weights.join(residual);
        let [before, after] = [join.before(), join.on_output()].map(|norm| norm.filter(|_| norms == Norms::Folded));
        let (n_query, n_kv) = (config.query_width(), config.key_width());
        let (queries, mut keys_and_values) = match &weights.projections {
            Projections::Joint(linear) => {
                let mut rows = linear.weight.rows().into_owned(); // [q + 2 · kv, d_model]
                let rest = rows.split_off(n_query * linear.d_in);
                (rows, rest)
            }
            Projections::Apart { query, key_value } => {
                (query.weight.rows().into_owned(), key_value.weight.rows().into_owned())
            }
            Projections::Latent(_) => return Err(through_narrower_states(model)),
        };
        let d_model = queries.len() / n_query.max(1);
        let values = keys_and_values.split_off(n_kv * d_model);
        let mut output = transposed(&weights.output);
        after.iter().for_each(|norm| fold_written(norm, &mut output, d_model));
        let folded = |mut rows: Vec<f32>| {
            before.iter().for_each(|norm| fold(norm, &mut rows, d_model));
            rows
        };
        Ok(Matrices {
            n_heads: config.n_heads,
            shape: config.shape(0, 0),
            d_head: config.d_head,
            d_model,
            queries: folded(queries),
            keys: folded(keys_and_values),
            values: folded(values),
            output,
        })
    }

    /// The key–value head that a head reads.
    pub fn kv_head(&self, head: usize) -> usize {
        self.shape.kv_head(head)
    }

    /// One head of some of the matrices. Shape `[d_head, d_model]`.
    pub fn head<'a>(&self, matrices: &'a [f32], head: usize) -> &'a [f32] {
        let size = self.d_head * self.d_model;
        &matrices[head * size..(head + 1) * size]
    }
}

/// Why there are no matrices of what heads read.
pub(super) fn through_narrower_states(model: &Model) -> Error {
    Error::Unsupported(format!(
        "{} makes queries, keys and values of narrower states with a norm between, so that no matrix says what a head reads",
        model.name()
    ))
}

/// `W · diag(γ) · C`, where `C` takes the mean away: rows that read behind a norm, as rows that read before it. Shape `[n, width]`.
pub(super) fn fold(norm: &NormWeights, rows: &mut [f32], width: usize) {
    let plus = norm.norm.kind.plus();
    for row in rows.chunks_exact_mut(width.max(1)) {
        row.iter_mut().zip(norm.weight.iter()).for_each(|(x, weight)| *x *= plus + weight);
        centre(norm, row);
    }
}

/// `diag(γ) · C` of each row: what is written before a norm, as what is written behind it, up to its divisor. Shape `[n, width]`.
pub(super) fn fold_written(norm: &NormWeights, rows: &mut [f32], width: usize) {
    let plus = norm.norm.kind.plus();
    for row in rows.chunks_exact_mut(width.max(1)) {
        centre(norm, row);
        row.iter_mut().zip(norm.weight.iter()).for_each(|(x, weight)| *x *= plus + weight);
    }
}

/// Takes the mean away where the norm does.
fn centre(norm: &NormWeights, row: &mut [f32]) {
    if norm.norm.kind.is_centred() {
        let mean = (row.iter().map(|x| f64::from(*x)).sum::<f64>() / row.len() as f64) as f32;
        row.iter_mut().for_each(|x| *x -= mean);
    }
}

/// The columns of a matrix as rows. Shapes `[d_out, d_in]` and `[d_in, d_out]`.
fn transposed(linear: &Linear) -> Vec<f32> {
    let rows = linear.weight.rows();
    let (d_in, d_out) = (linear.d_in, linear.d_out);
    (0..d_in).flat_map(|column| (0..d_out).map(move |row| row * d_in + column)).map(|place| rows[place]).collect()
}

/// `rows · rowsᵀ`. Shapes `[n, width]` and `[n, n]`.
pub(super) fn inner_products(rows: &[f32], n: usize) -> Vec<f64> {
    let width = rows.len() / n.max(1);
    let row = |at: usize| &rows[at * width..(at + 1) * width];
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let mut products = vec![0.0; n * n]; // [n, n]
    for a in 0..n {
        for b in a..n {
            let sum = product(row(a), row(b));
            (products[a * n + b], products[b * n + a]) = (sum, sum);
        }
    }
    products
}

/// The upper triangle `R` with `RᵀR = G`, of products `G` of shape `[n, n]` that may lack full rank (Cholesky).
pub(super) fn root(products: &[f64], n: usize) -> Vec<f64> {
    let mut root = vec![0.0_f64; n * n]; // [n, n]
    let largest = (0..n).map(|place| products[place * n + place]).fold(0.0, f64::max);
    for row in 0..n {
        let above =
            |column: usize, root: &[f64]| (0..row).map(|k| root[k * n + row] * root[k * n + column]).sum::<f64>();
        let pivot = products[row * n + row] - above(row, &root);
        if pivot <= largest * f64::EPSILON * n as f64 {
            continue; // the row depends on those before it
        }
        let diagonal = pivot.sqrt();
        root[row * n + row] = diagonal;
        for column in row + 1..n {
            root[row * n + column] = (products[row * n + column] - above(column, &root)) / diagonal;
        }
    }
    root
}

/// `M · rows`. Shapes `[n, n]`, `[n, width]` and `[n, width]`.
pub(super) fn times(matrix: &[f64], rows: &[f32], n: usize) -> Vec<f32> {
    let width = rows.len() / n.max(1);
    let mut product = Vec::with_capacity(rows.len()); // [n, width]
    let mut sums = vec![0.0_f64; width];
    for factors in matrix.chunks_exact(n.max(1)) {
        sums.fill(0.0);
        for (factor, row) in factors.iter().zip(rows.chunks_exact(width.max(1))).filter(|(factor, _)| **factor != 0.0) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += factor * f64::from(*x));
        }
        product.extend(sums.iter().map(|x| *x as f32));
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Norm, NormKind};

    #[test]
    fn a_norm_without_weights_is_folded_with_its_centring_alone() {
        let norm = |kind, weight: &[f32]| NormWeights {
            norm: Norm { kind, epsilon: 1e-5 },
            weight: weight.to_vec().into(),
            bias: Vec::new().into(),
        };
        for (kind, weight, expected) in [
            (NormKind::LayerPlain, &[][..], [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0]),
            (NormKind::Layer, &[2.0, 2.0, 2.0], [-2.0, 0.0, 2.0, -4.0, 0.0, 4.0]),
            (NormKind::Rms, &[2.0, 1.0, 0.0], [2.0, 2.0, 0.0, 0.0, 2.0, 0.0]),
            (NormKind::LayerPlusOne, &[1.0, 1.0, 1.0], [-2.0, 0.0, 2.0, -4.0, 0.0, 4.0]),
        ] {
            let mut rows = [1.0, 2.0, 3.0, 0.0, 2.0, 4.0];
            fold(&norm(kind, weight), &mut rows, 3);
            assert_eq!(rows, expected, "{kind:?}");
        }
    }

    #[test]
    fn what_is_written_before_a_norm_is_centred_first_and_then_weighed() {
        let norm = |kind| NormWeights {
            norm: Norm { kind, epsilon: 1e-5 },
            weight: vec![2.0, 1.0, 0.5].into(),
            bias: Vec::new().into(),
        };
        for (kind, expected) in [
            (NormKind::Rms, [2.0, 2.0, 1.5]),
            (NormKind::RmsPlusOne, [3.0, 4.0, 4.5]),
            (NormKind::Layer, [-2.0, 0.0, 0.5]),
        ] {
            let mut row = [1.0, 2.0, 3.0];
            fold_written(&norm(kind), &mut row, 3);
            assert_eq!(row, expected, "{kind:?}");
        }
    }

    #[test]
    fn the_root_of_products_gives_them_back_also_without_full_rank() {
        let rows = [1.0_f32, 2.0, 3.0, 2.0, 4.0, 6.0, 0.0, 1.0, -1.0]; // the second row is twice the first
        let products = inner_products(&rows, 3);
        let root = root(&products, 3);
        for (place, expected) in products.iter().enumerate() {
            let found: f64 = (0..3).map(|k| root[k * 3 + place / 3] * root[k * 3 + place % 3]).sum();
            assert!((found - expected).abs() < 1e-9, "{place}: {found} {expected}");
        }
    }
}
