//! How important each head is by the slope of the loss: `I_h = E_x |∂L(x)/∂ξ_h|`, `ξ_h` a factor on the head's output that is 1.
//!
//! By the chain rule `∂L/∂ξ_h = Σ_q z_h(q) · ∂L/∂z_h(q)`, so one pass forwards and one back give it for all heads (Michel et al. 2019,
//! §4.1). The absolute value is taken of each text, not of the sum over texts, in which texts cancel. It is a slope: what a
//! head is worth when it is taken away altogether is measured by a knock-out.

use attlas::HeadId;

use super::knock_out::KindHead;
use super::score::{Metric, Unchanged};
use crate::run::backward::Backward;
use crate::{Array, Error, Input, Keep, Model, Pass, Site};

/// What each head is worth, by the slope of the loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Importance {
    /// Every head, encoder, decoder, cross.
    pub heads: Vec<KindHead>,
    /// `∂L/∂ξ_h` of each text, with its sign. Shape `[texts][heads]`.
    pub slopes: Vec<Vec<f64>>,
}

impl Importance {
    /// The mean over the texts of the slopes' sizes. Shape `[heads]`.
    pub fn means(&self) -> Vec<f64> {
        let n = self.slopes.len().max(1) as f64;
        (0..self.heads.len()).map(|head| self.slopes.iter().map(|text| text[head].abs()).sum::<f64>() / n).collect()
    }

    /// The same, the heads of each layer divided by the root of the sum of their squares: layers compare by the order of their heads
    /// alone. Shape `[heads]`.
    pub fn by_layer(&self) -> Vec<f64> {
        let means = self.means();
        let of_layer = |head: &KindHead| {
            let same = self
                .heads
                .iter()
                .zip(&means)
                .filter(|(other, _)| (other.kind, other.head.layer) == (head.kind, head.head.layer));
            same.map(|(_, mean)| mean * mean).sum::<f64>().sqrt()
        };
        let divided = |(head, mean): (&KindHead, &f64)| {
            let length = of_layer(head);
            if length > 0.0 { mean / length } else { 0.0 }
        };
        self.heads.iter().zip(&means).map(divided).collect()
    }
}

impl Model {
    /// The importance of every head for a metric, over texts; `metric` says of each text what is measured.
    ///
    /// # Errors
    /// When the model has no gradient (DeBERTa), or a metric has none: those that compare with the unchanged output are 0 there, and
    /// so is their slope.
    pub fn head_importance(
        &self,
        inputs: &[Input],
        metric: &dyn Fn(&Input, &Unchanged) -> Result<Metric, Error>,
    ) -> Result<Importance, Error> {
        let heads = self.heads();
        let slopes = inputs.iter().map(|input| self.slopes(input, &heads, metric)).collect::<Result<_, _>>()?;
        Ok(Importance { heads, slopes })
    }

    /// The slopes of one text. Shape `[heads]`.
    fn slopes(
        &self,
        input: &Input,
        heads: &[KindHead],
        metric: &dyn Fn(&Input, &Unchanged) -> Result<Metric, Error>,
    ) -> Result<Vec<f64>, Error> {
        let keep = vec![Keep { site: Site::HeadOutputs, kind: None, layers: None }];
        let options = Backward { keep: keep.clone(), ..Backward::default() };
        let pass = Pass { keep, edits: Vec::new() };
        let mut score = |logits: &Array| {
            let unchanged = Unchanged::of(self, input, logits.clone());
            metric(input, &unchanged)?.gradient(&unchanged)
        };
        let found = self.backward(std::slice::from_ref(input), &pass, &options, &mut score)?;
        let slope = |KindHead { kind, head: HeadId { layer, head } }: &KindHead| -> Result<f64, Error> {
            let absent = || Error::Plan(format!("the run kept no head outputs of {kind} layer {layer}"));
            let outputs = found.run.kept(Site::HeadOutputs, *kind, *layer).ok_or_else(absent)?;
            let gradients = found.of(Site::HeadOutputs, *kind, *layer).ok_or_else(absent)?;
            let size = outputs.shape[2] * outputs.shape[3];
            let own = |array: &Array| array.values[head * size..][..size].to_vec();
            let products = own(outputs).into_iter().zip(own(gradients)).map(|(z, d)| f64::from(z) * f64::from(d));
            Ok(products.sum())
        };
        heads.iter().map(slope).collect()
    }
}

impl Metric {
    /// `∂ metric / ∂ logits` at the unchanged output. Shape as its logits.
    ///
    /// # Errors
    /// As [`Metric::value`], and for the metrics that compare with the unchanged output: their slope there is 0.
    pub fn gradient(&self, unchanged: &Unchanged) -> Result<Vec<f32>, Error> {
        match self {
            Metric::Score(score) => score.gradient(&unchanged.logits),
            Metric::Loss => unchanged.loss_gradient(),
            _ => Err(Error::Input(format!(
                "the {} from the unchanged output has its least value there, so that its slope is 0; choose the loss or a score",
                self.name()
            ))),
        }
    }
}
