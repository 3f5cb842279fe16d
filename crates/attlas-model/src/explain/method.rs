//! The table of the methods that say which tokens a score rests on, each defined once.
//!
//! Tables, JSON, help and docs/methods are made of [`METHODS`]; a new method is one more entry of it.

use serde::{Deserialize, Serialize};

/// A way to say which tokens a score rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The attention weights themselves.
    Weight,
    /// Weight times the length of what the value adds.
    Norm,
    /// Gradient of the score times weight.
    GradientAttention,
    /// Positive gradient × attention, carried through the layers.
    Relevance,
    /// The length of the gradient.
    Saliency,
    /// Gradient times input.
    InputGradient,
    /// The gradient along the way from nothing to the input.
    IntegratedGradients,
    /// Relevance through every layer by the rules of AttnLRP.
    AttnLrp,
    /// The same with attention weights held fixed.
    CpLrp,
    /// What the score loses without the token.
    LeaveOut,
}

/// What a method is.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Definition {
    /// Short, and the same for ever: in JSON and options.
    pub name: &'static str,
    /// What the field calls it.
    pub title: &'static str,
    /// The title where there is little room: two words at most.
    pub short: &'static str,
    /// What a token's score is, in a line.
    pub says: &'static str,
    /// How it is computed: `S` is the explained score, `x` the row of a token's word, `A` a weight.
    pub formula: &'static str,
    /// What a token's score counts in.
    pub unit: Unit,
    /// Whether scores lie on both sides of 0.
    pub is_signed: bool,
    /// What it cannot say.
    pub limit: &'static str,
    /// Who defined it, and where; empty where nobody has to be named.
    pub paper: &'static str,
}

/// What a token's score counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// The unit of the explained score; what tokens have may be added up.
    Score,
    /// The unit of the explained score per unit of an input.
    ScorePerInput,
    /// A share of a query's attention.
    Weight,
    /// The length of a vector of the residual stream.
    Length,
    /// None: only their order and proportion say something.
    None,
}

impl Method {
    /// Every method, in the order of the table.
    pub const ALL: [Method; 10] = [
        Method::Weight,
        Method::Norm,
        Method::GradientAttention,
        Method::Relevance,
        Method::Saliency,
        Method::InputGradient,
        Method::IntegratedGradients,
        Method::AttnLrp,
        Method::CpLrp,
        Method::LeaveOut,
    ];

    /// What it is.
    pub fn definition(self) -> &'static Definition {
        &METHODS[self as usize]
    }

    /// Its name in JSON and options.
    pub fn name(self) -> &'static str {
        self.definition().name
    }

    /// The method of this name.
    pub fn named(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// Every method, in the order of [`Method::ALL`].
pub static METHODS: [Definition; 10] = [
    Definition {
        name: "weight",
        title: "attention weight",
        short: "weight",
        says: "mean weight that the explained position gives the token, over all layers and heads",
        formula: "mean over layers and heads of A(p, k), p the explained position",
        unit: Unit::Weight,
        is_signed: false,
        limit: "knows neither values nor the score: a weight on a key whose value is 0 counts like any other",
        paper: "",
    },
    Definition {
        name: "norm",
        title: "norm",
        short: "norm",
        says: "mean length of what the token's value adds to the explained position, over all layers and heads",
        formula: "mean over layers and heads of ‖A(p, k) · f(x_k)‖, f(x_k) = V[k] W_O",
        unit: Unit::Length,
        is_signed: false,
        limit: "knows nothing of the score, nor of how heads and residuals add up or cancel",
        paper: "Kobayashi et al. 2020, §2",
    },
    Definition {
        name: "gradient-attention",
        title: "gradient × attention",
        short: "grad × attn",
        says: "what the score would lose, to first order, if all weights on the token's positions were 0",
        formula: "Σ over layers, heads and queries of ∂S/∂A(q, k) · A(q, k)",
        unit: Unit::Score,
        is_signed: true,
        limit: "a position of a deep layer holds more than its own token; what values and residuals carry on their own is not seen",
        paper: "Barkan et al. 2021, §3",
    },
    Definition {
        name: "relevance",
        title: "Chefer relevance",
        short: "relevance",
        says: "positive gradient × attention, carried through layers and residuals to the token",
        formula: "cam = mean over heads of max(0, ∂S/∂A · A); R ← R + cam · R; the row of the explained position less the identity",
        unit: Unit::None,
        is_signed: false,
        limit: "what speaks against the score is left out, and so are values, norms and feed-forward layers",
        paper: "Chefer et al. 2021b, §3",
    },
    Definition {
        name: "saliency",
        title: "saliency",
        short: "saliency",
        says: "how far the score moves when the token's word moves a little in the direction that moves it most",
        formula: "‖∂S/∂x‖₂",
        unit: Unit::ScorePerInput,
        is_signed: false,
        limit: "says how sensitive the score is, not how much of it a token carries; has no sign",
        paper: "Simonyan et al. 2014, §3; Li et al. 2016, §4",
    },
    Definition {
        name: "input-gradient",
        title: "input × gradient",
        short: "grad × input",
        says: "what the score would lose, to first order, if the token's word were 0",
        formula: "Σ over x of x · ∂S/∂x",
        unit: Unit::Score,
        is_signed: true,
        limit: "a straight line through one point: where the score saturates, the gradient is small and so is the answer",
        paper: "Denil et al. 2014; Shrikumar et al. 2016",
    },
    Definition {
        name: "integrated-gradients",
        title: "integrated gradients",
        short: "integr. grad",
        says: "the token's part of what the score gains on a straight way from words that are 0 to the words that are there",
        formula: "Σ over x of x · ∫₀¹ ∂S/∂x(α x) dα, by Gauss–Legendre quadrature in 50 steps; positions are kept",
        unit: Unit::Score,
        is_signed: true,
        limit: "the way leads through inputs that no text has, and another baseline gives other numbers",
        paper: "Sundararajan et al. 2017, §3",
    },
    Definition {
        name: "attn-lrp",
        title: "AttnLRP",
        short: "AttnLRP",
        says: "the token's part of the score, handed back from layer to layer by rules that keep its sum as far as they can",
        formula: "Σ over x of x · g, g a gradient in which the divisors of norms are fixed, an activation counts as f(x)/x, and what goes back through a product is shared between its factors",
        unit: Unit::Score,
        is_signed: true,
        limit: "biases take a part of the sum; a relevance by rules, not an effect that could be measured",
        paper: "Achtibat et al. 2024, §3",
    },
    Definition {
        name: "cp-lrp",
        title: "CP-LRP",
        short: "CP-LRP",
        says: "the same with attention weights held fixed: all goes back through values",
        formula: "as attn-lrp, with ∂A = 0",
        unit: Unit::Score,
        is_signed: true,
        limit: "does not see why a head looks where it looks",
        paper: "Ali et al. 2022, §3",
    },
    Definition {
        name: "leave-out",
        title: "leave-one-out",
        short: "leave out",
        says: "what the score loses when the token's word is set to 0, its position kept: measured, not estimated",
        formula: "S(x) − S(x with the token's row 0)",
        unit: Unit::Score,
        is_signed: true,
        limit: "what two tokens carry together, or either for the other, is not seen when one is taken away",
        paper: "Li et al. 2016b; Zeiler & Fergus 2014",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_has_the_entry_and_the_name_that_files_read() {
        for method in Method::ALL {
            assert_eq!(serde_json::to_value(method).unwrap(), method.name());
            assert_eq!(Method::named(method.name()), Some(method));
        }
    }
}
