//! Pictures of attention maps: laid out once as marks, then written as SVG, PDF or PNG.
//!
//! The layout functions [`map`], [`grid`], [`overview`], [`lines`], [`patches`], [`difference`], [`dots`], [`charts`], [`classes`], [`profile`],
//! [`table`] and [`timeline`] take numbers and labels, and return a [`Figure`]: marks in
//! one coordinate system, with every text already shaped. Nothing here knows models, recordings or analyses, and no
//! writer knows what attention is.
//!
//! Every figure names its axes and states its colour scale in numbers. One scale holds for all panels, from 0 to the
//! largest weight, so a head that is uniform looks uniform; where each panel has its own, the picture says so. A figure
//! is handed its scale: two figures with one [`ColorScale`] compare.
//!
//! ```
//! use attlas::figure::{self, Axis, ColorScale, Panel, Scale, Style};
//!
//! let queries = Axis::labelled("query (target token)", ["Le", "chat"]);
//! let keys = Axis::labelled("key (source token)", ["The", "cat"]);
//! let panel = Panel::new("L0H0", vec![0.9, 0.1, 0.2, 0.8], queries, keys)?;
//! let scale = ColorScale::of([&panel], Scale::Linear);
//! let svg = figure::map(&panel, &scale, &Style::default()).to_svg();
//! assert!(svg.starts_with("<svg"));
//! # Ok::<(), attlas::Error>(())
//! ```

mod animation;
mod bitmap;
mod cells;
mod colormap;
mod fonts;
mod layout;
mod marks;
pub(crate) mod okabe_ito;
mod panel;
mod pdf;
mod raster;
mod scale;
mod style;
mod subset;
mod svg;
mod text;

pub use animation::animated_svg;
pub use bitmap::Bitmap;
pub use colormap::Colormap;
pub use layout::{
    Bars, CellClass, CellMark, Chart, ChartAxis, ChartLine, ClassCell, ClassGrid, ClassRow, ClassWords, Dot, Dots,
    Loudness, OverviewRow, PatchRow, Pixels, Profile, RowNumber, Sign, Stroke, Timeline, charts, classes, difference,
    dots, grid, lines, map, marked_grid, marked_map, overview, patches, profile, table, timeline,
};
pub use marks::{Anchor, Cells, Figure, Label, Line, Mark, Photo, Rect, Rgb};
pub use panel::{Axis, Panel};
pub use scale::{ColorScale, Scales};
pub(crate) use style::from_name;
pub use style::{Format, PanelScale, Scale, Style, Theme};
pub use text::visible;
