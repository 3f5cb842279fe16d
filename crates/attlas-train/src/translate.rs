//! Greedy translation with the network in training: a glimpse of what it can do.

use crate::batch::{Batch, Frame, Pair};
use crate::kernels::dropout::Dropout;
use crate::network::{Network, Tape};

/// The most likely token at each step, until the end token or `max_tokens`. Neither start nor end token is in the result.
///
/// Every step runs the decoder anew: simple, and fast enough for a sentence now and then.
pub fn greedy(network: &Network, source: &[u32], frame: Frame, max_tokens: usize) -> Vec<u32> {
    let mut pair = Pair { source: source.to_vec(), target: Vec::new() };
    let source = Batch::pack([&pair], frame);
    let memory = network.encode(&source, &mut Tape::off(), Dropout::OFF);
    while pair.target.len() < max_tokens {
        let logits = network.last_logits(&Batch::pack([&pair], frame), &memory); // [n_vocab]
        let best = logits.iter().enumerate().fold(0, |best, (id, logit)| if *logit > logits[best] { id } else { best });
        if best as u32 == frame.end {
            break;
        }
        pair.target.push(best as u32);
    }
    pair.target
}
