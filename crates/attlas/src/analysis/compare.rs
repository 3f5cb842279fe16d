//! Two recordings held side by side: how far each head of one is from its counterpart in the other.

use std::ops::Range;

use rayon::prelude::*;

use super::assignment::cheapest;
use super::common::common_places;
use super::distance::{median, pairs};
use super::divergence::{Distributions, Maps};
use super::rows::evenly;
use super::{MAX_DIVERGENCE, Sums};
use crate::{Error, HeadId, Item, Kind, Layer, Recording, Tokens};

/// Pairs of heads of the first recording at most that say how far two heads are apart.
const MAX_BASELINE_PAIRS: usize = 2000;

/// Which head of the second recording goes with which of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Matching {
    /// The one of the same layer and number.
    #[default]
    Index,
    /// One to one, of any layer, so that all divergences together are least.
    Best,
}

/// What two recordings have of one kind of attention, head by head.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The kind of attention.
    pub kind: Kind,
    /// The texts that were compared, and what they have in common.
    pub texts: Vec<ComparedText>,
    /// Each head of the first recording that has a counterpart, layer by layer.
    pub heads: Vec<ComparedHead>,
    /// Heads of the first recording without a counterpart.
    pub only_first: Vec<HeadId>,
    /// Heads of the second without one.
    pub only_second: Vec<HeadId>,
    /// The divergence in the middle of those of two different heads of the first recording, on the same rows and columns: what a
    /// divergence is to be held against. `None` of a single head.
    pub between_heads: Option<f64>,
    /// Rows that were read of each head: of long texts evenly spaced ones.
    pub n_rows: usize,
    /// Rows that the texts have in common.
    pub n_queries: usize,
}

/// One text in both recordings, and which of its tokens are compared.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparedText {
    /// The text of each recording.
    pub items: [usize; 2],
    /// Whether tokens were held against each other by their text; else there was no text, and they were by their places.
    pub by_text: bool,
    /// The queries of both that are compared, rising; padding counted.
    pub queries: Vec<(usize, usize)>,
    /// The keys of both that are.
    pub keys: Vec<(usize, usize)>,
    /// The queries of each, padding left out.
    pub n_queries: [usize; 2],
    /// The keys of each.
    pub n_keys: [usize; 2],
    /// What the compared rows of each give to keys that are not compared, and to a learned sink, on average over heads, in 0 ..= 1;
    /// `None` where no row has weights.
    pub elsewhere: [Option<f64>; 2],
}

/// A head and its counterpart.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparedHead {
    /// The head of the first recording.
    pub first: HeadId,
    /// That of the second.
    pub second: HeadId,
    /// The divergences of their rows.
    pub sums: Sums,
    /// Where their weights differ most; `None` where none does.
    pub largest: Option<CellDifference>,
}

/// One query and key, and the weight that both heads have there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CellDifference {
    /// The text, by its place in [`Comparison::texts`].
    pub text: usize,
    /// The query in each recording, padding counted.
    pub queries: (usize, usize),
    /// The key in each.
    pub keys: (usize, usize),
    /// The weights: shares of the row.
    pub weights: [f64; 2],
}

impl ComparedHead {
    /// The mean over rows of the Jensen–Shannon divergence, in nats, 0 to ln 2; `None` where a row of either has a number that
    /// is no weight, or no row of both sees a key.
    pub fn divergence(&self) -> Option<f64> {
        self.sums.mean()
    }

    /// Its 95 % interval (Student's t, rows taken as independent), cut to the range; `None` of fewer than two rows.
    pub fn interval(&self) -> Option<(f64, f64)> {
        let (low, high) = self.sums.interval()?;
        Some((low.clamp(0.0, MAX_DIVERGENCE), high.clamp(0.0, MAX_DIVERGENCE)))
    }
}

