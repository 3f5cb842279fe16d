//! CoNLL-U, the format of Universal Dependencies: sentences with their words, where those stand in the text, and their trees.
//!
//! Files are not trusted: they are read sentence by sentence, and no line and no sentence grows past a limit.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::regular_file::{self, without_mark};

/// Bytes of a line at most.
const MAX_LINE_BYTES: usize = 1 << 20;
/// Bytes of a sentence's lines at most.
const MAX_SENTENCE_BYTES: usize = 4 << 20;
/// Words of a sentence at most, those that are not in the text included.
const MAX_WORDS: usize = 10_000;
/// Columns of a line: id, form, lemma, UPOS, XPOS, features, head, relation, enhanced relations, notes.
const N_COLUMNS: usize = 10;

/// A sentence: its text, its words, and how they hang together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// What the file calls it (`# sent_id`); empty where it says nothing.
    pub id: String,
    /// The text (`# text`); joined from the words where the file does not give it.
    pub text: String,
    /// The line of the file on which its first word stands, counted from 1.
    pub line: usize,
    /// The syntactic words, in order: of `du`, written 3-4, those are `de` and `le`.
    pub words: Vec<Word>,
    /// The words that are understood, but not in the text (8.1), in order.
    pub empty_words: Vec<EmptyWord>,
}

/// A syntactic word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The word as the tree has it; may differ from the text where two words are written as one.
    pub form: String,
    /// The bytes of the text it covers; words that are written as one share them.
    pub span: Range<usize>,
    /// Its class, such as `NOUN`; `_` where the file says nothing.
    pub upos: String,
    /// The word it depends on, counted from 0; `None` for the root, and where the file has no tree.
    pub head: Option<usize>,
    /// How it depends on that word, with its subtype: `nsubj:pass`; `_` where the file has no tree.
    pub relation: String,
    /// The notes of the last column as they stand there, joined by `|`.
    pub notes: String,
}

/// A word that is not in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmptyWord {
    /// How many words of the text come before it.
    pub n_before: usize,
    /// The notes of its last column.
    pub notes: String,
}

impl Sentence {
    /// What to call the sentence in a message: its id, or its line.
    pub fn name(&self) -> String {
        match self.id.is_empty() {
            true => format!("the sentence of line {}", self.line),
            false => format!("sentence {}", self.id),
        }
    }

    /// Whether every word says what it depends on, or that it is the root.
    pub fn has_tree(&self) -> bool {
        !self.words.is_empty() && self.words.iter().all(|word| word.head.is_some() || word.relation != "_")
    }
}

impl Word {
    /// The relation without its subtype: `nsubj` of `nsubj:pass`.
    pub fn universal_relation(&self) -> &str {
        self.relation.split(':').next().unwrap_or(&self.relation)
    }

    /// The note of this name: `No` of `SpaceAfter=No`.
    pub fn note(&self, name: &str) -> Option<&str> {
        note(&self.notes, name)
    }
}

/// The note of this name among those joined by `|`.
pub fn note<'a>(notes: &'a str, name: &str) -> Option<&'a str> {
    notes.split('|').find_map(|note| note.strip_prefix(name)?.strip_prefix('='))
}

/// The sentences of a file, read when they are asked for. Memory holds one sentence.
///
/// After a sentence that is wrong the next one can be asked for; after a line that is too long, or that cannot be read,
/// there is none.
#[derive(Debug)]
pub struct Sentences<R> {
    input: R,
    path: PathBuf,
    /// Lines read.
    n_lines: usize,
    is_over: bool,
}

impl Sentences<BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened, [`Error::File`] when it is a folder, a FIFO or a device.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let (file, _) = regular_file::open(path).map_err(|problem| problem.at(path))?;
        Ok(Sentences::read(BufReader::new(file), path))
    }
}

impl<R: BufRead> Sentences<R> {
    /// The sentences of `input`, which messages call `path`.
    pub fn read(input: R, path: &Path) -> Self {
        Sentences { input, path: path.to_path_buf(), n_lines: 0, is_over: false }
    }

