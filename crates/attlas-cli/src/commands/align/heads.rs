//! Which heads align: one, several, or all of a layer.

use std::path::PathBuf;

use attlas::{Error, HeadId, Kind, Recording};
use attlas_model::Model;
use clap::Args;

use super::only_model;
use crate::failure::Failure;
use crate::inputs::load_model;

/// The heads whose mean is aligned.
#[derive(Debug, Clone, Default, Args)]
pub struct HeadArguments {
    /// The mean over the heads of a layer, counted from 0 [default: the last].
    #[arg(long, value_name = "N")]
    pub layer: Option<usize>,
    /// A head, such as L2H4; or a number, of --layer. Repeat for the mean of several.
    #[arg(long, value_name = "HEAD", value_parser = parse_head_name)]
    pub head: Vec<HeadName>,
}

/// The model of the other direction.
#[derive(Debug, Clone, Default, Args)]
pub struct Reverse {
    /// For --symmetrise: a model that translates the target into the source.
    #[arg(long, value_name = "DIR")]
    pub reverse: Option<PathBuf>,
    /// The layer of that model [default: its last].
    #[arg(long, value_name = "N", requires = "reverse")]
    pub reverse_layer: Option<usize>,
    /// The head of that model, as --head.
    #[arg(long, value_name = "HEAD", requires = "reverse", value_parser = parse_head_name)]
    pub reverse_head: Vec<HeadName>,
}

/// A head, as it may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadName {
    /// `L2H4`.
    Whole(HeadId),
    /// `4`, of a layer that is said elsewhere.
    OfLayer(usize),
}

fn parse_head_name(text: &str) -> Result<HeadName, String> {
    match text.parse() {
        Ok(head) => Ok(HeadName::OfLayer(head)),
        Err(_) => text.parse().map(HeadName::Whole),
    }
}

impl Reverse {
    /// The model, loaded.
    pub fn model(&self) -> Result<Option<Model>, Failure> {
        self.reverse.as_ref().map(|place| load_model(&only_model(place))).transpose()
    }

    /// Which of its heads.
    pub fn heads(&self) -> HeadArguments {
        HeadArguments { layer: self.reverse_layer, head: self.reverse_head.clone() }
    }
}

impl HeadArguments {
    /// The heads that are meant, each once, rising.
    ///
    /// # Errors
    /// When the recording has no cross-attention, or not such a layer or head.
    pub fn of(&self, recording: &Recording) -> Result<Vec<HeadId>, Failure> {
        let n_heads =
            |layer: usize| -> Result<usize, Failure> { Ok(recording.layer(Kind::Cross, layer)?.shape.n_heads) };
        if self.head.is_empty() {
            let layer = self.layer.map_or_else(|| recording.last_layer(Kind::Cross), Ok)?;
            return Ok((0..n_heads(layer)?).map(|head| HeadId { layer, head }).collect());
        }
        let mut heads = Vec::with_capacity(self.head.len());
        for name in &self.head {
            let id = match (*name, self.layer) {
                (HeadName::Whole(id), None) => id,
                (HeadName::Whole(id), Some(_)) => {
                    return Err(Failure::Usage(format!("--head {id} names its layer; leave out --layer")));
                }
                (HeadName::OfLayer(head), Some(layer)) => HeadId { layer, head },
                (HeadName::OfLayer(head), None) => {
                    return Err(Failure::Usage(format!(
                        "--head {head}: of which layer? Write L2H{head}, or give --layer"
                    )));
                }
            };
            let n = n_heads(id.layer)?;
            if id.head >= n {
                let (layer, head) = (id.layer, id.head);
                return Err(Error::NoHead { kind: Kind::Cross, layer, head, last: n.saturating_sub(1) }.into());
            }
            heads.push(id);
        }
        heads.sort();
        heads.dedup();
        Ok(heads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_written_whole_or_as_a_number_of_its_layer() {
        assert_eq!(parse_head_name("L2H4"), Ok(HeadName::Whole(HeadId { layer: 2, head: 4 })));
        assert_eq!(parse_head_name("4"), Ok(HeadName::OfLayer(4)));
        assert!(parse_head_name("2.4").unwrap_err().contains("heads are written L3H7"));
    }
}
