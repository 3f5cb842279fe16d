//! What a measure is, and when it names a head.

use serde::Serialize;

use super::share::interval_at;
use super::{Gathered, MEASURES, Query, Row, Sample, Sums, Target};
use crate::Kind;

/// How far the rounding of weights can carry a mean out of its range.
const ROUNDING: f64 = 1e-3;
/// Scores from which a head may be named, and anything is said of one; two rows make an untrained head look like anything.
pub const MIN_SCORES: u64 = 5;
/// The normal distribution's 99 % quantile: by chance alone one head in a hundred of all-or-nothing rows lies so far over a baseline. It is
/// held against about twenty of them at once.
const Z_NAMED: f64 = 2.326_347_874_040_841;

/// One thing that a head may do, and how much it does it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Measure {
    /// Short, and the same for ever: in JSON, options and addresses.
    pub name: &'static str,
    /// What a head with a high score is said to do.
    pub title: &'static str,
    /// The same in cross-attention, where the two texts have positions in common, not tokens, and a row's position is that of
    /// the token it predicts; `None` where the title fits.
    pub cross_title: Option<&'static str>,
    /// What the score is, in a line.
    pub says: &'static str,
    /// How it is computed; `w(q,k)` is the weight of query `q` on key `k`.
    pub formula: &'static str,
    /// What a score counts in.
    pub unit: &'static str,
    /// What there is one score of each.
    pub over: &'static str,
    /// The lowest and the highest score there can be.
    pub range: (f64, f64),
    /// The score from which a head is named; `None` where a high score is no name.
    pub threshold: Option<f64>,
    /// What the score must be over for a head to be named; `None` where the score is relative already.
    pub baseline: Option<Baseline>,
    /// Who defined it, and where.
    pub paper: &'static str,
    /// The kinds of attention it is looked for in.
    pub kinds: &'static [Kind],
    /// What is scored apart and of which the best is reported: offsets, keys, rows. Empty where there is one score.
    pub variants: &'static [&'static str],
    /// Whether it holds, too, of heads that do something narrower, which then names them.
    pub is_general: bool,
    /// Whether a built-in set of texts scores it on random tokens repeated twice, and on prose otherwise.
    pub on_repeats: bool,
    /// What must be there for a score to be computed.
    pub needs: &'static str,
    /// How it reads a map.
    #[serde(skip)]
    pub reads: Reads,
}

