//! What the runs of a case in `data/families` read.

use std::collections::BTreeMap;

use super::Expected;
use attlas_model::{Array, Input, Look, Model, Pass, Side};

/// The batch of a run, each text at its own length; what is shorter is padded by the model.
pub fn inputs(model: &Model, arrays: &BTreeMap<String, Expected>, run: &str) -> Result<Vec<Input>, String> {
    let stored = Stored { model, arrays, run };
    let names = ["images", "pixel_values", "input_features", "input_values"];
    let features = names.into_iter().find_map(|name| stored.array(name));
    let ids = stored.rows("input_ids", "attention_mask");
    let n_items = features.map_or(ids.len(), |features| features.shape[0]);
    (0..n_items).map(|item| stored.input(features, &ids, item)).collect()
}

/// The texts of a run with images in them, and what the model saw of those.
pub fn inputs_with_images(
    model: &Model,
    arrays: &BTreeMap<String, Expected>,
    run: &str,
) -> Result<(Vec<Input>, Vec<Look>), String> {
    let stored = Stored { model, arrays, run };
    let images = (0..).map_while(|place| stored.array(&format!("image.{place}")));
    let looks: Vec<Look> = images.map(|image| look(model, image)).collect::<Result<_, String>>()?;
    let mut rest = looks.as_slice();
    let input = |ids: Vec<u32>| {
        let n = ids.iter().filter(|id| Some(**id) == model.image_token()).count();
        let (own, others) = rest.split_at(n);
        rest = others;
        let tokens = model.tokens_from_ids(Side::Target, &ids).map_err(|error| error.to_string())?;
        model.with_images(tokens, own).map_err(|error| error.to_string())
    };
    let inputs = stored.rows("prompt_ids", "prompt_mask").into_iter().map(input).collect::<Result<_, _>>()?;
    Ok((inputs, looks))
}

/// What a model sees of an image that is prepared already. Shape `[3, height, width]`.
pub fn look(model: &Model, image: &Expected) -> Result<Look, String> {
    let tower = model.vision_tower().ok_or("it has no tower")?;
    let values = image.values.iter().map(|value| *value as f32).collect();
    let input =
        tower.features_input(Array { shape: image.shape.clone(), values }).map_err(|error| error.to_string())?;
    model.look(input, &Pass::default()).map_err(|error| error.to_string())
}

/// The arrays of one run.
struct Stored<'a> {
    model: &'a Model,
    arrays: &'a BTreeMap<String, Expected>,
    run: &'a str,
}

impl Stored<'_> {
    fn array(&self, name: &str) -> Option<&Expected> {
        self.arrays.get(&format!("{}.{name}", self.run))
    }

    fn input(&self, features: Option<&Expected>, ids: &[Vec<u32>], item: usize) -> Result<Input, String> {
        let tokens = |side, ids: &[u32]| self.model.tokens_from_ids(side, ids).map_err(|error| error.to_string());
        let mut input = match features {
            Some(features) => self.features(features, item)?,
            None if self.model.has(Side::Source) => {
                Input { source: tokens(Side::Source, &ids[item])?, ..Input::default() }
            }
            None => Input { target: tokens(Side::Target, &ids[item])?, ..Input::default() },
        };
        if let Some(ids) = self.rows("decoder_input_ids", "decoder_attention_mask").get(item) {
            input.target = tokens(Side::Target, ids)?;
        }
        input.segments = self.rows("token_type_ids", "attention_mask").get(item).cloned().unwrap_or_default();
        Ok(input)
    }

    fn features(&self, features: &Expected, item: usize) -> Result<Input, String> {
        let shape = features.shape[1..].to_vec();
        let n: usize = shape.iter().product();
        let values = features.values[item * n..][..n].iter().map(|value| *value as f32).collect();
        self.model.features_input(Array { shape, values }).map_err(|error| error.to_string())
    }

    /// The ids of each text, without their padding. Shape `[batch][length]`.
    fn rows(&self, ids: &str, mask: &str) -> Vec<Vec<u32>> {
        let Some(ids) = self.array(ids) else { return Vec::new() };
        let n = ids.shape[1];
        let real = |place: usize| self.array(mask).is_none_or(|mask| mask.values[place] > 0.0);
        let row = |(item, row): (usize, &[u32])| {
            row.iter().enumerate().filter(|(place, _)| real(item * n + place)).map(|(_, id)| *id).collect()
        };
        ids.ids().chunks(n).enumerate().map(row).collect()
    }
}
