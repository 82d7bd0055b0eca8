"""When a service cannot serve: by the faults that are in, or by the failures that users meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chaoskit.hypotheses.words import joined
from chaoskit.model.history import History, Phase

__all__ = ["Trouble", "end_of", "failures_met", "faults_of"]

_HALF_SECOND = 0.5
_FAILING = 0.5
_BREAK = 1.0


class Trouble(NamedTuple):
    """A time in which the service cannot serve. `end` is None where it did not end."""

    start: float
    end: float | None
    says: str

    def until(self, last: float) -> float:
        return self.end if self.end is not None else last


def faults_of(history: History) -> list[Trouble]:
    return [
        Trouble(fault.active[0], fault.undone, f"{fault.says} on {joined(fault.on)}")
        for fault in history.faults
        if fault.active is not None
    ]


def failures_met(history: History, of: str, phases: Sequence[Phase]) -> list[Trouble]:
    """Times in which at least half of the requests fail, by half seconds."""
    found: list[Trouble] = []
    says = f"failures of {of}" if of else "failures"
    for span in (span for phase in phases for span in history.windows.get(phase, [])):
        for block in history.between([span]).load(of).blocks(_HALF_SECOND):
            start, end = block.spans[0]
            if not block.requests or block.error_rate < _FAILING:
                continue
            if found and found[-1].end is not None and start - found[-1].end <= _BREAK:
                found[-1] = found[-1]._replace(end=end)
            else:
                found.append(Trouble(start, end, says))
    last = end_of(history)
    return [one if one.end is not None and one.end < last - 1e-6 else one._replace(end=None) for one in found]


def end_of(history: History) -> float:
    return max((end for spans in history.windows.values() for _, end in spans), default=0.0)
