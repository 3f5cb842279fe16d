//! Dense arrays out of a recording and back in, in every format.

mod common;

use std::path::Path;

use attlas::arrays::{self, ImageGrid, ImportOptions, Reading, Selection, export, import};
use attlas::{Error, Factored, Kind, Numbers, Quantity, Recording, TokenRole, Tokens, Traces, Weights};

fn one_text() -> Recording {
    let mut recording = common::translation();
    let batch = recording.clone();
    recording.items.truncate(1);
    for (layer, of_batch) in recording.layers.iter_mut().zip(&batch.layers) {
        let factored = of_batch.factored().unwrap();
        let half = |numbers: &Numbers| numbers.read(0..numbers.len() / 2).unwrap().to_vec().into();
        layer.weights = Weights::from(Factored {
            queries: half(&factored.queries),
            keys: half(&factored.keys),
            lse: factored.lse.read(0..factored.lse.len() / 2).unwrap().to_vec().into(),
            ..factored.clone()
        });
        layer.traces = Traces::default();
    }
    recording
}

fn read_back(path: &Path) -> Recording {
    import(arrays::read(path, arrays::DEFAULT_MAX_BYTES).unwrap(), &ImportOptions::default()).unwrap()
}

#[test]
fn npz_and_safetensors_exports_come_back_with_the_same_weights_layers_and_tokens() {
    let folder = tempfile::tempdir().unwrap();
    for recording in [one_text(), common::translation()] {
        for name in ["maps.npz", "maps.safetensors"] {
            let path = folder.path().join(name);
            export(&recording, &Selection::default(), &path).unwrap();
            let back = read_back(&path);
            assert_eq!(back.layers.len(), recording.layers.len());
            for layer in &recording.layers {
                for item in 0..recording.items.len() {
                    let map = |from: &Recording| from.map(item, layer.kind, layer.index, 1).unwrap().dense();
                    assert_eq!(map(&back), map(&recording), "{name} {} {} {item}", layer.kind, layer.index);
                }
            }
            assert!(back.items[0].source.labels().eq(recording.items[0].source.labels()));
            assert!(back.items[0].target.labels().eq(recording.items[0].target.labels()));
        }
    }
}

#[test]
fn tokens_in_csv_are_no_formulas_and_hold_no_controls() {
    let folder = tempfile::tempdir().unwrap();
    let mut recording = one_text();
    let hostile = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "a\n\0\u{9b}\u{202e}\"", "＝1"];
    let shown = ["'=cmd|' /C calc'!A0", "'+1", "'-1", "'@SUM(A1)", "␉=1", "␍=1", "a␊␀⟨U+009B⟩⟨U+202E⟩\"\"", "'＝1"];
    for (hostile, shown) in hostile.into_iter().zip(shown) {
        recording.items[0].source.tokens[0].text = hostile.to_owned();
        let selection = Selection {
            kind: Some(Kind::Cross),
            layer: Some(0),
            head: Some(0),
            rows: Some(0..1),
            columns: Some(0..1),
            ..Selection::default()
        };
        let csv = folder.path().join("cell.csv");
        export(&recording, &selection, &csv).unwrap();
        let text = std::fs::read_to_string(&csv).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text:?}");
        assert!(lines[1].contains(&format!(",\"{shown}\",")), "{hostile:?}: {text:?}");
    }
}

#[test]
fn csv_and_json_hold_the_selected_tile() {
    let folder = tempfile::tempdir().unwrap();
    let mut recording = one_text();
    let labels = (0..recording.items[0].target.len()).map(|place| format!("p{place}"));
    recording.items[0].predicted = Tokens::from_labels(labels);
    let selection = Selection {
        kind: Some(Kind::Cross),
        layer: Some(0),
        head: Some(1),
        rows: Some(1..3),
        columns: Some(2..4),
        ..Selection::default()
    };
    let map = recording.map(0, Kind::Cross, 0, 1).unwrap();
    let csv = folder.path().join("tile.csv");
    export(&recording, &selection, &csv).unwrap();
    let text = std::fs::read_to_string(&csv).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[1], format!("0,cross,0,1,1,2,\"t1\",\"s2\",{},\"p1\"", map.row(1)[2]));
    let json = folder.path().join("tile.json");
    export(&recording, &selection, &json).unwrap();
    let value: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(value["decoder_cross"]["shape"], serde_json::json!([1, 1, 2, 2]));
    assert_eq!(value["decoder_cross"]["weights"][0][0][1][0].as_f64().unwrap() as f32, map.row(2)[2]);
    assert_eq!(value["source_tokens"], serde_json::json!(["s2", "s3"]));
}