    /// The next line without its end; `None` at the end of the file.
    fn line(&mut self) -> Result<Option<String>, Error> {
        let mut bytes = Vec::new();
        let mut input = (&mut self.input).take(MAX_LINE_BYTES as u64 + 1);
        let read = input.read_until(b'\n', &mut bytes);
        let n_bytes = read.map_err(|source| Error::Io { path: self.path.clone(), source });
        if n_bytes.inspect_err(|_| self.is_over = true)? == 0 {
            self.is_over = true;
            return Ok(None);
        }
        self.n_lines += 1;
        if bytes.len() > MAX_LINE_BYTES {
            self.is_over = true;
            return Err(self.error(self.n_lines, "", &format!("is longer than {MAX_LINE_BYTES} bytes")));
        }
        let bytes = if self.n_lines == 1 { without_mark(&bytes) } else { &bytes };
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|error| {
            self.error(self.n_lines, "", &format!("byte {} is no UTF-8; convert the file", error.valid_up_to()))
        })?;
        Ok(Some(text.to_owned()))
    }

    fn error(&self, line: usize, id: &str, message: &str) -> Error {
        let sentence = if id.is_empty() { String::new() } else { format!(" (sentence {id})") };
        Error::File { path: self.path.clone(), message: format!("line {line}{sentence}: {message}") }
    }

    /// Reads on to the line that ends the sentence.
    fn skip_sentence(&mut self) {
        while !self.is_over {
            match self.line() {
                Ok(Some(line)) if !line.trim().is_empty() => {}
                Err(_) if !self.is_over => {} // a line of other bytes ends no sentence
                _ => return,
            }
        }
    }

    /// The next sentence; `None` at the end of the file.
    fn sentence(&mut self) -> Result<Option<Sentence>, Error> {
        let mut draft = Draft::default();
        loop {
            let line = match self.line() {
                Ok(line) => line,
                Err(error) => {
                    self.skip_sentence();
                    return Err(error);
                }
            };
            let n = self.n_lines;
            match line.as_deref() {
                None | Some("") if draft.is_empty() => match line {
                    None => return Ok(None),
                    Some(_) => draft = Draft::default(), // comments alone, or one more empty line
                },
                None | Some("") => {
                    let (id, first_line) = (draft.id.clone(), draft.line);
                    return match draft.finish() {
                        Ok(sentence) => Ok(Some(sentence)),
                        Err((line, message)) => Err(self.error(line.max(first_line), &id, &message)),
                    };
                }
                Some(comment) if comment.starts_with('#') => draft.comment(comment),
                Some(line) => {
                    if let Err(message) = draft.word(line, n) {
                        let error = self.error(n, &draft.id, &message);
                        self.skip_sentence();
                        return Err(error);
                    }
                }
            }
        }
    }
}

impl<R: BufRead> Iterator for Sentences<R> {
    type Item = Result<Sentence, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        self.sentence().transpose()
    }
}

/// A sentence whose lines are being read.
#[derive(Default)]
struct Draft {
    id: String,
    text: Option<String>,
    line: usize,
    /// Bytes of its words' lines.
    n_bytes: usize,
    words: Vec<Word>,
    /// The head of each word as the file counts it: 0 the root, `None` where there is no tree. Shape `[words]`.
    heads: Vec<Option<usize>>,
    empty_words: Vec<EmptyWord>,
    /// What stands in the text, in order.
    pieces: Vec<Piece>,
}

/// What stands in the text between spaces: a word, or several written as one.
struct Piece {
    form: String,
    line: usize,
    has_space_after: bool,
    words: Range<usize>,
}

