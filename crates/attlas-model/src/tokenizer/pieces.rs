//! SentencePiece models as models use them: order of the vocabulary, special tokens, template.

use std::collections::HashMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::blueprint::{AddedEntry, Blueprint, BpeOptions, PieceModel};
use super::sentencepiece::{Algorithm, PieceKind, SentencePiece};
use super::settings::Settings;
use crate::Error;
use crate::family::PieceRule;

/// A SentencePiece model's vocabulary as a model numbers it, and what is added around a text.
pub(crate) struct Pieces {
    /// Pieces, scores and kinds; the index is the id.
    pub pieces: Vec<(String, f64, PieceKind)>,
    /// The id for what no piece covers.
    pub unk_id: usize,
    /// Special tokens before a text.
    pub before: Vec<String>,
    /// Special tokens after a text.
    pub after: Vec<String>,
    /// What stands between the texts of a pair.
    pub between: Vec<String>,
    /// The segment id of a pair's second text.
    pub second: u32,
    /// Whether text is cut at white space of any kind first, as transformers does for some models.
    pub cut_at_space: bool,
    /// Normalisers that come before the model's own map of characters.
    pub normalizers: Vec<Value>,
}

impl Pieces {
    /// The model's own pieces in its own order, nothing around a text.
    fn of(model: &SentencePiece) -> Pieces {
        Pieces {
            pieces: own(model).collect(),
            unk_id: model.unk_id as usize,
            before: Vec::new(),
            after: Vec::new(),
            between: Vec::new(),
            second: 0,
            cut_at_space: false,
            normalizers: Vec::new(),
        }
    }

    /// The model's pieces as fairseq numbers them: its own four special tokens first, `more` behind.
    pub fn number_as_fairseq<'a>(&mut self, model: &SentencePiece, more: impl Iterator<Item = &'a str>) {
        let first = ["<s>", "<pad>", "</s>", "<unk>"].into_iter().map(control);
        self.pieces = first.chain(own(model).skip(3)).chain(more.map(control)).collect();
        self.unk_id = 3;
    }

    /// `before A after`, and `between` in the middle of a pair.
    pub fn surround(&mut self, before: &[&str], between: &[&str], after: &[&str]) {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        (self.before, self.between, self.after) = (names(before), names(between), names(after));
    }
}

/// The model's pieces, by id.
pub(crate) fn own(model: &SentencePiece) -> impl Iterator<Item = (String, f64, PieceKind)> + '_ {
    model.pieces.iter().map(|piece| (piece.text.clone(), f64::from(piece.score), piece.kind))
}

/// A special token that the model has not.
pub(crate) fn control(text: &str) -> (String, f64, PieceKind) {
    (text.to_owned(), 0.0, PieceKind::Control)
}

/// Makes a blueprint of a SentencePiece model for the model that the folder's settings name.
pub(super) fn blueprint(model: &SentencePiece, settings: &Settings, path: &Path) -> Result<Blueprint, Error> {
    let pieces = arranged(model, settings, path)?;
    let mut added: Vec<AddedEntry> = (0u32..)
        .zip(&pieces.pieces)
        .filter(|(_, (_, _, kind))| matches!(kind, PieceKind::Control | PieceKind::UserDefined | PieceKind::Unknown))
        .map(|(id, (text, _, kind))| AddedEntry {
            special: *kind != PieceKind::UserDefined,
            ..AddedEntry::special(id, text.clone())
        })
        .collect();
    settings.add_tokens(&mut added, pieces.pieces.len());
    let id_of = |token: &String| -> Result<u32, Error> {
        let in_pieces = pieces.pieces.iter().position(|(text, _, _)| text == token).map(|id| id as u32);
        let found = in_pieces.or_else(|| added.iter().find(|entry| entry.content == *token).map(|entry| entry.id));
        found.ok_or_else(|| Error::file(path, format!("has no piece {token:?}, which this model adds to each text")))
    };
    let post_processor = template(&pieces, &id_of)?;
    Ok(Blueprint {
        path: path.to_owned(),
        normalizer: normalizer(model, &pieces),
        pre_tokenizer: pre_tokenizer(model, &pieces),
        decoder: decoder(model),
        post_processor,
        model: piece_model(model, pieces),
        added_tokens: added,
    })
}

