//! The command line, defined once: the help, the completions and the man page come from here and from `commands/`.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use strsim::osa_distance;

#[cfg(not(all(feature = "train", feature = "serve")))]
use crate::commands::absent;
#[cfg(feature = "serve")]
use crate::commands::view;
use crate::commands::{
    ablate, align, check, circuits, compare, completions, describe, draw, evaluate, experts, explain, export, heads,
    import, info, lens, man, mixing, models, page, record, show, survey, times, tokens, why,
};
#[cfg(feature = "train")]
use crate::commands::{film, train};
use crate::inputs::RawText;
use crate::terminal::ColorChoice;
use crate::threads::MAX_THREADS;

const EXAMPLES: &str = "\
Examples:
  attlas \"The cat sat on the mat.\"          translate, show what stands out, write atlas.html
  echo \"Good morning.\" | attlas -           the same for a text from standard input
  attlas \"A red apple.\" --target \"Une pomme rouge.\"
  attlas run.safetensors                     the same for a recording
  attlas draw heads \"The cat sat.\" --kind cross --layer 1 -o heads.svg
  attlas record \"The cat sat.\" -o run.safetensors
  attlas export run.safetensors -o weights.npz

Layers and heads count from 0 and are written L3H7. Rows are queries, columns are keys.
A TEXT that is the name of a command is that command, and one that nearly is gets asked about.
After -- it is a text: attlas -- draw

Exit codes: 0 done; 1 done, some items skipped; 2 called wrongly; 3 bad input; 4 output not written; 5 over a limit.";

/// See what the attention heads of a Transformer do.
///
/// attlas runs a model, records every attention head exactly, draws the maps and says what stands out. Without --model it
/// uses the embedded English to French translator.
#[derive(Debug, Parser)]
#[command(name = "attlas", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(
    override_usage = "attlas [OPTIONS] TEXT\n       attlas [GLOBAL OPTIONS] COMMAND …",
    arg_required_else_help = true
)]
pub struct Arguments {
    /// What to do; without a command, TEXT is translated and shown.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub show: show::ShowArguments,
    /// Colours in the terminal.
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    #[arg(help_heading = "Global options")]
    pub color: ColorChoice,
    /// Threads that compute [default: RAYON_NUM_THREADS, or one per core].
    #[arg(long, global = true, value_name = "N", value_parser = parse_threads, help_heading = "Global options")]
    pub threads: Option<usize>,
}

impl Arguments {
    /// The command line, read; options of TEXT before a command are refused, not ignored.
    pub fn read(words: &[OsString]) -> Result<Arguments, clap::Error> {
        let mut command = Arguments::command();
        let result = command.try_get_matches_from_mut(words);
        if let Some(error) = slip(&mut command, words, &result) {
            return Err(error);
        }
        let matches = result?;
        let is_own = |id: &&clap::Id| !["color", "threads"].contains(&id.as_str());
        let was_typed = |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        // groups are ids too; the arguments in them are enough
        let is_argument = |id: &&clap::Id| command.get_arguments().any(|argument| argument.get_id() == *id);
        let misplaced = matches.ids().filter(is_own).filter(is_argument).find(was_typed);
        if let (Some(name), Some(id)) = (matches.subcommand_name(), misplaced) {
            let argument = command.get_arguments().find(|argument| argument.get_id() == id).map(ToString::to_string);
            let argument = argument.unwrap_or_else(|| id.to_string());
            let message = format!(
                "{argument} does not go before the command \"{name}\"; write it after the command, or -- before a TEXT"
            );
            return Err(command.error(ErrorKind::ArgumentConflict, message));
        }
        Arguments::from_arg_matches(&matches)
    }
}

