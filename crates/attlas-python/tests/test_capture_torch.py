"""Models that are no transformers models: PyTorch's own classes, code that calls its functions, wrapped and compiled ones."""

from __future__ import annotations

import math
from typing import Any

import attlas
import numpy as np
import pytest
from capture_models import llama
from capture_tools import CLOSE, dense, difference, eager, ids, is_before_4_53, made, proof, stacked, torch, transformers, weights
from torch import nn
from torch.nn import functional as F


def numbers(*shape: int) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no bias": {"bias": False},
    "bias_k": {"add_bias_kv": True},
    "zero key": {"add_zero_attn": True},
    "other widths": {"kdim": 24, "vdim": 20},
    "batch first": {"batch_first": True},
    "float mask": {"float_mask": True},
    "a mask a head": {"mask_by_head": True},
    "unbatched": {"unbatched": True},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_multi_head_attention_is_recorded_in_each_of_its_options(option: str) -> None:
    settings = dict(OPTIONS[option])
    float_mask, by_head, unbatched = (settings.pop(name, False) for name in ("float_mask", "mask_by_head", "unbatched"))
    torch.manual_seed(3)
    attention = nn.MultiheadAttention(32, 4, **settings).eval()
    n_batch, n_queries, n_keys = (1 if unbatched else 2), 5, 7
    queries = numbers(n_batch, n_queries, 32)
    keys, values = (
        numbers(n_batch, n_keys, settings.get("kdim", 32)),
        numbers(n_batch, n_keys, settings.get("vdim", 32)),
    )
    mask = torch.zeros(n_queries, n_keys, dtype=torch.bool)
    mask[0, 4:] = mask[3, :2] = True
    if float_mask:
        mask = numbers(n_queries, n_keys)
    if by_head:
        mask = mask.expand(n_batch * 4, n_queries, n_keys).clone()
        mask[3] = False
    sides = [queries, keys, values]
    if unbatched:
        sides = [side[0] for side in sides]
    elif not settings.get("batch_first"):
        sides = [side.transpose(0, 1) for side in sides]

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = attention

        def forward(self, *sides: Any) -> Any:
            return self.attention(*sides, attn_mask=mask, need_weights=False)[0]

    with torch.no_grad():
        given = attention(*sides, attn_mask=mask, average_attn_weights=False)[1]
    given = given[None] if given.dim() == 3 else given
    recording = attlas.capture(Model(), tuple(sides))
    assert difference(recording, {("cross", 0): given}) <= CLOSE
    assert bool(dense(recording)) == float_mask, "only numbers that are added to each pair need an array of pairs"
    assert proof(recording)


