"""Models that attlas runs itself: no PyTorch is needed, and every head is recorded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from attlas import _attlas
from attlas._indexing import head_patterns, is_unicode, number_from, refuse_unknown
from attlas.errors import Error, FileError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from attlas.recordings import Recording

Heads = str | Sequence[str | tuple[str, int, int] | tuple[str, str]] | tuple[str, int, int]


class ModelOptions(TypedDict, total=False):
    """How a model is loaded.

    ``revision``: of ``ORG/NAME`` on the hub. ``adapter`` is a folder with a LoRA adapter, ``tokenizer`` one with a tokenizer. ``from_language`` and
    ``to_language`` are for models with tags for languages: ``fr``, ``fra_Latn``, ``French``. ``precision`` says how exact products are: ``exact``
    (f32, where nothing is said), or on a processor with AMX ``high`` (as exact as f32 sums in another order), ``fast`` (weights may be off by
    1e-4) and ``fastest`` (bf16, off by some hundredths); a recording's notes say it. ``loops``: a generated text that repeats itself is ``cut`` or
    ``keep`` goes on; ``unknown_words``: a generated text with a word that the model was never taught to write stays (``keep``), or the best text without
    such words takes its place (``avoid``); the embedded translator cuts and avoids, other models keep. ``tower`` is ``vision`` or ``text`` of a model that has both,
    as CLIP and SigLIP have: the vision tower where nothing is said. ``images``: whether a model that reads texts with images in them, as LLaVA and
    Qwen2-VL do, is loaded with what images go through; :func:`attlas.record` does so where it is given ``image``.
    """

    revision: str | None
    adapter: str | os.PathLike[str] | None
    tokenizer: str | os.PathLike[str] | None
    from_language: str | None
    to_language: str | None
    precision: str | None
    loops: str | None
    unknown_words: str | None
    tower: str | None
    images: bool


class RunOptions(TypedDict, total=False):
    """How a model is run, and what is kept.

    ``target``: what the decoder reads, one for each text, instead of letting the model generate it. ``beams``: generate by beam search; 5
    in the embedded translator and 1, the likeliest token each time, in other models where nothing is said.
    ``max_tokens``: generate as many at most (256 where nothing is said; a model that has a decoder alone only reads the text unless this is given).
    ``values``: record the values, too. ``router``: of a mixture of experts, keep which experts each token was sent to, as the trace ``router``.
    ``knock_out``: heads whose output is set to 0, written ``cross:L2H4`` or ``("cross", 2, 4)``, all of a layer ``cross:2.*``. ``image``: the path of
    an image, or of several, that stand in one text where it has the model's placeholder, in the order of both; the vision tower's maps are the stack
    ``vision`` of the recording.

    ``quantities``: maps that are kept beside the weights, for ``rec.map(…, quantity=…)``: ``norm``, the length of what each key adds, head by head;
    ``norm-sum``, ``norm-residual`` and ``norm-layernorm``, of all heads together; ``contribution`` of a layer and ``alti`` of the model, shares of
    states; ``rollout`` and ``flow``; ``gradient-weight`` and ``relevance``, what a prediction rests on: ``explain`` names its token or class, ``foil``
    what that is held against, ``position`` where it is predicted; the likeliest at the usual place where nothing is named. ``flow_tokens``: the
    most tokens of a text that flow is computed for (64).
    """

    target: str | Sequence[str] | None
    beams: int | None
    max_tokens: int | None
    values: bool
    router: bool
    knock_out: Heads
    image: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None
    quantities: str | Sequence[str]
    explain: str | int | None
    foil: str | int | None
    position: int | None
    flow_tokens: int | None


class RecordOptions(ModelOptions, RunOptions, total=False):
    """How a model is loaded and run: the options of :class:`ModelOptions` and :class:`RunOptions`."""


class Model:
    """A Transformer that is ready to run, for several recordings with one model."""

    __slots__ = ("_native",)

    def __init__(self, model: str | os.PathLike[str] | None = None, **options: Unpack[ModelOptions]) -> None:
        """Loads a model: a folder as the Hugging Face hub lays it out, a ``.gguf`` file, ``ORG/NAME`` from the hub's cache (downloaded where it is not there), or
        the embedded English–French translator when nothing is named. Options: :class:`attlas.ModelOptions`.

        Raises :class:`attlas.FormatError` when the folder is no model and :class:`attlas.FileError` (an ``OSError``) when it cannot be read.
        """
        refuse_unknown("Model", options, ModelOptions.__annotations__)
        path = None
        if model is not None:
            if not isinstance(model, (str, os.PathLike)):
                raise Error(f"a model is a path or a name on the hub, not a {type(model).__name__}; attlas.capture records a PyTorch model")
            name = os.fspath(model)
            if not name or name.lower().endswith((".safetensors", ".gguf", ".json", ".bin")) and not os.path.exists(name):
                raise FileError(f"{name or 'the path is empty'}: there is no such file")
            path = name if os.path.exists(name) else _attlas.Model.find(name, options.get("revision"))
        given: Mapping[str, object] = options
        how = {name: given.get(name) for name in ("adapter", "tokenizer", "precision", "tower", "loops", "unknown_words")}
        how["languages"] = (options.get("from_language"), options.get("to_language"))
        how["images"] = options.get("images", False)
        self._native = _attlas.Model.load(path, how)

    @property
    def name(self) -> str:
        """The model's name."""
        return self._native.name

    @property
    def family(self) -> str:
        """The model's family, such as ``bert``."""
        return self._native.family

    def record(self, text: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], **options: Unpack[RunOptions]) -> Recording:
        """Runs the model over a text or several and records every head; see :func:`attlas.record`. Options: :class:`attlas.RunOptions`."""
        from attlas.recordings import Recording

        refuse_unknown("record", options, RunOptions.__annotations__)
        native, generated, remarks = self._native.record(*_checked(text, options))
        for remark in remarks:
            import warnings

            warnings.warn(remark, stacklevel=2)
        return Recording(native, generated=generated)

    def __repr__(self) -> str:
        return f"<attlas.Model {self.name} · {self.family}>"


