//! The native module `attlas._attlas`: what the Python package calls, over the library as it is.
//!
//! Private and small. The classes that people use are written in Python (`python/attlas`), with their documentation; here
//! numbers go in and out, calls that take time let go of the interpreter, and errors become `attlas.errors`.

mod analysis;
mod array;
mod builder;
mod errors;
mod explain;
mod figure;
mod found;
mod import;
mod map;
mod marks;
mod model;
mod recording;
mod survey;
mod threads;

use std::ffi::OsString;

use pyo3::prelude::*;

/// Does what a command line says, and returns the exit code.
#[pyfunction]
fn main(py: Python<'_>, words: Vec<OsString>) -> u8 {
    py.detach(|| attlas_cli::main_with(&words))
}

/// The hash of the page's script or style, as a content security policy names it.
#[pyfunction]
fn csp_hash(of: &str) -> PyResult<String> {
    match of {
        "script" => Ok(attlas_viewer::script_hash()),
        "style" => Ok(attlas_viewer::style_hash()),
        other => Err(errors::exception(
            errors::Class::Error,
            format!("the page has no {other:?}; it has \"script\" and \"style\""),
        )),
    }
}

#[pymodule(gil_used = false)]
fn _attlas(module: &Bound<'_, PyModule>) -> PyResult<()> {
    analysis::register(module)?;
    explain::register(module)?;
    marks::register(module)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<array::Array>()?;
    module.add_class::<builder::Builder>()?;
    module.add_class::<figure::Figure>()?;
    module.add_class::<map::Map>()?;
    module.add_class::<model::Model>()?;
    module.add_class::<recording::Recording>()?;
    survey::register(module)?;
    module.add_function(wrap_pyfunction!(import::from_arrays, module)?)?;
    module.add_function(wrap_pyfunction!(figure::write_file, module)?)?;
    module.add_function(wrap_pyfunction!(csp_hash, module)?)?;
    module.add_function(wrap_pyfunction!(main, module)?)
}
