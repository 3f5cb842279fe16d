//! Texts, pairs and JSON objects on lines of a file.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use attlas::regular_file::without_mark;
use attlas_train::data::pair_of_line;
use serde_json::{Map, Value};

use super::{CorpusItem, CorpusText, MAX_TEXT_BYTES, checked, too_long};
use crate::Error;

/// Bytes of a line at most: two texts, or one in JSON's escapes.
const MAX_LINE_BYTES: usize = 4 * MAX_TEXT_BYTES;

/// The texts of a file's lines.
pub struct Lines {
    lines: RawLines,
    /// What a line says.
    read: fn(&str) -> Result<CorpusText, String>,
}

/// The texts of a file of JSON objects, one a line.
pub struct JsonLines {
    lines: RawLines,
    field: String,
    /// Whether no object was read yet: a field that the first one lacks was misspelt.
    is_first: bool,
}

/// A line that is the text.
pub fn text(line: &str) -> Result<CorpusText, String> {
    Ok(CorpusText { source: checked(line.to_owned())?, target: None })
}

/// A line that is source, tab, target.
pub fn pair(line: &str) -> Result<CorpusText, String> {
    let (source, target, _) = pair_of_line(line.as_bytes())?;
    Ok(CorpusText { source: checked(source)?, target: Some(checked(target)?) })
}

impl Lines {
    /// Opens a file.
    pub fn open(path: &Path, read: fn(&str) -> Result<CorpusText, String>) -> Result<Lines, Error> {
        Ok(Lines { lines: RawLines::open(path)?, read })
    }

    /// Which share of the file was read, in 0 ..= 1.
    pub fn share(&self) -> f64 {
        self.lines.share()
    }

    /// The next text.
    pub fn next(&mut self) -> Result<Option<CorpusItem>, Error> {
        let Some(line) = self.lines.next()? else { return Ok(None) };
        let text = line.and_then(|line| (self.read)(&line));
        Ok(Some(CorpusItem { number: Some(self.lines.number), text }))
    }
}

impl JsonLines {
    /// Opens a file whose texts are in `field`.
    pub fn open(path: &Path, field: &str) -> Result<JsonLines, Error> {
        Ok(JsonLines { lines: RawLines::open(path)?, field: field.to_owned(), is_first: true })
    }

    /// Which share of the file was read, in 0 ..= 1.
    pub fn share(&self) -> f64 {
        self.lines.share()
    }

    /// The next text. A field that is empty is passed over.
    pub fn next(&mut self) -> Result<Option<CorpusItem>, Error> {
        loop {
            let Some(line) = self.lines.next()? else { return Ok(None) };
            let object = line.and_then(|line| object(&line));
            if let (true, Ok(object)) = (self.is_first, &object)
                && !object.contains_key(&self.field)
            {
                return Err(self.no_field(object));
            }
            self.is_first &= object.is_err();
            let text = object.and_then(|mut object| self.text(&mut object));
            if text.as_ref().is_ok_and(|text| text.source.trim().is_empty()) {
                continue;
            }
            return Ok(Some(CorpusItem { number: Some(self.lines.number), text }));
        }
    }

    fn text(&self, object: &mut Map<String, Value>) -> Result<CorpusText, String> {
        match object.remove(&self.field) {
            Some(Value::String(text)) => Ok(CorpusText { source: checked(text)?, target: None }),
            Some(other) => Err(format!("has {} in the field \"{}\", not a text", kind(&other), self.field)),
            None => Err(format!("has no field \"{}\"", self.field)),
        }
    }

    fn no_field(&self, object: &Map<String, Value>) -> Error {
        let names: Vec<String> = object.keys().take(12).map(|name| format!("\"{name}\"")).collect();
        let there_are = if names.is_empty() { "no field at all".to_owned() } else { names.join(", ") };
        let (path, line, field) = (self.lines.path.clone(), self.lines.number, self.field.clone());
        Error::NoField { path, line, field, there_are }
    }
}

