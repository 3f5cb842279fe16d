//! What was changed in a run on purpose: a head's output set to 0, an edge hidden, weights exchanged, hidden states given.

use serde::{Deserialize, Serialize};

use crate::{HeadId, Kind};

/// Which of several things that are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// Every one there is.
    #[default]
    All,
    /// From the first number up to, not including, the second: `Range(2, 5)` is 2, 3 and 4.
    Range(usize, usize),
    /// The numbers listed. Arrays that are given for them have the same order.
    These(Vec<usize>),
}

impl Which {
    /// Whether it is [`Which::All`].
    pub fn is_all(&self) -> bool {
        *self == Which::All
    }

    /// Whether `index` is among them.
    pub fn contains(&self, index: usize) -> bool {
        self.place(index).is_some()
    }

    /// How many of the chosen come before `index`; `None` when it is not chosen.
    pub fn place(&self, index: usize) -> Option<usize> {
        match self {
            Which::All => Some(index),
            Which::Range(start, end) => (*start..*end).contains(&index).then(|| index - start),
            Which::These(all) => all.iter().position(|chosen| *chosen == index),
        }
    }

    /// How many are chosen of `n`.
    pub fn count(&self, n: usize) -> usize {
        match self {
            Which::All => n,
            Which::Range(start, end) => end.saturating_sub(*start),
            Which::These(all) => all.len(),
        }
    }

    /// The largest that is chosen by name; `None` for all, or for none.
    pub fn last(&self) -> Option<usize> {
        match self {
            Which::All => None,
            Which::Range(start, end) => end.checked_sub(1).filter(|last| last >= start),
            Which::These(all) => all.iter().copied().max(),
        }
    }

    /// Whether exactly one is chosen by name.
    fn is_one(&self) -> bool {
        !self.is_all() && self.count(0) == 1
    }

    /// ` at row 3`, ` at rows 3 to 5`, ` at rows 1, 4 and 6`; nothing for all.
    fn in_words(&self, before: &str, singular: &str) -> String {
        match self {
            Which::All => String::new(),
            Which::Range(start, _) if self.is_one() => format!(" {before} {singular} {start}"),
            Which::Range(start, end) => format!(" {before} {singular}s {start} to {}", end.saturating_sub(1)),
            Which::These(all) => match all.as_slice() {
                [one] => format!(" {before} {singular} {one}"),
                several => format!(" {before} {singular}s {}", listed(several.iter().map(usize::to_string))),
            },
        }
    }
}

/// Heads of one layer, and the rows and texts for which they are changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Heads {
    /// Encoder self-attention, decoder self-attention or cross-attention.
    pub kind: Kind,
    /// The layer's index in its stack.
    pub layer: usize,
    /// Which heads of the layer, counted from 0.
    #[serde(default, skip_serializing_if = "Which::is_all")]
    pub heads: Which,
    /// The rows: positions of the tokens that look.
    #[serde(default, skip_serializing_if = "Which::is_all")]
    pub queries: Which,
    /// Which texts of the batch, counted from 0.
    #[serde(default, skip_serializing_if = "Which::is_all")]
    pub items: Which,
}

impl Heads {
    /// One head, for all rows of all texts.
    pub fn one(kind: Kind, head: HeadId) -> Heads {
        let heads = Which::These(vec![head.head]);
        Heads { kind, layer: head.layer, heads, queries: Which::All, items: Which::All }
    }

    /// All heads of a layer, for all rows of all texts.
    pub fn all(kind: Kind, layer: usize) -> Heads {
        Heads { kind, layer, heads: Which::All, queries: Which::All, items: Which::All }
    }
}

/// One change. `N` stands for numbers that were given: as an array where they are used, as shape and checksum where it
/// is written down what was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit<N> {
    /// The output `z` of heads, `Σ_k w(q, k) · V[k]` with the value's bias in it, before the output projection.
    HeadOutput {
        /// Whose output is changed, at which rows of which texts.
        heads: Heads,
        /// What it becomes.
        to: HeadOutput<N>,
    },
    /// Scores of queries for keys become −∞: the rest of the row shares the weight.
    Edges {
        /// Which heads no longer look at the keys, at which rows of which texts.
        heads: Heads,
        /// The keys that are hidden from them.
        keys: Which,
    },
    /// The weights, after the softmax.
    Weights {
        /// Whose weights are changed, at which rows of which texts.
        heads: Heads,
        /// What they become.
        to: NewWeights<N>,
    },
    /// The residual stream: the hidden states that enter a layer.
    Stream {
        /// Whose stream: the encoder's or the decoder's.
        stack: Kind,
        /// The layer that it enters; one more than the last layer for what leaves the stack, its final norm applied.
        layer: usize,
        /// Which tokens, by their position in the text, counted from 0.
        #[serde(default, skip_serializing_if = "Which::is_all")]
        positions: Which,
        /// Which texts of the batch, counted from 0.
        #[serde(default, skip_serializing_if = "Which::is_all")]
        items: Which,
        /// What it becomes. Shape `[items, positions, d_model]`, of those that are chosen.
        to: N,
    },
}

