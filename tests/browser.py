"""A page in a real browser, Debian's Chromium, driven over its own DevTools pipe: no driver, no package, no port.

https://chromedevtools.github.io/devtools-protocol: JSON messages, each ended by a zero byte, on descriptors 3 and 4.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",  # tests may run as root, where Chromium refuses its sandbox; the pages are our own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
PATIENCE = 120.0  # seconds for one answer: machines of continuous integration are slow and shared
needed = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser here: {CHROMIUM} (Debian's package chromium)")


class Browser:
    """One tab. `problems`: errors and warnings on the console; `requests`: addresses that pages asked for."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._buffer, self._last = to, back, b"", 0
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._loaded = False
        self._session: str | None = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def open(self, page: Path, width: int = 1300, fragment: str = "", dark: bool = False) -> None:
        """Load a page in a window of a width in CSS pixels and wait until its scripts have run."""
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        # by way of an empty page: a new fragment alone would not load this one again
        for address in ("about:blank", page.resolve().as_uri() + fragment):
            self._loaded = False
            self._ask("Page.navigate", url=address)
            deadline = time.monotonic() + PATIENCE
            while not self._loaded:
                self._hear(deadline)
        self.run("new Promise(done => setTimeout(done, 0))")

    def run(self, code: str) -> Any:
        """Return the value of a JavaScript expression; a promise's is awaited."""
        answer = self._ask("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{code}: {answer['exceptionDetails']['exception'].get('description')}")
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """Click in the middle of the first element that a selector finds, as a mouse does, and wait for its effect."""
        where = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'}); const r = e.getBoundingClientRect();"
            "return [r.left + r.width / 2, r.top + r.height / 2]; })()"
        )
        at = {"x": where[0], "y": where[1], "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, **at)
        self.run(
            "new Promise(done => setTimeout(done, 100))"
        )  # what it set off may come by a timer, as DataTables' sorting

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """Write what is seen as PNG."""
        data = self._ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            heard = self._hear(deadline)
            if heard.get("id") == self._last:
                if "error" in heard:
                    raise AssertionError(f"{method}: {heard['error']}")
                return heard["result"]

    def _hear(self, deadline: float) -> dict[str, Any]:
        """Read one message, and note what it tells."""
        while b"\0" not in self._buffer:
            if not select.select([self._back], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError("the browser does not answer")
            if not (data := os.read(self._back, 1 << 20)):
                raise AssertionError("the browser has ended")
            self._buffer += data
        message, self._buffer = self._buffer.split(b"\0", 1)
        heard = json.loads(message)
        given = heard.get("params", {})
        match heard.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requests.append(given["request"]["url"])
            case "Log.entryAdded":
                self.problems.append(given["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.problems.append(given["exceptionDetails"]["exception"].get("description", "exception"))
            case "Runtime.consoleAPICalled" if given["type"] in ("error", "warning", "assert"):
                self.problems.append(json.dumps(given["args"]))
        return heard


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a Chromium with an empty profile of its own; end it afterwards."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    folder = tempfile.mkdtemp(prefix="chromium-")
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    ends = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'  # where Chromium looks for its pipe
    process = subprocess.Popen(
        ["bash", "-c", ends, "bash", *command],
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_out, ours_in)
    finally:
        os.close(ours_out)
        os.close(ours_in)
        process.terminate()  # it ends on its own as well: its pipe is closed
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)
