"""Faults that starve a service: of processor, memory, descriptors. How, is found on the machine and told by `uses`."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from chaoskit.errors import CouldNotRun
from chaoskit.faults.edge import toxic_name
from chaoskit.faults.evidence import Bite, size_text
from chaoskit.faults.hogs import hog_undo, start_hogs
from chaoskit.faults.limits import (
    Group,
    duty_cycle,
    duty_undo,
    find_group,
    group_undo,
    limit_undo,
    lower_limit,
    our_group,
)
from chaoskit.faults.service import ServiceFault, Watched, strain_bite
from chaoskit.interfaces import Deployer, ReplicaControl, System
from chaoskit.model.undo import Undo
from chaoskit.model.units import Share, Size

__all__ = ["Cpu", "Descriptors", "Memory", "ResourceFault", "limit_that_leaves"]

_LOOKS, _BETWEEN = 10, 0.005
"""How often, and how many seconds apart, a process' descriptors are looked at."""


class ResourceFault(ServiceFault):
    """Base of faults that limit running processes on this machine."""

    needs: ClassVar[frozenset[str]] = frozenset({"limit"})
    controllers: ClassVar[tuple[str, ...]] = ()
    """Of cgroups, those that it can use: v1's name first where v2 has another."""

    def obstacles(self, deployer: type[Deployer]) -> Sequence[tuple[str, str]]:  # noqa: ARG002 - kinds look at it
        if platform.system() != "Linux":
            return [("kind", f"{self.kind} limits running processes, which needs Linux")]
        return ()

    def no_group(self, deployer: type[Deployer]) -> bool:
        """Whether it is known that there will be no cgroup: containers have one each, which nobody knows before."""
        return deployer.as_processes and our_group(*self.controllers) is None

    def by_group(self, deployer: type[Deployer], what: str, otherwise: str = "") -> str:
        """`uses`, where a cgroup is taken if there is one."""
        if not deployer.as_processes:
            return f"a cgroup ({what}) beside that of each container" + (f", else {otherwise}" if otherwise else "")
        group = our_group(*self.controllers)
        return f"cgroup v{group.version} ({what})" if group is not None else otherwise

    def pids(self, replica: ReplicaControl) -> list[int]:
        """Raises CouldNotRun where its processes cannot be seen."""
        pids = replica.pids()
        if not pids:
            raise CouldNotRun(f"{self.kind} on {replica.name}: its processes are not on this machine, or it is down")
        return pids

    def group(self, system: System, replica: ReplicaControl) -> Group | None:
        """The cgroup to use for one replica; None where there is none to be had."""
        name, pid = f"{toxic_name(system, self.id)}-{replica.name}", self.pids(replica)[0]
        found = (find_group(controller, pid, name) for controller in self.controllers)
        return next((group for group in found if group is not None), None)


