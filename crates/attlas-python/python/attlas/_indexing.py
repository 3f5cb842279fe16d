"""How layers, heads, rows and columns are named: ``L3H7``, ``("encoder", 3)``, a place, a token's text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from operator import index
from typing import Any, Literal, SupportsIndex

from attlas.errors import ArgumentError, Error, MissingError

Head = SupportsIndex | str | None
LayerIndex = SupportsIndex | str
Place = SupportsIndex | str
Stretch = tuple[int, int]
KINDS = ("encoder", "decoder", "cross")

_MOST = 2**63 - 1
_HEAD = re.compile(r"[Ll](\d+)(?:[Hh](\d+))?")


def whole_number(number: object, what: str = "place") -> int:
    """A whole number that somebody gave, in sixty-four bits.

    Raises :class:`attlas.MissingError` for what is none.
    """
    try:
        whole = index(number)  # type: ignore[arg-type]
    except TypeError:
        raise MissingError(f"{number!r} is no {what}: a whole number was expected, not a {type(number).__name__}") from None
    if not -_MOST <= whole <= _MOST:
        raise MissingError(f"there is no {what} {whole}: no model has so many")
    return whole


def refuse_unknown(function: str, given: Mapping[str, object], known: Iterable[str]) -> None:
    """Refuses arguments that are none of those that ``function`` has.

    Raises :class:`attlas.ArgumentError`, which is a ``TypeError``, as Python raises one.
    """
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        raise ArgumentError(f"{function}() has no argument {unknown!r}; there are {', '.join(known)}")


def number_from(number: Any, least: int, most: int, name: str) -> int:
    """The whole number that somebody gave as the argument ``name``, ``least`` to ``most``.

    Raises :class:`attlas.Error` for what is none, or lies outside.
    """
    if not hasattr(number, "__index__"):
        raise Error(f"{name} is {number!r}; a whole number from {least} to {most} was expected")
    whole = index(number)
    if not least <= whole <= most:
        raise Error(f"{name} is {whole}; a number from {least} to {most} was expected")
    return whole


def is_unicode(text: str) -> bool:
    """Whether a text has none of the halves of surrogate pairs, which no file and no other language can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def head_of(name: str) -> tuple[int, int | None]:
    """Layer and head of ``L3H7``; of ``L3`` the layer alone."""
    found = _HEAD.fullmatch(name.strip()) if isinstance(name, str) else None
    if found is None:
        raise MissingError(f"{name!r} is no head; heads are written L3H7 (layer 3, head 7, counted from 0)")
    return int(found[1]), None if found[2] is None else int(found[2])


def is_head(name: str) -> bool:
    """Whether a text is written as a layer or a head is."""
    return _HEAD.fullmatch(name.strip()) is not None


def layer_and_head(layer: LayerIndex | None, head: Head) -> tuple[int | None, int | Literal["mean"] | None]:
    """What ``L3H7`` names, as ``layer`` or as ``head``; numbers as they are. ``"mean"`` stays."""
    if isinstance(head, str) and head != "mean":
        of, named = head_of(head)
        if named is None:
            raise MissingError(f"{head!r} is a layer; heads are written L{of}H0, or \"mean\" for all of a layer")
        other = head_of(layer)[0] if isinstance(layer, str) else layer
        if other is not None and whole_number(other, "layer") != of:
            raise Error(f"{head!r} is a head of layer {of}, but layer {layer} is asked for, too")
        return of, named
    number: int | Literal["mean"] | None = "mean" if isinstance(head, str) else None if head is None else whole_number(head, "head")
    if not isinstance(layer, str):
        return None if layer is None else whole_number(layer, "layer"), number
    of, named = head_of(layer)
    if named is not None and number is not None and number != named:
        raise Error(f"L{of}H{named} names head {named}, but head {head} is asked for, too")
    return of, named if number is None else number


def head_patterns(heads: Any, name: str) -> list[str]:
    """Patterns such as ``cross:2.*``, of one head or several, given as the argument ``name``: texts, which commas part, tuples, or a list of these."""
    if isinstance(heads, str):
        return [part.strip() for part in heads.split(",") if part.strip()]
    if not isinstance(heads, Iterable):
        raise Error(f"{name} is {heads!r}, which names no head; heads are written cross:L2H4")
    heads = heads if isinstance(heads, tuple) else list(heads)
    is_one = isinstance(heads, tuple) and not all(isinstance(part, (tuple, list)) or _is_pattern(part) for part in heads)
    return [head_pattern(heads)] if is_one else [head_pattern(head) for head in heads]


def _is_pattern(part: Any) -> bool:
    """Whether a word names a head by itself, and is no kind of attention."""
    return isinstance(part, str) and part not in KINDS


def head_pattern(head: Any) -> str:
    """``cross:2.4`` of ``"cross:L2H4"``, ``("cross", 2, 4)``, ``("cross", "L2H4")`` and ``(2, 4)``."""
    if isinstance(head, str):
        return head
    parts = list(head) if isinstance(head, (tuple, list)) else []
    kind = f"{parts.pop(0)}:" if parts and parts[0] in KINDS else ""
    if any(hasattr(part, "__index__") and index(part) < 0 for part in parts):
        raise MissingError(f"{head!r}: layers and heads count from 0")
    if len(parts) == 1:
        return f"{kind}{parts[0]}"
    if len(parts) != 2:
        raise Error(f'{head!r} is no head; heads are written "4.11", "cross:L2H4" or ("cross", 2, 4)')
    return f"{kind}{parts[0]}.{parts[1]}"


def place_in(place: Place, labels: Sequence[str], n: int, axis: str) -> int:
    """The place along an axis of ``n`` places: a number, from the end when negative, or the text that stands there once."""
    if isinstance(place, str):
        found = [at for at, label in enumerate(labels) if label.strip() == place.strip()]
        if len(found) == 1:
            return found[0]
        if not found:
            there = " ".join(labels[:40]) + (" …" if n > 40 else "")
            raise MissingError(f"there is no {axis} {place!r}; there are {there}")
        raise MissingError(f"{axis} {place!r} stands at {', '.join(map(str, found))}; say which by its number")
    number = whole_number(place, axis)
    if -n <= number < n:
        return number % n
    raise MissingError(f"there is no {axis} {number}; the map has {n}, counted from 0")


def stretch_in(stretch: Stretch, n: int, axis: str) -> Stretch:
    """Two ends along an axis, checked."""
    first, end = (whole_number(place, f"end of {axis}") for place in stretch)
    if not 0 <= first <= end <= n:
        raise MissingError(f"{axis} {first}:{end} are outside the map, whose {axis} are 0:{n}")
    return first, end