/// How a measure reads a map.
#[derive(Debug, Clone, Copy)]
pub enum Reads {
    /// The weight of each query on its target under the variant of this index; `None` for a query that says nothing. What is asked
    /// of a text is the same for all its heads, and is worked out once.
    Weight(fn(&Query<'_>, usize) -> Option<Target>),
    /// Whether the largest weight of each query but that on the end token lies on its target; likewise.
    Most(fn(&Query<'_>, usize) -> Option<Target>),
    /// A score for each query, made of all its weights; `None` for a query that says nothing.
    Rows(fn(&Row<'_>) -> Option<Sample>),
    /// Scores of what all rows say together.
    Whole(fn(&Gathered<'_>, usize) -> Sums),
}

/// What a score is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Baseline {
    /// Short, and the same for ever.
    pub name: &'static str,
    /// The assumption, as a sentence: `every query looks at all keys it may see alike`.
    pub says: &'static str,
    /// The same before its number: `positions alone give`.
    #[serde(skip)]
    pub gives: &'static str,
}

/// What sums say under a measure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Score {
    /// The mean score, cut to the measure's range, which rounding may leave by a hair.
    pub value: f64,
    /// Its 95 % interval, scores taken as independent (Student's t; Wilson's of scores that are all 0 or 1), cut to the range; `None`
    /// of fewer than two scores.
    pub interval: Option<(f64, f64)>,
    /// The mean baseline.
    pub baseline: Option<f64>,
    /// Over how many queries, words or texts.
    pub n: u64,
    /// Which of the variants has it.
    pub variant: Option<&'static str>,
}

/// Why a head with a score has no name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unnamed {
    /// A high score under the measure is no name.
    NoThreshold,
    /// It is below the threshold.
    Below,
    /// It is of too few scores, or, in a survey, of too few texts for an interval.
    Few,
    /// Chance may give as much: the low end of its interval, or of that of all-or-nothing rows, is not over the baseline.
    Chance,
}

impl Measure {
    /// The measure of this name.
    pub fn named(name: &str) -> Option<&'static Measure> {
        MEASURES.iter().find(|measure| measure.name == name)
    }

    /// What a head of this kind with a high score is said to do.
    pub fn title_for(&self, kind: Kind) -> &'static str {
        self.cross_title.filter(|_| kind == Kind::Cross).unwrap_or(self.title)
    }

    /// How many scores are kept apart: one, or one a variant.
    pub fn n_variants(&self) -> usize {
        self.variants.len().max(1)
    }

    /// What a row scores under the variant of this index; `None` where it says nothing, and of a measure that reads rows together.
    pub fn sample(&self, row: &Row<'_>, variant: usize) -> Option<Sample> {
        match self.reads {
            Reads::Weight(target) => target(row, variant).map(|target| target.weight_of(row)),
            Reads::Most(target) => target(row, variant).map(|target| target.most_of(row)),
            Reads::Rows(sample) => sample(row),
            Reads::Whole(_) => None,
        }
    }

    /// What the sums of a head say, one for each variant: the score of the best, the first of equals; `None` where the text had
    /// nothing to measure.
    pub fn score(&self, sums: &[Sums]) -> Option<Score> {
        let scores = sums.iter().enumerate().filter_map(|(variant, sums)| self.score_of(sums, variant));
        scores.reduce(|best, score| if score.value > best.value { score } else { best })
    }

    /// Why there is no [`score`](Self::score) of these sums, as a sentence without its full stop.
    pub fn absence(&self, sums: &[Sums]) -> String {
        match sums.iter().any(|sums| sums.n_not_finite > 0) {
            true => "some weights are no finite numbers".to_owned(),
            false => format!("it needs {}", self.needs),
        }
    }

    fn score_of(&self, sums: &Sums, variant: usize) -> Option<Score> {
        let cut = |number: f64| number.clamp(self.range.0, self.range.1);
        let mean = sums.mean()?;
        Some(Score {
            // rounding carries a mean a little out of its range; rows that are no weights carry it far, and that is not hidden
            value: if (mean - cut(mean)).abs() <= ROUNDING { cut(mean) } else { mean },
            interval: match self.is_share() {
                true => sums.interval_of_shares(),
                false => sums.interval().map(|(low, high)| (cut(low), cut(high))),
            },
            baseline: self.baseline.and(sums.mean_baseline()),
            n: sums.n,
            variant: self.variants.get(variant).copied(),
        })
    }

    /// Whether a head with this score is named: at least five scores, their mean at or over the threshold, and the low end
    /// of its interval over the baseline. Without an interval none is.
    ///
    /// A mean of shares must be over the baseline even if each row were all or nothing, as those of a sharp head are: of few such
    /// rows that agree, Student's t sees no scatter.
    pub fn names(&self, score: &Score) -> bool {
        self.unnamed(score).is_none()
    }

    /// Why a head with this score is not [named](Self::names); `None` of one that is.
    pub fn unnamed(&self, score: &Score) -> Option<Unnamed> {
        let Some(threshold) = self.threshold else { return Some(Unnamed::NoThreshold) };
        if score.value < threshold {
            return Some(Unnamed::Below);
        }
        let Some((low, _)) = score.interval.filter(|_| score.n >= MIN_SCORES) else { return Some(Unnamed::Few) };
        let low = match self.is_share() {
            true => low.min(interval_at(score.value, score.n, Z_NAMED).0),
            false => low,
        };
        let is_over = score.baseline.is_none_or(|baseline| low > baseline);
        (!is_over).then_some(Unnamed::Chance)
    }

    /// Whether a score lies from 0 to 1.
    fn is_share(&self) -> bool {
        self.range == (0.0, 1.0)
    }
}

impl PartialEq for Measure {
    fn eq(&self, other: &Measure) -> bool {
        self.name == other.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_is_defined_whole_and_under_a_name_of_its_own() {
        for (index, measure) in MEASURES.iter().enumerate() {
            for words in
                [measure.name, measure.title, measure.says, measure.formula, measure.unit, measure.over, measure.paper]
            {
                assert!(!words.is_empty(), "{measure:?}");
            }
            let within = |threshold: f64| measure.range.0 < threshold && threshold < measure.range.1;
            assert!(!measure.kinds.is_empty() && measure.threshold.is_none_or(within) && !measure.needs.is_empty());
            assert!(measure.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", measure.name);
            assert_eq!(MEASURES.iter().position(|other| other == measure), Some(index));
        }
    }

    #[test]
    fn a_head_is_named_from_five_scores_on_when_its_interval_lies_over_the_baseline() {
        let measure = Measure::named("previous").expect("it is a measure");
        let why_not = |scores: &[f64], baseline: f64| {
            let sums = Sums::of(scores.iter().map(|score| Sample { score: *score, baseline }));
            let score = measure.score(&[sums]).expect("there are scores");
            assert_eq!(measure.names(&score), measure.unnamed(&score).is_none());
            measure.unnamed(&score)
        };
        assert_eq!(why_not(&[0.9; 4], 0.1), Some(Unnamed::Few), "four scores");
        assert_eq!(why_not(&[0.9; 5], 0.1), None);
        assert_eq!(why_not(&[0.4; 5], 0.1), Some(Unnamed::Below), "below the threshold");
        assert_eq!(why_not(&[0.9; 5], 0.9), Some(Unnamed::Chance), "no more than the baseline");
        // 5 / (5 + 2.326²) = 0.48
        assert_eq!(why_not(&[1.0; 5], 0.45), None);
        assert_eq!(why_not(&[1.0; 5], 0.5), Some(Unnamed::Chance), "five rows of a coin may fall alike");
        // mean 0.6, z = 2.326: the interval of three of five begins at 0.19
        assert_eq!(why_not(&[1.0, 1.0, 1.0, 0.0, 0.0], 0.2), Some(Unnamed::Chance), "too scattered");
        // mean 0.6, s = 0.49, t = 2.78: the interval begins below 0
        let scattered = why_not(&[0.95, 0.95, 1.0, 0.05, 0.05], 0.1);
        assert_eq!(scattered, Some(Unnamed::Chance), "too scattered, and no rows of a coin");
        let entropy = Measure::named("entropy").expect("it is a measure");
        let score = Score { value: 3.0, interval: Some((2.9, 3.1)), baseline: Some(4.0), n: 50, variant: None };
        assert_eq!(entropy.unnamed(&score), Some(Unnamed::NoThreshold));
    }

    #[test]
    fn a_score_that_rounding_puts_past_its_range_is_cut_and_lies_in_its_interval() {
        let measure = Measure::named("local").expect("it is a measure");
        let sums = Sums::of([Sample { score: 1.0 + 1e-7, baseline: 0.5 }; 6]);
        let score = measure.score(&[sums]).expect("there are scores");
        assert_eq!((score.value, score.interval.map(|(_, high)| high)), (1.0, Some(1.0)));
    }

    #[test]
    fn a_score_of_rows_that_are_no_weights_is_not_put_into_its_range() {
        let measure = Measure::named("local").expect("it is a measure");
        let sums = Sums::of([Sample { score: 5760.0, baseline: 0.5 }; 6]);
        assert_eq!(measure.score(&[sums]).map(|score| score.value), Some(5760.0));
    }

    #[test]
    fn without_an_interval_no_head_is_named_also_under_a_measure_without_a_baseline() {
        let broad = Measure::named("broad").expect("it is a measure");
        let score = Score { value: 1.0, interval: Some((0.9, 1.0)), baseline: None, n: 50, variant: None };
        assert!(broad.names(&score));
        assert!(!broad.names(&Score { interval: None, ..score }));
    }
}
