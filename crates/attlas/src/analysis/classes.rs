//! Heads that look at a class of tokens: separators, the first token, punctuation.

use super::{Rows, mean};
use crate::{Token, TokenRole};

/// The mean mass on the keys where `class` is true, in 0 ..= 1, and what looking at all visible keys alike would give.
///
/// `(1/n) Σ_q Σ_{k ∈ class} w(q,k)` (Clark et al. 2019, §3.2). `class` has shape `[n_keys]`; keys beyond it count as
/// outside the class.
pub fn class_mass(rows: &Rows, class: &[bool]) -> (f64, f64) {
    let inside = |key: usize| class.get(key).copied().unwrap_or(false);
    let mass = |row: &[f32]| (0..rows.n_keys).filter(|key| inside(*key)).map(|key| f64::from(row[key])).sum();
    let uniform = |row: usize| {
        let members = rows.visible[row].clone().filter(|key| inside(*key) && rows.sees(row, *key)).count();
        members as f64 / rows.n_visible(row).max(1) as f64
    };
    (mean(rows.iter().map(mass)).unwrap_or(0.0), mean((0..rows.n_rows()).map(uniform)).unwrap_or(0.0))
}

/// Whether a token separates or ends texts: special, and none of the tokens that open a text.
pub fn is_separator(token: &Token) -> bool {
    token.role == TokenRole::Special
        && matches!(
            token.text.as_str(),
            "[SEP]" | "</s>" | "<eos>" | "<|endoftext|>" | "<end>" | "[EOS]" | "<|im_end|>" | "<sep>"
        )
}

/// Whether a token of the text has no letter and no digit: `.`, `,`, `»`.
pub fn is_punctuation(token: &Token) -> bool {
    let text = token.text.trim();
    token.role == TokenRole::Text && !text.is_empty() && text.chars().all(|character| !character.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::rows;
    use super::*;
    use crate::Kind;

    #[test]
    fn mass_on_a_class_stands_beside_its_share_of_the_keys() {
        let rows = rows(Kind::Encoder, vec![0.1, 0.2, 0.7, 0.0, 0.3, 0.7], 2, 3);
        let (mass, uniform) = class_mass(&rows, &[false, false, true]);
        assert!((mass - 0.7).abs() < 1e-6);
        assert!((uniform - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_full_stop_is_punctuation_and_a_special_token_is_not() {
        assert!(is_punctuation(&Token::labelled(" .")));
        assert!(!is_punctuation(&Token::labelled("3.")));
        let end = Token { role: TokenRole::Special, ..Token::labelled("</s>") };
        assert!(is_separator(&end) && !is_punctuation(&end));
    }
}
