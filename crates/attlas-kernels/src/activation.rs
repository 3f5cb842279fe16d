//! Non-linearities, element by element.

use crate::dispatch::{Instructions, Task, run};
use crate::functions::{gelu, gelu_tanh, sigmoid, tanh};
use crate::vector::{MAX_LANES, Vector};

/// A non-linearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x`.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)²`.
    SquaredRelu,
    /// `x · Φ(x)`, exact.
    Gelu,
    /// The same by tanh (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
    /// `x · sigmoid(1.702 x)`.
    QuickGelu,
    /// `x · sigmoid(x)`, also called swish.
    Silu,
    /// `tanh(x)`.
    Tanh,
}

/// What a gate's half of a hidden layer does to the other half.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gate {
    /// `activation(gate) · up`.
    Of(Activation),
    /// `min(gate, limit) · sigmoid(alpha · min(gate, limit)) · (clamp(up, ±limit) + 1)`.
    Clamped {
        /// The limit on both halves.
        limit: f32,
        /// Steepness of the sigmoid.
        alpha: f32,
    },
}

impl Activation {
    /// Applies the non-linearity in place.
    pub fn apply(self, values: &mut [f32]) {
        self.apply_with(Instructions::best(), values);
    }

    /// [`apply`](Activation::apply) with chosen instructions.
    pub fn apply_with(self, instructions: Instructions, values: &mut [f32]) {
        if self != Activation::Identity {
            run(instructions, Apply { activation: self, values });
        }
    }

    /// Applies it to a register.
    #[inline(always)]
    pub(crate) fn of<V: Vector>(self, x: V) -> V {
        // SAFETY: `x` proves the instructions.
        unsafe {
            match self {
                Activation::Identity => x,
                Activation::Relu => V::splat(0.0).max(x),
                Activation::SquaredRelu => {
                    let positive = V::splat(0.0).max(x);
                    positive.mul(positive)
                }
                Activation::Gelu => gelu(x),
                Activation::GeluTanh => gelu_tanh(x),
                Activation::QuickGelu => x.mul(sigmoid(x.mul(V::splat(1.702)))),
                Activation::Silu => x.mul(sigmoid(x)),
                Activation::Tanh => tanh(x),
            }
        }
    }

    /// Applies it to rows of `width` numbers, a whole number of registers, at `stride` from each other.
    ///
    /// # Safety
    /// The processor has the instructions of `V`, and those numbers may be read and written.
    #[inline(always)]
    pub(crate) unsafe fn apply_to_rows<V: Vector>(self, rows: *mut f32, n: usize, stride: usize, width: usize) {
        if self == Activation::Identity {
            return;
        }
        for row in 0..n {
            for lane in (0..width).step_by(V::LANES) {
                // SAFETY: the caller vouches for the instructions and the numbers.
                unsafe {
                    let slot = rows.add(row * stride + lane);
                    self.of(V::load(slot)).store(slot);
                }
            }
        }
    }
}

/// An activation in place.
struct Apply<'a> {
    activation: Activation,
    values: &'a mut [f32],
}

impl Task for Apply<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let whole = self.values.len() / V::LANES * V::LANES;
        let (registers, rest) = self.values.split_at_mut(whole);
        // the rest takes the same way in a register that is filled up
        let mut last = [0.0; MAX_LANES];
        last[..rest.len()].copy_from_slice(rest);
        // SAFETY: the caller vouches for the instructions; both are whole registers.
        unsafe {
            self.activation.apply_to_rows::<V>(registers.as_mut_ptr(), 1, 0, whole);
            if !rest.is_empty() {
                self.activation.apply_to_rows::<V>(last.as_mut_ptr(), 1, 0, V::LANES);
            }
        }
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

impl Gate {
    /// `output = gate · up`, where a row of `both` is the gate's columns, then the others.
    ///
    /// Shapes `[n, 2 · width]` and `[n, width]`.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn apply(self, both: &[f32], output: &mut [f32], width: usize) {
        check_halves(both, output, width);
        run(Instructions::best(), Gated { gate: self, both, output, width });
    }

    /// One register of each half.
    #[inline(always)]
    fn of<V: Vector>(self, gate: V, up: V) -> V {
        match self {
            Gate::Of(activation) => activation.of(gate).mul(up),
            Gate::Clamped { limit, alpha } => {
                // SAFETY: `gate` proves the instructions.
                let (high, low, alpha, one) =
                    unsafe { (V::splat(limit), V::splat(-limit), V::splat(alpha), V::splat(1.0)) };
                let gate = high.where_less(gate, high, gate);
                let up = low.max(high.where_less(up, high, up));
                gate.mul(sigmoid(alpha.mul(gate))).mul(up.add(one))
            }
        }
    }
}

/// Refuses `both` that are not the two halves of `one`, or not rows of that width.
pub(crate) fn check_halves(both: &[f32], one: &[f32], width: usize) {
    let is_whole = both.len() / 2 == one.len() && both.len().is_multiple_of(2) && one.len().is_multiple_of(width);
    assert!(is_whole, "{} numbers of a gate's two halves, {} of one, {width} a row", both.len(), one.len());
}

