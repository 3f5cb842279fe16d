//! What the heads of a model do over a corpus: sums by shard, which merge in any order to the same bytes, intervals from the
//! shards, and the texts in which a head does its thing most.

mod bootstrap;
mod examples;
mod packed;

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use crate::analysis::{Annotations, HeadSums, Measure, Score, Sums};
use crate::{Error, HeadId, Kind, Recording};

pub use bootstrap::{N_RESAMPLES, Resamples};
pub use examples::{Example, Examples, MAX_EXAMPLES, Place};
pub use packed::{packed_sums, unpacked_sums};

/// Shards that texts are dealt out to by their bytes, whatever file, machine or order they come in.
pub const N_SHARDS: usize = 64;
/// Shards with texts below which there is no interval, since it would say little.
pub const FEW_SHARDS: usize = 8;

/// The sums of one measure, by shard. Shape `[N_SHARDS]`.
pub type ShardSums = [Sums; N_SHARDS];

/// A text by its bytes: 128 bits of a cryptographic hash, so that equal texts have equal ones and no others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextId(pub u128);

impl TextId {
    /// In hexadecimal.
    pub fn hex(self) -> String {
        format!("{:032x}", self.0)
    }

    /// The shard that the text belongs to, below [`N_SHARDS`].
    pub fn shard(self) -> usize {
        (self.0 >> (128 - N_SHARDS.ilog2())) as usize
    }
}

/// What was measured of one head under one measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// The kind of attention.
    pub kind: Kind,
    /// Layer and head.
    pub head: HeadId,
    /// The place of the measure in [`crate::analysis::MEASURES`].
    pub measure: usize,
    /// Which of the measure's variants.
    pub variant: usize,
}

/// What a corpus says of each head. Surveys of parts of a corpus merge, in any order, to that of the whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// Texts in each shard; one that comes twice counts twice.
    n_texts: [u64; N_SHARDS],
    /// Each head under each measure and variant, in order.
    cells: Vec<Cell>,
    /// Shape `[N_SHARDS, cells.len()]`: a text is taken in from front to back.
    sums: Vec<Vec<Sums>>,
    /// Where the scores of each cell are highest. Shape `[cells.len()]`.
    examples: Vec<Examples>,
}

/// What was measured of a text: `heads`, as [`crate::analysis::measure_with`] gives it with the same `annotations`.
#[derive(Debug, Clone)]
pub struct Measured<'a> {
    /// The text by its bytes.
    pub id: TextId,
    /// The text.
    pub text: Cow<'a, str>,
    /// What the model did on it.
    pub recording: &'a Recording,
    /// Which text of the recording it is.
    pub item: usize,
    /// What was measured.
    pub heads: &'a [HeadSums],
    /// What was known of the text.
    pub annotations: &'a Annotations,
}

/// Some neighbouring cells of a survey.
struct Part<'s> {
    /// The first of them.
    first: usize,
    /// Shape `[N_SHARDS, n_cells]`.
    sums: Vec<&'s mut [Sums]>,
    /// Shape `[n_cells]`.
    examples: &'s mut [Examples],
}

impl<'s> Part<'s> {
    /// Takes `n` cells off the front.
    fn take(&mut self, n: usize) -> Part<'s> {
        let first = self.first;
        self.first += n;
        let sums = self.sums.iter_mut().map(|sums| sums.split_off_mut(..n).unwrap_or_default()).collect();
        Part { first, sums, examples: self.examples.split_off_mut(..n).unwrap_or_default() }
    }

    /// Takes in what was measured of some heads on texts; `slots` are the places of their cells.
    fn take_in(&mut self, texts: &[Measured<'_>], heads: &Range<usize>, slots: &[usize]) -> Result<(), Error> {
        let mut found = Vec::new();
        for text in texts {
            let of_shard = &mut *self.sums[text.id.shard()];
            let mut slots = slots.iter().map(|slot| slot - self.first);
            for head in &text.heads[heads.clone()] {
                for (measure, variants) in &head.sums {
                    for ((variant, sums), slot) in variants.iter().enumerate().zip(&mut slots) {
                        of_shard[slot].merge(sums);
                        if let Some(score) = self.examples[slot].wants(text.id, sums, measure) {
                            self.examples[slot].add(Example::new(text.id, &text.text, score));
                            found.push((text, head, *measure, variant, slot));
                        }
                    }
                }
            }
        }
        // a map is read once more only for what no later text has beaten
        for (text, HeadSums { kind, head, .. }, measure, variant, slot) in found {
            if let Some(example) = self.examples[slot].get_mut(text.id) {
                let map = text.recording.map(text.item, *kind, head.layer, head.head)?;
                example.place = Place::of(&map, measure, variant, text.annotations);
            }
        }
        Ok(())
    }
}

