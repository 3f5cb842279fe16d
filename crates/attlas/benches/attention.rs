//! The attention kernel's speed: `cargo bench -p attlas --bench attention [-- --long]`.
//!
//! Prints GFLOP/s, counted as 4 · n² · d_head · heads (half of it for causal), for 12 heads of 64, next to the
//! multiply–add limit measured in the same run.
#![allow(unsafe_code, clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use attlas::attention::{Inputs, Instructions, Outputs, Shape, attend, attend_with, online, reference};
use attlas::{Pooled, Pooling, Scoring, Visibility};

const N_HEADS: usize = 12;
const D_HEAD: usize = 64;

fn main() {
    // this thread computes, too, as the command's first thread does: no call has to wake the others and wait
    let _ = rayon::ThreadPoolBuilder::new().use_current_thread().build_global();
    let long = std::env::args().any(|argument| argument == "--long");
    println!("{} threads, {N_HEADS} heads of {D_HEAD}, f32", rayon::current_num_threads());
    if long {
        return long_context();
    }
    let limit = multiply_add_limit();
    println!("multiply–add limit           {limit:6.1} GFLOP/s");
    ladder();
    for instructions in Instructions::ALL.into_iter().filter(|choice| choice.available()) {
        println!("{instructions:?}");
        let sizes: &[usize] =
            if instructions == Instructions::best() { &[6, 64, 512, 2048, 8192] } else { &[512, 2048] };
        for &n in sizes {
            let limit = multiply_add_limit(); // again: other programs may have come or gone
            let full = measure(instructions, n, Visibility::FULL, None);
            let causal = measure(instructions, n, Visibility::CAUSAL, None);
            let pooled = measure(instructions, n, Visibility::FULL, Some(Pooling { rows: 64, columns: 64 }));
            println!(
                "  n = {n:5}  {:6.1} GFLOP/s ({:2.0} % of {limit:.1}, {:8.3} ms)   causal {:6.1}   with a 64 × 64 overview {:+.1} % time",
                full.gflops(),
                100.0 * full.gflops() / limit,
                1e3 * full.seconds,
                causal.gflops(),
                100.0 * (pooled.seconds / full.seconds - 1.0),
            );
        }
    }
}

/// From the formula to the kernel: the time of each step, and how many times faster it is than the formula, on one thread and
/// on all; the best of three rounds in turn, so that other programs slow all steps alike.
fn ladder() {
    type Attend = fn(&Inputs<'_>, &mut Outputs<'_>);
    let steps: [(&str, Attend); 3] =
        [("reference", reference::attend), ("online", online::attend), ("streaming", attend)];
    for n in [512, 2048] {
        let mut seconds = [f64::MAX; 4]; // the three on one thread, then streaming on all
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        for _ in 0..3 {
            for (best, (_, attend)) in seconds.iter_mut().zip(steps) {
                let time = || time_once(attend, n);
                *best = one_thread.as_ref().map_or(f64::MAX, |threads| threads.install(time)).min(*best);
            }
            seconds[3] = seconds[3].min(time_once(attend, n));
        }
        let names = steps.iter().map(|(name, _)| *name).chain(["streaming, all threads"]);
        for (name, time) in names.zip(seconds) {
            println!("  n = {n:5}  {name:<23}{:9.2} ms  {:6.1} × the formula", 1e3 * time, seconds[0] / time);
        }
    }
}

/// Seconds that one call takes, full attention.
fn time_once(attend: fn(&Inputs<'_>, &mut Outputs<'_>), n: usize) -> f64 {
    let shape =
        Shape { n_heads: N_HEADS, n_kv_heads: N_HEADS, n_queries: n, n_keys: n, d_head: D_HEAD, d_value: D_HEAD };
    let scoring = Scoring::scaled_dot_product(D_HEAD, Visibility::FULL);
    let size = N_HEADS * n * D_HEAD;
    let (queries, keys, values) = (numbers(size, 1), numbers(size, 2), numbers(size, 3)); // [n_heads, n, d_head]
    let (mut context, mut lse) = (vec![0.0; size], vec![0.0; N_HEADS * n]);
    let (key_valid, mask, key_bias) = (None, None, None);
    let inputs =
        Inputs { queries: &queries, keys: &keys, values: &values, shape, scoring: &scoring, key_valid, mask, key_bias };
    let mut outputs = Outputs { context: &mut context, lse: &mut lse, pooled: None };
    let start = Instant::now();
    attend(&inputs, &mut outputs);
    start.elapsed().as_secs_f64()
}

