//! Reference alignments as the field writes them: `0-0 1p1`, a sentence pair on each line.

use super::{Alignment, Pair, Reference};

/// Which side's word stands first in a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkOrder {
    /// `source-target`.
    #[default]
    SourceFirst,
    /// `target-source`.
    TargetFirst,
}

/// Reads a file of links, a sentence pair on each line: `-` between the words of a sure link, `p`, `?` or `:` between those of a
/// possible one. `first` is the number of the first word, 0 or 1. An empty line is a pair without links.
///
/// # Errors
/// A sentence that names the line, counted from 1, and the link.
pub fn parse_references(text: &str, first: usize, order: LinkOrder) -> Result<Vec<Reference>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let line = |(index, line): (usize, &str)| {
        reference(line, first, order).map_err(|problem| format!("line {}: {problem}", index + 1))
    };
    text.lines().enumerate().map(line).collect()
}

fn reference(line: &str, first: usize, order: LinkOrder) -> Result<Reference, String> {
    let (mut sure, mut others) = (Alignment::default(), Alignment::default());
    for written in line.split_whitespace() {
        let no_link = || format!("\"{written}\" is no link; a sure one is written 0-0, a possible one 0p0, 0?0 or 0:0");
        let (left, right) = written.split_once(['-', 'p', '?', ':']).ok_or_else(no_link)?;
        let word = |digits: &str| match digits.parse::<usize>() {
            Ok(number) => number.checked_sub(first).ok_or_else(|| {
                format!("\"{written}\" names word {number}, but its words are said to count from {first}")
            }),
            Err(_) => Err(no_link()),
        };
        let pair = match order {
            LinkOrder::SourceFirst => Pair::new(word(left)?, word(right)?),
            LinkOrder::TargetFirst => Pair::new(word(right)?, word(left)?),
        };
        if written.as_bytes()[left.len()] == b'-' { &mut sure } else { &mut others }.insert(pair);
    }
    Ok(Reference::new(sure, &others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sure_and_possible_links_are_told_apart() {
        let read = parse_references("0-1 2p0 3?3 4:4\r\n\n", 0, LinkOrder::SourceFirst).expect("links");
        assert_eq!(
            (read[0].sure().to_string(), read[0].possible().to_string()),
            ("0-1".into(), "2-0 0-1 3-3 4-4".into())
        );
        assert_eq!((read.len(), read[1].possible().len()), (2, 0), "an empty line is a pair without links");
        let turned = parse_references("\u{feff}1-2", 1, LinkOrder::TargetFirst).expect("links");
        assert_eq!(turned[0].sure().to_string(), "1-0");
    }

    #[test]
    fn what_is_no_link_is_named_with_its_line() {
        let refused = |text: &str, first| parse_references(text, first, LinkOrder::SourceFirst).unwrap_err();
        assert!(
            refused("0-0\n1-0 0-2", 1)
                .starts_with("line 1: \"0-0\" names word 0, but its words are said to count from 1")
        );
        for text in ["0-0\n12", "0-0\n1-", "0-0\n1-2-3", "0-0\n-1-2", "0-0\n1–2", "0-0\n1-99999999999999999999"] {
            let problem = refused(text, 0);
            assert!(problem.starts_with("line 2: \"") && problem.contains("is no link"), "{problem}");
        }
    }
}
