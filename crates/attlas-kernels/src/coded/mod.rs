//! Dense layers on weights that stay in their file's type: each piece of work widens what it needs into the cache.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::activation::Activation;
use crate::code::{Code, STRETCH, STRIP};
use crate::dispatch::{self, Instructions, Task, block_rows};
use crate::matrix::{Onto, Threads};
use crate::packed::Finish;
use crate::panel::{add_bias, registers};
use crate::precision::Precision;
use crate::product::{Operands, Store, ahead};
use crate::scratch::{Carver, SCRATCH};
use crate::shared::Shared;
#[cfg(target_arch = "x86_64")]
use crate::tiled::{self, Layer};
#[cfg(target_arch = "x86_64")]
use crate::vector::Avx512;
use crate::vector::Vector;

/// The weights of a dense layer, shape `[d_out, d_in]`, as a file stores them: `y = x · Wᵀ`.
///
/// They take the bytes that they take in the file. A piece of work widens 48 rows of 128 numbers at a time into 24 kB that
/// stay in the cache, and multiplies from there with the same micro-kernel and in the same order as
/// [`Packed`](crate::Packed) does: both give the same numbers.
pub struct Coded {
    d_out: usize,
    d_in: usize,
    /// Strips of 16 rows.
    bytes: Cow<'static, [u8]>,
    /// How each strip is stored, and where it begins. Shape `[n_strips]`.
    strips: Vec<(Code, usize)>,
}

/// Rows that are stored in one way; a matrix may be several of these, one above the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// How.
    pub code: Code,
    /// How many; a multiple of 16 where another part follows.
    pub n_rows: usize,
}

/// Rows of the weights that are widened together: three strips, whole tiles of every instruction set.
const WIDTH: usize = 3 * STRIP;
/// Rows of the input for which a stretch of weights is widened once: enough to forget what that costs, and their sums
/// stay in the second-level cache.
const ROWS: usize = 384;

impl Coded {
    /// Whether these parts can be one matrix with rows of `d_in` numbers: whole strips, whole blocks.
    pub fn fits(parts: &[Part], d_in: usize) -> bool {
        let is_whole = |part: &Part| part.n_rows.is_multiple_of(STRIP);
        let is_cut = |part: &Part| !d_in.is_multiple_of(part.code.block());
        !parts.iter().rev().skip(1).any(|part| !is_whole(part)) && !parts.iter().any(is_cut)
    }

    /// Reads rows and lays them side by side. `read(part, rows, bytes)` fills `bytes` with some rows of a part, one after
    /// the other, each of [`Code::row_bytes`]; it is called for 16 rows at most, from all threads. `None` when a number is
    /// not finite.
    ///
    /// # Errors
    /// What `read` gives.
    ///
    /// # Panics
    /// When the parts do not [fit](Coded::fits).
    pub fn read<E: Send>(
        parts: &[Part],
        d_in: usize,
        read: impl Fn(usize, Range<usize>, &mut [u8]) -> Result<(), E> + Sync,
    ) -> Result<Option<Coded>, E> {
        assert!(Coded::fits(parts, d_in), "rows of {d_in} numbers do not fit {parts:?}");
        let (mut strips, mut places, mut n_bytes) = (Vec::new(), Vec::new(), 0);
        for (index, part) in parts.iter().enumerate() {
            for first in (0..part.n_rows).step_by(STRIP) {
                strips.push((part.code, n_bytes));
                places.push((index, first..(first + STRIP).min(part.n_rows)));
                n_bytes += STRIP * part.code.row_bytes(d_in);
            }
        }
        let mut bytes = vec![0; n_bytes];
        let mut rest = bytes.as_mut_slice();
        let mut slots = Vec::with_capacity(strips.len());
        for (code, _) in &strips {
            let (strip, later) = rest.split_at_mut(STRIP * code.row_bytes(d_in));
            slots.push(strip);
            rest = later;
        }
        let is_finite = AtomicBool::new(true);
        slots.into_par_iter().zip(&strips).zip(places).try_for_each_init(
            Vec::new,
            |stored, ((strip, (code, _)), (part, rows))| {
                let n = rows.len() * code.row_bytes(d_in);
                stored.clear();
                stored.resize(strip.len(), 0);
                read(part, rows, &mut stored[..n])?;
                if !code.lay(stored, strip) {
                    is_finite.store(false, Ordering::Relaxed);
                }
                Ok(())
            },
        )?;
        let d_out = parts.iter().map(|part| part.n_rows).sum();
        Ok(is_finite.into_inner().then_some(Coded { d_out, d_in, bytes: bytes.into(), strips }))
    }

