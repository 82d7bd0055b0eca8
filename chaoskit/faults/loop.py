"""Faults that go on acting while they are in: restarted late, crashing again and again, killed at random.

Each runs a thread of its own in the harness, which its undo stops before the replicas are started for good. In a fresh
process there is no such thread: the replicas' own undos are all that is left to do.
"""

from __future__ import annotations

import random
import threading
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import ClassVar, NamedTuple

from pydantic import Field

from chaoskit.errors import ChaoskitError, UndoError
from chaoskit.faults.edge import toxic_name
from chaoskit.faults.evidence import Bite
from chaoskit.faults.process import SignalName, end_replicas
from chaoskit.faults.service import ServiceFault, Watched, exit_bite
from chaoskit.interfaces import Fault, System, UndoOwner
from chaoskit.model.history import History
from chaoskit.model.undo import Undo
from chaoskit.model.units import Duration, duration_text
from chaoskit.model.verdict import Trace

__all__ = ["CrashLoop", "LoopUndo", "Monkey", "Restart", "Strike"]


class Strike(NamedTuple):
    """One kill: `wait` seconds after the replicas of the one before are up again, and up again `down` seconds later."""

    wait: float
    replicas: tuple[str, ...]
    down: float
    start: tuple[str, ...] = ()
    """Who is started then, where it is not `replicas`."""


class _Loop:
    """Carries strikes out one after the other until it is told to stop."""

    def __init__(self, system: System, strikes: Iterator[Strike], signal: SignalName) -> None:
        self.error: Exception | None = None
        self._system = system
        self._strikes = strikes
        self._signal = signal
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="fault-loop", daemon=True)

    def start(self) -> None:
        """Returns when the first strike is done, where that one waits for nothing."""
        first = next(self._strikes, None)
        if first is None:
            return
        if first.wait == 0.0:
            self._strike(first)
            self._strikes = chain([Strike(0.0, (), first.down, first.replicas)], self._strikes)
        else:
            self._strikes = chain([first], self._strikes)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _strike(self, strike: Strike) -> None:
        end_replicas([self._system.replica(name) for name in strike.replicas], self._signal)

    def _work(self) -> None:
        try:
            for strike in self._strikes:
                if self._stop.wait(strike.wait):
                    return
                self._strike(strike)
                if self._stop.wait(strike.down):
                    return
                for name in strike.start or strike.replicas:
                    self._system.replica(name).start()
        except Exception as error:  # noqa: BLE001 - raised by the undo, in the thread that takes the fault out
            self.error = error


_loops: dict[str, _Loop] = {}
"""By what their undo calls them (its id is the journal's, where it may bear the fault's name too): those of this
process."""


class LoopUndo(UndoOwner):
    """Stops the thread of a fault that goes on acting."""

    kind: ClassVar[str] = "fault.loop"

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:  # noqa: ARG003 - the thread has its own
        loop = _loops.pop(str(undo.args["loop"]), None)
        if loop is None:
            return
        loop.stop()
        if loop.error is not None:
            what = loop.error.message if isinstance(loop.error, ChaoskitError) else str(loop.error)
            raise UndoError(f"{undo.says} ended in the middle: {what}", hint="see whether the service runs")


class LoopFault(ServiceFault):
    """Base of faults that go on acting. Kinds say when they strike."""

    needs: ClassVar[frozenset[str]] = frozenset({"kill"})

    signal: SignalName = "SIGKILL"
    """How a process is told to end."""

    @abstractmethod
    def strikes(self, replicas: Sequence[str]) -> Iterator[Strike]:
        """Its kills, in order. Pure."""

    def undo(self, system: System) -> Sequence[Undo]:
        # The thread must be stopped before the replicas are started for good: undos are applied last first.
        return [*(replica.undo_kill() for replica in self.controls(system)), self._undo_loop(system)]

    def _undo_loop(self, system: System) -> Undo:
        name = toxic_name(system, self.id)
        return Undo(id=f"loop {name}", owner=LoopUndo.kind, args={"loop": name}, says=f"stop {self.says()}")

    def inject(self, system: System) -> None:
        loop = _Loop(system, self.strikes(self.replicas(system.topology)), self.signal)
        _loops[toxic_name(system, self.id)] = loop
        loop.start()


