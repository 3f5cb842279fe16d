//! What a run says of what was generated: words that the model does not know, and where it was cut.

mod common;

use attlas::TokenRole;
use attlas::recording::Method;
use attlas_model::{
    Decoding, KNOWN_WORDS_FILE, KnownWords, Loops, Model, Pass, Run, RunOptions, Site, UnknownWords, sentences,
};
use common::data;

/// A small model with random weights, which soon repeats itself, in a folder of its own.
fn random(words: Option<&KnownWords>) -> Model {
    let folder = tempfile::tempdir().expect("a folder");
    for file in std::fs::read_dir(data("languages").join("nllb")).expect("the model") {
        let file = file.expect("an entry").path();
        std::fs::copy(&file, folder.path().join(file.file_name().expect("a name"))).expect("a copy");
    }
    if let Some(words) = words {
        std::fs::write(folder.path().join(KNOWN_WORDS_FILE), words.to_bytes()).expect("it is written");
    }
    Model::load(folder.path()).expect("the model loads")
}

fn generate(model: &Model, texts: &[&str]) -> Run {
    let inputs: Vec<_> = texts.iter().map(|text| model.input(text, None).expect("tokens")).collect();
    let decoding = Decoding::Greedy { max_tokens: 200 };
    model.run(&inputs, &RunOptions { decoding, pass: Pass::keeping([Site::Attention, Site::Logits]) }).expect("a run")
}

#[test]
fn a_generation_that_repeats_itself_is_cut_where_it_began_to() {
    let mut model = random(None);
    let text = "the cat sat on the mat";
    let whole = generate(&model, &[text]);
    assert_eq!(whole.recording.items[0].n_repeated, None);
    model.set_loops(Loops::Cut);
    let run = generate(&model, &[text]);
    let (long, short) = (&whole.generated[0], &run.generated[0]);
    let n = short.tokens.len();
    let n_span = run.recording.items[0].n_repeated.expect("it was cut");
    let ids = |tokens: &attlas::Tokens| tokens.tokens.iter().filter_map(|token| token.id).collect::<Vec<_>>();
    let (all, kept) = (ids(&long.tokens), ids(&short.tokens));
    assert_eq!(kept, all[..n]);
    assert_eq!(all[n..n + n_span], kept[n - n_span..], "what was cut away is what came before");
    assert_eq!(short.log_probabilities, long.log_probabilities[..n]);
    // the recording is that of the text that is left
    let item = &run.recording.items[0];
    assert_eq!((item.target.len(), item.predicted.len()), (n, n));
    assert_eq!(ids(&item.predicted), kept);
    let logits = run.logits.as_ref().expect("they were kept");
    assert_eq!(logits.shape[1], n);
    assert_eq!(logits.values, whole.logits.as_ref().expect("likewise").values[..logits.values.len()]);
    let remark = item.remarks().pop().expect("it is said");
    assert!(remark.starts_with("cut after \"") && remark.ends_with("\", which the model began to repeat"), "{remark}");
    let said = remark.split('"').nth(1).expect("the words");
    assert!(!said.is_empty() && item.target.text.trim_end().ends_with(said), "{remark}: {:?}", item.target.text);
    // a batch says the same, padded
    let both = generate(&model, &["the cat", text]);
    assert_eq!(both.recording.items[1].n_repeated, Some(n_span));
    assert_eq!(both.recording.items[1].remarks(), item.remarks());
}

#[test]
fn a_generated_word_is_known_by_the_folders_words_or_by_the_source() {
    let text = "the cat sat on the mat";
    let nothing = generate(&random(None), &[text]);
    assert!(nothing.recording.items[0].unknown_words.is_empty(), "nobody knows which words are known");
    let written = nothing.generated[0].text.clone();
    let words = |run: &Run| -> Vec<String> {
        let item = &run.recording.items[0];
        item.unknown_words.iter().map(|span| item.target.text[span.clone()].to_owned()).collect()
    };
    let run = generate(&random(Some(&KnownWords::of(["another"]))), &[text]);
    let unknown = words(&run);
    assert!(!unknown.is_empty() && unknown.iter().all(|word| written.contains(word)), "{unknown:?} in {written}");
    let remark = format!("\"{}\": no word the model knows", unknown[0]);
    assert_eq!(run.recording.items[0].remarks()[0], remark);
    assert!(words(&generate(&random(Some(&KnownWords::of([written.as_str()]))), &[text])).is_empty());
    // what the source has is carried over, not made up
    let known = random(Some(&KnownWords::of(["another"])));
    let longer = format!("{text} {}", unknown.join(" "));
    let run = generate(&known, &[&longer]);
    assert!(words(&run).iter().all(|word| !unknown.contains(word)), "{:?}", words(&run));
    // what is given is the reader's, not the model's
    let given = known.input(text, Some("mat cat")).expect("tokens");
    let run = known.run(&[given], &RunOptions::default()).expect("a run");
    assert!(run.recording.items[0].unknown_words.is_empty());
}