#[test]
fn maps_of_another_quantity_are_written_under_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut recording = one_text();
    let shape = recording.layers[0].shape;
    let numbers: Vec<f32> = (0..shape.n_queries * shape.n_keys).map(|cell| cell as f32 / 64.0).collect();
    let rollout = attlas::analysis::whole_layer(&recording.layers[0], Quantity::Rollout, numbers.clone());
    recording.layers.push(rollout);
    let write = |name: &str, quantity: Quantity| {
        let path = folder.path().join(name);
        export(&recording, &Selection { quantity, ..Selection::default() }, &path)?;
        Ok::<_, Error>(std::fs::read_to_string(&path).unwrap())
    };
    let value: serde_json::Value = serde_json::from_str(&write("a.json", Quantity::Rollout).unwrap()).unwrap();
    let row: Vec<f32> = serde_json::from_value(value["encoder_rollout"]["rollout"][0][0][1].clone()).unwrap();
    assert_eq!(row, numbers[shape.n_keys..2 * shape.n_keys]);
    assert!(value.get("encoder").is_none() && value.get("decoder_cross").is_none(), "{value}");
    let csv = write("a.csv", Quantity::Rollout).unwrap();
    assert!(csv.starts_with("text,kind,layer,head,query,key,query_token,key_token,rollout,predicted_token\n"), "{csv}");
    assert_eq!(csv.lines().count(), 1 + numbers.len());
    let refusal = write("b.json", Quantity::Flow).unwrap_err().to_string();
    assert!(
        refusal.starts_with("the recording keeps no map of attention flow; it has weights of encoder"),
        "{refusal}"
    );
}

#[test]
fn a_selection_of_what_is_not_there_says_what_is() {
    let recording = one_text();
    let message = |selection: Selection| export(&recording, &selection, Path::new("x.npz")).unwrap_err().to_string();
    assert_eq!(
        message(Selection { layer: Some(9), ..Selection::default() }),
        "there is no encoder layer 9; there are 0, 3"
    );
    assert_eq!(
        message(Selection { kind: Some(Kind::Cross), head: Some(5), ..Selection::default() }),
        "cross layer 0 has no head 5; its heads are 0 to 1"
    );
    assert_eq!(
        message(Selection { kind: Some(Kind::Cross), rows: Some(3..9), ..Selection::default() }),
        "rows 3:9 are outside the cross map, whose rows are 0:5"
    );
    let limit = Selection { max_bytes: 10, ..Selection::default() };
    assert!(message(limit).contains("more than the limit of 10; choose fewer kinds"));
}

fn imported(shape: &[usize], weights: &[f32], options: &ImportOptions) -> Result<Recording, Error> {
    let array = arrays::Array::numbers(shape.to_vec(), weights.to_vec());
    import([("decoder_cross".to_string(), array)].into(), options)
}

#[test]
fn weights_that_are_none_are_named_with_layer_head_row_and_value() {
    let options = ImportOptions::default();
    let message = |weights: &[f32]| imported(&[1, 1, 2, 2], weights, &options).unwrap_err().to_string();
    assert_eq!(
        message(&[0.5, 0.5, f32::NAN, 0.5]),
        "decoder_cross L0H0 (layer 0, head 0), text 0, row 1, column 0: the weight is NaN, not finite"
    );
    assert!(message(&[0.5, 0.5, 0.5, -0.25]).contains("row 1, column 1: the weight is -0.25, below 0"));
    assert!(message(&[0.5, 0.75, 0.5, 0.5]).contains("row 0: the row sums to 1.25, more than 1"));
}

#[test]
fn unnormalised_rows_are_taken_on_request_and_the_recording_says_so() {
    let options = ImportOptions { allow_unnormalised: true, ..ImportOptions::default() };
    let recording = imported(&[2, 2], &[0.5, 0.75, 0.5, 0.5], &options).unwrap();
    assert_eq!(recording.provenance.notes, ["cross layer 0: rows are not normalised, they sum to up to 1.25"]);
    assert_eq!(recording.map(0, Kind::Cross, 0, 0).unwrap().dense(), [0.5, 0.75, 0.5, 0.5]);
}

