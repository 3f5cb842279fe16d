//! Arrays out of what `torch.save` wrote: a tensor, the tuple `outputs.attentions`, the steps of a generation, or a dictionary.

use std::collections::BTreeMap;
use std::path::Path;

use attlas::arrays::{self, Array, ArrayData, Precision};
use attlas::{Kind, Remedy};
use attlas_model::weights::{Dtype, Saved, Tensor, open_saved};

use super::in_maps;
use crate::failure::Failure;
use crate::terminal::remark;

/// What transformers calls the attention among its outputs; others of a dictionary are left out beside these.
const ATTENTION: [&str; 4] = ["attentions", "encoder_attentions", "decoder_attentions", "cross_attentions"];

/// The arrays of the file by name: those of tuples are numbered, steps are joined.
pub fn read(path: &Path, max_bytes: u64, kind: Option<Kind>) -> Result<BTreeMap<String, Array>, Failure> {
    let saved = open_saved(path).map_err(|error| match Failure::from(error) {
        Failure::Input(message) if message.contains("asks for \"transformers.") => Failure::Input(format!(
            "{message} (save the attentions alone: torch.save(outputs.attentions, \"attentions.pt\"))"
        )),
        other => other,
    })?;
    let mut reading = Reading { path, n_left: max_bytes, max_bytes, arrays: BTreeMap::new() };
    match saved {
        Saved::Tensor(tensor) => reading.tensor(String::new(), &tensor)?,
        Saved::List(items) => {
            let name = if kind.is_some() { "layer" } else { unnamed(&items) };
            reading.list(name, items)?;
        }
        Saved::Named(entries) => reading.dictionary(entries)?,
        Saved::Text(_) | Saved::Other => {}
    }
    if reading.arrays.is_empty() {
        return Err(Failure::Input(format!("{}: holds no tensor of floating-point numbers", path.display())));
    }
    Ok(reading.arrays)
}

/// What a tuple without a name is: layers of self-attention, or steps of a generation, whose keys grow unless they are those of
/// a source.
fn unnamed(items: &[Saved]) -> &'static str {
    let n_keys = |step: &Saved| match step {
        Saved::List(layers) => layers.iter().find_map(|layer| match layer {
            Saved::Tensor(tensor) => tensor.shape.last().copied(),
            _ => None,
        }),
        _ => None,
    };
    match (items.first().and_then(n_keys), items.last().and_then(n_keys)) {
        (Some(first), Some(last)) if items.len() > 1 && first == last => "cross_attentions",
        (Some(_), Some(_)) => "decoder_attentions",
        _ => "attentions",
    }
}

/// Arrays on their way out of a file.
struct Reading<'a> {
    path: &'a Path,
    n_left: u64,
    max_bytes: u64,
    arrays: BTreeMap<String, Array>,
}

