"""PyTorch's attention on the sizes and threads of `cargo bench -p attlas --bench attention`, and the ratios.

    cargo bench -p attlas --bench attention | tee attention.txt
    python bench/attention_vs_pytorch.py attention.txt [--threads 2]

`sdpa` is scaled_dot_product_attention; `eager` is softmax(QKᵀ)V, the only one that can return weights. GFLOP/s are
counted as 4 · n² · d_head · heads, the best of several runs.
"""

import argparse
import re
import time

import torch

N_HEADS, D_HEAD = 12, 64
SIZES = [6, 64, 512, 2048, 8192]


def eager(queries, keys, values):
    weights = (queries @ keys.transpose(-1, -2) / D_HEAD**0.5).softmax(-1)
    return weights @ values


def gflops(attend, n: int) -> float:
    queries, keys, values = torch.rand(3, 1, N_HEADS, n, D_HEAD) * 2 - 1
    best, spent = float("inf"), 0.0
    with torch.inference_mode():
        attend(queries, keys, values)
        while spent < 0.7 or best == float("inf"):
            start = time.perf_counter()
            attend(queries, keys, values)
            seconds = time.perf_counter() - start
            best, spent = min(best, seconds), spent + seconds
    return 4 * n * n * D_HEAD * N_HEADS / best / 1e9


def ours(path: str | None) -> dict[int, float]:
    """GFLOP/s by n, from the first block of the bench's output: the fastest instructions."""
    found = {}
    if path:
        for line in open(path, encoding="utf-8"):
            if match := re.match(r"\s*n =\s*(\d+)\s+([\d.]+) GFLOP/s", line):
                found.setdefault(int(match[1]), float(match[2]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bench_output", nargs="?", help="what the bench printed, for the ratios")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    attlas = ours(arguments.bench_output)
    print(f"torch {torch.__version__}, {arguments.threads} threads, {N_HEADS} heads of {D_HEAD}, f32, GFLOP/s")
    for n in SIZES:
        sdpa, plain = gflops(torch.nn.functional.scaled_dot_product_attention, n), gflops(eager, n)
        line = f"  n = {n:5}  sdpa {sdpa:6.1f}  eager {plain:6.1f}"
        if n in attlas:
            line += f"  attlas {attlas[n]:6.1f}: {attlas[n] / sdpa:.2f} × sdpa, {attlas[n] / plain:.2f} × eager"
        print(line, flush=True)


if __name__ == "__main__":
    main()
