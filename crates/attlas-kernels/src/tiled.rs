//! Dense layers on the tile unit: `y = x · Wᵀ` with each number split into bf16 parts on the way.
//!
//! The input is split once a product; weights stay as they are in memory, and each piece of work splits a stretch of 48 columns
//! into the cache, for up to 384 rows. A second copy of the weights in bf16 parts would save that (about a fifth of the time
//! at 128 rows), but take half as much memory again.

use std::arch::x86_64::*;
use std::cell::Cell;
use std::ops::Range;

use crate::amx::{TILE, Tiles, add_products, allowed};
use crate::coded::finish_sums;
use crate::matrix::Threads;
use crate::packed::Finish;
use crate::scratch::{Carver, SCRATCH};
use crate::shared::Shared;
use crate::vector::Avx512;

/// Columns of a panel: three tiles.
pub(crate) const WIDTH: usize = 48;
/// Inner indices of a step: those of a tile.
const STEP: usize = 32;
/// Inner indices of a stretch of weights, for which a [`Panels`] is asked.
const STRETCH: usize = 256;
/// Steps for which weights are split at a time: their parts (36 kB) stay in the first-level cache.
const STEPS: usize = 4;
/// Rows of a tile.
const ROWS: usize = 16;
/// Rows for which a stretch of weights is split once.
const BLOCK_ROWS: usize = 384;
/// Rows of the input that are split at a time, so that their parts do not take more memory with every row.
const CHUNK_ROWS: usize = 4 * BLOCK_ROWS;

/// The largest size of a row's numbers, and of the weights', may be between these (or 0).
const LEAST: f32 = 1.0 / MOST;
const MOST: f32 = (1_u64 << 40) as f32;

/// What a layer's weights are multiplied with, and what becomes of the product.
#[derive(Clone, Copy)]
pub(crate) struct Layer<'a> {
    /// Shape `[n, d_in]`.
    pub input: &'a [f32],
    pub finish: Finish<'a>,
}

/// Weights in panels of 48 columns.
pub(crate) trait Panels: Sync {
    /// Width of the output.
    fn d_out(&self) -> usize;
    /// Width of the input.
    fn d_in(&self) -> usize;
    /// A panel's product with some rows, in f32.
    fn exactly(&self, panel: usize, rows: Range<usize>, layer: Layer<'_>, output: &Shared<'_>);
    /// The numbers of some inner indices of a panel; `space` may hold them. Shape `[inner.len(), WIDTH]`.
    ///
    /// # Safety
    /// The processor has AVX-512.
    unsafe fn stretch<'a>(&'a self, panel: usize, inner: Range<usize>, space: &'a mut [f32]) -> &'a [f32];
}

/// Whether numbers of this size can be split into parts: the bits of the largest, without its sign. Zeros alone need not be.
fn is_in_range(largest: u32) -> bool {
    (LEAST.to_bits()..=MOST.to_bits()).contains(&largest)
}

/// The bits of the largest number, without its sign; those of infinities and NaN are larger than any other's.
#[inline(always)]
fn largest(numbers: &[f32]) -> u32 {
    numbers.iter().fold(0, |most, number| most.max(number.to_bits() & 0x7fff_ffff))
}

