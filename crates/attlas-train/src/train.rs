//! The training loop.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use attlas_model::{KNOWN_WORDS_FILE, KnownWords, Tokenizer};
use serde::Serialize;

use crate::architecture::{Architecture, Parameter};
use crate::batch::{Batch, Frame, Pair};
use crate::checkpoint::{self, Position};
use crate::config::{Budget, Config, Recipe, Resume};
use crate::data::{self, Random, read_pairs};
use crate::loss::Sums;
use crate::network::Network;
use crate::optimizer::{self, State, average_decay};
use crate::variation::Varied;
use crate::weights::{self, Precision};
use crate::{Error, files, folder, step, tokenizer, translate};

/// What a run says after a step, and what a line of `log.jsonl` holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Passes over the data that are complete.
    pub epoch: u64,
    /// Target tokens seen.
    pub tokens: u64,
    /// Target tokens per second of training, an exponential mean: single steps differ much.
    pub tokens_per_second: f64,
    /// The objective, label smoothing included, in nats per token.
    pub objective: f64,
    /// Cross-entropy in nats per token, with dropout.
    pub loss: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// Norm of the gradients before clipping.
    pub gradient_norm: f64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Seconds that are left at this speed.
    pub seconds_left: f64,
    /// Set after a validation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
}

/// What a validation found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Validation {
    /// Cross-entropy of the averaged weights, in nats per token.
    pub loss: f64,
    /// Share of tokens whose prediction was right.
    pub accuracy: f64,
    /// The sample sentence, translated.
    pub sample: String,
    /// Whether this is the best so far; then `model.safetensors` was written.
    pub best: bool,
}

/// What is left at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Steps done.
    pub step: u64,
    /// Target tokens seen.
    pub tokens: u64,
    /// The best validation loss.
    pub best_valid: Option<f64>,
    /// Why it ended.
    pub ended: Ended,
    /// Lines of both files that were no pairs.
    pub n_bad: usize,
    /// Pairs of both files whose line has columns after the second, which were left out.
    pub n_wider: usize,
    /// Pairs that were left out because they are longer than `max_len`.
    pub n_too_long: usize,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The budget is used up.
    Budget,
    /// The validation loss did not fall any more.
    EarlyStop,
    /// The callback asked for it; a checkpoint was written.
    Asked,
}

/// What the callback answers; on `Stop` a checkpoint is written before the training ends.
pub use attlas_model::Next;

/// Trains, reporting every step to `report`.
///
/// # Errors
/// Whatever is wrong with settings, files or data, before the first step; later only [`Error::Write`],
/// [`Error::Diverged`], [`Error::ValidationDiverged`] and [`Error::NotFinite`], with the last complete checkpoint intact.
pub fn train(config: &Config, report: &mut dyn FnMut(&Progress) -> Next) -> Result<Summary, Error> {
    let mut run = Run::start(config)?;
    let mut tokens_per_second = None;
    let mut last_checkpoint = Instant::now();
    run.keep_film()?;
    let ended = loop {
        if run.progress() >= 1.0 {
            break Ended::Budget;
        }
        let (began, tokens) = (Instant::now(), run.position.tokens);
        let mut progress = run.step()?;
        let seconds = began.elapsed().as_secs_f64();
        run.position.seconds += seconds;
        progress.seconds = run.position.seconds;
        let speed = (run.position.tokens - tokens) as f64 / seconds.max(1e-9);
        let mean = tokens_per_second.map_or(speed, |mean| mean + 0.05 * (speed - mean));
        tokens_per_second = Some(mean);
        progress.tokens_per_second = mean;
        progress.seconds_left = run.seconds_left(mean);
        run.keep_film()?;
        let at_end = run.progress() >= 1.0;
        if at_end || run.position.step.is_multiple_of(config.validate_every) {
            progress.validation = Some(run.validate()?);
        }
        run.log(&progress)?;
        let stop = report(&progress) == Next::Stop;
        let out_of_patience =
            config.patience.is_some_and(|patience| run.position.validations_since_best >= patience.max(1));
        if stop || at_end || out_of_patience || last_checkpoint.elapsed().as_secs_f64() >= config.checkpoint_seconds {
            checkpoint::save(&config.output, &run.network, &run.state, &run.position)?;
            last_checkpoint = Instant::now();
        }
        if stop {
            break Ended::Asked;
        }
        if out_of_patience {
            break Ended::EarlyStop;
        }
    };
    Ok(Summary {
        step: run.position.step,
        tokens: run.position.tokens,
        best_valid: run.position.best_valid,
        ended,
        n_bad: run.n_bad,
        n_wider: run.n_wider,
        n_too_long: run.n_too_long,
    })
}

