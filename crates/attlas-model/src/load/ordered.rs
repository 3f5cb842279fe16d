//! Rows of stored matrices in another order than theirs.

use std::sync::Arc;

use attlas_kernels::Precision;

use super::{Loader, Part, ProjectionNames, ended};
use crate::Error;
use crate::block::linear::{Linear, Weight};
use crate::block::weights::Projections;
use crate::config::Attention;

/// Rows of a linear layer: row `r` of `n` is its row `place(r)`.
pub(super) struct Ordered {
    /// The layer.
    pub part: Part,
    /// How many rows are taken.
    pub n: usize,
    /// Where each is stored.
    pub place: Arc<dyn Fn(usize) -> usize + Send + Sync>,
}

impl Loader<'_> {
    /// Some rows of a linear layer: row `r` of `n` is its row `place(r)`.
    pub(super) fn some_rows(
        &self,
        part: &Part,
        d_in: usize,
        n: usize,
        place: impl Fn(usize) -> usize + Send + Sync + 'static,
    ) -> Result<Linear, Error> {
        let part = Part { name: part.name.clone(), ..*part };
        self.in_order(&[Ordered { part, n, place: Arc::new(place) }], d_in)
    }

    /// Rows of several linear layers of the same input, one above the other; what has no bias gets zeros when another part has one.
    pub(super) fn in_order(&self, parts: &[Ordered], d_in: usize) -> Result<Linear, Error> {
        let d_out = parts.iter().map(|part| part.n).sum();
        let weight = match self.in_order_as_stored(parts, d_in)? {
            Some(weight) => weight,
            None => {
                let mut rows = Vec::with_capacity(d_out * d_in); // [d_out, d_in]
                for Ordered { part, n, place } in parts {
                    let all = self.as_numbers(std::slice::from_ref(part), d_in)?;
                    (0..*n).for_each(|row| rows.extend_from_slice(&all[place(row) * d_in..][..d_in]));
                }
                Weight::Rows(Arc::new(rows))
            }
        };
        let mut bias = Vec::new(); // [d_out]
        if parts.iter().any(|part| part.part.bias) {
            for Ordered { part, n, place } in parts {
                match part.bias {
                    true => {
                        let all = self.checkpoint.tensor(&ended(&part.name, "bias"), &[part.d_out])?;
                        bias.extend((0..*n).map(|row| all[place(row)]));
                    }
                    false => bias.resize(bias.len() + n, 0.0),
                }
            }
        }
        let bias = (!bias.is_empty()).then(|| Arc::new(bias));
        Ok(Linear { weight, bias, d_in, d_out, precision: Precision::Exact })
    }

    /// The matrix in the type of its files; `None` where it cannot stay so.
    fn in_order_as_stored(&self, parts: &[Ordered], d_in: usize) -> Result<Option<Weight>, Error> {
        let names: Vec<String> = parts.iter().map(|part| ended(&part.part.name, "weight")).collect();
        let mut sources = Vec::with_capacity(parts.len());
        for (Ordered { part, n, place }, name) in parts.iter().zip(&names) {
            let Some(rows) = self.stored_rows(name, part.d_out, d_in)? else { return Ok(None) };
            let place = Arc::clone(place);
            sources.push((rows.ordered(move |row| place(row)), *n, name.as_str()));
        }
        self.coded(&sources, d_in)
    }

    /// Queries, keys and values where the layer of queries holds gates, too: for each head its query, then its gate. The
    /// gates are the second.
    pub(super) fn gated(
        &self,
        config: &Attention,
        names: &ProjectionNames,
        layer: &str,
        d_model: usize,
    ) -> Result<(Projections, Option<Linear>), Error> {
        let ProjectionNames::Separate { query, key, value } = names else {
            return Err(Error::Plan(format!("{layer} has no gates beside its queries")));
        };
        let (n, d, kv, biases) = (config.query_width(), config.d_head, config.key_width(), config.biases);
        let part = |name: &str, d_out: usize, bias: bool| Part { name: format!("{layer}{name}"), d_out, bias };
        let whole = |part: Part| Ordered { n: part.d_out, part, place: Arc::new(|row| row) };
        let both = || part(query, 2 * n, biases.query_value);
        let queries = Ordered { part: both(), n, place: Arc::new(move |row| row / d * 2 * d + row % d) };
        let (keys, values) = (whole(part(key, kv, biases.key)), whole(part(value, kv, biases.query_value)));
        let joint = self.in_order(&[queries, keys, values], d_model)?;
        let gate = self.some_rows(&both(), d_model, n, move |row| row / d * 2 * d + d + row % d)?;
        Ok((Projections::Joint(joint), Some(gate)))
    }
}
