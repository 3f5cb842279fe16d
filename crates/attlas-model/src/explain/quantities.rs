//! What maps can show beside weights: their names, what a run must keep for them, and how they are made.

use std::str::FromStr;

use attlas::analysis::{FLOW_TOKENS, flow, rollout};
use attlas::{Kind, Layer, Quantity, Recording, Trace};

use super::alti::{Reach, contributions};
use super::asked::Predicted;
use super::norms::{NormForm, keep_value_norms, summed_norms};
use crate::{Error, Input, Model, Pass, Run, Site};

/// What a map shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shown {
    /// Attention weights.
    #[default]
    Weight,
    /// Weight × length of the value behind the output projection, head by head.
    Norm,
    /// The length of what all heads add together, in one of its forms.
    SummedNorm(NormForm),
    /// ALTI, layer by layer or through the model.
    Contribution(Reach),
    /// Attention rollout.
    Rollout,
    /// Attention flow.
    Flow,
    /// Gradient × weight, head by head.
    GradientWeight,
    /// Chefer relevance, layer by layer.
    Relevance,
}

impl Shown {
    /// All of them, weights first.
    pub const ALL: [Shown; 11] = [
        Shown::Weight,
        Shown::Norm,
        Shown::SummedNorm(NormForm::Sum),
        Shown::SummedNorm(NormForm::Residual),
        Shown::SummedNorm(NormForm::LayerNorm),
        Shown::Contribution(Reach::Layer),
        Shown::Contribution(Reach::Model),
        Shown::Rollout,
        Shown::Flow,
        Shown::GradientWeight,
        Shown::Relevance,
    ];

    /// The name that a reader gives.
    pub fn name(self) -> &'static str {
        match self {
            Shown::Weight => "weight",
            Shown::Norm => "norm",
            Shown::SummedNorm(NormForm::Sum) => "norm-sum",
            Shown::SummedNorm(NormForm::Residual) => "norm-residual",
            Shown::SummedNorm(NormForm::LayerNorm) => "norm-layernorm",
            Shown::Contribution(Reach::Layer) => "contribution",
            Shown::Contribution(Reach::Model) => "alti",
            Shown::Rollout => "rollout",
            Shown::Flow => "flow",
            Shown::GradientWeight => "gradient-weight",
            Shown::Relevance => "relevance",
        }
    }

    /// What the numbers of its maps are.
    pub fn quantity(self) -> Quantity {
        match self {
            Shown::Weight => Quantity::Weight,
            Shown::Norm | Shown::SummedNorm(_) => Quantity::Norm,
            Shown::Contribution(_) => Quantity::Contribution,
            Shown::Rollout => Quantity::Rollout,
            Shown::Flow => Quantity::Flow,
            Shown::GradientWeight => Quantity::GradientWeight,
            Shown::Relevance => Quantity::Relevance,
        }
    }

    /// What a recording's notes say of its maps, where several have one [`Quantity`].
    fn note(self) -> Option<&'static str> {
        match self {
            Shown::SummedNorm(form) => Some(form.note()),
            Shown::Contribution(reach) => Some(reach.note()),
            _ => None,
        }
    }

    /// Refuses a recording whose maps of this quantity are those of another one of the same kind.
    ///
    /// # Errors
    /// [`Error::Input`] when its notes name another, or none where one is needed.
    fn check_kept(self, recording: &Recording) -> Result<(), Error> {
        let says =
            |shown: &Shown| shown.note().is_some_and(|note| recording.provenance.notes.iter().any(|said| said == note));
        let kept = Shown::ALL.into_iter().filter(|other| other.quantity() == self.quantity()).find(says);
        if kept == self.note().map(|_| self) {
            return Ok(());
        }
        let name = self.name();
        let keeps = match kept {
            Some(other) => format!("{}, not {name}", other.name()),
            None if self.quantity() == Quantity::Norm => format!("the norms of single heads (norm), not {name}"),
            None => format!("maps of {}, and does not say whether they are {name}", self.quantity().words()),
        };
        Err(Error::Input(format!("the recording keeps {keeps}, which needs the model")))
    }

    /// Whether each head has a map of its own.
    pub fn is_of_heads(self) -> bool {
        matches!(self, Shown::Weight | Shown::Norm | Shown::GradientWeight)
    }

    /// What a run keeps for it besides attention.
    fn sites(self) -> &'static [Site] {
        match self {
            Shown::Weight | Shown::Rollout | Shown::Flow | Shown::GradientWeight | Shown::Relevance => &[],
            Shown::Norm => &[Site::Values],
            Shown::SummedNorm(_) | Shown::Contribution(_) => &[Site::Values, Site::Stream],
        }
    }
}

