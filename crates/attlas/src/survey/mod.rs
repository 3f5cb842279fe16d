//! What the heads of a model do over a corpus: sums by shard, which merge in any order to the same bytes, intervals from the
//! shards, and the texts in which a head does its thing most.

mod bootstrap;
mod examples;
mod packed;

use std::ops::Range;

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

impl Default for Survey {
    fn default() -> Survey {
        let sums = vec![Vec::new(); N_SHARDS];
        Survey { n_texts: [0; N_SHARDS], cells: Vec::new(), sums, examples: Vec::new() }
    }
}

impl Survey {
    /// Takes in what was measured of text `item` of a recording: `heads`, as
    /// [`crate::analysis::measure_with`] gives it with the same `annotations`.
    ///
    /// # Errors
    /// When the map of an example cannot be read; never for a recording that was just made.
    pub fn take(
        &mut self,
        (id, text): (TextId, &str),
        (recording, item): (&Recording, usize),
        heads: &[HeadSums],
        annotations: &Annotations,
    ) -> Result<(), Error> {
        let shard = id.shard();
        self.n_texts[shard] = self.n_texts[shard].saturating_add(1);
        let mut slot = 0; // cells come in the same order every time
        for HeadSums { kind, head, sums, .. } in heads {
            for (measure, variants) in sums {
                let index = index_of(measure);
                for (variant, sums) in variants.iter().enumerate() {
                    let at = self.slot(Cell { kind: *kind, head: *head, measure: index, variant }, slot);
                    slot = at + 1;
                    self.sums[shard][at].merge(sums);
                    if let Some(score) = self.examples[at].wants(id, sums, measure) {
                        let map = recording.map(item, *kind, head.layer, head.head)?;
                        self.examples[at].add(Example::new(
                            id,
                            text,
                            score,
                            Place::of(&map, measure, variant, annotations),
                        ));
                    }
                }
            }
        }
        Ok(())
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
            survey.take((id, &text), (&recording, item), &heads, &Annotations::NONE).expect("the maps are in memory");
        }
        survey
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
