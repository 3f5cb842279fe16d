//! A sentence is translated by the embedded model, and one of its heads is drawn.
//!
//!     cargo run -p attlas-model --example draw_a_map -- "She gave him a red apple."
#![allow(clippy::print_stdout)]

use attlas::{Head, Kind, View};
use attlas_model::{Model, RunOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = std::env::args().nth(1).unwrap_or_else(|| "The cat sat on the mat.".to_owned());

    // 1. run: every head is recorded while the model translates
    let model = Model::embedded()?; // or Model::load(folder)
    let input = model.input(&text, None)?;
    let decoding = model.generating(None, 64);
    let run = model.run(&[input], &RunOptions { decoding, ..RunOptions::default() })?;
    println!("{}", run.generated[0].text);

    // 2. look: cross-attention, layer 2, head 4
    let view = View::of(&run.recording, Kind::Cross, 2, Head::One(4))?;
    let path = std::env::temp_dir().join("map.svg");
    std::fs::write(&path, view.map().to_svg())?;
    println!("{}", path.display());
    Ok(())
}
