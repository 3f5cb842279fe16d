"""Recordings: every head of a run, as functions that are asked for what is needed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, SupportsIndex, overload

from attlas import _attlas
from attlas._indexing import KINDS, Head, LayerIndex, Stretch, head_of, is_head, layer_and_head, whole_number
from attlas.analyses import Analyses
from attlas.errors import Error, FileError, MissingError
from attlas.figures import Figure, StyleOptions, style_of
from attlas.maps import Map

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import Unpack

    from attlas.tables import Table

Kind = str  # one of `KINDS`


class Token(NamedTuple):
    """One token of a text."""

    text: str
    """What is shown, without a vocabulary's marks."""
    role: str
    """``"text"``, ``"special"`` or ``"padding"``."""
    id: int | None
    """The id in the vocabulary; ``None`` for arrays that came without."""
    span: tuple[int, int] | None
    """The bytes of the text (UTF-8) that it covers; ``None`` for tokens that are not in the text."""
    word: int | None
    """Which word it belongs to; pieces of one word share it."""


class Tokens(NamedTuple):
    """A text and its tokens."""

    text: str
    tokens: tuple[Token, ...]

    @property
    def labels(self) -> list[str]:
        """The tokens' texts."""
        return [token.text for token in self.tokens]


class Item(NamedTuple):
    """One text of a batch."""

    source: Tokens
    """What the encoder read; empty for a decoder-only model."""
    target: Tokens
    """What the decoder read; empty for an encoder-only model."""
    predicted: Tokens
    """For each token of the target the one that follows it; empty when unknown."""
    n_prompt: int | None
    """How many of the target's tokens were given; the others were generated."""
    axes: dict[str, Tokens]
    """Tokens of axes that are neither source nor target, by name."""
    unknown_words: tuple[str, ...] = ()
    """Words that were generated, and that neither the model's training targets nor the source have."""
    n_repeated: int | None = None
    """How many of the last predicted tokens were coming again and again when the generation was cut."""
    avoided_words: tuple[str, ...] = ()
    """Words that the likeliest tokens had spelled and that the model does not know: what was generated stands in place of them."""


class Provenance(NamedTuple):
    """Where a recording comes from."""

    model: str
    family: str
    revision: str
    dtype: str
    mode: str
    """``"eval"`` with dropout off, ``"train"`` with it on, or ``"unknown"``."""
    writer: str
    method: str
    """``"forward"``, ``"greedy"``, ``"beam"``, ``"sample"`` or ``"imported"``."""
    notes: tuple[str, ...]
    """What a reader must know, each a sentence."""
    edits: tuple[dict[str, Any], ...]
    """What was changed in the run on purpose."""


class Check(NamedTuple):
    """What was found when the numbers of a layer were looked at; of long maps at most 256 rows of each head."""

    kind: Kind
    layer: int
    stack: str | None
    quantity: str
    passed: bool
    problem: str | None
    """What is wrong, in words; ``None`` where nothing is."""
    max_row_error: float
    """The largest \\|row sum + sink − 1\\|."""
    n_rows: tuple[int, int]
    """Rows looked at, and rows there are."""


