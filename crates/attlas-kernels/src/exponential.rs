//! The exponential of many numbers.

use crate::dispatch::{Instructions, Task, run};
use crate::functions::exp;
use crate::vector::{MAX_LANES, Vector};

/// Each number `x` becomes `e^(x − largest)`; of a number that is less by 87 or more, what it is there, 1e-38. NaN stays NaN.
pub fn exponentials(values: &mut [f32], largest: f32) {
    run(Instructions::best(), Exponentials { values, largest });
}

struct Exponentials<'a> {
    values: &'a mut [f32],
    largest: f32,
}

impl Task for Exponentials<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller vouches for the instructions; a chunk holds a register, and so does the array for what is left.
        unsafe {
            let largest = V::splat(self.largest);
            let mut registers = self.values.chunks_exact_mut(V::LANES);
            for slots in &mut registers {
                exp(V::load(slots.as_ptr()).sub(largest)).store(slots.as_mut_ptr());
            }
            let rest = registers.into_remainder();
            let mut last = [0.0; MAX_LANES];
            last[..rest.len()].copy_from_slice(rest);
            exp(V::load(last.as_ptr()).sub(largest)).store(last.as_mut_ptr());
            rest.copy_from_slice(&last[..rest.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_fill_no_register_have_their_exponentials_too() {
        for n in [1, 16, 37] {
            let mut values: Vec<f32> = (0..n).map(|i| 3.0 - i as f32 * 0.7).collect();
            let wanted: Vec<f64> = values.iter().map(|x| f64::from(x - 3.0).exp()).collect();
            exponentials(&mut values, 3.0);
            for (found, wanted) in values.iter().zip(wanted) {
                assert!((f64::from(*found) - wanted).abs() < 3e-7 * wanted, "{found} {wanted}");
            }
        }
    }
}
