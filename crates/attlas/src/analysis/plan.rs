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

/// Some rows of a text, and what is asked of each.
pub(super) struct Plan<'a> {
    /// Shape `[n_rows]`.
    lines: Vec<Line<'a>>,
    weights: Vec<Question>,
    most: Vec<Question>,
    /// The keys of all questions, one after the other.
    keys: Vec<(usize, f32)>,
    /// The measures that read all weights of a row.
    rows: Vec<(usize, fn(&Row<'_>) -> Option<Sample>)>,
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
