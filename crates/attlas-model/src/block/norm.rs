//! Layer and root-mean-square normalisation of rows.

use std::sync::Arc;

use attlas_kernels::vectorised;
use rayon::prelude::*;

use crate::config::{Norm, NormKind};

/// A norm with its weights.
#[derive(Debug, Clone)]
pub struct NormWeights {
    /// What is computed.
    pub norm: Norm,
    /// Factor per column; empty when there is none. Shape `[width]`.
    pub weight: Arc<Vec<f32>>,
    /// Added per column; empty when there is none. Shape `[width]`.
    pub bias: Arc<Vec<f32>>,
}

/// Rows that one task normalises at a time.
const ROWS: usize = 32;

impl NormWeights {
    /// Normalises `rows` in place. Shape `[n, width]`.
    pub fn apply(&self, rows: &mut [f32], width: usize) {
        rows.par_chunks_mut(width * ROWS).for_each(|block| {
            vectorised(
                #[inline(always)]
                || {
                    for row in block.chunks_mut(width) {
                        self.normalise(row);
                    }
                },
            );
        });
    }

    /// `output = norm(input)`. Both have shape `[n, width]`.
    pub fn apply_to(&self, input: &[f32], output: &mut [f32], width: usize) {
        output.par_chunks_mut(width * ROWS).zip(input.par_chunks(width * ROWS)).for_each(|(block, source)| {
            vectorised(
                #[inline(always)]
                || {
                    for (row, source) in block.chunks_mut(width).zip(source.chunks(width)) {
                        row.copy_from_slice(source);
                        self.normalise(row);
                    }
                },
            );
        });
    }

    /// `stream = norm(stream + addend)`. Both have shape `[n, width]`.
    pub fn add_and_apply(&self, stream: &mut [f32], addend: &[f32], width: usize) {
        stream.par_chunks_mut(width * ROWS).zip(addend.par_chunks(width * ROWS)).for_each(|(block, addend)| {
            vectorised(
                #[inline(always)]
                || {
                    for (row, addend) in block.chunks_mut(width).zip(addend.chunks(width)) {
                        for (x, a) in row.iter_mut().zip(addend) {
                            *x += a;
                        }
                        self.normalise(row);
                    }
                },
            );
        });
    }

    /// Normalises one row in place. Shape `[width]`.
    #[inline(always)]
    pub fn normalise(&self, row: &mut [f32]) {
        self.normalise_with(row, &self.weight, &self.bias);
    }

    /// The same with other weights.
    #[inline(always)]
    pub(crate) fn normalise_with(&self, row: &mut [f32], weight: &[f32], bias: &[f32]) {
        let width = row.len() as f32;
        let epsilon = self.norm.epsilon;
        // 1. centre
        if self.norm.kind.is_centred() {
            let mean = sum(row, |x| x) / width;
            for x in row.iter_mut() {
                *x -= mean;
            }
        }
        // 2. scale
        let factor = 1.0 / (sum(row, |x| x * x) / width + epsilon).sqrt();
        // 3. weight and bias
        match self.norm.kind {
            NormKind::LayerPlain => {
                for x in row.iter_mut() {
                    *x *= factor;
                }
            }
            NormKind::Layer => {
                for ((x, w), b) in row.iter_mut().zip(weight).zip(bias) {
                    *x = *x * factor * w + b;
                }
            }
            NormKind::LayerPlusOne => {
                for ((x, w), b) in row.iter_mut().zip(weight).zip(bias) {
                    *x = *x * factor * (1.0 + w) + b;
                }
            }
            NormKind::RmsPlusOne => {
                for (x, w) in row.iter_mut().zip(weight) {
                    *x = *x * factor * (1.0 + w);
                }
            }
            NormKind::Rms | NormKind::LayerWithoutBias => {
                for (x, w) in row.iter_mut().zip(weight) {
                    *x = *x * factor * w;
                }
            }
        }
    }
}

/// The sum of `f(x)`, in sixteen running sums so that it can be vectorised and rounds little.
#[inline(always)]
fn sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = row.as_chunks::<16>();
    let mut sums = [0.0_f32; 16];
    for chunk in chunks {
        for lane in 0..16 {
            sums[lane] += f(chunk[lane]);
        }
    }
    let rest: f32 = rest.iter().map(|x| f(*x)).sum();
    sums.iter().sum::<f32>() + rest
}
