"""Maps drawn with matplotlib: cells as one image, labels as text, one colour scale that the picture states."""

from __future__ import annotations

import importlib.util
import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from attlas.errors import Error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.text import Text

# Points of the page: the largest and the smallest text of a token, and the room a smaller one would need.
_LARGEST_TEXT = 9.0
_SMALLEST_TEXT = 6.0
_POINTS_PER_INCH = 72.0
# What ticks and the axis's name take between a label and the figure's edge.
_NAME_POINTS = 18.0
# Control characters by their pictures (U+2400 to U+2421).
_CONTROLS = {0x2400 + code: repr(chr(code))[1:-1] for code in range(32)} | {0x2421: r"\x7f"}
# Of a heading, in matplotlib's own font at ten points.
_CHARACTERS_PER_INCH = 12
# The colour of a cell that is no number, as in attlas's own pictures: one that viridis does not come near.
_MISSING = "#ff2d55"
_MISSING_AMONG_SIGNED = "#78ff00"
# Rows of weights that are further from 1 than this do not sum to 1.
_ROW_SUM_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False)
class Panel:
    """One map of a picture."""

    weights: NDArray[np.floating[Any]]
    """Shape ``[queries, keys]``."""
    title: str = ""
    queries: Sequence[str] | None = None
    """The rows' labels."""
    keys: Sequence[str] | None = None
    """The columns' labels."""

    def __post_init__(self) -> None:
        if self.weights.ndim != 2:
            raise Error(
                f"a map has two axes, [queries, keys], but an array of shape {list(self.weights.shape)} was given; "
                "choose one text and one head, such as weights[0, 3]"
            )
        if 0 in self.weights.shape:
            raise Error(f"a map of shape {list(self.weights.shape)} has nothing to draw")
        for axis, labels, size in zip(("rows (queries)", "columns (keys)"), (self.queries, self.keys), self.weights.shape):
            if labels is not None and len(labels) != size:
                raise Error(
                    f"the map has {size} {axis} but {len(labels)} labels were given; "
                    "were special tokens dropped on one side only?"
                )


@dataclass(frozen=True)
class Look:
    """How the maps of one picture are drawn."""

    words: str = "attention weight"
    """What the numbers are, for the colour bar."""
    signed: bool = False
    """Whether numbers lie on both sides of 0, which is then the middle of the colours."""
    top: float | None = None
    """The number of the last colour; the largest of all panels where nothing is said."""
    cmap: str | Colormap | None = None
    colorbar: bool = True
    query_axis: str = "query (attending)"
    key_axis: str = "key (attended to)"
    remarks: tuple[str, ...] = field(default=())
    """What a reader must be told, below the heading."""


def draw(panels: Sequence[Panel], look: Look, *, axes: Any = None, figsize: tuple[float, float] | None = None, columns: int = 4, heading: str = "") -> Figure:
    """Draws maps with one colour scale, each on its own axes, and returns the figure they are in.

    Without ``axes`` a new figure is made, as large as its labels need unless ``figsize`` (inches) is given.
    """
    if not panels:
        raise Error("there is no map to draw")
    top = _top(panels) if look.top is None else look.top
    if not (math.isfinite(top) and top > 0):
        raise Error(f"the last colour must stand for a number over 0, not {top}")
    places = _given_axes(axes, len(panels)) if axes is not None else _new_axes(panels, columns, figsize)
    figure = cast("Figure", places[0].figure)  # a SubFigure draws as a Figure does
    images = [_draw_panel(place, panel, look, top) for place, panel in zip(places, panels)]
    _say_scale(figure, places, images[0], look, top, len(panels))
    if len(panels) == 1:
        said = _heading((panels[0].title, heading, *look.remarks), places[0].get_window_extent().width / places[0].figure.dpi + 2)
        literal(places[0].set_title(said, fontsize=10))
    elif heading or look.remarks:
        literal(figure.suptitle(_heading((heading, *look.remarks), figure.bbox.width / figure.dpi), fontsize=10))
    root = figure.get_figure(root=True)
    if root is not None and root.get_layout_engine() is not None:
        root.draw_without_rendering()  # maps keep their proportions only in a second pass of the layout
    return figure


