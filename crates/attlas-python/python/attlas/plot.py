"""Maps and figures drawn on matplotlib axes; what ``Map.plot`` and ``Figure.draw`` call.

``plot`` draws one map with matplotlib's own means: its cells are one image, its tokens tick labels. ``draw`` draws a whole
figure of attlas, which may hold many maps, as it was laid out: cells as images, labels as text, lines as lines.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from attlas import _attlas
from attlas._panels import Look, Panel, drawable, literal, pyplot
from attlas._panels import draw as draw_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

    from attlas.figures import Figure
    from attlas.maps import Map

_POINTS_PER_INCH = 72.0
# The smallest text, in points, that is drawn without a warning.
_SMALLEST_TEXT = 4.0
_TITLES = {"encoder": "encoder self-attention", "decoder": "decoder self-attention", "cross": "cross-attention"}
# Whose tokens the rows and the columns are.
_AXES = {"encoder": ("source", "source"), "decoder": ("target", "target"), "cross": ("target", "source")}


def plot(
    map: Map,
    ax: Axes | None = None,
    *,
    title: str | None = None,
    top: float | None = None,
    cmap: str | Colormap | None = None,
    colorbar: bool = True,
) -> Axes:
    """Draws a map on matplotlib axes and returns them; padding is left out.

    Args:
        map: a map of a recording.
        ax: where to draw; a new figure is made where nothing is given.
        title: above the map; kind, layer and head where nothing is given. What a reader must be told stands under it.
        top: the number of the last colour, so that several maps can share one scale; the map's largest where none is given.
        cmap: a matplotlib colour map; viridis, or blue to orange where numbers have either sign.
        colorbar: whether a colour bar states the scale; without one it is stated below the map.
    """
    map = map.without_padding()
    words, signed = map.quantity
    rows, columns = _AXES[map.kind]
    heading = f"{_TITLES[map.kind]} {map.name}" if title is None else title
    panel = Panel(map.weights(), heading, map.queries, map.keys)
    look = Look(
        words=words,
        signed=signed,
        top=top,
        cmap=cmap,
        colorbar=colorbar,
        query_axis=f"query ({rows} token)",
        key_axis=f"key ({columns} token)",
        remarks=tuple(map.remarks),
    )
    figure = draw_panels([panel], look, axes=ax)
    axes: Axes = figure.axes[0] if ax is None else ax
    return axes


def draw(figure: Figure, ax: Axes | None = None) -> Axes:
    """Draws a figure of attlas on matplotlib axes and returns them.

    The axes become the figure's page: one unit is one point of it, y goes down, and ticks and frame go. Texts are set in
    matplotlib's font, as large as the axes are now; axes that are made larger afterwards keep their texts' size.
    """
    width, height, ground, marks = _attlas.marks(figure._native)
    if ax is None:
        page = pyplot().figure(figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH))
        ax = page.add_axes((0.0, 0.0, 1.0, 1.0))
    ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal", facecolor=ground)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    box = ax.get_window_extent()
    scale = min(box.width / width, box.height / height) * _POINTS_PER_INCH / ax.figure.dpi
    fit = _fit(mark for mark in marks if mark["mark"] == "label")
    _warn_of_small_text(marks, scale, width, height)
    for place, mark in enumerate(marks):
        order = 2 + place / len(marks)
        if mark["mark"] == "image":
            _image(ax, mark, order)
        elif mark["mark"] == "label":
            _label(ax, mark, scale * fit[mark["size"]], order)
        elif mark["mark"] == "rect":
            _rect(ax, mark, order)
        else:
            _line(ax, mark, scale, order)
    ax.set(xlim=(0, width), ylim=(height, 0))  # images move them
    return ax


def _warn_of_small_text(marks: list[dict[str, Any]], scale: float, width: float, height: float) -> None:
    """Says how large axes must be where nobody can read the picture on these."""
    sizes = [mark["size"] for mark in marks if mark["mark"] == "label"]
    if sizes and min(sizes) * scale < _SMALLEST_TEXT:
        import warnings

        need = _SMALLEST_TEXT / min(sizes) / _POINTS_PER_INCH
        warnings.warn(
            f"the picture's text is {min(sizes) * scale:.1f} points on these axes; give it axes of at least {width * need:.1f} × {height * need:.1f} "
            "inches (figsize=), or plot its maps one by one with Map.plot",
            stacklevel=4,
        )


def _image(ax: Axes, mark: dict[str, Any], order: float) -> None:
    left, upper, width, height = mark["box"]
    pixels = np.frombuffer(mark["rgb"], np.uint8).reshape(*mark["shape"], 3)
    extent = (left, left + width, upper + height, upper)
    ax.imshow(pixels, extent=extent, interpolation="nearest", aspect="equal", zorder=order)


def _label(ax: Axes, mark: dict[str, Any], scale: float, order: float) -> None:
    across, down = mark["at"]
    text = ax.text(across, down, drawable(mark["text"]), fontsize=mark["size"] * scale, color=mark["color"], zorder=order)
    text.set(rotation=-mark["angle"], rotation_mode="anchor", ha=mark["anchor"], va="baseline")
    literal(text)


def _rect(ax: Axes, mark: dict[str, Any], order: float) -> None:
    from matplotlib.patches import Rectangle

    left, upper, width, height = mark["box"]
    ax.add_patch(Rectangle((left, upper), width, height, facecolor=mark["color"], linewidth=0, zorder=order))


def _line(ax: Axes, mark: dict[str, Any], scale: float, order: float) -> None:
    across, down = np.asarray(mark["points"]).T
    width = mark["width"] * scale
    ax.plot(across, down, color=mark["color"], alpha=mark["opacity"], linewidth=width, solid_capstyle="butt", zorder=order)


def _fit(labels: Iterable[dict[str, Any]]) -> dict[float, float]:
    """How much smaller each size of text is set, so that matplotlib's wider font needs no more room than attlas's own."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font, measure = FontProperties(), TextToPath()
    fit: dict[float, float] = {}
    for label in labels:
        font.set_size(label["size"])
        wide = measure.get_text_width_height_descent(drawable(label["text"]), font, ismath=False)[0]
        ratio = label["width"] / wide if wide > 0 else 1.0
        fit[label["size"]] = max(0.75, min(fit.get(label["size"], 1.0), ratio))
    return fit
