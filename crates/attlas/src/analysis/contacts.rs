//! Contacts of a protein, read off what its attention maps say of pairs of tokens.

use rayon::prelude::*;

use crate::grid::mean_rows;
use crate::{AttentionMap, Error, Kind, Layer, Recording, TokenRole, Tokens};

/// What maps say of the pairs of a text's tokens: how likely it is that two residues of a protein touch, or one head's
/// attention corrected for what tokens receive of all others.
#[derive(Debug, Clone, PartialEq)]
pub struct Contacts {
    /// The tokens, by their place in the text with its special tokens: those that the tokenizer added, and padding, are
    /// left out. Shape `[n]`.
    pub places: Vec<usize>,
    /// Of each pair, the same both ways. Shape `[n, n]`.
    pub numbers: Vec<f32>,
}

/// A pair of tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The first, as an index into [`Contacts::places`].
    pub one: usize,
    /// The second, which comes later.
    pub other: usize,
    /// What the maps say of the two.
    pub number: f32,
}

impl Contacts {
    /// The probability that two tokens touch, `1 / (1 + exp(−b − Σ_h β(h) · F(h)))`, where `F(h)` is what
    /// [`average_product_corrected`] makes of head `h`: a logistic regression on all heads (Rao et al. 2021).
    ///
    /// `weights` has a number for each head of each layer, layer by layer.
    ///
    /// # Errors
    /// When there is no such text, the heads are not as many as the weights, or the recording cannot be read.
    pub fn predicted(
        recording: &Recording,
        item: usize,
        kind: Kind,
        weights: &[f32],
        bias: f32,
    ) -> Result<Contacts, Error> {
        let layers = recording.layers_of(kind);
        let heads: Vec<(&Layer, usize)> =
            layers.flat_map(|layer| (0..layer.shape.n_heads).map(move |head| (layer, head))).collect();
        let (Some((first, _)), true) = (heads.first(), heads.len() == weights.len()) else {
            let (n_heads, n_weights) = (heads.len(), weights.len());
            return Err(Error::Inconsistent(format!(
                "contacts are read off {n_weights} heads, but the recording has {n_heads} of kind {kind}"
            )));
        };
        let places = places(recording, first, item)?;
        let sides = |layer: &Layer| [layer.shape.n_queries, layer.shape.n_keys];
        if let Some((other, _)) = heads.iter().find(|(layer, _)| sides(layer) != sides(first)) {
            let ([n, _], [n_queries, n_keys]) = (sides(first), sides(other));
            return Err(Error::Inconsistent(format!(
                "contacts are between the {n} tokens of {kind} layer {}, but layer {} has {n_queries} queries and {n_keys} keys",
                first.index, other.index
            )));
        }
        let summed = |mut sums: Vec<f64>, ((layer, head), weight): (&(&Layer, usize), &f32)| {
            let corrected = corrected(recording, layer, item, Some(*head), &places)?;
            sums.iter_mut().zip(corrected).for_each(|(sum, number)| *sum += f64::from(*weight) * number);
            Ok(sums)
        };
        // heads are added in order within each of a fixed number of runs: the sum does not depend on threads
        let none = || vec![0.0; places.len() * places.len()]; // [n, n]
        let runs = heads.par_chunks(HEADS_OF_A_RUN).zip(weights.par_chunks(HEADS_OF_A_RUN));
        let sums: Vec<Vec<f64>> = runs
            .map(|(heads, weights)| heads.iter().zip(weights).try_fold(none(), summed))
            .collect::<Result<_, Error>>()?;
        let mut numbers = vec![f64::from(bias); places.len() * places.len()]; // [n, n]
        for sums in sums {
            numbers.iter_mut().zip(sums).for_each(|(number, sum)| *number += sum);
        }
        let numbers = numbers.into_iter().map(|logit| (1.0 / (1.0 + (-logit).exp())) as f32).collect();
        Ok(Contacts { places, numbers })
    }

    /// What [`average_product_corrected`] makes of one head, or of the mean over a layer's heads.
    ///
    /// # Errors
    /// When there is no such text or head, or the recording cannot be read.
    pub fn of_head(recording: &Recording, item: usize, layer: &Layer, head: Option<usize>) -> Result<Contacts, Error> {
        let places = places(recording, layer, item)?;
        let corrected = corrected(recording, layer, item, head, &places)?;
        Ok(Contacts { numbers: corrected.into_iter().map(|number| number as f32).collect(), places })
    }

    /// The pairs that stand at least `apart` tokens from each other, the largest number first.
    pub fn pairs(&self, apart: usize) -> Vec<Pair> {
        let n = self.places.len();
        let later = |one: usize| (one.saturating_add(apart.max(1))..n).map(move |other| (one, other));
        let pair = |(one, other): (usize, usize)| Pair { one, other, number: self.numbers[one * n + other] };
        let mut pairs: Vec<Pair> = (0..n).flat_map(later).map(pair).collect();
        pairs.sort_by(|a, b| b.number.total_cmp(&a.number).then((a.one, a.other).cmp(&(b.one, b.other))));
        pairs
    }
}

/// Heads whose maps are added up by one thread, one after the other.
const HEADS_OF_A_RUN: usize = 8;

