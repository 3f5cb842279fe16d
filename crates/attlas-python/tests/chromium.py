"""A headless Chromium, driven over its debugging pipe: no port, no library, JSON on two file descriptors.

Frames with an origin of their own, such as sandboxed ones, are targets of their own: each is attached to when it
appears, and `Chromium.sessions` lists them.
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import select
import shutil
import subprocess
import tempfile
import time
from typing import Any, Callable

PLACES = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/snap/bin/chromium")
SWITCHES = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe"
).split()


def path() -> str | None:
    """Where Chromium is: `$ATTLAS_CHROMIUM`, or the usual places."""
    places = [os.environ.get("ATTLAS_CHROMIUM", ""), *PLACES]
    return next((place for place in places if place and os.path.exists(place)), None)


# how long one answer may take, in seconds
PATIENCE = 30


class Chromium:
    """One browser with one page, closed at the end of a `with`."""

    def __init__(self, width: int = 1400, height: int = 1700) -> None:
        self.profile = tempfile.mkdtemp(prefix="attlas-chromium-")
        command = [path() or "chromium", *SWITCHES, f"--user-data-dir={self.profile}", "about:blank"]
        # the browser reads commands on descriptor 3 and writes answers to 4
        shell = 'exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null'
        self.process = subprocess.Popen(["sh", "-c", shell, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert self.process.stdin is not None and self.process.stdout is not None
        self._commands, self._answers = self.process.stdin, self.process.stdout
        self._buffer = b""
        self._next_id = 0
        self._replies: dict[int, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.sessions: dict[str, dict[str, Any]] = {}  # by session: what is attached to
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self.call("Target.attachToTarget", {"targetId": page["targetId"], "flatten": True})
        self.page: str = attached["sessionId"]
        self._enable(self.page)
        self.resize(width, height)

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._commands.close()
        self._answers.close()
        shutil.rmtree(self.profile, ignore_errors=True)

    def _enable(self, session: str) -> None:
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable", session=session)
        self.call("Target.setAutoAttach", {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True}, session)

    def call(self, method: str, parameters: dict[str, Any] | None = None, session: str | None = None) -> dict[str, Any]:
        """Sends one command and waits for its answer; events that come meanwhile are kept."""
        self._next_id += 1
        number = self._next_id
        command: dict[str, Any] = {"id": number, "method": method, "params": parameters or {}}
        if session is not None:
            command["sessionId"] = session
        self._commands.write(json.dumps(command).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while number not in self._replies:
            self._listen(until, method)
        reply = self._replies.pop(number)
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']}")
        result: dict[str, Any] = reply["result"]
        return result

    def _take(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if event["method"] == "Target.attachedToTarget":
            session = event["params"]["sessionId"]
            if event["params"]["targetInfo"]["type"] == "iframe":
                self.sessions[session] = event["params"]["targetInfo"]
                try:
                    self._enable(session)
                except RuntimeError:
                    self.sessions.pop(session, None)
        elif event["method"] == "Target.detachedFromTarget":
            self.sessions.pop(event["params"]["sessionId"], None)

    def _listen(self, until: float, method: str) -> None:
        while b"\0" not in self._buffer:
            if not select.select([self._answers], [], [], max(until - time.monotonic(), 0))[0]:
                raise TimeoutError(f"Chromium does not answer {method}")
            part = self._answers.read(1 << 16)
            if not part:
                raise RuntimeError("Chromium went away")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        parsed: dict[str, Any] = json.loads(message)
        if "id" in parsed:
            self._replies[parsed["id"]] = parsed
        else:
            self._take(parsed)

    def resize(self, width: int, height: int, scheme: str = "light") -> None:
        """Sets the size of the page, in CSS pixels, and how it prefers its colours."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", size, self.page)
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.call("Emulation.setEmulatedMedia", features, self.page)

    def open(self, url: str) -> None:
        """Goes to an address."""
        self.call("Page.navigate", {"url": url}, self.page)

    def evaluate(self, expression: str, session: str | None = None) -> Any:
        """The value of a JavaScript expression in the page, or in a frame; promises awaited."""
        parameters = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = self.call("Runtime.evaluate", parameters, session or self.page)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, look: Callable[[], Any], seconds: float = 60) -> Any:
        """What `look` says as soon as it is true; what it said last when time is over."""
        until = time.monotonic() + seconds
        while True:
            try:
                seen = look()
            except (RuntimeError, TimeoutError):  # no such thing yet, or a busy machine
                seen = None
            if seen or time.monotonic() > until:
                return seen
            time.sleep(0.2)

    def frames(self, expression: str) -> list[Any]:
        """The value of an expression in each frame that is a target of its own."""
        self.evaluate("1")  # so that what was under way has arrived
        return [self.evaluate(expression, session) for session in list(self.sessions)]

    def asked_for(self) -> list[str]:
        """Every address that was asked for."""
        self.evaluate("1")
        requests = (e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent")
        return list(requests)

    def said(self) -> list[str]:
        """Everything on the console, and every exception."""
        self.evaluate("1")
        said = []
        for event in self.events:
            if event["method"] == "Log.entryAdded":
                said.append(event["params"]["entry"]["text"])
            elif event["method"] == "Runtime.exceptionThrown":
                details = event["params"]["exceptionDetails"]
                said.append(details.get("exception", {}).get("description", details["text"]))
            elif event["method"] == "Runtime.consoleAPICalled":
                said.append(" ".join(str(one.get("value", one.get("description"))) for one in event["params"]["args"]))
        return said

    def click(self, selector: str, session: str | None = None) -> None:
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()", session)

    def screenshot(self, file: str | os.PathLike[str]) -> None:
        """Writes what the page looks like as PNG."""
        data = self.call("Page.captureScreenshot", {"format": "png"}, self.page)["data"]
        pathlib.Path(file).write_bytes(base64.b64decode(data))
