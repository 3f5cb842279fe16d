//! Word alignment read off cross-attention.

use super::{Grid, argmax};

/// A link: a row looks most at this column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alignment {
    /// The target word.
    pub row: usize,
    /// The source word it looks at most.
    pub column: usize,
    /// The weight it gives it.
    pub weight: f32,
}

/// The column that each row looks at most, the first of equals; rows without mass have no link.
///
/// For words: merge pieces ([`Grid::words`]) and drop the special columns ([`Grid::hide_special`]) first. Whether the
/// link of a target word lies in the row that *predicts* it or in the row that *reads* it depends on the model
/// (Kobayashi et al. 2020, §5: AER 29.8 when read, 47.7 when predicted); [`RowTokens`](super::RowTokens) gives either.
pub fn align(grid: &Grid) -> Vec<Alignment> {
    let link = |row: usize| {
        let column = argmax(grid.row(row))?;
        Some(Alignment { row, column, weight: grid.row(row)[column] })
    };
    (0..grid.rows.len()).filter_map(link).collect()
}

/// The share of columns that at least one row looks at most, in 0 ..= 1, and what rows that each look at a random
/// column would cover: `1 − (1 − 1/n_columns)^n_rows`. Both 0 for a grid without columns.
pub fn coverage(grid: &Grid) -> (f64, f64) {
    let n_columns = grid.columns.len();
    if n_columns == 0 {
        return (0.0, 0.0);
    }
    let mut covered = vec![false; n_columns]; // [n_columns]
    let links = align(grid);
    for link in &links {
        covered[link.column] = true;
    }
    let share = covered.iter().filter(|covered| **covered).count() as f64 / n_columns as f64;
    let chance = 1.0 - (1.0 - 1.0 / n_columns as f64).powf(links.len() as f64);
    (share, chance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokens;

    #[test]
    fn each_target_word_is_linked_to_the_source_word_it_looks_at_most() {
        let grid = Grid {
            weights: vec![0.7, 0.2, 0.1, 0.1, 0.3, 0.6, 0.0, 0.0, 0.0],
            rows: Tokens::from_labels(["une", "pomme", "rouge"]),
            columns: Tokens::from_labels(["a", "red", "apple"]),
        };
        let links: Vec<_> = align(&grid).iter().map(|link| (link.row, link.column)).collect();
        assert_eq!(links, [(0, 0), (1, 2)], "a row without mass has no link");
        let (share, chance) = coverage(&grid);
        assert!((share - 2.0 / 3.0).abs() < 1e-9);
        assert!((chance - 5.0 / 9.0).abs() < 1e-9);
    }
}
