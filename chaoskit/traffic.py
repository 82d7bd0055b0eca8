"""What an experiment's `load:` section says: which requests are sent, how many, when, and what a good answer is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, field_validator, model_validator

from chaoskit.model.units import Duration, Rate, Size, duration_text

__all__ = [
    "Capture",
    "Check",
    "Feed",
    "Leg",
    "LoadSpec",
    "Match",
    "RequestSpec",
    "Spike",
    "Stage",
    "Think",
    "parse_json_path",
    "placeholders",
]

JsonPath = tuple[str | int | None, ...]
"""Steps from the root: a key, an index, or None for every member."""

_PLACEHOLDER = re.compile(r"(?<!\$)\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_ -]+)?")
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\.\*|\[(-?[0-9]+)\]|\[\*\]|\[\s*'([^']*)'\s*\]|\[\s*\"([^\"]*)\"\s*\]")
_METHOD = re.compile(r"[A-Z]+")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STATUS = re.compile(r"[1-5](?:xx|[0-9][0-9])")


def parse_json_path(text: str) -> JsonPath:
    """Steps of the part of JSONPath that names places: `$.a.b[0]`, `$['a b']`, `$.items[*].id`. Raises ValueError."""
    steps: list[str | int | None] = []
    at = 1
    if not text.startswith("$"):
        raise ValueError(f"expected a JSONPath that starts with $, such as $.order.id, not {text!r}")
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            raise ValueError(
                f"expected a JSONPath such as $.order.id or $.items[0], not {text!r}: stuck at {text[at:]!r}"
            )
        key, index, single, double = match.groups()
        steps.append(
            int(index) if index is not None else next((k for k in (key, single, double) if k is not None), None)
        )
        at = match.end()
    return tuple(steps)


def placeholders(value: JsonValue) -> list[str]:
    """Names in `${…}` (`$${` stands for itself) in a text, or in every text of a JSON value, keys included."""
    if isinstance(value, str):
        return [found.strip() for found in _PLACEHOLDER.findall(value)]
    if isinstance(value, list):
        return [name for item in value for name in placeholders(item)]
    if isinstance(value, dict):
        return [name for key, item in value.items() for name in placeholders(key) + placeholders(item)]
    return []


def _as_statuses(value: object) -> object:
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    texts = [str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in items]
    for item in texts:
        if not isinstance(item, str) or not _STATUS.fullmatch(item):
            raise ValueError(f"expected a status such as 200 or 2xx, or a list of them, not {item!r}")
    if not texts:
        raise ValueError("expected at least one status")
    return tuple(texts)


Statuses = Annotated[
    tuple[str, ...],
    BeforeValidator(
        _as_statuses,
        json_schema_input_type=int | str | list[int | str],
    ),
]
"""Status codes or classes: `200`, `2xx`, `[200, 404]`."""


class _Setting(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_by_name=True)


class Match(_Setting):
    """A condition on an answer; everything that is given must hold."""

    status: Statuses | None = None
    """Its status is one of these."""
    header: str | None = None
    """A header it has (`X-Degraded`), or has with this value (`X-Degraded: true`)."""
    body: str | None = None
    """A text that its body contains."""
    pattern: str | None = None
    """A regular expression that is found in its body."""
    json_path: str | None = Field(default=None, alias="json")
    """A place that its JSON body has (`$.order.id`), or where one of them has the value of `equals`."""
    equals: JsonValue = None
    """The value expected at `json`."""

    @field_validator("header")
    @classmethod
    def _header(cls, value: str | None) -> str | None:
        if value is not None and not _TOKEN.fullmatch(value.split(":", 1)[0].strip()):
            raise ValueError(f"expected a header's name, or `Name: value`, not {value!r}")
        return value

    @field_validator("pattern")
    @classmethod
    def _pattern(cls, value: str | None) -> str | None:
        return _regular(value) if value is not None else None

    @field_validator("json_path")
    @classmethod
    def _json(cls, value: str | None) -> str | None:
        if value is not None:
            parse_json_path(value)
        return value

    @model_validator(mode="after")
    def _something(self) -> Match:
        given = self.model_fields_set
        if not given & self._conditions:
            raise ValueError("expected at least one condition: status, header, body, pattern or json")
        if "equals" in given and self.json_path is None:
            raise ValueError("equals needs json, the place where the value is expected")
        return self

    @property
    def _conditions(self) -> frozenset[str]:
        return frozenset({"status", "header", "body", "pattern", "json_path"})


class Check(Match):
    """A condition that a good answer meets; one that does not is a failure with the cause `check: <name>`."""

    name: str = ""
    """What its failures are called (default: the condition itself)."""
    within: Duration | None = None
    """It must have ended this long after it was sent."""

    @property
    def title(self) -> str:
        if self.name:
            return self.name
        parts = [f"status {' or '.join(self.status)}"] if self.status else []
        parts += [self.header] if self.header else []
        parts += [f"body {self.body or self.pattern}"] if self.body or self.pattern else []
        if self.json_path:
            parts.append(f"{self.json_path} = {self.equals}" if "equals" in self.model_fields_set else self.json_path)
        parts += [f"within {duration_text(self.within)}"] if self.within is not None else []
        return ", ".join(parts)

    @property
    def _conditions(self) -> frozenset[str]:
        return super()._conditions | {"within"}


class Capture(_Setting):
    """Where a value in an answer is kept from, for `${name}` in what the same user sends later."""

    json_path: str | None = Field(default=None, alias="json")
    """A place in its JSON body."""
    header: str | None = None
    """A header."""
    pattern: str | None = None
    """A regular expression on its body: its first group, or all of it."""

    @field_validator("json_path")
    @classmethod
    def _json(cls, value: str | None) -> str | None:
        if value is not None:
            parse_json_path(value)
        return value

    @field_validator("pattern")
    @classmethod
    def _pattern(cls, value: str | None) -> str | None:
        return _regular(value) if value is not None else None

    @model_validator(mode="after")
    def _one(self) -> Capture:
        if sum(source is not None for source in (self.json_path, self.header, self.pattern)) != 1:
            raise ValueError("expected one of json, header and pattern: where the value is kept from")
        return self


def _as_capture(value: object) -> object:
    return {"json": value} if isinstance(value, str) else value


class Feed(_Setting):
    """Values for `${name}`: one of csv, jsonl, values, range, random, uuid and setup. All are seeded by the run."""

    csv: str | None = None
    """A file with a header line; `${name.column}` reads a column, `${name}` the one that `column` names."""
    jsonl: str | None = None
    """A file with one JSON object a line; `${name.key}` reads a key."""
    values: tuple[JsonValue, ...] | None = None
    """A list of values."""
    range_: tuple[int, int] | None = Field(default=None, alias="range")
    """Whole numbers from the first to the last, both included."""
    random: tuple[float, float] | None = None
    """A random number between two; whole numbers where both are whole."""
    uuid: Literal[True] | None = None
    """A random UUID."""
    setup: Literal[True] | None = None
    """What a step of the experiment's `setup` captured under this name (a token)."""
    column: str | None = None
    """The column (csv) or key (jsonl) that `${name}` alone reads."""
    order: Literal["in turn", "random"] = "in turn"
    """In turn (from the start again after the last), or at random."""

    @model_validator(mode="after")
    def _one(self) -> Feed:
        sources = (self.csv, self.jsonl, self.values, self.range_, self.random, self.uuid, self.setup)
        if sum(source is not None for source in sources) != 1:
            raise ValueError("expected one of csv, jsonl, values, range, random, uuid and setup")
        if self.values is not None and not self.values:
            raise ValueError("expected at least one value")
        for pair in (self.range_, self.random):
            if pair is not None and pair[0] > pair[1]:
                raise ValueError(f"expected the smaller number first, not {pair[0]:g} and {pair[1]:g}")
        if self.column is not None and self.csv is None and self.jsonl is None:
            raise ValueError("column goes with csv or jsonl only")
        return self


