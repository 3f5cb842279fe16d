"""How tiny random models are made, and what a capture of them is held to: the weights that eager attention hands out."""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="captures are of PyTorch models, and torch is not installed")
torch.set_num_threads(1)

CLOSE = 1e-5
"""How far a weight may be from eager's: both are computed in f32."""

SMALL: dict[str, Any] = dict(vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
DECODER: dict[str, Any] = dict(SMALL, num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2)
SEQ2SEQ: dict[str, Any] = dict(
    vocab_size=100,
    d_model=32,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=64,
    decoder_ffn_dim=64,
    max_position_embeddings=64,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    decoder_start_token_id=2,
    forced_eos_token_id=None,
)
VISION: dict[str, Any] = dict(
    hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=24, patch_size=8
)
TEXT: dict[str, Any] = dict(
    vocab_size=100,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=32,
    bos_token_id=1,
    eos_token_id=2,
)


def transformers() -> Any:
    """The library, quiet; without it the test is skipped."""
    library = pytest.importorskip("transformers", reason="transformers is not installed")
    library.logging.set_verbosity_error()
    return library


def made(name: str, config: str | None = None, **settings: Any) -> Any:
    """A model with weights four times those of its initialisation, so that maps are not flat; seeded."""
    library = transformers()
    if not hasattr(library, name):
        pytest.skip(f"transformers {library.__version__} has no {name}")
    torch.manual_seed(7)
    model = getattr(library, name)(getattr(library, config or name_of_config(name))(**settings))
    return shaken(model)


def name_of_config(name: str) -> str:
    """`LlamaConfig` of `LlamaForCausalLM`."""
    for end in ("ForCausalLM", "ForMaskedLM", "ForConditionalGeneration", "LMHeadModel", "MTModel", "Model"):
        if name.endswith(end):
            return name.removesuffix(end) + "Config"
    return name + "Config"


def shaken(model: Any) -> Any:
    """The model with larger weights, in evaluation mode."""
    torch.manual_seed(7)
    for name, parameter in model.named_parameters():
        if parameter.dim() >= 2 and "embed" not in name:
            parameter.data.mul_(4.0)
        if "sinks" in name or "relative_attention_bias" in name:
            parameter.data.normal_()
    return model.eval()


def eager(model: Any) -> Any:
    """A copy of the model that hands out its weights."""
    other = copy.deepcopy(model)
    if hasattr(other, "set_attn_implementation"):
        other.set_attn_implementation("eager")
    else:  # transformers before 4.5x: a setting that modules look up
        for module in other.modules():
            if hasattr(getattr(module, "config", None), "_attn_implementation"):
                module.config._attn_implementation = "eager"
    return other


def has_own_attention(model: Any) -> bool:
    """Whether the model's file multiplies queries and keys itself, as those of transformers 4.48 do that are older than
    its table of attention functions."""
    return not hasattr(sys.modules[type(model).__module__], "ALL_ATTENTION_FUNCTIONS")


def is_before_4_53() -> bool:
    """Whether transformers has settings and caches of another form: no `set_attn_implementation`, no `cache.layers`."""
    return not hasattr(transformers().PreTrainedModel, "set_attn_implementation")


def ids(*shape: int) -> Any:
    """Ids of no special token, seeded."""
    return torch.randint(3, 96, shape, generator=torch.Generator().manual_seed(sum(shape)))


def stacked(attentions: Any, kind: str) -> dict[tuple[str, int], Any]:
    """Weights by kind and layer."""
    return {(kind, layer): weights.detach() for layer, weights in enumerate(attentions) if weights is not None}


def weights(recording: Any, kind: str, layer: int) -> np.ndarray[Any, Any]:
    """Every map of a layer, [batch, heads, queries, keys]."""
    return np.asarray(recording.layer(kind, layer).weights())


def difference(given: Any, wanted: dict[tuple[str, int], Any], real: dict[str, Any] | None = None) -> float:
    """The largest difference of a recording, or of weights by kind and layer, from `wanted`, over the rows that are `real`
    by kind, [batch, queries]."""
    worst = 0.0
    for (kind, layer), of_layer in wanted.items():
        of_layer = np.asarray(of_layer.float())
        found = np.asarray(given[kind, layer].float()) if isinstance(given, dict) else weights(given, kind, layer)
        assert found.shape == of_layer.shape, (kind, layer, found.shape, of_layer.shape)
        off = np.abs(found - of_layer).transpose(0, 2, 1, 3)  # [batch, queries, heads, keys]
        if real is not None and kind in real:
            off = off[np.asarray(real[kind]).astype(bool)]
        worst = max(worst, float(off.max()))
    return worst


def proof(recording: Any) -> str:
    """The sentence that says how far the recording is from what the kernel returned."""
    return next((note for note in recording.provenance.notes if note.startswith("weights · values equals")), "")


def dense(recording: Any) -> list[str]:
    """The notes that tell of dense layers."""
    return [note for note in recording.provenance.notes if "recorded dense" in note]
