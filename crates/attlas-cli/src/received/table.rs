//! What tokens and spans receive, in the terminal.

use std::io::Write;

use attlas::Kind;
use attlas::analysis::Received;

use super::{OfText, Share};
use crate::failure::Failure;
use crate::terminal::{Terminal, clip, pad, printable, width};
use crate::words::counted;

/// A text of more tokens than this shows those that receive most.
const MOST_TOKENS: usize = 40;
const LARGEST_TOKENS: usize = 20;
/// Cells of a name, and of a number.
const NAME: usize = 22;
const NUMBER: usize = 8;
/// Cells of a span's name over its share of each query.
const SPAN: usize = 12;

/// A line of the table: a name, and its share in each map.
struct Line {
    name: String,
    shares: Vec<Share>,
}

/// Prints for each text what its spans receive, then its tokens: layer by layer, or all that is known of one map.
pub fn print_table(texts: &[OfText<'_>], terminal: &mut Terminal) -> Result<(), Failure> {
    for (place, text) in texts.iter().enumerate() {
        if place > 0 {
            writeln!(terminal)?;
        }
        let which = match text.recording.items.len() {
            0 | 1 => String::new(),
            n => format!(", text {} of {n}, counted from 0", text.item),
        };
        let title = format!("{}, {}{which}: {}", text.layer.kind.title(), text.which(), text.queries_in_words());
        writeln!(terminal, "{}", terminal.bold(&title))?;
        let spans = lines_of_spans(text);
        if !spans.is_empty() {
            print_lines("span", &spans, &text.maps, terminal)?;
            writeln!(terminal)?;
        }
        let (tokens, left_out) = lines_of_tokens(text);
        print_lines("token", &tokens, &text.maps, terminal)?;
        if let Some(left_out) = left_out {
            writeln!(terminal, "{}", terminal.dim(&left_out))?;
        }
        if let [map] = text.maps.as_slice() {
            print_queries(text, map, terminal)?;
        }
        terminal.notes(text.mostly_first())?;
    }
    let Some(text) = texts.first() else { return Ok(()) };
    terminal.notes([&legend(text)])
}

/// What each query gives to the spans that were asked for; of a long text, where that is to be had.
fn print_queries(text: &OfText<'_>, map: &Received, terminal: &mut Terminal) -> Result<(), Failure> {
    if map.rows.is_empty() {
        return Ok(());
    }
    writeln!(terminal)?;
    if map.n_rows > MOST_TOKENS as u64 {
        return Ok(writeln!(terminal, "{}", terminal.dim("--json says what each query gives to a span"))?);
    }
    let cell = |text: &str| format!("{} ", pad(text, SPAN));
    let names: String = text.spans.iter().take(map.rows.len()).map(|span| cell(&printable(&span.name))).collect();
    writeln!(terminal, "{}", terminal.bold(format!("{} {names}", pad("query", NAME)).trim_end()))?;
    let mut labels = text.queries();
    for row in 0..map.n_rows as usize {
        let label = printable(labels.next().unwrap_or_default());
        let shares = map.rows.iter().map(|rows| cell(&short(rows.get(row).map(|share| f64::from(*share)))));
        let line =
            format!("{} {}", pad(&format!("{:>2} {label}", text.first_query + row), NAME), shares.collect::<String>());
        writeln!(terminal, "{}", line.trim_end())?;
    }
    Ok(())
}

fn lines_of_spans(text: &OfText<'_>) -> Vec<Line> {
    let by_map: Vec<Vec<_>> = text.maps.iter().map(|map| text.shares(map).collect()).collect();
    let Some(first) = by_map.first() else { return Vec::new() };
    let line = |place: usize| {
        let (name, span, _) = &first[place];
        let range = match span.and_then(|span| span.range.clone()) {
            Some(range) if *name != format!("{}:{}", range.start, range.end) => {
                format!(" {}:{}", range.start, range.end)
            }
            Some(_) => String::new(),
            None => span.map_or(String::new(), |span| format!(" ({})", span.len())),
        };
        let name = format!("{}{range}", clip(&printable(name), NAME.saturating_sub(width(&range))));
        Line { name, shares: by_map.iter().map(|shares| shares[place].2).collect() }
    };
    (0..first.len()).map(line).collect()
}

/// The tokens that are shown, and what the others receive together.
fn lines_of_tokens(text: &OfText<'_>) -> (Vec<Line>, Option<String>) {
    let (keys, tokens) = (text.keys(), &text.key_tokens().tokens);
    let digits = keys.len().saturating_sub(1).to_string().len();
    let line = |place: usize| {
        let label = tokens.get(keys[place]).map_or(String::new(), |token| printable(token.text.trim()));
        Line {
            name: format!("{place:>digits$} {label}"),
            shares: text.maps.iter().map(|map| OfText::of_key(map, place)).collect(),
        }
    };
    if keys.len() <= MOST_TOKENS {
        return ((0..keys.len()).map(line).collect(), None);
    }
    let mut order: Vec<(f64, usize)> =
        (0..keys.len()).map(|place| (text.mean_of_key(place, Share::score), place)).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let rest: f64 = order[LARGEST_TOKENS..].iter().map(|(score, _)| score).sum();
    let n_rest = order.len() - LARGEST_TOKENS;
    let left_out = format!("and {n_rest} more tokens, {} together; --json prints all of them", short(Some(rest)));
    (order[..LARGEST_TOKENS].iter().map(|(_, place)| line(*place)).collect(), Some(left_out))
}

fn print_lines(what: &str, lines: &[Line], maps: &[Received], terminal: &mut Terminal) -> Result<(), Failure> {
    if let [_] = maps {
        let head = format!("{} share   95 % interval    uniform  where seen  queries", pad(what, NAME));
        writeln!(terminal, "{}", terminal.bold(&head))?;
        for line in lines {
            let share = &line.shares[0];
            let interval = share.interval();
            let interval =
                interval.map_or("–".into(), |(low, high)| format!("{} to {}", short(Some(low)), short(Some(high))));
            let seen = short(share.where_seen.mean());
            let (score, uniform) = (short(share.score()), short(share.baseline()));
            let line = format!(
                "{} {score:<7} {interval:<16} {uniform:<8} {seen:<11} {}",
                pad(&line.name, NAME),
                share.where_seen.n
            );
            writeln!(terminal, "{}", line.trim_end())?;
        }
        return Ok(());
    }
    let shown = shown(maps.len(), terminal.width.saturating_sub(NAME + 1 + NUMBER) / NUMBER);
    let names: String = shown.iter().map(|map| format!("{:<NUMBER$}", OfText::name(&maps[*map]))).collect();
    writeln!(terminal, "{}", terminal.bold(format!("{} uniform {names}", pad(what, NAME)).trim_end()))?;
    for line in lines {
        let numbers: String =
            shown.iter().map(|map| format!("{:<NUMBER$}", short(line.shares[*map].score()))).collect();
        let line = format!("{} {:<NUMBER$}{numbers}", pad(&line.name, NAME), uniform(&line.shares));
        writeln!(terminal, "{}", line.trim_end())?;
    }
    if shown.len() < maps.len() {
        let n = counted(maps.len() - shown.len(), "map");
        writeln!(terminal, "{}", terminal.dim(&format!("{n} between are not shown; --json prints all of them")))?;
    }
    Ok(())
}

/// The maps that there is room for: spread evenly, the first and the last among them.
fn shown(n: usize, room: usize) -> Vec<usize> {
    let n_shown = n.min(room.max(2));
    (0..n_shown).map(|place| if n_shown == 1 { 0 } else { place * (n - 1) / (n_shown - 1) }).collect()
}

/// What uniform attention gives: where maps differ, as windows make them, in the mean.
fn uniform(shares: &[Share]) -> String {
    let baselines: Vec<f64> = shares.iter().filter_map(Share::baseline).collect();
    let Some((first, others)) = baselines.split_first() else { return "–".into() };
    if others.iter().all(|other| (other - first).abs() < 1e-9) {
        return short(Some(*first));
    }
    format!("~{}", short(Some(baselines.iter().sum::<f64>() / baselines.len() as f64)))
}

/// Two digits or three: `0.43`, `0.021`, `0.0008`.
fn short(number: Option<f64>) -> String {
    match number.filter(|number| number.is_finite()) {
        None => "–".into(),
        Some(0.0) => "0".into(),
        Some(number) if number >= 0.095 => format!("{number:.2}"),
        Some(number) if number >= 0.0095 => format!("{number:.3}"),
        Some(number) if number >= 0.00005 => format!("{number:.4}"),
        Some(number) => format!("{number:.0e}"),
    }
}

fn legend(text: &OfText<'_>) -> String {
    let has = |name: &str| text.maps.first().is_some_and(|map| text.shares(map).any(|(other, _, _)| other == name));
    let mut legend =
        "Shares of a query's weight, the mean over all queries, every one of them read. uniform: what looking at all \
                      visible tokens alike gives. "
            .to_owned();
    if text.layer.kind == Kind::Decoder {
        legend.push_str("Under a causal mask early tokens are seen by more queries. ");
    }
    if text.maps.len() == 1 {
        legend.push_str(
            "where seen: the mean over the queries that may see it. The interval takes queries as independent, which \
             neighbours are not: it is too narrow. ",
        );
    }
    if text.spans.iter().any(|span| span.range.is_none()) {
        legend.push_str("In brackets: how many tokens. ");
    }
    if has("sink") {
        legend.push_str("sink: what a learned sink takes. ");
    }
    if has("nowhere") {
        legend.push_str("nowhere: what rows lack to a sum of 1. ");
    }
    legend.push_str("Weights are not importance.");
    legend
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_left_out_between_the_first_and_the_last() {
        assert_eq!(shown(3, 6), [0, 1, 2]);
        assert_eq!(shown(32, 5), [0, 7, 15, 23, 31]);
        assert_eq!(shown(1, 0), [0]);
    }

    #[test]
    fn small_shares_keep_their_digits() {
        let shown: Vec<String> =
            [0.4321, 0.0995, 0.0213, 0.00081, 1.5e-5, 0.0].map(|number| short(Some(number))).to_vec();
        assert_eq!(shown, ["0.43", "0.10", "0.021", "0.0008", "2e-5", "0"]);
        assert_eq!(short(None), "–");
    }
}
