//! docs/recording.schema.json against files and against the reader: what it allows is read, what it refuses is refused.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use attlas::Recording;
use serde_json::{Map, Value, json};

const SCHEMA: &str = include_str!("../../../docs/recording.schema.json");

/// A reader of as much JSON Schema as the document uses; a keyword it does not know is a failure.
struct Schema {
    root: Value,
}

impl Schema {
    fn new() -> Schema {
        Schema { root: serde_json::from_str(SCHEMA).unwrap() }
    }

    /// Whether `value` is valid; the properties that were met are added to `met`, and to `unknown` those that no
    /// schema describes.
    fn allows(&self, schema: &Value, value: &Value, met: &mut BTreeSet<String>, unknown: &mut Vec<String>) -> bool {
        let object = schema.as_object().unwrap();
        if let Some(name) = object.get("$ref") {
            let place = name.as_str().unwrap().strip_prefix('#').unwrap();
            let target = self.root.pointer(place).unwrap_or_else(|| panic!("{place} is not defined"));
            return self.allows(target, value, met, unknown);
        }
        object.iter().all(|(keyword, rule)| match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" => true,
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "type" => match rule {
                Value::Array(types) => types.iter().any(|one| is_of_type(value, one)),
                one => is_of_type(value, one),
            },
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "exclusiveMinimum" => value.as_f64().is_none_or(|number| number > rule.as_f64().unwrap()),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap()),
            "pattern" => {
                assert_eq!(rule, "^[A-Za-z0-9_-]{1,64}$", "this test knows one pattern");
                let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
                value.as_str().is_none_or(|name| (1..=64).contains(&name.len()) && name.chars().all(is_plain))
            }
            "items" => self.all(value.as_array().into_iter().flatten().map(|item| (rule, item)), met, unknown),
            "prefixItems" => {
                let items = value.as_array().into_iter().flatten();
                self.all(rule.as_array().unwrap().iter().zip(items), met, unknown)
            }
            "anyOf" => rule.as_array().unwrap().iter().any(|one| self.allows(one, value, met, unknown)),
            "propertyNames" => value.as_object().is_none_or(|fields| {
                fields.keys().all(|name| self.allows(rule, &Value::from(name.as_str()), met, unknown))
            }),
            "required" => value.as_object().is_none_or(|fields| {
                rule.as_array().unwrap().iter().all(|name| fields.contains_key(name.as_str().unwrap()))
            }),
            "dependentRequired" => value.as_object().is_none_or(|fields| {
                let has = |name: &Value| fields.contains_key(name.as_str().unwrap());
                let mut given = rule.as_object().unwrap().iter().filter(|(name, _)| fields.contains_key(*name));
                given.all(|(_, others)| others.as_array().unwrap().iter().all(has))
            }),
            "properties" => value.as_object().is_none_or(|fields| {
                let described = rule.as_object().unwrap();
                unknown
                    .extend(fields.keys().filter(|name| !described.contains_key(*name) && !met.contains("?")).cloned());
                described.iter().all(|(name, rule)| match fields.get(name) {
                    Some(value) => {
                        met.insert(format!("{}.{name}", described.keys().next().unwrap()));
                        self.allows(rule, value, met, unknown)
                    }
                    None => true,
                })
            }),
            "additionalProperties" => value.as_object().is_none_or(|fields| {
                let described = object.get("properties").and_then(Value::as_object);
                let more = fields.iter().filter(|(name, _)| described.is_none_or(|all| !all.contains_key(*name)));
                match rule {
                    Value::Bool(false) => more.count() == 0,
                    rule => self.all(more.map(|(_, value)| (rule, value)), met, unknown),
                }
            }),
            keyword => panic!("this test does not know the keyword {keyword}"),
        })
    }

    fn all<'a>(
        &self,
        mut pairs: impl Iterator<Item = (&'a Value, &'a Value)>,
        met: &mut BTreeSet<String>,
        unknown: &mut Vec<String>,
    ) -> bool {
        pairs.all(|(rule, value)| self.allows(rule, value, met, unknown))
    }

    fn is_valid(&self, metadata: &Value) -> bool {
        self.allows(&self.root, metadata, &mut BTreeSet::new(), &mut Vec::new())
    }

    /// All properties that are described, each after the first of its object: `kind.stack`.
    fn described(&self) -> BTreeSet<String> {
        fn collect(schema: &Value, all: &mut BTreeSet<String>) {
            if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
                let first = fields.keys().next().unwrap();
                all.extend(fields.keys().map(|name| format!("{first}.{name}")));
            }
            match schema {
                Value::Object(fields) => fields.values().for_each(|value| collect(value, all)),
                Value::Array(items) => items.iter().for_each(|value| collect(value, all)),
                _ => {}
            }
        }
        let mut all = BTreeSet::new();
        collect(&self.root, &mut all);
        all
    }
}

