//! The attention of a text that was generated step by step, joined to one map of all its rows.

use super::{Array, ArrayData, Precision};
use crate::Error;
use crate::recording::elements;

/// One layer of one step: its sizes and weights.
struct Step {
    n_queries: usize,
    n_keys: usize,
    /// Shape `[batch, heads, n_queries, n_keys]`.
    weights: Vec<f32>,
    precision: Precision,
}

/// The weights of a layer over all steps of a generation, as `generate(…, output_attentions=True)` gives them: each step has
/// the shape `[batch, heads, rows, keys]`, where the first has the rows of the prompt, and each later one that of its token, or
/// all rows again where no cache was used.
///
/// Keys that a step did not have yet are 0. Where each step has as many keys as the first (cross-attention), its rows follow
/// those before; else a step's last row is that of its last key. Shape `[batch, heads, rows, keys]`.
///
/// # Errors
/// [`Error::BadWeights`] names the step whose shape does not fit, and what looks like the beams of a search.
pub fn stitch(steps: Vec<Array>) -> Result<Array, Error> {
    let Some([n_texts, n_heads]) = steps.first().and_then(|first| first.shape.first_chunk().copied()) else {
        return Err(Error::BadWeights("a generation without a step".into()));
    };
    let mut read = Vec::with_capacity(steps.len());
    for (index, step) in steps.into_iter().enumerate() {
        read.push(Step::of(index, step, [n_texts, n_heads])?);
    }
    refuse_beams(&read[0], n_texts)?;
    let n_keys = read.iter().map(|step| step.n_keys).max().unwrap_or(0);
    let grows = read.iter().any(|step| step.n_keys != n_keys);
    let mut rows: Vec<(usize, usize)> = Vec::new(); // the step and its row that each row of the whole is
    let first_row = read[0].n_keys.saturating_sub(read[0].n_queries);
    for (index, step) in read.iter().enumerate() {
        let start = match (grows, step.n_queries) {
            (true, n) => step.n_keys.checked_sub(n + first_row),
            // without a cache each step brings all rows again
            (false, n) if n == rows.len() + 1 => Some(0),
            (false, _) => Some(rows.len()),
        };
        let Some(start) = start.filter(|start| *start <= rows.len()) else {
            let (n_queries, n_keys) = (step.n_queries, step.n_keys);
            return Err(Error::BadWeights(format!(
                "step {index} has {n_queries} rows and {n_keys} keys, which does not go on from the {} rows before it",
                rows.len()
            )));
        };
        rows.truncate(start);
        rows.extend((0..step.n_queries).map(|row| (index, row)));
    }
    let n_maps = n_texts * n_heads;
    let n_weights = n_maps.saturating_mul(rows.len()).saturating_mul(n_keys);
    let mut weights = Vec::new();
    weights
        .try_reserve_exact(n_weights)
        .map_err(|_| Error::BadWeights(format!("the {} rows need more memory than there is", rows.len())))?;
    for map in 0..n_maps {
        for (step, row) in &rows {
            let step = &read[*step];
            let start = (map * step.n_queries + row) * step.n_keys;
            weights.extend_from_slice(&step.weights[start..start + step.n_keys]);
            weights.extend(std::iter::repeat_n(0.0, n_keys - step.n_keys));
        }
    }
    let precision = read.iter().map(|step| step.precision).max().unwrap_or_default();
    let shape = vec![n_texts, n_heads, rows.len(), n_keys];
    Ok(Array { shape, data: ArrayData::Numbers(weights), precision })
}

