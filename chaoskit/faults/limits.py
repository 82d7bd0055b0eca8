"""Ways to take resources from running processes, and their undos: cgroups (v1 and v2), limits, stopping by turns.

cgroup     a group of our own beside the one they are in: made, given its limit, entered; left and removed again
rlimit     the soft limit of each process, lowered below the hard one; set back
duty       SIGSTOP and SIGCONT by turns, many times a second, from a thread of the harness; SIGCONT at the end
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import msgspec

from chaoskit.errors import CouldNotRun, UndoError
from chaoskit.interfaces import System, UndoOwner
from chaoskit.model.undo import JSON, Undo
from chaoskit.processes import ProcessId, identify, running

__all__ = [
    "DutyUndo",
    "Group",
    "GroupUndo",
    "LimitUndo",
    "RLimit",
    "duty_cycle",
    "duty_undo",
    "find_group",
    "group_undo",
    "identities",
    "limit_undo",
    "lower_limit",
    "our_group",
]


def identities(pids: Sequence[int]) -> list[ProcessId]:
    """Those of `pids` that are there, as who they are."""
    return [found for pid in pids if (found := identify(pid)) is not None]


# --------------------------------------------------------------------------------------------------------- cgroups


class Group(NamedTuple):
    """A group of our own that processes can be moved into. It need not exist yet."""

    version: int
    folder: Path
    home: Path
    """Where they are now, and go back to."""

    def enter(self, settings: Mapping[str, str], pids: Sequence[int]) -> None:
        """Make it, set its limits, move them in. Raises CouldNotRun."""
        try:
            self.folder.mkdir(exist_ok=True)
            for name, value in settings.items():
                (self.folder / name).write_text(value)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):  # it ended in this very moment
                    (self.folder / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise CouldNotRun(
                f"{self.folder}: {error.strerror}", hint="this needs a cgroup that we may write"
            ) from error

    def hold_to(self, share: float, pids: Sequence[int]) -> None:
        """As `enter`, with this share of one core for all of them together. Of a `cpu` group."""
        # The kernel takes no quota below 1 ms; a short period makes the starving even.
        period = max(10_000, round(1000 / share))
        quota = max(1000, round(period * share))
        v1 = {"cpu.cfs_period_us": str(period), "cpu.cfs_quota_us": str(quota)}
        self.enter(v1 if self.version == 1 else {"cpu.max": f"{quota} {period}"}, pids)

    def weigh(self, tasks: int, pids: Sequence[int]) -> None:
        """As `enter`, with the weight of so many busy processes of those who are there now. Of a `cpu` group."""
        if self.version == 1:  # below theirs, where each of their processes weighs 1024
            return self.enter({"cpu.shares": str(1024 * tasks)}, pids)
        try:
            theirs = int((self.home / "cpu.weight").read_text())
        except FileNotFoundError:  # the topmost group weighs nothing in particular
            theirs = 100
        return self.enter({"cpu.weight": str(min(10_000, theirs * tasks))}, pids)

    def leave(self) -> None:
        """Move everybody back and remove it; nothing to do where it is not there. Raises UndoError where it stays."""
        until = time.monotonic() + 2.0
        while self.folder.exists():
            try:
                pids = (self.folder / "cgroup.procs").read_text().split()
                if pids:
                    self.home.mkdir(exist_ok=True)  # systemd removes a group when the last process has left it
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        (self.home / "cgroup.procs").write_text(pid)
                self.folder.rmdir()
            except OSError as error:  # a process is on its way out of it, or into it; or it was removed just now
                if time.monotonic() > until:
                    raise UndoError(f"{self.folder} is still there: {error.strerror}") from error
                time.sleep(0.01)


def find_group(controller: str, pid: int, name: str, *, root: Path = Path("/")) -> Group | None:
    """A group called `name` beside the one that `pid` is in, where its controller is at hand and we may write there.

    Under v1 it lies below the process' own group. Under v2 a group with processes has no children with controllers, so
    it lies beside it, where that level has the controller. `root` is for tests.
    """
    try:
        mounts = (root / "proc/self/mountinfo").read_text()
        membership = (root / f"proc/{pid}/cgroup").read_text()
    except OSError:
        return None
    paths = {}
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        for one in controllers.split(","):
            paths[one] = path
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        inside, mountpoint = fields.split()[3:5]
        kind, _, options = rest.split(maxsplit=2)
        base = root / mountpoint.lstrip("/")
        if kind == "cgroup" and controller in options.split(",") and controller in paths:
            home = base / _below(paths[controller], inside)
            if os.access(home, os.W_OK) and os.access(home / "cgroup.procs", os.W_OK):
                return Group(1, home / name, home)
        if kind == "cgroup2" and "" in paths:
            home = base / _below(paths[""], inside)
            parent = home if home == base else home.parent
            with contextlib.suppress(OSError):  # no such file: then not here
                if controller in (parent / "cgroup.subtree_control").read_text().split() and os.access(parent, os.W_OK):
                    return Group(2, parent / name, home)
    return None


def our_group(*controllers: str) -> Group | None:
    """A group as processes that we start would find it, by the first of these controllers that is at hand."""
    found = (find_group(controller, os.getpid(), "") for controller in controllers)
    return next((group for group in found if group is not None), None)


def _below(path: str, inside: str) -> str:
    """A group's path below its mount, which may show a part of the hierarchy only."""
    return path.removeprefix(inside if inside != "/" else "").lstrip("/")


