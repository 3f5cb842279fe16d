//! LoRA adapters (Hu et al. 2022), as PEFT saves them: `W + α/r · B·A` for each matrix that one was trained for.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::Value;

use super::{Bytes, Checkpoint, Dtype, Tensor, convert, pickle_file, safetensors};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::error::Clash;

/// What PEFT writes before the names of the model that it wraps.
const WRAPPER: &str = "base_model.model.";
/// What adapter_config.json may ask for beside low-rank products of matrices; each is refused by name when it is on.
const OTHER_MECHANISMS: [&str; 9] = [
    "use_dora",
    "use_qalora",
    "lora_bias",
    "modules_to_save",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
    "megatron_config",
];

/// An adapter: two narrow matrices for each of some matrices of a model.
pub(crate) struct Adapter {
    path: PathBuf,
    config: ConfigFile,
    r: usize,
    alpha: f64,
    base: String,
}

/// The two narrow matrices, and what their product is multiplied by.
struct Product {
    /// Shape `[r, d_in]`.
    down: Tensor,
    /// Shape `[d_out, r]`.
    up: Tensor,
    scale: f32,
    /// Whether the model's matrix is stored as `[d_in, d_out]`.
    is_turned: bool,
}

/// Whether a folder holds an adapter.
pub(crate) fn is_adapter(folder: &Path) -> bool {
    folder.join("adapter_config.json").exists()
}

/// What the names say of a model that still has its adapters beside its matrices; `None` of any other.
pub(crate) fn unmerged(checkpoint: &Checkpoint) -> Option<Error> {
    let is_part = |name: &&str| name.contains(".base_layer.") || name.contains(".lora_A.");
    let name = checkpoint.names().find(is_part)?;
    Some(Error::tensor(
        checkpoint.path(),
        name,
        "shows that this is an unmerged PEFT checkpoint (base_model.model., .base_layer., .lora_A.), which does not say \
         its alpha; merge it (merge_and_unload) and save it again",
    ))
}

impl Adapter {
    /// Reads adapter_config.json.
    ///
    /// # Errors
    /// When the folder holds no adapter, or one of another kind than LoRA.
    pub fn open(folder: &Path) -> Result<Adapter, Error> {
        if !is_adapter(folder) {
            return Err(Error::file(folder, "is no adapter: there is no adapter_config.json in it"));
        }
        let config = ConfigFile::open(&folder.join("adapter_config.json"))?;
        config.must_be("peft_type", &"LORA".into())?;
        let r = config.size("r")?;
        let alpha = config.number_or("lora_alpha", 8.0)?;
        let base = crate::error::brief(config.text_or("base_model_name_or_path", "a model that it does not name")?);
        Ok(Adapter { path: folder.to_owned(), config, r, alpha, base })
    }

    /// What it is, in words: `a LoRA adapter (r 4, alpha 8) of ORG/NAME`.
    pub fn in_words(&self) -> String {
        format!("a LoRA adapter (r {}, alpha {}) of {}", self.r, self.alpha, self.base)
    }

    /// The weights with the adapter's products added; nothing is computed before a matrix is asked for.
    ///
    /// # Errors
    /// When the adapter does more than low-rank products, lacks a part, or does not fit the weights.
    pub fn add_to(&self, checkpoint: &mut Checkpoint) -> Result<String, Error> {
        self.only_products()?;
        let (path, mut parts) = self.tensors()?;
        let downs: Vec<String> =
            parts.keys().filter_map(|name| name.strip_suffix(".lora_A.weight")).map(str::to_owned).collect();
        let ends = checkpoint.names().map(reversed).collect();
        for name in &downs {
            let both = [parts.remove(&format!("{name}.lora_A.weight")), parts.remove(&format!("{name}.lora_B.weight"))];
            let [Some(down), Some(up)] = both else {
                let asked = vec![0, self.r];
                return Err(Error::misfit(&path, format!("{name}.lora_B.weight"), Clash::Missing { asked }));
            };
            let of_base = find(&ends, checkpoint, name).ok_or_else(|| {
                Error::tensor(
                    &path,
                    format!("{name}.lora_A.weight"),
                    format!("belongs to no matrix of the model; the adapter was made for {}", self.base),
                )
            })?;
            let product = self.product(name, down, up)?;
            let base = checkpoint.get(&of_base).cloned();
            if let Some(base) = base {
                product.fits(&base, &of_base)?;
                checkpoint.put(of_base, product.added_to(base));
            }
        }
        if let Some(other) = parts.keys().next() {
            return Err(Error::tensor(
                &path,
                other,
                "is no part of a low-rank product; attlas adds lora_A and lora_B alone",
            ));
        }
        if downs.is_empty() {
            return Err(Error::file(&path, "holds no tensor of an adapter (…lora_A.weight)"));
        }
        Ok(format!("{} was added to {} matrices ({})", self.in_words(), downs.len(), self.path.display()))
    }

