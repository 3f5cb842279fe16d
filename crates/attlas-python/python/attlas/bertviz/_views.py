"""``head_view`` and ``model_view``: attention that a model returned, on attlas's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from attlas._brought import Brought, between_sentences, brought, displayed, is_causal
from attlas._numbers import numbers
from attlas.errors import CaptureError, Error, MissingError

_RECORD = "record the run with attlas.capture(model, inputs), which takes any kernel, and show the recording itself"


def head_view(
    attention: Any = None,
    tokens: Sequence[str] | None = None,
    sentence_b_start: int | None = None,
    prettify_tokens: bool = True,
    layer: int | None = None,
    heads: Sequence[int] | None = None,
    encoder_attention: Any = None,
    decoder_attention: Any = None,
    cross_attention: Any = None,
    encoder_tokens: Sequence[str] | None = None,
    decoder_tokens: Sequence[str] | None = None,
    include_layers: Sequence[int] | None = None,
    html_action: Literal["view", "return"] = "view",
) -> Brought | None:
    """Shows attention that a model returned.

    Args:
        attention: by layer ``[1, heads, tokens, tokens]``, as ``outputs.attentions`` of transformers.
        tokens: their tokens.
        sentence_b_start: the first token of a second sentence; ``view.sentences`` then says what each gives to the other.
        prettify_tokens: whether the marks of pieces (``Ġ``, ``▁``, ``</w>``) are left out.
        layer: the layer that opens first, counted from 0.
        heads: the lowest of these heads opens first; all stay.
        encoder_attention: of an encoder-decoder, as are the following.
        include_layers: only these layers; they keep their numbers.
        html_action: ``view`` displays the page, ``return`` returns it.
    """
    given = _Given(
        attention, tokens, sentence_b_start, encoder_attention, decoder_attention, cross_attention, encoder_tokens, decoder_tokens
    )
    return _done(given.view(prettify_tokens, include_layers, layer, heads), html_action)


def model_view(
    attention: Any = None,
    tokens: Sequence[str] | None = None,
    sentence_b_start: int | None = None,
    prettify_tokens: bool = True,
    display_mode: str = "dark",
    encoder_attention: Any = None,
    decoder_attention: Any = None,
    cross_attention: Any = None,
    encoder_tokens: Sequence[str] | None = None,
    decoder_tokens: Sequence[str] | None = None,
    include_layers: Sequence[int] | None = None,
    include_heads: Sequence[int] | None = None,
    html_action: Literal["view", "return"] = "view",
) -> Brought | None:
    """Shows attention that a model returned; the page's overview has every layer and head.

    The parameters are those of ``head_view``. ``display_mode`` is accepted, and the page follows the reader's own light or
    dark setting; the lowest of ``include_heads`` opens first, and all heads stay, so that they keep their numbers.
    """
    if display_mode not in ("dark", "light"):
        raise Error(f"display_mode is {display_mode!r}; it is 'dark' or 'light'")
    given = _Given(
        attention, tokens, sentence_b_start, encoder_attention, decoder_attention, cross_attention, encoder_tokens, decoder_tokens
    )
    return _done(given.view(prettify_tokens, include_layers, None, include_heads), html_action)


class _Given:
    """The arguments that both views share."""

    def __init__(
        self,
        attention: Any,
        tokens: Sequence[str] | None,
        sentence_b_start: int | None,
        encoder_attention: Any,
        decoder_attention: Any,
        cross_attention: Any,
        encoder_tokens: Sequence[str] | None,
        decoder_tokens: Sequence[str] | None,
    ) -> None:
        of_pair = {"encoder": encoder_attention, "decoder": decoder_attention, "cross": cross_attention}
        self.by_kind = {kind: layers for kind, layers in of_pair.items() if layers is not None}
        self.sentence_b_start = sentence_b_start
        self.tokens = {"encoder": encoder_tokens, "decoder": decoder_tokens}
        if attention is not None:
            if self.by_kind or encoder_tokens is not None or decoder_tokens is not None:
                raise Error("'attention' is for self-attention alone; of an encoder-decoder give encoder_, decoder_ and cross_attention")
            if tokens is None:
                raise Error("'tokens' is required: one for each row of the attention")
            kind = "decoder" if is_causal([numbers(layer) for layer in _layers("attention", attention)]) else "encoder"
            self.by_kind, self.tokens = {kind: attention}, {kind: tokens}
        if not self.by_kind:
            raise Error(f"there is no attention: the model returned none. Run it with output_attentions=True, or {_RECORD}")

    def view(
        self,
        prettify: bool,
        include_layers: Sequence[int] | None,
        layer: int | None,
        heads: Sequence[int] | None,
    ) -> Brought:
        """The page, opened on the first kind that was given."""
        arrays: dict[tuple[str, int], Any] = {}
        for kind, given in self.by_kind.items():
            layers = _layers(_named(kind), given)
            self._check_tokens(kind, layers[0].shape)
            arrays.update({(kind, index): layers[index] for index in _included(include_layers, len(layers))})
        opened = self._opened(arrays, layer, heads or (0,))
        labels = {side: _labels(tokens, prettify) for side, tokens in self.tokens.items() if tokens is not None}
        view = brought(
            arrays,
            head=opened,
            source_tokens=labels.get("encoder"),
            target_tokens=labels.get("decoder"),
            origin="arrays given to bertviz",
        )
        if self.sentence_b_start is not None:
            view.sentences = between_sentences(view.recording, self.sentence_b_start)
        return view

    def _opened(self, arrays: dict[tuple[str, int], Any], layer: int | None, heads: Sequence[int]) -> tuple[str, int, int]:
        """The head that opens first, of the first kind that was given."""
        kind = next(iter(self.by_kind))
        layers = [index for of_kind, index in arrays if of_kind == kind]
        if layer is not None and layer not in layers:
            raise MissingError(f"layer {layer} is not shown; the layers are {layers}")
        layer = layers[0] if layer is None else layer
        n_heads = arrays[kind, layer].shape[1]
        for head in heads:
            if not 0 <= head < n_heads:
                raise MissingError(f"there is no head {head}; layer {layer} has {n_heads}, counted from 0")
        return kind, layer, min(heads)

    def _check_tokens(self, kind: str, shape: Sequence[int]) -> None:
        axes = {"encoder": ("encoder", "encoder"), "decoder": ("decoder", "decoder"), "cross": ("decoder", "encoder")}[kind]
        for axis, name, size in zip(("queries", "keys"), axes, shape[2:]):
            tokens = self.tokens.get(name)
            if tokens is None:
                raise Error(f"'{name}_tokens' is required with {_named(kind)}")
            if len(tokens) != size:
                raise Error(
                    f"{_named(kind)} has {size} {axis}, while {len(tokens)} tokens were given; "
                    "were special tokens dropped on one side only?"
                )


def _named(kind: str) -> str:
    return f"{kind}_attention"


def _layers(name: str, given: Any) -> list[Any]:
    """The array of each layer, ``[1, heads, queries, keys]``, as it was given.

    Raises:
        attlas.CaptureError: when the model gave none, as under the kernels that compute attention without its weights.
    """
    layers = [given[index] for index in range(len(given))]
    if not layers or any(layer is None for layer in layers):
        raise CaptureError(
            f"{name} is empty: the model ran on a kernel that gives no weights (sdpa, flash), or outputs[-1] is its empty "
            "cross-attention, as in transformers 5: outputs.attentions is what was meant. Load the model with "
            f'attn_implementation="eager" and run it with output_attentions=True, or {_RECORD}'
        )
    for index, layer in enumerate(layers):
        shape = list(getattr(layer, "shape", ()))
        if len(shape) != 4 or shape[0] != 1:
            raise Error(
                f"{name} of layer {index} has shape {shape}, not [1, heads, queries, keys]; of a batch choose one text: "
                "[layer[:1] for layer in attention]"
            )
    return layers


def _included(include_layers: Sequence[int] | None, n_layers: int) -> list[int]:
    if include_layers is None:
        return list(range(n_layers))
    wrong = [layer for layer in include_layers if not 0 <= layer < n_layers]
    if wrong or not include_layers:
        raise MissingError(f"include_layers is {list(include_layers)}, but the layers are 0 to {n_layers - 1}")
    return sorted(set(include_layers))


def _labels(tokens: Sequence[str], prettify: bool) -> list[str]:
    """Tokens as they are, or without the marks of pieces."""
    if not prettify:
        return list(tokens)
    return [token.replace("Ġ", " ").replace("▁", " ").replace("</w>", "") for token in tokens]


def _done(view: Brought, html_action: str) -> Brought | None:
    if html_action == "return":
        return view
    if html_action != "view":
        raise Error(f"html_action is {html_action!r}; it is 'view' or 'return'")
    return displayed(view)
