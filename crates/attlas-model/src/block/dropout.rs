//! Dropout whose mask is a function of seed, step and place, so that nothing is stored and a resumed training repeats it.
//!
//! Srivastava et al. 2014; kept values are scaled by `1 / (1 − rate)`.

use attlas::SplitMix64;
use attlas_kernels::vectorised;

/// Where the masks of one forward pass come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// The share of values set to 0; 0 switches dropout off. In `[0, 1)`.
    pub rate: f32,
    /// Says which masks: seed, step and part of the batch, mixed by [`Dropout::new`].
    key: u64,
}

impl Dropout {
    /// No dropout: everything but training.
    pub const OFF: Dropout = Dropout { rate: 0.0, key: 0 };

    /// The masks of part `part` of the batch of step `step`.
    pub fn new(rate: f32, seed: u64, step: u64, part: u64) -> Dropout {
        Dropout { rate, key: mix(mix(mix(seed) ^ step) ^ part) }
    }

    /// The masks of the place `site` of the network, such as one sublayer's output.
    pub fn at(self, site: u64) -> Dropout {
        Dropout { key: mix(self.key ^ site), ..self }
    }

    /// Whether nothing is set to 0.
    pub fn is_off(self) -> bool {
        self.rate == 0.0
    }

    /// Multiplies each value by 0 or `1 / (1 − rate)`; values and their gradients alike.
    pub fn apply(self, values: &mut [f32]) {
        self.apply_from(0, values);
    }

    /// As [`Dropout::apply`], for values that begin at index `first` of the place.
    pub fn apply_from(self, first: usize, values: &mut [f32]) {
        if self.is_off() {
            return;
        }
        let threshold = (f64::from(self.rate) * f64::from(u32::MAX)) as u32;
        let scale = 1.0 / (1.0 - self.rate);
        let (key, tweak) = (self.key as u32, (self.key >> 32) as u32);
        vectorised(
            #[inline(always)]
            || {
                for (index, value) in values.iter_mut().enumerate() {
                    let bits = mix_32(((first + index) as u32).wrapping_mul(0x9e37_79b9).wrapping_add(key)) ^ tweak;
                    *value *= if bits < threshold { 0.0 } else { scale };
                }
            },
        );
    }
}

/// Mixes 32 bits so that neighbouring numbers give unrelated ones (the constants are Wellons' `lowbias32`).
#[inline(always)]
fn mix_32(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// Mixes 64 bits.
fn mix(x: u64) -> u64 {
    SplitMix64::new(x).number()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_the_mean_stays_and_the_same_place_gives_the_same_mask() {
        let dropout = Dropout::new(0.1, 1, 2, 3).at(4);
        let mut values = vec![1.0; 100_000];
        dropout.apply(&mut values);
        let dropped = values.iter().filter(|value| **value == 0.0).count();
        assert!((9_700..10_300).contains(&dropped), "{dropped} of 100000 dropped at rate 0.1");
        let mean: f64 = values.iter().map(|value| f64::from(*value)).sum::<f64>() / 1e5;
        assert!((mean - 1.0).abs() < 0.01);
        let mut tail = vec![1.0; 100];
        dropout.apply_from(500, &mut tail);
        assert_eq!(tail, values[500..600]);
        let mut other = vec![1.0; 100_000];
        Dropout::new(0.1, 1, 3, 3).at(4).apply(&mut other);
        let both = values.iter().zip(&other).filter(|(a, b)| **a == 0.0 && **b == 0.0).count();
        assert!((850..1150).contains(&both), "masks of two steps share {both} of about 1000 places");
    }
}
