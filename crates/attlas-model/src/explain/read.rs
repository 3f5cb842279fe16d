//! What a model reads of one text, number by number, and which token each number belongs to.

use std::sync::Arc;

use super::score::Score;
use crate::block::pass::{Array, Keep, Next, Pass, Progress, Site};
use crate::config::{Readout, Reads};
use crate::run::backward::{Backward, Gradients, Rules, Words};
use crate::run::input::Features;
use crate::{Error, Input, Model};

/// Numbers that one side reads: rows of the table of words, or an image or spectrogram.
#[derive(Debug, Clone)]
pub(super) struct ReadSide {
    /// Shape `[n, width]` of words, `[n_channels, height, width]` of an image, `[n_mels, n_frames]` of a spectrogram.
    pub values: Array,
    /// How numbers lie in tokens.
    places: Places,
}

/// How numbers lie in tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Places {
    /// Row by row.
    Rows,
    /// Square patches, after tokens that are no part of the image.
    Patches { n_leading: usize, side: usize },
    /// Columns, two of them a token.
    Frames,
    /// Samples, so many from one token to the next; the last one has those that are left.
    Samples { hop: usize, n_tokens: usize },
}

impl ReadSide {
    /// How many tokens there are.
    pub fn n_tokens(&self) -> usize {
        let shape = &self.values.shape;
        match self.places {
            Places::Rows => shape[0],
            Places::Patches { n_leading, side } => n_leading + (shape[1] / side) * (shape[2] / side),
            Places::Frames => shape[1] / 2,
            Places::Samples { n_tokens, .. } => n_tokens,
        }
    }

    /// The token that the number at a place belongs to; `None` at an edge of an image that no patch covers.
    pub fn token_of(&self, place: usize) -> Option<usize> {
        let shape = &self.values.shape;
        let last = place % shape[shape.len() - 1];
        match self.places {
            Places::Rows => Some(place / shape[1]),
            Places::Patches { n_leading, side } => {
                let (row, column) = (place / shape[2] % shape[1] / side, last / side);
                let [n_rows, n_columns] = [shape[1] / side, shape[2] / side];
                (row < n_rows && column < n_columns).then(|| n_leading + row * n_columns + column)
            }
            Places::Frames => Some(last / 2),
            Places::Samples { hop, n_tokens } => Some((last / hop).min(n_tokens.saturating_sub(1))),
        }
    }

    /// The sum of what a function says of each number, by token. Shape `[n_tokens]`.
    pub fn sums(&self, of: impl Fn(usize) -> f64) -> Vec<f64> {
        let mut sums = vec![0.0; self.n_tokens()];
        for place in 0..self.values.values.len() {
            if let Some(token) = self.token_of(place) {
                sums[token] += of(place);
            }
        }
        sums
    }

    /// Other numbers in the same places.
    fn with(&self, values: Vec<f32>) -> ReadSide {
        ReadSide { values: Array { shape: self.values.shape.clone(), values }, places: self.places }
    }

    /// All numbers times a factor.
    pub fn scaled(&self, factor: f64) -> ReadSide {
        self.with(self.values.values.iter().map(|value| (f64::from(*value) * factor) as f32).collect())
    }

    /// The numbers of a token are 0.
    pub fn without(&self, token: usize) -> ReadSide {
        let kept = |(place, value): (usize, &f32)| if self.token_of(place) == Some(token) { 0.0 } else { *value };
        self.with(self.values.values.iter().enumerate().map(kept).collect())
    }
}

/// What a model reads of one text. A side that it does not have is `None`.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub source: Option<ReadSide>,
    pub target: Option<ReadSide>,
}

/// A score of one text, to be computed from what the model reads, or from something else in its place.
pub(super) struct Explained<'a> {
    pub model: &'a Model,
    pub input: &'a Input,
    pub score: Score,
    pub read: Read,
}

/// Whom a run tells where it is.
pub(super) type Watch<'w> = dyn FnMut(Progress) -> Next + 'w;

/// Tokens that are computed beside each other.
const MAX_TOKENS: usize = 512;

