"""One process' part of the load inside Locust: its users, its recording, and its own health. Worker side only."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Mapping
from time import monotonic
from typing import Any, ClassVar, Protocol

import gevent
import locust
from gevent import get_hub
from gevent.event import Event
from locust.env import Environment

from chaoskit.load.closed_load import ClosedLoad
from chaoskit.load.locust_users import LocustUsers, lead
from chaoskit.load.open_load import OpenLoad
from chaoskit.load.plugins import load_listeners
from chaoskit.load.recording import Recorder
from chaoskit.load.sending import Sending
from chaoskit.load.wire import LoadPlan, Start
from chaoskit.model.observation import SLOT, MetricPoint, Observation
from chaoskit.model.undo import JSON

__all__ = ["Declared", "Generator", "LoadHere"]

_HEALTH = 0.5
"""Seconds between two health reports."""
_TICK = 0.02
"""Seconds between two looks at how late the loop is."""


class LoadHere(Protocol):
    """What a kind of load is to the generator: open, closed, or users of a locustfile."""

    def start(self, t0: float, duration: float) -> None: ...
    def stop(self) -> None:
        """Plan nothing more."""

    def own(self, owned: Collection[int], since: float) -> None:
        """This worker's share is these numbers now; those that are new from `since` (absolute) on."""

    @property
    def users_here(self) -> int:
        """Locust users that this process needs from the start; 0 where their number is led over time."""

    @property
    def planning(self) -> bool: ...
    @property
    def in_flight(self) -> int: ...


class Declared(locust.User):
    """The Locust user of declared requests: one endless task, which is what `life` says."""

    life: ClassVar[Callable[[], None]]
    wait_time = locust.constant(1)

    @locust.task
    def live(self) -> None:
        type(self).life()
        Event().wait()  # the life is over, and a task that ends would begin again


class Generator:
    """Runs the plan's share of this process. `emit` is called from greenlets every 100 ms."""

    def __init__(
        self,
        plan: LoadPlan,
        environment: Environment,
        emit: Callable[[list[Observation]], None],
        *,
        source: str,
        owned: Collection[int] = (0,),
        clock_ahead: float = 0.0,
    ) -> None:
        """`owned` are the numbers (modulo `plan.workers`) of the arrivals or users that are this process'.

        `environment` has its runner already; its users become the plan's. `clock_ahead` is how much this process'
        clock is ahead of the harness', in whose time everything is emitted.
        """
        self.plan = plan
        self.environment = environment
        self.recorder = Recorder(source, shift=clock_ahead)
        self.drained = Event()
        """Set once the schedule is over and nothing is in flight."""
        self._emit = emit
        self._source = source
        self._ahead = clock_ahead
        self._lag = 0.0
        self._expected = 0.0
        self._ticker: Any = None
        self._pulse: gevent.Greenlet | None = None
        environment.host = plan.entry
        load_listeners(plan.listeners)
        self._give: Callable[[Mapping[str, JSON]], None] = _nothing_given
        self.load: LoadHere
        if plan.locustfile:
            users = LocustUsers(plan, self.recorder, first=min(owned))
            environment.user_classes = users.classes
            self.load, self._give_up = users, users.give_up
        else:
            self._declare(owned)
        if not plan.listeners and not plan.locustfile:
            # Nobody reads Locust's own statistics then: ours are exact, and these cost 4 µs a request.
            locust.events.request._handlers.clear()
        _fire(locust.events.init, environment=environment, runner=environment.runner, web_ui=None)
        gc.collect()
        gc.freeze()

    def _declare(self, owned: Collection[int]) -> None:
        plan = self.plan
        self.environment.user_classes = [Declared]
        sending = Sending(plan, self.recorder, locust.events.request.fire if plan.listeners else None)
        self._give_up = sending.give_up
        self._give = sending.feeds.give
        if plan.open:
            Declared.life = _nothing
            self.load = OpenLoad(sending, owned, plan.workers)
        else:
            closed = ClosedLoad(sending, owned, plan.workers)
            Declared.life = closed.live
            self.load = closed

    # ------------------------------------------------------------------------------------------------- life of it

    def start(self, command: Start, *, spawn: bool = True) -> None:
        """Begin. Without `spawn`, a master says how many Locust users there are."""
        t0, duration = command.t0 + self._ahead, command.duration
        self._give(command.values)
        self.load.start(t0, duration)
        runner: Any = self.environment.runner
        if spawn and self.load.users_here:
            runner.start(self.load.users_here, spawn_rate=self.load.users_here)
        elif spawn:
            gevent.spawn(lead, runner, self.plan.legs, t0, lambda: self.load.planning)
        self._expected = monotonic() + _TICK
        self._ticker = get_hub().loop.timer(_TICK, _TICK)
        self._ticker.start(self._tick)
        self._pulse = gevent.spawn(self._beat, t0 + duration)

    def stop(self, grace: float) -> None:
        """Plan nothing more; wait `grace` for what is in flight, and report the rest as unfinished."""
        self.load.stop()
        until = monotonic() + grace
        while self.load.in_flight and monotonic() < until:
            gevent.sleep(0.005)
        self._give_up()
        if self._pulse is not None:
            self._pulse.kill()
        self.flush()

    def quit(self, patience: float) -> None:
        """End Locust's runner: its users, its `test_stop` and `quitting` listeners; for at most `patience` seconds."""

        runner: Any = self.environment.runner

        def end() -> None:
            runner.quit()
            _fire(self.environment.events.quitting, environment=self.environment, reverse=True)

        gevent.spawn(end).join(timeout=patience)

    def flush(self) -> None:
        """Hand out everything counted so far."""
        seen: list[Observation] = [*self.recorder.flush(), *self.recorder.told()]
        if seen:
            self._emit(seen)

    # ------------------------------------------------------------------------------------------------------ pulses

    def _beat(self, end: float) -> None:
        cpu, at = time.process_time(), monotonic()
        health_due = at + _HEALTH
        while True:
            now = monotonic() - self._ahead
            gevent.sleep((int(now / SLOT + 1e-6) + 1) * SLOT - now + 0.001)
            self.flush()
            now = monotonic()
            if now >= health_due:
                used, cpu = time.process_time() - cpu, time.process_time()
                self._health(now - self._ahead, used / (now - at))
                at, health_due = now, now + _HEALTH
            if now >= end and not self.load.planning and not self.load.in_flight:
                self.flush()
                self.drained.set()

    def _health(self, now: float, cpu: float) -> None:
        lag, self._lag = self._lag, 0.0
        values = {"generator_cpu": cpu, "generator_loop_lag": lag, "generator_in_flight": float(self.load.in_flight)}
        self._emit([MetricPoint(at=now, source=self._source, name=name, value=value) for name, value in values.items()])

    def _tick(self) -> None:
        now = monotonic()
        late = now - self._expected
        if late > self._lag:
            self._lag = late
        self._expected = now + _TICK


def _fire(hook: Any, **about: Any) -> None:
    """Fire one of Locust's events, which have no types."""
    hook.fire(**about)


def _nothing_given(_: Mapping[str, JSON]) -> None:
    """A locustfile has no use for values."""


def _nothing() -> None:
    """An open load sends by itself; its one user is there for Locust's listeners to see."""
