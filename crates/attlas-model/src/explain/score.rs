//! What an explanation is about: one number that a model computes, with its gradient with respect to the logits.

use attlas::analysis::{divergence, total_variation};
use attlas::{Token, TokenRole, Tokens};
use serde::{Deserialize, Serialize};

use crate::config::Readout;
use crate::{Array, Error, Input, Model, Tokenizer};

/// One number of a model's output: a token's or a class's, less another's where there is a foil.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Score {
    /// The text of the batch, counted from 0.
    pub item: usize,
    /// The row of the logits: what is predicted *at* this position, which of a decoder is the token after it. `None` for a
    /// model of classes, whose whole input has one row.
    pub position: Option<usize>,
    /// The token or class, counted from 0; 0 where a position has a single number.
    pub target: u32,
    /// What the target is held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foil: Option<u32>,
    /// What is made of the logits.
    pub form: Form,
}

/// What is made of the logits `x` of a row, target `t`, foil `f`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `x_t`, or `x_t − x_f`.
    #[default]
    Logit,
    /// `ln p_t`, or `ln p_t − ln p_f`, which is the difference of the logits; in nats.
    LogProbability,
    /// `p_t`, or `p_t − p_f`, of the softmax of the row; of a single number its sigmoid.
    Probability,
}

impl Form {
    /// Every form, the plainest first.
    pub const ALL: [Form; 3] = [Form::Logit, Form::LogProbability, Form::Probability];

    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Form::Logit => "logit",
            Form::LogProbability => "log_probability",
            Form::Probability => "probability",
        }
    }
}

impl Score {
    /// The number.
    ///
    /// # Errors
    /// When the logits have no such row, target or foil, or are not finite there.
    pub fn value(&self, logits: &Array) -> Result<f64, Error> {
        let row = self.row(logits)?;
        let of = |id: u32| f64::from(row[id as usize]);
        let (target, foil) = (of(self.target), self.foil.map(of));
        Ok(match self.form {
            Form::Logit => target - foil.unwrap_or(0.0),
            Form::LogProbability => target - foil.unwrap_or_else(|| log_sum_exp(row)),
            Form::Probability => {
                let whole = log_sum_exp(row);
                (target - whole).exp() - foil.map_or(0.0, |foil| (foil - whole).exp())
            }
        })
    }

    /// `∂ value / ∂ logits`: 0 but in one row. Shape as the logits.
    ///
    /// # Errors
    /// As [`Score::value`].
    pub fn gradient(&self, logits: &Array) -> Result<Vec<f32>, Error> {
        let row = self.row(logits)?;
        let (target, foil) = (self.target as usize, self.foil.map(|foil| foil as usize));
        let mut slope = vec![0.0; row.len()]; // [n_logits]
        let p = probabilities(row);
        let p_foil = foil.map_or(0.0, |foil| p[foil]);
        for (place, (slope, share)) in slope.iter_mut().zip(&p).enumerate() {
            let (of_target, of_foil) = (f64::from(place == target), f64::from(Some(place) == foil));
            *slope = match self.form {
                Form::Logit => of_target - of_foil,
                Form::LogProbability => of_target - if foil.is_some() { of_foil } else { *share },
                Form::Probability => p[target] * (of_target - share) - p_foil * (of_foil - share),
            };
        }
        let mut gradient = vec![0.0; logits.values.len()];
        let start = self.start(&logits.shape, row.len());
        gradient[start..][..row.len()].iter_mut().zip(slope).for_each(|(out, slope)| *out = slope as f32);
        Ok(gradient)
    }

