//! Learnt positions of an image's patches, stretched to another grid as PyTorch's `interpolate` stretches them.

use std::borrow::Cow;

use crate::config::{OtherGrids, Patches};

/// The steepness of the cubic between its zeros, without and with averaging.
const STEEPNESS: f64 = -0.75;
const STEEPNESS_AVERAGING: f64 = -0.5;

/// How much an old place counts for a new one, by their distance.
enum Kernel {
    /// Between the four nearest.
    Cubic,
    /// Over as many as fall together: what is beyond `half_width` of them counts for nothing.
    Averaging { half_width: f64, at: fn(f64) -> f64 },
}

/// The positions for a grid of `rows × columns` patches. Shape `[rows · columns, width]`.
pub(crate) fn stretched<'a>(positions: &'a [f32], patches: &Patches, grid: [usize; 2], width: usize) -> Cow<'a, [f32]> {
    let [old_rows, old_columns] = patches.grid;
    if grid == patches.grid || !patches.has_positions {
        return Cow::Borrowed(positions);
    }
    let kernel = match patches.other_grids {
        OtherGrids::Refused => return Cow::Borrowed(positions),
        OtherGrids::Cubic => Kernel::Cubic,
        OtherGrids::CubicAveraging => Kernel::Averaging { half_width: 2.0, at: |x| cubic(x, STEEPNESS_AVERAGING) },
        OtherGrids::LinearAveraging => Kernel::Averaging { half_width: 1.0, at: |x| (1.0 - x.abs()).max(0.0) },
    };
    // 1. along the columns, 2. along the rows
    let mut wide = vec![0.0; old_rows * grid[1] * width]; // [old_rows, columns, width]
    let from_columns = taps(old_columns, grid[1], &kernel);
    for (place, row) in wide.chunks_exact_mut(width).enumerate() {
        let start = place / grid[1] * old_columns;
        weigh(&from_columns[place % grid[1]], |tap| start + tap, positions, row);
    }
    let mut tall = vec![0.0; grid[0] * grid[1] * width]; // [rows, columns, width]
    let from_rows = taps(old_rows, grid[0], &kernel);
    for (place, row) in tall.chunks_exact_mut(width).enumerate() {
        weigh(&from_rows[place / grid[1]], |tap| tap * grid[1] + place % grid[1], &wide, row);
    }
    Cow::Owned(tall)
}

fn weigh(taps: &[(usize, f32)], source_row: impl Fn(usize) -> usize, source: &[f32], output: &mut [f32]) {
    let width = output.len();
    for (tap, weight) in taps {
        let row = &source[source_row(*tap) * width..][..width];
        output.iter_mut().zip(row).for_each(|(out, value)| *out += weight * value);
    }
}

/// For each of `n_new` places, the old places it is made of and their weights.
fn taps(n_old: usize, n_new: usize, kernel: &Kernel) -> Vec<Vec<(usize, f32)>> {
    let scale = n_old as f64 / n_new as f64;
    let last = n_old as i64 - 1;
    let place = |new: usize| {
        let center = (new as f64 + 0.5) * scale;
        let Kernel::Averaging { half_width, at } = kernel else {
            // four neighbours; the edge stands for what is beyond it
            let start = (center - 0.5).floor();
            let neighbour = |step: i64| {
                let distance = center - 0.5 - (start + step as f64);
                ((start as i64 + step).clamp(0, last) as usize, cubic(distance, STEEPNESS) as f32)
            };
            return (-1..=2).map(neighbour).collect();
        };
        // as many as the kernel covers; what is beyond the edge is left out
        let reach = scale.max(1.0);
        let start = ((center - half_width * reach + 0.5) as i64).max(0);
        let end = ((center + half_width * reach + 0.5) as i64).min(last + 1);
        let weight = |old: i64| at((old as f64 - center + 0.5) / reach);
        let total: f64 = (start..end).map(weight).sum();
        (start..end).map(|old| (old as usize, (weight(old) / total) as f32)).collect()
    };
    (0..n_new).map(place).collect()
}

/// Keys' cubic convolution kernel.
pub(crate) fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    match x {
        _ if x < 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
        _ if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * a,
        _ => 0.0,
    }
}
