"""Activations that TransformerLens, nnsight and nnterp keep, read as recordings."""

from __future__ import annotations

from typing import Any

import attlas
import numpy as np
import pytest

N, HEADS, KV_HEADS, D = 6, 4, 2, 8


def numbers(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def pattern(queries: Any, keys: Any, scale: float, causal: bool = True) -> Any:
    """By hand, [batch, heads, queries, keys]."""
    q, k = (
        queries.transpose(0, 2, 1, 3).astype(float),
        np.repeat(keys.transpose(0, 2, 1, 3).astype(float), HEADS // KV_HEADS, 1),
    )
    scores = scale * q @ k.swapaxes(2, 3)
    if causal:
        scores[..., np.triu(np.ones(scores.shape[-2:], bool), 1)] = -np.inf
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def cache(n_layers: int = 2) -> dict[str, Any]:
    return {
        f"blocks.{layer}.attn.hook_{side}": numbers(2, N, heads, D + layer)
        for layer in range(n_layers)
        for side, heads in (("q", HEADS), ("k", KV_HEADS))
    }


def maps(recording: Any, layer: int, kind: str = "decoder") -> Any:
    return np.asarray(
        [[recording.map(kind, layer, head, item=text).weights() for head in range(HEADS)] for text in range(2)]
    )


def test_queries_and_keys_with_the_scale_that_is_given_are_the_weights() -> None:
    given = cache()
    recording = attlas.from_cache(given, [["a", "b", "c", "d", "e", "f"]] * 2, scale=0.3)
    for layer in range(2):
        wanted = pattern(given[f"blocks.{layer}.attn.hook_q"], given[f"blocks.{layer}.attn.hook_k"], 0.3)
        assert np.abs(maps(recording, layer) - wanted).max() < 1e-6
    assert recording.provenance.method == "imported"
    assert [token.text for token in recording.items[1].target.tokens] == list("abcdef")


def test_queries_after_rotary_positions_are_those_that_are_multiplied() -> None:
    given = cache(1) | {
        "blocks.0.attn.hook_rot_q": numbers(2, N, HEADS, D) + 1,
        "blocks.0.attn.hook_rot_k": numbers(2, N, KV_HEADS, D) - 1,
    }
    wanted = pattern(given["blocks.0.attn.hook_rot_q"], given["blocks.0.attn.hook_rot_k"], D**-0.5)
    assert np.abs(maps(attlas.from_cache(given), 0) - wanted).max() < 1e-6
    backwards = dict(reversed(list(given.items())))
    assert np.abs(maps(attlas.from_cache(backwards), 0) - wanted).max() < 1e-6


def test_patterns_are_taken_where_queries_and_keys_do_not_give_them() -> None:
    given = cache(1)
    other = pattern(given["blocks.0.attn.hook_q"], given["blocks.0.attn.hook_k"], D**-0.5)
    given["blocks.0.attn.hook_pattern"] = other
    recording = attlas.from_cache(given)
    assert recording.queries("decoder", 0).shape == (2, HEADS, N, D), "they agree: queries and keys are kept"
    given["blocks.0.attn.hook_pattern"] = np.roll(other, 1, axis=1)
    recording = attlas.from_cache(given)
    assert np.abs(maps(recording, 0) - given["blocks.0.attn.hook_pattern"]).max() < 1e-6
    assert any("patterns are taken" in note for note in recording.provenance.notes)


def test_patterns_by_number_or_by_the_path_of_their_layer_as_nnsight_s_users_keep_them() -> None:
    torch = pytest.importorskip("torch")
    given = torch.from_numpy(pattern(numbers(2, N, HEADS, D), numbers(2, N, KV_HEADS, D), 1.0))

    class Saved:
        """What nnsight's older versions hand out."""

        value = given

    for form in (
        [given, given],
        {0: given, 3: given},
        {"model.layers.0.self_attn.attention_probabilities": Saved(), "layers.1.attn_weights": given},
    ):
        recording = attlas.from_cache(form)
        assert len(recording.layers) == 2
        assert np.abs(maps(recording, recording.layers[1].index) - given.numpy()).max() < 1e-6


def test_patterns_of_sixteen_bits_are_taken_and_numbers_that_are_no_attention_refused() -> None:
    torch = pytest.importorskip("torch")
    scores = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(1)).masked_fill(torch.ones(9, 9).triu(1).bool(), -torch.inf)
    for dtype, name in ((torch.bfloat16, "bf16"), (torch.float16, "f16")):
        given = scores.softmax(-1).to(dtype)
        recording = attlas.from_cache({"blocks.0.attn.hook_pattern": given})
        assert recording.provenance.dtype == name
        assert np.array_equal(recording["decoder", 0].weights(), given.float().numpy())
    for wrong, says in ((2.0, "row sums off by up to 17"), (np.nan, "not finite"), (-1 / 9, "out of range")):
        with pytest.raises(attlas.FormatError, match=f"decoder layer 0 is no attention: .*{says}"):
            attlas.from_cache({"blocks.0.attn.hook_pattern": np.full((2, 4, 9, 9), wrong)})


def test_sixteen_bits_stay() -> None:
    torch = pytest.importorskip("torch")
    given = {name: torch.from_numpy(array).bfloat16() for name, array in cache(1).items()}
    recording = attlas.from_cache(given)
    q, k = (given[f"blocks.0.attn.hook_{side}"].float().numpy() for side in "qk")
    wanted = pattern(q, k, D**-0.5)
    assert np.abs(maps(recording, 0) - wanted).max() < 1e-6


def test_the_model_s_scale_and_soft_cap_are_used() -> None:
    class Config:
        attn_scale, use_attn_scale, attn_scores_soft_cap, attention_dir, model_name = (
            2.0,
            True,
            1.5,
            "bidirectional",
            "toy",
        )
        positional_embedding_type, use_local_attn = "rotary", False

    class Model:
        cfg = Config()

    given = cache(1)
    recording = attlas.from_cache(given, model=Model(), kind="encoder")
    q, k = (given[f"blocks.0.attn.hook_{side}"].transpose(0, 2, 1, 3).astype(float) for side in "qk")
    scores = 1.5 * np.tanh(0.5 * q @ np.repeat(k, 2, 1).swapaxes(2, 3) / 1.5)
    wanted = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    assert np.abs(maps(recording, 0, "encoder") - wanted).max() < 1e-6
    assert recording.provenance.model == "toy"
    Config.positional_embedding_type = "alibi"
    with pytest.raises(attlas.CaptureError, match="adds alibi.*keep hook_pattern"):
        attlas.from_cache(given, model=Model())


def refused(says: str) -> Any:
    return pytest.raises(attlas.Error, match=says)


def test_what_does_not_fit_is_refused_in_a_sentence() -> None:
    with refused("has no attention.*hook_pattern"):
        attlas.from_cache({"blocks.0.mlp.hook_post": numbers(1, 2, 3)})
    with refused("is a int"):
        attlas.from_cache(3)
    with refused("was a first token .BOS. left out"):
        attlas.from_cache(cache(), [["a"] * 5] * 2)
    with refused("tokens of 1 texts"):
        attlas.from_cache(cache(), ["a"] * N)
    with refused("only one of queries and keys"):
        attlas.from_cache({"blocks.0.attn.hook_q": numbers(2, N, HEADS, D)})
    with refused("four axes were expected"):
        attlas.from_cache({"blocks.0.attn.hook_pattern": numbers(3, 3)})
    bad = cache(1)
    bad["blocks.0.attn.hook_k"] = numbers(2, N, 3, D)
    with refused("they do not fit"):
        attlas.from_cache(bad)
    bad["blocks.0.attn.hook_k"] = np.full((2, N, KV_HEADS, D), np.nan, np.float32)
    with refused("not finite"):
        attlas.from_cache(bad)


def test_an_activation_cache_of_transformer_lens() -> None:
    lens = pytest.importorskip("transformer_lens", reason="transformer_lens is not installed")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    config = lens.HookedTransformerConfig(
        n_layers=2,
        d_model=32,
        n_ctx=16,
        d_head=8,
        n_heads=4,
        n_key_value_heads=2,
        d_vocab=50,
        act_fn="gelu",
        positional_embedding_type="rotary",
        rotary_dim=8,
        seed=0,
    )
    model = lens.HookedTransformer(config)
    _, activations = model.run_with_cache(torch.arange(12).reshape(2, 6))
    recording = attlas.from_cache(activations)
    for layer in range(2):
        assert np.abs(maps(recording, layer) - activations["pattern", layer].detach().numpy()).max() < 1e-5
    assert not recording.provenance.notes, "queries and keys give the patterns"
