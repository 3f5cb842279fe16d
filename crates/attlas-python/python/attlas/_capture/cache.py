"""Activations that another library kept, read as a recording: queries and keys where they are there, else patterns."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._attlas import Builder, __version__
from ..errors import CaptureError, FormatError
from ..recordings import Recording

Array = np.ndarray[Any, Any]

_NAME = re.compile(
    r"^(?P<stack>blocks|encoder|decoder|encoder_blocks|decoder_blocks)\.(?P<layer>\d+)\.(?P<part>attn|self_attn|cross_attn)"
    r"\.hook_(?P<what>rot_q|rot_k|q|k|pattern)$"
)
_NUMBER = re.compile(r"(?:^|\.)(\d+)(?:\.|$)")
_SIXTEEN = {"torch.float16": "f16", "torch.bfloat16": "bf16"}


@dataclasses.dataclass
class _Layer:
    """What a cache has of one layer."""

    queries: Any = None  # [batch, queries, heads, d_head]
    keys: Any = None  # [batch, keys, kv_heads, d_head]
    pattern: Any = None  # [batch, heads, queries, keys]
    names: dict[str, Any] = dataclasses.field(default_factory=dict)  # what each of them is called in the cache


@dataclasses.dataclass
class _Rule:
    """How the model makes scores of queries and keys."""

    scale: float | None
    softcap: float | None = None
    causal: bool = True
    rotary: bool = False  # queries and keys are multiplied after a rotation
    other: str = ""  # what the model does to its scores that queries and keys do not tell
    is_told: bool = False  # whether a model, or who called, said all of this


def from_cache(
    cache: Any, tokens: Sequence[Any] | None, *, model: Any, scale: float | None, kind: str | None, name: str | None
) -> Recording:
    """`attlas.from_cache`."""
    model = getattr(cache, "model", None) if model is None else model
    if kind is None and getattr(getattr(model, "cfg", None), "attention_dir", "causal") == "bidirectional":
        kind = "encoder"
    layers = _layers(getattr(cache, "cache_dict", cache), kind)
    rule = _rule(model, scale, kind)
    n_batch = {_batch(layer) for layer in layers.values()}
    if len(n_batch) != 1:
        raise CaptureError(f"the cache's arrays are of {sorted(n_batch)} texts; all were expected to be of one batch")
    (n_texts,) = n_batch
    added, notes = [], []
    for (of_kind, index), layer in sorted(
        layers.items(), key=lambda item: (("encoder", "decoder", "cross").index(item[0][0]), item[0][1])
    ):
        about, arrays, note = _told(of_kind, index, layer, rule)
        added.append((about, arrays))
        note = note or (_assumed(rule, about["scoring"], of_kind) if "scoring" in about and layer.pattern is None else "")
        notes += [note] if note and note not in notes else []
    items = _items([about for about, _ in added], n_texts, tokens)
    builder = Builder(json.dumps(items))
    for about, arrays in added:
        builder.add(json.dumps(about), arrays, None)
    config = getattr(model, "cfg", getattr(model, "config", None))
    forms = {held[0] for layer in layers.values() for held in (layer.queries, layer.pattern) if held is not None}
    provenance = {
        "model": name or getattr(config, "model_name", "") or getattr(config, "_name_or_path", "") or "",
        "dtype": next((form for form in ("bf16", "f16") if form in forms), ""),
        "method": "imported",
        "notes": notes,
        "writer": {"name": "attlas", "version": __version__},
    }
    recording = Recording(builder.finish(json.dumps(provenance)))
    for check in recording.checks():
        if not check.passed:
            raise FormatError(f"the cache's {check.kind} layer {check.layer} is no attention: {check.problem}")
    return recording


def _assumed(rule: _Rule, scoring: dict[str, Any], kind: str) -> str:
    """What was said by nobody and no pattern is there to hold it to, in words; empty where all was said."""
    if rule.is_told:
        return ""
    seen = "that no key after a query is seen" if scoring["visibility"] else "that all keys are seen"
    if rule.scale is None:
        return f"a scale was assumed: 1/√d_head = {scoring['scale']:.6g} of {kind} layers, and {seen}: give model= or scale=, or patterns beside"
    return f"a mask was assumed: {seen} in {kind} layers: give model= or kind=, or patterns beside"


def _layers(cache: Any, kind: str | None) -> dict[tuple[str, int], _Layer]:
    """What there is by layer: names of TransformerLens, or patterns by number, as nnsight's and nnterp's users keep them."""
    if isinstance(cache, (list, tuple)):
        cache = dict(enumerate(cache))
    if not isinstance(cache, Mapping):
        raise CaptureError(
            f"the cache is a {type(cache).__name__}; names (or numbers of layers) and arrays were expected"
        )
    found: dict[tuple[str, int], _Layer] = {}
    for name, value in cache.items():
        place = _place(name, kind)
        if place is None:
            continue
        of_kind, index, what = place
        layer, value = found.setdefault((of_kind, index), _Layer()), _array(value)
        side = {"q": "queries", "rot_q": "queries", "k": "keys", "rot_k": "keys"}.get(what, "pattern")
        if side == "pattern" and side in layer.names:
            raise CaptureError(
                f"{layer.names[side]} and {name} are both patterns of {of_kind} layer {index}: give one of them"
            )
        if side not in layer.names or what.startswith("rot_"):  # rotary positions belong to what is multiplied
            layer.names[side] = name
            setattr(layer, side, _four(name, value))
    if not found:
        shown = ", ".join(str(name) for name in list(cache)[:4])
        raise CaptureError(
            f"the cache has no attention (it has {shown or 'nothing'}): hook_q and hook_k, or hook_pattern, of blocks.0.attn and so on "
            "were expected, or patterns by the number of their layer"
        )
    return found


def _place(name: Any, kind: str | None) -> tuple[str, int, str] | None:
    if isinstance(name, int):
        return kind or "decoder", name, "pattern"
    if isinstance(name, tuple):  # ("pattern", 3), as TransformerLens abbreviates
        numbers = [part for part in name if isinstance(part, int)]
        words = [part for part in name if isinstance(part, str)]
        return (
            (kind or "decoder", numbers[0], words[0])
            if numbers and words and words[0] in ("q", "k", "rot_q", "rot_k", "pattern")
            else None
        )
    found = _NAME.match(str(name))
    if found:
        stack = kind or "decoder" if found["stack"] == "blocks" else found["stack"].removesuffix("_blocks")
        return "cross" if found["part"] == "cross_attn" else stack, int(found["layer"]), found["what"]
    number = _NUMBER.search(str(name))
    if number and re.search(
        r"(attention_probabilities|attn_probabilities|attention_pattern|attn_weights|pattern)s?(\.output)?$", str(name)
    ):
        return kind or "decoder", int(number[1]), "pattern"
    return None


def _array(value: Any) -> Any:
    value = (
        getattr(value, "value", value) if not hasattr(value, "shape") else value
    )  # what nnsight saved, in older versions
    return value


def _four(name: Any, value: Any) -> tuple[str, Array]:
    """Number format and numbers, of four axes; 16 bits stay."""
    form = _SIXTEEN.get(str(getattr(value, "dtype", "")), "f32")
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float().numpy()
    array = np.asarray(value, np.float32)
    array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or 0 in array.shape:
        raise CaptureError(f"{name} has the shape {list(array.shape)}; four axes were expected, none of them empty")
    return form, array


def _batch(layer: _Layer) -> int:
    held = layer.queries or layer.pattern or layer.keys
    return int(held[1].shape[0])


def _rule(model: Any, scale: float | None, kind: str | None) -> _Rule:
    config = getattr(model, "cfg", None)
    if config is None:
        return _Rule(scale, causal=kind != "encoder", is_told=scale is not None and kind is not None)
    is_causal = getattr(config, "attention_dir", "causal") == "causal" and kind != "encoder"
    rule = _Rule(scale, causal=is_causal, is_told=True)
    rule.scale = _scale(model, config) if scale is None else scale
    softcap = getattr(config, "attn_scores_soft_cap", -1)
    rule.softcap = float(softcap) if softcap and softcap > 0 else None
    positions = getattr(config, "positional_embedding_type", "")
    rule.rotary = positions == "rotary"
    if positions in ("alibi", "relative_positional_bias"):
        rule.other = f"adds {positions} to its scores"
    elif getattr(config, "use_local_attn", False) or _has_windows(getattr(model, "original_model", None)):
        rule.other = "sees a window of keys in some layers"
    elif rule.scale is None:
        rule.other = "does not say what it multiplies its scores by (scale= may)"
    return rule


def _scale(model: Any, config: Any) -> float | None:
    """The factor on the scores: of the configuration, or of the modules that TransformerLens 4 wraps."""
    if getattr(config, "scale_attn_by_inverse_layer_idx", False):
        return None  # another one in each layer
    if not getattr(config, "use_attn_scale", True):
        return 1.0
    divisor = getattr(config, "attn_scale", 0)
    if divisor and divisor > 0:
        return 1 / float(divisor)
    modules = model.original_model.modules() if hasattr(model, "original_model") else ()
    scales = {module.scaling for module in modules if isinstance(getattr(module, "scaling", None), float)}
    return scales.pop() if len(scales) == 1 else None


def _has_windows(original: Any) -> bool:
    """Whether the model that TransformerLens 4 wraps has layers that see a window of keys."""
    config = getattr(original, "config", None)
    of_layers = str(getattr(config, "layer_types", None) or getattr(config, "attention_types", None) or "")
    if of_layers:
        return any(form in of_layers for form in ("sliding", "chunked", "local"))
    return bool(getattr(config, "sliding_window", None)) and getattr(config, "use_sliding_window", True) is not False


def _told(kind: str, index: int, layer: _Layer, rule: _Rule) -> tuple[dict[str, Any], dict[str, Any], str]:
    """A layer as the format has it, its arrays, and what a reader must know."""
    about: dict[str, Any] = {
        "kind": kind,
        "index": index,
        "stack": None,
        "query_axis": None,
        "key_axis": None,
        "query_offset": 0,
    }
    where = f"{kind} layer {index}"
    reason = _missing(layer, rule)
    if reason:
        if layer.pattern is None:
            raise CaptureError(f"{where}: the cache has no pattern, and {reason}: keep hook_pattern, too")
        return _dense(about, layer.pattern[1])
    (q_form, queries), (k_form, keys) = layer.queries, layer.keys
    queries, keys = queries.transpose(0, 2, 1, 3), keys.transpose(0, 2, 1, 3)  # [batch, heads, tokens, d_head]
    n_heads, n_queries, d_head = queries.shape[1:]
    n_kv_heads, n_keys = keys.shape[1:3]
    if keys.shape[0] != queries.shape[0] or keys.shape[3] != d_head or n_heads % n_kv_heads:
        raise CaptureError(
            f"{where}: queries are {list(queries.shape)} and keys {list(keys.shape)}, [batch, heads, tokens, d_head]; they do not fit"
        )
    if not np.isfinite(queries).all() or not np.isfinite(keys).all():
        raise CaptureError(f"{where}: its queries or keys hold numbers that are not finite")
    scale = rule.scale if rule.scale is not None else d_head**-0.5
    causal = rule.causal and kind == "decoder"
    offset = max(n_keys - n_queries, 0) if kind == "decoder" else 0
    if (
        layer.pattern is not None
        and _difference(queries, keys, layer.pattern[1], scale, rule.softcap, offset if causal else None) > 5e-3
    ):
        about, arrays, _ = _dense(about, layer.pattern[1])
        return (
            about,
            arrays,
            "patterns are taken, dense: queries and keys alone do not give them (a mask, a window or a bias is at work)",
        )
    about["shape"] = {
        "n_heads": n_heads,
        "n_kv_heads": n_kv_heads,
        "n_queries": n_queries,
        "n_keys": n_keys,
        "d_head": d_head,
        "d_value": 0,
    }
    about["query_offset"] = offset
    about["scoring"] = {"scale": scale, "query_offset": offset, "visibility": {"after": 0} if causal else {}}
    if rule.softcap is not None:
        about["scoring"]["softcap"] = rule.softcap
    return about, {"queries": _packed(q_form, queries), "keys": _packed(k_form, keys)}, ""


def _missing(layer: _Layer, rule: _Rule) -> str:
    """Why queries and keys cannot say the weights; empty where they can."""
    if layer.queries is None or layer.keys is None:
        return "only one of queries and keys is there"
    rotated = all("rot_" in str(layer.names[side]) for side in ("queries", "keys"))
    if rule.rotary and not rotated:
        return "the model rotates queries and keys, and they are those before it, without hook_rot_q and hook_rot_k"
    return f"the model {rule.other}" if rule.other else ""


def _dense(about: dict[str, Any], pattern: Array) -> tuple[dict[str, Any], dict[str, Any], str]:
    n_heads, n_queries, n_keys = pattern.shape[1:]
    about["shape"] = {
        "n_heads": n_heads,
        "n_kv_heads": n_heads,
        "n_queries": n_queries,
        "n_keys": n_keys,
        "d_head": 0,
        "d_value": 0,
    }
    about["query_offset"] = max(n_keys - n_queries, 0) if about["kind"] == "decoder" else 0
    return about, {"weights": _packed("f32", pattern)}, ""


def _difference(
    queries: Array, keys: Array, pattern: Array, scale: float, softcap: float | None, offset: int | None
) -> float:
    """The largest difference between the pattern and what queries and keys give, on some rows of each head."""
    n_queries, n_keys = pattern.shape[2:]
    if pattern.shape[:2] != queries.shape[:2] or (n_queries, n_keys) != (queries.shape[2], keys.shape[2]):
        return np.inf
    rows = np.unique(np.linspace(0, n_queries - 1, 16).round().astype(int))
    wide = np.repeat(keys.astype(np.float64), queries.shape[1] // keys.shape[1], 1)
    scores = scale * (queries[:, :, rows].astype(np.float64) @ wide.swapaxes(2, 3))
    scores = scores if softcap is None else softcap * np.tanh(scores / softcap)
    if offset is not None:
        scores[:, :, np.arange(n_keys) > rows[:, None] + offset] = -np.inf
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return float(np.abs(powers / powers.sum(-1, keepdims=True) - pattern[:, :, rows]).max())


def _packed(form: str, array: Array) -> tuple[str, Array]:
    """Bytes in the number format; what was widened to be handled fits its 16 bits again."""
    array = np.ascontiguousarray(array, np.float32)
    if form == "f16":
        array = array.astype(np.float16)
    if form == "bf16":
        array = (array.view(np.uint32) >> 16).astype(np.uint16)
    return form, array.reshape(-1).view(np.uint8)


def _items(abouts: list[dict[str, Any]], n_texts: int, tokens: Sequence[Any] | None) -> list[dict[str, Any]]:
    sizes: dict[str, int] = {}
    for about in abouts:
        sides = {"encoder": ("source", "source"), "decoder": ("target", "target"), "cross": ("target", "source")}[
            about["kind"]
        ]
        for side, size in zip(sides, (about["shape"]["n_queries"], about["shape"]["n_keys"])):
            sizes[side] = max(sizes.get(side, 0), size)
    for about in abouts:
        if about["kind"] != "cross" and about["shape"]["n_queries"] != about["shape"]["n_keys"]:
            about["query_axis"] = "queries"
            sizes["queries"] = about["shape"]["n_queries"]
    given = (
        None if tokens is None else [list(tokens)] if isinstance(tokens[0], str) else [list(text) for text in tokens]
    )
    items: list[dict[str, Any]] = []
    for text in range(n_texts):
        item: dict[str, Any] = {}
        for side, size in sizes.items():
            labels = [str(at) for at in range(size)]
            if given is not None and side != "queries" and (len(sizes) == 1 or side == "source"):
                labels = _labels(given, text, n_texts, size)
            told = {"tokens": [{"text": label, "word": at} for at, label in enumerate(labels)]}
            if side == "queries":
                item.setdefault("axes", {})[side] = told
            else:
                item[side] = told
        items.append(item)
    return items


def _labels(given: list[list[Any]], text: int, n_texts: int, size: int) -> list[str]:
    if len(given) != n_texts:
        raise CaptureError(f"tokens of {len(given)} texts were given, but the cache has {n_texts}")
    if len(given[text]) != size:
        raise CaptureError(
            f"text {text} has {len(given[text])} tokens as given, but the cache has {size}; was a first token (BOS) left out?"
        )
    return [str(token) for token in given[text]]
