//! Relevance of tokens by attention and its gradient: the rules of Chefer et al. (2021b, "Generic attention-model
//! explainability"), over weights and gradients alone.
//!
//! One rule departs from the paper. It divides each row of `R − I` by its sum, which is 0/0 in a row that has seen nothing
//! but itself, such as the first of a causal decoder; the published code makes 0 of that, and with it of everything, unless
//! the explained position is the last one. Here such a row keeps the identity.

/// A matrix, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matrix {
    pub n_rows: usize,
    pub n_columns: usize,
    /// Shape `[n_rows, n_columns]`.
    pub values: Vec<f64>,
}

impl Matrix {
    pub fn zero(n_rows: usize, n_columns: usize) -> Matrix {
        Matrix { n_rows, n_columns, values: vec![0.0; n_rows * n_columns] }
    }

    pub fn identity(n: usize) -> Matrix {
        let mut identity = Matrix::zero(n, n);
        identity.values.iter_mut().step_by(n + 1).for_each(|value| *value = 1.0);
        identity
    }

    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.n_columns..][..self.n_columns]
    }

    fn times(&self, other: &Matrix) -> Matrix {
        let mut product = Matrix::zero(self.n_rows, other.n_columns);
        if product.values.is_empty() {
            return product; // a model that reads nothing on one side
        }
        for (row, out) in product.values.chunks_exact_mut(other.n_columns).enumerate() {
            for (factor, other) in self.row(row).iter().zip(other.values.chunks_exact(other.n_columns)) {
                if *factor != 0.0 {
                    out.iter_mut().zip(other).for_each(|(out, value)| *out += factor * value);
                }
            }
        }
        product
    }

    fn transposed(&self) -> Matrix {
        let values = (0..self.n_columns).flat_map(|column| self.values.iter().skip(column).step_by(self.n_columns));
        Matrix { n_rows: self.n_columns, n_columns: self.n_rows, values: values.copied().collect() }
    }

    fn add(&mut self, other: &Matrix) {
        self.values.iter_mut().zip(&other.values).for_each(|(value, more)| *value += more);
    }

    /// The matrix less the identity: what tokens say of others, and of themselves beyond standing there.
    pub fn less_identity(&self) -> Matrix {
        let mut less = self.clone();
        less.values.iter_mut().step_by(self.n_columns + 1).for_each(|value| *value -= 1.0);
        less
    }

    /// Each row of `R − I` divided by its sum, and the identity again; a row whose sum is 0 keeps the identity.
    fn normalized(&self) -> Matrix {
        let mut rows = self.less_identity();
        for row in rows.values.chunks_exact_mut(self.n_columns) {
            let sum: f64 = row.iter().sum();
            if sum != 0.0 {
                row.iter_mut().for_each(|value| *value /= sum);
            }
        }
        rows.values.iter_mut().step_by(self.n_columns + 1).for_each(|value| *value += 1.0);
        rows
    }
}

/// `mean over heads of max(0, ∂S/∂A · A)`, head after head.
#[derive(Debug, Clone)]
pub(crate) struct Positive {
    sum: Matrix,
    n_heads: usize,
}

impl Positive {
    pub fn new(n_queries: usize, n_keys: usize) -> Positive {
        Positive { sum: Matrix::zero(n_queries, n_keys), n_heads: 0 }
    }

    /// Adds a head. Shapes `[n_queries, n_keys]`.
    pub fn add(&mut self, weights: &[f32], gradients: &[f32]) {
        self.n_heads += 1;
        for ((sum, weight), gradient) in self.sum.values.iter_mut().zip(weights).zip(gradients) {
            *sum += (f64::from(*weight) * f64::from(*gradient)).max(0.0);
        }
    }

    pub fn mean(mut self) -> Matrix {
        let n_heads = self.n_heads.max(1) as f64;
        self.sum.values.iter_mut().for_each(|value| *value /= n_heads);
        self.sum
    }
}

/// Relevance as it grows from layer to layer: nothing but each token for itself at first.
#[derive(Debug, Clone)]
pub(crate) struct Relevance {
    /// Of source tokens for source positions. Shape `[n_source, n_source]`.
    pub source: Matrix,
    /// Of target tokens for target positions. Shape `[n_target, n_target]`.
    pub target: Matrix,
    /// Of source tokens for target positions. Shape `[n_target, n_source]`.
    pub cross: Matrix,
}

