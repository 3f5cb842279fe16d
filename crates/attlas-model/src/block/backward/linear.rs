//! Back through a dense layer: `∂S/∂x = ∂S/∂y · W`.

use attlas_kernels::{Matrix, Onto, Threads, multiply};

use crate::block::linear::{Linear, Weight};

/// Where at most one number of so many is not 0, rows are added one by one: of a readout most often one logit counts.
const FEW: usize = 64;

impl Linear {
    /// `d_input = d_output · W`, or added to it. Shapes `[n, d_out]` and `[n, d_in]`.
    pub(crate) fn go_back(&self, d_output: &[f32], d_input: &mut [f32], onto: Onto) {
        let n_numbers = d_output.iter().filter(|d| **d != 0.0).count();
        if n_numbers * FEW <= d_output.len() {
            return self.go_back_by_rows(d_output, d_input, onto);
        }
        match &self.weight {
            Weight::Packed(packed) => return packed.multiply_back(d_output, onto, Threads::All, d_input),
            Weight::BothWays(both) => return both.multiply_back(d_output, onto, d_input),
            Weight::Rows(_) | Weight::Coded(_) => {}
        }
        let n = d_output.len() / self.d_out;
        let rows = self.weight.rows();
        let (left, right) = (Matrix::new(d_output, n, self.d_out), Matrix::new(&rows, self.d_out, self.d_in));
        multiply(left, right, onto, Threads::All, d_input);
    }

    fn go_back_by_rows(&self, d_output: &[f32], d_input: &mut [f32], onto: Onto) {
        if onto == Onto::Replace {
            d_input.fill(0.0);
        }
        let mut weights = vec![0.0; self.d_in]; // [d_in]
        for (d_output, d_input) in d_output.chunks_exact(self.d_out).zip(d_input.chunks_exact_mut(self.d_in)) {
            for (row, d) in d_output.iter().enumerate().filter(|(_, d)| **d != 0.0) {
                self.weight.row(row, &mut weights);
                d_input.iter_mut().zip(&weights).for_each(|(slot, weight)| *slot += d * weight);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use attlas_kernels::Packed;

    use super::*;
    use crate::block::backward::differences::{check, dot, linear, numbers, widened};
    use crate::block::linear::BothWays;

    #[test]
    fn few_numbers_and_many_go_back_alike_replaced_and_added() {
        let (d_out, d_in) = (130, 7);
        let weight: Vec<f32> = (0..d_out * d_in).map(|i| (i % 23) as f32 / 11.0 - 1.0).collect();
        let mut linear = Linear::new(weight.clone(), None, d_out, d_in);
        let both_ways = Weight::BothWays(Arc::new(BothWays::new(&weight, d_out, d_in)));
        for packed in [None, Some(Weight::Packed(Arc::new(Packed::new(&weight, d_out, d_in)))), Some(both_ways)] {
            if let Some(packed) = packed {
                linear.weight = packed;
                assert_eq!(linear.weight.rows(), weight);
            }
            for n_numbers in [1, 2, 260] {
                let d_output: Vec<f32> = (0..2 * d_out)
                    .map(|i| if (i * 7) % 260 < n_numbers { 0.5 + i as f32 / 260.0 } else { 0.0 })
                    .collect();
                for (onto, before) in [(Onto::Replace, f32::NAN), (Onto::Add, 2.0)] {
                    let mut d_input = vec![before; 2 * d_in];
                    linear.go_back(&d_output, &mut d_input, onto);
                    for (place, found) in d_input.into_iter().enumerate() {
                        let (row, column) = (place / d_in, place % d_in);
                        let product = |out: usize| {
                            f64::from(d_output[row * d_out + out]) * f64::from(weight[out * d_in + column])
                        };
                        let wanted = (0..d_out).map(product).sum::<f64>() + if onto == Onto::Add { 2.0 } else { 0.0 };
                        assert!((f64::from(found) - wanted).abs() < 1e-5, "{n_numbers} {onto:?}: {found} {wanted}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_layers_parameters_have_the_gradients_of_central_differences_in_f64_and_rows_add_up() {
        let (d_in, d_out) = (5, 3);
        let (x, d) = (numbers(4 * d_in, 1), numbers(4 * d_out, 2));
        let [weight, bias] = [numbers(d_out * d_in, 3), numbers(d_out, 4)];
        for bias in [Some(bias), None] {
            let zeros = bias.as_ref().map(|bias| vec![0.0; bias.len()]);
            let mut sums = Linear::new(vec![0.0; weight.len()], zeros, d_out, d_in);
            let halves = x.chunks(2 * d_in).zip(d.chunks(2 * d_out));
            halves.for_each(|(x, d)| sums.add_gradients(x, d));
            let found = [sums.weight.rows().to_vec(), sums.bias.map(|bias| bias.to_vec()).unwrap_or_default()];
            let at = [widened(&weight), widened(&bias.unwrap_or_default())];
            let score = |[weight, bias]: &[Vec<f64>; 2]| dot(&linear(&widened(&x), weight, bias, d_in), &d);
            check("linear", 100, found.map(|numbers| widened(&numbers)), &at, score);
        }
    }
}
