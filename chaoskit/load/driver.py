"""The harness' side of the load: launches the worker, tells it when, and passes on what it saw. Plain threads."""

from __future__ import annotations

import hmac
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from chaoskit.errors import LoadError
from chaoskit.interfaces import Address, Child, Emit, Launcher, LaunchSpec
from chaoskit.load.plan import load_plan
from chaoskit.load.wire import (
    TOKEN_LENGTH,
    TOKEN_VARIABLE,
    Batch,
    Command,
    Done,
    Drained,
    Failed,
    Frames,
    Hello,
    Lost,
    Plan,
    Ready,
    Start,
    Stop,
    pack,
    read_report,
)
from chaoskit.model.observation import Event
from chaoskit.model.undo import JSON
from chaoskit.traffic import LoadSpec

__all__ = ["LoadDriver"]

_READY = 30.0
"""Seconds until a worker must have imported Locust and said Ready."""
_STOPPED = 1.2
"""Seconds until a worker must have answered Stop; it is ended after that."""
_TOKEN = "CHAOSKIT_LOAD_TOKEN"  # noqa: S105 - the name of the variable that holds it
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
        listen: Address | None = None,
        away: int = 0,
        token: str = "",
    ) -> None:
        """`away` workers join from elsewhere, beside those of the spec: they connect to `listen` and know `token`.

        Raises UsageError where the load names a file or a variable that is not there.
        """
        url = entry if isinstance(entry, str) else f"http://{entry}"
        plan = load_plan(spec, url, seed=seed, allowed_hosts=allowed_hosts, root=root)
        self._here = 0 if spec.workers == 1 and not away else spec.workers
        """Workers that join a master from this machine; 0 where one process is all."""
        self._plan = msgspec.structs.replace(
            plan,
            workers=1 if not self._here else self._here + away,
            listen=listen,
            token=token or secrets.token_urlsafe(24),
        )
        self._launcher = launcher
        self._emit = emit
        self._folder = folder
        self._lock = threading.Lock()
        self._child: Child | None = None
        """The worker, or the master of several."""
        self._members: list[Child] = []
        self._lost: set[str] = set()
        self._socket: socket.socket | None = None
        self._reader: threading.Thread | None = None
        self._join = threading.Event()
        self._join_at = ""
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
        token = secrets.token_hex(TOKEN_LENGTH // 2)
        with socket.create_server(("127.0.0.1", 0), backlog=4) as listener:  # no socket file: nothing to leave behind
            listener.settimeout(0.1)
            name = "worker.master" if self._here else "worker.1"
            where = f"127.0.0.1:{listener.getsockname()[1]}"
            self._child = self._launch(name, ("--connect", where), {TOKEN_VARIABLE: token})
            self._socket = self._accept(listener, token, time.monotonic() + _READY)
        self._reader = threading.Thread(target=self._read, name="load", daemon=True)
        self._reader.start()
        self._tell(Plan(plan=self._plan))
        if self._here:
            self._wait_for(self._join, "the load's master")
            for number in range(1, self._here + 1):
                name = f"worker.{number}"
                argv = ("--join", self._join_at, "--index", str(number - 1))
                self._members.append(self._launch(name, argv, {_TOKEN: self._plan.token}))
        self._wait_for(self._ready, "the load worker" if not self._here else "a load worker")

    def start(self, t0: float, duration: float, values: Mapping[str, JSON] | None = None) -> None:
        """Begin the schedule at `t0` (absolute CLOCK_MONOTONIC, on a slot's start); nothing is planned after
        `duration` seconds. `values` are what the setup captured, for `data: {name: setup}`."""
        self._tell(Start(t0=t0, duration=duration, values=dict(values or {})))

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
        for member in self._members:
            if member.name not in self._lost and (status := member.poll()) is not None and not self._stopped:
                self._lost.add(member.name)
                self._tell(Lost(source=member.name, because=f"its process exited with {status}"))
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
        for child in (self._child, *self._members):
            if child is not None:
                child.stop()
        if self._socket is not None:
            self._socket.close()
        if self._reader is not None:
            self._reader.join(1.0)

    def close(self) -> None:
        """The same as `stop`."""
        self.stop()

    # -------------------------------------------------------------------------------------------------- its worker

    def _launch(self, name: str, arguments: tuple[str, ...], extra: Mapping[str, str]) -> Child:
        here = str(Path(__file__).resolve().parents[2])
        environ = {**os.environ, **extra}
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, environ.get("PYTHONPATH", "")]))
        log = self._log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        return self._launcher.launch(
            LaunchSpec(
                name=name,
                argv=(sys.executable, "-m", "chaoskit.load.worker", *arguments),
                env=environ,
                cwd=str(Path.cwd()),
                log=str(log),
                stop_grace=0.3,
                stop_order=0,
            )
        )

    def _log(self, name: str) -> Path:
        return self._folder.resolve() / "logs" / f"{name}.log"

    def _wait_for(self, event: threading.Event, what: str) -> None:
        """Wait for what a worker must say before it can start."""
        until = time.monotonic() + _READY
        while not event.wait(0.05):
            gone = next((member for member in self._members if member.poll() is not None), None)
            if self._ended.is_set() or self.failure or gone is not None:
                self._ended.wait(0.5)
                name = gone.name if gone is not None else ""
                raise self._error(self.failure or f"{what} ended before it was ready", name)
            if time.monotonic() > until:
                raise self._error(f"{what} was not ready after {_READY:g} s")

    def _accept(self, listener: socket.socket, token: str, until: float) -> socket.socket:
        """The worker's connection. Whoever connects without the token is hung up on."""
        while True:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                if self._child is not None and (status := self._child.poll()) is not None:
                    raise self._error(f"the load worker exited with {status} before it was ready") from None
                if time.monotonic() > until:
                    raise self._error(f"the load worker did not come up within {_READY:g} s") from None
            else:
                if _knows(connection, token):
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connection.settimeout(None)
                    return connection
                connection.close()

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
        elif isinstance(report, Ready) and report.join:
            self._join_at = report.join
            self._join.set()
        elif isinstance(report, Ready):
            self._ready.set()
        elif isinstance(report, Drained):
            self._drained.set()
        elif isinstance(report, Done):
            self._done.set()
        elif isinstance(report, Failed):
            self.failure = report.because

    def _error(self, message: str, name: str = "") -> LoadError:
        log = self._log(name or ("worker.master" if self._here else "worker.1"))
        try:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        return LoadError(message, detail="\n".join(lines[-_TAIL:]), hint=f"its whole log is {log}")


def _knows(connection: socket.socket, token: str) -> bool:
    """Whether who connected says the token first."""
    connection.settimeout(2.0)
    said = b""
    try:
        while len(said) < len(token) and (more := connection.recv(len(token) - len(said))):
            said += more
    except OSError:
        return False
    return hmac.compare_digest(said, token.encode())
