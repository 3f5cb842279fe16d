"""BERT with ALiBi in both directions and a gated feed-forward, written from the papers.

The code of JinaBERT v2 (Günther et al. 2023, https://arxiv.org/abs/2310.19923) and of MosaicBERT (Portes et al. 2023,
https://arxiv.org/abs/2312.17482), on which DNABERT-2 is built, lies beside their weights and not in transformers. What the
two add to BERT:

    score(q, k) = q·k/√d − slope · |q − k|                            slopes of Press et al. 2022
    norm(x + W₂ (act(gate) · up) + b),  [gate; up] = W₁ x             no positions in the embedding

Tensors have the names of the files on the hub.
"""

import math

import torch
from torch import nn
from torch.nn.functional import gelu, relu
from transformers import BertConfig, PreTrainedModel
from transformers.modeling_outputs import MaskedLMOutput


def slopes(n: int) -> list[float]:
    """2^(−8/n), its powers; for other numbers than powers of 2, every other slope of twice as many follows."""
    power = 2 ** math.floor(math.log2(n))
    regular = [2 ** (-8 / power * (i + 1)) for i in range(power)]
    return regular if power == n else regular + slopes(2 * power)[0::2][: n - power]


class Parts(nn.Module):
    """Modules under names."""

    def __init__(self, /, **parts: nn.Module):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


class JinaBertForMaskedLM(PreTrainedModel):
    """Queries, keys and values in three matrices."""

    config_class = BertConfig
    base_model_prefix = "bert"
    joint = False

    def __init__(self, config: BertConfig):
        super().__init__(config)
        d, norm = config.hidden_size, lambda: nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        embeddings = Parts(
            word_embeddings=nn.Embedding(config.vocab_size, d),
            token_type_embeddings=nn.Embedding(config.type_vocab_size, d),
            LayerNorm=norm(),
        )
        projections = lambda: {"Wqkv": nn.Linear(d, 3 * d)} if self.joint else {name: nn.Linear(d, d) for name in ("query", "key", "value")}
        mlp = lambda: Parts(
            gated_layers=nn.Linear(d, 2 * config.intermediate_size, bias=False),
            wo=nn.Linear(config.intermediate_size, d),
            layernorm=norm(),
        )
        layer = lambda: Parts(
            attention=Parts(self=Parts(**projections()), output=Parts(dense=nn.Linear(d, d), LayerNorm=norm())),
            mlp=mlp(),
        )
        self.bert = Parts(embeddings=embeddings, encoder=Parts(layer=nn.ModuleList(layer() for _ in range(config.num_hidden_layers))))
        self.cls = Parts(predictions=Parts(transform=Parts(dense=nn.Linear(d, d), LayerNorm=norm())))
        self.cls.predictions.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.bert.embeddings.word_embeddings

    def heads(self, part: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
        """Queries, keys and values. Shape of each [batch, n_heads, n, d_head]."""
        rows = part.Wqkv(x).chunk(3, -1) if self.joint else (part.query(x), part.key(x), part.value(x))
        return [row.unflatten(-1, (self.config.num_attention_heads, -1)).transpose(1, 2) for row in rows]

    def forward(self, input_ids, attention_mask, token_type_ids=None, **_) -> MaskedLMOutput:
        config, embeddings = self.config, self.bert.embeddings
        words = nn.functional.embedding(input_ids, embeddings.word_embeddings.weight)
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        x = embeddings.LayerNorm(words + embeddings.token_type_embeddings(types))
        places = torch.arange(input_ids.shape[1])
        distance = (places[:, None] - places).abs().to(x.dtype)
        bias = -torch.tensor(slopes(config.num_attention_heads), dtype=x.dtype)[:, None, None] * distance
        bias = bias + torch.where(attention_mask[:, None, None] == 1, 0.0, -torch.inf)
        gate_activation = relu if getattr(config, "feed_forward_type", "geglu") == "reglu" else gelu
        hidden_states, attentions = [x], []
        for layer in self.bert.encoder.layer:
            queries, keys, values = self.heads(layer.attention.self, x)
            weights = nn.functional.softmax(queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5 + bias, dim=-1)
            heads = (weights @ values).transpose(1, 2).flatten(2)
            x = layer.attention.output.LayerNorm(x + layer.attention.output.dense(heads))
            gate, up = layer.mlp.gated_layers(x).chunk(2, -1)
            x = layer.mlp.layernorm(x + layer.mlp.wo(gate_activation(gate) * up))
            hidden_states.append(x)
            attentions.append(weights)
        transform = self.cls.predictions.transform
        logits = transform.LayerNorm(gelu(transform.dense(x))) @ embeddings.word_embeddings.weight.T + self.cls.predictions.bias
        return MaskedLMOutput(logits=logits, hidden_states=tuple(hidden_states), attentions=tuple(attentions))


class MosaicBertForMaskedLM(JinaBertForMaskedLM):
    """Queries, keys and values in one matrix."""

    joint = True
