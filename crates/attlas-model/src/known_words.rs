//! The words that a translator was taught to write, small enough to stand beside it: a Bloom filter (Bloom 1970).
//!
//! A word is a longest run of letters and digits, in lower case. `target_words.filter` of a model folder holds those of the
//! training targets (docs/training.md): each word sets some bits, and a word one of whose bits is not set was not among them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::Error;
use crate::weights::read_small_file;

/// Its name in a model folder.
pub const FILE: &str = "target_words.filter";

/// A file begins with this and four numbers, the lowest byte first: version (u32), bits of a word (u32), words (u64).
const MAGIC: &[u8; 8] = b"ATTWORDS";
const VERSION: u32 = 1;
const HEADER: usize = 24;

/// Bits for each word; with [`N_HASHES`] of them set, of a million words that are not there about 70 are taken for known.
const BITS_PER_WORD: usize = 20;
const N_HASHES: u32 = 14;

/// A file with more is refused: some thirteen million words.
const MAX_BYTES: u64 = 32 << 20;
/// No word of a file has more bits.
const MAX_HASHES: u32 = 64;

/// A set of words, of which a few that are not in it are taken for members, and none that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownWords {
    n_words: u64,
    n_hashes: u32,
    bits: Cow<'static, [u8]>,
}

impl KnownWords {
    /// The words of texts.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> KnownWords {
        let mut words = BTreeSet::new();
        for text in texts {
            words.extend(words_of(text).map(|span| text[span].to_lowercase()));
        }
        let mut bits = vec![0; (words.len() * BITS_PER_WORD).div_ceil(8).max(1)];
        let n_bits = bits.len() as u64 * 8;
        for bit in words.iter().flat_map(|word| places(word, N_HASHES, n_bits)) {
            bits[(bit / 8) as usize] |= 1 << (bit % 8);
        }
        KnownWords { n_words: words.len() as u64, n_hashes: N_HASHES, bits: Cow::Owned(bits) }
    }

    /// The words that a model folder's [`FILE`] holds; `None` where it has none.
    ///
    /// # Errors
    /// When the file cannot be read, or is no such file.
    pub fn in_folder(folder: &Path) -> Result<Option<KnownWords>, Error> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        KnownWords::read(&path, read_small_file(&path, MAX_BYTES)?.into()).map(Some)
    }

    /// Reads the bytes of such a file; `path` says which in messages.
    ///
    /// # Errors
    /// When they are not.
    pub fn read(path: &Path, bytes: Cow<'static, [u8]>) -> Result<KnownWords, Error> {
        let problem = |message: String| Error::file(path, message);
        let Some((header, bits)) = bytes.split_at_checked(HEADER).filter(|(header, _)| header.starts_with(MAGIC))
        else {
            return Err(problem("is no file of words: it does not begin with ATTWORDS and 16 more bytes".to_owned()));
        };
        let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (version, n_hashes) = (u32_at(8), u32_at(12));
        let n_words = u64::from(u32_at(16)) | u64::from(u32_at(20)) << 32;
        if version != VERSION {
            return Err(problem(format!("is of version {version}; this attlas reads {VERSION}")));
        }
        if !(1..=MAX_HASHES).contains(&n_hashes) || bits.is_empty() {
            let n_bits = bits.len() * 8;
            return Err(problem(format!(
                "has {n_hashes} bits for each word, of {n_bits}; 1 to {MAX_HASHES} were expected, of 8 at least"
            )));
        }
        let bits = match bytes {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[HEADER..]),
            Cow::Owned(mut bytes) => Cow::Owned(bytes.split_off(HEADER)),
        };
        Ok(KnownWords { n_words, n_hashes, bits })
    }

    /// The bytes of a [`FILE`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.n_hashes.to_le_bytes());
        bytes.extend(self.n_words.to_le_bytes());
        bytes.extend_from_slice(&self.bits);
        bytes
    }

    /// How many words were put in.
    pub fn len(&self) -> u64 {
        self.n_words
    }

    /// Whether no word was put in.
    pub fn is_empty(&self) -> bool {
        self.n_words == 0
    }

    /// Whether a word is among them, in whatever case; a few that are not are taken for known.
    pub fn has(&self, word: &str) -> bool {
        let n_bits = self.bits.len() as u64 * 8;
        places(&word.to_lowercase(), self.n_hashes, n_bits)
            .all(|bit| self.bits[(bit / 8) as usize] & (1 << (bit % 8)) != 0)
    }

    /// The words of `text` that are neither known nor stand in `source`, as bytes of it, in their order.
    pub fn unknown_in(&self, text: &str, source: &str) -> Vec<Range<usize>> {
        let in_source: BTreeSet<String> = words_of(source).map(|span| source[span].to_lowercase()).collect();
        let is_new = |span: &Range<usize>| {
            let word = &text[span.clone()];
            !self.has(word) && !in_source.contains(&word.to_lowercase())
        };
        words_of(text).filter(is_new).collect()
    }
}

