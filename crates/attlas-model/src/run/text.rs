//! Between text and what a model reads: special tokens at the ends, tokens from ids, generated tokens back in the text.

use attlas::{Item, Token, TokenRole, Tokens};

use super::capitals::small_letters;
use super::generate::Generated;
use super::input::{Input, Side};
use super::record::Generation;
use crate::Error;
use crate::config::Filling;
use crate::model::{Model, Training};
use crate::tokenizer::Tokenizer;

impl Model {
    /// The text as the encoder reads it, special tokens added.
    ///
    /// # Errors
    /// When the text is empty, or the model has no tokenizer or no encoder.
    pub fn source_tokens(&self, text: &str) -> Result<Tokens, Error> {
        Ok(self.source_pair(text, None)?.source)
    }

    /// A text, or a pair of texts with their segments, as the encoder reads it.
    ///
    /// # Errors
    /// As [`Model::source_tokens`].
    pub fn source_pair(&self, text: &str, pair: Option<&str>) -> Result<Input, Error> {
        self.needs(Side::Source)?;
        check_text(text)?;
        let small = self.training.and_then(|_| small_letters(text));
        let encoded = self.tokenizer_or_error()?.encode(small.as_deref().unwrap_or(text), pair)?;
        let mut source = encoded.tokens;
        if small.is_some() {
            text.clone_into(&mut source.text);
        }
        let mut segments = encoded.segments;
        if let Some(end) = self.transformer.architecture.ids.source_end
            && source.tokens.last().and_then(|token| token.id) != Some(end)
        {
            source.tokens.push(self.token(end));
            segments.push(segments.last().copied().unwrap_or(0));
        }
        self.languages.mark_source(self, &mut source, &mut segments);
        if let Some(Filling { id, n, .. }) = self.transformer.architecture.ids.filling {
            let filling = Token { role: TokenRole::Special, ..self.token(id) };
            source.tokens.resize(source.tokens.len().max(n), filling);
            segments.resize(source.tokens.len(), 0);
        }
        Ok(Input { source, segments, ..Input::default() })
    }

    /// The text as the decoder reads it: its start token first, the end token left to be predicted.
    ///
    /// # Errors
    /// When the text is empty, or the model has no tokenizer or no decoder.
    pub fn target_tokens(&self, text: &str) -> Result<Tokens, Error> {
        self.needs(Side::Target)?;
        check_text(text)?;
        let tokenizer = self.target_tokenizer.as_deref().map_or_else(|| self.tokenizer_or_error(), Ok)?;
        let mut tokens = tokenizer.encode(text, None)?.tokens;
        if self.has(Side::Source) {
            while tokens.tokens.last().is_some_and(|token| token.role == TokenRole::Special) {
                tokens.tokens.pop();
            }
            self.put_start(&mut tokens);
            self.languages.mark_target(self, &mut tokens);
        }
        Ok(tokens)
    }

    /// What the decoder reads before it generates: its start token in an encoder-decoder, the text otherwise.
    ///
    /// # Errors
    /// When the model has no decoder, or no start token is known.
    pub fn prompt_tokens(&self, text: &str) -> Result<Tokens, Error> {
        self.needs(Side::Target)?;
        if !self.has(Side::Source) {
            return self.target_tokens(text);
        }
        let mut tokens = Tokens::default();
        self.put_start(&mut tokens);
        if tokens.is_empty() {
            return Err(Error::Unsupported(format!(
                "{} cannot generate: its config.json names no start token (bos or decoder_start_token_id)",
                self.name()
            )));
        }
        Ok(tokens)
    }

    /// What the model reads of a text, whatever its stacks: an encoder-decoder also needs `target`, and gets its start
    /// token as prompt without one; a decoder-only model reads the text itself.
    ///
    /// # Errors
    /// When a text is empty or the model cannot read it.
    pub fn input(&self, text: &str, target: Option<&str>) -> Result<Input, Error> {
        if !self.has(Side::Source) {
            let joined = target.map(|target| format!("{text}{target}"));
            let target = self.target_tokens(joined.as_deref().unwrap_or(text))?;
            return Ok(Input { target, ..Input::default() });
        }
        let source = self.source_pair(text, None)?;
        let target = match (self.has(Side::Target), target) {
            (false, Some(_)) => {
                return Err(Error::Input(format!("{} has no decoder and reads no target", self.name())));
            }
            (false, None) => Tokens::default(),
            (true, Some(target)) => self.target_tokens(target)?,
            (true, None) => self.prompt_tokens(text)?,
        };
        Ok(Input { target, ..source })
    }