#[test]
fn labels_that_do_not_fit_the_map_are_counted() {
    let options = ImportOptions {
        source_tokens: Some(vec![Tokens::from_labels(["a"])]),
        target_tokens: Some(vec![Tokens::from_labels(["b", "c"])]),
        ..ImportOptions::default()
    };
    let message = imported(&[2, 2], &[0.5; 4], &options).unwrap_err().to_string();
    assert!(message.contains("the map has 2 keys but text 0 has 1 tokens there"), "{message}");
}

#[test]
fn an_archive_that_unpacks_beyond_the_limit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("maps.npz");
    export(&one_text(), &Selection::default(), &path).unwrap();
    let error = arrays::read(&path, 100).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");
    std::fs::write(&path, b"PK\x03\x04 not really").unwrap();
    assert!(arrays::read(&path, 100).unwrap_err().to_string().contains("not an .npz archive"));
}

/// An `.npz` archive, deflated, of `.npy` files: their names, headers and data.
fn npz(path: &Path, arrays: &[(&str, &str, &[u8])]) {
    use std::io::Write;
    let mut archive = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, header, data) in arrays {
        archive.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(b"\x93NUMPY\x01\x00").unwrap();
        archive.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
        archive.write_all(header.as_bytes()).unwrap();
        archive.write_all(data).unwrap();
    }
    archive.finish().unwrap();
}

fn header(descr: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}")
}

#[test]
fn tokens_are_counted_before_they_are_made_and_arrays_before_they_are_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("maps.npz");
    let one = 1_f32.to_le_bytes();
    let refused = |tokens: (&str, &str)| {
        npz(
            &path,
            &[("encoder", &header("<f4", "1,1"), &one), ("source_tokens", &header(tokens.0, tokens.1), &[0; 4096])],
        );
        arrays::read(&path, arrays::DEFAULT_MAX_BYTES).unwrap_err()
    };
    let error = refused(("<U1", "20000000,"));
    assert!(matches!(error, Error::TooMany { n: 20_000_000, limit: 2_097_152, .. }), "{error}");
    assert!(error.to_string().contains("maps.npz: array \"source_tokens\" has 20000000 tokens"), "{error}");
    let error = refused(("<U1", "1000000,")).to_string();
    assert!(error.contains("needs 1000000 elements of 4 bytes, more than"), "{error}");
    assert!(refused(("<U1", "1000,")).to_string().contains("bytes follow after its last element"));
    npz(&path, &[("source_tokens", &header("<U1000000000000", "0,"), &[])]);
    assert_eq!(arrays::read(&path, arrays::DEFAULT_MAX_BYTES).unwrap().len(), 1, "none of them takes memory");
    npz(&path, &[("encoder", &header("<f4", "1000000,1,1,1"), &[0; 4_000_000])]);
    let options = ImportOptions { kind: Some(Kind::Encoder), ..ImportOptions::default() };
    let message = |options: &ImportOptions| {
        import(arrays::read(&path, arrays::DEFAULT_MAX_BYTES).unwrap(), options).unwrap_err().to_string()
    };
    assert_eq!(message(&options), "array \"encoder\" has 1000000 layers, more than the limit of 16384");
    npz(&path, &[("encoder.0", &header("<f4", "1000000,1,1,1"), &[0; 4_000_000])]);
    assert_eq!(message(&options), "array \"encoder.0\" has 1000000 texts, more than the limit of 65536");
}

#[test]
fn the_limit_on_bytes_counts_what_texts_cost_and_holds_for_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("maps.npz");
    let tokens = [0; 4 * 1000];
    npz(&path, &[("source_tokens", &header("<U1", "1000,"), &tokens)]);
    assert!(arrays::read(&path, 28_000).is_ok(), "four bytes and a String each");
    assert!(matches!(arrays::read(&path, 27_999), Err(Error::Limit { needed: 28_000, .. })));
    export(&one_text(), &Selection::default(), &folder.path().join("maps.safetensors")).unwrap();
    let error = arrays::read(&folder.path().join("maps.safetensors"), 100).unwrap_err();
    assert!(matches!(error, Error::Limit { limit: 100, .. }), "{error}");
}

