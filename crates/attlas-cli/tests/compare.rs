//! `attlas compare` and `attlas draw distance`: what they print, write and refuse.

mod common;

use std::path::Path;

use attlas::attention::Shape;
use attlas::{Buffer, Item, Kind, Layer, Provenance, Recording, Tokens};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{Command, Finished, folder};

/// Saves a recording of encoder layers whose heads look at one key each: `looks[layer][head][query]`, NaN where the key is
/// too large.
fn save(folder: &TempDir, name: &str, text: &str, looks: &[&[&[usize]]]) {
    let source = Tokens::from_labels(text.split(' '));
    let n = source.len();
    let layer = |(index, heads): (usize, &&[&[usize]])| {
        let mut weights = vec![0.0; heads.len() * n * n]; // [heads, n, n]
        for (head, keys) in heads.iter().enumerate() {
            for (query, key) in keys.iter().enumerate() {
                let (key, weight) = if *key < n { (*key, 1.0) } else { (0, f32::NAN) };
                weights[(head * n + query) * n + key] = weight;
            }
        }
        let n_heads = heads.len();
        let shape = Shape { n_heads, n_kv_heads: n_heads, n_queries: n, n_keys: n, d_head: 0, d_value: 0 };
        Layer::new(Kind::Encoder, index, shape, Buffer::from(weights))
    };
    let recording = Recording {
        items: vec![Item { source, ..Item::default() }],
        layers: looks.iter().enumerate().map(layer).collect(),
        provenance: Provenance::default(),
    };
    recording.save(&folder.path().join(name)).expect("it is written");
}

fn attlas(folder: &TempDir, words: &[&str]) -> Finished {
    Command::new(words).in_folder(folder).run()
}

fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).expect("it is JSON")
}

fn read(folder: &TempDir, name: &str) -> String {
    std::fs::read_to_string(folder.path().join(name)).expect("it was written")
}

/// The heads of a comparison with their divergences.
fn divergences(object: &Value) -> Vec<(String, Option<f64>)> {
    let heads = object["heads"].as_array().expect("rows");
    heads
        .iter()
        .map(|row| (format!("{} L{}H{}", row["kind"], row["layer"], row["head"]).replace('"', ""), row["jsd"].as_f64()))
        .collect()
}

#[test]
fn a_recording_is_exactly_the_same_as_itself() {
    let (folder, run) = common::recording("A red apple.");
    let object = json(attlas(&folder, &["compare", &run, &run, "--json"]).succeeds());
    assert_eq!(object["heads"].as_array().map(Vec::len), Some(72));
    assert!(divergences(&object).iter().all(|(_, divergence)| *divergence == Some(0.0)));
    let finished = attlas(&folder, &["compare", &run, &run, "--kind", "cross"]);
    let words = finished.succeeds().stdout.replace('\n', " ");
    assert!(words.contains("the same weights in A and B, in 24 heads; two different heads of A are 0."), "{words}");
    for text in ["0", "0,0"] {
        attlas(&folder, &["compare", &run, &run, "--match", "best", "--text", text]).succeeds();
    }
}