    /// The logits of the row that it is about.
    ///
    /// # Errors
    /// As [`Score::value`].
    pub fn row<'a>(&self, logits: &'a Array) -> Result<&'a [f32], Error> {
        let n_items = logits.shape.first().copied().unwrap_or(0);
        if self.item >= n_items {
            return Err(Error::Input(format!("there is no text {}; the run has {n_items}", self.item)));
        }
        let (n_rows, width) = match (self.position, &logits.shape[..]) {
            (Some(_), [_, n, width]) => (*n, *width),
            (Some(_), [_, n]) => (*n, 1),
            (None, [_, width]) => (1, *width),
            _ => {
                return Err(Error::Input(format!(
                    "logits of shape {:?} have no {}",
                    logits.shape,
                    if self.position.is_none() { "single row for a whole text" } else { "row for a position" }
                )));
            }
        };
        if let Some(position) = self.position.filter(|position| *position >= n_rows) {
            return Err(Error::Input(format!(
                "there is no position {position} in a text of {n_rows} tokens, which are counted from 0"
            )));
        }
        for id in [Some(self.target), self.foil].into_iter().flatten() {
            if id as usize >= width {
                let what = if self.position.is_some() { "token" } else { "class" };
                return Err(Error::Input(format!(
                    "there is no {what} {id}; the model has 0 to {}",
                    width.saturating_sub(1)
                )));
            }
        }
        let start = self.start(&logits.shape, width);
        let row = logits.values.get(start..start + width).unwrap_or_default();
        match row.iter().position(|logit| !logit.is_finite()) {
            None if row.len() == width => Ok(row),
            _ => Err(Error::Input(format!("the logits{} are not finite numbers", self.place_in_words()))),
        }
    }

    /// Where the row begins in logits of this shape.
    fn start(&self, shape: &[usize], width: usize) -> usize {
        let per_item: usize = shape[1..].iter().product();
        self.item * per_item + self.position.unwrap_or(0) * width
    }

    fn place_in_words(&self) -> String {
        self.position.map_or_else(String::new, |position| format!(" at position {position}"))
    }
}

/// What is measured of an output, before and after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The mean of `−ln p` of each token of the text given what is before it, in nats: large is bad. Of a decoder alone.
    Loss,
    /// The mean over the text's rows of `KL(p ‖ p′) = Σ p ln (p/p′)`, `p` the unchanged output, in nats: 0 when nothing changed.
    KullbackLeibler,
    /// The mean over the text's rows of `½ Σ |p − p′|`: 0 when nothing changed, 1 when no token is likely in both.
    TotalVariation,
    /// The mean over the text's rows of the Jensen–Shannon divergence of `p` and `p′`, in nats: 0 to `ln 2`.
    JensenShannon,
    /// One number of the output.
    Score(Score),
}

impl Metric {
    /// The name in files and tables.
    pub fn name(&self) -> &'static str {
        match self {
            Metric::Loss => "loss",
            Metric::KullbackLeibler => "kl",
            Metric::TotalVariation => "tvd",
            Metric::JensenShannon => "jsd",
            Metric::Score(Score { form: Form::Logit, foil: Some(_), .. }) => "logit-diff",
            Metric::Score(score) if score.form == Form::LogProbability => "log-probability",
            Metric::Score(score) => score.form.name(),
        }
    }

    /// What it counts in.
    pub fn unit(&self) -> &'static str {
        match self {
            Metric::Loss | Metric::KullbackLeibler | Metric::JensenShannon => "nats",
            Metric::TotalVariation => "probability",
            Metric::Score(Score { form: Form::Logit, .. }) => "logits",
            Metric::Score(Score { form: Form::LogProbability, .. }) => "nats",
            Metric::Score(Score { form: Form::Probability, .. }) => "probability",
        }
    }

    /// The rows of the logits that it reads.
    ///
    /// # Errors
    /// When the model or the text has no loss.
    pub fn rows(&self, unchanged: &Unchanged) -> Result<Vec<Option<usize>>, Error> {
        Ok(match self {
            Metric::Score(score) => vec![score.position],
            Metric::Loss => unchanged.next()?.iter().map(|(position, _)| Some(*position)).collect(),
            _ => unchanged.rows.clone(),
        })
    }

    /// The number, of the rows that it reads. Shape of `logits`: `[rows, n_logits]`.
    ///
    /// # Errors
    /// When the logits do not fit or are not finite, or the model or text has no loss.
    pub fn value(&self, logits: &Array, unchanged: &Unchanged) -> Result<f64, Error> {
        let plain = |item| Score { item, position: None, target: 0, foil: None, form: Form::LogProbability };
        match self {
            Metric::Score(score) => Score { item: 0, position: None, ..*score }.value(logits),
            Metric::Loss => {
                let of = |(place, (_, target)): (usize, &(usize, u32))| {
                    Ok(-Score { target: *target, ..plain(place) }.value(logits)?)
                };
                mean(unchanged.next()?.iter().enumerate().map(of))
            }
            Metric::KullbackLeibler | Metric::TotalVariation | Metric::JensenShannon => {
                mean(unchanged.rows.iter().enumerate().map(|(place, &position)| {
                    let before = Score { position, ..plain(0) }.row(&unchanged.logits)?;
                    Ok(self.distance(before, plain(place).row(logits)?))
                }))
            }
        }
    }

    /// How far two rows of logits are apart.
    fn distance(&self, before: &[f32], after: &[f32]) -> f64 {
        match self {
            Metric::TotalVariation => total_variation(&distribution(before), &distribution(after)),
            Metric::JensenShannon => divergence(&distribution(before), &distribution(after)),
            _ => relative_entropy(before, after),
        }
    }
}

