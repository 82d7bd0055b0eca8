"""Users who each wait for their answer, think, and send again."""

from __future__ import annotations

import itertools
import random
from bisect import bisect_right
from collections.abc import Collection
from time import monotonic

import gevent
from gevent.queue import SimpleQueue

from chaoskit.load.arrivals import level_at, next_above
from chaoskit.load.exchange import Exchange
from chaoskit.load.request import Prepared
from chaoskit.load.sending import Sending
from chaoskit.load.session import Session

__all__ = ["ClosedLoad"]

_ANSWERED = ("status ", "check: ")
"""Causes (as they begin) of failures with an answer. Any other may come back at once, some before the loop had a
turn: a user who went on without a pause would storm, and keep everything else from running."""
_LEAST_PAUSE = 0.001
"""Seconds in which the loop has its turn, where no backoff is wanted."""


class ClosedLoad:
    """The users of this worker: `live` is one's whole life, in its greenlet."""

    def __init__(self, sending: Sending, owned: Collection[int] = (0,), of: int = 1) -> None:
        """This worker's users are those whose number modulo `of` is in `owned`."""
        self._sending = sending
        self._of = of
        self._owned: frozenset[int] = frozenset()
        self._unborn: SimpleQueue[int] = SimpleQueue()
        plan = sending.plan
        self._plan = plan
        self._bounds = list(itertools.accumulate(request.plan.weight for request in sending.mix))
        self.users = max(1, round(max(max(first, last) for _, _, first, last in plan.legs)))
        """Of the whole load, on all workers, at its highest."""
        self._steady = len(plan.legs) == 1
        self._t0 = 0.0
        self._end = 0.0
        self.stopping = False
        self.busy = 0
        """Users who wait for an answer."""
        self.own(owned, 0.0)

    def start(self, t0: float, duration: float) -> None:
        self._t0 = t0
        self._end = t0 + duration

    @property
    def planning(self) -> bool:
        return not self.stopping and monotonic() < self._end

    @property
    def in_flight(self) -> int:
        return self.busy

    def stop(self) -> None:
        self.stopping = True

    def own(self, owned: Collection[int], since: float) -> None:  # noqa: ARG002 - users have no place in a schedule
        """This worker's share is `owned` now: its new users can live."""
        fresh = frozenset(owned) - self._owned
        self._owned = frozenset(owned)
        for index in range(self.users):
            if index % self._of in fresh:
                self._unborn.put(index)

    @property
    def users_here(self) -> int:
        return sum(1 for index in range(self.users) if index % self._of in self._owned)

    def live(self) -> None:
        """The life of the next user of this worker's share; waits where there is none."""
        index = self._unborn.get()
        try:
            self.user(index)
        except Exception:
            self._unborn.put(index)  # Locust tells of the error, and lets this or another of its users live it again
            raise

    def user(self, index: int) -> None:
        """Live until the load ends. Users are counted from 0 over all workers."""
        plan, sending = self._plan, self._sending
        rng = random.Random(f"user {plan.seed} {index}")  # noqa: S311 - repeats with the seed, guards nothing
        session = Session(sending)
        thinks = plan.think[1] > 0
        sequence = itertools.count()
        self._sleep_until(self._t0)
        while not self.stopping:
            began = monotonic()
            if began >= self._end:
                return
            if not self._steady and level_at(plan.legs, began - self._t0) <= index:
                again = next_above(plan.legs, index, began - self._t0)
                self._sleep_until(min(self._t0 + again, self._end))
                continue
            which = self._choose(rng)
            request = sending.mix[which]
            number = next(sequence) * self.users + index
            self.busy += 1
            try:
                if sending.plain[which] and session.bare:
                    cause = self._plain(session, request, number, began)
                else:
                    cause = session.run(request, 0.0, number)
            finally:
                self.busy -= 1
            pause = rng.uniform(*plan.think) if thinks else 0.0
            if plan.pacing:
                pause = max(pause, began + plan.pacing - monotonic())
            if cause and not cause.startswith(_ANSWERED):
                pause = max(pause, began + plan.backoff - monotonic(), _LEAST_PAUSE)
            if pause > 0:
                gevent.sleep(min(pause, max(self._end - monotonic(), 0.0)))

    def _plain(self, session: Session, request: Prepared, number: int, began: float) -> str:
        sending = self._sending
        data = sending.rendered(request, number)
        if data is None:
            return "not sent"
        exchange = Exchange(request, data, sending.origin, session.pool, began, began + request.timeout)
        exchange.sent = began
        sending.client.perform(exchange)
        session.keep_cookies(exchange)
        cause = sending.book(exchange)
        if sending.heard:
            sending.tell(exchange)
        return cause

    def _choose(self, rng: random.Random) -> int:
        bounds = self._bounds
        if len(bounds) == 1:
            return 0
        return min(bisect_right(bounds, rng.random() * bounds[-1]), len(bounds) - 1)

    def _sleep_until(self, instant: float) -> None:
        while not self.stopping and (left := instant - monotonic()) > 0:
            gevent.sleep(min(left, 0.5))
