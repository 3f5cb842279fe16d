//! The built-in set of texts that heads are measured on where none is given, so that two models can be compared.

use std::path::Path;
use std::sync::Arc;

use attlas::analysis::{Annotations, HeadSums, merge};
use attlas::recording::complaint;
use attlas::{Kind, TokenRole, Tokens};
use attlas_model::{Decoding, Input, Model, Side};

use super::sources::{Measured, reads_text};
use crate::failure::Failure;
use crate::inputs::{RunArguments, run_inputs};
use crate::measures::heads_of;
use crate::terminal::remark;
use crate::words::counted;

/// A page of prose, a sentence a line; written for attlas.
const PROSE: &str = include_str!("probe/prose.txt");
/// Sentence pairs, source, tab, target; written for attlas.
const PAIRS: &str = include_str!("probe/pairs.tsv");
/// Random texts that are repeated twice.
const DRAWS: usize = 10;
/// Tokens of the first of them before they repeat; each further draw has two more, so that no offset fits two of them.
const FIRST_PERIOD: usize = 12;

/// Refuses options that say something of a text, and models that read none.
fn refuse_idle(model: &Model, options: &RunArguments) -> Result<(), Failure> {
    let given = [
        (!options.target.is_empty(), "--target"),
        (options.beam.is_some(), "--beam"),
        (options.max_tokens.is_some(), "--max-tokens"),
    ];
    if let Some((_, option)) = given.into_iter().find(|(is_given, _)| *is_given) {
        return Err(Failure::Usage(format!(
            "{option} is for a TEXT, and none was given: the built-in set is run as it is"
        )));
    }
    if model.reads_images() || model.reads_sounds() {
        return Err(Failure::Usage(format!(
            "{} reads no text, and the built-in set is of texts; give an image or a sound",
            model.name()
        )));
    }
    Ok(())
}

/// Measures a model on the built-in set.
pub fn measured(model: &Model, options: &RunArguments, counts: Option<&Path>) -> Result<Measured, Failure> {
    refuse_idle(model, options)?;
    let side = if model.has(Side::Source) { Side::Source } else { Side::Target };
    let random: Vec<Input> = repeats(model)?.into_iter().filter(|input| fits(model, input)).collect();
    let mut what = vec![format!("random tokens repeated twice ({})", counted(random.len(), "draw"))];
    let mut parts = vec![(random, true)];
    let reads_text = reads_text(model, side);
    if reads_text {
        let (inputs, name) = texts(model)?;
        let n_all = inputs.len();
        let inputs: Vec<Input> = inputs.into_iter().filter(|input| fits(model, input)).collect();
        let of_all =
            if inputs.len() < n_all { format!(" of {n_all} that the model has positions for") } else { String::new() };
        what.push(format!("{name} ({}{of_all})", counted(inputs.len(), "text")));
        parts.push((inputs, false));
    } else {
        remark("the model has no tokenizer: it is measured on random tokens alone");
    }
    if parts.iter().all(|(inputs, _)| inputs.is_empty()) {
        return Err(Failure::Usage(format!(
            "{} has positions for none of the built-in texts; give a TEXT",
            model.name()
        )));
    }
    let counts = counts.map(|path| super::counts::of_file(model, path)).transpose()?;
    let annotations = Annotations { counts: counts.map(Arc::new), ..Annotations::default() };
    let mut heads: Vec<HeadSums> = Vec::new();
    let mut problem = None;
    for (inputs, is_random) in parts {
        for batch in inputs.chunks(4) {
            let run = run_inputs(model, batch, Decoding::TeacherForcing, options)?;
            problem = problem.or(complaint(&run.recording.check()?));
            let mut of_batch = heads_of(&run.recording, None, &annotations)?;
            of_batch.iter_mut().for_each(|head| keep(head, is_random));
            heads = merge(heads.into_iter().chain(of_batch));
        }
    }
    let no_text = (!reads_text).then_some("it is scored on text, and the model has no tokenizer to read any with");
    let measured_on =
        format!("Measured on {}; duplicate and induction scores are those of the random tokens", what.join(" and "));
    Ok(Measured { heads, model: model.name().to_owned(), measured_on, complaint: problem, skipped: false, no_text })
}

/// Whether the model has a position for every token of an input.
fn fits(model: &Model, input: &Input) -> bool {
    [(Side::Source, input.source.len()), (Side::Target, input.target.len())]
        .into_iter()
        .all(|(side, n_tokens)| n_tokens == 0 || n_tokens <= model.n_positions(side))
}

/// Forgets the scores that this part of the set is not for; of cross-attention between random tokens everything.
fn keep(head: &mut HeadSums, is_random: bool) {
    let is_nothing = is_random && head.kind == Kind::Cross;
    for (measure, sums) in &mut head.sums {
        if is_nothing || measure.on_repeats != is_random {
            sums.iter_mut().for_each(|sums| *sums = Default::default());
        }
    }
    if is_nothing {
        (head.n_rows, head.n_queries) = (0, 0);
    }
}

