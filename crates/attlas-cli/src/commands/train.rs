//! `attlas train`: trains the encoder-decoder, with progress in the terminal and a log beside the model.

use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use attlas_train::data::BadLines;
use attlas_train::optimizer::{Decay, Schedule};
use attlas_train::train::{Ended, Next, Progress, Summary};
use attlas_train::variation::Variation;
use attlas_train::{Architecture, Budget, Config, Recipe, Resume};
use clap::{Args, ValueEnum};

use super::counted;
use super::pair_lines::{left_out_lines, say_wider_lines};
use crate::failure::{Failure, Outcome};
use crate::inputs::refuse_inputs;
use crate::signals::Watch;
use crate::terminal::{Terminal, printable, remark};
use crate::words::duration;

const EXAMPLES: &str = "\
Examples:
  attlas train --pairs train.tsv --valid valid.tsv -o translator
  attlas train --pairs train.tsv --valid valid.tsv -o translator --resume
  attlas train --pairs train.tsv --valid valid.tsv -o small --d-model 64 --heads 4 --layers 2 --tokens 2000000
  attlas train --pairs train.tsv --valid valid.tsv -o translator --film 12

A pair is a line: source, tab, target. The folder gets model.safetensors (the best weights so far), config.json and
tokenizer.json, so that `attlas TEXT --model FOLDER` runs it, and log.jsonl and checkpoint.safetensors. A run that was
stopped, by whatever means, goes on with --resume and the same options. Ctrl-C and SIGTERM write a checkpoint first and
end with exit code 130 or 143; a second one ends at once. A folder holds one training at a time.";

/// `attlas train`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainArguments {
    /// Sentence pairs to learn from: one a line, source, tab, target, UTF-8; further columns are left out.
    #[arg(long, value_name = "TSV")]
    pub pairs: PathBuf,
    /// Sentence pairs to validate on.
    #[arg(long, value_name = "TSV")]
    pub valid: PathBuf,
    /// The folder of the model.
    #[arg(short, long, value_name = "FOLDER")]
    pub output: PathBuf,
    /// Go on from the checkpoint in the folder.
    #[arg(long)]
    pub resume: bool,
    /// Leave out lines that are no pairs, and count them, instead of refusing the file.
    #[arg(long)]
    pub skip_bad: bool,
    /// Keep N small checkpoints for `attlas film`, 1000 at most.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub film: usize,
    /// Print nothing while it trains.
    #[arg(long)]
    pub quiet: bool,
    #[command(flatten)]
    pub model: ModelSizes,
    #[command(flatten)]
    pub recipe: RecipeArguments,
    #[command(flatten)]
    pub variation: VariationArguments,
    #[command(flatten)]
    pub run: RunSettings,
}

/// The model's sizes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelSizes {
    /// Width of the embeddings.
    #[arg(long, value_name = "N", default_value_t = Architecture::default().d_model)]
    pub d_model: usize,
    /// Heads per layer; divides the width.
    #[arg(long, value_name = "N", default_value_t = Architecture::default().num_heads)]
    pub heads: usize,
    /// Width inside the feed-forward sublayers.
    #[arg(long, value_name = "N", default_value_t = Architecture::default().d_ff)]
    pub d_ff: usize,
    /// Encoder layers, and as many decoder layers.
    #[arg(long, value_name = "N", default_value_t = Architecture::default().num_layers)]
    pub layers: usize,
    /// Longest sentence in tokens; longer pairs are left out.
    #[arg(long, value_name = "N", default_value_t = Architecture::default().max_len)]
    pub max_len: usize,
    /// Separate source embedding, target embedding and output projection [default: one matrix for the three].
    #[arg(long)]
    pub untied: bool,
    /// Tokens of the BPE vocabulary learnt from the pairs.
    #[arg(long, value_name = "N", default_value_t = Architecture::default().src_vocab, conflicts_with = "tokenizer")]
    pub vocabulary: usize,
    /// A tokenizer.json to use instead of learning one.
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// A model of the same sizes to begin with, instead of random weights: its folder or its model.safetensors.
    #[arg(long, value_name = "MODEL", conflicts_with = "resume")]
    pub init: Option<PathBuf>,
}

