//! How much a recording may hold: small files can ask for a lot, and what could not be read back is not written.

use crate::{Error, Item, Recording, Tokens};

/// The most layers of a recording.
pub(crate) const MAX_LAYERS: usize = 1 << 14;
/// The most maps: heads of all layers, for each text.
const MAX_MAPS: usize = 1 << 22;
/// The most texts of a recording.
pub(crate) const MAX_TEXTS: usize = 1 << 16;
/// The most heads of a layer.
pub(crate) const MAX_HEADS: usize = 1 << 16;
/// The most named axes of all texts together.
const MAX_AXES: usize = 1 << 16;
/// The most tokens of all axes of all texts together; as JSON, more do not fit into [`MAX_HEADER`].
pub(crate) const MAX_TOKENS: usize = 1 << 21;
/// The most bytes of a safetensors header that other readers take.
pub(super) const MAX_HEADER: usize = 100_000_000;

/// Refuses more than `limit` of anything.
pub(crate) fn at_most(limit: usize, things: &'static str, n: usize, what: impl Into<String>) -> Result<(), Error> {
    match n <= limit {
        true => Ok(()),
        false => Err(Error::TooMany { what: what.into(), n, things, limit }),
    }
}

impl Recording {
    /// Refuses more layers, texts, heads, axes and tokens than a recording may have.
    pub(super) fn check_limits(&self) -> Result<(), Error> {
        const WHAT: &str = "the recording";
        at_most(MAX_LAYERS, "layers", self.layers.len(), WHAT)?;
        at_most(MAX_TEXTS, "texts", self.items.len(), WHAT)?;
        for layer in &self.layers {
            at_most(MAX_HEADS, "heads", layer.shape.n_heads, layer.to_string())?;
        }
        let n_heads: usize = self.layers.iter().map(|layer| layer.shape.n_heads).sum();
        at_most(MAX_MAPS, "maps", n_heads.saturating_mul(self.items.len()), WHAT)?;
        at_most(MAX_AXES, "named axes", self.items.iter().map(|item| item.axes.len()).sum(), WHAT)?;
        at_most(MAX_TOKENS, "tokens", self.items.iter().map(n_tokens).sum(), WHAT)
    }
}

/// The tokens of all axes of a text.
fn n_tokens(item: &Item) -> usize {
    let axes: usize = item.axes.values().map(Tokens::len).sum();
    item.source.len() + item.target.len() + item.predicted.len() + axes
}