/// A run in memory.
struct Run<'a> {
    config: &'a Config,
    /// No other training writes into the folder as long as this lives.
    _held: folder::Held,
    tokenizer: Tokenizer,
    frame: Frame,
    network: Network,
    state: State,
    position: Position,
    pairs: Vec<Pair>,
    /// Shows the pairs otherwise in each epoch.
    varied: Option<Varied>,
    valid: Vec<Arc<Batch>>,
    epoch: Vec<Vec<u32>>,
    sample: Vec<u32>,
    n_bad: usize,
    n_wider: usize,
    n_too_long: usize,
}

impl<'a> Run<'a> {
    /// Reads everything, checks everything, and begins or goes on.
    fn start(config: &'a Config) -> Result<Run<'a>, Error> {
        config.check()?;
        let text = read_pairs(&config.pairs, config.bad_lines)?;
        let valid_text = read_pairs(&config.valid, config.bad_lines)?;
        let held = folder::hold(config)?;
        let (tokenizer, json) = tokenizer_of(config, &text.pairs)?;
        let mut recipe = config.recipe.clone();
        let n_vocab = tokenizer.vocab_size();
        (recipe.architecture.src_vocab, recipe.architecture.tgt_vocab) = (n_vocab, n_vocab);
        recipe.check()?;
        let frame = tokenizer::frame(&tokenizer)?;
        let max_len = recipe.architecture.max_len;
        let encoded = data::encode(&tokenizer, &text.pairs, frame, max_len)?;
        let encoded_valid = data::encode(&tokenizer, &valid_text.pairs, frame, max_len)?;
        if encoded.pairs.is_empty() || encoded_valid.pairs.is_empty() {
            return Err(Error::AllTooLong { max_len });
        }
        let varied = Varied::new(&recipe, &tokenizer, &json, &text.pairs, &encoded.kept)?;
        check_memory(config, &recipe, &encoded.pairs)?;
        let fingerprint = fingerprint(&json, &encoded.pairs);
        let (network, state, position) = match config.resume {
            Resume::Yes => checkpoint::load(&config.output, &recipe, fingerprint)?,
            Resume::No => begin(config, &recipe, fingerprint)?,
        };
        files::write_whole(&config.output.join("tokenizer.json"), |file| file.write_all(&json))?;
        let words = KnownWords::of(text.pairs.iter().map(|(_, target)| target.as_str())).to_bytes();
        files::write_whole(&config.output.join(KNOWN_WORDS_FILE), |file| file.write_all(&words))?;
        write_config(&config.output, &recipe, frame)?;
        let epoch = data::epoch_batches(&encoded.pairs, recipe.batch_tokens, recipe.seed, position.epoch);
        let mut sample = data::ids(&tokenizer, &config.sample)?;
        sample.truncate(max_len.saturating_sub(1));
        sample.push(frame.end);
        let valid: Vec<&Pair> = encoded_valid.pairs.iter().collect();
        Ok(Run {
            config,
            _held: held,
            frame,
            network,
            state,
            position,
            valid: step::parts(&valid, recipe.part_tokens, frame),
            pairs: encoded.pairs,
            varied,
            epoch,
            sample,
            tokenizer,
            n_bad: text.n_bad + valid_text.n_bad,
            n_wider: text.n_wider + valid_text.n_wider,
            n_too_long: encoded.n_too_long + encoded_valid.n_too_long,
        })
    }

    /// How much of the budget is used, 0 to 1.
    fn progress(&self) -> f64 {
        match self.position.recipe.budget {
            Budget::Tokens(tokens) => self.position.tokens as f64 / tokens as f64,
            Budget::Minutes(minutes) => self.position.seconds / (60.0 * minutes),
        }
    }

    fn seconds_left(&self, tokens_per_second: f64) -> f64 {
        match self.position.recipe.budget {
            Budget::Tokens(tokens) => tokens.saturating_sub(self.position.tokens) as f64 / tokens_per_second.max(1e-9),
            Budget::Minutes(minutes) => (60.0 * minutes - self.position.seconds).max(0.0),
        }
    }

    /// The next batch, one step of the optimizer.
    fn step(&mut self) -> Result<Progress, Error> {
        let recipe = &self.position.recipe;
        if self.position.batch >= self.epoch.len() {
            self.position.epoch += 1;
            self.position.batch = 0;
            self.epoch = data::epoch_batches(&self.pairs, recipe.batch_tokens, recipe.seed, self.position.epoch);
        }
        let batch = &self.epoch[self.position.batch];
        let shown = match &self.varied {
            Some(varied) => varied.batch(&self.tokenizer, &self.pairs, batch, self.position.epoch)?,
            None => Vec::new(),
        };
        let pairs: Vec<&Pair> = match self.varied {
            Some(_) => shown.iter().collect(),
            None => batch.iter().map(|index| &self.pairs[*index as usize]).collect(),
        };
        let number = self.position.step + 1;
        let parts = step::parts(&pairs, recipe.part_tokens, self.frame);
        let pass = step::Pass {
            smoothing: recipe.smoothing,
            dropout: recipe.dropout,
            seed: recipe.seed,
            step: number,
            threads: self.config.threads,
        };
        let (gradients, sums) = step::gradients(&self.network, &parts, pass);
        let learning_rate = recipe.schedule.learning_rate(number, self.progress());
        let norm = optimizer::norm(&gradients);
        let per_token = |sum: f64| sum / sums.n_tokens as f64;
        if !norm.is_finite() || !sums.objective.is_finite() {
            return Err(Error::Diverged { step: number, loss: per_token(sums.objective), learning_rate });
        }
        let numbers = optimizer::Step {
            step: number,
            learning_rate,
            gradient_scale: (recipe.clip / norm.max(1e-12)).min(1.0) as f32,
            average_decay: average_decay(recipe.average, number),
        };
        optimizer::update(&mut self.network.variables, &gradients, &mut self.state, numbers);
        self.position.step = number;
        self.position.batch += 1;
        self.position.tokens += sums.n_tokens as u64;
        Ok(Progress {
            step: number,
            epoch: self.position.epoch,
            tokens: self.position.tokens,
            tokens_per_second: 0.0,
            objective: per_token(sums.objective),
            loss: per_token(sums.loss),
            learning_rate,
            gradient_norm: norm,
            seconds: 0.0,
            seconds_left: 0.0,
            validation: None,
        })
    }

    /// How long the translation of the sample may become.
    fn n_sample_tokens(&self) -> usize {
        let longest = self.network.architecture.max_len.saturating_sub(1); // the start token is before it
        (2 * self.sample.len() + 10).min(longest)
    }

    /// The network that is kept: the average, or the weights themselves.
    fn kept(&self) -> Result<Network, Error> {
        if self.state.average.is_empty() {
            return Ok(self.network.clone());
        }
        Network::new(self.network.architecture.clone(), self.state.average.clone())
    }

    /// Validates what is kept, and writes it if it is the best so far. A loss that is no number ends the run: nothing of it
    /// is kept.
    fn validate(&mut self) -> Result<Validation, Error> {
        let kept = self.kept()?;
        let transformer = kept.transformer();
        let sums: Sums = step::evaluate(&transformer, &self.valid, self.config.threads);
        let loss = sums.loss / sums.n_tokens as f64;
        if !loss.is_finite() {
            let (step, progress) = (self.position.step, self.progress());
            let learning_rate = self.position.recipe.schedule.learning_rate(step, progress);
            return Err(Error::ValidationDiverged { step, loss, learning_rate });
        }
        let mut ids = translate::greedy(&transformer, &self.sample, self.frame, self.n_sample_tokens())?;
        ids.retain(|id| self.tokenizer.token(*id).is_ok()); // a vocabulary may leave ids out
        let sample = self.tokenizer.decode(&ids).map_err(|error| Error::Tokenizer(error.to_string()))?;
        let best = self.position.best_valid.is_none_or(|best| loss < best);
        if best {
            self.position.best_valid = Some(loss);
            self.position.validations_since_best = 0;
            let path = self.config.output.join("model.safetensors");
            weights::write(&path, &kept.groups, &[("", &kept.variables)], Precision::F32, &BTreeMap::new())?;
        } else {
            self.position.validations_since_best += 1;
        }
        Ok(Validation { loss, accuracy: sums.n_correct as f64 / sums.n_tokens as f64, sample, best })
    }

    /// Keeps a small model when the next frame of the film is due: at shares `(i / (N − 1))²` of the budget, since heads
    /// change most at the beginning. A frame is a model folder like any other.
    fn keep_film(&mut self) -> Result<(), Error> {
        let n_film = self.config.film;
        let due = |index: usize| (index as f64 / (n_film - 1).max(1) as f64).powi(2);
        while self.position.n_film < n_film && self.progress() >= due(self.position.n_film) {
            let folder = self.config.output.join("film").join(format!("{:03}", self.position.n_film));
            std::fs::create_dir_all(&folder).map_err(|source| Error::Write { path: folder.clone(), source })?;
            let metadata = BTreeMap::from([
                ("step", self.position.step.to_string()),
                ("tokens", self.position.tokens.to_string()),
            ]);
            // the weights themselves: their average lags behind what the heads do
            let (path, values) = (folder.join("model.safetensors"), &self.network.variables);
            weights::write(&path, &self.network.groups, &[("", values)], Precision::F16, &metadata)?;
            for name in ["config.json", "tokenizer.json"] {
                let path = self.config.output.join(name);
                let bytes = files::read_limited(&path, u64::MAX)?;
                files::write_whole(&folder.join(name), |file| file.write_all(&bytes))?;
            }
            self.position.n_film += 1;
        }
        Ok(())
    }

    /// Appends a line to `log.jsonl`.
    fn log(&self, progress: &Progress) -> Result<(), Error> {
        let path = self.config.output.join("log.jsonl");
        let line = serde_json::to_string(progress)
            .map_err(|error| Error::File { path: path.clone(), problem: error.to_string() })?;
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| writeln!(file, "{line}"))
            .map_err(|source| Error::Write { path, source })
    }
}

