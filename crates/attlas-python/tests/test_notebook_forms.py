"""What a notebook is given, as text."""

from __future__ import annotations

import base64
import builtins
import html
import re

import pytest

import attlas
from attlas.notebook import SANDBOX

PNG = b"\x89PNG\r\n\x1a\n"


def parts(bundle: dict[str, str]) -> tuple[str, bytes]:
    """The page in the frame, and the picture behind it."""
    page = re.search(r"srcdoc='([^']*)'", bundle["text/html"])
    picture = re.search(r'<img [^>]*src="data:image/png;base64,([^"]*)"', bundle["text/html"])
    assert page is not None and picture is not None
    return html.unescape(page[1]), base64.b64decode(picture[1])


def test_a_recording_is_its_page_in_a_sandboxed_frame_over_a_still_picture(rec: attlas.Recording) -> None:
    bundle = rec._repr_mimebundle_()
    page, picture = parts(bundle)
    assert page == rec.to_html()
    assert picture.startswith(PNG) and base64.b64decode(bundle["image/png"]) == picture
    assert bundle["text/plain"] == repr(rec)
    assert f'sandbox="{SANDBOX}"' in bundle["text/html"] and "allow-same-origin" not in bundle["text/html"]
    assert bundle["text/html"].index("<img") < bundle["text/html"].index("<iframe"), "the frame lies over the picture"
    assert bundle["text/html"].count("<iframe") == bundle["text/html"].count("<img") == 1


def test_text_that_looks_like_markup_cannot_leave_its_attribute() -> None:
    hostile = "'\"><script>alert(1)</script><iframe srcdoc='"
    weights = [[[[1.0]]]]
    import numpy as np

    rec = attlas.from_attentions([np.array(weights, np.float32)[0]], [hostile])
    bundle = attlas.show(rec, title=hostile)._repr_mimebundle_()
    page, _ = parts(bundle)
    assert page == attlas.show(rec, title=hostile).to_html()
    outside = bundle["text/html"].replace(re.search(r"srcdoc='[^']*'", bundle["text/html"])[0], "")  # type: ignore[index]
    assert "<script" not in outside and outside.count("<iframe") == 1


def test_a_view_opens_its_head_and_its_still_shows_that(rec: attlas.Recording) -> None:
    view = attlas.show(rec, "encoder", "L1H2", height=420)
    assert (view.kind, view.layer, view.head) == ("encoder", 1, 2)
    page, picture = parts(view._repr_mimebundle_())
    assert '"open":{"kind":"encoder","layer":1,"head":2}' in page
    assert picture == rec.figure("map", kind="encoder", layer=1, head=2, dpi=96).to_png()
    assert "height:420px" in view._repr_mimebundle_()["text/html"]
    assert repr(view).startswith("<attlas.View at encoder L1H2 of <attlas.Recording")
    assert attlas.show(rec, "cross", 2).still().to_png() == rec.figure("heads", kind="cross", layer=2, dpi=96).to_png()


def test_a_view_of_what_is_not_there_is_refused_at_once(rec: attlas.Recording) -> None:
    with pytest.raises(attlas.MissingError):
        attlas.show(rec, "encoder", "L9H0")
    with pytest.raises(attlas.MissingError):
        attlas.show(rec, layer=1)  # of which kind?
    with pytest.raises(attlas.Error, match="height is [0-9]+; a number from 200 to 4000"):
        attlas.show(rec, height=20)


def test_a_map_and_a_figure_are_pictures_in_both_formats(rec: attlas.Recording) -> None:
    for shown in (rec.map("cross", "L2H4"), rec.figure("overview", kind="encoder")):
        bundle = shown._repr_mimebundle_()
        assert bundle["image/svg+xml"].startswith("<svg") and base64.b64decode(bundle["image/png"]).startswith(PNG)
        assert bundle["text/plain"] == repr(shown)


def test_the_policy_hash_is_that_of_the_script_in_every_page(rec: attlas.Recording) -> None:
    page = rec.to_html()
    assert f"script-src {attlas.csp_hash()};" in page and f"style-src {attlas.csp_hash('style')};" in page
    with pytest.raises(attlas.Error, match="it has"):
        attlas.csp_hash("image")  # type: ignore[arg-type]


def test_an_output_adds_little_to_a_notebook(rec: attlas.Recording) -> None:
    bundle = rec._repr_mimebundle_()
    assert sum(len(text) for text in bundle.values()) < 600_000 # a quarter of a megabyte of it is the page's script and style


def test_the_widget_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    plain = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name == "anywidget":
            raise ModuleNotFoundError("No module named 'anywidget'", name="anywidget")
        return plain(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.delitem(sys.modules, "attlas.widget", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=r"pip install attlas\[widget\]"):
        import attlas.widget  # noqa: F401


def test_a_widget_takes_a_selection_whole_in_parts_and_by_name(rec: attlas.Recording) -> None:
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    from attlas.widget import View

    view = View(rec, "cross", "L2H4")
    assert view.selection == {}
    view.select("encoder", "L1H2", query=1)
    assert view.selection == {"item": 0, "kind": "encoder", "layer": 1, "head": 2, "query": 1, "key": None}
    view.selection = {"head": 3}
    assert view.selection == {"item": 0, "kind": "encoder", "layer": 1, "head": 3, "query": None, "key": None}
    before = view.selection
    for nonsense in ({"layer": 9}, {"query": 99}, {"query": "cat"}, {"colour": 1}, {"kind": "mouth"}):
        with pytest.raises(attlas.Error):
            view.selection = nonsense
        assert view.selection == before
    data = view._repr_mimebundle_()[0]
    assert base64.b64decode(data["image/png"]).startswith(PNG)
