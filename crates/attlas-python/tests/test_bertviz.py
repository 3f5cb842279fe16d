"""BertViz' names: its parameters, its recipes, and what it is answered where the model gave no attention."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attlas
import attlas.bertviz
import numpy as np
import pytest
from attlas.bertviz import head_view, model_view

# BertViz 1.4.1, as `inspect.signature` says it; where the package is installed, this is held against it.
SIGNATURES = {
    ("bertviz", "head_view"): "(attention=None, tokens=None, sentence_b_start=None, prettify_tokens=True, layer=None, "
    "heads=None, encoder_attention=None, decoder_attention=None, cross_attention=None, encoder_tokens=None, "
    "decoder_tokens=None, include_layers=None, html_action='view')",
    ("bertviz", "model_view"): "(attention=None, tokens=None, sentence_b_start=None, prettify_tokens=True, "
    "display_mode='dark', encoder_attention=None, decoder_attention=None, cross_attention=None, encoder_tokens=None, "
    "decoder_tokens=None, include_layers=None, include_heads=None, html_action='view')",
    ("bertviz.neuron_view", "show"): "(model, model_type, tokenizer, sentence_a, sentence_b=None, display_mode='dark', "
    "layer=None, head=None, html_action='view')",
}

TOKENS = ["[CLS]", "the", "cat", "##s", "[SEP]", "they", "sleep", "[SEP]"]


def bare(function: Callable[..., Any]) -> str:
    """A signature without types."""
    signature = inspect.signature(function)
    parameters = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


def weights(layers: int, heads: int, queries: int, keys: int | None = None, causal: bool = False) -> tuple[Any, ...]:
    """Attention as a model returns it: by layer [1, heads, queries, keys]."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(layers, 1, heads, queries, keys or queries)).astype(np.float32)
    if causal:
        scores = np.where(np.tril(np.ones((queries, queries), bool)), scores, -np.inf)
    exponents = np.exp(scores - scores.max(-1, keepdims=True))
    return tuple(exponents / exponents.sum(-1, keepdims=True))


@pytest.mark.parametrize("module, name", SIGNATURES)
def test_the_parameters_are_bertvizs_own(module: str, name: str) -> None:
    ours = getattr(importlib.import_module(f"attlas.{module}"), name)
    assert bare(ours) == SIGNATURES[module, name]


@pytest.mark.parametrize("module, name", SIGNATURES)
def test_the_recorded_parameters_are_those_of_the_installed_package(module: str, name: str) -> None:
    if importlib.util.find_spec("bertviz") is None or importlib.util.find_spec("IPython") is None:
        pytest.skip("bertviz is not installed")
    assert bare(getattr(importlib.import_module(module), name)) == SIGNATURES[module, name]


def test_attention_of_an_encoder_is_shown_with_its_tokens_on_the_layer_and_head_asked_for() -> None:
    attention = weights(3, 4, 8)
    view: Any = head_view(attention, TOKENS, layer=2, heads=[3, 1], html_action="return")
    recording = view.recording
    assert recording.kinds == ("encoder",) and recording.item(0).source.labels == TOKENS
    for layer in range(3):
        assert np.array_equal(recording["encoder", layer].weights()[0], attention[layer][0])
    assert (view.kind, view.layer, view.head) == ("encoder", 2, 1)


def test_attention_that_never_looks_ahead_is_a_decoders() -> None:
    view: Any = model_view(weights(2, 2, 8, causal=True), TOKENS, html_action="return")
    assert view.recording.kinds == ("decoder",) and view.recording.item(0).target.labels == TOKENS


def test_an_encoder_decoder_is_shown_whole() -> None:
    encoder, decoder, cross = weights(2, 4, 3), weights(2, 4, 5, causal=True), weights(2, 4, 5, 3)
    view: Any = head_view(
        encoder_attention=encoder,
        decoder_attention=decoder,
        cross_attention=cross,
        encoder_tokens=["a", "b", "c"],
        decoder_tokens=["v", "w", "x", "y", "z"],
        html_action="return",
    )
    recording = view.recording
    assert recording.kinds == ("encoder", "decoder", "cross")
    assert np.array_equal(recording.map("cross", 1, 2).weights(), cross[1][0, 2])
    assert recording.map("cross", 1, 2).tokens == (["v", "w", "x", "y", "z"], ["a", "b", "c"])


