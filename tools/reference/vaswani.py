"""The encoder-decoder of the source design as a PyTorch class, and the script that makes its fixture.

    python tools/reference/vaswani.py crates/attlas-model/tests/data/vaswani

Versions: see requirements.txt beside this file. `Transformer` has the parameter names that `family/vaswani.rs` reads.
Padding: the encoder and the cross-attention mask source padding; the decoder is causal and masks target padding.
The fixture `padded` holds random weights (seed 7), a padded batch of three pairs, and what the class computes from
them in f64: attention weights of every head and logits.
"""

import json
import math
import pathlib
import sys

import torch
from safetensors.torch import save_file
from torch import nn


class Attention(nn.Module):
    def __init__(self, d_model, num_heads, dropout):
        super().__init__()
        self.mha = nn.MultiheadAttention(d_model, num_heads, dropout=dropout, batch_first=True)
        self.norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, source, padding, causal):
        mask = None
        if causal:
            n = x.shape[1]
            mask = torch.triu(torch.ones(n, n, dtype=torch.bool), diagonal=1)
        y, weights = self.mha(
            x, source, source, key_padding_mask=padding, attn_mask=mask, average_attn_weights=False
        )
        return self.norm(x + self.dropout(y)), weights


class FeedForward(nn.Module):
    def __init__(self, d_model, d_ff, dropout):
        super().__init__()
        self.ffn = nn.Sequential(nn.Linear(d_model, d_ff), nn.ReLU(), nn.Dropout(dropout), nn.Linear(d_ff, d_model))
        self.norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.norm(x + self.dropout(self.ffn(x)))


class EncoderLayer(nn.Module):
    def __init__(self, d_model, num_heads, d_ff, dropout):
        super().__init__()
        self.self_attn = Attention(d_model, num_heads, dropout)
        self.ffn = FeedForward(d_model, d_ff, dropout)


class DecoderLayer(EncoderLayer):
    def __init__(self, d_model, num_heads, d_ff, dropout):
        super().__init__(d_model, num_heads, d_ff, dropout)
        self.cross_attn = Attention(d_model, num_heads, dropout)


class Transformer(nn.Module):
    def __init__(self, src_vocab, tgt_vocab, d_model=512, num_heads=8, d_ff=2048, num_layers=6, dropout=0.1, max_len=5000):
        super().__init__()
        self.src_embed = nn.Embedding(src_vocab, d_model)
        self.tgt_embed = nn.Embedding(tgt_vocab, d_model)
        self.encoder_layers = nn.ModuleList(EncoderLayer(d_model, num_heads, d_ff, dropout) for _ in range(num_layers))
        self.decoder_layers = nn.ModuleList(DecoderLayer(d_model, num_heads, d_ff, dropout) for _ in range(num_layers))
        self.output_proj = nn.Linear(d_model, tgt_vocab)
        self.dropout = nn.Dropout(dropout)
        self.d_model = d_model
        pe = torch.zeros(max_len, d_model)
        position = torch.arange(max_len).unsqueeze(1).float()
        step = torch.exp(torch.arange(0, d_model, 2).float() * (-math.log(10000.0) / d_model))
        pe[:, 0::2] = torch.sin(position * step)
        pe[:, 1::2] = torch.cos(position * step)
        self.register_buffer("pe", pe.unsqueeze(0))

    def embed(self, table, ids):
        return self.dropout(table(ids) * math.sqrt(self.d_model) + self.pe[:, : ids.shape[1]])

    def forward(self, src, tgt, src_padding=None, tgt_padding=None):
        """Logits, and per kind the list of layers' weights `[batch, heads, queries, keys]`."""
        maps = {"encoder": [], "decoder": [], "cross": []}
        x = self.embed(self.src_embed, src)
        for layer in self.encoder_layers:
            x, weights = layer.self_attn(x, x, src_padding, causal=False)
            maps["encoder"].append(weights)
            x = layer.ffn(x)
        y = self.embed(self.tgt_embed, tgt)
        for layer in self.decoder_layers:
            y, weights = layer.self_attn(y, y, tgt_padding, causal=True)
            maps["decoder"].append(weights)
            y, weights = layer.cross_attn(y, x, src_padding, causal=False)
            maps["cross"].append(weights)
            y = layer.ffn(y)
        return self.output_proj(y), maps


def fixture(folder):
    torch.manual_seed(7)
    config = dict(src_vocab=48, tgt_vocab=36, d_model=24, num_heads=3, d_ff=40, num_layers=2, dropout=0.1, max_len=32)
    model = Transformer(**config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embed" in name:
                parameter.mul_(0.2)  # scores of a trained model's size
            else:
                parameter.mul_(1.5).add_(0.1 * torch.randn_like(parameter))
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "pe"}
    save_file(state, folder / "model.safetensors")
    about = dict(config, model_type="vaswani", pad=0, bos=1, eos=2)
    (folder / "config.json").write_text(json.dumps(about, indent=1) + "\n")
    src_lengths, tgt_lengths = [9, 5, 7], [6, 8, 3]
    src, tgt = torch.zeros(3, 9, dtype=torch.long), torch.zeros(3, 8, dtype=torch.long)
    for item in range(3):
        src[item, : src_lengths[item]] = torch.randint(3, 48, (src_lengths[item],))
        tgt[item, : tgt_lengths[item]] = torch.randint(3, 36, (tgt_lengths[item],))
    with torch.no_grad():
        logits, maps = model.double()(src, tgt, src == 0, tgt == 0)
    tensors = {"src": src.int(), "tgt": tgt.int(), "logits": logits.float()}
    for kind, layers in maps.items():
        for index, weights in enumerate(layers):
            tensors[f"{kind}.{index}"] = weights.float().contiguous()
    save_file(tensors, folder / "expected.safetensors")


if __name__ == "__main__":
    fixture(pathlib.Path(sys.argv[1]) / "padded")
