//! Checkpoints: everything a run needs to go on as if it had never stopped, in one file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::Recipe;
use crate::network::Network;
use crate::optimizer::State;
use crate::weights::{File, Precision, write};

/// The version of the checkpoint's metadata.
pub const VERSION: u32 = 1;

/// Where a run is. Dropout and the order of the data are functions of seed, step and epoch: this is the generators' state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// [`VERSION`].
    pub version: u32,
    /// What decides the result.
    pub recipe: Recipe,
    /// A fingerprint of tokenizer and training pairs.
    pub data: u64,
    /// Steps done.
    pub step: u64,
    /// Target tokens seen.
    pub tokens: u64,
    /// Seconds of training, all runs together.
    pub seconds: f64,
    /// Passes over the data that are complete.
    pub epoch: u64,
    /// Batches of this epoch that are done.
    pub batch: usize,
    /// The best validation loss, in nats per token.
    pub best_valid: Option<f64>,
    /// Validations since then.
    pub validations_since_best: u64,
    /// Film checkpoints that are written.
    pub n_film: usize,
}

/// The checkpoint of a run in `folder`.
pub fn path(folder: &Path) -> PathBuf {
    folder.join("checkpoint.safetensors")
}

/// Writes it, whole or not at all.
///
/// # Errors
/// [`Error::Write`]: the checkpoint before stays.
pub fn save(folder: &Path, network: &Network, state: &State, position: &Position) -> Result<(), Error> {
    let mut sets: Vec<(&str, &[Vec<f32>])> =
        vec![("weights/", &network.variables), ("mean/", &state.mean), ("square/", &state.square)];
    if !state.average.is_empty() {
        sets.push(("average/", &state.average));
    }
    let path = path(folder);
    let json = serde_json::to_string(position)
        .map_err(|error| Error::File { path: path.clone(), problem: error.to_string() })?;
    write(&path, &network.groups, &sets, Precision::F32, &BTreeMap::from([("position", json)]))
}

/// Reads it.
///
/// # Errors
/// [`Error::Read`] or [`Error::File`]; a checkpoint of another configuration or other data says which field differs.
pub fn load(folder: &Path, recipe: &Recipe, data: u64) -> Result<(Network, State, Position), Error> {
    let path = path(folder);
    let file = File::open(&path)?;
    let problem = |problem: String| Error::File { path: path.clone(), problem };
    let json = file.metadata("position")?;
    let position: Position =
        serde_json::from_str(&json).map_err(|error| problem(format!("its position is damaged: {error}")))?;
    if position.version != VERSION {
        return Err(problem(format!("is of version {}; this attlas reads {VERSION}", position.version)));
    }
    if let Some(difference) = difference(&position.recipe, recipe) {
        return Err(problem(format!("is a checkpoint of another configuration: {difference}")));
    }
    if position.data != data {
        return Err(problem("was trained on other pairs or with another tokenizer".to_string()));
    }
    let groups = recipe.architecture.groups();
    let network = Network::new(recipe.architecture.clone(), file.values(&groups, "weights/")?)?;
    let average = if recipe.average > 0.0 { file.values(&groups, "average/")? } else { Vec::new() };
    let state = State { mean: file.values(&groups, "mean/")?, square: file.values(&groups, "square/")?, average };
    Ok((network, state, position))
}

/// The first setting in which two recipes differ, with both values.
fn difference(there: &Recipe, here: &Recipe) -> Option<String> {
    let flat = |recipe: &Recipe| {
        let mut fields = Vec::new();
        flatten("", &serde_json::to_value(recipe).unwrap_or_default(), &mut fields);
        fields
    };
    flat(there)
        .into_iter()
        .zip(flat(here))
        .find(|(there, here)| there != here)
        .map(|((name, there), (_, here))| format!("{name} is {there} there and {here} here"))
}

/// Every leaf of a JSON value with its dotted name.
fn flatten(name: &str, value: &serde_json::Value, fields: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                let separator = if name.is_empty() { "" } else { "." };
                flatten(&format!("{name}{separator}{key}"), value, fields);
            }
        }
        leaf => fields.push((name.to_string(), leaf.to_string())),
    }
}