/// The pieces as the folder's model numbers them.
fn arranged(model: &SentencePiece, settings: &Settings, path: &Path) -> Result<Pieces, Error> {
    let mut pieces = Pieces::of(model);
    match settings.text_rules().pieces {
        PieceRule::Markers => markers(&mut pieces, model, settings),
        PieceRule::Arranged(arrange) => arrange(&mut pieces, model, settings),
        PieceRule::Unread => {
            return Err(Error::file(
                path,
                format!(
                    "is of a family ({}) whose vocabulary files are not read; save its tokenizer once as tokenizer.json",
                    settings.model_type().unwrap_or(settings.class())
                ),
            ));
        }
    }
    Ok(pieces)
}

/// The beginning and end markers that the settings ask for.
fn markers(pieces: &mut Pieces, model: &SentencePiece, settings: &Settings) {
    let first_of = |names: [&str; 2]| {
        let known = |name: &&str| model.pieces.iter().any(|piece| piece.text == *name);
        names.iter().find(|name| known(name)).map(|name| (*name).to_owned())
    };
    let by_default = model.algorithm == Algorithm::Bpe;
    if settings.flag("add_bos_token").unwrap_or(by_default) {
        pieces.before.extend(settings.token("bos_token").or_else(|| first_of(["<s>", "<bos>"])));
    }
    if settings.flag("add_eos_token").unwrap_or(!by_default) {
        pieces.after.extend(settings.token("eos_token").or_else(|| first_of(["</s>", "<eos>"])));
    }
    pieces.second = 1;
}

/// The map of characters, then white space as SentencePiece treats it.
fn normalizer(model: &SentencePiece, pieces: &Pieces) -> Value {
    let mut normalizers = pieces.normalizers.clone();
    if !model.charsmap.is_empty() {
        normalizers.push(json!({"type": "Precompiled", "precompiled_charsmap": STANDARD.encode(&model.charsmap)}));
    }
    if model.remove_extra_whitespaces && !pieces.cut_at_space {
        normalizers.push(json!({"type": "Strip", "strip_left": true, "strip_right": true}));
        normalizers.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
    }
    json!({"type": "Sequence", "normalizers": normalizers})
}

/// Spaces become `▁`; words are cut apart where no piece reaches over one.
fn pre_tokenizer(model: &SentencePiece, pieces: &Pieces) -> Value {
    let reaches_over = model
        .pieces
        .iter()
        .any(|piece| piece.kind == PieceKind::Normal && piece.text.chars().skip(1).any(|symbol| symbol == '▁'));
    let scheme = match (model.add_dummy_prefix, model.algorithm) {
        (false, _) => "never",
        (true, Algorithm::Bpe) => "first",
        (true, _) => "always",
    };
    let marks = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": !reaches_over});
    if pieces.cut_at_space {
        return json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, marks]});
    }
    marks
}

fn decoder(model: &SentencePiece) -> Value {
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if model.add_dummy_prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    json!({"type": "Sequence", "decoders": decoders})
}

