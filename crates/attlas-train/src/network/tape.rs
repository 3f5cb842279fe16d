//! Gradients by the chain rule: a pass leaves one step back per operation, and the steps are walked from the last to the first.

use std::rc::Rc;

/// What an operation made. Shape `[n, d_model]`.
#[derive(Debug, Clone)]
pub struct Activation {
    /// The numbers. Shared with the steps back that need them.
    pub values: Rc<Vec<f32>>,
    /// Where its gradient is summed: the number of the step that leads back from it.
    place: usize,
}

/// The parameters that an operation reads.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a> {
    /// The variable's values.
    pub values: &'a [f32],
    /// Which variable it is: its gradient's place in [`Gradients::parameters`].
    pub variable: usize,
}

/// The steps back of a pass, in the order in which its operations ran.
pub struct Tape<'a> {
    /// `None` where there is no way back.
    steps: Option<Vec<Step<'a>>>,
}

/// Takes the gradient of what the operation made, and adds to those of what it was made of.
type Step<'a> = Box<dyn FnOnce(&[f32], &mut Gradients<'_>) + 'a>;

/// The gradients of a walk back.
#[derive(Debug)]
pub struct Gradients<'p> {
    /// Of each activation, from its first use that was walked until its own step.
    activations: Vec<Option<Vec<f32>>>,
    /// Sums over the uses of a parameter, one vector per variable.
    pub parameters: &'p mut [Vec<f32>],
}

impl Gradients<'_> {
    /// Adds to the gradient of an activation; several operations may have read it.
    pub fn add(&mut self, to: &Activation, gradient: Vec<f32>) {
        match &mut self.activations[to.place] {
            Some(sum) => add(sum, &gradient),
            none => *none = Some(gradient),
        }
    }
}

/// `sum += values`.
pub fn add(sum: &mut [f32], values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}

impl<'a> Tape<'a> {
    /// A tape that keeps the way back.
    pub fn recording() -> Tape<'a> {
        Tape { steps: Some(Vec::new()) }
    }

    /// A tape that keeps nothing.
    pub fn off() -> Tape<'a> {
        Tape { steps: None }
    }

    /// The activation of an operation that made `values`, and its step back.
    pub fn push(&mut self, values: Vec<f32>, step: impl FnOnce(&[f32], &mut Gradients<'_>) + 'a) -> Activation {
        let mut place = 0;
        if let Some(steps) = &mut self.steps {
            place = steps.len();
            steps.push(Box::new(step));
        }
        Activation { values: Rc::new(values), place }
    }

    /// Walks back from `last`, whose gradient is `gradient`: adds those of all parameters to `parameters`, one sum per
    /// variable.
    pub fn walk_back(self, last: &Activation, gradient: Vec<f32>, parameters: &mut [Vec<f32>]) {
        let steps = self.steps.unwrap_or_default();
        let mut gradients = Gradients { activations: vec![None; steps.len()], parameters };
        gradients.add(last, gradient);
        for (place, step) in steps.into_iter().enumerate().rev() {
            // what nothing was made of has no gradient
            if let Some(gradient) = gradients.activations[place].take() {
                step(&gradient, &mut gradients);
            }
        }
    }
}
