//! Words for people: counts, and text from outside made safe to show.

use attlas::printable::is_invisible;
pub use attlas::printable::{counted, printable};
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

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// JSON in which what [`printable`] replaces stands as escapes, so that a terminal does not obey it: the same value.
pub fn inert_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if character == '\u{7f}' || is_invisible(character) {
            // outside strings JSON has none of these
            let mut units = [0; 2];
            shown.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            shown.push(character);
        }
    }
    shown
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
    fn json_with_escapes_is_the_same_value() {
        let text = "a\u{9b}31m\u{7f}\u{202e}\u{2066}\u{e0041}\u{feff}é猫";
        let json = serde_json::to_string(text).expect("a text is JSON");
        let inert = inert_json(&json);
        assert_eq!(inert, "\"a\\u009b31m\\u007f\\u202e\\u2066\\udb40\\udc41\\ufeffé猫\"");
        assert_eq!(serde_json::from_str::<String>(&inert).expect("it is JSON"), text);
    }

    #[test]
    fn durations_are_read_at_a_glance() {
        assert_eq!([0.4, 59.9, 61.0, 7260.0].map(duration), ["0 s", "59 s", "1 min", "2 h 1 min"]);
    }
}
