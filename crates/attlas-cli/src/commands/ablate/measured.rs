//! The heads of a model, measured on one text or on several.

use std::collections::BTreeMap;

use attlas_model::explain::importance::Importance;
use attlas_model::explain::knock_out::{Baseline, KindHead, Removal, keeping_head_outputs};
use attlas_model::explain::patch::Part;
use attlas_model::explain::score::{Form, Metric, Score};
use attlas_model::{HeadMeans, Input, Model, Next, RunOptions, Side};

use super::AblateArguments;
use crate::failure::Failure;
use crate::inputs::{input_of, metric_in_words, read_lines, read_text};
use crate::progress::Progress;
use crate::table_file::Table;
use crate::words::counted;
use attlas_survey::table::Cells;

/// What is done to each head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is taken away.
    KnockOut(Removal),
    /// Its output is exchanged for that of a run on another text.
    Patch,
    /// Nothing: what it writes for the target is read.
    Direct,
    /// Nothing: how much the number depends on a factor on its output is read from the gradient.
    Gradient,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Way::KnockOut(method) => method.name(),
            Way::Patch => "patch",
            Way::Direct => "direct",
            Way::Gradient => "gradient",
        }
    }
}

/// A head, or heads that were taken away together, and what came of it.
#[derive(Debug, Clone)]
pub struct Effect {
    /// One head; several with `--together`.
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
#[derive(Debug)]
pub struct Found {
    pub model: String,
    pub way: Way,
    pub metric: &'static str,
    pub unit: &'static str,
    /// What is measured, in words.
    pub measures: String,
    /// What is done, in words.
    pub does: String,
    /// The number before anything is changed, its mean over the texts.
    pub before: f64,
    /// In the order of the model.
    pub effects: Vec<Effect>,
    pub n_texts: usize,
    pub n_tokens: usize,
    /// Whether texts were left out.
    pub skipped: bool,
    /// What a reader must know besides.
    pub notes: Vec<String>,
}

/// Measures what the command line names.
pub fn measured(arguments: &AblateArguments, model: &Model, way: Way) -> Result<Found, Failure> {
    let mut heads = arguments.heads.of(model)?;
    let receiver = receiver(arguments, model)?;
    if let (Some(Receiver::Head(to)), true) = (receiver, arguments.heads.heads.is_empty()) {
        heads.retain(|head| head.is_before(to)); // no way leads back from the others
        if heads.is_empty() {
            return Err(Failure::Usage(format!("no head comes before --receiver {to}: it is of the first layer")));
        }
    }
    let sets: Vec<Vec<KindHead>> = match arguments.together {
        true => vec![heads],
        false => heads.into_iter().map(|head| vec![head]).collect(),
    };
    let (inputs, skipped) = arguments.subject.inputs(model)?;
    if way == Way::Patch && inputs.len() != 1 {
        return Err(Failure::Usage(format!("--method patch is about one text, and there are {}", inputs.len())));
    }
    let means = means(arguments, model, way, &inputs)?;
    let mut found = Found {
        model: model.name().to_owned(),
        way,
        metric: "",
        unit: "",
        measures: String::new(),
        does: in_words(arguments, way, means.as_ref().map(|(n, _)| *n)),
        before: 0.0,
        effects: sets
            .iter()
            .map(|set| Effect { heads: set.clone(), effect: 0.0, share: None, mean_weight: None, by_layer: None })
            .collect(),
        n_texts: inputs.len(),
        n_tokens: inputs.iter().map(|input| input.source.len() + input.target.len()).sum(),
        skipped,
        notes: Vec::new(),
    };
    let mut sums = DirectSums::default();
    let mut progress = Progress::new("changed run", sets.len() * inputs.len());
    for input in &inputs {
        let means = means.as_ref().map(|(_, means)| means);
        let one = OneText { arguments, model, way, receiver, n_texts: inputs.len(), sets: &sets, means };
        one.measure(input, &mut found, &mut sums, &mut progress)?;
    }
    let n = inputs.len() as f64;
    found.before /= n;
    if way == Way::Direct {
        found.notes.push(sums.note(n));
    }
    for effect in &mut found.effects {
        effect.effect /= n;
        effect.mean_weight = effect.mean_weight.map(|sum| sum / n);
    }
    if way == Way::Gradient {
        let heads = found.effects.iter().flat_map(|effect| effect.heads.iter().copied()).collect();
        let slopes = vec![found.effects.iter().map(|effect| effect.effect).collect()];
        let by_layer = Importance { heads, slopes }.by_layer();
        found.effects.iter_mut().zip(by_layer).for_each(|(effect, by_layer)| effect.by_layer = Some(by_layer));
    }
    Ok(found)
}

/// What alone may notice an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receiver {
    /// The output, by the direct way.
    Output,
    /// A head.
    Head(KindHead),
}

/// The receiver that the command line names.
fn receiver(arguments: &AblateArguments, model: &Model) -> Result<Option<Receiver>, Failure> {
    let Some(name) = arguments.receiver.as_deref() else { return Ok(None) };
    if name == "output" {
        return Ok(Some(Receiver::Output));
    }
    Ok(Some(Receiver::Head(arguments.heads.one(model, name, "--receiver")?)))
}

