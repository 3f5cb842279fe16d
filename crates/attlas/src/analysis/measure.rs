//! The measures: what is looked for in a head, each defined once.
//!
//! Tables, JSON, the page and docs/measures.md are made of [`MEASURES`]; a new measure is one more entry of it.

use serde::Serialize;

use super::{Keys, Row, Sample, Sums, WordLinks, class_weight, first_key_weight, normalized_entropy, offset_weight};
use crate::Kind;

/// Scores from which a head may be named; two rows make an untrained head look like anything.
const MIN_SCORES: u64 = 5;

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
    /// The score from which a head is named.
    pub threshold: f64,
    /// What the score must be over for a head to be named; `None` where the score is relative already.
    pub baseline: Option<Baseline>,
    /// Who defined it, and where.
    pub paper: &'static str,
    /// The kinds of attention it is looked for in.
    pub kinds: &'static [Kind],
    /// How it reads a map.
    #[serde(skip)]
    pub reads: Reads,
}

/// How a measure reads a map.
#[derive(Debug, Clone, Copy)]
pub enum Reads {
    /// A score for each query; `None` for a query that says nothing.
    Rows(fn(&Row<'_>) -> Option<Sample>),
    /// Scores of the words of a text, from the word that each looks at most.
    Words(fn(&WordLinks) -> Sums),
}

/// What a score is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Baseline {
    /// Short, and the same for ever.
    pub name: &'static str,
    /// The assumption, as a sentence: `every query looks at all keys it may see alike`.
    pub says: &'static str,
}

/// Knowing nothing but which keys there are to look at.
const UNIFORM: Baseline = Baseline { name: "uniform", says: "every query looks at all keys it may see alike" };
/// Knowing nothing but how many words there are to look at.
const CHANCE: Baseline =
    Baseline { name: "chance", says: "every target word looks most at a source word drawn at random" };

/// What sums say under a measure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Score {
    /// The mean score.
    pub value: f64,
    /// Its 95 % interval (Student's t, scores taken as independent), cut to the range; `None` of fewer than two scores.
    pub interval: Option<(f64, f64)>,
    /// The mean baseline.
    pub baseline: Option<f64>,
    /// Over how many queries, or words.
    pub n: u64,
}

/// Every measure. Broad comes last: it is no news by itself, since most heads of an untrained model are broad.
pub static MEASURES: [Measure; 8] = [
    Measure {
        name: "previous",
        title: "previous token",
        cross_title: Some("position before"),
        says: "mean weight one position back",
        formula: "(1/n) Σ_q w(q, q − 1); a query without such a key counts as 0",
        threshold: 0.5,
        paper: "Clark et al. 2019, §3.1",
        kinds: &Kind::ALL,
        reads: Reads::Rows(|row| Some(offset_weight(row, -1))),
        ..WEIGHT
    },
    Measure {
        name: "self",
        title: "own token",
        cross_title: Some("same position"),
        says: "mean weight on the query's own position",
        formula: "(1/n) Σ_q w(q, q); a query without such a key counts as 0",
        threshold: 0.5,
        paper: "Clark et al. 2019, §3.1",
        kinds: &Kind::ALL,
        reads: Reads::Rows(|row| Some(offset_weight(row, 0))),
        ..WEIGHT
    },
    Measure {
        name: "next",
        title: "next token",
        cross_title: Some("position after"),
        says: "mean weight one position ahead",
        formula: "(1/n) Σ_q w(q, q + 1); a query without such a key counts as 0",
        threshold: 0.5,
        paper: "Clark et al. 2019, §3.1",
        kinds: &[Kind::Encoder, Kind::Cross],
        reads: Reads::Rows(|row| Some(offset_weight(row, 1))),
        ..WEIGHT
    },
    Measure {
        name: "first",
        title: "first token (sink)",
        says: "mean weight on the first token",
        formula: "(1/n) Σ_q w(q, 0) over the queries that see more than the first key and whose token is not the first one again",
        threshold: 0.3,
        paper: "Gu et al. 2025, eq. 2, whose α_0 counts all queries, on 64 tokens",
        kinds: &[Kind::Encoder, Kind::Decoder],
        reads: Reads::Rows(first_key_weight),
        ..WEIGHT
    },
    Measure {
        name: "separator",
        title: "separator",
        says: "mean weight on separators and end tokens",
        formula: "(1/n) Σ_q Σ_k w(q,k) over the keys that separate or end texts, in texts that have any",
        threshold: 0.6,
        paper: "Clark et al. 2019, §3.2",
        kinds: &Kind::ALL,
        reads: Reads::Rows(|row| class(row, &row.columns.separators)),
        ..WEIGHT
    },
    Measure {
        name: "punctuation",
        title: "punctuation",
        says: "mean weight on punctuation",
        formula: "(1/n) Σ_q Σ_k w(q,k) over the keys of text without a letter or digit, in texts that have any",
        threshold: 0.6,
        paper: "Clark et al. 2019, §3.2",
        kinds: &Kind::ALL,
        reads: Reads::Rows(|row| class(row, &row.columns.punctuation)),
        ..WEIGHT
    },
    Measure {
        name: "coverage",
        title: "coverage",
        says: "share of source words that some target word looks at most",
        formula: "(1/n) Σ_s [some target word's largest weight lies on source word s], for heads whose largest weights average ½ or more; \
                  weights are summed over the pieces of a source word and averaged over those of a target word, special tokens are left out",
        unit: "share of the source words",
        over: "source words",
        threshold: 0.8,
        baseline: Some(CHANCE),
        paper: "Clark et al. 2019, §4.1, for words; whether the links are right takes a reference",
        kinds: &[Kind::Cross],
        reads: Reads::Words(WordLinks::coverage),
        ..WEIGHT
    },
    Measure {
        name: "broad",
        title: "broad",
        says: "entropy over that of looking at all visible keys alike",
        formula: "(1/n) Σ_q H(q) / ln(keys that q sees) over the queries that see two or more, H(q) = −Σ_k w(q,k) ln w(q,k)",
        unit: "share of the entropy of uniform attention",
        threshold: 0.8,
        baseline: None,
        paper: "Clark et al. 2019, §3.3, who give nats",
        kinds: &Kind::ALL,
        reads: Reads::Rows(|row| normalized_entropy(row).map(|score| Sample { score, baseline: 0.0 })),
        ..WEIGHT
    },
];