/// The tokenizer of the run: that of the checkpoint's folder, the given one, or one learnt from the pairs.
fn tokenizer_of(config: &Config, pairs: &[(String, String)]) -> Result<(Tokenizer, Vec<u8>), Error> {
    let there = config.output.join("tokenizer.json");
    match (&config.tokenizer, config.resume) {
        (Some(path), _) => tokenizer::read(path),
        (None, Resume::Yes) if there.exists() => tokenizer::read(&there),
        (None, _) => tokenizer::learn(pairs, config.recipe.architecture.src_vocab),
    }
}

/// The network before the first step.
fn begin(config: &Config, recipe: &Recipe, data: u64) -> Result<(Network, State, Position), Error> {
    let groups = recipe.architecture.groups();
    let values = match &config.init {
        Some(path) => weights::of_model(path, &groups)?,
        None => first_weights(&recipe.architecture, recipe.seed),
    };
    let state = State::new(&values, recipe.average > 0.0);
    let network = Network::new(recipe.architecture.clone(), values)?;
    let position = Position {
        version: checkpoint::VERSION,
        recipe: recipe.clone(),
        data,
        step: 0,
        tokens: 0,
        seconds: 0.0,
        epoch: 0,
        batch: 0,
        best_valid: None,
        validations_since_best: 0,
        n_film: 0,
    };
    Ok((network, state, position))
}

