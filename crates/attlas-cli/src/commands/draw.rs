//! `attlas draw map|lines|heads|layers|overview|patches|distance|received|contacts`.

use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::figure::{self, Axis, Colormap, Figure, Format, Panel, PanelScale, Scale, Style, Theme};
use attlas::output::write_aside;
use attlas::view::pictures::{self, GRID_TILES, Looks, OVERVIEW_TILES};
use attlas::{Head, Kind, Recording, View};
use attlas_model::explain::quantities::{Layers, Shown};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};

use super::draw_check;
use super::draw_contacts::{self, ContactsArguments};
use super::draw_distance::{self, DistanceArguments};
use super::draw_patches::{self, PatchesArguments};
use super::draw_received::{self, ReceivedArguments};
use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::inputs::{
    RawText, RunArguments, check_output, is_image_name, is_recording, model_files, parse_head, parse_kind,
    pick_kind_in, pick_layer_in, recording_of,
};
use crate::progress::Progress;
use crate::quantities::{Asked, PredictionArguments, parse_flow_tokens, parse_shown};
use crate::terminal::{Terminal, printable, remark};
use crate::view::ViewArguments;

/// `attlas draw`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  attlas draw map \"The cat sat on the mat.\" -o map.svg
  attlas draw lines \"The cat sat on the mat.\" --layer 1 --head 3 -o lines.svg
  attlas draw heads run.safetensors --kind encoder --layer 1 -o heads.pdf
  attlas draw layers run.safetensors --kind decoder --head 3 -o layers.png
  attlas draw overview run.safetensors -o overview.svg --theme dark")]
pub struct DrawArguments {
    /// The picture.
    #[command(subcommand)]
    pub picture: Picture,
}

/// The pictures.
#[derive(Debug, Subcommand)]
pub enum Picture {
    /// One map: of a head, or of all heads of a layer together.
    #[command(after_help = "\
Examples:
  attlas draw map \"A red apple.\" -o map.svg                     mean of the last cross-attention layer
  attlas draw map run.safetensors --kind encoder --layer 0 --head 3 -o L0H3.pdf --words --special hide
  attlas draw map \"A red apple.\" --head 4 --check -o map.svg       has this map to do with the output?")]
    Map {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        one: OneHead,
        /// Say below the picture how far the output moves when this map is permuted; runs the model some times more.
        #[arg(long)]
        check: bool,
    },
    /// One map as lines from each query to the keys it looks at, the stronger the larger the weight.
    #[command(after_help = "\
Examples:
  attlas draw lines \"A red apple.\" -o lines.svg                 mean of the last cross-attention layer
  attlas draw lines run.safetensors --kind encoder --layer 0 --head 3 --words -o L0H3.png
  attlas draw lines \"The animal slept because it was tired.\" --kind encoder --query it -o it.svg")]
    Lines {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        one: OneHead,
        /// Draw only the lines of this query: a token as it stands along the rows, or its number there, counted from 0.
        /// Repeat for several.
        #[arg(long, value_name = "TOKEN | N")]
        query: Vec<String>,
        /// Draw only the lines to this key, as --query.
        #[arg(long, value_name = "TOKEN | N")]
        key: Vec<String>,
    },
    /// All heads of a layer as a grid of four columns.
    #[command(after_help = "\
Examples:
  attlas draw heads \"A red apple.\" -o heads.svg
  attlas draw heads run.safetensors --kind decoder --layer 2 --panel-scale own -o heads.png")]
    Heads {
        #[command(flatten)]
        common: Common,
        /// The layer, counted from 0 [default: the last].
        #[arg(long, value_name = "N")]
        layer: Option<usize>,
        /// Say below the picture how far the output moves when each map is permuted; runs the model some times for each.
        #[arg(long)]
        check: bool,
    },
    /// One head across all layers in a row.
    #[command(after_help = "\
Examples:
  attlas draw layers \"A red apple.\" --head 0 -o layers.svg
  attlas draw layers run.safetensors --kind encoder --head mean -o layers.pdf")]
    Layers {
        #[command(flatten)]
        common: Common,
        /// The head, counted from 0, or "mean" for all heads of each layer together.
        #[arg(long, value_name = "N", default_value = "0", value_parser = parse_head)]
        head: Head,
    },
    /// All layers and heads as thumbnails: of one kind with --kind, else of every kind.
    #[command(after_help = "\
