"""Headless Chromium over its debugging pipe: opens pages, asks them things, takes pictures. No driver is needed.

The protocol is Chrome's DevTools protocol (https://chromedevtools.github.io/devtools-protocol/): JSON messages that
end with a null byte, written to file descriptor 3 and read from 4.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from select import select
from types import TracebackType

__all__ = ["AXE", "Browser", "Page", "axe_source"]

AXE = "axe-core@4.10.3"


def axe_source(folder: Path) -> str:
    """The script of axe-core, from npm."""
    npm = shutil.which("npm")
    assert npm is not None, "requires('npm') let this through"
    subprocess.run([npm, "pack", "--silent", AXE], cwd=folder, check=True, capture_output=True, timeout=120)
    [archive] = folder.glob("*.tgz")
    with tarfile.open(archive) as packed:
        member = packed.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-default-browser-check",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--hide-scrollbars", "--mute-audio", "--force-color-profile=srgb", "--remote-debugging-pipe",
)  # fmt: skip


class Browser:
    """One Chromium process with a profile of its own."""

    def __init__(self) -> None:
        names = ("chromium", "chromium-browser", "google-chrome")
        found = next((path for name in names if (path := shutil.which(name))), None)
        if found is None:
            raise FileNotFoundError("no chromium on PATH")
        self._profile = tempfile.mkdtemp(prefix="chaoskit-chromium-")
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        high_in, high_out = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in (theirs_in, theirs_out))
        nothing = os.open(os.devnull, os.O_RDWR)
        # 3 and 4 are where Chromium looks: whatever lies there in us is replaced in the child only.
        actions = [(os.POSIX_SPAWN_DUP2, fd, place) for place, fd in ((3, high_in), (4, high_out))]
        actions += [(os.POSIX_SPAWN_DUP2, nothing, place) for place in (0, 1, 2)]
        command = [found, *FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        self._pid = os.posix_spawn(found, command, os.environ, file_actions=actions, setpgroup=0)
        for fd in (theirs_in, theirs_out, high_in, high_out, nothing):
            os.close(fd)
        self._buffer = b""
        self._number = 0
        self.events: list[dict] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._out)
        until = time.monotonic() + 5
        while os.waitpid(self._pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > until:
                os.killpg(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
                break
            time.sleep(0.05)
        os.close(self._in)
        shutil.rmtree(self._profile, ignore_errors=True)

    def send(self, method: str, params: dict | None = None, session: str | None = None, timeout: float = 30.0) -> dict:
        """Send one command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params or {}}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + timeout
        while True:
            answer = self._next(until)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def _next(self, until: float) -> dict:
        while b"\0" not in self._buffer:
            if not select([self._in], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError("Chromium does not answer")
            part = os.read(self._in, 1 << 20)
            if not part:
                raise EOFError("Chromium ended")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def listen(self, seconds: float) -> None:
        """Take in events for a while."""
        until = time.monotonic() + seconds
        while True:
            try:
                self.events.append(self._next(until))
            except TimeoutError:
                return

    def page(
        self, *, width: int = 1280, height: int = 900, dark: bool = False, scale: float = 1.0, script: bool = True,
        touch: bool = False,
    ) -> Page:  # fmt: skip
        """A fresh page of a size in CSS pixels."""
        target = self.send("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.send("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = Page(self, session, target)
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            page.send(f"{domain}.enable")
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        page.send("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        page.send("Emulation.setEmulatedMedia", {"features": scheme})
        if touch:
            page.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
        if not script:
            page.send("Emulation.setScriptExecutionDisabled", {"value": True})
        return page


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self.browser = browser
        self.session = session
        self.target = target

    def send(self, method: str, params: dict | None = None, timeout: float = 30.0) -> dict:
        return self.browser.send(method, params, self.session, timeout)

    def open(self, url: str | Path) -> float:
        """Load a page and return the seconds until it was loaded."""
        address = url.resolve().as_uri() if isinstance(url, Path) else url
        before = time.monotonic()
        self.browser.events.clear()
        self.send("Page.navigate", {"url": address})
        until = before + 30
        while not any(
            event.get("method") == "Page.loadEventFired" and event.get("sessionId") == self.session
            for event in self.browser.events
        ):
            self.browser.events.append(self.browser._next(until))
        took = time.monotonic() - before
        self.browser.listen(0.2)
        return took

    def ask(self, expression: str, timeout: float = 30.0) -> object:
        """The value of an expression in the page (awaited)."""
        params = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        found = self.send("Runtime.evaluate", params, timeout)
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return found["result"].get("value")

    def key(self, key: str, *, shift: bool = False) -> None:
        """Press and release a key by its DOM name."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowRight": 39, "Home": 36, "End": 35, " ": 32}
        params: dict = {"key": key, "code": key, "windowsVirtualKeyCode": codes.get(key, ord(key[0].upper()))}
        params["modifiers"] = 8 if shift else 0
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        self.send("Input.dispatchKeyEvent", {"type": "keyDown" if text else "rawKeyDown", "text": text, **params})
        self.send("Input.dispatchKeyEvent", {"type": "keyUp", **params})

    def mouse(self, kind: str, x: float, y: float, *, button: str = "left") -> None:
        """`mouseMoved`, `mousePressed` or `mouseReleased` at a place of the window."""
        params = {"type": kind, "x": x, "y": y, "button": "none" if kind == "mouseMoved" else button, "clickCount": 1}
        self.send("Input.dispatchMouseEvent", params)

    def finger(self, *places: tuple[float, float]) -> None:
        """Put a finger on the first place, move it along the others, and lift it, on a page that takes touches."""
        for kind, (x, y) in zip(["touchStart"] + ["touchMove"] * (len(places) - 1), places, strict=True):
            self.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        self.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def picture(self, path: Path, *, full: bool = False, top: float = 0, height: float = 0) -> Path:
        """Save a PNG of the window, of a part of the page, or of all of it."""
        params: dict = {"format": "png"}
        if full or height:
            size = self.send("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": top, "width": size["width"], "height": height or size["height"], "scale": 1}
            params |= {"captureBeyondViewport": True, "clip": clip}
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", params)["data"]))
        return path

    def pdf(self, path: Path) -> Path:
        """Print the page, as a person would."""
        found = self.send("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def complaints(self) -> list[str]:
        """What the console said that is an error or a warning, and every exception."""
        said = []
        for event in self.browser.events:
            if event.get("sessionId") != self.session:
                continue
            params = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                said.append(details.get("exception", {}).get("description", details["text"]))
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
                said.append(" ".join(str(one.get("value")) for one in params["args"]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                said.append(params["entry"]["text"])
        return said

    def requests(self) -> list[str]:
        """Addresses of all that the page asked for, itself and `data:` left out."""
        sent = [
            event["params"]["request"]["url"]
            for event in self.browser.events
            if event.get("sessionId") == self.session and event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in sent[1:] if not url.startswith("data:")]

    def violations(self, axe: str) -> list[str]:
        """What axe-core has against the page, with all details open."""
        self.ask("for (const one of document.querySelectorAll('details')) one.open = true")
        self.ask(axe + "; 0")
        found = json.loads(str(self.ask("axe.run().then((found) => JSON.stringify(found.violations))", timeout=90)))
        return [
            f"{one['id']}: {node['html'][:160]} {node.get('failureSummary', '')}"
            for one in found
            for node in one["nodes"]
        ]

    def close(self) -> None:
        self.browser.send("Target.closeTarget", {"targetId": self.target})
