//! Cutting words into pieces otherwise each time: BPE-dropout (Provilkov et al. 2020).

use std::collections::HashMap;

use attlas_model::Tokenizer;
use serde::Deserialize;

use crate::Error;
use crate::data::Random;

/// The merges of a byte-pair vocabulary, by ids.
#[derive(Debug)]
pub struct Merges {
    /// Rank and id of what two pieces become.
    merged: HashMap<(u32, u32), (usize, u32)>,
    /// The pieces of one character that each id is made of. Shape `[n_ids][n_letters]`.
    letters: Vec<Vec<u32>>,
}

/// The part of a tokenizer.json that is read here.
#[derive(Deserialize)]
struct File {
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default)]
    merges: Vec<Merge>,
    continuing_subword_prefix: Option<String>,
}

/// Two pieces, as newer and older files write them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Two(String, String),
    Joined(String),
}

impl Merges {
    /// Those of a tokenizer.json.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when it has none, or they name pieces that are not there.
    pub fn read(json: &[u8], tokenizer: &Tokenizer) -> Result<Merges, Error> {
        let file: File = serde_json::from_slice(json).map_err(|_| no_merges())?;
        if file.model.merges.is_empty() || file.model.continuing_subword_prefix.is_some_and(|prefix| !prefix.is_empty())
        {
            return Err(no_merges());
        }
        let id = |piece: &str| {
            tokenizer.id(piece).ok_or_else(|| {
                Error::Tokenizer(format!("its merges name the piece {piece:?}, which the vocabulary has not"))
            })
        };
        let mut merges = Merges {
            merged: HashMap::with_capacity(file.model.merges.len()),
            letters: (0..tokenizer.n_ids() as u32).map(|id| vec![id]).collect(),
        };
        for (rank, merge) in file.model.merges.iter().enumerate() {
            let (left, right) = match merge {
                Merge::Two(left, right) => (left.as_str(), right.as_str()),
                Merge::Joined(both) => both.split_once(' ').ok_or_else(no_merges)?,
            };
            let (left, right, whole) = (id(left)?, id(right)?, id(&format!("{left}{right}"))?);
            let letters = [left, right].map(|id| merges.letters[id as usize].as_slice()).concat();
            merges.letters[whole as usize] = letters;
            merges.merged.entry((left, right)).or_insert((rank, whole));
        }
        Ok(merges)
    }

    /// Appends the pieces of one word, whose usual pieces are `word`: before each merge, each that is possible is left out
    /// with probability `dropout`; where none is left the word is done.
    pub fn cut(&self, word: &[u32], dropout: f64, random: &mut Random, pieces: &mut Vec<u32>) {
        let first = pieces.len();
        word.iter().for_each(|id| pieces.extend_from_slice(&self.letters[*id as usize]));
        loop {
            let possible = pieces[first..].windows(2).enumerate().filter_map(|(place, two)| {
                let (rank, whole) = self.merged.get(&(two[0], two[1]))?;
                Some((*rank, place, *whole))
            });
            let Some((_, place, whole)) = possible.filter(|_| !random.happens(dropout)).min() else { break };
            pieces[first + place] = whole;
            pieces.remove(first + place + 1);
        }
    }
}

fn no_merges() -> Error {
    Error::Tokenizer(
        "BPE-dropout leaves out merges, and this tokenizer has none: a vocabulary of byte pairs is needed".into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::read;

    const TEXTS: [&str; 3] =
        ["The animal didn't cross the street, because it was too tired.", "L'été 1969 à Ibusuki !", "xyzzy 猫"];

    /// The embedded model's vocabulary and its merges.
    fn embedded() -> (Tokenizer, Merges) {
        let (tokenizer, json) = read(std::path::Path::new("../attlas-model/embedded/tokenizer.json")).unwrap();
        let merges = Merges::read(&json, &tokenizer).unwrap();
        (tokenizer, merges)
    }

    fn cut(text: &str, dropout: f64, seed: u64) -> Vec<u32> {
        let (tokenizer, merges) = embedded();
        let (mut random, mut pieces) = (Random::new(seed), Vec::new());
        let words = tokenizer.words(text).unwrap();
        words.iter().for_each(|word| merges.cut(word, dropout, &mut random, &mut pieces));
        pieces
    }

    #[test]
    fn without_dropout_a_text_is_cut_as_the_tokenizer_cuts_it() {
        for text in TEXTS {
            assert_eq!(cut(text, 0.0, 1), embedded().0.ids(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn with_every_merge_left_out_a_text_is_its_letters() {
        let (tokenizer, _) = embedded();
        let pieces = cut("It's late.", 1.0, 1);
        let letters: Vec<u32> =
            "▁It's▁late.".chars().map(|letter| tokenizer.id(&letter.to_string()).unwrap()).collect();
        assert_eq!(pieces, letters);
    }

    #[test]
    fn pieces_are_others_with_another_seed_and_always_spell_the_text() {
        let (tokenizer, _) = embedded();
        let spelt = |pieces: &[u32]| tokenizer.decode(pieces).unwrap();
        for text in &TEXTS[..2] {
            let usual = tokenizer.ids(text).unwrap();
            let cuts: std::collections::BTreeSet<Vec<u32>> = (0..20).map(|seed| cut(text, 0.3, seed)).collect();
            assert!(cuts.len() > 15, "{} of 20 are different", cuts.len());
            for pieces in cuts {
                assert!(pieces.len() >= usual.len());
                assert_eq!(spelt(&pieces), spelt(&usual));
            }
            assert_eq!(cut(text, 0.3, 7), cut(text, 0.3, 7));
        }
    }

    #[test]
    fn about_the_asked_share_of_merges_is_left_out() {
        // ab is one merge away from its letters
        let merges = Merges { merged: HashMap::from([((0, 1), (0, 2))]), letters: vec![vec![0], vec![1], vec![0, 1]] };
        let mut random = Random::new(3);
        let n_whole = (0..10_000).filter(|_| {
            let mut pieces = Vec::new();
            merges.cut(&[2], 0.1, &mut random, &mut pieces);
            pieces == [2]
        });
        let n_whole = n_whole.count();
        assert!((8900..9100).contains(&n_whole), "{n_whole} of 10,000 are whole");
    }

    #[test]
    fn a_vocabulary_without_merges_is_refused() {
        let (tokenizer, _) = embedded();
        let error = Merges::read(br#"{"model":{"type":"WordLevel","vocab":{}}}"#, &tokenizer).unwrap_err();
        assert!(error.to_string().contains("this tokenizer has none"), "{error}");
        let error = Merges::read(br#"{"model":{"merges":["a qqq"]}}"#, &tokenizer).unwrap_err();
        assert!(error.to_string().contains("its merges name the piece \"qqq\""), "{error}");
    }
}