thread_local! {
    /// Each thread's memory for an input in parts.
    static PARTS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// `output = finish(input · Wᵀ)` with numbers in `n_parts` parts, and in f32 where a row's numbers cannot be split. Shapes
/// `[n, d_in]` and `[n, d_out]`.
///
/// # Panics
/// When AMX is not [allowed], or a slice has another length than these shapes say.
pub(crate) fn multiply<P: Panels>(weights: &P, n_parts: usize, layer: Layer<'_>, threads: Threads, output: &mut [f32]) {
    assert_eq!(allowed(), Ok(()), "tiles where there are none");
    let (d_in, d_out) = (weights.d_in(), weights.d_out());
    let n = layer.finish.n_rows([d_in, d_out], layer.input, output);
    let n_multiply_adds = n.saturating_mul(d_in).saturating_mul(d_out);
    let n_panels = d_out.div_ceil(WIDTH);
    let input = layer.input;
    let output = Shared::new(output);
    let mut memory = PARTS.take();
    for start in (0..n).step_by(CHUNK_ROWS) {
        let rows = start..(start + CHUNK_ROWS).min(n);
        let n_tiles = rows.len().div_ceil(ROWS);
        let n_parts_of_rows = n_tiles * d_in.div_ceil(STEP) * n_parts * TILE / 2; // in f32 numbers
        let mut carver = Carver::new(&mut memory, n_parts_of_rows + n_tiles * ROWS);
        let (parts, ranges) = (carver.take(n_parts_of_rows), carver.take(n_tiles * ROWS));
        // 1. the input, in parts
        let (in_parts, in_range) = (Shared::new(parts), Shared::new(ranges));
        threads.each(n_multiply_adds, n_tiles, |tile| {
            let here = rows.start + tile * ROWS..(rows.start + (tile + 1) * ROWS).min(rows.end);
            let place = Place { tile, n_tiles, n_steps: d_in.div_ceil(STEP), n_parts };
            // SAFETY: AVX-512 with bf16 is there where tiles are; a tile's parts and ranges are one piece's alone.
            unsafe {
                let ranges = in_range.part(tile * ROWS..tile * ROWS + here.len());
                let to = in_parts.at(0, n_parts_of_rows).cast();
                split_rows(&input[here.start * d_in..here.end * d_in], d_in, place, to, ranges);
            }
        });
        // 2. pieces: a panel of columns, some rows
        let n_blocks = rows.len().div_ceil(BLOCK_ROWS);
        threads.each(n_multiply_adds, n_blocks * n_panels, |piece| {
            let (block, panel) = (piece / n_panels, piece % n_panels);
            let first = block * BLOCK_ROWS;
            let ranges = &ranges[first..(first + BLOCK_ROWS).min(rows.len())];
            let place = Place { tile: first / ROWS, n_tiles, n_steps: d_in.div_ceil(STEP), n_parts };
            let first_row = rows.start + first;
            let piece = Piece { weights, panel, parts, place, ranges, first_row, layer, output: &output };
            // SAFETY: AVX-512 is there where tiles are, and these are allowed.
            unsafe { piece.run() }
        });
    }
    PARTS.set(memory);
}

/// Where the parts of 16 rows lie. Shape of all: `[n_steps / STEPS, n_tiles, STEPS, n_parts, 16, 32]`, fewer steps at the end:
/// what is multiplied with the same stretch of weights lies together.
#[derive(Clone, Copy)]
struct Place {
    tile: usize,
    n_tiles: usize,
    n_steps: usize,
    n_parts: usize,
}

impl Place {
    /// The first bf16 number of a step.
    #[inline(always)]
    fn of_step(self, step: usize) -> usize {
        let first = step / STEPS * STEPS;
        let n_together = STEPS.min(self.n_steps - first);
        (first * self.n_tiles + self.tile * n_together + step - first) * self.n_parts * TILE
    }
}

/// One panel against some rows.
struct Piece<'a, P> {
    weights: &'a P,
    panel: usize,
    /// The input in parts, two bf16 numbers in each.
    parts: &'a [f32],
    /// Where the first rows' lie.
    place: Place,
    /// 1 for each row that is in parts, 0 for each that cannot be.
    ranges: &'a [f32],
    first_row: usize,
    layer: Layer<'a>,
    /// Shape `[n, d_out]`.
    output: &'a Shared<'a>,
}

