"""What a person pays for `import attlas`."""

from __future__ import annotations

import subprocess
import sys


def test_importing_costs_little_beyond_numpy_and_loads_nothing_that_is_not_used() -> None:
    code = (
        "import time, sys, numpy\n"
        "before = time.process_time()\n"
        "import attlas; attlas.open, attlas.record, attlas.from_attentions, attlas.Error\n"
        "print(time.process_time() - before, [name for name in ('torch', 'matplotlib', 'pandas', 'IPython') if name in sys.modules])"
    )
    costs = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        seconds, loaded = done.stdout.split(" ", 1)
        assert loaded.strip() == "[]"
        costs.append(float(seconds))
    assert min(costs) < 0.02, costs


def test_numpy_is_loaded_when_the_first_array_is_asked_for() -> None:
    code = "import sys, attlas; rec = attlas.record('The cat sat.'); print('numpy' in sys.modules); rec['cross', 'L2H4'].row(0); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "True"]
