//! What tells apart the text that something was measured on, so that numbers are not laid beside maps of another.

use attlas::Tokens;
use sha2::{Digest, Sha256};

use crate::block::pass::hex;

/// A text by the tokens that a model reads: their ids, and the words of those without one. SHA-256, its first 16 digits.
pub fn text_digest(source: &Tokens, target: &Tokens) -> String {
    let mut hash = Sha256::new();
    for tokens in [source, target] {
        hash.update((tokens.len() as u64).to_le_bytes());
        for token in &tokens.tokens {
            match token.id {
                Some(id) => hash.update(id.to_le_bytes()),
                None => hash.update(token.text.as_bytes()),
            }
            hash.update([u8::from(token.id.is_some())]);
        }
    }
    let digits = hex(&hash.finalize());
    digits.get(..16).unwrap_or(&digits).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_told_apart_by_its_tokens_and_by_who_reads_them() {
        let (a, b, none) = (Tokens::from_labels(["a", "b"]), Tokens::from_labels(["a", "c"]), Tokens::default());
        assert_eq!(text_digest(&a, &none), text_digest(&a.clone(), &none));
        for (source, target) in [(&b, &none), (&none, &a), (&a, &a)] {
            assert_ne!(text_digest(&a, &none), text_digest(source, target));
        }
        assert_eq!(text_digest(&a, &none).len(), 16);
    }
}
