"""A causal map with planted spikes, and its log-sum-exp and tile statistics from a dense softmax in f64.

    python tools/reference/long_context.py     # writes crates/attlas/tests/data/long_context.safetensors

Queries and keys are drawn from a seed in f32. Key 0 is made a sink that all queries like; four single weights are
planted far off the diagonal: a mean over a tile hides them, a maximum does not.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

N, D, TILE = 320, 16, 32
SPIKES = [(250, 20), (251, 100), (300, 170), (319, 5)]
OUTPUT = Path(__file__).resolve().parents[2] / "crates/attlas/tests/data/long_context.safetensors"


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(N, D, generator=generator)  # [n, d]
    keys = torch.randn(N, D, generator=generator)  # [n, d]
    keys[0] += 1.5 * queries.mean(0) / queries.mean(0).norm()
    for query, key in SPIKES:
        keys[key] = 3.0 * queries[query]
    scores = queries.double() @ keys.double().T / D**0.5
    scores = scores.masked_fill(torch.ones(N, N).triu(1).bool(), -torch.inf)
    lse = scores.logsumexp(-1)  # [n]
    weights = (scores - lse[:, None]).exp()  # [n, n]
    tiles = weights.reshape(N // TILE, TILE, N // TILE, TILE).transpose(1, 2).flatten(2)  # [rows, columns, tile²]
    within = tiles.argmax(-1)
    rows = torch.arange(N // TILE)[:, None] * TILE + within // TILE
    columns = torch.arange(N // TILE)[None, :] * TILE + within % TILE
    for query, key in SPIKES:
        print(f"weight({query}, {key}) = {weights[query, key]:.4f}")
    tensors = {
        "queries": queries,
        "keys": keys,
        "lse": lse,
        "tile_max": tiles.amax(-1),
        "tile_sum": tiles.sum(-1),
        "tile_argmax": torch.stack([rows, columns], -1),
        "spikes": torch.tensor(SPIKES),
        "spike_weights": torch.stack([weights[query, key] for query, key in SPIKES]),
    }
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, OUTPUT)


if __name__ == "__main__":
    main()
