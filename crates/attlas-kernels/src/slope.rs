//! What goes back through non-linearities and gates, element by element.

use crate::activation::{Activation, Gate, check_halves};
use crate::dispatch::{Instructions, Task, run};
use crate::functions::{exp, normal, sigmoid, steep, tanh};
use crate::vector::{MAX_LANES, Vector};

/// What a non-linearity multiplies by what comes back through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slope {
    /// The derivative `f′(x)`; of a rectifier 0 at 0.
    Derivative,
    /// `f(x) / x`, so that an input times what comes back is what the output times it was; a product of two gives each half.
    Share,
}

impl Slope {
    /// Of one register.
    #[inline(always)]
    fn of<V: Vector>(self, activation: Activation, x: V) -> V {
        match self {
            Slope::Derivative => derivative(activation, x),
            Slope::Share => share(activation, x),
        }
    }

    /// The factor on what comes back through a product of two.
    fn of_product(self) -> f32 {
        if self == Slope::Share { 0.5 } else { 1.0 }
    }
}

/// `f(x) / x`.
#[inline(always)]
fn share<V: Vector>(activation: Activation, x: V) -> V {
    // SAFETY: `x` proves the instructions.
    unsafe {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        match activation {
            Activation::Identity => one,
            Activation::Relu => zero.where_less(x, one, zero),
            Activation::SquaredRelu => zero.max(x),
            Activation::Gelu => normal(x),
            Activation::GeluTanh => sigmoid(steep(x)),
            Activation::QuickGelu => sigmoid(x.mul(V::splat(1.702))),
            Activation::Silu => sigmoid(x),
            Activation::Tanh => {
                let near = V::splat(1e-4); // where the quotient is 1 in f32
                let size = x.max(zero.sub(x));
                size.where_less(near, one, tanh(x).div(size.where_less(near, one, x)))
            }
        }
    }
}

/// `f′(x)`.
#[inline(always)]
fn derivative<V: Vector>(activation: Activation, x: V) -> V {
    // SAFETY: `x` proves the instructions.
    unsafe {
        let one = V::splat(1.0);
        // (x · s(x))′ = s + x · s′
        let of_sigmoid = |steep: V, d_steep: V| {
            let s = sigmoid(steep);
            s.mul(one.sub(s)).mul(d_steep).mul_add(x, s)
        };
        match activation {
            Activation::Identity | Activation::Relu => share(activation, x),
            Activation::SquaredRelu => V::splat(0.0).max(x.add(x)),
            Activation::Gelu => {
                let density = exp(x.mul(x).mul(V::splat(-0.5))).mul(V::splat(0.398_942_3)); // 1/√(2π)
                density.mul_add(x, normal(x))
            }
            Activation::GeluTanh => {
                let square = x.mul(x);
                let d_steep = square.mul_add(V::splat(3.0 * 0.044_715), one).mul(V::splat(2.0 * 0.797_884_6));
                of_sigmoid(steep(x), d_steep)
            }
            Activation::QuickGelu => of_sigmoid(x.mul(V::splat(1.702)), V::splat(1.702)),
            Activation::Silu => of_sigmoid(x, one),
            Activation::Tanh => {
                let y = tanh(x);
                one.sub(y.mul(y))
            }
        }
    }
}

impl Activation {
    /// Goes back through the non-linearity: `gradient` is multiplied by the slope at each of `inputs`.
    ///
    /// # Panics
    /// When the two have not the same length.
    pub fn go_back(self, slope: Slope, inputs: &[f32], gradient: &mut [f32]) {
        assert_eq!(inputs.len(), gradient.len(), "a gradient has the length of its inputs");
        if self != Activation::Identity {
            run(Instructions::best(), Back { activation: self, slope, inputs, gradient });
        }
    }
}

/// An activation backwards.
struct Back<'a> {
    activation: Activation,
    slope: Slope,
    inputs: &'a [f32],
    gradient: &'a mut [f32],
}

impl Task for Back<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Back { activation, slope, inputs, gradient } = self;
        for (x, d) in inputs.chunks(V::LANES).zip(gradient.chunks_mut(V::LANES)) {
            // SAFETY: the caller vouches for the instructions; arrays hold the widest register.
            unsafe {
                let back = slope.of(activation, V::load(filled(x).as_ptr())).mul(V::load(filled(d).as_ptr()));
                store(back, d);
            }
        }
    }
}

