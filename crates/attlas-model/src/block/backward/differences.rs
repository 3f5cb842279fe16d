//! Central differences in f64, which tests hold the way back to.

const STEP: f64 = 1e-5;

/// Numbers between −1 and 1, the same for the same seed.
pub(super) fn numbers(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
}

/// The same numbers in f64.
pub(super) fn widened(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|x| f64::from(*x)).collect()
}

/// `Σ numbers · by`.
pub(super) fn dot(numbers: &[f64], by: &[f32]) -> f64 {
    assert_eq!(numbers.len(), by.len());
    numbers.iter().zip(by).map(|(number, by)| number * f64::from(*by)).sum()
}

/// `y = x · Wᵀ + b`, in f64; without a bias where it is empty. Shapes `[n, d_in]`, `[d_out, d_in]` and `[n, d_out]`.
pub(super) fn linear(x: &[f64], weight: &[f64], bias: &[f64], d_in: usize) -> Vec<f64> {
    let output = |x: &[f64]| -> Vec<f64> {
        let rows = weight.chunks_exact(d_in).enumerate();
        rows.map(|(row, w)| x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>() + bias.get(row).unwrap_or(&0.0)).collect()
    };
    x.chunks_exact(d_in).flat_map(output).collect()
}

/// Holds gradients of `score` with respect to some arrays to its central differences, at about `n` places of each.
pub(super) fn check<const N: usize>(
    what: &str,
    n: usize,
    found: [Vec<f64>; N],
    at: &[Vec<f64>; N],
    score: impl Fn(&[Vec<f64>; N]) -> f64,
) {
    for (part, found) in found.iter().enumerate() {
        assert_eq!(found.len(), at[part].len(), "{what}: array {part}");
        for place in (0..found.len()).step_by((found.len() / n).max(1)) {
            let moved = |step: f64| {
                let mut at = at.clone();
                at[part][place] += step;
                score(&at)
            };
            let wanted = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let error = (found[place] - wanted).abs();
            assert!(error < 3e-6, "{what}: array {part} at {place}: {} instead of {wanted}", found[place]);
        }
    }
}