/// A gate's rows.
struct Gated<'a> {
    gate: Gate,
    both: &'a [f32],
    output: &'a mut [f32],
    width: usize,
}

impl Task for Gated<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Gated { gate, both, output, width } = self;
        for (row, output) in both.chunks_exact(2 * width).zip(output.chunks_exact_mut(width)) {
            let (gates, ups) = row.split_at(width);
            for lane in (0..width).step_by(V::LANES) {
                let n = V::LANES.min(width - lane);
                let (mut g, mut u) = ([0.0; MAX_LANES], [0.0; MAX_LANES]);
                // SAFETY: the caller vouches for the instructions; a register is read and written only where a whole one
                // lies, or in arrays that hold one.
                unsafe {
                    if n == V::LANES {
                        let (g, u) = (V::load(gates.as_ptr().add(lane)), V::load(ups.as_ptr().add(lane)));
                        gate.of(g, u).store(output.as_mut_ptr().add(lane));
                        continue;
                    }
                    g[..n].copy_from_slice(&gates[lane..]);
                    u[..n].copy_from_slice(&ups[lane..]);
                    gate.of(V::load(g.as_ptr()), V::load(u.as_ptr())).store(g.as_mut_ptr());
                }
                output[lane..].copy_from_slice(&g[..n]);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const ALL: [Activation; 8] = [
        Activation::Identity,
        Activation::Relu,
        Activation::SquaredRelu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Silu,
        Activation::Tanh,
    ];

    /// The values at −2, −0.5, 0, 0.5 and 3 that PyTorch 2.15 gives in f64.
    const WANTED: [[f64; 5]; 8] = [
        [-2.0, -0.5, 0.0, 0.5, 3.0],
        [0.0, 0.0, 0.0, 0.5, 3.0],
        [0.0, 0.0, 0.0, 0.25, 9.0],
        [-0.045_500_263_896_358, -0.154_268_769_362_993, 0.0, 0.345_731_230_637_007, 2.995_950_305_905_11],
        [-0.045_402_305_912_225, -0.154_285_990_174_856, 0.0, 0.345_714_009_825_144, 2.996_362_607_918_226],
        [-0.064_341_376_855_792, -0.149_611_563_393_62, 0.0, 0.350_388_436_606_38, 2.981_928_690_292_214],
        [-0.238_405_844_044_235, -0.188_770_334_399_073, 0.0, 0.311_229_665_600_927, 2.857_722_380_467_3],
        [-0.964_027_580_075_817, -0.462_117_157_260_01, 0.0, 0.462_117_157_260_01, 0.995_054_753_686_73],
    ];

    #[test]
    fn every_activation_has_its_values_on_every_instruction_set_and_wherever_it_stands_in_a_row() {
        for instructions in Instructions::ALL.into_iter().filter(|choice| choice.available()) {
            for (activation, wanted) in ALL.into_iter().zip(WANTED) {
                for length in [5, 21, 64] {
                    let inputs = [-2.0, -0.5, 0.0, 0.5, 3.0].into_iter().cycle();
                    let mut values: Vec<f32> = inputs.take(length).collect();
                    activation.apply_with(instructions, &mut values);
                    for (place, value) in values.iter().enumerate() {
                        let wanted = wanted[place % 5];
                        let error = (f64::from(*value) - wanted).abs();
                        assert!(error < 3e-7, "{instructions:?} {activation:?} at {place}: {value}, not {wanted}");
                        assert_eq!(*value, values[place % 5], "{instructions:?} {activation:?} at {place}");
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "30 numbers of a gate's two halves, 14 of one, 5 a row")]
    fn a_gate_with_less_room_than_rows_is_refused() {
        Gate::Of(Activation::Silu).apply(&[1.0; 30], &mut [0.0; 14], 5);
    }

    #[test]
    fn a_gate_multiplies_the_other_half_and_a_clamped_one_bounds_both() {
        let width = 21; // no multiple of a register
        let row = |start: f32| (0..width).map(move |i| start + i as f32 * 0.25);
        let both: Vec<f32> = (0..3).flat_map(|n| row(n as f32 - 3.0).chain(row(-2.0))).collect();
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        for gate in [Gate::Of(Activation::Silu), Gate::Clamped { limit: 1.5, alpha: 1.7 }] {
            let mut output = vec![f32::NAN; 3 * width];
            gate.apply(&both, &mut output, width);
            for (row, found) in both.chunks(2 * width).zip(output.chunks(width)) {
                for column in 0..width {
                    let (gate_value, up) = (row[column], row[width + column]);
                    let wanted = match gate {
                        Gate::Of(_) => gate_value * sigmoid(gate_value) * up,
                        Gate::Clamped { limit, alpha } => {
                            let gate_value = gate_value.min(limit);
                            gate_value * sigmoid(alpha * gate_value) * (up.clamp(-limit, limit) + 1.0)
                        }
                    };
                    assert!((found[column] - wanted).abs() < 2e-6, "{gate:?} at {column}: {} {wanted}", found[column]);
                }
            }
        }
    }
}
