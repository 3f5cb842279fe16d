//! What is tested of each family against transformers: the folders of `tests/data/families`, and what each shows.

use super::{FAMILIES, Family};

/// The cases of a family: the folder, and the mechanism that it has on.
const TESTED: &[(&str, &[(&str, &str)])] = &[
    ("bert", &[("bert", "segments, masked LM"), ("bert-classifier", "classifier, f16")]),
    ("roberta", &[("roberta", "masked LM"), ("xlm-roberta", "bf16")]),
    ("distilbert", &[("distilbert", "masked LM")]),
    ("albert", &[("albert", "shared layers, narrow embedding"), ("albert-groups", "two groups of layers")]),
    ("electra", &[("electra", "discriminator"), ("electra-generator", "generator")]),
    ("mpnet", &[("mpnet", "bucketed bias")]),
    ("modernbert", &[("modernbert", "windows, RoPE of two bases, gated")]),
    (
        "deberta",
        &[
            ("deberta-v2", "content with distance (dense), buckets"),
            ("deberta-v2-unshared", "projections of distances, convolution"),
            ("deberta-v3-classifier", "classifier, no absolute positions, f16"),
        ],
    ),
    ("gpt2", &[("gpt2", "shards, generation"), ("gpt2-layer-scaled", "scores scaled by layer")]),
    ("gpt_neo", &[("gpt-neo", "local layers")]),
    ("gpt_neox", &[("gpt-neox", "parallel, partial RoPE"), ("gpt-neox-sequential", "sequential, f16")]),
    ("gptj", &[("gptj", "interleaved RoPE, shared norm")]),
    ("opt", &[("opt", "positions two rows late"), ("opt-350m", "narrow token rows, post-norm, f16")]),
    ("bloom", &[("bloom", "ALiBi"), ("bloom-6-heads", "ALiBi of 6 heads, bf16")]),
    (
        "llama",
        &[
            ("llama", "groups of 2"),
            ("llama-ungrouped", "groups of 1, bf16"),
            ("llama-multi-query", "groups of 4, tied"),
            ("llama-linear", "linear RoPE scaling"),
            ("llama-dynamic", "dynamic RoPE scaling"),
            ("llama3", "Llama 3 RoPE scaling"),
            ("llama-yarn", "YaRN"),
        ],
    ),
    ("mistral", &[("mistral", "window")]),
    ("qwen2", &[("qwen2", "q/k/v biases, tied"), ("qwen2-windowed", "windows in later layers")]),
    ("qwen3", &[("qwen3", "q/k norms")]),
    ("gemma", &[("gemma", "multi-query, scaled embedding")]),
    ("gemma2", &[("gemma2", "soft caps, alternating windows, sandwich norms")]),
    ("gemma3", &[("gemma3", "q/k norms, RoPE of two bases"), ("gemma3-older-config", "older configuration")]),
    ("phi", &[("phi", "parallel, partial RoPE"), ("phi-qk-norm", "q/k norms, f16")]),
    ("phi3", &[("phi3", "fused matrices, window"), ("phi3-longrope", "long RoPE")]),
    ("falcon", &[("falcon-7b", "multi-query"), ("falcon-40b", "grouped, two norms"), ("falcon-rw", "ALiBi, f16")]),
    ("stablelm", &[("stablelm", "partial RoPE, biases"), ("stablelm-2-12b", "q/k norm per head, parallel, bf16")]),
    ("olmo", &[("olmo", "weightless norms, clipping")]),
    ("olmo2", &[("olmo2", "output norms, q/k norms")]),
    ("smollm3", &[("smollm3", "layers without positions")]),
    ("gpt_oss", &[("gpt-oss", "sinks, experts, windows, YaRN, bf16"), ("gpt-oss-mxfp4", "experts in MXFP4")]),
    ("t5", &[("t5", "bucketed bias, tied"), ("t5-v1.1", "gated, untied, bf16"), ("mt5", "mT5, untied")]),
    ("bart", &[("bart", "post-norm, learnt positions")]),
    ("mbart", &[("mbart", "pre-norm, f16")]),
    ("marian", &[("marian", "sinusoidal positions, shards")]),
    ("m2m_100", &[("m2m-100", "sinusoidal positions after padding, bf16")]),
    ("pegasus", &[("pegasus", "sinusoidal positions, pre-norm")]),
    (
        "whisper",
        &[
            ("whisper", "spectrogram through convolutions, generation"),
            ("whisper-multilingual", "language heard, tags, suppressed tokens, f16"),
        ],
    ),
    ("vit", &[("vit", "classifier"), ("vit-model", "f16")]),
    ("deit", &[("deit", "distillation token, two classifiers")]),
    (
        "dinov2",
        &[
            ("dinov2", "layer scale, images of other sizes"),
            ("dinov2-classifier", "classifier on CLS and mean"),
            ("dinov2-giant", "gated"),
            ("dinov2-registers", "registers"),
        ],
    ),
    ("clip_vision", &[("clip-vision", "norm before the layers"), ("clip", "beside its text tower")]),
];

impl Family {
    /// What is tested of it against transformers: the folder of reference values, and what it shows.
    pub fn tested(&self) -> &'static [(&'static str, &'static str)] {
        TESTED.iter().find(|(name, _)| *name == self.name).map_or(&[], |(_, cases)| cases)
    }

    /// The same in words.
    pub fn tested_in_words(&self) -> String {
        let tested: Vec<&str> = self.tested().iter().map(|(_, what)| *what).collect();
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
