"""The types that are written are those that hold: mypy over the package and its tests, stubtest over the native module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy is not installed")
HERE = Path(__file__).parent.parent


def run(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", *words], cwd=HERE, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_finds_nothing_in_package_examples_and_tests() -> None:
    folders = [folder for folder in ("python/attlas", "examples", "tests") if (HERE / folder).exists()]
    run("mypy", "--strict", *folders)


def test_the_stubs_of_the_native_module_are_what_it_has() -> None:
    run("mypy.stubtest", "attlas._attlas")
