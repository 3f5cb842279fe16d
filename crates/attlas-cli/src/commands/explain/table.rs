//! Explanations in the terminal: tokens by methods, sums, and how far the methods agree.

use std::io::Write;
use std::path::Path;

use attlas_model::explain::agreement::{Agreement, firsts};
use attlas_model::explain::side_by_side::{Explained, UNSAID, short_title};
use attlas_model::explain::{Attribution, Method};

use super::agreement;
use crate::failure::Failure;
use crate::terminal::{Terminal, pad, printable, width};

/// How wide a column is.
const CELL: usize = 9;

/// Prints the table, as many methods beside each other as the terminal holds.
pub fn print(explained: &Explained, output: Option<&Path>, terminal: &mut Terminal) -> Result<(), Failure> {
    let label_width = explained.places.iter().map(|place| width(&label(&place.token))).max().unwrap_or(0);
    let label_width = label_width.clamp(5, 20);
    let before = label_width + 5; // the position, and a space
    let n_beside = ((terminal.width.saturating_sub(before)) / (CELL + 1)).max(1);
    for methods in explained.attributions.chunks(n_beside) {
        print_methods(explained, methods, label_width, terminal)?;
        writeln!(terminal)?;
    }
    let agreement = Agreement::of(explained);
    if let Some(agreement) = &agreement {
        agreement::print(agreement, terminal)?;
    }
    for sentence in legend(explained, agreement.as_ref()) {
        terminal.notes([&sentence])?;
    }
    if let Some(output) = output {
        terminal.written(output)?;
    }
    Ok(())
}

fn print_methods(
    explained: &Explained,
    methods: &[Attribution],
    label_width: usize,
    terminal: &mut Terminal,
) -> Result<(), Failure> {
    for line in 0..2 {
        let cells: Vec<String> = methods.iter().map(|one| format!(" {:>CELL$}", heading(one)[line])).collect();
        let start = if line == 1 { pad("token", label_width + 5) } else { " ".repeat(label_width + 5) };
        writeln!(terminal, "{}", terminal.bold(format!("{start}{}", cells.concat()).trim_end()))?;
    }
    let shares: Vec<Vec<f64>> = methods.iter().map(Explained::shares).collect();
    let largest: Vec<f64> =
        shares.iter().map(|shares| shares.iter().fold(0.0, |most: f64, share| most.max(share.abs()))).collect();
    let has_both = explained.places.iter().any(|place| place.side != explained.places[0].side);
    let mut side = None;
    for (place, token) in explained.places.iter().enumerate() {
        if has_both && side != Some(token.side) {
            side = Some(token.side);
            writeln!(terminal, "{}", terminal.dim(token.side.name()))?;
        }
        write!(terminal, "{:>4} {}", token.position, pad(&label(&token.token), label_width))?;
        for ((one, shares), largest) in methods.iter().zip(&shares).zip(&largest) {
            let cell = format!(" {:>CELL$}", cell(one, shares[place]));
            let is_most = *largest > 0.0 && shares[place].abs() == *largest;
            write!(terminal, "{}", if is_most { terminal.bold(&cell) } else { cell })?;
        }
        writeln!(terminal)?;
    }
    Ok(())
}

/// A share in per cent; of methods with a sign with it.
fn cell(attribution: &Attribution, share: f64) -> String {
    let per_cent = 100.0 * share;
    match attribution.method.definition().is_signed {
        _ if per_cent.is_nan() => "–".to_owned(),
        _ if per_cent == 0.0 => "·".to_owned(),
        true => format!("{per_cent:+.1}"),
        false => format!("{per_cent:.1}"),
    }
}

/// A method's short title in two lines of a column.
fn heading(attribution: &Attribution) -> [String; 2] {
    let short = short_title(attribution);
    match short.split_once(' ') {
        Some((one, other)) if width(&short) > CELL => [one.to_owned(), other.to_owned()],
        _ => [String::new(), short],
    }
}

/// What was explained, what numbers mean, and what sums say.
fn legend(explained: &Explained, agreement: Option<&Agreement>) -> Vec<String> {
    let mut sentences = vec![
        format!("Explained: the {}, which is {:.4}.", explained.subject, explained.value),
        "A number is a token's share of its method's scores, in per cent of the sum of their sizes; the largest is bold.".to_owned(),
    ];
    if explained.attributions.iter().flat_map(Explained::scores).any(f64::is_nan) {
        sentences.push(UNSAID.to_owned());
    }
    sentences.extend(firsts(explained));
    sentences.extend(agreement.iter().flat_map(|agreement| agreement.sentences()));
    sentences.extend(explained.sums());
    if let Some(measured) = explained.attributions.iter().find(|one| one.method == Method::LeaveOut) {
        let sum = measured.sum();
        sentences.push(format!(
            "leave-one-out: losses sum to {sum:.4}; tokens that stand in for each other lose little alone."
        ));
    }
    sentences
}

/// A token on one line.
fn label(token: &str) -> String {
    printable(token.trim_matches('\n'))
}
