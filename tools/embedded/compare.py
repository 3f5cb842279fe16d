"""Measures what int8 costs: loss, token accuracy and logits of the trained model and of the embedded one.

    python tools/embedded/compare.py MODEL_DIR crates/attlas-model/embedded test.tsv

Runs the PyTorch class of tools/reference/vaswani.py on both sets of weights, teacher-forced. Needs torch, safetensors, tokenizers.
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from strips import apart

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "reference"))
from vaswani import Transformer  # noqa: E402


def load(folder):
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    stored = load_file(next(path for path in sorted(folder.glob("model*.safetensors"))))
    state = {}
    for name, tensor in stored.items():
        if name.endswith(".strips"):
            matrix, scale = apart(tensor.numpy())
            state[name.removesuffix(".strips")] = torch.from_numpy(matrix * scale[:, None])
        else:
            state[name] = tensor.float()
    for name in ["tgt_embed.weight", "output_proj.weight"]:
        state.setdefault(name, state["src_embed.weight"])
    keys = ["src_vocab", "tgt_vocab", "d_model", "num_heads", "d_ff", "num_layers"]
    model = Transformer(**{key: config[key] for key in keys}, max_len=512)
    model.load_state_dict(state, strict=False)
    return model.eval(), config


def batches(tokenizer, config, pairs):
    """Source and target ids, labels, and which labels are no padding, 64 pairs at a time."""
    lines = [line.split("\t") for line in pathlib.Path(pairs).read_text().splitlines()]
    pad = lambda rows: torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    for start in range(0, len(lines), 64):
        batch = lines[start : start + 64]
        src = pad([tokenizer.encode(line[0]).ids + [config["eos"]] for line in batch])
        tgt = pad([[config["bos"]] + tokenizer.encode(line[1]).ids + [config["eos"]] for line in batch])
        yield src, tgt, tgt[:, 1:], tgt[:, 1:] != 0


def main(trained, embedded, pairs):
    models = [load(trained), load(embedded)]
    config = models[0][1]
    tokenizer = Tokenizer.from_file(str(pathlib.Path(embedded) / "tokenizer.json"))
    loss, right, n, worst, agree, longest = [0.0, 0.0], [0, 0], 0, 0.0, 0, 0
    for src, tgt, labels, real in batches(tokenizer, config, pairs):
        longest = max(longest, src.shape[1])
        n += int(real.sum())
        outputs = []
        for index, (model, _) in enumerate(models):
            with torch.no_grad():
                logits, _ = model(src, tgt[:, :-1], src == 0, tgt[:, :-1] == 0)
            outputs.append(logits[real])
            loss[index] += float(torch.nn.functional.cross_entropy(logits[real], labels[real], reduction="sum"))
            right[index] += int((logits[real].argmax(-1) == labels[real]).sum())
        worst = max(worst, float((outputs[0] - outputs[1]).abs().max()))
        agree += int((outputs[0].argmax(-1) == outputs[1].argmax(-1)).sum())
    for name, total, correct in zip(["trained", "embedded"], loss, right):
        print(f"{name}: loss {total / n:.4f} nats per token, token accuracy {correct / n:.4f}, {n} tokens")
    print(f"largest logit difference {worst:.3f}; same best token {agree / n:.4f}; longest source {longest} tokens")


if __name__ == "__main__":
    main(*sys.argv[1:])
