//! The shape of the encoder-decoder and where each of its parameters lies.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Sizes of the encoder-decoder of Vaswani et al. (2017), post-norm, ReLU, sinusoidal positions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Architecture {
    /// Width of the embeddings and of every layer's output.
    pub d_model: usize,
    /// Attention heads per layer; divides `d_model`.
    pub num_heads: usize,
    /// Width inside the feed-forward sublayers.
    pub d_ff: usize,
    /// Encoder layers, and as many decoder layers.
    pub num_layers: usize,
    /// Tokens of the source vocabulary.
    pub src_vocab: usize,
    /// Tokens of the target vocabulary.
    pub tgt_vocab: usize,
    /// Longest sentence, in tokens, special ones included.
    pub max_len: usize,
    /// Whether source embedding, target embedding and output projection are one matrix (Press & Wolf 2017).
    pub tied: bool,
}

impl Default for Architecture {
    /// The embedded model's.
    fn default() -> Architecture {
        Architecture {
            d_model: 256,
            num_heads: 8,
            d_ff: 512,
            num_layers: 3,
            src_vocab: 8000,
            tgt_vocab: 8000,
            max_len: 512,
            tied: true,
        }
    }
}

/// The most parameters that are trained; 100 million take 1.6 GB with the optimizer's state.
pub const MAX_PARAMETERS: usize = 1 << 28;

impl Architecture {
    /// Checks that the sizes make a model.
    ///
    /// # Errors
    /// [`Error::Setting`] names the size and what it should be.
    pub fn check(&self) -> Result<(), Error> {
        let sizes = [
            ("d_model", self.d_model),
            ("num_heads", self.num_heads),
            ("d_ff", self.d_ff),
            ("num_layers", self.num_layers),
            ("src_vocab", self.src_vocab),
            ("tgt_vocab", self.tgt_vocab),
            ("max_len", self.max_len),
        ];
        for (name, size) in sizes {
            if size == 0 || size > 1 << 24 {
                return Err(Error::Setting(format!("{name} is {size}; it must be between 1 and {}", 1 << 24)));
            }
        }
        if !self.d_model.is_multiple_of(self.num_heads) {
            return Err(Error::Setting(format!(
                "num_heads is {} but d_model {} is not divisible by it",
                self.num_heads, self.d_model
            )));
        }
        if self.tied && self.src_vocab != self.tgt_vocab {
            return Err(Error::Setting(format!(
                "embeddings are tied, but there are {} source and {} target tokens; tied embeddings need one vocabulary",
                self.src_vocab, self.tgt_vocab
            )));
        }
        match self.n_parameters() {
            Some(count) if count <= MAX_PARAMETERS => Ok(()),
            _ => Err(Error::Limit(format!(
                "the model would have over {MAX_PARAMETERS} parameters; make d_model, d_ff, num_layers or the vocabulary smaller"
            ))),
        }
    }

    /// How many parameters there are; `None` beyond what a `usize` holds.
    fn n_parameters(&self) -> Option<usize> {
        let square = self.d_model.checked_mul(self.d_model)?;
        let feed_forward = self.d_model.checked_mul(self.d_ff)?.checked_mul(2)?;
        let layer = square.checked_mul(12)?.checked_add(feed_forward.checked_mul(2)?)?;
        let embedding = self.src_vocab.checked_add(self.tgt_vocab)?.checked_mul(self.d_model)?;
        layer.checked_mul(self.num_layers)?.checked_add(embedding.checked_mul(2)?)
    }

