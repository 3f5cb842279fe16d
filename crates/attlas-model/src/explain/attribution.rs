//! Which tokens a score rests on: what each method says, token by token.

use attlas::Kind;
use attlas::printable::printable;

use super::method::Method;
use super::read::{Explained, Read, ReadSide, Watch};
use super::score::Score;
use crate::block::pass::{Next, Site};
use crate::config::Readout;
use crate::run::backward::Rules;
use crate::{Error, Input, Model, Side};

/// What a method says of each token.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribution {
    /// The method.
    pub method: Method,
    /// What is explained.
    pub score: Score,
    /// The value of the score.
    pub value: f64,
    /// Of each source token, or place of an image or sound. Empty where the model reads no source, or it was held fixed.
    pub source: Vec<f64>,
    /// Of each target token; those that the explained position does not see have 0. Empty where the model reads no target, or it was held
    /// fixed.
    pub target: Vec<f64>,
    /// How much of the score the tokens have together, where a method shares it out.
    pub completeness: Option<Completeness>,
}

/// How much of a number its parts have together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Completeness {
    /// The sum over the tokens.
    pub sum: f64,
    /// What was shared out: the score less that of words that are 0, for integrated gradients; the score, for relevance by rules.
    pub whole: f64,
}

impl Completeness {
    /// How far the sum may be from the whole, as a share of it.
    pub const TOLERANCE: f64 = 1e-3;

    /// `|sum − whole|`.
    pub fn error(&self) -> f64 {
        (self.sum - self.whole).abs()
    }

    /// Whether the error is within a thousandth of the whole.
    pub fn holds(&self) -> bool {
        self.error() <= Completeness::TOLERANCE * self.whole.abs()
    }
}

/// One token's score.
#[derive(Debug, Clone, PartialEq)]
pub struct Share<'a> {
    /// Which text it is of: the encoder's, or the decoder's.
    pub side: Side,
    /// Its position, counted from 0.
    pub position: usize,
    /// The token as a reader knows it.
    pub token: &'a str,
    /// What the method says of it.
    pub score: f64,
}

impl Attribution {
    /// Every token with its score, source before target.
    pub fn shares<'a>(&'a self, input: &'a Input) -> Vec<Share<'a>> {
        let side = |side, tokens: &'a attlas::Tokens, scores: &'a [f64]| {
            let share = move |(position, (token, score)): (usize, (&'a attlas::Token, &f64))| Share {
                side,
                position,
                token: &token.text,
                score: *score,
            };
            tokens.tokens.iter().zip(scores).enumerate().map(share)
        };
        side(Side::Source, &input.source, &self.source).chain(side(Side::Target, &input.target, &self.target)).collect()
    }

    /// The sum over all tokens.
    pub fn sum(&self) -> f64 {
        self.source.iter().chain(&self.target).sum()
    }
}

/// The way on which gradients are integrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntegrationPath {
    /// Places at which the gradient is computed; where the parts do not sum to what they should, up to eight times as many are
    /// computed besides, where the way is least smooth.
    pub n_steps: usize,
    /// What is 0 at its beginning; the other side is held fixed.
    pub moved: Moved,
}

/// What is 0 at the beginning of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Moved {
    /// All that the model reads.
    #[default]
    Both,
    /// What its encoder reads.
    Source,
    /// What its decoder reads.
    Target,
}

impl Default for IntegrationPath {
    fn default() -> IntegrationPath {
        IntegrationPath { n_steps: 50, moved: Moved::Both }
    }
}

impl Model {
    /// What a method says of each token that the model reads of one text.
    ///
    /// Word rows are those of the table, before its factor, positions and norm; of an image or a sound, pixels and frames take
    /// their place, and are summed over the patch or the time that a token stands for.
    ///
    /// # Errors
    /// When the input does not fit the model, the score is of a position, token or class that is not there, something is not
    /// finite, or the method is not defined for the model.
    pub fn explain(&self, input: &Input, score: &Score, method: Method) -> Result<Attribution, Error> {
        self.explain_watched(input, score, method, &mut |_| Next::Continue)
    }

