//! How long figures take and how large they are.
//!
//! `cargo bench -p attlas --bench figures`; a few seconds. Milliseconds are the least of ten runs.

use std::hint::black_box;
use std::time::Instant;

use attlas::figure::{self, Axis, ColorScale, Figure, OverviewRow, Panel, PanelScale, Scale, Scales, Style};

/// Weights like those of a real head: a peak per row over a floor of noise; rows sum to 1. Shape `[n, n]`.
fn weights(n: usize, mut state: u32) -> Vec<f32> {
    let mut weights = Vec::with_capacity(n * n); // [n, n]
    for row in 0..n {
        let score = |column: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (state >> 8) as f32 / 16_777_216.0;
            (3.0 * noise + 4.0 / (1 + row.abs_diff(column)) as f32).exp()
        };
        let raw: Vec<f32> = (0..n).map(score).collect();
        let sum: f32 = raw.iter().sum();
        weights.extend(raw.iter().map(|weight| weight / sum));
    }
    weights
}

fn panel(n: usize, seed: u32) -> Panel {
    let words = ["The", "cat", "sat", "on", "the", "mat", "because", "it", "was", "tired", "."];
    let axis = |name| Axis::labelled(name, words.into_iter().cycle().take(n));
    match Panel::new(format!("L0H{seed}"), weights(n, seed), axis("query"), axis("key")) {
        Ok(panel) => panel,
        Err(error) => unreachable!("{error}"),
    }
}

/// The least time of ten runs in milliseconds, and the result.
fn timed<T>(mut run: impl FnMut() -> T) -> (f64, T) {
    let mut best = f64::INFINITY;
    let mut result = run();
    for _ in 0..10 {
        let start = Instant::now();
        result = black_box(run());
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
    }
    (best, result)
}

#[allow(clippy::print_stdout)]
fn report(name: &str, draw: impl Fn() -> Figure) {
    let (layout_ms, figure) = timed(&draw);
    println!("{name:<28} layout {layout_ms:8.2} ms");
    let files = [
        ("SVG", timed(|| figure.to_svg().into_bytes())),
        ("PDF", timed(|| figure.to_pdf().unwrap_or_default())),
        ("PNG", timed(|| figure.to_png().unwrap_or_default())),
    ];
    for (format, (ms, file)) in files {
        println!("{:<28} {format:<6} {ms:8.2} ms {:>9} bytes", "", file.len());
    }
}

fn main() {
    let style = Style { title: "Benchmark".to_owned(), ..Style::default() };
    let (small, large) = (panel(12, 1), panel(512, 1));
    let map = |panel: &Panel| figure::map(panel, &ColorScale::of([panel], Scale::Linear), &style);
    report("map of 12 tokens", || map(&small));
    report("map of 512 tokens", || map(&large));
    let heads: Vec<Panel> = (0..8).map(|head| panel(12, head)).collect();
    report("grid of 8 heads, 12 tokens", || {
        figure::grid(&heads, &Scales::of(&heads, Scale::Linear, PanelScale::Shared), 4, &style)
    });
    let row = |layer: u32| OverviewRow {
        label: layer.to_string(),
        panels: (0..12).map(|head| panel(64, 12 * layer + head)).collect(),
    };
    let rows: Vec<OverviewRow> = (0..12).map(row).collect();
    report("overview of 144 maps of 64²", || {
        let panels = rows.iter().flat_map(|row| &row.panels);
        figure::overview(&rows, &Scales::of(panels, Scale::Linear, PanelScale::Shared), ["layer", "head"], &style)
    });
}
