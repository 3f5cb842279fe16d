//! Sums of scores, kept so that they merge in any order to the same bytes.

use serde::{Deserialize, Serialize};

use super::share::interval_of_share;
use super::student::t_95;
use crate::{Error, HeadId, Kind};

/// Steps in 1: scores are rounded to the nearest 2⁻³², half-way cases to even. A weight over 1/256 is kept exactly.
const ONE: f64 = (1_u64 << 32) as f64;
/// The largest score in size; larger ones are cut to it. 2³¹ scores of this size fill the sum of squares.
const LARGEST: f64 = 65_536.0;

/// One score, and what its baseline gives at the same place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The measured score, in the unit of the measure.
    pub score: f64,
    /// What knowing nothing but positions would give; 0 for a measure without a baseline.
    pub baseline: f64,
}

/// How many scores there were, their sum and the sum of their squares, as whole numbers.
///
/// Adding whole numbers is associative and commutative, floating point is not: so any cut of the rows, texts and heads into
/// pieces, summed in any order on any number of threads, gives these same numbers. Scores count in steps of 2⁻³², their
/// squares exactly in steps of 2⁻⁶⁴. In JSON the wide numbers are decimal strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sums {
    /// Scores that were added.
    pub n: u64,
    /// Scores that were no finite number; they are in no sum, and a measure with one says nothing.
    pub n_not_finite: u64,
    /// The sum of the scores, in steps of 2⁻³².
    #[serde(with = "decimal")]
    pub sum: i128,
    /// The sum of their squares, in steps of 2⁻⁶⁴; stays at the largest number once it is reached.
    #[serde(with = "decimal")]
    pub sum_of_squares: i128,
    /// The sum of the baselines, in steps of 2⁻³².
    #[serde(with = "decimal")]
    pub baseline: i128,
}

impl Sums {
    /// The sums of some scores.
    pub fn of(samples: impl IntoIterator<Item = Sample>) -> Sums {
        let mut sums = Sums::default();
        samples.into_iter().for_each(|sample| sums.add(sample));
        sums
    }

    /// Adds one score.
    #[inline]
    pub fn add(&mut self, sample: Sample) {
        let (Some(score), Some(baseline)) = (steps(sample.score), steps(sample.baseline)) else {
            self.n_not_finite = self.n_not_finite.saturating_add(1);
            return;
        };
        let (score, baseline) = (i128::from(score), i128::from(baseline));
        self.merge(&Sums { n: 1, n_not_finite: 0, sum: score, sum_of_squares: score * score, baseline });
    }

    /// Adds all that `other` has added.
    #[inline]
    pub fn merge(&mut self, other: &Sums) {
        // a sum of numbers that are never negative may saturate and stay associative; the others have room for 2⁶⁴ scores
        self.n = self.n.saturating_add(other.n);
        self.n_not_finite = self.n_not_finite.saturating_add(other.n_not_finite);
        self.sum = self.sum.wrapping_add(other.sum);
        self.sum_of_squares = self.sum_of_squares.saturating_add(other.sum_of_squares);
        self.baseline = self.baseline.wrapping_add(other.baseline);
    }

    /// The mean score; `None` of no scores, or when one was no finite number.
    pub fn mean(&self) -> Option<f64> {
        self.is_sound().then(|| float(self.sum) / ONE / self.n as f64)
    }

    /// The mean baseline; `None` as for [`mean`](Self::mean).
    pub fn mean_baseline(&self) -> Option<f64> {
        self.is_sound().then(|| float(self.baseline) / ONE / self.n as f64)
    }

    /// The 95 % interval of the mean, `mean ± t s/√n` with Student's t of n − 1 degrees of freedom, scores taken as
    /// independent; `None` of fewer than two scores.
    pub fn interval(&self) -> Option<(f64, f64)> {
        let mean = self.mean()?;
        if self.n < 2 || self.sum_of_squares == i128::MAX {
            return None;
        }
        let n = self.n as f64;
        let half = t_95(self.n - 1) * (self.squared_deviations() / (n - 1.0) / n).sqrt();
        Some((mean - half, mean + half))
    }

