"""Thresholds as people type them (`p95 < 200ms`, `error_rate of checkout < 1%`) as hypotheses on a plain load."""

from __future__ import annotations

import re

from pydantic import ValidationError

from chaoskit.errors import UsageError
from chaoskit.interfaces import Hypothesis
from chaoskit.model.history import Phase
from chaoskit.registry import find

__all__ = ["threshold"]

_THRESHOLD = re.compile(r"\s*([a-z_]+[0-9.]*)(?:\s+of\s+(.+?))?\s*(<=|>=|<|>|≤|≥)\s*(\S.*?)\s*")
_BELOW = ("<", "<=", "≤")
_SHAPES = {"error_rate": ("error_rate", "max", True), "availability": ("availability", "min", False),
           "throughput": ("throughput", "min", False)}  # fmt: skip
"""Measure → (kind, key of its bound, whether it must stay below)."""
_QUANTILES = ("p50", "p75", "p90", "p95", "p99", "p99.9")


def threshold(text: str, *, judge: str = "interval") -> Hypothesis:
    """The hypothesis that a threshold means, judged over the whole load. Raises UsageError with an example."""
    match = _THRESHOLD.fullmatch(text)
    if match is None:
        raise UsageError(f"expected a threshold such as 'p95 < 200ms' or 'error_rate of checkout < 1%', not {text!r}")
    measure, of, sign, value = match.groups()
    kind, key, below = _SHAPES.get(measure, ("latency", measure, True))
    if kind == "latency" and measure not in _QUANTILES:
        known = ", ".join([*_QUANTILES, *_SHAPES])
        raise UsageError(f"no measure {measure!r} in the threshold {text!r}; there are: {known}")
    if (sign in _BELOW) is not below:
        raise UsageError(f"expected {measure} {'<' if below else '>'} {value} in the threshold {text!r}")
    fields = {key: value, "of": of or "", "holds_in": (Phase.LOAD,), "judge": judge}
    try:
        claim: Hypothesis = find("hypotheses", kind).model_validate(fields)
    except ValidationError as error:
        because = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise UsageError(f"in the threshold {text!r}: {because}") from None
    if claim.as_bound() is None:
        raise UsageError(f"in the threshold {text!r}: a plain load has no baseline that {value} could be relative to")
    return claim
