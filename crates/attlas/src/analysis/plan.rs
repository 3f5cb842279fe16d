//! What the measures ask of some rows of a text, worked out once for all of its heads.

use std::ops::Range;

use super::target::{has, weight_on};
use super::{MEASURES, Measure, Query, Reads, Row, Rows, Sample, Sums, Target};
use crate::Kind;

/// The sums of one kind's measures, one after the other: every measure's variants are neighbours.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    /// Each measure, and the slot of its first variant; in the order of [`MEASURES`].
    measures: Vec<(&'static Measure, usize)>,
    n_slots: usize,
}

impl Slots {
    /// Those of the measures that are looked for in this kind.
    pub fn of(kind: Kind) -> Slots {
        let mut slots = Slots { measures: Vec::new(), n_slots: 0 };
        for measure in MEASURES.iter().filter(|measure| measure.kinds.contains(&kind)) {
            slots.measures.push((measure, slots.n_slots));
            slots.n_slots += measure.n_variants();
        }
        slots
    }

    /// How many sums a head has.
    pub fn len(&self) -> usize {
        self.n_slots
    }

    /// Each measure with its slots.
    pub fn measures(&self) -> impl Iterator<Item = (&'static Measure, Range<usize>)> + '_ {
        self.measures.iter().map(|(measure, first)| (*measure, *first..first + measure.n_variants()))
    }
}

/// What a measure makes of all weights of a row.
type OfRow = fn(&Row<'_>) -> Option<Sample>;

/// Some rows of a text, and what is asked of each.
pub(super) struct Plan<'a> {
    /// Shape `[n_rows]`.
    lines: Vec<Line<'a>>,
    weights: Vec<Question>,
    most: Vec<Question>,
    /// The keys of all questions, one after the other.
    keys: Vec<(usize, f32)>,
    /// The measures that read all weights of a row.
    rows: Vec<(usize, OfRow)>,
    n_read: usize,
}

/// What is asked of one row.
struct Line<'a> {
    query: Query<'a>,
    weights: Range<usize>,
    most: Range<usize>,
}

/// A target whose weight goes to a sum.
struct Question {
    slot: usize,
    keys: Range<usize>,
    baseline: f64,
}

impl<'a> Plan<'a> {
    /// What the measures ask of the rows of `queries`.
    pub fn of(rows: &'a Rows<'_>, queries: &[usize], slots: &Slots) -> Plan<'a> {
        let mut plan = Plan {
            lines: Vec::with_capacity(queries.len()),
            weights: Vec::new(),
            most: Vec::new(),
            keys: Vec::new(),
            rows: Vec::new(),
            n_read: rows.n_read(),
        };
        for (measure, range) in slots.measures() {
            if let Reads::Rows(sample) = measure.reads {
                plan.rows.push((range.start, sample));
            }
        }
        for &query in queries {
            plan.add(rows.query(query), slots);
        }
        plan
    }

    fn add(&mut self, query: Query<'a>, slots: &Slots) {
        let (first_weight, first_most) = (self.weights.len(), self.most.len());
        for (measure, range) in slots.measures() {
            for (variant, slot) in range.enumerate() {
                if let Reads::Weight(target) = measure.reads {
                    let question = target(&query, variant).map(|target| self.question(slot, target));
                    self.weights.extend(question);
                } else if let Reads::Most(target) = measure.reads {
                    let question = target(&query, variant).map(|target| self.question(slot, target));
                    self.most.extend(question);
                }
            }
        }
        let (weights, most) = (first_weight..self.weights.len(), first_most..self.most.len());
        self.lines.push(Line { query, weights, most });
    }

    fn question(&mut self, slot: usize, target: Target) -> Question {
        let first = self.keys.len();
        self.keys.extend(target.keys);
        Question { slot, keys: first..self.keys.len(), baseline: target.baseline }
    }

    /// The queries of the rows.
    pub fn of_queries(&self) -> impl Iterator<Item = &Query<'a>> {
        self.lines.iter().map(|line| &line.query)
    }

    /// Adds to a head's `sums` what its `weights` on the rows say, and shows each row to `also`. Shape of `weights` `[n_rows, n_read]`.
    pub fn answer(&self, weights: &[f32], sums: &mut [Sums], mut also: impl FnMut(&Row<'_>)) {
        let is_sound = are_finite(weights);
        for (index, line) in self.lines.iter().enumerate() {
            let weights = &weights[index * self.n_read..][..self.n_read];
            let row = Row::new(weights, &line.query);
            // of a row that is not all numbers no measure is one
            let is_sound = is_sound || are_finite(weights);
            let mut add = |slot: usize, sample: Sample| {
                sums[slot].add(if is_sound { sample } else { Sample { score: f64::NAN, ..sample } });
            };
            for Question { slot, keys, baseline } in &self.weights[line.weights.clone()] {
                add(*slot, Sample { score: weight_on(&self.keys[keys.clone()], weights), baseline: *baseline });
            }
            for Question { slot, keys, baseline } in &self.most[line.most.clone()] {
                let is_on = row.argmax_but_end().is_some_and(|found| has(&self.keys[keys.clone()], found));
                add(*slot, Sample { score: f64::from(u8::from(is_on)), baseline: *baseline });
            }
            for (slot, sample) in &self.rows {
                sample(&row).into_iter().for_each(|sample| add(*slot, sample));
            }
            also(&row);
        }
    }
}