/// The output of one text before anything is changed, and what its rows are.
#[derive(Debug, Clone, PartialEq)]
pub struct Unchanged {
    /// The logits. Shape as [`Run::logits`](crate::Run::logits), of one text.
    pub logits: Array,
    /// The rows that are no padding's, as [`Score::position`] names them.
    pub rows: Vec<Option<usize>>,
    /// Where a decoder predicts its own tokens: position and the token that follows. Empty where there is no loss.
    next: Vec<(usize, u32)>,
}

impl Unchanged {
    /// Of one text, whose logits are known.
    pub fn of(model: &Model, input: &Input, logits: Array) -> Unchanged {
        let tokens = model.predicted_at(input);
        let is_real = |place: &usize| tokens.tokens[*place].role != TokenRole::Padding;
        let real: Vec<usize> = (0..tokens.len()).filter(is_real).collect();
        let architecture = &model.transformer.architecture;
        let rows = match architecture.readout {
            Readout::Classes { .. } => vec![None],
            _ => real.iter().map(|place| Some(*place)).collect(),
        };
        let predicts = architecture.decoder.is_some() && matches!(architecture.readout, Readout::Tokens { .. });
        let pairs = real.windows(2).filter(|_| predicts);
        let next = pairs.filter_map(|pair| tokens.tokens[pair[1]].id.map(|id| (pair[0], id))).collect();
        Unchanged { logits, rows, next }
    }

    /// Some rows. Shape `[rows, n_logits]`.
    ///
    /// # Errors
    /// When there is no such row, or it is not finite.
    pub(crate) fn at(&self, rows: &[Option<usize>]) -> Result<Array, Error> {
        let mut values = Vec::new();
        for &position in rows {
            let score = Score { item: 0, position, target: 0, foil: None, form: Form::Logit };
            values.extend_from_slice(score.row(&self.logits)?);
        }
        Ok(Array { shape: vec![rows.len(), values.len() / rows.len().max(1)], values })
    }

    /// The gradient of the loss with respect to the logits. Shape as the logits.
    ///
    /// # Errors
    /// As [`Metric::value`] of the loss.
    pub(crate) fn loss_gradient(&self) -> Result<Vec<f32>, Error> {
        let next = self.next()?;
        let mut gradient = vec![0.0; self.logits.values.len()];
        for &(position, target) in next {
            let score = Score { item: 0, position: Some(position), target, foil: None, form: Form::LogProbability };
            let row = score.row(&self.logits)?;
            let slopes = &mut gradient[position * row.len()..][..row.len()];
            for (place, (slope, share)) in slopes.iter_mut().zip(probabilities(row)).enumerate() {
                *slope = ((share - f64::from(place == target as usize)) / next.len() as f64) as f32;
            }
        }
        Ok(gradient)
    }

