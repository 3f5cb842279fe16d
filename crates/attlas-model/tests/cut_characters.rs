//! A byte-level vocabulary that cuts within characters: words, and what rows predict.

use std::path::Path;

use attlas::view::Pieces;
use attlas::{Head, Kind, RowTokens, View, ViewOptions};
use attlas_model::{Decoding, Model, Run, RunOptions};

fn model() -> Model {
    Model::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cut-characters")).expect("the model loads")
}

fn run(texts: &[&str], decoding: Decoding) -> Run {
    let model = model();
    let inputs: Vec<_> = texts.iter().map(|text| model.input(text, None).expect("it reads the text")).collect();
    model.run(&inputs, &RunOptions { decoding, ..RunOptions::default() }).expect("a run")
}

#[test]
fn tokens_that_share_a_character_share_a_word() {
    let recording = run(&["我喜欢猫 很好"], Decoding::TeacherForcing).recording;
    let options = ViewOptions { pieces: Pieces::Words, ..ViewOptions::default() };
    let view = View::with(&recording, Kind::Decoder, 1, Head::One(0), &options).expect("a view");
    assert_eq!(recording.items[0].target.merged().labels().collect::<Vec<_>>(), ["我喜欢猫", "␣", "很", "好"]);
    // what transformers computes, summed over the pieces of a key and averaged over those of a query
    #[rustfmt::skip]
    let expected = [
        1.0, 0.0, 0.0, 0.0,
        0.6535, 0.3465, 0.0, 0.0,
        0.4197, 0.1782, 0.4020, 0.0,
        0.2586, 0.1195, 0.3657, 0.2561,
    ];
    assert_eq!(view.panel().weights().len(), expected.len());
    for (got, want) in view.panel().weights().iter().zip(expected) {
        assert!((got - want).abs() < 6e-5, "{:?}", view.panel().weights());
    }
}

#[test]
fn rows_of_a_plain_text_are_named_by_what_they_predict() {
    let recording = run(&["The cat sat on the mat.", "The cat"], Decoding::TeacherForcing).recording;
    let [long, short] = [0, 1].map(|item| &recording.items[item]);
    let ids = |tokens: &attlas::Tokens| tokens.tokens.iter().map(|token| token.id).collect::<Vec<_>>();
    assert_eq!(ids(&long.predicted)[..6], ids(&long.target)[1..], "each row predicts the next token");
    assert_eq!(long.predicted.tokens[6].id, Some(233), "the last what the model says");
    // in a batch, the last row is the last that is not padding; and it is what generating would write first
    let generated = run(&["The cat"], Decoding::Greedy { max_tokens: 1 }).generated;
    assert_eq!(short.predicted.tokens[1].id, generated[0].tokens.tokens[0].id);
    assert_eq!(short.predicted.len(), short.target.len());
    let options = ViewOptions { row_tokens: Some(RowTokens::Predicted), ..ViewOptions::default() };
    let view = View::with(&recording, Kind::Decoder, 0, Head::One(0), &options).expect("a view");
    assert_eq!(view.rows_are(), "predicted target");
}
