"""Door 4: a softmax inside a module called attention, taken for weights where it is a map of queries over keys."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from ..followed import INSTEAD, Weights
from ..order import Reading
from ..recorder import ATTENTION, Recorder, is_cross
from .layout import (
    HEADS_FIRST, UNTOLD, all_tokens, are_heads_first, is_elsewhere, is_given, n_heads_in, n_heads_of, n_texts_of, other_readings, token_sizes
)  # fmt: skip

SOFTMAX = {F.softmax, torch.softmax, torch.special.softmax, torch.Tensor.softmax}


def softmax(recorder: Recorder, scores: Any, weights: torch.Tensor, axis: Any) -> None:
    """Takes the result of a softmax for weights where it is a map of queries over keys.

    What is none, in a module that is called attention, is said: a problem of the layer, unless another door sees it.
    """
    name, module, _ = recorder.innermost
    if not weights.is_floating_point() or module is None:
        return
    if not _is_attention(recorder, name, module):
        return
    is_product = recorder.followed.is_product(scores)
    laid_out: tuple[torch.Tensor, bool] | str
    if axis is not None and axis % weights.dim() != weights.dim() - 1:
        laid_out = f"over axis {axis} of {weights.dim()}, and not over the last, where keys are expected"
    elif weights.dim() < 3 or weights.shape[-1] < 2 and not (recorder.is_running or is_product):
        return  # a single number or one row: no map
    else:
        laid_out = _laid_out(recorder, _of_seen(scores, weights))
    if not isinstance(laid_out, str):
        four, is_transposed = laid_out
        are_tokens = four.shape[-1] in token_sizes(recorder, four.shape[0]) or recorder.is_running and four.shape[-1] >= four.shape[-2]
        if are_tokens or is_product:
            taken = _taken(recorder, four, is_joined=weights.dim() == 3, is_transposed=is_transposed, is_product=is_product)
            taken.track.unsure |= not (are_tokens and is_product)
            recorder.followed.begin(weights, taken)
            return
        laid_out = (
            f"over {weights.shape[-1]} numbers that are neither tokens nor products of queries and keys (linear attention takes one over features)"
        )
    recorder.miss(module, f"{name} calls softmax {laid_out}: {INSTEAD}", of_product=is_product)


def _taken(recorder: Recorder, four: torch.Tensor, *, is_joined: bool, is_transposed: bool, is_product: bool) -> Weights:
    """Takes in weights `[batch, heads, queries, keys]`, whose texts and heads were one axis, or heads and queries exchanged, in the module that is
    running; what is to be followed of them."""
    name, module, run = recorder.innermost
    n_texts, n_heads, n_queries, n_keys = four.shape
    cross = is_cross(name, module) or is_elsewhere(recorder, n_texts, n_queries, n_keys)
    track = recorder.take_weights(four, name, module, run, cross=cross, of_product=is_product)
    exchanged = (Reading.EXCHANGED,) if n_heads_of(recorder) is None else ()
    others = exchanged if is_transposed else other_readings(recorder, four.shape, is_joined=is_joined)
    doubt = recorder.orders.doubt(track, (n_texts, n_heads, n_queries), others, is_joined=is_joined, is_transposed=is_transposed)
    are_channels = n_queries == n_keys and n_keys not in token_sizes(recorder, n_texts)
    channels = frozenset(all_tokens(recorder)) if are_channels else frozenset()
    return Weights(track, len(track.dense) - 1, name, run, is_transposed, is_product, channels, doubt)


def _is_attention(recorder: Recorder, name: str, module: Any) -> bool:
    """Whether a module is called attention, or is one of the numbered heads of one that is."""
    last = name.rpartition(".")[2]
    if ATTENTION.search(last + " " + type(module).__name__):
        return True
    callers = [one for one, _, _ in recorder.stack if one is not module and not isinstance(one, torch.nn.Softmax)]
    return last.isdigit() and bool(callers) and ATTENTION.search(type(callers[-1]).__name__) is not None


def _of_seen(scores: Any, weights: torch.Tensor) -> torch.Tensor:
    """Weights that are 0 where a query sees no key, of which a softmax makes NaN."""
    if not isinstance(scores, torch.Tensor) or scores.shape != weights.shape:
        return weights
    sees_none = (scores == -torch.inf).all(-1, keepdim=True)
    return weights.masked_fill(sees_none, 0) if bool(sees_none.any()) else weights


def _laid_out(recorder: Recorder, weights: torch.Tensor) -> tuple[torch.Tensor, bool] | str:
    """Weights as `[batch, heads, queries, keys]`, and whether heads and queries have changed places; or why they are none."""
    shape, n_heads = list(weights.shape), n_heads_of(recorder)
    if weights.dim() > 4:
        return f"over {weights.dim()} axes, as of blocks of tokens; [batch, heads, queries, keys] was expected"
    if weights.dim() == 3:
        n = n_heads_in(recorder, shape[0], shape[1])
        if n is None:
            return f"of the shape {shape}: its " + UNTOLD.format(shape[0])
        return weights.reshape(-1, n, *weights.shape[1:]), False
    sizes = token_sizes(recorder, shape[0])
    if n_heads is not None:
        is_swapped = are_heads_first(recorder, shape)
        is_one_token = shape[1] == 1 and shape[2] == n_heads > 1 and is_given(recorder, (shape[0], 1))
        if shape[1] in (1, n_heads) and not is_swapped and not is_one_token:
            return weights, False
        if shape[2] == n_heads and shape[1] in sizes and shape[3] in sizes and not (is_swapped and shape[1] == 1):
            return weights.transpose(1, 2), True
        if is_swapped:
            return HEADS_FIRST.format(shape)
        return f"of the shape {shape}; with its {n_heads} heads, [batch, {n_heads}, queries, keys] was expected (a window of keys is at work?)"
    may_be_swapped = shape[2] not in sizes and shape[1] in sizes and (shape[3] in sizes or shape[2] != shape[3])  # no map from heads to heads
    if may_be_swapped and n_texts_of(recorder, shape[1]) == shape[0]:
        return weights.transpose(1, 2), True
    n_texts = n_texts_of(recorder, shape[2])
    if n_texts not in (None, shape[0]) and shape[2] in sizes:
        return f"of the shape {shape}; with {n_texts} texts, [{n_texts}, heads, queries, keys] was expected"
    return weights, False
