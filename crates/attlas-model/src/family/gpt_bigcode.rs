//! GPT-BigCode: StarCoder 1 (Li et al. 2023) and SantaCoder (Ben Allal et al. 2023): GPT-2 with one key and value head for all
//! query heads.

use super::{Family, gpt2};
use crate::Error;
use crate::config::Architecture;
use crate::config::file::ConfigFile;
use crate::load::{AttentionNames, Layout, Names, ProjectionNames, StackNames};

pub(super) const FAMILY: Family = Family {
    name: "gpt_bigcode",
    model_types: &["gpt_bigcode"],
    about: "StarCoder 1, SantaCoder (Li et al. 2023)",
    read,
    tested: &[("gpt-bigcode", "multi-query"), ("gpt-bigcode-multi-head", "a key head for each query head, f16")],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let (mut architecture, _) = (gpt2::FAMILY.read)(config)?;
    let multi_query = config.flag_or("multi_query", true)?;
    if let (Some(stack), true) = (&mut architecture.decoder, multi_query) {
        stack.blocks.iter_mut().for_each(|block| block.attention.n_kv_heads = 1);
    }
    let together = "attn.c_attn";
    let projections = match multi_query {
        true => ProjectionNames::Joint(together),
        false => ProjectionNames::Grouped(together),
    };
    let attention = AttentionNames { projections, ..gpt2::DECODER.attention };
    let names =
        Names { decoder: Some(StackNames { attention, ..gpt2::DECODER }), layout: Layout::OutIn, ..gpt2::NAMES };
    Ok((architecture, names))
}
