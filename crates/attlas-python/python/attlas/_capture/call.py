"""One call of attention as a door hands it over, copied out of the model, and the calls of one module joined in time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..errors import CaptureError
from .seen import Seen
from .windows import Windows

N_PROVED = 4
"""Rows of a call whose output is kept, to hold the recording to it."""
LEAST = -9e3
"""What a mask adds to a score so that nothing is left of its weight, in any number format: with -1e4 and -1e9 people hide keys."""
N_CACHED = 4
"""Keys of a cache that are looked at in each step: they must be those that were recorded."""


@dataclasses.dataclass
class Given:
    """What a door saw: tensors of the model, not yet copied."""

    door: str
    name: str
    module: Any
    queries: torch.Tensor  # [batch, heads, queries, d_head]
    keys: torch.Tensor  # [batch, kv_heads, keys, d_head]
    values: torch.Tensor | None  # [batch, kv_heads, keys, d_value]
    mask: torch.Tensor | None  # bool: True is seen; float: added
    scale: float
    causal: bool = False
    softcap: float | None = None
    sinks: torch.Tensor | None = None  # [heads]
    bias: torch.Tensor | None = None  # added, besides the mask
    cross: bool = False
    dropout: bool = False
    invocation: int = 0
    extra_keys: tuple[str, ...] = ()  # labels of keys behind those of the tokens
    project: Callable[[torch.Tensor], torch.Tensor] | None = None  # from heads side by side to what the door returned
    own_mask: bool = False  # the mask was made by the door, for this call alone
    most_tokens: int = 0  # as many as a text may have in what the module was given; 0 where nobody looked


@dataclasses.dataclass
class Step:
    """One call's rows: what stitching needs, nothing that grows with the square of the length."""

    queries: torch.Tensor
    keys: torch.Tensor | None  # the new ones
    new: slice | None  # which of the call's keys those are
    values: torch.Tensor | None
    first_key: int  # where key 0 of the call lies among the keys of the run
    seen: Seen
    bias: np.ndarray[Any, Any] | None
    rows: np.ndarray[Any, Any]  # of the call, whose output was kept
    outputs: torch.Tensor | None = None  # [batch, rows, heads, d_value], or after the projection [batch, rows, any]
    cached: tuple[np.ndarray[Any, Any], torch.Tensor] | None = (
        None  # places among the run's keys, and the keys found there
    )


@dataclasses.dataclass
class Track:
    """All calls of one module in one run, in order."""

    name: str
    module: Any
    door: str
    cross: bool
    scale: float
    softcap: float | None
    sinks: np.ndarray[Any, Any] | None
    causal: bool
    extra_keys: tuple[str, ...]
    project: Callable[[torch.Tensor], torch.Tensor] | None
    windows: Windows | None = None
    caller: int = 0  # the run of the module that called its module
    given: tuple[Any, ...] | None = None  # which rows its module was given first, as they were then; none where it was given none
    steps: list[Step] = dataclasses.field(default_factory=list)
    dense: list[torch.Tensor] = dataclasses.field(default_factory=list)  # door 4: weights as the model had them
    used: set[int] = dataclasses.field(default_factory=set)  # of `dense`: which were seen to multiply the values
    of_product: bool = True  # of `dense`: whether their scores were seen to be products of queries and keys
    multiplies: bool = False  # of `dense`: whether any was seen to multiply what may be values
    is_told: bool = False  # whether it was seen which of its axes are texts, heads and tokens, where that had to be seen
    assumed: bool = False  # whether it had to be, and was not
    unsure: bool = False  # whether their keys are none of the tokens that the module was given
    past: int = 0  # queries that were read
    n_before: int = 0  # keys that were in the cache before the run
    invocation: int = 0
    dropout: bool = False
    out_dtype: torch.dtype | None = None
    problem: str = ""  # why the track cannot become a layer


class Unstitchable(Exception):
    """A call that does not go on where the one before it ended."""