    /// Tokens of which only the ids are known. Nothing is added; ids of the padding token at the end are padding.
    ///
    /// # Errors
    /// When there is no id, or one has no embedding.
    pub fn tokens_from_ids(&self, side: Side, ids: &[u32]) -> Result<Tokens, Error> {
        self.needs(side)?;
        let architecture = &self.transformer.architecture;
        let (name, stack) = match side {
            Side::Source => ("source", &architecture.encoder),
            Side::Target => ("target", &architecture.decoder),
        };
        let n_tokens = stack.as_ref().map_or(0, |stack| stack.embedding.n_tokens);
        if let Some((place, id)) = ids.iter().enumerate().find(|(_, id)| **id as usize >= n_tokens) {
            let last = n_tokens - 1;
            return Err(Error::Input(format!(
                "{name} token {place} has id {id}, but {} has ids 0 to {last}",
                self.name()
            )));
        }
        if ids.is_empty() {
            return Err(Error::Input(format!("there are no {name} ids")));
        }
        let mut tokens: Vec<Token> = ids.iter().map(|id| self.token(*id)).collect();
        let padding = architecture.ids.padding;
        for token in tokens.iter_mut().skip(1).rev().take_while(|token| padding.is_some() && token.id == padding) {
            token.role = TokenRole::Padding;
        }
        Ok(Tokens { text: String::new(), tokens })
    }

    /// The text of tokens, special ones left out; ids separated by spaces where there is no tokenizer.
    pub fn decode(&self, tokens: &Tokens) -> String {
        let text_ids = tokens.tokens.iter().filter(|token| token.is_text()).filter_map(|token| token.id);
        self.text_of(&text_ids.collect::<Vec<_>>())
    }

    /// The text of generated ids, special ones left out.
    pub(super) fn text_of_generated(&self, ids: &[u32]) -> String {
        let is_text = |id: &&u32| self.token(**id).is_text();
        self.text_of(&ids.iter().filter(is_text).copied().collect::<Vec<_>>())
    }

    fn text_of(&self, ids: &[u32]) -> String {
        let decoded = self.tokenizer.as_ref().and_then(|tokenizer| tokenizer.decode(ids).ok());
        decoded.unwrap_or_else(|| ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "))
    }

    /// A token of which only the id is known.
    pub(crate) fn token(&self, id: u32) -> Token {
        let ids = &self.transformer.architecture.ids;
        let meant = [ids.padding, ids.start, ids.source_end].contains(&Some(id)) || ids.ends.contains(&id);
        let known = self.tokenizer.as_ref().and_then(|tokenizer| tokenizer.token(id).ok());
        let token = known.unwrap_or_else(|| Token { id: Some(id), ..Token::labelled(id.to_string()) });
        if meant && self.tokenizer.is_some() { Token { role: TokenRole::Special, ..token } } else { token }
    }

    /// The first end token, as what follows a given target.
    pub(crate) fn end_token(&self) -> Option<Token> {
        let end = self.transformer.architecture.ids.ends.first()?;
        self.has(Side::Source).then(|| self.token(*end))
    }

    fn put_start(&self, tokens: &mut Tokens) {
        if let Some(start) = self.transformer.architecture.ids.start
            && tokens.tokens.first().and_then(|token| token.id) != Some(start)
        {
            tokens.tokens.insert(0, self.token(start));
        }
    }

    fn needs(&self, side: Side) -> Result<(), Error> {
        if side == Side::Source && (self.reads_images() || self.reads_sounds()) {
            let what = if self.reads_images() { "an image (PNG or JPEG)" } else { "a sound (WAV)" };
            return Err(Error::Unsupported(format!("{} reads no text; give the path of {what}", self.name())));
        }
        if self.has(side) {
            return Ok(());
        }
        Err(Error::Unsupported(match side {
            Side::Source => format!("{} has no encoder: what it reads is the target", self.name()),
            Side::Target => format!("{} has no decoder: it reads a source and generates nothing", self.name()),
        }))
    }

    fn tokenizer_or_error(&self) -> Result<&Tokenizer, Error> {
        self.tokenizer.as_deref().ok_or_else(|| Error::NoTokenizer(self.name().to_owned()))
    }

    /// The generated ids as tokens that know their place in the generated text; the first is the best.
    pub(crate) fn generations(&self, all: Vec<Generated>) -> Result<Generation, Error> {
        let mut generations = all.into_iter().map(|generated| {
            let tokens = self.placed(&generated.ids);
            Generation {
                text: tokens.text.clone(),
                tokens,
                log_probabilities: generated.log_probabilities,
                score: generated.score,
                others: Vec::new(),
                n_repeated: generated.n_repeated,
                avoided_words: generated.avoided_words,
            }
        });
        let best = generations.next();
        let others: Vec<Generation> = generations.collect();
        let best = best.ok_or_else(|| Error::Unsupported("the beam search found no text".to_owned()))?;
        Ok(Generation { others, ..best })
    }

    /// Generated ids with their text, spans and words. The text is cut again: where that gives the same ids, it also
    /// gives spans and words; otherwise each token covers what it added to the text.
    fn placed(&self, ids: &[u32]) -> Tokens {
        let plain: Vec<Token> = ids.iter().map(|id| self.token(*id)).collect();
        let text_ids: Vec<u32> = plain.iter().filter(|token| token.is_text()).filter_map(|token| token.id).collect();
        let text = self.text_of(&text_ids);
        let Some(tokenizer) = &self.tokenizer else { return Tokens { text, tokens: plain } };
        let again: Vec<Token> = match tokenizer.encode(&text, None) {
            Ok(encoded) => encoded.tokens.tokens.into_iter().filter(Token::is_text).collect(),
            Err(_) => Vec::new(),
        };
        if again.iter().map(|token| token.id).eq(text_ids.iter().map(|id| Some(*id))) {
            let mut again = again.into_iter();
            let place = |token: Token| if token.is_text() { again.next().unwrap_or(token) } else { token };
            return Tokens { text, tokens: plain.into_iter().map(place).collect() };
        }
        Tokens { tokens: self.placed_by_growth(plain, &text), text }
    }

    /// Spans from how the decoded text grows with each token; words from the white space between.
    fn placed_by_growth(&self, mut tokens: Vec<Token>, text: &str) -> Vec<Token> {
        let mut ids = Vec::new();
        let (mut end, mut word) = (0, None::<usize>);
        for token in tokens.iter_mut().take(MAX_PLACED).filter(|token| token.is_text()) {
            ids.extend(token.id);
            let decoded = self.text_of(&ids);
            let common = decoded.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
            let reached = (0..=common).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0).max(end);
            let added = &text[end..reached];
            let start = end + added.len() - added.trim_start().len();
            if added.starts_with(char::is_whitespace) || word.is_none() {
                word = Some(word.map_or(0, |word| word + 1));
            }
            (token.span, token.word) = (Some(start..reached), word);
            end = reached;
        }
        tokens
    }

