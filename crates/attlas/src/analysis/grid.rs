//! A whole map with its tokens, ready to be drawn: pieces merged into words, special tokens hidden.

use crate::{AttentionMap, TokenRole, Tokens};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowTokens {
    /// The token the decoder read at this position.
    #[default]
    Read,
    /// The token it went on to predict, which is the next one. Falls back to the token read where this is not known.
    Predicted,
}

/// What hiding special tokens took away.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Hidden {
    /// Rows removed.
    pub rows: usize,
    /// Columns removed.
    pub columns: usize,
    /// Mean over the remaining rows of the weight in removed columns, in 0 ..= 1.
    pub mean_mass: f64,
    /// The largest weight that a remaining row loses, in 0 ..= 1.
    pub largest_mass: f64,
}

impl Grid {
    /// The whole map, padded rows and columns left out. Dense: ask for an overview instead where the text is long.
    pub fn of(map: &AttentionMap<'_>, row_tokens: RowTokens) -> Grid {
        let predicted = &map.item().predicted;
        let rows = match row_tokens {
            RowTokens::Predicted if predicted.len() == map.n_queries() && map.kind() != crate::Kind::Encoder => {
                predicted
            }
            _ => map.query_tokens(),
        };
        let whole = Grid { weights: map.dense(), rows: rows.clone(), columns: map.key_tokens().clone() };
        let read = &map.query_tokens().tokens;
        let row_is_text = |row: usize| read.get(row).is_none_or(|token| token.role != TokenRole::Padding);
        let column_is_text = |column: usize| whole.columns.tokens[column].role != TokenRole::Padding;
        if (0..whole.rows.len()).all(row_is_text) && (0..whole.columns.len()).all(column_is_text) {
            return whole;
        }
        whole.keep(row_is_text, column_is_text)
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
        Grid { weights, rows: merge(&self.rows), columns: merge(&self.columns) }
    }

    /// The map without special tokens on either axis, and the mass that this removes. Weights are not rescaled.
    pub fn hide_special(&self) -> (Grid, Hidden) {
        let (rows, columns) = (&self.rows.tokens, &self.columns.tokens);
        let hidden_mass = |row: usize| -> f64 {
            let weights = self.row(row).iter().zip(columns);
            weights.filter(|(_, token)| !token.is_text()).map(|(weight, _)| f64::from(*weight)).sum()
        };
        let masses: Vec<f64> = (0..rows.len()).filter(|row| rows[*row].is_text()).map(hidden_mass).collect();
        let shown = self.keep(|row| rows[row].is_text(), |column| columns[column].is_text());
        let hidden = Hidden {
            rows: rows.len() - shown.rows.len(),
            columns: columns.len() - shown.columns.len(),
            mean_mass: super::mean(masses.iter().copied()).unwrap_or(0.0),
            largest_mass: masses.iter().copied().fold(0.0, f64::max),
        };
        (shown, hidden)
    }

    /// The rows and columns for which the conditions hold.
    fn keep(&self, row_stays: impl Fn(usize) -> bool, column_stays: impl Fn(usize) -> bool) -> Grid {
        let rows: Vec<usize> = (0..self.rows.len()).filter(|row| row_stays(*row)).collect();
        let columns: Vec<usize> = (0..self.columns.len()).filter(|column| column_stays(*column)).collect();
        let weights = rows.iter().flat_map(|&row| columns.iter().map(move |&column| self.row(row)[column])).collect();
        Grid { weights, rows: pick(&self.rows, &rows), columns: pick(&self.columns, &columns) }
    }
}

/// Some of the tokens, with the text they come from.
fn pick(tokens: &Tokens, indices: &[usize]) -> Tokens {
    let picked = indices.iter().map(|&index| tokens.tokens[index].clone()).collect();
    Tokens { text: tokens.text.clone(), tokens: picked }
}

/// One token per word: its text is cut from the text where the pieces' spans are known, and joined otherwise.
fn merge(tokens: &Tokens) -> Tokens {
    let merged = tokens.words().into_iter().map(|word| {
        let pieces = &tokens.tokens[word];
        let mut token = pieces[0].clone();
        if pieces.len() > 1 {
            token.id = None;
            token.span = match (&pieces[0].span, &pieces[pieces.len() - 1].span) {
                (Some(first), Some(last)) if first.start <= last.end => Some(first.start..last.end),
                _ => None,
            };
            let in_text = token.span.clone().and_then(|span| tokens.text.get(span));
            let joined = || pieces.iter().map(|piece| piece.text.as_str()).collect();
            token.text = in_text.map_or_else(joined, str::to_owned);
        }
        token
    });
    Tokens { text: tokens.text.clone(), tokens: merged.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Token, Tokens};

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
        assert!((hidden.mean_mass - 1.0 / 3.0).abs() < 1e-6);
        assert!((hidden.largest_mass - 0.4).abs() < 1e-6);
    }

    #[test]
    fn a_word_is_cut_from_the_text_where_spans_are_known() {
        let mut tokens = Tokens::from_labels(["caf", "\u{fffd}", "\u{fffd}"]);
        tokens.text = "un café".into();
        for (token, span) in tokens.tokens.iter_mut().zip([3..6, 6..7, 7..8]) {
            (token.word, token.span) = (Some(1), Some(span));
        }
        assert_eq!(merge(&tokens).tokens[0].text, "café");
    }
}
