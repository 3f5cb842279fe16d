//! Projections through narrower states.

use super::{LatentNames, Loader, Part};
use crate::Error;
use crate::block::weights::{LatentProjections, Narrowed, QueryProjection};
use crate::config::{Attention, Latent};

impl Loader<'_> {
    /// The projections of one layer.
    pub(super) fn latent(
        &self,
        config: &Attention,
        names: &LatentNames,
        layer: &str,
        d_model: usize,
    ) -> Result<LatentProjections, Error> {
        let no_latent = || Error::Plan(format!("{layer} has no narrower states"));
        let latent = config.latent.ok_or_else(no_latent)?;
        let under = |name: &str| format!("{layer}{name}");
        let q = config.query_width();
        let query = match latent.query_width {
            None => QueryProjection::Plain(self.linear(&under(names.query), q, d_model, false)?),
            Some(width) => {
                let [down, norm, up] = names.query_by.map(under);
                QueryProjection::Narrowed(Narrowed {
                    down: self.linear(&down, width, d_model, config.biases.query_value)?,
                    norm: self.norm(&latent.norm, &norm, width)?,
                    up: self.linear(&up, q, width, false)?,
                })
            }
        };
        Ok(LatentProjections { query, key_value: self.key_value(config, latent, names, layer, d_model)? })
    }

    /// Keys and values; what comes out of the narrower state is put in order: all keys, then all values.
    fn key_value(
        &self,
        config: &Attention,
        Latent { key_value_width: width, n_shared, norm, .. }: Latent,
        names: &LatentNames,
        layer: &str,
        d_model: usize,
    ) -> Result<Narrowed, Error> {
        let [down, norm_name, up] = names.key_value_by.map(|name| format!("{layer}{name}"));
        let (n_heads, n_own, d_value) = (config.n_heads, config.d_head - n_shared, config.d_value);
        let place = move |row: usize| match row.checked_sub(n_heads * n_own) {
            None => row / n_own * (n_own + d_value) + row % n_own,
            Some(row) => row / d_value * (n_own + d_value) + n_own + row % d_value,
        };
        let d_out = n_heads * (n_own + d_value);
        let part = Part { name: up, d_out, bias: false };
        Ok(Narrowed {
            down: self.linear(&down, width + n_shared, d_model, config.biases.key)?,
            norm: self.norm(&norm, &norm_name, width)?,
            up: self.some_rows(&part, width, d_out, place)?,
        })
    }
}
