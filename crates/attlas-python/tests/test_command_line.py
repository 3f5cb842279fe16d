"""`python -m attlas` and the script `attlas` are the command line."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import attlas

COMMANDS = [[sys.executable, "-m", "attlas"]]
SCRIPT = shutil.which("attlas", path=str(Path(sys.executable).parent))
if SCRIPT:
    COMMANDS.append([SCRIPT])


def run(command: list[str], *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *words], capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_works_and_its_exit_code_comes_through(command: list[str], tmp_path: Path) -> None:
    done = run(command, "record", "The cat sat.", "-o", str(tmp_path / "run.safetensors"))
    assert done.returncode == 0 and done.stdout.startswith("Le chat"), done.stderr
    assert attlas.open(tmp_path / "run.safetensors").kinds == ("encoder", "decoder", "cross")
    assert run(command, "--version").stdout == f"attlas {attlas.__version__}\n"
    wrong = run(command, "draw", "map", "x", "--kind", "sideways", "-o", "x.svg")
    assert wrong.returncode == 2 and wrong.stderr.startswith("attlas: ")
    missing = run(command, "info", str(tmp_path / "nowhere.safetensors"))
    assert missing.returncode == 3


def test_whoever_reads_half_of_the_output_is_no_failure(tmp_path: Path) -> None:
    process = subprocess.Popen([*COMMANDS[0], "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == b""


def test_ctrl_c_ends_the_command_at_once(tmp_path: Path) -> None:
    pairs = tmp_path / "lines.txt"
    pairs.write_text("The old man who lives next door reads a book about the sea.\n" * 3000)
    process = subprocess.Popen(
        [*COMMANDS[0], "survey", str(pairs), "-o", str(tmp_path / "x.parquet")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    code = process.wait(30)
    assert code in (-signal.SIGINT, 130), process.communicate()
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]
