"""A sparse histogram of durations with logarithmic buckets: every value is kept to within 0.5%, merging is addition.

Bucket `i` ≥ 1 holds the durations in (LOWEST·GAMMA^(i−1), LOWEST·GAMMA^i] and answers for all of them with
2·LOWEST·GAMMA^i/(GAMMA+1), which is at most (GAMMA−1)/(GAMMA+1) ≈ 0.4975% from any of them; bucket 0 holds everything
up to LOWEST. The scheme is that of DDSketch (Masson, Rim, Lee: "DDSketch", VLDB 2019), without its collapsing.

Bytes form: little-endian records of (uint16 bucket, uint32 count), ascending by bucket. 6 bytes a used bucket.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping

__all__ = ["BUCKETS", "GAMMA", "LOWEST", "Histogram", "bucket_of", "bucket_value", "decode", "encode", "quantile"]

LOWEST = 1e-6
GAMMA = 1.01
BUCKETS = 2300
"""One more than the last bucket in use: durations above about 2.4 hours share it."""

_SCALE = 1.0 / math.log(GAMMA)
_SHIFT = -math.log(LOWEST) * _SCALE
_RECORD = struct.Struct("<HI")


def bucket_of(seconds: float) -> int:
    """The bucket that `seconds` falls into; negative durations count as 0."""
    if seconds <= LOWEST:
        return 0
    index = math.ceil(math.log(seconds) * _SCALE + _SHIFT - 1e-9)
    return index if index < BUCKETS else BUCKETS - 1


def bucket_value(index: int) -> float:
    """The duration in seconds that stands for all of bucket `index`."""
    return 0.0 if index <= 0 else LOWEST * GAMMA**index * 2.0 / (1.0 + GAMMA)


def encode(counts: Mapping[int, int]) -> bytes:
    """Bytes form of bucket → count."""
    return b"".join(_RECORD.pack(index, counts[index]) for index in sorted(counts) if counts[index])


def decode(data: bytes) -> dict[int, int]:
    """Bucket → count of the bytes form. Raises ValueError where the length is not a multiple of 6."""
    if len(data) % _RECORD.size:
        raise ValueError(f"a histogram of {len(data)} bytes is cut short")
    return dict(_RECORD.iter_unpack(data))


class Histogram:
    """Counts by bucket, with addition and quantiles. Mutable; the bytes form is what is stored and sent."""

    __slots__ = ("counts", "total")

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: dict[int, int] = dict(counts or {})
        self.total = sum(self.counts.values())

    @classmethod
    def from_bytes(cls, data: bytes) -> Histogram:
        return cls(decode(data))

    @classmethod
    def merged(cls, parts: Iterable[bytes]) -> Histogram:
        """The union of several bytes forms."""
        result = cls()
        for part in parts:
            result.add_bytes(part)
        return result

    def to_bytes(self) -> bytes:
        return encode(self.counts)

    def record(self, seconds: float) -> None:
        index = bucket_of(seconds)
        self.counts[index] = self.counts.get(index, 0) + 1
        self.total += 1

    def add_bytes(self, data: bytes) -> None:
        counts = self.counts
        for index, count in decode(data).items():
            counts[index] = counts.get(index, 0) + count
            self.total += count

    def quantile(self, q: float, *, above: int = 0) -> float:
        """The q-quantile in seconds (nearest rank), with `above` more samples ranked above every one held.

        Returns inf where the rank falls among those, and nan where there is nothing at all.
        """
        return quantile(self.counts, self.total, q, above=above)


def quantile(counts: Mapping[int, int], total: int, q: float, *, above: int = 0) -> float:
    """Nearest-rank quantile of bucket counts: the smallest value with at least ⌈q·n⌉ samples at or below it."""
    everything = total + above
    if everything == 0:
        return math.nan
    rank = max(1, math.ceil(q * everything - 1e-9))
    if rank > total:
        return math.inf
    seen = 0
    for index in sorted(counts):
        seen += counts[index]
        if seen >= rank:
            return bucket_value(index)
    raise AssertionError("counts do not add up to their total")
