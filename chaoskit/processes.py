"""Which process is which: identities that survive the reuse of a pid, families, and how to end them for good.

Standard library only and none of ours: the guardian runs on this file, `spawning.py` and `guardian.py` alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

__all__ = [
    "CHILD_MARK",
    "RUN_MARK",
    "Ending",
    "ProcessId",
    "Row",
    "boot_id",
    "descendants",
    "end_all",
    "family",
    "identify",
    "marked",
    "must_identify",
    "prctl",
    "running",
    "send",
    "state",
    "table",
]

RUN_MARK = "CHAOSKIT_RUN"
"""Environment variable that every process of a run bears; its value is the run's id."""
CHILD_MARK = "CHAOSKIT_CHILD"
"""Environment variable that one launched process and its descendants bear: `<run id>/<number>`."""

_HAS_PROC = sys.platform.startswith("linux")


class ProcessId(NamedTuple):
    """A process and no other that may get its pid later. `started` is in the platform's own form."""

    pid: int
    started: str
    boot: str


class Row(NamedTuple):
    """One line of the process table. A zombie has `state` Z and counts as ended everywhere."""

    pid: int
    parent: int
    group: int
    session: int
    state: str
    started: str


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib would double the guardian's start
        return file.read()


@cache
def boot_id() -> str:
    """Tells this boot from any other: pids and monotonic times of another one mean nothing."""
    if _HAS_PROC:
        return _read("/proc/sys/kernel/random/boot_id").decode("ascii").strip()
    return subprocess.run(
        ["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=True
    ).stdout.strip()


def _proc_row(pid: int | str) -> Row | None:
    try:
        text = _read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold spaces and parentheses of its own: cut after the last one.
    fields = text[text.rindex(b")") + 2 :].split()
    return Row(
        int(pid), int(fields[1]), int(fields[2]), int(fields[3]), fields[0].decode("ascii"), fields[19].decode("ascii")
    )


def _ps_rows(*which: str) -> dict[int, Row]:
    """The table as `ps` tells it: where there is no /proc. A session is not known there (0)."""
    text = subprocess.run(
        ["ps", *which, "-o", "pid=,ppid=,pgid=,stat=,lstart="], capture_output=True, text=True, check=False
    ).stdout
    rows = {}
    for line in text.splitlines():
        pid, parent, group, state, started = line.split(None, 4)
        rows[int(pid)] = Row(int(pid), int(parent), int(group), 0, state[0], started.strip())
    return rows


def table() -> dict[int, Row]:
    """Every process of this machine by pid (about 4 ms where there are 150)."""
    if not _HAS_PROC:
        return _ps_rows("-ax")
    rows = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib would double the guardian's start
        if name.isdigit() and (row := _proc_row(name)) is not None:
            rows[row.pid] = row
    return rows


def _row(pid: int) -> Row | None:
    return _proc_row(pid) if _HAS_PROC else _ps_rows("-p", str(pid)).get(pid)


def identify(pid: int) -> ProcessId | None:
    """The identity of the process that has this pid now (a zombie too), or None."""
    row = _row(pid)
    return None if row is None else ProcessId(pid, row.started, boot_id())


def state(pid: int) -> str:
    """One letter: T is stopped, Z a zombie; X where there is no such process."""
    row = _row(pid)
    return "X" if row is None else row.state


def must_identify(pid: int) -> ProcessId:
    """The identity of this process, or of a child that is not reaped yet: there is always one."""
    process = identify(pid)
    assert process is not None, "it is in the process table"
    return process


def running(process: ProcessId) -> bool:
    """Whether exactly this process still runs."""
    if process.boot != boot_id():
        return False
    row = _row(process.pid)
    return row is not None and row.started == process.started and row.state not in "ZX"


def descendants(rows: Mapping[int, Row], root: int) -> set[int]:
    """Pids below `root`, without it; zombies are left out, what is below them is not."""
    children: dict[int, list[int]] = {}
    for row in rows.values():
        children.setdefault(row.parent, []).append(row.pid)
    found: set[int] = set()
    todo = [root]
    while todo:
        for pid in children.get(todo.pop(), ()):
            if pid not in found:
                found.add(pid)
                todo.append(pid)
    return {pid for pid in found if rows[pid].state not in "ZX"}


def marked(name: str, value: str, pids: Iterable[int]) -> set[int]:
    """Those of `pids` that were started with this environment variable. Empty where there is no /proc."""
    if not _HAS_PROC:
        return set()
    wanted = f"{name}={value}".encode()
    found = set()
    for pid in pids:
        try:
            environ = _read(f"/proc/{pid}/environ")
        except OSError:  # gone meanwhile, or somebody else's: then it is not ours to end
            continue
        if wanted in environ.split(b"\0"):
            found.add(pid)
    return found


def family(root: ProcessId, mark: str, rows: Mapping[int, Row], *, reaper: int = 0) -> set[int]:
    """Pids of a launched process and of everything that came from it, daemonised or not; zombies left out.

    `mark` is its CHILD_MARK. `reaper` is the guardian's pid where it asks: what is below it and in the session that
    the process leads belongs to it even where it dropped its environment.
    """
    found: set[int] = set()
    row = rows.get(root.pid)
    if row is not None and row.started == root.started and root.boot == boot_id():
        found = {root.pid} | descendants(rows, root.pid)
    if reaper:
        below = descendants(rows, reaper)
        found |= {pid for pid in below if rows[pid].session == root.pid}
        found |= marked(CHILD_MARK, mark, below - found)
    elif mark:
        found |= marked(CHILD_MARK, mark, rows.keys() - found)
    for pid in list(found):
        found |= descendants(rows, pid)
    return {pid for pid in found if pid in rows and rows[pid].state not in "ZX"} - {os.getpid()}


def send(pids: Iterable[int], number: int) -> None:
    """Signal processes that are surely ours; one that is gone, or became another user's, is no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # gone meanwhile, or never ours
            os.kill(pid, number)


def prctl(option: int, value: int) -> bool:
    """Whether this kernel did it; there is no such call on macOS."""
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)


class Ending:
    """The end of one launched process and all that came from it, in steps that never block.

    First its own stop signal to the process alone, so that it can stop its children in its own way; once it is gone,
    the same to what it left behind; and SIGKILL to all of them when the grace is over. A stopped one is continued,
    else it would never hear.
    """

    def __init__(self, root: ProcessId, mark: str, stop_signal: int, grace: float, *, reaper: int = 0) -> None:
        self.root = root
        self._mark = mark
        self._signal = stop_signal
        self._reaper = reaper
        self._until = time.monotonic() + grace
        self._told: set[tuple[int, str]] = set()

    def hurry(self, grace: float) -> None:
        """Shorten the grace that is left to at most this much."""
        self._until = min(self._until, time.monotonic() + grace)

    def step(self, rows: Mapping[int, Row]) -> bool:
        """Send what is due, given the process table of now. Returns whether nothing is left."""
        left = family(self.root, self._mark, rows, reaper=self._reaper)
        if not left:
            return True
        if time.monotonic() >= self._until:
            send(left, signal.SIGKILL)
            return False
        addressed = {self.root.pid} if self.root.pid in left else left
        fresh = {pid for pid in addressed if (pid, rows[pid].started) not in self._told}
        self._told |= {(pid, rows[pid].started) for pid in fresh}
        send(fresh, self._signal)
        send({pid for pid in left if rows[pid].state in "Tt"}, signal.SIGCONT)
        return False


def end_all(endings: Iterable[Ending], patience: float) -> list[ProcessId]:
    """Carry endings out together, for at most `patience` seconds; returns the roots whose families are still there."""
    left = list(endings)
    until = time.monotonic() + patience
    while left:
        rows = table()
        left = [ending for ending in left if not ending.step(rows)]
        if not left or time.monotonic() > until:
            break
        time.sleep(0.02)
    return [ending.root for ending in left]
