//! A small attention map in the terminal: colours where there are any, percentages or shades elsewhere.

use std::io::Write;

use attlas::figure::Colormap;

use super::color::on_ground;
use super::{ColorDepth, Terminal, clip, pad, printable, width};
use crate::failure::Failure;

/// A map to print.
#[derive(Debug, Clone, PartialEq)]
pub struct Heatmap<'a> {
    /// Shape `[row_labels.len(), column_labels.len()]`.
    pub weights: &'a [f32],
    /// The tokens along the rows, as they come from the text.
    pub row_labels: Vec<String>,
    /// The tokens along the columns.
    pub column_labels: Vec<String>,
    /// What the rows are: `target`.
    pub row_axis: &'a str,
    /// What the columns are: `source`.
    pub column_axis: &'a str,
}

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
pub fn draw_heatmap(terminal: &mut Terminal, map: &Heatmap<'_>) -> Result<(), Failure> {
    let rows: Vec<String> = map.row_labels.iter().map(|label| shown(label)).collect();
    let columns: Vec<String> = map.column_labels.iter().map(|label| shown(label)).collect();
    let label_cells = rows.iter().map(|label| width(label)).max().unwrap_or(0).clamp(1, MAX_ROW_LABEL);
    let label_cells = label_cells.max(width(map.row_axis) + 1).min(terminal.width / 3);
    let free = terminal.width.saturating_sub(label_cells + 1);
    let longest = columns.iter().map(|label| width(label)).max().unwrap_or(0);
    let column_cells = (longest + 1).clamp(WIDE_COLUMN.0, WIDE_COLUMN.1).min(free / columns.len().max(1));

    let mut printer = Printer { terminal, largest: largest(map.weights), label_cells };
    if rows.len() > MAX_ROWS || columns.len() * 2 > free {
        return printer.overview(map, free);
    }
    if column_cells >= WIDE_COLUMN.0 {
        printer.wide(map, &rows, &columns, column_cells)?;
    } else {
        printer.narrow(map, &rows, &columns)?;
    }
    printer.legend("attention weight")
}

/// A token as a label: printable, without the space that begins a word.
fn shown(label: &str) -> String {
    let trimmed = label.trim_matches(' ');
    printable(if trimmed.is_empty() { "␣" } else { trimmed })
}

fn largest(weights: &[f32]) -> f32 {
    weights.iter().copied().filter(|weight| weight.is_finite()).fold(0.0, f32::max)
}

struct Printer<'t> {
    terminal: &'t mut Terminal,
    /// The weight that gets the brightest colour.
    largest: f32,
    /// Cells of a row label.
    label_cells: usize,
}