/// Whether all weights are finite numbers.
fn are_finite(weights: &[f32]) -> bool {
    const INFINITY: u32 = f32::INFINITY.to_bits();
    // without an early end it is done several at a time
    weights.iter().fold(0, |largest, weight| (weight.to_bits() & INFINITY).max(largest)) < INFINITY
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::recording;
    use super::super::{Annotations, measure_with};
    use super::*;
    use crate::TokenRole;

    #[test]
    fn what_a_plan_answers_is_what_each_measure_says_of_each_row() {
        let n = 9;
        for kind in Kind::ALL {
            let mut weights: Vec<f32> = (0..n * n).map(|cell| (cell * 7919 % 101) as f32 / 400.0).collect(); // [n, n]
            if kind == Kind::Decoder {
                (0..n * n).filter(|cell| cell % n > cell / n).for_each(|cell| weights[cell] = 0.0);
            }
            weights[3 * n + 1] = f32::NAN;
            let mut recording = recording(kind, weights, n, n);
            let item = &mut recording.items[0];
            for tokens in [&mut item.source, &mut item.target].into_iter().filter(|tokens| !tokens.is_empty()) {
                for (token, text) in
                    tokens.tokens.iter_mut().zip(["the", "cat", ",", "the", "dog", "</s>", "a", "cat", "</s>"])
                {
                    token.text = text.into();
                    token.id = Some(text.len() as u32 * 7 + u32::from(text.as_bytes()[0]));
                    token.role = if text == "</s>" { TokenRole::Special } else { TokenRole::Text };
                }
            }
            let counts = Some(std::sync::Arc::new(vec![3; 200]));
            let phrases = vec![Some(0..3); n];
            let annotations =
                Annotations { counts, source_phrases: phrases.clone(), target_phrases: phrases, ..Annotations::NONE };
            let heads = measure_with(&recording, 0, &annotations).expect("the text exists");
            let map = recording.map(0, kind, 0, 0).expect("the head exists");
            let columns = std::sync::Arc::new(super::super::Columns::of(&map, &annotations));
            let rows = Rows::with_columns(&map, columns, usize::MAX);
            for (measure, sums) in &heads[0].sums {
                for (variant, found) in sums.iter().enumerate() {
                    let mut expected = Sums::default();
                    rows.for_each(|row| {
                        let is_sound = row.weights.iter().all(|weight| weight.is_finite());
                        let as_it_is =
                            |sample: Sample| if is_sound { sample } else { Sample { score: f64::NAN, ..sample } };
                        measure.sample(row, variant).map(as_it_is).into_iter().for_each(|sample| expected.add(sample));
                    });
                    let is_of_rows = !matches!(measure.reads, Reads::Whole(_));
                    assert!(!is_of_rows || *found == expected, "{kind} {}: {found:?}, not {expected:?}", measure.name);
                    assert!(!is_of_rows || expected.n > 0, "{kind}: {} says nothing", measure.name);
                }
            }
        }
    }
}
