"""Requests seen through a window: counts, quantiles over all that were planned, and blocks for intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from chaoskit.model.histogram import BUCKETS, bucket_value
from chaoskit.model.observation import LoadSlot
from chaoskit.model.spans import Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LoadView", "Measure"]

Measure = Literal["response", "response_failed", "service", "service_failed", "send_lag"]


class LoadView:
    """The requests of some slots. `entries` are (instant at which the slot counts, slot); `spans` the window."""

    def __init__(self, entries: Sequence[tuple[float, LoadSlot]], spans: Sequence[Span]) -> None:
        self.entries = list(entries)
        self.spans = tuple(spans)
        self._matrices: dict[tuple[Measure, float | None], NDArray[np.int64]] = {}
        self._columns: dict[str, NDArray[np.int64]] = {}

    @property
    def seconds(self) -> float:
        return sum(end - start for start, end in self.spans)

    @cached_property
    def ok(self) -> int:
        return sum(slot.ok for _, slot in self.entries)

    @cached_property
    def failed(self) -> int:
        """Answered wrongly or not at all, in time to be known. Without dropped and unfinished ones."""
        return sum(slot.failed for _, slot in self.entries)

    @cached_property
    def dropped(self) -> int:
        return sum(slot.dropped for _, slot in self.entries)

    @cached_property
    def dropped_below_cap(self) -> int:
        return sum(slot.dropped_below_cap for _, slot in self.entries)

    @cached_property
    def unfinished(self) -> int:
        return sum(slot.unfinished for _, slot in self.entries)

    @property
    def requests(self) -> int:
        """All that were planned: succeeded, failed, dropped and unfinished."""
        return self.ok + self.failed + self.dropped + self.unfinished

    @property
    def failures(self) -> int:
        """All that did not succeed."""
        return self.failed + self.dropped + self.unfinished

    @property
    def error_rate(self) -> float:
        """Failures ÷ requests; nan without requests."""
        return self.failures / self.requests if self.requests else float("nan")

    @property
    def rate(self) -> float:
        """Successful answers per second of the window; nan for an empty window."""
        return self.ok / self.seconds if self.seconds else float("nan")

    @property
    def answered_rate(self) -> float:
        """Answers of any kind per second of the window."""
        return (self.ok + self.failed) / self.seconds if self.seconds else float("nan")

    @cached_property
    def causes(self) -> Counter[str]:
        """Failures by cause, with `dropped` and `unfinished` among them."""
        found: Counter[str] = Counter()
        for _, slot in self.entries:
            found.update(slot.causes)
        if self.dropped:
            found["dropped"] += self.dropped
        if self.unfinished:
            found["unfinished"] += self.unfinished
        return found

    @cached_property
    def statuses(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for _, slot in self.entries:
            found.update(slot.statuses)
        return found

    @cached_property
    def marks(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for _, slot in self.entries:
            found.update(slot.marks)
        return found

    @cached_property
    def reconnects(self) -> int:
        return sum(slot.reconnects for _, slot in self.entries)

    def counts(self, of: Measure = "response") -> NDArray[np.int64]:
        """Counts by bucket, shape (BUCKETS,)."""
        summed: NDArray[np.int64] = self.matrix(of, width=None)[0]
        return summed

    def matrix(self, of: Measure = "response", width: float | None = 1.0) -> NDArray[np.int64]:
        """Counts by block and bucket, shape (blocks, BUCKETS); one block where `width` is None. Not to be changed."""
        import numpy as np

        kept = self._matrices.get((of, width))
        if kept is not None:
            return kept
        blocks = 1 if width is None else self.block_count(width)
        parts = [getattr(slot, of) for _, slot in self.entries]
        records = np.frombuffer(b"".join(parts), dtype=[("bucket", "<u2"), ("count", "<u4")])
        place = records["bucket"].astype(np.int64)
        if width is not None:
            sizes = np.array([len(part) // 6 for part in parts], dtype=np.int64)
            place = place + np.repeat(self.rows(width), sizes) * BUCKETS
        summed = np.bincount(place, weights=records["count"], minlength=blocks * BUCKETS)
        shaped: NDArray[np.int64] = np.asarray(summed, dtype=np.int64).reshape(blocks, BUCKETS)
        self._matrices[of, width] = shaped
        return shaped

    @cached_property
    def times(self) -> NDArray[np.float64]:
        """The instant at which each entry counts."""
        import numpy as np

        return np.array([at for at, _ in self.entries], dtype=np.float64)

    def column(self, field: Literal["ok", "failed", "dropped", "dropped_below_cap", "unfinished"]) -> NDArray[np.int64]:
        """One number of each entry's slot."""
        import numpy as np

        if field not in self._columns:
            self._columns[field] = np.array([getattr(slot, field) for _, slot in self.entries], dtype=np.int64)
        return self._columns[field]

    def rows(self, width: float) -> NDArray[np.int64]:
        """The block of `width` seconds that each entry falls into, as `block_of` says."""
        import numpy as np

        rows = np.full(len(self.entries), -1, dtype=np.int64)
        first = 0
        for start, end in self.spans:
            size = self._blocks_in((start, end), width)
            here = (rows < 0) & (self.times < end - 1e-6)
            inside = ((self.times[here] - start) / width + 1e-6).astype(np.int64)
            rows[here] = first + np.clip(inside, 0, size - 1)
            first += size
        rows[rows < 0] = max(first - 1, 0)
        return rows

    def percentile(self, q: float, *, over: Literal["all", "successes"] = "all", of: Measure = "response") -> float:
        """The q-quantile (0…1) in seconds, nearest rank.

        Over `all`, everything that did not succeed ranks above every success: inf where the rank falls there.
        nan without samples.
        """
        import numpy as np

        counts = self.counts(of)
        total = int(counts.sum())
        above = self.failures if over == "all" and of in ("response", "service") else 0
        everything = total + above
        if not everything:
            return float("nan")
        rank = max(1, int(np.ceil(q * everything - 1e-9)))
        if rank > total:
            return float("inf")
        return bucket_value(int(np.searchsorted(np.cumsum(counts), rank)))

    def block_count(self, width: float) -> int:
        """Number of blocks of `width` seconds that cover the spans (a last short one counts where it is ≥ half)."""
        return sum(self._blocks_in(span, width) for span in self.spans)

    @staticmethod
    def _blocks_in(span: Span, width: float) -> int:
        return max(1, int((span[1] - span[0]) / width + 0.5)) if span[1] > span[0] else 0

    def block_of(self, at: float, width: float) -> int:
        """The block an instant falls into; instants outside the spans go to the nearest block before."""
        first = 0
        for span in self.spans:
            size = self._blocks_in(span, width)
            if at < span[1] - 1e-6:
                return first + min(max(int((at - span[0]) / width + 1e-6), 0), size - 1)
            first += size
        return max(first - 1, 0)

    def blocks(self, width: float = 1.0) -> list[LoadView]:
        """The view cut into blocks of `width` seconds, empty ones included."""
        members: list[list[tuple[float, LoadSlot]]] = [[] for _ in range(self.block_count(width))]
        for at, slot in self.entries:
            members[self.block_of(at, width)].append((at, slot))
        cuts: list[Span] = []
        for start, end in self.spans:
            size = self._blocks_in((start, end), width)
            cuts += [(start + i * width, end if i == size - 1 else start + (i + 1) * width) for i in range(size)]
        return [LoadView(some, (cut,)) for some, cut in zip(members, cuts, strict=True)]