/// The run on the text of `--patch-from`, which an encoder-decoder reads with the same target.
pub fn other_run<'m>(arguments: &AblateArguments, model: &'m Model, input: &Input) -> Result<Baseline<'m>, Failure> {
    let raw = arguments.patch_from.as_deref().unwrap_or_default();
    let text = read_text(raw, "--patch-from")?;
    let mut other = input_of(model, &text, None)?;
    if model.has(Side::Source) && model.has(Side::Target) {
        other.target = input.target.clone();
    }
    Ok(Baseline::of(model, &other)?)
}

/// One text, and what is done with it.
struct OneText<'a> {
    arguments: &'a AblateArguments,
    model: &'a Model,
    way: Way,
    receiver: Option<Receiver>,
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
}

impl DirectSums {
    /// The means over `n` texts, in words.
    fn note(&self, n: f64) -> String {
        format!(
            "all components (heads {:+.4}, embedding, feed-forwards and biases {:+.4}) sum to {:.4}; the model's own number is {:.4}",
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
        found: &mut Found,
        sums: &mut DirectSums,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let baseline = Baseline::of(self.model, input)?;
        let metric = self.metric(&baseline)?;
        found.metric = metric.name();
        found.unit = metric.unit();
        found.measures = self.in_words(&metric, input);
        found.before += baseline.value(&metric)?;
        let mut watch = progress.watch();
        let effects: Vec<(f64, Option<f64>)> = match self.way {
            Way::KnockOut(method) => {
                let effects = baseline.effects_together(self.sets, method, &metric, self.means, &mut watch)?;
                effects.into_iter().map(|effect| (effect, None)).collect()
            }
            Way::Patch => self.patched(&baseline, &metric, &mut watch)?,
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
    fn metric(&self, baseline: &Baseline<'_>) -> Result<Metric, Failure> {
        let asked = &self.arguments.score;
        let logits = &baseline.unchanged.logits;
        let metric = match self.way {
            Way::Direct if asked.metric.is_none() => Metric::Score(asked.score(self.model, &baseline.input, logits)?),
            // the divergences from the unchanged output have no slope there
            Way::Gradient if asked.metric.is_none() => match Metric::Loss.rows(&baseline.unchanged) {
                Ok(_) if asked.target.is_none() && asked.foil.is_none() && asked.position.is_none() => Metric::Loss,
                _ => Metric::Score(asked.score(self.model, &baseline.input, logits)?),
            },
            _ => asked.metric(self.model, &baseline.input, &baseline.unchanged)?,
        };
        if self.way == Way::Direct && !matches!(metric, Metric::Score(Score { form: Form::Logit, .. })) {
            return Err(Failure::Usage(format!(
                "--method direct shares out a logit, and no {}: leave --metric out, or give logit or logit-diff",
                metric.name()
            )));
        }
        if self.n_texts > 1 && matches!(metric, Metric::Score(_)) && asked.target.is_none() {
            return Err(Failure::Usage(format!(
                "the {} of {} needs --target: each has a likeliest token of its own",
                metric.name(),
                counted(self.n_texts, "text")
            )));
        }
        Ok(metric)
    }

    /// What is measured, in words; of several texts nothing that holds of one of them alone.
    fn in_words(&self, metric: &Metric, input: &Input) -> String {
        if self.n_texts == 1 {
            return metric_in_words(metric, self.model, input);
        }
        match metric {
            Metric::Loss => "mean loss of the texts' tokens, in nats".to_owned(),
            Metric::KullbackLeibler => {
                "Kullback–Leibler divergence from the unchanged output, mean over a text's positions, in nats"
                    .to_owned()
            }
            Metric::TotalVariation => {
                "total variation from the unchanged output, mean over a text's positions".to_owned()
            }
            Metric::JensenShannon => {
                "Jensen–Shannon divergence from the unchanged output, mean over a text's positions, in nats".to_owned()
            }
            Metric::Score(score) => {
                let name = |id: u32| self.model.target_text(score.position, id);
                let foil = score.foil.map_or_else(String::new, |foil| format!(" less that of \"{}\"", name(foil)));
                let form = score.form.name().replace('_', "-");
                let place = match (score.position, self.arguments.score.position) {
                    (None, _) => String::new(),
                    (_, Some(position)) => format!(" at position {position}"),
                    _ if self.model.has(Side::Target) => " after each text's last position".to_owned(),
                    _ => " at each text's masked position".to_owned(),
                };
                format!("{form} of \"{}\"{foil}{place}", name(score.target))
            }
        }
    }

    fn patched(
        &self,
        baseline: &Baseline<'_>,
        metric: &Metric,
        watch: &mut dyn FnMut(usize) -> Next,
    ) -> Result<Vec<(f64, Option<f64>)>, Failure> {
        let other = other_run(self.arguments, self.model, &baseline.input)?;
        let heads = self.sets.concat();
        let patched = match self.receiver {
            None => {
                let parts: Vec<Part> = heads.iter().map(|head| Part::Head(*head)).collect();
                baseline.patched(&other, &parts, metric, watch)?
            }
            Some(Receiver::Output) => baseline.path_patched(&other, &heads, None, metric, watch)?,
            Some(Receiver::Head(to)) => baseline.path_patched(&other, &heads, Some(to), metric, watch)?,
        };
        Ok(patched.into_iter().map(|patched| (patched.effect, patched.share)).collect())
    }

    /// The sizes of the slopes with respect to a factor on each head's output.
    fn slopes(&self, input: &Input, metric: &Metric) -> Result<Vec<(f64, Option<f64>)>, Failure> {
        let found = self.model.head_importance(std::slice::from_ref(input), &|_, _| Ok(*metric))?;
        let sizes: BTreeMap<KindHead, f64> = found.heads.iter().copied().zip(found.means()).collect();
        Ok(self.sets.iter().map(|set| (set.iter().filter_map(|head| sizes.get(head)).sum(), None)).collect())
    }

    fn direct(
        &self,
        baseline: &Baseline<'_>,
        metric: &Metric,
        sums: &mut DirectSums,
    ) -> Result<Vec<(f64, Option<f64>)>, Failure> {
        let Metric::Score(score) = metric else { return Ok(Vec::new()) };
        let direct = baseline.direct(score)?;
        sums.of_heads += self.model.heads().into_iter().filter_map(|head| direct.of(head)).sum::<f64>();
        sums.of_all += direct.sum();
        sums.logit += direct.logit;
        let share = |set: &Vec<KindHead>| (set.iter().filter_map(|head| direct.of(*head)).sum(), None);
        Ok(self.sets.iter().map(share).collect())
    }
}

/// The mean outputs of heads over several texts, and over how many; `None` for the text's own rows.
fn means(
    arguments: &AblateArguments,
    model: &Model,
    way: Way,
    inputs: &[Input],
) -> Result<Option<(usize, HeadMeans)>, Failure> {
    if way != Way::KnockOut(Removal::Mean) {
        return Ok(None);
    }
    let own;
    let texts = match &arguments.mean_over {
        Some(path) => {
            let (lines, _) = read_lines(path)?;
            own = lines.iter().map(|line| input_of(model, line, None)).collect::<Result<Vec<_>, _>>()?;
            &own[..]
        }
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
fn in_words(arguments: &AblateArguments, way: Way, n_means: Option<usize>) -> String {
    match way {
        Way::KnockOut(Removal::Zero) => "its output is set to 0".to_owned(),
        Way::KnockOut(Removal::Mean) => match (n_means, &arguments.mean_over) {
            (Some(n), Some(path)) => {
                format!("its output becomes its mean over {} of {}", counted(n, "text"), path.display())
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
            let by_way = match arguments.receiver.as_deref() {
                None => String::new(),
                Some(to) => format!("; only {to} may notice, all other heads keep their output"),
            };
            format!("its output becomes that of the run on the text of --patch-from{by_way}")
        }
        Way::Direct => "what it writes into the stream for the target's logit, read through the final norm".to_owned(),
        Way::Gradient => "a factor on its output, which is 1, becomes a little less or more".to_owned(),
    }
}

impl Found {
    /// The table: a row for each head, or one for all together.
    pub fn table(&self) -> Table {
        let one = |effect: &Effect| match effect.heads[..] {
            [head] => Some(head),
            _ => None,
        };
        let text = |text: &str| Cells::Text(vec![Some(text.to_owned()); self.effects.len()]);
        let heads = self.effects.iter().map(one);
        let mut columns = vec![
            ("kind", Cells::Text(heads.clone().map(|head| head.map(|head| head.kind.name().to_owned())).collect())),
            ("layer", Cells::Whole(heads.clone().map(|head| head.map(|head| head.head.layer as i64)).collect())),
            ("head", Cells::Whole(heads.map(|head| head.map(|head| head.head.head as i64)).collect())),
            ("method", text(self.way.name())),
            ("metric", text(self.metric)),
            ("effect", Cells::Number(self.effects.iter().map(|effect| Some(effect.effect)).collect())),
            ("mean_weight", Cells::Number(self.effects.iter().map(|effect| effect.mean_weight).collect())),
        ];
        if self.way == Way::Gradient {
            columns.push(("by_layer", Cells::Number(self.effects.iter().map(|effect| effect.by_layer).collect())));
        }
        if self.way == Way::Patch {
            columns.push(("share", Cells::Number(self.effects.iter().map(|effect| effect.share).collect())));
        }
        if self.effects.iter().any(|effect| effect.heads.len() != 1) {
            let names =
                |effect: &Effect| Some(effect.heads.iter().map(KindHead::to_string).collect::<Vec<_>>().join(" "));
            columns.push(("heads", Cells::Text(self.effects.iter().map(names).collect())));
        }
        Table { columns, notes: Vec::new() }
    }

    /// The effects, the largest first, whatever their sign.
    pub fn ranked(&self) -> Vec<&Effect> {
        let mut ranked: Vec<&Effect> = self.effects.iter().collect();
        ranked.sort_by(|a, b| b.effect.abs().total_cmp(&a.effect.abs()));
        ranked
    }
}
