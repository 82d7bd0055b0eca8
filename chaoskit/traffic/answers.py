"""What is looked for in an answer: conditions on it, and values kept from it."""

from __future__ import annotations

from pydantic import Field, JsonValue, field_validator, model_validator

from chaoskit.model.units import Duration, duration_text
from chaoskit.traffic.texts import TOKEN, Statuses, Written, parse_json_path, regular

__all__ = ["Capture", "Check", "Match", "Tell", "is_place"]


class Match(Written):
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
        if value is not None and not TOKEN.fullmatch(value.split(":", 1)[0].strip()):
            raise ValueError(f"expected a header's name, or `Name: value`, not {value!r}")
        return value

    @field_validator("pattern")
    @classmethod
    def _pattern(cls, value: str | None) -> str | None:
        return regular(value) if value is not None else None

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


class Capture(Written):
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
        return regular(value) if value is not None else None

    @model_validator(mode="after")
    def _one(self) -> Capture:
        if sum(source is not None for source in (self.json_path, self.header, self.pattern)) != 1:
            raise ValueError("expected one of json, header and pattern: where the value is kept from")
        return self


class Tell(Written):
    """A write or a read of one key, kept with what the target said of it: claims about consistency read them.

    `key` and `value` are texts with `${name}`, or a place in the answer (`$.order.id`). What a write was answered
    decides what is known of it: a good answer acknowledges it, a refused connection and a 4xx (but 408 and 409) say
    that it was not done, and everything else leaves it open.
    """

    as_: str = Field(alias="as", min_length=1)
    """Name under which hypotheses find it (`told:`)."""
    write: str = ""
    """The key that is written."""
    read: str = ""
    """The key that is read."""
    value: str = ""
    """The value that is written or was read; writes of one key need values of their own."""

    @field_validator("write", "read", "value")
    @classmethod
    def _place(cls, value: str) -> str:
        if is_place(value):
            parse_json_path(value)
        return value

    @model_validator(mode="after")
    def _either(self) -> Tell:
        if bool(self.write) == bool(self.read):
            raise ValueError("expected write or read: the key, as a text such as ${order} or a place such as $.id")
        return self

    @property
    def key(self) -> str:
        return self.write or self.read


def is_place(text: str) -> bool:
    """Whether a text is a place in the answer, not one with `${name}`."""
    return text == "$" or text.startswith(("$.", "$["))
