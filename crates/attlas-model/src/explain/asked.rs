//! What an explanation is about, as a reader names it: a token or class by its text, a metric by its name; and the text that an
//! encoder-decoder is asked about with the target that it generates itself.

use std::str::FromStr;

use attlas::printable::counted;
use attlas::{Kind, TokenRole};

use super::knock_out::Baseline;
use super::score::{Form, Metric, Score, Unchanged};
use crate::config::Readout;
use crate::{Array, Error, Input, Model, Next, Pass, Progress, RunOptions, Side, Site};

/// A prediction as it is named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Predicted<'a> {
    /// The token or class: as text, as it is written in the vocabulary, or as an id; the likeliest when `None`.
    pub target: Option<&'a str>,
    /// What it is held against.
    pub foil: Option<&'a str>,
    /// The position that predicts it; the usual one when `None` ([`Model::row_of`]).
    pub position: Option<usize>,
}

impl Predicted<'_> {
    /// The score that is meant, a logit.
    ///
    /// # Errors
    /// When a token, class or position is not there, or the foil is the target.
    pub fn score(self, model: &Model, input: &Input, logits: &Array) -> Result<Score, Error> {
        let mut score = model.likeliest(input, logits, self.position)?;
        if let Some(target) = self.target {
            score.target = model.target_named(target)?;
        }
        score.foil = self.foil.map(|foil| model.target_named(foil)).transpose()?;
        if score.foil == Some(score.target) {
            let which = if self.target.is_some() { "" } else { ", which is the likeliest" };
            return Err(Error::Plan(format!("the foil is the target itself{which}; name another one")));
        }
        Ok(score)
    }
}

/// A metric's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricName {
    /// [`Metric::Loss`].
    Loss,
    /// [`Metric::KullbackLeibler`].
    Kl,
    /// [`Metric::TotalVariation`].
    Tvd,
    /// [`Metric::JensenShannon`].
    Jsd,
    /// A logit, less that of the foil where there is one.
    Logit,
    /// A logit less that of the foil.
    LogitDifference,
    /// A probability.
    Probability,
    /// Its logarithm, in nats.
    LogProbability,
}

impl MetricName {
    /// Every metric by its name.
    pub const ALL: [(&'static str, MetricName); 8] = [
        ("loss", MetricName::Loss),
        ("kl", MetricName::Kl),
        ("tvd", MetricName::Tvd),
        ("jsd", MetricName::Jsd),
        ("logit", MetricName::Logit),
        ("logit-diff", MetricName::LogitDifference),
        ("probability", MetricName::Probability),
        ("log-probability", MetricName::LogProbability),
    ];

    /// What is made of the logits, where the metric is about one token or class.
    pub fn form(self) -> Option<Form> {
        match self {
            MetricName::Logit | MetricName::LogitDifference => Some(Form::Logit),
            MetricName::Probability => Some(Form::Probability),
            MetricName::LogProbability => Some(Form::LogProbability),
            _ => None,
        }
    }
}

impl FromStr for MetricName {
    type Err = String;

    fn from_str(name: &str) -> Result<MetricName, String> {
        let found = MetricName::ALL.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, metric)| metric).ok_or_else(|| {
            format!("there is no such metric; there are {}", MetricName::ALL.map(|(name, _)| name).join(", "))
        })
    }
}

/// What is measured of an output, as it is named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured<'a> {
    /// The metric; with a foil `logit-diff`, with a target `probability`, else `kl` when `None`.
    pub metric: Option<MetricName>,
    /// The token or class that it is about, where it is about one.
    pub predicted: Predicted<'a>,
}

