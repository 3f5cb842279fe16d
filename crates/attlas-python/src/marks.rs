//! A figure's marks, for drawing it on somebody else's canvas, and the words and colours of attlas's own pictures.

use attlas::figure::{Anchor, Colormap, Label, Line, Mark, Rgb};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::errors::{Class, exception};
use crate::figure::Figure;

/// Registers what is here.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(marks, module)?)?;
    module.add_function(wrap_pyfunction!(palette, module)?)?;
    module.add_function(wrap_pyfunction!(visible, module)?)
}

/// Width, height and ground of a figure, and what is drawn on it, from back to front; lengths are points from its upper left
/// corner.
#[pyfunction]
fn marks<'py>(py: Python<'py>, figure: &Figure) -> PyResult<(f32, f32, String, Vec<Bound<'py, PyDict>>)> {
    let figure = &figure.inner;
    let marks = figure.marks().iter().map(|mark| described(py, mark)).collect::<PyResult<_>>()?;
    Ok((figure.width, figure.height, hex(figure.ground), marks))
}

/// The colours of a colour map from low to high, three bytes each.
#[pyfunction]
fn palette<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
    let map: Colormap = name.parse().map_err(|sentence: String| exception(Class::Error, sentence))?;
    let n = if map == Colormap::Diverging { 255 } else { 256 }; // an odd number where one stands in the middle
    let colors: Vec<u8> = (0..n).flat_map(|place| map.color(place as f32 / (n - 1) as f32)).collect();
    Ok(PyBytes::new(py, &colors))
}

/// A token as it is drawn: what cannot be seen is named.
#[pyfunction]
fn visible(text: &str) -> String {
    attlas::figure::visible(text)
}

fn described<'py>(py: Python<'py>, mark: &Mark) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    match mark {
        Mark::Cells(cells) => {
            let color = |index: &u8| cells.palette.get(usize::from(*index)).map_or([0; 3], |color| color.0);
            let rgb: Vec<u8> = cells.indices.iter().flat_map(color).collect();
            image(&dict, [cells.x, cells.y, cells.width, cells.height], [cells.n_rows, cells.n_columns], &rgb)?;
        }
        Mark::Photo(photo) => {
            let place = [photo.x, photo.y, photo.width, photo.height];
            image(&dict, place, [photo.n_rows, photo.n_columns], &photo.rgb)?;
        }
        Mark::Label(label) => text(&dict, label)?,
        Mark::Rect(rect) => {
            dict.set_item("mark", "rect")?;
            dict.set_item("box", [rect.x, rect.y, rect.width, rect.height])?;
            dict.set_item("color", hex(rect.fill))?;
        }
        Mark::Line(line) => stroke(&dict, line)?,
    }
    Ok(dict)
}

/// Pixels in true colours, `[rows, columns, 3]`.
fn image(dict: &Bound<'_, PyDict>, place: [f32; 4], shape: [usize; 2], rgb: &[u8]) -> PyResult<()> {
    dict.set_item("mark", "image")?;
    dict.set_item("box", place)?;
    dict.set_item("shape", shape)?;
    dict.set_item("rgb", PyBytes::new(dict.py(), rgb))
}

fn text(dict: &Bound<'_, PyDict>, label: &Label) -> PyResult<()> {
    dict.set_item("mark", "label")?;
    dict.set_item("at", [label.x, label.y])?;
    dict.set_item("text", &label.shaped.text)?;
    dict.set_item("size", label.size)?;
    dict.set_item("width", label.width())?;
    dict.set_item("angle", label.angle)?;
    let anchor = match label.anchor {
        Anchor::Start => "left",
        Anchor::Middle => "center",
        Anchor::End => "right",
    };
    dict.set_item("anchor", anchor)?;
    dict.set_item("color", hex(label.color))
}

fn stroke(dict: &Bound<'_, PyDict>, line: &Line) -> PyResult<()> {
    dict.set_item("mark", "line")?;
    dict.set_item("points", line.points.clone())?;
    dict.set_item("width", line.width)?;
    dict.set_item("opacity", line.opacity)?;
    dict.set_item("color", hex(line.color))
}

fn hex(Rgb([red, green, blue]): Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}
