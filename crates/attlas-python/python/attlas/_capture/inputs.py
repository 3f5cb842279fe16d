"""What a person hands to a capture, read: texts, ids, arguments; and the model looked at before anything is switched."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
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
    if isinstance(inputs, list) and not inputs:
        raise CaptureError("inputs are an empty list: give at least one text")
    if isinstance(inputs, (list, np.ndarray)) and not _are_texts(inputs):
        inputs = _tensor(inputs, "inputs")
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
        args, kwargs = ((), _batched({name: inputs})) if name else ((inputs,), {})
    elif isinstance(inputs, Mapping) or hasattr(inputs, "keys"):
        args, kwargs = (), _batched({str(key): _read(inputs[key], str(key)) for key in inputs.keys()})
    elif isinstance(inputs, tuple):
        args, kwargs = inputs, {}
    else:
        raise CaptureError(
            f"inputs are a {type(inputs).__name__}; a text, a list of texts, ids as a tensor, an array or a list, a dict for model(**inputs) or a tuple for "
            "model(*inputs) was expected"
        )
    _refuse_empty(args, kwargs)
    if target is not None:
        _add_target(model, kwargs, target, tokenizer, given)
    device = _device(model)
    args = tuple(_moved(value, device) for value in args)
    kwargs = {name: _moved(value, device) for name, value in kwargs.items()}
    return Call(args, kwargs, given)


def _read(value: Any, name: str) -> Any:
    """Numbers of NumPy, or ids in a list, as a tensor; anything else as it is."""
    is_ids = isinstance(value, list) and (name == "input_ids" or name.endswith(("_input_ids", "attention_mask", "type_ids")))
    return _tensor(value, name) if isinstance(value, np.ndarray) or is_ids else value


def _tensor(value: Any, name: str) -> torch.Tensor:
    try:
        return torch.as_tensor(np.asarray(value) if isinstance(value, np.ndarray) else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CaptureError(
            f"{name} are no ids: {error}; ids are whole numbers, [tokens] or [texts, tokens], as long for every text"
        ) from None


def _batched(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments whose ids are whole numbers of two axes; of one text without the axis of texts, it is put before them."""
    ids = kwargs.get("input_ids")
    if not isinstance(ids, torch.Tensor):
        return kwargs
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise CaptureError(f"input_ids are {str(ids.dtype).removeprefix('torch.')}; ids are whole numbers, such as int64")
    if ids.dim() not in (1, 2):
        raise CaptureError(f"input_ids have the shape {list(ids.shape)}; [texts, tokens] was expected")
    if ids.dim() == 1:
        flat = {name for name, value in kwargs.items() if isinstance(value, torch.Tensor) and value.shape == ids.shape}
        kwargs = {name: value[None] if name in flat else value for name, value in kwargs.items()}
    return kwargs | {"input_ids": kwargs["input_ids"].long()}


def explain(model: torch.nn.Module, call: Call, error: Exception) -> CaptureError | None:
    """What is wrong with the inputs, where a model failed on them for a usual reason."""
    config, ids = getattr(model, "config", None), call.kwargs.get("input_ids")
    if (
        getattr(config, "is_encoder_decoder", False)
        and isinstance(error, ValueError)
        and _takes(model, "decoder_input_ids")
        and not any(name.startswith("decoder_input") for name in call.kwargs)
    ):
        return CaptureError(
            f"{type(model).__name__} has a decoder, and nothing says what it reads: give target= (a text or ids), or generate=True"
        )
    if not isinstance(ids, torch.Tensor) or not isinstance(error, (IndexError, RuntimeError)):
        return None
    embeddings: Any = getattr(model, "get_input_embeddings", None)
    vocabulary = getattr(embeddings(), "num_embeddings", None) if callable(embeddings) else None
    if isinstance(vocabulary, int) and (int(ids.max()) >= vocabulary or int(ids.min()) < 0):
        wrong = int(ids.max()) if int(ids.max()) >= vocabulary else int(ids.min())
        return CaptureError(f"the id {wrong} is none of the model's vocabulary of {vocabulary}: is the tokenizer another model's?")
    names = ("max_position_embeddings", "n_positions", "max_source_positions", "max_encoder_position_embeddings")
    most = next((getattr(config, name) for name in names if isinstance(getattr(config, name, None), int)), None)
    if most is not None and ids.shape[1] > most - 2:  # RoBERTa's first positions are none of a text's
        return CaptureError(
            f"a text has {ids.shape[1]} tokens, and the model has {most} positions: give shorter texts, or cut them "
            f"(tokenizer(text, truncation=True, max_length={most}))"
        )
    return None


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
