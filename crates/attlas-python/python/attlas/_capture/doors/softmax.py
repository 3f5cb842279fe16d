"""Door 4: a softmax inside a module called attention, taken for weights where it is a map of queries over keys."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from ..followed import INSTEAD, Weights, tensors_in
from ..recorder import ATTENTION, Recorder

SOFTMAX = {F.softmax, torch.softmax, torch.Tensor.softmax}


def softmax(recorder: Recorder, scores: Any, weights: torch.Tensor, axis: Any) -> None:
    """Takes the result of a softmax for weights where it is a map of queries over keys.

    What is none, in a module that is called attention, is said: a problem of the layer, unless another door sees it.
    """
    name, module, run = recorder.innermost
    if not weights.is_floating_point() or module is None:
        return
    if not ATTENTION.search(name.rpartition(".")[2] + " " + type(module).__name__):
        return
    shape, n_heads, sizes = list(weights.shape), n_heads_of(module), _token_sizes(recorder)
    is_map = 3 <= weights.dim() <= 4 and (weights.shape[-1] >= 2 or recorder.is_running)
    four, problem, is_transposed = weights, "", False
    if axis is not None and axis % weights.dim() != weights.dim() - 1:
        problem = f"over axis {axis} of {weights.dim()}, and not over the last, where keys are expected"
    elif not is_map:
        if weights.dim() < 3 or weights.shape[-1] < 2:
            return  # a single number or one row: no map
        problem = f"over {weights.dim()} axes, as of blocks of tokens; [batch, heads, queries, keys] was expected"
    elif weights.dim() == 3:
        if shape[0] % (n_heads or 1):
            return
        four = weights.reshape(-1, n_heads or 1, *weights.shape[1:])
    elif n_heads is not None and shape[1] not in (1, n_heads):
        if shape[2] == n_heads and shape[3] in sizes:
            four, is_transposed = weights.transpose(1, 2), True
        else:
            problem = f"of the shape {shape}; with its {n_heads} heads, [batch, {n_heads}, queries, keys] was expected (a window of keys is at work?)"
    is_sure = four.shape[-1] in sizes or recorder.is_running and four.shape[-1] >= four.shape[-2]
    if not problem and not is_sure and not recorder.followed.is_product(scores):
        problem = (
            f"over {shape[-1]} numbers that are neither tokens nor products of queries and keys (linear attention takes one over features)"
        )
    if problem:
        recorder.miss(module, f"{name} calls softmax {problem}: {INSTEAD}")
        return
    track = recorder.take_weights(four, name, module, run)
    track.unsure |= not is_sure
    recorder.followed.begin(weights, Weights(track, len(track.dense) - 1, name, is_transposed))


def n_heads_of(module: Any) -> int | None:
    """How many heads a module says that it has."""
    names = ("num_heads", "num_attention_heads", "n_head", "n_heads")
    found = next((getattr(module, name) for name in names if hasattr(module, name)), None)
    return found if isinstance(found, int) and found > 0 else None


def _token_sizes(recorder: Recorder) -> set[int]:
    """How long the axes are, but for the last, of what the module that is running was given."""
    args, kwargs = recorder.stack[-1][2]
    found = {size for value in tensors_in([args, list(kwargs.values())]) for size in value.shape[:-1]}
    return found