impl<'a> Explained<'a> {
    /// # Errors
    /// When the input does not fit the model, or the model has no logits.
    pub fn new(model: &'a Model, input: &'a Input, score: &Score) -> Result<Explained<'a>, Error> {
        if matches!(model.transformer.architecture.readout, Readout::None) {
            let name = model.name();
            return Err(Error::Unsupported(format!("{name} has no logits: its files hold only the layers")));
        }
        let words = model.words(std::slice::from_ref(input))?;
        let rows =
            |words: Option<Array>| words.map(|array| ReadSide { values: without_batch(array), places: Places::Rows });
        let read = Read { source: rows(words.source).or_else(|| features(model, input)), target: rows(words.target) };
        Ok(Explained { model, input, score: Score { item: 0, ..*score }, read })
    }

    /// The score of the text itself and its gradients, those of these sites besides; the run keeps the same sites.
    pub fn gradients(&self, sites: &[Site], rules: Rules, watch: &mut Watch<'_>) -> Result<(f64, Gradients), Error> {
        let keep: Vec<Keep> = sites.iter().map(|site| Keep { site: *site, kind: None, layers: None }).collect();
        let pass = Pass { keep: keep.clone(), edits: Vec::new() };
        let options = Backward { keep, rules, ..Backward::default() };
        let mut value = 0.0;
        let mut score = |logits: &Array| {
            value = self.score.value(logits)?;
            self.score.gradient(logits)
        };
        let inputs = std::slice::from_ref(self.input);
        let gradients = self.model.backward_watched(inputs, &pass, &options, &mut score, watch)?;
        Ok((value, gradients))
    }

    /// Of gradients of a batch of one text, or of several that differ in what is read, those of one with respect to what it
    /// read.
    pub fn read_gradient(&self, gradients: &Gradients, item: usize) -> Read {
        let of = |side: &Option<ReadSide>, array: Option<&Array>| {
            let side = side.as_ref()?;
            let n = side.values.values.len();
            array.map(|array| side.with(array.values[item * n..][..n].to_vec()))
        };
        let source = gradients.words.source.as_ref().or(gradients.features.as_ref());
        Read { source: of(&self.read.source, source), target: of(&self.read.target, gradients.words.target.as_ref()) }
    }

    /// Computes the score from other numbers than the text's, `n` times; tells `visit` which it was, the score, and its
    /// gradient with respect to the numbers. They are made and computed as many at a time as memory and threads like.
    pub fn each_gradient(
        &self,
        n: usize,
        read: &dyn Fn(usize) -> Read,
        visit: &mut dyn FnMut(usize, f64, Read),
        watch: &mut Watch<'_>,
    ) -> Result<(), Error> {
        for steps in self.beside(n) {
            let reads: Vec<Read> = steps.clone().map(read).collect();
            let options = Backward { words: words(&reads), ..Backward::default() };
            let mut values = Vec::with_capacity(reads.len());
            let mut score = |logits: &Array| {
                let mut gradient = Vec::with_capacity(logits.values.len()); // shape of the logits
                for logits in items(logits) {
                    values.push(self.score.value(&logits)?);
                    gradient.extend(self.score.gradient(&logits)?);
                }
                Ok(gradient)
            };
            let gradients = self.model.backward_watched(&self.inputs(&reads), &NOTHING, &options, &mut score, watch)?;
            for (item, (step, value)) in steps.zip(values).enumerate() {
                visit(step, value, self.read_gradient(&gradients, item));
            }
        }
        Ok(())
    }

    /// The same without gradients. Shape `[n]`.
    pub fn values(&self, n: usize, read: &dyn Fn(usize) -> Read, watch: &mut Watch<'_>) -> Result<Vec<f64>, Error> {
        let mut values = Vec::with_capacity(n);
        for steps in self.beside(n) {
            let reads: Vec<Read> = steps.map(read).collect();
            let run =
                self.model.run_words(&self.inputs(&reads), &words(&reads), &Pass::keeping([Site::Logits]), watch)?;
            for logits in run.logits.iter().flat_map(items) {
                values.push(self.score.value(&logits)?);
            }
        }
        Ok(values)
    }

    /// Steps that are computed beside each other.
    fn beside(&self, n: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        let n_tokens = self.input.source.len() + self.input.target.len();
        let n_beside = (MAX_TOKENS / n_tokens.max(1)).clamp(1, 64);
        (0..n).step_by(n_beside).map(move |start| start..n.min(start + n_beside))
    }

    /// The input for each, with other pixels or frames where it has any.
    fn inputs(&self, reads: &[Read]) -> Vec<Input> {
        reads.iter().map(|read| self.with_features(read)).collect()
    }

    /// The input, with other pixels or frames where it has any.
    fn with_features(&self, read: &Read) -> Input {
        let mut input = self.input.clone();
        if let (Some(features), Some(side)) = (&input.features, &read.source) {
            input.features = Some(Arc::new(Features { array: side.values.clone(), ..(**features).clone() }));
        }
        input
    }
}

