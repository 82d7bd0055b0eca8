"""What crossed one edge (or several together), seen through a window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from chaoskit.model.histogram import Histogram
from chaoskit.model.observation import TapCall, TapSlot
from chaoskit.model.spans import Span

__all__ = ["TapView"]


class TapView:
    """Tap slots of a window. Counts are exact; `calls` holds single calls as far as the tap kept them."""

    def __init__(self, slots: Sequence[TapSlot], spans: Sequence[Span]) -> None:
        self.slots = list(slots)
        self.spans = tuple(spans)

    @property
    def seconds(self) -> float:
        return sum(end - start for start, end in self.spans)

    @cached_property
    def started(self) -> int:
        """Calls that began in the window."""
        return sum(slot.started for slot in self.slots)

    @cached_property
    def ended(self) -> int:
        return sum(slot.ended for slot in self.slots)

    @cached_property
    def opened(self) -> int:
        return sum(slot.opened for slot in self.slots)

    @cached_property
    def cut(self) -> int:
        return sum(slot.cut for slot in self.slots)

    @cached_property
    def took(self) -> Histogram:
        """Durations of the calls that were answered in the window."""
        return Histogram.merged(slot.took for slot in self.slots)

    @cached_property
    def statuses(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for slot in self.slots:
            found.update(slot.statuses)
        return found

    @cached_property
    def outcomes(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for slot in self.slots:
            found.update(slot.outcomes)
        return found

    @cached_property
    def hits(self) -> Counter[str]:
        """Connections or calls that each toxic acted on."""
        found: Counter[str] = Counter()
        for slot in self.slots:
            found.update(slot.hits)
        return found

    @property
    def closed_listener(self) -> list[TapSlot]:
        """Slots in which the listener was closed: what callers tried then is unknown, never zero."""
        return [slot for slot in self.slots if not slot.listening]

    @cached_property
    def calls(self) -> list[TapCall]:
        """Single calls that ended in the window, by their start."""
        return sorted((call for slot in self.slots for call in slot.calls), key=lambda call: call.start)

    @property
    def left_out(self) -> int:
        """Calls that are counted but not among `calls`."""
        return sum(slot.left_out for slot in self.slots)
