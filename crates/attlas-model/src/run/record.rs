//! Running a model over a batch and turning what its layers saw into a recording.

use attlas::{Item, Kind, Provenance, Recording, Token, TokenRole, Tokens, Writer, recording};
use serde::{Deserialize, Serialize};

use super::batch::PaddedBatch;
use super::check::Sizes;
use super::collect::{Kept, Seen};
use super::generate::{Decoding, Generated, Search, Session, Shunned};
use super::input::Input;
use super::loops::LoopWatch;
#[cfg(doc)]
use super::loops::Loops;
use super::objects::Object;
use super::seen::with_images;
use super::words::{N_BEAMS, WordWatch, whole_words};
use crate::Error;
use crate::block::pass::{Array, Next, Pass, Plan, Progress, Purpose, Site, Watch};
use crate::block::state::StackState;
use crate::block::workspace::Workspace;
use crate::config::{Pooled, Readout, Stack};
use crate::model::Model;

/// What a run does, keeps and changes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunOptions {
    /// How the decoder's tokens come about.
    pub decoding: Decoding,
    /// What is kept and what is changed.
    pub pass: Pass,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Run {
    /// The attention of every head; without layers when nothing was to be recorded.
    pub recording: Recording,
    /// On request: `[batch, n, vocabulary]` for language models, `[batch, n]` for a score at every position, `[batch,
    /// classes]` for classifiers. `n` counts the tokens that the decoder read; of one text that was generated greedily and stays,
    /// the generated tokens.
    pub logits: Option<Array>,
    /// What was generated for each text; empty with teacher forcing. Shape `[batch]`.
    pub generated: Vec<Generation>,
    /// What each object query of each text found; empty where the model looks for no objects. Shape `[batch][n_queries]`.
    pub objects: Vec<Vec<Object>>,
    /// What else was kept, in the order of a pass.
    pub kept: Vec<Kept>,
}

impl Run {
    /// The numbers of a site that was kept at a layer.
    pub fn kept(&self, site: Site, kind: Kind, layer: usize) -> Option<&Array> {
        let found = self.kept.iter().find(|kept| (kept.site, kept.kind, kept.layer) == (site, kind, layer));
        found.map(|kept| &kept.array)
    }
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
    /// The sum of `log_probabilities`; of a text that a beam search found divided by their number.
    pub score: f32,
    /// In a beam search, the other finished beams, best first.
    pub others: Vec<Generation>,
    /// How many of the last tokens were coming again when the generation was cut ([`Loops::Cut`]); `None` when it was not.
    pub n_repeated: Option<usize>,
    /// The words of the text that was found first and that the model does not know, in whose place this one is
    /// ([`UnknownWords::Avoid`](crate::UnknownWords::Avoid)); empty where nothing was replaced.
    pub avoided_words: Vec<String>,
}

impl Model {
    /// Runs the model over a batch of texts.
    ///
    /// # Errors
    /// When an input does not fit the model (no tokens, an id without embedding, a text longer than its positions), or
    /// the plan keeps or changes what is not there.
    pub fn run(&self, inputs: &[Input], options: &RunOptions) -> Result<Run, Error> {
        self.run_watched(inputs, options, &mut |_| Next::Continue)
    }

    /// The same, telling `watch` before each block and after each generated token where it is.
    ///
    /// # Errors
    /// As [`Model::run`], and [`Error::Stopped`] when `watch` says so.
    pub fn run_watched(
        &self,
        inputs: &[Input],
        options: &RunOptions,
        watch: &mut dyn FnMut(Progress) -> Next,
    ) -> Result<Run, Error> {
        self.check_inputs(inputs, options.decoding)?;
        let sizes = Sizes::of(inputs, options.decoding);
        self.check_pass(&options.pass, sizes)?;
        self.check_dense(&options.pass, sizes)?;
        match options.decoding {
            Decoding::TeacherForcing => {
                self.forward(inputs, &options.pass, recording::Method::Forward, Vec::new(), watch)
            }
            Decoding::Greedy { max_tokens } => self.generate(inputs, &options.pass, 0, max_tokens, watch),
            Decoding::Beam { width, max_tokens } => self.generate(inputs, &options.pass, width, max_tokens, watch),
        }
    }

