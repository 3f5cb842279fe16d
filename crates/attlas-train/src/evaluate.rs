//! How good a translator is: loss, accuracy, BLEU, exact matches, and whether its attention points at the right words.

use std::collections::BTreeMap;
use std::path::Path;

use attlas_model::{Decoding, Input, Model, Pass, RunOptions, Side, Site};
use serde::Serialize;

use crate::Error;
use crate::alignment::{self, Probe};
use crate::bleu::{self, Sentence};
use crate::data::{BadLines, read_pairs};

/// Sentence pairs per run of the model.
const BATCH: usize = 32;

/// Words of a source, between spaces, from which on it is long.
pub const LONG: usize = 10;

/// New tokens of a translation at most when nobody says.
pub const MAX_TOKENS: usize = 100;

/// What is evaluated and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What to do with lines that are no pairs.
    pub bad_lines: BadLines,
    /// How the translations come about; greedily by default. `attlas evaluate` uses [`Model::generating`].
    pub decoding: Decoding,
}

impl Default for Options {
    fn default() -> Options {
        Options { bad_lines: BadLines::Refuse, decoding: Decoding::Greedy { max_tokens: MAX_TOKENS } }
    }
}

/// The figures; the names are those of `attlas evaluate --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Cross-entropy of the target and its end token, in nats per token.
    pub loss_per_token: f64,
    /// `e` to the power of that.
    pub perplexity: f64,
    /// Share of target tokens whose logit is the largest, 0 to 1.
    pub token_accuracy: f64,
    /// BLEU of the translations against all references of the same source, 0 to 100; see [`bleu`].
    pub bleu: f64,
    /// The same of the sources of [`LONG`] words or more; `None` where there are none.
    pub bleu_long: Option<f64>,
    /// How many those are.
    pub n_long_sources: usize,
    /// How BLEU was computed.
    pub bleu_signature: &'static str,
    /// Share of sources whose translation is one of their references, 0 to 1.
    pub exact: f64,
    /// Share of the translations that hold a word which neither the training targets nor the source have, 0 to 1; `None` where
    /// nobody knows the words of the training targets ([`attlas_model::KnownWords`]).
    pub with_unknown_word: Option<f64>,
    /// Share of the translations that were cut because they repeated themselves, 0 to 1; 0 where loops are not cut.
    pub cut: f64,
    /// The alignment probe, per layer; see [`alignment`].
    pub alignment_accuracy: alignment::Accuracy,
    /// Sentence pairs.
    pub n_pairs: usize,
    /// Different source sentences.
    pub n_sources: usize,
    /// Target tokens, end tokens included.
    pub n_tokens: usize,
    /// Lines that were left out because they are no pairs.
    pub n_bad: usize,
    /// Pairs whose line has columns after the second, which were left out.
    pub n_wider: usize,
}

/// Where an evaluation is: pairs scored, then sources translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Done of both.
    pub done: usize,
    /// All of both.
    pub all: usize,
}

/// Evaluates a translator on a file of pairs.
///
/// # Errors
/// When the file is no file of pairs, or the model is no encoder-decoder with a tokenizer.
pub fn evaluate(
    model: &Model,
    pairs: &Path,
    options: Options,
    report: &mut dyn FnMut(Progress),
) -> Result<Evaluation, Error> {
    if !model.has(Side::Source) || !model.has(Side::Target) {
        return Err(Error::Model(format!("{} is no translator: it has no encoder or no decoder", model.name())));
    }
    let text = read_pairs(pairs, options.bad_lines)?;
    let mut references: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (source, target) in &text.pairs {
        references.entry(source).or_default().push(target.clone());
    }
    let all = text.pairs.len() + references.len();
    let mut sums = Sums::default();
    for (index, batch) in text.pairs.chunks(BATCH).enumerate() {
        sums.score(model, batch)?;
        report(Progress { done: (index * BATCH) + batch.len(), all });
    }
    let sources: Vec<(&str, Vec<String>)> = references.into_iter().collect();
    let mut sentences = Vec::with_capacity(sources.len());
    for batch in sources.chunks(BATCH) {
        sentences.extend(translate(model, batch, options.decoding, &mut sums)?);
        report(Progress { done: text.pairs.len() + sentences.len(), all });
    }
    let is_long = |source: &str| source.split_whitespace().count() >= LONG;
    let long: Vec<Sentence> =
        sources.iter().zip(&sentences).filter(|((source, _), _)| is_long(source)).map(|(_, it)| it.clone()).collect();
    let is_exact = |sentence: &&Sentence| sentence.references.contains(&sentence.hypothesis);
    let n_tokens = sums.n_tokens.max(1) as f64;
    let share = |n: usize| n as f64 / sentences.len().max(1) as f64;
    Ok(Evaluation {
        loss_per_token: sums.loss / n_tokens,
        perplexity: (sums.loss / n_tokens).exp(),
        token_accuracy: sums.n_correct as f64 / n_tokens,
        bleu: bleu::corpus(&sentences),
        bleu_long: (!long.is_empty()).then(|| bleu::corpus(&long)),
        n_long_sources: long.len(),
        bleu_signature: bleu::SIGNATURE,
        exact: share(sentences.iter().filter(is_exact).count()),
        with_unknown_word: model.known_words().map(|_| share(sums.n_with_unknown_word)),
        cut: share(sums.n_cut),
        alignment_accuracy: sums.probe.accuracy(),
        n_pairs: text.pairs.len(),
        n_sources: sentences.len(),
        n_tokens: sums.n_tokens,
        n_bad: text.n_bad,
        n_wider: text.n_wider,
    })
}

