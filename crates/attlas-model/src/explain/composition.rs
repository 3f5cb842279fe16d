//! Composition of heads: how much of what one head writes another reads, as queries, keys or values (Elhage et al. 2021).

use attlas::{HeadId, Kind};
use attlas_kernels::Onto;
use rayon::prelude::*;
use serde::Serialize;

use super::matrices::{Matrices, Norms, inner_products, root, times};
use crate::Error;
use crate::block::linear::Linear;
use crate::model::Model;

/// How much a later head reads of what an earlier one writes: `‖W_a W_b‖ / (‖W_a‖ ‖W_b‖)` in Frobenius norms, in 0 ..= 1.
///
/// `W_a` is the earlier head's `W_V W_O`, and `W_b` the later one's `W_Q W_Kᵀ` (query), its transpose (key) or `W_V W_O` (value)
/// (Elhage et al. 2021, "A mathematical framework for Transformer circuits"). Independent matrices reach about
/// [`chance`](Compositions::chance).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Composition {
    /// The head that writes.
    pub from: HeadId,
    /// The head that reads, of a later layer.
    pub to: HeadId,
    /// Where it looks from.
    pub query: f32,
    /// What it looks at.
    pub key: f32,
    /// What it moves.
    pub value: f32,
}

/// The compositions of a stack's heads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compositions {
    /// The stack's kind of self-attention.
    pub kind: Kind,
    /// What matrices that have nothing to do with each other reach on average: `1 / √d_model`.
    pub chance: f32,
    /// Every pair of heads in different layers, in the order of the writer, then of the reader.
    pub pairs: Vec<Composition>,
}

/// The compositions of every two self-attention heads of a stack in different layers. Biases, positions and norms of queries and keys
/// are left out.
///
/// # Errors
/// When the model has no such stack.
pub fn compositions(model: &Model, kind: Kind, norms: Norms) -> Result<Compositions, Error> {
    let layers: Vec<Sides> = Matrices::of_stack(model, kind, norms)?.par_iter().map(Sides::of).collect();
    let d_model = layers.first().map_or(1, |layer| layer.d_model);
    let mut pairs = Vec::new();
    for (from, writer) in layers.iter().enumerate() {
        let readers: Vec<[Vec<f32>; 3]> =
            layers[from + 1..].iter().map(|reader| reader.reads.each_ref().map(|reads| writer.meets(reads))).collect();
        for head in 0..writer.n_heads {
            for (to, (reader, met)) in (from + 1..).zip(layers[from + 1..].iter().zip(&readers)) {
                for other in 0..reader.n_heads {
                    let [query, key, value] = met.each_ref().map(|met| met[head * reader.n_heads + other]);
                    let (from, to) = (HeadId { layer: from, head }, HeadId { layer: to, head: other });
                    pairs.push(Composition { from, to, query, key, value });
                }
            }
        }
    }
    Ok(Compositions { kind, chance: 1.0 / (d_model as f32).sqrt(), pairs })
}

/// What a layer's heads write and read, in as few rows as a head is wide: a product's Frobenius norm stays the same when its outer
/// factors become triangular roots of their inner products, which makes all pairs of two layers blocks of one product.
struct Sides {
    n_heads: usize,
    d_head: usize,
    d_model: usize,
    /// `R_V W_O`. Shape `[n_heads, d_head, d_model]`.
    writes: Vec<f32>,
    /// `R_K W_Q`, `R_Q W_K` and `R_O W_V`. Shapes `[n_heads, d_head, d_model]`.
    reads: [Vec<f32>; 3],
}

impl Sides {
    fn of(matrices: &Matrices) -> Sides {
        let Matrices { n_heads, d_head, d_model, .. } = *matrices;
        let behind = |outer: &[f32], inner: &[f32]| times(&root(&inner_products(outer, d_head), d_head), inner, d_head);
        let each = |work: &dyn Fn(usize, usize) -> Vec<f32>| {
            (0..n_heads).flat_map(|head| work(head, matrices.kv_head(head))).collect::<Vec<f32>>()
        };
        let queries = |head: usize| matrices.head(&matrices.queries, head);
        let keys = |head: usize| matrices.head(&matrices.keys, head);
        let values = |head: usize| matrices.head(&matrices.values, head);
        let output = |head: usize| matrices.head(&matrices.output, head);
        Sides {
            n_heads,
            d_head,
            d_model,
            writes: each(&|head, kv| behind(values(kv), output(head))),
            reads: [
                each(&|head, kv| behind(keys(kv), queries(head))),
                each(&|head, kv| behind(queries(head), keys(kv))),
                each(&|head, kv| behind(output(head), values(kv))),
            ],
        }
    }

    /// The composition of each head with each of another layer's, whose matrices are `reads`. Shape `[n_heads, n_readers]`.
    fn meets(&self, reads: &[f32]) -> Vec<f32> {
        let n_rows = reads.len() / self.d_model.max(1); // [n_readers · d_head]
        let mut product = vec![0.0; self.n_heads * self.d_head * n_rows]; // [n_heads · d_head, n_readers · d_head]
        let linear = Linear::new(reads.to_vec(), None, n_rows, self.d_model);
        linear.forward_to(&self.writes, &mut product, Onto::Replace);
        let n_readers = n_rows / self.d_head.max(1);
        let sizes = |all: &[f32]| -> Vec<f64> {
            all.chunks_exact(self.d_head * self.d_model).map(|one| squares(one).sqrt()).collect()
        };
        let (of_writers, of_readers) = (sizes(&self.writes), sizes(reads));
        let mut found = Vec::with_capacity(self.n_heads * n_readers);
        for (rows, of_writer) in product.chunks_exact(self.d_head * n_rows).zip(of_writers) {
            for (reader, of_reader) in of_readers.iter().enumerate() {
                let blocks = rows.chunks_exact(n_rows).map(|row| squares(&row[reader * self.d_head..][..self.d_head]));
                let size = of_writer * of_reader;
                let norm = blocks.sum::<f64>().sqrt();
                found.push(if size > 0.0 { (norm / size) as f32 } else { 0.0 });
            }
        }
        found
    }
}

/// The sum of squares.
fn squares(numbers: &[f32]) -> f64 {
    numbers.iter().map(|x| f64::from(*x) * f64::from(*x)).sum()
}
