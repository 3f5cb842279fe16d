"""One attention map: asked piece by piece, whole, in words, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attlas import _attlas
from attlas._indexing import Place, Stretch, place_in, stretch_in
from attlas.errors import Error, MissingError
from attlas.figures import Figure, StyleOptions, style_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from typing_extensions import Unpack

    from attlas.recordings import Recording

    Weights = npt.NDArray[np.float32]


class Map:
    """One head's attention for one text, or the mean over a layer's heads. Rows are queries, columns are keys.

    Nothing is computed until it is asked for. A map of another :attr:`quantity` has that in the place of weights. Weights lie in 0 to 1; a row sums to 1, less what a learned sink takes
    (:meth:`sink`), or to 0 where a query sees no key. Arrays are float32 and read-only. In a batch rows and columns of padding are there and
    mean nothing; :meth:`words`, :meth:`without_special` and :meth:`without_padding` leave them out.
    """

    __slots__ = ("_native", "_place", "_quantity", "_recording", "_shown", "_special", "_words", "head", "item", "kind", "layer")

    def __init__(
        self,
        recording: Recording,
        place: int,
        head: int | None,
        item: int,
        *,
        words: bool | None = None,
        special: bool = True,
        quantity: str | None = None,
        native: _attlas.Map | None = None,
    ) -> None:
        """Made by :meth:`attlas.Recording.map`; ``place`` is that of the layer in ``recording.layers``, or of one of the same kind and index."""
        layer = recording.layers[place]
        if native is not None:
            self._native = native
        elif quantity is None:
            self._native = recording._native.map(place, head, item)
        else:
            self._native = recording._with(quantity).map_of(quantity, layer.kind, layer.index, head, item)
        self._quantity = quantity
        self._recording = recording
        self._place = place
        self._words = words  # None: the map as it was recorded, padding included
        self._special = special
        self._shown: _Shown | None = None
        self.kind = layer.kind
        self.layer = layer.index
        self.head = head  #: ``None`` for the mean over the layer's heads
        self.item = item

    @property
    def name(self) -> str:
        """Such as ``L3H7``, or ``L3`` for the mean over heads."""
        return f"L{self.layer}" if self.head is None else f"L{self.layer}H{self.head}"

    @property
    def shape(self) -> tuple[int, int]:
        """Queries and keys, or what they were merged to."""
        return self._native.shape if self._words is None else self._merged().shape

    @property
    def queries(self) -> list[str]:
        """The tokens or words along the rows, in order."""
        return [text for text, _ in self._native.tokens()[0]] if self._words is None else self._merged().rows

    @property
    def keys(self) -> list[str]:
        """The tokens or words along the columns, in order."""
        return [text for text, _ in self._native.tokens()[1]] if self._words is None else self._merged().columns

    @property
    def tokens(self) -> tuple[list[str], list[str]]:
        """The tokens or words along rows and columns."""
        return self.queries, self.keys

    @property
    def remarks(self) -> list[str]:
        """What a reader must know of the map as it is shown: that it fails its checks, what was left out and what that held."""
        return self._merged().remarks

    @property
    def removed(self) -> Weights:
        """What each row has in columns that are left out (:meth:`without_special`), in 0 to 1. Shape ``[queries]``."""
        import numpy as np

        if self._words is None:
            removed = np.zeros(self.shape[0], np.float32)
            removed.flags.writeable = False
            return removed
        return self._merged().removed

    @property
    def quantity(self) -> tuple[str, bool]:
        """What the numbers are, in words, and whether they lie on both sides of 0."""
        return self._native.quantity

    def weights(self) -> Weights:
        """The whole map. Shape ``[queries, keys]``."""
        import numpy as np

        return np.asarray(self._native.weights()) if self._words is None else self._merged().weights

    def row(self, query: Place) -> Weights:
        """The weights of one query over all keys. Shape ``[keys]``.

        A negative number counts from the end; a text names the token or word that stands there once.
        Raises :class:`attlas.MissingError` (an ``IndexError``) when there is no such row.
        """
        import numpy as np

        place = place_in(query, self.queries, self.shape[0], "query")
        return np.asarray(self._native.row(place)) if self._words is None else self._merged().weights[place]

    def column(self, key: Place) -> Weights:
        """The weights that all queries give one key. Shape ``[queries]``. Named and refused as in :meth:`row`."""
        import numpy as np

        place = place_in(key, self.keys, self.shape[1], "key")
        return np.asarray(self._native.column(place)) if self._words is None else self._merged().weights[:, place]

    def tile(self, first_query: int, end_query: int, first_key: int, end_key: int) -> Weights:
        """The weights of some queries over some keys; ends are not included. Shape ``[queries, keys]`` of the tile.

        Only the tile is computed. Raises :class:`attlas.MissingError` when it reaches outside the map.
        """
        import numpy as np

        queries = stretch_in((first_query, end_query), self.shape[0], "queries")
        keys = stretch_in((first_key, end_key), self.shape[1], "keys")
        if self._words is not None:
            return self._merged().weights[slice(*queries), slice(*keys)]
        return np.asarray(self._native.tile(queries, keys))

    def __getitem__(self, index: Any) -> Any:
        """``m[q, k]`` is one weight, ``m[q]`` a row, ``m[:, k]`` a column, ``m[2:5, :3]`` a tile; other indices as NumPy's."""
        pair = index if isinstance(index, tuple) and len(index) == 2 else (index, slice(None))
        queries, keys = (_part(part, *axis) for part, axis in zip(pair, self._axes()))
        if isinstance(queries, range) and isinstance(keys, range):
            return self.tile(queries.start, queries.stop, keys.start, keys.stop)
        if isinstance(queries, int) and isinstance(keys, (int, range)):
            return self.row(queries)[keys if isinstance(keys, int) else slice(keys.start, keys.stop)]
        if isinstance(queries, range) and isinstance(keys, int):
            return self.column(keys)[queries.start : queries.stop]
        return self.weights()[index if pair is not index else tuple(_of_numpy(part) for part in (queries, keys))]

    def _axes(self) -> tuple[tuple[list[str], int, str], tuple[list[str], int, str]]:
        """Labels, length and name of each axis."""
        return (self.queries, self.shape[0], "query"), (self.keys, self.shape[1], "key")

    def sink(self) -> Weights:
        """What a learned sink takes of each query's weight, in 0 to 1; 0 where the model has none. Shape ``[queries]`` as recorded."""
        import numpy as np

        return np.asarray(self._native.sink())

    def words(self) -> Map:
        """The map between words: weights are summed over the pieces of a key's word and averaged over those of a query's.

        So rows keep their sum (Clark et al. 2019, §4.1). Padding is left out; tokens outside words stay as they are.
        """
        return self._as(words=True, special=self._special)

    def without_special(self) -> Map:
        """The map without special tokens on either axis. Weights are not rescaled: :attr:`removed` says what is missing."""
        return self._as(words=bool(self._words), special=False)

    def without_padding(self) -> Map:
        """The map without the rows and columns that only fill a batch."""
        return self._as(words=bool(self._words), special=self._special)

    def figure(self, *, lines: bool = False, **style: Unpack[StyleOptions]) -> Figure:
        """A picture of the map; with ``lines``, of lines from each query to its keys. Style: :class:`attlas.figures.StyleOptions`.

        Padding is left out, and a map of more than 2²⁴ weights becomes an overview, which the picture says.
        """
        view = {"item": self.item, "words": bool(self._words), "special": self._special}
        return Figure(self._native.figure(lines, view, style_of(style)), (_drawn, (self, lines, dict(style))))

    def _repr_svg_(self) -> str:
        return self.figure().to_svg()

    def plot(
        self,
        ax: Axes | None = None,
        *,
        title: str | None = None,
        top: float | None = None,
        cmap: str | Colormap | None = None,
        colorbar: bool = True,
    ) -> Axes:
        """Draws the map with matplotlib, which must be installed, and returns the axes; see :func:`attlas.plot.plot`."""
        from attlas.plot import plot

        return plot(self, ax, title=title, top=top, cmap=cmap, colorbar=colorbar)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: the picture."""
        return self.figure(dpi=96)._repr_mimebundle_() | {"text/plain": repr(self)}

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        import numpy as np

        weights = self.weights()
        if dtype is not None and np.dtype(dtype) != weights.dtype:
            if copy is False:
                raise Error(f"the weights are float32, and cannot be {np.dtype(dtype)} without a copy")
            return weights.astype(dtype)
        return weights.copy() if copy else weights

    def __dlpack__(self, **options: Any) -> Any:
        """The weights for another library (``torch.from_dlpack(m)``)."""
        weights = self.weights()
        try:
            return weights.__dlpack__(**options)
        except (BufferError, TypeError):  # a consumer that knows nothing of read-only memory gets memory of its own
            return weights.copy().__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0  # the processor's memory

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        what = self.name if self.head is not None else f"{self.name}, mean of heads"
        unit = "words" if self._words else "tokens"
        quantity = "" if self._quantity is None else f"{self._quantity} · "
        return f"<attlas.Map {self.kind} {what} · {quantity}{self.shape[0]} × {self.shape[1]} {unit}>"

    def __eq__(self, other: object) -> bool:
        """Whether both are the same part of equal recordings, shown alike."""
        if not isinstance(other, Map):
            return NotImplemented
        return self._key() == other._key() and self._recording == other._recording

    def __hash__(self) -> int:
        return hash((self._key(), self._recording))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._recording, *self._key())

    def _key(self) -> tuple[int, int | None, int, bool | None, bool, str | None]:
        return self._place, self.head, self.item, self._words, self._special, self._quantity

    def _as(self, *, words: bool, special: bool) -> Map:
        quantity, native = self._quantity, self._native
        return Map(self._recording, self._place, self.head, self.item, words=words, special=special, quantity=quantity, native=native)

    def _merged(self) -> _Shown:
        if self._shown is None:
            self._shown = _Shown(self._native, words=bool(self._words), special=self._special)
        return self._shown


def _part(part: Any, labels: list[str], n: int, axis: str) -> Any:
    """A place as a number, a stretch of neighbours as a range; what else NumPy indexes with as it is."""
    if isinstance(part, slice) and part.step in (None, 1):
        first, end, _ = part.indices(n)
        return range(first, max(first, end))
    if isinstance(part, float):
        raise MissingError(f"{part!r} is no {axis}: a whole number, a slice or a token was expected")
    is_number = hasattr(part, "__index__") and getattr(part, "ndim", 0) == 0 and not isinstance(part, bool)
    return place_in(part, labels, n, axis) if is_number or isinstance(part, str) else part


def _of_numpy(part: Any) -> Any:
    return slice(part.start, part.stop) if isinstance(part, range) else part


class _Shown:
    """A map as it is shown, computed once."""

    __slots__ = ("columns", "remarks", "removed", "rows", "shape", "weights")

    def __init__(self, native: _attlas.Map, *, words: bool, special: bool) -> None:
        import numpy as np

        weights, self.rows, self.columns, removed, self.remarks = native.shown(words, special)
        self.weights: Weights = np.asarray(weights)
        self.removed: Weights = np.asarray(removed)
        self.shape = (len(self.rows), len(self.columns))


def _drawn(map: Map, lines: bool, style: dict[str, Any]) -> Figure:
    """Unpickles a picture: it is drawn again."""
    return map.figure(lines=lines, **style)


def _restored(
    recording: Recording,
    place: int,
    head: int | None,
    item: int,
    words: bool | None,
    special: bool,
    quantity: str | None = None,
) -> Map:
    """Unpickles a map."""
    return Map(recording, place, head, item, words=words, special=special, quantity=quantity)
