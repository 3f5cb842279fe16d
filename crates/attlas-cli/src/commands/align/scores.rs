//! How right the links are: each head, each layer's mean and the diagonal against a reference, in both rows.

use std::io::Write;

use attlas::Kind;
use attlas::analysis::alignment::{ALIGNING_ROWS, Aligner, Alignment, HeadScores, Reference, Score, Tally, Unit};
use serde::Serialize;

use super::{AlignArguments, Text};
use crate::failure::Failure;
use crate::terminal::{Terminal, print_json};
use crate::words::counted;

/// Heads of the table; JSON has all.
const MOST_HEADS: usize = 16;
/// Why nothing can be said of links.
const NO_LINK: &str = "the reference has no link at all";

/// The scores of every head and layer, of the diagonal, and of the links that were chosen.
#[derive(Debug, Clone, Default)]
pub struct Scores {
    heads: HeadScores,
    diagonal: Tally,
    chosen: Tally,
    n_texts: usize,
    n_possible: usize,
}

/// A line of the table as JSON; numbers that cannot be computed are `null`, and `absent` says why.
#[derive(Serialize)]
struct Line<'a> {
    kind: Kind,
    layer: usize,
    /// `None` for the mean over the layer's heads.
    head: Option<usize>,
    measure: &'static str,
    rows: &'a str,
    /// Share of the target words with a sure link whose largest weight lies on a possible link.
    score: Option<f64>,
    /// The same of the diagonal.
    baseline: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    /// Target words with a sure link.
    n_rows: u64,
    error_rate: Option<f64>,
    precision: Option<f64>,
    recall: Option<f64>,
    n_links: u64,
    /// How far the links of target words and of source words are the same; needs no reference.
    overlap: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<&'static str>,
}

/// Rates of links that belong to no single head.
#[derive(Serialize)]
struct Rates {
    error_rate: Option<f64>,
    precision: Option<f64>,
    recall: Option<f64>,
    n_links: u64,
}

impl Rates {
    fn of(tally: &Tally) -> Rates {
        let (error_rate, precision, recall) = (tally.error_rate(), tally.precision(), tally.recall());
        Rates { error_rate, precision, recall, n_links: tally.n_links }
    }

    /// Of links that there is nothing to hold against.
    fn unknown(tally: &Tally) -> Rates {
        Rates { error_rate: None, precision: None, recall: None, n_links: tally.n_links }
    }
}

/// All scores as JSON.
#[derive(Serialize)]
struct Whole<'a> {
    n_texts: usize,
    n_skipped: usize,
    words: &'a str,
    n_sure: u64,
    n_possible: usize,
    heads: &'a str,
    rows: &'a str,
    symmetrise: &'a str,
    /// Why there are no rates.
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<&'static str>,
    chosen: Rates,
    diagonal: Rates,
    scores: Vec<Line<'a>>,
}

impl Scores {
    /// Holds all heads against a text's reference, and the links that were chosen.
    pub fn add(
        &mut self,
        text: &Text<'_>,
        unit: Unit,
        reference: &Reference,
        chosen: &Alignment,
        [n_source, n_target]: [usize; 2],
    ) -> Result<(), attlas::Error> {
        self.heads.add(text.recording, text.item, unit, Some(reference))?;
        self.n_texts += 1;
        self.n_possible += reference.possible().len();
        self.chosen.merge(&Tally::of(chosen, reference));
        self.diagonal.merge(&Tally::of(&Alignment::diagonal(n_source, n_target), reference));
        Ok(())
    }

    /// The rates of links: none where the reference has no link.
    fn rates(&self, tally: &Tally) -> Rates {
        if self.n_possible == 0 { Rates::unknown(tally) } else { Rates::of(tally) }
    }

    /// The table: heads by their error rate in the better of their rows, layers, the diagonal, and what was chosen.
    pub fn print(
        &self,
        heads: &str,
        arguments: &AlignArguments,
        n_skipped: usize,
        terminal: &mut Terminal,
    ) -> Result<(), Failure> {
        let n_sure = self.chosen.n_sure as usize;
        let left_out = if n_skipped > 0 { format!(" ({n_skipped} left out)") } else { String::new() };
        let texts = counted(self.n_texts, "text");
        let possible = counted(self.n_possible - n_sure, "other");
        let sure = counted(n_sure, "sure link");
        writeln!(terminal, "{texts}{left_out}, {sure} and {possible} possible; {}\n", arguments.unit().says())?;
        if self.n_possible == 0 {
            writeln!(terminal, "{NO_LINK}, so there are no rates.\n")?;
        }
        let columns = "   AER  prec.  recall";
        let rows = format!("{:<26}{:^21}    {:^21}", "", "row that predicts", "row that has read");
        writeln!(terminal, "{}", terminal.bold(rows.trim_end()))?;
        writeln!(terminal, "{}", terminal.bold(&format!("{:<26}{columns}    {columns}", "in %")))?;
        self.print_heads(terminal)?;
        writeln!(terminal, "{:<26}{}", "diagonal (baseline)", three(&self.rates(&self.diagonal)))?;
        writeln!(terminal, "{:<26}{}\n", "the links chosen", three(&self.rates(&self.chosen)))?;
        let way = arguments.symmetrise.0.map_or(String::new(), |way| format!(", {}", way.name()));
        writeln!(terminal, "Chosen: {heads}, rows {}{way}.", arguments.rows.row_tokens().name())?;
        let advice = "Heads are in the order of these texts: report one on texts that did not choose it.";
        terminal.notes([advice])
    }

