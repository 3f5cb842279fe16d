"""Doors 2 to 4: PyTorch's functions, seen where they are called: multi-head attention, dot-product attention, softmax."""

from __future__ import annotations

import re
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from ...errors import CaptureError
from ..call import Given, kept
from ..recorder import Recorder, active, is_cross
from .multihead import record_multihead

_SOFTMAX = {F.softmax, torch.softmax, torch.Tensor.softmax}
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_SDPA = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")


class Doors(TorchFunctionMode):
    """Sees every function of PyTorch that this thread calls; takes those that are attention."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return _dot_product(func, args, kwargs)
        if func is F.multi_head_attention_forward:
            recorder = _recording()
            if recorder is not None:
                return record_multihead(recorder, func, args, kwargs)
        result = func(*args, **kwargs)
        if func in _SOFTMAX:
            recorder = _recording()
            if recorder is not None:
                _softmax(recorder, result)
        return result


def _recording() -> Recorder | None:
    """The recorder of this thread, unless a door has taken the call that we are in."""
    recorder = active.get()
    return recorder if recorder is not None and recorder.is_on and not recorder.inside else None


def _dot_product(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    recorder = active.get()
    told = dict(zip(_SDPA, args)) | kwargs
    if recorder is not None and recorder.pending is not None:  # inside of door 1: how the kernel is asked
        scale = told.get("scale")
        recorder.pending.update(
            causal=told.get("is_causal", False), n_keys=told["key"].shape[-2], mask=told.get("attn_mask")
        )
        if scale is not None:
            recorder.pending["scale"] = scale
    result = func(*args, **kwargs)
    if recorder is None or not recorder.is_on or recorder.inside:
        return result
    name, module, run = recorder.innermost
    queries, keys, values = (told[side] for side in ("query", "key", "value"))
    n_heads = getattr(module, "num_heads", getattr(module, "n_head", None))
    queries, keys, values, output = (_four(tensor, name, n_heads) for tensor in (queries, keys, values, result))
    n_batch = queries.shape[0]
    scale = told.get("scale")
    mask = told.get("attn_mask")
    if mask is not None and mask.dim() == 3 and result.dim() == 3:
        mask = mask[None] if queries.shape[0] == 1 else mask.unflatten(0, (queries.shape[0], -1))
    given = Given(
        door="scaled_dot_product_attention",
        name=name,
        module=module,
        queries=queries,
        keys=keys.expand(n_batch, -1, -1, -1),
        values=values.expand(n_batch, keys.shape[1], -1, -1),
        mask=mask,
        scale=float(queries.shape[-1] ** -0.5 if scale is None else scale),
        causal=bool(told.get("is_causal")),
        cross=is_cross(name, module) or _is_elsewhere(recorder, queries, keys),
        dropout=bool(told.get("dropout_p")),
        invocation=run,
    )
    track, step = recorder.take(given)
    track.out_dtype = output.dtype
    step.outputs = kept(output[:, :, torch.as_tensor(step.rows, device=output.device)].transpose(1, 2))
    return result


def _is_elsewhere(recorder: Recorder, queries: torch.Tensor, keys: torch.Tensor) -> bool:
    """Whether the keys are another sequence's: more or fewer, and no cache of a run."""
    return queries.shape[2] != keys.shape[2] and not recorder.is_running


def _four(tensor: torch.Tensor, name: str, n_heads: Any) -> torch.Tensor:
    """The tensor as `[batch, heads, tokens, width]`: of three axes the first is heads, or texts and heads together."""
    if tensor.dim() == 4:
        return tensor
    if tensor.dim() != 3:
        raise CaptureError(
            f"{name or 'the model'} calls scaled_dot_product_attention with {tensor.dim()} axes; [batch, heads, tokens, width] "
            "or three of them were expected"
        )
    if isinstance(n_heads, int) and n_heads > 0 and tensor.shape[0] % n_heads == 0:
        return tensor.unflatten(0, (-1, n_heads))
    return tensor[:, None]


def _softmax(recorder: Recorder, weights: torch.Tensor) -> None:
    name, module, run = recorder.innermost
    if (
        weights.dim() not in (3, 4)
        or not weights.is_floating_point()
        or weights.shape[-1] < 2
        and not recorder.is_running
    ):
        return
    if module is None or not _ATTENTION.search(name.rpartition(".")[2] + " " + type(module).__name__):
        return
    if weights.dim() == 3:
        n_heads = next(
            (getattr(module, n) for n in ("num_heads", "num_attention_heads", "n_head") if hasattr(module, n)), 1
        )
        if weights.shape[0] % n_heads:
            return
        weights = weights.unflatten(0, (-1, n_heads))
    recorder.take_weights(weights, name, module, run)
