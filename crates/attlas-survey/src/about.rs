//! What a survey is about: kept in its file, so that only what belongs together is merged or gone on with.

use std::path::Path;

use attlas_model::{Loops, Model, Precision, Side, UnknownWords};
use serde::{Deserialize, Serialize};

use crate::corpus::FileIdentity;
use crate::{Error, fingerprint};

/// The version of the survey's own fields.
const FORMAT: u32 = 1;
/// Skipped texts that are listed; those after them, in the order of files and places, are only counted.
const MAX_LISTED: usize = 10_000;

/// Model, corpus and progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The version of these fields.
    pub format: u32,
    /// The version of attlas that measured.
    pub attlas: String,
    /// The model.
    pub model: ModelIdentity,
    /// What decides which scores there are.
    pub decoding: Decoding,
    /// The files of the corpus, in order.
    pub files: Vec<SurveyedFile>,
    /// Texts in each shard.
    pub n_texts: Vec<u64>,
    /// Texts that could not be used.
    pub n_skipped: u64,
    /// The first of them.
    pub skipped: Vec<Skipped>,
    /// Where to go on; `None` when the survey is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// How the corpus is gone through; `None` when the survey is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
}

/// Which model it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelIdentity {
    /// Its name.
    pub name: String,
    /// Its family.
    pub family: String,
    /// SHA-256 of its files, adapter and tokenizer included; `embedded` for the embedded one.
    pub sha256: String,
    /// The languages that were asked for.
    pub languages: [Option<String>; 2],
    /// How exact its products were: `high`, `fast`, `fastest`; `None` when they were exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
}

/// What the decoder reads, how long a text may be, and what is known of its tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decoding {
    /// Where the decoder's tokens come from.
    pub targets: Targets,
    /// Tokens of a text at most, on either side.
    pub longest: usize,
    /// SHA-256 of the counts of tokens by which some are rare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<String>,
    /// What becomes of generated texts that repeat themselves, and of those with words that the model does not know; as always where
    /// nothing is generated.
    #[serde(default)]
    pub loops: Loops,
    /// Likewise.
    #[serde(default)]
    pub unknown_words: UnknownWords,
    /// How many beams a search for those texts has; they are generated greedily where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beams: Option<usize>,
}

/// Where the decoder's tokens come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// There is no other side, or the corpus gives it.
    Given,
    /// The model generates so many tokens at most where the corpus gives none.
    Generated(usize),
}

/// A file of the corpus, and what was surveyed of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SurveyedFile {
    /// What tells it from others.
    pub identity: FileIdentity,
    /// The shards of it that were surveyed, a bit each, in hexadecimal.
    pub shards: String,
    /// Its texts that were measured.
    pub n_texts: u64,
}

/// A text that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// The name of its file; empty for a text that came from none.
    pub file: String,
    /// Where it stands; `None` for a text of a batch, whose place in the corpus nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// What that number counts: `line`, `row`, `sentence`, `text`.
    pub unit: String,
    /// Why, to follow on that.
    pub reason: String,
    /// How it begins, where it is a text that came from no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// How far a survey is. What comes after it is the same whenever the survey is gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The file in which the present window begins.
    pub file: usize,
    /// Items of that file before it.
    pub n_items: u64,
    /// Texts of the corpus before it, those of other parts included.
    pub n_read: u64,
    /// Texts of it that are done, in the order of their lengths.
    pub n_done: usize,
}

/// How the corpus is gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Texts that are sorted by length together.
    pub window: usize,
    /// Tokens of a batch at most, padding included, where they were said.
    pub batch_tokens: Option<usize>,
    /// Texts of the corpus at most.
    pub limit: Option<u64>,
    /// The part of the corpus.
    pub part: Part,
}

/// A part of a corpus: the shards whose number leaves `index` when it is divided by `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Which part, counted from 0.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

