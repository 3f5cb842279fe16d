"""What becomes of scores and weights in a module that calls softmax itself: products before it, values after it."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch.utils.weak import WeakIdKeyDictionary

if TYPE_CHECKING:
    from .order import Doubt

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
CHANNELS = "attends from channels to channels, and not from tokens to tokens"
INSTEAD = "run it with output_attentions=True, if it hands its weights out, and hand the arrays to attlas.from_attentions"


@dataclasses.dataclass
class Weights:
    """Weights that a softmax gave, until they are seen to multiply the values."""

    track: Any
    number: int  # of the track's calls
    name: str
    run: int  # of the module
    is_transposed: bool  # whether the model has them as [batch, queries, heads, keys]
    is_product: bool  # whether their scores were seen to be a product of queries and keys
    n_tokens: frozenset[int]  # where neither queries nor keys are as many as tokens were given: how many those are
    doubt: Doubt | None = None  # where their axes may be others

    def refuse(self, what: str) -> None:
        """Keeps why these weights are no layer."""
        self.track.problem = self.track.problem or f"{self.name} {what}: {INSTEAD}"


@dataclasses.dataclass
class Context:
    """What weights and values gave."""

    weights: Weights


class Followed:
    """What became of scores and weights: which tensors were made of products of others, and which of a softmax."""

    def __init__(self) -> None:
        self._made: Any = WeakIdKeyDictionary()  # tensor: True of a product, or the `Weights` or `Context` that it was made of

    def clear(self) -> None:
        """Forgets all."""
        self._made = WeakIdKeyDictionary()

    def is_product(self, tensor: Any) -> bool:
        """Whether a tensor was made of a product of two that are no parameters."""
        made = self._made.get(tensor) if isinstance(tensor, torch.Tensor) else None
        return made is not None and not isinstance(made, Weights)

    def begin(self, result: Any, weights: Weights) -> None:
        """Follows weights from now on."""
        self._made[result] = weights

    def cares(self, func: Any) -> bool:
        """Whether a function may make something that is followed."""
        return func in _PRODUCTS or bool(self._made)

    def follow(self, func: Any, args: Any, kwargs: Any, result: Any, run: int) -> None:
        """Looks at a function of PyTorch that was called, in the run of a module that `run` numbers."""
        given = list(tensors_in([args, list(kwargs.values())]))
        made = [self._made.get(value) for value in given]
        of = next((one for one in made if isinstance(one, Weights)), None)
        context = next((one for one in made if isinstance(one, Context)), None)
        if func not in _PRODUCTS:
            if of is not None and (of.is_product or func not in _PROJECTIONS):  # what is made of a gate's numbers is no gate's
                self._mark(result, of)
            elif func not in _PROJECTIONS and any(one is not None for one in made):
                self._mark(result, context if context is not None and len(given) == 1 else True)
        elif of is not None:
            self._multiplied(of, func, args, given, result)
        elif sum(not _is_parameter(value) for value in given) > 1:
            self._mark(result, True)
            if context is not None and context.weights.run == run and min(value.dim() for value in given) > 2:
                context.weights.refuse("multiplies what its softmax and values give with more than values, as linear attention does")

    def _multiplied(self, weights: Weights, func: Any, args: Any, given: list[torch.Tensor], result: Any) -> None:
        """Weights were multiplied: with values, which they are held to, or with what changes them."""
        number = next(at for at, value in enumerate(given) if self._made.get(value) is weights)
        others = [value for at, value in enumerate(given) if at != number]
        if not others:  # an einsum that puts axes in another order
            self._mark(result, weights)
            return
        used, other = given[number], others[-1]
        is_context = self._made.get(other) is True and not weights.is_product
        is_einsum = func is torch.einsum and isinstance(args[0], str)
        roles = _roles(args[0], number, weights.is_transposed) if is_einsum else _Roles.VALUES
        is_turned = not is_einsum and number > 0 and given[number - 1] is other  # values · weights, both with their axes exchanged
        if is_turned:
            used, other = used.transpose(-1, -2), other.transpose(-1, -2)
        is_mixing = other.dim() == 2 < used.dim() and other.shape[0] == other.shape[1]  # of heads, which were put last
        if roles is _Roles.MIXED or is_mixing:
            self._mark(result, weights)
        elif roles is _Roles.ELSEWHERE:
            weights.refuse("has the axes of its weights in an order that cannot be told")
        elif is_context:
            weights.refuse("takes a softmax over features, and multiplies it with a product of keys and values (linear attention)")
        elif other.shape[-1] in weights.n_tokens:
            weights.refuse(CHANNELS)
        elif weights.is_product or not _is_parameter(other):  # what a gate chooses among is learnt, and no value of a token
            is_held = _hold(weights, used)
            self._mark(result, Context(weights) if is_held else True)
            context = _in_order(args[0], number, result) if is_einsum else result.transpose(-1, -2) if is_turned else result
            if is_held and weights.doubt is not None and context is not None:
                weights.doubt.begin(result, context)

    def _mark(self, result: Any, of: Any) -> None:
        for tensor in tensors_in([result]):
            if tensor.is_floating_point():
                self._made[tensor] = of


class _Roles(enum.Enum):
    """What an einsum says of weights and what they are multiplied with."""

    VALUES = enum.auto()  # keys are summed over
    MIXED = enum.auto()  # something else is, such as heads
    ELSEWHERE = enum.auto()  # keys are, and the other axes are not texts, heads and queries in this order


def _roles(equation: str, number: int, is_transposed: bool) -> _Roles:
    """What an equation of two operands says of weights, its operand `number`, that are ``[batch, heads, queries, keys]``, or
    ``[batch, queries, heads, keys]`` where they are transposed."""
    inputs, _, output = equation.replace(" ", "").partition("->")
    operands = inputs.split(",")
    if len(operands) != 2 or "." in equation or not output:
        return _Roles.VALUES  # nothing is said that could be held against it
    own, other = operands[number], operands[1 - number]
    if own[-1] in output or own[-1] not in other:
        return _Roles.MIXED
    at = 1 if is_transposed else len(own) - 2
    kept = [letter for letter in own[:-1] if letter in other]
    shared = {own[at], own[2 if is_transposed else len(own) - 3]}  # queries, and heads where they have the same values
    in_order = kept == [letter for letter in output if letter in kept]
    is_told = own[at] not in other and shared.issuperset(set(own[:-1]).difference(other))
    return _Roles.VALUES if is_told and in_order else _Roles.ELSEWHERE


def _in_order(equation: str, number: int, result: torch.Tensor) -> torch.Tensor | None:
    """What an equation gives, with the axes of weights, its operand `number`, before that of values; `None` where it does not tell them."""
    inputs, _, output = equation.replace(" ", "").partition("->")
    own = inputs.split(",")[number]
    others = [letter for letter in output if letter not in own]
    order = [*own[:-1], *others]
    if len(others) != 1 or sorted(order) != sorted(output) or "." in output and order != list(output):
        return None
    return result if order == list(output) else result.permute([output.index(letter) for letter in order])


def tensors_in(values: Any) -> Iterator[torch.Tensor]:
    """Every tensor of a list, and of lists in it."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)


