//! The inverse cosine transform of a block, in the fixed point of libjpeg's accurate integer method
//! (`jidctint.c`; Loeffler, Ligtenberg and Moschytz 1989), so that every sample is the same.

/// The place, in the order of rows, of each coefficient in the order of the zigzag.
pub(super) const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// Bits behind the point in the constants, and in the numbers between the two passes.
const CONSTANT_BITS: u32 = 13;
const PASS_BITS: u32 = 2;

/// Writes the 8 × 8 samples of a block to the upper left of `samples`, whose rows are `row_length` apart.
/// Shape of `coefficients` and `steps`: `[8, 8]`.
pub(super) fn inverse_transform(coefficients: &[i16; 64], steps: &[u16; 64], samples: &mut [u8], row_length: usize) {
    let mut block = [0_i32; 64];
    for (value, (coefficient, step)) in block.iter_mut().zip(coefficients.iter().zip(steps)) {
        *value = i32::from(*coefficient).wrapping_mul(i32::from(*step));
    }
    for column in 0..8 {
        let values = std::array::from_fn(|row| block[row * 8 + column]);
        for (row, value) in one_dimension(values, CONSTANT_BITS - PASS_BITS).into_iter().enumerate() {
            block[row * 8 + column] = value;
        }
    }
    for (values, samples) in block.as_chunks::<8>().0.iter().zip(samples.chunks_mut(row_length)) {
        let values = one_dimension(*values, CONSTANT_BITS + PASS_BITS + 3);
        for (sample, value) in samples.iter_mut().zip(values) {
            *sample = (value.clamp(-128, 127) + 128) as u8;
        }
    }
}

/// Eight numbers transformed, and divided by `2^shift` with rounding.
#[inline(always)]
fn one_dimension(values: [i32; 8], shift: u32) -> [i32; 8] {
    // damaged files may overflow, which must not panic
    let times = |value: i32, constant: i32| value.wrapping_mul(constant);
    let plus = |a: i32, b: i32| a.wrapping_add(b);
    let minus = |a: i32, b: i32| a.wrapping_sub(b);
    // 1. the even part
    let [even_0, odd_0, even_1, odd_1, even_2, odd_2, even_3, odd_3] = values;
    let z = times(plus(even_1, even_3), 4433);
    let (a, b) = (plus(z, times(even_3, -15137)), plus(z, times(even_1, 6270)));
    let (sum, difference) = (times(plus(even_0, even_2), 1 << 13), times(minus(even_0, even_2), 1 << 13));
    let even = [plus(sum, b), plus(difference, a), minus(difference, a), minus(sum, b)];
    // 2. the odd part
    let z5 = times(plus(plus(odd_3, odd_1), plus(odd_2, odd_0)), 9633);
    let z1 = times(plus(odd_3, odd_0), -7373);
    let z2 = times(plus(odd_2, odd_1), -20995);
    let z3 = plus(times(plus(odd_3, odd_1), -16069), z5);
    let z4 = plus(times(plus(odd_2, odd_0), -3196), z5);
    let odd = [
        plus(times(odd_0, 12299), plus(z1, z4)),
        plus(times(odd_1, 25172), plus(z2, z3)),
        plus(times(odd_2, 16819), plus(z2, z4)),
        plus(times(odd_3, 2446), plus(z1, z3)),
    ];
    // 3. together, from both ends
    let half = 1 << (shift - 1);
    std::array::from_fn(|place| match place {
        0..4 => plus(plus(even[place], odd[place]), half) >> shift,
        _ => plus(minus(even[7 - place], odd[7 - place]), half) >> shift,
    })
}
