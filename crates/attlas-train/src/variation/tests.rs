//! What variation makes of pairs, with the embedded model's vocabulary.

use super::*;
use crate::data::encode;

const TEXTS: [(&str, &str); 4] = [
    ("How is Tom?", "Comment va Tom ?"),
    ("I know Tom.", "Je connais Tom."),
    ("I saw Tom in 1969.", "J'ai vu Tom en 1969."),
    ("Wait...", "Attends..."),
];

struct Shown {
    tokenizer: Tokenizer,
    pairs: Vec<Pair>,
    varied: Varied,
}

impl Shown {
    fn new(variation: Variation, seed: u64) -> Shown {
        let (tokenizer, json) =
            tokenizer::read(std::path::Path::new("../attlas-model/embedded/tokenizer.json")).unwrap();
        let texts = TEXTS.map(|(source, target)| (source.to_string(), target.to_string())).to_vec();
        let frame = tokenizer::frame(&tokenizer).unwrap();
        let encoded = encode(&tokenizer, &texts, frame, 512).unwrap();
        let recipe = Recipe { variation, seed, ..Recipe::default() };
        let varied = Varied::new(&recipe, &tokenizer, &json, &texts, &encoded.kept).unwrap().unwrap();
        Shown { tokenizer, pairs: encoded.pairs, varied }
    }

    fn batch(&self, batch: &[u32], epoch: u64) -> Vec<Pair> {
        self.varied.batch(&self.tokenizer, &self.pairs, batch, epoch).unwrap()
    }

    /// The same as text.
    fn texts(&self, batch: &[u32], epoch: u64) -> Vec<(String, String)> {
        let text = |ids: &[u32]| self.tokenizer.decode(ids).unwrap();
        self.batch(batch, epoch).iter().map(|pair| (text(&pair.source), text(&pair.target))).collect()
    }
}

fn all_at_half() -> Variation {
    Variation { bpe_dropout: 0.2, lower_case: 0.3, upper_case: 0.3, drop_stop: 0.5, swap_names: 0.5, join: 0.5 }
}

#[test]
fn what_is_shown_is_a_function_of_seed_epoch_and_pair() {
    let (one, same, other) = (Shown::new(all_at_half(), 1), Shown::new(all_at_half(), 1), Shown::new(all_at_half(), 2));
    let batch = [2, 0, 3, 1];
    let first = one.batch(&batch, 0);
    one.batch(&[1, 1], 7); // nothing is remembered
    assert_eq!(one.batch(&batch, 0), first);
    assert_eq!(same.batch(&batch, 0), first);
    assert_ne!(other.batch(&batch, 0), first);
    let epochs: std::collections::BTreeSet<_> = (0..10).map(|epoch| one.texts(&batch, epoch)).collect();
    assert_eq!(epochs.len(), 10);
}

#[test]
fn dropout_alone_changes_the_pieces_of_the_source_and_nothing_else() {
    let shown = Shown::new(Variation { bpe_dropout: 0.3, ..Variation::default() }, 1);
    let mut n_other = 0;
    for epoch in 0..10 {
        for (pair, plain) in shown.batch(&[0, 1, 2, 3], epoch).iter().zip(&shown.pairs) {
            assert_eq!(pair.target, plain.target);
            assert_eq!(shown.tokenizer.decode(&pair.source).unwrap(), shown.tokenizer.decode(&plain.source).unwrap());
            assert_eq!(pair.source.last(), plain.source.last(), "the end token");
            n_other += usize::from(pair.source != plain.source);
        }
    }
    assert!(n_other > 20, "{n_other} of 40 sources are cut otherwise");
}

