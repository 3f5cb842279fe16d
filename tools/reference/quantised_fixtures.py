"""Writes tiny packed checkpoints, and the matrices that were packed, for `crates/attlas-model/tests/packed_weights.rs`.

Numbers are drawn as the small integers or bytes that a method stores, and packed as AutoAWQ, AutoGPTQ and DeepSeek's FP8
files are, or by compressed-tensors; what they stand for is computed from the integers, never from the packed words.
bitsandbytes packs and unpacks its own cases.

    python tools/reference/quantised_fixtures.py
"""

import json
import struct
from pathlib import Path

import bitsandbytes.functional as bnb
import numpy as np
import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32

DATA = Path(__file__).resolve().parents[2] / "crates/attlas-model/tests/data/folders"
D_MODEL, D_HIDDEN, N_HEADS, N_TOKENS = 32, 40, 4, 24
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
E4M3 = "V1"  # bytes of no type: NumPy has none for it
DTYPES = {"float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int8": "I8", "uint8": "U8", "|V1": "F8_E4M3"}


def matrices(d_model):
    """Shapes [d_out, d_in]."""
    return {
        "self_attn.q_proj": (d_model, d_model),
        "self_attn.k_proj": (d_model // 2, d_model),
        "self_attn.v_proj": (d_model // 2, d_model),
        "self_attn.o_proj": (d_model, d_model),
        "mlp.gate_proj": (D_HIDDEN, d_model),
        "mlp.up_proj": (D_HIDDEN, d_model),
        "mlp.down_proj": (d_model, D_HIDDEN),
    }


def write(path, tensors):
    """A safetensors file."""
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
    """So many numbers to a word along the last axis; `places[i]` is where number i lies."""
    numbers = numbers.astype(np.uint32).reshape(*numbers.shape[:-1], -1, len(places))
    packed = np.zeros(numbers.shape[:-1], np.uint32)
    for index, place in enumerate(places):
        packed |= numbers[..., index] << np.uint32(32 // len(places) * place)
    return packed.view(np.int32)


def integers(rng, d_out, d_in, n_groups, bits=4):
    """Numbers [d_in, d_out], zeros and scales [n_groups, d_out]."""
    numbers = rng.integers(0, 2**bits, (d_in, d_out))
    zeros = rng.integers(1, 2**bits, (n_groups, d_out))
    scales = (rng.uniform(0.02, 0.06, (n_groups, d_out)) * 16 / 2**bits).astype(np.float16)
    return numbers, zeros, scales


def awq(rng, d_out, d_in, group_size=8):
    n_groups = -(-d_in // group_size)
    numbers, zeros, scales = integers(rng, d_out, d_in, n_groups)
    groups = np.arange(d_in) // group_size
    # AutoAWQ's order_map [0, 2, 4, 6, 1, 3, 5, 7] says which column lies in each place
    places = np.argsort([0, 2, 4, 6, 1, 3, 5, 7])
    parts = {"qweight": words(numbers, places), "qzeros": words(zeros, places), "scales": scales}
    return parts, ((numbers - zeros[groups]) * scales[groups].astype(np.float64)).T


def gptq(rng, d_out, d_in, zero_offset, in_order, bits=4, group_size=8):
    n_groups = -(-d_in // group_size)
    numbers, zeros, scales = integers(rng, d_out, d_in, n_groups, bits)
    groups = np.arange(d_in) // group_size
    if not in_order:
        groups = rng.permutation(groups)
    places = range(32 // bits)
    parts = {
        "qweight": np.ascontiguousarray(words(np.ascontiguousarray(numbers.T), places).T),
        "qzeros": words(zeros - zero_offset, places),
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
    return {"weight": numbers.view(E4M3), name: scales}, e4m3(numbers) * spread.astype(np.float64)


def compressed(rng, d_out, d_in, bits, group_size=None, zeros=False, order=False, packed=True):
    """Signed numbers; a scale for a row, or for a group of its inputs, with zeros or without."""
    n_groups = d_in // group_size if group_size else 1
    top = 2 ** (bits - 1)
    numbers = rng.integers(-top, top, (d_out, d_in)).astype(np.int8)
    zero = rng.integers(-top, top, (d_out, n_groups)).astype(np.int8) if zeros else np.zeros((d_out, n_groups), np.int8)
    scales = (rng.uniform(0.02, 0.06, (d_out, n_groups)) * 16 / 2**bits).astype(np.float16)
    groups = np.arange(d_in) * n_groups // d_in
    parts = {"weight_scale": scales}
    if order:
        groups = rng.permutation(groups)
        parts["weight_g_idx"] = groups.astype(np.int32)
    if packed:
        parts["weight_packed"] = pack_to_int32(torch.from_numpy(numbers), bits).numpy()
        parts["weight_shape"] = np.array([d_out, d_in], np.int64)
        if zeros:
            parts["weight_zero_point"] = pack_to_int32(torch.from_numpy(zero), bits, packed_dim=0).numpy()
    else:
        parts["weight"] = numbers
        if zeros:
            parts["weight_zero_point"] = zero
    return parts, (numbers.astype(np.float64) - zero[:, groups]) * scales.astype(np.float64)[:, groups]


def four_bits(rng, d_out, d_in, kind, nested):
    """As bitsandbytes packs and unpacks it, in blocks of 64."""
    weight = torch.from_numpy(rng.normal(size=(d_out, d_in)).astype(np.float32)) * 0.15
    pairs, state = bnb.quantize_4bit(weight, blocksize=64, quant_type=kind, compress_statistics=nested)
    parts = {f"weight.{name}": tensor.numpy() for name, tensor in state.as_dict(packed=True).items()}
    return {"weight": pairs.numpy()} | parts, bnb.dequantize_4bit(pairs, state).numpy()


def eight_bits(rng, d_out, d_in):
    """Rows of LLM.int8(), as bitsandbytes packs and unpacks them."""
    weight = torch.from_numpy(rng.normal(size=(d_out, d_in)).astype(np.float32)) * 0.15
    rows, largest, _ = bnb.int8_vectorwise_quant(weight.half())
    parts = {"weight": rows.numpy(), "SCB": largest.numpy(), "weight_format": np.array(0, np.uint8)}
    return parts, bnb.int8_vectorwise_dequant(rows, largest).numpy()


def of_compressed(format, **weights):
    return {"quant_method": "compressed-tensors", "format": format, "config_groups": {"group_0": {"weights": weights}}}


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
    # groups of whole blocks, which stay packed
    "awq-blocks": (
        {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "GEMM", "zero_point": True},
        lambda *sizes: awq(*sizes, group_size=32),
    ),
    "gptq-8-bits": (
        {"quant_method": "gptq", "bits": 8, "group_size": 8, "desc_act": False},
        lambda *sizes: gptq(*sizes, zero_offset=1, in_order=True, bits=8),
    ),
    "compressed-4-bits": (
        of_compressed("pack-quantized", num_bits=4, type="int", strategy="group", group_size=8, symmetric=False),
        lambda *sizes: compressed(*sizes, bits=4, group_size=8, zeros=True, order=True),
    ),
    "compressed-4-bit-rows": (
        of_compressed("pack-quantized", num_bits=4, type="int", strategy="channel", symmetric=True),
        lambda *sizes: compressed(*sizes, bits=4),
    ),
    "compressed-8-bits": (
        of_compressed("int-quantized", num_bits=8, type="int", strategy="channel", symmetric=True),
        lambda *sizes: compressed(*sizes, bits=8, packed=False),
    ),
    "bitsandbytes-nf4": (
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
        lambda *sizes: four_bits(*sizes, kind="nf4", nested=True),
    ),
    "bitsandbytes-fp4": (
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
        lambda *sizes: four_bits(*sizes, kind="fp4", nested=False),
    ),
    "bitsandbytes-8-bits": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, eight_bits),
}
WIDTHS = {"bitsandbytes-nf4": 64, "bitsandbytes-fp4": 64}  # where a row must fill larger blocks


def main():
    for seed, (case, (settings, pack)) in enumerate(CASES.items()):
        rng = np.random.default_rng(seed)
        d_model = WIDTHS.get(case, D_MODEL)
        packed, plain = {}, {}
        for matrix, (d_out, d_in) in matrices(d_model).items():
            name = f"model.layers.0.{matrix}"
            parts, weight = pack(rng, d_out, d_in)
            packed |= {f"{name}.{part}": array for part, array in parts.items()}
            plain[f"{name}.weight"] = weight.astype(np.float32)
        shared = {"model.embed_tokens.weight": rng.normal(size=(N_TOKENS, d_model)).astype(np.float32)}
        for norm in ["model.norm", "model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm"]:
            shared[f"{norm}.weight"] = rng.uniform(0.5, 1.5, d_model).astype(np.float32)
        folder = DATA / case
        folder.mkdir(exist_ok=True)
        write(folder / "model.safetensors", packed | shared)
        write(folder / "unpacked.safetensors", plain | shared)
        config = CONFIG | {"hidden_size": d_model, "quantization_config": settings}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


main()
