//! What maps can show beside weights: the names on the command line, what a run must keep for them, and how they are made.

use std::str::FromStr;

use attlas::analysis::{FLOW_TOKENS, MAX_FLOW_TOKENS, flow, rollout};
use attlas::{Kind, Layer, Quantity, Recording, Trace};
use attlas_model::explain::score::Score;
use attlas_model::explain::{NormForm, Reach, contributions, keep_value_norms, summed_norms};
use attlas_model::{Array, Input, Model, Pass, Run, RunOptions, Site};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::failure::Failure;
use crate::inputs::row_of;
use crate::terminal::remark;

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

    /// The name on the command line.
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

    /// The score that is meant.
    fn score(&self, model: &Model, input: &Input) -> Result<Score, Failure> {
        let options = RunOptions { pass: Pass::keeping([Site::Logits]), ..RunOptions::default() };
        let logits = model.run(std::slice::from_ref(input), &options)?.logits;
        let logits = logits.unwrap_or(Array { shape: vec![0], values: Vec::new() });
        let row = row_of(model, input, self.position, "--position")?;
        let mut score = model.likeliest(input, &logits, row)?;
        if let Some(target) = &self.target {
            score.target = model.target_named(target)?;
        }
        score.foil = self.foil.as_deref().map(|foil| model.target_named(foil)).transpose()?;
        Ok(score)
    }
}

impl FromStr for Shown {
    type Err = String;

    fn from_str(name: &str) -> Result<Shown, String> {
        Shown::ALL
            .into_iter()
            .find(|shown| shown.name() == name)
            .ok_or_else(|| format!("there is no quantity {name:?}"))
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
pub struct Asked {
    /// The quantities beside weights.
    pub shown: Vec<Shown>,
    /// The kind of attention; every one that has the quantity when `None`.
    pub kind: Option<Kind>,
    /// The layers, of quantities whose layers can be had apart.
    pub layers: Layers,
    /// The most tokens of a text that flow is computed for; [`FLOW_TOKENS`] when `None`.
    pub flow_tokens: Option<usize>,
    /// What gradients are of.
    pub prediction: PredictionArguments,
}

impl Asked {
    /// Adds to a plan what a run must keep.
    pub fn keep(&self, pass: &mut Pass) {
        for site in self.shown.iter().flat_map(|shown| shown.sites()) {
            if !pass.keep.iter().any(|keep| keep.site == *site) {
                pass.keep.extend(Pass::keeping([*site]).keep);
            }
        }
    }

    /// Adds the maps to the recording of a run; `values` says whether values stay in it.
    pub fn add(&self, model: &Model, inputs: &[Input], run: &mut Run, values: bool) -> Result<(), Failure> {
        self.refuse_twice()?;
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
                    self.add_paths(*shown, &mut run.recording)?;
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
        Ok(())
    }

    /// Adds the maps to a recording that was opened: those that weights alone give.
    ///
    /// # Errors
    /// When a quantity needs the model, and the recording does not keep it.
    pub fn add_to_opened(&self, recording: &mut Recording) -> Result<(), Failure> {
        for shown in &self.shown {
            if !recording.kinds_in(shown.quantity()).is_empty() {
                continue;
            }
            if !shown.sites().is_empty() || shown.is_explained() {
                let name = shown.name();
                return Err(Failure::Input(format!(
                    "the recording keeps no map of {}, which needs the model (`attlas record --quantity {name}` keeps it)",
                    shown.quantity().words()
                )));
            }
            self.add_paths(*shown, recording)?;
        }
        Ok(())
    }

    fn refuse_twice(&self) -> Result<(), Failure> {
        let summed = |shown: &&Shown| matches!(shown, Shown::SummedNorm(_));
        let reaches = |shown: &&Shown| matches!(shown, Shown::Contribution(_));
        for several in
            [self.shown.iter().filter(summed).collect::<Vec<_>>(), self.shown.iter().filter(reaches).collect()]
        {
            if let [one, other, ..] = several.as_slice() {
                let (one, other) = (one.name(), other.name());
                return Err(Failure::Usage(format!(
                    "--quantity {one} and {other} are maps of the same layers and one recording holds one of them; record them apart"
                )));
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
    ) -> Result<(Vec<Layer>, String), Failure> {
        let ([input], [item]) = (inputs, &run.recording.items[..]) else {
            let n = inputs.len();
            return Err(Failure::Usage(format!("--quantity {} is of one text, and there are {n}", shown.name())));
        };
        if !run.recording.provenance.edits.is_empty() {
            return Err(Failure::Usage(format!(
                "--quantity {} explains the model as it is: leave --knock-out out",
                shown.name()
            )));
        }
        let input = Input { target: item.target.clone(), ..input.clone() }; // with what was generated
        let score = self.prediction.score(model, &input)?;
        let mut maps = model.explained_maps(&input, &score, shown.quantity())?;
        let note = maps.provenance.notes.pop().unwrap_or_default();
        Ok((maps.layers, note))
    }

    fn summed_norms(&self, model: &Model, run: &Run, form: NormForm) -> Result<(Vec<Layer>, String), Failure> {
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
    fn add_paths(&self, shown: Shown, recording: &mut Recording) -> Result<(), Failure> {
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
                Err(error) => return Err(error.into()),
            }
        }
        match refused {
            Some(error) if self.kind.is_some() || recording.kinds_in(shown.quantity()).is_empty() => Err(error.into()),
            Some(error) => {
                remark(&error.to_string());
                Ok(())
            }
            None => Ok(()),
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