impl<P: Panels> Piece<'_, P> {
    /// # Safety
    /// The processor has AVX-512, and tiles are allowed.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn run(self) {
        let Piece { weights, panel, parts, place, ranges, first_row, layer, output } = self;
        let (d_in, d_out, n_parts) = (weights.d_in(), weights.d_out(), place.n_parts);
        let n_tiles = ranges.len().div_ceil(ROWS);
        let n_columns = WIDTH.min(d_out - panel * WIDTH);
        let mut scratch = SCRATCH.take();
        let n_right = STEPS * 3 * n_parts * TILE / 2; // in f32 numbers
        let mut carver = Carver::new(&mut scratch, n_right + STRETCH * WIDTH + n_tiles * ROWS * WIDTH);
        let (right, space) = (carver.take(n_right), carver.take(STRETCH * WIDTH));
        let sums = carver.take(n_tiles * ROWS * WIDTH); // [n_tiles, 16, WIDTH]
        sums.fill(0.0);
        // SAFETY: the caller vouches for tiles.
        let tiles = unsafe { Tiles::shape() };
        let mut most = 0;
        for start in (0..d_in).step_by(STRETCH) {
            // SAFETY: the caller vouches for AVX-512.
            let numbers = unsafe { weights.stretch(panel, start..(start + STRETCH).min(d_in), space) };
            for (index, numbers) in numbers.chunks(STEPS * STEP * WIDTH).enumerate() {
                let step = start / STEP + index * STEPS;
                let n_steps = numbers.len().div_ceil(STEP * WIDTH);
                let right: *mut u16 = right.as_mut_ptr().cast();
                // SAFETY: bf16 instructions are there where tiles are; `right` has room for as many steps.
                most = most.max(unsafe { split_columns(numbers, n_parts, right) });
                for tile in 0..n_tiles {
                    let left = &parts[Place { tile: place.tile + tile, ..place }.of_step(step) / 2..];
                    let sums = &mut sums[tile * ROWS * WIDTH..][..ROWS * WIDTH];
                    assert!(left.len() >= n_steps * n_parts * TILE / 2);
                    // SAFETY: the steps of 16 rows lie together, and so do those of the panel; both have that length.
                    unsafe { add_products(&tiles, n_parts, left.as_ptr().cast(), right, n_steps, sums.as_mut_ptr()) }
                }
            }
        }
        drop(tiles);
        let columns = panel * WIDTH..panel * WIDTH + n_columns;
        let mut row = 0;
        for run in ranges.chunk_by(|one, next| one == next) {
            let rows = first_row + row..first_row + row + run.len();
            if run[0] == 0.0 || !is_in_range(most << 16) {
                weights.exactly(panel, rows, layer, output);
            } else {
                let (sums, finish) = (&mut sums[row * WIDTH..], layer.finish);
                // SAFETY: the caller vouches for AVX-512; these columns of the rows are this piece's alone.
                unsafe { finish_sums::<Avx512>(sums, finish, columns.clone(), rows, d_out, output) }
            }
            row += run.len();
        }
        SCRATCH.set(scratch);
    }
}

/// Splits up to 16 rows into parts, and says of each in `ranges` whether it could be (1) or not (0).
///
/// # Safety
/// The processor has AVX-512 with bf16, and the place's tiles in `to` may be written.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn split_rows(rows: &[f32], d_in: usize, place: Place, to: *mut u16, ranges: &mut [f32]) {
    for row in 0..ROWS {
        let numbers = rows.get(row * d_in..(row + 1) * d_in).filter(|_| row < ranges.len()).unwrap_or_default();
        let is_used = row < ranges.len() && is_in_range(largest(numbers));
        if let Some(range) = ranges.get_mut(row) {
            *range = if is_used { 1.0 } else { 0.0 };
        }
        for step in 0..place.n_steps {
            // SAFETY: the caller vouches for the room.
            let to = unsafe { to.add(place.of_step(step) + row * STEP) };
            let mut whole = [0.0; STEP];
            let here = numbers.get(step * STEP..).unwrap_or_default();
            let n = if is_used { STEP.min(here.len()) } else { 0 };
            whole[..n].copy_from_slice(&here[..n]);
            // SAFETY: 32 numbers are read where as many lie, and written as above.
            unsafe {
                let mut low = _mm512_loadu_ps(whole.as_ptr());
                let mut high = _mm512_loadu_ps(whole.as_ptr().add(16));
                for part in 0..place.n_parts {
                    let rounded: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
                    _mm512_storeu_si512(to.add(part * TILE).cast(), rounded);
                    let halves = (_mm512_castsi512_si256(rounded), _mm512_extracti64x4_epi64::<1>(rounded));
                    let wide =
                        |half: __m256i| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)));
                    low = _mm512_sub_ps(low, wide(halves.0));
                    high = _mm512_sub_ps(high, wide(halves.1));
                }
            }
        }
    }
}

