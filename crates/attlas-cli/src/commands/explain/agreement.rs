//! How far methods rank the same tokens alike, in the terminal.

use std::io::Write;

use attlas_model::explain::agreement::Agreement;

use crate::failure::Failure;
use crate::terminal::{Terminal, pad, printable, width};

/// The matrix, its lower half, as many columns beside each other as the terminal holds.
pub fn print(agreement: &Agreement, terminal: &mut Terminal) -> Result<(), Failure> {
    const CELL: usize = 4;
    let n = agreement.methods.len();
    let before = 4 + agreement.titles.iter().map(|title| width(title)).max().unwrap_or(0);
    let n_beside = (terminal.width.saturating_sub(before) / CELL).max(1);
    writeln!(terminal, "{}", terminal.bold("rank correlation of each two methods, in hundredths"))?;
    for start in (0..n - 1).step_by(n_beside) {
        let columns = start..(start + n_beside).min(n - 1);
        let heading: String = columns.clone().map(|place| format!("{:>CELL$}", place + 1)).collect();
        writeln!(terminal, "{}", terminal.bold(&format!("{}{heading}", " ".repeat(before))))?;
        for row in start + usize::from(start > 0)..n {
            let cells: String = columns
                .clone()
                .filter(|column| *column < row)
                .map(|column| cell(agreement.correlations[row][column]))
                .collect();
            let title = pad(&printable(&agreement.titles[row]), before - 4);
            writeln!(terminal, "{}", format!("{:>2}  {title}{cells}", row + 1).trim_end())?;
        }
    }
    writeln!(terminal)?;
    Ok(())
}

/// A correlation in hundredths.
fn cell(found: Option<f64>) -> String {
    found.map_or_else(|| format!("{:>4}", "–"), |found| format!("{:>4}", (100.0 * found).round() + 0.0))
}
