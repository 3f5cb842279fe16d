"""The axes of a run's maps: which tokens are rows and columns of each layer, and which of them fill the batch."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from . import tokens
from .layers import Layer

if TYPE_CHECKING:
    from .build import Run

Array = np.ndarray[Any, Any]


@dataclasses.dataclass
class Axis:
    """An axis of the items, and which of its tokens are padding."""

    name: str | None  # None: the source or target
    side: str
    size: int
    padding: Array  # bool [batch, size]
    extra: tuple[str, ...] = ()
    labels: list[str] | None = None  # of tokens that are neither a text's nor an image's patches in their order


def axes_of(run: Run, layers: list[Layer], n_texts: int) -> list[tuple[Axis, Axis]]:
    """The axes of each layer's rows and columns."""
    sizes = _main_sizes(layers)
    made: dict[tuple[str | None, int], Axis] = {}

    def axis(layer: Layer, side: str, size: int, extra: tuple[str, ...]) -> Axis:
        place = layer.place
        is_main = place.stack is None or place.kind == "cross"
        name = None if is_main and not extra and sizes.get(side) == size else (place.stack or f"{place.kind}_{side}")
        if name is not None and any(key[0] == name and key[1] != size for key in made):
            name = f"{name}_{size}"
        return made.setdefault(
            (name or side, size), Axis(name, side, size, np.zeros((n_texts, size), bool), extra, _labels(layer, size))
        )

    pairs = []
    for layer in layers:
        n_queries, n_keys = layer_sizes(layer)
        kind = layer.place.kind
        queries = axis(layer, "source" if kind == "encoder" else "target", n_queries, ())
        keys = axis(layer, "target" if kind == "decoder" else "source", n_keys, layer.place.track.extra_keys)
        pairs.append((queries, keys))
    for one in made.values():
        _find_padding(run, one, layers, pairs, n_texts)
    _unpad(run, layers, pairs)
    return pairs


def _labels(layer: Layer, size: int) -> list[str] | None:
    """Labels of what was several rows of the batch: pixels of the image where its windows are told, else which row and where."""
    windows = layer.place.track.windows
    if layer.n_folded == 1 or layer.place.kind != "encoder":
        return None
    if windows is not None and windows.grid[0] * windows.grid[1] == size:
        return windows.labels()
    n = layer.n_folded
    return [f"w{at // (size // n)}t{at % (size // n)}" for at in range(size)]


def layer_sizes(layer: Layer) -> tuple[int, int]:
    """Queries and keys of a layer's maps."""
    if layer.weights is not None:
        return layer.weights.shape[2], layer.weights.shape[3]
    return layer.queries.shape[2], layer.keys.shape[2]


