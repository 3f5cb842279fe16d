"""Tiny random checkpoints of every supported family, with what transformers computes from them.

    python tools/reference/families.py            # all cases
    python tools/reference/families.py bert gpt2  # some

Each case (see family_cases.py and its neighbours) becomes a folder in crates/attlas-model/tests/data/families:

    config.json, model.safetensors (or shards), generation_config.json   as `save_pretrained` writes them
    expected.safetensors   inputs and outputs, one prefix per run ("padded.", "long."); see README.md there
    expected.json          the class, the runs, and the ids that `generate` gives

Weights are drawn from a seed, so that every tensor matters: norm weights are not 1 and biases not 0. The forward pass
runs in f64 on the stored weights with eager attention; results are stored as f32 and are finite throughout.
"""

import json
import shutil
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers
from torch.nn import functional
from safetensors.torch import load_file, save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

import family_cases
import family_cases_hybrid
import family_cases_senses
from family_cases import Case
from family_cases_sight import SIGHTS, inputs_of, read_of
from family_cases_towers import TOWERS

OUTPUT = Path(__file__).resolve().parents[2] / "crates/attlas-model/tests/data/families"
CASES = [*family_cases.CASES, *family_cases_hybrid.CASES, *family_cases_senses.CASES]
LENGTHS = [10, 6, 3]  # the rows of the padded batch, in tokens


def main() -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    functional.softmax = softmax
    chosen = sys.argv[1:]
    for case in [*CASES, *TOWERS, *SIGHTS]:
        if not chosen or case.name in chosen:
            make(case)


def softmax(scores: torch.Tensor, dim: int, dtype: torch.dtype | None = None, **_) -> torch.Tensor:
    """The softmax in the type of its scores.

    Eager attention asks for f32. For f64 scores that turns the mask, the most negative f64, into −∞, and a row of padding
    whose window holds only padding into NaN, which 0 · NaN then spreads to every row of the next layer.
    """
    return torch.softmax(scores, dim)


def make(case: Case) -> None:
    """Writes one case, with the first seed whose generated ids are varied and clear of ties."""
    folder = OUTPUT / case.name
    for seed in range(200):
        generator = torch.Generator().manual_seed(zlib.crc32(case.name.encode()) + seed)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        packed = write_checkpoint(case, generator, folder)
        config = type(case.configuration).from_pretrained(folder)  # some share Llama's class, and have fields of their own
        settings = {"config": config, "attn_implementation": case.implementation, "dtype": torch.float64}
        if hasattr(case.configuration, "num_experts_per_tok"):
            settings["experts_implementation"] = "eager"
        model = case.model_class.from_pretrained(folder, **settings).eval()
        generated = generations(case, model, generator)
        if generated is not None:
            break
    else:
        raise SystemExit(f"{case.name}: no seed gave varied generations")
    if packed:
        save_packed(packed, folder)
    if case.stored:
        save_as_stored(case, folder)
    tensors, runs = {}, []
    for name, inputs in make_runs(case, config_of(case, model), generator).items():
        runs.append(name)
        weights = []
        is_sense = case.sight is None and bool(inputs.keys() & {"pixel_values", "input_values"})
        read = read_of({key: value for key, value in inputs.items() if key != "images"})
        with torch.no_grad(), never_narrowed(case.in_f64), recorded_sdpa(weights, case.averages), recorded_routers(model) as routers:
            outputs = case.part(model)(**read, output_attentions=case.implementation == "eager" and not case.averages, output_hidden_states=True)
            last = getattr(outputs, "last_hidden_state", None)
            if last is None and is_sense:
                last = getattr(case.part(model).base_model(**read), "last_hidden_state", None)
        told = inputs if case.sight is None else {key: value for key, value in inputs.items() if key != "pixel_values"}
        tensors.update({f"{name}.{key}": value for key, value in collect(told, outputs, config_of(case, model)).items()})
        # of vision models and towers, the list of hidden states ends before the last norm
        if not getattr(model.config, "is_encoder_decoder", False) and (last is not None or is_sense):
            tensors.pop(f"{name}.hidden.self", None)
            tensors |= {} if last is None else {f"{name}.hidden.self": last}
        tensors.update({f"{name}.router.{layer}": shares.unflatten(0, inputs["input_ids"].shape) for layer, shares in routers.items()})
        tensors.update({f"{name}.attentions.self.{layer}": layer_weights for layer, layer_weights in enumerate(weights)})
        if case.sight is not None:
            with torch.no_grad():
                seen = case.sight.tower(model, inputs)
            for image, layers in enumerate(seen):
                tensors.update({f"{name}.seen.{image}.{layer}": layer_weights for layer, layer_weights in enumerate(layers)})
    tensors = {key: storable(value) for key, value in tensors.items()}
    for key, value in tensors.items():
        assert value.isfinite().all(), f"{case.name}: {key} is not finite"
    save_file(tensors, folder / "expected.safetensors")
    expected = {
        "class": case.model_class.__name__,
        "family": model.config.model_type,
        "transformers": transformers.__version__,
        "runs": runs,
        "generations": generated,
    }
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{case.name:28} {size / 1000:7.1f} kB  seed {seed}", flush=True)


