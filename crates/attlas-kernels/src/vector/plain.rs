//! Registers in plain Rust.

use super::{MAX_LANES, MAX_ROWS, MAX_WIDTH, Vector};
use crate::dispatch::Task;

/// `N` lanes in plain Rust, with a tile of `ROWS` × `COLUMNS` registers.
#[derive(Clone, Copy)]
pub struct Lanes<const N: usize, const ROWS: usize, const COLUMNS: usize>([f32; N]);

/// Plain Rust that compilers turn into SSE2 or WebAssembly SIMD.
#[cfg(not(target_arch = "aarch64"))]
pub type Portable = Lanes<4, 6, 2>;
/// Plain Rust that compilers turn into NEON, which has 32 registers.
#[cfg(target_arch = "aarch64")]
pub type Portable = Lanes<4, 8, 3>;
/// The shape of AVX-512 in plain Rust, to test what depends on it on any processor.
#[cfg(debug_assertions)]
pub type Wide = Lanes<16, 8, 3>;

impl<const N: usize, const ROWS: usize, const COLUMNS: usize> Lanes<N, ROWS, COLUMNS> {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Lanes(std::array::from_fn(|lane| f(self.0[lane], other.0[lane])))
    }
}

// SAFETY: arrays of `N` numbers are read and written; other sizes do not compile.
unsafe impl<const N: usize, const ROWS: usize, const COLUMNS: usize> Vector for Lanes<N, ROWS, COLUMNS> {
    const LANES: usize = {
        assert!(MAX_LANES.is_multiple_of(N));
        N
    };
    const TILE_ROWS: usize = {
        assert!(ROWS == 6 || ROWS == MAX_ROWS);
        ROWS
    };
    const TILE_COLUMNS: usize = {
        assert!(MAX_WIDTH.is_multiple_of(N * COLUMNS));
        COLUMNS
    };
    const PANEL_TILES: usize = MAX_WIDTH / (N * COLUMNS);

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
