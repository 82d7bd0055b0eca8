"""How long the run's processes stood ready and waited for a core, and what the rest of the machine used meanwhile.

Linux counts for every thread the time that it ran and the time that it could have run but had no core
(/proc/<pid>/task/<tid>/schedstat, Documentation/scheduler/sched-stats.rst). All that runs and belongs to us descends
from this process, or is a replica's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = ["Scheduled", "Turns", "children", "family", "scheduled", "stolen_and_used"]

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")
_USER, _NICE, _SYSTEM, _STOLEN = 0, 1, 2, 7
"""Places in the first line of /proc/stat."""


class Turns(NamedTuple):
    """What threads got of the processor."""

    ran: float = 0.0
    """Seconds."""
    waited: float = 0.0
    """Seconds that they could have run, but had no core."""
    turns: float = 0.0
    """Times that they were given one."""


class Scheduled(NamedTuple):
    """What each thread got since it began, by (pid, tid)."""

    at: float
    threads: Mapping[tuple[int, str], Turns]

    def since(self, before: Scheduled) -> Turns:
        """What they got together since an earlier reading. A thread that is new counts from its beginning, one that is
        gone counts no more."""
        pairs = [(seen, before.threads.get(thread, Turns())) for thread, seen in self.threads.items()]
        return Turns(*(sum(max(0.0, seen[n] - last[n]) for seen, last in pairs) for n in range(3)))


def scheduled(pids: Iterable[int]) -> Scheduled:
    """A reading over processes; those that are gone, or whose kernel does not count, have no threads in it."""
    threads: dict[tuple[int, str], Turns] = {}
    for pid in pids:
        try:
            for tid in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - a hundred threads, again and again
                with open(f"/proc/{pid}/task/{tid}/schedstat", "rb") as file:  # noqa: PTH123 - likewise
                    run, wait, turns = file.read().split()
                threads[pid, tid] = Turns(int(run) / 1e9, int(wait) / 1e9, int(turns))
        except (OSError, ValueError):  # gone meanwhile, or a kernel that does not count
            continue
    return Scheduled(time.monotonic(), threads)


def children(pid: int) -> list[int]:
    """Processes that a process started and that are still there, as far as the kernel tells (it may be built
    without)."""
    found: list[int] = []
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - a hundred threads, again and again
            with open(f"/proc/{pid}/task/{tid}/children", "rb") as file:  # noqa: PTH123 - likewise
                found += [int(child) for child in file.read().split()]
    except OSError:  # gone meanwhile
        pass
    return found


def family(root: int) -> list[int]:
    """A process and all that descend from it."""
    found = [root]
    for pid in found:
        found += children(pid)
    return found


def stolen_and_used() -> tuple[float, float] | None:
    """Seconds of processor time since the machine started: what the machine beneath took away, and what all processes
    used. None on a system without /proc/stat."""
    try:
        with open("/proc/stat", "rb") as file:  # noqa: PTH123 - read again and again
            ticks = [int(field) for field in file.readline().split()[1:]]
    except OSError:
        return None
    return ticks[_STOLEN] * _TICK, (ticks[_USER] + ticks[_NICE] + ticks[_SYSTEM]) * _TICK