def _as_feed(value: object) -> object:
    if isinstance(value, list):
        return {"values": value}
    return {value: True} if value in ("uuid", "setup") else value


class RequestSpec(_Setting):
    """One kind of request, under the name that hypotheses and reports use."""

    name: str = ""
    """What hypotheses and reports call it (default: method and path)."""
    method: str = "GET"
    path: str
    """Path and query, from the entry's root; `${name}` is replaced."""
    headers: dict[str, str] = {}
    json_body: JsonValue = Field(default=None, alias="json")
    """Sent as JSON. A text that is exactly `${name}` becomes the value itself, a number stays one."""
    body: str | None = None
    """Sent as it is."""
    expect: Statuses = ("2xx", "3xx")
    """Statuses of a good answer."""
    timeout: Duration | None = None
    """From the send to the last byte, connecting and redirects included (default: the load's)."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Share of the requests, relative to the others' weights."""
    checks: tuple[Check, ...] = ()
    """What a good answer meets beyond its status."""
    capture: dict[str, Annotated[Capture, BeforeValidator(_as_capture, json_schema_input_type=str | Capture)]] = {}
    """Values kept for what the same user sends later: `token: $.access_token`."""
    redirects: bool = False
    """Follow redirects (at most 10); the request is as long as all of them, and its status is the last one's."""
    idempotent: bool | None = None
    """It may go out twice where a connection that had been idle turns out closed (default: by its method, or an
    Idempotency-Key header)."""
    once: bool = False
    """Each user sends it once, before anything else (a login); it takes no part in the mix."""
    then: tuple[RequestSpec, ...] = ()
    """Requests that the same user sends after it, in order, each when the one before it succeeded."""

    @property
    def title(self) -> str:
        return self.name or f"{self.method} {self.path}"

    @field_validator("method")
    @classmethod
    def _method(cls, value: str) -> str:
        if not _METHOD.fullmatch(value.upper()) or value.upper() == "CONNECT":
            raise ValueError(f"expected a method such as GET or POST, not {value!r}")
        return value.upper()

    @field_validator("path")
    @classmethod
    def _path(cls, value: str) -> str:
        if not value.startswith(("/", "${")):
            raise ValueError(f"expected a path that starts with /, not {value!r}")
        if any(char in value for char in "\r\n#"):
            raise ValueError(f"expected a path without line breaks and fragment, not {value!r}")
        return value

    @field_validator("headers")
    @classmethod
    def _headers(cls, value: dict[str, str]) -> dict[str, str]:
        return _checked_headers(value)

    @field_validator("timeout")
    @classmethod
    def _timeout(cls, value: float | None) -> float | None:
        return _above_zero(value)

    @model_validator(mode="after")
    def _body(self) -> RequestSpec:
        if self.body is not None and "json_body" in self.model_fields_set:
            raise ValueError("expected json or body, not both")
        if self.once and "weight" in self.model_fields_set:
            raise ValueError("a request that is sent once takes no part in the mix: leave out its weight")
        if any(step.once or "weight" in step.model_fields_set for step in self.then):
            raise ValueError("the steps of then have neither weight nor once: they go with the first request")
        return self

    def steps(self) -> Iterator[RequestSpec]:
        """Itself and everything in its `then`."""
        yield self
        for step in self.then:
            yield from step.steps()

    def placeholders(self) -> list[str]:
        """Names in its path, headers and body; those of `then` left out."""
        texts: list[JsonValue] = [self.path, *self.headers.values(), self.body, self.json_body]
        return [name for text in texts for name in placeholders(text)]


