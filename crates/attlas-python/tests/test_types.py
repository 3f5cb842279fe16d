"""The types that are written are those that hold: mypy over the package and its tests, stubtest over the native module."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy is not installed")
HERE = Path(__file__).parent.parent

# What the package and its tests derive classes from; where one is not installed, it is `Any` to mypy.
BASES = ("anywidget", "torch")


def run(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", *words], cwd=HERE, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_finds_nothing_in_package_examples_and_tests() -> None:
    has_bases = all(importlib.util.find_spec(base) is not None for base in BASES)
    looser = [] if has_bases else ["--allow-subclassing-any", "--allow-untyped-decorators"]
    run("mypy", "--strict", *looser, "python/attlas", "examples", "tests")


def test_what_a_recording_is_asked_for_has_its_type(tmp_path: Path) -> None:
    asked = {
        'rec["cross"]': "tuple[attlas.Layer, ...]",
        'rec["cross", 2]': "attlas.Layer",
        'rec["cross", 2, 4]': "attlas.Map",
        'rec["cross", "L2", "mean"]': "attlas.Map",
        'rec["cross", "L2H4"]': "attlas.Layer | attlas.Map",
        'rec["L2H4"]': "tuple[attlas.Layer, ...] | attlas.Layer | attlas.Map",
    }
    lines = [f"assert_type({expression}, {type_of})" for expression, type_of in asked.items()]
    typed = tmp_path / "typed.py"
    typed.write_text("\n".join(["import attlas", "from typing_extensions import assert_type", "rec: attlas.Recording = attlas.record('a')", *lines]))
    run("mypy", "--strict", str(typed))


def test_the_stubs_of_the_native_module_are_what_it_has(tmp_path: Path) -> None:
    settings = tmp_path / "mypy.ini"  # the package around imports PyTorch for its types, which take five times as long to read
    settings.write_text("[mypy]\nmypy_path = python\n[mypy-attlas]\nfollow_imports = skip\n")
    run("mypy.stubtest", "--mypy-config-file", str(settings), "attlas._attlas")