impl Relevance {
    pub fn new(n_source: usize, n_target: usize) -> Relevance {
        Relevance {
            source: Matrix::identity(n_source),
            target: Matrix::identity(n_target),
            cross: Matrix::zero(n_target, n_source),
        }
    }

    /// Self-attention of the encoder: `R_ss ← R_ss + cam · R_ss`.
    pub fn encoder_layer(&mut self, cam: &Matrix) {
        self.source.add(&cam.times(&self.source));
    }

    /// Self-attention of the decoder: `R_tt ← R_tt + cam · R_tt`, `R_ts ← R_ts + cam · R_ts`.
    pub fn decoder_layer(&mut self, cam: &Matrix) {
        self.cross.add(&cam.times(&self.cross));
        self.target.add(&cam.times(&self.target));
    }

    /// Cross-attention: `R_ts ← R_ts + norm(R_tt)ᵀ · cam · norm(R_ss)`.
    pub fn cross_layer(&mut self, cam: &Matrix) {
        let carried = cam.times(&self.source.normalized());
        self.cross.add(&self.target.normalized().transposed().times(&carried));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_saw_nothing_but_itself_keeps_the_identity() {
        let mut relevance = Relevance::new(2, 2);
        let mut cam = Positive::new(2, 2);
        cam.add(&[1.0, 0.0, 0.5, 0.5], &[-1.0, 0.0, 2.0, -3.0]); // row 0: nothing positive; row 1: 1 on key 0
        relevance.decoder_layer(&cam.mean());
        assert_eq!(relevance.target.values, [1.0, 0.0, 1.0, 1.0]);
        assert_eq!(relevance.target.normalized().values, [1.0, 0.0, 1.0, 1.0]);
        let mut cam = Positive::new(2, 2);
        cam.add(&[0.5, 0.5, 0.25, 0.75], &[1.0, 1.0, 0.0, 0.0]); // only row 0 says something
        relevance.cross_layer(&cam.mean());
        assert_eq!(relevance.cross.values, [0.5, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn heads_are_averaged_after_what_is_negative_was_left_out() {
        let mut cam = Positive::new(1, 2);
        cam.add(&[0.5, 0.5], &[2.0, -4.0]);
        cam.add(&[0.25, 0.75], &[-2.0, 4.0]);
        assert_eq!(cam.mean().values, [0.5, 1.5]);
    }

    #[test]
    fn an_encoder_decoder_has_the_published_relevance_at_a_position_in_the_middle() {
        // tools/analysis/trim_gradients.py: the authors' rules with the one above, explained position 3 of 8
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/explain/gradients.safetensors");
        let bytes = std::fs::read(path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let f32s = |name: &str| -> Vec<f32> {
            let data = file.tensor(&format!("rules.{name}")).unwrap().data().to_vec();
            data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        };
        let cam = |kind: &str, layer: usize, n_queries: usize, n_keys: usize| {
            let [weights, gradients] = ["weights", "gradients"].map(|part| f32s(&format!("{part}.{kind}")));
            let n = n_queries * n_keys;
            let mut cam = Positive::new(n_queries, n_keys);
            let heads = weights.chunks_exact(n).zip(gradients.chunks_exact(n)).skip(4 * layer).take(4);
            heads.for_each(|(weights, gradients)| cam.add(weights, gradients));
            cam.mean()
        };
        let mut relevance = Relevance::new(11, 8);
        for layer in 0..2 {
            relevance.encoder_layer(&cam("enc", layer, 11, 11));
        }
        for layer in 0..2 {
            relevance.decoder_layer(&cam("self", layer, 8, 8));
            relevance.cross_layer(&cam("cross", layer, 8, 11));
        }
        for (name, found) in [("source", relevance.source), ("target", relevance.target), ("cross", relevance.cross)] {
            let data = file.tensor(&format!("rules.{name}")).unwrap().data().to_vec();
            let expected = data.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
            let worst = found.values.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-7, "{name}: {worst}");
        }
    }
}
