"""Gradients of the tiny checkpoints of families.py, by PyTorch's autograd.

    python tools/reference/gradients.py            # all cases
    python tools/reference/gradients.py bert gpt2  # some

Each case becomes crates/attlas-model/tests/data/gradients/NAME.safetensors; the README.md there says what is in it. The
model runs in f64 on the stored weights, on texts that families.py drew. What is differentiated is S = Σᵢ sin(1 + i) · logitᵢ
over all logits of the batch (last hidden states, where a class has no head), those of padding left out. The cases of
PARAMETERS have their parameters' gradients in parameters/NAME.safetensors besides.
"""

import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.nn import functional

from families import CASES, softmax, storable
from families import OUTPUT as FAMILIES
from family_cases import Case

OUTPUT = FAMILIES.parent / "gradients"
TEXTS = [0, 2]  # of the padded batch: its longest and its shortest
INPUTS = ["input_ids", "attention_mask", "token_type_ids", "decoder_input_ids", "decoder_attention_mask"]
FEATURES = ["pixel_values", "input_features"]
# one for each way in which parameters stand: encoder and decoder, transposed matrices, gates and groups, norms of heads and of
# rows, projections of words, shared blocks, blocks beside each other, experts, one of all tokens among them, sinks, patches, frames,
# tables of relative positions
PARAMETERS = (
    "albert bart bert gemma2 gpt-oss gpt2 gptj llama mpnet olmo2 opt-350m phi qwen2-moe qwen3 stablelm-2-12b t5 vit whisper".split()
)
STACKS = {"encoder": "encoder_", "decoder": "decoder_", "self": ""}  # what transformers puts before `hidden_states`


def main() -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    (OUTPUT / "parameters").mkdir(parents=True, exist_ok=True)
    chosen = sys.argv[1:]
    for case in CASES:
        if case.stored is None and (not chosen or case.name in chosen):
            make(case)


