"""What the load's tests share: one declared request sent by the real client, and a launcher of plain processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from chaoskit.interfaces import Child, LaunchSpec
from chaoskit.load.plan import load_plan
from chaoskit.load.recording import Recorder
from chaoskit.load.sending import Sending
from chaoskit.load.session import Session
from chaoskit.model.load_view import LoadView
from chaoskit.model.observation import LoadSlot
from chaoskit.traffic import LoadSpec


class Sender:
    """Sends declared requests one after the other, as one user."""

    def __init__(self, url: str, load: dict[str, Any], allowed: tuple[str, ...]) -> None:
        self.spec = LoadSpec.model_validate({"users": 1, "cookies": False, **load})
        self.recorder = Recorder("worker.1")
        plan = load_plan(self.spec, url, seed=1, allowed_hosts=allowed)
        self.sending = Sending(plan, self.recorder, None)
        self.session = Session(self.sending)
        self.slots: list[LoadSlot] = []

    def send(self, which: int = 0, *, number: int = 0) -> str:
        """One request of the mix with all that belongs to it; its cause of failure. Never longer than 10 s."""
        greenlet = gevent.spawn(self.session.run, self.sending.mix[which], 0.0, number)
        greenlet.join(timeout=10)
        assert greenlet.ready(), "the request hung"
        self.slots += self.recorder.flush()
        return str(greenlet.get())

    @property
    def view(self) -> LoadView:
        return LoadView([(slot.at, slot) for slot in self.slots], ())

    def close(self) -> None:
        self.sending.client.close()


@pytest.fixture
def sender() -> Iterator[Callable[..., Sender]]:
    """`sender(url, requests=[…])` is a user who sends when told."""
    made: list[Sender] = []

    def make(url: str, *, allowed: tuple[str, ...] = (), **load: Any) -> Sender:
        load.setdefault("requests", [{"name": "r", "path": "/", "timeout": "1s"}])
        made.append(Sender(url, load, allowed))
        return made[-1]

    yield make
    for each in made:
        each.close()


class _Process:
    def __init__(self, spec: LaunchSpec) -> None:
        self.spec = spec
        Path(spec.log).parent.mkdir(parents=True, exist_ok=True)
        with Path(spec.log).open("ab") as log:
            self._process = subprocess.Popen(spec.argv, env=spec.env, cwd=spec.cwd, stdout=log, stderr=log)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.poll()

    def wait(self, timeout: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout)
        return None

    def signal(self, number: int, *, tree: bool = True) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def stop(self) -> None:
        self._process.terminate()
        if self.wait(self.spec.stop_grace) is None:
            self.signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()


class PlainLauncher:
    """Launches without a guardian, and ends what it launched."""

    def __init__(self) -> None:
        self.children: list[_Process] = []

    def launch(self, spec: LaunchSpec) -> Child:
        self.children.append(_Process(spec))
        return self.children[-1]


@pytest.fixture
def launcher() -> Iterator[PlainLauncher]:
    made = PlainLauncher()
    yield made
    for child in made.children:
        child.stop()
