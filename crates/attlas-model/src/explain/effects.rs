//! The heads of a model, measured on one text or on several: what the output loses with each, beside how meaningful its map looks.

use std::collections::BTreeMap;

use attlas::printable::counted;
use attlas::recording::{Edit, NewWeights};

use super::asked::{Measured, Predicted};
use super::direct::Component;
use super::identity::text_digest;
use super::importance::Importance;
use super::knock_out::{Baseline, KindHead, Removal, Watch, keeping_head_outputs};
use super::patch::Part;
use super::score::{Form, Metric, Score};
use super::way::Way;
use crate::config::Readout;
use crate::{Array, Error, HeadMeans, Input, Model, RunOptions, Side};

/// What is said where a run on another text is the run itself.
pub(super) const SAME_RUNS: &str = "The run on the other text gives the same: there is nothing to carry over.";

/// Who may notice an output that was exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Receiver {
    /// Everything behind it.
    #[default]
    All,
    /// The output alone: all other heads keep theirs.
    Output,
    /// One head.
    Head(KindHead),
}

/// What is measured, and how.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The heads.
    pub heads: Vec<KindHead>,
    /// Whether they are taken away at once, in place of one by one.
    pub together: bool,
    /// What is done to each.
    pub way: Way,
    /// The number that is measured.
    pub measured: Measured<'a>,
    /// Texts over whose rows [`Removal::Mean`] takes the mean; those that are measured when `None`.
    pub mean_over: Option<&'a [Input]>,
    /// The text from whose run [`Way::Patch`] takes outputs.
    pub other: Option<&'a Input>,
    /// Who may notice them.
    pub receiver: Receiver,
    /// The weights that a head gets with [`Way::Given`], no row above 1; keys that a query does not see keep 0. Shape `[queries, keys]`.
    pub given: Option<&'a Array>,
}

/// A head, or heads that were taken away together, and what came of it.
#[derive(Debug, Clone)]
pub struct Effect {
    /// One head; several that were taken away together.
    pub heads: Vec<KindHead>,
    /// The mean over the texts.
    pub effect: f64,
    /// What part of the difference of two runs that is, with `patch`.
    pub share: Option<f64>,
    /// How meaningful the head's map looks: the mean over rows of the largest weight. Of several heads none.
    pub mean_weight: Option<f64>,
    /// With `gradient`, the effect divided by the root of the sum of squares of those of its layer's heads that are named.
    pub by_layer: Option<f64>,
}

/// Everything that was measured.
#[derive(Debug, Clone)]
pub struct Effects {
    /// The model's name.
    pub model: String,
    /// What was done to each head.
    pub way: Way,
    /// The metric's name.
    pub metric: &'static str,
    /// What it counts in.
    pub unit: &'static str,
    /// What is measured, in words.
    pub measures: String,
    /// What is done, in words.
    pub does: String,
    /// The number before anything is changed, its mean over the texts.
    pub before: f64,
    /// In the order of the model.
    pub effects: Vec<Effect>,
    /// With `direct` of all heads, the shares of all that is none, in the order of a pass: together they sum to the logit.
    pub others: Vec<(Component, f64)>,
    /// The model's weights, as a recording's provenance names them; empty where they have no name.
    pub revision: String,
    /// The text that was measured, as [`text_digest`] names it; `None` of means over several.
    pub text: Option<String>,
    /// How many texts.
    pub n_texts: usize,
    /// How many tokens they have together.
    pub n_tokens: usize,
    /// What a reader must know besides.
    pub notes: Vec<String>,
}

