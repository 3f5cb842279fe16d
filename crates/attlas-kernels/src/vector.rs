//! A register of `f32` lanes, the same for every instruction set, so that the kernel is written once.

mod plain;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::dispatch::Task;
#[cfg(debug_assertions)]
pub use plain::Wide;
pub use plain::{Lanes, Portable};
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

/// A register of [`LANES`](Vector::LANES) numbers.
///
/// Whoever makes one (with [`splat`](Vector::splat) or [`load`](Vector::load)) vouches that the processor has the
/// instructions; a value is the proof, so arithmetic on values is safe. Every method is inlined into a caller
/// that was compiled for those instructions (see `dispatch`).
///
/// # Safety
/// The methods read and write as many numbers as [`LANES`](Vector::LANES) says, and the sizes are those that room is made
/// for: `LANES` divides [`MAX_LANES`], a tile is at most [`MAX_ROWS`] high and [`MAX_WIDTH`] lanes wide, and whole tiles
/// fill [`MAX_WIDTH`].
pub unsafe trait Vector: Copy {
    /// Numbers in a register.
    const LANES: usize;
    /// Rows of the micro-kernel's tile, 6 or 8: with the columns, as many sums as the registers hold beside operands.
    const TILE_ROWS: usize;
    /// Columns of the micro-kernel's tile, in registers, at most 3: the width of a block of queries.
    const TILE_COLUMNS: usize;
    /// Tiles that lie side by side in a panel of packed weights, so that a page of memory holds more of its rows.
    const PANEL_TILES: usize;

    /// The same number in every lane.
    ///
    /// # Safety
    /// The processor has this type's instructions.
    unsafe fn splat(value: f32) -> Self;

    /// [`LANES`](Vector::LANES) numbers from memory.
    ///
    /// # Safety
    /// The processor has this type's instructions, and that many numbers may be read at `from`.
    unsafe fn load(from: *const f32) -> Self;

    /// Does `task` in a function of its own, compiled for this type's instructions; everything else is inlined.
    ///
    /// # Safety
    /// The processor has this type's instructions.
    unsafe fn call<T: Task>(task: T) -> T::Output;

    /// Writes the lanes to memory.
    ///
    /// # Safety
    /// [`LANES`](Vector::LANES) numbers may be written at `to`.
    unsafe fn store(self, to: *mut f32);

    /// `self + other`.
    fn add(self, other: Self) -> Self;
    /// `self − other`.
    fn sub(self, other: Self) -> Self;
    /// `self · other`.
    fn mul(self, other: Self) -> Self;
    /// `self / other`.
    fn div(self, other: Self) -> Self;
    /// `self · factor + addend`.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// The larger one; `other` where either is NaN.
    fn max(self, other: Self) -> Self;
    /// `yes` where `self < other`, `no` elsewhere (also where either is NaN).
    fn where_less(self, other: Self, yes: Self, no: Self) -> Self;
    /// Whether `self < other` in any lane.
    fn any_less(self, other: Self) -> bool;
    /// 2 to the power of a whole number that [`ROUND`] was added to: the low bits of each lane, taken for an exponent.
    fn as_power(self) -> Self;

    /// [`LANES`](Vector::LANES) bytes as whole numbers of 32 bits, for [`left`](Vector::left) and those after it.
    ///
    /// # Safety
    /// The processor has this type's instructions, and that many bytes may be read at `from`.
    unsafe fn load_bytes(from: *const u8) -> Self;

    /// The same for signed bytes.
    ///
    /// # Safety
    /// As [`load_bytes`](Vector::load_bytes).
    unsafe fn load_signed_bytes(from: *const u8) -> Self;

    /// The same for little-endian numbers of 16 bits.
    ///
    /// # Safety
    /// The processor has this type's instructions, and twice as many bytes may be read at `from`.
    unsafe fn load_halves(from: *const u8) -> Self;

    /// The bits of each lane, moved `n < 32` places up.
    fn left(self, n: u32) -> Self;
    /// The bits of each lane, moved `n < 32` places down.
    fn right(self, n: u32) -> Self;
    /// Those bits of each lane that `bits` has.
    fn and(self, bits: u32) -> Self;
    /// The bits that either has.
    fn or(self, other: Self) -> Self;
    /// The number that each lane's bits are as a signed whole number.
    fn number(self) -> Self;
    /// The entry of `table` that the lowest four bits of each lane name.
    fn entry(self, table: &[f32; 16]) -> Self;

