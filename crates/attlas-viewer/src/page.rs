//! The page as text: head, style, script, data blocks.

use std::fmt::Write;

use attlas::analysis::describe::{Sentence, describe};
use attlas::analysis::{HeadSums, Standout, standouts};
use attlas::printable::json_for_page;
use attlas::recording::{LayerCheck, complaint};
use attlas::{HeadId, Kind, Recording};

use crate::Error;
use crate::beside::Beside;
use crate::effects::HeadEffects;
use crate::escape::{html_text, length_of, push_bytes};
use crate::payload::Payload;
use crate::pooled::pool;

const STYLE: &str = include_str!("../../../web/dist/viewer.css");
const STYLE_HASH: &str = include_str!("../../../web/dist/viewer.css.sha256");
pub(crate) const SCRIPT: &str = include_str!("../../../web/dist/viewer.js");
const SCRIPT_HASH: &str = include_str!("../../../web/dist/viewer.js.sha256");

/// The hash of the script of every [`page`] of this version, as a content security policy names it: `sha256-…`. A page in a
/// frame without an address of its own (`srcdoc`) is held to the policy of the page around; where that is strict, its
/// `script-src` has to allow `'sha256-…'`, and its `worker-src` may allow `blob:`, so that numbers are worked out beside the page
/// (without it the page works them out itself, a few milliseconds at a time).
#[must_use]
pub fn script_hash() -> String {
    format!("sha256-{}", SCRIPT_HASH.trim())
}

/// The hash of the style of every [`page`], for `style-src`; as [`script_hash`].
#[must_use]
pub fn style_hash() -> String {
    format!("sha256-{}", STYLE_HASH.trim())
}

/// What a page is called, opens with, and may weigh.
#[derive(Debug, Clone, PartialEq)]
pub struct PageOptions {
    /// The page's title; the model's name when `None`.
    pub title: Option<String>,
    /// The head shown first. When `None`, or when it does not exist: the head of the last kind that stands out most over its
    /// baseline, or else the one with the sharpest rows.
    pub open: Option<(Kind, HeadId)>,
    /// What stands out, shown with its heads.
    pub standouts: Vec<Standout>,
    /// What is said of one of the texts, shown above its maps.
    pub description: Option<Description>,
    /// What the output loses with each head, where that was measured: an order of the heads, and beside their weights.
    pub effects: Option<HeadEffects>,
    /// How the model that made the recording is named where it is to be loaded again, a folder or a hub's name, for the commands that the
    /// page copies; the recording has its name alone.
    pub model_place: Option<String>,
    /// How the recording is named where it is to be opened again, for the same commands; `None` where it was made of a text.
    pub recording_place: Option<String>,
    /// What stands beside the tokens of each text: a picture, a sound, a tree. May be shorter than there are texts.
    pub beside: Vec<Beside>,
    /// The largest size of the page's attention data, in bytes as they travel; of several recordings, each's.
    pub max_bytes: u64,
    /// The recording's [checks](Recording::check), where they were made already; the page makes them otherwise.
    pub checks: Option<Vec<LayerCheck>>,
    /// What is said among the recording's notes beside its own.
    pub remarks: Vec<String>,
}

/// One of the texts in words.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The text, counted from 0.
    pub item: usize,
    /// What is said of it, the most telling first; see [`attlas::analysis::describe`].
    pub sentences: Vec<Sentence>,
}

impl PageOptions {
    /// 64 MiB: a browser still opens such a page in a few seconds.
    pub const DEFAULT_MAX_BYTES: u64 = 64 << 20;

    /// What a page says of a recording beside its maps: what stands out of its heads, one of its texts in words, and whether its
    /// numbers pass their checks. `heads` were measured on all texts, `of_item` on that one.
    ///
    /// # Errors
    /// When the recording contradicts itself, or has no such text.
    pub fn about(
        recording: &Recording,
        item: usize,
        heads: &[HeadSums],
        of_item: &[HeadSums],
    ) -> Result<PageOptions, attlas::Error> {
        let checks = Some(recording.check()?);
        if recording.kinds().is_empty() {
            return Ok(PageOptions { checks, ..PageOptions::default() });
        }
        let description = Some(Description { item, sentences: describe(recording, item, of_item)? });
        Ok(PageOptions { standouts: standouts(heads), description, checks, ..PageOptions::default() })
    }
}

impl Default for PageOptions {
    fn default() -> PageOptions {
        let max_bytes = PageOptions::DEFAULT_MAX_BYTES;
        PageOptions {
            title: None,
            open: None,
            standouts: Vec::new(),
            description: None,
            effects: None,
            model_place: None,
            recording_place: None,
            beside: Vec::new(),
            max_bytes,
            checks: None,
            remarks: Vec::new(),
        }
    }
}

/// The page of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// One HTML text that loads nothing.
    pub html: String,
    /// Whether its maps were too large for a page of every weight, and each cell is the largest weight of a tile.
    pub pooled: bool,
}

