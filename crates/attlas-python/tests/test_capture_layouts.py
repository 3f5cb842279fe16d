"""How the arrays of people's own attention lie: texts, heads, queries and keys are told from what the module was given, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attlas
import numpy as np
import pytest
from capture_models import MODELS
from capture_tools import CLOSE, DECODER, SMALL, difference, eager, ids, made, stacked, torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention.bias import causal_lower_right, causal_upper_left

N_TEXTS, N_TOKENS, N_HEADS, D_HEAD = 2, 6, 4, 8
SCALE = D_HEAD**-0.5
Attend = Callable[[Any, Any, Any], Any]
"""From queries, keys and values `[batch, heads, tokens, width]` to what they give."""


class OwnAttention(nn.Module):
    """Attention that does not say how many heads it has."""

    def __init__(self, attend: Attend, n_heads: int = N_HEADS, d_head: int = D_HEAD) -> None:
        super().__init__()
        self.attend, self.shape = attend, (3, n_heads, d_head)
        self.project, self.out = nn.Linear(16, 3 * n_heads * d_head), nn.Linear(n_heads * d_head, 16)

    def parts(self, x: Any) -> Any:
        """Queries, keys and values."""
        return self.project(x).view(*x.shape[:2], *self.shape).permute(2, 0, 3, 1, 4)

    def forward(self, x: Any) -> Any:
        context: Any = self.attend(*self.parts(x))
        return self.out(context.transpose(1, 2).flatten(2))


def captured(attend: Attend, *, n_texts: int = N_TEXTS, n_tokens: int = N_TOKENS, d_head: int = D_HEAD) -> tuple[Any, Any, Any]:
    """The recording, and queries and keys, `[batch, heads, tokens, width]`."""
    torch.manual_seed(0)
    attention, x = OwnAttention(attend, d_head=d_head), torch.randn(n_texts, n_tokens, 16)
    queries, keys, _ = attention.parts(x).detach()
    return attlas.capture(nn.Sequential(attention).eval(), (x,)), queries, keys


def scores(queries: Any, keys: Any) -> Any:
    """Scaled dot products, `[batch, heads, queries, keys]`."""
    return queries @ keys.transpose(2, 3) * SCALE


def joined(x: Any) -> Any:
    """Texts and heads as one axis."""
    return x.flatten(0, 1)


def soft(scores: Any) -> Any:
    return scores.softmax(-1)


class Inner(nn.Module):
    """Dot products alone, as a module that has no parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, queries: Any, keys: Any, values: Any) -> Any:
        return self.softmax(queries @ keys.transpose(1, 2) * SCALE) @ values


def softmax_of_rows(q: Any, k: Any, v: Any) -> Any:
    return (soft(joined(q) @ joined(k).transpose(1, 2) * SCALE) @ joined(v)).view(v.shape)


def kernel_of_rows(q: Any, k: Any, v: Any) -> Any:
    return F.scaled_dot_product_attention(joined(q), joined(k), joined(v)).view(v.shape)


def queries_before_heads(q: Any, k: Any, v: Any) -> Any:
    return torch.einsum("bqhk,bhkd->bhqd", soft(torch.einsum("bhqd,bhkd->bqhk", q, k) * SCALE), v)


def turned_by_einsum(q: Any, k: Any, v: Any) -> Any:
    return torch.einsum("bqhk->bhqk", torch.einsum("bhqk->bqhk", soft(q @ k.transpose(2, 3) * SCALE))) @ v


def both_transposed(q: Any, k: Any, v: Any) -> Any:
    return (v.transpose(2, 3) @ soft(q @ k.transpose(2, 3) * SCALE).transpose(2, 3)).transpose(2, 3)


def special_softmax(q: Any, k: Any, v: Any) -> Any:
    return torch.special.softmax(q @ k.transpose(2, 3) * SCALE, -1) @ v


def values_of_all_heads(q: Any, k: Any, v: Any) -> Any:
    return torch.einsum("bhij,bjd->bhid", soft(torch.einsum("bhid,bhjd->bhij", q, k) * SCALE), v[:, 0])