/// A command's name that was mistyped, so that it would be taken for a TEXT: said, instead of translated.
///
/// A slip is one word of letters alone, about a letter in four off a command's name; nothing after `--` is one.
fn slip(
    command: &mut clap::Command,
    words: &[OsString],
    result: &Result<clap::ArgMatches, clap::Error>,
) -> Option<clap::Error> {
    if words.iter().any(|word| word == "--") {
        return None;
    }
    let word = match result {
        Ok(matches) => matches.try_get_one::<RawText>("text").ok()??.to_str()?,
        // what follows a mistyped command is refused as a second TEXT
        Err(error) if matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand) => {
            words.get(1)?.to_str()?
        }
        Err(_) => return None,
    };
    if !word.chars().all(char::is_alphabetic) {
        return None;
    }
    let names: Vec<String> = command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
    let nearest = names.iter().map(|name| (osa_distance(&word.to_lowercase(), name), name)).min()?;
    if nearest.0 > nearest.1.len() / 4 || names.iter().any(|name| name == word) {
        return None;
    }
    let message = format!(
        "there is no command \"{word}\"; did you mean \"{}\"? Write -- before it to mean the text: attlas -- {word}",
        nearest.1
    );
    Some(command.error(ErrorKind::InvalidSubcommand, message))
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Draw maps as SVG, PDF or PNG.
    Draw(draw::DrawArguments),
    /// Hold two recordings, models or texts against each other, head by head.
    Compare(compare::CompareArguments),
    /// Run a model and save every attention head.
    Record(record::RecordArguments),
    /// Say what every head does: scores with baseline and interval, classes, questions.
    Heads(heads::HeadsArguments),
    /// Say which tokens a prediction rests on, by every method side by side.
    Explain(explain::ExplainArguments),
    /// Take heads away and measure what becomes of the output; or exchange parts of a run.
    Ablate(ablate::AblateArguments),
    /// Say whether maps have to do with the output: permuted, made uniform, tokens erased.
    Check(check::CheckArguments),
    /// Say what the model would predict if it stopped after each layer.
    Lens(lens::LensArguments),
    /// Say which source word each target word looks at most, and how right that is.
    Align(align::AlignArguments),
    /// Say when each word of a transcript is spoken.
    Times(times::TimesArguments),
    /// Take the score of one query and one key apart: content, position, biases, and which heads below bring them.
    Why(why::WhyArguments),
    /// Say what heads read and write: copying, composition with other heads, tokens.
    Circuits(circuits::CircuitsArguments),
    /// Say how much each layer mixes into a token's state, and how much it leaves.
    Mixing(mixing::MixingArguments),
    /// Say which experts each token goes through, of a model that is a mixture.
    Experts(experts::ExpertsArguments),
    /// Write the weights of a recording as npz, safetensors, CSV or JSON.
    Export(export::ExportArguments),
    /// Make a recording of attention arrays computed elsewhere.
    Import(import::ImportArguments),
    /// Say what is in a recording, where it comes from, and whether it passes its checks.
    Info(info::InfoArguments),
    /// Write recordings as one page that opens in any browser, with no network.
    Page(page::PageArguments),
    /// Say in a few sentences what the heads do with a text, each with its number.
    Describe(describe::DescribeArguments),
    /// Survey what the heads do over a corpus, or merge surveys.
    Survey(survey::SurveyArguments),
    /// Show how a model cuts a text into tokens.
    Tokens(tokens::TokensArguments),
    /// List the model families that can be read.
    Models(models::ModelsArguments),
    /// Train an encoder-decoder on sentence pairs.
    #[cfg(feature = "train")]
    Train(train::TrainArguments),
    /// Train an encoder-decoder on sentence pairs (not in this build).
    #[cfg(not(feature = "train"))]
    Train(absent::AnyArguments),
    /// Measure a translator on sentence pairs.
    Evaluate(evaluate::EvaluateArguments),
    /// Draw how heads came to be during a training.
    #[cfg(feature = "train")]
    Film(film::FilmArguments),
    /// Draw how heads came to be during a training (not in this build).
    #[cfg(not(feature = "train"))]
    Film(absent::AnyArguments),
    /// Open the viewer in a browser, served on this machine: recordings, and live runs.
    #[cfg(feature = "serve")]
    View(view::ViewServerArguments),
    /// Open the viewer in a browser (not in this build).
    #[cfg(not(feature = "serve"))]
    View(absent::AnyArguments),
    /// Write shell completions.
    Completions(completions::CompletionsArguments),
    /// Write the man page.
    Man(man::ManArguments),
}

fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=MAX_THREADS) => Ok(n),
        _ => Err(format!("a number from 1 to {MAX_THREADS} was expected")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_text_is_shown_and_the_name_of_a_command_is_the_command() {
        let parse =
            |words: &[&str]| Arguments::read(&words.iter().map(OsString::from).collect::<Vec<_>>()).expect("it parses");
        assert!(parse(&["attlas", "Good morning."]).command.is_none());
        assert!(matches!(parse(&["attlas", "models"]).command, Some(Command::Models(_))));
        let text = parse(&["attlas", "--", "models"]);
        assert!(text.command.is_none());
        assert_eq!(text.show.text, Some("models".into()));
    }

    #[test]
    fn one_word_that_is_nearly_a_command_is_taken_for_a_slip() {
        let read = |words: &[&str]| Arguments::read(&words.iter().map(OsString::from).collect::<Vec<_>>());
        for (typed, meant) in [
            ("modles", "models"),
            ("drwa", "draw"),
            ("Draw", "draw"),
            ("exprt", "export"),
            ("halp", "help"),
            ("completion", "completions"),
            ("Man", "man"),
        ] {
            let error = read(&["attlas", typed]).expect_err("it is refused");
            assert_eq!(error.exit_code(), 2);
            let message = error.to_string();
            assert!(message.contains(&format!("no command \"{typed}\"; did you mean \"{meant}\"?")), "{message}");
            assert!(message.contains(&format!("attlas -- {typed}")), "{message}");
            assert!(read(&["attlas", "--no-page", typed]).is_err());
            assert!(read(&["attlas", "--no-page", "--", typed]).is_ok(), "{typed}");
        }
        let error = read(&["attlas", "drwa", "map", "A red apple.", "-o", "a.svg"]).expect_err("it is refused");
        assert!(error.to_string().contains("did you mean \"draw\"?"), "{error}");
        for text in ["Hello", "cat", "second", "manger", "draw.", "draw it", "données", "猫", "-", "x"] {
            assert!(read(&["attlas", text]).expect("it is a text").command.is_none(), "{text}");
        }
    }

    #[test]
    fn the_distance_of_two_words_counts_exchanged_neighbours_once() {
        assert_eq!(osa_distance("drwa", "draw"), 1);
        assert_eq!(osa_distance("", "draw"), 4);
        assert_eq!(osa_distance("kitten", "sitting"), 3);
    }

    #[test]
    fn an_option_of_a_text_before_a_command_is_refused() {
        let error =
            Arguments::read(&["attlas", "--layer", "1", "models"].map(OsString::from)).expect_err("it is refused");
        assert!(error.to_string().contains("--layer <N> does not go before the command \"models\""), "{error}");
    }

    /// Every command with a name for messages, and what stands before its own words.
    fn all_commands(command: &clap::Command) -> Vec<(String, clap::Command)> {
        let own = (command.get_name().to_owned(), command.clone());
        let below = command.get_subcommands().flat_map(all_commands);
        std::iter::once(own).chain(below).collect()
    }

    /// The words of an example, as a shell reads them; two spaces begin what is said about it, `|` and `>` what others do.
    fn words_of(line: &str) -> Vec<OsString> {
        let (mut words, mut word, mut is_quoted) = (Vec::new(), None::<String>, None);
        let mut chars = line.trim().chars().peekable();
        while let Some(char) = chars.next() {
            match (char, is_quoted) {
                (quote, Some(open)) if quote == open => is_quoted = None,
                ('"' | '\'', None) => {
                    is_quoted = Some(char);
                    word.get_or_insert_default();
                }
                (' ', None) if chars.peek() == Some(&' ') => break,
                (' ', None) => words.extend(word.take()),
                ('>', None) => break,
                ('|', None) if words.first().is_some_and(|first| first == "attlas") => break,
                ('|', None) => words.clear(),
                _ => word.get_or_insert_default().push(char),
            }
        }
        words.extend(word);
        words.into_iter().map(OsString::from).collect()
    }

    #[test]
    fn every_example_of_the_help_is_a_call_that_is_understood() {
        let mut n = 0;
        for (name, command) in all_commands(&Arguments::command()) {
            let Some(help) = command.get_after_help().map(ToString::to_string) else { continue };
            let examples =
                help.lines().skip_while(|line| *line != "Examples:").skip(1).take_while(|line| line.starts_with("  "));
            for line in examples.filter(|line| line.contains("attlas ")) {
                n += 1;
                let words = words_of(line);
                assert_eq!(words.first().and_then(|word| word.to_str()), Some("attlas"), "{name}: {line}");
                if let Err(error) = Arguments::read(&words) {
                    panic!("{name}: {line}\n{words:?}\n{error}");
                }
            }
        }
        assert!(n > 80, "{n}");
    }

    #[test]
    fn every_option_that_a_commands_help_names_is_there() {
        let mut all = Arguments::command();
        all.build();
        for (name, command) in all_commands(&all).into_iter().skip(1) {
            let Some(help) = command.get_after_help().map(ToString::to_string) else { continue };
            let options: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
            // what stands in backquotes is a call of another command
            let prose = help.split("\n\n").skip(1).flat_map(|part| part.split('`').step_by(2));
            let prose = prose.flat_map(str::split_whitespace);
            for option in prose.filter_map(|word| word.strip_prefix("--")) {
                let option =
                    option.split(|char: char| !(char.is_ascii_lowercase() || char == '-')).next().unwrap_or_default();
                assert!(option.is_empty() || options.contains(&option), "{name}: --{option} is none of {options:?}");
            }
        }
    }
}
