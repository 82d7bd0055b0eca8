"""Runs of the real command line, watched from outside: what it prints, how it exits, what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaoskit.processes import RUN_MARK

HERE = Path(__file__).parent
TINY = HERE / "experiments" / "back-100ms-slower.yaml"


@dataclass
class Command:
    """A command that goes on: its process, and where its journals and reports are."""

    process: subprocess.Popen[str]
    state: Path
    reports: Path

    def journals(self) -> list[Path]:
        return list(self.state.glob("runs/*.journal"))

    def run_ids(self) -> list[str]:
        return [path.stem for path in self.journals()]

    def wait_for(self, what: Callable[[], bool], seconds: float = 60.0) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert self.process.poll() is None or what(), f"it ended early: {self.process.communicate()}"
            assert time.monotonic() < until, "it did not come to that in time"
            time.sleep(0.02)

    def in_phase(self, phase: str) -> bool:
        """Whether the history says that a phase has begun."""
        return self.history_says(f'"text":"{phase}"')

    def history_says(self, text: str) -> bool:
        """Whether some line of a history holds this already."""
        return any(text in path.read_text() for path in self.reports.glob("*/*/history.jsonl"))

    def finish(self, seconds: float = 60.0) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err


def marked_processes(run_ids: list[str]) -> list[int]:
    """Pids of processes that bear one of these runs' mark."""
    wanted = {f"{RUN_MARK}={run}".encode() for run in run_ids}
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                environ = (folder / "environ").read_bytes().split(b"\0")
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if wanted & set(environ) and state != "Z":
                found.append(int(folder.name))
    return found


def gone_within(seconds: float, run_ids: list[str]) -> float:
    """Seconds until no process of these runs is left; fails where that takes longer."""
    began = time.monotonic()
    while left := marked_processes(run_ids):
        took = time.monotonic() - began
        assert took < seconds, f"after {took:.1f} s these are still there: {[_command(pid) for pid in left]}"
        time.sleep(0.05)
    return time.monotonic() - began


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return str(pid)


def listening(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(0.5)
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def chaoskit(tmp_path: Path, state_folder: Path) -> Iterator[Callable[..., Command]]:
    """Start `chaoskit …` in a session of its own, with a store and state of its own."""
    started: list[Command] = []

    def start(*args: str, cwd: Path | None = None, **env: str) -> Command:
        process = subprocess.Popen(
            [sys.executable, "-m", "chaoskit", *args],
            cwd=cwd or tmp_path,
            env={**os.environ, "CHAOSKIT_STATE": str(state_folder), "COLUMNS": "120", **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        command = Command(process, state_folder, (cwd or tmp_path) / "reports")
        started.append(command)
        return command

    yield start
    for command in started:
        if command.process.poll() is None:
            os.killpg(command.process.pid, signal.SIGKILL)
            command.process.communicate()


def document(out: str) -> dict:
    """The JSON document on standard output, whole."""
    return json.loads(out)
