//! The digits of a weight that the page shows, and their numbers.
//!
//! `web/src/text.ts` (`formatWeight`) writes the digits and `web/src/digits.ts` reads the numbers; the browser test holds the two
//! together.

use std::sync::LazyLock;

/// From here on four digits after the point are shown, and below it two digits and a power of ten.
pub const SMALL: f64 = 0.000_05;
/// How far a weight that is computed in the page may lie from the one computed here, as a share of it.
const ROUNDING: f64 = 4e-6;

/// The digits that are shown of a weight that is not negative: a power of ten, and how many of it.
pub fn shown(weight: f64) -> (i32, u32) {
    if weight >= SMALL {
        return (-4, (weight * 1e4 + 0.5) as u32);
    }
    if weight <= 0.0 {
        return (0, 0);
    }
    let tens = power_of_ten(weight);
    match (weight * POWERS[(1 - tens) as usize] + 0.5) as u32 {
        100.. => (tens, 10),
        digits => (tens - 1, digits),
    }
}

/// Powers of ten from 0 on: 10⁴⁶ makes two digits of the smallest number that an f32 holds.
static POWERS: LazyLock<[f64; 48]> = LazyLock::new(|| std::array::from_fn(|power| 10_f64.powi(power as i32)));

/// The largest power of ten that is not above a weight of 1e-46 to 1.
fn power_of_ten(weight: f64) -> i32 {
    let twos = ((weight.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    let tens = ((twos * 1233) >> 12).max(-46); // 1233/4096 is log10 2: the power, or the one below
    if weight * POWERS[(-tens - 1).max(0) as usize] >= 1.0 { tens + 1 } else { tens }
}

/// Whether the page shows a weight that comes out as `computed` with the digits of `exact`.
pub fn keeps_digits(exact: f32, computed: f64) -> bool {
    let exact = f64::from(exact);
    let (low, high) = (computed * (1.0 - ROUNDING), computed * (1.0 + ROUNDING));
    if exact >= SMALL && low >= SMALL {
        let digits = (exact * 1e4 + 0.5) as u32;
        return (low * 1e4 + 0.5) as u32 == digits && (high * 1e4 + 0.5) as u32 == digits;
    }
    let digits = shown(exact);
    shown(low) == digits && shown(high) == digits
}

/// Powers of ten that the last digit of a small weight can have: 10⁻⁴⁶ to 10⁻⁶.
const N_POWERS: u16 = 41;
/// The exponent of the first of them.
const FIRST_POWER: i32 = -46;
/// The number of the largest weight below 0.00005 that has one, and of two digits and a power of ten.
const LAST_SMALL: u16 = 90 * N_POWERS;
/// Classes of numbers: 0, a class for each power of ten, a class for each length of the whole number of 0.0001.
pub const N_CLASSES: usize = 1 + N_POWERS as usize + 14;

/// The number of what is shown of a weight, counted from 0 by size: all there is to send of a weight. `None` of what is no weight
/// in 0 ..= 1, but for rounding.
pub fn number(weight: f64) -> Option<u16> {
    // rounding can take a weight a little beyond 1
    if !(0.0..1.000_05).contains(&weight) {
        return None;
    }
    // smaller than any number that an f32 holds
    if weight < 1e-45 {
        return Some(0);
    }
    Some(match shown(weight) {
        (0, _) => 0,
        (-4, whole) => LAST_SMALL + whole as u16,
        (power, digits) => 90 * (power - FIRST_POWER) as u16 + digits as u16 - 9,
    })
}

/// The class of each number, how many bits tell the numbers of the class apart, and these bits.
static CLASSES: LazyLock<Vec<(u8, u8, u16)>> = LazyLock::new(|| (0..=LAST_SMALL + 10_001).map(class_of).collect());

/// The class of a number, how many bits tell the numbers of the class apart, and these bits.
pub fn class(number: u16) -> (u8, u8, u16) {
    CLASSES[usize::from(number)]
}

fn class_of(number: u16) -> (u8, u8, u16) {
    match number {
        0 => (0, 0, 0),
        small @ ..=LAST_SMALL => (1 + ((small - 1) / 90) as u8, 7, (small - 1) % 90),
        large => {
            let whole = large - LAST_SMALL;
            let length = whole.ilog2() as u8;
            (1 + N_POWERS as u8 + length, length, whole - (1 << length))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_four_after_the_point_or_two_and_a_power_of_ten() {
        let cases = [
            (1.0, (-4, 10_000)),
            (0.123_46, (-4, 1235)),
            (0.000_05, (-4, 1)),
            (0.000_049_9, (-6, 50)),
            (9.96e-6, (-6, 10)),
            (1.24e-9, (-10, 12)),
            (1e-40, (-41, 10)),
            (0.0, (0, 0)),
        ];
        for (weight, digits) in cases {
            assert_eq!(shown(weight), digits, "{weight}");
        }
    }

    /// The weight that the page makes of a class and bits.
    fn weight((class, _, bits): (u8, u8, u16)) -> f64 {
        match class {
            0 => 0.0,
            small @ 1..=41 => format!("{}e{}", bits + 10, i32::from(small) - 1 + FIRST_POWER).parse().unwrap(),
            large => f64::from(bits + (1 << (large - 42))) / 1e4,
        }
    }

    #[test]
    fn every_weight_has_a_number_that_is_shown_with_its_digits() {
        let mut bits = 1_u32; // the smallest f32
        let (mut n, mut last) = (0, 0);
        while bits <= 1.0_f32.to_bits() {
            let exact = f32::from_bits(bits);
            let number = number(f64::from(exact)).unwrap_or_else(|| panic!("{exact}"));
            // below, f32 has less than two digits, and the page takes the number's own
            if exact > 1e-42 {
                assert_eq!(shown(f64::from(weight(class(number)) as f32)), shown(f64::from(exact)), "{exact}");
            }
            assert!(number >= last && usize::from(class(number).0) < N_CLASSES, "{exact}: {number} after {last}");
            (bits, last) = (bits + 1 + bits / 65_537, number);
            n += 1;
        }
        assert!(n > 100_000, "{n} weights");
        assert_eq!([0.0, 1.0, 1.000_001].map(number), [0, LAST_SMALL + 10_000, LAST_SMALL + 10_000].map(Some));
        assert_eq!([-0.1, 1.001, f64::NAN, f64::INFINITY].map(number), [None; 4]);
    }
}
