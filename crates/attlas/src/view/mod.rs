//! A map as it is shown: of one head or the mean of a layer, in pieces or words, with or without special tokens.
//!
//! A [`View`] holds the numbers with their labels as a [`Panel`], and all that a reader must be told about them. Every
//! picture, table and film of attlas is drawn from one; `web/src/look.ts` shows the same in the page, and a test holds the
//! two together.

mod class_looks;
mod comparison;
mod distances;
mod head_classes;
mod overview;
pub mod pictures;
mod remarks;
mod whole;
mod words;

use std::ops::Range;

pub use comparison::{DifferenceView, comparison, digits};
pub use distances::distances;
pub use head_classes::head_classes;
pub use remarks::{captions_of, complaint_of};
pub use words::title as heads_title;

use crate::figure::{self, Axis, ColorScale, Figure, Panel, Scale, Style};
use crate::printable::counted;
use crate::{AttentionMap, Error, Kind, Layer, Quantity, Recording, RowTokens, Tokens};

/// Which head of a layer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// One, counted from 0.
    One(usize),
    /// The mean over all heads of the layer, which may look like none of them; the view says so.
    Mean,
}

/// What a place along an axis stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pieces {
    /// One token.
    #[default]
    Apart,
    /// A word: weights are summed over the pieces of a key's word and averaged over those of a query's.
    Words,
}

/// What happens to special tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Specials {
    /// They stay.
    #[default]
    Show,
    /// Their rows and columns go, and the view says what they held. Weights are not rescaled.
    Hide,
}

/// What happens to the silence that a model adds after a short sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Silence {
    /// Its rows and columns go, unless a range asks for them, and the view says what they held. Weights are not rescaled.
    #[default]
    Hide,
    /// It stays, its labels in brackets.
    Show,
}

/// How a map is shown. `ViewOptions::default()` shows every token of the first text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewOptions {
    /// What the numbers shown are: of the layers of this quantity.
    pub quantity: Quantity,
    /// The text of the batch, counted from 0.
    pub item: usize,
    /// Tokens or words.
    pub pieces: Pieces,
    /// Whether special tokens are shown.
    pub specials: Specials,
    /// Whether silence that was added after a sound is shown.
    pub silence: Silence,
    /// What the rows of a decoder are named after; [`RowTokens::usual`] where nothing is said.
    pub row_tokens: Option<RowTokens>,
    /// The rows shown, by the position of their token: counted from 0 along the axis, padding left out, special tokens
    /// counted. A word is shown where all its pieces lie in the range.
    pub rows: Option<Range<usize>>,
    /// The columns shown, as `rows`; the view says what the others held.
    pub columns: Option<Range<usize>>,
    /// Numbers that are held at most; a map that shows more is an overview.
    pub max_weights: usize,
    /// Tiles of an overview from top to bottom, and from left to right, at most.
    pub overview_tiles: usize,
}

impl Default for ViewOptions {
    fn default() -> ViewOptions {
        ViewOptions {
            quantity: Quantity::Weight,
            item: 0,
            pieces: Pieces::Apart,
            specials: Specials::Show,
            silence: Silence::Hide,
            row_tokens: None,
            rows: None,
            columns: None,
            max_weights: 1 << 24,
            overview_tiles: 1024,
        }
    }
}

/// A map as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    kind: Kind,
    panel: Panel,
    words: &'static str,
    rows_are: String,
    columns_are: String,
    removed: Vec<f32>,
    sinks: Vec<f32>,
    problem: Option<String>,
    remarks: Vec<String>,
    origin: Vec<String>,
    notes: Vec<String>,
}

impl View {
    /// The map of one head, or the mean over a layer's heads, for the first text of a recording, with every token.
    ///
    /// # Errors
    /// When the kind, layer or head does not exist; the error says which do.
    pub fn of(recording: &Recording, kind: Kind, layer: usize, head: Head) -> Result<View, Error> {
        View::with(recording, kind, layer, head, &ViewOptions::default())
    }

    /// [`View::of`], shown as `options` say.
    ///
    /// # Errors
    /// Also when a range reaches outside the map, nothing is left to be shown, or words are asked for or special tokens
    /// hidden in a map too large to be held.
    pub fn with(
        recording: &Recording,
        kind: Kind,
        layer: usize,
        head: Head,
        options: &ViewOptions,
    ) -> Result<View, Error> {
        View::of_layer(recording, &*recording.layer_in(options.quantity, kind, layer)?, head, options)
    }

