//! Running a model over a batch and turning what its layers saw into a recording.

use attlas::{HeadId, Item, Kind, Layer, Provenance, Recording, TokenRole, Tokens, Weights, recording};

use crate::Error;
use crate::config::{Attention, Head, Length, Positions};
use crate::forward::{Batch, Interventions, Keep, Source, StackState};
use crate::generate::{Generated, Session};
use crate::model::Model;
use crate::selfattention::LayerState;
use crate::workspace::Workspace;

/// One text: what the encoder reads and what the decoder reads. A model without one of them leaves that side empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Input {
    /// Tokens of the encoder.
    pub source: Tokens,
    /// Tokens of the decoder, its start token first: the whole target for teacher forcing, the prompt for generation.
    pub target: Tokens,
    /// Segment of each source token (BERT); all 0 when empty. Shape `[source.len()]`.
    pub segments: Vec<u32>,
}

/// How the decoder's tokens come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decoding {
    /// They are given.
    #[default]
    TeacherForcing,
    /// The most likely token follows each time.
    Greedy {
        /// New tokens at most.
        max_tokens: usize,
    },
    /// The best of several continuations that are followed at once.
    Beam {
        /// How many.
        width: usize,
        /// New tokens at most.
        max_tokens: usize,
    },
}

/// What a run does and keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOptions {
    /// How the decoder's tokens come about.
    pub decoding: Decoding,
    /// Whether attention is recorded.
    pub record: bool,
    /// Whether the recording has the values, too.
    pub values: bool,
    /// Whether logits are returned.
    pub logits: bool,
    /// Whether hidden states are returned; only with teacher forcing.
    pub hidden: bool,
    /// Heads whose output is set to 0 before the output projection (the output bias stays).
    pub knocked_out: Vec<(Kind, HeadId)>,
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions {
            decoding: Decoding::TeacherForcing,
            record: true,
            values: false,
            logits: false,
            hidden: false,
            knocked_out: Vec::new(),
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Run {
    /// The attention of every head; without layers when nothing was to be recorded.
    pub recording: Recording,
    /// On request: `[batch, n, vocabulary]` for language models, `[batch, classes]` for classifiers. With generation,
    /// `n` counts the generated tokens, and only one text at a time has them.
    pub logits: Option<Array>,
    /// What was generated for each text; empty with teacher forcing. Shape `[batch]`.
    pub generated: Vec<Generation>,
    /// On request, the encoder's residual stream after the embedding and after each block, the last one after the
    /// final norm. Shape of each `[batch, n, d_model]`.
    pub encoder_hidden: Vec<Array>,
    /// The same of the decoder.
    pub decoder_hidden: Vec<Array>,
}

/// A generated text.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// The new tokens, the prompt left out; an end token is the last unless the limit came first.
    pub tokens: Tokens,
    /// The text, special tokens left out.
    pub text: String,
    /// The natural logarithm of each new token's probability. Shape `[tokens.len()]`.
    pub log_probabilities: Vec<f32>,
    /// The sum of `log_probabilities`; in a beam search divided by their number.
    pub score: f32,
    /// In a beam search, the other finished beams, best first.
    pub others: Vec<Generation>,
}

/// Numbers with a shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// The numbers.
    pub values: Vec<f32>,
}

impl Model {
    /// Runs the model over a batch of texts.
    ///
    /// # Errors
    /// When an input does not fit the model: no tokens, an id without embedding, a text longer than its positions.
    pub fn run(&self, inputs: &[Input], options: &RunOptions) -> Result<Run, Error> {
        if inputs.is_empty() {
            return Err(Error::Input("there is no text to run the model on".to_owned()));
        }
        for (index, input) in inputs.iter().enumerate() {
            self.check_input(input, index, options.decoding)?;
        }
        match options.decoding {
            Decoding::TeacherForcing => self.forward(inputs, options, recording_method(options), Vec::new()),
            Decoding::Greedy { max_tokens } => self.generate(inputs, options, 0, max_tokens),
            Decoding::Beam { width, max_tokens } => self.generate(inputs, options, width, max_tokens),
        }
    }

