//! What stands beside an item's tokens: the picture or the sound that they are of, the tree of its sentence.

use attlas::analysis::TreeWords;
use attlas::conllu::Sentence;
use attlas::figure::Bitmap;
use attlas::{Error, Item, PatchGrid, Tokens};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::items::kept;

/// Pixels of a picture's longer side at most: more than the patches of a model tell apart.
const LONGEST: usize = 384;

/// What a text's tokens are of, where there is more to show than they.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Beside {
    /// The image whose patches the source's tokens are, whole and upright: as [`PatchGrid::size`] says, where it says it.
    pub picture: Option<Bitmap>,
    /// The sound whose frames the source's tokens are.
    pub sound: Option<Sound>,
    /// A sentence whose text is that of the source or of the target, with its tree.
    pub tree: Option<Sentence>,
}

/// A sound as a picture: how loud it is at each time and pitch.
#[derive(Debug, Clone, PartialEq)]
pub struct Sound {
    /// Bands of pitch.
    pub n_mels: usize,
    /// From the quietest to the loudest, the lowest band first. Shape `[n_mels, n_frames]`.
    pub loudness: Vec<u8>,
    /// Seconds that a frame lasts.
    pub frame_seconds: f64,
    /// Seconds that a source token lasts.
    pub token_seconds: f64,
    /// The lowest and the highest pitch, in hertz.
    pub hertz: [f64; 2],
}

/// A picture, and where the patches lie in it.
#[derive(Serialize)]
pub struct PageImage {
    width: usize,
    height: usize,
    /// The picture as a `data:` address; empty where none was given.
    src: String,
    first: usize,
    rows: usize,
    columns: usize,
    /// Left, top, width and height of what the patches cover, in pixels of the picture.
    seen: [f64; 4],
}

#[derive(Serialize)]
pub struct PageSound {
    n_mels: usize,
    n_frames: usize,
    /// Base64.
    loudness: String,
    frame_seconds: f64,
    token_seconds: f64,
    /// Where added silence begins, in seconds.
    silent_from: Option<f64>,
    hertz: [f64; 2],
}

#[derive(Serialize)]
pub struct PageTree<'a> {
    /// The text that it is of: `source` or `target`.
    of: &'static str,
    words: Vec<PageTreeWord<'a>>,
}

#[derive(Serialize)]
struct PageTreeWord<'a> {
    text: &'a str,
    /// The places of its tokens, padding left out.
    tokens: Vec<usize>,
    head: Option<usize>,
    relation: &'a str,
}

impl PageImage {
    /// Where the patches of a grid lie in the picture, or on white where none is there.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when the picture has another size than the one that was recorded.
    pub fn new(grid: &PatchGrid, picture: Option<&Bitmap>) -> Result<PageImage, Error> {
        let PatchGrid { first, rows, columns, .. } = *grid;
        let [width, height] = picture.map(|it| [it.width, it.height]).or(grid.size).unwrap_or([columns, rows]);
        if let (Some(recorded), Some(_)) = (grid.size.filter(|size| *size != [width, height]), picture) {
            let [recorded_width, recorded_height] = recorded;
            return Err(Error::Inconsistent(format!(
                "the picture has {width} × {height} pixels, but the recording was made of one of {recorded_width} × {recorded_height}"
            )));
        }
        let seen = grid.seen.unwrap_or([0, 0, width as i64, height as i64]);
        let small = picture.map(|picture| scaled(picture, LONGEST)).transpose()?;
        let src = match &small {
            Some(small) => format!("data:image/png;base64,{}", STANDARD.encode(small.to_png()?)),
            None => String::new(),
        };
        let size = small.map_or([width, height], |small| [small.width, small.height]);
        let [across, down] = [size[0] as f64 / width as f64, size[1] as f64 / height as f64];
        let seen = [seen[0] as f64 * across, seen[1] as f64 * down, seen[2] as f64 * across, seen[3] as f64 * down];
        Ok(PageImage { width: size[0], height: size[1], src, first, rows, columns, seen })
    }
}

