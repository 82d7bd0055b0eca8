"""The one record that flows: what was seen, when, and by whom.

Every observation has `at` (seconds since warmup began, this host's CLOCK_MONOTONIC) and `source` (who saw it:
`worker.1`, `tap`, `probe.health`, `runner`). Producers in other processes send `at` as absolute CLOCK_MONOTONIC;
the recorder subtracts the start of the warmup. Slots are 100 ms and lie on multiples of 0.1 s of the absolute clock,
and warmup begins on such a multiple, so that every process cuts the same slots without being told.
"""

from __future__ import annotations

from typing import Union

import msgspec

__all__ = [
    "PAGE_READ",
    "SLOT",
    "BreakerChange",
    "Event",
    "LoadSlot",
    "MetricPoint",
    "Observation",
    "ProbeResult",
    "TapCall",
    "TapSlot",
    "prometheus_source",
    "slot_start",
]

PAGE_READ = "scrape_samples_scraped"
"""Name of the point that says that a page of metrics was read: how many samples it had."""
SLOT = 0.1
"""Width of a slot in seconds."""


def slot_start(at: float) -> float:
    """Start of the slot that `at` falls into, rounded to the grid (so that equal slots compare equal)."""
    return int(at * 10 + 1e-6 if at >= 0 else at * 10 - 1 + 1e-6) / 10


def prometheus_source(server: str, ask: str = "instant") -> str:
    """`source` of what a Prometheus says: two servers, and two ways of asking, are told apart."""
    named = "prometheus" if server == "prometheus" else f"prometheus {server}"
    return named if ask == "instant" else f"{named} ({ask})"


class _Observed(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True, gc=False):
    # gc=False: there are millions of them and they never form a cycle, so the collector need not walk them.
    at: float
    source: str = ""


class LoadSlot(_Observed, frozen=True, kw_only=True, tag="load"):
    """Requests of one name that were *planned* in the slot at `at` and *ended* in the slot at `ended`.

    Every planned request is in exactly one LoadSlot: succeeded, failed, dropped or unfinished. A dropped request ends
    in the slot in which it was planned; an unfinished one has `ended` = None (reported when the load stops).
    Histograms are `model.histogram` bytes, of seconds.
    """

    name: str
    ended: float | None = None
    ok: int = 0
    failed: int = 0
    dropped: int = 0
    dropped_below_cap: int = 0
    """Of `dropped`, those that the generator could not send in time (its own failure, not the target's)."""
    unfinished: int = 0
    response: bytes = b""
    """Planned send to last byte, of successes."""
    response_failed: bytes = b""
    service: bytes = b""
    """Actual send to last byte, of successes."""
    service_failed: bytes = b""
    send_lag: bytes = b""
    """Actual send minus planned send, of all that were sent."""
    causes: dict[str, int] = {}
    """Failures by cause: `status 503`, `timeout`, `refused`, `reset`, `closed early`, `check: …`."""
    statuses: dict[str, int] = {}
    """Answers by status code, failed or not."""
    marks: dict[str, int] = {}
    """Answers that matched a named condition of the experiment (e.g. `degraded`)."""
    bytes_in: int = 0
    bytes_out: int = 0
    reconnects: int = 0


class ProbeResult(_Observed, frozen=True, kw_only=True, tag="probe"):
    """One answer of a health endpoint. `name` is `<replica>/<check>`, e.g. `orders/ready` or `payments.1/live`."""

    name: str
    ok: bool
    status: int | None = None
    took: float = 0.0
    because: str = ""


class MetricPoint(_Observed, frozen=True, kw_only=True, tag="metric"):
    """One sample of a metric. `source` is the replica, or `worker.N` for the generator's own (`generator_*`)."""

    name: str
    value: float
    labels: dict[str, str] = {}


class TapCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One call that crossed an edge, as the caller's side saw it. `end` is None while nothing ended it."""

    start: float
    end: float | None = None
    method: str = ""
    path: str = ""
    status: int | None = None
    trace_id: str = ""
    span_id: str = ""
    connection: int = 0
    first: bool = False
    """Whether it was the first call on its connection."""
    outcome: str = "answered"
    """answered · cut (the callee's side or a toxic ended it first) · abandoned (the caller hung up) · open."""
    bytes_up: int = 0
    bytes_down: int = 0
    key: bool = False
    """Whether the request carried an Idempotency-Key header."""
    toxics: tuple[str, ...] = ()
    """Names of the toxics that acted on it, as far as this server applied them."""


class TapSlot(_Observed, frozen=True, kw_only=True, tag="tap"):
    """What crossed one edge in the slot at `at`. No slot for an edge means that nothing happened on it.

    `listening` False means that the listener was closed for some of the slot: what callers tried then is unknown.
    """

    edge: str
    listening: bool = True
    opened: int = 0
    closed: int = 0
    cut: int = 0
    """Of `closed`, those that the proxy or the callee ended."""
    connections: int = 0
    """Open at the end of the slot."""
    bytes_up: int = 0
    bytes_down: int = 0
    started: int = 0
    """Calls whose first byte came from the caller in this slot."""
    ended: int = 0
    took: bytes = b""
    """Histogram of the duration of the calls that ended answered in this slot."""
    statuses: dict[str, int] = {}
    outcomes: dict[str, int] = {}
    hits: dict[str, int] = {}
    """Connections or calls that each toxic acted on, by toxic name."""
    calls: tuple[TapCall, ...] = ()
    """Single calls that ended in this slot (bounded; whole traces are sampled by trace id beyond that)."""
    left_out: int = 0
    """Calls that ended in this slot and are not in `calls`."""


class BreakerChange(_Observed, frozen=True, kw_only=True, tag="breaker"):
    """A breaker that says of itself (by a metric) that it changed. `state`: closed · open · half_open · unknown."""

    edge: str
    state: str


class Event(_Observed, frozen=True, kw_only=True, tag="event"):
    """Something that happened once: a phase, an injection, an undo, a death, a warning."""

    kind: str
    text: str = ""
    about: dict[str, str] = {}


Observation = Union[LoadSlot, ProbeResult, MetricPoint, TapSlot, BreakerChange, Event]
