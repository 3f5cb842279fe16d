"""Known shapes with random weights: attlas recording every head, beside PyTorch on the same threads.

    cargo bench -p attlas-model --bench forward --no-run
    python bench/vs_pytorch.py [--lengths 128 512 2048 4096] [--threads 2] [--shapes bert gpt2 minilm llama]
    python bench/vs_pytorch.py --shapes minilm --batch 32 --lengths 32                # texts a pass; sentences a second
    python bench/vs_pytorch.py --shapes gpt2 llama --tokens --lengths 32              # one generated token with a cache
    python bench/vs_pytorch.py --avx2                                                 # what a processor without AVX-512 takes
    python bench/vs_pytorch.py --precision fast                                       # products on AMX, where there is one

`recording` is what recording adds to attlas's own time without it. Three ways, each in a process of its own so that peak memory is its own: transformers eager with `output_attentions=True`,
transformers sdpa without attentions, and attlas with a recording of every head. Models without a language head, but for --tokens; f32, and
bf16 in the Llama of 1.2 billion parameters. The best of several passes each.
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
N_TOKENS = 17  # tokens that are generated to time one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[128, 512, 2048, 4096])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shapes", nargs="+", default=["bert", "gpt2"], choices=["bert", "gpt2", "minilm", "llama"])
    parser.add_argument("--batch", type=int, default=1, help="texts of a pass")
    parser.add_argument("--tokens", action="store_true", help="time of one generated token after a prompt of each length")
    parser.add_argument("--avx2", action="store_true", help="without AVX-512 on both sides")
    parser.add_argument("--precision", default="exact", choices=["exact", "high", "fast", "fastest"])
    parser.add_argument("--worker", nargs=3, metavar=("FOLDER", "IMPLEMENTATION", "N"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return worker(*arguments.worker, arguments)
    print(f"{'shape':6}{'n':>6} {'eager ms':>10}{'sdpa ms':>10}{'attlas ms':>10} {'÷ eager':>8}{'÷ sdpa':>8}{'recording':>11}   peak MB: eager, sdpa, attlas")
    for shape in arguments.shapes:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint(shape, folder, max(arguments.lengths) + N_TOKENS, arguments.tokens)
            for n in arguments.lengths:
                compare(shape, folder, n, arguments)


def checkpoint(shape: str, folder: str, n_positions: int, has_head: bool) -> None:
    """A random model of the shape, with enough positions and perhaps a language head, saved as the hub lays it out."""
    import torch
    import transformers

    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    if shape in ("bert", "minilm"):
        sizes = {} if shape == "bert" else {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}
        config = transformers.BertConfig(max_position_embeddings=n_positions, **sizes)
        model = transformers.BertModel(config, add_pooling_layer=False)
    elif shape == "gpt2":
        kind = transformers.GPT2LMHeadModel if has_head else transformers.GPT2Model
        model = kind(transformers.GPT2Config(n_positions=n_positions))
    else:
        config = transformers.LlamaConfig(
            hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8,
            vocab_size=128256, tie_word_embeddings=True, max_position_embeddings=max(8192, n_positions),
        )
        torch.set_default_dtype(torch.bfloat16)
        model = (transformers.LlamaForCausalLM if has_head else transformers.LlamaModel)(config)
        torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)


def compare(shape: str, folder: str, n: int, arguments: argparse.Namespace) -> None:
    environment = os.environ | {"RAYON_NUM_THREADS": str(arguments.threads), "OMP_NUM_THREADS": str(arguments.threads)}
    narrow = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    mode = ["--batch", str(arguments.batch), *(["--tokens"] if arguments.tokens else [])]

    def torch_run(implementation: str) -> dict:
        command = [sys.executable, __file__, "--threads", str(arguments.threads), *mode, "--worker", folder, implementation, str(n)]
        with_instructions = environment | (narrow if arguments.avx2 else {})
        return json.loads(subprocess.run(command, env=with_instructions, check=True, capture_output=True, text=True).stdout.splitlines()[-1])

    words = [folder, str(n), f"batch={arguments.batch}", arguments.precision]
    words += ["tokens"] * arguments.tokens + ["avx2"] * arguments.avx2
    command = ["cargo", "bench", "--quiet", "-p", "attlas-model", "--bench", "forward", "--", *words]
    eager, sdpa = torch_run("eager"), torch_run("sdpa")
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, cwd=ROOT)
    attlas = json.loads(output.stdout.splitlines()[-1])
    print(
        f"{shape:6}{n:6} {eager['ms']:10.1f}{sdpa['ms']:10.1f}{attlas['ms']:10.1f} "
        f"{attlas['ms'] / eager['ms']:8.2f}{attlas['ms'] / sdpa['ms']:8.2f}{attlas['ms'] / attlas['plain_ms'] - 1:+11.1%}   "
        f"{eager['peak_mb']:.0f}, {sdpa['peak_mb']:.0f}, {attlas['peak_mb']:.0f}",
        flush=True,
    )


def worker(folder: str, implementation: str, n: str, arguments: argparse.Namespace) -> None:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(arguments.threads)
    length = int(n)
    kind = transformers.AutoModelForCausalLM if arguments.tokens else transformers.AutoModel
    model = kind.from_pretrained(folder, attn_implementation=implementation, dtype="auto").eval()
    ids = (torch.arange(length) * 7919 % 1000 + 10)[None].expand(arguments.batch, length)
    best = float("inf")
    with torch.no_grad():
        if arguments.tokens:
            run = model(input_ids=ids, use_cache=True)
        for _ in range(N_TOKENS if arguments.tokens else 5 if length <= 512 else 2):
            start = time.perf_counter()
            if arguments.tokens:
                run = model(input_ids=run.logits[:, -1:].argmax(-1), past_key_values=run.past_key_values, use_cache=True)
            else:
                model(input_ids=ids, output_attentions=implementation == "eager", use_cache=False)
            best = min(best, (time.perf_counter() - start) * 1000)
    print(json.dumps({"ms": best, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
