//! The weights of the readout.

use attlas_kernels::Precision;
use std::sync::Arc;

use super::rearrange::mean_of_two;
use super::{Loader, ReadoutNames, ended};
use crate::Error;
use crate::block::linear::{Linear, Weight};
use crate::block::norm::NormWeights;
use crate::block::weights::{ContactWeights, ReadoutWeights};
use crate::config::{Output, Pooled, Readout, Stack, Transform};

impl Loader<'_> {
    /// The matrix without which there is no readout, where the weights lack it: those of embedding models do.
    ///
    /// `table_len` is how many numbers the token table has, which stands in for a matrix that is tied.
    pub(super) fn absent_readout(&self, readout: &Readout, names: &ReadoutNames, table_len: usize) -> Option<String> {
        let name = match readout {
            Readout::None => return None,
            Readout::Classes { pooled: Pooled::FirstTwo, .. } => ended(names.output, "weight"),
            Readout::Tokens { output, n_tokens, transform, .. } => {
                let width = transform.map_or(table_len / n_tokens.max(&1), |transform| transform.width);
                let is_tied = match output {
                    Output::Own => false,
                    Output::OwnOrTied => table_len == n_tokens * width && !self.checkpoint.contains(names.output),
                    Output::Tied => true,
                };
                match (is_tied, transform) {
                    (false, _) => names.output.to_owned(),
                    (true, Some(_)) => ended(&names.transform.replace("{}", self.prefix), "weight"),
                    (true, None) => return None,
                }
            }
            Readout::Classes { .. } | Readout::Positions { .. } | Readout::Objects { .. } => names.output.to_owned(),
        };
        (!self.checkpoint.contains(&name)).then_some(name)
    }

    /// The readout behind `stack`, whose token table is `table`, of shape `[n_tokens, width]`.
    pub(super) fn readout(
        &self,
        readout: &Readout,
        names: &ReadoutNames,
        stack: &Stack,
        table: &Weight,
    ) -> Result<ReadoutWeights, Error> {
        let (transform, d_in) = match readout {
            Readout::None => return Ok(ReadoutWeights::default()),
            Readout::Classes { n, pooled: Pooled::FirstTwo, .. } => {
                let first = self.linear(names.output, *n, stack.d_model, true)?;
                let second = self.linear(names.second, *n, stack.d_model, true)?;
                return Ok(ReadoutWeights { output: Some(mean_of_two(&first, &second)), ..ReadoutWeights::default() });
            }
            Readout::Tokens { transform, .. } | Readout::Positions { transform } => (transform, stack.d_model),
            Readout::Classes { transform, pooled, .. } => (transform, stack.d_model * pooled.n_parts()),
            Readout::Objects { .. } => (&None, stack.d_model),
        };
        let width = transform.map_or(d_in, |config| config.width);
        let (weight, bias, d_out) = match readout {
            Readout::Tokens { n_tokens, bias, output, .. } => {
                let bias = if *bias { self.readout_bias(names, *n_tokens)? } else { None };
                (self.output_matrix(*output, names, [*n_tokens, width], table)?, bias, *n_tokens)
            }
            Readout::Classes { n, .. } | Readout::Objects { n } => {
                (self.table(names.output, [*n, width])?, self.readout_bias(names, *n)?, *n)
            }
            _ => (self.table(names.output, [1, width])?, self.readout_bias(names, 1)?, 1),
        };
        let output = Some(Linear { weight, bias, d_in: width, d_out, precision: Precision::Exact });
        let transform = self.readout_transform(transform, names, d_in)?;
        let boxes = if let Readout::Objects { .. } = readout { self.boxes(names, stack.d_model)? } else { Vec::new() };
        Ok(ReadoutWeights { transform, output, boxes, contacts: None })
    }

    /// The three layers that read a box of a hidden state.
    fn boxes(&self, names: &ReadoutNames, d_model: usize) -> Result<Vec<Linear>, Error> {
        let layer = |name: &str, place: usize| name.replace("{}", &place.to_string());
        let fits = |name: &&&str| self.checkpoint.contains(&ended(&layer(name, 0), "weight"));
        let name = names.boxes.iter().find(fits).or(names.boxes.first()).copied().unwrap_or_default();
        let widths = [d_model, d_model, 4].into_iter().enumerate();
        widths.map(|(place, d_out)| self.linear(&layer(name, place), d_out, d_model, true)).collect()
    }

    /// What reads contacts off the maps of `stack`, where the weights hold it.
    pub(super) fn contacts(&self, names: &ReadoutNames, stack: &Stack) -> Result<Option<ContactWeights>, Error> {
        let name = format!("{}{}", self.prefix, names.contacts);
        if names.contacts.is_empty() || !self.checkpoint.contains(&ended(&name, "weight")) {
            return Ok(None);
        }
        let n_heads = stack.own_attention().map(|(_, attention)| attention.n_heads).sum();
        let weight = self.checkpoint.tensor(&ended(&name, "weight"), &[1, n_heads])?.to_vec();
        let bias = self.checkpoint.tensor(&ended(&name, "bias"), &[1])?.iter().sum();
        Ok(Some(ContactWeights { weight, bias }))
    }

    /// The matrix of a language model: stored, or the token table. Shape `[n_tokens, width]`.
    fn output_matrix(
        &self,
        output: Output,
        names: &ReadoutNames,
        shape: [usize; 2],
        table: &Weight,
    ) -> Result<Weight, Error> {
        let fits = table.len() == shape[0] * shape[1];
        match output {
            // a tied matrix may be stored a second time; the table is what counts
            Output::Tied => {
                self.checkpoint.ignore(names.output);
                Ok(table.clone())
            }
            Output::OwnOrTied if fits && !self.checkpoint.contains(names.output) => Ok(table.clone()),
            Output::Own | Output::OwnOrTied => self.table(names.output, shape),
        }
    }

    /// The bias under the first of its names that there is. Shape `[d_out]`.
    fn readout_bias(&self, names: &ReadoutNames, d_out: usize) -> Result<Option<Arc<Vec<f32>>>, Error> {
        let found = names.bias.iter().find(|name| self.checkpoint.contains(name)).or(names.bias.first());
        let Some(name) = found else { return Ok(None) };
        let one_row = self.checkpoint.get(name).is_some_and(|tensor| tensor.shape == [1, d_out]);
        let shape: &[usize] = if one_row { &[1, d_out] } else { &[d_out] };
        self.checkpoint.tensor(name, shape).map(Some)
    }

    /// The dense layer before the output matrix, and its norm.
    fn readout_transform(
        &self,
        transform: &Option<Transform>,
        names: &ReadoutNames,
        d_in: usize,
    ) -> Result<Option<(Linear, Option<NormWeights>)>, Error> {
        let Some(config) = transform else { return Ok(None) };
        let dense = match names.transform {
            // the norm alone
            "" => identity(d_in),
            name => self.linear(&name.replace("{}", self.prefix), config.width, d_in, config.bias)?,
        };
        let norm = config.norm.as_ref().map(|norm| self.norm(norm, names.transform_norm, config.width)).transpose()?;
        Ok(Some((dense, norm)))
    }
}

/// A layer that gives what it reads.
fn identity(width: usize) -> Linear {
    let mut rows = vec![0.0; width * width]; // [width, width]
    rows.iter_mut().step_by(width + 1).for_each(|x| *x = 1.0);
    Linear::new(rows, None, width, width)
}
