"""Faults on the processes of a service: killed, stopped for a while, or fewer of them."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import ClassVar, Literal

import msgspec
from pydantic import Field

from chaoskit.errors import CouldNotRun
from chaoskit.faults.evidence import Bite
from chaoskit.faults.service import ServiceFault, Watched, exit_bite, frozen_bite, started_bite
from chaoskit.interfaces import ReplicaControl, System, UndoOwner
from chaoskit.model.topology import Topology
from chaoskit.model.undo import Undo

__all__ = ["Kill", "Pause", "Scale", "SignalName", "StopAgain", "end_replicas"]

SignalName = Literal["SIGKILL", "SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGABRT", "SIGSEGV"]

_READY = 30.0
"""Seconds that replicas may take to get ready when a service is scaled up."""
_PATIENCE = 5.0
"""Seconds that a process may take to die of its signal; one that outlives it is left alone (its trace will say so)."""


def end_replicas(replicas: Sequence[ReplicaControl], name: SignalName, patience: float = _PATIENCE) -> None:
    """Signal all of them, then wait until they are gone."""
    number = signal.Signals[name]
    for replica in replicas:
        replica.signal(number)
    until = time.monotonic() + patience
    while any(replica.alive() for replica in replicas) and time.monotonic() < until:
        time.sleep(0.002)


class Kill(ServiceFault):
    """Kill a service, or one of its replicas.

    What it does
        Sends `signal` to the process and all that it started. Nothing starts it again while the fault is in.

    What it reveals
        Callers that do not go to another replica, work that is lost half done, slow starts, reconnects in a herd.

    Example
        {kind: kill, on: payments.1}
        {kind: kill, on: postgres, signal: SIGKILL, lasts: 5s}

    Undone by
        Starting it again on its port. (When the run is torn down there is nothing to start.)
    """

    kind: ClassVar[str] = "kill"
    needs: ClassVar[frozenset[str]] = frozenset({"kill"})

    signal: SignalName = "SIGKILL"
    """How it is told: SIGKILL leaves it no time, SIGTERM lets it finish what it does."""

    def says(self) -> str:
        return f"killed ({self.signal})"

    def undo(self, system: System) -> Sequence[Undo]:
        return [replica.undo_kill() for replica in self.controls(system)]

    def inject(self, system: System) -> None:
        end_replicas(self.controls(system), self.signal)

    def bite(self, watched: Watched) -> Bite:
        return exit_bite(watched)


class Pause(ServiceFault):
    """Stop a service where it stands: alive to the kernel, dead to its users.

    What it does
        Sends SIGSTOP to the process and all that it started. Its connections stay open, new ones are taken by the
        kernel, and nothing is answered.

    What it reveals
        Missing timeouts, health checks that only ask whether a port is open, locks and leases of a holder that sleeps.

    Example
        {kind: pause, on: payments.1, lasts: 3s}

    Undone by
        SIGCONT: it goes on where it stood.
    """

    kind: ClassVar[str] = "pause"
    needs: ClassVar[frozenset[str]] = frozenset({"pause"})

    def says(self) -> str:
        return "paused"

    def undo(self, system: System) -> Sequence[Undo]:
        return [replica.undo_pause() for replica in self.controls(system)]

    def inject(self, system: System) -> None:
        for replica in self.controls(system):
            replica.signal(signal.SIGSTOP)

    def bite(self, watched: Watched) -> Bite:
        return frozen_bite(watched)


class Scale(ServiceFault):
    """Give a service fewer replicas, or more.

    What it does
        Down: asks the replicas above `to` to stop (SIGTERM), the highest numbers first, as an orchestrator does. Up:
        only `before` of the target's replicas run from the warmup on; the fault starts the others up to `to` and waits
        until they are ready. Each has its own edges and proxies from the start, and callers that name all of them
        (`{payments:all}`) find those that are not there yet refusing connections.

    What it reveals
        Down: whether the rest can carry the load, callers that keep calling who is gone, shutdowns that drop what they
        do. Up: callers that never come back to a replica that was away, pools that stay with the old ones, slow starts
        that get traffic before they can take it.

    Example
        {kind: scale, on: payments, to: 1}
        {kind: scale, on: payments, before: 1, to: 2}

    Undone by
        Starting those again that were stopped, on their ports; stopping those that were started.
    """

    kind: ClassVar[str] = "scale"
    needs: ClassVar[frozenset[str]] = frozenset({"kill"})

    to: int = Field(ge=0)
    """Replicas that run while it is in."""
    before: int | None = Field(default=None, ge=0)
    """Replicas that run before it, and after it (default: all that the target has)."""

    def says(self) -> str:
        return f"scaled to {self.to}" if self.before is None else f"scaled from {self.before} to {self.to}"

    @property
    def up(self) -> bool:
        return self.before is not None and self.before < self.to

    def check(self, topology: Topology) -> Sequence[tuple[str, str]]:
        found = []
        for place in self.places:
            count = len(topology.select_replicas(place))
            if self.to > count or (self.before or 0) > count:
                key = "to" if self.to > count else "before"
                what = f"{place} has {count} replica{'s'[: count != 1]} in target {topology.target}"
                found.append((key, f"{what}; `replicas: {max(self.to, self.before or 0)}` there, and `before` here"))
            elif self.to == (count if self.before is None else self.before):
                found.append(
                    ("to", f"{place} has {self.to} replicas before it too; `before: …` says how many run then")
                )
        return found

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Those of one place's replicas that stop, or start."""
        if self.up:
            return list(names[self.before : self.to])
        return list(reversed(names[self.to : self.before]))

    def _beyond(self, system: System) -> list[ReplicaControl]:
        """Those that do not run before it."""
        names = [system.topology.select_replicas(place)[self.before :] for place in self.places]
        return [system.replica(name) for place in names for name in reversed(place) if self.before is not None]

    def undo_arranged(self, system: System) -> Sequence[Undo]:
        return [replica.undo_kill() for replica in self._beyond(system)]

    def arrange(self, system: System) -> None:
        end_replicas(self._beyond(system), "SIGTERM")

    def undo(self, system: System) -> Sequence[Undo]:
        if self.up:
            return [stop_undo([replica.name for replica in self.controls(system)])]
        return [replica.undo_kill() for replica in self.controls(system)]

    def inject(self, system: System) -> None:
        if not self.up:
            end_replicas(self.controls(system), "SIGTERM")
            return
        replicas = self.controls(system)
        for replica in replicas:
            replica.start()
        until = time.monotonic() + _READY
        while waiting := [replica.name for replica in replicas if not replica.ready()]:
            if time.monotonic() > until:
                raise CouldNotRun(f"{', '.join(waiting)} did not get ready within {_READY:g} s")
            time.sleep(0.02)

    def bite(self, watched: Watched) -> Bite:
        return started_bite(watched) if self.up else exit_bite(watched)


class StopAgain(UndoOwner):
    """Stops replicas that a fault has started. In a fresh process the end of the run stops them."""

    kind: ClassVar[str] = "fault.scale"

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:
        if system is not None:
            names = msgspec.convert(undo.args["replicas"], list[str])
            end_replicas([system.replica(name) for name in reversed(names)], "SIGTERM")


def stop_undo(replicas: Sequence[str]) -> Undo:
    """Names the replicas that will be started."""
    says = f"stop {', '.join(replicas)}"
    return Undo(
        id=f"{StopAgain.kind}:{','.join(replicas)}", owner=StopAgain.kind, args={"replicas": [*replicas]}, says=says
    )