def record(
    text: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    model: str | os.PathLike[str] | Model | None = None,
    **options: Unpack[RecordOptions],
) -> Recording:
    """Runs a model over a text or several and records every head exactly. PyTorch is not needed.

    ``text``: a text, or several, which make one padded batch; the paths of images or sounds for models that read such.
    ``model``: see :class:`attlas.Model`; the embedded English–French translator when nothing is named. Options: those of
    :class:`attlas.RunOptions` (``target``, ``beams``, ``max_tokens``, ``values``, ``knock_out``, ``quantities``, …), and, unless a
    model is given that is loaded, of :class:`attlas.ModelOptions` (``adapter``, ``tokenizer``, ``precision``, …).

    Generated texts are in :attr:`Recording.generated <attlas.Recording.generated>`. Ctrl-C stops the run.

    Raises :class:`attlas.Error` when a text does not fit the model, :class:`attlas.LimitError` when it is too long, and as
    :class:`attlas.Model` does.
    """
    refuse_unknown("record", options, RecordOptions.__annotations__)
    of_model: Any = {name: value for name, value in options.items() if name in ModelOptions.__annotations__}
    of_run: Any = {name: value for name, value in options.items() if name in RunOptions.__annotations__}
    if not isinstance(model, Model):
        if options.get("image") is not None:
            of_model.setdefault("images", True)
        model = Model(model, **of_model)
    elif any(given is not None for given in of_model.values()):
        raise Error("the model is loaded already; revision, adapter, tokenizer, languages, precision, tower, loops, unknown_words and images are given where it is loaded")
    return model.record(text, **of_run)


def _checked(text: Any, options: RunOptions) -> tuple[list[str], list[str] | None, dict[str, object]]:
    """The texts, their targets and how they are run, as the native module takes them."""
    target, beams, max_tokens = options.get("target"), options.get("beams"), options.get("max_tokens")
    texts = _texts(text)
    targets = None if target is None else _texts(target)
    if targets is not None and len(targets) != len(texts):
        raise Error(f"there are {len(texts)} texts and {len(targets)} targets; give a target for each text")
    if targets is not None and (beams is not None or max_tokens is not None):
        raise Error("beams and max_tokens are for generating, but the target is given")
    images = options.get("image")
    pictures = [] if images is None else _texts(images, "image")
    if pictures and len(texts) != 1:
        raise Error(f"image is for one text at a time, and there are {len(texts)}")
    quantities = options.get("quantities", ())
    names = [quantities] if isinstance(quantities, str) else list(quantities)
    explain, foil, position = options.get("explain"), options.get("foil"), options.get("position")
    asked = {"explain": explain, "foil": foil, "position": position}
    given = next((name for name, value in asked.items() if value is not None), None)
    if given is not None and not {"gradient-weight", "relevance"} & set(names):
        raise Error(f'{given} is for the quantities "gradient-weight" and "relevance"')
    how: dict[str, object] = {
        "beams": None if beams is None else number_from(beams, 1, 64, "beams"),
        "max_tokens": None if max_tokens is None else number_from(max_tokens, 1, 1_000_000, "max_tokens"),
        "values": options.get("values", False),
        "router": options.get("router", False),
        "knock_out": _heads_to_knock_out(options.get("knock_out", ())),
        "images": pictures,
        "quantities": names,
        "explain": (None if explain is None else str(explain), None if foil is None else str(foil), position),
        "flow_tokens": options.get("flow_tokens"),
    }
    return texts, targets, how


def _texts(text: Any, what: str = "text") -> list[str]:
    """The texts, or paths of images and sounds, that are meant."""
    noun = "path" if what == "image" else what
    texts = [text] if isinstance(text, (str, os.PathLike)) else text
    if isinstance(texts, (bytes, dict)) or not isinstance(texts, Iterable):
        raise Error(f"a {noun}, or a list of {noun}s, was expected, not what is of type {type(text).__name__}")
    texts = list(texts)
    for at, one in enumerate(texts):
        if not isinstance(one, (str, os.PathLike)):
            raise Error(f"{what} {at} is of type {type(one).__name__}, not a {noun}")
        if not is_unicode(os.fspath(one)):
            raise Error(f"{what} {at} is not Unicode: it has half of a surrogate pair")
    return [os.fspath(one) for one in texts]


def _heads_to_knock_out(heads: Any) -> list[str]:
    """Patterns such as ``cross:2.4`` and ``cross:2.*``, each with its kind."""
    patterns = head_patterns(heads, "knock_out")
    for pattern in patterns:
        if ":" not in pattern:
            raise Error(f"knock_out {pattern!r} does not say the kind of attention; write cross:{pattern}, for example")
    return patterns
