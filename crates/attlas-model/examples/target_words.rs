//! Makes the file of known words that a translator's folder may carry, of the second column of its training pairs:
//!
//!     cargo run --example target_words -- train.tsv MODEL_DIR/target_words.filter
//!
//! `attlas train` writes it by itself.

#![allow(clippy::print_stdout)]

use attlas_model::KnownWords;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [pairs, output] = &arguments[..] else { return Err("two words were expected: PAIRS.tsv FILE".into()) };
    let text = std::fs::read_to_string(pairs)?;
    let words = KnownWords::of(text.lines().filter_map(|line| line.split('\t').nth(1)));
    std::fs::write(output, words.to_bytes())?;
    println!("{} words in {} bytes", words.len(), words.to_bytes().len());
    Ok(())
}