impl Measured<'_> {
    /// The metric's name, chosen where none was named.
    pub fn name(self) -> MetricName {
        self.metric.unwrap_or(match (self.predicted.foil, self.predicted.target) {
            (Some(_), _) => MetricName::LogitDifference,
            (None, Some(_)) => MetricName::Probability,
            (None, None) => MetricName::Kl,
        })
    }

    /// The metric of one text whose output is known.
    ///
    /// # Errors
    /// As [`Predicted::score`]; when a token, foil or position is named for a metric that is about all of the output, or the foil of a
    /// difference is missing.
    pub fn metric(self, model: &Model, input: &Input, unchanged: &Unchanged) -> Result<Metric, Error> {
        let name = self.name();
        let Predicted { target, foil, position } = self.predicted;
        if let Some(form) = name.form() {
            let score = self.predicted.score(model, input, &unchanged.logits)?;
            self.check_foil()?;
            return Ok(Metric::Score(Score { form, ..score }));
        }
        let given = [(target.is_some(), "a target"), (foil.is_some(), "a foil"), (position.is_some(), "a position")];
        if let Some((_, what)) = given.into_iter().find(|(is_given, _)| *is_given) {
            return Err(Error::Plan(format!(
                "{what} is for the metrics logit, logit-diff, probability and log-probability; this one is about all of the output"
            )));
        }
        Ok(match name {
            MetricName::Loss => Metric::Loss,
            MetricName::Tvd => Metric::TotalVariation,
            MetricName::Jsd => Metric::JensenShannon,
            _ => Metric::KullbackLeibler,
        })
    }

    /// The one number that is explained: a logit, or what a foil is less, unless another form is asked for.
    ///
    /// # Errors
    /// As [`Predicted::score`]; for metrics that are about all of the output, and when a foil is missing.
    pub fn explained_score(self, model: &Model, input: &Input, logits: &Array) -> Result<Score, Error> {
        let name = self.metric.unwrap_or(MetricName::Logit);
        let Some(form) = name.form() else {
            return Err(Error::Plan(
                "what is explained is one token or class: its logit, logit-diff, probability or log-probability"
                    .to_owned(),
            ));
        };
        self.check_foil()?;
        Ok(Score { form, ..self.predicted.score(model, input, logits)? })
    }

    /// Refuses a difference of which one side is missing.
    fn check_foil(self) -> Result<(), Error> {
        match (self.name(), self.predicted.foil) {
            (MetricName::LogitDifference, None) => {
                Err(Error::Plan("logit-diff needs a foil: what the target is held against".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

impl Model {
    /// What a metric measures, in words: `probability of " mat" after position 5 (" the")`.
    pub fn metric_in_words(&self, metric: &Metric, input: &Input) -> String {
        let tokens = &self.predicted_at(input).tokens;
        let n = tokens.iter().filter(|token| token.role != TokenRole::Padding).count();
        match metric {
            Metric::Loss => "mean loss of the text's tokens, in nats".to_owned(),
            Metric::Score(score) => self.score_in_words(score, input),
            _ => self.distance_in_words(metric, &counted(n, "position")).unwrap_or_default(),
        }
    }

    /// How far a changed output is from the unchanged one, in words; of a model of classes, whose output has one row, without the positions
    /// over which the mean is taken. `None` of metrics that compare nothing.
    pub(super) fn distance_in_words(&self, metric: &Metric, positions: &str) -> Option<String> {
        let (what, unit) = match metric {
            Metric::KullbackLeibler => ("Kullback–Leibler divergence", ", in nats"),
            Metric::TotalVariation => ("total variation", ""),
            Metric::JensenShannon => ("Jensen–Shannon divergence", ", in nats"),
            Metric::Loss | Metric::Score(_) => return None,
        };
        let mean = match self.transformer.architecture.readout {
            Readout::Classes { .. } => String::new(),
            _ => format!(", mean over {positions}"),
        };
        Some(format!("{what} from the unchanged output{mean}{unit}"))
    }

    /// The logits of one text.
    ///
    /// # Errors
    /// As [`Model::run`]; where numbers are infinite or none (NaN), with the layer and head where they began.
    pub fn text_logits(&self, input: &Input) -> Result<Array, Error> {
        let options = RunOptions { pass: Pass::keeping([Site::Logits]), ..RunOptions::default() };
        let logits = self.run(std::slice::from_ref(input), &options)?.logits;
        let logits = logits.unwrap_or(Array { shape: vec![0], values: Vec::new() });
        if logits.values.iter().any(|logit| !logit.is_finite()) {
            Baseline::of(self, input)?; // says where they began
        }
        Ok(logits)
    }

    /// The text with what an encoder-decoder generates for it as its target, of `max_tokens` tokens at most, and what a reader
    /// must know of that; other models read the text as it is.
    ///
    /// # Errors
    /// As [`Model::run`], and [`Error::Stopped`] when `watch` says so.
    pub fn with_own_target(
        &self,
        mut input: Input,
        max_tokens: usize,
        watch: &mut dyn FnMut(Progress) -> Next,
    ) -> Result<(Input, Vec<String>), Error> {
        if !(self.has(Side::Source) && self.has(Side::Target)) {
            return Ok((input, Vec::new()));
        }
        if input.target.is_empty() {
            input.target = self.prompt_tokens("")?;
        }
        let options = RunOptions { decoding: self.generating(None, max_tokens), pass: Pass::default() };
        let mut run = self.run_watched(std::slice::from_ref(&input), &options, watch)?;
        let remarks = run.recording.remarks_on(0, Kind::Decoder);
        if let Some(item) = run.recording.items.pop() {
            input.target = item.target;
        }
        Ok((input, remarks))
    }
}
