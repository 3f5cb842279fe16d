//! The tile unit of Intel's AMX: whether it may be used, and its instructions, which Rust does not offer yet.
//!
//! A tile is 16 rows of 64 bytes. One instruction adds the product of a tile of 16 × 32 bf16 numbers and one of 32 × 16 to a
//! tile of 16 × 16 sums in f32. Numbers below 2⁻¹²⁶ are taken for 0 on the way in and out, whatever the thread's settings.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::sync::OnceLock;

use crate::dispatch::Instructions;

/// bf16 numbers of a tile.
pub(crate) const TILE: usize = 512;

/// Whether this process may use tiles of bf16, or why not. Asked once: Linux wants to be asked before their first use.
pub(crate) fn allowed() -> Result<(), &'static str> {
    static ALLOWED: OnceLock<Result<(), &'static str>> = OnceLock::new();
    *ALLOWED.get_or_init(|| {
        if !(has_tiles() && Instructions::Avx512.available() && is_x86_feature_detected!("avx512bf16")) {
            Err("this processor has no AMX for bf16")
        } else if !system_saves_tiles() || !request() {
            Err("the operating system does not let programs use AMX")
        } else {
            Ok(())
        }
    })
}

/// Whether the processor has tiles (leaf 7: amx-tile, amx-bf16) of the size that is used here (leaf 29, palette 1).
fn has_tiles() -> bool {
    if __cpuid(0).eax < 29 {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    let palette = __cpuid_count(29, 1);
    let (bytes, n_tiles, n_rows) = (palette.ebx & 0xffff, palette.ebx >> 16, palette.ecx & 0xffff);
    features >> 22 & 1 == 1 && features >> 24 & 1 == 1 && bytes >= 64 && n_tiles >= 8 && n_rows >= 16
}

/// Whether the system keeps tiles when it changes between threads (XCR0, bits 17 and 18).
fn system_saves_tiles() -> bool {
    let has_xgetbv = __cpuid(1).ecx >> 27 & 1 == 1;
    if !has_xgetbv {
        return false;
    }
    let low: u32;
    // SAFETY: the processor has said that the instruction is there and enabled; it reads a register.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") _, options(nomem, nostack, preserves_flags)) }
    low >> 17 & 3 == 3
}

/// Asks Linux for the tiles' registers (`arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)`); other systems are not asked.
fn request() -> bool {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XTILEDATA: usize = 18;
    let mut result = ARCH_PRCTL;
    if cfg!(not(target_os = "linux")) {
        return false;
    }
    // SAFETY: a call of the system that takes two numbers, changes no memory, and fails where it is not known.
    unsafe {
        asm!("syscall", inlateout("rax") result, in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") XTILEDATA,
            out("rcx") _, out("r11") _, options(nostack));
    }
    result == 0
}

/// The shape of the tiles, as `ldtilecfg` reads it: palette 1, eight tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Shape([u8; 64]);

const SHAPE: Shape = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut tile = 0;
    while tile < 8 {
        bytes[16 + 2 * tile] = 64;
        bytes[48 + tile] = 16;
        tile += 1;
    }
    Shape(bytes)
};

/// The thread's tiles, from their shaping to their release.
pub(crate) struct Tiles(());

impl Tiles {
    /// Shapes the thread's tiles.
    ///
    /// # Safety
    /// [`allowed`] has said so.
    pub unsafe fn shape() -> Tiles {
        // SAFETY: tiles are there and allowed; 64 bytes are read.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &SHAPE, options(nostack, readonly)) }
        Tiles(())
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: whoever made this was allowed to.
        unsafe { asm!("tilerelease", options(nostack, nomem)) }
    }
}

