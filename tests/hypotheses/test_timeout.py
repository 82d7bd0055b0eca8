"""timeout: deadlines that are met, that are not, calls that outlive their caller; and too little to tell."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from chaoskit.hypotheses.timeout import Timeout
from chaoskit.model.verdict import Verdict
from chaoskit.testing import HistoryBuilder
from tests.hypotheses.histories import EDGE, healthy

CLAIM = Timeout(edge=EDGE, within=0.5)


def given_up(after: float, *, by_caller_after: float | None, traced: bool = True) -> HistoryBuilder:
    """Payments never answers; orders hangs up `after`, and the gateway hangs up on orders `by_caller_after`."""
    built = healthy().calls("gateway->orders", "fault", rate=0, path="/checkout").calls(EDGE, "fault", rate=0)
    for number in range(400):
        at, trace = 8.0 + number / 40, f"f{number:031x}" if traced else ""
        gone = by_caller_after is not None
        took = by_caller_after if by_caller_after is not None else after + 0.01
        outcome = "abandoned" if gone else "answered"
        built.call("gateway->orders", at, took, path="/checkout", trace_id=trace, outcome=outcome)
        built.call("orders->payments.1", at + 0.01, after, trace_id=trace, outcome="abandoned")
    return built


@pytest.mark.parametrize(
    ("claim", "built", "verdict", "said"),
    [
        (CLAIM, healthy(), Verdict.SUPPORTED, "within 500 ms"),
        (CLAIM, given_up(0.5, by_caller_after=None), Verdict.SUPPORTED, "took 500 ms, within 500 ms"),
        (CLAIM, given_up(2.0, by_caller_after=None), Verdict.REFUTED, "400 of 400 calls over orders->payments"),
        (
            CLAIM,
            healthy().calls(EDGE, "fault", rate=80, took=None),
            Verdict.REFUTED,
            "past 500 ms, the longest 16 s",
        ),
        (Timeout(edge=EDGE, orphans=0), given_up(0.5, by_caller_after=1.0), Verdict.SUPPORTED, "0 of 400"),
        (
            Timeout(edge=EDGE, orphans=0),
            given_up(2.0, by_caller_after=1.0),
            Verdict.REFUTED,
            "longer than its",
        ),
        (
            Timeout(edge=EDGE, orphans=0),
            given_up(2.0, by_caller_after=1.0, traced=False),
            Verdict.INCONCLUSIVE,
            "passes no traceparent on",
        ),
        (CLAIM, healthy().calls(EDGE, "fault", rate=1), Verdict.INCONCLUSIVE, "only 10 calls"),
    ],
    ids=["answered", "gives up", "gives up late", "never gives up", "no orphans", "orphans", "untraced", "few"],
)
def test_deadlines_are_judged(claim: Timeout, built: HistoryBuilder, verdict: Verdict, said: str) -> None:
    finding = claim.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because
    assert finding.lane == EDGE


def test_calls_of_health_checks_have_no_deadline() -> None:
    built = healthy()
    for number in range(20):
        built.call("orders->payments.1", 8.0 + number * 0.4, 2.0, method="GET", path="/health/ready?deep=1")
    finding = CLAIM.judge(built.build())
    assert (finding.verdict, "of 800 calls" in finding.because) == (Verdict.SUPPORTED, True), finding.because


def test_a_timeout_without_a_deadline_is_refused() -> None:
    with pytest.raises(ValidationError, match="expected within, orphans or both"):
        Timeout(edge=EDGE)
