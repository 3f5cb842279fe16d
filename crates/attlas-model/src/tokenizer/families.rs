//! SentencePiece models as the model families use them: order of the vocabulary, special tokens, template.

use std::collections::HashMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::blueprint::{AddedEntry, Blueprint, BpeOptions, PieceModel};
use super::sentencepiece::{Algorithm, PieceKind, SentencePiece};
use super::settings::Settings;
use crate::Error;

/// The languages of mBART (Liu et al. 2020), in the order of their ids.
const MBART: &str = "ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV \
                     my_MM ne_NP nl_XX ro_RO ru_RU si_LK tr_TR vi_VN zh_CN";
/// The languages that mBART-50 (Tang et al. 2020) adds.
const MBART50: &str = "af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN mn_MN mr_IN pl_PL ps_AF pt_XX \
                       sv_SE sw_KE ta_IN te_IN th_TH tl_XX uk_UA ur_PK xh_ZA gl_ES sl_SI";

/// A vocabulary in a family's own order, and what is added around a text.
struct Family {
    /// Pieces, scores and kinds; the index is the id.
    pieces: Vec<(String, f64, PieceKind)>,
    unk_id: usize,
    /// Special tokens before a text.
    before: Vec<String>,
    /// Special tokens after a text.
    after: Vec<String>,
    /// What stands between the texts of a pair.
    between: Vec<String>,
    /// The segment id of a pair's second text.
    second: u32,
    /// Whether text is cut at white space of any kind first, as transformers does for these families.
    cut_at_space: bool,
    /// Normalisers that come before the model's own map of characters.
    normalizers: Vec<Value>,
}

/// Makes a blueprint of a SentencePiece model for the family that the folder's settings name.
pub(super) fn blueprint(model: &SentencePiece, settings: &Settings, path: &Path) -> Result<Blueprint, Error> {
    let family = family(model, settings, path)?;
    let mut added: Vec<AddedEntry> = (0u32..)
        .zip(&family.pieces)
        .filter(|(_, (_, _, kind))| matches!(kind, PieceKind::Control | PieceKind::UserDefined | PieceKind::Unknown))
        .map(|(id, (text, _, kind))| AddedEntry {
            special: *kind != PieceKind::UserDefined,
            ..AddedEntry::special(id, text.clone())
        })
        .collect();
    settings.add_tokens(&mut added, family.pieces.len());
    let id_of = |token: &String| -> Result<u32, Error> {
        let in_pieces = family.pieces.iter().position(|(text, _, _)| text == token).map(|id| id as u32);
        let found = in_pieces.or_else(|| added.iter().find(|entry| entry.content == *token).map(|entry| entry.id));
        found.ok_or_else(|| Error::file(path, format!("has no piece {token:?}, which this family adds to each text")))
    };
    let post_processor = template(&family, &id_of)?;
    Ok(Blueprint {
        path: path.to_owned(),
        normalizer: normalizer(model, &family),
        pre_tokenizer: pre_tokenizer(model, &family),
        decoder: decoder(model),
        post_processor,
        model: piece_model(model, family),
        added_tokens: added,
    })
}

/// What is known of the family.
fn family(model: &SentencePiece, settings: &Settings, path: &Path) -> Result<Family, Error> {
    let own = || model.pieces.iter().map(|piece| (piece.text.clone(), f64::from(piece.score), piece.kind));
    let control = |text: &str| (text.to_owned(), 0.0, PieceKind::Control);
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    let mut family = Family {
        pieces: own().collect(),
        unk_id: model.unk_id as usize,
        before: Vec::new(),
        after: Vec::new(),
        between: Vec::new(),
        second: 0,
        cut_at_space: false,
        normalizers: Vec::new(),
    };
    // fairseq numbers its own four special tokens first.
    let fairseq = || ["<s>", "<pad>", "</s>", "<unk>"].into_iter().map(control).chain(own().skip(3));
    match settings.family() {
        "t5" | "mt5" | "umt5" | "longt5" | "switch_transformers" => {
            for index in (0..settings.number("extra_ids").unwrap_or(100).min(10_000)).rev() {
                family.pieces.push(control(&format!("<extra_id_{index}>")));
            }
            family.after = names(&["</s>"]);
            family.between = names(&["</s>"]);
            family.cut_at_space = true;
        }
        "xlm-roberta" | "xlm-roberta-xl" => {
            family.pieces = fairseq().chain([control("<mask>")]).collect();
            family.unk_id = 3;
            family.before = names(&["<s>"]);
            family.after = names(&["</s>"]);
            family.between = names(&["</s>", "</s>"]);
            family.cut_at_space = true;
        }
        "mbart" => {
            let fifty = settings.class().starts_with("MBart50");
            let languages = MBART.split(' ').chain(MBART50.split(' ').filter(|_| fifty));
            family.pieces = fairseq().chain(languages.map(control)).chain([control("<mask>")]).collect();
            family.unk_id = 3;
            let language = settings.text("src_lang").unwrap_or("en_XX").to_owned();
            family.before = if fifty { vec![language.clone()] } else { Vec::new() };
            family.cut_at_space = true;
            family.after = if fifty { names(&["</s>"]) } else { vec!["</s>".to_owned(), language] };
        }
        "albert" => {
            family.before = names(&["[CLS]"]);
            family.after = names(&["[SEP]"]);
            family.between = names(&["[SEP]"]);
            family.second = 1;
            family.cut_at_space = true;
            family.normalizers = albert_normalizers(settings);
        }
        "deberta-v2" => {
            family.before = names(&["[CLS]"]);
            family.after = names(&["[SEP]"]);
            family.between = names(&["[SEP]"]);
            family.second = 1;
            if settings.flag("do_lower_case").unwrap_or(false) {
                family.normalizers.push(json!({"type": "Lowercase"}));
            }
        }
        "pegasus" => {
            let offset = settings.number("offset").unwrap_or(103).clamp(2, 10_000);
            let masks = ["<pad>", "</s>", "<mask_1>", "<mask_2>"].into_iter().map(control);
            let unknown = (2..offset).map(|index| (format!("<unk_{index}>"), -100.0, PieceKind::Control));
            family.pieces = masks.chain(unknown).chain(own().skip(2)).collect();
            family.unk_id += offset;
            family.after = names(&["</s>"]);
        }
        "camembert" | "barthez" | "xlnet" | "reformer" | "big_bird" | "rembert" | "fnet" | "xglm"
        | "xlm-prophetnet" => {
            return Err(Error::file(
                path,
                format!(
                    "is of a family ({}) whose vocabulary files are not read; save its tokenizer once as tokenizer.json",
                    settings.family()
                ),
            ));
        }
        // Theirs are added by the map to their own ids.
        "marian" | "m2m_100" => {}
        _ => causal_markers(&mut family, model, settings),
    }
    Ok(family)
}

