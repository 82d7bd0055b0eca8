"""Spans of time: pairs of seconds, start included, end excluded."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Span", "within"]

Span = tuple[float, float]

_GRID = 1e-6
"""Far below a slot and far above the rounding of seconds: slot starts compare as what they mean."""


def within(at: float, spans: Sequence[Span]) -> bool:
    """Whether an instant lies in one of the spans."""
    for start, end in spans:  # noqa: SIM110 - a generator takes three times as long, and an hour asks a million times
        if start - _GRID <= at < end - _GRID:
            return True
    return False