/// A pass that keeps nothing.
const NOTHING: Pass = Pass { keep: Vec::new(), edits: Vec::new() };

/// The rows of words that are read, as a batch.
fn words(reads: &[Read]) -> Words {
    let rows = |side: fn(&Read) -> Option<&ReadSide>| {
        let sides: Vec<&ReadSide> = reads.iter().filter_map(side).filter(|side| side.places == Places::Rows).collect();
        let shape = [&[sides.len()], &sides.first()?.values.shape[..]].concat();
        Some(Array { shape, values: sides.iter().flat_map(|side| &side.values.values).copied().collect() })
    };
    Words { source: rows(|read| read.source.as_ref()), target: rows(|read| read.target.as_ref()) }
}

/// The logits of each text of a batch, as those of a batch of one.
fn items(logits: &Array) -> impl Iterator<Item = Array> {
    let n: usize = logits.shape[1..].iter().product();
    let shape = [&[1], &logits.shape[1..]].concat();
    logits.values.chunks_exact(n.max(1)).map(move |values| Array { shape: shape.clone(), values: values.to_vec() })
}

/// An array of a batch of one, without that axis.
fn without_batch(mut array: Array) -> Array {
    array.shape.remove(0);
    array
}

/// The image or spectrogram that is read.
fn features(model: &Model, input: &Input) -> Option<ReadSide> {
    let values = input.features.as_ref()?.array.clone();
    let places = match &model.transformer.architecture.encoder.as_ref()?.embedding.reads {
        Reads::Patches(patches) => Places::Patches { n_leading: patches.n_leading(), side: patches.side },
        Reads::Grid(_) => return None, // refused before: nothing goes back to such an image
        Reads::Frames(_) => Places::Frames,
        Reads::Samples(samples) => {
            Places::Samples { hop: samples.hop(), n_tokens: samples.n_positions(values.values.len()) }
        }
        Reads::Tokens => return None,
    };
    Some(ReadSide { values, places })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(shape: &[usize], places: Places) -> ReadSide {
        let n = shape.iter().product::<usize>();
        ReadSide { values: Array { shape: shape.to_vec(), values: vec![1.0; n] }, places }
    }

    #[test]
    fn each_number_of_words_images_and_sounds_belongs_to_its_token() {
        assert_eq!(side(&[3, 4], Places::Rows).sums(|place| place as f64), [6.0, 22.0, 38.0]);
        // 2 colours, 3 × 5 pixels, patches of 2 × 2: the last row and the last column are read by none
        let image = side(&[2, 3, 5], Places::Patches { n_leading: 1, side: 2 });
        assert_eq!(image.sums(|_| 1.0), [0.0, 8.0, 8.0]);
        assert_eq!((image.token_of(4), image.token_of(7), image.token_of(10)), (None, Some(2), None));
        let sound = side(&[2, 6], Places::Frames);
        assert_eq!(sound.sums(|place| place as f64), [14.0, 22.0, 30.0]);
    }

    #[test]
    fn a_token_is_left_out_alone() {
        let image = side(&[1, 2, 4], Places::Patches { n_leading: 1, side: 2 });
        assert_eq!(image.without(2).values.values, [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(image.without(0).values.values, [1.0; 8]);
    }
}
