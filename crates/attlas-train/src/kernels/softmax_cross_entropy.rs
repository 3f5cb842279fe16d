//! Output projection, softmax and cross-entropy in one pass over blocks of rows: `[n, n_vocab]` is never held.
//!
//! The gradients are formed in the same pass, while a block's logits are still in cache. Label smoothing as in Szegedy et al. 2016, §7 and PyTorch: the target is `(1 − ε) · one-hot + ε / n_vocab`.

use attlas_kernels::{Matrix, Onto, Threads, multiply};

use super::exp::exp_of_non_positive;

/// Rows per block: 128 × 8,000 logits are 4 MB, about half a third-level cache.
const BLOCK: usize = 128;

/// What the loss says about a batch, summed over its target tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    /// The objective: smoothed cross-entropy, in nats.
    pub objective: f64,
    /// Cross-entropy without smoothing, in nats.
    pub loss: f64,
    /// Tokens whose target had the highest logit.
    pub n_correct: usize,
    /// Target tokens.
    pub n_tokens: usize,
}

impl Sums {
    /// Adds those of another part.
    pub fn add(&mut self, other: &Sums) {
        self.objective += other.objective;
        self.loss += other.loss;
        self.n_correct += other.n_correct;
        self.n_tokens += other.n_tokens;
    }
}

/// Where the gradients of `scale · Σ objective` go.
#[derive(Debug)]
pub struct Gradients<'a> {
    /// The factor of the summed objective.
    pub scale: f32,
    /// Overwritten. Shape `[n, d_model]`.
    pub hidden: &'a mut [f32],
    /// Added to. Shape `[n_vocab, d_model]`.
    pub weight: &'a mut [f32],
    /// Added to. Shape `[n_vocab]`.
    pub bias: &'a mut [f32],
}

/// The sums, and the gradients if `gradients` are wanted.
///
/// Shapes: hidden `[n, d_model]`, weight `[n_vocab, d_model]`, bias `[n_vocab]`, targets `[n]`.
pub fn forward(
    (hidden, weight, bias): (&[f32], &[f32], &[f32]),
    targets: &[u32],
    smoothing: f32,
    gradients: Option<Gradients<'_>>,
) -> Sums {
    let n_vocab = bias.len();
    let d_model = weight.len() / n_vocab;
    let mut sums = Sums::default();
    let mut logits = vec![0.0; BLOCK.min(targets.len()) * n_vocab]; // [block, n_vocab]
    let mut gradients = gradients;
    let scale = gradients.as_ref().map_or(1.0, |gradients| gradients.scale);
    for (block, targets) in targets.chunks(BLOCK).enumerate() {
        let rows = targets.len();
        let hidden = &hidden[block * BLOCK * d_model..][..rows * d_model];
        let logits = &mut logits[..rows * n_vocab];
        for row in logits.chunks_exact_mut(n_vocab) {
            row.copy_from_slice(bias);
        }
        let weight_matrix = Matrix::new(weight, n_vocab, d_model);
        multiply(Matrix::new(hidden, rows, d_model), weight_matrix.transposed(), Onto::Add, Threads::One, logits);
        for (row, target) in logits.chunks_exact_mut(n_vocab).zip(targets) {
            sums.add(&row_loss(row, *target as usize, smoothing, scale));
        }
        let Some(gradients) = &mut gradients else { continue };
        // `logits` now holds the gradient of the logits
        let logits_matrix = Matrix::new(logits, rows, n_vocab);
        let hidden_gradient = &mut gradients.hidden[block * BLOCK * d_model..][..rows * d_model];
        multiply(logits_matrix, weight_matrix, Onto::Replace, Threads::One, hidden_gradient);
        multiply(
            logits_matrix.transposed(),
            Matrix::new(hidden, rows, d_model),
            Onto::Add,
            Threads::One,
            gradients.weight,
        );
        for row in logits.chunks_exact(n_vocab) {
            for (sum, value) in gradients.bias.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }
    sums
}

/// The sums of one token; turns its logits into their gradient, `scale · (softmax − smoothed target)`. Shape `[n_vocab]`.
fn row_loss(logits: &mut [f32], target: usize, smoothing: f32, scale: f32) -> Sums {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let target_logit = logits[target];
    let mean_logit = if smoothing > 0.0 { lanes(logits) / logits.len() as f64 } else { 0.0 };
    for logit in logits.iter_mut() {
        *logit = exp_of_non_positive(*logit - max);
    }
    let sum = lanes(logits);
    let lse = f64::from(max) + sum.ln();
    let inverse = (f64::from(scale) / sum) as f32;
    let spread = scale * smoothing / logits.len() as f32;
    for logit in logits.iter_mut() {
        *logit = *logit * inverse - spread;
    }
    logits[target] -= scale * (1.0 - smoothing);
    let loss = lse - f64::from(target_logit);
    let smoothing = f64::from(smoothing);
    Sums {
        objective: (1.0 - smoothing) * loss + smoothing * (lse - mean_logit),
        loss,
        n_correct: usize::from(target_logit == max),
        n_tokens: 1,
    }
}

/// The sum of a row, in sixteen lanes of f32 that are joined in f64.
fn lanes(values: &[f32]) -> f64 {
    let mut lanes = [0.0f32; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().chain(rest).map(|value| f64::from(*value)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_by_hand_two_words_equal_logits() {
        let mut logits = [0.0, 0.0];
        let sums = row_loss(&mut logits, 0, 0.0, 1.0);
        assert!((sums.loss - 2f64.ln()).abs() < 1e-7);
        assert!((logits[0] + 0.5).abs() < 1e-7 && (logits[1] - 0.5).abs() < 1e-7);
    }
}