/// Measures what is asked of some texts. `watch` is told how many changed runs are done.
///
/// # Errors
/// As [`Baseline::of`] and [`Measured::metric`]; when a way is not defined for the metric, the texts or the heads, and [`Error::Stopped`]
/// when `watch` says so.
pub fn effects(
    model: &Model,
    inputs: &[Input],
    question: &Question<'_>,
    watch: &mut Watch<'_>,
) -> Result<Effects, Error> {
    question.check(inputs)?;
    let sets: Vec<Vec<KindHead>> = match question.together {
        true => vec![question.heads.clone()],
        false => question.heads.iter().map(|head| vec![*head]).collect(),
    };
    let means = means(question, model, inputs)?;
    let mut found = Effects::begun(model, inputs, question, &sets);
    found.does = in_words(question, means.as_ref().map(|(n, _)| *n));
    let mut sums = DirectSums::default();
    for (place, input) in inputs.iter().enumerate() {
        let means = means.as_ref().map(|(_, means)| means);
        let one = OneText { question, model, n_texts: inputs.len(), sets: &sets, means };
        one.measure(input, &mut found, &mut sums, &mut |n| watch(place * sets.len() + n))?;
    }
    found.average();
    if question.way == Way::Direct {
        let n = inputs.len() as f64;
        let own = match model.transformer.architecture.readout {
            Readout::Tokens { softcap: Some(_), .. } => "the model's own number before its soft cap",
            _ => "the model's own number",
        };
        found.notes.push(sums.note(n, own));
        if question.heads.len() == model.heads().len() {
            found.others = sums.others.into_iter().map(|(component, share)| (component, share / n)).collect();
        }
    }
    Ok(found)
}

impl Effects {
    /// Nothing of what is asked is measured yet.
    fn begun(model: &Model, inputs: &[Input], question: &Question<'_>, sets: &[Vec<KindHead>]) -> Effects {
        let effect = |heads: &Vec<KindHead>| Effect {
            heads: heads.clone(),
            effect: 0.0,
            share: None,
            mean_weight: None,
            by_layer: None,
        };
        Effects {
            model: model.name().to_owned(),
            way: question.way,
            metric: "",
            unit: "",
            measures: String::new(),
            does: String::new(),
            before: 0.0,
            effects: sets.iter().map(effect).collect(),
            others: Vec::new(),
            revision: model.revision().to_owned(),
            text: match inputs {
                [input] => Some(text_digest(&input.source, &input.target)),
                _ => None,
            },
            n_texts: inputs.len(),
            n_tokens: inputs.iter().map(|input| input.source.len() + input.target.len()).sum(),
            notes: Vec::new(),
        }
    }

    /// Makes means of what was summed over the texts.
    fn average(&mut self) {
        let n = self.n_texts as f64;
        self.before /= n;
        for effect in &mut self.effects {
            effect.effect /= n;
            effect.mean_weight = effect.mean_weight.map(|sum| sum / n);
        }
        if self.way == Way::Patch && self.effects.iter().all(|effect| effect.share.is_none() && effect.effect == 0.0) {
            self.notes.push(SAME_RUNS.to_owned());
        }
        if self.way == Way::Gradient {
            let heads = self.effects.iter().flat_map(|effect| effect.heads.iter().copied()).collect();
            let slopes = vec![self.effects.iter().map(|effect| effect.effect).collect()];
            let by_layer = Importance { heads, slopes }.by_layer();
            self.effects.iter_mut().zip(by_layer).for_each(|(effect, by_layer)| effect.by_layer = Some(by_layer));
        }
    }

    /// The effects, the largest first, whatever their sign.
    pub fn ranked(&self) -> Vec<&Effect> {
        let mut ranked: Vec<&Effect> = self.effects.iter().collect();
        ranked.sort_by(|a, b| b.effect.abs().total_cmp(&a.effect.abs()));
        ranked
    }
}

