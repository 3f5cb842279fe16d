//! Training text that is another each time it is read: how words are cut, case, final stops, names, sentences joined.
//!
//! What is drawn is a function of seed, epoch and pair, as the order of the pairs is: a run that goes on draws the same.

mod names;
mod segmentation;

use std::borrow::Cow;

use attlas::SplitMix64;
use attlas_model::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::batch::{Frame, Pair};
use crate::config::Recipe;
use crate::data::{Random, ids};
use crate::{Error, tokenizer};
use names::Names;
use segmentation::Merges;

/// The shares of training pairs that are varied, each in `[0, 1]`; with 0 everywhere the pairs are read as they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Variation {
    /// The probability with which a merge is left out when a source is cut into pieces (Provilkov et al. 2020).
    pub bpe_dropout: f64,
    /// Sources in lower case; the target stays as it is written, since that is how a translation is wanted.
    pub lower_case: f64,
    /// Source and target in capitals; not where that makes characters that the vocabulary does not have.
    pub upper_case: f64,
    /// Source and target without the mark at their end, where it is the same `.`, `?` or `!`.
    pub drop_stop: f64,
    /// Names and numbers that stand once in both texts, replaced by others. The others are names of the training text and, as
    /// often, made up.
    pub swap_names: f64,
    /// Pairs that are joined with the next one or two of their batch, up to 48 tokens.
    pub join: f64,
}

/// The most tokens of a side of joined pairs.
const MOST_JOINED: usize = 48;

/// A pair that variation makes longer than this is shown as it stands.
const MOST_TOKENS: usize = 96;

impl Variation {
    /// Checks every share.
    ///
    /// # Errors
    /// [`Error::Setting`] names it and its range.
    pub fn check(&self) -> Result<(), Error> {
        let shares = [
            ("BPE-dropout", self.bpe_dropout),
            ("the share in lower case", self.lower_case),
            ("the share in capitals", self.upper_case),
            ("the share of both cases", self.lower_case + self.upper_case),
            ("the share without a stop", self.drop_stop),
            ("the share with other names", self.swap_names),
            ("the share that is joined", self.join),
        ];
        match shares.into_iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            Some((name, share)) => Err(Error::Setting(format!("{name} is {share}; it must be between 0 and 1"))),
            None => Ok(()),
        }
    }

    /// The most tokens of a side that variation makes; 0 where nothing is varied.
    pub(crate) fn longest(&self) -> usize {
        if *self == Variation::default() { 0 } else { MOST_TOKENS }
    }
}

/// The training text, and what is needed to vary it.
#[derive(Debug)]
pub(crate) struct Varied {
    variation: Variation,
    seed: u64,
    /// The texts of the encoded pairs.
    texts: Vec<(String, String)>,
    merges: Option<Merges>,
    names: Option<Names>,
    unknown: Option<u32>,
    frame: Frame,
    most_tokens: usize,
}

impl Varied {
    /// The texts of the pairs at the places `kept`; `None` where nothing is to be varied.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when merges are to be left out and the tokenizer has none.
    pub(crate) fn new(
        recipe: &Recipe,
        tokenizer: &Tokenizer,
        json: &[u8],
        texts: &[(String, String)],
        kept: &[usize],
    ) -> Result<Option<Varied>, Error> {
        let variation = recipe.variation;
        if variation == Variation::default() {
            return Ok(None);
        }
        let texts: Vec<(String, String)> = kept.iter().map(|place| texts[*place].clone()).collect();
        Ok(Some(Varied {
            variation,
            seed: recipe.seed,
            merges: (variation.bpe_dropout > 0.0).then(|| Merges::read(json, tokenizer)).transpose()?,
            names: (variation.swap_names > 0.0).then(|| Names::of(&texts)),
            texts,
            unknown: tokenizer.id(tokenizer::SPECIAL[3]),
            frame: tokenizer::frame(tokenizer)?,
            most_tokens: MOST_TOKENS.min(recipe.architecture.max_len),
        }))
    }

