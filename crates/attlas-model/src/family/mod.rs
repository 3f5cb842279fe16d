//! The families of models: each says how its config.json becomes a configuration of the generic Transformer, and how
//! its weights are named. Nothing else in this crate knows a family.

mod albert;
mod alibi_bert;
mod apertus;
mod bart;
mod bart_text;
mod beit;
mod bert;
mod bloom;
mod clip;
mod cohere;
mod deberta;
mod deepseek;
#[cfg(test)]
mod defaults_tests;
mod detr;
mod dinov2;
mod dinov3;
mod distilbert;
mod electra;
mod esm;
mod esmc;
mod eurobert;
mod exaone;
mod falcon;
mod gemma;
pub(crate) mod gguf;
mod glm;
mod gpt2;
mod gpt_bigcode;
mod gpt_neo;
mod gpt_neox;
mod gpt_oss;
mod gptj;
mod granite;
mod granite_hybrid;
mod hunyuan;
mod internlm;
mod jamba;
mod llama;
mod mixture;
mod modernbert;
mod mpnet;
mod mpt;
mod near_llama;
mod nemotron;
mod olmo;
mod opt;
mod phi;
mod pre_norm_bert;
pub(crate) mod processors;
mod qwen;
mod qwen3_next;
mod qwen_vision;
mod readouts;
mod recurrent;
mod roberta;
mod roformer;
mod rotary;
mod rotary_bert;
mod sight;
mod siglip;
mod stablelm;
mod starcoder2;
mod t5;
mod text;
mod tower;
mod trocr;
mod vaswani;
mod vit;
mod wav2vec2;
mod whisper;

pub(crate) use sight::{SightPlan, TakenRows, sight};
pub(crate) use text::{Marks, PieceRule, TextRules, VocabularyRule, language_first, text_rules};
pub use vaswani::FAMILY as VASWANI;

use crate::Error;
use crate::config::Architecture;
use crate::config::file::ConfigFile;
use crate::load::Names;

/// One family.
pub struct Family {
    /// The name that is shown and written into recordings.
    pub name: &'static str,
    /// The `model_type`s of config.json that it reads.
    pub model_types: &'static [&'static str],
    /// What it is, in a line, with its paper.
    pub about: &'static str,
    /// From config.json to the generic Transformer, and to the names of its weights.
    pub read: fn(&ConfigFile) -> Result<(Architecture, Names), Error>,
    /// What is tested of it against transformers: folders of `tests/data/families`, and the mechanism that each has on.
    pub tested: &'static [(&'static str, &'static str)],
    /// What its older vocabulary files leave unsaid.
    pub(crate) texts: &'static [TextRules],
}

impl Family {
    /// What is tested of it, in words.
    pub fn tested_in_words(&self) -> String {
        let tested: Vec<&str> = self.tested.iter().map(|(_, what)| *what).collect();
        if tested.is_empty() { "with its own PyTorch class".to_owned() } else { tested.join("; ") }
    }
}

/// The table of families in README.md, in Markdown.
pub fn table() -> String {
    let mut table = "| family | `model_type` | tested against transformers |\n|---|---|---|\n".to_owned();
    for family in FAMILIES {
        let types: Vec<String> = family.model_types.iter().map(|name| format!("`{name}`")).collect();
        table.push_str(&format!("| {} | {} | {} |\n", family.about, types.join(", "), family.tested_in_words()));
    }
    table
}

