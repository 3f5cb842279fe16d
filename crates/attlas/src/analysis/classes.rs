//! How much a query looks at a class of tokens: separators, punctuation.

use super::{Keys, Query, Target};
use crate::{Token, TokenRole};

/// Some keys together; `None` in a text that has none of them. The baseline: what looking at all visible keys alike would give.
///
/// The mean over queries of their weight is `(1/n) Σ_q Σ_{k ∈ class} w(q,k)` (Clark et al. 2019, §3.2).
pub fn of_class(query: &Query<'_>, class: &Keys) -> Option<Target> {
    let members = class.within(&query.visible).iter().copied();
    let n_seen = members.clone().filter(|key| query.sees(*key)).count();
    (!class.is_empty()).then(|| Target::new(members, n_seen as f64 / query.n_visible().max(1) as f64))
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
    let text = token.text.trim_matches(is_space);
    token.role == TokenRole::Text && !text.is_empty() && text.chars().all(|character| !character.is_alphanumeric())
}

/// Whether a character is a space, or stands for one: tokenizers of pieces show a space alone as `␣` or `▁`.
fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '␣' | '▁')
}

/// Words without content of their own, English and French, in lower case and alphabetical order.
const FUNCTION_WORDS: &[&str] = &[
    "a", "about", "after", "all", "am", "an", "and", "are", "as", "at", "au", "aux", "avec", "be", "been", "but", "by",
    "can", "ce", "ces", "cet", "cette", "could", "d'", "dans", "de", "des", "did", "do", "does", "du", "elle", "elles",
    "en", "est", "et", "for", "from", "had", "has", "have", "he", "her", "him", "his", "i", "if", "il", "ils", "in",
    "into", "is", "it", "its", "j'", "je", "l'", "la", "le", "les", "leur", "leurs", "lui", "ma", "mais", "may", "me",
    "mes", "might", "mon", "must", "my", "n'", "ne", "nor", "nos", "not", "notre", "nous", "of", "on", "or", "ou",
    "our", "par", "pas", "pour", "qu'", "que", "qui", "s'", "sa", "sans", "se", "ses", "she", "should", "so", "son",
    "sont", "sur", "t'", "ta", "te", "tes", "than", "that", "the", "their", "them", "then", "there", "these", "they",
    "this", "those", "to", "ton", "tu", "un", "une", "us", "vos", "votre", "vous", "was", "we", "were", "which", "who",
    "will", "with", "would", "y", "you", "your", "à",
];

/// Whether a token of the text is, whole, one of about 150 English and French words that carry grammar rather than content:
/// articles, pronouns, prepositions, conjunctions, auxiliaries.
pub fn is_function_word(token: &Token) -> bool {
    let word = token.text.trim_matches(is_space).to_lowercase().replace('’', "'");
    token.role == TokenRole::Text && FUNCTION_WORDS.binary_search(&word.as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::of_rows;
    use super::*;
    use crate::Kind;

    #[test]
    fn weight_on_a_class_stands_beside_its_share_of_the_keys() {
        let class = Keys::new(3, |key| key == 2);
        let found = of_rows(Kind::Encoder, vec![0.1, 0.2, 0.7, 0.0, 0.3, 0.7], 3, |row| {
            of_class(row, &class).expect("there is one").weight_of(row)
        });
        assert!(
            found.iter().all(|sample| (sample.score - 0.7).abs() < 1e-6 && sample.baseline == 1.0 / 3.0),
            "{found:?}"
        );
    }

    #[test]
    fn a_full_stop_is_punctuation_and_a_special_token_is_not() {
        assert!(is_punctuation(&Token::labelled(" .")));
        assert!(!is_punctuation(&Token::labelled("3.")));
        assert!(is_punctuation(&Token::labelled("␣.")));
        for space in [" ", "␣", "▁"] {
            assert!(!is_punctuation(&Token::labelled(space)), "{space:?} is a space");
        }
        let end = Token { role: TokenRole::Special, ..Token::labelled("</s>") };
        assert!(is_separator(&end) && !is_punctuation(&end));
    }

    #[test]
    fn words_of_grammar_are_found_whatever_their_case_and_the_list_is_in_order() {
        assert!(FUNCTION_WORDS.is_sorted(), "it is searched by halves");
        assert!(is_function_word(&Token::labelled(" The")) && is_function_word(&Token::labelled("l’")));
        assert!(!is_function_word(&Token::labelled("cat")));
    }
}
