"""Faults that people put in and take out by hand while a target stands."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from chaoskit.errors import CouldNotRun, UsageError
from chaoskit.injection import Injection
from chaoskit.interfaces import Fault, System
from chaoskit.model.history import FaultSpan, History, Phase, Span
from chaoskit.model.observation import SLOT
from chaoskit.model.undo import Undo
from chaoskit.reading import read_fault
from chaoskit.stage import Stage
from chaoskit.studies.afterwards import windows_of
from chaoskit.studies.live import FaultNow

__all__ = ["FaultsByHand"]

_SOON = 0.05
"""Seconds from the order to inject to the injection: for its undo to be written down."""
_IN_FORCE = 20.0
"""Seconds that a fault may take to be in force before whoever asked is told that it is still going in."""
_LOOK_BACK = 60.0
"""Seconds over which a relative fault looks for what an edge usually takes."""


class FaultsByHand:
    """All of one game day's, in the order in which they went in; any thread. Instants are seconds since `t0`."""

    def __init__(
        self, stage: Stage, system: System, *, deployer: str, blast_radius: Sequence[str], seed: int, t0: float
    ) -> None:
        self._stage = stage
        self._system = system
        self._deployer = deployer
        self._blast_radius = blast_radius
        self._seed = seed
        self._t0 = t0
        self._lock = threading.Lock()
        self._injections: list[Injection] = []
        self._closed = False

    def inject(self, written: Mapping[str, object], lasts: float) -> FaultNow:
        """Put a fault in for so long; returns when it is in force. `written` is as in an experiment's file.

        Raises UsageError for what does not fit, CouldNotTell for a relative fault that nobody could tell from chance,
        CouldNotRun where it could not be put in (then it is out again).
        """
        with self._lock:
            if self._closed:
                raise CouldNotRun("the game day is going down")
            injection = self._prepared(self._fault(written, lasts), lasts)
            self._injections.append(injection)
        until = time.monotonic() + _IN_FORCE
        while injection.span().in_force is None and not injection.error and time.monotonic() < until:
            time.sleep(0.01)
        if injection.error:
            injection.withdraw()
            raise CouldNotRun(injection.error)
        return _now(injection)

    def _fault(self, written: Mapping[str, object], lasts: float) -> Fault:
        fault = read_fault(
            written, self._system.target, deployer=self._deployer, blast_radius=self._blast_radius, lasts=lasts
        )
        stem = fault.name or fault.kind
        number = sum(stem == (one.fault.name or one.fault.kind) for one in self._injections) + 1
        fault = fault.model_copy(update={"id": stem if number == 1 else f"{stem}-{number}"}).seeded(self._seed)
        # The history is only looked through where a fault asks for it: it may be long.
        return fault if type(fault).resolve is Fault.resolve else fault.resolve(self._before_now())

    def _prepared(self, fault: Fault, lasts: float) -> Injection:
        start = time.monotonic() - self._t0 + _SOON
        injection = Injection(
            fault,
            self._system,
            t0=self._t0,
            window=(start, start + lasts),
            emit=self._stage.recorder.emit,
            will_undo=self._stage.will_undo,
            undone=self._stage.undone,
        )
        injection.prepare()
        return injection

    def withdraw(self, which: str) -> list[FaultNow]:
        """Take a fault out now (`all`: every one); returns when it is out. Raises UsageError for no such one."""
        there = [one for one in list(self._injections) if one.span().undone is None]
        chosen = [one for one in there if which in ("all", one.fault.id)]
        if not chosen and which != "all":
            names = ", ".join(one.fault.id for one in there) or "none"
            raise UsageError(f"no fault {which!r} is in", hint=f"there are: {names}")
        for injection in chosen:
            injection.withdraw()
        return [_now(one) for one in chosen]

    def close(self) -> None:
        """All out, and no more in: the game day goes down."""
        with self._lock:
            self._closed = True
        for injection in self._injections:
            injection.withdraw(ending=True)

    def now(self) -> list[FaultNow]:
        return [_now(one) for one in list(self._injections)]

    @property
    def faults(self) -> list[Fault]:
        return [one.fault for one in self._injections]

    @property
    def errors(self) -> list[str]:
        """What kept any of them from being put in or taken out."""
        return [one.error for one in self._injections if one.error]

    @property
    def undo_left(self) -> list[Undo]:
        return [undo for one in self._injections for undo in one.undo_left]

    def spans(self) -> list[FaultSpan]:
        return [one.span() for one in list(self._injections)]

    def windows(self, end: float) -> dict[Phase, list[Span]]:
        """Those of the game day up to `end`."""
        spans = self.spans()
        return windows_of([(span.injected, span.undone or end) for span in spans if span.injected is not None], end)

    def _before_now(self) -> History:
        """The last minute, as far as no fault was in: what a relative fault is measured by."""
        now = time.monotonic() - self._t0 - 3 * SLOT
        self._stage.recorder.flush()
        since = now - _LOOK_BACK
        recent = [seen for seen in self._stage.recorder.seen() if seen.at >= since]
        quiet = [
            (max(start, since), min(end, now))
            for phase, spans in self.windows(now).items()
            for start, end in spans
            if phase is not Phase.FAULT and end > since
        ]
        return History(recent, self._system.topology, {Phase.BASELINE: quiet}).between(quiet)


def _now(injection: Injection) -> FaultNow:
    span = injection.span()
    failed = bool(injection.error or injection.undo_left)
    return FaultNow(
        id=span.id,
        kind=span.kind,
        on=span.on,
        says=span.says,
        state="failed" if failed else "in" if span.undone is None else "out",
        since=span.injected,
        until=span.planned[1] if span.undone is None else span.undone,
        error=injection.error,
    )
