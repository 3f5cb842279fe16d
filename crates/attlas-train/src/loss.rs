//! Softmax and cross-entropy: of logits, their gradients in the same place, while they are still in the cache.
//!
//! Label smoothing as in Szegedy et al. 2016, §7 and PyTorch: the target is `(1 − ε) · one-hot + ε / n_vocab`.

use attlas_kernels::{exponentials, vectorised};

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

/// What is minimised: `scale · Σ objective`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    /// Label smoothing ε.
    pub smoothing: f32,
    /// The factor of the sum over tokens.
    pub scale: f32,
}

impl Objective {
    /// Cross-entropy as it is, for evaluation.
    pub const PLAIN: Objective = Objective { smoothing: 0.0, scale: 1.0 };

    /// The sums of some tokens; turns their logits into their gradients. Shapes `[targets.len(), n_vocab]` and `[n]`.
    pub fn of(self, logits: &mut [f32], targets: &[u32]) -> Sums {
        let mut sums = Sums::default();
        let n_vocab = (logits.len() / targets.len().max(1)).max(1);
        for (row, target) in logits.chunks_exact_mut(n_vocab).zip(targets) {
            sums.add(&self.of_row(row, *target as usize));
        }
        sums
    }

    /// The sums of one token; turns its logits into their gradient, `scale · (softmax − smoothed target)`. Shape `[n_vocab]`.
    fn of_row(self, logits: &mut [f32], target: usize) -> Sums {
        let Objective { smoothing, scale } = self;
        let target_logit = logits[target];
        let max = vectorised(
            #[inline(always)]
            || largest(logits),
        );
        let mean_logit = if smoothing > 0.0 { sum(logits) / logits.len() as f64 } else { 0.0 };
        exponentials(logits, max);
        let sum = sum(logits);
        let lse = f64::from(max) + sum.ln();
        let inverse = (f64::from(scale) / sum) as f32;
        let spread = scale * smoothing / logits.len() as f32;
        vectorised(
            #[inline(always)]
            || logits.iter_mut().for_each(|logit| *logit = *logit * inverse - spread),
        );
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
}

/// The largest of a row, found in sixteen lanes.
#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = lane.max(*value);
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// The sum of a row, in sixteen lanes of f32 that are joined in f64.
fn sum(values: &[f32]) -> f64 {
    let mut lanes = [0.0f32; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    vectorised(
        #[inline(always)]
        || {
            for chunk in chunks {
                for (lane, value) in lanes.iter_mut().zip(chunk) {
                    *lane += value;
                }
            }
        },
    );
    lanes.iter().chain(rest).map(|value| f64::from(*value)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_by_hand_two_words_equal_logits() {
        let mut logits = [0.0, 0.0];
        let sums = Objective::PLAIN.of(&mut logits, &[0]);
        assert!((sums.loss - 2f64.ln()).abs() < 1e-7);
        assert!((logits[0] + 0.5).abs() < 1e-7 && (logits[1] - 0.5).abs() < 1e-7);
    }

    #[test]
    fn logits_that_are_no_numbers_make_a_loss_that_is_none() {
        let mut logits = [0.0, f32::NAN, 1.0];
        assert!(Objective::PLAIN.of(&mut logits, &[0]).loss.is_nan());
    }
}
