//! What a score loses when nobody may look at a token, and when heads are taken away: measured by changed runs.

use attlas::Kind;
use attlas::recording::{Edit, Heads, Which};

use super::attribution::Attribution;
use super::knock_out::{Baseline, KindHead, Removal};
use super::method::Method;
use super::read::{Explained, Watch};
use super::score::Metric;
use crate::block::pass::{Array, Next, Progress};
use crate::{Error, Side};

impl Explained<'_> {
    /// What the score loses when a token is hidden from every position but its own, in every head (Geva et al. 2023, §4): NaN of the
    /// explained position of a decoder, at which no other looks, and of the only token of a source.
    pub(super) fn by_hiding(&self, watch: &mut Watch<'_>) -> Result<Attribution, Error> {
        let baseline = Baseline::of(self.model, self.input)?;
        let n = [self.input.source.len(), self.input.target.len()];
        let edits = |token: usize| match token.checked_sub(n[0]) {
            None => self.hiding(Side::Source, token, n),
            Some(token) => self.hiding(Side::Target, token, n),
        };
        let metric = Metric::Score(self.score);
        let value = self.score.value(&baseline.unchanged.logits)?; // refuses what is not there
        let values = baseline.values(&[metric], n[0] + n[1], &edits, &mut |_| self.tell(watch))?;
        let mut losses: Vec<f64> = values.into_iter().flatten().map(|hidden| value - hidden).collect();
        self.unhidden(n).into_iter().for_each(|token| losses[token] = f64::NAN);
        let (source, target) = losses.split_at(n[0]);
        Ok(self.attribution(Method::Hide, value, [source.to_vec(), target.to_vec()]))
    }

    /// The tokens, source before target, that nobody but themselves looks at on the way to the score, or that are all that a row sees: what
    /// it would lose without them is not measured by hiding them, and is not 0.
    fn unhidden(&self, [n_source, n_target]: [usize; 2]) -> Vec<usize> {
        let only_source = (n_source == 1).then_some(0);
        let explained = self.score.position.filter(|position| *position < n_target && self.model.looks_back_alone());
        only_source.into_iter().chain(explained.map(|position| n_source + position)).collect()
    }

    /// The changes that hide one of `n` source or target tokens. A row that sees nothing else keeps it: where it is the only
    /// source token, cross-attention does.
    fn hiding(&self, side: Side, token: usize, [n_source, n_target]: [usize; 2]) -> Vec<Edit<Array>> {
        let architecture = &self.model.transformer.architecture;
        let mut edits = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| (*kind == Kind::Decoder) == (side == Side::Target)) {
            let n_queries = if kind == Kind::Encoder { n_source } else { n_target };
            let queries = match kind {
                Kind::Cross if n_source < 2 => continue,
                Kind::Cross => Which::All,
                // the others do not see it anyway
                Kind::Decoder if self.model.looks_back_alone() => Which::These((token + 1..n_queries).collect()),
                Kind::Decoder | Kind::Encoder => Which::These((0..n_queries).filter(|query| *query != token).collect()),
            };
            if queries == Which::These(Vec::new()) {
                continue;
            }
            for (layer, _) in architecture.attention(kind) {
                let heads = Heads { queries: queries.clone(), ..Heads::all(kind, layer) };
                edits.push(Edit::Edges { heads, keys: Which::These(vec![token]) });
            }
        }
        edits
    }

    /// What the score loses without each head, each dealt out by the head's weights in the explained rows.
    pub(super) fn by_heads(&self, watch: &mut Watch<'_>) -> Result<Attribution, Error> {
        let baseline = Baseline::of(self.model, self.input)?;
        let kinds = self.kinds();
        let heads: Vec<KindHead> = self.model.heads().into_iter().filter(|head| kinds.contains(&head.kind)).collect();
        let metric = Metric::Score(self.score);
        let value = self.score.value(&baseline.unchanged.logits)?; // refuses what is not there
        let effects = baseline.effects(&heads, Removal::Zero, &metric, None, &mut |_| self.tell(watch))?;
        let mut scores = [vec![0.0; self.input.source.len()], vec![0.0; self.input.target.len()]];
        let recording = &baseline.run.recording;
        for (KindHead { kind, head }, effect) in heads.into_iter().zip(effects) {
            let row = self.explained_row(recording, recording.layer(kind, head.layer)?, head.head)?;
            let tokens = &mut scores[usize::from(kind == Kind::Decoder)];
            tokens.iter_mut().zip(row).for_each(|(sum, weight)| *sum -= effect * weight);
        }
        Ok(self.attribution(Method::HeadEffect, value, scores))
    }

    /// Tells that changed runs go on, before the first block of some of them.
    fn tell(&self, watch: &mut Watch<'_>) -> Next {
        let architecture = &self.model.transformer.architecture;
        let stack = if architecture.decoder.is_some() { Kind::Decoder } else { Kind::Encoder };
        let n_layers = architecture.stack_of(stack).map_or(0, |stack| stack.blocks.len());
        watch(Progress::Block { stack, layer: 0, n_layers })
    }
}
