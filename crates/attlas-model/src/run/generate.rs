//! Generation with a cache of keys and values: greedy, and beam search as `transformers` does it.

use std::mem;

use attlas::Kind;
use attlas_kernels::exponentials;
use serde::{Deserialize, Serialize};

use super::loops::LoopWatch;
use super::seen::Seen;
use super::words::WordWatch;
use crate::block::forward::StackRef;
use crate::block::pass::{Plan, Progress, Stopped, Watch, tell};
use crate::block::state::{Batch, LayerState, Source, StackState};
use crate::block::weights::Transformer;
use crate::block::workspace::Workspace;
use crate::config::SpecialIds;

/// How the decoder's tokens come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
        /// How many continuations are followed, 1 to 64.
        width: usize,
        /// New tokens at most.
        max_tokens: usize,
    },
}

impl Decoding {
    /// By a search with so many beams; greedily with one, or without.
    pub fn generating(beams: Option<usize>, max_tokens: usize) -> Decoding {
        match beams {
            Some(width) if width > 1 => Decoding::Beam { width, max_tokens },
            _ => Decoding::Greedy { max_tokens },
        }
    }
}

/// One text being decoded, or several continuations of it.
pub(crate) struct Session<'a> {
    transformer: &'a Transformer,
    plan: Plan<'a>,
    watch: &'a mut Watch<'a>,
    /// What the encoder saw.
    pub encoder: StackState,
    /// What the decoder saw.
    pub decoder: StackState,
    /// The encoder's result. Shape `[n_source, d_source]`.
    source: Option<(Vec<f32>, usize)>,
    n_items: usize,
    /// The images among the prompt's tokens, and the rows of all of those. Shape `[n_prompt, width]`.
    images: Option<(&'a Seen, Vec<f32>)>,
    workspace: Workspace,
}

/// What no text of a beam search has.
#[derive(Clone, Copy)]
pub(crate) struct Shunned<'a> {
    /// Words that are not known, where they are looked for.
    pub words: Option<&'a WordWatch<'a>>,
    /// Loops, where they are looked for.
    pub loops: Option<&'a LoopWatch<'a>>,
}

/// A beam search.
#[derive(Clone, Copy)]
pub(crate) struct Search<'a> {
    /// How many continuations are followed.
    pub width: usize,
    /// New tokens at most.
    pub max_tokens: usize,
    /// Whether texts are found that only this limit ends.
    pub keeps_open: bool,
    pub shunned: Shunned<'a>,
}

impl Shunned<'_> {
    /// Whether a text that ended, or goes on, has nothing of it; the last word of one that goes on may still grow.
    fn allows(self, ids: &[u32], is_ended: bool) -> bool {
        let is_known = |words: &WordWatch<'_>| match is_ended {
            true => words.unknown(ids).is_empty(),
            false => words.unknown_so_far(ids).is_empty(),
        };
        self.loops.is_none_or(|loops| loops.at_end(ids).is_none()) && self.words.is_none_or(is_known)
    }
}

/// A generated text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Generated {
    /// The new ids; the last one is an end token unless the limit came first.
    pub ids: Vec<u32>,
    /// The sum of the ids' log-probabilities, divided by their number in a beam search.
    pub score: f32,
    /// The log-probability of each id. Shape `[ids.len()]`.
    pub log_probabilities: Vec<f32>,
    /// How many of the last ids came again when the generation was cut.
    pub n_repeated: Option<usize>,
    /// The words of the text in whose place this one is, because they are not known.
    pub avoided_words: Vec<String>,
}

impl<'a> Session<'a> {
    /// Reads the source, if the model has an encoder; a batch of one item.
    ///
    /// # Errors
    /// When `watch` stops it, as all that follows.
    pub fn new(
        transformer: &'a Transformer,
        source: Batch<'_>,
        images: Option<(&'a Seen, Vec<f32>)>,
        plan: Plan<'a>,
        watch: &'a mut Watch<'a>,
    ) -> Result<Session<'a>, Stopped> {
        let mut workspace = Workspace::default();
        let mut encoder = StackState::default();
        let source = match transformer.stack(Kind::Encoder) {
            Some(stack) => Some((stack.run(source, None, &mut encoder, plan, watch, &mut workspace)?, source.n)),
            None => None,
        };
        let decoder = StackState::default();
        Ok(Session { transformer, plan, watch, encoder, decoder, source, n_items: 1, images, workspace })
    }