impl ModelIdentity {
    /// The identity of a model that was read from `places`: see [`fingerprint`](crate::fingerprint).
    ///
    /// # Errors
    /// [`Error::File`] when a file cannot be read, [`Error::ReadsNoTexts`] for a model of images or sounds.
    pub fn of(model: &Model, places: &[&Path], languages: [Option<String>; 2]) -> Result<ModelIdentity, Error> {
        let (name, family) = (model.name().to_owned(), model.family().to_owned());
        if model.reads_images() || model.reads_sounds() {
            return Err(Error::ReadsNoTexts(name));
        }
        let precision = Some(model.precision()).filter(|precision| *precision != Precision::Exact);
        let precision = precision.map(|precision| precision.name().to_owned());
        Ok(ModelIdentity { name, family, sha256: fingerprint(places)?, languages, precision })
    }
}

impl Decoding {
    /// Tokens of a text at most where nothing else is said.
    pub const LONGEST: usize = 4096;
    /// Tokens that are generated at most where nothing else is said.
    pub const MAX_TOKENS: usize = 256;

    /// How a model reads texts of up to `longest` tokens: one that has an encoder and a decoder generates up to `max_tokens`
    /// tokens where the corpus does not consist of pairs.
    pub fn of(model: &Model, has_pairs: bool, longest: usize, max_tokens: usize) -> Decoding {
        let generates = model.has(Side::Source) && model.has(Side::Target) && !has_pairs;
        let targets = if generates { Targets::Generated(max_tokens) } else { Targets::Given };
        let (loops, unknown_words, beams) = match generates {
            true => (model.loops(), model.unknown_words(), model.beams()),
            false => (Loops::default(), UnknownWords::default(), None),
        };
        Decoding { targets, longest, counts: None, loops, unknown_words, beams }
    }
}

impl About {
    /// A survey that begins.
    pub fn new(model: ModelIdentity, decoding: Decoding, files: Vec<FileIdentity>, settings: Settings) -> About {
        let shards = format!("{:016x}", settings.part.mask());
        let file = |identity| SurveyedFile { identity, shards: shards.clone(), n_texts: 0 };
        About {
            format: FORMAT,
            attlas: env!("CARGO_PKG_VERSION").to_owned(),
            model,
            decoding,
            files: files.into_iter().map(file).collect(),
            n_texts: Vec::new(),
            n_skipped: 0,
            skipped: Vec::new(),
            position: Some(Position::default()),
            settings: Some(settings),
        }
    }

    /// A survey of texts that come from no file: all that are measured are in it, so it is done whenever it is asked.
    pub fn of_texts(model: ModelIdentity, decoding: Decoding) -> About {
        let (n_texts, files, skipped) = (Vec::new(), Vec::new(), Vec::new());
        let attlas = env!("CARGO_PKG_VERSION").to_owned();
        let (position, settings) = (None, None);
        About { format: FORMAT, attlas, model, decoding, files, n_texts, n_skipped: 0, skipped, position, settings }
    }

    /// Why surveys do not belong together, to follow on their names; `None` when they do.
    pub fn differs_from(&self, other: &About) -> Option<String> {
        if (self.format, &self.attlas) != (other.format, &other.attlas) {
            return Some(format!("was made by attlas {}, not {}", self.attlas, other.attlas));
        }
        let (model, others) = (&self.model, &other.model);
        if model != others {
            let which = match (model.name == others.name, model.sha256 == others.sha256) {
                (false, _) => format!("{}, not {}", model.name, others.name),
                (true, false) => {
                    format!("{} with other files (SHA-256 {}, not {})", model.name, model.sha256, others.sha256)
                }
                (true, true) if model.languages != others.languages => format!("{} with other languages", model.name),
                (true, true) => {
                    let said = |model: &ModelIdentity| model.precision.clone().unwrap_or_else(|| "exact".to_owned());
                    format!("{} with precision {}, not {}", model.name, said(model), said(others))
                }
            };
            return Some(format!("is of another model: {which}"));
        }
        if self.decoding.counts != other.decoding.counts {
            return Some("has other counts of tokens".to_owned());
        }
        (self.decoding != other.decoding).then(|| {
            let said = |decoding: &Decoding| match decoding.targets {
                Targets::Given => format!("texts of up to {} tokens", decoding.longest),
                Targets::Generated(n) => {
                    let Decoding { longest, loops, unknown_words, beams, .. } = decoding;
                    let how = beams.map_or("greedily".to_owned(), |beams| format!("with {beams} beams"));
                    format!(
                        "texts of up to {longest} tokens, generating up to {n} {how} (loops: {loops}, unknown words: {unknown_words})"
                    )
                }
            };
            format!("is of {}, not of {}", said(&self.decoding), said(&other.decoding))
        })
    }

