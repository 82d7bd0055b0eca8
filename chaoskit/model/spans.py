"""Spans of time: pairs of seconds, start included, end excluded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["Span", "merged", "within"]

Span = tuple[float, float]

_GRID = 1e-6
"""Far below a slot and far above the rounding of seconds: slot starts compare as what they mean."""


def within(at: float, spans: Sequence[Span]) -> bool:
    """Whether an instant lies in one of the spans."""
    for start, end in spans:  # noqa: SIM110 - a generator takes three times as long, and an hour asks a million times
        if start - _GRID <= at < end - _GRID:
            return True
    return False


def merged(spans: Iterable[Span]) -> list[Span]:
    """Spans that touch or overlap as one, ascending."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1] + _GRID:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
