//! GFLOP/s of matrix products beside the multiply–add limit of the same run, one thread and all:
//!
//!     cargo bench -p attlas-kernels --bench products                    # packed weights, every instruction set
//!     cargo bench -p attlas-kernels --bench products -- avx2 128        # one set, one number of rows
//!
//! One thread is taken by its processor time, all threads by the clock; the best of many rounds in which everything takes turns.

#![allow(clippy::print_stdout, unsafe_code)]

mod clock;

use std::hint::black_box;
use std::time::{Duration, Instant};

use attlas_kernels::dispatch::{Task, run};
use attlas_kernels::vector::Vector;
use attlas_kernels::{Activation, Finish, Instructions, Matrix, Onto, Packed, Precision, Threads, multiply_with};
use clock::thread_time;

/// Inner size and output width: BERT-base's, GPT-2's joint projection, MiniLM's feed-forward, a vocabulary.
const SHAPES: [(usize, usize); 6] = [(768, 768), (768, 3072), (3072, 768), (768, 2304), (384, 1536), (768, 30522)];
const ROWS: [usize; 5] = [1, 6, 32, 128, 512];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let number = |text: &String| text.parse::<usize>().ok();
    let rows: Vec<usize> = arguments.iter().filter_map(number).collect();
    let rows = if rows.is_empty() { ROWS.to_vec() } else { rows };
    let name = |set: Instructions| format!("{set:?}").to_lowercase();
    let names: Vec<&String> = arguments.iter().filter(|argument| number(argument).is_none()).collect();
    let wanted = |set: &Instructions| names.is_empty() || names.iter().any(|wanted| **wanted == name(*set));
    for set in Instructions::ALL.into_iter().filter(|set| set.available() && wanted(set)) {
        println!("{}: % of the limit of one thread ({} threads there are)", name(set), rayon::current_num_threads());
        println!("   rows    inner  columns   limit   packed      %   on the way   all threads{}", heading(set));
        for (inner, columns) in SHAPES {
            for &n in &rows {
                measure(set, n, inner, columns);
            }
        }
        elementwise(set);
    }
}

/// Precisions that are had from AMX alone, one thread.
const TILED: [Precision; 3] = [Precision::High, Precision::Fast, Precision::Fastest];

fn has_tiles(set: Instructions) -> bool {
    set == Instructions::Avx512 && Precision::High.available().is_ok()
}

fn heading(set: Instructions) -> &'static str {
    if has_tiles(set) { "  AMX: high      fast   fastest" } else { "" }
}

/// One line of the table.
fn measure(set: Instructions, n: usize, inner: usize, columns: usize) {
    let numbers = |n: usize| (0..n).map(|i| (i * 7919 % 2003) as f32 / 1001.5 - 1.0).collect::<Vec<f32>>();
    let (input, weight) = (numbers(n * inner), numbers(columns * inner));
    let mut output = vec![0.0; n * columns]; // [n, columns]
    let packed = Packed::with(set, &weight, columns, inner);
    let right = Matrix::new(&weight, columns, inner).transposed();
    let n_operations = 2.0 * (n * inner * columns) as f64;
    let start = Instant::now();
    let mut best = [f64::INFINITY; 4 + TILED.len()];
    let mut rounds = 0;
    while rounds < 5 || start.elapsed() < Duration::from_millis(700) && rounds < 400 {
        best[0] = best[0].min(limit(set));
        let clock = thread_time();
        packed.multiply(&input, Finish::PLAIN, Threads::One, &mut output);
        best[1] = best[1].min(thread_time() - clock);
        if rounds % 4 == 0 {
            let clock = thread_time();
            multiply_with(set, Matrix::new(&input, n, inner), right, Onto::Replace, Threads::One, &mut output);
            best[2] = best[2].min(thread_time() - clock);
        }
        let clock = Instant::now();
        packed.multiply(&input, Finish::PLAIN, Threads::All, &mut output);
        best[3] = best[3].min(clock.elapsed().as_secs_f64());
        for (precision, best) in TILED.into_iter().zip(&mut best[4..]) {
            if has_tiles(set) {
                let clock = thread_time();
                packed.multiply_at(precision, &input, Finish::PLAIN, Threads::One, &mut output);
                *best = best.min(thread_time() - clock);
            }
        }
        black_box(&mut output);
        rounds += 1;
    }
    let limit = LIMIT_OPERATIONS as f64 / best[0] / 1e9;
    let rate = |seconds: f64| n_operations / seconds / 1e9;
    let tiled: String = match has_tiles(set) {
        true => best[4..].iter().map(|seconds| format!(" {:9.1}", rate(*seconds))).collect(),
        false => String::new(),
    };
    println!(
        "{n:7} {inner:8} {columns:8} {limit:7.0} {:8.1} {:6.0} {:12.1} {:13.1}{tiled}",
        rate(best[1]),
        100.0 * rate(best[1]) / limit,
        rate(best[2]),
        rate(best[3])
    );
}

/// Nanoseconds an element of activations on numbers that lie in the first-level cache.
fn elementwise(set: Instructions) {
    let mut line = String::from("ns an element:");
    for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Silu, Activation::Tanh] {
        let numbers: Vec<f32> = (0..4096).map(|i| (i as f32 - 2048.0) / 512.0).collect();
        let mut best = f64::INFINITY;
        for _ in 0..200 {
            let mut values = numbers.clone();
            let clock = thread_time();
            activation.apply_with(set, black_box(&mut values));
            best = best.min(thread_time() - clock);
        }
        line += &format!("  {activation:?} {:.2}", best * 1e9 / 4096.0);
    }
    println!("{line}");
}

/// Floating-point operations of [`limit`].
const LIMIT_OPERATIONS: usize = 2 * 16 * CHAINS * STEPS;
const CHAINS: usize = 12;
const STEPS: usize = 4000;

/// Seconds of processor time for multiply–adds that wait for nothing: of 16 lanes in as many registers as that takes.
fn limit(set: Instructions) -> f64 {
    let clock = thread_time();
    black_box(run(set, Chains));
    thread_time() - clock
}

struct Chains;

impl Task for Chains {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> f32 {
        // SAFETY: `run` has asked for the instructions; the array holds a register.
        unsafe {
            let (factor, addend) = (V::splat(black_box(1.000_001)), V::splat(black_box(1e-9)));
            let mut sums = [V::splat(1.0); CHAINS];
            for _ in 0..STEPS * 16 / V::LANES {
                for sum in &mut sums {
                    *sum = sum.mul_add(factor, addend);
                }
            }
            let total = sums.into_iter().fold(V::splat(0.0), V::add);
            let mut lanes = [0.0; 16];
            total.store(lanes.as_mut_ptr());
            lanes[0]
        }
    }
}