    /// Every input must fit the model.
    pub(super) fn check_inputs(&self, inputs: &[Input], decoding: Decoding) -> Result<(), Error> {
        if inputs.is_empty() {
            return Err(Error::Input("there is no text to run the model on".to_owned()));
        }
        inputs.iter().enumerate().try_for_each(|(index, input)| self.check_input(input, index, decoding))
    }

    fn generate(
        &self,
        inputs: &[Input],
        pass: &Pass,
        width: usize,
        limit: usize,
        watch: &mut Watch<'_>,
    ) -> Result<Run, Error> {
        self.check_generates(width, limit)?;
        let alone = inputs.len() == 1 && width == 0;
        let direct = alone && !pass.needs_whole_pass();
        let purpose = if direct { Purpose::RecordedSteps } else { Purpose::Steps };
        let mut logits = (alone && pass.keeps(Site::Logits)).then(Vec::new);
        let (mut generated, mut all_found) = (Vec::with_capacity(inputs.len()), true);
        for (index, input) in inputs.iter().enumerate() {
            let source = PaddedBatch::new(std::slice::from_ref(input), 0)?;
            let prompt = ids(&input.target)?;
            let max_tokens = limit.min(self.room(prompt.len())?);
            let plan = Plan { pass, purpose, text: Some(index) };
            let images = input.seen.as_deref().zip(self.rows_with_images(std::slice::from_ref(input), &prompt)?);
            let mut session = Session::new(&self.transformer, source.source(), images, plan, watch)?;
            let (beams, is_found) = self.written(&mut session, input, width, max_tokens, logits.as_mut())?;
            all_found &= is_found;
            let generation = self.generations(beams)?;
            // what was seen of a text that was cut is more than the text, and of one that was replaced another
            if !generation.avoided_words.is_empty() {
                logits = None;
            } else if direct && generation.n_repeated.is_none() {
                return self.recorded_generation(input, session, generation, logits, plan);
            }
            generated.push(generation);
        }
        let method = if all_found { recording::Method::Beam } else { recording::Method::Greedy };
        let continued: Vec<Input> =
            inputs.iter().zip(&generated).map(|(input, generation)| self.continued(input, generation)).collect();
        self.check_dense(pass, Sizes::of(&continued, Decoding::TeacherForcing))?;
        let mut run = self.forward(&continued, pass, method, generated, watch)?;
        run.recording.provenance.beams = (width > 0).then_some(width);
        for ((item, input), generation) in run.recording.items.iter_mut().zip(inputs).zip(&run.generated) {
            self.tell_of(generation, input, item);
        }
        Ok(match logits {
            Some(values) => Run { logits: Some(self.generated_logits(values)), ..run },
            None => run,
        })
    }

    /// The model must write text, and the limits must be some.
    fn check_generates(&self, width: usize, limit: usize) -> Result<(), Error> {
        let architecture = &self.transformer.architecture;
        if self.finds_objects() {
            return Err(Error::Unsupported(format!(
                "{} looks for objects in an image and writes no text",
                self.name()
            )));
        }
        let lack = match (&architecture.decoder, &architecture.readout) {
            (None, _) => Some("decoder"),
            (Some(_), Readout::Tokens { .. }) => None,
            (Some(_), _) => Some("output matrix"),
        };
        if let Some(lack) = lack {
            return Err(Error::Unsupported(format!("{} cannot generate text: it has no {lack}", self.name())));
        }
        if limit == 0 || width > MAX_BEAMS {
            return Err(Error::Limit(format!(
                "at least 1 token must be generated, with at most {MAX_BEAMS} beams; asked for {limit} and {width}"
            )));
        }
        Ok(())
    }

