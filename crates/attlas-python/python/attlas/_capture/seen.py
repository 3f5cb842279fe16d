"""Which keys each query of a call saw: as stretches of keys, linear in the length, or as one truth value a pair."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

MOST_STRETCHES = 8
"""A query with more stretches of keys than these is told by one bit a key, where that is smaller."""


@dataclasses.dataclass
class Seen:
    """Keys that queries see. Exactly one of the two forms is there.

    ``stretches`` is uint32 ``[batch or 1, heads or 1, queries, n, 2]``: first key, and the key after the last, rising,
    then (0, 0); ``pairs`` is bool ``[batch or 1, heads or 1, queries, keys]``.
    """

    n_keys: int
    stretches: np.ndarray[Any, Any] | None = None
    pairs: np.ndarray[Any, Any] | None = None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Texts (or 1), heads (or 1), queries."""
        held = self.stretches if self.stretches is not None else self.pairs
        assert held is not None
        return held.shape[0], held.shape[1], held.shape[2]

    @staticmethod
    def everything(n_queries: int, n_keys: int) -> Seen:
        """Every query sees every key."""
        stretches = np.zeros((1, 1, n_queries, 1, 2), np.uint32)
        stretches[..., 1] = n_keys
        return Seen(n_keys, stretches)

    @staticmethod
    def causal(n_queries: int, n_keys: int) -> Seen:
        """Query `i` sees the keys 0 to `i`: PyTorch's ``is_causal``, which starts both at the upper left."""
        seen = Seen.everything(n_queries, n_keys)
        assert seen.stretches is not None
        seen.stretches[0, 0, :, 0, 1] = np.minimum(np.arange(n_queries) + 1, n_keys)
        return seen

    @staticmethod
    def of_pairs(pairs: np.ndarray[Any, Any]) -> Seen:
        """The smaller form of ``[batch or 1, heads or 1, queries, keys]``, true where a key is seen."""
        if pairs.shape[1] > 1 and (pairs == pairs[:, :1]).all():
            pairs = pairs[:, :1]
        if pairs.shape[0] > 1 and (pairs == pairs[:1]).all():
            pairs = pairs[:1]
        n_keys = pairs.shape[-1]
        starts = pairs.copy()
        starts[..., 1:] &= ~pairs[..., :-1]
        counts = starts.sum(-1)
        n = max(int(counts.max(initial=0)), 1)
        if n == 1:
            stretches = np.zeros((*pairs.shape[:3], 1, 2), np.uint32)
            stretches[..., 0, 0] = starts.argmax(-1)
            stretches[..., 0, 1] = stretches[..., 0, 0] + pairs.sum(-1)
            stretches[counts == 0] = 0
            return Seen(n_keys, stretches)
        if n > MOST_STRETCHES and n * 64 > n_keys or pairs.shape[1] > 1:
            return Seen(n_keys, pairs=np.ascontiguousarray(pairs))
        ends = pairs.copy()
        ends[..., :-1] &= ~pairs[..., 1:]
        stretches = np.zeros((*pairs.shape[:3], n, 2), np.uint32)
        used = np.arange(n) < counts[..., None]
        stretches[used, 0] = np.nonzero(starts)[-1]
        stretches[used, 1] = np.nonzero(ends)[-1] + 1
        return Seen(n_keys, stretches)

    def dense(self) -> np.ndarray[Any, Any]:
        """One truth value a pair, ``[batch or 1, heads or 1, queries, keys]``."""
        if self.pairs is not None:
            return self.pairs
        assert self.stretches is not None
        keys = np.arange(self.n_keys)
        pairs = np.zeros((*self.sizes, self.n_keys), bool)
        for stretch in range(self.stretches.shape[3]):
            first, end = self.stretches[..., stretch, 0], self.stretches[..., stretch, 1]
            pairs |= (first[..., None] <= keys) & (keys < end[..., None])
        return pairs

    def texts(self, chosen: np.ndarray[Any, Any] | None) -> Seen:
        """The rows of some texts of the batch; those that hold for all stay."""
        if chosen is None or self.sizes[0] == 1:
            return self
        if self.pairs is not None:
            return Seen(self.n_keys, pairs=self.pairs[chosen])
        assert self.stretches is not None
        return Seen(self.n_keys, self.stretches[chosen])

    def at(self, first_key: int, n_keys: int) -> Seen:
        """The same, where this call's key 0 is key `first_key` of `n_keys`; keys outside are left out."""
        if first_key == 0 and n_keys == self.n_keys:
            return self
        if self.pairs is not None:
            moved = np.zeros((*self.sizes, n_keys), bool)
            start, end = max(first_key, 0), min(first_key + self.n_keys, n_keys)
            moved[..., start:end] = self.pairs[..., start - first_key : end - first_key]
            return Seen(n_keys, pairs=moved)
        assert self.stretches is not None
        moved = np.clip(self.stretches.astype(np.int64) + first_key, 0, n_keys)
        empty = moved[..., 0] >= moved[..., 1]
        moved[empty] = n_keys + 1  # to the end of the row, and then nothing
        moved.sort(axis=-2)
        moved[moved > n_keys] = 0
        return Seen(n_keys, moved.astype(np.uint32))

    @staticmethod
    def joined(parts: list[Seen]) -> Seen:
        """The rows of several calls, one after the other; all over the same keys."""
        if len(parts) == 1:
            return parts[0]
        n_keys = parts[0].n_keys
        n_texts, n_heads = (max(part.sizes[axis] for part in parts) for axis in (0, 1))
        if any(part.pairs is not None for part in parts):
            dense = [part.dense() for part in parts]
            full = [np.broadcast_to(one, (n_texts, n_heads, *one.shape[2:])) for one in dense]
            return Seen.of_pairs(np.concatenate(full, 2))
        n = max(part.stretches.shape[3] for part in parts if part.stretches is not None)
        rows = sum(part.sizes[2] for part in parts)
        stretches = np.zeros((n_texts, n_heads, rows, n, 2), np.uint32)
        row = 0
        for part in parts:
            held = part.stretches
            assert held is not None
            stretches[:, :, row : row + held.shape[2], : held.shape[3]] = held
            row += held.shape[2]
        return Seen(n_keys, stretches)

    def sees_none(self) -> np.ndarray[Any, Any]:
        """Queries that see no key in any head, ``[batch or 1, queries]``."""
        if self.pairs is not None:
            blind: np.ndarray[Any, Any] = ~self.pairs.any((1, 3))
            return blind
        assert self.stretches is not None
        return (self.stretches[..., 1] == 0).all((1, 3))

    def unseen_keys(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Keys that none of `rows` ``[batch, queries]`` sees, ``[batch, keys]``."""
        n_texts = rows.shape[0]
        if self.pairs is not None:
            pairs = np.broadcast_to(self.pairs, (n_texts, *self.pairs.shape[1:]))
            return ~(pairs & rows[:, None, :, None]).any((1, 2))
        assert self.stretches is not None
        held = np.broadcast_to(self.stretches, (n_texts, *self.stretches.shape[1:]))
        changes = np.zeros((n_texts, self.n_keys + 1), np.int64)  # +1 where a stretch begins, −1 after its end
        counts = np.broadcast_to(rows[:, None, :, None], held.shape[:-1])
        texts = np.broadcast_to(np.arange(n_texts)[:, None, None, None], held.shape[:-1])
        np.add.at(changes, (texts, held[..., 0]), counts.astype(np.int64))
        np.add.at(changes, (texts, held[..., 1]), -counts.astype(np.int64))
        return changes.cumsum(1)[:, :-1] == 0


def band(
    seen: Seen, padding: np.ndarray[Any, Any], rows: np.ndarray[Any, Any], offset: int
) -> tuple[int | None, int | None] | None:
    """The bounds ``(before, after)`` that say, with padding, exactly what `rows` see; `None` where no band does.

    `padding` ``[batch, keys]`` are keys that are padding, `rows` ``[batch, queries]`` those that mean something; `offset`
    is the position of query 0 among the keys. A bound that is `None` is no bound.
    """
    if seen.stretches is None or seen.sizes[1] > 1:
        return None
    n_texts, n_queries = rows.shape
    held = np.broadcast_to(seen.stretches[:, 0], (n_texts, *seen.stretches.shape[2:])).astype(np.int64)
    first, end = held[..., 0], held[..., 1]  # [batch, queries, stretches]
    used = (end > first) & rows[..., None]
    counts = np.zeros((n_texts, seen.n_keys + 1), np.int64)  # real keys before each key
    np.cumsum(~padding, axis=1, out=counts[:, 1:])
    real = np.take_along_axis(counts, end.reshape(n_texts, -1), 1) - np.take_along_axis(
        counts, first.reshape(n_texts, -1), 1
    )
    real = (real.reshape(first.shape) * used).sum(-1)  # [batch, queries]
    if (real != ((end - first) * used).sum(-1)).any():
        return None  # a row sees padding
    position = np.arange(n_queries) + offset

    def fits(before: int | None, after: int | None) -> bool:
        low = np.clip(position - before, 0, seen.n_keys) if before is not None else np.zeros_like(position)
        high = (
            np.clip(position + after + 1, low, seen.n_keys)
            if after is not None
            else np.full_like(position, seen.n_keys)
        )
        inside = (first >= low[None, :, None]) & (end <= high[None, :, None])
        wanted = counts[:, high] - counts[:, low]
        return bool((inside | ~used).all()) and bool((~rows | (real == wanted)).all())

    farthest = [0, 0]
    if used.any():
        farthest = [
            int((position[None, :, None] - first)[used].max()),
            int((end - 1 - position[None, :, None])[used].max()),
        ]
    tried: list[tuple[int | None, int | None]] = [
        (None, None),
        (None, 0),
        (None, farthest[1]),
        (farthest[0], 0),
        (farthest[0], None),
        (farthest[0], farthest[1]),
    ]
    return next((bounds for bounds in tried if fits(*bounds)), None)
