"""Recording files that are damaged, cut short or replaced while they are open."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import attlas
from conftest import write_recording


def test_a_file_cut_short_while_open_is_an_exception(long_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(long_file.read_bytes())
    rec = attlas.open(path)
    os.truncate(path, path.stat().st_size // 2)
    for ask in (lambda: rec.map("decoder", 0, 0).weights(), lambda: rec.lse("decoder", 0), rec.to_bytes, rec.checks):
        with pytest.raises(attlas.Error, match="cut.safetensors"):
            ask()


def test_a_file_that_is_replaced_stays_what_it_was(long_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "replaced.safetensors"
    path.write_bytes(long_file.read_bytes())
    rec = attlas.open(path)
    row = attlas.open(long_file).map("decoder", 0, 0).row(100)
    write_recording(path.with_suffix(".new"), 50)
    os.replace(path.with_suffix(".new"), path)
    assert np.array_equal(rec.map("decoder", 0, 0).row(100), row)
    assert attlas.open(path).layers[0].n_queries == 50


def test_a_file_written_to_in_place_while_open_is_an_exception(long_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "rewritten.safetensors"
    path.write_bytes(long_file.read_bytes())
    rec = attlas.open(path)
    rec.lse("decoder", 0)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 64)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000_000))
    for ask in (lambda: rec.map("decoder", 0, 0).weights(), lambda: rec.lse("decoder", 0), rec.to_bytes, rec.checks):
        with pytest.raises(attlas.Error, match=r"rewritten\.safetensors: was written to after it was opened"):
            ask()


def test_a_pickled_path_gives_the_recording_that_was_pickled_or_an_exception(tmp_path: Path) -> None:
    path = tmp_path / "pickled.safetensors"
    write_recording(path, 30)
    rec = attlas.open(path)
    pickled = pickle.dumps(rec)
    assert len(pickled) < 1000 and pickle.loads(pickled) == rec
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole)
    assert pickle.loads(pickled) == rec, "the same in a file that was copied"
    write_recording(path.with_suffix(".new"), 31)
    os.replace(path.with_suffix(".new"), path)
    with pytest.raises(attlas.FileError, match=r"pickled\.safetensors: the file is another"):
        pickle.loads(pickled)


def test_a_recording_whose_file_was_replaced_is_pickled_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "replaced.safetensors"
    write_recording(path, 30)
    rec = attlas.open(path)
    write_recording(path.with_suffix(".new"), 31)
    os.replace(path.with_suffix(".new"), path)
    assert pickle.loads(pickle.dumps(rec)).layers[0].n_queries == 30


def test_every_cut_of_a_file_is_a_sentence(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    path = tmp_path / "cut.safetensors"
    for length in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(attlas.Error, match="cut.safetensors"):
            attlas.open(path)
        with pytest.raises(attlas.Error):
            attlas.Recording.from_bytes(whole[:length])


def test_a_recording_in_16_bits_is_float16(tmp_path: Path) -> None:
    write_recording(tmp_path / "half.safetensors", 40, dtype="F16")
    rec = attlas.open(tmp_path / "half.safetensors")
    assert rec.queries("decoder", 0).dtype == np.float16
    assert np.allclose(rec.map("decoder", 0, 0).weights().sum(1), 1, atol=1e-5)


def test_a_full_disk_is_an_os_error(rec: attlas.Recording) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    with pytest.raises(OSError):
        rec.save("/dev/full")


def test_a_failed_save_leaves_the_old_file(rec: attlas.Recording, tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, attlas; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "rec = attlas.record('The cat sat.')\n"
        "try: rec.save(sys.argv[1])\n"
        "except attlas.FileError as error: print(error)"
    )
    path = tmp_path / "old.safetensors"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60, check=False)
    assert "old.safetensors: could not be written" in done.stdout, done.stderr
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["old.safetensors"]
