"""How layers, heads, rows and columns are named: ``L3H7``, ``("encoder", 3)``, a place, a token's text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import index
from typing import Literal, SupportsIndex

from attlas.errors import Error, MissingError

Head = SupportsIndex | str | None
LayerIndex = SupportsIndex | str
Place = SupportsIndex | str
Stretch = tuple[int, int]

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
