"""The names of the usual PyTorch example of attention maps, so that code written for it runs with another import.

    from attlas.seed import TransformerWithAttnMaps, get_attention_maps
    from attlas.seed import plot_attention_across_layers, plot_attention_map, plot_multihead_attention

``get_attention_maps`` takes a recording, which ``attlas.capture`` makes of any model, or a model of that class. The plots
return matplotlib figures: cells are one image, labels are text drawn as it is written, and one stated colour scale holds
for all maps of a figure. Weights whose rows do not sum to 1, as under dropout, are said to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attlas._numbers import numbers
from attlas._panels import Look, Panel, draw, remarks_of
from attlas.errors import CaptureError, Error, FormatError, MissingError
from attlas.recordings import Recording

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from attlas._seed_model import TransformerWithAttnMaps

__all__ = [
    "AttentionMaps",
    "TransformerWithAttnMaps",
    "get_attention_maps",
    "plot_attention_across_layers",
    "plot_attention_map",
    "plot_multihead_attention",
]

# The names of the maps, and what attlas calls each kind of attention.
_KINDS = {"encoder": "encoder", "decoder_self": "decoder", "decoder_cross": "cross"}
_TRAINED = "recorded in training mode: dropout was on"


class AttentionMaps(dict[str, list[Any]]):
    """Arrays ``[batch, heads, queries, keys]`` by layer, under ``encoder``, ``decoder_self`` and ``decoder_cross``.

    NumPy arrays of a recording, torch tensors of a model; an empty list where there is no such attention.
    """

    def __init__(self, maps: Mapping[str, Sequence[Any]], layers: Mapping[str, Sequence[int]] | None = None) -> None:
        super().__init__({name: list(maps.get(name, ())) for name in _KINDS})
        self.layers = {name: list((layers or {}).get(name, range(len(self[name])))) for name in _KINDS}
        """The index in the model of each layer: not every layer of a hybrid attends."""
        self.remarks: tuple[str, ...] = ()
        """What a reader must be told, such as that dropout was on."""
        self.tokens: list[tuple[list[str], list[str]]] = []
        """Source and target tokens of each text, where they are known."""


def get_attention_maps(source: Any) -> AttentionMaps:
    """The attention maps of a recording, or of the last run of a model that keeps them.

    Args:
        source: a ``Recording``, or a model with a method ``get_attention_maps()``, such as ``TransformerWithAttnMaps``.

    Raises:
        attlas.CaptureError: when the model has not run, or keeps no maps.
    """
    if isinstance(source, AttentionMaps):
        return source
    if isinstance(source, Recording):
        return _of_recording(source)
    kept = getattr(source, "get_attention_maps", None)
    if not callable(kept):
        raise CaptureError(
            f"{type(source).__name__} keeps no attention maps; record a run with attlas.capture(model, inputs) and give the recording"
        )
    return _of_model(source, kept())


def plot_attention_map(
    attn_weights: Any,
    x_labels: Sequence[str] | None = None,
    y_labels: Sequence[str] | None = None,
    title: str = "Attention Weights",
    figsize: tuple[float, float] = (8, 6),
    ax: Any = None,
    cmap: Any = None,
) -> Figure:
    """Draws one map.

    Args:
        attn_weights: ``[queries, keys]``, of torch, NumPy or anything that NumPy can read.
        x_labels: the keys' tokens.
        y_labels: the queries' tokens.
        title: above the map.
        figsize: inches, of a new figure.
        ax: matplotlib axes to draw on instead of a new figure.
        cmap: a matplotlib colour map; viridis unless one is given.
    """
    panel = Panel(_weights(attn_weights), title, y_labels, x_labels)
    return draw([panel], Look(cmap=cmap, remarks=remarks_of([panel])), axes=ax, figsize=figsize)


def plot_multihead_attention(
    attn_weights: Any,
    num_heads: int | None = None,
    x_labels: Sequence[str] | None = None,
    y_labels: Sequence[str] | None = None,
    layer_name: str = "Layer",
    sample_idx: int = 0,
    ax: Any = None,
    figsize: tuple[float, float] | None = None,
    cmap: Any = None,
) -> Figure:
    """Draws the heads of one layer side by side, four in a row, under one colour scale.

    Args:
        attn_weights: ``[batch, heads, queries, keys]``, or ``[heads, queries, keys]``.
        num_heads: only the first so many heads.
        x_labels: the keys' tokens.
        y_labels: the queries' tokens.
        layer_name: the heading.
        sample_idx: the text of the batch, counted from 0.
        ax: as many matplotlib axes as heads, instead of a new figure.
        figsize: inches, of a new figure.
        cmap: a matplotlib colour map; viridis unless one is given.
    """
    weights = _weights(attn_weights)
    if weights.ndim == 4:
        weights = weights[_within(sample_idx, len(weights), "text")]
    if weights.ndim != 3:
        raise Error(f"the heads of a layer have the axes [batch, heads, queries, keys], but shape {list(weights.shape)} was given")
    if num_heads is not None and not 0 < num_heads <= len(weights):
        raise MissingError(f"num_heads is {num_heads}, but the layer has {len(weights)} heads")
    panels = [Panel(one, f"H{head}", y_labels, x_labels) for head, one in enumerate(weights[:num_heads])]
    look = Look(cmap=cmap, remarks=remarks_of(panels))
    return draw(panels, look, axes=ax, figsize=figsize, heading=f"{layer_name}: {_how_many(len(panels), len(weights))}")


def plot_attention_across_layers(
    attention_maps: Any,
    map_type: str = "encoder",
    head: int = 0,
    sample_idx: int = 0,
    src_tokens: Sequence[str] | None = None,
    tgt_tokens: Sequence[str] | None = None,
    ax: Any = None,
    figsize: tuple[float, float] | None = None,
    cmap: Any = None,
) -> Figure:
    """Draws one head of every layer side by side, under one colour scale.

    Args:
        attention_maps: what ``get_attention_maps`` gives, or what it takes.
        map_type: ``encoder``, ``decoder_self`` or ``decoder_cross``.
        head: counted from 0.
        sample_idx: the text of the batch, counted from 0.
        src_tokens: the source tokens; those of the recording where none are given.
        tgt_tokens: the target tokens; likewise.
        ax: as many matplotlib axes as layers, instead of a new figure.
        figsize: inches, of a new figure.
        cmap: a matplotlib colour map; viridis unless one is given.
    """
    is_plain = isinstance(attention_maps, Mapping) and not isinstance(attention_maps, AttentionMaps)
    maps = AttentionMaps(_listed(attention_maps)) if is_plain else get_attention_maps(attention_maps)
    if map_type not in _KINDS:
        raise Error(f"map_type is {map_type!r}; it is one of {', '.join(_KINDS)}")
    if not maps[map_type]:
        there = ", ".join(name for name in _KINDS if maps[name]) or "none"
        raise MissingError(f"there are no maps of {map_type}; there are: {there}")
    if src_tokens is None and tgt_tokens is None and sample_idx < len(maps.tokens):
        src_tokens, tgt_tokens = maps.tokens[sample_idx]
    queries, keys = {
        "encoder": (src_tokens, src_tokens),
        "decoder_self": (tgt_tokens, tgt_tokens),
        "decoder_cross": (tgt_tokens, src_tokens),
    }[map_type]
    panels = []
    for layer, weights in zip(maps.layers[map_type], maps[map_type]):
        of_layer = _weights(weights, f"{map_type} layer {layer}: ")
        if of_layer.ndim != 4:
            raise Error(f"{map_type} layer {layer} has shape {list(of_layer.shape)}, not [batch, heads, queries, keys]")
        text = of_layer[_within(sample_idx, len(of_layer), "text")]
        panels.append(Panel(text[_within(head, len(text), "head")], f"L{layer}H{head}", queries, keys))
    look = Look(
        cmap=cmap,
        remarks=remarks_of(panels, "; ".join(maps.remarks)),
        query_axis="query (source token)" if map_type == "encoder" else "query (target token)",
        key_axis="key (target token)" if map_type == "decoder_self" else "key (source token)",
    )
    heading = {"encoder": "encoder self-attention", "decoder_self": "decoder self-attention", "decoder_cross": "cross-attention"}
    columns = len(panels) if len(panels) <= 4 else 3 if len(panels) <= 6 else 4
    return draw(panels, look, axes=ax, figsize=figsize, columns=columns, heading=f"{heading[map_type]}, head {head}")


def _weights(array: Any, where: str = "") -> NDArray[np.float32]:
    """The numbers of an array, held to what weights are; dropout makes some larger than 1, and a picture says that rows do not sum to 1."""
    weights = numbers(array)
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        at = tuple(int(place) for place in np.argwhere(wrong)[0])
        raise FormatError(
            f"{where}the number at {list(at)} is {weights[at]:.6g}, and attention weights are 0 or more: scores before the softmax, or a difference of maps, "
            "are none (attlas.plot.plot draws maps of any quantity)"
        )
    return weights


def _of_recording(recording: Recording) -> AttentionMaps:
    maps: dict[str, list[Any]] = {}
    layers: dict[str, list[int]] = {}
    for name, kind in _KINDS.items():
        of_kind = recording._of_kind(kind)
        maps[name] = [layer.weights() for layer in of_kind]
        layers[name] = [layer.index for layer in of_kind]
    found = AttentionMaps(maps, layers)
    found.tokens = [(item.source.labels, item.target.labels) for item in recording.items]
    if recording.provenance.mode == "train":
        found.remarks = (f"{_TRAINED}; shown are the weights before it",)
    return found


def _of_model(model: Any, kept: Mapping[str, Any]) -> AttentionMaps:
    listed = _listed(kept)
    if any(weights is None for layers in listed.values() for weights in layers):
        raise CaptureError(f"{type(model).__name__} has kept no attention maps yet; run it first: model(src, tgt)")
    maps = AttentionMaps(listed)
    if getattr(model, "training", False):
        maps.remarks = (_TRAINED,)
    return maps


def _listed(maps: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Layers in a list, in a dict by their number, or as the first axis of an array, as a list."""
    unknown = set(maps) - set(_KINDS)
    if unknown:
        raise Error(f"attention maps are named {', '.join(_KINDS)}, but there is {sorted(unknown)[0]!r}")
    return {name: list(layers.values() if isinstance(layers, Mapping) else layers) for name, layers in maps.items()}


def _how_many(shown: int, heads: int) -> str:
    return f"all {heads} heads" if shown == heads else f"the first {shown} of {heads} heads"


def _within(index: int, size: int, what: str) -> int:
    if not 0 <= index < size:
        raise MissingError(f"there is no {what} {index}; there are {size}, counted from 0")
    return index


def __getattr__(name: str) -> Any:
    """The class needs torch, which is loaded when it is asked for."""
    if name == "TransformerWithAttnMaps":
        from attlas._seed_model import TransformerWithAttnMaps

        return TransformerWithAttnMaps
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
