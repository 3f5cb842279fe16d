"""Doors 2 to 4: PyTorch's functions, seen where they are called: multi-head attention, dot-product attention, softmax."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from ...errors import CaptureError
from ..call import Given
from ..recorder import Recorder, current, is_cross
from .multihead import record_multihead
from .layout import HEADS_FIRST, UNTOLD, are_heads_first, is_elsewhere, n_heads_in, other_readings, take
from .softmax import SOFTMAX, softmax

_SDPA = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")


class Doors(TorchFunctionMode):
    """Sees every function of PyTorch that this thread calls; takes those that are attention, while its recorder is the one that
    records: of captures inside of each other the innermost."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if current() is not self._recorder:
            return func(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return _dot_product(func, args, kwargs)
        if func is F.multi_head_attention_forward:
            recorder = _recording()
            if recorder is not None:
                return record_multihead(recorder, func, args, kwargs)
        result = func(*args, **kwargs)
        recorder = _recording()
        if recorder is not None:
            if func in SOFTMAX:
                told = dict(zip(("input", "dim"), args)) | kwargs
                softmax(recorder, told.get("input"), result, told.get("dim"))
            elif recorder.followed.cares(func):
                recorder.followed.follow(func, args, kwargs, result, recorder.running[1])
            if recorder.orders.cares:
                recorder.orders.follow(args, kwargs, result)
        return result


def _recording() -> Recorder | None:
    """The recorder of this thread, unless a door has taken the call that we are in."""
    recorder = current()
    return recorder if recorder is not None and recorder.listens else None


def _dot_product(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    recorder = current()
    told = dict(zip(_SDPA, args)) | kwargs
    if recorder is not None and recorder.pending is not None:  # inside of door 1: how the kernel is asked
        scale = told.get("scale")
        recorder.pending.update(
            causal=told.get("is_causal", False), n_keys=told["key"].shape[-2], mask=told.get("attn_mask")
        )
        if scale is not None:
            recorder.pending["scale"] = scale
    result = func(*args, **kwargs)
    if recorder is None or not recorder.listens:
        return result
    with torch.no_grad():
        given = _given(recorder, told)
        n_batch, n_heads, n_queries = given.queries.shape[:3]
        track = take(recorder, given, result.detach().reshape(n_batch, n_heads, *result.shape[-2:]).transpose(1, 2))
        is_joined = told["query"].dim() == 3
        others = other_readings(recorder, (n_batch, n_heads, n_queries, given.keys.shape[2]), is_joined=is_joined)
        doubt = None if track is None else recorder.orders.doubt(track, (n_batch, n_heads, n_queries), others, is_joined=is_joined)
        if doubt is not None:
            doubt.begin(result, result)
    return result


def _given(recorder: Recorder, told: dict[str, Any]) -> Given:
    """The call, from the arguments of ``scaled_dot_product_attention``."""
    name, module, run = recorder.innermost
    queries, keys, values = _four(recorder, name, *(told[side] for side in ("query", "key", "value")))
    n_batch = max(x.shape[0] for x in (queries, keys, values))
    n_kv_heads = max(keys.shape[1], values.shape[1])
    n_heads = queries.shape[1] if queries.shape[1] > 1 else n_kv_heads
    scale, mask = told.get("scale"), told.get("attn_mask")
    if mask is not None and hasattr(mask, "_materialize"):  # torch.nn.attention.bias, which has no numbers
        mask = mask._materialize(queries.device)
    if mask is not None and mask.dim() == 3 and told["query"].dim() == 3:
        mask = mask[None] if n_batch == 1 or mask.shape[0] == 1 else mask.reshape(n_batch, -1, *mask.shape[1:])
    return Given(
        door="scaled_dot_product_attention",
        name=name,
        module=module,
        queries=queries.expand(n_batch, n_heads, -1, -1),
        keys=keys.expand(n_batch, n_kv_heads, -1, -1),
        values=values.expand(n_batch, n_kv_heads, -1, -1),
        mask=mask,
        scale=float(queries.shape[-1] ** -0.5 if scale is None else scale),
        causal=bool(told.get("is_causal")),
        cross=is_cross(name, module) or is_elsewhere(recorder, n_batch, queries.shape[2], keys.shape[2]),
        dropout=bool(told.get("dropout_p")),
        invocation=run,
    )


def _four(recorder: Recorder, name: str, *three: torch.Tensor) -> list[torch.Tensor]:
    """Queries, keys and values as `[batch, heads, tokens, width]`: of three axes the first is heads, or texts and heads together.

    Raises:
        CaptureError: where it cannot be told which rows are texts and which are heads.
    """
    if all(tensor.dim() == 4 for tensor in three):
        if are_heads_first(recorder, three[0].shape):
            raise CaptureError(f"{name or 'the model'} calls scaled_dot_product_attention with queries " + HEADS_FIRST.format(list(three[0].shape)))
        return list(three)
    axes = sorted({tensor.dim() for tensor in three})
    if axes != [3]:
        raise CaptureError(
            f"{name or 'the model'} calls scaled_dot_product_attention with {axes[0]} axes; [batch, heads, tokens, width] "
            "or three of them were expected"
        )
    n_rows, n_queries = three[0].shape[:2]
    n_heads = n_heads_in(recorder, n_rows, n_queries)
    if n_heads is None:
        raise CaptureError(f"{name or 'the model'} calls scaled_dot_product_attention with three axes, whose " + UNTOLD.format(n_rows))
    return [tensor.reshape(n_rows // n_heads if len(tensor) > 1 else 1, -1, *tensor.shape[1:]) for tensor in three]
