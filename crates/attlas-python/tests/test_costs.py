"""What `import attlas` brings with it: nothing that is not used. What that costs is measured by bench/python_costs.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import attlas

# What is large, and needed by some calls alone.
LARGE = ["numpy", "torch", "transformers", "matplotlib", "pandas", "polars", "pyarrow", "IPython", "anywidget"]
LOADED = f"[name for name in {LARGE} if name in sys.modules]"


def run(code: str) -> list[str]:
    """The lines that a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.splitlines()


def test_importing_attlas_reads_one_file_and_asking_for_a_name_those_it_needs() -> None:
    lines = run(
        "import sys, attlas\n"
        "print([name for name in sys.modules if name.startswith('attlas')])\n"
        "attlas.Error; print([name for name in sys.modules if name.startswith('attlas')])\n"
        "attlas.open, attlas.record, attlas.from_attentions, attlas.Recording, attlas.Map, attlas.Figure, attlas.show, attlas.compare\n"
        f"print({LOADED})\n"
    )
    assert lines == ["['attlas']", "['attlas', 'attlas.errors']", "[]"]


def test_recording_drawing_and_saving_need_no_numpy(tmp_path: Path) -> None:
    recording, picture = str(tmp_path / "run.safetensors"), str(tmp_path / "map.svg")
    lines = run(
        "import sys, attlas\n"
        "rec = attlas.record('The cat sat.')\n"
        f"rec.save({recording!r})\n"
        f"repr(attlas.open({recording!r}))\n"
        f"rec.figure('map', kind='cross', layer=2, head=4).save({picture!r})\n"
        f"print({LOADED})\n"
    )
    assert lines == ["[]"]


def test_numpy_is_loaded_when_the_first_array_is_asked_for() -> None:
    code = "import sys, attlas; m = attlas.record('The cat sat.')['cross', 'L2H4']"
    assert run(f"{code}; print({LOADED}); m.row(0); print({LOADED})") == ["[]", "['numpy']"]


def test_everything_has_the_name_it_says_also_after_every_part_was_imported() -> None:
    """A part called as a function is would take its place in the package when it is imported."""
    code = (
        "import importlib, pkgutil, types, attlas\n"
        "for part in pkgutil.walk_packages(attlas.__path__, 'attlas.'):\n"
        "    if part.name != 'attlas.__main__':\n"
        "        try: importlib.import_module(part.name)\n"
        "        except ModuleNotFoundError as error: print(error.name)\n"
        "print([name for name in attlas._HOMES if isinstance(getattr(attlas, name), types.ModuleType)])\n"
        "print([name for name in attlas._HOMES if getattr(attlas, name) is not\n"
        "    getattr(importlib.import_module(f'attlas.{attlas._HOMES[name]}'), name)])"
    )
    *missing, modules, others = run(code)
    assert not set(missing) - {"anywidget", "torch", "matplotlib", "traitlets"}, missing
    assert modules == others == "[]"
    assert all(callable(getattr(attlas, name)) or name == "__version__" for name in attlas.__all__)