    /// Lists a text that was skipped.
    pub fn skip(&mut self, skipped: impl IntoIterator<Item = Skipped>) {
        let n_before = self.skipped.len();
        self.skipped.extend(skipped);
        self.n_skipped = self.n_skipped.saturating_add((self.skipped.len() - n_before) as u64);
        self.trim_skipped();
    }

    /// Takes in what another survey of the same model is about.
    pub fn merge(&mut self, other: About) {
        self.n_skipped = self.n_skipped.saturating_add(other.n_skipped);
        self.skipped.extend(other.skipped);
        self.trim_skipped();
        for file in other.files {
            match self.files.iter_mut().find(|known| known.identity == file.identity) {
                Some(known) => {
                    known.shards = format!("{:016x}", known.mask() | file.mask());
                    known.n_texts = known.n_texts.saturating_add(file.n_texts);
                }
                None => self.files.push(file),
            }
        }
        self.files.sort();
    }

    /// The names of the files of which both surveys have the same shards: their texts count twice when they are merged.
    pub fn overlap(&self, other: &About) -> Vec<String> {
        let is_in_other = |file: &&SurveyedFile| {
            other.files.iter().any(|known| known.identity == file.identity && known.mask() & file.mask() != 0)
        };
        self.files.iter().filter(is_in_other).map(|file| file.identity.name.clone()).collect()
    }

    /// The survey is done.
    pub fn finish(&mut self) {
        (self.position, self.settings) = (None, None);
        self.files.sort();
    }

    fn trim_skipped(&mut self) {
        self.skipped.sort();
        self.skipped.truncate(MAX_LISTED);
    }
}

impl Skipped {
    /// Where it stands, in words: `corpus.txt, line 7`, `text 7`, `the text "The cat…"`.
    pub fn place(&self) -> String {
        match (self.number, &self.text) {
            (Some(number), _) if self.file.is_empty() => format!("{} {number}", self.unit),
            (Some(number), _) => format!("{}, {} {number}", self.file, self.unit),
            (None, Some(text)) => format!("the {} \"{text}\"", self.unit),
            (None, None) => format!("a {}", self.unit),
        }
    }
}

impl SurveyedFile {
    /// The shards that were surveyed, a bit each.
    fn mask(&self) -> u64 {
        u64::from_str_radix(&self.shards, 16).unwrap_or(u64::MAX)
    }
}

impl Part {
    /// Everything.
    pub const WHOLE: Part = Part { index: 0, of: 1 };

    /// Whether a shard belongs to it.
    pub fn has(self, shard: usize) -> bool {
        self.has_place(shard as u64)
    }

    /// Whether what is no text, and so in no shard, belongs to it by its place in its file.
    pub fn has_place(self, number: u64) -> bool {
        number % self.of.max(1) as u64 == self.index as u64
    }