    fn print_heads(&self, terminal: &mut Terminal) -> Result<(), Failure> {
        let is_head = |(aligner, _): &(&Aligner, _)| matches!(aligner, Aligner::Head(_));
        let (mut of_heads, means): (Vec<_>, Vec<_>) = self.heads.of.iter().partition(is_head);
        let rate = |score: &Score| score.tally.error_rate();
        let least = |scores: &[Score; 2]| scores.iter().filter_map(rate).fold(f64::INFINITY, f64::min);
        of_heads.sort_by(|a, b| least(a.1).total_cmp(&least(b.1)));
        let n_more = of_heads.len().saturating_sub(MOST_HEADS);
        for (aligner, scores) in of_heads.into_iter().take(MOST_HEADS) {
            writeln!(terminal, "{}", self.line(aligner, scores))?;
        }
        if n_more > 0 {
            let more = format!("and {}; --json has all", counted(n_more, "more head"));
            writeln!(terminal, "{}", terminal.dim(&more))?;
        }
        for (aligner, scores) in means {
            writeln!(terminal, "{}", self.line(aligner, scores))?;
        }
        Ok(())
    }

    /// A line of the table.
    fn line(&self, aligner: &Aligner, scores: &[Score; 2]) -> String {
        let name = match aligner {
            Aligner::Head(head) => head.to_string(),
            Aligner::MeanOf(layer) => format!("L{layer}, mean of its heads"),
        };
        let [predicts, has_read] = [0, 1].map(|rows| three(&self.rates(&scores[rows].tally)));
        format!("{name:<26}{predicts}    {has_read}")
    }

    /// The same as one JSON object.
    pub fn print_json(
        &self,
        heads: &str,
        arguments: &AlignArguments,
        n_skipped: usize,
        terminal: &mut Terminal,
    ) -> Result<(), Failure> {
        let of = |(aligner, scores): (&Aligner, &[Score; 2])| {
            let (aligner, scores) = (*aligner, *scores);
            ALIGNING_ROWS
                .into_iter()
                .zip(scores)
                .map(move |(rows, score)| json_line(aligner, rows.name(), &score, self.rates(&score.tally)))
        };
        let lines = self.heads.of.iter().flat_map(of);
        let mut scores: Vec<Line<'_>> = lines.collect();
        scores.sort_by(|a, b| a.error_rate.unwrap_or(2.0).total_cmp(&b.error_rate.unwrap_or(2.0)));
        let whole = Whole {
            n_texts: self.n_texts,
            n_skipped,
            words: arguments.words_name(),
            n_sure: self.chosen.n_sure,
            n_possible: self.n_possible,
            heads,
            rows: arguments.rows.row_tokens().name(),
            symmetrise: arguments.symmetrise.name(),
            absent: (self.n_possible == 0).then_some(NO_LINK),
            chosen: self.rates(&self.chosen),
            diagonal: self.rates(&self.diagonal),
            scores,
        };
        print_json(&whole, terminal)
    }
}

fn json_line(aligner: Aligner, rows: &'static str, score: &Score, rates: Rates) -> Line<'static> {
    let (layer, head) = match aligner {
        Aligner::Head(id) => (id.layer, Some(id.head)),
        Aligner::MeanOf(layer) => (layer, None),
    };
    let interval = score.hits.interval_of_shares();
    let Rates { error_rate, precision, recall, n_links } = rates;
    Line {
        kind: Kind::Cross,
        layer,
        head,
        measure: "alignment",
        rows,
        score: score.hits.mean(),
        baseline: score.hits.mean_baseline(),
        low: interval.map(|interval| interval.0),
        high: interval.map(|interval| interval.1),
        n_rows: score.hits.n,
        error_rate,
        precision,
        recall,
        n_links,
        overlap: score.overlap(),
        absent: (score.hits.n == 0).then_some("no target word has a sure link, or what the rows predict is not known"),
    }
}

/// Error rate, precision and recall in percent, 21 cells wide.
fn three(rates: &Rates) -> String {
    let percent = |share: Option<f64>| share.map_or("–".to_owned(), |share| format!("{:.1}", 100.0 * share));
    format!("{:>6}{:>7}{:>8}", percent(rates.error_rate), percent(rates.precision), percent(rates.recall))
}