@contextmanager
def never_narrowed(is_on: bool):
    """Keeps f64 where a class asks for f32 by `float()`, `to` or the type of a softmax."""
    to, to_float = torch.Tensor.to, torch.Tensor.float

    def kept(tensor, *arguments, **settings):
        if tensor.dtype == torch.float64 and torch.float32 in (*arguments, settings.get("dtype")):
            return tensor.contiguous()
        return to(tensor, *arguments, **settings)

    if is_on:
        torch.Tensor.to = kept
        torch.Tensor.float = lambda tensor, *_: tensor if tensor.dtype == torch.float64 else to_float(tensor)
    try:
        yield
    finally:
        torch.Tensor.to, torch.Tensor.float = to, to_float


@contextmanager
def recorded_sdpa(weights: list[torch.Tensor], averages: bool):
    """Collects the weights of PyTorch's own attention, which returns none, or their mean; where eager runs, there are none."""
    fused, several = functional.scaled_dot_product_attention, functional.multi_head_attention_forward

    def attend_several(*arguments, **settings):
        output, own = several(*arguments, **settings | {"average_attn_weights": False})
        weights.append(own)
        return output, own.mean(1)

    def attend(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **settings):
        scores = query @ key.transpose(-1, -2) * (scale or query.shape[-1] ** -0.5)
        if is_causal:
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)
        weights.append((scores if attn_mask is None else scores + attn_mask).softmax(-1))
        return fused(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, **settings)

    functional.scaled_dot_product_attention = attend
    if averages:
        functional.multi_head_attention_forward = attend_several
    try:
        yield
    finally:
        functional.scaled_dot_product_attention, functional.multi_head_attention_forward = fused, several


@contextmanager
def recorded_routers(model):
    """Collects what routers give experts, layer by layer: their shares, 0 of those that are not chosen. Shape [batch · n, n_experts]."""
    found, hooks = {}, []

    def keep(layer: int):
        def hook(module, inputs, outputs) -> None:
            logits, shares, chosen = outputs
            found[layer] = torch.zeros(logits.shape, dtype=shares.dtype).scatter(-1, chosen, shares)

        return hook

    for name, module in model.named_modules():
        if type(module).__name__.endswith("TopKRouter"):
            layer = next(int(part) for part in name.split(".") if part.isdigit())
            hooks.append(module.register_forward_hook(keep(layer)))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def write_checkpoint(case: Case, generator: torch.Generator, folder: Path) -> dict[str, torch.Tensor]:
    """Draws the weights and saves them as the hub lays a model out; returns what packed experts are to be stored as."""
    model = case.model_class._from_config(case.config(), dtype=torch.float32)
    # A tied embedding must be small, or every token predicts itself.
    tied = {} if not case.generates or not model.config.tie_word_embeddings else {"emb": 0.2, "wte": 0.2, "shared": 0.2}
    gains = case.gains | {part: gain for part, gain in tied.items() if part not in case.gains}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(draw(name, parameter, gains, generator))
        for name, buffer in model.named_buffers():
            if name.endswith("e_score_correction_bias") or ".normalization." in name:  # learnt, but no parameter
                buffer.copy_(draw(name, buffer, gains, generator))
    packed = pack_experts(model, generator) if case.packed else {}
    model.to(case.dtype).save_pretrained(folder, max_shard_size=case.max_shard_size, save_original_format=case.original)
    if case.rename:
        path = folder / "model.safetensors"
        tensors = {case.rename(name): tensor for name, tensor in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})
    path = folder / "config.json"
    config = json.loads(path.read_text())
    case.edit(config)
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    for file, text in case.files.items():
        (folder / file).write_text(text)
    if case.relaid:
        path = folder / "model.safetensors"
        save_file(case.relaid(load_file(path)), path, metadata={"format": "pt"})
    if case.generation:
        path = folder / "generation_config.json"
        settings = json.loads(path.read_text()) | case.generation
        settings.pop("_from_model_config", None)  # or transformers forgets the rest
        path.write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")
    return packed