/// The cells of what was measured of some heads, in order.
fn cells_of(heads: &[HeadSums]) -> impl Iterator<Item = Cell> + '_ {
    heads.iter().flat_map(|HeadSums { kind, head, sums, .. }| {
        sums.iter().flat_map(move |(measure, variants)| {
            let measure = index_of(measure);
            (0..variants.len()).map(move |variant| Cell { kind: *kind, head: *head, measure, variant })
        })
    })
}

/// Whether two texts have the same heads, measured alike.
fn have_same_cells(heads: &[HeadSums], others: &[HeadSums]) -> bool {
    let same = |(a, b): (&HeadSums, &HeadSums)| {
        (a.kind, a.head, a.sums.len()) == (b.kind, b.head, b.sums.len())
            && a.sums.iter().zip(&b.sums).all(|(a, b)| std::ptr::eq(a.0, b.0) && a.1.len() == b.1.len())
    };
    heads.len() == others.len() && heads.iter().zip(others).all(same)
}

impl Default for Survey {
    fn default() -> Survey {
        let sums = vec![Vec::new(); N_SHARDS];
        Survey { n_texts: [0; N_SHARDS], cells: Vec::new(), sums, examples: Vec::new() }
    }
}

impl Survey {
    /// Takes in what was measured of some texts, in parallel: each thread has some heads.
    ///
    /// # Errors
    /// When the map of an example cannot be read; never for a recording that was just made.
    pub fn take(&mut self, texts: &[Measured<'_>]) -> Result<(), Error> {
        let mut texts = texts;
        while let Some(first) = texts.first() {
            // texts that one model has read have the same heads
            let same = texts.iter().position(|text| !have_same_cells(text.heads, first.heads)).unwrap_or(texts.len());
            let (of_same, others) = texts.split_at(same);
            self.take_alike(of_same)?;
            texts = others;
        }
        Ok(())
    }

    /// Takes in texts of which the same heads were measured.
    fn take_alike(&mut self, texts: &[Measured<'_>]) -> Result<(), Error> {
        let Some(first) = texts.first() else { return Ok(()) };
        for text in texts {
            let n_texts = &mut self.n_texts[text.id.shard()];
            *n_texts = n_texts.saturating_add(1);
        }
        for cell in cells_of(first.heads) {
            self.slot(cell, usize::MAX); // a new one moves those behind it
        }
        let slots: Vec<usize> = cells_of(first.heads).map(|cell| self.slot(cell, usize::MAX)).collect();
        // a thread has the slots of some heads to itself where these lie in the order of the heads
        let is_rising = slots.is_sorted_by(|a, b| a < b);
        let n_parts = if is_rising { rayon::current_num_threads().min(first.heads.len()).max(1) } else { 1 };
        let mut rest = Part {
            first: 0,
            sums: self.sums.iter_mut().map(Vec::as_mut_slice).collect(),
            examples: &mut self.examples,
        };
        let (mut parts, mut head, mut slot) = (Vec::new(), 0, 0);
        for part in 0..n_parts {
            let end = first.heads.len() * (part + 1) / n_parts;
            let n_slots: usize =
                first.heads[head..end].iter().flat_map(|head| &head.sums).map(|(_, sums)| sums.len()).sum();
            let taken = slots.get(slot + n_slots).map_or(rest.examples.len(), |next| next - rest.first);
            parts.push((rest.take(taken), head..end, &slots[slot..slot + n_slots]));
            (head, slot) = (end, slot + n_slots);
        }
        parts.into_par_iter().try_for_each(|(mut part, heads, slots)| part.take_in(texts, &heads, slots))
    }

    /// Takes in all that another survey has.
    pub fn merge(&mut self, other: Survey) {
        for (n, others) in self.n_texts.iter_mut().zip(other.n_texts) {
            *n = n.saturating_add(others);
        }
        for (index, (cell, examples)) in other.cells.iter().zip(other.examples).enumerate() {
            let at = self.slot(*cell, index);
            for (sums, others) in self.sums.iter_mut().zip(&other.sums) {
                sums[at].merge(&others[index]);
            }
            self.examples[at].merge(examples);
        }
    }

    /// Puts back what was kept of a cell.
    pub fn put(&mut self, cell: Cell, sums: &ShardSums, examples: Examples) {
        let at = self.slot(cell, self.cells.len());
        for (all, sums) in self.sums.iter_mut().zip(sums) {
            all[at].merge(sums);
        }
        self.examples[at].merge(examples);
    }

    /// Puts back how many texts each shard has.
    pub fn put_texts(&mut self, n_texts: [u64; N_SHARDS]) {
        self.n_texts = n_texts;
    }

    /// Each head under each measure and variant, in order.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The sums of a cell of [`cells`](Self::cells), by shard.
    pub fn shard_sums(&self, index: usize) -> ShardSums {
        std::array::from_fn(|shard| self.sums[shard][index])
    }

    /// The sums of a cell, all shards together.
    pub fn total(&self, index: usize) -> Sums {
        let mut total = Sums::default();
        self.sums.iter().for_each(|sums| total.merge(&sums[index]));
        total
    }

    /// The texts where a cell's scores are highest.
    pub fn examples(&self, index: usize) -> &Examples {
        &self.examples[index]
    }

    /// Texts in each shard.
    pub fn n_texts(&self) -> &[u64; N_SHARDS] {
        &self.n_texts
    }

    /// How many texts there are.
    pub fn n_all_texts(&self) -> u64 {
        self.n_texts.iter().fold(0, |sum: u64, n| sum.saturating_add(*n))
    }

    /// How many shards have texts.
    pub fn n_shards(&self) -> usize {
        self.n_texts.iter().filter(|n| **n > 0).count()
    }

    /// What a head scores under a measure, the best of its variants, with the interval that `resamples` of the shards give,
    /// cut to the measure's range. `cells` are those of the head and measure, as places in [`cells`](Self::cells).
    pub fn score(&self, cells: Range<usize>, measure: &Measure, resamples: &Resamples) -> Option<Score> {
        let totals: Vec<Sums> = cells.clone().map(|cell| self.total(cell)).collect();
        let score = measure.score(&totals)?;
        let variant = score.variant.and_then(|name| measure.variants.iter().position(|known| *known == name));
        let cut = |number: f64| number.clamp(measure.range.0, measure.range.1);
        let interval = resamples.interval(&self.shard_sums(cells.start + variant.unwrap_or(0)));
        Some(Score { interval: interval.map(|(low, high)| (cut(low), cut(high))), ..score })
    }

    /// The place of a cell, which is made where there is none; `guess` is where it probably is.
    fn slot(&mut self, cell: Cell, guess: usize) -> usize {
        if self.cells.get(guess) == Some(&cell) {
            return guess;
        }
        match self.cells.binary_search(&cell) {
            Ok(at) => at,
            Err(at) => {
                self.cells.insert(at, cell);
                self.sums.iter_mut().for_each(|sums| sums.insert(at, Sums::default()));
                self.examples.insert(at, Examples::default());
                at
            }
        }
    }
}

/// The place of a measure in the table.
fn index_of(measure: &Measure) -> usize {
    crate::analysis::MEASURES.iter().position(|known| std::ptr::eq(known, measure)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{MEASURES, measure};
    use crate::attention::Shape;
    use crate::recording::Factored;
    use crate::{Buffer, Item, Layer, Provenance, Scoring, Token, TokenRole, Tokens, Visibility};

    const N: usize = 8;

    /// Texts of eight tokens and two heads with weights that look random; the first head of text 3 looks one token back.
    fn recording() -> Recording {
        let shape = Shape { n_heads: 2, n_kv_heads: 2, n_queries: N, n_keys: N, d_head: 0, d_value: 0 };
        let mut weights: Vec<f32> = (0..12 * 2 * N * N).map(|cell| (cell * 7919 % 101) as f32 / 800.0).collect(); // [12, 2, N, N]
        let first = 3 * 2 * N * N;
        for query in 0..N {
            let row = &mut weights[first + query * N..][..N];
            row.fill(0.0);
            row[query.saturating_sub(1)] = 1.0;
        }
        let item = |item: usize| {
            let target = Tokens::from_labels((0..N).map(|token| format!("{item}.{token}")));
            Item { source: target, ..Item::default() }
        };
        Recording {
            items: (0..12).map(item).collect(),
            layers: vec![Layer::new(Kind::Encoder, 0, shape, Buffer::from(weights))],
            provenance: Provenance::default(),
        }
    }

    fn survey(texts: &[usize]) -> Survey {
        let recording = recording();
        let mut survey = Survey::default();
        for &item in texts {
            let heads = measure(&recording, item).expect("the text exists");
            let id = TextId(((item % 10) as u128) << 122 | item as u128);
            let text = format!("text {item}");
            let (recording, heads, annotations) = (&recording, heads.as_slice(), &Annotations::NONE);
            let measured = Measured { id, text: text.into(), recording, item, heads, annotations };
            survey.take(&[measured]).expect("the maps are in memory");
        }
        survey
    }

    #[test]
    fn texts_taken_in_together_give_what_they_give_one_by_one() {
        let (recording, nothing) = (recording(), Annotations::NONE);
        let heads: Vec<Vec<HeadSums>> =
            (0..12).map(|item| measure(&recording, item).expect("the text exists")).collect();
        let text = |item: usize| Measured {
            id: TextId(((item % 10) as u128) << 122 | item as u128),
            text: format!("text {item}").into(),
            recording: &recording,
            item,
            heads: &heads[item],
            annotations: &nothing,
        };
        let mut together = Survey::default();
        together.take(&(0..12).map(text).collect::<Vec<_>>()).expect("the maps are in memory");
        assert_eq!(together, survey(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]));
        // a text with fewer heads and then all again
        let mut mixed = Survey::default();
        let one_head = Measured { heads: &heads[4][1..], ..text(4) };
        mixed.take(&[one_head.clone(), text(5), text(6)]).expect("the maps are in memory");
        let mut apart = Survey::default();
        [one_head, text(5), text(6)]
            .iter()
            .for_each(|text| apart.take(std::slice::from_ref(text)).expect("maps in memory"));
        assert_eq!(mixed, apart);
        assert_eq!(mixed.cells(), together.cells());
    }

    #[test]
    fn parts_of_a_corpus_merge_in_any_order_to_the_survey_of_the_whole() {
        let whole = survey(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 3]);
        assert_eq!((whole.n_all_texts(), whole.n_shards(), whole.n_texts()[3]), (13, 10, 2));
        let parts = [survey(&[5, 3, 11]), survey(&[0, 1, 2, 4]), survey(&[10, 9, 8, 7, 6, 3]), Survey::default()];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let mut merged = Survey::default();
            order.iter().for_each(|part| merged.merge(parts[*part].clone()));
            assert_eq!(merged, whole);
        }
    }

