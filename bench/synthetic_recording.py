"""Writes a recording of random queries and keys: `synthetic_recording.py LAYERS HEADS KEY_HEADS TOKENS D_HEAD FILE.safetensors`.

For measuring the viewer on texts longer than a small machine can run a model on. Queries and keys are standard normal, so that
`ln Σ exp(score)` over n keys is `ln n + scale² · |q|² / 2` but for chance, and rows sum to 1 within a few hundredths; those of the first
thousand queries are computed.
"""

import json
import sys

import numpy as np


def main() -> None:
    n_layers, n_heads, n_kv_heads, n, d_head = map(int, sys.argv[1:6])
    scale = d_head**-0.5
    shape = {"n_heads": n_heads, "n_kv_heads": n_kv_heads, "n_queries": n, "n_keys": n, "d_head": d_head, "d_value": d_head}
    scoring = {"scale": scale, "visibility": {"after": 0}}
    tokens = [{"text": f" w{place % 1000}", "word": place} for place in range(n)]
    attlas = {
        "version": 2,
        "provenance": {"model": "random queries and keys", "writer": {"name": "bench/synthetic_recording.py"}, "method": "imported"},
        "items": [{"target": {"text": "", "tokens": tokens}}],
        "layers": [{"kind": "decoder", "index": layer, "shape": shape, "scoring": scoring} for layer in range(n_layers)],
        "checks": [],
    }
    sizes = {"lse": (8, [1, n_heads, n]), "queries": (2, [1, n_heads, n, d_head]), "keys": (2, [1, n_kv_heads, n, d_head])}
    header, offset = {"__metadata__": {"attlas": json.dumps(attlas)}}, 0
    for name, (n_bytes, of) in sizes.items():
        for layer in range(n_layers):
            end = offset + n_bytes * int(np.prod(of))
            header[f"decoder.{layer}.{name}"] = {"dtype": "F64" if n_bytes == 8 else "F16", "shape": of, "data_offsets": [offset, end]}
            offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(sys.argv[6], "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        queries = lambda layer, head: np.random.default_rng([1, layer, head]).standard_normal((n, d_head), np.float32).astype(np.float16)
        keys = lambda layer, head: np.random.default_rng([2, layer, head]).standard_normal((n, d_head), np.float32).astype(np.float16)
        for layer in range(n_layers):
            for head in range(n_heads):
                of_head = queries(layer, head).astype(np.float64)
                lse = np.log(np.arange(1, n + 1)) + scale**2 * (of_head**2).sum(1) / 2
                first = min(n, 1000)
                scores = scale * of_head[:first] @ keys(layer, head * n_kv_heads // n_heads)[:first].astype(np.float64).T
                lse[:first] = np.log((np.exp(scores) * np.tri(first)).sum(1))
                file.write(lse.tobytes())
        for make, count in ((queries, n_heads), (keys, n_kv_heads)):
            for layer in range(n_layers):
                for head in range(count):
                    file.write(make(layer, head).tobytes())


main()
