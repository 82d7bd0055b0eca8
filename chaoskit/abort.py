"""Abort conditions, watched while the run goes on: bounds on the last second that must not be broken for too long."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from fnmatch import fnmatchcase

from chaoskit.experiment import AbortCondition
from chaoskit.model.load_view import LoadView
from chaoskit.model.observation import LoadSlot, Observation, slot_start
from chaoskit.model.units import duration_text
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["AbortWatch"]

_LOOK_BACK = 1.0
"""Seconds over which a measure is taken."""
_KEEP = 3.0
_LATE = 1.0
"""Seconds that a slot may take to come in: what has not come by then did not happen."""


class AbortWatch:
    """A recorder's listener that judges the conditions as slots come in, and as time goes by without any (`tick`).
    Requests count when they *ended*: what is still open is not known to have failed, but nor was it answered."""

    def __init__(self, conditions: Sequence[AbortCondition]) -> None:
        self._conditions = list(conditions)
        self._slots: deque[tuple[float, LoadSlot]] = deque()
        self._broken_since: dict[str, float] = {}
        self._judged = 0.0
        self._lock = threading.Lock()  # slots come in the recorder's thread, time goes by in the runner's
        self.fired: tuple[AbortCondition, float, float] | None = None
        """The condition, the value measured, and when: seconds since warmup began."""

    def __call__(self, seen: Observation) -> None:
        if not isinstance(seen, LoadSlot) or self.fired or not self._conditions:
            return
        ended = seen.at if seen.ended is None else seen.ended
        with self._lock:
            self._slots.append((ended, seen))
            self._judge(ended)

    def tick(self, now: float) -> None:
        """It is `now` (seconds since warmup began), whether or not requests end: where all of them hang, no slot comes
        in, and `throughput < 10/s` must fire all the same."""
        if self._conditions:
            with self._lock:
                self._judge(slot_start(now - _LATE))

    def _judge(self, now: float) -> None:
        if self.fired or now <= self._judged or now < _LOOK_BACK:  # a part of a second has fewer requests than it
            return
        self._judged = now
        while self._slots and self._slots[0][0] < now - _KEEP:
            self._slots.popleft()
        for condition in self._conditions:
            value = self._measure(condition, now)
            broken = value == value and (
                (condition.above is not None and value > condition.above)
                or (condition.below is not None and value < condition.below)
            )
            if not broken:
                self._broken_since.pop(condition.text, None)
                continue
            since = self._broken_since.setdefault(condition.text, now)
            if now - since >= condition.holds_for - 1e-6:
                self.fired = (condition, value, now)
                return

    def _measure(self, condition: AbortCondition, now: float) -> float:
        entries = [
            (at, slot)
            for at, slot in self._slots
            if now - _LOOK_BACK <= at < now and (not condition.of or fnmatchcase(slot.name, condition.of))
        ]
        return condition.bound().measured(LoadView(entries, ((now - _LOOK_BACK, now),)))

    def finding(self) -> Finding | None:
        """What fired, as a finding that refutes the run."""
        if self.fired is None:
            return None
        condition, value, at = self.fired
        shown = f"{value:.1%}" if condition.measure in ("error_rate", "availability") else f"{value:.3g}"
        if condition.measure.startswith("p"):
            shown = duration_text(value)
        return Finding(
            hypothesis="abort",
            kind="abort",
            verdict=Verdict.REFUTED,
            because=(
                f"the abort condition `{condition.text}` fired {duration_text(at)} into the run, at {shown}: every"
                " fault was taken out at once"
            ),
            expected=f"not {condition.text}",
            measured=None if value in (float("inf"), float("-inf")) else value,
            phase="fault",
            evidence=((max(0.0, at - condition.holds_for), at),),
            aborted=True,
        )