class CountedAttention(OwnAttention):
    """Attention that says how many heads it has."""

    num_heads = N_HEADS


def kernel_of_heads_before_texts(q: Any, k: Any, v: Any) -> Any:
    return F.scaled_dot_product_attention(q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)).transpose(0, 1)


def kernel_of_heads(q: Any, k: Any, v: Any) -> Any:
    return F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)).transpose(1, 2)


def softmax_of_heads_before_texts(q: Any, k: Any, v: Any) -> Any:
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    return (soft(scores(q, k)) @ v).transpose(0, 1)


def softmax_of_heads(q: Any, k: Any, v: Any) -> Any:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return (soft(scores(q, k)) @ v).transpose(1, 2)


def in_rows_of_heads(attend: Attend) -> Attend:
    """Texts and heads as one axis, all texts of a head before those of the next."""

    def attended(q: Any, k: Any, v: Any) -> Any:
        context = attend(*(x.transpose(0, 1).flatten(0, 1) for x in (q, k, v)))
        return context.unflatten(0, (q.shape[1], q.shape[0])).transpose(0, 1)

    return attended


def of_rows(q: Any, k: Any, v: Any) -> Any:
    return soft(q @ k.transpose(1, 2) * SCALE) @ v


def two_maps_a_head(q: Any, k: Any, v: Any) -> Any:
    one, other = soft(torch.cat([scores(q, k), scores(k, q)], 1)).chunk(2, 1)
    return (one - other / 2) @ v


def as_many_keys_as_texts(q: Any, k: Any, v: Any) -> Any:
    best = scores(q, k).topk(N_TEXTS, -1)
    return torch.zeros_like(scores(q, k)).scatter(-1, best.indices, soft(best.values)) @ v


@pytest.mark.parametrize(
    ("attend", "n_texts", "n_tokens", "said"),
    [
        (lambda q, k, v: heads_before_texts(q, k, v), 1, N_TOKENS, "heads before texts"),
        (lambda q, k, v: heads_before_texts(q, k, v), 1, N_HEADS, "heads before texts"),
        (kernel_of_heads_before_texts, N_TEXTS, N_TOKENS, "heads before texts"),
        (kernel_of_heads, N_TEXTS, N_TOKENS, "attends from heads to heads"),
        (kernel_of_heads, N_TEXTS, N_HEADS, "attends from heads to heads"),
        (softmax_of_heads, N_TEXTS, N_HEADS, "attends from heads to heads"),
        (kernel_of_heads_before_texts, N_HEADS, N_TOKENS, "heads before texts"),
        (softmax_of_heads_before_texts, N_HEADS, N_TOKENS, "heads before texts"),
        (in_rows_of_heads(of_rows), N_TEXTS, N_TOKENS, "heads before texts"),
        (in_rows_of_heads(F.scaled_dot_product_attention), N_TEXTS, N_TOKENS, "heads before texts"),
        (two_maps_a_head, 1, N_HEADS, "with its 4 heads"),
        (as_many_keys_as_texts, N_TEXTS, N_TOKENS, "none of the tokens"),
    ],
)
def test_the_number_of_heads_and_of_texts_say_which_axes_are_no_tokens(attend: Attend, n_texts: int, n_tokens: int, said: str) -> None:
    with pytest.raises(attlas.CaptureError, match=said):
        attlas.capture(nn.Sequential(CountedAttention(attend)).eval(), (torch.randn(n_texts, n_tokens, 16),))


@pytest.mark.parametrize(
    "attend", [softmax_of_rows, kernel_of_rows, queries_before_heads, both_transposed, turned_by_einsum, values_of_all_heads, special_softmax]
)
def test_texts_heads_and_queries_are_told_apart_without_a_number_of_heads(attend: Attend) -> None:
    recording, queries, keys = captured(attend)
    assert difference(recording, {("encoder", 0): soft(scores(queries, keys))}) <= CLOSE
    assert "not checked" not in repr(recording)


def plain_softmax(q: Any, k: Any, v: Any) -> Any:
    return soft(scores(q, k)) @ v


