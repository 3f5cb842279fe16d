//! What is served, and what questions about it come to: from a question to numbers.

use std::sync::Arc;

use attlas::{HeadNumbers, Kind, Quantity};
use attlas_viewer::PageOptions;
use axum::body::Bytes;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::bytes;
use crate::cache::Cache;
use crate::desk::{Desk, GivenUp, Wanted};
use crate::figure::{self, FigureAsk};
use crate::library::{Library, Served};
use crate::lines::{self, At};
use crate::map::{Asked, Source, n_bytes, n_multiplications};
use crate::places::Places;
use crate::refusal::Refusal;
use crate::runs::Runs;
use crate::tile::{MAX_PIXELS, MAX_SIDE, Painter, Part, Pool, Values};

/// Multiplications of all pictures of a list together, where that is more than a row for each row of pixels.
const OF_LIST: u64 = 30_000_000_000;
/// Multiplications of a slice of what takes long: some milliseconds.
const SLICE: u64 = 400_000_000;
/// Multiplications of a picture of every cell at most: about a minute.
pub const MAX_EXACT: u64 = 4_000_000_000_000;
/// Queries that are read apart from the others of their head at most.
const APART: usize = 256;
/// Heads whose lines or cells are read in one computation.
const HEADS_AT_ONCE: usize = 4;

/// Bytes of pictures, of heads' numbers and of axes that are kept.
const KEPT_TILES: usize = 128 << 20;
const KEPT_HEADS: usize = 512 << 20;
const KEPT_AXES: usize = 64 << 20;
/// What a kept picture takes beside its bytes and its key's, once for each of the two places a cache holds keys in.
const OF_ENTRY: usize = 100;

/// All that answers questions.
pub struct App {
    pub library: Arc<Library>,
    pub desk: Desk,
    pub runs: Arc<Runs>,
    /// Multiplications of a picture that are done at once; of one that takes more, some of the rows are read.
    at_once: u64,
    tiles: Cache<(u64, String), Bytes>,
    heads: Cache<(u64, usize, usize, usize), Arc<HeadNumbers>>,
    axes: Cache<(u64, usize, Side, String), Arc<Places>>,
}

/// One of a text's two axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Source,
    Target,
}

/// An axis as a client sends it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AxisAsk {
    pub item: usize,
    pub axis: Side,
    /// From the first token to before the second, padding not counted.
    pub stretches: Vec<[usize; 2]>,
}

/// A question about a map, or the heads of a kind; each kind of question needs its own part of this.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    pub item: usize,
    #[serde(default)]
    pub quantity: Quantity,
    pub kind: Kind,
    pub layer: Option<usize>,
    /// The mean over the layer's heads where none is said.
    pub head: Option<usize>,
    /// Axes, by what they are: `all`, or the name that was given for one.
    #[serde(default = "all")]
    pub queries: String,
    #[serde(default = "all")]
    pub keys: String,
    pub top: Option<usize>,
    pub bottom: Option<usize>,
    pub left: Option<usize>,
    pub right: Option<usize>,
    pub height: Option<usize>,
    pub width: Option<usize>,
    pub pool: Option<Pool>,
    #[serde(default)]
    pub values: Values,
    #[serde(default)]
    pub exact: bool,
    pub row: Option<usize>,
    pub column: Option<usize>,
}

fn all() -> String {
    "all".to_owned()
}

/// What is needed, and was not said.
fn needed<T>(value: Option<T>, name: &str) -> Result<T, Refusal> {
    value.ok_or_else(|| Refusal::ask(format!("the question lacks {name}")))
}

impl App {
    pub fn new(library: Library, desk: Desk, runs: Runs, at_once: u64) -> App {
        let (library, runs) = (Arc::new(library), Arc::new(runs));
        App {
            library,
            desk,
            runs,
            at_once,
            tiles: Cache::new(KEPT_TILES),
            heads: Cache::new(KEPT_HEADS),
            axes: Cache::new(KEPT_AXES),
        }
    }

    /// The recording with this id, opened by a thread of the desk where it is not yet.
    pub async fn recording(self: &Arc<App>, id: &str) -> Result<Arc<Served>, Refusal> {
        let (app, id) = (Arc::clone(self), id.to_owned());
        match self.library.opened(&id) {
            Some(served) => {
                // a folder may be slow; and what computes is not waited for
                let check = tokio::task::spawn_blocking(move || served.check().map(|()| served));
                check.await.map_err(|_| Refusal::broken())?
            }
            None => self.desk.compute(move || app.library.get(&id)).await?,
        }
    }

