//! How much a query looks at a class of tokens: separators, punctuation.

use super::{Keys, Row, Sample};
use crate::{Token, TokenRole};

/// The weight on some keys together, in 0 ..= 1, and what looking at all visible keys alike would give.
///
/// Its mean over queries is `(1/n) Σ_q Σ_{k ∈ class} w(q,k)` (Clark et al. 2019, §3.2).
pub fn class_weight(row: &Row<'_>, class: &Keys) -> Sample {
    let members = class.within(&row.visible);
    let n_visible_members = members.iter().filter(|key| row.sees(**key)).count();
    Sample {
        score: members.iter().map(|key| f64::from(row.weights[*key])).sum(),
        baseline: n_visible_members as f64 / row.n_visible().max(1) as f64,
    }
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
    use super::super::rows::tests::of_rows;
    use super::*;
    use crate::Kind;

    #[test]
    fn weight_on_a_class_stands_beside_its_share_of_the_keys() {
        let class = Keys::new(3, |key| key == 2);
        let found = of_rows(Kind::Encoder, vec![0.1, 0.2, 0.7, 0.0, 0.3, 0.7], 3, |row| class_weight(row, &class));
        assert!(
            found.iter().all(|sample| (sample.score - 0.7).abs() < 1e-6 && sample.baseline == 1.0 / 3.0),
            "{found:?}"
        );
    }

    #[test]
    fn a_full_stop_is_punctuation_and_a_special_token_is_not() {
        assert!(is_punctuation(&Token::labelled(" .")));
        assert!(!is_punctuation(&Token::labelled("3.")));
        let end = Token { role: TokenRole::Special, ..Token::labelled("</s>") };
        assert!(is_separator(&end) && !is_punctuation(&end));
    }
}
