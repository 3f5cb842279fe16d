//! Spans of tokens on the command line, with or without a name.

use attlas::analysis::ROLE_NAMES;

use super::{Span, parse_span};

/// The longest name, in characters.
const LONGEST_NAME: usize = 40;

/// Tokens that belong together: `0:4`, or `system=0:12`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSpan {
    /// The name given, or the range as it was written.
    pub name: String,
    pub range: Span,
}

/// Reads `--span`.
pub fn parse_named_span(text: &str) -> Result<NamedSpan, String> {
    let Some((name, range)) = text.rsplit_once('=') else {
        return Ok(NamedSpan { name: text.to_owned(), range: parse_span(text)? });
    };
    let name = name.trim();
    let range = parse_span(range.trim())?;
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        return Err(format!("a name of 1 to {LONGEST_NAME} characters was expected before =, as in system=0:12"));
    }
    if ROLE_NAMES.contains(&name) {
        let names = ROLE_NAMES.join(", ");
        return Err(format!(
            "\"{name}\" is what attlas calls some tokens by their role ({names}); choose another name"
        ));
    }
    Ok(NamedSpan { name: name.to_owned(), range })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_the_name_given_or_its_range() {
        let named = |name: &str, start, end| Ok(NamedSpan { name: name.into(), range: Span { start, end } });
        assert_eq!(parse_named_span("0:4"), named("0:4", 0, Some(4)));
        assert_eq!(parse_named_span("system=0:12"), named("system", 0, Some(12)));
        assert_eq!(parse_named_span("a=b=3:"), named("a=b", 3, None));
    }

    #[test]
    fn spans_that_are_none_are_refused_with_what_was_expected() {
        for (text, why) in [
            ("system=", "is no range"),
            ("=0:4", "a name of 1 to 40 characters"),
            ("x=4:4", "is empty"),
            ("x=5:4", "is empty"),
            ("special=0:4", "choose another name"),
            ("system", "is no range"),
        ] {
            assert!(parse_named_span(text).is_err_and(|error| error.contains(why)), "{text}");
        }
    }
}
