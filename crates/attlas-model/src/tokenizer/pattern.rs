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
    let mut reading = Reading::default();
    reading.groups.push(Group::default());
    let mut at = 0;
    while at < text.len() {
        at = reading.read(text.as_bytes(), at)?;
    }
    if reading.backtracks && reading.nested {
        return Err(
            "repeats a group that itself repeats, beside look-around: it could take exponential time".to_owned()
        );
    }
    let n = reading.most_repeats;
    if reading.backtracks && n > MAX_REPEATS {
        return Err(format!("has {n} unlimited repetitions in a row beside look-around; {MAX_REPEATS} are possible"));
    }
    Ok(())
}

/// What is known of an expression while it is read.
#[derive(Default)]
struct Reading {
    /// The groups that are open, the whole expression first.
    groups: Vec<Group>,
    /// The group that ended just before.
    closed: Option<Group>,
    /// Whether the expression looks around or back.
    backtracks: bool,
    /// Whether a group that repeats is repeated.
    nested: bool,
    /// The most unlimited repetitions in a row.
    most_repeats: usize,
}

impl Reading {
    /// Reads what stands at `at`, and says where the next begins.
    fn read(&mut self, bytes: &[u8], at: usize) -> Result<usize, String> {
        let unit = self.closed.take();
        let mut last = at;
        match bytes[at] {
            b'\\' => {
                self.backtracks |= matches!(bytes.get(at + 1), Some(b'1'..=b'9' | b'k' | b'K' | b'G'));
                last += 1;
            }
            b'[' => last = end_of_class(bytes, at),
            b'(' => {
                let rest = &bytes[at + 1..];
                self.backtracks |=
                    [&b"?="[..], b"?!", b"?<=", b"?<!", b"?>", b"?("].iter().any(|mark| rest.starts_with(mark));
                self.groups.push(Group::default());
                if self.groups.len() > MAX_DEPTH {
                    return Err(format!("nests more than {MAX_DEPTH} groups"));
                }
            }
            b')' if self.groups.len() > 1 => self.close(),
            b'|' => {
                if let Some(group) = self.groups.last_mut() {
                    group.n_repeats = 0;
                }
            }
            b'*' | b'+' | b'{' if is_unlimited(bytes, at) => self.repeat(unit),
            _ => {}
        }
        Ok(last + 1)
    }

    /// What a closed group repeats, its parent repeats.
    fn close(&mut self) {
        self.closed = self.groups.pop();
        if let (Some(inner), Some(outer)) = (self.closed, self.groups.last_mut()) {
            outer.repeats |= inner.repeats;
            outer.n_repeats += inner.n_repeats;
            self.most_repeats = self.most_repeats.max(outer.n_repeats);
        }
    }

    /// An unlimited repetition, of the group that ended just before or of something plain.
    fn repeat(&mut self, unit: Option<Group>) {
        self.nested |= unit.is_some_and(|group| group.repeats);
        if let Some(group) = self.groups.last_mut() {
            group.repeats = true;
            group.n_repeats += 1;
            self.most_repeats = self.most_repeats.max(group.n_repeats);
        }
    }
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
