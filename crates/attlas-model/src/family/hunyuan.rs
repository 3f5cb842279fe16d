//! Hunyuan, dense (Tencent 2025): Llama with norms on queries and keys after they were turned.

use super::{Family, llama, rotary};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Norm, QkNorm, QkScope};
use crate::load::{AttentionNames, Names, StackNames};

pub(super) const FAMILY: Family = Family {
    name: "hunyuan_v1_dense",
    model_types: &["hunyuan_v1_dense"],
    about: "Hunyuan, dense (Tencent 2025)",
    read,
    tested: &[
        ("hunyuan", "q/k norms after RoPE, larger base by alpha"),
        ("hunyuan-older", "older configuration, biases, tied, bf16"),
    ],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let config = &with_alpha(config)?.defaulting(&[("rms_norm_eps", 1e-5)]);
    let norm = Norm::rms(config.positive_or("rms_norm_eps", 1e-5)? as f32);
    let architecture = llama::decoder(config, llama::biases(config)?, |_, block| {
        block.attention.qk_norm = Some(QkNorm { norm, scope: QkScope::Turned });
        Ok(())
    })?;
    Ok((architecture, NAMES))
}

/// The configuration with a larger base of its frequencies in the place of `alpha`, which its files call dynamic and which is the same
/// at every length: `base · alpha^(d / (d − 2))`.
fn with_alpha(config: &ConfigFile) -> Result<ConfigFile, Error> {
    let field = if config.has("rope_parameters") { "rope_parameters" } else { "rope_scaling" };
    let Some(section) = config.section(field)? else { return Ok(config.clone()) };
    let kind = section.text("rope_type")?.or(section.text("type")?).unwrap_or("default");
    let alpha = section.number_or("alpha", 0.0)?;
    if kind != "dynamic" || alpha == 0.0 {
        return Ok(config.clone());
    }
    let alpha = section.positive_or("alpha", alpha)?;
    let holder = if section.has("rope_theta") { &section } else { config };
    let base = rotary::base(holder, "rope_theta", 10_000.0)?;
    let d_head = config.size("head_dim")?;
    if d_head <= 2 {
        return Err(config.error("head_dim", format!("is {d_head}, but alpha needs heads of more than two columns")));
    }
    let larger = base * alpha.powf(d_head as f64 / (d_head as f64 - 2.0));
    let values = [("rope_type", "default".into()), ("rope_theta", larger.into())];
    Ok(config.with_values(values.map(|(name, value)| (format!("{field}.{name}"), value))))
}

const NAMES: Names = Names {
    decoder: Some(StackNames {
        attention: AttentionNames {
            query_norm: "self_attn.query_layernorm",
            key_norm: "self_attn.key_layernorm",
            ..llama::DECODER.attention
        },
        ..llama::DECODER
    }),
    ..llama::NAMES
};
