"""How findings speak: amounts, intervals and moments in the same words everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

from chaoskit.model.history import History
from chaoskit.model.units import duration_text

__all__ = ["amount", "between", "joined", "moment", "of_text", "seconds_text", "share_text"]


def amount(value: float, unit: str) -> str:
    """A value with its unit: `310 ms`, `1.2%`, `80/s`, `1.5×`, `12`."""
    if unit == "s":
        return duration_text(value)
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    if unit == "share":
        return share_text(value)
    if unit == "1/s":
        return f"{value:.3g}/s"
    number = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{number}{unit}" if unit in ("", "×") else f"{number} {unit}"


def share_text(share: float) -> str:
    """`1.2%`; shares near the whole keep what is missing of it: `99.95%`."""
    percent = share * 100
    return f"{percent:.4g}%" if percent > 90 else f"{percent:.3g}%"


def between(interval: tuple[float, float] | None, unit: str) -> str:
    """`95% sure: 290 ms to 340 ms`."""
    if interval is None:
        return ""
    low, high = (amount(end, unit) for end in interval)
    return f"95% sure: {low} to {high}" if low != high else f"95% sure: {low}"


def seconds_text(at: float) -> str:
    """An instant of the run: `9.3 s`."""
    return f"{at:.1f} s"


def moment(history: History, at: float) -> str:
    """When something happened, by the run's clock and by the last fault: `at 9.3 s, 1.3 s after the fault went in`."""
    edges = [(fault.injected, "the fault went in") for fault in history.faults if fault.injected is not None]
    edges += [(fault.undone, "the fault was out") for fault in history.faults if fault.undone is not None]
    before = [(instant, what) for instant, what in edges if instant <= at + 1e-6]
    if not before:
        return f"at {seconds_text(at)}"
    instant, what = max(before)
    return f"at {seconds_text(at)}, {seconds_text(at - instant)} after {what}"


def of_text(name: str) -> str:
    """` of checkout`, or nothing for all requests."""
    return f" of {name}" if name else ""


def joined(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
