//! Tables of positions that files hold: they are read as they lie, and are as long as they are.

mod common;

use std::path::Path;

use attlas::Kind;
use attlas_model::{Input, Model, RunOptions, Side};
use common::data;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;

const TABLE: &str = "roformer.encoder.embed_positions.weight";
/// Positions and columns of the tiny RoFormer.
const SIZES: [usize; 2] = [40, 6];

/// The tiny RoFormer, whose file has no table, with a table of so many rows that `number` makes of each position and column.
fn with_table(n_rows: usize, number: impl Fn(usize, usize) -> f64) -> TempDir {
    let from = data("families/roformer");
    let bytes = std::fs::read(from.join("model.safetensors")).expect("the weights");
    let file = SafeTensors::deserialize(&bytes).expect("tensors");
    let table: Vec<u8> = (0..n_rows * SIZES[1])
        .flat_map(|place| (number(place / SIZES[1], place % SIZES[1]) as f32).to_le_bytes())
        .collect();
    let mut tensors = file.tensors();
    assert!(tensors.iter().all(|(name, _)| name != TABLE));
    tensors.push((TABLE.to_owned(), TensorView::new(Dtype::F32, vec![n_rows, SIZES[1]], &table).expect("a table")));
    let folder = tempfile::tempdir().expect("a folder");
    let written = safetensors::serialize(tensors, None).expect("a file");
    std::fs::write(folder.path().join("model.safetensors"), written).expect("written");
    std::fs::copy(from.join("config.json"), folder.path().join("config.json")).expect("copied");
    folder
}

/// Sines of the three pairs, then their cosines.
fn sinusoidal(position: usize, column: usize) -> f64 {
    let angle = position as f64 / 10_000.0_f64.powf(2.0 * (column % 3) as f64 / 6.0);
    if column < 3 { angle.sin() } else { angle.cos() }
}

/// The weights of all heads of the first layer, head by head.
fn weights(folder: &Path, ids: &[u32]) -> Result<Vec<f32>, String> {
    let model = Model::load(folder).map_err(|error| error.to_string())?;
    let source = model.tokens_from_ids(Side::Source, ids).expect("tokens");
    let run = model.run(&[Input { source, ..Input::default() }], &RunOptions::default());
    let recording = run.map_err(|error| error.to_string())?.recording;
    let rows = |head: usize| {
        let map = recording.map(0, Kind::Encoder, 0, head).expect("a map");
        (0..ids.len()).flat_map(|query| map.row(query)).collect::<Vec<f32>>()
    };
    Ok((0..4).flat_map(rows).collect())
}

#[test]
fn a_stored_table_takes_the_place_of_the_one_that_the_class_makes() {
    let ids = [7, 7, 7, 7, 7];
    let plain = weights(&data("families/roformer"), &ids).expect("weights");
    assert_eq!(weights(with_table(40, sinusoidal).path(), &ids).expect("weights"), plain);
    // where all positions turn alike, nothing tells tokens of one id apart
    let still = with_table(40, |_, column| if column < 3 { 0.0 } else { 1.0 });
    let alike = weights(still.path(), &ids).expect("weights");
    assert!(alike.iter().all(|weight| (weight - 0.2).abs() < 1e-6), "{alike:?}");
    assert!(plain.iter().any(|weight| (weight - 0.2).abs() > 1e-3), "{plain:?}");
}

#[test]
fn a_table_of_another_length_and_a_text_longer_than_it_are_refused() {
    let error = weights(with_table(39, sinusoidal).path(), &[7, 8]).expect_err("a refusal");
    assert!(error.contains(TABLE) && error.contains("[39, 6]"), "{error}");
    assert!(error.contains("max_position_embeddings is 40"), "{error}");
    let error = weights(&data("families/roformer"), &[7; 41]).expect_err("a refusal");
    assert!(error.contains("41 source tokens") && error.contains("has positions for 40"), "{error}");
}
