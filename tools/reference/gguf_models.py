"""The checkpoints of some families' cases as GGUF files, for `crates/attlas-model/tests/gguf_files.rs`.

    python tools/reference/gguf_models.py

Reads crates/attlas-model/tests/data/families/CASE and writes crates/attlas-model/tests/data/gguf/CASE.gguf, so that what
transformers computes of the one is what attlas must compute of the other. Names come from the `gguf` package; what else
llama.cpp's converter does to each architecture is done here: rows of queries and keys as pairs of neighbours (Llama),
norms with their 1 (Gemma), factors of rotary frequencies (Llama 3, Phi 3). No file says by what Gemma scales its scores:
llama.cpp divides by √d_head, so what the case's own scale differs from that by is multiplied into the queries.
"""

import json
import math
from pathlib import Path

import gguf
import numpy as np
from safetensors.torch import load_file

DATA = Path(__file__).resolve().parents[2] / "crates/attlas-model/tests/data"
ARCHITECTURES = {"gemma3_text": "gemma3", "phi": "phi2"}
SPECIAL = {"add_pad_token_id": 0, "add_bos_token_id": 1, "add_eos_token_id": 2}
CASES = ["llama", "llama3", "llama-yarn", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gemma3-older-config", "phi", "phi3", "phi3-longrope", "bert"]


def main() -> None:
    (DATA / "gguf").mkdir(exist_ok=True)
    for case in CASES:
        folder = DATA / "families" / case
        config = json.loads((folder / "config.json").read_text())
        tensors = {name: tensor.float().numpy() for name, tensor in load_file(folder / "model.safetensors").items()}
        name = ARCHITECTURES.get(config["model_type"], config["model_type"])
        writer = gguf.GGUFWriter(DATA / "gguf" / f"{case}.gguf", name)
        metadata(writer, name, config)
        if name == "bert":
            wordpiece(writer)
        elif case == "llama":
            byte_level(writer)
        architecture = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == name)
        names = gguf.get_tensor_name_map(architecture, config["num_hidden_layers"])
        for key, array in changed(name, config, tensors).items():
            found = key if key.startswith(("blk.", "rope_")) else names.get_name(key.removeprefix("bert."), (".weight", ".bias"))
            if found is None:
                print(f"{case}: {key} is left out")
                continue
            writer.add_tensor(found, np.ascontiguousarray(array, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def metadata(writer: gguf.GGUFWriter, name: str, config: dict) -> None:
    """What the converter writes of a configuration."""
    n_heads, width = config["num_attention_heads"], config["hidden_size"]
    d_head = config.get("head_dim") or width // n_heads
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(width)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(n_heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or n_heads)
    if "rms_norm_eps" in config:
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if "layer_norm_eps" in config:
        writer.add_layer_norm_eps(config["layer_norm_eps"])
    if name == "bert":
        writer.add_causal_attention(False)
        return
    if d_head * n_heads != width or name.startswith("gemma"):
        writer.add_key_length(d_head)
        writer.add_value_length(d_head)
    rope = config.get("rope_parameters") or {}
    rope = rope.get("full_attention", rope)
    if name not in ("gemma", "gemma2"):
        writer.add_rope_freq_base(rope.get("rope_theta") or config["rope_theta"])
    if name.startswith("phi"):
        share = rope.get("partial_rotary_factor", 1.0)
        writer.add_rope_dimension_count(int(share * d_head))
    if name == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if name in ("gemma2", "gemma3", "phi3"):
        writer.add_sliding_window(config["sliding_window"] or 0)
    if name == "gemma3":
        types = config.get("layer_types")
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in types] if types else config["sliding_window_pattern"])
        scaling = config.get("rope_scaling") or {}
        if scaling.get("rope_type") == "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(scaling["factor"])
    if rope.get("rope_type") == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if "long_factor" in rope:
        original = config["original_max_position_embeddings"]
        scale = config["max_position_embeddings"] / original
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0)
    for add, id in SPECIAL.items():
        getattr(writer, add)(id)


def changed(name: str, config: dict, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors as the converter changes them; those that only GGUF has under its names."""
    if name == "llama":
        for key, heads in {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}.items():
            tensors |= {at: neighbours(array, heads) for at, array in tensors.items() if f"{key}.weight" in at}
        if (config.get("rope_scaling") or {}).get("rope_type") == "llama3":
            tensors["rope_freqs.weight"] = llama3_factors(config)
    if name.startswith("gemma"):
        own = math.sqrt(config["head_dim"] / config.get("query_pre_attn_scalar", config["head_dim"]))
        scaled = {"gemma2": "q_proj.weight", "gemma3": "q_norm.weight"}.get(name)
        tensors = {at: array + 1 if at.endswith("norm.weight") else array for at, array in tensors.items()}
        tensors = {at: array * own if scaled and at.endswith(scaled) else array for at, array in tensors.items()}
        tensors.pop("lm_head.weight", None)
    if name == "phi2":  # as the first files had it
        for layer in range(config["num_hidden_layers"]):
            for ending in ("weight", "bias"):
                parts = [tensors.pop(f"model.layers.{layer}.self_attn.{part}_proj.{ending}") for part in "qkv"]
                tensors[f"blk.{layer}.attn_qkv.{ending}"] = np.concatenate(parts)
    rope = config.get("rope_parameters") or {}
    for length in ("long", "short"):
        if f"{length}_factor" in rope:
            tensors[f"rope_factors_{length}.weight"] = np.array(rope[f"{length}_factor"])
    return tensors


def neighbours(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of two halves per head as pairs of neighbours."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def llama3_factors(config: dict) -> np.ndarray:
    """What each rotary frequency is divided by."""
    scaling, d_head = config["rope_scaling"], config["head_dim"]
    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    original = scaling["original_max_position_embeddings"]
    factors = []
    for pair in range(d_head // 2):
        wavelength = 2 * math.pi * config["rope_theta"] ** (2 * pair / d_head)
        smooth = (original / wavelength - low) / (high - low)
        if wavelength < original / high:
            factors.append(1.0)
        elif wavelength > original / low:
            factors.append(factor)
        else:
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors)


def wordpiece(writer: gguf.GGUFWriter) -> None:
    """BERT's pieces as GGUF writes them."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, "▁the", "▁cat", "s", "▁sat", "ting", "▁.", *(f"▁w{index}" for index in range(37))]
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_types([control if piece in special else normal for piece in pieces])
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)


def byte_level(writer: gguf.GGUFWriter) -> None:
    """Byte-level BPE whose digits stand alone."""
    pieces = ["<pad>", "<s>", "</s>", "Ġ", "a", "b", "1", "2", "ab", "Ġab", "12", *(f"x{index}" for index in range(37))]
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(pieces)
    writer.add_token_types([control if index < 3 else normal for index in range(len(pieces))])
    writer.add_token_merges(["a b", "Ġ ab", "1 2"])


if __name__ == "__main__":
    main()
