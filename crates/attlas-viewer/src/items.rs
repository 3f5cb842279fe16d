//! The texts of a recording as the page describes them: their tokens, and what stands beside these.

use attlas::{Error, Item, Token, TokenRole, Tokens};
use serde::Serialize;

use crate::beside::{Beside, PageImage, PageSound, PageTree};

/// One text, and what stands beside it.
#[derive(Serialize)]
pub struct PageItem<'a> {
    source: PageTokens<'a>,
    target: PageTokens<'a>,
    predicted: Vec<PageToken<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<PageImage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sound: Option<PageSound>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tree: Option<PageTree<'a>>,
    /// The place of the first target token that was generated, where some were.
    #[serde(skip_serializing_if = "Option::is_none")]
    generated: Option<usize>,
    /// What a reader must know of what was generated, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<String>,
}

#[derive(Serialize)]
struct PageTokens<'a> {
    text: &'a str,
    tokens: Vec<PageToken<'a>>,
    n_padding: usize,
}

#[derive(Serialize)]
struct PageToken<'a> {
    text: &'a str,
    role: TokenRole,
    word: Option<usize>,
    position: usize,
    /// Whether it is silence that was added after a sound.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    silent: bool,
    /// At the first piece of a word that is cut from the text otherwise than its pieces read together: the word.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole: Option<String>,
    /// What the vocabulary calls text that it does not know, where the token is that; its text stands before it in `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<&'a str>,
    /// Whether it belongs to a word that was generated and that the model does not know.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    new: bool,
}

/// A text with what stands beside it.
///
/// # Errors
/// [`Error::Inconsistent`] when what stands beside it is of another text.
pub fn page_item<'a>(item: &'a Item, beside: &'a Beside) -> Result<PageItem<'a>, Error> {
    let target = kept(&item.target);
    let known = item.predicted.len() == item.target.len();
    let mut source = page_tokens(&item.source);
    for token in &mut source.tokens {
        token.silent = item.silence().contains(&token.position);
    }
    let image = match (&item.image, &beside.picture) {
        (Some(grid), picture) => Some(PageImage::new(grid, picture.as_ref())?),
        (None, None) => None,
        (None, Some(_)) => {
            let message = "a picture was given, but the tokens are no patches of an image";
            return Err(Error::Inconsistent(message.into()));
        }
    };
    let n_prompt = item.n_prompt.filter(|n_prompt| *n_prompt < item.target.len());
    let generated = n_prompt.map(|n_prompt| target.iter().filter(|position| **position < n_prompt).count());
    let (mut read, mut predicted) = (page_tokens(&item.target), Vec::new());
    if known {
        predicted = pick(&item.predicted, &target);
    }
    for (page, tokens) in [(&mut read.tokens, &item.target), (&mut predicted, &item.predicted)] {
        page.iter_mut().for_each(|token| token.new = is_of_unknown_word(item, &tokens.tokens[token.position]));
    }
    Ok(PageItem {
        source,
        target: read,
        predicted,
        remarks: item.remarks(),
        image,
        sound: beside.sound.as_ref().map(|sound| PageSound::new(sound, item)).transpose()?,
        tree: beside.tree.as_ref().map(|sentence| PageTree::new(sentence, item)).transpose()?,
        generated: generated.filter(|place| *place < target.len()),
    })
}

/// The indices of the tokens that are not padding.
pub fn kept(tokens: &Tokens) -> Vec<usize> {
    tokens.unpadded(tokens.len())
}

fn page_tokens(tokens: &Tokens) -> PageTokens<'_> {
    let kept = kept(tokens);
    PageTokens { text: &tokens.text, n_padding: tokens.len() - kept.len(), tokens: pick(tokens, &kept) }
}

fn pick<'a>(tokens: &'a Tokens, positions: &[usize]) -> Vec<PageToken<'a>> {
    let picked: Vec<Token> = positions.iter().map(|position| tokens.tokens[*position].clone()).collect();
    let picked = Tokens { text: tokens.text.clone(), tokens: picked };
    let mut wholes = vec![None; positions.len()]; // [positions]
    for (word, merged) in picked.words().into_iter().zip(picked.merged().tokens) {
        let joined: String = picked.tokens[word.clone()].iter().map(|piece| piece.text.as_str()).collect();
        if merged.text != joined {
            wholes[word.start] = Some(merged.text);
        }
    }
    let token = |(position, whole): (&usize, Option<String>)| {
        let token = &tokens.tokens[*position];
        let (text, role, word, unknown) = (&token.text, token.role, token.word, unknown_name(&tokens.text, token));
        PageToken { text, role, word, position: *position, silent: false, whole, unknown, new: false }
    };
    positions.iter().zip(wholes).map(token).collect()
}

/// Whether a token of the target is a piece of a word that the model does not know.
fn is_of_unknown_word(item: &Item, token: &Token) -> bool {
    let Some(own) = &token.span else { return false };
    item.unknown_words.iter().any(|word| own.start < word.end && word.start < own.end)
}

/// `[UNK]` of a token `猫 [UNK]`, which covers `猫`.
fn unknown_name<'a>(text: &str, token: &'a Token) -> Option<&'a str> {
    let covered = text.get(token.span.clone()?).filter(|covered| !covered.is_empty())?;
    let name = token.text.strip_prefix(covered)?.strip_prefix(' ')?;
    Some(name).filter(|name| token.is_text() && !name.is_empty())
}
