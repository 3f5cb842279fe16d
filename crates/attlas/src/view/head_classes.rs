//! What each head is named for, and what each layer does, as one picture.

use std::collections::BTreeMap;

use super::class_looks::{Look, look_of};
use crate::Kind;
use crate::analysis::{HeadClass, HeadSums, LayerProfile, Standout, classes, layer_profiles};
use crate::figure::{self, CellClass, ClassCell, ClassGrid, ClassRow, ClassWords, Figure, RowNumber, Style};
use crate::printable::counted;

/// Every head as a cell of a grid of layers and heads, one grid for each kind of attention, by its class: see [`classes`].
/// Beside each layer stand how far its heads look, how broadly, and the mix of their classes ([`layer_profiles`]).
///
/// A class has the same colour and letters in every picture, so that two models compare. `measured_on` says on which texts
/// the heads were measured; the captions give it, the number of rows, and what a class is.
pub fn head_classes(heads: &[HeadSums], measured_on: &str, style: &Style) -> Figure {
    let classes = classes(heads);
    let used = Used::of(&classes);
    let profiles = layer_profiles(heads);
    let kinds = Kind::ALL.into_iter().filter(|kind| heads.iter().any(|head| head.kind == *kind));
    let grids: Vec<ClassGrid> = kinds.map(|kind| grid(kind, &classes, &profiles, &used)).collect();
    let words = ClassWords {
        mix: "class mix",
        unnamed: "named for nothing",
        strength: "the larger, the more of what the baseline leaves",
    };
    let title = if style.title.is_empty() { "What heads are named for" } else { &style.title };
    let captions = [captions(heads, &classes, &profiles, measured_on), style.captions.clone()].concat();
    let style = Style { title: title.to_owned(), captions, ..style.clone() };
    figure::classes(&grids, &used.looks(), &words, &style)
}

