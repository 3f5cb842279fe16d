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


def longest_pause(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that ``work`` takes, and the longest time in which another thread could not run meanwhile."""
    pauses, done = [0.0], threading.Event()
    started = threading.Event()

    def tick() -> None:
        last = time.perf_counter()
        started.set()
        while not done.is_set():
            time.sleep(0.0005)
            now = time.perf_counter()
            pauses.append(now - last)
            last = now

    thread = threading.Thread(target=tick)
    thread.start()
    started.wait()
    begin = time.perf_counter()
    work()
    seconds = time.perf_counter() - begin
    done.set()
    thread.join()
    return seconds, max(pauses)


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
    seconds, pause = min((longest_pause(work[name]) for _ in range(3)), key=lambda found: found[1] / found[0])
    assert pause < 0.02 or pause < 0.5 * seconds, f"{name} took {seconds:.3f} s, and for {pause:.3f} s nothing else ran"


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
import _thread, sys, threading, time, attlas
threading.Timer(1.5, _thread.interrupt_main).start()
begin = time.perf_counter()
model = attlas.Model()
try:
    while True:
        model.record([{text!r}] * 200, max_tokens=200)
except KeyboardInterrupt:
    seconds = time.perf_counter() - begin
    print("stopped", seconds < 15)
    print(attlas.record("The cat sat.").generated)
"""


def test_ctrl_c_stops_a_run_and_leaves_everything_usable() -> None:
    code = INTERRUPTED.format(text=TEXT * 3)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.startswith("stopped True\n('Le chat"), done.stdout + done.stderr
