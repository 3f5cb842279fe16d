"""Cases of families.py that have attention in some of their layers only."""

import torch
import transformers as t

from family_cases import DECODER, ROUTED, Case

NARROW = DECODER | {"hidden_size": 12, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 8}
FACTORS = {"embedding_multiplier": 3.0, "attention_multiplier": 0.3, "residual_multiplier": 0.4, "logits_scaling": 2.0}
MAMBA2 = {"mamba_n_heads": 4, "mamba_d_head": "auto", "mamba_d_state": 5, "mamba_d_conv": 3, "mamba_chunk_size": 8}
LINEAR, FULL = "linear_attention", "full_attention"


def granite() -> list[Case]:
    mixed = NARROW | FACTORS | MAMBA2 | {"shared_intermediate_size": 10, "num_experts_per_tok": 2}
    wide = {**DECODER, **FACTORS, **MAMBA2, "num_key_value_heads": 2, "mamba_n_groups": 2, "mamba_proj_bias": True, "mamba_conv_bias": False}
    wide |= {"num_local_experts": 0, "shared_intermediate_size": 20, "position_embedding_type": "rope", "tie_word_embeddings": True}
    layers = [LINEAR, FULL, LINEAR, FULL]
    return [
        Case(
            "granite-hybrid",
            t.GraniteMoeHybridForCausalLM,
            t.GraniteMoeHybridConfig(**mixed | {"num_hidden_layers": 3}, num_local_experts=4, layer_types=[LINEAR, LINEAR, FULL]),
            long=20,
            long_prompt=9,
            gains=ROUTED | {"router": 2.5},
            edit=hubs_granite,
        ),
        Case(
            "granite-hybrid-dense",
            t.GraniteMoeHybridForCausalLM,
            t.GraniteMoeHybridConfig(**wide | {"num_hidden_layers": 4}, layer_types=layers),
            torch.bfloat16,
            long=20,
        ),
    ]


def hubs_granite(config: dict) -> None:
    """Names that IBM's own files have."""
    config["layer_types"] = ["attention" if kind == FULL else "mamba" for kind in config["layer_types"]]
    config["position_embedding_type"] = "nope"


def jamba() -> list[Case]:
    mamba = {"mamba_d_state": 4, "mamba_d_conv": 3, "mamba_dt_rank": 5, "mamba_expand": 2}
    layers = {"attn_layer_period": 3, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 0}
    return [
        Case(
            "jamba",
            t.JambaForCausalLM,
            t.JambaConfig(**NARROW | mamba | layers | {"num_hidden_layers": 3}, num_experts=4, num_experts_per_tok=2),
            long=20,
            long_prompt=9,
            gains=ROUTED | {"router": 2.5},
        ),
        Case(
            "jamba-dense",
            t.JambaForCausalLM,
            t.JambaConfig(
                **DECODER | mamba | {"num_hidden_layers": 4, "num_key_value_heads": 2, "mamba_dt_rank": "auto", "attn_layer_period": 2},
                attn_layer_offset=1, num_experts=1, mamba_proj_bias=True, mamba_conv_bias=False, tie_word_embeddings=True,
            ),
            torch.float16,
            long=20,
        ),
    ]


def qwen3_next() -> list[Case]:
    linear = {"linear_conv_kernel_dim": 3, "linear_key_head_dim": 6, "linear_value_head_dim": 8, "linear_num_key_heads": 2}
    # outputs of heads are near 0 now and then: what a norm makes of them must not hang on a rounding
    linear |= {"linear_num_value_heads": 4, "head_dim": 8, "rms_norm_eps": 1e-3}
    mixture = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 6, "shared_expert_intermediate_size": 10}
    dense = DECODER | linear | {"num_hidden_layers": 4, "num_experts": 0, "attention_bias": True, "num_key_value_heads": 2}
    return [
        Case(
            "qwen3-next",
            t.Qwen3NextForCausalLM,
            t.Qwen3NextConfig(**NARROW | linear | mixture | {"num_hidden_layers": 3}, layer_types=[LINEAR, FULL, LINEAR], mlp_only_layers=[2]),
            long=20,
            long_prompt=9,
            gains=ROUTED,
        ),
        Case(
            "qwen3-next-dense",
            t.Qwen3NextForCausalLM,
            t.Qwen3NextConfig(**dense, full_attention_interval=2),
            torch.bfloat16,
            long=20,
            edit=hubs_qwen,
        ),
    ]


def hubs_qwen(config: dict) -> None:
    """Layers by their interval and rotary positions by single fields, as Qwen's own files have them."""
    del config["layer_types"]
    config |= {"full_attention_interval": 2, "rope_theta": config.pop("rope_parameters")["rope_theta"], "partial_rotary_factor": 0.25}


CASES = [*granite(), *jamba(), *qwen3_next()]
for case in CASES:
    case.generates = True
    case.in_f64 = True  # states add up over the text, and f32 would show in logits
