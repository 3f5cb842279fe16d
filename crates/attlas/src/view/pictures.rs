//! Pictures of several maps of a recording: the heads of a layer, one head in every layer, everything.

use serde::Deserialize;

use super::{Head, View, captions_of, complaint_of};
use crate::figure::{self, Figure, OverviewRow, Panel, PanelScale, Scale, Scales, Style, from_name};
use crate::{Error, Kind, Quantity, Recording};

/// Columns of a grid of heads.
const GRID_COLUMNS: usize = 4;

/// Tiles along a side of a map in a grid: what a picture of several has room for.
pub const GRID_TILES: usize = 1024;
/// The same of a thumbnail among all of them.
pub const OVERVIEW_TILES: usize = 512;

/// How a picture of several maps looks.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Looks {
    /// Ground, colours, sizes; a heading of its own stays, where it is empty the picture says what it shows.
    pub style: Style,
    /// How a number becomes a colour; in proportion where nothing is said, by the logarithm for an overview of which most maps
    /// would be one colour.
    pub scale: Option<Scale>,
    /// One colour scale for all maps, or one for each.
    pub panel_scale: PanelScale,
}

impl Looks {
    /// The style of a picture of several maps, with this heading unless another was asked for, and captions.
    pub fn of_several(&self, title: &str, captions: Vec<String>) -> Style {
        let title = if self.style.title.is_empty() { title.to_owned() } else { self.style.title.clone() };
        Style { title, captions, ..self.style.clone() }
    }

    fn style(&self, title: &str, views: &[View]) -> Style {
        self.of_several(title, [captions_of(views), self.style.captions.clone()].concat())
    }
}

/// What a picture of a recording shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shows {
    /// One map.
    Map,
    /// One map as lines from token to token.
    Lines,
    /// All heads of a layer.
    Heads,
    /// One head in every layer.
    Layers,
    /// Every head of every layer.
    Overview,
}

impl Shows {
    /// All pictures.
    pub const ALL: [Shows; 5] = [Shows::Map, Shows::Lines, Shows::Heads, Shows::Layers, Shows::Overview];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Shows::Map => "map",
            Shows::Lines => "lines",
            Shows::Heads => "heads",
            Shows::Layers => "layers",
            Shows::Overview => "overview",
        }
    }
}

from_name!(Shows, "picture");

/// A picture, and what of the numbers in it fails their checks.
#[derive(Debug)]
pub struct Picture {
    /// The picture.
    pub figure: Figure,
    /// What of its numbers fails their checks: [`complaint_of`].
    pub complaint: Option<String>,
    /// Whether the scale is logarithmic although nobody asked for it.
    pub chose_log: bool,
}

/// All heads of a layer, in four columns; `view` makes the map of each.
///
/// # Errors
/// When there is no such layer, or `view` fails.
pub fn heads<E: From<Error>>(
    recording: &Recording,
    quantity: Quantity,
    kind: Kind,
    layer: usize,
    looks: &Looks,
    mut view: impl FnMut(Kind, usize, Head) -> Result<View, E>,
) -> Result<Picture, E> {
    let n_heads = recording.layer_in(quantity, kind, layer)?.shape.n_heads;
    let views = (0..n_heads).map(|head| view(kind, layer, Head::One(head))).collect::<Result<Vec<_>, E>>()?;
    Ok(grid(
        views,
        GRID_COLUMNS,
        &format!("{}, layer {layer}, all heads{}", kind.title(), of(recording, quantity)),
        looks,
    ))
}

/// One head, or the mean over heads, in every layer of a kind, in a row; `view` makes the map of each.
///
/// # Errors
/// When `view` fails.
pub fn layers<E: From<Error>>(
    recording: &Recording,
    quantity: Quantity,
    kind: Kind,
    head: Head,
    looks: &Looks,
    mut view: impl FnMut(Kind, usize, Head) -> Result<View, E>,
) -> Result<Picture, E> {
    let layers = recording.layers_in(quantity, kind);
    let views = layers.iter().map(|layer| view(kind, layer.index, head)).collect::<Result<Vec<_>, E>>()?;
    let is_of_heads = quantity == Quantity::Weight || layers.iter().any(|layer| layer.shape.n_heads > 1);
    let what = match head {
        _ if !is_of_heads => String::new(),
        Head::One(head) => format!(", head {head}"),
        Head::Mean => ", mean of heads".to_owned(),
    };
    let n_layers = views.len();
    Ok(grid(views, n_layers, &format!("{}{what} in every layer{}", kind.title(), of(recording, quantity)), looks))
}

/// Every head of every layer of these kinds as a thumbnail; `view` makes the map of each.
///
/// # Errors
/// When the recording has no attention weights, or `view` fails.
pub fn overview<E: From<Error>>(
    recording: &Recording,
    quantity: Quantity,
    kinds: &[Kind],
    looks: &Looks,
    mut view: impl FnMut(Kind, usize, Head) -> Result<View, E>,
) -> Result<Picture, E> {
    recording.default_kind_in(quantity)?; // refuses a recording that has no such maps
    let (mut labels, mut views) = (Vec::new(), Vec::new());
    for &kind in kinds {
        for layer in recording.layers_in(quantity, kind) {
            for head in 0..layer.shape.n_heads {
                views.push(view(kind, layer.index, Head::One(head))?);
            }
            let label = if kinds.len() > 1 { format!("{kind} {}", layer.index) } else { layer.index.to_string() };
            labels.push((label, layer.shape.n_heads));
        }
    }
    let what = match kinds {
        [kind] => kind.title(),
        _ => "all attention",
    };
    let style = looks.style(&format!("{what}: layers × heads{}", of(recording, quantity)), &views);
    let complaint = complaint_of(&views);
    let mut panels = views.into_iter().map(View::into_panel);
    let row = |(label, n_heads)| OverviewRow { label, panels: panels.by_ref().take(n_heads).collect() };
    let rows: Vec<OverviewRow> = labels.into_iter().map(row).collect();
    let (scales, chose_log) = scales_of_overview(&rows, looks);
    Ok(Picture { figure: figure::overview(&rows, &scales, ["layer", "head"], &style), complaint, chose_log })
}

/// The end of a heading: what the numbers are, where they are no weights.
fn of(recording: &Recording, quantity: Quantity) -> String {
    match quantity {
        Quantity::Weight => String::new(),
        _ => format!(": {}", quantity.words_in(&recording.provenance.notes)),
    }
}

fn grid(views: Vec<View>, n_columns: usize, title: &str, looks: &Looks) -> Picture {
    let style = looks.style(title, &views);
    let complaint = complaint_of(&views);
    let words = views.first().map(View::words);
    let panels: Vec<Panel> = views.into_iter().map(View::into_panel).collect();
    let scales = Scales::of(&panels, looks.scale.unwrap_or_default(), looks.panel_scale);
    let scales = words.map_or(scales, |words| scales.called(words));
    Picture { figure: figure::grid(&panels, &scales, n_columns, &style), complaint, chose_log: false }
}

/// As asked for; where nothing is, logarithmic if in proportion most maps would be one colour, which is said.
fn scales_of_overview(rows: &[OverviewRow], looks: &Looks) -> (Scales, bool) {
    let panels = rows.iter().flat_map(|row| &row.panels);
    let scales = Scales::of(panels.clone(), looks.scale.unwrap_or_default(), looks.panel_scale);
    let n_dim = panels.clone().filter(|panel| scales.is_dim(panel)).count();
    if looks.scale.is_some() || 2 * n_dim <= panels.clone().count() {
        return (scales, false);
    }
    (Scales::of(panels, Scale::Log, looks.panel_scale), true)
}