/// All families.
pub const FAMILIES: &[Family] = &[
    vaswani::FAMILY,
    bert::FAMILY,
    roberta::FAMILY,
    pre_norm_bert::MEGATRON,
    pre_norm_bert::XLM_R_XL,
    pre_norm_bert::PRE_LAYER_NORM,
    distilbert::FAMILY,
    albert::FAMILY,
    electra::FAMILY,
    roformer::FAMILY,
    mpnet::FAMILY,
    modernbert::FAMILY,
    deberta::FAMILY,
    rotary_bert::NOMIC,
    rotary_bert::GTE,
    rotary_bert::JINA,
    eurobert::FAMILY,
    esm::FAMILY,
    esmc::FAMILY,
    gpt2::FAMILY,
    gpt_bigcode::FAMILY,
    gpt_neo::FAMILY,
    gpt_neox::FAMILY,
    gptj::FAMILY,
    opt::FAMILY,
    bloom::FAMILY,
    mpt::FAMILY,
    llama::FAMILY,
    qwen::MISTRAL,
    qwen::MINISTRAL,
    qwen::QWEN2,
    qwen::QWEN3,
    gemma::GEMMA,
    gemma::GEMMA2,
    gemma::GEMMA3,
    phi::PHI,
    phi::PHI3,
    falcon::FAMILY,
    stablelm::FAMILY,
    olmo::OLMO,
    olmo::OLMO2,
    olmo::OLMO3,
    olmo::SMOLLM3,
    granite::FAMILY,
    cohere::COHERE,
    cohere::COHERE2,
    glm::GLM,
    glm::GLM4,
    starcoder2::FAMILY,
    nemotron::FAMILY,
    exaone::EXAONE,
    exaone::EXAONE4,
    internlm::INTERNLM2,
    internlm::INTERNLM3,
    hunyuan::FAMILY,
    apertus::FAMILY,
    near_llama::SEED_OSS,
    near_llama::ARCEE,
    near_llama::HELIUM,
    near_llama::ERNIE,
    gpt_oss::FAMILY,
    mixture::MIXTRAL,
    mixture::QWEN2_MOE,
    mixture::QWEN3_MOE,
    mixture::OLMOE,
    granite_hybrid::FAMILY,
    jamba::FAMILY,
    qwen3_next::FAMILY,
    deepseek::V2,
    deepseek::V3,
    tower::GEMMA3,
    tower::MISTRAL3,
    tower::LLAVA,
    tower::LLAVA_ONEVISION,
    tower::QWEN2_VL,
    tower::QWEN2_5_VL,
    tower::QWEN3_VL,
    t5::FAMILY,
    bart::BART,
    bart::MBART,
    bart::MARIAN,
    bart::PEGASUS,
    bart::M2M100,
    whisper::FAMILY,
    wav2vec2::WAV2VEC2,
    wav2vec2::HUBERT,
    wav2vec2::WAVLM,
    vit::VIT,
    vit::DEIT,
    vit::MAE,
    beit::BEIT,
    beit::DATA2VEC,
    dinov2::FAMILY,
    dinov3::FAMILY,
    trocr::FAMILY,
    detr::FAMILY,
    clip::VISION,
    clip::TEXT,
    siglip::VISION,
    siglip::VISION_2,
    qwen_vision::QWEN2_VL,
    qwen_vision::QWEN2_5_VL,
    siglip::TEXT,
];

/// The family of a configuration.
///
/// # Errors
/// When `model_type` is missing or unknown; a known one that is near is named.
pub fn of(config: &ConfigFile) -> Result<&'static Family, Error> {
    let Some(model_type) = config.text("model_type")? else {
        // the state dict of the source design comes with a configuration that names no type
        if vaswani::is_meant(config) {
            return Ok(&vaswani::FAMILY);
        }
        let mut message = "is missing; it names the family, such as \"bert\" or \"llama\"".to_owned();
        if let Some(classes) = config.get("architectures") {
            message.push_str(&format!(", and architectures, {classes}, does not say it"));
        }
        return Err(config.error("model_type", message));
    };
    let found = FAMILIES.iter().find(|family| family.model_types.contains(&model_type));
    found.ok_or_else(|| Error::UnknownFamily {
        path: config.path().to_owned(),
        model_type: crate::error::brief(model_type),
        nearest: nearest(model_type),
    })
}

/// One of the two towers of a model that reads images with one and texts with the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tower {
    /// Reads images.
    Vision,
    /// Reads texts.
    Text,
}

impl std::str::FromStr for Tower {
    type Err = String;

    fn from_str(name: &str) -> Result<Tower, String> {
        match name {
            "vision" => Ok(Tower::Vision),
            "text" => Ok(Tower::Text),
            other => Err(format!("\"{other}\" is no tower: vision or text was expected")),
        }
    }
}

/// The `model_type`s of models of two towers, which stand for the vision tower, and that of the text tower of each.
const TOWERS: [(&str, &str); 3] =
    [("clip", "clip_text_model"), ("siglip", "siglip_text_model"), ("siglip2", "siglip2_text_model")];

/// The `model_type` of the text tower beside the vision tower that a configuration stands for.
///
/// # Errors
/// When `model_type` is no text.
pub(crate) fn text_tower(config: &ConfigFile) -> Result<Option<&'static str>, Error> {
    let model_type = config.text("model_type")?;
    Ok(TOWERS.into_iter().find(|(both, _)| Some(*both) == model_type).map(|(_, text)| text))
}