    /// The same, telling `watch` before each block of each pass where it is.
    ///
    /// # Errors
    /// As [`Model::explain`], and [`Error::Stopped`] when `watch` says so.
    pub fn explain_watched(
        &self,
        input: &Input,
        score: &Score,
        method: Method,
        watch: &mut Watch<'_>,
    ) -> Result<Attribution, Error> {
        let explained = Explained::new(self, input, score)?;
        match method {
            Method::Weight | Method::Rollout | Method::Norm | Method::NormSum | Method::Alti => {
                explained.by_maps(method, watch)
            }
            Method::GradientAttention | Method::Relevance => explained.by_attention(method, watch),
            Method::Saliency | Method::InputGradient => explained.by_gradient(method, Rules::Gradient, watch),
            Method::AttnLrp => explained.by_gradient(method, Rules::AttnLrp, watch),
            Method::CpLrp => explained.by_gradient(method, Rules::CpLrp, watch),
            Method::IntegratedGradients => explained.along(IntegrationPath::default(), watch),
            Method::HeadEffect => explained.by_heads(watch),
            Method::Hide => explained.by_hiding(watch),
            Method::LeaveOut => explained.by_leaving_out(watch),
        }
    }

    /// Integrated gradients on a way of your own.
    ///
    /// # Errors
    /// As [`Model::explain`]; and when the way has no step, or more than 10,000.
    pub fn integrated_gradients(
        &self,
        input: &Input,
        score: &Score,
        way: IntegrationPath,
    ) -> Result<Attribution, Error> {
        self.integrated_gradients_watched(input, score, way, &mut |_| Next::Continue)
    }

    /// The same, telling `watch` before each block of each pass where it is.
    ///
    /// # Errors
    /// As [`Model::integrated_gradients`], and [`Error::Stopped`] when `watch` says so.
    pub fn integrated_gradients_watched(
        &self,
        input: &Input,
        score: &Score,
        way: IntegrationPath,
        watch: &mut Watch<'_>,
    ) -> Result<Attribution, Error> {
        if !(1..=10_000).contains(&way.n_steps) {
            return Err(Error::Limit(format!("a way has 1 to 10000 steps, not {}", way.n_steps)));
        }
        Explained::new(self, input, score)?.along(way, watch)
    }

    /// A score as a reader knows it: `logit of " mat" after position 5 ("the")`.
    pub fn score_in_words(&self, score: &Score, input: &Input) -> String {
        let of = self.predicted_in_words(score);
        let Some(position) = score.position else { return of };
        let token = self.predicted_at(input).tokens.get(position).map_or("", |token| token.text.as_str());
        let preposition = if self.has(Side::Target) { "after" } else { "at" };
        format!("{of} {preposition} position {position} (\"{}\")", printable(token.trim()))
    }

    /// A score without its place: `logit of " mat" less that of " dog"`.
    pub(super) fn predicted_in_words(&self, score: &Score) -> String {
        let name = |id: u32| {
            let text = self.target_text(score.position, id);
            let is_text = score.position.is_some() && self.tokenizer.is_some();
            if is_text { format!("\"{}\"", printable(&text)) } else { text }
        };
        let foil = score.foil.map_or_else(String::new, |foil| format!(" less that of {}", name(foil)));
        format!("{} of {}{foil}", score.form.name().replace('_', "-"), name(score.target))
    }

    /// A token as text, `token 7` without a tokenizer, `class 2` where there is no position.
    pub fn target_text(&self, position: Option<usize>, id: u32) -> String {
        if position.is_none() {
            return format!("class {id}");
        }
        let tokenizer = self.target_tokenizer.as_deref().or(self.tokenizer.as_deref());
        let token = tokenizer.and_then(|tokenizer| tokenizer.token(id).ok());
        token.map_or_else(|| format!("token {id}"), |token| token.text)
    }

