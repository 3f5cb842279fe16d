//! What the heads of the embedded model do over several sentences: each is measured by itself, and the sums are merged.
//!
//!     cargo run -p attlas-model --example survey_of_heads
//!
//! Sums are exact and merge in any order to the same bytes, so the sentences might as well be measured on many machines.
#![allow(clippy::print_stdout)]

use attlas::analysis::{measure_all, merge, standouts};
use attlas_model::{Model, RunOptions};

const SENTENCES: [&str; 4] = [
    "The cat sat on the mat.",
    "She gave him a red apple yesterday.",
    "I do not know where he lives.",
    "We went to the beach because the weather was fine.",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = Model::embedded()?;
    let options = RunOptions { decoding: model.generating(None, 64), ..RunOptions::default() };

    // 1. measure each sentence
    let mut measured = Vec::new();
    for sentence in SENTENCES {
        let run = model.run(&[model.input(sentence, None)?], &options)?;
        measured.extend(measure_all(&run.recording)?);
    }

    // 2. merge, and name what stands out from what positions alone would give
    for found in standouts(&merge(measured)) {
        let (low, high) = found.score.interval.unwrap_or_default();
        let baseline =
            found.score.baseline.map_or_else(String::new, |baseline| format!(", positions alone {baseline:.2}"));
        println!(
            "{:>7} {}  {:<20} {:.2} ({low:.2} to {high:.2}{baseline}) over {} {}",
            found.kind.name(),
            found.head,
            found.title(),
            found.score.value,
            found.score.n,
            found.measure.over,
        );
    }
    Ok(())
}
