//! `attlas draw … --check`: what becomes of the output when the map that is drawn is permuted, as a line below the picture.

use attlas::{Head, HeadId, Kind, Recording};
use attlas_model::Next;
use attlas_model::explain::knock_out::{Baseline, KindHead};

use super::draw::Common;
use crate::failure::Failure;
use crate::inputs::{Material, input_of, load_model};

/// Permutations of which the line gives the median.
const N_PERMUTATIONS: u64 = 10;

/// The finding for the map of one head, or of all heads of a layer together, in a sentence.
pub fn note(recording: &Recording, common: &Common, kind: Kind, layer: usize, head: Head) -> Result<String, Failure> {
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
    let n_heads = recording.layer(kind, layer)?.shape.n_heads;
    let heads: Vec<usize> = match head {
        Head::One(head) => vec![head],
        Head::Mean => (0..n_heads).collect(),
    };
    let set: Vec<KindHead> = heads.into_iter().map(|head| KindHead { kind, head: HeadId { layer, head } }).collect();
    let seeds: Vec<u64> = (0..N_PERMUTATIONS).collect();
    let found = baseline.disturbed(&[set], &seeds, &mut |_| Next::Continue)?;
    Ok(found.first().map(|disturbed| disturbed.note()).unwrap_or_default())
}