fn is_of_type(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("{other} is no type"),
    }
}

/// A file's metadata.
fn metadata(file: &[u8]) -> Value {
    let header: Value = serde_json::from_slice(&file[8..8 + header_len(file)]).unwrap();
    serde_json::from_str(header["__metadata__"]["attlas"].as_str().unwrap()).unwrap()
}

fn header_len(file: &[u8]) -> usize {
    u64::from_le_bytes(file[..8].try_into().unwrap()) as usize
}

/// The file with other metadata.
fn with_metadata(file: &[u8], metadata: &Value) -> Vec<u8> {
    let mut header: Value = serde_json::from_slice(&file[8..8 + header_len(file)]).unwrap();
    header["__metadata__"]["attlas"] = Value::from(metadata.to_string());
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header, &file[8 + header_len(file)..]].concat()
}

/// The places of all values in `value`, as JSON pointers.
fn places(value: &Value, place: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            all.push(format!("{place}/{name}"));
            places(value, &format!("{place}/{name}"), all);
        }),
        // the first of a list stands for all but items and layers
        Value::Array(items) => {
            let n = if place == "/layers" { items.len() } else { 1 };
            items.iter().take(n).enumerate().for_each(|(index, value)| {
                all.push(format!("{place}/{index}"));
                places(value, &format!("{place}/{index}"), all);
            });
        }
        _ => {}
    }
}

fn change(metadata: &Value, place: &str, change: impl Fn(&mut Map<String, Value>, &str)) -> Option<Value> {
    let (parent, name) = place.rsplit_once('/').unwrap();
    let mut changed = metadata.clone();
    let fields = changed.pointer_mut(parent).unwrap().as_object_mut()?;
    change(fields, name);
    Some(changed)
}

#[test]
fn every_field_of_a_file_is_described_and_every_described_field_is_one_of_a_file() {
    let schema = Schema::new();
    let file = common::everything().to_bytes().unwrap();
    let (mut met, mut unknown) = (BTreeSet::new(), Vec::new());
    assert!(schema.allows(&schema.root, &metadata(&file), &mut met, &mut unknown));
    // an alternative that does not fit is left at its first wrong field
    unknown.retain(|name| !["slopes", "first", "n_offsets"].contains(&name.as_str()));
    assert_eq!(unknown, Vec::<String>::new(), "fields that the schema does not describe");
    let unused: Vec<String> = schema.described().difference(&met).cloned().collect();
    // what version 1 wrote, and what may be written although it says nothing
    assert_eq!(unused, ["first.table", "index.values", "type.type"], "fields that no file has");
}

#[test]
fn what_the_schema_refuses_the_reader_refuses_and_what_it_allows_is_never_damaged() {
    let schema = Schema::new();
    let file = common::everything().to_bytes().unwrap();
    let original = metadata(&file);
    let mut all = Vec::new();
    places(&original, "", &mut all);
    let others = [json!(null), json!(-1), json!(1.5), json!("text"), json!([]), json!({}), json!(true), json!(1e300)];
    let (mut n_allowed, mut n_refused) = (0, 0);
    for place in all.iter().filter(|place| !place.starts_with("/checks")) {
        let mut changes = vec![
            change(&original, place, |fields, name| drop(fields.remove(name))),
            change(&original, place, |fields, name| {
                let value = fields.remove(name).unwrap();
                fields.insert(format!("{name}_of_the_future"), value);
            }),
        ];
        let present = original.pointer(place).unwrap();
        for other in &others {
            // serde takes a list for an object whose fields all have defaults, and version 1's writer was a text
            let is_lenient =
                (present.is_object() && other.is_array()) || (place.ends_with("/writer") && other.is_string());
            if !is_lenient {
                let mut changed = original.clone();
                *changed.pointer_mut(place).unwrap() = other.clone();
                changes.push(Some(changed));
            }
        }
        for changed in changes.into_iter().flatten() {
            let read = Recording::from_bytes(Arc::new(with_metadata(&file, &changed)));
            let said = read.err().map(|error| error.to_string());
            if schema.is_valid(&changed) {
                n_allowed += 1;
                let is_damaged = said.as_ref().is_some_and(|said| said.contains("metadata is damaged"));
                assert!(!is_damaged, "{place}: allowed, but {said:?}: {:?}", changed.pointer(place));
            } else {
                n_refused += 1;
                assert!(said.is_some(), "{place}: refused by the schema, and read: {:?}", changed.pointer(place));
            }
        }
    }
    assert!(n_allowed > 200 && n_refused > 1000, "{n_allowed} allowed, {n_refused} refused");
}