/// How the model is trained.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeArguments {
    /// Train on N target tokens, then stop: the same result at any speed [default: 50000000].
    #[arg(long, value_name = "N", conflicts_with = "minutes")]
    pub tokens: Option<u64>,
    /// Train for that long, resumed runs added up, then stop.
    #[arg(long, value_name = "MINUTES")]
    pub minutes: Option<f64>,
    /// Target tokens per step.
    #[arg(long, value_name = "N", default_value_t = Recipe::default().batch_tokens)]
    pub batch_tokens: usize,
    /// Target tokens that one thread works on at a time.
    #[arg(long, value_name = "N", default_value_t = Recipe::default().part_tokens)]
    pub part_tokens: usize,
    /// The highest learning rate.
    #[arg(long, value_name = "RATE", default_value_t = Recipe::default().schedule.peak)]
    pub learning_rate: f64,
    /// Steps in which the learning rate rises.
    #[arg(long, value_name = "STEPS", default_value_t = Recipe::default().schedule.warm_up)]
    pub warm_up: u64,
    /// How the learning rate falls afterwards.
    #[arg(long, value_enum, default_value_t = DecayName::Cosine)]
    pub decay: DecayName,
    /// Label smoothing.
    #[arg(long, value_name = "SHARE", default_value_t = Recipe::default().smoothing)]
    pub label_smoothing: f32,
    /// Dropout.
    #[arg(long, value_name = "SHARE", default_value_t = Recipe::default().dropout)]
    pub dropout: f32,
    /// Largest norm of the gradients.
    #[arg(long, value_name = "NORM", default_value_t = Recipe::default().clip)]
    pub clip: f64,
    /// Decay of the average of the weights, which is what is validated and kept; 0 keeps the weights themselves.
    #[arg(long, value_name = "SHARE", default_value_t = Recipe::default().average)]
    pub average: f64,
    /// Decides first weights, order of the pairs, dropout and variations.
    #[arg(long, value_name = "N", default_value_t = Recipe::default().seed)]
    pub seed: u64,
}

/// How the training text is varied: anew in each epoch, a function of seed, epoch and pair.
#[derive(Debug, Args)]
#[command(next_help_heading = "Variation of the training text")]
pub struct VariationArguments {
    /// Skip that share of merges when a source is cut into pieces (BPE-dropout).
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub bpe_dropout: f64,
    /// Show that share of sources in lower case; their targets stay as they are.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub lower_case: f64,
    /// Show that share of pairs in CAPITALS.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub upper_case: f64,
    /// Show that share of pairs without the stop, question or exclamation mark at the end of both texts.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub drop_stop: f64,
    /// Show that share of pairs with other names and numbers, where a name or number stands in both texts.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub swap_names: f64,
    /// Join that share of pairs with the next one or two.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub join: f64,
}

/// How the learning rate falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DecayName {
    /// As 1/√step (Vaswani et al. 2017).
    InverseSqrt,
    /// As half a cosine, to 0 at the end.
    Cosine,
    /// As a line, to 0 at the end.
    Linear,
}

/// How a run goes about it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Run")]
pub struct RunSettings {
    /// Steps between validations.
    #[arg(long, value_name = "STEPS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    pub validate_every: u64,
    /// Stop early after N validations without a better loss.
    #[arg(long, value_name = "N")]
    pub patience: Option<u64>,
    /// Seconds between checkpoints.
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0)]
    pub checkpoint_every: f64,
    /// A sentence that is translated at every validation.
    #[arg(long, value_name = "TEXT", default_value = "The cat sat on the mat.")]
    pub sample: String,
    /// Megabytes that activations may take.
    #[arg(long, value_name = "MB", default_value_t = 8192)]
    pub memory_limit: u64,
}

