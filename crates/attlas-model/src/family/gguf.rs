//! Llama-like models in GGUF: configuration and tensors as Hugging Face names and orders them, and what the names of
//! its tokenizers mean.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::Error;
use crate::weights::gguf::Gguf;
use crate::weights::stored_rows::StoredRows;
use crate::weights::{Bytes, Tensor};

/// GGUF's and Hugging Face's name of each part of a layer.
const LAYER_PARTS: [(&str, &str); 11] = [
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
];

/// The kinds of tokenizer in a GGUF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenizerKind {
    /// A SentencePiece model.
    SentencePiece,
    /// Byte-level BPE.
    ByteLevel,
}

/// The kinds by the names that `tokenizer.ggml.model` gives them: those of the models that had them first.
pub(crate) const TOKENIZERS: [(&str, TokenizerKind); 2] =
    [("llama", TokenizerKind::SentencePiece), ("gpt2", TokenizerKind::ByteLevel)];

/// How byte-level BPE cuts a text into words first.
pub(crate) struct WordRule {
    /// Its names in `tokenizer.ggml.pre`.
    pub names: &'static [&'static str],
    /// The regular expression of a word; that of byte-level BPE when `None`.
    pub expression: Option<&'static str>,
    /// Whether a word that is a piece is taken whole, whatever the merges say.
    pub ignore_merges: bool,
    /// Whether a text gets its beginning marker where the file does not say.
    pub marks_beginning: bool,
}

/// All of them; the first is meant where the file names none.
pub(crate) const WORD_RULES: [WordRule; 4] = [
    WordRule { names: &["gpt-2", "default"], expression: None, ignore_merges: false, marks_beginning: false },
    WordRule { names: &["llama-bpe"], expression: Some(LLAMA3_WORDS), ignore_merges: true, marks_beginning: true },
    WordRule {
        names: &["llama3", "llama-v3"],
        expression: Some(LLAMA3_WORDS),
        ignore_merges: true,
        marks_beginning: false,
    },
    WordRule { names: &["qwen2"], expression: Some(QWEN2_WORDS), ignore_merges: false, marks_beginning: false },
];

/// Llama 3's expression for words.
const LLAMA3_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 2's expression for words.
const QWEN2_WORDS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Hugging Face's name of a size, and GGUF's behind the architecture.
const FIELDS: [(&str, &str); 7] = [
    ("hidden_size", "embedding_length"),
    ("intermediate_size", "feed_forward_length"),
    ("num_hidden_layers", "block_count"),
    ("num_attention_heads", "attention.head_count"),
    ("num_key_value_heads", "attention.head_count_kv"),
    ("head_dim", "attention.key_length"),
    ("max_position_embeddings", "context_length"),
];

/// The most layers that are believed.
const MAX_LAYERS: u64 = 4096;

impl Gguf {
    /// What config.json would say.
    ///
    /// # Errors
    /// Another architecture than Llama's kin, or a number that is missing or out of range.
    pub fn config(&self) -> Result<Json, Error> {
        let architecture = self.text("general.architecture").unwrap_or("").to_owned();
        if !matches!(architecture.as_str(), "llama" | "qwen2" | "qwen3") {
            return Err(Error::config(
                &self.path,
                "general.architecture",
                format!("is {architecture:?}; of GGUF files, llama, qwen2 and qwen3 are read"),
            ));
        }
        let key = |name: &str| format!("{architecture}.{name}");
        let size = |name: &str| self.size(&key(name));
        let size_or = |name: &str, default: u64| {
            if self.metadata.contains_key(&key(name)) { size(name) } else { Ok(default) }
        };
        let n_layers = size("block_count")?;
        if n_layers > MAX_LAYERS {
            return Err(Error::config(
                &self.path,
                key("block_count"),
                format!("is {n_layers}; {MAX_LAYERS} are possible"),
            ));
        }
        let (n_heads, width) = (size("attention.head_count")?, size("embedding_length")?);
        let d_head = size_or("attention.key_length", width / n_heads)?;
        if let Some(turned) = self.number(&key("rope.dimension_count")).filter(|turned| *turned != d_head) {
            let problem =
                format!("is {turned}, but heads have {d_head} columns, all of which attlas turns in this family");
            return Err(Error::config(&self.path, key("rope.dimension_count"), problem));
        }
        let vocabulary = self.tensors.get("token_embd.weight").and_then(|tensor| tensor.shape.first().copied());
        let mut config = json!({
            "model_type": architecture,
            "hidden_size": width,
            "intermediate_size": size("feed_forward_length")?,
            "num_hidden_layers": n_layers,
            "num_attention_heads": n_heads,
            "num_key_value_heads": size_or("attention.head_count_kv", n_heads)?,
            "head_dim": d_head,
            "max_position_embeddings": size("context_length")?,
            "vocab_size": vocabulary.ok_or_else(|| Error::tensor(&self.path, "token_embd.weight", "is missing"))?,
            "rms_norm_eps": self.float_or(&key("attention.layer_norm_rms_epsilon"), 1e-5)?,
            "rope_theta": self.float_or(&key("rope.freq_base"), 10_000.0)?,
            "hidden_act": "silu",
            "tie_word_embeddings": !self.tensors.contains_key("output.weight"),
            "attention_bias": self.tensors.contains_key("blk.0.attn_q.bias") && architecture == "llama",
        });
        if let Some(scaling) = self.rope_scaling(&key)? {
            config["rope_scaling"] = scaling;
        }
        for (field, id) in [("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")] {
            if let Some(id) = self.number(&format!("tokenizer.ggml.{id}_token_id")) {
                config[field] = json!(id);
            }
        }
        Ok(config)
    }

