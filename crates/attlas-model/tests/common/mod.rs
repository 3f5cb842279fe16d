//! What several tests need: arrays from files, and comparisons that say where they fail.

#![allow(dead_code)]

pub mod measured;
pub mod reference;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attlas::{Recording, TokenRole};
use attlas_model::Model;
use safetensors::{Dtype, SafeTensors};

/// The folder of test data.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// What is said of a model folder that cannot be loaded, in one sentence, its own path left out.
pub fn refusal(folder: &Path) -> String {
    let message = Model::load(folder).expect_err("a refusal").to_string();
    assert!(!message.contains('\n'), "one sentence: {message}");
    message.replace(&folder.display().to_string(), "DIR")
}

/// Numbers with a shape.
#[derive(Debug, Clone)]
pub struct Expected {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl Expected {
    pub fn ids(&self) -> Vec<u32> {
        self.values.iter().map(|value| *value as u32).collect()
    }
}

/// All arrays of a safetensors file, as f64.
pub fn arrays(path: &Path) -> BTreeMap<String, Expected> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let array = |view: safetensors::tensor::TensorView<'_>| {
        let bytes = view.data();
        let values = match view.dtype() {
            Dtype::F64 => bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
            Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
            Dtype::I32 => bytes.as_chunks::<4>().0.iter().map(|b| f64::from(i32::from_le_bytes(*b))).collect(),
            Dtype::I64 => bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
            Dtype::U8 => bytes.iter().map(|b| f64::from(*b)).collect(),
            other => panic!("{other:?} in {}", path.display()),
        };
        Expected { shape: view.shape().to_vec(), values }
    };
    file.tensors().into_iter().map(|(name, view)| (name, array(view))).collect()
}

/// The largest difference, and where it is; `relative` is allowed on top per unit of the expected value.
pub fn largest_excess(found: &[f32], expected: &[f64], relative: f64) -> (f64, usize) {
    assert_eq!(found.len(), expected.len(), "as many numbers");
    let excess = |(index, (found, expected)): (usize, (&f32, &f64))| {
        let difference = (f64::from(*found) - expected).abs() - relative * expected.abs();
        (if difference.is_nan() { f64::INFINITY } else { difference }, index)
    };
    found.iter().zip(expected).enumerate().map(excess).fold((0.0, 0), |a, b| if b.0 > a.0 { b } else { a })
}

/// Compares the maps of one layer, `[batch, n_heads, n_queries, n_keys]`, on rows and columns that are no padding.
pub fn check_maps(recording: &Recording, kind: attlas::Kind, layer: usize, expected: &Expected) -> Result<f64, String> {
    let [n_items, n_heads, n_queries, n_keys] = expected.shape[..] else { return Err("four sizes".to_owned()) };
    let mut worst = 0.0_f64;
    for item in 0..n_items {
        let tokens = &recording.items[item];
        let real = |tokens: &attlas::Tokens, place: usize| tokens.tokens[place].role != TokenRole::Padding;
        for head in 0..n_heads {
            let map = recording.map(item, kind, layer, head).map_err(|error| error.to_string())?;
            if (map.n_queries(), map.n_keys()) != (n_queries, n_keys) {
                return Err(format!("{kind} L{layer}: {} × {}", map.n_queries(), map.n_keys()));
            }
            for query in (0..n_queries).filter(|query| real(tokens.queries(kind), *query)) {
                let row = map.row(query);
                let start = ((item * n_heads + head) * n_queries + query) * n_keys;
                let wanted = &expected.values[start..][..n_keys];
                let (excess, key) = largest_excess(&row, wanted, 0.0);
                worst = worst.max(excess);
                if excess > 1e-5 {
                    let (found, wanted) = (row[key], expected.values[start + key]);
                    return Err(format!(
                        "{kind} L{layer}H{head} text {item} row {query} column {key}: {found} instead of {wanted}"
                    ));
                }
            }
        }
    }
    Ok(worst)
}