impl TrainArguments {
    /// Refuses a folder into which the run would write one of its inputs. A tokenizer is copied as it is, and is not lost.
    fn refuse_inputs(&self) -> Result<(), Failure> {
        let inputs = [Some(&self.pairs), Some(&self.valid), self.model.init.as_ref()];
        let written = ["model.safetensors", "checkpoint.safetensors", "config.json", "tokenizer.json", "log.jsonl"];
        for name in written {
            refuse_inputs(&self.output.join(name), inputs.into_iter().flatten().map(PathBuf::as_path))?;
        }
        Ok(())
    }

    fn config(&self, threads: Option<usize>) -> Config {
        let decay = match self.recipe.decay {
            DecayName::InverseSqrt => Decay::InverseSqrt,
            DecayName::Cosine => Decay::Cosine,
            DecayName::Linear => Decay::Linear,
        };
        let defaults = Recipe::default();
        let architecture = Architecture {
            d_model: self.model.d_model,
            num_heads: self.model.heads,
            d_ff: self.model.d_ff,
            num_layers: self.model.layers,
            src_vocab: self.model.vocabulary,
            tgt_vocab: self.model.vocabulary,
            max_len: self.model.max_len,
            tied: !self.model.untied,
        };
        let mut config = Config::new(self.pairs.clone(), self.valid.clone(), self.output.clone());
        config.recipe = Recipe {
            architecture,
            batch_tokens: self.recipe.batch_tokens,
            part_tokens: self.recipe.part_tokens,
            budget: match (self.recipe.tokens, self.recipe.minutes) {
                (Some(tokens), _) => Budget::Tokens(tokens),
                (None, Some(minutes)) => Budget::Minutes(minutes),
                (None, None) => defaults.budget,
            },
            schedule: Schedule { peak: self.recipe.learning_rate, warm_up: self.recipe.warm_up, decay },
            smoothing: self.recipe.label_smoothing,
            dropout: self.recipe.dropout,
            clip: self.recipe.clip,
            seed: self.recipe.seed,
            average: self.recipe.average,
            variation: Variation {
                bpe_dropout: self.variation.bpe_dropout,
                lower_case: self.variation.lower_case,
                upper_case: self.variation.upper_case,
                drop_stop: self.variation.drop_stop,
                swap_names: self.variation.swap_names,
                join: self.variation.join,
            },
        };
        config.tokenizer.clone_from(&self.model.tokenizer);
        config.init.clone_from(&self.model.init);
        config.resume = if self.resume { Resume::Yes } else { Resume::No };
        config.bad_lines = if self.skip_bad { BadLines::Skip } else { BadLines::Refuse };
        config.threads = threads.unwrap_or_else(rayon::current_num_threads);
        config.validate_every = self.run.validate_every;
        config.checkpoint_seconds = self.run.checkpoint_every;
        config.patience = self.run.patience;
        config.film = self.film;
        config.sample.clone_from(&self.run.sample);
        config.memory_limit = self.run.memory_limit.saturating_mul(1 << 20);
        config
    }
}