    /// Appends the first `n` of `more` to `tokens`; their spans and words go on where `tokens` ends.
    pub(crate) fn append_tokens(&self, tokens: &mut Tokens, more: &Tokens, n: usize) {
        while tokens.tokens.last().is_some_and(|token| token.role == TokenRole::Padding) {
            tokens.tokens.pop();
        }
        if self.has_space_between(tokens, more) {
            tokens.text.push(' ');
        }
        let offset = tokens.text.len();
        let n_words = tokens.tokens.iter().filter_map(|token| token.word).max().map_or(0, |word| word + 1);
        tokens.text.push_str(&more.text);
        tokens.tokens.extend(more.tokens.iter().take(n).map(|token| Token {
            span: token.span.as_ref().map(|span| span.start + offset..span.end + offset),
            word: token.word.map(|word| word + n_words),
            ..token.clone()
        }));
    }

    /// Whether the first token of `more` begins a word behind `tokens`, although its text alone shows no space.
    fn has_space_between(&self, tokens: &Tokens, more: &Tokens) -> bool {
        let is_open = !tokens.text.is_empty() && !tokens.text.ends_with(char::is_whitespace);
        let id_of = |token: Option<&Token>| token.filter(|token| token.is_text()).and_then(|token| token.id);
        let ends = id_of(tokens.tokens.last()).zip(id_of(more.tokens.first()));
        let Some((last, first)) = ends.filter(|_| is_open && self.tokenizer.is_some()) else { return false };
        let (both, alone) = (self.text_of(&[last, first]), self.text_of(&[last]));
        let begins = |text: &str| text.starts_with(char::is_whitespace);
        both.strip_prefix(alone.as_str()).is_some_and(begins) && !begins(&more.text)
    }

    /// A plain word when the source looks like another language than the model's.
    pub(crate) fn note_on_language(&self, items: &[Item], training: Training) -> Option<String> {
        let tokenizer = self.tokenizer.as_ref()?;
        let unknown_id = tokenizer.id("<unk>");
        let tokens: Vec<&Token> = items.iter().flat_map(|item| &item.source.tokens).filter(|t| t.is_text()).collect();
        let unknown = tokens.iter().filter(|token| token.id.is_some() && token.id == unknown_id).count();
        if unknown > 0 {
            return Some(format!(
                "{unknown} of {} tokens are unknown to {}, which reads {}",
                tokens.len(),
                self.name(),
                training.language
            ));
        }
        // words of the language come in one or two pieces; other languages fall apart
        let words = |item: &Item| {
            let words = item.source.tokens.iter().filter(|token| token.is_text()).filter_map(|token| token.word);
            words.collect::<std::collections::BTreeSet<_>>().len() // each text counts its words from 0
        };
        let n_words: usize = items.iter().map(words).sum();
        let pieces = tokens.iter().filter(|token| token.word.is_some()).count();
        (n_words >= 3 && pieces as f64 > 2.2 * n_words as f64)
            .then(|| format!("{n_words} words fell into {pieces} pieces; {} reads {}", self.name(), training.language))
    }
}

/// The most generated tokens that are placed one by one; it takes quadratic time.
const MAX_PLACED: usize = 512;

fn check_text(text: &str) -> Result<(), Error> {
    if text.trim().is_empty() {
        return Err(Error::Input("the text is empty; give at least one word".to_owned()));
    }
    Ok(())
}
