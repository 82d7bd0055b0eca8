"""A guardian and a way to start one real server through it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from chaoskit.deployers.ports import reserve
from chaoskit.guardian_client import GuardedChild, Guardian
from chaoskit.interfaces import Address, Backing, ServerPlan


class Server(NamedTuple):
    address: Address
    child: GuardedChild
    plan: ServerPlan
    took: float
    """Seconds from the first step of preparing to the first answer."""


def nobody_there() -> Address:
    """An address at which nothing listens."""
    port = reserve()
    port.release()
    return port.address


Start = Callable[..., Server]


@pytest.fixture
def guardian() -> Iterator[Guardian]:
    with Guardian(f"backing-{os.getpid()}") as guardian:
        yield guardian


@pytest.fixture
def data() -> Iterator[Path]:
    """A folder that a server run as `nobody` can reach: pytest's own are for their owner alone."""
    folder = Path(tempfile.mkdtemp(prefix="chaoskit-test-", dir="/var/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def start(guardian: Guardian, data: Path) -> Start:
    def start(kind: type[Backing], *, databases: Sequence[str] = (), name: str = "", **settings: str) -> Server:
        port = reserve()
        folder = data / (name or kind.kind)
        folder.mkdir(mode=0o711)
        begun = time.monotonic()
        plan = kind.plan(kind.kind, port.address, folder, databases=databases)
        for step in plan.prepare:
            log = Path(step.log)
            assert guardian.launch(step).wait(60) == 0, log.read_text() if log.exists() else step.argv
        kind.introduce(folder, {}, settings)
        port.release()
        child = guardian.launch(plan.server)
        until = begun + 60
        while not kind.ready(port.address):
            assert child.poll() is None, "it ended"
            assert time.monotonic() < until, "it is not ready"
            time.sleep(0.01)
        took = time.monotonic() - begun
        kind.after_start(port.address, databases)
        return Server(port.address, child, plan, took)

    return start