    fn generate(&self, inputs: &[Input], options: &RunOptions, width: usize, limit: usize) -> Result<Run, Error> {
        if self.transformer.architecture.decoder.is_none()
            || !matches!(self.transformer.architecture.head, Head::Tokens { .. })
        {
            return Err(Error::Unsupported(format!("{} cannot generate text: it has no decoder", self.name())));
        }
        if limit == 0 || width > MAX_BEAMS {
            return Err(Error::Limit(format!(
                "at least 1 token must be generated, with at most {MAX_BEAMS} beams; asked for {limit} and {width}"
            )));
        }
        let interventions = Interventions { knocked_out: &options.knocked_out };
        let direct = inputs.len() == 1 && width == 0;
        let record = direct && options.record;
        let keep = Keep { queries: record, keys: record, values: record && options.values };
        let mut generated = Vec::with_capacity(inputs.len());
        for input in inputs {
            let source = ids(&input.source)?;
            let prompt = ids(&input.target)?;
            let room = self.room(prompt.len());
            let max_tokens = limit.min(room);
            if max_tokens == 0 {
                return Err(Error::Input(format!(
                    "the prompt has {} tokens, as many as {} has positions; nothing can follow",
                    prompt.len(),
                    self.name()
                )));
            }
            let mut session = Session::new(&self.transformer, &source, keep, interventions);
            if width > 0 {
                let beams = session.beam(&prompt, width, max_tokens);
                generated.push(self.generations(beams)?);
                continue;
            }
            let mut logits = options.logits.then(Vec::new);
            let greedy = session.greedy(&prompt, max_tokens, logits.as_mut());
            if !direct {
                generated.push(self.generations(vec![greedy])?);
                continue;
            }
            return self.recorded_generation(input, session, greedy, logits, options);
        }
        let method = if width > 0 { recording::Method::Beam } else { recording::Method::Greedy };
        let inputs: Vec<Input> =
            inputs.iter().zip(&generated).map(|(input, generation)| self.continued(input, generation)).collect();
        self.forward(&inputs, options, method, generated)
    }

    /// The run of one text that was recorded while it was generated.
    fn recorded_generation(
        &self,
        input: &Input,
        session: Session<'_>,
        greedy: Generated,
        logits: Option<Vec<f32>>,
        options: &RunOptions,
    ) -> Result<Run, Error> {
        let generation = self.generations(vec![greedy])?;
        let read = self.continued(input, &generation);
        let layers =
            if options.record { self.layers(session.encoder, session.decoder, options, 1) } else { Vec::new() };
        let predicted = self.predicted(&read, Some(&generation));
        let item = Item { source: read.source, target: read.target, predicted };
        let logits = logits.map(|values| {
            let n_logits = self.transformer.n_logits();
            Array { shape: vec![1, values.len() / n_logits, n_logits], values }
        });
        Ok(Run {
            recording: Recording {
                provenance: self.provenance(recording::Method::Greedy, std::slice::from_ref(&item)),
                items: vec![item],
                layers,
            },
            logits,
            generated: vec![generation],
            encoder_hidden: Vec::new(),
            decoder_hidden: Vec::new(),
        })
    }

    /// One pass over a padded batch.
    fn forward(
        &self,
        inputs: &[Input],
        options: &RunOptions,
        method: recording::Method,
        generated: Vec<Generation>,
    ) -> Result<Run, Error> {
        let batch = PaddedBatch::new(inputs, self.transformer.architecture.ids.padding.unwrap_or(0))?;
        let keep = Keep { queries: options.record, keys: options.record, values: options.record && options.values };
        let interventions = Interventions { knocked_out: &options.knocked_out };
        let mut workspace = Workspace::default();
        let hidden = || options.hidden.then(Vec::new);
        let mut encoder = StackState { hidden: hidden(), ..StackState::default() };
        let mut decoder = StackState { hidden: hidden(), ..StackState::default() };
        // 1. the encoder
        let encoded = self
            .transformer
            .stack(Kind::Encoder)
            .map(|stack| stack.run(batch.source(), None, &mut encoder, keep, interventions, &mut workspace));
        // 2. the decoder
        let decoded = self.transformer.stack(Kind::Decoder).map(|stack| {
            let source = encoded.as_ref().map(|hidden| Source {
                hidden,
                n: batch.n_source,
                valid: batch.source_valid.as_deref(),
            });
            stack.run(batch.target(), source, &mut decoder, keep, interventions, &mut workspace)
        });
        // 3. the head
        let last = decoded.as_ref().or(encoded.as_ref());
        let logits = match last {
            Some(hidden) if options.logits => Some(self.logits_of(hidden, inputs.len())),
            _ => None,
        };
        let encoder_hidden = arrays(encoder.hidden.take(), inputs.len(), batch.n_source);
        let decoder_hidden = arrays(decoder.hidden.take(), inputs.len(), batch.n_target);
        let layers = if options.record { self.layers(encoder, decoder, options, inputs.len()) } else { Vec::new() };
        let items = batch.items(inputs, |index, input| self.predicted(input, generated.get(index)));
        let recording = Recording { provenance: self.provenance(method, &items), items, layers };
        Ok(Run { recording, logits, generated, encoder_hidden, decoder_hidden })
    }

