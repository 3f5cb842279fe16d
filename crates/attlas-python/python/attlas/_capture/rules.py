"""Layers in the words of the format: scale, band or mask, bias; and dense weights where these do not suffice."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..errors import CaptureError, LimitError
from . import bias as biases
from .axes import Axis, layer_sizes
from .layers import Layer
from .seen import Seen, band

Array = np.ndarray[Any, Any]

_DTYPE = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}


def told(
    layer: Layer, queries: Axis, keys: Axis, builder: Any, masks: dict[Any, Any], room: int
) -> tuple[dict[str, Any], dict[str, Any], int | None, str]:
    """A layer as the format has it: what JSON says, the arrays, the number of its mask, and why it is dense. `masks` keeps what
    was found for layers that see the same."""
    place, track = layer.place, layer.place.track
    n_queries, n_keys = layer_sizes(layer)
    n_heads = (layer.weights if layer.weights is not None else layer.queries).shape[1]
    about: dict[str, Any] = {
        "kind": place.kind,
        "index": place.index,
        "stack": place.stack,
        "query_axis": queries.name,
        "key_axis": keys.name,
        "query_offset": 0,  # a rule has its own
        "shape": {
            "n_heads": n_heads,
            "n_kv_heads": n_heads,
            "n_queries": n_queries,
            "n_keys": n_keys,
            "d_head": 0,
            "d_value": 0,
        },
    }
    rows = ~queries.padding & ~layer.seen.sees_none() if layer.weights is None else ~queries.padding
    if layer.weights is not None:
        _check_room(layer, layer.weights.size * 4, room)
        about["query_offset"] = layer.offset
        np.copyto(layer.weights, 0, where=~(rows[:, None, :, None] & ~keys.padding[:, None, None, :]))
        _check_weights(layer)
        return about, {"weights": _raw(layer.weights)}, None, ""
    _check_finite(layer, rows, keys.padding)
    about["shape"] |= {
        "n_kv_heads": layer.keys.shape[1],
        "d_head": layer.keys.shape[3],
        "d_value": 0 if layer.values is None else layer.values.shape[3],
    }
    added: biases.Rule | None = biases.Rule()
    if layer.bias is not None:
        pairs = layer.seen.dense() & rows[:, None, :, None] & ~keys.padding[:, None, None, :]
        added = biases.rule(layer.bias, pairs, n_heads, layer.offset)
    if added is None:
        _check_room(layer, rows.shape[0] * n_heads * n_queries * n_keys * 4, room)
        about["shape"] |= {"d_head": 0, "d_value": 0, "n_kv_heads": n_heads}
        about["query_offset"] = layer.offset
        why = "what is added to its scores depends neither on the key alone nor on the distance alone"
        return about, {"weights": _raw(_dense(layer, rows, keys.padding))}, None, why
    arrays = {"queries": packed(layer.queries), "keys": packed(layer.keys)}
    scoring: dict[str, Any] = {"scale": track.scale, "query_offset": layer.offset}
    if track.softcap is not None:
        scoring["softcap"] = track.softcap
    if track.sinks is not None:
        scoring["sinks"] = [float(sink) for sink in track.sinks]
    if added.table is not None:
        scoring["bias"] = {
            "type": "relative",
            "first": added.first,
            "n_offsets": added.table.shape[1],
            "table": added.table.ravel().tolist(),
        }
    if added.per_key is not None:
        arrays["key_bias"] = _raw(added.per_key)
    same = ("band", id(layer.seen), id(queries), id(keys), layer.offset)
    if same not in masks:
        masks[same] = band(layer.seen, keys.padding, rows, layer.offset)
    bounds, mask = masks[same], None
    if bounds is not None:
        scoring["visibility"] = dict(zip(("before", "after"), bounds))
    else:
        mask = _mask(layer.seen, builder, masks)
    about["scoring"] = scoring
    return about, arrays, mask, ""


def _mask(seen: Seen, builder: Any, masks: dict[Any, int]) -> int:
    """The number of the mask; layers that see the same have the same."""
    if seen.stretches is not None and seen.sizes[1] == 1:
        form, held = "stretches", np.ascontiguousarray(seen.stretches[:, 0])
        sizes = [held.shape[0], held.shape[2]]
    else:
        form, held = "bits", np.packbits(seen.dense(), axis=-1, bitorder="little")
        sizes = [held.shape[0], held.shape[1]]
    data = held.tobytes()
    key = (form, held.shape, hash(data))
    if key not in masks:
        masks[key] = builder.mask(form, sizes, np.frombuffer(data, np.uint8))
    return masks[key]


def _check_room(layer: Layer, n_bytes: int, room: int) -> None:
    if n_bytes > room:
        raise LimitError(
            f"{layer.place} can only be recorded dense, which takes {n_bytes:,} bytes, more than the {max(room, 0):,} that are left of "
            "the limit max_dense_bytes: give a larger one, a shorter text, or fewer kinds"
        )


def _check_finite(layer: Layer, rows: Array, padding: Array) -> None:
    """Queries and keys are finite; those of padding become 0 where they are not, for they mean nothing."""
    for what, held, means in (("query", layer.queries, rows), ("key", layer.keys, ~padding)):
        if torch.isfinite(held.sum(dtype=torch.float32)):
            continue  # a number that is not finite leaves no sum that is; this takes a hundredth of looking at each
        bad = ~torch.isfinite(held).all(-1).numpy()  # [batch, heads, tokens]
        if not bad.any():
            continue
        wrong = bad & means[:, None, :]
        if wrong.any():
            text, head, token = (int(at) for at in np.argwhere(wrong)[0])
            raise CaptureError(
                f"{layer.place}: the {what} of text {text}, head {head}, token {token} holds a number that is not finite: the model "
                "itself computes NaN or infinity there; 16-bit models may need another number format"
            )
        held[torch.as_tensor(bad)] = 0


def _check_weights(layer: Layer) -> None:
    """Weights that a softmax gave are finite."""
    assert layer.weights is not None
    bad = ~np.isfinite(layer.weights)
    if bad.any():
        text, head, query = (int(at) for at in np.argwhere(bad)[0][:3])
        raise CaptureError(
            f"{layer.place}: the weights of text {text}, head {head}, query {query} hold a number that is not finite: the model itself computes NaN "
            "there; 16-bit models may need another number format"
        )


def _dense(layer: Layer, rows: Array, padding: Array) -> Array:
    """The weights of a layer that no rule tells, in f64, a head at a time."""
    n_texts, n_heads, n_queries = layer.queries.shape[:3]
    n_keys, group, track = layer.keys.shape[2], n_heads // layer.keys.shape[1], layer.place.track
    weights = np.zeros((n_texts, n_heads, n_queries, n_keys), np.float32)
    seen = np.broadcast_to(layer.seen.dense(), (n_texts, layer.seen.sizes[1], n_queries, n_keys))
    assert layer.bias is not None
    added = np.broadcast_to(layer.bias, (n_texts, n_heads, n_queries, n_keys))
    for text in range(n_texts):
        for head in range(n_heads):
            scores = (
                layer.queries[text, head].double() @ layer.keys[text, head // group].double().T
            ).numpy() * track.scale
            if track.softcap is not None:
                scores = track.softcap * np.tanh(scores / track.softcap)
            shown = seen[text, head if seen.shape[1] > 1 else 0] & rows[text][:, None] & ~padding[text]
            scores = np.where(shown, scores + added[text, head], -np.inf)
            sink = -np.inf if track.sinks is None else track.sinks[head]
            top = np.maximum(scores.max(-1, keepdims=True), sink)
            top[~np.isfinite(top)] = 0
            powers = np.exp(scores - top)
            total = powers.sum(-1, keepdims=True) + np.exp(sink - top)
            weights[text, head] = np.divide(powers, total, out=np.zeros_like(powers), where=total > 0)
    return weights


def packed(tensor: torch.Tensor) -> tuple[str, Array]:
    """A tensor's number format and bytes."""
    return _DTYPE[tensor.dtype], tensor.contiguous().view(-1).view(torch.uint8).numpy()


def _raw(array: Array) -> tuple[str, Array]:
    return "f32", np.ascontiguousarray(array, np.float32).reshape(-1).view(np.uint8)
