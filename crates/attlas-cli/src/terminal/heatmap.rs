//! A small attention map in the terminal: colours where there are any, percentages or shades elsewhere.

use std::io::Write;

use attlas::figure::{Axis, ColorScale, Colormap, Scale};
use attlas::{Pooled, Pooling, Quantity, View};

use super::color::on_ground;
use super::{ColorDepth, Terminal, clip, pad, printable, width};
use crate::failure::Failure;

/// Rows printed at most; more are pooled.
const MAX_ROWS: usize = 48;
/// Cells of the longest row label.
const MAX_ROW_LABEL: usize = 16;
/// Cells of a column that shows a label and a percentage, at least and at most.
const WIDE_COLUMN: (usize, usize) = (4, 10);
/// Lines of the tallest upright label.
const MAX_UPRIGHT: usize = 10;

/// Prints the map with both axes, as wide as the terminal allows: columns with labels and percentages, else narrow columns
/// under upright labels, else an overview in which each cell is the largest weight of its tile.
pub fn draw_heatmap(terminal: &mut Terminal, view: &View) -> Result<(), Failure> {
    let labels = |axis: &Axis| (0..axis.len()).map(|place| shown(&axis.label(place))).collect::<Vec<String>>();
    let (rows, columns) = (labels(view.panel().rows()), labels(view.panel().columns()));
    let label_cells = rows.iter().map(|label| width(label)).max().unwrap_or(0).clamp(1, MAX_ROW_LABEL);
    let label_cells = label_cells.max(width(view.rows_are()) + 1).min(terminal.width / 3);
    let free = terminal.width.saturating_sub(label_cells + 1);
    let longest = columns.iter().map(|label| width(label)).max().unwrap_or(0);
    let column_cells = (longest + 1).clamp(WIDE_COLUMN.0, WIDE_COLUMN.1).min(free / columns.len().max(1));

    let mut printer = Printer { terminal, view, scale: view.scale(Scale::Linear), label_cells };
    if rows.len() > MAX_ROWS || columns.len() * 2 > free {
        return printer.overview(free);
    }
    if column_cells >= WIDE_COLUMN.0 {
        printer.wide(&rows, &columns, column_cells)?;
    } else {
        printer.narrow(&rows, &columns)?;
    }
    printer.legend(view.words())
}

/// A token as a label: printable, without the space that begins a word.
fn shown(label: &str) -> String {
    let trimmed = label.trim_matches(' ');
    printable(if trimmed.is_empty() { "␣" } else { trimmed })
}

struct Printer<'a> {
    terminal: &'a mut Terminal,
    view: &'a View,
    scale: ColorScale,
    /// Cells of a row label.
    label_cells: usize,
}