/// Llama and all others: the beginning and end markers that the settings ask for.
fn causal_markers(family: &mut Family, model: &SentencePiece, settings: &Settings) {
    let first_of = |names: [&str; 2]| {
        let known = |name: &&str| model.pieces.iter().any(|piece| piece.text == *name);
        names.iter().find(|name| known(name)).map(|name| (*name).to_owned())
    };
    let by_default = model.algorithm == Algorithm::Bpe;
    if settings.flag("add_bos_token").unwrap_or(by_default) {
        family.before.extend(settings.token("bos_token").or_else(|| first_of(["<s>", "<bos>"])));
    }
    if settings.flag("add_eos_token").unwrap_or(!by_default) {
        family.after.extend(settings.token("eos_token").or_else(|| first_of(["</s>", "<eos>"])));
    }
    family.second = 1;
}

fn albert_normalizers(settings: &Settings) -> Vec<Value> {
    let quote = |pattern: &str| json!({"type": "Replace", "pattern": {"String": pattern}, "content": "\""});
    let mut normalizers = vec![quote("``"), quote("''")];
    if !settings.flag("keep_accents").unwrap_or(false) {
        normalizers.extend([json!({"type": "NFKD"}), json!({"type": "StripAccents"})]);
    }
    if settings.flag("do_lower_case").unwrap_or(true) {
        normalizers.push(json!({"type": "Lowercase"}));
    }
    normalizers
}

/// The map of characters, then white space as SentencePiece treats it.
fn normalizer(model: &SentencePiece, family: &Family) -> Value {
    let mut normalizers = family.normalizers.clone();
    if !model.charsmap.is_empty() {
        normalizers.push(json!({"type": "Precompiled", "precompiled_charsmap": STANDARD.encode(&model.charsmap)}));
    }
    if model.remove_extra_whitespaces && !family.cut_at_space {
        normalizers.push(json!({"type": "Strip", "strip_left": true, "strip_right": true}));
        normalizers.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
    }
    json!({"type": "Sequence", "normalizers": normalizers})
}

/// Spaces become `▁`; words are cut apart where no piece reaches over one.
fn pre_tokenizer(model: &SentencePiece, family: &Family) -> Value {
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
    if family.cut_at_space {
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
fn template(family: &Family, id_of: &dyn Fn(&String) -> Result<u32, Error>) -> Result<Value, Error> {
    if family.before.is_empty() && family.after.is_empty() {
        return Ok(Value::Null);
    }
    let marks = |names: &[String], type_id: u32| {
        names.iter().map(|name| json!({"SpecialToken": {"id": name, "type_id": type_id}})).collect::<Vec<_>>()
    };
    let text = |name: &str, type_id: u32| vec![json!({"Sequence": {"id": name, "type_id": type_id}})];
    let (before, after, second) = (&family.before, &family.after, family.second);
    let between = match (family.between.is_empty(), second) {
        (true, 0) => Vec::new(),
        (true, _) => [marks(after, 0), marks(before, second)].concat(),
        (false, _) => marks(&family.between, 0),
    };
    let single = [marks(before, 0), text("A", 0), marks(after, 0)].concat();
    let pair = [marks(before, 0), text("A", 0), between, text("B", second), marks(after, second)].concat();
    let mut special_tokens = serde_json::Map::new();
    for name in before.iter().chain(&family.between).chain(after) {
        special_tokens.insert(name.clone(), json!({"id": name, "ids": [id_of(name)?], "tokens": [name]}));
    }
    Ok(json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special_tokens}))
}

/// Puts the language before a text where NLLB's files still have it behind: transformers changed that for all of them.
pub(super) fn put_language_first(blueprint: &mut Blueprint, settings: &Settings) {
    if !settings.class().starts_with("NllbTokenizer") || settings.flag("legacy_behaviour").unwrap_or(false) {
        return;
    }
    let language = settings.text("src_lang").unwrap_or("eng_Latn");
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

fn piece_model(model: &SentencePiece, family: Family) -> PieceModel {
    if model.algorithm == Algorithm::Unigram {
        let pieces = family.pieces.into_iter().map(|(text, score, _)| (text, score)).collect();
        return PieceModel::Unigram { pieces, unk_id: Some(family.unk_id), byte_fallback: model.byte_fallback };
    }
    let options = BpeOptions {
        unk_token: family.pieces.get(family.unk_id).map(|(text, _, _)| text.clone()),
        fuse_unk: true,
        byte_fallback: model.byte_fallback,
        ..BpeOptions::default()
    };
    let merges = merges(&family.pieces);
    let vocab = (0u32..).zip(family.pieces).map(|(id, (text, _, _))| (text, id)).collect();
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
