"""The mean of the weights of several model folders, as a further one: checkpoints of one run, say the last moments of its film.

    python tools/embedded/average.py OUTPUT_DIR run/film/010 run/film/011 run

config.json and tokenizer.json are those of the last folder; all must be the same model. Weights are averaged in f32 and written
so. Averages of weights are means of functions only where the folders are near each other: of one run, late. `attlas train
--average` keeps such a mean while it trains; this one is for moments chosen afterwards. Needs numpy and safetensors.
"""

import json
import pathlib
import shutil
import sys

import numpy as np
from safetensors.numpy import load_file, save_file


def main(output, *folders):
    folders = [pathlib.Path(folder) for folder in folders]
    output = pathlib.Path(output)
    if not folders:
        sys.exit(__doc__)
    configs = [json.loads((folder / "config.json").read_text()) for folder in folders]
    total = {}
    for folder, config in zip(folders, configs):
        for field in ["d_model", "num_heads", "d_ff", "num_layers", "src_vocab", "tgt_vocab", "tied"]:
            if config.get(field) != configs[-1].get(field):
                sys.exit(f"{folder}: {field} is {config.get(field)}, but {configs[-1].get(field)} in {folders[-1]}")
        if (folder / "tokenizer.json").read_bytes() != (folders[-1] / "tokenizer.json").read_bytes():
            sys.exit(f"{folder}: its tokenizer.json is another than that of {folders[-1]}")
        for name, tensor in load_file(folder / "model.safetensors").items():
            if tensor.dtype.kind != "f":
                sys.exit(f"{folder}: {name} is {tensor.dtype}; weights as they are trained are averaged, no rounded ones")
            total[name] = total.get(name, 0.0) + tensor.astype(np.float64)
    output.mkdir(parents=True, exist_ok=True)
    mean = {name: (tensor / len(folders)).astype(np.float32) for name, tensor in total.items()}
    save_file(mean, output / "model.safetensors")
    for name in ["config.json", "tokenizer.json"]:
        shutil.copyfile(folders[-1] / name, output / name)


if __name__ == "__main__":
    main(*sys.argv[1:])
