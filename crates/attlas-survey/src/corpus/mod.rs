//! A corpus: the texts of some files, one after the other, in bounded memory.

mod lines;
mod parquet_column;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use attlas::conllu::Sentences;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::lines::{JsonLines, Lines};
use self::parquet_column::ParquetColumn;
use crate::{Error, hex};

/// Bytes of a text at most: no model reads more, and a line without an end fills no memory.
pub const MAX_TEXT_BYTES: usize = 1 << 20;
/// Bytes at each end of a file that tell it from others of the same length.
const END_BYTES: u64 = 1 << 16;

/// How a file holds its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CorpusFormat {
    /// A text on each line.
    Lines,
    /// A pair on each line: source, tab, target.
    Tsv,
    /// A JSON object on each line, one of whose fields is the text.
    Jsonl,
    /// Parquet, one of whose columns holds the texts.
    Parquet,
    /// CoNLL-U: the text of each sentence.
    Conllu,
}

/// A text of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorpusText {
    /// What the model reads.
    pub source: String,
    /// What its decoder reads, where the file says it.
    pub target: Option<String>,
}

/// A text, or the reason why there is none, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorpusItem {
    /// The line counted from 1, the sentence counted from 1, the row counted from 0; `None` where nobody knows.
    pub number: Option<u64>,
    /// The text; what is wrong with it otherwise, to follow on its place: `has no tab`.
    pub text: Result<CorpusText, String>,
}

/// What tells a file from others, whatever folder it lies in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Its name without its folder.
    pub name: String,
    /// Its length.
    pub n_bytes: u64,
    /// SHA-256 of its length and its first and last 64 KiB, in hexadecimal.
    pub sha256_of_ends: String,
}

/// One file of a corpus.
#[derive(Debug, Clone)]
pub struct CorpusFile {
    /// Where it is.
    pub path: PathBuf,
    /// How it holds its texts.
    pub format: CorpusFormat,
    /// What tells it from others.
    pub identity: FileIdentity,
}

/// Which part of a row is the text.
#[derive(Debug, Clone, Default)]
pub struct TextNames {
    /// The field of a JSON object.
    pub field: String,
    /// The column of a Parquet file.
    pub column: String,
}

/// The texts of a file.
pub enum TextsOf {
    /// Lines of text, or of pairs.
    Lines(Lines),
    /// Lines of JSON.
    Json(JsonLines),
    /// A column.
    Column(Box<ParquetColumn>),
    /// Sentences, how many were read, and how far the file is.
    Sentences(Box<Sentences<BufReader<Counted>>>, u64, Arc<AtomicU64>, u64),
}

impl CorpusFormat {
    /// What an item of the file is called: `line 7`.
    pub fn unit(self) -> &'static str {
        match self {
            CorpusFormat::Lines | CorpusFormat::Tsv | CorpusFormat::Jsonl => "line",
            CorpusFormat::Parquet => "row",
            CorpusFormat::Conllu => "sentence",
        }
    }

    /// The format that a name ends in; a text on each line where it says nothing.
    fn named_by(path: &Path) -> Result<CorpusFormat, Error> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        match ending.as_str() {
            "tsv" => Ok(CorpusFormat::Tsv),
            "jsonl" | "ndjson" => Ok(CorpusFormat::Jsonl),
            "parquet" | "pq" => Ok(CorpusFormat::Parquet),
            "conllu" | "conll" => Ok(CorpusFormat::Conllu),
            "gz" | "bz2" | "xz" | "zst" | "zip" | "tar" | "tgz" | "7z" => {
                Err(Error::file(path, format!("is packed (.{ending}); unpack it first")))
            }
            _ => Ok(CorpusFormat::Lines),
        }
    }
}

