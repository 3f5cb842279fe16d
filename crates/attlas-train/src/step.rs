//! One training step: a batch in parts, spread over threads, its gradients summed.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use attlas_model::{Dropout, Transformer};

use crate::batch::{Batch, Frame, Pair};
use crate::loss::{Objective, Sums};
use crate::network::{Network, add};

/// Cuts a batch into parts of at most `part_tokens` target tokens (one pair at least).
pub fn parts(pairs: &[&Pair], part_tokens: usize, frame: Frame) -> Vec<Arc<Batch>> {
    let mut parts = Vec::new();
    let mut first = 0;
    let mut n_tokens = 0;
    for (index, pair) in pairs.iter().enumerate() {
        let length = pair.target.len() + 1;
        if n_tokens + length > part_tokens && index > first {
            parts.push(Arc::new(Batch::pack(pairs[first..index].iter().copied(), frame)));
            (first, n_tokens) = (index, 0);
        }
        n_tokens += length;
    }
    if first < pairs.len() {
        parts.push(Arc::new(Batch::pack(pairs[first..].iter().copied(), frame)));
    }
    parts
}

/// What a pass over a batch needs to know besides the batch.
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    /// Label smoothing ε.
    pub smoothing: f32,
    /// Dropout's rate.
    pub dropout: f32,
    /// The run's seed.
    pub seed: u64,
    /// The step, counted from 1.
    pub step: u64,
    /// Threads.
    pub threads: usize,
}

/// The gradients of the mean objective, one vector per variable, and the sums; an objective that is no number where the way
/// back met one.
///
/// Parts are handed out one by one, so that a thread on a busy core holds up nobody; with one thread the order of all
/// additions is fixed.
pub fn gradients(network: &Network, parts: &[Arc<Batch>], pass: Pass) -> (Vec<Vec<f32>>, Sums) {
    let n_tokens: usize = parts.iter().map(|part| part.n_target()).sum();
    let objective = Objective { smoothing: pass.smoothing, scale: 1.0 / n_tokens as f32 };
    let transformer = network.transformer();
    let work = |index: usize, total: &mut Option<Transformer>| {
        let dropout = Dropout::new(pass.dropout, pass.seed, pass.step, index as u64);
        let total = total.get_or_insert_with(|| transformer.zeros());
        let mut sums = Sums::default();
        let see = &mut |rows: Range<usize>, logits: &mut [f32]| {
            sums.add(&objective.of(logits, &parts[index].predicted[rows]));
        };
        if transformer.gradients_packed(parts[index].texts(), dropout, see, total).is_err() {
            sums.objective = f64::NAN;
        }
        sums
    };
    let mut sums = Sums::default();
    let mut total: Vec<Vec<f32>> = Vec::new();
    for (part_total, part_sums) in over_parts(parts.len(), pass.threads, work) {
        sums.add(&part_sums);
        // none where a thread came too late for any part
        let Some(part_total) = part_total else { continue };
        let part_total = network.gather(&part_total);
        if total.is_empty() {
            total = part_total;
            continue;
        }
        for (sum, values) in total.iter_mut().zip(&part_total) {
            add(sum, values);
        }
    }
    (total, sums)
}

/// The loss of pairs without dropout and smoothing; no number where the network cannot read them.
pub fn evaluate(transformer: &Transformer, parts: &[Arc<Batch>], threads: usize) -> Sums {
    let work = |index: usize, _: &mut ()| {
        let mut sums = Sums::default();
        let see = &mut |rows: Range<usize>, logits: &mut [f32]| {
            sums.add(&Objective::PLAIN.of(logits, &parts[index].predicted[rows]));
        };
        if transformer.run_packed(parts[index].texts(), see).is_err() {
            sums.loss = f64::NAN;
        }
        sums
    };
    let mut sums = Sums::default();
    for ((), part) in over_parts(parts.len(), threads, work) {
        sums.add(&part);
    }
    sums
}

/// Runs `work(part, state of the thread)` for every part on `threads` threads; the sums are added per thread.
fn over_parts<T: Default + Send>(
    n_parts: usize,
    threads: usize,
    work: impl Fn(usize, &mut T) -> Sums + Sync,
) -> Vec<(T, Sums)> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let run = || {
        let mut state = T::default();
        let mut sums = Sums::default();
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= n_parts {
                break;
            }
            sums.add(&work(part, &mut state));
        }
        results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((state, sums));
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(n_parts) {
            // where no further thread is to be had, those that are there do its parts
            if std::thread::Builder::new().spawn_scoped(scope, || alone(run)).is_err() {
                break;
            }
        }
        alone(run);
    });
    results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Runs `work` on a thread that shares no product with others: they have parts of their own.
fn alone(work: impl FnOnce() + Send) {
    match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
        Ok(pool) => pool.install(work),
        Err(_) => work(),
    }
}
