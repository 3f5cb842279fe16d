//! Words for people: counts, and text from outside made safe to show.

pub use attlas::printable::{counted, inert_json, printable};
use serde::Serialize;

use crate::failure::Failure;

/// `45 s`, `12 min`, `3 h 20 min`.
pub fn duration(seconds: f64) -> String {
    match seconds.max(0.0) as u64 {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A value as JSON that a terminal does not obey: see [`inert_json`].
///
/// # Errors
/// [`Failure::Output`] when it has no form in JSON.
pub fn json_text(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| Failure::Output(format!("the result cannot be written as JSON: {error}")))?;
    Ok(inert_json(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_form_in_json_could_not_be_written_whatever_the_input_was() {
        let keys_that_are_no_texts = std::collections::BTreeMap::from([((1, 2), 3)]);
        let failure = json_text(&keys_that_are_no_texts).unwrap_err();
        assert!(matches!(failure, Failure::Output(_)), "{failure}");
    }

    #[test]
    fn durations_are_read_at_a_glance() {
        assert_eq!([0.4, 59.9, 61.0, 7260.0].map(duration), ["0 s", "59 s", "1 min", "2 h 1 min"]);
    }
}
