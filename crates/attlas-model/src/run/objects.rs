//! What a model that looks for objects finds in an image: a class and a box for each of its object queries.

use serde_json::Value;

use crate::block::weights::Transformer;
use crate::config::file::ConfigFile;
use crate::config::{Places, Readout};
use crate::model::Model;

/// What one object query found.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The class that it is most likely of; `None` where that is no class, but nothing.
    pub class: Option<usize>,
    /// The name of the class; `no object` where it is none.
    pub label: String,
    /// How likely. 0 to 1.
    pub probability: f32,
    /// Its box: middle from the left and from the top, width and height, as shares of the image.
    pub area: [f32; 4],
}

/// What the class of nothing is called.
const NOTHING: &str = "no object";

impl Model {
    /// Whether it looks for objects in an image, and writes nothing.
    pub fn finds_objects(&self) -> bool {
        let decoder = self.transformer.architecture.decoder.as_ref();
        decoder.is_some_and(|stack| stack.places == Some(Places::Table))
    }
}

impl Transformer {
    /// What the object queries found; nothing where the model looks for no objects. `labels` are the names of the classes. Shape of
    /// `hidden`: `[n, d_model]`.
    pub(super) fn objects(&self, hidden: &[f32], labels: &[String]) -> Vec<Object> {
        let Readout::Objects { n } = self.architecture.readout else { return Vec::new() };
        let logits = self.logits(hidden);
        let boxes = self.boxes(hidden);
        let object = |(logits, area): (&[f32], &[f32; 4])| {
            let best = logits.iter().enumerate().reduce(|best, one| if one.1 > best.1 { one } else { best });
            let (class, largest) = best.map_or((0, 0.0), |(class, logit)| (class, *logit));
            let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
            let class = (class + 1 < n).then_some(class);
            let named = |class: usize| labels.get(class).cloned().unwrap_or_else(|| format!("class {class}"));
            let label = class.map_or_else(|| NOTHING.to_owned(), named);
            Object { class, label, probability: 1.0 / sum, area: *area }
        };
        logits.chunks_exact(n).zip(boxes.as_chunks::<4>().0).map(object).collect()
    }
}

/// The names of a model's classes, by their numbers; empty where the configuration names none.
pub(crate) fn labels(config: &ConfigFile) -> Vec<String> {
    let Some(named) = config.get("id2label").and_then(Value::as_object) else { return Vec::new() };
    let label = |class: usize| match named.get(&class.to_string()) {
        Some(Value::String(label)) => label.clone(),
        _ => format!("class {class}"),
    };
    (0..named.len()).map(label).collect()
}