#[test]
fn two_texts_are_compared_where_they_agree_and_the_heads_that_differ_most_come_first() {
    let folder = folder();
    let words = ["compare", "The red cat sat.", "The cat sat.", "--kind", "encoder"];
    let finished = attlas(&folder, &words);
    let printed = &finished.succeeds().stdout;
    assert!(printed.contains("5 tokens in common, of 6 in A and 5 in B"), "{printed}");
    assert!(printed.contains("to keys that") && printed.contains("24 heads compared"), "{printed}");
    let object = json(attlas(&folder, &[&words[..], &["--json"]].concat()).succeeds());
    let kind = &object["kinds"][0];
    assert_eq!((&kind["n_rows"], &kind["texts"][0]["common_keys"]), (&Value::from(5), &Value::from(5)));
    assert_eq!(kind["texts"][0]["elsewhere"][1], 0.0);
    let (between, little) = (kind["between_heads"].as_f64().expect("24 heads"), kind["little"].as_f64());
    assert!((between / 10.0 - little.expect("a tenth of it")).abs() < 1e-12);
    let mut rows: Vec<&Value> = object["heads"].as_array().expect("rows").iter().collect();
    rows.sort_by(|a, b| b["jsd"].as_f64().partial_cmp(&a["jsd"].as_f64()).expect("numbers"));
    let first = rows[0];
    assert!(first["jsd"].as_f64().is_some_and(|jsd| jsd > 0.0 && jsd <= std::f64::consts::LN_2));
    let (largest, name) = (&first["largest_difference"], format!("L{}H{}", first["layer"], first["head"]));
    assert!(largest["query"].is_string() && largest["a"].is_f64() && largest["b"].is_f64(), "{first}");
    let listed: Vec<&str> = printed.lines().filter(|line| line.starts_with('L')).collect();
    assert!(listed.len() == 10 && listed[0].starts_with(&name), "{name} in {listed:?}");
    // two spaces between columns, so that no number runs into the next
    let columns = |line: &str| line.split("  ").filter(|cell| !cell.trim().is_empty()).count();
    assert!(listed.iter().all(|line| columns(line) == 6), "{printed}");
    let pair = format!("\"{}\" → \"{}\"", largest["query"].as_str().unwrap(), largest["key"].as_str().unwrap());
    assert!(listed[0].contains(&pair), "{pair} in {}", listed[0]);
}

#[test]
fn a_head_that_is_knocked_out_changes_nothing_before_it() {
    let folder = folder();
    let finished = attlas(&folder, &["compare", "A red apple.", "--knock-out", "encoder:L1H3", "--json"]);
    let object = json(finished.succeeds());
    assert!(finished.stderr.contains("B reads the target that A wrote"), "{}", finished.stderr);
    assert!(object["b"]["name"].as_str().is_some_and(|name| name.contains("L1H3") && name.contains("knocked out")));
    assert!(!object["a"]["name"].as_str().is_some_and(|name| name.contains("knocked out")));
    for (head, divergence) in divergences(&object) {
        let is_before = head.starts_with("encoder L0") || head.starts_with("encoder L1");
        let divergence = divergence.expect("all rows are sound");
        assert!(if is_before { divergence == 0.0 } else { divergence < 0.2 }, "{head}: {divergence}");
    }
    let changed = |kind: &str| {
        divergences(&object).iter().filter(|(head, jsd)| head.starts_with(kind) && *jsd > Some(0.0)).count()
    };
    assert_eq!((changed("encoder L2"), changed("cross")), (8, 24));
    let printed = attlas(&folder, &["compare", "A red apple.", "--knock-out", "encoder:L1H3"]);
    let of_rows = "a row is named after the token that it has read; it predicts the next one";
    assert_eq!(printed.succeeds().stdout.matches(of_rows).count(), 1, "of cross-attention alone: {}", printed.stdout);
}

