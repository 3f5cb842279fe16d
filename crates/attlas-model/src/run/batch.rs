//! Inputs of several lengths as one padded batch.

use std::borrow::Cow;

use attlas::{Item, TokenRole, Tokens};

use super::backward::Words;
use super::input::Input;
use super::seen::with_images;
use crate::Error;
use crate::block::state::{Batch, FeatureBatch, Source};

/// The ids of several texts, made equally long, or the features of several images or sounds.
pub(crate) struct PaddedBatch<'a> {
    n_items: usize,
    /// Source tokens of each item.
    pub n_source: usize,
    /// Target tokens of each item.
    pub n_target: usize,
    padding: u32,
    features: Option<AlikeFeatures<'a>>,
    /// Shape `[n_items, n_source]`.
    source_ids: Vec<u32>,
    /// Shape `[n_items, n_source]`.
    segments: Option<Vec<u32>>,
    /// Which source tokens are not padding; all when `None`. Shape `[n_items, n_source]`.
    pub source_valid: Option<Vec<bool>>,
    /// Shape `[n_items, n_target]`.
    target_ids: Vec<u32>,
    /// Shape `[n_items, n_target]`.
    pub target_valid: Option<Vec<bool>>,
    /// Rows that are read in the place of those that the ids have in the tables.
    pub words: Option<&'a Words>,
    /// The rows of target tokens, where images are among them. Shape `[n_items, n_target, width]`.
    pub seen: Option<Vec<f32>>,
    /// The positions of target tokens, where images are among them. Shape `[n_items, n_target]`.
    positions: Option<Vec<[u32; 3]>>,
}

/// Features of several inputs, all of one shape.
struct AlikeFeatures<'a> {
    /// One item's sizes.
    shape: &'a [usize],
    /// Shape `[n_items, ..shape]`.
    values: Cow<'a, [f32]>,
}

impl PaddedBatch<'_> {
    pub fn new(inputs: &[Input], padding: u32) -> Result<PaddedBatch<'_>, Error> {
        let longest = |side: fn(&Input) -> &Tokens| inputs.iter().map(|input| side(input).len()).max().unwrap_or(0);
        let (n_source, n_target) = (longest(|input| &input.source), longest(|input| &input.target));
        let mut batch = PaddedBatch {
            n_items: inputs.len(),
            n_source,
            n_target,
            padding,
            features: features(inputs)?,
            source_ids: Vec::new(),
            segments: None,
            source_valid: None,
            target_ids: Vec::new(),
            target_valid: None,
            words: None,
            seen: None,
            positions: None,
        };
        let (mut source_valid, mut target_valid, mut segments) = (Vec::new(), Vec::new(), Vec::new());
        for input in inputs {
            if batch.features.is_none() {
                fill(&input.source, n_source, padding, &mut batch.source_ids, &mut source_valid)?;
            }
            fill(&input.target, n_target, padding, &mut batch.target_ids, &mut target_valid)?;
            segments.extend_from_slice(&input.segments);
            segments.resize(source_valid.len(), 0);
        }
        batch.source_valid = source_valid.contains(&false).then_some(source_valid);
        batch.target_valid = target_valid.contains(&false).then_some(target_valid);
        batch.positions = positions(inputs, n_target);
        batch.segments = segments.iter().any(|segment| *segment > 0).then_some(segments);
        Ok(batch)
    }

    /// What the encoder reads.
    pub fn source(&self) -> Batch<'_> {
        Batch {
            n_items: self.n_items,
            n: self.n_source,
            ids: &self.source_ids,
            words: self.words.and_then(|words| words.source.as_ref()).map(|rows| rows.values.as_slice()),
            positions: None,
            features: self.features.as_ref().map(|all| FeatureBatch { shape: all.shape, values: &all.values }),
            token_types: self.segments.as_deref(),
            valid: self.source_valid.as_deref(),
            packing: None,
        }
    }

    /// What cross-attention reads: the encoder's rows and what is added to them for keys, both `[n_items, n_source, d_source]`.
    pub fn encoded<'b>(&'b self, hidden: &'b [f32], places: &'b [f32]) -> Source<'b> {
        Source { hidden, n: self.n_source, places, valid: self.source_valid.as_deref(), packing: None }
    }

    /// The rows of target tokens that are not those of the table: what was given, or those with images.
    fn target_words(&self) -> Option<&[f32]> {
        let given = self.words.and_then(|words| words.target.as_ref()).map(|rows| rows.values.as_slice());
        given.or(self.seen.as_deref())
    }

    /// What the decoder reads.
    pub fn target(&self) -> Batch<'_> {
        Batch {
            n_items: self.n_items,
            n: self.n_target,
            ids: &self.target_ids,
            words: self.target_words(),
            positions: self.positions.as_deref(),
            features: None,
            token_types: None,
            valid: self.target_valid.as_deref(),
            packing: None,
        }
    }

    /// The items of the recording, padded alike.
    pub fn items(&self, inputs: &[Input], predicted: impl Fn(usize, &Input) -> Tokens) -> Vec<Item> {
        let padded = |tokens: Tokens, n: usize| {
            let mut tokens = tokens;
            let padding =
                attlas::Token { id: Some(self.padding), role: TokenRole::Padding, ..attlas::Token::labelled("[PAD]") };
            tokens.tokens.resize(n, padding);
            tokens
        };
        let item = |(index, input): (usize, &Input)| {
            let predicted = predicted(index, input);
            let n_predicted = if predicted.is_empty() { 0 } else { self.n_target };
            let item = Item {
                source: padded(input.source.clone(), self.n_source),
                target: padded(input.target.clone(), self.n_target),
                predicted: padded(predicted, n_predicted),
                image: input.features.as_ref().and_then(|features| features.image.clone()),
                n_sound: input.features.as_ref().and_then(|features| features.n_sound),
                ..Item::default()
            };
            with_images(item, input)
        };
        inputs.iter().enumerate().map(item).collect()
    }
}

