#!/usr/bin/env python3
"""Training throughput: attlas and PyTorch eager, the same model, the same batches, the same cores, in one run.

    cargo build --release
    python bench/train_vs_pytorch.py --pairs train.tsv --tokenizer tokenizer.json

Both train the encoder-decoder of Vaswani et al. 2017 (d_model 256, 8 heads, d_ff 512, 3 + 3 layers, tied embeddings, dropout
0.1, label smoothing 0.1, Adam) at batches of 4,096 target tokens. PyTorch gets sentences sorted by length within a pool, so
that it works on little padding (its share is printed), and runs as f32 eager; `--bf16` adds autocast. Each takes `--steps`
steps after one to warm up; the figure is target tokens per second, padding not counted. Needs torch and tokenizers.
"""

import argparse
import json
import math
import subprocess
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

D_MODEL, HEADS, D_FF, LAYERS, DROPOUT, BATCH_TOKENS = 256, 8, 512, 3, 0.1, 4096


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.mha = nn.MultiheadAttention(D_MODEL, HEADS, dropout=DROPOUT, batch_first=True)
        self.norm, self.dropout = nn.LayerNorm(D_MODEL), nn.Dropout(DROPOUT)

    def forward(self, x, memory, **masks):
        return self.norm(x + self.dropout(self.mha(x, memory, memory, need_weights=False, **masks)[0]))


class FeedForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.ffn = nn.Sequential(nn.Linear(D_MODEL, D_FF), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(D_FF, D_MODEL))
        self.norm, self.dropout = nn.LayerNorm(D_MODEL), nn.Dropout(DROPOUT)

    def forward(self, x):
        return self.norm(x + self.dropout(self.ffn(x)))


class Transformer(nn.Module):
    def __init__(self, n_vocab):
        super().__init__()
        self.embedding = nn.Embedding(n_vocab, D_MODEL)
        nn.init.normal_(self.embedding.weight, std=D_MODEL**-0.5)
        self.bias = nn.Parameter(torch.zeros(n_vocab))
        self.encoder = nn.ModuleList([nn.ModuleList([Attention(), FeedForward()]) for _ in range(LAYERS)])
        self.decoder = nn.ModuleList([nn.ModuleList([Attention(), Attention(), FeedForward()]) for _ in range(LAYERS)])
        self.dropout = nn.Dropout(DROPOUT)
        angle = torch.arange(512)[:, None] * torch.exp(torch.arange(0, D_MODEL, 2) * (-math.log(10000.0) / D_MODEL))
        self.register_buffer("positions", torch.stack([angle.sin(), angle.cos()], -1).flatten(1))  # [512, d_model]

    def embed(self, ids):
        return self.dropout(self.embedding(ids) * math.sqrt(D_MODEL) + self.positions[: ids.shape[1]])

    def forward(self, source, target):
        padding, x, y = source == 0, self.embed(source), self.embed(target)
        for attention, feed_forward in self.encoder:
            x = feed_forward(attention(x, x, key_padding_mask=padding))
        future = torch.triu(torch.ones(target.shape[1], target.shape[1], dtype=torch.bool), 1)
        for attention, cross, feed_forward in self.decoder:
            y = feed_forward(cross(attention(y, y, attn_mask=future), x, key_padding_mask=padding))
        return F.linear(y, self.embedding.weight, self.bias)


def padded(sentences):
    longest = max(map(len, sentences))
    return torch.tensor([sentence + [0] * (longest - len(sentence)) for sentence in sentences])


def batches(pairs, tokenizer, count):
    """`count` batches of BATCH_TOKENS target tokens, each of sentences of alike length."""
    lines = [line.rstrip("\n").split("\t") for line in open(pairs, encoding="utf-8")][: 2000 * count]
    ids = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    encoded = sorted(((ids(source) + [2], [1, *ids(target)]) for source, target in lines), key=lambda p: (len(p[1]), len(p[0])))
    cut, batch, n_tokens = [], [], 0
    for source, target in encoded:
        if n_tokens + len(target) > BATCH_TOKENS:
            cut.append(batch)
            batch, n_tokens = [], 0
        batch.append((source, target))
        n_tokens += len(target)
    chosen = [cut[round(place * (len(cut) - 1) / max(1, count - 1))] for place in range(count)]
    return [
        (padded([s for s, _ in batch]), padded([t for _, t in batch]), padded([t[1:] + [2] for _, t in batch]))
        for batch in chosen
    ]


def pytorch(data, n_vocab, bf16):
    """Target tokens per second, and the share of the target positions that is padding."""
    torch.manual_seed(1)
    model = Transformer(n_vocab).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-9)
    n_tokens = n_places = 0
    for step, (source, target, predicted) in enumerate(data):
        if step == 1:
            began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(source, target)
            loss = F.cross_entropy(logits.flatten(0, 1), predicted.flatten(), ignore_index=0, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step >= 1:
            n_tokens += int((predicted != 0).sum())
            n_places += predicted.numel()
    return n_tokens / (time.perf_counter() - began), 1 - n_tokens / n_places


def attlas(arguments, steps):
    """Target tokens per second of `attlas train`, validation and checkpoints left out."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        valid = folder / "valid.tsv"
        valid.write_text("\n".join(open(arguments.pairs, encoding="utf-8").read().split("\n")[:10]) + "\n", encoding="utf-8")
        command = [arguments.attlas, "train", "--pairs", arguments.pairs, "--valid", valid, "--tokenizer", arguments.tokenizer]
        command += ["-o", folder / "out", "--batch-tokens", BATCH_TOKENS, "--tokens", BATCH_TOKENS * steps]
        command += ["--threads", arguments.threads, "--validate-every", 10**6, "--label-smoothing", 0.1]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lines = [json.loads(line) for line in open(folder / "out" / "log.jsonl", encoding="utf-8")]
        return (lines[-1]["tokens"] - lines[0]["tokens"]) / (lines[-1]["seconds"] - lines[0]["seconds"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--attlas", default="target/release/attlas")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--bf16", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tokenizer = Tokenizer.from_file(arguments.tokenizer)
    data = batches(arguments.pairs, tokenizer, arguments.steps)
    n_vocab = tokenizer.get_vocab_size()
    ours = attlas(arguments, arguments.steps)
    print(f"attlas f32            {ours:7.0f} target tokens/s, {arguments.threads} threads, no padding")
    for bf16 in [False, True] if arguments.bf16 else [False]:
        theirs, share = pytorch(data, n_vocab, bf16)
        name = "PyTorch bf16 autocast" if bf16 else "PyTorch f32 eager    "
        print(f"{name} {theirs:7.0f} target tokens/s, {arguments.threads} threads, {100 * share:.0f} % padding; attlas is {ours / theirs:.2f} times as fast")


if __name__ == "__main__":
    main()
