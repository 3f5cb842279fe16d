//! Models in GGUF: configuration and tensors as Hugging Face names and orders them, and what the names of its tokenizers
//! mean.

mod names;
mod tensors;

use std::collections::BTreeMap;

use names::{KINDS, Kind};
use serde_json::{Value as Json, json};

use crate::Error;
use crate::weights::gguf::{Gguf, Value};

/// The kinds of tokenizer in a GGUF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenizerKind {
    /// A SentencePiece model.
    SentencePiece,
    /// Byte-level BPE.
    ByteLevel,
    /// WordPiece.
    WordPiece,
}

/// The kinds by the names that `tokenizer.ggml.model` gives them: those of the models that had them first.
pub(crate) const TOKENIZERS: [(&str, TokenizerKind); 3] =
    [("llama", TokenizerKind::SentencePiece), ("gpt2", TokenizerKind::ByteLevel), ("bert", TokenizerKind::WordPiece)];

/// How byte-level BPE cuts a text into words first.
pub(crate) struct WordRule {
    /// Its names in `tokenizer.ggml.pre`.
    pub names: &'static [&'static str],
    /// Regular expressions that cut a text one after the other; that of byte-level BPE when there is none.
    pub expressions: &'static [&'static str],
    /// Whether a word that is a piece is taken whole, whatever the merges say.
    pub ignore_merges: bool,
    /// Whether a text gets its beginning marker where the file does not say.
    pub marks_beginning: bool,
}

impl WordRule {
    const PLAIN: WordRule = WordRule { names: &[], expressions: &[], ignore_merges: false, marks_beginning: false };
}

/// All of them; the first is meant where the file names none.
pub(crate) const WORD_RULES: [WordRule; 6] = [
    WordRule { names: &["gpt-2", "default", "phi-2", "olmo"], ..WordRule::PLAIN },
    WordRule { names: &["llama-bpe"], expressions: &[LLAMA3_WORDS], ignore_merges: true, marks_beginning: true },
    WordRule { names: &["llama3", "llama-v3"], expressions: &[LLAMA3_WORDS], ignore_merges: true, ..WordRule::PLAIN },
    WordRule { names: &["qwen2", "deepseek-r1-qwen", "stablelm2"], expressions: &[QWEN2_WORDS], ..WordRule::PLAIN },
    // each digit alone, before all else
    WordRule {
        names: &["smollm", "starcoder", "refact", "command-r"],
        expressions: &[r"\p{N}", GPT2_WORDS],
        ..WordRule::PLAIN
    },
    WordRule { names: &["dbrx", "smaug-bpe"], expressions: &[LLAMA3_WORDS], ..WordRule::PLAIN },
];