impl Reading<'_> {
    fn dictionary(&mut self, mut entries: Vec<(String, Saved)>) -> Result<(), Failure> {
        if entries.iter().any(|(name, _)| ATTENTION.contains(&name.as_str())) {
            let is_meant = |name: &str| ATTENTION.contains(&name) || name.ends_with("_tokens");
            let others: Vec<&str> =
                entries.iter().map(|(name, _)| name.as_str()).filter(|name| !is_meant(name)).collect();
            if !others.is_empty() {
                remark(&format!("left out, beside the attentions: {}", others.join(", ")));
            }
            entries.retain(|(name, _)| is_meant(name));
        }
        for (name, saved) in entries {
            match saved {
                Saved::Tensor(tensor) if !is_floating(&tensor) => {
                    remark(&format!("left out: {name}, which is {}", tensor.dtype.name()));
                }
                Saved::Tensor(tensor) => self.tensor(name, &tensor)?,
                Saved::List(items) => self.list(&name, items)?,
                Saved::Named(_) | Saved::Text(_) | Saved::Other => {
                    remark(&format!("left out: {name}, which is no tensor"))
                }
            }
        }
        Ok(())
    }

    /// A list of texts, of a layer's tensors, or of steps that are such lists.
    fn list(&mut self, name: &str, items: Vec<Saved>) -> Result<(), Failure> {
        if let Some((shape, texts)) = texts_in(&items) {
            let array = Array { shape, data: ArrayData::Text(texts), precision: Precision::Single };
            self.arrays.insert(name.to_owned(), array);
            return Ok(());
        }
        if items.iter().any(|item| matches!(item, Saved::List(_))) {
            return self.steps(name, items);
        }
        for (index, item) in items.into_iter().enumerate() {
            match item {
                Saved::Tensor(tensor) => self.tensor(format!("{name}.{index}"), &tensor)?,
                // transformers has None where a layer does not attend
                Saved::Other => {}
                _ => return self.refuse(format!("item {index} of {name} is no tensor")),
            }
        }
        Ok(())
    }

    /// The steps of a generation, each a tuple of layers.
    fn steps(&mut self, name: &str, steps: Vec<Saved>) -> Result<(), Failure> {
        let mut layers: BTreeMap<usize, Vec<Array>> = BTreeMap::new();
        let n_steps = steps.len();
        for (index, step) in steps.into_iter().enumerate() {
            let Saved::List(items) = step else {
                return self.refuse(format!("step {index} of {name} is no tuple of tensors, as the others are"));
            };
            for (layer, item) in items.into_iter().enumerate() {
                match item {
                    Saved::Tensor(tensor) => layers.entry(layer).or_default().push(self.array(&tensor)?),
                    Saved::Other => {}
                    _ => return self.refuse(format!("layer {layer} of step {index} of {name} is no tensor")),
                }
            }
        }
        for (layer, steps) in layers {
            if steps.len() != n_steps {
                return self.refuse(format!("layer {layer} of {name} is in {} of {n_steps} steps", steps.len()));
            }
            let whole = arrays::stitch(steps).map_err(|error| in_maps(self.path, error))?;
            self.arrays.insert(format!("{name}.{layer}"), whole);
        }
        Ok(())
    }

    fn tensor(&mut self, name: String, tensor: &Tensor) -> Result<(), Failure> {
        let array = self.array(tensor)?;
        self.arrays.insert(name, array);
        Ok(())
    }

    fn array(&mut self, tensor: &Tensor) -> Result<Array, Failure> {
        let n_bytes = (tensor.len() as u64).saturating_mul(size_of::<f32>() as u64);
        let Some(n_left) = self.n_left.checked_sub(n_bytes) else {
            return Err(Failure::from(attlas::Error::Limit {
                what: format!("{}: reading its tensors", self.path.display()),
                needed: (self.max_bytes - self.n_left).saturating_add(n_bytes),
                limit: self.max_bytes,
                remedy: Remedy::RaiseLimit,
            }));
        };
        self.n_left = n_left;
        let precision = match tensor.dtype {
            Dtype::F16 => Precision::Half,
            Dtype::BF16 => Precision::Brain,
            _ => Precision::Single,
        };
        Ok(Array { shape: tensor.shape.clone(), data: ArrayData::Numbers(tensor.read()?), precision })
    }

    fn refuse(&self, message: String) -> Result<(), Failure> {
        Err(Failure::Input(format!("{}: {message}", self.path.display())))
    }
}

fn is_floating(tensor: &Tensor) -> bool {
    matches!(tensor.dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64)
}

/// A list of texts, or of equally long lists of texts, with its shape.
fn texts_in(items: &[Saved]) -> Option<(Vec<usize>, Vec<String>)> {
    let text = |item: &Saved| match item {
        Saved::Text(text) => Some(text.clone()),
        _ => None,
    };
    match items.first()? {
        Saved::Text(_) => Some((vec![items.len()], items.iter().map(text).collect::<Option<_>>()?)),
        Saved::List(first) if !first.is_empty() => {
            let row = |item: &Saved| match item {
                Saved::List(texts) if texts.len() == first.len() => texts.iter().map(text).collect::<Option<Vec<_>>>(),
                _ => None,
            };
            let rows: Vec<Vec<String>> = items.iter().map(row).collect::<Option<_>>()?;
            Some((vec![items.len(), first.len()], rows.concat()))
        }
        _ => None,
    }
}
