"""The proof: weights · values of a finished recording, held to what the kernel returned, on some rows of each layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..errors import CaptureError
from .axes import Axis
from .layers import Layer
from .rules import packed

MAX_PROVED = 64
"""Rows of each layer that are held to what the kernel returned."""
_TOLERANCE = {torch.float32: 3e-3, torch.float64: 3e-3, torch.float16: 2e-2, torch.bfloat16: 6e-2}


def prove(builder: Any, layers: list[Layer], axes: list[tuple[Axis, Axis]]) -> str:
    """Holds weights · values of the finished layers to what the kernel returned, on some rows of each."""
    worst, n_proved, doors, dropped = 0.0, 0, set(), False
    for number, (layer, (queries, _)) in enumerate(zip(layers, axes)):
        track = layer.place.track
        dropped |= track.dropout
        if layer.outputs is None or layer.values is None or track.dropout:
            continue
        pick = np.unique(np.linspace(0, len(layer.rows) - 1, min(MAX_PROVED, len(layer.rows))).round().astype(np.int64))
        rows = layer.rows[pick]
        mine = torch.tensor(
            np.asarray(builder.contexts(number, rows.tolist(), packed(layer.values), layer.values.shape[3]))
        )  # [batch, rows, heads, d_value]
        theirs = layer.outputs[:, torch.as_tensor(pick)].float()
        if track.project is not None:
            mine, theirs = track.project(mine.flatten(2)), theirs.flatten(2)
        means = torch.from_numpy(
            ~queries.padding[:, rows] & ~np.broadcast_to(layer.seen.sees_none(), queries.padding.shape)[:, rows]
        )
        mine, theirs = mine.reshape(theirs.shape)[means], theirs[means]
        if theirs.numel() == 0:
            continue
        difference = float((mine - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30))
        if not difference <= _TOLERANCE.get(track.out_dtype or torch.float32, 6e-2):
            raise CaptureError(
                f"{layer.place}: weights · values of the recording differ from what {track.door} returned by {difference:.1g} of it, so "
                "the model does something with its attention that a recording does not say; run it with "
                "model.set_attn_implementation('eager') and output_attentions=True, and hand the arrays to attlas.from_attentions"
            )
        worst, n_proved = max(worst, difference), n_proved + 1
        doors.add(track.door)
    if n_proved:
        return f"weights · values equals what {' and '.join(sorted(doors))} returned to {worst:.0e}, on sampled rows of {n_proved} of {len(layers)} layers"
    if dropped:
        return "dropout was on, so what the kernel returned proves nothing about these maps, which are those before dropout"
    return ""
