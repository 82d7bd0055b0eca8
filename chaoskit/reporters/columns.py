"""Load slots as columns of numbers, so that an hour of a thousand requests a second is told in a second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from chaoskit.model.histogram import GAMMA, LOWEST
from chaoskit.model.observation import SLOT, LoadSlot
from chaoskit.model.spans import Span

__all__ = ["Floats", "Ints", "LoadColumns", "Records", "bucket_values", "in_spans", "quantiles"]

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

_RECORD = np.dtype([("bucket", "<u2"), ("count", "<u4")])


def bucket_values(first: int, count: int) -> Floats:
    """Seconds that the buckets `first`, `first + 1`, … stand for (as `model.histogram.bucket_value`)."""
    index = np.arange(first, first + count, dtype=np.float64)
    return np.where(index <= 0, 0.0, LOWEST * GAMMA**index * 2.0 / (1.0 + GAMMA))


def in_spans(at: Floats, spans: Sequence[Span]) -> NDArray[np.bool_]:
    """Which instants lie in one of the spans (as `model.spans.within`)."""
    found = np.zeros(len(at), dtype=bool)
    for start, end in spans:
        found |= (at >= start - 1e-6) & (at < end - 1e-6)
    return found


class LoadColumns:
    """One row a slot. `entries` are (instant at which the slot counts, slot), as `LoadView.entries`."""

    def __init__(self, entries: Sequence[tuple[float, LoadSlot]]) -> None:
        slots = [slot for _, slot in entries]
        self._slots = slots
        self.at: Floats = np.array([at for at, _ in entries], dtype=np.float64)
        self.planned: Floats = np.array([slot.at for slot in slots], dtype=np.float64)
        self.names = list(dict.fromkeys(slot.name for slot in slots))
        index = {name: i for i, name in enumerate(self.names)}
        self.name: Ints = np.array([index[slot.name] for slot in slots], dtype=np.int64)
        self.ok: Ints = np.array([slot.ok for slot in slots], dtype=np.int64)
        self.failed: Ints = np.array([slot.failed for slot in slots], dtype=np.int64)
        self.dropped: Ints = np.array([slot.dropped for slot in slots], dtype=np.int64)
        self.unfinished: Ints = np.array([slot.unfinished for slot in slots], dtype=np.int64)

    @property
    def requests(self) -> Ints:
        return self.ok + self.failed + self.dropped + self.unfinished

    @property
    def failures(self) -> Ints:
        """All that did not succeed."""
        return self.failed + self.dropped + self.unfinished

    def cause_rows(self, among: NDArray[np.bool_] | None = None) -> dict[str, list[tuple[int, int]]]:
        """For each cause of failure, (row, count), the most frequent cause first; only of rows `among` those."""
        found: dict[str, list[tuple[int, int]]] = {}
        total: Counter[str] = Counter()
        failed = self.failures > 0
        for row in np.flatnonzero(failed if among is None else failed & among):
            slot = self._slots[row]
            causes = dict(slot.causes)
            if slot.dropped:
                causes["dropped"] = slot.dropped
            if slot.unfinished:
                causes["unfinished"] = slot.unfinished
            for cause, count in causes.items():
                found.setdefault(cause, []).append((int(row), count))
                total[cause] += count
        return {cause: found[cause] for cause, _ in total.most_common()}

    @cached_property
    def response(self) -> Records:
        return Records([slot.response for slot in self._slots])

    @cached_property
    def service(self) -> Records:
        return Records([slot.service for slot in self._slots])

    @cached_property
    def send_lag(self) -> Records:
        return Records([slot.send_lag for slot in self._slots])

    @cached_property
    def reconnects(self) -> Ints:
        return np.array([slot.reconnects for slot in self._slots], dtype=np.int64)

    def phase_index(self, windows: Sequence[Sequence[Span]]) -> Ints:
        """The window (its place in `windows`) in which each row counts; −1 for none."""
        index: Ints = np.full(len(self.at), -1, dtype=np.int64)
        for number, spans in enumerate(windows):
            index[in_spans(self.at, spans)] = number
        return index

    def in_flight(self, start: float, slots: int) -> Floats:
        """Requests in flight in each slot from `start` on, on average over the slot.

        A request counts whole in the slots between those of its planned send and its end, half in these two, and
        as its duration where both are one slot. Dropped requests were never in flight.
        """
        ended = np.array([np.inf if slot.ended is None else slot.ended for slot in self._slots], dtype=np.float64)
        sent = (self.ok + self.failed + self.unfinished).astype(np.float64)
        first = np.clip(np.floor((self.planned - start) / SLOT + 1e-3), 0, slots).astype(np.int64)
        last = np.clip(np.floor((ended - start) / SLOT + 1e-3), 0, slots).astype(np.int64)
        apart = last > first
        change = np.zeros(slots + 2)
        np.add.at(change, first[apart] + 1, sent[apart])
        np.add.at(change, last[apart], -sent[apart])
        level = np.cumsum(change)[:slots]
        halves = np.zeros(slots + 1)
        np.add.at(halves, first[apart], sent[apart] / 2)
        np.add.at(halves, last[apart], sent[apart] / 2)
        failed = Records([slot.response_failed for slot in self._slots])
        for records in (self.response, failed):
            here = ~apart[records.row]
            seconds = bucket_values(0, 1 + int(records.bucket.max(initial=0)))[records.bucket[here]]
            np.add.at(halves, first[records.row[here]], seconds * records.count[here] / SLOT)
        found: Floats = level + halves[:slots]
        return found


class Records:
    """Histogram records of all rows: which row, which bucket, how many."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        records = np.frombuffer(b"".join(parts), dtype=_RECORD)
        sizes = np.array([len(part) // _RECORD.itemsize for part in parts], dtype=np.int64)
        self.row: Ints = np.repeat(np.arange(len(parts), dtype=np.int64), sizes)
        self.bucket: Ints = records["bucket"].astype(np.int64)
        self.count: Floats = records["count"].astype(np.float64)

    def matrix(self, group: Ints, groups: int) -> tuple[Ints, int]:
        """Counts by group and bucket, and the first bucket of the columns. `group` is one a row; −1 leaves it out."""
        of = group[self.row]
        used = of >= 0
        if not used.any():
            return np.zeros((groups, 1), dtype=np.int64), 0
        bucket, count = self.bucket, self.count
        if not used.all():
            of, bucket, count = of[used], bucket[used], count[used]
        first, width = int(bucket.min()), int(bucket.max() - bucket.min()) + 1
        summed = np.bincount(of * width + (bucket - first), weights=count, minlength=groups * width)
        return np.asarray(summed, dtype=np.int64).reshape(groups, width), first


def quantiles(matrix: Ints, first: int, qs: Sequence[float], above: Ints | None = None) -> Floats:
    """Nearest-rank quantiles in seconds, shape (len(qs), groups), with `above` samples ranked above all (by group).

    inf where the rank falls among those, nan where a group is empty.
    """
    cumulated = np.cumsum(matrix, axis=1)
    total = cumulated[:, -1]
    everything = total + (0 if above is None else above)
    values = bucket_values(first, matrix.shape[1])
    found = np.empty((len(qs), len(matrix)))
    for row, q in enumerate(qs):
        rank = np.maximum(1, np.ceil(q * everything - 1e-9))
        index = np.minimum((cumulated < rank[:, None]).sum(axis=1), matrix.shape[1] - 1)
        found[row] = np.where(everything == 0, np.nan, np.where(rank > total, np.inf, values[index]))
    return found
