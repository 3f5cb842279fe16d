//! Pictures to keep: what `attlas::view` draws, the same bytes wherever it is asked.

use attlas::figure::{self, Colormap, Format, PanelScale, Scale, Style, Theme};
use attlas::view::pictures::{self, GRID_TILES, Looks, OVERVIEW_TILES, Shows};
use attlas::view::{Pieces, Silence, Specials};
use attlas::{Head, Kind, Layer, Quantity, RowTokens, View, ViewOptions};
use serde::Deserialize;

use crate::library::Served;
use crate::map::n_multiplications;
use crate::refusal::Refusal;

/// A picture that is asked for. Names are those of the command line's options.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FigureAsk {
    pub picture: Shows,
    pub format: Format,
    #[serde(default)]
    pub item: usize,
    #[serde(default)]
    pub quantity: Quantity,
    pub kind: Option<Kind>,
    pub layer: Option<usize>,
    /// The mean over the layer's heads where none is said.
    pub head: Option<usize>,
    pub scale: Option<Scale>,
    #[serde(default)]
    pub panel_scale: PanelScale,
    #[serde(default)]
    pub theme: Theme,
    #[serde(default)]
    pub colormap: Colormap,
    #[serde(default)]
    pub words: bool,
    #[serde(default)]
    pub hide_special: bool,
    #[serde(default)]
    pub show_silence: bool,
    /// What rows of a decoder are named after; as usual where none is said.
    pub rows_are: Option<RowTokens>,
    /// The rows and columns shown, by position, from the first to before the end.
    pub top: Option<usize>,
    pub bottom: Option<usize>,
    pub left: Option<usize>,
    pub right: Option<usize>,
}

/// What a picture takes.
pub struct Shown<'a> {
    /// Those of all maps that it shows; a part is not cheaper, since whole maps are checked.
    pub n_multiplications: u64,
    /// The layers of which all heads are read at once.
    pub mean_of: Vec<&'a Layer>,
}

/// What a picture will take.
///
/// # Errors
/// When there is no such map.
pub fn shown<'a>(served: &'a Served, ask: &FigureAsk) -> Result<Shown<'a>, Refusal> {
    let recording = &served.recording;
    let kind = ask.kind.map_or_else(|| recording.default_kind_in(ask.quantity), Ok)?;
    let layer = ask.layer.map_or_else(|| recording.last_layer_in(ask.quantity, kind), Ok)?;
    let of_kind = |layer: &Layer| (layer.quantity, layer.kind) == (ask.quantity, kind);
    let is_shown = |one: &&Layer| match ask.picture {
        Shows::Map | Shows::Lines | Shows::Heads => of_kind(one) && one.index == layer,
        Shows::Layers => of_kind(one),
        Shows::Overview => one.quantity == ask.quantity && ask.kind.is_none_or(|kind| one.kind == kind),
    };
    let layers: Vec<&Layer> = served.layers.iter().filter(is_shown).collect();
    let has_all_heads = matches!(ask.picture, Shows::Heads | Shows::Overview);
    let of_layer = |layer: &&'a Layer| match ask.head {
        Some(_) if !has_all_heads => n_multiplications([*layer], 1) / layer.shape.n_heads.max(1) as u64,
        _ => n_multiplications([*layer], 1),
    };
    let n_multiplications = layers.iter().map(of_layer).fold(0, u64::saturating_add);
    let mean_of = if ask.head.is_none() && !has_all_heads { layers } else { Vec::new() };
    Ok(Shown { n_multiplications, mean_of })
}

/// The picture's bytes.
///
/// # Errors
/// When there is no such map, it is too large, or cannot be read.
pub fn draw(served: &Served, ask: &FigureAsk) -> Result<Vec<u8>, Refusal> {
    let recording = &served.recording;
    let FigureAsk { quantity, scale, panel_scale, theme, colormap, .. } = *ask;
    let kind = ask.kind.map_or_else(|| recording.default_kind_in(quantity), Ok)?;
    let layer = ask.layer.map_or_else(|| recording.last_layer_in(quantity, kind), Ok)?;
    let head = ask.head.map_or(Head::Mean, Head::One);
    let style = Style { theme, colormap, ..Style::default() };
    let looks = Looks { style: style.clone(), scale, panel_scale };
    let view = |tiles: Option<usize>| {
        move |kind: Kind, layer: usize, head: Head| -> Result<View, attlas::Error> {
            View::with(recording, kind, layer, head, &ask.options(served, kind, layer, tiles)?)
        }
    };
    let figure = match ask.picture {
        Shows::Map | Shows::Lines => {
            let view = view(None)(kind, layer, head)?;
            let draw = if ask.picture == Shows::Map { figure::map } else { figure::lines };
            draw(view.panel(), &view.scale(scale.unwrap_or_default()), &view.style(&style))
        }
        Shows::Heads => pictures::heads(recording, quantity, kind, layer, &looks, view(Some(GRID_TILES)))?.figure,
        Shows::Layers => pictures::layers(recording, quantity, kind, head, &looks, view(Some(GRID_TILES)))?.figure,
        Shows::Overview => {
            let kinds = ask.kind.map_or_else(|| recording.kinds_in(quantity), |kind| vec![kind]);
            pictures::overview(recording, quantity, &kinds, &looks, view(Some(OVERVIEW_TILES)))?.figure
        }
    };
    Ok(ask.format.bytes(&figure)?)
}

impl FigureAsk {
    /// How a map is shown; in at most so many tiles along a side, unless every number is needed.
    fn options(
        &self,
        served: &Served,
        kind: Kind,
        layer: usize,
        tiles: Option<usize>,
    ) -> Result<ViewOptions, attlas::Error> {
        let items = &served.recording.items;
        let item = items.get(self.item).ok_or(attlas::Error::NoItem { item: self.item, n_items: items.len() })?;
        let of_layer = served.recording.layer_in(self.quantity, kind, layer)?;
        let range = |first: Option<usize>, end: Option<usize>, n: usize| {
            (first.is_some() || end.is_some()).then(|| first.unwrap_or(0)..end.unwrap_or(n))
        };
        let n_rows = of_layer.query_tokens(item).unpadded(of_layer.shape.n_queries).len();
        let n_columns = of_layer.key_tokens(item).unpadded(of_layer.shape.n_keys).len();
        let usual = ViewOptions::default();
        let (max_weights, overview_tiles) = match tiles.filter(|_| !self.words && !self.hide_special) {
            Some(tiles) => (tiles * tiles, tiles),
            None => (usual.max_weights, usual.overview_tiles),
        };
        Ok(ViewOptions {
            quantity: self.quantity,
            item: self.item,
            pieces: if self.words { Pieces::Words } else { Pieces::Apart },
            specials: if self.hide_special { Specials::Hide } else { Specials::Show },
            silence: if self.show_silence { Silence::Show } else { Silence::Hide },
            row_tokens: self.rows_are,
            rows: range(self.top, self.bottom, n_rows),
            columns: range(self.left, self.right, n_columns),
            max_weights,
            overview_tiles,
        })
    }
}
