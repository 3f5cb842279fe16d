//! Texts from the command line, standard input, or the lines of a file.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::Path;

use attlas::regular_file::{self, Problem};

use super::{is_image_name, is_sound_name};
use crate::failure::Failure;
use crate::terminal::remark;
use crate::words::counted;

/// Bytes read from standard input, or a file of lines, at most; a model takes far less.
const MAX_BYTES: u64 = 16 << 20;

/// A text as it was typed; [`read_text`] reads it, so that a wrong one is told in a sentence.
pub type RawText = OsString;

/// The text of an argument: itself, or standard input for `-`. `name` says which argument in messages.
///
/// # Errors
/// When it is not UTF-8, has nothing but white space, or is the name of a folder or of a file of text.
pub fn read_text(raw: &OsStr, name: &str) -> Result<String, Failure> {
    if raw == "-" {
        let text = utf8(&read_stdin()?, "standard input")?;
        let text = text.trim_end_matches(['\n', '\r']);
        if text.trim().is_empty() {
            return Err(Failure::Input("standard input is empty; attention needs at least one word".into()));
        }
        return Ok(text.to_owned());
    }
    // a word of an option, such as a title, may be called as a folder is
    if !name.starts_with("--") && Path::new(raw).is_dir() {
        return Err(is_a_folder(raw, name));
    }
    if names_file(raw) {
        return Err(is_a_name(raw, name));
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

/// Whether a word is the name of a file rather than a text: it ends as files of text do, or there is such a file. Images and
/// sounds are none: models that read those are given their names.
fn names_file(raw: &OsStr) -> bool {
    let path = Path::new(raw);
    let has_ending = path.extension().is_some_and(|ending| !ending.is_empty());
    if !has_ending || is_image_name(path) || is_sound_name(path) {
        return false;
    }
    let is_one_word = !raw.to_string_lossy().contains(char::is_whitespace);
    path.is_file() || (is_one_word && ends_as_text(path))
}

/// Whether a word can only be meant as the name of a file of text, there or not.
pub fn names_text_file(raw: &OsStr) -> bool {
    let path = Path::new(raw);
    raw != "-" && ends_as_text(path) && (path.is_file() || !raw.to_string_lossy().contains(char::is_whitespace))
}

/// Whether a name ends as those of files of text do.
pub fn ends_as_text(path: &Path) -> bool {
    const ENDINGS: [&str; 5] = ["txt", "tsv", "csv", "md", "text"];
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// Asks what is meant by a folder in the place of a text.
fn is_a_folder(raw: &OsStr, name: &str) -> Failure {
    let folder = raw.to_string_lossy();
    let model = Path::new(raw).join("config.json").is_file();
    let ways = if model { format!(": a model is given with --model {folder}") } else { String::new() };
    Failure::Usage(format!(
        "{name} \"{folder}\" is a folder, not a text{ways}; to mean these words, quote them in a longer text"
    ))
}

/// Asks what is meant by the name of a file in the place of a text.
fn is_a_name(raw: &OsStr, name: &str) -> Failure {
    let file = raw.to_string_lossy();
    let path = Path::new(raw);
    if path.is_dir() {
        return Failure::Usage(format!(
            "{name} \"{file}\" is a folder, not a text; give a text, or a file of texts in it"
        ));
    }
    let record = |option: &str| format!("`attlas record {option} {file} -o RUN.safetensors`");
    let ways = if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tsv")) {
        format!(
            "{} runs the model on its pairs of source, tab, target, --lines on each line as a text",
            record("--pairs")
        )
    } else if ends_as_text(path) {
        format!("{} runs the model on each line, `attlas - < {file}` on all of it as one text", record("--lines"))
    } else if path
        .extension()
        .is_some_and(|ending| ["html", "htm"].iter().any(|page| ending.eq_ignore_ascii_case(page)))
    {
        "a page opens in a browser, and the names of recordings end in .safetensors".to_owned()
    } else {
        "arrays are brought with `attlas import`, and the names of recordings end in .safetensors".to_owned()
    };
    let missing = if path.exists() { "" } else { ", and there is none of that name" };
    Failure::Usage(format!(
        "{name} \"{file}\" is the name of a file, not a text{missing}: {ways}; to mean these words, quote them in a longer text"
    ))
}

/// The lines of a file, or of standard input for `-`, as texts; those with nothing but white space are left out and said.
/// The flag says whether any was, the last ones of the file not counted.
///
/// # Errors
/// When the file cannot be read, is not UTF-8, is too large, or has no line with a word.
pub fn read_lines(path: &Path) -> Result<(Vec<String>, bool), Failure> {
    let (bytes, name) = if path.as_os_str() == "-" {
        (read_stdin()?, "standard input".to_owned())
    } else {
        (read_file(path)?, path.display().to_string())
    };
    let text = utf8(&bytes, &name)?;
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let texts: Vec<String> = lines.iter().filter(|line| !line.trim().is_empty()).map(|&line| line.to_owned()).collect();
    if texts.is_empty() {
        return Err(Failure::Input(format!("{name} has no line with a word; a text is a line")));
    }
    let n_empty = lines.len() - texts.len();
    if n_empty > 0 {
        remark(&format!("{name}: left out {}", counted(n_empty, "empty line")));
    }
    Ok((texts, n_empty > 0))
}

/// The whole text of a file.
///
/// # Errors
/// When the file cannot be read, is not UTF-8, or is too large.
pub fn read_utf8(path: &Path) -> Result<String, Failure> {
    utf8(&read_file(path)?, &path.display().to_string())
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let name = path.display();
    regular_file::read(path, MAX_BYTES).map_err(|problem| match problem {
        Problem::TooLong { .. } | Problem::Grew { .. } => Failure::Limit(format!("{name}: {problem}; split it")),
        problem => Failure::Input(format!("{name}: {problem}")),
    })
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let failed = |error| Failure::Input(format!("standard input: could not be read: {error}"));
    std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Failure::Limit(format!(
            "standard input: more than {} MB; cut the text into parts",
            MAX_BYTES >> 20
        )));
    }
    Ok(bytes)
}

/// The text of bytes, without the byte order mark that some programmes put before it.
fn utf8(bytes: &[u8], name: &str) -> Result<String, Failure> {
    let unmarked = |text: &str| text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
    std::str::from_utf8(bytes).map(unmarked).map_err(|error| {
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
    fn a_byte_order_mark_is_no_text() {
        assert_eq!(utf8("\u{feff}caf\u{e9}".as_bytes(), "TEXT").expect("it is UTF-8"), "café");
    }

    #[test]
    fn the_name_of_a_file_is_no_text() {
        for name in ["notes.txt", "pairs.tsv", "a/b.CSV", "README.md"] {
            assert!(names_file(OsStr::new(name)), "{name}");
        }
        for text in ["The cat.", "See notes.txt", "photo.png", "speech.wav", "3.14", "e.g.", "-", "end of notes.txt."] {
            assert!(!names_file(OsStr::new(text)), "{text}");
        }
    }

    #[test]
    fn each_line_is_a_text_and_empty_ones_are_left_out() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("lines");
        std::fs::write(&path, "\u{feff}A cat.\r\n\r\nA dog.\r\n\n").expect("it is written");
        let lines = read_lines(&path).expect("two lines");
        assert_eq!(lines, (vec!["A cat.".to_owned(), "A dog.".to_owned()], true));
        std::fs::write(&path, "\u{feff}\n \n").expect("it is written");
        let message = read_lines(&path).unwrap_err().to_string();
        assert!(message.ends_with("has no line with a word; a text is a line"), "{message}");
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
