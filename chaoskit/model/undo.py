"""What must be undone, as data that a fresh process can act on from the journal alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

import msgspec

__all__ = ["JSON", "Undo"]

if TYPE_CHECKING:
    JSON = Union[str, int, float, bool, None, list["JSON"], dict[str, "JSON"]]
else:
    JSON = Any  # msgspec reads no recursive types; what it reads from JSON is JSON all the same


class Undo(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to take out. Applying it twice is the same as once.

    `owner` names the class that knows how (`proxy.toxic`, `process.pause`, `docker.container`, …: registry kind
    `undo`), `args` is all it needs, `due` the instant (absolute CLOCK_MONOTONIC of boot `boot_id` in the journal's
    header) after which it must be gone whoever put it there; None means at the end of the run.
    """

    id: str
    owner: str
    args: dict[str, JSON]
    due: float | None = None
    says: str = ""
    """What a person would do by hand, shown where the undo itself fails."""