def test_views_of_one_tensor_are_that_tensor() -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.MultiheadAttention(16, 4, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.layer(x[:], x[:], x[:])[0]

    assert attlas.capture(Views().eval(), (numbers(2, 6, 16),)).kinds == ("encoder",)


def test_keys_that_attention_adds_have_names_behind_those_of_the_tokens() -> None:
    torch.manual_seed(3)
    model = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval()
    model.self_attn = nn.MultiheadAttention(32, 4, add_bias_kv=True, add_zero_attn=True, batch_first=True).eval()
    recording = attlas.capture(model, (numbers(1, 5, 32),))
    keys = recording.items[0].axes["encoder_source"].labels
    assert keys == ["0", "1", "2", "3", "4", "bias_k", "zero"]
    assert recording.map("encoder", 0, 0).shape == (5, 7)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True", "ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("batch_first", [False, True])
def test_nn_transformer_has_three_kinds_with_padding_and_a_causal_mask(batch_first: bool) -> None:
    torch.manual_seed(0)
    model = nn.Transformer(32, 4, 2, 2, 64, batch_first=batch_first).eval()
    source, target = numbers(2, 7, 32), numbers(2, 5, 32)
    padding = torch.zeros(2, 7, dtype=torch.bool)
    padding[1, 5:] = True
    causal = torch.ones(5, 5).triu(1).bool()
    given: dict[tuple[str, int], Any] = {}

    def keep(kind: str, layer: int) -> Any:
        def weights_of(module: Any, args: Any, kwargs: Any) -> Any:
            return args, {**kwargs, "need_weights": True, "average_attn_weights": False}

        def kept(module: Any, args: Any, kwargs: Any, output: Any) -> None:
            given[kind, layer] = output[1]

        return weights_of, kept

    modules = [("encoder", i, layer.self_attn) for i, layer in enumerate(model.encoder.layers)]
    modules += [("decoder", i, layer.self_attn) for i, layer in enumerate(model.decoder.layers)]
    modules += [("cross", i, layer.multihead_attn) for i, layer in enumerate(model.decoder.layers)]
    handles = []
    for kind, index, module in modules:
        before, after = keep(kind, index)
        handles += [
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(after, with_kwargs=True),
        ]
    sides = (source, target) if batch_first else (source.transpose(0, 1), target.transpose(0, 1))
    more = dict(tgt_mask=causal, src_key_padding_mask=padding, memory_key_padding_mask=padding)
    with torch.no_grad():
        model(*sides, **more)
    for handle in handles:
        handle.remove()
    recording = attlas.capture(model, {"src": sides[0], "tgt": sides[1], **more})
    assert difference(recording, given, {"encoder": ~padding}) <= CLOSE
    assert [token.role for token in recording.items[1].source.tokens][4:] == ["text", "padding", "padding"]
    assert recording.kinds == ("encoder", "decoder", "cross") and proof(recording)


class Block(nn.Module):
    def __init__(self, d: int, n_head: int) -> None:
        super().__init__()
        self.c_attn, self.c_proj, self.n_head = nn.Linear(d, 3 * d), nn.Linear(d, d), n_head

    def forward(self, x: Any) -> Any:
        n_batch, n, d = x.shape
        q, k, v = (y.view(n_batch, n, self.n_head, -1).transpose(1, 2) for y in self.c_attn(x).split(d, 2))
        self.truth = (
            (q @ k.transpose(2, 3) / math.sqrt(d // self.n_head))
            .masked_fill(torch.ones(n, n).triu(1).bool(), -math.inf)
            .softmax(-1)
        )
        return x + self.c_proj(
            F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(n_batch, n, d)
        )


class Nano(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embed, self.blocks = nn.Embedding(100, 32), nn.ModuleList(Block(32, 4) for _ in range(3))

    def forward(self, idx: Any) -> Any:
        x = self.embed(idx)
        for block in self.blocks:
            x = block(x)
        return x


def test_code_that_calls_dot_product_attention_is_recorded_with_its_own_ids() -> None:
    model = Nano().eval()
    recording = attlas.capture(model, ids(2, 9))
    wanted = {("decoder", layer): block.truth for layer, block in enumerate(model.blocks)}
    assert difference(recording, wanted) <= CLOSE
    assert [token.id for token in recording.items[1].target.tokens] == ids(2, 9)[1].tolist()
    assert not dense(recording) and "scaled_dot_product_attention" in proof(recording)


def test_a_compiled_model_is_recorded_as_it_was_written() -> None:
    model = Nano().eval()
    wanted = weights(attlas.capture(model, ids(1, 9)), "decoder", 1)
    compiled = torch.compile(model, backend="eager")
    compiled(ids(1, 9))  # a graph is there
    assert np.array_equal(weights(attlas.capture(compiled, ids(1, 9)), "decoder", 1), wanted)
    with attlas.recording(compiled) as run:
        compiled(ids(1, 9))
    assert np.array_equal(weights(run.recordings[0], "decoder", 1), wanted)


def test_a_model_with_adapters_is_recorded_with_them() -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed")
    model = llama()
    inputs = {"input_ids": ids(1, 10), "use_cache": False}
    plain = weights(attlas.capture(model, inputs), "decoder", 1)
    adapted = peft.get_peft_model(
        model, peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    ).eval()
    wanted = stacked(eager(adapted.get_base_model())(**inputs, output_attentions=True).attentions, "decoder")
    recording = attlas.capture(adapted, inputs)
    assert difference(recording, wanted) <= CLOSE
    assert np.abs(weights(recording, "decoder", 1) - plain).max() > 1e-3, "the adapter changes the maps"


def test_queries_of_one_text_that_look_at_each_of_a_batch_are_that_batch_s() -> None:
    class Probe(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(2)
            self.probe, self.to_keys = nn.Parameter(torch.randn(1, 2, 3, 8)), nn.Linear(16, 16)

        def forward(self, x: Any) -> Any:
            keys = self.to_keys(x).view(len(x), -1, 2, 8).transpose(1, 2)
            return F.scaled_dot_product_attention(self.probe.expand(len(x), -1, -1, -1), keys, keys)

    model, x = Probe().eval(), numbers(2, 6, 16)
    recording = attlas.capture(model, (x,))
    with torch.no_grad():
        keys = model.to_keys(x).view(2, -1, 2, 8).transpose(1, 2)
        wanted = (model.probe @ keys.transpose(2, 3) / math.sqrt(8)).softmax(-1)
    assert difference(recording, {("cross", 0): wanted}) <= CLOSE


@pytest.mark.parametrize("size", [(32, 32), (40, 28)])
def test_windows_of_an_image_are_recorded_where_they_lie_in_it(size: tuple[int, int]) -> None:
    model = made("SwinModel", image_size=32, patch_size=4, embed_dim=16, depths=[2, 1], num_heads=[2, 2], window_size=4)
    x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    for name, parameter in model.named_parameters():
        if "relative_position_bias" in name:
            parameter.data.normal_()
    given: list[Any] = []
    other = eager(model)
    inner = "SwinSelfAttention" if is_before_4_53() else "SwinAttention"
    for module in other.modules():
        if type(module).__name__ == inner:
            module.register_forward_hook(lambda module, args, output: given.append(output[1].detach()))
    other(pixel_values=x, output_attentions=True)
    recording = attlas.capture(model, {"pixel_values": x})
    assert len(given) == len(recording.layers) == 3
    for layer, of_windows in enumerate(given):
        rows, columns = size[0] // 4 // (2 if layer == 2 else 1), -(-size[1] // 4 // (2 if layer == 2 else 1))
        window = min(4, rows, columns)
        rows, columns = -(-rows // window) * window, -(-columns // window) * window
        places = torch.arange(rows * columns).view(rows, columns)
        if layer == 1:
            places = places.roll((-2, -2), (0, 1))  # half a window: the layer's windows are shifted
        places = places.view(rows // window, window, columns // window, window).transpose(1, 2).reshape(-1, window**2)
        wanted = torch.zeros(1, of_windows.shape[1], rows * columns, rows * columns)
        for number, at in enumerate(places):
            wanted[0][:, at[:, None], at] = of_windows[number]
        assert difference(recording, {("encoder", layer): wanted}) <= CLOSE, layer
    labels = recording.items[0].source.labels
    assert labels[:2] == ["r0c0", "r0c1"]
    if size == (32, 32):
        assert labels[8] == "r1c0" and labels[-1] == "r7c7"
    else:
        assert labels[7:9] == ["pad", "r1c0"] and labels[-1] == "pad"
    assert proof(recording)


def test_windows_of_which_the_model_does_not_tell_are_not_taken_for_pixels() -> None:
    class Cut(nn.Module):
        """Attention in quarters of an image, for which nothing says which."""

        def __init__(self) -> None:
            super().__init__()
            self.config = transformers().ViTConfig(patch_size=4)
            self.into = torch.nn.Conv2d(3, 16, 4, 4)
            self.attention = torch.nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, pixel_values: Any) -> Any:
            x = self.into(pixel_values).unflatten(2, (2, 2)).unflatten(4, (2, 2))  # [1, 16, 2, 2, 2, 2]
            x = x.permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, 16)
            return self.attention(x, x, x)[0]

    recording = attlas.capture(Cut().eval(), {"pixel_values": numbers(1, 3, 16, 16)})
    assert recording.items[0].source.labels[3:6] == ["w0t3", "w1t0", "w1t1"]