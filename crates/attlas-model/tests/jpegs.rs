//! JPEG files: Pillow's pixels bit for bit, and damaged or hostile files refused.
//!
//! `tools/reference/jpegs.py` makes the files.

mod common;

use std::path::{Path, PathBuf};

use attlas_model::image::Image;
use common::data;
use serde_json::Value;
use sha2::{Digest, Sha256};

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data("jpegs")).expect("the files").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "jpg")).collect();
    files.sort();
    files
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(data("jpegs").join(name)).expect("a file")
}

/// What comes of a file with these bytes.
fn decode(bytes: &[u8]) -> Result<Image, String> {
    let folder = tempfile::tempdir().expect("a folder");
    decode_in(folder.path(), bytes)
}

fn decode_in(folder: &Path, bytes: &[u8]) -> Result<Image, String> {
    let path = folder.join("a.jpg");
    std::fs::write(&path, bytes).expect("a file");
    Image::open(&path).map_err(|error| error.to_string())
}

/// Where the segments of a marker begin.
fn segments(bytes: &[u8], marker: u8) -> Vec<usize> {
    let pairs = bytes.windows(2).enumerate();
    pairs.filter(|(_, pair)| *pair == [0xff, marker]).map(|(at, _)| at).collect()
}

#[test]
fn pixels_are_pillows_bit_for_bit_in_every_kind_of_file() {
    let expected: Value = serde_json::from_slice(&bytes("expected.json")).expect("JSON");
    let files = files();
    assert_eq!(files.len(), expected.as_object().expect("files").len());
    for path in files {
        let image = Image::open(&path).expect("an image");
        let about = &expected[path.file_name().expect("a name").to_str().expect("a name")];
        assert_eq!(about["width"], image.width, "{path:?}");
        assert_eq!(about["height"], image.height, "{path:?}");
        let digest: String = Sha256::digest(&image.pixels).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(about["sha256"], digest, "{path:?}");
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused_in_a_sentence() {
    for name in ["420-baseline.jpg", "444-progressive.jpg", "cmyk-restarts.jpg"] {
        let whole = bytes(name);
        for n in (2..whole.len()).step_by(7).chain(whole.len() - 4..whole.len()) {
            let problem = decode(&whole[..n]).expect_err("a refusal");
            assert!(
                problem.contains("a.jpg: is a damaged JPEG: ") && !problem.contains('\n'),
                "{name} at {n}: {problem}"
            );
        }
        let with_more = [&whole[..], b"and more"].concat();
        assert_eq!(decode(&with_more), decode(&whole), "what follows the end is not read");
    }
}

#[test]
fn data_that_ends_early_and_missing_scans_are_not_guessed() {
    let baseline = bytes("444-baseline.jpg");
    let early = [&baseline[..baseline.len() - 60], &[0xff, 0xd9]].concat();
    assert!(decode(&early).expect_err("a refusal").contains("its data ends before the picture does"));
    let progressive = bytes("420-progressive.jpg");
    let last = *segments(&progressive, 0xda).last().expect("a scan");
    let fewer = [&progressive[..last], &[0xff, 0xd9]].concat();
    assert!(decode(&fewer).expect_err("a refusal").contains("scans are missing"));
    let mut restarts = bytes("444-restarts.jpg");
    let marker = segments(&restarts, 0xd1)[0];
    restarts[marker + 1] = 0xd5;
    assert!(decode(&restarts).expect_err("a refusal").contains("a restart marker is missing"));
}

#[test]
fn bytes_between_data_and_marker_are_passed_over_as_pillow_does() {
    let whole = bytes("422-progressive.jpg");
    let scan = segments(&whole, 0xda)[1];
    let padded = [&whole[..scan], b"padding", &[0xff, 0xff], &whole[scan..]].concat();
    assert_eq!(decode(&padded), decode(&whole));
}

#[test]
fn sizes_scans_and_kinds_beyond_the_limits_are_refused_before_they_cost_anything() {
    let whole = bytes("420-baseline.jpg");
    let frame = segments(&whole, 0xc0)[0];
    let changed = |at: usize, values: &[u8]| {
        let mut changed = whole.clone();
        changed[frame + at..][..values.len()].copy_from_slice(values);
        decode(&changed).expect_err("a refusal")
    };
    assert!(changed(5, &[0xff; 4]).contains("65535 × 65535 pixels; attlas reads from 1"));
    assert!(changed(5, &[0x20, 0, 0x20, 0]).contains("claims 8192 × 8192 pixels"));
    assert!(changed(5, &[0, 0]).contains("has 41 × 0 pixels"));
    assert!(changed(4, &[12]).contains("12 bits a sample"));
    assert!(changed(1, &[0xc9]).contains("arithmetic-coded"));
    assert!(changed(1, &[0xc3]).contains("lossless"));
    assert!(changed(11, &[0x51]).contains("a sampling factor is not 1 to 4"));
    assert!(changed(11, &[0x31, 0, 2, 0x21]).contains("no whole fraction"));
    // the first scan again and again
    let progressive = bytes("gray-progressive.jpg");
    let [first, second, ..] = segments(&progressive, 0xda)[..] else { panic!("there are several scans") };
    let again = progressive[first..second].repeat(200);
    let bomb = [&progressive[..second], &again, &progressive[second..]].concat();
    assert!(decode(&bomb).expect_err("a refusal").contains("more than 128 scans"));
}

#[test]
fn no_change_of_a_file_makes_the_decoder_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut n_images, mut n_refused) = (0, 0);
    for path in files() {
        let whole = std::fs::read(&path).expect("a file");
        // headers stand before the first scan
        let n_headers = segments(&whole, 0xda)[0] + 14;
        for round in 0..50 {
            let mut wounded = whole.clone();
            for _ in 0..=random(4) {
                let at = random(if round % 2 == 0 { n_headers } else { wounded.len() });
                wounded[at] = if round % 3 == 0 { [0x00, 0xff, 0x7f][random(3)] } else { random(256) as u8 };
            }
            if wounded[..2] != [0xff, 0xd8] {
                continue;
            }
            match decode_in(folder.path(), &wounded) {
                Ok(image) => {
                    assert_eq!(image.pixels.len(), image.width * image.height * 3);
                    n_images += 1;
                }
                Err(problem) => {
                    assert!(problem.contains("a.jpg: ") && !problem.contains('\n'), "{path:?}: {problem}");
                    n_refused += 1;
                }
            }
        }
    }
    assert!(n_images > 100 && n_refused > 500, "{n_images} {n_refused}");
}