#[test]
fn the_only_array_of_a_file_has_the_kind_that_is_given_whatever_its_name() {
    let array = || arrays::Array::numbers(vec![2, 2], vec![0.5; 4]);
    let options = ImportOptions { kind: Some(Kind::Encoder), ..ImportOptions::default() };
    let recording = import([("attention".to_owned(), array())].into(), &options).unwrap();
    assert_eq!(recording.layers[0].kind, Kind::Encoder);
    let two = [("attention".to_owned(), array()), ("scores".to_owned(), array())];
    assert!(import(two.into(), &options).unwrap_err().to_string().contains("do not say which layer each is"));
    let none = import([("attention".to_owned(), array())].into(), &ImportOptions::default());
    assert!(matches!(none, Err(Error::KindUnknown { .. })));
}

/// Imports one head, whose tokens are labelled.
fn head(kind: Kind, labels: &[&str], weights: &[f32]) -> Recording {
    let labels = Some(vec![Tokens::from_labels(labels.iter().copied())]);
    let (source_tokens, target_tokens) = if kind == Kind::Encoder { (labels, None) } else { (None, labels) };
    let options = ImportOptions { kind: Some(kind), source_tokens, target_tokens, ..ImportOptions::default() };
    let n = weights.len().isqrt();
    let array = arrays::Array::numbers(vec![n, n], weights.to_vec());
    import([("maps".to_owned(), array)].into(), &options).unwrap()
}

#[test]
fn a_row_that_is_all_zero_is_said_unless_it_is_of_padding() {
    let recording = head(Kind::Encoder, &["a", "b"], &[1.0, 0.0, 0.0, 0.0]);
    let first = "encoder L0H0 (layer 0, head 0), text 0, row 1";
    let note = format!(
        "encoder layer 0: 1 row is all zero, which fails the checks unless their tokens are called padding, [PAD] or <pad> (first: {first})"
    );
    assert_eq!(recording.provenance.notes, [note]);
    assert!(!recording.check().unwrap()[0].passed());
    let recording = head(Kind::Encoder, &["a", "[PAD]"], &[1.0, 0.0, 0.0, 0.0]);
    assert_eq!(recording.provenance.notes, ["1 token is padding, which no query looks at; left out"]);
    assert!(recording.check().unwrap()[0].passed());
    let recording = head(Kind::Encoder, &["a", "<pad>"], &[0.5, 0.5, 0.5, 0.5]);
    let note = "1 token is called padding, but queries look there: was the attention mask left out?";
    assert_eq!(recording.provenance.notes, [note]);
    assert_eq!(recording.items[0].source.tokens[1].role, TokenRole::Text);
}

#[test]
fn a_decoder_that_looks_at_later_tokens_is_asked_about_and_an_encoder_is_not() {
    let weights = [0.5, 0.5, 0.0, 1.0];
    assert!(head(Kind::Encoder, &["a", "b"], &weights).provenance.notes.is_empty());
    assert!(head(Kind::Decoder, &["a", "b"], &[1.0, 0.0, 0.5, 0.5]).provenance.notes.is_empty());
    assert_eq!(
        head(Kind::Decoder, &["a", "b"], &weights).provenance.notes,
        [
            "decoder layer 0: queries look at later tokens, with up to 25.0 % of a layer's weight; are these maps of an encoder?"
        ]
    );
}

fn named(arrays: &[(&str, &[usize], Vec<f32>)]) -> std::collections::BTreeMap<String, arrays::Array> {
    arrays
        .iter()
        .map(|(name, shape, numbers)| ((*name).to_owned(), arrays::Array::numbers(shape.to_vec(), numbers.clone())))
        .collect()
}

fn of_kind(kind: Kind) -> ImportOptions {
    ImportOptions { kind: Some(kind), ..ImportOptions::default() }
}

fn readings(arrays: std::collections::BTreeMap<String, arrays::Array>, options: &ImportOptions) -> Vec<String> {
    let readings = arrays::import_telling(arrays, options).unwrap().readings.into_iter();
    readings
        .map(|reading| match reading {
            Reading::Axes(told) | Reading::Kind(told) | Reading::Rows(told) => told,
        })
        .collect()
}