    /// Where a decoder predicts its own tokens: position and the token that follows.
    fn next(&self) -> Result<&[(usize, u32)], Error> {
        if self.next.is_empty() {
            return Err(Error::Input(
                "a loss needs a decoder that predicts tokens, and a text of two tokens or more: the first is predicted by \
                 nothing; the divergence from the unchanged output is defined for every model"
                    .to_owned(),
            ));
        }
        Ok(&self.next)
    }
}

impl Model {
    /// The tokens at whose places the model gives logits: a decoder's where there is one, else the encoder's.
    pub fn predicted_at<'a>(&self, input: &'a Input) -> &'a Tokens {
        if self.transformer.architecture.decoder.is_some() { &input.target } else { &input.source }
    }

    /// The score of the likeliest token or class of the first text: at `position`, or else at the last one of a decoder, at
    /// the masked one of an encoder, and for the whole input of a model of classes.
    ///
    /// # Errors
    /// When the model has no logits, the position is not there, or an encoder of tokens has no masked position, or several.
    pub fn likeliest(&self, input: &Input, logits: &Array, position: Option<usize>) -> Result<Score, Error> {
        let position = self.row_of(input, position)?;
        let score = Score { item: 0, position, target: 0, foil: None, form: Form::Logit };
        let best = score.row(logits)?.iter().enumerate().reduce(|best, one| if one.1 > best.1 { one } else { best });
        Ok(Score { target: best.map_or(0, |(place, _)| place as u32), ..score })
    }

    /// The row of the logits at a position, as [`Model::likeliest`] chooses it where none is named.
    ///
    /// # Errors
    /// As [`Model::likeliest`].
    pub fn row_of(&self, input: &Input, position: Option<usize>) -> Result<Option<usize>, Error> {
        let architecture = &self.transformer.architecture;
        let tokens = &self.predicted_at(input).tokens;
        let n = tokens.iter().rposition(|token| token.role != TokenRole::Padding).map_or(0, |last| last + 1);
        let name = self.name();
        match (&architecture.readout, position) {
            (Readout::None, _) => {
                Err(Error::Unsupported(format!("{name} has no logits: its files hold only the layers")))
            }
            (Readout::Classes { .. }, None) => Ok(None),
            (Readout::Classes { .. }, Some(_)) => {
                Err(Error::Input(format!("{name} scores a text as a whole, and position was given: leave it out")))
            }
            (_, Some(position)) if position < n => Ok(Some(position)),
            (_, Some(position)) => Err(Error::Input(format!(
                "there is no position {position}: {name} has logits for {n} tokens, counted from 0"
            ))),
            (_, None) if architecture.decoder.is_some() => Ok(n.checked_sub(1)),
            (_, None) if input.features.is_some() => Err(Error::Input(format!(
                "{name} has logits for each of {n} places of what it reads: name the position that is meant, 0 to {}",
                n.saturating_sub(1)
            ))),
            (_, None) => self.masked(tokens).map(Some),
        }
    }

    /// The one masked position of a text.
    fn masked(&self, tokens: &[Token]) -> Result<usize, Error> {
        const MASKS: [&str; 3] = ["[MASK]", "<mask>", "▁<mask>"];
        let is_mask = |token: &Token| MASKS.contains(&token.text.trim());
        let masks: Vec<usize> = (0..tokens.len()).filter(|place| is_mask(&tokens[*place])).collect();
        match masks.as_slice() {
            [place] => Ok(*place),
            found => Err(Error::Input(format!(
                "{} has logits for every token, and the text has {} masked tokens: name the position that is meant, 0 to {}",
                self.name(),
                if found.is_empty() { "no".to_owned() } else { found.len().to_string() },
                tokens.len().saturating_sub(1)
            ))),
        }
    }

    /// The id of a token that a reader names: its piece, or text that is one token; without a tokenizer, and where no piece is
    /// written so, a number is an id; `id:7` is one in any case. Of classes a number alone.
    ///
    /// # Errors
    /// When it is not in the vocabulary, or there is no such class; the message says how many there are.
    pub fn target_named(&self, name: &str) -> Result<u32, Error> {
        if name.is_empty() {
            return Err(Error::Input(format!(
                "an empty text names no token or class of {}; give its text, or its id",
                self.name()
            )));
        }
        let n = self.transformer.n_logits() as u32;
        let id = id_named(name);
        let number = id.or_else(|| name.parse::<u32>().ok());
        if let Readout::Tokens { .. } = self.transformer.architecture.readout {
            let tokenizer = self.target_tokenizer.as_deref().or(self.tokenizer.as_deref());
            let piece = || tokenizer.and_then(|tokenizer| piece_named(tokenizer, name));
            let found = id.or_else(piece).or(number).filter(|id| *id < n);
            return found.ok_or_else(|| {
                let has = if tokenizer.is_some() { "a token" } else { "an id" };
                let name = attlas::printable::printable(name);
                Error::Input(format!(
                    "\"{name}\" is not {has} of {}, whose ids are 0 to {}",
                    self.name(),
                    n.saturating_sub(1)
                ))
            });
        }
        number.filter(|class| *class < n).ok_or_else(|| {
            let name = attlas::printable::printable(name);
            Error::Input(format!("\"{name}\" is no class of {}, which has 0 to {}", self.name(), n.saturating_sub(1)))
        })
    }
}