Examples:
  attlas draw overview \"A red apple.\" -o overview.svg
  attlas draw overview run.safetensors --kind encoder --scale log -o overview.png")]
    Overview {
        #[command(flatten)]
        common: Common,
    },
    /// A row of a vision model's head, laid over the image.
    #[command(after_help = "\
Examples:
  attlas draw patches photo.png --model DIR --query CLS -o cls.png
  attlas draw patches run.safetensors --image photo.png --layer 3 --head 7 --query r3c5 -o r3c5.svg")]
    Patches {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        patches: PatchesArguments,
    },
    /// The heads of a kind as dots in a plane: those that look alike near each other.
    Distance(DistanceArguments),
    /// What each token receives of all queries together, and the share that goes to spans of tokens; without -o, as a table.
    #[command(after_help = draw_received::EXAMPLES)]
    Received(ReceivedArguments),
    /// Which residues of a protein touch, read off the maps of all heads or of one; without -o, as a table.
    #[command(after_help = draw_contacts::EXAMPLES)]
    Contacts(ContactsArguments),
}

/// Which head, or the mean of which layer.
#[derive(Debug, Args)]
pub struct OneHead {
    /// The layer, counted from 0 [default: the last].
    #[arg(long, value_name = "N")]
    pub layer: Option<usize>,
    /// The head, counted from 0, or "mean" for all heads of the layer together.
    #[arg(long, value_name = "N", default_value = "mean", value_parser = parse_head)]
    pub head: Head,
}

/// What all pictures take.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// A recording (a file, or a name that ends in .safetensors), a text, or - for a text from standard input; an image or
    /// a sound for a model that reads such.
    #[arg(value_name = "RECORDING | TEXT")]
    pub material: RawText,
    /// The picture to write: .svg, .pdf or .png.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// The attention drawn [default: cross, else decoder, else encoder].
    #[arg(long, value_parser = parse_kind())]
    pub kind: Option<Kind>,
    /// The text of a batch, counted from 0.
    #[arg(long = "text", default_value_t = 0, value_name = "N")]
    pub item: usize,
    /// What the map shows: weight; norm, the length of what each key adds to a query (norm-sum, norm-residual, norm-layernorm: of all
    /// heads together, with the residual, behind the norm); the share of a state that each token brings (contribution: of a
    /// layer, alti: through the model); rollout and flow of weights through the layers; what a prediction rests on
    /// (gradient-weight of each head, relevance through the layers).
    #[arg(long, value_name = "QUANTITY", default_value = "weight", value_parser = parse_shown(), hide_possible_values = true)]
    pub quantity: Shown,
    /// The most tokens that flow is computed for; the time grows with the fourth power of their number.
    #[arg(long, value_name = "N", value_parser = parse_flow_tokens)]
    pub flow_tokens: Option<usize>,
    #[command(flatten)]
    pub prediction: PredictionArguments,
    #[command(flatten)]
    pub view: ViewArguments,
    #[command(flatten)]
    pub style: StyleArguments,
    #[command(flatten)]
    pub run: RunArguments,
}

/// How pictures look.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Style")]
pub struct StyleArguments {
    /// The heading [default: what is drawn].
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// Width: 8cm, 80mm, 3.5in, or points, 160 to 5000 of them [default: by content].
    #[arg(long = "width", visible_alias = "size", value_name = "WIDTH", value_parser = parse_width)]
    pub size: Option<f32>,
    /// Pixels per inch of a .png, 36 to 1200 [default: 144].
    #[arg(long, value_name = "N", value_parser = parse_dpi)]
    pub dpi: Option<f32>,
    /// How a weight becomes a colour; row divides each row by its largest weight [default: linear; log for an overview of
    /// which most would be one colour].
    #[arg(long, value_name = "SCALE", value_parser = by_name::<Scale, 3>(Scale::ALL.map(Scale::name)))]
    pub scale: Option<Scale>,
    /// One colour scale for all panels, or one for each; the picture says so.
    #[arg(long, value_name = "HOW", default_value = PanelScale::default().name(), value_parser = by_name::<PanelScale, 2>(PanelScale::ALL.map(PanelScale::name)))]
    pub panel_scale: PanelScale,
    /// The ground.
    #[arg(long, value_name = "THEME", default_value = Theme::default().name(), value_parser = by_name::<Theme, 2>(Theme::ALL.map(Theme::name)))]
    pub theme: Theme,
    /// Colours; all are perceptually uniform and safe for colour-blind readers. Numbers of either sign have their own.
    #[arg(long, value_name = "NAME", default_value = Colormap::default().name(), value_parser = by_name::<Colormap, 6>(Colormap::SEQUENTIAL.map(Colormap::name)))]
    pub colormap: Colormap,
}

