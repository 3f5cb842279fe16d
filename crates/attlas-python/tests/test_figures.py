"""Pictures, as files and as bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

import attlas

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("picture", ["map", "lines", "heads", "layers", "overview"])
def test_every_picture_is_drawn(rec: attlas.Recording, picture: str) -> None:
    figure = rec.figure(picture, kind="encoder")  # type: ignore[arg-type]
    assert figure.to_svg().startswith("<svg") and figure.problem is None
    assert figure.to_svg() == rec.figure(picture, kind="encoder").to_svg()  # type: ignore[arg-type]


def test_a_picture_is_saved_by_its_name(rec: attlas.Recording, tmp_path: Path) -> None:
    figure = rec.map("cross", 2, 4).figure(title="A title", scale="log", theme="dark", dpi=72)
    for ending, begins in [("svg", b"<svg"), ("pdf", b"%PDF"), ("png", PNG)]:
        figure.save(tmp_path / f"a.{ending}")
        assert (tmp_path / f"a.{ending}").read_bytes().startswith(begins)
    assert "A title" in figure.to_svg()
    with pytest.raises(attlas.Error, match="a.jpg: pictures are"):
        figure.save(tmp_path / "a.jpg")
    with pytest.raises(OSError, match="could not be written"):
        figure.save(tmp_path / "nowhere" / "a.png")


def test_a_figure_shows_itself(rec: attlas.Recording) -> None:
    m = rec.map("cross", 2, 4)
    assert m._repr_svg_() == m.figure()._repr_svg_()
    assert "L2H4" in m._repr_svg_()


def test_a_wrong_option_is_a_sentence(rec: attlas.Recording) -> None:
    for options, says in [
        ({"colour": "red"}, r"figure\(\) has no argument 'colour'; there are title"),
        ({"theme": "blue"}, "there are light, dark"),
        ({"dpi": 7}, "from 36 to 1200"),
    ]:
        with pytest.raises(attlas.Error, match=says):
            rec.map("cross", 2, 4).figure(**options)  # type: ignore[arg-type]
    with pytest.raises(attlas.Error, match="unknown picture"):
        rec.figure("pie")  # type: ignore[arg-type]


def test_a_picture_of_all_takes_no_layer_or_head_and_says_so(rec: attlas.Recording) -> None:
    for options in ({"layer": 0}, {"head": 0}, {"layer": "L0H1"}, {"head": "L0H1"}):
        with pytest.raises(attlas.Error, match="the picture 'overview' shows every layer and head"):
            rec.figure("overview", kind="encoder", **options)
    with pytest.raises(attlas.Error, match="the picture 'heads' shows every head of a layer, and head 1 is one"):
        rec.figure("heads", kind="encoder", layer=0, head=1)
    with pytest.raises(attlas.Error, match="the picture 'layers' shows one head in every layer, and layer=0"):
        rec.figure("layers", kind="encoder", layer=0)
