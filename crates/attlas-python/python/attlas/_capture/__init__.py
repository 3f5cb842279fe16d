"""Capture: what a model's attention did, on the kernel that it runs with. PyTorch is imported when it is used.

(The package is called `_capture` because `attlas.capture` is the function.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..recordings import Recording
    from .session import Recorded

__all__ = ["capture", "recording", "from_cache"]


def capture(
    model: Any,
    inputs: Any,
    *,
    tokenizer: Any = None,
    generate: Mapping[str, Any] | bool | None = None,
    target: Any = None,
    tokens: Sequence[Any] | None = None,
    target_tokens: Sequence[Any] | None = None,
    kinds: Iterable[str] | None = None,
    values: bool = False,
    max_dense_bytes: int = 1 << 30,
    name: str | None = None,
) -> Recording:
    """Runs a PyTorch model and records every head of every layer, on the kernel that the model runs with.

    The model runs in evaluation mode and without gradients, and is as before afterwards, also after an error. Nothing of
    the size queries × keys is made, unless a layer can only be said so (`Recording.provenance.notes` tells which).
    The recording is held to what the kernel returned: weights · values of sampled rows must be it.

    Args:
        model: a `transformers` model, or any `torch.nn.Module` that calls `nn.MultiheadAttention`,
            `F.scaled_dot_product_attention` or a softmax inside a module called attention.
        inputs: a text or several (with `tokenizer`); ids, as a tensor; what `model(**inputs)` takes; a tuple for
            `model(*inputs)`.
        tokenizer: turns texts into ids, and ids into the labels of tokens.
        generate: arguments of `model.generate`, or `True`: the prompt and what is generated become one map per head.
            Beams are followed, sampled texts are those that were drawn.
        target: what the decoder of an encoder-decoder reads, or what goes on after the text of a decoder: a text or
            several (with `tokenizer`), or ids.
        tokens, target_tokens: labels for the axes, in place of the tokenizer's: of one text, or a list for each.
        kinds: only these kinds: `encoder`, `decoder`, `cross`; one, or several in a list.
        values: keep the value vectors, too, as the trace `values`.
        max_dense_bytes: how large layers may be that can only be recorded dense, together.
        name: what the recording calls the model; its own name otherwise.

    Raises:
        CaptureError: when no attention was seen, or it cannot be told; the message says what to do.
        LimitError: when layers that can only be dense are larger than `max_dense_bytes`.
    """
    from .session import capture_once

    return capture_once(
        model,
        inputs,
        tokenizer=tokenizer,
        generate=generate,
        target=target,
        tokens=tokens,
        target_tokens=target_tokens,
        kinds=_kinds(kinds),
        values=values,
        max_dense_bytes=_most(max_dense_bytes),
        name=name,
    )


def recording(
    model: Any,
    *,
    tokenizer: Any = None,
    every: int = 1,
    kinds: Iterable[str] | None = None,
    values: bool = False,
    max_dense_bytes: int = 1 << 30,
    name: str | None = None,
) -> Recorded:
    """Records every forward of `model` inside a `with`, as the model is: training goes on, gradients flow.

        with attlas.recording(model, every=100) as run:
            for batch in batches:
                loss = model(**batch).loss
                ...
        run.recordings          # one for each hundredth forward, oldest first

    A call of `model.generate` is one recording. A model in training mode is recorded as one: its provenance has the mode
    `train`, and its notes say that dropout was on. The arguments are those of `capture`; `every` is how many forwards
    there are to each that is recorded.

    Raises `attlas.CaptureError`, with what helps, when the `with` ends and the model did not run, and where a forward cannot
    be recorded as `capture` could not; nothing stays changed.
    """
    from .session import Recorded

    return Recorded(
        model,
        tokenizer=tokenizer,
        every=every,
        kinds=_kinds(kinds),
        values=values,
        max_dense_bytes=_most(max_dense_bytes),
        name=name,
    )


def from_cache(
    cache: Any,
    tokens: Sequence[Any] | None = None,
    *,
    model: Any = None,
    scale: float | None = None,
    kind: str | None = None,
    name: str | None = None,
) -> Recording:
    """A recording of activations that another library kept: TransformerLens' `ActivationCache`, tensors that nnsight or
    nnterp saved, or a dict with their names.

    Queries and keys are taken where they are there (`blocks.3.attn.hook_q`, `hook_rot_q` before it), with the scale of
    `model` or `scale`; `hook_pattern` (`attn_probabilities` of nnterp), dense, where they are not. Queries and keys say
    nothing of a mask, a soft cap or a bias: where the cache has patterns besides, they are held to them, and the patterns
    are taken where they differ.

    Args:
        cache: names to arrays. `[batch, tokens, heads, d_head]` of queries and keys, `[batch, heads, queries, keys]` of
            patterns, as TransformerLens has them; without the axis `batch` for one text.
        tokens: labels of the tokens, of one text or a list for each; their numbers otherwise.
        model: the model, for its scale, mask and name (`cache.model` where the cache has it).
        scale: factor on the dot product; of TransformerLens, whose `attn_scale` is what scores are divided by, `1 / cfg.attn_scale`.
            Where neither is given and no patterns are there, `1/√d_head` and, of a decoder, that no later key is seen are assumed,
            and the recording's notes and its line say so.
        kind: `decoder` (the default) or `encoder`.
        name: what the recording calls the model.

    Raises `attlas.CaptureError` when the cache has no attention, or arrays that do not fit each other, and
    `attlas.FormatError` when patterns are no attention weights.
    """
    from .cache import from_cache as read

    return read(cache, tokens, model=model, scale=scale, kind=kind, name=name)


def _most(max_dense_bytes: Any) -> int:
    from .._indexing import number_from

    return number_from(max_dense_bytes, 0, 2**63 - 1, "max_dense_bytes")


def _kinds(kinds: Iterable[str] | None) -> tuple[str, ...] | None:
    """Kinds of attention as they are named, one or several; none where all are meant."""
    if kinds is None:
        return None
    from .._indexing import KINDS
    from ..errors import CaptureError

    named = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    if not named or any(kind not in KINDS for kind in named):
        raise CaptureError(f"kinds is {kinds!r}; some of {', '.join(KINDS)} were expected, as in kinds=['decoder']")
    return named
