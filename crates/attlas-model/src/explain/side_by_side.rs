//! One prediction, explained by several methods side by side.

use super::attribution::{Attribution, IntegrationPath, Moved, Share};
use super::knock_out::Watch;
use super::method::Method;
use super::score::Score;
use crate::{Error, Input, Model, Next, Side};

/// What a score says that is none.
pub const UNSAID: &str = "–: nobody else looks at the explained position, and the only token of a source cannot be hidden, so that hiding says nothing of it; it is left out of the ranks.";

/// A token that the model reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which side reads it.
    pub side: Side,
    /// Its position there, counted from 0.
    pub position: usize,
    /// The token.
    pub token: String,
    /// Whether the prediction can depend on it: not where it stands after the explained position of a decoder that looks back alone.
    pub is_seen: bool,
}

/// What becomes of a method that is not defined for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undefined {
    /// It is an error.
    Refused,
    /// It is left out, and the reason kept.
    LeftOut,
}

/// What the methods say of one prediction.
pub struct Explained {
    /// What is explained, in words.
    pub subject: String,
    /// Its value.
    pub value: f64,
    /// The tokens, source before target.
    pub places: Vec<Place>,
    /// What each method says.
    pub attributions: Vec<Attribution>,
    /// The methods that are not defined for the model, and why.
    pub left_out: Vec<(Method, String)>,
}

impl Explained {
    /// Computes what the methods say of a score; `watch` is told how many methods are done.
    ///
    /// # Errors
    /// As [`Model::explain`]; when no method is left; [`Error::Stopped`] when `watch` says so.
    pub fn of(
        model: &Model,
        input: &Input,
        score: &Score,
        methods: &[Method],
        undefined: Undefined,
        n_steps: usize,
        watch: &mut Watch<'_>,
    ) -> Result<Explained, Error> {
        let mut attributions: Vec<Attribution> = Vec::new();
        let mut left_out: Vec<(Method, String)> = Vec::new();
        let way = IntegrationPath { n_steps, moved: Moved::Both };
        for (n_done, method) in methods.iter().enumerate() {
            if watch(n_done) == Next::Stop {
                return Err(Error::Stopped);
            }
            let mut watch = |_| watch(n_done);
            let attribution = match method {
                Method::IntegratedGradients => model.integrated_gradients_watched(input, score, way, &mut watch),
                _ => model.explain_watched(input, score, *method, &mut watch),
            };
            match attribution {
                Ok(attribution) => attributions.push(attribution),
                Err(Error::Unsupported(why)) if undefined == Undefined::LeftOut => left_out.push((*method, why)),
                Err(error) => return Err(error),
            }
        }
        let Some(first) = attributions.first() else {
            return Err(Error::Unsupported(
                left_out.pop().map_or_else(|| "no method was named".to_owned(), |(_, why)| why),
            ));
        };
        let value = first.value;
        let last = score.position.filter(|_| model.looks_back_alone());
        let place = |Share { side, position, token, .. }: Share<'_>| Place {
            side,
            position,
            token: token.to_owned(),
            is_seen: side == Side::Source || last.is_none_or(|last| position <= last),
        };
        let places = first.shares(input).into_iter().map(place).collect();
        Ok(Explained { subject: model.score_in_words(score, input), value, places, attributions, left_out })
    }

    /// The scores of a method, source before target; NaN of a token of which it says nothing. Shape `[places.len()]`.
    pub fn scores(attribution: &Attribution) -> impl Iterator<Item = f64> {
        attribution.source.iter().chain(&attribution.target).copied()
    }

    /// The scores of a method as shares of the sum of their sizes, NaN where it says nothing of a token. Shape `[places.len()]`.
    pub fn shares(attribution: &Attribution) -> Vec<f64> {
        let size: f64 = Explained::scores(attribution).filter(|score| !score.is_nan()).map(f64::abs).sum();
        Explained::scores(attribution)
            .map(|score| if size > 0.0 || score.is_nan() { score / size } else { 0.0 })
            .collect()
    }

    /// What tokens sum to, a sentence for each method that shares out a sum.
    pub fn sums(&self) -> Vec<String> {
        self.attributions.iter().filter_map(sum_in_words).collect()
    }
}

/// Whether integrated gradients sum to what they should; `None` of the other methods, whose sums need not be anything.
pub fn complete(attribution: &Attribution) -> Option<bool> {
    let is_integral = attribution.method == Method::IntegratedGradients;
    attribution.completeness.filter(|_| is_integral).map(|completeness| completeness.holds())
}

/// The method's short title, with a star where its scores do not sum to what they should: [`Explained::sums`] says it.
pub fn short_title(attribution: &Attribution) -> String {
    let star = if complete(attribution) == Some(false) { "*" } else { "" };
    format!("{}{star}", attribution.method.definition().short)
}

/// What the tokens of a method sum to.
fn sum_in_words(attribution: &Attribution) -> Option<String> {
    let completeness = attribution.completeness?;
    let title = attribution.method.definition().title;
    let (sum, whole, error) = (completeness.sum, completeness.whole, completeness.error());
    Some(match attribution.method {
        Method::IntegratedGradients if completeness.holds() => {
            format!("{title}: tokens sum to {sum:.4} of {whole:.4}, what words make of no words (error {error:.1e}).")
        }
        Method::IntegratedGradients => format!(
            "*{title}: tokens sum to {sum:.4}, not to {whole:.4}, what words make of no words: the way is too curved for its steps, do not trust them."
        ),
        _ if completeness.holds() => {
            format!("{title}: tokens sum to {sum:.4} of {whole:.4} (error {error:.1e}).")
        }
        _ => format!(
            "{title}: tokens sum to {sum:.4} beside {whole:.4}; biases and what is held fixed make the difference."
        ),
    })
}
