"""Notebooks in real servers and a real browser: JupyterLab, Notebook and marimo in headless Chromium.

Each test leaves itself out, with a reason, where its server or Chromium is missing. All in an environment that has attlas::

    pip install jupyterlab notebook marimo anywidget nbclient
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import chromium
import pytest

import attlas

WAIT = 90  # seconds that a page may take

# a page of attlas is drawn when its panel is no longer busy
DRAWN = """(() => { const panel = document.querySelector('#panel[aria-busy=false]');
  return panel === null ? null : { canvases: document.querySelectorAll('canvas').length, head: document.querySelector('.head-title').textContent,
    compact: document.documentElement.classList.contains('compact') }; })()"""
# pictures of the notebook itself, that a browser has decoded
PICTURES = "[...document.images].filter(e => e.src.startsWith('data:image/') && e.naturalWidth > 50).length"

# a notebook that is told to run before its kernel is there asks which one it shall have
KERNEL_IS_IDLE = """!!document.querySelector('.jp-CodeCell') && globalThis.jupyterapp?.commands.hasCommand('notebook:run-all-cells')
  && [...jupyterapp.shell.widgets('main')].some(panel => panel.sessionContext?.session?.kernel?.status === 'idle')"""

MAKE = """import attlas
rec = attlas.record("The cat sat on the mat.")
rec"""
SHOW = 'attlas.show(rec, "encoder", "L1H2", height=420)'
MAP = 'rec.map("cross", "L2H4")'
WIDGET = """import json, pathlib
from attlas.widget import View
view = View(rec, "cross", "L2H4", height=None)
def chosen(change):
    pathlib.Path("chosen.json").write_text(json.dumps(change["new"]))
    if change["new"]["kind"] == "decoder":
        view.select("encoder", "L2H5", query=1, key=2)
view.observe(chosen, "selection")
view"""


def need(*modules: str) -> None:
    """Leaves the test out where a module, or Chromium, is missing."""
    for module in (*modules, "nbformat", "nbclient"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    if chromium.path() is None:
        pytest.skip("no Chromium was found; ATTLAS_CHROMIUM may name it")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the notebooks; what Jupyter and marimo keep lies beside it, and the user's own is left alone."""
    for variable in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        folder = tmp_path / variable.lower()
        folder.mkdir()
        monkeypatch.setenv(variable, str(folder))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "notebooks").mkdir()
    return tmp_path / "notebooks"


def write_notebook(file: Path, cells: list[str], *, run: bool, trusted: bool) -> None:
    """Writes a notebook of code cells, with their outputs when `run`, signed for this user when `trusted`."""
    import nbformat
    from nbclient import NotebookClient
    from nbformat.sign import NotebookNotary

    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata=kernel)
    if run:
        NotebookClient(notebook, timeout=WAIT, kernel_name="python3", resources={"metadata": {"path": str(file.parent)}}).execute()
    nbformat.write(notebook, file)
    if trusted:
        NotebookNotary().sign(nbformat.read(file, as_version=4))


@contextmanager
def server(command: list[str], folder: Path, port: int, path: str = "/") -> Iterator[str]:
    """A server of notebooks on this machine, until the end of the `with`."""
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + WAIT
        while True:
            try:
                urllib.request.urlopen(address + path, timeout=5).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < until, f"{command[0]} does not start"
                time.sleep(0.3)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def jupyter(application: str, folder: Path, policy: str | None = None) -> Iterator[str]:
    """JupyterLab (`jupyterlab`) or Notebook (`notebook`)."""
    port = free_port()
    app = {"jupyterlab": "LabApp", "notebook": "JupyterNotebookApp"}[application]
    command = [application, "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=", f"--{app}.expose_app_in_browser=True", f"--ServerApp.root_dir={folder}"]
    if application == "jupyterlab":
        command.append("--LabApp.news_url=None")
        command.append("--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate")
    if policy is not None:
        command.append("--ServerApp.tornado_settings=" + json.dumps({"headers": {"Content-Security-Policy": policy}}))
    with server(command, folder, port, "/api") as address:
        yield address


def drawn(browser: chromium.Chromium, n: int) -> list[dict[str, Any]]:
    """What the pages in frames show, as soon as `n` of them are drawn."""
    def look() -> list[dict[str, Any]] | None:
        frames = [frame for frame in browser.frames(DRAWN) if frame is not None]
        return frames if len(frames) >= n else None

    frames: list[dict[str, Any]] = browser.wait(look, WAIT) or []
    assert len(frames) == n, f"{len(frames)} of {n} pages are drawn; {browser.said()}"
    assert all(frame["canvases"] > 1 and frame["compact"] for frame in frames), frames
    return frames


def assert_at_home(browser: chromium.Chromium, address: str) -> None:
    """Nothing was asked of another host."""
    asked = {urlsplit(url).netloc for url in browser.asked_for() if urlsplit(url).scheme not in ("data", "blob", "about")}
    assert asked <= {urlsplit(address).netloc}


def keep(browser: chromium.Chromium, name: str) -> None:
    """Keeps a picture for looking at, where $ATTLAS_SCREENSHOTS names a folder."""
    folder = os.environ.get("ATTLAS_SCREENSHOTS")
    if folder:
        browser.screenshot(Path(folder) / f"{name}.png")


PLACES = {"jupyterlab": "/lab/tree/saved.ipynb", "notebook": "/notebooks/saved.ipynb"}