/// Compares the heads of one kind on some texts, each given by its place in the first and in the second recording.
///
/// Tokens are aligned by the longest common subsequence of their texts (a space at the start does not count), and by their
/// places where there are no texts. Rows of tokens that only one side has are left out. What a row gives to such keys, and
/// to a learned sink, stays in it as one more place, so rows are not rescaled: [`ComparedText::elsewhere`] says how much
/// that is. The divergence is then that of [`divergence()`](super::divergence()), and never more than that of the whole rows.
///
/// # Errors
/// When one of them has no such kind or text, its maps are of different tokens, the texts have no query or no key in common or are
/// too long to be aligned, or a file cannot be read; [`Error::TooMany`] of
/// more than 2048 heads where the best match is looked for, or of more than 2²⁷ weights in a row of all heads.
pub fn compare(
    [first, second]: [&Recording; 2],
    kind: Kind,
    texts: &[(usize, usize)],
    matching: Matching,
) -> Result<Comparison, Error> {
    let side = |&(a, b): &(usize, usize)| Side::of([first, second], kind, [a, b]);
    let mut sides = texts.iter().map(side).collect::<Result<Vec<Side<'_>>, Error>>()?;
    let Some(side) = sides.first() else {
        return Err(Error::Inconsistent("there is no text to compare".to_owned()));
    };
    let ids = [side.maps[0].ids(), side.maps[1].ids()];
    if matching == Matching::Best {
        side.maps.iter().try_for_each(Maps::check_paired)?;
    }
    let candidates = candidates(&ids, matching);
    let baseline = baseline_pairs(ids[0].len());
    let n_queries = sides.iter().map(|side| side.text.queries.len()).sum();
    sides.iter_mut().for_each(|side| side.sample(candidates.len() + baseline.len()));

    let (sums, between) = measured(&mut sides, &candidates, &baseline)?;
    let matched = match matching {
        Matching::Index => (0..candidates.len()).collect(),
        Matching::Best => best(&sums, ids[0].len(), ids[1].len()),
    };
    let head = |&place: &usize| {
        let (i, j) = candidates[place];
        ComparedHead { first: ids[0][i], second: ids[1][j], sums: sums[place], largest: None }
    };
    let mut heads: Vec<ComparedHead> = matched.iter().map(head).collect();
    let places: Vec<(usize, usize)> = matched.iter().map(|&place| candidates[place]).collect();
    for (text, side) in sides.iter_mut().enumerate() {
        find_largest(side, text, &places, &mut heads)?;
    }
    let without = |ids: &[HeadId], id: fn(&ComparedHead) -> HeadId| {
        ids.iter().copied().filter(|one| heads.iter().all(|head| id(head) != *one)).collect()
    };
    Ok(Comparison {
        kind,
        only_first: without(&ids[0], |head| head.first),
        only_second: without(&ids[1], |head| head.second),
        between_heads: median(between.iter().filter_map(Sums::mean).collect()),
        n_rows: sides.iter().map(|side| side.rows.len()).sum(),
        n_queries,
        texts: sides.into_iter().map(Side::into_text).collect(),
        heads,
    })
}

/// Pairs of different heads of the first recording, evenly spread over all of them.
fn baseline_pairs(n_heads: usize) -> Vec<(usize, usize)> {
    let n_pairs = n_heads * n_heads.saturating_sub(1) / 2;
    pairs(n_heads).step_by(n_pairs.div_ceil(MAX_BASELINE_PAIRS).max(1)).collect()
}

