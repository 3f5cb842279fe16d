//! What attention does not show: what a model computes is taken apart, or changed and measured again.

mod alti;
mod norms;
mod parts;

pub use alti::{Reach, contributions};
pub use norms::{Mixing, NormForm, Shares, keep_value_norms, mixing, summed_norms};

use attlas::Layer;

use crate::Error;
use crate::block::pass::{Pass, Site};

/// The most numbers of dense maps that one explanation may make: 1 GiB of f32.
const MAX_NUMBERS: usize = 1 << 28;

/// The plan of a run that [`summed_norms`], [`mixing`] and [`contributions`] can be computed from: it keeps weights, values and the
/// residual stream.
pub fn traced() -> Pass {
    Pass::keeping([Site::Attention, Site::Values, Site::Stream])
}

/// Refuses maps of one number per query and key that would not fit in memory.
fn check_size<'a>(what: &str, n_items: usize, layers: impl Iterator<Item = &'a Layer>) -> Result<(), Error> {
    let of_layer = |layer: &Layer| layer.shape.n_queries.saturating_mul(layer.shape.n_keys);
    let needed = layers.map(of_layer).fold(0_usize, usize::saturating_add).saturating_mul(n_items);
    match needed <= MAX_NUMBERS {
        true => Ok(()),
        false => Err(Error::Limit(format!(
            "{what} would take {needed} numbers, one for each query and key of each layer, more than the limit of \
             {MAX_NUMBERS}; a shorter text is needed"
        ))),
    }
}
