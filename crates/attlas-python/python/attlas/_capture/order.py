"""Which axes of a call are texts, heads and tokens, where their sizes allow several readings: told by where its heads are put side by side."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import numpy as np
import torch
from torch.utils.weak import WeakIdKeyDictionary

from .call import N_PROVED, Track, spread
from .followed import INSTEAD, tensors_in


class Reading(enum.Enum):
    """How the axes of a call may lie, where not as `[texts, heads, tokens, width]`; what is said of it."""

    HEADS_FIRST = "puts heads before texts: its arrays are [heads, batch, …], and [batch, heads, …] was expected"
    HEADS_TO_HEADS = (
        "attends from heads to heads, and not from tokens to tokens: its arrays are [batch, tokens, heads, width] (is a transpose(1, 2) missing?)"
    )
    EXCHANGED = (
        "has as many heads as it was given tokens, and queries of its own, so its arrays [batch, heads, queries, …] look like [batch, queries, heads, …] "
        "(give texts of another length)"
    )


@dataclasses.dataclass
class Sample:
    """Some rows of what a call gave, in one reading of it."""

    reading: Reading | None  # none: that which is recorded
    n_tokens: int
    rows: np.ndarray[Any, Any]  # which of the tokens
    numbers: torch.Tensor  # [texts, rows, heads, width]

    def stands_in(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is what the call gave with its heads side by side: `[texts, tokens, heads · width]`, or tokens before texts."""
        n_texts, _, n_heads, width = self.numbers.shape
        if tensor.shape[-1] != n_heads * width or tensor.numel() != n_texts * self.n_tokens * n_heads * width:
            return False
        whole = tensor.detach().reshape(-1, n_heads, width)
        texts_first = whole.reshape(n_texts, self.n_tokens, n_heads, width)
        orders = (texts_first, whole.reshape(self.n_tokens, n_texts, n_heads, width).transpose(0, 1))
        wanted = self.numbers.to(tensor.dtype).nan_to_num()
        return any(torch.equal(order[:, torch.as_tensor(self.rows)].cpu().nan_to_num(), wanted) for order in orders)


@dataclasses.dataclass
class Doubt:
    """A call that may be read in other ways than it is recorded."""

    track: Track
    sizes: tuple[int, int, int]  # texts, heads, queries
    others: tuple[Reading, ...]
    is_joined: bool  # whether texts and heads are one axis
    is_transposed: bool  # whether the model has `[texts, queries, heads, …]`
    followed: Any  # by tensor: the samples of what it was made of

    def begin(self, made: torch.Tensor, context: torch.Tensor) -> None:
        """Follows what the call gave, `made`, which is read as `context` `[texts, heads, queries, width]`, or with texts and heads as one axis."""
        n_texts, n_heads, n_queries = self.sizes
        is_plain, context = context is made, context.detach()
        if self.is_transposed:
            context = context.reshape(n_texts, n_queries, n_heads, -1).transpose(1, 2)
        context = context.reshape(*self.sizes, -1)
        readings: list[tuple[Reading | None, torch.Tensor]] = [(None, context.transpose(1, 2))]  # each [texts, tokens, heads, width]
        readings += [(reading, self._read(context, reading)) for reading in self.others]
        samples = []
        for reading, numbers in readings:
            n_tokens = numbers.shape[1]
            rows = spread(0, n_tokens - 1, min(N_PROVED, n_tokens))
            samples.append(Sample(reading, n_tokens, rows, numbers[:, torch.as_tensor(rows)].cpu().clone()))
        self.followed[made] = (self.track, samples, self if is_plain else None)

    def _read(self, context: torch.Tensor, reading: Reading) -> torch.Tensor:
        """`context` in another reading, as `[texts, tokens, heads, width]`."""
        if reading in (Reading.HEADS_TO_HEADS, Reading.EXCHANGED):
            return context
        n_texts, n_heads = context.shape[:2]
        heads_first = context.reshape(n_heads, n_texts, *context.shape[2:]) if self.is_joined else context
        return heads_first.permute(1, 2, 0, 3)


class Orders:
    """What became of calls that may be read in several ways, until it is told which is right."""

    def __init__(self) -> None:
        self._followed: Any = WeakIdKeyDictionary()  # tensor: the track, the samples of the call that it was made of, the doubt where it is that call's

    def clear(self) -> None:
        """Forgets all."""
        self._followed.clear()

    @property
    def cares(self) -> bool:
        """Whether anything is followed."""
        return bool(self._followed)

    def doubt(
        self, track: Track, sizes: tuple[int, int, int], others: tuple[Reading, ...], *, is_joined: bool, is_transposed: bool = False
    ) -> Doubt | None:
        """What is to be told of a call of `track`, of so many texts, heads and queries; `None` where nothing is, or has been."""
        if not others or track.is_told:
            return None
        track.assumed = True
        return Doubt(track, sizes, others, is_joined, is_transposed, self._followed)

    def follow(self, args: Any, kwargs: Any, result: Any) -> None:
        """Looks at a function of PyTorch that was called on one tensor, on parts of one, or on one and others that leave its axes as they are."""
        given = list(tensors_in([args, list(kwargs.values())]))
        made = [self._followed.get(value) for value in given]
        first = next((one for one in made if one is not None), None)
        if first is None or first[0].is_told:
            return
        track, samples, doubt = first
        if any(one is None or one[1] is not samples for one in made):
            whole = given[made.index(first)]
            if doubt is not None and isinstance(result, torch.Tensor) and result.shape == whole.shape:
                doubt.begin(result, result)
            return
        for tensor in tensors_in([result]):
            if tensor.is_floating_point() and tensor.dim() > 1:
                self._look(track, samples, tensor)
                self._followed[tensor] = (track, samples, None)

    def _look(self, track: Track, samples: list[Sample], tensor: torch.Tensor) -> None:
        found = [sample.reading for sample in samples if sample.stands_in(tensor)]
        if len(found) != 1:
            return
        track.is_told, track.assumed = True, False
        if found[0] is not None:
            track.problem = track.problem or f"{track.name} {found[0].value}: {INSTEAD}"