    /// The recording without its numbers, as the page describes it.
    pub async fn atlas(self: &Arc<App>, id: &str) -> Result<Bytes, Refusal> {
        let served = self.recording(id).await?;
        let make = async || {
            let (served, at_once) = (Arc::clone(&served), self.at_once);
            self.desk.compute(move || atlas(&served, at_once)).await?
        };
        // who asks meanwhile waits here, not on a thread of the desk: it may be one that the first one's pieces need
        served.atlas.get_or_try_init(make).await.cloned()
    }

    /// Takes an axis in; its name.
    pub async fn add_axis(self: &Arc<App>, id: &str, body: Bytes) -> Result<String, Refusal> {
        let served = self.recording(id).await?;
        let app = Arc::clone(self);
        self.desk
            .compute(move || {
                let ask: AxisAsk = serde_json::from_slice(&body)
                    .map_err(|error| Refusal::ask(format!("the axis cannot be read: {error}")))?;
                let places = Places::of(&kept(&served, ask.item, ask.axis)?, &ask.stretches)?;
                let mut hash = Sha256::new();
                ask.stretches.iter().flatten().for_each(|end| hash.update((*end as u64).to_le_bytes()));
                let name: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
                let n_bytes = places.n_bytes();
                app.axes.put((served.number, ask.item, ask.axis, name.clone()), Arc::new(places), n_bytes);
                Ok(name)
            })
            .await?
    }

    fn places(&self, served: &Served, item: usize, side: Side, name: &str) -> Result<Arc<Places>, Refusal> {
        let key = (served.number, item, side, name.to_owned());
        if let Some(places) = self.axes.get(&key) {
            return Ok(places);
        }
        if name != "all" {
            return Err(Refusal::axis());
        }
        let places = Arc::new(Places::all(kept(served, item, side)?));
        self.axes.put(key, Arc::clone(&places), places.n_bytes());
        Ok(places)
    }

    /// What a question is about.
    fn asked(&self, served: &Arc<Served>, ask: &Ask) -> Result<Asked, Refusal> {
        let layer = served.layer(ask.quantity, ask.kind, needed(ask.layer, "a layer")?)?;
        let n_heads = served.layers[layer].shape.n_heads;
        let heads = match ask.head {
            None => 0..n_heads,
            Some(head) if head < n_heads => head..head + 1,
            Some(head) => {
                return Err(Refusal::absent(format!(
                    "{} has no head {head}; its heads are 0 to {}",
                    served.layers[layer],
                    n_heads.saturating_sub(1)
                )));
            }
        };
        let [queries, keys] = sides(ask.kind);
        let queries = self.places(served, ask.item, queries, &ask.queries)?;
        let keys = self.places(served, ask.item, keys, &ask.keys)?;
        Ok(Asked { recording: Arc::clone(served), layer, item: ask.item, heads, queries, keys })
    }

    /// The numbers of the heads that are asked for, read where they are not held.
    fn numbers(&self, asked: &Asked) -> Result<Source, Refusal> {
        check_held(asked.layer(), asked.heads.len())?;
        let read = |head: usize| match self.held(asked, head) {
            Some(numbers) => Ok(numbers),
            None => {
                let map = asked.recording.recording.map_of(asked.layer(), asked.item, head)?;
                let numbers = Arc::new(map.into_numbers()?);
                let key = (asked.recording.number, asked.layer, asked.item, head);
                self.heads.put(key, Arc::clone(&numbers), numbers.n_bytes());
                Ok(numbers)
            }
        };
        asked.heads.clone().map(read).collect::<Result<_, attlas::Error>>().map(Source::Memory).map_err(Refusal::from)
    }

    fn held(&self, asked: &Asked, head: usize) -> Option<Arc<HeadNumbers>> {
        self.heads.get(&(asked.recording.number, asked.layer, asked.item, head))
    }

    /// A picture of a part.
    pub async fn tile(self: &Arc<App>, id: &str, ask: Ask) -> Result<Bytes, Refusal> {
        let served = self.recording(id).await?;
        self.painted(served, ask, self.at_once).await
    }