def test_cross_attention_alone_is_enough() -> None:
    view: Any = model_view(
        cross_attention=weights(1, 2, 5, 3), encoder_tokens=list("abc"), decoder_tokens=list("vwxyz"), html_action="return"
    )
    assert view.recording.kinds == ("cross",) and (view.kind, view.layer, view.head) == ("cross", 0, 0)


def test_layers_that_are_included_keep_their_numbers() -> None:
    attention = weights(6, 2, 8)
    view: Any = model_view(attention, TOKENS, include_layers=[5, 3], include_heads=[1], html_action="return")
    assert [layer.index for layer in view.recording.layers] == [3, 5]
    assert np.array_equal(view.recording["encoder", 5].weights()[0], attention[5][0])
    assert (view.layer, view.head) == (3, 1)


def test_marks_of_pieces_are_left_out_unless_they_are_wanted() -> None:
    tokens = ["Ġthe", "▁cat", "sat</w>"]
    shown: Any = head_view(weights(1, 1, 3), tokens, html_action="return")
    assert shown.recording.item(0).source.labels == [" the", " cat", "sat"]
    kept: Any = head_view(weights(1, 1, 3), tokens, prettify_tokens=False, html_action="return")
    assert kept.recording.item(0).source.labels == tokens


def test_of_a_pair_it_is_known_what_each_sentence_gives_to_the_other() -> None:
    attention = weights(2, 2, 8)
    view: Any = head_view(attention, TOKENS, 5, html_action="return")
    sentences = view.sentences
    row = sentences.filter(layer=1, head=1)[0]
    expected = attention[1][0, 1, :5, 5:].sum(-1).mean()
    assert row["A -> B"] == pytest.approx(expected, abs=1e-6)
    assert np.allclose(sentences["B -> A"] + sentences["B -> B"], 1, atol=1e-5)


def test_torch_tensors_of_any_dtype_are_taken_with_their_gradient() -> None:
    torch: Any = pytest.importorskip("torch", reason="torch is not installed")
    attention = [torch.tensor(layer).bfloat16().requires_grad_() for layer in weights(2, 2, 8)]
    view: Any = head_view(attention, TOKENS, html_action="return")
    assert np.abs(view.recording["encoder", 0].weights()[0] - weights(2, 2, 8)[0][0]).max() < 4e-3


def test_the_recipe_of_a_notebook_runs_with_the_import_changed(tmp_path: Path) -> None:
    torch: Any = pytest.importorskip("torch", reason="torch is not installed")
    transformers: Any = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    torch.manual_seed(0)
    model = transformers.BertModel(config)
    model.set_attn_implementation("eager")
    inputs = torch.tensor([[1, 7, 9, 12, 2]])
    outputs = model(inputs, output_attentions=True)
    attention = outputs.attentions
    if not outputs[-1]:  # transformers 5 puts an empty cross-attention there, where the recipe looks
        with pytest.raises(attlas.CaptureError, match=r"outputs\.attentions is what was meant"):
            head_view(outputs[-1], ["[CLS]", "the", "cat", "sat", "[SEP]"])
    tokens = ["[CLS]", "the", "cat", "sat", "[SEP]"]
    html_head_view: Any = head_view(attention, tokens, html_action="return")
    with (tmp_path / "head_view.html").open("w", encoding="utf-8") as file:
        file.write(html_head_view.data)
    page = (tmp_path / "head_view.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>") and "require.js" not in page
    kept = attention[1][0].detach().numpy()
    assert np.array_equal(html_head_view.recording["encoder", 1].weights()[0], kept)


