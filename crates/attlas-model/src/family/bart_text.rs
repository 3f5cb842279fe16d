//! The vocabularies of BART's kin: mBART's languages, Pegasus's numbering, the vocab.json of Marian and M2M-100.

use super::{PieceRule, TextRules};
use crate::tokenizer::pieces::{Pieces, control, own};
use crate::tokenizer::sentencepiece::{PieceKind, SentencePiece};
use crate::tokenizer::settings::Settings;

/// The languages of mBART (Liu et al. 2020), in the order of their ids.
const MBART_LANGUAGES: &str = "ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR \
                               lt_LT lv_LV my_MM ne_NP nl_XX ro_RO ru_RU si_LK tr_TR vi_VN zh_CN";
/// The languages that mBART-50 (Tang et al. 2020) adds.
const MBART50_LANGUAGES: &str = "af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN mn_MN mr_IN pl_PL \
                                 ps_AF pt_XX sv_SE sw_KE ta_IN te_IN th_TH tl_XX uk_UA ur_PK xh_ZA gl_ES sl_SI";
/// The languages of M2M-100 (Fan et al. 2021), in the order of their ids after the vocabulary.
const M2M100_LANGUAGES: &str = "af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi fr fy ga gd gl \
                                gu ha he hi hr ht hu hy id ig ilo is it ja jv ka kk km kn ko lb lg ln lo lt lv mg mk ml \
                                mn mr ms my ne nl no ns oc or pa pl ps pt ro ru sd si sk sl so sq sr ss su sv sw ta th \
                                tl tn tr uk ur uz vi wo xh yi yo zh zu";

pub(super) const MBART: TextRules = TextRules {
    model_types: &["mbart"],
    classes: &["MBartTokenizer", "MBart50Tokenizer"],
    pieces: PieceRule::Arranged(mbart),
    ..TextRules::PLAIN
};

pub(super) const PEGASUS: TextRules = TextRules {
    model_types: &["pegasus"],
    classes: &["PegasusTokenizer"],
    pieces: PieceRule::Arranged(pegasus),
    ..TextRules::PLAIN
};

/// The marks of Marian and M2M-100 come with the map to their own ids.
const MAPPED: PieceRule = PieceRule::Arranged(|_, _, _| {});

pub(super) const MARIAN: TextRules =
    TextRules { model_types: &["marian"], classes: &["MarianTokenizer"], pieces: MAPPED, ..TextRules::PLAIN };

pub(super) const M2M100: TextRules = TextRules {
    model_types: &["m2m_100"],
    pieces: MAPPED,
    languages_after: Some(M2M100_LANGUAGES),
    language_first: Some(("NllbTokenizer", "eng_Latn")),
    ..TextRules::PLAIN
};

/// fairseq's numbers, then the languages; the language of a text stands behind it, in mBART-50 before it.
fn mbart(pieces: &mut Pieces, model: &SentencePiece, settings: &Settings) {
    let fifty = settings.class().starts_with("MBart50");
    let more = MBART50_LANGUAGES.split(' ').filter(|_| fifty);
    pieces.number_as_fairseq(model, MBART_LANGUAGES.split(' ').chain(more).chain(["<mask>"]));
    let language = settings.text("src_lang").unwrap_or("en_XX");
    if fifty {
        pieces.surround(&[language], &[], &["</s>"]);
    } else {
        pieces.surround(&[], &[], &["</s>", language]);
    }
    pieces.cut_at_space = true;
}

/// Its own special tokens and a hundred unused ones before the model's pieces.
fn pegasus(pieces: &mut Pieces, model: &SentencePiece, settings: &Settings) {
    let offset = settings.number("offset").unwrap_or(103).clamp(2, 10_000);
    let masks = ["<pad>", "</s>", "<mask_1>", "<mask_2>"].into_iter().map(control);
    let unknown = (2..offset).map(|index| (format!("<unk_{index}>"), -100.0, PieceKind::Control));
    pieces.pieces = masks.chain(unknown).chain(own(model).skip(2)).collect();
    pieces.unk_id += offset;
    pieces.surround(&[], &[], &["</s>"]);
}
