"""The proof: weights · values of a finished recording, held to what the kernel returned, on some rows of each layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..errors import CaptureError
from .axes import Axis
from .call import spread
from .layers import Layer

MAX_PROVED = 64
"""Rows of each layer that are held to what the kernel returned."""
_TOLERANCE = {torch.float32: 3e-3, torch.float64: 3e-3, torch.float16: 2e-2, torch.bfloat16: 6e-2}


class Proof:
    """What the layers of a recording were held to, and how well they did."""

    def __init__(self) -> None:
        self._worst, self._n_layers, self._n_proved = 0.0, 0, 0
        self._doors: set[str] = set()
        self._dropped = False
        self._n_weights, self._n_used = 0, 0  # layers of which only the softmax was seen; those whose weights multiplied the values

    def hold(self, builder: Any, number: int, layer: Layer, queries: Axis) -> None:
        """Holds weights · values of a finished layer, the builder's `number`, to what the kernel returned, on some rows.

        Raises:
            CaptureError: when they differ by more than rounding.
        """
        track = layer.place.track
        self._n_layers += 1
        self._dropped |= track.dropout
        if track.dense:
            self._n_weights += 1
            self._n_used += len(track.used) == len(track.dense)
        if layer.outputs is None or layer.values is None or track.dropout:
            return
        pick = spread(0, len(layer.rows) - 1, min(MAX_PROVED, len(layer.rows)))
        rows = layer.rows[pick]
        mine = _contexts(builder.rows(number, rows.tolist()), layer.values)
        theirs = layer.outputs[:, torch.as_tensor(pick)].float()
        if track.project is not None:
            mine, theirs = track.project(mine.flatten(2)), theirs.flatten(2)
        means = torch.from_numpy(
            ~queries.padding[:, rows] & ~np.broadcast_to(layer.seen.sees_none(), queries.padding.shape)[:, rows]
        )
        mine, theirs = mine.reshape(theirs.shape)[means], theirs[means]
        if theirs.numel() == 0:
            return
        difference = float((mine - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30))
        if not difference <= _TOLERANCE.get(track.out_dtype or torch.float32, 6e-2):
            raise CaptureError(
                f"{layer.place}: weights · values of the recording differ from what {track.door} returned by {difference:.1g} of it, so "
                "the model does something with its attention that a recording does not say; run it with "
                "model.set_attn_implementation('eager') and output_attentions=True, and hand the arrays to attlas.from_attentions"
            )
        self._worst, self._n_proved = max(self._worst, difference), self._n_proved + 1
        self._doors.add(track.door)

    def notes(self) -> list[str]:
        """The sentences that say so, and how many layers were held to nothing."""
        said = [self._note()]
        if self._n_used:
            said.append(f"softmax gave what the values were multiplied with, in {self._n_used} of {self._n_layers} layers")
        if self._n_used < self._n_weights:
            said.append(
                f"{self._n_weights - self._n_used} of {self._n_layers} layers not checked: what became of their weights after the softmax "
                "was not seen"
            )
        return said

    def _note(self) -> str:
        if self._n_proved:
            doors = " and ".join(sorted(self._doors))
            return (
                f"weights · values equals what {doors} returned to {self._worst:.0e}, on sampled rows of {self._n_proved} of "
                f"{self._n_layers} layers"
            )
        if self._dropped:
            return "dropout was on, so what the kernel returned proves nothing about these maps, which are those before dropout"
        return ""


def _contexts(weights: Any, values: torch.Tensor) -> torch.Tensor:
    """Weights `[batch, heads, rows, keys]` · values `[batch, kv_heads, keys, d_value]`, `[batch, rows, heads, d_value]`."""
    own = torch.tensor(np.asarray(weights))
    n_batch, n_heads, n_rows, n_keys = own.shape
    grouped = own.reshape(n_batch, values.shape[1], -1, n_keys)  # heads of a group share their values
    contexts = grouped @ values.float()
    if not torch.isfinite(contexts.sum()):  # values of padding, whose weight is 0
        contexts = grouped @ values.float().nan_to_num(0.0, 0.0, 0.0)
    return contexts.reshape(n_batch, n_heads, n_rows, -1).transpose(1, 2)
