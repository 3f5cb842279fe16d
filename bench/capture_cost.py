#!/usr/bin/env python3
"""What a capture costs: GPT-2 small's shapes, PyTorch's sdpa alone and with `attlas.capture`, in turn, by processor time.

    tools/wheel --release && pip install …                 # the package, compiled for speed
    python bench/capture_cost.py                            # 512 tokens; --tokens 512 1024 2048 for the memory's growth

12 layers of 12 heads of 64, random weights, one text, one thread. Each round runs the model alone and then captured; a run's cost is
the processor time of the process, all its threads (a machine that others use as well has no other time that means much), and the
ratio is that of the medians. The peak of memory that a capture adds is the growth of the process's resident memory in one of its own.
Needs attlas, torch and transformers.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time


def make_model():
    import torch
    import transformers

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = transformers.GPT2Config(n_positions=8192, attn_implementation="sdpa")
    return transformers.GPT2Model(config).eval()


def spent(work) -> float:
    """Seconds of processor time."""
    start = time.process_time()
    work()
    return time.process_time() - start


def costs(n_tokens: int, n_rounds: int) -> None:
    import torch

    import attlas

    model = make_model()
    tokens = torch.randint(0, 50257, (1, n_tokens))

    def plain() -> None:
        with torch.no_grad():
            model(tokens, use_cache=False)

    def captured() -> None:
        attlas.capture(model, {"input_ids": tokens, "use_cache": False})

    plain(), captured()  # what is compiled or loaded at the first run
    rounds = [(spent(plain), spent(captured)) for _ in range(n_rounds)]
    alone, recorded = (statistics.median(side) for side in zip(*rounds))
    ratios = sorted(with_it / without for without, with_it in rounds)
    print(f"{n_tokens} tokens: alone {alone:.3f} s, captured {recorded:.3f} s of processor time, {n_rounds} rounds in turn: "
          f"{100 * (recorded / alone - 1):+.1f} % (each round: {100 * (ratios[0] - 1):+.0f} to {100 * (ratios[-1] - 1):+.0f} %)")


def peak(n_tokens: int, captures: bool) -> None:
    """The peak of resident memory over what the model holds, in a process of its own."""
    import torch

    import attlas

    model = make_model()
    with torch.no_grad():
        model(torch.randint(0, 50257, (1, 16)), use_cache=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tokens = torch.randint(0, 50257, (1, n_tokens))
    held = 0
    if captures:
        recording = attlas.capture(model, {"input_ids": tokens, "use_cache": False})
        held = sum(layer.queries().nbytes + layer.keys().nbytes + layer.lse().nbytes for layer in recording.layers)
    else:
        with torch.no_grad():
            model(tokens, use_cache=False)
    print(json.dumps([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, held]))


def memory(sizes: list[int]) -> None:
    for n_tokens in sizes:
        found = [json.loads(subprocess.check_output([sys.executable, __file__, "--peak", str(n_tokens), *more])) for more in ([], ["--captures"])]
        (alone, _), (captured, held) = found
        print(f"{n_tokens} tokens: peak alone {alone / 1024:.0f} MB, captured {captured / 1024:.0f} MB; the recording holds {held / 2**20:.0f} MB "
              f"(all weights would be {12 * 12 * n_tokens**2 * 4 / 2**20:,.0f} MB)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[512])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--captures", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak is not None:
        peak(args.peak, args.captures)
        return
    for n_tokens in args.tokens:
        costs(n_tokens, args.rounds)
    memory(args.tokens)


if __name__ == "__main__":
    main()
