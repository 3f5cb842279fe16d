"""What a capture refuses: an error of the right class, in a sentence that says what to do, and nothing stays changed."""

from __future__ import annotations

from typing import Any

import attlas
import numpy as np
import pytest
from attlas._capture import build, layers, switches
from capture_models import DECODERS, MODELS, SEQ2SEQS, llama
from capture_tools import DECODER, VISION, eager, ids, made, torch, transformers
from torch import nn
from torch.nn import functional as F


@pytest.fixture(autouse=True)
def nothing_stays_switched() -> Any:
    yield
    assert switches._users == 0 and not switches._before
    assert torch.overrides._get_current_function_mode_stack() == []


def refused(*says: str) -> Any:
    return pytest.raises(attlas.CaptureError, match="(?s)" + ".*".join(says))


def test_a_model_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = nn.TransformerEncoderLayer(8, 2)
    with refused("meta device", "load its weights first"):
        attlas.capture(model, (torch.randn(3, 1, 8),))


@pytest.mark.parametrize("kernel", ["flash_attention_2", "flex_attention"])
def test_kernels_that_keep_what_they_are_asked_to_themselves(kernel: str) -> None:
    model = llama()
    model.config._attn_implementation = kernel
    with refused(kernel, r"set_attn_implementation\('sdpa'\)"):
        attlas.capture(model, ids(1, 5))


def test_attention_that_is_itself_quantised(monkeypatch: pytest.MonkeyPatch) -> None:
    interface: Any = getattr(transformers(), "AttentionInterface", None)
    if interface is None:
        pytest.skip("transformers has no AttentionInterface before 4.51")

    def of_whole_numbers(module: Any, query: Any, key: Any, value: Any, mask: Any, **more: Any) -> Any:
        query, key, value = (0.1 * tensor.float() for tensor in (query, key, value))
        return F.scaled_dot_product_attention(query, key, value).transpose(1, 2), None

    class Quantised(nn.Module):
        def forward(self, x: Any) -> Any:
            x = (10 * x).round().to(torch.int8)
            return interface()["sdpa"](self, x, x, x, None)[0]

    monkeypatch.setitem(interface._global_mapping, "sdpa", of_whole_numbers)
    with refused("torch.int8, not floating-point numbers", "leave the attention's projections out of the quantisation"):
        attlas.capture(Quantised(), (torch.randn(1, 2, 5, 4),))


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated")
def test_a_model_whose_linear_layers_are_quantised_is_recorded_with_the_numbers_it_has() -> None:
    model = llama()
    plain = attlas.capture(model, ids(1, 7)).map("decoder", 1, 0).weights()
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    recording = attlas.capture(quantised, ids(1, 7))
    off = abs(recording.map("decoder", 1, 0).weights() - plain).max()
    assert 0 < off < 0.5, "other numbers than without, and what its kernel gave"


def test_an_encoder_that_runs_twice_in_one_forward() -> None:
    class Twin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower = nn.TransformerEncoder(
                nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), 2, enable_nested_tensor=False
            )

        def forward(self, a: Any, b: Any) -> Any:
            return self.tower(a) @ self.tower(b).transpose(1, 2)

    with refused("more than once in one forward", "kinds="):
        attlas.capture(Twin().eval(), (torch.randn(1, 4, 8), torch.randn(1, 5, 8)))


def test_a_recording_inside_of_another() -> None:
    model, x = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True).eval(), torch.randn(1, 4, 8)
    with attlas.recording(model) as outer:
        with pytest.raises(attlas.CaptureError, match="another recording is running in this thread"), attlas.recording(model):
            pass
        model(x)
    assert len(outer.recordings) == 1


def test_texts_without_a_tokenizer_and_lists_of_nothing() -> None:
    with refused("no tokenizer was given", "tokenizer="):
        attlas.capture(llama(), "The cat sat.")
    with refused("no tokenizer was given"):
        attlas.capture(MODELS["bart"](), ids(1, 4), target="a cat")
    with refused("empty list"):
        attlas.capture(llama(), [], tokenizer=lambda *texts, **options: None)
    with refused("a pipeline, its .model"):
        attlas.capture("llama", ids(1, 4))
    with refused("a int", "dict for model"):
        attlas.capture(llama(), 5)


@pytest.mark.parametrize("shape", [(0, 5), (1, 0)])
def test_an_empty_batch(shape: tuple[int, int]) -> None:
    with refused("is empty", "at least one token"):
        attlas.capture(llama(), torch.zeros(shape, dtype=torch.long))
    with refused("is empty"):
        attlas.capture(llama(), {"input_ids": torch.zeros(shape, dtype=torch.long)})


