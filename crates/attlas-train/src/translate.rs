//! Greedy translation with the network in training: a glimpse of what it can do.

use attlas_model::Transformer;

use crate::Error;
use crate::batch::{Batch, Frame, Pair};

/// The most likely token at each step, until the end token or `max_tokens`. Neither start nor end token is in the result.
///
/// Every step runs the network anew: simple, and fast enough for a sentence now and then.
///
/// # Errors
/// [`Error::Model`] when the sentence does not fit the network.
pub fn greedy(transformer: &Transformer, source: &[u32], frame: Frame, max_tokens: usize) -> Result<Vec<u32>, Error> {
    let mut pair = Pair { source: source.to_vec(), target: Vec::new() };
    while pair.target.len() < max_tokens {
        let batch = Batch::pack([&pair], frame);
        let mut best = 0;
        let mut see = |rows: std::ops::Range<usize>, logits: &mut [f32]| {
            let last = &logits[logits.len() - logits.len() / rows.len()..]; // [n_vocab]
            best = last.iter().enumerate().fold(0, |best, (id, logit)| if *logit > last[best] { id } else { best });
        };
        transformer.run_packed(batch.texts(), &mut see).map_err(|error| Error::Model(error.to_string()))?;
        if best as u32 == frame.end {
            break;
        }
        pair.target.push(best as u32);
    }
    Ok(pair.target)
}