class Layer:
    """One layer's attention over the whole batch: ``rec["decoder", 3]``."""

    __slots__ = (
        "_place",
        "_recording",
        "d_head",
        "d_value",
        "index",
        "is_dense",
        "kind",
        "n_heads",
        "n_keys",
        "n_kv_heads",
        "n_queries",
        "quantity",
        "stack",
    )

    def __init__(self, recording: Recording, place: int, facts: tuple[str, str | None, int, str, bool, list[int]]) -> None:
        self._recording = recording
        self._place = place
        self.kind: Kind
        self.kind, self.stack, self.index, self.quantity, is_factored, sizes = facts
        self.is_dense = not is_factored
        self.n_heads, self.n_kv_heads, self.n_queries, self.n_keys, self.d_head, self.d_value = sizes

    def map(self, head: Head, item: SupportsIndex = 0) -> Map:
        """The map of one head, a number or ``"L3H7"``, or with ``"mean"`` of all heads together, for one text.

        Raises :class:`attlas.MissingError` (an ``IndexError``) when there is no such head or text.
        """
        _, of = layer_and_head(self.index, head)
        number = None if of is None or isinstance(of, str) else _count(of, self.n_heads, "head", f" in {self}")
        item = _count(item, self._recording._native.n_items, "text")
        return Map(self._recording, self._place, number, item)

    def __getitem__(self, head: SupportsIndex | str) -> Map:
        return self.map(head)

    def __len__(self) -> int:
        return self.n_heads

    def weights(self) -> npt.NDArray[Any]:
        """Every weight, float32. Shape ``[texts, heads, queries, keys]``: this grows with the square of the text's length."""
        import numpy as np

        if self.is_dense:
            return self._array("weights")
        items = range(self._recording._native.n_items)
        weights = np.empty((len(items), self.n_heads, self.n_queries, self.n_keys), np.float32)
        for item in items:
            for head in range(self.n_heads):
                weights[item, head] = self.map(head, item).weights()
        weights.flags.writeable = False
        return weights

    def queries(self) -> npt.NDArray[Any]:
        """Queries as the scores see them (rotary positions applied). Shape ``[texts, heads, queries, d_head]``."""
        return self._array("queries")

    def keys(self) -> npt.NDArray[Any]:
        """Keys likewise. Shape ``[texts, kv_heads, keys, d_head]``; heads share keys in groups where there are fewer."""
        return self._array("keys")

    def lse(self) -> npt.NDArray[Any]:
        """Each row's ``ln Σ exp(score)``, the sink included, float64; −∞ where a query sees no key. Shape ``[texts, heads, queries]``."""
        return self._array("lse")

    def values(self) -> npt.NDArray[Any]:
        """Values, where they were recorded. Shape ``[texts, kv_heads, keys, d_value]``."""
        return self._array("values")

    def trace(self, name: str) -> npt.NDArray[Any]:
        """What was kept beside the weights, by its name in files: ``"values"``, ``"head_outputs"`` and others."""
        return self._array(name)

    def _array(self, name: str) -> npt.NDArray[Any]:
        import numpy as np

        return np.asarray(self._recording._native.array(self._place, name))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layer):
            return NotImplemented
        return self._place == other._place and self._recording == other._recording

    def __hash__(self) -> int:
        return hash((self._place, self._recording))

    def __reduce__(self) -> tuple[Any, ...]:
        return _layer, (self._recording, self._place)

    def __repr__(self) -> str:
        return f"<attlas.Layer {self} · {self.n_heads} heads · {self.n_queries} × {self.n_keys}>"

    def __str__(self) -> str:
        stack = f"{self.stack} " if self.stack else ""
        quantity = "" if self.quantity == "weight" else f" ({self.quantity})"
        return f"{stack}{self.kind} layer {self.index}{quantity}"