def softmax_by_einsum(q: Any, k: Any, v: Any) -> Any:
    return torch.einsum("bhqk,bhkd->bqhd", soft(scores(q, k)), v).transpose(1, 2)


ATTENDS: list[Attend] = [
    plain_softmax, softmax_by_einsum, F.scaled_dot_product_attention, softmax_of_rows, kernel_of_rows, both_transposed, turned_by_einsum
]  # fmt: skip


@pytest.mark.parametrize("attend", ATTENDS)
@pytest.mark.parametrize(("n_texts", "n_tokens"), [(N_HEADS, N_TOKENS), (N_TEXTS, N_HEADS), (N_HEADS, N_HEADS)])
@pytest.mark.parametrize("of", [OwnAttention, CountedAttention])
def test_as_many_texts_or_tokens_as_heads_are_told_apart_by_what_becomes_of_them(
    attend: Attend, n_texts: int, n_tokens: int, of: type[OwnAttention]
) -> None:
    torch.manual_seed(0)
    attention, x = of(attend), torch.randn(n_texts, n_tokens, 16)
    queries, keys, _ = attention.parts(x).detach()
    recording = attlas.capture(nn.Sequential(attention).eval(), (x,))
    assert difference(recording, {("encoder", 0): soft(scores(queries, keys))}) <= CLOSE
    assert "assumed" not in repr(recording)


@pytest.mark.parametrize("attend", [kernel_of_heads, softmax_of_heads])
def test_a_forgotten_transpose_is_seen_where_nothing_says_how_many_heads_there_are(attend: Attend) -> None:
    with pytest.raises(attlas.CaptureError, match="attends from heads to heads"):
        captured(attend)


@pytest.mark.parametrize("n_tokens", [1, N_TOKENS])
def test_queries_and_heads_as_one_axis_are_told_apart_also_of_one_token(n_tokens: int) -> None:
    """Attention whose heads have the same keys and values."""

    class RowsAttention(nn.Module):
        num_heads = N_HEADS

        def __init__(self) -> None:
            super().__init__()
            self.queries, self.keys = nn.Linear(16, N_HEADS * 16), nn.Linear(16, 16)

        def forward(self, x: Any) -> Any:
            n_texts, n_tokens, _ = x.shape
            scores = self.queries(x).reshape(n_texts, -1, 16) @ self.keys(x).transpose(1, 2)
            weights = soft(scores.view(n_texts, n_tokens, N_HEADS, n_tokens))
            return (weights.flatten(1, 2) @ x).reshape(n_texts, n_tokens, -1)

    torch.manual_seed(0)
    attention, x = RowsAttention(), torch.randn(N_TEXTS, n_tokens, 16)
    queries, keys = attention.queries(x).view(N_TEXTS, n_tokens, N_HEADS, 16).transpose(1, 2), attention.keys(x)[:, None]
    recording = attlas.capture(nn.Sequential(attention).eval(), (x,))
    assert difference(recording, {("encoder", 0): soft(queries @ keys.transpose(2, 3)).detach()}) <= CLOSE


class OwnQueriesAttention(OwnAttention):
    """Attention whose queries are learnt, and whose keys are theirs and those of what it is given."""

    def __init__(self) -> None:
        super().__init__(plain_softmax)
        self.learnt = nn.Parameter(torch.randn(1, 5, 16))

    def parts(self, x: Any) -> Any:
        learnt = self.learnt.expand(len(x), -1, -1)
        queries, keys, values = super().parts(torch.cat([x, learnt], 1))
        return queries[:, :, -5:], keys, values


def test_queries_of_a_module_s_own_are_not_taken_for_heads() -> None:
    torch.manual_seed(0)
    for n_tokens in (N_TOKENS, D_HEAD):
        attention, x = OwnQueriesAttention(), torch.randn(N_TEXTS, n_tokens, 16)
        queries, keys, _ = attention.parts(x)
        recording = attlas.capture(nn.Sequential(attention).eval(), (x,))
        assert difference(recording, {("encoder", 0): soft(scores(queries, keys)).detach()}) <= CLOSE
    with pytest.raises(attlas.CaptureError, match="as many heads as it was given tokens, and queries of its own"):
        attlas.capture(nn.Sequential(OwnQueriesAttention()).eval(), (torch.randn(N_TEXTS, N_HEADS, 16),))


