//! One map as it is shown: a head or the mean of a layer, in pieces or words, with or without special tokens.

use attlas::analysis::{Grid, Hidden, RowTokens, mean_over_heads};
use attlas::figure::{Axis, Panel};
use attlas::{AttentionMap, Kind, Pooled, Pooling, Recording};
use clap::{Args, ValueEnum};

use crate::failure::Failure;
use crate::inputs::HeadChoice;

/// Weights of one map that are held; a longer text is shown as an overview.
const MAX_WEIGHTS: usize = 1 << 24;
/// Tiles of such an overview, in each direction.
const OVERVIEW_TILES: usize = 1024;
/// Queries whose weights are held at a time for it.
const BAND: usize = 64;

/// How maps are shown.
#[derive(Debug, Clone, Args)]
pub struct ViewArguments {
    /// Merge the pieces of a word: weights are summed over keys and averaged over queries.
    #[arg(long)]
    pub words: bool,
    /// Special tokens such as </s>; hiding them states the mass that goes.
    #[arg(long, value_enum, default_value_t = Special::Show, value_name = "HOW")]
    pub special: Special,
    /// Name each row of a decoder after the token it read, or the next one, which it predicts
    /// [default: predicted for cross, read for decoder].
    #[arg(long, value_enum, value_name = "WHICH")]
    pub label_rows: Option<LabelRows>,
}

/// What happens to special tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Special {
    /// They stay.
    Show,
    /// Their rows and columns go.
    Hide,
}

/// What rows of a decoder are named after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LabelRows {
    /// The token read at this position.
    Read,
    /// The token predicted from it.
    Predicted,
}

/// A map ready to be drawn.
#[derive(Debug, Clone)]
pub struct View {
    /// Such as `L3H7` or `L3, mean of 8 heads`.
    pub title: String,
    /// Shape `[n_rows, n_columns]`.
    pub weights: Vec<f32>,
    /// Labels of the rows; `None` where rows are tiles of an overview.
    pub rows: Option<Vec<String>>,
    /// Labels of the columns.
    pub columns: Option<Vec<String>>,
    /// Rows and columns of `weights`.
    pub size: (usize, usize),
    /// What the rows are.
    pub row_axis: &'static str,
    /// What the columns are.
    pub column_axis: &'static str,
    /// What a reader must know: removed mass, pooling.
    pub remarks: Vec<String>,
}

impl View {
    /// The map of one head, or of a layer's heads together, for text `item` of the recording.
    pub fn new(
        recording: &Recording,
        item: usize,
        kind: Kind,
        layer: usize,
        head: HeadChoice,
        arguments: &ViewArguments,
    ) -> Result<View, Failure> {
        let maps = maps(recording, item, kind, layer, head)?;
        let title = match head {
            HeadChoice::One(_) => maps[0].id().to_string(),
            HeadChoice::Mean => format!("L{layer}, mean of {}", crate::words::counted(maps.len(), "head")),
        };
        let row_tokens = row_tokens(&maps[0], arguments.label_rows);
        let blank = View {
            title,
            weights: Vec::new(),
            rows: None,
            columns: None,
            size: (0, 0),
            row_axis: row_axis(kind, row_tokens),
            column_axis: if kind == Kind::Decoder { "target" } else { "source" },
            remarks: Vec::new(),
        };
        match maps[0].n_queries().checked_mul(maps[0].n_keys()) {
            Some(n_weights) if n_weights <= MAX_WEIGHTS => blank.whole(&maps, row_tokens, arguments),
            _ => blank.overview(&maps, arguments),
        }
    }

