//! `attlas draw patches`: one row of a head over the image whose patches are its keys.

use std::path::{Path, PathBuf};

use attlas::figure::{self, ColorScale, PatchRow, Pixels};
use attlas::{Item, Kind, PatchGrid, Quantity, Recording, Tokens, View, ViewOptions};
use attlas_model::image::Image;
use clap::Args;

use super::draw::{Common, Drawn, OneHead};
use crate::checks;
use crate::failure::Failure;
use crate::inputs::{is_image_name, pick_layer_in};
use crate::terminal::printable;
use crate::words::counted;

/// What `attlas draw patches` takes besides what all pictures take.
#[derive(Debug, Args)]
pub struct PatchesArguments {
    /// The image that was recorded [default: the image, when one is given instead of a recording].
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    #[command(flatten)]
    pub one: OneHead,
    /// The query: a patch as rROWcCOLUMN, counted from 0, or the name of another token; of a model that looks for objects also the number
    /// of an object query, whose cross-attention is drawn [default: the first]. Of a text with an image in it:
    /// a word, the second of several as it#2, a patch, that of the second image as r0c0#2, or a token by its place [default: the last].
    #[arg(long, value_name = "rYcX | CLS | N | TOKEN")]
    pub query: Option<String>,
    /// Which image of a text, where it has several, counted from 0; --image is its file.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub image_number: usize,
}

/// The picture.
pub fn figure(recording: &Recording, common: &Common, arguments: &PatchesArguments) -> Result<Drawn, Failure> {
    let n_items = recording.items.len();
    let item = recording.items.get(common.item).ok_or(attlas::Error::NoItem { item: common.item, n_items })?;
    let kind = common.kind.unwrap_or_else(|| usual_kind(recording, item, arguments.query.as_deref()));
    let layer = pick_layer_in(recording, common.view.quantity, kind, arguments.one.layer)?;
    let found = recording.layer(kind, layer)?;
    let grid = one_of(found.key_images(item), arguments.image_number, kind)?;
    let queries = found.query_tokens(item);
    let query = match (&arguments.query, kind) {
        (Some(query), Kind::Decoder) => attlas::place::token_of(queries, query, "--query").map_err(Failure::Usage)?,
        (Some(query), _) => find(queries, query).ok_or_else(|| {
            let other = [Kind::Encoder, Kind::Cross]
                .into_iter()
                .find(|other| *other != kind && recording.kinds().contains(other));
            no_query(query, (kind, queries), other.map(|other| (other, item.queries(other))), grid)
        })?,
        // what the answer begins with is read off the last token
        (None, Kind::Decoder) => queries.unpadded(queries.len()).last().copied().unwrap_or(0),
        (None, _) => 0,
    };
    if kind == Kind::Decoder && query < grid.first {
        return Err(Failure::Usage(format!(
            "--query {}: stands before the image, and sees nothing of it",
            printable(&queries.tokens[query].text)
        )));
    }
    let options = ViewOptions {
        quantity: common.view.quantity,
        item: common.item,
        rows: Some(query..query + 1),
        ..ViewOptions::default()
    };
    let view = View::with(recording, kind, layer, arguments.one.head, &options)?;
    let row = view.panel().weights(); // [n_keys]
    let seen = seen_part(&image_file(common, arguments)?, grid)?;
    let is_patch = found.query_images(item).contains(grid) && grid.tokens().contains(&query);
    let in_grid = query.checked_sub(grid.first).filter(|_| is_patch);
    let patches = PatchRow {
        title: view.title().to_owned(),
        query: named(item, queries, kind, query),
        place: in_grid.map(|place| [place / grid.columns, place % grid.columns]),
        grid: [grid.rows, grid.columns],
        weights: row[grid.tokens()].to_vec(),
    };
    let mut style = common.style.style();
    if style.title.is_empty() {
        style.title = format!("{}: what {} looks at", view.title(), patches.query);
    }
    style.captions = outside(found.key_tokens(item), grid, row, view.quantity());
    let scale = ColorScale::over(&patches.weights, view.quantity(), common.style.scale());
    let pixels = Pixels { width: seen.width, height: seen.height, rgb: &seen.pixels };
    let figure = figure::patches(pixels, &patches, &scale, &view.style(&style))?;
    Ok(Drawn { figure, complaint: checks::complaint_of([&view]) })
}

