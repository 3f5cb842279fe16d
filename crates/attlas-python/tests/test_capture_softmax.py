"""The door that sees a softmax alone: only a map of queries over keys is taken for one, and what is missing is said."""

from __future__ import annotations

from typing import Any

import attlas
import pytest
from capture_tools import CLOSE, SEQ2SEQ, difference, eager, ids, made, stacked, torch
from torch import nn

N_TOKENS, N_HEADS, D_HEAD = 6, 2, 8
SEEN = torch.ones(N_TOKENS, N_TOKENS).tril().bool() & (torch.arange(N_TOKENS) > 1)
"""What is seen of a text that is padded on the left: its first two rows see no key."""


class OwnAttention(nn.Module):
    """Attention as people write it, in a way that `how` names."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.num_heads = how, N_HEADS
        self.project = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)

    def forward(self, x: Any) -> Any:
        queries, keys, values = self.project(x).view(len(x), -1, 3, N_HEADS, D_HEAD).permute(2, 0, 3, 1, 4)
        if self.how == "features":
            context = queries.softmax(-1) @ (keys.softmax(-2).transpose(2, 3) @ values)
        elif self.how == "one feature softmax":
            context = queries.softmax(-1) @ (keys.transpose(2, 3) @ values)
        elif self.how == "queries":
            context = (queries @ keys.transpose(2, 3)).softmax(dim=-2) @ values
        elif self.how == "gate":
            weights = (queries @ keys.transpose(2, 3)).softmax(-1)
            context = weights * 0.5 @ values
        elif self.how == "einsum":
            weights = torch.einsum("bhqd,bhkd->bqhk", queries, keys).softmax(-1)
            context = torch.einsum("bqhk,bhkd->bhqd", weights, values)
        elif self.how == "unseen":
            weights = (queries @ keys.transpose(2, 3)).softmax(-1)
            context = (weights[..., None] * values[:, :, None]).sum(3)
        elif self.how in ("empty rows", "empty rows, and a change"):
            weights = (queries @ keys.transpose(2, 3)).masked_fill(~SEEN, -torch.inf).softmax(-1).nan_to_num(0)
            context = (weights.square() if "change" in self.how else weights) @ values
        else:
            weights = torch.softmax(queries @ keys.transpose(2, 3), dim=-1)
            context = nn.functional.dropout(weights, 0.1, self.training) @ values
        return self.out(context.transpose(1, 2).flatten(2))

    def weights(self, x: Any) -> Any:
        """[batch, heads, queries, keys]"""
        queries, keys, _ = self.project(x).view(len(x), -1, 3, N_HEADS, D_HEAD).permute(2, 0, 3, 1, 4)
        scores = queries @ keys.transpose(2, 3)
        return (scores.masked_fill(~SEEN, -torch.inf) if "empty rows" in self.how else scores).softmax(-1).nan_to_num(0).detach()


def own(how: str) -> tuple[Any, Any]:
    torch.manual_seed(0)
    return nn.Sequential(OwnAttention(how)).eval(), torch.randn(2, N_TOKENS, 16)


@pytest.mark.parametrize("how", ["plain", "einsum", "empty rows"])
def test_weights_that_multiply_the_values_are_said_to(how: str) -> None:
    model, x = own(how)
    recording = attlas.capture(model, (x,))
    assert difference(recording, {(recording.layers[0].kind, 0): model[0].weights(x)}) <= CLOSE
    assert "softmax gave what the values were multiplied with" in repr(recording)


def test_weights_of_which_nothing_more_was_seen_are_not_checked_and_the_line_says_so() -> None:
    model, x = own("unseen")
    recording = attlas.capture(model, (x,))
    assert difference(recording, {("encoder", 0): model[0].weights(x)}) <= CLOSE
    assert "1 of 1 layers not checked" in repr(recording)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("queries", "over axis -2 of 4"),
        ("features", "features"),
        ("one feature softmax", "features"),
        ("gate", "changes its weights after the softmax"),
        ("empty rows, and a change", "changes its weights after the softmax"),
    ],
)
def test_a_softmax_that_is_no_map_of_queries_over_keys_is_refused(how: str, said: str) -> None:
    model, x = own(how)
    with pytest.raises(attlas.CaptureError, match=said):
        attlas.capture(model, (x,))


def test_weights_that_are_no_numbers_are_refused_as_queries_and_keys_are() -> None:
    model, x = own("unseen")
    x[1, 2] = torch.nan
    with pytest.raises(attlas.CaptureError, match="the weights of text 1, head 0, query 0 hold a number that is not finite"):
        attlas.capture(model, (x,))


class GatedAttention(OwnAttention):
    """Attention whose output goes through experts, weighed by a gate in a way that `mix` names."""

    def __init__(self, mix: str, n_experts: int) -> None:
        super().__init__("plain")
        self.mix, self.gate, self.experts = mix, nn.Linear(16, n_experts), nn.Linear(16, 16 * n_experts)
        self.table = nn.Parameter(torch.randn(n_experts, 16))

    def forward(self, x: Any) -> Any:
        gate = self.gate(x).softmax(-1)  # [batch, tokens, experts]
        if self.mix == "learnt":
            return super().forward(x) + gate @ self.table
        given = self.experts(super().forward(x)).unflatten(2, (-1, 16))  # [batch, tokens, experts, width]
        if self.mix == "einsum":
            return torch.einsum("bte,btec->btc", gate, given)
        return (gate[:, :, None] @ given)[:, :, 0] if self.mix == "matmul" else (gate[..., None] * given).sum(2)


@pytest.mark.parametrize("mix", ["sum", "einsum", "matmul", "learnt"])
@pytest.mark.parametrize("n_experts", [N_TOKENS, N_TOKENS + 1])
@pytest.mark.parametrize("says_heads", [False, True])
def test_a_gate_is_no_attention_also_of_as_many_experts_as_there_are_tokens(mix: str, n_experts: int, says_heads: bool) -> None:
    torch.manual_seed(0)
    attention, x = GatedAttention(mix, n_experts), torch.randn(3, N_TOKENS, 16)
    if not says_heads:
        del attention.num_heads
    recording = attlas.capture(nn.Sequential(attention).eval(), (x,))
    assert len(recording.layers) == 1
    assert difference(recording, {("encoder", 0): attention.weights(x)}) <= CLOSE


def test_a_gate_that_is_called_attention_is_left_out_by_name() -> None:
    class AttentionGate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.Linear(16, N_TOKENS)

        def forward(self, x: Any) -> Any:
            return self.experts(x).softmax(-1)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attn, self.attn_gate, self.experts = OwnAttention("plain"), AttentionGate(), nn.Linear(16, 16 * N_TOKENS)

        def forward(self, x: Any) -> Any:
            x = x + self.attn(x)
            return x + (self.attn_gate(x)[..., None] * self.experts(x).unflatten(2, (-1, 16))).sum(2)

    recording = attlas.capture(nn.Sequential(Block(), Block()).eval(), (torch.randn(3, N_TOKENS, 16),))
    assert [(layer.kind, layer.index, layer.n_heads) for layer in recording.layers] == [("encoder", at, N_HEADS) for at in range(2)]
    assert "2 attention modules not captured" in repr(recording)
    (note,) = (note for note in recording.provenance.notes if "not captured" in note)
    assert "0.attn_gate" in note and "as many numbers as there are tokens" in note
    with pytest.raises(attlas.CaptureError, match="no attention was captured: 0 takes a softmax over as many numbers as there are tokens"):
        attlas.capture(nn.Sequential(AttentionGate()), (torch.randn(3, N_TOKENS, 16),))


def test_keys_that_a_module_makes_fewer_itself_are_recorded() -> None:
    model = made(
        "SegformerModel", num_encoder_blocks=1, depths=[2], sr_ratios=[2], hidden_sizes=[16], patch_sizes=[3], strides=[4],
        num_attention_heads=[2], mlp_ratios=[2], decoder_hidden_size=16,
    )  # fmt: skip
    inputs = {"pixel_values": torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))}
    wanted = stacked(eager(model)(**inputs, output_attentions=True).attentions, "encoder")
    recording = attlas.capture(model, inputs)
    assert difference(recording, wanted) <= CLOSE
    assert "not checked" not in repr(recording)


def longformer(name: str, **settings: Any) -> Any:
    return made(name, attention_window=4, vocab_size=100, **settings)


def test_windows_of_keys_are_not_taken_for_keys() -> None:
    model = longformer(
        "LongformerModel", hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32, max_position_embeddings=40
    )
    with pytest.raises(attlas.CaptureError, match="of the shape.*a window of keys"):
        attlas.capture(model, ids(1, 12))


def test_a_part_of_a_model_that_was_not_captured_is_named_in_the_line() -> None:
    led = {name: value for name, value in SEQ2SEQ.items() if name not in ("max_position_embeddings", "vocab_size")}
    models = {
        "longt5": made(
            "LongT5ForConditionalGeneration", d_model=32, d_kv=8, d_ff=32, num_layers=2, num_heads=4, vocab_size=100, local_radius=3,
            decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
        ),
        "led": longformer(
            "LEDForConditionalGeneration", **led, max_encoder_position_embeddings=40, max_decoder_position_embeddings=40
        ),
    }  # fmt: skip
    for family, model in models.items():
        recording = attlas.capture(model, {"input_ids": ids(1, 12), "decoder_input_ids": ids(1, 5)})
        assert "encoder" not in recording.kinds, family
        assert "2 attention modules not captured" in repr(recording), (family, repr(recording))
        (note,) = (note for note in recording.provenance.notes if "not captured" in note)
        assert "encoder" in note and "softmax" in note


def test_all_of_a_model_captured_says_nothing_of_the_kind() -> None:
    model, x = own("plain")
    assert not [note for note in attlas.capture(model, (x,)).provenance.notes if "not captured" in note]
