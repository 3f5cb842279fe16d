//! How exact products are, and dense layers on the tile unit: each f32 number as a sum of bf16 numbers.
//!
//! An f32 number has 24 significant bits and a bf16 number 8, and both have the same range. So `x = x₁ + x₂ + x₃`, each the
//! nearest bf16 number to what is left, is exact, and of the nine products of `x · w` the six largest are kept:
//!
//! ```text
//! x·w = x₁w₁ + (x₁w₂ + x₂w₁) + (x₁w₃ + x₂w₂ + x₃w₁) + …   what is left out is below 2⁻²⁴ · |x·w|
//! ```
//!
//! That is what rounding an f32 sum costs. With two parts and three products the error is 2⁻¹⁶ of a product, with one 2⁻⁸.
//!
//! # What tiles cannot hold
//! Infinite numbers and NaN cannot be split, and what a tile unit meets below 2⁻¹²⁶ is 0 for it. A row of the input whose largest
//! number is not between 2⁻⁴⁰ and 2⁴⁰ is therefore multiplied in f32, and so are 48 rows of weights whose largest is not. In all
//! others, what is flushed to 0 is less than 2⁻⁴⁵ of the largest product of two numbers, which f32 sums lose too.

use std::str::FromStr;

/// How exact the products of dense layers are.
///
/// A product never depends on the other rows that are computed with it, so a text has the same numbers in every batch; they
/// differ between precisions in their last digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// f32 numbers, multiplied and added in f32.
    #[default]
    Exact,
    /// Three bf16 parts of each number and six products, summed in f32 by AMX: as exact as f32 sums in another order.
    High,
    /// Two parts and three products: 16 bits of each number.
    Fast,
    /// One part: the numbers rounded to bf16, 8 bits of each.
    Fastest,
}

impl Precision {
    /// All of them, the most exact first.
    pub const ALL: [Precision; 4] = [Precision::Exact, Precision::High, Precision::Fast, Precision::Fastest];

    /// Its name: `exact`, `high`, `fast`, `fastest`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Exact => "exact",
            Precision::High => "high",
            Precision::Fast => "fast",
            Precision::Fastest => "fastest",
        }
    }

    /// Whether this process can compute so; the error says what is missing.
    ///
    /// # Errors
    /// When the processor has no AMX for bf16, or the operating system does not let it be used.
    pub fn available(self) -> Result<(), &'static str> {
        match self {
            Precision::Exact => Ok(()),
            #[cfg(target_arch = "x86_64")]
            _ => crate::amx::allowed(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => Err("this processor has no AMX"),
        }
    }

    /// This one, or [`Exact`](Precision::Exact) where it cannot be had.
    pub fn or_exact(self) -> Precision {
        if self.available().is_ok() { self } else { Precision::Exact }
    }

    /// bf16 parts of a number; 0 where numbers stay whole.
    pub(crate) fn n_parts(self) -> usize {
        match self {
            Precision::Exact => 0,
            Precision::High => 3,
            Precision::Fast => 2,
            Precision::Fastest => 1,
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Precision, String> {
        let found = Precision::ALL.into_iter().find(|precision| precision.name() == text);
        found.ok_or_else(|| format!("\"{text}\" is no precision; there are exact, high, fast and fastest"))
    }
}
