//! Rotary positions from config.json: `rope_parameters`, or `rope_theta` with `rope_scaling` in older files.

use std::f64::consts::PI;

use serde_json::{Value, json};

use crate::Error;
use crate::block::rope::inverse_frequencies;
use crate::config::file::ConfigFile;
use crate::config::{Frequencies, Pairs, Rotary};

/// What the frequencies depend on besides the fields about them.
#[derive(Debug, Clone, Copy)]
pub(super) struct RopePlace {
    /// Width of a head.
    pub d_head: usize,
    /// `max_position_embeddings`.
    pub max_positions: usize,
    /// Share of the head's columns that turn, where the configuration does not say.
    pub default_share: f64,
    /// Base of the frequencies, where the configuration does not say.
    pub default_base: f64,
}

/// Reads rotary positions; `layer_type` picks one of several sets (`sliding_attention`), empty where there is one.
pub(super) fn read(config: &ConfigFile, place: RopePlace, layer_type: &str) -> Result<Option<Rotary>, Error> {
    let all = match config.section("rope_parameters")? {
        Some(section) => Some(section),
        None => config.section("rope_scaling")?,
    };
    let own = match &all {
        Some(all) if !layer_type.is_empty() => all.section(layer_type)?,
        _ => None,
    };
    let section = own.or(all);
    from_section(config, section.as_ref(), place).map(Some)
}

/// The configuration with the rotary positions of the family's class, where it gives none: a type and its numbers.
pub(super) fn with_default(config: &ConfigFile, kind: &str, numbers: &[(&str, Value)]) -> ConfigFile {
    if config.has("rope_parameters") || config.has("rope_scaling") {
        return config.clone();
    }
    let number = |(name, value): &(&str, Value)| (format!("rope_parameters.{name}"), value.clone());
    let head = [("rope_parameters".to_owned(), json!({})), ("rope_parameters.rope_type".to_owned(), kind.into())];
    config.with_values(head.into_iter().chain(numbers.iter().map(number)))
}

/// The same on neighbouring columns.
pub(super) fn read_neighbours(config: &ConfigFile, place: RopePlace) -> Result<Option<Rotary>, Error> {
    let rotary = read(config, place, "")?;
    Ok(rotary.map(|rotary| Rotary { pairs: Pairs::Neighbours, ..rotary }))
}

/// The same of layers whose positions an older configuration never scales: what it says in `rope_scaling` is of the others.
pub(super) fn read_unscaled(config: &ConfigFile, place: RopePlace, layer_type: &str) -> Result<Option<Rotary>, Error> {
    match config.has("rope_parameters") {
        true => read(config, place, layer_type),
        false => from_section(config, None, place).map(Some),
    }
}

fn from_section(config: &ConfigFile, section: Option<&ConfigFile>, place: RopePlace) -> Result<Rotary, Error> {
    let holder = |field: &str| section.filter(|section| section.has(field)).unwrap_or(config);
    let base = base(holder("rope_theta"), "rope_theta", place.default_base)?;
    let share = share(holder("partial_rotary_factor"), "partial_rotary_factor", place.default_share)?;
    let n_columns = columns(config, section, place.d_head, share)?;
    let frequencies = match section {
        None => Frequencies::Fixed { per_pair: inverse_frequencies(base, n_columns), factor: 1.0 },
        Some(section) => scaled(config, section, base, n_columns, place.max_positions)?,
    };
    let sections = section.map(|section| sections(section, n_columns)).transpose()?.flatten();
    Ok(Rotary { first_column: 0, n_columns, pairs: Pairs::Halves, frequencies, sections })
}

