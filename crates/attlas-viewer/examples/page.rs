//! The page of a recording, written by a program: `cargo run --release -p attlas-viewer --example page -- run.safetensors page.html`.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use attlas::Recording;
use attlas_viewer::{PageOptions, page};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().collect();
    let [_, recording, output] = &words[..] else { return Err("a recording and the page's name are needed".into()) };
    let recording = Recording::open(Path::new(recording))?;
    let start = Instant::now();
    // without the checks, which a program that knows its recording has made
    let html = page(&recording, &PageOptions { checks: Some(Vec::new()), ..PageOptions::default() })?;
    let (milliseconds, bytes) = (start.elapsed().as_millis(), html.len());
    std::fs::write(output, html)?;
    Ok(std::io::Write::write_all(&mut std::io::stdout(), format!("{bytes} bytes in {milliseconds} ms\n").as_bytes())?)
}
