"""Recordings: what they hold, how they are asked, how they behave among other objects."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attlas


def test_a_sentence_is_translated_and_every_head_recorded(rec: attlas.Recording) -> None:
    assert rec.kinds == ("encoder", "decoder", "cross")
    assert rec.generated and rec.generated[0].startswith("Le chat")
    assert rec.item().source.text == "The cat sat on the mat."
    assert "cat" in rec.item().source.labels
    assert (rec.provenance.method, rec.provenance.beams, rec.provenance.mode) == ("beam", 5, "eval")
    assert all(check.passed for check in rec.checks())


def test_weights_are_the_softmax_of_queries_and_keys(rec: attlas.Recording) -> None:
    q, k = rec.queries("encoder", 1)[0, 3], rec.keys("encoder", 1)[0, 3]
    scores = (q @ k.T).astype(np.float64) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    found = rec.map("encoder", 1, 3).weights()
    assert found.dtype == np.float32
    assert np.abs(found - weights).max() < 1e-6
    assert np.allclose(np.log(np.exp(scores).sum(-1)), rec.lse("encoder", 1)[0, 3], atol=1e-5)


def test_a_head_has_many_names(rec: attlas.Recording) -> None:
    expected = rec.map("cross", 2, 4).weights()
    for same in (
        rec["cross", 2, 4],
        rec["cross", "L2H4"],
        rec["cross", 2][4],
        rec["cross"][2][4],
        rec.map("cross", "L2H4"),
        rec["cross", 2]["L2H4"],
        rec.map("cross:L2H4"),
        rec.map("cross", 2, "L2H4"),
        rec.map("cross", head="L2H4"),
        rec.map(("cross", 2, 4)),
        rec.map(rec.layer("cross", 2), 4),
        rec.map("cross", 2, -4),
        rec.map("cross", np.int64(2), np.int64(4)),
    ):
        assert np.array_equal(same.weights(), expected)
    assert rec["cross:L2H4"] == rec.map("cross:L2H4") and rec["cross:L2"] == rec.layer("cross", 2)


def test_what_takes_a_head_takes_its_name(rec: attlas.Recording) -> None:
    named, numbered = rec.figure("map", kind="cross", head="L2H4"), rec.figure("map", kind="cross", layer=2, head=4)
    assert named.to_svg() == numbered.to_svg()
    for same in (("cross", "L2H4"), ("cross", 2, "L2H4")):
        assert rec.received(*same) == rec.received("cross", 2, 4) and repr(attlas.show(rec, *same)) == repr(attlas.show(rec, "cross", 2, 4))
    assert rec.align((2, 4)) == rec.align("cross:L2H4") == rec.align(["L2H4"]) != rec.align("L2")
    edits = [
        attlas.record("A cat.", knock_out=heads).provenance.edits
        for heads in ("cross:L2H4", ("cross", 2, 4), [("cross", "L2H4")], ("cross:L2H4",))
    ]
    assert edits[0] and all(edit == edits[0] for edit in edits)
    with pytest.raises(attlas.Error, match="'L1H4' is a head of layer 1, but layer 2 is asked for, too"):
        rec.map("cross", 2, "L1H4")


def test_all_heads_of_a_layer_are_knocked_out_as_ablate_names_them() -> None:
    layer = attlas.record("A cat.", knock_out="cross:2.*")
    assert "changed by 8 edits" in repr(layer)
    one_by_one = attlas.record("A cat.", knock_out=[("cross", 2, head) for head in range(8)])
    assert layer.provenance.edits == one_by_one.provenance.edits
    assert "changed by 24 edits" in repr(attlas.record("A cat.", knock_out="cross:*"))
    for heads, says in (
        ("2.*", "does not say the kind of attention; write cross:2.*"),
        ("cross:L9H0", "has no such head"),
        ("cross:L2", "is no head"),
        (3, "knock_out is 3, which names no head"),
        ([3], "3 is no head"),
    ):
        with pytest.raises(attlas.Error, match=re.escape(says)):
            attlas.record("A cat.", knock_out=heads)  # type: ignore[arg-type]


def seeing(folder: Path) -> Path:
    """A tiny LLaVA whose tokenizer knows a few words and the placeholder of an image."""
    data = Path(__file__).parents[2] / "attlas-model" / "tests" / "data"
    for name in ("config.json", "model.safetensors", "generation_config.json"):
        shutil.copy(data / "families" / "llava" / name, folder / name)
    words = {"<unk>": 3, "what": 4, "is": 5, "this": 6, "?": 9, "<image>": 47}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [{"id": 47, "content": "<image>", "special": True}],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    preparation = {"size": {"shortest_edge": 6}, "do_center_crop": True, "crop_size": {"height": 6, "width": 6}}
    (folder / "preprocessor_config.json").write_text(json.dumps(preparation))
    shutil.copy(data / "senses" / "rgb.png", folder / "photo.png")
    return folder


def test_a_text_is_recorded_with_an_image_in_it(tmp_path: Path) -> None:
    folder = seeing(tmp_path)
    photo, text = folder / "photo.png", "what is <image> this ?"
    found = attlas.record(text, folder, image=photo)
    assert Counter((layer.kind, layer.stack) for layer in found.layers) == {("encoder", "vision"): 3, ("decoder", None): 2}
    labels = found.item().target.labels
    assert len(labels) == 4 + 9 and "r1c2" in labels, "four words and nine patches"
    loaded = attlas.Model(folder, images=True)
    assert loaded.record(text, image=[photo]) == found
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: attlas.record(text, folder), "1 placeholder for images, and no image was given"),
        (lambda: attlas.record("what ?", folder, image=photo), "1 image for a text with 0 placeholders"),
        (lambda: attlas.record([text, text], folder, image=photo), "image is for one text at a time, and there are 2"),
        (lambda: attlas.record(text, folder, image=folder / "none.png"), "none.png: is no file"),
        (lambda: attlas.record(text, attlas.Model(folder), image=photo), "was loaded to read texts alone; load it with images=True"),
        (lambda: attlas.record("A cat.", image=photo), "reads texts alone"),
        (lambda: attlas.record(text, folder, image=3), "a path, or a list of paths, was expected"),  # type: ignore[arg-type]
    ]
    for asked, says in refused:
        with pytest.raises(attlas.Error, match=says):
            asked()


def test_a_recording_of_a_changed_run_says_so_in_its_line(rec: attlas.Recording) -> None:
    assert "changed by" not in repr(rec)
    assert "changed by 1 edit" in repr(attlas.record("A cat.", knock_out="cross:L2H4"))


@pytest.mark.parametrize(
    ("text", "says"),
    [(3, "expected, not what is of type int"), (b"x", "of type bytes"), (["a", 3], "text 1 is of type int, not a text"), ([], "no text")],
)
def test_what_is_no_text_is_refused_in_a_sentence(text: Any, says: str) -> None:
    with pytest.raises(attlas.Error, match=says):
        attlas.record(text)


def test_where_one_kind_was_recorded_it_need_not_be_named() -> None:
    rec = attlas.from_attentions(np.full((2, 3, 4, 4), 0.25), list("abcd"), kind="encoder")
    assert rec["L1H2"] == rec.map("L1H2")
    assert rec.map("L1H2").shape == (4, 4) and rec.map("L1H2").name == "L1H2"
    assert rec.queries is not None and len(rec["L1"]) == 3


def test_a_kind_that_is_not_named_is_asked_for(rec: attlas.Recording) -> None:
    with pytest.raises(attlas.MissingError, match=r'\("cross", .L2H4.\)'):
        rec["L2H4"]


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda rec: rec.map("encoder", 7, 0), "there is no encoder layer 7; there are 0 to"),
        (lambda rec: rec.map("encoder", 0, 99), "there is no head in encoder layer 0 99|head 99"),
        (lambda rec: rec.map("encoder", 0, 0, item=5), "there is no text 5"),
        (lambda rec: rec.map("encodes", 0, 0), "unknown attention kind"),
        (lambda rec: rec["encoder", "3.7"], "heads are written L3H7"),
        (lambda rec: rec["encodes"], "'encodes' is no kind of attention, of which there are encoder, decoder, cross, and no head"),
        (lambda rec: rec.map("encoder", 0, "0.7"), "heads are written L3H7"),
        (lambda rec: rec.map("encoder", 0, "L0"), "'L0' is a layer; heads are written L0H0"),
        (lambda rec: rec.map("encoder"), "no layer of encoder is named"),
        (lambda rec: rec.map("encoder", head=3), "no layer of encoder is named"),
        (lambda rec: rec.values("encoder", 0), "has no values"),
    ],
)
def test_what_is_missing_is_an_index_error_that_says_what_there_is(rec, ask, says) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(IndexError, match=says) as raised:
        ask(rec)
    assert isinstance(raised.value, attlas.Error) and isinstance(raised.value, ValueError)


def test_a_recording_is_saved_and_opened(rec: attlas.Recording, saved: Path) -> None:
    opened = attlas.open(saved)
    assert opened.to_bytes() == rec.to_bytes() == saved.read_bytes()
    assert opened == rec and hash(opened) == hash(rec)
    assert opened != attlas.record("Another text.")


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere.safetensors") as raised:
        attlas.open(tmp_path / "nowhere.safetensors")
    assert isinstance(raised.value, attlas.FileError)


def test_a_file_that_is_no_recording_is_a_format_error(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0 no recording at")
    with pytest.raises(attlas.FormatError, match="x.safetensors"):
        attlas.open(tmp_path / "x.safetensors")


def test_the_page_is_one_file(rec: attlas.Recording, tmp_path: Path) -> None:
    page = rec.to_html(tmp_path / "atlas.html", title="My page", open=("cross", "L2H4"))
    assert (tmp_path / "atlas.html").read_text() == page
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    assert "<title>My page" in page


def test_a_recording_says_what_it_is_in_a_line(rec: attlas.Recording) -> None:
    assert repr(rec).startswith("<attlas.Recording ") and "\n" not in repr(rec)
    assert "1 text" in repr(rec) and "cross 3×8" in repr(rec)


def test_a_text_of_known_words_takes_the_place_of_one_with_an_unknown_word() -> None:
    text = "My name is Claire and this is my brother Julien."
    kept = attlas.record(text, unknown_words="keep").items[0]
    assert kept.unknown_words and not kept.avoided_words
    avoided = attlas.record(text).items[0]
    assert avoided.avoided_words == kept.unknown_words and not avoided.unknown_words
    assert avoided.target.text != kept.target.text
    with pytest.raises(attlas.Error, match='unknown_words: "keep" or "avoid" was expected'):
        attlas.record(text, unknown_words="none")


def test_a_precision_that_is_asked_for_is_said_and_an_unknown_one_refused() -> None:
    fast = attlas.record("The cat sat on the mat.", precision="fast")
    assert any("precision fast" in note for note in fast.provenance.notes)
    exact = attlas.record("The cat sat on the mat.", precision="exact")
    assert not any("precision" in note for note in exact.provenance.notes)
    difference = np.abs(fast.map("encoder", 0, 0).weights() - exact.map("encoder", 0, 0).weights()).max()
    assert difference < 1e-3
    with pytest.raises(attlas.Error, match="there are exact, high, fast and fastest"):
        attlas.record("The cat sat on the mat.", precision="double")
    with pytest.raises(attlas.Error, match="the model is loaded already"):
        attlas.record("The cat sat on the mat.", attlas.Model(), precision="high")


def test_the_router_of_a_mixture_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    words: dict[str, Any] = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None}
    words["model"] = {"type": "WordLevel", "vocab": {"?": 3, "the": 5, "cat": 6, "sat": 7}, "unk_token": "?"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(words))
    mixtral = Path(__file__).parents[2] / "attlas-model" / "tests" / "data" / "families" / "mixtral"
    kept = attlas.record("the cat sat", model=mixtral, tokenizer=tmp_path, router=True)
    for layer in kept.layers:
        shares = layer.trace("router")
        assert shares.shape == (1, 3, 4) and np.allclose(shares.sum(-1), 1, atol=1e-6)
    with pytest.raises(attlas.MissingError, match="has no router"):
        attlas.record("the cat sat", model=mixtral, tokenizer=tmp_path).layers[0].trace("router")
    with pytest.raises(attlas.Error, match="has no experts that tokens are sent to"):
        attlas.record("The cat.", router=True)