/// What most measures have in common: they are a share of the weight of a row.
const WEIGHT: Measure = Measure {
    name: "",
    title: "",
    cross_title: None,
    says: "",
    formula: "",
    unit: "share of a query's weight",
    over: "queries",
    range: (0.0, 1.0),
    threshold: 1.0,
    baseline: Some(UNIFORM),
    paper: "",
    kinds: &[],
    reads: Reads::Rows(|_| None),
};

impl Measure {
    /// The measure of this name.
    pub fn named(name: &str) -> Option<&'static Measure> {
        MEASURES.iter().find(|measure| measure.name == name)
    }

    /// What a head of this kind with a high score is said to do.
    pub fn title_for(&self, kind: Kind) -> &'static str {
        self.cross_title.filter(|_| kind == Kind::Cross).unwrap_or(self.title)
    }

    /// What the sums of a head say; `None` where the text had nothing to measure.
    pub fn score(&self, sums: &Sums) -> Option<Score> {
        let cut = |number: f64| number.clamp(self.range.0, self.range.1);
        Some(Score {
            value: sums.mean()?,
            interval: sums.interval().map(|(low, high)| (cut(low), cut(high))),
            baseline: self.baseline.and(sums.mean_baseline()),
            n: sums.n,
        })
    }

    /// Whether a head with this score is named: at least five scores, their mean at or over the threshold, and the low end
    /// of its interval over the baseline.
    pub fn names(&self, score: &Score) -> bool {
        let low = score.interval.map_or(f64::NEG_INFINITY, |(low, _)| low);
        score.n >= MIN_SCORES && score.value >= self.threshold && score.baseline.is_none_or(|baseline| low > baseline)
    }
}

impl PartialEq for Measure {
    fn eq(&self, other: &Measure) -> bool {
        self.name == other.name
    }
}

/// The weight on a class of keys; `None` in a text that has none of them.
fn class(row: &Row<'_>, keys: &Keys) -> Option<Sample> {
    (!keys.is_empty()).then(|| class_weight(row, keys))
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
            assert!(
                !measure.kinds.is_empty() && measure.range.0 < measure.threshold && measure.threshold < measure.range.1
            );
            assert!(measure.name.bytes().all(|byte| byte.is_ascii_lowercase()), "{}", measure.name);
            assert_eq!(MEASURES.iter().position(|other| other == measure), Some(index));
        }
    }

    #[test]
    fn a_head_is_named_from_five_scores_on_when_its_interval_lies_over_the_baseline() {
        let measure = Measure::named("previous").expect("it is a measure");
        let named = |scores: &[f64], baseline: f64| {
            let mut sums = Sums::default();
            scores.iter().for_each(|score| sums.add(Sample { score: *score, baseline }));
            measure.names(&measure.score(&sums).expect("there are scores"))
        };
        assert!(!named(&[0.9; 4], 0.1), "four scores");
        assert!(named(&[0.9; 5], 0.1));
        assert!(!named(&[0.4; 5], 0.1), "below the threshold");
        assert!(!named(&[0.9; 5], 0.9), "no more than the baseline");
        // mean 0.6, s = 0.55, t = 2.78: the interval begins below 0
        assert!(!named(&[1.0, 1.0, 1.0, 0.0, 0.0], 0.1), "too scattered");
    }
}
