"""A long text recorded, and its overview drawn: GPT-2 small's width, 12 heads a layer, random weights.

    cargo build --release
    python bench/long_text.py [--tokens 1024 8192 32768 131072] [--layers 12] [--attlas target/release/attlas] [--folder FOLDER]

Prints the time of `attlas record` and of `attlas draw heads` of one layer by the clock, each with the largest resident memory of its process,
and the recording's bytes; `of n²` is the nanoseconds of recording per head and pair of a query and a key that it sees. FOLDER needs room for
a recording, 6 kB a token and layer, and so does, from 1 GiB on, the folder that TMPDIR names (/var/tmp without it) while it is made. Needs NumPy.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from page import letters, make

N_HEADS = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1024, 8192, 32768, 131072])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--attlas", default="target/release/attlas", type=Path)
    parser.add_argument("--folder", type=Path, help="where the model and the recording are made; a temporary folder without")
    arguments = parser.parse_args()
    print("  tokens  layers   record s  of n²   peak MB   recording MB   draw s   peak MB")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for n_tokens in arguments.tokens:
            measure(arguments, Path(folder), n_tokens)


def measure(arguments: argparse.Namespace, folder: Path, n_tokens: int) -> None:
    model, text, recording = folder / f"model-{n_tokens}", folder / "text.txt", folder / "run.safetensors"
    make(model, n_tokens, arguments.layers, attention=0.02)
    text.write_text(letters(n_tokens))
    program = str(arguments.attlas.resolve())
    seconds, peak = timed([program, "record", "-", "--model", str(model), "-o", str(recording)], text)
    draw = [program, "draw", "heads", str(recording), "--layer", "0", "-o", str(folder / "heads.png")]
    draw_seconds, draw_peak = timed(draw, text)
    pairs = arguments.layers * N_HEADS * n_tokens * (n_tokens + 1) / 2
    size = recording.stat().st_size / 1e6
    print(
        f"{n_tokens:8} {arguments.layers:7} {seconds:10.1f} {seconds / pairs * 1e9:6.2f} {peak:9.0f} {size:14.0f} {draw_seconds:8.1f} {draw_peak:9.0f}",
        flush=True,
    )


def timed(command: list[str], read: Path) -> tuple[float, float]:
    """Seconds by the clock, and the largest resident memory in MB, of a process that reads a file."""
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    start = time.monotonic()
    with read.open() as file:
        done = subprocess.run([sys.executable, "-c", code, *command], check=True, stdin=file, capture_output=True, text=True)
    return time.monotonic() - start, int(done.stdout) / 1024


if __name__ == "__main__":
    main()
