//! A byte-pair vocabulary that is read where it lies: no table is built when a programme starts.
//!
//! The embedded model's vocabulary is kept so. What the library builds of a tokenizer.json, three hash tables and a string for
//! each piece, took a fifth of the time of a short run.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::path::{Path, PathBuf};

use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::BpeTrainer;
use tokenizers::{Model, ModelWrapper, Token};

use super::blueprint::{Blueprint, PieceModel};
use super::json;
use crate::Error;

/// Four bytes of a file: a number, the lowest byte first.
type Number = [u8; 4];

/// The tables, as they lie in the programme.
#[derive(Debug, Clone, Copy)]
pub(super) struct PieceTable {
    /// All pieces, one after the other in the order of their ids.
    text: &'static str,
    /// Where each piece ends in `text`. Shape `[n_pieces]`.
    ends: &'static [Number],
    /// Ids, in the order of their pieces. Shape `[n_pieces]`.
    by_name: &'static [Number],
    /// Left and right half, rank, and what both become; halves rise. Shape `[n_merges, 4]`.
    merges: &'static [[Number; 4]],
    /// Stands for a character that is no piece.
    unknown: u32,
}

/// Reads tables that a test wrote and compares with the tokenizer.json of which they are made.
///
/// Four numbers come first: the bytes of the JSON, the pieces, the merges, the bytes of all pieces. Then the tables, the JSON
/// without its vocabulary, and the pieces.
pub(super) fn read(bytes: &'static [u8], path: &Path) -> Result<Blueprint, Error> {
    let damaged = || Error::file(path, "is no table of pieces");
    let (numbers, rest) = bytes.split_at_checked(4 * size_of::<Number>()).ok_or_else(damaged)?;
    let [n_json, n_pieces, n_merges, n_text] = *numbers.as_chunks().0 else { return Err(damaged()) };
    let count = |bytes: Number| u32::from_le_bytes(bytes) as usize;
    let (ends, rest) = rest.split_at_checked(count(n_pieces) * size_of::<Number>()).ok_or_else(damaged)?;
    let (by_name, rest) = rest.split_at_checked(ends.len()).ok_or_else(damaged)?;
    let (merges, rest) = rest.split_at_checked(count(n_merges) * size_of::<[Number; 4]>()).ok_or_else(damaged)?;
    let (file, text) = rest.split_at_checked(count(n_json)).ok_or_else(damaged)?;
    let mut blueprint = json::read(file, path)?;
    let PieceModel::Bpe { options, .. } = blueprint.model else { return Err(damaged()) };
    let mut table = PieceTable {
        text: str::from_utf8(text).ok().filter(|text| text.len() == count(n_text)).ok_or_else(damaged)?,
        ends: ends.as_chunks().0,
        by_name: by_name.as_chunks().0,
        merges: merges.as_chunks().0.as_chunks().0,
        unknown: 0,
    };
    table.unknown = options.unk_token.and_then(|name| table.id(&name)).ok_or_else(damaged)?;
    blueprint.model = PieceModel::Table(table);
    Ok(blueprint)
}

impl PieceTable {
    /// All pieces with their ids.
    pub fn pieces(&self) -> impl Iterator<Item = (&str, u32)> {
        (0..self.ends.len() as u32).filter_map(|id| Some((self.piece(id)?, id)))
    }

    /// The id that stands for what no piece covers.
    pub fn unknown(&self) -> u32 {
        self.unknown
    }

    /// How many pieces there are; ids count from 0.
    pub fn n_pieces(&self) -> usize {
        self.ends.len()
    }

