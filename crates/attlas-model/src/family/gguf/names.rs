//! What GGUF calls the tensors of each kind of model, and Hugging Face.

/// A kind of model that is read from GGUF files.
pub(super) struct Kind {
    /// What `general.architecture` says.
    pub architecture: &'static str,
    /// Hugging Face's `model_type`.
    pub model_type: &'static str,
    /// Names of tensors outside the layers, without their ending.
    outside: &'static [(&'static str, &'static str)],
    /// What a layer's names stand under; `{}` is its index.
    layer: &'static str,
    /// Names of a layer's tensors.
    parts: &'static [(&'static str, &'static str)],
    /// Whether files have what is added to 1 in a norm with the 1 in it (Gemma).
    pub norms_have_one: bool,
    /// Whether the rows of a head's queries and keys lie as llama.cpp turns them, neighbours together.
    pub neighbours_turn: bool,
}

/// All of them.
pub(super) const KINDS: [Kind; 9] = [
    Kind { architecture: "llama", model_type: "llama", neighbours_turn: true, ..LLAMA },
    Kind { architecture: "qwen2", model_type: "qwen2", ..LLAMA },
    Kind { architecture: "qwen3", model_type: "qwen3", ..LLAMA },
    Kind { architecture: "gemma", model_type: "gemma", norms_have_one: true, ..LLAMA },
    Kind { architecture: "gemma2", model_type: "gemma2", ..GEMMA2 },
    Kind { architecture: "gemma3", model_type: "gemma3_text", ..GEMMA2 },
    Kind { architecture: "phi2", model_type: "phi", outside: &PHI2_OUTSIDE, parts: &PHI2, ..LLAMA },
    Kind { architecture: "phi3", model_type: "phi3", parts: &PHI3, ..LLAMA },
    Kind {
        architecture: "bert",
        model_type: "bert",
        outside: &BERT_OUTSIDE,
        layer: "encoder.layer.{}.",
        parts: &BERT,
        ..LLAMA
    },
];

const LLAMA: Kind = Kind {
    architecture: "",
    model_type: "",
    outside: &[("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")],
    layer: "model.layers.{}.",
    parts: &[
        ("attn_norm", "input_layernorm"),
        ("ffn_norm", "post_attention_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("attn_q_norm", "self_attn.q_norm"),
        ("attn_k_norm", "self_attn.k_norm"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
    ],
    norms_have_one: false,
    neighbours_turn: false,
};

const GEMMA2: Kind = Kind {
    parts: &[
        ("attn_norm", "input_layernorm"),
        ("post_attention_norm", "post_attention_layernorm"),
        ("ffn_norm", "pre_feedforward_layernorm"),
        ("post_ffw_norm", "post_feedforward_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("attn_q_norm", "self_attn.q_norm"),
        ("attn_k_norm", "self_attn.k_norm"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
    ],
    norms_have_one: true,
    ..LLAMA
};

const PHI2_OUTSIDE: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.final_layernorm"), ("output", "lm_head")];

const PHI2: [(&str, &str); 8] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    (JOINT, ""),
    ("attn_output", "self_attn.dense"),
    ("ffn_up", "mlp.fc1"),
    ("ffn_down", "mlp.fc2"),
];

const PHI3: [(&str, &str); 6] = [
    ("attn_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
    (JOINT, "self_attn.qkv_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_up", "mlp.gate_up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

const BERT_OUTSIDE: [(&str, &str); 4] = [
    ("token_embd", "embeddings.word_embeddings"),
    ("position_embd", "embeddings.position_embeddings"),
    ("token_types", "embeddings.token_type_embeddings"),
    ("token_embd_norm", "embeddings.LayerNorm"),
];

const BERT: [(&str, &str); 8] = [
    ("attn_q", "attention.self.query"),
    ("attn_k", "attention.self.key"),
    ("attn_v", "attention.self.value"),
    ("attn_output", "attention.output.dense"),
    ("attn_output_norm", "attention.output.LayerNorm"),
    ("ffn_up", "intermediate.dense"),
    ("ffn_down", "output.dense"),
    ("layer_output_norm", "output.LayerNorm"),
];

/// Queries, keys and values one above the other.
const JOINT: &str = "attn_qkv";

impl Kind {
    /// Hugging Face's name of a tensor; of one that holds queries, keys and values where Hugging Face has three, their names.
    pub fn names(&self, name: &str) -> Option<Vec<String>> {
        let (stem, ending) = name.rsplit_once('.').filter(|(_, ending)| matches!(*ending, "weight" | "bias"))?;
        let of = |table: &[(&str, &'static str)], stem: &str| {
            table.iter().find(|(gguf, _)| *gguf == stem).map(|(_, name)| *name)
        };
        if let Some(name) = of(self.outside, stem) {
            return Some(vec![format!("{name}.{ending}")]);
        }
        let (layer, part) = stem.strip_prefix("blk.")?.split_once('.')?;
        let layer: u32 = layer.parse().ok()?;
        let under = |part: &str| format!("{}{part}.{ending}", self.layer.replace("{}", &layer.to_string()));
        match of(self.parts, part)? {
            "" => {
                Some(["attn_q", "attn_k", "attn_v"].iter().filter_map(|part| of(self.parts, part)).map(under).collect())
            }
            name => Some(vec![under(name)]),
        }
    }
}
