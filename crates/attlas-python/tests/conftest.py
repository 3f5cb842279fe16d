"""What the tests of the Python package share."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import attlas

SENTENCE = "The cat sat on the mat."

# What the gate must have; elsewhere tests that lack one of these skip themselves.
EVERYTHING = ("matplotlib", "mypy", "pandas", "polars", "pyarrow", "torch", "transformers")


def pytest_sessionstart() -> None:
    # a program that a shell puts into the background ignores Ctrl-C, and so does all that it starts
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    missing = [name for name in EVERYTHING if importlib.util.find_spec(name) is None]
    if missing and os.environ.get("ATTLAS_TEST_EVERYTHING"):
        pytest.exit(f"the gate tests with everything, but {', '.join(missing)} is not installed", returncode=1)


@pytest.fixture(autouse=True)
def signals_stay() -> Iterator[None]:
    """A notebook's client that fails leaves a handler behind, and Ctrl-C would stop nothing in the tests after it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def rec() -> attlas.Recording:
    """A translation by the embedded model."""
    return attlas.record(SENTENCE)


@pytest.fixture(scope="session")
def saved(rec: attlas.Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in a file."""
    path = tmp_path_factory.mktemp("saved") / "run.safetensors"
    attlas.Recording.from_bytes(rec.to_bytes()).save(path)
    return path


def write_recording(path: Path, n: int, n_heads: int = 1, d_head: int = 32, dtype: str = "F32") -> None:
    """A decoder's recording of ``n`` tokens, written with NumPy alone as docs/format.md says."""
    rng = np.random.default_rng(n)
    numpy_type = {"F32": np.float32, "F16": np.float16}[dtype]
    queries, keys = (rng.normal(size=(1, n_heads, n, d_head)).astype(numpy_type) for _ in range(2))
    lse = np.empty((1, n_heads, n))
    for head in range(n_heads):
        for first in range(0, n, 512):
            band = slice(first, min(first + 512, n))
            scores = (queries[0, head, band].astype(np.float64) @ keys[0, head].astype(np.float64).T) / d_head**0.5
            scores[np.arange(n)[None, :] > np.arange(n)[band, None]] = -np.inf
            lse[0, head, band] = np.log(np.exp(scores).sum(1))
    shape = {"n_heads": n_heads, "n_kv_heads": n_heads, "n_queries": n, "n_keys": n, "d_head": d_head, "d_value": 0}
    metadata = {
        "version": 2,
        "provenance": {"model": "by hand", "writer": {"name": "a test"}, "method": "forward"},
        "items": [{"target": {"tokens": [{"text": f"t{at}"} for at in range(n)]}}],
        "layers": [
            {"kind": "decoder", "index": 0, "shape": shape, "scoring": {"scale": d_head**-0.5, "visibility": {"after": 0}}}
        ],
    }
    tensors = {"decoder.0.queries": queries, "decoder.0.keys": keys, "decoder.0.lse": lse}
    header: dict[str, object] = {"__metadata__": {"attlas": json.dumps(metadata)}}
    offset = 0
    for name, tensor in tensors.items():
        ends = [offset, offset := offset + tensor.nbytes]
        header[name] = {"dtype": "F64" if name.endswith("lse") else dtype, "shape": tensor.shape, "data_offsets": ends}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(b"".join([struct.pack("<Q", len(text)), text, *(tensor.tobytes() for tensor in tensors.values())]))


@pytest.fixture(scope="session")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of 3000 tokens: each of its maps has 9 million weights."""
    path = tmp_path_factory.mktemp("long") / "long.safetensors"
    write_recording(path, 3000)
    return path
