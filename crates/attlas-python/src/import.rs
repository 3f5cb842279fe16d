//! Dense arrays from elsewhere become a recording.

use std::collections::BTreeMap;

use attlas::Tokens;
use attlas::arrays::{Array, ArrayData, ImageGrid, ImportOptions, Precision, import_telling};
use numpy::{PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::errors::{Class, Raise, exception};
use crate::recording::Recording;
use crate::threads::compute;

/// What is known about the arrays, as Python says it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct ImportKeys {
    kind: Option<String>,
    axes: Option<String>,
    query_offset: Option<usize>,
    source_tokens: Option<Vec<Vec<String>>>,
    target_tokens: Option<Vec<Vec<String>>>,
    image_grid: Option<(usize, usize, usize)>,
    allow_unnormalised: bool,
    origin: String,
}

impl ImportKeys {
    fn read(self) -> PyResult<ImportOptions> {
        let bad = |sentence: String| exception(Class::Error, sentence);
        let tokens = |texts: Option<Vec<Vec<String>>>| {
            texts.map(|texts| texts.into_iter().map(Tokens::from_labels).collect::<Vec<_>>())
        };
        Ok(ImportOptions {
            kind: self.kind.map(|kind| kind.parse()).transpose().map_err(bad)?,
            axes: self.axes.map(|axes| axes.parse()).transpose().map_err(bad)?,
            query_offset: self.query_offset,
            source_tokens: tokens(self.source_tokens),
            target_tokens: tokens(self.target_tokens),
            image: self.image_grid.map(|(rows, columns, first)| ImageGrid { rows, columns, first }),
            allow_unnormalised: self.allow_unnormalised,
            origin: self.origin,
        })
    }
}

/// The recording of dense arrays by name, each with how exact its numbers were (`float32`, `float16`, `bfloat16`), and how
/// they were read.
#[pyfunction]
pub fn from_arrays(
    py: Python<'_>,
    arrays: Vec<(String, PyReadonlyArrayDyn<'_, f32>, String)>,
    options: ImportKeys,
) -> PyResult<(Recording, Vec<String>)> {
    let options = options.read()?;
    let mut taken = BTreeMap::new();
    for (name, array, precision) in &arrays {
        let numbers = array
            .as_slice()
            .map_err(|_| exception(Class::Format, format!("{name}: the array does not lie in rows in memory")))?;
        let numbers = py.detach(|| numbers.to_vec());
        let precision = [Precision::Half, Precision::Brain].into_iter().find(|one| one.name() == precision);
        let data = ArrayData::Numbers(numbers);
        let array = Array { shape: array.shape().to_vec(), data, precision: precision.unwrap_or_default() };
        taken.insert(name.clone(), array);
    }
    let imported = compute(py, || import_telling(taken, &options))?.or_raise()?;
    let readings = imported.readings.into_iter().map(|reading| match reading {
        attlas::arrays::Reading::Axes(text)
        | attlas::arrays::Reading::Kind(text)
        | attlas::arrays::Reading::Rows(text) => text,
    });
    let readings = readings.collect();
    Ok((Recording::new(imported.recording), readings))
}
