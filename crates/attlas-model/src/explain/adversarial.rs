//! The most different map that keeps the output, sought by gradient (Jain and Wallace 2019, §4.2.2).
//!
//! `max JSD(A, A′)` while the output moves by no more than a budget, as total variation: scores are moved along the gradient of
//! the maps' divergence, less that of what the output moves beyond the budget. What is found is a map that would say something
//! else of the same output; that none is found says that none was found within so many steps.

use attlas::SplitMix64;
use attlas::analysis::{divergence, total_variation};
use attlas::attention::reference;
use attlas::recording::{Edit, NewWeights};

use super::faithfulness::{Disturbed, Shift};
use super::knock_out::{Baseline, KindHead, Watch};
use super::score::{Form, Score, distribution};
use crate::run::backward::Backward;
use crate::{Array, Error, Keep, Next, Pass, Site};

/// How the map is sought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Search {
    /// How far the output may move, as total variation, mean over its rows.
    pub budget: f64,
    /// Steps; each is a run and the way back.
    pub n_steps: usize,
    /// Where the search begins, unless it goes on from a map.
    pub seed: u64,
}

/// How far a score moves in a step, about.
const RATE: f64 = 0.3;
/// What the output's moving beyond the budget weighs against the maps' divergence.
const PENALTY: f64 = 500.0;

impl Baseline<'_> {
    /// The most different map of a head that was found to keep the output within the budget; `None` where none of the steps did.
    /// The search goes on from the most different of the maps that were tried before and keep it, so that what it finds differs as
    /// much as they do at least; where none is given or keeps it, from beside the model's own.
    ///
    /// # Errors
    /// When there is no such head, or no gradient (DeBERTa), or as [`Baseline::values`].
    pub fn adversarial(
        &self,
        head: KindHead,
        tried: Option<&Disturbed>,
        search: Search,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Shift>, Error> {
        self.check_head(head)?;
        let rows = self.map_rows(head)?;
        let from = tried.and_then(|tried| tried.most_different_of(search.budget));
        let mut best = from.as_ref().map(|(_, moved)| *moved);
        let mut scores = match from {
            Some((to, _)) => scores_of(self.changed_rows(head, &rows, &to).iter().flatten()),
            None => beside(scores_of(rows.iter().flat_map(|row| &row.weights)), head, search.seed),
        };
        let mut adam = Adam::new(scores.len());
        for step in 0..search.n_steps {
            if watch(step) == Next::Stop {
                return Err(Error::Stopped);
            }
            let weights = weighed(&rows, &scores);
            let of_maps = mean_divergence(&rows, &weights);
            let (moved, slopes) = self.slopes(head, &rows, &weights)?;
            if moved[0] <= search.budget && best.is_none_or(|best| of_maps > best.of_maps) {
                best = Some(Shift { tvd: moved[0], jsd: moved[1], of_maps });
            }
            let penalty = if moved[0] > search.budget { PENALTY } else { 0.0 };
            let down = descent(&rows, &weights, &slopes, penalty);
            adam.step(&mut scores, &down);
        }
        Ok(best)
    }

    /// How far the output moves with these weights (total variation, Jensen–Shannon divergence), and the slope of the first with
    /// respect to each weight.
    fn slopes(&self, head: KindHead, rows: &[MapRow], weights: &[f64]) -> Result<([f64; 2], Vec<f64>), Error> {
        let KindHead { kind, head: id } = head;
        let layer = self.run.recording.layer(kind, id.layer)?;
        let (n_queries, n_keys) = (layer.shape.n_queries, layer.shape.n_keys);
        let mut values = vec![0.0_f32; n_queries * n_keys]; // [queries, keys]
        let places = rows.iter().flat_map(|row| row.keys.iter().map(move |key| row.query * n_keys + key));
        places.clone().zip(weights).for_each(|(place, weight)| values[place] = *weight as f32);
        let to = NewWeights::Given(Array { shape: vec![1, 1, n_queries, n_keys], values });
        let pass = Pass { edits: vec![Edit::Weights { heads: head.heads(), to }], ..Pass::keeping([]) };
        let keep = vec![Keep { site: Site::Attention, kind: Some(kind), layers: Some(vec![id.layer]) }];
        let options = Backward { keep, ..Backward::default() };
        let mut moved = [0.0; 2];
        let mut score = |logits: &Array| {
            let (found, slope) = self.total_variation(logits)?;
            moved = found;
            Ok(slope)
        };
        let input = std::slice::from_ref(&self.input);
        let found = self.model().backward(input, &pass, &options, &mut score)?;
        let absent = || Error::Plan(format!("there is no gradient of {kind} layer {}", id.layer));
        let gradient = found.of(Site::Attention, kind, id.layer).ok_or_else(absent)?;
        let own = &gradient.values[id.head * n_queries * n_keys..][..n_queries * n_keys];
        Ok((moved, places.map(|place| f64::from(own[place])).collect()))
    }

    /// How far an output is from the unchanged one, and the slope of its total variation. Shape of the slope: as the logits.
    fn total_variation(&self, logits: &Array) -> Result<([f64; 2], Vec<f32>), Error> {
        let mut slope = vec![0.0_f32; logits.values.len()];
        let n = self.unchanged.rows.len().max(1) as f64;
        let [mut tvd, mut jsd] = [0.0; 2];
        for &position in &self.unchanged.rows {
            let score = Score { item: 0, position, target: 0, foil: None, form: Form::Logit };
            let (row, before) = (score.row(logits)?, score.row(&self.unchanged.logits)?);
            let (p, q) = (distribution(row), distribution(before));
            tvd += total_variation(&p, &q) / n;
            jsd += divergence(&p, &q) / n;
            // ∂ ½Σ|p − q| / ∂x_j = ½ p_j (sign_j − Σ_i p_i sign_i)
            let signs: Vec<f64> = p.iter().zip(&q).map(|(p, q)| (p - q).signum()).collect();
            let mean: f64 = p.iter().zip(&signs).map(|(p, sign)| p * sign).sum();
            let slots = &mut slope[position.unwrap_or(0) * row.len()..][..row.len()];
            for (slot, (p, sign)) in slots.iter_mut().zip(p.iter().zip(&signs)) {
                *slot = (0.5 * p * (sign - mean) / n) as f32;
            }
        }
        Ok(([tvd, jsd], slope))
    }
}