/// Sums over pairs.
#[derive(Default)]
struct Sums {
    loss: f64,
    n_correct: usize,
    n_tokens: usize,
    /// Translations that hold a word that the model does not know, and those that were cut.
    n_with_unknown_word: usize,
    n_cut: usize,
    probe: Probe,
}

impl Sums {
    /// Scores a batch of pairs with the target given.
    fn score(&mut self, model: &Model, pairs: &[(String, String)]) -> Result<(), Error> {
        let inputs: Result<Vec<Input>, _> =
            pairs.iter().map(|(source, target)| model.input(source, Some(target))).collect();
        let inputs = inputs.map_err(model_error)?;
        let options = RunOptions { pass: Pass::keeping([Site::Attention, Site::Logits]), ..RunOptions::default() };
        let run = model.run(&inputs, &options).map_err(model_error)?;
        let end = end_token(model)?;
        if let Some(logits) = &run.logits {
            let (n, n_vocab) = (logits.shape[1], logits.shape[2]);
            for (item, input) in inputs.iter().enumerate() {
                let ids: Vec<u32> = input.target.tokens.iter().filter_map(|token| token.id).collect();
                let predicted = ids[1..].iter().copied().chain([end]);
                for (row, target) in predicted.enumerate() {
                    let row = &logits.values[(item * n + row) * n_vocab..][..n_vocab];
                    self.add(row, target as usize);
                }
            }
        }
        for item in 0..inputs.len() {
            self.probe.add(&run.recording, item)?;
        }
        Ok(())
    }

    /// Adds one token's loss. Shape of `logits` `[n_vocab]`.
    fn add(&mut self, logits: &[f32], target: usize) {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|logit| f64::from(logit - max).exp()).sum();
        self.loss += sum.ln() + f64::from(max) - f64::from(logits[target]);
        self.n_correct += usize::from(logits[target] == max);
        self.n_tokens += 1;
    }
}

/// Translations of a batch of sources; what is to be known of them is counted.
fn translate(
    model: &Model,
    batch: &[(&str, Vec<String>)],
    decoding: Decoding,
    sums: &mut Sums,
) -> Result<Vec<Sentence>, Error> {
    let inputs: Result<Vec<Input>, _> = batch.iter().map(|(source, _)| model.input(source, None)).collect();
    let options = RunOptions { decoding, pass: Pass::keeping([]) };
    let run = model.run(&inputs.map_err(model_error)?, &options).map_err(model_error)?;
    let items = &run.recording.items;
    sums.n_with_unknown_word += items.iter().filter(|item| !item.unknown_words.is_empty()).count();
    sums.n_cut += items.iter().filter(|item| item.n_repeated.is_some()).count();
    let sentence = |((_, references), generation): (&(&str, Vec<String>), attlas_model::Generation)| Sentence {
        hypothesis: generation.text,
        references: references.clone(),
    };
    Ok(batch.iter().zip(run.generated).map(sentence).collect())
}

/// The token that ends a translation.
fn end_token(model: &Model) -> Result<u32, Error> {
    model.transformer().architecture.ids.ends.first().copied().ok_or_else(|| {
        Error::Model(format!(
            "{}: its config.json names no end token (eos); a target cannot be scored to its end",
            model.name()
        ))
    })
}

/// An error of the model, as this crate says it.
pub(crate) fn model_error(error: attlas_model::Error) -> Error {
    Error::Model(error.to_string())
}
