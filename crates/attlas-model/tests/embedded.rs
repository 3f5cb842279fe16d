//! The model that is built in: it translates, and says when a text is not for it.

#![allow(clippy::print_stderr)]

use attlas_model::{Decoding, Input, Model, Pass, Precision, RunOptions, Site};

fn translate(model: &Model, text: &str) -> (String, Vec<String>) {
    let input = model.input(text, None).unwrap();
    let options = RunOptions { decoding: Decoding::Greedy { max_tokens: 60 }, ..RunOptions::default() };
    let run = model.run(&[input], &options).unwrap();
    (run.generated[0].text.clone(), run.recording.provenance.notes)
}

#[test]
fn the_embedded_model_translates_and_records_every_head() {
    let model = Model::embedded().unwrap();
    let input = model.input("The cat is on the table.", None).unwrap();
    let options = RunOptions { decoding: Decoding::Greedy { max_tokens: 60 }, ..RunOptions::default() };
    let run = model.run(&[input], &options).unwrap();
    assert_eq!(run.generated[0].text, "Le chat est sur la table.");
    assert_eq!(run.recording.layers.len(), 9, "3 layers of each kind");
    assert!(run.recording.provenance.notes.is_empty(), "{:?}", run.recording.provenance.notes);
    let item = &run.recording.items[0];
    assert_eq!(item.target.len(), item.predicted.len());
    assert_eq!(item.target.tokens[0].text, "<s>");
    assert_eq!(item.predicted.tokens.last().unwrap().text, "</s>");
    assert_eq!(&item.predicted.tokens[0], &item.target.tokens[1]);
}

#[test]
fn the_embedded_model_translates_four_everyday_sentences() {
    let model = Model::embedded().unwrap();
    for (text, expected) in [
        ("The cat sat on the mat.", "Le chat s'assit sur le tapis."),
        ("I don't know where my keys are.", "Je ne sais pas où sont mes clés."),
        ("She gave him a red apple yesterday.", "Elle lui a donné une pomme rouge hier."),
        ("The woman who lives next door is a doctor.", "La femme qui vit à côté est médecin."),
    ] {
        assert_eq!(translate(&model, text).0, expected);
    }
}

#[test]
fn the_embedded_model_says_when_a_text_is_longer_than_it_was_trained_on() {
    let model = Model::embedded().unwrap();
    let text = "The man saw the dog and the cat in the house of the king. ".repeat(4);
    let (_, notes) = translate(&model, &text);
    assert!(notes.iter().any(|note| note.contains("was trained on texts of up to")), "{notes:?}");
}

#[test]
fn the_embedded_model_says_when_a_text_is_in_another_language_or_script() {
    let model = Model::embedded().unwrap();
    let (_, notes) = translate(&model, "Эта кошка сидит на столе.");
    assert!(notes.iter().any(|note| note.contains("unknown") || note.contains("fell into")), "{notes:?}");
    let (_, notes) = translate(&model, "Donaudampfschifffahrtsgesellschaft Straßenverkehrsordnung Zwischenprüfung");
    assert!(notes.iter().any(|note| note.contains("reads English")), "{notes:?}");
}

#[test]
fn empty_text_is_an_error_that_says_so() {
    let model = Model::embedded().unwrap();
    for text in ["", "   ", "\n\t"] {
        assert_eq!(model.input(text, None).unwrap_err().to_string(), "the text is empty; give at least one word");
    }
}

#[test]
fn several_texts_are_translated_and_recorded_as_one_padded_batch() {
    let model = Model::embedded().unwrap();
    let inputs: Vec<Input> =
        ["The cat is on the table.", "No."].iter().map(|text| model.input(text, None).unwrap()).collect();
    let options = RunOptions { decoding: Decoding::Greedy { max_tokens: 60 }, ..RunOptions::default() };
    let run = model.run(&inputs, &options).unwrap();
    assert_eq!(run.generated[0].text, "Le chat est sur la table.");
    let alone = translate(&model, "No.").0;
    assert_eq!(run.generated[1].text, alone);
    assert_eq!(run.recording.items[0].source.len(), run.recording.items[1].source.len());
    for check in run.recording.check().unwrap() {
        assert!(check.passed(), "{check:?}");
    }
}

/// Logits of each text, without those of padding; the targets are given. Shape of each `[n_target, n_tokens]`.
fn logits(model: &Model, inputs: &[Input]) -> Vec<Vec<f32>> {
    let options = RunOptions { pass: Pass::keeping([Site::Attention, Site::Logits]), ..RunOptions::default() };
    let logits = model.run(inputs, &options).unwrap().logits.unwrap();
    let width = logits.shape[1] * logits.shape[2];
    let of_text = |(input, rows): (&Input, &[f32])| rows[..input.target.len() * logits.shape[2]].to_vec();
    inputs.iter().zip(logits.values.chunks_exact(width)).map(of_text).collect()
}

#[test]
fn at_every_precision_a_text_has_the_same_numbers_in_every_batch_and_nearly_those_of_f32() {
    let exact = Model::embedded().unwrap();
    let long = "The man saw the dog and the cat in the house of the king. ".repeat(2);
    let texts = [("No.", "Non."), (long.as_str(), long.as_str()), ("The cat sleeps.", "Le chat dort.")];
    let inputs: Vec<Input> = texts.iter().map(|(text, target)| exact.input(text, Some(target)).unwrap()).collect();
    let wanted = logits(&exact, &inputs);
    for (precision, tolerance) in
        [(Precision::Exact, 0.0), (Precision::High, 1e-4), (Precision::Fast, 1e-2), (Precision::Fastest, 1.0)]
    {
        let mut model = exact.clone();
        model.set_precision(precision);
        let together = logits(&model, &inputs);
        for (index, input) in inputs.iter().enumerate() {
            let alone = logits(&model, std::slice::from_ref(input));
            assert!(alone[0] == together[index], "{precision:?}: text {index} has other numbers in a batch");
        }
        let difference = |(found, wanted): (&f32, &f32)| (found - wanted).abs();
        let largest = together.iter().flatten().zip(wanted.iter().flatten()).map(difference).fold(0.0, f32::max);
        eprintln!("{precision:?}: logits differ by at most {largest}");
        assert!(largest <= tolerance, "{precision:?}: {largest}");
        if precision.available().is_err() {
            eprintln!("{precision:?} was computed in f32: {}", precision.available().unwrap_err());
            assert_eq!(model.precision(), Precision::Exact);
        } else if precision != Precision::Exact {
            assert_eq!(model.precision(), precision);
            assert!(largest > 0.0, "{precision:?} is computed in another way");
        }
        // back to f32, and the clone has not changed the model that it was made of
        model.set_precision(Precision::Exact);
        assert!(logits(&model, &inputs) == wanted && logits(&exact, &inputs) == wanted);
    }
}

#[test]
fn a_recording_that_leaves_memory_while_it_is_made_is_the_one_that_does_not() {
    let run = |aside_from: u64, pass: &Pass| {
        let mut model = Model::embedded().unwrap();
        model.set_aside_from(aside_from);
        let input = model.input("The cat sat on the mat.", Some("Le chat s'assit sur le tapis.")).unwrap();
        let run = model.run(&[input], &RunOptions { pass: pass.clone(), ..RunOptions::default() }).unwrap();
        (run.recording, run.kept)
    };
    for pass in [Pass::default(), Pass::keeping([Site::Attention, Site::Values, Site::Queries, Site::Scores])] {
        assert_eq!(run(0, &pass), run(u64::MAX, &pass));
    }
}
