"""From stitched layers to a recording: how the format says them, and the proof that it says what the kernel computed."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import torch

from .._attlas import Builder
from . import bias as biases
from . import tokens
from .call import Track
from ..errors import CaptureError, LimitError
from .layers import Beams, Layer, places, stitched
from .seen import Seen, band

Array = np.ndarray[Any, Any]

MAX_PROVED = 64
"""Rows of each layer that are held to what the kernel returned."""
_TOLERANCE = {torch.float32: 3e-3, torch.float64: 3e-3, torch.float16: 2e-2, torch.bfloat16: 6e-2}
_DTYPE = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}


@dataclasses.dataclass
class Run:
    """A finished run and what is known of it."""

    tracks: list[Track]
    config: Any
    given: tokens.Given
    provenance: dict[str, Any]
    tokenizer: Any = None
    path: Array | None = None  # of beams, see `Beams`
    n_path_rows: int = 0
    kinds: tuple[str, ...] | None = None
    values: bool = False
    max_dense_bytes: int = 1 << 30


@dataclasses.dataclass
class Axis:
    """An axis of the items, and which of its tokens are padding."""

    name: str | None  # None: the source or target
    side: str
    size: int
    padding: Array  # bool [batch, size]
    extra: tuple[str, ...] = ()


def build(run: Run) -> tuple[Any, str]:
    """The recording of a run, and the sentence that says how far it is from what the kernel returned.

    Raises:
        CaptureError: when no attention was seen, or the recording is not what the kernel computed.
        LimitError: when layers that can only be dense are larger than `max_dense_bytes`.
    """
    n_texts = _n_texts(run)
    beams = Beams(n_texts, run.path, run.n_path_rows)
    found = places(run.tracks, run.kinds, bool(getattr(run.config, "is_encoder_decoder", False)))
    if not found:
        raise CaptureError(_nothing(run))
    layers = [stitched(place, beams) for place in found]
    axes = _axes(run, layers, n_texts)
    items = _items(run, layers, axes, n_texts)
    builder = Builder(json.dumps(items))
    masks: dict[Any, int] = {}
    dense: dict[str, list[str]] = {}
    room = run.max_dense_bytes
    for layer, (queries, keys) in zip(layers, axes):
        why = layer.place.track.door if layer.weights is not None else ""
        about, arrays, mask, reason = _told(layer, queries, keys, builder, masks, room)
        if "weights" in arrays:
            room -= arrays["weights"][1].size
            why = "the model's own softmax was seen, and not its queries and keys" if layer.weights is not None else reason
            dense.setdefault(why, []).append(str(layer.place))
        if run.values and layer.values is not None and "weights" not in arrays:
            arrays["values"] = _bytes(layer.values)
        builder.add(json.dumps(about), arrays, mask)
    proof = _proof(builder, layers, axes)
    notes = [proof] + [f"{_listed(names)} recorded dense, a number for each query and key: {why}" for why, names in dense.items()]
    run.provenance["notes"] = [note for note in notes + run.provenance.get("notes", []) if note]
    return builder.finish(json.dumps(run.provenance)), proof


def _n_texts(run: Run) -> int:
    if run.given.sequences is not None:
        return int(run.given.sequences.shape[0])
    sizes = [(track.dense or [track.steps[0].queries])[0].shape[0] for track in run.tracks if track.dense or track.steps]
    decoders = [size for size, track in zip(sizes, run.tracks) if track.causal and not track.cross]
    return min(decoders or sizes or [1])


def _nothing(run: Run) -> str:
    if run.tracks:
        return f"no layer of the kinds {list(run.kinds or ())} ran: there are others; leave kinds out to see them"
    return (
        "no attention was seen: the model calls neither transformers' attention functions, nn.MultiheadAttention, "
        "F.scaled_dot_product_attention nor a softmax in a module called attention; run it with output_attentions=True and "
        "hand the arrays to attlas.from_attentions"
    )


# ---- axes ----------------------------------------------------------------------------------------------------------------


def _axes(run: Run, layers: list[Layer], n_texts: int) -> list[tuple[Axis, Axis]]:
    """The axes of each layer's rows and columns."""
    sizes = _main_sizes(layers)
    made: dict[tuple[str | None, int], Axis] = {}

    def axis(layer: Layer, side: str, size: int, extra: tuple[str, ...]) -> Axis:
        place = layer.place
        is_main = place.stack is None or place.kind == "cross"
        name = None if is_main and not extra and sizes.get(side) == size else (place.stack or f"{place.kind}_{side}")
        if name is not None and any(key[0] == name and key[1] != size for key in made):
            name = f"{name}_{size}"
        return made.setdefault((name or side, size), Axis(name, side, size, np.zeros((n_texts, size), bool), extra))

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


