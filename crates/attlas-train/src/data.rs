//! Files of sentence pairs: one pair per line, source and target separated by a tab, UTF-8; further columns are no part of it.

use std::path::Path;

use attlas::SplitMix64;
use attlas::regular_file::without_mark;
use attlas_model::Tokenizer;

use crate::Error;
use crate::batch::{Frame, Pair};

/// Larger files are refused.
pub const MAX_FILE_BYTES: u64 = 4 << 30;

/// What to do with lines that are no pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLines {
    /// The file is refused; the message names the first.
    Refuse,
    /// They are left out and counted.
    Skip,
}

/// The pairs of a file as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// Source and target sentences.
    pub pairs: Vec<(String, String)>,
    /// Lines that were left out because they are no pairs.
    pub n_bad: usize,
    /// Pairs whose line has further columns (an attribution, in the files that tutorials use), which were left out.
    pub n_wider: usize,
}

/// Reads a file of pairs. A byte order mark is no text, lines may end in CR LF, and columns after the second are left out.
///
/// # Errors
/// [`Error::Read`], [`Error::Pairs`] with the first bad line, [`Error::NoPairs`], [`Error::Limit`].
pub fn read_pairs(path: &Path, bad_lines: BadLines) -> Result<Text, Error> {
    let read = |source| Error::Read { path: path.to_path_buf(), source };
    let metadata = std::fs::metadata(path).map_err(read)?;
    if !metadata.is_file() {
        return Err(Error::File { path: path.to_path_buf(), problem: "is no regular file".to_string() });
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(Error::Limit(format!(
            "{}: {} bytes; files of pairs may have {MAX_FILE_BYTES}; split it",
            path.display(),
            metadata.len()
        )));
    }
    let bytes = std::fs::read(path).map_err(read)?;
    let body = without_mark(&bytes);
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    let mut text = Text::default();
    let mut first_bad = None;
    let mut n_lines = 0;
    for line in body.split(|byte| *byte == b'\n') {
        n_lines += 1;
        match pair_of_line(line) {
            Ok((source, target, is_wider)) => {
                text.pairs.push((source, target));
                text.n_wider += usize::from(is_wider);
            }
            Err(problem) => {
                text.n_bad += 1;
                first_bad.get_or_insert((n_lines, problem));
            }
        }
    }
    if body.is_empty() {
        return Err(Error::NoPairs { path: path.to_path_buf() });
    }
    if let (BadLines::Refuse, Some((line, problem))) = (bad_lines, first_bad) {
        return Err(Error::Pairs { path: path.to_path_buf(), line, problem, n_bad: text.n_bad, n_lines });
    }
    if text.pairs.is_empty() {
        return Err(Error::NoPairs { path: path.to_path_buf() });
    }
    Ok(text)
}

/// Source and target of one line, and whether it has further columns.
///
/// # Errors
/// What is wrong with it, to follow on its place: `has no tab`.
pub fn pair_of_line(line: &[u8]) -> Result<(String, String, bool), String> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = std::str::from_utf8(line).map_err(|_| "is no valid UTF-8".to_string())?;
    let mut columns = line.split('\t');
    let (Some(source), Some(target)) = (columns.next(), columns.next()) else {
        return Err("has no tab; a pair is SOURCE<tab>TARGET".to_string());
    };
    match (source.trim().is_empty(), target.trim().is_empty()) {
        (true, _) => Err("has an empty source side".to_string()),
        (_, true) => Err("has an empty target side".to_string()),
        _ => Ok((source.to_string(), target.to_string(), columns.next().is_some())),
    }
}

/// Pairs as token ids, and how many were left out because a side is longer than `max_len`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The pairs.
    pub pairs: Vec<Pair>,
    /// The place of each among the texts.
    pub kept: Vec<usize>,
    /// How many were too long.
    pub n_too_long: usize,
}

