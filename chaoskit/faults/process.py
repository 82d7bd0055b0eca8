"""Faults on the processes of a service: killed, stopped for a while, or fewer of them."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from chaoskit.faults.evidence import Bite
from chaoskit.faults.service import ServiceFault, Watched, exit_bite, frozen_bite
from chaoskit.interfaces import ReplicaControl, System
from chaoskit.model.undo import Undo

__all__ = ["Kill", "Pause", "Scale", "SignalName", "end_replicas"]

SignalName = Literal["SIGKILL", "SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGABRT", "SIGSEGV"]

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
    """Leave a service with fewer replicas.

    What it does
        Asks the replicas above `to` to stop (SIGTERM), the highest numbers first, as an orchestrator does.

    What it reveals
        Whether the rest can carry the load, callers that keep calling who is gone, shutdowns that drop what they do.

    Example
        {kind: scale, on: payments, to: 1}

    Undone by
        Starting them again on their ports.
    """

    kind: ClassVar[str] = "scale"
    needs: ClassVar[frozenset[str]] = frozenset({"kill"})

    to: int = Field(ge=0)
    """Replicas that are left."""

    def says(self) -> str:
        return f"scaled to {self.to}"

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Those of one place's replicas that stop."""
        return list(reversed(names[self.to :]))

    def undo(self, system: System) -> Sequence[Undo]:
        return [replica.undo_kill() for replica in self.controls(system)]

    def inject(self, system: System) -> None:
        end_replicas(self.controls(system), "SIGTERM")

    def bite(self, watched: Watched) -> Bite:
        return exit_bite(watched)
