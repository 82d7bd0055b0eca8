"""A toxic as the API knows it: its kind, its attributes and their ranges, and the dice it is rolled with."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["DOWNSTREAM", "UPSTREAM", "Attribute", "Kind", "Toxic"]

UPSTREAM, DOWNSTREAM = 0, 1
"""Directions: caller to callee, callee to caller."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute: its Go type (or `object`, `number`, `string` for those Toxiproxy has not) and its range."""

    kind: str = "int64"
    default: object = 0
    least: float | None = 0
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One type of toxic. `layer` says where it acts.

    stream     a stub (see `stub`) in the chain of each link of its direction
    http       on whole calls, see `gate`
    accept     on a connection before it is dialled
    listener   on the proxy's listener
    """

    name: str
    attributes: Mapping[str, Attribute]
    layer: str = "stream"
    go_name: str = ""
    """Name of the struct in Go's error messages; empty where a real Toxiproxy has no such toxic."""
    room: int = 0
    """Bytes (with overhead) that a stub may hold back before its source is no longer read."""
    closes_on_removal: bool = False

    def problem(self, attributes: Mapping[str, object]) -> str:
        """What is out of range, in words; empty where nothing is."""
        for name, attribute in self.attributes.items():
            value = attributes[name]
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                continue
            if attribute.least is not None and value < attribute.least:
                return f"{name} must be at least {attribute.least:g}, not {value:g}"
            if attribute.most is not None and value > attribute.most:
                return f"{name} must be at most {attribute.most:g}, not {value:g}"
        average, variation = attributes.get("average_size"), attributes.get("size_variation")
        if isinstance(average, int) and isinstance(variation, int) and variation >= average:
            return f"size_variation must be less than average_size, not {variation} with {average}"
        return ""


@dataclass(slots=True, eq=False)
class Toxic:
    """One toxic on one proxy. Attributes change in place when it is updated."""

    name: str
    kind: Kind
    stream: str
    """As it was written: `UPSTREAM` stays `UPSTREAM`."""
    direction: int
    toxicity: float
    attributes: dict[str, object]
    seed: str
    """Of its dice: the same seed gives the same rolls in the order in which connections come."""
    ttl: float | None = None
    """Seconds after which it goes by itself."""
    hits: int = 0
    """Connections or calls that it acted on."""
    busy_until: float = 0.0
    """When what all connections share is free again (`rate`)."""
    matched: int = 0
    """Calls that matched so far (`http_error`'s first N)."""
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)  # noqa: S311 - chance, not secrecy

    def roll(self) -> bool:
        """Whether it acts on this link."""
        return self.dice.random() < self.toxicity

    def int_of(self, name: str) -> int:
        value = self.attributes[name]
        return value if isinstance(value, int) else 0

    def float_of(self, name: str) -> float:
        value = self.attributes[name]
        return float(value) if isinstance(value, (int, float)) else 0.0
