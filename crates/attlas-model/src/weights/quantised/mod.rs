//! Weights that were packed into fewer bits: those that can be unpacked exactly become matrices again, the rest is named.

mod fp8;
mod int4;

use serde_json::Value;

use super::Checkpoint;
use crate::Error;
use crate::config::file::ConfigFile;

/// A way of packing that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    /// Four bits, eight columns to a word (Lin et al. 2023).
    Awq,
    /// Four bits, eight rows to a word, groups in any order (Frantar et al. 2022).
    Gptq {
        /// What is added to a stored zero: files of the first format hold it less 1.
        zero_offset: u32,
    },
    /// Eight bits with exponents, a scale for all, for a row or for a block.
    Fp8,
    /// Blocks that stay packed in memory.
    Mxfp4,
}

/// How a model's weights are packed, where attlas can unpack them.
pub(crate) struct Packing {
    method: Method,
    settings: ConfigFile,
    /// `awq (4 bits)`.
    in_words: String,
}

impl Packing {
    /// What `quantization_config` says.
    ///
    /// # Errors
    /// When it names a method that is not read.
    pub fn of(config: &ConfigFile) -> Result<Option<Packing>, Error> {
        let Some(settings) = config.section("quantization_config")? else { return Ok(None) };
        let name = settings.text_or("quant_method", "a method that it does not name")?;
        let bits = bits(&settings);
        let in_words = bits.map_or_else(|| name.to_owned(), |bits| format!("{name} ({bits} bits)"));
        match method(&settings, bits)? {
            Some(method) => Ok(Some(Packing { method, settings, in_words })),
            None => Err(config.error(
                "quantization_config",
                format!(
                    "says that the weights are quantised with {in_words}, which attlas does not read; take the \
                     unquantised checkpoint or a .gguf"
                ),
            )),
        }
    }

    /// The weights with every packed matrix in its own numbers, and a remark on that.
    ///
    /// Nothing is unpacked before its numbers are asked for, and then one matrix at a time.
    ///
    /// # Errors
    /// When a matrix lacks a part, or has one of another shape.
    pub fn unpack(&self, checkpoint: Checkpoint) -> Result<(Checkpoint, Option<String>), Error> {
        let n_tensors = checkpoint.names().count();
        let checkpoint = match self.method {
            Method::Mxfp4 => return Ok((checkpoint, None)),
            Method::Fp8 => fp8::unpacked(&self.settings, checkpoint)?,
            Method::Awq | Method::Gptq { .. } => int4::unpacked(self.method, &self.settings, checkpoint)?,
        };
        // a packed matrix is several tensors
        let note = match checkpoint.names().count() < n_tensors {
            true => {
                format!("the weights are packed by {}; all is computed in f32, activations too", self.in_words)
            }
            false => format!("the configuration says that the weights are packed by {}, but none is", self.in_words),
        };
        Ok((checkpoint, Some(note)))
    }
}

/// How the weights are packed; `None` where that is not read.
fn method(settings: &ConfigFile, bits: Option<u64>) -> Result<Option<Method>, Error> {
    Ok(match settings.text("quant_method")? {
        Some("mxfp4") => Some(Method::Mxfp4),
        Some("awq") if bits == Some(4) && settings.text_or("version", "gemm")?.eq_ignore_ascii_case("gemm") => {
            settings.flag_or("zero_point", true)?.then_some(Method::Awq)
        }
        Some("gptq") if bits == Some(4) => {
            let is_second = settings.text_or("checkpoint_format", "gptq")? == "gptq_v2";
            Some(Method::Gptq { zero_offset: if is_second { 0 } else { 1 } })
        }
        Some("fp8" | "fbgemm_fp8") => Some(Method::Fp8),
        Some("compressed-tensors") if settings.text("format")? == Some("float-quantized") => {
            bits.is_none_or(|bits| bits == 8).then_some(Method::Fp8)
        }
        _ => None,
    })
}

/// How many bits a number has, by whichever field says it.
fn bits(settings: &ConfigFile) -> Option<u64> {
    let of = |field: &str| settings.get(field).and_then(Value::as_u64);
    let loaded = |field: &str, bits: u64| (settings.get(field) == Some(&Value::Bool(true))).then_some(bits);
    let of_groups = || {
        let groups = settings.get("config_groups")?.as_object()?;
        groups.values().find_map(|group| group.pointer("/weights/num_bits")?.as_u64())
    };
    of("bits")
        .or_else(|| of("w_bit"))
        .or_else(|| loaded("load_in_4bit", 4))
        .or_else(|| loaded("load_in_8bit", 8))
        .or_else(of_groups)
}