/// The id of `id:7`, which no token hides.
pub(super) fn id_named(name: &str) -> Option<u32> {
    name.strip_prefix("id:")?.parse().ok()
}

/// The id of a piece as it is stored, or of text that is one token, alone or after a space.
fn piece_named(tokenizer: &Tokenizer, name: &str) -> Option<u32> {
    let spaced = || ["Ġ", "▁"].iter().find_map(|space| tokenizer.id(&format!("{space}{}", name.trim_start())));
    let alone = || match tokenizer.ids(name).ok()?.as_slice() {
        [id] => Some(*id),
        _ => None,
    };
    if name.starts_with(' ') { spaced().or_else(alone) } else { tokenizer.id(name).or_else(spaced).or_else(alone) }
}

/// `ln Σ exp x`, in nats; of a single number `ln (1 + exp x)`, so that its probability is the sigmoid.
pub(crate) fn log_sum_exp(row: &[f32]) -> f64 {
    let zero = if row.len() == 1 { 0.0 } else { f64::NEG_INFINITY };
    let largest = row.iter().fold(zero, |largest, x| largest.max(f64::from(*x)));
    let sum: f64 = row.iter().map(|x| (f64::from(*x) - largest).exp()).sum();
    largest + (sum + (zero - largest).exp()).ln()
}

/// The probabilities of a row of logits; of a single number its sigmoid alone. Shape as `row`.
pub fn probabilities(row: &[f32]) -> Vec<f64> {
    let whole = log_sum_exp(row);
    row.iter().map(|x| (f64::from(*x) - whole).exp()).collect()
}

/// Probabilities that sum to 1: of a single number both sides of its sigmoid.
pub fn distribution(row: &[f32]) -> Vec<f64> {
    let mut p = probabilities(row);
    if let [p_yes] = p[..] {
        p.push(1.0 - p_yes);
    }
    p
}

/// `Σ p ln (p / p′)` of two rows of logits, in nats; never below 0, which rounding may leave.
pub(crate) fn relative_entropy(row: &[f32], changed: &[f32]) -> f64 {
    let (whole, whole_changed) = (log_sum_exp(row), log_sum_exp(changed));
    let of = |x: f64, y: f64| (x - whole).exp() * ((x - whole) - (y - whole_changed));
    let mut sum: f64 = row.iter().zip(changed).map(|(x, y)| of(f64::from(*x), f64::from(*y))).sum();
    if row.len() == 1 {
        sum += of(0.0, 0.0);
    }
    sum.max(0.0)
}