/// The classes that occur, in the order in which every picture has them.
struct Used(Vec<(Look, Vec<&'static str>, Option<f64>)>);

impl Used {
    fn of(classes: &[HeadClass]) -> Used {
        let mut used: BTreeMap<usize, (Look, Vec<&'static str>, Option<f64>)> = BTreeMap::new();
        for standout in classes.iter().filter_map(|class| class.named.first()) {
            let look = look_of(standout.measure);
            let (_, titles, _) = used.entry(look.place).or_insert((look, Vec::new(), standout.measure.threshold));
            if !titles.contains(&standout.title()) {
                titles.push(standout.title());
            }
        }
        Used(used.into_values().collect())
    }

    fn looks(&self) -> Vec<CellClass> {
        let class = |(look, titles, threshold): &(Look, Vec<&str>, Option<f64>)| {
            let threshold = threshold.map_or(String::new(), |threshold| format!(" (≥ {threshold})"));
            CellClass { code: look.code.clone(), name: format!("{}{threshold}", titles.join(" / ")), color: look.color }
        };
        self.0.iter().map(class).collect()
    }

    fn cell(&self, class: &HeadClass) -> ClassCell {
        let named = class.named.first().and_then(|standout| {
            let place = look_of(standout.measure).place;
            Some((self.0.iter().position(|(look, ..)| look.place == place)?, standout))
        });
        named.map_or(ClassCell::Unnamed, |(class, standout)| ClassCell::Of { class, strength: strength(standout) })
    }
}

/// The part of what the baseline leaves; without a baseline, the score.
fn strength(standout: &Standout) -> f32 {
    let strength = if standout.score.baseline.is_some() { standout.strength() } else { standout.score.value };
    strength.clamp(0.0, 1.0) as f32
}

fn grid(kind: Kind, classes: &[HeadClass], profiles: &[LayerProfile], used: &Used) -> ClassGrid {
    let of_kind: Vec<&HeadClass> = classes.iter().filter(|class| class.kind == kind).collect();
    let n_columns = of_kind.iter().map(|class| class.head.head + 1).max().unwrap_or(0);
    let profiles: Vec<&LayerProfile> = profiles.iter().filter(|profile| profile.kind == kind).collect();
    let has_distance = profiles.iter().any(|profile| profile.distance.is_some());
    let row = |profile: &&LayerProfile| {
        let mut cells = vec![ClassCell::Absent; n_columns]; // [heads]
        for class in of_kind.iter().filter(|class| class.head.layer == profile.layer) {
            cells[class.head.head] = used.cell(class);
        }
        let number = |number: Option<f64>| number.map(|number| number as f32);
        let distance = (number(profile.distance), number(profile.uniform_distance));
        let numbers = has_distance.then_some(distance).into_iter().chain([(number(profile.broad), None)]).collect();
        ClassRow { label: format!("L{}", profile.layer), cells, numbers }
    };
    let distance = RowNumber { name: "mean distance".to_owned(), high: None };
    let broad = RowNumber { name: "breadth".to_owned(), high: Some(1.0) };
    ClassGrid {
        title: format!("{}: rows are layers, columns are heads", kind.title()),
        columns: (0..n_columns).map(|head| format!("H{head}")).collect(),
        numbers: has_distance.then_some(distance).into_iter().chain([broad]).collect(),
        rows: profiles.iter().map(row).collect(),
    }
}

/// What the picture says of itself.
fn captions(heads: &[HeadSums], classes: &[HeadClass], profiles: &[LayerProfile], measured_on: &str) -> Vec<String> {
    let measured_on = if measured_on.trim().is_empty() { "texts that are not named" } else { measured_on };
    let n_unnamed = classes.iter().filter(|class| class.named.is_empty()).count();
    let mut captions = vec![
        format!("Measured on {measured_on}; {}.", rows_read(heads)),
        "A head's class is what it is named for: a score from the measure's threshold on, whose 95 % interval lies over its \
         baseline; of several names the narrower comes first, then the one with the larger part of what the baseline leaves."
            .to_owned(),
        format!("{n_unnamed} of {} are named for nothing.", counted(classes.len(), "head")),
        "A class is a hint: it says what a head did on this text, not why. Attention is no importance.".to_owned(),
        "Beside the layers: the mean over a layer's heads of how many positions away a query looks (the tick: looking at all \
         visible keys alike), of entropy over that of looking at all visible keys alike, and the share of heads of each class. \
         A frame of distance ends at the largest bar or tick of its kind of attention, one of breadth at 1."
            .to_owned(),
    ];
    captions.extend(Kind::ALL.into_iter().filter_map(|kind| distances(kind, profiles)));
    captions
}

/// How many rows were read of each head: `38 rows a head`, or of each kind's.
fn rows_read(heads: &[HeadSums]) -> String {
    let said = |kind: Kind| {
        let head = heads.iter().find(|head| head.kind == kind)?;
        let of = if head.n_rows < head.n_queries { format!(" of {}", head.n_queries) } else { String::new() };
        Some((kind, format!("{}{of}", head.n_rows)))
    };
    let of_kinds: Vec<(Kind, String)> = Kind::ALL.into_iter().filter_map(said).collect();
    match of_kinds.as_slice() {
        [] => "no head was measured".to_owned(),
        [(_, rows), others @ ..] if others.iter().all(|(_, other)| other == rows) => format!("{rows} rows a head"),
        _ => {
            let said: Vec<String> = of_kinds.iter().map(|(kind, rows)| format!("{rows} ({kind})")).collect();
            format!("rows a head: {}", said.join(", "))
        }
    }
}

/// How far the first and the last layer of a kind look.
fn distances(kind: Kind, profiles: &[LayerProfile]) -> Option<String> {
    let mut known = profiles.iter().filter(|profile| profile.kind == kind && profile.distance.is_some());
    let (first, last) = (known.next()?, known.next_back()?);
    let of = |profile: &LayerProfile| {
        let uniform =
            profile.uniform_distance.map_or(String::new(), |uniform| format!(" (all keys alike: {uniform:.1})"));
        format!(
            "layer {} looks {:.1} positions away on average{uniform}",
            profile.layer,
            profile.distance.unwrap_or(0.0)
        )
    };
    Some(format!("{}: {}, {}.", kind.title(), of(first), of(last)))
}