impl CorpusFile {
    /// Looks at a file of a corpus; `format` where its name does not say it.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, is no regular file, or is packed.
    pub fn find(path: &Path, format: Option<CorpusFormat>) -> Result<CorpusFile, Error> {
        let format = format.map_or_else(|| CorpusFormat::named_by(path), Ok)?;
        let failed = |problem: String| Error::file(path, problem);
        let about = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
        if !about.is_file() {
            return Err(failed("is not a regular file".into()));
        }
        let digest = digest_of_ends(path, about.len()).map_err(|error| failed(error.to_string()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let identity = FileIdentity { name, n_bytes: about.len(), sha256_of_ends: digest };
        Ok(CorpusFile { path: path.to_owned(), format, identity })
    }

    /// The texts of the file, from the first on.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, or has no such column.
    pub fn texts(&self, names: &TextNames) -> Result<TextsOf, Error> {
        Ok(match self.format {
            CorpusFormat::Lines => TextsOf::Lines(Lines::open(&self.path, lines::text)?),
            CorpusFormat::Tsv => TextsOf::Lines(Lines::open(&self.path, lines::pair)?),
            CorpusFormat::Jsonl => TextsOf::Json(JsonLines::open(&self.path, &names.field)?),
            CorpusFormat::Parquet => TextsOf::Column(Box::new(ParquetColumn::open(&self.path, &names.column)?)),
            CorpusFormat::Conllu => {
                let file = File::open(&self.path);
                let file = file.map_err(|error| Error::file(&self.path, error))?;
                let n_read = Arc::new(AtomicU64::new(0));
                let counted = BufReader::new(Counted { file, n_read: Arc::clone(&n_read) });
                TextsOf::Sentences(Box::new(Sentences::read(counted, &self.path)), 0, n_read, self.identity.n_bytes)
            }
        })
    }
}

/// Refuses a file that is named twice.
///
/// # Errors
/// [`Error::Twice`].
pub fn refuse_twice(files: &[CorpusFile]) -> Result<(), Error> {
    for (index, file) in files.iter().enumerate() {
        if let Some(first) = files[..index].iter().find(|other| other.identity == file.identity) {
            return Err(Error::Twice { first: first.path.clone(), again: file.path.clone() });
        }
    }
    Ok(())
}

impl TextsOf {
    /// The next text; `None` at the end. Those with nothing but white space are passed over.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be read on.
    pub fn next_item(&mut self) -> Result<Option<CorpusItem>, Error> {
        match self {
            TextsOf::Lines(lines) => lines.next(),
            TextsOf::Json(lines) => lines.next(),
            TextsOf::Column(column) => column.next(),
            TextsOf::Sentences(sentences, number, ..) => {
                *number += 1;
                let text = match sentences.next() {
                    None => return Ok(None),
                    Some(Ok(sentence)) => checked(sentence.text),
                    Some(Err(attlas::Error::File { message, .. })) => Err(format!("cannot be read: {message}")),
                    Some(Err(error)) => return Err(error.into()),
                };
                Ok(Some(CorpusItem {
                    number: Some(*number),
                    text: text.map(|source| CorpusText { source, target: None }),
                }))
            }
        }
    }

    /// Which share of the file was read, in 0 ..= 1.
    pub fn share(&self) -> f64 {
        match self {
            TextsOf::Lines(lines) => lines.share(),
            TextsOf::Json(lines) => lines.share(),
            TextsOf::Column(column) => column.share(),
            TextsOf::Sentences(.., n_read, n_bytes) => share(n_read.load(Ordering::Relaxed), *n_bytes),
        }
    }

    /// Passes over texts of the file at `path` that were read before.
    ///
    /// # Errors
    /// As [`next_item`](Self::next_item), and when the file has fewer.
    pub fn skip(&mut self, n: u64, path: &Path) -> Result<(), Error> {
        for _ in 0..n {
            if self.next_item()?.is_none() {
                return Err(Error::file(path, "has fewer texts than were read of it before"));
            }
        }
        Ok(())
    }
}

impl CorpusText {
    /// The text, if both of its sides can be used; what is wrong with it otherwise.
    pub fn checked(self) -> Result<CorpusText, String> {
        let CorpusText { source, target } = self;
        let is_empty = |text: &str| text.trim().is_empty();
        match &target {
            Some(_) if is_empty(&source) => return Err("has an empty source side".to_owned()),
            Some(target) if is_empty(target) => return Err("has an empty target side".to_owned()),
            _ => {}
        }
        Ok(CorpusText { source: checked(source)?, target: target.map(checked).transpose()? })
    }
}

/// A file that counts the bytes that are read of it.
pub struct Counted {
    file: File,
    n_read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.n_read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

fn share(n: u64, of: u64) -> f64 {
    n as f64 / of.max(1) as f64
}

/// A text that can be used; what is wrong with it otherwise.
fn checked(text: String) -> Result<String, String> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(too_long(text.len()));
    }
    match text.contains('\0') {
        true => Err("has a NUL character, which no text has".to_owned()),
        false => Ok(text),
    }
}

fn too_long(n_bytes: usize) -> String {
    format!("has {n_bytes} bytes; texts of up to {MAX_TEXT_BYTES} are read")
}

fn digest_of_ends(path: &Path, n_bytes: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut bytes = n_bytes.to_le_bytes().to_vec();
    (&mut file).take(END_BYTES).read_to_end(&mut bytes)?;
    file.seek(SeekFrom::Start(n_bytes.saturating_sub(END_BYTES)))?;
    file.take(END_BYTES).read_to_end(&mut bytes)?;
    Ok(hex(&Sha256::digest(&bytes)))
}