    /// A size of the metadata, from 1 on.
    fn size(&self, key: &str) -> Result<u64, Error> {
        let expected = "must be a whole number from 1 to 4294967295";
        match (self.number(key), self.metadata.get(key)) {
            (Some(number), _) if (1..1 << 32).contains(&number) => Ok(number),
            (_, Some(value)) => Err(Error::config(&self.path, key, format!("is {value}, but {expected}"))),
            (_, None) => Err(Error::config(&self.path, key, format!("is missing; it {expected}"))),
        }
    }

    /// The names that the metadata has for fields of config.json.
    pub fn field_names(&self) -> BTreeMap<String, String> {
        let architecture = self.text("general.architecture").unwrap_or("");
        let name = |(field, key): &(&str, &str)| ((*field).to_owned(), format!("{architecture}.{key}"));
        FIELDS.iter().map(name).collect()
    }

    /// Linear scaling of positions; other ways are refused.
    fn rope_scaling(&self, key: &dyn Fn(&str) -> String) -> Result<Option<Json>, Error> {
        let kind = key("rope.scaling.type");
        match self.text(&kind) {
            _ if self.tensors.contains_key("rope_freqs.weight") => Err(Error::tensor(
                &self.path,
                "rope_freqs.weight",
                "scales each rotary frequency (Llama 3.1), which GGUF's metadata does not describe; \
                 load the safetensors of this model instead",
            )),
            None | Some("none") => Ok(None),
            Some("linear") => {
                Ok(Some(json!({"type": "linear", "factor": self.float_or(&key("rope.scaling.factor"), 1.0)?})))
            }
            Some(other) => Err(Error::config(&self.path, kind, format!("is {other:?}; none and linear are read"))),
        }
    }

    /// The tensors under Hugging Face's names, queries and keys in its order of rows.
    ///
    /// # Errors
    /// A tensor whose name no Llama has, or whose rows are no whole number of heads.
    pub fn hugging_face_tensors(&self) -> Result<BTreeMap<String, Tensor>, Error> {
        let architecture = self.text("general.architecture").unwrap_or("");
        let heads = |name: &str| self.number(&format!("{architecture}.attention.{name}"));
        let n_heads = heads("head_count").unwrap_or(0);
        let n_kv_heads = heads("head_count_kv").unwrap_or(n_heads);
        let mut tensors = BTreeMap::new();
        for (name, tensor) in &self.tensors {
            let Some(new_name) = hugging_face_name(name) else {
                return Err(Error::tensor(
                    &self.path,
                    name,
                    "has a name that no Llama-like model has (token_embd, output, output_norm, blk.N.…)",
                ));
            };
            // llama.cpp turns neighbours, Hugging Face the halves of a head; only "llama" files are reordered for it.
            let n_heads = match new_name.rsplit('.').nth(1) {
                Some("q_proj") if architecture == "llama" => Some(n_heads),
                Some("k_proj") if architecture == "llama" => Some(n_kv_heads),
                _ => None,
            };
            let tensor = match n_heads {
                Some(n_heads) => self.halves(tensor, name, n_heads)?,
                None => tensor.clone(),
            };
            tensors.insert(new_name, tensor);
        }
        Ok(tensors)
    }

    /// Reorders the rows of each head from pairs of neighbours to two halves: row `j · half + i` is row `2 i + j`.
    fn halves(&self, tensor: &Tensor, name: &str, n_heads: u64) -> Result<Tensor, Error> {
        let n_rows = tensor.shape.first().copied().unwrap_or(0);
        let n_heads = usize::try_from(n_heads).unwrap_or(usize::MAX);
        if n_heads == 0 || n_rows == 0 || n_rows % n_heads != 0 || (n_rows / n_heads) % 2 != 0 {
            return Err(Error::tensor(
                &self.path,
                name,
                format!("has {n_rows} rows, which are no {n_heads} heads of even width"),
            ));
        }
        let (d_head, row_bytes) = (n_rows / n_heads, tensor.bytes.len() / n_rows);
        let source = tensor.bytes.clone();
        // row `half · d_head / 2 + pair` of a head is stored as its row `2 · pair + half`
        let place = move |row: usize| {
            let (head, within) = (row / d_head, row % d_head);
            let (half, pair) = (within / (d_head / 2), within % (d_head / 2));
            head * d_head + 2 * pair + half
        };
        let bytes = Bytes::made(source.len(), move || {
            let mut stored = vec![0; source.len()];
            source.read(0, &mut stored)?;
            let row = |row: usize| &stored[place(row) * row_bytes..][..row_bytes];
            Ok((0..n_rows).flat_map(row).copied().collect())
        });
        let rows = StoredRows::of(tensor, None);
        let bytes = match rows {
            Some(rows) => bytes.of_rows(rows.ordered(place)),
            None => bytes,
        };
        Ok(Tensor { bytes, ..tensor.clone() })
    }
}

/// Hugging Face's name of a tensor.
fn hugging_face_name(name: &str) -> Option<String> {
    match name {
        "token_embd.weight" => return Some("model.embed_tokens.weight".to_owned()),
        "output_norm.weight" => return Some("model.norm.weight".to_owned()),
        "output.weight" => return Some("lm_head.weight".to_owned()),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let layer: u32 = layer.parse().ok()?;
    let (part, kind) = rest.rsplit_once('.').filter(|(_, kind)| matches!(*kind, "weight" | "bias"))?;
    let (_, part) = LAYER_PARTS.iter().find(|(gguf, _)| *gguf == part)?;
    Some(format!("model.layers.{layer}.{part}.{kind}"))
}
