"""What people write with a unit (`200ms`, `50/s`, `1%`, `+50%`), as numbers with exactly one meaning.

Each parser raises ValueError with one sentence that says what was expected. The annotated types at the end are what
fields of experiment and target files use.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema

__all__ = [
    "Delta",
    "DeltaValue",
    "Duration",
    "Rate",
    "Share",
    "Size",
    "duration_text",
    "parse_delta",
    "parse_duration",
    "parse_rate",
    "parse_share",
    "parse_size",
    "written",
]

_NUMBER = r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_DURATION = re.compile(_NUMBER + r"\s*(us|µs|ms|s|m|h)")
_DURATION_UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_RATE = re.compile(_NUMBER + r"\s*/\s*(s|m|h)")
_SHARE = re.compile(_NUMBER + r"\s*%")
_SIZE = re.compile(_NUMBER + r"\s*(B|KB|MB|GB|KiB|MiB|GiB)")
_SIZE_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def parse_duration(value: object) -> float:
    """Seconds of `200ms`, `5s`, `1m`, `1m30s`. A bare number is refused: its unit would be a guess (0 is not)."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    if isinstance(value, str):
        text = value.strip()
        parts = list(_DURATION.finditer(text))
        if (parts and "".join(part.group(0) for part in parts) == text.replace(" ", "")) or _DURATION.fullmatch(text):
            return sum(float(part.group(1)) * _DURATION_UNITS[part.group(2)] for part in parts)
    raise ValueError(f"expected a duration with its unit, such as 200ms, 5s or 1m, not {_shown(value)}")


def parse_rate(value: object) -> float:
    """Per second of `50/s`, `300/m`."""
    if isinstance(value, str) and (match := _RATE.fullmatch(value.strip())):
        return float(match.group(1)) / {"s": 1.0, "m": 60.0, "h": 3600.0}[match.group(2)]
    raise ValueError(f"expected a rate, such as 50/s, not {_shown(value)}")


def parse_share(value: object) -> float:
    """Fraction of 1 of `1%`, `0.5%`, `100%`."""
    if isinstance(value, str) and (match := _SHARE.fullmatch(value.strip())):
        share = float(match.group(1)) / 100.0
        if share <= 1.0:
            return share
        raise ValueError(f"expected a share of at most 100%, not {_shown(value)}")
    raise ValueError(f"expected a share in percent, such as 1%, not {_shown(value)}")


def parse_size(value: object) -> int:
    """Bytes of `64KB` (1000), `64KiB` (1024), `10MB`."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(float(match.group(1)) * _SIZE_UNITS[match.group(2)])
    raise ValueError(f"expected a size with its unit, such as 64KB or 10MiB, not {_shown(value)}")


class DeltaValue(msgspec.Struct, frozen=True):
    """Something to add to a duration: `seconds`, or `share` of what was measured in baseline (exactly one is set)."""

    seconds: float | None = None
    share: float | None = None

    @property
    def relative(self) -> bool:
        return self.share is not None

    def __str__(self) -> str:
        return f"+{self.share * 100:g}%" if self.share is not None else duration_text(self.seconds or 0.0)


def parse_delta(value: object) -> DeltaValue:
    """`300ms` and `+300ms` are absolute; `+50%` is relative to the baseline."""
    if isinstance(value, DeltaValue):
        return value
    if isinstance(value, str):
        text = value.strip()
        bare = text.removeprefix("+").strip()
        if match := _SHARE.fullmatch(bare):
            if text.startswith("+"):
                return DeltaValue(share=float(match.group(1)) / 100.0)
            raise ValueError(f"expected a sign: +{bare} adds that share of the baseline")
        if _DURATION.fullmatch(bare):
            return DeltaValue(seconds=parse_duration(bare))
    raise ValueError(f"expected what to add, such as 300ms or +50%, not {_shown(value)}")


def duration_text(seconds: float) -> str:
    """A duration as people write it: `350 µs`, `12.3 ms`, `1.5 s`, `2m 5s`; `∞` and `–` for inf and nan."""
    if seconds != seconds:
        return "–"
    if seconds in (float("inf"), float("-inf")):
        return "∞"
    size = abs(seconds)
    if size >= 120:
        return f"{int(seconds // 60)}m {seconds % 60:.0f}s"
    if size >= 1:
        return f"{seconds:.3g} s"
    if size >= 1e-3:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds * 1e6:.3g} µs" if size else "0 s"


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else f"{value}"


def written(info: ValidationInfo) -> bool:
    """Whether what is validated comes from a file, where a bare number would leave its unit to be guessed."""
    return isinstance(info.context, dict) and bool(info.context.get("written"))


def _already(parse: Any, kind: type) -> Any:
    """Let through what code passes as a number already (`Duration` fields made in Python)."""

    def read(value: object, info: ValidationInfo) -> object:
        return value if type(value) is kind and not (kind is float and written(info)) else parse(value)

    return read


def _schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


Duration = Annotated[
    float,
    BeforeValidator(_already(parse_duration, float)),
    _schema(r"^([0-9.]+ ?(us|µs|ms|s|m|h))+$", "200ms"),
]
"""Seconds."""
Rate = Annotated[float, BeforeValidator(_already(parse_rate, float)), _schema(r"^[0-9.]+ ?/ ?(s|m|h)$", "50/s")]
"""Per second."""
Share = Annotated[float, BeforeValidator(_already(parse_share, float)), _schema(r"^[0-9.]+ ?%$", "1%")]
"""Fraction of 1."""
Size = Annotated[
    int, BeforeValidator(_already(parse_size, int)), _schema(r"^[0-9.]+ ?(B|KB|MB|GB|KiB|MiB|GiB)$", "64KB")
]
"""Bytes. (A bare integer passes: it can only mean bytes.)"""
Delta = Annotated[
    DeltaValue,
    BeforeValidator(parse_delta),
    PlainSerializer(str),
    _schema(r"^\+?[0-9.]+ ?(us|µs|ms|s|m|h|%)$", "+50%"),
]