fn object(line: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(line) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(format!("is {}, not a JSON object", kind(&other))),
        Err(error) => Err(format!("is no JSON: {error}")),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The lines of a file that have a word; at most one line is in memory, and of a long one the beginning.
struct RawLines {
    input: BufReader<File>,
    path: PathBuf,
    /// The line that was read last, counted from 1.
    number: u64,
    /// Bytes that were read, and those there are.
    n_read: u64,
    n_bytes: u64,
}

impl RawLines {
    fn share(&self) -> f64 {
        super::share(self.n_read, self.n_bytes)
    }

    fn open(path: &Path) -> Result<RawLines, Error> {
        let file = File::open(path).map_err(|error| Error::file(path, error))?;
        let n_bytes = file.metadata().map_or(0, |about| about.len());
        let input = BufReader::with_capacity(1 << 16, file);
        Ok(RawLines { input, path: path.to_owned(), number: 0, n_read: 0, n_bytes })
    }

    /// The next line with a word, without its end; what is wrong with it otherwise.
    fn next(&mut self) -> Result<Option<Result<String, String>>, Error> {
        loop {
            let mut line = Vec::new();
            let read = read_line(&mut self.input, &mut line);
            let n_bytes =
                read.map_err(|error| Error::file(&self.path, format!("line {}: {error}", self.number + 1)))?;
            if n_bytes == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.n_read += n_bytes as u64;
            if n_bytes > line.len() {
                return Ok(Some(Err(too_long(n_bytes))));
            }
            let line = if self.number == 1 { without_mark(&line) } else { &line };
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let text = std::str::from_utf8(line).map_err(|error| {
                let at = error.valid_up_to();
                format!("is not UTF-8: byte {at} is 0x{:02x}", line.get(at).copied().unwrap_or_default())
            });
            match text {
                Ok(text) if text.trim().is_empty() => {}
                text => return Ok(Some(text.map(str::to_owned))),
            }
        }
    }
}

/// Reads a line with its end, of a long one the beginning; how many bytes the line has, 0 at the end of the file.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut n_bytes = 0;
    loop {
        let buffer = input.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = &buffer[..end.map_or(buffer.len(), |end| end + 1)];
        let room = MAX_LINE_BYTES - line.len().min(MAX_LINE_BYTES);
        line.extend_from_slice(&part[..part.len().min(room)]);
        n_bytes += part.len();
        let is_over = end.is_some() || part.is_empty();
        let n_read = part.len();
        input.consume(n_read);
        if is_over {
            return Ok(n_bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), bytes).expect("it is written");
        file
    }

    /// Each text, or what is wrong, with its line.
    fn read(mut next: impl FnMut() -> Result<Option<CorpusItem>, Error>) -> Vec<(u64, String)> {
        let mut items = Vec::new();
        while let Some(item) = next().expect("the file is read") {
            let said = match item.text {
                Ok(CorpusText { source, target: None }) => source,
                Ok(CorpusText { source, target: Some(target) }) => format!("{source} -> {target}"),
                Err(problem) => format!("! {problem}"),
            };
            items.push((item.number.expect("lines are counted"), said));
        }
        items
    }

    #[test]
    fn each_line_with_a_word_is_a_text_and_what_is_none_is_said_with_its_line() {
        let file = file(b"\xef\xbb\xbfA cat.\r\n\r\n  \nb\xff\nn\0l\nlast");
        let mut lines = Lines::open(file.path(), text).expect("it opens");
        let expected = [
            (1, "A cat."),
            (4, "! is not UTF-8: byte 1 is 0xff"),
            (5, "! has a NUL character, which no text has"),
            (6, "last"),
        ];
        assert_eq!(read(|| lines.next()), expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn a_line_without_an_end_fills_no_memory_and_the_next_one_is_read() {
        let mut bytes = vec![b'a'; MAX_LINE_BYTES + 5];
        bytes.extend_from_slice(b"\nnext\n");
        let file = file(&bytes);
        let mut lines = Lines::open(file.path(), text).expect("it opens");
        let problem = format!("! {}", too_long(MAX_LINE_BYTES + 6));
        assert_eq!(read(|| lines.next()), [(1, problem), (2, "next".to_owned())]);
    }

    #[test]
    fn pairs_have_a_tab_and_two_sides() {
        let file = file(b"a\tb\tfurther\nalone\n\tb\n");
        let mut lines = Lines::open(file.path(), pair).expect("it opens");
        let items = read(|| lines.next());
        assert_eq!(items[0], (1, "a -> b".to_owned()));
        assert_eq!(items[1], (2, "! has no tab; a pair is SOURCE<tab>TARGET".to_owned()));
        assert_eq!(items[2], (3, "! has an empty source side".to_owned()));
    }

    #[test]
    fn a_field_of_each_object_is_a_text() {
        let file = file(b"{\"text\": \"a\"}\n{\"text\": 3}\n[1]\n{\"text\": \" \"}\n{nonsense\n{\"other\": 1}\n");
        let mut lines = JsonLines::open(file.path(), "text").expect("it opens");
        let items = read(|| lines.next());
        assert_eq!(items[0], (1, "a".to_owned()));
        assert_eq!(items[1].1, "! has a number in the field \"text\", not a text");
        assert_eq!(items[2].1, "! is an array, not a JSON object");
        assert!(items[3].1.starts_with("! is no JSON: key must be a string"), "{items:?}");
        assert_eq!(items[4], (6, "! has no field \"text\"".to_owned()));
    }

    #[test]
    fn a_field_that_the_first_object_lacks_is_an_error_that_names_those_there_are() {
        let file = file(b"{\"id\": 7, \"content\": \"a\"}\n");
        let mut lines = JsonLines::open(file.path(), "text").expect("it opens");
        let message = lines.next().expect_err("there is no such field").to_string();
        let end = ", line 1: there is no field \"text\", but \"content\", \"id\"";
        assert!(message.ends_with(end), "{message}");
    }
}
