"""How long the answers of a health check stand: what it said between two questions, and where nobody asked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from chaoskit.model.observation import ProbeResult
from chaoskit.model.spans import Span

__all__ = ["standing"]

_SECONDS = 1.5
_DISTANCES = 4.0
"""Silence of so many seconds, and of so many of the usual distances of two answers, says that nobody asked."""


def standing(answers: Sequence[ProbeResult], last: float | None = None) -> list[Span]:
    """For each answer (ascending) the time in which it is what the check says: from its question to the next one, or,
    where nobody asked for long after it, until it came. The last one stands to `last` (in seconds; without it, for the
    usual distance of two)."""
    usual = median(later.at - one.at for one, later in pairwise(answers)) if len(answers) > 1 else 0.25
    found = []
    for answer, after in pairwise([*answers, None]):
        assert answer is not None
        told = answer.at + answer.took
        end = max(told, answer.at + usual if last is None else last) if after is None else after.at
        found.append((answer.at, end if end - told <= max(_SECONDS, _DISTANCES * usual) else told))
    return found