def _heading(lines: Iterable[str], inches: float) -> str:
    """Lines that fit into so many inches."""
    n_characters = max(24, int(inches * _CHARACTERS_PER_INCH))
    return "\n".join(part for line in lines if line for part in textwrap.wrap(shown(line), n_characters))


def remarks_of(panels: Iterable[Panel], known: str = "") -> tuple[str, ...]:
    """What is to be said of weights whose rows do not sum to 1; rows that are all zero are padding, and say nothing.

    ``known`` is why they do not, where that is known.
    """
    sums = np.concatenate([panel.weights.sum(axis=1, dtype=np.float64) for panel in panels])
    sums = sums[np.isfinite(sums) & (sums != 0)]
    if sums.size == 0 or np.abs(sums - 1).max() <= _ROW_SUM_TOLERANCE:
        return (known,) if known else ()
    if known:
        guess = ""
    elif sums.max() > 1 + _ROW_SUM_TOLERANCE:
        guess = "; dropout was on, or these are no attention weights"
    else:
        guess = "; keys are left out, a sink takes the rest, or dropout was on"
    stated = f"rows sum to {sums.min():.2f} … {sums.max():.2f}, not to 1{guess}"
    return (known, stated) if known else (stated,)


def pyplot() -> Any:
    """``matplotlib.pyplot``, where matplotlib is installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise NotInstalled("this picture is drawn with matplotlib, which is not installed; figure().save() draws without it")
    import matplotlib.pyplot

    return matplotlib.pyplot


class NotInstalled(Error, ImportError):
    """A package that this needs is not installed."""


def _top(panels: Sequence[Panel]) -> float:
    """The largest size of all numbers; 1 where all are 0 or none is finite."""
    sizes = [np.abs(panel.weights[np.isfinite(panel.weights)]).max(initial=0.0) for panel in panels]
    return float(max(sizes)) or 1.0


def _given_axes(axes: Any, n_panels: int) -> list[Axes]:
    """The axes that were handed in, one for each map."""
    from matplotlib.axes import Axes

    flat = np.asarray(axes, dtype=object).ravel().tolist()
    if len(flat) < n_panels or not all(isinstance(place, Axes) for place in flat):
        raise Error(f"{n_panels} {'map needs' if n_panels == 1 else 'maps need'} as many matplotlib Axes; {len(flat)} were given")
    return flat[:n_panels]


def _new_axes(panels: Sequence[Panel], columns: int, figsize: tuple[float, float] | None) -> list[Axes]:
    """Axes of a new figure in rows of ``columns``, with room for the labels."""
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    if figsize is None:
        width = max(_inches(panel.weights.shape[1], panel.queries, len(panels)) for panel in panels)
        height = max(_inches(panel.weights.shape[0], panel.keys, len(panels)) for panel in panels)
        figsize = (max(columns * width + 1.0, 6.0), rows * height + 1.0)
    figure, axes = pyplot().subplots(rows, columns, figsize=figsize, squeeze=False, layout="constrained")
    for spare in axes.ravel()[len(panels) :]:
        spare.set_axis_off()
    return list(axes.ravel()[: len(panels)])


def _inches(n_cells: int, labels_beside: Sequence[str] | None, n_panels: int) -> float:
    """Room for a map along one axis: its cells, and the labels that stand before them."""
    cells = min(max(0.2 * n_cells, 1.6 if n_panels > 1 else 3.0), 6.0)
    longest = max((len(shown(label)) for label in labels_beside or ()), default=0)
    return cells + 0.6 + 0.07 * min(longest, 30)


def _draw_panel(axes: Axes, panel: Panel, look: Look, top: float) -> AxesImage:
    cmap = _colors(look)
    low = -top if look.signed or float(np.nanmin(panel.weights, initial=0.0)) < 0 else 0.0
    image = axes.imshow(panel.weights, cmap=cmap, vmin=low, vmax=top, interpolation="nearest", aspect="equal")
    literal(axes.set_title(panel.title, fontsize=10))
    keys = _label_axis(axes, "x", panel.keys, panel.weights.shape, look.key_axis)
    queries = _label_axis(axes, "y", panel.queries, panel.weights.shape, look.query_axis)
    place = axes.get_subplotspec()
    if place is None or place.is_last_row():
        axes.set_xlabel(keys, fontsize=8)
    if place is None or place.is_first_col():
        axes.set_ylabel(queries, fontsize=8)
    return image


def _label_axis(axes: Axes, which: str, labels: Sequence[str] | None, shape: tuple[int, ...], name: str) -> str:
    """Puts the tokens beside their cells, every one or as many as can be read, and returns the axis's name."""
    size = shape[1] if which == "x" else shape[0]
    box = axes.get_window_extent()
    dots_per_point = axes.figure.dpi / _POINTS_PER_INCH
    cell = min(box.width / shape[1], box.height / shape[0]) / dots_per_point
    axis = axes.xaxis if which == "x" else axes.yaxis
    if labels is None:
        from matplotlib.ticker import MaxNLocator

        axis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
        axis.set_tick_params(labelsize=_SMALLEST_TEXT + 1)
        return name
    step = max(1, math.ceil(_SMALLEST_TEXT / (0.85 * cell)))
    places = list(range(0, size, step))
    axis.set_ticks(places, [shown(labels[place]) for place in places])
    text_size = min(_LARGEST_TEXT, max(_SMALLEST_TEXT, 0.85 * cell * step))
    for text in axis.get_ticklabels():
        literal(text)
        text.set(fontsize=text_size, rotation=90 if which == "x" else 0)
    if axes.figure.get_layout_engine() is None:  # nobody makes room
        _shorten(axes, which, places, labels)
    return name if step == 1 else f"{name}, one in {step} labelled"


