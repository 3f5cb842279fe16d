//! What a family's vocabulary files leave unsaid: the order of its pieces, what it puts around a text.

use super::FAMILIES;
use crate::tokenizer::pieces::Pieces;
use crate::tokenizer::sentencepiece::SentencePiece;
use crate::tokenizer::settings::Settings;

/// What the older vocabulary files of a model leave unsaid; a tokenizer.json says it all itself.
#[derive(Debug)]
pub(crate) struct TextRules {
    /// The `model_type`s of config.json whose files are made this way; more than attlas runs.
    pub model_types: &'static [&'static str],
    /// The tokenizer classes that mean the same where there is no config.json.
    pub classes: &'static [&'static str],
    /// How the pieces of a SentencePiece model are numbered, and what stands around a text.
    pub pieces: PieceRule,
    /// What stands around a text that byte-level BPE has cut.
    pub marks: Marks,
    /// How the pieces of a vocab.txt cut a text.
    pub vocabulary: VocabularyRule,
    /// The codes of the languages whose tags `__code__` have the ids after those of vocab.json; `None` where the tags
    /// are in it.
    pub languages_after: Option<&'static str>,
    /// The beginning of the tokenizer classes whose files still put the language after a text, and the language of
    /// texts where none is named: transformers puts it before.
    pub language_first: Option<(&'static str, &'static str)>,
}

/// How the pieces of a SentencePiece model are numbered, and what stands around a text.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PieceRule {
    /// As they lie, with the beginning and end markers that the settings ask for.
    Markers,
    /// As a function arranges them.
    Arranged(fn(&mut Pieces, &SentencePiece, &Settings)),
    /// In a way that is not known here.
    Unread,
}

/// What stands around a text that byte-level BPE has cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// `<s> A </s>`, where the vocabulary has both.
    Around,
    /// The text alone.
    Nothing,
    /// `</s> A`.
    EndBefore,
}

/// How the pieces of a vocab.txt cut a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VocabularyRule {
    /// WordPiece within the words of BERT.
    WordPiece,
    /// The longest piece at each place, wherever words begin (ESM).
    Whole,
}

impl TextRules {
    /// Nothing special; the start of a family's constant.
    pub const PLAIN: TextRules = TextRules {
        model_types: &[],
        classes: &[],
        pieces: PieceRule::Markers,
        marks: Marks::Around,
        vocabulary: VocabularyRule::WordPiece,
        languages_after: None,
        language_first: None,
    };
}

/// Models that attlas does not run, and whose vocabulary files it would misread.
const OTHERS: TextRules = TextRules {
    model_types: &["barthez", "xlnet", "reformer", "big_bird", "rembert", "fnet", "xglm", "xlm-prophetnet"],
    classes: &["XLNetTokenizer"],
    pieces: PieceRule::Unread,
    ..TextRules::PLAIN
};

fn all() -> impl Iterator<Item = &'static TextRules> {
    FAMILIES.iter().flat_map(|family| family.texts).chain([&OTHERS])
}

/// The rules for a `model_type`, or where there is none, for the tokenizer's class.
pub(crate) fn text_rules(model_type: Option<&str>, class: &str) -> &'static TextRules {
    let class = class.trim_end_matches("Fast");
    let is_meant = |rules: &&TextRules| match model_type {
        Some(model_type) => rules.model_types.contains(&model_type),
        None => rules.classes.contains(&class),
    };
    all().find(is_meant).unwrap_or(&TextRules::PLAIN)
}

/// The language of texts where none is named, for tokenizer classes whose files put it on the wrong side.
pub(crate) fn language_first(class: &str) -> Option<&'static str> {
    let of_class = |(start, by_default): (&str, &'static str)| class.starts_with(start).then_some(by_default);
    all().filter_map(|rules| rules.language_first).find_map(of_class)
}
