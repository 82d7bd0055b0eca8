"""The harness' side of the load: launches the worker, tells it when, and passes on what it saw. Plain threads."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from chaoskit.errors import LoadError
from chaoskit.interfaces import Address, Child, Emit, Launcher, LaunchSpec
from chaoskit.load.plan import load_plan
from chaoskit.load.wire import (
    Batch,
    Command,
    Done,
    Drained,
    Failed,
    Frames,
    Hello,
    Plan,
    Ready,
    Start,
    Stop,
    pack,
    read_report,
)
from chaoskit.model.observation import Event
from chaoskit.traffic import LoadSpec

__all__ = ["LoadDriver"]

_READY = 30.0
"""Seconds until a worker must have imported Locust and said Ready."""
_STOPPED = 1.2
"""Seconds until a worker must have answered Stop; it is ended after that."""
_TAIL = 20
"""Lines of a worker's log that an error shows."""


class LoadDriver:
    """One load, from its worker's start to its end. Methods are called from one thread, `stop` from any.

    `entry` is the front edge's address, or a URL. Files that the load names are looked up from `root`.
    """

    def __init__(
        self,
        spec: LoadSpec,
        entry: Address | str,
        launcher: Launcher,
        emit: Emit,
        seed: int,
        folder: Path,
        *,
        allowed_hosts: Sequence[str] = (),
        root: Path | None = None,
    ) -> None:
        """Raises UsageError where the load names a file or a variable that is not there."""
        url = entry if isinstance(entry, str) else f"http://{entry}"
        self._plan = load_plan(spec, url, seed=seed, allowed_hosts=allowed_hosts, root=root)
        self._launcher = launcher
        self._emit = emit
        self._folder = folder
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._socket: socket.socket | None = None
        self._reader: threading.Thread | None = None
        self._ready = threading.Event()
        self._drained = threading.Event()
        self._done = threading.Event()
        self._ended = threading.Event()
        """Set when the worker's connection is over."""
        self._stopped = False
        self.failure = ""
        """Why the worker gave up, in its own words."""

    # --------------------------------------------------------------------------------------------------- its life

    def prepare(self) -> None:
        """Launch the worker and wait until it can start at once. Raises LoadError with the tail of its log."""
        folder = Path(tempfile.mkdtemp(prefix="chaoskit-load-"))  # 0700, and short enough for a socket's path
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(folder / "worker.sock"))
                listener.listen(1)
                listener.settimeout(0.1)
                self._launch(folder / "worker.sock")
                self._socket = self._accept(listener, time.monotonic() + _READY)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self._reader = threading.Thread(target=self._read, name="load", daemon=True)
        self._reader.start()
        self._tell(Plan(plan=self._plan))
        until = time.monotonic() + _READY
        while not self._ready.wait(0.05):
            if self._ended.is_set() or self.failure:
                self._ended.wait(0.5)
                raise self._error(self.failure or "the load worker ended before it was ready")
            if time.monotonic() > until:
                raise self._error(f"the load worker was not ready after {_READY:g} s")

    def start(self, t0: float, duration: float) -> None:
        """Begin the schedule at `t0` (absolute CLOCK_MONOTONIC, on a slot's start); nothing is planned after
        `duration` seconds."""
        self._tell(Start(t0=t0, duration=duration))

    def drain(self, patience: float) -> bool:
        """Wait until the schedule is over and nothing is in flight, for at most so long; whether it is."""
        until = time.monotonic() + patience
        while not self._drained.wait(min(0.05, max(until - time.monotonic(), 0.0))):
            if time.monotonic() >= until or self._ended.is_set():
                return False
        return True

    def alive(self) -> bool:
        """Whether the worker runs and has not given up."""
        running = self._child is not None and self._child.poll() is None
        return running and not self._ended.is_set() and not self.failure

    def stop(self, grace: float = 0.0) -> None:
        """Stop sending, take in what is left, end the worker; idempotent.

        What is in flight has `grace` seconds to end and is reported as unfinished then. Takes at most about 2 s more.
        """
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
        if self._socket is not None and not self._ended.is_set():
            self._tell(Stop(grace=grace))
            until = time.monotonic() + grace + _STOPPED
            while not self._done.wait(0.02) and not self._ended.is_set() and time.monotonic() < until:
                pass
            if not self._done.is_set():
                text = "the load worker did not answer: what it had not reported yet is not known"
                self._emit(Event(at=time.monotonic(), source="load", kind="load_cut", text=text))
            elif self._child is not None:
                self._child.wait(0.6)
        if self._child is not None:
            self._child.stop()
        if self._socket is not None:
            self._socket.close()
        if self._reader is not None:
            self._reader.join(1.0)

    def close(self) -> None:
        """The same as `stop`."""
        self.stop()

    # -------------------------------------------------------------------------------------------------- its worker

    def _launch(self, path: Path) -> None:
        here = str(Path(__file__).resolve().parents[2])
        environ = dict(os.environ)
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, environ.get("PYTHONPATH", "")]))
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._child = self._launcher.launch(
            LaunchSpec(
                name="worker.1",
                argv=(sys.executable, "-m", "chaoskit.load.worker", "--connect", str(path)),
                env=environ,
                cwd=str(Path.cwd()),
                log=str(self._log),
                stop_grace=0.3,
                stop_order=0,
            )
        )

    @property
    def _log(self) -> Path:
        return self._folder.resolve() / "logs" / "worker.1.log"

    def _accept(self, listener: socket.socket, until: float) -> socket.socket:
        while True:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                if self._child is not None and (status := self._child.poll()) is not None:
                    raise self._error(f"the load worker exited with {status} before it was ready") from None
                if time.monotonic() > until:
                    raise self._error(f"the load worker did not come up within {_READY:g} s") from None
            else:
                connection.settimeout(None)
                return connection

    def _tell(self, command: Command) -> None:
        if self._socket is None:
            raise LoadError("the load worker was not prepared")
        try:
            self._socket.sendall(pack(command))
        except OSError:
            self._ended.set()  # `alive` and `stop` say what follows from it

    def _read(self) -> None:
        """Take in what the worker says until its connection ends."""
        assert self._socket is not None
        frames = Frames()
        try:
            while data := self._socket.recv(1 << 18):
                for body in frames.feed(data):
                    self._hear(read_report(body))
        except OSError:
            pass  # cut off: the same as its end
        finally:
            self._ended.set()

    def _hear(self, report: Hello | Ready | Batch | Drained | Done | Failed) -> None:
        if isinstance(report, Batch):
            for observation in report.observations:
                self._emit(observation)
        elif isinstance(report, Ready):
            self._ready.set()
        elif isinstance(report, Drained):
            self._drained.set()
        elif isinstance(report, Done):
            self._done.set()
        elif isinstance(report, Failed):
            self.failure = report.because

    def _error(self, message: str) -> LoadError:
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        return LoadError(message, detail="\n".join(lines[-_TAIL:]), hint=f"its whole log is {self._log}")
