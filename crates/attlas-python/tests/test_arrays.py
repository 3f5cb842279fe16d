"""Attention that somebody else computed."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import attlas

RNG = np.random.default_rng(0)


def weights(*shape: int) -> npt.NDArray[np.float64]:
    """Rows that sum to 1."""
    numbers: npt.NDArray[np.float64] = RNG.random(shape) + 0.1
    numbers /= numbers.sum(-1, keepdims=True)
    return numbers


def test_arrays_come_back_as_they_were() -> None:
    given = weights(2, 3, 4, 4).astype(np.float32)
    rec = attlas.from_attentions(given, list("abcd"), kind="encoder", model="mine")
    assert np.array_equal(rec.map("encoder", 1, 2).weights(), given[1, 2])
    assert rec.map("encoder", 0, 0).tokens == (list("abcd"), list("abcd"))
    assert rec.provenance.model == "mine" and rec.provenance.method == "imported"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_type_and_order_of_numbers_is_taken(dtype: str, order: str) -> None:
    given = np.asarray(weights(2, 3, 4, 4), dtype=dtype, order=order)  # type: ignore[call-overload]
    rec = attlas.from_attentions(given, kind="encoder")
    assert np.array_equal(rec["encoder", 1].weights()[0], given[1].astype(np.float32))
    assert rec.provenance.dtype == ("f16" if dtype == "float16" else "")


class Lent:
    """Memory that DLPack alone describes."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


def test_what_only_dlpack_reads_is_taken_as_numpy_and_torch_can() -> None:
    given = weights(2, 3, 4, 4).astype(np.float32)
    assert np.array_equal(attlas.from_attentions(Lent(given), kind="encoder")["encoder", 1].weights()[0], given[1])
    torch = pytest.importorskip("torch", reason="torch is not installed")
    rounded = torch.from_numpy(given).bfloat16()
    rec = attlas.from_attentions(Lent(rounded), kind="encoder")
    assert rec.provenance.dtype == "bf16"
    assert np.array_equal(rec["encoder", 1].weights()[0], rounded[1].float().numpy())


def test_what_dlpack_cannot_read_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(Lent):
        def __dlpack__(self, **options: Any) -> Any:
            raise BufferError("memory of another device")

    monkeypatch.delitem(sys.modules, "torch", raising=False)
    with pytest.raises(attlas.FormatError, match=r"cannot read this Elsewhere through DLPack \(memory of another device\); float32"):
        attlas.from_attentions(Elsewhere(weights(3, 4, 4)), kind="encoder")


def test_a_tuple_of_layers_is_what_transformers_returns() -> None:
    layers = tuple(weights(2, 3, 4, 4) for _ in range(5))
    rec = attlas.from_attentions(layers, [list("abcd"), list("efgh")], kind="encoder")
    assert len(rec["encoder"]) == 5 and len(rec.items) == 2
    assert np.allclose(rec.map("encoder", 4, 1, item=1).weights(), layers[4][1, 1])
    assert rec.map("encoder", 0, 0, item=1).keys == list("efgh")


def test_the_names_of_an_encoder_decoder_are_known() -> None:
    output = {
        "encoder_attentions": (weights(1, 2, 3, 3),),
        "decoder_attentions": (weights(1, 2, 4, 4),),
        "cross_attentions": (weights(1, 2, 4, 3),),
        "logits": np.zeros((1, 4, 9)),
    }
    rec = attlas.from_attentions(output, list("abc"), list("defg"))
    assert rec.kinds == ("encoder", "decoder", "cross")
    assert rec.map("cross", 0, 1).tokens == (list("defg"), list("abc"))


def test_no_attention_is_answered_by_what_helps() -> None:
    for nothing in ((), None, {}, (None, None)):  # type: ignore[var-annotated]
        with pytest.raises(attlas.FormatError, match="attlas.capture"):
            attlas.from_attentions(nothing, list("abc"))


def with_a_row_of_nan() -> Any:
    """What a softmax makes of a query that sees no key."""
    given = weights(3, 4, 4)
    given[1, 2] = np.nan
    return given


@pytest.mark.parametrize(
    ("given", "tokens", "says"),
    [
        (np.full((2, 3, 4, 4), np.nan), None, "L0H0 .* row 0, column 0: the weight is NaN, not finite"),
        (with_a_row_of_nan(), None, r"L0H1 .* row 2, column 0: the weight is NaN.*\(the whole row is.*is it padding\?"),
        (np.full((3, 4, 4), 0.5), None, "the row sums to 2, more than 1"),
        (np.ones((2, 2), bool), None, "the row sums to 2, more than 1"),
        (weights(2, 4, 4).swapaxes(1, 2), None, "each column sums to 1, so rows and columns are probably swapped"),
        (-weights(3, 4, 4), None, "below 0; attention weights never are"),
        (weights(4), None, r"shape \[4\] has 1 axis, 2 to 5 were expected"),
        (weights(1, 1, 1, 1, 4, 4), None, r"shape \[1, 1, 1, 1, 4, 4\] has 6 axes, 2 to 5 were expected"),
        (weights(3, 4, 4), list("ab"), "the map has 4 queries but text 0 has 2 tokens there"),
        (weights(3, 4, 4), [list("abcd")] * 2, "2 rows of tokens for 1 text"),
        (np.full((2, 2), "a"), None, "real numbers"),
        (np.full((2, 2), 0.5 + 1j), None, "real numbers"),
        (np.full((2, 2), object()), None, "real numbers"),
        (weights(3, 4, 4), "abcd", "a list of the tokens"),
        (np.zeros((0, 4, 4)), None, r"shape \[0, 4, 4\] has no weight"),
    ],
)
def test_what_is_no_attention_is_refused_in_a_sentence(given, tokens, says) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(attlas.FormatError, match=says):
        attlas.from_attentions(given, tokens, kind="encoder")


def test_what_is_no_array_of_numbers_or_no_label_is_an_error_of_attlas() -> None:
    torch = pytest.importorskip("torch")
    weights = np.eye(3)
    with pytest.raises(attlas.FormatError, match="meta device"):
        attlas.from_attentions(torch.zeros(3, 3, device="meta"), kind="encoder")
    assert np.array_equal(attlas.from_attentions(torch.eye(3).to_sparse(), kind="encoder").layers[0].weights()[0, 0], weights)
    tokens: Any
    for tokens, said in (
        ([1, 2, 3], "tokens hold 1, of type int; texts were expected, as tokenizer.convert_ids_to_tokens"),
        (5, "tokens are of type int"),
        (torch.tensor([1, 2, 3]), "tokens hold tensor"),
        (["a", "b", "\ud800"], "is not Unicode"),
        ([["a", "b", 5]], "a token is 5, of type int"),
    ):
        with pytest.raises(attlas.FormatError, match=said):
            attlas.from_attentions(weights, tokens, kind="encoder")
