//! Intervals from the shards: texts, not rows, are what is drawn from a language, and rows of a text are not independent.

use super::{FEW_SHARDS, N_SHARDS, ShardSums};
use crate::SplitMix64;

/// Resamples that an interval is made of.
pub const N_RESAMPLES: usize = 1000;
/// Where the random numbers begin; the same for ever, so that the same sums give the same interval.
const SEED: u64 = 0x61_74_74_6c_61_73;

/// The bootstrap's draws: of the shards that have texts, as many are drawn with replacement, again and again.
///
/// The interval of a mean is from the 2.5th to the 97.5th percentile of the means of the resamples (Efron & Tibshirani 1993,
/// §13.3), each `Σ sums / Σ n` over the drawn shards. All scores of a survey share the draws.
#[derive(Debug, Clone)]
pub struct Resamples {
    /// The shards that have texts.
    shards: Vec<usize>,
    /// How often each of them was drawn. Shape `[shards.len(), N_RESAMPLES]`; empty where they are fewer than [`FEW_SHARDS`].
    draws: Vec<u8>,
}

impl Resamples {
    /// The draws among shards with so many texts each.
    pub fn of(n_texts: &[u64; N_SHARDS]) -> Resamples {
        let shards: Vec<usize> = (0..N_SHARDS).filter(|shard| n_texts[*shard] > 0).collect();
        let n = shards.len();
        let n_resamples = if n < FEW_SHARDS { 0 } else { N_RESAMPLES };
        let mut draws = vec![0; n * n_resamples]; // [n, n_resamples]
        let mut random = SplitMix64::new(SEED);
        for resample in 0..n_resamples {
            (0..n).for_each(|_| draws[random.below(n) * N_RESAMPLES + resample] += 1);
        }
        Resamples { shards, draws }
    }

    /// The 95 % interval of the mean of all shards; `None` where fewer than [`FEW_SHARDS`] have rows, since resamples of a few
    /// numbers span little more than these, or where a score was no number.
    pub fn interval(&self, sums: &ShardSums) -> Option<(f64, f64)> {
        let n_with_rows = self.shards.iter().filter(|shard| sums[**shard].n > 0).count();
        if self.draws.is_empty() || n_with_rows < FEW_SHARDS || sums.iter().any(|sums| sums.n_not_finite > 0) {
            return None;
        }
        let one = |shard: &usize| (sums[*shard].n as f64, sums[*shard].sum as f64 / (1_u64 << 32) as f64);
        let shards: Vec<(f64, f64)> = self.shards.iter().map(one).collect();
        let mut means = self.means(&shards);
        Some((percentile(&mut means, 0.025)?, percentile(&mut means, 0.975)?))
    }
}

impl Resamples {
    /// The means of the resamples, from rows and the sum of scores of each shard; a draw of shards without rows says nothing.
    fn means(&self, shards: &[(f64, f64)]) -> Vec<f64> {
        let mut sums = [[0.0; N_RESAMPLES]; 2]; // of rows, of scores
        let [n, sum] = &mut sums;
        attlas_kernels::vectorised(
            #[inline(always)]
            || {
                for (draws, (rows, scores)) in self.draws.chunks_exact(N_RESAMPLES).zip(shards) {
                    for ((n, sum), times) in n.iter_mut().zip(sum.iter_mut()).zip(draws) {
                        *n += f64::from(*times) * rows;
                        *sum += f64::from(*times) * scores;
                    }
                }
            },
        );
        sum.iter().zip(n).filter(|(_, n)| **n > 0.0).map(|(sum, n)| *sum / *n).collect()
    }
}

/// The number below which a share of some numbers lies, between two of them in proportion; they are put in another order.
fn percentile(numbers: &mut [f64], share: f64) -> Option<f64> {
    let at = share * numbers.len().checked_sub(1)? as f64;
    let (_, below, larger) = numbers.select_nth_unstable_by(at.floor() as usize, f64::total_cmp);
    let above = larger.iter().copied().min_by(f64::total_cmp).unwrap_or(*below);
    Some(*below + (above - *below) * at.fract())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Sample, Sums};

    /// Shards of ten rows each that all score the same.
    fn shards(scores: &[f64]) -> ([u64; N_SHARDS], ShardSums) {
        let (mut n_texts, mut all) = ([0; N_SHARDS], [Sums::default(); N_SHARDS]);
        for (shard, score) in scores.iter().enumerate() {
            n_texts[shard] = 1;
            (0..10).for_each(|_| all[shard].add(Sample { score: *score, baseline: 0.0 }));
        }
        (n_texts, all)
    }

    #[test]
    fn shards_that_agree_give_an_interval_of_no_width_and_fewer_than_eight_give_none() {
        let (n_texts, sums) = shards(&[0.25; 12]);
        assert_eq!(Resamples::of(&n_texts).interval(&sums), Some((0.25, 0.25)));
        for few in [1, 2, 7] {
            let (n_texts, sums) = shards(&vec![0.25; few]);
            assert_eq!(Resamples::of(&n_texts).interval(&sums), None, "{few} shards");
        }
        let (n_texts, mut sums) = shards(&[0.25; 8]);
        assert!(Resamples::of(&n_texts).interval(&sums).is_some());
        sums[3] = Sums::default();
        assert_eq!(Resamples::of(&n_texts).interval(&sums), None, "eight shards have texts, seven have rows");
    }

    #[test]
    fn the_interval_is_that_of_the_means_of_shards_not_of_rows() {
        // 64 shards, half of them 0 and half 1: the mean's standard error is 0.5/√64 = 0.0625, of 640 rows it would be 0.02
        let scores: Vec<f64> = (0..N_SHARDS).map(|shard| (shard % 2) as f64).collect();
        let (n_texts, sums) = shards(&scores);
        let (low, high) = Resamples::of(&n_texts).interval(&sums).expect("64 shards");
        assert!(
            (low - (0.5 - 1.96 * 0.0625)).abs() < 0.02 && (high - (0.5 + 1.96 * 0.0625)).abs() < 0.02,
            "{low} {high}"
        );
    }

    #[test]
    fn percentiles_lie_between_the_numbers_in_proportion() {
        assert_eq!(percentile(&mut [3.0, 0.0, 2.0, 1.0], 0.5), Some(1.5));
        assert_eq!(percentile(&mut [7.0], 0.025), Some(7.0));
        assert_eq!(percentile(&mut [], 0.5), None);
    }
}
