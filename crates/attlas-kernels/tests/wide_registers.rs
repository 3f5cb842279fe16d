//! That the chosen instructions are really what the loops are compiled for: a function that is called where it should be
//! inlined is compiled for the plainest processor, and gives the same numbers, several times as slowly.

#![allow(clippy::print_stderr)]

use std::hint::black_box;
use std::time::Instant;

use attlas_kernels::{Activation, Instructions, vectorised};

/// Numbers that lie in the first-level cache.
const N: usize = 2048;

/// A way to treat numbers.
type Way<'a> = &'a mut dyn FnMut(&mut [f32]);

/// The least nanoseconds an element of two ways to treat the same numbers, which take turns. A round takes microseconds and a
/// turn of another programme milliseconds, so the least of many rounds is one that nobody interrupted.
fn least(mut ways: [Way<'_>; 2]) -> [f64; 2] {
    let numbers: Vec<f32> = (0..N).map(|i| i as f32 / 512.0 - 2.0).collect();
    let mut best = [f64::INFINITY; 2];
    let mut values = numbers.clone();
    for _ in 0..600 {
        for (way, best) in ways.iter_mut().zip(&mut best) {
            values.copy_from_slice(&numbers);
            let start = Instant::now();
            way(black_box(&mut values));
            *best = best.min(start.elapsed().as_secs_f64() * 1e9 / N as f64);
            black_box(&mut values);
        }
    }
    best
}

fn check(what: &str, wanted: [f64; 2], [plain, chosen]: [f64; 2]) {
    let best = Instructions::best();
    let wanted = match best {
        Instructions::Avx512 => wanted[0],
        Instructions::Avx2 => wanted[1],
        _ => return eprintln!("{what}: this processor has nothing wider than four lanes"),
    };
    if env!("OPT_LEVEL") == "0" {
        return eprintln!("{what} was not judged: the code was compiled without optimisation");
    }
    let message = format!("{what}: {chosen:.2} ns an element with {best:?} and {plain:.2} ns without");
    assert!(plain / chosen >= wanted, "{message}; {wanted} times as fast is the least");
    eprintln!("{message}");
}

#[test]
fn activations_are_three_times_as_fast_as_one_number_after_the_other() {
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    // erfc of a positive number (Press et al., Numerical Recipes, §6.2, in its short form)
    let erfc = |x: f32| {
        let t = 1.0 / (1.0 + 0.5 * x);
        t * (-x * x - 1.265_512_2 + t * (1.000_023_7 + t * (0.374_091_96 + t * (0.096_784_18 - t * 0.186_288_06))))
            .exp()
    };
    let gelu = |x: f32| {
        let tail = erfc(x.abs() * std::f32::consts::FRAC_1_SQRT_2);
        0.5 * x * if x < 0.0 { tail } else { 2.0 - tail }
    };
    let cases: [(Activation, &dyn Fn(f32) -> f32); 4] = [
        (Activation::Gelu, &gelu),
        (Activation::GeluTanh, &|x| 0.5 * x * (1.0 + (0.797_884_6 * (x + 0.044_715 * x * x * x)).tanh())),
        (Activation::Silu, &|x| x * sigmoid(x)),
        (Activation::Tanh, &|x| x.tanh()),
    ];
    for (activation, one) in cases {
        let mut plain = |values: &mut [f32]| values.iter_mut().for_each(|x| *x = black_box(one(*x)));
        let mut chosen = |values: &mut [f32]| activation.apply(values);
        check(&format!("{activation:?}"), [3.0, 3.0], least([&mut plain, &mut chosen]));
    }
}

#[test]
fn loops_that_the_compiler_finds_lanes_for_are_faster_than_with_four_lanes() {
    #[inline(always)]
    fn work(values: &mut [f32]) {
        for value in values {
            for _ in 0..16 {
                *value = *value * 0.75 + 0.125;
            }
        }
    }
    #[inline(never)]
    fn plain(values: &mut [f32]) {
        work(values);
    }
    let mut chosen = |values: &mut [f32]| {
        vectorised(
            #[inline(always)]
            || work(values),
        );
    };
    // four and two times as many lanes; where the closure is not inlined, both are the same
    check("a loop", [1.6, 1.3], least([&mut plain, &mut chosen]));
}
