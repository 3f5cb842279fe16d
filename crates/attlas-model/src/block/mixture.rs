//! A mixture of experts: a router sends each token through a few feed-forwards, and all through one more where there is one
//! that they share.

use attlas_kernels::Onto;

use super::feed_forward::expert_forward;
use super::weights::{MixtureWeights, SharedExpert};
use super::workspace::Workspace;
use crate::config::{Activation, FeedForward, Routing};

/// The experts that a token goes through, each with its share, the strongest first.
pub(super) type Chosen = Vec<(usize, f32)>;

impl MixtureWeights {
    /// Adds to `output` what the experts of each token give, times their shares. Shapes `[n, d_model]`.
    pub(super) fn add(&self, config: &FeedForward, input: &[f32], output: &mut [f32], workspace: &mut Workspace) {
        let d_model = self.router.d_in;
        let chosen = self.chosen(input);
        for (index, expert) in self.experts.iter().enumerate() {
            let rows = rows_of(&chosen, index);
            if rows.is_empty() {
                continue;
            }
            let part = gathered(input, &rows, d_model);
            let mut result = vec![0.0; part.len()]; // [rows, d_model]
            expert_forward(config, expert, &part, &mut result, Onto::Replace, workspace);
            for ((row, share), result) in rows.iter().zip(result.chunks(d_model)) {
                add_times(&mut output[row * d_model..][..d_model], *share, result);
            }
        }
        if let Some(shared) = &self.shared {
            let mut result = vec![0.0; input.len()]; // [n, d_model]
            expert_forward(config, &shared.expert, input, &mut result, Onto::Replace, workspace);
            let rows = output.chunks_mut(d_model).zip(result.chunks(d_model)).zip(shared.shares(input));
            rows.for_each(|((output, result), share)| add_times(output, share, result));
        }
    }

    /// Which experts each token goes through. Shape of `input`: `[n, d_model]`.
    pub(super) fn chosen(&self, input: &[f32]) -> Vec<Chosen> {
        let scores = self.scores(input);
        scores.chunks(self.experts.len()).map(|row| strongest(row, self.config.n_used, self.config.routing)).collect()
    }

    /// The share of each expert in each token's output, 0 of those that the token does not go through. Shape `[n, n_experts]`.
    pub(super) fn shares(&self, input: &[f32]) -> Vec<f32> {
        let chosen = self.chosen(input);
        let mut shares = vec![0.0; chosen.len() * self.experts.len()]; // [n, n_experts]
        for (chosen, shares) in chosen.iter().zip(shares.chunks_mut(self.experts.len())) {
            chosen.iter().for_each(|(expert, share)| shares[*expert] = *share);
        }
        shares
    }

    /// The router's score of each expert. Shape `[n, n_experts]`.
    pub(super) fn scores(&self, input: &[f32]) -> Vec<f32> {
        let mut scores = vec![0.0; input.len() / self.router.d_in * self.experts.len()]; // [n, n_experts]
        self.router.forward(input, &mut scores, Activation::Identity);
        scores
    }
}

impl SharedExpert {
    /// The share of each token, `sigmoid(gate · x)`. Shape `[n]`.
    pub(super) fn shares(&self, input: &[f32]) -> Vec<f32> {
        let mut shares = vec![0.0; input.len() / self.gate.d_in]; // [n]
        self.gate.forward(input, &mut shares, Activation::Identity);
        shares.iter_mut().for_each(|score| *score = 1.0 / (1.0 + (-*score).exp()));
        shares
    }
}

/// The rows that go through an expert, each with its share.
pub(super) fn rows_of(chosen: &[Chosen], expert: usize) -> Vec<(usize, f32)> {
    let share = |chosen: &Chosen| chosen.iter().find(|(index, _)| *index == expert).map(|(_, share)| *share);
    chosen.iter().enumerate().filter_map(|(row, chosen)| Some((row, share(chosen)?))).collect()
}

/// Some rows, one after the other.
pub(super) fn gathered(all: &[f32], rows: &[(usize, f32)], width: usize) -> Vec<f32> {
    rows.iter().flat_map(|(row, _)| &all[row * width..][..width]).copied().collect()
}

fn add_times(output: &mut [f32], factor: f32, addend: &[f32]) {
    output.iter_mut().zip(addend).for_each(|(y, r)| *y += factor * r);
}

/// The `n` highest scores with their shares, the first of equals first.
fn strongest(scores: &[f32], n: usize, routing: Routing) -> Chosen {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    let max = order.first().map_or(0.0, |first| scores[*first]);
    let n_summed = if routing == Routing::OfChosen { n } else { order.len() };
    let total: f32 = order.iter().take(n_summed).map(|expert| (scores[*expert] - max).exp()).sum();
    order.into_iter().take(n).map(|expert| (expert, (scores[expert] - max).exp() / total)).collect()
}

/// The share that each expert has or would have: a softmax over all scores. Shape `[n_experts]`.
pub(super) fn all_shares(scores: &[f32]) -> Vec<f32> {
    let mut shares = vec![0.0; scores.len()];
    strongest(scores, scores.len(), Routing::OfAll).into_iter().for_each(|(expert, share)| shares[expert] = share);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_a_softmax_of_the_chosen_scores_or_of_all() {
        let scores = [0.0, 2.0_f32.ln(), 2.0_f32.ln(), f32::NEG_INFINITY];
        let near = |found: Chosen, expected: &[(usize, f32)]| {
            assert_eq!(found.len(), expected.len());
            for ((expert, share), (wanted, other)) in found.iter().zip(expected) {
                assert!(expert == wanted && (share - other).abs() < 1e-6, "{found:?}");
            }
        };
        near(strongest(&scores, 2, Routing::OfChosen), &[(1, 0.5), (2, 0.5)]);
        near(strongest(&scores, 2, Routing::OfAll), &[(1, 0.4), (2, 0.4)]);
        assert!(
            all_shares(&scores).iter().zip([0.2, 0.4, 0.4, 0.0]).all(|(found, wanted)| (found - wanted).abs() < 1e-6)
        );
    }
}
