"""Calls that take time let other Python threads run, and stop at Ctrl-C."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import attlas


def others_ran(work: Callable[[], object]) -> bool:
    """Whether another Python thread ran while ``work`` did, in an interpreter that takes the lock from nobody who keeps it."""
    n_turns, is_done, has_started = 0, threading.Event(), threading.Event()

    def count() -> None:
        nonlocal n_turns
        while not is_done.is_set():
            n_turns += 1
            has_started.set()
            time.sleep(0)  # offers the lock

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    thread = threading.Thread(target=count)
    thread.start()
    has_started.wait()
    try:
        before = n_turns
        work()
        return n_turns > before
    finally:
        is_done.set()
        thread.join()
        sys.setswitchinterval(interval)


TEXT = "The old man who lives next door reads a book about the sea and the sky in his garden every evening. "


@pytest.mark.parametrize(
    "name",
    ["open", "weights", "words", "column", "checks", "heads", "to_bytes", "save", "digest", "to_html", "png", "record", "arrays"],
)
def test_a_call_that_takes_time_lets_go_of_the_interpreter(name: str, long_file: Path, tmp_path: Path) -> None:
    rec = attlas.open(long_file)
    m = rec.map("decoder", 0, 0)
    dense = np.full((2, 3000, 3000), 1 / 3000, np.float32)
    work: dict[str, Callable[[], object]] = {
        "open": lambda: attlas.open(long_file),
        "weights": m.weights,
        "words": m.words().weights,
        "column": lambda: m.column(5),
        "checks": rec.checks,
        "heads": lambda: rec._native.heads(None),
        "to_bytes": rec.to_bytes,
        "save": lambda: rec.save(tmp_path / "x.safetensors"),
        "digest": lambda: hash(attlas.open(long_file)),
        "to_html": rec.to_html,
        "png": lambda: m.figure().to_png(),
        "record": lambda: attlas.record([TEXT * 2] * 4, max_tokens=40),
        "arrays": lambda: attlas.from_attentions(dense, kind="encoder"),
    }
    assert any(others_ran(work[name]) for _ in range(20)), f"{name} keeps the interpreter to itself"


def test_a_call_that_keeps_the_interpreter_would_be_noticed() -> None:
    assert not others_ran(lambda: sorted(range(1_000_000)))


def test_several_threads_ask_one_recording(long_file: Path) -> None:
    m = attlas.open(long_file).map("decoder", 0, 0)
    expected = m.row(1234)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(m.row(1234))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and all(np.array_equal(row, expected) for row in found)  # type: ignore[arg-type]


INTERRUPTED = """
import _thread, threading, attlas
threading.Timer(1.5, _thread.interrupt_main).start()
model = attlas.Model()
try:
    while True:
        model.record([{text!r}] * 200, max_tokens=200)
except KeyboardInterrupt:
    print(attlas.record("The cat sat.").generated[0])
"""


def test_ctrl_c_stops_a_run_and_leaves_everything_usable() -> None:
    code = INTERRUPTED.format(text=TEXT * 3)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "Le chat s'assit.\n", done.stdout + done.stderr
