"""What a model adds to its scores: told as one number a key, or one a distance; anything else is no rule."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass
class Rule:
    """A bias in the words of the format. Neither: nothing is added."""

    per_key: np.ndarray[Any, Any] | None = None
    """Added to each key's scores, float32 ``[batch or 1, heads, keys]``."""
    first: int = 0
    """The distance, key less query, of the first column of `table`."""
    table: np.ndarray[Any, Any] | None = None
    """Added by head and distance, float32 ``[heads, distances]``."""


def rule(bias: np.ndarray[Any, Any], pairs: np.ndarray[Any, Any], n_heads: int, offset: int) -> Rule | None:
    """The rule that is exactly `bias` ``[batch or 1, heads or 1, queries, keys]`` on the pairs that are seen
    ``[batch or 1, heads or 1, queries, keys]``; `None` where there is none."""
    if not np.where(pairs, bias, 0).any():
        return Rule()
    return _per_key(bias, pairs, n_heads) or _per_distance(bias, pairs, n_heads, offset)


def _per_key(bias: np.ndarray[Any, Any], pairs: np.ndarray[Any, Any], n_heads: int) -> Rule | None:
    largest = np.where(pairs, bias, -np.inf).max(2)  # [batch or 1, heads or 1, keys]
    least = np.where(pairs, bias, np.inf).min(2)
    seen = largest >= least
    if not (largest == least)[seen].all():
        return None
    per_key = np.where(seen, largest, 0).astype(np.float32)
    return Rule(per_key=np.ascontiguousarray(np.broadcast_to(per_key, (per_key.shape[0], n_heads, per_key.shape[2]))))


def _per_distance(bias: np.ndarray[Any, Any], pairs: np.ndarray[Any, Any], n_heads: int, offset: int) -> Rule | None:
    n_queries, n_keys = bias.shape[2:]
    first = -(n_queries - 1 + offset)
    column = np.arange(n_keys) - (np.arange(n_queries)[:, None] + offset) - first  # [queries, keys], from 0
    table = np.zeros((n_heads, n_keys + n_queries - 1), np.float32)
    shape = (max(bias.shape[0], pairs.shape[0]), n_heads, n_queries, n_keys)
    values, shown = np.broadcast_to(bias, shape), np.broadcast_to(pairs, shape)
    for head in range(n_heads):
        for text in range(shape[0]):
            table[head, column[shown[text, head]]] = values[text, head][shown[text, head]]
        for text in range(shape[0]):
            if (table[head][column][shown[text, head]] != values[text, head][shown[text, head]]).any():
                return None
    return Rule(first=first, table=table)
