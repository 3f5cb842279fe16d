"""CircuitsVis' names: its parameters in its order, and its call patterns."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from typing import Any

import attlas
import attlas.circuitsvis as cv
import numpy as np
import pytest

# CircuitsVis 1.43.3; where the package is installed, this is held against it.
PARAMETERS = {
    "attention_heads": "attention, tokens, attention_head_names=None, max_value=None, min_value=None, "
    "negative_color=None, positive_color=None, mask_upper_tri=None",
    "attention_patterns": "tokens, attention",
    "attention_pattern": "tokens, attention, max_value=None, min_value=None, negative_color=None, "
    "show_axis_labels=None, positive_color=None, mask_upper_tri=None",
}

TOKENS = ["<bos>", "The", " cat", " sat"]


def bare(function: Callable[..., Any]) -> str:
    parameters = inspect.signature(function).parameters.values()
    return ", ".join(one.name if one.default is one.empty else f"{one.name}={one.default!r}" for one in parameters)


def heads(n_heads: int = 3, n: int = 4, causal: bool = True) -> Any:
    scores = np.random.default_rng(1).normal(size=(n_heads, n, n)).astype(np.float32)
    if causal:
        scores = np.where(np.tril(np.ones((n, n), bool)), scores, -np.inf)
    exponents = np.exp(scores - scores.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_parameters_are_circuitsvis_own_in_its_order(name: str) -> None:
    assert bare(getattr(cv.attention, name)) == PARAMETERS[name]
    assert getattr(cv, name) is getattr(cv.attention, name)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_recorded_parameters_are_those_of_the_installed_package(name: str) -> None:
    if importlib.util.find_spec("circuitsvis") is None or importlib.util.find_spec("torch") is None:
        pytest.skip("circuitsvis is not installed")
    theirs = importlib.import_module("circuitsvis.attention")
    assert bare(getattr(theirs, name)) == PARAMETERS[name]


def test_the_heads_of_a_causal_model_are_a_decoders() -> None:
    weights = heads()
    for view in (
        cv.attention.attention_patterns(tokens=TOKENS, attention=weights),
        cv.attention.attention_heads(attention=weights, tokens=TOKENS, attention_head_names=["a", "b", "c"]),
        cv.attention_patterns(TOKENS, weights),
        cv.attention_heads(weights, TOKENS, mask_upper_tri=True),
    ):
        assert view.recording.kinds == ("decoder",) and view.recording.item(0).target.labels == TOKENS
        assert np.array_equal(view.recording["decoder", 0].weights()[0], weights)
        assert (view.kind, view.layer, view.head) == ("decoder", 0, 0)


def test_heads_that_look_ahead_are_an_encoders() -> None:
    view = cv.attention_patterns(TOKENS, heads(causal=False))
    assert view.recording.kinds == ("encoder",) and view.recording.item(0).source.labels == TOKENS


def test_the_packages_own_example_of_lists_and_zeros_and_ones_is_shown() -> None:
    view = cv.attention_patterns(tokens=["a", "b"], attention=np.array([[[0, 1], [0, 1]]]))
    assert view.recording.map("encoder", 0, 0).weights().tolist() == [[0, 1], [0, 1]]
    assert cv.attention_patterns(["a", "b"], [[[1, 0], [0.5, 0.5]]]).recording.kinds == ("decoder",)


def test_one_head_may_be_given_alone() -> None:
    view = cv.attention_pattern(tokens=TOKENS, attention=heads()[1], show_axis_labels=True)
    assert np.array_equal(view.recording.map("decoder", 0, 0).weights(), heads()[1])


def test_names_of_heads_are_kept() -> None:
    view = cv.attention_heads(heads(), TOKENS, ["L5H1", "L6H9", "L7H0"])
    assert view.head_names == ("L5H1", "L6H9", "L7H0")


def test_torch_tensors_are_taken_from_a_cache_as_they_are() -> None:
    torch: Any = pytest.importorskip("torch", reason="torch is not installed")
    pattern = torch.tensor(heads())[None].requires_grad_()  # [1, heads, queries, keys]
    assert np.array_equal(
        cv.attention.attention_patterns(tokens=TOKENS, attention=pattern).recording["decoder", 0].weights()[0], heads()
    )


def test_a_view_is_a_page_in_a_notebook() -> None:
    bundle = cv.attention_patterns(TOKENS, heads())._repr_mimebundle_()
    assert "<iframe" in bundle["text/html"] and "unpkg" not in bundle["text/html"]


def test_what_does_not_fit_is_refused_with_what_was_expected() -> None:
    cases: dict[str, Callable[[], Any]] = {
        r"\[heads, queries, keys\], but shape \[4\] was given; were tokens and attention exchanged": lambda: cv.attention_heads(
            np.zeros(4), TOKENS
        ),
        "an array of numbers was expected, not list": lambda: cv.attention_heads(TOKENS, heads()),
        "3 tokens were given for attention of 4 queries": lambda: cv.attention_patterns(TOKENS[:3], heads()),
        "2 names were given for 3 heads": lambda: cv.attention_heads(heads(), TOKENS, ["a", "b"]),
        "one head, .queries, keys., but shape .3, 4, 4.": lambda: cv.attention_pattern(TOKENS, heads()),
        "mask_upper_tri hides what queries see of later keys": lambda: cv.attention_heads(
            heads(causal=False), TOKENS, mask_upper_tri=True
        ),
        "-0.5": lambda: cv.attention_patterns(["a", "b"], [[[1.5, -0.5], [0, 1]]]),
    }
    for sentence, call in cases.items():
        with pytest.raises(attlas.Error, match=sentence):
            call()


def test_a_view_as_a_text_is_its_page() -> None:
    view: Any = cv.attention.attention_heads(np.eye(3)[np.newaxis], ["a", "b", "c"])
    assert str(view).lower().startswith("<!doctype html>") and str(view) == view.show_code() == view.__html__()
    assert repr(view).startswith("<attlas.")