fn mean(numbers: impl Iterator<Item = Result<f64, Error>>) -> Result<f64, Error> {
    let numbers: Vec<f64> = numbers.collect::<Result<_, _>>()?;
    Ok(numbers.iter().sum::<f64>() / numbers.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 8] = [0.5, -1.0, 2.0, 0.25, 1.5, 0.0, -0.75, 3.0];

    fn score(form: Form, foil: Option<u32>) -> Score {
        Score { item: 0, position: Some(1), target: 0, foil, form }
    }

    #[test]
    fn the_gradient_is_that_of_central_differences() {
        let of_tokens = (vec![1, 2, 4], Some(1));
        let of_classes = (vec![2, 4], None);
        let of_positions = (vec![2, 4], Some(1));
        for ((shape, position), target) in [(of_tokens, 3), (of_classes, 2), (of_positions, 0)] {
            for (form, foil) in Form::ALL.into_iter().flat_map(|form| [(form, None), (form, Some(1))]) {
                if position.is_some() && shape.len() == 2 && foil.is_some() {
                    continue; // a single number has no other to be held against
                }
                let score = Score { position, target, ..score(form, foil) };
                let gradient = score.gradient(&Array { shape: shape.clone(), values: LOGITS.to_vec() }).unwrap();
                for place in 0..LOGITS.len() {
                    let at = |step: f32| {
                        let mut values = LOGITS.to_vec();
                        values[place] += step;
                        score.value(&Array { shape: shape.clone(), values }).unwrap()
                    };
                    let difference = (at(1.0 / 128.0) - at(-1.0 / 128.0)) * 64.0;
                    assert!(
                        (difference - f64::from(gradient[place])).abs() < 1e-4,
                        "{score:?} {place}: {difference} {gradient:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_foil_is_taken_away_in_each_form() {
        let logits = Array { shape: vec![1, 2, 4], values: LOGITS.to_vec() };
        let value = |form, foil| score(form, foil).value(&logits).unwrap();
        assert_eq!(value(Form::Logit, Some(3)), -1.5);
        assert!((value(Form::LogProbability, Some(3)) + 1.5).abs() < 1e-12);
        let difference = value(Form::Probability, None)
            - Score { target: 3, ..score(Form::Probability, None) }.value(&logits).unwrap();
        assert!((value(Form::Probability, Some(3)) - difference).abs() < 1e-12);
    }

    #[test]
    fn what_is_not_there_or_no_number_is_refused_in_a_sentence() {
        let logits = Array { shape: vec![1, 2, 4], values: LOGITS.to_vec() };
        let message = |score: Score| score.value(&logits).unwrap_err().to_string();
        let plain = score(Form::Logit, None);
        assert_eq!(message(Score { target: 4, ..plain }), "there is no token 4; the model has 0 to 3");
        assert_eq!(message(Score { foil: Some(9), ..plain }), "there is no token 9; the model has 0 to 3");
        assert_eq!(
            message(Score { position: Some(2), ..plain }),
            "there is no position 2 in a text of 2 tokens, which are counted from 0"
        );
        assert_eq!(message(Score { item: 1, ..plain }), "there is no text 1; the run has 1");
        let broken = Array { values: vec![f32::NAN; 8], ..logits.clone() };
        assert_eq!(plain.value(&broken).unwrap_err().to_string(), "the logits at position 1 are not finite numbers");
    }

    #[test]
    fn the_relative_entropy_is_0_for_equal_rows_and_as_worked_out_by_hand() {
        assert_eq!(relative_entropy(&LOGITS, &LOGITS), 0.0);
        // p = (½, ½), p′ = (¾, ¼): ½ ln(⅔) + ½ ln 2 = ½ ln(4/3)
        let found = relative_entropy(&[0.0, 0.0], &[3.0_f32.ln(), 0.0]);
        assert!((found - 0.5 * (4.0_f64 / 3.0).ln()).abs() < 1e-7, "{found}");
        // a single number: p = ½, p′ = ¾ of it
        assert!((relative_entropy(&[0.0], &[3.0_f32.ln()]) - found).abs() < 1e-7);
    }
}
