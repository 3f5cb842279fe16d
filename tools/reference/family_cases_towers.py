"""The cases of families.py whose text lies inside a model that sees images: tiny towers of both, run on text alone."""

import torch
import transformers as t

from family_cases import DECODER, SCALED, Case, older_rope

GROUPED = DECODER | {"num_key_value_heads": 2}
SEEN = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 4, "patch_size": 2}
MROPE = {"rope_type": "default", "rope_theta": 1000000.0, "mrope_section": [1, 2, 1]}
IMAGES = {"image_token_id": 44, "video_token_id": 45, "vision_start_token_id": 46, "vision_end_token_id": 47}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def towers() -> list[Case]:
    gemma3 = GROUPED | {"model_type": "gemma3_text", "head_dim": 8, "sliding_window": 5, "query_pre_attn_scalar": 12}
    gemma3 |= {"num_hidden_layers": 3, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
    siglip = SEEN | {"model_type": "siglip_vision_model"}
    gemma3_images = {"vision_config": siglip, "image_token_index": 47, "boi_token_index": 45, "eoi_token_index": 46, "mm_tokens_per_image": 1}
    mistral = GROUPED | {"model_type": "mistral", "sliding_window": None, "head_dim": 8}
    pixtral = SEEN | {"model_type": "pixtral", "head_dim": 4}
    llama = DECODER | {"model_type": "llama"}
    clip = SEEN | {"model_type": "clip_vision_model"}
    qwen2 = GROUPED | {"model_type": "qwen2", "tie_word_embeddings": True}
    qwen_vl = GROUPED | {"hidden_size": 32, "rope_parameters": MROPE}
    seen_by_qwen2 = {"depth": 1, "embed_dim": 8, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 1, "patch_size": 2}
    seen_by_qwen25 = {"depth": 1, "hidden_size": 8, "out_hidden_size": 32, "num_heads": 2, "intermediate_size": 12, "patch_size": 2}
    seen_by_qwen3 = seen_by_qwen25 | {"num_position_embeddings": 4, "deepstack_visual_indexes": [0]}
    interleaved = qwen_vl | {"head_dim": 8, "rope_parameters": MROPE | {"mrope_interleaved": True, "mrope_section": [2, 1, 1]}}
    cases = [
        Case(
            "gemma3-tower",
            t.Gemma3ForConditionalGeneration,
            # what the class has by itself, and files on the hub leave out
            t.Gemma3Config(text_config=gemma3 | {"num_attention_heads": 8, "num_key_value_heads": 4}, **gemma3_images),
            gains=SCALED,
            edit=lambda config: drop(config["text_config"], "num_attention_heads", "num_key_value_heads"),
            rename=as_on_the_hub,
        ),
        Case(
            "gemma3-tower-nested",
            t.Gemma3ForConditionalGeneration,
            t.Gemma3Config(text_config=gemma3, **gemma3_images),
            torch.bfloat16,
            long=16,
            gains=SCALED,
            rename=nested,
        ),
        Case(
            "mistral3-tower",
            t.Mistral3ForConditionalGeneration,
            t.Mistral3Config(text_config=mistral, vision_config=pixtral, image_token_index=47, tie_word_embeddings=False),
            torch.float16,
            edit=lambda config: older_rope(config["text_config"]),
            rename=as_on_the_hub,
        ),
        Case("llava-tower", t.LlavaForConditionalGeneration, t.LlavaConfig(text_config=llama, vision_config=clip, image_token_index=47), rename=as_on_the_hub),
        Case(
            "llava-next-tower",
            t.LlavaNextForConditionalGeneration,
            t.LlavaNextConfig(text_config=mistral, vision_config=clip, image_token_index=47, image_grid_pinpoints=[[4, 8]]),
            rename=nested,
        ),
        Case(
            "llava-onevision-tower",
            t.LlavaOnevisionForConditionalGeneration,
            t.LlavaOnevisionConfig(text_config=qwen2, vision_config=siglip, image_token_index=47, video_token_index=46, image_grid_pinpoints=[[4, 8]]),
            rename=as_on_the_hub,
        ),
        Case(
            "qwen2-vl-tower",
            t.Qwen2VLForConditionalGeneration,
            t.Qwen2VLConfig(text_config=qwen_vl, vision_config=seen_by_qwen2, **IMAGES),
            edit=flat,
            rename=as_qwen2_vl_on_the_hub,
        ),
        Case(
            "qwen2.5-vl-tower",
            t.Qwen2_5_VLForConditionalGeneration,
            t.Qwen2_5_VLConfig(text_config=qwen_vl, vision_config=seen_by_qwen25, **IMAGES),
            torch.bfloat16,
            rename=nested,
        ),
        Case("qwen3-vl-tower", t.Qwen3VLForConditionalGeneration, t.Qwen3VLConfig(text_config=interleaved, vision_config=seen_by_qwen3, **IMAGES), rename=nested),
    ]
    for case in cases:
        case.generates = True
    return cases


def nested(name: str) -> str:
    """Names as the classes of transformers 5 have them."""
    for part in ("vision_tower.", "multi_modal_projector.", "image_newline"):
        if name.startswith(part):
            return f"model.{name}"
    if name.startswith("language_model.lm_head."):
        return name.removeprefix("language_model.")
    if name.startswith("language_model.model."):
        return name.replace("language_model.model.", "model.language_model.", 1)
    if name.startswith("visual."):
        return f"model.{name}"
    if name.startswith("model.") and not name.startswith(("model.language_model.", "model.visual.", "model.vision_tower.", "model.multi_modal_projector.", "model.image_newline")):
        return name.replace("model.", "model.language_model.", 1)
    return name


def as_on_the_hub(name: str) -> str:
    """The names that most files have, from before transformers 5."""
    name = nested(name)
    if name.startswith("model.language_model."):
        return name.replace("model.language_model.", "language_model.model.", 1)
    if name.startswith("lm_head."):
        return f"language_model.{name}"
    return name.removeprefix("model.")


def as_qwen2_vl_on_the_hub(name: str) -> str:
    """Qwen2-VL's files: the text's stack without a name of its own."""
    return name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")


def drop(config: dict, *fields: str) -> None:
    for field in fields:
        config.pop(field, None)


def flat(config: dict) -> None:
    """Qwen2-VL's files: the fields of the text beside those of the whole, and M-RoPE by its own name."""
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    text |= {"rope_theta": rope["rope_theta"], "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]}}
    config |= {field: value for field, value in text.items() if field != "model_type"}


TOWERS = towers()
