//! What can go wrong in training, one sentence each.

use std::path::PathBuf;

/// Everything that training, evaluation and the film report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("{path}: cannot be read: {source}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file could not be written; the one that was there before is as it was.
    #[error("{path}: cannot be written: {source}; the last complete checkpoint is untouched", path = .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line of a file of sentence pairs is no pair.
    #[error(
        "{path}, line {line}: {problem}; {n_bad} of {n_lines} lines are no pairs",
        path = .path.display()
    )]
    Pairs {
        /// The file.
        path: PathBuf,
        /// The first bad line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
        /// How many lines are bad.
        n_bad: usize,
        /// How many lines there are.
        n_lines: usize,
    },
    /// A file holds no sentence pair.
    #[error("{path}: holds no sentence pair; a pair is a line with a tab between its two sides", path = .path.display())]
    NoPairs {
        /// The file.
        path: PathBuf,
    },
    /// A file is not what it should be.
    #[error("{path}: {problem}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was needed and what came.
        problem: String,
    },
    /// A setting that cannot be trained.
    #[error("{0}")]
    Setting(String),
    /// A limit refuses the request; the text says which.
    #[error("{0}")]
    Limit(String),
    /// No pair is short enough to be trained on.
    #[error("every pair is longer than max_len {max_len} tokens; raise max_len or shorten the sentences")]
    AllTooLong {
        /// The most tokens of a side.
        max_len: usize,
    },
    /// The activations of a part would not fit.
    #[error(
        "parts of {tokens} tokens on {threads} threads need about {needed} MB for activations, the limit is {limit} MB; \
         smaller parts or shorter sentences need less"
    )]
    Memory {
        /// Tokens of a part.
        tokens: u128,
        /// Threads that each work on a part.
        threads: usize,
        /// Megabytes that they need.
        needed: u128,
        /// Megabytes allowed.
        limit: u64,
    },
    /// The output folder holds another training.
    #[error("{path}: there is a checkpoint of another run already; go on with that run, or give another folder", path = .path.display())]
    HasCheckpoint {
        /// The checkpoint.
        path: PathBuf,
    },
    /// There is nothing to go on from.
    #[error(
        "{path}: there is no checkpoint to go on from: a run that ends before its first one leaves none; begin the training anew",
        path = .path.display()
    )]
    NoCheckpoint {
        /// The checkpoint that is missing.
        path: PathBuf,
    },
    /// Another training writes into the output folder.
    #[error(
        "{path}: another training is at work in this folder; wait for its end, stop it, or give another folder",
        path = .path.display()
    )]
    FolderInUse {
        /// The folder.
        path: PathBuf,
    },
    /// A film of more moments than a training keeps.
    #[error("a film of {asked} moments was asked for; a training keeps {most} at most")]
    FilmTooLong {
        /// The moments asked for.
        asked: usize,
        /// The limit.
        most: usize,
    },
    /// A folder of a training that kept no moments.
    #[error("{path}: there is no film in it; a training keeps moments when it is asked to", path = .path.display())]
    NoFilm {
        /// The folder.
        path: PathBuf,
    },
    /// The loss is not a number any more.
    #[error("step {step}: the loss is {loss}; the learning rate {learning_rate} may be too high")]
    Diverged {
        /// The step.
        step: u64,
        /// The loss.
        loss: f64,
        /// The learning rate of the step.
        learning_rate: f64,
    },
    /// The validation loss is not a number any more.
    #[error(
        "step {step}: the validation loss is {loss}, nothing of it is kept; the learning rate {learning_rate} may be too high"
    )]
    ValidationDiverged {
        /// The step after which it was found.
        step: u64,
        /// The loss.
        loss: f64,
        /// The learning rate of the step.
        learning_rate: f64,
    },
    /// Weights that are not numbers any more, on their way into a file.
    #[error(
        "{path}: not written, because {tensor} would hold {value}; the learning rate may be too high",
        path = .path.display()
    )]
    NotFinite {
        /// The file, which is as it was.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The first value that is no number, or too large for the file's precision.
        value: f32,
    },
    /// The tokenizer reports an error.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A model cannot do what evaluation or the film needs.
    #[error("{0}")]
    Model(String),
}