impl Gate {
    /// Goes back through the gate: from `gradient`, shape `[n, width]`, to `d_both`. `both` and `d_both` have the gate's
    /// columns first, shape `[n, 2 · width]`.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn go_back(self, slope: Slope, both: &[f32], gradient: &[f32], d_both: &mut [f32], width: usize) {
        assert_eq!(both.len(), d_both.len(), "a gradient has the length of its inputs");
        check_halves(both, gradient, width);
        run(Instructions::best(), GateBack { gate: self, slope, both, gradient, d_both, width });
    }

    /// What goes back to the gate and to the other half, where `d` comes back.
    #[inline(always)]
    fn back<V: Vector>(self, slope: Slope, gate: V, up: V, d: V) -> (V, V) {
        // SAFETY: `gate` proves the instructions.
        unsafe {
            let d = d.mul(V::splat(slope.of_product()));
            match self {
                Gate::Of(activation) => (d.mul(up).mul(slope.of(activation, gate)), d.mul(activation.of(gate))),
                Gate::Clamped { limit, alpha } => {
                    let (high, low, alpha, one) = (V::splat(limit), V::splat(-limit), V::splat(alpha), V::splat(1.0));
                    let zero = V::splat(0.0);
                    let bounded = high.where_less(gate, high, gate);
                    let bounded_up = low.max(high.where_less(up, high, up));
                    let s = sigmoid(alpha.mul(bounded));
                    let factor = match slope {
                        Slope::Derivative => s.mul(one.sub(s)).mul(alpha).mul_add(bounded, s),
                        Slope::Share => s,
                    };
                    let d_gate = d.mul(bounded_up.add(one)).mul(factor);
                    let d_up = d.mul(bounded).mul(s);
                    // what is cut off does not depend on its input
                    let d_up = high.where_less(up, zero, up.where_less(low, zero, d_up));
                    (high.where_less(gate, zero, d_gate), d_up)
                }
            }
        }
    }
}

/// A gate backwards.
struct GateBack<'a> {
    gate: Gate,
    slope: Slope,
    both: &'a [f32],
    gradient: &'a [f32],
    d_both: &'a mut [f32],
    width: usize,
}

impl Task for GateBack<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let GateBack { gate, slope, both, gradient, d_both, width } = self;
        let rows = both.chunks_exact(2 * width).zip(d_both.chunks_exact_mut(2 * width));
        for ((row, d_row), d) in rows.zip(gradient.chunks_exact(width)) {
            let ((gates, ups), (d_gates, d_ups)) = (row.split_at(width), d_row.split_at_mut(width));
            let inputs = gates.chunks(V::LANES).zip(ups.chunks(V::LANES)).zip(d.chunks(V::LANES));
            let outputs = d_gates.chunks_mut(V::LANES).zip(d_ups.chunks_mut(V::LANES));
            for (((g, u), d), (d_g, d_u)) in inputs.zip(outputs) {
                // SAFETY: the caller vouches for the instructions; arrays hold the widest register.
                unsafe {
                    let (g, u) = (V::load(filled(g).as_ptr()), V::load(filled(u).as_ptr()));
                    let (back_g, back_u) = gate.back(slope, g, u, V::load(filled(d).as_ptr()));
                    store(back_g, d_g);
                    store(back_u, d_u);
                }
            }
        }
    }
}

/// Numbers in an array that holds a register of any width, 0 behind them.
#[inline(always)]
fn filled(numbers: &[f32]) -> [f32; MAX_LANES] {
    let mut array = [0.0; MAX_LANES];
    array[..numbers.len()].copy_from_slice(numbers);
    array
}

