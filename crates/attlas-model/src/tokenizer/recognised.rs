//! Tokens of which only the pieces are known, as a vocabulary writes them: their text, words and special tokens.

use attlas::arrays::is_called_padding;
use attlas::{Token, TokenRole, Tokens};

use super::Tokenizer;
use super::shown::{PieceStyle, Words, show};

/// Special tokens of well-known models that are neither written `<|…|>` nor called padding.
const SPECIAL: [&str; 14] = [
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "[BOS]",
    "[EOS]",
    "<s>",
    "</s>",
    "<cls>",
    "<sep>",
    "<mask>",
    "<bos>",
    "<eos>",
    "<start_of_turn>",
    "<end_of_turn>",
];

/// Makes tokens of pieces, a row of them for each text: their text as it is shown, their roles, and the word each belongs to.
///
/// How pieces stand for text is what the tokenizer says, or what the pieces show: `##` before those that go on a word (BERT),
/// `Ġ` for a space (byte-level), `▁` for a space (SentencePiece). Pieces without any of these are words by themselves.
/// Special tokens are those of the tokenizer and well-known ones; padding keeps its name, and is told by the maps.
pub fn recognise(texts: &[Vec<String>], tokenizer: Option<&Tokenizer>) -> Vec<Tokens> {
    let style = tokenizer.map_or_else(|| style_of(texts), |tokenizer| tokenizer.style.clone());
    texts.iter().map(|pieces| of_text(pieces, &style, tokenizer)).collect()
}

/// How the pieces stand for text.
fn style_of(texts: &[Vec<String>]) -> PieceStyle {
    let any = |is: fn(&str) -> bool| texts.iter().flatten().any(|piece| is(piece));
    if any(|piece| piece.starts_with('▁')) {
        PieceStyle::Metaspace
    } else if any(|piece| piece.starts_with('Ġ') || piece == "Ċ") {
        PieceStyle::ByteLevel
    } else if any(|piece| piece.starts_with("##") && piece.len() > 2) {
        PieceStyle::Prefix("##".into())
    } else {
        PieceStyle::Plain
    }
}

fn of_text(pieces: &[String], style: &PieceStyle, tokenizer: Option<&Tokenizer>) -> Tokens {
    let mut bytes = Vec::new();
    let mut starts = Vec::with_capacity(pieces.len()); // where each piece of the text begins in it
    let mut tokens = Vec::with_capacity(pieces.len());
    let mut n_plain = 0;
    for piece in pieces {
        let id = tokenizer.and_then(|tokenizer| tokenizer.id(piece));
        let is_special = SPECIAL.contains(&piece.as_str())
            || (piece.starts_with("<|") && piece.ends_with("|>"))
            || tokenizer.is_some_and(|tokenizer| id.is_some_and(|id| tokenizer.special.contains(&id)));
        if is_special || is_called_padding(piece) {
            let role = if is_special && !is_called_padding(piece) { TokenRole::Special } else { TokenRole::Text };
            tokens.push(Token { id, role, ..Token::labelled(piece.as_str()) });
            starts.push(None);
            bytes.push(b' ');
            continue;
        }
        let own = style.bytes(piece);
        let begins_word = match style {
            PieceStyle::Prefix(mark) => !piece.starts_with(mark.as_str()),
            _ => false,
        };
        if begins_word {
            bytes.push(b' ');
        }
        let space = own.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        starts.push(Some(bytes.len() + if space < own.len() { space } else { 0 }));
        let mut token = Token { id, ..Token::labelled(show(&own)) };
        if *style == PieceStyle::Plain {
            token.word = Some(n_plain);
            n_plain += 1;
        }
        tokens.push(token);
        bytes.extend(own);
        if let PieceStyle::Suffix(mark) = style
            && piece.ends_with(mark.as_str())
        {
            bytes.push(b' ');
        }
    }
    if *style != PieceStyle::Plain {
        let words = Words::of(&same_length_text(&bytes));
        for (token, start) in tokens.iter_mut().zip(starts) {
            // a space alone belongs to the word that it introduces
            token.word = start.and_then(|start| words.at(start).or_else(|| words.at(start + 1)));
        }
    }
    Tokens { text: String::new(), tokens }
}

/// The bytes as text, a letter for each that is no part of a character, so that places stay.
fn same_length_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|_| text.push('x'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognised(pieces: &[&str]) -> Vec<(String, TokenRole, Option<usize>)> {
        let texts = [pieces.iter().map(|piece| (*piece).to_owned()).collect()];
        let [tokens] = recognise(&texts, None).try_into().unwrap();
        tokens.tokens.into_iter().map(|token| (token.text, token.role, token.word)).collect()
    }

    #[test]
    fn pieces_of_bert_gpt_and_sentencepiece_are_joined_to_words() {
        let text = |text: &str, word| (text.to_owned(), TokenRole::Text, Some(word));
        let special = |text: &str| (text.to_owned(), TokenRole::Special, None);
        let word = [text("un", 0), text("believ", 0), text("able", 0), text("!", 1)];
        let bert = recognised(&["[CLS]", "un", "##believ", "##able", "!", "[SEP]"]);
        assert_eq!((&bert[0], &bert[1..5], &bert[5]), (&special("[CLS]"), &word[..], &special("[SEP]")));
        let bytes = recognised(&["<s>", "Ġun", "believ", "able", "!", "</s>"]);
        assert_eq!(bytes[1..5], word);
        let pieces = recognised(&["▁un", "believ", "able", "▁new", "s", "</s>"]);
        assert_eq!(pieces[2..5], [text("able", 0), text("new", 1), text("s", 1)]);
        assert_eq!(recognised(&["▁", "a"]), [text("␣", 0), text("a", 0)]);
    }

    #[test]
    fn labels_that_are_no_pieces_are_words_by_themselves() {
        let words: Vec<_> =
            recognised(&["New York", "is", "<s>", "big"]).into_iter().map(|(_, _, word)| word).collect();
        assert_eq!(words, [Some(0), Some(1), None, Some(2)]);
    }

    #[test]
    fn bytes_of_one_character_share_its_word() {
        // 你 is E4 BD A0, written ä ½ ł by byte-level vocabularies
        let words: Vec<_> = recognised(&["Ġa", "Ġä½", "ł", "!"]).into_iter().map(|(_, _, word)| word).collect();
        assert_eq!(words, [Some(0), Some(1), Some(1), Some(2)]);
    }
}
