"""What a measure may be, as people write it: absolute, or against the baseline."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema

from chaoskit.model.units import duration_text, parse_duration, parse_rate, parse_share, written

__all__ = [
    "Floor",
    "FloorValue",
    "Limit",
    "LimitValue",
    "ShareFloor",
    "ShareFloorValue",
    "ShareLimit",
    "ShareLimitValue",
]

_MORE = re.compile(r"\+\s*([0-9]+(?:\.[0-9]+)?)\s*%")


class LimitValue(msgspec.Struct, frozen=True):
    """At most `seconds`; or at most (1 + `share`) × the baseline; or at most the baseline + `added` seconds."""

    seconds: float | None = None
    share: float | None = None
    added: float | None = None

    @property
    def relative(self) -> bool:
        return self.seconds is None

    def over(self, baseline: float) -> float:
        """The limit in seconds, given what was measured in baseline."""
        if self.seconds is not None:
            return self.seconds
        return baseline * (1.0 + self.share) if self.share is not None else baseline + (self.added or 0.0)

    def __str__(self) -> str:
        if self.seconds is not None:
            return duration_text(self.seconds)
        if self.share is not None:
            return f"baseline +{self.share * 100:g}%"
        return f"baseline +{duration_text(self.added or 0.0)}"


class ShareLimitValue(msgspec.Struct, frozen=True):
    """At most `share` of the requests, or at most so much more than the baseline's share (`over`)."""

    share: float
    over: bool = False

    def against(self, baseline: float) -> float:
        """The limit, given what was measured in baseline."""
        return baseline + self.share

    def __str__(self) -> str:
        return f"baseline +{self.share * 100:.4g}%" if self.over else f"{self.share * 100:.4g}%"


class ShareFloorValue(msgspec.Struct, frozen=True):
    """At least `share` of the requests, or at most so much less than the baseline's share (`under`)."""

    share: float
    under: bool = False

    def against(self, baseline: float) -> float:
        """The floor, given what was measured in baseline."""
        return baseline - self.share

    def __str__(self) -> str:
        return f"baseline -{self.share * 100:.4g}%" if self.under else f"{self.share * 100:.4g}%"


class FloorValue(msgspec.Struct, frozen=True):
    """At least `rate` per second, or at least `share` of the baseline."""

    rate: float | None = None
    share: float | None = None

    @property
    def relative(self) -> bool:
        return self.rate is None

    def over(self, baseline: float) -> float:
        return self.rate if self.rate is not None else baseline * (self.share or 0.0)

    def __str__(self) -> str:
        return f"{self.rate:g}/s" if self.rate is not None else f"{(self.share or 0.0) * 100:g}% of baseline"


def _limit(value: object, info: ValidationInfo) -> LimitValue:
    if isinstance(value, LimitValue):
        return value
    if isinstance(value, float) and not written(info):
        return LimitValue(seconds=value)
    if isinstance(value, str) and (match := _MORE.fullmatch(value.strip())):
        return LimitValue(share=float(match.group(1)) / 100.0)
    if isinstance(value, str) and value.strip().startswith("+"):
        return LimitValue(added=parse_duration(value.strip()[1:].strip()))
    try:
        return LimitValue(seconds=parse_duration(value))
    except ValueError:
        raise ValueError(
            f"expected a duration such as 400ms, or +50% or +100ms over the baseline, not {value!r}"
        ) from None


def _floor(value: object, info: ValidationInfo) -> FloorValue:
    if isinstance(value, FloorValue):
        return value
    if isinstance(value, float) and not written(info):
        return FloorValue(rate=value)
    if isinstance(value, str) and "%" in value:
        return FloorValue(share=parse_share(value))
    try:
        return FloorValue(rate=parse_rate(value))
    except ValueError:
        raise ValueError(
            f"expected a rate such as 50/s, or a share of the baseline such as 90%, not {value!r}"
        ) from None


def _share_limit(value: object, info: ValidationInfo) -> ShareLimitValue:
    if isinstance(value, ShareLimitValue):
        return value
    return ShareLimitValue(*_share(value, info, "+"))


def _share_floor(value: object, info: ValidationInfo) -> ShareFloorValue:
    if isinstance(value, ShareFloorValue):
        return value
    return ShareFloorValue(*_share(value, info, "-"))


def _share(value: object, info: ValidationInfo, sign: str) -> tuple[float, bool]:
    """A share, and whether it is against the baseline's: written with this sign."""
    if isinstance(value, float) and not written(info):
        return value, False
    if isinstance(value, str) and value.strip().startswith(sign):
        return parse_share(value.strip()[1:].strip()), True
    return parse_share(value), False


def _text(value: LimitValue | FloorValue | ShareLimitValue | ShareFloorValue) -> str:
    return str(value).replace("baseline ", "").replace(" of baseline", "")


def _schema(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples)})


Limit = Annotated[
    LimitValue,
    BeforeValidator(_limit),
    PlainSerializer(_text),
    _schema(r"^([0-9.]+ ?(us|µs|ms|s|m|h))+$|^\+[0-9.]+ ?(us|µs|ms|s|m|h|%)$", "400ms", "+50%", "+100ms"),
]
"""`400ms`, or over the baseline: `+50%`, `+100ms`."""
Floor = Annotated[
    FloorValue,
    BeforeValidator(_floor),
    PlainSerializer(_text),
    _schema(r"^[0-9.]+ ?(/ ?(s|m|h)|%)$", "50/s", "90%"),
]
"""`50/s`, or a share of the baseline: `90%`."""
ShareLimit = Annotated[
    ShareLimitValue,
    BeforeValidator(_share_limit),
    PlainSerializer(_text),
    _schema(r"^\+?[0-9.]+ ?%$", "1%", "+1%"),
]
"""`1%`, or over the baseline's: `+1%` (of the requests, not of that share)."""
ShareFloor = Annotated[
    ShareFloorValue,
    BeforeValidator(_share_floor),
    PlainSerializer(_text),
    _schema(r"^-?[0-9.]+ ?%$", "99%", "-1%"),
]
"""`99%`, or under the baseline's: `-1%` (of the requests, not of that share)."""