/// The first numbers of a register.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn store<V: Vector>(register: V, to: &mut [f32]) {
    let mut array = [0.0; MAX_LANES];
    // SAFETY: the caller vouches for the instructions; the array holds the widest register.
    unsafe { register.store(array.as_mut_ptr()) }
    to.copy_from_slice(&array[..to.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::tests::ALL;

    /// The error function in f64, by its series; good for |x| < 5.
    fn erf_f64(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    /// The non-linearities as they are defined.
    fn value(activation: Activation, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match activation {
            Activation::Identity => x,
            Activation::Relu => x.max(0.0),
            Activation::SquaredRelu => x.max(0.0).powi(2),
            Activation::Gelu => 0.5 * x * (1.0 + erf_f64(x / 2.0_f64.sqrt())),
            Activation::GeluTanh => {
                0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
            }
            Activation::QuickGelu => x * sigmoid(1.702 * x),
            Activation::Silu => x * sigmoid(x),
            Activation::Tanh => x.tanh(),
        }
    }

    const INPUTS: [f32; 21] = [
        -4.5, -3.0, -2.2, -1.5, -1.0, -0.7, -0.3, -0.1, -0.01, -1e-3, 1e-3, 0.02, 0.1, 0.25, 0.6, 0.9, 1.3, 1.9, 2.5,
        3.3, 4.4,
    ];

    fn central(f: impl Fn(f64) -> f64, x: f32) -> f64 {
        const STEP: f64 = 1e-5;
        (f(f64::from(x) + STEP) - f(f64::from(x) - STEP)) / (2.0 * STEP)
    }

    #[test]
    fn derivatives_are_central_differences_and_shares_are_quotients_in_f64() {
        for activation in ALL {
            let mut derivatives = [2.0; INPUTS.len()];
            activation.go_back(Slope::Derivative, &INPUTS, &mut derivatives);
            let mut shares = [2.0; INPUTS.len()];
            activation.go_back(Slope::Share, &INPUTS, &mut shares);
            for ((x, derivative), share) in INPUTS.into_iter().zip(derivatives).zip(shares) {
                let wanted = 2.0 * central(|x| value(activation, x), x);
                assert!((f64::from(derivative) - wanted).abs() < 2e-6, "{activation:?}′({x}): {derivative} {wanted}");
                let wanted = 2.0 * value(activation, f64::from(x)) / f64::from(x);
                assert!((f64::from(share) - wanted).abs() < 2e-6, "{activation:?}({x})/{x}: {share} {wanted}");
            }
        }
    }

    #[test]
    fn a_gate_goes_back_as_central_differences_in_f64_do_and_what_is_cut_off_gets_nothing() {
        let width = INPUTS.len();
        let ups: Vec<f32> = INPUTS.iter().rev().map(|x| 0.7 * x + 0.05).collect();
        let both = [&INPUTS[..], &ups].concat();
        let silu = |x: f64| x / (1.0 + (-x).exp());
        for gate in [Gate::Of(Activation::Silu), Gate::Clamped { limit: 2.0, alpha: 1.7 }] {
            let f = |gate_value: f64, up: f64| match gate {
                Gate::Of(_) => silu(gate_value) * up,
                Gate::Clamped { limit, alpha } => {
                    let (limit, alpha) = (f64::from(limit), f64::from(alpha));
                    let gate_value = gate_value.min(limit);
                    gate_value / (1.0 + (-alpha * gate_value).exp()) * (up.clamp(-limit, limit) + 1.0)
                }
            };
            let mut d_both = vec![f32::NAN; 2 * width];
            gate.go_back(Slope::Derivative, &both, &vec![1.5; width], &mut d_both, width);
            for column in 0..width {
                let (g, u) = (INPUTS[column], ups[column]);
                let wanted = 1.5 * central(|g| f(g, f64::from(u)), g);
                assert!((f64::from(d_both[column]) - wanted).abs() < 5e-6, "{gate:?} gate at {g}, {u}");
                let wanted = 1.5 * central(|u| f(f64::from(g), u), u);
                assert!((f64::from(d_both[width + column]) - wanted).abs() < 5e-6, "{gate:?} up at {g}, {u}");
            }
        }
    }

    #[test]
    fn shares_of_a_gate_give_each_half_of_the_product_half() {
        let (gates, ups) = ([0.5, -1.5, 2.0], [3.0, 0.25, -1.0]);
        let both = [gates, ups].concat();
        let mut d_both = [0.0; 6];
        Gate::Of(Activation::Silu).go_back(Slope::Share, &both, &[1.0; 3], &mut d_both, 3);
        let mut product = [0.0; 3];
        Gate::Of(Activation::Silu).apply(&both, &mut product, 3);
        for column in 0..3 {
            let relevance = [both[column] * d_both[column], both[3 + column] * d_both[3 + column]];
            assert!(relevance.iter().all(|part| (part - product[column] / 2.0).abs() < 1e-6), "{relevance:?}");
        }
    }
}
