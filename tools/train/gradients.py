#!/usr/bin/env python3
"""Losses and gradients of tiny encoder-decoders, as PyTorch's autograd computes them.

    python tools/train/gradients.py crates/attlas-train/tests/golden/gradients.safetensors

Two models, one with tied embeddings and one without, each with three sentence pairs of different lengths in a padded
batch, label smoothing 0.1, no dropout, in f64. attlas computes the same on packed sentences in f32. Written for
torch 2.15 and safetensors 0.8.
"""

import math
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

SIZES = {"d_model": 16, "num_heads": 4, "d_ff": 24, "num_layers": 2, "vocab": 23}
SOURCES = [[5, 9, 11, 20, 2], [7, 2], [14, 15, 16, 17, 18, 19, 5, 2]]
TARGETS = [[1, 8, 10, 22], [1, 6, 6, 12, 21, 4], [1, 13]]
SMOOTHING = 0.1


class Attention(nn.Module):
    def __init__(self, d_model, num_heads):
        super().__init__()
        self.mha = nn.MultiheadAttention(d_model, num_heads, batch_first=True)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x, memory, **masks):
        return self.norm(x + self.mha(x, memory, memory, need_weights=False, **masks)[0])


class FeedForward(nn.Module):
    def __init__(self, d_model, d_ff):
        super().__init__()
        self.ffn = nn.Sequential(nn.Linear(d_model, d_ff), nn.ReLU(), nn.Dropout(0.0), nn.Linear(d_ff, d_model))
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x):
        return self.norm(x + self.ffn(x))


class Layer(nn.Module):
    def __init__(self, sizes, cross):
        super().__init__()
        self.self_attn = Attention(sizes["d_model"], sizes["num_heads"])
        if cross:
            self.cross_attn = Attention(sizes["d_model"], sizes["num_heads"])
        self.ffn = FeedForward(sizes["d_model"], sizes["d_ff"])


class Transformer(nn.Module):
    """Vaswani et al. 2017, post-norm, sinusoidal positions."""

    def __init__(self, sizes, tied):
        super().__init__()
        self.d_model = sizes["d_model"]
        self.src_embed = nn.Embedding(sizes["vocab"], self.d_model)
        self.tgt_embed = self.src_embed if tied else nn.Embedding(sizes["vocab"], self.d_model)
        self.output_proj = nn.Linear(self.d_model, sizes["vocab"])
        if tied:
            self.output_proj.weight = self.src_embed.weight
        self.encoder_layers = nn.ModuleList([Layer(sizes, False) for _ in range(sizes["num_layers"])])
        self.decoder_layers = nn.ModuleList([Layer(sizes, True) for _ in range(sizes["num_layers"])])

    def embed(self, embedding, ids):
        position = torch.arange(ids.shape[1], dtype=torch.float64)[:, None]
        angle = position * torch.exp(torch.arange(0, self.d_model, 2) * (-math.log(10000.0) / self.d_model))
        rows = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)  # [n, d_model]
        return embedding(ids) * math.sqrt(self.d_model) + rows

    def forward(self, source, target):
        padding = source == 0
        x = self.embed(self.src_embed, source)
        for layer in self.encoder_layers:
            x = layer.ffn(layer.self_attn(x, x, key_padding_mask=padding))
        y = self.embed(self.tgt_embed, target)
        future = torch.triu(torch.ones(target.shape[1], target.shape[1], dtype=torch.bool), 1)
        for layer in self.decoder_layers:
            y = layer.self_attn(y, y, attn_mask=future)
            y = layer.ffn(layer.cross_attn(y, x, key_padding_mask=padding))
        return self.output_proj(y)


def padded(sentences):
    longest = max(map(len, sentences))
    return torch.tensor([sentence + [0] * (longest - len(sentence)) for sentence in sentences])


def main(path):
    torch.manual_seed(3)
    tensors = {}
    for name, tied in [("tied", True), ("untied", False)]:
        model = Transformer(SIZES, tied).double()
        for parameter in model.parameters():  # no gradient may vanish because a weight is 0 or 1
            parameter.data = (parameter.data + 0.2 * torch.randn_like(parameter)).float().double()
        predicted = padded([target[1:] + [2] for target in TARGETS])
        logits = model(padded(SOURCES), padded(TARGETS))
        options = {"ignore_index": 0, "label_smoothing": SMOOTHING}
        loss = F.cross_entropy(logits.flatten(0, 1), predicted.flatten(), **options)
        plain = F.cross_entropy(logits.flatten(0, 1), predicted.flatten(), ignore_index=0)
        loss.backward()
        tensors[f"{name}/loss"] = torch.tensor([loss.item(), plain.item()], dtype=torch.float32)
        for key, parameter in model.named_parameters():
            tensors[f"{name}/weights/{key}"] = parameter.detach().float()
            tensors[f"{name}/gradients/{key}"] = parameter.grad.float()
    save_file(tensors, path)


if __name__ == "__main__":
    main(sys.argv[1])
