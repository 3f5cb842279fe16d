//! Measured effects of heads, as `attlas ablate --json` and `-o FILE.json` write them.

use std::path::Path;

use attlas::{HeadId, Kind, Recording, regular_file};
use attlas_model::explain::text_digest;
use attlas_viewer::{HeadEffect, HeadEffects};
use serde::Deserialize;

use crate::failure::Failure;
use crate::terminal::remark;
use crate::words::counted;

/// The longest file that is read.
const MAX_BYTES: u64 = 64 << 20;

/// A row of the table; what a row of another table has is a head no more.
#[derive(Deserialize)]
struct Row {
    kind: Option<Kind>,
    layer: Option<usize>,
    head: Option<usize>,
    method: String,
    metric: String,
    /// `None` where it is no finite number.
    effect: Option<f64>,
    mean_weight: Option<f64>,
    /// Rows of `--edges`, `--by-key` and `--states` are of these, not of heads.
    query: Option<usize>,
    key: Option<usize>,
    position: Option<usize>,
    /// The weights and the text that were measured; nothing where they have no name.
    model: Option<String>,
    text: Option<String>,
    /// With `direct`, `head` or something that is none.
    component: Option<String>,
}

/// The effects of a recording's heads.
///
/// # Errors
/// When the file is no such table, mixes several measurements, or names a head that the recording does not have; the message names file
/// and row.
pub fn head_effects(path: &Path, recording: &Recording) -> Result<HeadEffects, Failure> {
    let name = path.display();
    let bytes = regular_file::read(path, MAX_BYTES).map_err(|problem| Failure::Input(format!("{name}: {problem}")))?;
    let mut rows: Vec<Row> = serde_json::from_slice(regular_file::without_mark(&bytes)).map_err(|error| {
        Failure::Input(format!(
            "{name}: is no array of rows with kind, layer, head, method, metric and effect, as `attlas ablate --json` prints it: {error}"
        ))
    })?;
    rows.retain(|row| row.component.as_deref().is_none_or(|component| component.starts_with("head")));
    let Some(first) = rows.first() else { return Err(Failure::Input(format!("{name}: has no row"))) };
    check_measured(first, recording).map_err(|problem| Failure::Input(format!("{name}: {problem}")))?;
    let mut found = HeadEffects {
        method: first.method.clone(),
        metric: first.metric.clone(),
        heads: Vec::with_capacity(rows.len()),
    };
    for (place, row) in rows.iter().enumerate() {
        let effect = effect_of(row, &found, recording);
        found.heads.extend(effect.map_err(|problem| Failure::Input(format!("{name}: row {place} {problem}")))?);
    }
    if (&first.model, &first.text) == (&None, &None) {
        remark(&format!("{name}: does not say of which model and text its effects are"));
    }
    let n_without = rows.len() - found.heads.len();
    if n_without > 0 {
        remark(&format!("{name}: {} of {} without an effect that is a number", n_without, counted(rows.len(), "head")));
    }
    Ok(found)
}

/// Refuses what was measured with other weights, or on another text than the recording's.
fn check_measured(row: &Row, recording: &Recording) -> Result<(), String> {
    let own = &recording.provenance.revision;
    if let Some(model) = row.model.as_ref().filter(|model| !own.is_empty() && *model != own) {
        return Err(format!(
            "was measured on another model: its weights are {model}, those of the recording ({}) {own}",
            recording.provenance.model
        ));
    }
    let Some(text) = &row.text else { return Ok(()) };
    let texts = || recording.items.iter().map(|item| text_digest(&item.source, &item.target));
    match texts().any(|own| own == *text) {
        true => Ok(()),
        false => Err(format!(
            "was measured on another text: its tokens are {text}, those of the recording {}; measure the recording itself (`attlas ablate \
             RUN.safetensors`), and a text of several sentences as one (--sentences together)",
            texts().next().unwrap_or_else(|| "none".to_owned())
        )),
    }
}

/// The effect of a row's head; `None` where it is no finite number.
fn effect_of(row: &Row, all: &HeadEffects, recording: &Recording) -> Result<Option<HeadEffect>, String> {
    let (Some(kind), Some(layer), Some(head)) = (row.kind, row.layer, row.head) else {
        return Err("is of no single head: heads that were taken away together have no effects of their own".into());
    };
    if row.query.or(row.key).or(row.position).is_some() {
        return Err("is of a pair of tokens or of a position, and effects of heads are wanted".into());
    }
    if (&row.method, &row.metric) != (&all.method, &all.metric) {
        return Err(format!(
            "has the {} of {}, and row 0 the {} of {}: effects of one measurement are put in an order",
            row.metric, row.method, all.metric, all.method
        ));
    }
    let of_layer = recording.layer(kind, layer).map_err(|error| format!("is of another model: {error}"))?;
    let n_heads = of_layer.shape.n_heads;
    if head >= n_heads {
        return Err(format!("is of another model: {kind} layer {layer} has {n_heads} heads, and no head {head}"));
    }
    if all.heads.iter().any(|one| one.kind == kind && one.head == HeadId { layer, head }) {
        return Err(format!("has {kind} L{layer}H{head} a second time"));
    }
    let (head, mean_weight) = (HeadId { layer, head }, row.mean_weight);
    Ok(row.effect.map(|effect| HeadEffect { kind, head, effect, mean_weight }))
}