/// Splits a stretch of a panel into parts, two inner indices side by side, and gives the bits of the largest first part without
/// its sign. Shape of `numbers`: `[n, WIDTH]`.
///
/// # Safety
/// The processor has AVX-512 with bf16, and `to` has room for `[n / 32 rounded up, 3, n_parts, 16, 32]` numbers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn split_columns(numbers: &[f32], n_parts: usize, to: *mut u16) -> u32 {
    let n = numbers.len() / WIDTH;
    let mut order = [0_u16; 32];
    for (place, from) in order.iter_mut().enumerate() {
        *from = (place / 2 + place % 2 * 16) as u16;
    }
    let zeros = [0.0; WIDTH];
    let row = |inner: usize| if inner < n { &numbers[inner * WIDTH..][..WIDTH] } else { &zeros };
    // SAFETY: each row has 48 numbers; the caller vouches for the room.
    unsafe {
        let order = _mm512_loadu_si512(order.as_ptr().cast());
        let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
        let (size, mut most) = (_mm512_set1_epi16(0x7fff), _mm512_setzero_si512());
        for pair in 0..n.div_ceil(STEP) * STEP / 2 {
            let (first, second) = (row(2 * pair), row(2 * pair + 1));
            for tile in 0..3 {
                let mut one = _mm512_loadu_ps(first.as_ptr().add(16 * tile));
                let mut other = _mm512_loadu_ps(second.as_ptr().add(16 * tile));
                let to = to.add((pair / 16 * 3 + tile) * n_parts * TILE + pair % 16 * STEP);
                for part in 0..n_parts {
                    let rounded: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(other, one));
                    let paired = _mm512_permutexvar_epi16(order, rounded);
                    _mm512_storeu_si512(to.add(part * TILE).cast(), paired);
                    if part == 0 {
                        most = _mm512_max_epu16(most, _mm512_and_si512(paired, size));
                    }
                    one = _mm512_sub_ps(one, _mm512_castsi512_ps(_mm512_slli_epi32::<16>(paired)));
                    other = _mm512_sub_ps(other, _mm512_castsi512_ps(_mm512_and_si512(paired, upper)));
                }
            }
        }
        let mut lanes = [0_u16; 32];
        _mm512_storeu_si512(lanes.as_mut_ptr().cast(), most);
        lanes.into_iter().fold(0, |most, lane| most.max(u32::from(lane)))
    }
}

#[cfg(test)]
#[allow(clippy::print_stderr)] // a test that judges nothing says so
mod tests {
    use super::*;
    use crate::{Activation, Instructions, Onto, Packed, Precision};

