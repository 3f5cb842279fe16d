//! Running a model over a batch and turning what its layers saw into a recording.

use attlas::{
    Factored, HeadId, Item, Kind, Layer, Provenance, Recording, TokenRole, Tokens, Trace, Weights, Writer, recording,
};

use super::batch::PaddedBatch;
use super::generate::{Generated, Session};
use super::input::Input;
use crate::Error;
use crate::block::attention::LayerState;
use crate::block::forward::{Interventions, Keep, Source, StackState};
use crate::block::workspace::Workspace;
use crate::config::{Attention, Pooled, Readout, Stack};
use crate::model::Model;

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
    /// On request: `[batch, n, vocabulary]` for language models, `[batch, n]` for a score at every position, `[batch,
    /// classes]` for classifiers. With generation, `n` counts the generated tokens, and only one text at a time has them.
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
        self.check_dense(inputs, options)?;
        match options.decoding {
            Decoding::TeacherForcing => self.forward(inputs, options, recording_method(options), Vec::new()),
            Decoding::Greedy { max_tokens } => self.generate(inputs, options, 0, max_tokens),
            Decoding::Beam { width, max_tokens } => self.generate(inputs, options, width, max_tokens),
        }
    }

    /// Weights that must be recorded dense have to fit in a limit.
    fn check_dense(&self, inputs: &[Input], options: &RunOptions) -> Result<(), Error> {
        let Some(stack) = &self.transformer.architecture.encoder else { return Ok(()) };
        let n_heads: usize = stack
            .blocks
            .iter()
            .filter(|block| block.attention.disentangled.is_some())
            .map(|block| block.attention.n_heads)
            .sum();
        let longest = inputs.iter().map(|input| input.source.len()).max().unwrap_or(0);
        let n_bytes = longest.saturating_mul(longest).saturating_mul(n_heads * inputs.len() * size_of::<f32>());
        if options.record && n_bytes > MAX_DENSE_BYTES {
            return Err(Error::Limit(format!(
                "{} scores by content and distance together, so its weights are recorded dense: {} texts of up to \
                 {longest} tokens would take {} MB, more than {} MB; use shorter or fewer texts",
                self.name(),
                inputs.len(),
                n_bytes >> 20,
                MAX_DENSE_BYTES >> 20
            )));
        }
        Ok(())
    }

    fn generate(&self, inputs: &[Input], options: &RunOptions, width: usize, limit: usize) -> Result<Run, Error> {
        if self.transformer.architecture.decoder.is_none()
            || !matches!(self.transformer.architecture.readout, Readout::Tokens { .. })
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
            let source = PaddedBatch::new(std::slice::from_ref(input), 0)?;
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
            let mut session = Session::new(&self.transformer, source.source(), keep, interventions);
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
        let image = read.features.as_ref().and_then(|features| features.image.clone());
        let (n_prompt, target) = (Some(input.target.len()), read.target);
        let item = Item { source: read.source, target, predicted, image, n_prompt, ..Item::default() };
        let logits = logits.map(|values| {
            let n_logits = self.transformer.n_logits();
            Array { shape: vec![1, values.len() / n_logits, n_logits], values }
        });
        let mut recording = Recording {
            provenance: self.provenance(
                recording::Method::Greedy,
                std::slice::from_ref(&item),
                std::slice::from_ref(input),
            ),
            items: vec![item],
            layers,
        };
        recording.sharpen();
        Ok(Run {
            recording,
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
        // 3. the readout
        let last = decoded.as_ref().or(encoded.as_ref());
        let logits = match last {
            Some(hidden) if options.logits => Some(self.logits_of(hidden, inputs.len())),
            _ => None,
        };
        let encoder_hidden = arrays(encoder.hidden.take(), inputs.len(), batch.n_source);
        let decoder_hidden = arrays(decoder.hidden.take(), inputs.len(), batch.n_target);
        let layers = if options.record { self.layers(encoder, decoder, options, inputs.len()) } else { Vec::new() };
        let items = batch.items(inputs, |index, input| self.predicted(input, generated.get(index)));
        let mut recording = Recording { provenance: self.provenance(method, &items, inputs), items, layers };
        recording.sharpen();
        Ok(Run { recording, logits, generated, encoder_hidden, decoder_hidden })
    }

    fn logits_of(&self, hidden: &[f32], n_items: usize) -> Array {
        let n_logits = self.transformer.n_logits();
        let architecture = &self.transformer.architecture;
        if let (Readout::Classes { pooled, .. }, Some(stack)) = (&architecture.readout, &architecture.encoder) {
            let items = hidden.chunks_exact(hidden.len() / n_items);
            let rows: Vec<f32> = items.flat_map(|item| pooled.row(item, stack)).collect();
            return Array { shape: vec![n_items, n_logits], values: self.transformer.logits(&rows) };
        }
        let values = self.transformer.logits(hidden);
        let n = values.len().checked_div(n_items * n_logits).unwrap_or(0);
        let shape = match architecture.readout {
            Readout::Positions { .. } => vec![n_items, n],
            _ => vec![n_items, n, n_logits],
        };
        Array { shape, values }
    }

    /// The layers of a recording: encoder, decoder, cross, each in order; buffers are moved, not copied.
    fn layers(&self, encoder: StackState, decoder: StackState, options: &RunOptions, n_items: usize) -> Vec<Layer> {
        let mut layers = Vec::new();
        let architecture = &self.transformer.architecture;
        let mut push = |kind: Kind, index: usize, config: &Attention, scoring: &attlas::Scoring, state: LayerState| {
            debug_assert_eq!(state.lse.len(), n_items * config.n_heads * state.n_queries);
            let weights = match &config.disentangled {
                Some(_) => Weights::Dense(state.dense.into()),
                None => Weights::from(Factored {
                    scoring: scoring.clone(),
                    queries: state.queries.into(),
                    keys: state.keys.into(),
                    lse: state.lse.into_iter().map(f64::from).collect::<Vec<f64>>().into(),
                    mask: None,
                    key_bias: None,
                }),
            };
            let shape = config.shape(state.n_queries, state.n_keys);
            let mut layer = Layer::new(kind, index, shape, weights);
            if options.values {
                layer.traces.insert(Trace::Values, state.values);
            }
            layers.push(layer);
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

    fn provenance(&self, method: recording::Method, items: &[Item], inputs: &[Input]) -> Provenance {
        let mut notes = self.notes_on(items);
        notes.extend(inputs.iter().filter_map(|input| input.features.as_ref()).flat_map(|f| f.notes.iter().cloned()));
        Provenance {
            model: self.name().to_owned(),
            family: self.family().to_owned(),
            revision: self.revision.clone(),
            dtype: self.dtype.to_owned(),
            mode: recording::Mode::Eval,
            writer: Writer::attlas(),
            method,
            notes,
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
        let architecture = &self.transformer.architecture;
        let limit = architecture.decoder.as_ref().map_or(usize::MAX, |stack| architecture.n_positions(stack));
        limit.saturating_sub(n)
    }
}

impl Pooled {
    /// The row that stands for all hidden states of an item. Shape of `item`: `[n, d_model]`.
    fn row(self, item: &[f32], stack: &Stack) -> Vec<f32> {
        let d_model = stack.d_model;
        match self {
            Pooled::First => item[..d_model].to_vec(),
            Pooled::FirstTwo => item[..2 * d_model].to_vec(),
            Pooled::FirstAndMean => {
                let patches = &item[stack.n_leading() * d_model..];
                let n_patches = (patches.len() / d_model) as f32;
                let mut row = item[..d_model].to_vec();
                row.resize(2 * d_model, 0.0); // [2 · d_model]
                for patch in patches.chunks_exact(d_model) {
                    row[d_model..].iter_mut().zip(patch).for_each(|(mean, x)| *mean += x / n_patches);
                }
                row
            }
        }
    }
}

/// Beams that are followed at most.
const MAX_BEAMS: usize = 64;

/// The most that dense weights of one run may take.
const MAX_DENSE_BYTES: usize = 4 << 30;

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