    /// What is written after one prompt, without loops and of known words where those are asked for and found: greedily, or the finished
    /// beams, best first; and whether a search found it.
    fn written(
        &self,
        session: &mut Session<'_>,
        input: &Input,
        width: usize,
        max_tokens: usize,
        logits: Option<&mut Vec<f32>>,
    ) -> Result<(Vec<Generated>, bool), Error> {
        let prompt = ids(&input.target)?;
        let (loops, words) = (LoopWatch::new(self, input), WordWatch::new(self, input));
        let longest = if width == 0 { max_tokens } else { max_tokens.min(self.longest_searched(input)) };
        let search = |width: usize, words| Search {
            width,
            max_tokens: longest,
            keeps_open: longest == max_tokens, // what a limit ends that nobody asked for is part of a text
            shunned: Shunned { words, loops: loops.as_ref() },
        };
        let mut beams = if width == 0 { Vec::new() } else { session.beam(&prompt, search(width, None))? };
        let is_found = !beams.is_empty();
        if !is_found && (width == 0 || loops.is_some() || longest < max_tokens) {
            session.begin_anew();
            beams.push(session.greedy(&prompt, max_tokens, loops.as_ref(), logits)?);
        }
        let Some(first) = beams.first() else { return Ok((beams, is_found)) };
        let known = session.of_known_words(first, &prompt, search(width.max(N_BEAMS), words.as_ref()))?;
        Ok(if known.is_empty() { (beams, is_found) } else { (known, true) })
    }

    /// The most tokens that a search writes for a text: of a model that was trained on pairs of sentences, somewhat more than the source has.
    fn longest_searched(&self, input: &Input) -> usize {
        self.training.map_or(usize::MAX, |_| input.source.len() + MAX_LONGER_THAN_SOURCE)
    }

    /// Logits of the generated tokens of one text. Shape `[1, n, n_logits]`.
    fn generated_logits(&self, values: Vec<f32>) -> Array {
        let n_logits = self.transformer.n_logits();
        Array { shape: vec![1, values.len() / n_logits, n_logits], values }
    }

    /// The run of one text that was recorded while it was generated.
    fn recorded_generation(
        &self,
        input: &Input,
        session: Session<'_>,
        generation: Generation,
        logits: Option<Vec<f32>>,
        plan: Plan<'_>,
    ) -> Result<Run, Error> {
        let read = self.continued(input, &generation);
        self.check_dense(plan.pass, Sizes::of(std::slice::from_ref(&read), Decoding::TeacherForcing))?;
        let Session { encoder, decoder, .. } = session;
        let seen = Seen { plan, n_items: 1, encoder, decoder, source_valid: None, target_valid: None };
        let (layers, kept) = seen.collect(&self.transformer);
        let predicted = self.predicted(&read, Some(&generation), None);
        let image = read.features.as_ref().and_then(|features| features.image.clone());
        let n_sound = read.features.as_ref().and_then(|features| features.n_sound);
        let (source, target) = (read.source, read.target);
        let mut item = Item { source, target, predicted, image, n_sound, ..Item::default() };
        self.tell_of(&generation, input, &mut item);
        let items = vec![with_images(item, input)];
        let inputs = std::slice::from_ref(input);
        let provenance = self.provenance(recording::Method::Greedy, &items, inputs, plan.pass);
        let mut recording = Recording { provenance, items, layers };
        recording.sharpen()?;
        Ok(Run {
            recording,
            logits: logits.map(|values| self.generated_logits(values)),
            generated: vec![generation],
            objects: Vec::new(),
            kept,
        })
    }

    /// What is to be known of a generated text: how much of it was given, what in it is no known word, whether it was cut.
    fn tell_of(&self, generation: &Generation, input: &Input, item: &mut Item) {
        item.n_prompt = Some(input.target.len());
        item.n_repeated = generation.n_repeated;
        item.avoided_words.clone_from(&generation.avoided_words);
        if let Some(words) = &self.known_words {
            let start = input.target.text.len();
            let last = generation.tokens.tokens.last().and_then(|token| token.id);
            let is_open = self.transformer.architecture.ids.leave_open(last, generation.n_repeated);
            let text: &str = if is_open { whole_words(&generation.text) } else { &generation.text };
            let spans = words.unknown_in(text, &input.source.text);
            item.unknown_words = spans.into_iter().map(|span| start + span.start..start + span.end).collect();
        }
    }

