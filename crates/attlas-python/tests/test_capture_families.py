"""Every family of transformers: what a capture on its own kernel says is what its eager attention hands out."""

from __future__ import annotations

import copy
from typing import Any

import attlas
import pytest
from capture_models import DECODERS, DENSE, ENCODERS, MODELS, SEQ2SEQS, by_eager, example, pixels
from capture_tools import (
    CLOSE,
    DECODER,
    SEQ2SEQ,
    TEXT,
    VISION,
    dense,
    difference,
    eager,
    has_own_attention,
    ids,
    is_before_4_53,
    made,
    proof,
    stacked,
    torch,
    transformers,
)


@pytest.mark.parametrize("family", ENCODERS)
def test_an_encoder_s_padded_batch_is_recorded_as_eager_computes_it(family: str) -> None:
    model, inputs = ENCODERS[family](), example(family)
    wanted = by_eager(model, inputs, "encoder")
    recording = attlas.capture(model, inputs)
    assert difference(recording, wanted, {"encoder": inputs["attention_mask"]}) <= CLOSE
    assert bool(dense(recording)) == (family in DENSE)
    assert bool(proof(recording)) != (family in DENSE)


@pytest.mark.parametrize("n_padded", [0, 4])
@pytest.mark.parametrize("family", DECODERS)
def test_a_decoder_s_batch_padded_on_the_left_is_recorded_as_eager_computes_it(family: str, n_padded: int) -> None:
    model = DECODERS[family]()
    if family == "gemma2" and is_before_4_53():
        model = eager(model)  # whose sdpa left the soft cap out
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[1, :n_padded] = 0
    inputs: dict[str, Any] = {"input_ids": ids(2, 12), "attention_mask": mask, "use_cache": False}
    if family != "bloom":
        inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    wanted = by_eager(model, inputs, "decoder")
    recording = attlas.capture(model, inputs)
    assert difference(recording, wanted, {"decoder": mask}) <= CLOSE
    assert bool(dense(recording)) == (family in DENSE)
    assert bool(proof(recording)) != (family in DENSE)


def test_the_attention_layers_of_a_hybrid_keep_their_true_index() -> None:
    model = made(
        "Qwen3NextForCausalLM",
        **{**DECODER, "num_hidden_layers": 4},
        head_dim=8,
        linear_num_value_heads=4,
        linear_num_key_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        num_experts=2,
        num_experts_per_tok=1,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
        layer_types=["linear_attention"] * 3 + ["full_attention"],
    )
    inputs = {"input_ids": ids(1, 12)}
    given = [
        one for one in eager(model)(**inputs, output_attentions=True, use_cache=False).attentions if one is not None
    ]
    recording = attlas.capture(model, {**inputs, "use_cache": False})
    assert difference(recording, {("decoder", 3): given[-1].detach()}) <= CLOSE
    assert [layer.index for layer in recording.layers] == [3]


def test_falcon_with_alibi_is_what_its_kernel_computes_though_eager_adds_the_bias_twice() -> None:
    model = made(
        "FalconModel",
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        alibi=True,
        multi_query=True,
        new_decoder_architecture=False,
        bos_token_id=1,
        eos_token_id=2,
    )
    recording = attlas.capture(model, {"input_ids": ids(1, 12), "use_cache": False})
    assert not dense(recording), "the bias is one number a key"
    assert proof(recording)
    # by hand, from the model's own projections: scores + slope · k, as its mask has them
    found = recording.map("decoder", 0, 3).weights()
    wanted = falcon_by_hand(model, ids(1, 12))[0, 3]
    assert abs(found - wanted.numpy()).max() <= CLOSE


def falcon_by_hand(model: Any, tokens: Any) -> Any:
    """The first layer's weights, [batch, heads, queries, keys], with ALiBi added once."""
    layer, n = model.h[0], tokens.shape[1]
    with torch.no_grad():
        hidden = layer.input_layernorm(model.word_embeddings(tokens))
        fused = layer.self_attention.query_key_value(hidden)  # 4 heads of queries, then one of keys, one of values
        queries = fused[..., :32].unflatten(-1, (4, 8)).transpose(1, 2)
        keys = fused[..., 32:40][:, None]
        slopes = torch.tensor([2.0 ** (-2 * (head + 1)) for head in range(4)])
        alibi = (slopes[:, None] * torch.arange(n)).bfloat16().float()  # Falcon rounds it to bfloat16
        scores = (queries @ keys.transpose(2, 3)) / 8**0.5 + alibi[None, :, None] / 8**0.5
        return scores.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf).softmax(-1)