/// Encodes text, framed as the network reads it.
///
/// # Errors
/// [`Error::Tokenizer`].
pub fn encode(
    tokenizer: &Tokenizer,
    pairs: &[(String, String)],
    frame: Frame,
    max_len: usize,
) -> Result<Encoded, Error> {
    let mut encoded = Encoded { pairs: Vec::with_capacity(pairs.len()), kept: Vec::new(), n_too_long: 0 };
    for (place, (source, target)) in pairs.iter().enumerate() {
        let mut source = ids(tokenizer, source)?;
        source.push(frame.end);
        let target = ids(tokenizer, target)?;
        if source.len() > max_len || target.len() + 1 > max_len {
            encoded.n_too_long += 1;
        } else {
            encoded.pairs.push(Pair { source, target });
            encoded.kept.push(place);
        }
    }
    Ok(encoded)
}

/// The token ids of a text, without special tokens.
///
/// # Errors
/// [`Error::Tokenizer`].
pub fn ids(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, Error> {
    tokenizer.ids(text).map_err(|error| Error::Tokenizer(error.to_string()))
}

/// The batches of one epoch: indices of pairs, each batch of at most `max_tokens` target tokens (one pair at least).
///
/// The order is a function of seed and epoch alone. Sentences are packed one after the other, so a batch of mixed lengths
/// costs no padding and needs no sorting by length.
pub fn epoch_batches(pairs: &[Pair], max_tokens: usize, seed: u64, epoch: u64) -> Vec<Vec<u32>> {
    let mix = |x: u64| SplitMix64::new(x).number();
    let mut random = Random::new(mix(mix(seed) ^ mix(epoch.wrapping_add(0x5eed))));
    let mut order: Vec<u32> = (0..pairs.len() as u32).collect();
    random.shuffle(&mut order);
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    let mut n_tokens = 0;
    for index in order {
        let length = pairs[index as usize].target.len() + 1;
        if n_tokens + length > max_tokens && !batch.is_empty() {
            batches.push(std::mem::take(&mut batch));
            n_tokens = 0;
        }
        batch.push(index);
        n_tokens += length;
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

/// A small generator (SplitMix64) for shuffles, first weights and variations.
#[derive(Debug, Clone)]
pub struct Random(SplitMix64);

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Random {
        Random(SplitMix64::new(seed))
    }

    /// Uniform in `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        (self.0.number() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Whether what happens with this probability happens.
    pub fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && self.uniform() < share
    }

    /// Uniform in `0..n`; 0 where `n` is.
    pub fn below(&mut self, n: usize) -> usize {
        (self.uniform() * n as f64) as usize
    }

    /// Standard normal (Box & Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Shuffles (Fisher & Yates).
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Text, Error> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("pairs.tsv");
        std::fs::write(&path, bytes).expect("it is written");
        read_pairs(&path, BadLines::Refuse)
    }

    #[test]
    fn a_byte_order_mark_and_carriage_returns_are_no_text() {
        let plain = read("A cat.\tUn chat.\nA dog.\tUn chien.\n".as_bytes()).expect("two pairs");
        let marked = read("\u{feff}A cat.\tUn chat.\r\nA dog.\tUn chien.\r\n".as_bytes()).expect("two pairs");
        assert_eq!(marked, plain);
        assert!(matches!(read("\u{feff}".as_bytes()), Err(Error::NoPairs { .. })), "a mark alone");
    }

    #[test]
    fn columns_after_the_second_are_left_out_and_counted() {
        let text = read(b"Go.\tVa !\tCC-BY 2.0\nHi.\tSalut.\nRun!\tCours !\tCC-BY\t#1\n").expect("three pairs");
        let pairs: Vec<_> = text.pairs.iter().map(|(source, target)| (source.as_str(), target.as_str())).collect();
        assert_eq!(pairs, [("Go.", "Va !"), ("Hi.", "Salut."), ("Run!", "Cours !")]);
        assert_eq!((text.n_wider, text.n_bad), (2, 0));
    }
}
