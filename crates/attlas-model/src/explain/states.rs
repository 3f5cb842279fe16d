//! Hidden states exchanged for those of another text's run, layer by layer and position by position: how far the output moves with
//! each (causal tracing, Meng et al. 2022).

use attlas::{Kind, Tokens};

use super::asked::Measured;
use super::effects::{SAME_RUNS, other_run};
use super::knock_out::{Baseline, Watch};
use super::patch::{Part, Patched};
use crate::{Error, Input, Side, Site};

/// Places that are exchanged at most: each is a run.
const MAX_PLACES: usize = 1 << 16;

/// Where hidden states are exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatePlace {
    /// The encoder's or the decoder's.
    pub stack: Kind,
    /// The layer that they enter; one more than the last for what leaves the stack.
    pub layer: usize,
    /// The token, counted from 0.
    pub position: usize,
}

/// What came of every place.
#[derive(Debug, Clone)]
pub struct States {
    /// The metric's name.
    pub metric: &'static str,
    /// What it counts in.
    pub unit: &'static str,
    /// What is measured, in words.
    pub measures: String,
    /// The number before anything is exchanged.
    pub before: f64,
    /// What the encoder reads.
    pub source: Tokens,
    /// What the decoder reads.
    pub target: Tokens,
    /// Every layer and position of every stack, in the order of a pass.
    pub rows: Vec<(StatePlace, Patched)>,
}

/// The places of a run.
///
/// # Errors
/// When there are more than can be exchanged.
pub fn state_places(baseline: &Baseline<'_>) -> Result<Vec<StatePlace>, Error> {
    let mut places = Vec::new();
    for (stack, side) in [(Kind::Encoder, Side::Source), (Kind::Decoder, Side::Target)] {
        let tokens = if side == Side::Source { &baseline.input.source } else { &baseline.input.target };
        for layer in (0..).take_while(|layer| baseline.run.kept(Site::Stream, stack, *layer).is_some()) {
            places.extend((0..tokens.len()).map(|position| StatePlace { stack, layer, position }));
        }
    }
    match places.len() {
        n if n > MAX_PLACES => Err(Error::Limit(format!(
            "{n} layers and positions are as many runs, and {MAX_PLACES} are possible; use a shorter text"
        ))),
        _ => Ok(places),
    }
}

/// Exchanges hidden states for those of the run on another text, one place at a time; `watch` is told how many are done.
///
/// # Errors
/// As [`state_places`], [`Measured::metric`] and [`Baseline::patched`].
pub fn states(
    baseline: &Baseline<'_>,
    other: &Input,
    measured: Measured<'_>,
    watch: &mut Watch<'_>,
) -> Result<States, Error> {
    let places = state_places(baseline)?;
    let other = other_run(baseline, other)?;
    let (model, input) = (baseline.model(), &baseline.input);
    let metric = measured.metric(model, input, &baseline.unchanged)?;
    let part =
        |&StatePlace { stack, layer, position }: &StatePlace| Part::Stream { stack, layer, position: Some(position) };
    let parts: Vec<Part> = places.iter().map(part).collect();
    let patched = baseline.patched(&other, &parts, &metric, watch)?;
    Ok(States {
        metric: metric.name(),
        unit: metric.unit(),
        measures: model.metric_in_words(&metric, input),
        before: baseline.value(&metric)?,
        source: input.source.clone(),
        target: input.target.clone(),
        rows: places.into_iter().zip(patched).collect(),
    })
}

impl States {
    /// The tokens that a stack reads.
    pub fn tokens(&self, stack: Kind) -> &Tokens {
        if stack == Kind::Encoder { &self.source } else { &self.target }
    }

    /// The token of a place.
    pub fn token(&self, place: StatePlace) -> &str {
        self.tokens(place.stack).tokens.get(place.position).map_or("", |token| token.text.as_str())
    }

    /// What the numbers mean, in sentences.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![format!(
            "Effect on the {}: with the hidden states of the run on the other text at one place less without, which is {:.4}.",
            self.measures, self.before
        )];
        let largest = self.rows.iter().max_by(|a, b| a.1.effect.abs().total_cmp(&b.1.effect.abs()));
        let whole = largest.and_then(|(_, patched)| Some(patched.effect / patched.share?));
        if let Some(whole) = whole.filter(|whole| whole.is_finite()) {
            notes.push(format!("Everything exchanged: {whole:+.4}. A share is the part of it that one place carries."));
        }
        if self.rows.iter().all(|(_, patched)| patched.share.is_none() && patched.effect == 0.0) {
            notes.push(SAME_RUNS.to_owned());
        }
        notes
    }
}
