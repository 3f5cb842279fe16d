//! The text whose output is explained, and what of the output is meant: shared by the commands that measure and explain.

use std::path::Path;

use attlas_model::explain::score::{Form, Metric, Score, Unchanged};
use attlas_model::{Array, Decoding, Error, Input, Model, Pass, RunOptions, Side};
use clap::{Args, ValueEnum};

use super::recorded::inputs_recorded;
use super::text::RawText;
use super::{
    IdList, ModelArguments, ends_as_text, input_of, names_recording, parse_ids, read_lines, read_text, tokens_of_ids,
};
use crate::failure::Failure;
use crate::words::counted;

/// What the model reads.
#[derive(Debug, Clone, Default, Args)]
pub struct SubjectArguments {
    /// A text, - for a text from standard input, a file of texts (.txt: one a line), or a recording (.safetensors) of the
    /// model, whose tokens are read again.
    #[arg(value_name = "TEXT | FILE", required_unless_present_any = ["source_ids", "target_ids"])]
    pub material: Option<RawText>,
    /// What the decoder of an encoder-decoder reads [default: what the model generates].
    #[arg(long, value_name = "TEXT", conflicts_with = "target_ids")]
    pub decoder_text: Option<RawText>,
    /// Token ids of the source instead of a text; no tokenizer is needed.
    #[arg(long, value_name = "IDS", value_parser = parse_ids, conflicts_with_all = ["material", "decoder_text"])]
    pub source_ids: Option<IdList>,
    /// Token ids that the decoder reads, its start token included.
    #[arg(long, value_name = "IDS", value_parser = parse_ids, conflicts_with_all = ["material", "decoder_text"])]
    pub target_ids: Option<IdList>,
    #[command(flatten)]
    pub model: ModelArguments,
}

/// Help of [`SubjectArguments::material`] of the commands that read one text.
pub const ONE_TEXT: &str = "A text, - for a text from standard input, a file of one text (.txt), or a recording \
                            (.safetensors) of one text and the model, whose tokens are read again";

/// Tokens that an encoder-decoder generates at most where its target is not given.
const MAX_TOKENS: usize = 256;

impl SubjectArguments {
    /// The texts, read as the model reads them, and whether some lines were left out.
    pub fn inputs(&self, model: &Model) -> Result<(Vec<Input>, bool), Failure> {
        if self.material.is_none() {
            let tokens = |side, ids: &Option<IdList>| match ids {
                Some(ids) => tokens_of_ids(model, side, ids),
                None => Ok(attlas::Tokens::default()),
            };
            let source = tokens(Side::Source, &self.source_ids)?;
            let target = tokens(Side::Target, &self.target_ids)?;
            return Ok((vec![self.continued(model, Input { source, target, ..Input::default() })?], false));
        }
        if let Some(path) = self.material.as_deref().filter(|raw| names_recording(raw)) {
            if self.decoder_text.is_some() {
                return Err(Failure::Usage(
                    "--decoder-text is for a text; a recording has what its decoder read".into(),
                ));
            }
            return Ok((inputs_recorded(Path::new(path), model)?, false));
        }
        let (texts, skipped) = self.texts()?;
        let decoder_text = self.decoder_text.as_deref().map(|raw| read_text(raw, "--decoder-text")).transpose()?;
        if let (Some(_), false) = (&decoder_text, model.has(Side::Source) && model.has(Side::Target)) {
            return Err(Failure::Usage(format!(
                "--decoder-text is for encoder-decoders, and {} is none",
                model.name()
            )));
        }
        let input = |text: &String| self.continued(model, input_of(model, text, decoder_text.as_deref())?);
        Ok((texts.iter().map(input).collect::<Result<_, Failure>>()?, skipped))
    }

    /// The texts as they were typed, or stand on the lines of the file.
    fn texts(&self) -> Result<(Vec<String>, bool), Failure> {
        let Some(raw) = self.material.as_deref() else { return Ok((Vec::new(), false)) };
        let path = Path::new(raw);
        if raw != "-" && ends_as_text(path) && path.is_file() {
            return read_lines(path);
        }
        Ok((vec![read_text(raw, "TEXT")?], false))
    }

    /// With what an encoder-decoder generates, where its target was not given.
    fn continued(&self, model: &Model, mut input: Input) -> Result<Input, Failure> {
        let is_open = self.decoder_text.is_none() && self.target_ids.is_none();
        if !(model.has(Side::Source) && model.has(Side::Target) && is_open) {
            return Ok(input);
        }
        if input.target.is_empty() {
            input.target = model.prompt_tokens("")?;
        }
        let options = RunOptions { decoding: Decoding::Greedy { max_tokens: MAX_TOKENS }, pass: Pass::default() };
        let mut run = model.run(std::slice::from_ref(&input), &options)?;
        if let Some(item) = run.recording.items.pop() {
            input.target = item.target;
        }
        Ok(input)
    }
}

/// What is measured of the output.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "What is measured")]
pub struct ScoreArguments {
    /// What is measured: loss (of a decoder, nats a token), kl, tvd or jsd (how far all of the output moves), or of one token
    /// or class logit, logit-diff, probability or log-probability [default: kl; with --target probability, with --foil
    /// logit-diff].
    #[arg(long, value_name = "METRIC", value_enum, hide_possible_values = true)]
    pub metric: Option<MetricName>,
    /// The token or class: as text, as it is written in the vocabulary, or as an id [default: the likeliest].
    #[arg(long, value_name = "TOKEN | CLASS")]
    pub target: Option<String>,
    /// What the target is held against.
    #[arg(long, value_name = "TOKEN | CLASS")]
    pub foil: Option<String>,
    /// The position whose output is measured, counted from 0: what a decoder predicts after it, a masked language model at it
    /// [default: the last of a decoder, the masked one].
    #[arg(long, value_name = "N")]
    pub position: Option<usize>,
}

