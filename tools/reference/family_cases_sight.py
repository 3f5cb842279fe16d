"""The cases of families.py whose texts have images in them: tiny towers of both, seen and read.

A text is its words and a placeholder for each image; `inputs_of` makes of it what processors of transformers make of larger ones: as many
image tokens as the image has rows, and pixels as the tower reads them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import transformers as t

from family_cases import DECODER, Case
from family_cases_towers import GROUPED, IMAGES, as_on_the_hub, flat, nested

SEEN = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 6, "patch_size": 2}
FIRST_PLAIN_ID, LAST_PLAIN_ID = 4, 40  # what lies between is no special token


@dataclass
class Text:
    """Words, and the images between them as sizes in pixels."""

    words: list[int]  # so many before, between and after images
    images: list[tuple[int, int]]


@dataclass
class Sight:
    """What a case reads."""

    runs: dict[str, list[Text]]
    generated: Text
    patches: Callable  # (config, images) → pixels as the model reads them, and image tokens of each
    tower: Callable  # (model, inputs, n_images) → maps of the tower for each image, layer by layer, patches row by row


def sights() -> list[Case]:
    llama = DECODER | {"model_type": "llama"}
    qwen2 = GROUPED | {"model_type": "qwen2"}
    clip = SEEN | {"model_type": "clip_vision_model"}
    siglip = SEEN | {"model_type": "siglip_vision_model", "vision_use_head": False}
    square = (6, 6)
    runs = {
        "padded": [Text([1, 2], [square]), Text([3, 4], [square])],
        "several": [Text([2, 3, 2], [square, square])],
    }
    small = Sight(runs, Text([2, 3], [square]), pixels, maps_of_clip)
    cases = [
        Case("llava", t.LlavaForConditionalGeneration, t.LlavaConfig(text_config=llama, vision_config=clip, image_token_index=47), rename=as_on_the_hub),
        Case(
            "llava-siglip",
            t.LlavaForConditionalGeneration,
            t.LlavaConfig(text_config=qwen2, vision_config=siglip, image_token_index=47, vision_feature_layer=[-3, -1], vision_feature_select_strategy="full", multimodal_projector_bias=False),
            torch.bfloat16,
            rename=nested,
        ),
    ]
    for case in cases:
        case.sight, case.generates = small, True
    return cases


def inputs_of(case: Case, config, texts: list[Text], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """The inputs of a batch, and what attlas is given of them: `prompt_ids` with one placeholder for an image, `image.0`, …"""
    images = [torch.randn((3, *size), generator=generator).double() for text in texts for size in text.images]
    inputs, counts = case.sight.patches(config, images)
    token, rest = config.image_token_id, iter(counts)
    prompts, expanded = [], []
    for text in texts:
        words = [torch.randint(FIRST_PLAIN_ID, LAST_PLAIN_ID, (n,), generator=generator).tolist() for n in text.words]
        prompt, full = list(words[0]), list(words[0])
        for after in words[1:]:
            prompt += [token, *after]
            full += [token] * next(rest) + after
        prompts.append(prompt)
        expanded.append(full)
    ids, mask = padded(expanded)
    given, given_mask = padded(prompts)
    inputs |= {"input_ids": ids, "attention_mask": mask, "prompt_ids": given, "prompt_mask": given_mask}
    if "image_grid_thw" in inputs:
        inputs["mm_token_type_ids"] = (ids == token).long()
    return inputs | {f"image.{place}": image for place, image in enumerate(images)}


def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    n = max(len(row) for row in rows)
    ids = torch.tensor([row + [0] * (n - len(row)) for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (n - len(row)) for row in rows])


def read_of(inputs: dict) -> dict:
    """What the model itself is called with."""
    return {name: value for name, value in inputs.items() if not name.startswith(("image.", "prompt_"))}


def pixels(config, images: list[torch.Tensor]) -> tuple[dict, list[int]]:
    side = config.vision_config.patch_size
    n = [image.shape[1] // side * (image.shape[2] // side) for image in images]
    return {"pixel_values": torch.stack(images)}, n


def maps_of_clip(model, inputs: dict) -> list[list[torch.Tensor]]:
    layers = model.model.vision_tower(inputs["pixel_values"], output_attentions=True).attentions
    return [[layer[image : image + 1] for layer in layers] for image in range(len(layers[0]))]


SIGHTS = sights()