    /// The fields of `config.json` that say what is computed.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "model_type": attlas_model::family::VASWANI.name,
            "d_model": self.d_model,
            "num_heads": self.num_heads,
            "d_ff": self.d_ff,
            "num_layers": self.num_layers,
            "src_vocab": self.src_vocab,
            "tgt_vocab": self.tgt_vocab,
            "max_len": self.max_len,
            "post_norm": true,
            "tied": self.tied,
        })
    }

    /// The parameters, group by group: one group is what one operation of the network reads.
    pub fn groups(&self) -> Vec<Group> {
        let mut groups = vec![Group::new("", &[("src_embed.weight", &[self.src_vocab, self.d_model])])];
        if !self.tied {
            groups.push(Group::new("", &[("tgt_embed.weight", &[self.tgt_vocab, self.d_model])]));
            groups.push(Group::new("", &[("output_proj.weight", &[self.tgt_vocab, self.d_model])]));
        }
        groups.push(Group::new("", &[("output_proj.bias", &[self.tgt_vocab])]));
        for layer in 0..self.num_layers {
            groups.push(self.attention(&format!("encoder_layers.{layer}.self_attn.")));
            groups.push(self.feed_forward(&format!("encoder_layers.{layer}.ffn.")));
        }
        for layer in 0..self.num_layers {
            groups.push(self.attention(&format!("decoder_layers.{layer}.self_attn.")));
            groups.push(self.attention(&format!("decoder_layers.{layer}.cross_attn.")));
            groups.push(self.feed_forward(&format!("decoder_layers.{layer}.ffn.")));
        }
        groups
    }

    /// One attention sublayer's parameters, in the order of [`crate::network::attention_sublayer`].
    fn attention(&self, prefix: &str) -> Group {
        let d = self.d_model;
        Group::new(
            prefix,
            &[
                ("mha.in_proj_weight", &[3 * d, d]),
                ("mha.in_proj_bias", &[3 * d]),
                ("mha.out_proj.weight", &[d, d]),
                ("mha.out_proj.bias", &[d]),
                ("norm.weight", &[d]),
                ("norm.bias", &[d]),
            ],
        )
    }

    /// One feed-forward sublayer's parameters, in the order of [`crate::network::feed_forward`].
    fn feed_forward(&self, prefix: &str) -> Group {
        let (d, f) = (self.d_model, self.d_ff);
        Group::new(
            prefix,
            &[
                ("ffn.0.weight", &[f, d]),
                ("ffn.0.bias", &[f]),
                ("ffn.3.weight", &[d, f]),
                ("ffn.3.bias", &[d]),
                ("norm.weight", &[d]),
                ("norm.bias", &[d]),
            ],
        )
    }
}

/// Parameters that lie in one flat variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its parameters, one after the other.
    pub parameters: Vec<Parameter>,
}

/// One named tensor inside a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The name that the PyTorch class gives it.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Where it lies in its group.
    pub range: Range<usize>,
}

impl Group {
    fn new(prefix: &str, parameters: &[(&str, &[usize])]) -> Group {
        let mut first = 0;
        let parameters = parameters
            .iter()
            .map(|(name, shape)| {
                let range = first..first + shape.iter().product::<usize>();
                first = range.end;
                Parameter { name: format!("{prefix}{name}"), shape: shape.to_vec(), range }
            })
            .collect();
        Group { parameters }
    }

    /// How many numbers the group holds.
    pub fn len(&self) -> usize {
        self.parameters.last().map_or(0, |parameter| parameter.range.end)
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_embedded_model_of_six_million_parameters() {
        let count: usize = Architecture::default().groups().iter().map(Group::len).sum();
        let attention = 4 * 256 * 256 + 6 * 256;
        let feed_forward = 2 * 256 * 512 + 512 + 3 * 256;
        assert_eq!(count, 8000 * 256 + 8000 + 9 * attention + 6 * feed_forward);
        assert_eq!(count, 6_009_664);
    }

    #[test]
    fn heads_that_do_not_divide_the_width_are_named() {
        let architecture = Architecture { d_model: 770, num_heads: 12, ..Architecture::default() };
        let message = architecture.check().unwrap_err().to_string();
        assert_eq!(message, "num_heads is 12 but d_model 770 is not divisible by it");
    }

    #[test]
    fn sizes_beyond_memory_are_refused_before_anything_is_allocated() {
        let architecture = Architecture { d_model: 1 << 20, d_ff: 1 << 20, num_heads: 1, ..Architecture::default() };
        assert!(architecture.check().unwrap_err().to_string().contains("parameters"));
    }
}
