//! What the weights alone say of heads, gathered: which heads read what others write, whether they copy, and the tokens that one
//! reads and writes.

use attlas::{HeadId, Kind};
use serde_json::{Value, json};

use super::circuits::{Circuit, Copying, Pair, circuit, copying};
use super::composition::{Composition, Compositions, compositions};
use super::knock_out::KindHead;
use super::matrices::Norms;
use crate::{Error, Model, Side};

/// What is asked of the weights.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The stack whose self-attention is meant.
    pub kind: Kind,
    /// One head; all when `None`.
    pub head: Option<HeadId>,
    /// Pairs of this token alone, named as [`Model::target_named`] takes it.
    pub token: Option<&'a str>,
    /// How many pairs of tokens of one head.
    pub n: usize,
}

/// What the weights say.
#[derive(Debug, Clone, PartialEq)]
pub struct FromWeights {
    /// The head that was asked about.
    pub head: Option<HeadId>,
    /// Which heads read what others write; of one head its own pairs.
    pub compositions: Compositions,
    /// Whether heads copy, or why that is not told.
    pub copying: Result<Vec<Copying>, String>,
    /// What the head reads and writes, or why that is not told; `None` for all heads.
    pub circuit: Option<Result<Circuit, String>>,
}

impl Model {
    /// The kind of self-attention that circuits are told of where nothing is said: the decoder's, else the encoder's.
    pub fn usual_kind(&self) -> Kind {
        if self.has(Side::Target) { Kind::Decoder } else { Kind::Encoder }
    }

    /// What the weights say of all heads of a stack, or of one. `step` is told after each band of the vocabulary how many there are.
    ///
    /// # Errors
    /// For cross-attention; when there is no such head or token; as [`compositions`] and [`circuit`].
    pub fn from_weights(&self, question: Question<'_>, step: &mut dyn FnMut(usize)) -> Result<FromWeights, Error> {
        let Question { kind, head, token, n } = question;
        if kind == Kind::Cross {
            return Err(Error::Plan("circuits are those of self-attention: the encoder's or the decoder's".to_owned()));
        }
        head.map_or(Ok(()), |head| self.check_head(KindHead { kind, head }))?;
        let mut compositions = compositions(self, kind, Norms::Folded)?;
        // tokens are read and written by one stack alone
        let usual = self.usual_kind();
        let mut copying = match kind == usual {
            true => copying(self, Norms::Folded).map_err(|error| error.to_string()),
            false => Err(format!("copying is told of the {usual}, which writes the tokens")),
        };
        let Some(head) = head else {
            return Ok(FromWeights { head: None, compositions, copying, circuit: None });
        };
        compositions.pairs.retain(|pair| pair.from == head || pair.to == head);
        let found = match &mut copying {
            Err(why) => Err(why.clone()),
            Ok(scores) => {
                scores.retain(|one| one.head == head);
                let token = token.map(|token| self.target_named(token)).transpose()?;
                Ok(circuit(self, head, token, n, step)?)
            }
        };
        Ok(FromWeights { head: Some(head), compositions, copying, circuit: Some(found) })
    }

    /// A token of the vocabulary as it is shown.
    pub fn vocabulary_text(&self, id: u32) -> String {
        let side = if self.has(Side::Target) { Side::Target } else { Side::Source };
        let tokens = self.tokens_from_ids(side, &[id]).ok();
        let text = tokens.and_then(|tokens| tokens.tokens.first().map(|token| token.text.clone()));
        text.filter(|text| !text.is_empty()).unwrap_or_else(|| format!("id {id}"))
    }
}

impl FromWeights {
    /// The same as data: `{kind, chance, copying, compositions}`, and of one head also `{head, reads, writes}`.
    pub fn json(&self, model: &Model) -> Value {
        let of_copying = |one: &Copying| json!({"head": one.head.to_string(), "score": one.score});
        let copying = self.copying.as_ref().ok().map(|scores| scores.iter().map(of_copying).collect::<Vec<_>>());
        let of_pair = |pair: &Composition| {
            let Composition { from, to, query, key, value } = pair;
            json!({"from": from.to_string(), "to": to.to_string(), "query": query, "key": key, "value": value})
        };
        let mut object = json!({
            "kind": self.compositions.kind, "chance": self.compositions.chance, "copying": copying,
            "compositions": self.compositions.pairs.iter().map(of_pair).collect::<Vec<_>>(),
        });
        if let Some(head) = self.head {
            object["head"] = json!(head.to_string());
        }
        if let Some(Ok(circuit)) = &self.circuit {
            object["reads"] = pairs_json(model, &circuit.reads);
            object["writes"] = pairs_json(model, &circuit.writes);
        }
        object
    }
}

fn pairs_json(model: &Model, pairs: &[Pair]) -> Value {
    let name = |id: u32| model.vocabulary_text(id);
    let pair = |pair: &Pair| {
        json!({
            "from": pair.from, "from_token": name(pair.from), "to": pair.to, "to_token": name(pair.to), "value": pair.value,
        })
    };
    pairs.iter().map(pair).collect()
}