#[test]
fn heads_that_changed_places_are_found_by_the_best_match() {
    let folder = folder();
    let (first, last, own): (&[usize], &[usize], &[usize]) = (&[0, 0, 0], &[2, 2, 2], &[0, 1, 2]);
    save(&folder, "a.safetensors", "a b c", &[&[first, last], &[own, own]]);
    save(&folder, "b.safetensors", "a b c", &[&[last, own], &[first]]);
    let by_index = attlas(&folder, &["compare", "a.safetensors", "b.safetensors"]);
    let printed = &by_index.succeeds().stdout;
    assert!(
        printed.contains("3 heads compared") && printed.contains("1 head of A without a counterpart: L1H1"),
        "{printed}"
    );
    let best =
        json(attlas(&folder, &["compare", "a.safetensors", "b.safetensors", "--match", "best", "--json"]).succeeds());
    let pairs: Vec<[u64; 4]> = best["heads"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| ["layer", "head", "other_layer", "other_head"].map(|field| row[field].as_u64().expect("a number")))
        .collect();
    assert_eq!(pairs[..2], [[0, 0, 1, 0], [0, 1, 0, 0]]);
    assert_eq!((pairs.len(), &pairs[2][2..]), (3, &[0, 1][..]));
    assert_eq!(best["kinds"][0]["only_a"].as_array().map(Vec::len), Some(1));
    assert!(divergences(&best).iter().all(|(_, divergence)| *divergence == Some(0.0)));
    attlas(&folder, &["compare", "a.safetensors", "b.safetensors", "--match", "best", "-o", "t.svg"]).succeeds();
    let picture = read(&folder, "t.svg");
    assert!(picture.contains(">L1H0</text>") && picture.contains("below a number: the head of B"), "{picture}");
}

#[test]
fn a_head_whose_rows_are_no_weights_has_no_number_but_a_reason() {
    let folder = folder();
    save(&folder, "a.safetensors", "a b", &[&[&[0, 1], &[0, 0]]]);
    save(&folder, "b.safetensors", "a b", &[&[&[0, 9], &[0, 1]]]);
    let finished = attlas(&folder, &["compare", "a.safetensors", "b.safetensors", "--json"]);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("B: ") && !finished.stderr.contains("A: "), "{}", finished.stderr);
    let object = json(&finished);
    let row = &object["heads"][0];
    assert!(row["jsd"].is_null() && row["largest_difference"].is_null(), "{row}");
    assert!(row["absent"].as_str().is_some_and(|why| why.contains("no weight")), "{row}");
    let half = object["heads"][1]["jsd"].as_f64().expect("it is sound");
    assert!((half - std::f64::consts::LN_2 / 2.0).abs() < 1e-9, "{half}");
    let printed = attlas(&folder, &["compare", "a.safetensors", "b.safetensors", "-o", "t.svg"]);
    assert!(printed.stdout.contains("a row has no weights"), "{}", printed.stdout);
    assert!(read(&folder, "t.svg").contains("?: a row has a number"));
}

#[test]
fn texts_of_batches_are_paired_in_their_order_or_as_asked() {
    let folder = folder();
    attlas(&folder, &["record", "A cat.", "A dog sat.", "-o", "two.safetensors"]).succeeds();
    attlas(&folder, &["record", "A dog sat.", "-o", "one.safetensors"]).succeeds();
    let uneven = attlas(&folder, &["compare", "two.safetensors", "one.safetensors"]);
    assert!(uneven.fails(2).starts_with("A has 2 texts and B 1 text, so nothing says which belong together; --text N"));
    let words = ["compare", "two.safetensors", "one.safetensors", "--kind", "encoder", "--json", "--text"];
    let object = json(attlas(&folder, &[&words[..], &["1,0"]].concat()).succeeds());
    // the same text, padded and alone: within the rounding of f32
    assert!(divergences(&object).iter().all(|(_, divergence)| divergence.is_some_and(|number| number < 1e-9)));
    assert!(attlas(&folder, &[&words[..], &["0,1"]].concat()).fails(2).starts_with("there is no text 1"));
    let all = json(attlas(&folder, &["compare", "two.safetensors", "two.safetensors", "--json"]).succeeds());
    assert_eq!(all["kinds"][0]["texts"].as_array().map(Vec::len), Some(2));
}