class SplitAttention(CountedAttention):
    """Heads as parts of the batch, put side by side by cutting it, as the code of the Set Transformer does."""

    def __init__(self, residual: bool) -> None:
        super().__init__(plain_softmax)
        self.residual = residual

    def forward(self, x: Any) -> Any:
        q, k, v = (torch.cat(part.split(D_HEAD, 2), 0) for part in self.project(x).chunk(3, 2))
        context = soft(q.bmm(k.transpose(1, 2)) * SCALE).bmm(v)
        return self.out(torch.cat((q + context if self.residual else context).split(len(x), 0), 2))


@pytest.mark.parametrize("residual", [False, True])
def test_heads_that_are_cut_from_the_batch_are_seen_where_they_are_put_side_by_side(residual: bool) -> None:
    with pytest.raises(attlas.CaptureError, match="heads before texts"):
        attlas.capture(nn.Sequential(SplitAttention(residual)).eval(), (torch.randn(N_TEXTS, N_TOKENS, 16),))
    assert "assumed" not in repr(attlas.capture(nn.Sequential(SplitAttention(residual)).eval(), (torch.randn(1, N_TOKENS, 16),)))


def test_an_order_of_axes_that_nothing_shows_is_said_to_be_assumed() -> None:
    recording, queries, keys = captured(lambda q, k, v: 1.5 * F.scaled_dot_product_attention(q, k, v), n_texts=N_HEADS)
    assert difference(recording, {("encoder", 0): soft(scores(queries, keys))}) <= CLOSE
    assert "the order of axes was assumed" in repr(recording)
    (note,) = (note for note in recording.provenance.notes if "assumed" in note)
    assert "encoder layer 0 is read as [texts, heads, tokens, width]" in note and "capture another number of texts" in note


def test_dot_products_in_a_module_of_their_own_have_the_heads_of_the_module_that_projects() -> None:
    class AroundAttention(OwnAttention):
        def __init__(self) -> None:
            super().__init__(lambda q, k, v: self.attention(joined(q), joined(k), joined(v)).view(v.shape))
            self.attention = Inner()

    torch.manual_seed(0)
    attention, x = AroundAttention(), torch.randn(N_TEXTS, N_TOKENS, 16)
    queries, keys, _ = attention.parts(x).detach()
    recording = attlas.capture(nn.Sequential(attention).eval(), (x,))
    assert difference(recording, {("encoder", 0): soft(scores(queries, keys))}) <= CLOSE


def test_queries_that_all_texts_or_heads_share_are_spread_over_them() -> None:
    for axis in (0, 1):
        recording, queries, keys = captured(lambda q, k, v: F.scaled_dot_product_attention(q.narrow(axis, 0, 1), k, v))
        shared = queries.narrow(axis, 0, 1).expand_as(keys)
        assert difference(recording, {("encoder", 0): soft(scores(shared, keys))}) <= CLOSE


def features(q: Any, k: Any, v: Any) -> Any:
    return soft(q) @ (k.transpose(2, 3) @ v)


def tokens_of_features(q: Any, k: Any, v: Any) -> Any:
    return q @ (soft(k.transpose(2, 3)) @ v)


def channels(q: Any, k: Any, v: Any) -> Any:
    return (soft(q.transpose(2, 3) @ k) @ v.transpose(2, 3)).transpose(2, 3)


def channels_in_the_kernel(q: Any, k: Any, v: Any) -> Any:
    return F.scaled_dot_product_attention(*(x.transpose(2, 3) for x in (q, k, v))).transpose(2, 3)


def talking_heads(q: Any, k: Any, v: Any) -> Any:
    return torch.einsum("bhqk,hg->bgqk", soft(q @ k.transpose(2, 3)), torch.full((N_HEADS, N_HEADS), 0.25)) @ v


def heads_before_texts(q: Any, k: Any, v: Any) -> Any:
    return torch.einsum("hbqk,bhkd->bhqd", soft(torch.einsum("bhqd,bhkd->hbqk", q, k)), v)


