//! Models that see images and read text (Gemma 3, Mistral 3, LLaVA, Qwen-VL), of which the text's stack is read here: its
//! configuration is nested in theirs, and its tensors lie under names of theirs. What images go through is in `sight.rs`, where it is read.
//!
//! A text without images is to the stack what it is to a language model: M-RoPE (Wang et al. 2024), which turns by three positions
//! of a patch, gives a word three times the same one.

use super::readouts::Tied;
use super::{FAMILIES, Family, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Output, Readout};
use crate::load::{Names, ReadoutNames, Superfluous};

pub(super) const GEMMA3: Family = Family {
    name: "gemma3",
    model_types: &["gemma3"],
    about: "Gemma 3 with images (Gemma Team 2025), text only",
    read: |config| read(config, "gemma3_text", Tied::Yes),
    tested: &[
        ("gemma3-tower", "names as on the hub, sizes left out"),
        ("gemma3-tower-nested", "names of transformers 5"),
    ],
    texts: &[],
};

pub(super) const MISTRAL3: Family = Family {
    name: "mistral3",
    model_types: &["mistral3"],
    about: "Mistral Small 3.1 (Mistral AI 2025), text only",
    read: |config| read(config, "mistral", Tied::Yes),
    tested: &[("mistral3-tower", "names as on the hub, f16")],
    texts: &[],
};

pub(super) const LLAVA: Family = Family {
    name: "llava",
    model_types: &["llava", "llava_next"],
    about: "LLaVA with images, LLaVA-NeXT's text (Liu et al. 2023, 2024)",
    read: |config| read(config, "llama", Tied::No),
    tested: &[
        ("llava", "images through CLIP, several, generation"),
        ("llava-siglip", "images through SigLIP, states of two layers, Qwen 2 inside, bf16"),
        ("llava-tower", "text alone, names as on the hub"),
        ("llava-next-tower", "Mistral inside; names of transformers 5"),
    ],
    texts: &[],
};

pub(super) const LLAVA_ONEVISION: Family = Family {
    name: "llava_onevision",
    model_types: &["llava_onevision"],
    about: "LLaVA-OneVision (Li et al. 2024), text only",
    read: |config| read(config, "qwen2", Tied::No),
    tested: &[("llava-onevision-tower", "Qwen 2 inside, tied")],
    texts: &[],
};

pub(super) const QWEN2_VL: Family = Family {
    name: "qwen2_vl",
    model_types: &["qwen2_vl"],
    about: "Qwen2-VL with images (Wang et al. 2024)",
    read: |config| read(config, "qwen2_vl_text", Tied::No),
    tested: &[
        ("qwen2-vl", "images of any shape, several, M-RoPE, generation, bf16"),
        ("qwen2-vl-tower", "text alone; one configuration for text and images, names as on the hub"),
    ],
    texts: &[],
};

pub(super) const QWEN2_5_VL: Family = Family {
    name: "qwen2_5_vl",
    model_types: &["qwen2_5_vl"],
    about: "Qwen2.5-VL with images (Bai et al. 2025)",
    read: |config| read(config, "qwen2_5_vl_text", Tied::No),
    tested: &[
        ("qwen2.5-vl", "images of any shape, several, M-RoPE, generation, f16"),
        ("qwen2.5-vl-tower", "text alone, names of transformers 5"),
    ],
    texts: &[],
};

pub(super) const QWEN3_VL: Family = Family {
    name: "qwen3_vl",
    model_types: &["qwen3_vl"],
    about: "Qwen3-VL (Qwen Team 2025), text only",
    read: |config| read(config, "qwen3_vl_text", Tied::No),
    tested: &[("qwen3-vl-tower", "interleaved M-RoPE, q/k norms")],
    texts: &[],
};

