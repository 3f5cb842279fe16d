"""How the arrays of a call lie: which rows are texts and which are heads, told by the module and by what it was given."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ..call import Given, Track
from ..followed import CHANNELS, INSTEAD, tensors_in
from ..order import Reading
from ..recorder import Recorder, Running


_HEADS = ("num_heads", "num_attention_heads", "n_head", "n_heads", "nhead", "heads")


def n_heads_of(recorder: Recorder) -> int | None:
    """How many heads the module that is running says that it has, or the one whose queries and keys it was given."""
    for module, _, _ in (recorder.running, _owner(recorder)):
        found = next((getattr(module, name) for name in _HEADS if hasattr(module, name)), None)
        if isinstance(found, int) and found > 0:
            return found
    return None


def token_sizes(recorder: Recorder, n_texts: int | None) -> set[int]:
    """How many tokens the module that is running may have been given, of `n_texts` texts: the sizes of all axes but the last and one
    that is as long as there are texts, and of all texts' axes together."""
    sizes = all_tokens(recorder)
    for value in _given(recorder):
        axes = list(value.shape[:-1])
        if value.dim() > 2 and n_texts in axes:
            axes.remove(n_texts)
        sizes.update(axes)
    return sizes


def are_heads_first(recorder: Recorder, shape: Sequence[int]) -> bool:
    """Whether `[batch, heads, queries, …]` is `[heads, batch, queries, …]`, as far as both numbers tell."""
    n_heads, n_texts = n_heads_of(recorder), n_texts_of(recorder, shape[2])
    return None not in (n_heads, n_texts) and n_heads != n_texts and (shape[0], shape[1]) == (n_heads, n_texts)


def all_tokens(recorder: Recorder) -> set[int]:
    """How many tokens of a text the module that is running may have been given in all: `[tokens, width]`, `[batch, …, width]`, and
    `[batch, width, …]` of images."""
    shapes = [value.shape for value in _given(recorder) if value.is_floating_point()]
    tokens = {math.prod(shape[1:-1]) if len(shape) > 2 else shape[0] for shape in shapes}
    return tokens | {math.prod(shape[2:]) for shape in shapes if len(shape) > 3}


def is_given(recorder: Recorder, sizes: tuple[int, int]) -> bool:
    """Whether the module that is running was given `[texts, tokens, width]` of so many texts and tokens."""
    return any(value.dim() == 3 and value.is_floating_point() and tuple(value.shape[:2]) == sizes for value in _given(recorder))


def take(recorder: Recorder, given: Given, output: torch.Tensor) -> Track | None:
    """Takes in a call, unless its queries are channels, and tokens what is summed over (cross-covariance attention), or its queries are
    heads: that is said. Returns its track."""
    n_texts, n_maps, n_queries, d_head = given.queries.shape
    n_heads = n_heads_of(recorder)
    if n_maps != n_heads == n_queries == given.keys.shape[2] and n_maps in all_tokens(recorder):
        recorder.miss(given.module, f"{given.name} {Reading.HEADS_TO_HEADS.value}: {INSTEAD}")
        return None
    if n_queries == given.keys.shape[2] and n_queries not in token_sizes(recorder, n_texts) and d_head in all_tokens(recorder):
        recorder.miss(given.module, f"{given.name} {CHANNELS}: {INSTEAD}")
        return None
    return recorder.take(given, output)


def other_readings(recorder: Recorder, shape: Sequence[int], *, is_joined: bool) -> tuple[Reading, ...]:
    """How else `[texts, heads, queries, keys]` may be read, as far as its sizes and the module's inputs tell; `is_joined` is whether texts and
    heads are one axis of the module's."""
    n_texts, n_heads, n_queries, n_keys = shape
    said = n_heads_of(recorder)
    is_swapped = is_joined or n_heads == n_texts_of(recorder, n_queries) and said in (None, n_texts)
    others = [Reading.HEADS_FIRST] if n_texts > 1 and n_heads > 1 and is_swapped else []
    if n_heads > 1 and n_queries == n_keys > 1 and said in (None, n_queries) and n_heads in all_tokens(recorder):
        others.append(Reading.HEADS_TO_HEADS)
    return tuple(others)


def n_texts_of(recorder: Recorder, n_queries: int) -> int | None:
    """How many texts the module that is running was given; `None` where nothing tells."""
    given = sorted(_given(recorder), key=lambda value: (value.dim() != 3, value.dim() == 2))
    if not given:
        return None
    first = given[0]
    if first.dim() == 2 and first.is_floating_point():
        return 1 if first.shape[0] == n_queries else None
    if first.dim() == 2:
        return int(first.shape[0]) if first.shape[1] == n_queries else None
    is_tokens_first = first.dim() == 3 and first.shape[0] == n_queries != first.shape[1]
    return int(first.shape[1 if is_tokens_first else 0])


def n_heads_in(recorder: Recorder, n_rows: int, n_queries: int) -> int | None:
    """How many heads each text has where texts and their heads are one axis of `n_rows`; `None` where it cannot be told."""
    known, n_texts = n_heads_of(recorder), n_texts_of(recorder, n_queries)
    if known is not None:
        return known if n_rows % (known * (n_texts or 1)) == 0 else None
    if n_texts is None:
        return 1 if n_rows == 1 else None
    is_told = n_rows % n_texts == 0 and (n_rows == n_texts or n_queries in token_sizes(recorder, n_texts))
    return n_rows // n_texts if is_told else None


HEADS_FIRST = "of the shape {}, with heads before texts; [batch, heads, …] was expected"
UNTOLD = "{} rows are texts and heads, and which is which cannot be told: its code has to give them an axis each, [batch, heads, …]"


def is_elsewhere(recorder: Recorder, n_texts: int, n_queries: int, n_keys: int) -> bool:
    """Whether the keys of the module that is running are another sequence's, and no cache of a run: it was given one tensor for queries
    and another for keys and values, as `attention(x, memory, memory)`, or its keys are as many as tokens that it was given, and its queries
    are not. Keys that are neither as many as its queries nor as tokens it made itself, such as those of patches put together."""
    module, _, (args, kwargs) = _owner(recorder)
    if recorder.is_running or "self" in recorder.names.get(id(module), "").rpartition(".")[2]:
        return False
    if n_queries != n_keys and n_keys in token_sizes(recorder, n_texts):
        return True
    three = [value for value in tensors_in([*args, *kwargs.values()]) if value.dim() > 1 and value.is_floating_point()][:3]
    return len(three) == 3 and three[0].dim() == three[1].dim() and not is_same(three[0], three[1]) and is_same(three[1], three[2])


def is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether both are the same numbers in memory: one tensor, or views of one."""
    where = [(x.data_ptr(), x.shape, x.stride(), x.dtype) for x in (one, other)]
    return one is other or where[0] == where[1]


def _owner(recorder: Recorder) -> Running:
    """The innermost module with parameters: one without, as for dot products alone, was given queries and keys, and not tokens."""
    owners = (one for one in reversed(recorder.stack) if next(one[0].parameters(), None) is not None)
    return next(owners, recorder.running)


def _given(recorder: Recorder) -> list[torch.Tensor]:
    _, _, (args, kwargs) = _owner(recorder)
    return [value for value in tensors_in([*args, *kwargs.values()]) if value.dim() >= 2]
