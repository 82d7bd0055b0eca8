"""Requests as they are declared, and the values that are written into them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, field_validator, model_validator

from chaoskit.model.units import Duration
from chaoskit.traffic.answers import Capture, Check, Tell, is_place
from chaoskit.traffic.texts import Statuses, Written, checked_headers, placeholders

__all__ = ["Feed", "RequestSpec", "above_zero", "as_feed"]

_METHOD = re.compile(r"[A-Z]+")


def _as_capture(value: object) -> object:
    return {"json": value} if isinstance(value, str) else value


class Feed(Written):
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


def as_feed(value: object) -> object:
    if isinstance(value, list):
        return {"values": value}
    return {value: True} if value in ("uuid", "setup") else value


class RequestSpec(Written):
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
    tells: Tell | None = None
    """Keep what it writes or reads, and what the target said of it, for claims about consistency."""
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
        return checked_headers(value)

    @field_validator("timeout")
    @classmethod
    def _timeout(cls, value: float | None) -> float | None:
        return above_zero(value)

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
        if self.tells is not None:
            texts += [text for text in (self.tells.key, self.tells.value) if not is_place(text)]
        return [name for text in texts for name in placeholders(text)]


def above_zero(value: float | None) -> float | None:
    """Raises ValueError for a timeout that leaves no time."""
    if value is not None and value <= 0:
        raise ValueError("expected a timeout above 0s")
    return value
