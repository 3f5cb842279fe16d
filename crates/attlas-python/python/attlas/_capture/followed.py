"""What becomes of scores and weights in a module that calls softmax itself: products before it, values after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.weak import WeakIdKeyDictionary

_PRODUCTS = {
    torch.matmul,
    torch.Tensor.matmul,
    torch.Tensor.__matmul__,
    torch.Tensor.__rmatmul__,
    torch.bmm,
    torch.Tensor.bmm,
    torch.baddbmm,
    torch.Tensor.baddbmm,
    torch.einsum,
}
_PROJECTIONS = {F.linear, torch.addmm, torch.Tensor.addmm, F.layer_norm, F.conv1d, F.conv2d}
INSTEAD = "run it with output_attentions=True, if it hands its weights out, and hand the arrays to attlas.from_attentions"


@dataclasses.dataclass
class Weights:
    """Weights that a softmax gave, until they are seen to multiply the values."""

    track: Any
    number: int  # of the track's calls
    name: str
    is_transposed: bool  # whether the model has them as [batch, queries, heads, keys]


class Followed:
    """What became of scores and weights: which tensors were made of products of others, and which of a softmax."""

    def __init__(self) -> None:
        self._made: Any = WeakIdKeyDictionary()  # tensor: True of a product, or the `Weights` that it was made of

    def clear(self) -> None:
        """Forgets all."""
        self._made = WeakIdKeyDictionary()

    def is_product(self, tensor: Any) -> bool:
        """Whether a tensor was made of a product of two that are no parameters."""
        return tensor in self._made

    def begin(self, result: Any, weights: Weights) -> None:
        """Follows weights from now on."""
        self._made[result] = weights

    def follow(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Looks at a function of PyTorch that was called."""
        is_product = func in _PRODUCTS
        if not is_product and not self._made:
            return
        given = list(tensors_in([args, list(kwargs.values())]))
        of = next((self._made[value] for value in given if isinstance(self._made.get(value), Weights)), None)
        if is_product:
            if of is not None:
                _hold(of, given)
            elif sum(not _is_parameter(value) for value in given) > 1:
                self._mark(result, True)
        elif of is not None:
            self._mark(result, of)
        elif func not in _PROJECTIONS and any(value in self._made for value in given):
            self._mark(result, True)

    def _mark(self, result: Any, of: Any) -> None:
        for tensor in tensors_in([result]):
            if tensor.is_floating_point():
                self._made[tensor] = of


def tensors_in(values: Any) -> Iterator[torch.Tensor]:
    """Every tensor of a list, and of lists in it."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)


def _is_parameter(tensor: torch.Tensor) -> bool:
    return isinstance(tensor, torch.nn.Parameter) or isinstance(tensor._base, torch.nn.Parameter)


def _hold(weights: Weights, given: list[torch.Tensor]) -> None:
    """Holds what is multiplied with the values to the weights that were recorded."""
    track = weights.track
    if track.dropout or weights.number >= len(track.dense):
        return
    recorded = track.dense[weights.number]
    recorded = recorded.transpose(1, 2) if weights.is_transposed else recorded
    shapes = (recorded.shape, recorded.flatten(0, 1).shape)
    used = next((value for value in given if value.shape in shapes), None)
    if used is None:
        return
    mine = used.detach().float().cpu().reshape(recorded.shape)
    means = (mine != 0).any(-1, keepdim=True)  # rows of padding may be made 0
    far = float(((mine - recorded).abs() * means).max()) if mine.numel() else 0.0
    if far > 4 * torch.finfo(used.dtype).eps:
        track.problem = track.problem or (
            f"{weights.name} changes its weights after the softmax, by up to {far:.1g}, before it multiplies them with the values, so "
            f"what the softmax gave is not what it attends to: {INSTEAD}"
        )
    track.n_used += 1