    fn piece(&self, id: u32) -> Option<&'static str> {
        let end = |id: u32| self.ends.get(id as usize).map(|end| u32::from_le_bytes(*end) as usize);
        let start = id.checked_sub(1).map_or(Some(0), end)?;
        self.text.get(start..end(id)?)
    }

    fn id(&self, piece: &str) -> Option<u32> {
        let name = |id: &Number| self.piece(u32::from_le_bytes(*id)).unwrap_or_default();
        let place = self.by_name.binary_search_by(|id| name(id).cmp(piece)).ok()?;
        Some(u32::from_le_bytes(self.by_name[place]))
    }

    /// The rank of a merge, and what it makes.
    fn merge(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        let halves = |[left, right, ..]: &[Number; 4]| (u32::from_le_bytes(*left), u32::from_le_bytes(*right));
        let place = self.merges.binary_search_by_key(&(left, right), halves).ok()?;
        let [_, _, rank, made] = self.merges[place];
        Some((u32::from_le_bytes(rank), u32::from_le_bytes(made)))
    }

    /// Byte-pair encoding of a word (Sennrich et al. 2016): of all neighbours that can be merged the pair that was learnt first
    /// is, at its first place, until there is none.
    fn cut(&self, word: &str) -> Vec<Symbol> {
        let symbol = |(index, (start, character)): (usize, (usize, char))| {
            let end = start + character.len_utf8();
            let id = self.id(&word[start..end]).unwrap_or(self.unknown);
            Symbol { id, start, end, before: index.wrapping_sub(1), after: index + 1 }
        };
        let mut symbols: Vec<Symbol> = word.char_indices().enumerate().map(symbol).collect();
        let mut queue: BinaryHeap<Reverse<Merge>> =
            (0..symbols.len()).filter_map(|left| self.merge_at(&symbols, left)).map(Reverse).collect();
        while let Some(Reverse(merge)) = queue.pop() {
            let left = merge.left;
            // one of both has become part of another piece since
            if self.merge_at(&symbols, left) != Some(merge) {
                continue;
            }
            let right = symbols[left].after;
            let Symbol { end, after, .. } = symbols[right];
            symbols[right].end = symbols[right].start;
            symbols[left] = Symbol { id: merge.made, end, after, ..symbols[left] };
            if let Some(next) = symbols.get_mut(after) {
                next.before = left;
            }
            let around = [symbols[left].before, left];
            queue.extend(around.into_iter().filter_map(|left| self.merge_at(&symbols, left)).map(Reverse));
        }
        symbols.retain(|symbol| !symbol.is_gone());
        symbols
    }

    /// What the symbol at a place and the one after it can become.
    fn merge_at(&self, symbols: &[Symbol], left: usize) -> Option<Merge> {
        let one = symbols.get(left).filter(|symbol| !symbol.is_gone())?;
        let (rank, made) = self.merge(one.id, symbols.get(one.after)?.id)?;
        Some(Merge { rank, left, made })
    }
}

/// A piece of a word that is being cut.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    id: u32,
    /// Its bytes in the word.
    start: usize,
    end: usize,
    /// Its neighbours' places; none lies outside.
    before: usize,
    after: usize,
}

impl Symbol {
    /// Whether it became part of the one before it.
    fn is_gone(&self) -> bool {
        self.start == self.end
    }
}

/// Two neighbours that can become one; the one that is made first is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Merge {
    rank: u32,
    left: usize,
    made: u32,
}

/// What cuts words: one of the library's models, or tables.
#[derive(Debug, Clone)]
pub(super) enum Pieces {
    Library(Box<ModelWrapper>),
    Table(PieceTable),
}