impl Question<'_> {
    /// Refuses what cannot be asked of so many texts.
    fn check(&self, inputs: &[Input]) -> Result<(), Error> {
        if inputs.is_empty() {
            return Err(Error::Input("there is no text to measure".to_owned()));
        }
        if self.heads.is_empty() {
            return Err(Error::Plan(match self.receiver {
                Receiver::Head(to) => format!("no head comes before {to}, so that none has a way to it"),
                _ => "there is no head to measure".to_owned(),
            }));
        }
        if self.together && self.way == Way::Gradient {
            return Err(Error::Plan(
                "slopes of heads have no sum that would be an effect: one head is taken at a time, not heads together"
                    .to_owned(),
            ));
        }
        if self.way == Way::Given && (inputs.len(), self.heads.len(), self.given.is_some()) != (1, 1, true) {
            return Err(Error::Plan("weights are given to one head on one text".to_owned()));
        }
        if self.way != Way::Patch {
            return Ok(());
        }
        if inputs.len() != 1 {
            return Err(Error::Plan(format!("patching is about one text, and there are {}", inputs.len())));
        }
        if self.together {
            return Err(Error::Plan("patching exchanges one head at a time, not heads together".to_owned()));
        }
        match self.other {
            Some(_) => Ok(()),
            None => Err(Error::Plan("patching needs a second text, from whose run outputs are taken".to_owned())),
        }
    }
}

/// The run on another text, which an encoder-decoder reads with the same target.
///
/// # Errors
/// As [`Baseline::of`].
pub fn other_run<'m>(baseline: &Baseline<'m>, other: &Input) -> Result<Baseline<'m>, Error> {
    let model = baseline.model();
    let mut other = other.clone();
    if model.has(Side::Source) && model.has(Side::Target) {
        other.target = baseline.input.target.clone();
    }
    Baseline::of(model, &other)
}

/// One text, and what is done with it.
struct OneText<'a> {
    question: &'a Question<'a>,
    model: &'a Model,
    n_texts: usize,
    sets: &'a [Vec<KindHead>],
    means: Option<&'a HeadMeans>,
}

/// What the parts of a logit sum to, over texts.
#[derive(Debug, Default)]
struct DirectSums {
    of_heads: f64,
    of_all: f64,
    logit: f64,
    /// All that is no head.
    others: Vec<(Component, f64)>,
}

impl DirectSums {
    /// The means over `n` texts, in words; `own` is what the model's number is called.
    fn note(&self, n: f64, own: &str) -> String {
        format!(
            "All components (heads {:+.4}, embedding, feed-forwards and biases {:+.4}) sum to {:.4}; {own} is {:.4}.",
            self.of_heads / n,
            (self.of_all - self.of_heads) / n,
            self.of_all / n,
            self.logit / n
        )
    }
}