@pytest.mark.parametrize("application", PLACES)
def test_a_saved_notebook_opens_again_with_its_pages_and_pictures(application: str, home: Path) -> None:
    need(application)
    write_notebook(home / "saved.ipynb", [MAKE, SHOW, MAP], run=True, trusted=True)
    with jupyter(application, home) as address, chromium.Chromium() as browser:
        browser.open(address + PLACES[application])
        frames = drawn(browser, 2)
        assert frames[1]["head"].startswith("L1H2 encoder"), frames
        assert browser.wait(lambda: browser.evaluate(PICTURES) >= 3, WAIT), "two stills and the map"
        keep(browser, f"saved-{application}")
        assert_at_home(browser, address)


def test_a_notebook_that_is_not_trusted_shows_still_pictures(home: Path) -> None:
    need("jupyterlab")
    write_notebook(home / "saved.ipynb", [MAKE, SHOW, MAP], run=True, trusted=False)
    with jupyter("jupyterlab", home) as address, chromium.Chromium() as browser:
        browser.open(address + PLACES["jupyterlab"])
        assert browser.wait(lambda: browser.evaluate(PICTURES) >= 3, WAIT), "two stills and the map"
        time.sleep(1)
        assert browser.frames(DRAWN) == [], "no page runs"
        keep(browser, "untrusted")
        assert_at_home(browser, address)


@pytest.mark.parametrize("allowed", [True, False])
def test_under_a_strict_policy_the_page_runs_with_the_published_hash_and_is_a_still_without(allowed: bool, home: Path) -> None:
    need("jupyterlab")
    write_notebook(home / "saved.ipynb", [MAKE], run=True, trusted=True)
    policy = f"script-src 'self' 'unsafe-eval' blob: {attlas.csp_hash() if allowed else ''}"
    with jupyter("jupyterlab", home, policy) as address, chromium.Chromium() as browser:
        browser.open(address + PLACES["jupyterlab"])
        if allowed:
            drawn(browser, 1)
        else:
            assert browser.wait(lambda: any("Content Security Policy" in line for line in browser.said()), WAIT)
            assert browser.wait(lambda: browser.evaluate(PICTURES) >= 1, WAIT)
            background = browser.frames("getComputedStyle(document.body).backgroundColor")
            assert background == ["rgba(0, 0, 0, 0)"], "the still is seen through the frame"
        keep(browser, f"policy-{'allowed' if allowed else 'blocked'}")
        assert_at_home(browser, address)


@pytest.mark.parametrize("application", PLACES)
def test_the_widget_tells_python_what_is_chosen_and_shows_what_python_chooses(application: str, home: Path) -> None:
    need(application, "anywidget")
    write_notebook(home / "saved.ipynb", [MAKE.rpartition("\n")[0], WIDGET], run=False, trusted=True)
    with jupyter(application, home) as address, chromium.Chromium() as browser:
        browser.open(address + PLACES[application])
        assert browser.wait(lambda: browser.evaluate(KERNEL_IS_IDLE), WAIT), browser.said()
        browser.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
        assert_both_ways(browser, home)
        keep(browser, f"widget-{application}")
        assert_at_home(browser, address)


def assert_both_ways(browser: chromium.Chromium, folder: Path) -> None:
    """A click on the decoder's tab reaches Python, which answers with a head of the encoder."""
    assert drawn(browser, 1)[0]["head"].startswith("L2H4 cross")
    heard = folder / "chosen.json"
    assert browser.wait(heard.exists, WAIT), "what the page opens with is told"
    assert json.loads(heard.read_text())["kind"] == "cross"
    session = next(session for session in browser.sessions if browser.evaluate(DRAWN, session) is not None)
    browser.click("#tab-decoder", session)
    wanted = {"item": 0, "kind": "encoder", "layer": 2, "head": 5, "query": 1, "key": 2}
    assert browser.wait(lambda: json.loads(heard.read_text()) == wanted, WAIT), heard.read_text()
    assert browser.wait(lambda: browser.evaluate(DRAWN, session)["head"].startswith("L2H5 encoder"), WAIT)
    assert browser.wait(lambda: browser.evaluate("document.querySelector('#reading').textContent", session).startswith("cat → sat"), WAIT)


def test_marimo_shows_the_page_and_the_widget(home: Path) -> None:
    need("marimo", "anywidget")
    cell = "@app.cell\ndef _({takes}):\n    {body}\n    return {gives}\n"
    body = WIDGET.replace("\n", "\n    ").replace("(change)", "(change: dict)")
    cells = [
        cell.format(takes="", body=MAKE.replace("\n", "\n    "), gives="attlas, rec"),
        cell.format(takes="attlas, rec", body=SHOW, gives=""),
        cell.format(takes="rec", body=MAP, gives=""),
    ]
    (home / "app.py").write_text("import marimo\napp = marimo.App()\n" + "\n".join(cells) + '\nif __name__ == "__main__":\n    app.run()\n')
    (home / "live.py").write_text(
        "import marimo\napp = marimo.App()\n"
        + cell.format(takes="", body=MAKE.replace("\n", "\n    "), gives="rec,").replace("    rec\n", "")
        + cell.format(takes="rec", body=body, gives="")
        + '\nif __name__ == "__main__":\n    app.run()\n'
    )
    for name in ("app", "live"):
        port = free_port()
        with server(["marimo", "run", f"{name}.py", "--headless", "--no-token", f"--port={port}"], home, port, "/health") as address:
            with chromium.Chromium() as browser:
                browser.open(address)
                if name == "app":
                    drawn(browser, 2)
                    assert browser.wait(lambda: browser.evaluate(PICTURES) >= 1, WAIT)
                else:
                    assert_both_ways(browser, home)
                keep(browser, f"marimo-{name}")
                assert_at_home(browser, address)
