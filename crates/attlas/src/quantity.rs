//! What the numbers of a map are: weights, or what stands beside them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the numbers of a map are. It decides their range and sign, which checks hold, and the words and the scale of a
/// picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// How a query shares its attention: in 0 ..= 1, rows sum to 1 less the share of a sink.
    #[default]
    Weight,
    /// `‖w(q, k) · f(k)‖`, the length of what a key adds to a query (Kobayashi et al. 2020): not negative, any size.
    Norm,
    /// `∂S/∂w(q, k) · w(q, k)`, gradient of a score times weight: either sign.
    GradientWeight,
    /// How much of a score a pair carries (Chefer et al. 2021 and others): either sign.
    Relevance,
    /// Weights multiplied through the layers (Abnar and Zuidema 2020): in 0 ..= 1, rows sum to 1.
    Rollout,
    /// The share of a token's state behind a layer, or behind several, that a token before them brings (Ferrando et al.
    /// 2022): in 0 ..= 1; rows sum to 1 over all that a token can come from, which cross-attention parts in two maps.
    Contribution,
    /// How much of a token's state can flow from a token of the input, through weights as capacities (Abnar and Zuidema
    /// 2020): in 0 ..= 1, rows sum to 1.
    Flow,
    /// The measured change of an output when the pair is taken away: either sign, in the unit of the output.
    Effect,
    /// One map less another: either sign, in −1 ..= 1 for weights.
    Difference,
}

impl Quantity {
    /// Every quantity, weights first.
    pub const ALL: [Quantity; 9] = [
        Quantity::Weight,
        Quantity::Norm,
        Quantity::GradientWeight,
        Quantity::Relevance,
        Quantity::Rollout,
        Quantity::Contribution,
        Quantity::Flow,
        Quantity::Effect,
        Quantity::Difference,
    ];

    /// The name in files: `weight`, `norm`, `gradient_weight`.
    pub fn name(self) -> &'static str {
        match self {
            Quantity::Weight => "weight",
            Quantity::Norm => "norm",
            Quantity::GradientWeight => "gradient_weight",
            Quantity::Relevance => "relevance",
            Quantity::Rollout => "rollout",
            Quantity::Contribution => "contribution",
            Quantity::Flow => "flow",
            Quantity::Effect => "effect",
            Quantity::Difference => "difference",
        }
    }

    /// What stands under a colour bar, such as `attention weight`.
    pub fn words(self) -> &'static str {
        match self {
            Quantity::Weight => "attention weight",
            Quantity::Norm => "norm of weight × value",
            Quantity::GradientWeight => "gradient × weight",
            Quantity::Relevance => "relevance",
            Quantity::Rollout => "attention rollout",
            Quantity::Contribution => "contribution",
            Quantity::Flow => "attention flow",
            Quantity::Effect => "measured effect",
            Quantity::Difference => "difference",
        }
    }

    /// What stands under a colour bar of a recording's maps, whose `notes` say more closely what they are: [`VARIANTS`].
    pub fn words_in(self, notes: &[String]) -> &'static str {
        let is_said = |variant: &&Variant| variant.quantity == self && notes.iter().any(|note| note == variant.note);
        VARIANTS.iter().find(is_said).map_or(self.words(), |variant| variant.words)
    }

    /// What the numbers count in.
    pub fn unit(self) -> &'static str {
        match self {
            Quantity::Weight | Quantity::Rollout => "share of a query's attention",
            Quantity::Contribution => "share of a token's state",
            Quantity::Flow => "share of what flows into a token",
            Quantity::Norm => "length of a vector of the residual stream",
            Quantity::GradientWeight | Quantity::Relevance | Quantity::Effect => "unit of the output that is explained",
            Quantity::Difference => "unit of the maps compared",
        }
    }

    /// Whether numbers may lie on both sides of 0, so that a picture needs a scale with 0 in its middle.
    pub fn is_signed(self) -> bool {
        matches!(self, Quantity::GradientWeight | Quantity::Relevance | Quantity::Effect | Quantity::Difference)
    }

    /// The least and the largest number that can be, where that is known.
    pub fn range(self) -> (Option<f32>, Option<f32>) {
        match self {
            Quantity::Weight | Quantity::Rollout | Quantity::Contribution | Quantity::Flow => (Some(0.0), Some(1.0)),
            Quantity::Norm => (Some(0.0), None),
            _ => (None, None),
        }
    }

    /// Whether each row sums to 1, the share of a sink included.
    pub fn rows_sum_to_one(self) -> bool {
        matches!(self, Quantity::Weight | Quantity::Rollout | Quantity::Flow)
    }
}

/// What maps of one quantity are more closely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// The quantity.
    pub quantity: Quantity,
    /// How the notes of a recording that keeps them say it.
    pub note: &'static str,
    /// What stands under a colour bar.
    pub words: &'static str,
}

/// `‖Σ_h w(q, k) f_h(x_k)‖`.
pub const NORM_SUM: Variant = Variant {
    quantity: Quantity::Norm,
    note: "norms of what all heads of a layer add together",
    words: "norm of the sum over heads",
};
/// The same with the residual on the diagonal.
pub const NORM_RESIDUAL: Variant = Variant {
    quantity: Quantity::Norm,
    note: "norms of what all heads of a layer add together, the residual stream on the diagonal",
    words: "norm of the sum over heads, with residual",
};
/// The same behind the layer norm.
pub const NORM_LAYER_NORM: Variant = Variant {
    quantity: Quantity::Norm,
    note: "norms of what all heads of a layer add together, the residual stream on the diagonal, behind the layer norm",
    words: "norm of the sum over heads, with residual, behind the layer norm",
};
/// Shares of the states that enter a layer.
pub const CONTRIBUTION_OF_LAYER: Variant = Variant {
    quantity: Quantity::Contribution,
    note: "contributions of the states that enter each layer (ALTI), feed-forwards left out",
    words: "contribution of the layer",
};
/// Shares of the model's input tokens.
pub const CONTRIBUTION_OF_MODEL: Variant = Variant {
    quantity: Quantity::Contribution,
    note: "contributions of the model's input tokens, through all layers up to this one (ALTI), feed-forwards left out",
    words: "contribution through the layers (ALTI)",
};

/// Every one that shares its quantity with another.
pub const VARIANTS: [Variant; 5] =
    [NORM_SUM, NORM_RESIDUAL, NORM_LAYER_NORM, CONTRIBUTION_OF_LAYER, CONTRIBUTION_OF_MODEL];

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_files_is_the_one_that_is_read() {
        for quantity in Quantity::ALL {
            assert_eq!(serde_json::to_value(quantity).unwrap(), quantity.name());
        }
    }

    #[test]
    fn maps_of_one_quantity_are_told_apart_by_what_the_notes_say() {
        let words = VARIANTS.map(|variant| variant.quantity.words_in(&[variant.note.to_owned()]));
        assert_eq!(std::collections::BTreeSet::from(words).len(), VARIANTS.len());
        assert_eq!(Quantity::Weight.words_in(&[NORM_SUM.note.to_owned()]), "attention weight");
    }

    #[test]
    fn only_numbers_of_either_sign_have_no_least_number() {
        for quantity in Quantity::ALL {
            assert_eq!(quantity.is_signed(), quantity.range().0.is_none(), "{quantity}");
        }
    }
}
