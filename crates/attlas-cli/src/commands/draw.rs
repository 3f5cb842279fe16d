//! `attlas draw map|lines|heads|layers|overview|patches`.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::figure::{self, ColorScale, Colormap, Figure, OverviewRow, Panel, PanelScale, Scale, Scales, Style, Theme};
use attlas::output::write_aside;
use attlas::view::captions_of;
use attlas::{Head, Kind, Recording, View};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};

use super::draw_patches::{self, PatchesArguments};
use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::inputs::{
    RawText, RunArguments, check_output, model_files, parse_head, parse_kind, pick_kind, pick_layer, recording_of,
};
use crate::terminal::{Terminal, printable, remark};
use crate::view::ViewArguments;

/// Columns of a grid of heads.
const GRID_COLUMNS: usize = 4;

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
  attlas draw map run.safetensors --kind encoder --layer 0 --head 3 -o L0H3.pdf --words --special hide")]
    Map {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        one: OneHead,
    },
    /// One map as lines from each query to the keys it looks at, the stronger the larger the weight.
    #[command(after_help = "\
Examples:
  attlas draw lines \"A red apple.\" -o lines.svg                 mean of the last cross-attention layer
  attlas draw lines run.safetensors --kind encoder --layer 0 --head 3 --words -o L0H3.png")]
    Lines {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        one: OneHead,
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
#[derive(Debug, Args)]
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
    #[command(flatten)]
    pub view: ViewArguments,
    #[command(flatten)]
    pub style: StyleArguments,
    #[command(flatten)]
    pub run: RunArguments,
}

/// How pictures look.
#[derive(Debug, Args)]
#[command(next_help_heading = "Style")]
pub struct StyleArguments {
    /// The heading [default: what is drawn].
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// Width in points, 160 to 5000 [default: by content].
    #[arg(long, value_name = "POINTS", value_parser = parse_size)]
    pub size: Option<f32>,
    /// How a weight becomes a colour; row divides each row by its largest weight.
    #[arg(long, value_name = "SCALE", default_value = Scale::default().name(), value_parser = by_name::<Scale, 3>(Scale::ALL.map(Scale::name)))]
    pub scale: Scale,
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

fn parse_size(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(points) if (160.0..=5000.0).contains(&points) => Ok(points),
        _ => Err("a width from 160 to 5000 points was expected".into()),
    }
}

/// Draws the picture and writes it.
pub fn run(arguments: &DrawArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let (Picture::Map { common, .. }
    | Picture::Lines { common, .. }
    | Picture::Heads { common, .. }
    | Picture::Layers { common, .. }
    | Picture::Overview { common, .. }
    | Picture::Patches { common, .. }) = &arguments.picture;
    let format = Format::of(&common.output)?;
    let image = match &arguments.picture {
        Picture::Patches { patches, .. } => patches.image.as_deref(),
        _ => None,
    };
    let model = model_files(common.run.model.model.as_deref());
    let inputs = [Path::new(&common.material)].into_iter().chain(image).chain(model.iter().map(PathBuf::as_path));
    check_output(&common.output, inputs)?;
    let recording = recording_of(&common.material, &common.run)?;
    say_idle(&recording, common, &arguments.picture)?;
    let Drawn { figure, complaint } = match &arguments.picture {
        Picture::Map { one, .. } => draw_one(&recording, common, one, figure::map),
        Picture::Lines { one, .. } => draw_one(&recording, common, one, figure::lines),
        Picture::Heads { layer, .. } => draw_heads(&recording, common, *layer),
        Picture::Layers { head, .. } => draw_layers(&recording, common, *head),
        Picture::Overview { .. } => draw_overview(&recording, common),
        Picture::Patches { patches, .. } => draw_patches::figure(&recording, common, patches),
    }?;
    format.write(&figure, &common.output)?;
    writeln!(terminal, "{}", printable(&common.output.display().to_string()))?;
    Ok(checks::outcome(complaint.as_deref()))
}

/// What the options of a picture cannot do; see [`ViewArguments::say_idle`].
fn say_idle(recording: &Recording, common: &Common, picture: &Picture) -> Result<(), Failure> {
    if let Picture::Patches { .. } = picture {
        let is_other_kind = common.kind.is_some_and(|kind| kind != Kind::Encoder);
        let idle = common.view.first_given().or(is_other_kind.then_some("--kind"));
        return idle.map_or(Ok(()), |option| {
            Err(Failure::Usage(format!(
                "{option} does nothing here: `draw patches` shows one row of an encoder over its image"
            )))
        });
    }
    let of_one = matches!(picture, Picture::Map { .. } | Picture::Lines { .. });
    if of_one && common.style.panel_scale != PanelScale::default() {
        remark("--panel-scale does nothing here: the picture has one map");
    }
    let kinds = match (picture, common.kind) {
        (Picture::Overview { .. }, None) => recording.kinds(),
        (_, kind) => vec![pick_kind(recording, kind)?],
    };
    common.view.say_idle(recording, common.item, &kinds)
}

/// A picture, and what of the numbers in it fails their checks.
pub struct Drawn {
    pub figure: Figure,
    pub complaint: Option<String>,
}