class Masks:
    """Masks of one forward, told as what is seen and what is added; layers that share a tensor share the answer."""

    def __init__(self) -> None:
        self._known: dict[Any, tuple[Any, Seen | None, np.ndarray[Any, Any] | None]] = {}

    def clear(self) -> None:
        """Forgets them, and the tensors that were held so that no other takes their place."""
        self._known.clear()

    def told(
        self, mask: torch.Tensor | None, n_queries: int, n_keys: int
    ) -> tuple[Seen | None, np.ndarray[Any, Any] | None]:
        """What `mask` lets be seen, and what it adds where it is not 0 or hidden."""
        if mask is None:
            return None, None
        version = None if mask.is_inference() else mask._version
        key = (id(mask), version, n_keys)
        if key not in self._known:
            self._known[key] = (mask, *_split(mask.detach(), n_queries, n_keys))
        return self._known[key][1:]

    def unmasked(self, causal: bool, n_queries: int, n_keys: int) -> Seen:
        """What is seen without a mask; the same for all layers."""
        key = ("unmasked", causal, n_queries, n_keys)
        if key not in self._known:
            seen = Seen.causal(n_queries, n_keys) if causal else Seen.everything(n_queries, n_keys)
            self._known[key] = (None, seen, None)
        found = self._known[key][1]
        assert found is not None
        return found

    def added(self, bias: torch.Tensor | None, n_keys: int) -> np.ndarray[Any, Any] | None:
        """The numbers of a bias, four-dimensional."""
        if bias is None:
            return None
        key = (id(bias), "bias", n_keys)
        if key not in self._known:
            four = bias.detach()[(None,) * (4 - bias.dim())][..., :n_keys]
            self._known[key] = (bias, None, four.float().cpu().numpy().copy())
        return self._known[key][2]


def _told(mask: torch.Tensor | None, n_queries: int, n_keys: int) -> tuple[Seen | None, np.ndarray[Any, Any] | None]:
    """As `Masks.told`, of a mask that no other call has."""
    return (None, None) if mask is None else _split(mask.detach(), n_queries, n_keys)


def _split(mask: torch.Tensor, n_queries: int, n_keys: int) -> tuple[Seen, np.ndarray[Any, Any] | None]:
    if mask.dim() > 4 or mask.dim() < 2:
        raise CaptureError(f"an attention mask has {mask.dim()} axes; [batch, heads, queries, keys] was expected")
    mask = mask[(None,) * (4 - mask.dim())][..., :n_keys]
    mask = mask.expand(*mask.shape[:2], n_queries, n_keys)
    if mask.dtype == torch.bool:
        return Seen.of_pairs(mask.cpu().numpy()), None
    if not mask.dtype.is_floating_point:
        raise CaptureError(f"an attention mask of {mask.dtype} was met; bool or floating-point numbers were expected")
    hidden = mask <= LEAST
    seen = Seen.of_pairs((~hidden).cpu().numpy())
    rest = mask.masked_fill(hidden, 0)
    return seen, rest.float().cpu().numpy().copy() if bool((rest != 0).any()) else None


