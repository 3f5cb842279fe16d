//! The numbers of a head against those of independent implementations (`tools/analysis/trim_golden.py` says which).

use std::sync::Arc;

use attlas::AttentionMap;
use attlas::analysis::syntax::{Direction, TreeSums, measure_tree};
use attlas::analysis::{self, Annotations, Grid, HeadSums, Row, RowTokens, Rows, TreeWords};
use attlas::attention::Shape;
use attlas::conllu::{Sentence, Word};
use attlas::{Item, Kind, Layer, Provenance, Recording, Token, TokenRole, Tokens, Weights};
use safetensors::SafeTensors;
use serde_json::Value;

const TENSORS: &[u8] = include_bytes!("golden/headstats.safetensors");
const NUMBERS: &str = include_str!("golden/headstats.json");
const TREES: &str = include_str!("golden/trees.json");
const TOLERANCE: f64 = 1e-5;

#[test]
fn measures_of_offsets_and_classes_and_entropy_are_those_of_the_notebook_of_clark_et_al() {
    let docs: Vec<Recording> = (0..3).map(clark_doc).collect();
    let over_docs = |number: &dyn Fn(&Recording) -> Vec<f64>| -> Vec<f64> {
        let mut mean = vec![0.0; 24]; // [layers, heads]
        for doc in &docs {
            mean.iter_mut().zip(number(doc)).for_each(|(slot, number)| *slot += number / 3.0);
        }
        mean
    };
    let measured = |name: &str| over_docs(&|doc| scores(doc, name));
    agree("clark_avg_self", &measured("self"));
    agree("clark_avg_left", &measured("previous"));
    agree("clark_avg_right", &measured("next"));
    agree("clark_avg_sep", &measured("separator"));
    agree("clark_avg_punct", &measured("punctuation"));
    agree("clark_avg_cls", &measured("first"));
    agree("clark_entropy", &over_docs(&|doc| of_heads(doc, |rows| mean(rows.map(analysis::smoothed_entropy)))));
}

/// A text of Clark's notebook with its tokens.
fn clark_doc(doc: usize) -> Recording {
    let mut recording = dense(Kind::Encoder, &format!("clark_attn_{doc}"));
    let texts = numbers()["clark_docs"][doc].clone();
    for (token, text) in recording.items[0].source.tokens.iter_mut().zip(texts.as_array().expect("tokens")) {
        token.text = text.as_str().expect("text").to_owned();
        if token.text.starts_with('[') {
            token.role = TokenRole::Special;
        }
    }
    recording
}

#[test]
fn positional_shares_and_confidence_are_those_of_voita_et_al() {
    let mut recording = dense(Kind::Encoder, "voita_attn");
    recording.items[0].source.tokens[11].role = TokenRole::Special; // the end token
    let over_sentences = |number: &dyn Fn(&Rows<'_>) -> f64| -> Vec<f64> {
        let numbers = of_heads(&recording, number); // [sentences, layers, heads]
        (0..8).map(|head| (0..6).map(|sentence| numbers[sentence * 8 + head] / 6.0).sum()).collect()
    };
    let share = |rows: &Rows<'_>, offset: i64| {
        mean(
            rows.map(|row| analysis::most_at_offset(row, offset).map(|target| target.most_of(row).score))
                .into_iter()
                .flatten(),
        )
    };
    for offset in [-1, 0, 1] {
        agree(&format!("voita_pos_fraction_off{offset}"), &over_sentences(&|rows| share(rows, offset)));
    }
    agree("voita_confidence", &over_sentences(&|rows| mean(rows.map(analysis::confidence).into_iter().flatten())));
}

