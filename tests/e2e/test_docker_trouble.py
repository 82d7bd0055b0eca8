"""The engine goes away in the middle of a run: the run cannot tell, says why, and what is left is removed later."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.docker_engine import base, left, none_within
from tests.e2e.conftest import TINY, Command, document
from tests.requires import requires

pytestmark = [requires("docker"), pytest.mark.live]
ENGINE = "/var/run/docker.sock"


class Line:
    """Another socket that leads to the engine, until it is cut."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.restore()

    def restore(self) -> None:
        self.path.unlink(missing_ok=True)
        self._ends: list[socket.socket] = []
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(self.path))
        self._door.listen(64)
        threading.Thread(target=self._accept, args=(self._door,), daemon=True).start()

    def cut(self) -> None:
        self.path.unlink(missing_ok=True)
        for end in (self._door, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self, door: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = door.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(ENGINE)
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    @staticmethod
    def _copy(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while part := one.recv(65536):
                other.sendall(part)
            other.shutdown(socket.SHUT_WR)


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    if image := base():
        monkeypatch.setenv("CHAOSKIT_DOCKER_BASE", image)
    made = Line(tmp_path / "engine.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{made.path}")
    yield made
    made.cut()


def recover() -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "chaoskit", "recover"], capture_output=True, text=True, check=False)


def test_an_engine_that_dies_in_the_fault_makes_it_inconclusive_and_recover_cleans_up(
    chaoskit: Callable[..., Command], line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = chaoskit("run", str(TINY), "--deployer", "docker", "--variant", "patient", "--json", "--quiet")
    command.wait_for(lambda: command.in_phase("fault"), 240.0)
    ids = command.run_ids()
    line.cut()
    code, out, err = command.finish(60.0)
    (run,) = document(out)["runs"]
    assert run["verdict"] == "inconclusive", out + err
    (parts,) = [gate for gate in run["gates"] if gate["gate"] == "parts alive"]
    assert not parts["open"] and "the engine at unix://" in parts["because"], parts
    assert code == 5 and any("docker rm" in undo for undo in map(str, run["undo_left"])), (code, run["undo_left"], err)
    again = recover()
    assert again.returncode == 5 and "docker rm" in again.stdout + again.stderr, "it says what is left to do by hand"
    line.restore()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{ENGINE}")
    assert any(left(run_id) for run_id in ids)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{line.path}")
    assert recover().returncode == 0
    none_within(1.0, ids)
    assert recover().returncode == 0 and not command.journals()


def guardian_of(command: Command) -> int:
    (journal,) = command.journals()
    records = [json.loads(line) for line in journal.read_text().splitlines() if line.strip()]
    return int(next(record["guardian"][0] for record in records if record["type"] == "guardian"))


def test_sigkill_of_the_guardian_ends_the_run_and_leaves_nothing(chaoskit: Callable[..., Command], line: Line) -> None:
    command = chaoskit("run", str(TINY), "--deployer", "docker", "--variant", "patient", "--json", "--quiet")
    command.wait_for(lambda: command.in_phase("fault"), 240.0)
    ids = command.run_ids()
    os.kill(guardian_of(command), signal.SIGKILL)
    code, out, err = command.finish(60.0)
    (run,) = document(out)["runs"]
    assert run["verdict"] == "inconclusive" and code == 3, (code, out, err)
    none_within(15.0, ids)


def test_after_sigkill_of_harness_and_guardian_recover_leaves_nothing(
    chaoskit: Callable[..., Command], line: Line
) -> None:
    command = chaoskit("run", str(TINY), "--deployer", "docker", "--variant", "patient", "--quiet")
    command.wait_for(lambda: command.in_phase("fault"), 240.0)
    ids, guardian = command.run_ids(), guardian_of(command)
    os.kill(guardian, signal.SIGSTOP)  # so that it does nothing before it is killed too
    os.killpg(command.process.pid, signal.SIGKILL)
    os.kill(guardian, signal.SIGKILL)
    command.process.communicate()
    assert any(left(run_id) for run_id in ids)
    assert recover().returncode == 0
    none_within(1.0, ids)
    assert recover().returncode == 0 and not command.journals()