/// Trains.
pub fn run(
    arguments: &TrainArguments,
    threads: Option<usize>,
    signals: &Watch,
    terminal: &mut Terminal,
) -> Result<Outcome, Failure> {
    arguments.refuse_inputs()?;
    let config = arguments.config(threads);
    let mut reporter = Reporter::new(arguments.quiet);
    let mut preparing = (!arguments.quiet).then(say_if_preparing_takes_long);
    let summary = attlas_train::train(&config, &mut |progress| {
        signals.keep();
        preparing = None;
        reporter.report(progress);
        if signals.noted().is_some() { Next::Stop } else { Next::Continue }
    });
    drop(preparing);
    reporter.end_line();
    let summary = summary?;
    say_left_out(&summary);
    let why = match summary.ended {
        Ended::Budget => "the budget is used up",
        Ended::EarlyStop => "the validation loss did not fall any more",
        Ended::Asked => "stopped by a signal; --resume goes on",
    };
    let best =
        summary.best_valid.map_or(String::new(), |loss| format!(", best validation loss {loss:.4} nats per token"));
    let folder = printable(&arguments.output.display().to_string());
    writeln!(
        terminal,
        "{folder}: {}, {} target tokens{best}; {why}",
        counted(summary.step as usize, "step"),
        summary.tokens
    )?;
    Ok(match (summary.ended, signals.noted()) {
        (Ended::Asked, Some(signal)) => Outcome::Stopped(signal),
        _ if summary.n_bad > 0 => Outcome::SomeSkipped,
        _ => Outcome::Done,
    })
}

/// Says what is done before the first step, if that takes longer than a person waits; dropping what is returned ends the wait.
fn say_if_preparing_takes_long() -> Sender<()> {
    let (prepared, waiting) = channel();
    // without threads there is nobody to say it
    let _ = std::thread::Builder::new().spawn(move || {
        if waiting.recv_timeout(SAY_AFTER) == Err(RecvTimeoutError::Timeout) {
            remark("reading the pairs, learning byte pairs where no vocabulary is given, and cutting the pairs into tokens …");
        }
    });
    prepared
}

/// What was not learnt from.
fn say_left_out(summary: &Summary) {
    say_wider_lines(summary.n_wider);
    if summary.n_bad > 0 {
        remark(&left_out_lines(summary.n_bad));
    }
    if summary.n_too_long > 0 {
        remark(&format!("left out {} longer than --max-len", counted(summary.n_too_long, "pair")));
    }
}

/// Progress on standard error: one line that is written over on a terminal, a line now and then elsewhere.
struct Reporter {
    quiet: bool,
    is_terminal: bool,
    last: Option<Instant>,
    line_open: bool,
}

/// How long nothing is said before the first step.
const SAY_AFTER: Duration = Duration::from_secs(1);
/// Time between two lines where they are not written over.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// Time between two states of the line that is written over.
const REWRITE_EVERY: Duration = Duration::from_millis(200);

impl Reporter {
    fn new(quiet: bool) -> Reporter {
        Reporter { quiet, is_terminal: stderr().is_terminal(), last: None, line_open: false }
    }

    fn report(&mut self, progress: &Progress) {
        if self.quiet {
            return;
        }
        let every = if self.is_terminal { REWRITE_EVERY } else { LINE_EVERY };
        let is_due = self.last.is_none_or(|last| last.elapsed() >= every);
        if !is_due && progress.validation.is_none() {
            return;
        }
        self.last = Some(Instant::now());
        let line = progress_line(progress);
        // nothing is left to do when standard error is closed
        let _ = if self.is_terminal { write!(stderr(), "\r\x1b[K{line}") } else { writeln!(stderr(), "{line}") };
        self.line_open = self.is_terminal;
        if let Some(validation) = &progress.validation {
            self.end_line();
            let best = if validation.best { ", the best so far" } else { "" };
            let _ = writeln!(
                stderr(),
                "  validation loss {:.4}, accuracy {:.1} %{best}; {}",
                validation.loss,
                100.0 * validation.accuracy,
                printable(&validation.sample)
            );
        }
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.line_open) {
            let _ = writeln!(stderr());
        }
    }
}

/// `step 120, epoch 1, 480,000 tokens, 1620 tokens/s, loss 4.21, 1 h 12 min left`.
fn progress_line(progress: &Progress) -> String {
    format!(
        "step {}, epoch {}, {:.2} M tokens, {:.0} tokens/s, loss {:.3}, {} left",
        progress.step,
        progress.epoch + 1,
        progress.tokens as f64 / 1e6,
        progress.tokens_per_second,
        progress.loss,
        duration(progress.seconds_left)
    )
}