/// A closed set, by the names its `FromStr` knows.
fn by_name<T, const N: usize>(names: [&'static str; N]) -> impl TypedValueParser<Value = T>
where
    T: std::str::FromStr<Err = String> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
}

/// Reads `8cm`, `80mm`, `3.5in`, `227pt` and `227`: points.
pub fn parse_width(text: &str) -> Result<f32, String> {
    let units = [("cm", 72.0 / 2.54), ("mm", 72.0 / 25.4), ("in", 72.0), ("pt", 1.0), ("", 1.0)];
    let number = |(unit, points): (&str, f32)| Some(text.strip_suffix(unit)?.trim_end().parse::<f32>().ok()? * points);
    match units.into_iter().find_map(number) {
        Some(points) if (160.0..=5000.0).contains(&points) => Ok(points),
        _ => {
            Err("a width such as 8cm, 80mm, 3.5in or 227pt was expected, from 160 to 5000 points (5.65 to 176 cm)"
                .into())
        }
    }
}

fn parse_dpi(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(dpi) if (36.0..=1200.0).contains(&dpi) => Ok(dpi),
        _ => Err("a number from 36 to 1200 was expected".into()),
    }
}

/// Draws the picture and writes it.
pub fn run(arguments: &DrawArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let common = match &arguments.picture {
        Picture::Distance(distance) => return draw_distance::run(distance, terminal),
        Picture::Received(received) => return draw_received::run(received, terminal),
        Picture::Contacts(contacts) => return draw_contacts::run(contacts, terminal),
        Picture::Map { common, .. }
        | Picture::Lines { common, .. }
        | Picture::Heads { common, .. }
        | Picture::Layers { common, .. }
        | Picture::Overview { common, .. }
        | Picture::Patches { common, .. } => common,
    };
    let format = format_of(&common.output)?;
    common.style.check(format, &common.output)?;
    let image = match &arguments.picture {
        Picture::Patches { patches, .. } => patches.image.as_deref(),
        _ => None,
    };
    let model = model_files(&common.run.model);
    let inputs = [Path::new(&common.material)].into_iter().chain(image).chain(model.iter().map(PathBuf::as_path));
    check_output(&common.output, inputs)?;
    let common = &common.asking(arguments.picture.layers())?;
    let recording = recording_of(&common.material, &arguments.picture.running(common))?;
    say_idle(&recording, common, &arguments.picture)?;
    arguments.picture.check_heads(&recording, common)?;
    let Drawn { figure, complaint } = match &arguments.picture {
        Picture::Map { one, check, .. } => draw_one(&recording, common, one, *check),
        Picture::Lines { one, query, key, .. } => draw_lines(&recording, common, one, [query, key]),
        Picture::Heads { layer, check, .. } => draw_heads(&recording, common, *layer, *check),
        Picture::Layers { head, .. } => draw_layers(&recording, common, *head),
        Picture::Overview { .. } => draw_overview(&recording, common),
        Picture::Patches { patches, .. } => draw_patches::figure(&recording, common, patches),
        Picture::Distance(_) | Picture::Received(_) | Picture::Contacts(_) => return Ok(Outcome::Done), // drawn above
    }?;
    write_figure(format, &figure, &common.output)?;
    writeln!(terminal, "{}", printable(&common.output.display().to_string()))?;
    let (quantity, item) = (common.quantity.quantity(), common.item);
    let behind = checks::complaint_of_weights_behind(&recording, quantity, item..item + 1)?;
    Ok(checks::outcome(complaint.or(behind).as_deref()))
}

impl Picture {
    /// What a text is run with: an image that is to be drawn is one that the text has, where it is no image itself.
    fn running(&self, common: &Common) -> RunArguments {
        let mut run = common.run.clone();
        if let Picture::Patches { patches, .. } = self
            && !is_image_name(Path::new(&common.material))
            && !is_recording(&common.material)
        {
            run.images.extend(patches.image.clone());
        }
        run
    }