    /// A picture, computed unless it is kept.
    async fn painted(self: &Arc<App>, served: Arc<Served>, ask: Ask, budget: u64) -> Result<Bytes, Refusal> {
        // by what is asked, not by the words it is asked with: those are the client's, and as long as it likes
        let key = (served.number, format!("{budget} {ask:?}"));
        if let Some(tile) = self.tiles.get(&key) {
            return Ok(tile);
        }
        let n_bytes_of_key = 2 * (key.1.len() + OF_ENTRY); // a cache holds keys twice
        let tile = self.paint(served, ask, budget).await?;
        self.tiles.put(key, tile.clone(), tile.len() + n_bytes_of_key);
        Ok(tile)
    }

    /// A picture, of which so many multiplications are done unless every cell is to be read.
    async fn paint(self: &Arc<App>, served: Arc<Served>, ask: Ask, budget: u64) -> Result<Bytes, Refusal> {
        let exact = ask.exact;
        let asked = self.asked(&served, &ask)?;
        let part = part(&asked, &ask)?;
        let every = if exact { 1 } else { part.every(&asked, budget) };
        let cost = part.cost(&asked, every);
        if exact && cost > MAX_EXACT {
            return Err(Refusal::limit(format!(
                "every cell of this part takes {:.1} trillion multiplications, and {:.0} trillion are done for a picture; a smaller part \
                 can be read as it is",
                cost as f64 / 1e12,
                MAX_EXACT as f64 / 1e12
            )));
        }
        let wanted = Wanted::default();
        let begin = {
            let (app, given_up) = (Arc::clone(self), wanted.watch());
            move || app.painter(asked, part, every, &given_up)
        };
        if !exact || cost <= self.at_once {
            let given_up = wanted.watch();
            let paint = move || {
                let mut painter = begin()?;
                painter.paint(u64::MAX, &given_up)?;
                Ok(bytes::tile(&painter.finish()))
            };
            return self.desk.compute(paint).await?;
        }
        let _place = self.desk.long().await?;
        let mut painter = self.desk.compute(begin).await??;
        loop {
            let given_up = wanted.watch();
            let slice = move || painter.paint(SLICE, &given_up).map(|is_done| (painter, is_done));
            let (next, is_done) = self.desk.compute(slice).await??;
            if is_done {
                return self.desk.compute(move || bytes::tile(&next.finish())).await;
            }
            painter = next;
        }
    }

    /// A picture that is begun: rows far apart are read by themselves, unless the head is held.
    fn painter(&self, asked: Asked, part: Part, every: usize, given_up: &GivenUp) -> Result<Painter, Refusal> {
        let n_read = asked.queries.tokens_of(part.rows.clone()).len() / every;
        let is_sparse = every >= 4 && n_read <= APART && asked.heads.len() == 1;
        let is_single = asked.queries.are_single(part.rows.clone());
        let source = match is_sparse && is_single && self.held(&asked, asked.heads.start).is_none() {
            true => Source::File,
            false if given_up.is() => return Err(Refusal::busy()),
            false => self.numbers(&asked)?,
        };
        Ok(Painter::new(asked, source, part, every))
    }

    /// One picture of a list of `n`.
    pub async fn listed(self: &Arc<App>, served: Arc<Served>, ask: Ask, n: usize) -> Result<Bytes, Refusal> {
        let budget = (OF_LIST / n.max(1) as u64).min(self.at_once);
        self.painted(served, ask, budget).await
    }

    /// A row or a column.
    pub async fn line(self: &Arc<App>, id: &str, ask: Ask) -> Result<Bytes, Refusal> {
        let served = self.recording(id).await?;
        let asked = self.asked(&served, &ask)?;
        let at = match (ask.row, ask.column) {
            (Some(row), None) if row < asked.queries.len() => At::Row(row),
            (None, Some(column)) if column < asked.keys.len() => At::Column(column),
            _ => return Err(outside(&asked, &ask)),
        };
        let app = Arc::clone(self);
        self.desk
            .compute(move || {
                let source = app.numbers(&asked)?;
                let line = match at {
                    At::Row(row) => lines::row(&asked, &source, row)?,
                    At::Column(place) | At::Cell { column: place, .. } => lines::column(&asked, &source, place)?,
                };
                Ok(bytes::line(&line))
            })
            .await?
    }