impl Step {
    fn of(index: usize, array: Array, [n_texts, n_heads]: [usize; 2]) -> Result<Step, Error> {
        let Array { shape, data, precision } = array;
        match (shape.as_slice(), data) {
            ([texts, heads, n_queries, n_keys], ArrayData::Numbers(weights))
                if [*texts, *heads] == [n_texts, n_heads]
                    && !shape.contains(&0)
                    && elements(&shape) == Some(weights.len()) =>
            {
                let (n_queries, n_keys) = (*n_queries, *n_keys);
                Ok(Step { n_queries, n_keys, weights, precision })
            }
            ([texts, ..], _) if shape.len() == 4 && *texts != n_texts => Err(Error::BadWeights(format!(
                "step {index} has a batch of {texts}, step 0 of {n_texts}; the steps of beam search are not joined, because \
                 their beams change places: generate with one beam, or run the model over the text it wrote"
            ))),
            _ => Err(Error::BadWeights(format!(
                "step {index} has the shape {shape:?}, [{n_texts}, {n_heads}, rows, keys] was expected"
            ))),
        }
    }
}

/// Beams begin as copies of one text, and change places from step to step.
fn refuse_beams(first: &Step, n_texts: usize) -> Result<(), Error> {
    let mut texts = first.weights.chunks_exact(first.weights.len() / n_texts);
    let one = texts.next();
    // one key takes all weight in every text
    if n_texts > 1 && first.n_keys > 1 && texts.any(|text| Some(text) == one) {
        return Err(Error::BadWeights(format!(
            "two of the {n_texts} texts of the first step are the same, as the beams of a search are, which change places from step \
             to step: generate with one beam, or run the model over the text it wrote"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(shape: [usize; 4], weights: &[f32]) -> Array {
        Array::numbers(shape.to_vec(), weights.to_vec())
    }

    #[test]
    fn a_prompt_and_one_row_a_step_become_a_square_map() {
        let steps = vec![
            step([1, 1, 2, 2], &[1.0, 0.0, 0.5, 0.5]),
            step([1, 1, 1, 3], &[0.2, 0.3, 0.5]),
            step([1, 1, 1, 4], &[0.1, 0.2, 0.3, 0.4]),
        ];
        let whole = stitch(steps).unwrap();
        assert_eq!(whole.shape, [1, 1, 4, 4]);
        let wanted = [1.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.2, 0.3, 0.5, 0.0, 0.1, 0.2, 0.3, 0.4];
        assert_eq!(whole.data, ArrayData::Numbers(wanted.to_vec()));
    }

    #[test]
    fn without_a_cache_the_last_step_has_all_rows() {
        let last = [1.0, 0.0, 0.0, 0.6, 0.4, 0.0, 0.2, 0.3, 0.5];
        let steps = vec![step([1, 1, 2, 2], &[1.0, 0.0, 0.6, 0.4]), step([1, 1, 3, 3], &last)];
        assert_eq!(stitch(steps).unwrap(), step([1, 1, 3, 3], &last));
    }

    #[test]
    fn cross_attention_has_a_row_a_step_over_the_same_keys() {
        let steps = vec![step([1, 1, 1, 2], &[0.9, 0.1]), step([1, 1, 1, 2], &[0.2, 0.8])];
        assert_eq!(stitch(steps).unwrap(), step([1, 1, 2, 2], &[0.9, 0.1, 0.2, 0.8]));
    }

    #[test]
    fn beams_and_steps_that_do_not_go_on_are_refused_in_words() {
        let message = |steps: Vec<Array>| stitch(steps).unwrap_err().to_string();
        let beams = message(vec![step([2, 1, 1, 2], &[0.5, 0.5, 0.5, 0.5])]);
        assert!(beams.starts_with("two of the 2 texts of the first step are the same, as the beams"), "{beams}");
        let changed = message(vec![step([1, 1, 1, 1], &[1.0]), step([2, 1, 1, 2], &[0.5, 0.5, 0.5, 0.5])]);
        assert!(changed.starts_with("step 1 has a batch of 2, step 0 of 1; the steps of beam search"), "{changed}");
        let gap = message(vec![step([1, 1, 1, 1], &[1.0]), step([1, 1, 1, 3], &[0.2, 0.3, 0.5])]);
        assert_eq!(gap, "step 1 has 1 rows and 3 keys, which does not go on from the 1 rows before it");
    }
}
