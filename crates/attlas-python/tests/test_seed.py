"""The source document's names: its usage example end to end, its class, and its pictures."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attlas
import numpy as np
import pytest

matplotlib: Any = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
matplotlib.use("Agg")
plt: Any = pytest.importorskip("matplotlib.pyplot")
from attlas.seed import (  # noqa: E402
    AttentionMaps,
    get_attention_maps,
    plot_attention_across_layers,
    plot_attention_map,
    plot_multihead_attention,
)

SOURCE = ["The", "cat", "sat", "on", "the", "mat"]
TARGET = ["Le", "chat", "était", "assis", "sur"]


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def model_of_the_example(training: bool = True) -> Any:
    torch: Any = pytest.importorskip("torch", reason="torch is not installed")
    from attlas.seed import TransformerWithAttnMaps

    torch.manual_seed(0)
    model = TransformerWithAttnMaps(
        src_vocab=1000, tgt_vocab=1000, d_model=256, num_heads=8, d_ff=512, num_layers=3, dropout=0.1
    )
    return model.train(training)


def run_of_the_example(model: Any) -> Any:
    import torch

    src = torch.tensor([[10, 42, 87, 3, 55, 91]])
    tgt = torch.tensor([[1, 23, 67, 45, 12]])
    tgt_mask = torch.triu(torch.ones(5, 5), diagonal=1).bool()
    return model(src, tgt, tgt_mask=tgt_mask)


def images(figure: Any) -> list[Any]:
    """The maps of a figure, in order."""
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def texts(figure: Any) -> list[str]:
    """Everything that is written on a figure."""
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def test_the_usage_example_runs_as_it_stands_and_draws_what_the_model_computed(tmp_path: Path) -> None:
    model = model_of_the_example()
    output = run_of_the_example(model)
    assert tuple(output.shape) == (1, 5, 1000)

    maps = model.get_attention_maps()
    assert {name: [tuple(layer.shape) for layer in layers] for name, layers in maps.items()} == {
        "encoder": [(1, 8, 6, 6)] * 3,
        "decoder_self": [(1, 8, 5, 5)] * 3,
        "decoder_cross": [(1, 8, 5, 6)] * 3,
    }
    encoder = plot_attention_across_layers(maps, "encoder", head=0, src_tokens=SOURCE)
    plt.show()
    cross = plot_attention_across_layers(maps, "decoder_cross", head=0, src_tokens=SOURCE, tgt_tokens=TARGET)
    plt.show()
    heads = plot_multihead_attention(
        maps["encoder"][0], num_heads=8, x_labels=SOURCE, y_labels=SOURCE, layer_name="Encoder Layer 1"
    )
    plt.show()

    for layer, image in enumerate(images(encoder)):
        assert np.array_equal(image, maps["encoder"][layer][0, 0].numpy())
    for layer, image in enumerate(images(cross)):
        assert np.array_equal(image, maps["decoder_cross"][layer][0, 0].numpy())
    assert np.array_equal(np.stack(images(heads)), maps["encoder"][0][0].numpy())
    assert set(SOURCE) | set(TARGET) <= set(texts(cross))
    for name, figure in {"encoder": encoder, "cross": cross, "heads": heads}.items():
        figure.savefig(tmp_path / f"{name}.svg")
        figure.savefig(tmp_path / f"{name}.png")


def test_all_maps_of_a_figure_share_one_scale_that_is_stated() -> None:
    maps = {"encoder": [np.full((1, 1, 2, 2), 0.5), np.array([[[[0.75, 0.25], [0.0, 1.0]]]]) * 0.8]}
    figure = plot_attention_across_layers(maps, "encoder", src_tokens=["a", "b"])
    limits: Any = [axes.images[0].get_clim() for axes in figure.axes if axes.images]
    assert limits == [(0.0, pytest.approx(0.8))] * 2
    assert any("attention weight, 0 to 0.8 in all maps" in text for text in texts(figure))


def test_tokens_are_drawn_as_they_are_written() -> None:
    tokens = ["$a_$", r"\$x$", "_b^{2}", "$"]
    figure: Any = plot_attention_map(np.eye(4), x_labels=tokens, y_labels=tokens)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == tokens
    assert not any(label.get_parse_math() for label in figure.axes[0].get_xticklabels())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()


def test_cells_are_one_image_and_labels_are_text(tmp_path: Path) -> None:
    figure: Any = plot_attention_map(np.eye(3), x_labels=["first", "second", "third"], y_labels=["one", "two", "three"])
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(tmp_path / "map.svg")
    svg = (tmp_path / "map.svg").read_text(encoding="utf-8")
    assert svg.count("<image") == 2  # the map, and its colour bar
    assert all(f">{token}<" in svg for token in ("first", "second", "third", "one", "two", "three"))


def test_weights_under_dropout_are_said_to_be() -> None:
    model = model_of_the_example(training=True)
    run_of_the_example(model)
    maps = get_attention_maps(model)
    said = " ".join(texts(plot_attention_across_layers(maps, "encoder")))
    assert "recorded in training mode: dropout was on" in said and "not to 1" in said
    # a map that was taken out of them says nothing of the model, but its rows do
    assert any("dropout was on" in text for text in texts(plot_attention_map(maps["encoder"][0][0, 0])))
    assert any("dropout was on" in text for text in texts(plot_multihead_attention(maps["encoder"][0], 8)))


def test_weights_without_dropout_have_nothing_said_of_them() -> None:
    model = model_of_the_example(training=False)
    run_of_the_example(model)
    maps = get_attention_maps(model)
    assert maps.remarks == ()
    assert not any("dropout" in text for text in texts(plot_attention_across_layers(maps, "decoder_cross")))


def test_the_class_is_the_usual_one_by_its_parameters_and_its_output() -> None:
    torch: Any = pytest.importorskip("torch", reason="torch is not installed")
    from torch import nn

    model = model_of_the_example(training=False)
    names = set(model.state_dict())
    assert {
        "src_embed.weight",
        "tgt_embed.weight",
        "pe",
        "encoder_layers.0.self_attn.mha.in_proj_weight",
        "encoder_layers.2.self_attn.norm.weight",
        "encoder_layers.0.ffn.ffn.0.weight",
        "encoder_layers.0.ffn.ffn.3.bias",
        "decoder_layers.1.cross_attn.mha.out_proj.weight",
        "output_proj.bias",
    } <= names
    # the same weights in torch's own layers, post-norm with ReLU, give the same logits
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(256, 8, 512, batch_first=True), 3, enable_nested_tensor=False
    ).eval()
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(256, 8, 512, batch_first=True), 3).eval()
    for ours, theirs in [*zip(model.encoder_layers, encoder.layers), *zip(model.decoder_layers, decoder.layers)]:
        theirs.self_attn.load_state_dict(ours.self_attn.mha.state_dict())
        theirs.norm1.load_state_dict(ours.self_attn.norm.state_dict())
        theirs.linear1.load_state_dict(ours.ffn.ffn[0].state_dict())
        theirs.linear2.load_state_dict(ours.ffn.ffn[3].state_dict())
        if hasattr(ours, "cross_attn"):
            theirs.multihead_attn.load_state_dict(ours.cross_attn.mha.state_dict())
            theirs.norm2.load_state_dict(ours.cross_attn.norm.state_dict())
            theirs.norm3.load_state_dict(ours.ffn.norm.state_dict())
        else:
            theirs.norm2.load_state_dict(ours.ffn.norm.state_dict())
    src, tgt = torch.tensor([[10, 42, 87, 3, 0, 0]]), torch.tensor([[1, 23, 67, 45, 12]])
    mask, padding = torch.triu(torch.ones(5, 5), diagonal=1).bool(), src == 0
    with torch.no_grad():
        got = model(src, tgt, mask, padding)
        position = torch.arange(6, dtype=torch.float64)[:, None] / 10000 ** (torch.arange(0, 256, 2) / 256.0)
        sinusoids = torch.stack([position.sin(), position.cos()], -1).flatten(1).float()
        
        def embed(table: Any, ids: Any) -> Any:
            return table(ids) * 16 + sinusoids[: ids.shape[1]]

        memory = encoder(embed(model.src_embed, src), src_key_padding_mask=padding)
        expected = decoder(embed(model.tgt_embed, tgt), memory, tgt_mask=mask, memory_key_padding_mask=padding)
        assert torch.allclose(got, model.output_proj(expected), atol=1e-4)
    assert model.get_attention_maps()["decoder_cross"][0][..., 4:].abs().max() == 0


def test_the_pictures_can_be_drawn_on_axes_of_ones_own() -> None:
    figure, axes = plt.subplots(1, 3, layout="constrained")
    maps = {"decoder_self": [np.eye(2)[None, None]] * 3}
    assert plot_attention_across_layers(maps, "decoder_self", tgt_tokens=["a", "b"], ax=axes) is figure
    assert [place.get_title() for place in axes] == ["L0H0", "L1H0", "L2H0"]
    single, place = plt.subplots()
    assert plot_attention_map(np.eye(2), ax=place) is single


def test_labels_that_have_no_room_are_thinned_and_the_picture_says_so() -> None:
    figure: Any = plot_attention_map(np.eye(200), x_labels=[f"t{n}" for n in range(200)], figsize=(5, 5))
    shown = figure.axes[0].get_xticklabels()
    assert 20 < len(shown) < 100 and min(label.get_fontsize() for label in shown) >= 6
    assert "labelled" in figure.axes[0].get_xlabel()


def test_what_cannot_be_drawn_is_refused_with_what_was_expected() -> None:
    with pytest.raises(attlas.Error, match="two axes, .queries, keys., but an array of shape .1, 8, 2, 2."):
        plot_attention_map(np.zeros((1, 8, 2, 2)))
    with pytest.raises(attlas.Error, match="2 columns .keys. but 3 labels were given"):
        plot_attention_map(np.eye(2), x_labels=["a", "b", "c"])
    with pytest.raises(attlas.Error, match="no head 9; there are 8"):
        plot_attention_across_layers({"encoder": [np.zeros((1, 8, 2, 2))]}, "encoder", head=9)
    with pytest.raises(attlas.Error, match="no text 1; there are 1"):
        plot_multihead_attention(np.zeros((1, 8, 2, 2)), 8, sample_idx=1)
    with pytest.raises(attlas.Error, match="no maps of decoder_cross; there are: encoder"):
        plot_attention_across_layers({"encoder": [np.zeros((1, 8, 2, 2))]}, "decoder_cross")
    with pytest.raises(attlas.Error, match="map_type is 'cross'; it is one of encoder, decoder_self, decoder_cross"):
        plot_attention_across_layers({"encoder": []}, "cross")
    with pytest.raises(attlas.Error, match="num_heads is 9, but the layer has 8 heads"):
        plot_multihead_attention(np.zeros((1, 8, 2, 2)), 9)
    with pytest.raises(attlas.Error, match="3 maps need as many matplotlib Axes; 1 were given"):
        plot_multihead_attention(np.zeros((1, 3, 2, 2)), 3, ax=plt.subplots()[1])
    with pytest.raises(attlas.Error, match="an array of numbers was expected, not str"):
        plot_attention_map("weights")


def test_numbers_that_are_no_weights_are_refused_with_their_place() -> None:
    for value in (np.nan, np.inf, -0.25):
        weights = np.array([[0.5, 0.5], [value, 0.75]])
        with pytest.raises(attlas.FormatError, match=r"the number at \[1, 0\] is .*attention weights are 0 or more"):
            plot_attention_map(weights)
        with pytest.raises(attlas.FormatError, match=r"the number at \[0, 0, 1, 0\]"):
            plot_multihead_attention(weights[None, None])
        with pytest.raises(attlas.FormatError, match=r"encoder layer 0: the number at \[0, 0, 1, 0\]"):
            plot_attention_across_layers({"encoder": [weights[None, None]]})


def test_a_model_that_has_not_run_or_keeps_nothing_is_refused_with_what_helps() -> None:
    with pytest.raises(attlas.CaptureError, match="run it first"):
        get_attention_maps(model_of_the_example())
    from torch import nn

    with pytest.raises(attlas.CaptureError, match="attlas.capture"):
        get_attention_maps(nn.Transformer(8, 2, 1, 1, 8, batch_first=True))


def test_a_recording_gives_its_maps_by_the_documents_names() -> None:
    recording = attlas.record("The cat sat on the mat.")
    maps = get_attention_maps(recording)
    assert isinstance(maps, AttentionMaps)
    for name, kind in {"encoder": "encoder", "decoder_self": "decoder", "decoder_cross": "cross"}.items():
        for layer, weights in zip(maps.layers[name], maps[name]):
            assert np.array_equal(weights[0, 3], recording.map(kind, layer, 3).weights())
    figure = plot_attention_across_layers(recording, "decoder_cross", head=4)
    source, target = maps.tokens[0]
    assert set(source) | set(target) <= set(texts(figure)) | {""}


def test_capture_and_the_class_itself_agree_on_every_weight() -> None:
    torch: Any = pytest.importorskip("torch", reason="torch is not installed")
    model = model_of_the_example(training=False)
    with torch.no_grad():
        run_of_the_example(model)
    kept = model.get_attention_maps()
    src = torch.tensor([[10, 42, 87, 3, 55, 91]])
    tgt = torch.tensor([[1, 23, 67, 45, 12]])
    mask = torch.triu(torch.ones(5, 5), diagonal=1).bool()
    maps = get_attention_maps(attlas.capture(model, {"src": src, "tgt": tgt, "tgt_mask": mask}))
    for name in ("encoder", "decoder_self", "decoder_cross"):
        for ours, theirs in zip(maps[name], kept[name]):
            assert np.abs(ours - theirs.numpy()).max() < 1e-4  # scores reach ±420, in float32


def test_a_recording_of_a_training_step_says_that_dropout_was_on() -> None:
    model = model_of_the_example(training=True)
    from attlas._capture import recording

    with recording(model) as run:
        run_of_the_example(model)
    said = " ".join(" ".join(texts(plot_attention_across_layers(run.recordings[0], "encoder"))).split())
    assert "recorded in training mode: dropout was on; shown are the weights before it" in said
    assert "rows sum to" not in said


def test_the_example_notebook_runs_from_its_first_cell_to_its_last() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    path = Path(__file__).parents[3] / "docs" / "notebooks" / "6-the-usual-example.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile(cell["source"], cell["id"], "exec"), names)
    assert len(plt.get_fignums()) == 4
    assert names["recording"].kinds == ("encoder", "decoder", "cross")