def one_head_at_a_time(q: Any, k: Any, v: Any) -> Any:
    return torch.stack([F.scaled_dot_product_attention(q[:, head], k[:, head], v[:, head]) for head in range(N_HEADS)], 1)


@pytest.mark.parametrize(
    ("attend", "sizes", "said"),
    [
        (features, {"n_tokens": D_HEAD}, "linear attention"),
        (features, {"d_head": N_TEXTS}, "linear attention"),
        (tokens_of_features, {}, "linear attention"),
        (tokens_of_features, {"n_tokens": D_HEAD}, "linear attention"),
        (channels, {}, "from channels to channels"),
        (channels_in_the_kernel, {}, "from channels to channels"),
        (talking_heads, {}, "changes its weights after the softmax"),
        (heads_before_texts, {}, "with 2 texts"),
        (heads_before_texts, {"n_texts": N_HEADS}, "an order that cannot be told"),
        (queries_before_heads, {"n_tokens": N_HEADS}, "an order that cannot be told"),
        (one_head_at_a_time, {}, "more than once"),
    ],
)
def test_what_is_no_map_from_tokens_to_tokens_or_may_be_another_is_refused(attend: Attend, sizes: dict[str, int], said: str) -> None:
    with pytest.raises(attlas.CaptureError, match=said):
        captured(attend, **sizes)


def test_a_module_that_calls_the_kernel_twice_with_the_same_queries_and_keys_has_one_map() -> None:
    """Differential attention: each half of the values is weighed alike."""
    model, inputs = made("DiffLlamaForCausalLM", **DECODER), {"input_ids": ids(2, 11), "use_cache": False}
    recording = attlas.capture(model, inputs)
    assert difference(recording, stacked(eager(model)(**inputs, output_attentions=True).attentions, "decoder")) <= CLOSE


@pytest.mark.parametrize("least", [-1e4, -1e9, torch.finfo(torch.float32).min])
def test_large_numbers_below_zero_in_a_mask_hide_keys(least: float) -> None:
    mask = torch.full((N_TOKENS, N_TOKENS), least).triu(1)
    recording, queries, keys = captured(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
    assert difference(recording, {("decoder", 0): soft(scores(queries, keys) + mask)}) <= CLOSE
    assert not np.triu(recording.map("decoder", 0, 0).weights(), 1).any()


@pytest.mark.parametrize(("bias", "diagonal"), [(causal_upper_left, 1), (causal_lower_right, 1 + N_TOKENS - 3)])
def test_masks_of_pytorch_that_have_no_numbers_are_read(bias: Any, diagonal: int) -> None:
    def attend(q: Any, k: Any, v: Any) -> Any:
        context = F.scaled_dot_product_attention(q[:, :, 3:], k, v, attn_mask=bias(3, N_TOKENS))
        return F.pad(context, (0, 0, 3, 0))

    recording, queries, keys = captured(attend)
    hidden = torch.full((3, N_TOKENS), -torch.inf).triu(diagonal)
    assert difference(recording, {("cross", 0): soft(scores(queries[:, :, 3:], keys) + hidden)}) <= CLOSE


def test_a_softmax_beside_a_kernel_is_named_where_it_multiplies_values() -> None:
    def both(q: Any, k: Any, v: Any) -> Any:
        return F.scaled_dot_product_attention(q, k, v) - 0.5 * soft(q @ k.transpose(2, 3)) @ v

    recording, _, _ = captured(both)
    assert "a softmax beside the kernel not captured" in repr(recording)


def test_dropout_is_in_the_line() -> None:
    recording, _, _ = captured(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, dropout_p=0.3))
    assert repr(recording).endswith(" · dropout was on>")


@pytest.mark.parametrize(
    ("family", "kind"), [("bert", "encoder"), ("deberta", "encoder"), ("bloom", "decoder"), ("gpt_neo", "decoder"), ("llama", "decoder")]
)
def test_a_text_of_one_token_has_a_map_of_one_weight_of_its_model_s_kind(family: str, kind: str) -> None:
    for layer in attlas.capture(MODELS[family](), ids(1, 1)).layers:
        assert layer.kind == kind
        assert (layer.weights() == 1).all() and layer.weights().shape[2:] == (1, 1)


