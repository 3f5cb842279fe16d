"""The encoder-decoder of Vaswani et al. (2017) as the usual PyTorch example writes it, with its parameters' names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Attention, residual connection and layer norm after it; the weights of the last run are kept by a hook."""

    def __init__(self, d_model: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.mha = nn.MultiheadAttention(d_model, num_heads, dropout=dropout, batch_first=True)
        self.norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)
        self.attn_weights: Tensor | None = None  # [batch, heads, queries, keys]
        self.mha.register_forward_hook(self._keep_weights)

    def forward(self, x: Tensor, source: Tensor, mask: Tensor | None, padding: Tensor | None) -> Tensor:
        attended, _ = self.mha(
            x, source, source, key_padding_mask=padding, attn_mask=mask, average_attn_weights=False
        )
        normed: Tensor = self.norm(x + self.dropout(attended))
        return normed

    def _keep_weights(self, _module: nn.Module, _inputs: Any, output: tuple[Tensor, Tensor | None]) -> None:
        if output[1] is not None:
            self.attn_weights = output[1].detach()


class FeedForward(nn.Module):
    """Two linear maps with ReLU between them, residual connection and layer norm after it."""

    def __init__(self, d_model: int, d_ff: int, dropout: float) -> None:
        super().__init__()
        self.ffn = nn.Sequential(nn.Linear(d_model, d_ff), nn.ReLU(), nn.Dropout(dropout), nn.Linear(d_ff, d_model))
        self.norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x + self.dropout(self.ffn(x)))
        return normed


class EncoderLayer(nn.Module):
    """Self-attention, then the feed-forward network."""

    def __init__(self, d_model: int, num_heads: int, d_ff: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(d_model, num_heads, dropout)
        self.ffn = FeedForward(d_model, d_ff, dropout)

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        fed: Tensor = self.ffn(self.self_attn(x, x, None, padding))
        return fed


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention over the encoder's output, then the feed-forward network."""

    def __init__(self, d_model: int, num_heads: int, d_ff: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(d_model, num_heads, dropout)
        self.cross_attn = Attention(d_model, num_heads, dropout)
        self.ffn = FeedForward(d_model, d_ff, dropout)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None, memory_padding: Tensor | None) -> Tensor:
        x = self.self_attn(x, x, mask, None)
        fed: Tensor = self.ffn(self.cross_attn(x, memory, None, memory_padding))
        return fed


class TransformerWithAttnMaps(nn.Module):
    """The encoder-decoder of Vaswani et al. (2017), post-norm, whose attention maps can be asked for after a run.

    Called with token ids ``src`` ``[batch, source]`` and ``tgt`` ``[batch, target]`` it returns logits
    ``[batch, target, tgt_vocab]``. Masks are as in ``torch.nn.Transformer``: where ``True`` stands nothing is looked at. Padding
    of the source is masked in the encoder and in cross-attention; the decoder is causal only by ``tgt_mask``. ``attlas.capture`` records it as any other model. In training mode
    dropout changes the weights too: their rows do not sum to 1, and plots of them say so.
    """

    def __init__(
        self,
        src_vocab: int,
        tgt_vocab: int,
        d_model: int = 512,
        num_heads: int = 8,
        d_ff: int = 2048,
        num_layers: int = 6,
        dropout: float = 0.1,
        max_len: int = 5000,
    ) -> None:
        super().__init__()
        self.d_model = d_model
        self.src_embed = nn.Embedding(src_vocab, d_model)
        self.tgt_embed = nn.Embedding(tgt_vocab, d_model)
        self.encoder_layers = nn.ModuleList(EncoderLayer(d_model, num_heads, d_ff, dropout) for _ in range(num_layers))
        self.decoder_layers = nn.ModuleList(DecoderLayer(d_model, num_heads, d_ff, dropout) for _ in range(num_layers))
        self.output_proj = nn.Linear(d_model, tgt_vocab)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("pe", _positions(max_len, d_model))

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        tgt_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        x = self._embed(self.src_embed, src)
        for layer in self.encoder_layers:
            x = layer(x, src_key_padding_mask)
        y = self._embed(self.tgt_embed, tgt)
        for layer in self.decoder_layers:
            y = layer(y, x, tgt_mask, src_key_padding_mask)
        logits: Tensor = self.output_proj(y)
        return logits

    def get_attention_maps(self) -> dict[str, list[Tensor | None]]:
        """The weights of the last run by layer, each ``[batch, heads, queries, keys]``; None before the first run."""
        return {
            "encoder": _weights([layer.self_attn for layer in self.encoder_layers]),
            "decoder_self": _weights([layer.self_attn for layer in self.decoder_layers]),
            "decoder_cross": _weights([layer.cross_attn for layer in self.decoder_layers]),
        }

    def _embed(self, table: nn.Module, ids: Tensor) -> Tensor:
        positions: Tensor = self.get_buffer("pe")[:, : ids.shape[1]]
        embedded: Tensor = self.dropout(table(ids) * math.sqrt(self.d_model) + positions)
        return embedded


def _weights(attentions: Sequence[Any]) -> list[Tensor | None]:
    return [attention.attn_weights for attention in attentions]


def _positions(max_len: int, d_model: int) -> Tensor:
    """Sines and cosines of the position at falling frequencies; shape ``[1, max_len, d_model]``."""
    position = torch.arange(max_len, dtype=torch.float32).unsqueeze(1)
    frequency = torch.exp(torch.arange(0, d_model, 2, dtype=torch.float32) * (-math.log(10000.0) / d_model))
    positions = torch.zeros(1, max_len, d_model)
    positions[0, :, 0::2] = torch.sin(position * frequency)
    positions[0, :, 1::2] = torch.cos(position * frequency)[:, : d_model // 2]
    return positions
