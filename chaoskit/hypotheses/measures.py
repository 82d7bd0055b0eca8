"""What is measured over requests: quantiles, shares and rates, for a whole window, each block of it, and resamples.

A measure is a function of sums: `rows` cuts a view into blocks of what can be added, `of` computes the measure for
any number of sums at once. One block, all of them, or a thousand resamples are then the same matrix product.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from chaoskit.model.histogram import bucket_value
from chaoskit.model.load_view import LoadView
from chaoskit.model.spans import Span
from chaoskit.model.statistics import (
    block_width,
    draws,
    interval_of,
    none_seen_at_most,
    requests_for_quantile,
    requests_for_share,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Column = Callable[[LoadView], NDArray[np.int64]]
    """One number for each entry of a view."""

__all__ = [
    "Measure",
    "Measured",
    "Quantile",
    "RateOf",
    "Rows",
    "Share",
    "failed",
    "planned",
    "succeeded",
    "success_rate",
]

Over = Literal["all", "successes"]


class Rows(NamedTuple):
    """Blocks of a view: `data` has one row of sums for each, `spans` their seconds."""

    data: Numbers
    spans: list[Span]
    values: Numbers
    """What each column stands for (quantiles: the duration of its bucket, inf for what never succeeded)."""


class Measured(NamedTuple):
    """A measure over a view."""

    value: float
    interval: tuple[float, float] | None
    blocks: int
    by_block: list[tuple[Span, float]]
    resampled: Numbers


class Measure(ABC):
    """One number over the requests of a view."""

    unit: str = ""

    @property
    @abstractmethod
    def label(self) -> str:
        """`p95`, `error rate`."""

    @abstractmethod
    def samples(self, view: LoadView) -> int:
        """How many of the view's requests it is measured over."""

    @abstractmethod
    def needed(self, bound: float | None) -> int:
        """Fewest samples with which it can be told from `bound`."""

    @abstractmethod
    def rows(self, view: LoadView, width: float) -> Rows: ...

    @abstractmethod
    def of(self, data: Numbers, rows: Rows) -> Numbers:
        """The measure of each row of sums; nan where there is nothing to measure."""

    def measured(self, view: LoadView, *, seed: int = 1) -> Measured:
        """Value, interval and blocks. nan and None where the view is empty."""
        rows = self.rows(view, block_width(view.seconds))
        blocks = len(rows.spans)
        value = float(self.of(rows.data.sum(axis=0, keepdims=True), rows)[0])
        resampled = self.of(draws(blocks, seed=seed) @ rows.data, rows) if blocks else rows.data.sum(axis=1)
        interval = interval_of(resampled, blocks) if blocks else None
        by_block = list(zip(rows.spans, self.of(rows.data, rows).tolist(), strict=True))
        return Measured(value, self.widened(interval, view), blocks, by_block, resampled)

    def widened(self, interval: tuple[float, float] | None, view: LoadView) -> tuple[float, float] | None:
        """The interval, made wider by what resampling cannot see."""
        return interval


@dataclass(frozen=True)
class Quantile(Measure):
    """A quantile of the response time; over `all`, what never succeeded ranks above every success."""

    q: float
    over: Over = "all"
    unit = "s"

    @property
    def label(self) -> str:
        return f"p{self.q * 100:.6g}"

    def samples(self, view: LoadView) -> int:
        return view.requests if self.over == "all" else view.ok

    def needed(self, bound: float | None) -> int:
        return requests_for_quantile(self.q)

    def rows(self, view: LoadView, width: float) -> Rows:
        import numpy as np

        counts = view.matrix("response", width)
        used = np.flatnonzero(counts.any(axis=0))
        above = _sums(view, width, (failed,))
        if self.over == "successes":
            above = np.zeros_like(above)
        values = np.array([bucket_value(int(index)) for index in used] + [math.inf])
        return Rows(np.hstack([counts[:, used].astype(np.float64), above]), _cuts(view, width), values)

    def of(self, data: Numbers, rows: Rows) -> Numbers:
        import numpy as np

        reached = np.cumsum(data, axis=1)
        total = reached[:, -1:]
        rank = np.maximum(1.0, np.ceil(self.q * total - 1e-9))
        place = np.minimum((reached < rank).sum(axis=1), len(rows.values) - 1)
        return np.where(total[:, 0] > 0, rows.values[place], np.nan)


@dataclass(frozen=True)
class Share(Measure):
    """A share of the requests: those that `counted` counts, of those that `among` counts."""

    name: str
    counted: Column
    among: Column
    unit = "share"

    @property
    def label(self) -> str:
        return self.name

    def samples(self, view: LoadView) -> int:
        return int(self.among(view).sum())

    def needed(self, bound: float | None) -> int:
        return 1 if bound is None else requests_for_share(bound)

    def rows(self, view: LoadView, width: float) -> Rows:
        import numpy as np

        return Rows(_sums(view, width, (self.counted, self.among)), _cuts(view, width), np.empty(0))

    def of(self, data: Numbers, rows: Rows) -> Numbers:
        return _ratio(data)

    def widened(self, interval: tuple[float, float] | None, view: LoadView) -> tuple[float, float] | None:
        if interval is None:
            return None
        unseen = none_seen_at_most(self.samples(view))
        low, high = interval
        # Resampling what never (or always) happened finds no spread, however few requests there were.
        return (min(low, 1.0 - unseen) if low >= 1.0 else low, max(high, unseen) if high <= 0.0 else high)


@dataclass(frozen=True)
class RateOf(Measure):
    """What `counted` counts, per second of the window."""

    name: str
    counted: Column
    unit = "1/s"

    @property
    def label(self) -> str:
        return self.name

    def samples(self, view: LoadView) -> int:
        return view.requests

    def needed(self, bound: float | None) -> int:
        return 1

    def rows(self, view: LoadView, width: float) -> Rows:
        import numpy as np

        cuts = _cuts(view, width)
        seconds = np.array([[end - start] for start, end in cuts]).reshape(len(cuts), 1)
        return Rows(np.hstack([_sums(view, width, (self.counted,)), seconds]), cuts, np.empty(0))

    def of(self, data: Numbers, rows: Rows) -> Numbers:
        return _ratio(data)


def planned(view: LoadView) -> NDArray[np.int64]:
    """All requests."""
    return succeeded(view) + failed(view)


def succeeded(view: LoadView) -> NDArray[np.int64]:
    return view.column("ok")


def failed(view: LoadView) -> NDArray[np.int64]:
    """All that did not succeed: dropped and unfinished ones too."""
    return view.column("failed") + view.column("dropped") + view.column("unfinished")


def success_rate() -> RateOf:
    """Successful answers per second."""
    return RateOf("throughput", succeeded)


def _ratio(data: Numbers) -> Numbers:
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(data[:, 1] > 0, data[:, 0] / data[:, 1], np.nan)


def _sums(view: LoadView, width: float, of: Sequence[Column]) -> Numbers:
    """Sums of the entries' numbers by block, shape (blocks, len(of))."""
    import numpy as np

    blocks, rows = view.block_count(width), view.rows(width)
    columns = [np.bincount(rows, weights=column(view), minlength=blocks)[:blocks] for column in of]
    return np.stack(columns, axis=1).astype(np.float64)


def _cuts(view: LoadView, width: float) -> list[Span]:
    """The seconds of each block, as `LoadView.blocks` cuts them."""
    found: list[Span] = []
    for start, end in view.spans:
        size = LoadView([], ((start, end),)).block_count(width)
        found += [(start + i * width, end if i == size - 1 else start + (i + 1) * width) for i in range(size)]
    return found