/// Sentence pairs for a translator, a page of prose for others.
fn texts(model: &Model) -> Result<(Vec<Input>, &'static str), Failure> {
    if model.has(Side::Source) && model.has(Side::Target) {
        let pairs = PAIRS.lines().filter_map(|line| line.split_once('\t'));
        let inputs = pairs.map(|(source, target)| model.input(source, Some(target)));
        return Ok((inputs.collect::<Result<_, _>>()?, "English and French sentences"));
    }
    let inputs = PROSE.lines().map(|line| model.input(line, None));
    Ok((inputs.collect::<Result<_, _>>()?, "English prose"))
}

/// Random tokens of the vocabulary, repeated twice between what the tokenizer puts around a text.
fn repeats(model: &Model) -> Result<Vec<Input>, Failure> {
    let mut random = Random(7);
    let mut draw = |side: Side, period: usize| -> Result<Tokens, Failure> {
        let (before, after) = around(model, side)?;
        let vocabulary = vocabulary(model, side);
        let mut ids: Vec<u32> = Vec::new();
        for _ in 0..100 * period {
            let id = random.below(vocabulary) as u32;
            let is_text = model.tokens_from_ids(side, &[id])?.tokens[0].role == TokenRole::Text;
            if is_text && !before.contains(&id) && !after.contains(&id) && !ids.contains(&id) {
                ids.push(id);
            }
            if ids.len() == period {
                break;
            }
        }
        let all = [before.as_slice(), &ids, &ids, &after].concat();
        Ok(model.tokens_from_ids(side, &all)?)
    };
    let input = |index: usize| {
        let period = FIRST_PERIOD + 2 * index;
        let mut input = Input::default();
        if model.has(Side::Source) {
            input.source = draw(Side::Source, period)?;
        }
        if model.has(Side::Target) {
            input.target = draw(Side::Target, period)?;
        }
        Ok(input)
    };
    (0..DRAWS).map(input).collect()
}

/// The ids that the tokenizer puts before and after a text; without a tokenizer, the model's start token.
fn around(model: &Model, side: Side) -> Result<(Vec<u32>, Vec<u32>), Failure> {
    let ids = &model.transformer().architecture.ids;
    if !reads_text(model, side) {
        return Ok((ids.start.into_iter().collect(), Vec::new()));
    }
    let tokens = match side {
        Side::Source => model.source_tokens("a")?,
        Side::Target => model.target_tokens("a")?,
    };
    let special = |token: &&attlas::Token| !token.is_text();
    let before: Vec<u32> = tokens.tokens.iter().take_while(special).filter_map(|token| token.id).collect();
    let mut after: Vec<u32> = tokens.tokens.iter().rev().take_while(special).filter_map(|token| token.id).collect();
    after.reverse();
    Ok((before, after))
}

/// How many ids there are to draw from.
fn vocabulary(model: &Model, side: Side) -> usize {
    let architecture = &model.transformer().architecture;
    let stack = if side == Side::Source { &architecture.encoder } else { &architecture.decoder };
    let n_embedded = stack.as_ref().map_or(1, |stack| stack.embedding.n_tokens);
    model.tokenizer().map_or(n_embedded, |tokenizer| tokenizer.n_ids().min(n_embedded)).max(1)
}

/// Knuth's linear congruential generator: the same draws everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

#[cfg(test)]
mod tests {
    use attlas::HeadId;
    use attlas::analysis::{MEASURES, Sample, Sums};

    use super::*;

    #[test]
    fn what_is_scored_on_random_tokens_is_what_copies_are_needed_for() {
        let names: Vec<&str> = MEASURES.iter().filter(|one| one.on_repeats).map(|one| one.name).collect();
        assert_eq!(names, ["duplicate", "induction", "repetition", "tl-previous", "tl-duplicate", "tl-induction"]);
    }

    #[test]
    fn random_tokens_leave_nothing_of_cross_attention_and_of_the_rest_what_is_of_copies() {
        let kept = |kind: Kind, is_random: bool| {
            let sums = Sums::of([Sample { score: 1.0, baseline: 0.5 }]);
            let sums = MEASURES.iter().map(|measure| (measure, vec![sums])).collect();
            let mut head = HeadSums { kind, head: HeadId { layer: 0, head: 0 }, sums, n_rows: 7, n_queries: 9 };
            keep(&mut head, is_random);
            let has_score = |name: &str| head.score(name).is_some();
            (has_score("induction"), has_score("self"), head.n_rows, head.n_queries)
        };
        assert_eq!(kept(Kind::Decoder, true), (true, false, 7, 9));
        assert_eq!(kept(Kind::Decoder, false), (false, true, 7, 9));
        assert_eq!(kept(Kind::Cross, true), (false, false, 0, 0));
        assert_eq!(kept(Kind::Cross, false), (false, true, 7, 9));
    }

    #[test]
    fn every_line_of_the_pairs_is_a_pair() {
        assert!(PAIRS.lines().all(|line| line.split('\t').count() == 2) && PAIRS.lines().count() > 20);
    }
}
