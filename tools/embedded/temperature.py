"""Finds the temperature at which a trained model's loss on held-out pairs is smallest (Guo et al. 2017).

    python tools/embedded/temperature.py MODEL_DIR tokenizer.json valid.tsv

Prints the loss in nats per token for temperatures of 0.7 to 1.5. Needs torch, safetensors, tokenizers.
"""

import sys

import torch
from compare import batches, load
from tokenizers import Tokenizer

TEMPERATURES = [0.7 + step / 50 for step in range(41)]


def main(folder, tokenizer, pairs):
    model, config = load(folder)
    loss, n = dict.fromkeys(TEMPERATURES, 0.0), 0
    for src, tgt, labels, real in batches(Tokenizer.from_file(tokenizer), config, pairs):
        with torch.no_grad():
            logits, _ = model(src, tgt[:, :-1], src == 0, tgt[:, :-1] == 0)
        n += int(real.sum())
        for temperature in TEMPERATURES:
            loss[temperature] += float(torch.nn.functional.cross_entropy(logits[real] / temperature, labels[real], reduction="sum"))
    for temperature, sum_of_losses in loss.items():
        print(f"{temperature:.2f}  {sum_of_losses / n:.4f}")
    print(f"best: {min(loss, key=loss.get):.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