    /// Refuses what would change the model in another way.
    fn only_products(&self) -> Result<(), Error> {
        let is_off = |value: &Value| match value {
            Value::Bool(on) => !on,
            Value::Array(list) => list.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        };
        for field in OTHER_MECHANISMS {
            if let Some(value) = self.config.get(field).filter(|value| !is_off(value)) {
                let message = format!("is {value}; attlas adds the products of lora_A and lora_B alone");
                return Err(self.config.error(field, message));
            }
        }
        self.config.must_be("bias", &"none".into())?;
        match self.config.get("init_lora_weights") {
            // those begin with another base than the one that the hub has
            Some(Value::String(name))
                if !["gaussian", "eva", "orthogonal", "true", "false"].contains(&name.as_str()) =>
            {
                let message = format!("is \"{name}\", which changes the model's own weights, too");
                Err(self.config.error("init_lora_weights", message))
            }
            _ => Ok(()),
        }
    }

    /// The adapter's tensors under the model's names.
    fn tensors(&self) -> Result<(PathBuf, BTreeMap<String, Tensor>), Error> {
        let own = self.path.join("adapter_model.safetensors");
        let old = self.path.join("adapter_model.bin");
        let (path, tensors) = match (own.exists(), old.exists()) {
            (false, true) => (old.clone(), pickle_file::open_file(&old)?),
            (true, _) => (own.clone(), safetensors::open_file(&own)?),
            (false, false) => {
                return Err(Error::file(&self.path, "has neither adapter_model.safetensors nor adapter_model.bin"));
            }
        };
        let bare = |(name, tensor): (String, Tensor)| {
            (name.strip_prefix(WRAPPER).map_or_else(|| name.clone(), str::to_owned), tensor)
        };
        Ok((path, tensors.into_iter().map(bare).collect()))
    }

    fn product(&self, name: &str, down: Tensor, up: Tensor) -> Result<Product, Error> {
        let r = match self.of_pattern("rank_pattern", name)? {
            Some(r) => r as usize,
            None => self.r,
        };
        let alpha = self.of_pattern("alpha_pattern", name)?.unwrap_or(self.alpha);
        let asked = |tensor: &Tensor, place: usize| tensor.shape.len() == 2 && tensor.shape[place] == r;
        for (ending, tensor, place) in [("lora_A", &down, 0), ("lora_B", &up, 1)] {
            if !asked(tensor, place) {
                let found = &tensor.shape;
                let message = format!("has shape {found:?}, but adapter_config.json says rank {r}");
                return Err(Error::tensor(&tensor.path, format!("{name}.{ending}.weight"), message));
            }
        }
        for (ending, tensor) in [("lora_A", &down), ("lora_B", &up)] {
            convert::floats(tensor).map_err(|error| {
                let message = format!("cannot be added: {error}");
                Error::tensor(&tensor.path, format!("{name}.{ending}.weight"), message)
            })?;
        }
        let divisor = if self.config.flag_or("use_rslora", false)? { (r as f64).sqrt() } else { r as f64 };
        let is_turned = self.config.flag_or("fan_in_fan_out", false)?;
        let scale = (alpha / divisor) as f32;
        if !scale.is_finite() {
            return Err(self
                .config
                .error("lora_alpha", format!("is {alpha}, which makes weights that are no numbers")));
        }
        Ok(Product { down, up, scale, is_turned })
    }