def test_tokens_that_do_not_match() -> None:
    with refused("text 0 has 4 ", "ran on 5", "special tokens dropped"):
        attlas.capture(llama(), ids(1, 5), tokens=["a", "b", "c", "d"])
    with refused("tokens of 1 texts", "ran on 2"):
        attlas.capture(llama(), ids(2, 3), tokens=["a", "b", "c"])


def test_a_model_without_attention_is_never_an_empty_recording() -> None:
    with refused("no attention was seen", "attlas.from_attentions"):
        attlas.capture(nn.Linear(3, 3), (torch.randn(2, 3),))
    with refused("the model did not run"), attlas.recording(nn.Linear(3, 3)):
        pass
    with refused("no layer of the kinds"):
        attlas.capture(llama(), ids(1, 4), kinds=["cross"])
    assert attlas.capture(llama(), ids(1, 4), kinds="decoder") == attlas.capture(llama(), ids(1, 4), kinds=["decoder"])
    for kinds in ("decode", ["decoder", "self"], []):
        with refused("kinds is", "encoder, decoder, cross were expected"):
            attlas.capture(llama(), ids(1, 4), kinds=kinds)
    with pytest.raises(attlas.Error, match="max_dense_bytes is 'x'; a whole number"):
        attlas.capture(llama(), ids(1, 4), max_dense_bytes="x")  # type: ignore[arg-type]
    with refused("generate is 20; True, or arguments"):
        attlas.capture(llama(), ids(1, 4), generate=20)  # type: ignore[arg-type]
    with refused("every is 0"):
        attlas.recording(llama(), every=0)
    with refused("has no generate"):
        attlas.capture(nn.TransformerEncoderLayer(8, 2), (torch.randn(3, 1, 8),), generate=True)


def test_a_model_that_does_more_with_its_weights_than_a_recording_says() -> None:
    class Gated(nn.Module):
        """Attention whose kernel is another one than the call says."""

        def forward(self, x: Any) -> Any:
            return F.scaled_dot_product_attention(x, x, x)

    x = torch.randn(1, 2, 5, 4)
    original = F.scaled_dot_product_attention
    assert attlas.capture(Gated(), (x,)).map("encoder", 0, 0).shape == (5, 5)
    model = llama()
    file = __import__("sys").modules[type(model).__module__]
    plain = file.eager_attention_forward

    def sharpened(module: Any, query: Any, key: Any, value: Any, mask: Any, scaling: float, **more: Any) -> Any:
        return plain(module, query, key, value, mask, scaling=2 * scaling, **more)

    model = eager(model)
    file.eager_attention_forward = sharpened
    try:
        with refused("decoder layer 0", "differ from what eager", "from_attentions"):
            attlas.capture(model, ids(1, 6))
    finally:
        file.eager_attention_forward = plain
    assert F.scaled_dot_product_attention is original