    /// The terms of a weight of one head, its query and key counted along their axes without padding.
    pub async fn terms(self: &Arc<App>, id: &str, ask: Ask) -> Result<String, Refusal> {
        let served = self.recording(id).await?;
        let asked = self.asked(&served, &ask)?;
        if asked.heads.len() != 1 {
            return Err(Refusal::ask("scores are those of one head, not of the mean over several"));
        }
        let (Some(query), Some(key)) = (ask.row, ask.column) else { return Err(outside(&asked, &ask)) };
        if query >= asked.queries.len() || key >= asked.keys.len() {
            return Err(outside(&asked, &ask));
        }
        let (query, key) = (asked.queries.tokens(query)[0], asked.keys.tokens(key)[0]);
        self.desk.compute(move || Ok(bytes::terms(&lines::terms(&asked, query, key)?))).await?
    }

    /// What all heads of a kind do at a place.
    pub async fn heads(self: &Arc<App>, id: &str, ask: Ask) -> Result<Vec<u8>, Refusal> {
        let served = self.recording(id).await?;
        let mut answer = Vec::new();
        let wanted = Wanted::default();
        let is_meant = |layer: &&attlas::Layer| (layer.quantity, layer.kind) == (ask.quantity, ask.kind);
        for layer in served.layers.iter().filter(is_meant) {
            let asked = self.asked(&served, &Ask { layer: Some(layer.index), head: None, ..ask.clone() })?;
            let at = match (ask.row, ask.column) {
                (Some(row), Some(column)) if row < asked.queries.len() && column < asked.keys.len() => {
                    At::Cell { row, column }
                }
                (Some(row), None) if row < asked.queries.len() => At::Row(row),
                (None, Some(column)) if column < asked.keys.len() => At::Column(column),
                _ => return Err(outside(&asked, &ask)),
            };
            for first in (0..layer.shape.n_heads).step_by(HEADS_AT_ONCE) {
                let heads = first..(first + HEADS_AT_ONCE).min(layer.shape.n_heads);
                let (app, asked, given_up) = (Arc::clone(self), asked.clone(), wanted.watch());
                let some = self.desk.compute(move || app.some_heads(&asked, heads, at, &given_up)).await??;
                answer.extend(some);
            }
        }
        Ok(answer)
    }

    fn some_heads(
        &self,
        asked: &Asked,
        heads: std::ops::Range<usize>,
        at: At,
        given_up: &GivenUp,
    ) -> Result<Vec<u8>, Refusal> {
        let mut answer = Vec::new();
        for head in heads.take_while(|_| !given_up.is()) {
            let one = Asked { heads: head..head + 1, ..asked.clone() };
            let held = self.held(&one, head);
            let found = lines::at(&one, held.as_deref(), at, given_up)?;
            bytes::push_head(&mut answer, one.layer().index, head, found);
        }
        Ok(answer)
    }

    /// A picture to keep.
    pub async fn figure(self: &Arc<App>, id: &str, ask: FigureAsk) -> Result<Vec<u8>, Refusal> {
        let served = self.recording(id).await?;
        check_figure(&served, &ask)?;
        let place = self.desk.long().await?;
        let draw = move || {
            let _place = place; // taken until it is drawn, also where nobody waits any more
            figure::draw(&served, &ask)
        };
        self.desk.compute(draw).await?
    }

    /// Opens a changed file anew.
    pub async fn reopen(self: &Arc<App>, id: &str) -> Result<(), Refusal> {
        let (app, id) = (Arc::clone(self), id.to_owned());
        self.desk.compute(move || app.library.reopen(&id)).await??;
        Ok(())
    }
}

/// Refuses heads whose numbers take more at once than may be held.
fn check_held(layer: &attlas::Layer, n_heads: usize) -> Result<(), Refusal> {
    let n_bytes = n_bytes(layer).saturating_mul(n_heads);
    if n_bytes <= KEPT_HEADS {
        return Ok(());
    }
    let (what, instead) = match n_heads {
        1 => (format!("a head of {layer}"), "a row of it, or what heads do at one place, can be asked for"),
        _ => (format!("the mean over the {n_heads} heads of {layer}"), "single heads can be shown"),
    };
    Err(Refusal::limit(format!(
        "{what} takes {} MB of numbers at once, and {} MB may be held; {instead}",
        n_bytes >> 20,
        KEPT_HEADS >> 20
    )))
}