class Recording(Analyses):
    """Every head of a run. Cheap to hold: a head's map is computed, or read from the file, when it is asked for.

    ``rec["encoder", "L3H7"]`` and ``rec["encoder", 3, 7]`` are maps, ``rec["encoder", 3]`` is a layer; where only one kind of
    attention was recorded, ``rec["L3H7"]`` is enough.
    """

    __slots__ = ("_digest", "_layers", "_native", "_path", "_shown", "_stamp", "generated")

    def __init__(
        self, native: _attlas.Recording, path: str | None = None, generated: Sequence[str] = ()
    ) -> None:
        self._native = native
        self._path = path
        self._stamp = None if path is None else _stamp(path)
        self._digest: bytes | None = None
        self._layers: tuple[Layer, ...] | None = None
        self._shown: dict[str, _attlas.Recording] = {}
        self.generated = tuple(generated)
        """The texts that the model generated, one for each text of the batch; empty where none were, and after opening a file."""

    # What it holds

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of attention whose weights were recorded, in the order of a forward pass."""
        return tuple(self._native.kinds)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer, encoder before decoder before cross."""
        if self._layers is None:
            self._layers = tuple(Layer(self, at, facts) for at, facts in enumerate(self._native.layers()))
        return self._layers

    @property
    def items(self) -> tuple[Item, ...]:
        """The texts of the batch; all have the same padded lengths."""
        return tuple(self.item(at) for at in range(self._native.n_items))

    def item(self, item: SupportsIndex = 0) -> Item:
        """One text of the batch."""
        data = json.loads(self._native.item(_count(item, self._native.n_items, "text")))
        axes = {name: _tokens(tokens) for name, tokens in data.get("axes", {}).items()}
        sides = [_tokens(data.get(side, {})) for side in ("source", "target", "predicted")]
        text = sides[1].text.encode()
        words = [text[span["start"] : span["end"]].decode() for span in data.get("unknown_words", [])]
        avoided = tuple(data.get("avoided_words", []))
        n_prompt, n_repeated = data.get("n_prompt"), data.get("n_repeated")
        return Item(sides[0], sides[1], sides[2], n_prompt, axes, tuple(words), n_repeated, avoided)

    @property
    def provenance(self) -> Provenance:
        """Where the recording comes from, and what a reader must know of it."""
        data = json.loads(self._native.provenance())
        writer = f"{data['writer']['name']} {data['writer']['version']}".strip()
        model, family, revision, dtype, mode = (data[name] for name in ("model", "family", "revision", "dtype", "mode"))
        notes, edits = tuple(data["notes"]), tuple(data.get("edits", ()))
        return Provenance(model, family, revision, dtype, mode, writer, data["method"], notes, edits)

    def checks(self) -> tuple[Check, ...]:
        """Looks at the numbers of every layer: finite, in their range, 0 on padding, rows that sum to 1."""
        return tuple(_check(json.loads(data), problem) for data, problem in self._native.checks())

    # What it gives

    def layer(self, kind: Kind | tuple[Kind, LayerIndex] | str | Layer, index: LayerIndex | None = None) -> Layer:
        """A layer of attention weights: ``rec.layer("encoder", 3)``, ``rec.layer("encoder", "L3")``, ``rec.layer("encoder:L3")``.

        Raises :class:`attlas.MissingError` (an ``IndexError``), which says what there is.
        """
        if isinstance(kind, Layer):
            return self.layers[kind._place]
        name: Any = kind
        if isinstance(kind, tuple):
            name, index = kind
        if index is None:
            name, index = self._parted(name)
        if not isinstance(name, str):
            raise MissingError(f"{name!r} is no kind of attention; there are {', '.join(self.kinds)}")
        number = head_of(index)[0] if isinstance(index, str) else _number(index, "layer")
        return self.layers[self._native.place(name, number)]

    def map(
        self,
        kind: Kind | str | tuple[Any, ...] | Layer,
        layer: LayerIndex | None = None,
        head: Head = None,
        item: SupportsIndex = 0,
        *,
        quantity: str | None = None,
    ) -> Map:
        """The map of one head for one text: ``rec.map("encoder", 3, 7)``, ``rec.map("encoder", "L3H7")``, ``rec.map("encoder:L3H7")``.

        Where one kind of attention was recorded, ``rec.map("L3H7")`` is enough.
        ``head="mean"``, or a layer without a head, is the mean over the layer's heads, which may look like none of them. Nothing is computed yet.

        ``quantity`` is what the map shows in place of weights, as :func:`attlas.record` keeps it: ``"norm"``, ``"alti"`` and others;
        ``"rollout"`` and ``"flow"`` are computed where the recording does not keep them. Maps of all heads together have no ``head``.
        Raises :class:`attlas.MissingError` (an ``IndexError``), which says what there is, and :class:`attlas.Error` for a quantity that needs
        the model and was not kept.
        """
        if isinstance(kind, tuple):
            kind, layer, head = (*kind, None, None)[:3]
        if isinstance(kind, Layer):  # a layer, and a head of it
            if quantity is None:
                return self.layer(kind).map(layer if head is None else head, item)
            of_layer, head = kind, layer if head is None else head
            kind, layer = of_layer.kind, of_layer.index
        if layer is None and not (kind in KINDS and head is not None):
            kind, layer = self._parted(kind)
        of, number = layer_and_head(layer, head)
        if of is None:
            raise MissingError(f"no layer of {kind} is named; layers and heads are written L3 and L3H7")
        if quantity is None or quantity == "weight":
            return self.layer(kind, of).map(number, item)
        head = None if number is None or isinstance(number, str) else _number(number, "head")
        native = self._with(quantity).map_of(quantity, str(kind), of, head, _count(item, self._native.n_items, "text"))
        place = next((place for place, layer in enumerate(self.layers) if (layer.kind, layer.index) == (str(kind), of)), 0)
        return Map(self, place, head, whole_number(item) % self._native.n_items, quantity=quantity, native=native)

    def _with(self, quantity: str | None) -> _attlas.Recording:
        """The recording with maps of a quantity beside its weights."""
        if quantity is None or quantity == "weight":
            return self._native
        if quantity not in self._shown:
            try:
                self._shown[quantity], remarks = self._native.with_quantity(quantity)
            except MissingError:
                raise
            except Error as error:
                if not str(error).endswith("needs the model"):
                    raise
                raise Error(f"{error}: attlas.record(…, quantities=[{quantity!r}]) keeps it") from None
            for remark in remarks:
                import warnings

                warnings.warn(remark, stacklevel=3)
        return self._shown[quantity]

    @overload
    def __getitem__(self, key: Literal["encoder", "decoder", "cross"]) -> tuple[Layer, ...]: ...
    @overload
    def __getitem__(self, key: tuple[str, SupportsIndex]) -> Layer: ...
    @overload
    def __getitem__(self, key: tuple[str, str]) -> Layer | Map: ...
    @overload
    def __getitem__(self, key: tuple[str, LayerIndex, Head]) -> Map: ...
    @overload
    def __getitem__(self, key: str) -> tuple[Layer, ...] | Layer | Map: ...
    def __getitem__(self, key: Any) -> tuple[Layer, ...] | Layer | Map:
        """The layers of a kind, a layer or a map; which of them a text such as ``"L3H7"`` means, no type checker knows: :meth:`map` and :meth:`layer` do.

        Raises :class:`attlas.MissingError` (an ``IndexError``), which says what there is.
        """
        if isinstance(key, str):
            if key in KINDS:
                return self._of_kind(key)
            key = self._parted(key)
        if not isinstance(key, tuple) or not 2 <= len(key) <= 3:
            raise MissingError('a recording is asked for ("encoder", 3), ("encoder", 3, 7), ("encoder", "L3H7") or "encoder:L3H7"')
        kind, index, *head = key
        if head or (isinstance(index, str) and head_of(index)[1] is not None):
            return self.map(kind, index, *head)
        return self.layer(kind, index)

    def _of_kind(self, kind: Kind) -> tuple[Layer, ...]:
        """The layers of a kind's weights; none where there is no such kind."""
        return tuple(layer for layer in self.layers if layer.kind == kind and layer.quantity == "weight")

    __iter__ = None  # a recording is no sequence

    def queries(self, kind: Kind | tuple[Kind, LayerIndex] | Layer, layer: LayerIndex | None = None) -> npt.NDArray[Any]:
        """Queries of a layer; see :meth:`Layer.queries`. A view of memory where they lie there, else read from the file."""
        return self.layer(kind, layer).queries()

    def keys(self, kind: Kind | tuple[Kind, LayerIndex] | Layer, layer: LayerIndex | None = None) -> npt.NDArray[Any]:
        """Keys of a layer; see :meth:`Layer.keys`."""
        return self.layer(kind, layer).keys()

    def values(self, kind: Kind | tuple[Kind, LayerIndex] | Layer, layer: LayerIndex | None = None) -> npt.NDArray[Any]:
        """Values of a layer, where they were recorded; see :meth:`Layer.values`."""
        return self.layer(kind, layer).values()

    def lse(self, kind: Kind | tuple[Kind, LayerIndex] | Layer, layer: LayerIndex | None = None) -> npt.NDArray[Any]:
        """Log-sum-exps of a layer; see :meth:`Layer.lse`."""
        return self.layer(kind, layer).lse()

    def heads(self, item: int | None = None) -> Table:
        """What every head scores under every measure, beside its baseline and interval; of one text, or of all together.

        One row per kind, layer, head and measure; ``docs/measures.md`` says what each is. ``score`` is missing where it cannot be computed, and
        ``absent`` says why.
        """
        from attlas.tables import Table

        return Table(_columns(self._native.heads(self._text(item))))

    def standouts(self, item: int | None = None) -> Table:
        """What stands out: heads whose score reaches its threshold and whose 95 % interval lies over the baseline."""
        from attlas.tables import Table

        return Table(_columns(self._native.standouts(self._text(item))))

    def _text(self, item: int | None) -> int | None:
        return None if item is None else _count(item, self._native.n_items, "text")

    def figure(
        self,
        picture: Literal["map", "lines", "heads", "layers", "overview"] = "overview",
        *,
        kind: Kind | None = None,
        layer: LayerIndex | None = None,
        head: Head = None,
        item: SupportsIndex = 0,
        words: bool = False,
        special: bool = True,
        silence: bool = False,
        label_rows: Literal["read", "predicted"] | None = None,
        rows: Stretch | None = None,
        columns: Stretch | None = None,
        quantity: str | None = None,
        **style: Unpack[StyleOptions],
    ) -> Figure:
        """A picture: one ``"map"``, its ``"lines"``, all ``"heads"`` of a layer, one head in all ``"layers"``, or an ``"overview"``.

        Where nothing is said: cross-attention, else a decoder's, else an encoder's; its last layer; the mean over heads (of ``"layers"``, head 0).
        ``words`` merges the pieces of a word, ``special=False`` hides special tokens, ``rows`` and ``columns`` show a part (first, end), and
        ``label_rows`` names a decoder's rows after the token read or the one predicted. ``quantity`` is what is shown in place of weights, as in
        :meth:`map`. Style: :class:`attlas.figures.StyleOptions`.
        """
        of, number = layer_and_head(layer, head)
        whole = {"overview": "every layer and head", "heads": "every head of a layer", "layers": "one head in every layer"}.get(picture, "")
        if picture == "overview" and layer is not None or picture == "layers" and layer is not None and head is None:
            raise Error(f"the picture {picture!r} shows {whole}, and layer={layer!r} chooses one: leave it out, or ask for \"heads\" or a \"map\"")
        if picture in ("overview", "heads") and number is not None:
            raise Error(f"the picture {picture!r} shows {whole}, and head {number} is one: leave it out, or ask for a \"map\"")
        if picture == "layers" and number is None:
            number = 0
        view = {
            "kind": kind,
            "layer": None if of is None else _number(of, "layer"),
            "head": None if number is None or isinstance(number, str) else self._head(kind, of, number),
            "item": _count(item, self._native.n_items, "text"),
            "words": words,
            "special": special,
            "silence": silence,
            "label_rows": label_rows,
            "rows": rows,
            "columns": columns,
            "quantity": quantity,
        }
        return Figure(self._with(quantity).figure(picture, view, style_of(style)), (_drawn, (self, picture, view, dict(style))))

    def _head(self, kind: Kind | None, layer: int | None, head: int) -> int:
        """A head of the layer that a picture shows, from the end when negative."""
        if head >= 0:
            return head
        shown = self._native.defaults(kind)
        of = self.layer(shown[0], shown[1] if layer is None else layer)
        return _count(head, of.n_heads, "head", f" in {of}")

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        title: str | None = None,
        open: tuple[Any, ...] | str | None = None,
        max_bytes: int | None = None,
    ) -> str:
        """The page that shows every head and opens with no network; with ``path``, written there, too.

        ``open`` names the head that is shown first, as :meth:`map` does. ``max_bytes`` is the largest size of the page's attention data (64 MiB where nothing is
        said); what is larger is shown as tiles. Raises :class:`attlas.LimitError` when that would not fit either.
        """
        opened = None
        if open is not None:
            shown = self.map(open)
            opened = (self.layer(shown.kind, shown.layer)._place, shown.head or 0)
        page = self._native.to_html(title, opened, max_bytes)
        if path is not None:
            _attlas.write_file(os.fspath(path), page.encode())
        return page

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: the page; see :func:`attlas.show`."""
        from attlas.view import View

        return View(self)._repr_mimebundle_() | {"text/plain": repr(self)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the recording to a safetensors file, complete or not at all. Warns when its numbers fail their checks.

        Raises :class:`attlas.FileError` (an ``OSError``) when it cannot be written.
        """
        name = os.fspath(path)
        complaint = self._native.save(name)
        self._path = os.path.abspath(name)
        self._stamp = _stamp(self._path)
        if complaint is not None:
            import warnings

            warnings.warn(complaint, stacklevel=2)

    def to_bytes(self) -> bytes:
        """The bytes that :meth:`save` writes."""
        return self._native.to_bytes()

    @staticmethod
    def from_bytes(data: bytes) -> Recording:
        """The recording whose :meth:`to_bytes` these are."""
        return Recording(_attlas.Recording.from_bytes(data))

    # How it behaves among other objects

    def __eq__(self, other: object) -> bool:
        """Whether both would be the same file, byte for byte."""
        if not isinstance(other, Recording):
            return NotImplemented
        return self._native is other._native or self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def _content(self) -> bytes:
        if self._digest is None:
            self._digest = self._native.digest()
        return self._digest

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its file's path where it has one, with a digest of what is in it; else, and where the file is another by now, by its bytes."""
        if self._path is not None and self._stamp is not None and _stamp(self._path) == self._stamp:
            return _opened, (self._path, self.generated, self._stamp, self._content())
        return _restored, (self.to_bytes(), self.generated)

    def __copy__(self) -> Recording:
        copied = Recording(self._native, self._path, self.generated)
        copied._stamp = self._stamp
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Recording:
        return self.__copy__()  # nothing in it can change

    def __repr__(self) -> str:
        n_items = self._native.n_items
        parts = [self.provenance.model or "arrays", f"{n_items} text{'' if n_items == 1 else 's'}"]
        for kind in self.kinds:
            layers = self._of_kind(kind)
            heads = sorted({layer.n_heads for layer in layers})
            parts.append(f"{kind} {len(layers)}×{heads[0]}" + (f" to {heads[-1]}" if len(heads) > 1 else ""))
        sizes = {side: len(tokens.tokens) for side, tokens in zip(("source", "target"), self.item(0)[:2], strict=True)}
        parts.append(" + ".join(f"{n} {side}" for side, n in sizes.items() if n) + " tokens")
        n_edits = len(self.provenance.edits)
        parts += [f"changed by {n_edits} edit{'' if n_edits == 1 else 's'}"] if n_edits else []
        notes = self.provenance.notes
        parts += dict.fromkeys(head for head in map(_head, notes) if head is not None)
        return f"<attlas.Recording {' · '.join(parts)}>"

    def _parted(self, name: Any) -> tuple[Any, Any]:
        """Kind and layer or head of ``cross:L2H4``, and of ``L2H4`` where only one kind can be meant."""
        if name in KINDS:
            raise MissingError(f"no layer of {name} is named; layers and heads are written L3 and L3H7")
        kind, colon, head = name.partition(":") if isinstance(name, str) else ("", "", name)
        return (kind, head) if colon else (self._only_kind(name), name)

    def _only_kind(self, head: object) -> Kind:
        """The kind of attention that is meant where none is named."""
        if len(self.kinds) == 1:
            return self.kinds[0]
        if isinstance(head, str) and head != "mean" and not is_head(head):
            raise MissingError(f"{head!r} is no kind of attention, of which there are {', '.join(self.kinds)}, and no head, as L3H7 is")
        there = ", ".join(f'("{kind}", {head!r})' for kind in self.kinds)
        raise MissingError(f"{head!r} does not say the kind of attention; there are {there}")


