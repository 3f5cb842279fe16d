//! A call that is wrong, in one sentence: what was found, what was expected, and where the options are explained.

use std::error::Error as _;
use std::ffi::OsString;
use std::io::Write;
use std::num::{IntErrorKind, ParseFloatError, ParseIntError};

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::arguments::Arguments;
use crate::failure::{Failure, Outcome};

/// Prints what was asked for, such as help; anything else is a failure.
///
/// # Errors
/// [`Failure::Usage`] says what is wrong with the call; [`Failure::Output`] when the help cannot be printed.
pub fn help_or_failure(error: &clap::Error, words: &[OsString]) -> Result<Outcome, Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            error.print()?;
            std::io::stdout().flush()?;
            Ok(Outcome::Done)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print(); // to standard error
            let (name, _) = command_of(words, None);
            Err(Failure::Usage(format!("{name} was given nothing to do; the above says what it can")))
        }
        _ => {
            let no_command = strings(error.get(ContextKind::InvalidSubcommand)).pop();
            let (name, command) = command_of(words, no_command.as_deref());
            let sentence = below_0(error, words).unwrap_or_else(|| sentence(error, &command));
            Err(Failure::Usage(format!("{sentence}; {name} --help explains")))
        }
    }
}

/// The command that is meant, and its name: `attlas draw map`. No command stands behind a word that is none where one was expected.
fn command_of(words: &[OsString], no_command: Option<&str>) -> (String, clap::Command) {
    let attlas = Arguments::command();
    let mut command = &attlas;
    let mut name = command.get_name().to_owned();
    for word in words.iter().skip(1).take_while(|word| *word != "--").map(|word| word.to_str()) {
        match word.and_then(|word| command.find_subcommand(word)) {
            Some(next) => {
                name = format!("{name} {}", next.get_name());
                command = next;
            }
            None if word.is_some() && word == no_command => break,
            None => {}
        }
    }
    (name, command.clone())
}

/// What is wrong where a number below 0 was taken for an option: `--position -1`.
fn below_0(error: &clap::Error, words: &[OsString]) -> Option<String> {
    let unknown =
        strings(error.get(ContextKind::InvalidArg)).pop().filter(|_| error.kind() == ErrorKind::UnknownArgument)?;
    let is_number = |word: &str| word.starts_with(&unknown) && word.parse::<f64>().is_ok_and(|number| number <= 0.0);
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    words
        .windows(2)
        .find(|pair| pair[0].starts_with("--") && pair[1].starts_with('-') && is_number(pair[1]))
        .map(|pair| format!("{}: \"{}\" was given; a number, 0 or larger, was expected", pair[0], pair[1]))
}

/// What is wrong with the call of `command`.
fn sentence(error: &clap::Error, command: &clap::Command) -> String {
    let text = |kind: ContextKind| strings(error.get(kind)).join(", ");
    let (argument, value) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue));
    let meant = |kind: ContextKind| match text(kind) {
        nearest if nearest.is_empty() => String::new(),
        nearest => format!("; did you mean {nearest}?"),
    };
    match error.kind() {
        ErrorKind::InvalidValue if value.is_empty() => format!("{argument}: a value is missing after it"),
        ErrorKind::InvalidValue => {
            let expected = one_of(&strings(error.get(ContextKind::ValidValue)));
            format!("{argument}: \"{value}\" was given, {expected} was expected")
        }
        ErrorKind::ValueValidation => format!("{argument}: \"{value}\" was given; {}", expected(error)),
        ErrorKind::TooManyValues => format!("{argument}: \"{value}\" was given, but it takes no value"),
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            format!("there is no option {argument}{}", meant(ContextKind::SuggestedArg))
        }
        ErrorKind::UnknownArgument if argument.contains(char::is_whitespace) => {
            format!("\"{argument}\" is one text too many")
        }
        ErrorKind::UnknownArgument => {
            format!("\"{argument}\" is one word too many; a text of several words stands in quotes")
        }
        ErrorKind::InvalidSubcommand if !text(ContextKind::InvalidSubcommand).is_empty() => {
            let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
            format!("there is no \"{}\"; there are {}", text(ContextKind::InvalidSubcommand), names.join(", "))
        }
        ErrorKind::ArgumentConflict if !argument.is_empty() => match text(ContextKind::PriorArg) {
            other if other == argument => format!("{argument} was given twice; it is taken once"),
            other => format!("{argument} does not go together with {other}; leave one of them out"),
        },
        ErrorKind::MissingRequiredArgument => {
            let missing = strings(error.get(ContextKind::InvalidArg));
            format!("{} {} missing", missing.join(" and "), if missing.len() == 1 { "is" } else { "are" })
        }
        _ => own_words(error),
    }
}

/// The texts of a part of an error.
fn strings(value: Option<&ContextValue>) -> Vec<String> {
    match value {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// `linear, log or row`.
fn one_of(names: &[String]) -> String {
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "another value".to_owned(),
    }
}

/// What a value should have been, in the words of the option's own reader or for a number.
fn expected(error: &clap::Error) -> String {
    let Some(source) = error.source() else { return "another value was expected".to_owned() };
    if let Some(error) = source.downcast_ref::<ParseIntError>() {
        return match error.kind() {
            IntErrorKind::PosOverflow => "the number is too large".to_owned(),
            IntErrorKind::Zero => "a whole number, 1 or larger, was expected".to_owned(),
            _ => "a whole number, 0 or larger, was expected".to_owned(),
        };
    }
    if source.is::<ParseFloatError>() {
        return "a number was expected".to_owned();
    }
    source.to_string()
}

/// The first paragraph of the error's own text, for a message that this command wrote.
fn own_words(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let paragraph = text.strip_prefix("error: ").unwrap_or(&text).split("\n\n").next().unwrap_or_default();
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}