    /// Takes rows that lie side by side already, somewhere in `bytes`, which stay where they are. Each part begins at its
    /// place: for every 16 rows what [`Coded::read`] makes of them.
    ///
    /// # Panics
    /// When the parts do not [fit](Coded::fits), or reach beyond `bytes`.
    pub fn laid(parts: &[(Part, usize)], d_in: usize, bytes: &'static [u8]) -> Coded {
        let kinds: Vec<Part> = parts.iter().map(|(part, _)| *part).collect();
        assert!(Coded::fits(&kinds, d_in), "rows of {d_in} numbers do not fit {kinds:?}");
        let mut strips = Vec::new();
        for (Part { code, n_rows }, start) in parts {
            let n_bytes = STRIP * code.row_bytes(d_in);
            strips.extend((0..n_rows.div_ceil(STRIP)).map(|index| (*code, start + index * n_bytes)));
            assert!(start + n_rows.div_ceil(STRIP) * n_bytes <= bytes.len(), "rows reach beyond {} bytes", bytes.len());
        }
        Coded { d_out: kinds.iter().map(|part| part.n_rows).sum(), d_in, bytes: bytes.into(), strips }
    }

    /// Width of the output.
    pub fn d_out(&self) -> usize {
        self.d_out
    }

    /// Width of the input.
    pub fn d_in(&self) -> usize {
        self.d_in
    }

    /// How many bytes the weights take in memory.
    pub fn bytes(&self) -> usize {
        self.strips.iter().map(|(code, _)| STRIP * code.row_bytes(self.d_in)).sum()
    }

    /// Widens one row. Shape of `row`: `[d_in]`.
    ///
    /// # Panics
    /// When there is no such row, or `row` has another length.
    pub fn row(&self, index: usize, row: &mut [f32]) {
        assert!(index < self.d_out && row.len() == self.d_in, "row {index} of {} × {}", self.d_out, self.d_in);
        self.widened(index / STRIP, |columns, strip| {
            let lane = strip.iter().skip(index % STRIP).step_by(STRIP);
            row[columns].iter_mut().zip(lane).for_each(|(slot, number)| *slot = *number);
        });
    }

    /// Widens all rows. Shape of `rows`: `[d_out, d_in]`.
    ///
    /// # Panics
    /// When `rows` has another length.
    pub fn rows(&self, rows: &mut [f32]) {
        assert_eq!(rows.len(), self.d_out * self.d_in, "{} × {}", self.d_out, self.d_in);
        rows.par_chunks_mut((STRIP * self.d_in).max(1)).enumerate().for_each(|(index, rows)| {
            self.widened(index, |columns, strip| {
                for (lane, row) in rows.chunks_exact_mut(self.d_in).enumerate() {
                    let numbers = strip.iter().skip(lane).step_by(STRIP);
                    row[columns.clone()].iter_mut().zip(numbers).for_each(|(slot, number)| *slot = *number);
                }
            });
        });
    }

    /// Shows a strip in stretches of columns, widened. Shape `[columns.len(), STRIP]`.
    fn widened(&self, strip: usize, mut show: impl FnMut(Range<usize>, &[f32])) {
        let mut numbers = [0.0; STRETCH * STRIP];
        for start in (0..self.d_in).step_by(STRETCH) {
            let columns = start..(start + STRETCH).min(self.d_in);
            let of_columns = &mut numbers[..columns.len() * STRIP];
            let (code, bytes) = self.strip(strip);
            dispatch::run(Instructions::best(), Widen { code, strip: bytes, columns: columns.clone(), of_columns });
            show(columns, of_columns);
        }
    }

    fn strip(&self, index: usize) -> (Code, &[u8]) {
        let (code, start) = self.strips[index];
        (code, &self.bytes[start..][..STRIP * code.row_bytes(self.d_in)])
    }

    /// `output = finish(input · Wᵀ)`. Shapes `[n, d_in]` and `[n, d_out]`.
    ///
    /// A row of the output does not depend on the other rows of the input, nor any number on the threads.
    ///
    /// # Panics
    /// When a slice has another length than these shapes say.
    pub fn multiply(&self, input: &[f32], finish: Finish<'_>, threads: Threads, output: &mut [f32]) {
        self.multiply_with(Instructions::best(), input, finish, threads, output);
    }

