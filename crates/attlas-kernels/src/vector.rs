//! A register of `f32` lanes, the same for every instruction set, so that the kernel is written once.

use crate::dispatch::Task;

/// A register of [`LANES`](Vector::LANES) numbers.
///
/// Whoever makes one (with [`splat`](Vector::splat) or [`load`](Vector::load)) vouches that the processor has the
/// instructions; a value is the proof, so arithmetic on values is safe. Every method is inlined into a caller
/// that was compiled for those instructions (see `dispatch`).
pub trait Vector: Copy {
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

    /// 2 to the power of each lane: relative error below 1.2e-7, exactly 0 below 2⁻¹²⁷, NaN stays NaN.
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

/// Numbers along a side of what [`Vector::transpose`] turns.
pub const SQUARE: usize = 8;

/// Coefficients of `2^f` for |f| ≤ ½, a minimax fit: relative error 1.9e-9 before rounding.
const EXP2: [f32; 7] =
    [1.0, std::f32::consts::LN_2, 0.240_226_46, 0.055_503_286, 0.009_618_489, 0.001_339_993, 0.000_153_458_11];

/// Added to a number, it leaves the nearest integer plus 127 (an exponent's bias) in the low bits of the sum.
pub const ROUND: f32 = 12_582_912.0 + 127.0;

/// Below this, 2^x is 0 here.
const EXP2_FLOOR: f32 = -127.0;

/// `N` lanes in plain Rust, with a tile of `ROWS` × `COLUMNS` registers.
#[derive(Clone, Copy)]
pub struct Lanes<const N: usize, const ROWS: usize, const COLUMNS: usize>([f32; N]);

/// Plain Rust that compilers turn into SSE2 or WebAssembly SIMD.
#[cfg(not(target_arch = "aarch64"))]
pub type Portable = Lanes<4, 6, 2>;
/// Plain Rust that compilers turn into NEON, which has 32 registers.
#[cfg(target_arch = "aarch64")]
pub type Portable = Lanes<4, 8, 3>;
/// The shape of [`Avx512`] in plain Rust, to test what depends on it on any processor.
#[cfg(debug_assertions)]
pub type Wide = Lanes<16, 8, 3>;

impl<const N: usize, const ROWS: usize, const COLUMNS: usize> Lanes<N, ROWS, COLUMNS> {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Lanes(std::array::from_fn(|lane| f(self.0[lane], other.0[lane])))
    }
}

