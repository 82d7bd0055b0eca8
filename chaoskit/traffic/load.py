"""The `load:` section of an experiment: which requests are sent, how many, and when."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, field_validator, model_validator

from chaoskit.model.units import Duration, Rate, Size
from chaoskit.traffic.answers import Match
from chaoskit.traffic.levels import Leg, Spike, Stage, Think, as_think, level_at, spiked
from chaoskit.traffic.requests import Feed, RequestSpec, above_zero, as_feed
from chaoskit.traffic.texts import Written, checked_headers, placeholders

__all__ = ["LoadSpec"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_ -]+)?")


_OF_REQUESTS = frozenset({
    "arrivals", "backoff", "cookies", "data", "headers", "keep_alive", "marks", "max_body", "max_in_flight", "pacing",
    "spike", "think", "timeout", "tls_ca", "verify_tls",
})  # fmt: skip
"""Keys that the users of a locustfile know nothing of."""


class LoadSpec(Written):
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
    think: Annotated[Think, BeforeValidator(as_think, json_schema_input_type=str | Think)] = Think(min=0.0, max=0.0)
    """Pause of a user after each answer: `200ms`, or `{min: 100ms, max: 1s}`."""
    pacing: Duration | None = None
    """Least time from one of a user's requests to the next."""
    backoff: Duration = 0.1
    """Least time from a user's request that got no answer (refused, reset, not sent) to the next."""
    data: dict[str, Annotated[Feed, BeforeValidator(as_feed, json_schema_input_type=str | list[JsonValue] | Feed)]] = {}
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
        return checked_headers(value)

    @field_validator("timeout")
    @classmethod
    def _timeout(cls, value: float) -> float:
        above_zero(value)
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
            unused = sorted(given & _OF_REQUESTS)
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
        return spiked(self._plain_legs(), self.spike) if self.spike else self._plain_legs()

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
                total += (stop - start) * (level_at(leg, start) + level_at(leg, stop)) / 2
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