    /// [`View::with`], of a layer of the recording whatever its numbers are; the quantity of `options` does not matter.
    ///
    /// # Errors
    /// As [`View::with`].
    pub fn of_layer(recording: &Recording, layer: &Layer, head: Head, options: &ViewOptions) -> Result<View, Error> {
        let kind = layer.kind;
        let heads = heads(recording, layer, head, options.item)?;
        let [first, ..] = heads.as_slice() else {
            return Err(Error::Inconsistent(format!("{kind} layer {} has no head", layer.index)));
        };
        let row_tokens = match layer.query_axis {
            None => options.row_tokens.unwrap_or(RowTokens::usual(kind)).known(first),
            Some(_) => RowTokens::Read,
        };
        let quantity = layer.quantity;
        let (rows, columns) = (options.rows.as_ref(), options.columns.as_ref());
        let row_names = [row_tokens.of(first), first.query_tokens()];
        let mut rows = Places::new("rows", kind, row_names, first.n_queries(), rows)?;
        let mut columns = Places::new("columns", kind, [first.key_tokens(); 2], first.n_keys(), columns)?;
        if layer.query_axis.is_none() && kind == Kind::Encoder {
            rows.set_silence(first.item().silence(), options.silence);
        }
        if layer.key_axis.is_none() && kind != Kind::Decoder {
            columns.set_silence(first.item().silence(), options.silence);
        }
        let shown = Shown { heads: &heads, quantity, rows, columns };
        let content = match shown.rows.places.len().checked_mul(shown.columns.places.len()) {
            Some(n_numbers) if n_numbers <= options.max_weights => shown.whole(options)?,
            _ => shown.overview(options)?,
        };

        let stack = layer.stack.as_ref().map_or(String::new(), |stack| format!("{stack} "));
        let title = match head {
            _ if layer.shape.n_heads == 1 && quantity != Quantity::Weight => format!("{stack}L{}", layer.index),
            Head::One(_) => format!("{stack}{}", first.id()),
            Head::Mean => format!("{stack}L{}, mean of {}", layer.index, counted(heads.len(), "head")),
        };
        let (rows_are, columns_are) = (rows_are(layer, row_tokens), columns_are(layer));
        let rows = content.rows.axis(format!("query ({rows_are} token)"));
        let columns = content.columns.axis(format!("key ({columns_are} token)"));
        let panel = Panel::new(title, content.numbers, rows, columns)?.measuring(quantity);
        let shown: Vec<usize> = heads.iter().map(|map| map.id().head).collect();
        let problem = recording.check_maps(layer, options.item..options.item + 1, &shown)?.problem();
        let failed = problem.as_ref().map(|problem| format!("this map fails its checks: {problem}"));
        let is_mean = head == Head::Mean && heads.len() > 1;
        let mean = is_mean.then(|| format!("mean over {} heads: a head may look otherwise", heads.len()));
        Ok(View {
            kind,
            panel,
            words: quantity.words_in(&recording.provenance.notes),
            rows_are,
            columns_are,
            removed: content.removed,
            sinks: content.sinks,
            problem,
            remarks: failed.into_iter().chain(mean).chain(content.remarks).collect(),
            origin: origin(recording, options.item),
            notes: recording.remarks_on(options.item, kind),
        })
    }

    /// The kind of attention.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the numbers are.
    pub fn quantity(&self) -> Quantity {
        self.panel.quantity()
    }

