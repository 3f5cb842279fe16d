"""Recordings among other Python objects: pickled, copied, compared, kept alive."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attlas


def test_a_saved_recording_is_pickled_by_its_path(saved: Path) -> None:
    opened = attlas.open(saved)
    data = pickle.dumps(opened)
    assert len(data) < 1000 and str(saved).encode() in data
    assert pickle.loads(data) == opened


def test_one_that_was_never_saved_is_pickled_whole(rec: attlas.Recording) -> None:
    restored = pickle.loads(pickle.dumps(rec))
    assert restored == rec and restored.generated == rec.generated


def test_maps_and_layers_are_pickled_with_their_recording(rec: attlas.Recording) -> None:
    m = pickle.loads(pickle.dumps(rec.map("cross", 2, 4).words()))
    assert np.array_equal(m.weights(), rec.map("cross", 2, 4).words().weights()) and m.name == "L2H4"
    layer = pickle.loads(pickle.dumps(rec["cross", 1]))
    assert np.array_equal(layer.queries(), rec["cross", 1].queries())


def test_copies_are_equal(rec: attlas.Recording) -> None:
    for same in (copy.copy(rec), copy.deepcopy(rec), attlas.Recording.from_bytes(rec.to_bytes())):
        assert same == rec and hash(same) == hash(rec) and {same: 1}[rec] == 1
    assert rec != "rec" and not rec == 3


def test_equal_maps_compare_equal(rec: attlas.Recording) -> None:
    assert rec.map("cross", 2, 4) == rec["cross", "L2H4"]
    assert rec.map("cross", 2, 4) != rec.map("cross", 2, 4).words()
    assert rec.map("cross", 2, 4) != rec.map("cross", 2, 3)
    assert len({rec.map("cross", 2, 4), rec["cross", "L2H4"], rec.map("cross", 2, "mean")}) == 2


def test_arrays_are_read_only_views_that_outlive_their_recording(saved: Path) -> None:
    rec = attlas.Recording.from_bytes(saved.read_bytes())
    arrays = [rec.queries("encoder", 0), rec.keys("encoder", 0), rec.lse("encoder", 0), rec.map("encoder", 0, 0).weights()]
    kept = [array.copy() for array in arrays]
    again = rec.queries("encoder", 0)
    assert np.shares_memory(arrays[0], again)  # the recording's own memory, not a copy of it
    for array in arrays:
        assert not array.flags.writeable and not array.flags.owndata
        with pytest.raises(ValueError):
            array[0] = 0
    del rec, again
    gc.collect()
    attlas.record("Something else to fill the memory that might have been freed.")
    assert all(np.array_equal(array, copied) for array, copied in zip(arrays, kept, strict=True))


def _weights(path: str) -> float:
    return float(attlas.open(path)["cross", "L2H4"].weights().sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_compute_too(rec: attlas.Recording, saved: Path, method: str) -> None:
    expected = float(rec["cross", "L2H4"].weights().sum())  # this process has started its threads
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply_async(_weights, [str(saved)]).get(timeout=60) == expected


def test_places_that_are_no_whole_numbers_are_errors_of_attlas(rec: attlas.Recording) -> None:
    m = rec.map("cross", 0, 0)
    untyped: Any = rec
    asks: list[tuple[Any, str]] = [
        (lambda: rec["cross", 10**20, 0], "there is no layer 1000"),
        (lambda: rec["cross", 0, 10**20], "there is no head 1000"),
        (lambda: untyped["cross", 1.5, 0], "1.5 is no layer: a whole number was expected, not a float"),
        (lambda: untyped["cross", 0, 1.5], "1.5 is no head"),
        (lambda: rec["cross", 0, 99], "there is no head 99 in cross layer 0; there are 8"),
        (lambda: untyped[3, 0], "3 is no kind of attention; there are encoder, decoder, cross"),
        (lambda: m[1.5, 0], "1.5 is no query"),
        (lambda: rec.map("cross", 0, 0, item=1.5), "1.5 is no text"),  # type: ignore[arg-type]
        (lambda: rec.heads(-2), "there is no text -2"),
        (lambda: rec.figure("map", kind="cross", layer=0, head=-9), "there is no head -9 in cross layer 0"),
    ]
    for ask, said in asks:
        with pytest.raises(attlas.MissingError, match=said):
            ask()
    assert rec.figure("map", kind="cross", layer=0, head=-1).to_svg() == rec.figure("map", kind="cross", layer=0, head=7).to_svg()


def test_texts_models_and_paths_that_are_none_are_errors_of_attlas() -> None:
    asks: list[tuple[Any, str]] = [
        (lambda: attlas.record("a \ud800"), "text 0 is not Unicode"),
        (lambda: attlas.record("a", model=5), "not a.* int; attlas.capture records a PyTorch model"),  # type: ignore[arg-type]
        (lambda: attlas.record("a", model="nofile.safetensors"), "nofile.safetensors: there is no such file"),
        (lambda: attlas.record("a", model=""), "the path is empty"),
        (lambda: attlas.record("a", knock_out=("cross", 0, -1)), "layers and heads count from 0"),
        (lambda: attlas.record("a", beams="x"), "beams is 'x'"),  # type: ignore[arg-type]
        (lambda: attlas.record("a", foo=1), r"record\(\) has no argument 'foo'; there are .*beams"),  # type: ignore[call-arg]
        (lambda: attlas.survey(["a"], foo=1), r"survey\(\) has no argument 'foo'; there are texts, model, column"),  # type: ignore[arg-type]
        (lambda: attlas.survey.batch(foo=1), r"survey.batch\(\) has no argument 'foo'; there are model, column"),  # type: ignore[arg-type]
        (lambda: attlas.survey(["a"], longest="x"), "longest is 'x'; a whole number from 1"),  # type: ignore[arg-type]
        (lambda: attlas.lens("a", top="x"), "top is 'x'"),  # type: ignore[arg-type]
        (lambda: attlas.check("a", permutations="x"), "permutations is 'x'"),  # type: ignore[arg-type]
        (lambda: attlas.ablate("a", heads=3), "heads is 3, which names no head"),  # type: ignore[arg-type]
        (lambda: attlas.open(""), "the path is empty"),
        (lambda: attlas.open(5), "a path was expected"),  # type: ignore[arg-type]
    ]
    for ask, said in asks:
        with pytest.raises(attlas.Error, match=said):
            ask()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"height": "x"}, "height is 'x'; a whole number from 200 to 4000"), ({"kind": 3}, "3 is no kind of attention"), ({"title": 3}, "title is 3")],
)
def test_what_a_view_cannot_be_shown_with_is_named(rec: attlas.Recording, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(attlas.Error, match=said):
        attlas.show(rec, **arguments)


@pytest.mark.parametrize(("style", "said"), [({"dpi": "x"}, "dpi is 'x'"), ({"width": "x"}, "width is 'x'"), ({"foo": 1}, r"figure\(\) has no argument 'foo'")])
def test_what_a_picture_cannot_be_drawn_with_is_named(rec: attlas.Recording, style: dict[str, Any], said: str) -> None:
    with pytest.raises(attlas.Error, match=said):
        rec.figure("map", **style)


def test_an_unknown_argument_is_a_type_error_too() -> None:
    with pytest.raises(TypeError) as raised:
        attlas.record("a", foo=1)  # type: ignore[call-arg]
    assert isinstance(raised.value, attlas.ArgumentError) and isinstance(raised.value, attlas.Error)


def test_pictures_and_views_are_copied_pickled_and_compared(rec: attlas.Recording) -> None:
    figure = rec.figure("heads", kind="cross", layer=1, title="eight")
    assert pickle.loads(pickle.dumps(figure)) == figure == copy.deepcopy(figure)
    assert figure != rec.figure("heads", kind="cross", layer=0) and len({figure, copy.copy(figure)}) == 1
    one = rec.map("cross", 1, 2).words().figure(lines=True)
    assert pickle.loads(pickle.dumps(one)).to_svg() == one.to_svg()
    view = attlas.show(rec, "cross", "L1H2")
    assert view == attlas.show(rec, "cross", 1, 2) != attlas.show(rec, "cross", 1, 3)
    assert pickle.loads(pickle.dumps(view)) == view


def test_the_line_says_how_many_heads_unequal_layers_have() -> None:
    arrays = {f"encoder.{layer}": np.tile(np.eye(3), (1, n, 1, 1)) for layer, n in enumerate((2, 4, 3))}
    assert "encoder 3×2 to 4" in repr(attlas.from_attentions(arrays))
