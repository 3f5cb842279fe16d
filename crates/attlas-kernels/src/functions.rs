//! Functions of registers: exponential, sigmoid, hyperbolic tangent, error function and what is made of them.
//!
//! None of them branches: where a function has two formulas both are computed and one is chosen, lane by lane.

use crate::vector::{ROUND, Vector, polynomial};

/// `e^x`, relative error below 2e-7; NaN stays NaN. Beyond −87.3 and 88 it is what it is there: 1.2e-38 and 1.7e38.
#[inline(always)]
pub fn exp<V: Vector>(x: V) -> V {
    /// `e^r` for |r| ≤ ½ ln 2 (the coefficients of Cephes' expf).
    const POWER: [f32; 8] =
        [1.0, 1.0, 0.5, 1.666_666_5e-1, 4.166_579_6e-2, 8.333_452e-3, 1.398_199_9e-3, 1.987_569_1e-4];
    // SAFETY: `x` proves the instructions.
    unsafe {
        let (low, high) = (V::splat(-87.3), V::splat(88.0));
        let x = low.max(high.where_less(x, high, x));
        // e^x = 2^n · e^r; the logarithm of 2 in two parts, of which the first times n is exact
        let shifted = x.mul_add(V::splat(std::f32::consts::LOG2_E), V::splat(ROUND));
        let n = shifted.sub(V::splat(ROUND));
        let r = n.mul_add(V::splat(-0.693_359_4), x);
        let r = n.mul_add(V::splat(2.121_944_4e-4), r);
        polynomial(r, POWER).mul(shifted.as_power())
    }
}

/// `1 / (1 + e^−x)`.
#[inline(always)]
pub fn sigmoid<V: Vector>(x: V) -> V {
    // SAFETY: `x` proves the instructions.
    unsafe {
        let one = V::splat(1.0);
        one.div(one.add(exp(V::splat(0.0).sub(x))))
    }
}

/// Hyperbolic tangent, relative error below 3e-7: an odd polynomial near 0, `1 − 2 / (e^{2x} + 1)` elsewhere.
#[inline(always)]
pub fn tanh<V: Vector>(x: V) -> V {
    /// `(tanh(x) − x) / x³` as a polynomial of x², a minimax fit for |x| ≤ 0.65.
    const NEAR: [f32; 6] = [-0.333_333_34, 0.133_332_91, -0.053_956_33, 0.021_746_097, -0.008_272_256, 0.002_214_74];
    // SAFETY: `x` proves the instructions.
    unsafe {
        let square = x.mul(x);
        let near = x.mul(square).mul_add(polynomial(square, NEAR), x);
        let size = x.max(V::splat(0.0).sub(x));
        // beyond 10 it is 1 in f32; NaN passes through
        let bounded = V::splat(10.0).where_less(size, V::splat(10.0), size);
        let power = bounded.mul(V::splat(2.0 * std::f32::consts::LOG2_E)).exp2();
        let far = V::splat(1.0).sub(V::splat(2.0).div(power.add(V::splat(1.0))));
        let far = x.where_less(V::splat(0.0), V::splat(0.0).sub(far), far);
        size.where_less(V::splat(0.65), near, far)
    }
}

/// The error function within 2e-7.
#[inline(always)]
pub fn erf<V: Vector>(x: V) -> V {
    /// `erf(x) / x` for |x| < 0.9, as a polynomial of x².
    const NEAR: [f32; 7] = [
        std::f32::consts::FRAC_2_SQRT_PI,
        -3.761_263_5e-1,
        1.128_371_9e-1,
        -2.686_070_9e-2,
        5.204_331_6e-3,
        -8.180_781e-4,
        8.534_120_6e-5,
    ];
    /// `ln(erfc(x) / t) + x²` with `t = 1 / (1 + x/2)`, as a polynomial of t (Press et al., Numerical Recipes, §6.2).
    const FAR: [f32; 10] = [
        -1.265_512_2,
        1.000_023_7,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_204,
        1.488_515_9,
        -0.822_152_23,
        0.170_872_77,
    ];
    // SAFETY: `x` proves the instructions.
    unsafe {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        let size = x.max(zero.sub(x));
        let square = size.mul(size);
        let near = size.mul(polynomial(square, NEAR));
        let t = one.div(size.mul_add(V::splat(0.5), one));
        let far = one.sub(t.mul(exp(polynomial(t, FAR).sub(square))));
        let either = size.where_less(V::splat(0.9), near, far);
        x.where_less(zero, zero.sub(either), either)
    }
}