/// The positions of target tokens, where a text has images among them: each text counts its own. Shape `[n_items, n]`.
fn positions(inputs: &[Input], n: usize) -> Option<Vec<[u32; 3]>> {
    inputs.iter().any(|input| input.seen.is_some()).then(|| {
        let plain = || (0..n as u32).map(|position| [position; 3]).collect();
        inputs.iter().flat_map(|input| input.seen.as_ref().map_or_else(plain, |seen| seen.positions(n))).collect()
    })
}

/// The features of all inputs, which must be alike; `None` where texts are read.
fn features(inputs: &[Input]) -> Result<Option<AlikeFeatures<'_>>, Error> {
    let all: Vec<_> = inputs.iter().filter_map(|input| input.features.as_deref()).collect();
    let Some(first) = all.first() else { return Ok(None) };
    let shape = first.array.shape.as_slice();
    if let Some(place) = all.iter().position(|other| other.array.shape != shape) {
        return Err(Error::Input(format!(
            "input {place} has the shape {:?} and input 0 {shape:?}; run images of different sizes one by one",
            all[place].array.shape
        )));
    }
    let values = match all.as_slice() {
        [only] => Cow::Borrowed(only.array.values.as_slice()),
        _ => all.iter().flat_map(|features| &features.array.values).copied().collect(),
    };
    Ok(Some(AlikeFeatures { shape, values }))
}

/// Appends `n` ids of one text and which of them are not padding.
fn fill(tokens: &Tokens, n: usize, padding: u32, ids: &mut Vec<u32>, valid: &mut Vec<bool>) -> Result<(), Error> {
    for index in 0..n {
        match tokens.tokens.get(index) {
            Some(token) => {
                let id = token.id.ok_or_else(|| Error::Input(format!("the token \"{}\" has no id", token.text)))?;
                ids.push(id);
                valid.push(token.role != TokenRole::Padding);
            }
            None => {
                ids.push(padding);
                valid.push(false);
            }
        }
    }
    Ok(())
}
