"""The notebooks of the documentation run from top to bottom."""

from __future__ import annotations

import base64
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[3] / "docs" / "notebooks").glob("*.ipynb"))
KNOWN = ("torch", "transformers", "pandas", "matplotlib")


def read(file: Path) -> Any:
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    return nbformat.read(file, as_version=4)


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 5


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_kept_without_its_outputs(file: Path) -> None:
    for cell in read(file).cells:
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_of_the_documentation_runs(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    notebook = read(file)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    for module in KNOWN:
        asked = f"import {module}" in code or f"from {module}" in code or f"to_{module}" in code
        if asked and importlib.util.find_spec(module) is None:
            pytest.skip(f"{file.name} needs {module}, which is not installed")
    for variable in ("IPYTHONDIR", "HF_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    nbclient.NotebookClient(notebook, timeout=300, startup_timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    last = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in last for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs) or file.stem.endswith("survey")
    keep(notebook, file)


def keep(notebook: Any, file: Path) -> None:
    """Keeps the notebook with its outputs, for looking at, where $ATTLAS_SCREENSHOTS names a folder."""
    folder = os.environ.get("ATTLAS_SCREENSHOTS")
    if not folder:
        return
    import nbformat

    nbformat.write(notebook, Path(folder) / file.name)
    pictures = [output["data"]["image/png"] for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    for number, picture in enumerate(pictures):
        (Path(folder) / f"{file.stem}-{number}.png").write_bytes(base64.b64decode(picture))
