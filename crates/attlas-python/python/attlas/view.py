"""The page of a recording, opened on one of its heads: a notebook shows it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from attlas._indexing import layer_and_head, number_from
from attlas.errors import Error, LimitError, MissingError
from attlas.notebook import bundle_of

if TYPE_CHECKING:
    from attlas.figures import Figure
    from attlas.recordings import Recording

HEIGHT = 640
"""How tall a view is, in CSS pixels, where nothing is said."""

MAX_BYTES = 8 << 20
"""The most attention data that one output adds to a notebook; what is larger is shown as tiles. :meth:`View.to_html` has another limit."""


class View:
    """The page of a recording, opened on one head. The last value of a cell is shown; :meth:`to_html` gives the page itself."""

    def __init__(
        self,
        recording: Recording,
        kind: str | None = None,
        layer: int | str | None = None,
        head: int | str | None = None,
        *,
        height: int = HEIGHT,
        title: str | None = None,
    ) -> None:
        height = number_from(height, 200, 4000, "height")
        if kind is not None and not isinstance(kind, str):
            raise MissingError(f"{kind!r} is no kind of attention; there are {', '.join(recording.kinds)}")
        if title is not None and not isinstance(title, str):
            raise Error(f"title is {title!r}; a text was expected")
        if kind is not None and ":" in kind and layer is None:
            kind, layer = kind.split(":", 1)
        of, number = layer_and_head(layer, head)
        if kind is None and (of is not None or number is not None):
            kind = recording._only_kind(of if of is not None else number)
        if kind is not None and of is None:
            layers = recording._of_kind(kind)
            of = layers[-1].index if layers else recording.layer(kind, 0).index
        self.recording = recording
        self.kind = kind
        self.layer = of
        self.head = None if isinstance(number, str) else number
        self.height = height
        self.title = title
        if kind is not None and of is not None:
            recording.map(kind, of, number)  # what is not there is said here, not in a notebook's output

    def to_html(self, path: str | os.PathLike[str] | None = None, *, max_bytes: int | None = None) -> str:
        """The page as one HTML text that loads nothing; with ``path``, written there, too. See :meth:`attlas.Recording.to_html`."""
        return self.recording.to_html(path, title=self.title, open=self._opened, max_bytes=max_bytes)

    def still(self) -> Figure:
        """The picture that stands in for the page: the opened head, all heads of the opened layer, or all heads of the last kind.

        All kinds one below the other would be shrunk into the frame's height until nobody can read them.
        """
        if self.head is not None:
            return self.recording.figure("map", kind=self.kind, layer=self.layer, head=self.head, dpi=96)
        picture = "overview" if self.layer is None else "heads"
        kind = self.recording.kinds[-1] if self.kind is None else self.kind
        return self.recording.figure(picture, kind=kind, layer=self.layer, dpi=96)  # type: ignore[arg-type]

    @property
    def _opened(self) -> tuple[Any, ...] | None:
        return None if self.kind is None else (self.kind, self.layer, self.head or 0)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        text = repr(self)
        try:
            return bundle_of(self.to_html(max_bytes=MAX_BYTES), self.still().to_png(), text, self.height)
        except LimitError as error:
            return {"text/plain": f"{text}\nno page: {error}"}

    def __eq__(self, other: object) -> bool:
        """Whether both show the same of equal recordings."""
        if not isinstance(other, View):
            return NotImplemented
        return self._shown == other._shown and self.recording == other.recording

    def __hash__(self) -> int:
        return hash((self._shown, self.recording))

    @property
    def _shown(self) -> tuple[Any, ...]:
        return self.kind, self.layer, self.head, self.height, self.title

    def __repr__(self) -> str:
        where = "" if self.kind is None else f" at {self.kind} L{self.layer}" + ("" if self.head is None else f"H{self.head}")
        return f"<attlas.View{where} of {self.recording!r}>"


def show(
    recording: Recording,
    kind: str | None = None,
    layer: int | str | None = None,
    head: int | str | None = None,
    *,
    height: int = HEIGHT,
    title: str | None = None,
) -> View:
    """The page of a recording in a notebook, ``height`` pixels tall, opened on one head: ``attlas.show(rec, "cross", "L2H4")``.

    Without a kind, the page chooses the head that stands out most. A cell shows its last value; elsewhere call IPython's
    ``display`` with it. Raises :class:`attlas.MissingError` (an ``IndexError``), which says what there is.
    """
    return View(recording, kind, layer, head, height=height, title=title)