    /// Reads more ids, as many for each continuation, and returns the logits after the last. Shape `[n_items, n_logits]`.
    fn step(&mut self, ids: &[u32]) -> Result<Vec<f32>, Stopped> {
        let Some(stack) = self.transformer.stack(Kind::Decoder) else { return Ok(Vec::new()) };
        let n = ids.len() / self.n_items;
        let past = self.decoder.past;
        let positions = self.images.as_ref().map(|(seen, _)| seen.positions(past + n)[past..].repeat(self.n_items));
        let batch = Batch {
            n_items: self.n_items,
            n,
            ids,
            words: self.images.as_ref().map(|(_, rows)| rows.as_slice()).filter(|_| past == 0),
            positions: positions.as_deref(),
            features: None,
            token_types: None,
            valid: None,
            packing: None,
        };
        let source =
            self.source.as_ref().map(|(hidden, n)| Source { hidden, n: *n, places: &[], valid: None, packing: None });
        let hidden = stack.run(batch, source, &mut self.decoder, self.plan, self.watch, &mut self.workspace)?;
        let d_model = stack.config.d_model;
        let last: Vec<f32> =
            hidden.chunks_exact(n * d_model).flat_map(|item| &item[(n - 1) * d_model..]).copied().collect();
        Ok(self.transformer.logits(&last))
    }

    /// Reads the last id that each continuation of the prompt has, or all of them anew where the model does so at their length.
    fn read_on(&mut self, prompt: &[u32], continuations: &[&[u32]]) -> Result<Vec<f32>, Stopped> {
        let length = prompt.len() + continuations.first().map_or(0, |ids| ids.len());
        let ids: Vec<u32> = match self.transformer.architecture.anew_beyond {
            Some(threshold) if self.decoder.past <= threshold && length > threshold => {
                self.decoder = StackState::default();
                continuations.iter().flat_map(|ids| prompt.iter().chain(*ids)).copied().collect()
            }
            _ => continuations.iter().filter_map(|ids| ids.last()).copied().collect(),
        };
        self.step(&ids)
    }

    /// Tells that there are `n_tokens` tokens now.
    fn tell(&mut self, n_tokens: usize) -> Result<(), Stopped> {
        tell(self.watch, Progress::Token { item: self.plan.text(0), n_tokens })
    }

    /// Goes on with other continuations: the `k`-th becomes what `chosen[k]` was.
    fn select(&mut self, chosen: &[usize]) {
        self.decoder.select(self.n_items, chosen);
        self.n_items = chosen.len();
    }

    /// Takes the most likely token each time, the first of equals, until an end token, `max_tokens`, or a loop where one is
    /// looked for: of that the first span is kept.
    ///
    /// With `all_logits`, also returns the logits of every step. Shape `[ids.len(), n_logits]`.
    pub fn greedy(
        &mut self,
        prompt: &[u32],
        max_tokens: usize,
        loops: Option<&LoopWatch<'_>>,
        mut all_logits: Option<&mut Vec<f32>>,
    ) -> Result<Generated, Stopped> {
        let transformer = self.transformer;
        let ids = &transformer.architecture.ids;
        let mut generated = Generated::default();
        let mut logits = self.step(prompt)?;
        loop {
            if let Some(all) = &mut all_logits {
                all.extend_from_slice(&logits);
            }
            let mut log_probabilities = log_softmax(&logits);
            ids.process(&mut log_probabilities, generated.ids.len(), max_tokens, prompt.len());
            let id = first_of_largest(&log_probabilities);
            generated.ids.push(id as u32);
            generated.log_probabilities.push(log_probabilities[id]);
            generated.score += log_probabilities[id];
            self.tell(generated.ids.len())?;
            if ids.ends.contains(&(id as u32)) || generated.ids.len() == max_tokens {
                return Ok(generated);
            }
            if let Some((n_span, n_again)) = loops.and_then(|loops| loops.at_end(&generated.ids)) {
                generated.cut(n_span, n_again);
                if let Some(all) = all_logits {
                    all.truncate(generated.ids.len() * logits.len());
                }
                return Ok(generated);
            }
            logits = self.read_on(prompt, &[&generated.ids])?;
        }
    }

    /// Forgets what the decoder saw.
    pub fn begin_anew(&mut self) {
        (self.decoder, self.n_items) = (StackState::default(), 1);
    }

    /// What takes the place of a text with words that are not known, where those are shunned: the finished beams of a search, best
    /// first. Nothing where the text has none, or no beam is without.
    pub fn of_known_words(
        &mut self,
        written: &Generated,
        prompt: &[u32],
        search: Search<'_>,
    ) -> Result<Vec<Generated>, Stopped> {
        let Some(words) = search.shunned.words else { return Ok(Vec::new()) };
        let is_open = self.transformer.architecture.ids.leave_open(written.ids.last().copied(), written.n_repeated);
        let avoided_words = if is_open { words.unknown_so_far(&written.ids) } else { words.unknown(&written.ids) };
        if avoided_words.is_empty() {
            return Ok(Vec::new());
        }
        // the search tries so many words that in a long text one that is not there would pass for known; a text that was cut at a
        // loop may be far shorter than what the source asks for
        let n_source = self.source.as_ref().map_or(0, |(_, n)| *n);
        let limit = search.max_tokens.min(2 * written.ids.len().max(n_source) + 8);
        let seen = (mem::take(&mut self.decoder), mem::replace(&mut self.n_items, 1));
        // what the search's own limit ends is part of a text
        let keeps_open = is_open && limit == written.ids.len();
        let mut beams = self.beam(prompt, Search { max_tokens: limit, keeps_open, ..search })?;
        beams.retain(|beam| words.unknown(&beam.ids).is_empty());
        match beams.first_mut() {
            Some(best) => best.avoided_words = avoided_words,
            None => (self.decoder, self.n_items) = seen,
        }
        Ok(beams)
    }

