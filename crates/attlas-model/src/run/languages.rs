//! The languages of a multilingual model, which it marks with tags: `__fr__` (M2M-100), `fr_XX` (mBART), `fra_Latn` (NLLB),
//! `>>fra<<` (Marian), `<|fr|>` (Whisper).

use std::sync::Arc;

use attlas::{Token, TokenRole, Tokens};
use isolang::Language;

use super::input::Side;
use crate::Error;
use crate::model::Model;

/// The languages that were chosen, and the tags that can be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Languages {
    /// All tags, by id.
    tags: Vec<Tag>,
    /// The tag of the language that texts are in; the tokenizer's own when `None`.
    source: Option<u32>,
    /// The tag of the language that the model writes, where it stands in the text that the decoder reads.
    target: Option<u32>,
    /// The same where it stands before the text that the encoder reads (Marian).
    before_source: Option<u32>,
}

/// A special token that stands for a language.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag {
    id: u32,
    /// What is between the marks: `fr`, `fr_XX`, `fra_Latn`.
    code: String,
    marks: Marks,
}

/// What a tag has around its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marks {
    /// `fr_XX`, `fra_Latn`.
    None,
    /// `__fr__`.
    Lines,
    /// `>>fra<<`.
    Arrows,
    /// `<|fr|>`.
    Bars,
}

impl Languages {
    /// The tags among the special tokens.
    pub fn of(model: &Model) -> Languages {
        let Some(tokenizer) = model.tokenizer() else { return Languages::default() };
        let tag = |id: u32| {
            let (code, marks) = code_of(&tokenizer.token(id).ok()?.text)?;
            // `<|…|>` is what all special tokens of many tokenizers look like
            let is_tag = (marks == Marks::Bars) == model.reads_sounds();
            is_tag.then_some(Tag { id, code, marks })
        };
        let mut tags: Vec<Tag> = tokenizer.special_ids().into_iter().filter_map(tag).collect();
        // the English Whispers have the tags, too, and were never shown one
        let ids = &model.transformer.architecture.ids;
        let is_shown = |tag: &Tag| ids.languages.contains(&tag.id) || ids.prompt.contains(&tag.id);
        if model.reads_sounds() && !tags.iter().any(is_shown) {
            tags.clear();
        }
        Languages { tags, ..Languages::default() }
    }

    fn is_tag(&self, token: &Token) -> bool {
        let find = |id: u32| self.tags.binary_search_by_key(&id, |tag| tag.id).is_ok();
        token.role == TokenRole::Special && token.id.is_some_and(find)
    }

    /// The only tag that a name, a code or a tag stands for.
    fn find(&self, wanted: &str, model: &str) -> Result<&Tag, Error> {
        if self.tags.is_empty() {
            return Err(Error::Unsupported(format!(
                "{model} has no tags for languages, so \"{wanted}\" cannot be chosen: it reads and writes what it was trained on"
            )));
        }
        let is_written = |tag: &&Tag| {
            tag.code.eq_ignore_ascii_case(wanted) || code_of(wanted).is_some_and(|(code, _)| code == tag.code)
        };
        if let Some(tag) = self.tags.iter().find(is_written) {
            return Ok(tag);
        }
        let lower = wanted.to_lowercase();
        let language = Language::from_639_1(&lower)
            .or_else(|| Language::from_639_3(&lower))
            .or_else(|| Language::from_name_lowercase(&lower));
        let means = |tag: &&Tag| {
            let code = tag.code.split(['_', '-']).next().unwrap_or_default();
            code == lower
                || language.is_some_and(|language| language.to_639_1() == Some(code) || language.to_639_3() == code)
        };
        let found: Vec<&Tag> = self.tags.iter().filter(means).collect();
        let listed =
            |tags: &mut dyn Iterator<Item = &Tag>| tags.map(|tag| tag.code.as_str()).collect::<Vec<_>>().join(", ");
        match found[..] {
            [tag] => Ok(tag),
            [] => Err(Error::Input(format!(
                "{model} knows no language \"{wanted}\"; it knows {}",
                listed(&mut self.tags.iter())
            ))),
            _ => Err(Error::Input(format!(
                "\"{wanted}\" is several languages of {model}: {}; name one",
                listed(&mut found.iter().copied())
            ))),
        }
    }

