//! Patching: parts of a run replaced by those of a run on another text, and the output measured again.
//!
//! With the other text's part in its place, the output moves from what it is towards what it is on the other text; how far says
//! what of the difference that part carries (Vig et al. 2020; Meng et al. 2022). Path patching moves it along one way alone: from
//! a head to a later one, or to the output, while all other heads stay as they were (Wang et al. 2023).

use attlas::Kind;
use attlas::recording::{Edit, HeadOutput, Heads, Which};
use serde::{Deserialize, Serialize};

use super::knock_out::{Baseline, KindHead, Watch, order};
use super::score::Metric;
use crate::run::resume::Start;
use crate::{Array, Error, Keep, Next, Pass, Site};

/// What is taken from the other run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The output of a head, at all rows.
    Head(KindHead),
    /// The hidden states that enter a layer, one more than the last for what leaves the stack: at one position, or at all.
    Stream {
        /// The encoder's or the decoder's.
        stack: Kind,
        /// The layer.
        layer: usize,
        /// The token, counted from 0; all when `None`.
        position: Option<usize>,
    },
}

/// What patching gave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Patched {
    /// The number with the part of the other run, less the number without.
    pub effect: f64,
    /// That effect as a share of the difference of the two runs: 0 when the part carries nothing of it, 1 when all. It may be
    /// beyond both. `None` where the two runs have the same number.
    pub share: Option<f64>,
}

