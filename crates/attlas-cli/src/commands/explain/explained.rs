//! One prediction, explained by several methods.

use attlas::printable::printable;
use attlas_model::explain::{Attribution, Method, Moved, Way};
use attlas_model::{Error, Input, Model, Pass, RunOptions, Side, Site};
use attlas_survey::table::Cells;

use super::ExplainArguments;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::table_file::Table;
use crate::terminal::remark;

/// A token that the model reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What reads it: `source` for the encoder, `target` for the decoder.
    pub side: &'static str,
    /// Its position there, counted from 0.
    pub position: usize,
    /// The token.
    pub token: String,
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
}

impl Explained {
    /// Computes what the methods say. Where all were asked for, one that is not defined for the model is left out, and said.
    pub fn of(
        model: &Model,
        input: &Input,
        arguments: &ExplainArguments,
        methods: &[Method],
        is_all: bool,
    ) -> Result<Explained, Failure> {
        let options = RunOptions { pass: Pass::keeping([Site::Logits]), ..RunOptions::default() };
        let run = model.run(std::slice::from_ref(input), &options)?;
        let logits = run.logits.unwrap_or(attlas_model::Array { shape: vec![0], values: Vec::new() });
        let score = arguments.score.explained_score(model, input, &logits)?;
        let mut attributions: Vec<Attribution> = Vec::new();
        let mut refusals: Vec<(Method, String)> = Vec::new();
        let mut progress = Progress::new("method", methods.len());
        let way = Way { n_steps: arguments.steps, moved: Moved::Both };
        for method in methods {
            let attribution = match method {
                Method::IntegratedGradients => model.integrated_gradients(input, &score, way),
                _ => model.explain(input, &score, *method),
            };
            match attribution {
                Ok(attribution) => attributions.push(attribution),
                Err(Error::Unsupported(why)) if is_all => refusals.push((*method, why)),
                Err(error) => return Err(error.into()),
            }
            progress.step();
        }
        drop(progress);
        say_left_out(&refusals);
        let Some(first) = attributions.first() else {
            return Err(Failure::Input(refusals.pop().map_or_else(String::new, |(_, why)| why)));
        };
        let value = first.value;
        let place = |share: attlas_model::explain::Share<'_>| Place {
            side: if share.side == Side::Source { "source" } else { "target" },
            position: share.position,
            token: share.token.to_owned(),
        };
        let places = first.shares(input).into_iter().map(place).collect();
        Ok(Explained { subject: model.score_in_words(&score, input), value, places, attributions })
    }

    /// The scores of a method, source before target. Shape `[places.len()]`.
    pub fn scores(attribution: &Attribution) -> impl Iterator<Item = f64> {
        attribution.source.iter().chain(&attribution.target).copied()
    }

    /// The scores of a method as shares of the sum of their sizes. Shape `[places.len()]`.
    pub fn shares(attribution: &Attribution) -> Vec<f64> {
        let size: f64 = Explained::scores(attribution).map(f64::abs).sum();
        Explained::scores(attribution).map(|score| if size > 0.0 { score / size } else { 0.0 }).collect()
    }

    /// What tokens sum to, a sentence for each method that shares out a sum.
    pub fn sums(&self) -> Vec<String> {
        self.attributions.iter().filter_map(sum_in_words).collect()
    }

    /// The rows of tables and JSON.
    pub fn table(&self) -> Table {
        let rows = || self.attributions.iter().flat_map(|one| self.places.iter().map(move |place| (one, place)));
        let text = |of: &dyn Fn(&Attribution, &Place) -> String| {
            Cells::Text(rows().map(|(one, place)| Some(of(one, place))).collect())
        };
        let scores = self.attributions.iter().flat_map(Explained::scores).map(Some).collect();
        let columns = vec![
            ("method", text(&|one, _| one.method.name().to_owned())),
            ("side", text(&|_, place| place.side.to_owned())),
            ("position", Cells::Whole(rows().map(|(_, place)| Some(place.position as i64)).collect())),
            ("token", text(&|_, place| place.token.clone())),
            ("score", Cells::Number(scores)),
            ("complete", Cells::Flag(rows().map(|(one, _)| complete(one)).collect())),
        ];
        let mut notes = vec![("explained".to_owned(), format!("{}, which is {}", self.subject, self.value))];
        let sums = self.sums();
        notes.extend((!sums.is_empty()).then(|| ("sums".to_owned(), sums.join(" "))));
        Table { columns, notes }
    }
}

/// Whether integrated gradients sum to what they should; `None` of the other methods, whose sums need not be anything.
fn complete(attribution: &Attribution) -> Option<bool> {
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

/// Says which methods are not defined for the model, and why; each reason once.
fn say_left_out(refusals: &[(Method, String)]) {
    for group in refusals.chunk_by(|a, b| a.1 == b.1) {
        let names: Vec<&str> = group.iter().map(|(method, _)| method.name()).collect();
        remark(&format!("left out: {} ({})", names.join(", "), printable(&group[0].1)));
    }
}
