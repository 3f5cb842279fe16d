"""Attention that somebody else computed: NumPy, torch, DLPack, anything with ``__array__``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attlas import _attlas
from attlas._indexing import is_unicode
from attlas.errors import FormatError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from attlas.recordings import Recording

Labels = Sequence[str] | Sequence[Sequence[str]]

# Names under which transformers' outputs hold attention.
_OUTPUTS = ("attentions", "encoder_attentions", "decoder_attentions", "cross_attentions")

_NOTHING = (
    "there are no attention arrays: the model's kernel (sdpa, flash) keeps none. attlas.capture(model, text, tokenizer=…) records them with the "
    'kernel that the model has; model.set_attn_implementation("eager") and output_attentions=True make transformers keep them'
)


def from_attentions(
    attentions: Any,
    tokens: Labels | None = None,
    target_tokens: Labels | None = None,
    *,
    kind: str | None = None,
    axes: Sequence[str] | None = None,
    query_offset: int | None = None,
    image_grid: tuple[int, int, int] | None = None,
    allow_unnormalised: bool = False,
    model: str = "",
) -> Recording:
    """A recording of dense attention weights that were computed elsewhere; they are checked, and kept as float32.

    ``attentions``: an array, a tuple of one array ``[batch, heads, queries, keys]`` per layer as transformers returns them, a model's output, or a mapping from
    names (``encoder``, ``decoder_self``, ``decoder_cross``, those of transformers) to such. Arrays are NumPy's, torch's of any dtype and
    device, or anything with ``__dlpack__`` or ``__array__``; of one array the axes are told by their number: ``[queries, keys]``, ``[heads, queries, keys]``,
    ``[layers, heads, queries, keys]``, ``[layers, batch, heads, queries, keys]``, unless ``axes`` names them.

    ``tokens``: labels of the source, or of the only text; those of each text of a batch, or the same for all. ``target_tokens``: labels of the target.
    ``kind``: ``"encoder"``, ``"decoder"`` or ``"cross"`` where no name says it. ``query_offset``: the position of the first row among a decoder's
    tokens. ``image_grid``: rows and columns of patches, and how many tokens come before them. ``allow_unnormalised``: takes rows that sum to more than 1, and says so.

    Raises :class:`attlas.FormatError`, which names the array, layer, head, row and value, for NaN, numbers outside 0 to 1, rows that do not
    sum to 1, and tokens that do not fit.
    """
    from attlas.recordings import Recording

    named: dict[str, Any] = {}
    _collect(attentions, "", named)
    if not named:
        raise FormatError(_NOTHING)
    arrays = [(name, *_numbers(array, name)) for name, array in named.items()]
    source, target = _labels(tokens), _labels(target_tokens)
    if kind == "decoder" and target is None:
        source, target = None, source  # the only text of a decoder is its target
    options = {
        "kind": kind,
        "axes": None if axes is None else ",".join(axes),
        "query_offset": query_offset,
        "source_tokens": source,
        "target_tokens": target,
        "image_grid": image_grid,
        "allow_unnormalised": allow_unnormalised,
        "origin": model,
    }
    native, _ = _attlas.from_arrays(arrays, options)
    return Recording(native)


def _collect(value: Any, name: str, found: dict[str, Any]) -> None:
    """Arrays by name, out of whatever holds them."""
    if value is None:
        return
    if isinstance(value, Mapping):
        is_output = any(key in value for key in _OUTPUTS)
        for key in value:
            if not is_output or key in _OUTPUTS:
                _collect(value[key], f"{name}.{key}" if name else str(key), found)
    elif isinstance(value, (tuple, list)) and not _is_nested_numbers(value):
        for layer, one in enumerate(value):
            _collect(one, f"{name or 'attentions'}.{layer}", found)
    else:
        found[name] = value


def _is_nested_numbers(value: Any) -> bool:
    """Whether lists hold numbers, as one array."""
    while isinstance(value, (tuple, list)) and value:
        value = value[0]
    return isinstance(value, (int, float))


def _numbers(array: Any, name: str) -> tuple[npt.NDArray[np.float32], str]:
    """The array as float32 in rows, and how exact its numbers were."""
    import numpy as np

    if hasattr(array, "__dlpack__") and not hasattr(array, "__array__"):
        array = _from_dlpack(array, name)
    dtype = str(getattr(array, "dtype", "float32")).removeprefix("torch.")
    precision = dtype if dtype in ("float16", "bfloat16") else "float32"
    if hasattr(array, "detach") and hasattr(array, "cpu"):  # torch, without importing it
        if getattr(array, "is_meta", False):
            raise FormatError(f"{name or 'the array'}: it is on the meta device, which has shapes and no numbers")
        if str(getattr(array, "layout", "torch.strided")) != "torch.strided":
            array = array.to_dense()
        array = array.detach().cpu()
        if dtype != "float64":
            array = array.float()
        array = array.numpy()
    try:
        numbers = np.asarray(array)
    except Exception as error:
        raise FormatError(f"{name or 'the array'}: NumPy makes no array of a {type(array).__name__}: {error}") from error
    if numbers.dtype.kind not in "fiub" and dtype != "bfloat16":
        raise FormatError(f"{name or 'the array'}: its elements are {numbers.dtype}, but attention weights are real numbers")
    return np.ascontiguousarray(numbers, dtype=np.float32), precision


def _from_dlpack(array: Any, name: str) -> Any:
    """What only DLPack reads, by PyTorch where NumPy cannot: bfloat16, and memory of a GPU."""
    import sys

    import numpy as np

    try:
        return np.from_dlpack(array)
    except Exception as error:
        torch = sys.modules.get("torch")
        if torch is not None:
            return torch.from_dlpack(array)
        raise FormatError(
            f"{name or 'the array'}: NumPy cannot read this {type(array).__name__} through DLPack ({error}); "
            "float32 in the processor's memory is read"
        ) from error


def _labels(tokens: Labels | None) -> list[list[str]] | None:
    """Labels of each text, or one list for all."""
    if tokens is None:
        return None
    if isinstance(tokens, str):
        raise FormatError(f"tokens is one text, {tokens!r}; a list of the tokens along the axis was expected")
    try:
        listed: list[Any] = list(tokens)
    except TypeError:
        raise FormatError(f"tokens are of type {type(tokens).__name__}; a list of the tokens along the axis was expected") from None
    if all(isinstance(token, str) for token in listed):
        return [_checked(listed)]
    return [_checked(row) for row in listed]


def _checked(tokens: Any) -> list[str]:
    """The labels of one text."""
    if isinstance(tokens, (str, bytes)) or not isinstance(tokens, Iterable) or getattr(tokens, "ndim", 1) == 0:
        raise FormatError(
            f"tokens hold {tokens!r}, of type {type(tokens).__name__}; texts were expected, as tokenizer.convert_ids_to_tokens(ids) gives them"
        )
    for token in tokens:
        if not isinstance(token, str):
            raise FormatError(
                f"a token is {token!r}, of type {type(token).__name__}; texts were expected, as tokenizer.convert_ids_to_tokens(ids) gives them"
            )
        if not is_unicode(token):
            raise FormatError(f"the token {token!r} is not Unicode: it has half of a surrogate pair")
    return [str(token) for token in tokens]