def kept(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in the processor's memory that nobody else writes to: 16 bits stay, what is wider becomes 32."""
    tensor = tensor.detach()
    if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        if not tensor.dtype.is_floating_point or tensor.is_quantized:
            raise CaptureError(
                f"queries, keys or values are {tensor.dtype}, not floating-point numbers: attention itself is quantised; "
                "leave the attention's projections out of the quantisation"
            )
        tensor = tensor.float()
    copy = torch.empty(tensor.shape, dtype=tensor.dtype)
    return copy.copy_(tensor)


def spread(first: int, last: int, n: int) -> np.ndarray[Any, Any]:
    """At most `n` whole numbers from `first` to `last`, evenly spread, each once; `first` alone where `n` is 1."""
    between = max(n - 1, 1)
    return np.array(sorted({first + (2 * at * (last - first) + between) // (2 * between) for at in range(n)}), np.int64)


def is_met(track: Track, given: Given) -> bool:
    """Whether the module has called with these queries and keys already in this run of it: for other values, as differential attention does."""
    if not track.steps or track.invocation != given.invocation or track.past + given.queries.shape[2] <= given.most_tokens:
        return False
    last = track.steps[-1]
    if last.queries.shape != given.queries.shape or last.seen.n_keys != given.keys.shape[2]:
        return False
    are_keys = last.keys is None or last.new is None or torch.equal(last.keys, kept(given.keys[:, :, last.new]))
    return are_keys and torch.equal(last.queries, kept(given.queries))


def step(track: Track, given: Given, masks: Masks, *, is_running: bool) -> Step:
    """Takes in one call: finds which of its keys are new, where they lie, and what its rows see."""
    queries, keys, values = given.queries, given.keys, given.values
    n_queries, n_keys = queries.shape[2], keys.shape[2]
    told = _told if given.own_mask else masks.told
    seen, bias = told(given.mask, n_queries, n_keys)
    if seen is None:
        seen = masks.unmasked(given.causal, n_queries, n_keys)
    added = masks.added(given.bias, n_keys)
    bias = added if bias is None else bias if added is None else bias + added
    first_key, new = _place(track, given, seen, is_running)
    past = track.past
    at = Step(
        queries=kept(queries),
        keys=None if new is None else kept(keys[:, :, new]),
        new=new,
        values=None if new is None or values is None else kept(values[:, :, new]),
        first_key=first_key,
        seen=seen,
        bias=bias,
        rows=spread(0, n_queries - 1, min(N_PROVED, n_queries)),
    )
    if past and not track.cross and n_queries < n_keys:
        old = spread(max(-first_key, 0), past - first_key + track.n_before - 1, N_CACHED)
        old = old[(old >= 0) & (old < n_keys)]
        at.cached = (old + first_key, kept(keys[:, :, torch.as_tensor(old, device=keys.device)]))
    track.past += n_queries
    track.dropout |= given.dropout
    track.steps.append(at)
    return at


def _place(track: Track, given: Given, seen: Seen, is_running: bool) -> tuple[int, slice | None]:
    """Where the call's key 0 lies among the keys of the run, and which of its keys are new."""
    n, n_keys, past = given.queries.shape[2], given.keys.shape[2], track.past
    if track.cross:
        if past and n_keys != track.steps[0].seen.n_keys:
            raise Unstitchable(again(track))
        return 0, slice(None) if not past else None
    if past == 0:
        if n_keys > n and is_running and seen.unseen_keys(np.ones((seen.sizes[0], n), bool))[:, n:].all():
            return 0, slice(0, n)  # a static cache: longer than what was read
        track.n_before = max(n_keys - n - len(given.extra_keys), 0)
        return 0, slice(None)
    if n_keys == n and not (n == 1 and is_running):
        if given.invocation == track.invocation and past + n <= given.most_tokens:
            return past, slice(None)  # pieces of one sequence, one after the other: images in a batch of patches
        raise Unstitchable(read_anew(track) if is_running else again(track))
    if not is_running:
        raise Unstitchable(again(track))
    past += track.n_before
    if n_keys > past + n:
        return 0, slice(past, past + n)
    return past + n - n_keys, slice(n_keys - n, None)


def read_anew(track: Track) -> str:
    """What is said of a module that read tokens again in a generation."""
    return (
        f"{track.name or 'attention'}: a step of the generation read all of its tokens anew, instead of those that came (use_cache=False, or an "
        "assistant_model that guesses ahead and goes back): leave these out of generate=, or generate first and capture the "
        "finished text in one forward, attlas.capture(model, output_ids)"
    )


def again(track: Track) -> str:
    """What is said of a module that read several texts."""
    return (
        f"{track.name} ran more than once in one forward, on different tokens: record one forward at a time, or leave it "
        "out with kinds=, as in kinds=['decoder']"
    )