    /// The 95 % interval of the mean of scores from 0 to 1: [Wilson's](interval_of_share) where every score is 0 or 1, since some rows that all
    /// agree scatter, too, and otherwise [that of Student's t](Self::interval), cut to 0 ..= 1; `None` of fewer than two scores.
    pub fn interval_of_shares(&self) -> Option<(f64, f64)> {
        let (low, high) = self.interval()?;
        match self.is_of_hits() {
            true => Some(interval_of_share(self.mean()?.clamp(0.0, 1.0), self.n)),
            false => Some((low.clamp(0.0, 1.0), high.clamp(0.0, 1.0))),
        }
    }

    /// Whether every score is 0 or 1, given that all lie from 0 to 1: a square is as large as its number then, and only then.
    fn is_of_hits(&self) -> bool {
        self.sum.checked_mul(1 << 32) == Some(self.sum_of_squares)
    }

    /// `Σ (score − mean)²`, without the cancellation of `Σ score² − n · mean²`.
    fn squared_deviations(&self) -> f64 {
        // mean = whole + rest/n with 0 ≤ rest < n, so that Σ (score − whole)² is a whole number; it fits although its
        // terms may not, which wrapping undoes
        let n = i128::from(self.n);
        let (whole, rest) = (self.sum.div_euclid(n), self.sum.rem_euclid(n));
        let about_whole = (self.sum_of_squares)
            .wrapping_sub(whole.wrapping_mul(whole).wrapping_mul(n))
            .wrapping_sub(whole.wrapping_mul(rest).wrapping_mul(2));
        let squares = about_whole as f64 - (rest as f64).powi(2) / self.n as f64;
        squares.max(0.0) / (ONE * ONE)
    }

    fn is_sound(&self) -> bool {
        self.n > 0 && self.n_not_finite == 0
    }
}

/// Refuses to add up what is said of some heads and of others.
pub(super) fn refuse_other_heads(what: &str, of: (Kind, &[HeadId]), others: (Kind, &[HeadId])) -> Result<(), Error> {
    match of == others {
        true => Ok(()),
        false => Err(Error::Inconsistent(format!(
            "{what} of {} {} heads and of {} {} heads do not add up: both must be of the same heads",
            of.1.len(),
            of.0,
            others.1.len(),
            others.0
        ))),
    }
}

/// The nearest float; of a number of 64 bits it takes one instruction, of one of 128 a call.
#[inline]
fn float(number: i128) -> f64 {
    i64::try_from(number).map_or(number as f64, |short| short as f64)
}

/// A number in steps of 2⁻³²; `None` when it is not finite.
#[inline]
fn steps(number: f64) -> Option<i64> {
    // added to a number below 2⁵¹ in size, it leaves the nearest whole number in the low bits of the sum: a rounding of one
    // instruction on every processor
    const ROUND: f64 = (3_u64 << 51) as f64;
    let steps = number.clamp(-LARGEST, LARGEST) * ONE;
    number.is_finite().then(|| (steps + ROUND).to_bits() as i64 - ROUND.to_bits() as i64)
}