#[test]
fn entropies_largest_weights_and_sinks_of_causal_maps_are_those_of_numpy() {
    let recording = dense(Kind::Decoder, "causal_attn"); // [sentences × layers × heads]
    let per_row = |number: fn(&Row<'_>) -> f64| of_heads(&recording, |rows| rows.map(number)).concat();
    agree("causal_entropy_row", &per_row(analysis::entropy));
    agree("causal_row_max", &per_row(analysis::largest_weight));
    let normalized =
        |rows: &Rows<'_>| rows.map(analysis::normalized_entropy).into_iter().flatten().collect::<Vec<f64>>();
    agree("causal_entropy_norm_row", &of_heads(&recording, normalized).concat());
    for key in 0..3 {
        let alpha = |rows: &Rows<'_>| mean(rows.map(|row| analysis::sink_weight(row, key)).into_iter().flatten());
        agree(&format!("causal_sink_alpha_k{key}"), &of_heads(&recording, alpha));
    }
}

#[test]
fn ideal_heads_have_the_numbers_of_their_closed_forms() {
    let numbers = numbers();
    for (name, expected) in numbers.as_object().expect("an object") {
        let Some(map) = name.strip_prefix("synthetic_") else { continue };
        let is_causal = !map.ends_with("bidir");
        let recording = dense(if is_causal { Kind::Decoder } else { Kind::Encoder }, name);
        let close = |number: f64, key: &str| {
            let expected = expected[key].as_f64().expect("a number");
            assert!((number - expected).abs() < TOLERANCE, "{map}, {key}: {number}, expected {expected}");
        };
        let mean_of = |number: fn(&Row<'_>) -> f64| of_heads(&recording, |rows| mean(rows.map(number)))[0];
        close(mean_of(analysis::entropy), "entropy_mean");
        close(mean_of(analysis::largest_weight), "confidence_mean_max");
        close(scores(&recording, "previous")[0], "mass_prev");
        close(scores(&recording, "self")[0], "mass_self");
        close(if is_causal { 0.0 } else { scores(&recording, "next")[0] }, "mass_next");
        close(scores(&recording, "first")[0], "sink_alpha0");
        if is_causal {
            let recording = with_ids(recording, Kind::Decoder, &ids("synthetic_ids"));
            close(scores(&recording, "tl-previous")[0], "previous_token_head_mul_bos0");
            close(scores(&recording, "tl-duplicate")[0], "duplicate_token_head_mul_bos0");
            close(scores(&recording, "tl-induction")[0], "induction_head_mul_bos0");
        }
    }
}

#[test]
fn rare_token_shares_are_those_of_voita_et_al() {
    let recording = dense(Kind::Encoder, "voita_attn"); // [sentences × layers × heads]
    let ids = ids("voita_ids"); // [sentences, 12]
    let annotations = Annotations { counts: Some(Arc::new((0..100).collect())), ..Annotations::default() };
    let of_sentence = |sentence: usize| {
        let mut recording = with_ids(recording.clone(), Kind::Encoder, &ids[sentence * 12..][..12]);
        recording.items[0].source.tokens[11].role = TokenRole::Special; // the end token
        recording.layers = recording.layers[sentence * 2..][..2].to_vec();
        measured(&recording, &annotations, "rare")
    };
    agree("voita_rare_fraction", &mean_of_texts((0..6).map(of_sentence)));
}

#[test]
fn mean_distances_are_those_of_vig_and_belinkov() {
    let recording = dense(Kind::Decoder, "vig_attn"); // [sentences × layers × heads]
    let distances = scores(&recording, "distance");
    agree("vig_distance", &mean_of_texts(distances.chunks(8).map(<[f64]>::to_vec)));
}

#[test]
fn retrieval_heads_are_those_of_wu_et_al() {
    let mut recording = with_ids(dense(Kind::Decoder, "retrieval_attn"), Kind::Decoder, &ids("retrieval_ids"));
    recording.items[0].n_prompt = Some(24);
    let annotations = Annotations { needle: Some(5..9), ..Annotations::default() };
    agree("retrieval_score", &measured(&recording, &annotations, "retrieval"));
}

#[test]
fn heads_of_a_trained_model_are_found_with_the_scores_of_the_oracle() {
    let recording = dense(Kind::Decoder, "induction_attn"); // [texts × layers × heads]
    let ids = ids("induction_ids"); // [texts, 31]
    let of_text = |text: usize| {
        let mut recording = with_ids(recording.clone(), Kind::Decoder, &ids[text * 31..][..31]);
        recording.layers = recording.layers[text * 2..][..2].to_vec();
        recording.layers.iter_mut().enumerate().for_each(|(index, layer)| layer.index = index);
        analysis::measure(&recording, 0).expect("there is a text")
    };
    let texts: Vec<Vec<HeadSums>> = (0..10).map(of_text).collect();
    for name in ["previous", "duplicate", "induction"] {
        let tl: Vec<Vec<f64>> = texts.iter().map(|heads| values(heads, &format!("tl-{name}"))).collect();
        agree(&format!("induction_tl_{name}"), &mean_of_texts(tl));
    }
    let heads = analysis::merge(texts.into_iter().flatten());
    agree("induction_dup", &values(&heads, "duplicate"));
    agree("induction_ind", &values(&heads, "induction"));
    let induction: Vec<String> = analysis::standouts(&heads)
        .iter()
        .filter(|one| one.measure.name == "induction")
        .map(|one| format!("{} {:.2}", one.head, one.score.value))
        .collect();
    assert_eq!(induction, ["L1H2 0.88", "L1H0 0.87", "L1H1 0.84", "L1H3 0.79"]);
}

/// A tensor of token ids.
fn ids(name: &str) -> Vec<u32> {
    let file = SafeTensors::deserialize(TENSORS).expect("the fixture is a safetensors file");
    let bytes = file.tensor(name).expect("the fixture has this tensor").data().to_vec();
    let (numbers, _) = bytes.as_chunks::<8>();
    numbers.iter().map(|number| u32::try_from(i64::from_le_bytes(*number)).expect("an id")).collect()
}

/// The recording with these token ids.
fn with_ids(mut recording: Recording, kind: Kind, ids: &[u32]) -> Recording {
    let item = &mut recording.items[0];
    let tokens = if kind == Kind::Encoder { &mut item.source } else { &mut item.target };
    tokens.tokens.iter_mut().zip(ids).for_each(|(token, id)| token.id = Some(*id));
    if kind == Kind::Decoder {
        // what follows each token; nothing follows the last
        item.predicted = item.target.clone();
        item.predicted.tokens.rotate_left(1);
        item.predicted.tokens.last_mut().expect("there are tokens").role = TokenRole::Special;
    }
    recording
}

/// The mean over texts of a number of every head.
fn mean_of_texts(texts: impl IntoIterator<Item = Vec<f64>>) -> Vec<f64> {
    let texts: Vec<Vec<f64>> = texts.into_iter().collect();
    (0..texts[0].len()).map(|head| mean(texts.iter().map(|text| text[head]))).collect()
}

/// A measure's score for every head.
fn measured(recording: &Recording, annotations: &Annotations, name: &str) -> Vec<f64> {
    values(&analysis::measure_with(recording, 0, annotations).expect("there is a text"), name)
}

fn values(heads: &[HeadSums], name: &str) -> Vec<f64> {
    heads.iter().map(|head| head.score(name).expect("the measure is looked for").value).collect()
}

/// A measure's score for every head, of a text of which nothing is known.
fn scores(recording: &Recording, name: &str) -> Vec<f64> {
    measured(recording, &Annotations::default(), name)
}

#[test]
fn word_links_are_those_of_kobayashi_et_al() {
    let recording = alignment_recording();
    let numbers = numbers();
    for layer in 0..3 {
        for (rule, row_tokens) in [("AWO", 0), ("AWI", 1)] {
            // Heads are averaged; AWO links token t in row t, which predicts it, AWI in row t + 1, which reads it.
            let head = |head| recording.map(0, Kind::Cross, layer, head).expect("the head exists");
            let heads: Vec<AttentionMap<'_>> = (0..4).map(head).collect();
            let mean = Grid::of_heads(&heads, RowTokens::Read).expect("there are heads");
            let words = shift_rows(&mean, row_tokens).words();
            let n_words = 5; // the end token's row is left out
            let expected = tensor(&format!("alignment_word_{rule}_layer{layer}"));
            assert_close(&format!("{rule} of layer {layer}"), &words.weights[..expected.len()], &expected);

            let links = analysis::links(&words);
            let found: Vec<Value> = (links.iter().filter(|link| link.row < n_words && link.column != 7))
                .map(|link| serde_json::json!([link.row, link.column]))
                .collect();
            let name = format!("{rule}_layer{layer}");
            assert_eq!(Value::from(found), numbers["alignment_alignments_kobayashi"][&name], "{name}");
        }
    }
}

#[test]
fn heads_find_the_relations_that_the_notebook_of_clark_et_al_says_they_find() {
    let trees: Value = serde_json::from_str(TREES).expect("the fixture is JSON");
    let sums = clark_trees(&trees);
    let modes = [("normal", Direction::ChildToHead), ("transpose", Direction::HeadToChild)];
    let mut n_compared = 0;
    for (place, head) in sums.heads.iter().enumerate() {
        for (mode, direction) in modes {
            let expected = &trees["accuracy"][mode][format!("{}-{}", place / 12, place % 12)];
            for (relation, expected) in expected.as_object().expect("relations") {
                // the notebook counts words without a head, and words that are their own, as never found
                let relation_sums = head.relations[relation][direction as usize];
                let n_right = relation_sums.mean().expect("there are words") * relation_sums.n as f64;
                let found = n_right / n_words(&trees, relation) as f64;
                let expected = expected.as_f64().expect("a share");
                assert!(
                    (found - expected).abs() < TOLERANCE,
                    "{place} {mode} {relation}: {found}, expected {expected}"
                );
                n_compared += 1;
            }
        }
    }
    assert_eq!(n_compared, 24 * 2 * 4, "24 heads, 2 directions, 4 relations");
}

#[test]
fn fixed_offsets_find_the_relations_that_the_notebook_of_clark_et_al_says_they_find() {
    let trees: Value = serde_json::from_str(TREES).expect("the fixture is JSON");
    let sums = clark_trees(&trees);
    for (offset, expected) in trees["offsets"].as_object().expect("offsets") {
        let by: i64 = offset.parse().expect("an offset");
        if by == 0 {
            continue; // a word is not its own head
        }
        for (relation, expected) in expected.as_object().expect("relations") {
            let offsets = sums.offsets[relation][Direction::ChildToHead as usize];
            // the notebook moves an offset past the first word to the root, one past the last word to that word
            let n_found = offsets.share(by).expect("a share") * offsets.n as f64 + n_moved(&trees, relation, by) as f64;
            let (found, expected) = (n_found / n_words(&trees, relation) as f64, expected.as_f64().expect("a share"));
            assert!((found - expected).abs() < TOLERANCE, "{offset} {relation}: {found}, expected {expected}");
        }
    }
}

#[test]
fn weights_between_words_are_those_of_the_notebook_of_clark_et_al() {
    let trees: Value = serde_json::from_str(TREES).expect("the fixture is JSON");
    let mut recording = dense(Kind::Encoder, "clark_attn_0");
    let text = one_letter_a_token(&mut recording);
    let words = trees["words_to_tokens"].as_array().expect("words").iter().map(|pieces| {
        let place = |piece: Option<&Value>| piece.and_then(Value::as_u64).expect("a place") as usize;
        let pieces = pieces.as_array().expect("places");
        word(place(pieces.first())..place(pieces.last()) + 1, None, "_")
    });
    let sentence = sentence(text, words.collect());
    let words = TreeWords::of(&sentence, &recording.items[0].source).expect("they are of the sentence");
    let mut found = Vec::new();
    for layer in &recording.layers {
        for head in 0..layer.shape.n_heads {
            let map = recording.map(0, Kind::Encoder, layer.index, head).expect("the head exists");
            analysis::for_each_word_row(&Rows::of(&map), &words, |_| (), |row| found.extend_from_slice(row.weights));
        }
    }
    let found: Vec<f32> = found.into_iter().map(|weight| weight as f32).collect();
    let expected = trees["word_mean"].as_array().expect("numbers");
    let expected: Vec<f32> = expected.iter().map(|number| number.as_f64().expect("a number") as f32).collect();
    assert_close("word_mean", &found, &expected);
}

/// The three sentences of the notebook, measured.
fn clark_trees(trees: &Value) -> TreeSums {
    let of_doc = |doc: usize| {
        let mut recording = dense(Kind::Encoder, &format!("clark_attn_{doc}"));
        let text = one_letter_a_token(&mut recording);
        let tokens = &mut recording.items[0].source.tokens;
        let last = tokens.len() - 1;
        [0, last].into_iter().for_each(|place| tokens[place].role = TokenRole::Special);
        let tree = &trees["sentences"][doc];
        let relations = tree["relns"].as_array().expect("relations");
        let words = relations.iter().enumerate().map(|(index, relation)| {
            let head = tree["heads"][index].as_u64().expect("a head") as usize;
            word(index + 1..index + 2, head.checked_sub(1), relation.as_str().expect("a relation"))
        });
        let sentence = sentence(text, words.collect());
        measure_tree(&recording, 0, Kind::Encoder, &sentence).expect("the tree is of the text")
    };
    let mut sums = of_doc(0);
    (1..3).for_each(|doc| sums.merge(&of_doc(doc)).expect("the same heads"));
    sums
}

/// Gives the one text of a recording a letter for each token; that text.
fn one_letter_a_token(recording: &mut Recording) -> String {
    let source = &mut recording.items[0].source;
    for (place, token) in source.tokens.iter_mut().enumerate() {
        token.span = Some(place..place + 1);
    }
    source.text = "x".repeat(source.len());
    source.text.clone()
}

fn word(span: std::ops::Range<usize>, head: Option<usize>, relation: &str) -> Word {
    let [form, upos, notes] = ["x", "_", "_"].map(str::to_owned);
    Word { form, span, upos, head, relation: relation.to_owned(), notes }
}

fn sentence(text: String, words: Vec<Word>) -> Sentence {
    Sentence { id: String::new(), text, line: 1, words, empty_words: Vec::new() }
}

/// How many words of the notebook's sentences have a relation.
fn n_words(trees: &Value, relation: &str) -> usize {
    let sentences = trees["sentences"].as_array().expect("sentences");
    let relations = sentences.iter().flat_map(|sentence| sentence["relns"].as_array().expect("relations"));
    relations.filter(|other| relation == "all" || *other == relation).count()
}

/// How many words of a relation the notebook finds at an offset because it stops at the root and at the last word.
fn n_moved(trees: &Value, relation: &str, offset: i64) -> usize {
    let of_sentence = |sentence: &Value| {
        let heads = sentence["heads"].as_array().expect("heads");
        let is_moved = |(index, head): &(usize, &Value)| {
            let at = *index as i64 + 1 + offset;
            let moved = at.clamp(0, heads.len() as i64);
            let is_of = relation == "all" || sentence["relns"][*index] == relation;
            is_of && (moved != at || moved == 0) && head.as_i64() == Some(moved)
        };
        heads.iter().enumerate().filter(is_moved).count()
    };
    trees["sentences"].as_array().expect("sentences").iter().map(of_sentence).sum()
}

/// The cross-attention case, its pieces grouped into words.
fn alignment_recording() -> Recording {
    let mut recording = dense(Kind::Cross, "alignment_cross");
    let numbers = numbers();
    let item = &mut recording.items[0];
    for (tokens, words) in [(&mut item.source, "alignment_src_words"), (&mut item.target, "alignment_tgt_words")] {
        for (word, pieces) in numbers[words].as_array().expect("words").iter().enumerate() {
            for piece in pieces.as_array().expect("pieces") {
                tokens.tokens[piece.as_u64().expect("an index") as usize].word = Some(word);
            }
        }
    }
    recording
}

/// The grid whose row `t` holds the weights of row `t + by`; the first rows move to the end.
fn shift_rows(grid: &Grid, by: usize) -> Grid {
    let n_rows = grid.rows.len();
    let weights = (0..n_rows).flat_map(|row| grid.row((row + by) % n_rows).to_vec()).collect();
    Grid { weights, ..grid.clone() }
}

fn numbers() -> Value {
    serde_json::from_str(NUMBERS).expect("the fixture is JSON")
}

/// A tensor of the fixture.
fn tensor(name: &str) -> Vec<f32> {
    let file = SafeTensors::deserialize(TENSORS).expect("the fixture is a safetensors file");
    let bytes = file.tensor(name).expect("the fixture has this tensor").data().to_vec();
    bytes.chunks_exact(4).map(|chunk| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]])).collect()
}

