"""The probe that listens to the taps on every edge."""

from __future__ import annotations

import threading
from typing import ClassVar

from chaoskit.interfaces import Emit, Probe, System

__all__ = ["Taps"]


class Taps(Probe):
    """Record what crosses every edge: connections, bytes, and calls with their method, path, status and duration."""

    kind: ClassVar[str] = "taps"

    def run(self, system: System, emit: Emit, stop: threading.Event) -> None:
        system.taps(emit, stop)