/// The configuration of a tower that was chosen.
///
/// # Errors
/// When the model has not two of them.
pub(crate) fn of_tower(config: &ConfigFile, tower: Tower) -> Result<ConfigFile, Error> {
    match (text_tower(config)?, tower) {
        (Some(_), Tower::Vision) => Ok(config.clone()),
        (Some(text), Tower::Text) => Ok(config.supposing("model_type", text.into())),
        (None, _) => {
            let both: Vec<&str> = TOWERS.into_iter().map(|(both, _)| both).collect();
            let model_type = config.text("model_type")?.unwrap_or_default();
            let message = format!(
                "is \"{}\", which has no two towers to choose from; those of {} have",
                crate::error::brief(model_type),
                both.join(", ")
            );
            Err(config.error("model_type", message))
        }
    }
}

/// The configuration with its `model_type`, which those of 2019 and 2020 leave to `architectures`.
///
/// # Errors
/// When one of the two is something else than texts.
pub(crate) fn with_type(config: &ConfigFile) -> Result<ConfigFile, Error> {
    if config.text("model_type")?.is_some() {
        return Ok(config.clone());
    }
    let classes = config.texts("architectures")?.unwrap_or_default();
    Ok(match classes.into_iter().find_map(type_of_class) {
        Some(model_type) => config.supposing("model_type", model_type.into()),
        None => config.clone(),
    })
}

/// The `model_type` of a class of transformers: its name without the task and in small letters.
fn type_of_class(class: &str) -> Option<&'static str> {
    const TASKS: [&str; 5] = ["For", "Model", "LMHead", "MTModel", "DoubleHeads"];
    let types = FAMILIES.iter().flat_map(|family| family.model_types).copied();
    let is_of = |model_type: &&str| {
        let letters = model_type.replace(['-', '_'], "");
        let start = class.get(..letters.len()).filter(|start| start.eq_ignore_ascii_case(&letters));
        start.is_some() && TASKS.iter().any(|task| class[letters.len()..].starts_with(task))
    };
    types.into_iter().find(is_of)
}

/// The known `model_type` that may have been meant: one of which it is a variant, or a letter or two away.
fn nearest(model_type: &str) -> Option<&'static str> {
    let lower: String = model_type.to_lowercase().chars().take(64).collect();
    let known = || FAMILIES.iter().flat_map(|family| family.model_types).copied();
    let is_variant = |known: &&str| {
        let rest = lower.strip_prefix(known);
        rest.is_some_and(|rest| known.len() > 3 || !rest.starts_with(char::is_alphabetic))
    };
    let variant = known().filter(is_variant).max_by_key(|known| known.len());
    variant.or_else(|| {
        let near = known().map(|known| (strsim::levenshtein(&lower, known), known));
        // a quarter of the letters at most, and not the first: "git" is not "vit", nor "mamba" "jamba"
        let begins_alike = |known: &str| lower.chars().next() == known.chars().next();
        let near =
            near.filter(|(distance, known)| *distance <= 2 && 4 * distance <= known.len() && begins_alike(known));
        near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_says_its_type_and_one_that_only_begins_alike_does_not() {
        for (class, model_type) in [
            ("BertForMaskedLM", "bert"),
            ("GPT2LMHeadModel", "gpt2"),
            ("GPTNeoXForCausalLM", "gpt_neox"),
            ("XLMRobertaForTokenClassification", "xlm-roberta"),
            ("MarianMTModel", "marian"),
            ("M2M100ForConditionalGeneration", "m2m_100"),
            ("MT5ForConditionalGeneration", "mt5"),
            ("DebertaV2Model", "deberta-v2"),
        ] {
            assert_eq!(type_of_class(class), Some(model_type), "{class}");
        }
        for class in ["BertGenerationEncoder", "DebertaForMaskedLM", "XLNetLMHeadModel", "T5", "é"] {
            assert_eq!(type_of_class(class), None, "{class}");
        }
    }

    #[test]
    fn only_what_is_near_is_taken_for_what_was_meant() {
        for (found, meant) in [
            ("lama", "llama"),
            ("bertt", "bert"),
            ("Bert-like", "bert"),
            ("gpt3", "gpt2"),
            ("mixtrall", "mixtral"),
            ("qwen2_audio", "qwen2"),
            ("distillbert", "distilbert"),
            ("t5-large", "t5"),
            ("deberta_v2", "deberta-v2"),
        ] {
            assert_eq!(nearest(found), Some(meant), "{found}");
        }
        for wild in ["mamba", "rwkv", "whatever", "git", "xlnet", "", "option", "a", "flux", "sam", "phoenix"] {
            assert_eq!(nearest(wild), None, "{wild}");
        }
    }
}
