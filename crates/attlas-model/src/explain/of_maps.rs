//! What maps say of each token that a score is about: weights and norms, and what both become through the layers.

use attlas::analysis::rollout;
use attlas::{Kind, Layer, Quantity, Recording};

use super::alti::{Reach, contributions};
use super::attribution::Attribution;
use super::method::Method;
use super::norms::{NormForm, keep_value_norms, summed_norms};
use super::read::{Explained, Watch};
use crate::block::pass::{Array, Pass, Site};
use crate::run::record::Run;
use crate::{Error, RunOptions};

impl Explained<'_> {
    /// What the explained rows of a method's maps have for each token: the mean over layers and heads, or the row behind the last
    /// layer where the maps are of all layers together.
    pub(super) fn by_maps(&self, method: Method, watch: &mut Watch<'_>) -> Result<Attribution, Error> {
        let mut pass = Pass::keeping([Site::Attention, Site::Logits]);
        match method {
            Method::Weight | Method::Rollout => {}
            Method::Norm => pass.keep.extend(Pass::keeping([Site::Values]).keep),
            _ => pass.keep.extend(Pass::keeping([Site::Values, Site::Stream]).keep),
        }
        let options = RunOptions { pass, ..RunOptions::default() };
        let mut run = self.model.run_watched(std::slice::from_ref(self.input), &options, watch)?;
        let value = self.score.value(&run.logits.take().unwrap_or(Array { shape: Vec::new(), values: Vec::new() }))?;
        let quantity = self.make_maps(method, &mut run)?;
        let rows = |kind: Kind, n_keys: usize| self.mean_rows(&run.recording, quantity, kind, n_keys);
        let [n_source, n_target] = [self.input.source.len(), self.input.target.len()];
        let scores = match self.model.transformer.architecture.decoder {
            Some(_) => [rows(Kind::Cross, n_source)?, rows(Kind::Decoder, n_target)?],
            None => [rows(Kind::Encoder, n_source)?, Vec::new()],
        };
        Ok(self.attribution(method, value, scores))
    }

    /// Adds a method's maps to the recording of the run, and says what they are maps of.
    fn make_maps(&self, method: Method, run: &mut Run) -> Result<Quantity, Error> {
        let (quantity, layers) = match method {
            Method::Norm => {
                keep_value_norms(self.model, &mut run.recording)?;
                (Quantity::Norm, Vec::new())
            }
            Method::NormSum => {
                let of_kind = |kind| Ok(summed_norms(self.model, run, kind, NormForm::Sum)?.0);
                let layers: Result<Vec<_>, Error> = self.kinds().into_iter().map(of_kind).collect();
                (Quantity::Norm, layers?.concat())
            }
            Method::Alti => (Quantity::Contribution, last(contributions(self.model, run, Reach::Model)?.0)),
            Method::Rollout => {
                let own =
                    if self.model.transformer.architecture.decoder.is_some() { Kind::Decoder } else { Kind::Encoder };
                let layers = rollout(&run.recording, own).map_err(|error| match error {
                    attlas::Error::Undefined(why) => Error::Unsupported(why),
                    error => error.into(),
                })?;
                (Quantity::Rollout, last(layers))
            }
            _ => (Quantity::Weight, Vec::new()),
        };
        run.recording.layers.extend(layers);
        Ok(quantity)
    }

    /// The kinds of attention in which the explained position has a row.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let architecture = &self.model.transformer.architecture;
        let is_there = |kind: &Kind| !architecture.attention(*kind).is_empty();
        let is_explained = |kind: &Kind| architecture.decoder.is_none() || *kind != Kind::Encoder;
        Kind::ALL.into_iter().filter(is_there).filter(is_explained).collect()
    }

    /// The mean over layers and heads of a kind of the explained rows. Shape `[n_keys]`.
    fn mean_rows(
        &self,
        recording: &Recording,
        quantity: Quantity,
        kind: Kind,
        n_keys: usize,
    ) -> Result<Vec<f64>, Error> {
        let mut sums = vec![0.0; n_keys];
        let mut n_maps = 0.0_f64;
        for layer in recording.layers_in(quantity, kind) {
            for head in 0..layer.shape.n_heads {
                n_maps += 1.0;
                let row = self.explained_row(recording, &layer, head)?;
                sums.iter_mut().zip(row).for_each(|(sum, number)| *sum += number);
            }
        }
        sums.iter_mut().for_each(|sum| *sum /= n_maps.max(1.0));
        Ok(sums)
    }

    /// The explained rows of a map, each by what it counts. Shape `[n_keys]`.
    pub(super) fn explained_row(&self, recording: &Recording, layer: &Layer, head: usize) -> Result<Vec<f64>, Error> {
        let map = recording.map_of(layer, 0, head)?;
        let mut sums = vec![0.0; map.n_keys()];
        for (row, counts) in self.model.explained_rows(&self.score, map.n_queries()) {
            sums.iter_mut().zip(map.row(row)).for_each(|(sum, number)| *sum += counts * f64::from(number));
        }
        Ok(sums)
    }
}

/// The last layer of each kind.
fn last(layers: Vec<Layer>) -> Vec<Layer> {
    let of_kind =
        |kind: Kind| layers.iter().filter(|layer| layer.kind == kind).max_by_key(|layer| layer.index).cloned();
    Kind::ALL.into_iter().filter_map(of_kind).collect()
}
