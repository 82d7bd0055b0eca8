"""How much load there is over time: stages, spikes, pauses, and the legs that they come to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, NamedTuple

from pydantic import Field, model_validator

from chaoskit.model.units import Duration, Rate
from chaoskit.traffic.texts import Written

__all__ = ["Leg", "Spike", "Stage", "Think", "as_think", "level_at", "spiked"]


class Stage(Written):
    """A stretch of the load at one level."""

    rate: Rate | None = None
    users: Annotated[int, Field(ge=0)] | None = None
    for_: Duration = Field(alias="for")
    """How long it lasts; the last one's level stays until the load ends."""
    ramp: Duration = 0.0
    """The first part of it, in which the level goes there in a straight line from the one before."""

    @model_validator(mode="after")
    def _level(self) -> Stage:
        if (self.rate is None) == (self.users is None):
            raise ValueError("expected rate or users in a stage, and not both")
        if not 0 <= self.ramp <= self.for_ or self.for_ == 0:
            raise ValueError("expected a ramp that is at most as long as its stage, and a stage longer than nothing")
        return self

    @property
    def level(self) -> float:
        return self.rate if self.rate is not None else float(self.users or 0)


class Spike(Written):
    """Stretches in which the level is multiplied."""

    times: Annotated[float, Field(gt=0)]
    """Factor on the rate."""
    at: Duration
    """When the first one begins, from the start of the load (its warmup included)."""
    lasts: Duration
    every: Duration | None = None
    """Again each time this long after the last one began (default: only once)."""

    @model_validator(mode="after")
    def _fits(self) -> Spike:
        if self.lasts <= 0:
            raise ValueError("expected a spike that lasts longer than nothing")
        if self.every is not None and self.every < self.lasts:
            raise ValueError("expected spikes that end before the next one begins: every must not be below lasts")
        return self


class Think(Written):
    """A pause of random length."""

    min: Duration
    max: Duration

    @model_validator(mode="after")
    def _order(self) -> Think:
        if self.min > self.max:
            raise ValueError("expected a min that is not above max")
        return self


def as_think(value: object) -> object:
    """`200ms` is a pause of that length."""
    return value if isinstance(value, (dict, Think)) else {"min": value, "max": value}


class Leg(NamedTuple):
    """A stretch in which the level goes in a straight line. Seconds from the start of the load; levels per second, or
    users. The last leg of a load has no end (inf) and is level."""

    start: float
    end: float
    first: float
    last: float


_SPIKES = 1000


def spiked(legs: Sequence[Leg], spike: Spike) -> list[Leg]:
    """The legs cut at the edges of the spikes (the first 1000 of them), those inside multiplied."""
    starts = [spike.at + (spike.every or 0.0) * n for n in range(_SPIKES if spike.every else 1)]
    edges = sorted({edge for start in starts for edge in (start, start + spike.lasts)})
    result = []
    for leg in legs:
        cuts = [leg.start, *(edge for edge in edges if leg.start < edge < leg.end), leg.end]
        for start, end in pairwise(cuts):
            middle = start + (end - start) / 2 if end != float("inf") else start
            inside = any(begin <= middle < begin + spike.lasts for begin in starts)
            factor = spike.times if inside else 1.0
            result.append(Leg(start, end, level_at(leg, start) * factor, level_at(leg, end) * factor))
    return result


def level_at(leg: Leg, at: float) -> float:
    """The level at an instant within a leg."""
    if leg.first == leg.last or at == float("inf"):
        return leg.last
    return leg.first + (leg.last - leg.first) * (at - leg.start) / (leg.end - leg.start)
