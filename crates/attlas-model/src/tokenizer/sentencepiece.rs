//! Reads SentencePiece models (Kudo & Richardson 2018): the few fields that matter, straight from the protobuf wire format.

use std::path::Path;

use crate::Error;

/// Pieces of a model; the largest in use has 262,144.
const MAX_PIECES: usize = 1 << 22;

/// What a SentencePiece file says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct SentencePiece {
    /// The vocabulary; the index is the id.
    pub pieces: Vec<Piece>,
    /// How text is cut.
    pub algorithm: Algorithm,
    /// Whether what no piece covers is spelled in bytes.
    pub byte_fallback: bool,
    /// The id for what no piece covers.
    pub unk_id: u32,
    /// The compiled map of characters; empty for none.
    pub charsmap: Vec<u8>,
    /// Whether a space is put before the text.
    pub add_dummy_prefix: bool,
    /// Whether runs of spaces become one, and none is left at the ends.
    pub remove_extra_whitespaces: bool,
}

/// One entry of the vocabulary.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece {
    pub text: String,
    /// Log-probability (Unigram), or minus the rank of the merge (BPE).
    pub score: f32,
    pub kind: PieceKind,
}

/// What an entry of the vocabulary is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PieceKind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// How text is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Algorithm {
    #[default]
    Unigram,
    Bpe,
    /// Words or characters; not in use by models.
    Other,
}

impl SentencePiece {
    /// Reads a `.model` or `.spm` file.
    pub fn read(bytes: &[u8], path: &Path) -> Result<SentencePiece, Error> {
        let mut model =
            SentencePiece { add_dummy_prefix: true, remove_extra_whitespaces: true, ..SentencePiece::default() };
        model.fields(bytes).map_err(|reason| Error::file(path, format!("is not a SentencePiece model: {reason}")))?;
        if model.pieces.is_empty() {
            return Err(Error::file(path, "is not a SentencePiece model: it has no pieces"));
        }
        if model.algorithm == Algorithm::Other {
            return Err(Error::file(path, "cuts text into words or characters; Unigram and BPE are known"));
        }
        if model.unk_id as usize >= model.pieces.len() {
            return Err(Error::file(
                path,
                format!("gives the unknown piece the id {}, but has {} pieces", model.unk_id, model.pieces.len()),
            ));
        }
        Ok(model)
    }

