//! The older vocabulary files: vocab.txt (WordPiece), vocab.json with merges.txt (byte-level BPE).

use std::path::Path;

use attlas::regular_file::without_mark;
use serde_json::{Value, json};

use super::blueprint::{AddedEntry, Blueprint, BpeOptions, PieceModel};
use super::settings::Settings;
use crate::Error;
use crate::family::Marks;
use crate::weights::parse_json;

/// BERT's vocab.txt: a piece per line, the line number its id.
pub(super) fn vocab_txt(bytes: &[u8], settings: &Settings, path: &Path) -> Result<Blueprint, Error> {
    let vocab = lines(bytes, path)?.zip(0u32..).map(|(line, id)| (line.to_owned(), id)).collect();
    wordpiece(vocab, settings, path)
}

/// BERT's tokenizer of pieces with their ids.
pub(super) fn wordpiece(vocab: Vec<(String, u32)>, settings: &Settings, path: &Path) -> Result<Blueprint, Error> {
    let token = |field: &str, default: &str| settings.token(field).unwrap_or_else(|| default.to_owned());
    let unk_token = token("unk_token", "[UNK]");
    let (cls, sep) = (token("cls_token", "[CLS]"), token("sep_token", "[SEP]"));
    let id_of = |name: &str| vocab.iter().find(|(piece, _)| piece == name).map(|(_, id)| *id);
    let (Some(cls_id), Some(sep_id)) = (id_of(&cls), id_of(&sep)) else {
        return Err(Error::file(path, format!("has not the pieces {cls:?} and {sep:?}, which are added to each text")));
    };
    let special =
        [unk_token.clone(), cls.clone(), sep.clone(), token("pad_token", "[PAD]"), token("mask_token", "[MASK]")];
    let mut added: Vec<AddedEntry> =
        special.iter().filter_map(|name| Some(AddedEntry::special(id_of(name)?, name.clone()))).collect();
    settings.add_tokens(&mut added, vocab.len());
    // a vocabulary of residues: no word of several letters is in it, so each letter is one
    let is_letter = |piece: &str| piece.chars().count() <= 1 || added.iter().any(|entry| entry.content == piece);
    let pre_tokenizer = match vocab.iter().all(|(piece, _)| is_letter(piece)) {
        false => json!({"type": "BertPreTokenizer"}),
        true => json!({"type": "Sequence", "pretokenizers": [
            {"type": "BertPreTokenizer"},
            {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": false},
        ]}),
    };
    Ok(Blueprint {
        path: path.to_owned(),
        normalizer: json!({
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": settings.flag("tokenize_chinese_chars").unwrap_or(true),
            "strip_accents": settings.flag("strip_accents"),
            "lowercase": settings.flag("do_lower_case").unwrap_or(true),
        }),
        pre_tokenizer,
        post_processor: json!({
            "type": "TemplateProcessing",
            "single": [special_piece(&cls, 0), text_piece("A", 0), special_piece(&sep, 0)],
            "pair": [special_piece(&cls, 0), text_piece("A", 0), special_piece(&sep, 0), text_piece("B", 1), special_piece(&sep, 1)],
            "special_tokens": {
                cls.clone(): {"id": cls, "ids": [cls_id], "tokens": [cls]},
                sep.clone(): {"id": sep, "ids": [sep_id], "tokens": [sep]},
            },
        }),
        decoder: json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
        model: PieceModel::WordPiece { vocab, unk_token, prefix: "##".to_owned(), max_word_chars: 100 },
        added_tokens: added,
    })
}

/// ESM's vocab.txt, whose pieces are found wherever they stand: letters of a protein, words of six bases.
pub(super) fn whole_pieces(bytes: &[u8], settings: &Settings, path: &Path) -> Result<Blueprint, Error> {
    let vocab: Vec<(String, u32)> =
        lines(bytes, path)?.zip(0u32..).map(|(line, id)| (line.trim().to_owned(), id)).collect();
    let token = |field: &str, default: &str| settings.token(field).unwrap_or_else(|| default.to_owned());
    let unk_token = token("unk_token", "<unk>");
    let (cls, eos) = (token("cls_token", "<cls>"), token("eos_token", "<eos>"));
    let id_of = |name: &str| vocab.iter().find(|(piece, _)| piece == name).map(|(_, id)| *id);
    let Some(cls_id) = id_of(&cls) else {
        return Err(Error::file(path, format!("has not the piece {cls:?}, which is added to each text")));
    };
    let special = [&unk_token, &cls, &eos, &token("pad_token", "<pad>"), &token("mask_token", "<mask>")];
    let entry = |(piece, id): &(String, u32)| AddedEntry {
        special: special.contains(&piece),
        ..AddedEntry::special(*id, piece.clone())
    };
    let mut added: Vec<AddedEntry> = vocab.iter().filter(|(piece, _)| !piece.is_empty()).map(entry).collect();
    settings.add_tokens(&mut added, vocab.len());
    // a vocabulary of bases has no end
    let end = id_of(&eos);
    let around = |texts: &[&str]| -> Vec<Value> {
        let ended = texts
            .iter()
            .zip(0..)
            .flat_map(|(text, segment)| [Some(text_piece(text, segment)), end.map(|_| special_piece(&eos, segment))]);
        std::iter::once(special_piece(&cls, 0)).chain(ended.flatten()).collect()
    };
    let mut special_tokens = json!({cls.clone(): {"id": cls, "ids": [cls_id], "tokens": [cls]}});
    if let Some(id) = end {
        special_tokens[eos.as_str()] = json!({"id": eos, "ids": [id], "tokens": [eos]});
    }
    Ok(Blueprint {
        path: path.to_owned(),
        normalizer: Value::Null,
        pre_tokenizer: json!({"type": "WhitespaceSplit"}),
        post_processor: json!({
            "type": "TemplateProcessing",
            "single": around(&["A"]),
            "pair": around(&["A", "B"]),
            "special_tokens": special_tokens,
        }),
        decoder: Value::Null,
        model: PieceModel::WordLevel { vocab, unk_token },
        added_tokens: added,
    })
}

/// GPT-2's and RoBERTa's vocab.json and merges.txt.
pub(super) fn byte_level(
    vocab: &[u8],
    merges: &[u8],
    settings: &Settings,
    [vocab_path, merges_path]: [&Path; 2],
) -> Result<Blueprint, Error> {
    let vocab = ids(vocab, vocab_path)?;
    let merges = lines(merges, merges_path)?
        .enumerate()
        .filter(|(_, line)| !line.starts_with("#version") && !line.is_empty())
        .map(|(index, line)| match line.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => Ok((left.to_owned(), right.to_owned())),
            _ => Err(Error::file(merges_path, format!("line {} is not two pieces with a space between", index + 1))),
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let id_of = |name: &str| vocab.iter().find(|(piece, _)| piece == name).map(|(_, id)| *id);
    let marks = settings.text_rules().marks;
    let around = marks == Marks::Around && id_of("<s>").is_some() && id_of("</s>").is_some();
    let prefix_space = settings.flag("add_prefix_space").unwrap_or(false);
    let names: &[&str] =
        if around { &["<s>", "<pad>", "</s>", "<unk>", "<mask>"] } else { &["<|endoftext|>", "</s>", "<pad>", "<s>"] };
    let mut added: Vec<AddedEntry> =
        names.iter().filter_map(|name| Some(AddedEntry::special(id_of(name)?, *name))).collect();
    settings.add_tokens(&mut added, vocab.len());
    let post_processor = match (id_of("<s>"), id_of("</s>")) {
        (Some(cls), Some(sep)) if around => json!({
            "type": "RobertaProcessing", "cls": ["<s>", cls], "sep": ["</s>", sep],
            "trim_offsets": true, "add_prefix_space": prefix_space,
        }),
        (_, Some(bos)) if marks == Marks::EndBefore => json!({
            "type": "TemplateProcessing",
            "single": [special_piece("</s>", 0), text_piece("A", 0)],
            "pair": [special_piece("</s>", 0), text_piece("A", 0), special_piece("</s>", 0), text_piece("B", 0)],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [bos], "tokens": ["</s>"]}},
        }),
        _ => json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true}),
    };
    Ok(Blueprint {
        path: vocab_path.to_owned(),
        normalizer: Value::Null,
        pre_tokenizer: byte_level_stage(prefix_space),
        post_processor,
        decoder: byte_level_stage(true),
        model: PieceModel::Bpe { vocab, merges, options: BpeOptions::default() },
        added_tokens: added,
    })
}