def open(path: str | os.PathLike[str]) -> Recording:
    """Opens a recording; its arrays stay in the file until they are asked for.

    Raises :class:`attlas.FileError` (an ``OSError``) when the file cannot be read, and :class:`attlas.FormatError` when it is no recording.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise FileError(f"a path was expected, not a {type(path).__name__}")
    name = os.fspath(path)
    if not name:
        raise FileError("the path is empty: it names no file")
    return Recording(_attlas.Recording.open(name), os.path.abspath(name))


def _opened(path: str, generated: tuple[str, ...], stamp: tuple[int, int, int], digest: bytes) -> Recording:
    """Unpickles by path: what lies there must be what was pickled. A file that is the same by its stamp is not read for that."""
    recording = Recording(_attlas.Recording.open(path), path, generated)
    if recording._stamp != stamp and recording._content() != digest:
        raise FileError(f"{path}: the file is another than the recording that was pickled with its path: it was written anew since")
    recording._digest = digest
    return recording


def _stamp(path: str) -> tuple[int, int, int] | None:
    """Which file lies at a path, and when it was written; another file, or another writing, has another."""
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_ino, about.st_size, about.st_mtime_ns


def _restored(data: bytes, generated: tuple[str, ...]) -> Recording:
    """Unpickles by bytes."""
    return Recording(_attlas.Recording.from_bytes(data), None, generated)


def _drawn(recording: Recording, picture: Any, view: dict[str, Any], style: dict[str, Any]) -> Figure:
    """Unpickles a picture: it is drawn again."""
    return recording.figure(picture, **view, **style)


def _layer(recording: Recording, place: int) -> Layer:
    """Unpickles a layer."""
    return recording.layers[place]


def _head(note: str) -> str | None:
    """The beginning of a note that says how far a capture is to be believed, for one line; `None` of another."""
    if note.startswith(("weights · values equals", "softmax gave what")):
        return note.partition(",")[0]
    if note.startswith("dropout was on"):
        return "dropout was on"
    head, colon, _ = note.partition(": ")
    return head if colon and head.endswith(("not checked", "not captured", "was assumed")) else None


def _count(number: SupportsIndex, n: int, what: str, where: str = "") -> int:
    """A number counted from 0, or from the end when negative."""
    number = whole_number(number, what)
    if -n <= number < n:
        return number % n
    raise MissingError(f"there is no {what} {number}{where}; there are {n}, counted from 0")


def _number(number: SupportsIndex, what: str) -> int:
    """A number counted from 0; a model's last layer is not -1, because not every layer of it attends."""
    number = whole_number(number, what)
    if number < 0:
        raise MissingError(f"there is no {what} {number}; they count from 0")
    return number


