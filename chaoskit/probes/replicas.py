"""The probe that watches whether each replica's process is there."""

from __future__ import annotations

import threading
import time
from typing import ClassVar

from pydantic import Field

from chaoskit.interfaces import Emit, Probe, System
from chaoskit.model.observation import Event
from chaoskit.model.units import Duration

__all__ = ["Replicas"]


class Replicas(Probe):
    """Tell when a replica's process exits, and when one is started in its place.

    Events of kind `exited` and `started`, about the replica. Services with a `url` are not watched: whether they answer
    is what `health` asks.
    """

    kind: ClassVar[str] = "replicas"

    every: Duration = Field(default=0.02, ge=0.005)
    """Time between two looks."""

    def run(self, system: System, emit: Emit, stop: threading.Event) -> None:
        services = system.target.services
        ours = (replica for replica in system.replicas() if not services[replica.name.partition(".")[0]].url)
        watched = {replica: replica.alive() for replica in ours}
        while not stop.wait(self.every):
            for replica, was_alive in watched.items():
                alive = replica.alive()
                if alive != was_alive:
                    watched[replica] = alive
                    kind, text = ("started", "its process was started") if alive else ("exited", "its process ended")
                    about = {"replica": replica.name}
                    emit(Event(at=time.monotonic(), source="probe.replicas", kind=kind, text=text, about=about))
