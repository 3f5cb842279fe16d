//! A quick look at a row of weights and at those that the page computes: which of them may be shown with other digits.
//!
//! [`keeps_digits`](crate::digits::keeps_digits) decides, one by one; here sixteen are looked at at a time, in f32, and the few that
//! it has to look at are marked.

use std::sync::LazyLock;

use attlas_kernels::vectorised;

use crate::digits::SMALL;

/// How far both numbers are taken to be off, as a share of them: the page's rounding, and this look's own.
const MARGIN: f32 = 5e-6;
/// Added to a number below 2²², it leaves a whole one.
const WHOLE: f32 = 12_582_912.0;

/// For each exponent that an f32 has: the power of ten that makes 10 to 200 of a number with it, as far as f32 has such powers.
static SCALES: LazyLock<[f32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|exponent| {
        let least = 2_f64.powi(exponent as i32 - 127);
        let powers = (-38..=38).map(|power| 10_f64.powi(power));
        powers.into_iter().find(|power| least * power >= 10.0).unwrap_or(1e38) as f32
    })
});

/// Sum of a row, in eight parts.
pub fn sum(row: &[f32]) -> f64 {
    vectorised(
        #[inline(always)]
        || {
            let (chunks, rest) = row.as_chunks::<8>();
            let mut lanes = [0.0_f64; 8];
            for chunk in chunks {
                lanes.iter_mut().zip(chunk).for_each(|(lane, number)| *lane += f64::from(*number));
            }
            lanes.iter().sum::<f64>() + rest.iter().map(|number| f64::from(*number)).sum::<f64>()
        },
    )
}

/// Marks with 1 each weight that may be shown with other digits than `near · factor`, with 0 those that are surely shown with the
/// same; says whether one is not finite, or off by more than `most` of it while it is above `vanishing`. Shapes `[n]`.
pub fn mark(weights: &[f32], near: &[f32], factor: f32, (most, vanishing): (f32, f32), marks: &mut [u8]) -> bool {
    let scales: &[f32; 256] = &SCALES;
    vectorised(
        #[inline(always)]
        || look(weights, near, [factor, most, vanishing], scales, marks),
    )
}

/// [`mark`]: numbers by value and no early end of a condition, so that the compiler finds registers for the loop.
#[inline(always)]
fn look(
    weights: &[f32],
    near: &[f32],
    [factor, most, vanishing]: [f32; 3],
    scales: &[f32; 256],
    marks: &mut [u8],
) -> bool {
    let mut is_off = 0_u32;
    for ((weight, near), mark) in weights.iter().zip(near).zip(marks) {
        let (weight, computed) = (*weight, near * factor);
        let off = (computed - weight).abs();
        let is_finite = weight.abs() < f32::MAX;
        is_off |= u32::from((weight > vanishing) & (off > most * weight)) | u32::from(!is_finite);
        let is_large = weight >= SMALL as f32;
        let of_exponent = scales[usize::from((weight.to_bits() >> 23) as u8)];
        let scale = if is_large { 1e4 } else { of_exponent };
        let tenth = if !is_large & (weight * scale >= 100.0) { 0.1 } else { 1.0 };
        let (a, b) = (weight * scale * tenth, computed * scale * tenth);
        let (low, high) = (if a < b { a } else { b }, if a < b { b } else { a });
        let (low, high) = (low * (1.0 - MARGIN), high * (1.0 + MARGIN));
        // a large one must stay large, a small one small, and its first digit where it is
        let least = if is_large { 0.5 } else { 10.0 };
        let stays = is_large | (computed * (1.0 + MARGIN) < SMALL as f32);
        let is_same = (low + WHOLE == high + WHOLE) & (low >= least) & stays;
        let is_nothing = (weight == 0.0) & (computed == 0.0);
        *mark = u8::from(!(is_same | is_nothing));
    }
    is_off > 0
}

/// The places that are marked, rising.
pub fn marked(marks: &[u8]) -> impl Iterator<Item = usize> {
    let chunks = marks.chunks(32).enumerate().filter(|(_, chunk)| chunk.iter().any(|mark| *mark > 0));
    chunks.flat_map(|(at, chunk)| {
        chunk.iter().enumerate().filter(|(_, mark)| **mark > 0).map(move |(place, _)| 32 * at + place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digits::keeps_digits;

    #[test]
    fn what_is_not_marked_keeps_its_digits_and_most_that_does_is_not_marked() {
        let mut bits = 1_u32;
        let (mut n, mut n_marked, mut n_other) = (0, 0, 0);
        let apart = [0.0, 1e-7, -3e-6, 2e-5, -1e-4, 1e-3, -4e-3];
        while bits <= 1.0_f32.to_bits() {
            let weight = f32::from_bits(bits);
            let weights = [weight; 7];
            let near = apart.map(|share| weight * (1.0 + share));
            let mut marks = [2; 7];
            assert!(!mark(&weights, &near, 1.0, (0.005, 1e-35), &mut marks), "{weight}");
            for (near, mark) in near.iter().zip(marks) {
                let keeps = keeps_digits(weight, f64::from(*near));
                assert!(mark == 1 || keeps, "{weight} and {near} are not marked");
                n_marked += usize::from(weight > 1e-36 && mark == 1);
                n_other += usize::from(weight > 1e-36 && !keeps);
                n += 1;
            }
            bits += 1 + bits / 65_537;
        }
        assert!(n > 700_000 && n_marked < n_other + n / 100, "{n}: {n_marked} marked, {n_other} differ");
    }

    #[test]
    fn what_is_no_number_or_far_off_is_said_and_nothing_is_not_marked() {
        let mut marks = [2; 3];
        let look =
            |weights: [f32; 3], near: [f32; 3], marks: &mut [u8; 3]| mark(&weights, &near, 2.0, (0.005, 1e-35), marks);
        assert!(!look([0.0, 0.5, 0.0], [0.0, 0.25, 0.1], &mut marks));
        assert_eq!((marks, marked(&marks).collect::<Vec<_>>()), ([0, 0, 1], vec![2]));
        assert!(look([0.0, 0.5, 0.0], [0.0, 0.26, 0.1], &mut marks));
        assert!(look([f32::NAN, 0.5, 0.0], [0.0, 0.25, 0.1], &mut marks));
        assert!(look([0.5, f32::INFINITY, 0.0], [0.25, 0.25, 0.1], &mut marks));
        assert_eq!(sum(&[0.5; 19]), 9.5);
    }
}