impl Draft {
    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.empty_words.is_empty()
    }

    fn comment(&mut self, comment: &str) {
        let Some((name, value)) = comment[1..].split_once('=') else { return };
        match name.trim() {
            "sent_id" => self.id = value.trim().to_owned(),
            "text" => self.text = Some(value.trim().to_owned()),
            _ => {}
        }
    }

    /// Takes in the line of a word, of several written as one (3-4), or of one that is not in the text (8.1).
    fn word(&mut self, line: &str, n_line: usize) -> Result<(), String> {
        self.line = if self.is_empty() { n_line } else { self.line };
        self.n_bytes += line.len();
        if self.n_bytes > MAX_SENTENCE_BYTES {
            return Err(format!("the sentence has more than {MAX_SENTENCE_BYTES} bytes"));
        }
        let columns: Vec<&str> = line.splitn(N_COLUMNS + 1, '\t').collect();
        let &[id, form, _, upos, _, _, head, relation, _, notes] = columns.as_slice() else {
            let n = line.split('\t').count();
            return Err(format!("has {n} columns; a word has {N_COLUMNS}, separated by tabs"));
        };
        let next = self.words.len();
        if form.is_empty() {
            return Err("the form of the word is empty".into());
        }
        if next + self.empty_words.len() >= MAX_WORDS {
            return Err(format!("the sentence has more than {MAX_WORDS} words"));
        }
        if let Some((before, _)) = id.split_once('.') {
            self.at(before, next)?;
            self.empty_words.push(EmptyWord { n_before: next, notes: notes.to_owned() });
            return Ok(());
        }
        let has_space_after = note(notes, "SpaceAfter") != Some("No");
        let piece = |words| Piece { form: form.to_owned(), line: n_line, has_space_after, words };
        let is_within = self.pieces.last().is_some_and(|piece| piece.words.end > next);
        if let Some((first, last)) = id.split_once('-') {
            self.at(first, next + 1)?;
            let last: usize = last.parse().map_err(|_| format!("\"{id}\" is no range of words such as 3-4"))?;
            if is_within || last <= next || last > MAX_WORDS {
                return Err(format!("the words {id} cannot be written as one here"));
            }
            self.pieces.push(piece(next..last));
            return Ok(());
        }
        self.at(id, next + 1)?;
        if !is_within {
            self.pieces.push(piece(next..next + 1));
        }
        self.heads.push(match head {
            "_" => None,
            head => Some(head.parse().map_err(|_| format!("the head \"{head}\" is no number of a word"))?),
        });
        let [form, upos, relation, notes] = [form, upos, relation, notes].map(str::to_owned);
        self.words.push(Word { form, span: 0..0, upos, head: None, relation, notes });
        Ok(())
    }

    /// Checks that an id is the one that is due.
    fn at(&self, id: &str, due: usize) -> Result<(), String> {
        match id.parse::<usize>() {
            Ok(number) if number == due => Ok(()),
            Ok(_) => Err(format!("word {id} stands where word {due} is due")),
            Err(_) => Err(format!("\"{id}\" is no number of a word; word {due} is due")),
        }
    }

    /// The sentence, or what is wrong with it and on which line, 0 for all of it.
    fn finish(mut self) -> Result<Sentence, (usize, String)> {
        if let Some(piece) = self.pieces.last().filter(|piece| piece.words.end > self.words.len()) {
            return Err((piece.line, format!("ends with word {} of those that it writes as one", self.words.len())));
        }
        self.place()?;
        self.hang().map_err(|message| (0, message))?;
        let Draft { id, text, line, words, empty_words, .. } = self;
        Ok(Sentence { id, text: text.unwrap_or_default(), line, words, empty_words })
    }

    /// Finds where each word stands in the text; makes the text where the file does not give it.
    fn place(&mut self) -> Result<(), (usize, String)> {
        let joined = || {
            let piece = |piece: &Piece| piece.form.clone() + if piece.has_space_after { " " } else { "" };
            self.pieces.iter().map(piece).collect::<String>().trim_end().to_owned()
        };
        let text = self.text.get_or_insert_with(joined).as_str();
        let mut end = 0;
        for piece in &self.pieces {
            let rest = text[end..].trim_start();
            let start = text.len() - rest.len();
            if !rest.starts_with(&piece.form) {
                let message =
                    format!("\"{}\" does not come next in the text, which goes on {}", piece.form, begin(rest));
                return Err((piece.line, message));
            }
            end = start + piece.form.len();
            self.words[piece.words.clone()].iter_mut().for_each(|word| word.span = start..end);
        }
        let rest = text[end..].trim();
        match rest.is_empty() {
            true => Ok(()),
            false => Err((0, format!("no word is left for the end of the text, {}", begin(rest)))),
        }
    }

    /// Hangs each word on its head, and refuses what is no tree.
    fn hang(&mut self) -> Result<(), String> {
        let n = self.words.len();
        for (index, head) in self.heads.iter().enumerate() {
            match *head {
                Some(head) if head > n => {
                    return Err(format!("word {} depends on word {head}, but there are {n}", index + 1));
                }
                head => self.words[index].head = head.and_then(|head| head.checked_sub(1)),
            }
        }
        // up from every word: whoever comes back to a word of the same walk goes round in a circle
        let mut walk_of = vec![usize::MAX; n]; // [words]
        for first in 0..n {
            let mut at = Some(first);
            while let Some(word) = at.filter(|word| walk_of[*word] == usize::MAX) {
                walk_of[word] = first;
                at = self.words[word].head;
            }
            if at.is_some_and(|word| walk_of[word] == first) {
                return Err(format!("word {} depends on itself, by way of the words it depends on", first + 1));
            }
        }
        Ok(())
    }
}

