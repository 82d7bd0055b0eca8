"""What a worker that was lost had been given to send and nobody knows the end of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from chaoskit.load.arrivals import arrivals
from chaoskit.load.wire import LoadPlan, Start
from chaoskit.model.observation import LoadSlot, slot_start

__all__ = ["unaccounted"]


def unaccounted(
    plan: LoadPlan, start: Start, until: float, owned: Collection[int], told: Mapping[tuple[str, float], int]
) -> Iterator[LoadSlot]:
    """Sends of an open load that a worker was to make before `until` and did not report, as dropped below the cap.

    `owned` are its numbers (modulo `plan.workers`), `told` what it reported by (name, slot in which it was planned).
    """
    mix = [request for request in plan.requests if not request.once]
    weights = [request.weight for request in mix]
    planned: Counter[tuple[str, float]] = Counter()
    for arrival in arrivals(plan.legs, weights, poisson=plan.poisson, seed=plan.seed):
        if arrival.at >= start.duration or start.t0 + arrival.at >= until:
            break
        if arrival.number % plan.workers in owned:
            planned[mix[arrival.which].name, slot_start(start.t0 + arrival.at)] += 1
    for (name, at), count in sorted(planned.items()):
        left = count - told.get((name, at), 0)
        if left > 0:
            yield LoadSlot(at=at, ended=at, name=name, dropped=left, dropped_below_cap=left)
