//! Damaged and hostile files: an error or a valid result, never a panic, within a budget of memory and time.
//!
//! Valid files are changed in seeded ways, the same on every run: bits are flipped, ends are cut off, numbers of their
//! metadata are replaced by ones that overflow. `fuzz/` looks for more.

#[path = "common/budget.rs"]
mod budget;
mod common;
#[path = "common/damage.rs"]
mod damage;

use std::fs;
use std::io::Write as _;
use std::path::Path;

use attlas::analysis::{classes, measure_all, score_rows};
use attlas::arrays::{self, ImportOptions, Selection};
use attlas::attention::Shape;
use attlas::figure::{self, Axis, ColorScale, Panel, Scale, Style};
use attlas::{
    Bias, Buffer, Error, Factored, Item, Kind, Layer, Pooling, Provenance, Recording, Scoring, Tokens, Visibility,
};
use budget::{alone, within};
use damage::Choices;

/// Changes made to each file.
const ROUNDS: usize = 400;
/// What reading one of them, of at most 50 kB, may take; answers to everything included.
const MOST_BYTES: usize = 8 << 20;

/// Everything that is asked of a recording; answers may be errors.
fn read_everything(recording: &Recording) -> Result<(), Error> {
    recording.check()?;
    for layer in &recording.layers {
        for item in 0..recording.items.len() {
            for head in 0..layer.shape.n_heads {
                let map = recording.map_of(layer, item, head)?;
                let (n_queries, n_keys) = (map.n_queries(), map.n_keys());
                assert_eq!(map.row(n_queries - 1).len(), n_keys);
                assert_eq!(map.column(0).len(), n_queries);
                assert_eq!(map.dense().len(), n_queries * n_keys);
                assert_eq!(map.pooled(Pooling { rows: 3, columns: 2 }).max.len(), n_queries.min(3) * n_keys.min(2));
                map.sink_mass(0);
                map.visible_keys(n_queries - 1);
            }
        }
    }
    recording.verify()?;
    let heads = measure_all(recording)?;
    assert_eq!(classes(&heads).len(), heads.len());
    assert!(score_rows(&heads).len() >= heads.len());
    Ok(())
}

/// A small recording whose rules have a number for everything.
fn recording() -> Recording {
    let mut recording = common::translation();
    let rule = |bias| Scoring {
        softcap: Some(4.0),
        sinks: Some(vec![0.5, -0.5]),
        bias,
        query_offset: 1,
        ..Scoring::scaled_dot_product(6, Visibility { before: Some(4), after: Some(2) })
    };
    let items = &recording.items;
    let shape = recording.layers[1].shape;
    let relative = Bias::Relative { first: -2, table: vec![0.1; 8], n_offsets: 4 };
    let layers = [
        common::layer(Kind::Encoder, 3, shape, rule(relative), items, 8),
        common::layer(Kind::Encoder, 4, shape, rule(Bias::Alibi { slopes: vec![0.5, 0.25] }), items, 9),
    ];
    recording.layers.splice(1..2, layers);
    recording
}

fn bytes_of(write: impl FnOnce(&Path) -> Result<(), Error>, name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    write(&path).unwrap();
    fs::read(path).unwrap()
}

/// A safetensors file with another header.
fn with_header(file: &[u8], header: &str) -> Vec<u8> {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &file[8 + length..]].concat()
}

fn header(file: &[u8]) -> &str {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    std::str::from_utf8(&file[8..8 + length]).unwrap()
}

/// Opens the files one after another and reads all that opens; how many opened and how many were refused.
fn open_all(files: impl Iterator<Item = Vec<u8>>, name: &str, open: impl Fn(&Path) -> Result<(), Error>) -> [usize; 2] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let mut counts = [0; 2];
    for file in files {
        fs::write(&path, file).unwrap();
        match within(MOST_BYTES, || format!("case {} of {name}", counts[0] + counts[1]), || open(&path)) {
            Ok(()) => counts[0] += 1,
            Err(error) => {
                counts[1] += 1;
                let message = error.to_string();
                assert!(!message.is_empty() && message.len() < 2000, "{message}");
            }
        }
    }
    counts
}

fn open_recording(path: &Path) -> Result<(), Error> {
    let recording = Recording::open(path)?;
    read_everything(&recording)
}

fn open_arrays(path: &Path) -> Result<(), Error> {
    let arrays = arrays::read(path, 1 << 20)?;
    let options = ImportOptions { kind: Some(Kind::Cross), allow_unnormalised: true, ..ImportOptions::default() };
    read_everything(&arrays::import(arrays, &options)?)
}