    /// Puts the chosen tags into what the encoder reads.
    pub fn mark_source(&self, model: &Model, source: &mut Tokens, segments: &mut Vec<u32>) {
        if let Some(id) = self.source {
            let tags = source.tokens.iter_mut().filter(|token| self.is_tag(token));
            tags.for_each(|token| *token = special(model, id));
        }
        if let Some(id) = self.before_source {
            source.tokens.insert(0, special(model, id));
            segments.insert(0, segments.first().copied().unwrap_or(0));
        }
    }

    /// Puts the chosen tag behind the start token of what the decoder reads.
    pub fn mark_target(&self, model: &Model, target: &mut Tokens) {
        let Some(id) = self.target.filter(|id| model.transformer.architecture.ids.start != Some(*id)) else { return };
        match target.tokens.get_mut(1) {
            Some(token) if self.is_tag(token) => *token = special(model, id),
            _ => target.tokens.insert(1.min(target.len()), special(model, id)),
        }
    }

    /// What a reader must know when the language that is written was left open.
    pub fn note(&self, model: &Model) -> Option<String> {
        let ids = &model.transformer.architecture.ids;
        let is_open = self.target.is_none() && self.before_source.is_none() && ids.forced_start.is_none();
        let starts_with_tag = ids.start.is_some_and(|id| self.tags.iter().any(|tag| tag.id == id));
        let writes_texts = model.has(Side::Source) && model.has(Side::Target) && !model.reads_sounds();
        (is_open && !starts_with_tag && writes_texts && !self.tags.is_empty()).then(|| {
            let n = self.tags.len();
            format!("{} writes {n} languages and none was chosen: which one comes is chance", model.name())
        })
    }
}

impl Model {
    /// Whether the model writes several languages and none was chosen, so that which one comes is chance.
    pub fn leaves_language_open(&self) -> bool {
        self.languages.note(self).is_some()
    }

    /// The codes of the languages that the model has tags for, as the tags write them: `fr`, `fr_XX`, `fra_Latn`.
    pub fn languages(&self) -> impl Iterator<Item = &str> {
        self.languages.tags.iter().map(|tag| tag.code.as_str())
    }

    /// Chooses the language that texts, or sounds, are in, and the one that the model writes: each by a code of ISO 639
    /// (`fr`, `fra`), by what the tag says (`fra_Latn`), or by its English name. A speech model writes the language that
    /// it hears, or English.
    ///
    /// # Errors
    /// When the model has no tags for languages, or none or several for this one.
    pub fn set_languages(&mut self, from: Option<&str>, to: Option<&str>) -> Result<(), Error> {
        let find =
            |wanted: Option<&str>| wanted.map(|wanted| self.languages.find(wanted, self.name()).cloned()).transpose();
        let (from, to) = (find(from)?, find(to)?);
        if self.reads_sounds() {
            return self.set_spoken(from, to);
        }
        if let Some(tag) = from {
            if tag.marks == Marks::Arrows {
                return Err(Error::Unsupported(format!(
                    "{} has tags for the languages it writes, not for those it reads",
                    self.name()
                )));
            }
            self.languages.source = Some(tag.id);
        }
        let Some(tag) = to else { return Ok(()) };
        if tag.marks == Marks::Arrows {
            self.languages.before_source = Some(tag.id);
            return Ok(());
        }
        self.languages.target = Some(tag.id);
        let is_start = self.ends_with_tag()?;
        let ids = &mut Arc::make_mut(&mut self.transformer).architecture.ids;
        if is_start {
            ids.start = Some(tag.id);
            ids.forced_start = None;
        } else {
            ids.forced_start = Some(tag.id);
        }
        Ok(())
    }