    /// One pass over a padded batch.
    fn forward(
        &self,
        inputs: &[Input],
        pass: &Pass,
        method: recording::Method,
        generated: Vec<Generation>,
        watch: &mut Watch<'_>,
    ) -> Result<Run, Error> {
        let batch = self.padded(inputs)?;
        self.forward_batch(&batch, inputs, pass, method, generated, watch)
    }

    /// The inputs, made equally long.
    pub(super) fn padded<'a>(&self, inputs: &'a [Input]) -> Result<PaddedBatch<'a>, Error> {
        let mut batch = PaddedBatch::new(inputs, self.transformer.architecture.ids.padding.unwrap_or(0))?;
        batch.seen = self.rows_with_images(inputs, batch.target().ids)?;
        Ok(batch)
    }

    /// One pass over a batch that was padded.
    pub(super) fn forward_batch(
        &self,
        batch: &PaddedBatch<'_>,
        inputs: &[Input],
        pass: &Pass,
        method: recording::Method,
        generated: Vec<Generation>,
        watch: &mut Watch<'_>,
    ) -> Result<Run, Error> {
        let plan = Plan { pass, purpose: Purpose::Whole, text: None };
        let mut workspace = Workspace::default();
        let state = || StackState { aside_from: Some(self.aside_from), ..StackState::default() };
        let (mut encoder, mut decoder) = (state(), state());
        // 1. the encoder
        let encoded = match self.transformer.stack(Kind::Encoder) {
            Some(stack) => Some(stack.run(batch.source(), None, &mut encoder, plan, watch, &mut workspace)?),
            None => None,
        };
        // 2. the decoder, which fills no folder that was full before
        decoder.aside_from = encoder.aside_from;
        let places = self.transformer.source_places(batch.source());
        let source = encoded.as_ref().map(|hidden| batch.encoded(hidden, &places));
        let decoded = match self.transformer.stack(Kind::Decoder) {
            Some(stack) => Some(stack.run(batch.target(), source, &mut decoder, plan, watch, &mut workspace)?),
            None => None,
        };
        // 3. the readout
        let logits = match decoded.as_ref().or(encoded.as_ref()) {
            Some(hidden) if pass.keeps(Site::Logits) => Some(self.logits_of(hidden, inputs.len())),
            _ => None,
        };
        // 4. what is left
        let (source_valid, target_valid) = (batch.source_valid.as_deref(), batch.target_valid.as_deref());
        let seen = Seen { plan, n_items: inputs.len(), encoder, decoder, source_valid, target_valid };
        let (layers, kept) = seen.collect(&self.transformer);
        let next = match &decoded {
            Some(hidden) if generated.is_empty() && pass.keeps(Site::Attention) => self.next_tokens(hidden, inputs),
            _ => Vec::new(),
        };
        let objects = decoded.as_ref().map_or_else(Vec::new, |hidden| self.objects_of(hidden, inputs));
        let items = batch.items(inputs, |index, input| match objects.get(index) {
            Some(found) => found_tokens(found),
            None => self.predicted(input, generated.get(index), next.get(index).cloned()),
        });
        let mut recording = Recording { provenance: self.provenance(method, &items, inputs, pass), items, layers };
        recording.sharpen()?;
        Ok(Run { recording, logits, generated, objects, kept })
    }

    /// What each item's object queries found. Shape of `hidden`: `[n_items · n, d_model]`.
    fn objects_of(&self, hidden: &[f32], inputs: &[Input]) -> Vec<Vec<Object>> {
        let items = hidden.chunks_exact((hidden.len() / inputs.len()).max(1));
        let found = items.map(|item| self.transformer.objects(item, &self.labels));
        found.filter(|objects| !objects.is_empty()).collect()
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

    fn provenance(&self, method: recording::Method, items: &[Item], inputs: &[Input], pass: &Pass) -> Provenance {
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
            beams: None,
            notes,
            edits: pass.edits.iter().map(|edit| edit.map(Array::digest)).collect(),
        }
    }

    /// The input with the generated tokens that the decoder read: all but the last.
    fn continued(&self, input: &Input, generation: &Generation) -> Input {
        let mut continued = input.clone();
        let tokens = &generation.tokens.tokens;
        self.append_tokens(&mut continued.target, &generation.tokens, tokens.len().saturating_sub(1));
        continued
    }

    /// What a model that has a decoder alone predicts after each text: the token of the largest logit, `?` where it has no
    /// logits of tokens. Nothing for other models: there the end token follows a target. Shape of
    /// `hidden`: `[batch, n, d_model]`.
    fn next_tokens(&self, hidden: &[f32], inputs: &[Input]) -> Vec<Token> {
        if self.transformer.architecture.encoder.is_some() {
            return Vec::new();
        }
        let is_of_tokens = matches!(self.transformer.architecture.readout, Readout::Tokens { .. });
        let n_target = inputs.iter().map(|input| input.target.len()).max().unwrap_or(0);
        let next = |(input, rows): (&Input, &[f32])| {
            let last = input.target.tokens.iter().rposition(|token| token.role != TokenRole::Padding)?;
            let width = rows.len().checked_div(n_target)?;
            let logits = self.transformer.logits(rows.get(last * width..(last + 1) * width)?);
            let best = logits.iter().enumerate().reduce(|best, one| if one.1 > best.1 { one } else { best })?;
            is_of_tokens.then(|| self.token(best.0 as u32))
        };
        let rows = hidden.chunks_exact((hidden.len() / inputs.len()).max(1));
        inputs.iter().zip(rows).map(|text| next(text).unwrap_or_else(|| Token::labelled("?"))).collect()
    }

    /// For each decoder position, the token that follows it; after the last one given, the end token, or `next`.
    fn predicted(&self, read: &Input, generation: Option<&Generation>, next: Option<Token>) -> Tokens {
        if read.target.is_empty() {
            return Tokens::default();
        }
        let last = match generation {
            Some(generation) => generation.tokens.tokens.last().cloned(),
            None => self.end_token().or(next),
        };
        let Some(last) = last else { return Tokens::default() };
        let is_padding = |token: &&Token| token.role != TokenRole::Padding;
        let mut tokens: Vec<Token> = read.target.tokens.iter().filter(is_padding).skip(1).cloned().collect();
        tokens.push(Token { span: None, ..last });
        tokens.extend(read.target.tokens.iter().filter(|token| token.role == TokenRole::Padding).cloned());
        Tokens { text: read.target.text.clone(), tokens }
    }

    /// How many tokens may follow `n` tokens in the decoder.
    fn room(&self, n: usize) -> Result<usize, Error> {
        let architecture = &self.transformer.architecture;
        let limit = architecture.decoder.as_ref().map_or(usize::MAX, |stack| architecture.n_positions(stack));
        match limit.saturating_sub(n) {
            0 => Err(Error::Input(format!(
                "the prompt has {n} tokens, as many as {} has positions; nothing can follow",
                self.name()
            ))),
            room => Ok(room),
        }
    }
}

