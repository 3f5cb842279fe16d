//! How a figure looks: theme, colours, size, words; and the choices of a scale.

use serde::Deserialize;

use super::Colormap;
use super::marks::{Figure, Rgb};
use crate::Error;

/// How a figure looks. `Style::default()` is good on paper.
#[derive(Debug, Clone, PartialEq)]
pub struct Style {
    /// Light or dark ground.
    pub theme: Theme,
    /// The colours of the cells; where it does not suit the scale, [`Colormap::suited_to`] says which are taken.
    pub colormap: Colormap,
    /// Width of the picture in points (1/72 inch); `None` chooses one by content. Kept within 160 ..= 5000.
    pub size: Option<f32>,
    /// The heading; where it is empty, that of a single panel.
    pub title: String,
    /// Lines below the picture that say what it shows: "weights, not importance", the model, removed mass.
    pub captions: Vec<String>,
    /// What a cell without a number means, as words for a legend, where that is no fault: such cells are grey then.
    pub absent: Option<&'static str>,
    /// Pixels per point in a PNG; 2 is 144 pixels per inch. Kept within 0.5 ..= 17.
    pub pixels_per_point: f32,
}

impl Default for Style {
    fn default() -> Style {
        Style {
            theme: Theme::Light,
            colormap: Colormap::Viridis,
            size: None,
            title: String::new(),
            captions: Vec::new(),
            absent: None,
            pixels_per_point: 2.0,
        }
    }
}

/// The ground a figure is drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// Dark ink on white.
    #[default]
    Light,
    /// Light ink on near-black.
    Dark,
}

impl Theme {
    /// Both themes.
    pub const ALL: [Theme; 2] = [Theme::Light, Theme::Dark];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    /// The ground.
    pub(super) fn ground(self) -> Rgb {
        match self {
            Theme::Light => Rgb([255, 255, 255]),
            Theme::Dark => Rgb([13, 17, 23]),
        }
    }

    /// Titles and labels.
    pub(super) fn ink(self) -> Rgb {
        match self {
            Theme::Light => Rgb([31, 35, 40]),
            Theme::Dark => Rgb([230, 237, 243]),
        }
    }

    /// Axis names, captions, numbers.
    pub(super) fn muted(self) -> Rgb {
        match self {
            Theme::Light => Rgb([89, 99, 110]),
            Theme::Dark => Rgb([145, 152, 161]),
        }
    }

    /// A cell that says nothing.
    pub(super) fn faint(self) -> Rgb {
        match self {
            Theme::Light => Rgb([222, 226, 230]),
            Theme::Dark => Rgb([48, 54, 61]),
        }
    }

    /// The strongest line between two tokens; of numbers of either sign, of a negative one.
    pub(super) fn line(self) -> Rgb {
        match self {
            Theme::Light => Rgb([9, 71, 161]),
            Theme::Dark => Rgb([121, 192, 255]),
        }
    }

    /// The strongest line of a positive number, where numbers have either sign.
    pub(super) fn warm_line(self) -> Rgb {
        match self {
            Theme::Light => Rgb([164, 74, 0]),
            Theme::Dark => Rgb([255, 171, 94]),
        }
    }

    /// Frames and ticks.
    pub(super) fn rule(self) -> Rgb {
        match self {
            Theme::Light => Rgb([175, 184, 193]),
            Theme::Dark => Rgb([72, 79, 88]),
        }
    }
}

/// How a number becomes a place in the colour map. With numbers of either sign, each side is as said here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// In proportion, from 0 to the largest weight.
    #[default]
    Linear,
    /// By the logarithm, over at most four decades below the largest weight; smaller weights look alike.
    Log,
    /// Each row divided by its own largest weight.
    Row,
}

impl Scale {
    /// All scales.
    pub const ALL: [Scale; 3] = [Scale::Linear, Scale::Log, Scale::Row];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scale::Linear => "linear",
            Scale::Log => "log",
            Scale::Row => "row",
        }
    }
}

/// Whether all panels of a figure share one colour scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PanelScale {
    /// One scale for all panels: colours compare across panels.
    #[default]
    Shared,
    /// Each panel from 0 to its own largest weight; the picture says so.
    Own,
}

impl PanelScale {
    /// Both choices.
    pub const ALL: [PanelScale; 2] = [PanelScale::Shared, PanelScale::Own];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            PanelScale::Shared => "shared",
            PanelScale::Own => "own",
        }
    }
}

/// What a picture is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Scalable Vector Graphics; text is text.
    Svg,
    /// A page, its fonts in it.
    Pdf,
    /// Pixels.
    Png,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 3] = [Format::Svg, Format::Pdf, Format::Png];

    /// The name used on the command line, which is also the ending of a file's name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Svg => "svg",
            Format::Pdf => "pdf",
            Format::Png => "png",
        }
    }

    /// What the bytes are, for the web.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Svg => "image/svg+xml",
            Format::Pdf => "application/pdf",
            Format::Png => "image/png",
        }
    }

    /// A picture's bytes.
    ///
    /// # Errors
    /// As [`Figure::to_pdf`] and [`Figure::to_png`].
    pub fn bytes(self, figure: &Figure) -> Result<Vec<u8>, Error> {
        match self {
            Format::Svg => Ok(figure.to_svg().into_bytes()),
            Format::Pdf => figure.to_pdf(),
            Format::Png => figure.to_png(),
        }
    }
}

/// `FromStr` by the names of a closed set.
macro_rules! from_name {
    ($type:ty, $what:literal) => {
        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.into_iter().find(|choice| choice.name() == text).ok_or_else(|| {
                    let names: Vec<&str> = Self::ALL.iter().map(|choice| choice.name()).collect();
                    format!(concat!("unknown ", $what, " \"{}\"; there are {}"), text, names.join(", "))
                })
            }
        }
    };
}

from_name!(Theme, "theme");
from_name!(Scale, "scale");
from_name!(PanelScale, "panel scale");
from_name!(Colormap, "colour map");
from_name!(Format, "format of pictures");

pub(crate) use from_name;
