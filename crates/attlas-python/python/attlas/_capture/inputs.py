"""What a person hands to a capture, read: texts, ids, arguments; and the model looked at before anything is switched."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import torch

from ..errors import CaptureError
from .tokens import Given


@dataclasses.dataclass
class Call:
    """Arguments of the model, and what they tell of its tokens."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    given: Given


def as_written(model: Any) -> torch.nn.Module:
    """The module behind one that `torch.compile` made."""
    written = getattr(model, "_orig_mod", model)
    if not isinstance(written, torch.nn.Module):
        raise CaptureError(
            f"a {type(model).__name__} was given as the model; a torch.nn.Module was expected (of a pipeline, its .model)"
        )
    return written


def check_model(model: torch.nn.Module) -> None:
    """Refuses a model that has no numbers.

    Raises:
        CaptureError: when its parameters are on the meta device, or its kernels cannot be read.
    """
    for module in model.modules():
        if hasattr(module, "_hf_hook"):
            continue  # accelerate brings the numbers when the module runs
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.device.type == "meta":
                raise CaptureError(
                    f"the model's parameter {name!r} of {type(module).__name__} is on the meta device, which has shapes and no numbers: "
                    "load its weights first"
                )


def read(model: torch.nn.Module, inputs: Any, *, tokenizer: Any, target: Any, is_generating: bool) -> Call:
    """The arguments of the model.

    Raises:
        CaptureError: when `inputs` are texts without a tokenizer, of no known form, or empty.
    """
    given = Given()
    if isinstance(inputs, str) or _are_texts(inputs):
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        kwargs = _tokenized(model, texts, tokenizer, given, is_generating, target)
        args: tuple[Any, ...] = ()
    elif isinstance(inputs, torch.Tensor):
        is_image = inputs.dim() >= 4
        name = (
            "input_ids"
            if _takes(model, "input_ids") and not is_image
            else "pixel_values"
            if _takes(model, "pixel_values") and is_image
            else None
        )
        args, kwargs = ((), {name: inputs}) if name else ((inputs,), {})
    elif isinstance(inputs, Mapping) or hasattr(inputs, "keys"):
        args, kwargs = (), {str(key): inputs[key] for key in inputs.keys()}
    elif isinstance(inputs, tuple):
        args, kwargs = inputs, {}
    else:
        raise CaptureError(
            f"inputs are a {type(inputs).__name__}; a text, a list of texts, a tensor of ids, a dict for model(**inputs) or a tuple for "
            "model(*inputs) was expected"
        )
    _refuse_empty(args, kwargs)
    if target is not None:
        _add_target(model, kwargs, target, tokenizer, given)
    device = _device(model)
    args = tuple(_moved(value, device) for value in args)
    kwargs = {name: _moved(value, device) for name, value in kwargs.items()}
    return Call(args, kwargs, given)


def _are_texts(inputs: Any) -> bool:
    return isinstance(inputs, list) and all(isinstance(text, str) for text in inputs)