    fn logits_of(&self, hidden: &[f32], n_items: usize) -> Array {
        let n_logits = self.transformer.n_logits();
        if let Head::Classes { .. } = self.transformer.architecture.head {
            let item_len = hidden.len() / n_items;
            let d_model = self.transformer.architecture.encoder.as_ref().map_or(1, |stack| stack.d_model);
            let first: Vec<f32> = hidden.chunks_exact(item_len).flat_map(|item| &item[..d_model]).copied().collect();
            return Array { shape: vec![n_items, n_logits], values: self.transformer.logits(&first) };
        }
        let values = self.transformer.logits(hidden);
        let n = values.len().checked_div(n_items * n_logits).unwrap_or(0);
        Array { shape: vec![n_items, n, n_logits], values }
    }

    /// The layers of a recording: encoder, decoder, cross, each in order; buffers are moved, not copied.
    fn layers(&self, encoder: StackState, decoder: StackState, options: &RunOptions, n_items: usize) -> Vec<Layer> {
        let mut layers = Vec::new();
        let architecture = &self.transformer.architecture;
        let mut push = |kind: Kind, index: usize, config: &Attention, scoring: &attlas::Scoring, state: LayerState| {
            debug_assert_eq!(state.lse.len(), n_items * config.n_heads * state.n_queries);
            layers.push(Layer {
                kind,
                index,
                shape: config.shape(state.n_queries, state.n_keys),
                weights: Weights::Factored {
                    scoring: scoring.clone(),
                    queries: state.queries.into(),
                    keys: state.keys.into(),
                    lse: state.lse.into(),
                    values: options.values.then(|| state.values.into()),
                },
            });
        };
        if let (Some(stack), Some(weights)) = (&architecture.encoder, &self.transformer.encoder) {
            let blocks = stack.blocks.iter().zip(&weights.blocks).zip(encoder.attention);
            for (index, ((config, weights), state)) in blocks.enumerate() {
                push(Kind::Encoder, index, &config.attention, &weights.attention.scoring, state);
            }
        }
        if let (Some(stack), Some(weights)) = (&architecture.decoder, &self.transformer.decoder) {
            let blocks = stack.blocks.iter().zip(&weights.blocks);
            for (index, ((config, weights), state)) in blocks.clone().zip(decoder.attention).enumerate() {
                push(Kind::Decoder, index, &config.attention, &weights.attention.scoring, state);
            }
            for (index, ((config, weights), state)) in blocks.zip(decoder.cross).enumerate() {
                if let (Some(config), Some(weights)) = (&config.cross, &weights.cross) {
                    push(Kind::Cross, index, config, &weights.scoring, state);
                }
            }
        }
        layers
    }

    fn provenance(&self, method: recording::Method, items: &[Item]) -> Provenance {
        Provenance {
            model: self.name().to_owned(),
            family: self.family().to_owned(),
            revision: self.revision.clone(),
            dtype: self.dtype.to_owned(),
            mode: recording::Mode::Eval,
            attlas_version: env!("CARGO_PKG_VERSION").to_owned(),
            method,
            notes: self.notes_on(items),
        }
    }

    /// The input with the generated tokens that the decoder read: all but the last.
    fn continued(&self, input: &Input, generation: &Generation) -> Input {
        let mut continued = input.clone();
        let tokens = &generation.tokens.tokens;
        self.append_tokens(&mut continued.target, &generation.tokens, tokens.len().saturating_sub(1));
        continued
    }

