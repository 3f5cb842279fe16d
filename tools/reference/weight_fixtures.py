"""Small weight files in PyTorch's two formats and in GGUF, and blocks of all its types, with the numbers they hold.

    python tools/reference/weight_fixtures.py

Writes crates/attlas-model/tests/data/weights/. Needs the packages of requirements.txt.
"""

import collections
import json
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.numpy import save_file

OUT = Path(__file__).resolve().parents[2] / "crates/attlas-model/tests/data/weights"


def tensors():
    """Each type, a transposed view, a part of a storage, two names for one storage, a scalar and an empty tensor."""
    torch.manual_seed(0)
    base = torch.randn(4, 6)
    tied = torch.randn(3, 2)
    return collections.OrderedDict(
        f32=base, f16=base.half(), bf16=base.bfloat16(), f64=base.double(), i64=torch.arange(5),
        transposed=base.t(), part=base[1:3], column=base[:, 2], tied_a=tied, tied_b=tied,
        scalar=torch.tensor(2.5), empty=torch.zeros(0, 3), parameter=torch.nn.Parameter(torch.ones(2)),
    )


def pickles():
    state = tensors()
    torch.save(state, OUT / "zip.bin")
    torch.save(state, OUT / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "model_state_dict": state, "note": "x"}, OUT / "nested.pt")
    torch.save({"weight": torch.ones(1), "path": Path("x")}, OUT / "hostile-path.bin")
    expected = {
        name: {"shape": list(tensor.shape), "numbers": tensor.detach().double().flatten().tolist()}
        for name, tensor in state.items()
    }
    (OUT / "pickles.json").write_text(json.dumps(expected))


LAYERS, HEADS, KV_HEADS, VOCAB = 1, 4, 2, 32


def permuted(weight, heads):
    """Hugging Face's rows (two halves per head) in llama.cpp's order (pairs), as its converter does."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def llama(name, kind):
    """A Llama of one layer; matrices are stored as `kind`, whose blocks a row must fill."""
    width = feed_forward = 256 if kind == gguf.GGMLQuantizationType.Q4_K else 64
    random = np.random.default_rng(0)
    head = width // HEADS
    shapes = {
        "token_embd": (VOCAB, width), "output_norm": (width,),
        **{f"blk.{layer}.{part}": shape for layer in range(LAYERS) for part, shape in {
            "attn_norm": (width,), "ffn_norm": (width,), "attn_q": (width, width), "attn_k": (KV_HEADS * head, width),
            "attn_v": (KV_HEADS * head, width), "attn_output": (width, width), "ffn_gate": (feed_forward, width),
            "ffn_up": (feed_forward, width), "ffn_down": (width, feed_forward)}.items()},
    }
    writer = gguf.GGUFWriter(OUT / name, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    pieces = ["<unk>", "<s>", "</s>", "▁", "a", "b", "t", "h", "e", "c", "th", "the", "▁the", "▁c", "at", "▁cat"]
    pieces += [f"x{index}" for index in range(VOCAB - len(pieces))]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.NORMAL] * (VOCAB - 3)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces)
    writer.add_token_scores([-float(index) for index in range(VOCAB)])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    expected = {}
    for key, shape in shapes.items():
        weight = (random.standard_normal(shape) * 0.05).astype(np.float32)
        stored = weight
        if "attn_q" in key or "attn_k" in key:
            stored = permuted(weight, HEADS if "attn_q" in key else KV_HEADS)
        if len(shape) == 1:
            writer.add_tensor(f"{key}.weight", stored)
        elif kind == gguf.GGMLQuantizationType.F16:
            stored = stored.astype(np.float16)
            writer.add_tensor(f"{key}.weight", stored)
        elif kind == gguf.GGMLQuantizationType.F32:
            writer.add_tensor(f"{key}.weight", stored)
        else:
            stored = gguf.quantize(stored, kind) if kind != gguf.GGMLQuantizationType.Q4_K else q4_k(random, shape)
            writer.add_tensor(f"{key}.weight", stored, raw_dtype=kind)
        numbers = gguf.dequantize(stored, kind) if len(shape) == 2 else stored
        numbers = np.asarray(numbers, np.float32).reshape(shape)
        if "attn_q" in key or "attn_k" in key:
            heads = HEADS if "attn_q" in key else KV_HEADS
            numbers = numbers.reshape(heads, head // 2, 2, width).swapaxes(1, 2).reshape(shape)
        # A sum with uneven weights tells any change of order.
        flat = numbers.astype(np.float64).flatten()
        expected[key] = {"shape": list(shape), "first": flat[:4].tolist(),
                         "sum": float((flat * (1 + np.arange(flat.size) % 1013)).sum())}
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return expected


def q4_k(random, shape):
    """Blocks of random bits with scales in a sensible range: the package reads q4_K, but does not write it."""
    blocks = random.integers(0, 256, (shape[0], shape[1] // 256, 144), dtype=np.uint8)
    scales = (random.random((*blocks.shape[:2], 2)) * 0.001).astype(np.float16)
    blocks[..., :4] = scales.view(np.uint8).reshape(*blocks.shape[:2], 4)
    return blocks.reshape(shape[0], -1)


def blocks():
    """Random bits of every type of block with scales in a sensible range, and what the package makes of them."""
    random = np.random.default_rng(1)
    places = {"Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,), "Q4_1": (0, 2), "Q5_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2)}
    tensors = {}
    for name in ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]:
        kind = gguf.GGMLQuantizationType[name]
        n_numbers, n_bytes = gguf.GGML_QUANT_SIZES[kind]
        stored = random.integers(0, 256, (512 // n_numbers, n_bytes), dtype=np.uint8)
        for place in places.get(name, (0,)):
            scales = (random.random((len(stored), 1)) * 0.02 - 0.01).astype(np.float16)
            stored[:, place : place + 2] = scales.view(np.uint8)
        tensors[f"{name.lower()}.bytes"] = stored
        tensors[f"{name.lower()}.numbers"] = gguf.dequantize(stored.reshape(1, -1), kind).astype(np.float32).flatten()
    save_file(tensors, OUT / "blocks.safetensors")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    pickles()
    blocks()
    kinds = gguf.GGMLQuantizationType
    results = {}
    for name, kind in {"f16": kinds.F16, "q8_0": kinds.Q8_0, "q4_k": kinds.Q4_K}.items():
        results[name] = llama(f"{name}.gguf", kind)
    (OUT / "gguf.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