def _tokens(data: dict[str, Any]) -> Tokens:
    """Tokens as files have them."""

    def token(data: dict[str, Any]) -> Token:
        span = data.get("span")
        ends = None if span is None else (span["start"], span["end"])
        return Token(data["text"], data.get("role", "text"), data.get("id"), ends, data.get("word"))

    return Tokens(data.get("text", ""), tuple(token(one) for one in data.get("tokens", ())))


def _check(data: dict[str, Any], problem: str | None) -> Check:
    quantity, stack = data.get("quantity", "weight"), data.get("stack")
    error, n_rows = data["max_row_error"], data["n_rows"]
    error = float("nan") if error is None else error
    return Check(data["kind"], data["layer"], stack, quantity, problem is None, problem, error, (n_rows[0], n_rows[1]))


def _columns(lists: dict[str, list[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Columns as arrays: whole numbers as int64, numbers as float64 with NaN for what is missing, texts as objects with ``None``."""
    import numpy as np

    def column(values: list[Any]) -> npt.NDArray[Any]:
        present = [value for value in values if value is not None]
        if all(isinstance(value, bool) for value in present) and len(present) == len(values) and values:
            return np.array(values, np.bool_)
        if present and all(isinstance(value, int) for value in present) and len(present) == len(values):
            return np.array(values, np.int64)
        if present and all(isinstance(value, (int, float)) for value in present):
            return np.array([float("nan") if value is None else value for value in values], np.float64)
        return np.array(values, object)

    return {name: column(values) for name, values in lists.items()}