/// What object queries found, as what their rows predict.
fn found_tokens(objects: &[Object]) -> Tokens {
    let token = |object: &Object| Token::labelled(object.label.clone());
    Tokens { text: String::new(), tokens: objects.iter().map(token).collect() }
}

impl Pooled {
    /// The row that stands for all hidden states of an item. Shape of `item`: `[n, d_model]`.
    pub(super) fn row(self, item: &[f32], stack: &Stack) -> Vec<f32> {
        let d_model = stack.d_model;
        match self {
            Pooled::First => item[..d_model].to_vec(),
            Pooled::FirstTwo => item[..2 * d_model].to_vec(),
            Pooled::Mean => mean_of_patches(item, stack),
            Pooled::FirstAndMean => [&item[..d_model], &mean_of_patches(item, stack)].concat(),
        }
    }

    /// The hidden states of `n` that the row is made of, with the share of each; they sum to 1.
    pub(crate) fn rows(self, n: usize, stack: &Stack) -> Vec<(usize, f64)> {
        match self {
            Pooled::First => vec![(0, 1.0)],
            Pooled::FirstTwo => vec![(0, 0.5), (1, 0.5)],
            Pooled::Mean => {
                let patches = stack.n_leading()..n;
                let share = 1.0 / patches.len().max(1) as f64;
                patches.map(|row| (row, share)).collect()
            }
            Pooled::FirstAndMean => {
                let patches = stack.n_leading()..n;
                let share = 0.5 / patches.len().max(1) as f64;
                std::iter::once((0, 0.5)).chain(patches.map(|row| (row, share))).collect()
            }
        }
    }

