"""What differs from query to query: packed texts, prefixes, trees, chunks; none of it needs an array of pairs."""

from __future__ import annotations

from typing import Any

import attlas
import numpy as np
import pytest
from attlas._capture.bias import rule
from attlas._capture.seen import Seen, band
from capture_models import llama
from capture_tools import CLOSE, DECODER, dense, difference, eager, ids, made, stacked, torch

N = 12


def added(seen: Any) -> Any:
    """A mask that is added, [1, 1, queries, keys]."""
    return torch.zeros(1, 1, *seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)


def tree() -> Any:
    parents = [-1, 0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 7]
    seen = torch.zeros(N, N, dtype=torch.bool)
    for token in range(N):
        at = token
        while at >= 0:
            seen[token, at] = True
            at = parents[at]
    return seen


def prefix() -> Any:
    seen = torch.ones(N, N).tril().bool()
    seen[:, :5] = True
    return seen


MASKS: dict[str, Any] = {
    "a prefix that all see": {"attention_mask": added(prefix())},
    "a tree": {"attention_mask": added(tree())},
    "packed texts": {"position_ids": torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3]])},
    "positions with gaps": {
        "attention_mask": torch.ones(1, N, dtype=torch.long),
        "position_ids": torch.tensor([[0, 1, 2, 7, 8, 9, 20, 21, 22, 30, 31, 40]]),
    },
}


@pytest.mark.parametrize("mask", MASKS)
def test_masks_that_no_band_can_say_are_stretches_of_keys(mask: str) -> None:
    model, inputs = llama(), {"input_ids": ids(1, N), "use_cache": False, **MASKS[mask]}
    wanted = stacked(eager(model)(**inputs, output_attentions=True).attentions, "decoder")
    recording = attlas.capture(model, inputs)
    assert difference(recording, wanted) <= CLOSE
    assert not dense(recording)


def test_padding_in_the_middle_is_padding() -> None:
    model, mask = llama(), torch.ones(1, N, dtype=torch.long)
    mask[0, 5:7] = 0
    inputs = {"input_ids": ids(1, N), "attention_mask": mask, "use_cache": False}
    wanted = stacked(eager(model)(**inputs, output_attentions=True).attentions, "decoder")
    recording = attlas.capture(model, inputs)
    assert difference(recording, wanted, {"decoder": mask}) <= CLOSE
    assert [token.role for token in recording.items[0].target.tokens][4:8] == ["text", "padding", "padding", "text"]


def test_chunks_of_llama_4_are_not_dense() -> None:
    model = made(
        "Llama4ForCausalLM",
        "Llama4TextConfig",
        **{**DECODER, "num_hidden_layers": 4},
        head_dim=8,
        attention_chunk_size=5,
        num_local_experts=2,
        num_experts_per_tok=1,
        interleave_moe_layer_step=4,
        intermediate_size_mlp=64,
    )
    inputs = {"input_ids": ids(1, N), "use_cache": False}
    wanted = stacked(eager(model)(**inputs, output_attentions=True).attentions, "decoder")
    recording = attlas.capture(model, inputs)
    assert difference(recording, wanted) <= CLOSE
    assert not dense(recording)


def test_a_bias_that_is_no_rule_is_recorded_dense_and_said_or_refused_over_the_limit() -> None:
    model = llama()
    bias = torch.randn(1, 1, N, N, generator=torch.Generator().manual_seed(0))
    inputs = {"input_ids": ids(1, N), "attention_mask": bias, "use_cache": False}
    wanted = stacked(eager(model)(**inputs, output_attentions=True).attentions, "decoder")
    recording = attlas.capture(model, inputs)
    assert difference(recording, wanted) <= CLOSE
    (note,) = dense(recording)
    assert note.startswith("decoder layer 0 and decoder layer 1 are recorded dense")
    with pytest.raises(attlas.LimitError, match="max_dense_bytes") as refused:
        attlas.capture(model, inputs, max_dense_bytes=4 * 4 * N * N)
    assert "decoder layer 1" in str(refused.value), "the first layer fits"