/// The divergences of the candidates, heads of the first and of the second, and of pairs of heads of the first.
fn measured(
    sides: &mut [Side<'_>],
    candidates: &[(usize, usize)],
    baseline: &[(usize, usize)],
) -> Result<(Vec<Sums>, Vec<Sums>), Error> {
    let mut sums = vec![Sums::default(); candidates.len()];
    let mut between = vec![Sums::default(); baseline.len()];
    for side in sides {
        side.for_each_band(|_, [a, b]| {
            sums.par_iter_mut().zip(candidates).for_each(|(sums, &(i, j))| sums.merge(&a.between(i, b, j)));
            between.par_iter_mut().zip(baseline).for_each(|(sums, &(i, j))| sums.merge(&a.between(i, a, j)));
        })?;
    }
    Ok((sums, between))
}

/// Which heads may go together: places of the first and of the second.
fn candidates(ids: &[Vec<HeadId>; 2], matching: Matching) -> Vec<(usize, usize)> {
    let (n_first, n_second) = (ids[0].len(), ids[1].len());
    match matching {
        Matching::Best => (0..n_first).flat_map(|i| (0..n_second).map(move |j| (i, j))).collect(),
        Matching::Index => {
            let same = |i: usize| ids[1].iter().position(|id| *id == ids[0][i]).map(|j| (i, j));
            (0..n_first).filter_map(same).collect()
        }
    }
}

/// The candidates, all of `n_first` × `n_second`, whose divergences together are least. One that has no divergence is taken only
/// where there is no other.
fn best(sums: &[Sums], n_first: usize, n_second: usize) -> Vec<usize> {
    let dearest = MAX_DIVERGENCE * (n_first + n_second) as f64;
    let costs: Vec<f64> = sums.iter().map(|sums| sums.mean().unwrap_or(dearest)).collect();
    let columns = cheapest(&costs, n_first, n_second);
    columns.iter().enumerate().filter_map(|(row, column)| Some(row * n_second + (*column)?)).collect()
}

/// The cells in which heads and their counterparts differ most: those farthest apart, of equals the first.
fn find_largest(
    side: &mut Side<'_>,
    text: usize,
    places: &[(usize, usize)],
    heads: &mut [ComparedHead],
) -> Result<(), Error> {
    let compared = side.text.clone();
    side.for_each_band(|rows, [a, b]| {
        heads.par_iter_mut().zip(places).for_each(|(head, &(i, j))| {
            for (row, &place) in rows.iter().enumerate() {
                let (Some(p), Some(q)) = (a.row(i, row), b.row(j, row)) else { continue };
                for (key, (p, q)) in p.iter().zip(q).take(compared.keys.len()).enumerate() {
                    let least = head.largest.map_or(0.0, |largest| (largest.weights[0] - largest.weights[1]).abs());
                    if (p - q).abs() > least {
                        let (queries, keys) = (compared.queries[place], compared.keys[key]);
                        head.largest = Some(CellDifference { text, queries, keys, weights: [*p, *q] });
                    }
                }
            }
        });
    })
}

/// One text in both recordings.
struct Side<'a> {
    maps: [Maps<'a>; 2],
    /// The rows that are read, by their place among the common queries.
    rows: Vec<usize>,
    text: ComparedText,
    /// The sum and number of what is given elsewhere.
    elsewhere: [(f64, usize); 2],
}

impl<'a> Side<'a> {
    fn of(recordings: [&'a Recording; 2], kind: Kind, items: [usize; 2]) -> Result<Side<'a>, Error> {
        let mut maps = [Maps::of(recordings[0], kind, items[0])?, Maps::of(recordings[1], kind, items[1])?];
        let text = align(recordings, &maps, items)?;
        for (side, maps) in maps.iter_mut().enumerate() {
            let pick = |pair: &(usize, usize)| if side == 0 { pair.0 } else { pair.1 };
            maps.queries = text.queries.iter().map(pick).collect();
            maps.keys = text.keys.iter().map(pick).collect();
        }
        Ok(Side { maps, rows: (0..text.queries.len()).collect(), text, elsewhere: [(0.0, 0); 2] })
    }

    /// Leaves out rows of a text that is too long to be read whole for so many pairs of heads.
    fn sample(&mut self, n_pairs: usize) {
        let n = self.text.queries.len();
        let n_rows = Maps::n_sampled(n, self.text.keys.len(), n_pairs);
        self.rows = evenly(n, n_rows).collect();
        for maps in &mut self.maps {
            maps.queries = self.rows.iter().map(|&row| maps.queries[row]).collect();
        }
    }

    /// Reads all rows of both, some at a time: which these are among the common queries, and the rows of all heads.
    fn for_each_band(&mut self, mut read: impl FnMut(&[usize], [&Distributions; 2])) -> Result<(), Error> {
        self.elsewhere = [(0.0, 0); 2];
        let bands: Vec<Range<usize>> = self.maps[0].bands(self.maps[1].heads.len())?.collect();
        for band in bands {
            let rows = [self.maps[0].read(band.clone())?, self.maps[1].read(band.clone())?];
            for (sum, (rows, maps)) in self.elsewhere.iter_mut().zip(rows.iter().zip(&self.maps)) {
                for head in 0..maps.heads.len() {
                    for share in (0..rows.n_rows).filter_map(|row| rows.row(head, row)?.last()) {
                        *sum = (sum.0 + share, sum.1 + 1);
                    }
                }
            }
            read(&self.rows[band], [&rows[0], &rows[1]]);
        }
        Ok(())
    }

    fn into_text(self) -> ComparedText {
        let mean = |(sum, n): (f64, usize)| (n > 0).then(|| sum / n as f64);
        ComparedText { elsewhere: self.elsewhere.map(mean), ..self.text }
    }
}

/// Which tokens of two texts are compared.
///
/// # Errors
/// As [`compare`].
fn align(recordings: [&Recording; 2], maps: &[Maps<'_>; 2], items: [usize; 2]) -> Result<ComparedText, Error> {
    let tokens = |side: usize, of: for<'t> fn(&Layer, &'t Item) -> &'t Tokens| {
        let item: &Item = &recordings[side].items[items[side]];
        maps[side].heads.first().map(|(layer, _)| of(layer, item))
    };
    let queries = |side| tokens(side, |layer, item| layer.query_tokens(item));
    let keys = |side| tokens(side, |layer, item| layer.key_tokens(item));
    let [first, second] = maps;
    let (rows, rows_by_text) = in_common([(queries(0), &first.queries), (queries(1), &second.queries)], "queries")?;
    let (columns, columns_by_text) = in_common([(keys(0), &first.keys), (keys(1), &second.keys)], "keys")?;
    Ok(ComparedText {
        items,
        by_text: rows_by_text && columns_by_text,
        queries: rows,
        keys: columns,
        n_queries: [first.queries.len(), second.queries.len()],
        n_keys: [first.keys.len(), second.keys.len()],
        elsewhere: [None; 2],
    })
}

/// The places that two axes have in common, each given by its tokens and the places that are not padding; and whether by texts.
fn in_common(sides: [(Option<&Tokens>, &Vec<usize>); 2], what: &str) -> Result<(Vec<(usize, usize)>, bool), Error> {
    let texts = |(tokens, places): (Option<&Tokens>, &Vec<usize>)| -> Vec<String> {
        let tokens = tokens.map_or(&[][..], |tokens| &tokens.tokens);
        places.iter().filter_map(|place| tokens.get(*place)).map(|token| plain(&token.text).to_owned()).collect()
    };
    let [first, second] = sides;
    let (a, b) = (texts(first), texts(second));
    let by_text = !a.is_empty() && !b.is_empty();
    if !by_text && first.1.len() != second.1.len() {
        return Err(Error::Inconsistent(format!(
            "one of the recordings has no tokens, and they have {} and {} {what}: nothing says which belong together",
            first.1.len(),
            second.1.len()
        )));
    }
    let common = if by_text { common_places(&a, &b)? } else { (0..first.1.len()).map(|n| (n, n)).collect() };
    if common.is_empty() {
        return Err(Error::Inconsistent(format!(
            "the texts have no token in common among their {} and {} {what}; heads are compared where they read the same",
            first.1.len(),
            second.1.len()
        )));
    }
    Ok((common.into_iter().map(|(a, b)| (first.1[a], second.1[b])).collect(), by_text))
}

/// A token's text without the space that begins a word, which only some tokenizers keep.
fn plain(text: &str) -> &str {
    text.strip_prefix(' ').filter(|rest| !rest.is_empty()).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::LN_2;

    use super::super::HeadDistances;
    use super::*;
    use crate::attention::Shape;
    use crate::{Provenance, Token, TokenRole};

    /// An encoder of one layer whose heads look at one key each: `looks[head][query]`.
    fn recording(text: &str, looks: &[&[usize]]) -> Recording {
        let source = Tokens::from_labels(text.split(' '));
        let n = source.len();
        let mut weights = vec![0.0; looks.len() * n * n]; // [heads, n, n]
        for (head, keys) in looks.iter().enumerate() {
            keys.iter().enumerate().for_each(|(query, key)| weights[(head * n + query) * n + key] = 1.0);
        }
        let shape =
            Shape { n_heads: looks.len(), n_kv_heads: looks.len(), n_queries: n, n_keys: n, d_head: 0, d_value: 0 };
        Recording {
            items: vec![Item { source, ..Item::default() }],
            layers: vec![Layer::new(Kind::Encoder, 0, shape, crate::Buffer::from(weights))],
            provenance: Provenance::default(),
        }
    }

    fn compared(a: &Recording, b: &Recording, matching: Matching) -> Comparison {
        compare([a, b], Kind::Encoder, &[(0, 0)], matching).expect("they have tokens in common")
    }

    #[test]
    fn a_recording_is_exactly_0_from_itself() {
        let one = recording("the cat sat", &[&[0, 0, 1], &[2, 2, 2]]);
        let found = compared(&one, &one, Matching::Index);
        assert!(found.heads.iter().all(|head| head.divergence() == Some(0.0) && head.largest.is_none()));
        assert_eq!(found.between_heads, Some(LN_2).map(|ln_2| (ln_2 * 2_f64.powi(32)).round() / 2_f64.powi(32)));
        assert_eq!((found.texts[0].elsewhere, found.n_rows), ([Some(0.0); 2], 3));
    }

    #[test]
    fn rows_are_compared_by_their_tokens_and_what_goes_elsewhere_stays_in_the_row() {
        // "red" and "old", "now" have no counterpart: rows the, cat, sat are compared on the keys the, cat, sat and elsewhere
        let a = recording("the red cat sat", &[&[0, 0, 1, 2]]);
        let b = recording("the old cat sat now", &[&[0, 0, 1, 0, 0]]);
        let found = compared(&a, &b, Matching::Index);
        let text = &found.texts[0];
        assert_eq!((text.queries.clone(), text.by_text), (vec![(0, 0), (2, 2), (3, 3)], true));
        // the: both at the; cat: both elsewhere; sat: at cat, and at the
        let head = &found.heads[0];
        assert!((head.divergence().expect("three rows") - LN_2 / 3.0).abs() < 1e-9);
        assert_eq!(text.elsewhere, [Some(1.0 / 3.0); 2]);
        let largest = head.largest.expect("one row differs");
        assert_eq!((largest.queries, largest.keys, largest.weights), ((3, 3), (0, 0), [0.0, 1.0]));
    }

    #[test]
    fn heads_that_changed_places_are_found_by_the_best_match() {
        let a = recording("a b c", &[&[0, 1, 2], &[2, 2, 2], &[0, 0, 0]]);
        let b = recording("a b c", &[&[0, 0, 0], &[0, 1, 2]]);
        let found = compared(&a, &b, Matching::Best);
        let pairs: Vec<_> = found.heads.iter().map(|head| (head.first.head, head.second.head)).collect();
        assert_eq!(pairs, [(0, 1), (2, 0)]);
        assert_eq!(found.only_first, [HeadId { layer: 0, head: 1 }]);
        assert!(found.heads.iter().all(|head| head.divergence() == Some(0.0)));
        let by_index = compared(&a, &b, Matching::Index);
        assert_eq!((by_index.heads.len(), by_index.only_first.len(), by_index.only_second.len()), (2, 1, 0));
        assert!(by_index.heads[0].divergence().is_some_and(|divergence| divergence > 0.4));
    }

    #[test]
    fn padding_is_no_token_and_a_space_at_the_start_does_not_count() {
        let mut a = recording("a b _", &[&[0, 1, 0]]);
        a.items[0].source.tokens[2].role = TokenRole::Padding;
        let mut b = recording("a b", &[&[0, 1]]);
        b.items[0].source.tokens[1] = Token::labelled(" b");
        let found = compared(&a, &b, Matching::Index);
        assert_eq!((found.texts[0].n_queries, found.n_queries), ([2, 2], 2));
        assert_eq!(found.heads[0].divergence(), Some(0.0));
    }

    #[test]
    fn recordings_without_tokens_are_compared_by_place_where_they_are_of_one_size() {
        let bare = |text: &str, looks: &[usize]| {
            let mut recording = recording(text, &[looks]);
            recording.items[0].source = Tokens::default();
            recording
        };
        let (a, b) = (bare("a b", &[0, 1]), bare("c d", &[0, 0]));
        let found = compared(&a, &b, Matching::Index);
        assert!(!found.texts[0].by_text);
        assert!((found.heads[0].divergence().expect("two rows") - LN_2 / 2.0).abs() < 1e-9);
        let longer = bare("a b c", &[0, 0, 0]);
        let error = compare([&a, &longer], Kind::Encoder, &[(0, 0)], Matching::Index).unwrap_err().to_string();
        assert!(error.starts_with("one of the recordings has no tokens, and they have 2 and 3 queries"), "{error}");
    }

    #[test]
    fn more_heads_than_can_be_compared_each_with_each_are_refused_but_not_by_index() {
        let many = recording("a", &vec![&[0][..]; 2049]);
        let message = compare([&many, &many], Kind::Encoder, &[(0, 0)], Matching::Best).unwrap_err().to_string();
        assert_eq!(message, "encoder attention has 2049 heads to compare each with each, more than the limit of 2048");
        assert_eq!(HeadDistances::of(&many, Kind::Encoder, 0).unwrap_err().to_string(), message);
        assert_eq!(compared(&many, &many, Matching::Index).heads.len(), 2049);
    }

    #[test]
    fn what_cannot_be_compared_is_told() {
        let (a, b) = (recording("a b", &[&[0, 1]]), recording("c d", &[&[0, 1]]));
        let error = |kind, texts: &[(usize, usize)]| compare([&a, &b], kind, texts, Matching::Index).unwrap_err();
        let nothing = error(Kind::Encoder, &[(0, 0)]).to_string();
        assert!(nothing.starts_with("the texts have no token in common among their 2 and 2 queries"), "{nothing}");
        assert!(error(Kind::Cross, &[(0, 0)]).to_string().contains("no cross attention"));
        assert!(error(Kind::Encoder, &[(0, 1)]).to_string().contains("no text 1"));
        assert!(error(Kind::Encoder, &[]).to_string().contains("no text"));
    }

    #[test]
    fn a_head_with_a_row_that_is_no_weight_has_no_divergence_and_the_others_have_theirs() {
        let a = recording("a b", &[&[0, 1], &[0, 0]]);
        let mut b = a.clone();
        let mut weights = a.layers[0].clone();
        let dense = vec![1.0, 0.0, 0.0, f32::NAN, 1.0, 0.0, 0.0, 1.0];
        weights.weights = crate::Buffer::from(dense).into();
        b.layers[0] = weights;
        let divergences =
            |matching| -> Vec<_> { compared(&a, &b, matching).heads.iter().map(ComparedHead::divergence).collect() };
        let by_index = divergences(Matching::Index);
        assert!(by_index[0].is_none() && by_index[1].is_some_and(|number| (number - LN_2 / 2.0).abs() < 1e-9));
        assert_eq!(divergences(Matching::Best), [Some(0.0), None], "the sound ones find each other");
    }
}
