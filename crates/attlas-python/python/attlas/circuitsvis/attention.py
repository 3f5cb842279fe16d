"""Attention of one layer's heads, or of one head, as CircuitsVis' functions of the same names take it.

Mind the order: ``attention_heads`` takes the attention first, the others the tokens. Colours and the numbers at their ends
are accepted and left alone: attlas's page has one stated scale from 0 to the largest weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attlas._brought import Brought, Rendered, brought, is_causal
from attlas._numbers import numbers
from attlas.errors import Error

__all__ = ["attention_heads", "attention_pattern", "attention_patterns"]


def attention_heads(
    attention: Any,
    tokens: Sequence[str],
    attention_head_names: Sequence[str] | None = None,
    max_value: float | None = None,
    min_value: float | None = None,
    negative_color: str | None = None,
    positive_color: str | None = None,
    mask_upper_tri: bool | None = None,
) -> Brought:
    """Shows the attention of a group of heads.

    Args:
        attention: ``[heads, queries, keys]``, of torch, NumPy or lists.
        tokens: one for each query and key.
        attention_head_names: one for each head, kept as ``head_names``: the page numbers the heads as they come.
        max_value: accepted, as are ``min_value``, ``negative_color`` and ``positive_color``, and left alone.
        mask_upper_tri: whether the model is causal; seen in the weights where nothing is said.
    """
    weights = _heads(attention, tokens)
    names = list(attention_head_names or ())
    if names and len(names) != len(weights):
        raise Error(f"{len(names)} names were given for {len(weights)} heads")
    view = _view(weights, tokens, mask_upper_tri)
    view.head_names = tuple(names)
    return view


def attention_patterns(tokens: Sequence[str], attention: Any) -> Brought:
    """Shows the attention ``[heads, queries, keys]`` of a group of heads; in CircuitsVis an older name of ``attention_heads``."""
    return _view(_heads(attention, tokens), tokens, None)


def attention_pattern(
    tokens: Sequence[str],
    attention: Any,
    max_value: float | None = None,
    min_value: float | None = None,
    negative_color: str | None = None,
    show_axis_labels: bool | None = None,
    positive_color: str | None = None,
    mask_upper_tri: bool | None = None,
) -> Brought:
    """Shows the attention ``[queries, keys]`` of one head; see ``attention_heads`` for what the parameters do."""
    weights = numbers(attention)
    if weights.ndim != 2:
        raise Error(f"attention_pattern shows one head, [queries, keys], but shape {list(weights.shape)} was given")
    return _view(_heads(weights[np.newaxis], tokens), tokens, mask_upper_tri)


def _heads(attention: Any, tokens: Sequence[str]) -> NDArray[np.float32]:
    """The weights ``[heads, queries, keys]``; a batch of one text is taken for that text."""
    weights = numbers(attention)
    if weights.ndim == 4 and len(weights) == 1:
        weights = weights[0]
    if weights.ndim != 3:
        hint = "; were tokens and attention exchanged?" if weights.ndim < 2 else ""
        raise Error(f"attention has the axes [heads, queries, keys], but shape {list(weights.shape)} was given{hint}")
    if weights.shape[1] != len(tokens) or weights.shape[2] != len(tokens):
        raise Error(
            f"{len(tokens)} tokens were given for attention of {weights.shape[1]} queries and {weights.shape[2]} keys; "
            "were special tokens dropped on one side only?"
        )
    return weights


def _view(weights: NDArray[np.float32], tokens: Sequence[str], mask_upper_tri: bool | None) -> Brought:
    causal = is_causal([weights])
    if mask_upper_tri and not causal:
        largest = float(np.triu(weights, 1).max())
        raise Error(
            f"mask_upper_tri hides what queries see of later keys, but a weight of {largest:.2g} lies there; leave it out to see it"
        )
    kind = "decoder" if mask_upper_tri or (causal and mask_upper_tri is None) else "encoder"
    side = "source_tokens" if kind == "encoder" else "target_tokens"
    arrays = {(kind, 0): weights[np.newaxis]}
    return brought(arrays, head=(kind, 0, 0), origin="arrays given to circuitsvis", of=Rendered, **{side: list(tokens)})