#[test]
fn the_outputs_of_transformers_are_known_by_their_names() {
    let arrays = named(&[
        ("encoder_attentions", &[2, 4, 3, 3], [0.5, 0.25, 0.25].repeat(24)),
        ("decoder_attentions", &[2, 4, 2, 2], [1.0, 0.0, 0.5, 0.5].repeat(8)),
        ("cross_attentions", &[2, 4, 2, 3], [0.5, 0.25, 0.25].repeat(16)),
    ]);
    let recording = import(arrays, &ImportOptions::default()).unwrap();
    assert_eq!(recording.kinds(), Kind::ALL);
    assert!(Kind::ALL.into_iter().all(|kind| recording.layers_of(kind).count() == 2));
}

#[test]
fn attentions_are_a_decoders_when_no_query_looks_ahead() {
    let causal = || named(&[("attentions.0", &[1, 1, 2, 2], vec![1.0, 0.0, 0.5, 0.5])]);
    assert_eq!(import(causal(), &ImportOptions::default()).unwrap().kinds(), [Kind::Decoder]);
    let told = readings(causal(), &ImportOptions::default());
    assert!(told.contains(&"attentions read as decoder self-attention: no query looks at a later token".to_owned()));
    assert_eq!(import(causal(), &of_kind(Kind::Encoder)).unwrap().kinds(), [Kind::Encoder]);
    let both_ways = named(&[("attentions.0", &[1, 1, 2, 2], vec![0.5; 4])]);
    assert_eq!(import(both_ways, &ImportOptions::default()).unwrap().kinds(), [Kind::Encoder]);
    let other = import(named(&[("cross_attentions", &[2, 2], vec![0.5; 4])]), &of_kind(Kind::Encoder)).unwrap_err();
    assert!(other.to_string().contains("is cross-attention by its name, not encoder self-attention"), "{other}");
}

/// Weights of maps of 2 × 2 that all differ: layer, text and head are told from the first weight.
fn told_apart([layers, texts, heads]: [usize; 3], outer: [usize; 3]) -> Vec<f32> {
    let sizes = [layers, texts, heads];
    let places = |n: usize| {
        [n / (sizes[outer[1]] * sizes[outer[2]]), n / sizes[outer[2]] % sizes[outer[1]], n % sizes[outer[2]]]
    };
    let map = |n: usize| {
        let mut at = [0; 3];
        (0..3).for_each(|axis| at[outer[axis]] = places(n)[axis]);
        let weight = (at[0] * 16 + at[1] * 4 + at[2]) as f32 / 64.0;
        [weight, 1.0 - weight, 0.5, 0.5]
    };
    (0..layers * texts * heads).flat_map(map).collect()
}

#[test]
fn five_axes_are_layers_texts_heads_queries_and_keys_unless_they_are_named() {
    let axes = |axes: &str| ImportOptions { axes: Some(axes.parse().unwrap()), ..of_kind(Kind::Encoder) };
    let stacked = named(&[("", &[2, 3, 4, 2, 2], told_apart([2, 3, 4], [0, 1, 2]))]);
    assert_eq!(
        readings(stacked.clone(), &of_kind(Kind::Encoder)),
        ["[2, 3, 4, 2, 2] read as 2 layers × 3 texts × 4 heads × 2 queries × 2 keys"]
    );
    let batch_first = named(&[("", &[3, 2, 4, 2, 2], told_apart([2, 3, 4], [1, 0, 2]))]);
    let (first, second) = (of_kind(Kind::Encoder), axes("batch,layers,heads,queries,keys"));
    for recording in [import(stacked, &first).unwrap(), import(batch_first, &second).unwrap()] {
        assert_eq!((recording.items.len(), recording.layers.len()), (3, 2));
        assert_eq!(recording.map(2, Kind::Encoder, 1, 3).unwrap().row(0)[0], 27.0 / 64.0);
    }
    let wrong = import(named(&[("", &[2, 2, 2], vec![0.5; 8])]), &axes("queries,keys")).unwrap_err().to_string();
    assert_eq!(wrong, "the array: shape [2, 2, 2] has 3 axes, but queries, keys are 2");
}

#[test]
fn the_mean_of_heads_of_a_batch_is_no_heads_of_a_text_and_the_recording_says_so() {
    let averaged = || named(&[("", &[3, 2, 2], vec![0.5; 12])]);
    assert_eq!(readings(averaged(), &of_kind(Kind::Encoder)), ["[3, 2, 2] read as 3 heads × 2 queries × 2 keys"]);
    let axes = Some("batch,queries,keys".parse().unwrap());
    let recording = import(averaged(), &ImportOptions { axes, ..of_kind(Kind::Encoder) }).unwrap();
    assert_eq!((recording.items.len(), recording.layers.len(), recording.layers[0].shape.n_heads), (3, 1, 1));
    assert!(recording.provenance.notes[0].contains("head 0 is the mean of heads"), "{:?}", recording.provenance.notes);
}