    /// The layers that are drawn.
    fn layers(&self) -> Layers {
        let layer = match self {
            Picture::Map { one, .. } | Picture::Lines { one, .. } => one.layer,
            Picture::Heads { layer, .. } => *layer,
            _ => return Layers::All,
        };
        layer.map_or(Layers::Last, Layers::One)
    }

    /// Refuses single heads of a quantity that is of all heads together.
    fn check_heads(&self, recording: &Recording, common: &Common) -> Result<(), Failure> {
        let quantity = common.quantity.quantity();
        let kind = pick_kind_in(recording, quantity, common.kind)?;
        let n_heads = recording.layers_in(quantity, kind).first().map_or(0, |layer| layer.shape.n_heads);
        let asks = match self {
            Picture::Map { one, .. } | Picture::Lines { one, .. } => {
                matches!(one.head, Head::One(_)).then_some("--head")
            }
            Picture::Heads { .. } => Some("`draw heads`"),
            _ => None,
        };
        match asks.filter(|_| !common.quantity.is_of_heads() && n_heads == 1) {
            Some(what) => Err(Failure::Usage(format!(
                "{what} is about single heads, but {} is of all heads of a layer together; `draw map` and `draw layers` show it",
                common.quantity.name()
            ))),
            None => Ok(()),
        }
    }
}

impl Common {
    /// These options with what the quantity asks of a run.
    fn asking(&self, layers: Layers) -> Result<Common, Failure> {
        let asked = Asked::one(self.quantity, self.kind, self.flow_tokens)?;
        self.prediction.check(&[self.quantity])?;
        let mut asking = self.clone();
        asking.view.quantity = self.quantity.quantity();
        if self.quantity != Shown::Weight {
            asking.run.quantities = Asked { layers, prediction: self.prediction.clone(), ..asked };
        }
        Ok(asking)
    }
}

/// What the options of a picture cannot do; see [`ViewArguments::say_idle`].
fn say_idle(recording: &Recording, common: &Common, picture: &Picture) -> Result<(), Failure> {
    if let Picture::Patches { .. } = picture {
        let idle = common.view.first_given().or((common.kind == Some(Kind::Decoder)).then_some("--kind decoder"));
        return idle.map_or(Ok(()), |option| {
            Err(Failure::Usage(format!(
                "{option} does nothing here: `draw patches` shows one row of an encoder or of cross-attention over its image"
            )))
        });
    }
    let of_one = matches!(picture, Picture::Map { .. } | Picture::Lines { .. });
    if of_one && common.style.panel_scale != PanelScale::default() {
        remark("--panel-scale does nothing here: the picture has one map");
    }
    let kinds = match (picture, common.kind) {
        (Picture::Overview { .. }, None) => recording.kinds_in(common.quantity.quantity()),
        (_, kind) => vec![pick_kind_in(recording, common.quantity.quantity(), kind)?],
    };
    common.view.say_idle(recording, common.item, &kinds)
}

/// A picture, and what of the numbers in it fails their checks.
pub struct Drawn {
    pub figure: Figure,
    pub complaint: Option<String>,
}

/// One map, with what permuting it does to the output where that is asked for.
fn draw_one(recording: &Recording, common: &Common, one: &OneHead, check: bool) -> Result<Drawn, Failure> {
    let quantity = common.quantity.quantity();
    let view = view_of_one(recording, common, one)?;
    let mut style = view.style(&common.style.style());
    if check {
        let kind = pick_kind_in(recording, quantity, common.kind)?;
        let layer = pick_layer_in(recording, quantity, kind, one.layer)?;
        style.captions.push(draw_check::note(recording, common, kind, layer, one.head)?);
    }
    let figure = figure::map(view.panel(), &view.scale(common.style.scale()), &style);
    Ok(Drawn { figure, complaint: checks::complaint_of([&view]) })
}

fn view_of_one(recording: &Recording, common: &Common, one: &OneHead) -> Result<View, Failure> {
    let quantity = common.quantity.quantity();
    let kind = pick_kind_in(recording, quantity, common.kind)?;
    let layer = pick_layer_in(recording, quantity, kind, one.layer)?;
    common.view.view(recording, common.item, kind, layer, one.head)
}