def test_a_model_on_a_kernel_without_weights_is_answered_by_the_sentence_that_helps() -> None:
    for nothing in ((), (None, None)):
        with pytest.raises(attlas.CaptureError, match=r"kernel that gives no weights.*attlas\.capture\(model, inputs\)"):
            head_view(nothing, TOKENS)
        with pytest.raises(attlas.CaptureError, match="cross_attention is empty"):
            model_view(cross_attention=nothing, encoder_tokens=["a"], decoder_tokens=["b"])
    with pytest.raises(attlas.Error, match=r"there is no attention: .*attlas\.capture"):
        head_view(None, TOKENS)


def test_what_does_not_fit_is_refused_with_what_was_expected() -> None:
    attention = weights(2, 4, 8)
    cases: dict[str, Callable[[], Any]] = {
        "'tokens' is required": lambda: head_view(attention),
        "has 8 queries, while 3 tokens were given": lambda: head_view(attention, ["a", "b", "c"]),
        "'attention' is for self-attention alone": lambda: head_view(attention, TOKENS, encoder_attention=attention),
        "'decoder_tokens' is required with cross_attention": lambda: head_view(
            cross_attention=attention, encoder_tokens=TOKENS
        ),
        "layer 5 is not shown; the layers are .0, 1.": lambda: head_view(attention, TOKENS, layer=5),
        "include_layers is .7., but the layers are 0 to 1": lambda: head_view(attention, TOKENS, include_layers=[7]),
        "no head 4; layer 0 has 4": lambda: head_view(attention, TOKENS, heads=[4]),
        "has shape .2, 4, 8, 8., not .1, heads": lambda: head_view([np.concatenate([attention[0]] * 2)], TOKENS),
        "html_action is 'show'; it is 'view' or 'return'": lambda: head_view(attention, TOKENS, html_action="show"),  # type: ignore[arg-type]
        "display_mode is 'night'": lambda: model_view(attention, TOKENS, display_mode="night"),
        "sentence_b_start is 8; of 8 tokens": lambda: head_view(attention, TOKENS, 8, html_action="return"),
    }
    for sentence, call in cases.items():
        with pytest.raises(attlas.Error, match=sentence):
            call()


def test_as_in_bertviz_a_view_is_displayed_and_nothing_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    display: Any = pytest.importorskip("IPython.display", reason="IPython is not installed")
    shown: list[Any] = []
    monkeypatch.setattr(display, "display", shown.append)
    assert head_view(weights(1, 2, 8), TOKENS) is None
    assert len(shown) == 1 and "text/html" in shown[0]._repr_mimebundle_()


def test_the_neuron_view_runs_any_model_on_a_pair_of_sentences() -> None:
    torch: Any = pytest.importorskip("torch", reason="torch is not installed")
    transformers: Any = pytest.importorskip("transformers", reason="transformers is not installed")
    from attlas.bertviz.neuron_view import show

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "lay"]
    tokenizer = pair_tokenizer(vocabulary)
    config = transformers.BertConfig(
        vocab_size=9, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16
    )
    torch.manual_seed(0)
    model = transformers.BertModel(config).eval()
    view: Any = show(model, "bert", tokenizer, "the cat sat", "the cat lay", layer=2, head=1, html_action="return")
    assert (view.kind, view.layer, view.head) == ("encoder", 2, 1)
    assert view.recording.item(0).source.labels == ["[CLS]", "the", "cat", "sat", "[SEP]", "the", "cat", "lay", "[SEP]"]
    assert view.recording.queries("encoder", 2).shape == (1, 2, 9, 8)
    expected = view.recording.map("encoder", 2, 1).weights()[:5, 5:].sum(1).mean()
    assert view.sentences.filter(layer=2, head=1)["A -> B"][0] == pytest.approx(expected, abs=1e-6)


def pair_tokenizer(vocabulary: list[str]) -> Any:
    tokenizers: Any = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    transformers: Any = pytest.importorskip("transformers", reason="transformers is not installed")

    words = {word: number for number, word in enumerate(vocabulary)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