def _shorten(axes: Axes, which: str, places: Sequence[int], labels: Sequence[str]) -> None:
    """Cuts labels to the room between the axes and the figure's edge, where they would be cut without a sign."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    box = axes.get_window_extent()
    taken = _NAME_POINTS * axes.figure.dpi / _POINTS_PER_INCH
    room = (box.y0 if which == "x" else box.x0) - taken
    cut = []
    for place, text in zip(places, axis.get_ticklabels()):
        label, extent = shown(labels[place]), text.get_window_extent()
        long = extent.height if which == "x" else extent.width
        keep = len(label) if long <= room else max(2, int(len(label) * room / long) - 1)
        cut.append(label if keep >= len(label) else label[:keep] + "…")
    axis.set_ticklabels(cut)
    for text in axis.get_ticklabels():
        literal(text)


def shown(label: str) -> str:
    """A token as it is drawn: what is invisible in it is shown."""
    from attlas._attlas import visible

    return drawable(visible(str(label)))


def drawable(text: str) -> str:
    """A text whose pictures of control characters, which matplotlib's own font lacks, are written as Python writes them."""
    return text.translate(_CONTROLS)


def literal(text: Text) -> Text:
    """The text is drawn as it is written: ``$a_$`` is no mathematics."""
    text.set(parse_math=False, usetex=False)
    return text


def _colors(look: Look) -> Colormap:
    """Viridis, or attlas's own colours for numbers of either sign, which all eyes tell apart."""
    from matplotlib import colormaps
    from matplotlib.colors import Colormap, ListedColormap

    if isinstance(look.cmap, Colormap):
        return look.cmap
    if look.cmap is None and look.signed:
        from attlas._attlas import palette

        colors = np.frombuffer(palette("diverging"), np.uint8).reshape(-1, 3) / 255.0
        return ListedColormap(colors.tolist(), name="attlas").with_extremes(bad=_MISSING_AMONG_SIGNED)
    return colormaps[look.cmap or "viridis"].with_extremes(bad=_MISSING)


def _say_scale(figure: Figure, axes: list[Axes], image: AxesImage, look: Look, top: float, n_panels: int) -> None:
    """States what the colours stand for: on a colour bar, or below the first map where none is wanted."""
    low = image.get_clim()[0]
    panels = " in all maps" if n_panels > 1 else ""
    stated = f"{look.words}, {low:.3g} to {top:.3g}{panels}"
    if look.colorbar:
        bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=30)
        bar.set_label(stated, fontsize=8)
        bar.ax.tick_params(labelsize=7)
    else:
        axes[0].set_xlabel(f"{axes[0].get_xlabel()}\ncolours: {stated}")