    /// [`multiply`](Coded::multiply) with chosen instructions; with plain Rust where the processor lacks them.
    ///
    /// # Panics
    /// As [`multiply`](Coded::multiply).
    pub fn multiply_with(
        &self,
        instructions: Instructions,
        input: &[f32],
        finish: Finish<'_>,
        threads: Threads,
        output: &mut [f32],
    ) {
        let Coded { d_out, d_in, .. } = *self;
        let n = finish.n_rows([d_in, d_out], input, output);
        let n_panels = d_out.div_ceil(WIDTH);
        let n_pieces = n.div_ceil(ROWS) * n_panels;
        let output = Shared::new(output);
        let run = |piece: usize| {
            let (block, panel) = (piece / n_panels, piece % n_panels);
            let rows = block * ROWS..((block + 1) * ROWS).min(n);
            dispatch::run(instructions, Piece { coded: self, panel, rows, input, finish, output: &output });
        };
        threads.each(n.saturating_mul(d_in).saturating_mul(d_out), n_pieces, run);
    }

    /// [`multiply`](Coded::multiply) with chosen precision; exactly where that cannot be had, or numbers do not allow it
    /// ([`Precision`] says which).
    ///
    /// # Panics
    /// As [`multiply`](Coded::multiply).
    pub fn multiply_at(
        &self,
        precision: Precision,
        input: &[f32],
        finish: Finish<'_>,
        threads: Threads,
        output: &mut [f32],
    ) {
        #[cfg(target_arch = "x86_64")]
        {
            let n_parts = precision.or_exact().n_parts();
            if n_parts > 0 {
                return tiled::multiply(self, n_parts, Layer { input, finish }, threads, output);
            }
        }
        let _ = precision;
        self.multiply(input, finish, threads, output);
    }
}

#[cfg(target_arch = "x86_64")]
impl tiled::Panels for Coded {
    fn d_out(&self) -> usize {
        self.d_out
    }

    fn d_in(&self) -> usize {
        self.d_in
    }

    fn exactly(&self, panel: usize, rows: Range<usize>, layer: Layer<'_>, output: &Shared<'_>) {
        let Layer { input, finish } = layer;
        dispatch::run(Instructions::Avx512, Piece { coded: self, panel, rows, input, finish, output });
    }

    #[inline(always)]
    unsafe fn stretch<'a>(&'a self, panel: usize, columns: Range<usize>, space: &'a mut [f32]) -> &'a [f32] {
        let n_columns = WIDTH.min(self.d_out - panel * WIDTH);
        let weights = &mut space[..columns.len() * WIDTH];
        if n_columns < WIDTH {
            weights.fill(0.0);
        }
        for first in (0..n_columns).step_by(STRIP) {
            let (code, strip) = self.strip(panel * WIDTH / STRIP + first / STRIP);
            for start in columns.clone().step_by(STRETCH) {
                let (place, end) = ((start - columns.start) * WIDTH + first, (start + STRETCH).min(columns.end));
                // SAFETY: the caller vouches for the instructions.
                unsafe { code.widen::<Avx512>(strip, start..end, &mut weights[place..], WIDTH) }
            }
        }
        weights
    }
}

impl fmt::Debug for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.strips.first().map(|(code, _)| code);
        write!(f, "Coded[{}, {}] in {code:?}", self.d_out, self.d_in)
    }
}

/// Some columns of a strip, widened. Shape `[columns.len(), STRIP]`.
struct Widen<'a> {
    code: Code,
    strip: &'a [u8],
    columns: Range<usize>,
    of_columns: &'a mut [f32],
}

impl Task for Widen<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller vouches for the instructions.
        unsafe { self.code.widen::<V>(self.strip, self.columns, self.of_columns, STRIP) }
    }
}

/// 48 rows of the weights against some rows of the input.
struct Piece<'a> {
    coded: &'a Coded,
    panel: usize,
    rows: Range<usize>,
    /// Shape `[n, d_in]`.
    input: &'a [f32],
    finish: Finish<'a>,
    /// Shape `[n, d_out]`.
    output: &'a Shared<'a>,
}