@pytest.mark.parametrize("family", ["bert", "deberta"])
def test_an_encoder_whose_only_text_is_padded_on_the_right_is_an_encoder(family: str) -> None:
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]])
    assert attlas.capture(MODELS[family](), {"input_ids": ids(1, 6), "attention_mask": mask}).kinds == ("encoder",)


def test_a_layer_of_pytorch_whose_only_text_is_padded_is_an_encoder_s() -> None:
    model, padding = nn.TransformerEncoderLayer(16, 4, 16, batch_first=True).eval(), torch.tensor([[False] * 4 + [True] * 2])
    assert attlas.capture(model, {"src": torch.randn(1, N_TOKENS, 16), "src_key_padding_mask": padding}).kinds == ("encoder",)


def of_softmax(q: Any, k: Any, v: Any, mask: Any) -> Any:
    return soft(scores(q, k) + mask) @ v


def of_kernel(q: Any, k: Any, v: Any, mask: Any) -> Any:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


@pytest.mark.parametrize("door", [of_softmax, of_kernel])
def test_a_layer_is_of_the_same_kind_whichever_function_it_calls(door: Callable[[Any, Any, Any, Any], Any]) -> None:
    hidden, none = torch.full((N_TOKENS, N_TOKENS), -1e9), torch.zeros(1, 1)
    prefix = hidden.triu(1)
    prefix[:3, :3] = 0  # all of it is seen from all of it
    neighbours = hidden.triu(2) + hidden.tril(-2)
    for kind, n_keys, mask in (
        ("encoder", N_TOKENS, none),
        ("encoder", N_TOKENS, neighbours),
        ("encoder", 3, none),  # keys that it made of several tokens itself
        ("decoder", N_TOKENS, hidden.triu(1)),
        ("decoder", N_TOKENS, prefix),
    ):

        def attend(q: Any, k: Any, v: Any) -> Any:
            n_pooled = N_TOKENS // n_keys
            k, v = (x.unflatten(2, (n_keys, n_pooled)).mean(3) for x in (k, v))
            return door(q, k, v, mask.expand(N_TOKENS, n_keys))

        recording, _, _ = captured(attend)
        assert [(layer.kind, layer.n_keys) for layer in recording.layers] == [(kind, n_keys)]


class OfPyTorch(nn.MultiheadAttention):
    """As `QueriesAndMemory`, by PyTorch's own."""

    def __init__(self) -> None:
        super().__init__(16, N_HEADS, batch_first=True)

    def forward(self, query: Any, key: Any, value: Any, *options: Any, **named: Any) -> Any:
        return super().forward(query, key, value, need_weights=False)[0]


@pytest.mark.parametrize("door", ["softmax", "kernel", "PyTorch's"])
@pytest.mark.parametrize(
    ("name", "looks_at_itself", "kind"),
    [("multihead_attn", True, "encoder"), ("multihead_attn", False, "cross"), ("attn", False, "cross"), ("cross_attn", True, "cross")],
)
def test_a_kind_is_told_by_name_and_inputs_at_every_door(door: str, name: str, looks_at_itself: bool, kind: str) -> None:
    class Attention(QueriesAndMemory):
        pass

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module(name, OfPyTorch() if door == "PyTorch's" else Attention(door == "kernel"))

        def forward(self, x: Any, memory: Any) -> Any:
            memory = x if looks_at_itself else memory
            return x + self.get_submodule(name)(x, memory, memory)

    recording = attlas.capture(Layer().eval(), (torch.randn(2, N_TOKENS, 16), torch.randn(2, N_TOKENS, 16)))
    assert recording.kinds == (kind,)


def test_a_generation_without_a_cache_is_refused_where_a_softmax_alone_is_seen() -> None:
    with pytest.raises(attlas.CaptureError, match="use_cache=False"):
        attlas.capture(MODELS["bloom"](), ids(1, 5), generate={"max_new_tokens": 3, "use_cache": False, "pad_token_id": 0})