impl<const N: usize, const ROWS: usize, const COLUMNS: usize> Vector for Lanes<N, ROWS, COLUMNS> {
    const LANES: usize = N;
    const TILE_ROWS: usize = ROWS;
    const TILE_COLUMNS: usize = COLUMNS;
    const PANEL_TILES: usize = 48 / (N * COLUMNS);

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Lanes([value; N])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for `N` readable numbers.
        Lanes(unsafe { from.cast::<[f32; N]>().read() })
    }

    #[inline(never)]
    unsafe fn call<T: Task>(task: T) -> T::Output {
        // SAFETY: the caller vouches for the instructions.
        unsafe { task.run::<Self>() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for `N` writable numbers.
        unsafe { to.cast::<[f32; N]>().write(self.0) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // where the processor does not fuse, `f32::mul_add` would call a library function per number
        let fused = cfg!(target_arch = "aarch64");
        Lanes(std::array::from_fn(|lane| {
            let (a, b, c) = (self.0[lane], factor.0[lane], addend.0[lane]);
            if fused { a.mul_add(b, c) } else { a * b + c }
        }))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn where_less(self, other: Self, yes: Self, no: Self) -> Self {
        Lanes(std::array::from_fn(|lane| if self.0[lane] < other.0[lane] { yes.0[lane] } else { no.0[lane] }))
    }

    #[inline(always)]
    fn any_less(self, other: Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a < b)
    }

    #[inline(always)]
    fn as_power(self) -> Self {
        self.left(23)
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> Self {
        // SAFETY: the caller vouches for `N` bytes.
        Lanes(unsafe { from.cast::<[u8; N]>().read() }.map(|byte| f32::from_bits(u32::from(byte))))
    }

    #[inline(always)]
    unsafe fn load_signed_bytes(from: *const u8) -> Self {
        // SAFETY: the caller vouches for `N` bytes.
        Lanes(unsafe { from.cast::<[i8; N]>().read() }.map(|byte| f32::from_bits(i32::from(byte).cast_unsigned())))
    }

    #[inline(always)]
    unsafe fn load_halves(from: *const u8) -> Self {
        // SAFETY: the caller vouches for `N` numbers of two bytes.
        let halves = unsafe { from.cast::<[[u8; 2]; N]>().read() };
        Lanes(halves.map(|half| f32::from_bits(u32::from(u16::from_le_bytes(half)))))
    }

    #[inline(always)]
    fn left(self, n: u32) -> Self {
        Lanes(self.0.map(|lane| f32::from_bits(lane.to_bits() << n)))
    }

    #[inline(always)]
    fn right(self, n: u32) -> Self {
        Lanes(self.0.map(|lane| f32::from_bits(lane.to_bits() >> n)))
    }

    #[inline(always)]
    fn and(self, bits: u32) -> Self {
        Lanes(self.0.map(|lane| f32::from_bits(lane.to_bits() & bits)))
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        self.zip(other, |a, b| f32::from_bits(a.to_bits() | b.to_bits()))
    }

    #[inline(always)]
    fn number(self) -> Self {
        Lanes(self.0.map(|lane| lane.to_bits().cast_signed() as f32))
    }

    #[inline(always)]
    fn entry(self, table: &[f32; 16]) -> Self {
        Lanes(self.0.map(|lane| table[(lane.to_bits() & 15) as usize]))
    }
}

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

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Vector;
    use crate::dispatch::{Task, run_avx2, run_avx512};

    /// Eight lanes of AVX2 with fused multiply–add.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256);

    /// Sixteen lanes of AVX-512F.
    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    /// The methods that differ between the two only in the names of the intrinsics.
    macro_rules! arithmetic {
        ($set1:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $fma:ident, $max:ident) => {
            #[inline(always)]
            unsafe fn splat(value: f32) -> Self {
                // SAFETY: the caller vouches for the instructions.
                Self(unsafe { $set1(value) })
            }

            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: the caller vouches for the instructions and for the memory.
                Self(unsafe { $load(from) })
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: a value proves the instructions; the caller vouches for the memory.
                unsafe { $store(to, self.0) }
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                // SAFETY: a value proves the instructions.
                Self(unsafe { $add(self.0, other.0) })
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                // SAFETY: a value proves the instructions.
                Self(unsafe { $sub(self.0, other.0) })
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                // SAFETY: a value proves the instructions.
                Self(unsafe { $mul(self.0, other.0) })
            }

            #[inline(always)]
            fn div(self, other: Self) -> Self {
                // SAFETY: a value proves the instructions.
                Self(unsafe { $div(self.0, other.0) })
            }

            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                // SAFETY: a value proves the instructions.
                Self(unsafe { $fma(self.0, factor.0, addend.0) })
            }

            #[inline(always)]
            fn max(self, other: Self) -> Self {
                // SAFETY: a value proves the instructions.
                Self(unsafe { $max(self.0, other.0) })
            }
        };
    }

    /// The methods on bits that differ between the two only in the names of the intrinsics.
    macro_rules! bits {
        ($ps:ident, $epi32:ident, $load_bytes:ident, $load_halves:ident, $from_u8:ident, $from_i8:ident, $from_u16:ident,
         $set1:ident, $sll:ident, $srl:ident, $and:ident, $or:ident, $number:ident) => {
            #[inline(always)]
            unsafe fn load_bytes(from: *const u8) -> Self {
                // SAFETY: the caller vouches for the instructions and for the memory.
                Self(unsafe { $ps($from_u8($load_bytes(from.cast()))) })
            }

            #[inline(always)]
            unsafe fn load_signed_bytes(from: *const u8) -> Self {
                // SAFETY: the caller vouches for the instructions and for the memory.
                Self(unsafe { $ps($from_i8($load_bytes(from.cast()))) })
            }

            #[inline(always)]
            unsafe fn load_halves(from: *const u8) -> Self {
                // SAFETY: the caller vouches for the instructions and for the memory.
                Self(unsafe { $ps($from_u16($load_halves(from.cast()))) })
            }

            #[inline(always)]
            fn left(self, n: u32) -> Self {
                // SAFETY: a value proves the instructions.
                Self(unsafe { $ps($sll($epi32(self.0), $set1(n.cast_signed()))) })
            }

            #[inline(always)]
            fn right(self, n: u32) -> Self {
                // SAFETY: a value proves the instructions.
                Self(unsafe { $ps($srl($epi32(self.0), $set1(n.cast_signed()))) })
            }

            #[inline(always)]
            fn and(self, bits: u32) -> Self {
                // SAFETY: a value proves the instructions.
                Self(unsafe { $ps($and($epi32(self.0), $set1(bits.cast_signed()))) })
            }

            #[inline(always)]
            fn or(self, other: Self) -> Self {
                // SAFETY: a value proves the instructions.
                Self(unsafe { $ps($or($epi32(self.0), $epi32(other.0))) })
            }

            #[inline(always)]
            fn number(self) -> Self {
                // SAFETY: a value proves the instructions.
                Self(unsafe { $number($epi32(self.0)) })
            }
        };
    }

    /// A square of eight by eight numbers, turned in three steps: neighbours, pairs, halves.
    ///
    /// # Safety
    /// The processor has AVX2; eight rows of eight numbers may be read and written.
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: the caller vouches for the instructions and the numbers.
        unsafe {
            let row = |j: usize| _mm256_loadu_ps(from.wrapping_add(j * from_stride));
            let rows: [__m256; 8] = [row(0), row(1), row(2), row(3), row(4), row(5), row(6), row(7)];
            let mut fours = [_mm256_setzero_ps(); 8];
            for half in 0..2 {
                let [a, b, c, d] = [rows[4 * half], rows[4 * half + 1], rows[4 * half + 2], rows[4 * half + 3]];
                let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                let (next_low, next_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
                fours[4 * half] = _mm256_shuffle_ps::<0x44>(low, next_low);
                fours[4 * half + 1] = _mm256_shuffle_ps::<0xee>(low, next_low);
                fours[4 * half + 2] = _mm256_shuffle_ps::<0x44>(high, next_high);
                fours[4 * half + 3] = _mm256_shuffle_ps::<0xee>(high, next_high);
            }
            for i in 0..4 {
                let (first, second) = (fours[i], fours[i + 4]);
                _mm256_storeu_ps(to.add(i * to_stride), _mm256_permute2f128_ps::<0x20>(first, second));
                _mm256_storeu_ps(to.add((i + 4) * to_stride), _mm256_permute2f128_ps::<0x31>(first, second));
            }
        }
    }

    impl Vector for Avx2 {
        const LANES: usize = 8;
        const TILE_ROWS: usize = 6; // 6 × 2 sums + 2 + 1 of 16 registers; 4 × 3 + 3 + 1 would spill
        const TILE_COLUMNS: usize = 2;
        const PANEL_TILES: usize = 2;

        arithmetic!(
            _mm256_set1_ps,
            _mm256_loadu_ps,
            _mm256_storeu_ps,
            _mm256_add_ps,
            _mm256_sub_ps,
            _mm256_mul_ps,
            _mm256_div_ps,
            _mm256_fmadd_ps,
            _mm256_max_ps
        );

        bits!(
            _mm256_castsi256_ps,
            _mm256_castps_si256,
            _mm_loadl_epi64,
            _mm_loadu_si128,
            _mm256_cvtepu8_epi32,
            _mm256_cvtepi8_epi32,
            _mm256_cvtepu16_epi32,
            _mm256_set1_epi32,
            _mm256_sllv_epi32,
            _mm256_srlv_epi32,
            _mm256_and_si256,
            _mm256_or_si256,
            _mm256_cvtepi32_ps
        );

        #[inline(always)]
        fn entry(self, table: &[f32; 16]) -> Avx2 {
            // SAFETY: a value proves the instructions; the table has two registers of eight.
            unsafe {
                let (low, high) = (_mm256_loadu_ps(table.as_ptr()), _mm256_loadu_ps(table.as_ptr().add(8)));
                let index = _mm256_castps_si256(self.0);
                let (low, high) = (_mm256_permutevar8x32_ps(low, index), _mm256_permutevar8x32_ps(high, index));
                Avx2(_mm256_blendv_ps(low, high, self.left(28).0))
            }
        }

        #[inline(always)]
        unsafe fn call<T: Task>(task: T) -> T::Output {
            // SAFETY: the caller vouches for the instructions.
            unsafe { run_avx2(task) }
        }

        #[inline(always)]
        fn where_less(self, other: Avx2, yes: Avx2, no: Avx2) -> Avx2 {
            // SAFETY: a value proves the instructions.
            Avx2(unsafe { _mm256_blendv_ps(no.0, yes.0, _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, other.0)) })
        }

        #[inline(always)]
        fn any_less(self, other: Avx2) -> bool {
            // SAFETY: a value proves the instructions.
            unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(self.0, other.0)) != 0 }
        }

        #[inline(always)]
        unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
            // SAFETY: the caller vouches for the instructions, which include AVX2, and for the numbers.
            unsafe { transpose(from, from_stride, to, to_stride) }
        }

        #[inline(always)]
        fn as_power(self) -> Avx2 {
            // SAFETY: a value proves the instructions.
            Avx2(unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(self.0))) })
        }

        #[inline(always)]
        fn prefetch(at: *const f32) {
            // SAFETY: it reads nothing, and every processor of this architecture has it.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
        }
    }

    impl Vector for Avx512 {
        const LANES: usize = 16;
        const TILE_ROWS: usize = 8; // 8 × 3 sums + 3 + 1 of 32 registers
        const TILE_COLUMNS: usize = 3;
        const PANEL_TILES: usize = 1;

        arithmetic!(
            _mm512_set1_ps,
            _mm512_loadu_ps,
            _mm512_storeu_ps,
            _mm512_add_ps,
            _mm512_sub_ps,
            _mm512_mul_ps,
            _mm512_div_ps,
            _mm512_fmadd_ps,
            _mm512_max_ps
        );

        bits!(
            _mm512_castsi512_ps,
            _mm512_castps_si512,
            _mm_loadu_si128,
            _mm256_loadu_si256,
            _mm512_cvtepu8_epi32,
            _mm512_cvtepi8_epi32,
            _mm512_cvtepu16_epi32,
            _mm512_set1_epi32,
            _mm512_sllv_epi32,
            _mm512_srlv_epi32,
            _mm512_and_si512,
            _mm512_or_si512,
            _mm512_cvtepi32_ps
        );

        #[inline(always)]
        fn entry(self, table: &[f32; 16]) -> Avx512 {
            // SAFETY: a value proves the instructions; the table has as many numbers as a register.
            Avx512(unsafe { _mm512_permutexvar_ps(_mm512_castps_si512(self.0), _mm512_loadu_ps(table.as_ptr())) })
        }

        #[inline(always)]
        fn four(self) -> Avx512 {
            const NUMBERS: [f32; 16] =
                [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];
            self.entry(&NUMBERS)
        }

        #[inline(always)]
        unsafe fn load_f16(from: *const u8) -> Avx512 {
            // SAFETY: the caller vouches for the instructions and for the memory.
            Avx512(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) })
        }

        #[inline(always)]
        unsafe fn load_e4m3(from: *const u8) -> Avx512 {
            // as binary16, whose exponents' zero is 8 apart
            // SAFETY: the caller vouches for the instructions, which include AVX2, and for the memory.
            unsafe {
                let bytes = _mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast()));
                let size = _mm256_slli_epi16::<7>(_mm256_and_si256(bytes, _mm256_set1_epi16(0x7f)));
                let sign = _mm256_slli_epi16::<8>(_mm256_and_si256(bytes, _mm256_set1_epi16(0x80)));
                Avx512(_mm512_mul_ps(_mm512_cvtph_ps(_mm256_or_si256(size, sign)), _mm512_set1_ps(256.0)))
            }
        }

        #[inline(always)]
        unsafe fn call<T: Task>(task: T) -> T::Output {
            // SAFETY: the caller vouches for the instructions.
            unsafe { run_avx512(task) }
        }

        #[inline(always)]
        fn where_less(self, other: Avx512, yes: Avx512, no: Avx512) -> Avx512 {
            // SAFETY: a value proves the instructions.
            Avx512(unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, other.0), no.0, yes.0) })
        }

        #[inline(always)]
        fn any_less(self, other: Avx512) -> bool {
            // SAFETY: a value proves the instructions.
            unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, other.0) != 0 }
        }

        #[inline(always)]
        unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
            // SAFETY: the caller vouches for the instructions, which include AVX2, and for the numbers.
            unsafe { transpose(from, from_stride, to, to_stride) }
        }

        #[inline(always)]
        fn as_power(self) -> Avx512 {
            // SAFETY: a value proves the instructions.
            Avx512(unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(self.0))) })
        }

        #[inline(always)]
        fn prefetch(at: *const f32) {
            // SAFETY: it reads nothing, and every processor of this architecture has it.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
        }
    }
}