#[test]
fn the_best_text_of_known_words_takes_the_place_of_one_with_an_unknown_word() {
    let mut model = Model::embedded().expect("it is built in");
    let (spelled, known) = ("Attention is what every student needs.", "The cat sat on the mat.");
    model.set_unknown_words(UnknownWords::Keep).expect("its words are known");
    let kept = generate(&model, &[spelled]);
    let item = &kept.recording.items[0];
    let unknown: Vec<&str> = item.unknown_words.iter().map(|span| &item.target.text[span.clone()]).collect();
    assert!(!unknown.is_empty() && item.avoided_words.is_empty(), "{}: {unknown:?}", item.target.text);
    let plain = generate(&model, &[known]);
    model.set_unknown_words(UnknownWords::Avoid).expect("its words are known");
    let avoided = generate(&model, &[spelled]);
    let item = &avoided.recording.items[0];
    assert_eq!(
        (item.avoided_words.iter().map(String::as_str).collect::<Vec<_>>(), &item.unknown_words[..]),
        (unknown, &[][..])
    );
    assert_eq!(item.target.text, avoided.generated[0].text);
    assert_eq!(avoided.recording.provenance.method, Method::Beam);
    let said = format!("\"{}\" was in the text found first", item.avoided_words[0]);
    assert!(item.remarks().iter().any(|remark| remark.starts_with(&said)), "{:?}", item.remarks());
    // what was recorded is of the text that took the place
    let again = model.input(spelled, Some(&item.target.text)).expect("tokens");
    let again = model.run(&[again], &RunOptions::default()).expect("a run");
    assert_eq!(again.recording.layers, avoided.recording.layers);
    // words that are known are the likeliest, as before, also beside a text that was replaced
    assert_eq!(generate(&model, &[known]).recording, plain.recording);
    let both = generate(&model, &[known, spelled]);
    assert_eq!(both.generated[0].text, plain.generated[0].text);
    assert_eq!(both.generated[1].text, avoided.generated[0].text);
    assert_eq!(both.recording.provenance.method, Method::Greedy);
    assert_eq!(both.recording.items[1].avoided_words, item.avoided_words);
}

#[test]
fn half_a_word_at_the_limit_is_no_unknown_word() {
    let model = Model::embedded().expect("it is built in");
    let input = model.input("The ghost haunted the old chapel.", None).expect("tokens");
    let options = |max_tokens| RunOptions { decoding: Decoding::Greedy { max_tokens }, ..RunOptions::default() };
    let run = model.run(std::slice::from_ref(&input), &options(2)).expect("a run");
    let item = &run.recording.items[0];
    assert_eq!(run.generated[0].text, "Le fantô", "the likeliest tokens, as with a larger limit");
    assert!(item.avoided_words.is_empty() && item.unknown_words.is_empty(), "{:?}", item.remarks());
    let run = model.run(&[input], &options(200)).expect("a run");
    assert_eq!(run.recording.items[0].avoided_words, ["héslé"]);
}

#[test]
fn a_text_that_was_cut_at_a_loop_gives_way_to_a_whole_one() {
    let text = "The wizard's lizard was a blizzard and the wizard's gizzard was a lizard.";
    let model = Model::embedded().expect("it is built in");
    let run = generate(&model, &[text]);
    let item = &run.recording.items[0];
    assert_eq!((&item.avoided_words[..], item.n_repeated), (&["couron".to_owned()][..], None));
    let last = run.generated[0].tokens.tokens.last().expect("tokens");
    assert_eq!(last.role, TokenRole::Special, "{} goes on", item.target.text);
}

#[test]
fn the_embedded_model_searches_and_its_search_follows_no_loop() {
    let mut model = Model::embedded().expect("it is built in");
    let written = |model: &Model, text| {
        let input = model.input(text, None).expect("tokens");
        let options = RunOptions { decoding: model.generating(None, 256), ..RunOptions::default() };
        let run = model.run(&[input], &options).expect("a run");
        (run.generated[0].clone(), run.recording.provenance.method)
    };
    assert_eq!(model.generating(None, 256), Decoding::Beam { width: 5, max_tokens: 256 });
    assert_eq!(model.generating(Some(1), 256), Decoding::Greedy { max_tokens: 256 });
    let (found, method) = written(&model, "The cat sat on the mat.");
    assert_eq!(method, Method::Beam);
    let n_source = model.input("The cat sat on the mat.", None).expect("tokens").source.len();
    assert!(found.tokens.len() <= n_source + 50, "{}", found.text);
    let text = "Where Chromium is: `$ATTLAS_CHROMIUM`, or the usual places.";
    let (found, _) = written(&model, text);
    model.set_loops(Loops::Keep);
    model.set_unknown_words(UnknownWords::Keep).expect("its words are known");
    let (kept, _) = written(&model, text);
    assert!(kept.text.contains("umumum") && !found.text.contains("umumum"), "{} and {}", kept.text, found.text);
}

