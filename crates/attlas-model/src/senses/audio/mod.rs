//! Sounds as speech models read them: a WAV file as 30 seconds of log-mel spectrogram, or its samples.

mod mel;
mod picture;
pub(crate) mod tags;
mod wav;

use std::path::Path;
use std::sync::Arc;

use attlas::TokenRole;

pub(crate) use mel::Listening;
pub use picture::Spectrogram;

use crate::Error;
use crate::block::pass::{Array, Pass, Site};
use crate::config::{Reads, Samples};
use crate::model::Model;
use crate::run::input::{Features, Input};
use crate::run::record::RunOptions;

impl Model {
    /// Whether the model reads sounds.
    pub fn reads_sounds(&self) -> bool {
        let encoder = self.transformer.architecture.encoder.as_ref();
        encoder.is_some_and(|stack| matches!(stack.embedding.reads, Reads::Frames(_) | Reads::Samples(_)))
    }

    /// What a speech model reads of a WAV file, and what its decoder starts with: the tags that its transcripts begin
    /// with, the language as the model itself hears it unless one was chosen, and the target where one is given.
    ///
    /// # Errors
    /// When the model reads no sounds, or the file is no WAV.
    pub fn sound_input(&self, path: &Path, target: Option<&str>) -> Result<Input, Error> {
        let frames = match self.transformer.architecture.encoder.as_ref().map(|stack| &stack.embedding.reads) {
            Some(Reads::Frames(frames)) => frames,
            Some(Reads::Samples(samples)) => return self.samples_input(path, samples, target),
            _ => return Err(Error::Unsupported(format!("{} reads no sounds", self.name()))),
        };
        let listening = self.listening.clone().unwrap_or_else(|| Listening::of(frames));
        // the sizes agree before a spectrogram is made
        let shape = listening.shape();
        self.feature_tokens(&shape).map_err(|error| match &listening.file {
            Some(file) => Error::file(file, format!("(feature_size, chunk_length, hop_length): {error}")),
            None => error,
        })?;
        let sound = wav::open(path, listening.n_samples, listening.rate)?;
        let values = listening.spectrogram(&sound.samples);
        let n_sound = sound.samples.len().div_ceil(2 * frames.hop); // two frames of the spectrogram make a token
        let input = self.features_input(Array { shape: shape.to_vec(), values })?;
        let n_sound = Some(n_sound).filter(|n_sound| *n_sound < input.source.len());
        let features = input
            .features
            .map(|features| Arc::new(Features { n_sound, notes: sound.notes, ..Arc::unwrap_or_clone(features) }));
        let input = Input { features, ..input };
        if !self.has(crate::Side::Target) {
            return Ok(input);
        }
        let target = match target {
            Some(target) => {
                let text = self.target_tokens(target)?;
                let mut tokens = self.transcript_start(&input)?;
                tokens.text = text.text;
                tokens.tokens.extend(text.tokens.into_iter().skip_while(|token| token.role == TokenRole::Special));
                tokens
            }
            None => self.transcript_start(&input)?,
        };
        Ok(Input { target, ..input })
    }

    /// What a model of samples reads of a WAV file: the sound itself, of mean 0 and variance 1 where its folder says so.
    fn samples_input(&self, path: &Path, samples: &Samples, target: Option<&str>) -> Result<Input, Error> {
        if target.is_some() {
            return Err(Error::Input(format!("{} has no decoder and reads no target", self.name())));
        }
        let listening = self.listening.clone().unwrap_or_else(|| Listening::of_samples(samples));
        let sound = wav::open(path, listening.n_samples, listening.rate)?;
        let mut values = sound.samples;
        if listening.normalises {
            normalise(&mut values);
        }
        let input = self.features_input(Array { shape: vec![values.len()], values })?;
        let features =
            input.features.map(|features| Arc::new(Features { notes: sound.notes, ..Arc::unwrap_or_clone(features) }));
        Ok(Input { features, ..input })
    }

    /// The start token and the tags after it, the language as the model itself hears it unless its configuration names one.
    ///
    /// # Errors
    /// When the model has no start token, or cannot read the input.
    pub fn transcript_start(&self, input: &Input) -> Result<attlas::Tokens, Error> {
        let mut tokens = self.prompt_tokens("")?;
        let ids = &self.transformer.architecture.ids;
        if !ids.languages.is_empty() {
            let options = RunOptions { pass: Pass::keeping([Site::Logits]), ..RunOptions::default() };
            let run = self.run(&[Input { target: tokens.clone(), ..input.clone() }], &options)?;
            let logits = run.logits.map(|logits| logits.values).unwrap_or_default();
            let loudness = |id: &&u32| logits.get(**id as usize).copied().unwrap_or(f32::NEG_INFINITY);
            let heard = ids.languages.iter().rev().max_by(|a, b| loudness(a).total_cmp(&loudness(b)));
            tokens.tokens.extend(heard.map(|id| self.token(*id)));
        }
        tokens.tokens.extend(ids.prompt.iter().map(|id| self.token(*id)));
        for token in &mut tokens.tokens {
            token.role = TokenRole::Special;
        }
        Ok(tokens)
    }
}

/// Gives samples mean 0 and variance 1, as `transformers`' Wav2Vec2FeatureExtractor does.
fn normalise(samples: &mut [f32]) {
    let n = samples.len().max(1) as f64;
    let mean = samples.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let variance = samples.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
    let deviation = (variance + 1e-7).sqrt();
    samples.iter_mut().for_each(|x| *x = ((f64::from(*x) - mean) / deviation) as f32);
}
