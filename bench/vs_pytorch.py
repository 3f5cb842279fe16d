"""BERT-base and GPT-2-small shapes, random weights: attlas recording every head, beside PyTorch on the same threads.

    cargo bench -p attlas-model --bench forward --no-run
    python bench/vs_pytorch.py [--lengths 128 512 2048 4096] [--threads 2] [--shapes bert gpt2]

`recording` is what recording adds to attlas's own time without it. Three ways, each in a process of its own so that peak memory is its own: transformers eager with `output_attentions=True`,
transformers sdpa without attentions, and attlas with a recording of every head. Base models without a language head, f32.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[128, 512, 2048, 4096])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shapes", nargs="+", default=["bert", "gpt2"], choices=["bert", "gpt2"])
    parser.add_argument("--worker", nargs=3, metavar=("FOLDER", "IMPLEMENTATION", "N"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return worker(*arguments.worker, arguments.threads)
    print(f"{'shape':6}{'n':>6} {'eager ms':>10}{'sdpa ms':>10}{'attlas ms':>10} {'÷ eager':>8}{'÷ sdpa':>8}{'recording':>11}   peak MB: eager, sdpa, attlas")
    for shape in arguments.shapes:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint(shape, folder, max(arguments.lengths))
            for n in arguments.lengths:
                compare(shape, folder, n, arguments.threads)


def checkpoint(shape: str, folder: str, n_positions: int) -> None:
    """A random model of the shape, with enough positions, saved as the hub lays it out."""
    import torch
    import transformers

    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    if shape == "bert":
        model = transformers.BertModel(transformers.BertConfig(max_position_embeddings=n_positions), add_pooling_layer=False)
    else:
        model = transformers.GPT2Model(transformers.GPT2Config(n_positions=n_positions))
    model.save_pretrained(folder)


def compare(shape: str, folder: str, n: int, threads: int) -> None:
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}

    def torch_run(implementation: str) -> dict:
        command = [sys.executable, __file__, "--threads", str(threads), "--worker", folder, implementation, str(n)]
        return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()[-1])

    command = ["cargo", "bench", "--quiet", "-p", "attlas-model", "--bench", "forward", "--", folder, str(n)]
    eager, sdpa = torch_run("eager"), torch_run("sdpa")
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, cwd=ROOT)
    attlas = json.loads(output.stdout.splitlines()[-1])
    print(
        f"{shape:6}{n:6} {eager['ms']:10.1f}{sdpa['ms']:10.1f}{attlas['ms']:10.1f} "
        f"{attlas['ms'] / eager['ms']:8.2f}{attlas['ms'] / sdpa['ms']:8.2f}{attlas['ms'] / attlas['plain_ms'] - 1:+11.1%}   "
        f"{eager['peak_mb']:.0f}, {sdpa['peak_mb']:.0f}, {attlas['peak_mb']:.0f}",
        flush=True,
    )


def worker(folder: str, implementation: str, n: str, threads: int) -> None:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(threads)
    length = int(n)
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation=implementation).eval()
    ids = (torch.arange(length) * 7919 % 1000 + 10)[None]
    best = float("inf")
    with torch.no_grad():
        for _ in range(5 if length <= 512 else 2):
            start = time.perf_counter()
            model(input_ids=ids, output_attentions=implementation == "eager")
            best = min(best, (time.perf_counter() - start) * 1000)
    print(json.dumps({"ms": best, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