def make(case: Case) -> None:
    config = type(case.configuration).from_pretrained(FAMILIES / case.name)
    settings = {"config": config, "attn_implementation": case.implementation, "dtype": torch.float64}
    if hasattr(case.configuration, "num_experts_per_tok"):
        settings["experts_implementation"] = "eager"
    model = case.model_class.from_pretrained(FAMILIES / case.name, **settings).eval().requires_grad_(False)
    inputs = read_inputs(case)
    with watched(model) as seen:
        outputs = case.part(model)(**inputs, output_attentions=case.implementation == "eager" and not case.averages, output_hidden_states=True)
    explained = getattr(outputs, "logits", None)
    if explained is None:
        explained = outputs.last_hidden_state
    score = (explained * coefficients(explained, inputs)).sum()
    places = seen.places(case, inputs, outputs)
    gradients = torch.autograd.grad(score, list(places.values()))
    tensors = dict(zip(places, gradients)) | {"score": score.detach().reshape(1)}
    for name, weights in seen.kept.items():  # what no query sees, and the column of a sink, are not asked for
        tensors[name] = torch.where(weights > 0, tensors[name][..., : weights.shape[-1]], 0)
    tensors = {name: storable(tensor) for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        assert tensor.isfinite().all() and (tensor != 0).any(), f"{case.name}: {name}"
    save_file(tensors, OUTPUT / f"{case.name}.safetensors")
    print(f"{case.name:28} {len(tensors):3} arrays  S = {score.item():.4f}", flush=True)
    if case.name in PARAMETERS:
        save_parameters(case, model)


def save_parameters(case: Case, model) -> None:
    """The gradient of S with respect to each number of the checkpoint, saved as the model saves what it has learnt."""
    stored = [tensor for tensor in [*model.parameters(), *model.buffers()] if tensor.is_floating_point()]
    for tensor in stored:
        tensor.requires_grad_(True)
    inputs = {name: value.detach() for name, value in read_inputs(case).items()}
    original, functional.softmax = functional.softmax, softmax
    outputs = case.part(model)(**inputs)
    functional.softmax = original
    explained = getattr(outputs, "logits", None)
    if explained is None:
        explained = outputs.last_hidden_state
    (explained * coefficients(explained, inputs)).sum().backward()
    for tensor in stored:
        tensor.requires_grad_(False).copy_(torch.zeros_like(tensor) if tensor.grad is None else tensor.grad)
    with tempfile.TemporaryDirectory() as folder:
        model.float().save_pretrained(folder)
        save_file(load_file(f"{folder}/model.safetensors"), OUTPUT / "parameters" / f"{case.name}.safetensors")


def read_inputs(case: Case) -> dict[str, torch.Tensor]:
    """What the first run of families.py read: two texts of the padded batch, or the images or sounds."""
    stored = load_file(FAMILIES / case.name / "expected.safetensors")
    run = next(run for run in ("padded", "images", "features") if any(name.startswith(f"{run}.") for name in stored))
    inputs = {name: stored[f"{run}.{name}"].long() for name in INPUTS if f"{run}.{name}" in stored}
    inputs |= {name: stored[f"{run}.{name}"].double().requires_grad_() for name in FEATURES if f"{run}.{name}" in stored}
    return {name: value[TEXTS] for name, value in inputs.items()} if run == "padded" else inputs


def coefficients(explained: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """sin(1 + i) of the i-th number in f32, 0 at padding. Shape of `explained`."""
    signs = torch.sin(1 + torch.arange(explained.numel(), dtype=torch.float64)).float().double().reshape(explained.shape)
    mask = inputs.get("decoder_attention_mask", inputs.get("attention_mask"))
    if mask is not None and explained.shape[:2] == mask.shape:
        signs = signs * mask.reshape(*mask.shape, *[1] * (explained.dim() - 2))
    return signs


class Seen:
    """What a forward pass went through."""

    def __init__(self) -> None:
        self.words: list[torch.Tensor] = []  # rows of the table of words, as they stand there
        self.attention: list[tuple[torch.Tensor, torch.Tensor]] = []  # scores and weights of each softmax, [batch, heads, q, k]
        self.kept: dict[str, torch.Tensor] = {}  # the weights that each gradient of weights or scores is of

    def places(self, case: Case, inputs: dict[str, torch.Tensor], outputs) -> dict[str, torch.Tensor]:
        """The tensors whose gradients are wanted, by the names of README.md."""
        places = {"d_features": inputs[name] for name in FEATURES if name in inputs}
        is_double = getattr(outputs, "encoder_last_hidden_state", None) is not None
        kinds = (["decoder"] if places else ["encoder", "decoder"]) if is_double else ["self"]
        places |= {f"d_words.{kind}": words for kind, words in zip(kinds, self.words)}
        for stack, prefix in STACKS.items():
            hidden = getattr(outputs, f"{prefix}hidden_states", None) or ()
            places |= {f"d_stream.{stack}.{layer}": tensor for layer, tensor in enumerate(hidden[:-1])}
        kept = {"encoder": "encoder_attentions", "decoder": "decoder_attentions", "cross": "cross_attentions", "self": "attentions"}
        for kind, field in kept.items():
            weights = getattr(outputs, field, None) or ()
            if case.implementation != "eager" and kind == "self":
                weights = [self.attention[0][1]]
            if len(weights) > 0:
                scores, used = self.softmax_of(weights[0])
                places |= {f"d_weights.{kind}.0": used, f"d_scores.{kind}.0": scores}
                self.kept |= {f"{name}.{kind}.0": weights[0] for name in ("d_weights", "d_scores")}
        return places

    def softmax_of(self, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores and weights of the softmax that gave these weights, with the column of a sink."""
        n_keys = weights.shape[-1]
        for scores, made in self.attention:
            same = made.shape[:-1] == weights.shape[:-1] and torch.equal(made[..., :n_keys].double(), weights)
            if same:
                return scores, made
        raise SystemExit("no softmax gave the weights of layer 0")


@contextmanager
def watched(model):
    """Keeps the word rows, scores and weights of what runs inside."""
    seen = Seen()
    table = model.get_input_embeddings() if not hasattr(model, "vision_model") else None
    original = {name: getattr(functional, name) for name in ("embedding", "softmax", "scaled_dot_product_attention")}

    def embed(ids, weight, *arguments, **settings):
        rows = original["embedding"](ids, weight, *arguments, **settings)
        if weight is getattr(table, "weight", None):
            rows = rows.detach().requires_grad_()
            seen.words.append(rows)
        return rows

    def soften(scores, dim=-1, **settings):
        if scores.dim() == 4 and scores.requires_grad:
            scores = scores.clone()  # a tensor that nothing else reads
        weights = softmax(scores, dim, **settings)
        if scores.dim() == 4:
            seen.attention.append((scores, weights))
        return weights

    def attend(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **_):
        scores = query @ key.transpose(-1, -2) * (scale or query.shape[-1] ** -0.5)
        if is_causal:
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)
        return soften(scores if attn_mask is None else scores + attn_mask) @ value

    functional.embedding, functional.softmax, functional.scaled_dot_product_attention = embed, soften, attend
    try:
        yield seen
    finally:
        for name, function in original.items():
            setattr(functional, name, function)


if __name__ == "__main__":
    main()
