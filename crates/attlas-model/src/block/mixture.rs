//! A mixture of experts: a router sends each token through a few feed-forwards, and all through one more where there is one
//! that they share.

use attlas_kernels::Onto;

use super::feed_forward::expert_forward;
use super::linear::Linear;
use super::weights::{MixtureWeights, SharedExpert};
use super::workspace::Workspace;
use crate::config::{Activation, Experts, FeedForward, Groups, Routing};

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
        let Some(SharedExpert { expert, gate }) = &self.shared else { return };
        let Some(gate) = gate else {
            return expert_forward(config, expert, input, output, Onto::Add, workspace);
        };
        let mut result = vec![0.0; input.len()]; // [n, d_model]
        expert_forward(config, expert, input, &mut result, Onto::Replace, workspace);
        let rows = output.chunks_mut(d_model).zip(result.chunks(d_model)).zip(shared_shares(gate, input));
        rows.for_each(|((output, result), share)| add_times(output, share, result));
    }

    /// Which experts each token goes through. Shape of `input`: `[n, d_model]`.
    pub(super) fn chosen(&self, input: &[f32]) -> Vec<Chosen> {
        let scores = self.scores(input);
        let chosen = |scores: &[f32]| strongest(scores, &self.preferred(scores), self.config);
        scores.chunks(self.experts.len()).map(chosen).collect()
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

impl MixtureWeights {
    /// What decides between experts, −∞ for those of groups that are not chosen. Shapes `[n_experts]`.
    fn preferred(&self, scores: &[f32]) -> Vec<f32> {
        let mut preferred = scores.to_vec(); // [n_experts]
        if self.config.routing.is_sigmoid() {
            preferred.iter_mut().for_each(|score| *score = sigmoid(*score));
        }
        if let Some(correction) = &self.correction {
            preferred.iter_mut().zip(correction.iter()).for_each(|(score, more)| *score += more);
        }
        if let Some(groups) = self.config.groups {
            leave_out(&mut preferred, groups);
        }
        preferred
    }
}

/// The share of each token in the expert of all, `sigmoid(gate · x)`. Shape `[n]`.
pub(super) fn shared_shares(gate: &Linear, input: &[f32]) -> Vec<f32> {
    let mut shares = vec![0.0; input.len() / gate.d_in]; // [n]
    gate.forward(input, &mut shares, Activation::Identity);
    shares.iter_mut().for_each(|score| *score = sigmoid(*score));
    shares
}

/// `1 / (1 + e^(−x))`.
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Sets to −∞ what belongs to other than the groups with the highest scores. Shape `[n_experts]`.
fn leave_out(preferred: &mut [f32], groups: Groups) {
    let size = (preferred.len() / groups.n).max(1);
    let score = |group: &[f32]| {
        let mut sorted = group.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        sorted.iter().take(groups.n_counted).sum::<f32>()
    };
    let scores: Vec<f32> = preferred.chunks(size).map(score).collect(); // [n]
    for group in descending(&scores).into_iter().skip(groups.n_used) {
        preferred[group * size..(group + 1) * size].fill(f32::NEG_INFINITY);
    }
}

/// The places of numbers from the highest on, the first of equals first.
fn descending(numbers: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|a, b| numbers[*b].total_cmp(&numbers[*a]).then(a.cmp(b)));
    order
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

/// The experts that are preferred most, with their shares. Shapes `[n_experts]`.
fn strongest(scores: &[f32], preferred: &[f32], config: Experts) -> Chosen {
    let order = descending(preferred);
    let chosen = &order[..config.n_used.min(order.len())];
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let power = |expert: &usize| match config.routing.is_sigmoid() {
        true => sigmoid(scores[*expert]),
        false => (scores[*expert] - max).exp(),
    };
    let total: f32 = match config.routing {
        Routing::OfChosen => chosen.iter().map(power).sum(),
        Routing::OfAll => order.iter().map(power).sum(),
        Routing::Sigmoid => 1.0,
        Routing::SigmoidOfChosen => chosen.iter().map(power).sum::<f32>() + 1e-20,
    };
    chosen.iter().map(|expert| (*expert, config.factor * power(expert) / total)).collect()
}

/// The share that each expert has or would have: a softmax over all scores. Shape `[n_experts]`.
pub(super) fn all_shares(scores: &[f32]) -> Vec<f32> {
    let mut shares = vec![0.0; scores.len()];
    let all = Experts::new(scores.len(), scores.len(), Routing::OfAll);
    strongest(scores, scores, all).into_iter().for_each(|(expert, share)| shares[expert] = share);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn experts_of_other_groups_than_the_highest_are_left_out() {
        let scores = [5.0, 0.0, 3.0, 3.0, 4.0, 1.0];
        let kept = |n_counted: usize| -> Vec<usize> {
            let mut scores = scores;
            leave_out(&mut scores, Groups { n: 3, n_used: 1, n_counted });
            (0..6).filter(|expert| scores[*expert].is_finite()).collect()
        };
        assert_eq!(kept(1), [0, 1]);
        assert_eq!(kept(2), [2, 3]);
    }

    #[test]
    fn shares_are_a_softmax_of_the_chosen_scores_or_of_all() {
        let scores = [0.0, 2.0_f32.ln(), 2.0_f32.ln(), f32::NEG_INFINITY];
        let near = |found: Chosen, expected: &[(usize, f32)]| {
            assert_eq!(found.len(), expected.len());
            for ((expert, share), (wanted, other)) in found.iter().zip(expected) {
                assert!(expert == wanted && (share - other).abs() < 1e-6, "{found:?}");
            }
        };
        let chosen = |routing: Routing| strongest(&scores, &scores, Experts::new(4, 2, routing));
        near(chosen(Routing::OfChosen), &[(1, 0.5), (2, 0.5)]);
        near(chosen(Routing::OfAll), &[(1, 0.4), (2, 0.4)]);
        near(chosen(Routing::Sigmoid), &[(1, 2.0 / 3.0), (2, 2.0 / 3.0)]);
        let halved = Experts { factor: 0.5, ..Experts::new(4, 2, Routing::SigmoidOfChosen) };
        near(strongest(&scores, &[9.0, 1.0, 8.0, 0.0], halved), &[(0, 3.0 / 14.0), (2, 4.0 / 14.0)]);
        assert!(
            all_shares(&scores).iter().zip([0.2, 0.4, 0.4, 0.0]).all(|(found, wanted)| (found - wanted).abs() < 1e-6)
        );
    }
}