/// How the pairs are dealt out among the three positions of M-RoPE: one stretch each. Where they take turns (Qwen 3-VL), images are
/// not read, and words need none of it.
fn sections(section: &ConfigFile, n_columns: usize) -> Result<Option<[usize; 3]>, Error> {
    if !section.has("mrope_section") || section.flag_or("mrope_interleaved", false)? {
        return Ok(None);
    }
    let given = section.numbers("mrope_section")?.unwrap_or_default();
    let sizes: Vec<usize> = given.iter().map(|n| *n as usize).collect();
    let is_exact = sizes.iter().zip(&given).all(|(size, n)| *size as f64 == *n);
    match sizes[..] {
        [time, rows, columns] if is_exact && time.saturating_add(rows).saturating_add(columns) == n_columns / 2 => {
            Ok(Some([time, rows, columns]))
        }
        _ => {
            let half = n_columns / 2;
            Err(section.error(
                "mrope_section",
                format!("is {given:?}, but must be three numbers whose sum is {half}, the pairs that turn"),
            ))
        }
    }
}

/// How many columns of a head turn, which must be even and above 0: they turn in pairs.
pub(super) fn columns(
    config: &ConfigFile,
    section: Option<&ConfigFile>,
    d_head: usize,
    share: f64,
) -> Result<usize, Error> {
    let n_columns = (d_head as f64 * share) as usize;
    if n_columns > 0 && n_columns.is_multiple_of(2) {
        return Ok(n_columns);
    }
    let must = "columns turn in pairs, so their number must be even and above 0";
    if share == 1.0 {
        let field = if config.has("head_dim") { "head_dim" } else { "hidden_size" };
        let problem = format!("makes heads of {d_head} columns, all of which rotary positions turn; {must}");
        return Err(config.error(field, problem));
    }
    let problem = format!("is {share}, so rotary positions turn {n_columns} of a head's {d_head} columns; {must}");
    let field = "partial_rotary_factor";
    let holder = section.filter(|section| section.has(field) || !config.has(field)).unwrap_or(config);
    Err(holder.error(field, problem))
}

/// The base of the frequencies, or `default` when absent.
pub(super) fn base(config: &ConfigFile, field: &str, default: f64) -> Result<f64, Error> {
    let base = config.positive_or(field, default)?;
    if base > 1.0 { Ok(base) } else { Err(config.error(field, format!("is {base}, but must be above 1"))) }
}

/// The share of a head's columns that turn, or `default` when absent.
fn share(config: &ConfigFile, field: &str, default: f64) -> Result<f64, Error> {
    let share = config.positive_or(field, default)?;
    if share <= 1.0 { Ok(share) } else { Err(config.error(field, format!("is {share}, but must be at most 1"))) }
}

/// Frequencies after the scaling that a section names.
fn scaled(
    config: &ConfigFile,
    section: &ConfigFile,
    base: f64,
    n_columns: usize,
    max_positions: usize,
) -> Result<Frequencies, Error> {
    let kind = section.text("rope_type")?.or(section.text("type")?).unwrap_or("default").to_owned();
    let plain = inverse_frequencies(base, n_columns);
    let fixed = |per_pair: Vec<f32>| Frequencies::Fixed { per_pair, factor: 1.0 };
    let original = match config.size_or_none("original_max_position_embeddings")? {
        Some(n) => n,
        None => section.size_or("original_max_position_embeddings", max_positions)?,
    };
    let factor = || match section.has("factor") {
        true => section.positive_or("factor", 1.0),
        false => Ok(max_positions as f64 / original as f64),
    };
    let needed = || match section.has("factor") {
        true => factor(),
        false => Err(section.error("factor", format!("is missing; a {kind} scaling needs it"))),
    };
    match kind.as_str() {
        // the three positions of M-RoPE are one in a text, however its section deals the pairs out
        "default" | "mrope" => Ok(fixed(plain)),
        "linear" => {
            let factor = needed()? as f32;
            Ok(fixed(plain.iter().map(|frequency| frequency / factor).collect()))
        }
        "dynamic" => Ok(Frequencies::Dynamic { base, factor: needed()?, threshold: max_positions }),
        "ntk" => Ok(fixed(ntk(section, base, factor()?, n_columns)?)),
        "llama3" => Ok(fixed(llama3(section, &plain, factor()?, original)?)),
        "yarn" => yarn(section, &plain, base, factor()?, original),
        "longrope" | "su" => longrope(section, &plain, factor()?, original),
        _ => Err(section.error(
            "rope_type",
            format!("is \"{kind}\"; attlas knows default, linear, dynamic, ntk, llama3, yarn and longrope"),
        )),
    }
}