impl Shown {
    /// Whether it is of a prediction, whose gradient it is made of.
    pub fn is_explained(self) -> bool {
        matches!(self, Shown::GradientWeight | Shown::Relevance)
    }
}

impl FromStr for Shown {
    type Err = String;

    fn from_str(name: &str) -> Result<Shown, String> {
        let found = Shown::ALL.into_iter().find(|shown| shown.name() == name);
        found.ok_or_else(|| {
            format!("there is no quantity \"{name}\"; there are {}", Shown::ALL.map(Shown::name).join(", "))
        })
    }
}

/// Which layers are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layers {
    /// All.
    #[default]
    All,
    /// The last.
    Last,
    /// One, counted from 0.
    One(usize),
}

/// What is asked for, and of which maps.
#[derive(Debug, Clone, Default)]
pub struct Quantities<'a> {
    /// The quantities beside weights.
    pub shown: Vec<Shown>,
    /// The kind of attention; every one that has the quantity when `None`.
    pub kind: Option<Kind>,
    /// The layers, of quantities whose layers can be had apart.
    pub layers: Layers,
    /// The most tokens of a text that flow is computed for; [`FLOW_TOKENS`] when `None`.
    pub flow_tokens: Option<usize>,
    /// What gradients are of.
    pub prediction: Predicted<'a>,
}