    /// Numbers in −1 ..= 1 that look random, with all 24 bits.
    fn numbers(n: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    /// Whether there is AMX; otherwise says that nothing was judged.
    fn has_tiles() -> bool {
        let allowed = allowed();
        if let Err(reason) = allowed {
            eprintln!("not judged: {reason}");
        }
        allowed.is_ok()
    }

    fn product(precision: Precision, input: &[f32], weight: &[f32], d_in: usize) -> Vec<f32> {
        let (n, d_out) = (input.len() / d_in, weight.len() / d_in);
        let mut output = vec![f32::NAN; n * d_out]; // [n, d_out]
        let packed = Packed::new(weight, d_out, d_in);
        packed.multiply_at(precision, input, Finish::PLAIN, Threads::All, &mut output);
        output
    }

    /// The largest error of a product against f64, in units of what its terms' sizes add up to.
    fn error(found: &[f32], input: &[f32], weight: &[f32], d_in: usize) -> f64 {
        let d_out = weight.len() / d_in;
        let mut largest = 0.0_f64;
        for (x, found) in input.chunks_exact(d_in).zip(found.chunks_exact(d_out)) {
            for (w, found) in weight.chunks_exact(d_in).zip(found) {
                let terms = || x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w));
                let size: f64 = terms().map(f64::abs).sum();
                let error = (f64::from(*found) - terms().sum::<f64>()).abs();
                assert!(found.is_finite(), "{found}");
                // a row of zeros has no error
                largest = largest.max(if error == 0.0 { 0.0 } else { error / size });
            }
        }
        largest
    }

    const SHAPES: [(usize, usize, usize); 8] = [
        (1, 1, 1),
        (1, 70, 50),
        (16, 32, 48),
        (17, 33, 49),
        (20, 300, 100),
        (33, 257, 144),
        (400, 40, 53),
        (7, 3072, 30),
    ];

    #[test]
    fn six_products_are_as_exact_as_f32_sums_and_fewer_as_exact_as_their_bits() {
        if !has_tiles() {
            return;
        }
        for (n, d_in, d_out) in SHAPES {
            let (input, weight) = (numbers(n * d_in, 1), numbers(d_out * d_in, 2));
            let error = |precision| error(&product(precision, &input, &weight, d_in), &input, &weight, d_in);
            // rounding of a sum of n terms grows like √n; parts are a bit better than the bits they have
            let rounding = f64::from(f32::EPSILON) * (d_in as f64).sqrt().min(16.0);
            assert!(error(Precision::High) <= rounding.max(2.0_f64.powi(-22)), "{n} × {d_in} × {d_out}");
            assert!(
                error(Precision::High) <= 2.0 * error(Precision::Exact).max(2.0_f64.powi(-23)),
                "{n} × {d_in} × {d_out}"
            );
            assert!(error(Precision::Fast) <= 2.0_f64.powi(-15), "{n} × {d_in} × {d_out}");
            assert!(error(Precision::Fastest) <= 2.0_f64.powi(-7), "{n} × {d_in} × {d_out}");
        }
        let (input, weight) = (numbers(64 * 768, 3), numbers(96 * 768, 4));
        let error = |precision| error(&product(precision, &input, &weight, 768), &input, &weight, 768);
        assert!(error(Precision::Fastest) > 1e-5, "one part is more exact than bf16 can be");
        assert!(error(Precision::Fast) > error(Precision::High), "two parts are as exact as three");
    }

    #[test]
    fn bias_activation_and_residual_are_those_of_the_exact_product() {
        if !has_tiles() {
            return;
        }
        for (n, d_in, d_out) in SHAPES {
            let (input, weight, bias) = (numbers(n * d_in, 1), numbers(d_out * d_in, 2), numbers(d_out, 3));
            let packed = Packed::new(&weight, d_out, d_in);
            for bias in [None, Some(bias.as_slice())] {
                for (activation, onto) in [(Activation::Identity, Onto::Add), (Activation::Gelu, Onto::Replace)] {
                    let before = if onto == Onto::Add { numbers(n * d_out, 4) } else { vec![f32::NAN; n * d_out] };
                    let finish = Finish { bias, activation, onto };
                    let (mut wanted, mut found) = (before.clone(), before);
                    packed.multiply(&input, finish, Threads::One, &mut wanted);
                    packed.multiply_at(Precision::High, &input, finish, Threads::All, &mut found);
                    for (found, wanted) in found.iter().zip(&wanted) {
                        let tolerance = 2e-6 * ((d_in as f32).sqrt() + wanted.abs());
                        assert!((found - wanted).abs() <= tolerance, "{n} × {d_in} × {d_out}: {found}, not {wanted}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_rows_beside_it_nor_on_the_threads() {
        let (n, d_in, d_out) = (1700, 310, 131);
        let (mut input, weight) = (numbers(n * d_in, 1), numbers(d_out * d_in, 2));
        input[191 * d_in] = f32::INFINITY; // a row that cannot be split
        let packed = Packed::new(&weight, d_out, d_in);
        for precision in [Precision::High, Precision::Fast, Precision::Fastest] {
            let product = |rows: Range<usize>, threads: Threads| {
                let mut output = vec![0.0; rows.len() * d_out]; // [rows, d_out]
                let input = &input[rows.start * d_in..rows.end * d_in];
                packed.multiply_at(precision, input, Finish::PLAIN, threads, &mut output);
                output.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
            };
            let together = product(0..n, Threads::All);
            assert!(together == product(0..n, Threads::One), "{precision:?}: threads");
            for rows in [7..8, 190..192, 100..117, 0..400, 1500..1700] {
                let some = product(rows.clone(), Threads::All);
                assert!(some == together[rows.start * d_out..rows.end * d_out], "{precision:?}: rows {rows:?}");
            }
        }
    }

    #[test]
    fn numbers_that_cannot_be_split_give_what_f32_gives() {
        let d_in = 70;
        let weight = numbers(50 * d_in, 2);
        let of = |value: f32| {
            let mut row = numbers(d_in, 5);
            row[33] = value;
            row
        };
        let scaled = |rows: Vec<f32>, factor: f32| rows.into_iter().map(|x| x * factor).collect::<Vec<f32>>();
        let tiny = f32::from_bits(1);
        let mut rows: Vec<Vec<f32>> =
            [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN, 1e30, 1e13].map(of).to_vec();
        // the largest bf16 number is below the largest f32 number: rounding must not make it infinite
        rows.extend([f32::MAX / 128.0, 1e30, 1e-30, 1e-38, 1e-42].map(|factor| scaled(numbers(d_in, 6), factor)));
        rows.push(vec![tiny; d_in]);
        let bits = |output: Vec<f32>| output.into_iter().map(f32::to_bits).collect::<Vec<u32>>();
        for row in rows {
            let (wanted, found) =
                (product(Precision::Exact, &row, &weight, d_in), product(Precision::High, &row, &weight, d_in));
            assert!(bits(found) == bits(wanted), "{:?}", &row[30..36]);
        }
        // and so do weights, for all rows of their panel
        let input = numbers(20 * d_in, 7);
        for value in [f32::INFINITY, f32::NAN, f32::MAX, 1e13] {
            let mut weight = weight[..48 * d_in].to_vec();
            weight[100] = value;
            let product = |precision| bits(product(precision, &input, &weight, d_in));
            assert!(product(Precision::High) == product(Precision::Exact), "{value}");
        }
    }

    #[test]
    fn what_is_flushed_to_zero_is_nothing_beside_the_largest_terms() {
        if !has_tiles() {
            return;
        }
        let d_in = 96;
        // each row's largest number is 1; the others are of every size down to the smallest there is
        let spread = |seed: u64, n: usize| {
            let mut rows = numbers(n * d_in, seed);
            for (place, number) in rows.iter_mut().enumerate() {
                let exponent = -((place * 7 % 150) as i32);
                *number = if place % d_in == 0 { 1.0 } else { (f64::from(*number) * 2.0_f64.powi(exponent)) as f32 };
            }
            rows
        };
        let (input, weight) = (spread(1, 40), spread(2, 48));
        let found = product(Precision::High, &input, &weight, d_in);
        assert!(error(&found, &input, &weight, d_in) < 4.0 * f64::from(f32::EPSILON));
        // numbers near the ends of what may be split
        for factor in [LEAST * 4.0, MOST / 4.0] {
            let input: Vec<f32> = numbers(20 * d_in, 3).iter().map(|x| x * factor).collect();
            let weight: Vec<f32> = numbers(48 * d_in, 4).iter().map(|x| x * factor).collect();
            let found = product(Precision::High, &input, &weight, d_in);
            assert!(error(&found, &input, &weight, d_in) < 4.0 * f64::from(f32::EPSILON), "{factor}");
        }
        // zeros stay zeros, of a whole row too
        assert!(product(Precision::High, &vec![0.0; d_in], &weight, d_in).iter().all(|x| *x == 0.0));
    }

    #[test]
    fn sums_that_cancel_are_as_exact_as_f32_sums() {
        if !has_tiles() {
            return;
        }
        // x · w and its opposite, 1000 apart in size, and a small rest
        let d_in = 128;
        let mut input = numbers(30 * d_in, 8);
        let mut weight = numbers(48 * d_in, 9);
        for row in input.chunks_exact_mut(d_in).chain(weight.chunks_exact_mut(d_in)) {
            for pair in row.chunks_exact_mut(2) {
                pair[0] *= 1000.0;
                pair[1] = pair[0] * 1.000_001;
            }
        }
        for row in weight.chunks_exact_mut(d_in) {
            row.iter_mut().skip(1).step_by(2).for_each(|w| *w = -*w);
        }
        let error = |precision| error(&product(precision, &input, &weight, d_in), &input, &weight, d_in);
        let (high, exact) = (error(Precision::High), error(Precision::Exact));
        assert!(high < 4.0 * f64::from(f32::EPSILON), "{high}, exactly {exact}");
    }

    #[test]
    fn weights_that_are_packed_for_other_registers_are_multiplied_exactly() {
        let (input, weight) = (numbers(20 * 40, 1), numbers(30 * 40, 2));
        let packed = Packed::with(Instructions::Portable, &weight, 30, 40);
        let (mut wanted, mut found) = (vec![0.0; 600], vec![0.0; 600]);
        packed.multiply(&input, Finish::PLAIN, Threads::All, &mut wanted);
        packed.multiply_at(Precision::Fastest, &input, Finish::PLAIN, Threads::All, &mut found);
        assert_eq!(found, wanted);
    }
}
