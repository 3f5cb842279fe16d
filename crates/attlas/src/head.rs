//! Which attention, and which head of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The three kinds of attention of a Transformer (Vaswani et al. 2017, §3.2.3).
///
/// An encoder-only model has only [`Kind::Encoder`], a decoder-only model only [`Kind::Decoder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Source tokens look at source tokens.
    Encoder,
    /// Target tokens look at target tokens, usually only at earlier ones.
    Decoder,
    /// Target tokens look at source tokens.
    Cross,
}

impl Kind {
    /// All kinds, in the order of a forward pass.
    pub const ALL: [Kind; 3] = [Kind::Encoder, Kind::Decoder, Kind::Cross];

    /// The short name used on the command line and in files: `encoder`, `decoder`, `cross`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Encoder => "encoder",
            Kind::Decoder => "decoder",
            Kind::Cross => "cross",
        }
    }

    /// The name written on pictures.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Encoder => "encoder self-attention",
            Kind::Decoder => "decoder self-attention",
            Kind::Cross => "cross-attention",
        }
    }

    /// The name of this kind's array in an export: `encoder`, `decoder_self`, `decoder_cross`.
    pub fn array_name(self) -> &'static str {
        match self {
            Kind::Encoder => "encoder",
            Kind::Decoder => "decoder_self",
            Kind::Cross => "decoder_cross",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| format!("unknown attention kind \"{text}\"; there are encoder, decoder and cross"))
    }
}

/// One head of one layer, both counted from 0; written `L3H7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HeadId {
    /// The layer's index in the model.
    pub layer: usize,
    /// The head's index in the layer.
    pub head: usize,
}

impl fmt::Display for HeadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}H{}", self.layer, self.head)
    }
}

impl FromStr for HeadId {
    type Err = String;

    fn from_str(text: &str) -> Result<HeadId, String> {
        let parse = || {
            let (layer, head) = text.strip_prefix(['L', 'l'])?.split_once(['H', 'h'])?;
            Some(HeadId { layer: layer.parse().ok()?, head: head.parse().ok()? })
        };
        parse()
            .ok_or_else(|| format!("\"{text}\" is no head; heads are written L3H7 (layer 3, head 7, counted from 0)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_written_and_read_as_l3h7() {
        let head = HeadId { layer: 3, head: 7 };
        assert_eq!(head.to_string(), "L3H7");
        assert_eq!("L3H7".parse(), Ok(head));
        assert!("3.7".parse::<HeadId>().unwrap_err().contains("\"3.7\" is no head"));
    }
}