/// Whole numbers as decimal text, since JSON readers keep 53 bits of a number.
mod decimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(number: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| D::Error::custom(format!("{text:?} is no whole number")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(scores: impl IntoIterator<Item = f64>) -> Sums {
        let mut sums = Sums::default();
        scores.into_iter().for_each(|score| sums.add(Sample { score, baseline: score / 3.0 }));
        sums
    }

    #[test]
    fn the_mean_and_interval_of_four_scores_are_those_worked_out_by_hand() {
        // mean 2.5, s² = 5/3, t of 3 degrees of freedom 3.182446
        let sums = sums([1.0, 2.0, 3.0, 4.0]);
        assert_eq!(sums.mean(), Some(2.5));
        let (low, high) = sums.interval().expect("four scores");
        let half = 3.182_446 * (5.0_f64 / 3.0 / 4.0).sqrt();
        assert!((low - (2.5 - half)).abs() < 1e-6 && (high - (2.5 + half)).abs() < 1e-6, "{low} {high}");
        assert!((sums.mean_baseline().expect("four baselines") - 2.5 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn scores_are_rounded_to_the_nearest_step_and_half_way_to_even() {
        for number in [
            0.0,
            0.5 / ONE,
            1.5 / ONE,
            2.5 / ONE,
            -0.5 / ONE,
            -1.5 / ONE,
            0.1,
            -0.7,
            1.0 / 3.0,
            65_535.999_999_9,
            1e9,
            -1e300,
        ] {
            let exact = (number.clamp(-LARGEST, LARGEST) * ONE).round_ties_even();
            assert_eq!(steps(number), Some(exact as i64), "{number}");
        }
        assert_eq!([f64::NAN, f64::INFINITY].map(steps), [None; 2]);
    }

    #[test]
    fn equal_scores_have_an_interval_of_no_width() {
        for score in [0.0, 0.8, 0.1, 1.0, -3.7, 65_536.0] {
            let sums = sums([score; 7]);
            assert_eq!(sums.interval(), sums.mean().map(|mean| (mean, mean)));
        }
    }

    #[test]
    fn hits_and_misses_have_wilsons_interval_and_other_shares_students() {
        // of 5 of 5: 5 / (5 + 1.95996²)
        let (low, high) = sums([1.0; 5]).interval_of_shares().expect("five scores");
        assert!((low - 0.565_518).abs() < 1e-6 && high == 1.0, "{low} {high}");
        assert_eq!(sums([1.0, 0.0, 1.0, 1.0]).interval_of_shares(), Some(interval_of_share(0.75, 4)));
        let shares = sums([1.0, 0.5, 1.0, 0.9]);
        let (low, _) = shares.interval().expect("four scores");
        assert_eq!(shares.interval_of_shares(), Some((low, 1.0)));
        assert_eq!(sums([1.0]).interval_of_shares(), None);
    }

    #[test]
    fn any_cut_of_the_scores_summed_in_any_order_gives_the_same_bytes() {
        let mut state = 9_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for round in 0..200 {
            let scale = [1.0, 1e-9, 3000.0][round % 3];
            let mut scores: Vec<f64> =
                (0..1 + random(60)).map(|_| (random(1 << 30) as f64 / 1e9 - 0.3) * scale).collect();
            if round % 10 == 0 {
                scores.push([f64::NAN, f64::INFINITY, 1e300][random(3)]);
            }
            let whole = sums(scores.iter().copied());
            // shuffled, dealt out to pieces, and the pieces merged two by two in any order
            for last in (1..scores.len()).rev() {
                scores.swap(last, random(last + 1));
            }
            let mut pieces = vec![Sums::default(); 1 + random(9)];
            for score in &scores {
                let piece = random(pieces.len());
                pieces[piece].merge(&sums([*score]));
            }
            while pieces.len() > 1 {
                let taken = pieces.swap_remove(random(pieces.len()));
                let into = random(pieces.len());
                pieces[into].merge(&taken);
            }
            assert_eq!(serde_json::to_string(&pieces[0]).unwrap(), serde_json::to_string(&whole).unwrap());
            assert_eq!(pieces[0].interval(), whole.interval());
        }
    }

    #[test]
    fn a_score_that_is_no_number_is_counted_and_silences_the_mean() {
        let sums = sums([0.5, f64::NAN]);
        assert_eq!((sums.n, sums.n_not_finite, sums.mean(), sums.interval()), (1, 1, None, None));
    }

    #[test]
    fn sums_come_back_from_json_as_they_were() {
        let sums = sums([0.1, 65_536.0, -0.7]);
        let text = serde_json::to_string(&sums).unwrap();
        assert!(text.contains("\"sum_of_squares\":\""), "{text}");
        assert_eq!(serde_json::from_str::<Sums>(&text).unwrap(), sums);
        assert!(serde_json::from_str::<Sums>(&text.replace("\"sum\":\"", "\"sum\":\"x")).is_err());
        // numbers that no run would write are read without harm
        let absurd = Sums { n: u64::MAX, sum: i128::MIN, sum_of_squares: i128::MIN, ..sums };
        assert!(absurd.interval().is_some());
    }
}