impl OneText<'_> {
    /// Adds what is measured on one text.
    fn measure(
        &self,
        input: &Input,
        found: &mut Effects,
        sums: &mut DirectSums,
        watch: &mut Watch<'_>,
    ) -> Result<(), Error> {
        let baseline = Baseline::of(self.model, input)?;
        let metric = self.metric(&baseline)?;
        found.metric = metric.name();
        found.unit = metric.unit();
        found.measures = self.in_words(&metric, input);
        found.before += baseline.value(&metric)?;
        let effects: Vec<(f64, Option<f64>)> = match self.question.way {
            Way::KnockOut(method) => {
                let effects = baseline.effects_together(self.sets, method, &metric, self.means, watch)?;
                effects.into_iter().map(|effect| (effect, None)).collect()
            }
            Way::Patch => self.patched(&baseline, &metric, watch)?,
            Way::Given => self.reweighed(&baseline, &metric, watch)?,
            Way::Direct => self.direct(&baseline, &metric, sums)?,
            Way::Gradient => self.slopes(input, &metric)?,
        };
        for (own, (effect, share)) in found.effects.iter_mut().zip(effects) {
            own.effect += effect;
            own.share = share;
            if let [head] = own.heads[..] {
                own.mean_weight = Some(own.mean_weight.unwrap_or(0.0) + baseline.mean_weight(head)?);
            }
        }
        Ok(())
    }

    /// What is measured; of the direct way a logit.
    fn metric(&self, baseline: &Baseline<'_>) -> Result<Metric, Error> {
        let asked = self.question.measured;
        let is_direct = self.question.way == Way::Direct;
        let metric = match is_direct && asked.metric.is_none() {
            true => self.plain_score(baseline)?,
            // the divergences from the unchanged output have no slope there
            false if self.question.way == Way::Gradient && asked.metric.is_none() => {
                let has_loss = Metric::Loss.rows(&baseline.unchanged).is_ok();
                let is_named = asked.predicted != Predicted::default();
                if has_loss && !is_named { Metric::Loss } else { self.plain_score(baseline)? }
            }
            false => asked.metric(self.model, &baseline.input, &baseline.unchanged)?,
        };
        if is_direct && !matches!(metric, Metric::Score(Score { form: Form::Logit, .. })) {
            return Err(Error::Plan(format!(
                "direct attribution shares out a logit, and no {}: leave the metric out, or ask for logit or logit-diff",
                metric.name()
            )));
        }
        if self.n_texts > 1 && matches!(metric, Metric::Score(_)) && asked.predicted.target.is_none() {
            return Err(Error::Plan(format!(
                "the {} of {} needs a target: each has a likeliest token of its own",
                metric.name(),
                counted(self.n_texts, "text")
            )));
        }
        Ok(metric)
    }

    /// The logit that is meant where no metric is named.
    fn plain_score(&self, baseline: &Baseline<'_>) -> Result<Metric, Error> {
        let predicted = self.question.measured.predicted;
        Ok(Metric::Score(predicted.score(self.model, &baseline.input, &baseline.unchanged.logits)?))
    }

    /// What is measured, in words; of several texts nothing that holds of one of them alone.
    fn in_words(&self, metric: &Metric, input: &Input) -> String {
        if self.n_texts == 1 {
            return self.model.metric_in_words(metric, input);
        }
        if let Some(words) = self.model.distance_in_words(metric, "a text's positions") {
            return words;
        }
        match metric {
            Metric::Score(score) => {
                let place = match (score.position, self.question.measured.predicted.position) {
                    (None, _) => String::new(),
                    (_, Some(position)) if self.model.has(Side::Target) => format!(" after position {position}"),
                    (_, Some(position)) => format!(" at position {position}"),
                    _ if self.model.has(Side::Target) => " after each text's last position".to_owned(),
                    _ => " at each text's masked position".to_owned(),
                };
                format!("{}{place}", self.model.predicted_in_words(score))
            }
            _ => "mean loss of the texts' tokens, in nats".to_owned(),
        }
    }

    fn patched(
        &self,
        baseline: &Baseline<'_>,
        metric: &Metric,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<(f64, Option<f64>)>, Error> {
        let Some(other) = self.question.other else { return Ok(Vec::new()) };
        let other = other_run(baseline, other)?;
        let heads = self.sets.concat();
        let patched = match self.question.receiver {
            Receiver::All => {
                let parts: Vec<Part> = heads.iter().map(|head| Part::Head(*head)).collect();
                baseline.patched(&other, &parts, metric, watch)?
            }
            Receiver::Output => baseline.path_patched(&other, &heads, None, metric, watch)?,
            Receiver::Head(receiver) => baseline.path_patched(&other, &heads, Some(receiver), metric, watch)?,
        };
        Ok(patched.into_iter().map(|patched| (patched.effect, patched.share)).collect())
    }

    /// The effect of the weights that are given in place of a head's own.
    fn reweighed(
        &self,
        baseline: &Baseline<'_>,
        metric: &Metric,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<(f64, Option<f64>)>, Error> {
        let (Some(given), [head]) = (self.question.given, &self.question.heads[..]) else { return Ok(Vec::new()) };
        let map = baseline.map_of(*head)?;
        let shape = [map.n_queries(), map.n_keys()];
        if given.shape != shape {
            return Err(Error::Input(format!(
                "weights of shape {:?} are given, and {head} has {} queries and {} keys on this text",
                given.shape, shape[0], shape[1]
            )));
        }
        let weights = Array { shape: [[1, 1], shape].concat(), values: given.values.clone() };
        let edit = Edit::Weights { heads: head.heads(), to: NewWeights::Given(weights) };
        let after = baseline.values(&[*metric], 1, &|_| vec![edit.clone()], watch)?;
        let before = baseline.value(metric)?;
        Ok(after.iter().flatten().map(|after| (after - before, None)).collect())
    }

    /// The sizes of the slopes with respect to a factor on each head's output.
    fn slopes(&self, input: &Input, metric: &Metric) -> Result<Vec<(f64, Option<f64>)>, Error> {
        let found = self.model.head_importance(std::slice::from_ref(input), &|_, _| Ok(*metric))?;
        let sizes: BTreeMap<KindHead, f64> = found.heads.iter().copied().zip(found.means()).collect();
        Ok(self.sets.iter().map(|set| (set.iter().filter_map(|head| sizes.get(head)).sum(), None)).collect())
    }

    fn direct(
        &self,
        baseline: &Baseline<'_>,
        metric: &Metric,
        sums: &mut DirectSums,
    ) -> Result<Vec<(f64, Option<f64>)>, Error> {
        let Metric::Score(score) = metric else { return Ok(Vec::new()) };
        let direct = baseline.direct(score)?;
        sums.of_heads += self.model.heads().into_iter().filter_map(|head| direct.of(head)).sum::<f64>();
        sums.of_all += direct.sum();
        sums.logit += direct.logit;
        for (component, share) in direct.parts.iter().filter(|(component, _)| !matches!(component, Component::Head(_)))
        {
            match sums.others.iter_mut().find(|(known, _)| known == component) {
                Some((_, sum)) => *sum += share,
                None => sums.others.push((*component, *share)),
            }
        }
        let share = |set: &Vec<KindHead>| (set.iter().filter_map(|head| direct.of(*head)).sum(), None);
        Ok(self.sets.iter().map(share).collect())
    }
}

/// The mean outputs of heads over several texts, and over how many; `None` for the text's own rows.
fn means(question: &Question<'_>, model: &Model, inputs: &[Input]) -> Result<Option<(usize, HeadMeans)>, Error> {
    let texts = match question.mean_over {
        _ if question.way != Way::KnockOut(Removal::Mean) => return Ok(None),
        Some(texts) => texts,
        None if inputs.len() > 1 => inputs,
        None => return Ok(None),
    };
    let options = RunOptions { pass: keeping_head_outputs(), ..RunOptions::default() };
    let mut means = HeadMeans::default();
    for input in texts {
        means.add(&model.run(std::slice::from_ref(input), &options)?)?;
    }
    Ok(Some((texts.len(), means)))
}

/// What is done to each head, in words.
fn in_words(question: &Question<'_>, n_means: Option<usize>) -> String {
    match question.way {
        Way::KnockOut(Removal::Zero) => "its output is set to 0".to_owned(),
        Way::KnockOut(Removal::Mean) => match (n_means, question.mean_over) {
            (Some(n), Some(_)) => {
                format!("its output becomes its mean over all rows of {} of a set of their own", counted(n, "text"))
            }
            (Some(n), None) => format!("its output becomes its mean over all rows of the {}", counted(n, "text")),
            (None, _) => "its output becomes its mean over the text's rows".to_owned(),
        },
        Way::KnockOut(Removal::Uniform) => "its weights become the same for all visible keys".to_owned(),
        Way::KnockOut(Removal::Permute { seed }) => {
            format!("each row of its weights is permuted among the visible keys (seed {seed})")
        }
        Way::KnockOut(Removal::PatternPreserving) => {
            "its output is set to 0, and all later layers keep their weights".to_owned()
        }
        Way::Patch => {
            let by_way = match question.receiver {
                Receiver::All => String::new(),
                Receiver::Output => "; only output may notice, all other heads keep their output".to_owned(),
                Receiver::Head(to) => format!("; only {to} may notice, all other heads keep their output"),
            };
            format!("its output becomes that of the run on the other text{by_way}")
        }
        Way::Given => "its weights become those that are given".to_owned(),
        Way::Direct => "what it writes into the stream for the target's logit, read through the final norm".to_owned(),
        Way::Gradient => "a factor on its output, which is 1, becomes a little less or more".to_owned(),
    }
}