/// GPT-2's expression for words.
const GPT2_WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
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
    /// What kind of model it is.
    ///
    /// # Errors
    /// Another one than those that are read.
    fn kind(&self) -> Result<&'static Kind, Error> {
        let architecture = self.text("general.architecture").unwrap_or("");
        KINDS.iter().find(|kind| kind.architecture == architecture).ok_or_else(|| {
            let known = KINDS.map(|kind| kind.architecture).join(", ");
            let message = format!("is {architecture:?}; of GGUF files, {known} are read");
            Error::config(&self.path, "general.architecture", crate::error::brief(message))
        })
    }

    /// What config.json would say.
    ///
    /// # Errors
    /// Another architecture than those that are read, or a number that is missing or out of range.
    pub fn config(&self) -> Result<Json, Error> {
        let kind = self.kind()?;
        let key = |name: &str| format!("{}.{name}", kind.architecture);
        let size = |name: &str| self.size(&key(name));
        let size_or = |name: &str, default: u64| {
            if self.metadata.contains_key(&key(name)) { size(name) } else { Ok(default) }
        };
        for (key, what) in [
            ("split.count".to_owned(), "files of one part are read: join them first"),
            (key("expert_count"), "of GGUF files, none with a mixture of experts is read"),
        ] {
            if let Some(n) = self.number(&key).filter(|n| *n > 1) {
                return Err(Error::config(&self.path, key, format!("is {n}; {what}")));
            }
        }
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
        let vocabulary = self.rows("token_embd.weight");
        let mut config = json!({
            "model_type": kind.model_type,
            "hidden_size": width,
            "intermediate_size": size("feed_forward_length")?,
            "num_hidden_layers": n_layers,
            "num_attention_heads": n_heads,
            "num_key_value_heads": size_or("attention.head_count_kv", n_heads)?,
            "head_dim": d_head,
            "max_position_embeddings": size("context_length")?,
            "vocab_size": vocabulary.ok_or_else(|| Error::tensor(&self.path, "token_embd.weight", "is missing"))?,
            "rms_norm_eps": self.float_or(&key("attention.layer_norm_rms_epsilon"), 1e-5)?,
            "layer_norm_eps": self.float_or(&key("attention.layer_norm_epsilon"), 1e-5)?,
            "rope_theta": self.float_or(&key("rope.freq_base"), 10_000.0)?,
            "tie_word_embeddings": !self.tensors.contains_key("output.weight"),
            "attention_bias": self.tensors.contains_key("blk.0.attn_q.bias") && kind.model_type == "llama",
        });
        self.add_shares(kind, d_head, &mut config)?;
        self.add_own(kind, d_head, &mut config)?;
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

    /// How much of a head turns: all of it, but in Phi.
    fn add_shares(&self, kind: &Kind, d_head: u64, config: &mut Json) -> Result<(), Error> {
        let key = format!("{}.rope.dimension_count", kind.architecture);
        let Some(turned) = self.number(&key).filter(|turned| *turned != d_head) else {
            if kind.model_type == "phi" {
                config["partial_rotary_factor"] = json!(1.0);
            }
            return Ok(());
        };
        if !kind.model_type.starts_with("phi") || turned > d_head {
            let problem =
                format!("is {turned}, but heads have {d_head} columns, all of which attlas turns in this family");
            return Err(Error::config(&self.path, key, problem));
        }
        // a little more than that share, so that it never becomes one column less
        config["partial_rotary_factor"] = json!((turned as f64 + 0.25) / d_head as f64);
        Ok(())
    }

    /// What one kind of model has of its own.
    fn add_own(&self, kind: &Kind, d_head: u64, config: &mut Json) -> Result<(), Error> {
        let key = |name: &str| format!("{}.{name}", kind.architecture);
        let window = self.number(&key("attention.sliding_window")).filter(|window| *window > 0);
        // the scale of scores is in no file; the largest Gemma 2 and 3 divide the width by the heads
        let scalar = |config: &Json, n_layers: u64| match config["num_hidden_layers"] == n_layers {
            true => json!(
                config["hidden_size"].as_f64().unwrap_or(0.0) / config["num_attention_heads"].as_f64().unwrap_or(1.0)
            ),
            false => json!(d_head),
        };
        match kind.architecture {
            "gemma2" => {
                config["query_pre_attn_scalar"] = scalar(config, 46);
                config["attn_logit_softcapping"] = json!(self.float_or(&key("attn_logit_softcapping"), 50.0)?);
                config["final_logit_softcapping"] = json!(self.float_or(&key("final_logit_softcapping"), 30.0)?);
                config["sliding_window"] = json!(window.unwrap_or(4096));
            }
            "gemma3" => {
                config["query_pre_attn_scalar"] = scalar(config, 62);
                config["rope_theta"] = json!(self.float_or(&key("rope.freq_base"), 1_000_000.0)?);
                config["rope_local_base_freq"] = json!(self.float_or(&key("rope.freq_base_swa"), 10_000.0)?);
                if self.metadata.contains_key(&key("final_logit_softcapping")) {
                    config["final_logit_softcapping"] = json!(self.float_or(&key("final_logit_softcapping"), 30.0)?);
                }
                self.add_windows(&key("attention.sliding_window_pattern"), window, config)?;
            }
            "phi3" => config["sliding_window"] = json!(window),
            "bert" => {
                for (field, name) in [("max_position_embeddings", "position_embd"), ("type_vocab_size", "token_types")]
                {
                    config[field] = json!(self.rows(&format!("{name}.weight")).unwrap_or(0));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Which of Gemma 3's layers have a window: all but every sixth, or as the file says.
    fn add_windows(&self, key: &str, window: Option<u64>, config: &mut Json) -> Result<(), Error> {
        let Some(window) = window else {
            config["sliding_window_pattern"] = json!(1);
            return Ok(());
        };
        config["sliding_window"] = json!(window);
        match self.metadata.get(key) {
            None => config["sliding_window_pattern"] = json!(6),
            Some(Value::Array(layers)) => {
                let layer = |layer: &Value| match layer {
                    Value::Bool(true) => Ok("sliding_attention"),
                    Value::Bool(false) => Ok("full_attention"),
                    other => Err(Error::config(&self.path, key, format!("holds {other}, which is no yes or no"))),
                };
                config["layer_types"] = json!(layers.iter().map(layer).collect::<Result<Vec<_>, _>>()?);
            }
            Some(_) => config["sliding_window_pattern"] = json!(self.size(key)?),
        }
        Ok(())
    }

    /// How many rows a tensor has.
    fn rows(&self, name: &str) -> Option<usize> {
        self.tensors.get(name).and_then(|tensor| tensor.shape.first().copied())
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

    /// How positions are scaled: by a factor for each frequency (Llama 3.1, Phi 3), linearly or by YaRN.
    fn rope_scaling(&self, key: &dyn Fn(&str) -> String) -> Result<Option<Json>, Error> {
        let original = key("rope.scaling.original_context_length");
        let [all, long, short] = tensors::OF_POSITIONS;
        if self.tensors.contains_key(all) {
            let factors = self.factors(all)?;
            return Ok(Some(json!({
                "rope_type": "longrope", "factor": 1.0, "attention_factor": 1.0,
                "short_factor": factors, "long_factor": factors,
            })));
        }
        if self.tensors.contains_key(long) || self.tensors.contains_key(short) {
            let mut scaling = json!({
                "rope_type": "longrope",
                "long_factor": self.factors(long)?,
                "short_factor": self.factors(short)?,
                "original_max_position_embeddings": self.size(&original)?,
            });
            let attention = key("rope.scaling.attn_factor");
            if self.metadata.contains_key(&attention) {
                scaling["attention_factor"] = json!(self.float_or(&attention, 1.0)?);
            }
            return Ok(Some(scaling));
        }
        let kind = key("rope.scaling.type");
        let factor = || self.float_or(&key("rope.scaling.factor"), 1.0);
        match self.text(&kind) {
            None | Some("none") => Ok(None),
            Some("linear") => Ok(Some(json!({"type": "linear", "factor": factor()?}))),
            Some("yarn") => Ok(Some(json!({
                "type": "yarn", "factor": factor()?, "original_max_position_embeddings": self.size(&original)?,
            }))),
            Some(other) => {
                Err(Error::config(&self.path, kind, format!("is {other:?}; none, linear and yarn are read")))
            }
        }
    }

    /// What each rotary frequency is divided by.
    fn factors(&self, name: &str) -> Result<Vec<f32>, Error> {
        let tensor = self.tensors.get(name).ok_or_else(|| Error::tensor(&self.path, name, "is missing"))?;
        let factors = tensor.read()?;
        match factors.iter().find(|factor| !factor.is_finite() || **factor <= 0.0) {
            Some(factor) => Err(Error::tensor(&self.path, name, format!("holds {factor}; factors are above 0"))),
            None => Ok(factors),
        }
    }
}
