"""Writes weights.golden.json: attention of small random layers, computed in float64 by NumPy, for tests/weights.test.ts.

Run once with: python web/tests/make_golden.py  (NumPy is all it needs; any version)
"""

import json
import pathlib

import numpy as np


def visible(scoring, query, key):
    position = query + scoring["query_offset"]
    window = scoring["visibility"]
    return position - window.get("before", 10**9) <= key <= position + window.get("after", 10**9)


def bias(scoring, head, offset):
    given = scoring.get("bias", {"type": "none"})
    if given["type"] == "alibi":
        return given["slopes"][head] * offset
    if given["type"] == "relative":
        column = min(max(offset - given["first"], 0), given["n_offsets"] - 1)
        return given["table"][head * given["n_offsets"] + column]
    return 0.0


def layer(seed, scoring, n_heads, n_kv_heads, query_positions, key_positions, d_head):
    random = np.random.default_rng(seed)
    q = random.normal(size=(n_heads, len(query_positions), d_head)).astype(np.float32)
    k = random.normal(size=(n_kv_heads, len(key_positions), d_head)).astype(np.float32)
    scores = np.full((n_heads, len(query_positions), len(key_positions)), -np.inf)
    for h in range(n_heads):
        for row, query in enumerate(query_positions):
            for column, key in enumerate(key_positions):
                if not visible(scoring, query, key):
                    continue
                dot = q[h, row].astype(np.float64) @ k[h // (n_heads // n_kv_heads), column].astype(np.float64)
                score = scoring["scale"] * dot
                if "softcap" in scoring:
                    score = scoring["softcap"] * np.tanh(score / scoring["softcap"])
                scores[h, row, column] = score + bias(scoring, h, key - (query + scoring["query_offset"]))
    total = np.exp(scores).sum(-1)
    if "sinks" in scoring:
        total = total + np.exp(np.array(scoring["sinks"]))[:, None]
    with np.errstate(divide="ignore"):
        lse = np.log(total).astype(np.float32)
    weights = np.where(np.isfinite(scores), np.exp(scores - np.where(np.isfinite(lse), lse, 0.0)[..., None]), 0.0)
    return {
        "scoring": scoring,
        "n_heads": n_heads,
        "n_kv_heads": n_kv_heads,
        "d_head": d_head,
        "query_positions": query_positions,
        "key_positions": key_positions,
        "numbers": [float(x) if np.isfinite(x) else None for x in np.concatenate([q.ravel(), k.ravel(), lse.ravel()])],
        "weights": [round(float(x), 9) for x in weights.ravel()],
    }


def main():
    table = [round(float(x), 3) for x in np.random.default_rng(7).normal(size=10)]
    layers = {
        "plain": layer(1, {"scale": 0.5, "visibility": {}, "query_offset": 0}, 2, 2, [0, 1, 2], [0, 1, 2, 3], 4),
        "a capped causal window": layer(
            2,
            {"scale": 1.0, "softcap": 1.5, "visibility": {"before": 1, "after": 0}, "query_offset": 0},
            2, 1, [0, 1, 2, 3], [0, 1, 2, 3], 3,
        ),
        "ALiBi with sinks, grouped queries and padding on the left": layer(
            3,
            {
                "scale": 0.7,
                "visibility": {"after": 0},
                "bias": {"type": "alibi", "slopes": [0.5, 0.25, 0.125, 0.0625]},
                "sinks": [0.5, -1.0, 0.0, 2.0],
                "query_offset": 0,
            },
            4, 2, [2, 3, 4], [2, 3, 4], 2,
        ),
        "a relative table and an offset between queries and keys": layer(
            4,
            {
                "scale": 1.0,
                "visibility": {"before": 2, "after": 0},
                "bias": {"type": "relative", "first": -2, "table": table, "n_offsets": 5},
                "query_offset": 3,
            },
            2, 2, [0, 1], [0, 1, 2, 3, 4], 2,
        ),
        "a query that sees no key": layer(
            5, {"scale": 1.0, "visibility": {"before": 0, "after": 0}, "query_offset": 0}, 1, 1, [0, 1, 2], [0, 1], 2
        ),
    }
    path = pathlib.Path(__file__).with_name("weights.golden.json")
    path.write_text(json.dumps(layers, indent=None, separators=(",", ":")) + "\n")


main()