    /// The pairs of a batch as they are shown in an epoch; `pairs` are all pairs as they stand.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub(crate) fn batch(
        &self,
        tokenizer: &Tokenizer,
        pairs: &[Pair],
        batch: &[u32],
        epoch: u64,
    ) -> Result<Vec<Pair>, Error> {
        let mut shown = Vec::with_capacity(batch.len());
        let mut rest = batch;
        while let Some(first) = rest.first() {
            let mut random = self.random(epoch, *first);
            let group;
            (group, rest) = rest.split_at(self.n_joined(pairs, rest, &mut random));
            match self.vary(tokenizer, pairs, group, &mut random)? {
                Some(pair) => shown.push(pair),
                None => shown.extend(group.iter().map(|index| pairs[*index as usize].clone())),
            }
        }
        Ok(shown)
    }

    fn random(&self, epoch: u64, pair: u32) -> Random {
        let mix = |x: u64| SplitMix64::new(x).number();
        Random::new(mix(mix(mix(self.seed) ^ mix(epoch.wrapping_add(0x7e87))) ^ u64::from(pair)))
    }

    /// How many of the next pairs become one: 1 mostly.
    fn n_joined(&self, pairs: &[Pair], next: &[u32], random: &mut Random) -> usize {
        if !random.happens(self.variation.join) {
            return 1;
        }
        let most = if random.happens(0.5) { 2 } else { 3 };
        let mut n_tokens = [0, 0];
        let fits = |index: &&u32| {
            let Pair { source, target } = &pairs[**index as usize];
            n_tokens = [n_tokens[0] + source.len(), n_tokens[1] + target.len() + 1];
            n_tokens.into_iter().all(|n| n <= MOST_JOINED)
        };
        next.iter().take(most).take_while(fits).count().max(1)
    }

    /// One pair of a group's texts, varied; `None` where it should be shown as it stands.
    fn vary(
        &self,
        tokenizer: &Tokenizer,
        pairs: &[Pair],
        group: &[u32],
        random: &mut Random,
    ) -> Result<Option<Pair>, Error> {
        let as_it_stands = match group {
            [one] => Some(&pairs[*one as usize]),
            _ => None,
        };
        let (source, target) = self.texts(group, random);
        let target = match (target, as_it_stands) {
            (Cow::Borrowed(_), Some(pair)) => pair.target.clone(),
            (target, _) => ids(tokenizer, &target)?,
        };
        let mut source = match (source, as_it_stands, &self.merges) {
            (Cow::Borrowed(_), Some(pair), None) => pair.source[..pair.source.len() - 1].to_vec(),
            (source, _, None) => ids(tokenizer, &source)?,
            (source, _, Some(merges)) => {
                let words = tokenizer.words(&source).map_err(|error| Error::Tokenizer(error.to_string()))?;
                let mut pieces = Vec::new();
                words.iter().for_each(|word| merges.cut(word, self.variation.bpe_dropout, random, &mut pieces));
                pieces
            }
        };
        source.push(self.frame.end);
        let pair = Pair { source, target };
        let n_unknown =
            |pair: &Pair| pair.source.iter().chain(&pair.target).filter(|id| Some(**id) == self.unknown).count();
        let n_before: usize = group.iter().map(|index| n_unknown(&pairs[*index as usize])).sum();
        let fits = pair.source.len().max(pair.target.len() + 1) <= self.most_tokens && !pair.target.is_empty();
        Ok((fits && n_unknown(&pair) <= n_before).then_some(pair))
    }

    /// The two texts of a group; borrowed where they are as they stand.
    fn texts(&self, group: &[u32], random: &mut Random) -> (Cow<'_, str>, Cow<'_, str>) {
        let swapped = |index: &u32| -> (Cow<'_, str>, Cow<'_, str>) {
            let (source, target) = &self.texts[*index as usize];
            let swap = self.names.as_ref().filter(|_| random.happens(self.variation.swap_names));
            match swap.and_then(|names| names.swap(source, target, random)) {
                Some((source, target)) => (source.into(), target.into()),
                None => (source.into(), target.into()),
            }
        };
        let joined = |(source, target): (Cow<'_, str>, Cow<'_, str>), next: (Cow<'_, str>, Cow<'_, str>)| {
            (format!("{source} {}", next.0).into(), format!("{target} {}", next.1).into())
        };
        let (mut source, mut target) = group.iter().map(swapped).reduce(joined).unwrap_or_default();
        if random.happens(self.variation.drop_stop)
            && let Some((bare_source, bare_target)) = without_stop(&source, &target)
        {
            (source, target) = (bare_source.to_string().into(), bare_target.to_string().into());
        }
        let case = random.uniform();
        if case < self.variation.lower_case {
            source = source.to_lowercase().into();
        } else if case < self.variation.lower_case + self.variation.upper_case {
            (source, target) = (source.to_uppercase().into(), target.to_uppercase().into());
        }
        (source, target)
    }
}

/// Both texts without the mark at their ends; `None` where they have none, another each, or several.
fn without_stop<'a>(source: &'a str, target: &'a str) -> Option<(&'a str, &'a str)> {
    let bare = |text: &'a str, stop: char| {
        let rest = text.trim_end().strip_suffix(stop)?.trim_end();
        rest.ends_with(char::is_alphanumeric).then_some(rest)
    };
    ['.', '?', '!'].into_iter().find_map(|stop| Some((bare(source, stop)?, bare(target, stop)?)))
}

#[cfg(test)]
mod tests;