    /// The tags that stand before a transcript.
    fn set_spoken(&mut self, from: Option<Tag>, to: Option<Tag>) -> Result<(), Error> {
        let task = |name: &str| self.tokenizer().and_then(|tokenizer| tokenizer.id(name));
        let tasks = [task("<|transcribe|>"), task("<|translate|>")];
        let is_english = |tag: &Tag| tag.code == "en";
        let task = match &to {
            None => None,
            Some(tag) if from.as_ref() == Some(tag) => tasks[0],
            Some(tag) if is_english(tag) => tasks[1],
            Some(tag) => {
                return Err(Error::Unsupported(format!(
                    "{} writes the language that it hears, or English, and not \"{}\"",
                    self.name(),
                    tag.code
                )));
            }
        };
        if to.is_some() && task.is_none() {
            return Err(Error::Unsupported(format!("{} has no tags for what it writes", self.name())));
        }
        let is_language = |id: &u32| self.languages.tags.iter().any(|tag| tag.id == *id);
        let ids = &self.transformer.architecture.ids;
        let (language, mut rest): (Vec<u32>, Vec<u32>) = ids.prompt.iter().partition(|id| is_language(id));
        let has_task = rest.iter().any(|id| tasks.contains(&Some(*id)));
        rest.retain(|id| task.is_none() || !tasks.contains(&Some(*id)));
        // a language that is named comes with a task
        let task = task.or(tasks[0].filter(|_| from.is_some() && !has_task));
        let language = from.map(|tag| vec![tag.id]).unwrap_or(language);
        let ids = &mut Arc::make_mut(&mut self.transformer).architecture.ids;
        if !language.is_empty() {
            ids.languages.clear();
        }
        ids.prompt = language.into_iter().chain(task).chain(rest).collect();
        Ok(())
    }

    /// Whether a text ends with its language: then the tag is also what the decoder starts with (the first mBART).
    /// Elsewhere it stands first, and follows the start token.
    fn ends_with_tag(&self) -> Result<bool, Error> {
        let Some(tokenizer) = self.tokenizer() else { return Ok(false) };
        let tokens = tokenizer.encode("a", None)?.tokens.tokens;
        Ok(tokens.last().is_some_and(|token| self.languages.is_tag(token)))
    }
}

fn special(model: &Model, id: u32) -> Token {
    Token { role: TokenRole::Special, ..model.token(id) }
}

/// The code inside a tag, and its marks; `None` when it is none.
fn code_of(piece: &str) -> Option<(String, Marks)> {
    let between = |start: &str, end: &str| piece.strip_prefix(start)?.strip_suffix(end);
    let marked = [("__", "__", Marks::Lines), (">>", "<<", Marks::Arrows), ("<|", "|>", Marks::Bars)];
    let found = marked.into_iter().find_map(|(start, end, marks)| Some((between(start, end)?, marks)));
    let (code, marks) = found.unwrap_or((piece, Marks::None));
    let (language, region) = code.split_once(['_', '-']).map_or((code, ""), |(language, region)| (language, region));
    let is_language = matches!(language.len(), 2 | 3) && language.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_region = region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let is_marked =
        marks != Marks::None || (matches!(region.len(), 2 | 4) && region.starts_with(|c: char| c.is_ascii_uppercase()));
    (is_language && is_region && is_marked).then(|| (code.to_owned(), marks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_all_styles_are_known_and_other_special_tokens_are_not() {
        for (piece, code) in [
            ("__fr__", Some("fr")),
            ("fr_XX", Some("fr_XX")),
            ("fra_Latn", Some("fra_Latn")),
            (">>cmn_Hans<<", Some("cmn_Hans")),
            ("<|haw|>", Some("haw")),
            ("</s>", None),
            ("<mask>", None),
            ("<|notimestamps|>", None),
            ("fr", None),
            ("an_other", None),
            ("__FR__", None),
        ] {
            assert_eq!(code_of(piece).map(|(code, _)| code).as_deref(), code, "{piece}");
        }
    }

    #[test]
    fn a_language_is_found_by_code_tag_and_name() {
        let tags = [("eng_Latn", 1), ("fra_Latn", 2), ("zho_Hans", 3), ("zho_Hant", 4)];
        let tag = |(code, id): (&str, u32)| Tag { id, code: code.to_owned(), marks: Marks::None };
        let languages = Languages { tags: tags.map(tag).to_vec(), ..Languages::default() };
        for name in ["fra_Latn", "fra_latn", "fr", "fra", "French", "FRENCH"] {
            assert_eq!(languages.find(name, "m").map(|tag| tag.id).map_err(|error| error.to_string()), Ok(2), "{name}");
        }
        let problem = |name: &str| languages.find(name, "m").expect_err("a refusal").to_string();
        assert!(problem("Chinese").contains("zho_Hans, zho_Hant"), "{}", problem("Chinese"));
        assert!(problem("Klingonish").contains("knows no language \"Klingonish\"; it knows eng_Latn, fra_Latn"));
        assert!(problem("de").contains("knows no language"));
    }
}