    /// For each decoder position, the token that follows it.
    fn predicted(&self, read: &Input, generation: Option<&Generation>) -> Tokens {
        if read.target.is_empty() {
            return Tokens::default();
        }
        let last = match generation {
            Some(generation) => generation.tokens.tokens.last().cloned(),
            None => self.end_token(),
        };
        let Some(last) = last else { return Tokens::default() };
        let is_padding = |token: &&attlas::Token| token.role != TokenRole::Padding;
        let mut tokens: Vec<attlas::Token> = read.target.tokens.iter().filter(is_padding).skip(1).cloned().collect();
        tokens.push(attlas::Token { span: None, ..last });
        tokens.extend(read.target.tokens.iter().filter(|token| token.role == TokenRole::Padding).cloned());
        Tokens { text: read.target.text.clone(), tokens }
    }

    /// How many tokens may follow `n` tokens in the decoder.
    fn room(&self, n: usize) -> usize {
        match self.transformer.architecture.length {
            Length::Refused(limit) => limit.saturating_sub(n),
            _ => usize::MAX - n,
        }
    }

    fn check_input(&self, input: &Input, index: usize, decoding: Decoding) -> Result<(), Error> {
        let architecture = &self.transformer.architecture;
        let sides =
            [("source", &input.source, &architecture.encoder), ("target", &input.target, &architecture.decoder)];
        for (side, tokens, stack) in sides {
            let Some(stack) = stack else {
                if tokens.is_empty() {
                    continue;
                }
                let lacks = if side == "source" { "encoder" } else { "decoder" };
                return Err(Error::Input(format!(
                    "text {index} has {} {side} tokens, but {} has no {lacks}",
                    tokens.len(),
                    self.name()
                )));
            };
            if tokens.tokens.iter().all(|token| token.role == TokenRole::Padding) {
                let hint = match (side, decoding) {
                    ("target", Decoding::TeacherForcing) => "; give a target, or let the model generate one",
                    _ => "",
                };
                return Err(Error::Input(format!("text {index} has no {side} tokens{hint}")));
            }
            let n_tokens = stack.embedding.n_tokens;
            for (place, token) in tokens.tokens.iter().enumerate() {
                match token.id {
                    None => return Err(Error::Input(format!("{side} token {place} (\"{}\") has no id", token.text))),
                    Some(id) if id as usize >= n_tokens => {
                        return Err(Error::Input(format!(
                            "{side} token {place} has id {id}, but {} has ids 0 to {}",
                            self.name(),
                            n_tokens - 1
                        )));
                    }
                    Some(_) => {}
                }
            }
            let rows = match stack.embedding.positions {
                Positions::Learned { n_rows, offset, .. } => n_rows.saturating_sub(offset),
                _ => usize::MAX,
            };
            let limit = match architecture.length {
                Length::Refused(limit) => limit.min(rows),
                _ => rows,
            };
            if tokens.len() > limit {
                return Err(Error::Input(format!(
                    "text {index} has {} {side} tokens, but {} has positions for {limit}",
                    tokens.len(),
                    self.name()
                )));
            }
        }
        if !input.segments.is_empty() {
            self.check_segments(input, index)?;
        }
        Ok(())
    }

    fn check_segments(&self, input: &Input, index: usize) -> Result<(), Error> {
        let n_types = self.transformer.architecture.encoder.as_ref().map_or(0, |stack| stack.embedding.n_token_types);
        if input.segments.len() != input.source.len() {
            return Err(Error::Input(format!(
                "text {index} has {} source tokens, but {} segments",
                input.source.len(),
                input.segments.len()
            )));
        }
        match input.segments.iter().find(|segment| n_types > 0 && **segment as usize >= n_types) {
            Some(segment) => Err(Error::Input(format!(
                "text {index} has a token of segment {segment}, but {} has segments 0 to {}",
                self.name(),
                n_types - 1
            ))),
            None => Ok(()),
        }
    }
}

/// Beams that are followed at most.
const MAX_BEAMS: usize = 64;

fn recording_method(_options: &RunOptions) -> recording::Method {
    recording::Method::Forward
}

/// The ids of tokens, without padding.
fn ids(tokens: &Tokens) -> Result<Vec<u32>, Error> {
    let real = tokens.tokens.iter().filter(|token| token.role != TokenRole::Padding);
    real.map(|token| token.id.ok_or_else(|| Error::Input(format!("the token \"{}\" has no id", token.text)))).collect()
}