    /// [`LANES`](Vector::LANES) finite numbers of binary16, exactly.
    ///
    /// # Safety
    /// As [`load_halves`](Vector::load_halves).
    #[inline(always)]
    unsafe fn load_f16(from: *const u8) -> Self {
        // SAFETY: the caller vouches for the instructions and the bytes.
        let bits = unsafe { Self::load_halves(from) };
        bits.and(0x7fff).small::<5, 10>().or(bits.and(0x8000).left(16))
    }

    /// [`LANES`](Vector::LANES) finite numbers of E4M3, exactly.
    ///
    /// # Safety
    /// As [`load_bytes`](Vector::load_bytes).
    #[inline(always)]
    unsafe fn load_e4m3(from: *const u8) -> Self {
        // SAFETY: the caller vouches for the instructions and the bytes.
        let bits = unsafe { Self::load_bytes(from) };
        bits.and(0x7f).small::<4, 3>().or(bits.and(0x80).left(24))
    }

    /// The number that the lowest four bits of each lane are.
    #[inline(always)]
    fn four(self) -> Self {
        self.and(15).number()
    }

    /// The number of the bits of a small floating-point format without its sign: `E` bits of exponent, then `M` of mantissa.
    ///
    /// No step meets a subnormal number, on which processors take a hundred times as long.
    #[inline(always)]
    fn small<const E: u32, const M: u32>(self) -> Self {
        let bias = (1 << (E - 1)) - 1;
        // the exponent's upper bits set: a power of two from what it means, which is a multiplication away
        let upper = 0xff >> E << E & 0x7f;
        // SAFETY: `self` proves the instructions.
        unsafe {
            let power = |exponent: u32| Self::splat(f32::from_bits(exponent << 23));
            let normal = self.left(23 - M).or(power(upper)).mul(power(127 + 127 - bias - upper));
            let whole = self.number();
            whole.where_less(Self::splat((1 << M) as f32), whole.mul(power(127 + 1 - bias - M)), normal)
        }
    }

    /// Asks for the line of the cache at `at` to be brought nearer; nothing is read, so it may be any address.
    #[inline(always)]
    fn prefetch(_at: *const f32) {}

    /// Turns a square of eight by eight numbers: `to[i][j] = from[j][i]`.
    ///
    /// # Safety
    /// The processor has this type's instructions; eight rows of eight numbers, at the strides, may be read and written.
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for i in 0..SQUARE {
            for j in 0..SQUARE {
                // SAFETY: the caller vouches for the numbers.
                unsafe { *to.add(i * to_stride + j) = *from.add(j * from_stride + i) }
            }
        }
    }

    /// 2 to the power of each lane: relative error below 1.2e-7, exactly 0 for lanes below −126.5, NaN stays NaN.
    /// Lanes must stay below 127.
    #[inline(always)]
    fn exp2(self) -> Self {
        // SAFETY: `self` proves the instructions.
        let (floor, round) = unsafe { (Self::splat(EXP2_FLOOR), Self::splat(ROUND)) };
        let x = floor.max(self);
        let shifted = x.add(round);
        let fraction = x.sub(shifted.sub(round));
        polynomial(fraction, EXP2).mul(shifted.as_power())
    }
}

/// Lanes of the widest register.
pub const MAX_LANES: usize = 16;
/// Lanes across the widest tile: three of these registers.
pub const MAX_WIDTH: usize = 3 * MAX_LANES;
/// Rows of the highest tile.
pub const MAX_ROWS: usize = 8;

/// Numbers along a side of what [`Vector::transpose`] turns.
pub const SQUARE: usize = 8;

/// Coefficients of `2^f` for |f| ≤ ½, a minimax fit: relative error 1.9e-9 before rounding.
const EXP2: [f32; 7] =
    [1.0, std::f32::consts::LN_2, 0.240_226_46, 0.055_503_286, 0.009_618_489, 0.001_339_993, 0.000_153_458_11];

/// Added to a number, it leaves the nearest integer plus 127 (an exponent's bias) in the low bits of the sum.
pub const ROUND: f32 = 12_582_912.0 + 127.0;

/// Lanes below this are taken for it; its power is 0 here.
const EXP2_FLOOR: f32 = -127.0;

/// `Σ c_i · x^i`, by Horner's rule.
#[inline(always)]
pub fn polynomial<V: Vector, const N: usize>(x: V, coefficients: [f32; N]) -> V {
    // SAFETY: `x` proves the instructions.
    unsafe {
        let mut sum = V::splat(coefficients[N - 1]);
        for coefficient in coefficients[..N - 1].iter().rev() {
            sum = sum.mul_add(x, V::splat(*coefficient));
        }
        sum
    }
}