/// One map as lines: all of them, or those of some queries and to some keys, on the scale of all.
fn draw_lines(
    recording: &Recording,
    common: &Common,
    one: &OneHead,
    [queries, keys]: [&[String]; 2],
) -> Result<Drawn, Failure> {
    let view = view_of_one(recording, common, one)?;
    let panel = view.panel();
    let rows = places_of(queries, "--query", panel.rows())?;
    let columns = places_of(keys, "--key", panel.columns())?;
    let is_drawn = |cell: usize| {
        let (row, column) = (cell / panel.n_columns(), cell % panel.n_columns());
        rows.as_ref().is_none_or(|rows| rows.contains(&row)) && columns.as_ref().is_none_or(|all| all.contains(&column))
    };
    let some = panel.weights().iter().enumerate().map(|(cell, weight)| if is_drawn(cell) { *weight } else { 0.0 });
    let some = Panel::new(panel.title(), some.collect(), panel.rows().clone(), panel.columns().clone())?;
    let mut style = view.style(&common.style.style());
    for (what, places, axis) in [("of", &rows, panel.rows()), ("to", &columns, panel.columns())] {
        if let Some(places) = places {
            let names: Vec<String> =
                places.iter().map(|place| format!("{} ({place})", axis.label(*place).trim())).collect();
            style.captions.push(format!("only the lines {what} {}", names.join(", ")));
        }
    }
    let figure = figure::lines(&some.measuring(view.quantity()), &view.scale(common.style.scale()), &style);
    Ok(Drawn { figure, complaint: checks::complaint_of([&view]) })
}

/// The places along an axis that `asked` name, each by its label or its number; `None` where none is asked for.
fn places_of(asked: &[String], option: &str, axis: &Axis) -> Result<Option<Vec<usize>>, Failure> {
    let labels: Vec<String> = (0..axis.len()).map(|place| axis.label(place).trim().to_owned()).collect();
    let place_of = |name: &String| {
        let called: Vec<usize> = (0..labels.len()).filter(|place| labels[*place] == name.trim()).collect();
        let numbered = name.parse::<usize>().ok().filter(|place| *place < labels.len());
        match (called.as_slice(), numbered) {
            (&[place], _) => Ok(place),
            ([], Some(place)) => Ok(place),
            ([], None) => {
                let labels: Vec<&str> = labels.iter().take(40).map(String::as_str).collect();
                let more = if axis.len() > labels.len() { " …" } else { "" };
                let there_are = format!("0 to {}: {}{more}", axis.len() - 1, labels.join(" "));
                Err(Failure::Usage(format!("{option} {name}: there is no such token; there are {there_are}")))
            }
            (several, _) => {
                let several: Vec<String> = several.iter().map(usize::to_string).collect();
                let several = several.join(", ");
                Err(Failure::Usage(format!("{option} {name}: stands at {several}; say which by its number")))
            }
        }
    };
    let places = asked.iter().map(place_of).collect::<Result<Vec<usize>, Failure>>()?;
    Ok(Some(places).filter(|places| !places.is_empty()))
}

fn draw_heads(recording: &Recording, common: &Common, layer: Option<usize>, check: bool) -> Result<Drawn, Failure> {
    let quantity = common.quantity.quantity();
    let kind = pick_kind_in(recording, quantity, common.kind)?;
    let layer = pick_layer_in(recording, quantity, kind, layer)?;
    let n_heads = recording.layer_in(quantity, kind, layer)?.shape.n_heads;
    let mut looks = common.style.looks();
    if check {
        looks.style.captions = draw_check::notes(recording, common, kind, layer)?;
    }
    let view = viewing(recording, common, GRID_TILES, n_heads);
    Ok(pictures::heads(recording, quantity, kind, layer, &looks, view)?.into())
}

fn draw_layers(recording: &Recording, common: &Common, head: Head) -> Result<Drawn, Failure> {
    let quantity = common.quantity.quantity();
    let kind = pick_kind_in(recording, quantity, common.kind)?;
    let view = viewing(recording, common, GRID_TILES, recording.layers_in(quantity, kind).len());
    Ok(pictures::layers(recording, quantity, kind, head, &common.style.looks(), view)?.into())
}