@pytest.mark.parametrize("family", SEQ2SEQS)
def test_an_encoder_decoder_s_three_kinds_are_recorded_as_eager_computes_them(family: str) -> None:
    model, inputs = SEQ2SEQS[family](), example(family)
    wanted = by_eager(model, inputs)
    recording = attlas.capture(model, inputs)
    # T5 does not scale: scores of ±60, of which neighbouring f32 are 4e-6 apart, and eager rounds several
    close = 5e-5 if family == "t5" else CLOSE
    assert difference(recording, wanted, {"encoder": inputs["attention_mask"]}) <= close
    assert bool(dense(recording)) != bool(proof(recording))
    assert not dense(recording) or has_own_attention(model)


def test_whisper_listens_to_frames_and_writes_tokens() -> None:
    model = made(
        "WhisperForConditionalGeneration", **SEQ2SEQ, max_source_positions=20, max_target_positions=32, num_mel_bins=16
    )
    inputs = {
        "input_features": torch.randn(1, 16, 40, generator=torch.Generator().manual_seed(0)),
        "decoder_input_ids": ids(1, 6),
        "use_cache": False,
    }
    wanted = by_eager(model, inputs)
    assert difference(attlas.capture(model, inputs), wanted) <= CLOSE


def test_the_patches_of_vit_are_named_by_row_and_column() -> None:
    model, inputs = MODELS["vit"](), example("vit")
    recording = attlas.capture(model, inputs)
    assert difference(recording, by_eager(model, inputs, "encoder")) <= CLOSE
    labels = [token.text for token in recording.items[0].source.tokens]
    assert labels[:3] == ["CLS", "r0c0", "r0c1"] and labels[-1] == "r2c2"


def test_the_two_towers_of_clip_are_two_kinds() -> None:
    model = made("CLIPModel", text_config=TEXT, vision_config=VISION, projection_dim=16)
    inputs = {"input_ids": ids(1, 7), "pixel_values": pixels(1, 3, 24, 24)}
    given = eager(model)(**inputs, output_attentions=True)
    wanted = stacked(given.vision_model_output.attentions, "encoder") | stacked(
        given.text_model_output.attentions, "decoder"
    )
    recording = attlas.capture(model, inputs)
    assert difference(recording, wanted) <= CLOSE
    assert [token.id for token in recording.items[0].target.tokens] == ids(1, 7)[0].tolist()


def test_two_towers_that_look_both_ways_are_two_stacks() -> None:
    model = made("SiglipModel", text_config={**TEXT, "projection_size": 32}, vision_config=VISION)
    inputs = {"input_ids": ids(1, 7), "pixel_values": pixels(1, 3, 24, 24)}
    recording = attlas.capture(model, inputs)
    stacks = {(layer.kind, layer.stack) for layer in recording.layers}
    assert len({stack for kind, stack in stacks if kind == "encoder"}) == 2, stacks
    assert proof(recording)


def test_the_object_queries_of_detr_look_at_each_other_and_at_the_image() -> None:
    library = transformers()
    backbone = library.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], out_features=["stage2"])
    older: dict[str, Any] = {"use_pretrained_backbone": False} if is_before_4_53() else {}
    model = made(
        "DetrModel",
        use_timm_backbone=False,
        **older,
        backbone_config=backbone,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_queries=5,
    )
    inputs = {"pixel_values": pixels(1, 3, 32, 32)}
    given = eager(model)(**inputs, output_attentions=True)
    recording = attlas.capture(model, inputs)
    # eager and sdpa drift apart over the backbone and the layers before: only the first is comparable to 1e-5
    assert difference(recording, {("encoder", 0): given.encoder_attentions[0].detach()}) <= CLOSE
    assert difference(recording, stacked(given.cross_attentions, "cross")) <= 1e-3
    assert bool(dense(recording)) != bool(proof(recording))
    assert not dense(recording) or has_own_attention(model)


def test_a_language_model_that_sees_an_image_has_both_its_towers() -> None:
    model = made(
        "Gemma3ForConditionalGeneration",
        "Gemma3Config",
        text_config=dict(**DECODER, head_dim=8, sliding_window=6, query_pre_attn_scalar=8),
        vision_config={**VISION, "image_size": 16},
        mm_tokens_per_image=4,
        image_token_index=98,
        boi_token_index=97,
        eoi_token_index=96,
    )
    tokens = torch.tensor([[5, 6, 97, 98, 98, 98, 98, 96, 7, 8, 9, 10]])
    inputs = {
        "input_ids": tokens,
        "pixel_values": pixels(1, 3, 16, 16),
        "token_type_ids": (tokens == 98).long(),
        "attention_mask": torch.ones_like(tokens),
        "use_cache": False,
    }
    given = eager(model)(**inputs, output_attentions=True)
    recording = attlas.capture(model, inputs)
    assert difference(recording, stacked(given.attentions, "decoder")) <= CLOSE
    assert not dense(recording), "tokens of an image see each other: a stretch of keys for each query"
    assert recording.kinds[:2] == ("encoder", "decoder")