    /// The value that a pattern gives a module: keys are the ends of modules' names.
    fn of_pattern(&self, field: &str, module: &str) -> Result<Option<f64>, Error> {
        let patterns = match self.config.get(field) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(patterns)) => patterns,
            Some(other) => {
                let message =
                    crate::error::brief(format!("is {other}; names of modules with their numbers were expected"));
                return Err(self.config.error(field, message));
            }
        };
        let mut values = BTreeSet::new();
        for (key, value) in patterns {
            let is_plain = key.chars().all(|c| c.is_ascii_alphanumeric() || ['_', '.'].contains(&c));
            let Some(number) = value.as_u64().filter(|number| is_plain && *number > 0) else {
                let message =
                    format!("has \"{key}\": {value}; attlas reads names of modules and whole numbers above 0");
                return Err(self.config.error(field, crate::error::brief(message)));
            };
            if module == key || module.ends_with(&format!(".{key}")) {
                values.insert(number);
            }
        }
        match values.len() {
            0 | 1 => Ok(values.first().map(|value| *value as f64)),
            _ => Err(self.config.error(field, format!("gives {module} several values"))),
        }
    }
}

/// The model's matrix that an adapter means: of this name, or the only one of which one name is the end of the other.
///
/// `ends` holds the model's names, each [`reversed`]: those that end alike stand side by side, and none is looked through for
/// every module.
fn find(ends: &BTreeSet<String>, checkpoint: &Checkpoint, module: &str) -> Option<String> {
    let whole = format!("{module}.weight");
    if checkpoint.contains(&whole) {
        return Some(whole);
    }
    let shorter = whole.match_indices('.').map(|(dot, _)| &whole[dot + 1..]).filter(|end| checkpoint.contains(end));
    let end = reversed(&format!(".{whole}"));
    let longer = ends.range(end.clone()..).take_while(|name| name.starts_with(&end)).map(|name| reversed(name));
    let mut near = shorter.map(str::to_owned).chain(longer);
    let found = near.next()?;
    near.next().is_none().then_some(found)
}

fn reversed(name: &str) -> String {
    name.chars().rev().collect()
}

impl Product {
    /// # Errors
    /// When the model's matrix has another shape than the product.
    fn fits(&self, base: &Tensor, name: &str) -> Result<(), Error> {
        let (d_out, d_in) = (self.up.shape[0], self.down.shape[1]);
        let asked = if self.is_turned { vec![d_in, d_out] } else { vec![d_out, d_in] };
        if base.shape == asked {
            return Ok(());
        }
        let message = format!("has shape {:?}, but the adapter was made for {asked:?}", base.shape);
        Err(Error::tensor(&base.path, name, message))
    }

    /// The model's matrix with the product added, when it is read.
    fn added_to(self, base: Tensor) -> Tensor {
        let (shape, path) = (base.shape.clone(), Arc::clone(&base.path));
        let n_bytes = base.len() * size_of::<f32>();
        Tensor { dtype: Dtype::F32, shape, path, bytes: Bytes::made(n_bytes, move || self.sum(&base)) }
    }

    fn sum(&self, base: &Tensor) -> io::Result<Vec<u8>> {
        let (mut weight, down, up) = (convert::floats(base)?, convert::floats(&self.down)?, convert::floats(&self.up)?);
        let [r, d_in] = [self.down.shape[0], self.down.shape[1]];
        let d_out = self.up.shape[0];
        let n_columns = base.shape[1].max(1);
        weight.par_chunks_mut(n_columns).enumerate().for_each(|(row, values)| {
            for (column, value) in values.iter_mut().enumerate() {
                let (output, input) = if self.is_turned { (column, row) } else { (row, column) };
                let terms = (0..r).map(|rank| up[output * r + rank] * down[rank * d_in + input]);
                *value += self.scale * terms.sum::<f32>();
            }
        });
        debug_assert_eq!(weight.len(), d_out * d_in);
        Ok(convert::bytes_of(&weight))
    }
}
