//! `attlas draw … --check`: what becomes of the output when the weights of the maps that are drawn are permuted, as lines below the picture.

use attlas::{Head, HeadId, Kind, Recording};
use attlas_model::Next;
use attlas_model::explain::faithfulness::{Disturbed, percent};
use attlas_model::explain::knock_out::{Baseline, KindHead};
use attlas_model::explain::quantities::Shown;

use super::draw::Common;
use crate::failure::Failure;
use crate::inputs::{Material, input_of, load_model};

/// Permutations of which the line gives the median.
const N_PERMUTATIONS: u64 = 10;

/// The finding for the map of one head, or of all heads of a layer together, in a sentence.
pub fn note(recording: &Recording, common: &Common, kind: Kind, layer: usize, head: Head) -> Result<String, Failure> {
    let n_heads = recording.layer(kind, layer)?.shape.n_heads;
    let heads: Vec<usize> = match head {
        Head::One(head) => vec![head],
        Head::Mean => (0..n_heads).collect(),
    };
    let set: Vec<KindHead> = heads.into_iter().map(|head| KindHead { kind, head: HeadId { layer, head } }).collect();
    let found = disturbed(recording, common, &[set])?;
    let words = match (common.quantity, head) {
        (Shown::Weight, Head::One(_)) => "this map",
        (Shown::Weight, Head::Mean) => "these maps together",
        (_, Head::One(_)) => "the weights behind this map",
        (_, Head::Mean) => "the weights behind these maps together",
    };
    Ok(found.first().map(|disturbed| disturbed.note_of(words)).unwrap_or_default())
}

/// The findings for the maps of all heads of a layer, one by one and together.
pub fn notes(recording: &Recording, common: &Common, kind: Kind, layer: usize) -> Result<Vec<String>, Failure> {
    let n_heads = recording.layer(kind, layer)?.shape.n_heads;
    let heads: Vec<KindHead> = (0..n_heads).map(|head| KindHead { kind, head: HeadId { layer, head } }).collect();
    let mut sets: Vec<Vec<KindHead>> = heads.iter().map(|head| vec![*head]).collect();
    sets.push(heads);
    let found = disturbed(recording, common, &sets)?;
    let Some((together, alone)) = found.split_last() else { return Ok(Vec::new()) };
    let of = |disturbed: &Disturbed| {
        let head = disturbed.heads.first().map_or_else(String::new, |head| head.head.to_string());
        format!("{head} {}", percent(disturbed.median()))
    };
    let [what, all] = match common.quantity {
        Shown::Weight => ["one of these maps", "these maps together"],
        _ => ["the weights behind one of these maps", "the weights behind these maps together"],
    };
    Ok(vec![
        format!(
            "Permuting {what} moves the output by (TVD, median of {N_PERMUTATIONS} permutations): {}.",
            alone.iter().map(of).collect::<Vec<_>>().join(", ")
        ),
        together.note_of(all),
    ])
}

/// The maps of each set of heads, permuted and made uniform.
fn disturbed(recording: &Recording, common: &Common, sets: &[Vec<KindHead>]) -> Result<Vec<Disturbed>, Failure> {
    if !matches!(common.quantity, Shown::Weight | Shown::Norm) {
        return Err(Failure::Usage(format!(
            "--check is about the weights of one layer, and {} is not made of them alone: draw weight or norm with it",
            common.quantity.name()
        )));
    }
    let Material::Text(text) = Material::read(&common.material)? else {
        return Err(Failure::Usage(
            "--check runs the model once more, with the map changed; give the text and the model".into(),
        ));
    };
    if !common.run.knock_out.is_empty() {
        return Err(Failure::Usage("--check is about the model as it is; leave --knock-out out".into()));
    }
    let model = load_model(&common.run.model)?;
    let mut input = input_of(&model, &text, None)?;
    if let Some(item) = recording.items.get(common.item) {
        input.target = item.target.clone(); // what was generated is read
    }
    let baseline = Baseline::of(&model, &input)?;
    let seeds: Vec<u64> = (0..N_PERMUTATIONS).collect();
    Ok(baseline.disturbed(sets, &seeds, &mut |_| Next::Continue)?)
}
