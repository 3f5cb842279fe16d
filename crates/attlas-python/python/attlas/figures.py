"""Pictures of attention: SVG, PDF and PNG, the same bytes for the same input."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from attlas import _attlas
from attlas._indexing import refuse_unknown
from attlas.errors import Error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Scale = Literal["linear", "log", "row"]


class StyleOptions(TypedDict, total=False):
    """How a picture looks.

    ``title``: the heading; by default it says what is drawn. ``width``: of the picture, in points (1/72 inch), 160 to 5000; by
    default by content. ``dpi``: pixels per inch of a PNG, 36 to 1200. ``scale``: how a weight becomes a colour, ``"linear"``,
    ``"log"`` or ``"row"`` (each row divided by its largest weight); by default linear, and logarithmic for an overview of which
    most would be one colour. ``panel_scale``: ``"shared"`` by all panels, or each its ``"own"``. ``theme``: ``"light"`` or
    ``"dark"``. ``colormap``: ``"viridis"`` and others; an unknown name is answered with those that there are.
    """

    title: str
    width: float | None
    dpi: float
    scale: Scale | None
    panel_scale: Literal["shared", "own"]
    theme: Literal["light", "dark"]
    colormap: str


def style_of(options: StyleOptions) -> dict[str, object]:
    """The options with their defaults, checked, as the native module takes them."""
    style: dict[str, object] = {
        "title": "",
        "width": None,
        "dpi": 144.0,
        "scale": None,
        "panel_scale": "shared",
        "theme": "light",
        "colormap": "viridis",
    }
    refuse_unknown("figure", options, style)
    style.update(options)
    dpi, width = options.get("dpi", 144.0), options.get("width")
    if not _is_within(dpi, 36, 1200):
        raise Error(f"dpi is {dpi!r}; a number from 36 to 1200 was expected")
    if width is not None and not _is_within(width, 160, 5000):
        raise Error(f"width is {width!r}; points from 160 to 5000 were expected (72 to the inch)")
    return style


def _is_within(number: Any, least: float, most: float) -> bool:
    """Whether this is a number, and within these."""
    return hasattr(number, "__float__") and least <= float(number) <= most


class Figure:
    """A picture, laid out and ready to be written."""

    __slots__ = ("_made", "_native")

    def __init__(self, native: _attlas.Figure, made: tuple[Any, tuple[Any, ...]] | None = None) -> None:
        self._native = native
        self._made = made  # what draws it again, and with what

    def __eq__(self, other: object) -> bool:
        """Whether both look the same."""
        return self.to_svg() == other.to_svg() if isinstance(other, Figure) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_svg())

    def __copy__(self) -> Figure:
        return self  # nothing in it can change

    def __deepcopy__(self, memo: dict[int, Any]) -> Figure:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as what it is drawn from."""
        if self._made is None:
            raise Error("this picture cannot be drawn again elsewhere: save it, or pickle what to_svg() or to_png() gives")
        return self._made

    @property
    def problem(self) -> str | None:
        """What of the numbers in the picture fails their checks; ``None`` where nothing does. The picture says it, too."""
        return self._native.problem

    def to_svg(self) -> str:
        """The picture as SVG; its text is text."""
        return self._native.svg()

    def to_png(self) -> bytes:
        """The picture as PNG, at the ``dpi`` that it was made with."""
        return self._native.png()

    def to_pdf(self) -> bytes:
        """The picture as PDF, with its fonts in it."""
        return self._native.pdf()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the picture, complete or not at all; the file's name says the format: ``.svg``, ``.pdf`` or ``.png``.

        Raises :class:`attlas.Error` for another name and :class:`attlas.FileError` (an ``OSError``) when it cannot be written.
        """
        name = os.fspath(path)
        ending = os.path.splitext(name)[1].lower()
        if ending == ".svg":
            content = self.to_svg().encode()
        elif ending == ".pdf":
            content = self.to_pdf()
        elif ending == ".png":
            content = self.to_png()
        else:
            raise Error(f"{name}: pictures are .svg, .pdf or .png files")
        _attlas.write_file(name, content)

    def draw(self, ax: Axes | None = None) -> Axes:
        """Draws the picture on matplotlib axes, which become its page, and returns them; see :func:`attlas.plot.draw`."""
        from attlas.plot import draw

        return draw(self, ax)

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: the picture as SVG, and as PNG where SVG is not trusted."""
        from attlas.notebook import picture_of

        return picture_of(self.to_svg(), self.to_png(), repr(self))

    def __repr__(self) -> str:
        return "<attlas.Figure>"
