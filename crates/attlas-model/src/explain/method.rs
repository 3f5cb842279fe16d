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
    /// Weights and residuals multiplied through the layers.
    Rollout,
    /// Weight times the length of what the value adds, head by head.
    Norm,
    /// The length of what all heads of a layer add together.
    NormSum,
    /// The share of the state that the token brought, through all layers.
    Alti,
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
    /// What the score loses without each head, dealt out by its weights.
    HeadEffect,
    /// What the score loses when nobody may look at the token.
    Hide,
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
    /// What has to be computed for it.
    pub cost: Cost,
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

/// What has to be computed for a method, of one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// One pass.
    Pass,
    /// A pass forwards and back.
    WayBack,
    /// As many passes forwards and back as there are steps, and two forwards for both ends of the way.
    Steps,
    /// A pass for each token.
    PassPerToken,
    /// A pass for each head, each from the head's layer on.
    PassPerHead,
}

impl Cost {
    /// `a pass for each token`.
    pub fn words(self) -> &'static str {
        match self {
            Cost::Pass => "one pass",
            Cost::WayBack => "a pass forwards and back",
            Cost::Steps => "50 passes forwards and back, and up to 400 more where the way is not smooth",
            Cost::PassPerToken => "a pass for each token",
            Cost::PassPerHead => "a pass for each head",
        }
    }

    /// About how many passes forwards that takes as long as, where a way back takes two: what integrated gradients need beyond
    /// `n_steps` is not counted.
    pub fn n_passes(self, n_steps: usize, n_tokens: usize, n_heads: usize) -> f64 {
        let n = match self {
            Cost::Pass => 1,
            Cost::WayBack => 3,
            Cost::Steps => 3 * n_steps + 2,
            Cost::PassPerToken => n_tokens,
            Cost::PassPerHead => n_heads,
        };
        n as f64
    }
}

impl Method {
    /// Every method, in the order of the table.
    pub const ALL: [Method; 15] = [
        Method::Weight,
        Method::Rollout,
        Method::Norm,
        Method::NormSum,
        Method::Alti,
        Method::GradientAttention,
        Method::Relevance,
        Method::Saliency,
        Method::InputGradient,
        Method::IntegratedGradients,
        Method::AttnLrp,
        Method::CpLrp,
        Method::HeadEffect,
        Method::Hide,
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

    /// Whether it is one of all methods: one that runs the model once for each head is computed where it is named alone.
    pub fn is_of_all(self) -> bool {
        self.definition().cost != Cost::PassPerHead
    }

    /// Whether it changes something and measures what the score becomes; the others are computed from the unchanged run.
    pub fn is_measured(self) -> bool {
        matches!(self, Method::HeadEffect | Method::Hide | Method::LeaveOut)
    }

    /// The method of this name.
    pub fn named(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// Every method, in the order of [`Method::ALL`].
pub static METHODS: [Definition; 15] = [
    Definition {
        name: "weight",
        title: "attention weight",
        short: "weight",
        says: "mean weight that the explained position gives the token, over all layers and heads",
        formula: "mean over layers and heads of A(p, k), p the explained position",
        unit: Unit::Weight,
        cost: Cost::Pass,
        is_signed: false,
        limit: "knows neither values nor the score: a weight on a key whose value is 0 counts like any other",
        paper: "",
    },
    Definition {
        name: "rollout",
        title: "attention rollout",
        short: "rollout",
        says: "the share of the token in the explained position, if weights are what is passed on, residuals count half and all heads alike",
        formula: "R_l = A_l · R_{l−1}, A_l the rows of (mean over heads + identity) ÷ their sums; the row of the explained position",
        unit: Unit::Weight,
        cost: Cost::Pass,
        is_signed: false,
        limit: "knows neither values nor the score; of the decoder of an encoder-decoder it is not defined",
        paper: "Abnar & Zuidema 2020, §3",
    },
    Definition {
        name: "norm",
        title: "norm",
        short: "norm",
        says: "mean length of what the token's value adds to the explained position, over all layers and heads",
        formula: "mean over layers and heads of ‖A(p, k) · f(x_k)‖, f(x_k) = V[k] W_O",
        unit: Unit::Length,
        cost: Cost::Pass,
        is_signed: false,
        limit: "knows nothing of the score, nor of how heads and residuals add up or cancel",
        paper: "Kobayashi et al. 2020, §2",
    },
    Definition {
        name: "norm-sum",
        title: "norm of all heads",
        short: "norm sum",
        says: "mean length of what all heads together add from the token to the explained position, over the layers",
        formula: "mean over layers of ‖Σ_h A_h(p, k) · f_h(x_k)‖",
        unit: Unit::Length,
        cost: Cost::Pass,
        is_signed: false,
        limit: "heads of a layer may cancel, and layers are not followed: a key is a position, which in deep layers holds more than its own token",
        paper: "Kobayashi et al. 2020, §2",
    },
    Definition {
        name: "alti",
        title: "ALTI",
        short: "ALTI",
        says: "the share of the explained position's state that the token brought, through all layers",
        formula: "C_l(q, k) = max(0, ‖y_q‖₁ − ‖y_q − T_q(k)‖₁), rows ÷ their sums, multiplied through the layers; the row of the explained position",
        unit: Unit::None,
        cost: Cost::Pass,
        is_signed: false,
        limit: "knows nothing of the score, and takes feed-forward layers to leave tokens apart",
        paper: "Ferrando et al. 2022",
    },
    Definition {
        name: "gradient-attention",
        title: "gradient × attention",
        short: "grad × attn",
        says: "what the score would lose, to first order, if all weights on the token's positions were 0",
        formula: "Σ over layers, heads and queries of ∂S/∂A(q, k) · A(q, k)",
        unit: Unit::Score,
        cost: Cost::WayBack,
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
        cost: Cost::WayBack,
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
        cost: Cost::WayBack,
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
        cost: Cost::WayBack,
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
        cost: Cost::Steps,
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
        cost: Cost::WayBack,
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
        cost: Cost::WayBack,
        is_signed: true,
        limit: "does not see why a head looks where it looks",
        paper: "Ali et al. 2022, §3",
    },
    Definition {
        name: "head-effect",
        title: "head effects",
        short: "head effects",
        says: "what the score loses without each head, dealt out among tokens by the head's weights at the explained position",
        formula: "Σ over heads of (S − S without head h) · A_h(p, k)",
        unit: Unit::Score,
        cost: Cost::PassPerHead,
        is_signed: true,
        limit: "effects are measured, dealing them out by weights is not; of an encoder-decoder the encoder's heads have no row of the explained position and are left out",
        paper: "Michel et al. 2019, §3",
    },
    Definition {
        name: "hide",
        title: "hiding",
        short: "hidden",
        says: "what the score loses when no other position may look at the token, in any head: measured",
        formula: "S − S with A(q, k) := 0 for all queries q but the token's own, in all layers; the rest of each row shares the weight",
        unit: Unit::Score,
        cost: Cost::PassPerToken,
        is_signed: true,
        limit: "the token's own position keeps it; of the explained position of a decoder, which no other looks at, and of the only token of a source it says nothing",
        paper: "Geva et al. 2023, §4",
    },
    Definition {
        name: "leave-out",
        title: "leave-one-out",
        short: "leave out",
        says: "what the score loses when the token's word is set to 0, its position kept: measured, not estimated",
        formula: "S(x) − S(x with the token's row 0)",
        unit: Unit::Score,
        cost: Cost::PassPerToken,
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