def test_pieces_of_a_text_that_one_module_reads_are_no_layers() -> None:
    """CANINE reads characters a window at a time; two windows of a model of two layers were taken for them."""
    model = made("CanineModel", **SMALL, local_transformer_stride=16, downsampling_rate=4)
    with pytest.raises(attlas.CaptureError, match="initial_char_encoder.* ran more than once"):
        attlas.capture(model, ids(1, 32))


def test_an_encoder_whose_weights_are_all_alike_is_none_that_looks_back() -> None:
    recording, _, _ = captured(lambda q, k, v: soft(0 * q @ k.transpose(2, 3)) @ v)
    assert recording.kinds == ("encoder",)


def test_a_module_called_attention_with_one_matrix_is_not_missed() -> None:
    model = made("MobileBertModel", **{**SMALL, "intermediate_size": 32}, embedding_size=16, intra_bottleneck_size=32)
    assert "not captured" not in repr(attlas.capture(model, ids(1, 5)))


def test_attention_of_the_model_itself_beside_that_of_its_layers_is_a_stack_with_a_name() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attn, self.layers = OwnAttention(softmax_of_rows), nn.ModuleList(OwnAttention(softmax_of_rows) for _ in range(2))

        def forward(self, x: Any) -> Any:
            x = self.attn(x)
            for layer in self.layers:
                x = layer(x)
            return x

    recording = attlas.capture(Model().eval(), (torch.randn(1, N_TOKENS, 16),))
    assert {(layer.stack, layer.index) for layer in recording.layers} == {("model", 0), (None, 0), (None, 1)}


@pytest.mark.parametrize("n_others", [N_TOKENS, N_TOKENS + 1])
def test_three_tensors_of_as_many_tokens_are_no_cross_attention_of_pytorch_s_as_of_any_other(n_others: int) -> None:
    class Norms(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attn, self.queries, self.keys = nn.MultiheadAttention(16, N_HEADS, batch_first=True), nn.LayerNorm(16), nn.LayerNorm(16)

        def forward(self, x: Any, others: Any) -> Any:
            return self.attn(self.queries(x), self.keys(others), others)[0]

    x, others = torch.randn(N_TEXTS, N_TOKENS, 16), torch.randn(N_TEXTS, n_others, 16)
    recording = attlas.capture(Norms().eval(), (x, x if n_others == N_TOKENS else others))
    assert recording.kinds == (("encoder",) if n_others == N_TOKENS else ("cross",))


class QueriesAndMemory(nn.Module):
    """Attention as teaching code writes it, `attention(queries, keys, values)`."""

    def __init__(self, kernel: bool) -> None:
        super().__init__()
        self.kernel = kernel
        self.parts = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))

    def forward(self, *three: Any) -> Any:
        q, k, v = (part(x).unflatten(2, (N_HEADS, 4)).transpose(1, 2) for part, x in zip(self.parts, three))
        context = F.scaled_dot_product_attention(q, k, v) if self.kernel else soft(q @ k.transpose(2, 3) / 2) @ v
        return context.transpose(1, 2).flatten(2)


@pytest.mark.parametrize("kernel", [False, True])
@pytest.mark.parametrize("n_source", [N_TOKENS, 9])
def test_keys_and_values_of_one_tensor_and_queries_of_another_are_cross_attention(kernel: bool, n_source: int) -> None:
    class Attention(QueriesAndMemory):
        pass

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = Attention(kernel), Attention(kernel)

        def forward(self, x: Any, memory: Any) -> Any:
            x = x + self.one(x, x, x)
            return x + self.two(x, memory, memory)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.decoder = nn.ModuleList(Layer() for _ in range(2))

        def forward(self, x: Any, memory: Any) -> Any:
            for layer in self.decoder:
                x = layer(x, memory)
            return x

    recording = attlas.capture(Model().eval(), (torch.randn(2, N_TOKENS, 16), torch.randn(2, n_source, 16)))
    found = [(layer.kind, layer.index, layer.n_queries, layer.n_keys) for layer in recording.layers]
    assert found == [(kind, at, N_TOKENS, n) for kind, n in (("decoder", N_TOKENS), ("cross", n_source)) for at in range(2)]