/// What the output of a head becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadOutput<N> {
    /// 0; the output projection's bias stays.
    Zero,
    /// The same at every row, such as a mean over many runs. Shape `[heads, d_value]`, of those that are chosen.
    Mean(N),
    /// These numbers. Shape `[items, heads, queries, d_value]`, of those that are chosen.
    Given(N),
}

/// What weights become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewWeights<N> {
    /// The same for every visible key; a sink gets nothing.
    Uniform,
    /// Each row's weights, dealt out anew among its visible keys.
    Permuted {
        /// The same seed deals the same way.
        seed: u64,
    },
    /// These numbers, from 0 on, no row above 1; keys that a row may not see get none. Shape `[items, heads, queries, keys]`, of those that are chosen.
    Given(N),
}

/// What is written down of numbers that were given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// SHA-256 of the numbers as little-endian f32, in hexadecimal.
    pub sha256: String,
}

impl<N> Edit<N> {
    /// The same edit with its numbers made something else.
    pub fn map<M>(&self, f: impl Fn(&N) -> M) -> Edit<M> {
        match self {
            Edit::HeadOutput { heads, to } => {
                let to = match to {
                    HeadOutput::Zero => HeadOutput::Zero,
                    HeadOutput::Mean(numbers) => HeadOutput::Mean(f(numbers)),
                    HeadOutput::Given(numbers) => HeadOutput::Given(f(numbers)),
                };
                Edit::HeadOutput { heads: heads.clone(), to }
            }
            Edit::Edges { heads, keys } => Edit::Edges { heads: heads.clone(), keys: keys.clone() },
            Edit::Weights { heads, to } => {
                let to = match to {
                    NewWeights::Uniform => NewWeights::Uniform,
                    NewWeights::Permuted { seed } => NewWeights::Permuted { seed: *seed },
                    NewWeights::Given(numbers) => NewWeights::Given(f(numbers)),
                };
                Edit::Weights { heads: heads.clone(), to }
            }
            Edit::Stream { stack, layer, positions, items, to } => Edit::Stream {
                stack: *stack,
                layer: *layer,
                positions: positions.clone(),
                items: items.clone(),
                to: f(to),
            },
        }
    }

    /// The heads that it changes; a change of the stream is about no head.
    pub fn heads(&self) -> Option<&Heads> {
        match self {
            Edit::HeadOutput { heads, .. } | Edit::Edges { heads, .. } | Edit::Weights { heads, .. } => Some(heads),
            Edit::Stream { .. } => None,
        }
    }

    /// The heads whose weights it changes, so that queries and keys no longer say them.
    pub fn reweighed(&self) -> Option<&Heads> {
        match self {
            Edit::Edges { heads, .. } | Edit::Weights { heads, .. } => Some(heads),
            Edit::HeadOutput { .. } | Edit::Stream { .. } => None,
        }
    }
}

impl Edit<Digest> {
    /// What was done, in a sentence.
    pub fn sentence(&self) -> String {
        match self {
            Edit::HeadOutput { heads, to } => {
                let (names, place) = (names(heads), place(heads));
                let one = heads.heads.is_one();
                let (its, output, was) = if one { ("its", "output", "was") } else { ("their", "outputs", "were") };
                match to {
                    HeadOutput::Zero => format!("{names} {was} knocked out{place}: {its} {output} {was} set to 0"),
                    HeadOutput::Mean(given) => {
                        format!("the {output} of {names}{place} {was} replaced by a mean{given}")
                    }
                    HeadOutput::Given(given) => {
                        format!("the {output} of {names}{place} {was} replaced by given numbers{given}")
                    }
                }
            }
            Edit::Edges { heads, keys } => {
                let what = if keys.is_all() {
                    "any key".to_owned()
                } else {
                    format!("the keys{}", keys.in_words("of", "column"))
                };
                format!("{} could not look at {what}{}; {RECORDED}", names(heads), place(heads))
            }
            Edit::Weights { heads, to } => {
                let done = match to {
                    NewWeights::Uniform => "made the same for all visible keys".to_owned(),
                    NewWeights::Permuted { seed } => format!("permuted among the visible keys (seed {seed})"),
                    NewWeights::Given(given) => format!("replaced by given ones{given}"),
                };
                format!("the weights of {}{} were {done}; {RECORDED}", names(heads), place(heads))
            }
            Edit::Stream { stack, layer, positions, items, to } => format!(
                "the hidden states of the {stack} before layer {layer}{}{} were replaced by given numbers{to}",
                positions.in_words("at", "position"),
                items.in_words("of", "text")
            ),
        }
    }
}