impl Quantities<'_> {
    /// Adds to a plan what a run must keep.
    pub fn keep(&self, pass: &mut Pass) {
        for site in self.shown.iter().flat_map(|shown| shown.sites()) {
            if !pass.keep.iter().any(|keep| keep.site == *site) {
                pass.keep.extend(Pass::keeping([*site]).keep);
            }
        }
    }

    /// Adds the maps to the recording of a run; `values` says whether values stay in it. Returns what a reader should be told: which kinds
    /// have none of a quantity, and why.
    ///
    /// # Errors
    /// When a quantity is not defined for the model or a kind that was asked for, two have maps of the same layers, a prediction is not
    /// there or of several texts, or a text is too long for flow.
    pub fn add(&self, model: &Model, inputs: &[Input], run: &mut Run, values: bool) -> Result<Vec<String>, Error> {
        self.check()?;
        let mut remarks = Vec::new();
        for shown in &self.shown {
            let (layers, note) = match shown {
                Shown::Norm => {
                    keep_value_norms(model, &mut run.recording)?;
                    continue;
                }
                Shown::SummedNorm(form) => self.summed_norms(model, run, *form)?,
                Shown::Contribution(reach) => contributions(model, run, *reach)?,
                Shown::GradientWeight | Shown::Relevance => self.explained(model, inputs, run, *shown)?,
                Shown::Weight | Shown::Rollout | Shown::Flow => {
                    remarks.extend(self.add_paths(*shown, &mut run.recording)?);
                    continue;
                }
            };
            run.recording.layers.extend(layers);
            run.recording.provenance.notes.push(note);
        }
        if !values {
            for layer in &mut run.recording.layers {
                let others = layer.traces.iter().filter(|(trace, _)| *trace != Trace::Values);
                layer.traces = others.map(|(trace, numbers)| (trace, numbers.clone())).collect();
            }
        }
        Ok(remarks)
    }

    /// Adds the maps to a recording that was opened: those that weights alone give. Returns what a reader should be told, as
    /// [`Quantities::add`].
    ///
    /// # Errors
    /// When a quantity needs the model, and the recording does not keep it; as [`Quantities::add`].
    pub fn add_to_opened(&self, recording: &mut Recording) -> Result<Vec<String>, Error> {
        let mut remarks = Vec::new();
        for shown in &self.shown {
            if !recording.kinds_in(shown.quantity()).is_empty() {
                shown.check_kept(recording)?;
                continue;
            }
            if !shown.sites().is_empty() || shown.is_explained() {
                return Err(Error::Input(format!(
                    "the recording keeps no map of {}, which needs the model",
                    shown.quantity().words()
                )));
            }
            remarks.extend(self.add_paths(*shown, recording)?);
        }
        Ok(remarks)
    }

    /// Refuses two quantities whose maps would hide each other in a recording.
    ///
    /// # Errors
    /// [`Error::Plan`] names them.
    pub fn check(&self) -> Result<(), Error> {
        for (place, one) in self.shown.iter().enumerate() {
            let same = |other: &&Shown| other.quantity() == one.quantity();
            if let Some(other) = self.shown.iter().skip(place + 1).find(same) {
                let (one, other) = (one.name(), other.name());
                let message = match one == other {
                    true => format!("the quantity {one} is given twice; name it once"),
                    false => format!(
                        "the quantities {one} and {other} are maps of the same layers and one recording holds one of them; record them apart"
                    ),
                };
                return Err(Error::Plan(message));
            }
        }
        Ok(())
    }

    /// Maps that say what a prediction rests on, and what they are of.
    fn explained(
        &self,
        model: &Model,
        inputs: &[Input],
        run: &Run,
        shown: Shown,
    ) -> Result<(Vec<Layer>, String), Error> {
        let ([input], [item]) = (inputs, &run.recording.items[..]) else {
            let n = inputs.len();
            return Err(Error::Plan(format!("the quantity {} is of one text, and there are {n}", shown.name())));
        };
        if !run.recording.provenance.edits.is_empty() {
            return Err(Error::Plan(format!(
                "the quantity {} explains the model as it is: leave knocked-out heads out",
                shown.name()
            )));
        }
        let input = Input { target: item.target.clone(), ..input.clone() }; // with what was generated
        let score = self.prediction.score(model, &input, &model.text_logits(&input)?)?;
        let mut maps = model.explained_maps(&input, &score, shown.quantity())?;
        let note = maps.provenance.notes.pop().unwrap_or_default();
        Ok((maps.layers, note))
    }

    fn summed_norms(&self, model: &Model, run: &Run, form: NormForm) -> Result<(Vec<Layer>, String), Error> {
        let kinds = self.kind.map_or_else(|| run.recording.kinds(), |kind| vec![kind]);
        let (mut all, mut note) = (Vec::new(), String::new());
        for kind in kinds {
            let (layers, said) = summed_norms(model, run, kind, form)?;
            all.extend(layers);
            note = said;
        }
        Ok((all, note))
    }

    /// Rollout or flow of the kinds that have one; the one asked for must. Says which have none.
    fn add_paths(&self, shown: Shown, recording: &mut Recording) -> Result<Option<String>, Error> {
        let kinds = self.kind.map_or_else(|| recording.kinds(), |kind| vec![kind]);
        let mut refused = None;
        for kind in kinds {
            let found = match shown {
                Shown::Rollout => rollout(recording, kind),
                Shown::Flow => self.flows(recording, kind),
                _ => Ok(Vec::new()),
            };
            match found {
                Ok(layers) => recording.layers.extend(layers),
                Err(error @ attlas::Error::Undefined(_)) => refused = Some(error),
                Err(error) => return Err(Error::Maps(error)),
            }
        }
        match refused {
            Some(error) if self.kind.is_some() || recording.kinds_in(shown.quantity()).is_empty() => {
                Err(Error::Maps(error))
            }
            refused => Ok(refused.map(|error| error.to_string())),
        }
    }

    fn flows(&self, recording: &Recording, kind: Kind) -> Result<Vec<Layer>, attlas::Error> {
        let layers: Vec<usize> = match self.layers {
            Layers::All => recording.layers_of(kind).map(|layer| layer.index).collect(),
            Layers::Last => vec![recording.last_layer(kind)?],
            Layers::One(layer) => vec![layer],
        };
        let limit = self.flow_tokens.unwrap_or(FLOW_TOKENS);
        layers.into_iter().map(|layer| flow(recording, kind, layer, limit)).collect()
    }
}