/// The two ways between tokens added up, less what the two would have if tokens only differed in what they have in all:
/// `F(i,j) = S(i,j) − S(i,·) · S(·,j) / S(·,·)` with `S = W + Wᵀ` (average product correction, Dunn et al. 2008; of attention, Rao et al.
/// 2021). A map of zeros stays one. Shape `[n, n]` of both.
pub fn average_product_corrected(weights: &[f32], n: usize) -> Vec<f64> {
    let mut both = vec![0.0; n * n]; // [n, n]
    for one in 0..n {
        for other in 0..n {
            both[one * n + other] = f64::from(weights[one * n + other]) + f64::from(weights[other * n + one]);
        }
    }
    let sums: Vec<f64> = both.chunks_exact(n.max(1)).map(|row| row.iter().sum()).collect(); // [n]
    let all: f64 = sums.iter().sum();
    if all != 0.0 {
        for (row, of_row) in both.chunks_exact_mut(n).zip(&sums) {
            row.iter_mut().zip(&sums).for_each(|(number, of_column)| *number -= of_row * of_column / all);
        }
    }
    both
}

/// One head's map, or the mean of a layer, between the tokens at `places`, corrected. Shape `[n, n]`.
fn corrected(
    recording: &Recording,
    layer: &Layer,
    item: usize,
    head: Option<usize>,
    places: &[usize],
) -> Result<Vec<f64>, Error> {
    let heads = head.map_or(0..layer.shape.n_heads, |head| head..head.saturating_add(1));
    let maps: Vec<AttentionMap<'_>> =
        heads.map(|head| recording.map_of(layer, item, head)).collect::<Result<_, _>>()?;
    let (n_queries, n_keys) = (layer.shape.n_queries, layer.shape.n_keys);
    let all = mean_rows(&maps, 0..n_queries); // [n_queries, n_keys]
    let cells = places.iter().flat_map(|query| places.iter().map(move |key| query * n_keys + key));
    let weights: Vec<f32> = cells.map(|cell| all[cell]).collect(); // [n, n]
    Ok(average_product_corrected(&weights, places.len()))
}

/// The tokens of a text that stand in it, each of which asks and is asked.
fn places(recording: &Recording, layer: &Layer, item: usize) -> Result<Vec<usize>, Error> {
    let n_items = recording.items.len();
    let item = recording.items.get(item).ok_or(Error::NoItem { item, n_items })?;
    let (n_queries, n_keys) = (layer.shape.n_queries, layer.shape.n_keys);
    if layer.kind == Kind::Cross || n_queries != n_keys {
        return Err(Error::Inconsistent(format!(
            "contacts are between tokens of one text, but {} layer {} has {n_queries} queries and {n_keys} keys of others",
            layer.kind, layer.index
        )));
    }
    let tokens: &Tokens = layer.query_tokens(item);
    let was_added = |place: &usize| {
        let token = tokens.tokens.get(*place);
        token.is_some_and(|token| {
            token.role == TokenRole::Special && token.span.is_none() && !stands_in_text(&token.text)
        })
    };
    Ok(tokens.unpadded(n_queries).into_iter().filter(|place| !was_added(place)).collect())
}

/// Whether a special token stands for a piece of a text, as a tokenizer never adds one. Tokens known by their ids have no span.
fn stands_in_text(name: &str) -> bool {
    let name = name.to_lowercase();
    name.contains("mask") || name.contains("unk")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_that_is_a_product_of_what_tokens_have_is_corrected_to_nothing() {
        // S(i,j) = a(i) · a(j)
        let a = [1.0, 2.0, 5.0];
        let weights: Vec<f32> = a.iter().flat_map(|one| a.iter().map(move |other| one * other / 2.0)).collect();
        assert!(average_product_corrected(&weights, 3).iter().all(|number| number.abs() < 1e-12));
    }

    #[test]
    fn the_correction_is_that_worked_by_hand() {
        // S = [[0, 3], [3, 4]], sums 3 and 7, 10 in all
        let found = average_product_corrected(&[0.0, 1.0, 2.0, 2.0], 2);
        let expected = [0.0 - 0.9, 3.0 - 2.1, 3.0 - 2.1, 4.0 - 4.9];
        assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12), "{found:?}");
        assert_eq!(average_product_corrected(&[0.0; 4], 2), [0.0; 4]);
        assert!(average_product_corrected(&[], 0).is_empty());
    }

    #[test]
    fn layers_of_several_sizes_are_refused() {
        use crate::attention::Shape;
        use crate::{Item, Provenance, Weights};

        let layer = |index, n| {
            let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: n, n_keys: n, d_head: 1, d_value: 1 };
            Layer::new(Kind::Encoder, index, shape, Weights::Dense(vec![0.5; n * n].into()))
        };
        let item = Item { source: Tokens::from_labels(["M", "K", "V"]), ..Item::default() };
        let layers = vec![layer(0, 3), layer(1, 2)];
        let recording = Recording { items: vec![item], layers, provenance: Provenance::default() };
        let error = Contacts::predicted(&recording, 0, Kind::Encoder, &[1.0; 2], 0.0).unwrap_err().to_string();
        assert!(error.contains("the 3 tokens of encoder layer 0, but layer 1 has 2 queries and 2 keys"), "{error}");
    }

    #[test]
    fn pairs_stand_as_far_apart_as_asked_and_the_largest_comes_first() {
        let numbers = (0..16).map(|place| [0, 1, 2, 3, 1, 0, 5, 6, 2, 5, 0, 7, 3, 6, 7, 0][place] as f32).collect();
        let contacts = Contacts { places: (0..4).collect(), numbers };
        let found: Vec<_> = contacts.pairs(2).iter().map(|pair| (pair.one, pair.other, pair.number)).collect();
        assert_eq!(found, [(1, 3, 6.0), (0, 3, 3.0), (0, 2, 2.0)]);
        assert_eq!(contacts.pairs(0).len(), 6);
        assert!(contacts.pairs(usize::MAX).is_empty());
    }
}
