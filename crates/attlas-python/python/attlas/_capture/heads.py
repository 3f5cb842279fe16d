"""Heads that are modules of their own, as teaching code has them, put together to the layer that they are."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from .call import Step, Track
from .seen import Seen


def together(tracks: list[Track]) -> list[Track]:
    """The tracks, with numbered modules of one head each that one run of a module called on the same input, or on columns of it, as one track of several."""
    groups: dict[Any, list[Track]] = {}
    for track in tracks:
        parent, _, last = track.name.rpartition(".")
        is_one = last.isdigit() and track.given and _n_heads(track) == 1 and track.project is None and track.sinks is None
        key = (parent, type(track.module), track.caller, track.given, track.door, track.cross, track.scale, track.softcap)
        groups.setdefault((key, _sizes(track)) if is_one else id(track), []).append(track)
    return [group[0] if len(group) == 1 else _joined(group) for group in groups.values()]


def _n_heads(track: Track) -> int:
    return int((track.dense or [track.steps[0].queries])[0].shape[1]) if track.dense or track.steps else 0


def _sizes(track: Track) -> tuple[Any, ...]:
    """What heads of one layer have in common, call by call."""
    return tuple(weights.shape for weights in track.dense) + tuple((step.queries.shape, step.first_key, step.seen.n_keys) for step in track.steps)


def _joined(group: list[Track]) -> Track:
    first = group[0]
    return dataclasses.replace(
        first,
        name=first.name.rpartition(".")[0],
        steps=[_step([track.steps[at] for track in group]) for at in range(len(first.steps))],
        dense=[torch.cat([track.dense[at] for track in group], 1) for at in range(len(first.dense))],
        used=set.intersection(*(track.used for track in group)),
        unsure=any(track.unsure for track in group),
        dropout=any(track.dropout for track in group),
        problem=next((track.problem for track in group if track.problem), ""),
    )


def _step(steps: list[Step]) -> Step:
    first = steps[0]
    seen, bias = first.seen, None
    if any(step.seen is not seen for step in steps):
        seen = Seen.of_pairs(np.concatenate([step.seen.dense() for step in steps], 1))
    if any(step.bias is not None for step in steps):
        none = np.zeros((1, 1, first.queries.shape[2], first.seen.n_keys), np.float32)
        bias = np.concatenate(np.broadcast_arrays(*(none if step.bias is None else step.bias for step in steps)), 1)
    return dataclasses.replace(
        first,
        queries=torch.cat([step.queries for step in steps], 1),
        keys=_cat([step.keys for step in steps], 1),
        values=_cat([step.values for step in steps], 1),
        outputs=_cat([step.outputs for step in steps], 2),
        seen=seen,
        bias=bias,
        cached=None if first.cached is None else (first.cached[0], torch.cat([step.cached[1] for step in steps if step.cached], 1)),
    )


def _cat(parts: list[torch.Tensor | None], axis: int) -> torch.Tensor | None:
    there = [part for part in parts if part is not None]
    return torch.cat(there, axis) if len(there) == len(parts) else None
