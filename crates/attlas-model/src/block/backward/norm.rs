//! Back through layer and root-mean-square norms.

use std::ops::Range;
use std::sync::Arc;

use attlas_kernels::vectorised;
use rayon::prelude::*;

use super::Rules;
use crate::block::norm::NormWeights;
use crate::config::NormKind;

impl NormWeights {
    /// Goes back through the norm of each row of `input`: `gradient` is that of the output before, of the input after.
    /// Adds the gradients of its parameters to `sums`. Shapes `[n, width]`.
    pub(super) fn go_back(
        &self,
        rules: Rules,
        input: &[f32],
        gradient: &mut [f32],
        width: usize,
        sums: Option<&mut NormWeights>,
    ) {
        if let Some(sums) = sums {
            for (d, x) in gradient.chunks_exact_mut(width).zip(input.chunks_exact(width)) {
                sums.add_gradients(0..width, x, d);
                vectorised(
                    #[inline(always)]
                    || self.row_back(rules, &self.weight, x, d),
                );
            }
            return;
        }
        gradient.par_chunks_exact_mut(width).zip(input.par_chunks_exact(width)).for_each(|(d, x)| {
            vectorised(
                #[inline(always)]
                || self.row_back(rules, &self.weight, x, d),
            );
        });
    }

    /// Adds to sums of gradients, at some of their columns, those of one row: of the factors `∂S/∂y ∘ x̂`, of what is added
    /// `∂S/∂y`. Shapes `[width]`.
    pub(super) fn add_gradients(&mut self, columns: Range<usize>, x: &[f32], d_output: &[f32]) {
        let (kind, epsilon) = (self.norm.kind, self.norm.epsilon);
        if let Some(sums) = Arc::make_mut(&mut self.weight).get_mut(columns.clone()) {
            vectorised(
                #[inline(always)]
                || {
                    let (mean, factor) = moments(kind, epsilon, x);
                    for ((sum, x), d) in sums.iter_mut().zip(x).zip(d_output) {
                        *sum += ((f64::from(*x) - mean) * factor) as f32 * d;
                    }
                },
            );
        }
        if let Some(sums) = Arc::make_mut(&mut self.bias).get_mut(columns) {
            super::add(sums, d_output);
        }
    }

    /// The same of one row, with other weights. Shapes `[width]`.
    ///
    /// With `x̂ = (x − mean) · factor` and `g = ∂S/∂y ∘ w` it is `factor · (g − mean(g) − x̂ · mean(g ∘ x̂))`, without the
    /// means where the norm has none. By the rules of relevance the factor is held fixed, and the last term is not there.
    #[inline(always)]
    pub(super) fn row_back(&self, rules: Rules, weight: &[f32], x: &[f32], d: &mut [f32]) {
        // 1. what the forward pass had
        let (mean, factor) = moments(self.norm.kind, self.norm.epsilon, x);
        // 2. the weight
        match self.norm.kind {
            NormKind::LayerPlain => {}
            NormKind::RmsPlusOne | NormKind::LayerPlusOne => d.iter_mut().zip(weight).for_each(|(d, w)| *d *= 1.0 + w),
            _ => d.iter_mut().zip(weight).for_each(|(d, w)| *d *= w),
        }
        // 3. mean and factor
        let n = x.len() as f64;
        let mean_d = if self.norm.kind.is_centred() { sum(d, |d, _| f64::from(d), d) / n } else { 0.0 };
        let along = if rules == Rules::Gradient {
            sum(x, |x, d| (f64::from(x) - mean) * f64::from(d), d) / n * factor * factor
        } else {
            0.0
        };
        for (d, x) in d.iter_mut().zip(x) {
            *d = (factor * (f64::from(*d) - mean_d - (f64::from(*x) - mean) * along)) as f32;
        }
    }
}

/// What a norm subtracts from a row, and what it multiplies by then.
#[inline(always)]
fn moments(kind: NormKind, epsilon: f32, x: &[f32]) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = if kind.is_centred() { sum(x, |x, _| f64::from(x), x) / n } else { 0.0 };
    let variance = sum(x, |x, _| (f64::from(x) - mean).powi(2), x) / n;
    (mean, 1.0 / (variance + f64::from(epsilon)).sqrt())
}