/// The words of a text, as bytes of it: longest runs of letters and digits.
fn words_of(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (start, _) = rest.find(|(_, char)| char.is_alphanumeric())?;
        while rest.next_if(|(_, char)| char.is_alphanumeric()).is_some() {}
        let end = rest.peek().map_or(text.len(), |(end, _)| *end);
        Some(start..end)
    })
}

/// The bits of a word: `first + k · step` modulo `n_bits`, of the first 16 bytes of its SHA-256 (Kirsch & Mitzenmacher 2006).
fn places(word: &str, n_hashes: u32, n_bits: u64) -> impl Iterator<Item = u64> {
    let hash = Sha256::digest(word.as_bytes());
    let number = |at: usize| hash[at..at + 8].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let (first, step) = (number(0) % n_bits, number(8) % n_bits);
    (0..u64::from(n_hashes)).map(move |k| (first + k * step) % n_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        words_of(text).map(|span| &text[span]).collect()
    }

    #[test]
    fn a_word_is_a_run_of_letters_and_digits() {
        assert_eq!(words("L'été, 5-6 ans… a-t-il\u{a0}? "), ["L", "été", "5", "6", "ans", "a", "t", "il"]);
        assert_eq!(words("fin"), ["fin"]);
        assert!(words(" .!").is_empty());
    }

    #[test]
    fn what_is_neither_known_nor_in_the_source_is_found_with_its_place() {
        let known = KnownWords::of(["Mon nom est Tom.", "Je m'appelle Marie."]);
        assert_eq!(known.len(), 8);
        let text = "MON nom est Annait, Zoé.";
        let unknown = known.unknown_in(text, "My name is zoé.");
        assert_eq!(unknown.iter().map(|span| &text[span.clone()]).collect::<Vec<_>>(), ["Annait"]);
    }

    #[test]
    fn a_written_set_is_read_back() {
        let known = KnownWords::of(["un deux trois"]);
        let bytes = known.to_bytes();
        assert_eq!(KnownWords::read(Path::new(FILE), bytes.clone().into()).expect("it is one"), known);
        // 3 words of 20 bits
        assert_eq!(bytes.len(), HEADER + 8);
    }

    #[test]
    fn another_file_is_refused_with_what_is_wrong_in_it() {
        let refused = |bytes: &[u8]| KnownWords::read(Path::new("w"), bytes.to_vec().into()).unwrap_err().to_string();
        let good = KnownWords::of(["un"]).to_bytes();
        assert!(refused(b"un\ndeux\n").contains("does not begin with ATTWORDS"));
        assert!(refused(&good[..HEADER - 1]).contains("does not begin with ATTWORDS"));
        assert_eq!(
            refused(&good[..HEADER]),
            "w: has 14 bits for each word, of 0; 1 to 64 were expected, of 8 at least"
        );
        let with = |at: usize, byte: u8| [&good[..at], &[byte], &good[at + 1..]].concat();
        assert_eq!(refused(&with(8, 7)), "w: is of version 7; this attlas reads 1");
        assert!(refused(&with(12, 0)).contains("has 0 bits for each word"));
    }

    #[test]
    fn few_words_that_are_not_there_are_taken_for_known() {
        let there: Vec<String> = (0..20_000).map(|n| format!("mot{n}")).collect();
        let known = KnownWords::of(there.iter().map(String::as_str));
        assert!(there.iter().all(|word| known.has(word)));
        let n_wrong = (0..100_000).filter(|n| known.has(&format!("autre{n}"))).count();
        assert!(n_wrong < 40, "{n_wrong} of 100,000"); // 7 are to be expected
    }
}
