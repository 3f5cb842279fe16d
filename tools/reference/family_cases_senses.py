"""More cases of families.py, whose models read images or sounds, and the text towers beside them."""

import re

import torch
import transformers as t

from family_cases import Case, pixels, pixels_of_any_size

IMAGE = {"image_size": 12, "patch_size": 4, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
MLP = IMAGE | {"intermediate_size": 40}
LABELS = {"num_labels": 3}
WAYS = {"relative_position_bias_table": 1.5}
TEXT = {"vocab_size": 48, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
TEXT |= {"max_position_embeddings": 14}


def vision() -> list[Case]:
    dinov3 = IMAGE | {"hidden_size": 32, "intermediate_size": 40}
    beside = TEXT | {"num_hidden_layers": 1}
    siglip2 = {name: value for name, value in MLP.items() if name != "image_size"} | {"num_patches": 9}
    return [
        Case("vit-mae", t.ViTMAEForPreTraining, t.ViTMAEConfig(**MLP, mask_ratio=0.0, decoder_num_hidden_layers=1, decoder_hidden_size=8, decoder_num_attention_heads=2, decoder_intermediate_size=8), inputs=all_patches, part=lambda model: model.vit),
        Case("beit", t.BeitModel, t.BeitConfig(**MLP, use_relative_position_bias=True, use_mean_pooling=False), inputs=pixels, gains=WAYS),
        Case("beit-classifier", t.BeitForImageClassification, t.BeitConfig(**MLP, **LABELS, use_shared_relative_position_bias=True, use_absolute_position_embeddings=True), inputs=pixels, gains=WAYS),
        Case("data2vec-vision", t.Data2VecVisionModel, t.Data2VecVisionConfig(**MLP, use_relative_position_bias=True), torch.float16, inputs=pixels, gains=WAYS),
        Case("dinov3", t.DINOv3ViTModel, t.DINOv3ViTConfig(**dinov3, num_register_tokens=3), inputs=pixels_of_any_size),
        Case("dinov3-gated", t.DINOv3ViTModel, t.DINOv3ViTConfig(**dinov3, num_register_tokens=2, use_gated_mlp=True, hidden_act="silu", query_bias=False, value_bias=False, proj_bias=False, mlp_bias=False), torch.bfloat16, inputs=pixels),
        Case("clip-text", t.CLIPTextModel, t.CLIPTextConfig(**TEXT, pad_token_id=1, bos_token_id=2, eos_token_id=3), torch.float16),
        Case("siglip", t.SiglipModel, t.SiglipConfig(text_config=beside, vision_config=MLP), inputs=lambda config, generator: pixels(config.vision_config, generator), part=lambda model: model.vision_model),
        Case("siglip-classifier", t.SiglipForImageClassification, t.SiglipConfig(text_config=beside, vision_config=MLP | {"image_size": 14, "vision_use_head": False}, **LABELS), inputs=lambda config, generator: pixels(config.vision_config, generator)),
        Case("siglip-text", t.SiglipTextModel, t.SiglipTextConfig(**TEXT, pad_token_id=1, bos_token_id=2, eos_token_id=3)),
        Case("siglip2", t.Siglip2VisionModel, t.Siglip2VisionConfig(**siglip2, vision_use_head=False), inputs=pixels_in_patches),
    ]


def all_patches(config, generator: torch.Generator) -> dict:
    """Images, and numbers in an order that leaves their patches in theirs when none is masked."""
    runs = pixels(config, generator)
    n = (config.image_size // config.patch_size) ** 2
    runs["images"]["noise"] = torch.arange(n).double().expand(2, n)
    return runs


def pixels_in_patches(config, generator: torch.Generator) -> dict:
    """Images of any size, and what SigLIP 2 reads of them: patches whose pixels have their colours together, and the grid."""
    runs = {}
    for name, size in {"images": (12, 12), "wide": (16, 28), "small": (8, 4)}.items():
        images = torch.randn((2 if name == "images" else 1, 3, *size), generator=generator).double()
        rows, columns = (pixels // config.patch_size for pixels in size)
        cut = images.reshape(len(images), 3, rows, config.patch_size, columns, config.patch_size)
        patches = cut.permute(0, 2, 4, 3, 5, 1).reshape(len(images), rows * columns, -1)
        mask = torch.ones(patches.shape[:2], dtype=torch.long)
        shapes = torch.tensor([[rows, columns]] * len(images))
        runs[name] = {"pixel_values": patches, "pixel_attention_mask": mask, "spatial_shapes": shapes, "images": images}
    return runs


def speech() -> list[Case]:
    sound = {"vocab_size": 12, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24}
    sound |= {"conv_dim": [8, 8], "conv_kernel": [4, 3], "conv_stride": [3, 2], "num_feat_extract_layers": 2}
    sound |= {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 4, "mask_time_prob": 0.0}
    stable = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
    return [
        Case("wav2vec2", t.Wav2Vec2ForCTC, t.Wav2Vec2Config(**sound), inputs=samples),
        Case("wav2vec2-stable", t.Wav2Vec2Model, t.Wav2Vec2Config(**sound | {"num_conv_pos_embeddings": 3}, **stable), torch.float16, inputs=samples),
        Case("hubert", t.HubertModel, t.HubertConfig(**sound, feat_proj_layer_norm=False), inputs=samples),
        Case("wavlm", t.WavLMModel, t.WavLMConfig(**sound, num_buckets=8, max_bucket_distance=6), averages=True, inputs=samples, gains={"rel_attn_embed": 1.5}),
    ]


def samples(config, generator: torch.Generator) -> dict:
    """Sounds of mean 0. Shape [batch, n_samples]."""
    return {
        "sounds": {"input_values": torch.randn((2, 60), generator=generator).double()},
        "longer": {"input_values": torch.randn((1, 101), generator=generator).double()},
    }


def writing() -> list[Case]:
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2}
    decoder = {"vocab_size": 48, "d_model": 16, "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 28}
    decoder |= {"max_position_embeddings": 24, "is_decoder": True, "add_cross_attention": True, **ids}
    small = {"scale_embedding": True, "layernorm_embedding": False, "activation_function": "relu"}
    image = MLP | {"num_hidden_layers": 1}

    def config(encoder, **more) -> t.VisionEncoderDecoderConfig:
        narrow = t.TrOCRConfig(**decoder | {"cross_attention_hidden_size": encoder.hidden_size} | more)
        return t.VisionEncoderDecoderConfig(encoder=encoder.to_dict(), decoder=narrow.to_dict(), **ids)

    settings = {"generates": True, "inputs": image_and_ids, "generation": ids}
    return [
        Case("trocr", t.VisionEncoderDecoderModel, config(t.ViTConfig(**image)), features=image_to_read, n_distinct=3, **settings),
        Case("trocr-deit", t.VisionEncoderDecoderModel, config(t.DeiTConfig(**image | {"hidden_size": 16}), **small), torch.float16, features=image_to_read, n_distinct=3, gains={"embed_tokens": 0.2}, **settings),
    ]


def finding() -> list[Case]:
    """Pictures of other shapes than a whole number of places, so that the grid is rounded up."""
    layers = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "num_queries": 5, **LABELS}
    layers |= {"decoder_attention_heads": 4, "encoder_ffn_dim": 24, "decoder_ffn_dim": 20}
    narrow = t.ResNetConfig(embedding_size=4, hidden_sizes=[8, 16], depths=[1, 2], hidden_act="gelu", out_features=["stage2"])
    basic = t.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8, 8], depths=[1, 1, 1], layer_type="basic", out_features=["stage3"])
    gains = {"embedder.convolution": 0.1, "query_position": 3.0}
    return [
        Case("detr", t.DetrForObjectDetection, t.DetrConfig(backbone_config=narrow, **layers), inputs=scenes, gains=gains),
        Case("detr-basic", t.DetrForObjectDetection, t.DetrConfig(backbone_config=basic, **layers), torch.float16, inputs=scenes, gains=gains, stored=as_timm_names),
    ]


def scenes(config, generator: torch.Generator) -> dict:
    sizes = {"images": (2, 18, 26), "tall": (1, 33, 11)}
    return {name: {"pixel_values": torch.randn((n, 3, *size), generator=generator).double()} for name, (n, *size) in sizes.items()}


def as_timm_names(config: dict, tensors: dict) -> dict:
    """The ResNet's names in timm, which nearly all of the hub's files have, and the counts that its norms keep."""

    def name(old: str) -> str:
        start, _, rest = old.partition("conv_encoder.model.")
        if not rest:
            return old
        rest = rest.replace("embedder.embedder.convolution", "conv1").replace("embedder.embedder.normalization", "bn1")
        rest = re.sub(r"encoder\.stages\.(\d+)\.layers", lambda found: f"layer{int(found[1]) + 1}", rest)
        rest = re.sub(r"layer\.(\d+)\.convolution", lambda found: f"conv{int(found[1]) + 1}", rest)
        rest = re.sub(r"layer\.(\d+)\.normalization", lambda found: f"bn{int(found[1]) + 1}", rest)
        rest = rest.replace("shortcut.convolution", "downsample.0").replace("shortcut.normalization", "downsample.1")
        return f"{start}conv_encoder.model.{rest}"

    counts = {"model.backbone.conv_encoder.model.bn1.num_batches_tracked": torch.tensor(7)}
    return {name(old): tensor for old, tensor in tensors.items()} | counts


def image_to_read(config, generator: torch.Generator) -> torch.Tensor:
    size = config.encoder.image_size
    return torch.randn((1, 3, size, size), generator=generator).double()


def image_and_ids(config, generator: torch.Generator) -> dict:
    ids = torch.randint(4, config.decoder.vocab_size, (2, 7), generator=generator)
    ids[:, 0] = config.decoder_start_token_id
    images = pixels(config.encoder, generator)["images"]["pixel_values"]
    return {"images": {"pixel_values": images, "decoder_input_ids": ids}}


CASES = [*vision(), *speech(), *writing(), *finding()]