def _refuse_empty(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    for name, value in [*enumerate(args), *kwargs.items()]:
        if isinstance(value, torch.Tensor) and value.numel() == 0:
            raise CaptureError(
                f"the input {name} is empty, of shape {list(value.shape)}: give at least one text with at least one token"
            )


def _device(model: torch.nn.Module) -> torch.device | None:
    parameter = next(iter(model.parameters()), None)
    return None if parameter is None or parameter.device.type == "meta" else parameter.device


def _moved(value: Any, device: torch.device | None) -> Any:
    return value.to(device) if isinstance(value, torch.Tensor) and device is not None else value


def _takes(model: torch.nn.Module, name: str) -> bool:
    return name in inspect.signature(model.forward).parameters


def _tokenized(
    model: torch.nn.Module, texts: list[str], tokenizer: Any, given: Given, is_generating: bool, target: Any
) -> dict[str, Any]:
    if tokenizer is None:
        raise CaptureError("inputs are texts, and no tokenizer was given: pass tokenizer=, or hand over ids")
    if not texts:
        raise CaptureError("inputs are an empty list: give at least one text")
    is_decoder = not getattr(getattr(model, "config", None), "is_encoder_decoder", False)
    if isinstance(target, str) or _are_texts(target):
        if is_decoder:
            texts = [
                text + more for text, more in zip(texts, [target] if isinstance(target, str) else target, strict=True)
            ]
    options: dict[str, Any] = {"return_tensors": "pt"}
    if len(texts) > 1:
        if getattr(tokenizer, "pad_token", "") is None:
            raise CaptureError(
                "several texts fill a batch up with padding, and the tokenizer has no token for it: set tokenizer.pad_token = tokenizer.eos_token"
            )
        options["padding"] = True
        if is_generating and is_decoder:
            options["padding_side"] = "left"
    if getattr(tokenizer, "is_fast", False):
        options["return_offsets_mapping"] = True
    encoded = tokenizer(texts, **options)
    offsets = encoded.pop("offset_mapping", None)
    given.texts = texts
    if offsets is not None:
        given.offsets = [[(int(a), int(b)) for a, b in text] for text in offsets.tolist()]
        given.words = [list(encoded.word_ids(text)) for text in range(len(texts))]
    signature = inspect.signature(model.forward).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.values())
    kept = {
        name: value for name, value in encoded.items() if name in signature or takes_all and name != "token_type_ids"
    }
    if not kept:
        first = next(iter(encoded))
        return {next(iter(signature)): encoded[first]}  # a model of one's own: ids are its first argument
    return kept


def _add_target(model: torch.nn.Module, kwargs: dict[str, Any], target: Any, tokenizer: Any, given: Given) -> None:
    if not getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        if isinstance(target, torch.Tensor) and "input_ids" in kwargs:
            given.n_prompt = int(kwargs["input_ids"].shape[1])
            kwargs["input_ids"] = torch.cat([kwargs["input_ids"], target.to(kwargs["input_ids"].device)], 1)
            kwargs.pop("attention_mask", None)
        elif not (isinstance(target, str) or _are_texts(target)):
            raise CaptureError(f"target is a {type(target).__name__}; texts or ids were expected")
        return
    if isinstance(target, str) or _are_texts(target):
        if tokenizer is None:
            raise CaptureError("target is a text, and no tokenizer was given: pass tokenizer=, or hand over ids")
        texts = [target] if isinstance(target, str) else list(target)
        labels = tokenizer(text_target=texts, return_tensors="pt", padding=len(texts) > 1)["input_ids"]
        shift = getattr(model, "prepare_decoder_input_ids_from_labels", None) or getattr(model, "_shift_right", None)
        if shift is None:
            raise CaptureError(
                f"{type(model).__name__} does not say how its decoder's input is made of a text: give decoder_input_ids in inputs"
            )
        target = shift(labels=labels) if shift.__name__ != "_shift_right" else shift(labels)
    if not isinstance(target, torch.Tensor):
        raise CaptureError(f"target is a {type(target).__name__}; texts or ids were expected")
    kwargs["decoder_input_ids"] = target


def labels(tokens: Any, target_tokens: Any, model: torch.nn.Module) -> dict[str, list[list[str]]]:
    """Labels by side. Of a model that reads one text, `tokens` are those of the side that there is."""
    found: dict[str, list[list[str]]] = {}
    if tokens is not None:
        found["source"] = _lists(tokens)
        if target_tokens is None and not getattr(getattr(model, "config", None), "is_encoder_decoder", False):
            found["target"] = found["source"]
    if target_tokens is not None:
        found["target"] = _lists(target_tokens)
    return found


def _lists(tokens: Any) -> list[list[str]]:
    tokens = list(tokens)
    if tokens and isinstance(tokens[0], str):
        tokens = [tokens]
    return [[str(token) for token in text] for text in tokens]
