"""Holds the Python of docs/format.md to attlas: its weights are those that `attlas export` writes.

    attlas record "The cat sat on the mat." -o run.safetensors
    attlas export run.safetensors -o weights.safetensors
    python tools/reference/read_recording.py run.safetensors weights.safetensors

Versions: see requirements.txt beside this file.
"""

import pathlib
import re
import sys

import numpy as np
from safetensors import safe_open

NAMES = {"encoder": "encoder", "decoder": "decoder_self", "cross": "decoder_cross"}


def documented():
    """The functions of the document."""
    text = (pathlib.Path(__file__).parents[2] / "docs/format.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    code = re.sub(r"^cross = .*$", "", code, flags=re.M)
    names = {}
    exec(compile(code, "docs/format.md", "exec"), names)
    return names


def main():
    recording, export = sys.argv[1:]
    document = documented()
    about, _, _ = document["opened"](recording)
    # an export holds the attention weights of each kind's first stack
    layers, stacks = [], {}
    for layer in about["layers"]:
        kind, stack = layer["kind"], layer.get("stack")
        if layer.get("quantity", "weight") == "weight" and stacks.setdefault(kind, stack) == stack:
            layers.append((kind, layer["index"], stack))
    largest = 0.0
    with safe_open(export, "np") as file:
        stacked = {kind: [index for other, index, _ in layers if other == kind] for kind in NAMES}
        for kind, index, stack in layers:
            given = document["weights"](recording, kind, index, stack)
            if NAMES[kind] in file.keys():  # one text: [layers, heads, queries, keys]
                wanted = file.get_tensor(NAMES[kind])[stacked[kind].index(index)][None]
            else:
                wanted = file.get_tensor(f"{NAMES[kind]}.{index}")
            assert given.shape == wanted.shape, (kind, index, given.shape, wanted.shape)
            largest = max(largest, float(np.abs(given - wanted).max()))
    print(f"{len(layers)} layers, largest difference {largest:.1e}")
    assert layers and largest < 1e-5


main()
