//! Decoders that differ from Llama by a detail: Seed-OSS (ByteDance 2025) by its biases, Arcee (2025) by a squared ReLU without a
//! gate, Helium (Kyutai 2025) and Ernie 4.5 (Baidu 2025) by rotary positions on neighbouring columns.

use super::{Family, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Biases, FeedForward};
use crate::load::Names;

pub(super) const SEED_OSS: Family = Family {
    name: "seed_oss",
    model_types: &["seed_oss"],
    about: "Seed-OSS (ByteDance 2025)",
    read: read_seed_oss,
    tested: &[("seed-oss", "q/k/v biases")],
    texts: &[],
};

pub(super) const ARCEE: Family = Family {
    name: "arcee",
    model_types: &["arcee"],
    about: "Arcee AFM (Arcee AI 2025)",
    read: read_arcee,
    tested: &[("arcee", "squared ReLU, no gate, YaRN")],
    texts: &[],
};

pub(super) const HELIUM: Family = Family {
    name: "helium",
    model_types: &["helium"],
    about: "Helium (Kyutai 2025)",
    read: read_helium,
    tested: &[("helium", "interleaved RoPE")],
    texts: &[],
};

pub(super) const ERNIE: Family = Family {
    name: "ernie4_5",
    model_types: &["ernie4_5"],
    about: "Ernie 4.5, dense (Baidu 2025)",
    read: read_ernie,
    tested: &[("ernie4-5", "interleaved RoPE, biases, tied")],
    texts: &[],
};

fn read_seed_oss(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.assume("max_position_embeddings", 524_288);
    let of_heads = config.flag_or("attention_bias", true)?;
    let output = config.flag_or("attention_out_bias", false)?;
    let biases = Biases { query_value: of_heads, key: of_heads, output };
    llama::decoder(config, biases, |_, _| Ok(())).map(|architecture| (architecture, llama::NAMES))
}

fn read_arcee(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.assume("max_position_embeddings", 4096);
    let config = &config.defaulting(&[("rms_norm_eps", 1e-5)]);
    let biases = llama::biases(config)?;
    let feed_forward = FeedForward {
        biases: config.flag_or("mlp_bias", false)?,
        ..FeedForward::plain(config.size("intermediate_size")?, config.activation_or("hidden_act", "relu2")?)
    };
    let architecture = llama::decoder(config, biases, |_, block| {
        block.feed_forward = feed_forward.clone();
        Ok(())
    })?;
    Ok((architecture, llama::NAMES))
}

fn read_helium(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let config = &config.defaulting(&[("rms_norm_eps", 1e-8), ("rope_theta", 1e5)]);
    let biases = if config.flag_or("attention_bias", false)? { Biases::QKV } else { Biases::NONE };
    config.assume("max_position_embeddings", 4096);
    let architecture = llama::decoder(config, biases, |_, block| {
        llama::turn_neighbours(block);
        Ok(())
    })?;
    Ok((architecture, llama::NAMES))
}

fn read_ernie(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let config = &config.defaulting(&[("rms_norm_eps", 1e-5), ("rope_theta", 5e5)]);
    let has_biases = config.flag_or("use_bias", false)?;
    let biases = if has_biases { Biases::ALL } else { Biases::NONE };
    config.assume("max_position_embeddings", 131_072);
    let mut architecture = llama::decoder(config, biases, |_, block| {
        llama::turn_neighbours(block);
        block.feed_forward.biases = has_biases;
        Ok(())
    })?;
    architecture.readout = readouts::next_token(config, config.size("vocab_size")?, readouts::Tied::Yes)?;
    Ok((architecture, llama::NAMES))
}
