"""Writing the page of a long text, beside the model's run: 12 layers of 12 heads, width 768 (GPT-2 small), random weights.

    cargo build --release
    python bench/page.py [--n-tokens 1880] [--rounds 3] [--attlas target/release/attlas] [--keep FOLDER]

Prints processor time (user and system) of the model's run with its recording written (`attlas record`), of the run with its page
(`attlas TEXT`: scores, description, checks, page; no recording is written), and the page's bytes; medians of rounds in turn. Needs NumPy.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import tempfile
from pathlib import Path

import numpy

N_LAYERS, WIDTH, N_TOKENS = 12, 768, 50_257


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-tokens", type=int, default=1880)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--attlas", default="target/release/attlas", type=Path)
    parser.add_argument("--keep", type=Path, help="make the model, the recording and the page here, and leave them")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments, arguments.keep or Path(folder))


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "model"
    if not model.exists():
        make(model, max(2048, arguments.n_tokens))
    text = letters(arguments.n_tokens)
    program = arguments.attlas.resolve()
    recording, page = folder / "run.safetensors", folder / "page.html"
    commands = {
        "run": [program, "record", text, "--model", model, "-o", recording],
        "run and page": [program, text, "--model", model, "-o", page],
    }
    seconds = {name: [] for name in commands}
    for _ in range(arguments.rounds):
        for name, command in commands.items():
            seconds[name].append(processor_time(command))
    median = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{arguments.n_tokens} tokens, processor time, median of {arguments.rounds}:")
    run, whole = median["run"], median["run and page"]
    print(f"run, with its recording {run:6.2f} s")
    print(f"run, with its page      {whole:6.2f} s")
    print(f"page beyond the run     {whole - run:6.2f} s  ({(whole - run) / run:.2f} of the run)")
    print(f"page                    {page.stat().st_size / 1e6:6.2f} MB")


def letters(n: int) -> str:
    """A text of so many letters."""
    sentence = "the quick brown fox jumps over the lazy dog and sees no one "
    return (sentence * (n // len(sentence) + 1))[:n]


def processor_time(command: list) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def make(folder: Path, n_positions: int, n_layers: int = N_LAYERS, attention: float = 0.05) -> None:
    """A random model, and a vocabulary of bytes filled up with tokens that no text has, so that a letter is a token.

    `attention` is the standard deviation of the weights of queries and keys: with 0.05 rows are sharp, as those of trained models are."""
    random = numpy.random.default_rng(0)
    normal = lambda *shape, size=0.02: (random.standard_normal(shape, dtype=numpy.float32) * numpy.float32(size))
    tensors = {"wte.weight": normal(N_TOKENS, WIDTH), "wpe.weight": normal(n_positions, WIDTH)}
    norms = ["ln_f", *(f"h.{layer}.{norm}" for layer in range(n_layers) for norm in ("ln_1", "ln_2"))]
    for norm in norms:
        tensors[f"{norm}.weight"] = numpy.ones(WIDTH, numpy.float32)
        tensors[f"{norm}.bias"] = numpy.zeros(WIDTH, numpy.float32)
    for layer in range(n_layers):
        sizes = {"attn.c_attn": (WIDTH, 3 * WIDTH, attention), "attn.c_proj": (WIDTH, WIDTH, 0.02)}
        sizes |= {"mlp.c_fc": (WIDTH, 4 * WIDTH, 0.02), "mlp.c_proj": (4 * WIDTH, WIDTH, 0.02)}
        for name, (n_in, n_out, size) in sizes.items():
            tensors[f"h.{layer}.{name}.weight"] = normal(n_in, n_out, size=size)
            tensors[f"h.{layer}.{name}.bias"] = numpy.zeros(n_out, numpy.float32)
    folder.mkdir(parents=True)
    write_safetensors(folder / "model.safetensors", tensors)
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": N_TOKENS, "n_positions": n_positions}
    (folder / "config.json").write_text(json.dumps(config | {"n_embd": WIDTH, "n_layer": n_layers, "n_head": 12}))
    vocabulary = {letter: place for place, letter in enumerate(byte_letters())}
    vocabulary |= {f"token{place}": place for place in range(256, N_TOKENS - 1)} | {"<|endoftext|>": N_TOKENS - 1}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")


def byte_letters() -> list:
    """The letters that stand for bytes in GPT-2's vocabulary."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def write_safetensors(path: Path, tensors: dict) -> None:
    header, end = {}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [end, end + tensor.nbytes]}
        end += tensor.nbytes
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.tobytes())


if __name__ == "__main__":
    main()
