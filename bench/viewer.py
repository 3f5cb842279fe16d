"""The page in real Chromium beside BertViz and Inspectus: 12 layers of 12 heads (GPT-2 small's shape, random weights), all on one page.

    cargo build --release
    (cd web && npm ci)
    python bench/viewer.py [--tokens 128 512] [--rounds 7] [--attlas target/release/attlas] [--scripts FOLDER] [--keep FOLDER]

Prints the size of each page, the time from its opening to the first picture of all heads, from a click on a head to its map, and for
attlas from a move of the pointer in the map to what it shows, with the processor time of the page's main thread; medians of rounds in
turn, with the least and the largest. Needs NumPy and Chromium (ATTLAS_CHROMIUM). BertViz (up to 128 tokens: its page of 512 is over a
gigabyte) and Inspectus stand in the table where Python has them. BertViz loads three scripts from the web; nothing is loaded here, so
--scripts names a folder with require.js, d3.min.js and jquery.min.js.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy

from page import make

WEB = Path(__file__).resolve().parent.parent / "web"
BERTVIZ_TOKENS = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--attlas", default="target/release/attlas", type=Path)
    parser.add_argument("--scripts", type=Path, help="a folder with require.js, d3.min.js and jquery.min.js, for BertViz")
    parser.add_argument("--keep", type=Path, help="make the model and the pages here, and leave them")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for n_tokens in arguments.tokens:
            measure(arguments, (arguments.keep or Path(folder)).resolve(), n_tokens)


def measure(arguments: argparse.Namespace, folder: Path, n_tokens: int) -> None:
    pages = write_pages(arguments, folder, n_tokens)
    seconds: dict = {name: [] for name in pages}
    for _ in range(arguments.rounds):
        for name, page in pages.items():
            seconds[name].append(opened(name, page, arguments.scripts))
    print(f"{n_tokens} tokens, milliseconds, median (least to largest) of {arguments.rounds} rounds:")
    for name, page in pages.items():
        print(f"  {name:10} page {page.stat().st_size / 1e6:8.2f} MB")
        for what in seconds[name][0]:
            each = [value for one in seconds[name] for value in one[what]]
            print(f"  {name:10} {what:28} {statistics.median(each):8.1f}  ({min(each):.1f} to {max(each):.1f})")


def write_pages(arguments: argparse.Namespace, folder: Path, n_tokens: int) -> dict[str, Path]:
    """A page of each package that is there, of the same weights."""
    model = folder / "model"
    if not model.exists():
        folder.mkdir(parents=True, exist_ok=True)
        make(model, max(2048, *arguments.tokens))
    letters = "the quick brown fox jumps over the lazy dog and sees no one "
    text = (letters * (n_tokens // len(letters) + 1))[:n_tokens]
    recording, page, maps = (folder / f"{name}-{n_tokens}" for name in ("run.safetensors", "attlas.html", "maps.npz"))
    recording, page, maps = recording.with_suffix(".safetensors"), page.with_suffix(".html"), maps.with_suffix(".npz")
    for words in (["record", text, "--model", model, "-o", recording], [recording, "-o", page], ["export", recording, "-o", maps]):
        subprocess.run([str(word) for word in (arguments.attlas.resolve(), *words)], check=True, capture_output=True)
    pages = {"attlas": page}
    with numpy.load(maps) as arrays:
        weights = next(arrays[name] for name in arrays.files if arrays[name].ndim >= 4)
    weights = weights.reshape(-1, 12, n_tokens, n_tokens).astype(numpy.float32)  # [layers, heads, queries, keys]
    for name, html_of in PEERS.items():
        try:
            html = html_of(weights, [repr(letter) for letter in text])
        except ModuleNotFoundError as error:
            print(f"  {name} is left out: {error}")
            continue
        if html is not None:
            pages[name] = folder / f"{name}-{n_tokens}.html"
            pages[name].write_text(f"<!doctype html><meta charset=utf-8><body>{html}")
    return pages


def bertviz(weights: numpy.ndarray, tokens: list[str]) -> str | None:
    import torch
    from bertviz import model_view

    if len(tokens) > BERTVIZ_TOKENS:
        return None
    return model_view(tuple(torch.from_numpy(layer[None]) for layer in weights), tokens, html_action="return").data


def inspectus(weights: numpy.ndarray, tokens: list[str]) -> str:
    import inspectus
    import IPython.display

    shown: list[str] = []
    display, IPython.display.display = IPython.display.display, lambda html: shown.append(html.data)
    try:
        inspectus.attention(weights, tokens)
    finally:
        IPython.display.display = display
    return "".join(shown)


PEERS: dict[str, Callable[[numpy.ndarray, list[str]], str | None]] = {"BertViz": bertviz, "Inspectus": inspectus}


def opened(name: str, page: Path, scripts: Path | None) -> dict[str, list[float]]:
    command = ["node", "browser/measure.mjs", name, page, *([scripts.resolve()] if scripts else [])]
    done = subprocess.run([str(word) for word in command], cwd=WEB, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
