"""A capture leaves everything as it was: the model, the process's tables, other threads; also after an error."""

from __future__ import annotations

import contextvars
import os
import signal
import threading
from typing import Any

import attlas
import numpy as np
import pytest
from attlas._capture import switches
from capture_models import MODELS, llama
from capture_tools import (
    CLOSE,
    SEQ2SEQ,
    SMALL,
    difference,
    eager,
    ids,
    made,
    proof,
    stacked,
    torch,
    transformers,
    weights,
)
from torch import nn


def state(model: Any) -> Any:
    """All that a capture might change: hooks, modes, settings, what the process looks up."""
    library = transformers()
    llama_file = __import__("sys").modules["transformers.models.llama.modeling_llama"]
    table = getattr(library.modeling_utils, "AttentionInterface", None)
    hooks = [
        (len(module._forward_hooks), len(module._forward_pre_hooks), module.training, sorted(module.__dict__))
        for module in model.modules()
    ]
    table = dict(table._global_mapping) if table is not None else dict(library.modeling_utils.ALL_ATTENTION_FUNCTIONS)
    return (
        hooks,
        table,
        llama_file.eager_attention_forward,
        torch.backends.mha.get_fastpath_enabled(),
        str(getattr(model, "config", "")),
        torch.overrides._get_current_function_mode_stack(),
        switches._users,
        "generate" in model.__dict__,
    )


def test_a_capture_changes_nothing_not_even_which_modules_train() -> None:
    model = llama().train()
    model.model.layers[0].eval()
    before = state(model)
    attlas.capture(model, ids(1, 8))
    assert state(model) == before
    attlas.capture(model, ids(1, 4), generate={"max_new_tokens": 3, "pad_token_id": 0})
    assert state(model) == before


def test_the_model_computes_the_same_while_it_is_recorded() -> None:
    model = llama()
    with torch.no_grad():
        plain = model(ids(2, 8)).logits
        with attlas.recording(model):
            recorded = model(ids(2, 8)).logits
    assert torch.equal(plain, recorded)


