//! Base64 (RFC 4648, with padding): how tokenizer.json carries the map of characters of SentencePiece.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes as base64.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().enumerate().fold(0u32, |bits, (index, byte)| bits | u32::from(*byte) << (16 - 8 * index));
        for index in 0..4 {
            let symbol = ALPHABET[(bits >> (18 - 6 * index)) as usize & 63];
            text.push(if index <= chunk.len() { char::from(symbol) } else { '=' });
        }
    }
    text
}

/// Base64 as bytes; `None` when it is none.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let symbols = text.as_bytes();
    if !symbols.len().is_multiple_of(4) {
        return None;
    }
    let n_padding = symbols.iter().rev().take(2).take_while(|symbol| **symbol == b'=').count();
    let mut values = [255u8; 256]; // [n_symbols]
    for (value, symbol) in (0u8..).zip(ALPHABET) {
        values[usize::from(*symbol)] = value;
    }
    let mut bytes = Vec::with_capacity(symbols.len() / 4 * 3);
    let (mut bits, mut n_bits) = (0u32, 0);
    for symbol in &symbols[..symbols.len() - n_padding] {
        let value = values[usize::from(*symbol)];
        if value == 255 {
            return None;
        }
        bits = bits << 6 | u32::from(value);
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push((bits >> n_bits) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn bytes_survive_base64() {
        for text in ["", "f", "fo", "foo", "foob", "fooba", "foobar"] {
            assert_eq!(decode(&encode(text.as_bytes())).as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(encode(b"foob"), "Zm9vYg==");
        assert_eq!(decode("Zm9vYg"), None);
        assert_eq!(decode("Zm9v\u{1}g=="), None);
    }
}