    /// Its shards, a bit each.
    fn mask(self) -> u64 {
        (0..attlas::survey::N_SHARDS).filter(|shard| self.has(*shard)).fold(0, |mask, shard| mask | 1 << shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(part: Part) -> About {
        let model = ModelIdentity {
            name: "m".into(),
            family: "f".into(),
            sha256: "0".into(),
            languages: [None, None],
            precision: None,
        };
        let (loops, unknown_words) = (Loops::default(), UnknownWords::default());
        let decoding =
            Decoding { targets: Targets::Given, longest: 512, counts: None, loops, unknown_words, beams: None };
        let file = FileIdentity { name: "a.txt".into(), n_bytes: 1, sha256_of_ends: "1".into() };
        About::new(model, decoding, vec![file], Settings { window: 1, batch_tokens: None, limit: None, part })
    }

    #[test]
    fn surveys_of_one_model_with_two_precisions_do_not_belong_together() {
        let (exact, mut fast) = (about(Part::WHOLE), about(Part::WHOLE));
        fast.model.precision = Some("fast".to_owned());
        assert_eq!(exact.differs_from(&exact), None);
        let why = "is of another model: m with precision exact, not fast";
        assert_eq!(exact.differs_from(&fast).as_deref(), Some(why));
    }

    #[test]
    fn surveys_whose_texts_were_generated_otherwise_do_not_belong_together() {
        let (mut avoiding, mut keeping) = (about(Part::WHOLE), about(Part::WHOLE));
        avoiding.decoding.targets = Targets::Generated(256);
        avoiding.decoding.unknown_words = UnknownWords::Avoid;
        keeping.decoding.targets = Targets::Generated(256);
        let why = "is of texts of up to 512 tokens, generating up to 256 greedily (loops: keep, unknown words: avoid), not of texts \
                   of up to 512 tokens, generating up to 256 greedily (loops: keep, unknown words: keep)";
        assert_eq!(avoiding.differs_from(&keeping).as_deref(), Some(why));
        assert_eq!(avoiding.differs_from(&avoiding), None);
    }

    #[test]
    fn parts_of_a_corpus_do_not_overlap_and_make_up_the_whole() {
        let [mut first, second] = [0, 1].map(|index| about(Part { index, of: 2 }));
        assert_eq!(first.overlap(&second), [""; 0]);
        assert_eq!(first.overlap(&first.clone()), ["a.txt"]);
        first.merge(second);
        assert_eq!(first.files, about(Part::WHOLE).files);
    }

    #[test]
    fn a_part_of_none_that_a_file_may_speak_of_has_what_one_of_one_has() {
        let none = Part { index: 0, of: 0 };
        assert!(none.has(7) && none.has_place(7) && !Part { index: 1, of: 0 }.has_place(7));
    }

    #[test]
    fn a_survey_of_another_model_or_version_says_which() {
        let this = about(Part::WHOLE);
        let mut other = this.clone();
        assert_eq!(other.differs_from(&this), None);
        other.model.sha256 = "9".into();
        assert_eq!(
            other.differs_from(&this).as_deref(),
            Some("is of another model: m with other files (SHA-256 9, not 0)")
        );
        other.model.name = "n".into();
        assert_eq!(other.differs_from(&this).as_deref(), Some("is of another model: n, not m"));
        other.attlas = "9.0".into();
        let said = format!("was made by attlas 9.0, not {}", env!("CARGO_PKG_VERSION"));
        assert_eq!(other.differs_from(&this), Some(said));
    }

    #[test]
    fn of_many_skipped_texts_the_first_are_listed_and_all_are_counted() {
        let mut about = about(Part::WHOLE);
        let skipped = |number| Skipped {
            file: "a".into(),
            number: Some(number),
            unit: "line".into(),
            reason: "is no text".into(),
            text: None,
        };
        about.skip((0..MAX_LISTED as u64 + 7).rev().map(skipped));
        assert_eq!((about.skipped.len(), about.n_skipped), (MAX_LISTED, MAX_LISTED as u64 + 7));
        assert_eq!(about.skipped[3], skipped(3));
    }
}