def random_pairs(seed: int, shape: tuple[int, int, int, int], p: float) -> Any:
    return np.random.default_rng(seed).random(shape) < p


@pytest.mark.parametrize("p", [0.0, 0.2, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(1, 1, 4, 7), (2, 1, 5, 40), (2, 3, 5, 9)])
def test_what_is_seen_is_the_same_in_each_form(shape: tuple[int, int, int, int], p: float) -> None:
    pairs = random_pairs(0, shape, p)
    seen = Seen.of_pairs(pairs)
    assert np.array_equal(np.broadcast_to(seen.dense(), shape), pairs)
    assert np.array_equal(np.broadcast_to(seen.sees_none(), shape[::2]), ~pairs.any((1, 3)))
    rows = random_pairs(1, (shape[0], 1, shape[2], 1), 0.5)[:, 0, :, 0]
    assert np.array_equal(seen.unseen_keys(rows), ~(pairs & rows[:, None, :, None]).any((1, 2)))
    moved = seen.at(3, shape[3] + 5).dense()
    assert np.array_equal(np.broadcast_to(moved[..., 3 : 3 + shape[3]], shape), pairs) and not moved[..., :3].any()
    cut = seen.at(-2, shape[3] - 2)
    assert np.array_equal(np.broadcast_to(cut.dense(), (*shape[:3], shape[3] - 2)), pairs[..., 2:])
    joined = Seen.joined([seen, Seen.everything(3, shape[3])]).dense()
    assert np.array_equal(np.broadcast_to(joined[:, :, : shape[2]], shape), pairs) and joined[:, :, shape[2] :].all()


@pytest.mark.parametrize("bounds", [(None, None), (None, 0), (3, 0), (2, 2), (None, 4), (1, -1)])
def test_a_band_is_found_again_with_padding_on_either_side(bounds: tuple[Any, Any]) -> None:
    before, after = bounds
    offset = np.arange(10) - np.arange(10)[:, None]
    shown = np.ones((10, 10), bool)
    if before is not None:
        shown &= offset >= -before
    if after is not None:
        shown &= offset <= after
    padding = np.zeros((2, 10), bool)
    padding[0, :3], padding[1, 8:] = True, True
    pairs = (shown & ~padding[:, None, :])[:, None]
    found = band(Seen.of_pairs(pairs), padding, ~padding, 0)
    assert found is not None
    again = (found[0] is None or offset >= -found[0]) & (found[1] is None or offset <= found[1])
    again = np.broadcast_to(again, (10, 10)) & ~padding[:, None, :]
    assert (again == pairs[:, 0])[~padding].all()
    if pairs[:, :, 5, 5].all():
        pairs[1, 0, 5, 5] = False
        assert band(Seen.of_pairs(pairs), padding, ~padding, 0) is None, "one pair less is no band"


def test_a_bias_is_told_by_key_or_by_distance_or_not_at_all() -> None:
    random = np.random.default_rng(0)
    pairs = np.tril(np.ones((6, 6), bool))[None, None]
    by_key = np.broadcast_to(random.normal(size=(2, 3, 1, 6)), (2, 3, 6, 6)).astype(np.float32)
    found = rule(by_key, pairs, 3, 0)
    assert found is not None and found.per_key is not None and np.array_equal(found.per_key, by_key[:, :, 0])
    offset = np.arange(6) - np.arange(6)[:, None]
    by_distance = random.normal(size=(3, 11)).astype(np.float32)[:, offset + 5][None]
    found = rule(by_distance, pairs, 3, 0)
    assert found is not None and found.table is not None
    assert np.array_equal(found.table[:, offset - found.first][:, pairs[0, 0]], by_distance[0][:, pairs[0, 0]])
    assert rule(random.normal(size=(1, 3, 6, 6)).astype(np.float32), pairs, 3, 0) is None
    nothing = rule(np.zeros((1, 1, 6, 6), np.float32), pairs, 3, 0)
    assert nothing is not None and nothing.table is None and nothing.per_key is None