/// `before A after` and `before A between B after`; where nothing stands between, each text has its own marks.
fn template(pieces: &Pieces, id_of: &dyn Fn(&String) -> Result<u32, Error>) -> Result<Value, Error> {
    if pieces.before.is_empty() && pieces.after.is_empty() {
        return Ok(Value::Null);
    }
    let marks = |names: &[String], type_id: u32| {
        names.iter().map(|name| json!({"SpecialToken": {"id": name, "type_id": type_id}})).collect::<Vec<_>>()
    };
    let text = |name: &str, type_id: u32| vec![json!({"Sequence": {"id": name, "type_id": type_id}})];
    let (before, after, second) = (&pieces.before, &pieces.after, pieces.second);
    let between = match (pieces.between.is_empty(), second) {
        (true, 0) => Vec::new(),
        (true, _) => [marks(after, 0), marks(before, second)].concat(),
        (false, _) => marks(&pieces.between, 0),
    };
    let single = [marks(before, 0), text("A", 0), marks(after, 0)].concat();
    let pair = [marks(before, 0), text("A", 0), between, text("B", second), marks(after, second)].concat();
    let mut special_tokens = serde_json::Map::new();
    for name in before.iter().chain(&pieces.between).chain(after) {
        special_tokens.insert(name.clone(), json!({"id": name, "ids": [id_of(name)?], "tokens": [name]}));
    }
    Ok(json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special_tokens}))
}

/// Puts the language before a text where older files have it behind: transformers changed that for all of them.
pub(super) fn put_language_first(blueprint: &mut Blueprint, settings: &Settings) {
    let Some(by_default) = crate::family::language_first(settings.class()) else { return };
    if settings.flag("legacy_behaviour").unwrap_or(false) {
        return;
    }
    let language = settings.text("src_lang").unwrap_or(by_default);
    let (Some(language_id), Some(end_id)) = (blueprint.id_of(language), blueprint.id_of("</s>")) else { return };
    let mark = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let text = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    blueprint.post_processor = json!({
        "type": "TemplateProcessing",
        "single": [mark(language), text("A"), mark("</s>")],
        "pair": [mark(language), text("A"), text("B"), mark("</s>")],
        "special_tokens": {
            language: {"id": language, "ids": [language_id], "tokens": [language]},
            "</s>": {"id": "</s>", "ids": [end_id], "tokens": ["</s>"]},
        },
    });
}

fn piece_model(model: &SentencePiece, pieces: Pieces) -> PieceModel {
    if model.algorithm == Algorithm::Unigram {
        let unk_id = Some(pieces.unk_id);
        let pieces = pieces.pieces.into_iter().map(|(text, score, _)| (text, score)).collect();
        return PieceModel::Unigram { pieces, unk_id, byte_fallback: model.byte_fallback };
    }
    let options = BpeOptions {
        unk_token: pieces.pieces.get(pieces.unk_id).map(|(text, _, _)| text.clone()),
        fuse_unk: true,
        byte_fallback: model.byte_fallback,
        ..BpeOptions::default()
    };
    let merges = merges(&pieces.pieces);
    let vocab = (0u32..).zip(pieces.pieces).map(|(id, (text, _, _))| (text, id)).collect();
    PieceModel::Bpe { vocab, merges, options }
}

/// The merges that a SentencePiece BPE model means: every cut of a piece into two pieces, the best-scored piece first.
pub(super) fn merges(pieces: &[(String, f64, PieceKind)]) -> Vec<(String, String)> {
    let ids: HashMap<&str, usize> = pieces
        .iter()
        .enumerate()
        .filter(|(_, (_, _, kind))| matches!(kind, PieceKind::Normal | PieceKind::UserDefined))
        .map(|(id, (text, _, _))| (text.as_str(), id))
        .collect();
    let mut order: Vec<usize> = (0..pieces.len()).filter(|id| pieces[*id].2 == PieceKind::Normal).collect();
    order.sort_by(|a, b| pieces[*b].1.total_cmp(&pieces[*a].1)); // stable: equal scores by id
    let mut merges = Vec::new();
    for id in order {
        let text = pieces[id].0.as_str();
        let mut cuts: Vec<(usize, usize)> = text
            .char_indices()
            .skip(1)
            .filter_map(|(at, _)| Some((*ids.get(&text[..at])?, *ids.get(&text[at..])?)))
            .collect();
        cuts.sort_unstable();
        merges.extend(cuts.into_iter().map(|(left, right)| (pieces[left].0.clone(), pieces[right].0.clone())));
    }
    merges
}