/// Refuses a picture of maps that take too much.
fn check_figure(served: &Served, ask: &FigureAsk) -> Result<(), Refusal> {
    let shown = figure::shown(served, ask)?;
    shown.mean_of.iter().try_for_each(|layer| check_held(layer, layer.shape.n_heads))?;
    if shown.n_multiplications <= MAX_EXACT {
        return Ok(());
    }
    Err(Refusal::limit(format!(
        "the maps of this picture take {:.1} trillion multiplications, and {:.0} trillion are done for a picture; one of fewer heads \
         can be drawn",
        shown.n_multiplications as f64 / 1e12,
        MAX_EXACT as f64 / 1e12
    )))
}

/// The axes of a kind's queries and keys.
fn sides(kind: Kind) -> [Side; 2] {
    match kind {
        Kind::Encoder => [Side::Source; 2],
        Kind::Decoder => [Side::Target; 2],
        Kind::Cross => [Side::Target, Side::Source],
    }
}

/// The positions of a text's tokens that are no padding.
fn kept(served: &Served, item: usize, side: Side) -> Result<Vec<usize>, Refusal> {
    let items = &served.recording.items;
    let tokens = items.get(item).ok_or(attlas::Error::NoItem { item, n_items: items.len() })?;
    let tokens = if side == Side::Source { &tokens.source } else { &tokens.target };
    Ok(tokens.unpadded(tokens.len()))
}

/// The part that a question says.
fn part(asked: &Asked, ask: &Ask) -> Result<Part, Refusal> {
    let (n_rows, n_columns) = (asked.queries.len(), asked.keys.len());
    let range = |first: Option<usize>, end: Option<usize>, n: usize, what: &str| {
        let (first, end) = (first.unwrap_or(0), end.unwrap_or(n));
        if first < end && end <= n {
            return Ok(first..end);
        }
        Err(Refusal::ask(format!("the part has {what} {first} to {end} (not included), but the map has {n}")))
    };
    let rows = range(ask.top, ask.bottom, n_rows, "rows")?;
    let columns = range(ask.left, ask.right, n_columns, "columns")?;
    let (height, width) = (needed(ask.height, "a height")?, needed(ask.width, "a width")?);
    let (height, width) = (height.min(rows.len()), width.min(columns.len()));
    if height == 0 || width == 0 || height > MAX_SIDE || width > MAX_SIDE || height * width > MAX_PIXELS {
        return Err(Refusal::limit(format!(
            "a picture of {height} × {width} pixels was asked for; there can be 1 to {MAX_SIDE} along a side and {MAX_PIXELS} in all"
        )));
    }
    Ok(Part { rows, columns, height, width, pool: ask.pool.unwrap_or(Pool::Max), values: ask.values })
}

fn outside(asked: &Asked, ask: &Ask) -> Refusal {
    let said = |place: Option<usize>| place.map_or("none".to_owned(), |place| place.to_string());
    Refusal::ask(format!(
        "row {} and column {} were asked for, but the map has {} rows and {} columns, counted from 0",
        said(ask.row),
        said(ask.column),
        asked.queries.len(),
        asked.keys.len()
    ))
}

/// How many pictures' multiplications all maps of a recording may take together, for its heads to be measured and its rows
/// checked when it is opened.
const LOOKED_AT: u64 = 10;

/// What is said of a longer one.
const UNCHECKED: &str = "the maps are too large to be looked at when the recording is opened: nobody checked that their rows sum to 1 \
                         and hold no NaN, and what stands out was not looked for unless the run did";

fn atlas(served: &Served, at_once: u64) -> Result<Bytes, Refusal> {
    let recording = &served.recording;
    let is_small = n_multiplications(&served.layers, recording.items.len()) <= at_once.saturating_mul(LOOKED_AT);
    let standouts = match &served.found.standouts {
        Some(standouts) => standouts.clone(),
        None if is_small => attlas::analysis::standouts(&attlas::analysis::measure_all(recording)?),
        None => Vec::new(),
    };
    let options = PageOptions {
        title: served.found.title.clone(),
        open: served.found.open,
        standouts,
        description: served.found.description.clone(),
        effects: served.found.effects.clone(),
        model_place: served.found.model_place.clone(),
        recording_place: served.found.recording_place.clone(),
        checks: Some(if is_small { recording.check()? } else { Vec::new() }),
        remarks: if is_small { Vec::new() } else { vec![UNCHECKED.to_owned()] },
        ..PageOptions::default()
    };
    let json = attlas_viewer::atlas(recording, &options).map_err(|error| Refusal::unreadable(error.to_string()))?;
    Ok(json.into())
}