/// Random first weights: embeddings normal with deviation `1/√d_model`, matrices uniform (Glorot & Bengio 2010),
/// norms 1, biases 0.
pub fn first_weights(architecture: &Architecture, seed: u64) -> Vec<Vec<f32>> {
    let mut random = Random::new(seed ^ 0x0a77_1a50);
    let deviation = 1.0 / (architecture.d_model as f64).sqrt();
    let mut fill = |parameter: &Parameter| -> Vec<f32> {
        let n = parameter.range.len();
        let name = parameter.name.as_str();
        match parameter.shape[..] {
            [_, _] if name.contains("embed") || name.starts_with("output_proj") => {
                (0..n).map(|_| (deviation * random.normal()) as f32).collect()
            }
            [rows, columns] => {
                // the fused projection is three square matrices
                let rows = if name.contains("in_proj") { rows / 3 } else { rows };
                let limit = (6.0 / (rows + columns) as f64).sqrt();
                (0..n).map(|_| (limit * (2.0 * random.uniform() - 1.0)) as f32).collect()
            }
            _ if name.ends_with("norm.weight") => vec![1.0; n],
            _ => vec![0.0; n],
        }
    };
    architecture.groups().iter().map(|group| group.parameters.iter().flat_map(&mut fill).collect()).collect()
}

