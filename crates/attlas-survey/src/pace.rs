//! How large the batches of a survey are: small at first, so that something is soon saved, then as large as take a second.
//! No sum depends on it.

use std::time::{Duration, Instant};

use attlas_model::Model;

/// Tokens of the first batch.
const FIRST_TOKENS: usize = 128;
/// How long a batch takes that is large enough.
const LONG: Duration = Duration::from_secs(1);

/// The size of the next batch.
pub struct Pace {
    batch_tokens: usize,
    most: usize,
}

impl Pace {
    /// Batches of so many tokens, or such that suit the model.
    pub fn new(said: Option<usize>, model: &Model) -> Pace {
        match said {
            Some(batch_tokens) => Pace { batch_tokens, most: batch_tokens },
            None => Pace::up_to(most_tokens(model)),
        }
    }

    /// Batches that begin small and grow up to so many tokens.
    fn up_to(most: usize) -> Pace {
        Pace { batch_tokens: FIRST_TOKENS.min(most), most }
    }

    /// Tokens of the next batch at most, padding included.
    pub fn batch_tokens(&self) -> usize {
        self.batch_tokens
    }

    /// What `batch` gives. After one that was done soon the next are larger.
    pub fn timed<T>(&mut self, batch: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = batch();
        self.took(began.elapsed());
        done
    }

    fn took(&mut self, time: Duration) {
        if time < LONG / 2 {
            self.batch_tokens = self.batch_tokens.saturating_mul(2).min(self.most);
        }
    }
}

/// Tokens of a batch, padding included, whose queries and keys take a quarter of a gigabyte; 4,096 at most.
fn most_tokens(model: &Model) -> usize {
    const MAX_BYTES: usize = 256 << 20;
    const MAX_TOKENS: usize = 4096;
    let architecture = &model.transformer().architecture;
    let numbers = attlas::Kind::ALL.into_iter().flat_map(|kind| architecture.attention(kind));
    let bytes: usize = numbers.map(|(_, layer)| 4 * (layer.n_heads + layer.n_kv_heads) * layer.d_head).sum();
    (MAX_BYTES / bytes.max(1)).clamp(1, MAX_TOKENS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_grow_until_one_takes_a_while() {
        let mut pace = Pace::up_to(1000);
        let mut sizes = Vec::new();
        for milliseconds in [1, 1, 900, 1, 1] {
            sizes.push(pace.batch_tokens());
            pace.took(Duration::from_millis(milliseconds));
        }
        assert_eq!(sizes, [128, 256, 512, 512, 1000]);
        assert_eq!(Pace::up_to(40).batch_tokens(), 40);
    }
}
