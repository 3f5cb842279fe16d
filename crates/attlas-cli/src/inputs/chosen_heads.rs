//! Which heads of a model a command is about.

use attlas::Kind;
use attlas_model::explain::HeadPattern;
use attlas_model::explain::knock_out::KindHead;
use attlas_model::{Error, Model};
use clap::Args;

use super::parse_kind;
use crate::failure::Failure;
use crate::words::counted;

/// Which heads of a model are meant.
#[derive(Debug, Clone, Default, Args)]
pub struct ChosenHeads {
    /// Which heads: 4.11 or L4H11, 5.* for a layer, cross:2.* with their kind; separated by commas [default: all].
    #[arg(long, value_name = "HEADS", value_delimiter = ',')]
    pub heads: Vec<HeadPattern>,
    /// One kind of attention alone.
    #[arg(long, value_parser = parse_kind())]
    pub kind: Option<Kind>,
}

impl ChosenHeads {
    /// The heads, in the model's order; all where none is named.
    ///
    /// # Errors
    /// [`Failure::Usage`] when the model has none of a kind, or one that is named is not there.
    pub fn of(&self, model: &Model) -> Result<Vec<KindHead>, Failure> {
        model.heads_named(&self.heads, self.kind).map_err(|error| about("--", error))
    }

    /// The one head that another option names.
    ///
    /// # Errors
    /// As [`ChosenHeads::of`], and when several are meant.
    pub fn one(&self, model: &Model, name: &str, option: &str) -> Result<KindHead, Failure> {
        let pattern = name.parse().map_err(|error| Failure::Usage(format!("{option}: {error}")))?;
        let found = model.heads_named(&[pattern], self.kind);
        match found.map_err(|error| about(&format!("{option}: "), error))?[..] {
            [head] => Ok(head),
            ref found => Err(Failure::Usage(format!(
                "{option} {name} names {}; name one, with its kind where several have it",
                counted(found.len(), "head")
            ))),
        }
    }
}

/// What was named amiss, with the option before it.
fn about(option: &str, error: Error) -> Failure {
    match error {
        Error::NoHeads(message) => Failure::Usage(format!("{option}{message}")),
        error => error.into(),
    }
}
