"""Maps and figures on matplotlib axes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attlas

matplotlib: Any = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
matplotlib.use("Agg")
plt: Any = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def labels(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def written(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def test_a_map_is_one_image_with_its_tokens_and_a_stated_scale(rec: attlas.Recording) -> None:
    one = rec.map("cross", 2, 4)
    axes: Any = one.plot()
    assert np.array_equal(axes.images[0].get_array(), one.weights())
    assert labels(axes.xaxis) == [text.strip() for text in one.keys]
    assert labels(axes.yaxis) == [text.strip() for text in one.queries]
    assert axes.get_title() == "cross-attention L2H4"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("key (source token)", "query (target token)")
    top = one.weights().max()
    assert axes.images[0].get_clim() == (0.0, pytest.approx(top))
    assert f"attention weight, 0 to {top:.3g}" in written(axes.figure)


def test_a_map_is_drawn_on_axes_of_ones_own_and_two_share_a_scale(rec: attlas.Recording) -> None:
    figure, places = plt.subplots(1, 2)
    for head, place in enumerate(places):
        assert rec.map("encoder", 0, head).plot(place, top=1.0, title=f"head {head}", colorbar=False) is place
    assert [place.images[0].get_clim() for place in places] == [(0.0, 1.0)] * 2
    assert all("attention weight, 0 to 1" in place.get_xlabel() for place in places)
    assert len(figure.axes) == 2


def test_what_a_reader_must_be_told_stands_under_the_title(rec: attlas.Recording) -> None:
    said = rec.map("encoder", 0, "mean").plot().get_title()
    assert "mean over 8 heads" in said.replace("\n", " ")
    hidden: Any = rec.map("encoder", 0, 1).without_special().plot()
    assert hidden.images[0].get_array().shape == rec.map("encoder", 0, 1).without_special().shape
    assert "</s>" not in labels(hidden.xaxis)


def test_padding_of_a_batch_is_not_drawn() -> None:
    batch = attlas.record(["The cat sat.", "The dog ran over the bridge."])
    short = batch.map("encoder", 0, 0, item=0)
    drawn: Any = short.plot().images[0].get_array()
    assert drawn.shape == short.without_padding().shape != short.shape


def test_numbers_of_either_sign_have_zero_in_the_middle_of_their_colours() -> None:
    from attlas._panels import Look, Panel, draw

    weights = np.array([[-0.25, 0.0], [0.5, 0.1]])
    image: Any = draw([Panel(weights)], Look(words="difference", signed=True)).axes[0].images[0]
    assert image.get_clim() == (-0.5, 0.5)
    middle, low, high = (image.cmap(image.norm(value))[:3] for value in (0.0, -0.5, 0.5))
    assert min(middle) > 0.85 and low[2] > low[0] and high[0] > high[2]  # near white, blue, orange


def test_a_figure_is_drawn_with_cells_as_images_and_labels_as_text(rec: attlas.Recording, tmp_path: Path) -> None:
    figure = rec.figure("heads", kind="encoder", layer=0)
    axes: Any = figure.draw()
    svg = figure.to_svg()
    assert len(axes.images) == svg.count("<image")
    drawn: Any = {text.get_text() for text in axes.texts}
    assert {"L0H0", "L0H7", "The", "cat", "mat"} <= drawn
    points = [float(size) * 0.75 for size in re.findall(r'^<svg[^>]* (?:width|height)="([\d.]+)', svg)]
    assert axes.figure.get_size_inches()[0] > 1 and axes.get_xlim()[0] == 0 and (not points or points[0] > 0)
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        axes.figure.savefig(tmp_path / "heads.svg")
    assert ">L0H7<" in (tmp_path / "heads.svg").read_text(encoding="utf-8")


def test_a_drawn_figure_looks_like_its_own_picture(rec: attlas.Recording) -> None:
    figure = rec.figure("map", kind="cross", layer=2, head=4, dpi=72)
    image: Any = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    import io

    own = np.asarray(image.open(io.BytesIO(figure.to_png())).convert("RGB"), np.float64)
    page: Any = figure.draw().figure
    page.set_dpi(72)
    page.canvas.draw()
    drawn: Any = np.asarray(page.canvas.buffer_rgba(), np.float64)[..., :3]
    height, width = (min(sizes) for sizes in zip(own.shape[:2], drawn.shape[:2]))
    differs = np.abs(own[:height, :width] - drawn[:height, :width]).max(2) > 60
    assert differs.mean() < 0.04  # letters of another font, and edges


def test_a_figure_is_drawn_into_a_part_of_a_page(rec: attlas.Recording) -> None:
    left: Any
    right: Any
    page, (left, right) = plt.subplots(1, 2, figsize=(8, 4))
    assert rec.figure("lines", kind="encoder", layer=0, head=3).draw(right) is right
    assert right.lines and right.texts and not left.texts
    sizes: Any = [text.get_fontsize() for text in right.texts]
    assert 2 < min(sizes) <= max(sizes) < 14
    page.canvas.draw()


def test_a_label_is_drawn_as_it_is_written_whatever_it_means_to_matplotlib() -> None:
    tokens = ["$a_$", "b\nc", "_x"]
    one = attlas.from_attentions(np.eye(3)[None], tokens, kind="encoder").map("encoder", 0, 0)
    axes: Any = one.plot()
    assert labels(axes.xaxis)[0] == "$a_$" and "\n" not in labels(axes.xaxis)[1]
    axes.figure.canvas.draw()
    page: Any = one.figure().draw()
    assert "$a_$" in {text.get_text() for text in page.texts}
    page.figure.canvas.draw()


def test_without_matplotlib_a_sentence_says_what_draws_instead(
    rec: attlas.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    for drawn in (rec.map("cross", 2, 4).plot, rec.figure("overview").draw):
        with pytest.raises(ImportError, match=r"matplotlib, which is not installed; figure\(\)\.save\(\) draws without it"):
            drawn()


def test_labels_that_have_no_room_on_axes_of_ones_own_end_in_an_ellipsis() -> None:
    words = ["incomprehensibilities-and-more-of-them", "a", "b"]
    one = attlas.from_attentions(np.eye(3), words, kind="encoder").map("encoder", 0, 0)
    figure, place = plt.subplots(figsize=(6, 5))
    one.plot(place)
    figure.canvas.draw()
    edge = figure.bbox
    for axis in (place.xaxis, place.yaxis):
        assert labels(axis)[0].startswith("inc") and labels(axis)[0].endswith("…") and labels(axis)[1:] == ["a", "b"]
        for label in axis.get_ticklabels():
            box = label.get_window_extent()
            assert box.x0 >= edge.x0 and box.y0 >= edge.y0
    assert labels(one.plot().xaxis)[0] == words[0], "a figure of our own has room"


def test_a_figure_on_axes_too_small_for_its_text_is_said_with_the_size_that_does(rec: attlas.Recording) -> None:
    with pytest.warns(UserWarning, match=r"points on these axes; give it axes of at least \d"):
        rec.figure("overview").draw(plt.subplots(figsize=(1.5, 1.5))[1])