    /// Beam search with length penalty 1, as `transformers` does it, among texts without what is shunned; the finished beams, best
    /// first, none where every text has some of it.
    pub fn beam(
        &mut self,
        prompt: &[u32],
        Search { width, max_tokens, keeps_open, shunned }: Search<'_>,
    ) -> Result<Vec<Generated>, Stopped> {
        let ids = self.transformer.architecture.ids.clone();
        // of those that hold an unknown word none is left; loops are rare enough
        let spare = if shunned.words.is_some() { 4 } else { 1 };
        let n_candidates = (1 + ids.ends.len()).max(2) * width * spare;
        // 1. the prompt, read once
        let mut logits = self.step(prompt)?;
        let mut running = vec![Generated::default()];
        let mut finished: Vec<Generated> = Vec::new();
        loop {
            // 2. the best continuations of all beams together
            let mut candidates = self.candidates(&ids, &running, &logits, max_tokens, prompt.len(), n_candidates);
            candidates.retain(|candidate| {
                shunned.allows(&candidate.append_to(&running).ids, ids.ends.contains(&candidate.id))
            });
            let length = running[0].ids.len() + 1;
            self.tell(length)?;
            let (is_whole, is_last) = (|id: u32| ids.ends.contains(&id), length == max_tokens);
            let is_found = |id: u32| is_whole(id) || (is_last && keeps_open);
            // 3. those that ended, if they are among the first; only the best `width` of all are kept
            for candidate in candidates.iter().take(width).filter(|candidate| is_found(candidate.id)) {
                let mut done = candidate.append_to(&running);
                done.score /= length as f32;
                let place = finished.partition_point(|other| other.score >= done.score);
                finished.insert(place, done);
            }
            finished.truncate(width);
            // 4. those that go on
            let goes_on = |candidate: &&Candidate| !is_last && !is_whole(candidate.id);
            let open: Vec<&Candidate> = candidates.iter().filter(goes_on).take(width).collect();
            let next: Vec<Generated> = open.iter().map(|candidate| candidate.append_to(&running)).collect();
            // 5. no hope to improve on the worst finished beam, or nothing left
            let hopeless = |best: &Generated| {
                finished.get(width - 1).is_some_and(|worst| best.score / length as f32 <= worst.score)
            };
            if next.first().is_none_or(hopeless) {
                return Ok(finished);
            }
            let parents: Vec<usize> = open.iter().map(|candidate| candidate.parent).collect();
            self.select(&parents);
            running = next;
            logits = self.read_on(prompt, &running.iter().map(|beam| beam.ids.as_slice()).collect::<Vec<_>>())?;
        }
    }

    /// The `n` best continuations by their accumulated log-probability, best first.
    fn candidates(
        &self,
        ids: &SpecialIds,
        running: &[Generated],
        logits: &[f32],
        max_tokens: usize,
        prompt_len: usize,
        n: usize,
    ) -> Vec<Candidate> {
        let n_logits = logits.len() / running.len();
        let mut candidates = Vec::new();
        for (parent, (beam, logits)) in running.iter().zip(logits.chunks_exact(n_logits)).enumerate() {
            let mut log_probabilities = log_softmax(logits);
            ids.process(&mut log_probabilities, beam.ids.len(), max_tokens, prompt_len);
            candidates.extend(places_of_largest(&log_probabilities, n).into_iter().map(|id| Candidate {
                parent,
                id: id as u32,
                log_probability: log_probabilities[id],
                score: beam.score + log_probabilities[id],
            }));
        }
        candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.parent.cmp(&b.parent)).then(a.id.cmp(&b.id)));
        candidates.truncate(n);
        candidates.retain(|candidate| candidate.score > f32::NEG_INFINITY);
        candidates
    }
}

impl Generated {
    /// Takes away the last `n_again` ids: what the last `n_span` of those that stay came again as.
    fn cut(&mut self, n_span: usize, n_again: usize) {
        let n = self.ids.len() - n_again;
        self.ids.truncate(n);
        self.log_probabilities.truncate(n);
        self.score = self.log_probabilities.iter().sum();
        self.n_repeated = Some(n_span);
    }
}