#[test]
fn what_cannot_be_compared_is_told_in_a_sentence() {
    let folder = folder();
    save(&folder, "a.safetensors", "a b", &[&[&[0, 1]]]);
    save(&folder, "c.safetensors", "c d", &[&[&[0, 1]]]);
    let told = |words: &[&str], code: i32| attlas(&folder, &[&["compare"], words].concat()).fails(code).to_owned();
    let (a, c) = ("a.safetensors", "c.safetensors");
    assert!(told(&[a, c], 3).starts_with("the texts have no token in common among their 2 and 2 queries"));
    assert!(told(&[a, a, "--kind", "cross"], 2).contains("the recording has no cross attention; it has encoder"));
    assert!(
        told(&[a], 2)
            .starts_with("B is missing: give a second recording or text, or run a text once more with --other-model")
    );
    assert!(told(&["A cat."], 2).starts_with("B is missing"));
    assert!(
        told(&[a, "--other-model", "x"], 2)
            .contains("a.safetensors is a recording, which is compared with another one")
    );
    assert!(
        told(&[a, c, "--knock-out", "L0H0"], 2)
            .starts_with("--knock-out is for running a model for B, but c.safetensors")
    );
    assert!(told(&[a, c, "--beam", "2"], 2).starts_with("--beam is for running a model, but both are recordings"));
    assert!(
        told(&["A cat.", "--other-revision", "main"], 2).starts_with("--other-revision is for a model that is named")
    );
    assert!(told(&["A cat.", "A dog.", "--target", "Un chat."], 2).starts_with("--target is for one text"));
    assert!(told(&[a, a, "-o", "a.txt"], 2).contains(".svg, .pdf, .png or .json was expected"));
    assert!(told(&[a, a, "-o", a], 2).contains("this is the input, which would be lost"));
    assert!(told(&[a, a, "--layer", "0", "--head", "0", "-o", "x.json"], 2).contains("-o is no picture"));
    assert!(told(&[a, a, "--layer", "0", "--head", "3", "-o", "x.svg"], 2).contains("has no head 3"));
    assert!(told(&[a, a, "--layer", "0", "-o", "x.svg"], 2).contains("--head"));
    assert!(told(&[a, a, "--text", "x"], 2).contains("the number of a text was expected"));
    assert!(told(&["missing.safetensors", a], 3).contains("missing.safetensors"));
    assert!(!folder.path().join("x.svg").exists());
}

#[test]
fn recordings_without_a_kind_in_common_are_refused_and_other_kinds_are_said_to_be_left_out() {
    let folder = folder();
    save(&folder, "encoder.safetensors", "A", &[&[&[0]]]);
    let mut recording = Recording::open(&folder.path().join("encoder.safetensors")).expect("a recording");
    recording.layers[0].kind = Kind::Decoder;
    recording.items[0].target = recording.items[0].source.clone();
    recording.save(&folder.path().join("decoder.safetensors")).expect("it is written");
    let refused = attlas(&folder, &["compare", "encoder.safetensors", "decoder.safetensors"]);
    assert_eq!(refused.fails(3), "the recordings have no kind of attention in common: A has encoder, B has decoder");
    let part = attlas(&folder, &["compare", "A", "encoder.safetensors"]);
    assert!(
        part.succeeds().stderr.contains("left out, since only one of the two has it: decoder, cross"),
        "{}",
        part.stderr
    );
}

#[test]
fn the_picture_of_one_head_has_both_maps_and_their_difference_with_0_in_the_middle() {
    let folder = folder();
    save(&folder, "a.safetensors", "a b c", &[&[&[0, 0, 0]]]);
    save(&folder, "b.safetensors", "a x c", &[&[&[0, 0, 2]]]);
    let words = ["compare", "a.safetensors", "b.safetensors", "--layer", "0", "--head", "0", "-o"];
    for name in ["one.svg", "one.png", "one.pdf"] {
        attlas(&folder, &[&words[..], &[name]].concat()).succeeds();
    }
    let picture = read(&folder, "one.svg");
    for words in [
        "A: L0H0",
        "B: L0H0",
        "B less A",
        "−1",
        ">0</text>",
        "2 tokens in common, of 3 in A and 3 in B",
        "orange where B",
    ] {
        assert!(picture.contains(words), "{words}: {picture}");
    }
    assert!(
        !picture.contains(">x</text>") && !picture.contains(">b</text>"),
        "what only one has is left out: {picture}"
    );
    let again = ["compare", "a.safetensors", "b.safetensors", "--json", "-o", "all.json"];
    let printed = attlas(&folder, &again);
    assert_eq!(read(&folder, "all.json"), printed.succeeds().stdout);
    attlas(&folder, &["compare", "a.safetensors", "b.safetensors", "-o", "all.svg"]).succeeds();
    let picture = read(&folder, "all.svg");
    assert!(picture.contains("Jensen–Shannon divergence in nats: 0 for the same weights"), "{picture}");
}

