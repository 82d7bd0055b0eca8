"""One replica of a service as a process of this machine, and the undos of what faults do to it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

import msgspec

from chaoskit.deployers.ports import Reserved
from chaoskit.interfaces import Address, Child, Launcher, LaunchSpec, System, UndoOwner
from chaoskit.model.undo import Undo
from chaoskit.processes import ProcessId, descendants, identify, running, table

__all__ = ["Continue", "ProcessReplica", "StartAgain"]


class ProcessReplica:
    """A process that can be killed, paused and started again on its port: `interfaces.ReplicaControl`. Thread-safe."""

    def __init__(self, spec: LaunchSpec, port: Reserved, launcher: Launcher, ask: Callable[[Address], str]) -> None:
        """`ask` returns an empty string where the service is ready, else what it does instead."""
        self.spec = spec
        self._port = port
        self._launcher = launcher
        self._ask = ask
        self._lock = threading.Lock()
        self._child: Child | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def address(self) -> Address | None:
        return self._port.address

    def status(self) -> int | None:
        """Exit status of the process that was started last; None while it runs, and before the first."""
        return self._child.poll() if self._child is not None else None

    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        with self._lock:
            if not self.alive():
                self._port.release()
                self._child = self._launcher.launch(self.spec)

    def signal(self, number: int) -> None:
        if self._child is not None:
            self._child.signal(number, tree=True)

    def asked(self) -> str:
        """Empty where it is ready, else what it does instead."""
        return self._ask(self._port.address)

    def ready(self) -> bool:
        return self.alive() and not self.asked()

    def pids(self) -> list[int]:
        if self._child is None or not self.alive():
            return []
        return [self._child.pid, *sorted(descendants(table(), self._child.pid))]

    def stop(self) -> None:
        """The whole tree, also of one that has exited but left something behind."""
        if self._child is not None:
            self._child.stop()

    def undo_kill(self) -> Undo:
        return Undo(
            id=f"{StartAgain.kind}:{self.name}",
            owner=StartAgain.kind,
            args={"replica": self.name},
            says=f"start {self.name} again",
        )

    def undo_pause(self) -> Undo:
        """Names every process of its tree as it is now, for a fresh process to continue."""
        pids = self.pids()
        identities = [identity for pid in pids if (identity := identify(pid)) is not None]
        return Undo(
            id=f"{Continue.kind}:{self.name}",
            owner=Continue.kind,
            args={"replica": self.name, "processes": [list(identity) for identity in identities]},
            says=f"kill -CONT {' '.join(map(str, pids))}",
        )


class StartAgain(UndoOwner):
    """Undo of `kill`: the replica is started again on its port. In teardown there is nothing to start."""

    kind = "process.kill"
    for_live_only = True

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:
        if system is not None:
            system.replica(str(undo.args["replica"])).start()


class Continue(UndoOwner):
    """Undo of `pause`: the replica's processes run on."""

    kind = "process.pause"

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:
        if system is not None:
            system.replica(str(undo.args["replica"])).signal(signal.SIGCONT)
        for process in msgspec.convert(undo.args["processes"], list[ProcessId]):
            if running(process):
                with suppress(ProcessLookupError):  # it ended in this very moment
                    os.kill(process.pid, signal.SIGCONT)
