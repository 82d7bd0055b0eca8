"""The fault that takes a service out of its network: a partition without a proxy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from chaoskit.errors import CouldNotRun
from chaoskit.faults.evidence import Bite
from chaoskit.faults.service import ServiceFault, Watched, frozen_bite
from chaoskit.interfaces import Disconnectable, System
from chaoskit.model.undo import Undo

__all__ = ["Disconnect"]


class Disconnect(ServiceFault):
    """Take a service out of its network, as when a cable is pulled.

    What it does
        Disconnects the container of each replica from the run's network. Its process goes on, and no connection is
        closed: what is sent either way is lost, and nobody is told. (Deployer docker only.)

    What it reveals
        Missing timeouts, connections that a pool takes for good for ever, work that both sides believe the other has.

    Example
        {kind: disconnect, on: payments.1, lasts: 3s}

    Undone by
        Connecting it again under its name; its address may be another one. Connections from before stay lost.
    """

    kind: ClassVar[str] = "disconnect"
    needs: ClassVar[frozenset[str]] = frozenset({"disconnect"})

    def says(self) -> str:
        return "out of its network"

    def _out(self, system: System) -> list[Disconnectable]:
        found: list[Disconnectable] = []
        for replica in self.controls(system):
            if not isinstance(replica, Disconnectable):
                raise CouldNotRun(
                    f"disconnect on {replica.name}: it has no network of its own", hint="use --deployer docker"
                )
            found.append(replica)
        return found

    def undo(self, system: System) -> Sequence[Undo]:
        return [replica.undo_disconnect() for replica in self._out(system)]

    def inject(self, system: System) -> None:
        for replica in self._out(system):
            replica.disconnect()

    def bite(self, watched: Watched) -> Bite:
        return frozen_bite(watched)
