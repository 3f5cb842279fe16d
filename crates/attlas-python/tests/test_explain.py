"""What attention does not show has the numbers of the command line, and refuses in a sentence."""

from __future__ import annotations

import copy
import json
import pickle
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attlas
from attlas.explanations import Effects, Explanation, methods
from attlas.tables import Table

APPLE = "A red apple."
TRAINED = Path(__file__).parents[2] / "attlas-model" / "tests" / "data" / "trained"
INDUCTION = TRAINED / "llama-induction"
STORIES = TRAINED / "stories260K"
REPEATED = [11, 4, 27, 18, 33, 9, 41, 22, 6, 30, 15, 38, 11, 4, 27, 18, 33]
"""A sequence whose second half repeats its first, up to the token 9 that comes next."""


def command(*words: str) -> Any:
    """What the command prints with ``--json``."""
    done = subprocess.run([sys.executable, "-m", "attlas", *words, "--json"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def on_induction(name: str, *words: str) -> Any:
    return command(name, "--model", str(INDUCTION), "--target-ids", ",".join(map(str, REPEATED)), *words)


def plain(table: Table) -> list[dict[str, Any]]:
    """The rows with null for what is missing, as JSON has them."""
    return [{name: None if value != value else value for name, value in row.items()} for row in table.rows()]


def assert_same(table: Table, rows: list[dict[str, Any]]) -> None:
    """A table has the command's rows, number for number."""
    assert len(rows) > 0 and len(table) == len(rows)
    for mine, theirs in zip(plain(table), rows):
        assert mine.keys() == theirs.keys()
        assert mine == theirs  # also True and 1.0


def test_an_explanation_has_the_rows_of_the_command() -> None:
    found = attlas.explain(APPLE, position=1, steps=4)
    assert_same(found, command("explain", APPLE, "--position", "1", "--steps", "4"))
    assert isinstance(found, Explanation) and found.methods[0] == "weight" and "leave-out" in found.methods
    assert "head-effect" not in found.methods, "which is named, or left"
    assert found.value == pytest.approx(float(re.search(r"which is (-?[\d.]+)", found.title)[1]), abs=1e-3)  # type: ignore[index]
    some = attlas.explain(REPEATED, INDUCTION, target=9, foil=4, methods=["saliency", "leave-out"])
    rows = on_induction("explain", "--target", "9", "--foil", "4", "--method", "saliency,leave-out")
    assert_same(some, rows)
    assert set(some["side"]) == {"target"} and some.methods == ["saliency", "leave-out"]


def test_an_explanation_is_shared_out_compared_and_drawn(tmp_path: Path) -> None:
    found = attlas.explain(APPLE, position=1, methods=["weight", "saliency", "hide", "leave-out"])
    shares = found.shares()
    assert len(shares) * 4 == len(found)
    for method in found.methods:
        assert np.nansum(np.abs(shares[method])) == pytest.approx(1), "also where a method says nothing of a token"
        scores = found.scores(method)
        assert np.allclose(shares[method], scores / np.nansum(np.abs(scores)), equal_nan=True)
        is_later = (shares["side"] == "target") & (shares["position"] > 1)
        assert is_later.any() and np.isnan(scores[is_later]).all(), "the prediction cannot depend on them"
    agreement = found.agreement()
    assert_same(agreement, command("explain", APPLE, "--position", "1", "--method", "weight,saliency,hide,leave-out", "--agreement"))
    assert np.all(np.abs(agreement["rank_correlation"]) <= 1)
    found.figure(dpi=96).save(tmp_path / "explained.svg")
    assert "saliency" in (tmp_path / "explained.svg").read_text()
    assert "saliency" in found._repr_html_() and "saliency" in repr(found)
    with pytest.raises(IndexError, match="there is no method 'norm' here; there are weight, saliency, hide, leave-out"):
        found.scores("norm")
    assert "attention weight" in methods()["title"]


def test_an_explanation_travels_without_its_picture() -> None:
    found = attlas.explain(APPLE, position=1, methods="weight")
    for other in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert other == found and other.subject == found.subject
        with pytest.raises(attlas.Error, match="drawn where it was found"):
            other.figure()


def test_the_effects_of_heads_are_those_of_the_command() -> None:
    found = attlas.ablate(REPEATED, INDUCTION, target=9)
    assert_same(found, on_induction("ablate", "--target", "9"))
    assert isinstance(found, Effects) and (found.metric, found.unit) == ("probability", "probability")
    first = found.ranked()[0]
    assert (first["layer"], first["head"]) == (0, 3) and first["effect"] < 0
    for method in ("mean", "uniform", "permute", "pattern-preserving", "direct", "gradient"):
        given = {"target": 9, "foil": 4} if method == "direct" else {"metric": "loss"}
        words = ["--target", "9", "--foil", "4"] if method == "direct" else ["--metric", "loss"]
        assert_same(
            attlas.ablate(REPEATED, INDUCTION, method=method, heads=["1.*", (0, 3)], **given),
            on_induction("ablate", "--method", method, "--heads", "1.*,0.3", *words),
        )
    together = attlas.ablate(REPEATED, INDUCTION, target=9, heads="1.*", together=True)
    assert_same(together, on_induction("ablate", "--target", "9", "--heads", "1.*", "--together"))
    assert together[0]["heads"] == "decoder:L1H0 decoder:L1H1 decoder:L1H2 decoder:L1H3"


def test_texts_patches_and_pairs_are_those_of_the_command(tmp_path: Path) -> None:
    texts = ["Once upon a time there was a little girl", "Tom had a big red"]
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(texts))
    words = ["--model", str(STORIES), "--heads", "0.*"]
    assert_same(attlas.ablate(texts, STORIES, heads="0.*"), command("ablate", str(path), *words))
    first, second = "Tom saw a big dog", "Sam saw a big dog"
    found = attlas.ablate(first, STORIES, heads="0.*", method="patch", patch_from=second, receiver="output")
    assert_same(found, command("ablate", first, *words, "--method", "patch", "--patch-from", second, "--receiver", "output"))
    assert "share" in found.columns
    pairs = attlas.ablate(REPEATED, INDUCTION, target=9, heads="L0H3", edges=True)
    assert_same(pairs, on_induction("ablate", "--target", "9", "--heads", "0.3", "--edges"))
    pairs.figure().save(tmp_path / "pairs.png")
    cross = attlas.ablate(APPLE, heads=("cross", 2, 4))
    assert_same(cross, command("ablate", APPLE, "--heads", "cross:2.4"))


def test_hidden_states_and_what_is_written_by_key_are_those_of_the_command(tmp_path: Path) -> None:
    first, second = "Tom saw a big dog", "Sam saw a big dog"
    states = attlas.ablate(first, STORIES, method="patch", patch_from=second, states=True)
    words = ["--model", str(STORIES), "--method", "patch", "--patch-from", second, "--states"]
    assert_same(states, command("ablate", first, *words))
    assert isinstance(states, Effects) and (states.metric, states.unit) == ("kl", "nats")
    assert set(states["stack"]) == {"decoder"} and np.all(states["effect"][states["layer"] == 0] >= 0)
    states.figure().save(tmp_path / "states.svg")
    assert "layer that is entered" in (tmp_path / "states.svg").read_text()
    written = attlas.ablate(REPEATED, INDUCTION, target=9, foil=4, heads="1.*", method="direct", by_key=True)
    words = ["--target", "9", "--foil", "4", "--heads", "1.*", "--method", "direct", "--by-key"]
    assert_same(written, on_induction("ablate", *words))
    assert (written.metric, written.unit) == ("logit-diff", "logits")
    whole = attlas.ablate(REPEATED, INDUCTION, target=9, foil=4, heads="1.*", method="direct")
    for head, effect in zip(whole["head"], whole["effect"]):
        assert written["effect"][written["head"] == head].sum() == pytest.approx(effect, abs=1e-4)
    written.figure().save(tmp_path / "written.png")
    of_two = INDUCTION.parents[1] / "families" / "t5"
    cross = attlas.ablate([5, 9, 7], of_two, decoder_text=[0, 4, 6], target=8, method="direct", by_key=True)
    assert set(cross["kind"]) == {"decoder", "cross"}, "an encoder's heads write for the encoder alone"


def test_effects_are_drawn(tmp_path: Path) -> None:
    found = attlas.ablate(REPEATED, INDUCTION, target=9)
    found.figure(title="Effects").save(tmp_path / "effects.svg")
    assert "Effects" in (tmp_path / "effects.svg").read_text()
    with pytest.raises(attlas.Error, match="one number, which is no picture"):
        attlas.ablate(REPEATED, INDUCTION, together=True).figure()
    with pytest.raises(attlas.Error, match="whole layers"):
        attlas.ablate(REPEATED, INDUCTION, heads="0.3").figure()


def test_a_check_is_that_of_the_command() -> None:
    card = attlas.check(REPEATED, INDUCTION, permutations=3, erase_with="0", beside=INDUCTION, adversarial=2)
    theirs = on_induction("check", "--permutations", "3", "--erase-with", "0", "--beside", str(INDUCTION), "--adversarial=2")
    assert card.data == theirs
    assert card.maps["median_tvd"].tolist() == [one["median_tvd"] for one in theirs["maps"]]
    assert card.maps.shape[0] == 8 and card.beside[0]["tvd"] == 0
    assert card.erasing is not None and len(card.erasing) == 10
    assert "Permuting this map" in card.maps[3]["note"] and "<table>" in card._repr_html_()
    together = attlas.check(REPEATED, INDUCTION, heads="1.*", together=True, permutations=1)
    assert len(together.maps) == 1 and together.maps[0]["heads"].startswith("decoder:L1H0 ")
    assert together.not_erased is None and together.erasing is not None
    ranked = attlas.check(REPEATED, INDUCTION, heads="0.3", permutations=1, erase_with="0", ranking=[float(n) for n in range(17)])
    assert ranked.erasing is not None and ranked.data["erasing"]["ranking"] == "the numbers that were given"


def test_the_lens_the_circuits_and_the_mixing_are_those_of_the_command() -> None:
    assert_same(attlas.lens(REPEATED, INDUCTION, top=2, target=9), on_induction("lens", "--top", "2", "--target", "9"))
    every = attlas.lens(REPEATED, INDUCTION, position="all", top=1)
    assert_same(every, on_induction("lens", "--all", "--top", "1"))
    within = attlas.lens(REPEATED, INDUCTION, top=1, after_attention=True)
    assert_same(within, on_induction("lens", "--top", "1", "--after-attention"))
    assert_same(attlas.mixing(APPLE, kind="encoder"), command("mixing", APPLE, "--kind", "encoder"))
    found = attlas.circuits(INDUCTION)
    assert found.data == command("circuits", "--model", str(INDUCTION))
    assert found.copying is not None and len(found.copying) == 8 and found.compositions["value"].max() <= 1
    head = attlas.circuits(INDUCTION, head="L1H0", token=9, top=3)
    assert head.data == command("circuits", "--model", str(INDUCTION), "--head", "L1H0", "--token", "9", "--top", "3")
    assert head.reads is not None and len(head.reads) == 3 and "composition by chance" in repr(head)


def test_a_score_is_taken_apart_as_the_command_does() -> None:
    found = attlas.why(APPLE, head="cross:L2H4", query="pomme", key="apple")
    assert found.data == command("why", APPLE, "--head", "cross:L2H4", "--query", "pomme", "--key", "apple")
    assert found.parts["value"].sum() == pytest.approx(found.score, abs=1e-3)
    assert 0 < found.weight <= 1 and "looks at apple" in repr(found)
    same = attlas.why(APPLE, head=("cross", 2, 4), query="pomme", key="apple")
    assert same == found


@pytest.mark.parametrize("quantity", ["norm", "norm-sum", "alti", "rollout", "flow", "gradient-weight", "relevance"])
def test_a_quantity_of_a_recording_is_that_of_the_command(quantity: str, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    words = ["record", APPLE, "--quantity", quantity, "-o", str(path)]
    subprocess.run([sys.executable, "-m", "attlas", *words], check=True, capture_output=True, timeout=300)
    with_remarks = quantity in ("rollout", "flow")  # of cross-attention there is none
    if with_remarks:
        with pytest.warns(UserWarning, match="not defined"):
            mine = attlas.record(APPLE, quantities=quantity)
    else:
        mine = attlas.record(APPLE, quantities=[quantity])
    theirs = attlas.open(path)
    head = 3 if quantity in ("norm", "gradient-weight") else None
    one = mine.map("encoder", 1, head, quantity=quantity)
    assert np.array_equal(one.weights(), theirs.map("encoder", 1, head, quantity=quantity).weights())
    assert one.shape == mine.map("encoder", 1, 3).shape and quantity in repr(one)
    assert not np.array_equal(one.weights(), mine.map("encoder", 1, "mean").weights())
    mine.figure("layers", kind="encoder", quantity=quantity).save(tmp_path / "layers.svg")
    assert len(one.words().weights()) > 0
    assert pickle.loads(pickle.dumps(one)) == one
    if head is None:
        with pytest.raises(IndexError, match="of all heads of a layer together"):
            mine.map("encoder", 1, 3, quantity=quantity)


def test_rollout_is_made_of_a_recording_and_what_needs_the_model_is_refused(rec: attlas.Recording) -> None:
    with pytest.warns(UserWarning, match="not defined"):
        rollout = rec.map("encoder", 2, quantity="rollout")
    assert np.allclose(rollout.weights().sum(1), 1, atol=1e-5)
    with pytest.raises(attlas.Error, match=r"needs the model: attlas.record\(…, quantities=\['alti'\]\) keeps it"):
        rec.map("encoder", 2, quantity="alti")
    with pytest.raises(IndexError, match='there is no quantity "norms"; there are weight, norm,'):
        rec.map("encoder", 2, quantity="norms")
    with pytest.raises(attlas.Error, match="record them apart"):
        attlas.record(APPLE, quantities=["norm", "norm-sum"])
    with pytest.raises(attlas.Error, match="explain is for the quantities"):
        attlas.record(APPLE, explain="pomme")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: attlas.explain(REPEATED, INDUCTION, target="abc"), '"abc" is not an id of llama-induction'),
        (lambda: attlas.explain(REPEATED, INDUCTION, position=40), "there is no position 40"),
        (lambda: attlas.explain(REPEATED, INDUCTION, position=-1), "positions are counted from 0"),
        (lambda: attlas.explain(REPEATED, INDUCTION, target=9, foil=9), "the foil is the target itself"),
        (lambda: attlas.explain(REPEATED, INDUCTION, methods="norms"), 'there is no method "norms"; there are weight'),
        (lambda: attlas.explain(REPEATED, INDUCTION, metric="kl"), "one token or class"),
        (lambda: attlas.explain(REPEATED, INDUCTION, methods=[]), "no method was named"),
        (lambda: attlas.explain(REPEATED, INDUCTION, methods="integrated-gradients", steps=0), "1 to 10000 steps, not 0"),
        (lambda: attlas.explain("A cat.", INDUCTION), "has no tokenizer"),
        (lambda: attlas.explain([], INDUCTION), "text is empty"),
        (lambda: attlas.explain([1, -2], INDUCTION), "token id 1 is -2"),
        (lambda: attlas.explain(3, INDUCTION), "a text, or a list of token ids, was expected"),  # type: ignore[arg-type]
        (lambda: attlas.explain(REPEATED, INDUCTION, decoder_text=[1]), "for encoder-decoders, and llama-induction is none"),
        (lambda: attlas.ablate(REPEATED, INDUCTION, heads="7.1"), r"has no such head \(decoder: up to L1H3"),
        (lambda: attlas.ablate(REPEATED, INDUCTION, heads="seven"), '"seven" is no head'),
        (lambda: attlas.ablate(REPEATED, INDUCTION, heads=[]), "no head was named"),
        (lambda: attlas.check(REPEATED, INDUCTION, heads=""), "no head was named"),
        (lambda: attlas.ablate(REPEATED, INDUCTION, kind="cross"), "has no cross-attention"),
        (lambda: attlas.ablate(REPEATED, INDUCTION, metric="logit-diff"), "needs a foil"),
        (lambda: attlas.ablate(REPEATED, INDUCTION, metric="kl", target=9), "a target is for the metrics logit"),
        (lambda: attlas.ablate(REPEATED, INDUCTION, metric="far"), "there is no such metric"),  # type: ignore[arg-type]
        (lambda: attlas.ablate(REPEATED, INDUCTION, method="fast"), 'there is no method "fast"'),  # type: ignore[arg-type]
        (lambda: attlas.ablate(REPEATED, INDUCTION, method="patch"), "needs a second text"),
        (lambda: attlas.ablate(REPEATED, INDUCTION, method="gradient", together=True), "slopes of heads have no sum"),
        (lambda: attlas.ablate(REPEATED, INDUCTION, seed=3), "seed is for method='permute'"),
        (lambda: attlas.ablate(REPEATED, INDUCTION, edges=True), "pairs are hidden from one head, and 8 are named"),
        (lambda: attlas.ablate(REPEATED, INDUCTION, edges=True, by_key=True), "three tables: ask for one"),
        (lambda: attlas.ablate(REPEATED, INDUCTION, states=True), "with method='patch'"),
        (lambda: attlas.ablate(REPEATED, INDUCTION, method="patch", states=True), "states needs patch_from"),
        (lambda: attlas.ablate(REPEATED, INDUCTION, method="patch", patch_from=[1], states=True), "17"),
        (lambda: attlas.ablate(REPEATED, INDUCTION, by_key=True), "with method='direct'"),
        (lambda: attlas.ablate(REPEATED, INDUCTION, method="direct", metric="kl", by_key=True), "leave metric and together out"),
        (lambda: attlas.check(REPEATED, INDUCTION, budget=2), "a share from 0 to 1"),
        (lambda: attlas.check(REPEATED, INDUCTION, permutations=0), "a number from 1 to 1000"),
        (lambda: attlas.check(REPEATED, INDUCTION, permutations=1, erase_with="0", ranking=[1.0]), "has 1 numbers for 17 tokens"),
        (lambda: attlas.lens(REPEATED, INDUCTION, position=17), "there is no position 17"),
        (lambda: attlas.lens(REPEATED, INDUCTION, top=0), "a number from 1 to 100"),
        (lambda: attlas.why(REPEATED, INDUCTION, head="L9H0", query=0, key=0), "has no head L9H0"),
        (lambda: attlas.why(APPLE, head="L2H4", query=0, key=0), "has several heads L2H4; say which"),
        (lambda: attlas.why(APPLE, head="cross:L2H4", query="banana", key=0), "query banana: there is no such token"),
        (lambda: attlas.why(APPLE, head="cross:2.*", query=0, key=0), "is no"),
        (lambda: attlas.circuits(INDUCTION, kind="cross"), "circuits are those of self-attention"),
        (lambda: attlas.circuits(INDUCTION, token=3), "token is for one head"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(call: Any, sentence: str) -> None:
    with pytest.raises(attlas.Error, match=sentence):
        call()


def test_others_go_on_while_a_model_is_explained() -> None:
    model = attlas.Model(STORIES)
    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            time.sleep(0.001)
            ticks += 1

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.monotonic()
    attlas.ablate("Once upon a time there was a little girl", model, metric="loss")
    took = time.monotonic() - began
    done.set()
    thread.join()
    assert ticks > min(took, 1) * 20, (ticks, took)


def test_ctrl_c_stops_an_explanation() -> None:
    code = (
        "import attlas, sys, time\n"
        f"model = attlas.Model({str(STORIES)!r})\n"
        "print('ready', flush=True)\n"
        "try:\n"
        "    attlas.check('Once upon a time there was a little girl who had a big red ball and a dog.', model, permutations=1000)\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped', flush=True)\n"
    )
    import signal

    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "stopped\n"
    assert process.wait(30) == 0
