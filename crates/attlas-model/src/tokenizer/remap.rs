//! Models that cut with a SentencePiece model but number pieces by a vocab.json of their own.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::json;

use super::blueprint::{AddedEntry, Blueprint};
use super::pieces;
use super::sentencepiece::SentencePiece;
use super::settings::Settings;
use crate::Error;

/// From the ids of the SentencePiece model to those of the model's own vocabulary.
#[derive(Debug, Clone)]
pub(super) struct Remap {
    /// The model's id of each id that the library gives. Shape `[n_library_ids]`.
    to_model: Vec<u32>,
    /// The pieces by the model's id.
    names: HashMap<u32, String>,
    /// The model's ids by piece.
    ids: HashMap<String, u32>,
    /// The model's id for what its vocabulary lacks.
    pub unk_id: u32,
}

impl Remap {
    /// The model's id of an id that the library gives.
    pub fn id(&self, library_id: u32) -> u32 {
        self.to_model.get(library_id as usize).copied().unwrap_or(self.unk_id)
    }

    /// The piece of a model's id.
    pub fn name(&self, id: u32) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    /// The model's id of a piece.
    pub fn id_of(&self, piece: &str) -> Option<u32> {
        self.ids.get(piece).copied()
    }

    /// One more than the largest id.
    pub fn n_ids(&self) -> usize {
        self.names.keys().max().map_or(0, |id| *id as usize + 1)
    }
}

/// Makes a blueprint of a SentencePiece model and the map to the ids of `vocab` (the pieces of vocab.json).
pub(super) fn blueprint(
    model: &SentencePiece,
    vocab: Vec<(String, u32)>,
    settings: &Settings,
    path: &Path,
) -> Result<(Blueprint, Remap), Error> {
    let after = settings.text_rules().languages_after;
    let n_vocab = vocab.len() as u32;
    let mut ids: HashMap<String, u32> = vocab.into_iter().collect();
    let languages: Vec<String> = if let Some(codes) = after {
        let names: Vec<String> = codes.split(' ').map(|code| format!("__{code}__")).collect();
        ids.extend(names.iter().cloned().zip(n_vocab..));
        names
    } else {
        let mut names: Vec<String> =
            ids.keys().filter(|piece| piece.starts_with(">>") && piece.ends_with("<<")).cloned().collect();
        names.sort_unstable_by_key(|name| ids[name]);
        names
    };
    let (Some(unk_id), Some(_)) = (ids.get("<unk>").copied(), ids.get("</s>")) else {
        return Err(Error::file(path, "stands beside a vocab.json without <unk> and </s>"));
    };
    let mut blueprint = pieces::blueprint(model, settings, path)?;
    let mut next = blueprint.model.ids().max().unwrap_or(0) + 1;
    let special = ["</s>", "<pad>"].into_iter().filter(|name| ids.contains_key(*name)).map(str::to_owned);
    let known: HashSet<&str> = blueprint.model.pieces().map(|(piece, _)| piece).collect();
    for name in special.chain(languages).filter(|name| !known.contains(name.as_str())) {
        blueprint.added_tokens.push(AddedEntry::special(next, name));
        next += 1;
    }
    blueprint.post_processor = template(&blueprint, after.map(|_| settings.text("src_lang").unwrap_or("en")));
    let mut to_model = vec![unk_id; next as usize]; // [n_library_ids]
    for (piece, id) in blueprint.model.pieces() {
        to_model[id as usize] = ids.get(piece).copied().unwrap_or(unk_id);
    }
    for added in &blueprint.added_tokens {
        to_model[added.id as usize] = ids.get(&added.content).copied().unwrap_or(unk_id);
    }
    let names = ids.iter().map(|(piece, id)| (*id, piece.clone())).collect();
    Ok((blueprint, Remap { to_model, names, ids, unk_id }))
}

/// `A </s>`, and before it the language where there is one.
fn template(blueprint: &Blueprint, language: Option<&str>) -> serde_json::Value {
    let token = |name: &str, type_id: u32| json!({"SpecialToken": {"id": name, "type_id": type_id}});
    let text = |name: &str, type_id: u32| json!({"Sequence": {"id": name, "type_id": type_id}});
    let mut single = vec![text("A", 0), token("</s>", 0)];
    let mut pair = vec![text("A", 0), text("B", 1), token("</s>", 1)];
    let mut special = serde_json::Map::new();
    special.insert("</s>".to_owned(), json!({"id": "</s>", "ids": [blueprint.id_of("</s>")], "tokens": ["</s>"]}));
    if let Some(language) = language.map(|code| format!("__{code}__")) {
        single.insert(0, token(&language, 0));
        pair.insert(0, token(&language, 0));
        special.insert(
            language.clone(),
            json!({"id": language, "ids": [blueprint.id_of(&language)], "tokens": [language]}),
        );
    }
    json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special})
}
