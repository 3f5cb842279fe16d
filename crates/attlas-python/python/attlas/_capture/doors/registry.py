"""Door 1: attention functions of transformers, wrapped under their own names while someone captures.

The names stay, so masks, caches and kernels are the model's own. What the kernel is told in the end (is it causal, which
scale, how many keys) is read where PyTorch's function is called, not guessed from the version of transformers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from ...errors import CaptureError
from ..call import LEAST, Given
from ..recorder import Recorder, current, is_cross
from .layout import all_tokens, is_elsewhere, take

Attention = Callable[..., Any]


def wrap(kernel: str, original: Attention) -> Attention:
    """The function that stands in the place of `original` and records what it is given, where someone records."""
    parameters = [
        parameter.name
        for parameter in inspect.signature(original).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]

    def attention(
        module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        recorder = current()
        name = recorder.name_of(module) if recorder is not None and recorder.listens else None
        if recorder is None or name is None:
            return original(module, query, key, value, *args, **kwargs)
        told = dict(zip(parameters[4:], args)) | kwargs
        return _record(recorder, kernel, original, name, (module, query, key, value), told, args, kwargs)

    return attention


def _record(
    recorder: Recorder,
    kernel: str,
    original: Attention,
    name: str,
    four: tuple[Any, ...],
    told: dict[str, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    module, query, key, value = four
    asked: dict[str, Any] = {}
    recorder.inside += 1
    outer, recorder.pending = recorder.pending, asked
    try:
        result = original(module, query, key, value, *args, **kwargs)
    finally:
        recorder.inside -= 1
        recorder.pending = outer
    with torch.no_grad():
        given = _given(recorder, kernel, name, four, told, asked)
        n_batch, n_heads, n_queries = given.queries.shape[:3]
        take(recorder, given, result[0].detach().reshape(n_batch, n_queries, n_heads, -1))
    return result


def _given(
    recorder: Recorder, kernel: str, name: str, four: tuple[Any, ...], told: dict[str, Any], asked: dict[str, Any]
) -> Given:
    """The call, from what transformers tells its function and what that asks of PyTorch's."""
    module, query, key, value = four
    scale = asked.get("scale", told.get("scaling"))
    sinks = told.get("s_aux")
    if sinks is None:
        sinks = getattr(module, "sinks", None)
    n_keys = asked.get("n_keys", key.shape[2])
    mask, bias = told.get("attention_mask"), told.get("position_bias")
    own_mask = bias is not None and mask is None and asked.get("mask") is not None
    if own_mask:  # the kernel's mask holds the bias, and what is hidden: the same in all heads
        mask = asked["mask"][:, :1] > LEAST
    return Given(
        door=f"{kernel} in transformers",
        name=name,
        module=module,
        queries=query.expand(max(query.shape[0], key.shape[0]), *query.shape[1:]),
        keys=key[:, :, :n_keys],
        values=value[:, :, :n_keys],
        mask=mask,
        scale=float(query.shape[-1] ** -0.5 if scale is None else scale),
        causal=bool(asked.get("causal", False)),
        softcap=None if told.get("softcap") is None or kernel != "eager" else float(told["softcap"]),
        sinks=sinks if kernel == "eager" and isinstance(sinks, torch.Tensor) else None,
        bias=bias,
        cross=is_cross(name, module) or is_elsewhere(recorder, query.shape[0], query.shape[2], n_keys),
        dropout=bool(told.get("dropout")),
        invocation=next((run for running, run, _ in reversed(recorder.stack) if running is module), 0),
        own_mask=own_mask,
        most_tokens=max(all_tokens(recorder), default=0),
    )


def refuse_kernels(modules: list[torch.nn.Module]) -> None:
    """Refuses kernels that keep what they are asked to themselves.

    Raises:
        CaptureError: for flash and flex attention; it says which setting helps.
    """
    for module in modules:
        name = getattr(getattr(module, "config", None), "_attn_implementation", None)
        if isinstance(name, str) and (name.startswith(("flash", "paged", "kernels")) or name == "flex_attention"):
            raise CaptureError(
                f"the model runs attention with {name!r}, whose calls cannot be read: call "
                "model.set_attn_implementation('sdpa') first, or load it with attn_implementation='sdpa'"
            )
