//! Several heads by one word: `4.11,5.*`, `L4H11`, `cross:2.*`.

use std::str::FromStr;

use attlas::{HeadId, Kind};
use attlas_model::Model;
use attlas_model::explain::knock_out::KindHead;
use clap::Args;

use super::parse_kind;
use crate::failure::Failure;
use crate::words::counted;

/// Which heads a word of `--heads` means.
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

/// Which heads of a model are meant.
#[derive(Debug, Clone, Default, Args)]
pub struct ChosenHeads {
    /// Which heads: 4.11 or L4H11, 5.* for a layer, cross:2.* with their kind; separated by commas [default: all].
    #[arg(long, value_name = "HEADS", value_delimiter = ',')]
    pub heads: Vec<HeadPattern>,
    /// One kind of attention alone.
    #[arg(long, value_parser = parse_kind())]
    pub kind: Option<Kind>,
}

impl ChosenHeads {
    /// The heads, in the model's order; all where none is named.
    ///
    /// # Errors
    /// [`Failure::Usage`] when the model has none of a kind, or one that is named is not there.
    pub fn of(&self, model: &Model) -> Result<Vec<KindHead>, Failure> {
        heads_of_model(model, &self.heads, self.kind, "--heads")
    }

    /// The one head that another option names.
    ///
    /// # Errors
    /// As [`ChosenHeads::of`], and when several are meant.
    pub fn one(&self, model: &Model, name: &str, option: &str) -> Result<KindHead, Failure> {
        let pattern = name.parse().map_err(|error| Failure::Usage(format!("{option}: {error}")))?;
        match heads_of_model(model, &[pattern], self.kind, option)?[..] {
            [head] => Ok(head),
            ref found => Err(Failure::Usage(format!(
                "{option} {name} names {}; name one, with its kind where several have it",
                counted(found.len(), "head")
            ))),
        }
    }
}

/// The heads of a model that are meant, in the model's order; all where no pattern is given.
fn heads_of_model(
    model: &Model,
    patterns: &[HeadPattern],
    kind: Option<Kind>,
    option: &str,
) -> Result<Vec<KindHead>, Failure> {
    let all = model.heads();
    if let Some(kind) = kind.filter(|kind| all.iter().all(|head| head.kind != *kind)) {
        return Err(Failure::Usage(format!("{} has no {}", model.name(), kind.title())));
    }
    let of_kind = |head: &&KindHead| kind.is_none_or(|kind| kind == head.kind);
    for pattern in patterns {
        if !all.iter().filter(of_kind).any(|head| pattern.has(head)) {
            let there_are: Vec<String> = Kind::ALL
                .into_iter()
                .filter_map(|kind| {
                    let last = all.iter().filter(|head| head.kind == kind).map(|head| head.head).max()?;
                    Some(format!("{kind}: up to {last}"))
                })
                .collect();
            let there_are = there_are.join("; ");
            return Err(Failure::Usage(format!(
                "{option} {}: {} has no such head ({there_are}, counted from 0)",
                pattern.text,
                model.name()
            )));
        }
    }
    let is_meant = |head: &&KindHead| patterns.is_empty() || patterns.iter().any(|pattern| pattern.has(head));
    Ok(all.iter().filter(of_kind).filter(is_meant).copied().collect())
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