class Stumbles(nn.Module):
    """Attends, then fails as it is told."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.attention, self.error = nn.MultiheadAttention(8, 2, batch_first=True), error

    def forward(self, x: Any) -> Any:
        self.attention(x, x, x)
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("the model fails"), KeyboardInterrupt()])
def test_after_an_error_or_an_interrupt_in_the_middle_everything_is_put_back(error: BaseException) -> None:
    model, before = Stumbles(error), state(llama())
    own = [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]
    with pytest.raises(type(error)):
        attlas.capture(model, (torch.randn(1, 4, 8),))
    with pytest.raises(type(error)), attlas.recording(model) as run:
        model(torch.randn(1, 4, 8))
    assert run.recordings == []
    assert state(llama()) == before
    assert [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()] == own
    assert model.training, "it was in training mode before"


def test_ctrl_c_during_a_generation_ends_it_and_puts_everything_back() -> None:
    model, before = llama(), state(llama())
    n_calls = 0

    def press(module: Any, args: Any) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 5:
            signal.raise_signal(signal.SIGINT)

    handle = model.model.layers[1].register_forward_pre_hook(press)
    with pytest.raises(KeyboardInterrupt):
        attlas.capture(model, ids(1, 4), generate={"max_new_tokens": 30, "min_new_tokens": 30, "pad_token_id": 0})
    handle.remove()
    assert n_calls == 5
    after = state(model)
    assert after == before


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.15])
def test_ctrl_c_at_any_moment_of_a_capture_puts_everything_back(delay: float) -> None:
    model = llama(max_position_embeddings=1024)
    before, tokens = state(model), ids(1, 1000)
    with pytest.raises(KeyboardInterrupt):
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
        while True:
            attlas.capture(model, tokens)
    assert state(model) == before
    assert proof(attlas.capture(model, ids(1, 8)))


def test_threads_that_capture_and_threads_that_do_not_stay_out_of_each_other_s_way() -> None:
    models = [llama(num_hidden_layers=n_layers) for n_layers in (2, 3, 4)]
    before = state(models[0])
    with torch.no_grad():
        plain = models[2](ids(1, 9)).logits
    wrong: list[str] = []

    def work(number: int, captures: bool) -> None:
        model, tokens = models[number], ids(1, 9 + number)
        for _ in range(8):
            with torch.no_grad():
                if captures:
                    recording = attlas.capture(model, tokens)
                    if len(recording.layers) != 2 + number or recording.map("decoder", 0, 0).shape != (
                        9 + number,
                        9 + number,
                    ):
                        wrong.append(f"thread {number}: {recording!r}")
                elif not torch.equal(model(ids(1, 9)).logits, plain):
                    wrong.append("another thread's model computes something else")

    threads = [threading.Thread(target=work, args=(number, number < 2)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert state(models[0]) == before


def test_a_thread_with_the_context_of_a_recording_is_another_thread() -> None:
    """As threads of Python without a global lock have it."""
    model = llama()
    with attlas.recording(model) as run:
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: context.run(model, ids(1, 7)))
        thread.start()
        thread.join()
        model(ids(1, 5))
    assert [recording.layers[0].n_queries for recording in run.recordings] == [5]


def test_a_capture_inside_of_a_recording_is_its_own_and_the_recording_goes_on() -> None:
    class Attention(nn.Module):
        def forward(self, x: Any) -> Any:
            return nn.functional.scaled_dot_product_attention(x, x, x) + (x @ x.transpose(2, 3)).softmax(-1) @ x

    model, x = nn.Sequential(Attention(), Attention()).eval(), torch.randn(1, 2, 5, 4)
    with attlas.recording(model) as run:
        model(x)
        inner = attlas.capture(model, (x,))
        model(x)
    assert len(run.recordings) == 2 and all(recording == inner for recording in run.recordings)


def test_two_threads_may_capture_the_same_model() -> None:
    model = llama()
    found: list[Any] = []

    def work(n: int) -> None:
        for _ in range(6):
            found.append((n, attlas.capture(model, ids(1, n)).map("decoder", 1, 1).shape))

    threads = [threading.Thread(target=work, args=(n,)) for n in (5, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(5, (5, 5))] * 6 + [(8, (8, 8))] * 6


def test_switches_are_put_back_by_the_last_user_in_whatever_order_they_leave() -> None:
    first, second, before = llama(), llama(), state(llama())
    one, two = attlas.recording(first), attlas.recording(second)
    one.__enter__()
    entered = threading.Event()
    leave = threading.Event()

    def other() -> None:
        two.__enter__()
        second(ids(1, 5))
        entered.set()
        leave.wait()
        two.__exit__(None, None, None)

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait()
    first(ids(1, 4))
    one.__exit__(None, None, None)
    assert switches._users == 1
    leave.set()
    thread.join()
    assert state(llama()) == before
    assert one.recordings[0].map("decoder", 0, 0).shape == (4, 4) and two.recordings[0].map("decoder", 0, 0).shape == (
        5,
        5,
    )


def test_a_training_loop_trains_as_without_and_its_recordings_say_that_dropout_was_on() -> None:
    def train(records: bool) -> tuple[Any, list[Any]]:
        model = MODELS["bert"]().train()
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        torch.manual_seed(9)
        run = attlas.recording(model, every=2)
        with run if records else __import__("contextlib").nullcontext():
            for _ in range(4):
                loss = model(input_ids=ids(2, 6), labels=ids(2, 6)).loss
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        return [parameter.detach().clone() for parameter in model.parameters()], run.recordings

    plain, _ = train(records=False)
    recorded, recordings = train(records=True)
    assert all(torch.equal(a, b) for a, b in zip(plain, recorded))
    assert len(recordings) == 2, "every second forward"
    assert recordings[0].provenance.mode == "train"
    assert any("dropout was on" in note for note in recordings[0].provenance.notes)
    assert not proof(recordings[0])
    assert not np.array_equal(weights(recordings[0], "encoder", 1), weights(recordings[1], "encoder", 1))


def test_a_forward_that_fails_in_the_middle_of_a_recording_leaves_the_next_one_whole() -> None:
    model, fails = llama(), True

    def fail(module: Any, args: Any) -> None:
        if fails:
            raise RuntimeError("out of memory")

    handle = model.model.layers[1].register_forward_pre_hook(fail)
    with attlas.recording(model) as run, torch.no_grad():
        with pytest.raises(RuntimeError):
            model(ids(1, 5))
        fails = False
        model(ids(1, 7))
    handle.remove()
    (recording,) = run.recordings
    assert [layer.n_queries for layer in recording.layers] == [7, 7]
    assert [token.id for token in recording.items[0].target.tokens] == ids(1, 7)[0].tolist()


def test_a_forward_that_the_backward_pass_computes_anew_is_recorded_once() -> None:
    model = llama().train()
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()  # the new name, where it is known
    with attlas.recording(model) as run:
        for n in (5, 6):
            model(ids(1, n), labels=ids(1, n), use_cache=False).loss.backward()
    assert [recording.map("decoder", 1, 0).shape for recording in run.recordings] == [(5, 5), (6, 6)]


def test_several_calls_are_several_recordings_and_a_generation_is_one() -> None:
    model = llama()
    with attlas.recording(model) as run, torch.no_grad():
        model(ids(1, 5))
        sequences = model.generate(ids(1, 4), max_new_tokens=3, min_new_tokens=3, do_sample=False, pad_token_id=0)
        model(ids(2, 7))
    assert [recording.map("decoder", 0, 0).shape for recording in run.recordings] == [(5, 5), (6, 6), (7, 7)]
    assert isinstance(sequences, torch.Tensor) and sequences.shape == (1, 7), "generate answers as without a recording"
    wanted = stacked(eager(model)(sequences[:, :-1], output_attentions=True, use_cache=False).attentions, "decoder")
    assert difference(run.recordings[1], wanted) <= CLOSE
    assert run.recordings[1].provenance.method == "greedy"


def test_a_text_is_captured_with_its_tokens_words_and_bytes() -> None:
    tokenizer = words_tokenizer()
    model = made("BertModel", **{**SMALL, "vocab_size": len(tokenizer)})
    recording = attlas.capture(model, ["the café sat", "a cat"], tokenizer=tokenizer)
    tokens = recording.items[0].source.tokens
    assert [token.text for token in tokens] == ["[CLS]", "the", "café", "sat"]
    assert [token.role for token in recording.items[1].source.tokens] == ["special", "text", "text", "padding"]
    text = recording.items[0].source.text.encode()
    assert (
        text[tokens[2].span[0] : tokens[2].span[1]].decode() == "café"
        if isinstance(tokens[2].span, tuple)
        else tokens[2].span is not None
    )


def test_a_target_is_read_by_the_decoder() -> None:
    tokenizer = words_tokenizer()
    model = made("BartForConditionalGeneration", **{**SEQ2SEQ, "vocab_size": len(tokenizer)})
    recording = attlas.capture(model, "the cat sat", tokenizer=tokenizer, target="a cat")
    assert [token.text for token in recording.items[0].source.tokens] == ["[CLS]", "the", "cat", "sat"]
    assert len(recording.items[0].target.tokens) == 3, "shifted right: a start, then all but the last"




def words_tokenizer() -> Any:
    """A tokenizer of whole words, made here."""
    library = transformers()
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {word: at for at, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "the", "a", "cat", "café", "sat"])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, "[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    inner.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A", special_tokens=[("[CLS]", 2)])
    return library.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]"
    )
