//! A whole map with its tokens, ready to be drawn: pieces merged into words, special tokens hidden.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{AttentionMap, Kind, Tokens};

/// A dense map and the tokens along its axes; padding is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Shape `[rows.len(), columns.len()]`.
    pub weights: Vec<f32>,
    /// The tokens along the rows.
    pub rows: Tokens,
    /// The tokens along the columns.
    pub columns: Tokens,
}

/// Which token a row of a decoder map is named after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowTokens {
    /// The token the decoder read at this position.
    #[default]
    Read,
    /// The token it went on to predict, which is the next one. Falls back to the token read where this is not known.
    Predicted,
}

/// What hiding special tokens took away.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hidden {
    /// How many rows were removed.
    pub rows: usize,
    /// How many columns were removed.
    pub columns: usize,
    /// What each remaining row had in removed columns, in 0 ..= 1 for weights. Shape `[rows.len()]` of what remains.
    pub masses: Vec<f32>,
}

impl RowTokens {
    /// The name in options, addresses and files.
    pub fn name(self) -> &'static str {
        match self {
            RowTokens::Read => "read",
            RowTokens::Predicted => "predicted",
        }
    }

    /// What rows are usually named after: cross-attention aligns words in the row that predicts them, and the rows of a
    /// decoder are the tokens it read.
    pub fn usual(kind: Kind) -> RowTokens {
        if kind == Kind::Cross { RowTokens::Predicted } else { RowTokens::Read }
    }

    /// What the rows of `map` can be named after, if this is asked for: the token read where no other is known.
    pub(crate) fn known(self, map: &AttentionMap<'_>) -> RowTokens {
        let is_known = map.kind() != Kind::Encoder && map.item().predicted.len() == map.n_queries();
        if is_known { self } else { RowTokens::Read }
    }

    /// The tokens that name the rows, padding included.
    pub fn of<'a>(self, map: &AttentionMap<'a>) -> &'a Tokens {
        match self.known(map) {
            RowTokens::Predicted => &map.item().predicted,
            RowTokens::Read => map.query_tokens(),
        }
    }
}

