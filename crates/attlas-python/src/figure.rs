//! Pictures: which, of what, how they look; and their bytes.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use attlas::figure::{Colormap, PanelScale, Scale, Style, Theme};
use attlas::output::write_aside;
use attlas::view::pictures::{self, GRID_TILES, Looks, OVERVIEW_TILES, Shows};
use attlas::view::{Pieces, Silence, Specials, complaint_of};
use attlas::{Error, Head, Kind, Recording, RowTokens, View, ViewOptions};
use attlas_model::explain::quantities::Shown as Quantity;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::{Class, Raise, exception};
use crate::threads::compute;

/// A picture, laid out and ready to be written.
#[pyclass(frozen, module = "attlas._attlas")]
pub struct Figure {
    pub inner: Arc<attlas::figure::Figure>,
    /// What of the numbers in it fails their checks.
    #[pyo3(get)]
    problem: Option<String>,
}

#[pymethods]
impl Figure {
    fn svg(&self, py: Python<'_>) -> PyResult<String> {
        compute(py, self.writing(attlas::figure::Figure::to_svg))
    }

    fn pdf<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &compute(py, self.writing(attlas::figure::Figure::to_pdf))?.or_raise()?))
    }

    fn png<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &compute(py, self.writing(attlas::figure::Figure::to_png))?.or_raise()?))
    }
}

impl Figure {
    /// A picture of numbers that have no checks.
    pub fn of(figure: attlas::figure::Figure) -> Figure {
        Figure { inner: Arc::new(figure), problem: None }
    }

    /// The work of writing the picture.
    fn writing<T>(&self, write: fn(&attlas::figure::Figure) -> T) -> impl FnOnce() -> T + Send + 'static
    where
        T: 'static,
    {
        let figure = Arc::clone(&self.inner);
        move || write(&figure)
    }
}

/// Writes bytes to a file: complete, or not at all.
#[pyfunction]
pub fn write_file(py: Python<'_>, path: PathBuf, bytes: &[u8]) -> PyResult<()> {
    py.detach(|| write_aside(&path, |file| file.write_all(bytes))).or_raise()
}

/// What is shown of the maps, as Python says it; what it does not say is as usual.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct ViewKeys {
    #[pyo3(default)]
    kind: Option<String>,
    #[pyo3(default)]
    layer: Option<usize>,
    #[pyo3(default)]
    head: Option<usize>,
    item: usize,
    #[pyo3(default)]
    words: bool,
    #[pyo3(default = true)]
    special: bool,
    #[pyo3(default)]
    silence: bool,
    /// `read` or `predicted`.
    #[pyo3(default)]
    label_rows: Option<String>,
    #[pyo3(default)]
    rows: Option<(usize, usize)>,
    #[pyo3(default)]
    columns: Option<(usize, usize)>,
    #[pyo3(default)]
    quantity: Option<String>,
}

/// What is shown of the maps.
pub struct Shown {
    kind: Option<Kind>,
    layer: Option<usize>,
    head: Head,
    pub options: ViewOptions,
}

impl ViewKeys {
    pub fn read(self) -> PyResult<Shown> {
        let kind = self.kind.map(|kind| kind.parse()).transpose();
        let row_tokens = match self.label_rows.as_deref() {
            None => None,
            Some("read") => Some(RowTokens::Read),
            Some("predicted") => Some(RowTokens::Predicted),
            Some(other) => {
                let sentence = format!("label_rows is \"{other}\"; rows are labelled \"read\" or \"predicted\"");
                return Err(exception(Class::Error, sentence));
            }
        };
        let shown = self.quantity.map(|name| name.parse::<Quantity>()).transpose();
        let quantity = shown.map_err(|sentence| exception(Class::Missing, sentence))?.unwrap_or_default().quantity();
        let options = ViewOptions {
            item: self.item,
            quantity,
            pieces: if self.words { Pieces::Words } else { Pieces::Apart },
            specials: if self.special { Specials::Show } else { Specials::Hide },
            silence: if self.silence { Silence::Show } else { Silence::Hide },
            row_tokens,
            rows: self.rows.map(|(from, to)| from..to),
            columns: self.columns.map(|(from, to)| from..to),
            ..ViewOptions::default()
        };
        Ok(Shown {
            kind: kind.map_err(|sentence: String| exception(Class::Missing, sentence))?,
            layer: self.layer,
            head: self.head.map_or(Head::Mean, Head::One),
            options,
        })
    }
}