class Stage(_Setting):
    """A stretch of the load at one level."""

    rate: Rate | None = None
    users: Annotated[int, Field(ge=0)] | None = None
    for_: Duration = Field(alias="for")
    """How long it lasts; the last one's level stays until the load ends."""
    ramp: Duration = 0.0
    """The first part of it, in which the level goes there in a straight line from the one before."""

    @model_validator(mode="after")
    def _level(self) -> Stage:
        if (self.rate is None) == (self.users is None):
            raise ValueError("expected rate or users in a stage, and not both")
        if not 0 <= self.ramp <= self.for_ or self.for_ == 0:
            raise ValueError("expected a ramp that is at most as long as its stage, and a stage longer than nothing")
        return self

    @property
    def level(self) -> float:
        return self.rate if self.rate is not None else float(self.users or 0)


class Spike(_Setting):
    """Stretches in which the level is multiplied."""

    times: Annotated[float, Field(gt=0)]
    """Factor on the rate."""
    at: Duration
    """When the first one begins, from the start of the load (its warmup included)."""
    lasts: Duration
    every: Duration | None = None
    """Again each time this long after the last one began (default: only once)."""

    @model_validator(mode="after")
    def _fits(self) -> Spike:
        if self.lasts <= 0:
            raise ValueError("expected a spike that lasts longer than nothing")
        if self.every is not None and self.every < self.lasts:
            raise ValueError("expected spikes that end before the next one begins: every must not be below lasts")
        return self