/// `x · Φ(x)`, exact (Hendrycks & Gimpel 2016).
#[inline(always)]
pub fn gelu<V: Vector>(x: V) -> V {
    x.mul(normal(x))
}

/// The normal distribution `Φ(x)`.
#[inline(always)]
pub fn normal<V: Vector>(x: V) -> V {
    // SAFETY: `x` proves the instructions.
    unsafe { erf(x.mul(V::splat(std::f32::consts::FRAC_1_SQRT_2))).add(V::splat(1.0)).mul(V::splat(0.5)) }
}

/// `x · ½ (1 + tanh(√(2/π) (x + 0.044715 x³)))`, computed as `x · sigmoid(2 √(2/π) (x + 0.044715 x³))`.
#[inline(always)]
pub fn gelu_tanh<V: Vector>(x: V) -> V {
    x.mul(sigmoid(steep(x)))
}

/// What [`gelu_tanh`] takes the sigmoid of: `2 √(2/π) (x + 0.044715 x³)`.
#[inline(always)]
pub fn steep<V: Vector>(x: V) -> V {
    // SAFETY: `x` proves the instructions.
    unsafe { x.mul(x).mul(x).mul_add(V::splat(0.044_715), x).mul(V::splat(2.0 * 0.797_884_6)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{Instructions, Task, run};

    /// One function of all numbers of a slice, whose length is a multiple of every register's.
    struct Apply<'a>(&'a mut [f32], usize);

    impl Task for Apply<'_> {
        type Output = ();

        #[inline(always)]
        unsafe fn run<V: Vector>(self) {
            for slot in self.0.chunks_exact_mut(V::LANES) {
                // SAFETY: the caller vouches for the instructions; the chunk holds a register.
                unsafe {
                    let x = V::load(slot.as_ptr());
                    let y = match self.1 {
                        0 => exp(x),
                        1 => tanh(x),
                        2 => erf(x),
                        _ => sigmoid(x),
                    };
                    y.store(slot.as_mut_ptr());
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_functions_that_f64_gives() {
        let inputs: Vec<f32> = (0..16_000).map(|i| (i as f32 - 8000.0) / 1000.0 * 1.37).collect();
        // erf from its series, whose terms stay small enough in f64 for these inputs
        let erf_f64 = |x: f64| {
            let (mut term, mut sum, mut n) = (x, x, 0.0);
            while term.abs() > 1e-18 && n < 400.0 {
                n += 1.0;
                term *= -x * x / n;
                sum += term / (2.0 * n + 1.0);
            }
            std::f64::consts::FRAC_2_SQRT_PI * sum
        };
        for instructions in Instructions::ALL.into_iter().filter(|choice| choice.available()) {
            for function in 0..4 {
                let mut found = inputs.clone();
                run(instructions, Apply(&mut found, function));
                for (x, y) in inputs.iter().zip(found) {
                    let x = f64::from(*x);
                    let (wanted, relative) = match function {
                        0 => (x.exp(), true),
                        1 => (x.tanh(), true),
                        2 if x.abs() > 4.0 => (x.signum(), false),
                        2 => (erf_f64(x), false),
                        _ => (1.0 / (1.0 + (-x).exp()), true),
                    };
                    let error = (f64::from(y) - wanted).abs() / if relative { wanted.abs().max(1e-30) } else { 1.0 };
                    assert!(error < 5e-7, "{instructions:?}, function {function} of {x}: {y}, not {wanted}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_none_and_what_is_beyond_all_bounds_stays_bounded() {
        for instructions in Instructions::ALL.into_iter().filter(|choice| choice.available()) {
            for function in 0..4 {
                let mut values = [f32::NAN; 16];
                (values[1], values[2]) = (f32::INFINITY, f32::NEG_INFINITY);
                run(instructions, Apply(&mut values, function));
                assert!(values[0].is_nan(), "{instructions:?}, function {function}");
                let limits = [(1e38, 2e-38), (1.0, -1.0), (1.0, -1.0), (1.0, 1e-37)][function];
                let reaches = values[1] >= limits.0 && (values[2] - limits.1).abs() < 1e-37;
                assert!(reaches, "{instructions:?}, function {function}: {} {}", values[1], values[2]);
            }
        }
    }
}
