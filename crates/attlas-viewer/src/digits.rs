//! The digits of a weight that the page shows, and numbers of 16 bits that keep them.
//!
//! `web/src/text.ts` (`formatWeight`) writes the digits and `web/src/data.ts` reads the numbers; the browser test holds the two
//! together.

use std::sync::LazyLock;

/// From here on four digits after the point are shown, and below it two digits and a power of ten.
const SMALL: f64 = 0.000_05;
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

/// The code of the largest weight whose logarithm is coded.
const LAST_LOGARITHM: u16 = 39_650;
/// That weight; larger ones are coded in equal steps up to 1.
const LINEAR_FROM: f64 = 1.0 / 64.0;
/// The step between logarithms: the smallest weight that an f32 holds has a code, too.
const LOGARITHM_STEP: f64 = 0.0025;

/// The weight behind each 16-bit code: 0, then a logarithmic scale up to 1/64, then equal steps of 4e-5 up to 1.
static WEIGHTS: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let last = f64::from(LAST_LOGARITHM);
    let weight = |code: u16| match f64::from(code) {
        0.0 => 0.0,
        code if code <= last => LINEAR_FROM * (LOGARITHM_STEP * (code - last)).exp(),
        code => LINEAR_FROM + (code - last) * ((1.0 - LINEAR_FROM) / (f64::from(u16::MAX) - last)),
    };
    (0..=u16::MAX).map(|code| weight(code) as f32).collect()
});

/// The 16-bit code of a weight in 0 ..= 1 that is shown with the weight's digits; `None` of any other number.
pub fn code(weight: f32) -> Option<u16> {
    if weight == 0.0 {
        return Some(0);
    }
    if !(weight > 0.0 && weight <= 1.0) {
        return None;
    }
    let (last, weight_) = (f64::from(LAST_LOGARITHM), f64::from(weight));
    let nearest = match weight_ {
        small if small <= LINEAR_FROM => last + (small / LINEAR_FROM).ln() / LOGARITHM_STEP,
        large => last + (large - LINEAR_FROM) * ((f64::from(u16::MAX) - last) / (1.0 - LINEAR_FROM)),
    };
    let nearest = nearest.round().clamp(1.0, f64::from(u16::MAX)) as u16;
    let near = [nearest, nearest - 1, nearest.saturating_add(1)];
    near.into_iter().find(|code| keeps_digits(weight, f64::from(WEIGHTS[usize::from(*code)])))
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

    #[test]
    fn every_weight_has_a_code_that_is_shown_with_its_digits() {
        let mut bits = 1_u32; // the smallest f32
        let mut n = 0;
        while bits <= 1.0_f32.to_bits() {
            let weight = f32::from_bits(bits);
            let code = code(weight).unwrap_or_else(|| panic!("{weight}"));
            assert_eq!(shown(f64::from(WEIGHTS[usize::from(code)])), shown(f64::from(weight)), "{weight}");
            bits += 1 + bits / 65_537;
            n += 1;
        }
        assert!(n > 100_000, "{n} weights");
        assert_eq!([0.0, 1.0].map(code), [Some(0), Some(u16::MAX)]);
        assert_eq!([-0.1, 1.001, f32::NAN, f32::INFINITY].map(code), [None; 4]);
    }
}