/// Sums of 16 rows and 48 columns (three tiles), which go on with what `sums` holds, over `n_steps` steps of 32 factors: for
/// each part of the right factors, the last one first, its products with the parts of the left ones that are named. On the
/// way the left factors that come next in memory are asked for, a few lines with each part: a tile that has to come from the
/// second-level cache is waited for.
macro_rules! sums {
    ($name:ident, $n_left:literal, $n_right:literal, $([$right:literal: $($left:literal @ $line:literal)+])+) => {
        /// # Safety
        /// The thread's tiles are shaped; `left` has `n_steps` steps of tiles, `right` three times as many, in as many parts as
        /// the name says, and `sums` has 16 rows of 48 numbers.
        unsafe fn $name(left: *const u16, right: *const u16, n_steps: usize, sums: *mut f32) {
            // SAFETY: as above.
            unsafe {
                asm!(
                    "tileloadd tmm0, [{sums} + {wide}]",
                    "tileloadd tmm1, [{sums} + {wide} + 64]",
                    "tileloadd tmm2, [{sums} + {wide} + 128]",
                    "2:",
                    $(
                        concat!("tileloadd tmm5, [{right} + {line} + 1024*", $right, "]"),
                        concat!("tileloadd tmm6, [{right} + {line} + 1024*(", $right, "+", $n_right, ")]"),
                        concat!("tileloadd tmm7, [{right} + {line} + 1024*(", $right, "+2*", $n_right, ")]"),
                        $(
                            concat!("tileloadd tmm3, [{left} + {line} + 1024*", $left, "]"),
                            "tdpbf16ps tmm0, tmm3, tmm5",
                            concat!("prefetcht0 [{left} + 1024*", $n_left, " + 64*", $line, "]"),
                            concat!("prefetcht0 [{left} + 1024*", $n_left, " + 64*(", $line, "+1)]"),
                            concat!("prefetcht0 [{left} + 1024*", $n_left, " + 64*(", $line, "+2)]"),
                            concat!("prefetcht0 [{left} + 1024*", $n_left, " + 64*(", $line, "+3)]"),
                            "tdpbf16ps tmm1, tmm3, tmm6",
                            concat!("prefetcht0 [{left} + 1024*", $n_left, " + 64*(", $line, "+4)]"),
                            concat!("prefetcht0 [{left} + 1024*", $n_left, " + 64*(", $line, "+5)]"),
                            concat!("prefetcht0 [{left} + 1024*", $n_left, " + 64*(", $line, "+6)]"),
                            concat!("prefetcht0 [{left} + 1024*", $n_left, " + 64*(", $line, "+7)]"),
                            "tdpbf16ps tmm2, tmm3, tmm7",
                        )+
                    )+
                    concat!("add {left}, 1024*", $n_left),
                    concat!("add {right}, 3*1024*", $n_right),
                    "dec {steps}",
                    "jnz 2b",
                    "tilestored [{sums} + {wide}], tmm0",
                    "tilestored [{sums} + {wide} + 64], tmm1",
                    "tilestored [{sums} + {wide} + 128], tmm2",
                    left = inout(reg) left => _,
                    right = inout(reg) right => _,
                    steps = inout(reg) n_steps => _,
                    sums = in(reg) sums,
                    line = in(reg) 64_usize,
                    wide = in(reg) 192_usize,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

sums!(three_and_three, 3, 3, [2: 0 @ 0] [1: 1 @ 8 0 @ 16] [0: 2 @ 24 1 @ 32 0 @ 40]);
sums!(two_and_two, 2, 2, [1: 0 @ 0] [0: 1 @ 8 0 @ 16]);
sums!(one_and_one, 1, 1, [0: 0 @ 0]);

/// Adds products of tiles to the sums of 16 rows and 48 columns: of `n_parts` parts, those whose numbers add up to less than
/// `n_parts`, so six, three or one.
///
/// Shapes: `left [n_steps, n_parts, 16, 32]`, `right [n_steps, 3, n_parts, 16, 32]` (pairs of factors down, columns across, the
/// two of a pair side by side), `sums [16, 48]`.
///
/// # Safety
/// The processor's tiles are shaped, and all of that may be read and, of `sums`, written.
pub(crate) unsafe fn add_products(
    _tiles: &Tiles,
    n_parts: usize,
    left: *const u16,
    right: *const u16,
    n_steps: usize,
    sums: *mut f32,
) {
    if n_steps == 0 {
        return;
    }
    // SAFETY: the caller vouches for all of it.
    unsafe {
        match n_parts {
            1 => one_and_one(left, right, n_steps, sums),
            2 => two_and_two(left, right, n_steps, sums),
            _ => three_and_three(left, right, n_steps, sums),
        }
    }
}