class GroupUndo(UndoOwner):
    """Moves processes back into the group that they came from."""

    kind: ClassVar[str] = "fault.cgroup"

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:  # noqa: ARG003 - the kernel is asked directly
        Group(0, Path(str(undo.args["folder"])), Path(str(undo.args["home"]))).leave()


def group_undo(group: Group) -> Undo:
    """Names a group before it is made."""
    return Undo(
        id=f"{GroupUndo.kind}:{group.folder}",
        owner=GroupUndo.kind,
        args={"folder": str(group.folder), "home": str(group.home)},
        says=f"mkdir -p {group.home}; for pid in $(cat {group.folder}/cgroup.procs); do echo $pid > "
        f"{group.home}/cgroup.procs; done; rmdir {group.folder}",
    )


# ---------------------------------------------------------------------------------------------------------- limits


class RLimit(msgspec.Struct, frozen=True):
    """One process with the soft and hard limit that it had."""

    process: ProcessId
    soft: int
    hard: int


class LimitUndo(UndoOwner):
    """Sets limits back to what they were; processes that came later get what their family had."""

    kind: ClassVar[str] = "fault.rlimit"

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:
        which = int(str(undo.args["resource"]))
        had = msgspec.convert(undo.args["limits"], list[RLimit])
        for limit in had:
            if running(limit.process):
                _set(limit.process.pid, which, limit.soft, limit.hard)
        if system is not None and had:
            for pid in system.replica(str(undo.args["replica"])).pids():
                if pid not in {limit.process.pid for limit in had}:
                    _set(pid, which, had[0].soft, had[0].hard)


def _set(pid: int, which: int, soft: int, hard: int) -> None:
    try:
        resource.prlimit(pid, which, (soft, hard))
    except ProcessLookupError:  # it ended in this very moment
        return
    except OSError as error:
        raise UndoError(f"the limits of process {pid} could not be set back: {error.strerror}") from error


def _as_json(process: ProcessId) -> JSON:
    return [process.pid, process.started, process.boot]


def limit_undo(replica: str, pids: Sequence[int], which: int) -> Undo:
    """Names the limits that processes have now."""
    limits: list[JSON] = []
    for process in identities(pids):
        with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's: then it is not lowered either
            soft, hard = resource.prlimit(process.pid, which)
            limits.append({"process": _as_json(process), "soft": soft, "hard": hard})
    return Undo(
        id=f"{LimitUndo.kind}:{replica}:{which}",
        owner=LimitUndo.kind,
        args={"replica": replica, "resource": which, "limits": limits},
        says=f"set the limits of {replica} back with prlimit(1)",
    )


def lower_limit(pid: int, which: int, soft: int) -> None:
    """Lower the soft limit of one process. Raises CouldNotRun where it may not be."""
    try:
        _, hard = resource.prlimit(pid, which)
        resource.prlimit(pid, which, (soft if hard < 0 else min(soft, hard), hard))
    except ProcessLookupError:
        return
    except OSError as error:
        raise CouldNotRun(f"the limits of process {pid} cannot be changed: {error.strerror}") from error


# ------------------------------------------------------------------------------------------------------------ duty

_STEP, _SAVED = 0.004, 0.01
"""Seconds between two looks, and of processor time that may be saved up."""
_duties: dict[str, tuple[threading.Event, threading.Thread]] = {}
"""By replica: those of this process."""


class DutyUndo(UndoOwner):
    """Ends stopping by turns: every process goes on."""

    kind: ClassVar[str] = "fault.duty"

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:
        duty = _duties.pop(str(undo.args["replica"]), None)
        if duty is not None:
            duty[0].set()
            duty[1].join()
        if system is not None:
            system.replica(str(undo.args["replica"])).signal(signal.SIGCONT)
        for process in msgspec.convert(undo.args["processes"], list[ProcessId]):
            if running(process):
                with contextlib.suppress(ProcessLookupError):  # it ended in this very moment
                    os.kill(process.pid, signal.SIGCONT)


def duty_undo(replica: str, pids: Sequence[int]) -> Undo:
    """Names the processes that will be stopped by turns."""
    return Undo(
        id=f"{DutyUndo.kind}:{replica}",
        owner=DutyUndo.kind,
        args={"replica": replica, "processes": [_as_json(process) for process in identities(pids)]},
        says=f"kill -CONT {' '.join(map(str, pids))}",
    )


def duty_cycle(undo: Undo, pids: Sequence[int], share: float) -> None:
    """Stop processes whenever they have used more than `share` of one core since now, and let them go on when the time
    has caught up, until `undo` is applied. What they do not use they cannot save up for longer than a moment."""
    stop = threading.Event()

    def work() -> None:
        began, spent, stopped = time.monotonic(), _processor_time(pids), False
        try:
            while not stop.wait(_STEP):
                now = time.monotonic()
                used, allowed = _processor_time(pids) - spent, (now - began) * share
                if allowed - used > _SAVED:
                    began = now - (used + _SAVED) / share
                if (used > allowed) != stopped:
                    stopped = not stopped
                    _signal(pids, signal.SIGSTOP if stopped else signal.SIGCONT)
        finally:
            _signal(pids, signal.SIGCONT)

    thread = threading.Thread(target=work, name="fault-duty", daemon=True)
    _duties[str(undo.args["replica"])] = stop, thread
    thread.start()


def _processor_time(pids: Sequence[int]) -> float:
    """Seconds of processor that these processes have had, with all their threads, also those that have ended."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):  # gone meanwhile
            # The clock of another process, as clock_getcpuclockid(3) names it on Linux.
            total += time.clock_gettime((~pid << 3) | 2)
    return total


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # gone meanwhile
            os.kill(pid, number)
