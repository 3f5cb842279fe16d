//! What a reader of a recording must know, said on standard error.

use attlas::Recording;

use crate::terminal::remark;

/// Says what is to be known of the run that it was made by.
pub fn say_provenance(recording: &Recording) {
    recording.provenance.remarks().iter().for_each(|text| remark(text));
}

/// Says what a reader must know of one of the texts, or of each.
pub fn say_items(recording: &Recording, only: Option<usize>) {
    let items = &recording.items;
    for (place, item) in items.iter().enumerate().filter(|(place, _)| only.is_none_or(|only| only == *place)) {
        let which = which_text(place, items.len());
        item.remarks().iter().for_each(|text| remark(&format!("{which}{text}")));
    }
}

/// What a remark on one of `n` texts begins with: nothing where there is but one.
pub fn which_text(place: usize, n: usize) -> String {
    if n > 1 { format!("text {place}: ") } else { String::new() }
}
