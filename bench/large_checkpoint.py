#!/usr/bin/env python3
"""Memory and time of recording a text with large models whose weights stay in their file's type.

    cargo build --release
    python bench/large_checkpoint.py --folder /tmp                      # writes up to 4.9 GB there, and deletes it
    python bench/large_checkpoint.py --folder /tmp --models 1b --tokens 100

Writes checkpoints of the shapes of Llama 3 8B (GGUF, the mixture Q4_K_M of q4_K and q6_K) and of Llama 3.2 1B (safetensors,
bf16), with random weights and a vocabulary whose first 256 entries are the bytes, so that a letter is a token; records a text with
every head, and prints the size of the file, of the recording, the largest resident memory of the process (ru_maxrss), the
processor time of its threads and the time by the clock. Needs numpy.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

ALIGNMENT = 32
F32, Q4_K, Q6_K = 0, 12, 14
UINT32, FLOAT32, TEXT, LIST = 4, 6, 8, 9


class Shape(NamedTuple):
    width: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool

    @property
    def kv_width(self) -> int:
        return self.width // self.heads * self.kv_heads


LLAMA_8B = Shape(4096, 14336, 32, 32, 8, 128256, tied=False)
LLAMA_1B = Shape(2048, 8192, 16, 32, 8, 128256, tied=True)


def pieces(n: int) -> list[str]:
    """The bytes as byte-level BPE writes them, then entries that no text has."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in shown]
    letters = {byte: chr(byte) for byte in shown} | {byte: chr(256 + i) for i, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)] + [f"<unused {i}>" for i in range(256, n)]


def random_blocks(kind: int, generator: np.random.Generator) -> bytes:
    """Blocks of 256 numbers whose standard deviation is about 0.02."""
    n = 1 << 15
    if kind == Q4_K:
        blocks = generator.integers(0, 256, (n, 144), dtype=np.uint8)
        scale = np.float16(8e-5)
        minimum = np.float16(7.5 * 8e-5)  # in the middle of what a scale of 6 bits and a number of 4 are on average
        blocks[:, 0:2] = np.frombuffer(scale.tobytes(), np.uint8)
        blocks[:, 2:4] = np.frombuffer(minimum.tobytes(), np.uint8)
    else:
        blocks = generator.integers(0, 256, (n, 210), dtype=np.uint8)
        blocks[:, 192:208] = generator.integers(-16, 17, (n, 16)).astype(np.int8).view(np.uint8)
        blocks[:, 208:210] = np.frombuffer(np.float16(1.2e-4).tobytes(), np.uint8)
    return blocks.tobytes()


def repeated(block: bytes, n_bytes: int, file: BinaryIO) -> None:
    while n_bytes > 0:
        file.write(block[:n_bytes])
        n_bytes -= len(block)


def gguf_tensors(shape: Shape) -> Iterator[tuple[str, list[int], int]]:
    """Name, sizes (outermost first) and type of each, as llama.cpp mixes them for Q4_K_M."""
    eighth = shape.layers // 8
    yield "token_embd.weight", [shape.vocabulary, shape.width], Q4_K
    yield "output_norm.weight", [shape.width], F32
    yield "output.weight", [shape.vocabulary, shape.width], Q6_K
    for i in range(shape.layers):
        more = Q6_K if i < eighth or i >= 7 * eighth or (i - eighth) % 3 == 2 else Q4_K
        yield f"blk.{i}.attn_norm.weight", [shape.width], F32
        yield f"blk.{i}.ffn_norm.weight", [shape.width], F32
        yield f"blk.{i}.attn_q.weight", [shape.width, shape.width], Q4_K
        yield f"blk.{i}.attn_k.weight", [shape.kv_width, shape.width], Q4_K
        yield f"blk.{i}.attn_v.weight", [shape.kv_width, shape.width], more
        yield f"blk.{i}.attn_output.weight", [shape.width, shape.width], Q4_K
        yield f"blk.{i}.ffn_gate.weight", [shape.hidden, shape.width], Q4_K
        yield f"blk.{i}.ffn_up.weight", [shape.hidden, shape.width], Q4_K
        yield f"blk.{i}.ffn_down.weight", [shape.width, shape.hidden], more


