//! Dense arrays out of a recording and back in, in every format.

mod common;

use std::path::Path;

use attlas::arrays::{self, ImportOptions, Selection, export, import};
use attlas::{Error, Factored, Kind, Numbers, Recording, TokenRole, Tokens, Traces, Weights};

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
    let recording = one_text();
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
    assert_eq!(lines[1], format!("0,cross,0,1,1,2,\"t1\",\"s2\",{}", map.row(1)[2]));
    let json = folder.path().join("tile.json");
    export(&recording, &selection, &json).unwrap();
    let value: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(value["decoder_cross"]["shape"], serde_json::json!([1, 1, 2, 2]));
    assert_eq!(value["decoder_cross"]["weights"][0][0][1][0].as_f64().unwrap() as f32, map.row(2)[2]);
    assert_eq!(value["source_tokens"], serde_json::json!(["s2", "s3"]));
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
    npz(&path, &[("encoder", &header("<f4", "1000000,1,1,1"), &[0; 4_000_000])]);
    let options = ImportOptions { kind: Some(Kind::Encoder), ..ImportOptions::default() };
    let message = |options: &ImportOptions| {
        import(arrays::read(&path, arrays::DEFAULT_MAX_BYTES).unwrap(), options).unwrap_err().to_string()
    };
    assert_eq!(message(&options), "array \"encoder\" has 1000000 layers, more than the limit of 65536");
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
    let note =
        format!("encoder layer 0: 1 row is all zero, which fails the checks unless their tokens are called padding, [PAD] or <pad> (first: {first})");
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