/// The sum of `f(x, d)`, in sixteen running sums so that it can be vectorised.
#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32, f32) -> f64, d: &[f32]) -> f64 {
    let ((x_chunks, x_rest), (d_chunks, d_rest)) = (x.as_chunks::<16>(), d.as_chunks::<16>());
    let mut sums = [0.0_f64; 16];
    for (x, d) in x_chunks.iter().zip(d_chunks) {
        for lane in 0..16 {
            sums[lane] += f(x[lane], d[lane]);
        }
    }
    let rest: f64 = x_rest.iter().zip(d_rest).map(|(x, d)| f(*x, *d)).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::backward::differences::{check, dot, numbers, widened};
    use crate::config::Norm;

    const KINDS: [NormKind; 6] = [
        NormKind::Layer,
        NormKind::LayerWithoutBias,
        NormKind::LayerPlain,
        NormKind::LayerPlusOne,
        NormKind::Rms,
        NormKind::RmsPlusOne,
    ];

    /// The norms as they are defined, in f64, of each row; `held` is a factor that stands for the rows' own.
    fn norm(kind: NormKind, epsilon: f64, [x, weight, bias]: &[Vec<f64>; 3], held: Option<f64>) -> Vec<f64> {
        let row = |x: &[f64]| -> Vec<f64> {
            let (mean, factor) = moments(kind, epsilon, x);
            let factor = held.unwrap_or(factor);
            let weight = |place: usize| match kind {
                NormKind::LayerPlain => 1.0,
                NormKind::RmsPlusOne | NormKind::LayerPlusOne => 1.0 + weight[place],
                _ => weight[place],
            };
            let value =
                |(place, x): (usize, &f64)| (x - mean) * factor * weight(place) + bias.get(place).unwrap_or(&0.0);
            x.iter().enumerate().map(value).collect()
        };
        x.chunks_exact(WIDTH).flat_map(row).collect()
    }

    /// What a norm subtracts from a row and multiplies by, in f64.
    fn moments(kind: NormKind, epsilon: f64, x: &[f64]) -> (f64, f64) {
        let n = x.len() as f64;
        let mean = if kind.is_centred() { x.iter().sum::<f64>() / n } else { 0.0 };
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        (mean, 1.0 / (variance + epsilon).sqrt())
    }

    const WIDTH: usize = 11;
    const EPSILON: f32 = 1e-3;

    fn weights(kind: NormKind) -> NormWeights {
        let [n_factors, n_added] = match kind {
            NormKind::Layer | NormKind::LayerPlusOne => [WIDTH, WIDTH],
            NormKind::LayerPlain => [0, 0],
            _ => [WIDTH, 0],
        };
        let [weight, bias] = [numbers(n_factors, 2), numbers(n_added, 4)].map(Arc::new);
        NormWeights { norm: Norm { kind, epsilon: EPSILON }, weight, bias }
    }

    #[test]
    fn every_norm_goes_back_as_central_differences_in_f64_do_and_with_a_held_divisor_by_the_rules() {
        let (x, d) = (numbers(WIDTH, 1), numbers(WIDTH, 3));
        for kind in KINDS {
            let weights = weights(kind);
            let fixed = [&weights.weight, &weights.bias].map(|numbers| widened(numbers));
            for rules in [Rules::Gradient, Rules::AttnLrp] {
                let (_, factor) = moments(kind, f64::from(EPSILON), &widened(&x));
                let held = (rules != Rules::Gradient).then_some(factor);
                let score = |[x]: &[Vec<f64>; 1]| {
                    let [weight, bias] = fixed.clone();
                    dot(&norm(kind, f64::from(EPSILON), &[x.clone(), weight, bias], held), &d)
                };
                let mut found = d.clone();
                weights.go_back(rules, &x, &mut found, WIDTH, None);
                check(&format!("{kind:?} {rules:?}"), WIDTH, [widened(&found)], &[widened(&x)], score);
            }
        }
    }

    #[test]
    fn every_norms_parameters_have_the_gradients_of_central_differences_in_f64() {
        let (x, d) = (numbers(3 * WIDTH, 1), numbers(3 * WIDTH, 3));
        for kind in KINDS {
            let weights = weights(kind);
            let zeros = |numbers: &Vec<f32>| Arc::new(vec![0.0; numbers.len()]);
            let mut sums =
                NormWeights { norm: weights.norm, weight: zeros(&weights.weight), bias: zeros(&weights.bias) };
            let mut found = d.clone();
            weights.go_back(Rules::Gradient, &x, &mut found, WIDTH, Some(&mut sums));
            let at = [&x, &*weights.weight, &*weights.bias].map(|numbers| widened(numbers));
            let found = [&found, &*sums.weight, &*sums.bias].map(|numbers| widened(numbers));
            let score = |at: &[Vec<f64>; 3]| dot(&norm(kind, f64::from(EPSILON), at, None), &d);
            check(&format!("{kind:?}"), 100, found, &at, score);
        }
    }
}