/// What a reader must know of a layer whose weights were changed.
const RECORDED: &str = "the layer is recorded with the weights that were used";

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start: String = self.sha256.chars().take(8).collect();
        write!(f, " (shape {:?}, SHA-256 {start}…)", self.shape)
    }
}

/// `L2H4 of cross-attention`, `L2H1 and L2H4 of …`, `all heads of layer 2 of …`.
fn names(heads: &Heads) -> String {
    let Heads { kind, layer, .. } = heads;
    let name = |head: usize| HeadId { layer: *layer, head }.to_string();
    let which = match &heads.heads {
        Which::All => format!("all heads of layer {layer}"),
        Which::Range(start, _) if heads.heads.is_one() => name(*start),
        Which::Range(start, end) => format!("heads {start} to {} of layer {layer}", end.saturating_sub(1)),
        Which::These(all) => listed(all.iter().map(|head| name(*head))),
    };
    format!("{which} of {}", kind.title())
}

/// Rows and texts, where it is not all of them.
fn place(heads: &Heads) -> String {
    heads.queries.in_words("at", "row") + &heads.items.in_words("of", "text")
}

/// `a`, `a and b`, `a, b and c`.
fn listed(words: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = words.collect();
    match words.pop() {
        Some(last) if words.is_empty() => last,
        Some(last) => format!("{} and {last}", words.join(", ")),
        None => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> Digest {
        Digest { shape: vec![1, 16], sha256: "0123456789abcdef".to_owned() }
    }

    #[test]
    fn an_edit_is_told_in_a_sentence_with_its_heads_rows_and_texts() {
        let one = Heads::one(Kind::Cross, HeadId { layer: 2, head: 4 });
        let zero = Edit::HeadOutput { heads: one.clone(), to: HeadOutput::Zero };
        assert_eq!(zero.sentence(), "L2H4 of cross-attention was knocked out: its output was set to 0");
        let some = Heads { heads: Which::These(vec![1, 3]), queries: Which::Range(2, 5), ..one.clone() };
        let zero = Edit::HeadOutput { heads: some, to: HeadOutput::Zero };
        assert_eq!(
            zero.sentence(),
            "L2H1 and L2H3 of cross-attention were knocked out at rows 2 to 4: their outputs were set to 0"
        );
        let mean = Edit::HeadOutput { heads: one.clone(), to: HeadOutput::Mean(digest()) };
        assert_eq!(
            mean.sentence(),
            "the output of L2H4 of cross-attention was replaced by a mean (shape [1, 16], SHA-256 01234567…)"
        );
        let edges = Edit::Edges { heads: Heads { items: Which::These(vec![1]), ..one }, keys: Which::These(vec![0]) };
        assert_eq!(
            edges.sentence(),
            "L2H4 of cross-attention could not look at the keys of column 0 of text 1; the layer is recorded with the \
             weights that were used"
        );
        let weights = Edit::Weights { heads: Heads::all(Kind::Encoder, 0), to: NewWeights::Permuted { seed: 7 } };
        assert_eq!(
            weights.sentence(),
            "the weights of all heads of layer 0 of encoder self-attention were permuted among the visible keys \
             (seed 7); the layer is recorded with the weights that were used"
        );
    }

    #[test]
    fn an_edit_survives_json_and_what_holds_for_all_is_left_out() {
        let heads = Heads::one(Kind::Decoder, HeadId { layer: 0, head: 1 });
        let edit: Edit<Digest> = Edit::HeadOutput { heads, to: HeadOutput::Zero };
        let json = serde_json::to_string(&edit).unwrap();
        assert_eq!(json, r#"{"head_output":{"heads":{"kind":"decoder","layer":0,"heads":{"these":[1]}},"to":"zero"}}"#);
        assert_eq!(serde_json::from_str::<Edit<Digest>>(&json).unwrap(), edit);
    }

    #[test]
    fn a_choice_says_what_it_holds_and_where() {
        let range = Which::Range(3, 6);
        assert_eq!((range.place(4), range.place(6), range.count(9), range.last()), (Some(1), None, 3, Some(5)));
        let these = Which::These(vec![5, 2]);
        assert_eq!((these.place(2), these.contains(3), these.count(9), these.last()), (Some(1), false, 2, Some(5)));
        assert_eq!((Which::All.place(7), Which::All.count(9), Which::All.last()), (Some(7), 9, None));
        assert_eq!(Which::Range(4, 2).last(), None);
    }
}
