"""Maps: piece by piece, in words, as arrays for others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attlas


def test_rows_columns_and_tiles_are_parts_of_the_map(rec: attlas.Recording) -> None:
    m = rec.map("cross", 1, 2)
    whole = m.weights()
    n, k = m.shape
    assert whole.shape == (n, k)
    assert np.allclose(m.row(3), whole[3], atol=1e-6) and np.allclose(m.column(2), whole[:, 2], atol=1e-6)
    assert np.allclose(m.tile(1, 5, 2, 4), whole[1:5, 2:4], atol=1e-6)
    assert m[3, 2] == pytest.approx(whole[3, 2], abs=1e-6)
    assert np.allclose(m[-1], whole[-1], atol=1e-6) and np.allclose(m[:, -1], whole[:, -1], atol=1e-6)
    assert np.array_equal(m[1:3, ::2], whole[1:3, ::2])
    assert np.array_equal(m[[0, 2]], whole[[0, 2]]) and np.array_equal(m[np.array([0, 2]), 1], whole[[0, 2], 1])
    assert np.array_equal(m[whole > 0.5], whole[whole > 0.5]) and np.array_equal(m[..., 1], whole[..., 1]) and m[None].shape == (1, n, k)
    for stretch in (slice(2, 4), slice(None, 3), slice(-3, None), slice(4, 2), slice(0, 999)):
        assert np.allclose(m[stretch, 1:], whole[stretch, 1:], atol=1e-6) and np.allclose(m[3, stretch], whole[3, stretch], atol=1e-6)
        assert np.allclose(m[stretch, np.int64(1)], whole[stretch, 1], atol=1e-6)
    assert np.allclose(whole.sum(1), 1, atol=1e-5)
    assert np.array_equal(m.sink(), np.zeros(n))


def test_a_token_names_its_row(rec: attlas.Recording) -> None:
    m = rec.map("encoder", 0, 0)
    assert np.array_equal(m.row("cat"), m.row(m.queries.index("cat")))
    assert m["cat", "mat"] == m.row("cat")[m.keys.index("mat")]
    with pytest.raises(attlas.MissingError, match="there is no query 'dog'; there are The cat"):
        m.row("dog")


def test_a_part_of_a_long_map_is_all_that_is_computed(long_file: Path) -> None:
    m = attlas.open(long_file).map("decoder", 0, 0)
    computed: list[str] = []
    native: Any = m._native

    class Counting:
        def __getattr__(self, name: str) -> Any:
            computed.append(name)
            return getattr(native, name)

    m._native = Counting()  # type: ignore[assignment]
    assert m[1000:1002, 500:503].shape == (2, 3) and m[7, 5] >= 0 and m[2:4].shape == (2, 3000)
    assert "weights" not in computed and "tile" in computed


def test_a_row_that_is_not_there_is_an_index_error(rec: attlas.Recording) -> None:
    m = rec.map("encoder", 0, 0)
    for ask in (lambda: m.row(99), lambda: m[99, 0], lambda: m.column(-99), lambda: m.tile(0, 99, 0, 1)):
        with pytest.raises(IndexError):
            ask()


def test_the_mean_over_heads_is_a_map(rec: attlas.Recording) -> None:
    heads = rec["encoder", 1].weights()[0]
    mean = rec.map("encoder", 1, "mean")
    assert np.allclose(mean.weights(), heads.mean(0), atol=1e-6)
    assert np.allclose(mean.row(2), heads[:, 2].mean(0), atol=1e-6)
    assert mean.name == "L1" and "mean" in repr(mean)


def test_words_keep_the_sums_of_rows_and_special_tokens_are_told(rec: attlas.Recording) -> None:
    m = rec.map("encoder", 2, 2)
    words = m.words()
    assert np.allclose(words.weights().sum(1), 1, atol=1e-5)
    bare = words.without_special()
    assert bare.shape[1] == words.shape[1] - 1 and "</s>" not in bare.keys
    assert np.allclose(bare.weights().sum(1) + bare.removed, 1, atol=1e-5)
    assert bare.removed.max() > 0 and any("special column hidden" in remark for remark in bare.remarks)
    assert np.array_equal(bare.row(1), bare.weights()[1])


def test_a_map_is_an_array_for_numpy_and_others(rec: attlas.Recording) -> None:
    m = rec.map("encoder", 0, 1)
    assert np.array_equal(np.asarray(m), m.weights())
    assert np.asarray(m, dtype=np.float64).dtype == np.float64
    assert np.array_equal(np.from_dlpack(m), m.weights())
    with pytest.raises(ValueError, match="copy"):
        np.array(m, dtype=np.float64, copy=False)
