"""What the harness and a load worker say to each other: msgpack messages, each behind its length in four bytes.

    harness → worker    Plan · Start · Stop (and Lost, to a master)
    worker → harness    Hello · Ready · Batch … · Drained · Done, or Failed

The worker connects to a socket that the harness listens on, says Hello, gets its Plan, imports and resolves what it
needs, and says Ready. Start gives the instant at which the schedule begins; Batch comes every 100 ms; Drained when
the schedule is over and nothing is in flight; Done answers Stop. All instants are absolute CLOCK_MONOTONIC of the
harness.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Union

import msgspec

from chaoskit.model.observation import Observation
from chaoskit.model.undo import JSON

__all__ = [
    "TOKEN_LENGTH",
    "TOKEN_VARIABLE",
    "Batch",
    "CapturePlan",
    "Command",
    "ConditionPlan",
    "Done",
    "Drained",
    "Failed",
    "FeedPlan",
    "Frames",
    "Hello",
    "LoadPlan",
    "Lost",
    "Piece",
    "Plan",
    "Ready",
    "Report",
    "RequestPlan",
    "Start",
    "Stop",
    "TellPlan",
    "pack",
    "read_command",
    "read_report",
]

TOKEN_VARIABLE = "CHAOSKIT_HARNESS_TOKEN"  # noqa: S105 - the variable's name
"""Environment variable with what the worker says first on its connection."""
TOKEN_LENGTH = 32

JsonPath = tuple[Union[str, int, None], ...]


class _Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    pass


class Piece(_Said, frozen=True, kw_only=True):
    """Part of a template: `text` as it is, or the value of `name` written as `how` says."""

    text: str = ""
    name: str = ""
    how: str = ""
    """`plain`, `header`, `path` (percent-encoded), `json` (a JSON value), `json text` (in a JSON string)."""


class ConditionPlan(_Said, frozen=True, kw_only=True):
    """A check or a mark: everything that is given must hold."""

    title: str
    status: tuple[str, ...] = ()
    header: str = ""
    header_value: str | None = None
    body: str = ""
    pattern: str = ""
    path: JsonPath | None = None
    compare: bool = False
    """Whether the value at `path` must be `equals`."""
    equals: JSON = None
    within: float | None = None


class CapturePlan(_Said, frozen=True, kw_only=True):
    name: str
    path: JsonPath | None = None
    header: str = ""
    pattern: str = ""


class TellPlan(_Said, frozen=True, kw_only=True):
    """What is kept of a write or a read: texts, or places in the answer."""

    name: str
    op: str
    """write · read."""
    key: tuple[Piece, ...] = ()
    key_path: JsonPath | None = None
    value: tuple[Piece, ...] = ()
    value_path: JsonPath | None = None


class RequestPlan(_Said, frozen=True, kw_only=True):
    name: str
    method: str
    path: tuple[Piece, ...]
    headers: tuple[tuple[str, tuple[Piece, ...]], ...] = ()
    body: tuple[Piece, ...] = ()
    expect: tuple[str, ...] = ("2xx", "3xx")
    timeout: float = 10.0
    weight: float = 1.0
    checks: tuple[ConditionPlan, ...] = ()
    captures: tuple[CapturePlan, ...] = ()
    tells: TellPlan | None = None
    redirects: bool = False
    idempotent: bool = False
    once: bool = False
    then: tuple[RequestPlan, ...] = ()


class FeedPlan(_Said, frozen=True, kw_only=True):
    """Values for one name. `rows` are values, or the objects of a file; `column` is what the bare name reads."""

    name: str
    kind: str
    """rows · range · random · uuid · given (by Start)."""
    rows: tuple[JSON, ...] = ()
    column: str = ""
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    shuffled: bool = False


class LoadPlan(_Said, frozen=True, kw_only=True):
    """Everything that a worker needs to know; the schedule is in seconds from Start's t0."""

    entry: str
    """Where the load goes: `http://127.0.0.1:8000`, with a base path where the target has one."""
    open: bool
    legs: tuple[tuple[float, float, float, float], ...]
    """(start, end, level at start, level at end): requests per second or users; the last end is inf."""
    requests: tuple[RequestPlan, ...] = ()
    poisson: bool = False
    seed: int = 0
    in_flight_cap: int = 1000
    think: tuple[float, float] = (0.0, 0.0)
    pacing: float = 0.0
    backoff: float = 0.1
    feeds: tuple[FeedPlan, ...] = ()
    marks: tuple[ConditionPlan, ...] = ()
    cookies: bool = False
    keep_alive: bool = True
    verify_tls: bool = True
    tls_ca: str = ""
    max_body: int = 50_000_000
    locustfile: str = ""
    user_classes: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    """Hosts beside loopback that may be connected to."""
    workers: int = 1
    """Above 1, the process that gets this plan is Locust's master of so many workers."""
    listen: tuple[str, int] | None = None
    """Where a master listens for its workers (default: on loopback, a free port)."""
    token: str = ""
    """What a worker must know to join."""
    source: str = "worker.1"


class Plan(_Said, frozen=True, kw_only=True, tag="plan"):
    plan: LoadPlan


class Start(_Said, frozen=True, kw_only=True, tag="start"):
    t0: float
    """Absolute; the first send is planned then."""
    duration: float
    """Nothing is planned at or after t0 + duration."""
    values: dict[str, JSON] = {}
    """Of the feeds that are `given`."""


class Stop(_Said, frozen=True, kw_only=True, tag="stop"):
    grace: float = 0.0
    """Plan nothing more; what is in flight has this many seconds to end, and is unfinished then."""


class Lost(_Said, frozen=True, kw_only=True, tag="lost"):
    """To a master: the process of this worker is gone."""

    source: str
    because: str = ""


class Hello(_Said, frozen=True, kw_only=True, tag="hello"):
    pid: int


class Ready(_Said, frozen=True, kw_only=True, tag="ready"):
    join: str = ""
    """Of a master: HOST:PORT that its workers join. It says Ready a second time once they have."""


class Batch(_Said, frozen=True, kw_only=True, tag="batch"):
    observations: list[Observation]


class Drained(_Said, frozen=True, kw_only=True, tag="drained"):
    """The schedule is over and nothing is in flight."""


class Done(_Said, frozen=True, kw_only=True, tag="done"):
    """Stopped; everything was reported."""


class Failed(_Said, frozen=True, kw_only=True, tag="failed"):
    because: str


Command = Union[Plan, Start, Stop, Lost]
Report = Union[Hello, Ready, Batch, Drained, Done, Failed]

_LENGTH = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()
read_command = msgspec.msgpack.Decoder(Command).decode
read_report = msgspec.msgpack.Decoder(Report).decode


def pack(message: Command | Report) -> bytes:
    """A message with its length in front."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Cuts a stream of bytes into messages' bodies."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bodies that are whole now."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield body
