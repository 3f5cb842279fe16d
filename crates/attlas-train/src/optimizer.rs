//! Adam (Kingma & Ba 2015) with the learning-rate schedules of Transformer training, and an average of the weights.

use serde::{Deserialize, Serialize};

/// First and second decay of Adam, as in Vaswani et al. 2017, §5.3.
const BETAS: (f64, f64) = (0.9, 0.98);
const EPSILON: f64 = 1e-9;

/// How the learning rate falls after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// As `1/√step` (Vaswani et al. 2017); the end of the budget does not matter.
    InverseSqrt,
    /// As half a cosine, to 0 at the end of the budget.
    Cosine,
    /// As a line, to 0 at the end of the budget.
    Linear,
}

/// The learning rate over a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The highest learning rate.
    pub peak: f64,
    /// Steps in which it rises to the peak.
    pub warm_up: u64,
    /// How it falls.
    pub decay: Decay,
}

impl Schedule {
    /// The learning rate of step `step` (from 1), when `progress` (0 to 1) of the budget is used.
    pub fn learning_rate(&self, step: u64, progress: f64) -> f64 {
        let warm_up = self.warm_up.max(1) as f64;
        let rise = (step as f64 / warm_up).min(1.0);
        let progress = progress.clamp(0.0, 1.0);
        let fall = match self.decay {
            Decay::InverseSqrt => (warm_up / (step as f64).max(warm_up)).sqrt(),
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Decay::Linear => 1.0 - progress,
        };
        self.peak * rise * fall
    }
}

/// The optimizer's memory, one vector per variable.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// Decayed mean of the gradients.
    pub mean: Vec<Vec<f32>>,
    /// Decayed mean of their squares.
    pub square: Vec<Vec<f32>>,
    /// Exponential moving average of the weights; empty when none is kept.
    pub average: Vec<Vec<f32>>,
}

impl State {
    /// The state before the first step.
    pub fn new(values: &[Vec<f32>], average: bool) -> State {
        let zeros: Vec<Vec<f32>> = values.iter().map(|values| vec![0.0; values.len()]).collect();
        State { mean: zeros.clone(), square: zeros, average: if average { values.to_vec() } else { Vec::new() } }
    }
}

/// One step's numbers.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Counted from 1.
    pub step: u64,
    /// This step's learning rate.
    pub learning_rate: f64,
    /// Factor of all gradients: clipping.
    pub gradient_scale: f32,
    /// Decay of the average; see [`average_decay`].
    pub average_decay: f32,
}

/// The decay of the average at `step`: rises to `decay`, so that early weights do not linger.
pub fn average_decay(decay: f64, step: u64) -> f32 {
    decay.min((1.0 + step as f64) / (10.0 + step as f64)) as f32
}

/// The Euclidean norm of all gradients together.
pub fn norm(gradients: &[Vec<f32>]) -> f64 {
    let squares = |values: &Vec<f32>| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
    gradients.iter().map(squares).sum::<f64>().sqrt()
}

/// Adam's step on every variable.
pub fn update(variables: &mut [Vec<f32>], gradients: &[Vec<f32>], state: &mut State, step: Step) {
    let Step { step, learning_rate, gradient_scale, average_decay } = step;
    let exponent = i32::try_from(step).unwrap_or(i32::MAX);
    let correction = (1.0 - BETAS.1.powi(exponent)).sqrt() / (1.0 - BETAS.0.powi(exponent));
    let rate = (learning_rate * correction) as f32;
    // Adam's ε belongs to the corrected root; here it is divided by the same correction
    let epsilon = (EPSILON * (1.0 - BETAS.1.powi(exponent)).sqrt()) as f32;
    let (beta_1, beta_2) = (BETAS.0 as f32, BETAS.1 as f32);
    let memory = state.mean.iter_mut().zip(&mut state.square);
    for ((values, gradients), (mean, square)) in variables.iter_mut().zip(gradients).zip(memory) {
        for (((value, gradient), mean), square) in values.iter_mut().zip(gradients).zip(mean).zip(square) {
            let gradient = gradient * gradient_scale;
            *mean = beta_1 * *mean + (1.0 - beta_1) * gradient;
            *square = beta_2 * *square + (1.0 - beta_2) * gradient * gradient;
            *value -= rate * *mean / (square.sqrt() + epsilon);
        }
    }
    for (average, values) in state.average.iter_mut().zip(variables.iter()) {
        for (average, value) in average.iter_mut().zip(values) {
            *average += (1.0 - average_decay) * (*value - *average);
        }
    }
}