class Cpu(ResourceFault):
    """Leave a service with a share of one core, or give it busy neighbours.

    What it does
        With `to`: holds all processes of each replica together down to `to` of one core, by a cgroup where we may make
        one, else by stopping them whenever they have used their share. With `hog`: keeps each replica on one of its
        cores, and starts so many processes there that never rest (beside a container in a cgroup that weighs as much).
        The kernel shares it out: a service that needs less than its part hardly notices.

    What it reveals
        Queues that grow with a slow service, timeouts that count its waiting too, health checks that starve with it.

    Example
        {kind: cpu, on: payments.1, to: 10%}
        {kind: cpu, on: payments.1, hog: 4}

    Undone by
        Moving its processes back to their own cgroup; or SIGCONT; or ending the neighbours, and all cores again.
    """

    kind: ClassVar[str] = "cpu"
    controllers: ClassVar[tuple[str, ...]] = ("cpu",)

    to: Share | None = Field(default=None, gt=0.0)
    """Share of one core that is left."""
    hog: int | None = Field(default=None, ge=1, le=64)
    """Busy neighbours on its core."""
    by: Literal["auto", "cgroup", "signals"] = "auto"
    """How: `auto` takes a cgroup where there is one."""

    def says(self) -> str:
        if self.to is None:
            return f"{self.hog} busy neighbour{'s'[: self.hog != 1]} on its core"
        return f"cpu held to {self.to * 100:g}% of a core"

    @model_validator(mode="after")
    def _one_way(self) -> Cpu:
        if (self.to is None) == (self.hog is None):
            raise ValueError("expected to: 10% (a share of a core) or hog: 4 (busy neighbours)")
        return self

    def obstacles(self, deployer: type[Deployer]) -> Sequence[tuple[str, str]]:
        found = super().obstacles(deployer)
        if not found and self.hog is None and self.by == "cgroup" and self.no_group(deployer):
            return [("by", "there is no cgroup (cpu) that we may use here; by: signals does without")]
        return found

    def uses(self, deployer: type[Deployer]) -> str:
        if self.hog is not None:
            return "busy processes, and sched_setaffinity"
        turns = "SIGSTOP and SIGCONT by turns"
        if self.by == "signals":
            return turns
        return self.by_group(deployer, "cpu", turns if self.by == "auto" else "")

    def undo(self, system: System) -> Sequence[Undo]:
        if self.hog is None:
            return [self._undo_one(system, replica) for replica in self.controls(system)]
        found = []
        for replica in self.controls(system):
            if group := self._beside(system, replica):
                found.append(group_undo(group))  # the last is undone first: it is empty by then
            found.append(hog_undo(self._mark(system, replica), replica.name, self.pids(replica)))
        return found

    def _mark(self, system: System, replica: ReplicaControl) -> str:
        return f"{toxic_name(system, self.id)}-{replica.name}"

    def _undo_one(self, system: System, replica: ReplicaControl) -> Undo:
        group = self._group(system, replica)
        if group is not None:
            return group_undo(group)
        return duty_undo(replica.name, self.pids(replica))

    def _beside(self, system: System, replica: ReplicaControl) -> Group | None:
        """A group for neighbours; None where what we start is in the service's own group anyway."""
        group, ours = self.group(system, replica), our_group(*self.controllers)
        return None if group is None or (ours is not None and ours.home == group.home) else group

    def _group(self, system: System, replica: ReplicaControl) -> Group | None:
        group = self.group(system, replica) if self.by != "signals" else None
        if group is None and self.by == "cgroup":
            raise CouldNotRun(f"cpu on {replica.name}: there is no cgroup that we may use here", hint="by: signals")
        return group

    def inject(self, system: System) -> None:
        for replica in self.controls(system):
            if self.to is None:
                pids, group = self.pids(replica), self._beside(system, replica)
                start_hogs(self._mark(system, replica), pids, self.hog or 1, group)
                continue
            group, pids = self._group(system, replica), self.pids(replica)
            if group is None:
                duty_cycle(self._undo_one(system, replica), pids, self.to)
                continue
            group.hold_to(self.to, pids)

    def bite(self, watched: Watched) -> Bite:
        before, during = watched.mean("service_cpu", watched.baseline), watched.mean("service_cpu", watched.span)
        said = ""
        if before == before and during == during:
            said = f"{watched.replica} used {before * 100:.3g}% of a core in baseline and {during * 100:.3g}% during"
        if said and self.to is not None:
            if during > 1.5 * self.to:
                return Bite(False, f"{said}: it was not held to {self.to * 100:g}%")
            if before > 1.5 * self.to:
                return Bite(True, said)
        return strain_bite(watched, said or f"what {watched.replica} used was not measured")


