//! Training from files to files, on a toy language.

use std::fs;
use std::path::{Path, PathBuf};

use attlas_train::data::BadLines;
use attlas_train::optimizer::{Decay, Schedule};
use attlas_train::train::{Ended, Next, Summary};
use attlas_train::variation::Variation;
use attlas_train::{Budget, Config, Error, Recipe, Resume, train};
use safetensors::SafeTensors;
use tempfile::TempDir;

/// A toy language: English numbers become French ones, in reverse order.
fn toy_pairs(n_pairs: usize) -> String {
    let english = ["one", "two", "three", "four", "five", "six"];
    let french = ["un", "deux", "trois", "quatre", "cinq", "six"];
    let mut text = String::new();
    for pair in 0..n_pairs {
        let digits: Vec<usize> = (0..1 + pair % 4).map(|place| (pair / 4 + 5 * place + pair * place) % 6).collect();
        let source: Vec<&str> = digits.iter().map(|digit| english[*digit]).collect();
        let target: Vec<&str> = digits.iter().rev().map(|digit| french[*digit]).collect();
        text.push_str(&format!("{}\t{}\n", source.join(" "), target.join(" ")));
    }
    text
}

struct Toy {
    folder: TempDir,
}

impl Toy {
    fn new() -> Toy {
        let toy = Toy { folder: TempDir::new().unwrap() };
        fs::write(toy.path("train.tsv"), toy_pairs(240)).unwrap();
        fs::write(toy.path("valid.tsv"), toy_pairs(24)).unwrap();
        toy
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A run of about 16 steps into the folder `output`.
    fn config(&self, output: &str) -> Config {
        let mut config = Config::new(self.path("train.tsv"), self.path("valid.tsv"), self.path(output));
        let architecture = attlas_train::Architecture {
            d_model: 16,
            num_heads: 2,
            d_ff: 32,
            num_layers: 1,
            src_vocab: 60,
            tgt_vocab: 60,
            max_len: 32,
            tied: true,
        };
        config.recipe = Recipe {
            architecture,
            batch_tokens: 64,
            part_tokens: 24,
            budget: Budget::Tokens(1000),
            schedule: Schedule { peak: 0.02, warm_up: 4, decay: Decay::Cosine },
            average: 0.5,
            ..Recipe::default()
        };
        config.threads = 1;
        config.validate_every = 5;
        config.sample = "one two".to_string();
        config
    }
}

fn run(config: &Config) -> Result<Summary, Error> {
    train(config, &mut |_| Next::Continue)
}

fn message(config: &Config) -> String {
    run(config).expect_err("this run must be refused").to_string()
}

/// All tensors of a checkpoint: weights, Adam's memory, average.
fn tensors(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = fs::read(folder.join("checkpoint.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> = file.iter().map(|(name, tensor)| (name.to_string(), tensor.data().to_vec())).collect();
    tensors.sort();
    tensors
}

#[test]
fn a_resumed_run_ends_bit_for_bit_where_an_uninterrupted_one_ends() {
    resumed_ends_as_whole(Variation::default());
}

#[test]
fn so_does_one_whose_text_is_varied() {
    let all =
        Variation { bpe_dropout: 0.2, lower_case: 0.1, upper_case: 0.1, drop_stop: 0.2, swap_names: 0.5, join: 0.3 };
    let varied = resumed_ends_as_whole(all);
    let plain = resumed_ends_as_whole(Variation::default());
    let model = |toy: &Toy| fs::read(toy.path("whole/model.safetensors")).unwrap();
    assert_ne!(model(&varied), model(&plain));
}

fn resumed_ends_as_whole(variation: Variation) -> Toy {
    let toy = Toy::new();
    let config_in = |name: &str| {
        let mut config = toy.config(name);
        config.recipe.variation = variation;
        config
    };
    let whole = run(&config_in("whole")).unwrap();
    assert_eq!(whole.ended, Ended::Budget);

    let mut config = config_in("parts");
    for stop_at in [3, 11] {
        let summary =
            train(&config, &mut |progress| if progress.step == stop_at { Next::Stop } else { Next::Continue }).unwrap();
        assert_eq!((summary.ended, summary.step), (Ended::Asked, stop_at));
        config.resume = Resume::Yes;
    }
    // what a killed run may leave behind
    fs::write(toy.path("parts").join(".attlas-0-dead01.tmp"), b"half").unwrap();
    let resumed = run(&config).unwrap();
    assert_eq!(resumed, whole);
    assert_eq!(tensors(&toy.path("parts")), tensors(&toy.path("whole")));
    let model = |name: &str| fs::read(toy.path(name).join("model.safetensors")).unwrap();
    assert_eq!(model("parts"), model("whole"));
    toy
}

/// The embedded model's folder: int8 rows, sixteen by sixteen.
const EMBEDDED: &str = "../attlas-model/embedded";

#[test]
fn a_run_begins_with_weights_as_they_are_stored_for_running() {
    let toy = Toy::new();
    let pairs = "I played the flute.\tJ'ai joué de la flûte.\nShe is my sister.\tC'est ma sœur.\n";
    ["train.tsv", "valid.tsv"].into_iter().for_each(|name| fs::write(toy.path(name), pairs).unwrap());
    let mut config = toy.config("out");
    config.recipe = Recipe { budget: Budget::Tokens(1), dropout: 0.0, ..Recipe::default() };
    config.tokenizer = Some(Path::new(EMBEDDED).join("tokenizer.json"));
    config.init = Some(PathBuf::from(EMBEDDED));
    let mut losses = Vec::new();
    let summary = train(&config, &mut |progress| {
        losses.push(progress.loss);
        Next::Continue
    });
    summary.unwrap();
    assert!(losses.len() == 1 && losses[0] < 1.5, "{losses:?}; random weights give about 9");
    let mut config = toy.config("narrow");
    config.tokenizer = Some(Path::new(EMBEDDED).join("tokenizer.json"));
    config.init = Some(PathBuf::from(EMBEDDED));
    let text = message(&config);
    assert!(text.contains("src_embed.weight") && text.contains("[8000, 256]") && text.contains("[8000, 16]"), "{text}");
}

#[test]
fn the_loss_falls_and_a_run_leaves_a_model_a_log_and_a_film() {
    let toy = Toy::new();
    let mut config = toy.config("out");
    config.recipe.budget = Budget::Tokens(20_000);
    config.threads = 2;
    config.film = 4;
    config.validate_every = 50;
    let mut losses = Vec::new();
    let mut samples = Vec::new();
    let summary = train(&config, &mut |progress| {
        losses.push(progress.loss);
        samples.extend(progress.validation.clone());
        Next::Continue
    })
    .unwrap();
    let first: f64 = losses[..5].iter().sum::<f64>() / 5.0;
    assert!(summary.best_valid.unwrap() < 0.4 * first, "from {first} to {:?}", summary.best_valid);
    assert!(samples.last().unwrap().accuracy > 0.7);
    for name in ["model.safetensors", "config.json", "tokenizer.json", "checkpoint.safetensors"] {
        assert!(toy.path("out").join(name).is_file(), "{name}");
    }
    let log = fs::read_to_string(toy.path("out").join("log.jsonl")).unwrap();
    assert_eq!(log.lines().count(), losses.len());
    let line: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(line["step"], 1);
    let mut frames: Vec<_> =
        fs::read_dir(toy.path("out").join("film")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    frames.sort();
    assert_eq!(frames, ["000", "001", "002", "003"]);
}

#[test]
fn training_stops_early_when_the_validation_loss_does_not_fall() {
    let toy = Toy::new();
    let mut config = toy.config("out");
    config.recipe.schedule.peak = 1e-12;
    config.recipe.average = 0.0;
    config.validate_every = 1;
    config.patience = Some(2);
    let summary = run(&config).unwrap();
    assert_eq!(summary.ended, Ended::EarlyStop);
    assert!(summary.step < 8, "step {}", summary.step);
}

#[test]
fn a_malformed_line_is_named_with_file_and_number_and_skip_bad_counts_it() {
    let toy = Toy::new();
    let path = toy.path("train.tsv");
    for (line, problem) in [
        ("no tab here", "has no tab; a pair is SOURCE<tab>TARGET"),
        ("one\t", "has an empty target side"),
        ("\tun", "has an empty source side"),
        ("", "has no tab; a pair is SOURCE<tab>TARGET"),
    ] {
        fs::write(&path, format!("one\tun\n{line}\n{}", toy_pairs(60))).unwrap();
        let expected = format!("{}, line 2: {problem}; 1 of 62 lines are no pairs", path.display());
        assert_eq!(message(&toy.config("out")), expected);
    }
    let mut config = toy.config("out");
    config.bad_lines = BadLines::Skip;
    assert_eq!(run(&config).unwrap().n_bad, 1);
}

#[test]
fn bytes_that_are_no_utf_8_and_missing_or_empty_files_are_named() {
    let toy = Toy::new();
    let path = toy.path("train.tsv");
    fs::write(&path, b"one\tun\n\xff\xfe\tdeux\n").unwrap();
    assert!(message(&toy.config("out")).contains("line 2: is no valid UTF-8"));
    fs::write(&path, "").unwrap();
    assert!(message(&toy.config("out")).contains("holds no sentence pair"));
    fs::remove_file(&path).unwrap();
    assert!(message(&toy.config("out")).starts_with(&format!("{}: cannot be read", path.display())));
}

#[test]
fn pairs_over_the_limit_are_counted_and_a_file_of_nothing_else_is_refused() {
    let toy = Toy::new();
    let long = ["one"; 40].join(" ");
    fs::write(toy.path("train.tsv"), format!("{long}\tun\n{}", toy_pairs(60))).unwrap();
    assert_eq!(run(&toy.config("out")).unwrap().n_too_long, 1);
    fs::write(toy.path("train.tsv"), format!("{long}\tun\n")).unwrap();
    assert!(message(&toy.config("other")).contains("longer than max_len 32 tokens; raise max_len"));
}

#[test]
fn a_checkpoint_of_another_configuration_or_of_other_pairs_is_refused() {
    let toy = Toy::new();
    run(&toy.config("out")).unwrap();
    let before = tensors(&toy.path("out"));
    assert!(message(&toy.config("out")).contains("there is a checkpoint of another run already"));

    let mut config = toy.config("out");
    config.resume = Resume::Yes;
    config.recipe.architecture.d_ff = 48;
    assert!(
        message(&config).contains("another configuration: architecture.d_ff is 32 there and 48 here"),
        "{}",
        message(&config)
    );
    config = toy.config("out");
    config.resume = Resume::Yes;
    fs::write(toy.path("train.tsv"), toy_pairs(100)).unwrap();
    assert!(message(&config).contains("trained on other pairs"));
    assert_eq!(tensors(&toy.path("out")), before, "the checkpoint is as it was");
}

#[test]
fn a_damaged_checkpoint_is_named() {
    let toy = Toy::new();
    run(&toy.config("out")).unwrap();
    let path = toy.path("out").join("checkpoint.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let mut config = toy.config("out");
    config.resume = Resume::Yes;
    assert!(message(&config).starts_with(&format!("{}: no safetensors file", path.display())));
}

#[test]
fn a_checkpoint_that_cannot_be_written_stops_the_run_with_the_files_name() {
    let toy = Toy::new();
    // a folder stands where the model should be renamed to, as a full disk would make the same call fail
    fs::create_dir_all(toy.path("out").join("model.safetensors")).unwrap();
    let text = message(&toy.config("out"));
    assert!(text.contains("model.safetensors: cannot be written"), "{text}");
    assert!(text.contains("the last complete checkpoint is untouched"), "{text}");
    let left: Vec<_> = fs::read_dir(toy.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".tmp"))
        .collect();
    assert!(left.is_empty(), "half-written files are removed: {left:?}");
}

#[test]
fn a_batch_too_large_for_the_memory_limit_is_refused_and_says_what_helps() {
    let toy = Toy::new();
    let mut config = toy.config("out");
    config.recipe.batch_tokens = 1 << 20;
    config.recipe.part_tokens = 1 << 20;
    config.memory_limit = 64 << 20;
    let text = message(&config);
    assert!(text.contains("the limit is 64 MB; smaller parts"), "{text}");
}

#[test]
fn settings_out_of_range_are_named() {
    let toy = Toy::new();
    let mut config = toy.config("out");
    config.recipe.dropout = 1.0;
    assert_eq!(message(&config), "dropout is 1; it must be at least 0 and below 1");
    config = toy.config("out");
    config.recipe.architecture.num_heads = 3;
    assert_eq!(message(&config), "num_heads is 3 but d_model 16 is not divisible by it");
    config = toy.config("out");
    config.recipe.schedule.peak = f64::NAN;
    assert!(message(&config).starts_with("the learning rate is NaN"));
}

/// What lies in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_folder_holds_one_training_at_a_time_from_its_first_step_on() {
    let toy = Toy::new();
    let config = toy.config("out");
    let mut resumed = config.clone();
    resumed.resume = Resume::Yes;
    let mut refused = Vec::new();
    let first = train(&config, &mut |progress| {
        if progress.step == 2 {
            refused.extend([message(&config), message(&resumed)]);
        }
        Next::Continue
    });
    let alone = run(&toy.config("alone")).unwrap();
    assert_eq!(first.unwrap(), alone, "the first run is not disturbed");
    let expected = format!(
        "{}: another training is at work in this folder; wait for its end, stop it, or give another folder",
        toy.path("out").display()
    );
    assert_eq!(refused, [expected.clone(), expected]);
    assert_eq!(tensors(&toy.path("out")), tensors(&toy.path("alone")));
    // the end of a run gives the folder back
    run(&resumed).unwrap();
}

#[test]
fn what_dead_runs_left_aside_is_swept_and_nothing_else() {
    let toy = Toy::new();
    let film = toy.path("out").join("film/000");
    fs::create_dir_all(&film).unwrap();
    let left = [".attlas-0123-dead01.tmp", ".attlas--dead02.tmp"];
    let others = [".mine.1.tmp", ".model.safetensors.tmp", "notes.tmp"];
    let two_days_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 24 * 60 * 60);
    for name in left.iter().chain(&others) {
        for folder in [&toy.path("out"), &film] {
            fs::write(folder.join(name), b"half").unwrap();
            fs::File::options().write(true).open(folder.join(name)).unwrap().set_modified(two_days_ago).unwrap();
        }
    }
    run(&toy.config("out")).unwrap();
    for folder in [toy.path("out"), film] {
        let names = names(&folder);
        assert!(left.iter().all(|name| !names.iter().any(|there| there == name)), "{names:?}");
        assert!(others.iter().all(|name| names.iter().any(|there| there == name)), "{names:?}");
    }
}

#[test]
fn a_validation_loss_that_is_no_number_ends_the_run_and_nothing_of_it_is_kept() {
    let toy = Toy::new();
    let mut config = toy.config("out");
    // one step, so that no loss of a step shows what it did
    config.recipe.budget = Budget::Tokens(300);
    config.recipe.batch_tokens = 4096;
    config.recipe.schedule = Schedule { peak: 1e30, warm_up: 1, decay: Decay::Linear };
    let mut n_reports = 0;
    let error = train(&config, &mut |_| {
        n_reports += 1;
        Next::Continue
    })
    .unwrap_err();
    assert!(matches!(error, Error::ValidationDiverged { step: 1, .. }), "{error}");
    assert!(error.to_string().starts_with("step 1: the validation loss is NaN, nothing of it is kept"), "{error}");
    assert_eq!(n_reports, 0, "a step that came to nothing is not reported as done");
    assert_eq!(names(&toy.path("out")), [".training.lock", "config.json", "target_words.filter", "tokenizer.json"]);
}

#[test]
fn weights_that_are_no_numbers_never_become_a_checkpoint() {
    let toy = Toy::new();
    let mut config = toy.config("out");
    config.checkpoint_seconds = 0.0;
    config.validate_every = 1000;
    // beyond what f32 holds
    config.recipe.schedule = Schedule { peak: 1e39, warm_up: 1, decay: Decay::Linear };
    let text = message(&config);
    let path = toy.path("out").join("checkpoint.safetensors");
    assert!(text.starts_with(&format!("{}: not written, because weights/", path.display())), "{text}");
    assert!(!path.exists());
}

#[test]
fn a_run_that_ended_before_its_first_checkpoint_is_to_be_begun_anew() {
    let toy = Toy::new();
    let mut config = toy.config("out");
    config.resume = Resume::Yes;
    let expected = format!(
        "{}: there is no checkpoint to go on from: a run that ends before its first one leaves none; begin the training anew",
        toy.path("out").join("checkpoint.safetensors").display()
    );
    assert_eq!(message(&config), expected);
    assert!(!toy.path("out").exists(), "where nothing was trained, nothing is written");

    // a run that died after its first files
    fs::create_dir_all(toy.path("out")).unwrap();
    fs::write(toy.path("out").join(".training.lock"), b"").unwrap();
    fs::write(toy.path("out").join("tokenizer.json"), b"half").unwrap();
    assert_eq!(message(&config), expected);
    run(&toy.config("out")).unwrap();
}

#[test]
fn a_film_of_more_moments_than_folders_have_names_is_refused_before_anything_is_made() {
    let toy = Toy::new();
    let mut config = toy.config("out");
    config.film = 1_000_000;
    assert_eq!(message(&config), "a film of 1000000 moments was asked for; a training keeps 1000 at most");
    assert!(!toy.path("out").exists());
}

/// Made by `attlas train` of version 0.1 when it had a network of its own, on [`toy_pairs`] with the settings of the test and
/// `--sample` as it is: the checkpoint after 10 of 50 steps, and the log of the whole run.
const OLDER: &str = "tests/golden/older";

#[test]
fn a_seeded_run_has_the_loss_curve_of_older_versions_from_its_start_and_from_their_checkpoint() {
    let toy = Toy::new();
    let older = Path::new(OLDER);
    let log = fs::read_to_string(older.join("log.jsonl")).unwrap();
    let log: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (name, resume) in [("whole", Resume::No), ("resumed", Resume::Yes)] {
        let mut config = toy.config(name);
        config.recipe.budget = Budget::Tokens(3000);
        config.resume = resume;
        if resume == Resume::Yes {
            fs::create_dir_all(toy.path(name)).unwrap();
            for file in ["checkpoint.safetensors", "tokenizer.json"] {
                fs::copy(older.join(file), toy.path(name).join(file)).unwrap();
            }
        }
        let mut steps = Vec::new();
        train(&config, &mut |progress| {
            let wanted = &log[progress.step as usize - 1];
            let numbers = [
                (progress.loss, &wanted["loss"]),
                (progress.objective, &wanted["objective"]),
                (progress.gradient_norm, &wanted["gradient_norm"]),
            ];
            for (found, wanted) in numbers {
                let wanted = wanted.as_f64().unwrap();
                assert!((found - wanted).abs() < 2e-3 * wanted, "{name}, step {}: {found} {wanted}", progress.step);
            }
            assert_eq!(progress.tokens, wanted["tokens"], "{name}, step {}", progress.step);
            if let Some(validation) = &progress.validation {
                let wanted = wanted["validation"]["loss"].as_f64().unwrap();
                assert!((validation.loss - wanted).abs() < 2e-3 * wanted, "{name}: {} {wanted}", validation.loss);
            }
            steps.push(progress.step);
            Next::Continue
        })
        .unwrap();
        let first = if resume == Resume::Yes { 11 } else { 1 };
        assert_eq!(steps, (first..=50).collect::<Vec<u64>>(), "{name}");
    }
}