#[test]
fn a_source_in_lower_case_keeps_a_target_as_it_is_written_and_capitals_are_on_both_sides() {
    let lower = Shown::new(Variation { lower_case: 1.0, ..Variation::default() }, 1);
    assert_eq!(lower.texts(&[1], 0), [("i know tom.".to_string(), "Je connais Tom.".to_string())]);
    let upper = Shown::new(Variation { upper_case: 1.0, ..Variation::default() }, 1);
    assert_eq!(upper.texts(&[1], 0), [("I KNOW TOM.".to_string(), "JE CONNAIS TOM.".to_string())]);
    let some = Shown::new(Variation { lower_case: 0.25, upper_case: 0.25, ..Variation::default() }, 1);
    let sources = |wanted: &str| (0..400).filter(|epoch| some.texts(&[1], *epoch)[0].0 == wanted).count();
    let counts = ["i know tom.", "I KNOW TOM.", "I know Tom."].map(sources);
    assert!(counts.iter().zip([100, 100, 200]).all(|(n, wanted)| n.abs_diff(wanted) < 35), "{counts:?}");
}

#[test]
fn a_mark_at_the_end_of_both_texts_is_left_out_of_both() {
    let shown = Shown::new(Variation { drop_stop: 1.0, ..Variation::default() }, 1);
    let texts = shown.texts(&[0, 1, 3], 0);
    let wanted = [("How is Tom", "Comment va Tom"), ("I know Tom", "Je connais Tom"), ("Wait...", "Attends...")];
    assert_eq!(texts, wanted.map(|(source, target)| (source.to_string(), target.to_string())));
    assert_eq!(without_stop("Go.", "Va !"), None);
    assert_eq!(without_stop("Go!", "Va\u{202f}!"), Some(("Go", "Va")));
}

#[test]
fn another_name_stands_in_both_texts() {
    let shown = Shown::new(Variation { swap_names: 1.0, ..Variation::default() }, 1);
    for epoch in 0..10 {
        let [(source, target)] = &shown.texts(&[2], epoch)[..] else { panic!("one pair") };
        let rest = source.strip_prefix("I saw ").unwrap().strip_suffix('.').unwrap();
        let (name, year) = rest.split_once(" in ").unwrap();
        assert_eq!(*target, format!("J'ai vu {name} en {year}."));
        assert_ne!(year, "1969");
    }
}

#[test]
fn pairs_of_a_batch_are_joined_each_once_and_in_order() {
    let shown = Shown::new(Variation { join: 1.0, ..Variation::default() }, 1);
    let mut n_texts = std::collections::BTreeSet::new();
    for epoch in 0..10 {
        let texts = shown.texts(&[0, 1, 2, 3], epoch);
        let [sources, targets] = [0, 1].map(|side| {
            let side = |(source, target): &(String, String)| if side == 0 { source.clone() } else { target.clone() };
            texts.iter().map(side).collect::<Vec<_>>().join(" ")
        });
        assert_eq!(sources, TEXTS.map(|(source, _)| source).join(" "));
        assert_eq!(targets, TEXTS.map(|(_, target)| target).join(" "));
        n_texts.insert(texts.len());
    }
    assert_eq!(n_texts.into_iter().collect::<Vec<_>>(), [2]);
    let long = vec![Pair { source: vec![5; 40], target: vec![5; 40] }; 4];
    assert_eq!(shown.varied.n_joined(&long, &[0, 1, 2], &mut Random::new(1)), 1, "more than 48 tokens are too many");
}

#[test]
fn a_pair_that_would_get_characters_the_vocabulary_has_not_stays_as_it_is() {
    let shown = Shown::new(Variation { upper_case: 1.0, ..Variation::default() }, 1);
    let texts = vec![("My mother.".to_string(), "Ma mère.".to_string())];
    let encoded = encode(&shown.tokenizer, &texts, shown.varied.frame, 512).unwrap();
    let varied = Varied { texts, ..shown.varied };
    assert_eq!(varied.batch(&shown.tokenizer, &encoded.pairs, &[0], 0).unwrap(), encoded.pairs);
}

#[test]
fn shares_out_of_range_are_named() {
    let message = |variation: Variation| variation.check().unwrap_err().to_string();
    assert_eq!(
        message(Variation { join: 1.5, ..Variation::default() }),
        "the share that is joined is 1.5; it must be between 0 and 1"
    );
    let cases = Variation { lower_case: 0.75, upper_case: 0.5, ..Variation::default() };
    assert_eq!(message(cases), "the share of both cases is 1.25; it must be between 0 and 1");
    assert!(message(Variation { bpe_dropout: f64::NAN, ..Variation::default() }).starts_with("BPE-dropout is NaN"));
}