/// The attention that is meant where none is named: of a text with images in it the decoder's, else the encoder's, but cross-attention
/// where only that has the query.
fn usual_kind(recording: &Recording, item: &Item, query: Option<&str>) -> Kind {
    if !item.target_images().is_empty() {
        return Kind::Decoder;
    }
    let has = |kind: Kind| recording.kinds().contains(&kind);
    let is_of = |kind: Kind| query.is_none_or(|query| find(item.queries(kind), query).is_some());
    if has(Kind::Cross) && (!has(Kind::Encoder) || (!is_of(Kind::Encoder) && is_of(Kind::Cross))) {
        return Kind::Cross;
    }
    Kind::Encoder
}

/// The image that is meant. A tower's maps are of one image, whatever the text has.
fn one_of(images: &[PatchGrid], number: usize, kind: Kind) -> Result<&PatchGrid, Failure> {
    images.get(number).ok_or_else(|| match images.len() {
        0 => Failure::Input("the recording's tokens are no patches of an image; `attlas draw map` draws it".into()),
        n => {
            let whose = if kind == Kind::Decoder { "the text has" } else { "these maps are of" };
            Failure::Usage(format!("--image-number {number}: {whose} {}, counted from 0", counted(n, "image")))
        }
    })
}

/// What the query is called in the picture: an object query after what it found, too.
fn named(item: &Item, queries: &Tokens, kind: Kind, query: usize) -> String {
    let name = &queries.tokens[query].text;
    match item.predicted.tokens.get(query) {
        Some(found) if kind == Kind::Cross && *name == format!("q{query}") => format!("{name} ({})", found.text),
        _ => name.clone(),
    }
}

/// The place of a token by its label; of object queries, q0, q1, …, also by the number.
fn find(tokens: &Tokens, query: &str) -> Option<usize> {
    let numbered = format!("q{query}");
    tokens.labels().position(|label| label.eq_ignore_ascii_case(query) || label == numbered)
}

/// What is said of a query that the attention does not have: that another has it, or which there are.
fn no_query(query: &str, own: (Kind, &Tokens), other: Option<(Kind, &Tokens)>, grid: &PatchGrid) -> Failure {
    let names = |tokens: &Tokens| names_of(tokens, grid);
    let there_are = match (own, other) {
        ((kind, _), Some((other, tokens))) if find(tokens, query).is_some() => {
            format!("is a query of {other} attention, not of {kind} attention: --kind {other}")
        }
        ((kind, queries), Some((other, tokens))) => {
            format!("there are {} of {kind} attention, and {} of {other} attention", names(queries), names(tokens))
        }
        ((_, queries), None) => format!("there are {}", names(queries)),
    };
    Failure::Usage(format!("--query {query}: {there_are}"))
}

/// The names of queries, in words; of the patches of an image the first and the last.
fn names_of(tokens: &Tokens, grid: &PatchGrid) -> String {
    let labels: Vec<&str> = tokens.labels().collect();
    match labels.as_slice() {
        [before @ .., last] if *last == format!("r{}c{}", grid.rows - 1, grid.columns - 1) => {
            let others = before.get(..grid.first).unwrap_or_default().join(", ");
            format!("r0c0 to {last}{}{others}", if others.is_empty() { "" } else { ", and " })
        }
        [first, .., last] => format!("{} tokens, {first} to {last}", labels.len()),
        _ => labels.join(", "),
    }
}