/// The picture so small that its longer side has at most so many pixels, each the mean of those it stands for.
///
/// # Errors
/// [`Error::Inconsistent`] when it has no pixels, or not as many as its size says.
fn scaled(picture: &Bitmap, longest: usize) -> Result<Bitmap, Error> {
    let Bitmap { width, height, rgb } = picture;
    let (width, height) = (*width, *height);
    if rgb.is_empty() || width.checked_mul(height).and_then(|n| n.checked_mul(3)) != Some(rgb.len()) {
        let n = rgb.len();
        return Err(Error::Inconsistent(format!(
            "a picture of {width} × {height} pixels has {n} bytes, not 3 for each"
        )));
    }
    let size = |side: usize| (side * longest).div_ceil(width.max(height).max(longest)).max(1);
    let (columns, rows) = (size(width), size(height));
    let mut small = Vec::with_capacity(columns * rows * 3); // [rows, columns, 3]
    for row in 0..rows {
        let lines = row * height / rows..((row + 1) * height).div_ceil(rows);
        for column in 0..columns {
            let pixels = column * width / columns..((column + 1) * width).div_ceil(columns);
            let n = (lines.len() * pixels.len()) as u64;
            for channel in 0..3 {
                let of_line = |y: usize| pixels.clone().map(move |x| u64::from(rgb[(y * width + x) * 3 + channel]));
                small.push(((lines.clone().flat_map(of_line).sum::<u64>() + n / 2) / n) as u8);
            }
        }
    }
    Ok(Bitmap { width: columns, height: rows, rgb: small })
}

impl PageSound {
    /// The sound of an item, and where the silence after it begins.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when there are no bands, or frames that are not whole.
    pub fn new(sound: &Sound, item: &Item) -> Result<PageSound, Error> {
        let Sound { n_mels, ref loudness, frame_seconds, token_seconds, hertz } = *sound;
        if n_mels == 0 || !loudness.len().is_multiple_of(n_mels) {
            let n = loudness.len();
            return Err(Error::Inconsistent(format!(
                "a sound of {n_mels} bands has {n} numbers, not as many for each"
            )));
        }
        Ok(PageSound {
            n_mels,
            n_frames: loudness.len() / n_mels,
            loudness: STANDARD.encode(loudness),
            frame_seconds,
            token_seconds,
            silent_from: item.n_sound.map(|n_sound| n_sound as f64 * token_seconds),
            hertz,
        })
    }
}

impl<'a> PageTree<'a> {
    /// The tree on the tokens of the source, or else of the target.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when neither text is the sentence's.
    pub fn new(sentence: &'a Sentence, item: &Item) -> Result<PageTree<'a>, Error> {
        let is_other =
            item.source.text != sentence.text && (item.target.text == sentence.text || item.source.is_empty());
        let (of, tokens) = if is_other { ("target", &item.target) } else { ("source", &item.source) };
        let units = TreeWords::of(sentence, tokens)?;
        let places = places(tokens);
        let word = |(index, word): (usize, &'a attlas::conllu::Word)| PageTreeWord {
            text: &word.form,
            tokens: units
                .unit(index)
                .map_or(Vec::new(), |unit| units.tokens(unit).filter_map(|position| places[position]).collect()),
            head: word.head,
            relation: &word.relation,
        };
        Ok(PageTree { of, words: sentence.words.iter().enumerate().map(word).collect() })
    }
}

/// The place of each token among those that are not padding. Shape `[tokens.len()]`.
fn places(tokens: &Tokens) -> Vec<Option<usize>> {
    let mut places = vec![None; tokens.len()];
    kept(tokens).into_iter().enumerate().for_each(|(place, position)| places[position] = Some(place));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_picture_is_the_mean_of_what_it_stands_for_and_the_patches_lie_in_it_as_before() {
        let rgb = (0..4 * 800 * 400).map(|place: usize| if place / 3 % 800 < 400 { 10 } else { 31 });
        let picture = Bitmap { width: 800, height: 400, rgb: rgb.take(3 * 800 * 400).collect() };
        let small = scaled(&picture, 384).unwrap();
        assert_eq!((small.width, small.height), (384, 192));
        assert_eq!([small.rgb[0], small.rgb[3 * 191], small.rgb[3 * 383]], [10, 10, 31]);
        let grid = PatchGrid { rows: 2, columns: 2, first: 1, size: Some([800, 400]), seen: Some([200, 0, 400, 400]) };
        let image = PageImage::new(&grid, Some(&picture)).unwrap();
        assert_eq!(image.seen, [96.0, 0.0, 192.0, 192.0]);
        assert!(image.src.starts_with("data:image/png;base64,iVBORw0KGgo"), "a PNG begins so");
    }

    #[test]
    fn pictures_of_another_size_or_without_pixels_are_refused() {
        let grid = PatchGrid { rows: 2, columns: 2, first: 0, size: Some([8, 4]), seen: Some([0, 0, 8, 4]) };
        let refusal = |width, height, n| {
            let picture = Bitmap { width, height, rgb: vec![0; n] };
            PageImage::new(&grid, Some(&picture)).map(|_| ()).unwrap_err().to_string()
        };
        assert!(refusal(4, 8, 96).contains("has 4 × 8 pixels, but the recording was made of one of 8 × 4"));
        assert!(refusal(8, 4, 95).contains("has 95 bytes"));
        assert_eq!(PageImage::new(&grid, None).unwrap().src, "");
    }
}
