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


def test_a_scale_and_a_mask_that_nobody_said_are_said_to_be_assumed() -> None:
    recording = attlas.from_cache(cache(1))
    (note,) = recording.provenance.notes
    assert note.startswith("a scale was assumed: 1/√d_head = 0.353553 of decoder layers, and that no key after a query is seen")
    assert "a scale was assumed" in repr(recording)
    assert "a mask was assumed" in repr(attlas.from_cache(cache(1), scale=0.3))
    assert not attlas.from_cache(cache(1), scale=0.3, kind="decoder").provenance.notes
    given = cache(1)
    given["blocks.0.attn.hook_pattern"] = pattern(given["blocks.0.attn.hook_q"], given["blocks.0.attn.hook_k"], D**-0.5)
    assert not attlas.from_cache(given).provenance.notes, "the pattern says that both are right"


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
        positional_embedding_type, use_local_attn = "standard", False

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


def test_two_patterns_of_one_layer_are_not_chosen_between() -> None:
    given = numbers(2, HEADS, N, N)
    with refused("layers.0.attn_weights and blocks.0.attn.hook_pattern are both patterns of decoder layer 0"):
        attlas.from_cache({"layers.0.attn_weights": given, "blocks.0.attn.hook_pattern": given})


LENS = ["llama", "gpt2", "bert", "gemma2", "gpt_neox", "gpt_neo", "bloom", "t5"]
LENS_KINDS = {"bert": ("encoder",), "t5": ("encoder", "decoder", "cross")}
LENS_NEEDS_PATTERNS = {
    "gemma2": "sees a window",
    "gpt_neox": "rotates queries and keys",
    "gpt_neo": "sees a window",
    "bloom": "adds alibi",
    "t5": "adds relative_positional_bias",
}
"""Why queries and keys alone do not say the weights."""


@pytest.mark.parametrize("family", LENS)
def test_an_activation_cache_of_transformer_lens_is_its_patterns(family: str, tmp_path: Any) -> None:
    lens = pytest.importorskip("transformer_lens", reason="transformer_lens is not installed")
    if "TransformerBridge" not in dir(lens):
        pytest.skip("TransformerLens before 4 has no TransformerBridge")
    from capture_models import MODELS
    from capture_tools import ids

    save(MODELS[family](), tmp_path)
    model = lens.TransformerBridge.boot_transformers(str(tmp_path), device="cpu")
    more = {"decoder_input_ids": ids(2, 5)} if family == "t5" else {}
    _, activations = model.run_with_cache(ids(2, N), **more)
    recording = attlas.from_cache(activations, model=model)
    assert recording.kinds == LENS_KINDS.get(family, ("decoder",))
    names = {
        "encoder": "encoder_blocks.{}.attn" if family == "t5" else "blocks.{}.attn",
        "decoder": "decoder_blocks.{}.self_attn" if family == "t5" else "blocks.{}.attn",
        "cross": "decoder_blocks.{}.cross_attn",
    }
    for layer in recording.layers:
        wanted = activations[names[layer.kind].format(layer.index) + ".hook_pattern"].detach().numpy()
        assert np.abs(maps(recording, layer.index, layer.kind) - wanted).max() < 1e-5, (layer.kind, layer.index)
    few = {name: activations[name] for name in activations.keys() if not name.endswith("hook_pattern")}
    if family in LENS_NEEDS_PATTERNS:
        with refused(f"no pattern, and the model {LENS_NEEDS_PATTERNS[family]}.*keep hook_pattern"):
            attlas.from_cache(few, model=model)
    else:
        again = attlas.from_cache(few, model=model)
        for layer in again.layers:
            found = maps(again, layer.index, layer.kind)
            assert np.abs(found - maps(recording, layer.index, layer.kind)).max() < 1e-6


def save(model: Any, folder: Any) -> None:
    """Model and tokenizer, as TransformerLens opens them."""
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    vocabulary = {**{f"w{number}": number for number in range(99)}, "[UNK]": 99}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, "[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    special = {"pad_token": "w0", "bos_token": "w1", "eos_token": "w2", "unk_token": "[UNK]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **special).save_pretrained(folder)
    model.save_pretrained(folder)


def test_what_a_trace_of_nnsight_saves_is_read() -> None:
    nnsight = pytest.importorskip("nnsight", reason="nnsight is not installed")
    from capture_models import MODELS
    from capture_tools import eager, ids

    model = eager(MODELS["llama"]())
    wanted = model(ids(2, N), output_attentions=True, use_cache=False).attentions
    traced = nnsight.NNsight(model)
    kept = {}
    with traced.trace(ids(2, N), use_cache=False):
        for number in range(2):
            kept[number] = traced.model.layers[number].self_attn.output[1].save()
    recording = attlas.from_cache(kept)
    for layer in range(2):
        assert np.abs(maps(recording, layer) - wanted[layer].detach().numpy()).max() < 1e-6


def test_an_activation_cache_of_transformer_lens_before_4() -> None:
    lens = pytest.importorskip("transformer_lens", reason="transformer_lens is not installed")
    if "HookedTransformer" not in vars(lens):
        pytest.skip("TransformerLens 4 has no HookedTransformer")
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
