//! Several heads by one word: `4.11,5.*`, `L4H11`, `cross:2.*`.

use std::str::FromStr;

use attlas::printable::counted;
use attlas::{HeadId, Kind};

use super::knock_out::KindHead;
use crate::run::check::layers_in_words;
use crate::{Error, Model};

/// Which heads a word means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadPattern {
    /// As it was typed.
    text: String,
    kind: Option<Kind>,
    layer: Option<usize>,
    head: Option<usize>,
}

impl FromStr for HeadPattern {
    type Err = String;

    /// Reads `4.11`, `L4H11`, `5.*`, `*.0`, `*` and each with the kind before it: `cross:2.*`.
    fn from_str(text: &str) -> Result<HeadPattern, String> {
        let (kind, rest) = match text.trim().split_once(':') {
            Some((kind, rest)) => (Some(kind.parse::<Kind>()?), rest),
            None => (None, text.trim()),
        };
        let number = |part: &str| match part {
            "*" => Some(None),
            _ => part.parse::<usize>().ok().map(Some),
        };
        let places = || {
            if rest == "*" {
                return Some((None, None));
            }
            let rest = rest.strip_prefix(['L', 'l']).unwrap_or(rest);
            let (layer, head) = rest.split_once(['.', 'H', 'h'])?;
            Some((number(layer)?, number(head)?))
        };
        let (layer, head) = places().ok_or_else(|| {
            format!("\"{text}\" is no head; heads are written 4.11 or L4H11, all of layer 5 as 5.*, of one kind as cross:2.*")
        })?;
        Ok(HeadPattern { text: text.trim().to_owned(), kind, layer, head })
    }
}

impl HeadPattern {
    /// The one head that is meant, and its kind where that is named.
    ///
    /// # Errors
    /// When several are.
    pub fn one(&self) -> Result<(Option<Kind>, HeadId), String> {
        match (self.layer, self.head) {
            (Some(layer), Some(head)) => Ok((self.kind, HeadId { layer, head })),
            _ => Err(format!("\"{}\" means several heads, and one is needed, such as 4.11 or L4H11", self.text)),
        }
    }

    fn has(&self, head: &KindHead) -> bool {
        self.kind.is_none_or(|kind| kind == head.kind)
            && self.layer.is_none_or(|layer| layer == head.head.layer)
            && self.head.is_none_or(|place| place == head.head.head)
    }
}

impl Model {
    /// The heads that are meant, of one kind where it is named, in the model's order; all where no pattern is given.
    ///
    /// # Errors
    /// [`Error::Plan`] when the model has no such kind, [`Error::NoHeads`] when it has none of the heads of a pattern; the message says
    /// which there are.
    pub fn heads_named(&self, patterns: &[HeadPattern], kind: Option<Kind>) -> Result<Vec<KindHead>, Error> {
        let all = self.heads();
        if let Some(kind) = kind.filter(|kind| all.iter().all(|head| head.kind != *kind)) {
            return Err(Error::Plan(format!("{} has no {}", self.name(), kind.title())));
        }
        let of_kind = |head: &&KindHead| kind.is_none_or(|kind| kind == head.kind);
        for pattern in patterns {
            if !all.iter().filter(of_kind).any(|head| pattern.has(head)) {
                let last = |kind: Kind| {
                    let last = all.iter().filter(|head| head.kind == kind).map(|head| head.head).max()?;
                    Some(format!("{kind}: up to {last}"))
                };
                let there_are: Vec<String> = Kind::ALL.into_iter().filter_map(last).collect();
                return Err(Error::NoHeads(format!(
                    "heads {}: {} has no such head ({}, counted from 0)",
                    pattern.text,
                    self.name(),
                    there_are.join("; ")
                )));
            }
        }
        let is_meant = |head: &&KindHead| patterns.is_empty() || patterns.iter().any(|pattern| pattern.has(head));
        Ok(all.iter().filter(of_kind).filter(is_meant).copied().collect())
    }

    /// The kind of attention of a head: the one that was named, or the only one that has such a head.
    ///
    /// # Errors
    /// [`Error::Plan`] when none has it, or several; the message says which.
    pub fn kind_of_head(&self, kind: Option<Kind>, head: HeadId) -> Result<Kind, Error> {
        let layers = |kind: Kind| self.transformer().architecture.attention(kind);
        let has = |kind: &Kind| {
            layers(*kind).iter().any(|(layer, attention)| head.layer == *layer && head.head < attention.n_heads)
        };
        let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(has).collect();
        match (kind, kinds.as_slice()) {
            (Some(kind), _) | (None, &[kind]) => Ok(kind),
            (None, []) => {
                let there_is = |kind: Kind| {
                    let layers = layers(kind);
                    let (last, attention) = layers.last()?;
                    let which = match layers.len() == last + 1 {
                        true => counted(layers.len(), "layer"),
                        false => layers_in_words(&layers.iter().map(|(layer, _)| *layer).collect::<Vec<usize>>()),
                    };
                    Some(format!("{kind}: {which} of {}", counted(attention.n_heads, "head")))
                };
                let there_are: Vec<String> = Kind::ALL.into_iter().filter_map(there_is).collect();
                Err(Error::Plan(format!("{} has no head {head} ({})", self.name(), there_are.join("; "))))
            }
            (None, several) => {
                let names: Vec<String> = several.iter().map(|kind| format!("{kind}:{head}")).collect();
                let names = names.join(" or ");
                Err(Error::Plan(format!("{} has several heads {head}; say which: {names}", self.name())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_named_one_by_one_by_layer_and_with_their_kind() {
        let read = |text: &str| text.parse::<HeadPattern>().map(|found| (found.kind, found.layer, found.head));
        assert_eq!(read("4.11"), Ok((None, Some(4), Some(11))));
        assert_eq!(read("L4H11"), Ok((None, Some(4), Some(11))));
        assert_eq!(read("5.*"), Ok((None, Some(5), None)));
        assert_eq!(read("cross:*.0"), Ok((Some(Kind::Cross), None, Some(0))));
        assert_eq!(read("*"), Ok((None, None, None)));
        for wrong in ["4", "4.x", "", "L4", "side:1.1", "-1.2"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
