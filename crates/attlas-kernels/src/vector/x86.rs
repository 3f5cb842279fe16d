//! Registers of AVX2 and AVX-512.

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

// SAFETY: intrinsics of eight lanes; a tile of 6 rows and 16 lanes, of which three are 48.
unsafe impl Vector for Avx2 {
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

// SAFETY: intrinsics of sixteen lanes; a tile of 8 rows and 48 lanes.
unsafe impl Vector for Avx512 {
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