/// What the row gives to tokens that stand nowhere in the image: a share, where rows are shares of something. Of many, those that get
/// most are named.
fn outside(tokens: &Tokens, grid: &PatchGrid, row: &[f32], quantity: Quantity) -> Vec<String> {
    const MOST: usize = 6;
    let inside = grid.tokens();
    let mut others: Vec<(&str, f32)> = tokens
        .labels()
        .zip(row.iter().copied())
        .enumerate()
        .filter(|(key, _)| !inside.contains(key))
        .map(|(_, one)| one)
        .collect();
    if others.is_empty() {
        return Vec::new();
    }
    let total: f32 = others.iter().map(|(_, weight)| weight).sum();
    let n_others = others.len();
    if n_others > MOST {
        others.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        others.truncate(MOST);
    }
    let named: Vec<String> = others.iter().map(|(label, weight)| format!("{} {weight:.3}", printable(label))).collect();
    let more = n_others.checked_sub(others.len()).filter(|n| *n > 0);
    let more = more.map_or(String::new(), |n| format!(", and {n} more"));
    let shares = format!("{}{more}", named.join(", "));
    let what = match quantity {
        Quantity::Weight => "weight",
        _ => quantity.words(),
    };
    vec![match quantity.range() {
        (Some(0.0), Some(1.0)) => format!("Tokens outside the image take {total:.3} of the row's {what}: {shares}."),
        _ => format!("Tokens outside the image, {what}: {shares}."),
    }]
}

/// The image's file: the one named, or the one that was given instead of a recording.
fn image_file(common: &Common, arguments: &PatchesArguments) -> Result<PathBuf, Failure> {
    let material = Path::new(&common.material);
    match &arguments.image {
        Some(path) => Ok(path.clone()),
        None if is_image_name(material) => Ok(material.to_path_buf()),
        None => Err(Failure::Usage("--image FILE is needed: a recording does not hold the image itself".into())),
    }
}

/// The longest side, in pixels, of a picture of an image with black around it.
const LONGEST_WITH_BLACK: u64 = 4096;

/// The part of the image that the patches cover, with black where they lie beside it.
fn seen_part(path: &Path, grid: &PatchGrid) -> Result<Image, Failure> {
    let image = Image::open(path)?;
    // an imported map knows no image: its patches cover the whole of any
    let (Some(size), Some(seen)) = (grid.size, grid.seen) else { return Ok(image) };
    if [image.width, image.height] != size {
        let [width, height] = size;
        return Err(Failure::Input(format!(
            "{}: has {} × {} pixels, but the recording was made of an image of {width} × {height}",
            path.display(),
            image.width,
            image.height
        )));
    }
    let [left, top, width, height] = seen;
    let is_within = |start: i64, length: i64, whole: usize| start >= 0 && start + length <= whole as i64;
    // of a small image in much black, one pixel in so many is enough
    let step = match is_within(left, width, image.width) && is_within(top, height, image.height) {
        true => 1,
        false => width.max(height).unsigned_abs().div_ceil(LONGEST_WITH_BLACK).max(1) as usize,
    };
    let places = |start: i64, length: i64| (start..start + length).step_by(step);
    let pixel = |x: i64, y: i64| {
        let is_black = x < 0 || y < 0 || x >= image.width as i64 || y >= image.height as i64;
        let at = if is_black { None } else { Some((y as usize * image.width + x as usize) * 3) };
        at.map_or([0; 3], |at| [0, 1, 2].map(|channel| image.pixels[at + channel]))
    };
    let pixels = places(top, height).flat_map(|y| places(left, width).flat_map(move |x| pixel(x, y))).collect();
    Ok(Image { width: places(left, width).count(), height: places(top, height).count(), pixels })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_no_share_of_a_row() {
        let tokens = Tokens::from_labels(["CLS", "r0c0"]);
        let grid = PatchGrid { rows: 1, columns: 1, first: 1, size: None, seen: None };
        let said = |quantity| outside(&tokens, &grid, &[0.25, 0.75], quantity);
        assert_eq!(said(Quantity::Weight), ["Tokens outside the image take 0.250 of the row's weight: CLS 0.250."]);
        assert_eq!(said(Quantity::Norm), ["Tokens outside the image, norm of weight × value: CLS 0.250."]);
    }
}