/// Writes `config.json`, from which the model is loaded.
fn write_config(folder: &Path, recipe: &Recipe, frame: Frame) -> Result<(), Error> {
    let sizes = &recipe.architecture;
    let mut config = sizes.to_json();
    let of_training =
        [("dropout", recipe.dropout.into()), ("pad", 0.into()), ("bos", frame.start.into()), ("eos", frame.end.into())];
    of_training.into_iter().for_each(|(field, value): (&str, serde_json::Value)| config[field] = value);
    files::write_whole(&folder.join("config.json"), |file| writeln!(file, "{config:#}"))
}

/// Refuses parts whose activations would not fit into the memory limit.
fn check_memory(config: &Config, recipe: &Recipe, pairs: &[Pair]) -> Result<(), Error> {
    let sizes = &recipe.architecture;
    let longest = pairs.iter().map(|pair| pair.source.len().max(pair.target.len() + 1)).max().unwrap_or(0);
    let longest = longest.max(recipe.variation.longest().min(sizes.max_len));
    let tokens = recipe.part_tokens.min(recipe.batch_tokens).max(longest) as u128;
    // per token and layer about 30 vectors of d_model and 4 of d_ff live until the backward pass; then the maps of one head
    let per_token = (sizes.num_layers * (30 * sizes.d_model + 4 * sizes.d_ff)) as u128;
    let maps = 4 * longest as u128 * longest as u128;
    let bytes = 4 * config.threads as u128 * (2 * tokens * per_token + maps);
    if bytes <= u128::from(config.memory_limit) {
        return Ok(());
    }
    Err(Error::Memory { tokens, threads: config.threads, needed: bytes >> 20, limit: config.memory_limit >> 20 })
}

/// A fingerprint of tokenizer and pairs (FNV-1a): tells other data apart, no protection against forgery.
fn fingerprint(tokenizer: &[u8], pairs: &[Pair]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    tokenizer.iter().copied().for_each(&mut eat);
    for pair in pairs {
        for id in pair.source.iter().chain(&pair.target) {
            id.to_le_bytes().into_iter().for_each(&mut eat);
        }
    }
    hash
}
