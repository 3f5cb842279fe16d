//! A survey in the terminal: how much was surveyed, and what the heads do most.

use std::io::Write;

use attlas::Kind;
use attlas::analysis::{MEASURES, Measure, ScoreRow};
use attlas::survey::{FEW_SHARDS, N_SHARDS, Resamples};

use attlas_survey::{SurveyFile, rows_of, score_row};
use rayon::prelude::*;

use crate::failure::Failure;
use crate::measures::{in_room, number, titles_width};
use crate::terminal::{Terminal, printable, width};
use crate::words::counted;

/// Skipped texts that are shown; the file lists more.
const MAX_SKIPPED: usize = 5;

/// Prints what a survey found: for each kind and measure the heads that are named, the highest score first.
pub fn print_survey(file: &SurveyFile, resamples: &Resamples, terminal: &mut Terminal) -> Result<(), Failure> {
    let survey = &file.survey;
    let rows: Vec<ScoreRow> =
        rows_of(survey).into_par_iter().map(|cells| score_row(survey, cells, resamples)).collect();
    let n_texts = usize::try_from(survey.n_all_texts()).unwrap_or(usize::MAX);
    let name = printable(&file.about.model.name);
    writeln!(terminal, "{name} on {} in {} of {N_SHARDS} shards", counted(n_texts, "text"), survey.n_shards())?;
    let named = rows.iter().any(|row| row.named);
    let titles = titles_width(rows.iter().filter(|row| row.named).filter_map(title_of));
    match named {
        true => {
            let line = format!(
                "{:<8}{:<titles$}baseline threshold heads, scores and 95 % intervals",
                "kind", "what stands out"
            );
            writeln!(terminal, "{}", terminal.bold(&line))?;
        }
        false => writeln!(terminal, "{}", nothing_named(n_texts, survey.n_shards()))?,
    }
    for kind in Kind::ALL {
        for measure in &MEASURES {
            let of = |row: &&ScoreRow| row.named && row.kind == kind && row.measure == measure.name;
            print_named(measure.title_for(kind), titles, rows.iter().filter(of).collect(), terminal)?;
        }
    }
    print_notes(file, terminal)
}

/// What a head of this row is said to do.
fn title_of(row: &ScoreRow) -> Option<&'static str> {
    Some(Measure::named(&row.measure)?.title_for(row.kind))
}

/// Why no head is named.
fn nothing_named(n_texts: usize, n_shards: usize) -> &'static str {
    match (n_texts, n_shards) {
        (0, _) => "This part of the corpus has no texts, so nothing was measured.",
        (_, ..FEW_SHARDS) => "No head is named: the texts are too few for intervals.",
        _ => "No head stands out over its baseline on this corpus.",
    }
}

/// A line of the heads that are named for one thing, if there are any.
fn print_named(title: &str, titles: usize, mut rows: Vec<&ScoreRow>, terminal: &mut Terminal) -> Result<(), Failure> {
    let Some(first) = rows.first() else { return Ok(()) };
    let (kind, threshold) = (first.kind, first.threshold.unwrap_or_default());
    rows.sort_by(|a, b| b.score.unwrap_or_default().total_cmp(&a.score.unwrap_or_default()));
    let baseline = number(rows.iter().filter_map(|row| row.baseline).reduce(f64::max));
    let begin = format!("{:<8}{title:<titles$}{baseline:<9}{threshold:<10.2}", kind.name());
    let room = terminal.width.saturating_sub(width(&begin)).max(24);
    writeln!(terminal, "{begin}{}", in_room(rows.iter().map(|row| head(row)), room))?;
    Ok(())
}

/// `L0H3 0.93 (0.91–0.95)`.
fn head(row: &ScoreRow) -> String {
    let interval = row.low.zip(row.high).map_or(String::new(), |(low, high)| format!(" ({low:.2}–{high:.2})"));
    format!("L{}H{} {:.2}{interval}", row.layer, row.head, row.score.unwrap_or_default())
}

/// What a reader must know.
fn print_notes(file: &SurveyFile, terminal: &mut Terminal) -> Result<(), Failure> {
    let n_shards = file.survey.n_shards();
    let few = match n_shards {
        n if n < FEW_SHARDS => {
            let shards = counted(n, "shard");
            format!(" {shards} with texts: fewer than {FEW_SHARDS} give no interval, and without one no head is named.")
        }
        _ => String::new(),
    };
    let how = format!(
        "Intervals are of resampled shards of texts, since rows of a text are not independent.{few} Named are scores that reach \
         the threshold and lie over the baseline, where there is one, by more than chance would have it. Weights are not importance."
    );
    terminal.notes([&how])?;
    let about = &file.about;
    if about.n_skipped > 0 {
        let n = usize::try_from(about.n_skipped).unwrap_or(usize::MAX);
        writeln!(terminal, "skipped {}:", counted(n, "text"))?;
        for skipped in about.skipped.iter().take(MAX_SKIPPED) {
            writeln!(terminal, "  {}", printable(&format!("{}: {}", skipped.place(), skipped.reason)))?;
        }
        if n > MAX_SKIPPED {
            writeln!(terminal, "  and {} more, listed in the survey", n - MAX_SKIPPED)?;
        }
    }
    Ok(())
}
