"""Generations as one map a head: caches that grow, slide and stand still, beams, drawn tokens, texts padded on the left."""

from __future__ import annotations

import inspect
from typing import Any

import attlas
import pytest
from capture_models import MODELS, by_eager
from capture_tools import CLOSE, difference, eager, ids, is_before_4_53, made, proof, stacked, torch

N_NEW = 7


def options(**more: Any) -> dict[str, Any]:
    return {"max_new_tokens": N_NEW, "min_new_tokens": N_NEW, "do_sample": False, "pad_token_id": 0, **more}


def whole(model: Any, sequences: Any, mask: Any = None) -> dict[tuple[str, int], Any]:
    """What eager hands out when the finished text is read in one pass."""
    inputs: dict[str, Any] = {"input_ids": sequences}
    if mask is not None:
        mask = torch.cat([mask, torch.ones(len(mask), sequences.shape[1] - mask.shape[1], dtype=torch.long)], 1)
        inputs |= {"attention_mask": mask, "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}
    return stacked(eager(model)(**inputs, output_attentions=True, use_cache=False).attentions, "decoder")


@pytest.mark.parametrize("family", ["gpt2", "bloom", "llama", "gemma2", "gemma3", "gpt_oss"])
def test_a_generation_is_what_reading_its_text_in_one_pass_gives(family: str) -> None:
    model = MODELS[family]()
    if family == "gemma2" and is_before_4_53():
        pytest.skip("transformers 4.48 itself fails at Gemma 2's cache over a window of 4")
    prompt = ids(1, 6)
    recording = attlas.capture(model, prompt, generate=options())
    sequences = model.generate(prompt, **options())
    # the last token was generated and never read
    assert difference(recording, whole(model, sequences[:, :-1])) <= CLOSE
    target = recording.items[0].target.tokens
    assert [token.id for token in target] == sequences[0, :-1].tolist()
    assert recording.items[0].predicted.tokens[-1].id == int(sequences[0, -1])
    assert recording.items[0].n_prompt == 6
    assert recording.provenance.method == "greedy"


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_batch_padded_on_the_left_is_generated_and_stitched_for_each_text(family: str) -> None:
    model = MODELS[family]()
    prompt, mask = ids(2, 6), torch.ones(2, 6, dtype=torch.long)
    mask[1, :3] = 0
    inputs = {"input_ids": prompt, "attention_mask": mask}
    recording = attlas.capture(model, inputs, generate=options())
    sequences = model.generate(**inputs, **options())
    real = torch.cat([mask, torch.ones(2, N_NEW - 1, dtype=torch.long)], 1)
    assert difference(recording, whole(model, sequences[:, :-1], mask), {"decoder": real}) <= CLOSE
    roles = [token.role for token in recording.items[1].target.tokens]
    assert roles[:3] == ["padding"] * 3 and "padding" not in roles[3:]


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_static_cache_is_longer_than_what_was_read_and_tells_the_same(family: str) -> None:
    model = MODELS[family]()
    prompt = ids(1, 6)
    recording = attlas.capture(model, prompt, generate=options(cache_implementation="static", **({} if is_before_4_53() else {"disable_compile": True})))
    sequences = model.generate(prompt, **options())
    assert difference(recording, whole(model, sequences[:, :-1])) <= CLOSE
    assert proof(recording)


@pytest.mark.parametrize("n_returned", [1, 2])
def test_the_beam_that_won_is_followed_through_the_rows_of_the_batch(n_returned: int) -> None:
    model = MODELS["llama"]()
    prompt = ids(2, 6)
    beams = options(num_beams=3, num_return_sequences=n_returned)
    recording = attlas.capture(model, prompt, generate=beams)
    sequences = model.generate(prompt, **beams)
    assert len(recording.items) == 2 * n_returned
    assert difference(recording, whole(model, sequences[:, :-1])) <= CLOSE
    assert recording.provenance.method == "beam"


def test_drawn_texts_are_those_that_were_drawn() -> None:
    model = MODELS["llama"]()
    torch.manual_seed(5)
    recording = attlas.capture(model, ids(1, 6), generate=options(do_sample=True, num_return_sequences=3))
    torch.manual_seed(5)
    sequences = model.generate(ids(1, 6), **options(do_sample=True, num_return_sequences=3))
    read = torch.tensor([[token.id for token in item.target.tokens] for item in recording.items])
    assert torch.equal(read, sequences[:, :-1])
    assert difference(recording, whole(model, read)) <= CLOSE
    assert recording.provenance.method == "sample"


@pytest.mark.parametrize("family", ["bart", "marian", "t5"])
@pytest.mark.parametrize("n_beams", [1, 3])
def test_a_translation_has_its_encoder_once_and_its_decoder_stitched(family: str, n_beams: int) -> None:
    model = MODELS[family]()
    source, mask = ids(2, 8), torch.ones(2, 8, dtype=torch.long)
    mask[1, 6:] = 0
    inputs = {"input_ids": source, "attention_mask": mask}
    recording = attlas.capture(model, inputs, generate=options(num_beams=n_beams))
    sequences = model.generate(**inputs, **options(num_beams=n_beams))
    wanted = by_eager(model, {**inputs, "decoder_input_ids": sequences[:, :-1], "use_cache": False})
    assert difference(recording, wanted, {"encoder": mask}) <= (5e-5 if family == "t5" else CLOSE)


def test_a_text_that_ended_before_the_others_is_padded_after_its_end() -> None:
    model = MODELS["llama"]()
    prompt = ids(3, 6)
    first = model.generate(prompt, **options())
    stop = int(first[0, 8])  # what text 0 says third ends its text, and that of no other before it
    ends = [(row == stop).nonzero().min().item() if (row[6:] == stop).any() else len(row) for row in first]
    generate = {"max_new_tokens": N_NEW, "do_sample": False, "pad_token_id": 0, "eos_token_id": stop}
    recording = attlas.capture(model, prompt, generate=generate)
    for text, end in enumerate(ends):
        roles = [token.role for token in recording.items[text].target.tokens]
        assert "padding" not in roles[: min(end + 1, len(roles))]
        assert set(roles[end + 1 :]) <= {"padding"}


def test_a_step_that_goes_on_from_a_cache_has_its_one_row_and_all_its_keys() -> None:
    model = MODELS["llama"]()
    read = ids(1, 9)
    with torch.no_grad():
        cache = model(read[:, :8], use_cache=True).past_key_values
    name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"  # of older transformers
    recording = attlas.capture(model, {"input_ids": read[:, 8:], name: cache, "use_cache": True})
    found = recording.map("decoder", 1, 2).weights()
    wanted = whole(model, read)["decoder", 1][0, 2, 8:]
    assert found.shape == (1, 9) and abs(found - wanted.numpy()).max() <= CLOSE
