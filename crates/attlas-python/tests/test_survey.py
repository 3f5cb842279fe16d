"""Surveys: the same texts give the same bytes, however they come and wherever they are measured."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attlas

# A trained model of 1 MB: a decoder of 5 layers with 8 heads.
MODEL = Path(__file__).parents[2] / "attlas-model" / "tests" / "data" / "trained" / "stories260K"
NOUNS, VERBS = ["cat", "dog", "girl", "boy", "man", "friend"], ["sees", "likes", "has", "finds"]
TEXTS = [f"The {NOUNS[i % 6]} {VERBS[i % 4]} the {NOUNS[(i * 5 + 1) % 6]} {i} times." for i in range(24)]


@pytest.fixture(scope="module")
def whole() -> attlas.Survey:
    """All texts in one survey."""
    return attlas.survey(TEXTS, MODEL, progress=False)


@pytest.fixture(scope="module")
def batch() -> Any:
    return attlas.survey.batch(MODEL)


def test_every_head_has_a_score_under_every_measure_and_its_best_texts(whole: attlas.Survey) -> None:
    heads = whole.heads()
    assert whole.n_texts == 24 and whole.n_failures == 0 and len(whole.failures) == 0
    assert heads.columns[:6] == ["kind", "layer", "head", "measure", "variant", "score"]
    assert {(row["layer"], row["head"]) for row in heads.rows()} == {(l, h) for l in range(5) for h in range(8)}
    scores = heads.filter(measure="previous")
    assert ((scores["score"] > 0) & (scores["low"] <= scores["score"]) & (scores["score"] <= scores["high"])).all()
    best = whole.examples().filter(measure="previous", layer=0, head=0)
    assert list(best["rank"]) == [0, 1, 2, 3, 4] and (np.diff(best["score"]) <= 0).all() and set(best["text"]) <= set(TEXTS)
    assert repr(whole).startswith("<attlas.Survey stories260K · 24 texts in ")


def test_a_survey_is_copied_pickled_added_and_compared_by_what_was_found(whole: attlas.Survey) -> None:
    for again in (copy.copy(whole), pickle.loads(pickle.dumps(whole))):
        assert again == whole and hash(again) == hash(whole) and again.to_bytes() == whole.to_bytes()
    halves = [attlas.survey(part, MODEL, progress=False) for part in (TEXTS[:7], TEXTS[7:])]
    assert halves[0] + halves[1] == halves[1] + halves[0] == whole != halves[0]


def test_texts_come_as_anything_that_holds_texts(whole: attlas.Survey) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    sources = [
        iter(TEXTS),
        np.array(TEXTS),
        {"text": TEXTS},
        [{"text": text, "id": number} for number, text in enumerate(TEXTS)],
        pyarrow.table({"text": TEXTS}),
        pyarrow.chunked_array([TEXTS[:5], TEXTS[5:]]),
    ]
    for source in sources:
        assert attlas.survey(source, MODEL, progress=False).to_bytes() == whole.to_bytes(), type(source)


def test_files_of_texts_give_what_the_command_gives(whole: attlas.Survey, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    for part in (0, 1):
        table = pyarrow.table({"body": TEXTS[12 * part : 12 * part + 12]})
        parquet.write_table(table, tmp_path / f"{part}.parquet", compression="snappy")
    found = attlas.survey(str(tmp_path / "*.parquet"), MODEL, column="body", progress=False)
    found.save(tmp_path / "python.survey.parquet")
    words = ["survey", "0.parquet", "1.parquet", "--column", "body", "--model", str(MODEL), "-o", "command.survey.parquet"]
    subprocess.run([sys.executable, "-m", "attlas", *words], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "python.survey.parquet").read_bytes() == (tmp_path / "command.survey.parquet").read_bytes()
    assert found == whole == attlas.survey.load(tmp_path / "command.survey.parquet")


def test_states_go_to_the_command_and_back(batch: Any, whole: attlas.Survey, tmp_path: Path) -> None:
    for number in range(3):
        [state] = batch(TEXTS[8 * number : 8 * number + 8])
        (tmp_path / f"{number}.parquet").write_bytes(state)
    words = ["survey", "merge", "2.parquet", "0.parquet", "1.parquet", "-o", "all.parquet"]
    subprocess.run([sys.executable, "-m", "attlas", *words], cwd=tmp_path, check=True, capture_output=True)
    whole.save(tmp_path / "whole.parquet")
    assert (tmp_path / "all.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert attlas.survey.load(str(tmp_path / "[0-2].parquet")).to_bytes() == whole.to_bytes()


def test_pairs_are_read_by_both_sides_of_a_translator(tmp_path: Path) -> None:
    pairs = [("The cat sleeps.", "Le chat dort."), ("My friend sings.", "Mon ami chante.")]
    found = attlas.survey(pairs, progress=False)
    columns = {"en": [pair[0] for pair in pairs], "fr": [pair[1] for pair in pairs]}
    assert attlas.survey(columns, column="en", target="fr", progress=False) == found
    (tmp_path / "pairs.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in pairs), encoding="utf-8")
    assert attlas.survey(tmp_path / "pairs.tsv", progress=False) == found
    assert set(found.heads()["kind"]) == {"encoder", "decoder", "cross"}
    assert attlas.survey.merge(attlas.survey.batch(column="en", target="fr")(columns)) == found


def test_what_is_no_text_is_a_failure_with_its_place_and_reason() -> None:
    texts = ["A cat.", None, 3.5, " ", "n\0l", "a b " * 400, "\ud800", b"bytes", ("a", "pair")]
    found = attlas.survey(texts, MODEL, longest=500, progress=False)
    assert found.n_texts == 1 and found.n_failures == len(found.failures) == 8
    reasons = {row["number"]: row["reason"] for row in found.failures.rows()}
    assert reasons[1] == "is None, not a text"
    assert reasons[2] == "is of type float, not a text"
    assert reasons[4] == "has a NUL character, which no text has"
    assert reasons[5].startswith("has ") and "tokens, and texts of up to" in reasons[5]
    assert reasons[6] == "is not Unicode: it has half of a surrogate pair"
    assert reasons[7] == "is of type bytes, not a text" and reasons[8] == "is of type tuple, not a text"
    assert reasons[3] == "is blank: there is nothing but white space"
    with pytest.raises(attlas.Error, match="there is no text to survey: the first that was given is None, not a text"):
        attlas.survey([None], MODEL)
    with pytest.raises(attlas.Error, match="there is no text to survey: none was given"):
        attlas.survey([], MODEL)


def test_failures_of_batches_are_told_by_their_text_and_merge_in_any_order() -> None:
    batch = attlas.survey.batch(MODEL, longest=500)
    parts = [["A cat.", None], ["a b " * 400, "A dog."], [None]]
    states = [batch(part)[0] for part in parts]
    merged = attlas.survey.merge(states)
    assert merged.to_bytes() == attlas.survey.merge(reversed(states)).to_bytes()
    assert merged.n_failures == 3 and list(merged.failures["number"]) == [-1, -1, -1]
    assert [text and text[:7] for text in merged.failures["text"]] == ["a b a b", None, None]


def test_a_state_that_is_merged_twice_is_said_to_count_twice(batch: Any) -> None:
    one, other = batch(["A cat.", "A dog."])[0], batch(["A bird."])[0]
    with pytest.warns(UserWarning, match="state 2 is the same as state 0: its 2 texts count twice"):
        assert attlas.survey.merge([one, other, one]).n_texts == 5


def test_errors_name_what_was_given_and_what_there_is(whole: attlas.Survey, tmp_path: Path) -> None:
    with pytest.raises(attlas.Error, match="nowhere"):
        attlas.survey.batch(tmp_path / "nowhere")
    with pytest.raises(attlas.MissingError, match="there is no column 'words'; the columns are 'text', 'id'"):
        attlas.survey({"text": TEXTS, "id": TEXTS}, MODEL, column="words")
    with pytest.raises(attlas.FileError, match="'The cat sat.': there is no such file, and none that matches"):
        attlas.survey("The cat sat.", MODEL)
    for nothing in (None, 3):
        with pytest.raises(attlas.Error, match="texts, rows, a table or files were expected, not what is of type"):
            attlas.survey(nothing, MODEL)
    with pytest.raises(attlas.Error, match="longest is 0; a number from 1 to 1000000"):
        attlas.survey(TEXTS, MODEL, longest=0)
    with pytest.raises(attlas.Error, match="vit reads no texts, and a corpus is made of texts"):
        attlas.survey([("a", "b")], MODEL.parents[1] / "families" / "vit", progress=False)
    other = attlas.survey(TEXTS[:1], MODEL, longest=99, progress=False)
    with pytest.raises(attlas.Error, match="is of texts of up to 99 tokens, not of texts of up to 4096 tokens as"):
        attlas.survey.merge([whole, other])
    embedded = attlas.survey([("A cat.", "Un chat.")], progress=False)
    with pytest.raises(attlas.Error, match="is of another model: .*, not stories260K as"):
        _ = whole + embedded
    with pytest.raises(attlas.Error, match="there is no survey to merge"):
        attlas.survey.merge([])
    for what in (3, [3]):
        with pytest.raises(attlas.FileError, match="a path or a pattern was expected, not 3"):
            attlas.survey.load(what)  # type: ignore[arg-type]
    with pytest.raises(attlas.FormatError, match="state 0: is not a survey"):
        attlas.survey.merge([b"nothing"])
    with pytest.raises(attlas.Error, match="a survey is saved as .parquet"):
        whole.save(tmp_path / "a.xlsx")
    with pytest.raises(TypeError):
        _ = whole + 1  # type: ignore[operator]


def test_a_lazy_table_of_polars_is_a_table() -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    table = polars.DataFrame({"text": TEXTS})
    assert attlas.survey(table.lazy(), MODEL, progress=False) == attlas.survey(TEXTS, MODEL, progress=False)


def test_a_model_with_other_files_on_a_worker_is_refused(batch: Any) -> None:
    stale = type(batch)(**{**{name: getattr(batch, name) for name in batch.__dataclass_fields__}, "sha256": "0" * 64})
    with pytest.raises(attlas.Error, match=r"has other files here \(SHA-256 [0-9a-f]{64}\) than where the survey was set up"):
        stale(TEXTS[:1])


def test_ctrl_c_stops_a_survey_within_a_batch() -> None:
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        attlas.survey(TEXTS * 10_000, MODEL, progress=False)


def test_the_line_on_standard_error_says_how_far_and_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    from attlas._survey import _Progress

    with _Progress(True) as line:
        line._began -= 60.0
        line.counting(2048, 10_000)(452)
        line.counting(2048, 10_000)(453)
    with _Progress(True) as line:
        line._began -= 60.0
        line.counting(0, None)(1200)
    assert capsys.readouterr().err == "attlas: 2,500 texts, 25 %, 3 min left\nattlas: 1,200 texts, 20 a second\n"


def test_a_batch_takes_and_gives_what_engines_hand_over(batch: Any, whole: attlas.Survey) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table = pyarrow.table({"text": TEXTS})
    state = batch(table)
    assert isinstance(state, pyarrow.Table) and state.schema == pyarrow.schema([("state", pyarrow.binary())])
    assert attlas.survey.merge(state) == whole
    partition = batch(iter(table.to_batches(max_chunksize=10)))
    assert isinstance(partition, Iterator)
    [one] = partition
    assert isinstance(one, pyarrow.RecordBatch) and attlas.survey.merge(one) == whole
    assert list(batch(iter([]))) == []
    assert attlas.survey.merge(batch({"text": np.array(TEXTS, object)}, 1)) == whole
    rows = [{"state": one} for one in (batch(TEXTS[:7])[0], None, bytearray(batch(TEXTS[7:])[0]))]  # as Ray and Spark have them
    assert attlas.survey.merge(rows) == attlas.survey.merge(iter(rows)) == whole
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = batch(pandas.DataFrame({"text": TEXTS}))
    assert list(frame.columns) == ["state"] and attlas.survey.merge(frame) == whole


def test_worker_processes_give_the_bytes_of_one(batch: Any, whole: attlas.Survey) -> None:
    parts = [TEXTS[start : start + 6] for start in range(0, 24, 6)]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        states = list(pool.map(batch, parts))
    assert attlas.survey.merge(states).to_bytes() == whole.to_bytes()


def killed_once(batch: Any, marker: str, column: str) -> Any:
    """The batch, on a worker that is killed in the middle of its first one."""

    def measure(texts: dict[str, Any]) -> dict[str, list[bytes]]:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return dict(batch(texts))
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGKILL)).start()
        while True:
            batch(texts)

    return measure


def test_hugging_face_datasets_map_it_over_processes(batch: Any, whole: attlas.Survey, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    from datasets.fingerprint import Hasher

    assert Hasher.hash(batch) == Hasher.hash(attlas.survey.batch(MODEL)) != Hasher.hash(attlas.survey.batch(MODEL, longest=9))
    data = datasets.Dataset.from_dict({"text": TEXTS, "id": list(range(24))})
    how = {"batched": True, "batch_size": 4, "remove_columns": data.column_names}
    for more in ({}, {"num_proc": 2}, {"num_proc": 2, "with_rank": True}):
        states = data.map(batch, **how, **more)
        assert attlas.survey.merge(states).to_bytes() == whole.to_bytes(), more
    states = data.to_iterable_dataset(num_shards=3).map(batch, **how)
    assert attlas.survey.merge(states).to_bytes() == whole.to_bytes()
    for source in (data, data.to_iterable_dataset(), data.to_iterable_dataset(num_shards=3)):
        assert attlas.survey(source, MODEL, progress=False).to_bytes() == whole.to_bytes()
    with pytest.raises(attlas.Error, match="a DatasetDict holds several data sets; give one of them: 'train', 'test'"):
        attlas.survey(datasets.DatasetDict(train=data, test=data), MODEL)
    with pytest.raises(attlas.MissingError, match="there is no column 'body'; the columns are 'text', 'id'"):
        attlas.survey(data, MODEL, column="body")
    # a worker that is killed ends the map; the same map again is whole
    dying = killed_once(batch, str(tmp_path / "killed"), "text")
    with pytest.raises(RuntimeError, match="abruptly died"):
        data.map(dying, **how, num_proc=2, new_fingerprint="dying")
    states = data.map(dying, **how, num_proc=2, new_fingerprint="dying")
    assert attlas.survey.merge(states).to_bytes() == whole.to_bytes()


def start(ray: Any) -> None:
    """Starts Ray on two cores; it gives itself 30 seconds, which a busy machine may exceed."""
    for is_last in (False, False, True):
        try:
            ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False, logging_level="ERROR")
            return
        except Exception as error:
            if is_last or "timed out during startup" not in str(error):
                raise
            ray.shutdown()


def test_ray_data_maps_it_also_where_a_worker_is_killed(batch: Any, whole: attlas.Survey, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed")
    pytest.importorskip("ray.data", reason="ray[data] is not installed")
    start(ray)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        data = ray.data.from_items([{"text": text} for text in TEXTS], override_num_blocks=6)
        states = data.map_batches(batch, batch_size=4)
        assert attlas.survey.merge(states).to_bytes() == whole.to_bytes()
        dying = killed_once(batch, str(tmp_path / "killed"), "text")
        states = data.map_batches(dying, batch_size=4)
        assert attlas.survey.merge(states).to_bytes() == whole.to_bytes()
        assert (tmp_path / "killed").exists()
        states.write_parquet(str(tmp_path / "states"))
        assert attlas.survey.load(str(tmp_path / "states" / "*.parquet")) == whole
    finally:
        ray.shutdown()