/// Pieces with their ids.
pub(super) fn ids(bytes: &[u8], path: &Path) -> Result<Vec<(String, u32)>, Error> {
    let object: serde_json::Map<String, Value> = parse_json(path, bytes, "is not pieces with their ids in JSON")?;
    object
        .into_iter()
        .map(|(piece, id)| match id.as_u64().map(u32::try_from) {
            Some(Ok(id)) => Ok((piece, id)),
            _ => Err(Error::config(path, super::shown::quoted(&piece), format!("is {id}, which is no id"))),
        })
        .collect()
}

fn lines<'a>(bytes: &'a [u8], path: &Path) -> Result<std::str::Lines<'a>, Error> {
    match std::str::from_utf8(without_mark(bytes)) {
        Ok(text) => Ok(text.lines()),
        Err(error) => Err(Error::file(path, format!("is not text in UTF-8: {error}"))),
    }
}

fn byte_level_stage(prefix_space: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": prefix_space, "trim_offsets": true, "use_regex": true})
}

fn special_piece(name: &str, type_id: u32) -> Value {
    json!({"SpecialToken": {"id": name, "type_id": type_id}})
}

fn text_piece(name: &str, type_id: u32) -> Value {
    json!({"Sequence": {"id": name, "type_id": type_id}})
}
