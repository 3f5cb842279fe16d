"""What heads do, as tables."""

from __future__ import annotations

import numpy as np
import pytest

import attlas
from attlas.analyses import compare, measures


def previous_token_head(n: int) -> np.ndarray:
    weights = np.zeros((n, n), np.float32)
    weights[np.arange(n), np.maximum(np.arange(n) - 1, 0)] = 1
    return weights


@pytest.fixture(scope="module")
def two_heads() -> attlas.Recording:
    """One head looks one token back, one at all tokens alike."""
    weights = np.stack([previous_token_head(10), np.full((10, 10), 0.1, np.float32)])
    return attlas.from_attentions(weights, [f"t{place}" for place in range(10)], kind="encoder")


def test_scores_of_heads_are_a_table_with_numbers_words_and_what_is_missing(two_heads: attlas.Recording) -> None:
    heads = two_heads.heads()
    previous = heads.filter(measure="previous", head=0)[0]
    assert (previous["score"], previous["named"]) == (pytest.approx(0.9), True)
    rare = heads.filter(measure="rare", head=0)[0]
    assert np.isnan(rare["score"]) and "counts of the tokens" in rare["absent"]
    assert set(two_heads.standouts()["measure"]) >= {"previous", "broad"}


def test_each_head_is_named_for_the_narrowest_thing_it_does(two_heads: attlas.Recording) -> None:
    classes = two_heads.classes()
    assert classes["name"].tolist() == ["previous token", "broad"]
    assert classes[0]["reason"].startswith("L0H0: previous token, 0.90 of a query's weight; positions alone give 0.09")
    assert classes[0]["also"] == "local, positional"


def test_a_layer_is_profiled(two_heads: attlas.Recording) -> None:
    profile = two_heads.profiles()[0]
    assert (profile["heads"], profile["named"]) == (2, "broad 1, previous 1")
    assert profile["distance"] == pytest.approx((0.9 + 3.3) / 2)


def test_what_tokens_and_spans_receive_adds_up(two_heads: attlas.Recording) -> None:
    table = two_heads.received("encoder", 0, 0, spans={"end": (8, 10)})
    tokens = table.filter(what="token")
    assert tokens["share"].tolist() == pytest.approx([0.2, *[0.1] * 8, 0.0])
    assert table.filter(name="end")["share"][0] == pytest.approx(0.1)
    assert table.filter(name="end")["baseline"][0] == pytest.approx(0.2)
    mean = two_heads.received("encoder", "L0").filter(what="token")
    assert mean["share"].sum() == pytest.approx(1)
    with pytest.raises(IndexError, match="span end: tokens 8:11 are outside the keys, which are 0:10"):
        two_heads.received("encoder", 0, 0, spans={"end": (8, 11)})


def test_two_heads_are_as_far_apart_as_their_rows(two_heads: attlas.Recording) -> None:
    distance = two_heads.distances("encoder")
    a, b = previous_token_head(10)[5], np.full(10, 0.1)
    middle = (a + b) / 2
    terms = [0.5 * (row[row > 0] * np.log(row[row > 0] / middle[row > 0])).sum() for row in (a, b)]
    assert distance.shape == (1, 6) and distance["divergence"][0] == pytest.approx(sum(terms), abs=1e-5)


def test_two_recordings_are_compared_head_by_head(two_heads: attlas.Recording) -> None:
    changed = np.stack([previous_token_head(10), np.full((10, 10), 0.1, np.float32)])
    changed[1, 3] = np.eye(10, dtype=np.float32)[7]
    other = attlas.from_attentions(changed, [f"t{place}" for place in range(10)], kind="encoder")
    table = compare(two_heads, other)
    assert table["divergence"][0] == 0 and table["divergence"][1] > 0
    assert (table[1]["query"], table[1]["key"]) == ("t3", "t7")
    assert (table[1]["weight"], table[1]["other_weight"]) == (pytest.approx(0.1), pytest.approx(1.0))
    swapped = attlas.from_attentions(changed[::-1], [f"t{place}" for place in range(10)], kind="encoder")
    assert compare(two_heads, swapped, matching="best")["other_head"].tolist() == [1, 0]


def test_words_of_a_translation_are_aligned(rec: attlas.Recording) -> None:
    links = rec.align("L2H4")
    pairs = {row["target_word"].strip(): row["source_word"].strip() for row in links.rows()}
    assert pairs["chat"] == "cat" and pairs["Le"] == "The"
    assert links["weight"].min() >= 0 and links["weight"].max() <= 1
    assert len(rec.align("L2", symmetrise="intersection")) <= len(rec.align("L2"))
    with pytest.raises(IndexError, match="no cross-attention head L2H9; there are"):
        rec.align("L2H9")


def test_a_text_is_described_in_sentences_with_their_numbers(rec: attlas.Recording) -> None:
    table = rec.describe()
    assert 1 <= len(table) <= 10
    assert all(sentence.endswith(".") for sentence in table["sentence"])
    assert set(table["kind"]) <= {"encoder", "decoder", "cross", None}


def test_every_measure_is_told_with_its_formula() -> None:
    table = measures()
    assert {"previous", "induction", "sink"} <= set(table["measure"])
    assert all(table["formula"]) and all(table["paper"])


def test_what_is_not_there_is_refused_with_what_is(rec: attlas.Recording, two_heads: attlas.Recording) -> None:
    with pytest.raises(IndexError, match="no cross-attention"):
        two_heads.align()
    with pytest.raises(attlas.Error, match='words is "pieces"; there are model, whitespace and tokens'):
        rec.align(words="pieces")  # type: ignore[arg-type]
    with pytest.raises(attlas.Error, match="unknown way"):
        rec.align(symmetrise="grow")
    with pytest.raises(IndexError):
        rec.received("encoder", 9)
    with pytest.raises(attlas.Error, match="matched by 'index' or 'best'"):
        compare(rec, rec, matching="any")  # type: ignore[arg-type]
    with pytest.raises(IndexError, match="there is no text 3"):
        rec.classes(item=3)
