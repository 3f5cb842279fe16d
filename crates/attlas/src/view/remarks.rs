//! What a reader must be told of a view, in words.

use super::View;
use crate::Quantity;

/// Remarks that differ between views are said at most so often.
const MOST_REMARKS: usize = 4;

/// The captions of a picture of several views: what all of them say once, and what some say with their titles.
pub fn captions_of<'a>(views: impl IntoIterator<Item = &'a View>) -> Vec<String> {
    let views: Vec<&View> = views.into_iter().collect();
    let Some(first) = views.first() else { return Vec::new() };
    let is_common = |remark: &&String| views.iter().all(|view| view.remarks.contains(remark));
    let common: Vec<String> = first.remarks.iter().filter(is_common).cloned().collect();
    let is_one_kind = views.iter().all(|view| view.kind == first.kind);
    let name =
        |view: &View| if is_one_kind { view.title().to_owned() } else { format!("{} {}", view.kind, view.title()) };
    // what all maps of a kind say, and others do not, is said once, too
    let of_kind = |view: &View, remark: &String| {
        let mut same = views.iter().filter(|other| other.kind == view.kind);
        !is_one_kind && same.all(|other| other.remarks.contains(remark))
    };
    let mut own: Vec<String> = Vec::new();
    for (view, remark) in views.iter().flat_map(|view| view.remarks.iter().map(move |remark| (view, remark))) {
        if common.contains(remark) {
            continue;
        }
        let said = match of_kind(view, remark) {
            true => format!("{}: {remark}", view.kind),
            false => format!("{}: {remark}", name(view)),
        };
        if !own.contains(&said) {
            own.push(said);
        }
    }
    if own.len() > MOST_REMARKS {
        let n_more = own.len() - MOST_REMARKS;
        own.truncate(MOST_REMARKS);
        own.push(format!("and {n_more} more such remarks; each map alone has its own"));
    }
    [first.origin.clone(), common, own, first.notes.clone()].concat()
}

/// What fails of the maps that a picture shows, in a sentence; `None` where every number passed its checks.
pub fn complaint_of<'a>(views: impl IntoIterator<Item = &'a View>) -> Option<String> {
    let mut failed = views.into_iter().filter_map(|view| Some((view, view.problem()?)));
    let (first, problem) = failed.next()?;
    let others = match failed.count() {
        0 => String::new(),
        1 => " and one more map fail their".to_owned(),
        n => format!(" and {n} more maps fail their"),
    };
    let fail = if others.is_empty() { " fails its" } else { &others };
    Some(format!("{} {}{fail} checks, and the picture says so: {problem}", first.kind(), first.title()))
}

/// Columns that are not shown.
pub(super) struct Removed {
    /// Such as `3 special columns hidden`.
    pub what: String,
    /// What the numbers are.
    pub quantity: Quantity,
}

impl Removed {
    /// What the rows had in them; nothing where there is no row.
    pub fn remark(&self, masses: &[f32]) -> Option<String> {
        let (mean, largest) = mean_and_largest(masses)?;
        let what = &self.what;
        Some(if self.quantity.rows_sum_to_one() {
            let (mean, largest) = (100.0 * mean, 100.0 * largest);
            format!("{what}, with {mean:.0} % of the weight on average, up to {largest:.0} % of a row")
        } else {
            what.clone()
        })
    }
}

/// What learned sinks take, where there are any.
pub(super) fn of_sinks(sinks: &[f32]) -> Option<String> {
    let (mean, largest) = mean_and_largest(sinks)?;
    let (mean, largest) = (100.0 * mean, 100.0 * largest);
    (largest > 0.0)
        .then(|| format!("a learned sink takes {mean:.0} % of the weight on average, up to {largest:.0} % of a row"))
}

fn mean_and_largest(masses: &[f32]) -> Option<(f64, f64)> {
    let masses = masses.iter().map(|mass| f64::from(*mass));
    let largest = masses.clone().reduce(f64::max)?;
    let n = masses.len() as f64;
    Some((masses.sum::<f64>() / n, largest))
}