impl Shown {
    /// The options, for a picture that has room for so many tiles along a side of a map.
    fn in_tiles(&self, tiles: usize) -> ViewOptions {
        if self.options.pieces == Pieces::Words || self.options.specials == Specials::Hide {
            return self.options.clone(); // needs every number
        }
        ViewOptions { max_weights: tiles * tiles, overview_tiles: tiles, ..self.options.clone() }
    }
}

/// How pictures look, as Python says it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct StyleKeys {
    title: String,
    /// In points.
    width: Option<f32>,
    dpi: f32,
    scale: Option<String>,
    panel_scale: String,
    theme: String,
    colormap: String,
}

impl StyleKeys {
    pub fn read(self) -> PyResult<Looks> {
        let bad = |sentence: String| exception(Class::Error, sentence);
        let theme: Theme = self.theme.parse().map_err(bad)?;
        let colormap: Colormap = self.colormap.parse().map_err(bad)?;
        let panel_scale: PanelScale = self.panel_scale.parse().map_err(bad)?;
        let scale: Option<Scale> = self.scale.map(|scale| scale.parse()).transpose().map_err(bad)?;
        let style = Style {
            theme,
            colormap,
            size: self.width,
            title: self.title,
            pixels_per_point: self.dpi / 72.0,
            ..Style::default()
        };
        Ok(Looks { style, scale, panel_scale })
    }
}

/// Draws a picture.
pub fn draw(recording: &Recording, picture: Shows, shown: &Shown, looks: &Looks) -> Result<Figure, Error> {
    let quantity = shown.options.quantity;
    let kind = match shown.kind {
        Some(kind) => kind,
        None => recording.default_kind_in(quantity)?,
    };
    let layer = || shown.layer.map_or_else(|| recording.last_layer_in(quantity, kind), Ok);
    let in_tiles = |tiles: usize| {
        let options = shown.in_tiles(tiles);
        move |kind: Kind, layer: usize, head: Head| View::with(recording, kind, layer, head, &options)
    };
    let drawn = match picture {
        Shows::Map | Shows::Lines => {
            let view = View::with(recording, kind, layer()?, shown.head, &shown.options)?;
            return Ok(of_one(&view, picture, looks));
        }
        Shows::Heads => pictures::heads(recording, quantity, kind, layer()?, looks, in_tiles(GRID_TILES))?,
        Shows::Layers => pictures::layers(recording, quantity, kind, shown.head, looks, in_tiles(GRID_TILES))?,
        Shows::Overview => {
            let kinds = shown.kind.map_or_else(|| recording.kinds_in(quantity), |kind| vec![kind]);
            pictures::overview(recording, quantity, &kinds, looks, in_tiles(OVERVIEW_TILES))?
        }
    };
    Ok(Figure { inner: Arc::new(drawn.figure), problem: drawn.complaint })
}

/// A picture of one map.
pub fn of_one(view: &View, picture: Shows, looks: &Looks) -> Figure {
    let scale = view.scale(looks.scale.unwrap_or_default());
    let style = view.style(&looks.style);
    let figure = match picture {
        Shows::Lines => attlas::figure::lines(view.panel(), &scale, &style),
        _ => attlas::figure::map(view.panel(), &scale, &style),
    };
    Figure { inner: Arc::new(figure), problem: complaint_of([view]) }
}