def test_a_stitch_that_goes_wrong_is_found_after_stitching(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in the wrong order agree with every check of a file: log-sum-exps were computed from the same wrong keys."""
    stitched = layers.stitched

    def reversed_keys(place: Any, beams: Any) -> Any:
        layer = stitched(place, beams)
        layer.keys = layer.keys.flip(2)
        return layer

    monkeypatch.setattr(build, "stitched", reversed_keys)
    with refused("weights . values of the recording differ"):
        attlas.capture(llama(), ids(1, 8))


def test_a_cache_that_holds_other_keys_than_were_recorded() -> None:
    model, n_steps = llama(), 0

    def tamper(module: Any, args: Any, kwargs: Any) -> Any:
        nonlocal n_steps
        n_steps += 1
        if n_steps == 3:
            cache = kwargs.get("cache") or kwargs["past_key_values"]
            if hasattr(cache, "layers"):
                for layer in cache.layers:
                    layer.keys = layer.keys.flip(2)
            else:  # transformers before 4.54
                cache.key_cache = [keys.flip(2) for keys in cache.key_cache]

    handle = model.register_forward_pre_hook(tamper, with_kwargs=True)
    with refused("found other keys in its cache"):
        attlas.capture(
            model, ids(1, 5), generate={"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
        )
    handle.remove()


def test_numbers_that_are_not_finite() -> None:
    model = llama()
    model.model.layers[1].self_attn.q_proj.weight.data[3] = torch.nan
    with refused("decoder layer 1", "head 0", "not finite"):
        attlas.capture(model, ids(1, 5))


def test_several_texts_need_a_token_that_pads() -> None:
    class Unpadded:
        pad_token = None

    with refused("tokenizer.pad_token = tokenizer.eos_token"):
        attlas.capture(llama(), ["a", "a b"], tokenizer=Unpadded())


def test_a_softmax_that_cannot_be_told_from_another() -> None:
    class TwiceAttention(nn.Module):
        def forward(self, x: Any) -> Any:
            first = (x @ x.transpose(1, 2)).softmax(-1)
            return first @ x - (2 * x @ x.transpose(1, 2)).softmax(-1) @ x

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = TwiceAttention()

        def forward(self, x: Any) -> Any:
            return self.attention(x)

    with refused("softmax more than once", "from_attentions"):
        attlas.capture(Model(), (torch.randn(1, 4, 4),))


def test_windows_whose_text_cannot_be_told() -> None:
    class Uneven(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vision, self.decoder = (
                nn.MultiheadAttention(8, 2, batch_first=True),
                nn.MultiheadAttention(8, 2, batch_first=True),
            )

        def forward(self, images: Any, x: Any) -> Any:
            self.vision(images, images, images)
            return self.decoder(x, x, x, attn_mask=torch.ones(4, 4).triu(1).bool())

    assert transformers() is not None
    with refused("3 rows, for 2 texts", "kinds="):
        attlas.capture(Uneven().eval(), (torch.randn(3, 5, 8), torch.randn(2, 4, 8)))
    recording = attlas.capture(Uneven().eval(), (torch.randn(3, 5, 8), torch.randn(2, 4, 8)), kinds=["decoder"])
    assert recording.kinds == ("decoder",)


def test_ids_come_as_arrays_lists_and_one_text_s() -> None:
    model = DECODERS["llama"]()
    wanted = attlas.capture(model, torch.tensor([[3, 4, 5]]))
    ids: Any
    for ids in (np.array([[3, 4, 5]]), [3, 4, 5], [[3, 4, 5]], torch.tensor([3, 4, 5]), {"input_ids": np.array([3, 4, 5], np.int32)}):
        assert attlas.capture(model, ids) == wanted
    assert attlas.capture(model, {"input_ids": [3, 4, 5], "attention_mask": [1, 1, 1]}) == wanted


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([], "inputs are an empty list"),
        ([[3, 4], [5]], "inputs are no ids"),
        (["a", 3], "inputs are no ids"),
        ([1.5, 2.0], "input_ids are float32; ids are whole numbers"),
        ({"input_ids": np.zeros((1, 2, 3), int)}, r"input_ids have the shape \[1, 2, 3\]"),
        ([3, 999], "the id 999 is none of the model's vocabulary of 100"),
        ([3] * 65, "a text has 65 tokens, and the model has 64 positions"),
    ],
)
def test_inputs_that_are_no_ids_of_the_model(inputs: Any, said: str) -> None:
    with pytest.raises(attlas.CaptureError, match=said):
        attlas.capture(DECODERS["gpt2"](), inputs)


def test_a_text_for_an_encoder_decoder_of_which_nobody_says_what_its_decoder_reads() -> None:
    with pytest.raises(attlas.CaptureError, match="give target= .* or generate=True"):
        attlas.capture(SEQ2SEQS["t5"](), [3, 4, 5])


def test_an_encoder_decoder_without_ids_says_itself_what_is_wrong() -> None:
    class Detector(nn.Module):
        config = type("Config", (), {"is_encoder_decoder": True})()

        def forward(self, pixel_values: Any) -> Any:
            raise ValueError("three channels were expected")

    with pytest.raises(ValueError, match="three channels"):
        attlas.capture(Detector(), {"pixel_values": torch.randn(1, 1, 4, 4)})


def test_texts_with_different_numbers_of_images() -> None:
    model = made(
        "LlavaForConditionalGeneration", "LlavaConfig", text_config=dict(DECODER, model_type="llama"),
        vision_config=dict(VISION, model_type="clip_vision_model"), image_token_id=99, vision_feature_layer=-1,
    )  # fmt: skip
    texts = ids(2, 20)
    texts[0, 1:19] = 99
    inputs = {"input_ids": texts, "pixel_values": torch.randn(2, 3, 24, 24)}
    with refused("different numbers of image tokens", "one text at a time"):
        attlas.capture(model, inputs)
    assert attlas.capture(model, inputs, kinds=["decoder"]).kinds == ("decoder",)


def test_a_generation_that_reads_its_tokens_anew() -> None:
    with pytest.raises(attlas.CaptureError, match="use_cache=False, or an assistant_model"):
        attlas.capture(DECODERS["llama"](), [3, 4, 5], generate={"max_new_tokens": 3, "use_cache": False, "pad_token_id": 0})
