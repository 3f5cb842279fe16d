//! Evaluation of the embedded translator and the film of a toy training.

use std::fs;

use attlas::{HeadId, Kind};
use attlas_model::Model;
use attlas_train::evaluate::{Options, evaluate};
use attlas_train::film::{self, Film};
use attlas_train::{Architecture, Budget, Config, Recipe, train};
use tempfile::TempDir;

const PAIRS: &str = "\
The cat is on the table.\tLe chat est sur la table.
Where is my book?\tOù est mon livre ?
Where is my book?\tOù se trouve mon livre ?
She gave him a red apple.\tElle lui a donné une pomme rouge.
I drink coffee in the morning.\tJe bois du café le matin.
";

#[test]
fn the_embedded_translator_is_scored_on_pairs_with_several_references() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("test.tsv");
    fs::write(&path, PAIRS).unwrap();
    let model = Model::embedded().unwrap();
    let mut reports = Vec::new();
    let evaluation = evaluate(&model, &path, Options::default(), &mut |progress| reports.push(progress)).unwrap();
    assert_eq!((evaluation.n_pairs, evaluation.n_sources, evaluation.n_bad), (5, 4, 0));
    assert!((0.05..0.5).contains(&evaluation.loss_per_token), "{evaluation:?}");
    assert!((evaluation.perplexity - evaluation.loss_per_token.exp()).abs() < 1e-9);
    assert!(evaluation.token_accuracy > 0.6 && evaluation.bleu > 40.0, "{evaluation:?}");
    assert_eq!((evaluation.n_long_sources, evaluation.bleu_long), (0, None), "no source has ten words");
    let alignment = &evaluation.alignment_accuracy;
    assert_eq!(alignment.layers.len(), 3);
    assert!(alignment.n_cases >= 8, "{alignment:?}");
    assert!(alignment.layers.iter().filter(|layer| layer.predicting > Some(0.8)).count() >= 2, "{alignment:?}");
    let last = reports.last().unwrap();
    assert_eq!((last.done, last.all), (9, 9));
    let json = serde_json::to_value(&evaluation).unwrap();
    for name in
        ["loss_per_token", "perplexity", "token_accuracy", "bleu", "exact", "alignment_accuracy", "n_pairs", "n_tokens"]
    {
        assert!(!json[name].is_null(), "{name}");
    }
}

#[test]
fn sources_of_ten_words_or_more_have_a_bleu_of_their_own() {
    let folder = TempDir::new().unwrap();
    let long =
        "The woman who lives next door to us is a doctor.\tLa femme qui habite à côté de chez nous est médecin.\n";
    let path = |name: &str, pairs: &str| {
        let path = folder.path().join(name);
        fs::write(&path, pairs).unwrap();
        path
    };
    let model = Model::embedded().unwrap();
    let of = |name: &str, pairs: &str| evaluate(&model, &path(name, pairs), Options::default(), &mut |_| {}).unwrap();
    let alone = of("long.tsv", long);
    let both = of("both.tsv", &format!("{PAIRS}{long}"));
    assert_eq!((both.n_sources, both.n_long_sources), (5, 1));
    assert_eq!((both.bleu_long, alone.bleu_long), (Some(alone.bleu), Some(alone.bleu)));
    assert!(both.bleu != alone.bleu && alone.bleu > 0.0);
}

#[test]
fn a_malformed_line_of_a_test_file_is_named() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("test.tsv");
    fs::write(&path, "one\tun\ntwo\n").unwrap();
    let error = evaluate(&Model::embedded().unwrap(), &path, Options::default(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("line 2: has no tab"), "{error}");
}

#[test]
fn a_film_shows_the_heads_of_a_training_frame_by_frame() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let pairs: String = ["one\tun\n", "two\tdeux\n", "one two\tun deux\n", "two one\tdeux un\n"].concat().repeat(20);
    fs::write(path("train.tsv"), &pairs).unwrap();
    let mut config = Config::new(path("train.tsv"), path("train.tsv"), path("out"));
    config.recipe = Recipe {
        architecture: Architecture {
            d_model: 16,
            num_heads: 2,
            d_ff: 16,
            num_layers: 1,
            src_vocab: 40,
            tgt_vocab: 40,
            ..Architecture::default()
        },
        batch_tokens: 40,
        budget: Budget::Tokens(400),
        ..Recipe::default()
    };
    config.film = 3;
    train(&config, &mut |_| attlas_train::train::Next::Continue).unwrap();

    let options = film::Options { target: Some("un deux".to_string()), ..film::Options::default() };
    let film = Film::of(&path("out"), "one two", &options).unwrap();
    assert_eq!(film.frames.len(), 3);
    assert_eq!(film.frames[0].step, 0);
    assert_eq!(film.heads.len(), 6, "three kinds of one layer of two heads");
    assert!(film.heads.iter().all(|head| head.maps.len() == 3 && (0.0..=1.0).contains(&head.change)));
    assert!(!film.curve.is_empty());
    let page = film.to_html(None);
    assert!(page.contains("\"target_text\":\"un deux\"") && !page.contains("{{film}}"));
    assert!(!page.contains("http://") || page.matches("http://").count() == page.matches("http://www.w3.org").count());

    // a run that goes on from these weights goes on in the film, without its own first moment
    config.output = path("longer");
    config.init = Some(path("out").join("model.safetensors"));
    train(&config, &mut |_| attlas_train::train::Next::Continue).unwrap();
    let longer = film::Options { then: vec![path("longer")], ..options.clone() };
    let both = Film::of(&path("out"), "one two", &longer).unwrap();
    let end = film.curve.last().unwrap().step;
    assert_eq!((both.frames.len(), &both.seams), (5, &vec![end]));
    assert_eq!(both.frames.last().map(|frame| frame.step), both.curve.last().map(|point| point.step));
    assert!(both.frames[3].step > end);
    let three = film::Options { frames: std::num::NonZeroUsize::new(3), ..longer };
    let three = Film::of(&path("out"), "one two", &three).unwrap();
    assert_eq!(three.frames, [both.frames[0], both.frames[2], both.frames[4]]);
    assert_eq!(three.heads.len(), 6);

    // one that began elsewhere does not
    config.output = path("other");
    config.init = None;
    train(&config, &mut |_| attlas_train::train::Next::Continue).unwrap();
    let other = film::Options { then: vec![path("other")], ..options.clone() };
    let problem = Film::of(&path("out"), "one two", &other).unwrap_err().to_string();
    assert!(problem.contains("film/000: it did not begin with the weights of"), "{problem}");

    // nor one whose weights are cut into other heads
    config.output = path("heads");
    config.init = Some(path("out").join("model.safetensors"));
    config.recipe.architecture.num_heads = 4;
    train(&config, &mut |_| attlas_train::train::Next::Continue).unwrap();
    let heads = film::Options { then: vec![path("heads")], ..options.clone() };
    let problem = Film::of(&path("out"), "one two", &heads).unwrap_err().to_string();
    assert!(problem.contains("are not those of the film's first model"), "{problem}");

    let asked = film::Options { heads: vec![(Kind::Cross, HeadId { layer: 7, head: 0 })], ..options };
    assert!(Film::of(&path("out"), "one two", &asked).unwrap_err().to_string().contains("no cross head L7H0"));
    assert!(
        Film::of(folder.path(), "one", &film::Options::default())
            .unwrap_err()
            .to_string()
            .contains("there is no film in it")
    );
}