/// The mean over heads of some rows; of one head, its rows. Shape `[queries.len(), n_keys]`.
pub(crate) fn mean_rows(heads: &[AttentionMap<'_>], queries: Range<usize>) -> Vec<f32> {
    let tile = |map: &AttentionMap<'_>| map.tile(queries.clone(), 0..map.n_keys());
    let [first, others @ ..] = heads else { return Vec::new() };
    if others.is_empty() {
        return tile(first);
    }
    let mut sums = vec![0.0_f64; queries.len() * first.n_keys()]; // [queries, n_keys]
    for head in heads {
        sums.iter_mut().zip(tile(head)).for_each(|(sum, weight)| *sum += f64::from(weight));
    }
    sums.into_iter().map(|sum| (sum / heads.len() as f64) as f32).collect()
}

impl Grid {
    /// The whole map, padded rows and columns left out. Dense: ask for an overview instead where the text is long.
    pub fn of(map: &AttentionMap<'_>, row_tokens: RowTokens) -> Grid {
        Grid::of_heads(std::slice::from_ref(map), row_tokens).unwrap_or_else(Grid::empty)
    }

    /// The mean of several heads' maps of one layer and text, as [`Grid::of`]; `None` of no head.
    pub fn of_heads(heads: &[AttentionMap<'_>], row_tokens: RowTokens) -> Option<Grid> {
        let first = heads.first()?;
        let weights = mean_rows(heads, 0..first.n_queries());
        let whole = Grid { weights, rows: row_tokens.of(first).clone(), columns: first.key_tokens().clone() };
        let rows = first.query_tokens().unpadded(first.n_queries());
        let columns = first.key_tokens().unpadded(first.n_keys());
        if (rows.len(), columns.len()) == (whole.rows.len(), whole.columns.len()) {
            return Some(whole);
        }
        Some(whole.keep(&rows, &columns))
    }

    fn empty() -> Grid {
        Grid { weights: Vec::new(), rows: Tokens::default(), columns: Tokens::default() }
    }

    /// One row. Shape `[columns.len()]`.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.weights[row * self.columns.len()..][..self.columns.len()]
    }

    /// The map between words: weights summed over the pieces of a key's word and averaged over those of a query's
    /// (Clark et al. 2019, §4.1), so that rows keep their sum. Tokens outside words stay as they are.
    pub fn words(&self) -> Grid {
        let (row_words, column_words) = (self.rows.words(), self.columns.words());
        let mut weights = Vec::with_capacity(row_words.len() * column_words.len()); // [row_words, column_words]
        for rows in &row_words {
            for columns in &column_words {
                let sum: f64 =
                    rows.clone().flat_map(|row| &self.row(row)[columns.clone()]).map(|weight| f64::from(*weight)).sum();
                weights.push((sum / rows.len() as f64) as f32);
            }
        }
        Grid { weights, rows: self.rows.merged(), columns: self.columns.merged() }
    }

    /// The map without special tokens on either axis, and the mass that this removes. Weights are not rescaled.
    pub fn hide_special(&self) -> (Grid, Hidden) {
        let text = |tokens: &Tokens| -> Vec<usize> {
            (0..tokens.len()).filter(|place| tokens.tokens[*place].is_text()).collect()
        };
        let (rows, columns) = (text(&self.rows), text(&self.columns));
        let mass = |row: &usize| -> f32 {
            let weights = self.row(*row).iter().zip(&self.columns.tokens);
            weights.filter(|(_, token)| !token.is_text()).map(|(weight, _)| f64::from(*weight)).sum::<f64>() as f32
        };
        let hidden = Hidden {
            rows: self.rows.len() - rows.len(),
            columns: self.columns.len() - columns.len(),
            masses: rows.iter().map(mass).collect(),
        };
        (self.keep(&rows, &columns), hidden)
    }

    /// Some of the rows and columns.
    fn keep(&self, rows: &[usize], columns: &[usize]) -> Grid {
        let weights = rows.iter().flat_map(|&row| columns.iter().map(move |&column| self.row(row)[column])).collect();
        Grid { weights, rows: pick(&self.rows, rows), columns: pick(&self.columns, columns) }
    }
}

/// Some of the tokens, with the text they come from.
pub(crate) fn pick(tokens: &Tokens, indices: &[usize]) -> Tokens {
    let picked = indices.iter().map(|&index| tokens.tokens[index].clone()).collect();
    Tokens { text: tokens.text.clone(), tokens: picked }
}

impl Tokens {
    /// One token per word: its text is cut from the text where the pieces' spans are known, and joined otherwise.
    pub fn merged(&self) -> Tokens {
        let merged = self.words().into_iter().map(|word| {
            let pieces = &self.tokens[word];
            let mut token = pieces[0].clone();
            if pieces.len() > 1 {
                token.id = None;
                token.span = match (&pieces[0].span, &pieces[pieces.len() - 1].span) {
                    (Some(first), Some(last)) if first.start <= last.end => Some(first.start..last.end),
                    _ => None,
                };
                let in_text = token.span.clone().and_then(|span| self.text.get(span));
                let joined = || pieces.iter().map(|piece| piece.text.as_str()).collect();
                token.text = in_text.map_or_else(joined, str::to_owned);
            }
            token
        });
        Tokens { text: self.text.clone(), tokens: merged.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Token, TokenRole, Tokens};

    /// Two pieces of one word, one word, and an end token.
    fn grid() -> Grid {
        let mut tokens = Tokens::from_labels(["walk", "ing", "home", "</s>"]);
        tokens.tokens[1].word = Some(0);
        tokens.tokens[3] = Token { role: TokenRole::Special, ..Token::labelled("</s>") };
        #[rustfmt::skip]
        let weights = vec![
            0.1, 0.2, 0.3, 0.4,
            0.3, 0.2, 0.1, 0.4,
            0.5, 0.1, 0.2, 0.2,
            0.0, 0.0, 0.0, 1.0,
        ];
        Grid { weights, rows: tokens.clone(), columns: tokens }
    }

    #[test]
    fn words_sum_over_keys_and_average_over_queries() {
        let words = grid().words();
        assert_eq!(words.rows.labels().collect::<Vec<_>>(), ["walking", "home", "</s>"]);
        let expected = [0.4, 0.2, 0.4, 0.6, 0.2, 0.2, 0.0, 0.0, 1.0];
        for (got, want) in words.weights.iter().zip(expected) {
            assert!((got - want).abs() < 1e-6, "{:?}", words.weights);
        }
    }

    #[test]
    fn hiding_special_tokens_says_how_much_mass_went() {
        let (shown, hidden) = grid().hide_special();
        assert_eq!((shown.rows.len(), shown.columns.len()), (3, 3));
        assert_eq!((hidden.rows, hidden.columns), (1, 1));
        assert_eq!(hidden.masses, [0.4, 0.4, 0.2]);
    }

    #[test]
    fn a_word_is_cut_from_the_text_where_spans_are_known() {
        let mut tokens = Tokens::from_labels(["caf", "\u{fffd}", "\u{fffd}"]);
        tokens.text = "un café".into();
        for (token, span) in tokens.tokens.iter_mut().zip([3..6, 6..7, 7..8]) {
            (token.word, token.span) = (Some(1), Some(span));
        }
        assert_eq!(tokens.merged().tokens[0].text, "café");
    }
}