    /// The rows of hidden states that a score is made of, and what each counts; they sum to 1.
    pub(super) fn explained_rows(&self, score: &Score, n: usize) -> Vec<(usize, f64)> {
        let architecture = &self.transformer.architecture;
        match (&architecture.readout, score.position, &architecture.encoder) {
            (_, Some(position), _) => vec![(position, 1.0)],
            (Readout::Classes { pooled, .. }, None, Some(stack)) => pooled.rows(n, stack),
            (_, None, _) => vec![(0, 1.0)],
        }
    }

    /// Whether no token of the decoder sees one after it; object queries see each other.
    pub(super) fn looks_back_alone(&self) -> bool {
        let layers = self.transformer.architecture.attention(Kind::Decoder);
        layers.iter().all(|(_, layer)| layer.visibility.after.is_some_and(|after| after <= 0))
    }
}

impl Explained<'_> {
    pub(super) fn attribution(&self, method: Method, value: f64, [source, target]: [Vec<f64>; 2]) -> Attribution {
        Attribution { method, score: self.score, value, source, target, completeness: None }
    }

    /// What a function says of each number that is read and its gradient, summed by token.
    pub(super) fn sums(&self, gradient: &Read, of: fn(f64, f64) -> f64) -> [Vec<f64>; 2] {
        let sums = |side: &Option<ReadSide>, gradient: &Option<ReadSide>| match (side, gradient) {
            (Some(side), Some(gradient)) => {
                let (x, g) = (&side.values.values, &gradient.values.values);
                side.sums(|place| of(f64::from(x[place]), f64::from(g[place])))
            }
            _ => Vec::new(),
        };
        [sums(&self.read.source, &gradient.source), sums(&self.read.target, &gradient.target)]
    }

    /// Saliency, input × gradient, and relevance by rules.
    fn by_gradient(&self, method: Method, rules: Rules, watch: &mut Watch<'_>) -> Result<Attribution, Error> {
        let (value, gradients) = self.gradients(&[], rules, watch)?;
        let gradient = self.read_gradient(&gradients, 0);
        let scores = match method {
            Method::Saliency => {
                let squares = self.sums(&gradient, |_, g| g * g);
                squares.map(|sums| sums.into_iter().map(f64::sqrt).collect())
            }
            _ => self.sums(&gradient, |x, g| x * g),
        };
        let mut attribution = self.attribution(method, value, scores);
        if rules != Rules::Gradient {
            attribution.completeness = Some(Completeness { sum: attribution.sum(), whole: value });
        }
        Ok(attribution)
    }

    /// What the score loses with each token.
    fn by_leaving_out(&self, watch: &mut Watch<'_>) -> Result<Attribution, Error> {
        let n = |side: &Option<ReadSide>| side.as_ref().map_or(0, ReadSide::n_tokens);
        let (n_source, n_target) = (n(&self.read.source), n(&self.read.target));
        let without = |step: usize| {
            let mut read = self.read.clone();
            let is_last = step == n_source + n_target; // the text as it is
            let (side, token) =
                if step < n_source { (&mut read.source, step) } else { (&mut read.target, step - n_source) };
            if let Some(side) = side.as_mut().filter(|_| !is_last) {
                *side = side.without(token);
            }
            read
        };
        let mut values = self.values(n_source + n_target + 1, &without, watch)?;
        let value = values.pop().unwrap_or_default();
        let losses: Vec<f64> = values.into_iter().map(|without| value - without).collect();
        let (source, target) = losses.split_at(n_source);
        Ok(self.attribution(Method::LeaveOut, value, [source.to_vec(), target.to_vec()]))
    }

    /// Gradient × attention, and the relevance that is made of its positive part.
    fn by_attention(&self, method: Method, watch: &mut Watch<'_>) -> Result<Attribution, Error> {
        let (value, gradients) = self.gradients(&[Site::Attention], Rules::Gradient, watch)?;
        let scores = match method {
            Method::Relevance => self.relevance_of_tokens(&gradients)?,
            _ => self.gradient_attention_of_tokens(&gradients)?,
        };
        Ok(self.attribution(method, value, scores))
    }
}