def pack_experts(model, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Gives the experts weights that MXFP4 can hold; returns the blocks and scales by the names of gpt-oss's own files."""
    packed = {}
    for name, parameter in model.named_parameters():
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            continue
        n_experts, d_in, d_out = parameter.shape
        blocks = torch.randint(256, (n_experts, d_out, d_in // 32, 16), generator=generator, dtype=torch.uint8)
        scales = torch.randint(120, 123, (n_experts, d_out, d_in // 32), generator=generator, dtype=torch.uint8)
        with torch.no_grad():
            parameter.copy_(convert_moe_packed_tensors(blocks, scales, dtype=torch.float32))
        packed |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
    return packed


def save_packed(packed: dict[str, torch.Tensor], folder: Path) -> None:
    """Puts packed experts in the place of the unpacked ones."""
    path = folder / "model.safetensors"
    unpacked = {name.removesuffix("_blocks") for name in packed}
    tensors = {name: tensor for name, tensor in load_file(path).items() if name not in unpacked}
    save_file(tensors | packed, path, metadata={"format": "pt"})
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {"quantization_config": {"quant_method": "mxfp4"}}
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def save_as_stored(case: Case, folder: Path) -> None:
    """Puts configuration and tensors as another programme lays them out in the place of those that transformers reads."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    tensors = case.stored(config, load_file(folder / "model.safetensors"))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def draw(name: str, parameter: torch.Tensor, gains: dict[str, float], generator: torch.Generator) -> torch.Tensor:
    """A random tensor of the same shape: 1 + noise where it starts at 1, noise elsewhere, matrices by fan-in."""
    noise = torch.randn(parameter.shape, generator=generator)
    gain = next((gain for part, gain in gains.items() if part in name), None)
    if parameter.dim() < 2:
        is_scale = parameter.numel() > 0 and bool((parameter == 1).all())
        return (gain or 1) * (1 + 0.2 * noise) if is_scale else (gain or 0.2) * noise
    if "emb" in name or "shared" in name or "wte" in name or "wpe" in name or "token" in name:
        return (gain or 0.7) * noise
    fan_in = parameter[0].numel()
    return (gain or 1.3) * noise / fan_in**0.5


def config_of(case: Case, model):
    """The part of the configuration that speaks of what is read: of a text, that of the tower for texts."""
    return getattr(model.config, "text_config", model.config) if case.inputs is None and case.sight is None else model.config


def make_runs(case: Case, config, generator: torch.Generator) -> dict[str, dict[str, torch.Tensor]]:
    """The inputs of each run, by its name."""
    if case.sight is not None:
        return {name: inputs_of(case, config, texts, generator) for name, texts in case.sight.runs.items()}
    if case.inputs is not None:
        return case.inputs(config, generator)
    runs = {"padded": token_inputs(case, config, LENGTHS, generator)}
    if case.long:
        runs["long"] = token_inputs(case, config, [case.long], generator)
    return runs


def token_inputs(case: Case, config, lengths: list[int], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Random ids, padded on the right to the longest, with their mask; for a decoder beside an encoder, shorter ones."""
    ids, mask = padded_ids(config, lengths, generator)
    inputs = {"input_ids": ids, "attention_mask": mask}
    if case.token_types:
        inputs["token_type_ids"] = (torch.arange(ids.shape[1]) >= 4).long().expand(ids.shape) * mask
    if config.is_encoder_decoder:
        ids, mask = padded_ids(config, [max(2, length - 2) for length in lengths], generator)
        ids[:, 0] = config.decoder_start_token_id
        inputs |= {"decoder_input_ids": ids, "decoder_attention_mask": mask}
    return inputs


def padded_ids(config, lengths: list[int], generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids that are no special token, and 1 where there is one. Shapes [batch, n]."""
    n = max(lengths)
    padding = config.pad_token_id if getattr(config, "pad_token_id", None) is not None else 0
    ids = torch.randint(FIRST_PLAIN_ID, config.vocab_size, (len(lengths), n), generator=generator)
    mask = (torch.arange(n) < torch.tensor(lengths)[:, None]).long()
    return torch.where(mask == 1, ids, padding), mask


FIRST_PLAIN_ID = 4  # ids below are padding, start, end, unknown in every case


def collect(inputs: dict[str, torch.Tensor], outputs, config) -> dict[str, torch.Tensor]:
    """Inputs and outputs under the names that README.md gives; layers without attention are left out, and the others keep their numbers."""
    tensors = dict(inputs)
    types = getattr(config, "layer_types", None) or []
    attending = [layer for layer, kind in enumerate(types) if kind != "linear_attention"]
    for stack, (attentions, hidden) in {
        "encoder": ("encoder_attentions", "encoder_last_hidden_state"),
        "decoder": ("decoder_attentions", None),
        "cross": ("cross_attentions", None),
        "self": ("attentions", None),
    }.items():
        for place, attention in enumerate(getattr(outputs, attentions, None) or ()):
            layer = attending[place] if attending and stack == "self" else place
            tensors[f"attentions.{stack}.{layer}"] = attention
        if hidden and getattr(outputs, hidden, None) is not None:
            tensors[f"hidden.{stack}"] = getattr(outputs, hidden)
    for stack, field in {"self": "hidden_states", "decoder": "decoder_hidden_states"}.items():
        if getattr(outputs, field, None):
            tensors[f"hidden.{stack}"] = getattr(outputs, field)[-1]
    if getattr(outputs, "logits", None) is not None:
        tensors["logits"] = outputs.logits
    if getattr(outputs, "pred_boxes", None) is not None:
        tensors["boxes"] = outputs.pred_boxes
    return tensors


def generations(case: Case, model, generator: torch.Generator) -> list[dict] | None:
    """Greedy and beam results of `generate` for two prompts; `None` when they are dull or hang on a rounding."""
    if not case.generates:
        return []
    config = config_of(case, model)
    results = []
    for method, n_prompt in (("greedy", 5), ("beam", 4), ("greedy", case.long_prompt)):
        if not n_prompt:
            continue
        if case.sight is not None:
            given = inputs_of(case, config, [case.sight.generated], generator)
            inputs, n_prompt = read_of(given), given["input_ids"].shape[1]
            prompt = given["prompt_ids"]
        else:
            vocabulary = getattr(config, "decoder", config).vocab_size
            prompt = torch.randint(FIRST_PLAIN_ID, vocabulary, (1, n_prompt), generator=generator)
            inputs = {"input_ids": prompt, "attention_mask": torch.ones_like(prompt)}
        if case.features is not None:
            inputs = {model.main_input_name: case.features(config, generator)}
        settings = {"max_new_tokens": 9, "num_beams": 3 if method == "beam" else 1, "do_sample": False}
        if config.model_type in ("t5", "mt5"):  # transformers' cache counts the encoder's layers
            settings["use_cache"] = False
        with torch.no_grad():
            output = model.generate(**inputs, **settings, output_logits=True, output_scores=True, return_dict_in_generate=True)
        ids = output.sequences[0].tolist()
        new = ids if config.is_encoder_decoder else ids[n_prompt:]
        if len(set(new)) < case.n_distinct:
            return None
        if method == "greedy":
            steps = torch.stack(output.logits)[:, 0].topk(2).values
            if (steps[:, 0] - steps[:, 1]).min() < 1e-3:
                return None
        result = {"method": method, "prompt": prompt[0].tolist(), "max_new_tokens": 9, "ids": ids}
        if method == "beam":
            result |= {"width": 3, "score": output.sequences_scores[0].item()}
        if case.sight is not None:
            result["images"] = [value[None].tolist() for name, value in given.items() if name.startswith("image.")]
        if case.features is not None:
            del result["prompt"]
            result["features"] = inputs[model.main_input_name][0].tolist()
        results.append(result)
    return results


def storable(tensor: torch.Tensor) -> torch.Tensor:
    """f32 or i32, in one piece."""
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int32).contiguous()


if __name__ == "__main__":
    main()
