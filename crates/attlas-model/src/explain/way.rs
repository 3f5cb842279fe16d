//! What can be done to each head to see what it is worth.

use std::str::FromStr;

use attlas::Quantity;

use super::knock_out::Removal;
use crate::Error;

/// What is done to each head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is taken away.
    KnockOut(Removal),
    /// Its output is exchanged for that of a run on another text.
    Patch,
    /// Its weights become others, that are given.
    Given,
    /// Nothing: what it writes for the target is read.
    Direct,
    /// Nothing: how much the number depends on a factor on its output is read from the gradient.
    Gradient,
}

impl Way {
    /// Every way that needs no numbers of its own, permutations with seed 0.
    pub const ALL: [Way; 8] = [
        Way::KnockOut(Removal::Zero),
        Way::KnockOut(Removal::Mean),
        Way::KnockOut(Removal::Uniform),
        Way::KnockOut(Removal::Permute { seed: 0 }),
        Way::KnockOut(Removal::PatternPreserving),
        Way::Patch,
        Way::Direct,
        Way::Gradient,
    ];

    /// The name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Way::KnockOut(method) => method.name(),
            Way::Patch => "patch",
            Way::Given => "given",
            Way::Direct => "direct",
            Way::Gradient => "gradient",
        }
    }

    /// What the numbers are, as a colour bar says it.
    pub fn words(self) -> &'static str {
        match self {
            Way::Direct => "direct share",
            Way::Gradient => "size of the slope",
            _ => Quantity::Effect.words(),
        }
    }

    /// What holds of all its numbers.
    pub fn limits(self) -> &'static str {
        match self {
            Way::Direct => {
                "A share is about this text and token, and of what the head itself writes: what later layers make of it is theirs."
            }
            Way::Gradient => {
                "A slope is about this text and metric, where the head is whole: nothing is taken away, and heads that stand in for \
                 each other may have large ones."
            }
            _ => "An effect is about this text and metric; heads that stand in for each other have small ones alone.",
        }
    }
}

impl FromStr for Way {
    type Err = Error;

    /// Reads a way by its name, permutations with seed 0.
    fn from_str(name: &str) -> Result<Way, Error> {
        Way::ALL.into_iter().find(|way| way.name() == name).ok_or_else(|| {
            let [names @ .., last] = Way::ALL.map(Way::name);
            Error::Plan(format!("there is no method \"{name}\"; there are {} and {last}", names.join(", ")))
        })
    }
}