fn draw_overview(recording: &Recording, common: &Common) -> Result<Drawn, Failure> {
    let quantity = common.quantity.quantity();
    let kinds = match common.kind {
        Some(kind) => vec![pick_kind_in(recording, quantity, Some(kind))?],
        None => recording.kinds_in(quantity),
    };
    let layers = |kind: &Kind| recording.layers_in(quantity, *kind);
    let heads = |kind: &Kind| layers(kind).iter().map(|layer| layer.shape.n_heads).sum::<usize>();
    let view = viewing(recording, common, OVERVIEW_TILES, kinds.iter().map(heads).sum());
    let picture = pictures::overview(recording, quantity, &kinds, &common.style.looks(), view)?;
    if picture.chose_log {
        remark("in proportion most of the maps would be one colour, so the scale is logarithmic; --scale linear, row");
    }
    Ok(picture.into())
}

impl From<pictures::Picture> for Drawn {
    fn from(picture: pictures::Picture) -> Drawn {
        Drawn { figure: picture.figure, complaint: picture.complaint }
    }
}

/// Makes maps as they are shown, each in at most so many tiles along a side, and tells how many of `n` there are.
fn viewing(
    recording: &Recording,
    common: &Common,
    tiles: usize,
    n: usize,
) -> impl FnMut(Kind, usize, Head) -> Result<View, Failure> {
    let mut progress = Progress::new("map", n);
    move |kind, layer, head| {
        let view = common.view.view_in_tiles(recording, common.item, kind, layer, head, Some(tiles));
        progress.step();
        view
    }
}

impl StyleArguments {
    /// Refuses what a picture of this format does not have.
    pub fn check(&self, format: Format, output: &Path) -> Result<(), Failure> {
        match self.dpi.is_some() && format != Format::Png {
            true => Err(Failure::Usage(format!("--dpi is for a .png, but {} has no pixels", output.display()))),
            false => Ok(()),
        }
    }

    /// The style as far as the command line says it.
    pub fn style(&self) -> Style {
        Style {
            theme: self.theme,
            colormap: self.colormap,
            size: self.size,
            pixels_per_point: self.dpi.map_or(Style::default().pixels_per_point, |dpi| dpi / 72.0),
            title: self.title.clone().unwrap_or_default(),
            ..Style::default()
        }
    }

    /// The first of these options that was given and is no default, for where nothing is drawn.
    pub fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.title.is_some(), "--title"),
            (self.size.is_some(), "--width"),
            (self.dpi.is_some(), "--dpi"),
            (self.scale.is_some(), "--scale"),
            (self.panel_scale != PanelScale::default(), "--panel-scale"),
            (self.theme != Theme::default(), "--theme"),
            (self.colormap != Colormap::default(), "--colormap"),
        ];
        given.into_iter().find_map(|(is_given, name)| is_given.then_some(name))
    }

    /// The style of a picture of several maps, with its heading unless another was asked for.
    pub fn of_several(&self, title: &str, captions: Vec<String>) -> Style {
        Style { title: self.title.clone().unwrap_or_else(|| title.to_owned()), captions, ..self.style() }
    }

    /// How a weight becomes a colour.
    pub fn scale(&self) -> Scale {
        self.scale.unwrap_or_default()
    }

    /// The same for a picture of several maps.
    pub fn looks(&self) -> Looks {
        Looks { style: self.style(), scale: self.scale, panel_scale: self.panel_scale }
    }
}

/// The format that a picture's file name ends in.
///
/// # Errors
/// [`Failure::Usage`] when it ends in none.
pub fn format_of(path: &Path) -> Result<Format, Failure> {
    let format = path.extension().and_then(|ending| ending.to_str()?.parse().ok());
    format.ok_or_else(|| Failure::Usage(format!("-o {}: pictures are .svg, .pdf or .png files", path.display())))
}

/// Writes a picture aside, then in its place.
///
/// # Errors
/// [`Failure::Output`] when it cannot be written.
pub fn write_figure(format: Format, figure: &Figure, path: &Path) -> Result<(), Failure> {
    let bytes = format.bytes(figure)?;
    Ok(write_aside(path, |file| file.write_all(&bytes))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_width_is_read_in_points_or_with_its_unit() {
        for (text, points) in
            [("8cm", 226.77), ("90mm", 255.12), ("3.5in", 252.0), ("227pt", 227.0), ("227", 227.0), ("8 cm", 226.77)]
        {
            assert!((parse_width(text).unwrap_or(0.0) - points).abs() < 0.01, "{text}");
        }
        for text in ["8km", "1cm", "2m", "cm", "", "nan", "-8cm", "inf"] {
            assert!(parse_width(text).is_err_and(|why| why.contains("8cm, 80mm, 3.5in or 227pt")), "{text}");
        }
    }
}
