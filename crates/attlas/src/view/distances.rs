//! The heads of a kind as dots in a plane, those that look alike near each other.

use super::origin;
use crate::Recording;
use crate::analysis::HeadDistances;
use crate::figure::{self, Dot, Dots, Figure, Style};
use crate::printable::counted;

/// Heads named in a caption at most.
const MOST_NAMED: usize = 8;

/// The heads in a plane, coloured by layer; captions say what a distance is, how much of them the plane shows, and which heads
/// have none. `item` is the text they were measured on, or all texts of the recording together.
pub fn distances(recording: &Recording, distances: &HeadDistances, item: Option<usize>, style: &Style) -> Figure {
    let (shown, plane) = distances.plane();
    let mut layers: Vec<usize> = distances.heads.iter().map(|head| head.layer).collect();
    layers.dedup();
    let dot = |(&head, point): (&usize, &[f64; 2])| {
        let id = distances.heads[head];
        let group = layers.iter().position(|layer| *layer == id.layer).unwrap_or(0);
        Dot { label: id.to_string(), at: *point, group }
    };
    let content = Dots {
        dots: shown.iter().zip(&plane.points).map(dot).collect(),
        groups_are: "layer".to_owned(),
        groups: layers.iter().map(usize::to_string).collect(),
        unit: "√nat".to_owned(),
    };
    let captions = captions(recording, distances, item, (&shown, plane.share));
    let title = format!("{}: which heads look alike", distances.kind.title());
    let title = if style.title.is_empty() { title } else { style.title.clone() };
    figure::dots(&content, &Style { title, captions: [captions, style.captions.clone()].concat(), ..style.clone() })
}

/// What stands below the picture: what was measured, how, and what the plane leaves out.
fn captions(
    recording: &Recording,
    distances: &HeadDistances,
    item: Option<usize>,
    (shown, share): (&[usize], f64),
) -> Vec<String> {
    let mut captions = match item {
        None if recording.items.len() > 1 => {
            let model = &recording.provenance.model;
            let model = if model.is_empty() { Vec::new() } else { vec![format!("model: {model}")] };
            [model, vec![format!("{} together", counted(recording.items.len(), "text"))]].concat()
        }
        item => origin(recording, item.unwrap_or(0)),
    };
    captions.push(format!(
        "Distance: the root of the Jensen–Shannon divergence of two heads' rows, averaged over {}; √(ln 2) = 0.83 where no row \
         has a weight in common.",
        rows(distances.n_rows, distances.n_queries)
    ));
    if are_alike(distances) {
        captions.push("All heads have the same rows, so no distance is above 0: the dots are one place.".to_owned());
    } else {
        captions.push(plane_in_words(share));
    }
    if let Some(median) = distances.median() {
        captions
            .push(format!("Two heads are {median:.3} nats apart in the middle, which is {:.2} √nat.", median.sqrt()));
    }
    captions.extend(left_out(distances, shown));
    captions.extend(recording.provenance.remarks());
    captions
}

/// Whether there are several heads that have a distance, and all distances are 0.
fn are_alike(distances: &HeadDistances) -> bool {
    let n = distances.heads.len();
    let mut known = (0..n).flat_map(|a| (0..a).filter_map(move |b| distances.between(a, b))).peekable();
    known.peek().is_some() && known.all(|distance| distance == 0.0)
}

fn plane_in_words(share: f64) -> String {
    format!(
        "The plane shows {:.0} % of the variance (classical scaling): heads that are far apart in it are so, heads near each other \
         may be apart in what it leaves out.",
        100.0 * share
    )
}

/// The heads without distances, in a sentence.
fn left_out(distances: &HeadDistances, shown: &[usize]) -> Option<String> {
    let missing: Vec<String> = (0..distances.heads.len())
        .filter(|head| !shown.contains(head))
        .map(|head| distances.heads[head].to_string())
        .collect();
    if missing.is_empty() {
        return None;
    }
    let dots = if missing.len() > MOST_NAMED { " …" } else { "" };
    let named = missing[..missing.len().min(MOST_NAMED)].join(", ");
    Some(format!(
        "Left out, since a row has a number that is no weight, or sees no key: {named}{dots} ({} of {}).",
        missing.len(),
        distances.heads.len()
    ))
}

/// `24 rows`, or `64 of 4096 rows` where some were left out.
pub(super) fn rows(n_rows: u64, n_queries: u64) -> String {
    if n_rows == n_queries { counted(n_rows as usize, "row") } else { format!("{n_rows} of {n_queries} rows") }
}
