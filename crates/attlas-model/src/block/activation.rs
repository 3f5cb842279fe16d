//! Non-linearities, element by element.

use pulp::Arch;

use crate::config::{Activation, Gating};

impl Activation {
    /// Applies the non-linearity in place.
    pub fn apply(self, values: &mut [f32]) {
        Arch::new().dispatch(|| self.apply_inline(values));
    }

    #[inline(always)]
    pub(crate) fn apply_inline(self, values: &mut [f32]) {
        match self {
            Activation::Identity => {}
            Activation::Relu => values.iter_mut().for_each(|x| *x = x.max(0.0)),
            Activation::SquaredRelu => values.iter_mut().for_each(|x| *x = x.max(0.0) * x.max(0.0)),
            Activation::Gelu => values.iter_mut().for_each(|x| *x = gelu(*x)),
            Activation::GeluTanh => values.iter_mut().for_each(|x| *x = gelu_tanh(*x)),
            Activation::QuickGelu => values.iter_mut().for_each(|x| *x *= sigmoid(1.702 * *x)),
            Activation::Silu => values.iter_mut().for_each(|x| *x *= sigmoid(*x)),
            Activation::Tanh => values.iter_mut().for_each(|x| *x = x.tanh()),
        }
    }

    /// `output = gate-rule(both)`, where a row of `both` is the gate's columns, then the others.
    ///
    /// Shapes `[n, 2 · width]` and `[n, width]`.
    pub(crate) fn apply_gated(self, gating: Gating, both: &[f32], output: &mut [f32], width: usize) {
        Arch::new().dispatch(|| {
            for (row, output) in both.chunks_exact(2 * width).zip(output.chunks_exact_mut(width)) {
                let (gate, up) = row.split_at(width);
                if let Gating::Clamped { limit, alpha } = gating {
                    for ((out, gate), up) in output.iter_mut().zip(gate).zip(up) {
                        let gate = gate.min(limit);
                        *out = gate * sigmoid(alpha * gate) * (up.clamp(-limit, limit) + 1.0);
                    }
                } else {
                    output.copy_from_slice(gate);
                    self.apply_inline(output);
                    output.iter_mut().zip(up).for_each(|(out, up)| *out *= up);
                }
            }
        });
    }
}

/// `exp(x)` within 2 ulp, without branches, so that loops over it vectorise.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // exp(x) = 2^n · exp(r), |r| ≤ ln 2 / 2; coefficients of Cephes' expf
    let x = x.clamp(-87.3, 88.7);
    let n = (x * std::f32::consts::LOG2_E + 12_582_912.0) - 12_582_912.0;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let e = p * r * r + r + 1.0;
    e * f32::from_bits(((n as i32 + 127) << 23) as u32)
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    // 0.5 (1 + tanh(u)) = sigmoid(2u)
    let u = 0.797_884_6 * (x + 0.044_715 * x * x * x);
    x * sigmoid(2.0 * u)
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// The error function within 1e-7: a rational approximation near 0 would branch, so both parts are computed
/// and one is chosen.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let a = x.abs();
    // |x| < 0.9: x · P(x²)
    let s = a * a;
    let mut small = 8.534_120_6e-5;
    small = small * s - 8.180_781e-4;
    small = small * s + 5.204_331_6e-3;
    small = small * s - 2.686_070_9e-2;
    small = small * s + 1.128_371_9e-1;
    small = small * s - 3.761_263_5e-1;
    small = small * s + std::f32::consts::FRAC_2_SQRT_PI;
    let small = a * small;
    // otherwise: 1 − t · P(t) · exp(−x²), t = 1 / (1 + x/2) (Numerical Recipes' erfc)
    let t = 1.0 / (1.0 + 0.5 * a);
    let mut p = 0.170_872_77;
    p = p * t - 0.822_152_23;
    p = p * t + 1.488_515_9;
    p = p * t - 1.135_204;
    p = p * t + 0.278_868_07;
    p = p * t - 0.186_288_06;
    p = p * t + 0.096_784_18;
    p = p * t + 0.374_091_96;
    p = p * t + 1.000_023_7;
    p = p * t - 1.265_512_2;
    let large = 1.0 - t * exp(p - s);
    if a < 0.9 { small } else { large }.copysign(x)
}