impl Printer<'_> {
    /// Labels above their columns, percentages in the cells.
    fn wide(&mut self, map: &Heatmap<'_>, rows: &[String], columns: &[String], cells: usize) -> Result<(), Failure> {
        self.axis_line(map)?;
        let corner = pad("", self.label_cells + 1);
        let header: String = columns.iter().map(|label| center(&clip(label, cells - 1), cells)).collect();
        writeln!(self.terminal, "{corner}{}", header.trim_end())?;
        for (label, weights) in rows.iter().zip(map.weights.chunks(columns.len().max(1))) {
            let line: String =
                weights.iter().map(|weight| self.cell(*weight, &center(&percent(*weight), cells))).collect();
            self.row(label, &line)?;
        }
        Ok(())
    }

    /// Two cells per column under labels that stand upright.
    fn narrow(&mut self, map: &Heatmap<'_>, rows: &[String], columns: &[String]) -> Result<(), Failure> {
        self.axis_line(map)?;
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
        for (label, weights) in rows.iter().zip(map.weights.chunks(columns.len().max(1))) {
            let line: String = weights.iter().map(|weight| self.cell(*weight, self.shade(*weight))).collect();
            self.row(label, &line)?;
        }
        Ok(())
    }

    /// The whole map in as many tiles as fit, each as its largest weight.
    fn overview(&mut self, map: &Heatmap<'_>, free: usize) -> Result<(), Failure> {
        let (n_rows, n_columns) = (map.row_labels.len(), map.column_labels.len());
        let pooling = attlas::Pooling { rows: MAX_ROWS.min(n_rows), columns: (free / 2).clamp(1, n_columns.max(1)) };
        let mut pooled = attlas::Pooled::empty(pooling, n_rows, n_columns);
        for (row, weights) in map.weights.chunks(n_columns.max(1)).enumerate() {
            for (column, weight) in weights.iter().enumerate() {
                pooled.add(row, column, *weight);
            }
        }
        self.label_cells = self.label_cells.max(n_rows.to_string().len() + 2);
        self.axis_line(map)?;
        let last = n_columns.saturating_sub(1).to_string();
        let header = format!("{}{last}", pad("0", (2 * pooled.columns).saturating_sub(last.len())));
        writeln!(self.terminal, "{}{header}", pad("", self.label_cells + 1))?;
        for row in 0..pooled.rows {
            let weights = &pooled.max[row * pooled.columns..][..pooled.columns];
            let line: String = weights.iter().map(|weight| self.cell(*weight, self.shade(*weight))).collect();
            let is_ruled = row % 8 == 0 || row + 1 == pooled.rows;
            let label = if is_ruled { pooled.queries(row).start.to_string() } else { String::new() };
            self.row(&label, &line)?;
        }
        self.legend(&format!("the largest weight of each tile; the map is {n_rows} × {n_columns}"))
    }

    /// Names the axes: rows down, columns across.
    fn axis_line(&mut self, map: &Heatmap<'_>) -> Result<(), Failure> {
        let rows = pad(&format!("{}↓", map.row_axis), self.label_cells);
        let line = self.terminal.dim(&format!("{rows} {} →", map.column_axis));
        Ok(writeln!(self.terminal, "{line}")?)
    }

    fn row(&mut self, label: &str, line: &str) -> Result<(), Failure> {
        let label = pad(label, self.label_cells);
        Ok(writeln!(self.terminal, "{label} {}", line.trim_end_matches(' '))?)
    }

    /// `text` on the colour of `weight`; `text` alone without colours.
    fn cell(&self, weight: f32, text: &str) -> String {
        let ground = Colormap::Viridis.color(if self.largest > 0.0 { weight / self.largest } else { 0.0 });
        on_ground(self.terminal.colors, ground, text).unwrap_or_else(|| text.to_owned())
    }

    /// Two cells: blank where the ground carries the colour, a shade elsewhere.
    fn shade(&self, weight: f32) -> &'static str {
        if self.terminal.colors != ColorDepth::None {
            return "  ";
        }
        let share = if self.largest > 0.0 { weight / self.largest } else { 0.0 };
        match share {
            share if share >= 0.75 => "██",
            share if share >= 0.5 => "▓▓",
            share if share >= 0.25 => "▒▒",
            share if share >= 0.05 => "░░",
            _ => " ·",
        }
    }

    /// What the colours or shades mean.
    fn legend(&mut self, quantity: &str) -> Result<(), Failure> {
        let steps = 24;
        let indent = pad("", self.label_cells + 1);
        let bar: String = match self.terminal.colors {
            ColorDepth::None => String::new(),
            _ => (0..steps).map(|step| self.cell(self.largest * step as f32 / (steps - 1) as f32, " ")).collect(),
        };
        let room = self.terminal.width.saturating_sub(width(&indent) + if bar.is_empty() { 0 } else { steps + 1 });
        let scale = clip(&format!("0 to {} %: {quantity}", percent(self.largest)), room);
        let scale = self.terminal.dim(&scale);
        let space = if bar.is_empty() { "" } else { " " };
        Ok(writeln!(self.terminal, "{indent}{bar}{space}{scale}")?)
    }
}

/// The weight in percent; a dot where it would be 0.
fn percent(weight: f32) -> String {
    match weight {
        weight if !weight.is_finite() => "?".into(),
        weight if weight < 0.005 => "·".into(),
        weight => format!("{:.0}", weight * 100.0),
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
