"""One process' part of the load inside Locust: environment, users, recording, and its own health. Worker side only."""

from __future__ import annotations

import gc
import itertools
import logging
import time
from collections.abc import Callable, Collection
from time import monotonic
from typing import Any, Protocol

import gevent
import locust
from gevent import get_hub
from locust.env import Environment

from chaoskit.load.closed_load import ClosedLoad
from chaoskit.load.open_load import OpenLoad, residues
from chaoskit.load.plugins import load_listeners
from chaoskit.load.recording import Recorder
from chaoskit.load.sending import Sending
from chaoskit.load.wire import LoadPlan
from chaoskit.model.observation import SLOT, MetricPoint, Observation

__all__ = ["Generator", "LoadHere"]

log = logging.getLogger("chaoskit.load")

_HEALTH = 0.5
"""Seconds between two health reports."""
_TICK = 0.02
"""Seconds between two looks at how late the loop is."""


class LoadHere(Protocol):
    """What a kind of load is to the generator: open, closed, or users of a locustfile."""

    def start(self, t0: float, duration: float) -> None: ...
    def stop(self) -> None: ...
    @property
    def planning(self) -> bool: ...
    @property
    def in_flight(self) -> int: ...


class Generator:
    """Runs the plan's share of this process. `emit` is called from greenlets every 100 ms."""

    def __init__(
        self, plan: LoadPlan, emit: Callable[[list[Observation]], None], *, source: str, owned: Collection[int] = (0,)
    ) -> None:
        """`owned` are the numbers (modulo `plan.workers`) of the arrivals or users that are this process'."""
        self.plan = plan
        self.recorder = Recorder(source)
        self.done = gevent.event.Event()
        """Set once the schedule is over and nothing is in flight, or after `stop`."""
        self._emit = emit
        self._source = source
        self._lag = 0.0
        self._ticker: Any = None
        self._pulse: gevent.Greenlet | None = None
        load_listeners(plan.listeners)
        self.environment, self.load, self._finish = self._build(set(owned))

    def _build(self, owned: set[int]) -> tuple[Environment, LoadHere, Callable[[], None]]:
        plan = self.plan
        if plan.locustfile:
            from chaoskit.load.locust_users import LocustUsers

            users = LocustUsers(plan, self.recorder, first=min(owned))
            self.users_here = 0  # it keeps their number itself
            return users.environment, users, users.give_up
        declared: dict[str, Any] = {}
        environment = Environment(user_classes=[_user_class(declared)], events=locust.events, host=plan.entry)
        listening = bool(plan.listeners)
        sending = Sending(plan, self.recorder, locust.events.request.fire if listening else None)
        self.users_here = 1
        load: OpenLoad | ClosedLoad
        if plan.open:
            load = OpenLoad(sending, residues(owned, plan.workers) if plan.workers > 1 else None)
            declared["live"] = lambda: None
        else:
            load = ClosedLoad(sending)
            mine = [index for index in range(load.users) if index % plan.workers in owned]
            self.users_here = len(mine)
            waiting = itertools.chain(mine)
            declared["live"] = lambda: load.user(next(waiting))
        return environment, load, sending.give_up

    # ------------------------------------------------------------------------------------------------- life of it

    def prepare(self) -> None:
        """What can be done before the start: Locust's runner, and a memory that is not searched again."""
        self.environment.create_local_runner()
        if not self.plan.listeners and not self.plan.locustfile:
            # Nobody reads Locust's own statistics then: ours are exact, and these cost 4 µs a request.
            locust.events.request._handlers.clear()
        locust.events.init.fire(environment=self.environment, runner=self.environment.runner, web_ui=None)
        gc.collect()
        gc.freeze()

    def start(self, t0: float, duration: float) -> None:
        self.load.start(t0, duration)
        runner = self.environment.runner
        assert runner is not None
        if self.users_here:
            runner.start(self.users_here, spawn_rate=self.users_here)
        loop = get_hub().loop
        self._expected = monotonic() + _TICK
        self._ticker = loop.timer(_TICK, _TICK)
        self._ticker.start(self._tick)
        self._pulse = gevent.spawn(self._beat, t0 + duration)

    def stop(self, grace: float) -> None:
        """Plan nothing more; wait `grace` for what is in flight, and report the rest as unfinished."""
        self.load.stop()
        until = monotonic() + grace
        while self.load.in_flight and monotonic() < until:
            gevent.sleep(0.005)
        self._finish()
        if self._pulse is not None:
            self._pulse.kill()
        self.flush()
        self.done.set()

    def quit(self, patience: float) -> None:
        """End Locust's runner: its users, its `test_stop` and `quitting` listeners; for at most `patience` seconds."""
        runner = self.environment.runner

        def end() -> None:
            if runner is not None:
                runner.quit()
            self.environment.events.quitting.fire(environment=self.environment, reverse=True)

        gevent.spawn(end).join(timeout=patience)

    def flush(self) -> None:
        """Hand out everything counted so far."""
        slots = self.recorder.flush()
        if slots:
            self._emit(list(slots))

    # ------------------------------------------------------------------------------------------------------ pulses

    def _beat(self, end: float) -> None:
        cpu, at = time.process_time(), monotonic()
        health_due = at + _HEALTH
        while True:
            now = monotonic()
            gevent.sleep((int(now / SLOT + 1e-6) + 1) * SLOT - now + 0.001)
            self.flush()
            now = monotonic()
            if now >= health_due:
                used, cpu = time.process_time() - cpu, time.process_time()
                self._health(now, used / (now - at))
                at, health_due = now, now + _HEALTH
            if now >= end and not self.load.planning and not self.load.in_flight:
                self.flush()
                self.done.set()

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


def _user_class(declared: dict[str, Any]) -> type[locust.User]:
    class DeclaredUser(locust.User):  # type: ignore[misc] # locust is untyped for mypy
        """Lives the plan; one endless task."""

        wait_time = locust.constant(1)

        @locust.task
        def live(self) -> None:
            declared["live"]()
            # The life is over: an ended task would begin again.
            gevent.event.Event().wait()

    return DeclaredUser