/// A metric's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MetricName {
    Loss,
    Kl,
    Tvd,
    Jsd,
    Logit,
    #[value(name = "logit-diff")]
    LogitDifference,
    Probability,
    LogProbability,
}

impl MetricName {
    /// What is made of the logits, where the metric is about one token or class.
    fn form(self) -> Option<Form> {
        match self {
            MetricName::Logit | MetricName::LogitDifference => Some(Form::Logit),
            MetricName::Probability => Some(Form::Probability),
            MetricName::LogProbability => Some(Form::LogProbability),
            _ => None,
        }
    }
}

impl ScoreArguments {
    /// The metric of one text whose output is known.
    pub fn metric(&self, model: &Model, input: &Input, unchanged: &Unchanged) -> Result<Metric, Failure> {
        let name = self.metric.unwrap_or(match (&self.foil, &self.target) {
            (Some(_), _) => MetricName::LogitDifference,
            (None, Some(_)) => MetricName::Probability,
            (None, None) => MetricName::Kl,
        });
        if name.form().is_none() {
            let given = [(self.target.is_some(), "--target"), (self.foil.is_some(), "--foil")];
            let given =
                given.into_iter().chain([(self.position.is_some(), "--position")]).find(|(is_given, _)| *is_given);
            if let Some((_, option)) = given {
                return Err(Failure::Usage(format!(
                    "{option} is for --metric logit, logit-diff, probability or log-probability; this one is about all of the output"
                )));
            }
        }
        Ok(match name {
            MetricName::Loss => Metric::Loss,
            MetricName::Kl => Metric::KullbackLeibler,
            MetricName::Tvd => Metric::TotalVariation,
            MetricName::Jsd => Metric::JensenShannon,
            _ => {
                let score = self.score(model, input, &unchanged.logits)?;
                if (name == MetricName::LogitDifference) != score.foil.is_some() {
                    let message = match name {
                        MetricName::LogitDifference => {
                            "--metric logit-diff needs --foil: what the target is held against"
                        }
                        _ => "--foil is for --metric logit-diff",
                    };
                    return Err(Failure::Usage(message.to_owned()));
                }
                Metric::Score(Score { form: name.form().unwrap_or_default(), ..score })
            }
        })
    }

    /// The one number that is explained: a logit, or what a foil is less, unless another form is asked for.
    pub fn explained_score(&self, model: &Model, input: &Input, logits: &Array) -> Result<Score, Failure> {
        let name = self.metric.unwrap_or(MetricName::Logit);
        let Some(form) = name.form() else {
            return Err(Failure::Usage(
                "what is explained is one token or class: --metric logit, logit-diff, probability or log-probability"
                    .into(),
            ));
        };
        if name == MetricName::LogitDifference && self.foil.is_none() {
            return Err(Failure::Usage("--metric logit-diff needs --foil: what the target is held against".into()));
        }
        Ok(Score { form, ..self.score(model, input, logits)? })
    }

    /// The token or class that is meant, and where.
    pub fn score(&self, model: &Model, input: &Input, logits: &Array) -> Result<Score, Failure> {
        let meant = Predicted { target: self.target.as_deref(), foil: self.foil.as_deref(), position: self.position };
        meant.score(model, input, logits)
    }
}

/// A prediction as it was named.
#[derive(Debug, Clone, Copy)]
pub struct Predicted<'a> {
    /// The token or class; the likeliest when `None`.
    pub target: Option<&'a str>,
    /// What it is held against.
    pub foil: Option<&'a str>,
    /// The position that predicts it; the usual one when `None`.
    pub position: Option<usize>,
}

impl Predicted<'_> {
    /// The score that is meant.
    ///
    /// # Errors
    /// When a token, class or position is not there, or the foil is the target.
    pub fn score(self, model: &Model, input: &Input, logits: &Array) -> Result<Score, Failure> {
        let row = row_of(model, input, self.position, "--position")?;
        let mut score = model.likeliest(input, logits, row)?;
        if let Some(target) = self.target {
            score.target = model.target_named(target)?;
        }
        score.foil = self.foil.map(|foil| model.target_named(foil)).transpose()?;
        if score.foil == Some(score.target) {
            let which = if self.target.is_some() { "" } else { ", which is the likeliest" };
            return Err(Failure::Usage(format!("--foil is the target itself{which}; name another one")));
        }
        Ok(score)
    }
}

/// Where the output is measured, as [`Model::row_of`]; where a position must be named, the error says with which `options`.
pub fn row_of(model: &Model, input: &Input, position: Option<usize>, options: &str) -> Result<Option<usize>, Failure> {
    model.row_of(input, position).map_err(|error| match (error, position) {
        (Error::Input(message), None) => Failure::Input(format!("{message} ({options})")),
        (error, _) => error.into(),
    })
}

/// What a metric measures, in words: `probability of " mat" after position 5 (" the")`.
pub fn metric_in_words(metric: &Metric, model: &Model, input: &Input) -> String {
    let over = || counted(model.predicted_at(input).len(), "position");
    match metric {
        Metric::Loss => "mean loss of the text's tokens, in nats".to_owned(),
        Metric::KullbackLeibler => {
            format!("Kullback–Leibler divergence from the unchanged output, mean over {}, in nats", over())
        }
        Metric::TotalVariation => format!("total variation from the unchanged output, mean over {}", over()),
        Metric::JensenShannon => {
            format!("Jensen–Shannon divergence from the unchanged output, mean over {}, in nats", over())
        }
        Metric::Score(score) => model.score_in_words(score, input),
    }
}
