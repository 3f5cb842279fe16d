"""Writes tiny packed checkpoints, and the matrices that were packed, for `crates/attlas-model/tests/folders.rs`.

Numbers are drawn as the small integers or bytes that a method stores, and packed as AutoAWQ, AutoGPTQ and DeepSeek's FP8
files are; what they stand for is computed from the integers, never from the packed words.

    python tools/reference/quantised_fixtures.py
"""

import json
import struct
from pathlib import Path

import numpy as np

DATA = Path(__file__).resolve().parents[2] / "crates/attlas-model/tests/data/folders"
D_MODEL, D_HIDDEN, N_HEADS, N_TOKENS = 32, 40, 4, 24
MATRICES = {
    "self_attn.q_proj": (D_MODEL, D_MODEL),
    "self_attn.k_proj": (D_MODEL // 2, D_MODEL),
    "self_attn.v_proj": (D_MODEL // 2, D_MODEL),
    "self_attn.o_proj": (D_MODEL, D_MODEL),
    "mlp.gate_proj": (D_HIDDEN, D_MODEL),
    "mlp.up_proj": (D_HIDDEN, D_MODEL),
    "mlp.down_proj": (D_MODEL, D_HIDDEN),
}  # [d_out, d_in]
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": D_MODEL,
    "intermediate_size": D_HIDDEN,
    "num_attention_heads": N_HEADS,
    "num_key_value_heads": N_HEADS // 2,
    "num_hidden_layers": 1,
    "max_position_embeddings": 32,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "vocab_size": N_TOKENS,
}
DTYPES = {"float32": "F32", "float16": "F16", "int32": "I32", "uint8": "F8_E4M3"}


def write(path, tensors):
    """A safetensors file; bytes are written as F8_E4M3, which NumPy has no type for."""
    header, data = {}, b""
    for name, array in sorted(tensors.items()):
        raw = np.ascontiguousarray(array).tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": DTYPES[str(array.dtype)], "shape": list(array.shape), "data_offsets": offsets}
        data += raw
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)


def words(numbers, places):
    """Eight numbers of four bits to a word along the last axis; `places[i]` is where number i lies."""
    numbers = numbers.astype(np.uint32).reshape(*numbers.shape[:-1], -1, 8)
    packed = np.zeros(numbers.shape[:-1], np.uint32)
    for index, place in enumerate(places):
        packed |= numbers[..., index] << np.uint32(4 * place)
    return packed.view(np.int32)


def integers(rng, d_out, d_in, n_groups):
    """Numbers [d_in, d_out], zeros and scales [n_groups, d_out]."""
    numbers = rng.integers(0, 16, (d_in, d_out))
    zeros = rng.integers(1, 16, (n_groups, d_out))
    scales = (rng.uniform(0.02, 0.06, (n_groups, d_out))).astype(np.float16)
    return numbers, zeros, scales


def awq(rng, d_out, d_in):
    n_groups = -(-d_in // 8)
    numbers, zeros, scales = integers(rng, d_out, d_in, n_groups)
    groups = np.arange(d_in) // 8
    # AutoAWQ's order_map [0, 2, 4, 6, 1, 3, 5, 7] says which column lies in each place
    places = np.argsort([0, 2, 4, 6, 1, 3, 5, 7])
    parts = {"qweight": words(numbers, places), "qzeros": words(zeros, places), "scales": scales}
    return parts, ((numbers - zeros[groups]) * scales[groups].astype(np.float64)).T


def gptq(rng, d_out, d_in, zero_offset, in_order):
    n_groups = -(-d_in // 8)
    numbers, zeros, scales = integers(rng, d_out, d_in, n_groups)
    groups = np.arange(d_in) // 8
    if not in_order:
        groups = rng.permutation(groups)
    parts = {
        "qweight": np.ascontiguousarray(words(np.ascontiguousarray(numbers.T), range(8)).T),
        "qzeros": words(zeros - zero_offset, range(8)),
        "scales": scales,
        "g_idx": groups.astype(np.int32),
        "bias": np.zeros(d_out, np.float16),
    }
    return parts, ((numbers - zeros[groups]) * scales[groups].astype(np.float64)).T


def e4m3(byte):
    """What a byte stands for: one bit of sign, four of exponent, three of mantissa."""
    sign, exponent, mantissa = byte >> 7, byte >> 3 & 15, byte & 7
    size = np.where(exponent == 0, mantissa * 2.0**-9, (1 + mantissa / 8) * 2.0 ** (exponent.astype(float) - 7))
    return np.where(sign == 1, -size, size)


def fp8(rng, d_out, d_in, block):
    """A scale for each block of `block` rows and columns; for each row where there is no block."""
    numbers = rng.integers(0, 256, (d_out, d_in)).astype(np.uint8)
    numbers[(numbers & 127) == 127] = 0
    high, wide = block or (1, d_in)
    scales = rng.uniform(0.001, 0.003, (-(-d_out // high), -(-d_in // wide))).astype(np.float32)
    spread = np.repeat(np.repeat(scales, high, 0), wide, 1)[:d_out, :d_in]
    name = "weight_scale_inv" if block else "weight_scale"
    return {"weight": numbers, name: scales}, e4m3(numbers) * spread.astype(np.float64)


CASES = {
    "awq": ({"quant_method": "awq", "bits": 4, "group_size": 8, "version": "gemm", "zero_point": True}, awq),
    "gptq": (
        {"quant_method": "gptq", "bits": 4, "group_size": 8, "desc_act": True},
        lambda *sizes: gptq(*sizes, zero_offset=1, in_order=False),
    ),
    "gptq-v2": (
        {"quant_method": "gptq", "bits": 4, "group_size": 8, "checkpoint_format": "gptq_v2"},
        lambda *sizes: gptq(*sizes, zero_offset=0, in_order=True),
    ),
    "fp8-blocks": (
        {"quant_method": "fp8", "weight_block_size": [12, 16]},
        lambda *sizes: fp8(*sizes, block=(12, 16)),
    ),
    "fp8-rows": (
        {
            "quant_method": "compressed-tensors",
            "format": "float-quantized",
            "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}},
        },
        lambda *sizes: fp8(*sizes, block=None),
    ),
}


def main():
    for seed, (case, (settings, pack)) in enumerate(CASES.items()):
        rng = np.random.default_rng(seed)
        packed, plain = {}, {}
        for matrix, (d_out, d_in) in MATRICES.items():
            name = f"model.layers.0.{matrix}"
            parts, weight = pack(rng, d_out, d_in)
            packed |= {f"{name}.{part}": array for part, array in parts.items()}
            plain[f"{name}.weight"] = weight.astype(np.float32)
        shared = {"model.embed_tokens.weight": rng.normal(size=(N_TOKENS, D_MODEL)).astype(np.float32)}
        for norm in ["model.norm", "model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm"]:
            shared[f"{norm}.weight"] = rng.uniform(0.5, 1.5, D_MODEL).astype(np.float32)
        folder = DATA / case
        folder.mkdir(exist_ok=True)
        write(folder / "model.safetensors", packed | shared)
        write(folder / "unpacked.safetensors", plain | shared)
        config = CONFIG | {"quantization_config": settings}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


main()
