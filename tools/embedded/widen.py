"""A model folder with wider feed-forward sublayers that computes the same: the new units read random directions, and nothing reads them yet.

    python tools/embedded/widen.py RUN OUTPUT_DIR 1024

`attlas train --init OUTPUT_DIR --d-ff 1024` goes on from there (Chen et al. 2016, "Net2Net"). New rows of the first matrix are drawn
as a new model's are, uniformly within √(6 / (d_model + d_ff)), from a fixed seed; their columns of the second are 0. Needs numpy and safetensors.
"""

import json
import pathlib
import re
import shutil
import sys

import numpy as np
from safetensors.numpy import load_file, save_file


def main(run, output, d_ff):
    run, output, d_ff = pathlib.Path(run), pathlib.Path(output), int(d_ff)
    config = json.loads((run / "config.json").read_text())
    n_new = d_ff - config["d_ff"]
    if n_new <= 0:
        sys.exit(f"{run}: d_ff is {config['d_ff']} already, which is no less than {d_ff}")
    random = np.random.default_rng(0)
    bound = np.sqrt(6 / (config["d_model"] + d_ff))
    tensors = load_file(run / "model.safetensors")
    for name in sorted(tensors):  # in one order, so that the same folder gives the same numbers
        tensor = tensors[name]
        if re.search(r"\.ffn\.0\.weight$", name):  # [d_ff, d_model]
            new = random.uniform(-bound, bound, [n_new, tensor.shape[1]]).astype(np.float32)
            tensors[name] = np.concatenate([tensor, new])
        elif re.search(r"\.ffn\.0\.bias$", name):  # [d_ff]
            tensors[name] = np.concatenate([tensor, np.zeros(n_new, np.float32)])
        elif re.search(r"\.ffn\.3\.weight$", name):  # [d_model, d_ff]
            tensors[name] = np.concatenate([tensor, np.zeros([tensor.shape[0], n_new], np.float32)], axis=1)
    output.mkdir(parents=True, exist_ok=True)
    save_file(tensors, output / "model.safetensors")
    (output / "config.json").write_text(json.dumps({**config, "d_ff": d_ff}, indent=1) + "\n")
    shutil.copyfile(run / "tokenizer.json", output / "tokenizer.json")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