    fn whole(
        self,
        maps: &[AttentionMap<'_>],
        row_tokens: RowTokens,
        arguments: &ViewArguments,
    ) -> Result<View, Failure> {
        let mut grids: Vec<Grid> = maps.iter().map(|map| Grid::of(map, row_tokens)).collect();
        let grid = if grids.len() == 1 { grids.pop() } else { mean_over_heads(&grids) };
        let mut grid = grid.ok_or_else(|| Failure::Input("the layer has no head".into()))?;
        let mut remarks = Vec::new();
        if arguments.words {
            grid = grid.words();
        }
        if arguments.special == Special::Hide {
            let (shown, hidden) = grid.hide_special();
            grid = shown;
            remarks.extend(removed(&hidden));
        }
        if grid.rows.is_empty() || grid.columns.is_empty() {
            return Err(Failure::Usage("--special hide leaves no row or no column; show special tokens".into()));
        }
        Ok(View {
            size: (grid.rows.len(), grid.columns.len()),
            rows: Some(grid.rows.labels().map(str::to_owned).collect()),
            columns: Some(grid.columns.labels().map(str::to_owned).collect()),
            weights: grid.weights,
            remarks,
            ..self
        })
    }

    /// Tiles of a map too large to hold, each as its largest weight.
    fn overview(self, maps: &[AttentionMap<'_>], arguments: &ViewArguments) -> Result<View, Failure> {
        let (n_queries, n_keys) = (maps[0].n_queries(), maps[0].n_keys());
        if arguments.words || arguments.special == Special::Hide {
            return Err(Failure::Usage(format!(
                "--words and --special hide need the whole map, and {n_queries} × {n_keys} weights are shown as an overview only"
            )));
        }
        let mut pooled = Pooled::empty(Pooling { rows: OVERVIEW_TILES, columns: OVERVIEW_TILES }, n_queries, n_keys);
        for start in (0..n_queries).step_by(BAND) {
            let band = start..(start + BAND).min(n_queries);
            let mut sums = vec![0.0; band.len() * n_keys]; // [band, n_keys]
            for map in maps {
                sums.iter_mut().zip(map.tile(band.clone(), 0..n_keys)).for_each(|(sum, weight)| *sum += weight);
            }
            for (query, row) in band.zip(sums.chunks_mut(n_keys)) {
                row.iter_mut().for_each(|sum| *sum /= maps.len() as f32);
                pooled.add_row(query, row);
            }
        }
        let remark = format!("overview of {n_queries} × {n_keys} weights: each cell is the largest of its tile");
        Ok(View { size: (pooled.rows, pooled.columns), weights: pooled.max, remarks: vec![remark], ..self })
    }

    /// The map as a panel of a figure.
    pub fn panel(&self) -> Result<Panel, Failure> {
        let axis = |name: String, labels: &Option<Vec<String>>, n: usize| match labels {
            Some(labels) => Axis::labelled(name, labels.iter().map(String::as_str)),
            None => Axis::counted(name, n),
        };
        let rows = axis(format!("query ({} token)", self.row_axis), &self.rows, self.size.0);
        let columns = axis(format!("key ({} token)", self.column_axis), &self.columns, self.size.1);
        Ok(Panel::new(self.title.clone(), self.weights.clone(), rows, columns)?)
    }
}

fn maps<'a>(
    recording: &'a Recording,
    item: usize,
    kind: Kind,
    layer: usize,
    head: HeadChoice,
) -> Result<Vec<AttentionMap<'a>>, Failure> {
    let heads = match head {
        HeadChoice::One(head) => vec![head],
        HeadChoice::Mean => (0..recording.layer(kind, layer)?.shape.n_heads).collect(),
    };
    Ok(heads.into_iter().map(|head| recording.map(item, kind, layer, head)).collect::<Result<_, _>>()?)
}

fn row_tokens(map: &AttentionMap<'_>, asked: Option<LabelRows>) -> RowTokens {
    let default = if map.kind() == Kind::Cross { LabelRows::Predicted } else { LabelRows::Read };
    match asked.unwrap_or(default) {
        LabelRows::Predicted if !map.item().predicted.is_empty() => RowTokens::Predicted,
        _ => RowTokens::Read,
    }
}

fn row_axis(kind: Kind, row_tokens: RowTokens) -> &'static str {
    match (kind, row_tokens) {
        (Kind::Encoder, _) => "source",
        (_, RowTokens::Read) => "target",
        (_, RowTokens::Predicted) => "predicted target",
    }
}

fn removed(hidden: &Hidden) -> Option<String> {
    (hidden.columns > 0).then(|| {
        format!(
            "{} hidden, with {:.0} % of the weight on average, up to {:.0} % of a row",
            crate::words::counted(hidden.columns, "special column"),
            hidden.mean_mass * 100.0,
            hidden.largest_mass * 100.0
        )
    })
}
