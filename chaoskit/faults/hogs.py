"""Busy neighbours: processes of ours that take turns with a service on one core, and the undo that ends them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec

from chaoskit.errors import CouldNotRun
from chaoskit.faults.limits import Group, identities
from chaoskit.interfaces import System, UndoOwner
from chaoskit.model.undo import JSON, Undo
from chaoskit.processes import ProcessId, marked, running, table

__all__ = ["HOG_MARK", "HogUndo", "hog_undo", "start_hogs"]

HOG_MARK = "CHAOSKIT_HOG"
"""In the environment of each: a fresh process finds them by it."""
_WORK = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"
_started: dict[str, list[subprocess.Popen[bytes]]] = {}
"""By mark: those of this process, which must be waited for."""


class Place(msgspec.Struct, frozen=True):
    """One process with the cores on which it may run."""

    process: ProcessId
    cores: tuple[int, ...]


class HogUndo(UndoOwner):
    """Ends busy neighbours, and lets the service run on the cores that it had."""

    kind: ClassVar[str] = "fault.hog"

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:
        mark = str(undo.args["mark"])
        for pid in marked(HOG_MARK, mark, table()):
            with contextlib.suppress(ProcessLookupError):  # it ended in this very moment
                os.kill(pid, signal.SIGKILL)
        for hog in _started.pop(mark, []):
            hog.wait()
        places = msgspec.convert(undo.args["places"], list[Place])
        for place in places:
            if running(place.process):
                _run_on(place.process.pid, place.cores)
        if system is not None and places:
            known = {place.process.pid for place in places}
            for pid in system.replica(str(undo.args["replica"])).pids():
                if pid not in known:
                    _run_on(pid, places[0].cores)


def hog_undo(mark: str, replica: str, pids: Sequence[int]) -> Undo:
    """Names the neighbours, and the cores that the service may use now."""
    places: list[JSON] = []
    for process in identities(pids):
        with contextlib.suppress(ProcessLookupError):  # gone meanwhile
            cores: list[JSON] = [*sorted(os.sched_getaffinity(process.pid))]
            places.append({"process": [process.pid, process.started, process.boot], "cores": cores})
    return Undo(
        id=f"{HogUndo.kind}:{mark}",
        owner=HogUndo.kind,
        args={"mark": mark, "replica": replica, "places": places},
        says=f"kill the processes with {HOG_MARK}={mark}; taskset -ap the cores of {replica} back",
    )


def start_hogs(mark: str, pids: Sequence[int], count: int, group: Group | None = None) -> None:
    """Put a service on one of its cores, and `count` busy neighbours beside it, in a group of their own where the
    service is not in ours: the kernel shares by groups first. Raises CouldNotRun."""
    try:
        core = max(os.sched_getaffinity(pids[0]))
        for pid in pids:
            _run_on(pid, (core,))
    except (AttributeError, OSError) as error:  # no such call on this system; or the service is another user's
        raise CouldNotRun(f"a service cannot be kept on one core here: {error}") from error
    command = [sys.executable, "-I", "-S", "-c", _WORK, str(core)]
    # A session each: where the kernel shares the processor by sessions, every one of them is a neighbour of its own.
    _started[mark] = [
        subprocess.Popen(command, env={HOG_MARK: mark}, start_new_session=True, stdin=subprocess.DEVNULL)
        for _ in range(count)
    ]
    if group is not None:
        group.weigh(count, [hog.pid for hog in _started[mark]])


def _run_on(pid: int, cores: Iterable[int]) -> None:
    """All threads of a process; those that it starts later follow theirs."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it, or one of its threads, ended
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), cores)