impl Model for Pieces {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, word: &str) -> tokenizers::Result<Vec<Token>> {
        match self {
            Pieces::Library(model) => model.tokenize(word),
            Pieces::Table(table) => {
                let name = |id: u32| table.piece(id).unwrap_or_default().to_owned();
                let token = |symbol: Symbol| Token::new(symbol.id, name(symbol.id), (symbol.start, symbol.end));
                Ok(table.cut(word).into_iter().map(token).collect())
            }
        }
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        match self {
            Pieces::Library(model) => model.token_to_id(token),
            Pieces::Table(table) => table.id(token),
        }
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        match self {
            Pieces::Library(model) => model.id_to_token(id),
            Pieces::Table(table) => table.piece(id).map(str::to_owned),
        }
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        match self {
            Pieces::Library(model) => model.get_vocab(),
            Pieces::Table(table) => table.pieces().map(|(piece, id)| (piece.to_owned(), id)).collect(),
        }
    }

    fn get_vocab_size(&self) -> usize {
        match self {
            Pieces::Library(model) => model.get_vocab_size(),
            Pieces::Table(table) => table.n_pieces(),
        }
    }

    fn save(&self, folder: &Path, name: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        match self {
            Pieces::Library(model) => model.save(folder, name),
            Pieces::Table(_) => Err("tables are not written again".into()),
        }
    }

    fn get_trainer(&self) -> TrainerWrapper {
        match self {
            Pieces::Library(model) => model.get_trainer(),
            Pieces::Table(_) => TrainerWrapper::BpeTrainer(BpeTrainer::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::Tokenizer;

    const JSON: &[u8] = include_bytes!("../../embedded/tokenizer.json");
    const TABLE: &[u8] = include_bytes!("../../embedded/tokenizer.table");

    /// The tables of a tokenizer.json; what they leave out must not be in it.
    fn table_of(json: &[u8]) -> Vec<u8> {
        let mut file: serde_json::Value = serde_json::from_slice(json).unwrap();
        let model = &mut file["model"];
        for option in ["fuse_unk", "byte_fallback", "ignore_merges"] {
            assert!(!model[option].as_bool().unwrap_or(false), "{option}");
        }
        for option in ["continuing_subword_prefix", "end_of_word_suffix", "dropout"] {
            assert!(model[option].is_null(), "{option}");
        }
        let vocab = std::mem::replace(&mut model["vocab"], serde_json::json!({}));
        let merges = std::mem::replace(&mut model["merges"], serde_json::json!([]));
        let ids: HashMap<&str, u32> = vocab
            .as_object()
            .unwrap()
            .iter()
            .map(|(piece, id)| (piece.as_str(), id.as_u64().unwrap() as u32))
            .collect();
        let mut pieces = vec![""; ids.len()];
        ids.iter().for_each(|(piece, id)| pieces[*id as usize] = piece);
        assert!(pieces.iter().all(|piece| !piece.is_empty()), "ids have no gap");
        let ends = pieces.iter().scan(0, |end, piece| {
            *end += piece.len();
            Some(*end as u32)
        });
        let mut by_name: Vec<u32> = (0..pieces.len() as u32).collect();
        by_name.sort_by_key(|id| pieces[*id as usize]);
        let half = |merge: &serde_json::Value, index: usize| merge[index].as_str().unwrap().to_owned();
        let merge = |(rank, merge): (usize, &serde_json::Value)| {
            let (left, right) = (half(merge, 0), half(merge, 1));
            [ids[left.as_str()], ids[right.as_str()], rank as u32, ids[format!("{left}{right}").as_str()]]
        };
        let mut merges: Vec<[u32; 4]> = merges.as_array().unwrap().iter().enumerate().map(merge).collect();
        merges.sort();
        let (rest, text) = (serde_json::to_vec(&file).unwrap(), pieces.concat());
        let counts = [rest.len() as u32, pieces.len() as u32, merges.len() as u32, text.len() as u32];
        let numbers = counts.into_iter().chain(ends).chain(by_name).chain(merges.into_iter().flatten());
        numbers.flat_map(u32::to_le_bytes).chain(rest).chain(text.into_bytes()).collect()
    }

    #[test]
    fn the_tables_are_those_of_the_embedded_tokenizer() {
        let table = table_of(JSON);
        if std::env::var_os("ATTLAS_ACCEPT").is_some() {
            std::fs::write("embedded/tokenizer.table", &table).unwrap();
        }
        assert!(table == TABLE, "run this test once with ATTLAS_ACCEPT=1, then build anew");
    }

    #[test]
    fn texts_are_cut_as_the_library_cuts_them() {
        let (ours, library) = (Tokenizer::from_table(TABLE).unwrap(), Tokenizer::from_json(JSON).unwrap());
        assert_eq!(ours.vocab_size(), library.vocab_size());
        assert_eq!(ours.special_ids(), library.special_ids());
        for id in 0..library.vocab_size() as u32 {
            let token = library.token(id).unwrap();
            assert_eq!(ours.token(id).unwrap(), token);
            let piece = library.name(id).unwrap();
            assert_eq!((ours.id(&piece), ours.name(id).unwrap()), (library.id(&piece), piece));
        }
        let mut texts: Vec<String> = [
            "",
            " ",
            "The cat sat on the mat.",
            "L'éléphant n'est-il pas « là » ?",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "猫 sat 🙂🙂.",
            "e\u{301}te\u{301}",
            "<s> is </s> no <pad>text<unk>",
            "1234 5,6",
            "unbelievableunbelievableunbelievable",
        ]
        .map(str::to_owned)
        .to_vec();
        // words that nobody learnt: letters in an order that looks random
        let letters: Vec<char> = "etaoinshrdlucéèàç'▁xqz猫".chars().collect();
        let mut state = 1u64;
        for length in (1..200).step_by(9) {
            texts.push(
                (0..length)
                    .map(|_| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        letters[(state >> 33) as usize % letters.len()]
                    })
                    .collect(),
            );
        }
        for text in &texts {
            let (ours, library) = (ours.encode(text, None).unwrap(), library.encode(text, None).unwrap());
            assert_eq!(ours, library, "{text}");
        }
    }

    #[test]
    fn a_long_word_takes_no_longer_than_its_length_asks() {
        let PieceModel::Table(table) = read(TABLE, Path::new("table")).unwrap().model else { panic!("no table") };
        let n_pieces = table.cut(&"internationalisation".repeat(10_000)).len();
        assert!((10_000..100_000).contains(&n_pieces), "{n_pieces}");
    }
}
