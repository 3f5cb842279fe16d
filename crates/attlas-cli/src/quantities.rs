//! What maps can show beside weights, as the command line asks for it.

use attlas::analysis::{FLOW_TOKENS, MAX_FLOW_TOKENS};
use attlas::{Kind, Recording};
use attlas_model::explain::asked::Predicted;
use attlas_model::explain::quantities::{Layers, Quantities, Shown};
use attlas_model::{Error, Input, Model, Pass, Run};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::failure::Failure;
use crate::terminal::remark;

/// The prediction that gradients are of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct PredictionArguments {
    /// The token or class whose logit --quantity gradient-weight and relevance explain [default: the likeliest].
    #[arg(id = "explain", long = "explain", value_name = "TOKEN | CLASS")]
    pub target: Option<String>,
    /// What that is held against: the difference of the logits is explained.
    #[arg(long, value_name = "TOKEN | CLASS")]
    pub foil: Option<String>,
    /// The position that predicts it, counted from 0 [default: the last of a decoder, the masked one of an encoder].
    #[arg(long, value_name = "N")]
    pub position: Option<usize>,
}

impl PredictionArguments {
    /// The first that was given, for messages.
    fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.target.is_some(), "--explain"),
            (self.foil.is_some(), "--foil"),
            (self.position.is_some(), "--position"),
        ];
        given.into_iter().find_map(|(is_given, name)| is_given.then_some(name))
    }

    /// Refuses them where nothing is explained.
    ///
    /// # Errors
    /// [`Failure::Usage`] when one was given and no quantity is of a prediction.
    pub fn check(&self, shown: &[Shown]) -> Result<(), Failure> {
        match self.first_given() {
            Some(option) if !shown.iter().any(|shown| shown.is_explained()) => {
                Err(Failure::Usage(format!("{option} is for --quantity gradient-weight and relevance")))
            }
            _ => Ok(()),
        }
    }
}

/// The maps that are kept beside the weights.
#[derive(Debug, Clone, Args)]
pub struct MapsArguments {
    /// Other maps beside the weights: norms of what each key adds (norm; norm-sum, norm-residual, norm-layernorm of all heads
    /// together), shares of states (contribution of a layer, alti of the model), rollout, flow; what a prediction rests on
    /// (gradient-weight, relevance). Several between commas. Of a recording, those that weights alone give can be asked for; what
    /// it keeps is there in any case.
    #[arg(long, value_name = "QUANTITY", value_delimiter = ',', value_parser = parse_shown())]
    pub quantity: Vec<Shown>,
    /// The most tokens of a text that flow is computed for; the time grows with the fourth power.
    #[arg(long, value_name = "N", default_value_t = FLOW_TOKENS, value_parser = parse_flow_tokens)]
    pub flow_tokens: usize,
    #[command(flatten)]
    pub prediction: PredictionArguments,
}

impl MapsArguments {
    /// What is asked for, of every kind and layer.
    ///
    /// # Errors
    /// As [`PredictionArguments::check`].
    pub fn asked(&self) -> Result<Asked, Failure> {
        self.prediction.check(&self.quantity)?;
        Ok(Asked {
            shown: self.quantity.clone(),
            flow_tokens: Some(self.flow_tokens),
            prediction: self.prediction.clone(),
            ..Asked::default()
        })
    }
}

/// Reads `--quantity`.
pub fn parse_shown() -> impl TypedValueParser<Value = Shown> {
    PossibleValuesParser::new(Shown::ALL.map(Shown::name)).try_map(|name| name.parse::<Shown>())
}

/// Reads `--flow-tokens`.
pub fn parse_flow_tokens(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=MAX_FLOW_TOKENS).contains(&n) => Ok(n),
        _ => Err(format!("a number from 1 to {MAX_FLOW_TOKENS} was expected: the time grows with its fourth power")),
    }
}

/// What is asked for, and of which maps.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The quantities beside weights.
    pub shown: Vec<Shown>,
    /// The kind of attention; every one that has the quantity when `None`.
    pub kind: Option<Kind>,
    /// The layers, of quantities whose layers can be had apart.
    pub layers: Layers,
    /// The most tokens of a text that flow is computed for.
    pub flow_tokens: Option<usize>,
    /// What gradients are of.
    pub prediction: PredictionArguments,
}

impl Asked {
    /// One quantity, of every layer; nothing where that is weight, which is there in any case.
    ///
    /// # Errors
    /// [`Failure::Usage`] when tokens of flow were given for another quantity.
    pub fn one(shown: Shown, kind: Option<Kind>, flow_tokens: Option<usize>) -> Result<Asked, Failure> {
        if flow_tokens.is_some() && shown != Shown::Flow {
            return Err(Failure::Usage("--flow-tokens is for --quantity flow".into()));
        }
        let shown = Some(shown).filter(|shown| *shown != Shown::Weight);
        Ok(Asked { shown: shown.into_iter().collect(), kind, flow_tokens, ..Asked::default() })
    }

    fn quantities(&self, shown: &[Shown]) -> Quantities<'_> {
        let PredictionArguments { target, foil, position } = &self.prediction;
        Quantities {
            shown: shown.to_vec(),
            kind: self.kind,
            layers: self.layers,
            flow_tokens: self.flow_tokens,
            prediction: Predicted { target: target.as_deref(), foil: foil.as_deref(), position: *position },
        }
    }

    /// Adds to a plan what a run must keep.
    pub fn keep(&self, pass: &mut Pass) {
        self.quantities(&self.shown).keep(pass);
    }

    /// Adds the maps to the recording of a run; `values` says whether values stay in it.
    pub fn add(&self, model: &Model, inputs: &[Input], run: &mut Run, values: bool) -> Result<(), Failure> {
        let remarks = self.quantities(&self.shown).add(model, inputs, run, values).map_err(|error| match error {
            Error::Plan(message) => Failure::Usage(format!("{message} (--quantity, --knock-out, --explain, --foil)")),
            error => error.into(),
        })?;
        remarks.iter().for_each(|text| remark(text));
        Ok(())
    }

    /// Adds the maps to a recording that was opened: those that weights alone give.
    ///
    /// # Errors
    /// When a quantity needs the model, and the recording does not keep it.
    pub fn add_to_opened(&self, recording: &mut Recording) -> Result<(), Failure> {
        if let Some(option) = self.prediction.first_given() {
            return Err(Failure::Usage(format!(
                "{option} is for running a model on a text; a recording keeps the maps of the prediction that it was made for"
            )));
        }
        for shown in &self.shown {
            let added = self.quantities(&[*shown]).add_to_opened(recording);
            let remarks = added.map_err(|error| match error {
                Error::Input(message) => {
                    Failure::Input(format!("{message} (`attlas record --quantity {}` keeps it)", shown.name()))
                }
                error => error.into(),
            })?;
            remarks.iter().for_each(|text| remark(text));
        }
        Ok(())
    }
}