fn arrays(hidden: Option<Vec<Vec<f32>>>, n_items: usize, n: usize) -> Vec<Array> {
    let shape = |values: &[f32]| vec![n_items, n, values.len().checked_div(n_items * n).unwrap_or(0)];
    hidden.unwrap_or_default().into_iter().map(|values| Array { shape: shape(&values), values }).collect()
}

/// The ids of several texts, made equally long.
struct PaddedBatch {
    n_items: usize,
    n_source: usize,
    n_target: usize,
    padding: u32,
    /// Shape `[n_items, n_source]`.
    source_ids: Vec<u32>,
    /// Shape `[n_items, n_source]`.
    segments: Option<Vec<u32>>,
    /// Shape `[n_items, n_source]`.
    source_valid: Option<Vec<bool>>,
    /// Shape `[n_items, n_target]`.
    target_ids: Vec<u32>,
    /// Shape `[n_items, n_target]`.
    target_valid: Option<Vec<bool>>,
}

impl PaddedBatch {
    fn new(inputs: &[Input], padding: u32) -> Result<PaddedBatch, Error> {
        let longest = |side: fn(&Input) -> &Tokens| inputs.iter().map(|input| side(input).len()).max().unwrap_or(0);
        let (n_source, n_target) = (longest(|input| &input.source), longest(|input| &input.target));
        let mut batch = PaddedBatch {
            n_items: inputs.len(),
            n_source,
            n_target,
            padding,
            source_ids: Vec::new(),
            segments: None,
            source_valid: None,
            target_ids: Vec::new(),
            target_valid: None,
        };
        let (mut source_valid, mut target_valid, mut segments) = (Vec::new(), Vec::new(), Vec::new());
        for input in inputs {
            fill(&input.source, n_source, padding, &mut batch.source_ids, &mut source_valid)?;
            fill(&input.target, n_target, padding, &mut batch.target_ids, &mut target_valid)?;
            segments.extend_from_slice(&input.segments);
            segments.resize(source_valid.len(), 0);
        }
        batch.source_valid = source_valid.contains(&false).then_some(source_valid);
        batch.target_valid = target_valid.contains(&false).then_some(target_valid);
        batch.segments = segments.iter().any(|segment| *segment > 0).then_some(segments);
        Ok(batch)
    }

    fn source(&self) -> Batch<'_> {
        Batch {
            n_items: self.n_items,
            n: self.n_source,
            ids: &self.source_ids,
            token_types: self.segments.as_deref(),
            valid: self.source_valid.as_deref(),
        }
    }

    fn target(&self) -> Batch<'_> {
        Batch {
            n_items: self.n_items,
            n: self.n_target,
            ids: &self.target_ids,
            token_types: None,
            valid: self.target_valid.as_deref(),
        }
    }

    /// The items of the recording, padded alike.
    fn items(&self, inputs: &[Input], predicted: impl Fn(usize, &Input) -> Tokens) -> Vec<Item> {
        let padded = |tokens: Tokens, n: usize| {
            let mut tokens = tokens;
            let padding =
                attlas::Token { id: Some(self.padding), role: TokenRole::Padding, ..attlas::Token::labelled("[PAD]") };
            tokens.tokens.resize(n, padding);
            tokens
        };
        let item = |(index, input): (usize, &Input)| {
            let predicted = predicted(index, input);
            let n_predicted = if predicted.is_empty() { 0 } else { self.n_target };
            Item {
                source: padded(input.source.clone(), self.n_source),
                target: padded(input.target.clone(), self.n_target),
                predicted: padded(predicted, n_predicted),
            }
        };
        inputs.iter().enumerate().map(item).collect()
    }
}

/// Appends `n` ids of one text and which of them are not padding.
fn fill(tokens: &Tokens, n: usize, padding: u32, ids: &mut Vec<u32>, valid: &mut Vec<bool>) -> Result<(), Error> {
    for index in 0..n {
        match tokens.tokens.get(index) {
            Some(token) => {
                let id = token.id.ok_or_else(|| Error::Input(format!("the token \"{}\" has no id", token.text)))?;
                ids.push(id);
                valid.push(token.role != TokenRole::Padding);
            }
            None => {
                ids.push(padding);
                valid.push(false);
            }
        }
    }
    Ok(())
}