#[test]
fn a_damaged_recording_is_refused_or_read_without_a_panic() {
    let _alone = alone();
    for recording in [recording(), common::everything()] {
        let file = bytes_of(|path| recording.save(path).map(drop), "run.safetensors");
        let mut choices = Choices(1);
        let damaged = (0..ROUNDS).map(|_| choices.damaged(&file));
        let [opened, refused] = open_all(damaged, "run.safetensors", open_recording);
        assert!(opened > 20 && refused > 100, "{opened} opened, {refused} refused");
    }
}

#[test]
fn numbers_that_overflow_in_the_metadata_are_refused_or_read_without_a_panic() {
    let _alone = alone();
    for recording in [recording(), common::everything()] {
        let file = bytes_of(|path| recording.save(path).map(drop), "run.safetensors");
        let mut choices = Choices(2);
        let changed = |_| with_header(&file, &choices.renumbered(header(&file)));
        let [opened, refused] = open_all((0..2 * ROUNDS).map(changed), "run.safetensors", open_recording);
        assert!(opened > 50 && refused > 200, "{opened} opened, {refused} refused");
    }
}

#[test]
fn damaged_arrays_are_refused_or_imported_without_a_panic() {
    let _alone = alone();
    let mut choices = Choices(3);
    for name in ["weights.npz", "weights.safetensors"] {
        let mut one = recording();
        one.items.truncate(1);
        let layers = one.layers.clone();
        one.layers = vec![common::layer(Kind::Cross, 0, layers[4].shape, plain(), &one.items, 4)];
        let file = bytes_of(|path| arrays::export(&one, &Selection::default(), path), name);
        let [opened, refused] = open_all((0..ROUNDS).map(|_| choices.damaged(&file)), name, open_arrays);
        assert!(opened > 0 && refused > 100, "{name}: {opened} opened, {refused} refused"); // archives have checksums
    }
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4), }";
    let data: Vec<u8> = (0..24).flat_map(|n: u8| (f32::from(n) / 100.0).to_le_bytes()).collect();
    let npy = |header: &str| {
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), &data].concat()
    };
    let file = npy(header);
    let damaged: Vec<Vec<u8>> = (0..ROUNDS).map(|_| choices.damaged(&file)).collect();
    let renumbered: Vec<Vec<u8>> = (0..ROUNDS).map(|_| npy(&choices.renumbered(header))).collect();
    for (what, files) in [("damaged", damaged), ("renumbered", renumbered.clone())] {
        let [opened, refused] = open_all(files.into_iter(), "head.npy", open_arrays);
        assert!(opened > 20 && refused > 50, "{what}: {opened} opened, {refused} refused");
    }
    // the same lies in an archive, whose checksums hold
    let packed = renumbered.iter().map(|array| archive(&[("decoder_cross.npy", array)]));
    let [opened, refused] = open_all(packed, "maps.npz", open_arrays);
    // nothing may follow an array there, so a smaller shape is refused, too
    assert!(opened > 0 && refused > 50, "in an archive: {opened} opened, {refused} refused");
}

/// A NumPy archive of these arrays.
fn archive(arrays: &[(&str, &Vec<u8>)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, array) in arrays {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(array).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A NumPy array full of zeros.
fn zeros(descr: &str, shape: &str, n_bytes: usize) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), &vec![0; n_bytes]].concat()
}

/// A NumPy array that holds 1 `n` times.
fn ones(shape: &str, n: usize) -> Vec<u8> {
    let mut array = zeros("<f4", shape, 0);
    array.extend(1_f32.to_le_bytes().repeat(n));
    array
}

#[test]
fn an_archive_of_more_layers_texts_or_tokens_than_there_can_be_is_refused_or_read_in_time() {
    let _alone = alone();
    let one = ones("1, 1, 1, 1", 1);
    let names: Vec<String> = (0..20_000).map(|layer| format!("encoder.{layer}.npy")).collect();
    let layers = archive(&names.iter().map(|name| (name.as_str(), &one)).collect::<Vec<_>>());
    let texts = archive(&[("encoder.0.npy", &ones("1000000, 1, 1, 1", 1_000_000))]);
    let tokens = archive(&[("encoder.0.npy", &one), ("source_tokens.npy", &zeros("<U1", "2000000,", 8_000_000))]);
    let folder = tempfile::tempdir().unwrap();
    for (what, file, may_be_read) in [("layers", layers, true), ("texts", texts, false), ("tokens", tokens, false)] {
        let path = folder.path().join(format!("{what}.npz"));
        fs::write(&path, &file).unwrap();
        let import = || arrays::import(arrays::read(&path, 1 << 28)?, &ImportOptions::default());
        // two million tokens are told apart from their map when they are there
        let imported = within(256 << 20, || what.to_owned(), import);
        assert!(may_be_read || imported.is_err(), "{what}");
    }
}

