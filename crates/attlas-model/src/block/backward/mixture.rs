//! Back through a mixture of experts.

use attlas_kernels::Onto;

use super::feed_forward::ExpertTape;
use super::{Rules, add};
use crate::block::dropout::Dropout;
use crate::block::mixture::{Chosen, all_shares, gathered, rows_of, shared_shares, sigmoid};
use crate::block::weights::{Expert, MixtureWeights, SharedExpert};
use crate::config::{FeedForward, Routing};

impl MixtureWeights {
    /// The gradient of the input of `Σ_e share_e · expert_e(x)`; adds those of its parameters to `sums`. Shapes `[n, d_model]`.
    pub(super) fn go_back(
        &self,
        config: &FeedForward,
        rules: Rules,
        input: &[f32],
        d_output: &[f32],
        mut sums: Option<&mut MixtureWeights>,
    ) -> Vec<f32> {
        let (d_model, n_experts) = (self.router.d_in, self.experts.len());
        let chosen = self.chosen(input);
        let mut d_input = vec![0.0; input.len()]; // [n, d_model]
        let mut d_shares = vec![0.0; chosen.len() * n_experts]; // [n, n_experts]
        // 1. the experts, each on its rows
        for (index, expert) in self.experts.iter().enumerate() {
            let rows = rows_of(&chosen, index);
            if rows.is_empty() {
                continue;
            }
            let shares: Vec<f32> = rows.iter().map(|(_, share)| *share).collect(); // [rows]
            let (part, d_part) = (gathered(input, &rows, d_model), gathered(d_output, &rows, d_model));
            let sums = sums.as_mut().and_then(|sums| sums.experts.get_mut(index));
            let back = Weighed { config, expert, shares: &shares }.go_back(rules, &part, d_part, sums);
            for ((row, _), (d_share, d_row)) in rows.iter().zip(back.d_shares.iter().zip(back.d_input.chunks(d_model)))
            {
                d_shares[row * n_experts + index] = *d_share;
                add(&mut d_input[row * d_model..][..d_model], d_row);
            }
        }
        // 2. the router
        let d_scores = self.scores_back(input, &chosen, &d_shares);
        if let Some(sums) = &mut sums {
            sums.router.add_gradients(input, &d_scores);
        }
        self.router.go_back(&d_scores, &mut d_input, Onto::Add);
        // 3. the expert of all
        if let Some(shared) = &self.shared {
            let sums = sums.and_then(|sums| sums.shared.as_mut());
            add(&mut d_input, &shared.go_back(config, rules, input, d_output, sums));
        }
        d_input
    }

    /// Back through the softmax or the sigmoids that shares are made by. Shapes `[n, n_experts]`.
    fn scores_back(&self, input: &[f32], chosen: &[Chosen], d_shares: &[f32]) -> Vec<f32> {
        let n_experts = self.experts.len();
        let scores = self.scores(input);
        let mut d_scores = vec![0.0; d_shares.len()]; // [n, n_experts]
        let rows = chosen.iter().zip(scores.chunks(n_experts)).zip(d_shares.chunks(n_experts));
        for (((chosen, scores), d_shares), d_scores) in rows.zip(d_scores.chunks_mut(n_experts)) {
            let factor = self.config.factor;
            let mean = match self.config.routing {
                Routing::Sigmoid => 0.0,
                _ => chosen.iter().map(|(expert, share)| share * d_shares[*expert]).sum::<f32>() / factor,
            };
            let mut back = |expert: usize, share: f32| d_scores[expert] = share * (d_shares[expert] - mean);
            match self.config.routing {
                Routing::OfChosen => chosen.iter().for_each(|(expert, share)| back(*expert, *share)),
                Routing::OfAll => {
                    let shares = all_shares(scores).into_iter().enumerate();
                    shares.for_each(|(expert, share)| back(expert, factor * share));
                }
                Routing::Sigmoid | Routing::SigmoidOfChosen => {
                    let slope = |expert: usize, share: f32| share * (1.0 - sigmoid(scores[expert]));
                    chosen.iter().for_each(|(expert, share)| back(*expert, slope(*expert, *share)));
                }
            }
        }
        d_scores
    }
}

impl SharedExpert {
    /// The gradient of the input of `sigmoid(gate · x) · expert(x)`, or of `expert(x)` where there is no gate. Shapes `[n, d_model]`.
    fn go_back(
        &self,
        config: &FeedForward,
        rules: Rules,
        input: &[f32],
        d_output: &[f32],
        mut sums: Option<&mut SharedExpert>,
    ) -> Vec<f32> {
        let Some(gate) = &self.gate else {
            let tape = ExpertTape::new(config, &self.expert, Dropout::OFF, input);
            return tape.go_back(config, &self.expert, rules, input, d_output, sums.map(|sums| &mut sums.expert));
        };
        let shares = shared_shares(gate, input);
        let weighed = Weighed { config, expert: &self.expert, shares: &shares };
        let mut back = weighed.go_back(rules, input, d_output.to_vec(), sums.as_mut().map(|sums| &mut sums.expert));
        // a sigmoid is a softmax of two
        back.d_shares.iter_mut().zip(&shares).for_each(|(d, share)| *d *= share * (1.0 - share));
        if let Some(sums) = sums.and_then(|sums| sums.gate.as_mut()) {
            sums.add_gradients(input, &back.d_shares);
        }
        gate.go_back(&back.d_shares, &mut back.d_input, Onto::Add);
        back.d_input
    }
}

/// An expert whose output counts by a share of each row.
struct Weighed<'a> {
    config: &'a FeedForward,
    expert: &'a Expert,
    /// Shape `[n]`.
    shares: &'a [f32],
}

/// What comes back through an expert.
struct WeighedBack {
    /// Shape `[n, d_model]`.
    d_input: Vec<f32>,
    /// Shape `[n]`.
    d_shares: Vec<f32>,
}

impl Weighed<'_> {
    fn go_back(self, rules: Rules, input: &[f32], mut d: Vec<f32>, sums: Option<&mut Expert>) -> WeighedBack {
        let Weighed { config, expert, shares } = self;
        let [to_share, to_output] = rules.of_product();
        let tape = ExpertTape::new(config, expert, Dropout::OFF, input);
        let mut result = vec![0.0; input.len()]; // [n, d_model]
        expert.down.forward_to(&tape.hidden, &mut result, Onto::Replace);
        let mut d_shares = vec![0.0; shares.len()]; // [n]
        let width = expert.up.d_in;
        for (row, (d_share, share)) in d_shares.iter_mut().zip(shares).enumerate() {
            let (result, d) = (&result[row * width..][..width], &mut d[row * width..][..width]);
            let dot: f64 = result.iter().zip(&*d).map(|(y, d)| f64::from(*y) * f64::from(*d)).sum();
            *d_share = dot as f32 * to_share;
            d.iter_mut().for_each(|d| *d *= share * to_output);
        }
        WeighedBack { d_input: tape.go_back(config, expert, rules, input, &d, sums), d_shares }
    }
}
