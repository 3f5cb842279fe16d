//! Texts from the command line or standard input.

use std::ffi::{OsStr, OsString};
use std::io::Read;

use crate::failure::Failure;
use crate::terminal::remark;

/// Bytes read from standard input at most; a model takes far less.
const MAX_STDIN_BYTES: u64 = 16 << 20;

/// A text as it was typed; [`read_text`] reads it, so that a wrong one is told in a sentence.
pub type RawText = OsString;

/// The text of an argument: itself, or standard input for `-`. `name` says which argument in messages.
///
/// # Errors
/// When it is not UTF-8, or has nothing but white space.
pub fn read_text(raw: &OsStr, name: &str) -> Result<String, Failure> {
    if raw == "-" {
        return read_stdin();
    }
    let text = utf8(raw.as_encoded_bytes(), name)?;
    if text.trim().is_empty() {
        return Err(Failure::Input(format!("{name} is empty; attention needs at least one word")));
    }
    Ok(text)
}

/// The texts that can be used; the others are named on standard error. The flag says whether any was left out.
///
/// # Errors
/// When none can be used: what is wrong with the first.
pub fn read_texts<S: AsRef<OsStr>>(raw: &[S]) -> Result<(Vec<(usize, String)>, bool), Failure> {
    let mut texts = Vec::new();
    let mut failures = Vec::new();
    for (index, raw) in raw.iter().enumerate() {
        let name = if index == 0 && failures.is_empty() { "TEXT".to_owned() } else { format!("text {index}") };
        match read_text(raw.as_ref(), &name) {
            Ok(text) => texts.push((index, text)),
            Err(Failure::Input(message)) => failures.push(message),
            Err(other) => return Err(other),
        }
    }
    if texts.is_empty() {
        let message = failures.into_iter().next().unwrap_or_else(|| "no text was given".into());
        return Err(Failure::Input(message));
    }
    for message in &failures {
        remark(&format!("skipped: {message}"));
    }
    Ok((texts, !failures.is_empty()))
}

fn read_stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let failed = |error| Failure::Input(format!("standard input: could not be read: {error}"));
    std::io::stdin().lock().take(MAX_STDIN_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_STDIN_BYTES {
        return Err(Failure::Input(format!(
            "standard input: more than {} MB; cut the text into parts",
            MAX_STDIN_BYTES >> 20
        )));
    }
    let text = utf8(&bytes, "standard input")?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.trim().is_empty() {
        return Err(Failure::Input("standard input is empty; attention needs at least one word".into()));
    }
    Ok(text.to_owned())
}

fn utf8(bytes: &[u8], name: &str) -> Result<String, Failure> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| {
        let at = error.valid_up_to();
        let byte = bytes.get(at).copied().unwrap_or_default();
        Failure::Input(format!("{name} is not UTF-8: byte {at} is 0x{byte:02x}; convert it, for example with iconv"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_no_text() {
        let failure = read_text(OsStr::new(" \t\n"), "TEXT").unwrap_err();
        assert_eq!(failure.to_string(), "TEXT is empty; attention needs at least one word");
    }

    #[test]
    fn a_wrong_byte_is_named_with_its_place() {
        assert!(utf8(b"caf\xe9", "TEXT").unwrap_err().to_string().starts_with("TEXT is not UTF-8: byte 3 is 0xe9"));
    }

    #[test]
    fn one_empty_text_of_several_is_skipped() {
        let (texts, some_skipped) = read_texts(&["a", "", "b"]).expect("two are left");
        assert_eq!(texts, [(0, "a".to_owned()), (2, "b".to_owned())]);
        assert!(some_skipped);
    }
}
