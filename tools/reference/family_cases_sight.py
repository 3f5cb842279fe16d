"""The cases of families.py whose texts have images in them: tiny towers of both, seen and read.

A text is its words and a placeholder for each image; `inputs_of` makes of it what processors of transformers make of larger ones: as many
image tokens as the image has rows, and pixels as the tower reads them.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
import transformers as t

from family_cases import DECODER, Case
from family_cases_towers import GROUPED, IMAGES, MROPE, as_on_the_hub, as_qwen2_vl_on_the_hub, flat, nested

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
        "several": [Text([1, 2, 2], [square, square])],
    }
    small = Sight(runs, Text([2, 3], [square]), pixels, maps_of_clip)
    qwen_vl = GROUPED | {"hidden_size": 32, "rope_parameters": MROPE}
    tower = {"depth": 2, "num_heads": 2, "patch_size": 2}
    seen_by_qwen2 = tower | {"embed_dim": 8, "hidden_size": 32, "mlp_ratio": 2}
    seen_by_qwen25 = tower | {"depth": 3, "hidden_size": 8, "out_hidden_size": 32, "intermediate_size": 12, "window_size": 8, "fullatt_block_indexes": [1]}
    # sizes of which windows of 4 × 4 patches leave some at the edges
    runs = {"padded": [Text([3, 2], [(8, 12)]), Text([1, 2], [(4, 8)])], "several": [Text([1, 2, 2], [(12, 8), (4, 4)])]}
    any_shape = Sight(runs, Text([2, 3], [(4, 12)]), pixels_in_squares, maps_of_qwen)
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
        case.sight = small
    of_qwen = [
        Case(
            "qwen2-vl",
            t.Qwen2VLForConditionalGeneration,
            t.Qwen2VLConfig(text_config=qwen_vl, vision_config=seen_by_qwen2, **IMAGES),
            torch.bfloat16,
            edit=flat,
            rename=as_qwen2_vl_on_the_hub,
        ),
        Case(
            "qwen2.5-vl",
            t.Qwen2_5_VLForConditionalGeneration,
            t.Qwen2_5_VLConfig(text_config=qwen_vl, vision_config=seen_by_qwen25, **IMAGES),
            torch.float16,
            rename=nested,
        ),
    ]
    for case in of_qwen:
        case.sight = any_shape
    for case in [*cases, *of_qwen]:
        case.generates = True
    return [*cases, *of_qwen]


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


def pixels_in_squares(config, images: list[torch.Tensor]) -> tuple[dict, list[int]]:
    """Patches of two equal frames, square of merged ones by square, all images one after another."""
    vision = config.vision_config
    side, merged, frames = vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
    patches, grids = [], []
    for image in images:
        rows, columns = image.shape[1] // side, image.shape[2] // side
        cut = image.reshape(3, rows // merged, merged, side, columns // merged, merged, side).permute(1, 4, 2, 5, 0, 3, 6)
        cut = cut.unsqueeze(5).expand(-1, -1, -1, -1, -1, frames, -1, -1)
        patches.append(cut.reshape(rows * columns, -1))
        grids.append([1, rows, columns])
    counts = [rows * columns // merged**2 for _, rows, columns in grids]
    return {"pixel_values": torch.cat(patches), "image_grid_thw": torch.tensor(grids)}, counts


def maps_of_qwen(model, inputs: dict) -> list[list[torch.Tensor]]:
    """Each image alone; a layer's chunks are squares of patches that see each other, or the whole image."""
    tower = model.model.visual
    module = importlib.import_module(type(tower).__module__)
    attend, sizes = module.eager_attention_forward, [int(grid.prod()) for grid in inputs["image_grid_thw"]]
    seen = []
    for patches, grid in zip(inputs["pixel_values"].split(sizes), inputs["image_grid_thw"]):
        chunks: dict = {}

        def keep(attention, *arguments, **settings):
            output, weights = attend(attention, *arguments, **settings)
            chunks.setdefault(attention, []).append(weights[0])
            return output, weights

        module.eager_attention_forward = keep
        try:
            tower(patches, grid[None])
        finally:
            module.eager_attention_forward = attend
        seen.append([row_by_row(chunks[block.attn], order_of(tower, grid)) for block in tower.blocks])
    return seen


def order_of(tower, grid: torch.Tensor) -> torch.Tensor:
    """The place, row by row, of each patch as the tower has them in order: merged squares, in 2.5 window by window."""
    rows, columns, merged = int(grid[1]), int(grid[2]), tower.spatial_merge_size
    places = torch.arange(rows * columns).reshape(rows // merged, merged, columns // merged, merged).permute(0, 2, 1, 3)
    places = places.reshape(-1, merged**2)
    if hasattr(tower, "window_size"):
        side = tower.window_size // merged // tower.patch_size
        squares = torch.arange(len(places)).reshape(rows // merged, columns // merged)
        windows = [squares[r : r + side, c : c + side].flatten() for r in range(0, rows // merged, side) for c in range(0, columns // merged, side)]
        places = places[torch.cat(windows)]
    return places.flatten()


def row_by_row(chunks: list[torch.Tensor], order: torch.Tensor) -> torch.Tensor:
    """One map of all patches, 0 between chunks, in the order of rows. Shape [1, n_heads, n, n]."""
    n = len(order)
    whole = torch.zeros((chunks[0].shape[0], n, n), dtype=chunks[0].dtype)
    start = 0
    for chunk in chunks:
        own = order[start : start + chunk.shape[-1]]
        whole[:, own[:, None], own[None, :]] = chunk
        start += chunk.shape[-1]
    assert start == n
    return whole[None]


SIGHTS = sights()