def _main_sizes(layers: list[Layer]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    order = {"decoder": 0, "encoder": 0, "cross": 1}
    for layer in sorted(
        (layer for layer in layers if layer.place.stack is None), key=lambda layer: order[layer.place.kind]
    ):
        n_queries, n_keys = layer_sizes(layer)
        n_keys -= len(layer.place.track.extra_keys)
        if layer.place.kind == "cross":
            sizes.setdefault("target", n_queries)
            sizes.setdefault("source", n_keys)
        else:
            sizes.setdefault("source" if layer.place.kind == "encoder" else "target", n_keys)
    return sizes


def _find_padding(run: Run, axis: Axis, layers: list[Layer], pairs: list[tuple[Axis, Axis]], n_texts: int) -> None:
    unseen = np.ones((n_texts, axis.size), bool)
    is_key = False
    for layer, (queries, keys) in _differing(layers, pairs):
        if keys is axis:
            is_key = True
            unseen &= _unseen(layer, np.ones((n_texts, queries.size), bool))
    kinds = {layer.place.kind for layer in layers}
    known = tokens.axis(
        run.given,
        axis.side,
        axis.size - len(axis.extra),
        n_texts,
        (unseen & is_key)[:, : axis.size - len(axis.extra)],
        is_main=len(kinds) == 1,
    )
    if axis.name is None or axis.extra:
        axis.padding[:, : axis.size - len(axis.extra)] = known.padding
    elif is_key:
        axis.padding[:] = unseen


def _unpad(run: Run, layers: list[Layer], pairs: list[tuple[Axis, Axis]]) -> None:
    """Padding that a query of the text does see is none: the model was not told of it."""
    n_seen = 0
    for layer, (queries, keys) in _differing(layers, pairs):
        seen = keys.padding & ~_unseen(layer, ~queries.padding)
        n_seen = max(n_seen, int(seen.sum()))
        keys.padding &= ~seen
    if n_seen:
        run.provenance.setdefault("notes", []).append(
            f"{n_seen} tokens that fill the batch were seen by others: the model was not told to leave them out"
        )


def _differing(layers: list[Layer], pairs: list[tuple[Axis, Axis]]) -> list[tuple[Layer, tuple[Axis, Axis]]]:
    """The layers with their axes, without those that see what one before them does."""
    met: dict[Any, tuple[Layer, tuple[Axis, Axis]]] = {}
    for layer, axes in zip(layers, pairs):
        what = id(layer.seen if layer.weights is None else layer.weights)
        met.setdefault((what, id(axes[0]), id(axes[1])), (layer, axes))
    return list(met.values())


def _unseen(layer: Layer, rows: Array) -> Array:
    """Keys that none of `rows` sees, ``[batch, keys]``."""
    if layer.weights is not None:
        unseen: Array = ~((layer.weights != 0) & rows[:, None, :, None]).any((1, 2))
        return unseen
    return layer.seen.unseen_keys(rows)


def items_of(run: Run, layers: list[Layer], axes: list[tuple[Axis, Axis]], n_texts: int) -> list[dict[str, Any]]:
    """The texts, as the format has them."""
    kinds = {layer.place.kind for layer in layers}
    items: list[dict[str, Any]] = [{} for _ in range(n_texts)]
    of_text = (
        "source"
        if "encoder" in kinds and (kinds != {"encoder", "decoder"} or getattr(run.config, "is_encoder_decoder", False))
        else "target"
    )
    if "encoder" not in kinds and "cross" in kinds:
        of_text = "source"
    for axis in {id(axis): axis for pair in axes for axis in pair}.values():
        known = tokens.axis(
            run.given,
            axis.side,
            axis.size - len(axis.extra),
            n_texts,
            axis.padding[:, : axis.size - len(axis.extra)],
            is_main=len(kinds) == 1 or axis.side == of_text,
        )
        if axis.name is not None and not axis.extra:
            known.ids = known.ids if axis.side == of_text else None
        known.padding = axis.padding[:, : known.size]
        told = tokens.told(
            known,
            run.given,
            axis.side if axis.name is None else "",
            run.tokenizer,
            has_text=axis.side == of_text and axis.name is None,
        )
        grid = tokens.patches(run.config, run.given, axis.size) if known.ids is None and axis.side == "source" else None
        if axis.labels is not None:
            grid = grid if grid and grid[0] == axis.labels else None  # windows: its tokens are no patches in their order
        labels = axis.labels or (grid[0] if grid else [])
        for item, one in zip(items, told):
            for token, label in zip(one["tokens"], () if axis.side in run.given.labels else labels):
                token["text"] = label
            one["tokens"] += [{"text": name, "role": "special"} for name in axis.extra]
            if axis.name is None:
                item[axis.side] = one
                if grid:
                    item["image"] = grid[1]
            else:
                item.setdefault("axes", {})[axis.name] = one
    _tell_predicted(run, items)
    return items


def _tell_predicted(run: Run, items: list[dict[str, Any]]) -> None:
    """What each row of a decoder predicts: the token after the one that it reads."""
    for text, item in enumerate(items):
        target = item.get("target")
        if target is None:
            continue
        if run.given.n_prompt is not None and run.given.n_prompt <= len(target["tokens"]):
            item["n_prompt"] = run.given.n_prompt
        following = [dict(token) for token in target["tokens"][1:]]
        if run.given.sequences is not None and run.given.sequences.shape[1] == len(target["tokens"]) + 1:
            last = int(run.given.sequences[text, -1])
            following.append({"text": tokens._shown(run.tokenizer, last), "id": last})
        for token in following:
            token.pop("span", None)
        item["predicted"] = {"tokens": following}