/// One map, drawn by `draw`.
fn draw_one(
    recording: &Recording,
    common: &Common,
    one: &OneHead,
    draw: fn(&Panel, &ColorScale, &Style) -> Figure,
) -> Result<Drawn, Failure> {
    let kind = pick_kind(recording, common.kind)?;
    let layer = pick_layer(recording, kind, one.layer)?;
    let view = common.view.view(recording, common.item, kind, layer, one.head)?;
    let figure = draw(view.panel(), &view.scale(common.style.scale), &view.style(&common.style.style()));
    Ok(Drawn { figure, complaint: checks::complaint_of([&view]) })
}

fn draw_heads(recording: &Recording, common: &Common, layer: Option<usize>) -> Result<Drawn, Failure> {
    let kind = pick_kind(recording, common.kind)?;
    let layer = pick_layer(recording, kind, layer)?;
    let n_heads = recording.layer(kind, layer)?.shape.n_heads;
    let views = views(recording, kind, (0..n_heads).map(|head| (layer, Head::One(head))), common)?;
    Ok(grid(views, GRID_COLUMNS, &format!("{}, layer {layer}, all heads", kind.title()), common))
}

fn draw_layers(recording: &Recording, common: &Common, head: Head) -> Result<Drawn, Failure> {
    let kind = pick_kind(recording, common.kind)?;
    let views = views(recording, kind, recording.layers_of(kind).map(|layer| (layer.index, head)), common)?;
    let what = match head {
        Head::One(head) => format!("head {head}"),
        Head::Mean => "mean of heads".to_owned(),
    };
    let n_layers = views.len();
    Ok(grid(views, n_layers, &format!("{}, {what} in every layer", kind.title()), common))
}

fn grid(views: Vec<View>, n_columns: usize, title: &str, common: &Common) -> Drawn {
    let complaint = checks::complaint_of(&views);
    let style = common.style.of_several(title, captions_of(&views));
    let panels: Vec<Panel> = views.into_iter().map(View::into_panel).collect();
    Drawn { figure: figure::grid(&panels, &common.style.scales(&panels), n_columns, &style), complaint }
}

fn draw_overview(recording: &Recording, common: &Common) -> Result<Drawn, Failure> {
    recording.default_kind()?; // refuses a recording of other maps than attention weights
    let kinds = match common.kind {
        Some(kind) => vec![pick_kind(recording, Some(kind))?],
        None => recording.kinds(),
    };
    let mut labels = Vec::new();
    let mut layers: Vec<Vec<View>> = Vec::new();
    for &kind in &kinds {
        for layer in recording.layers_of(kind) {
            let heads = (0..layer.shape.n_heads).map(|head| (layer.index, Head::One(head)));
            layers.push(views(recording, kind, heads, common)?);
            labels.push(if kinds.len() > 1 { format!("{kind} {}", layer.index) } else { layer.index.to_string() });
        }
    }
    let what = match kinds.as_slice() {
        [kind] => kind.title(),
        _ => "all attention",
    };
    let style = common.style.of_several(&format!("{what}: layers × heads"), captions_of(layers.iter().flatten()));
    let complaint = checks::complaint_of(layers.iter().flatten());
    let row = |(label, views): (String, Vec<View>)| OverviewRow {
        label,
        panels: views.into_iter().map(View::into_panel).collect(),
    };
    let rows: Vec<OverviewRow> = labels.into_iter().zip(layers).map(row).collect();
    let scales = common.style.scales(rows.iter().flat_map(|row| &row.panels));
    Ok(Drawn { figure: figure::overview(&rows, &scales, ["layer", "head"], &style), complaint })
}

/// The maps as they are shown.
fn views(
    recording: &Recording,
    kind: Kind,
    maps: impl Iterator<Item = (usize, Head)>,
    common: &Common,
) -> Result<Vec<View>, Failure> {
    maps.map(|(layer, head)| common.view.view(recording, common.item, kind, layer, head)).collect()
}

impl StyleArguments {
    /// The style as far as the command line says it.
    pub fn style(&self) -> Style {
        Style {
            theme: self.theme,
            colormap: self.colormap,
            size: self.size,
            title: self.title.clone().unwrap_or_default(),
            ..Style::default()
        }
    }

    /// The style of a picture of several maps, with its heading unless another was asked for.
    fn of_several(&self, title: &str, captions: Vec<String>) -> Style {
        Style { title: self.title.clone().unwrap_or_else(|| title.to_owned()), captions, ..self.style() }
    }

    /// One scale for all panels, or one for each.
    fn scales<'a>(&self, panels: impl IntoIterator<Item = &'a Panel, IntoIter: Clone>) -> Scales {
        Scales::of(panels, self.scale, self.panel_scale)
    }
}

/// The format of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Svg,
    Pdf,
    Png,
}

impl Format {
    fn of(path: &Path) -> Result<Format, Failure> {
        match path.extension().map(OsString::from).and_then(|extension| extension.into_string().ok()).as_deref() {
            Some("svg") => Ok(Format::Svg),
            Some("pdf") => Ok(Format::Pdf),
            Some("png") => Ok(Format::Png),
            _ => Err(Failure::Usage(format!("-o {}: pictures are .svg, .pdf or .png files", path.display()))),
        }
    }

    fn write(self, figure: &Figure, path: &Path) -> Result<(), Failure> {
        let bytes = match self {
            Format::Svg => figure.to_svg().into_bytes(),
            Format::Pdf => figure.to_pdf()?,
            Format::Png => figure.to_png()?,
        };
        Ok(write_aside(path, |file| file.write_all(&bytes))?)
    }
}
