//! Images among the tokens of a text: the rows that stand in the place of their tokens', and where each token stands.

use attlas::{Item, PatchGrid};

use super::input::Input;
use crate::Error;
use crate::block::pass::Array;
use crate::block::weights::Transformer;
use crate::model::Model;

/// The images of a text, as its stack reads them.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// What stands in the place of the rows that image tokens have in the table, image after image. Shape `[n, width]`.
    pub rows: Array,
    /// The target token of each of those rows, rising. Shape `[n]`.
    pub tokens: Vec<usize>,
    /// Where the patches of each image stand among the target's tokens.
    pub grids: Vec<PatchGrid>,
}

impl Seen {
    /// The three positions (in time, from top to bottom, from left to right) of the first `n` tokens, as M-RoPE counts them
    /// (Wang et al. 2024, §2.1): a word has three times the same one; the patches of an image begin together, and what follows
    /// them stands behind the longer side of the image. Shape `[n]`.
    pub(crate) fn positions(&self, n: usize) -> Vec<[u32; 3]> {
        let mut positions = Vec::with_capacity(n);
        let mut next = 0; // the next token's position
        let mut grids = self.grids.iter().peekable();
        while positions.len() < n {
            match grids.next_if(|grid| grid.first <= positions.len()) {
                Some(grid) => {
                    let (rows, columns) = (grid.rows as u32, grid.columns as u32);
                    let patch = |place: u32| [next, next + place / columns, next + place % columns];
                    positions.extend((0..rows * columns).map(patch));
                    next += rows.max(columns);
                }
                None => {
                    positions.push([next; 3]);
                    next += 1;
                }
            }
        }
        positions.truncate(n);
        positions
    }
}

impl Model {
    /// The rows that the decoder reads for its tokens, those of images in their places; `None` where no text has an image.
    /// Shape `[n_items, n, width]`.
    pub(super) fn rows_with_images(&self, inputs: &[Input], ids: &[u32]) -> Result<Option<Vec<f32>>, Error> {
        let Transformer { architecture, decoder, .. } = &*self.transformer;
        let (Some(stack), Some(weights)) = (&architecture.decoder, decoder) else { return Ok(None) };
        if inputs.iter().all(|input| input.seen.is_none()) {
            return Ok(None);
        }
        let width = stack.embedding.width;
        let mut rows = vec![0.0; ids.len() * width]; // [n_items, n, width]
        rows.chunks_exact_mut(width.max(1))
            .zip(ids)
            .for_each(|(row, id)| weights.embedding.tokens.row(*id as usize, row));
        let items = rows.chunks_exact_mut((ids.len() / inputs.len().max(1) * width).max(1)).zip(inputs);
        for (item, seen) in items.filter_map(|(item, input)| Some((item, input.seen.as_deref()?))) {
            for (row, token) in seen.rows.values.chunks_exact(width.max(1)).zip(&seen.tokens) {
                item[token * width..][..width].copy_from_slice(row);
            }
        }
        Ok(Some(rows))
    }

    /// Refuses rows of images that do not fit the text; `index` is what messages call it.
    pub(super) fn check_seen(&self, input: &Input, index: usize) -> Result<(), Error> {
        let Some(seen) = input.seen.as_deref() else { return Ok(()) };
        let width = self.transformer.architecture.decoder.as_ref().map_or(0, |stack| stack.embedding.width);
        let n = seen.tokens.len();
        let rises = seen.tokens.is_sorted_by(|a, b| a < b);
        let fits = seen.rows.shape == [n, width] && seen.rows.values.len() == n * width;
        let inside = seen.tokens.last().is_none_or(|last| *last < input.target.len());
        let holds = |grid: &PatchGrid| {
            let start = seen.tokens.binary_search(&grid.first).ok();
            start.is_some_and(|start| seen.tokens[start..].iter().copied().take(grid.n_patches()).eq(grid.tokens()))
        };
        match rises && fits && inside && seen.grids.iter().all(holds) {
            true => Ok(()),
            false => Err(Error::Input(format!(
                "the images of input {index} do not fit its text: {n} tokens, rows of shape {:?} and width {width}, {} tokens in all",
                seen.rows.shape,
                input.target.len()
            ))),
        }
    }
}

/// The item of a recording with the places of the text's images.
pub(super) fn with_images(item: Item, input: &Input) -> Item {
    match &input.seen {
        Some(seen) => {
            let grids = [(attlas::recording::TARGET.to_owned(), seen.grids.clone())].into_iter().collect();
            Item { grids, ..item }
        }
        None => item,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_an_image_stands_behind_its_longer_side() {
        let grid = |first, rows, columns| PatchGrid { first, rows, columns, size: None, seen: None };
        let rows = Array { shape: vec![0, 0], values: Vec::new() };
        let seen = Seen { rows, tokens: Vec::new(), grids: vec![grid(2, 2, 3), grid(9, 2, 1)] };
        let positions = seen.positions(13);
        let expected = [
            [0, 0, 0],
            [1, 1, 1],
            [2, 2, 2],
            [2, 2, 3],
            [2, 2, 4],
            [2, 3, 2],
            [2, 3, 3],
            [2, 3, 4],
            [5, 5, 5],
            [6, 6, 6],
            [6, 7, 6],
            [8, 8, 8],
            [9, 9, 9],
        ];
        assert_eq!(positions, expected);
        assert_eq!(seen.positions(5), expected[..5]);
    }
}