impl Task for Piece<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let mut alone = [0.0; WIDTH];
        // SAFETY: the caller vouches for the instructions.
        let is_done = self.rows.len() == 1 && unsafe { self.weigh::<V>(&mut alone) };
        let Piece { coded, panel, rows, input, finish, output } = self;
        let Coded { d_out, d_in, .. } = *coded;
        let (n, n_columns) = (rows.len(), WIDTH.min(d_out - panel * WIDTH));
        let of_output = panel * WIDTH..panel * WIDTH + n_columns;
        if is_done {
            // SAFETY: as below.
            return unsafe { finish_sums::<V>(&mut alone, finish, of_output, rows, d_out, output) };
        }
        let mut scratch = SCRATCH.take();
        let mut carver = Carver::new(&mut scratch, (STRETCH + n) * WIDTH);
        let (weights, sums) = (carver.take(STRETCH * WIDTH), carver.take(n * WIDTH)); // [STRETCH, WIDTH], [n, WIDTH]
        let input = &input[rows.start * d_in..rows.end * d_in];
        // a product of no numbers is 0: one pass over nothing writes it
        for start in (0..d_in.max(1)).step_by(STRETCH) {
            let columns = start..(start + STRETCH).min(d_in);
            for first in (0..n_columns).step_by(STRIP) {
                let (code, strip) = coded.strip(panel * WIDTH / STRIP + first / STRIP);
                // SAFETY: the caller vouches for the instructions.
                unsafe { code.widen::<V>(strip, columns.clone(), &mut weights[first..], WIDTH) }
            }
            for first in (0..n_columns).step_by(block_rows::<V>()) {
                let operands = Operands {
                    left: input.as_ptr().wrapping_add(start),
                    row_stride: d_in,
                    inner_stride: 1,
                    right: weights.as_ptr().wrapping_add(first),
                    right_stride: WIDTH,
                    n_inner: columns.len(),
                    out: sums.as_mut_ptr().wrapping_add(first),
                    out_stride: WIDTH,
                    store: if start == 0 { Store::Replace } else { Store::Continue },
                    ahead: std::ptr::null(),
                };
                let n_registers = block_rows::<V>().min(n_columns - first).div_ceil(V::LANES);
                // SAFETY: the caller vouches for the instructions; the rows of the input were cut out, weights and sums hold
                // 48 numbers a row, and tiles of every kind of register divide 48.
                unsafe { registers::<V, { ahead::NOTHING }>(operands, n, n_registers) }
            }
        }
        // SAFETY: the caller vouches for the instructions, and these columns of the rows are this piece's alone.
        unsafe { finish_sums::<V>(sums, finish, of_output, rows, d_out, output) };
        SCRATCH.set(scratch);
    }
}

impl Piece<'_> {
    /// The sums of the first row, where the strips can be read without widening them into the cache: for one row that would
    /// take longer than the product. Gives whether they can.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    unsafe fn weigh<V: Vector>(&self, sums: &mut [f32; WIDTH]) -> bool {
        let Coded { d_out, d_in, .. } = *self.coded;
        let n_strips = (WIDTH / STRIP).min((d_out - self.panel * WIDTH).div_ceil(STRIP));
        let strip = |index: usize| self.coded.strip(self.panel * WIDTH / STRIP + index);
        let (code, first) = strip(0);
        if !code.is_plain() || (1..n_strips).any(|index| strip(index).0 != code) {
            return false;
        }
        let input = &self.input[self.rows.start * d_in..][..d_in];
        // SAFETY: the caller vouches for the instructions.
        unsafe {
            match n_strips {
                1 => code.weigh::<V, 1>([first], input, sums),
                2 => code.weigh::<V, 2>([first, strip(1).1], input, sums),
                _ => code.weigh::<V, 3>([first, strip(1).1, strip(2).1], input, sums),
            }
        }
        true
    }
}

/// Adds bias, applies the activation, and writes some columns of some rows of the output. Shape of `sums`: `[rows, WIDTH]`.
///
/// # Safety
/// The processor has the instructions of `V`, and nobody else writes these numbers of `output`, of shape `[n, d_out]`.
#[inline(always)]
pub(crate) unsafe fn finish_sums<V: Vector>(
    sums: &mut [f32],
    finish: Finish<'_>,
    columns: Range<usize>,
    rows: Range<usize>,
    d_out: usize,
    output: &Shared<'_>,
) {
    let mut bias = [0.0; WIDTH];
    let n = rows.len();
    // SAFETY: the caller vouches for the instructions; `sums` and `bias` are whole registers wide.
    unsafe {
        if let Some(given) = finish.bias {
            bias[..columns.len()].copy_from_slice(&given[columns.clone()]);
            add_bias::<V>(sums.as_mut_ptr(), n, WIDTH, &bias);
        }
        if finish.activation != Activation::Identity {
            finish.activation.apply_to_rows::<V>(sums.as_mut_ptr(), n, WIDTH, WIDTH);
        }
    }
    for (row, sums) in rows.zip(sums.chunks_exact(WIDTH)) {
        // SAFETY: the caller vouches for these numbers of the row.
        let to = unsafe { output.part(row * d_out + columns.start..row * d_out + columns.end) };
        match finish.onto {
            Onto::Replace => to.copy_from_slice(&sums[..to.len()]),
            Onto::Add => to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum),
        }
    }
}
