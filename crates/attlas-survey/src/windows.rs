//! A corpus cut into windows: the texts that are sorted by length together. A window depends on the corpus and the settings
//! alone, not on when a survey was broken off.

use std::borrow::Cow;

use attlas::survey::TextId;
use sha2::{Digest, Sha256};

use crate::corpus::{CorpusFile, CorpusItem, CorpusText, TextNames, TextsOf};
use crate::{Error, Position, Settings, Skipped, Stop, Work};

/// Bytes of a window's texts, over which it ends.
const MAX_BYTES: usize = 1 << 20;
/// What could not be used of a window, over which it ends: a file without a text fills no memory.
const MAX_UNUSED: usize = 4096;
/// Texts that are passed over before it is asked again whether to stop.
const N_PASSED: u64 = 1024;

/// The windows of a corpus, in order.
pub struct Windows<'a> {
    files: &'a [CorpusFile],
    names: &'a TextNames,
    stop: Stop<'a>,
    settings: Settings,
    texts: Option<TextsOf>,
    /// Where the next window begins.
    position: Position,
}

/// Some texts of a corpus.
#[derive(Default)]
pub struct Window {
    /// Those that belong to the part.
    pub texts: Vec<WindowText>,
    /// What could not be used, of the part.
    pub skipped: Vec<Skipped>,
    /// Where the next window begins.
    pub end: Position,
    /// Which share of the corpus was read until there, in 0 ..= 1.
    pub share: f64,
    /// Whether the corpus is over.
    pub is_last: bool,
}

/// A text of a window.
pub struct WindowText {
    /// Which file it is of, if of any.
    pub file: Option<usize>,
    /// Where it stands in it, or among all texts, where that is known.
    pub number: Option<u64>,
    /// Its hash.
    pub id: TextId,
    /// What the model is to read.
    pub text: CorpusText,
}

impl WindowText {
    /// A text with its hash.
    pub fn new(file: Option<usize>, number: Option<u64>, text: CorpusText) -> WindowText {
        WindowText { file, number, id: id_of(&text), text }
    }

    /// The text with the target that it came with.
    pub fn whole(&self) -> Cow<'_, str> {
        match &self.text.target {
            Some(target) => format!("{}\t{target}", self.text.source).into(),
            None => self.text.source.as_str().into(),
        }
    }
}

impl<'a> Windows<'a> {
    /// The windows from `position` on; `None` when it was to stop before it was reached.
    ///
    /// # Errors
    /// When a file cannot be read, or has fewer texts than were read before.
    pub fn from(work: &Work<'a>, settings: Settings, position: Position) -> Result<Option<Windows<'a>>, Error> {
        let Work { files, names, stop, .. } = *work;
        let position = Position { n_done: 0, ..position };
        let mut windows = Windows { files, names, stop, settings, texts: None, position };
        if let Some(file) = files.get(position.file) {
            let mut texts = file.texts(names)?;
            let mut n_left = position.n_items;
            while n_left > 0 {
                if stop() {
                    return Ok(None);
                }
                let n = n_left.min(N_PASSED);
                texts.skip(n, &file.path)?;
                n_left -= n;
            }
            windows.texts = Some(texts);
        }
        Ok(Some(windows))
    }

    /// The next window; `None` when it was to stop before its end.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn next(&mut self) -> Result<Option<Window>, Error> {
        let mut window = Window::default();
        let mut n_bytes = 0;
        while window.texts.len() < self.settings.window && window.skipped.len() < MAX_UNUSED && n_bytes < MAX_BYTES {
            if (self.stop)() {
                return Ok(None);
            }
            let is_enough = self.settings.limit.is_some_and(|limit| self.position.n_read >= limit);
            let Some((file, item)) = (if is_enough { None } else { self.item()? }) else {
                window.is_last = true;
                break;
            };
            n_bytes += self.take(file, item, &mut window);
        }
        (window.end, window.share) = (self.position, self.share());
        Ok(Some(window))
    }

    /// Puts an item where it belongs; how many bytes the window grew by.
    fn take(&mut self, file: usize, item: CorpusItem, window: &mut Window) -> usize {
        let CorpusItem { number, text } = item;
        match text {
            Ok(text) => {
                self.position.n_read = self.position.n_read.saturating_add(1);
                let text = WindowText::new(Some(file), number, text);
                let n_bytes = text.text.source.len() + text.text.target.as_ref().map_or(0, String::len);
                let is_of_part = self.settings.part.has(text.id.shard());
                if is_of_part {
                    window.texts.push(text);
                }
                if is_of_part { n_bytes } else { 0 }
            }
            // what is no text is dealt out to the parts by its place
            Err(reason) => {
                if self.settings.part.has_place(number.unwrap_or_default()) {
                    window.skipped.push(no_text(Some(&self.files[file]), number, reason));
                }
                0
            }
        }
    }

