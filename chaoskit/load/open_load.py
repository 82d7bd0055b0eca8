"""Send on an absolute schedule, whether or not answers come back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from time import monotonic

import gevent

from chaoskit.load.arrivals import Arrival, arrivals
from chaoskit.load.sending import Sending
from chaoskit.load.session import Session
from chaoskit.load.timer import Alarm, alarm

__all__ = ["OpenLoad"]

_BURST = 64
"""Overdue sends at most before the loop reads answers again."""
_CATCH_UP = 1.0
"""A send that is overdue by more than this is dropped, below the cap: the generator was behind."""

_STOP_SLACK = 0.05
"""The load may be said to have stopped this much before Stop came: what was about to go out was never planned."""


class OpenLoad:
    """This worker's share of an open load's sends. Everything happens in callbacks of the loop."""

    def __init__(
        self,
        sending: Sending,
        owned: Collection[int] = (0,),
        of: int = 1,
        *,
        make_alarm: Callable[[Callable[[], None]], Alarm] = alarm,
    ) -> None:
        """This worker's arrivals are those whose number modulo `of` is in `owned`."""
        self._sending = sending
        self._owned = frozenset(owned)
        self._of = of
        self._since: dict[int, float] = {}
        """For what was another's: until when (seconds from the start)."""
        self._skipped: deque[Arrival] = deque(maxlen=of)
        """Other workers' arrivals that `_advance` went past last: they may become this one's."""
        self._waiting: deque[Arrival] = deque()
        """Arrivals before the schedule's next one that became this worker's."""
        plan = sending.plan
        self._arrivals = arrivals(
            plan.legs, [request.plan.weight for request in sending.mix], poisson=plan.poisson, seed=plan.seed
        )
        self._alarm = make_alarm(self._ring)
        self._cap = self._cap_of_share()
        self._plain = [plain and not sending.remembers for plain in sending.plain]
        self._next: Arrival | None = None
        self._t0 = 0.0
        self._end = 0.0
        self._idle: list[Session] = []
        self._busy = 0
        """Arrivals that a session is at."""

    def start(self, t0: float, duration: float) -> None:
        self._t0 = t0
        self._end = duration
        self._advance()
        self._arm()

    @property
    def users_here(self) -> int:
        return 1

    @property
    def planning(self) -> bool:
        """Whether something is still to be sent."""
        return self._next is not None

    @property
    def in_flight(self) -> int:
        return self._sending.in_flight + self._busy

    def stop(self) -> None:
        """Plan nothing more. What was due and should have gone out by now counts as dropped below the cap."""
        overdue = monotonic() - self._t0 - _STOP_SLACK
        while self._next is not None and self._next.at < overdue:
            self._drop(self._next, below_cap=True)
            self._advance()
        self._next = None
        self._waiting.clear()
        self._alarm.close()

    def own(self, owned: Collection[int], since: float) -> None:
        """This worker's share is `owned` now; of what is new in it, the arrivals from `since` (absolute) on."""
        fresh = frozenset(owned) - self._owned
        self._owned = frozenset(owned)
        self._since |= dict.fromkeys(fresh, since - self._t0)
        ahead = [*self._waiting, *([self._next] if self._next is not None else [])]
        ahead += [skipped for skipped in self._skipped if skipped.number % self._of in fresh and self._is_mine(skipped)]
        self._cap = self._cap_of_share()
        self._waiting = deque(sorted(ahead))
        self._skipped.clear()
        self._advance()
        self._arm()

    def _cap_of_share(self) -> int:
        """Each worker may have its share of what all may have in flight."""
        return -(-self._sending.plan.in_flight_cap * len(self._owned) // self._of)

    def _advance(self) -> None:
        if self._waiting:
            self._next = self._waiting.popleft()
            return
        self._next = None
        self._skipped.clear()
        for arrival in self._arrivals:
            if arrival.at >= self._end:
                break
            if self._of == 1 or self._is_mine(arrival):
                self._next = arrival
                return
            self._skipped.append(arrival)

    def _is_mine(self, arrival: Arrival) -> bool:
        number = arrival.number % self._of
        return number in self._owned and arrival.at >= self._since.get(number, 0.0)

    def _arm(self) -> None:
        if self._next is not None:
            self._alarm.at(self._t0 + self._next.at)

    def _ring(self) -> None:
        try:
            self._send_due()
        finally:
            self._arm()

    def _send_due(self) -> None:
        sending = self._sending
        plain = self._plain
        t0 = self._t0
        for _ in range(_BURST):
            arrival = self._next
            if arrival is None:
                return
            planned = t0 + arrival.at
            late = monotonic() - planned
            if late < 0:
                break
            self._advance()
            if self.in_flight >= self._cap:
                self._drop(arrival, below_cap=False)
            elif late > _CATCH_UP:
                self._drop(arrival, below_cap=True)
            elif plain[arrival.which]:
                sending.begin(sending.mix[arrival.which], planned, arrival.number)
            else:
                self._busy += 1
                gevent.spawn(self._session, arrival, planned)

    def _drop(self, arrival: Arrival, *, below_cap: bool) -> None:
        name = self._sending.mix[arrival.which].name
        self._sending.recorder.dropped(name, self._t0 + arrival.at, below_cap=below_cap)

    def _session(self, arrival: Arrival, planned: float) -> None:
        session = self._idle.pop() if self._idle else Session(self._sending)
        try:
            session.run(self._sending.mix[arrival.which], planned, arrival.number)
        finally:
            self._busy -= 1
            self._idle.append(session)
