"""The tiny random models that captures are tested on, one a family: two layers of four heads, vocabularies of 100."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from capture_tools import DECODER, SEQ2SEQ, SMALL, VISION, eager, ids, made, stacked, torch

ENCODERS: dict[str, Callable[[], Any]] = {
    "bert": lambda: made("BertForMaskedLM", **SMALL),
    "modernbert": lambda: made(
        "ModernBertModel",
        **SMALL,
        local_attention=6,
        global_attn_every_n_layers=2,
        pad_token_id=0,
        cls_token_id=1,
        sep_token_id=2,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "deberta": lambda: made("DebertaModel", **SMALL, relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "deberta_v2": lambda: made("DebertaV2Model", **SMALL, relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "albert": lambda: made("AlbertModel", **SMALL, embedding_size=16),
}

def llama(**settings: Any) -> Any:
    """A Llama, with these settings besides."""
    return made("LlamaForCausalLM", **{**DECODER, **settings})


DECODERS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: made(
        "GPT2LMHeadModel",
        vocab_size=100,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=64,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "gpt_neo": lambda: made(
        "GPTNeoForCausalLM",
        vocab_size=100,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        window_size=4,
        attention_types=[[["global", "local"], 1]],
        bos_token_id=1,
        eos_token_id=2,
    ),
    "gpt_neox": lambda: made("GPTNeoXForCausalLM", **SMALL),
    "bloom": lambda: made(
        "BloomForCausalLM", vocab_size=100, hidden_size=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2
    ),
    "llama": llama,
    "qwen3": lambda: made("Qwen3ForCausalLM", **DECODER, head_dim=8),
    "gemma2": lambda: made(
        "Gemma2ForCausalLM",
        **DECODER,
        head_dim=8,
        sliding_window=4,
        query_pre_attn_scalar=8,
        attn_logit_softcapping=5.0,
    ),
    "gemma3": lambda: made(
        "Gemma3ForCausalLM", "Gemma3TextConfig", **DECODER, head_dim=8, sliding_window=4, query_pre_attn_scalar=8
    ),
    "gpt_oss": lambda: made(
        "GptOssForCausalLM", **DECODER, num_local_experts=2, num_experts_per_tok=1, head_dim=8, sliding_window=4
    ),
    "deepseek_v3": lambda: made(
        "DeepseekV3ForCausalLM",
        **{**DECODER, "num_key_value_heads": 4},
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_nope_head_dim=8,
        qk_rope_head_dim=8,
        v_head_dim=12,
        n_routed_experts=2,
        num_experts_per_tok=1,
        n_group=1,
        topk_group=1,
        moe_intermediate_size=16,
        first_k_dense_replace=2,
    ),
    "mixtral": lambda: made("MixtralForCausalLM", **DECODER, num_local_experts=2, num_experts_per_tok=1),
}

SEQ2SEQS: dict[str, Callable[[], Any]] = {
    "bart": lambda: made("BartForConditionalGeneration", **SEQ2SEQ),
    "marian": lambda: made("MarianMTModel", **SEQ2SEQ),
    "t5": lambda: made(
        "T5ForConditionalGeneration",
        vocab_size=100,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=16,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=2,
    ),
}

IMAGES: dict[str, Callable[[], Any]] = {"vit": lambda: made("ViTModel", **VISION)}

MODELS = ENCODERS | DECODERS | SEQ2SEQS | IMAGES

DENSE = {"deberta", "deberta_v2", "gpt_neo", "bloom"}
"""Families that multiply queries and keys in code of their own: their softmax is what can be seen."""


def pixels(*shape: int) -> Any:
    """Images of noise, seeded, `[batch, 3, height, width]` or of another shape."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def example(family: str) -> dict[str, Any]:
    """What a model of the family reads: two texts that differ in length where it takes padding, or two images."""
    if family in IMAGES:
        return {"pixel_values": pixels(2, 3, 24, 24)}
    inputs = {"input_ids": ids(2, 11), "attention_mask": torch.ones(2, 11, dtype=torch.long)}
    if family in DECODERS:
        return inputs | {"use_cache": False}
    inputs["attention_mask"][1, 8:] = 0
    return inputs | ({"decoder_input_ids": ids(2, 6), "use_cache": False} if family in SEQ2SEQS else {})


def by_eager(model: Any, inputs: dict[str, Any], kind: str = "") -> dict[tuple[str, int], Any]:
    """The weights that the model's eager attention hands out, by kind and layer; `kind` where the model has one only."""
    with torch.no_grad():
        given = eager(model)(**inputs, output_attentions=True)
    if "encoder_attentions" not in given:
        return stacked(given.attentions, kind)
    return (
        stacked(given.encoder_attentions, "encoder")
        | stacked(given.decoder_attentions, "decoder")
        | stacked(given.cross_attentions, "cross")
    )
