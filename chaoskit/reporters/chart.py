"""Charts as data for the page: paths in units of time and value, so that zooming only changes what is looked at.

x is seconds on the run's clock; y is the negated value, because SVG's y points down. The page's script reads the
values under the cursor back out of these paths: nothing is sent twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chaoskit.model.units import duration_text
from chaoskit.reporters.columns import Floats

__all__ = [
    "Chart",
    "Line",
    "Tick",
    "line_path",
    "mark_path",
    "nice_top",
    "step_path",
    "ticks",
    "time_ticks",
    "value_text",
]


@dataclass(frozen=True)
class Line:
    """One series of a chart."""

    label: str
    look: str
    """Class of its colour and stroke: `p95`, `failed`, `cause-1`, …"""
    path: str
    of: str = ""
    """The request it is about; empty for all together."""
    over: str = ""
    """Where its value lies above every scale (the rank falls among requests without an answer): spans at y = 0."""


@dataclass(frozen=True)
class Tick:
    place: float
    """Percent of the axis, from the left or the bottom."""
    label: str
    minor: bool = False
    """Left out where there is little room."""


@dataclass(frozen=True)
class Chart:
    """One picture over time. `shape` is `line`, `step` or `stack` (steps laid on one another, the first lowest)."""

    id: str
    title: str
    about: str
    unit: str
    """`ms`, `/s`, `n`: of the paths' y."""
    shape: str
    top: float
    lines: tuple[Line, ...]
    says: str
    """What the picture shows in words, for those who cannot see it."""
    height: int = 160

    @property
    def y_ticks(self) -> list[Tick]:
        return [Tick(value / self.top * 100.0, value_text(value, self.unit)) for value in ticks(0.0, self.top, 4)]

    @property
    def painted(self) -> list[Line]:
        """Lines in the order of painting: of a stack the highest first."""
        return list(reversed(self.lines)) if self.shape == "stack" else list(self.lines)

    @property
    def requests(self) -> list[str]:
        """The names of requests that it can be limited to."""
        return list(dict.fromkeys(line.of for line in self.lines if line.of))


def value_text(value: float, unit: str) -> str:
    """A value on an axis. Values in `ms` come out in the unit that reads best."""
    if unit == "ms":
        return duration_text(value / 1e3) if value else "0"
    if not value:
        return "0"
    number = f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.2g}"
    return number + ("" if unit == "n" else unit)


def nice_top(value: float) -> float:
    """The end of an axis from 0 that holds `value` with some air above it."""
    if not math.isfinite(value) or value <= 0:
        return 1.0
    wanted = value * 1.08
    size = 10.0 ** math.floor(math.log10(wanted))
    return next(step * size for step in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * size >= wanted * (1 - 1e-9))


def ticks(start: float, end: float, wanted: int) -> list[float]:
    """About `wanted` round values between two ends, both included where they are round."""
    if end <= start:
        return []
    rough = (end - start) / wanted
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * (1 - 1e-9))
    first = math.ceil(start / step - 1e-9)
    last = math.floor(end / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


_CLOCK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


def time_ticks(start: float, end: float, wanted: int) -> list[float]:
    """The same for seconds on a clock: beyond two minutes, steps that a clock has."""
    if end - start <= 120:
        return ticks(start, end, wanted)
    step = next((one for one in _CLOCK_STEPS if one >= (end - start) / wanted), _CLOCK_STEPS[-1])
    return [float(at) for at in range(math.ceil(start / step) * step, math.floor(end) + 1, step)]


def _n(value: float) -> str:
    """A number for a path: four significant digits, without what does not matter."""
    text = f"{value:.2f}" if abs(value) < 100 else f"{value:.1f}" if abs(value) < 1000 else f"{value:.0f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _x(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def line_path(x: Floats, y: Floats) -> str:
    """A line through points; it breaks where a value is not finite. A point alone becomes a dot."""
    parts: list[str] = []
    fine = np.isfinite(y)
    for i in range(len(x)):
        if not fine[i]:
            continue
        fresh = i == 0 or not fine[i - 1]
        parts.append(f"{'M' if fresh else 'L'}{_x(x[i])} {_n(-y[i])}")
        if fresh and (i + 1 == len(x) or not fine[i + 1]):
            parts.append("h0")
    return "".join(parts)


def step_path(edges: Floats, y: Floats, *, closed: bool = False) -> str:
    """Steps over bins (one more edge than values), with a break where a value is not finite; `closed` fills to 0."""
    parts: list[str] = []
    drawing = False
    last = ""
    for i, value in enumerate(y):
        if not math.isfinite(value):
            if drawing and closed:
                parts.append("V0Z")
            drawing = False
            continue
        level = _n(-value)
        start, end = _x(edges[i]), _x(edges[i + 1])
        if not drawing:
            parts.append(f"M{start} 0V{level}H{end}" if closed else f"M{start} {level}H{end}")
        elif level == last:
            parts[-1] = f"{parts[-1][: parts[-1].rindex('H')]}H{end}"
        else:
            parts.append(f"V{level}H{end}")
        drawing, last = True, level
    if drawing and closed:
        parts.append("V0Z")
    return "".join(parts)


def mark_path(edges: Floats, where: Sequence[bool]) -> str:
    """Flat pieces at y = 0 over the bins that are marked."""
    parts: list[str] = []
    for i, marked in enumerate(where):
        if marked and (i == 0 or not where[i - 1]):
            parts.append(f"M{_x(edges[i])} 0")
        if marked and (i + 1 == len(where) or not where[i + 1]):
            parts.append(f"H{_x(edges[i + 1])}")
    return "".join(parts)
