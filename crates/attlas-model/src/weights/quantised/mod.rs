//! Weights that were packed into fewer bits: those that can be unpacked exactly become matrices again, the rest is named.

mod bitsandbytes;
mod compressed;
mod fp8;
mod grid;
mod words;

use serde_json::Value;

use super::Checkpoint;
use crate::Error;
use crate::config::file::ConfigFile;

/// A way of packing that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    /// Four bits, eight columns to a word (Lin et al. 2023).
    Awq,
    /// Two, four or eight bits, several rows to a word, groups in any order (Frantar et al. 2022).
    Gptq {
        /// Of a number.
        bits: usize,
        /// What is added to a stored zero: files of the first format hold it less 1.
        zero_offset: u8,
    },
    /// Entries of a table times the largest number of a block, or signed bytes times that of a row.
    Bitsandbytes,
    /// Whole numbers along rows, or floats of eight bits (vLLM's compressed-tensors).
    Compressed,
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
            Method::Awq | Method::Gptq { .. } => words::unpacked(self.method, &self.settings, checkpoint)?,
            Method::Bitsandbytes => bitsandbytes::unpacked(checkpoint)?,
            Method::Compressed => compressed::unpacked(fp8::unpacked(&self.settings, checkpoint)?)?,
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
        Some("awq") if bits == Some(4) => {
            only(settings, "version", "gemm", &["gemm"])?;
            settings.flag_or("zero_point", true)?.then_some(Method::Awq)
        }
        Some("gptq") => match bits {
            Some(bits @ (2 | 4 | 8)) => {
                let format = only(settings, "checkpoint_format", "gptq", &["gptq", "gptq_v2"])?;
                if let Some(dynamic) = settings.get("dynamic").filter(|rules| !is_empty(rules)) {
                    let rules = crate::error::brief(dynamic.to_string());
                    return Err(settings.error("dynamic", format!("is {rules}; attlas reads one way for all matrices")));
                }
                Some(Method::Gptq {
                    bits: bits as usize,
                    zero_offset: u8::from(!format.eq_ignore_ascii_case("gptq_v2")),
                })
            }
            _ => None,
        },
        Some("bitsandbytes") => Some(Method::Bitsandbytes),
        Some("fp8" | "fbgemm_fp8") => Some(Method::Fp8),
        Some("compressed-tensors") => {
            const FORMATS: [&str; 4] = ["pack-quantized", "int-quantized", "float-quantized", "naive-quantized"];
            only(settings, "format", "", &FORMATS)?;
            if let Some(sparsity) = settings.section("sparsity_config")? {
                only(&sparsity, "format", "dense", &["dense"])?;
            }
            Some(Method::Compressed)
        }
        _ => None,
    })
}

/// A text of the settings, or `default` when absent, which must be one of those that are known.
fn only<'a>(settings: &'a ConfigFile, field: &str, default: &'a str, known: &[&str]) -> Result<&'a str, Error> {
    let found = settings.text_or(field, default)?;
    match known.iter().any(|known| known.eq_ignore_ascii_case(found)) {
        true => Ok(found),
        false => {
            let found = crate::error::brief(found);
            Err(settings.error(field, format!("is \"{found}\"; attlas reads {}", known.join(", "))))
        }
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use attlas_kernels::{Code, Coded, Part};

    use crate::folder::Folder;

    #[test]
    fn what_stays_packed_in_memory_is_the_same_numbers_bit_by_bit_and_the_rest_is_read_as_numbers() {
        let folders = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/folders");
        for (case, part, shape, code) in [
            ("awq-blocks", "self_attn.q_proj", [32, 32], Some(Code::Int4)),
            ("awq-blocks", "mlp.down_proj", [32, 40], None),
            ("awq", "self_attn.q_proj", [32, 32], None),
            ("gptq", "self_attn.q_proj", [32, 32], None),
            ("gptq-8-bits", "self_attn.q_proj", [32, 32], None),
            ("compressed-4-bits", "self_attn.q_proj", [32, 32], None),
            ("compressed-4-bit-rows", "self_attn.k_proj", [16, 32], Some(Code::Int4)),
            ("compressed-8-bits", "mlp.down_proj", [32, 40], Some(Code::Int8)),
            ("bitsandbytes-nf4", "mlp.up_proj", [40, 64], Some(Code::Nf4)),
            ("bitsandbytes-nf4", "mlp.down_proj", [64, 40], None),
            ("bitsandbytes-fp4", "self_attn.v_proj", [32, 64], Some(Code::Fp4)),
            ("bitsandbytes-8-bits", "mlp.down_proj", [32, 40], Some(Code::Int8)),
        ] {
            let checkpoint = Folder::open(&folders.join(case)).unwrap().checkpoint;
            let name = format!("model.layers.0.{part}.weight");
            let wanted = checkpoint.numbers(&name, &shape).unwrap();
            let rows = checkpoint.stored_rows(&name, &shape).unwrap();
            assert_eq!(rows.as_ref().map(|rows| rows.code), code, "{case} {part}");
            let (Some(rows), Some(code)) = (rows, code) else { continue };
            let [n_rows, d_in] = shape;
            let ready = rows.ready().unwrap();
            let read = |_: usize, rows: std::ops::Range<usize>, slots: &mut [u8]| ready.read(d_in, rows, slots);
            let coded = Coded::read(&[Part { code, n_rows }], d_in, read).unwrap().unwrap();
            let mut found = vec![0.0; n_rows * d_in]; // [n_rows, d_in]
            coded.rows(&mut found);
            assert_eq!(found, wanted, "{case} {part}");
        }
    }
}
