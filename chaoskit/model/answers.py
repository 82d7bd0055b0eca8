"""What a health check said, between its answers too: stretches of the same answer, and where nobody asked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from chaoskit.model.observation import ProbeResult

__all__ = ["Stretch", "stretches_of"]

_SECONDS = 1.5
_DISTANCES = 4.0
"""Silence of so many seconds, and of so many of the usual distances of two answers, says that nobody asked."""


class Stretch(NamedTuple):
    """Answers on end that say the same, from the question of the first. Where nobody asked there is none."""

    start: float
    end: float
    first: ProbeResult

    @property
    def ok(self) -> bool:
        return self.first.ok


def stretches_of(answers: Sequence[ProbeResult], last: float | None = None) -> list[Stretch]:
    """What answers (ascending) say: each from its question to the next one, or, where nobody asked for long after it,
    until it came. The last one stands to `last` (in seconds; without it, for the usual distance of two)."""
    usual = median(later.at - one.at for one, later in pairwise(answers)) if len(answers) > 1 else 0.25
    found: list[Stretch] = []
    for answer, after in pairwise([*answers, None]):
        assert answer is not None
        told = answer.at + answer.took
        end = max(told, answer.at + usual if last is None else last) if after is None else after.at
        end = end if end - told <= max(_SECONDS, _DISTANCES * usual) else told
        if found and found[-1].ok == answer.ok and found[-1].end >= answer.at:
            found[-1] = found[-1]._replace(end=end)
        else:
            found.append(Stretch(answer.at, end, answer))
    return found
