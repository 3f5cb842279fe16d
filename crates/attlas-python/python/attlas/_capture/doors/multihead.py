"""Door 2: PyTorch's multi-head attention, whose queries and keys are made inside of it: made once more, beside it."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import torch.nn.functional as F

from ..call import Given
from ..recorder import Recorder, is_cross
from .layout import is_same

_PARAMETERS = tuple(inspect.signature(F.multi_head_attention_forward).parameters)


def record_multihead(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Calls ``F.multi_head_attention_forward`` and records it; the arguments are its own."""
    told = dict(zip(_PARAMETERS, args)) | kwargs
    recorder.inside += 1
    try:
        result = func(*args, **kwargs)
    finally:
        recorder.inside -= 1
    with torch.no_grad():
        given = _given(recorder, told)
        output = result[0].detach() if told["query"].dim() == 3 else result[0].detach()[:, None]  # [queries, batch, width]
        recorder.take(given, output.transpose(0, 1))
    return result


def _given(recorder: Recorder, told: dict[str, Any]) -> Given:
    name, module, run = recorder.innermost
    query, key, value = (told[side] for side in ("query", "key", "value"))
    is_other = not is_same(query, key) and (query.shape != key.shape or is_same(key, value))
    sides = [told[side] if told[side].dim() == 3 else told[side][:, None] for side in ("query", "key", "value")]
    n_heads = told["num_heads"]
    (queries, keys, values), extra = _projected(told, sides)
    queries, keys, values = (x.reshape(*x.shape[:2], n_heads, -1).permute(1, 2, 0, 3) for x in (queries, keys, values))
    weight, bias = told["out_proj_weight"].detach(), told["out_proj_bias"]
    bias = None if bias is None else bias.detach()
    return Given(
        door="nn.MultiheadAttention",
        name=name,
        module=module,
        queries=queries,  # [batch, heads, queries, d_head]
        keys=keys,
        values=values,
        mask=_mask(told, queries, keys, len(extra)),
        scale=float(queries.shape[-1] ** -0.5),
        cross=is_cross(name, module) or is_other and "self" not in name.rpartition(".")[2],
        dropout=bool(told.get("training", True)) and told["dropout_p"] > 0,
        invocation=run,
        extra_keys=extra,
        own_mask=True,
        project=lambda heads: F.linear(
            heads, weight.cpu().to(heads.dtype), None if bias is None else bias.cpu().to(heads.dtype)
        ),
    )


def _projected(told: dict[str, Any], sides: list[torch.Tensor]) -> tuple[list[torch.Tensor], tuple[str, ...]]:
    """Queries, keys and values `[tokens, batch, width]`, and the names of the keys behind those of the tokens."""
    weights: list[Any] = [told.get(f"{side}_proj_weight") for side in "qkv"]
    if not told.get("use_separate_proj_weight"):
        weights = list(told["in_proj_weight"].chunk(3))
    bias = told.get("in_proj_bias")
    biases: list[Any] = [None] * 3 if bias is None else list(bias.chunk(3))
    made = [F.linear(x, w, b) for x, w, b in zip(sides, weights, biases)]
    n_batch = made[0].shape[1]
    extra: tuple[str, ...] = ()
    if told.get("bias_k") is not None:
        made[1:] = [torch.cat([x, told[b].expand(1, n_batch, -1)]) for x, b in zip(made[1:], ("bias_k", "bias_v"))]
        extra += ("bias_k",)
    if told.get("add_zero_attn"):
        made[1:] = [torch.cat([x, x.new_zeros(1, *x.shape[1:])]) for x in made[1:]]
        extra += ("zero",)
    return made, extra


def _mask(told: dict[str, Any], queries: torch.Tensor, keys: torch.Tensor, n_extra: int) -> torch.Tensor | None:
    """The two masks as one that is added, `[batch or 1, heads or 1, queries, keys]`; extra keys are always seen."""
    n_batch, n_heads, n_queries = queries.shape[:3]
    mask = None
    for name in ("attn_mask", "key_padding_mask"):
        one = told.get(name)
        if one is None:
            continue
        if one.dtype == torch.bool:
            one = torch.zeros(one.shape, dtype=queries.dtype, device=one.device).masked_fill(one, -torch.inf)
        if name == "key_padding_mask":
            one = one.reshape(n_batch, 1, 1, -1)
        else:
            one = one.reshape(n_batch, n_heads, n_queries, -1) if one.dim() == 3 else one[None, None]
        one = F.pad(one, (0, n_extra))
        mask = one if mask is None else mask + one
    return mask