    /// A text of `n` tokens before padding up to `n_padded`, and a head of width 1 whose queries all look alike.
    fn long(n: usize, n_padded: usize) -> Recording {
        let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: n_padded, n_keys: n_padded, d_head: 1, d_value: 0 };
        let keys: Vec<f32> = (0..n_padded).map(|key| (key * 7919 % 101) as f32 / 20.0).collect();
        let sums = keys.iter().scan(0.0, |sum, key| {
            *sum += f64::from(*key).exp();
            Some(f64::ln(*sum))
        });
        let lse = sums.collect::<Vec<f64>>().into();
        let (queries, keys) = (Buffer::from(vec![1.0; n_padded]).into(), Buffer::from(keys).into());
        let scoring = Scoring::scaled_dot_product(1, Visibility::CAUSAL);
        let mut target = Tokens::from_labels((0..n_padded).map(|place| (place % 50).to_string()));
        target.tokens[n..].fill(Token { role: TokenRole::Padding, ..Token::labelled("<pad>") });
        let weights = Factored { scoring, queries, keys, lse, mask: None, key_bias: None };
        Recording {
            items: vec![Item { target, ..Item::default() }],
            layers: vec![Layer::new(Kind::Decoder, 0, shape, weights)],
            provenance: Provenance::default(),
        }
    }

    #[test]
    fn a_long_text_has_the_same_sums_alone_and_padded_beside_a_longer_one() {
        for n in [1040, 1500] {
            let [alone, padded] = [n, 2500].map(|n_padded| measure(&long(n, n_padded), 0).expect("the text exists"));
            assert!(alone[0].n_rows < alone[0].n_queries, "rows are sampled");
            assert_eq!(alone, padded, "{n} tokens");
        }
    }

    #[test]
    fn a_head_has_the_mean_over_all_texts_an_interval_and_the_text_where_it_does_it_most() {
        let survey = survey(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        let cell =
            survey.cells().iter().position(|cell| MEASURES[cell.measure].name == "previous").expect("it is a measure");
        let score =
            survey.score(cell..cell + 1, &MEASURES[0], &Resamples::of(survey.n_texts())).expect("there are rows");
        let (low, high) = score.interval.expect("ten shards");
        assert!(low < score.value && score.value < high && score.n == 96, "{score:?}");
        let best = &survey.examples(cell).as_slice()[0];
        assert_eq!((best.text.as_str(), best.score), ("text 3", 0.875), "the first row has no previous token");
        let place = best.place.as_ref().expect("rows are scored");
        assert_eq!((place.query, place.query_token.as_str(), place.key_token.as_str()), (1, "3.1", "3.0"));
        assert_eq!(survey.examples(cell).as_slice().len(), MAX_EXAMPLES);
    }
}
