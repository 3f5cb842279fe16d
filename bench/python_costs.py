#!/usr/bin/env python3
"""What the Python package costs: importing it, a translation from a fresh interpreter, the wheel, and how long a call keeps others waiting.

    tools/wheel && pip install target/wheels/attlas-*.whl      # the package, compiled for speed
    python bench/python_costs.py                               # 21 rounds; --rounds N

A round starts each of the interpreters below once, in turn, so that what else the machine does meets all of them alike; a cost is the
median over the rounds of the time of the whole process (processor time of all its threads, and elapsed), less that of the interpreter
beside it in the same round. Python's compiled files are used, and made in a round that is not counted. Needs attlas and NumPy.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

NAMES = "attlas.open, attlas.record, attlas.from_attentions, attlas.Recording, attlas.Error"
PROGRAMS = {
    "python": "pass",
    "numpy": "import numpy",
    "numpy and attlas": "import numpy, attlas",
    "numpy and names of attlas": f"import numpy, attlas; {NAMES}",
    "attlas": "import attlas",
    "translation": "import attlas; print(attlas.record('The cat sat on the mat.').generated[0])",
    "translation, an array": "import attlas; attlas.record('The cat sat on the mat.')['cross', 'L2H4'].weights()",
}
GOALS = [
    ("import attlas, beyond NumPy", "numpy and attlas", "numpy"),
    ("import attlas and its usual names, beyond NumPy", "numpy and names of attlas", "numpy"),
    ("import attlas, beyond Python", "attlas", "python"),
    ("translation, from a fresh interpreter", "translation", None),
    ("translation, beyond Python", "translation", "python"),
    ("translation and a NumPy array, from a fresh interpreter", "translation, an array", None),
]


def spent(code: str) -> tuple[float, float]:
    """Seconds of processor time and elapsed, of a fresh interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    elapsed = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{code!r} ends with {child.returncode}")
    return usage.ru_utime + usage.ru_stime, elapsed


def interpreters(n_rounds: int) -> None:
    rounds = [{name: spent(code) for name, code in PROGRAMS.items()} for _ in range(n_rounds + 1)][1:]
    print(f"median of {n_rounds} rounds              processor   elapsed, ms")
    for says, name, without in GOALS:
        sides = []
        for side in (0, 1):
            differences = [one[name][side] - (one[without][side] if without else 0.0) for one in rounds]
            sides.append(1e3 * statistics.median(differences))
        print(f"  {says:<57}{sides[0]:7.1f}   {sides[1]:7.1f}")


def wheels() -> None:
    found = sorted((Path(__file__).parents[1] / "target" / "wheels").glob("*.whl"))
    for wheel in found:
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
    if not found:
        print("no wheel in target/wheels: tools/wheel builds it")


def longest_pause(work) -> tuple[float, float]:
    """Seconds that `work` takes, and the longest time meanwhile in which another Python thread did not run."""
    pauses, is_done, has_started = [0.0], threading.Event(), threading.Event()

    def tick() -> None:
        last = time.perf_counter()
        has_started.set()
        while not is_done.is_set():
            time.sleep(0.0005)
            now = time.perf_counter()
            pauses.append(now - last)
            last = now

    thread = threading.Thread(target=tick)
    thread.start()
    has_started.wait()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    is_done.set()
    thread.join()
    return seconds, max(pauses)


def pauses(n_rounds: int) -> None:
    import attlas
    import numpy as np

    dense = np.full((1, 2, 3000, 3000), 1 / 3000, np.float32)
    rec = attlas.from_attentions(dense, kind="encoder")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.safetensors"
        calls = {
            "rec.save": lambda: rec.save(path),
            "attlas.open": lambda: attlas.open(path),
            "map.weights": rec.map("encoder", 0, 0).weights,
            "rec.heads": rec.heads,
            "rec.to_html": rec.to_html,
            "figure.to_png": lambda: rec.map("encoder", 0, 0).figure().to_png(),
            "attlas.from_attentions": lambda: attlas.from_attentions(dense, kind="encoder"),
            "attlas.record": lambda: attlas.record(["The old man reads a book about the sea."] * 8, max_tokens=40),
        }
        print(f"2 heads, 3000 tokens; median of {n_rounds}     a call, others wait at most, ms")
        for name, call in calls.items():
            found = [longest_pause(call) for _ in range(n_rounds)]
            seconds, pause = (1e3 * statistics.median(side) for side in zip(*found))
            print(f"  {name:<40}{seconds:9.1f}   {pause:7.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--pauses", type=int, default=5, help="rounds of the calls; 0 leaves them out")
    args = parser.parse_args()
    interpreters(args.rounds)
    wheels()
    if args.pauses:
        pauses(args.pauses)


if __name__ == "__main__":
    main()