    /// `ModelProto`: pieces = 1, trainer_spec = 2, normalizer_spec = 3.
    fn fields(&mut self, bytes: &[u8]) -> Result<(), String> {
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(piece)) => {
                    if self.pieces.len() == MAX_PIECES {
                        return Err(format!("it has more than {MAX_PIECES} pieces"));
                    }
                    self.pieces.push(Piece::read(piece)?);
                }
                (2, Value::Bytes(trainer)) => self.trainer_fields(trainer)?,
                (3, Value::Bytes(normalizer)) => self.normalizer_fields(normalizer)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// `TrainerSpec`: model_type = 3, byte_fallback = 35, unk_id = 40.
    fn trainer_fields(&mut self, bytes: &[u8]) -> Result<(), String> {
        for field in Fields(bytes) {
            match field? {
                (3, Value::Number(1)) => self.algorithm = Algorithm::Unigram,
                (3, Value::Number(2)) => self.algorithm = Algorithm::Bpe,
                (3, Value::Number(_)) => self.algorithm = Algorithm::Other,
                (35, Value::Number(number)) => self.byte_fallback = number != 0,
                (40, Value::Number(number)) => {
                    self.unk_id = u32::try_from(number).map_err(|_| "its unk_id is no id".to_owned())?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `NormalizerSpec`: precompiled_charsmap = 2, add_dummy_prefix = 3, remove_extra_whitespaces = 4.
    fn normalizer_fields(&mut self, bytes: &[u8]) -> Result<(), String> {
        for field in Fields(bytes) {
            match field? {
                (2, Value::Bytes(charsmap)) => self.charsmap = charsmap.to_vec(),
                (3, Value::Number(number)) => self.add_dummy_prefix = number != 0,
                (4, Value::Number(number)) => self.remove_extra_whitespaces = number != 0,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Piece {
    /// `SentencePiece`: piece = 1, score = 2, type = 3.
    fn read(bytes: &[u8]) -> Result<Piece, String> {
        let mut piece = Piece { text: String::new(), score: 0.0, kind: PieceKind::Normal };
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(text)) => {
                    let text = std::str::from_utf8(text).map_err(|error| format!("a piece is not UTF-8: {error}"))?;
                    text.clone_into(&mut piece.text);
                }
                (2, Value::Fixed(bits)) => piece.score = f32::from_bits(bits),
                (3, Value::Number(kind)) => piece.kind = PieceKind::read(kind)?,
                _ => {}
            }
        }
        Ok(piece)
    }
}

impl PieceKind {
    fn read(number: u64) -> Result<PieceKind, String> {
        Ok(match number {
            1 => PieceKind::Normal,
            2 => PieceKind::Unknown,
            3 => PieceKind::Control,
            4 => PieceKind::UserDefined,
            5 => PieceKind::Unused,
            6 => PieceKind::Byte,
            _ => return Err(format!("a piece has the unknown type {number}")),
        })
    }
}

/// The fields of one message: number and value.
struct Fields<'a>(&'a [u8]);

/// A value on the wire.
enum Value<'a> {
    /// Wire type 0.
    Number(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed(u32),
    /// Wire type 1; no field of interest has it.
    Fixed64,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>), String> {
        let key = self.number()?;
        let value = match key & 7 {
            0 => Value::Number(self.number()?),
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let length = self.number()?;
                Value::Bytes(self.take(usize::try_from(length).unwrap_or(usize::MAX))?)
            }
            5 => {
                let bytes = self.take(4)?;
                Value::Fixed(bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u32::from(*byte)))
            }
            wire_type => return Err(format!("a field has the wire type {wire_type}")),
        };
        Ok((key >> 3, value))
    }

    /// A base-128 number, least significant group first.
    fn number(&mut self) -> Result<u64, String> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("a number has more than 64 bits".to_owned())
    }

    fn take(&mut self, n_bytes: usize) -> Result<&'a [u8], String> {
        let Some((taken, rest)) = self.0.split_at_checked(n_bytes) else {
            return Err(format!("{n_bytes} bytes are announced, {} follow", self.0.len()));
        };
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One piece "a" of score −1, Unigram, unk_id 0.
    const SMALL: &[u8] = &[10, 8, 10, 1, b'a', 21, 0, 0, 128, 191, 18, 2, 24, 1];

    #[test]
    fn a_small_model_is_read_from_the_wire() {
        let model = SentencePiece::read(SMALL, Path::new("a.model")).unwrap();
        assert_eq!(model.pieces, [Piece { text: "a".to_owned(), score: -1.0, kind: PieceKind::Normal }]);
        assert_eq!(model.algorithm, Algorithm::Unigram);
    }

    #[test]
    fn lying_lengths_and_endless_numbers_are_refused() {
        let refusal = |bytes: &[u8]| SentencePiece::read(bytes, Path::new("a.model")).unwrap_err().to_string();
        for end in 1..SMALL.len() - 4 {
            refusal(&SMALL[..end]);
        }
        assert!(refusal(&[10, 200, 10, 1]).contains("1352 bytes are announced, 1 follow"));
        assert!(refusal(&[255; 20]).contains("more than 64 bits"));
        assert!(refusal(b"").contains("no pieces"));
        assert!(refusal(&[11]).contains("wire type 3"));
        assert!(refusal(&[SMALL, &[18, 3, 192, 2, 9]].concat()).contains("the id 9, but has 1 pieces"));
    }
}