def layer_sizes(layer: Layer) -> tuple[int, int]:
    """Queries and keys of a layer's maps."""
    if layer.weights is not None:
        return layer.weights.shape[2], layer.weights.shape[3]
    return layer.queries.shape[2], layer.keys.shape[2]


def _main_sizes(layers: list[Layer]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    order = {"decoder": 0, "encoder": 0, "cross": 1}
    for layer in sorted((layer for layer in layers if layer.place.stack is None), key=lambda layer: order[layer.place.kind]):
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
    for layer, (queries, keys) in zip(layers, pairs):
        if keys is axis:
            is_key = True
            unseen &= _unseen(layer, np.ones((n_texts, queries.size), bool))
    kinds = {layer.place.kind for layer in layers}
    known = tokens.axis(run.given, axis.side, axis.size - len(axis.extra), n_texts, (unseen & is_key)[:, : axis.size - len(axis.extra)],
                        is_main=len(kinds) == 1)
    if axis.name is None or axis.extra:
        axis.padding[:, : axis.size - len(axis.extra)] = known.padding
    elif is_key:
        axis.padding[:] = unseen


def _unpad(run: Run, layers: list[Layer], pairs: list[tuple[Axis, Axis]]) -> None:
    """Padding that a query of the text does see is none: the model was not told of it."""
    n_seen = 0
    for layer, (queries, keys) in zip(layers, pairs):
        seen = keys.padding & ~_unseen(layer, ~queries.padding)
        n_seen = max(n_seen, int(seen.sum()))
        keys.padding &= ~seen
    if n_seen:
        run.provenance.setdefault("notes", []).append(
            f"{n_seen} tokens that fill the batch were seen by others: the model was not told to leave them out"
        )


def _unseen(layer: Layer, rows: Array) -> Array:
    """Keys that none of `rows` sees, ``[batch, keys]``."""
    if layer.weights is not None:
        unseen: Array = ~((layer.weights != 0) & rows[:, None, :, None]).any((1, 2))
        return unseen
    return layer.seen.unseen_keys(rows)


def _items(run: Run, layers: list[Layer], axes: list[tuple[Axis, Axis]], n_texts: int) -> list[dict[str, Any]]:
    """The texts, as the format has them."""
    kinds = {layer.place.kind for layer in layers}
    items: list[dict[str, Any]] = [{} for _ in range(n_texts)]
    of_text = "source" if "encoder" in kinds and (kinds != {"encoder", "decoder"} or getattr(run.config, "is_encoder_decoder", False)) else "target"
    if "encoder" not in kinds and "cross" in kinds:
        of_text = "source"
    for axis in {id(axis): axis for pair in axes for axis in pair}.values():
        known = tokens.axis(run.given, axis.side, axis.size - len(axis.extra), n_texts, axis.padding[:, : axis.size - len(axis.extra)],
                            is_main=len(kinds) == 1 or axis.side == of_text)
        if axis.name is not None and not axis.extra:
            known.ids = known.ids if axis.side == of_text else None
        known.padding = axis.padding[:, : known.size]
        told = tokens.told(known, run.given, axis.side if axis.name is None else "", run.tokenizer,
                           has_text=axis.side == of_text and axis.name is None)
        grid = tokens.patches(run.config, run.given, axis.size) if known.ids is None and axis.side == "source" else None
        for item, one in zip(items, told):
            for token, label in zip(one["tokens"], grid[0] if grid and axis.side not in run.given.labels else ()):
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


# ---- rules ---------------------------------------------------------------------------------------------------------------


def _told(layer: Layer, queries: Axis, keys: Axis, builder: Any, masks: dict[Any, int], room: int
          ) -> tuple[dict[str, Any], dict[str, Any], int | None, str]:
    """A layer as the format has it: what JSON says, the arrays, the number of its mask, and why it is dense."""
    place, track = layer.place, layer.place.track
    n_queries, n_keys = layer_sizes(layer)
    n_heads = (layer.weights if layer.weights is not None else layer.queries).shape[1]
    about: dict[str, Any] = {
        "kind": place.kind, "index": place.index, "stack": place.stack, "query_axis": queries.name, "key_axis": keys.name,
        "query_offset": layer.offset,
        "shape": {"n_heads": n_heads, "n_kv_heads": n_heads, "n_queries": n_queries, "n_keys": n_keys, "d_head": 0, "d_value": 0},
    }
    rows = ~queries.padding & ~layer.seen.sees_none() if layer.weights is None else ~queries.padding
    if layer.weights is not None:
        _check_room(layer, layer.weights.size * 4, room)
        layer.weights *= rows[:, None, :, None] & ~keys.padding[:, None, None, :]
        return about, {"weights": _raw(layer.weights)}, None, ""
    _check_finite(layer, rows, keys.padding)
    about["shape"] |= {"n_kv_heads": layer.keys.shape[1], "d_head": layer.keys.shape[3],
                       "d_value": 0 if layer.values is None else layer.values.shape[3]}
    added: biases.Rule | None = biases.Rule()
    if layer.bias is not None:
        pairs = layer.seen.dense() & rows[:, None, :, None] & ~keys.padding[:, None, None, :]
        added = biases.rule(layer.bias, pairs, n_heads, layer.offset)
    if added is None:
        _check_room(layer, rows.shape[0] * n_heads * n_queries * n_keys * 4, room)
        about["shape"] |= {"d_head": 0, "d_value": 0, "n_kv_heads": n_heads}
        why = "what is added to its scores depends neither on the key alone nor on the distance alone"
        return about, {"weights": _raw(_dense(layer, rows, keys.padding))}, None, why
    arrays = {"queries": _bytes(layer.queries), "keys": _bytes(layer.keys)}
    scoring: dict[str, Any] = {"scale": track.scale, "query_offset": layer.offset}
    if track.softcap is not None:
        scoring["softcap"] = track.softcap
    if track.sinks is not None:
        scoring["sinks"] = [float(sink) for sink in track.sinks]
    if added.table is not None:
        scoring["bias"] = {"type": "relative", "first": added.first, "n_offsets": added.table.shape[1], "table": added.table.ravel().tolist()}
    if added.per_key is not None:
        arrays["key_bias"] = _raw(added.per_key)
    bounds = band(layer.seen, keys.padding, rows, layer.offset)
    mask = None
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
            scores = (layer.queries[text, head].double() @ layer.keys[text, head // group].double().T).numpy() * track.scale
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


def _bytes(tensor: torch.Tensor) -> tuple[str, Array]:
    """A tensor's number format and bytes."""
    return _DTYPE[tensor.dtype], tensor.contiguous().view(-1).view(torch.uint8).numpy()


def _raw(array: Array) -> tuple[str, Array]:
    return "f32", np.ascontiguousarray(array, np.float32).reshape(-1).view(np.uint8)


# ---- proof ---------------------------------------------------------------------------------------------------------------


def _proof(builder: Any, layers: list[Layer], axes: list[tuple[Axis, Axis]]) -> str:
    """Holds weights · values of the finished layers to what the kernel returned, on some rows of each."""
    worst, n_proved, doors, dropped = 0.0, 0, set(), False
    for number, (layer, (queries, _)) in enumerate(zip(layers, axes)):
        track = layer.place.track
        dropped |= track.dropout
        if layer.outputs is None or layer.values is None or track.dropout:
            continue
        pick = np.unique(np.linspace(0, len(layer.rows) - 1, min(MAX_PROVED, len(layer.rows))).round().astype(np.int64))
        rows = layer.rows[pick]
        mine = torch.tensor(np.asarray(builder.contexts(number, rows.tolist(), _bytes(layer.values), layer.values.shape[3])))  # [batch, rows, heads, d_value]
        theirs = layer.outputs[:, torch.as_tensor(pick)].float()
        if track.project is not None:
            mine, theirs = track.project(mine.flatten(2)), theirs.flatten(2)
        means = torch.from_numpy(~queries.padding[:, rows] & ~np.broadcast_to(layer.seen.sees_none(), queries.padding.shape)[:, rows])
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


def _listed(names: list[str]) -> str:
    """`encoder layer 0, encoder layer 1 and 4 more are`."""
    shown = names[:2] + ([f"{len(names) - 2} more"] if len(names) > 2 else [])
    return (", ".join(shown[:-1]) + " and " if len(shown) > 1 else "") + shown[-1] + (" are" if len(names) > 1 else " is")