fn plain() -> Scoring {
    Scoring::scaled_dot_product(6, Visibility::FULL)
}

#[test]
fn any_text_leaves_a_picture_well_formed() {
    let _alone = alone();
    const PIECES: [&str; 20] = [
        "<",
        ">",
        "&",
        "\"",
        "'",
        "]]>",
        "<!--",
        "</text>",
        "&amp;",
        "&#0;",
        "\0",
        "\u{1b}[31m",
        "\u{202e}",
        "\u{fffe}",
        "漢",
        "ע",
        "هذا",
        "👩\u{200d}💻",
        "e\u{301}",
        " ",
    ];
    let mut choices = Choices(4);
    for _ in 0..60 {
        let mut text = || (0..1 + choices.below(6)).map(|_| choices.one_of(&PIECES)).collect::<String>();
        let labels: Vec<String> = (0..4).map(|_| text()).collect();
        let axis = |name: String| Axis::labelled(name, labels.clone());
        let panel = Panel::new(text(), vec![0.25; 16], axis(labels[0].clone()), axis(labels[1].clone())).unwrap();
        let style = Style { title: text(), captions: vec![text(), text()], ..Style::default() };
        let scale = ColorScale::of([&panel], Scale::Linear);
        for figure in [figure::map(&panel, &scale, &style), figure::lines(&panel, &scale, &style)] {
            well_formed(&figure.to_svg());
            assert!(figure.to_pdf().unwrap().ends_with(b"%%EOF"));
        }
    }
}

/// Checks that an XML text has matching tags, known entities and no forbidden character.
fn well_formed(xml: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find('<') {
        check_text(&rest[..at]);
        let end = rest[at..].find('>').map(|end| at + end).unwrap_or_else(|| panic!("a tag is not closed: {rest}"));
        let tag = &rest[at + 1..end];
        check_text(tag);
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{xml}");
        } else if !tag.ends_with('/') {
            open.push(tag.split([' ', '\n']).next().unwrap());
        }
        assert!(tag.matches('"').count().is_multiple_of(2) && !tag.contains('<'), "{tag}");
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
}

fn check_text(text: &str) {
    let entities = text.split('&').skip(1);
    assert!(
        entities.into_iter().all(|rest| ["lt;", "gt;", "amp;"].iter().any(|name| rest.starts_with(name))),
        "{text}"
    );
    let allowed = |c: char| c == '\n' || (c >= ' ' && !matches!(c, '\u{7f}' | '\u{fffe}' | '\u{ffff}' | '\u{202e}'));
    assert!(text.chars().all(allowed), "{text:?}");
}

#[test]
fn a_text_of_65_536_tokens_is_measured_in_memory_that_grows_with_its_length_alone() {
    let _alone = alone();
    let n = 65_536;
    let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: n, n_keys: n, d_head: 1, d_value: 0 };
    let zeros = || Buffer::from(vec![0.0; n]).into();
    // every score is 0: each query looks at all keys up to its own alike
    let lse: Vec<f64> = (0..n).map(|query| ((query + 1) as f64).ln()).collect();
    let scoring = Scoring::scaled_dot_product(1, Visibility::CAUSAL);
    let weights = Factored { scoring, queries: zeros(), keys: zeros(), lse: lse.into(), mask: None, key_bias: None };
    let target = Tokens::from_labels((0..n).map(|place| (place % 5000).to_string()));
    let recording = Recording {
        items: vec![Item { target, ..Item::default() }],
        layers: vec![Layer::new(Kind::Decoder, 0, shape, weights)],
        provenance: Provenance::default(),
    };
    // a map of all weights would be 17 GB
    let heads = within(64 << 20, || "a long text".into(), || measure_all(&recording)).expect("it is sound");
    let score = |name: &str| heads[0].score(name).expect("it is measured");
    assert!((score("broad").value - 1.0).abs() < 1e-4 && (score("recency").value - 0.5).abs() < 1e-4);
    assert!(
        score("induction").value < 1e-3 && heads[0].n_rows < heads[0].n_queries,
        "rows are sampled, and it is said"
    );
}