    /// Adds to the gradient of an item's hidden states, shape `[n, d_model]`, what goes back from the gradient of the row.
    pub(super) fn go_back(self, d_row: &[f32], stack: &Stack, d_item: &mut [f32]) {
        let d_model = stack.d_model;
        let add = |sum: &mut [f32], addend: &[f32], factor: f32| {
            sum.iter_mut().zip(addend).for_each(|(sum, addend)| *sum += addend * factor);
        };
        let add_mean = |d_mean: &[f32], d_item: &mut [f32]| {
            let patches = &mut d_item[stack.n_leading() * d_model..];
            let n_patches = (patches.len() / d_model) as f32;
            patches.chunks_exact_mut(d_model).for_each(|patch| add(patch, d_mean, 1.0 / n_patches));
        };
        match self {
            Pooled::First | Pooled::FirstTwo => add(&mut d_item[..d_row.len()], d_row, 1.0),
            Pooled::Mean => add_mean(d_row, d_item),
            Pooled::FirstAndMean => {
                add(&mut d_item[..d_model], &d_row[..d_model], 1.0);
                add_mean(&d_row[d_model..], d_item);
            }
        }
    }
}

/// The mean of the hidden states of patches. Shapes `[n, d_model]` and `[d_model]`.
fn mean_of_patches(item: &[f32], stack: &Stack) -> Vec<f32> {
    let patches = &item[stack.n_leading() * stack.d_model..];
    let n_patches = (patches.len() / stack.d_model) as f32;
    let mut row = vec![0.0; stack.d_model];
    for patch in patches.chunks_exact(stack.d_model) {
        row.iter_mut().zip(patch).for_each(|(mean, x)| *mean += x / n_patches);
    }
    row
}

/// Beams that are followed at most.
const MAX_BEAMS: usize = 64;

/// By how many tokens a translation that a search finds may be longer than its source (Vaswani et al. 2017, §6.1).
const MAX_LONGER_THAN_SOURCE: usize = 50;

/// The ids of tokens, without padding.
fn ids(tokens: &Tokens) -> Result<Vec<u32>, Error> {
    let real = tokens.tokens.iter().filter(|token| token.role != TokenRole::Padding);
    real.map(|token| token.id.ok_or_else(|| Error::Input(format!("the token \"{}\" has no id", token.text)))).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_hidden_states_that_a_row_is_made_of_are_those_that_it_reads_registers_left_out() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/families/dinov2-registers");
        let model = Model::load(&folder).expect("a model");
        let stack = model.transformer.architecture.encoder.as_ref().expect("an encoder");
        let (n, d_model) = (13, stack.d_model);
        for pooled in [Pooled::First, Pooled::FirstTwo, Pooled::Mean, Pooled::FirstAndMean] {
            let rows = pooled.rows(n, stack);
            assert!((rows.iter().map(|(_, share)| share).sum::<f64>() - 1.0).abs() < 1e-12, "{rows:?}");
            for place in 0..n {
                let mut item = vec![0.0; n * d_model]; // 1 at one hidden state
                item[place * d_model..][..d_model].fill(1.0);
                let read: f64 = pooled.row(&item, stack).iter().map(|x| f64::from(*x)).sum();
                let share = rows.iter().find(|(row, _)| *row == place).map_or(0.0, |(_, share)| *share);
                let expected = read / (pooled.n_parts() * d_model) as f64;
                assert!((share - expected).abs() < 1e-6, "{pooled:?} {place}: {share} {expected}");
            }
        }
    }
}
