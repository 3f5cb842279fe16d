"""Models that attlas runs itself: no PyTorch is needed, and every head is recorded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attlas import _attlas
from attlas._indexing import head_of
from attlas.errors import Error

if TYPE_CHECKING:
    from attlas.recordings import Recording


class Model:
    """A Transformer that is ready to run, for several recordings with one model."""

    __slots__ = ("_native",)

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        revision: str | None = None,
        adapter: str | os.PathLike[str] | None = None,
        tokenizer: str | os.PathLike[str] | None = None,
        from_language: str | None = None,
        to_language: str | None = None,
    ) -> None:
        """Loads a model: a folder as the Hugging Face hub lays it out, a ``.gguf`` file, ``ORG/NAME`` from the hub's local cache, or
        the embedded English–French translator when nothing is named.

        ``adapter`` is a folder with a LoRA adapter, ``tokenizer`` one with a tokenizer. ``from_language`` and ``to_language`` are for
        models with tags for languages: ``fr``, ``fra_Latn``, ``French``.

        Raises :class:`attlas.FormatError` when the folder is no model and :class:`attlas.FileError` (an ``OSError``) when it cannot be read.
        """
        path = None
        if model is not None:
            name = os.fspath(model)
            path = name if os.path.exists(name) else _attlas.Model.find(name, revision)
        self._native = _attlas.Model.load(path, adapter, tokenizer, (from_language, to_language))

    @property
    def name(self) -> str:
        """The model's name."""
        return self._native.name

    @property
    def family(self) -> str:
        """The model's family, such as ``bert``."""
        return self._native.family

    def record(
        self,
        text: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        target: str | Sequence[str] | None = None,
        beams: int | None = None,
        max_tokens: int | None = None,
        values: bool = False,
        knock_out: str | Sequence[str] = (),
    ) -> Recording:
        """Runs the model over a text or several and records every head; see :func:`attlas.record`."""
        from attlas.recordings import Recording

        texts = [os.fspath(one) for one in ([text] if isinstance(text, (str, os.PathLike)) else text)]
        targets = None if target is None else [target] if isinstance(target, str) else list(target)
        if targets is not None and len(targets) != len(texts):
            raise Error(f"there are {len(texts)} texts and {len(targets)} targets; give a target for each text")
        if targets is not None and (beams is not None or max_tokens is not None):
            raise Error("beams and max_tokens are for generating, but the target is given")
        if beams is not None and not 1 <= beams <= 64:
            raise Error(f"beams is {beams}; a number from 1 to 64 was expected")
        if max_tokens is not None and not 1 <= max_tokens <= 1_000_000:
            raise Error(f"max_tokens is {max_tokens}; a number from 1 to 1000000 was expected")
        heads = [knock_out] if isinstance(knock_out, str) else knock_out
        how = {
            "beams": beams,
            "max_tokens": max_tokens,
            "values": values,
            "knock_out": [_head_to_knock_out(head) for head in heads],
        }
        native, generated = self._native.record(texts, targets, how)
        return Recording(native, generated=generated)

    def __repr__(self) -> str:
        return f"<attlas.Model {self.name} · {self.family}>"


def record(
    text: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    model: str | os.PathLike[str] | Model | None = None,
    *,
    target: str | Sequence[str] | None = None,
    beams: int | None = None,
    max_tokens: int | None = None,
    values: bool = False,
    knock_out: str | Sequence[str] = (),
    revision: str | None = None,
    adapter: str | os.PathLike[str] | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    from_language: str | None = None,
    to_language: str | None = None,
) -> Recording:
    """Runs a model over a text or several and records every head exactly. PyTorch is not needed.

    ``text``: a text, or several, which make one padded batch; the paths of images or sounds for models that read such.
    ``model``: see :class:`attlas.Model`; the embedded English–French translator when nothing is named. ``target``: what the decoder reads, one
    for each text, instead of letting the model generate it. ``beams``: generate by beam search. ``max_tokens``: generate as many
    at most (256 where nothing is said; a model that has a decoder alone only reads the text unless this is given). ``values``: record the values, too.
    ``knock_out``: heads whose output is set to 0, written ``cross:L2H4``.

    Generated texts are in :attr:`Recording.generated <attlas.Recording.generated>`. Ctrl-C stops the run.

    Raises :class:`attlas.Error` when a text does not fit the model, :class:`attlas.LimitError` when it is too long, and as
    :class:`attlas.Model` does.
    """
    if not isinstance(model, Model):
        model = Model(
            model,
            revision=revision,
            adapter=adapter,
            tokenizer=tokenizer,
            from_language=from_language,
            to_language=to_language,
        )
    elif any(given is not None for given in (revision, adapter, tokenizer, from_language, to_language)):
        raise Error("the model is loaded already; revision, adapter, tokenizer and languages are given where it is loaded")
    return model.record(
        text, target=target, beams=beams, max_tokens=max_tokens, values=values, knock_out=knock_out
    )


def _head_to_knock_out(name: str) -> tuple[str, int, int]:
    """Kind, layer and head of ``cross:L2H4``."""
    kind, separator, head = name.partition(":")
    if not separator:
        raise Error(f"knock_out {name!r} does not say the kind of attention; write cross:{name}, for example")
    layer, number = head_of(head)
    if number is None:
        raise Error(f"knock_out {name!r} names a layer; heads are written cross:L2H4")
    return kind, layer, number
