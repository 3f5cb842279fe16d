//! The commands that this build lacks: they take any arguments, and say so.

use std::ffi::OsString;

use clap::Args;

use crate::failure::{Failure, Outcome};

/// Whatever was given.
#[derive(Debug, Args)]
pub struct AnyArguments {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Says that the command is not there.
pub fn run(command: &str, feature: &str) -> Result<Outcome, Failure> {
    Err(Failure::Usage(format!(
        "this build of attlas has no command \"{command}\": it was made without the feature {feature} \
         (cargo install --features {feature})"
    )))
}
