"""What goes on in a game day right now, as data: the load, every edge, health, breakers and faults.

observations ──listener──► Picture ──now──► Status ──JSON──► status · watch
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

import msgspec

from chaoskit.model.histogram import Histogram
from chaoskit.model.observation import BreakerChange, Event, LoadSlot, Observation, ProbeResult, TapSlot

__all__ = ["CheckNow", "EdgeNow", "FaultNow", "LoadNow", "Picture", "Status"]

STATUS_VERSION = 1
"""1: first."""

WINDOW = 2.0
"""Seconds over which rates and quantiles are taken."""
_LATE = 0.5
"""Seconds after which slots have come in."""


class LoadNow(msgspec.Struct, frozen=True, kw_only=True):
    """Our own load over the last two seconds. Times are None where nothing succeeded."""

    rate: float
    """Requests that ended, per second."""
    p50: float | None
    p95: float | None
    errors: float
    """Share of them that did not succeed."""


class EdgeNow(msgspec.Struct, frozen=True, kw_only=True):
    """One edge over the last two seconds, as its tap saw it, whoever called."""

    edge: str
    listen: str
    """Address of its proxy."""
    rate: float
    """Calls that ended, per second."""
    p50: float | None
    p95: float | None
    """How long answers took; None where there was none."""
    errors: float
    """Share of the calls that were answered with a server error, cut or given up."""
    listening: bool


class CheckNow(msgspec.Struct, frozen=True, kw_only=True):
    """The newest answer of one health check."""

    name: str
    ok: bool
    because: str = ""


class FaultNow(msgspec.Struct, frozen=True, kw_only=True):
    """One fault that was injected. Instants are seconds since the game day began."""

    id: str
    kind: str
    on: tuple[str, ...]
    says: str
    state: str
    """`in` · `out` · `failed`: it could not be put in, or not be taken out."""
    since: float | None
    until: float
    """When it came out, or is to."""
    error: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A game day right now."""

    format_version: int = STATUS_VERSION
    run: str
    title: str
    target: str
    deployer: str
    proxy: str
    folder: str
    pid: int
    at: float
    """Seconds since it began."""
    left: float
    """Seconds until it goes down by itself."""
    entry: str
    env: dict[str, dict[str, str]]
    """By replica: the variables that make it call through our proxies."""
    load: LoadNow | None
    edges: list[EdgeNow]
    checks: list[CheckNow]
    breakers: dict[str, str]
    faults: list[FaultNow]
    events: list[tuple[float, str]] = []
    """The last things that happened, with their instants."""


class Picture:
    """A recorder's listener that knows what is going on now. `at` is seconds since the game day began."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._load: deque[tuple[float, LoadSlot]] = deque()
        self._taps: dict[str, deque[TapSlot]] = {}
        self._checks: dict[str, ProbeResult] = {}
        self._breakers: dict[str, str] = {}
        self._events: deque[tuple[float, str]] = deque(maxlen=50)

    def __call__(self, seen: Observation) -> None:
        """Called in the recorder's thread."""
        with self._lock:
            if isinstance(seen, LoadSlot):
                ended = seen.at if seen.ended is None else seen.ended
                self._load.append((ended, seen))
                _forget(self._load, ended)
            elif isinstance(seen, TapSlot):
                self._tap(seen)
            elif isinstance(seen, ProbeResult):
                self._checks[seen.name] = seen
            elif isinstance(seen, BreakerChange):
                before = self._breakers.get(seen.edge)
                self._breakers[seen.edge] = seen.state
                if before not in (None, seen.state):
                    self._events.append((seen.at, f"breaker {seen.edge}: {before} → {seen.state}"))
            elif isinstance(seen, Event) and (text := _told(seen)):
                self._events.append((seen.at, text))

    def _tap(self, seen: TapSlot) -> None:
        slots = self._taps.setdefault(seen.edge, deque())
        slots.append(seen)
        while slots and slots[0].at < seen.at - 2 * WINDOW:
            slots.popleft()

    def load(self, now: float) -> LoadNow:
        with self._lock:
            since, until = now - _LATE - WINDOW, now - _LATE
            slots = [slot for ended, slot in self._load if since <= ended < until]
        failed = sum(slot.failed + slot.dropped + slot.unfinished for slot in slots)
        ended = sum(slot.ok for slot in slots) + failed
        took = Histogram.merged(slot.response for slot in slots)
        p50, p95 = (_finite(took.quantile(q, above=failed)) for q in (0.5, 0.95))
        return LoadNow(rate=ended / WINDOW, p50=p50, p95=p95, errors=failed / ended if ended else 0.0)

    def edges(self, now: float, edges: Iterable[tuple[str, str]]) -> list[EdgeNow]:
        """Every edge of (name, address of its proxy)."""
        with self._lock:
            return [self._edge(name, listen, now) for name, listen in edges]

    def _edge(self, name: str, listen: str, now: float) -> EdgeNow:
        since, until = now - _LATE - WINDOW, now - _LATE
        slots = [slot for slot in self._taps.get(name, ()) if since <= slot.at < until]
        ended = sum(slot.ended for slot in slots)
        bad = sum(count for slot in slots for outcome, count in slot.outcomes.items() if outcome != "answered")
        bad += sum(count for slot in slots for status, count in slot.statuses.items() if status.startswith("5"))
        took = Histogram.merged(slot.took for slot in slots)
        return EdgeNow(
            edge=name,
            listen=listen,
            rate=ended / WINDOW,
            p50=_finite(took.quantile(0.5)),
            p95=_finite(took.quantile(0.95)),
            errors=min(bad / ended, 1.0) if ended else 0.0,
            listening=slots[-1].listening if slots else True,
        )

    def checks(self) -> list[CheckNow]:
        with self._lock:
            return [
                CheckNow(name=name, ok=seen.ok, because="" if seen.ok else seen.because or f"status {seen.status}")
                for name, seen in sorted(self._checks.items())
            ]

    def breakers(self) -> dict[str, str]:
        with self._lock:
            return dict(self._breakers)

    def events(self) -> list[tuple[float, str]]:
        with self._lock:
            return list(self._events)


_TOLD = {"injected": "fault in", "undone": "fault out", "fault_failed": "fault", "died": "died", "exited": "exited",
         "worker_lost": "lost", "started": "started"}  # fmt: skip


def _told(seen: Event) -> str:
    if seen.kind not in _TOLD or seen.at < 0:
        return ""
    about = seen.about.get("replica", "") or seen.about.get("part", "")
    return f"{_TOLD[seen.kind]}: {' '.join(filter(None, [about, seen.text]))}"


def _forget(load: deque[tuple[float, LoadSlot]], now: float) -> None:
    while load and load[0][0] < now - 2 * WINDOW:
        load.popleft()


def _finite(value: float) -> float | None:
    return value if value == value and value != float("inf") else None
