//! What questions about single heads have in common: the text that is asked about, and the ranking that answers.

use std::ffi::OsStr;
use std::io::Write;

use attlas::analysis::{ScoreRow, Sums};
use attlas::recording::complaint;
use attlas::{AttentionMap, Error, HeadId, Kind, Recording};

use super::HeadsArguments;
use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::inputs::run_of;
use crate::table_file::{scores_table, write_table};
use crate::terminal::Terminal;

/// One text and the kinds of attention that are asked about.
pub struct Asked {
    pub recording: Recording,
    /// Which of its texts.
    pub item: usize,
    pub kinds: Vec<Kind>,
}

impl Asked {
    pub fn read(arguments: &HeadsArguments, material: &OsStr) -> Result<Asked, Failure> {
        let run = run_of(material, &arguments.run)?;
        let (item, n_items) = (arguments.text.unwrap_or(0), run.recording.items.len());
        if item >= n_items {
            return Err(Error::NoItem { item, n_items }.into());
        }
        run.say_notes_of(Some(item));
        let recording = run.recording;
        if let Some(kind) = arguments.kind {
            recording.last_layer(kind)?;
        }
        let is_asked = |kind: &Kind| arguments.kind.is_none_or(|asked| asked == *kind);
        let kinds = recording.kinds().into_iter().filter(is_asked).collect();
        Ok(Asked { recording, item, kinds })
    }

    /// Which text was asked about, where there are several: `Text 0 of 3; --text N asks about another. `.
    pub fn which_text(&self) -> String {
        match self.recording.items.len() {
            0 | 1 => String::new(),
            n => format!("Text {} of {n}, counted from 0; --text N asks about another. ", self.item),
        }
    }

    /// How a question about the text ends: done, or with what of the maps that were asked about fails its checks.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn outcome(&self) -> Result<Outcome, Failure> {
        let is_asked = |layer: &attlas::Layer, _: usize| self.kinds.contains(&layer.kind);
        let found = self.recording.check_heads(self.item..self.item + 1, is_asked)?;
        Ok(checks::outcome(complaint(&found).as_deref()))
    }
}

/// The row of a score that is no measure's.
pub fn asked_row(map: &AttentionMap<'_>, name: &str, sums: &Sums) -> ScoreRow {
    let interval = sums.interval_of_shares();
    ScoreRow {
        kind: map.kind(),
        layer: map.id().layer,
        head: map.id().head,
        measure: name.to_owned(),
        variant: None,
        score: sums.mean(),
        baseline: sums.mean_baseline(),
        low: interval.map(|(low, _)| low),
        high: interval.map(|(_, high)| high),
        n_rows: sums.n,
        threshold: None,
        named: false,
        absent: sums.mean().is_none().then(|| "some weights are no finite numbers".to_owned()),
    }
}

/// Writes and prints the heads, the highest score first.
pub fn print_ranked(
    mut rows: Vec<ScoreRow>,
    name: &str,
    legend: &str,
    arguments: &HeadsArguments,
    terminal: &mut Terminal,
) -> Result<(), Failure> {
    super::sort_by_score(&mut rows);
    if let Some(output) = &arguments.output {
        write_table(output, &scores_table(&rows))?;
    }
    if arguments.json {
        return super::print_rows(&rows, terminal);
    }
    writeln!(terminal, "{}", terminal.bold(&format!("kind     head     {name:<7} positions alone give")))?;
    for row in &rows {
        let place = format!("{:<8} {:<8}", row.kind.name(), HeadId { layer: row.layer, head: row.head }.to_string());
        match (row.score, row.baseline) {
            (Some(score), Some(baseline)) => writeln!(terminal, "{place} {score:<7.3} {baseline:.3}")?,
            _ => writeln!(terminal, "{place} –  {}", row.absent.as_deref().unwrap_or_default())?,
        }
    }
    terminal.notes([legend])
}
