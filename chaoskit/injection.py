"""One fault's way through a run: its undo in the journal, in on time, out on time (or at once), instants recorded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec

from chaoskit.errors import ChaoskitError, UndoError
from chaoskit.interfaces import Emit, Fault, System
from chaoskit.model.history import FaultSpan
from chaoskit.model.observation import Event
from chaoskit.model.undo import Undo
from chaoskit.model.units import duration_text
from chaoskit.registry import undo_owners

__all__ = ["Injection", "apply_undo"]

_LATE = 1.0
"""Seconds after its planned end from which the guardian takes a fault out by itself."""


def apply_undo(undo: Undo, system: System | None, *, ending: bool = False) -> None:
    """Apply one undo through its owner; `ending` says that the system comes down next. Raises UndoError where it may
    still be in."""
    owner = undo_owners().get(undo.owner)
    if owner is None:
        raise UndoError(f"nobody here knows how to undo {undo.owner!r} ({undo.says or undo.id})")
    owner.apply_undo(undo, None if ending and owner.for_live_only else system)


class Injection:
    """Carries one fault in and out in a thread of its own. Instants in `span()` are seconds since `t0`."""

    def __init__(
        self,
        fault: Fault,
        system: System,
        *,
        t0: float,
        window: tuple[float, float],
        emit: Emit,
        will_undo: Callable[[Undo], None],
        undone: Callable[[str], None],
    ) -> None:
        self.fault = fault
        self.error = ""
        """What kept it from being injected or taken out; empty where nothing did."""
        self.undo_left: list[Undo] = []
        self._system = system
        self._t0 = t0
        self._emit = emit
        self._will_undo = will_undo
        self._undone = undone
        start = window[0] + fault.at
        end = window[1] if fault.lasts is None else min(window[1], start + fault.lasts)
        self._planned = (start, end)
        self._undos: list[Undo] = []
        self._injected: float | None = None
        self._in_force: float | None = None
        self._out: float | None = None
        self._withdraw = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._work, name=f"fault-{fault.id}", daemon=True)

    def prepare(self) -> None:
        """Write its undos into the journal; then it only waits for its time."""
        due = self._t0 + self._planned[1] + _LATE
        self._undos = [
            # Two faults may need the same undo (two partitions of one edge): each has its own line in the journal.
            msgspec.structs.replace(undo, id=f"{self.fault.id}: {undo.id}", due=due)
            for undo in self.fault.undo(self._system)
        ]
        for undo in self._undos:
            self._will_undo(undo)
        self._thread.start()

    def withdraw(self, *, ending: bool = False) -> None:
        """Out at once (or never in); returns when it is out. `ending` says that the system comes down next: what was
        killed is not started again for it."""
        self._ending = ending
        self._withdraw.set()
        self.join()

    def join(self, timeout: float | None = None) -> None:
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def span(self) -> FaultSpan:
        """Its instants so far."""
        topology = self._system.topology
        return FaultSpan(
            id=self.fault.id,
            kind=self.fault.kind,
            on=self.fault.places,
            edges=tuple(edge.name for edge in self.fault.edges(topology)),
            replicas=tuple(self.fault.replicas(topology)),
            says=self.fault.says(),
            planned=self._planned,
            injected=self._injected,
            in_force=self._in_force,
            undone=self._out,
        )

    def _now(self) -> float:
        return time.monotonic() - self._t0

    def _sleep_until(self, at: float) -> None:
        """Until `at`, or until it is withdrawn. The last stretch is slept off in small steps, to be on time."""
        while (left := at - self._now()) > 0 and not self._withdraw.is_set():
            self._withdraw.wait(left - 0.002 if left > 0.005 else left)

    def _work(self) -> None:
        self._sleep_until(self._planned[0])
        if not self._withdraw.is_set():
            try:
                self._inject()
            except Exception as error:  # noqa: BLE001 - it shuts this fault's gate, and the fault must come out again
                self._failed("injecting", error)
        if self._in_force is not None:
            self._sleep_until(self._planned[1])
        self._take_out()

    def _inject(self) -> None:
        self._injected = self._now()
        self.fault.inject(self._system)
        self._in_force = self._now()
        self._say("injected", f"{self.fault.says()} on {', '.join(self.fault.places)}", self._injected)

    def _take_out(self) -> None:
        for undo in reversed(self._undos):
            try:
                apply_undo(undo, self._system, ending=self._ending)
                self._undone(undo.id)
            except Exception as error:  # noqa: BLE001 - the others must come out too; what is left is reported
                self.undo_left.append(undo)
                self._failed("undoing", error)
        self._out = self._now()
        if self._injected is not None and not self.undo_left:
            lasted = duration_text(self._out - self._injected)
            self._say("undone", f"{self.fault.says()} is out after {lasted}", self._out)

    def _failed(self, doing: str, error: Exception) -> None:
        what = error.message if isinstance(error, ChaoskitError) else f"{type(error).__name__}: {error}"
        self.error = self.error or f"{doing} {self.fault.says()} failed: {what}"
        self._say("fault_failed", f"{doing} {self.fault.says()} failed: {what}", self._now())

    def _say(self, kind: str, text: str, at: float) -> None:
        self._emit(Event(at=self._t0 + at, source="runner", kind=kind, text=text, about={"fault": self.fault.id}))