/// The whole page that shows a recording: one HTML text that loads nothing.
///
/// In a frame it tells the page around how tall it is and what is chosen, by `postMessage({attlas: 1, height})` and
/// `{attlas: 1, selection: {item, kind, layer, head, query, key}}`, and takes such a selection, or a part of one, from there.
/// `query` and `key` count the tokens of the recording, or are null. Alone it sends and takes nothing.
///
/// Every weight is shown with the digits that [`attlas::AttentionMap`] gives it: four after the point, or two and a power of ten.
/// Per layer and text the smaller form travels: the digits that are shown of weights, or queries and keys, from which the browser
/// computes the weights. Queries and keys are of 13 to 16 bits where that keeps the digits, with the weights beside them whose digits
/// it would change, and scores right to 0.005; a head where it would not is 32-bit, and so is everything of short texts. Padding is
/// left out. Maps of other quantities travel and are shown as weights are, to four digits after the point of a power of ten that
/// none of the layer's numbers is above, with their signs. Where weights travel, queries and keys stand beside them, so that a score
/// can be taken apart, as long as all numbers are less than 1 MB of the page.
///
/// Where the data would be larger than [`PageOptions::max_bytes`], or one map has more cells than a browser can hold
/// ([`Page::pooled`]), each map is pooled: its cells are tiles, coloured by the largest weight in them, and the page says so.
/// Numbers that fail the recording's [checks](Recording::check) are said at its top.
///
/// # Errors
/// [`Error::TooLarge`] or [`Error::MapTooLarge`] when that would not fit either, or take minutes, decided before much
/// is allocated; [`Error::Recording`] when the recording contradicts itself or holds no map.
pub fn page(recording: &Recording, options: &PageOptions) -> Result<String, Error> {
    Page::of(recording, options).map(|page| page.html)
}

impl Page {
    /// [`page`], and whether its maps were pooled.
    ///
    /// # Errors
    /// As [`page`].
    pub fn of(recording: &Recording, options: &PageOptions) -> Result<Page, Error> {
        Page::of_several((recording, options), &[])
    }

    /// One page of several recordings, to be compared; it opens with the first, whose title is the page's.
    ///
    /// # Errors
    /// As [`page`], of the first recording that is refused.
    pub fn of_several(first: (&Recording, &PageOptions), others: &[(&Recording, &PageOptions)]) -> Result<Page, Error> {
        let title = first.1.title.as_deref().unwrap_or(&first.0.provenance.model);
        let title = if title.trim().is_empty() { "attention" } else { title };
        let all = [first].into_iter().chain(others.iter().copied());
        let blocks = all.map(|(recording, options)| Blocks::of(recording, options)).collect::<Result<Vec<_>, _>>()?;
        Ok(Page { html: html(title, &blocks), pooled: blocks.iter().any(|blocks| blocks.pooled) })
    }
}

/// What a page holds of one recording.
struct Blocks {
    json: String,
    numbers: Vec<u8>,
    pooled: bool,
}

impl Blocks {
    fn of(recording: &Recording, options: &PageOptions) -> Result<Blocks, Error> {
        match Payload::new(recording, options) {
            Err(refusal) if refusal.is_limit() => {
                let tiles = pool(recording, options.max_bytes)?.ok_or(refusal)?;
                let of_tiles = PageOptions { beside: Vec::new(), ..options.clone() }; // whose places are other tokens'
                let blocks = Blocks::new(recording, Payload::of_tiles(&tiles, &of_tiles)?, options)?;
                Ok(Blocks { pooled: true, ..blocks })
            }
            payload => Blocks::new(recording, payload?, options),
        }
    }

    fn new(recording: &Recording, mut payload: Payload<'_>, options: &PageOptions) -> Result<Blocks, Error> {
        payload.say_failed(match &options.checks {
            Some(checks) => complaint(checks),
            None => complaint(&recording.check()?),
        });
        Ok(Blocks { json: json_for_page(&payload.json()?), numbers: payload.numbers, pooled: false })
    }
}

/// The page as text.
fn html(title: &str, blocks: &[Blocks]) -> String {
    let of_blocks = |blocks: &Blocks| blocks.json.len() + length_of(blocks.numbers.len() as u64) as usize + 200;
    let n_bytes: usize = blocks.iter().map(of_blocks).sum();
    let mut page = String::with_capacity(STYLE.len() + SCRIPT.len() + n_bytes + 4096);
    let policy = format!(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src '{}'; \
         style-src '{}'; img-src data:; worker-src blob:; base-uri 'none'; form-action 'none'\">\n",
        script_hash(),
        style_hash()
    );
    page.push_str(&beginning(&format!("{} · attlas", html_text(title)), &policy));
    // before the numbers: its worker begins while these are read, and a page that was cut short can say so
    page.push_str("<script>");
    page.push_str(SCRIPT);
    page.push_str("</script>\n");
    for (place, blocks) in blocks.iter().enumerate() {
        let which = if place == 0 { String::new() } else { format!("-{place}") };
        // writing to a String cannot fail
        let _ = write!(page, "<script type=\"application/json\" id=\"atlas-data{which}\">");
        page.push_str(&blocks.json);
        let _ = write!(page, "</script>\n<script type=\"application/octet-stream\" id=\"atlas-numbers{which}\">");
        push_bytes(&mut page, &blocks.numbers);
        page.push_str("</script>\n");
    }
    page.push_str("</body>\n</html>\n");
    page
}

/// What every page of the viewer has before its own blocks. `title` is markup, `own` are lines of its head.
pub(crate) fn beginning(title: &str, own: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n{own}\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"generator\" content=\"attlas {}\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <noscript>This page draws attention maps with JavaScript, which is switched off.</noscript>\n\
         <main id=\"app\"></main>\n",
        env!("CARGO_PKG_VERSION")
    )
}