def _is_parameter(tensor: torch.Tensor) -> bool:
    return isinstance(tensor, torch.nn.Parameter) or isinstance(tensor._base, torch.nn.Parameter)


def _hold(weights: Weights, used: torch.Tensor) -> bool:
    """Holds what is multiplied with the values to the weights that were recorded; whether it has their shape."""
    track = weights.track
    if weights.number >= len(track.dense):
        return True
    recorded = track.dense[weights.number]
    recorded = recorded.transpose(1, 2) if weights.is_transposed else recorded
    if used.shape not in (recorded.shape, recorded.flatten(0, 1).shape):
        return False
    track.multiplies = True
    if track.dropout:
        return True
    mine = used.detach().float().cpu().reshape(recorded.shape)
    is_none = ((mine == 0) | mine.isnan()).all(-1, keepdim=True)  # rows of padding may be made 0
    far = float((mine - recorded).abs().masked_fill(is_none, 0).nan_to_num(torch.inf).max()) if mine.numel() else 0.0
    if far > 4 * torch.finfo(used.dtype).eps:
        weights.refuse(
            f"changes its weights after the softmax, by up to {far:.1g}, before it multiplies them with the values, so what the softmax "
            "gave is not what it attends to"
        )
    track.used.add(weights.number)
    return True
