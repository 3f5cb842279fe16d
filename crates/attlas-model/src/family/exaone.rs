//! EXAONE 3 (LG AI Research 2024): Llama under other names. EXAONE 4 (LG AI Research 2025): norms on what sublayers give and on
//! queries and keys; where there are windows, layers without one know no positions.

use super::{Family, llama, olmo, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Biases, QkNorm, QkScope, Residual};
use crate::load::{AttentionNames, FeedForwardNames, Names, ProjectionNames, StackNames};

pub(super) const EXAONE: Family = Family {
    name: "exaone",
    model_types: &["exaone"],
    about: "EXAONE 3, EXAONE Deep (LG AI Research 2024)",
    read: read_exaone,
    tested: &[("exaone", "the hub's names and configuration, Llama 3 RoPE scaling")],
    texts: &[],
};

pub(super) const EXAONE4: Family = Family {
    name: "exaone4",
    model_types: &["exaone4"],
    about: "EXAONE 4 (LG AI Research 2025)",
    read: read_exaone4,
    tested: &[
        ("exaone4", "output norms, q/k norms, windows, layers without positions"),
        ("exaone4-without-windows", "positions everywhere, older configuration, bf16"),
    ],
    texts: &[],
};

fn read_exaone(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let config = &config.renamed(FIELDS).defaulting(&[("rope_theta", 500_000.0)]);
    config.assume("max_position_embeddings", 4096);
    llama::decoder(config, llama::biases(config)?, |_, _| Ok(())).map(|architecture| (architecture, HUB_NAMES))
}

/// GPT-2's names for three of Llama's fields, as the hub's files have them.
const FIELDS: &[(&str, &str)] = &[
    ("num_hidden_layers", "num_layers"),
    ("rms_norm_eps", "layer_norm_epsilon"),
    ("hidden_act", "activation_function"),
];

const HUB_NAMES: Names = Names {
    prefixes: &["transformer.", ""],
    decoder: Some(StackNames {
        tokens: &["wte.weight"],
        layer: "h.{}.",
        attention: AttentionNames {
            projections: ProjectionNames::Separate {
                query: "attn.attention.q_proj",
                key: "attn.attention.k_proj",
                value: "attn.attention.v_proj",
            },
            output: "attn.attention.out_proj",
            norm: "ln_1",
            ..AttentionNames::NONE
        },
        feed_forward: FeedForwardNames {
            gate: "mlp.c_fc_0",
            up: "mlp.c_fc_1",
            down: "mlp.c_proj",
            norm: "ln_2",
            ..FeedForwardNames::NONE
        },
        final_norm: "ln_f",
        ..StackNames::NONE
    }),
    ..llama::NAMES
};

fn read_exaone4(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let config = &config.defaulting(&[("rms_norm_eps", 1e-5)]);
    let n_layers = config.layers_or("num_hidden_layers", 32)?;
    let window = readouts::window_or(config, 4096)?;
    let sliding = match (readouts::sliding_layers(config, n_layers)?, window) {
        (Some(sliding), None) if sliding.contains(&true) => {
            return Err(config.error("sliding_window", "is null, but layer_types has \"sliding_attention\""));
        }
        (Some(sliding), _) => sliding,
        (None, None) => vec![false; n_layers],
        (None, Some(_)) => {
            let every = config.size_or("sliding_window_pattern", 4)?;
            (0..n_layers).map(|layer| (layer + 1) % every != 0).collect()
        }
    };
    let architecture = llama::decoder(config, Biases::NONE, |layer, block| {
        block.residual = Residual::OutputNorm;
        block.attention.qk_norm = Some(QkNorm { norm: block.norm, scope: QkScope::Head });
        match window {
            Some(window) if sliding[layer] => block.attention.visibility = readouts::window(window),
            Some(_) => block.attention.rotary = None,
            None => {}
        }
        Ok(())
    })?;
    Ok((architecture, olmo::OUTPUT_NORMS))
}