/// Reads the text's stack; `text_type` is its `model_type` where the configuration does not name it.
fn read(config: &ConfigFile, text_type: &str, tied: Tied) -> Result<(Architecture, Names), Error> {
    // Qwen2-VL's older files have the fields of the text beside those of the whole
    let nested = config.section("text_config")?;
    let text = nested.as_ref().unwrap_or(config);
    let own_type = nested.as_ref().map(|text| text.text("model_type")).transpose()?.flatten();
    let text_type = own_type.unwrap_or(text_type);
    let family = FAMILIES.iter().find(|family| family.model_types.contains(&text_type));
    let unknown = || {
        let name = crate::error::brief(text_type);
        config.error("text_config.model_type", format!("is \"{name}\"; attlas knows no text model of that name"))
    };
    assume_sizes(text, text_type);
    let text = &with_numbers(text, text_type);
    let (mut architecture, names) = (family.ok_or_else(unknown)?.read)(text)?;
    let Some(stack) = architecture.decoder.as_ref().filter(|_| architecture.encoder.is_none()) else {
        return Err(unknown());
    };
    let around = llama::ids(config, stack.embedding.n_tokens)?;
    let ids = &mut architecture.ids;
    ids.padding = ids.padding.or(around.padding);
    ids.start = ids.start.or(around.start);
    if ids.ends.is_empty() {
        ids.ends = around.ends;
    }
    if !readouts::has_language_readout(config)? {
        architecture.readout = Readout::None;
    }
    let is_tied = config.flag_or("tie_word_embeddings", tied == Tied::Yes)?;
    if let Readout::Tokens { output: output @ Output::Own, .. } = &mut architecture.readout
        && is_tied
    {
        // what the text's configuration says counts in some versions of transformers, and the other one in others
        *output = Output::OwnOrTied;
    }
    let readout = ReadoutNames { elsewhere: &["language_model.lm_head.weight"], ..names.readout };
    Ok((architecture, Names { prefixes: PREFIXES, readout, superfluous: Superfluous::Towers(TOWERS), ..names }))
}

/// What the text's tensors stand under: as transformers 5 names them, as most files on the hub do, Qwen2-VL's, and those of a
/// model without an output matrix.
const PREFIXES: &[&str] = &["model.language_model.", "language_model.model.", "language_model.", "model.", ""];

/// What the names of tensors that images go through begin with.
const TOWERS: &[&str] = &[
    "vision_tower.",
    "model.vision_tower.",
    "multi_modal_projector.",
    "model.multi_modal_projector.",
    "visual.",
    "model.visual.",
    "image_newline",
    "model.image_newline",
];

/// The same with the numbers of transformers' classes for those that are left out, where the family's are others.
fn with_numbers(text: &ConfigFile, text_type: &str) -> ConfigFile {
    match text_type {
        "qwen2_vl_text" | "qwen2_5_vl_text" => {
            text.assume("max_window_layers", 80);
            text.defaulting(&[("rms_norm_eps", 1e-5), ("rope_theta", 1e6)])
        }
        "qwen3_vl_text" => text.defaulting(&[("rope_theta", 5e5)]),
        _ => text.clone(),
    }
}

/// Takes the sizes that transformers' classes have for those that a nested configuration leaves out, as many on the hub do.
fn assume_sizes(text: &ConfigFile, text_type: &str) {
    const FIELDS: [&str; 8] = [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "max_position_embeddings",
    ];
    // 0 is none: it follows from the others
    let sizes: [usize; 8] = match text_type {
        "gemma3_text" => [262_208, 2304, 9216, 26, 8, 4, 256, 131_072],
        "llama" => [32_000, 4096, 11_008, 32, 32, 0, 0, 2048],
        "mistral" => [32_000, 4096, 14_336, 32, 32, 8, 0, 131_072],
        "qwen2" => [151_936, 4096, 22_016, 32, 32, 32, 0, 32_768],
        "qwen2_vl_text" | "qwen2_5_vl_text" => [152_064, 8192, 29_568, 80, 64, 8, 0, 32_768],
        "qwen3_vl_text" => [151_936, 4096, 22_016, 32, 32, 32, 128, 128_000],
        _ => return,
    };
    for (field, size) in FIELDS.into_iter().zip(sizes).filter(|(_, size)| *size > 0) {
        text.assume(field, size);
    }
}