/// One continuation of one beam.
struct Candidate {
    parent: usize,
    id: u32,
    log_probability: f32,
    score: f32,
}

impl Candidate {
    fn append_to(&self, running: &[Generated]) -> Generated {
        let mut beam = running[self.parent].clone();
        beam.ids.push(self.id);
        beam.log_probabilities.push(self.log_probability);
        beam.score = self.score;
        beam
    }
}

impl SpecialIds {
    /// Whether the limit ended a text whose last id this is, so that its last word may be half of one.
    pub(crate) fn leave_open(&self, last: Option<u32>, n_repeated: Option<usize>) -> bool {
        n_repeated.is_none() && last.is_none_or(|id| !self.ends.contains(&id))
    }

    /// Forbids what may not come and forces what must; `n` ids are generated already.
    fn process(&self, log_probabilities: &mut [f32], n: usize, max_tokens: usize, prompt_len: usize) {
        let at_first = self.suppressed_first.iter().filter(|_| n == 0);
        for id in self.suppressed.iter().chain(at_first) {
            if let Some(slot) = log_probabilities.get_mut(*id as usize) {
                *slot = f32::NEG_INFINITY;
            }
        }
        let forced = match (self.forced_start, self.forced_end) {
            (Some(start), _) if n == 0 && prompt_len == 1 => Some(start),
            (_, Some(end)) if n + 1 == max_tokens => Some(end),
            _ => None,
        };
        if let Some(slot) = forced {
            log_probabilities.fill(f32::NEG_INFINITY);
            if let Some(slot) = log_probabilities.get_mut(slot as usize) {
                *slot = 0.0;
            }
        }
    }
}

impl StackState {
    /// Item `k` becomes what item `chosen[k]` was.
    fn select(&mut self, n_items: usize, chosen: &[usize]) {
        if chosen.len() == n_items && chosen.iter().enumerate().all(|(place, item)| place == *item) {
            return;
        }
        for layer in self.attention.iter_mut().chain(&mut self.cross) {
            let LayerState { queries, keys, values, lse, carried, .. } = layer;
            for buffer in [queries, keys, values, lse, &mut carried.window, &mut carried.state] {
                let size = buffer.len() / n_items;
                *buffer = chosen.iter().flat_map(|item| &buffer[item * size..][..size]).copied().collect();
            }
        }
    }
}

impl Transformer {
    /// What cross-attention adds to the encoder's hidden states for its keys; empty where nothing is.
    pub(crate) fn source_places(&self, batch: Batch<'_>) -> Vec<f32> {
        self.stack(Kind::Encoder).map_or_else(Vec::new, |stack| stack.places(batch))
    }

    /// A stack by the kind of its self-attention.
    pub(crate) fn stack(&self, kind: Kind) -> Option<StackRef<'_>> {
        let (config, weights) = match kind {
            Kind::Encoder => (&self.architecture.encoder, &self.encoder),
            _ => (&self.architecture.decoder, &self.decoder),
        };
        let (config, weights) = config.as_ref().zip(weights.as_ref())?;
        Some(StackRef { config, weights, kind })
    }
}

/// `x − ln Σ exp(x)`. Shape `[n_logits]`.
fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut log_probabilities = logits.to_vec();
    exponentials(&mut log_probabilities, max);
    let total: f64 = log_probabilities.iter().map(|x| f64::from(*x)).sum();
    let log_total = max + total.ln() as f32;
    log_probabilities.iter_mut().zip(logits).for_each(|(slot, x)| *slot = x - log_total);
    log_probabilities
}

/// The places of the `n` largest numbers that are above −∞, the first of equals first.
fn places_of_largest(values: &[f32], n: usize) -> Vec<usize> {
    let mut places: Vec<usize> = Vec::with_capacity(n + 1);
    let mut least = f32::NEG_INFINITY;
    for (place, value) in values.iter().enumerate() {
        if *value > least {
            places.insert(places.partition_point(|other| values[*other] >= *value), place);
            if places.len() > n {
                places.pop();
            }
            if let Some(last) = places.get(n - 1) {
                least = values[*last];
            }
        }
    }
    places
}

/// The place of the largest number, the first of equals.
fn first_of_largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (place, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = place;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_numbers_are_found_in_their_order_and_equals_in_that_of_their_places() {
        let values = [1.0, f32::NEG_INFINITY, 3.0, f32::NAN, 2.0, 3.0, 1.0, 0.5];
        assert_eq!(places_of_largest(&values, 4), [2, 5, 4, 0]);
        assert_eq!(places_of_largest(&values, 99), [2, 5, 4, 0, 6, 7]);
    }
}
