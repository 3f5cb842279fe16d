//! Ranges of rows and columns on the command line.

use std::ops::Range;

/// A range of rows or columns, `a:b` without b; either end may be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: Option<usize>,
}

impl Span {
    /// The range, whose open end is `n`. It is never empty: one that begins behind `n` is to be refused by its numbers.
    pub fn range(&self, n: usize) -> Range<usize> {
        self.start..self.end.unwrap_or(n.max(self.start.saturating_add(1)))
    }
}

/// Reads `a:b`, `a:`, `:b`, or one place `a`.
pub fn parse_span(text: &str) -> Result<Span, String> {
    let explain = || format!("\"{text}\" is no range; write 3:8 for 3 to 7, 3: or :8 for an open end, 3 for one place");
    let number = |part: &str| part.trim().parse::<usize>().map_err(|_| explain());
    let span = match text.split_once(':') {
        None => {
            let start = number(text)?;
            Span { start, end: start.checked_add(1) }
        }
        Some((start, end)) => Span {
            start: if start.is_empty() { 0 } else { number(start)? },
            end: if end.is_empty() { None } else { Some(number(end)?) },
        },
    };
    match span.end {
        Some(end) if end <= span.start => {
            Err(format!("the range \"{text}\" is empty; its end must be after its start"))
        }
        _ => Ok(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_with_open_ends() {
        assert_eq!(parse_span("3:8"), Ok(Span { start: 3, end: Some(8) }));
        assert_eq!(parse_span(":8"), Ok(Span { start: 0, end: Some(8) }));
        assert_eq!(parse_span("3:"), Ok(Span { start: 3, end: None }));
        assert_eq!(parse_span("3"), Ok(Span { start: 3, end: Some(4) }));
        assert_eq!([0, 3, 9].map(|start| Span { start, end: None }.range(8)), [0..8, 3..8, 9..10]);
        assert!(parse_span("8:3").unwrap_err().contains("is empty"));
        assert!(parse_span("a:b").unwrap_err().contains("is no range"));
    }
}
