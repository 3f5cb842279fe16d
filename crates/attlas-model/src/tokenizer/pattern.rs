//! Checks a regular expression from a file before it is compiled.
//!
//! Expressions without look-around and back-references run in linear time. The others backtrack, and a repeated
//! group that itself repeats takes exponential time: it is refused.

/// The longest expression; those in use have up to 600 bytes.
const MAX_BYTES: usize = 4096;
/// Groups within groups.
const MAX_DEPTH: usize = 32;
/// Unlimited repetitions one after another in a backtracking expression; those in use have two.
const MAX_REPEATS: usize = 3;

/// What is known of the group being read.
#[derive(Default, Clone, Copy)]
struct Group {
    /// Unlimited repetitions in the alternative being read.
    n_repeats: usize,
    /// Whether any alternative repeats without limit.
    repeats: bool,
}

/// Says why an expression is refused, as the end of a sentence.
pub(super) fn check(text: &str) -> Result<(), String> {
    if text.len() > MAX_BYTES {
        return Err(format!("has {} bytes; {MAX_BYTES} are possible", text.len()));
    }
    let bytes = text.as_bytes();
    let mut groups = vec![Group::default()];
    let (mut backtracks, mut nested, mut most_repeats) = (false, false, 0);
    let mut closed: Option<Group> = None; // the group that ended just before
    let mut at = 0;
    while at < bytes.len() {
        let unit = closed.take();
        match bytes[at] {
            b'\\' => {
                backtracks |= matches!(bytes.get(at + 1), Some(b'1'..=b'9' | b'k' | b'K' | b'G'));
                at += 1;
            }
            b'[' => at = end_of_class(bytes, at),
            b'(' => {
                let rest = &bytes[at + 1..];
                backtracks |=
                    [&b"?="[..], b"?!", b"?<=", b"?<!", b"?>", b"?("].iter().any(|mark| rest.starts_with(mark));
                groups.push(Group::default());
                if groups.len() > MAX_DEPTH {
                    return Err(format!("nests more than {MAX_DEPTH} groups"));
                }
            }
            b')' if groups.len() > 1 => closed = groups.pop(),
            b'|' => {
                if let Some(group) = groups.last_mut() {
                    group.n_repeats = 0;
                }
            }
            b'*' | b'+' | b'{' if is_unlimited(bytes, at) => {
                nested |= unit.is_some_and(|group| group.repeats);
                if let Some(group) = groups.last_mut() {
                    group.repeats = true;
                    group.n_repeats += 1;
                    most_repeats = most_repeats.max(group.n_repeats);
                }
            }
            _ => {}
        }
        // What a closed group repeats, its parent repeats.
        if let (Some(inner), Some(outer)) = (closed, groups.last_mut()) {
            outer.repeats |= inner.repeats;
            outer.n_repeats += inner.n_repeats;
            most_repeats = most_repeats.max(outer.n_repeats);
        }
        at += 1;
    }
    if backtracks && nested {
        return Err(
            "repeats a group that itself repeats, beside look-around: it could take exponential time".to_owned()
        );
    }
    if backtracks && most_repeats > MAX_REPEATS {
        return Err(format!(
            "has {most_repeats} unlimited repetitions in a row beside look-around; {MAX_REPEATS} are possible"
        ));
    }
    Ok(())
}

/// Whether the quantifier at `at` has no upper limit: `*`, `+`, `{n,}`.
fn is_unlimited(bytes: &[u8], at: usize) -> bool {
    if bytes[at] != b'{' {
        // After another quantifier, `+` makes it possessive.
        return !(bytes[at] == b'+' && at > 0 && matches!(bytes[at - 1], b'*' | b'+' | b'?' | b'}'));
    }
    let end = bytes[at..].iter().position(|byte| *byte == b'}').map_or(bytes.len(), |length| at + length);
    let bounds = &bytes[at + 1..end.max(at + 1)];
    let limit = bounds.split(|byte| *byte == b',').next_back().unwrap_or_default();
    bounds.contains(&b',') && (limit.is_empty() || limit.len() > 2)
}

/// The index of the bracket that closes the class opened at `at`.
fn end_of_class(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut index) = (0, at);
    while index < bytes.len() {
        match bytes[index] {
            b'\\' => index += 1,
            b'[' => depth += 1,
            b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
        index += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn the_expressions_of_tokenizers_in_use_pass() {
        for text in [
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"n't\b|'(?:s|m|re|ve|ll|d)\b|(?:(?!n't\b)[\p{L}\p{M}▁])+'(?=\p{L})(?!(?:t|s|m|re|ve|ll|d)\b)",
            " {2,}",
            r"(a+)+b",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn exponential_backtracking_is_refused() {
        assert!(check(r"(a+)+(?!b)").unwrap_err().contains("exponential"));
        assert!(check(r"(?:(x|a*)y?){2,}(?=b)").unwrap_err().contains("exponential"));
        assert!(check(r"a*a*a*a*(?!a)").unwrap_err().contains("4 unlimited repetitions"));
        assert!(check(&"(".repeat(100)).unwrap_err().contains("nests"));
        assert!(check(&"a".repeat(5000)).unwrap_err().contains("5000 bytes"));
    }
}