impl Baseline<'_> {
    /// The effect of each part of the run on another text. Both texts must have as many tokens.
    ///
    /// # Errors
    /// When the texts have not as many tokens, a part is not there, or as [`Baseline::values`].
    pub fn patched(
        &self,
        other: &Baseline<'_>,
        parts: &[Part],
        metric: &Metric,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Patched>, Error> {
        self.check_alike(other)?;
        let of_parts = parts.iter().map(|part| other.taken(*part)).collect::<Result<Vec<_>, _>>()?;
        let after =
            self.values(std::slice::from_ref(metric), parts.len(), &|part| vec![of_parts[part].clone()], watch)?;
        self.as_shares(other, metric, after.into_iter().flatten())
    }

    /// The effect of each of the heads by way of `receiver` alone, or by its direct way to the output for `None`: the head's output
    /// is the other run's, all other heads keep theirs, and what the receiver then gives is put into the unchanged run.
    /// Feed-forwards go along: they are part of the way.
    ///
    /// # Errors
    /// As [`Baseline::patched`], and when a head does not come before the receiver: no way leads back.
    pub fn path_patched(
        &self,
        other: &Baseline<'_>,
        senders: &[KindHead],
        receiver: Option<KindHead>,
        metric: &Metric,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Patched>, Error> {
        self.check_alike(other)?;
        if let Some(receiver) = receiver {
            self.check_head(receiver)?;
            if let Some(late) = senders.iter().find(|sender| !sender.is_before(receiver)) {
                return Err(Error::Plan(format!("{late} does not come before {receiver}: no way leads back to it")));
            }
        }
        let patches: Vec<Edit<Array>> =
            senders.iter().map(|head| other.taken(Part::Head(*head))).collect::<Result<_, _>>()?;
        let frozen = self.frozen(receiver)?;
        let starts: Vec<Option<Start>> = patches.iter().map(|patch| Start::of(std::slice::from_ref(patch))).collect();
        // 1. the head's output is exchanged, the others stay: only the receiver, or the output, notices
        let edits = |place: usize| {
            let own = order(senders[place].kind, senders[place].head.layer);
            let is_later = |edit: &&Edit<Array>| edit.heads().is_some_and(|heads| order(heads.kind, heads.layer) > own);
            [vec![patches[place].clone()], frozen.iter().filter(is_later).cloned().collect()].concat()
        };
        let Some(receiver) = receiver else {
            let after = self.values_from(std::slice::from_ref(metric), &starts, &edits, watch)?;
            return self.as_shares(other, metric, after.into_iter().flatten());
        };
        // 2. what the receiver gives then goes into the unchanged run
        let mut received = Vec::with_capacity(senders.len());
        for (place, start) in starts.iter().enumerate() {
            if watch(place) == Next::Stop {
                return Err(Error::Stopped);
            }
            received.push(self.given_by(receiver, place, *start, &edits)?);
        }
        let put = |place: usize| vec![received[place].clone()];
        let after = self.values(std::slice::from_ref(metric), senders.len(), &put, &mut |_| Next::Continue)?;
        self.as_shares(other, metric, after.into_iter().flatten())
    }

    /// The output of a head in a changed run, as an edit that puts it there.
    fn given_by(
        &self,
        receiver: KindHead,
        variant: usize,
        start: Option<Start>,
        edits: &dyn Fn(usize) -> Vec<Edit<Array>>,
    ) -> Result<Edit<Array>, Error> {
        let KindHead { kind, head } = receiver;
        let keep = Keep { site: Site::HeadOutputs, kind: Some(kind), layers: Some(vec![head.layer]) };
        let keep = Pass { keep: vec![keep], edits: Vec::new() };
        let start = start.unwrap_or(Start { in_decoder: false, layer: 0 });
        let resumed = self.resumed(start, &[variant], edits, keep)?;
        let kept = resumed.kept.iter().find(|kept| (kept.kind, kept.layer) == (kind, head.layer));
        let array = kept.map(|kept| &kept.array).ok_or_else(|| absent(kind, head.layer))?;
        Ok(Edit::HeadOutput { heads: receiver.heads(), to: HeadOutput::Given(one_head(array, head.head)) })
    }

    /// A part of this run, as the change that puts it into another.
    fn taken(&self, part: Part) -> Result<Edit<Array>, Error> {
        match part {
            Part::Head(head) => {
                self.check_head(head)?;
                let (kind, layer) = (head.kind, head.head.layer);
                let array = self.run.kept(Site::HeadOutputs, kind, layer).ok_or_else(|| absent(kind, layer))?;
                Ok(Edit::HeadOutput { heads: head.heads(), to: HeadOutput::Given(one_head(array, head.head.head)) })
            }
            Part::Stream { stack, layer, position } => {
                let array = self.run.kept(Site::Stream, stack, layer).ok_or_else(|| {
                    Error::Plan(format!("there are no hidden states that enter layer {layer} of the {stack}"))
                })?;
                let [_, n, d_model] = array.shape[..] else { return Err(absent(stack, layer)) };
                let (positions, to) = match position {
                    None => (Which::All, array.clone()),
                    Some(position) if position < n => {
                        let values = array.values[position * d_model..][..d_model].to_vec();
                        (Which::These(vec![position]), Array { shape: vec![1, 1, d_model], values })
                    }
                    Some(position) => {
                        return Err(Error::Plan(format!(
                            "there is no position {position}: the {stack} reads {n} tokens, counted from 0"
                        )));
                    }
                };
                Ok(Edit::Stream { stack, layer, positions, items: Which::All, to })
            }
        }
    }

    /// Edits that keep every head's output but the receiver's, layer by layer.
    fn frozen(&self, receiver: Option<KindHead>) -> Result<Vec<Edit<Array>>, Error> {
        let mut edits = Vec::new();
        for kept in self.run.kept.iter().filter(|kept| kept.site == Site::HeadOutputs) {
            let n_heads = kept.array.shape[1];
            let is_receiver = |head: &usize| {
                receiver.is_some_and(|to| (to.kind, to.head.layer, to.head.head) == (kept.kind, kept.layer, *head))
            };
            let heads: Vec<usize> = (0..n_heads).filter(|head| !is_receiver(head)).collect();
            if heads.is_empty() {
                continue;
            }
            let [_, _, n, width] = kept.array.shape[..] else { continue };
            let values = heads.iter().flat_map(|head| &kept.array.values[head * n * width..][..n * width]).copied();
            let array = Array { shape: vec![1, heads.len(), n, width], values: values.collect() };
            let heads = Heads { heads: Which::These(heads), ..Heads::all(kept.kind, kept.layer) };
            edits.push(Edit::HeadOutput { heads, to: HeadOutput::Given(array) });
        }
        Ok(edits)
    }

    fn as_shares(
        &self,
        other: &Baseline<'_>,
        metric: &Metric,
        after: impl Iterator<Item = f64>,
    ) -> Result<Vec<Patched>, Error> {
        let before = self.value(metric)?;
        // what the other run gives, held against this one's output
        let rows = metric.rows(&self.unchanged)?;
        let whole = metric.value(&other.unchanged.at(&rows)?, &self.unchanged)? - before;
        let patched = |after: f64| {
            let effect = after - before;
            Patched { effect, share: (whole != 0.0).then(|| effect / whole) }
        };
        Ok(after.map(patched).collect())
    }

    /// Refuses two runs whose parts do not fit.
    fn check_alike(&self, other: &Baseline<'_>) -> Result<(), Error> {
        let lengths = |baseline: &Baseline<'_>| [baseline.input.source.len(), baseline.input.target.len()];
        let (own, others) = (lengths(self), lengths(other));
        if own == others {
            return Ok(());
        }
        let in_words = |[source, target]: [usize; 2]| match (source, target) {
            (n, 0) | (0, n) => format!("{n} tokens"),
            (source, target) => format!("{source} source and {target} target tokens"),
        };
        Err(Error::Input(format!(
            "the text has {} and the other {}: parts of a run can be exchanged between texts of as many tokens alone",
            in_words(own),
            in_words(others)
        )))
    }
}

/// One head of the outputs of a layer. Shapes `[1, n_heads, n, width]` and `[1, 1, n, width]`.
fn one_head(outputs: &Array, head: usize) -> Array {
    let (n, width) = (outputs.shape[2], outputs.shape[3]);
    Array { shape: vec![1, 1, n, width], values: outputs.values[head * n * width..][..n * width].to_vec() }
}

fn absent(kind: Kind, layer: usize) -> Error {
    Error::Plan(format!("the run kept nothing of {kind} layer {layer}"))
}
