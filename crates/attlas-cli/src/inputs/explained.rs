//! The text whose output is explained, and what of the output is meant: shared by the commands that measure and explain.

use std::collections::BTreeSet;
use std::path::Path;

use attlas_model::explain::asked::{Measured, MetricName, Predicted};
use attlas_model::explain::score::Score;
use attlas_model::{Array, Error, Input, Model, Next, Side};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::recorded::inputs_recorded;
use super::text::RawText;
use super::{
    IdList, ModelArguments, input_of, names_recording, names_text_file, parse_ids, read_lines, read_text,
    say_sentences, tokens_of_ids, which_text,
};
use crate::failure::{Failure, Outcome};
use crate::terminal::remark;

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
            let (input, remarks) = self.continued(model, Input { source, target, ..Input::default() })?;
            remarks.iter().for_each(|text| remark(text));
            return Ok((vec![input], false));
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
        texts.iter().for_each(|text| say_sentences(model, text, decoder_text.as_deref()));
        let mut said = BTreeSet::new(); // what is true of the model is so of each text
        let mut inputs = Vec::with_capacity(texts.len());
        for (place, text) in texts.iter().enumerate() {
            let (input, remarks) = self.continued(model, input_of(model, text, decoder_text.as_deref())?)?;
            let which = which_text(place, texts.len());
            for text in remarks {
                if said.insert(text.clone()) {
                    remark(&format!("{which}{text}"));
                }
            }
            inputs.push(input);
        }
        Ok((inputs, skipped))
    }

    /// The text of a command that is about one, and its outcome when all goes well; where there are several, the refusal begins with `about`.
    pub fn one_input(&self, model: &Model, about: &str) -> Result<(Input, Outcome), Failure> {
        let (mut inputs, skipped) = self.inputs(model)?;
        let n = inputs.len();
        match inputs.pop() {
            Some(input) if n == 1 => Ok((input, if skipped { Outcome::SomeSkipped } else { Outcome::Done })),
            _ => Err(Failure::Usage(format!("{about}, and there are {n}"))),
        }
    }

    /// The texts as they were typed, or stand on the lines of the file.
    fn texts(&self) -> Result<(Vec<String>, bool), Failure> {
        let Some(raw) = self.material.as_deref() else { return Ok((Vec::new(), false)) };
        if names_text_file(raw) {
            return read_lines(Path::new(raw));
        }
        Ok((vec![read_text(raw, "TEXT")?], false))
    }

    /// With what an encoder-decoder generates, where its target was not given, and what must be known of the text.
    fn continued(&self, model: &Model, input: Input) -> Result<(Input, Vec<String>), Failure> {
        if self.decoder_text.is_some() || self.target_ids.is_some() {
            let note = model.note_on_capitals(&input.source.text);
            return Ok((input, note.into_iter().collect()));
        }
        Ok(model.with_own_target(input, MAX_TOKENS, &mut |_| Next::Continue)?)
    }
}

/// What is measured of the output.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "What is measured")]
pub struct ScoreArguments {
    /// What is measured: loss (of a decoder, nats a token), kl, tvd or jsd (how far all of the output moves), or of one token
    /// or class logit, logit-diff, probability or log-probability [default: kl; with --target probability, with --foil
    /// logit-diff].
    #[arg(long, value_name = "METRIC", hide_possible_values = true, value_parser = metric_name())]
    pub metric: Option<MetricName>,
    /// The token or class: as text, as it is written in the vocabulary, or as an id, id:7 where a token is written 7 [default: the
    /// likeliest].
    #[arg(long, value_name = "TOKEN | CLASS")]
    pub target: Option<String>,
    /// What the target is held against: the metric of one token becomes its difference from that of the foil.
    #[arg(long, value_name = "TOKEN | CLASS")]
    pub foil: Option<String>,
    /// The position whose output is measured, counted from 0 and named by the token that is read there: what a decoder predicts
    /// after it, a masked language model at it [default: the last of a decoder, the masked one]. Row N of a map of
    /// cross-attention is named by the token that is predicted after it.
    #[arg(long, value_name = "N")]
    pub position: Option<usize>,
}

/// Reads `--metric`.
fn metric_name() -> impl TypedValueParser<Value = MetricName> {
    PossibleValuesParser::new(MetricName::ALL.map(|(name, _)| name)).try_map(|name| name.parse::<MetricName>())
}

impl ScoreArguments {
    /// What is measured, as it was named.
    pub fn asked(&self) -> Measured<'_> {
        let (target, foil) = (self.target.as_deref(), self.foil.as_deref());
        Measured { metric: self.metric, predicted: Predicted { target, foil, position: self.position } }
    }

    /// Refuses a text of which the position that is measured must be named, with the option that names it.
    pub fn check_position(&self, model: &Model, input: &Input) -> Result<(), Failure> {
        let is_of_one = self.asked().name().form().is_some();
        if is_of_one { row_of(model, input, self.position, "--position").map(|_| ()) } else { Ok(()) }
    }

    /// The one number that is explained: a logit, or what a foil is less, unless another form is asked for.
    pub fn explained_score(&self, model: &Model, input: &Input, logits: &Array) -> Result<Score, Failure> {
        row_of(model, input, self.position, "--position")?;
        self.asked().explained_score(model, input, logits).map_err(with_options)
    }
}

/// What was asked for amiss, with the options that say it.
pub fn with_options(error: Error) -> Failure {
    match error {
        Error::Plan(message) => Failure::Usage(format!("{message} (--metric, --target, --foil, --position)")),
        error => error.into(),
    }
}

/// Where the output is measured, as [`Model::row_of`]; where a position must be named, the error says with which `options`.
pub fn row_of(model: &Model, input: &Input, position: Option<usize>, options: &str) -> Result<Option<usize>, Failure> {
    model.row_of(input, position).map_err(|error| match (error, position) {
        (Error::Input(message), None) => Failure::Input(format!("{message} ({options})")),
        (error, _) => error.into(),
    })
}
