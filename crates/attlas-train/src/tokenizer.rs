//! The shared byte-pair vocabulary: read from a file, or learnt from the pairs (Sennrich et al. 2016).

use std::path::Path;

use attlas_model::Tokenizer;
use tokenizers::decoders::metaspace::Metaspace as MetaspaceDecoder;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::fixed_length::FixedLength;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, PostProcessorWrapper, SplitDelimiterBehavior, TokenizerBuilder};

use crate::Error;
use crate::batch::Frame;
use crate::files::read_limited;

/// The special tokens of a learnt vocabulary, ids 0 to 3: padding, start, end, unknown.
pub const SPECIAL: [&str; 4] = ["<pad>", "<s>", "</s>", "<unk>"];

/// Larger tokenizer files are refused.
const MAX_BYTES: u64 = 64 << 20;

/// Reads a `tokenizer.json`.
///
/// # Errors
/// [`Error::Read`], [`Error::File`].
pub fn read(path: &Path) -> Result<(Tokenizer, Vec<u8>), Error> {
    let bytes = read_limited(path, MAX_BYTES)?;
    let tokenizer = Tokenizer::from_json(&bytes)
        .map_err(|error| Error::File { path: path.to_path_buf(), problem: error.to_string() })?;
    Ok((tokenizer, bytes))
}

/// The start and end tokens of a vocabulary.
///
/// # Errors
/// [`Error::Tokenizer`] when `<s>` or `</s>` is missing.
pub fn frame(tokenizer: &Tokenizer) -> Result<Frame, Error> {
    let id = |token: &str| {
        tokenizer.id(token).ok_or_else(|| {
            Error::Tokenizer(format!("the vocabulary has no {token}; training frames sentences with it"))
        })
    };
    Ok(Frame { start: id(SPECIAL[1])?, end: id(SPECIAL[2])? })
}

/// Longer words are cut for learning: the library's time for a word grows with the square of its length.
const MAX_LEARNT_CHARS: usize = 1000;

/// Learns a shared byte-pair vocabulary of `n_vocab` tokens from both sides of `pairs`.
///
/// Of a word of more than 1,000 characters the pairs are counted in stretches of 1,000, so that the two characters at a cut
/// are no pair; the vocabulary that is learnt does not cut words so.
///
/// # Errors
/// [`Error::Tokenizer`].
pub fn learn(pairs: &[(String, String)], n_vocab: usize) -> Result<(Tokenizer, Vec<u8>), Error> {
    let error = |error: tokenizers::Error| Error::Tokenizer(error.to_string());
    let special: Vec<AddedToken> = SPECIAL.iter().map(|token| AddedToken::from(*token, true)).collect();
    let model = BPE::builder().unk_token(SPECIAL[3].to_string()).build().map_err(error)?;
    let metaspace = || Metaspace::new('▁', PrependScheme::Always, true).into();
    let punctuation = || Punctuation::new(SplitDelimiterBehavior::Isolated).into();
    let stretches = FixedLength::new(MAX_LEARNT_CHARS).into();
    let mut tokenizer = TokenizerBuilder::new()
        .with_model(model)
        .with_normalizer(Some(NFC))
        .with_pre_tokenizer(Some(Sequence::new(vec![metaspace(), punctuation(), stretches])))
        .with_post_processor(None::<PostProcessorWrapper>)
        .with_decoder(Some(MetaspaceDecoder::new('▁', PrependScheme::Always, true)))
        .build()
        .map_err(error)?;
    let mut trainer =
        BpeTrainer::builder().vocab_size(n_vocab).min_frequency(2).show_progress(false).special_tokens(special).build();
    let sentences = pairs.iter().flat_map(|(source, target)| [source.as_str(), target.as_str()]);
    tokenizer.train(&mut trainer, sentences).map_err(error)?;
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![metaspace(), punctuation()])));
    let json = tokenizer.to_string(false).map_err(error)?;
    let tokenizer = Tokenizer::from_json(json.as_bytes()).map_err(|error| Error::Tokenizer(error.to_string()))?;
    Ok((tokenizer, json.into_bytes()))
}

#[cfg(test)]
mod tests {
    use tokenizers::models::TrainerWrapper;

    use super::*;

    fn pairs(texts: &[&str]) -> Vec<(String, String)> {
        texts.iter().map(|text| ((*text).to_owned(), text.chars().rev().collect())).collect()
    }

    /// The vocabulary of the library's trainer alone.
    fn learnt_whole(pairs: &[(String, String)], n_vocab: usize) -> Vec<u8> {
        let (_, json) = learn(&pairs[..1], SPECIAL.len()).unwrap();
        let mut tokenizer = tokenizers::Tokenizer::from_bytes(json).unwrap();
        let special = SPECIAL.iter().map(|token| AddedToken::from(*token, true)).collect();
        let trainer = BpeTrainer::builder().vocab_size(n_vocab).min_frequency(2).show_progress(false);
        let mut trainer: TrainerWrapper = trainer.special_tokens(special).build().into();
        tokenizer.train(&mut trainer, pairs.iter().flat_map(|(a, b)| [a.as_str(), b.as_str()])).unwrap();
        tokenizer.to_string(false).unwrap().into_bytes()
    }

    #[test]
    fn words_of_a_usual_length_are_learnt_as_the_library_learns_them() {
        let long = "abcde".repeat(199); // with the mark of a space, 996 characters
        let pairs = pairs(&["the cat sat, the cat ate", "an atlas of attention", "données, l'été", &long]);
        let (_, learnt) = learn(&pairs, 60).unwrap();
        assert_eq!(String::from_utf8(learnt).unwrap(), String::from_utf8(learnt_whole(&pairs, 60)).unwrap());
    }

    #[test]
    fn a_longer_word_is_learnt_in_stretches_that_the_vocabulary_does_not_keep() {
        let word = |n: usize| format!("{}bc", "a".repeat(n));
        // the mark of a space and 998 letters come before b: the cut is between b and c
        let cut = vec![(word(998), word(998)); 3];
        let whole = vec![(word(997), word(997)); 3];
        let file = |pairs: &[(String, String)]| String::from_utf8(learn(pairs, 1000).unwrap().1).unwrap();
        assert!(file(&whole).contains(r#"bc""#) && !file(&cut).contains(r#"bc""#));
        assert!(!file(&cut).contains("FixedLength"));
    }
}
