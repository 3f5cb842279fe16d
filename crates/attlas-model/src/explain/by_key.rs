//! What heads write for a target, by the token that they move it from.

use std::collections::BTreeMap;

use attlas::{Kind, Tokens};

use super::asked::Predicted;
use super::knock_out::{Baseline, KindHead};
use super::score::Metric;
use crate::{Error, Model, Side};

/// What a head writes that it moves from one key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyShare {
    /// The head.
    pub head: KindHead,
    /// The key, counted from 0.
    pub key: usize,
    /// Its share in the logit, or in the difference of two.
    pub share: f64,
    /// The weight that the head gives it.
    pub weight: f32,
}

/// What heads write, key by key.
#[derive(Debug, Clone)]
pub struct ByKey {
    /// What is shared out: `logit`, with a foil `logit-diff`.
    pub metric: &'static str,
    /// What it counts in.
    pub unit: &'static str,
    /// What it is, in words.
    pub measures: String,
    /// The number itself.
    pub before: f64,
    /// Tokens of the text, source and target.
    pub n_tokens: usize,
    /// Head by head.
    pub rows: Vec<KeyShare>,
    /// The tokens that heads of a kind look at.
    pub keys: BTreeMap<Kind, Tokens>,
}

/// The heads that write into the stack that gives the logits: an encoder's write for a decoder behind it alone.
pub fn writing_heads(model: &Model) -> Vec<KindHead> {
    let writes = |head: &KindHead| head.kind != Kind::Encoder || !model.has(Side::Target);
    model.heads().into_iter().filter(writes).collect()
}

/// Takes apart what each head writes for a prediction.
///
/// # Errors
/// As [`Predicted::score`] and [`Baseline::direct_by_key`].
pub fn by_key(baseline: &Baseline<'_>, heads: &[KindHead], predicted: Predicted<'_>) -> Result<ByKey, Error> {
    let (model, input) = (baseline.model(), &baseline.input);
    let score = predicted.score(model, input, &baseline.unchanged.logits)?;
    let mut rows = Vec::new();
    for &head in heads {
        let shares = baseline.direct_by_key(&score, head)?;
        let weights = baseline.map_of(head)?.row(score.position.unwrap_or(0));
        let shares = shares.into_iter().zip(weights).enumerate();
        rows.extend(shares.map(|(key, (share, weight))| KeyShare { head, key, share, weight }));
    }
    let keys = heads.iter().map(|head| (head.kind, baseline.keys_of(head.kind).clone())).collect();
    let metric = Metric::Score(score);
    Ok(ByKey {
        metric: metric.name(),
        unit: metric.unit(),
        measures: model.score_in_words(&score, input),
        before: baseline.value(&metric)?,
        n_tokens: input.source.len() + input.target.len(),
        rows,
        keys,
    })
}

impl ByKey {
    /// The token that a share comes from.
    pub fn token(&self, row: &KeyShare) -> &str {
        self.keys.get(&row.head.kind).and_then(|keys| keys.tokens.get(row.key)).map_or("", |token| token.text.as_str())
    }

    /// What the numbers mean, in sentences.
    pub fn notes(&self) -> Vec<String> {
        vec![
            format!(
                "Share in the {}: the weight that the head gives the token, times what the token's value writes, read through the final norm.",
                self.measures
            ),
            "A head's shares sum to what it writes; what it writes for later layers is theirs.".to_owned(),
        ]
    }
}