    /// What the numbers are, in words: [`Quantity::words_in`].
    pub fn words(&self) -> &'static str {
        self.words
    }

    /// Such as `L3H7` or `L3, mean of 8 heads`.
    pub fn title(&self) -> &str {
        self.panel.title()
    }

    /// The title with the kind of attention, and what the numbers are where they are no weights: `cross-attention L3H7`.
    pub fn heading(&self) -> String {
        let quantity = match self.quantity() {
            Quantity::Weight => String::new(),
            _ => format!(": {}", self.words),
        };
        format!("{} {}{quantity}", self.kind.title(), self.title())
    }

    /// The numbers and both axes, as a figure takes them.
    pub fn panel(&self) -> &Panel {
        &self.panel
    }

    /// The panel alone, for a figure of several.
    pub fn into_panel(self) -> Panel {
        self.panel
    }

    /// What the rows are, such as `predicted target`.
    pub fn rows_are(&self) -> &str {
        &self.rows_are
    }

    /// What the columns are, such as `source`.
    pub fn columns_are(&self) -> &str {
        &self.columns_are
    }

    /// What each row has in columns that are not shown, in 0 ..= 1 for weights; empty for an overview. Shape `[n_rows]`.
    pub fn removed(&self) -> &[f32] {
        &self.removed
    }

    /// What a learned sink takes from each row, in 0 ..= 1; empty for an overview. Shape `[n_rows]`.
    pub fn sinks(&self) -> &[f32] {
        &self.sinks
    }

    /// What is wrong with the numbers, where they fail their checks; a [remark](Self::remarks) says it, too.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// What a reader must know of this view: that its numbers fail their checks, that it is a mean, which part is shown, what is hidden and what that held.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// All that stands below a picture: the model, the text where there are several, the [remarks](Self::remarks), and what the
    /// recording says of itself.
    pub fn captions(&self) -> Vec<String> {
        [self.origin.as_slice(), &self.remarks, &self.notes].concat()
    }

    /// `style` with the heading, where it has none, and the captions before its own.
    pub fn style(&self, style: &Style) -> Style {
        let title = if style.title.is_empty() { self.heading() } else { style.title.clone() };
        Style { title, captions: [self.captions(), style.captions.clone()].concat(), ..style.clone() }
    }

    /// The view as a map, on a linear scale and in the usual style.
    pub fn map(&self) -> Figure {
        figure::map(&self.panel, &self.scale(Scale::Linear), &self.style(&Style::default()))
    }

    /// The view as lines from queries to keys, on a linear scale and in the usual style.
    pub fn lines(&self) -> Figure {
        figure::lines(&self.panel, &self.scale(Scale::Linear), &self.style(&Style::default()))
    }

    /// The colour scale that holds its numbers.
    pub fn scale(&self, kind: Scale) -> ColorScale {
        ColorScale::of([&self.panel], kind).called(self.words)
    }
}

impl Recording {
    /// The kind that tells most: cross-attention, else that of a decoder, else that of an encoder.
    ///
    /// # Errors
    /// When there is no layer.
    pub fn default_kind(&self) -> Result<Kind, Error> {
        self.default_kind_in(Quantity::Weight)
    }

    /// The kind that tells most of those that have maps of `quantity`.
    ///
    /// # Errors
    /// When there is no such layer.
    pub fn default_kind_in(&self, quantity: Quantity) -> Result<Kind, Error> {
        let kinds = self.kinds_in(quantity);
        let found = [Kind::Cross, Kind::Decoder, Kind::Encoder].into_iter().find(|kind| kinds.contains(kind));
        found.ok_or_else(|| {
            let (available, what) = (self.available(), quantity.words());
            Error::Inconsistent(match quantity {
                Quantity::Weight => format!("the recording has no attention weights to show; it has {available}"),
                _ => format!("the recording keeps no map of {what}; it has weights of {available}"),
            })
        })
    }

    /// The last layer of a kind: its true index in the model.
    ///
    /// # Errors
    /// [`Error::NoKind`], which says what there is.
    pub fn last_layer(&self, kind: Kind) -> Result<usize, Error> {
        self.last_layer_in(Quantity::Weight, kind)
    }

    /// The last layer of a kind that has maps of `quantity`.
    ///
    /// # Errors
    /// [`Error::NoKind`], which says what there is.
    pub fn last_layer_in(&self, quantity: Quantity, kind: Kind) -> Result<usize, Error> {
        let last = self.layers_in(quantity, kind).last().map(|layer| layer.index);
        last.map_or_else(|| self.layer_in(quantity, kind, 0).map(|layer| layer.index), Ok)
    }
}

/// The maps that a view is made of.
fn heads<'a>(
    recording: &'a Recording,
    layer: &'a Layer,
    head: Head,
    item: usize,
) -> Result<Vec<AttentionMap<'a>>, Error> {
    match head {
        Head::One(head) => Ok(vec![recording.map_of(layer, item, head)?]),
        Head::Mean => (0..layer.shape.n_heads).map(|head| recording.map_of(layer, item, head)).collect(),
    }
}

/// What is to be shown, before anything is computed.
struct Shown<'a> {
    heads: &'a [AttentionMap<'a>],
    quantity: Quantity,
    rows: Places<'a>,
    columns: Places<'a>,
}

/// The places of an axis that are shown.
struct Places<'a> {
    /// `rows` or `columns`.
    axis: &'static str,
    /// The tokens that name all places, padding included.
    tokens: &'a Tokens,
    /// The places shown, rising.
    places: Vec<usize>,
    /// The other places that are not padding.
    others: Vec<usize>,
    /// The range asked for, and how many places there are besides padding.
    range: Option<(Range<usize>, usize)>,
    /// The places that hold added silence, shown or not.
    silence: Range<usize>,
}

