"""The tokens along the axes of a run: ids, texts, where they stand, which are padding; from what the model was given."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import numpy as np
import torch

from ..errors import CaptureError

Array = np.ndarray[Any, Any]


@dataclasses.dataclass
class Given:
    """What is known of a run's tokens."""

    ids: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)  # integer arguments of two axes, by name
    masks: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)  # 1 where a token is none of the padding
    images: tuple[int, ...] | None = None  # height and width of pixel_values
    n_images: int = 0  # how many texts there are, where each is an image
    sequences: torch.Tensor | None = None  # what was generated, the prompt included where the model reads it
    n_prompt: int | None = None
    ends: list[int] | None = None  # of what was generated: how many tokens a text has, the last that ends it included
    texts: list[str] | None = None
    offsets: list[list[tuple[int, int]]] | None = None
    words: list[list[int | None]] | None = None
    labels: dict[str, list[list[str]]] = dataclasses.field(default_factory=dict)  # of source, target: given by hand

    def take(self, model: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Takes what tells of tokens from the arguments of the model's forward."""
        try:
            told = dict(inspect.signature(model.forward).bind_partial(*args, **kwargs).arguments)
        except TypeError:
            told = dict(kwargs)
        told |= {
            key: value
            for value in told.values()
            if isinstance(value, dict)
            for key, value in value.items()
            if isinstance(key, str)
        }
        for name, value in told.items():
            if not isinstance(value, torch.Tensor) or value.device.type == "meta":
                continue
            if name.endswith("attention_mask") and value.dim() == 2:
                self.masks.setdefault(name, value.detach().cpu())
            elif name in ("pixel_values", "images") and value.dim() >= 4:
                self.images = tuple(value.shape[-2:])
                self.n_images = int(value.shape[0]) if value.dim() == 4 and not self.ids else 0
            elif (
                value.dim() in (1, 2) and not value.is_floating_point() and value.dtype != torch.bool and _is_text(name)
            ):
                self.n_images = 0
                self.ids.setdefault(name, value.detach().cpu() if value.dim() == 2 else value.detach().cpu()[None])


def _is_text(name: str) -> bool:
    return not any(
        part in name for part in ("mask", "position", "type_ids", "labels", "grid", "cache", "length", "pad")
    )


@dataclasses.dataclass
class Axis:
    """One axis of the batch: the ids, where there are any, and which are padding."""

    size: int
    ids: Array | None  # [batch, size]
    padding: Array  # bool [batch, size]


def axis(given: Given, side: str, size: int, n_texts: int, unseen: Array, *, is_main: bool) -> Axis:
    """The tokens of `side`, `source` or `target`, of which there are `size`; `unseen` are keys that no query sees.

    `is_main`: whether the model reads one text only, which then is this side.
    """
    ids, mask = _ids(given, side, size, n_texts, is_main), _mask(given, side, size, n_texts, is_main)
    padding = unseen.copy() if mask is None else np.zeros((n_texts, size), bool)
    if mask is not None:
        padding[:, : mask.shape[1]] = mask == 0
    if given.ends is not None and (side == "target" or is_main):
        padding |= np.arange(size) >= np.asarray(given.ends)[:, None]
    return Axis(size, ids, padding)


def _ids(given: Given, side: str, size: int, n_texts: int, is_main: bool) -> Array | None:
    if given.sequences is not None and (side == "target" or is_main):
        kept = given.sequences[:, :size].numpy()
        return kept if kept.shape == (n_texts, size) else None
    names = ["decoder_input_ids", "target_ids", "tgt"] if side == "target" and not is_main else ["input_ids", "src"]
    fitting = {name: ids for name, ids in given.ids.items() if ids.shape[1] == size and n_texts % ids.shape[0] == 0}
    others = list(fitting)
    if side == "target" and not is_main:
        others = [name for name in reversed(others) if name not in ("input_ids", "src")]
    elif not is_main:
        others = [name for name in others if name not in ("decoder_input_ids", "tgt")]
    chosen = next((name for name in [*names, *others] if name in fitting), None)
    return None if chosen is None else fitting[chosen].repeat_interleave(n_texts // fitting[chosen].shape[0], 0).numpy()


def _mask(given: Given, side: str, size: int, n_texts: int, is_main: bool) -> Array | None:
    name = "decoder_attention_mask" if side == "target" and not is_main else "attention_mask"
    mask = given.masks.get(name)
    if mask is None or mask.shape[1] > size or n_texts % mask.shape[0]:
        return None
    if mask.shape[1] < size and (given.sequences is None or not (side == "target" or is_main)):
        return None
    mask = mask.repeat_interleave(n_texts // mask.shape[0], 0).numpy()
    return np.asarray(mask)


def told(axis: Axis, given: Given, side: str, tokenizer: Any, *, has_text: bool) -> list[dict[str, Any]]:
    """Each text's tokens as the format has them; `has_text` where this is the side whose texts were given."""
    special = set(getattr(tokenizer, "all_special_ids", None) or ())
    labels = given.labels.get(side)
    if labels is not None:
        _check_labels(labels, axis, side)
    found = []
    for text in range(axis.padding.shape[0]):
        spans = _spans(given, text) if has_text and given.offsets is not None else None
        words = given.words[text % len(given.words)] if has_text and given.words is not None else None
        tokens = []
        for at in range(axis.size):
            identity = None if axis.ids is None else int(axis.ids[text, at])
            token: dict[str, Any] = {"text": str(at)}
            if identity is not None:
                token["text"] = _shown(tokenizer, identity)
                if 0 <= identity < 1 << 32:
                    token["id"] = identity
            if labels is not None:
                token["text"] = labels[text][at]
            if spans is not None and at < len(spans) and spans[at][1] > spans[at][0]:
                token["span"] = {"start": spans[at][0], "end": spans[at][1]}
            word = words[at] if words is not None and at < len(words) else at if words is None else None
            token["role"] = "padding" if axis.padding[text, at] else "special" if identity in special else "text"
            if word is not None and token["role"] == "text":
                token["word"] = word
            tokens.append(token)
        whole = given.texts[text % len(given.texts)] if has_text and given.texts is not None else ""
        found.append({"text": whole, "tokens": tokens})
    return found


def _check_labels(labels: list[list[str]], axis: Axis, side: str) -> None:
    n_texts = axis.padding.shape[0]
    if len(labels) != n_texts:
        raise CaptureError(f"tokens of {len(labels)} texts were given for the {side}, but the model ran on {n_texts}")
    for text, of_text in enumerate(labels):
        if len(of_text) != axis.size:
            raise CaptureError(
                f"text {text} has {len(of_text)} {side} tokens as given, but the model ran on {axis.size}; were special tokens "
                "dropped, or padding left out?"
            )


def _shown(tokenizer: Any, identity: int) -> str:
    if tokenizer is None:
        return str(identity)
    try:
        text = str(tokenizer.decode([identity]))
    except (IndexError, KeyError, OverflowError, TypeError, ValueError):
        return str(identity)
    return text.strip() or text or str(identity)


def _spans(given: Given, text: int) -> list[tuple[int, int]]:
    """The bytes that each token covers; tokenizers count characters."""
    assert given.offsets is not None and given.texts is not None
    whole = given.texts[text % len(given.texts)]
    at = np.cumsum([0] + [len(letter.encode("utf-8", "surrogatepass")) for letter in whole])
    return [(int(at[start]), int(at[end])) for start, end in given.offsets[text % len(given.offsets)]]


def patches(config: Any, given: Given, size: int) -> tuple[list[str], dict[str, int]] | None:
    """Labels of an image's patches and where they lie, where `size` tokens are a grid of them and a few before it."""
    config = getattr(config, "vision_config", None) or config
    patch = getattr(config, "patch_size", None)
    if given.images is None or not isinstance(patch, (int, tuple, list)) or not patch:
        return None
    height, width = (patch, patch) if isinstance(patch, int) else (patch[0], patch[-1])
    rows, columns = given.images[0] // height, given.images[1] // width
    first = size - rows * columns
    if rows * columns == 0 or not 0 <= first <= 8:
        return None
    before = [] if first == 0 else ["CLS", *(f"extra{n}" for n in range(1, first))]
    labels = before + [f"r{row}c{column}" for row in range(rows) for column in range(columns)]
    return labels, {"first": first, "rows": rows, "columns": columns}