#[test]
fn rows_of_16_bits_may_be_as_far_from_1_as_their_format_leaves_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("maps.npz");
    let rounded: Vec<u8> =
        [0.6484, 0.032, 0.1299, 0.1929].iter().flat_map(|weight| half::bf16::from_f32(*weight).to_le_bytes()).collect();
    npz(&path, &[("encoder", &header("<V2", "1,4"), &rounded)]);
    let read = || arrays::read(&path, arrays::DEFAULT_MAX_BYTES).unwrap();
    let axes = Some("queries,keys".parse().unwrap());
    let recording = import(read(), &ImportOptions { axes, ..of_kind(Kind::Cross) });
    assert!(recording.unwrap_err().to_string().contains("is encoder self-attention by its name"));
    npz(&path, &[("decoder_cross", &header("<V2", "1,4"), &rounded)]);
    let recording = import(read(), &ImportOptions::default()).unwrap();
    let row = recording.map(0, Kind::Cross, 0, 0).unwrap().row(0);
    assert_eq!(row, [0.6484375, 0.031982422, 0.12988281, 0.19335938]);
    assert_eq!(recording.provenance.notes, ["bfloat16: rows sum to 1 within 0.0037"]); // 1.003662
    assert!(recording.check().unwrap()[0].passed(), "the recording knows its format");
    // the same sum in float32 is no rounding
    let exact: Vec<u8> = row.iter().flat_map(|weight| weight.to_le_bytes()).collect();
    npz(&path, &[("decoder_cross", &header("<f4", "1,4"), &exact)]);
    assert!(matches!(import(read(), &ImportOptions::default()), Err(Error::Unnormalised { .. })));
}

#[test]
fn a_refusal_names_the_mistake_that_the_numbers_give_away() {
    let refused = |shape: &[usize], weights: Vec<f32>| {
        import(named(&[("", shape, weights)]), &of_kind(Kind::Cross)).unwrap_err().to_string()
    };
    let swapped = refused(&[2, 3], vec![0.9, 0.8, 0.7, 0.1, 0.2, 0.3]);
    assert!(swapped.contains("each column sums to 1, so rows and columns are probably swapped"), "{swapped}");
    // a tenth of the weights dropped, the others multiplied by 10/9
    let keep = 10.0 / 9.0;
    let dropped: Vec<f32> =
        (0..100).map(|place| if place % 10 == place / 10 { 0.0 } else { 0.1 * keep }).chain([0.1 * keep; 10]).collect();
    let dropout = refused(&[11, 10], dropped);
    assert!(
        dropout.contains("looks like dropout (9 % of the weights here are exactly 0")
            && dropout.contains("model.eval()"),
        "{dropout}"
    );
    let masked = refused(&[2, 2], vec![f32::NEG_INFINITY, 1.0, 0.5, 0.5]);
    assert!(
        masked.ends_with("column 0: the weight is -inf, not finite (are these scores before softmax?)"),
        "{masked}"
    );
    assert!(refused(&[2, 2], vec![3.5, 1.0, 0.5, 0.5]).contains("are these scores before softmax?"));
    assert!(refused(&[2, 2], vec![f32::NAN, f32::NAN, 0.5, 0.5]).contains("is it padding?"));
    // accepted, and said: no row sums to more than 1
    let recording = import(named(&[("", &[3, 2], vec![0.4, 0.3, 0.3, 0.3, 0.3, 0.4])]), &of_kind(Kind::Cross)).unwrap();
    assert!(
        recording.provenance.notes[0].ends_with("rows and columns are probably swapped"),
        "{:?}",
        recording.provenance.notes
    );
}

