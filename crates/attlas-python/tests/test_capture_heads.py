"""Heads that are modules of their own: put together to the layer that they are, and told from layers of one head."""

from __future__ import annotations

from typing import Any

import attlas
import pytest
from capture_tools import CLOSE, difference, torch
from torch import nn
from torch.nn import functional as F

N_TEXTS, N_TOKENS, N_HEADS = 2, 6, 4


class Head(nn.Module):
    """One head, a module of its own, that sees no later token."""

    def __init__(self, kernel: bool) -> None:
        super().__init__()
        self.kernel = kernel
        self.key, self.query, self.value = (nn.Linear(16, 4, bias=False) for _ in range(3))

    def forward(self, x: Any) -> Any:
        if self.kernel:
            return F.scaled_dot_product_attention(self.query(x)[:, None], self.key(x)[:, None], self.value(x)[:, None], is_causal=True)[:, 0]
        return self.weights(x) @ self.value(x)

    def weights(self, x: Any) -> Any:
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        return F.softmax((self.query(x) @ self.key(x).transpose(1, 2) / 2).masked_fill(later, -torch.inf), -1)


class MultiHeadAttention(nn.Module):
    def __init__(self, kernel: bool) -> None:
        super().__init__()
        self.heads = nn.ModuleList(Head(kernel) for _ in range(N_HEADS))

    def forward(self, x: Any) -> Any:
        return x + torch.cat([head(x) for head in self.heads], -1)


@pytest.mark.parametrize("kernel", [False, True])
def test_heads_that_are_modules_of_their_own_are_the_heads_of_their_layer(kernel: bool) -> None:
    torch.manual_seed(0)
    blocks = [MultiHeadAttention(kernel) for _ in range(2)]
    x = torch.randn(N_TEXTS, N_TOKENS, 16)
    recording = attlas.capture(nn.Sequential(*blocks).eval(), (x,))
    with torch.no_grad():
        inputs = [x, blocks[0](x)]
        wanted = [torch.stack([head.weights(y) for head in block.heads], 1) for block, y in zip(blocks, inputs)]  # type: ignore[operator]
    assert [(layer.kind, layer.index, layer.n_heads) for layer in recording.layers] == [("decoder", at, N_HEADS) for at in range(2)]
    assert difference(recording, {("decoder", at): weights for at, weights in enumerate(wanted)}) <= CLOSE


@pytest.mark.parametrize("kernel", [False, True])
@pytest.mark.parametrize("cut", ["chunk", "unbind", "index"])
def test_heads_that_are_given_columns_of_one_input_are_the_heads_of_their_layer(kernel: bool, cut: str) -> None:
    class NarrowHead(Head):
        def __init__(self) -> None:
            super().__init__(kernel)
            self.key, self.query, self.value = (nn.Linear(4, 4, bias=False) for _ in range(3))

    class MultiHeadAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = nn.ModuleList(NarrowHead() for _ in range(N_HEADS))

        def parts(self, x: Any) -> list[Any]:
            if cut == "unbind":
                return list(x.unflatten(2, (N_HEADS, 4)).unbind(2))
            return list(x.chunk(N_HEADS, -1)) if cut == "chunk" else [x[..., 4 * head : 4 * head + 4] for head in range(N_HEADS)]

        def forward(self, x: Any) -> Any:
            return x + torch.cat([head(part) for head, part in zip(self.heads, self.parts(x))], -1)

    torch.manual_seed(0)
    blocks = [MultiHeadAttention() for _ in range(2)]
    x = torch.randn(N_TEXTS, N_TOKENS, 16)
    recording = attlas.capture(nn.Sequential(*blocks).eval(), (x,))
    assert [(layer.kind, layer.index, layer.n_heads) for layer in recording.layers] == [("decoder", at, N_HEADS) for at in range(2)]
    with torch.no_grad():
        wanted = {
            ("decoder", at): torch.stack([head.weights(part) for head, part in zip(block.heads, block.parts(y))], 1)  # type: ignore[operator]
            for at, (block, y) in enumerate(zip(blocks, [x, blocks[0](x)]))
        }
    assert difference(recording, wanted) <= CLOSE


def test_branches_that_are_given_other_rows_of_one_input_are_no_heads() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branches = nn.ModuleList(OneAttention(False) for _ in range(3))

        def forward(self, x: Any) -> Any:
            return [branch(part) for branch, part in zip(self.branches, x)]

    class OneAttention(Head):
        pass

    recording = attlas.capture(Branches().eval(), (torch.randn(3, 1, N_TOKENS, 16),))
    assert [(layer.index, layer.n_heads) for layer in recording.layers] == [(0, 1), (1, 1), (2, 1)]


def test_layers_of_one_head_that_follow_each_other_stay_layers() -> None:
    class OneAttention(Head):
        def forward(self, x: Any) -> Any:
            return x + super().forward(x).repeat(1, 1, 4)

    recording = attlas.capture(nn.Sequential(OneAttention(False), OneAttention(False)).eval(), (torch.randn(1, N_TOKENS, 16),))
    assert [(layer.index, layer.n_heads) for layer in recording.layers] == [(0, 1), (1, 1)]


@pytest.mark.parametrize("kernel", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("inference", [False, True])
def test_layers_of_one_head_are_none_of_one_layer_where_memory_is_used_again(kernel: bool, in_place: bool, inference: bool) -> None:
    class OneAttention(Head):
        pass

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(OneAttention(kernel) for _ in range(6))

        def forward(self, x: Any) -> Any:
            x = x * 1.0
            for layer in self.layers:
                if in_place:
                    x += layer(x).repeat(1, 1, 4)
                else:
                    x = x + layer(x).repeat(1, 1, 4)
            return x

    with torch.inference_mode(inference):
        recordings = [attlas.capture(Model().eval(), (torch.randn(1, n_tokens, 16),)) for n_tokens in (7, 60)]
    for recording in recordings:
        assert [(layer.index, layer.n_heads) for layer in recording.layers] == [(at, 1) for at in range(6)]