#[test]
fn heads_are_drawn_in_a_plane_with_the_share_that_it_shows_and_printed_with_their_distances() {
    let (folder, run) = common::recording("The cat sat on the mat.");
    attlas(&folder, &["draw", "distance", &run, "--kind", "encoder", "-o", "plane.svg"]).succeeds();
    let picture = read(&folder, "plane.svg");
    assert!((0..24).all(|head| picture.contains(&format!(">L{}H{}</text>", head / 8, head % 8))), "{picture}");
    for words in ["% of the variance", "averaged over 8 rows", "√nat"] {
        assert!(picture.contains(words), "{words}: {picture}");
    }
    let printed = attlas(&folder, &["draw", "distance", &run, "--kind", "encoder", "--json"]);
    let object = json(printed.succeeds());
    let distance = |a: usize, b: usize| object["distances"][a][b].as_f64().expect("a distance");
    for a in 0..24 {
        assert_eq!(distance(a, a), 0.0);
        assert!((0..24).all(|b| distance(a, b) == distance(b, a) && distance(a, b) <= std::f64::consts::LN_2));
    }
    let plane = |head: usize, axis: usize| object["heads"][head]["plane"][axis].as_f64().expect("a place");
    let squares: f64 = (0..24).map(|head| plane(head, 0).powi(2) + plane(head, 1).powi(2)).sum();
    // the variance of all directions is the mean of all squared distances, half of it for each head
    let whole: f64 = (0..24 * 24).map(|cell| distance(cell / 24, cell % 24)).sum::<f64>() / 48.0;
    let share = object["plane_share"].as_f64().expect("a share");
    assert!((squares / whole - share).abs() < 1e-6 && share < 1.0, "{squares} {whole} {share}");
    assert_eq!(
        attlas(&folder, &["draw", "distance", &run, "--kind", "encoder", "--json", "--threads", "1"]).stdout,
        printed.stdout
    );
}

#[test]
fn distances_are_of_all_texts_or_of_one_and_need_a_picture_or_json() {
    let folder = folder();
    attlas(&folder, &["record", "A cat.", "A dog sat.", "-o", "two.safetensors"]).succeeds();
    let rows = |words: &[&str]| {
        let all = [&["draw", "distance", "two.safetensors", "--kind", "encoder", "--json"], words].concat();
        json(attlas(&folder, &all).succeeds())["n_rows"].as_u64()
    };
    assert_eq!((rows(&[]), rows(&["--text", "0"]), rows(&["--text", "1"])), (Some(9), Some(4), Some(5)));
    let told = |words: &[&str]| {
        attlas(&folder, &[&["draw", "distance", "two.safetensors"], words].concat()).fails(2).to_owned()
    };
    assert!(told(&["--json", "--text", "2"]).starts_with("there is no text 2"));
    assert!(told(&[]).contains("--output"));
    assert!(told(&["-o", "x.gif"]).contains("pictures are .svg, .pdf or .png files"));
    assert!(!Path::new("x.gif").exists());
    let idle = attlas(&folder, &["draw", "distance", "two.safetensors", "-o", "x.svg", "--scale", "log"]);
    assert!(idle.succeeds().stderr.contains("--scale does nothing here"), "{}", idle.stderr);
    assert!(read(&folder, "x.svg").contains("2 texts together"));
}