#[test]
fn rows_of_generated_tokens_alone_are_the_last_ones_unless_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let maps = || named(&[("decoder_self", &[1, 1, 2, 4], vec![0.25, 0.25, 0.5, 0.0, 0.1, 0.2, 0.3, 0.4])]);
    let options = ImportOptions {
        target_tokens: Some(vec![Tokens::from_labels(["Q", ":", "2", "4"])]),
        ..ImportOptions::default()
    };
    let recording = import(maps(), &options).unwrap();
    assert!(recording.provenance.notes.is_empty(), "{:?}", recording.provenance.notes);
    let path = folder.path().join("run.safetensors");
    recording.save(&path).unwrap();
    let recording = Recording::open(&path).unwrap();
    let map = recording.map(0, Kind::Decoder, 0, 0).unwrap();
    assert_eq!((map.query_offset(), map.n_queries(), map.n_keys()), (2, 2, 4));
    assert!(map.query_tokens().labels().eq(["2", "4"]) && map.key_tokens().labels().eq(["Q", ":", "2", "4"]));
    assert_eq!(map.row(1), [0.1, 0.2, 0.3, 0.4]);
    assert!(recording.check().unwrap()[0].passed());
    assert_eq!(readings(maps(), &options)[1], "rows are tokens 2 to 3 of 4 (counted from 0)");
    let earlier = import(maps(), &ImportOptions { query_offset: Some(1), ..options.clone() }).unwrap();
    assert!(earlier.items[0].axes["generated"].labels().eq([":", "2"]));
    assert!(earlier.provenance.notes[0].contains("queries look at later tokens"), "{:?}", earlier.provenance.notes);
    let beyond = import(maps(), &ImportOptions { query_offset: Some(3), ..options }).unwrap_err().to_string();
    assert_eq!(beyond, "decoder layer 0: 2 rows from token 3 on reach past its 4 keys");
    let none = import(
        named(&[("encoder", &[2, 2], vec![0.5; 4])]),
        &ImportOptions { query_offset: Some(0), ..ImportOptions::default() },
    );
    assert!(none.unwrap_err().to_string().contains("there is no decoder self-attention"));
}

#[test]
fn padding_is_what_no_query_looks_at_whatever_its_own_row_holds() {
    let recording = head(Kind::Encoder, &["a", "b", "<pad>"], &[0.5, 0.5, 0.0, 0.5, 0.5, 0.0, 0.25, 0.75, 0.0]);
    assert_eq!(recording.items[0].source.tokens[2].role, TokenRole::Padding);
    let map = recording.map(0, Kind::Encoder, 0, 0).unwrap();
    assert_eq!(attlas::Grid::of(&map, attlas::RowTokens::Read).weights, [0.5; 4]);
}

#[test]
fn patches_of_an_image_are_named_by_their_places() {
    let grid = |rows, columns, first| ImportOptions {
        image: Some(ImageGrid { rows, columns, first }),
        ..of_kind(Kind::Cross)
    };
    let maps = || named(&[("", &[1, 2, 5], vec![0.2; 10])]);
    let recording = import(maps(), &grid(2, 2, 1)).unwrap();
    assert!(recording.items[0].source.labels().eq(["CLS", "r0c0", "r0c1", "r1c0", "r1c1"]));
    assert_eq!(
        recording.items[0].image.as_ref().map(|image| (image.rows, image.columns, image.size)),
        Some((2, 2, None))
    );
    let message = import(maps(), &grid(2, 3, 0)).unwrap_err().to_string();
    assert_eq!(message, "cross layer 0: the map has 5 keys, but 2 × 3 patches and 0 tokens before them are 6");
    let decoder = ImportOptions { kind: Some(Kind::Decoder), ..grid(1, 2, 0) };
    let message = import(named(&[("", &[2, 2], vec![1.0, 0.0, 0.5, 0.5])]), &decoder).unwrap_err().to_string();
    assert!(message.contains("decoder self-attention has no tokens of a source"), "{message}");
}

#[test]
fn there_are_tokens_for_each_text_or_for_all_of_them() {
    let tokens = |n: usize| ImportOptions {
        source_tokens: Some(vec![Tokens::from_labels(["a", "b"]); n]),
        ..of_kind(Kind::Encoder)
    };
    let maps = || named(&[("", &[1, 3, 1, 2, 2], vec![0.5; 12])]);
    assert!(import(maps(), &tokens(1)).is_ok() && import(maps(), &tokens(3)).is_ok());
    let message = import(maps(), &tokens(2)).unwrap_err().to_string();
    assert_eq!(message, "2 rows of tokens for 3 texts; one for each is needed, or one for all");
}