/// One timing.
struct Timing {
    seconds: f64,
    operations: f64,
}

impl Timing {
    fn gflops(&self) -> f64 {
        self.operations / self.seconds / 1e9
    }
}

/// The best of several runs, after one to warm up.
fn measure(instructions: Instructions, n: usize, visibility: Visibility, pooling: Option<Pooling>) -> Timing {
    let shape =
        Shape { n_heads: N_HEADS, n_kv_heads: N_HEADS, n_queries: n, n_keys: n, d_head: D_HEAD, d_value: D_HEAD };
    let scoring = Scoring::scaled_dot_product(D_HEAD, visibility);
    let size = N_HEADS * n * D_HEAD;
    let (queries, keys, values) = (numbers(size, 1), numbers(size, 2), numbers(size, 3)); // [n_heads, n, d_head]
    let mut context = vec![0.0; size]; // [n, n_heads, d_head]
    let mut lse = vec![0.0; N_HEADS * n]; // [n_heads, n]
    let mut overviews: Vec<Pooled> = Vec::new();
    let (key_valid, mask, key_bias) = (None, None, None);
    let inputs =
        Inputs { queries: &queries, keys: &keys, values: &values, shape, scoring: &scoring, key_valid, mask, key_bias };
    let mut run = || {
        let pooled = pooling.map(|pooling| (pooling, &mut overviews));
        let mut outputs = Outputs { context: &mut context, lse: &mut lse, pooled };
        let start = Instant::now();
        attend_with(instructions, &inputs, &mut outputs);
        start.elapsed().as_secs_f64()
    };
    let visible = if visibility == Visibility::CAUSAL { n * (n + 1) / 2 } else { n * n };
    let first = run();
    let repeats = (0.7 / first).min(2000.0) as usize; // a long run is not repeated
    let seconds = (0..repeats).map(|_| run()).fold(if repeats > 2 { f64::MAX } else { first }, f64::min);
    Timing { seconds, operations: 4.0 * visible as f64 * (D_HEAD * N_HEADS) as f64 }
}

/// 65,536 tokens, causal, and the memory it took.
fn long_context() {
    let timing = measure(Instructions::best(), 65_536, Visibility::CAUSAL, Some(Pooling { rows: 256, columns: 256 }));
    println!("n = 65536 causal with a 256 × 256 overview: {:.1} s, {:.1} GFLOP/s", timing.seconds, timing.gflops());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines().filter(|line| line.starts_with("VmHWM")) {
        println!("peak resident memory {}", line.trim_start_matches("VmHWM:").trim());
    }
}

/// Numbers in −1 ..= 1, the same for the same seed.
fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// What the processor's multiply–add units give, all threads together, in GFLOP/s.
fn multiply_add_limit() -> f64 {
    const ROUNDS: usize = 2_000_000;
    let run = || {
        let start = Instant::now();
        let operations: f64 = rayon::broadcast(|_| multiply_adds(ROUNDS)).into_iter().sum();
        operations / start.elapsed().as_secs_f64() / 1e9
    };
    (0..10).map(|_| run()).fold(0.0, f64::max)
}

/// Runs independent multiply–adds in registers and returns how many operations they were.
fn multiply_adds(rounds: usize) -> f64 {
    #[cfg(target_arch = "x86_64")]
    match Instructions::best() {
        // SAFETY: `best` has asked the processor.
        Instructions::Avx512 => return unsafe { x86::avx512(rounds) },
        // SAFETY: `best` has asked the processor.
        Instructions::Avx2 => return unsafe { x86::avx2(rounds) },
        _ => {}
    }
    let mut sums = [black_box(1.0_f32); 48];
    let (factor, addend) = (black_box(0.999_f32), black_box(0.001_f32));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = *sum * factor + addend;
        }
    }
    black_box(sums);
    (rounds * 48 * 2) as f64
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    #[target_feature(enable = "avx512f")]
    pub fn avx512(rounds: usize) -> f64 {
        let mut sums = [_mm512_set1_ps(black_box(1.0)); 12];
        sums.iter_mut().for_each(|sum| *sum = black_box(*sum));
        let (factor, addend) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, factor, addend);
            }
        }
        black_box(sums);
        (rounds * 12 * 16 * 2) as f64
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn avx2(rounds: usize) -> f64 {
        let mut sums = [_mm256_set1_ps(black_box(1.0)); 12];
        sums.iter_mut().for_each(|sum| *sum = black_box(*sum));
        let (factor, addend) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, addend);
            }
        }
        black_box(sums);
        (rounds * 12 * 8 * 2) as f64
    }
}