    /// The next item of the corpus, and its file.
    fn item(&mut self) -> Result<Option<(usize, CorpusItem)>, Error> {
        loop {
            let Some(file) = self.files.get(self.position.file) else { return Ok(None) };
            let texts = match &mut self.texts {
                Some(texts) => texts,
                none => none.insert(file.texts(self.names)?),
            };
            if let Some(item) = texts.next_item()? {
                self.position.n_items += 1;
                return Ok(Some((self.position.file, item)));
            }
            self.texts = None;
            (self.position.file, self.position.n_items) = (self.position.file + 1, 0);
        }
    }

    /// The share of the corpus that was read, by the bytes of its files; of a limit, by its texts.
    pub fn share(&self) -> f64 {
        let size = |file: &CorpusFile| file.identity.n_bytes as f64;
        let all: f64 = self.files.iter().map(size).sum();
        let before: f64 = self.files.iter().take(self.position.file).map(size).sum();
        let of_this = self.texts.as_ref().map_or(0.0, TextsOf::share);
        let of_bytes = (before + of_this * self.files.get(self.position.file).map_or(0.0, size)) / all.max(1.0);
        let of_limit = self.settings.limit.map_or(0.0, |limit| self.position.n_read as f64 / limit.max(1) as f64);
        of_bytes.max(of_limit).min(1.0)
    }
}

/// What is no text, in the words of a list.
pub fn no_text(file: Option<&CorpusFile>, number: Option<u64>, reason: String) -> Skipped {
    let (name, unit) = file.map_or(("", "text"), |file| (file.identity.name.as_str(), file.format.unit()));
    Skipped { file: name.to_owned(), number, unit: unit.to_owned(), reason, text: None }
}

/// A text that is left out. One that came from no file is told by its beginning, since nothing else may be known of it.
pub fn skipped(files: &[CorpusFile], text: &WindowText, reason: String) -> Skipped {
    let file = text.file.and_then(|file| files.get(file));
    let begins = file.is_none().then(|| beginning(&text.text.source));
    Skipped { text: begins, ..no_text(file, text.number, reason) }
}

/// The beginning of a text.
pub fn beginning(text: &str) -> String {
    const MAX_CHARACTERS: usize = 80;
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The hash of a text, or of a pair.
fn id_of(text: &CorpusText) -> TextId {
    let mut hash = Sha256::new();
    hash.update(&text.source);
    if let Some(target) = &text.target {
        hash.update("\t");
        hash.update(target);
    }
    let digest: [u8; 32] = hash.finalize().into();
    TextId(digest.iter().take(16).fold(0, |id, byte| id << 8 | u128::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Part;
    use crate::corpus::CorpusFormat;

    /// The windows of a file of 10,000 lines that are no pairs.
    fn next(stop: Stop<'_>) -> Vec<Option<(usize, u64)>> {
        let file = tempfile::Builder::new().suffix(".tsv").tempfile().expect("a file");
        std::fs::write(file.path(), "no pair\n".repeat(10_000)).expect("it is written");
        let files = [CorpusFile::find(file.path(), Some(CorpusFormat::Tsv)).expect("it is there")];
        let names = TextNames::default();
        let settings = Settings { window: 10, batch_tokens: None, limit: None, part: Part::WHOLE };
        let mut windows =
            Windows { files: &files, names: &names, stop, settings, texts: None, position: Position::default() };
        let mut all = Vec::new();
        loop {
            let window = windows.next().expect("it is read");
            let is_last = window.as_ref().is_none_or(|window| window.is_last);
            all.push(window.map(|window| (window.skipped.len(), window.end.n_items)));
            if is_last {
                return all;
            }
        }
    }

    #[test]
    fn a_file_without_a_text_is_read_window_by_window_until_it_is_to_stop() {
        let all = next(&|| false);
        assert_eq!(all, [Some((4096, 4096)), Some((4096, 8192)), Some((1808, 0))]);
        assert_eq!(next(&|| true), [None]);
    }
}
