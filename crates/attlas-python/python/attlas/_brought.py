"""Attention that was brought along as arrays, on attlas's page: what the BertViz and CircuitsVis functions return."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attlas.arrays import from_attentions
from attlas.errors import Error
from attlas.tables import Table
from attlas.view import View

if TYPE_CHECKING:
    from attlas.recordings import Recording

# What arrays of each kind are called where they are brought in.
_NAMES = {"encoder": "encoder", "decoder": "decoder_self", "cross": "decoder_cross"}


class Brought(View):
    """The page of a recording, opened on one head; a notebook shows it."""

    sentences: Table | None = None
    """Of a text of two sentences: what each head gives from either to either, a share of a query's weight, mean over queries."""
    head_names: tuple[str, ...] = ()
    """What the heads were called, in order; the page numbers them as they came."""

    @property
    def data(self) -> str:
        """The whole page as HTML, as ``data`` of IPython's ``HTML`` is."""
        return self.to_html()


class Rendered(Brought):
    """As :class:`Brought`; as a text it is its page, as what CircuitsVis returns is."""

    def show_code(self) -> str:
        """The whole page as HTML."""
        return self.to_html()

    def __str__(self) -> str:
        return self.to_html()

    def __html__(self) -> str:
        return self.to_html()


def brought(
    arrays: Mapping[tuple[str, int], Any],
    *,
    head: tuple[str, int, int],
    origin: str,
    source_tokens: Sequence[str] | None = None,
    target_tokens: Sequence[str] | None = None,
    of: type[Brought] = Brought,
) -> Brought:
    """The page of arrays ``[1, heads, queries, keys]`` by kind and layer, opened on one head."""
    named = {f"{_NAMES[kind]}.{layer}": array for (kind, layer), array in arrays.items()}
    recording = from_attentions(named, source_tokens, target_tokens, allow_unnormalised=True, model=origin)
    return of(recording, *head)


def displayed(view: Brought) -> Brought | None:
    """Shows a view where there is IPython; elsewhere it is returned, for want of a place to be shown."""
    if importlib.util.find_spec("IPython") is None:
        return view
    from IPython import display

    display.display(view)
    return None


def is_causal(layers: Sequence[NDArray[np.float32]]) -> bool:
    """Whether no query of square maps ``[…, queries, keys]`` looks ahead; one token says nothing."""
    square = all(weights.shape[-1] == weights.shape[-2] > 1 for weights in layers)
    return square and not any(np.triu(weights, 1).any() for weights in layers)


def between_sentences(recording: Recording, start: int) -> Table:
    """What two sentences give to each other, head by head; the second begins at token ``start``."""
    n_tokens = recording.layers[0].n_keys
    if not 0 < start < n_tokens:
        raise Error(f"sentence_b_start is {start}; of {n_tokens} tokens a second sentence begins at 1 to {n_tokens - 1}")
    parts = {"A": slice(0, start), "B": slice(start, None)}
    rows: dict[str, list[Any]] = {"kind": [], "layer": [], "head": []}
    shares: dict[str, list[float]] = {f"{asking} -> {answering}": [] for asking in parts for answering in parts}
    for layer in recording.layers:
        for head, weights in enumerate(layer.weights()[0]):
            rows["kind"].append(layer.kind)
            rows["layer"].append(layer.index)
            rows["head"].append(head)
            for asking, queries in parts.items():
                for answering, keys in parts.items():
                    shares[f"{asking} -> {answering}"].append(float(weights[queries, keys].sum(axis=1).mean()))
    return Table({**rows, **shares}, title="what each sentence gives to the other, share of a query's weight")
