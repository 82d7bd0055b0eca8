"""Thresholds as people type them."""

from __future__ import annotations

import pytest

from chaoskit.errors import UsageError
from chaoskit.model.history import Phase
from chaoskit.studies.thresholds import threshold


@pytest.mark.parametrize(
    ("text", "kind", "of", "expected"),
    [
        ("p95 < 200ms", "latency", "", "p95 ≤ 200 ms"),
        ("p99.9 of checkout <= 2s", "latency", "checkout", "p99.9 of checkout ≤ 2 s"),
        ("p50 of GET /x < 1ms", "latency", "GET /x", "p50 of GET /x ≤ 1 ms"),
        ("error_rate < 1%", "error_rate", "", "error rate ≤ 1%"),
        ("availability≥99.9%", "availability", "", "availability ≥ 99.9%"),
        ("throughput of a > 50/s", "throughput", "a", ""),
    ],
)
def test_a_threshold_is_a_hypothesis(text: str, kind: str, of: str, expected: str) -> None:
    claim = threshold(text)
    assert type(claim).kind == kind
    assert claim.of == of
    assert claim.phases == (Phase.LOAD,)
    assert not expected or claim.expected() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a threshold"),
        ("p95", "expected a threshold"),
        ("p96 < 1s", "no measure 'p96'"),
        ("speed > 3", "no measure 'speed'"),
        ("p95 > 1s", "expected p95 < 1s"),
        ("throughput < 5/s", "expected throughput > 5/s"),
        ("p95 < 200", "expected a duration"),
        ("error_rate < 1", "expected a share"),
    ],
)
def test_what_is_no_threshold_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        threshold(text)
