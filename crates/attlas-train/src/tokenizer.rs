//! The shared byte-pair vocabulary: read from a file, or learnt from the pairs (Sennrich et al. 2016).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tokenizers::decoders::metaspace::Metaspace as MetaspaceDecoder;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, PostProcessorWrapper, SplitDelimiterBehavior, Tokenizer, TokenizerBuilder};

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
/// [`Error::Read`], [`Error::File`]; a panic inside the tokenizers library is reported as the file's fault.
pub fn read(path: &Path) -> Result<(Tokenizer, Vec<u8>), Error> {
    let bytes = read_limited(path, MAX_BYTES)?;
    let problem = |problem: String| Error::File { path: path.to_path_buf(), problem };
    // the checked reader first: the library panics, aborts or hangs on some hostile files
    attlas_model::Tokenizer::from_json(&bytes).map_err(|error| problem(error.to_string()))?;
    let tokenizer = catch_unwind(AssertUnwindSafe(|| Tokenizer::from_bytes(&bytes)))
        .map_err(|_| problem("the tokenizers library gave up on it".to_string()))?
        .map_err(|error| problem(format!("no tokenizer: {error}")))?;
    Ok((tokenizer, bytes))
}

/// The start and end tokens of a vocabulary.
///
/// # Errors
/// [`Error::Tokenizer`] when `<s>` or `</s>` is missing.
pub fn frame(tokenizer: &Tokenizer) -> Result<Frame, Error> {
    let id = |token: &str| {
        tokenizer.token_to_id(token).ok_or_else(|| {
            Error::Tokenizer(format!("the vocabulary has no {token}; training frames sentences with it"))
        })
    };
    Ok(Frame { start: id(SPECIAL[1])?, end: id(SPECIAL[2])? })
}

/// Learns a shared byte-pair vocabulary of `n_vocab` tokens from both sides of `pairs`.
///
/// # Errors
/// [`Error::Tokenizer`].
pub fn learn(pairs: &[(String, String)], n_vocab: usize) -> Result<(Tokenizer, Vec<u8>), Error> {
    let error = |error: tokenizers::Error| Error::Tokenizer(error.to_string());
    let special: Vec<AddedToken> = SPECIAL.iter().map(|token| AddedToken::from(*token, true)).collect();
    let model = BPE::builder().unk_token(SPECIAL[3].to_string()).build().map_err(error)?;
    let metaspace = || Metaspace::new('▁', PrependScheme::Always, true);
    let punctuation = Punctuation::new(SplitDelimiterBehavior::Isolated);
    let mut tokenizer = TokenizerBuilder::new()
        .with_model(model)
        .with_normalizer(Some(NFC))
        .with_pre_tokenizer(Some(Sequence::new(vec![metaspace().into(), punctuation.into()])))
        .with_post_processor(None::<PostProcessorWrapper>)
        .with_decoder(Some(MetaspaceDecoder::new('▁', PrependScheme::Always, true)))
        .build()
        .map_err(error)?;
    let mut trainer =
        BpeTrainer::builder().vocab_size(n_vocab).min_frequency(2).show_progress(false).special_tokens(special).build();
    let sentences = pairs.iter().flat_map(|(source, target)| [source.as_str(), target.as_str()]);
    tokenizer.train(&mut trainer, sentences).map_err(error)?;
    let json = tokenizer.to_string(false).map_err(error)?;
    let tokenizer = Tokenizer::from_bytes(json.as_bytes()).map_err(error)?;
    Ok((tokenizer, json.into_bytes()))
}