def test_the_images_of_a_text_are_one_map_each_not_seeing_the_other() -> None:
    if is_before_4_53():
        pytest.skip("Qwen2-VL's settings had another form before transformers 4.53")
    model = made(
        "Qwen2VLForConditionalGeneration",
        "Qwen2VLConfig",
        text_config=dict(
            **DECODER, rope_parameters={"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
        ),
        vision_config=dict(
            depth=2,
            embed_dim=32,
            hidden_size=32,
            num_heads=4,
            patch_size=4,
            spatial_merge_size=2,
            temporal_patch_size=2,
            mlp_ratio=2,
        ),
        image_token_id=98,
        vision_start_token_id=97,
        vision_end_token_id=96,
        video_token_id=95,
    )
    tokens = torch.tensor([[5, 97, 98, 98, 98, 98, 96, 7, 8, 97, 98, 98, 96, 9]])
    inputs = {
        "input_ids": tokens,
        "pixel_values": pixels(24, 3 * 2 * 16),
        "image_grid_thw": torch.tensor([[1, 4, 4], [1, 4, 2]]),
        "attention_mask": torch.ones_like(tokens),
        "use_cache": False,
        "mm_token_type_ids": (tokens == 98).long(),
    }
    given = eager(model)(**inputs, output_attentions=True)
    recording = attlas.capture(model, inputs)
    assert difference(recording, stacked(given.attentions, "decoder")) <= CLOSE
    seen = recording.map("encoder", 0, 0).weights()
    assert seen.shape == (24, 24) and abs(seen.sum(1) - 1).max() < 1e-5
    assert not seen[:16, 16:].any() and not seen[16:, :16].any(), "patches of one image do not see the other's"


def test_a_model_in_16_bits_keeps_its_numbers_in_16_bits() -> None:
    for dtype, short, n_bytes in (("float32", "F32", 4), ("float16", "F16", 2), ("bfloat16", "BF16", 4)):
        model = MODELS["llama"]().to(getattr(torch, dtype))
        recording = attlas.capture(model, {"input_ids": ids(1, 12), "use_cache": False})
        assert recording.provenance.dtype == short
        # 12 queries of 4 heads of 8; NumPy has no bfloat16
        assert recording.queries("decoder", 0).nbytes == 12 * 32 * n_bytes


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("family", ["bert", "deberta", "gpt2", "llama", "gemma2", "gemma3", "bart", "marian", "t5", "vit"])
def test_a_capture_in_16_bits_is_as_near_to_f32_as_eager_in_16_bits(family: str, dtype: str) -> None:
    if family == "gemma2" and is_before_4_53():
        pytest.skip("the sdpa of Gemma 2 left the soft cap out before transformers 4.53")
    model, inputs = MODELS[family]().to(getattr(torch, dtype)), example(family)
    kind = "decoder" if family in DECODERS else "encoder"
    exact = by_eager(copy.deepcopy(model).float(), inputs, kind)
    inputs = {name: at.to(model.dtype) if torch.is_floating_point(torch.as_tensor(at)) else at for name, at in inputs.items()}
    real = {"encoder": inputs["attention_mask"]} if "attention_mask" in inputs else None
    recording = attlas.capture(model, inputs)
    rounding = difference(by_eager(model, inputs, kind), exact, real)
    assert difference(recording, exact, real) <= 1.1 * rounding
    assert bool(proof(recording)) != bool(dense(recording))
    assert bool(dense(recording)) == (family in DENSE) or has_own_attention(model)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: captures on a GPU were not tested here")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_on_a_gpu_is_recorded_where_it_runs(dtype: str) -> None:
    model = MODELS["llama"]().to("cuda", getattr(torch, dtype))
    inputs = {"input_ids": ids(1, 12).cuda(), "use_cache": False}
    wanted = stacked([one.cpu() for one in eager(model)(**inputs, output_attentions=True).attentions], "decoder")
    recording = attlas.capture(model, inputs)
    assert difference(recording, wanted) <= (1e-4 if dtype == "float32" else 2e-2)
    assert proof(recording)


def test_a_decoder_whose_layers_are_called_encoder_is_a_decoder() -> None:
    library = transformers()
    sizes = {"vocab_size": 100, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    encoder = library.BertModel(library.BertConfig(num_hidden_layers=2, **sizes))
    decoder = library.BertLMHeadModel(library.BertConfig(num_hidden_layers=3, is_decoder=True, add_cross_attention=True, **sizes))
    model = library.EncoderDecoderModel(encoder=encoder, decoder=decoder).eval()
    recording = attlas.capture(model, {"input_ids": ids(2, 7), "decoder_input_ids": ids(2, 5)})
    found = [(layer.kind, layer.stack, layer.index, layer.n_queries, layer.n_keys) for layer in recording.layers]
    assert found == [("encoder", None, at, 7, 7) for at in range(2)] + [
        (kind, None, at, 5, n_keys) for kind, n_keys in (("decoder", 5), ("cross", 7)) for at in range(3)
    ]
