"""``from attlas.bertviz.neuron_view import show``: any model, where BertViz' own needs one of its three rewritten ones."""

from __future__ import annotations

from typing import Any, Literal

import attlas
from attlas._brought import Brought, between_sentences, displayed
from attlas.errors import Error, MissingError

__all__ = ["show"]


def show(
    model: Any,
    model_type: str,
    tokenizer: Any,
    sentence_a: str,
    sentence_b: str | None = None,
    display_mode: str = "dark",
    layer: int | None = None,
    head: int | None = None,
    html_action: Literal["view", "return"] = "view",
) -> Brought | None:
    """Runs a model on a sentence, or on a pair of them, and shows its attention.

    The page shows weights, not the single numbers of queries and keys: those are ``view.recording.queries(kind, layer)`` and
    ``view.recording.keys(kind, layer)``.

    Args:
        model: of transformers, or any that ``attlas.capture`` takes.
        model_type: accepted; every model is run the same way.
        tokenizer: the model's.
        sentence_a: a sentence.
        sentence_b: a second one, for models of pairs; ``view.sentences`` then says what each gives to the other.
        display_mode: accepted; the page follows the reader's own light or dark setting.
        layer: the layer that opens first, counted from 0.
        head: the head that opens first.
        html_action: ``view`` displays the page, ``return`` returns it.
    """
    if not sentence_a:
        raise Error("sentence_a is empty")
    if html_action not in ("view", "return"):
        raise Error(f"html_action is {html_action!r}; it is 'view' or 'return'")
    texts = [sentence_a] if not sentence_b else [sentence_a, sentence_b]
    inputs = tokenizer(*texts, return_tensors="pt")
    recording = attlas.capture(model, dict(inputs), tokenizer=tokenizer)
    kind = recording.kinds[0]
    layers = recording._of_kind(kind)
    opened = layers[0] if layer is None else next((one for one in layers if one.index == layer), None)
    if opened is None:
        raise MissingError(f"there is no layer {layer}; the layers are {[one.index for one in layers]}")
    view = Brought(recording, kind, opened.index, opened.map(head or 0).head or 0)
    if sentence_b:
        view.sentences = between_sentences(recording, _start_of_second(inputs, tokenizer, sentence_a))
    return view if html_action == "return" else displayed(view)


def _start_of_second(inputs: Any, tokenizer: Any, sentence_a: str) -> int:
    """The first token of the second sentence: what a tokenizer puts before it belongs to it, too."""
    told = getattr(inputs, "sequence_ids", None)
    if told is not None:
        try:
            return int(told(0).index(1))
        except ValueError:
            pass  # a tokenizer without Rust says nothing of sequences
    return len(tokenizer(sentence_a)["input_ids"])