impl Printer<'_> {
    /// Labels above their columns, percentages in the cells.
    fn wide(&mut self, rows: &[String], columns: &[String], cells: usize) -> Result<(), Failure> {
        self.axis_line()?;
        let corner = pad("", self.label_cells + 1);
        let header: String = columns.iter().map(|label| center(&clip(label, cells - 1), cells)).collect();
        writeln!(self.terminal, "{corner}{}", header.trim_end())?;
        for (label, weights) in rows.iter().zip(self.view.panel().weights().chunks(columns.len().max(1))) {
            let line: String =
                weights.iter().map(|weight| self.cell(*weight, &center(&self.percent(*weight), cells))).collect();
            self.row(label, &line)?;
        }
        Ok(())
    }

    /// Two cells per column under labels that stand upright.
    fn narrow(&mut self, rows: &[String], columns: &[String]) -> Result<(), Failure> {
        self.axis_line()?;
        let upright: Vec<Vec<char>> = columns.iter().map(|label| upright(label)).collect();
        let height = upright.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..height {
            let characters = upright.iter().map(|label| {
                let character = (line + label.len()).checked_sub(height).and_then(|place| label.get(place));
                pad(&character.map_or(String::new(), char::to_string), 2)
            });
            let characters: String = characters.collect();
            writeln!(self.terminal, "{}{}", pad("", self.label_cells + 1), characters.trim_end())?;
        }
        for (label, weights) in rows.iter().zip(self.view.panel().weights().chunks(columns.len().max(1))) {
            let line: String = weights.iter().map(|weight| self.cell(*weight, self.shade(*weight))).collect();
            self.row(label, &line)?;
        }
        Ok(())
    }

    /// The whole map in as many tiles as fit, each as its largest number, or the one farthest from 0.
    fn overview(&mut self, free: usize) -> Result<(), Failure> {
        let panel = self.view.panel();
        let (n_rows, n_columns) = (panel.n_rows(), panel.n_columns());
        let pooling = Pooling { rows: MAX_ROWS.min(n_rows), columns: (free / 2).clamp(1, n_columns.max(1)) };
        let pooled = Pooled::empty(pooling, n_rows, n_columns);
        let is_signed = self.view.quantity().is_signed();
        let size = |number: f32| if is_signed { number.abs() } else { number };
        let mut largest = vec![0.0_f32; pooled.rows * pooled.columns]; // [tiles, tiles]
        for (row, weights) in panel.weights().chunks(n_columns.max(1)).enumerate() {
            for (column, weight) in weights.iter().enumerate() {
                let tile = row * pooled.rows / n_rows * pooled.columns + column * pooled.columns / n_columns;
                if size(*weight) > size(largest[tile]) {
                    largest[tile] = *weight;
                }
            }
        }
        self.label_cells = self.label_cells.max(n_rows.to_string().len() + 2);
        self.axis_line()?;
        let last = n_columns.saturating_sub(1).to_string();
        let header = format!("{}{last}", pad("0", (2 * pooled.columns).saturating_sub(last.len())));
        writeln!(self.terminal, "{}{header}", pad("", self.label_cells + 1))?;
        for row in 0..pooled.rows {
            let weights = &largest[row * pooled.columns..][..pooled.columns];
            let line: String = weights.iter().map(|weight| self.cell(*weight, self.shade(*weight))).collect();
            let is_ruled = row % 8 == 0 || row + 1 == pooled.rows;
            let label = if is_ruled { pooled.queries(row).start.to_string() } else { String::new() };
            self.row(&label, &line)?;
        }
        let which = match self.view.quantity() {
            Quantity::Weight => "the largest weight of each tile".to_owned(),
            _ if is_signed => format!("{}, the farthest from 0 of each tile", self.view.quantity()),
            _ => format!("{}, the largest of each tile", self.view.quantity()),
        };
        self.legend(&format!("{which}; the map is {n_rows} × {n_columns}"))
    }

    /// Names the axes: rows down, columns across.
    fn axis_line(&mut self) -> Result<(), Failure> {
        let rows = pad(&format!("{}↓", self.view.rows_are()), self.label_cells);
        let line = self.terminal.dim(&format!("{rows} {} →", self.view.columns_are()));
        Ok(writeln!(self.terminal, "{line}")?)
    }

    fn row(&mut self, label: &str, line: &str) -> Result<(), Failure> {
        let label = pad(label, self.label_cells);
        Ok(writeln!(self.terminal, "{label} {}", line.trim_end_matches(' '))?)
    }

    /// `text` on the colour of `weight`; `text` alone without colours.
    fn cell(&self, weight: f32, text: &str) -> String {
        let ground = Colormap::default().suited_to(self.view.quantity()).color(self.scale.fraction(weight));
        on_ground(self.terminal.colors, ground, text).unwrap_or_else(|| text.to_owned())
    }

    /// Two cells: blank where the ground carries the colour, a shade elsewhere, after a minus where it is negative.
    fn shade(&self, weight: f32) -> &'static str {
        if self.terminal.colors != ColorDepth::None {
            return "  ";
        }
        let shades = if weight < 0.0 {
            ["−█", "−▓", "−▒", "−░", " ·"]
        } else {
            ["██", "▓▓", "▒▒", "░░", " ·"]
        };
        match weight.abs() / self.scale.high() {
            share if share >= 0.75 => shades[0],
            share if share >= 0.5 => shades[1],
            share if share >= 0.25 => shades[2],
            share if share >= 0.05 => shades[3],
            _ => shades[4],
        }
    }

    /// What the colours or shades mean.
    fn legend(&mut self, quantity: &str) -> Result<(), Failure> {
        let steps = 24;
        let indent = pad("", self.label_cells + 1);
        let high = self.scale.high();
        let low = if self.view.quantity().is_signed() { -high } else { 0.0 };
        let bar: String = match self.terminal.colors {
            ColorDepth::None => String::new(),
            _ => (0..steps).map(|step| self.cell(low + (high - low) * step as f32 / (steps - 1) as f32, " ")).collect(),
        };
        let room = self.terminal.width.saturating_sub(width(&indent) + if bar.is_empty() { 0 } else { steps + 1 });
        let whole = if self.whole() == 1.0 { String::new() } else { format!(" of {high:.3e}") };
        let high = end(high / self.whole());
        let low = if low < 0.0 { format!("−{high}") } else { "0".to_owned() };
        let scale = clip(&format!("{low} to {high} %{whole}: {quantity}"), room);
        let scale = self.terminal.dim(&scale);
        let space = if bar.is_empty() { "" } else { " " };
        Ok(writeln!(self.terminal, "{indent}{bar}{space}{scale}")?)
    }

    /// What is 100 %: 1 for weights and differences of them, the largest number for what has no such measure.
    fn whole(&self) -> f32 {
        match self.view.quantity() {
            Quantity::Weight | Quantity::Rollout | Quantity::Difference => 1.0,
            _ => self.scale.high(),
        }
    }

    /// The number in percent; a dot where it would be 0.
    fn percent(&self, weight: f32) -> String {
        match weight / self.whole() {
            share if !share.is_finite() => "?".into(),
            share if share.abs() < 0.005 => "·".into(),
            share => format!("{:.0}", share * 100.0).replace('-', "−"),
        }
    }
}

/// The end of the scale in percent: two digits of it, however small it is.
fn end(share: f32) -> String {
    match share * 100.0 {
        percent if !percent.is_finite() => "?".into(),
        0.0 => "0".into(),
        percent if percent < 1e-6 => format!("{percent:.1e}"),
        percent => {
            let decimals = (1 - percent.log10().floor() as i32).clamp(0, 7) as usize;
            let text = format!("{percent:.decimals$}");
            if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
        }
    }
}

/// `text` in the middle of `cells`.
fn center(text: &str, cells: usize) -> String {
    let missing = cells.saturating_sub(width(text));
    format!("{}{text}{}", " ".repeat(missing.div_ceil(2)), " ".repeat(missing / 2))
}

/// The characters of a label from top to bottom.
fn upright(label: &str) -> Vec<char> {
    let characters: Vec<char> = label.chars().filter(|character| width(&character.to_string()) > 0).collect();
    if characters.len() <= MAX_UPRIGHT {
        return characters;
    }
    let mut clipped = characters[..MAX_UPRIGHT - 1].to_vec();
    clipped.push('…');
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_scale_is_said_however_small_it_is() {
        let ends = [1.0, 0.874, 0.05, 1.0 / 300.0, 0.0, 3.2e-5, 2.0e-9].map(end);
        assert_eq!(ends, ["100", "87", "5", "0.33", "0", "0.0032", "2.0e-7"]);
    }
}