class Memory(ResourceFault):
    """Leave a service with little more memory than it has.

    What it does
        Each replica may take `more` than it holds when the fault goes in: by a cgroup where we may make one (then the
        kernel kills who takes more), else by a limit of each process' data (then its allocations fail).

    What it reveals
        Leaks, caches without a bound, requests that are read whole, restarts under load.

    Example
        {kind: memory, on: inventory, more: 20MB}

    Undone by
        Moving its processes back to their own cgroup, or setting the limit back; and starting what was killed.
    """

    kind: ClassVar[str] = "memory"
    controllers: ClassVar[tuple[str, ...]] = ("memory",)
    needs: ClassVar[frozenset[str]] = frozenset({"kill", "limit"})

    more: Size = Field(ge=0)
    """Bytes that it may take beyond those it has."""
    by: Literal["auto", "cgroup", "limit"] = "auto"
    """How: `auto` takes a cgroup where there is one."""

    def says(self) -> str:
        return f"memory held to {size_text(self.more)} more"

    def obstacles(self, deployer: type[Deployer]) -> Sequence[tuple[str, str]]:
        found = super().obstacles(deployer)
        if not found and self.by == "cgroup" and self.no_group(deployer):
            return [("by", "there is no cgroup (memory) that we may use here; by: limit does without")]
        return found

    def uses(self, deployer: type[Deployer]) -> str:
        limit = "prlimit (RLIMIT_DATA)"
        if self.by == "limit":
            return limit
        return self.by_group(deployer, "memory", limit if self.by == "auto" else "")

    def undo(self, system: System) -> Sequence[Undo]:
        found = []
        for replica in self.controls(system):
            group = self._group(system, replica)
            out = group_undo(group) if group else limit_undo(replica.name, self.pids(replica), resource.RLIMIT_DATA)
            found += [replica.undo_kill(), out]  # applied last first: it is started again where there is room
        return found

    def _group(self, system: System, replica: ReplicaControl) -> Group | None:
        group = self.group(system, replica) if self.by != "limit" else None
        if group is None and self.by == "cgroup":
            raise CouldNotRun(f"memory on {replica.name}: there is no cgroup that we may use here", hint="by: limit")
        return group

    def inject(self, system: System) -> None:
        for replica in self.controls(system):
            group, pids = self._group(system, replica), self.pids(replica)
            if group is None:
                for pid in pids:
                    lower_limit(pid, resource.RLIMIT_DATA, _data(pid) + self.more)
                continue
            # What they hold stays with their own group: only what they take from now on counts in ours.
            limit = str(max(self.more, resource.getpagesize()))
            group.enter({"memory.limit_in_bytes" if group.version == 1 else "memory.max": limit}, pids)

    def bite(self, watched: Watched) -> Bite:
        most = watched.most("service_memory", watched.span)
        before = watched.most("service_memory", watched.baseline)
        said = f"what {watched.replica} held was not measured"
        if most == most:
            said = f"{watched.replica} held {size_text(before)} in baseline and {size_text(most)} during"
        return strain_bite(watched, said, slow=False)


class Descriptors(ResourceFault):
    """Leave a service with few file descriptors: every connection takes one.

    What it does
        Lowers each process' limit of open descriptors to those it has open, and `left` more. What is open stays open.

    What it reveals
        Servers that stop accepting for ever, leaks of connections, pools that are larger than the limit.

    Example
        {kind: fds, on: orders, left: 2}

    Undone by
        Setting the limits back.
    """

    kind: ClassVar[str] = "fds"

    left: int = Field(default=0, ge=0)
    """Descriptors that each process may still open."""

    def says(self) -> str:
        return f"{self.left or 'no'} descriptors left"

    def uses(self, deployer: type[Deployer]) -> str:  # noqa: ARG002 - the same for all of them
        return "prlimit (RLIMIT_NOFILE)"

    def undo(self, system: System) -> Sequence[Undo]:
        return [
            limit_undo(replica.name, self.pids(replica), resource.RLIMIT_NOFILE) for replica in self.controls(system)
        ]

    def inject(self, system: System) -> None:
        for replica in self.controls(system):
            pids = self.pids(replica)
            limits: dict[int, int] = {}
            for _ in range(_LOOKS):  # what is open for a moment only must not count as a descriptor that it needs
                for pid in pids:
                    limit = limit_that_leaves(self.left, _descriptors(pid))
                    limits[pid] = min(limit, limits.get(pid, limit))
                time.sleep(_BETWEEN)
            for pid, limit in limits.items():
                lower_limit(pid, resource.RLIMIT_NOFILE, limit)

    def bite(self, watched: Watched) -> Bite:
        held = watched.most("service_fds", watched.span)
        said = (
            f"{watched.replica} held up to {held:.0f} descriptors" if held == held else f"{watched.replica} ran short"
        )
        return strain_bite(watched, said, slow=False)


def _data(pid: int) -> int:
    """Bytes of private writable memory: what RLIMIT_DATA counts."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it ended in this very moment
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), 0)


def limit_that_leaves(left: int, taken: Iterable[int]) -> int:
    """The limit under which a process that has `taken` open can open `left` more: a new descriptor gets the lowest
    number that is free, and it must be below the limit."""
    open_now = set(taken)
    limit = 0
    while left > 0 or limit in open_now:
        left -= limit not in open_now
        limit += 1
    return limit


def _descriptors(pid: int) -> list[int]:
    try:
        return [int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:  # it ended in this very moment
        return []