/// A larger base, and all pairs slower by the same factor, at every length (GTE's own code; formula 6 of kexue.fm/archives/9706).
fn ntk(section: &ConfigFile, base: f64, factor: f64, n_columns: usize) -> Result<Vec<f32>, Error> {
    section.must_be("mixed_b", &serde_json::Value::Null)?;
    let slower = factor.powf(2.0 / n_columns as f64) as f32;
    Ok(inverse_frequencies(base * factor, n_columns).into_iter().map(|frequency| frequency / slower).collect())
}

/// Slow pairs slower, fast pairs as they were, a slope between (Llama 3.1).
fn llama3(section: &ConfigFile, plain: &[f32], factor: f64, original: usize) -> Result<Vec<f32>, Error> {
    let low = section.positive_or("low_freq_factor", 1.0)? as f32;
    let high = section.positive_or("high_freq_factor", 4.0)? as f32;
    let (factor, original) = (factor as f32, original as f32);
    let scale = |frequency: &f32| {
        let wavelength = 2.0 * std::f32::consts::PI / frequency;
        if wavelength < original / high {
            *frequency
        } else if wavelength > original / low {
            frequency / factor
        } else {
            let smooth = (original / wavelength - low) / (high - low);
            (1.0 - smooth) * frequency / factor + smooth * frequency
        }
    };
    Ok(plain.iter().map(scale).collect())
}

/// YaRN (Peng et al. 2023): interpolates slow pairs, leaves fast ones, and sharpens the scores a little.
fn yarn(section: &ConfigFile, plain: &[f32], base: f64, factor: f64, original: usize) -> Result<Frequencies, Error> {
    let n_columns = 2 * plain.len();
    let sharpen = |scale: f64, weight: f64| if scale <= 1.0 { 1.0 } else { 0.1 * weight * scale.ln() + 1.0 };
    let (mscale, all) = (section.number_or("mscale", 0.0)?, section.number_or("mscale_all_dim", 0.0)?);
    let default =
        if mscale != 0.0 && all != 0.0 { sharpen(factor, mscale) / sharpen(factor, all) } else { sharpen(factor, 1.0) };
    let attention_factor = section.positive_or("attention_factor", default)?;
    let correction =
        |rotations: f64| n_columns as f64 * (original as f64 / (rotations * 2.0 * PI)).ln() / (2.0 * base.ln());
    let mut low = correction(section.positive_or("beta_fast", 32.0)?);
    let mut high = correction(section.positive_or("beta_slow", 1.0)?);
    if section.flag_or("truncate", true)? {
        (low, high) = (low.floor(), high.ceil());
    }
    let (low, mut high) = (low.max(0.0), high.min(n_columns as f64 - 1.0));
    if low == high {
        high += 0.001;
    }
    let per_pair = plain.iter().enumerate().map(|(pair, frequency)| {
        let ramp = ((pair as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
        frequency / factor as f32 * ramp + frequency * (1.0 - ramp)
    });
    Ok(Frequencies::Fixed { per_pair: per_pair.collect(), factor: attention_factor as f32 })
}

/// A factor per pair, one list for short and one for long texts (Phi-3).
fn longrope(section: &ConfigFile, plain: &[f32], factor: f64, original: usize) -> Result<Frequencies, Error> {
    let list = |field: &str| {
        let factors = section.numbers(field)?.ok_or_else(|| section.error(field, "is missing"))?;
        if factors.len() != plain.len() {
            let n = factors.len();
            return Err(section.error(field, format!("has {n} numbers, but the heads have {} pairs", plain.len())));
        }
        Ok(plain.iter().zip(&factors).map(|(frequency, factor)| frequency / *factor as f32).collect::<Vec<f32>>())
    };
    let default = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / (original as f64).ln()).sqrt() };
    let factor = section.positive_or("attention_factor", default)? as f32;
    let (short, long) = (list("short_factor")?, list("long_factor")?);
    Ok(match short == long {
        true => Frequencies::Fixed { per_pair: short, factor },
        false => Frequencies::ByLength { short, long, threshold: original, factor },
    })
}