/// The beginning of a text, quoted.
fn begin(text: &str) -> String {
    let begin: String = text.chars().take(20).collect();
    let more = if begin.len() < text.len() { "…" } else { "" };
    format!("\"{begin}{more}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line of a word.
    fn word(id: &str, form: &str, head: &str, relation: &str, notes: &str) -> String {
        format!("{id}\t{form}\t_\tNOUN\t_\t_\t{head}\t{relation}\t_\t{notes}\n")
    }

    fn read(file: &str) -> Vec<Result<Sentence, String>> {
        let sentences = Sentences::read(file.as_bytes(), Path::new("a.conllu"));
        sentences.map(|sentence| sentence.map_err(|error| error.to_string())).collect()
    }

    /// The one sentence of a file.
    fn one(file: &str) -> Sentence {
        read(file).remove(0).expect("it is a sentence")
    }

    /// What is said of the first sentence of a file.
    fn problem(file: &str) -> String {
        read(file).remove(0).expect_err("it is refused")
    }

    fn spans(sentence: &Sentence) -> Vec<&str> {
        sentence.words.iter().map(|word| &sentence.text[word.span.clone()]).collect()
    }

    #[test]
    fn words_are_found_in_the_text_with_heads_relations_and_notes() {
        let file = format!(
            "\u{feff}# newdoc\r\n# sent_id = s1\r\n# text = Cats  purr.\r\n{}{}{}\r\n",
            word("1", "Cats", "2", "nsubj:pass", "Entity=(e1)|A=b").replace('\n', "\r\n"),
            word("2", "purr", "0", "root", "SpaceAfter=No").replace('\n', "\r\n"),
            word("3", ".", "2", "punct", "_").replace('\n', "\r\n"),
        );
        let sentence = one(&file);
        assert_eq!((sentence.id.as_str(), sentence.line, sentence.name().as_str()), ("s1", 4, "sentence s1"));
        assert_eq!(spans(&sentence), ["Cats", "purr", "."]);
        assert_eq!(sentence.words[1].span, 6..10);
        assert_eq!(sentence.words.iter().map(|word| word.head).collect::<Vec<_>>(), [Some(1), None, Some(1)]);
        let cats = &sentence.words[0];
        assert_eq!((cats.universal_relation(), cats.note("Entity"), cats.note("Ent")), ("nsubj", Some("(e1)"), None));
        assert!(sentence.has_tree());
    }

    #[test]
    fn words_written_as_one_share_their_place_and_empty_words_have_none() {
        let file = format!(
            "# text = Elle parle du chat.\n{}{}{}{}{}{}{}{}",
            word("1", "Elle", "2", "nsubj", "_"),
            word("2", "parle", "0", "root", "_"),
            word("3-4", "du", "_", "_", "_"),
            word("3", "de", "5", "case", "_"),
            word("4", "le", "5", "det", "_"),
            word("4.1", "gros", "_", "_", "Entity=(e2)"),
            word("5", "chat", "2", "obl", "SpaceAfter=No"),
            word("6", ".", "2", "punct", "_"),
        );
        let sentence = one(&file);
        assert_eq!(spans(&sentence), ["Elle", "parle", "du", "du", "chat", "."]);
        assert_eq!(sentence.words[3].form, "le");
        assert_eq!(sentence.empty_words, [EmptyWord { n_before: 4, notes: "Entity=(e2)".into() }]);
        assert_eq!(sentence.name(), "the sentence of line 2");
    }

    #[test]
    fn a_text_that_is_not_given_is_joined_from_what_is_written() {
        let file = [
            word("1-2", "Au", "_", "_", "_"),
            word("1", "A", "3", "case", "_"),
            word("2", "le", "3", "det", "_"),
            word("3", "25 000", "0", "root", "SpaceAfter=No"),
            word("4", "!", "3", "punct", "_"),
        ];
        let sentence = one(&file.concat());
        assert_eq!(sentence.text, "Au 25 000!");
        assert_eq!(spans(&sentence), ["Au", "Au", "25 000", "!"]);
    }

    #[test]
    fn words_without_a_tree_are_read_as_words() {
        let sentence = one(&word("1", "Cats", "_", "_", "_"));
        assert!(!sentence.has_tree());
        assert_eq!(sentence.words[0].head, None);
    }

    #[test]
    fn what_is_wrong_is_told_with_file_line_and_sentence() {
        let cat = |id: &str, head: &str| word(id, "cat", head, "dep", "_");
        for (file, message) in [
            (cat("1", "0").replace("\t_\t_\n", "\n"), "line 1: has 8 columns; a word has 10, separated by tabs"),
            (cat("2", "0"), "line 1: word 2 stands where word 1 is due"),
            (cat("x", "0"), "line 1: \"x\" is no number of a word; word 1 is due"),
            (cat("1", "x"), "line 1: the head \"x\" is no number of a word"),
            (cat("1", "-1"), "line 1: the head \"-1\" is no number of a word"),
            (cat("1", "7"), "line 1: word 1 depends on word 7, but there are 1"),
            (cat("1", "1"), "line 1: word 1 depends on itself, by way of the words it depends on"),
            (
                cat("1", "0") + &cat("2", "3") + &cat("3", "2"),
                "line 1: word 2 depends on itself, by way of the words it depends on",
            ),
            (cat("1-3", "_") + &cat("1", "0"), "line 1: ends with word 1 of those that it writes as one"),
            (cat("1-2", "_") + &cat("1-2", "_"), "line 2: the words 1-2 cannot be written as one here"),
            (cat("1-x", "_"), "line 1: \"1-x\" is no range of words such as 3-4"),
            (cat("1-99999999", "_"), "line 1: the words 1-99999999 cannot be written as one here"),
            (cat("1", "0").replace("cat", ""), "line 1: the form of the word is empty"),
            (
                "# sent_id = s1\n# text = A dog barks at the other dogs.\n".to_owned() + &cat("1", "0"),
                "line 3 (sentence s1): \"cat\" does not come next in the text, which goes on \"A dog barks at the o…\"",
            ),
            ("# text = cat?\n".to_owned() + &cat("1", "0"), "line 2: no word is left for the end of the text, \"?\""),
        ] {
            assert_eq!(problem(&file), format!("a.conllu: {message}"), "{file}");
        }
    }

    #[test]
    fn after_a_wrong_sentence_the_next_is_read() {
        let good = word("1", "Cats", "0", "root", "_");
        let file = format!("\n# a note\n\n{good}\n{}{good}\n\n{good}", word("2", "bad", "0", "root", "_"));
        let all = read(&file);
        assert_eq!(all.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(all[2].as_ref().expect("it is a sentence").line, 10);
    }

    #[test]
    fn other_bytes_and_endless_lines_are_refused_by_line() {
        let good = word("1", "Cats", "0", "root", "_");
        let mut file = [good.as_bytes(), b"\n2\tcaf\xe9\n", good.as_bytes(), b"\n", good.as_bytes()].concat();
        let all = |file: &[u8]| {
            let sentences = Sentences::read(file, Path::new("a.conllu"));
            sentences.map(|sentence| sentence.map_err(|error| error.to_string())).collect::<Vec<_>>()
        };
        let read = all(&file);
        assert_eq!(read[1], Err("a.conllu: line 3: byte 5 is no UTF-8; convert the file".into()));
        assert_eq!(read.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        file.extend(vec![b'a'; MAX_LINE_BYTES + 1]);
        let read = all(&file);
        assert_eq!(read.last(), Some(&Err("a.conllu: line 7: is longer than 1048576 bytes".into())));
    }

    #[test]
    fn a_sentence_of_too_many_words_is_refused() {
        let file: String = (1..=MAX_WORDS + 1).map(|id| word(&id.to_string(), "a", "0", "root", "_")).collect();
        assert_eq!(problem(&file), "a.conllu: line 10001: the sentence has more than 10000 words");
        let file: String = (1..=MAX_WORDS + 1).map(|id| word(&format!("0.{id}"), "a", "_", "_", "_")).collect();
        assert_eq!(problem(&file), "a.conllu: line 10001: the sentence has more than 10000 words");
    }

    #[test]
    fn a_sentence_of_too_many_bytes_is_refused_and_the_next_is_read() {
        let notes = "a".repeat(MAX_LINE_BYTES - 100);
        let long: String = (1..=5).map(|id| word(&id.to_string(), "a", "0", "root", &notes)).collect();
        let all = read(&format!("{long}\n{}", word("1", "Cats", "0", "root", "_")));
        assert_eq!(all[0], Err("a.conllu: line 5: the sentence has more than 4194304 bytes".into()));
        assert_eq!((all.len(), all[1].is_ok()), (2, true));
    }
}