class Restart(LoopFault):
    """Stop a service and start it again a while later, as a deployment does.

    What it does
        Sends `signal`, waits until the process is gone, and starts it again on its port `after` that.

    What it reveals
        Shutdowns that drop what they do, slow starts, readiness that says yes too early, caches that start cold.

    Example
        {kind: restart, on: orders, after: 2s}

    Undone by
        Starting it, where it is not up again yet.
    """

    kind: ClassVar[str] = "restart"

    signal: SignalName = "SIGTERM"
    """How it is told: SIGTERM lets it finish what it does."""
    after: Duration = Field(default=1.0, ge=0.0)
    """How long it is down."""

    def says(self) -> str:
        return f"restarted after {duration_text(self.after)} ({self.signal})"

    def strikes(self, replicas: Sequence[str]) -> Iterator[Strike]:
        yield Strike(0.0, tuple(replicas), self.after)

    def bite(self, watched: Watched) -> Bite:
        return exit_bite(watched)


class CrashLoop(LoopFault):
    """Let a service crash again and again.

    What it does
        Kills the process, starts it again `down` later, lets it live for `up`, and so on.

    What it reveals
        Breakers and pools that take each start for a recovery, health checks that are too slow to tell.

    Example
        {kind: crash_loop, on: payments.1, up: 2s, down: 500ms}

    Undone by
        Stopping the loop, and starting the service.
    """

    kind: ClassVar[str] = "crash_loop"

    up: Duration = Field(default=2.0, ge=0.05)
    """How long it lives each time."""
    down: Duration = Field(default=0.5, ge=0.0)
    """How long it is down each time."""

    def says(self) -> str:
        return f"crashing after {duration_text(self.up)}, over and over"

    def strikes(self, replicas: Sequence[str]) -> Iterator[Strike]:
        yield Strike(0.0, tuple(replicas), self.down)
        while True:
            yield Strike(self.up, tuple(replicas), self.down)

    def bite(self, watched: Watched) -> Bite:
        exits = len(watched.events("exited"))
        first = exit_bite(watched)
        if not first.bit:
            return first
        # Starting takes time that is no part of the loop: half of what the clock alone allows must have happened.
        planned = int((watched.span[1] - watched.span[0]) / (self.up + self.down)) // 2
        because = f"{watched.replica} crashed {exits} times; {first.because}"
        return Bite(exits >= planned, because if exits >= planned else f"{because}: too few for a loop")


class Monkey(LoopFault):
    """Kill replicas at random, one at a time, as Chaos Monkey does.

    What it does
        Picks one of the replicas that `on` names (evenly, seeded), kills it, and starts it again `down` later; the time
        between two kills is exponential with mean `mean_between`.

    What it reveals
        Single points of failure that nobody thought of, recoveries that only work one at a time.

    Example
        {kind: monkey, on: [payments, inventory], mean_between: 3s, most: 4}

    Undone by
        Stopping the loop, and starting what is down.
    """

    kind: ClassVar[str] = "monkey"

    mean_between: Duration = Field(default=5.0, ge=0.1)
    """Mean time between two kills."""
    down: Duration = Field(default=1.0, ge=0.0)
    """How long each one is down."""
    most: int = Field(default=100, ge=1)
    """It stops after so many kills."""
    seed: int | None = None
    """Of its choices and times (default: the run's)."""

    def says(self) -> str:
        return f"random kills, {duration_text(self.mean_between)} apart on average"

    def seeded(self, seed: int) -> Fault:
        return self if self.seed is not None else self.model_copy(update={"seed": seed})

    def strikes(self, replicas: Sequence[str]) -> Iterator[Strike]:
        dice = random.Random(f"monkey/{self.id}/{self.seed or 0}")  # noqa: S311 - repeatable, not secret
        for number in range(self.most):
            gap = dice.expovariate(1.0 / self.mean_between)
            # The first one soon enough to be seen, whatever the dice say.
            wait = min(gap, self.mean_between) if number == 0 else max(0.0, gap - self.down)
            yield Strike(max(wait, 0.001), (dice.choice(list(replicas)),), self.down)

    def bite(self, watched: Watched) -> Bite:
        return exit_bite(watched, "the monkey came")

    def trace(self, history: History) -> Trace:
        """It bit if anything that it may kill was seen to exit."""
        span = history.fault(self.id)
        replicas = self.replicas(history.topology)
        bites = [self.bite(Watched(history, self.id, replica)) for replica in replicas if span.active is not None]
        killed = [bite.because for bite in bites if bite.bit]
        because = "; ".join(killed) or f"nothing exited of {', '.join(replicas)}: the fault was in for too short a time"
        evidence = (span.active,) if span.active is not None else ()
        return Trace(fault=self.id, bit=bool(killed), because=because, evidence=evidence)