/// A recording of the maps in a tensor `[…, queries, keys]`: every map is a head of its own, in layers of four.
fn dense(kind: Kind, name: &str) -> Recording {
    let file = SafeTensors::deserialize(TENSORS).expect("the fixture is a safetensors file");
    let shape = file.tensor(name).expect("the fixture has this tensor").shape().to_vec();
    let (n_queries, n_keys) = (shape[shape.len() - 2], shape[shape.len() - 1]);
    let n_heads = if shape.len() > 2 { 4 } else { 1 };
    let labels = |n: usize| {
        let mut tokens = Tokens::from_labels((0..n).map(|index| index.to_string()));
        for token in &mut tokens.tokens {
            *token = Token { role: TokenRole::Text, ..token.clone() };
        }
        tokens
    };
    let (source, target) = match kind {
        Kind::Encoder => (labels(n_keys), Tokens::default()),
        Kind::Decoder => (Tokens::default(), labels(n_keys)),
        Kind::Cross => (labels(n_keys), labels(n_queries)),
    };
    let layers = tensor(name)
        .chunks_exact(n_heads * n_queries * n_keys)
        .enumerate()
        .map(|(index, weights)| {
            let shape = Shape { n_heads, n_kv_heads: n_heads, n_queries, n_keys, d_head: 0, d_value: 0 };
            Layer::new(kind, index, shape, Weights::Dense(weights.to_vec().into()))
        })
        .collect();
    Recording { items: vec![Item { source, target, ..Item::default() }], layers, provenance: Provenance::default() }
}

/// A number of every head, layer by layer.
fn of_heads<T>(recording: &Recording, number: impl Fn(&Rows<'_>) -> T) -> Vec<T> {
    let heads = recording.layers.iter().flat_map(|layer| (0..layer.shape.n_heads).map(move |head| (layer, head)));
    let map =
        |(layer, head): (&Layer, usize)| recording.map(0, layer.kind, layer.index, head).expect("the head exists");
    heads.map(|head| number(&Rows::of(&map(head)))).collect()
}

fn mean(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

fn agree(name: &str, found: &[f64]) {
    let found: Vec<f32> = found.iter().map(|number| *number as f32).collect();
    assert_close(name, &found, &tensor(name));
}

fn assert_close(name: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{name}: how many numbers");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = f64::from((found - expected).abs());
        assert!(difference < TOLERANCE, "{name}[{index}]: {found}, expected {expected}");
    }
}