def n_bytes_of(sizes: list[int], kind: int) -> int:
    numbers = int(np.prod(sizes))
    return {F32: 4 * numbers, Q4_K: numbers // 256 * 144, Q6_K: numbers // 256 * 210}[kind]


def write_gguf(path: Path, shape: Shape) -> None:
    def text(value: str) -> bytes:
        encoded = value.encode()
        return struct.pack("<Q", len(encoded)) + encoded

    def entry(key: str, kind: int, value: bytes) -> bytes:
        return text(key) + struct.pack("<I", kind) + value

    def texts(values: list[str]) -> bytes:
        return struct.pack("<IQ", TEXT, len(values)) + b"".join(map(text, values))

    numbers = {
        "embedding_length": shape.width, "feed_forward_length": shape.hidden, "block_count": shape.layers,
        "attention.head_count": shape.heads, "attention.head_count_kv": shape.kv_heads, "context_length": 8192,
    }
    entries = [
        entry("general.architecture", TEXT, text("llama")),
        *(entry(f"llama.{key}", UINT32, struct.pack("<I", value)) for key, value in numbers.items()),
        entry("llama.attention.layer_norm_rms_epsilon", FLOAT32, struct.pack("<f", 1e-5)),
        entry("llama.rope.freq_base", FLOAT32, struct.pack("<f", 500000.0)),
        entry("tokenizer.ggml.model", TEXT, text("gpt2")),
        entry("tokenizer.ggml.pre", TEXT, text("llama-bpe")),
        entry("tokenizer.ggml.tokens", LIST, texts(pieces(shape.vocabulary))),
        entry("tokenizer.ggml.merges", LIST, texts([])),
    ]
    tensors = list(gguf_tensors(shape))
    header, place = [], 0
    for name, sizes, kind in tensors:
        axes = struct.pack(f"<I{len(sizes)}Q", len(sizes), *reversed(sizes))
        header.append(text(name) + axes + struct.pack("<IQ", kind, place))
        place += -(-n_bytes_of(sizes, kind) // ALIGNMENT) * ALIGNMENT
    generator = np.random.default_rng(0)
    blocks = {kind: random_blocks(kind, generator) for kind in (Q4_K, Q6_K)} | {F32: np.float32(1).tobytes() * 4096}
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries)) + b"".join(entries) + b"".join(header))
        for _, sizes, kind in tensors:
            file.write(bytes(-file.tell() % ALIGNMENT))
            repeated(blocks[kind], n_bytes_of(sizes, kind), file)


def write_safetensors(folder: Path, shape: Shape) -> None:
    """A folder of Hugging Face's: bf16, one file."""
    sizes = {"model.embed_tokens.weight": [shape.vocabulary, shape.width], "model.norm.weight": [shape.width]}
    for i in range(shape.layers):
        layer = {
            "input_layernorm": [shape.width], "post_attention_layernorm": [shape.width],
            "self_attn.q_proj": [shape.width, shape.width], "self_attn.k_proj": [shape.kv_width, shape.width],
            "self_attn.v_proj": [shape.kv_width, shape.width], "self_attn.o_proj": [shape.width, shape.width],
            "mlp.gate_proj": [shape.hidden, shape.width], "mlp.up_proj": [shape.hidden, shape.width],
            "mlp.down_proj": [shape.width, shape.hidden],
        }
        sizes |= {f"model.layers.{i}.{name}.weight": size for name, size in layer.items()}
    header, place = {}, 0
    for name, size in sizes.items():
        end = place + 2 * int(np.prod(size))
        header[name] = {"dtype": "BF16", "shape": size, "data_offsets": [place, end]}
        place = end
    encoded = json.dumps(header).encode()
    normal = np.random.default_rng(0).normal(0, 0.02, 1 << 23).astype(np.float32)
    numbers = (normal.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    ones = (np.float32(1).reshape(1).view(np.uint32) >> 16).astype(np.uint16).tobytes() * 4096
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for size in sizes.values():
            repeated(ones if len(size) == 1 else numbers, 2 * int(np.prod(size)), file)
    config = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": shape.width,
        "intermediate_size": shape.hidden, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads, "max_position_embeddings": 8192, "vocab_size": shape.vocabulary,
        "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "hidden_act": "silu", "tie_word_embeddings": shape.tied,
    }
    (folder / "config.json").write_text(json.dumps(config))
    stage = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": stage, "post_processor": None, "decoder": stage,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "merges": [],
            "vocab": {piece: i for i, piece in enumerate(pieces(shape.vocabulary))},
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def measure(name: str, attlas: str, model: Path, weights: Path, n_tokens: int, folder: Path) -> None:
    text = ("the quick brown fox jumps over the lazy dog. " * (n_tokens // 40 + 1))[:n_tokens]
    output = folder / "run.safetensors"
    start = time.perf_counter()
    process = subprocess.Popen([attlas, "record", text, "--model", str(model), "-o", str(output)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    elapsed = time.perf_counter() - start
    if process.returncode != 0:
        sys.exit(f"{name}: {attlas} ended with {process.returncode}")
    print(
        f"{name}, {n_tokens} tokens: weights {weights.stat().st_size / 1e9:.2f} GB, recording "
        f"{output.stat().st_size / 1e9:.2f} GB, peak memory {usage.ru_maxrss * 1024 / 1e9:.2f} GB, processor "
        f"{usage.ru_utime:.0f} + {usage.ru_stime:.0f} s, clock {elapsed:.0f} s",
        flush=True,
    )
    output.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where there is room for 4.9 GB and a recording of 0.7 GB")
    parser.add_argument("--attlas", default="target/release/attlas", help="the command (target/release/attlas)")
    parser.add_argument("--models", nargs="+", choices=["8b", "1b"], default=["1b", "8b"])
    parser.add_argument("--tokens", type=int, nargs="+", default=[100, 1000], help="lengths of the text")
    arguments = parser.parse_args()
    for name in arguments.models:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            model = Path(folder)
            if name == "8b":
                model = weights = model / "model.gguf"
                write_gguf(weights, LLAMA_8B)
            else:
                weights = model / "model.safetensors"
                write_safetensors(model, LLAMA_1B)
            for n_tokens in arguments.tokens:
                measure(name, arguments.attlas, model, weights, n_tokens, Path(folder))


if __name__ == "__main__":
    main()
