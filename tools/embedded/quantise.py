"""Turns a trained model of the vaswani family into the files that are built into attlas.

    python tools/embedded/quantise.py MODEL_DIR crates/attlas-model/embedded

Matrices become int8 with one f32 scale per row, vectors stay f16. Sixteen rows lie side by side, as attlas multiplies them
(`NAME.strips`, see strips.py), so that nothing is to be put in order when the program starts. Needs numpy and safetensors.
"""

import json
import pathlib
import shutil
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

from strips import side_by_side


def quantise(matrix):
    """Rounds each row to -127 ... 127 steps of its own size."""
    matrix = matrix.astype(np.float32)
    scale = np.abs(matrix).max(axis=1) / 127.0
    scale[scale == 0.0] = 1.0
    return np.rint(matrix / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def main(source, target):
    source, target = pathlib.Path(source), pathlib.Path(target)
    weights = next(path for path in sorted(source.glob("model*.safetensors")))
    config = json.loads((source / "config.json").read_text())
    tensors = {}
    for name, tensor in load_file(weights).items():
        if name == "pe":
            continue  # computed
        if tensor.ndim == 2:
            tensors[name + ".strips"] = side_by_side(*quantise(tensor))
        else:
            tensors[name] = tensor.astype(np.float16)
    target.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target / "model.safetensors")
    config["model_type"] = "vaswani"
    (target / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    compact = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
    (target / "tokenizer.json").write_text(compact + "\n")
    if (source / "target_words.filter").exists():
        shutil.copy(source / "target_words.filter", target)


if __name__ == "__main__":
    main(*sys.argv[1:])