#[test]
fn a_text_in_capitals_is_read_in_small_letters_and_the_recording_says_so() {
    let model = Model::embedded().expect("it is built in");
    let run = generate(&model, &["THE CAT SAT ON THE MAT."]);
    assert_eq!(run.generated[0].text, "Le chat s'assit sur le tapis.");
    let source = &run.recording.items[0].source;
    assert_eq!((source.text.as_str(), source.tokens[0].text.as_str()), ("THE CAT SAT ON THE MAT.", "The"));
    let notes = &run.recording.provenance.notes;
    assert!(
        notes.iter().any(|note| note.contains("is in capitals") && note.contains("it read small letters")),
        "{notes:?}"
    );
}

#[test]
fn a_search_that_only_its_own_limit_ends_gives_way_to_the_likeliest_tokens() {
    let mut model = Model::embedded().expect("it is built in");
    model.set_loops(Loops::Keep);
    model.set_unknown_words(UnknownWords::Keep).expect("its words are known");
    // nothing that was ever translated: the search goes on to the limit
    let text =
        "the of to and a in is it you that he was for on are with as I his they be at one have this from or had by hot";
    let input = model.input(text, None).expect("tokens");
    let written = |beams| {
        let decoding = model.generating(beams, 256);
        let run = model.run(std::slice::from_ref(&input), &RunOptions { decoding, pass: Pass::default() });
        run.expect("a run")
    };
    let (searched, greedy) = (written(None), written(Some(1)));
    assert_eq!(searched.generated[0].tokens, greedy.generated[0].tokens);
    let provenance = &searched.recording.provenance;
    assert_eq!((provenance.method, provenance.beams), (Method::Greedy, model.beams()));
}

#[test]
fn words_are_avoided_only_where_it_is_known_which() {
    let mut model = random(None);
    let refused = model.set_unknown_words(UnknownWords::Avoid).expect_err("nobody knows them").to_string();
    assert!(refused.contains("has no target_words.filter"), "{refused}");
    model.set_unknown_words(UnknownWords::Keep).expect("nothing is to be known");
}

#[test]
fn a_text_stays_where_no_text_of_known_words_is_found() {
    let text = "the cat sat on the mat";
    let mut model = random(Some(&KnownWords::of(["another"])));
    let kept = generate(&model, &[text]);
    model.set_unknown_words(UnknownWords::Avoid).expect("its words are known");
    let avoided = generate(&model, &[text]);
    assert_eq!(avoided.recording, kept.recording);
    assert!(!kept.recording.items[0].unknown_words.is_empty());
}

#[test]
fn the_recording_keeps_what_is_said_of_its_texts() {
    let mut model = random(Some(&KnownWords::of(["another"])));
    model.set_loops(Loops::Cut);
    let recording = generate(&model, &["the cat sat on the mat"]).recording;
    let file = tempfile::NamedTempFile::with_suffix(".safetensors").expect("a file");
    recording.save(file.path()).expect("it is written");
    let read = attlas::Recording::open(file.path()).expect("it is read");
    assert_eq!(read.items, recording.items);
    assert!(read.items[0].remarks().len() > 1);
    let of_all = read.provenance.remarks();
    assert_eq!(read.remarks_on(0, attlas::Kind::Encoder), of_all);
    assert_eq!(read.remarks_on(0, attlas::Kind::Cross), [of_all, read.items[0].remarks()].concat());
    let mut damaged = recording.clone();
    damaged.items[0].unknown_words[0].end = 10_000;
    let problem = damaged.validate().expect_err("it is refused").to_string();
    assert!(problem.contains("unknown_words has") && problem.contains("bytes"), "{problem}");
}

#[test]
fn the_embedded_model_knows_the_words_of_its_training_targets() {
    let model = Model::embedded().expect("it is built in");
    let words = model.known_words().expect("its words");
    assert!(words.len() > 20_000 && words.to_bytes().len() <= 80_000, "{} words", words.len());
    for known in ["chat", "Tapis", "ÉTÉ", "était", "femme"] {
        assert!(words.has(known), "{known}");
    }
    for unknown in ["Annait", "chassiné", "fluonnation", "cat"] {
        assert!(!words.has(unknown), "{unknown}");
    }
    assert!(model.reads_single_sentences());
}

#[test]
fn each_sentence_of_a_text_is_an_item_that_is_told_of_alone() {
    let model = random(Some(&KnownWords::of(["another"])));
    let texts = sentences("the cat sat. The dog");
    assert_eq!(texts, ["the cat sat.", "The dog"]);
    let run = generate(&model, &texts);
    for (item, generation) in run.recording.items.iter().zip(&run.generated) {
        assert_eq!(item.target.text, generation.text);
        let real = item.predicted.tokens.iter().filter(|token| token.role != TokenRole::Padding).count();
        assert_eq!(real, generation.tokens.len());
    }
}