/// Scores whose softmax these weights are.
fn scores_of<'w>(weights: impl Iterator<Item = &'w f64>) -> Vec<f64> {
    weights.map(|weight| weight.max(1e-9).ln()).collect()
}

/// Other scores near these: near the model's own map the divergence has no slope.
fn beside(mut scores: Vec<f64>, head: KindHead, seed: u64) -> Vec<f64> {
    let mut random = SplitMix64::at(seed, &[head.head.layer, head.head.head]);
    scores.iter_mut().for_each(|score| *score += random.below(1 << 20) as f64 / f64::from(1 << 19) - 1.0);
    scores
}

/// A row of a head's map: what it may see, and how it shares its weight.
#[derive(Debug, Clone)]
pub(super) struct MapRow {
    pub query: usize,
    /// The visible keys.
    pub keys: Vec<usize>,
    /// Their weights, in that order.
    pub weights: Vec<f64>,
}

impl MapRow {
    /// The weight that no key has: what a learnt sink takes, 0 where there is none.
    pub fn rest(&self) -> f64 {
        rest(&self.weights)
    }

    /// How far other weights of the same keys are from the row's, as Jensen–Shannon divergence: what goes to no key counts as a place.
    pub fn divergence(&self, weights: &[f64]) -> f64 {
        let whole = |weights: &[f64]| [weights, &[rest(weights)]].concat();
        divergence(&whole(&self.weights), &whole(weights))
    }
}

fn rest(weights: &[f64]) -> f64 {
    (1.0 - weights.iter().sum::<f64>()).max(0.0)
}

/// The weights of scores, row by row; a row keeps the sum that it had (a learnt sink takes the rest).
fn weighed(rows: &[MapRow], scores: &[f64]) -> Vec<f64> {
    let mut weights = scores.to_vec();
    let mut rest = &mut weights[..];
    for row in rows {
        let (own, others) = rest.split_at_mut(row.keys.len());
        let lse = reference::log_sum_exp(own, f64::NEG_INFINITY);
        reference::weigh(own, lse);
        let whole: f64 = row.weights.iter().sum();
        own.iter_mut().for_each(|weight| *weight *= whole);
        rest = others;
    }
    weights
}

fn mean_divergence(rows: &[MapRow], weights: &[f64]) -> f64 {
    let mut start = 0;
    let mut sum = 0.0;
    for row in rows {
        sum += row.divergence(&weights[start..][..row.keys.len()]);
        start += row.keys.len();
    }
    sum / rows.len().max(1) as f64
}

/// The gradient, with respect to the scores, of `penalty · TVD − JSD`.
fn descent(rows: &[MapRow], weights: &[f64], slopes: &[f64], penalty: f64) -> Vec<f64> {
    let mut down = Vec::with_capacity(weights.len());
    for row in rows {
        let range = down.len()..down.len() + row.keys.len();
        let (changed, slopes) = (&weights[range.clone()], &slopes[range]);
        // ∂JSD(p, q)/∂q = ½ ln (q/m), m their mean
        let of_map = |p: f64, q: f64| 0.5 * (2.0 * q.max(1e-300) / (p + q).max(1e-300)).ln() / rows.len() as f64;
        let own: Vec<f64> = row
            .weights
            .iter()
            .zip(changed)
            .zip(slopes)
            .map(|((p, q), slope)| penalty * slope - of_map(*p, *q))
            .collect();
        let whole: f64 = changed.iter().sum();
        let mean = own.iter().zip(changed).map(|(slope, q)| slope * q).sum::<f64>() / whole.max(1e-300);
        down.extend(own.iter().zip(changed).map(|(slope, q)| q * (slope - mean)));
    }
    down
}

/// Steps of about one size, whatever the gradient's (Kingma and Ba 2015).
struct Adam {
    n: i32,
    means: Vec<f64>,
    squares: Vec<f64>,
}

impl Adam {
    fn new(n: usize) -> Adam {
        Adam { n: 0, means: vec![0.0; n], squares: vec![0.0; n] }
    }

    fn step(&mut self, numbers: &mut [f64], slopes: &[f64]) {
        self.n += 1;
        let (fresh, fresh_square) = (1.0 - 0.9_f64.powi(self.n), 1.0 - 0.999_f64.powi(self.n));
        for (place, slope) in slopes.iter().enumerate() {
            self.means[place] = 0.9 * self.means[place] + 0.1 * slope;
            self.squares[place] = 0.999 * self.squares[place] + 0.001 * slope * slope;
            let size = (self.squares[place] / fresh_square).sqrt();
            numbers[place] -= RATE * self.means[place] / fresh / (size + 1e-12);
        }
    }
}
