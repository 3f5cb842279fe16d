//! Seeded changes to valid files, the same on every run.

#![allow(dead_code)] // each test binary makes some of them

use serde_json::Value;

/// Numbers at the edges of types, and beyond what any file could hold.
pub const NUMBERS: [&str; 14] = [
    "0",
    "-1",
    "1",
    "2",
    "8",
    "1000000",
    "4294967295",
    "4294967296",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "1e308",
    "null",
];

/// What stands in JSON where something else was expected.
const OTHERS: [&str; 8] = [r#""""#, r#""x""#, "true", "[]", "{}", "[0]", "-0.5", r#"{"type": "x"}"#];

/// A seeded source of choices (SplitMix64).
pub struct Choices(pub u64);

impl Choices {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// The file with one to eight bits flipped, or its end cut off.
    pub fn damaged(&mut self, file: &[u8]) -> Vec<u8> {
        let mut file = file.to_vec();
        if self.below(4) == 0 {
            file.truncate(self.below(file.len()));
            return file;
        }
        // most of a file is numbers, whose bits can do little: the head gets its share
        let reach = if self.below(2) == 0 { file.len() } else { file.len().min(600) };
        for _ in 0..1 + self.below(8) {
            let place = self.below(reach);
            file[place] ^= 1 << self.below(8);
        }
        file
    }

    /// The file with a count in place of two, four or eight of its first `reach` bytes.
    pub fn recounted(&mut self, file: &[u8], reach: usize) -> Vec<u8> {
        const COUNTS: [u64; 8] = [0, 1, 0x7f, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 63, u64::MAX];
        let mut file = file.to_vec();
        let size = self.one_of(&[2, 4, 8]);
        let place = self.below(reach.min(file.len()).saturating_sub(size));
        let bytes = self.one_of(&COUNTS).to_le_bytes();
        file[place..place + size].copy_from_slice(&bytes[..size]);
        file
    }

    /// The text with one of its whole numbers replaced.
    pub fn renumbered(&mut self, text: &str) -> String {
        let is_start = |at: usize| {
            let bytes = text.as_bytes();
            bytes[at].is_ascii_digit() && (at == 0 || matches!(bytes[at - 1], b':' | b'[' | b',' | b' ' | b'('))
        };
        let starts: Vec<usize> = (0..text.len()).filter(|at| is_start(*at)).collect();
        if starts.is_empty() {
            return text.to_owned();
        }
        let start = self.one_of(&starts);
        let end = text[start..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |n| start + n);
        format!("{}{}{}", &text[..start], self.one_of(&NUMBERS), &text[end..])
    }

    /// The JSON with one place changed: another number, text or kind, gone, grown, given twice, or changed for another place.
    pub fn changed_json(&mut self, json: &Value) -> String {
        let mut places = Vec::new();
        places_in(json, String::new(), &mut places);
        let place = places[self.below(places.len())].clone();
        let (parent, key) = place.rsplit_once('/').unwrap_or_default();
        let mut changed = json.clone();
        let other = match self.below(6) {
            0 => parsed(self.one_of(&NUMBERS)),
            1 => parsed(self.one_of(&OTHERS)),
            2 => json.pointer(&places[self.below(places.len())]).cloned().unwrap_or_default(),
            3 => grown(json.pointer(&place).unwrap_or(&Value::Null)),
            4 => {
                match changed.pointer_mut(parent) {
                    Some(Value::Object(object)) => drop(object.remove(&key.replace("~1", "/").replace("~0", "~"))),
                    Some(Value::Array(list)) => drop(key.parse().map(|n: usize| list.remove(n))),
                    _ => {}
                }
                return changed.to_string();
            }
            _ => {
                let first = place.split('/').nth(1).unwrap_or_default();
                let text = changed.to_string();
                return format!("{{\"{first}\":{},{}", self.one_of(&NUMBERS), &text[1..]);
            }
        };
        if let Some(value) = changed.pointer_mut(&place) {
            *value = other;
        }
        changed.to_string()
    }
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).expect("JSON")
}

/// The JSON pointers of all places inside a value.
fn places_in(value: &Value, place: String, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let key = key.replace('~', "~0").replace('/', "~1");
                places_in(value, format!("{place}/{key}"), found);
            }
        }
        Value::Array(list) => {
            for (n, value) in list.iter().enumerate() {
                places_in(value, format!("{place}/{n}"), found);
            }
        }
        _ => {}
    }
    if !place.is_empty() {
        found.push(place);
    }
}

/// Lists and texts a thousand times as long, and numbers.
fn grown(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().cycle().take(1000 * list.len().min(20)).cloned().collect(),
        Value::String(text) => text.repeat(1000).into(),
        Value::Number(number) => (number.as_f64().unwrap_or(1.0) * 1000.0).into(),
        other => other.clone(),
    }
}