class Think(_Setting):
    """A pause of random length."""

    min: Duration
    max: Duration

    @model_validator(mode="after")
    def _order(self) -> Think:
        if self.min > self.max:
            raise ValueError("expected a min that is not above max")
        return self


def _as_think(value: object) -> object:
    return value if isinstance(value, (dict, Think)) else {"min": value, "max": value}


class Leg(NamedTuple):
    """A stretch in which the level goes in a straight line. Seconds from the start of the load; levels per second, or
    users. The last leg of a load has no end (inf) and is level."""

    start: float
    end: float
    first: float
    last: float


class LoadSpec(_Setting):
    """The traffic of an experiment: open (`rate`), closed (`users`), in `stages` of either, or users of a
    `locustfile`."""

    rate: Rate | None = None
    """Requests per second, sent whether or not the ones before were answered (open load)."""
    users: Annotated[int, Field(ge=1)] | None = None
    """Users who each wait for their answer (closed load)."""
    stages: tuple[Stage, ...] = ()
    """Levels one after the other."""
    locustfile: str = ""
    """A file of Locust users; runs their code. Needs `users` or stages of them."""
    user_classes: tuple[str, ...] = ()
    """Which classes of the locustfile (default: all)."""
    listeners: tuple[str, ...] = ()
    """Python files with Locust listeners; the worker runs their code."""
    requests: tuple[RequestSpec, ...] = ()
    """What is sent, mixed by weight."""
    arrivals: Literal["constant", "poisson", "spike"] = "constant"
    """How an open load's sends are spread: evenly, at random (a Poisson process), or evenly with the spikes of
    `spike`."""
    spike: Spike | None = None
    ramp: Duration = 0.0
    """From nothing to the full `rate` or `users`, in a straight line."""
    max_in_flight: Annotated[int, Field(ge=1)] | None = None
    """Sends above this many unanswered ones are dropped (default: the larger of 1000 and rate × timeout)."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Worker processes on this machine that share the load."""
    think: Annotated[Think, BeforeValidator(_as_think, json_schema_input_type=str | Think)] = Think(min=0.0, max=0.0)
    """Pause of a user after each answer: `200ms`, or `{min: 100ms, max: 1s}`."""
    pacing: Duration | None = None
    """Least time from one of a user's requests to the next."""
    backoff: Duration = 0.1
    """Least time from a request of a user that was refused, reset or not connected to the next."""
    data: dict[
        str, Annotated[Feed, BeforeValidator(_as_feed, json_schema_input_type=str | list[JsonValue] | Feed)]
    ] = {}
    """Values for `${name}`: a list, `uuid`, `setup` (captured there), or one of csv, jsonl, range and random."""
    marks: dict[str, Match] = {}
    """Named conditions; answers that meet them are counted under the name."""
    headers: dict[str, str] = {}
    """Headers of every request."""
    timeout: Duration = 10.0
    """Of every request that does not say."""
    cookies: bool | None = None
    """Keep each user's cookies (default: for closed loads)."""
    keep_alive: bool = True
    """Use connections again; without, each request opens its own."""
    verify_tls: bool = True
    """Check certificates and host names."""
    tls_ca: str = ""
    """File with the certificates to trust instead of the system's."""
    max_body: Size = 50_000_000
    """Answers above this size are cut off and count as failures."""

    @field_validator("headers")
    @classmethod
    def _headers(cls, value: dict[str, str]) -> dict[str, str]:
        return _checked_headers(value)

    @field_validator("timeout")
    @classmethod
    def _timeout(cls, value: float) -> float:
        _above_zero(value)
        return value

    @field_validator("rate")
    @classmethod
    def _rate(cls, value: float | None) -> float | None:
        if value is not None and value <= 0:
            raise ValueError("expected a rate above 0/s")
        return value

    @field_validator("data")
    @classmethod
    def _data(cls, value: dict[str, Feed]) -> dict[str, Feed]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name == "env":
                raise ValueError(f"expected names of letters, digits and _ (env is taken), not {name!r}")
        return value

    @model_validator(mode="after")
    def _level(self) -> LoadSpec:
        levels = [self.rate is not None, self.users is not None, bool(self.stages)]
        if sum(levels) != 1:
            raise ValueError("expected one of rate (open), users (closed) and stages: how much load there is")
        if len({stage.rate is None for stage in self.stages}) > 1:
            raise ValueError("expected stages that all have a rate (open) or all have users (closed)")
        if self.stages and self.ramp:
            raise ValueError("a ramp goes with rate or users; stages have their own")
        if self.stages and not any(stage.level for stage in self.stages):
            raise ValueError("expected at least one stage that is above nothing")
        return self

    @model_validator(mode="after")
    def _kind(self) -> LoadSpec:
        given = self.model_fields_set
        if self.locustfile:
            if self.requests:
                raise ValueError("expected requests or a locustfile, not both")
            if self.open:
                raise ValueError("a locustfile has users who wait for their answers: give users, not a rate")
            unused = sorted(given & {"data", "marks", "think", "pacing", "headers", "max_in_flight"})
            if unused:
                raise ValueError(f"a locustfile brings its own {' and '.join(unused)}")
            return self
        if not any(not request.once for request in self.requests):
            raise ValueError("expected requests (at least one that is not sent once) or a locustfile: what is sent")
        if self.user_classes:
            raise ValueError("user_classes go with a locustfile only")
        if self.open and (unused := sorted(given & {"think", "pacing"})):
            raise ValueError(f"an open load does not wait for answers: {' and '.join(unused)} go with users")
        if not self.open and (unused := sorted(given & {"arrivals", "spike", "max_in_flight"})):
            raise ValueError(f"users wait for their answers: {' and '.join(unused)} go with a rate")
        if self.arrivals == "spike" and self.spike is None:
            raise ValueError("arrivals: spike needs spike, such as {times: 5, at: 10s, lasts: 2s}")
        return self

    @model_validator(mode="after")
    def _names(self) -> LoadSpec:
        captured = {name for step in self.steps() for name in step.capture}
        for name in sorted(captured & self.data.keys()):
            raise ValueError(f"${{{name}}} is in data and captured too: expected different names")
        for step in self.steps():
            for name in step.placeholders() + [n for text in self.headers.values() for n in placeholders(text)]:
                if not _NAME.fullmatch(name):
                    raise ValueError(f"expected a name in ${{…}} in {step.title!r}, not {name!r}")
                known = name.split(".", 1)[0]
                if known != "env" and known not in self.data and name not in captured:
                    there = ", ".join(sorted(captured | self.data.keys())) or "nothing"
                    raise ValueError(
                        f"{step.title!r} uses ${{{name}}}, which neither data nor a capture gives ({there})"
                    )
        return self

    @property
    def open(self) -> bool:
        """Whether arrivals do not wait for answers."""
        return self.rate is not None or any(stage.rate is not None for stage in self.stages)

    def steps(self) -> Iterator[RequestSpec]:
        """Every declared request, those in `then` included."""
        for request in self.requests:
            yield from request.steps()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the requests in the mix and of what follows them; empty for a locustfile (known once it ran)."""
        return tuple(dict.fromkeys(step.title for step in self.steps()))

    @property
    def sheds_at(self) -> int:
        """The cap on what is in flight that holds for an open load."""
        if self.max_in_flight is not None:
            return self.max_in_flight
        longest = max([self.timeout, *(step.timeout for step in self.steps() if step.timeout is not None)])
        return max(1000, round(max(leg.last for leg in self.legs()) * longest))

    def legs(self) -> list[Leg]:
        """The level over time, spikes included, each leg above nothing long."""
        return _spiked(self._plain_legs(), self.spike) if self.spike else self._plain_legs()

    def planned(self, begin: float, end: float, name: str | None = None) -> float:
        """Requests that an open load plans between two instants from its start, of one name or all in the mix.

        What a user sends once, or after another request, is not in it. 0 for a closed load: nobody can tell before.
        """
        if not self.open:
            return 0.0
        mix = [request for request in self.requests if not request.once]
        share = 1.0
        if name is not None:
            matching = sum(request.weight for request in mix if request.title == name)
            share = matching / sum(request.weight for request in mix)
        total = 0.0
        for leg in self.legs():
            start, stop = max(begin, leg.start), min(end, leg.end)
            if stop > start:
                total += (stop - start) * (_level_at(leg, start) + _level_at(leg, stop)) / 2
        return total * share

    def _plain_legs(self) -> list[Leg]:
        if not self.stages:
            level = float(self.rate if self.rate is not None else self.users or 0)
            rising = [Leg(0.0, self.ramp, 0.0, level)] if self.ramp else []
            return [*rising, Leg(self.ramp, float("inf"), level, level)]
        legs: list[Leg] = []
        at = level = 0.0
        for stage in self.stages:
            if stage.ramp:
                legs.append(Leg(at, at + stage.ramp, level, stage.level))
            level = stage.level
            if stage.for_ > stage.ramp:
                legs.append(Leg(at + stage.ramp, at + stage.for_, level, level))
            at += stage.for_
        return [*legs, Leg(at, float("inf"), level, level)]


_SPIKES = 1000


def _spiked(legs: Sequence[Leg], spike: Spike) -> list[Leg]:
    """The legs cut at the edges of the spikes (the first 1000 of them), those inside multiplied."""
    starts = [spike.at + (spike.every or 0.0) * n for n in range(_SPIKES if spike.every else 1)]
    edges = sorted({edge for start in starts for edge in (start, start + spike.lasts)})
    result = []
    for leg in legs:
        cuts = [leg.start, *(edge for edge in edges if leg.start < edge < leg.end), leg.end]
        for start, end in pairwise(cuts):
            middle = start + (end - start) / 2 if end != float("inf") else start
            inside = any(begin <= middle < begin + spike.lasts for begin in starts)
            factor = spike.times if inside else 1.0
            result.append(Leg(start, end, _level_at(leg, start) * factor, _level_at(leg, end) * factor))
    return result


def _level_at(leg: Leg, at: float) -> float:
    if leg.first == leg.last or at == float("inf"):
        return leg.last
    return leg.first + (leg.last - leg.first) * (at - leg.start) / (leg.end - leg.start)


def _regular(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"expected a regular expression, not {value!r}: {error}") from None
    return value


def _checked_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"expected a header's name, not {name!r}")
        if any(char in value for char in "\r\n\0"):
            raise ValueError(f"expected a value without line breaks in the header {name}")
        if name.lower() in ("content-length", "transfer-encoding", "connection"):
            raise ValueError(f"the header {name} is set by the load itself")
    return headers


def _above_zero(value: float | None) -> float | None:
    if value is not None and value <= 0:
        raise ValueError("expected a timeout above 0s")
    return value
