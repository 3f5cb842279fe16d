//! A CoNLL-U file: every sentence read or refused by its line, its mentions found, its words put on tokens.
#![no_main]

use std::path::Path;

use attlas::analysis::TreeWords;
use attlas::analysis::coreference::CoreferenceCases;
use attlas::analysis::syntax::phrases;
use attlas::conllu::Sentences;
use attlas::{Token, Tokens};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for sentence in Sentences::read(bytes, Path::new("trees.conllu")).flatten() {
        for word in &sentence.words {
            assert!(sentence.text.get(word.span.clone()).is_some(), "a word stands in the text");
        }
        let _ = CoreferenceCases::of(&sentence);
        // tokens of four characters, whatever the words are
        let starts: Vec<usize> = sentence.text.char_indices().map(|(start, _)| start).step_by(4).collect();
        let ends = starts.iter().skip(1).copied().chain([sentence.text.len()]);
        let token = |(start, end)| Token { span: Some(start..end), ..Token::labelled(&sentence.text[start..end]) };
        let tokens = starts.iter().copied().zip(ends).map(token).collect();
        let tokens = Tokens { text: sentence.text.clone(), tokens };
        let _ = TreeWords::of(&sentence, &tokens).expect("the tokens are of the text, in its order");
        let _ = phrases(&sentence, &tokens);
    }
});
