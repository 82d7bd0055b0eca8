"""What a worker that was lost had been given to send and nobody knows the end of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from chaoskit.load.arrivals import arrivals
from chaoskit.load.wire import LoadPlan, RequestPlan, Start
from chaoskit.model.observation import LoadSlot, slot_start

__all__ = ["Told", "horizon", "unaccounted"]

_MARGIN = 15.0
"""Seconds for a send that is late, for the report of its end, and for the loss of a worker to be noticed."""


def horizon(plan: LoadPlan) -> float:
    """Seconds after which a worker that lives has told how everything it had planned then ended."""
    return (
        _MARGIN
        + sum(_longest(request) for request in plan.requests if request.once)
        + max((_longest(request) for request in plan.requests), default=0.0)
    )


class Told:
    """Requests that one worker reported, by (name, slot in which they were planned), for so long as they matter: what
    is older has ended, or its worker was lost before. Instants are absolute."""

    def __init__(self, kept: float) -> None:
        """`kept` is the plan's `horizon`."""
        self._kept = kept
        self._trim_at = 0.0
        self._counts: Counter[tuple[str, float]] = Counter()

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, slot: LoadSlot, now: float) -> None:
        self._counts[slot.name, slot.at] += slot.ok + slot.failed + slot.dropped + slot.unfinished
        if now >= self._trim_at:
            since = self.since(now)
            self._counts = Counter({key: count for key, count in self._counts.items() if key[1] >= since})
            self._trim_at = now + self._kept

    def since(self, now: float) -> float:
        """From where on it is complete."""
        return now - self._kept

    def count(self, name: str, at: float) -> int:
        return self._counts[name, at]


def unaccounted(
    plan: LoadPlan, start: Start, now: float, until: float, owned: Collection[int], told: Told
) -> Iterator[LoadSlot]:
    """Sends of an open load that a worker was to make before `until` and did not report by `now`, as dropped below the
    cap.

    `owned` are its numbers (modulo `plan.workers`).
    """
    mix = [request for request in plan.requests if not request.once]
    weights = [request.weight for request in mix]
    planned: Counter[tuple[str, float]] = Counter()
    since = told.since(now)
    for arrival in arrivals(plan.legs, weights, poisson=plan.poisson, seed=plan.seed):
        if arrival.at >= start.duration or start.t0 + arrival.at >= until:
            break
        if arrival.number % plan.workers in owned and (at := slot_start(start.t0 + arrival.at)) >= since:
            planned[mix[arrival.which].name, at] += 1
    for (name, at), count in sorted(planned.items()):
        left = count - told.count(name, at)
        if left > 0:
            yield LoadSlot(at=at, ended=at, name=name, dropped=left, dropped_below_cap=left)


def _longest(request: RequestPlan) -> float:
    return request.timeout + sum(_longest(step) for step in request.then)