impl<'a> Places<'a> {
    /// The places of `range`, padding left out: `tokens` name them, and `read` say which are padding.
    fn new(
        axis: &'static str,
        kind: Kind,
        [tokens, read]: [&'a Tokens; 2],
        n: usize,
        range: Option<&Range<usize>>,
    ) -> Result<Places<'a>, Error> {
        let all = read.unpadded(n);
        let Some(asked) = range else {
            return Ok(Places { axis, tokens, places: all, others: Vec::new(), range: None, silence: 0..0 });
        };
        match all.get(asked.clone()) {
            Some(places) if !places.is_empty() => {
                let others = [&all[..asked.start], &all[asked.end..]].concat();
                let range = Some((asked.clone(), all.len()));
                Ok(Places { axis, tokens, places: places.to_vec(), others, range, silence: 0..0 })
            }
            _ => Err(Error::OutsideMap { axis, range: asked.clone(), kind, n: all.len() }),
        }
    }
}

impl Places<'_> {
    /// Says which places hold added silence, and hides them where that is asked for and no range says otherwise.
    fn set_silence(&mut self, silence: Range<usize>, what: Silence) {
        let n_sound = self.places.iter().take_while(|place| !silence.contains(place)).count();
        if what == Silence::Hide && self.range.is_none() && n_sound > 0 {
            self.others.extend(self.places.drain(n_sound..));
        }
        self.silence = silence;
    }

    /// The silence that is hidden, or shown, in words: `1470 columns of added silence, from 0.60s on`.
    fn silence_of(&self, places: &[usize]) -> Option<String> {
        let mut silent = places.iter().filter(|place| self.silence.contains(place));
        let first = self.tokens.tokens.get(*silent.next()?)?;
        let n = counted(1 + silent.count(), self.axis.trim_end_matches('s'));
        Some(format!("{n} of added silence, from {} on", first.text))
    }
}

/// What a view holds, computed.
struct Content {
    /// Shape `[rows, columns]`.
    numbers: Vec<f32>,
    rows: Labels,
    columns: Labels,
    removed: Vec<f32>,
    sinks: Vec<f32>,
    remarks: Vec<String>,
}

/// What stands along an axis.
enum Labels {
    /// A text at each place.
    Texts(Vec<String>),
    /// `n` tiles of the `of` tokens from `first` on.
    Tiles { n: usize, first: usize, of: usize },
    /// `n` tiles of the frames from `first` on, with the time of each.
    Times { n: usize, first: usize, times: Vec<String> },
}

impl Labels {
    fn axis(self, name: String) -> Axis {
        match self {
            Labels::Texts(labels) => Axis::labelled(name, labels),
            Labels::Tiles { n, first, of } => Axis::tiles(name, n, first..first + of),
            Labels::Times { n, first, times } => Axis::labelled_tiles(name, n, first, times),
        }
    }
}

/// What the rows are; an axis of a name of its own has that.
fn rows_are(layer: &Layer, row_tokens: RowTokens) -> String {
    let usual = match (layer.kind, row_tokens) {
        (Kind::Encoder, _) => "source",
        (_, RowTokens::Read) => "target",
        (_, RowTokens::Predicted) => "predicted target",
    };
    layer.query_axis.as_deref().unwrap_or(usual).to_owned()
}

fn columns_are(layer: &Layer) -> String {
    let usual = if layer.kind == Kind::Decoder { "target" } else { "source" };
    layer.key_axis.as_deref().unwrap_or(usual).to_owned()
}

/// Where a view comes from: the model, and which of several texts.
fn origin(recording: &Recording, item: usize) -> Vec<String> {
    const LONGEST: usize = 80;
    let model = &recording.provenance.model;
    let mut origin = if model.is_empty() { Vec::new() } else { vec![format!("model: {model}")] };
    if recording.items.len() > 1 {
        let tokens = &recording.items[item];
        let text = if tokens.source.text.is_empty() { &tokens.target.text } else { &tokens.source.text };
        let cut: String = text.chars().take(LONGEST).collect();
        let dots = if cut.len() < text.len() { "…" } else { "" };
        let text = if text.is_empty() { String::new() } else { format!(": {cut}{dots}") };
        origin.push(format!("text {item} of {}, counted from 0{text}", recording.items.len()));
    }
    origin
}

/// Places side by side, together: padding between tokens is not read.
fn neighbours(places: &[usize]) -> impl Iterator<Item = &[usize]> {
    places.chunk_by(|place, next| place + 1 == *next)
}
